/* scripts_net.c - a guest with a network card, whose other end is a socket of the test's */
#include <endian.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices.h"
#include "net_peer.h"

#define RX   0
#define TX   1
#define HDR  ((unsigned)sizeof(struct virtio_net_hdr_v1))
#define PART 128 /* one receive buffer */

/* --- the other end --- */

void net_peer_host(struct subject *x)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct net_peer *p = calloc(1, sizeof(*p));

	require(p);
	x->own = p;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/tmp/hutch-net.%d", getpid());
	p->fd = -1;
	p->listen = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	unlink(addr.sun_path);
	require(p->listen >= 0 && !bind(p->listen, (struct sockaddr *)&addr, sizeof(addr)) &&
		!listen(p->listen, 8));
	/* without a name, so that nothing can be left behind */
	p->place = open(addr.sun_path, O_PATH | O_CLOEXEC);
	require(p->place >= 0 && !unlink(addr.sun_path));
	p->conf = (struct conf_net){ .mode = NET_USER, .mtu = 1400, .link = true, .offload = true };
	snprintf(p->conf.socket, sizeof(p->conf.socket), "/proc/self/fd/%d", p->place);
	strcpy(p->conf.mac, PEER_MAC);
}

void net_peer_unhost(struct subject *x)
{
	struct net_peer *p = net_peer(x);

	cleanup_close(&p->fd);
	close(p->listen);
	close(p->place);
	free(p);
}

int net_peer_fd(struct subject *x)
{
	struct net_peer *p = net_peer(x);

	if (p->fd < 0)
		p->fd = accept4(p->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	require(p->fd >= 0);
	return p->fd;
}

void net_peer_put(struct subject *x, const void *data, size_t len)
{
	require(send(net_peer_fd(x), data, len, MSG_NOSIGNAL) == (ssize_t)len);
}

void net_peer_send(struct subject *x, const void *frame, uint32_t len)
{
	uint32_t be = htobe32(len);

	net_peer_put(x, &be, sizeof(be));
	net_peer_put(x, frame, len);
}

/* all @len bytes, of which some may still have to be sent; false if there are none */
static bool get(struct subject *x, void *to, uint32_t len)
{
	uint32_t at = 0;

	for (unsigned bound = 0; at < len; bound++) {
		ssize_t n = recv(net_peer_fd(x), (uint8_t *)to + at, len - at, 0);

		if (n <= 0 && !at)
			return false;
		require(bound < 1000);
		if (n > 0)
			at += (uint32_t)n;
		else
			fake_settle(x->f);
	}
	return true;
}

int net_peer_recv(struct subject *x, void *frame, uint32_t size)
{
	uint32_t len;

	if (!get(x, &len, sizeof(len)))
		return -1;
	len = be32toh(len);
	require(len <= size);
	for (unsigned bound = 0; !get(x, frame, len); bound++) {
		require(bound < 10);
		fake_settle(x->f);
	}
	return (int)len;
}

void net_fill(uint8_t *frame, uint32_t len, unsigned seed)
{
	uint32_t s = seed + 1;

	for (uint32_t i = 0; i < len; i++)
		frame[i] = (uint8_t)fake_random(&s);
}

void net_guest_send(struct guest *g, gpa_t at, const struct virtio_net_hdr_v1 *hdr,
		    const void *frame, uint32_t len)
{
	const struct virtio_net_hdr_v1 none = { .flags = 0 };
	const struct guest_buf buf[] = { { at, HDR, false }, { at + HDR, len, false } };

	fake_poke(g->f, at, hdr ? hdr : &none, HDR);
	fake_poke(g->f, at + HDR, frame, len);
	guest_add(g, TX, buf, 2);
}

/* --- the script --- */

static const void *net_conf(struct subject *x)
{
	return &net_peer(x)->conf;
}

/* @n buffers side by side */
static void add_buffers(struct subject *x, unsigned at, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const struct guest_buf b = { GUEST_DATA + (at + i) * PART, PART, true };

		guest_add(&x->g, RX, &b, 1);
	}
}

static void come_in(struct subject *x, uint32_t len, unsigned seed)
{
	uint8_t frame[2048];

	net_fill(frame, len, seed);
	net_peer_send(x, frame, len);
	fake_settle(x->f);
}

static void go_out(struct subject *x, uint32_t len, unsigned seed)
{
	uint8_t frame[2048], got[2048];

	net_fill(frame, len, seed);
	net_guest_send(&x->g, FAKE_HIGH + FAKE_HIGH_SLOT - 40, NULL, frame, len);
	guest_kick(&x->g, TX);
	fake_settle(x->f);
	subject_note(x, (uint64_t)net_peer_recv(x, got, sizeof(got)));
	subject_note(x, (uint64_t)memcmp(frame, got, len));
}

static void look(struct subject *x)
{
	subject_note(x, guest_read(&x->g, REG_STATUS));
	subject_note(x, guest_used_idx(&x->g, RX) | guest_used_idx(&x->g, TX) << 16);
	subject_note(x, guest_ack(&x->g));
}

static void start(struct subject *x, uint64_t features, bool msix)
{
	require(guest_start(&x->g, features, 2, 16));
	if (msix && x->wiring == WIRE_PCI)
		guest_msix(&x->g, 2);
	fake_settle(x->f);
}

static void net_step(struct subject *x, unsigned k)
{
	const uint64_t large = NET_BASE | NET_F(MRG_RXBUF) | NET_F(MTU) | GUEST_EVENT_IDX;

	switch (k) {
	case 0:
		start(x, large, false);
		subject_note(x, guest_config(&x->g, 0, 8));
		subject_note(x, guest_config(&x->g, 8, 4));
		break;
	case 1:
		add_buffers(x, 0, 2);
		guest_kick(&x->g, RX);
		come_in(x, 60, k);
		break;
	case 2:
		go_out(x, 60, k);
		break;
	case 3: /* over three buffers, of which one was left */
		add_buffers(x, 2, 3);
		guest_kick(&x->g, RX);
		come_in(x, 300, k);
		break;
	case 4: /* made available, and not a word about it */
		add_buffers(x, 5, 8);
		return;
	case 5:
		guest_kick(&x->g, RX);
		come_in(x, 14, k);
		come_in(x, 700, k);
		go_out(x, 1200, k);
		break;
	case 6: /* an index out of thin air */
		fake_poke16(x->f, x->g.q[TX].avail + 2, (uint16_t)(x->g.q[TX].next + 100));
		guest_kick(&x->g, TX);
		break;
	case 7:
		look(x);
		guest_reset(&x->g);
		start(x, NET_BASE, true);
		add_buffers(x, 0, 3);
		guest_kick(&x->g, RX);
		break;
	case 8: /* the second is too large for one buffer */
		come_in(x, 100, k);
		come_in(x, 300, k);
		come_in(x, 101, k);
		go_out(x, 99, k);
		break;
	case 9:
		guest_reset(&x->g);
		require(guest_negotiate(&x->g, large));
		require(guest_queue(&x->g, 0, 8));
		break;
	case 10:
		require(guest_queue(&x->g, 1, 8));
		guest_driver_ok(&x->g);
		go_out(x, 64, k);
		break;
	case 11:
		guest_reset(&x->g);
		break;
	}
	fake_settle(x->f);
	if (k != 7 && k != 2) /* an interrupt is left waiting */
		look(x);
}

const struct script net_script = {
	.type = &net_type,
	.host = net_peer_host,
	.unhost = net_peer_unhost,
	.conf = net_conf,
	.steps = 12,
	.step = net_step,
};
