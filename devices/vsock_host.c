/*
 * vsock_host.c - the Unix sockets behind virtio-vsock
 *
 * #syscalls socket:AF_UNIX connect accept4 recvfrom recvmsg sendto sendmsg shutdown newfstatat
 * #syscalls unlink close
 * #syscalls:before bind listen fchmod
 */
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vsock.h"

#define HELLO_MAX   32 /* "CONNECT 4294967295\n" and some spaces */
#define ACCEPT_MAX  64 /* in one go */
#define ACCEPT_WAIT 100000000
#define EDGES	    (EPOLLIN | EPOLLRDHUP | EPOLLET)

/* --- the socket host programs connect to --- */

static void shut(int *fd)
{
	cleanup_close(fd);
	*fd = -1;
}

static int make_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static int address(struct sockaddr_un *addr, const char *path)
{
	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	return str_copy(addr->sun_path, sizeof(addr->sun_path), path);
}

/* what is there already may only be the socket of a process that was killed */
static int make_way(struct vsock *vs, const struct sockaddr_un *addr)
{
	const char *name = vs->v.dev.name, *path = addr->sun_path;
	cleanup_fd int fd = -1;
	struct stat st;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 : err(-errno, "%s: %s: %s", name, path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return err(-EEXIST,
			   "%s: %s: is there and is no socket; remove it or take another path",
			   name, path);
	fd = make_socket();
	if (fd < 0)
		return err(-errno, "%s: socket: %s", name, strerror(errno));
	if (!connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) || errno == EAGAIN)
		return err(-EADDRINUSE,
			   "%s: %s: another process listens there; stop it or take another path",
			   name, path);
	if (errno != ECONNREFUSED)
		return err(-errno, "%s: %s: %s", name, path, strerror(errno));
	if (unlink(path))
		return err(-errno, "%s: %s: cannot remove the socket of a process that is gone: %s",
			   name, path, strerror(errno));
	return 0;
}

static void on_client(void *arg, uint32_t events)
{
	struct vsock *vs = arg;

	(void)events;
	dev_lock(&vs->v.dev);
	vsock_enter(vs);
	for (unsigned i = 0; i < ACCEPT_MAX; i++) {
		int fd = accept4(vs->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			conn_from_host(vs, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			/* it stays in the queue, which would wake us again and again */
			loop_fd_events(vs->v.dev.m->loop, &vs->listener, 0);
			vs->accept_at = now_ns() + ACCEPT_WAIT;
			vsock_alarm(vs, vs->accept_at);
		}
		break;
	}
	vsock_pump(vs);
	dev_unlock(&vs->v.dev);
}

void host_accept_again(struct vsock *vs)
{
	vs->accept_at = 0;
	loop_fd_events(vs->v.dev.m->loop, &vs->listener, EPOLLIN);
}

int host_listen(struct vsock *vs, const char *path)
{
	const char *name = vs->v.dev.name;
	struct sockaddr_un addr;
	struct stat st;
	int r;

	vs->listener = (struct loop_fd){ -1, EPOLLIN, on_client, vs };
	if (!path[0])
		return err(-EINVAL, "%s: a path is missing; write --vsock path=PATH", name);
	if (strlen(path) > VSOCK_PATH || address(&addr, path))
		return err(-E2BIG, "%s: %s: the path is longer than %d bytes", name, path,
			   VSOCK_PATH);
	r = make_way(vs, &addr);
	if (r)
		return r;
	vs->listener.fd = make_socket();
	if (vs->listener.fd < 0)
		return err(-errno, "%s: socket: %s", name, strerror(errno));
	/* bind() gives the file the mode of the socket: no moment in which others may connect */
	if (fchmod(vs->listener.fd, 0600) ||
	    bind(vs->listener.fd, (struct sockaddr *)&addr, sizeof(addr)))
		return err(-errno, "%s: %s: %s", name, path, strerror(errno));
	strcpy(vs->path, path);
	if (!lstat(path, &st)) {
		vs->path_dev = st.st_dev;
		vs->path_ino = st.st_ino;
	}
	if (listen(vs->listener.fd, 1024))
		return err(-errno, "%s: %s: %s", name, path, strerror(errno));
	r = loop_fd_add(vs->v.dev.m->loop, &vs->listener);
	return r ? err(r, "%s: %s: %s", name, path, strerror(-r)) : 0;
}

void host_unlisten(struct vsock *vs)
{
	struct stat st;

	if (vs->listener.fd >= 0)
		loop_fd_del(vs->v.dev.m->loop, &vs->listener);
	shut(&vs->listener.fd);
	/* somebody may have put another file there */
	if (vs->path_ino && !lstat(vs->path, &st) && st.st_dev == vs->path_dev &&
	    st.st_ino == vs->path_ino)
		unlink(vs->path);
	vs->path_ino = 0;
}

/* --- a connection's socket --- */

static void on_socket(void *arg, uint32_t events)
{
	struct vsock_conn *c = arg;
	struct vsock *vs = c->vs;

	dev_lock(&vs->v.dev);
	if (vs->dropped)
		vsock_enter(vs); /* and this one with all */
	else
		conn_on_socket(c, events);
	vsock_pump(vs);
	dev_unlock(&vs->v.dev);
}

int host_watch(struct vsock_conn *c, int fd)
{
	int r;

	/* the kernel gives the lowest number that is free: so it
	 * tells what the whole process has open */
	if ((unsigned)fd >= c->vs->fd_limit) {
		close(fd);
		return -EMFILE;
	}
	c->h = (struct loop_fd){ fd, EDGES, on_socket, c };
	r = loop_fd_add(c->vs->v.dev.m->loop, &c->h);
	if (r)
		shut(&c->h.fd);
	return r;
}

int host_call(struct vsock_conn *c)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = make_socket(), r;

	if (fd < 0)
		return -errno;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%.*s_%u", VSOCK_PATH, c->vs->path,
		 c->host_port);
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr))) {
		r = -errno;
		close(fd);
		return r;
	}
	return host_watch(c, fd);
}

/* the line may come byte by byte, and what follows it belongs to the guest */
int host_hello(struct vsock_conn *c, uint32_t *ret_port)
{
	char line[HELLO_MAX + 1], *end;
	ssize_t n = recv(c->h.fd, line, HELLO_MAX, MSG_PEEK | MSG_DONTWAIT);
	uint64_t port;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	line[n] = '\0';
	end = memchr(line, '\n', (size_t)n);
	if (!end)
		return !n || n == HELLO_MAX || c->hup ? -EPROTO : 0;
	n = end + 1 - line;
	if (recv(c->h.fd, line, (size_t)n, MSG_DONTWAIT) != n)
		return -EPROTO;
	*end = '\0';
	if (end > line && end[-1] == '\r')
		end[-1] = '\0';
	if (strncmp(line, "CONNECT ", 8) || line[8] < '0' || line[8] > '9' ||
	    number_parse(line + 8, &port) || port > UINT32_MAX)
		return -EPROTO;
	*ret_port = (uint32_t)port;
	return 1;
}

int host_welcome(struct vsock_conn *c)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "OK %u\n", c->host_port);

	/* the first bytes on this socket: they fit */
	return send(c->h.fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) == n ? 0 : -EPIPE;
}

ssize_t host_read(struct vsock_conn *c, const struct iovec *iov, unsigned n)
{
	struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = n };
	ssize_t k;

	do {
		k = recvmsg(c->h.fd, &m, MSG_DONTWAIT);
	} while (k < 0 && errno == EINTR);
	/* descriptors that a program sends along end a read early; more may lie behind them */
	c->cut = k > 0 && m.msg_flags & (MSG_CTRUNC | MSG_OOB);
	return k < 0 ? -errno : k;
}

bool host_is_at_end(struct vsock_conn *c)
{
	char byte;

	return recv(c->h.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

unsigned vsock_slice(const struct iovec *iov, unsigned n, size_t off, uint32_t *len,
		     struct iovec *to, unsigned max)
{
	uint32_t left = *len;
	unsigned k = 0;

	for (; n && left && k < max; iov++, n--) {
		size_t take;

		if (off >= iov->iov_len) {
			off -= iov->iov_len;
			continue;
		}
		take = MIN(iov->iov_len - off, left);
		to[k++] = (struct iovec){ (char *)iov->iov_base + off, take };
		left -= (uint32_t)take;
		off = 0;
	}
	*len -= left;
	return k;
}

static ssize_t send_some(struct vsock_conn *c, struct iovec *iov, unsigned n)
{
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };
	ssize_t k = sendmsg(c->h.fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (k >= 0)
		return k;
	return errno == EAGAIN || errno == EINTR || errno == ENOBUFS ? 0 : -errno;
}

static int keep(struct vsock_conn *c, const struct vq_buf *b, uint32_t off, uint32_t len)
{
	uint32_t at = (c->head + c->used) % VSOCK_BUF, first = MIN(len, VSOCK_BUF - at);

	BUG_ON(len > VSOCK_BUF - c->used);
	if (!c->ring) {
		c->ring = malloc(VSOCK_BUF);
		if (!c->ring)
			return -ENOMEM;
		loop_fd_events(c->vs->v.dev.m->loop, &c->h, EDGES | EPOLLOUT);
	}
	vq_get(b, off, c->ring + at, first);
	vq_get(b, off + first, c->ring, len - first);
	c->used += len;
	return 0;
}

int host_write(struct vsock_conn *c, const struct vq_buf *b, uint32_t len)
{
	struct iovec iov[VQ_IOV_MAX];
	ssize_t done = 0;
	unsigned n;

	if (!c->used) {
		n = vsock_slice(b->iov, b->nout, VSOCK_HEADER, &len, iov, VQ_IOV_MAX);
		done = send_some(c, iov, n);
		if (done < 0)
			return (int)done;
		c->taken += (uint32_t)done;
	}
	if ((uint32_t)done == len)
		return 0;
	return keep(c, b, (uint32_t)(VSOCK_HEADER + (size_t)done), len - (uint32_t)done);
}

void host_drop_ring(struct vsock_conn *c)
{
	if (c->ring && c->h.fd >= 0)
		loop_fd_events(c->vs->v.dev.m->loop, &c->h, EDGES);
	c->taken += c->used;
	free(c->ring);
	c->ring = NULL;
	c->head = c->used = 0;
}

/* until the ring is empty or the socket full */
int host_flush(struct vsock_conn *c)
{
	while (c->used) {
		uint32_t first = MIN(c->used, VSOCK_BUF - c->head);
		struct iovec iov[2] = { { c->ring + c->head, first },
					{ c->ring, c->used - first } };
		ssize_t k = send_some(c, iov, c->used > first ? 2 : 1);

		if (k <= 0)
			return (int)k;
		c->head = (c->head + (uint32_t)k) % VSOCK_BUF;
		c->used -= (uint32_t)k;
		c->taken += (uint32_t)k;
	}
	host_drop_ring(c);
	return 0;
}

void host_shutdown(struct vsock_conn *c, int how)
{
	if (c->h.fd >= 0)
		shutdown(c->h.fd, how);
}

void host_close(struct vsock_conn *c)
{
	if (c->h.fd >= 0)
		loop_fd_del(c->vs->v.dev.m->loop, &c->h);
	shut(&c->h.fd);
	host_drop_ring(c);
}
