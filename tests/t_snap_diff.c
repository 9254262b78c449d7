/* t_snap_diff - two snapshots, and what is told of their difference */
#include <fcntl.h>
#include <libfdt.h>
#include <unistd.h>

#include "hutch.h"
#include "snap_rig.h"
#include "suite.h"

static char folder[] = "/tmp/hutch-t_snap_diff.XXXXXX";
static struct image parent, child;
static struct hutch *h;
static char told[4096];

static const char *path_of(const char *name)
{
	static char path[4][64];
	static unsigned at;

	snprintf(path[++at % 4], sizeof(path[0]), "%s/%s.snap", folder, name);
	return path[at % 4];
}

static void put(const char *name, const struct image *image)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert(fd >= 0 && write(fd, image->data, image->size) == (ssize_t)image->size);
	close(fd);
}

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(folder));
	h = hutch_new();
	parent = rig_image(1, 1);
	child = rig_child(&parent, 1, 1, "parent.snap");
	put("parent", &parent);
	put("child", &child);
}

static void teardown(void)
{
	char command[64];

	image_freep(&parent);
	image_freep(&child);
	hutch_free(h);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static void note(void *arg, const char *where, const char *a, const char *b)
{
	size_t len = strlen(told);

	(void)arg;
	snprintf(told + len, sizeof(told) - len, "%s|%s|%s\n", where, a ? a : "(none)",
		 b ? b : "(none)");
}

static int diff(const char *a, const char *b, struct hutch_difference *ret)
{
	told[0] = '\0';
	return hutch_snap_diff(h, path_of(a), path_of(b), note, NULL, ret);
}

/* with another tree, in which @alter has changed something */
static void put_altered(const char *name, void (*alter)(void *tree))
{
	cleanup_image struct image image = rig_copy(&parent);
	const struct snap_section *s = rig_section(&image, SNAP_SECTION_TREE);
	void *tree = malloc(s->size + 4096);

	ck_assert_ptr_nonnull(tree);
	memcpy(tree, image.data + s->at, s->size);
	ck_assert_int_eq(fdt_open_into(tree, tree, (int)s->size + 4096), 0);
	alter(tree);
	rig_retree(&image, tree, fdt_totalsize(tree));
	rig_seal(&image);
	put(name, &image);
	free(tree);
}

START_TEST(test_memory)
{
	uint8_t was[SNAP_CHUNK], is[SNAP_CHUNK];
	uint64_t differ = 0, bytes = 0, more;
	struct hutch_difference d;

	for (uint64_t n = 0; n < RIG_CHUNKS; n++) {
		if (!rig_is_anew(1, n))
			continue;
		memset(was, 0, sizeof(was));
		memset(is, 0, sizeof(is));
		rig_fill(n, was);
		rig_fill_child(1, n, is);
		more = 0;
		for (uint32_t i = 0; i < rig_len(n); i++)
			more += was[i] != is[i];
		differ += more != 0;
		bytes += more;
	}
	ck_assert_uint_gt(differ, 2);
	ck_assert_int_eq(diff("parent", "child", &d), 1);
	ck_assert_uint_eq(d.memory.chunks, RIG_CHUNKS);
	ck_assert_uint_eq(d.memory.differ, differ);
	ck_assert_uint_eq(d.memory.bytes, bytes);
	ck_assert_str_eq(told, "");
	ck_assert_int_eq(diff("child", "parent", &d), 1);
	ck_assert_uint_eq(d.memory.bytes, bytes);
	ck_assert_int_eq(diff("child", "child", &d), 0);
	ck_assert(d.memory.compared && !d.memory.differ && !d.memory.bytes);
}
END_TEST

struct heard {
	pthread_t by;
	unsigned ends;
	uint64_t last;
};

static void hear(void *arg, uint64_t done, uint64_t all)
{
	struct heard *x = arg;

	ck_assert(pthread_equal(pthread_self(), x->by));
	ck_assert(all == RIG_CHUNKS && done <= all && (done == all || done >= x->last));
	x->ends += done == all;
	x->last = done == all ? 0 : done;
}

/* whoever asked is told, and that it has ended, also where that is by an error */
START_TEST(test_progress)
{
	struct heard x = { .by = pthread_self() };
	struct hutch_difference d;

	hutch_on_progress(h, hear, &x);
	ck_assert_int_eq(diff("parent", "child", &d), 1);
	ck_assert_uint_eq(x.ends, 1);
	ck_assert_int_eq(hutch_snap_verify(h, path_of("child")), 0);
	ck_assert_uint_eq(x.ends, 2);
	parent.data[SNAP_PAGE + 100] ^= 1;
	put("damaged", &parent);
	ck_assert_int_eq(hutch_snap_verify(h, path_of("damaged")), -EBADMSG);
	ck_assert_uint_eq(x.ends, 3);
}
END_TEST

/* packed in another way, by another, at another time: the same */
START_TEST(test_same)
{
	cleanup_image struct image other = rig_image(0, 2);
	struct hutch_difference d;

	put("other", &other);
	ck_assert_int_eq(diff("parent", "other", &d), 0);
	ck_assert_str_eq(told, "");
}
END_TEST

/* a copy of @image by another hand, in which piece @i has @bytes others, and the last one is
 * elsewhere */
static struct image with_other_pieces(const struct image *image, uint64_t i, unsigned bytes)
{
	uint64_t last = rig_pieces(image) - 1, place;
	struct image x = rig_copy(image);
	uint8_t data[SNAP_CHUNK];
	struct snap_entry e;

	memset(data, 0, sizeof(data));
	rig_fill_piece(i, data);
	for (unsigned n = 0; n < bytes; n++)
		data[1000 * n] ^= 0x80;
	e = (struct snap_entry){ .at = rig_append(&x, data, sizeof(data)),
				 .what = (uint32_t)SNAP_RAW << 28 | SNAP_CHUNK,
				 .crc = (uint32_t)crc32_z(0, data, sizeof(data)) };
	rig_set_piece(&x, i, rig_piece(i), e);
	place = rig_piece_of(&x, last, &e);
	rig_set_piece(&x, last, place - 1, e);
	rig_head(&x)->id[0] ^= 1;
	rig_seal(&x);
	return x;
}

/* of what was written over disks as well: in both, or in one of them alone */
START_TEST(test_disks)
{
	cleanup_image struct image a = rig_image_with_pieces(1, 1);
	uint64_t all[HUTCH_DISKS] = { 0 };
	struct hutch_difference d;

	for (uint64_t i = 0; i < rig_pieces(&a); i++)
		all[snap_piece_disk(rig_piece(i))]++;
	put("a", &a);
	ck_assert_int_eq(diff("a", "a", &d), 0);
	for (uint64_t i = 0; i < rig_pieces(&a) - 1; i++) {
		cleanup_image struct image b = with_other_pieces(&a, i, 3);
		unsigned of = snap_piece_disk(rig_piece(i)),
			 last = snap_piece_disk(rig_piece(rig_pieces(&a) - 1));

		put("b", &b);
		ck_assert_msg(diff(i & 1 ? "a" : "b", i & 1 ? "b" : "a", &d) == 1, "%s",
			      hutch_error(h));
		ck_assert_str_eq(told, "");
		ck_assert(d.memory.compared && !d.memory.differ);
		ck_assert_uint_eq(d.disk[of].differ, of == last ? 3 : 1);
		ck_assert_uint_eq(d.disk[of].bytes, 3);
		ck_assert_uint_eq(d.disk[last].differ, of == last ? 3 : 2);
		for (unsigned n = 0; n < HUTCH_DISKS; n++)
			ck_assert_uint_eq(d.disk[n].chunks, all[n] + (n == last));
	}
	/* one that has none at all */
	put("b", &parent);
	ck_assert_int_eq(diff("a", "b", &d), 1);
	for (unsigned n = 0; n < HUTCH_DISKS; n++)
		ck_assert(d.disk[n].differ == all[n] && d.disk[n].chunks == all[n]);
}
END_TEST

static void other_words(void *t)
{
	int node = fdt_path_offset(t, "/config");

	ck_assert_int_eq(fdt_setprop_string(t, node, "kernel", "/another"), 0);
	ck_assert_int_eq(fdt_setprop_u32(t, fdt_path_offset(t, "/config"), "cpus", 2), 0);
	ck_assert_int_gt(fdt_add_subnode(t, fdt_path_offset(t, "/state"), "serial"), 0);
	ck_assert_int_eq(fdt_setprop_u32(t, fdt_path_offset(t, "/state"), "odd", 2), 0);
}

static void other_numbers(void *t)
{
	ck_assert_int_eq(fdt_setprop_u32(t, fdt_path_offset(t, "/state"), "odd", 3), 0);
	ck_assert_int_eq(fdt_setprop_u32(t, fdt_path_offset(t, "/state"), "even", 3), 0);
}

START_TEST(test_tree)
{
	struct hutch_difference d;

	put_altered("words", other_words);
	put_altered("numbers", other_numbers);
	ck_assert_int_eq(diff("parent", "words", &d), 1);
	ck_assert_str_eq(told, "kernel|/a/kernel|/another\ncpus|1|2\n"
			       "/state|odd|odd\n/state/serial|(none)|\n");
	ck_assert(d.memory.compared && !d.memory.differ);
	ck_assert_int_eq(diff("words", "numbers", &d), 1);
	ck_assert_str_eq(told, "kernel|/another|/a/kernel\ncpus|2|1\n"
			       "/state|odd even|odd even\n/state/serial||(none)\n");
}
END_TEST

static void other_memory(void *t)
{
	ck_assert_int_eq(fdt_setprop_u64(t, fdt_path_offset(t, "/config"), "memory", 64 << 20), 0);
}

START_TEST(test_not_to_be_compared)
{
	cleanup_image struct image other = rig_image(1, 1);
	struct hutch_difference d;

	put_altered("larger", other_memory);
	ck_assert_int_eq(diff("parent", "larger", &d), 1);
	ck_assert(!d.memory.compared);
	ck_assert_msg(!strncmp(told, "memory|", 7) && strstr(told, "|64M\n"), "%s", told);
	ck_assert_int_eq(diff("larger", "larger", &d), -EBADMSG); /* its tree lies */
	ck_assert_int_eq(diff("parent", "nosuch", &d), -ENOENT);
	ck_assert_int_eq(diff("nosuch", "parent", &d), -ENOENT);
	ck_assert_ptr_nonnull(strstr(hutch_error(h), "nosuch.snap: No such file"));
	parent.data[SNAP_PAGE + 100] ^= 1; /* in the first chunk that is packed */
	put("damaged", &parent);
	put("other", &other);
	ck_assert_int_eq(diff("damaged", "other", &d), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(hutch_error(h), "damaged.snap: chunk"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snap_diff");
	TCase *tc = tcase_create("snap_diff");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_memory);
	tcase_add_test(tc, test_same);
	tcase_add_test(tc, test_disks);
	tcase_add_test(tc, test_progress);
	tcase_add_test(tc, test_tree);
	tcase_add_test(tc, test_not_to_be_compared);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
