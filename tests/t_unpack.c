/* t_unpack - packed files read forward in pieces, and LZ4 against a decoder written the plain way
 */
#include <sys/mman.h>
#include <unistd.h>

#include "boot_rig.h"
#include "lz4.h"
#include "suite.h"

static const enum pack packs[] = { PACK_NONE, PACK_GZIP, PACK_XZ, PACK_LZ4 };

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

static struct source source_of(const struct blob *b, enum pack pack)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	ck_assert_int_eq(write(fd, "before", 6), 6);
	ck_assert_int_eq(write(fd, b->data, b->len), (ssize_t)b->len);
	ck_assert_int_eq(write(fd, "and behind", 10), 10);
	return (struct source){
		.what = "kernel TEST", .fd = fd, .off = 6, .len = b->len, .pack = pack
	};
}

/* long stretches of one byte, and of noise */
static struct blob mixed(size_t len)
{
	struct blob b = blob_of(NULL, len);
	uint32_t seed = 1;

	for (size_t k = 0; k < len; k++)
		b.data[k] = k / 3000 % 3 ? (uint8_t)next_random(&seed) : (uint8_t)(k / 9000);
	return b;
}

START_TEST(magic)
{
	struct blob plain cleanup_blob = mixed(100);
	struct blob packed cleanup_blob = make_packed(&plain, packs[_i]);

	ck_assert_int_eq(pack_of(packed.data, packed.len), packs[_i]);
	ck_assert_int_eq(pack_of(packed.data, 1), PACK_NONE);
}
END_TEST

/* pieces and skips of any size, over several windows of output */
START_TEST(read_and_seek)
{
	struct blob plain cleanup_blob = mixed(1000000);
	struct blob packed cleanup_blob = make_packed(&plain, packs[_i]);
	struct source src = source_of(&packed, packs[_i]);
	struct unpack *u = unpack_open(&src);
	uint8_t *buf = malloc(plain.len);
	uint32_t seed = 7;

	ck_assert_ptr_nonnull(u);
	for (unsigned round = 0; round < 30; round++) {
		size_t pos = next_random(&seed) % plain.len;

		/* mostly forward */
		if (round % 10 && round % 10 < 9)
			pos = round % 10 * 100000 + pos % 1000;
		for (unsigned k = 0; k < 3; k++) {
			size_t len = MIN(next_random(&seed) % 30000, plain.len - pos);

			ck_assert_int_eq(unpack_seek(u, pos), 0);
			ck_assert_int_eq(unpack_read(u, buf, len), 0);
			ck_assert_mem_eq(buf, plain.data + pos, len);
			pos += len;
		}
	}
	ck_assert_int_eq(unpack_seek(u, 0), 0);
	ck_assert_int_eq(unpack_read(u, buf, plain.len), 0);
	ck_assert_mem_eq(buf, plain.data, plain.len);
	ck_assert_int_eq(unpack_finish(u), 0);
	unpack_close(u);
	close(src.fd);
	free(buf);
}
END_TEST

START_TEST(behind_the_end)
{
	struct blob plain cleanup_blob = mixed(5000);
	struct blob packed cleanup_blob = make_packed(&plain, packs[_i]);
	struct source src = source_of(&packed, packs[_i]);
	struct unpack *u = unpack_open(&src);
	uint8_t buf[16];

	ck_assert_int_eq(unpack_seek(u, 4990), 0);
	ck_assert_int_eq(unpack_read(u, buf, 11), -ENODATA);
	ck_assert_ptr_nonnull(strstr(err_last(), "kernel TEST: "));
	ck_assert_int_eq(unpack_read(u, buf, 1), -ENODATA);
	ck_assert_int_eq(unpack_seek(u, 6000), -ENODATA);
	/* and back again */
	ck_assert_int_eq(unpack_seek(u, 4990), 0);
	ck_assert_int_eq(unpack_read(u, buf, 10), 0);
	ck_assert_mem_eq(buf, plain.data + 4990, 10);
	unpack_close(u);
	close(src.fd);
}
END_TEST

/* sums at the end are looked at, also when nobody wants the last bytes */
START_TEST(wrong_sum)
{
	struct blob plain cleanup_blob = mixed(500000);
	struct blob packed cleanup_blob = make_packed(&plain, packs[_i]);
	struct source src;
	struct unpack *u;
	uint8_t buf[16];

	if (packs[_i] == PACK_GZIP)
		packed.data[packed.len - 5] ^= 1; /* CRC32 */
	else
		packed.data[packed.len - 48] ^= 1; /* before index and footer */
	src = source_of(&packed, packs[_i]);
	u = unpack_open(&src);
	ck_assert_int_eq(unpack_read(u, buf, sizeof(buf)), 0);
	ck_assert_int_eq(unpack_finish(u), -EBADMSG);
	unpack_close(u);
	close(src.fd);
}
END_TEST

/* a stream of random sequences, and what it should unpack to */
struct lz4_pair {
	struct blob in, out;
	size_t in_len, out_len;
};

static void put_more(struct lz4_pair *p, size_t len)
{
	if (len < 15)
		return;
	for (len -= 15; len >= 255; len -= 255)
		p->in.data[p->in_len++] = 255;
	p->in.data[p->in_len++] = (uint8_t)len;
}

/* sizes around every border: 15, 15 + 255, and sometimes far beyond */
static size_t random_len(uint32_t *seed)
{
	uint32_t r = next_random(seed);

	return r % 8 == 0 ? 255 + 13 + r / 8 % 5 : r % 8 == 1 ? r / 8 % 3000 : r / 8 % 20;
}

static void put_sequence(struct lz4_pair *p, uint32_t *seed, size_t block, bool last)
{
	size_t literals = random_len(seed), match = random_len(seed), offset, near;

	if (last || p->out_len + literals == block)
		literals += 5;
	p->in.data[p->in_len++] = (uint8_t)(MIN(literals, 15U) << 4 | (last ? 0 : MIN(match, 15U)));
	put_more(p, literals);
	for (size_t k = 0; k < literals; k++)
		p->in.data[p->in_len++] = p->out.data[p->out_len++] = (uint8_t)next_random(seed);
	if (last)
		return;
	offset = 1 + next_random(seed) % MIN(p->out_len - block, 65535U);
	near = 1 + next_random(seed) % 40;
	if (near <= 20)
		offset = MIN(offset, near);
	p->in.data[p->in_len++] = (uint8_t)offset;
	p->in.data[p->in_len++] = (uint8_t)(offset >> 8);
	put_more(p, match);
	for (size_t k = 0; k < match + 4; k++, p->out_len++)
		p->out.data[p->out_len] = p->out.data[p->out_len - offset];
}

static struct lz4_pair random_lz4(uint32_t seed, unsigned blocks, unsigned sequences)
{
	struct lz4_pair p = { .in = blob_of(NULL, 8 * MiB),
			      .out = blob_of(NULL, 16 * MiB),
			      .in_len = 4 };

	blob_put32(&p.in, 0, LZ4_MAGIC);
	for (unsigned b = 0; b < blocks; b++) {
		size_t in_start = p.in_len, out_start = p.out_len;

		p.in_len += 4;
		for (unsigned k = 0; k < sequences; k++)
			put_sequence(&p, &seed, out_start, k == sequences - 1);
		blob_put32(&p.in, in_start, (uint32_t)(p.in_len - in_start - 4));
	}
	p.in.len = p.in_len;
	p.out.len = p.out_len;
	return p;
}

START_TEST(lz4_random)
{
	struct lz4_pair p = random_lz4((uint32_t)_i, 1 + _i % 3, 200 + _i * 50);
	struct source src = source_of(&p.in, PACK_LZ4);
	struct unpack *u = unpack_open(&src);
	uint8_t *buf = malloc(p.out.len);

	ck_assert_int_eq(unpack_read(u, buf, p.out.len), 0);
	ck_assert_mem_eq(buf, p.out.data, p.out.len);
	ck_assert_int_eq(unpack_read(u, buf, 1), -ENODATA);
	unpack_close(u);
	close(src.fd);
	free(buf);
	blob_free(&p.in);
	blob_free(&p.out);
}
END_TEST

/* stopped after every byte of input, or of output, it goes on as if nothing had been */
START_TEST(lz4_in_crumbs)
{
	struct lz4_pair p = random_lz4(42, 2, 300);
	uint8_t *out = malloc(p.out.len);
	size_t in_step = _i ? 1 : p.in.len, out_step = _i ? p.out.len : 1;
	struct lz4 z = { 0 };
	struct lz4_io io = { .in = p.in.data, .out = out };

	while (io.out < out + p.out.len) {
		if (!io.in_left)
			io.in_left = MIN(in_step, (size_t)(p.in.data + p.in.len - io.in));
		if (!io.out_left)
			io.out_left = MIN(out_step, (size_t)(out + p.out.len - io.out));
		ck_assert_int_eq(lz4_run(&z, &io), 0);
	}
	ck_assert_mem_eq(out, p.out.data, p.out.len);
	free(out);
	blob_free(&p.in);
	blob_free(&p.out);
}
END_TEST

START_TEST(lz4_bad)
{
	static const struct {
		uint8_t len, in[40];
		int code;
	} cases[] = {
		{ 4, { 2, 0x21, 0x4c, 0x19 }, -EBADMSG },
		{ 8, { 2, 0x21, 0x4c, 0x18, 0, 0, 0, 0 }, -ENODATA },
		{ 8, { 2, 0x21, 0x4c, 0x18, 255, 255, 255, 255 }, -ENODATA },
		{ 8, { 2, 0x21, 0x4c, 0x18, 9, 0, 0, 0 }, 0 },
		/* an offset of 0, before the block, behind the block's end */
		{ 12, { 2, 0x21, 0x4c, 0x18, 9, 0, 0, 0, 0x10, 'a', 0, 0 }, -EBADMSG },
		{ 12, { 2, 0x21, 0x4c, 0x18, 9, 0, 0, 0, 0x10, 'a', 2, 0 }, -EBADMSG },
		{ 12, { 2, 0x21, 0x4c, 0x18, 9, 0, 0, 0, 0x10, 'a', 1, 1 }, -EBADMSG },
		{ 12, { 2, 0x21, 0x4c, 0x18, 3, 0, 0, 0, 0x10, 'a', 1, 0 }, -EBADMSG },
		/* literals, or their length, behind the block's end */
		{ 12, { 2, 0x21, 0x4c, 0x18, 2, 0, 0, 0, 0x20, 'a', 'b', 0 }, -EBADMSG },
		{ 12, { 2, 0x21, 0x4c, 0x18, 2, 0, 0, 0, 0xf0, 255, 255, 0 }, -EBADMSG },
		/* nor into the block before */
		{ 18,
		  { 2, 0x21, 0x4c, 0x18, 2, 0, 0, 0, 0x10, 'a', 9, 0, 0, 0, 0x10, 'b', 2, 0 },
		  -EBADMSG },
		/* and in the run of short sequences: the second's offset */
		{ 80,
		  { 2, 0x21, 0x4c, 0x18, 99, 0, 0, 0, 0x10, 'a', 1, 0, 0x10, 'b', 7, 0 },
		  -EBADMSG },
		{ 80,
		  { 2, 0x21, 0x4c, 0x18, 99, 0, 0, 0, 0x10, 'a', 1, 0, 0x10, 'b', 0, 0 },
		  -EBADMSG },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t out[256] = { 0 }, in[80] = { 0 };
		struct lz4 z = { 0 };
		struct lz4_io io = {
			.in = in, .in_left = cases[i].len, .out = out, .out_left = 256
		};

		memcpy(in, cases[i].in, sizeof(cases[i].in));
		ck_assert_msg(lz4_run(&z, &io) == cases[i].code, "case %u", i);
		if (cases[i].code == -EBADMSG)
			ck_assert_int_eq(lz4_run(&z, &io), -EBADMSG);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("unpack");
	TCase *t = tcase_create("unpack");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, magic, 0, ARRAY_SIZE(packs));
	tcase_add_loop_test(t, read_and_seek, 0, ARRAY_SIZE(packs));
	tcase_add_loop_test(t, behind_the_end, 0, ARRAY_SIZE(packs));
	tcase_add_loop_test(t, wrong_sum, 1, 3);
	tcase_add_loop_test(t, lz4_random, 0, 40);
	tcase_add_loop_test(t, lz4_in_crumbs, 0, 2);
	tcase_add_test(t, lz4_bad);
	suite_add_tcase(s, t);
	return suite_run(s);
}
