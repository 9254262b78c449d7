#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices.h"
#include "vsock_guest.h"

/* --- the host --- */

struct vg_host *vg_host_of(struct subject *x)
{
	return x->own;
}

void vg_host(struct subject *x)
{
	struct vg_host *h = calloc(1, sizeof(*h));

	require(h);
	strcpy(h->folder, "/tmp/hutch-vsock.XXXXXX");
	require(mkdtemp(h->folder));
	snprintf(h->path, sizeof(h->path), "%s/v", h->folder);
	strcpy(h->conf.path, h->path);
	h->conf.cid = VG_CID;
	x->own = h;
}

void vg_unhost(struct subject *x)
{
	struct vg_host *h = x->own;
	DIR *dir = opendir(h->folder);
	struct dirent *e;

	require(dir);
	while ((e = readdir(dir))) {
		require(strcmp(e->d_name, "v")); /* the device removes its own */
		if (e->d_name[0] != '.')
			unlinkat(dirfd(dir), e->d_name, 0);
	}
	closedir(dir);
	require(!rmdir(h->folder));
	free(h);
	x->own = NULL;
}

static struct sockaddr_un address(const char *path, long port)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (port < 0)
		snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	else
		snprintf(a.sun_path, sizeof(a.sun_path), "%s_%ld", path, port);
	return a;
}

static int make_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	require(fd >= 0);
	return fd;
}

int vg_connect(struct subject *x, const char *hello)
{
	struct sockaddr_un a = address(vg_host_of(x)->path, -1);
	int fd = make_socket();

	require(!connect(fd, (struct sockaddr *)&a, sizeof(a)));
	if (hello)
		require(send(fd, hello, strlen(hello), MSG_NOSIGNAL) == (ssize_t)strlen(hello));
	fake_settle(x->f);
	return fd;
}

int vg_listen(struct subject *x, uint32_t port, int backlog)
{
	struct sockaddr_un a = address(vg_host_of(x)->path, port);
	int fd = make_socket();

	unlink(a.sun_path);
	require(!bind(fd, (struct sockaddr *)&a, sizeof(a)));
	require(!listen(fd, backlog));
	return fd;
}

int vg_accept(int fd)
{
	return accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

size_t vg_read(int fd, void *buf, size_t size)
{
	ssize_t n = recv(fd, buf, size, MSG_DONTWAIT);

	return n > 0 ? (size_t)n : 0;
}

bool vg_at_end(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT | MSG_PEEK);

	return !n || (n < 0 && errno == ECONNRESET);
}

bool vg_says(int fd, const char *text)
{
	char buf[256];
	size_t n = vg_read(fd, buf, sizeof(buf));

	return n == strlen(text) && !memcmp(buf, text, n);
}

/* --- a subject --- */

const struct contract_case vg_wires[VG_WIRES] = { { &vsock_type, WIRE_MMIO },
						  { &vsock_type, WIRE_PCI } };

struct subject *vg_new(int wire)
{
	struct subject *x = subject_new(&vg_wires[wire]);

	vg_start(&x->g, VG_RINGS);
	return x;
}

struct vsock *vg_vsock(struct subject *x)
{
	return container_of(to_vdev(x->dev), struct vsock, v);
}

struct vsock_conn *vg_conn(struct subject *x, uint32_t guest_port, uint32_t host_port)
{
	return conn_find(vg_vsock(x), guest_port, host_port);
}

/* --- the driver --- */

void vg_post(struct guest *g, unsigned i, uint32_t size)
{
	guest_desc(g, g->q[VG_Q_RX].desc, i,
		   (struct vring_desc){ VG_RX + i * VG_RX_BYTES, size, VRING_DESC_F_WRITE, 0 });
	guest_publish(g, VG_Q_RX, (uint16_t)i);
}

static void post_event(struct guest *g, unsigned i)
{
	guest_desc(g, g->q[VG_Q_EVENT].desc, i,
		   (struct vring_desc){ VG_EVENT + 8 * i, 8, VRING_DESC_F_WRITE, 0 });
	guest_publish(g, VG_Q_EVENT, (uint16_t)i);
}

void vg_start_with(struct guest *g, uint64_t features, unsigned rxs, uint32_t size)
{
	guest_reset(g);
	require(guest_negotiate(g, features));
	for (unsigned q = 0; q < 3; q++)
		require(guest_queue(g, q, VG_RXS));
	g->queues = 3;
	for (unsigned i = 0; i < rxs; i++)
		vg_post(g, i, size);
	for (unsigned i = 0; i < VG_EVENTS; i++)
		post_event(g, i);
	guest_driver_ok(g);
	require(guest_is_live(g));
	fake_settle(g->f);
}

void vg_start(struct guest *g, uint64_t features)
{
	vg_start_with(g, features, VG_RXS, VG_RX_BYTES);
}

bool vg_recv(struct guest *g, struct vg_packet *p)
{
	struct guest_used u;
	gpa_t at;

	if (!guest_used(g, VG_Q_RX, &u))
		return false;
	require(u.id < VG_RXS && u.len >= VG_HEADER && u.len <= VG_RX_BYTES);
	at = VG_RX + u.id * VG_RX_BYTES;
	fake_peek(g->f, at, &p->h, VG_HEADER);
	p->len = u.len - VG_HEADER;
	require(p->h.len == p->len && p->h.dst_cid == VG_CID);
	require(p->h.op == VIRTIO_VSOCK_OP_RW || !p->len);
	fake_peek(g->f, at + VG_HEADER, p->data, p->len);
	guest_publish(g, VG_Q_RX, (uint16_t)u.id);
	guest_kick(g, VG_Q_RX);
	return true;
}

void vg_expect(struct guest *g, unsigned op, struct vg_packet *p)
{
	do {
		fake_settle(g->f);
		if (!vg_recv(g, p)) {
			fprintf(stderr, "op %u was expected, and nothing came\n", op);
			require(!"a packet");
		}
	} while (p->h.op == VIRTIO_VSOCK_OP_CREDIT_UPDATE && op != p->h.op);
	if (p->h.op != op)
		fprintf(stderr, "op %u was expected, and %u came\n", op, p->h.op);
	require(p->h.op == op);
}

void vg_add(struct guest *g, const struct virtio_vsock_hdr *h, uint32_t len)
{
	/* several may be under way */
	gpa_t at = VG_TX + 64U * (g->q[VG_Q_TX].next % 8);
	const struct guest_buf buf[] = { { at, VG_HEADER, false }, { VG_DATA, len, false } };

	fake_poke(g->f, at, h, VG_HEADER);
	guest_add(g, VG_Q_TX, buf, len ? 2 : 1);
}

void vg_send(struct guest *g, const struct virtio_vsock_hdr *h, uint32_t len)
{
	struct guest_used u;

	vg_add(g, h, len);
	guest_kick(g, VG_Q_TX);
	fake_settle(g->f);
	while (guest_used(g, VG_Q_TX, &u))
		require(!u.len);
}

struct virtio_vsock_hdr vg_header(uint32_t guest_port, uint32_t host_port, unsigned op)
{
	return (struct virtio_vsock_hdr){
		.src_cid = VG_CID,
		.dst_cid = 2,
		.src_port = guest_port,
		.dst_port = host_port,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = (uint16_t)op,
		.buf_alloc = VG_BUF,
	};
}

void vg_say(struct guest *g, uint32_t guest_port, uint32_t host_port, unsigned op, uint32_t flags,
	    uint32_t taken)
{
	struct virtio_vsock_hdr h = vg_header(guest_port, host_port, op);

	h.flags = flags;
	h.fwd_cnt = taken;
	vg_send(g, &h, 0);
}

unsigned vg_events(struct guest *g)
{
	struct guest_used u;
	unsigned n = 0;

	while (guest_used(g, VG_Q_EVENT, &u)) {
		struct virtio_vsock_event e;

		require(u.id < VG_EVENTS && u.len == sizeof(e));
		fake_peek(g->f, VG_EVENT + 8 * u.id, &e, sizeof(e));
		require(e.id == VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
		post_event(g, u.id);
		guest_kick(g, VG_Q_EVENT);
		fake_settle(g->f);
		n++;
	}
	return n;
}

/* --- both --- */

int vg_open_from_host(struct subject *x, uint32_t guest_port, uint32_t *ret_host_port)
{
	struct vg_packet p;
	char text[32];
	int fd;

	snprintf(text, sizeof(text), "CONNECT %u\n", guest_port);
	fd = vg_connect(x, text);
	vg_expect(&x->g, VIRTIO_VSOCK_OP_REQUEST, &p);
	require(p.h.src_cid == 2 && p.h.dst_port == guest_port);
	*ret_host_port = p.h.src_port;
	vg_say(&x->g, guest_port, p.h.src_port, VIRTIO_VSOCK_OP_RESPONSE, 0, 0);
	snprintf(text, sizeof(text), "OK %u\n", p.h.src_port);
	require(vg_says(fd, text));
	return fd;
}

int vg_open_from_guest(struct subject *x, uint32_t guest_port, uint32_t host_port)
{
	int listener = vg_listen(x, host_port, 5), fd;
	struct vg_packet p;

	vg_say(&x->g, guest_port, host_port, VIRTIO_VSOCK_OP_REQUEST, 0, 0);
	fd = vg_accept(listener);
	require(fd >= 0);
	close(listener);
	vg_expect(&x->g, VIRTIO_VSOCK_OP_RESPONSE, &p);
	require(p.h.src_port == host_port && p.h.dst_port == guest_port);
	return fd;
}

bool vg_is_silent(struct subject *x)
{
	struct vg_packet p;

	fake_settle(x->f);
	return !vg_recv(&x->g, &p);
}

/* --- bytes --- */

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(at * 7 + (at >> 8) * 13 + (at >> 16));
}

void vg_fill_pattern(uint8_t *buf, uint64_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf[i] = pattern(at + i);
}

bool vg_is_pattern(const uint8_t *buf, uint64_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (buf[i] != pattern(at + i))
			return false;
	return true;
}

void vg_guest_sends(struct subject *x, uint32_t gp, uint32_t hp, uint64_t at, uint32_t n)
{
	struct virtio_vsock_hdr h = vg_header(gp, hp, VIRTIO_VSOCK_OP_RW);
	static uint8_t buf[VG_DATA_MAX];

	while (n) {
		h.len = MIN(n, VG_DATA_MAX);
		vg_fill_pattern(buf, at, h.len);
		fake_poke(x->f, VG_DATA, buf, h.len);
		vg_send(&x->g, &h, h.len);
		at += h.len;
		n -= h.len;
	}
}

size_t vg_host_gets_some(int fd, uint64_t at, size_t most)
{
	static uint8_t buf[65536];
	size_t n, all = 0;

	while (all < most && (n = vg_read(fd, buf, MIN(most - all, sizeof(buf))))) {
		require(vg_is_pattern(buf, at + all, n));
		all += n;
	}
	return all;
}

size_t vg_host_gets(int fd, uint64_t at)
{
	return vg_host_gets_some(fd, at, SIZE_MAX);
}

size_t vg_host_sends(int fd, uint64_t at, size_t n)
{
	static uint8_t buf[65536];
	size_t all = 0;

	while (all < n) {
		size_t k = MIN(n - all, sizeof(buf));
		ssize_t r;

		vg_fill_pattern(buf, at + all, k);
		r = send(fd, buf, k, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (r <= 0)
			break;
		all += (size_t)r;
	}
	return all;
}
