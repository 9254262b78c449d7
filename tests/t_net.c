/*
 * t_net - virtio-net: what arrives where, and what it does when driver or peer misbehave
 *
 * The carrier is a socket whose other end the test holds; t_net_tap has taps.
 */
#include <endian.h>
#include <linux/virtio_pci.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices.h"
#include "net.h"
#include "net_peer.h"
#include "suite.h"

#define LARGE (NET_BASE | NET_F(MRG_RXBUF))
#define RXQ   256
#define TXQ   16

static const struct contract_case wires[] = { { &net_type, WIRE_MMIO }, { &net_type, WIRE_PCI } };

/* RAM that no ring lies in, for frames larger than GUEST_DATA */
static const struct {
	gpa_t at;
	uint32_t len;
} places[] = { { 0, 0x1000 }, { 0x4400, 0x10000 - 0x4400 }, { FAKE_HIGH, 2 * FAKE_HIGH_SLOT } };

static struct net *net_of(struct subject *x)
{
	return container_of(to_vdev(x->dev), struct net, v);
}

static void start(struct subject *x, uint64_t features)
{
	guest_reset(&x->g);
	ck_assert(guest_negotiate(&x->g, features));
	ck_assert(guest_queue(&x->g, NET_RX, RXQ));
	ck_assert(guest_queue(&x->g, NET_TX, TXQ));
	x->g.queues = 2;
	guest_driver_ok(&x->g);
	ck_assert(guest_is_live(&x->g));
	fake_settle(x->f);
}

static struct subject *new_net(int i, uint64_t features)
{
	struct subject *x = subject_new(&wires[i]);

	start(x, features);
	net_peer_fd(x);
	return x;
}

/* --- receive buffers of the guest --- */

static struct {
	gpa_t at[RXQ]; /* by head */
	uint32_t len[RXQ];
	unsigned place;
	uint32_t off;
} bufs;

static void forget_buffers(void)
{
	memset(&bufs, 0, sizeof(bufs));
}

/* one more, at the next free place: false where RAM is at its end */
static bool add_buffer(struct subject *x, uint32_t len)
{
	struct guest_buf b = { .len = len, .in = true };
	uint16_t head;

	while (bufs.off + len > places[bufs.place].len) {
		bufs.off = 0;
		if (++bufs.place == ARRAY_SIZE(places))
			return false;
	}
	b.gpa = places[bufs.place].at + bufs.off;
	bufs.off += len;
	head = guest_add(&x->g, NET_RX, &b, 1);
	bufs.at[head] = b.gpa;
	bufs.len[head] = len;
	return true;
}

static unsigned add_buffers(struct subject *x, unsigned n, uint32_t len)
{
	unsigned i = 0;

	while (i < n && add_buffer(x, len))
		i++;
	guest_kick(&x->g, NET_RX);
	fake_settle(x->f);
	return i;
}

/* the next frame the guest has: its length, -1 for none */
static int take(struct subject *x, uint8_t *frame, unsigned *buffers)
{
	struct virtio_net_hdr_v1 h = { .num_buffers = 1 };
	struct guest_used u;
	uint32_t len = 0;

	for (unsigned i = 0; i < h.num_buffers; i++) {
		if (!guest_used(&x->g, NET_RX, &u)) {
			ck_assert_msg(!i, "%u buffers of %u", i, h.num_buffers);
			return -1;
		}
		ck_assert_uint_lt(u.id, RXQ);
		ck_assert_uint_le(u.len, bufs.len[u.id]);
		/* every buffer but the last is full */
		ck_assert_uint_gt(u.len, 0);
		if (i + 1 < h.num_buffers && i)
			ck_assert_uint_eq(u.len, bufs.len[u.id]);
		if (!i) {
			fake_peek(x->f, bufs.at[u.id], &h, sizeof(h));
			ck_assert_uint_eq(h.flags | h.gso_type | h.gso_size, 0);
			ck_assert_uint_ge(h.num_buffers, 1);
			fake_peek(x->f, bufs.at[u.id] + NET_HDR, frame, u.len - NET_HDR);
			len = u.len - NET_HDR;
			continue;
		}
		fake_peek(x->f, bufs.at[u.id], frame + len, u.len);
		len += u.len;
	}
	if (buffers)
		*buffers = h.num_buffers;
	return (int)len;
}

static uint8_t frame[NET_FRAME_MAX], got[NET_FRAME_MAX + 64];

static void expect_in(struct subject *x, uint32_t len, unsigned seed, unsigned *buffers)
{
	net_fill(frame, len, seed);
	ck_assert_int_eq(take(x, got, buffers), (int)len);
	if (memcmp(frame, got, len))
		ck_abort_msg("frame %u of %u bytes differs", seed, len);
}

static void send_in(struct subject *x, uint32_t len, unsigned seed)
{
	net_fill(frame, len, seed);
	net_peer_send(x, frame, len);
}

static void send_out(struct subject *x, uint32_t len, unsigned seed)
{
	net_fill(frame, len, seed);
	net_guest_send(&x->g, GUEST_DATA, NULL, frame, len);
}

static void expect_out(struct subject *x, uint32_t len, unsigned seed)
{
	net_fill(frame, len, seed);
	ck_assert_int_eq(net_peer_recv(x, got, sizeof(got)), (int)len);
	if (memcmp(frame, got, len))
		ck_abort_msg("frame %u of %u bytes differs", seed, len);
}

/* nothing happens any more by itself */
static void check_no_spin(struct subject *x)
{
	struct net *n = net_of(x);
	uint64_t calls = n->count.rx_calls + n->count.tx_calls;

	for (unsigned i = 0; i < 20; i++)
		fake_turn(x->f);
	ck_assert_uint_eq(n->count.rx_calls + n->count.tx_calls, calls);
	ck_assert_uint_eq(n->v.inflight, 0);
}

/* --- tests --- */

START_TEST(what_is_offered)
{
	struct subject *x = new_net(_i, NET_BASE);
	const uint64_t never = NET_F(CSUM) | NET_F(GUEST_CSUM) | NET_F(HOST_TSO4) |
			       NET_F(GUEST_TSO4) | NET_F(CTRL_VQ) | NET_F(MQ) | NET_F(GUEST_UFO);
	uint64_t offered = guest_offered(&x->g);

	ck_assert_uint_eq(offered & never, 0);
	ck_assert_uint_eq(~offered & (LARGE | NET_F(MTU)), 0);
	ck_assert_uint_eq(guest_config(&x->g, 0, 4), 0x00000002);
	ck_assert_uint_eq(guest_config(&x->g, 4, 2), 0x0700);
	ck_assert_uint_eq(guest_config(&x->g, 6, 2), VIRTIO_NET_S_LINK_UP);
	ck_assert_uint_eq(guest_config(&x->g, 10, 2), 1400);
	ck_assert_uint_eq(guest_config(&x->g, 12, 4), 0);
	if (x->wiring == WIRE_PCI) {
		ck_assert_uint_eq(guest_pci_read(&x->g, 2, 2), 0x1041);
		ck_assert_uint_eq(guest_pci_read(&x->g, 10, 2), 0x0200);
	}
	subject_free(x);
}
END_TEST

static const uint32_t sizes[] = { 14, 15, 60, 499, 500, 501, 1514, 9000, 65561, 65562 };

START_TEST(frames_in)
{
	for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
		struct subject *x = new_net(_i, LARGE | (event_idx ? GUEST_EVENT_IDX : 0));

		fake_mark(x->f);
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
			const uint32_t part = 512, all = NET_HDR + sizes[i];
			unsigned buffers;

			forget_buffers();
			add_buffers(x, (all + part - 1) / part, part);
			send_in(x, sizes[i], i);
			fake_settle(x->f);
			expect_in(x, sizes[i], i, &buffers);
			ck_assert_uint_eq(buffers, (all + part - 1) / part);
			ck_assert_uint_eq(net_of(x)->v.inflight, 0);
		}
		ck_assert_uint_gt(fake_check_dirty(x->f), 15);
		ck_assert_uint_eq(net_of(x)->count.rx_packets, ARRAY_SIZE(sizes));
		subject_free(x);
	}
}
END_TEST

/* buffers of any size, in pieces; frames back to back in one turn */
START_TEST(buffers_of_any_size)
{
	static const uint32_t parts[] = { 12, 13, 25, 26, 27, 100, 1526, 4000 };
	struct subject *x = new_net(_i, LARGE);

	for (unsigned p = 0; p < ARRAY_SIZE(parts); p++) {
		unsigned want = 0, n;

		start(x, LARGE);
		forget_buffers();
		n = add_buffers(x, 250, parts[p]);
		for (unsigned i = 0; i < 5; i++)
			send_in(x, 14 + 97 * i, i);
		fake_settle(x->f);
		for (unsigned i = 0; i < 5; i++) {
			unsigned buffers;

			expect_in(x, 14 + 97 * i, i, &buffers);
			ck_assert_uint_eq(buffers,
					  (NET_HDR + 14 + 97 * i + parts[p] - 1) / parts[p]);
			want += buffers;
		}
		ck_assert_uint_le(want, n);
		ck_assert_uint_eq(guest_used_idx(&x->g, NET_RX), want);
		ck_assert_int_eq(take(x, got, NULL), -1);
	}
	subject_free(x);
}
END_TEST

START_TEST(one_buffer_a_frame)
{
	struct subject *x = new_net(_i, NET_BASE);
	unsigned buffers;

	forget_buffers();
	add_buffers(x, 3, 200);
	send_in(x, 188, 1);
	send_in(x, 189, 2); /* too large for any */
	send_in(x, 60, 3);
	fake_settle(x->f);
	expect_in(x, 188, 1, &buffers);
	ck_assert_uint_eq(buffers, 1);
	expect_in(x, 60, 3, &buffers);
	ck_assert_uint_eq(net_of(x)->count.rx_too_large, 1);
	ck_assert(guest_is_live(&x->g));
	subject_free(x);
}
END_TEST

/* a frame waits for the buffers that are missing; one that no ring could hold is dropped */
START_TEST(a_frame_waits)
{
	struct subject *x = new_net(_i, LARGE | GUEST_EVENT_IDX);

	forget_buffers();
	add_buffers(x, 5, 100);
	send_in(x, 1000, 1);
	send_in(x, 50, 2);
	fake_settle(x->f);
	ck_assert_int_eq(take(x, got, NULL), -1);
	check_no_spin(x);
	add_buffers(x, 5, 100);
	ck_assert_int_eq(take(x, got, NULL), -1);
	add_buffers(x, 5, 100);
	expect_in(x, 1000, 1, NULL);
	expect_in(x, 50, 2, NULL);
	/* a ring full of small ones */
	start(x, LARGE);
	forget_buffers();
	add_buffers(x, RXQ, 32);
	send_in(x, 10000, 3);
	send_in(x, 60, 4);
	fake_settle(x->f);
	ck_assert_uint_eq(net_of(x)->count.rx_too_large, 1);
	expect_in(x, 60, 4, NULL);
	/* a driver that goes takes the waiting frame with it */
	start(x, LARGE);
	forget_buffers();
	add_buffers(x, 2, 64);
	send_in(x, 1000, 5);
	fake_settle(x->f);
	start(x, LARGE);
	forget_buffers();
	add_buffers(x, 20, 100);
	send_in(x, 70, 6);
	fake_settle(x->f);
	expect_in(x, 70, 6, NULL);
	subject_free(x);
}
END_TEST

START_TEST(flood_without_buffers)
{
	struct subject *x = new_net(_i, LARGE | GUEST_EVENT_IDX);
	uint32_t be = htobe32(600);
	unsigned sent = 0, seen = 0;

	net_fill(frame, 600, 0);
	while (send(net_peer_fd(x), &be, 4, MSG_NOSIGNAL) == 4 &&
	       send(net_peer_fd(x), frame, 600, MSG_NOSIGNAL) == 600)
		sent++;
	ck_assert_uint_gt(sent, 50);
	fake_settle(x->f);
	check_no_spin(x);
	ck_assert_uint_eq(net_of(x)->count.rx_packets, 0);
	while (seen < sent) {
		forget_buffers();
		add_buffers(x, 64, 700);
		for (unsigned i = 0; i < 64 && seen < sent; i++, seen++)
			expect_in(x, 600, 0, NULL);
	}
	ck_assert_uint_eq(net_of(x)->count.rx_packets, sent);
	subject_free(x);
}
END_TEST

/* a turn ends in time; one interrupt tells of many frames */
START_TEST(batches)
{
	struct subject *x = new_net(_i, LARGE);
	struct net *n = net_of(x);
	uint64_t interrupts, calls;

	forget_buffers();
	add_buffers(x, 200, 128);
	interrupts = n->v.count.interrupts;
	calls = n->count.rx_calls;
	for (unsigned i = 0; i < 100; i++)
		send_in(x, 60, i);
	fake_settle(x->f);
	ck_assert_uint_eq(n->count.rx_packets, 100);
	ck_assert_uint_eq(n->v.count.interrupts - interrupts, 1);
	ck_assert_uint_le(n->count.rx_calls - calls, 2);
	for (unsigned i = 0; i < 100; i++)
		expect_in(x, 60, i, NULL);
	/* out: eight in one call, and one interrupt */
	interrupts = n->v.count.interrupts;
	calls = n->count.tx_calls;
	for (unsigned i = 0; i < 8; i++) {
		net_fill(frame, 60, i);
		net_guest_send(&x->g, GUEST_DATA + 128 * i, NULL, frame, 60);
	}
	guest_kick(&x->g, NET_TX);
	fake_settle(x->f);
	ck_assert_uint_eq(n->v.count.interrupts - interrupts, 1);
	ck_assert_uint_eq(n->count.tx_calls - calls, 1);
	for (unsigned i = 0; i < 8; i++)
		expect_out(x, 60, i);
	subject_free(x);
}
END_TEST

START_TEST(frames_out)
{
	struct subject *x = new_net(_i, LARGE | GUEST_EVENT_IDX | GUEST_INDIRECT_F);
	const uint32_t len = 1000;
	unsigned used = 0;

	for (unsigned i = 0; i < 40; i++) {
		send_out(x, 14 + 37 * i, i);
		guest_kick(&x->g, NET_TX);
		fake_settle(x->f);
		expect_out(x, 14 + 37 * i, i);
		ck_assert_uint_eq(guest_used_idx(&x->g, NET_TX), ++used);
	}
	/* the header in pieces, and with data behind it */
	net_fill(frame, len, 1);
	for (unsigned cut = 1; cut < 30; cut++) {
		const struct guest_buf buf[] = { { GUEST_DATA, cut, false },
						 { GUEST_DATA + cut, 7, false },
						 { GUEST_DATA + cut + 7, NET_HDR + len - cut - 7,
						   false } };

		fake_fill(x->f, GUEST_DATA, 0, NET_HDR);
		fake_poke(x->f, GUEST_DATA + NET_HDR, frame, len);
		guest_add_indirect(&x->g, NET_TX, buf, 3);
		guest_kick(&x->g, NET_TX);
		fake_settle(x->f);
		expect_out(x, len, 1);
	}
	subject_free(x);
}
END_TEST

START_TEST(frames_out_that_are_none)
{
	static const struct virtio_net_hdr_v1 wrong[] = {
		{ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 14, .csum_offset = 2 },
		{ .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 100 },
		{ .gso_type = VIRTIO_NET_HDR_GSO_TCPV6, .gso_size = 100 },
		{ .gso_type = VIRTIO_NET_HDR_GSO_UDP, .gso_size = 100 },
		{ .gso_type = VIRTIO_NET_HDR_GSO_ECN },
		{ .gso_type = 0x7f },
	};
	struct subject *x = new_net(_i, LARGE);
	const struct guest_buf large[] = { { GUEST_DATA, NET_HDR, false },
					   { 0, 0xb000, false },
					   { 0, NET_FRAME_MAX + 1 - 0xb000, false } };

	net_fill(frame, 100, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
		net_guest_send(&x->g, GUEST_DATA, &wrong[i], frame, 100);
	guest_kick(&x->g, NET_TX);
	fake_settle(x->f);
	net_guest_send(&x->g, GUEST_DATA, NULL, frame, 13);
	guest_add(&x->g, NET_TX, large, 3);
	guest_kick(&x->g, NET_TX);
	fake_settle(x->f);
	ck_assert_uint_eq(net_of(x)->count.tx_bad, ARRAY_SIZE(wrong) + 2);
	ck_assert_uint_eq(guest_used_idx(&x->g, NET_TX), ARRAY_SIZE(wrong) + 2);
	ck_assert_int_eq(net_peer_recv(x, got, sizeof(got)), -1);
	/* flags that mean nothing here do not matter */
	net_guest_send(&x->g, GUEST_DATA,
		       &(struct virtio_net_hdr_v1){ .flags = 0xfe, .num_buffers = 7 }, frame, 100);
	guest_kick(&x->g, NET_TX);
	fake_settle(x->f);
	expect_out(x, 100, 1);
	ck_assert(guest_is_live(&x->g));
	subject_free(x);
}
END_TEST

/* chains of the wrong shape, and whether a reset mends it */
static const struct {
	unsigned q, n;
	struct guest_buf buf[2];
} shapes[] = {
	{ NET_TX, 1, { { GUEST_DATA, 11, false } } },
	{ NET_TX, 2, { { GUEST_DATA, 100, false }, { GUEST_DATA, 10, true } } },
	{ NET_TX, 1, { { GUEST_DATA, 100, true } } },
	{ NET_RX, 1, { { GUEST_DATA, 100, false } } },
	{ NET_RX, 2, { { GUEST_DATA, 100, false }, { GUEST_DATA, 1000, true } } },
	{ NET_RX, 1, { { GUEST_DATA, 11, true } } },
	{ NET_RX, 1, { { GUEST_DATA, 0, true } } },
};

START_TEST(chains_of_the_wrong_shape)
{
	struct subject *x = new_net(_i, LARGE);

	for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
		start(x, LARGE);
		forget_buffers();
		add_buffer(x, 64); /* a good one before it */
		net_guest_send(&x->g, GUEST_DATA, NULL, frame, 100);
		guest_add(&x->g, shapes[i].q, shapes[i].buf, shapes[i].n);
		guest_kick(&x->g, shapes[i].q);
		fake_settle(x->f);
		if (shapes[i].q == NET_RX) { /* is seen when it is needed */
			send_in(x, 500, 1);
			fake_settle(x->f);
		}
		ck_assert_msg(guest_is_broken(&x->g), "shape %u", i);
		ck_assert_uint_eq(net_of(x)->v.inflight, 0);
		check_no_spin(x);
	}
	start(x, LARGE);
	while (net_peer_recv(x, got, sizeof(got)) > 0)
		;
	send_out(x, 99, 3);
	guest_kick(&x->g, NET_TX);
	fake_settle(x->f);
	expect_out(x, 99, 3);
	subject_free(x);
}
END_TEST

/* the peer does not read: the ring fills, nothing is in flight, and nothing is lost or cut */
static void stall(struct subject *x, uint32_t size)
{
	struct net *n = net_of(x);
	unsigned sent = 0, seen = 0;

	for (; sent < 5000 && sent - guest_used_idx(&x->g, NET_TX) < 7; sent++) {
		send_out(x, size + sent % 100, sent);
		guest_kick(&x->g, NET_TX);
		fake_settle(x->f);
	}
	ck_assert_uint_lt(sent, 5000);
	check_no_spin(x);
	/* a drain has nothing to wait for */
	dev_drain(x->dev);
	dev_resume(x->dev);
	fake_settle(x->f);
	check_no_spin(x);
	/* of the frames in the ring all say the same now: they lay in one place */
	for (; seen < sent - 8; seen++) {
		expect_out(x, size + seen % 100, seen);
		fake_settle(x->f);
	}
	fake_settle(x->f);
	while (net_peer_recv(x, got, sizeof(got)) > 0) {
		seen++;
		fake_settle(x->f);
	}
	ck_assert_uint_eq(seen, sent);
	ck_assert_uint_eq(n->count.tx_packets, sent);
	ck_assert_uint_eq(guest_used_idx(&x->g, NET_TX), sent & 0xffff);
}

START_TEST(peer_stalls)
{
	struct subject *x = new_net(_i, LARGE | GUEST_EVENT_IDX);
	int small = 1; /* the kernel's least, so that frames go in parts */

	stall(x, 1000);
	subject_free(x);
	x = new_net(_i, LARGE | GUEST_EVENT_IDX);
	ck_assert(!setsockopt(net_of(x)->back->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)));
	stall(x, 8000);
	subject_free(x);
}
END_TEST

static void check_link_is_down(struct subject *x)
{
	struct net *n = net_of(x);
	uint64_t dropped = n->count.tx_no_link;

	ck_assert_uint_eq(guest_config(&x->g, 6, 2), 0);
	ck_assert_uint_eq(n->v.count.config_interrupts, 1);
	ck_assert_uint_eq(fake_log_lines("net@0"), 1);
	for (unsigned i = 0; i < 3; i++)
		send_out(x, 100, i);
	guest_kick(&x->g, NET_TX);
	fake_settle(x->f);
	ck_assert_uint_eq(n->count.tx_no_link, dropped + 3);
	ck_assert_uint_eq(guest_used_idx(&x->g, NET_TX), x->g.q[NET_TX].next);
	ck_assert(guest_is_live(&x->g));
	check_no_spin(x);
	ck_assert_uint_eq(fake_log_lines("net@0"), 1);
}

START_TEST(peer_vanishes)
{
	/* at once; in the length; in a frame; with buffers for what it sent, and without */
	for (unsigned how = 0; how < 8; how++) {
		struct subject *x = new_net(_i, LARGE);
		const uint8_t half[] = { 0, 0, 1, 0, 1, 2, 3, 4, 5 };
		unsigned cut[] = { 0, 3, 4, sizeof(half) };

		fake_log_clear();
		forget_buffers();
		if (how & 1)
			add_buffers(x, 4, 100);
		if (cut[how / 2])
			net_peer_put(x, half, cut[how / 2]);
		if (how & 2)
			fake_settle(x->f);
		cleanup_close(&net_peer(x)->fd);
		net_peer(x)->fd = -1;
		fake_settle(x->f);
		check_link_is_down(x);
		/* a driver that comes later finds it so */
		start(x, LARGE);
		ck_assert_uint_eq(guest_config(&x->g, 6, 2), 0);
		subject_free(x);
	}
}
END_TEST

START_TEST(peer_vanishes_stalled)
{
	struct subject *x = new_net(_i, LARGE);
	unsigned sent = 0;

	fake_log_clear();
	for (; sent < 5000 && sent - guest_used_idx(&x->g, NET_TX) < 7; sent++) {
		send_out(x, 1100, sent);
		guest_kick(&x->g, NET_TX);
		fake_settle(x->f);
	}
	cleanup_close(&net_peer(x)->fd);
	net_peer(x)->fd = -1;
	fake_settle(x->f);
	check_link_is_down(x);
	subject_free(x);
}
END_TEST

START_TEST(lengths_that_no_frame_has)
{
	static const uint32_t lengths[] = {
		0, 1, 13, 65563, 65566, 1U << 20, 1U << 31, UINT32_MAX
	};

	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct subject *x = new_net(_i, LARGE);
		uint32_t be = htobe32(lengths[i]);

		fake_log_clear();
		forget_buffers();
		add_buffers(x, 4, 100);
		send_in(x, 60, 1); /* what came before counts */
		net_peer_put(x, &be, sizeof(be));
		net_peer_put(x, frame, 200);
		fake_settle(x->f);
		expect_in(x, 60, 1, NULL);
		ck_assert_int_eq(take(x, got, NULL), -1);
		check_link_is_down(x);
		subject_free(x);
	}
}
END_TEST

/* a stream cut into single bytes is the same stream */
START_TEST(frames_in_crumbs)
{
	struct subject *x = new_net(_i, LARGE);
	uint32_t be = htobe32(40);

	forget_buffers();
	add_buffers(x, 10, 100);
	for (unsigned k = 0; k < 3; k++) {
		net_fill(frame, 40, k);
		for (unsigned i = 0; i < 4; i++) {
			net_peer_put(x, (uint8_t *)&be + i, 1);
			fake_turn(x->f);
		}
		for (unsigned i = 0; i < 40; i++) {
			net_peer_put(x, frame + i, 1);
			fake_turn(x->f);
		}
		fake_settle(x->f);
		expect_in(x, 40, k, NULL);
	}
	subject_free(x);
}
END_TEST

/* --- what changes while it runs --- */

static void configure(struct subject *x)
{
	ck_assert(!dev_configure(x->dev, &net_peer(x)->conf));
	fake_settle(x->f);
}

START_TEST(link_down_and_up)
{
	struct subject *x = new_net(_i, LARGE);
	struct net *n = net_of(x);

	forget_buffers();
	add_buffers(x, 8, 100);
	net_peer(x)->conf.link = false;
	configure(x);
	ck_assert_uint_eq(guest_config(&x->g, 6, 2), 0);
	ck_assert_uint_eq(n->v.count.config_interrupts, 1);
	ck_assert(guest_ack(&x->g) & 2);
	send_out(x, 60, 1);
	guest_kick(&x->g, NET_TX);
	send_in(x, 60, 2);
	fake_settle(x->f);
	ck_assert_int_eq(net_peer_recv(x, got, sizeof(got)), -1);
	ck_assert_int_eq(take(x, got, NULL), -1);
	ck_assert_uint_eq(n->count.tx_no_link, 1);
	ck_assert_uint_eq(n->count.rx_no_link, 1);
	/* more than one turn takes, all of it read already */
	for (unsigned i = 0; i < 300; i++) {
		memcpy(frame + 18 * i, "\0\0\0\016", 4);
		net_fill(frame + 18 * i + 4, 14, i);
	}
	net_peer_put(x, frame, 300 * 18);
	fake_settle(x->f);
	ck_assert_uint_eq(n->count.rx_no_link, 301);
	configure(x); /* no news */
	ck_assert_uint_eq(n->v.count.config_interrupts, 1);
	net_peer(x)->conf.link = true;
	configure(x);
	ck_assert_uint_eq(guest_config(&x->g, 6, 2), VIRTIO_NET_S_LINK_UP);
	ck_assert_uint_eq(n->v.count.config_interrupts, 2);
	send_out(x, 60, 3);
	guest_kick(&x->g, NET_TX);
	send_in(x, 60, 4);
	fake_settle(x->f);
	expect_out(x, 60, 3);
	expect_in(x, 60, 4, NULL);
	/* also where no driver runs yet */
	guest_reset(&x->g);
	net_peer(x)->conf.link = false;
	configure(x);
	ck_assert_uint_eq(guest_config(&x->g, 6, 2), 0);
	subject_free(x);
}
END_TEST

static bool passed_time(void *arg)
{
	return now_ns() >= *(uint64_t *)arg;
}

static void run_for(struct subject *x, unsigned ms)
{
	uint64_t end = now_ns() + ms * 1000000ULL;

	if (loop_until(x->f->m.loop, passed_time, &end, 2 * ms * 1000000ULL))
		return;
}

/* of 60 frames each way 5 at once and 50 a second; or by bytes: the same */
START_TEST(limits)
{
	struct subject *x = new_net(0, LARGE);
	struct net *n = net_of(x);
	struct conf_net *conf = &net_peer(x)->conf;
	uint64_t begin, elapsed;

	if (_i) {
		conf->bw = 50 * 60;
		conf->bw_burst = 5 * 60;
	} else {
		conf->pps = 50;
		conf->pps_burst = 5;
	}
	configure(x);
	forget_buffers();
	add_buffers(x, 100, 80);
	begin = now_ns();
	for (unsigned i = 0; i < 7; i++)
		send_out(x, 60, 0);
	guest_kick(&x->g, NET_TX);
	for (unsigned i = 0; i < 60; i++)
		send_in(x, 60, i);
	fake_settle(x->f);
	if (now_ns() - begin < 15000000) {
		ck_assert_uint_le(n->count.tx_packets, 6);
		ck_assert_uint_le(n->count.rx_packets, 6);
	}
	ck_assert_uint_ge(n->count.rx_packets, 5);
	check_no_spin(x);
	run_for(x, 200);
	elapsed = now_ns() - begin;
	ck_assert_uint_ge(n->count.rx_packets, 5 + 8);
	ck_assert_uint_le(n->count.rx_packets, 6 + elapsed / 20000000 + 1);
	ck_assert_uint_eq(n->count.tx_packets, 7);
	ck_assert_uint_ge(n->count.rx_waits, 5);
	ck_assert_uint_ge(n->count.tx_waits, 1);
	/* lifted: all there is comes at once */
	conf->pps = conf->bw = 0;
	configure(x);
	ck_assert_uint_eq(n->count.rx_packets, 60);
	for (unsigned i = 0; i < 60; i++)
		expect_in(x, 60, i, NULL);
	subject_free(x);
}
END_TEST

/* a limited card drains and is reset like any other, with its timers set */
START_TEST(limited_and_reset)
{
	struct subject *x = new_net(_i, LARGE);

	net_peer(x)->conf.pps = 1;
	net_peer(x)->conf.pps_burst = 1;
	configure(x);
	forget_buffers();
	add_buffers(x, 10, 80);
	for (unsigned i = 0; i < 4; i++) {
		send_out(x, 60, i);
		send_in(x, 60, i);
	}
	guest_kick(&x->g, NET_TX);
	fake_settle(x->f);
	subject_reset(x);
	ck_assert_uint_eq(net_of(x)->v.inflight, 0);
	start(x, LARGE);
	dev_drain(x->dev);
	ck_assert_uint_eq(net_of(x)->v.inflight, 0);
	dev_resume(x->dev);
	fake_settle(x->f);
	subject_free(x);
}
END_TEST

static struct virtio_net_hdr_v1 given;

static ssize_t give_once(struct net_back *b, struct virtio_net_hdr_v1 *hdr, struct iovec *iov,
			 unsigned n)
{
	bool done = b->holds;

	b->holds = true;
	*hdr = given;
	ck_assert_uint_ge(n, 2);
	ck_assert_uint_ge(iov[1].iov_len, 60);
	memset(iov[1].iov_base, 0x33, 60);
	return done ? -EAGAIN : 60;
}

/* what the driver has not agreed to does not reach it, whatever the host says */
START_TEST(headers_of_the_host)
{
	const uint64_t all = LARGE | NET_F(GUEST_CSUM) | NET_F(GUEST_TSO4);
	const struct net_back_ops ops = { .recv = give_once }, *own;
	struct subject *x = new_net(_i, LARGE);
	struct net *n = net_of(x);

	own = n->back->ops;
	n->v.features |= all;
	for (unsigned i = 0; i < 2; i++) {
		uint8_t flags = 0xff;

		start(x, i ? all : LARGE);
		n->back->ops = &ops;
		given = (struct virtio_net_hdr_v1){ .flags = VIRTIO_NET_HDR_F_DATA_VALID };
		forget_buffers();
		n->rx.on = n->back->holds = false; /* else epoll is waited for */
		add_buffers(x, 1, 128);
		fake_peek(x->f, bufs.at[0], &flags, 1);
		ck_assert_uint_eq(flags, i ? VIRTIO_NET_HDR_F_DATA_VALID : 0);
		given.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
		n->rx.on = n->back->holds = false; /* else epoll is waited for */
		add_buffers(x, 1, 128);
		ck_assert_uint_eq(guest_used_idx(&x->g, NET_RX), 1 + i);
		n->back->ops = own;
		n->back->holds = false;
	}
	ck_assert_uint_eq(n->count.rx_bad, 1);
	subject_free(x);
}
END_TEST

START_TEST(interrupts_when_wanted)
{
	struct subject *x = new_net(_i, LARGE | GUEST_EVENT_IDX);
	struct net *n = net_of(x);
	uint64_t before;

	forget_buffers();
	add_buffers(x, 10, 100);
	guest_set_used_event(&x->g, NET_RX, 2);
	before = n->v.count.interrupts;
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(n->v.count.interrupts, before);
		send_in(x, 60, i);
		fake_settle(x->f);
	}
	ck_assert_uint_eq(n->v.count.interrupts, before + 1);
	subject_free(x);
}
END_TEST

/* a restored machine has its address, or its new name's, and hears of a link that has changed */
START_TEST(a_new_host)
{
	static _Alignas(8) char tree[CONTRACT_TREE];
	struct subject *x = new_net(_i / 2, LARGE), *y;
	static uint8_t ram[FAKE_RAM];
	int n = fake_save(x->f, tree, sizeof(tree));

	fake_ram_get(x->f, ram);
	y = subject_new(&wires[_i / 2]);
	fake_ram_set(y->f, ram);
	net_of(y)->s.mac[5] = net_of(y)->mac[5] = 0x99; /* as if it had been made with another */
	if (_i % 2)					/* by chance, then */
		memset(net_of(y)->mac, 0, 6);
	net_of(y)->plugged = false;
	ck_assert(!fake_load(y->f, tree, (size_t)n));
	y->g = x->g;
	y->g.f = y->f;
	fake_resume(y->f);
	fake_settle(y->f);
	ck_assert_uint_eq(guest_config(&y->g, 4, 2), _i % 2 ? 0x0700 : 0x9900);
	ck_assert_uint_eq(guest_config(&y->g, 6, 2), 0);
	ck_assert_uint_eq(net_of(y)->v.count.config_interrupts, 1);
	subject_free(y);
	net_of(x)->s.mac[0] |= 1;
	n = fake_save(x->f, tree, sizeof(tree));
	err_clear();
	ck_assert(fake_load(x->f, tree, (size_t)n));
	ck_assert_ptr_nonnull(strstr(err_last(), "net@0"));
	subject_free(x);
}
END_TEST

START_TEST(nobody_listens)
{
	struct subject *x = subject_new(&wires[0]);
	struct vdev_place place = { .gsi = 6, .base = GUEST_MMIO + 0x1000 };
	struct conf_net conf = net_peer(x)->conf;
	unsigned fds = fake_fds();

	place.conf = &conf;
	strcpy(conf.socket, "/tmp/hutch-net.none");
	ck_assert_ptr_null(fake_dev(x->f, &net_type, 1, &place));
	ck_assert_ptr_nonnull(strstr(err_last(), "start passt --socket /tmp/hutch-net.none"));
	ck_assert_uint_eq(fake_fds(), fds);
	subject_free(x);
}
END_TEST

int main(void)
{
	const int n = ARRAY_SIZE(wires);
	Suite *s = suite_create("net");
	TCase *t = tcase_create("net");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, what_is_offered, 0, n);
	tcase_add_loop_test(t, frames_in, 0, n);
	tcase_add_loop_test(t, buffers_of_any_size, 0, n);
	tcase_add_loop_test(t, one_buffer_a_frame, 0, n);
	tcase_add_loop_test(t, a_frame_waits, 0, n);
	tcase_add_loop_test(t, flood_without_buffers, 0, n);
	tcase_add_loop_test(t, batches, 0, n);
	tcase_add_loop_test(t, frames_out, 0, n);
	tcase_add_loop_test(t, frames_out_that_are_none, 0, n);
	tcase_add_loop_test(t, chains_of_the_wrong_shape, 0, n);
	tcase_add_loop_test(t, peer_stalls, 0, n);
	tcase_add_loop_test(t, peer_vanishes, 0, n);
	tcase_add_loop_test(t, peer_vanishes_stalled, 0, n);
	tcase_add_loop_test(t, lengths_that_no_frame_has, 0, n);
	tcase_add_loop_test(t, frames_in_crumbs, 0, n);
	tcase_add_loop_test(t, link_down_and_up, 0, n);
	tcase_add_loop_test(t, limits, 0, 2);
	tcase_add_loop_test(t, limited_and_reset, 0, n);
	tcase_add_loop_test(t, headers_of_the_host, 0, n);
	tcase_add_loop_test(t, interrupts_when_wanted, 0, n);
	tcase_add_loop_test(t, a_new_host, 0, 2 * n);
	tcase_add_test(t, nobody_listens);
	suite_add_tcase(s, t);
	return suite_run(s);
}
