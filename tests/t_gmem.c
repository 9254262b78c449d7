/* t_gmem - guest memory: edges, slots side by side, dirty marks, and what an empty machine costs */
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake.h"
#include "suite.h"

#define PAGE	 GMEM_PAGE
#define LOW	 (4 * PAGE)
#define HIGH	 (16 * PAGE) /* two slots side by side, of 2 and 3 pages */
#define HIGH_2	 (HIGH + 2 * PAGE)
#define HIGH_END (HIGH + 5 * PAGE)

static struct gmem mem;

static void set_up(void)
{
	ck_assert_int_eq(gmem_add(&mem, 0, LOW), 0);
	ck_assert_int_eq(gmem_add(&mem, HIGH, 2 * PAGE), 0);
	ck_assert_int_eq(gmem_add(&mem, HIGH_2, 3 * PAGE), 0);
}

static void tear_down(void)
{
	gmem_free(&mem);
}

/* every edge, and lengths that wrap */
static const struct {
	gpa_t gpa;
	uint64_t len;
	bool ram;
} ranges[] = {
	{ 0, 1, true },
	{ 0, LOW, true },
	{ 0, LOW + 1, false },
	{ LOW - 1, 1, true },
	{ LOW - 1, 2, false },
	{ LOW, 1, false },
	{ HIGH - 1, 2, false },
	{ HIGH, 1, true },
	{ HIGH, 5 * PAGE, true },
	{ HIGH, 5 * PAGE + 1, false },
	{ HIGH_2 - 1, 2, true },
	{ HIGH_END - 1, 1, true },
	{ HIGH_END - 1, 2, false },
	{ HIGH_END, 1, false },
	{ UINT64_MAX, 1, false },
	{ UINT64_MAX, 2, false },
	{ UINT64_MAX - 4095, 4096, false },
	{ UINT64_MAX - 4095, 8192, false }, /* wraps into RAM */
	{ 0, UINT64_MAX, false },
	{ HIGH, UINT64_MAX - HIGH + 1, false }, /* to the end of addresses and around */
	{ 1, UINT64_MAX, false },
	{ 1ULL << 63, 1, false },
};

START_TEST(ranges_of_ram)
{
	static uint8_t buf[8 * PAGE];
	struct iovec iov[4];

	for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++) {
		gpa_t gpa = ranges[i].gpa;
		size_t len = ranges[i].len;
		int want = ranges[i].ram ? 0 : -EFAULT;

		ck_assert_msg(gmem_is_ram(&mem, gpa, len) == ranges[i].ram, "%#lx, %#lx", gpa, len);
		ck_assert_msg((gmem_iov(&mem, gpa, len, iov, 4) > 0) == ranges[i].ram,
			      "iov of %#lx, %#lx", gpa, len);
		ck_assert_int_eq(gmem_read(&mem, gpa, buf, len), want);
		ck_assert_int_eq(gmem_write(&mem, gpa, buf, len), want);
		ck_assert_int_eq(gmem_zero(&mem, gpa, len), want);
		ck_assert_int_eq(gmem_load(&mem, gpa, -1, 0, len), want ? want : -EBADF);
	}
}
END_TEST

/* a range that is not all RAM: nothing is moved, no page is marked */
START_TEST(all_or_nothing)
{
	uint8_t buf[64], after[64];

	memset(buf, 0xaa, sizeof(buf));
	for (gpa_t p = 0; p < HIGH_END; p += PAGE)
		gmem_test_clear_dirty(&mem, p);
	ck_assert_int_eq(gmem_write(&mem, LOW - 32, buf, 64), -EFAULT);
	ck_assert_int_eq(gmem_zero(&mem, HIGH_END - 32, 64), -EFAULT);
	ck_assert_int_eq(gmem_read(&mem, LOW - 32, after, 32), 0);
	for (unsigned i = 0; i < 32; i++)
		ck_assert_uint_eq(after[i], 0);
	for (gpa_t p = 0; p < HIGH_END; p += PAGE)
		ck_assert(!gmem_test_clear_dirty(&mem, p));
}
END_TEST

START_TEST(across_two_slots)
{
	uint8_t out[3 * PAGE], in[3 * PAGE];
	struct iovec iov[3];

	for (unsigned i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7);
	ck_assert_int_eq(gmem_write(&mem, HIGH_2 - PAGE - 5, out, sizeof(out)), 0);
	ck_assert_int_eq(gmem_read(&mem, HIGH_2 - PAGE - 5, in, sizeof(in)), 0);
	ck_assert_mem_eq(in, out, sizeof(in));
	ck_assert_int_eq(gmem_iov(&mem, HIGH_2 - 3, 8, iov, 3), 2);
	ck_assert_uint_eq(iov[0].iov_len, 3);
	ck_assert_uint_eq(iov[1].iov_len, 5);
	ck_assert_mem_eq(iov[1].iov_base, out + PAGE + 5, 5);
	ck_assert_int_eq(gmem_iov(&mem, HIGH_2 - 3, 8, iov, 1), -E2BIG);
	ck_assert_int_eq(gmem_iov(&mem, HIGH_2 - 3, 8, iov, 0), -E2BIG);
	ck_assert_int_eq(gmem_iov(&mem, HIGH_2, 0, iov, 3), -EFAULT);
	ck_assert_int_eq(gmem_zero(&mem, HIGH_2 - 2, 4), 0);
	ck_assert_int_eq(gmem_read(&mem, HIGH_2 - 3, in, 6), 0);
	ck_assert(in[0] && !in[1] && !in[2] && !in[3] && !in[4] && in[5]);
}
END_TEST

static unsigned dirty_pages(void)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < 4; i++)
		bits |= (unsigned)gmem_test_clear_dirty(&mem, i * PAGE) << i;
	for (unsigned i = 0; i < 5; i++)
		bits |= (unsigned)gmem_test_clear_dirty(&mem, HIGH + i * PAGE) << (4 + i);
	return bits;
}

START_TEST(dirty_marks)
{
	static const struct {
		gpa_t gpa;
		uint64_t len;
		unsigned pages;
	} stores[] = {
		{ 0, 1, 1 },
		{ PAGE - 1, 1, 1 },
		{ PAGE - 1, 2, 3 },
		{ PAGE, PAGE, 2 },
		{ PAGE, PAGE + 1, 6 },
		{ 0, 4 * PAGE, 15 },
		{ LOW - 1, 1, 8 },
		{ HIGH, 1, 16 },
		{ HIGH_2 - 1, 2, 0x60 },
		{ HIGH_2 - PAGE, 3 * PAGE, 0xe0 },
		{ HIGH, 5 * PAGE, 0x1f0 },
		{ HIGH_END - 1, 1, 0x100 },
	};
	static uint8_t buf[5 * PAGE];
	struct iovec iov[2];

	dirty_pages();
	for (unsigned i = 0; i < ARRAY_SIZE(stores); i++) {
		int n;

		ck_assert_int_eq(gmem_write(&mem, stores[i].gpa, buf, stores[i].len), 0);
		ck_assert_uint_eq(dirty_pages(), stores[i].pages);
		ck_assert_int_eq(gmem_zero(&mem, stores[i].gpa, stores[i].len), 0);
		ck_assert_uint_eq(dirty_pages(), stores[i].pages);
		n = gmem_iov(&mem, stores[i].gpa, stores[i].len, iov, 2);
		for (int k = 0; k < n; k++)
			gmem_dirty(&mem, iov[k].iov_base, iov[k].iov_len);
		ck_assert_uint_eq(dirty_pages(), stores[i].pages);
		ck_assert_int_eq(gmem_read(&mem, stores[i].gpa, buf, stores[i].len), 0);
		ck_assert_uint_eq(dirty_pages(), 0);
	}
	ck_assert_int_eq(gmem_st16(&mem, PAGE + 2, 5), 0);
	ck_assert_uint_eq(dirty_pages(), 2);
	gmem_dirty(&mem, buf, sizeof(buf)); /* not the guest's */
	gmem_dirty(&mem, iov[0].iov_base, 0);
	ck_assert_uint_eq(dirty_pages(), 0);
	ck_assert(!gmem_test_clear_dirty(&mem, LOW));
	ck_assert(!gmem_test_clear_dirty(&mem, UINT64_MAX));
}
END_TEST

START_TEST(sixteen_bits)
{
	uint8_t bytes[2];
	uint16_t v;

	ck_assert_int_eq(gmem_st16(&mem, LOW - 2, 0x1234), 0);
	ck_assert_int_eq(gmem_ld16(&mem, LOW - 2, &v), 0);
	ck_assert_uint_eq(v, 0x1234);
	ck_assert_int_eq(gmem_read(&mem, LOW - 2, bytes, 2), 0);
	ck_assert_uint_eq(bytes[0], 0x34);
	ck_assert_int_eq(gmem_ld16(&mem, LOW - 1, &v), -EFAULT);
	ck_assert_int_eq(gmem_ld16(&mem, 1, &v), -EFAULT); /* not aligned */
	ck_assert_int_eq(gmem_st16(&mem, 3, 0), -EFAULT);
	ck_assert_int_eq(gmem_ld16(&mem, HIGH_2 - 1, &v), -EFAULT);
	ck_assert_int_eq(gmem_ld16(&mem, LOW, &v), -EFAULT);
	ck_assert_int_eq(gmem_st16(&mem, UINT64_MAX, 0), -EFAULT);
	ck_assert_int_eq(gmem_ld16(&mem, UINT64_MAX - 1, &v), -EFAULT);
	ck_assert_uint_eq(v, 0x1234);
}
END_TEST

START_TEST(loading_files)
{
	int fd = memfd_create("file", 0);
	uint8_t buf[3 * PAGE], in[3 * PAGE];

	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 3 + i / 256);
	ck_assert_int_eq(pwrite(fd, buf, sizeof(buf), 0), sizeof(buf));
	dirty_pages();
	ck_assert_int_eq(gmem_load(&mem, HIGH_2 - PAGE, fd, 100, 2 * PAGE), 0);
	ck_assert_uint_eq(dirty_pages(), 0x60);
	ck_assert_int_eq(gmem_read(&mem, HIGH_2 - PAGE, in, 2 * PAGE), 0);
	ck_assert_mem_eq(in, buf + 100, 2 * PAGE);
	ck_assert_int_eq(gmem_load(&mem, 0, fd, PAGE, 2 * PAGE + 1), -ENODATA);
	ck_assert_int_eq(gmem_load(&mem, 0, fd, 4 * PAGE, 1), -ENODATA);
	ck_assert_int_eq(gmem_load(&mem, LOW - 1, fd, 0, 2), -EFAULT);
	close(fd);
}
END_TEST

START_TEST(discarding)
{
	uint8_t buf[PAGE];

	memset(buf, 0x77, sizeof(buf));
	for (gpa_t p = 0; p < LOW; p += PAGE)
		ck_assert_int_eq(gmem_write(&mem, p, buf, PAGE), 0);
	dirty_pages();
	gmem_discard_all(&mem);
	ck_assert_uint_eq(dirty_pages(), 0x1ff); /* all of them have changed */
	ck_assert_int_eq(gmem_read(&mem, LOW - PAGE, buf, PAGE), 0);
	for (unsigned i = 0; i < PAGE; i++)
		if (buf[i])
			ck_abort_msg("byte %u is %#x", i, buf[i]);
}
END_TEST

static void fill_all(void)
{
	uint8_t buf[PAGE];

	memset(buf, 0x77, sizeof(buf));
	for (gpa_t p = 0; p < HIGH_END; p = p + PAGE == LOW ? HIGH : p + PAGE)
		ck_assert_int_eq(gmem_write(&mem, p, buf, PAGE), 0);
	dirty_pages();
}

static bool is_all(gpa_t page, uint8_t want)
{
	uint8_t buf[PAGE];

	ck_assert_int_eq(gmem_read(&mem, page, buf, PAGE), 0);
	for (unsigned i = 0; i < PAGE; i++)
		if (buf[i] != want)
			return false;
	return true;
}

/* whole pages of RAM read as zero and are dirty; of anything else nothing is touched */
START_TEST(discarding_some)
{
	static const struct {
		gpa_t gpa;
		uint64_t len;
	} bad[] = { { 1, PAGE },
		    { 0, PAGE - 1 },
		    { 0, PAGE + 1 },
		    { PAGE / 2, PAGE / 2 },
		    { LOW - PAGE, 2 * PAGE },
		    { LOW, PAGE },
		    { HIGH - PAGE, 2 * PAGE },
		    { HIGH_END - PAGE, 2 * PAGE },
		    { HIGH_END, PAGE },
		    { 0, UINT64_MAX - PAGE + 1 },
		    { UINT64_MAX - PAGE + 1, PAGE },
		    { UINT64_MAX - PAGE + 1, 2 * PAGE } };

	fill_all();
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_int_eq(gmem_discard(&mem, bad[i].gpa, bad[i].len), -EFAULT);
	ck_assert_int_eq(gmem_discard(&mem, PAGE, 0), 0);
	ck_assert_uint_eq(dirty_pages(), 0);
	for (gpa_t p = 0; p < HIGH_END; p = p + PAGE == LOW ? HIGH : p + PAGE)
		ck_assert(is_all(p, 0x77));

	ck_assert_int_eq(gmem_discard(&mem, PAGE, PAGE), 0);
	ck_assert_int_eq(gmem_discard(&mem, HIGH + PAGE, 2 * PAGE), 0); /* of both slots */
	ck_assert_uint_eq(dirty_pages(), 1 << 1 | 1 << 5 | 1 << 6);
	ck_assert(is_all(PAGE, 0) && is_all(HIGH + PAGE, 0) && is_all(HIGH_2, 0));
	ck_assert(is_all(0, 0x77) && is_all(2 * PAGE, 0x77) && is_all(HIGH, 0x77) &&
		  is_all(HIGH_2 + PAGE, 0x77));
}
END_TEST

START_TEST(back_to_the_address)
{
	static const gpa_t at[] = { 0, 1, LOW - 1, HIGH, HIGH_2 - 1, HIGH_2, HIGH_END - 1 };
	struct iovec iov;

	for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
		ck_assert_int_eq(gmem_iov(&mem, at[i], 1, &iov, 1), 1);
		ck_assert_uint_eq(gmem_gpa(&mem, iov.iov_base), at[i]);
	}
}
END_TEST

START_TEST(slots_that_cannot_be)
{
	static const struct {
		gpa_t gpa;
		uint64_t len;
	} bad[] = { { HIGH_END, 0 },
		    { HIGH_END, 100 },
		    { HIGH_END + 1, PAGE },
		    { HIGH_END - PAGE, PAGE }, /* over the last */
		    { LOW, PAGE },	       /* not in order */
		    { HIGH_END, UINT64_MAX - PAGE + 1 },
		    { UINT64_MAX - PAGE + 1, PAGE },
		    { 1ULL << 63, PAGE } };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert_int_eq(gmem_add(&mem, bad[i].gpa, bad[i].len), -EINVAL);
		ck_assert_uint_eq(mem.n, 3);
	}
	ck_assert_int_eq(gmem_add(&mem, 1ULL << 40, 1ULL << 55), -ENOMEM);
	ck_assert_ptr_nonnull(strstr(err_last(), "--memory"));
	for (unsigned i = 3; i < GMEM_SLOTS; i++)
		ck_assert_int_eq(gmem_add(&mem, HIGH_END + 2 * i * PAGE, PAGE), 0);
	ck_assert_int_eq(gmem_add(&mem, 1ULL << 40, PAGE), -EINVAL);
}
END_TEST

static unsigned long resident_kib(void)
{
	unsigned long size, pages;
	FILE *file = fopen("/proc/self/statm", "r");

	ck_assert_int_eq(fscanf(file, "%lu %lu", &size, &pages), 2);
	fclose(file);
	return pages * (PAGE / KiB);
}

/* what the guest has not touched costs nothing */
START_TEST(large_memory)
{
	unsigned long before = resident_kib();
	struct gmem large = { .n = 0 };
	uint64_t start = now_ns();
	uint8_t c = 5;

	ck_assert_int_eq(gmem_add(&large, 4 * GiB, 64 * GiB), 0);
	ck_assert_uint_lt(resident_kib() - before, 1024);
	ck_assert_int_eq(gmem_write(&large, 68 * GiB - 1, &c, 1), 0);
	ck_assert(gmem_test_clear_dirty(&large, 68 * GiB - PAGE));
	ck_assert_int_eq(gmem_write(&large, 68 * GiB, &c, 1), -EFAULT);
	ck_assert_uint_lt(resident_kib() - before, 4096);
	gmem_free(&large);
	ck_assert_uint_lt(now_ns() - start, 1000000000);
}
END_TEST

/* the address sanitizer is to leave the signal to guard_pages */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "handle_segv=0";
}

/* each slot lies between guard pages: a host pointer that runs off faults, and hits no neighbour */
START_TEST(guard_pages)
{
	const struct gmem_slot *s = &mem.slot[_i / 2];
	volatile uint8_t *p = _i % 2 ? s->hva + s->len : s->hva - 1;

	*p = 1;
}
END_TEST

/* @hva's page is what the file has, or zero */
static void expect_page(const uint8_t *hva, uint8_t want)
{
	for (unsigned i = 0; i < PAGE; i++)
		ck_assert_uint_eq(hva[i], want);
}

#define BIG (256 * PAGE)

/* what a guest gives up is zero for good, and not what the file has; large parts cost nothing */
START_TEST(discarding_a_file)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);
	static uint8_t bytes[BIG];
	struct gmem m = { .n = 0 };
	uint8_t *p;

	memset(bytes, 7, sizeof(bytes));
	ck_assert_int_eq(pwrite(fd, bytes, sizeof(bytes), PAGE), sizeof(bytes));
	ck_assert_int_eq(gmem_add(&m, 0, BIG), 0);
	ck_assert_int_eq(gmem_map(&m, 0, fd, PAGE), 0);
	close(fd);
	p = m.slot[0].hva;
	expect_page(p, 7);
	ck_assert_int_eq(gmem_discard(&m, 8 * PAGE, PAGE), 0);
	ck_assert_int_eq(gmem_discard(&m, 64 * PAGE, 64 * PAGE), 0);
	for (unsigned i = 0; i < 256; i++)
		expect_page(p + i * PAGE, i == 8 || i / 64 == 1 ? 0 : 7);
	p[64 * PAGE] = 1; /* and again */
	ck_assert_int_eq(gmem_discard(&m, 64 * PAGE, 64 * PAGE), 0);
	expect_page(p + 64 * PAGE, 0);
	ck_assert(gmem_test_clear_dirty(&m, 8 * PAGE));
	gmem_discard_all(&m);
	for (unsigned i = 0; i < 256; i++)
		expect_page(p + i * PAGE, 0);
	gmem_free(&m);
}
END_TEST

/* by ranges, and from another's bitmap */
START_TEST(dirty_ranges)
{
	static unsigned long more[4096 / sizeof(long)];
	struct gmem m = { .n = 0 };
	const struct gmem_slot *s = &m.slot[0];

	ck_assert_int_eq(gmem_add(&m, 0, 256 * PAGE), 0);
	ck_assert_uint_ge(gmem_dirty_words(s), 256 / 64);
	ck_assert_uint_le(gmem_dirty_words(s), ARRAY_SIZE(more));
	ck_assert(!gmem_any_dirty(s, 0, 256 * PAGE));
	ck_assert_int_eq(gmem_write(&m, 100 * PAGE, "x", 1), 0);
	more[3] = 1UL << 63; /* page 255 */
	gmem_mark_dirty(&m, 0, more);
	for (unsigned i = 0; i < 256; i++) {
		ck_assert_int_eq(gmem_any_dirty(s, i * PAGE, PAGE), i == 100 || i == 255);
		ck_assert_int_eq(gmem_any_dirty(s, 0, i * PAGE), i > 100);
		ck_assert(gmem_any_dirty(s, i * PAGE, (256 - i) * PAGE));
	}
	gmem_clear_dirty(&m);
	ck_assert(!gmem_any_dirty(s, 0, 256 * PAGE));
	gmem_free(&m);
}
END_TEST

/* one that gives up every second part has zeroes there all the same, and mappings left */
START_TEST(many_holes)
{
	const uint64_t len = 2 * 33000 * 64 * KiB; /* of 65,530 mappings each hole takes two */
	int fd = memfd_create("memory", MFD_CLOEXEC);
	struct gmem m = { .n = 0 };

	ck_assert_int_eq(ftruncate(fd, (off_t)len), 0);
	ck_assert_int_eq(pwrite(fd, "x", 1, (off_t)(len - 128 * KiB)), 1);
	ck_assert_int_eq(gmem_add(&m, 0, len), 0);
	ck_assert_int_eq(gmem_map(&m, 0, fd, 0), 0);
	close(fd);
	ck_assert_uint_eq(m.slot[0].hva[len - 128 * KiB], 'x');
	for (uint64_t at = 0; at < len; at += 128 * KiB)
		ck_assert_int_eq(gmem_discard(&m, at, 64 * KiB), 0);
	ck_assert_uint_eq(m.slot[0].hva[len - 128 * KiB], 0);
	gmem_free(&m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("gmem");
	TCase *t = tcase_create("gmem"), *guard = tcase_create("guard");

	tcase_set_timeout(t, 20);
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, ranges_of_ram);
	tcase_add_test(t, all_or_nothing);
	tcase_add_test(t, across_two_slots);
	tcase_add_test(t, dirty_marks);
	tcase_add_test(t, dirty_ranges);
	tcase_add_test(t, sixteen_bits);
	tcase_add_test(t, loading_files);
	tcase_add_test(t, discarding);
	tcase_add_test(t, discarding_some);
	tcase_add_test(t, discarding_a_file);
	tcase_add_test(t, many_holes);
	tcase_add_test(t, back_to_the_address);
	tcase_add_test(t, slots_that_cannot_be);
	tcase_add_test(t, large_memory);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(guard, set_up, tear_down);
	tcase_add_loop_test_raise_signal(guard, guard_pages, SIGSEGV, 0, 6);
	suite_add_tcase(s, guard);
	return suite_run(s);
}
