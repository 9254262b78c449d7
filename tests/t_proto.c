/* t_proto - frames and items: what is written is what is read, and nothing else is taken */
#include "base.h"
#include "proto.h"
#include "suite.h"

static void header(uint8_t to[PROTO_HEADER], unsigned type, unsigned stream, uint32_t len)
{
	proto_put_header(to, (uint8_t)type, (uint8_t)stream, len);
}

START_TEST(headers)
{
	static const uint32_t small[] = { 0, 1, 0x1234, PROTO_SMALL_MAX };
	uint8_t b[PROTO_HEADER];
	struct proto_frame f;

	for (unsigned i = 0; i < ARRAY_SIZE(small); i++) {
		header(b, PROTO_SETUP, PROTO_STDERR, small[i]);
		ck_assert_int_eq(proto_get_header(b, &f), 0);
		ck_assert_uint_eq(f.type, PROTO_SETUP);
		ck_assert_uint_eq(f.stream, PROTO_STDERR);
		ck_assert_uint_eq(f.len, small[i]);
	}
	/* the bytes themselves: the two sides may be of different builds */
	header(b, PROTO_DATA, PROTO_STDOUT, 0x1234);
	ck_assert_mem_eq(b, "\x34\x12\0\0\x06\x01\0\0", PROTO_HEADER);
}
END_TEST

START_TEST(headers_refused)
{
	static const struct {
		unsigned type, stream;
		uint32_t len;
		bool good;
	} of[] = {
		{ 0, 0, 0, false },
		{ PROTO_TYPES, 0, 0, false },
		{ 255, 0, 0, false },
		{ PROTO_EXIT, 0, 0, true },
		{ PROTO_DATA, PROTO_STREAMS, 0, false },
		{ PROTO_DATA, PROTO_STDERR, PROTO_DATA_MAX, true },
		{ PROTO_DATA, PROTO_STDERR, PROTO_DATA_MAX + 1, false },
		{ PROTO_EOF, 0, 1, false },
		{ PROTO_CLOSE, 0, 1, false },
		{ PROTO_PING, 0, 1, false },
		{ PROTO_PONG, 0, 1, false },
		{ PROTO_CREDIT, 0, 4, true },
		{ PROTO_CREDIT, 0, 3, false },
		{ PROTO_CREDIT, 0, 5, false },
		{ PROTO_CREDIT, 0, 0, false },
		{ PROTO_EXEC, 0, PROTO_BODY_MAX, true },
		{ PROTO_EXEC, 0, PROTO_BODY_MAX + 1, false },
		{ PROTO_HELLO, 0, PROTO_SMALL_MAX, true },
		{ PROTO_HELLO, 0, PROTO_SMALL_MAX + 1, false },
		{ PROTO_HELLO, 0, UINT32_MAX, false },
	};
	uint8_t b[PROTO_HEADER];
	struct proto_frame f = { 77, 77, 77 };

	for (unsigned i = 0; i < ARRAY_SIZE(of); i++) {
		header(b, of[i].type, of[i].stream, of[i].len);
		ck_assert_msg(proto_get_header(b, &f) == (of[i].good ? 0 : -EPROTO), "case %u", i);
	}
	header(b, PROTO_HELLO, 0, 0);
	b[6] = 1;
	ck_assert_int_eq(proto_get_header(b, &f), -EPROTO);
	b[6] = 0, b[7] = 1;
	f.len = 77;
	ck_assert_int_eq(proto_get_header(b, &f), -EPROTO);
	ck_assert_uint_eq(f.len, 77); /* untouched */
}
END_TEST

static struct proto_item next(struct proto_reader *r, uint16_t tag, uint32_t len)
{
	struct proto_item item = { 0, 0, NULL };

	ck_assert_int_eq(proto_next(r, &item), 1);
	ck_assert_uint_eq(item.tag, tag);
	ck_assert_uint_eq(item.len, len);
	return item;
}

START_TEST(items)
{
	struct proto_buf b = { .data = NULL };
	struct proto_reader r;
	struct proto_frame f;
	struct proto_item item;
	uint64_t n = 0;
	char *text;

	proto_begin(&b, PROTO_PING, 0);
	proto_end(&b);
	proto_begin(&b, PROTO_EXEC, 0);
	proto_text(&b, TAG_ARG, "echo");
	proto_text(&b, TAG_ARG, "");
	proto_bytes(&b, TAG_ENV, "a\0b", 3);
	proto_number(&b, TAG_BOOT_NS, UINT64_MAX - 1);
	proto_end(&b);
	ck_assert(!b.failed);
	ck_assert_int_eq(proto_get_header(b.data, &f), 0);
	ck_assert_uint_eq(f.len, 0);
	ck_assert_int_eq(proto_get_header(b.data + PROTO_HEADER, &f), 0);
	ck_assert_uint_eq(f.type, PROTO_EXEC);
	ck_assert_uint_eq(f.len, b.len - 2 * PROTO_HEADER);
	r = (struct proto_reader){ b.data + 2 * PROTO_HEADER, b.data + b.len };
	item = next(&r, TAG_ARG, 4);
	text = proto_item_text(&item);
	ck_assert_str_eq(text, "echo");
	free(text);
	ck_assert_int_eq(proto_item_number(&item, &n), -EPROTO);
	item = next(&r, TAG_ARG, 0);
	text = proto_item_text(&item);
	ck_assert_str_eq(text, "");
	free(text);
	item = next(&r, TAG_ENV, 3);
	ck_assert_mem_eq(item.data, "a\0b", 3);
	ck_assert_ptr_null(proto_item_text(&item));
	item = next(&r, TAG_BOOT_NS, 8);
	ck_assert_int_eq(proto_item_number(&item, &n), 0);
	ck_assert_uint_eq(n, UINT64_MAX - 1);
	ck_assert_int_eq(proto_next(&r, &item), 0);
	proto_free(&b);
	ck_assert_ptr_null(b.data);
}
END_TEST

/* a body cut at any byte is read up to there, or refused; never past its end */
START_TEST(items_cut)
{
	struct proto_buf b = { .data = NULL };
	unsigned whole = 0;

	proto_begin(&b, PROTO_EXEC, 0);
	proto_text(&b, TAG_ARG, "echo");
	proto_number(&b, TAG_FLAGS, 3);
	proto_text(&b, TAG_CWD, "");
	proto_end(&b);
	for (size_t len = 0; len <= b.len - PROTO_HEADER; len++) {
		uint8_t *body = malloc(len + !len); /* its end is watched under the sanitizer */
		struct proto_reader r = { body, body + len };
		struct proto_item item;
		int res;

		memcpy(body, b.data + PROTO_HEADER, len);
		while ((res = proto_next(&r, &item)) == 1)
			ck_assert(item.data + item.len <= body + len);
		ck_assert(res == 0 || res == -EPROTO);
		whole += !res;
		free(body);
	}
	ck_assert_uint_eq(whole, 4); /* after none, one, two, three */
	proto_free(&b);
}
END_TEST

START_TEST(items_refused)
{
	static const uint8_t wide[] = { 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0 },
			     zero[] = { 1, 0, 1, 0, 0, 0, 0, 0 };
	struct proto_reader r = { wide, wide + sizeof(wide) };
	struct proto_item item;

	ck_assert_int_eq(proto_next(&r, &item), -EPROTO);
	r = (struct proto_reader){ zero, zero + sizeof(zero) };
	ck_assert_int_eq(proto_next(&r, &item), -EPROTO);
}
END_TEST

/* what is too long for its kind of frame is told once, and stays told */
START_TEST(too_long)
{
	static uint8_t big[PROTO_BODY_MAX];
	struct proto_buf b = { .data = NULL };

	proto_begin(&b, PROTO_DATA, 0);
	proto_raw(&b, big, PROTO_DATA_MAX);
	proto_end(&b);
	ck_assert(!b.failed);
	proto_begin(&b, PROTO_DATA, 0);
	proto_raw(&b, big, PROTO_DATA_MAX + 1);
	proto_end(&b);
	ck_assert(b.failed);
	proto_begin(&b, PROTO_PING, 0);
	proto_end(&b);
	ck_assert(b.failed);
	proto_free(&b);
	ck_assert(!b.failed);
	proto_begin(&b, PROTO_EXEC, 0);
	proto_bytes(&b, TAG_ARG, big, sizeof(big) - PROTO_HEADER); /* its own header is 8 as well */
	proto_end(&b);
	ck_assert(!b.failed);
	ck_assert_uint_eq(b.len, PROTO_HEADER + PROTO_BODY_MAX);
	proto_free(&b);
	proto_begin(&b, PROTO_EXEC, 0);
	for (unsigned i = 0; i < 8; i++)
		proto_bytes(&b, TAG_ARG, big, sizeof(big));
	proto_end(&b);
	ck_assert(b.failed);
	proto_free(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("proto");
	TCase *c = tcase_create("proto");

	tcase_add_test(c, headers);
	tcase_add_test(c, headers_refused);
	tcase_add_test(c, items);
	tcase_add_test(c, items_cut);
	tcase_add_test(c, items_refused);
	tcase_add_test(c, too_long);
	suite_add_tcase(s, c);
	return suite_run(s);
}
