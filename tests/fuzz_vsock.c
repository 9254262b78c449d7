/*
 * fuzz_vsock - a driver and programs of the host made of the input's bytes, against virtio-vsock
 *
 * The first byte chooses the transport.  Then each byte is one operation with
 * the bytes behind it as operands: packets with a few odd fields, raw
 * descriptors, buffers, kicks, programs that connect, listen, send, read, stop
 * or vanish, time, pauses and snapshots.  Whatever it was, a reset mends it, and
 * connections work both ways afterwards.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "devices.h"
#include "fuzz_input.h"
#include "vsock.h"
#include "vsock_guest.h"

#define PROGRAMS 8
#define PORTS	 4 /* of the host: 70 to 73 */

static int program[PROGRAMS], listener[PORTS];
static bool paused;

/* one that is there, so that most packets mean something */
static struct vsock_conn *some_connection(struct subject *x, uint8_t which)
{
	struct vsock_conn *c = TAILQ_FIRST(&vg_vsock(x)->all);

	for (; c && which % 4; which--)
		c = TAILQ_NEXT(c, all) ? TAILQ_NEXT(c, all) : TAILQ_FIRST(&vg_vsock(x)->all);
	return c;
}

static void odd_field(struct virtio_vsock_hdr *h, struct input *in)
{
	uint8_t which = byte(in) % 10;
	uint64_t v = number(in);

	switch (which) {
	case 0:
		h->src_cid = v;
		break;
	case 1:
		h->dst_cid = v;
		break;
	case 2:
		h->src_port = (uint32_t)v;
		break;
	case 3:
		h->dst_port = (uint32_t)v;
		break;
	case 4:
		h->len = (uint32_t)v;
		break;
	case 5:
		h->type = (uint16_t)v;
		break;
	case 6:
		h->op = (uint16_t)v;
		break;
	case 7:
		h->flags = (uint32_t)v;
		break;
	case 8:
		h->buf_alloc = (uint32_t)v;
		break;
	case 9:
		h->fwd_cnt += (uint32_t)v;
		break;
	}
}

static void packet(struct subject *x, struct input *in)
{
	static const uint32_t lens[] = { 0, 1, 100, 4000, VG_DATA_MAX };
	uint8_t how = byte(in);
	struct vsock_conn *c = some_connection(x, how >> 4);
	struct virtio_vsock_hdr h = vg_header(10 + how % 4, 70 + how / 4 % PORTS, 1 + how % 7);
	uint32_t len = 0;

	if (c && how % 8) {
		h.src_port = c->guest_port;
		h.dst_port = c->host_port;
		h.fwd_cnt = c->sent;
		if (c->state == CONN_ASKED && how % 2)
			h.op = VIRTIO_VSOCK_OP_RESPONSE;
	}
	if (h.op == VIRTIO_VSOCK_OP_RW)
		len = lens[byte(in) % ARRAY_SIZE(lens)];
	h.len = len;
	h.flags = h.op == VIRTIO_VSOCK_OP_SHUTDOWN ? byte(in) % 4 : 0;
	if (how % 5 == 4)
		odd_field(&h, in);
	vg_add(&x->g, &h, len);
	if (how & 16)
		guest_kick(&x->g, VG_Q_TX);
}

static void raw_descriptor(struct subject *x, struct input *in)
{
	static const gpa_t places[] = {
		VG_TX,	    VG_RX,	    VG_DATA,	       VG_EVENT,
		GUEST_DESC, GUEST_INDIRECT, FAKE_LOW_END - 16, FAKE_HIGH_END - 50
	};
	uint8_t how = byte(in);
	unsigned q = how % 3;
	struct vring_desc d = {
		.addr = how < 200 ? places[how / 4 % 8] + how / 32 : number(in),
		.len = (uint32_t)number(in),
		.flags = byte(in) & 7,
		.next = (uint16_t)(byte(in) % 20),
	};

	guest_desc(&x->g, how & 128 ? GUEST_INDIRECT : x->g.q[q].desc, byte(in) % VG_RXS, d);
	if (how & 8)
		guest_publish(&x->g, q, (uint16_t)(byte(in) % 18));
}

static void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void program_acts(struct subject *x, struct input *in)
{
	static const char *const lines[] = { "CONNECT 9\n", "CONNECT 9\nmore",
					     "CONN",	    "ECT 9\n",
					     "x\n",	    "CONNECT 99999999999999\n" };
	static uint8_t buf[65536];
	uint8_t how = byte(in);
	int *fd = &program[how % PROGRAMS];
	const char *line;

	switch (how / PROGRAMS % 8) {
	case 0:
	case 1:
		shut(fd);
		*fd = vg_connect(x, byte(in) % 4 ? "CONNECT 9\n" : NULL);
		return;
	case 2:
		shut(fd);
		*fd = listener[how / 64] < 0 ? -1 : vg_accept(listener[how / 64]);
		return;
	}
	if (*fd < 0)
		return;
	switch (how / PROGRAMS % 8) {
	case 3:
		line = lines[byte(in) % 6];
		if (send(*fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			shut(fd);
		return;
	case 4:
		if (send(*fd, buf, 1 + 64U * byte(in), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			return;
		return;
	case 5:
		vg_read(*fd, buf, how & 64 ? sizeof(buf) : 100);
		return;
	case 6:
		shutdown(*fd, how >> 6 & 1);
		return;
	case 7:
		shut(fd);
		return;
	}
}

static void listen_or_not(struct subject *x, uint8_t how)
{
	int *fd = &listener[how % PORTS];

	if (*fd >= 0)
		shut(fd);
	else
		*fd = vg_listen(x, 70 + how % PORTS, how >> 6);
}

/* the time of everything that waits has come */
static void pass_time(struct subject *x)
{
	struct vsock *vs = vg_vsock(x);
	struct vsock_conn *c;

	TAILQ_FOREACH(c, &vs->all, all)
	{
		c->deadline = c->deadline ? 1 : 0;
		c->give_up = 1;
	}
	loop_timer_set(x->f->m.loop, &vs->timer, 1);
	fake_turn(x->f);
}

static void save_and_try(struct subject *x)
{
	static _Alignas(8) char tree[CONTRACT_TREE];
	int n = fake_save(x->f, tree, sizeof(tree));

	paused = false;
	/* a driver may do before FEATURES_OK what no image may hold; then nothing is changed */
	if (fake_load(x->f, tree, (size_t)n))
		subject_reset(x);
	fake_resume(x->f);
}

static void receive(struct subject *x, unsigned n)
{
	struct guest_used u;

	for (unsigned q = 0; q < 3; q++) {
		for (unsigned i = 0; i < n && guest_used(&x->g, q, &u); i++) {
			if (q != VG_Q_TX)
				guest_publish(&x->g, q, (uint16_t)u.id);
		}
	}
	guest_kick(&x->g, VG_Q_RX);
	guest_kick(&x->g, VG_Q_EVENT);
}

static void start(struct subject *x, uint8_t how)
{
	static const uint32_t sizes[] = { VG_RX_BYTES,	 VG_RX_BYTES, 100,
					  VG_HEADER + 1, VG_HEADER,   43 };
	uint64_t features = GUEST_VERSION_1 | (how & 1 ? GUEST_EVENT_IDX : 0) |
			    (how & 2 ? GUEST_INDIRECT_F : 0);

	vg_start_with(&x->g, features, how & 4 ? VG_RXS : how >> 6, sizes[how / 8 % 6]);
	paused = false;
}

static void operation(struct subject *x, struct input *in)
{
	uint8_t op = byte(in);

	switch (op % 16) {
	case 0:
		if (!paused)
			start(x, byte(in));
		return;
	case 1:
		guest_kick(&x->g, op / 16 % 3);
		fake_turn(x->f);
		return;
	case 2:
	case 3:
	case 4:
		packet(x, in);
		return;
	case 5:
		raw_descriptor(x, in);
		return;
	case 6:
	case 7:
	case 8:
		program_acts(x, in);
		return;
	case 9:
		listen_or_not(x, byte(in));
		return;
	case 10:
		receive(x, op / 16);
		return;
	case 11:
		vg_post(&x->g, byte(in) % VG_RXS, (uint32_t)number(in));
		return;
	case 12:
		pass_time(x);
		return;
	case 13:
		if (op & 16)
			save_and_try(x);
		else if (paused)
			fake_resume(x->f);
		else
			dev_drain(x->dev);
		paused = to_vdev(x->dev)->quiet;
		return;
	case 14:
		fake_poke16(x->f, x->g.q[op / 16 % 3].avail + byte(in) % 20 * 2U,
			    (uint16_t)number(in));
		return;
	case 15:
		fake_turn(x->f);
		return;
	}
}

/* whatever it was, a reset mends it; that a connection works then is the dearest of checks */
static void check_mended(struct subject *x, bool all)
{
	struct vsock *vs = vg_vsock(x);
	uint32_t port;
	int fd;

	subject_reset(x);
	fake_settle(x->f);
	require(!vs->count.connections && !vs->strays && !to_vdev(x->dev)->inflight);
	if (!all)
		return;
	vg_start(&x->g, GUEST_VERSION_1);
	require(!vs->count.connections && !vs->strays && TAILQ_EMPTY(&vs->all));
	fd = vg_open_from_host(x, 9, &port);
	vg_guest_sends(x, 9, port, 0, 100);
	require(vg_host_gets(fd, 0) == 100);
	close(fd);
	subject_reset(x);
	fake_settle(x->f);
	require(!vs->count.connections && !to_vdev(x->dev)->inflight);
}

static struct subject *subjects[2];

static void free_subjects(void)
{
	for (unsigned i = 0; i < 2; i++)
		if (subjects[i])
			subject_free(subjects[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct contract_case wires[] = { { &vsock_type, WIRE_MMIO },
						      { &vsock_type, WIRE_PCI } };
	static uint8_t zero[FAKE_RAM];
	struct input in = { data, size };
	struct subject *x;
	unsigned wire = byte(&in) & 1;

	if (!subjects[0] && !subjects[1])
		atexit(free_subjects);
	if (!subjects[wire])
		subjects[wire] = subject_new(&wires[wire]);
	x = subjects[wire];
	memset(program, -1, sizeof(program));
	memset(listener, -1, sizeof(listener));
	fake_ram_set(x->f, zero);
	start(x, 7);
	fake_mark(x->f);
	for (unsigned n = 0; in.left && n < 200; n++) {
		operation(x, &in);
		require(vg_vsock(x)->count.connections <= vg_vsock(x)->limit);
	}
	if (paused)
		fake_resume(x->f);
	if (fuzz_wants_rain(data, size))
		fuzz_rain(x, GUEST_VERSION_1 | GUEST_INDIRECT_F, 3, fuzz_hash(data, size));
	fake_settle(x->f);
	fake_check_dirty(x->f);
	for (unsigned i = 0; i < PROGRAMS; i++)
		shut(&program[i]);
	for (unsigned i = 0; i < PORTS; i++)
		shut(&listener[i]);
	check_mended(x, size % 4 == 0);
	fuzz_rings(x->dev);
	fake_log_clear();
	return 0;
}
