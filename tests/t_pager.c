/*
 * t_pager - memory that comes when it is wanted: each byte is right, whoever asks, and however
 *
 * Without KVM: threads of this process touch the memory as a guest would.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake.h"
#include "pager.h"
#include "snap_mem.h"
#include "snap_rig.h"
#include "suite.h"

#define PAGES	    (RIG_LEN / GMEM_PAGE)
#define CHUNK_PAGES (SNAP_CHUNK / GMEM_PAGE)

struct rig {
	struct image image;
	struct snap_file from;
	struct gmem mem;
	struct pager *p;
	int uffd, keep;
	unsigned failed, kept, kept_whole; /* calls; atomic */
	char text[512];
};

static void on_failed(void *arg, const char *text)
{
	struct rig *g = arg;

	snprintf(g->text, sizeof(g->text), "%s", text);
	__atomic_fetch_add(&g->failed, 1, __ATOMIC_RELEASE);
}

static void on_kept(void *arg, const struct pager *p, bool whole)
{
	struct rig *g = arg;

	(void)p;
	__atomic_fetch_add(&g->kept_whole, whole, __ATOMIC_RELEASE);
	__atomic_fetch_add(&g->kept, 1, __ATOMIC_RELEASE);
}

/* chunk @damaged has a checksum that is wrong; RIG_CHUNKS: none has */
static void begin_with(struct rig *g, uint64_t damaged, bool keep, const uint32_t *first,
		       size_t firsts)
{
	struct pager_conf conf = { .kept = on_kept, .arg = g, .first = first, .firsts = firsts };
	struct snap_entry e;

	*g = (struct rig){ .image = rig_image(1, 2), .keep = -1 };
	if (damaged < RIG_CHUNKS) {
		e = rig_entry(&g->image, damaged);
		e.crc ^= 1;
		rig_set_entry(&g->image, damaged, e);
		rig_seal(&g->image);
	}
	ck_assert_msg(!snap_open(&g->from, rig_fd(&g->image), "test"), "%s", err_last());
	ck_assert_msg(!gmem_add(&g->mem, 0x1000, RIG_LEN), "%s", err_last());
	if (keep)
		g->keep = memfd_create("kept", MFD_CLOEXEC);
	conf.uffd = g->uffd = pager_open();
	conf.keep = g->keep;
	ck_assert_int_ge(g->uffd, 0);
	g->p = pager_new(&g->mem, &g->from, &conf, on_failed, g);
	ck_assert_msg(g->p != NULL, "%s", err_last());
}

static void begin(struct rig *g, uint64_t damaged, bool keep)
{
	begin_with(g, damaged, keep, NULL, 0);
}

static void end(struct rig *g)
{
	pager_free(g->p);
	close(g->uffd);
	cleanup_close(&g->keep);
	close(g->from.fd);
	snap_close(&g->from);
	gmem_free(&g->mem);
	image_freep(&g->image);
}

static const uint8_t *page(const struct rig *g, uint64_t n)
{
	return g->mem.slot[0].hva + n * GMEM_PAGE;
}

static uint8_t want[RIG_CHUNKS][SNAP_CHUNK];

static bool page_is_right(const uint8_t *is, uint64_t n)
{
	return !memcmp(is, want[n / CHUNK_PAGES] + n % CHUNK_PAGES * GMEM_PAGE, GMEM_PAGE);
}

static void check_all(const struct rig *g)
{
	for (uint64_t n = 0; n < PAGES; n++)
		ck_assert_msg(page_is_right(page(g, n), n), "page %lu is wrong", (unsigned long)n);
}

/* the same of what is kept, but that chunks of which it tells nothing are holes */
static void check_kept(const struct rig *g)
{
	uint8_t data[GMEM_PAGE];

	for (uint64_t n = 0; n < PAGES; n++) {
		ck_assert_int_eq(pread(g->keep, data, sizeof(data), (off_t)(n * GMEM_PAGE)),
				 sizeof(data));
		ck_assert_msg(page_is_right(data, n), "page %lu is kept wrong", (unsigned long)n);
	}
}

static void check_failed(const struct rig *g, uint64_t n)
{
	char name[32];

	snprintf(name, sizeof(name), "chunk %lu ", (unsigned long)n);
	for (unsigned ms = 0; ms < 5000 && !__atomic_load_n(&g->failed, __ATOMIC_ACQUIRE); ms++)
		usleep(1000);
	ck_assert_uint_eq(g->failed, 1);
	ck_assert_msg(strstr(g->text, name) != NULL, "said: %s", g->text);
}

/* --- who asks --- */

START_TEST(touched)
{
	struct rig g;

	begin(&g, RIG_CHUNKS, false);
	check_all(&g);
	/* once for each chunk, not for each page */
	ck_assert_uint_eq(pager_waits(g.p, NULL, 0), RIG_CHUNKS);
	end(&g);
	ck_assert_uint_eq(g.kept, 0);
}
END_TEST

START_TEST(asked_through_gmem)
{
	uint8_t data[GMEM_PAGE];
	struct rig g;

	begin(&g, RIG_CHUNKS, false);
	for (uint64_t n = PAGES; n--;) {
		ck_assert_int_eq(gmem_read(&g.mem, 0x1000 + n * GMEM_PAGE, data, sizeof(data)), 0);
		ck_assert_msg(page_is_right(data, n), "page %lu", (unsigned long)n);
	}
	ck_assert_uint_eq(pager_waits(g.p, NULL, 0), RIG_CHUNKS);
	end(&g);
}
END_TEST

struct hand {
	pthread_t thread;
	struct rig *g;
	uint32_t seed;
	uint64_t wrong;
};

/* reads and, in a page that is its own, writes */
static void *touch(void *arg)
{
	struct hand *h = arg;

	for (unsigned i = 0; i < 2000; i++) {
		uint64_t n = fake_random(&h->seed) % PAGES;
		uint8_t data[GMEM_PAGE];

		if (i % 3)
			memcpy(data, page(h->g, n), GMEM_PAGE);
		else if (gmem_read(&h->g->mem, 0x1000 + n * GMEM_PAGE, data, GMEM_PAGE))
			h->wrong++;
		h->wrong += !page_is_right(data, n);
	}
	return NULL;
}

/* all ways at once, which is where they meet; the second time it is finished in the midst */
START_TEST(all_at_once)
{
	struct hand hand[6];
	struct rig g;

	for (unsigned round = 0; round < 20; round++) {
		begin(&g, RIG_CHUNKS, round & 1);
		for (unsigned i = 0; i < ARRAY_SIZE(hand); i++) {
			hand[i] = (struct hand){ .g = &g, .seed = round * 100 + i };
			ck_assert_int_eq(pthread_create(&hand[i].thread, NULL, touch, &hand[i]), 0);
		}
		ck_assert_int_eq(pager_go(g.p), 0);
		if (round & 2)
			ck_assert_int_eq(pager_finish(g.p), 0);
		for (unsigned i = 0; i < ARRAY_SIZE(hand); i++) {
			pthread_join(hand[i].thread, NULL);
			ck_assert_uint_eq(hand[i].wrong, 0);
		}
		check_all(&g);
		ck_assert_uint_eq(g.failed, 0);
		pager_free(g.p);
		g.p = NULL;
		ck_assert_uint_eq(g.kept, 1);
		if (round & 1) {
			ck_assert_uint_eq(g.kept_whole, 1);
			check_kept(&g);
		}
		end(&g);
	}
}
END_TEST

START_TEST(finished)
{
	struct uffdio_zeropage zero = { .range.len = GMEM_PAGE };
	struct rig g;

	begin(&g, RIG_CHUNKS, true);
	zero.range.start = (uintptr_t)page(&g, 0);
	ck_assert_int_eq(pager_go(g.p), 0);
	ck_assert_int_eq(pager_finish(g.p), 0);
	/* the userfaultfd has nothing to say any more */
	ck_assert_int_eq(ioctl(g.uffd, UFFDIO_ZEROPAGE, &zero), -1);
	ck_assert_int_eq(errno, ENOENT);
	close(g.uffd);
	check_all(&g);
	g.uffd = pager_open();
	end(&g);
}
END_TEST

/* an end in the midst: what is to be kept still is */
START_TEST(ended_at_once)
{
	struct rig g;

	begin(&g, RIG_CHUNKS, true);
	ck_assert_int_eq(pager_go(g.p), 0);
	pager_free(g.p);
	g.p = NULL;
	ck_assert_uint_eq(g.kept_whole, 1);
	check_kept(&g);
	end(&g);
	/* and before there was a beginning */
	begin(&g, RIG_CHUNKS, true);
	end(&g);
	ck_assert_uint_eq(g.kept, 0);
}
END_TEST

START_TEST(nowhere_to_keep)
{
	struct rig g;

	begin(&g, RIG_CHUNKS, true);
	ck_assert_int_eq(fcntl(g.keep, F_ADD_SEALS, F_SEAL_WRITE), -1); /* none were allowed */
	dup3(open("/dev/full", O_WRONLY | O_CLOEXEC), g.keep, O_CLOEXEC);
	ck_assert_int_eq(pager_go(g.p), 0);
	ck_assert_int_eq(pager_finish(g.p), 0);
	check_all(&g);
	pager_free(g.p);
	g.p = NULL;
	ck_assert_uint_eq(g.kept, 1);
	ck_assert_uint_eq(g.kept_whole, 0);
	end(&g);
}
END_TEST

/* --- in which order --- */

START_TEST(waits_are_remembered)
{
	uint32_t is[4] = { 99, 99, 99, 99 };
	struct rig g;
	uint16_t v;

	begin(&g, RIG_CHUNKS, false);
	ck_assert(page_is_right(page(&g, 9 * CHUNK_PAGES + 3), 9 * CHUNK_PAGES + 3));
	ck_assert_int_eq(gmem_ld16(&g.mem, 0x1000 + 2 * SNAP_CHUNK, &v), 0);
	ck_assert(page_is_right(page(&g, 5 * CHUNK_PAGES), 5 * CHUNK_PAGES));
	ck_assert(page_is_right(page(&g, 9 * CHUNK_PAGES), 9 * CHUNK_PAGES));
	ck_assert_uint_eq(pager_waits(g.p, is, 4), 3);
	ck_assert_uint_eq(is[0], 9);
	ck_assert_uint_eq(is[1], 2);
	ck_assert_uint_eq(is[2], 5);
	ck_assert_uint_eq(is[3], 99);
	end(&g);
}
END_TEST

/* the last one comes before the first ones, which it keeps from coming: it is damaged */
START_TEST(first_comes_first)
{
	const uint32_t first[] = { UINT32_MAX, RIG_CHUNKS, 2, 2, RIG_CHUNKS - 2 };
	uint64_t there = 0;
	uint8_t byte[1];
	struct rig g;

	begin_with(&g, RIG_CHUNKS - 2, true, first, _i ? ARRAY_SIZE(first) : 0);
	ck_assert_int_eq(pager_go(g.p), 0);
	check_failed(&g, RIG_CHUNKS - 2);
	pager_free(g.p);
	g.p = NULL;
	for (uint64_t n = 0; n < RIG_CHUNKS; n++)
		there += pread(g.keep, byte, 1, (off_t)(n * SNAP_CHUNK + 9)) == 1 && *byte;
	if (_i)
		ck_assert_uint_lt(there, RIG_CHUNKS / 2);
	else
		ck_assert_uint_gt(there, RIG_CHUNKS / 2);
	end(&g);
}
END_TEST

/* --- what is given back --- */

static void check_dropped(const struct rig *g, const bool *dropped)
{
	static const uint8_t zero[GMEM_PAGE];

	for (uint64_t n = 0; n < PAGES; n++)
		ck_assert_msg(dropped[n] ? !memcmp(page(g, n), zero, GMEM_PAGE)
					 : page_is_right(page(g, n), n),
			      "page %lu, %s", (unsigned long)n, dropped[n] ? "dropped" : "not");
}

/* pages and whole chunks, before they came and after, while others want them */
START_TEST(given_back)
{
	uint32_t seed = (uint32_t)_i;
	bool dropped[PAGES] = { false };
	struct rig g;

	begin(&g, RIG_CHUNKS, true);
	if (_i & 1)
		ck_assert_int_eq(pager_go(g.p), 0);
	for (unsigned i = 0; i < 40; i++) {
		uint64_t first = fake_random(&seed) % PAGES;
		uint64_t n = fake_random(&seed) % 2 ? 1 : fake_random(&seed) % 64 + 1;

		n = MIN(PAGES - first, n);
		ck_assert_int_eq(gmem_discard(&g.mem, 0x1000 + first * GMEM_PAGE, n * GMEM_PAGE),
				 0);
		for (uint64_t k = 0; k < n; k++)
			dropped[first + k] = true;
		if (i % 8 == 0)
			check_dropped(&g, dropped);
	}
	check_dropped(&g, dropped);
	if (!(_i & 1))
		ck_assert_int_eq(pager_go(g.p), 0);
	ck_assert_int_eq(pager_finish(g.p), 0);
	check_dropped(&g, dropped);
	pager_free(g.p);
	g.p = NULL;
	check_kept(&g); /* as it was saved */
	end(&g);
}
END_TEST

static void *touch_one(void *arg)
{
	const volatile uint8_t *p = arg;

	return (void *)(uintptr_t)*p;
}

/* who waits for a chunk while it is given back as a whole is not forgotten */
START_TEST(given_back_under_a_reader)
{
	pthread_t reader[4];
	struct rig g;

	for (unsigned round = 0; round < 30; round++) {
		begin(&g, RIG_CHUNKS,
		      true); /* so that it is unpacked all the same, which takes time */
		for (uint64_t n = 0; n + 1 < RIG_CHUNKS; n++) {
			for (unsigned i = 0; i < ARRAY_SIZE(reader); i++)
				ck_assert_int_eq(pthread_create(&reader[i], NULL, touch_one,
								(void *)(uintptr_t)
									page(&g, n * CHUNK_PAGES +
											 3 * i)),
						 0);
			ck_assert_int_eq(gmem_discard(&g.mem, 0x1000 + n * SNAP_CHUNK, SNAP_CHUNK),
					 0);
			for (unsigned i = 0; i < ARRAY_SIZE(reader); i++)
				pthread_join(reader[i], NULL);
		}
		end(&g);
	}
}
END_TEST

/* --- damage --- */

/* whoever asks through gmem.h gets an error, at once and from there on; chunk 4 is packed, chunk 5
 * not */
START_TEST(damaged_for_gmem)
{
	struct iovec iov[4];
	uint64_t n = 4 + (uint64_t)_i;
	uint16_t v;
	struct rig g;

	begin(&g, n, true);
	ck_assert_int_eq(gmem_ld16(&g.mem, 0x1000, &v), 0);
	ck_assert_int_eq(gmem_ld16(&g.mem, 0x1000 + n * SNAP_CHUNK, &v), -EFAULT);
	check_failed(&g, n);
	ck_assert_int_eq(gmem_iov(&g.mem, 0x1000 + n * SNAP_CHUNK, 512, iov, 4), -EFAULT);
	ck_assert_int_eq(gmem_discard(&g.mem, 0x1000 + n * SNAP_CHUNK, SNAP_CHUNK), -EBADMSG);
	ck_assert_int_eq(pager_finish(g.p), -EBADMSG);
	ck_assert_msg(strstr(err_last(), "is damaged") != NULL, "%s", err_last());
	pager_free(g.p);
	g.p = NULL;
	ck_assert_uint_eq(g.kept_whole, 0);
	end(&g);
}
END_TEST

/* who touches it is let go once somebody was told, and does not see it */
START_TEST(damaged_for_a_fault)
{
	uint64_t n = 4 + (uint64_t)_i;
	pthread_t thread;
	struct rig g;
	void *saw;

	begin(&g, n, false);
	ck_assert_int_eq(pthread_create(&thread, NULL, touch_one,
					g.mem.slot[0].hva + n * SNAP_CHUNK),
			 0);
	ck_assert_int_eq(pthread_join(thread, &saw), 0);
	check_failed(&g, n);
	ck_assert_uint_eq((uintptr_t)saw, 0);
	end(&g);
}
END_TEST

static pthread_barrier_t together;

struct asking {
	struct rig *g;
	uint64_t chunk;
};

static void *ask(void *arg)
{
	const struct asking *a = arg;
	uint16_t v;

	pthread_barrier_wait(&together);
	return (void *)(intptr_t)gmem_ld16(&a->g->mem, 0x1000 + a->chunk * SNAP_CHUNK, &v);
}

/* of several that are met at once one is told */
START_TEST(damaged_more_than_once)
{
	static const uint64_t damaged[] = { 4, 5, 11, 12 };
	struct asking asking[ARRAY_SIZE(damaged)];
	pthread_t thread[ARRAY_SIZE(damaged)];
	struct rig g;
	void *r;

	pthread_barrier_init(&together, NULL, ARRAY_SIZE(damaged));
	for (unsigned round = 0; round < 20; round++) {
		begin(&g, damaged[0], false);
		for (unsigned i = 1; i < ARRAY_SIZE(damaged); i++)
			g.from.entry[damaged[i]].crc ^= 1;
		for (unsigned i = 0; i < ARRAY_SIZE(damaged); i++) {
			asking[i] = (struct asking){ &g, damaged[i] };
			ck_assert_int_eq(pthread_create(&thread[i], NULL, ask, &asking[i]), 0);
		}
		for (unsigned i = 0; i < ARRAY_SIZE(damaged); i++) {
			pthread_join(thread[i], &r);
			ck_assert_int_eq((intptr_t)r, -EFAULT);
		}
		ck_assert_uint_eq(g.failed, 1);
		end(&g);
	}
	pthread_barrier_destroy(&together);
}
END_TEST

START_TEST(damaged_in_the_background)
{
	struct rig g;

	begin(&g, 32, true);
	ck_assert_int_eq(pager_go(g.p), 0);
	check_failed(&g, 32);
	pager_free(g.p);
	g.p = NULL;
	ck_assert_uint_eq(g.kept, 1);
	ck_assert_uint_eq(g.kept_whole, 0);
	end(&g);
}
END_TEST

START_TEST(nothing)
{
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, touched);
	tcase_add_test(tc, asked_through_gmem);
	tcase_add_test(tc, all_at_once);
	tcase_add_test(tc, finished);
	tcase_add_test(tc, ended_at_once);
	tcase_add_test(tc, nowhere_to_keep);
	tcase_add_test(tc, waits_are_remembered);
	tcase_add_loop_test(tc, first_comes_first, 0, 2);
	tcase_add_loop_test(tc, given_back, 0, 8);
	tcase_add_loop_test(tc, damaged_for_gmem, 0, 2);
	tcase_add_loop_test(tc, damaged_for_a_fault, 0, 2);
	tcase_add_test(tc, damaged_in_the_background);
	tcase_add_test(tc, damaged_more_than_once);
	tcase_add_test(tc, given_back_under_a_reader);
}

int main(void)
{
	Suite *suite = suite_create("pager");
	TCase *tc = tcase_create("pager");
	int fd = pager_open();

	tcase_set_timeout(tc, 60);
	for (uint64_t n = 0; n < RIG_CHUNKS; n++)
		rig_fill(n, want[n]);
	if (fd >= 0) {
		close(fd);
		add_tests(tc);
	} else {
		printf("skip a userfaultfd for KVM is for others here: %s\n", strerror(-fd));
		tcase_add_test(tc, nothing);
	}
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
