/* t_base - sizes, numbers, the nearest name, errors */

#include "base.h"
#include "suite.h"

START_TEST(numbers)
{
	static const struct {
		const char *text;
		int r;
		uint64_t v;
	} cases[] = {
		{ "0", 0, 0 },
		{ "42", 0, 42 },
		{ "007", 0, 7 },
		{ "0x1F", 0, 31 },
		{ "0Xff", 0, 255 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "0xffffffffffffffff", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "0x10000000000000000", -ERANGE, 0 },
		{ "99999999999999999999999", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "0x", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1 ", -EINVAL, 0 },
		{ "1a", -EINVAL, 0 },
		{ "0xg", -EINVAL, 0 },
		{ "1.5", -EINVAL, 0 },
		{ "\xff", -EINVAL, 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t v = 12345;
		int r = number_parse(cases[i].text, &v);

		ck_assert_msg(r == cases[i].r, "'%s': %d", cases[i].text, r);
		ck_assert_msg(v == (r ? 12345 : cases[i].v), "'%s': %lu", cases[i].text, v);
	}
}
END_TEST

START_TEST(sizes)
{
	static const struct {
		const char *text;
		int r;
		uint64_t v;
	} cases[] = {
		{ "512M", 0, 512 * MiB },
		{ "512m", 0, 512 * MiB },
		{ "64K", 0, 64 * KiB },
		{ "4G", 0, 4 * GiB },
		{ "16T", 0, 16384 * GiB },
		{ "0x10K", 0, 16 * KiB },
		{ "0K", 0, 0 },
		{ "16777215T", 0, 16777215ULL << 40 },
		{ "16777216T", -ERANGE, 0 },
		{ "18014398509481984K", -ERANGE, 0 },
		{ "512", -EINVAL, 0 }, /* bytes or megabytes? */
		{ "12X", -EINVAL, 0 },
		{ "M", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ "-1M", -EINVAL, 0 },
		{ "1.5G", -EINVAL, 0 },
		{ "512MB", -EINVAL, 0 },
		{ "1 G", -EINVAL, 0 },
		{ "00000000000000000000001M", 0, MiB },
		{ "000000000000000000000001M", -EINVAL, 0 },
		{ "11111111111111111111111111111111111111111111111M", -EINVAL, 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t v = 12345;
		int r;

		err_clear();
		r = size_parse(cases[i].text, &v);
		ck_assert_msg(r == cases[i].r, "'%s': %d", cases[i].text, r);
		ck_assert_msg(v == (r ? 12345 : cases[i].v), "'%s': %lu", cases[i].text, v);
		ck_assert_msg(!r || strstr(err_last(), "'"), "'%s': no message", cases[i].text);
	}
	ck_assert_int_eq(size_parse("512", &(uint64_t){ 0 }), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err_last(), "unit is missing"));
	ck_assert_int_eq(size_parse("512X", &(uint64_t){ 0 }), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err_last(), "'512X' is not a size; write a whole number"));
}
END_TEST

START_TEST(sizes_round_trip)
{
	for (uint64_t v = 0; v < 1ULL << 62; v += MAX(1, v / 3)) {
		uint64_t back = 0;
		char text[32];

		size_print(v, text, sizeof(text));
		ck_assert_msg(!size_parse(text, &back) && back == v, "%lu is printed as %s", v,
			      text);
	}
}
END_TEST

START_TEST(nearest_names)
{
	static const char *const names[] = {
		"memory", "kernel", "cpus", "disk", "on_reboot", NULL
	};
	static const char *const none[] = { NULL };
	static const struct {
		const char *word, *name;
	} cases[] = {
		{ "memory", "memory" },
		{ "memroy", "memory" },
		{ "mem", NULL },
		{ "kernl", "kernel" },
		{ "cpu", "cpus" },
		{ "dsik", "disk" },
		{ "disks", "disk" },
		{ "onreboot", "on_reboot" },
		{ "zzzzzz", NULL },
		{ "", NULL },
		{ "memorymemorymemorymemorymemorymemorymemorymemory", NULL },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *got = nearest(cases[i].word, names);

		if (!cases[i].name)
			ck_assert_msg(!got, "'%s': %s", cases[i].word, got);
		else
			ck_assert_msg(got && !strcmp(got, cases[i].name), "'%s': %s", cases[i].word,
				      got ? got : "none");
	}
	ck_assert_ptr_null(nearest("memory", none));
}
END_TEST

START_TEST(arithmetic)
{
	ck_assert(range_fits(0, 0, 0));
	ck_assert(range_fits(4, 4, 8));
	ck_assert(!range_fits(4, 5, 8));
	ck_assert(!range_fits(9, 0, 8));
	ck_assert(!range_fits(4, UINT64_MAX, 8));
	ck_assert(!range_fits(UINT64_MAX, 1, 8));
	ck_assert(!range_fits(UINT64_MAX, UINT64_MAX, UINT64_MAX));
	ck_assert(range_fits(0, UINT64_MAX, UINT64_MAX));
	ck_assert(ranges_overlap(0, 2, 1, 2));
	ck_assert(!ranges_overlap(0, 2, 2, 2));
	ck_assert(!ranges_overlap(2, 2, 0, 2));
	ck_assert(!is_pow2(0) && is_pow2(1) && is_pow2(1ULL << 63) && !is_pow2(3));
	ck_assert_uint_eq(align_up(4097, 4096), 8192);
	ck_assert_uint_eq(align_up(4096, 4096), 4096);
}
END_TEST

START_TEST(copying_strings)
{
	char buf[8] = "before";

	ck_assert_int_eq(str_copy(buf, sizeof(buf), "1234567"), 0);
	ck_assert_int_eq(str_copy(buf, sizeof(buf), "12345678"), -E2BIG);
	ck_assert_str_eq(buf, "1234567");
	ck_assert_int_eq(str_copy(buf, 1, ""), 0);
	ck_assert_str_eq(buf, "");
}
END_TEST

START_TEST(errors)
{
	char longer[3000];

	ck_assert_int_eq(err(-EINVAL, "value %d", 5), -EINVAL);
	ck_assert_str_eq(err_last(), "value 5");
	err(-1, "more: %s", err_last()); /* the message as its own argument */
	ck_assert_str_eq(err_last(), "more: value 5");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	err(-1, "%s", longer);
	ck_assert_uint_lt(strlen(err_last()), sizeof(longer));
	err_clear();
	ck_assert_str_eq(err_last(), "");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("base");
	TCase *t = tcase_create("base");

	tcase_set_timeout(t, 10);
	tcase_add_test(t, numbers);
	tcase_add_test(t, sizes);
	tcase_add_test(t, sizes_round_trip);
	tcase_add_test(t, nearest_names);
	tcase_add_test(t, arithmetic);
	tcase_add_test(t, copying_strings);
	tcase_add_test(t, errors);
	suite_add_tcase(s, t);
	return suite_run(s);
}
