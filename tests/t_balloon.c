/* t_balloon - virtio-balloon: pages given back, reports, statistics, and drivers that lie */
#include <linux/virtio_balloon.h>
#include <sys/mman.h>

#include "contract.h"
#include "devices.h"
#include "suite.h"

#define INFLATE 0
#define DEFLATE 1
#define F(name) (1ULL << VIRTIO_BALLOON_F_##name)
#define BASE	(GUEST_VERSION_1 | GUEST_INDIRECT_F)
#define ALL	(BASE | F(STATS_VQ) | F(DEFLATE_ON_OOM) | F(REPORTING))
#define HIGH	(FAKE_HIGH / GMEM_PAGE)
#define STATS	2
#define REPORT	3

static const struct contract_case wires[] = { { &balloon_type, WIRE_MMIO },
					      { &balloon_type, WIRE_PCI } };

static struct subject *new_balloon(int i, uint64_t features, unsigned queues)
{
	struct subject *x = subject_new(&wires[i]);

	ck_assert(guest_start(&x->g, features, queues, 16));
	fake_fill(x->f, FAKE_HIGH, 0xaa, 2 * FAKE_HIGH_SLOT);
	fake_mark(x->f);
	return x;
}

static void set(struct subject *x, uint64_t size, uint32_t stats)
{
	struct conf_balloon conf = { size, true, true, stats };

	ck_assert_int_eq(dev_configure(x->dev, &conf), 0);
}

static void send(struct subject *x, unsigned q, const struct guest_buf *buf, unsigned n)
{
	guest_add(&x->g, q, buf, n);
	guest_kick(&x->g, q);
	fake_settle(x->f);
}

static void pages(struct subject *x, unsigned q, const uint32_t *pfn, unsigned n)
{
	fake_poke(x->f, GUEST_DATA, pfn, n * sizeof(*pfn));
	send(x, q, &(struct guest_buf){ GUEST_DATA, n * 4, false }, 1);
}

static unsigned used(struct subject *x, unsigned q)
{
	struct guest_used u;
	unsigned n = 0;

	while (guest_used(&x->g, q, &u)) {
		ck_assert_uint_eq(u.len, 0);
		n++;
	}
	return n;
}

/* is the guest's page backed by memory of the host? */
static bool resident(struct subject *x, uint64_t pfn)
{
	unsigned char in = 2;
	struct iovec iov;

	ck_assert_int_eq(gmem_iov(&x->f->mem, pfn * GMEM_PAGE, GMEM_PAGE, &iov, 1), 1);
	ck_assert_int_eq(mincore(iov.iov_base, GMEM_PAGE, &in), 0);
	return in & 1;
}

/* which of the 8 high pages are gone */
static unsigned gone(struct subject *x)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < 8; i++)
		bits |= (unsigned)!resident(x, HIGH + i) << i;
	return bits;
}

/* which of them are marked dirty; clears */
static unsigned marked(struct subject *x)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < 8; i++)
		bits |= (unsigned)gmem_test_clear_dirty(&x->f->mem, (HIGH + i) * GMEM_PAGE) << i;
	return bits;
}

START_TEST(pages_go_back)
{
	static const struct {
		uint32_t pfn[8];
		unsigned n, gone;
	} lists[] = {
		{ { HIGH + 1 }, 1, 0x02 },
		{ { HIGH, HIGH + 1, HIGH + 2 }, 3, 0x07 },
		{ { HIGH + 7, HIGH + 6, HIGH + 5 }, 3, 0xe0 },
		{ { HIGH + 3, HIGH + 4 }, 2, 0x18 }, /* the seam of two slots */
		{ { HIGH + 1, HIGH + 3, HIGH + 5, HIGH + 7 }, 4, 0xaa },
		{ { HIGH + 2, HIGH + 3, HIGH + 1, HIGH + 4, HIGH + 6 }, 5, 0x5e },
		{ { HIGH + 2, HIGH + 2, HIGH + 2 }, 3, 0x04 },
		{ { HIGH + 3, HIGH + 2, HIGH + 3, HIGH + 4 }, 4, 0x1c },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(lists); i++) {
		struct subject *x = new_balloon(_i, BASE, 2);

		ck_assert_uint_eq(gone(x), 0);
		pages(x, INFLATE, lists[i].pfn, lists[i].n);
		ck_assert_uint_eq(used(x, INFLATE), 1);
		ck_assert_uint_eq(gone(x), lists[i].gone);
		ck_assert_uint_eq(fake_counter(x->dev, "inflated"), lists[i].n * GMEM_PAGE);
		ck_assert_uint_eq(marked(x), lists[i].gone);
		/* it reads as zero, and the guest may have it back */
		ck_assert_uint_eq(fake_peek8(x->f, lists[i].pfn[0] * GMEM_PAGE + 100), 0);
		pages(x, DEFLATE, lists[i].pfn, lists[i].n);
		ck_assert_uint_eq(used(x, DEFLATE), 1);
		ck_assert_uint_eq(fake_counter(x->dev, "deflated"), lists[i].n * GMEM_PAGE);
		subject_free(x);
	}
}
END_TEST

/* a number that is cut by a border of buffers, and bytes that are no number */
START_TEST(numbers_in_pieces)
{
	struct subject *x = new_balloon(_i, BASE, 2);
	const uint32_t pfn[] = { HIGH + 1, HIGH + 5, HIGH + 6 };

	fake_poke(x->f, GUEST_DATA, pfn, sizeof(pfn));
	send(x, INFLATE,
	     (struct guest_buf[]){ { GUEST_DATA, 3, false }, { GUEST_DATA + 3, 8, false } }, 2);
	ck_assert_uint_eq(used(x, INFLATE), 1);
	ck_assert_uint_eq(gone(x), 0x22);
	send(x, INFLATE, &(struct guest_buf){ GUEST_DATA, 3, false }, 1);
	send(x, INFLATE, &(struct guest_buf){ GUEST_DATA, 12, true }, 1);
	ck_assert_uint_eq(used(x, INFLATE), 2);
	ck_assert_uint_eq(gone(x), 0x22);
	ck_assert(guest_is_live(&x->g));
	subject_free(x);
}
END_TEST

START_TEST(pages_outside_memory)
{
	static const uint32_t bad[] = { 0x10, 0xff, HIGH + 8, UINT32_MAX, 0x80000000, 0xfffff };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct subject *x = new_balloon(_i, BASE, 2);
		const uint32_t pfn[] = { HIGH + 2, bad[i], HIGH + 4 };

		pages(x, INFLATE, pfn, 3);
		ck_assert(guest_is_broken(&x->g));
		ck_assert_uint_eq(gone(x), 0x04); /* what stands before it */
		ck_assert_uint_eq(guest_used_idx(&x->g, INFLATE), 0);
		ck_assert(guest_start(&x->g, BASE, 2, 16));
		pages(x, INFLATE, pfn, 1);
		ck_assert_uint_eq(used(x, INFLATE), 1);
		subject_free(x);
	}
}
END_TEST

/* 130 pieces of 16 KiB of numbers: half a million of them, in bounded bites, and to the end */
START_TEST(a_chain_without_end)
{
	struct subject *x = new_balloon(_i, BASE, 2);
	const unsigned n = 128;
	const uint32_t last = HIGH + 7;
	unsigned turns = 0;
	uint64_t most = 0;

	for (uint32_t at = 0; at < 0x4000; at += 4)
		fake_poke(x->f, FAKE_HIGH + at, &(uint32_t){ HIGH + 6 }, 4);
	for (unsigned i = 0; i < n; i++)
		guest_desc(&x->g, GUEST_INDIRECT, i,
			   (struct vring_desc){ FAKE_HIGH, 0x4000, VRING_DESC_F_NEXT,
						(uint16_t)(i + 1) });
	guest_desc(&x->g, GUEST_INDIRECT, n, (struct vring_desc){ GUEST_DATA, 4, 0, 0 });
	fake_poke(x->f, GUEST_DATA, &last, 4);
	guest_desc(&x->g, x->g.q[INFLATE].desc, 0,
		   (struct vring_desc){ GUEST_INDIRECT, 16 * (n + 1), VRING_DESC_F_INDIRECT, 0 });
	guest_publish(&x->g, INFLATE, 0);
	guest_kick(&x->g, INFLATE);
	while (!guest_used_idx(&x->g, INFLATE) && turns++ < 2000) {
		uint64_t before = fake_counter(x->dev, "inflated");

		fake_turn(x->f);
		ck_assert(guest_is_live(&x->g));
		ck_assert_uint_eq(to_vdev(x->dev)->inflight, 0);
		most = MAX(most, fake_counter(x->dev, "inflated") - before);
	}
	ck_assert_uint_eq(used(x, INFLATE), 1);
	ck_assert_uint_gt(turns, 200);
	ck_assert_uint_le(most, 2 * 1024 * GMEM_PAGE);
	ck_assert_uint_eq(gone(x), 0xc0);
	ck_assert_uint_eq(fake_counter(x->dev, "inflated"), (n * 0x1000 + 1) * GMEM_PAGE);
	subject_free(x);
}
END_TEST

/* the chain that is half done changes under the device, or a reset comes */
START_TEST(half_done)
{
	struct subject *x = new_balloon(_i, BASE, 2);
	struct guest_buf buf[8];
	const uint32_t pfn = HIGH + 5;

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 8; i++)
			buf[i] = (struct guest_buf){ FAKE_HIGH, 0x4000, false };
		for (uint32_t at = 0; at < 0x4000; at += 4)
			fake_poke(x->f, FAKE_HIGH + at, &(uint32_t){ HIGH + 6 }, 4);
		guest_add(&x->g, INFLATE, buf, 8);
		guest_kick(&x->g, INFLATE);
		fake_turn(x->f);
		ck_assert_uint_eq(used(x, INFLATE), 0);
		if (!round) { /* shorter than what is done already */
			guest_desc(&x->g, x->g.q[INFLATE].desc, 0,
				   (struct vring_desc){ GUEST_DATA, 4, 0, 0 });
			fake_settle(x->f);
			ck_assert_uint_eq(used(x, INFLATE), 1);
		}
		ck_assert(guest_start(&x->g, BASE, 2, 16));
		/* nothing of it is left for the next driver */
		pages(x, INFLATE, &pfn, 1);
		ck_assert_uint_eq(used(x, INFLATE), 1);
		ck_assert_uint_eq(gone(x) & 0x20, 0x20);
		fake_fill(x->f, FAKE_HIGH, 0xaa, 2 * FAKE_HIGH_SLOT);
	}
	subject_free(x);
}
END_TEST

START_TEST(reports)
{
	static const struct {
		struct guest_buf buf[3];
		unsigned n, gone;
	} lists[] = {
		{ { { FAKE_HIGH, 0x1000, true } }, 1, 0x01 },
		{ { { FAKE_HIGH + 0x3000, 0x3000, true } }, 1, 0x38 }, /* over the seam */
		{ { { FAKE_HIGH, 0xfff, true } }, 1, 0 },
		{ { { FAKE_HIGH + 1, 0xfff, true } }, 1, 0 },
		{ { { FAKE_HIGH + 1, 0x1fff, true } }, 1, 0x02 },
		{ { { FAKE_HIGH + 0x800, 0x2000, true } }, 1, 0x02 },
		{ { { FAKE_HIGH, 0x2000, true }, { FAKE_HIGH + 0x6000, 0x2000, true } }, 2, 0xc3 },
		{ { { FAKE_HIGH, 0x2000, false }, { FAKE_HIGH + 0x6000, 0x1000, true } }, 2, 0x40 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(lists); i++) {
		struct subject *x = new_balloon(_i, ALL, 4);

		send(x, REPORT, lists[i].buf, lists[i].n);
		ck_assert_uint_eq(used(x, REPORT), 1);
		ck_assert_msg(gone(x) == lists[i].gone, "list %u: %#x", i, gone(x));
		ck_assert_uint_eq(marked(x), lists[i].gone);
		ck_assert_uint_eq(fake_counter(x->dev, "reported"),
				  (unsigned)__builtin_popcount(lists[i].gone) * GMEM_PAGE);
		subject_free(x);
	}
}
END_TEST

/* without statistics the reports have the queue that those would have */
START_TEST(queues_without_gaps)
{
	struct subject *x = new_balloon(_i, BASE | F(REPORTING), 3);

	send(x, 2, &(struct guest_buf){ FAKE_HIGH, 0x1000, true }, 1);
	ck_assert_uint_eq(used(x, 2), 1);
	ck_assert_uint_eq(gone(x), 0x01);
	subject_free(x);
	/* and a queue that nothing was negotiated for is an error */
	x = new_balloon(_i, BASE, 3);
	send(x, 2, &(struct guest_buf){ FAKE_HIGH, 0x1000, true }, 1);
	ck_assert(guest_is_broken(&x->g));
	ck_assert_uint_eq(gone(x), 0);
	subject_free(x);
}
END_TEST

/*
 * Each chain is nearly 2 MiB, the same memory again and again: the work of a
 * kick is bounded in bytes, and where it is cut no page falls through.
 */
static void report_without_end(int wire, gpa_t at, uint32_t len, uint64_t whole)
{
	struct subject *x = new_balloon(wire, ALL, 4);
	const unsigned n = 128;
	uint64_t most = 0, kicks;
	unsigned turns = 0;

	fake_settle(x->f);
	kicks = fake_counter(x->dev, "kicks");
	for (unsigned i = 0; i < n; i++)
		guest_desc(&x->g, GUEST_INDIRECT, i,
			   (struct vring_desc){ at, len,
						VRING_DESC_F_WRITE |
							(i + 1 < n ? VRING_DESC_F_NEXT : 0),
						(uint16_t)(i + 1) });
	guest_desc(&x->g, x->g.q[REPORT].desc, 0,
		   (struct vring_desc){ GUEST_INDIRECT, 16 * n, VRING_DESC_F_INDIRECT, 0 });
	for (unsigned round = 0; round < 10; round++) {
		for (unsigned i = 0; i < 16; i++)
			guest_publish(&x->g, REPORT, 0);
		guest_kick(&x->g, REPORT);
		for (; guest_used_idx(&x->g, REPORT) < x->g.q[REPORT].next && turns < 1000;
		     turns++) {
			uint64_t before = fake_counter(x->dev, "reported");

			fake_turn(x->f);
			most = MAX(most, fake_counter(x->dev, "reported") - before);
		}
	}
	ck_assert_uint_eq(guest_used_idx(&x->g, REPORT), 160);
	ck_assert_uint_eq(fake_counter(x->dev, "reported"), 160 * n * whole);
	ck_assert_uint_le(most, 2 * 16 * MiB);
	ck_assert_uint_ge(fake_counter(x->dev, "kicks") - kicks, 160ULL * n * len / (16 * MiB));
	subject_free(x);
}

START_TEST(reports_without_end)
{
	report_without_end(_i, FAKE_HIGH, 0x3fff, 0x3000);
	/* one byte is left of a kick's 16 MiB, and the next piece begins in a page */
	report_without_end(_i, FAKE_HIGH + 0x801, 0x3663, 0x2000);
}
END_TEST

/* --- the size --- */

START_TEST(target_and_actual)
{
	struct subject *x = new_balloon(_i, ALL, 4);
	struct guest *g = &x->g;
	uint32_t generation = guest_read(g, REG_GENERATION);

	ck_assert_uint_eq(guest_config(g, 0, 4), 8);
	guest_ack(g);
	set(x, 3 * GMEM_PAGE + 100, 0);
	fake_settle(x->f);
	ck_assert_uint_eq(guest_config(g, 0, 4), 3);
	ck_assert_uint_ne(guest_read(g, REG_GENERATION), generation);
	ck_assert_uint_eq(guest_ack(g), 2);
	set(x, 3 * GMEM_PAGE, 0); /* no change, no interrupt */
	ck_assert_uint_eq(guest_ack(g), 0);
	set(x, 16ULL << 40, 0); /* one more than can be said */
	ck_assert_uint_eq(guest_config(g, 0, 4), UINT32_MAX);

	bus_write(&x->f->bus, BUS_MMIO, g->config + 4, 4, 2);
	ck_assert_uint_eq(guest_config(g, 4, 4), 2);
	ck_assert_uint_eq(fake_counter(x->dev, "actual"), 2 * GMEM_PAGE);
	/* the target is not the guest's, nor what lies behind */
	bus_write(&x->f->bus, BUS_MMIO, g->config, 4, 77);
	bus_write(&x->f->bus, BUS_MMIO, g->config, 8, 77);
	bus_write(&x->f->bus, BUS_MMIO, g->config + 3, 4, 0x77777777);
	bus_write(&x->f->bus, BUS_MMIO, g->config + 8, 4, 77);
	ck_assert_uint_eq(guest_config(g, 0, 4), UINT32_MAX);
	ck_assert_uint_eq(guest_config(g, 4, 4), 2);
	ck_assert_uint_eq(guest_config(g, 8, 4), 0);
	guest_reset(g);
	ck_assert_uint_eq(guest_config(g, 4, 4), 0);
	ck_assert_uint_eq(fake_counter(x->dev, "actual"), 0);
	subject_free(x);
}
END_TEST

START_TEST(features_follow_the_configuration)
{
	const uint64_t mine = F(MUST_TELL_HOST) | F(STATS_VQ) | F(DEFLATE_ON_OOM) | F(REPORTING);

	for (unsigned i = 0; i < 4; i++) {
		const struct conf_balloon conf = { 0, i & 1, i & 2, 0 };
		struct vdev_place place = { .base = GUEST_MMIO, .gsi = 5, .conf = &conf };
		struct fake *f = fake_new();
		struct guest g;

		ck_assert(fake_dev(f, &balloon_type, -1, &place));
		guest_find_mmio(&g, f, GUEST_MMIO, 5);
		ck_assert_uint_eq(guest_offered(&g) & mine,
				  F(STATS_VQ) | (i & 1 ? F(DEFLATE_ON_OOM) : 0) |
					  (i & 2 ? F(REPORTING) : 0));
		fake_free(f);
	}
}
END_TEST

/* --- statistics --- */

static void put_stats(struct subject *x, const struct virtio_balloon_stat *stat, unsigned n)
{
	fake_poke(x->f, GUEST_DATA, stat, n * sizeof(*stat));
	send(x, STATS, &(struct guest_buf){ GUEST_DATA, n * (uint32_t)sizeof(*stat), false }, 1);
}

START_TEST(statistics)
{
	struct subject *x = new_balloon(_i, ALL, 4);
	static const char *const names[] = { "swap_in",		"swap_out", "major_faults",
					     "minor_faults",	"free",	    "total",
					     "available",	"caches",   "hugetlb_allocations",
					     "hugetlb_failures" };
	struct virtio_balloon_stat stat[14];

	for (unsigned i = 0; i < ARRAY_SIZE(stat); i++)
		stat[i] = (struct virtio_balloon_stat){ (uint16_t)i, 0x100000000ULL + i };
	stat[12].tag = 0xffff;
	stat[13].tag = VIRTIO_BALLOON_S_MEMFREE; /* the latest counts */
	put_stats(x, stat, ARRAY_SIZE(stat));
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		ck_assert_uint_eq(fake_counter(x->dev, names[i]),
				  0x100000000ULL + (i == VIRTIO_BALLOON_S_MEMFREE ? 13 : i));
	/* it stays with the device, and yet nothing is in flight */
	ck_assert_uint_eq(used(x, STATS), 0);
	ck_assert_uint_eq(to_vdev(x->dev)->inflight, 0);
	ck_assert_uint_eq(fake_counter(x->dev, "buffers"), 0);
	subject_free(x);
}
END_TEST

/* of a longer list only 256 tags are read */
START_TEST(too_many_tags)
{
	struct subject *x = new_balloon(_i, ALL, 4);
	struct virtio_balloon_stat stat[300];

	for (unsigned i = 0; i < ARRAY_SIZE(stat); i++)
		stat[i] = (struct virtio_balloon_stat){ VIRTIO_BALLOON_S_MEMFREE, i };
	put_stats(x, stat, ARRAY_SIZE(stat));
	ck_assert_uint_eq(fake_counter(x->dev, "free"), 255);
	subject_free(x);
}
END_TEST

static bool stats_used(void *arg)
{
	struct guest *g = arg;

	return guest_used_idx(g, STATS) != g->q[STATS].seen;
}

/* asked for each second, also where the interval is set later, and across a pause and a restore */
START_TEST(readings)
{
	static _Alignas(8) char tree[CONTRACT_TREE];
	struct virtio_balloon_stat stat = { VIRTIO_BALLOON_S_MEMFREE, 1 };
	struct subject *x = subject_new(&wires[_i]), *y;
	uint64_t start = now_ns();
	int n;

	ck_assert(guest_start(&x->g, ALL | GUEST_EVENT_IDX, 4, 16));
	put_stats(x, &stat, 1);
	ck_assert_int_eq(loop_until(x->f->m.loop, stats_used, &x->g, 50000000), -ETIMEDOUT);
	set(x, 0, 1);
	ck_assert_int_eq(loop_until(x->f->m.loop, stats_used, &x->g, 5000000000ULL), 0);
	ck_assert_uint_ge(now_ns() - start, 1000000000ULL);
	ck_assert_uint_eq(used(x, STATS), 1);
	stat.val = 2;
	ck_assert_uint_eq(guest_avail_event(&x->g, STATS), x->g.q[STATS].next); /* kick wanted */
	put_stats(x, &stat, 1);
	ck_assert_uint_eq(fake_counter(x->dev, "free"), 2);

	/* saved between two readings: each of the two goes on */
	n = fake_save(x->f, tree, sizeof(tree));
	y = subject_clone(x, tree, (size_t)n);
	set(y, 0, 1);
	fake_settle(y->f);
	ck_assert_uint_eq(fake_counter(y->dev, "free"), 2);
	ck_assert_int_eq(loop_until(y->f->m.loop, stats_used, &y->g, 5000000000ULL), 0);
	ck_assert_int_eq(loop_until(x->f->m.loop, stats_used, &x->g, 5000000000ULL), 0);
	ck_assert_uint_eq(used(y, STATS), 1);
	ck_assert_uint_eq(used(x, STATS), 1);
	/* nobody answers: nobody is asked again */
	ck_assert_int_eq(loop_until(x->f->m.loop, stats_used, &x->g, 1200000000), -ETIMEDOUT);
	/* paused with an answer in the ring, over the time */
	put_stats(x, &stat, 1);
	dev_drain(x->dev);
	ck_assert_int_eq(loop_until(x->f->m.loop, stats_used, &x->g, 1200000000), -ETIMEDOUT);
	fake_resume(x->f);
	ck_assert_int_eq(loop_until(x->f->m.loop, stats_used, &x->g, 5000000000ULL), 0);
	subject_free(y);
	subject_free(x);
}
END_TEST

/* a reset while the device has the buffer with the statistics does not wait for anything */
START_TEST(reset_with_statistics)
{
	struct virtio_balloon_stat stat = { VIRTIO_BALLOON_S_MEMFREE, 1 };
	struct subject *x = new_balloon(_i, ALL, 4);

	set(x, 0, 1);
	put_stats(x, &stat, 1);
	guest_reset(&x->g);
	ck_assert_uint_eq(guest_read(&x->g, REG_STATUS), 0);
	ck_assert(guest_start(&x->g, ALL, 4, 16));
	/* one that comes later has the timer of the old one at most, and is returned once */
	put_stats(x, &stat, 1);
	ck_assert_int_eq(loop_until(x->f->m.loop, stats_used, &x->g, 5000000000ULL), 0);
	ck_assert_uint_eq(used(x, STATS), 1);
	/* a machine that goes takes its timer with it */
	put_stats(x, &stat, 1);
	fake_dev_gone(x->f, x->dev, 1100);
	subject_free(x);
}
END_TEST

int main(void)
{
	const int n = ARRAY_SIZE(wires);
	Suite *s = suite_create("balloon");
	TCase *t = tcase_create("balloon");

	tcase_set_timeout(t, 30);
	tcase_add_loop_test(t, pages_go_back, 0, n);
	tcase_add_loop_test(t, numbers_in_pieces, 0, n);
	tcase_add_loop_test(t, pages_outside_memory, 0, n);
	tcase_add_loop_test(t, a_chain_without_end, 0, n);
	tcase_add_loop_test(t, half_done, 0, n);
	tcase_add_loop_test(t, reports, 0, n);
	tcase_add_loop_test(t, queues_without_gaps, 0, n);
	tcase_add_loop_test(t, reports_without_end, 0, n);
	tcase_add_loop_test(t, target_and_actual, 0, n);
	tcase_add_test(t, features_follow_the_configuration);
	tcase_add_loop_test(t, statistics, 0, n);
	tcase_add_loop_test(t, too_many_tags, 0, n);
	tcase_add_loop_test(t, readings, 0, 1); /* it takes its seconds */
	tcase_add_loop_test(t, reset_with_statistics, 0, n);
	suite_add_tcase(s, t);
	return suite_run(s);
}
