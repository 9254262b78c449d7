/* t_aml - the AML writer: how lengths and integers are encoded, and that it stays in its buffer */

#include "aml.h"
#include "suite.h"

#define FILLER 0xa5

/* the bytes of a PkgLength, which must be the shortest that will do: that is how iasl writes it */
static unsigned length_at(const uint8_t *p, size_t *ret_len)
{
	unsigned more = p[0] >> 6;
	size_t len = more ? p[0] & 0xf : p[0] & 0x3f;

	for (unsigned i = 0; i < more; i++)
		len |= (size_t)p[1 + i] << (4 + 8 * i);
	ck_assert(!more || len > (more == 1 ? 1U << 6 : 1U << (8 * more - 4)));
	*ret_len = len;
	return 1 + more;
}

/* a device with nothing but resources of @size bytes: the lengths of both and of what is inside */
static void check_length(size_t size, const uint8_t *bytes, uint8_t *buf, size_t max)
{
	const uint8_t *p = buf;
	struct aml aml;
	size_t end, len;

	aml_init(&aml, buf, max);
	aml_device(&aml, "D0");
	aml_crs(&aml);
	aml_raw(&aml, bytes, size);
	aml_end(&aml);
	aml_end(&aml);
	ck_assert_int_eq(aml_done(&aml, &end), 0);

	ck_assert(!memcmp(p, "\x5b\x82", 2));
	p += 2 + length_at(p + 2, &len);
	ck_assert_uint_eq(len, end - 2);
	ck_assert(!memcmp(p, "D0__\x11", 5));
	p += 5;
	end = (size_t)(p - buf);
	p += length_at(p, &len);
	ck_assert_uint_eq(end + len, aml.len);
	p += *p == 0x0a ? 2 : *p == 0x0b ? 3 : 5; /* its size once more, as an integer */
	ck_assert(!memcmp(p, bytes, size));
	ck_assert(!memcmp(p + size, "\x79\0", 2));
	ck_assert_ptr_eq(p + size + 2, buf + aml.len);
}

/* around each size where a PkgLength grows by a byte */
START_TEST(test_lengths)
{
	static const size_t limits[] = { 1 << 6, 1 << 12, 1 << 20 };
	size_t limit = limits[_i], max = limit + 64;
	cleanup_free uint8_t *bytes = malloc(limit);
	cleanup_free uint8_t *buf = malloc(max);

	ck_assert(bytes && buf);
	for (size_t i = 0; i < limit; i++)
		bytes[i] = (uint8_t)(i * 7);
	for (size_t size = limit - 32; size < limit; size++)
		check_length(size, bytes, buf, max);
}
END_TEST

static const struct {
	uint64_t v;
	size_t len;
	const char *bytes;
} ints[] = {
	{ 0, 1, "\x00" },
	{ 1, 1, "\x01" },
	{ 2, 2, "\x0a\x02" },
	{ 0xff, 2, "\x0a\xff" },
	{ 0x100, 3, "\x0b\x00\x01" },
	{ 0xffff, 3, "\x0b\xff\xff" },
	{ 0x10000, 5, "\x0c\x00\x00\x01\x00" },
	{ 0xffffffff, 5, "\x0c\xff\xff\xff\xff" },
	{ 0x100000000, 9, "\x0e\x00\x00\x00\x00\x01\x00\x00\x00" },
	{ 0x123456789abcdef0, 9, "\x0e\xf0\xde\xbc\x9a\x78\x56\x34\x12" },
};

START_TEST(test_integers)
{
	uint8_t buf[16];
	struct aml aml;
	size_t len;

	aml_init(&aml, buf, sizeof(buf));
	aml_int(&aml, ints[_i].v);
	ck_assert_int_eq(aml_done(&aml, &len), 0);
	ck_assert_uint_eq(len, ints[_i].len);
	ck_assert_mem_eq(buf, ints[_i].bytes, len);
}
END_TEST

/* _S5 and a package in a package, whose elements are counted each for itself */
START_TEST(test_package)
{
	static const char want[] = "\x08_S5_\x12\x0e\x03\x01\x0dtext\0\x12\x04\x02\0\0";
	uint8_t buf[64];
	struct aml aml;
	size_t len;

	aml_init(&aml, buf, sizeof(buf));
	aml_name(&aml, "_S5");
	aml_package(&aml);
	aml_int(&aml, 1);
	aml_string(&aml, "text");
	aml_package(&aml);
	aml_int(&aml, 0);
	aml_int(&aml, 0);
	aml_end(&aml);
	aml_end(&aml);
	ck_assert_int_eq(aml_done(&aml, &len), 0);
	ck_assert_uint_eq(len, sizeof(want) - 1);
	ck_assert_mem_eq(buf, want, len);
}
END_TEST

static void write_some(struct aml *aml)
{
	aml_scope(aml, "_SB");
	aml_device(aml, "D0");
	aml_name(aml, "_HID");
	aml_eisa(aml, "PNP0501");
	aml_name(aml, "_CRS");
	aml_crs(aml);
	aml_mem64_window(aml, 0, UINT64_MAX - 1);
	aml_end(aml);
	aml_end(aml);
	aml_end(aml);
	aml_name(aml, "P");
	aml_package(aml);
	aml_int(aml, UINT64_MAX);
	aml_string(aml, "text");
	aml_end(aml);
}

START_TEST(test_overflow)
{
	uint8_t buf[256];
	struct aml aml;
	size_t need, len;

	aml_init(&aml, buf, sizeof(buf));
	write_some(&aml);
	ck_assert_int_eq(aml_done(&aml, &need), 0);
	for (size_t max = 0; max < need; max++) {
		memset(buf, FILLER, sizeof(buf));
		aml_init(&aml, buf, max);
		write_some(&aml);
		ck_assert_int_eq(aml_done(&aml, &len), -ENOSPC);
		for (size_t i = max; i < sizeof(buf); i++)
			ck_assert_uint_eq(buf[i], FILLER);
	}
	aml_init(&aml, buf, need);
	write_some(&aml);
	ck_assert_int_eq(aml_done(&aml, &len), 0);
	ck_assert_uint_eq(len, need);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("aml");
	TCase *tc = tcase_create("aml");

	tcase_add_loop_test(tc, test_lengths, 0, 3);
	tcase_add_loop_test(tc, test_integers, 0, ARRAY_SIZE(ints));
	tcase_add_test(tc, test_package);
	tcase_add_test(tc, test_overflow);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
