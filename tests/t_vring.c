/*
 * t_vring - what a driver writes into rings: chains of all kinds, indexes, and who interrupts whom
 *
 * virtio-blk is the device, over both transports.
 */
#include <linux/virtio_blk.h>
#include <linux/virtio_pci.h>
#include <signal.h>
#include <sys/mman.h>

#include "contract.h"
#include "devices.h"
#include "suite.h"

#define ALL_RINGS    (GUEST_VERSION_1 | GUEST_EVENT_IDX | GUEST_INDIRECT_F)
#define NEXT	     VRING_DESC_F_NEXT
#define WRITE	     VRING_DESC_F_WRITE
#define INDIRECT     VRING_DESC_F_INDIRECT
#define SECOND_TABLE (GUEST_INDIRECT + 0x800)
#define LAST	     (FAKE_LOW_END - 1) /* last byte of low memory */

static const struct contract_case wires[] = { { &blk_type, WIRE_MMIO }, { &blk_type, WIRE_PCI } };

static struct vdev_state *state_of(struct subject *x)
{
	return &to_vdev(x->dev)->s;
}

static void check_serves(struct subject *x)
{
	ck_assert_uint_eq(guest_blk(&x->g, VIRTIO_BLK_T_IN, 1, GUEST_DATA, 512), VIRTIO_BLK_S_OK);
}

/* --- chains --- */

static const struct vring_desc hdr = { GUEST_HDR, 16, NEXT, 1 };

#define BODY(a, l, f, n)           \
	{                          \
		(a), (l), (f), (n) \
	}
#define DATA(n)                                    \
	{                                          \
		GUEST_DATA, 512, WRITE | NEXT, (n) \
	}
#define DONE                              \
	{                                 \
		GUEST_STATUS, 1, WRITE, 0 \
	}
#define TABLE(bytes, f)                                    \
	{                                                  \
		GUEST_INDIRECT, (bytes), INDIRECT | (f), 1 \
	}

/* a read of one sector: what is in the ring of 8 descriptors, and in the indirect table */
static const struct chain {
	const char *what;
	bool good;
	struct vring_desc d[5], table[5];
	uint16_t head;
} chains[] = {
	{ "plain", true, { hdr, DATA(2), DONE }, { { 0 } }, 0 },
	{ "by another head", true, { DONE, { 0 }, { GUEST_HDR, 16, NEXT, 3 }, DATA(0) }, {}, 2 },
	{ "empty ones between", true, { hdr, BODY(0, 0, NEXT, 2), DATA(3), DONE }, {}, 0 },
	{ "an empty one outside memory",
	  true,
	  { hdr, BODY(UINT64_MAX, 0, NEXT, 2), DATA(3), DONE },
	  {},
	  0 },
	{ "data at the end of memory",
	  true,
	  { hdr, BODY(FAKE_LOW_END - 512, 512, WRITE | NEXT, 2), DONE },
	  {},
	  0 },
	{ "status in the last byte", true, { hdr, DATA(2), BODY(LAST, 1, WRITE, 0) }, {}, 0 },
	{ "data across two slots",
	  true,
	  { hdr, BODY(FAKE_HIGH + FAKE_HIGH_SLOT - 1, 512, WRITE | NEXT, 2), DONE },
	  {},
	  0 },
	{ "status at the end of data", true, { hdr, BODY(GUEST_DATA, 513, WRITE, 0) }, {}, 0 },
	{ "indirect", true, { TABLE(48, 0) }, { hdr, DATA(2), DONE }, 0 },
	{ "indirect, WRITE set and to be ignored",
	  true,
	  { TABLE(48, WRITE) },
	  { hdr, DATA(2), DONE },
	  0 },
	{ "indirect behind a direct one", true, { hdr, TABLE(32, 0) }, { DATA(1), DONE }, 0 },

	{ "head outside the ring", false, { hdr, DATA(2), DONE }, {}, 9 },
	{ "head far outside the ring", false, { hdr, DATA(2), DONE }, {}, 0xffff },
	{ "next outside the ring", false, { hdr, DATA(8), DONE }, {}, 0 },
	{ "next far outside the ring", false, { hdr, DATA(0xffff), DONE }, {}, 0 },
	{ "a loop of one", false, { hdr, DATA(1), DONE }, {}, 0 },
	{ "a loop of two", false, { hdr, BODY(GUEST_DATA, 0, NEXT, 0), DONE }, {}, 0 },
	{ "a loop of nothing", false, { BODY(0, 0, NEXT, 1), BODY(0, 0, NEXT, 0) }, {}, 0 },
	{ "to read behind to write",
	  false,
	  { DATA(1), BODY(GUEST_HDR, 16, NEXT, 2), DONE },
	  {},
	  0 },
	{ "nothing to write", false, { hdr, BODY(GUEST_DATA, 512, 0, 0) }, {}, 0 },
	{ "nothing at all", false, { BODY(GUEST_HDR, 0, 0, 0) }, {}, 0 },
	{ "status one byte too far", false, { hdr, DATA(2), BODY(LAST + 1, 1, WRITE, 0) }, {}, 0 },
	{ "data into the hole", false, { hdr, BODY(LAST, 2, WRITE | NEXT, 2), DONE }, {}, 0 },
	{ "data past the end of memory",
	  false,
	  { hdr, BODY(FAKE_HIGH_END - 511, 512, WRITE | NEXT, 2), DONE },
	  {},
	  0 },
	{ "data that wraps around",
	  false,
	  { hdr, BODY(UINT64_MAX - 511, 512, WRITE | NEXT, 2), DONE },
	  {},
	  0 },
	{ "data that wraps to valid memory",
	  false,
	  { hdr, BODY(UINT64_MAX - 255, 512, WRITE | NEXT, 2), DONE },
	  {},
	  0 },
	{ "4 GiB less one byte",
	  false,
	  { hdr, BODY(GUEST_DATA, UINT32_MAX, WRITE | NEXT, 2), DONE },
	  {},
	  0 },
	{ "indirect and NEXT", false, { TABLE(48, NEXT), DONE }, { hdr, DATA(2), DONE }, 0 },
	{ "indirect in indirect, without end",
	  false,
	  { TABLE(48, 0) },
	  { hdr, TABLE(48, 0), DONE },
	  0 },
	{ "indirect in indirect",
	  false,
	  { TABLE(32, 0) },
	  { hdr, BODY(SECOND_TABLE, 32, INDIRECT, 0) },
	  0 },
	{ "an indirect table of nothing", false, { TABLE(0, 0) }, { hdr, DATA(2), DONE }, 0 },
	{ "an indirect table of 47 bytes", false, { TABLE(47, 0) }, { hdr, DATA(2), DONE }, 0 },
	{ "an indirect table of 4 GiB",
	  false,
	  { TABLE(0xfffffff0, 0) },
	  { hdr, DATA(2), DONE },
	  0 },
	{ "next outside the indirect table", false, { TABLE(32, 0) }, { hdr, DATA(2), DONE }, 0 },
	{ "next far outside the indirect table",
	  false,
	  { TABLE(48, 0) },
	  { { GUEST_HDR, 16, NEXT, 3 }, DATA(2), DONE, DONE },
	  0 },
	{ "a loop in the indirect table", false, { TABLE(48, 0) }, { hdr, DATA(1), DONE }, 0 },
	{ "an indirect table outside memory",
	  false,
	  { BODY(FAKE_LOW_END, 48, INDIRECT, 0) },
	  {},
	  0 },
	{ "an indirect table that ends outside",
	  false,
	  { BODY(FAKE_LOW_END - 32, 64, INDIRECT, 0) },
	  {},
	  0 },
	{ "an indirect table that wraps around",
	  false,
	  { BODY(UINT64_MAX - 15, 48, INDIRECT, 0) },
	  {},
	  0 },
};

/* what would be served if an index was not checked lies behind the ring and behind the tables */
static void lay_chain(struct guest *g, const struct chain *c)
{
	guest_blk_header(g, GUEST_HDR, VIRTIO_BLK_T_IN, 3);
	fake_fill(g->f, GUEST_STATUS, 0xff, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(c->d); i++) {
		guest_desc(g, g->q[0].desc, i, c->d[i]);
		guest_desc(g, GUEST_INDIRECT, i, c->table[i]);
	}
	guest_desc(g, g->q[0].desc, 8, (struct vring_desc)DONE);
	guest_desc(g, g->q[0].desc, 9, hdr);
	guest_desc(g, SECOND_TABLE, 0, (struct vring_desc)DATA(1));
	guest_desc(g, SECOND_TABLE, 1, (struct vring_desc)DONE);
}

/* broken: it says so once in the log and by an interrupt, and touches nothing of the driver's */
static void check_broken(struct subject *x, const char *what)
{
	struct guest *g = &x->g;
	uint16_t used = guest_used_idx(g, 0);

	ck_assert_msg(guest_is_broken(g), "%s is served", what);
	ck_assert_msg(x->f->rises[CONTRACT_GSI], "%s: no interrupt", what);
	ck_assert_msg(guest_ack(g) & VIRTIO_PCI_ISR_CONFIG, "%s: no configuration interrupt", what);
	ck_assert(!x->f->level[CONTRACT_GSI]);
	ck_assert_msg(fake_log_lines("blk@0") == 1, "%s: %u lines", what, fake_log_lines("blk@0"));
	/* and stays silent, whatever comes */
	guest_publish(g, 0, 0);
	guest_kick(g, 0);
	fake_settle(x->f);
	ck_assert_uint_eq(guest_used_idx(g, 0), used);
	ck_assert_uint_eq(fake_log_lines("blk@0"), 1);
	ck_assert(!(guest_ack(g) & VIRTIO_PCI_ISR_CONFIG));
	/* status bits do not bring it back */
	guest_write(g, REG_STATUS, GUEST_STATUS_OK);
	ck_assert(guest_is_broken(g));
}

START_TEST(chains_of_all_kinds)
{
	const struct contract_case *wire = &wires[_i / (int)ARRAY_SIZE(chains)];
	const struct chain *c = &chains[_i % (int)ARRAY_SIZE(chains)];
	struct subject *x = subject_new(wire);
	struct guest *g = &x->g;
	struct guest_used u;

	ck_assert(guest_start(g, GUEST_VERSION_1 | GUEST_INDIRECT_F, 1, 8));
	lay_chain(g, c);
	guest_publish(g, 0, c->head);
	guest_kick(g, 0);
	fake_settle(x->f);
	if (c->good) {
		ck_assert_msg(!guest_is_broken(g), "%s", c->what);
		ck_assert(guest_used(g, 0, &u));
		ck_assert_uint_eq(u.id, c->head);
		ck_assert_msg(u.len == 513, "%s: %u bytes", c->what, u.len);
		ck_assert_uint_eq(guest_ack(g), 1);
	} else {
		check_broken(x, c->what);
		ck_assert(!guest_used(g, 0, &u));
	}
	ck_assert(guest_start(g, GUEST_VERSION_1 | GUEST_INDIRECT_F, 1, 8));
	check_serves(x);
	subject_free(x);
}
END_TEST

START_TEST(indirect_has_to_be_negotiated)
{
	struct subject *x = subject_new(&wires[_i]);
	struct guest *g = &x->g;
	const struct guest_buf buf[] = { { GUEST_HDR, 16, false }, { GUEST_STATUS, 1, true } };

	ck_assert(guest_start(g, GUEST_VERSION_1, 1, 8));
	guest_blk_header(g, GUEST_HDR, VIRTIO_BLK_T_IN, 3);
	guest_add_indirect(g, 0, buf, 2);
	guest_kick(g, 0);
	fake_settle(x->f);
	check_broken(x, "indirect");
	subject_free(x);
}
END_TEST

/* as many pieces as a buffer takes, and one more */
START_TEST(long_chains)
{
	struct subject *x = subject_new(&wires[_i]);
	struct guest *g = &x->g;
	struct guest_buf buf[VQ_IOV_MAX + 1];

	for (unsigned n = VQ_IOV_MAX; n <= VQ_IOV_MAX + 1; n++) {
		ck_assert(guest_start(g, GUEST_VERSION_1 | GUEST_INDIRECT_F, 1, 256));
		guest_blk_header(g, GUEST_HDR, VIRTIO_BLK_T_IN, 0);
		buf[0] = (struct guest_buf){ GUEST_HDR, 16, false };
		for (unsigned i = 1; i < n; i++)
			buf[i] = (struct guest_buf){ GUEST_DATA + 4 * i, 4, true };
		buf[n - 1] = (struct guest_buf){ GUEST_STATUS, 1, true };
		for (unsigned indirect = 0; indirect < 2; indirect++) {
			if (indirect)
				guest_add_indirect(g, 0, buf, n);
			else
				guest_add(g, 0, buf, n);
			guest_kick(g, 0);
			fake_settle(x->f);
			ck_assert(guest_is_broken(g) == (n > VQ_IOV_MAX));
			if (n > VQ_IOV_MAX)
				ck_assert(
					guest_start(g, GUEST_VERSION_1 | GUEST_INDIRECT_F, 1, 256));
		}
	}
	subject_free(x);
}
END_TEST

START_TEST(available_index)
{
	static const struct {
		int ahead;
		bool good;
	} jumps[] = { { 1, 1 },	 { 8, 1 },	{ 9, 0 },      { 100, 0 },
		      { -1, 0 }, { 0x7fff, 0 }, { 0x8000, 0 }, { 0xffff, 0 } };

	for (unsigned i = 0; i < ARRAY_SIZE(jumps); i++) {
		struct subject *x = subject_new(&wires[_i]);
		struct guest *g = &x->g;

		ck_assert(guest_start(g, GUEST_VERSION_1, 1, 8));
		fake_log_clear();
		lay_chain(g, &chains[0]);
		check_serves(x);
		guest_ack(g);
		lay_chain(g, &chains[0]);
		for (unsigned k = 0; k < 8; k++)
			fake_poke16(x->f, g->q[0].avail + 4 + 2 * k, 0);
		fake_poke16(x->f, g->q[0].avail + 2, (uint16_t)(1 + jumps[i].ahead));
		guest_kick(g, 0);
		fake_settle(x->f);
		if (jumps[i].good)
			ck_assert_uint_eq(guest_used_idx(g, 0), 1 + jumps[i].ahead);
		else
			check_broken(x, "an index that jumps");
		subject_free(x);
	}
}
END_TEST

/* --- who interrupts whom, and when --- */

static unsigned interrupts(struct subject *x)
{
	return x->f->rises[CONTRACT_GSI];
}

/* @n requests that are served at once, one kick: does an interrupt come? */
static bool batch_interrupts(struct subject *x, unsigned n)
{
	unsigned before = interrupts(x);
	struct guest *g = &x->g;

	for (unsigned i = 0; i < n; i++)
		guest_publish(g, 0, 0);
	guest_kick(g, 0);
	fake_turn(x->f);
	fake_turn(x->f);
	ck_assert_uint_eq(guest_used_idx(g, 0), g->q[0].next);
	guest_ack(g);
	return interrupts(x) != before;
}

static void start_batches(struct subject *x, uint64_t features)
{
	struct chain c = chains[0];

	ck_assert(guest_start(&x->g, features, 1, 256));
	lay_chain(&x->g, &c);
	guest_blk_header(&x->g, GUEST_HDR, VIRTIO_BLK_T_GET_ID, 0);
}

/* with EVENT_IDX: exactly when used.idx passes used_event, also where 65535 is followed by 0 */
START_TEST(used_event)
{
	struct subject *x = subject_new(&wires[_i]);
	struct guest *g = &x->g;
	uint32_t seed = 3;
	unsigned told = 0, batches = 0;

	start_batches(x, ALL_RINGS);
	for (unsigned total = 0; total < 140000; batches++) {
		unsigned n = fake_random(&seed) % 3 ? 1 + fake_random(&seed) % 4
						    : 1 + fake_random(&seed) % 256;
		uint16_t old = g->q[0].next, new = (uint16_t)(old + n);
		uint16_t event = (uint16_t)(old + fake_random(&seed) % 6 - 2);
		bool want = vring_need_event(event, new, old), got;

		guest_set_used_event(g, 0, event);
		got = batch_interrupts(x, n);
		if (want != got)
			ck_abort_msg("event %u, used index from %u to %u: %d", event, old, new,
				     got);
		if (guest_avail_event(g, 0) != new)
			ck_abort_msg("asks for a kick at %u, not %u", guest_avail_event(g, 0), new);
		told += got;
		total += n;
	}
	ck_assert_uint_gt(told, 1000);
	ck_assert_uint_gt(batches - told, 1000);
	subject_free(x);
}
END_TEST

START_TEST(no_interrupt_flag)
{
	struct subject *x = subject_new(&wires[_i]);
	struct guest *g = &x->g;

	start_batches(x, GUEST_VERSION_1);
	for (unsigned i = 0; i < 600; i++) {
		bool off = i % 3 == 1;

		fake_poke16(x->f, g->q[0].avail, off ? VRING_AVAIL_F_NO_INTERRUPT : 0);
		/* the other mechanism's word means nothing */
		guest_set_used_event(g, 0, (uint16_t)(g->q[0].next + 1000));
		ck_assert(batch_interrupts(x, 1 + i) == !off || i > 255);
		if (i == 255)
			break;
	}
	subject_free(x);
}
END_TEST

/* a driver that kicks only when asked loses nothing */
START_TEST(avail_event)
{
	struct subject *x = subject_new(&wires[_i]);
	struct guest *g = &x->g;
	unsigned kicks = 0;

	start_batches(x, ALL_RINGS);
	for (unsigned i = 0; i < 2000; i++) {
		uint16_t old = g->q[0].next;

		guest_publish(g, 0, 0);
		if (guest_wants_kick(g, 0, old)) {
			guest_kick(g, 0);
			kicks++;
		}
		if (i % 7 == 0)
			fake_settle(x->f);
	}
	fake_settle(x->f);
	ck_assert_uint_eq(guest_used_idx(g, 0), 2000);
	ck_assert_uint_gt(kicks, 100);
	ck_assert_uint_lt(kicks, 1500);
	subject_free(x);
}
END_TEST

/*
 * The order of stores, seen from another CPU: element and status before the
 * used index.  Their pages are write-protected; the fault looks at the index.
 */
static struct {
	uint8_t *page;
	const uint16_t *idx;
	unsigned faults;
	bool early;
} watch;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	uint8_t *at = info->si_addr;

	(void)context;
	if (at < watch.page || at >= watch.page + GMEM_PAGE) {
		signal(sig, SIG_DFL); /* not ours: again, and for good */
		return;
	}
	watch.faults++;
	watch.early |= *watch.idx != 0;
	mprotect(watch.page, GMEM_PAGE, PROT_READ | PROT_WRITE);
}

static void *host_of(struct subject *x, gpa_t gpa)
{
	struct iovec iov;

	ck_assert_int_eq(gmem_iov(&x->f->mem, gpa, 1, &iov, 1), 1);
	return iov.iov_base;
}

START_TEST(used_index_comes_last)
{
	const struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	const gpa_t used = 0x3000 - 4, protect[] = { 0x3000, GUEST_STATUS & ~(GMEM_PAGE - 1) };
	struct subject *x = subject_new(&wires[_i]);
	struct guest *g = &x->g;

	sigaction(SIGSEGV, &sa, NULL);
	for (unsigned i = 0; i < 2; i++) {
		guest_reset(g);
		guest_negotiate(g, GUEST_VERSION_1);
		guest_queue_at(g, 0x1000, 0x2000, used);
		fake_fill(x->f, 0x2000, 0, 22);
		fake_fill(x->f, used, 0, 70);
		guest_driver_ok(g);
		guest_blk_add(g, 0, VIRTIO_BLK_T_GET_ID, 0, GUEST_DATA, 20);
		watch.page = host_of(x, protect[i]);
		watch.idx = host_of(x, used + 2);
		watch.faults = 0;
		ck_assert_int_eq(mprotect(watch.page, GMEM_PAGE, PROT_READ), 0);
		guest_kick(g, 0);
		fake_settle(x->f);
		ck_assert_uint_eq(guest_used_idx(g, 0), 1);
		ck_assert_uint_eq(watch.faults, 1);
		ck_assert(!watch.early);
	}
	subject_free(x);
}
END_TEST

/* --- a guest that adds for ever must not keep the loop --- */

static void on_timer(void *arg)
{
	*(bool *)arg = true;
}

static bool is_set(void *arg)
{
	return *(bool *)arg;
}

static bool hundreds_are_served(void *arg)
{
	return state_of(arg)->vq[0].next_avail > 300;
}

/*
 * Another vCPU that adds as fast as the device serves, without the race: the
 * two rings are one, so that each used index makes a request available.
 */
START_TEST(a_flood_of_requests)
{
	struct subject *x = subject_new(&wires[_i]);
	struct guest *g = &x->g;
	bool fired = false;
	struct loop_timer timer = { .fn = on_timer, .arg = &fired };

	guest_negotiate(g, GUEST_VERSION_1 | GUEST_INDIRECT_F);
	guest_queue_at(g, 0x1000, 0x2000, 0x2000);
	guest_driver_ok(g);
	ck_assert(guest_is_live(g));
	fake_settle(x->f);
	guest_blk_header(g, GUEST_HDR, 0x1234, 0);
	for (unsigned i = 0; i < 8; i++)
		guest_desc(g, 0x1000, i, (struct vring_desc)TABLE(32, 0));
	guest_desc(g, GUEST_INDIRECT, 0, hdr);
	guest_desc(g, GUEST_INDIRECT, 1, (struct vring_desc)DONE);
	state_of(x)->vq[0].next_used = 4; /* ahead, as a driver that is quicker would be */
	fake_poke16(x->f, 0x2002, 4);
	guest_kick(g, 0);
	ck_assert_int_eq(loop_until(x->f->m.loop, hundreds_are_served, x, 5000000000), 0);
	loop_timer_set(x->f->m.loop, &timer, now_ns() + 50000000);
	ck_assert_int_eq(loop_until(x->f->m.loop, is_set, &fired, 5000000000), 0);
	guest_reset(g);
	subject_free(x);
}
END_TEST

int main(void)
{
	const int n = ARRAY_SIZE(wires);
	Suite *s = suite_create("vring");
	TCase *t = tcase_create("vring");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, chains_of_all_kinds, 0, n * (int)ARRAY_SIZE(chains));
	tcase_add_loop_test(t, indirect_has_to_be_negotiated, 0, n);
	tcase_add_loop_test(t, long_chains, 0, n);
	tcase_add_loop_test(t, available_index, 0, n);
	tcase_add_loop_test(t, used_event, 0, n);
	tcase_add_loop_test(t, no_interrupt_flag, 0, n);
	tcase_add_loop_test(t, avail_event, 0, n);
	tcase_add_loop_test(t, used_index_comes_last, 0, n);
	tcase_add_loop_test(t, a_flood_of_requests, 0, n);
	suite_add_tcase(s, t);
	return suite_run(s);
}
