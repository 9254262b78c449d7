/*
 * t_snap_pieces - what was written to disks in a snapshot's file: it comes back, also out of a
 * child and a copy, and no damage and no lie gets by
 */
#include <sys/mman.h>
#include <unistd.h>

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

static void fd_closep(int *fd)
{
	close(*fd);
}
#define cleanup_close cleanup(fd_closep)

static void opened(struct snap_file *f, int fd)
{
	err_clear();
	ck_assert_msg(!snap_open(f, fd, "NAME"), "%s", err_last());
}

static int read_piece(const struct snap_file *f, uint64_t i, uint8_t to[SNAP_CHUNK])
{
	memset(to, 0, SNAP_CHUNK);
	return snap_read(f, f->head.chunks + i, to, SNAP_CHUNK, unpacker);
}

/* all pieces are there and what rig_fill_piece() says */
static void has_pieces(const struct snap_file *f)
{
	static uint8_t is[SNAP_CHUNK], want[SNAP_CHUNK];

	ck_assert_uint_eq(f->pieces, RIG_PIECES);
	for (uint64_t i = 0; i < RIG_PIECES; i++) {
		ck_assert_uint_eq(f->piece[i], rig_piece(i));
		rig_fill_piece(i, want);
		ck_assert_msg(!read_piece(f, i, is), "%s", err_last());
		ck_assert_msg(!memcmp(is, want, SNAP_CHUNK), "piece %lu is another",
			      (unsigned long)i);
	}
}

/* its memory, which is packed before the pieces */
static void has_memory(const struct snap_file *f, bool small)
{
	static uint8_t is[SNAP_CHUNK], want[SNAP_CHUNK];

	for (uint64_t n = 0; n < RIG_CHUNKS; n++) {
		memset(is, 0, sizeof(is));
		memset(want, 0, sizeof(want));
		if (!small || n < RIG_KINDS)
			rig_fill(n, want);
		ck_assert_msg(!snap_read(f, n, is, rig_len(n), unpacker), "%s", err_last());
		ck_assert_msg(!memcmp(is, want, sizeof(want)), "chunk %lu is another",
			      (unsigned long)n);
	}
}

/* it is taken, and tells of its machine what is in this */
static struct conf *checked(const struct snap_file *f)
{
	struct conf *conf = calloc(1, sizeof(*conf));
	struct snap_info info = { .disks = 0 };

	ck_assert_ptr_nonnull(conf);
	ck_assert_msg(!snap_check(f, &info, conf), "%s", err_last());
	ck_assert_msg(!snap_verify(f, conf), "%s", err_last());
	return conf;
}

/* --- what is written comes back --- */

static const struct {
	int level;
	unsigned threads;
} ways[] = { { 1, 1 }, { 0, 1 }, { 9, 1 }, { 1, 5 }, { 0, 16 } };

START_TEST(test_round)
{
	struct image image cleanup_image = rig_image_with_pieces(ways[_i].level, ways[_i].threads);
	int fd cleanup_close = rig_fd(&image);
	unsigned seen[SNAP_KINDS] = { 0 };
	struct snap_file f;

	opened(&f, fd);
	has_memory(&f, true);
	has_pieces(&f);
	free(checked(&f));
	for (uint64_t i = 0; i < RIG_PIECES; i++) {
		const struct snap_entry *e = &f.entry[RIG_CHUNKS + i];
		enum snap_kind want = rig_piece_kind(i);

		if (want == SNAP_DEFLATE && !ways[_i].level)
			want = SNAP_RAW;
		ck_assert_msg(snap_kind(e) == want, "piece %lu is of kind %u, not %u",
			      (unsigned long)i, snap_kind(e), want);
		seen[want]++;
		/* what is mapped as memory is memory alone */
		ck_assert(!snap_stored(e) || ways[_i].level ||
			  e->at >= f.flat + RIG_CHUNKS * (uint64_t)SNAP_CHUNK);
	}
	ck_assert(!f.flat == !!ways[_i].level);
	ck_assert(seen[SNAP_ZERO] && seen[SNAP_FILL] && seen[SNAP_RAW]);
	snap_close(&f);
	ck_assert(!f.piece && !f.pieces);
}
END_TEST

/* every byte of the file belongs to something that has a checksum, and to one thing alone */
START_TEST(test_no_byte_is_without_a_checksum)
{
	struct image image cleanup_image = rig_image_with_pieces(1, 3);
	int fd cleanup_close = rig_fd(&image);
	uint8_t *owners = calloc(1, image.size);
	struct snap_file f;

	opened(&f, fd);
	memset(owners, 1, SNAP_PAGE);
	for (unsigned s = 0; s < f.head.sections; s++)
		for (uint64_t i = 0; i < f.head.section[s].size; i++)
			owners[f.head.section[s].at + i]++;
	for (uint64_t n = 0; n < RIG_CHUNKS + RIG_PIECES; n++)
		for (uint64_t i = 0; i < snap_stored(&f.entry[n]); i++)
			owners[f.entry[n].at + i]++;
	for (size_t i = 0; i < image.size; i++)
		ck_assert_msg(owners[i] == 1, "byte %zu belongs to %u", i, owners[i]);
	snap_close(&f);
	free(owners);
}
END_TEST

/* each piece has a place of its own, which does not wrap around */
START_TEST(test_places)
{
	const uint64_t most = (1ULL << 48) - 1, n[] = { 0, 1, 1 << 20, 1ULL << 40, most };
	const uint64_t any[] = { most, most + 1, 1ULL << 55, 1ULL << 63, UINT64_MAX };

	for (unsigned disk = 0; disk < 3; disk++)
		for (unsigned i = 0; i < ARRAY_SIZE(n); i++) {
			ck_assert_uint_eq(snap_piece_disk(SNAP_PIECE(disk, n[i])), disk);
			ck_assert_uint_eq(snap_piece_at(SNAP_PIECE(disk, n[i])) / SNAP_CHUNK, n[i]);
		}
	for (unsigned i = 0; i < ARRAY_SIZE(any); i++)
		ck_assert_uint_eq(SNAP_PIECE(snap_piece_disk(any[i]),
					     snap_piece_at(any[i]) / SNAP_CHUNK),
				  any[i]);
	ck_assert_uint_eq(snap_piece_at(UINT64_MAX), UINT64_MAX - SNAP_CHUNK + 1);
	ck_assert_uint_ge(snap_piece_disk(UINT64_MAX), CONF_DISKS);
}
END_TEST

/* --- children and copies --- */

static struct snap_file *open_parent(const struct image *image)
{
	struct snap_file *p = calloc(1, sizeof(*p));

	ck_assert_ptr_nonnull(p);
	opened(p, rig_fd(image));
	return p;
}

static void open_child(struct snap_file *f, int fd, const struct image *parent)
{
	opened(f, fd);
	ck_assert_msg(!snap_adopt(f, open_parent(parent)), "%s", err_last());
}

/* a child's pieces are its own, whatever its parent has; also none */
START_TEST(test_child)
{
	struct image without cleanup_image = rig_image(1, 2);
	struct image with cleanup_image = rig_image_with_pieces(1, 1);
	const struct image *parent = _i & 1 ? &with : &without;
	struct image child cleanup_image =
		_i < 4 ? rig_child_with_pieces(parent, 1, _i / 2, "parent")
		       : rig_child(parent, 1, 1, "parent");
	int fd cleanup_close = rig_fd(&child);
	struct snap_file f;

	opened(&f, fd); /* nobody has to have the parent for them */
	if (_i < 4)
		has_pieces(&f);
	snap_close(&f);
	open_child(&f, fd, parent);
	if (_i < 4)
		has_pieces(&f);
	else
		ck_assert(!f.pieces && !f.piece);
	free(checked(&f));
	snap_close(&f);
}
END_TEST

/* a child with its parent, as one that needs none: flat, and its pieces go along */
START_TEST(test_whole)
{
	struct image parent cleanup_image = rig_image(1, 2);
	struct image child cleanup_image = rig_child_with_pieces(&parent, 1, 1, "parent");
	int fd cleanup_close = rig_fd(&child), to cleanup_close = memfd_create("w", MFD_CLOEXEC);
	static uint8_t is[SNAP_CHUNK], want[SNAP_CHUNK];
	struct snap_file f, w;
	struct conf *conf;

	open_child(&f, fd, &parent);
	conf = checked(&f);
	ck_assert_msg(!snap_whole(&f, conf, to), "%s", err_last());
	opened(&w, to);
	ck_assert(!w.wanted && w.flat);
	has_pieces(&w);
	for (uint64_t n = 0; n < RIG_CHUNKS; n++) {
		memset(is, 0, sizeof(is));
		rig_fill_child(1, n, want);
		ck_assert_int_eq(snap_read(&w, n, is, rig_len(n), unpacker), 0);
		ck_assert(!memcmp(is, want, rig_len(n)));
	}
	free(checked(&w));
	snap_close(&w);
	snap_close(&f);
	free(conf);
}
END_TEST

/* a whole one becomes a child, which has them too */
START_TEST(test_made_a_child)
{
	struct image whole cleanup_image = rig_image_with_pieces(0, 1);
	struct image parent cleanup_image = rig_image(1, 2);
	int fd cleanup_close = rig_fd(&whole), to cleanup_close = memfd_create("c", MFD_CLOEXEC);
	struct snap_parent what = { .chunks = RIG_CHUNKS, .path = "parent" };
	struct snap_file f, c, *p = open_parent(&parent);
	struct conf *conf;

	memcpy(what.id, p->head.id, sizeof(what.id));
	what.index_crc = snap_index_crc(p);
	opened(&f, fd);
	conf = checked(&f);
	ck_assert_msg(!snap_make_child(&f, conf, p, to, _i), "%s", err_last());
	ck_assert_msg(!snap_add_parent(to, &what), "%s", err_last());
	opened(&c, to);
	ck_assert_msg(!snap_adopt(&c, p), "%s", err_last());
	ck_assert_uint_eq(snap_kind(&c.entry[0]), SNAP_PARENT); /* it is one */
	has_pieces(&c);
	has_memory(&c, true);
	free(checked(&c));
	snap_close(&c);
	snap_close(&f);
	free(conf);
}
END_TEST

/* what a copy cannot read it does not leave out */
START_TEST(test_damaged_is_not_copied)
{
	struct image image cleanup_image = rig_image_with_pieces(1, 1);
	int to cleanup_close = memfd_create("w", MFD_CLOEXEC), fd;
	struct snap_file f;
	struct snap_entry e;
	struct conf *conf;

	rig_piece_of(&image, 1, &e);
	fd = rig_fd(&image);
	opened(&f, fd);
	conf = checked(&f);
	image.data[e.at] ^= 1;
	ck_assert_int_eq(pwrite(fd, image.data + e.at, 1, (off_t)e.at), 1);
	err_clear();
	ck_assert_int_eq(snap_whole(&f, conf, to), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(err_last(), "piece 1 of its disks is damaged"));
	snap_close(&f);
	free(conf);
	close(fd);
}
END_TEST

/* --- damage --- */

/* each bit of the list */
START_TEST(test_flipped)
{
	struct image image cleanup_image = rig_image_with_pieces(1, 1);
	const struct snap_section *s = rig_section(&image, SNAP_SECTION_DISKS);
	int fd cleanup_close = rig_fd(&image), r;
	struct snap_file f;

	ck_assert_uint_eq(s->size, RIG_PIECES * RIG_PIECE_SIZE);
	for (uint64_t i = s->at; i < s->at + s->size; i++)
		for (unsigned bit = 1; bit < 0x100; bit <<= 1) {
			uint8_t was = image.data[i], now = was ^ (uint8_t)bit;

			ck_assert_int_eq(pwrite(fd, &now, 1, (off_t)i), 1);
			err_clear();
			r = snap_open(&f, fd, "NAME");
			ck_assert_msg(r == -EBADMSG, "byte %lu: bit %#x: %d", (unsigned long)i, bit,
				      r);
			ck_assert_msg(strstr(err_last(), "NAME: its list of disks is damaged") !=
					      NULL,
				      "%s", err_last());
			ck_assert(!f.tree && !f.entry && !f.piece && !f.pieces);
			ck_assert_int_eq(pwrite(fd, &was, 1, (off_t)i), 1);
		}
	opened(&f, fd);
	has_pieces(&f);
	snap_close(&f);
}
END_TEST

static void damaged(const struct snap_file *f, uint64_t i, const char *why)
{
	static uint8_t to[SNAP_CHUNK];
	char part[64];
	int r;

	err_clear();
	r = read_piece(f, i, to);
	snprintf(part, sizeof(part), "NAME: piece %lu of its disks is damaged", (unsigned long)i);
	ck_assert_msg(r == -EBADMSG && strstr(err_last(), part) && strstr(err_last(), why),
		      "piece %lu: %d, %s", (unsigned long)i, r, err_last());
}

/* bytes of pieces: which one is told, and the others are what they were */
START_TEST(test_flipped_data)
{
	struct image image cleanup_image = rig_image_with_pieces(1, 1);
	int fd cleanup_close = rig_fd(&image);
	static uint8_t to[SNAP_CHUNK];
	struct snap_file f;
	struct conf *conf;
	unsigned tried = 0;

	opened(&f, fd);
	conf = checked(&f);
	for (uint64_t i = 0; i < RIG_PIECES; i++) {
		const struct snap_entry *e = &f.entry[RIG_CHUNKS + i];
		uint32_t len = snap_stored(e);

		for (uint32_t at = 0; at < len;
		     at += at + 1 == len ? 1 : MIN(4999U, len - 1 - at)) {
			uint8_t was = image.data[e->at + at], now = was ^ (uint8_t)(1U << at % 8);

			ck_assert_int_eq(pwrite(fd, &now, 1, (off_t)(e->at + at)), 1);
			damaged(&f, i, "its checksum is wrong");
			ck_assert_int_eq(read_piece(&f, (i + 1) % RIG_PIECES, to), 0);
			if (!at) {
				err_clear();
				ck_assert_int_eq(snap_verify(&f, conf), -EBADMSG);
				ck_assert_ptr_nonnull(
					strstr(err_last(), "of its disks is damaged"));
			}
			ck_assert_int_eq(pwrite(fd, &was, 1, (off_t)(e->at + at)), 1);
			tried++;
		}
	}
	ck_assert_uint_gt(tried, 5 * 7);
	ck_assert_int_eq(snap_verify(&f, conf), 0);
	has_pieces(&f);
	/* and one whose bytes have gone since it was opened */
	ck_assert_int_eq(ftruncate(fd, (off_t)f.entry[RIG_CHUNKS + 1].at + 8), 0);
	ck_assert_int_eq(read_piece(&f, 1, to), -EBADMSG);
	ck_assert_msg(strstr(err_last(), "piece 1 of its disks is cut off") != NULL, "%s",
		      err_last());
	snap_close(&f);
	free(conf);
}
END_TEST

/* --- lies, under good checksums --- */

static void refused(const struct image *image, int want, const char *part)
{
	int fd cleanup_close = rig_fd(image), r;
	struct snap_file f;

	err_clear();
	r = snap_open(&f, fd, "NAME");
	ck_assert_msg(r == want, "%s: %d, not %d: %s", part, r, want, err_last());
	ck_assert_msg(strstr(err_last(), part) && strstr(err_last(), "NAME"),
		      "'%s' does not tell of '%s'", err_last(), part);
	ck_assert(!f.tree && !f.entry && !f.piece && !f.pieces);
}

static void not_whole(struct image *x)
{
	rig_section(x, SNAP_SECTION_DISKS)->size -= 1;
}

static void half_of_one(struct image *x)
{
	rig_section(x, SNAP_SECTION_DISKS)->size -= sizeof(struct snap_entry);
}

static void empty(struct image *x)
{
	rig_section(x, SNAP_SECTION_DISKS)->size = 0;
}

static void one_less(struct image *x)
{
	rig_section(x, SNAP_SECTION_DISKS)->size -= RIG_PIECE_SIZE;
}

static void outside(struct image *x)
{
	rig_section(x, SNAP_SECTION_DISKS)->at++;
}

static void endless(struct image *x)
{
	rig_section(x, SNAP_SECTION_DISKS)->size = UINT64_MAX / 24 * 24;
}

static void in_the_header(struct image *x)
{
	rig_section(x, SNAP_SECTION_DISKS)->at = SNAP_PAGE - 8;
}

static void on_the_index(struct image *x)
{
	rig_section(x, SNAP_SECTION_DISKS)->at -= 1;
}

static void unknown_flag(struct image *x)
{
	rig_section(x, SNAP_SECTION_DISKS)->flags = 2;
}

static void twice(struct image *x)
{
	struct snap_section s = *rig_section(x, SNAP_SECTION_DISKS);
	struct image was cleanup_image = rig_copy(x);

	s.at = rig_append(x, was.data + s.at, s.size);
	rig_head(x)->section[rig_head(x)->sections++] = s;
}

static void twice_and_empty(struct image *x)
{
	rig_head(x)->section[rig_head(x)->sections++] =
		(struct snap_section){ .type = SNAP_SECTION_DISKS, .at = SNAP_PAGE };
}

static void swap(struct image *x, uint64_t i, uint64_t k)
{
	struct snap_entry a, b;
	uint64_t at = rig_piece_of(x, i, &a), other = rig_piece_of(x, k, &b);

	rig_set_piece(x, i, other, b);
	rig_set_piece(x, k, at, a);
}

static void out_of_order(struct image *x)
{
	swap(x, 1, 2);
}

static void disks_out_of_order(struct image *x)
{
	swap(x, 2, 3);
}

static void same_again(struct image *x)
{
	struct snap_entry e;
	uint64_t at = rig_piece_of(x, 4, &e);

	rig_set_piece(x, 5, at, e);
}

static const struct {
	void (*lie)(struct image *x);
	int want;
	const char *part;
} lists[] = {
	{ not_whole, -EBADMSG, "its list of disks has no whole pieces" },
	{ half_of_one, -EBADMSG, "its list of disks has no whole pieces" },
	{ empty, -EBADMSG, "its list of disks has no whole pieces" },
	{ one_less, -EBADMSG, "its disks make no sense at piece 0" },
	{ outside, -EBADMSG, "its list of disks lies outside of the file" },
	{ endless, -EBADMSG, "its list of disks lies outside of the file" },
	{ in_the_header, -EBADMSG, "its list of disks lies outside of the file" },
	{ on_the_index, -EBADMSG, "its list of disks lies where another part is" },
	{ unknown_flag, -ENOTSUP, "its list of disks, with flags of 0x2" },
	{ twice, -EBADMSG, "its list of disks is there twice" },
	{ twice_and_empty, -EBADMSG, "its list of disks is there twice" },
	{ out_of_order, -EBADMSG, "its disks make no sense at piece 2" },
	{ disks_out_of_order, -EBADMSG, "its disks make no sense at piece 3" },
	{ same_again, -EBADMSG, "its disks make no sense at piece 5" },
};

START_TEST(test_lists_that_lie)
{
	struct image image cleanup_image = rig_image_with_pieces(_i & 1, 1);

	lists[_i / 2].lie(&image);
	rig_seal(&image);
	refused(&image, lists[_i / 2].want, lists[_i / 2].part);
}
END_TEST

static const uint32_t K_ZERO = (uint32_t)SNAP_ZERO << 28, K_FILL = (uint32_t)SNAP_FILL << 28,
		      K_RAW = (uint32_t)SNAP_RAW << 28, K_DEFLATE = (uint32_t)SNAP_DEFLATE << 28,
		      K_PARENT = (uint32_t)SNAP_PARENT << 28;

static void entries_refused(const struct image *good)
{
	uint64_t end = good->size;
	const struct snap_entry lies[] = {
		{ 0, K_PARENT, 0 },
		{ SNAP_PAGE, (uint32_t)SNAP_KINDS << 28 | 8, 0 },
		{ SNAP_PAGE, 15U << 28 | 8, 0 },
		{ 0, K_RAW | SNAP_CHUNK, 0 },
		{ SNAP_PAGE - 1, K_RAW | SNAP_CHUNK, 0 },
		{ end - SNAP_CHUNK + 1, K_RAW | SNAP_CHUNK, 0 },
		{ end, K_DEFLATE | 1, 0 },
		{ UINT64_MAX, K_DEFLATE | 1, 0 },
		{ UINT64_MAX - 7, K_RAW | SNAP_CHUNK, 0 },
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
		struct image image cleanup_image = rig_copy(good);

		rig_set_piece(&image, i % RIG_PIECES, rig_piece(i % RIG_PIECES), lies[i]);
		rig_seal(&image);
		snprintf(part, sizeof(part), "its disks make no sense at piece %u", i % RIG_PIECES);
		refused(&image, -EBADMSG, part);
	}
}

/* also in a child, whose memory may be its parent's, and whose disks may not */
START_TEST(test_entries_that_lie)
{
	struct image parent cleanup_image = rig_small_image();
	struct image good cleanup_image = _i < 2 ? rig_image_with_pieces(_i, 1)
						 : rig_child_with_pieces(&parent, 1, 1, "parent");

	entries_refused(&good);
}
END_TEST

/* pieces that are taken, and are not 64 KiB when they are read */
START_TEST(test_pieces_that_lie)
{
	struct image image cleanup_image = rig_image_with_pieces(1, 1);
	static const uint8_t stream[] = { 3, 0 },
			     bytes[SNAP_CHUNK]; /* one of nothing, and a good end */
	const struct snap_entry lies[] = {
		{ rig_append(&image, bytes, sizeof(bytes)), K_RAW | (SNAP_CHUNK - 8),
		  (uint32_t)crc32_z(0, bytes, SNAP_CHUNK - 8) },
		{ rig_append(&image, stream, sizeof(stream)), K_DEFLATE | sizeof(stream),
		  (uint32_t)crc32_z(0, stream, sizeof(stream)) },
		{ SNAP_PAGE, K_RAW | SNAP_CHUNK, 1 },
	};
	static const char *const why[] = { "it has another length",
					   "it does not unpack to its length",
					   "its checksum is wrong" };
	struct snap_file f;
	int fd;

	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++)
		rig_set_piece(&image, i, rig_piece(i), lies[i]);
	rig_seal(&image);
	fd = rig_fd(&image);
	opened(&f, fd);
	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++)
		damaged(&f, i, why[i]);
	snap_close(&f);
	close(fd);
}
END_TEST

/* cut at each boundary of the list: by accident, by who has the header say so, and the list as well
 */
START_TEST(test_cut)
{
	struct image image cleanup_image = rig_image_with_pieces(_i, 1);
	struct snap_section s = *rig_section(&image, SNAP_SECTION_DISKS);
	static const char none[] = "its list of disks has no whole pieces",
			  other[] = "its disks make no sense at piece";
	const struct {
		size_t size;
		const char *part;
	} cuts[] = { { 0, none },
		     { 1, none },
		     { RIG_PIECE_SIZE, other },
		     { RIG_PIECES * sizeof(uint64_t) - 1, none },
		     { RIG_PIECES * sizeof(uint64_t), none },
		     { s.size - RIG_PIECE_SIZE, other },
		     { s.size - sizeof(struct snap_entry), none },
		     { s.size - 1, none } };

	ck_assert_uint_eq(s.at + s.size, image.size); /* it is the last */
	for (unsigned i = 0; i < ARRAY_SIZE(cuts); i++) {
		struct image cut cleanup_image = rig_copy(&image);

		cut.size = s.at + cuts[i].size;
		refused(&cut, -EBADMSG, "cut off");
		rig_head(&cut)->size = cut.size;
		rig_seal(&cut);
		refused(&cut, -EBADMSG, "its list of disks lies outside of the file");
		rig_section(&cut, SNAP_SECTION_DISKS)->size = cuts[i].size;
		rig_seal(&cut);
		refused(&cut, -EBADMSG, cuts[i].part);
	}
}
END_TEST

/* --- and its machine --- */

/* a piece is of a disk that the machine has, and whose overlay is in the snapshot */
START_TEST(test_machine)
{
	struct image image cleanup_image = rig_image_with_pieces(1, 1);
	struct snap_info info = { .disks = 0 };
	struct conf *conf = calloc(1, sizeof(*conf));
	struct snap_entry e;
	struct snap_file f;
	void *tree = NULL;
	int fd, size;

	if (_i) {
		rig_piece_of(&image, RIG_PIECES - 1, &e);
		rig_set_piece(&image, RIG_PIECES - 1, SNAP_PIECE(2, 0), e);
	} else { /* a machine without disks */
		size = rig_tree(&tree);
		rig_retree(&image, tree, (size_t)size);
	}
	rig_seal(&image);
	fd = rig_fd(&image);
	opened(&f, fd);
	err_clear();
	ck_assert_int_eq(snap_check(&f, &info, conf), -EBADMSG);
	ck_assert_msg(strstr(err_last(), _i ? "piece 7 of its disks is of disk 2, which is not in"
					    : "piece 0 of its disks is of disk 0, which is not in"),
		      "%s", err_last());
	snap_close(&f);
	free(tree);
	free(conf);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snap_pieces");
	TCase *tc = tcase_create("snap_pieces");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_round, 0, ARRAY_SIZE(ways));
	tcase_add_test(tc, test_no_byte_is_without_a_checksum);
	tcase_add_test(tc, test_places);
	tcase_add_loop_test(tc, test_child, 0, 6);
	tcase_add_test(tc, test_whole);
	tcase_add_loop_test(tc, test_made_a_child, 0, 2);
	tcase_add_test(tc, test_damaged_is_not_copied);
	tcase_add_test(tc, test_flipped);
	tcase_add_test(tc, test_flipped_data);
	tcase_add_loop_test(tc, test_lists_that_lie, 0, 2 * ARRAY_SIZE(lists));
	tcase_add_loop_test(tc, test_entries_that_lie, 0, 3);
	tcase_add_test(tc, test_pieces_that_lie);
	tcase_add_loop_test(tc, test_cut, 0, 2);
	tcase_add_loop_test(tc, test_machine, 0, 2);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
