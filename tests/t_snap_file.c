/* t_snap_file - a snapshot's file: what is packed comes back, and no damage and no lie gets by */
#include <fcntl.h>
#include <libfdt.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hutch.h"
#include "snap_rig.h"
#include "suite.h"

static struct snap_unpacker *unpacker;

static void setup(void)
{
	unpacker = malloc(sizeof(*unpacker));
	ck_assert_ptr_nonnull(unpacker);
	ck_assert_int_eq(snap_unpacker_init(unpacker), 0);
}

static void teardown(void)
{
	snap_unpacker_free(unpacker);
	free(unpacker);
}

/* snap_open() of these bytes, which fails with @want and a message that has @part */
static void refused(const struct image *image, int want, const char *part)
{
	struct snap_file f;
	int fd = rig_fd(image), r;

	err_clear();
	r = snap_open(&f, fd, "NAME");
	ck_assert_msg(r == want, "%s: %d, not %d: %s", part, r, want, err_last());
	ck_assert_msg(strstr(err_last(), part) && strstr(err_last(), "NAME"),
		      "'%s' does not tell of '%s'", err_last(), part);
	ck_assert(!f.tree && !f.entry);
	close(fd);
}

/* the only damage is in chunk @n, and it is told */
static void chunk_refused(const struct image *image, uint64_t n, const char *why)
{
	static uint8_t to[SNAP_CHUNK];
	struct snap_file f;
	char chunk[32];
	int fd = rig_fd(image), r;

	ck_assert_msg(!snap_open(&f, fd, "NAME"), "%s: %s", why, err_last());
	r = snap_read(&f, n, to, rig_len(n), unpacker);
	snprintf(chunk, sizeof(chunk), "chunk %lu ", (unsigned long)n);
	ck_assert_msg(r == -EBADMSG, "%s: %d", why, r);
	ck_assert_msg(strstr(err_last(), chunk) && strstr(err_last(), why), "'%s' is not '%s'",
		      err_last(), why);
	snap_close(&f);
	close(fd);
}

/* all of it is what rig_fill() says */
static void whole(const struct image *image)
{
	static uint8_t to[SNAP_CHUNK], want[SNAP_CHUNK];
	struct snap_file f;
	void *tree = NULL;
	int fd = rig_fd(image), size = rig_tree(&tree);

	ck_assert_msg(!snap_open(&f, fd, "NAME"), "%s", err_last());
	ck_assert_uint_eq(f.head.chunks, RIG_CHUNKS);
	ck_assert_uint_eq(f.tree_size, (size_t)size);
	ck_assert(!memcmp(f.tree, tree, f.tree_size));
	for (uint64_t n = 0; n < RIG_CHUNKS; n++) {
		memset(to, 0, sizeof(to));
		rig_fill(n, want);
		ck_assert_msg(!snap_read(&f, n, to, rig_len(n), unpacker), "%s", err_last());
		ck_assert_msg(!memcmp(to, want, rig_len(n)), "chunk %lu is another",
			      (unsigned long)n);
		ck_assert_msg(rig_len(n) == SNAP_CHUNK || !to[rig_len(n)],
			      "chunk %lu has more than its length", (unsigned long)n);
	}
	snap_close(&f);
	free(tree);
	close(fd);
}

/* --- what is written comes back --- */

static const struct {
	int level;
	unsigned threads;
} ways[] = { { 1, 1 }, { 0, 1 }, { 9, 1 }, { 1, 5 }, { 0, 16 }, { 6, 3 } };

START_TEST(test_round)
{
	struct image image cleanup_image = rig_image(ways[_i].level, ways[_i].threads);
	unsigned seen[SNAP_KINDS] = { 0 };

	whole(&image);
	for (uint64_t n = 0; n < RIG_CHUNKS; n++) {
		struct snap_entry e = rig_entry(&image, n);
		enum snap_kind want = rig_kind(n);

		if (want && !ways[_i].level)
			want = SNAP_RAW;
		ck_assert_msg(snap_kind(&e) == want, "chunk %lu is of kind %u, not %u",
			      (unsigned long)n, snap_kind(&e), want);
		seen[want]++;
	}
	for (unsigned i = 0; i < SNAP_PARENT; i++)
		ck_assert(seen[i] || ((i == SNAP_DEFLATE || i == SNAP_FILL) && !ways[_i].level));
}
END_TEST

/* every byte of the file belongs to something that has a checksum, and to one thing alone */
START_TEST(test_no_byte_is_without_a_checksum)
{
	struct image image cleanup_image = rig_image(1, 4);
	uint8_t *owners = calloc(1, image.size);
	const struct snap_header *h = rig_head(&image);

	for (uint64_t i = 0; i < SNAP_PAGE; i++)
		owners[i]++;
	for (unsigned s = 0; s < h->sections; s++)
		for (uint64_t i = 0; i < h->section[s].size; i++)
			owners[h->section[s].at + i]++;
	for (uint64_t n = 0; n < RIG_CHUNKS; n++) {
		struct snap_entry e = rig_entry(&image, n);

		for (uint64_t i = 0; i < snap_stored(&e); i++)
			owners[e.at + i]++;
	}
	for (size_t i = 0; i < image.size; i++)
		ck_assert_msg(owners[i] == 1, "byte %zu belongs to %u", i, owners[i]);
	free(owners);
}
END_TEST

/* a writer whose file takes no more says so, wherever that happens */
START_TEST(test_full)
{
	struct image image cleanup_image = rig_image(1, 1);
	struct snap_writer w;
	struct snap_packer *p = calloc(1, sizeof(*p));
	uint8_t data[SNAP_CHUNK];
	int fd = open("/dev/full", O_RDWR | O_CLOEXEC), r = 0;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(snap_begin(&w, fd, RIG_CHUNKS, 0), 0);
	ck_assert_int_eq(snap_packer_init(p, &w), 0);
	rig_fill(2, data);
	for (uint64_t n = 0; !r && n < RIG_CHUNKS; n++)
		r = snap_pack(p, n, data, rig_len(n));
	ck_assert_int_eq(r, -ENOSPC);
	snap_packer_free(p);
	ck_assert_int_eq(snap_end(&w, image.data, 100), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(err_last(), "No space left"));
	snap_writer_free(&w);
	free(p);
	close(fd);
}
END_TEST

/* --- damage --- */

static const struct {
	enum snap_section_type section; /* 0: the header */
	const char *part;
} parts[] = { { 0, "its header" },
	      { SNAP_SECTION_TREE, "its tree is damaged" },
	      { SNAP_SECTION_INDEX, "its index is damaged" } };

/* what a flipped bit at @at of the header may be called */
static const char *header_part(uint64_t at, uint8_t bit)
{
	if (at < 8)
		return "is no snapshot";
	/* a version that may come has a header that may be another */
	if (at >= 8 && at < 10 && (1U ^ (uint32_t)bit << 8 * (at - 8)) > SNAP_VERSION)
		return "is of version";
	return "its header is damaged";
}

/* each bit of what is not memory */
START_TEST(test_flipped)
{
	struct image image cleanup_image = rig_image(1, 1);
	struct snap_section s = { .size = SNAP_PAGE };
	struct snap_file f;
	int fd = rig_fd(&image), r;

	if (parts[_i].section)
		s = *rig_section(&image, parts[_i].section);
	for (uint64_t i = s.at; i < s.at + s.size; i++)
		for (unsigned bit = 1; bit < 0x100; bit <<= 1) {
			uint8_t was = image.data[i], now = was ^ (uint8_t)bit;
			const char *part = _i ? parts[_i].part : header_part(i, (uint8_t)bit);

			ck_assert_int_eq(pwrite(fd, &now, 1, (off_t)i), 1);
			err_clear();
			r = snap_open(&f, fd, "NAME");
			ck_assert_msg(r < 0, "byte %lu: bit %#x is taken", (unsigned long)i, bit);
			ck_assert_msg(strstr(err_last(), part) != NULL,
				      "byte %lu: '%s' is not '%s'", (unsigned long)i, err_last(),
				      part);
			ck_assert_int_eq(pwrite(fd, &was, 1, (off_t)i), 1);
		}
	close(fd);
	whole(&image);
}
END_TEST

/* bytes of memory: the chunk is told, and the others are what they were */
START_TEST(test_flipped_data)
{
	struct image image cleanup_image = rig_image(1, 1);
	static uint8_t to[SNAP_CHUNK];
	struct snap_file f;
	int fd = rig_fd(&image), r;
	char chunk[32];

	ck_assert_int_eq(snap_open(&f, fd, "NAME"), 0);
	for (uint64_t n = 0; n < RIG_CHUNKS; n++) {
		struct snap_entry e = rig_entry(&image, n);
		uint32_t len = snap_stored(&e);

		snprintf(chunk, sizeof(chunk), "chunk %lu ", (unsigned long)n);
		for (uint32_t i = 0; i < len; i += i + 1 == len ? 1 : MIN(997U, len - 1 - i)) {
			uint8_t was = image.data[e.at + i], now = was ^ (uint8_t)(1U << i % 8);

			ck_assert_int_eq(pwrite(fd, &now, 1, (off_t)(e.at + i)), 1);
			r = snap_read(&f, n, to, rig_len(n), unpacker);
			ck_assert_msg(r == -EBADMSG && strstr(err_last(), chunk) &&
					      strstr(err_last(), "checksum"),
				      "chunk %lu, byte %u: %d, %s", (unsigned long)n, i, r,
				      err_last());
			r = snap_read(&f, (n + 1) % RIG_CHUNKS, to, rig_len((n + 1) % RIG_CHUNKS),
				      unpacker);
			ck_assert_int_eq(r, 0);
			ck_assert_int_eq(pwrite(fd, &was, 1, (off_t)(e.at + i)), 1);
		}
	}
	snap_close(&f);
	close(fd);
}
END_TEST

static void cut(const struct image *image, size_t size)
{
	struct image cut = { image->data, size };

	refused(&cut, size < SNAP_PAGE ? -EINVAL : -EBADMSG,
		size < SNAP_PAGE ? "is no snapshot" : "cut off");
}

START_TEST(test_cut)
{
	struct image image cleanup_image = rig_image(1, 1);
	const struct snap_header *h = rig_head(&image);

	for (size_t n = 0; n < SNAP_PAGE; n += n < 100 ? 1 : 999)
		cut(&image, n);
	cut(&image, SNAP_PAGE - 1);
	cut(&image, SNAP_PAGE);
	cut(&image, SNAP_PAGE + 1);
	for (size_t n = SNAP_PAGE; n < image.size; n += 9973)
		cut(&image, n);
	for (unsigned i = 0; i < h->sections; i++)
		for (unsigned k = 0; k < 3; k++) {
			cut(&image, h->section[i].at + k - 1);
			if (h->section[i].at + h->section[i].size + k - 1 < image.size)
				cut(&image, h->section[i].at + h->section[i].size + k - 1);
		}
	cut(&image, image.size - 1);
}
END_TEST

/* the same with a header that has the new size, as who cuts with intent would write it */
START_TEST(test_cut_with_intent)
{
	struct image image cleanup_image = rig_image(1, 1);
	struct snap_section tree = *rig_section(&image, SNAP_SECTION_TREE);
	struct snap_section index = *rig_section(&image, SNAP_SECTION_INDEX);
	const struct {
		size_t size;
		const char *part;
	} cuts[] = { { image.size - 1, "its index" }, { index.at + 1, "its index" },
		     { index.at, "its index" },	      { tree.at + tree.size - 1, "its tree" },
		     { tree.at, "its tree" },	      { tree.at - 1, "its tree" },
		     { SNAP_PAGE, "its tree" } };
	size_t size = image.size;

	for (unsigned i = 0; i < ARRAY_SIZE(cuts); i++) {
		image.size = cuts[i].size;
		rig_head(&image)->size = image.size;
		rig_seal(&image);
		refused(&image, -EBADMSG, cuts[i].part);
	}
	image.size = size;
}
END_TEST

START_TEST(test_added)
{
	struct image image cleanup_image = rig_image(1, 1);
	struct image more = { calloc(1, image.size + 1), image.size + 1 };

	memcpy(more.data, image.data, image.size);
	refused(&more, -EBADMSG, "added to");
	free(more.data);
	more = (struct image){ calloc(1, 1 << 20), 1 << 20 };
	refused(&more, -EINVAL, "did not come to its end");
	free(more.data);
}
END_TEST

/* --- lies, under good checksums --- */

static const uint32_t K_ZERO = (uint32_t)SNAP_ZERO << 28, K_FILL = (uint32_t)SNAP_FILL << 28,
		      K_RAW = (uint32_t)SNAP_RAW << 28, K_DEFLATE = (uint32_t)SNAP_DEFLATE << 28;

START_TEST(test_entries_that_lie)
{
	struct image good cleanup_image = rig_image(1, 1);
	uint64_t end = good.size;
	const struct snap_entry lies[] = {
		{ SNAP_PAGE, 4U << 28 | 8, 0 },
		{ SNAP_PAGE, 15U << 28 | 8, 0 },
		{ SNAP_PAGE, 4U << 28, 0 },
		{ 0, K_RAW | SNAP_CHUNK, 0 },
		{ SNAP_PAGE - 1, K_RAW | SNAP_CHUNK, 0 },
		{ SNAP_PAGE - 1, K_DEFLATE | 8, 0 },
		{ end - SNAP_CHUNK + 1, K_RAW | SNAP_CHUNK, 0 },
		{ end, K_DEFLATE | 1, 0 },
		{ end + 1, K_DEFLATE | 1, 0 },
		{ UINT64_MAX, K_DEFLATE | 1, 0 },
		{ UINT64_MAX - 7, K_RAW | SNAP_CHUNK, 0 },
		{ 1ULL << 63, K_DEFLATE | 8, 0 },
		{ SNAP_PAGE, K_RAW, 0 },
		{ SNAP_PAGE, K_DEFLATE, 0 },
		{ SNAP_PAGE, K_RAW | (SNAP_CHUNK + 1), 0 },
		{ SNAP_PAGE, K_DEFLATE | (SNAP_CHUNK + 1), 0 },
		{ SNAP_PAGE, K_DEFLATE | 0xfffffff, 0 },
		{ 1, K_ZERO, 0 },
		{ 0, K_ZERO | 1, 0 },
		{ 0, K_ZERO, 1 },
		{ 7, K_FILL | 8, 0 },
		{ 7, K_FILL, 8 },
	};
	char part[64];

	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		uint64_t n = i * 5 % RIG_CHUNKS;
		struct image image cleanup_image = rig_copy(&good);

		rig_set_entry(&image, n, lies[i]);
		rig_seal(&image);
		snprintf(part, sizeof(part), "its index makes no sense at chunk %lu",
			 (unsigned long)n);
		refused(&image, -EBADMSG, part);
	}
}
END_TEST

static size_t deflated(const void *data, size_t len, uint8_t *to, size_t room)
{
	z_stream z = { 0 };

	ck_assert_int_eq(deflateInit2(&z, 1, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (Bytef *)(uintptr_t)data;
	z.avail_in = (uInt)len;
	z.next_out = to;
	z.avail_out = (uInt)room;
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return room - z.avail_out;
}

/* a chunk whose bytes are what the index says, and not what they should be */
START_TEST(test_chunks_that_lie)
{
	struct image good cleanup_image = rig_image(1, 1);
	static uint8_t data[2 * SNAP_CHUNK], packed[2 * SNAP_CHUNK + 100];
	const uint64_t last = RIG_CHUNKS - 1;
	const struct {
		uint64_t n;
		enum snap_kind kind;
		size_t size, unpacked; /* in the file; of what is deflated */
		const char *why;
	} lies[] = {
		{ 2, SNAP_RAW, SNAP_CHUNK - 1, 0, "another length" },
		{ 2, SNAP_RAW, 8, 0, "another length" },
		{ last, SNAP_RAW, SNAP_CHUNK, 0, "another length" },
		{ last, SNAP_RAW, RIG_LAST - 8, 0, "another length" },
		{ 0, SNAP_DEFLATE, 0, SNAP_CHUNK - 1, "does not unpack to its length" },
		{ 0, SNAP_DEFLATE, 0, SNAP_CHUNK + 1, "does not unpack to its length" },
		{ 0, SNAP_DEFLATE, 0, 2 * SNAP_CHUNK, "does not unpack to its length" },
		{ 0, SNAP_DEFLATE, 0, 0, "does not unpack to its length" },
		{ last, SNAP_DEFLATE, 0, SNAP_CHUNK, "does not unpack to its length" },
		{ 1, SNAP_DEFLATE, 40, 0, "does not unpack to its length" },
	};

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i & 1 ? i >> 8 : 0xff);
	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		struct image image cleanup_image = rig_copy(&good);
		const void *bytes = lies[i].size ? data : packed;
		size_t size = lies[i].size
				      ? lies[i].size
				      : deflated(data, lies[i].unpacked, packed, sizeof(packed));

		rig_rechunk(&image, lies[i].n, lies[i].kind, bytes, size);
		rig_seal(&image);
		chunk_refused(&image, lies[i].n, lies[i].why);
	}
}
END_TEST

/* a stream that is cut, goes on behind its end, or is good */
START_TEST(test_streams)
{
	struct image good cleanup_image = rig_image(1, 1);
	static uint8_t data[SNAP_CHUNK], packed[SNAP_CHUNK + 100];
	size_t size;

	rig_fill(0, data);
	size = deflated(data, sizeof(data), packed, sizeof(packed));
	packed[size] = 0;
	for (unsigned k = 0; k < 4; k++) {
		struct image image cleanup_image = rig_copy(&good);
		size_t len = k == 0 ? size : k == 1 ? size - 1 : k == 2 ? size + 1 : 1;

		rig_rechunk(&image, 0, SNAP_DEFLATE, packed, len);
		rig_seal(&image);
		if (k)
			chunk_refused(&image, 0, "does not unpack to its length");
		else
			whole(&image);
	}
}
END_TEST

/* who is unpacked into has one chunk of room, whatever the stream would like */
START_TEST(test_never_past_its_length)
{
	struct image image cleanup_image = rig_image(1, 1);
	static uint8_t data[2 * SNAP_CHUNK], packed[2 * SNAP_CHUNK + 100];
	uint8_t *to = mmap(NULL, SNAP_CHUNK + 4096, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct snap_file f;
	int fd;

	ck_assert(to != MAP_FAILED);
	ck_assert_int_eq(mprotect(to + SNAP_CHUNK, 4096, PROT_NONE), 0);
	rig_rechunk(&image, 4, SNAP_DEFLATE, packed,
		    deflated(data, sizeof(data), packed, sizeof(packed)));
	rig_seal(&image);
	fd = rig_fd(&image);
	ck_assert_int_eq(snap_open(&f, fd, "NAME"), 0);
	ck_assert_int_eq(snap_read(&f, 4, to, SNAP_CHUNK, unpacker), -EBADMSG);
	ck_assert_int_eq(snap_read(&f, 3, to, SNAP_CHUNK, unpacker), 0);
	ck_assert_int_eq(snap_read(&f, RIG_CHUNKS - 1, to + SNAP_CHUNK - RIG_LAST, RIG_LAST,
				   unpacker),
			 0);
	snap_close(&f);
	close(fd);
	munmap(to, SNAP_CHUNK + 4096);
}
END_TEST

/* --- headers that lie --- */

static void no_tree(struct snap_header *h)
{
	h->section[0] = h->section[1];
	h->sections = 1;
}

static void no_index(struct snap_header *h)
{
	h->sections = 1;
}

static void no_sections(struct snap_header *h)
{
	h->sections = 0;
}

static void too_many_sections(struct snap_header *h)
{
	h->sections = SNAP_SECTIONS + 1;
}

static void most_sections(struct snap_header *h)
{
	h->sections = UINT32_MAX;
}

static void two_trees(struct snap_header *h)
{
	h->section[2] = (struct snap_section){ .type = SNAP_SECTION_TREE, .at = SNAP_PAGE };
	h->sections = 3;
}

static void two_indexes(struct snap_header *h)
{
	h->section[2] = (struct snap_section){ .type = SNAP_SECTION_INDEX, .at = SNAP_PAGE };
	h->sections = 3;
}

static void one_place(struct snap_header *h)
{
	h->section[1] = h->section[0];
	h->section[1].type = SNAP_SECTION_INDEX;
}

static void one_byte_shared(struct snap_header *h)
{
	h->section[1].at--;
	h->section[1].size++;
}

static void unknown_type(struct snap_header *h)
{
	h->section[2] = (struct snap_section){ .type = 77, .at = SNAP_PAGE, .size = 16 };
	h->sections = 3;
}

static void unknown_flag(struct snap_header *h)
{
	h->section[0].flags = 2;
}

static void optional_outside(struct snap_header *h)
{
	h->section[2] = (struct snap_section){
		.type = 77, .flags = SNAP_OPTIONAL, .at = h->size - 1, .size = 2
	};
	h->sections = 3;
}

static void in_the_header(struct snap_header *h)
{
	h->section[0].at = SNAP_PAGE - 1;
}

static void past_the_end(struct snap_header *h)
{
	h->section[1].at = h->size - h->section[1].size + 1;
}

static void far_away(struct snap_header *h)
{
	h->section[1].at = UINT64_MAX - 15;
}

static void endless(struct snap_header *h)
{
	h->section[0].size = UINT64_MAX;
}

static void no_index_bytes(struct snap_header *h)
{
	h->section[1].size -= 16;
}

static void one_chunk_more(struct snap_header *h)
{
	h->chunks++;
}

static void most_chunks(struct snap_header *h)
{
	h->chunks = UINT64_MAX;
}

static void wrapping_chunks(struct snap_header *h)
{
	h->chunks = (1ULL << 60) + RIG_CHUNKS;
}

static void smaller(struct snap_header *h)
{
	h->size--;
}

static void newer(struct snap_header *h)
{
	h->version = SNAP_VERSION + 1;
}

static void much_newer(struct snap_header *h)
{
	h->version = 0xffff;
}

static void absurd_version(struct snap_header *h)
{
	h->version = 1U << 20;
}

static void no_version(struct snap_header *h)
{
	h->version = 0;
}

static const struct {
	void (*lie)(struct snap_header *h);
	int want;
	const char *part;
} headers[] = {
	{ no_tree, -EBADMSG, "its tree is missing" },
	{ no_index, -EBADMSG, "its index is missing" },
	{ no_sections, -EBADMSG, "its tree is missing" },
	{ too_many_sections, -EBADMSG, "its header makes no sense" },
	{ most_sections, -EBADMSG, "its header makes no sense" },
	{ two_trees, -EBADMSG, "its tree is there twice" },
	{ two_indexes, -EBADMSG, "its index is there twice" },
	{ one_place, -EBADMSG, "its index lies where another part is" },
	{ one_byte_shared, -EBADMSG, "its index lies where another part is" },
	{ unknown_type, -ENOTSUP, "part of type 77" },
	{ unknown_flag, -ENOTSUP, "its tree, with flags of 0x2" },
	{ optional_outside, -EBADMSG, "part of type 77 lies outside" },
	{ in_the_header, -EBADMSG, "its tree lies outside" },
	{ past_the_end, -EBADMSG, "its index lies outside" },
	{ far_away, -EBADMSG, "its index lies outside" },
	{ endless, -EBADMSG, "its tree lies outside" },
	{ no_index_bytes, -EBADMSG, "its index is not as long" },
	{ one_chunk_more, -EBADMSG, "its index is not as long" },
	{ most_chunks, -EBADMSG, "more chunks than" },
	{ wrapping_chunks, -EBADMSG, "more chunks than" },
	{ smaller, -EBADMSG, "added to" },
	{ newer, -ENOTSUP, "is of version 2" },
	{ much_newer, -ENOTSUP, "is of version 65535" },
	{ absurd_version, -EBADMSG, "its header makes no sense" },
	{ no_version, -EBADMSG, "its header makes no sense" },
};

START_TEST(test_headers_that_lie)
{
	struct image image cleanup_image = rig_image(1, 1);

	headers[_i].lie(rig_head(&image));
	rig_seal(&image);
	refused(&image, headers[_i].want, headers[_i].part);
}
END_TEST

/* memory that lies flat is mapped as it is: all of it has to be there, and where the index says */
START_TEST(test_flat)
{
	struct image good cleanup_image = rig_image(0, 3);
	struct snap_entry e;

	whole(&good);
	for (unsigned lie = 0; lie < 6; lie++) {
		struct image image cleanup_image = rig_copy(&good);
		struct snap_section *s = rig_section(&image, SNAP_SECTION_FLAT);
		uint64_t n = 0;

		ck_assert_uint_eq(s->at, SNAP_PAGE);
		ck_assert_uint_eq(s->size, RIG_CHUNKS * (uint64_t)SNAP_CHUNK);
		while (rig_kind(n) != SNAP_DEFLATE)
			n++;
		e = rig_entry(&image, n);
		if (lie == 0)
			s->at += 8;
		else if (lie == 1)
			s->size -= SNAP_CHUNK;
		else if (lie == 2)
			s->size += SNAP_PAGE;
		else if (lie == 3)
			e.at += SNAP_PAGE;
		else if (lie == 4)
			e.what = (uint32_t)SNAP_DEFLATE << 28 | 8;
		else
			e = (struct snap_entry){ .at = 7, .what = (uint32_t)SNAP_FILL << 28 };
		rig_set_entry(&image, n, e);
		rig_seal(&image);
		refused(&image, -EBADMSG, "flat memory");
	}
}
END_TEST

/* a part of a newer hutch's that says it may be passed over is passed over */
START_TEST(test_optional)
{
	struct image image cleanup_image = rig_image(1, 1);
	struct snap_header *h = rig_head(&image);
	static const char text[] = "of no use to anybody";
	uint64_t at = rig_append(&image, text, sizeof(text));

	h = rig_head(&image);
	h->section[h->sections++] = (struct snap_section){
		.type = 77, .flags = SNAP_OPTIONAL, .at = at, .size = sizeof(text)
	};
	rig_seal(&image);
	whole(&image);
}
END_TEST

START_TEST(test_trees_that_are_none)
{
	struct image good cleanup_image = rig_image(1, 1);
	static uint8_t noise[4096];
	void *tree = NULL;
	int size = rig_tree(&tree);

	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)(i * 7);
	for (unsigned k = 0; k < 5; k++) {
		struct image image cleanup_image = rig_copy(&good);
		uint8_t *p = tree;

		if (k == 0)
			rig_retree(&image, noise, sizeof(noise));
		if (k == 1)
			rig_retree(&image, noise, 0);
		if (k == 2) /* it says that it is longer than it is */
			rig_retree(&image, tree, (size_t)size - 1);
		if (k == 3) /* its first node has no end */
			fdt_set_size_dt_struct(tree, fdt_size_dt_struct(tree) - 4);
		if (k == 4) { /* a property's name lies behind the names */
			fdt_set_size_dt_struct(tree, fdt_size_dt_struct(tree) + 4);
			memset(p + fdt_off_dt_struct(tree) + 16, 0xee, 4);
		}
		if (k > 2)
			rig_retree(&image, tree, (size_t)size);
		rig_seal(&image);
		refused(&image, -EBADMSG, "its tree is no valid tree");
	}
	free(tree);
}
END_TEST

/* --- what is no file --- */

static void no_file(const char *path, bool look, const char *why)
{
	struct hutch *h = hutch_new();
	struct hutch_snap snap;
	int r;

	alarm(10);
	r = hutch_restore(h, path);
	ck_assert_msg(r < 0 && strstr(hutch_error(h), path), "%s: %d %s", path, r, hutch_error(h));
	ck_assert_msg(strstr(hutch_error(h), why) != NULL, "%s: '%s' is not '%s'", path,
		      hutch_error(h), why);
	r = hutch_snap_look(h, path, &snap, NULL);
	ck_assert_msg(look ? r > 0 : r < 0 && strstr(hutch_error(h), why), "%s: %d %s", path, r,
		      hutch_error(h));
	r = hutch_snap_verify(h, path);
	ck_assert_msg(look ? !r : r < 0 && strstr(hutch_error(h), why), "%s: %d %s", path, r,
		      hutch_error(h));
	alarm(0);
	hutch_free(h);
}

START_TEST(test_no_file)
{
	struct image image cleanup_image = rig_image(1, 1);
	char folder[] = "/tmp/hutch-t_snap_file.XXXXXX", path[64], link[64];
	struct hutch *h = hutch_new();
	int fd;

	ck_assert_ptr_nonnull(mkdtemp(folder));
	no_file(folder, false, "something else than a file");
	no_file("/dev/null", false, "something else than a file");
	no_file("/dev/zero", false, "something else than a file");
	snprintf(path, sizeof(path), "%s/none", folder);
	no_file(path, false, "No such file");
	snprintf(path, sizeof(path), "%s/fifo", folder);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	no_file(path, false, "something else than a file");
	unlink(path);

	snprintf(path, sizeof(path), "%s/file", folder);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	no_file(path, false, "it has 0 bytes");
	ck_assert_int_eq(write(fd, image.data, image.size), (ssize_t)image.size);
	ck_assert_msg(!hutch_restore(h, path), "%s", hutch_error(h));
	ck_assert_int_eq(hutch_restore(h, path), -EBUSY);
	hutch_free(h);
	/* anybody may look into it, but nobody is led by it */
	ck_assert_int_eq(fchmod(fd, 0602), 0);
	no_file(path, true, "may be written by anybody");
	ck_assert_int_eq(fchmod(fd, 0600), 0);
	if (!geteuid()) {
		ck_assert_int_eq(fchown(fd, 12345, 12345), 0);
		no_file(path, true, "is user 12345's");
		ck_assert_int_eq(fchown(fd, 0, 0), 0);
	}
	snprintf(link, sizeof(link), "%s/link", folder);
	ck_assert_int_eq(symlink("link", link), 0);
	no_file(link, false, "symbolic links");
	close(fd);
	unlink(link);
	unlink(path);
	rmdir(folder);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snap_file");
	TCase *tc = tcase_create("snap_file");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_round, 0, ARRAY_SIZE(ways));
	tcase_add_test(tc, test_no_byte_is_without_a_checksum);
	tcase_add_test(tc, test_full);
	tcase_add_loop_test(tc, test_flipped, 0, ARRAY_SIZE(parts));
	tcase_add_test(tc, test_flipped_data);
	tcase_add_test(tc, test_cut);
	tcase_add_test(tc, test_cut_with_intent);
	tcase_add_test(tc, test_added);
	tcase_add_test(tc, test_entries_that_lie);
	tcase_add_test(tc, test_chunks_that_lie);
	tcase_add_test(tc, test_streams);
	tcase_add_test(tc, test_never_past_its_length);
	tcase_add_loop_test(tc, test_headers_that_lie, 0, ARRAY_SIZE(headers));
	tcase_add_test(tc, test_optional);
	tcase_add_test(tc, test_flat);
	tcase_add_test(tc, test_trees_that_are_none);
	tcase_add_test(tc, test_no_file);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
