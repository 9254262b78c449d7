/*
 * net_sock.c - frames through a stream socket, as passt and QEMU speak it
 *
 * Each frame follows its length, four bytes, big-endian.
 *
 * 1. Many frames go in one call.  Of a frame that went half way the rest is
 *    copied, so that the guest has its buffer back whatever the peer does; at
 *    most one such rest exists.
 * 2. What comes in is read as much as there is, and handed out frame by frame.
 *    A length that no frame can have means that the two sides no longer agree
 *    on where frames begin: there is no way back, the carrier is gone.
 * 3. Nothing can be left to the other side: headers are zero, both ways.
 *
 * #syscalls sendmsg recvfrom close
 * #syscalls:before socket connect socketpair
 */
#include <endian.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"
#include "net.h"
#include "net_passt.h"

#define LENGTH	   sizeof(uint32_t)
#define MOST_PARTS 1024 /* UIO_MAXIOV */
#define IN_BYTES   (2 * (NET_FRAME_MAX + LENGTH))

struct net_sock {
	struct net_back b;
	struct net_passt *passt; /* the one we started, or NULL */
	/* going out */
	uint32_t length[NET_BATCH];
	struct iovec iov[MOST_PARTS];
	uint32_t rest_at, rest_end;
	uint8_t rest[NET_FRAME_MAX + LENGTH];
	/* coming in: in[in_at..in_end) */
	uint32_t in_at, in_end;
	bool dry; /* the last call had all there was */
	uint8_t in[IN_BYTES];
};

static struct net_sock *to_sock(struct net_back *b)
{
	return container_of(b, struct net_sock, b);
}

/* bytes that went, 0 with @blocked set, or -errno */
static ssize_t put(struct net_sock *s, struct iovec *iov, unsigned n)
{
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = n };
	ssize_t r;

	s->b.count->tx_calls++;
	do
		r = sendmsg(s->b.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	if (r >= 0)
		return r;
	if (errno != EAGAIN && errno != ENOBUFS)
		return -errno;
	s->b.blocked = true;
	return 0;
}

/* the rest of a frame, first of all: 0 or -errno */
static int put_rest(struct net_sock *s)
{
	struct iovec iov = { s->rest + s->rest_at, s->rest_end - s->rest_at };
	ssize_t r;

	if (!iov.iov_len)
		return 0;
	r = put(s, &iov, 1);
	if (r < 0)
		return (int)r;
	s->rest_at += (uint32_t)r;
	s->b.blocked = s->rest_at < s->rest_end;
	return 0;
}

/* frames into one row of pieces: how many fit */
static unsigned gather(struct net_sock *s, const struct net_frame *f, unsigned n, unsigned *parts)
{
	unsigned i, at = 0;

	for (i = 0; i < n && at + 1 + f[i].n <= MOST_PARTS; i++) {
		if (!f[i].n)
			continue;
		s->length[i] = htobe32(f[i].len);
		s->iov[at++] = (struct iovec){ &s->length[i], LENGTH };
		memcpy(&s->iov[at], f[i].iov, f[i].n * sizeof(*s->iov));
		at += f[i].n;
	}
	*parts = at;
	return i;
}

/* @sent bytes of a frame are on the way: keep the others */
static void keep_rest(struct net_sock *s, uint32_t length, const struct net_frame *f, size_t sent)
{
	uint8_t *to = s->rest;

	memcpy(to, &length, LENGTH);
	to += LENGTH;
	for (unsigned i = 0; i < f->n; i++) {
		memcpy(to, f->iov[i].iov_base, f->iov[i].iov_len);
		to += f->iov[i].iov_len;
	}
	s->rest_at = (uint32_t)sent;
	s->rest_end = (uint32_t)(to - s->rest);
	s->b.blocked = true;
}

static int sock_send(struct net_back *b, struct net_frame *f, unsigned n)
{
	struct net_sock *s = to_sock(b);
	unsigned fit, parts, i;
	ssize_t left;
	int r = put_rest(s);

	if (r || b->blocked || !n)
		return r;
	fit = gather(s, f, n, &parts);
	left = parts ? put(s, s->iov, parts) : 0;
	if (left < 0)
		return (int)left;
	for (i = 0; i < fit; i++) {
		size_t size = f[i].n ? LENGTH + f[i].len : 0;

		if ((size_t)left < size)
			break;
		left -= (ssize_t)size;
	}
	if (left)
		keep_rest(s, s->length[i], &f[i], (size_t)left);
	if (i < fit)
		b->blocked = true;
	return (int)i + (left > 0);
}

/* a whole frame's length at in_at, 0 if it has not come yet, or -EPROTO */
static int whole_frame(struct net_sock *s)
{
	uint32_t have = s->in_end - s->in_at, len;

	if (have < LENGTH)
		return 0;
	memcpy(&len, s->in + s->in_at, LENGTH);
	len = be32toh(len);
	if (len < NET_FRAME_MIN || len > NET_FRAME_MAX)
		return -EPROTO;
	return have - LENGTH < len ? 0 : (int)len;
}

/* 0, -EAGAIN or -errno */
static int fill(struct net_sock *s)
{
	ssize_t r;

	if (s->in_at) {
		memmove(s->in, s->in + s->in_at, s->in_end - s->in_at);
		s->in_end -= s->in_at;
		s->in_at = 0;
	}
	s->b.count->rx_calls++;
	do
		r = recv(s->b.fd, s->in + s->in_end, IN_BYTES - s->in_end, MSG_DONTWAIT);
	while (r < 0 && errno == EINTR);
	if (r <= 0)
		return r ? -errno : -EPIPE;
	s->dry = (size_t)r < IN_BYTES - s->in_end;
	s->in_end += (uint32_t)r;
	return 0;
}

static ssize_t sock_recv(struct net_back *b, struct virtio_net_hdr_v1 *hdr, struct iovec *iov,
			 unsigned n)
{
	struct net_sock *s = to_sock(b);
	int len = whole_frame(s), r;
	const uint8_t *from;
	size_t left;

	/* what comes meanwhile epoll tells of */
	if (!len) {
		r = s->dry ? 0 : fill(s);
		if (r)
			return r;
		len = whole_frame(s);
	}
	if (len <= 0) {
		s->dry = false;
		return len ? len : -EAGAIN;
	}
	*hdr = (struct virtio_net_hdr_v1){ .flags = 0 };
	from = s->in + s->in_at + LENGTH;
	left = (size_t)len;
	for (unsigned i = 1; i < n && left; i++) {
		size_t k = MIN(iov[i].iov_len, left);

		memcpy(iov[i].iov_base, from, k);
		from += k;
		left -= k;
	}
	s->in_at += (uint32_t)LENGTH + (uint32_t)len;
	b->holds = whole_frame(s) != 0;
	return len;
}

static void sock_close(struct net_back *b)
{
	struct net_sock *s = to_sock(b);

	close(b->fd); /* which ends a passt of ours, too */
	net_passt_end(s->passt, b->lost);
	free(s);
}

static const struct net_back_ops sock_ops = {
	.send = sock_send,
	.recv = sock_recv,
	.close = sock_close,
};

static int connect_to(const char *name, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (fd < 0)
		return err(-errno, "%s: socket: %s", name, strerror(errno));
	if (str_copy(addr.sun_path, sizeof(addr.sun_path), path))
		return err(-EINVAL, "%s: socket %s: the path is too long", name, path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return err(-errno,
				   "%s: socket %s: nobody listens there; start passt --socket %s",
				   name, path, path);
		if (errno == EAGAIN)
			return err(-EBUSY, "%s: socket %s: its passt has a guest already", name,
				   path);
		return err(-errno, "%s: socket %s: %s", name, path, strerror(errno));
	}
	r = fd;
	fd = -1;
	return r;
}

static int connect_back(struct net_sock *s, struct loop *loop, const struct conf_net *conf)
{
	int pair[2], r;

	if (conf->socket[0])
		return s->b.fd = connect_to(s->b.name, conf->socket);
	/* passt finishes a frame it has begun with a call that must wait, so its end is to block;
	 * no call of ours does */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return err(-errno, "%s: socket pair: %s", s->b.name, strerror(errno));
	s->b.fd = pair[0];
	r = net_passt_start(loop, s->b.name, conf->mtu, conf->forward, pair[1], &s->passt);
	close(pair[1]);
	return r;
}

struct net_back *net_sock_open(struct loop *loop, const char *name, const struct conf_net *conf,
			       struct net_counters *count)
{
	struct net_sock *s = malloc(sizeof(*s)); /* its buffers are touched as they are used */

	if (!s) {
		err(-ENOMEM, "%s: out of memory", name);
		return NULL;
	}
	s->b = (struct net_back){
		.ops = &sock_ops, .name = name, .fd = -1, .batch = NET_BATCH, .count = count
	};
	s->passt = NULL;
	s->dry = false;
	s->rest_at = s->rest_end = s->in_at = s->in_end = 0;
	if (connect_back(s, loop, conf) < 0) {
		cleanup_close(&s->b.fd);
		free(s);
		return NULL;
	}
	return &s->b;
}
