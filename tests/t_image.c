/* t_image - images of folders: what is in them, that fsck.erofs agrees, the store and the cache */
#include <errno.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "image_rig.h"
#include "suite.h"

static bool have_fsck(void)
{
	return !command("command -v fsck.erofs >/dev/null");
}

/* a folder with one of each */
static void make_tree(const char *dir)
{
	char big[3 * 4096 + 100];

	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)(i * 7 + i / 4096);
	ck_assert_int_eq(command("mkdir -p '%s/sub/deep' '%s/empty' && cd '%s' && ln -s ../a "
				 "sub/link && "
				 "mkfifo fifo && : >none",
				 dir, dir, dir),
			 0);
	put_text(scratch_path("src/a"), "short\n");
	put_file(scratch_path("src/big"), big, sizeof(big));
	put_file(scratch_path("src/block"), big, 4096);
	put_file(scratch_path("src/sub/almost"), big, 4095);
	put_text(scratch_path("src/sub/deep/x"), "x");
	ck_assert_int_eq(link(scratch_path("src/a"), scratch_path("src/sub/hard")), 0);
	ck_assert_int_eq(chmod(scratch_path("src/a"), 04751), 0);
	set_mtime(scratch_path("src/a"), 1700000000, 123456789);
	set_mtime(scratch_path("src/none"), -5, 500000000);
}

START_TEST(one_of_each)
{
	struct view_inode i, hard;
	char buf[4 * 4096], want[3 * 4096 + 100];
	struct view v;

	make_tree(scratch_path("src"));
	ck_assert_int_eq(build_image(scratch_path("src"), "img"), 0);
	view_open(&v, scratch_path("img"));
	ck_assert_uint_eq(view_check(&v), 13);

	ck_assert(view_text(&v, "a", "short\n") && view_text(&v, "sub/hard", "short\n"));
	ck_assert(view_find(&v, "a", &i) && view_find(&v, "sub/hard", &hard));
	ck_assert_uint_eq(i.nid, hard.nid);
	ck_assert_uint_eq(i.nlink, 2);
	ck_assert_uint_eq(i.mode, S_IFREG | 04751);
	ck_assert_uint_eq(i.uid, geteuid());
	ck_assert_uint_eq(i.gid, getegid());
	ck_assert_int_eq(i.mtime, 1700000000);
	ck_assert_uint_eq(i.mtime_ns, 123456789);
	ck_assert_uint_ne(i.tail, 0);
	ck_assert(view_find(&v, "none", &i) && !i.size);
	ck_assert_int_eq(i.mtime, -5);
	ck_assert(view_text(&v, "sub/link", "../a") && view_find(&v, "sub/link", &i));
	ck_assert(S_ISLNK(i.mode));
	ck_assert(view_find(&v, "fifo", &i) && S_ISFIFO(i.mode));
	for (size_t k = 0; k < sizeof(want); k++)
		want[k] = (char)(k * 7 + k / 4096);
	ck_assert(view_find(&v, "big", &i) && i.size == sizeof(want) && i.tail);
	view_read(&v, &i, 0, buf, sizeof(want));
	ck_assert_mem_eq(buf, want, sizeof(want));
	/* full blocks are not kept with the inode, nor is a tail that has no room there */
	ck_assert(view_find(&v, "block", &i) && !i.tail);
	view_read(&v, &i, 0, buf, 4096);
	ck_assert_mem_eq(buf, want, 4096);
	ck_assert(view_find(&v, "sub/almost", &i) && !i.tail && i.size == 4095);
	view_read(&v, &i, 0, buf, 4095);
	ck_assert_mem_eq(buf, want, 4095);
	ck_assert(!view_find(&v, "nothing", &i));
	view_close(&v);
	if (!have_fsck())
		puts("skip one_of_each under fsck.erofs: it is not installed (erofs-utils)");
	else
		ck_assert_int_eq(command("fsck.erofs --extract='%s' '%s' >/dev/null 2>&1 && "
					 "rm '%s/fifo' '%s/fifo' && diff -r '%s' '%s'",
					 scratch_path("out"), scratch_path("img"),
					 scratch_path("out"), scratch_path("src"),
					 scratch_path("src"), scratch_path("out")),
				 0);
}
END_TEST

/* what lies where does not depend on the order in which names were made, nor on the time */
START_TEST(same_bytes)
{
	make_tree(scratch_path("src"));
	ck_assert_int_eq(command("cd '%s' && mkdir two && cp -a src/sub two/ && cp -a src/none "
				 "src/fifo src/empty src/block src/big two/ && rm two/sub/hard && "
				 "cp -a src/a two/a && ln two/a two/sub/hard && touch -r src/sub "
				 "two/sub && touch -r src two",
				 scratch),
			 0);
	ck_assert_int_eq(build_image(scratch_path("src"), "img"), 0);
	ck_assert_int_eq(build_image(scratch_path("src"), "again"), 0);
	ck_assert_int_eq(build_image(scratch_path("two"), "other"), 0);
	ck_assert(same_files(scratch_path("img"), scratch_path("again")));
	ck_assert(same_files(scratch_path("img"), scratch_path("other")));
	/* and one second makes another image */
	set_mtime(scratch_path("two/none"), -4, 500000000);
	ck_assert_int_eq(build_image(scratch_path("two"), "other"), 0);
	ck_assert(!same_files(scratch_path("img"), scratch_path("other")));
}
END_TEST

/* an archive of the folder is the folder */
START_TEST(folder_and_archive)
{
	make_tree(scratch_path("src"));
	ck_assert_int_eq(command("tar --format=posix -C '%s' -cf '%s' . && gzip -1 -c '%s' >'%s'",
				 scratch_path("src"), scratch_path("tar"), scratch_path("tar"),
				 scratch_path("gz")),
			 0);
	ck_assert_int_eq(build_image(scratch_path("src"), "img"), 0);
	ck_assert_int_eq(build_image(scratch_path("tar"), "img2"), 0);
	ck_assert_int_eq(build_image(scratch_path("gz"), "img3"), 0);
	ck_assert(same_files(scratch_path("img"), scratch_path("img2")));
	ck_assert(same_files(scratch_path("img"), scratch_path("img3")));
}
END_TEST

/* names around "." and "..", of any byte, and of the greatest length */
START_TEST(odd_names)
{
	char longest[256];
	struct view v;

	memset(longest, 'n', 255);
	longest[255] = '\0';
	ck_assert_int_eq(mkdir(scratch_path("src"), 0755), 0);
	for (unsigned c = 1; c < 256; c++) {
		char name[16];

		snprintf(name, sizeof(name), "src/%cx", (char)c);
		if (c != '/')
			put_text(scratch_path(name), "odd");
	}
	put_text(scratch_path("src/..."), "dots");
	ck_assert_int_eq(command("cd '%s/src' && : >%s", scratch, longest), 0);
	ck_assert_int_eq(build_image(scratch_path("src"), "img"), 0);
	view_open(&v, scratch_path("img"));
	ck_assert_uint_eq(view_check(&v), 1 + 254 + 2);
	ck_assert(view_text(&v,
			    "\n"
			    "x",
			    "odd") &&
		  view_text(&v,
			    "\xff"
			    "x",
			    "odd"));
	ck_assert(view_text(&v, "...", "dots") && view_text(&v, longest, ""));
	view_close(&v);
	if (have_fsck())
		ck_assert_int_eq(command("fsck.erofs '%s' >/dev/null 2>&1", scratch_path("img")),
				 0);
}
END_TEST

/* folders of every fill: names of such lengths that blocks end everywhere */
START_TEST(many_names)
{
	struct ball b = { NULL };
	struct view_inode i;
	struct view v;
	unsigned count = _i ? 100000 : 700;

	for (unsigned k = 0; k < count; k++) {
		char name[100];

		snprintf(name, sizeof(name), "d%u/%0*u", _i ? 0 : k % 7, _i ? 1 : 1 + (int)(k % 90),
			 k);
		ball_add(&b, (struct ball_entry){ .path = name, .text = k % 50 ? NULL : name });
	}
	ball_end(&b);
	ball_write(&b, scratch_path("tar"));
	ck_assert_int_eq(build_image(scratch_path("tar"), "img"), 0);
	view_open(&v, scratch_path("img"));
	ck_assert_uint_eq(view_check(&v), 1 + (_i ? 1 : 7) + count);
	ck_assert(view_find(&v, "d0", &i) && S_ISDIR(i.mode) && i.mode == (S_IFDIR | 0755));
	ck_assert(_i ? view_text(&v, "d0/99950", "d0/99950") : view_find(&v, "d0/0", &i));
	view_close(&v);
	if (have_fsck())
		ck_assert_int_eq(command("fsck.erofs '%s' >/dev/null 2>&1", scratch_path("img")),
				 0);
}
END_TEST

START_TEST(huge_file)
{
	int fd;
	struct view_inode i;
	struct view v;
	struct stat st;
	char buf[4];

	ck_assert_int_eq(mkdir(scratch_path("src"), 0755), 0);
	fd = open(scratch_path("src/huge"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	ck_assert_int_eq(ftruncate(fd, 0x140001000), 0);
	ck_assert_int_eq(pwrite(fd, "mid", 3, 0x110000000), 3);
	ck_assert_int_eq(pwrite(fd, "end", 3, 0x140001000), 3);
	close(fd);
	ck_assert_int_eq(build_image(scratch_path("src"), "img"), 0);
	view_open(&v, scratch_path("img"));
	ck_assert(view_find(&v, "huge", &i) && i.size == 0x140001003);
	view_read(&v, &i, 0x110000000, buf, 4);
	ck_assert_mem_eq(buf, "mid", 4);
	view_read(&v, &i, 0x140001000, buf, 3);
	ck_assert_mem_eq(buf, "end", 3);
	view_close(&v);
	/* holes stay holes */
	ck_assert_int_eq(stat(scratch_path("img"), &st), 0);
	ck_assert_int_lt(st.st_blocks, 1000);
}
END_TEST

START_TEST(attributes)
{
	char value[3000];
	struct view_inode i;
	struct view v;

	make_tree(scratch_path("src"));
	memset(value, 'v', sizeof(value));
	if (lsetxattr(scratch_path("src/a"), "user.beta", "2", 1, 0)) {
		puts("skip attributes: the file system of TMPDIR has none");
		return;
	}
	ck_assert_int_eq(lsetxattr(scratch_path("src/a"), "user.al", "one", 3, 0), 0);
	ck_assert_int_eq(lsetxattr(scratch_path("src/sub"), "user.dir", value, 3000, 0), 0);
	ck_assert_int_eq(build_image(scratch_path("src"), "img"), 0);
	view_open(&v, scratch_path("img"));
	view_check(&v);
	ck_assert(view_find(&v, "a", &i));
	/* the header; then name length, prefix 1, value length, name, value; in steps of 4 */
	ck_assert_uint_eq(i.xattrs, 12 + 12 + 12);
	ck_assert_mem_eq(v.p + i.xattr_at, "\0\0\0\0\0\0\0\0\0\0\0\0", 12);
	ck_assert_mem_eq(v.p + i.xattr_at + 12, "\2\1\3\0alone\0\0\0", 12);
	ck_assert_mem_eq(v.p + i.xattr_at + 24, "\4\1\1\0beta2\0\0\0", 12);
	ck_assert(view_text(&v, "a", "short\n"));
	ck_assert(view_find(&v, "sub", &i) && i.xattrs == 12 + 4 + 3 + 3000 + 1);
	ck_assert(view_find(&v, "block", &i) && !i.xattrs);
	view_close(&v);
	ck_assert_int_eq(command("tar --format=posix --xattrs -C '%s' -cf '%s' .",
				 scratch_path("src"), scratch_path("tar")),
			 0);
	ck_assert_int_eq(build_image(scratch_path("tar"), "img2"), 0);
	ck_assert(same_files(scratch_path("img"), scratch_path("img2")));
}
END_TEST

START_TEST(owner)
{
	struct image_options opt = { .map_root = true };
	struct view_inode i;
	struct image_sum sum;
	struct ball b = { NULL };
	struct view v;
	int fd = open(scratch_path("img"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	ball_add(&b, (struct ball_entry){ .path = "mine", .uid = geteuid(), .gid = getegid() });
	ball_add(&b, (struct ball_entry){ .path = "other", .uid = 54321, .gid = 12345 });
	ball_end(&b);
	ball_write(&b, scratch_path("tar"));
	ck_assert_int_eq(image_build(scratch_path("tar"), &opt, fd, &sum), 0);
	close(fd);
	ck_assert_uint_eq(sum.files, 3);
	view_open(&v, scratch_path("img"));
	ck_assert(view_find(&v, "mine", &i) && !i.uid && !i.gid);
	ck_assert(view_find(&v, "other", &i) && i.uid == 54321 && i.gid == 12345);
	view_close(&v);
}
END_TEST

START_TEST(bad_sources)
{
	put_text(scratch_path("text"), "not an archive\n");
	ck_assert_int_lt(build_image(scratch_path("text"), "img"), 0);
	ck_assert_ptr_nonnull(strstr(complained, "is not an archive of tar"));
	ck_assert_int_eq(build_image(scratch_path("none"), "img"), -ENOENT);
	ck_assert_int_eq(build_image("/dev/null", "img"), -EINVAL);
	make_tree(scratch_path("src"));
	ck_assert_int_eq(build_image(scratch_path("src"), "img"), 0);
	ck_assert_int_eq(build_image(scratch_path("img"), "img2"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(complained, "is an image already (erofs)"));
}
END_TEST

static int resolve(const char *what, char path[PATH_MAX])
{
	*complained = '\0';
	return image_resolve(what, 0, path, PATH_MAX);
}

START_TEST(resolve_kinds)
{
	static const struct {
		int kind;
		unsigned offset;
		const char *magic;
	} kinds[] = { { IMAGE_EXT4, 1080, "\x53\xef" },
		      { IMAGE_EROFS, 1024, "\xe2\xe1\xf5\xe0" },
		      { IMAGE_SQUASHFS, 0, "hsqs" } };
	char path[PATH_MAX], store[PATH_MAX], data[4096];

	for (unsigned i = 0; i < 3; i++) {
		memset(data, 0, sizeof(data));
		memcpy(data + kinds[i].offset, kinds[i].magic, strlen(kinds[i].magic));
		put_file(scratch_path("file"), data, sizeof(data));
		ck_assert_int_eq(resolve(scratch_path("file"), path), kinds[i].kind);
		ck_assert_str_eq(path, scratch_path("file"));
	}
	put_text(scratch_path("text"), "text");
	ck_assert_int_eq(resolve(scratch_path("text"), path), -EINVAL);
	ck_assert_ptr_nonnull(strstr(complained, "is not an image"));
	ck_assert_int_eq(resolve("no-such-thing", path), -ENOENT);
	ck_assert_ptr_nonnull(strstr(complained, "hutch image ls"));
	/* a name goes before a file of the same name; "./" says which */
	ck_assert_int_eq(image_name_path("name", true, store, sizeof(store)), 0);
	put_file(store, data, sizeof(data));
	ck_assert_int_eq(chdir(scratch), 0);
	put_text("name", "text");
	ck_assert_int_eq(resolve("name", path), IMAGE_SQUASHFS);
	ck_assert_str_eq(path, store);
	ck_assert_int_eq(resolve("./name", path), -EINVAL);
	ck_assert_int_eq(image_name_path("../name", false, store, sizeof(store)), -EINVAL);
	ck_assert_int_eq(image_name_path(".name", false, store, sizeof(store)), -EINVAL);
	ck_assert_int_eq(image_name_path("", false, store, sizeof(store)), -EINVAL);
}
END_TEST

static uint64_t inode_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : st.st_ino;
}

START_TEST(cache)
{
	char first[PATH_MAX], next[PATH_MAX];
	uint64_t ino;

	make_tree(scratch_path("src"));
	ck_assert_int_eq(resolve(scratch_path("src"), first), IMAGE_EROFS);
	ino = inode_of(first);
	ck_assert_int_eq(resolve(scratch_path("src"), next), IMAGE_EROFS);
	ck_assert_str_eq(first, next);
	ck_assert_uint_eq(inode_of(next), ino);
	/* the same size and time, but another content: what changes it changes the inode's time */
	put_text(scratch_path("src/a"), "SHORT\n");
	set_mtime(scratch_path("src/a"), 1700000000, 123456789);
	ck_assert_int_eq(resolve(scratch_path("src"), next), IMAGE_EROFS);
	ck_assert_str_ne(first, next);
	strcpy(first, next);
	ck_assert_int_eq(chmod(scratch_path("src/sub/deep/x"), 0600), 0);
	ck_assert_int_eq(resolve(scratch_path("src"), next), IMAGE_EROFS);
	ck_assert_str_ne(first, next);
	/* one for another owner */
	ck_assert_int_eq(image_resolve(scratch_path("src"), IMAGE_MAP_ROOT, first, PATH_MAX),
			 IMAGE_EROFS);
	ck_assert_str_ne(first, next);
	/* a damaged one is made again */
	ck_assert_int_eq(truncate(next, 0), 0);
	ck_assert_int_eq(resolve(scratch_path("src"), first), IMAGE_EROFS);
	ck_assert_str_eq(first, next);
}
END_TEST

static unsigned count_cached(void)
{
	return (unsigned)command("exit $(ls '%s/hutch' | wc -l)", scratch_path("cache"));
}

/* each held by the process that asked for it, as long as that lives */
START_TEST(prune)
{
	char held[PATH_MAX];

	ck_assert_int_eq(mkdir(scratch_path("src"), 0755), 0);
	ck_assert_int_eq(resolve(scratch_path("src"), held), IMAGE_EROFS);
	for (unsigned i = 0; i < 20; i++) {
		char name[32];
		pid_t pid;
		int status;

		snprintf(name, sizeof(name), "src/f%u", i);
		put_text(scratch_path(name), name);
		pid = fork();
		if (!pid) {
			char path[PATH_MAX];

			_exit(resolve(scratch_path("src"), path) != IMAGE_EROFS);
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_int_eq(status, 0);
	}
	/* the last 16, and the first because we hold it */
	ck_assert_uint_eq(count_cached(), 17);
	ck_assert_uint_ne(inode_of(held), 0);
}
END_TEST

START_TEST(temporary)
{
	struct image_temp t, u;
	const char *final = scratch_path("final");

	put_text(final, "old");
	ck_assert_int_eq(image_temp_open(&t, final), 0);
	ck_assert_int_eq(write(t.fd, "new", 3), 3);
	/* another writer does not sweep it, and until the end the old one stands */
	ck_assert_int_eq(image_temp_open(&u, final), 0);
	ck_assert_uint_ne(inode_of(t.path), 0);
	image_temp_drop(&u);
	ck_assert_int_eq(command("grep -q old '%s'", final), 0);
	ck_assert_int_eq(image_temp_commit(&t, final), 0);
	ck_assert_int_eq(command("grep -q new '%s'", final), 0);
	close(t.fd);
	/* a killed writer's is swept */
	ck_assert_int_eq(image_temp_open(&t, final), 0);
	close(t.fd);
	ck_assert_uint_ne(inode_of(t.path), 0);
	ck_assert_int_eq(image_temp_open(&u, final), 0);
	ck_assert_uint_eq(inode_of(t.path), 0);
	image_temp_drop(&u);
	ck_assert_int_eq(image_temp_open(&t, "/dev/null"), -EEXIST);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("image");
	TCase *t = tcase_create("image");

	tcase_set_timeout(t, 60);
	tcase_add_unchecked_fixture(t, scratch_make, scratch_remove);
	tcase_add_checked_fixture(t, scratch_clear, NULL);
	tcase_add_test(t, one_of_each);
	tcase_add_test(t, same_bytes);
	tcase_add_test(t, folder_and_archive);
	tcase_add_test(t, odd_names);
	tcase_add_loop_test(t, many_names, 0, 2);
	tcase_add_test(t, huge_file);
	tcase_add_test(t, attributes);
	tcase_add_test(t, owner);
	tcase_add_test(t, bad_sources);
	tcase_add_test(t, resolve_kinds);
	tcase_add_test(t, cache);
	tcase_add_test(t, prune);
	tcase_add_test(t, temporary);
	suite_add_tcase(s, t);
	return suite_run(s);
}
