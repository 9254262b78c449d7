/*
 * scripts_vsock.c - a guest with sockets
 *
 * Connections do not survive a restore, and a guest that was restored hears of
 * it on its event queue.  So each step opens and closes what it uses, takes
 * events first, and the last steps take all traces of them away.
 */
#include <linux/pci_regs.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices.h"
#include "vsock_guest.h"

static const void *vsock_conf(struct subject *x)
{
	return &vg_host_of(x)->conf;
}

static void note_packet(struct subject *x, const struct vg_packet *p)
{
	subject_note(x, p->h.op | p->h.flags << 8 | p->len << 16 | (uint64_t)p->h.fwd_cnt << 32);
}

static void from_host(struct subject *x)
{
	struct guest *g = &x->g;
	struct vg_packet p;
	uint32_t port;
	char buf[64];
	int fd = vg_open_from_host(x, 1024, &port);
	struct virtio_vsock_hdr h = vg_header(1024, port, VIRTIO_VSOCK_OP_RW);

	subject_note(x, port);
	require(send(fd, "from the host", 13, 0) == 13);
	vg_expect(g, VIRTIO_VSOCK_OP_RW, &p);
	note_packet(x, &p);
	fake_poke(x->f, VG_DATA, "from the guest", 14);
	h.len = 14;
	h.fwd_cnt = 13;
	vg_send(g, &h, 14);
	subject_note(x, vg_read(fd, buf, sizeof(buf)));
	close(fd);
	vg_expect(g, VIRTIO_VSOCK_OP_SHUTDOWN, &p);
	note_packet(x, &p);
	vg_say(g, 1024, port, VIRTIO_VSOCK_OP_RST, 0, 13);
}

static void from_guest(struct subject *x)
{
	struct guest *g = &x->g;
	struct vg_packet p;
	int fd = vg_open_from_guest(x, 2000, 50);

	shutdown(fd, SHUT_WR);
	vg_expect(g, VIRTIO_VSOCK_OP_SHUTDOWN, &p);
	note_packet(x, &p);
	vg_say(g, 2000, 50, VIRTIO_VSOCK_OP_SHUTDOWN, 3, 0);
	vg_expect(g, VIRTIO_VSOCK_OP_RST, &p);
	note_packet(x, &p);
	subject_note(x, vg_at_end(fd));
	close(fd);
}

static void refused(struct subject *x)
{
	struct vg_packet p;

	vg_say(&x->g, 2001, 51, VIRTIO_VSOCK_OP_REQUEST, 0, 0);
	vg_expect(&x->g, VIRTIO_VSOCK_OP_RST, &p);
	note_packet(x, &p);
}

/* answers to what an earlier step made available */
static void answers(struct subject *x)
{
	struct vg_packet p;
	struct guest_used u;

	guest_kick(&x->g, VG_Q_TX);
	fake_settle(x->f);
	while (guest_used(&x->g, VG_Q_TX, &u))
		require(!u.len);
	for (unsigned i = 0; i < 3; i++) {
		vg_expect(&x->g, VIRTIO_VSOCK_OP_RST, &p);
		note_packet(x, &p);
	}
}

/* as a driver leaves that gives its memory back */
static void leave(struct subject *x)
{
	guest_reset(&x->g);
	fake_fill(x->f, GUEST_DESC, 0, GUEST_INDIRECT - GUEST_DESC);
	fake_fill(x->f, GUEST_HDR, 0, GUEST_DATA - GUEST_HDR);
}

static void vsock_step(struct subject *x, unsigned k)
{
	const uint64_t rings = GUEST_VERSION_1 | GUEST_EVENT_IDX | GUEST_INDIRECT_F;
	struct guest *g = &x->g;
	struct virtio_vsock_hdr h = vg_header(1, 2, VIRTIO_VSOCK_OP_RW);

	if (g->queues)
		vg_events(g);
	switch (k) {
	case 0:
		vg_start(g, rings);
		subject_note(x, guest_config(g, 0, 8));
		break;
	case 1:
	case 3:
		from_host(x);
		break;
	case 2:
		from_guest(x);
		break;
	case 4: /* made available, and not a word about it */
		for (unsigned i = 0; i < 3; i++)
			vg_add(g, &h, 0);
		return; /* a restore looks at the queue, so what is seen now may differ */
	case 5:
		answers(x);
		break;
	case 6:
		if (x->wiring == WIRE_PCI)
			guest_msix(g, 3);
		refused(x);
		break;
	case 7:
		vg_start(g, GUEST_VERSION_1);
		from_host(x);
		break;
	case 8:
		refused(x);
		break;
	case 9: /* a header that is none */
		h.len = 0;
		guest_add(g, VG_Q_TX, &(struct guest_buf){ VG_TX, 20, false }, 1);
		guest_kick(g, VG_Q_TX);
		break;
	case 10:
		leave(x);
		require(guest_negotiate(g, GUEST_VERSION_1));
		break;
	case 11: /* half way through the set-up */
		require(guest_queue(g, 0, VG_RXS));
		break;
	case 12:
		vg_start(g, rings);
		from_guest(x);
		break;
	case 13:
		leave(x);
		break;
	}
	fake_settle(x->f);
	subject_note(x, guest_read(g, REG_STATUS));
}

const struct script vsock_script = {
	.type = &vsock_type,
	.host = vg_host,
	.unhost = vg_unhost,
	.conf = vsock_conf,
	.steps = 14,
	.step = vsock_step,
};
