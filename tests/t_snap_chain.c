/* t_snap_chain - snapshots that are the changes of another: found, refused, read through a chain */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hutch.h"
#include "snap_rig.h"
#include "suite.h"

#define CHAIN 5U

static char folder[64];
static struct snap_unpacker *unpacker;

static void setup(void)
{
	snprintf(folder, sizeof(folder), "/tmp/hutch-t_snap_chain.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	unpacker = malloc(sizeof(*unpacker));
	ck_assert(unpacker && !snap_unpacker_init(unpacker));
}

static void teardown(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
	snap_unpacker_free(unpacker);
	free(unpacker);
}

static const char *in_folder(const char *name)
{
	static char path[4][128];
	static unsigned at;

	snprintf(path[++at % 4], sizeof(path[0]), "%s/%s", folder, name);
	return path[at % 4];
}

static void put_file(const char *name, const struct image *image)
{
	int fd = open(in_folder(name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert(fd >= 0 && write(fd, image->data, image->size) == (ssize_t)image->size);
	close(fd);
}

static struct image file(const char *name)
{
	int fd = open(in_folder(name), O_RDONLY | O_CLOEXEC);
	struct image image;

	ck_assert_int_ge(fd, 0);
	image = rig_of_fd(fd);
	close(fd);
	return image;
}

/* 0.snap has it all, each of the next ones a fifth; each says where the one before it is */
static void make_chain(unsigned n)
{
	static const int level[] = { 1, 1, 0, 9, 6, 1 };
	struct image image = rig_image(1, 2), child;
	char name[16], parent[16];

	put_file("0.snap", &image);
	for (unsigned i = 1; i <= n; i++) {
		snprintf(parent, sizeof(parent), "%u.snap", i - 1);
		snprintf(name, sizeof(name), "%u.snap", i);
		child = rig_child(&image, i, level[i % ARRAY_SIZE(level)], parent);
		put_file(name, &child);
		free(image.data);
		image = child;
	}
	free(image.data);
}

static int open_chain(struct snap_file *f, const char *path, bool any)
{
	int fd = snap_open_path(path, any), r = fd < 0 ? fd : snap_open(f, fd, path);

	if (!r)
		r = snap_open_parents(f, path, any);
	if (r && fd >= 0) {
		snap_close(f);
		close(fd);
	}
	return r;
}

static void close_chain(struct snap_file *f)
{
	snap_close(f);
	close(f->fd);
}

/* all of it, through the whole chain */
static void whole(const char *path, unsigned generation)
{
	static uint8_t to[SNAP_CHUNK], want[SNAP_CHUNK];
	struct snap_file f;

	ck_assert_msg(!open_chain(&f, path, false), "%s: %s", path, err_last());
	for (uint64_t n = 0; n < RIG_CHUNKS; n++) {
		memset(to, 0, sizeof(to));
		rig_fill_child(generation, n, want);
		ck_assert_msg(!snap_read(&f, n, to, rig_len(n), unpacker), "%s", err_last());
		ck_assert_msg(!memcmp(to, want, rig_len(n)), "%s: chunk %lu is another", path,
			      (unsigned long)n);
	}
	close_chain(&f);
}

/* it is not opened, and what is said of it has both parts */
static void refused(const char *path, int want, const char *part, const char *other)
{
	struct snap_file f;
	int r;

	err_clear();
	r = open_chain(&f, path, false);
	ck_assert_msg(r == want, "%s: %d, not %d: %s", part, r, want, err_last());
	ck_assert_msg(strstr(err_last(), part) && strstr(err_last(), other),
		      "'%s' does not tell of '%s' and '%s'", err_last(), part, other);
}

/* --- a chain --- */

START_TEST(test_chain)
{
	char name[16];

	make_chain(CHAIN);
	for (unsigned i = 0; i <= CHAIN; i++) {
		snprintf(name, sizeof(name), "%u.snap", i);
		whole(in_folder(name), i);
	}
	ck_assert_int_eq(chdir(folder), 0);
	whole("5.snap", 5);
	whole("./5.snap", 5);
}
END_TEST

/* what is the parent's has no bytes in it, whatever the level */
START_TEST(test_child_is_small)
{
	for (unsigned i = 0; i < 2; i++) {
		struct image parent cleanup_image = rig_image(1, 1);
		struct image child cleanup_image = rig_child(&parent, 1, (int)i, "x");
		uint64_t stored = 0;

		for (uint64_t n = 0; n < RIG_CHUNKS; n++) {
			struct snap_entry e = rig_entry(&child, n);

			ck_assert_int_eq(snap_kind(&e) == SNAP_PARENT, !rig_is_anew(1, n));
			stored += snap_stored(&e);
		}
		ck_assert_uint_lt(child.size, stored + 64 * KiB);
		ck_assert_uint_lt(child.size, parent.size / 2);
	}
}
END_TEST

/* where it is looked for */
START_TEST(test_found)
{
	struct image image cleanup_image = rig_image(1, 1);
	struct image child cleanup_image = rig_child(&image, 1, 1, "/nowhere/p.snap");
	struct image other cleanup_image = rig_image(1, 1);

	put_file("c.snap", &child);
	put_file("q.snap", &other);
	refused(in_folder("c.snap"), -ENOENT, "its parent /nowhere/p.snap is missing",
		"and no *.snap in its folder is that one");
	put_file("p.snap", &image);
	whole(in_folder("c.snap"), 1);
	ck_assert_int_eq(rename(in_folder("p.snap"), in_folder("z.snap")), 0);
	whole(in_folder("c.snap"), 1);
	ck_assert_int_eq(chdir(folder), 0);
	whole("c.snap", 1);
	ck_assert_int_eq(rename(in_folder("z.snap"), in_folder("z.other")), 0);
	refused(in_folder("c.snap"), -ENOENT, "is missing", "p.snap");
	refused("c.snap", -ENOENT, "is missing", "p.snap");
	/* by a name that does not tell, there or here */
	free(child.data);
	child = rig_child(&image, 1, 1, in_folder("z.other"));
	put_file("c.snap", &child);
	whole("c.snap", 1);
	free(child.data);
	child = rig_child(&image, 1, 1, "/nowhere/z.other");
	put_file("c.snap", &child);
	whole("c.snap", 1);
}
END_TEST

/* which of them is missing, in the middle of a chain */
START_TEST(test_missing)
{
	make_chain(CHAIN);
	ck_assert_int_eq(unlink(in_folder("2.snap")), 0);
	refused(in_folder("5.snap"), -ENOENT, "3.snap: its parent 2.snap is missing", "put it");
	whole(in_folder("1.snap"), 1);
}
END_TEST

/* --- others in its place --- */

START_TEST(test_another)
{
	struct image image cleanup_image = rig_image(1, 1);
	struct image child cleanup_image = rig_child(&image, 1, 1, "p.snap");
	struct image other cleanup_image = rig_image(1, 1);
	char is[SNAP_ID], wanted[SNAP_ID];

	put_file("c.snap", &child);
	put_file("p.snap", &other);
	snap_print_id(rig_head(&other)->id, is);
	snap_print_id(rig_head(&image)->id, wanted);
	refused(in_folder("c.snap"), -ESTALE, is, wanted);
	refused(in_folder("c.snap"), -ESTALE, "p.snap is not its parent", "c.snap");
	/* the right one beside it is as good */
	put_file("other.snap", &image);
	whole(in_folder("c.snap"), 1);
	ck_assert_int_eq(unlink(in_folder("other.snap")), 0);

	/* the same id, and other memory */
	memcpy(rig_head(&other)->id, rig_head(&image)->id, 16);
	rig_set_entry(&other, 0, rig_entry(&other, 4));
	rig_seal(&other);
	put_file("p.snap", &other);
	refused(in_folder("c.snap"), -ESTALE, "is not what it was: its index is another", wanted);
}
END_TEST

static void damage(const char *name, uint64_t at)
{
	int fd = open(in_folder(name), O_RDWR | O_CLOEXEC);
	uint8_t byte;

	ck_assert(fd >= 0 && pread(fd, &byte, 1, (off_t)at) == 1);
	byte ^= 4;
	ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
	close(fd);
}

START_TEST(test_damaged)
{
	struct image image cleanup_image = { NULL, 0 };
	struct snap_file f;
	static uint8_t to[SNAP_CHUNK];
	const uint64_t n = 5; /* raw, and the first one's to the end of a chain of 3 */
	int r;

	make_chain(3);
	image = file("0.snap");
	damage("0.snap", rig_section(&image, SNAP_SECTION_INDEX)->at + 3);
	refused(in_folder("3.snap"), -EBADMSG, "0.snap: its index is damaged", "parent");
	put_file("copy.snap", &image);
	whole(in_folder("3.snap"), 3);
	ck_assert_int_eq(unlink(in_folder("copy.snap")), 0);
	put_file("0.snap", &image);

	damage("0.snap", rig_entry(&image, n).at + 100);
	ck_assert_msg(!open_chain(&f, in_folder("3.snap"), false), "%s", err_last());
	r = snap_read(&f, n, to, rig_len(n), unpacker);
	ck_assert_int_eq(r, -EBADMSG);
	ck_assert_ptr_nonnull(strstr(err_last(), "0.snap: chunk 5 of its memory is damaged"));
	close_chain(&f);
	put_file("0.snap", &image);

	ck_assert_int_eq(truncate(in_folder("1.snap"), 5000), 0);
	refused(in_folder("3.snap"), -EBADMSG, "1.snap", "cut off");
}
END_TEST

/* a parent leads whoever restores it as much as its child does */
START_TEST(test_whose)
{
	struct snap_file f;

	make_chain(2);
	ck_assert_int_eq(chmod(in_folder("0.snap"), 0606), 0);
	refused(in_folder("2.snap"), -EACCES, "0.snap", "may be written by anybody");
	ck_assert_msg(!open_chain(&f, in_folder("2.snap"), true), "%s", err_last());
	close_chain(&f);
	ck_assert_int_eq(unlink(in_folder("0.snap")), 0);
	ck_assert_int_eq(mkfifo(in_folder("0.snap"), 0600), 0);
	refused(in_folder("2.snap"), -EINVAL, "0.snap", "something else than a file");
}
END_TEST

/* it lies in no place where numbers are aligned */
static struct snap_parent get_parent(const struct image *image)
{
	struct snap_parent p;

	memcpy(&p, image->data + rig_section(image, SNAP_SECTION_PARENT)->at, sizeof(p));
	return p;
}

static void set_parent(struct image *image, const struct snap_parent *p)
{
	memcpy(image->data + rig_section(image, SNAP_SECTION_PARENT)->at, p, sizeof(*p));
}

START_TEST(test_depth)
{
	struct image image cleanup_image = { NULL, 0 };
	struct image self cleanup_image = { NULL, 0 };
	struct hutch *h = hutch_new();
	struct hutch_parent *p;
	struct snap_parent s;

	make_chain(SNAP_DEPTH);
	whole(in_folder("63.snap"), SNAP_DEPTH - 1);
	refused(in_folder("64.snap"), -ELOOP, "64.snap", "more than 64 files");
	ck_assert_ptr_null(hutch_parent_open(h, in_folder("63.snap"), in_folder("new.snap")));
	ck_assert_ptr_nonnull(strstr(hutch_error(h), "make one without a parent"));
	p = hutch_parent_open(h, in_folder("62.snap"), in_folder("new.snap"));
	ck_assert_msg(p != NULL, "%s", hutch_error(h));
	hutch_parent_free(p);
	hutch_free(h);

	/* one that says it is its own parent's parent */
	image = file("1.snap");
	self = rig_child(&image, 2, 1, "self.snap");
	s = get_parent(&self);
	memcpy(s.id, rig_head(&self)->id, sizeof(s.id));
	s.index_crc = rig_section(&self, SNAP_SECTION_INDEX)->crc;
	set_parent(&self, &s);
	rig_seal(&self);
	put_file("self.snap", &self);
	refused(in_folder("self.snap"), -ELOOP, "lead back to", "self.snap");
}
END_TEST

/* --- lies in the file itself --- */

static void lie(const struct image *image, const char *part)
{
	struct snap_file f;
	int fd = rig_fd(image), r;

	err_clear();
	r = snap_open(&f, fd, "NAME");
	ck_assert_msg(r == -EBADMSG, "%s: %d: %s", part, r, err_last());
	ck_assert_msg(strstr(err_last(), part) != NULL, "'%s' is not '%s'", err_last(), part);
	ck_assert(!f.tree && !f.entry && !f.wanted);
	close(fd);
}

START_TEST(test_lies_of_the_section)
{
	struct image parent cleanup_image = rig_image(1, 1);
	struct image good cleanup_image = rig_child(&parent, 1, 1, "p.snap");

	for (unsigned i = 0; i < 8; i++) {
		struct image x cleanup_image = rig_copy(&good);
		struct snap_section *s = rig_section(&x, SNAP_SECTION_PARENT);
		struct snap_parent p = get_parent(&x);
		struct snap_header *h = rig_head(&x);

		if (i == 0)
			p.chunks++;
		else if (i == 1)
			p.path[0] = '\0';
		else if (i == 2)
			memset(p.path, 'x', sizeof(p.path));
		else if (i == 3)
			p.zero = 1;
		set_parent(&x, &p);
		if (i == 4)
			s->size--;
		else if (i == 5)
			s->size = 0;
		else if (i == 6)
			h->section[h->sections++] =
				(struct snap_section){ .type = s->type, .at = SNAP_PAGE };
		else if (i == 7)
			h->section[h->sections++] =
				(struct snap_section){ .type = SNAP_SECTION_FLAT, .at = SNAP_PAGE };
		rig_seal(&x);
		lie(&x, i < 6	 ? "its parent makes no sense"
			: i == 6 ? "its parent is there twice"
				 : "its flat memory makes no sense beside a parent");
	}
}
END_TEST

START_TEST(test_lies_of_the_index)
{
	static const uint32_t kind = (uint32_t)SNAP_PARENT << 28;
	static const struct snap_entry lies[] = {
		{ SNAP_PAGE, kind, 0 }, { 0, kind | 1, 0 }, { 0, kind, 1 }, { 0, kind, 0 }
	};
	struct image image cleanup_image = rig_image(1, 1);
	struct image child cleanup_image = rig_child(&image, 1, 1, "p.snap");

	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		/* the last one is good in a child, and nowhere else */
		struct image x cleanup_image = rig_copy(i + 1 < ARRAY_SIZE(lies) ? &child : &image);

		rig_set_entry(&x, 7, lies[i]);
		rig_seal(&x);
		lie(&x, "its index makes no sense at chunk 7");
	}
	/* as it is before its last step */
	rig_head(&child)->sections--;
	rig_seal(&child);
	lie(&child, "its index makes no sense at chunk 0");
}
END_TEST

START_TEST(test_flipped)
{
	struct image parent cleanup_image = rig_image(1, 1);
	struct image child cleanup_image = rig_child(&parent, 1, 1, "p.snap");
	const struct snap_section s = *rig_section(&child, SNAP_SECTION_PARENT);

	for (uint64_t i = 0; i < s.size; i += i < 64 ? 1 : 101) {
		child.data[s.at + i] ^= (uint8_t)(1U << i % 8);
		lie(&child, "its parent is damaged: its checksum is wrong");
		child.data[s.at + i] ^= (uint8_t)(1U << i % 8);
	}
	for (uint64_t size = s.at - 1; size < child.size; size += 500) {
		struct image cut = { child.data, size };

		lie(&cut, "cut off");
	}
}
END_TEST

/* what the machine wrote is not believed, either: it may be its guest's */
START_TEST(test_added_to_what_is_none)
{
	struct image image cleanup_image = rig_image(1, 1);
	static const struct snap_parent p = { .path = "p.snap" };

	for (unsigned i = 0; i < 3; i++) {
		struct image x cleanup_image = rig_copy(&image);
		int fd;

		if (i == 0)
			rig_head(&x)->sections = SNAP_SECTIONS;
		else if (i == 1)
			rig_head(&x)->size = UINT64_MAX - 8;
		else
			x.size = 100;
		fd = rig_fd(&x);
		ck_assert_int_eq(snap_add_parent(fd, &p), -EBADMSG);
		close(fd);
	}
}
END_TEST

/* --- compared with a parent --- */

static int compare_into(const struct image *whole_image, const struct image *parent, int to)
{
	struct hutch *h = hutch_new();
	struct hutch_parent *p;
	int fd = rig_fd(whole_image), r;

	put_file("p.snap", parent);
	p = hutch_parent_open(h, in_folder("p.snap"), in_folder("c.snap"));
	ck_assert_msg(p != NULL, "%s", hutch_error(h));
	r = hutch_parent_compare(h, p, fd, to, -1);
	hutch_parent_free(p);
	hutch_free(h);
	close(fd);
	return r;
}

/* which of @whole_image's chunks a child of @parent has the bytes of */
static uint64_t compare(const struct image *whole_image, const struct image *parent)
{
	int to = memfd_create("child", MFD_CLOEXEC);
	struct image child;
	uint64_t own = 0;

	ck_assert_msg(!compare_into(whole_image, parent, to), "%s", err_last());
	child = rig_of_fd(to);
	put_file("c.snap", &child);
	for (uint64_t n = 0; n < RIG_CHUNKS; n++) {
		struct snap_entry e = rig_entry(&child, n);

		own |= (uint64_t) !!snap_stored(&e) << n;
	}
	ck_assert_mem_eq(rig_head(&child)->id, rig_head(whole_image)->id, 16);
	whole(in_folder("c.snap"), 0);
	free(child.data);
	close(to);
	return own;
}

START_TEST(test_compared)
{
	/* what CRC32 does not see: its polynomial, the first bit first */
	static const uint8_t unseen[] = { 0x41, 0x06, 0x71, 0xdb, 0x01 };
	struct image image cleanup_image = rig_image(1, 1);
	struct image other cleanup_image = rig_image(9, 1);
	struct image flat cleanup_image = rig_image(0, 1);
	struct image same cleanup_image = rig_image(1, 1);
	int to = memfd_create("child", MFD_CLOEXEC);
	static uint8_t data[SNAP_CHUNK];
	struct snap_entry e;

	ck_assert_uint_eq(compare(&image, &same), 0);
	ck_assert_uint_eq(compare(&image, &other), 0);
	ck_assert_uint_eq(compare(&image, &flat), 0);

	/* a raw chunk, one that was zeroes, and one whose checksum is the same */
	rig_fill(5, data);
	data[0]++;
	rig_rechunk(&other, 5, SNAP_RAW, data, SNAP_CHUNK);
	rig_rechunk(&other, 1, SNAP_RAW, data, SNAP_CHUNK);
	rig_fill(2, data);
	for (unsigned i = 0; i < sizeof(unseen); i++)
		data[100 + i] ^= unseen[i];
	rig_rechunk(&other, 2, SNAP_RAW, data, SNAP_CHUNK);
	e = rig_entry(&image, 2);
	ck_assert_uint_eq(rig_entry(&other, 2).crc, e.crc);
	rig_seal(&other);
	ck_assert_uint_eq(compare(&image, &other), 1 << 5 | 1 << 2);

	/* damage is told, and not taken for a change */
	rig_fill(2, data);
	rig_rechunk(&other, 5, SNAP_RAW, data, SNAP_CHUNK);
	other.data[rig_entry(&other, 5).at] ^= 1;
	rig_seal(&other);
	ck_assert_int_eq(compare_into(&image, &other, to), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(err_last(), "p.snap: chunk 5 of its memory"));
	close(to);
}
END_TEST

/* --- from a program --- */

START_TEST(test_looked_at)
{
	struct image image cleanup_image = { NULL, 0 };
	struct hutch *h = hutch_new();
	char id[SNAP_ID], path[128];
	struct hutch_snap snap;

	make_chain(2);
	image = file("0.snap");
	ck_assert_msg(!hutch_snap_parent(h, in_folder("2.snap"), path, sizeof(path)), "%s",
		      hutch_error(h));
	ck_assert_str_eq(path, in_folder("1.snap"));
	ck_assert_int_eq(hutch_snap_parent(h, in_folder("0.snap"), path, sizeof(path)), -EINVAL);
	ck_assert_msg(!hutch_snap_verify(h, in_folder("2.snap")), "%s", hutch_error(h));
	damage("0.snap", rig_entry(&image, 5).at);
	free(image.data);
	image = file("1.snap");
	ck_assert_int_eq(hutch_snap_verify(h, in_folder("2.snap")), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(hutch_error(h), "0.snap"));

	ck_assert_int_eq(unlink(in_folder("1.snap")), 0);
	ck_assert_int_eq(hutch_snap_verify(h, in_folder("2.snap")), -ENOENT);
	ck_assert_int_eq(hutch_restore(h, in_folder("2.snap")), -ENOENT);
	ck_assert_int_eq(hutch_snap_parent(h, in_folder("2.snap"), path, sizeof(path)), -ENOENT);
	ck_assert_int_gt(hutch_snap_look(h, in_folder("2.snap"), &snap, NULL), 0);
	ck_assert_str_eq(snap.parent, snap_print_id(rig_head(&image)->id, id));
	ck_assert_str_eq(snap.parent_path, "1.snap");
	ck_assert_int_gt(hutch_snap_look(h, in_folder("0.snap"), &snap, NULL), 0);
	ck_assert_str_eq(snap.parent, "");
	ck_assert_str_eq(snap.parent_path, "");
	hutch_free(h);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snap_chain");
	TCase *tc = tcase_create("snap_chain");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_chain);
	tcase_add_test(tc, test_child_is_small);
	tcase_add_test(tc, test_found);
	tcase_add_test(tc, test_missing);
	tcase_add_test(tc, test_another);
	tcase_add_test(tc, test_damaged);
	tcase_add_test(tc, test_whose);
	tcase_add_test(tc, test_depth);
	tcase_add_test(tc, test_lies_of_the_section);
	tcase_add_test(tc, test_lies_of_the_index);
	tcase_add_test(tc, test_flipped);
	tcase_add_test(tc, test_added_to_what_is_none);
	tcase_add_test(tc, test_compared);
	tcase_add_test(tc, test_looked_at);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
