/*
 * t_vsock - virtio-vsock: both directions, credit, ends, storms, lies, restores
 *
 * The clock and some system calls are taken over below: time passes when a test
 * says so, and what a packet costs is counted.
 */
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "devices.h"
#include "suite.h"
#include "vsock_guest.h"

#define SECOND	 1000000000ULL
#define OP(name) VIRTIO_VSOCK_OP_##name
#define RCV	 VIRTIO_VSOCK_SHUTDOWN_RCV
#define SEND	 VIRTIO_VSOCK_SHUTDOWN_SEND

/* --- the host's kernel --- */

static uint64_t clock_ahead;
static struct {
	unsigned recvmsg, sendmsg, epoll_ctl, epoll_wait, events, other;
} calls;

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int r = (int)syscall(SYS_clock_gettime, id, ts);
	uint64_t ns = (uint64_t)ts->tv_nsec + clock_ahead;

	if (id == CLOCK_MONOTONIC) {
		ts->tv_sec += (time_t)(ns / SECOND);
		ts->tv_nsec = (long)(ns % SECOND);
	}
	return r;
}

ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	calls.recvmsg++;
	return syscall(SYS_recvmsg, fd, m, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	calls.sendmsg++;
	return syscall(SYS_sendmsg, fd, m, flags);
}

int epoll_ctl(int ep, int op, int fd, struct epoll_event *ev)
{
	calls.epoll_ctl++;
	return (int)syscall(SYS_epoll_ctl, ep, op, fd, ev);
}

int epoll_pwait2(int ep, struct epoll_event *ev, int max, const struct timespec *ts,
		 const sigset_t *set)
{
	int n = (int)syscall(SYS_epoll_pwait2, ep, ev, max, ts, set, 8);

	calls.epoll_wait++;
	calls.events += n > 0 ? (unsigned)n : 0;
	return n;
}

static void pass_time(struct subject *x, uint64_t ns)
{
	clock_ahead += ns;
	fake_settle(x->f);
	fake_settle(x->f);
}

/* --- subjects --- */

static bool is_set(void *arg)
{
	return *(bool *)arg;
}

/* --- opening --- */

START_TEST(host_opens)
{
	struct subject *x = vg_new(_i);
	struct vg_packet p;
	uint32_t a, b;
	int fd[2];

	ck_assert_uint_eq(guest_offered(&x->g), VG_RINGS);
	ck_assert_uint_eq(guest_config(&x->g, 0, 8), VG_CID);
	fd[0] = vg_open_from_host(x, 1024, &a);
	fd[1] = vg_open_from_host(x, 1024, &b);
	ck_assert_uint_gt(a, VSOCK_PORT_FIRST);
	ck_assert_uint_eq(b, a + 1);
	ck_assert_uint_eq(vg_conn(x, 1024, a)->peer_alloc, VG_BUF);
	/* the guest refuses */
	close(fd[0]);
	vg_expect(&x->g, OP(SHUTDOWN), &p);
	ck_assert_uint_eq(p.h.flags, RCV | SEND);
	vg_say(&x->g, 1024, a, OP(RST), 0, 0);
	ck_assert_ptr_null(vg_conn(x, 1024, a));
	fd[0] = vg_connect(x, "CONNECT 77\n");
	vg_expect(&x->g, OP(REQUEST), &p);
	ck_assert_uint_eq(p.h.buf_alloc, VSOCK_BUF);
	ck_assert_uint_eq(p.h.fwd_cnt, 0);
	ck_assert_uint_eq(p.h.type, VIRTIO_VSOCK_TYPE_STREAM);
	vg_say(&x->g, 77, p.h.src_port, OP(RST), 0, 0);
	ck_assert(vg_at_end(fd[0]));
	ck_assert_uint_eq(vg_vsock(x)->count.refused, 1);
	ck_assert_uint_eq(vg_vsock(x)->count.opened, 2);
	ck_assert_uint_eq(vg_vsock(x)->count.connections, 1);
	close(fd[0]);
	close(fd[1]);
	subject_free(x);
}
END_TEST

START_TEST(first_lines)
{
	static const char *const bad[] = {
		"CONNECT\n",	"CONNECT \n",
		"connect 5\n",	"CONNECT -1\n",
		"CONNECT 5x\n", "CONNECT  5\n",
		"\n",		"CONNECT 4294967296\n",
		"HELLO 5\n",	"CONNECT 5 6\n",
		"CONNECT +5\n", "CONNECT 00000000000000000000000000000000000005\n",
	};
	static const char *const good[] = { "CONNECT 5\n", "CONNECT 5\r\n", "CONNECT 4294967295\n",
					    "CONNECT 0\n" };
	struct subject *x = vg_new(_i);
	struct vg_packet p;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		int fd = vg_connect(x, bad[i]);

		ck_assert_msg(vg_at_end(fd), "%s", bad[i]);
		close(fd);
	}
	ck_assert(vg_is_silent(x));
	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		int fd = vg_connect(x, good[i]);

		vg_expect(&x->g, OP(REQUEST), &p);
		ck_assert_uint_eq(p.h.dst_port, (uint32_t)strtoul(good[i] + 8, NULL, 10));
		close(fd);
		vg_expect(&x->g, OP(RST), &p);
	}
	fake_settle(x->f);
	ck_assert_uint_eq(vg_vsock(x)->count.connections, 0);
	subject_free(x);
}
END_TEST

/* byte by byte, and then what is meant for the guest in the same breath */
START_TEST(slow_first_line)
{
	static const char line[] = "CONNECT 1234\nhello";
	struct subject *x = vg_new(_i);
	struct vg_packet p;
	int fd = vg_connect(x, NULL);

	for (unsigned i = 0; line[i]; i++) {
		ck_assert_int_eq(send(fd, &line[i], 1, 0), 1);
		fake_settle(x->f);
	}
	vg_expect(&x->g, OP(REQUEST), &p);
	ck_assert(vg_is_silent(x));
	vg_say(&x->g, 1234, p.h.src_port, OP(RESPONSE), 0, 0);
	vg_expect(&x->g, OP(RW), &p);
	ck_assert_uint_eq(p.len, 5);
	ck_assert_mem_eq(p.data, "hello", 5);
	close(fd);
	subject_free(x);
}
END_TEST

START_TEST(silent_programs_and_guests)
{
	struct subject *x = vg_new(_i);
	struct vg_packet p;
	int fd[3];

	fd[0] = vg_connect(x, NULL);
	fd[1] = vg_connect(x, "CONNECT 1");
	fd[2] = vg_connect(x, "CONNECT 1\n");
	pass_time(x, 2 * SECOND);
	ck_assert(!vg_at_end(fd[0]) && !vg_at_end(fd[1]) && !vg_at_end(fd[2]));
	pass_time(x, 2 * SECOND);
	ck_assert(vg_at_end(fd[0]) && vg_at_end(fd[1]) && !vg_at_end(fd[2]));
	/* the guest has its time too */
	vg_expect(&x->g, OP(REQUEST), &p);
	pass_time(x, 9 * SECOND);
	ck_assert(vg_at_end(fd[2]));
	vg_expect(&x->g, OP(RST), &p);
	ck_assert_uint_eq(vg_vsock(x)->count.connections, 0);
	/* who gives up before the guest has heard of it leaves no trace */
	vg_start_with(&x->g, VG_RINGS, 0, 0);
	close(fd[0]);
	fd[0] = vg_connect(x, "CONNECT 1\n");
	close(fd[0]);
	fake_settle(x->f);
	ck_assert_uint_eq(vg_vsock(x)->count.connections, 0);
	vg_post(&x->g, 0, VG_RX_BYTES);
	guest_kick(&x->g, VG_Q_RX);
	ck_assert(vg_is_silent(x));
	close(fd[1]);
	close(fd[2]);
	subject_free(x);
}
END_TEST

START_TEST(nobody_home)
{
	struct subject *x = subject_new(&vg_wires[_i]);
	int fd = vg_connect(x, "CONNECT 1\n");

	ck_assert(vg_at_end(fd)); /* no driver */
	close(fd);
	vg_start(&x->g, VG_RINGS);
	fake_poke16(x->f, x->g.q[1].avail + 2, 0x8000);
	guest_kick(&x->g, 1);
	fake_settle(x->f);
	fd = vg_connect(x, "CONNECT 1\n");
	ck_assert(vg_at_end(fd)); /* a broken one */
	close(fd);
	subject_free(x);
}
END_TEST

START_TEST(guest_opens)
{
	struct subject *x = vg_new(_i);
	struct vg_packet p;
	int fd = vg_open_from_guest(x, 3000, 52);

	vg_guest_sends(x, 3000, 52, 0, 1000);
	ck_assert_uint_eq(vg_host_gets(fd, 0), 1000);
	/* nobody listens; a folder; a stale socket */
	vg_say(&x->g, 3001, 53, OP(REQUEST), 0, 0);
	vg_expect(&x->g, OP(RST), &p);
	ck_assert_uint_eq(p.h.src_port, 53);
	ck_assert_uint_eq(p.h.dst_port, 3001);
	close(vg_listen(x, 54, 1));
	vg_say(&x->g, 3001, 54, OP(REQUEST), 0, 0);
	vg_expect(&x->g, OP(RST), &p);
	ck_assert_uint_eq(vg_vsock(x)->count.refused, 2);
	ck_assert(vg_is_silent(x));
	close(fd);
	subject_free(x);
}
END_TEST

/* the host program's queue is full: it is asked again, not for ever */
START_TEST(full_backlog)
{
	struct subject *x = vg_new(_i);
	int listener = vg_listen(x, 60, 0), fd[4];
	struct vg_packet p;

	vg_say(&x->g, 1, 60, OP(REQUEST), 0, 0);
	vg_expect(&x->g, OP(RESPONSE), &p);
	for (uint32_t i = 2; i < 5; i++)
		vg_say(&x->g, i, 60, OP(REQUEST), 0, 0);
	ck_assert(vg_is_silent(x));
	fd[0] = vg_accept(listener);
	pass_time(x, SECOND / 10);
	vg_expect(&x->g, OP(RESPONSE), &p);
	ck_assert(vg_is_silent(x));
	/* the guest gives up on one, the time runs out for the other */
	for (uint32_t i = 2; i < 5; i++) {
		if (vg_conn(x, i, 60) && vg_conn(x, i, 60)->state == CONN_CALLS) {
			vg_say(&x->g, i, 60, OP(RST), 0, 0);
			ck_assert_ptr_null(vg_conn(x, i, 60));
			break;
		}
	}
	pass_time(x, 3 * SECOND);
	vg_expect(&x->g, OP(RST), &p);
	ck_assert_uint_eq(vg_vsock(x)->count.connections, 2);
	close(fd[0]);
	close(listener);
	subject_free(x);
}
END_TEST

/* --- data and credit --- */

/* take @n pattern bytes, granting room as a driver does; the packets it took */
static unsigned guest_takes(struct subject *x, uint32_t gp, uint32_t hp, uint32_t at, uint32_t n)
{
	uint32_t taken = at, told = at;
	unsigned packets = 0;
	struct vg_packet p;

	while (taken < at + n) {
		if (!vg_recv(&x->g, &p)) { /* as a driver takes all there is */
			fake_settle(x->f);
			continue;
		}
		if (p.h.op == OP(CREDIT_REQUEST))
			continue;
		ck_assert_uint_eq(p.h.op, OP(RW));
		ck_assert(p.h.src_port == hp && p.h.dst_port == gp && p.len);
		ck_assert(vg_is_pattern(p.data, taken, p.len));
		taken += p.len;
		packets++;
		if (taken - told > VG_BUF / 2) {
			told = taken;
			vg_say(&x->g, gp, hp, OP(CREDIT_UPDATE), 0, taken);
		}
	}
	ck_assert_uint_eq(taken, at + n);
	vg_say(&x->g, gp, hp, OP(CREDIT_UPDATE), 0, taken);
	return packets;
}

START_TEST(host_to_guest)
{
	struct subject *x = vg_new(_i);
	uint32_t port, at = 0, want = 2 << 20;
	int fd = vg_open_from_host(x, 9, &port);
	unsigned packets = 0;

	fake_mark(x->f);
	memset(&calls, 0, sizeof(calls));
	while (at < want) {
		uint32_t n = (uint32_t)vg_host_sends(fd, at, want - at);

		packets += guest_takes(x, 9, port, at, n);
		at += n;
	}
	printf("host_to_guest: %u packets of %u bytes, %u recvmsg\n", packets, at / packets,
	       calls.recvmsg);
	ck_assert_uint_lt(calls.recvmsg, packets / 4); /* many packets a call */
	ck_assert_uint_ge(fake_check_dirty(x->f), 9);
	ck_assert_uint_eq(vg_vsock(x)->count.to_guest_bytes, want);
	close(fd);
	subject_free(x);
}
END_TEST

START_TEST(guest_to_host)
{
	struct subject *x = vg_new(_i);
	int fd = vg_open_from_guest(x, 10, 70);
	uint32_t at = 0, updates = 0;
	struct vg_packet p;

	memset(&calls, 0, sizeof(calls));
	for (unsigned i = 0; i < 100; i++) {
		vg_guest_sends(x, 10, 70, at, VG_DATA_MAX);
		ck_assert_uint_eq(vg_host_gets(fd, at), VG_DATA_MAX);
		at += VG_DATA_MAX;
		while (vg_recv(&x->g, &p)) {
			ck_assert_uint_eq(p.h.op, OP(CREDIT_UPDATE));
			ck_assert_uint_eq(p.h.fwd_cnt, at);
			updates++;
		}
	}
	ck_assert_uint_eq(calls.sendmsg, 100); /* one a packet, nothing kept */
	ck_assert_uint_eq(calls.epoll_ctl, 0);
	ck_assert_uint_ge(updates, at / (VSOCK_BUF / 2) - 1);
	ck_assert_uint_le(updates, at / (VSOCK_BUF / 2) + 1);
	/* it is told when it asks */
	vg_guest_sends(x, 10, 70, at, 5);
	vg_say(&x->g, 10, 70, OP(CREDIT_REQUEST), 0, 0);
	vg_expect(&x->g, OP(CREDIT_UPDATE), &p);
	ck_assert_uint_eq(p.h.fwd_cnt, at + 5);
	ck_assert_uint_eq(p.h.buf_alloc, VSOCK_BUF);
	close(fd);
	subject_free(x);
}
END_TEST

/* a packet as large as they come, in many pieces */
START_TEST(largest_packet)
{
	struct subject *x = vg_new(_i);
	int fd = vg_open_from_guest(x, 10, 70);
	struct virtio_vsock_hdr h = vg_header(10, 70, OP(RW));
	struct guest_buf buf[10] = { { VG_TX, VG_HEADER, false } };
	static uint8_t got[VSOCK_PACKET + 1], data[0x2000];
	struct vg_packet p;
	size_t n = 0;

	h.len = VSOCK_PACKET;
	vg_fill_pattern(data, 0, sizeof(data));
	fake_poke(x->f, VG_DATA, data, sizeof(data));
	fake_poke(x->f, VG_TX, &h, VG_HEADER);
	for (unsigned i = 1; i < 9; i++)
		buf[i] = (struct guest_buf){ VG_DATA, 0x2000, false };
	guest_add_indirect(&x->g, VG_Q_TX, buf, 9);
	guest_kick(&x->g, VG_Q_TX);
	fake_settle(x->f);
	for (size_t k; (k = vg_read(fd, got + n, sizeof(got) - n)); n += k)
		fake_settle(x->f);
	ck_assert_uint_eq(n, VSOCK_PACKET);
	for (unsigned i = 0; i < 8; i++)
		ck_assert(vg_is_pattern(got + i * 0x2000, 0, 0x2000));
	/* and a byte more */
	h.len++;
	fake_poke(x->f, VG_TX, &h, VG_HEADER);
	buf[9] = (struct guest_buf){ VG_DATA, 1, false };
	guest_add_indirect(&x->g, VG_Q_TX, buf, 10);
	guest_kick(&x->g, VG_Q_TX);
	vg_expect(&x->g, OP(RST), &p);
	close(fd);
	subject_free(x);
}
END_TEST

/* the guest's room is kept to, and asked for once it is used up */
START_TEST(room_of_the_guest)
{
	struct subject *x = vg_new(_i);
	struct virtio_vsock_hdr h = vg_header(9, 0, OP(RESPONSE));
	struct vg_packet p;
	uint32_t sum = 0, port;
	int fd = vg_connect(x, "CONNECT 9\n");

	vg_expect(&x->g, OP(REQUEST), &p);
	h.dst_port = port = p.h.src_port;
	h.buf_alloc = 5000;
	vg_send(&x->g, &h, 0);
	ck_assert_uint_eq(recv(fd, p.data, 100, 0), strlen("OK 1073741825\n"));
	ck_assert_uint_eq(vg_host_sends(fd, 0, 20000), 20000);
	while (sum < 5000) {
		vg_expect(&x->g, OP(RW), &p);
		ck_assert(vg_is_pattern(p.data, sum, p.len));
		sum += p.len;
	}
	ck_assert_uint_eq(sum, 5000);
	vg_expect(&x->g, OP(CREDIT_REQUEST), &p);
	ck_assert(vg_is_silent(x));
	ck_assert_uint_eq(vg_vsock(x)->count.credit_waits, 1);
	/* more room, nothing taken */
	h.op = OP(CREDIT_UPDATE);
	h.buf_alloc = 5100;
	vg_send(&x->g, &h, 0);
	vg_expect(&x->g, OP(RW), &p);
	ck_assert_uint_eq(p.len, 100);
	vg_expect(&x->g, OP(CREDIT_REQUEST), &p);
	/* less room than is under way already */
	h.buf_alloc = 10;
	h.fwd_cnt = 5000;
	vg_send(&x->g, &h, 0);
	ck_assert(vg_is_silent(x));
	/* older news does no harm: two threads of a driver may cross */
	h.fwd_cnt = 4000;
	h.buf_alloc = 1 << 20;
	vg_send(&x->g, &h, 0);
	ck_assert(vg_is_silent(x));
	ck_assert_uint_eq(vg_conn(x, 9, port)->peer_taken, 5000);
	/* more taken than was sent is a lie */
	h.fwd_cnt = 5101;
	vg_send(&x->g, &h, 0);
	vg_expect(&x->g, OP(RST), &p);
	ck_assert_uint_eq(vg_host_gets(fd, 0), 0);
	ck_assert(vg_at_end(fd));
	ck_assert_uint_eq(vg_vsock(x)->count.connections, 0);
	close(fd);
	subject_free(x);
}
END_TEST

/* all sums near their end, in both directions */
START_TEST(sums_wrap)
{
	struct subject *x = vg_new(_i);
	struct vg_packet p;
	uint32_t port, start = UINT32_MAX - 3000, sum = 0;
	int fd = vg_open_from_host(x, 9, &port);
	struct vsock_conn *c = vg_conn(x, 9, port);
	struct virtio_vsock_hdr h = vg_header(9, port, OP(RW));

	c->sent = c->peer_taken = c->got = c->taken = c->told = start;
	ck_assert_uint_eq(vg_host_sends(fd, 0, 10000), 10000);
	while (sum < 10000) {
		vg_expect(&x->g, OP(RW), &p);
		ck_assert(vg_is_pattern(p.data, sum, p.len));
		sum += p.len;
		h.op = OP(CREDIT_UPDATE);
		h.fwd_cnt = start + sum;
		vg_send(&x->g, &h, 0);
	}
	ck_assert_uint_eq(c->sent, start + 10000);
	ck_assert_uint_eq(vsock_room(c), VG_BUF);
	h.op = OP(RW);
	for (uint32_t at = 0; at < 20000; at += 1000) {
		uint8_t buf[1000];

		vg_fill_pattern(buf, at, 1000);
		fake_poke(x->f, VG_DATA, buf, 1000);
		h.len = 1000;
		vg_send(&x->g, &h, 1000);
		ck_assert_uint_eq(vg_host_gets(fd, at), 1000);
	}
	ck_assert_uint_eq(c->taken, start + 20000);
	close(fd);
	subject_free(x);
}
END_TEST

/* the arithmetic alone: a model in 64 bits */
START_TEST(credit_arithmetic)
{
	uint32_t seed = 1;
	unsigned lies = 0, old = 0;

	for (unsigned n = 0; n < 200000; n++) {
		uint32_t base = (uint32_t)fake_odd(&seed), flight = fake_random(&seed) % 70000;
		uint32_t step = fake_random(&seed) % 90000, alloc = (uint32_t)fake_odd(&seed);
		bool back = n % 3 == 0, ok;
		struct vsock_conn c = { .peer_taken = base,
					.sent = base + flight,
					.peer_alloc = 7 };

		ok = vsock_credit(&c, alloc, back ? base - step : base + step);
		if (back && step) {
			if (!ok || c.peer_taken != base || c.peer_alloc != 7)
				ck_abort_msg("old news");
			old++;
		} else if (step > flight) {
			if (ok || c.peer_taken != base)
				ck_abort_msg("a lie was believed");
			lies++;
		} else if (!ok || c.peer_taken != base + step ||
			   vsock_room(&c) !=
				   (MIN(alloc, VSOCK_ALLOC_MAX) > flight - step
					    ? MIN(alloc, VSOCK_ALLOC_MAX) - (flight - step)
					    : 0)) {
			ck_abort_msg("room %u", vsock_room(&c));
		}
	}
	ck_assert_uint_gt(lies, 1000);
	ck_assert_uint_gt(old, 1000);
}
END_TEST

/* how much fits into a socket nobody reads */
static uint32_t fill_socket(struct subject *x, uint32_t gp, uint32_t hp)
{
	struct vsock_conn *c = vg_conn(x, gp, hp);
	uint32_t at = 0;

	while (!c->used) {
		vg_guest_sends(x, gp, hp, at, 4096);
		at += 4096;
	}
	return at;
}

START_TEST(program_that_does_not_read)
{
	struct subject *x = vg_new(_i);
	int fd = vg_open_from_guest(x, 10, 70), other = vg_open_from_guest(x, 11, 71);
	uint32_t at = fill_socket(x, 10, 70), got = 0, more;
	struct vsock_conn *c = vg_conn(x, 10, 70);
	struct vg_packet p;

	ck_assert_ptr_nonnull(c->ring);
	more = VSOCK_BUF - (c->got - c->taken);
	vg_guest_sends(x, 10, 70, at, more);
	ck_assert_uint_eq(c->used, VSOCK_BUF);
	while (vg_recv(&x->g, &p))
		ck_assert_uint_eq(p.h.op, OP(CREDIT_UPDATE));
	pass_time(x, 60 * SECOND);
	/* the other one is not held up */
	vg_guest_sends(x, 11, 71, 0, 1000);
	ck_assert_uint_eq(vg_host_gets(other, 0), 1000);
	ck_assert(vg_is_silent(x));
	/* it takes some: the ring goes round */
	at += more;
	for (unsigned i = 0; i < 60; i++) {
		got += (uint32_t)vg_host_gets_some(fd, got, 10000);
		fake_settle(x->f);
		more = VSOCK_BUF - (c->got - c->taken);
		vg_guest_sends(x, 10, 70, at, more);
		at += more;
		while (vg_recv(&x->g, &p))
			ck_assert_uint_eq(p.h.op, OP(CREDIT_UPDATE));
	}
	ck_assert_uint_gt(at, 3 * VSOCK_BUF);
	while (got < at) {
		got += (uint32_t)vg_host_gets(fd, got);
		fake_settle(x->f);
	}
	ck_assert_uint_eq(got, at);
	ck_assert_ptr_null(c->ring);
	vg_expect(&x->g, OP(CREDIT_UPDATE), &p);
	ck_assert_uint_eq(c->taken, at);
	vg_guest_sends(x, 10, 70, at, 1000);
	ck_assert_uint_eq(vg_host_gets(fd, at), 1000);
	close(fd);
	close(other);
	subject_free(x);
}
END_TEST

START_TEST(more_than_was_granted)
{
	struct subject *x = vg_new(_i);
	int fd = vg_open_from_guest(x, 10, 70);
	uint32_t at = fill_socket(x, 10, 70), more;
	struct vsock_conn *c = vg_conn(x, 10, 70);
	struct vg_packet p;

	more = VSOCK_BUF - (c->got - c->taken);
	vg_guest_sends(x, 10, 70, at, more);
	ck_assert_uint_eq(c->state, CONN_OPEN);
	vg_guest_sends(x, 10, 70, 0, 1);
	vg_expect(&x->g, OP(RST), &p);
	ck_assert_ptr_null(vg_conn(x, 10, 70));
	close(fd);
	subject_free(x);
}
END_TEST

/* an end takes no room */
START_TEST(end_without_room)
{
	struct subject *x = vg_new(_i);
	struct virtio_vsock_hdr h = vg_header(9, 0, OP(RESPONSE));
	struct vg_packet p;
	int fd = vg_connect(x, "CONNECT 9\n");

	vg_expect(&x->g, OP(REQUEST), &p);
	h.dst_port = p.h.src_port;
	h.buf_alloc = 0;
	vg_send(&x->g, &h, 0);
	shutdown(fd, SHUT_WR);
	fake_settle(x->f);
	do
		ck_assert(vg_recv(&x->g, &p));
	while (p.h.op == OP(CREDIT_REQUEST));
	ck_assert_uint_eq(p.h.op, OP(SHUTDOWN));
	ck_assert_uint_eq(p.h.flags, SEND);
	close(fd);
	subject_free(x);
}
END_TEST

/* the header in one page, the data in others: all are marked */
START_TEST(pages_of_a_packet)
{
	struct subject *x = vg_new(_i);
	const struct guest_buf buf[] = { { VG_RX, 20, true },
					 { VG_DATA, 24 + 10, true },
					 { FAKE_HIGH + FAKE_HIGH_SLOT - 100, 4300, true } };
	int fd;

	vg_start_with(&x->g, VG_RINGS, 1, VG_RX_BYTES);
	fd = vg_open_from_guest(x, 10, 70);
	x->g.q[VG_Q_RX].free_d = 4;
	guest_add(&x->g, VG_Q_RX, buf, 3);
	guest_add(&x->g, VG_Q_RX, buf, 3);
	guest_kick(&x->g, VG_Q_RX);
	/* the one that lies there */
	ck_assert_uint_eq(vg_host_sends(fd, 0, VG_RX_BYTES - VG_HEADER), VG_RX_BYTES - VG_HEADER);
	fake_settle(x->f);
	fake_mark(x->f);
	ck_assert_uint_eq(vg_host_sends(fd, 7, 4310), 4310);
	fake_settle(x->f);
	/* the used ring, and one, one and three pages of it */
	ck_assert_uint_eq(fake_check_dirty(x->f), 5);
	ck_assert_uint_eq(vg_vsock(x)->count.to_guest_bytes, VG_RX_BYTES - VG_HEADER + 4310);
	close(fd);
	subject_free(x);
}
END_TEST

/* a machine that stands still is not late */
START_TEST(time_stands_still)
{
	struct subject *x = vg_new(_i);
	int fd = vg_connect(x, "CONNECT 9\n");
	struct vg_packet p;

	vg_expect(&x->g, OP(REQUEST), &p);
	dev_drain(x->dev);
	for (unsigned i = 0; i < 10; i++)
		pass_time(x, 60 * SECOND);
	fake_resume(x->f);
	fake_settle(x->f);
	vg_say(&x->g, 9, p.h.src_port, OP(RESPONSE), 0, 0);
	ck_assert(vg_says(fd, "OK 1073741825\n"));
	close(fd);
	subject_free(x);
}
END_TEST

/* what a round trip costs: one read, one write, no changes of what is watched */
START_TEST(cost_of_a_round_trip)
{
	struct subject *x = vg_new(_i);
	struct vg_packet p;
	uint32_t port;
	int fd = vg_open_from_host(x, 9, &port);

	memset(&calls, 0, sizeof(calls));
	for (unsigned i = 0; i < 100; i++) {
		ck_assert_uint_eq(vg_host_sends(fd, i * 64, 64), 64);
		vg_expect(&x->g, OP(RW), &p);
		ck_assert(p.len == 64 && vg_is_pattern(p.data, i * 64, 64));
		vg_guest_sends(x, 9, port, i * 64, 64);
		ck_assert_uint_eq(vg_host_gets(fd, i * 64), 64);
	}
	printf("round trip: %.2f recvmsg, %.2f sendmsg, %.2f epoll_ctl\n", calls.recvmsg / 100.0,
	       calls.sendmsg / 100.0, calls.epoll_ctl / 100.0);
	ck_assert_uint_eq(calls.recvmsg, 100);
	ck_assert_uint_eq(calls.sendmsg, 100);
	ck_assert_uint_eq(calls.epoll_ctl, 0);
	close(fd);
	subject_free(x);
}
END_TEST

/* a connection that cannot go on wakes nobody, whatever the program does */
START_TEST(blocked_is_quiet)
{
	struct subject *x = vg_new(_i);
	struct virtio_vsock_hdr h = vg_header(9, 0, OP(RESPONSE));
	struct vg_packet p;
	bool never = false;
	int fd = vg_connect(x, "CONNECT 9\n");

	vg_expect(&x->g, OP(REQUEST), &p);
	h.dst_port = p.h.src_port;
	h.buf_alloc = 0;
	vg_send(&x->g, &h, 0);
	ck_assert_uint_eq(recv(fd, p.data, 100, 0), strlen("OK 1073741825\n"));
	ck_assert_uint_eq(vg_host_sends(fd, 0, 5000), 5000);
	close(fd);
	vg_expect(&x->g, OP(CREDIT_REQUEST), &p);
	fake_settle(x->f);
	memset(&calls, 0, sizeof(calls));
	ck_assert_int_eq(loop_until(x->f->m.loop, is_set, &never, 20000000), -ETIMEDOUT);
	ck_assert_uint_eq(calls.events, 0);
	/* nothing is lost */
	h.op = OP(CREDIT_UPDATE);
	h.buf_alloc = VG_BUF;
	vg_send(&x->g, &h, 0);
	for (uint32_t sum = 0; sum < 5000; sum += p.len) {
		vg_expect(&x->g, OP(RW), &p);
		ck_assert(vg_is_pattern(p.data, sum, p.len));
	}
	vg_expect(&x->g, OP(SHUTDOWN), &p);
	ck_assert_uint_eq(p.h.flags, RCV | SEND);
	subject_free(x);
}
END_TEST

/* the kernel ends a read at descriptors that a program sends along; what lies behind is not
 * forgotten */
START_TEST(descriptors_sent_along)
{
	struct subject *x = vg_new(_i);
	int fd = vg_open_from_guest(x, 10, 70);
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { (void *)(uintptr_t) "abcd", 4 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	struct vg_packet p;
	unsigned n = 0;

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(int));
	ck_assert_int_eq(sendmsg(fd, &m, 0), 4);
	ck_assert_int_eq(send(fd, "efgh", 4, 0), 4);
	for (unsigned i = 0; i < 2; i++) {
		fake_settle(x->f);
		while (vg_recv(&x->g, &p))
			n += p.len;
	}
	ck_assert_uint_eq(n, 8);
	close(fd);
	subject_free(x);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vsock");
	TCase *t = tcase_create("vsock");
	const struct rlimit files = { 4096, 4096 };

	setrlimit(RLIMIT_NOFILE, &files);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, host_opens, 0, 2);
	tcase_add_loop_test(t, first_lines, 0, 2);
	tcase_add_loop_test(t, slow_first_line, 0, 2);
	tcase_add_loop_test(t, silent_programs_and_guests, 0, 2);
	tcase_add_loop_test(t, nobody_home, 0, 2);
	tcase_add_loop_test(t, guest_opens, 0, 2);
	tcase_add_loop_test(t, full_backlog, 0, 2);
	tcase_add_loop_test(t, host_to_guest, 0, 2);
	tcase_add_loop_test(t, guest_to_host, 0, 2);
	tcase_add_loop_test(t, largest_packet, 0, 2);
	tcase_add_loop_test(t, room_of_the_guest, 0, 2);
	tcase_add_loop_test(t, sums_wrap, 0, 2);
	tcase_add_test(t, credit_arithmetic);
	tcase_add_loop_test(t, program_that_does_not_read, 0, 2);
	tcase_add_loop_test(t, more_than_was_granted, 0, 2);
	tcase_add_loop_test(t, blocked_is_quiet, 0, 2);
	tcase_add_loop_test(t, end_without_room, 0, 2);
	tcase_add_loop_test(t, pages_of_a_packet, 0, 2);
	tcase_add_loop_test(t, time_stands_still, 0, 2);
	tcase_add_loop_test(t, cost_of_a_round_trip, 0, 2);
	tcase_add_loop_test(t, descriptors_sent_along, 0, 2);
	suite_add_tcase(s, t);
	return suite_run(s);
}
