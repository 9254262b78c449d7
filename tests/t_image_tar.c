/* t_image_tar - archives: what they say, and what a hostile one cannot do */
#include <errno.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../tools/image_tar.h"
#include "image_rig.h"
#include "suite.h"

/* what was gathered in @b, built and opened */
static void build_ball(struct ball *b, struct view *ret)
{
	ball_end(b);
	ball_write(b, scratch_path("tar"));
	ck_assert_msg(!build_image(scratch_path("tar"), "img"), "%s", complained);
	view_open(ret, scratch_path("img"));
	view_check(ret);
}

/* refused, with these words */
static void refuse_ball(struct ball *b, const char *words)
{
	ball_write(b, scratch_path("tar"));
	ck_assert_int_lt(build_image(scratch_path("tar"), "img"), 0);
	ck_assert_msg(strstr(complained, words) != NULL, "'%s' is not '%s'", complained, words);
}

START_TEST(kinds_of_entries)
{
	struct ball b = { NULL };
	struct view_inode i;
	struct view v;

	ball_add(&b, (struct ball_entry){ .type = '5', .path = "./", .mode = 0711, .mtime = 77 });
	ball_add(&b, (struct ball_entry){ .path = "./dir/file",
					  .mode = 06640,
					  .uid = 1,
					  .gid = 2,
					  .mtime = 3,
					  .text = "text" });
	ball_add(&b, (struct ball_entry){ .type = '7', .path = "/absolute", .text = "a" });
	ball_add(&b, (struct ball_entry){ .type = '1', .path = "dir/hard", .link = "/dir/./file" });
	ball_add(&b,
		 (struct ball_entry){
			 .type = '2', .path = "link", .link = "/../../etc/passwd", .mode = 0777 });
	ball_add(&b, (struct ball_entry){ .type = '3', .path = "char", .dev = { 4095, 0xfffff } });
	ball_add(&b, (struct ball_entry){ .type = '4', .path = "block", .dev = { 8, 1 } });
	ball_add(&b, (struct ball_entry){ .type = '6', .path = "fifo" });
	ball_add(&b, (struct ball_entry){ .path = "old//dir/", .mode = 0700 });
	ball_add(&b, (struct ball_entry){ .type = 'V', .path = "label" });
	ball_add(&b, (struct ball_entry){ .type = '5',
					  .path = "dir",
					  .mode = 0750,
					  .uid = 9 }); /* after what is in it */
	build_ball(&b, &v);
	ck_assert(view_find(&v, "", &i) && i.mode == (S_IFDIR | 0711) && i.mtime == 77);
	ck_assert(view_find(&v, "dir/file", &i) && i.mode == (S_IFREG | 06640));
	ck_assert(i.uid == 1 && i.gid == 2 && i.mtime == 3 && i.nlink == 2);
	ck_assert(view_text(&v, "dir/hard", "text") && view_text(&v, "absolute", "a"));
	ck_assert(view_text(&v, "link", "/../../etc/passwd"));
	ck_assert(view_find(&v, "char", &i) && S_ISCHR(i.mode));
	ck_assert_uint_eq(i.rdev, 0xff | 4095 << 8 | 0xfff00u << 12);
	ck_assert(view_find(&v, "block", &i) && S_ISBLK(i.mode) && i.rdev == 0x801);
	ck_assert(view_find(&v, "fifo", &i) && S_ISFIFO(i.mode));
	ck_assert(view_find(&v, "old/dir", &i) && i.mode == (S_IFDIR | 0700));
	ck_assert(view_find(&v, "dir", &i) && i.mode == (S_IFDIR | 0750) && i.uid == 9);
	ck_assert(!view_find(&v, "label", &i));
	view_close(&v);
}
END_TEST

START_TEST(pax_and_gnu)
{
	char records[9000] = "", longest[300], path[5000];
	struct ball b = { NULL };
	struct view_inode i;
	struct view v;

	memset(longest, 'l', 255);
	longest[255] = '\0';
	snprintf(path, sizeof(path), "p/%s/%s", longest, longest);
	ball_record(records, sizeof(records), "path", path);
	ball_record(records, sizeof(records), "mtime", "-1.25");
	ball_record(records, sizeof(records), "uid", "4000000000");
	ball_record(records, sizeof(records), "SCHILY.xattr.user.k", "v");
	ball_record(records, sizeof(records), "SCHILY.xattr.security.selinux", "label");
	ball_record(records, sizeof(records), "comment", "=a=\n=b=");
	ball_record(records, sizeof(records), "size", "5");
	ball_pax(&b, 'x', records, strlen(records));
	ball_add(&b, (struct ball_entry){ .path = "short", .text = "12345" });
	strcpy(records, "");
	ball_record(records, sizeof(records), "gid", "55");
	ball_pax(&b, 'g', records, strlen(records));
	ball_pax(&b, 'L', path, strlen(path) + 1);
	*path = 'q';
	ball_pax(&b, 'K', path, strlen(path) + 1);
	*path = 'p';
	path[strlen(path) - 1] = '2';
	ball_add(&b, (struct ball_entry){ .type = '2', .path = "short" });
	ball_add(&b, (struct ball_entry){ .path = "plain", .gid = 1 });
	/* numbers too large for octal digits, in GNU's way */
	ball_add(&b, (struct ball_entry){ .path = "binary", .text = "b" });
	memcpy(b.data + b.len - 1024 + 108, "\x80\0\0\0\x7f\xff\xff\xff", 8);
	memcpy(b.data + b.len - 1024 + 136, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", 12);
	ball_sum(&b, b.len - 1024);
	build_ball(&b, &v);
	snprintf(path, sizeof(path), "p/%s/%s", longest, longest);
	ck_assert(view_find(&v, path, &i));
	/* the second took its place, and its gid is that of all after */
	ck_assert(S_ISLNK(i.mode) && i.gid == 55 && i.size == strlen(path) && i.uid == 0);
	ck_assert(view_find(&v, "plain", &i) && i.gid == 55 && i.mtime == 0);
	ck_assert(view_find(&v, "binary", &i) && i.uid == 0x7fffffff && i.mtime == -2);
	ck_assert(view_text(&v, "binary", "b"));
	view_close(&v);
}
END_TEST

START_TEST(pax_file)
{
	char records[300] = "";
	struct ball b = { NULL };
	struct view_inode i;
	struct view v;

	ball_record(records, sizeof(records), "path", "renamed");
	ball_record(records, sizeof(records), "mtime", "-1.25");
	ball_record(records, sizeof(records), "uid", "4000000000");
	ball_record(records, sizeof(records), "SCHILY.xattr.user.k", "v");
	ball_record(records, sizeof(records), "SCHILY.xattr.security.selinux", "label");
	ball_record(records, sizeof(records), "size", "5");
	ball_pax(&b, 'x', records, strlen(records));
	ball_add(&b, (struct ball_entry){ .path = "short", .text = "12345", .size = 4 });
	build_ball(&b, &v);
	ck_assert(view_text(&v, "renamed", "12345") && view_find(&v, "renamed", &i));
	ck_assert(i.mtime == -2 && i.mtime_ns == 750000000 && i.uid == 4000000000u);
	ck_assert_uint_eq(i.xattrs, 12 + 8); /* of the host's labels, none */
	ck_assert_mem_eq(v.p + i.xattr_at + 12, "\1\1\1\0kv\0\0", 8);
	view_close(&v);
}
END_TEST

/* a symlink in a path is followed as in the guest: inside, never out of it */
START_TEST(links_stay_inside)
{
	struct ball b = { NULL };
	struct view_inode i;
	struct view v;

	ball_add(&b, (struct ball_entry){ .type = '5', .path = "usr/lib" });
	ball_add(&b, (struct ball_entry){ .type = '2', .path = "lib", .link = "usr/lib" });
	ball_add(&b, (struct ball_entry){ .type = '2', .path = "up", .link = "../../../.." });
	ball_add(&b, (struct ball_entry){ .type = '2', .path = "abs", .link = "/etc/deep" });
	ball_add(&b, (struct ball_entry){ .type = '2', .path = "usr/rel", .link = "../var/./x//" });
	ball_add(&b, (struct ball_entry){ .path = "lib/so", .text = "1" });
	ball_add(&b, (struct ball_entry){ .path = "up/top", .text = "2" });
	ball_add(&b, (struct ball_entry){ .path = "abs/shadow", .text = "3" });
	ball_add(&b, (struct ball_entry){ .path = "usr/rel/y", .text = "4" });
	ball_add(&b, (struct ball_entry){ .type = '1', .path = "hard", .link = "abs/shadow" });
	build_ball(&b, &v);
	ck_assert(view_text(&v, "usr/lib/so", "1") && view_text(&v, "top", "2"));
	ck_assert(view_text(&v, "etc/deep/shadow", "3") && view_text(&v, "var/x/y", "4"));
	ck_assert(view_text(&v, "hard", "3"));
	ck_assert(view_find(&v, "lib", &i) && S_ISLNK(i.mode));
	view_close(&v);
}
END_TEST

/* what comes later counts */
START_TEST(replaced)
{
	struct ball b = { NULL };
	struct view_inode i;
	struct view v;

	ball_add(&b, (struct ball_entry){ .path = "f", .text = "one" });
	ball_add(&b, (struct ball_entry){ .type = '1', .path = "g", .link = "f" });
	ball_add(&b, (struct ball_entry){ .path = "f", .text = "two" });
	ball_add(&b, (struct ball_entry){ .type = '1', .path = "f2", .link = "f" });
	ball_add(&b, (struct ball_entry){ .type = '1', .path = "f2", .link = "f" });
	ball_add(&b, (struct ball_entry){ .type = '1', .path = "f", .link = "f" });
	ball_add(&b, (struct ball_entry){ .path = "d/in", .text = "gone" });
	ball_add(&b, (struct ball_entry){ .path = "d", .text = "file" });
	ball_add(&b, (struct ball_entry){ .type = '2', .path = "l", .link = "d" });
	ball_add(&b, (struct ball_entry){ .type = '5', .path = "l" });
	build_ball(&b, &v);
	ck_assert(view_text(&v, "g", "one") && view_text(&v, "f", "two"));
	ck_assert(view_find(&v, "g", &i) && i.nlink == 1);
	ck_assert(view_find(&v, "f", &i) && i.nlink == 2);
	ck_assert(view_text(&v, "d", "file") && view_find(&v, "l", &i) && S_ISDIR(i.mode));
	view_close(&v);
}
END_TEST

static const struct {
	struct ball_entry e;
	const char *words;
} refused[] = {
	{ { .path = "../out" }, "'../out' has '..'" },
	{ { .path = "a/b/../../../c" }, "has '..'" },
	{ { .type = '5', .path = ".." }, "has '..'" },
	{ { .type = '1', .path = "h", .link = "../a" }, "'../a' has '..'" },
	{ { .type = '1', .path = "h", .link = "missing" }, "which is not there" },
	{ { .type = '1', .path = "h", .link = "h" }, "which is not there" },
	{ { .type = '1', .path = "h", .link = "dir" }, "which is a folder" },
	{ { .type = '1', .path = "h", .link = "loop/x" }, "which is not there" },
	{ { .type = '1', .path = ".", .link = "a" }, "where a folder must be" },
	{ { .path = "." }, "where a folder must be" },
	{ { .path = "a/under" }, "leads through something that is no folder" },
	{ { .path = "loop/x" }, "through too many symlinks" },
	{ { .type = '2', .path = "s", .link = "" }, "leads nowhere" },
	{ { .type = 'S', .path = "sparse" }, "without --sparse" },
	{ { .type = 'M', .path = "more" }, "type 'M'" },
	{ { .type = '\x1b', .path = "odd" }, "type '?'" },
	{ { .type = '3', .path = "c", .dev = { 4096, 0 } }, "out of range" },
	{ { .path = "huge", .size = 0777777777777 }, "is not whole" },
	{ { .type = 'x', .path = "pax", .size = 0777777777777 }, "larger than 1 MiB" },
	{ { .type = 'L', .path = "long", .size = 5000 }, "longer than 4095" },
};

START_TEST(refuse)
{
	struct ball b = { NULL };

	ball_add(&b, (struct ball_entry){ .path = "a", .text = "a" });
	ball_add(&b, (struct ball_entry){ .type = '5', .path = "dir" });
	ball_add(&b, (struct ball_entry){ .type = '2', .path = "loop", .link = "loop2" });
	ball_add(&b, (struct ball_entry){ .type = '2', .path = "loop2", .link = "loop" });
	ball_add(&b, refused[_i].e);
	ball_end(&b);
	refuse_ball(&b, refused[_i].words);
}
END_TEST

static const struct {
	const char *text, *words;
} bad_pax[] = {
	{ "11 path=ab\n", NULL }, /* and this one is right */
	{ "10 path=ab\n", "damaged" },
	{ "12 path=ab\n", "damaged" },
	{ "11 path=ab ", "damaged" },
	{ "11 pathxab\n", "damaged" },
	{ "9 =value\n", "damaged" },
	{ "path=ab\n", "damaged" },
	{ "99999999 path=ab\n", "damaged" },
	{ "99999999999 path=ab\n", "damaged" },
	{ "0 path=ab\n", "damaged" },
	{ "3 \n", "damaged" },
	{ "11 path=../\n", "damaged" },
	{ "12 path=../\n", "has '..'" },
	{ "11 size=-1\n", "a number that is none" },
	{ "30 size=99999999999999999999\n", "damaged" },
	{ "29 size=99999999999999999999\n", "a number that is none" },
	{ "28 size=9223372036854775807\n", "a size that is none" },
	{ "11 uid=1.5\n", "a number that is none" },
	{ "18 uid=4294967296\n", "out of range" },
	{ "11 mtime=x\n", "a number that is none" },
	{ "12 mtime=1e\n", "a number that is none" },
	{ "22 GNU.sparse.major=1\n", "without --sparse" },
};

START_TEST(pax_refused)
{
	struct ball b = { NULL };
	struct view v;

	ball_pax(&b, 'x', bad_pax[_i].text, strlen(bad_pax[_i].text));
	ball_add(&b, (struct ball_entry){ .path = "file" });
	if (bad_pax[_i].words) {
		ball_end(&b);
		refuse_ball(&b, bad_pax[_i].words);
		return;
	}
	build_ball(&b, &v);
	ck_assert(view_text(&v, "ab", ""));
	view_close(&v);
}
END_TEST

/* cut anywhere, also in the packed stream, it is refused; and so is one flipped bit of a header */
START_TEST(cut_and_flipped)
{
	struct ball whole = { NULL };
	char records[100] = "";
	unsigned harmless = 0;

	ball_record(records, sizeof(records), "path", "renamed");
	ball_pax(&whole, 'x', records, strlen(records));
	ball_add(&whole, (struct ball_entry){ .path = "file", .text = "some text in it" });
	ball_add(&whole, (struct ball_entry){ .type = '5', .path = "dir" });
	ball_end(&whole);
	if (_i)
		ball_gzip(&whole, 0);
	for (size_t len = 0; len < (_i ? whole.len : whole.len - 1024); len += _i ? 1 : 64) {
		struct ball b = { NULL };

		ball_raw(&b, whole.data, len);
		refuse_ball(&b, "");
	}
	put_file(scratch_path("tar"), whole.data, whole.len);
	ck_assert_int_eq(build_image(scratch_path("tar"), "img"), 0);
	for (size_t bit = 0; bit < 8 * (_i ? whole.len : 512); bit += 7) {
		struct ball b = { NULL };

		ball_raw(&b, whole.data, whole.len);
		b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ball_write(&b, scratch_path("tar"));
		/* some bits of gzip matter not: a time, which zeros are copied */
		if (!build_image(scratch_path("tar"), "flipped")) {
			ck_assert(_i && same_files(scratch_path("img"), scratch_path("flipped")));
			ck_assert_uint_lt(++harmless, 40);
		}
	}
	free(whole.data);
}
END_TEST

START_TEST(packed)
{
	struct ball b = { NULL };
	struct view v;
	size_t half;

	/* two members, as parallel packers write them, and a tape's zeros behind */
	ball_add(&b, (struct ball_entry){ .path = "one", .text = "1" });
	ball_gzip(&b, 0);
	half = b.len;
	ball_add(&b, (struct ball_entry){ .path = "two", .text = "2" });
	ball_end(&b);
	ball_gzip(&b, half);
	ball_end(&b);
	ball_write(&b, scratch_path("tar"));
	ck_assert_msg(!build_image(scratch_path("tar"), "img"), "%s", complained);
	view_open(&v, scratch_path("img"));
	ck_assert(view_text(&v, "one", "1") && view_text(&v, "two", "2"));
	view_close(&v);
	ball_raw(&b, "\x28\xb5\x2f\xfd....", 8);
	refuse_ball(&b, "packed with zstd");
	ball_raw(&b,
		 "\xfd"
		 "7zXZ\0..",
		 8);
	refuse_ball(&b, "packed with xz");
}
END_TEST

/* folders within each other, as deep as symlinks can make them */
START_TEST(too_deep)
{
	char deep[4000] = "", link[24];
	struct ball b = { NULL };

	for (unsigned i = 0; i < 900; i++)
		strcat(deep, "d/");
	ball_pax(&b, 'L', deep, strlen(deep) + 1);
	ball_add(&b, (struct ball_entry){ .type = '5', .path = "d" });
	ball_pax(&b, 'K', deep, strlen(deep) + 1);
	ball_add(&b, (struct ball_entry){ .type = '2', .path = "l" });
	snprintf(link, sizeof(link), "l/");
	memcpy(deep, link, 2);
	ball_pax(&b, 'L', deep, strlen(deep) + 1);
	ball_add(&b, (struct ball_entry){ .type = '5', .path = "d" });
	ball_end(&b);
	refuse_ball(&b, "too deep");
}
END_TEST

START_TEST(long_link)
{
	char target[4096];
	struct ball b = { NULL };
	struct view v;

	memset(target, 't', sizeof(target));
	target[4095] = '\0';
	ball_pax(&b, 'K', target, 4096);
	ball_add(&b, (struct ball_entry){ .type = '2', .path = "l" });
	build_ball(&b, &v);
	ck_assert(view_text(&v, "l", target));
	view_close(&v);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("image_tar");
	TCase *t = tcase_create("image_tar");

	tcase_set_timeout(t, 60);
	tcase_add_unchecked_fixture(t, scratch_make, scratch_remove);
	tcase_add_checked_fixture(t, scratch_clear, NULL);
	tcase_add_test(t, kinds_of_entries);
	tcase_add_test(t, pax_and_gnu);
	tcase_add_test(t, pax_file);
	tcase_add_test(t, links_stay_inside);
	tcase_add_test(t, replaced);
	tcase_add_loop_test(t, refuse, 0, sizeof(refused) / sizeof(*refused));
	tcase_add_loop_test(t, pax_refused, 0, sizeof(bad_pax) / sizeof(*bad_pax));
	tcase_add_loop_test(t, cut_and_flipped, 0, 2);
	tcase_add_test(t, packed);
	tcase_add_test(t, too_deep);
	tcase_add_test(t, long_link);
	suite_add_tcase(s, t);
	return suite_run(s);
}
