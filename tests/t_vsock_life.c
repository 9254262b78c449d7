/*
 * t_vsock_life - how connections of virtio-vsock end, storms of them, lies, resets and restores
 */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices.h"
#include "suite.h"
#include "vsock_guest.h"

#define OP(name) VIRTIO_VSOCK_OP_##name
#define RCV	 VIRTIO_VSOCK_SHUTDOWN_RCV
#define SEND	 VIRTIO_VSOCK_SHUTDOWN_SEND
#define MANY	 1000

static uint64_t connections(struct subject *x)
{
	fake_settle(x->f);
	return vg_vsock(x)->count.connections;
}

/* the guest sends until the device has to keep some: how much that is */
static uint32_t stall(struct subject *x, uint32_t gp, uint32_t hp)
{
	uint32_t at = 0;

	for (; !vg_conn(x, gp, hp)->used; at += 4096)
		vg_guest_sends(x, gp, hp, at, 4096);
	vg_guest_sends(x, gp, hp, at, 4096);
	return at + 4096;
}

/* a program reads all that is to come */
static void read_all(struct subject *x, int fd, uint32_t want)
{
	uint32_t got = 0, tries = 10000;

	while (got < want && tries--) {
		got += (uint32_t)vg_host_gets(fd, got);
		fake_settle(x->f);
	}
	ck_assert_uint_eq(got, want);
}

/* --- ends --- */

START_TEST(host_sends_no_more)
{
	struct subject *x = vg_new(_i);
	int fd = vg_open_from_guest(x, 10, 70);
	struct vg_packet p;

	ck_assert_uint_eq(vg_host_sends(fd, 0, 100), 100);
	shutdown(fd, SHUT_WR);
	vg_expect(&x->g, OP(RW), &p);
	ck_assert_uint_eq(p.len, 100);
	vg_expect(&x->g, OP(SHUTDOWN), &p);
	ck_assert_uint_eq(p.h.flags, SEND);
	vg_guest_sends(x, 10, 70, 0, 1000);
	ck_assert_uint_eq(vg_host_gets(fd, 0), 1000);
	ck_assert(!vg_at_end(fd));
	vg_say(&x->g, 10, 70, OP(SHUTDOWN), RCV | SEND, 100);
	vg_expect(&x->g, OP(RST), &p);
	ck_assert(vg_at_end(fd));
	ck_assert_uint_eq(connections(x), 0);
	ck_assert_uint_eq(vg_vsock(x)->count.closed, 1);
	close(fd);
	subject_free(x);
}
END_TEST

START_TEST(guest_sends_no_more)
{
	struct subject *x = vg_new(_i);
	int fd = vg_open_from_guest(x, 10, 70);
	struct vg_packet p;

	vg_guest_sends(x, 10, 70, 0, 1000);
	vg_say(&x->g, 10, 70, OP(SHUTDOWN), SEND, 0);
	ck_assert_uint_eq(vg_host_gets(fd, 0), 1000);
	ck_assert(vg_at_end(fd));
	ck_assert_uint_eq(vg_host_sends(fd, 0, 100), 100);
	vg_expect(&x->g, OP(RW), &p);
	close(fd);
	vg_expect(&x->g, OP(SHUTDOWN), &p);
	ck_assert_uint_eq(p.h.flags, RCV | SEND);
	vg_say(&x->g, 10, 70, OP(RST), 0, 100);
	ck_assert_uint_eq(connections(x), 0);
	/* what it sends all the same is an offence */
	fd = vg_open_from_guest(x, 10, 70);
	vg_say(&x->g, 10, 70, OP(SHUTDOWN), SEND, 0);
	vg_guest_sends(x, 10, 70, 0, 1);
	vg_expect(&x->g, OP(RST), &p);
	close(fd);
	subject_free(x);
}
END_TEST

START_TEST(guest_reads_no_more)
{
	struct subject *x = vg_new(_i);
	int fd = vg_open_from_guest(x, 10, 70);
	struct vg_packet p;

	vg_say(&x->g, 10, 70, OP(SHUTDOWN), RCV, 0);
	ck_assert_int_eq(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	vg_guest_sends(x, 10, 70, 0, 1000);
	ck_assert_uint_eq(vg_host_gets(fd, 0), 1000);
	close(fd);
	vg_expect(&x->g, OP(SHUTDOWN), &p);
	ck_assert_uint_eq(p.h.flags, RCV | SEND);
	subject_free(x);
}
END_TEST

START_TEST(host_reads_no_more)
{
	struct subject *x = vg_new(_i);
	int fd = vg_open_from_guest(x, 10, 70);
	struct vg_packet p;

	shutdown(fd, SHUT_RD);
	vg_guest_sends(x, 10, 70, 0, 1000);
	vg_expect(&x->g, OP(SHUTDOWN), &p);
	ck_assert_uint_eq(p.h.flags, RCV);
	vg_guest_sends(x, 10, 70, 0, 1000); /* was under way */
	ck_assert_uint_eq(vg_host_sends(fd, 0, 100), 100);
	vg_expect(&x->g, OP(RW), &p);
	ck_assert_uint_eq(p.len, 100);
	close(fd);
	vg_expect(&x->g, OP(SHUTDOWN), &p);
	ck_assert_uint_eq(p.h.flags, RCV | SEND);
	subject_free(x);
}
END_TEST

/* the end of file stands behind what was kept, and the guest's RST comes at once */
START_TEST(what_was_sent_arrives)
{
	static const struct {
		unsigned op, flags;
	} ways[] = { { OP(SHUTDOWN), SEND }, { OP(SHUTDOWN), RCV | SEND }, { OP(RST), 0 } };

	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		struct subject *x = vg_new(_i);
		int fd = vg_open_from_guest(x, 10, 70), again = -1;
		uint32_t want = stall(x, 10, 70);
		struct vg_packet p;

		while (vg_recv(&x->g, &p))
			;
		vg_say(&x->g, 10, 70, ways[i].op, ways[i].flags, 0);
		if (i == 1)
			vg_expect(&x->g, OP(RST), &p);
		if (i) { /* the ports are free before the program has read all */
			ck_assert_ptr_null(vg_conn(x, 10, 70));
			ck_assert_uint_eq(connections(x), 1);
			again = vg_open_from_guest(x, 10, 70);
		}
		read_all(x, fd, want);
		fake_settle(x->f);
		ck_assert(vg_at_end(fd));
		if (i) {
			ck_assert_uint_eq(connections(x), 1);
			vg_guest_sends(x, 10, 70, 0, 10);
			ck_assert_uint_eq(vg_host_gets(again, 0), 10);
			close(again);
		}
		close(fd);
		subject_free(x);
	}
}
END_TEST

/* a program that dies with unread data, or while data is kept for it, or both */
START_TEST(program_dies)
{
	struct subject *x = vg_new(_i);
	int fd = vg_open_from_guest(x, 10, 70);
	struct vg_packet p;

	vg_guest_sends(x, 10, 70, 0, 1000);
	close(fd);
	vg_expect(&x->g, OP(RST), &p);
	ck_assert_uint_eq(connections(x), 0);
	fd = vg_open_from_guest(x, 10, 70);
	stall(x, 10, 70);
	close(fd);
	fake_settle(x->f);
	do
		ck_assert(vg_recv(&x->g, &p));
	while (p.h.op == OP(CREDIT_UPDATE));
	if (p.h.op == OP(SHUTDOWN))
		vg_expect(&x->g, OP(RST), &p);
	ck_assert_uint_eq(p.h.op, OP(RST));
	ck_assert_uint_eq(connections(x), 0);
	subject_free(x);
}
END_TEST

START_TEST(hundred_vanish)
{
	struct subject *x = vg_new(_i);
	unsigned ended = 0, fds, open = 0;
	struct vg_packet p;
	uint32_t port[100];
	int fd[100];

	fds = fake_fds();
	for (unsigned i = 0; i < 100; i++)
		fd[i] = vg_open_from_host(x, 1000 + i, &port[i]);
	for (unsigned i = 0; i < 100; i++) {
		if (i % 3 == 0)
			stall(x, 1000 + i, port[i]);
		if (i % 3 == 1)
			vg_host_sends(fd[i], 0, 30000);
	}
	for (unsigned i = 0; i < 100; i++)
		close(fd[i]);
	for (unsigned quiet = 0; quiet < 3; quiet++) {
		fake_settle(x->f);
		while (vg_recv(&x->g, &p)) {
			quiet = 0;
			if (p.h.op == OP(RST))
				ended++;
			else if (p.h.op == OP(SHUTDOWN) && p.h.flags == (RCV | SEND)) {
				ended++;
				vg_say(&x->g, p.h.dst_port, p.h.src_port, OP(RST), 0, 0);
			}
		}
	}
	for (unsigned i = 0; i < 100; i++)
		open += vg_conn(x, 1000 + i, port[i]) != NULL;
	ck_assert_uint_eq(ended, 100);
	ck_assert_uint_eq(open, 0);
	ck_assert_uint_eq(connections(x), 0);
	ck_assert_uint_eq(fake_fds(), fds);
	subject_free(x);
}
END_TEST

/* --- many --- */

START_TEST(a_thousand_at_once)
{
	struct subject *x = vg_new(_i);
	static uint32_t port[MANY];
	static int fd[MANY + 30];
	struct vg_packet p;
	unsigned n;

	for (unsigned i = 0; i < MANY; i++)
		fd[i] = vg_open_from_host(x, i, &port[i]);
	ck_assert_uint_eq(connections(x), MANY);
	for (unsigned i = 0; i < MANY; i++) {
		vg_guest_sends(x, i, port[i], i, 500);
		ck_assert_uint_eq(vg_host_sends(fd[i], 3 * i, 700), 700);
	}
	for (unsigned i = 0, seen = 0; i < MANY; i++, seen++) {
		vg_expect(&x->g, OP(RW), &p);
		ck_assert_uint_eq(p.len, 700);
		if (p.h.src_port != port[p.h.dst_port] ||
		    !vg_is_pattern(p.data, 3 * p.h.dst_port, 700))
			ck_abort_msg("a packet of another connection");
		ck_assert_uint_eq(vg_host_gets(fd[i], i), 500);
	}
	/* as many as there may be, and not one more */
	for (n = MANY; n < MANY + 30; n++) {
		fd[n] = vg_connect(x, "CONNECT 5000\n");
		if (vg_at_end(fd[n]))
			break;
	}
	ck_assert_uint_eq(n, VSOCK_CONNS);
	while (vg_recv(&x->g, &p))
		fake_settle(x->f);
	close(vg_listen(x, 80, 5));
	vg_say(&x->g, 1, 80, OP(REQUEST), 0, 0);
	vg_expect(&x->g, OP(RST), &p);
	for (unsigned i = 0; i <= n; i++)
		close(fd[i]);
	subject_free(x);
}
END_TEST

/* some flood the guest; one says something short */
START_TEST(no_one_starves)
{
	struct subject *x = vg_new(_i);
	int flood[5], small;
	uint32_t port[5], mine;
	unsigned before = 0;
	struct vg_packet p;

	for (unsigned i = 0; i < 5; i++)
		flood[i] = vg_open_from_host(x, 100 + i, &port[i]);
	small = vg_open_from_host(x, 99, &mine);
	for (unsigned round = 0; round < 20; round++) {
		unsigned n = 0;

		for (unsigned i = 0; i < 5; i++) {
			vg_host_sends(flood[i], 0, 100000);
			vg_say(&x->g, 100 + i, port[i], OP(CREDIT_UPDATE), 0,
			       vg_conn(x, 100 + i, port[i])->sent);
		}
		fake_settle(x->f);
		while (vg_recv(&x->g, &p)) /* a ring full of the others */
			;
		ck_assert_int_eq(send(small, "small", 5, 0), 5);
		do {
			if (!vg_recv(&x->g, &p))
				fake_settle(x->f);
			else
				n++;
		} while (p.h.dst_port != 99);
		before = MAX(before, n);
	}
	/* what lay in the ring when it came, and one turn of each of the others */
	ck_assert_uint_le(before, VG_RXS + 4 * 5 + 1);
	for (unsigned i = 0; i < 5; i++)
		close(flood[i]);
	close(small);
	subject_free(x);
}
END_TEST

/* --- lies --- */

/* one field of a header at a time, on a connection and without one */
START_TEST(hostile_headers)
{
	struct subject *x = vg_new(_i);
	unsigned resets = 0;
	struct vg_packet p;
	uint32_t seed = 7;

	for (unsigned n = 0; n < 3000; n++) {
		bool open = n % 2;
		int fd = open ? vg_open_from_guest(x, 10, 70) : -1;
		struct virtio_vsock_hdr h = vg_header(10, 70, n / 2 % 9);
		uint64_t v = fake_odd(&seed);

		h.len = 8;
		switch (fake_random(&seed) % 9) {
		case 0:
			h.src_cid = v;
			break;
		case 1:
			h.dst_cid = v;
			break;
		case 2:
			h.src_port = (uint32_t)v;
			break;
		case 3:
			h.dst_port = (uint32_t)v;
			break;
		case 4:
			h.len = (uint32_t)v;
			break;
		case 5:
			h.type = (uint16_t)v;
			break;
		case 6:
			h.op = (uint16_t)v;
			break;
		case 7:
			h.flags = (uint32_t)v;
			break;
		case 8:
			h.fwd_cnt = (uint32_t)v;
			break;
		}
		vg_send(&x->g, &h, 8);
		while (vg_recv(&x->g, &p))
			resets += p.h.op == OP(RST);
		if (guest_is_broken(&x->g))
			ck_abort_msg("broken");
		/* a clean slate: RST is never answered */
		h = vg_header(10, 70, OP(RST));
		vg_send(&x->g, &h, 0);
		if (vg_conn(x, 10, 70) || !vg_is_silent(x))
			ck_abort_msg("a reset was answered");
		if (open)
			close(fd);
	}
	ck_assert_uint_gt(resets, 1000);
	ck_assert_uint_lt(connections(x), 5);
	ck_assert_uint_lt(fake_log_lines(""), 20);
	subject_free(x);
}
END_TEST

START_TEST(who_gets_a_reset)
{
	static const struct virtio_vsock_hdr bad[] = {
		{ VG_CID, 3, 1, 2, 0, 1, OP(REQUEST), 0, 1000, 0 },
		{ VG_CID + 1, 2, 1, 2, 0, 1, OP(REQUEST), 0, 1000, 0 },
		{ VG_CID, 2, 1, 2, 0, 2, OP(REQUEST), 0, 1000, 0 },
		{ VG_CID, 2, 1, 2, 0, 1, OP(RW), 0, 1000, 0 },
		{ VG_CID, 2, 1, 2, 0, 1, OP(SHUTDOWN), 3, 1000, 0 },
		{ VG_CID, 2, 1, 2, 0, 1, OP(RESPONSE), 0, 1000, 0 },
		{ VG_CID, 2, 1, 2, 0, 1, OP(CREDIT_UPDATE), 0, 1000, 0 },
		{ VG_CID, 2, 1, 2, 0, 1, 99, 0, 1000, 0 },
		{ VG_CID, 2, 1, 2, 0, 1, OP(INVALID), 0, 1000, 0 },
		{ VG_CID, 2, 1, 2, 50, 1, OP(REQUEST), 0, 1000, 0 },
	};
	struct subject *x = vg_new(_i);
	int listener = vg_listen(x, 2, 5);
	struct virtio_vsock_hdr h;
	struct vg_packet p;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		vg_send(&x->g, &bad[i], 0);
		vg_expect(&x->g, OP(RST), &p);
		ck_assert_uint_eq(p.h.src_cid, bad[i].dst_cid);
		ck_assert_uint_eq(p.h.src_port, 2);
		ck_assert_uint_eq(p.h.dst_port, 1);
		ck_assert_uint_eq(p.h.type, bad[i].type);
		h = bad[i];
		h.op = OP(RST);
		vg_send(&x->g, &h, 0);
		ck_assert(vg_is_silent(x));
	}
	ck_assert_int_eq(vg_accept(listener), -1);
	close(listener);
	subject_free(x);
}
END_TEST

/* packets to a connection that has not come so far */
START_TEST(out_of_turn)
{
	struct subject *x = vg_new(_i);
	static const unsigned ops[] = { OP(RW), OP(SHUTDOWN), OP(CREDIT_REQUEST), OP(REQUEST) };
	struct vg_packet p;
	uint32_t port;
	int fd;

	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
		fd = vg_connect(x, "CONNECT 9\n");
		vg_expect(&x->g, OP(REQUEST), &p);
		vg_say(&x->g, 9, p.h.src_port, ops[i], 3, 0);
		vg_expect(&x->g, OP(RST), &p);
		ck_assert(vg_at_end(fd));
		close(fd);
	}
	/* a second answer, a second request */
	for (unsigned op = OP(REQUEST); op <= OP(RESPONSE); op++) {
		fd = vg_open_from_host(x, 9, &port);
		vg_say(&x->g, 9, port, op, 0, 0);
		vg_expect(&x->g, OP(RST), &p);
		ck_assert(vg_at_end(fd));
		close(fd);
	}
	/* an answer before the question: means nobody, and the question still comes */
	vg_start_with(&x->g, VG_RINGS, 0, 0);
	fd = vg_connect(x, "CONNECT 9\n");
	vg_say(&x->g, 9, VSOCK_PORT_FIRST + 1, OP(RESPONSE), 0, 0);
	vg_post(&x->g, 0, VG_RX_BYTES);
	guest_kick(&x->g, VG_Q_RX);
	vg_expect(&x->g, OP(RST), &p);
	vg_expect(&x->g, OP(REQUEST), &p);
	ck_assert(!vg_at_end(fd));
	close(fd);
	ck_assert(!guest_is_broken(&x->g));
	subject_free(x);
}
END_TEST

/* buffers that hold no packet break the device; a header alone holds all but data */
START_TEST(small_buffers)
{
	struct subject *x = vg_new(_i);
	struct vg_packet p;
	int fd;

	vg_start_with(&x->g, VG_RINGS, 2, VG_HEADER - 1);
	vg_say(&x->g, 1, 2, OP(RW), 0, 0);
	fake_settle(x->f);
	ck_assert(guest_is_broken(&x->g));
	vg_start_with(&x->g, VG_RINGS, 2, VG_HEADER + 1);
	fd = vg_open_from_guest(x, 10, 70);
	ck_assert_uint_eq(vg_host_sends(fd, 0, 5), 5);
	for (unsigned i = 0; i < 5; i++) {
		vg_expect(&x->g, OP(RW), &p);
		ck_assert(p.len == 1 && vg_is_pattern(p.data, i, 1));
	}
	close(fd);
	subject_free(x);
}
END_TEST

/* resets for nobody wait in a place of their own; when that is full the guest's packets wait */
START_TEST(resets_wait)
{
	struct subject *x = vg_new(_i);
	const unsigned all = VSOCK_STRAYS + 40;
	unsigned sent = 0, got = 0;
	struct guest_used u;
	struct vg_packet p;

	vg_start_with(&x->g, VG_RINGS, 0, 0);
	while (sent < all) {
		struct virtio_vsock_hdr h = vg_header(sent, 2, OP(RW));
		unsigned idx = guest_used_idx(&x->g, VG_Q_TX);

		if (sent - idx == 8)
			break; /* they are not taken any more */
		vg_add(&x->g, &h, 0);
		guest_kick(&x->g, VG_Q_TX);
		fake_settle(x->f);
		sent++;
	}
	ck_assert_uint_eq(sent, VSOCK_STRAYS + 8);
	ck_assert_uint_eq(vg_vsock(x)->strays, VSOCK_STRAYS);
	for (unsigned i = 0; i < VG_RXS; i++)
		vg_post(&x->g, i, VG_RX_BYTES);
	guest_kick(&x->g, VG_Q_RX);
	for (; got < sent; got++) {
		vg_expect(&x->g, OP(RST), &p);
		ck_assert_uint_eq(p.h.dst_port, got);
	}
	ck_assert(vg_is_silent(x));
	while (guest_used(&x->g, VG_Q_TX, &u))
		;
	ck_assert_uint_eq(x->g.q[VG_Q_TX].seen, sent);
	subject_free(x);
}
END_TEST

/* --- pauses, resets, restores --- */

static _Alignas(8) char tree[CONTRACT_TREE];

START_TEST(a_pause_keeps_all)
{
	struct subject *x = vg_new(_i);
	struct vg_packet p;
	uint32_t port, want, sum;
	int a = vg_open_from_host(x, 9, &port), b = vg_open_from_guest(x, 10, 70), c;

	want = stall(x, 10, 70);
	while (vg_recv(&x->g, &p))
		;
	ck_assert_uint_eq(vg_host_sends(a, 0, 3000), 3000);
	dev_drain(x->dev);
	fake_turn(x->f);
	c = vg_connect(x, "CONNECT 11\n");
	ck_assert_uint_eq(vg_host_sends(a, 3000, 3000), 3000);
	sum = (uint32_t)vg_host_gets(b, 0);
	fake_turn(x->f);
	ck_assert(!vg_recv(&x->g, &p));
	fake_resume(x->f);
	fake_save(x->f, tree, sizeof(tree));
	for (uint32_t at = 0; at < 6000; at += p.h.op == OP(RW) ? p.len : 0) {
		fake_settle(x->f);
		ck_assert(vg_recv(&x->g, &p));
		if (p.h.op == OP(RW))
			ck_assert(vg_is_pattern(p.data, at, p.len));
	}
	while (sum < want) {
		sum += (uint32_t)vg_host_gets(b, sum);
		fake_settle(x->f);
	}
	ck_assert_uint_eq(vg_events(&x->g), 0);
	ck_assert_uint_eq(connections(x), 3);
	close(a);
	close(b);
	close(c);
	subject_free(x);
}
END_TEST

START_TEST(a_restored_guest_hears_first)
{
	struct subject *x = vg_new(_i), *y;
	static int fd[64];
	struct vg_packet p;
	uint32_t port;
	int old = vg_open_from_host(x, 9, &port), n;

	n = fake_save(x->f, tree, sizeof(tree));
	y = subject_clone(x, tree, (size_t)n);
	/* 64 programs cannot wait */
	for (unsigned i = 0; i < 64; i++)
		fd[i] = vg_connect(y, "CONNECT 9\n");
	ck_assert(vg_is_silent(y));
	/* the old connection is unknown, and that too is told later */
	vg_say(&y->g, 9, port, OP(RW), 0, 0);
	guest_kick(&y->g, VG_Q_RX);
	ck_assert(vg_is_silent(y));
	/* a pause, a kick and the event alone are no answer */
	for (unsigned i = 0; i < 2; i++) {
		guest_kick(&y->g, VG_Q_EVENT);
		fake_settle(y->f);
		fake_save(y->f, tree, sizeof(tree));
	}
	ck_assert(vg_is_silent(y));
	ck_assert_uint_eq(guest_used_idx(&y->g, VG_Q_EVENT), 1);
	ck_assert_uint_eq(vg_events(&y->g), 1);
	vg_expect(&y->g, OP(RST), &p);
	ck_assert_uint_eq(p.h.src_port, port);
	for (unsigned i = 0; i < 64; i++) {
		vg_expect(&y->g, OP(REQUEST), &p);
		/* not one of the ports that were used before */
		ck_assert_uint_eq(p.h.src_port, port + 1 + i);
		vg_say(&y->g, 9, p.h.src_port, OP(RESPONSE), 0, 0);
	}
	for (unsigned i = 0; i < 64; i++) {
		ck_assert(!vg_at_end(fd[i]));
		close(fd[i]);
	}
	ck_assert_uint_eq(vg_events(&y->g), 0);
	/* where it came from, nothing has changed */
	ck_assert_uint_eq(vg_events(&x->g), 0);
	ck_assert(!vg_at_end(old));
	ck_assert_uint_eq(connections(x), 1);
	close(old);
	subject_free(y);
	subject_free(x);
}
END_TEST

/* saved again before the guest has answered, or without a place for the event */
START_TEST(restored_twice)
{
	struct subject *x = vg_new(_i), *y, *z, *w;
	int n = fake_save(x->f, tree, sizeof(tree)), fd;
	struct vg_packet p;

	y = subject_clone(x, tree, (size_t)n);
	fake_settle(y->f);
	ck_assert_uint_eq(guest_used_idx(&y->g, VG_Q_EVENT), 1);
	n = fake_save(y->f, tree, sizeof(tree));
	z = subject_clone(y, tree, (size_t)n);
	fake_settle(z->f);
	fd = vg_connect(z, "CONNECT 9\n");
	ck_assert(vg_is_silent(z));
	ck_assert_uint_eq(vg_events(&z->g), 2);
	vg_expect(&z->g, OP(REQUEST), &p);
	close(fd);
	/* a driver that starts anew has nothing to hear */
	w = subject_clone(y, tree, (size_t)n);
	vg_start(&w->g, VG_RINGS);
	ck_assert_uint_eq(vg_events(&w->g), 0);
	subject_free(w);
	vg_start(&y->g, VG_RINGS);
	ck_assert_uint_eq(vg_events(&y->g), 0);
	fd = vg_connect(y, "CONNECT 9\n");
	vg_expect(&y->g, OP(REQUEST), &p);
	close(fd);
	subject_free(z);
	subject_free(y);
	subject_free(x);
}
END_TEST

START_TEST(another_address)
{
	struct subject *x = vg_new(_i), *y;
	int n = fake_save(x->f, tree, sizeof(tree));

	y = subject_new(&vg_wires[_i]);
	vg_vsock(y)->cid = 99;
	ck_assert(!fake_load(y->f, tree, (size_t)n));
	ck_assert_uint_eq(vg_vsock(y)->s.cid, 99);
	subject_free(y);
	subject_free(x);
}
END_TEST

START_TEST(a_reset_ends_all)
{
	struct subject *x = vg_new(_i);
	unsigned fds = fake_fds();
	struct vg_packet p;
	uint32_t port;
	int a = vg_open_from_host(x, 9, &port), b = vg_open_from_guest(x, 10, 70);
	int c = vg_connect(x, NULL);

	stall(x, 10, 70);
	vg_start(&x->g, VG_RINGS);
	ck_assert(vg_at_end(a) && vg_at_end(c));
	ck_assert(vg_is_silent(x));
	ck_assert_uint_eq(connections(x), 0);
	close(a);
	close(b);
	close(c);
	ck_assert_uint_eq(fake_fds(), fds);
	a = vg_open_from_host(x, 9, &port);
	vg_guest_sends(x, 9, port, 0, 10);
	ck_assert_uint_eq(vg_host_gets(a, 0), 10);
	vg_say(&x->g, 10, 70, OP(RW), 0, 0);
	vg_expect(&x->g, OP(RST), &p);
	close(a);
	subject_free(x);
}
END_TEST

START_TEST(ports_are_not_used_twice)
{
	struct subject *x = vg_new(_i);
	uint32_t a, b, c;
	int fd[3];

	vg_vsock(x)->s.last_port = VSOCK_PORT_LAST - 1;
	fd[0] = vg_open_from_host(x, 9, &a);
	fd[1] = vg_open_from_host(x, 9, &b);
	ck_assert_uint_eq(a, VSOCK_PORT_LAST);
	ck_assert_uint_eq(b, VSOCK_PORT_FIRST);
	vg_vsock(x)->s.last_port = VSOCK_PORT_LAST - 1;
	fd[2] = vg_open_from_host(x, 8, &c);
	ck_assert_uint_eq(c, VSOCK_PORT_FIRST + 1);
	for (unsigned i = 0; i < 3; i++)
		close(fd[i]);
	subject_free(x);
}
END_TEST

/* --- the socket's file --- */

static void expect_refusal(const struct conf_vsock *conf, const char *text)
{
	struct fake *f = fake_new();
	struct vdev_place place = { .base = GUEST_MMIO, .gsi = CONTRACT_GSI, .conf = conf };

	ck_assert_ptr_null(fake_dev(f, &vsock_type, 0, &place));
	ck_assert_msg(strstr(err_last(), text) != NULL, "'%s' and not '%s'", err_last(), text);
	fake_free(f);
}

START_TEST(file_of_the_socket)
{
	struct subject *x = vg_new(_i);
	char path[64], other[128];
	struct conf_vsock conf = { .cid = 3 };
	struct stat st;
	int fd;

	strcpy(path, vg_host_of(x)->path);
	ck_assert(!lstat(path, &st) && S_ISSOCK(st.st_mode));
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	strcpy(conf.path, path);
	expect_refusal(&conf, "another process listens there");
	ck_assert(!lstat(path, &st));
	snprintf(other, sizeof(other), "%s/f", vg_host_of(x)->folder);
	fd = open(other, O_CREAT | O_WRONLY, 0600);
	close(fd);
	/* so busy that it takes nobody is alive, too */
	snprintf(conf.path, sizeof(conf.path), "%s_6", path);
	fd = vg_listen(x, 6, 0);
	vg_say(&x->g, 1, 6, OP(REQUEST), 0, 0);
	expect_refusal(&conf, "another process listens there");
	close(fd);
	strcpy(conf.path, other);
	expect_refusal(&conf, "is no socket");
	ck_assert(!lstat(other, &st));
	snprintf(conf.path, sizeof(conf.path), "%s/no/where", vg_host_of(x)->folder);
	expect_refusal(&conf, "No such file");
	memset(conf.path, 'x', 97);
	conf.path[97] = '\0';
	expect_refusal(&conf, "longer than");
	conf.path[0] = '\0';
	expect_refusal(&conf, "--vsock path=PATH");
	subject_free(x);
}
END_TEST

/* what a killed process left is replaced; what somebody else put there stays */
START_TEST(file_left_behind)
{
	const struct contract_case *w = &vg_wires[_i];
	struct subject *x = vg_new(_i);
	struct vg_host *h = vg_host_of(x);
	struct vdev_place place = { .base = GUEST_MMIO, .gsi = CONTRACT_GSI, .conf = &h->conf };
	struct fake *f;
	struct stat st;
	char port[80];
	int fd;

	(void)w;
	snprintf(port, sizeof(port), "%s_5", h->path);
	snprintf(h->conf.path, sizeof(h->conf.path), "%s", port);
	close(vg_listen(x, 5, 1));
	f = fake_new();
	ck_assert_ptr_nonnull(fake_dev(f, &vsock_type, 0, &place));
	unlink(port);
	fd = open(port, O_CREAT | O_WRONLY, 0600);
	close(fd);
	fake_free(f);
	ck_assert(!lstat(port, &st) && S_ISREG(st.st_mode));
	unlink(port);
	f = fake_new();
	ck_assert_ptr_nonnull(fake_dev(f, &vsock_type, 0, &place));
	fake_free(f);
	ck_assert(lstat(port, &st));
	subject_free(x);
}
END_TEST

/* no more descriptors: programs wait their turn, the loop does not spin */
START_TEST(out_of_descriptors)
{
	struct subject *x = vg_new(_i);
	struct rlimit old, few;
	struct vg_packet p;
	int fd = vg_connect(x, NULL), waiting;

	fake_settle(x->f);
	getrlimit(RLIMIT_NOFILE, &old);
	waiting = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	few = (struct rlimit){ (rlim_t)waiting + 1, old.rlim_max };
	setrlimit(RLIMIT_NOFILE, &few);
	{
		struct sockaddr_un a = { .sun_family = AF_UNIX };

		strcpy(a.sun_path, vg_host_of(x)->path);
		ck_assert(!connect(waiting, (struct sockaddr *)&a, sizeof(a)));
	}
	ck_assert_int_eq(send(waiting, "CONNECT 5\n", 10, 0), 10);
	fake_settle(x->f);
	ck_assert_uint_ne(vg_vsock(x)->accept_at, 0);
	ck_assert_uint_eq(vg_vsock(x)->listener.events, 0);
	vg_say(&x->g, 4, 4, OP(REQUEST), 0, 0); /* no socket for that either */
	vg_expect(&x->g, OP(RST), &p);
	setrlimit(RLIMIT_NOFILE, &old);
	vg_vsock(x)->accept_at = 1;
	loop_timer_set(x->f->m.loop, &vg_vsock(x)->timer, 1);
	fake_settle(x->f);
	vg_expect(&x->g, OP(REQUEST), &p);
	close(fd);
	close(waiting);
	subject_free(x);
}
END_TEST

/* out of descriptors while a timer is set for something nearer: listening goes on all the same */
START_TEST(listens_again)
{
	struct subject *x = vg_new(_i);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = vg_connect(x, NULL), waiting;
	struct rlimit old, few;

	fake_settle(x->f);
	loop_timer_set(x->f->m.loop, &vg_vsock(x)->timer, now_ns() + 40000000);
	getrlimit(RLIMIT_NOFILE, &old);
	waiting = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	few = (struct rlimit){ (rlim_t)waiting + 1, old.rlim_max };
	setrlimit(RLIMIT_NOFILE, &few);
	strcpy(a.sun_path, vg_host_of(x)->path);
	ck_assert(!connect(waiting, (struct sockaddr *)&a, sizeof(a)));
	fake_settle(x->f);
	ck_assert_uint_ne(vg_vsock(x)->accept_at, 0);
	setrlimit(RLIMIT_NOFILE, &old);
	close(fd);
	for (unsigned i = 0; i < 100 && vg_vsock(x)->accept_at; i++) {
		usleep(10000);
		fake_settle(x->f);
	}
	ck_assert_uint_eq(vg_vsock(x)->accept_at, 0);
	close(waiting);
	subject_free(x);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vsock_life");
	TCase *t = tcase_create("vsock_life");
	const struct rlimit files = { 4096, 4096 };

	setrlimit(RLIMIT_NOFILE, &files);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, host_sends_no_more, 0, 2);
	tcase_add_loop_test(t, guest_sends_no_more, 0, 2);
	tcase_add_loop_test(t, guest_reads_no_more, 0, 2);
	tcase_add_loop_test(t, host_reads_no_more, 0, 2);
	tcase_add_loop_test(t, what_was_sent_arrives, 0, 2);
	tcase_add_loop_test(t, program_dies, 0, 2);
	tcase_add_loop_test(t, hundred_vanish, 0, 2);
	tcase_add_loop_test(t, a_thousand_at_once, 0, 2);
	tcase_add_loop_test(t, no_one_starves, 0, 2);
	tcase_add_loop_test(t, hostile_headers, 0, 2);
	tcase_add_loop_test(t, who_gets_a_reset, 0, 2);
	tcase_add_loop_test(t, out_of_turn, 0, 2);
	tcase_add_loop_test(t, small_buffers, 0, 2);
	tcase_add_loop_test(t, resets_wait, 0, 2);
	tcase_add_loop_test(t, a_pause_keeps_all, 0, 2);
	tcase_add_loop_test(t, a_restored_guest_hears_first, 0, 2);
	tcase_add_loop_test(t, restored_twice, 0, 2);
	tcase_add_loop_test(t, another_address, 0, 2);
	tcase_add_loop_test(t, a_reset_ends_all, 0, 2);
	tcase_add_loop_test(t, ports_are_not_used_twice, 0, 2);
	tcase_add_test(t, file_of_the_socket);
	tcase_add_test(t, file_left_behind);
	tcase_add_loop_test(t, out_of_descriptors, 0, 2);
	tcase_add_loop_test(t, listens_again, 0, 2);
	suite_add_tcase(s, t);
	return suite_run(s);
}
