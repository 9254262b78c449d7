/* t_archive - what is packed and unpacked is the same, goes where cp would put it, and may change
 * meanwhile; what is hostile is in t_archive_bad */
#include <fcntl.h>
#include <pthread.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "archive_rig.h"
#include "fake.h"
#include "suite.h"

static const struct archive_opts trusted = { .flags = ARCHIVE_TRUSTED }, plain = { .flags = 0 };
static struct archive_report report;

static void copy(const char *from, const char *to, const struct archive_opts *opts)
{
	struct made m;

	ck_assert_msg(!rig_pack(from, ARCHIVE_XATTRS, &m, &report), "%s", report.text);
	ck_assert_msg(!rig_unpack(&m, to, opts, &report), "%s", report.text);
	made_free(&m);
}

static void check_same(const char *a, const char *b, bool times)
{
	char *x = rig_state(a, times), *y = rig_state(b, times);

	if (strcmp(x, y)) { /* longer than libcheck can say */
		fprintf(stderr, "%s:\n%s\n%s:\n%s\n", a, x, b, y);
		ck_abort_msg("%s and %s differ", a, b);
	}
	free(x);
	free(y);
}

static void set_time(const char *path, time_t sec, long ns)
{
	struct timespec ts[2] = { { sec, ns }, { sec, ns } };

	ck_assert_int_eq(utimensat(AT_FDCWD, path, ts, AT_SYMLINK_NOFOLLOW), 0);
}

/* --- the same --- */

/* nodes and owners only where this user may make them */
static bool as_root(void)
{
	return !geteuid() && !mknod("probe", S_IFCHR | 0600, makedev(1, 3)) && !unlink("probe");
}

static void nasty_files(void)
{
	static const char *const names[] = { "src/new\nline", "src/ lead",     "src/-rf",
					     "src/\xff\xfe",  "src/\"quo\\te", "src/$(x)",
					     "src/.hidden",   "src/*" };
	char name[300] = "src/";

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		rig_file(names[i], names[i]);
	memset(name + 4, 'n', ARCHIVE_NAME);
	rig_file(name, "long");
	rig_file("src/empty", "");
	rig_file("src/suid", "s");
	ck_assert_int_eq(chmod("src/suid", 06755), 0);
	rig_file("src/nobody", "x");
	ck_assert_int_eq(chmod("src/nobody", 0), 0);
	rig_file("src/old", "1901");
	set_time("src/old", -2000000000, 999999999);
}

static void nasty(void)
{
	char text[4001];

	rig_dir("src");
	nasty_files();
	rig_dir("src/deep");
	rig_dir("src/deep/er");
	rig_dir("src/deep/none");
	ck_assert_int_eq(link("src/suid", "src/deep/er/suid2"), 0);
	ck_assert_int_eq(link("src/suid", "src/deep/suid3"), 0);
	ck_assert_int_eq(symlink("../suid", "src/deep/up"), 0);
	ck_assert_int_eq(symlink("/etc/passwd", "src/abs"), 0);
	ck_assert_int_eq(link("src/abs", "src/deep/abs2"), 0);
	memset(text, 'l', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	ck_assert_int_eq(symlink(text, "src/longlink"), 0);
	set_time("src/longlink", 12345, 6789);
	ck_assert_int_eq(mkfifo("src/fifo", 0640), 0);
	if (as_root()) {
		ck_assert_int_eq(mknod("src/char", S_IFCHR | 0666, makedev(1, 3)), 0);
		ck_assert_int_eq(mknod("src/block", S_IFBLK | 0600, makedev(259, 70000)), 0);
		ck_assert_int_eq(lchown("src/abs", 12, 13), 0);
		ck_assert_int_eq(lchown("src/old", 100000, 65533), 0);
		ck_assert_int_eq(chown("src/deep/none", 7, 8), 0);
		setxattr("src/old", "security.capability", "\1\0\0\2\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
			 20, 0);
	}
	setxattr("src/old", "user.one", "\0\1", 2, 0);
	setxattr("src/deep", "user.two", "", 0, 0);
	ck_assert_int_eq(chmod("src/deep/er", 0500), 0);
	ck_assert_int_eq(chmod("src/deep/none", 07000), 0);
	set_time("src/deep/none", 1, 1);
	set_time("src/deep", 1000000000, 123456789);
	set_time("src", 999, 1);
}

START_TEST(round_trip)
{
	rig_begin(true);
	nasty();
	copy("src", "dst", &trusted);
	check_same("src", "dst", true);
	ck_assert_uint_eq(report.notes, 0);
	copy("src", "dst", &trusted); /* into it */
	check_same("src", "dst/src", true);
	copy("src", "dst", &trusted); /* over it: folders have been there, and keep their times */
	check_same("src", "dst/src", false);
	rig_done();
}
END_TEST

static unsigned noted;

static void count_note(void *arg, const char *text)
{
	(void)arg;
	ck_assert_uint_gt(strlen(text), 10);
	fprintf(stderr, "%s\n", text);
	noted++;
}

/* as of a guest to its host: what is special is left out, the rest is the caller's own */
START_TEST(round_trip_plain)
{
	struct archive_opts o = { .note = count_note };
	unsigned special = 1;
	struct stat st;

	rig_begin(true);
	nasty();
	special += !access("src/char", F_OK) + !access("src/block", F_OK);
	copy("src", "dst", &o);
	ck_assert_uint_eq(report.notes, special);
	ck_assert_uint_eq(noted, special);
	ck_assert_int_eq(lstat("dst/suid", &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0755);
	ck_assert_uint_eq(st.st_nlink, 3);
	ck_assert_int_eq(lstat("dst/deep/none", &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFDIR | 01000);
	ck_assert_uint_eq(st.st_uid, geteuid());
	ck_assert_int_eq(lgetxattr("dst/old", "user.one", NULL, 0), -1);
	ck_assert_int_eq(lstat("dst/fifo", &st), -1);
	/* and apart from that it is the same */
	unlink("src/fifo");
	unlink("src/char");
	unlink("src/block");
	ck_assert_int_eq(chmod("src/suid", 0755), 0);
	ck_assert_int_eq(chmod("src/deep/none", 01000), 0);
	removexattr("src/old", "user.one");
	removexattr("src/old", "security.capability");
	removexattr("src/deep", "user.two");
	if (!geteuid()) {
		ck_assert_int_eq(lchown("src/abs", 0, 0), 0);
		ck_assert_int_eq(lchown("src/old", 0, 0), 0);
		ck_assert_int_eq(lchown("src/deep/none", 0, 0), 0);
		ck_assert_int_eq(chmod("src/deep/none", 01000), 0);
	}
	check_same("src", "dst", false);
	rig_done();
}
END_TEST

/* an owner that the caller chose */
START_TEST(owner_chosen)
{
	struct archive_opts o = { .own = true,
				  .uid = geteuid() ? geteuid() : 77,
				  .gid = geteuid() ? getegid() : 78 };
	struct stat st;

	rig_begin(true);
	rig_dir("src");
	rig_file("src/f", "x");
	ck_assert_int_eq(symlink("f", "src/l"), 0);
	copy("src", "dst", &o);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(lstat(((const char *[]){ "dst", "dst/f", "dst/l" })[i], &st), 0);
		ck_assert_uint_eq(st.st_uid, o.uid);
		ck_assert_uint_eq(st.st_gid, o.gid);
	}
	rig_done();
}
END_TEST

START_TEST(sparse)
{
	static const off_t at[] = { 5 << 20, 300 << 20, (900 << 20) + 12345 };
	struct stat a, b;
	struct made m;
	char buf[16];
	int fd;

	rig_begin(true);
	fd = open("src", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(ftruncate(fd, 1 << 30), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(at); i++)
		ck_assert_int_eq(pwrite(fd, "here it is", 10, at[i]), 10);
	close(fd);
	ck_assert_int_eq(rig_pack("src", 0, &m, &report), 0);
	ck_assert_uint_lt(m.len, 1 << 20); /* else this file system has no holes, and /tmp is odd */
	ck_assert_int_eq(rig_unpack(&m, "dst", &plain, &report), 0);
	made_free(&m);
	ck_assert_int_eq(stat("src", &a), 0);
	ck_assert_int_eq(stat("dst", &b), 0);
	ck_assert_int_eq(b.st_size, 1 << 30);
	ck_assert_int_le(b.st_blocks, a.st_blocks + 64);
	fd = open("dst", O_RDONLY | O_CLOEXEC);
	for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
		ck_assert_int_eq(pread(fd, buf, 12, at[i] - 1), 12);
		ck_assert_mem_eq(buf, "\0here it is", 12);
	}
	close(fd);
	rig_done();
}
END_TEST

/* bytes of many records, and lengths around one */
START_TEST(lengths)
{
	static const size_t sizes[] = { 1, ARCHIVE_BLOCK - 1, ARCHIVE_BLOCK, ARCHIVE_BLOCK + 1,
					(3 << 20) + 7 };
	static uint8_t data[4 << 20];
	uint32_t seed = 5;
	char name[32];
	int fd;

	rig_begin(true);
	rig_dir("src");
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(fake_random(&seed) >> 8);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		snprintf(name, sizeof(name), "src/%zu", sizes[i]);
		fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		ck_assert_int_eq(write(fd, data, sizes[i]), (ssize_t)sizes[i]);
		close(fd);
	}
	copy("src", "dst", &trusted);
	check_same("src", "dst", true);
	rig_done();
}
END_TEST

/* what has no size until it is read */
START_TEST(virtual)
{
	char a[256], b[256];
	ssize_t n, m;
	int fd;

	rig_begin(true);
	copy("/proc/version", ".", &plain);
	fd = open("/proc/version", O_RDONLY | O_CLOEXEC);
	n = read(fd, a, sizeof(a));
	close(fd);
	fd = open("version", O_RDONLY | O_CLOEXEC);
	m = read(fd, b, sizeof(b));
	close(fd);
	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(m, n);
	ck_assert_mem_eq(a, b, n);
	/* and what claims to be a page, but is not */
	copy("/sys/kernel/mm/transparent_hugepage/enabled", "thp", &plain);
	fd = open("thp", O_RDONLY | O_CLOEXEC);
	n = read(fd, a, sizeof(a));
	close(fd);
	ck_assert_int_gt(n, 0);
	ck_assert_int_lt(n, 100);
	ck_assert_ptr_null(memchr(a, 0, (size_t)n));
	rig_done();
}
END_TEST

/* --- where it goes --- */

/* before each: file f, folder d with d/in, folder e (empty), l -> e, dangling -> nothing */
static const struct rule {
	const char *from, *to;
	int error;
	const char *there; /* then a file, "f" or "in" */
} rules[] = {
	{ "f", "new", 0, "new" },
	{ "f", "e", 0, "e/f" },
	{ "f", "e/", 0, "e/f" },
	{ "f", "e/.", 0, "e/f" },
	{ "f", "./e//", 0, "e/f" },
	{ "f", ".", 0, "f" },
	{ "f", "e/..", 0, "f" },
	{ "f", "e/new", 0, "e/new" },
	{ "f", "new/", ENOENT, NULL },
	{ "f", "new/x", ENOENT, NULL },
	{ "f", "f2/", ENOTDIR, NULL },
	{ "f", "f2/x", ENOTDIR, NULL },
	{ "f", "f2", 0, "f2" },
	{ "f", "", ENOENT, NULL },
	{ "f", "l/", 0, "e/f" },
	{ "f", "l/x", 0, "e/x" },
	{ "f", "l", 0, "l" }, /* replaced, not followed */
	{ "f", "dangling", 0, "dangling" },
	{ "f", "dangling/", ENOENT, NULL },
	{ "f/", "new", ENOTDIR, NULL },
	{ "f/.", "new", ENOTDIR, NULL },
	{ "none", "new", ENOENT, NULL },
	{ "", "new", EINVAL, NULL },
	{ "d", "new", 0, "new/in" },
	{ "d", "new/", 0, "new/in" },
	{ "d", "e", 0, "e/d/in" },
	{ "d", "e/", 0, "e/d/in" },
	{ "d/", "e", 0, "e/d/in" },
	{ "d//", "e", 0, "e/d/in" },
	{ "d/.", "e", 0, "e/in" },
	{ "d/./", "e/", 0, "e/in" },
	{ "d/.", "new", 0, "new/in" },
	{ "d/../d", "new", 0, "new/in" },
	{ "d/../d/.", "l/", 0, "e/in" },
	{ "d", "l", ENOTDIR, NULL },
	{ "d/.", "l", ENOTDIR, NULL },
	{ "d", "l/", 0, "e/d/in" },
	{ "d", "f2", ENOTDIR, NULL },
	{ "d", "f2/", ENOTDIR, NULL },
	{ "d", "new/x", ENOENT, NULL },
	{ "d", ".", 0, "d/in" },
	{ "ld/", "new", 0, "new/in" },
	{ "ld/.", "new", 0, "new/in" },
	{ "ld/", "e", 0, "e/ld/in" },
};

START_TEST(places)
{
	const struct rule *rule = &rules[_i];
	struct made m;
	struct stat st;
	int r;

	rig_begin(true);
	rig_file("f", "f");
	rig_file("f2", "old");
	rig_dir("d");
	rig_file("d/in", "in");
	rig_dir("e");
	ck_assert_int_eq(symlink("e", "l"), 0);
	ck_assert_int_eq(symlink("d", "ld"), 0);
	ck_assert_int_eq(symlink("nothing", "dangling"), 0);
	r = rig_pack(rule->from, 0, &m, &report);
	if (!r || rule->error != -r)
		r = rig_unpack(&m, rule->to, &plain, &report);
	else /* the other side hears of it, with the same number */
		ck_assert_int_eq(rig_unpack(&m, rule->to, &plain, &report), r);
	made_free(&m);
	ck_assert_msg(r == -rule->error, "%s to %s: %d %s", rule->from, rule->to, r, report.text);
	if (rule->there)
		ck_assert_msg(rig_is(rule->there, *rule->from == 'f' ? "f" : "in"), "%s to %s",
			      rule->from, rule->to);
	else
		ck_assert_int_eq(lstat("new", &st), -1);
	ck_assert(rig_is("f", "f"));
	ck_assert(rig_is("f2", rule->there && !strcmp(rule->there, "f2") ? "f" : "old"));
	ck_assert_int_eq(lstat("nothing", &st), -1);
	rig_done();
}
END_TEST

/* a link is a link unless it is asked for what it points to */
START_TEST(root_link)
{
	char to[8] = "";
	struct made m;

	rig_begin(true);
	rig_file("f", "f");
	ck_assert_int_eq(symlink("f", "l"), 0);
	copy("l", "new", &plain);
	ck_assert_int_eq(readlink("new", to, sizeof(to)), 1);
	ck_assert_str_eq(to, "f");
	ck_assert_int_eq(rig_pack("l", ARCHIVE_FOLLOW, &m, &report), 0);
	rig_dir("d");
	ck_assert_int_eq(rig_unpack(&m, "d", &plain, &report), 0);
	ck_assert(rig_is("d/l", "f"));
	made_free(&m);
	rig_done();
}
END_TEST

/* what is there is replaced, not written to; folders keep what they are */
START_TEST(over_others)
{
	struct stat st;

	rig_begin(true);
	rig_dir("src");
	rig_file("src/f", "new");
	rig_file("src/l", "new");
	ck_assert_int_eq(symlink("x", "src/s"), 0);
	rig_dir("src/sub");
	rig_file("src/sub/g", "new");
	rig_dir("dst");
	rig_file("dst/f", "old");
	rig_file("outside", "old");
	ck_assert_int_eq(link("dst/f", "other"), 0);
	ck_assert_int_eq(symlink("../outside", "dst/l"), 0);
	rig_file("dst/s", "old");
	rig_dir("dst/sub");
	rig_file("dst/sub/h", "old");
	ck_assert_int_eq(chmod("dst/sub", 0711), 0);
	ck_assert_int_eq(chmod("dst", 0700), 0);
	copy("src/.", "dst", &trusted);
	ck_assert(rig_is("dst/f", "new") && rig_is("dst/l", "new"));
	ck_assert(rig_is("other", "old") && rig_is("outside", "old"));
	ck_assert(rig_is("dst/sub/g", "new") && rig_is("dst/sub/h", "old"));
	ck_assert_int_eq(lstat("dst/s", &st), 0);
	ck_assert(S_ISLNK(st.st_mode));
	ck_assert_int_eq(stat("dst/sub", &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0711);
	ck_assert_int_eq(stat("dst", &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0700);
	rig_done();
}
END_TEST

/* kinds that do not go over each other: an error, or with ARCHIVE_CONTINUE the rest */
START_TEST(clashes)
{
	struct archive_opts on = { .flags = ARCHIVE_CONTINUE, .note = count_note };
	struct made m;

	rig_begin(true);
	rig_dir("src");
	rig_dir("src/a");
	rig_file("src/a/in", "x");
	rig_file("src/b", "x");
	rig_file("src/c", "x");
	ck_assert_int_eq(symlink("c", "src/d"), 0);
	ck_assert_int_eq(rig_pack("src/.", 0, &m, &report), 0);
	rig_dir("dst");
	rig_file("dst/a", "old");
	rig_dir("dst/b");
	rig_dir("dst/d");
	ck_assert_int_lt(rig_unpack(&m, "dst", &plain, &report), 0);
	ck_assert_int_lt(rig_unpack(&m, "dst", &on, &report), 0);
	ck_assert_uint_eq(noted, 3);
	ck_assert_ptr_nonnull(strstr(report.text, "\"dst/"));
	ck_assert(rig_is("dst/a", "old") && rig_is("dst/c", "x"));
	ck_assert_int_eq(rmdir("dst/b") | rmdir("dst/d"), 0); /* empty: no other names are left */
	made_free(&m);
	rig_done();
}
END_TEST

/* --- while it is read --- */

/* what was read of the archive before the change, and after */
static struct made whole;

static pid_t pack_child(const char *path, int *ret_fd)
{
	int p[2];
	pid_t pid;

	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		struct archive_opts o = { .flags = 0 };

		_exit(-archive_pack(p[1], path, &o, &report));
	}
	close(p[1]);
	*ret_fd = p[0];
	return pid;
}

static void read_some(int fd, size_t most)
{
	ssize_t n;

	whole.data = realloc(whole.data, whole.len + most);
	while (most && (n = read(fd, whole.data + whole.len, most)) > 0) {
		whole.len += (size_t)n;
		most -= (size_t)n;
	}
}

static void big_file(const char *path)
{
	static uint8_t data[1 << 20];
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	memset(data, 'b', sizeof(data));
	for (unsigned i = 0; i < 8; i++)
		ck_assert_int_eq(write(fd, data, sizeof(data)), sizeof(data));
	close(fd);
}

/* the packer can be no further than its buffer and the pipe's: the rest is changed under it */
START_TEST(changes)
{
	static const off_t to[] = { 2 << 20, 9 << 20, 0 };
	struct archive_opts o = { .note = count_note };
	struct stat st;
	int fd, status;
	pid_t pid;

	rig_begin(true);
	rig_dir("src");
	big_file("src/big");
	pid = pack_child("src", &fd);
	read_some(fd, 4096);
	ck_assert_int_eq(truncate("src/big", to[_i]), 0);
	read_some(fd, 16 << 20);
	close(fd);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_msg(!rig_unpack(&whole, "dst", &o, &report), "%s", report.text);
	ck_assert_uint_eq(report.notes, 1);
	ck_assert_uint_eq(noted, 1);
	ck_assert_int_eq(stat("dst/big", &st), 0);
	if (to[_i] == 9 << 20) /* as it was */
		ck_assert_int_eq(st.st_size, 8 << 20);
	else if (to[_i])
		ck_assert_int_eq(st.st_size, 2 << 20);
	else /* as far as was read */
		ck_assert(st.st_size >= 4096 && st.st_size < 1 << 20);
	rig_done();
}
END_TEST

START_TEST(vanishes)
{
	const char *gone, *stays;
	int fd, status;
	pid_t pid;

	rig_begin(true);
	rig_dir("src");
	big_file("src/first");
	big_file("src/other");
	pid = pack_child("src", &fd);
	read_some(fd, 4096);
	stays = memmem(whole.data, 4096, "first", 5) ? "first" : "other";
	gone = *stays == 'f' ? "src/other" : "src/first";
	ck_assert_int_eq(unlink(gone), 0);
	read_some(fd, 32 << 20);
	close(fd);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(rig_unpack(&whole, "dst", &plain, &report), 0);
	ck_assert_uint_eq(report.notes, 1);
	ck_assert_uint_eq(report.entries, 2);
	ck_assert_uint_eq(report.bytes, 8 << 20);
	rig_done();
}
END_TEST

/* the reader has gone: an error, not a hang */
START_TEST(reader_gone)
{
	struct archive_opts o = { .flags = 0 };
	int p[2];

	rig_begin(true);
	big_file("big");
	signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	close(p[0]);
	ck_assert_int_eq(archive_pack(p[1], "big", &o, &report), -EPIPE);
	ck_assert_str_eq(report.text, "cannot write the archive: Broken pipe");
	close(p[1]);
	rig_done();
}
END_TEST

/* --- how deep --- */

static void nest(unsigned levels, const char *name)
{
	rig_dir("src");
	ck_assert_int_eq(chdir("src"), 0);
	for (unsigned i = 1; i < levels; i++) {
		rig_dir(name);
		ck_assert_int_eq(chdir(name), 0);
	}
	rig_file("bottom", "x");
	for (unsigned i = 0; i < levels; i++)
		ck_assert_int_eq(chdir(".."), 0);
}

START_TEST(deep)
{
	unsigned fds = fake_fds();
	struct made m;

	rig_begin(true);
	nest(ARCHIVE_DEPTH - 1, "d");
	copy("src", "dst", &trusted);
	check_same("src", "dst", true);
	rig_remove("src");
	nest(ARCHIVE_DEPTH + 1, "d");
	ck_assert_int_eq(rig_pack("src", 0, &m, &report), -ELOOP);
	made_free(&m);
	ck_assert_int_eq(rig_pack("src", ARCHIVE_CONTINUE, &m, &report), -ELOOP);
	ck_assert_int_eq(rig_unpack(&m, "most", &plain, &report), 0);
	ck_assert_uint_eq(report.notes, 1);
	ck_assert_uint_eq(report.entries, ARCHIVE_DEPTH);
	made_free(&m);
	ck_assert_uint_eq(fake_fds(), fds);
	rig_done();
}
END_TEST

START_TEST(long_paths)
{
	char name[201] = "";
	struct made m;

	memset(name, 'p', 200);
	rig_begin(true);
	nest(22, name); /* 21 * 201 is too long */
	ck_assert_int_eq(rig_pack("src", 0, &m, &report), -ENAMETOOLONG);
	made_free(&m);
	rig_remove("src");
	nest(21, name);
	copy("src", "dst", &trusted);
	check_same("src", "dst", true);
	rig_done();
}
END_TEST

/* --- words --- */

START_TEST(quotes)
{
	static const struct {
		const char *in, *out;
		size_t size;
	} of[] = {
		{ "plain", "plain", 64 },
		{ "a\"b\\c", "a\\\"b\\\\c", 64 },
		{ "\x1b[31m\n\t\x7f", "\\x1b[31m\\x0a\\x09\\x7f", 64 },
		{ "na\xc3\xafve \xe2\x82\xac \xf0\x9f\x99\x82",
		  "na\xc3\xafve \xe2\x82\xac \xf0\x9f\x99\x82", 64 },
		{ "\xc2\x9b", "\\xc2\\x9b", 64 },	   /* a control of its own */
		{ "\xe2\x80\xae", "\\xe2\\x80\\xae", 64 }, /* turns the line round */
		{ "\xc0\xaf", "\\xc0\\xaf", 64 },	   /* overlong */
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80", 64 }, /* a surrogate */
		{ "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", 64 },
		{ "\xe2\x82", "\\xe2\\x82", 64 }, /* cut */
		{ "12345678", "12345678", 12 },
		{ "123456789", "12345...", 9 },
		{ "1234\n6789", "1234...", 9 },
		{ "1234", "", 1 },
	};
	char buf[64];

	for (unsigned i = 0; i < ARRAY_SIZE(of); i++)
		ck_assert_str_eq(archive_quote(buf, of[i].size, of[i].in, strlen(of[i].in)),
				 of[i].out);
	ck_assert_str_eq(archive_clean(buf, sizeof(buf), "\"a\\\x1b", 4), "\"a\\\\x1b");
}
END_TEST

START_TEST(sources)
{
	static const struct {
		const char *path, *name;
		bool contents, folder;
	} of[] = {
		{ "a", "a", false, false },	{ "/x/a", "a", false, false },
		{ "a/", "a", false, true },	{ "x/a//", "a", false, true },
		{ "a/.", "", true, true },	{ "a/./", "", true, true },
		{ ".", "", true, true },	{ "..", "", true, true },
		{ "a/..", "", true, true },	{ "/", "", true, true },
		{ "...", "...", false, false }, { ".a", ".a", false, false },
	};
	struct archive_source s;
	char name[ARCHIVE_NAME + 2];

	for (unsigned i = 0; i < ARRAY_SIZE(of); i++) {
		ck_assert_int_eq(archive_source(of[i].path, &s), 0);
		ck_assert_str_eq(s.name, of[i].name);
		ck_assert_msg(s.contents == of[i].contents && s.folder == of[i].folder, "%s",
			      of[i].path);
	}
	ck_assert_int_eq(archive_source("", &s), -EINVAL);
	memset(name, 'a', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	ck_assert_int_eq(archive_source(name, &s), -ENAMETOOLONG);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("archive");
	TCase *c = tcase_create("archive");

	tcase_set_timeout(c, 60);
	tcase_add_test(c, round_trip);
	tcase_add_test(c, round_trip_plain);
	tcase_add_test(c, owner_chosen);
	tcase_add_test(c, sparse);
	tcase_add_test(c, lengths);
	tcase_add_test(c, virtual);
	tcase_add_loop_test(c, places, 0, ARRAY_SIZE(rules));
	tcase_add_test(c, root_link);
	tcase_add_test(c, over_others);
	tcase_add_test(c, clashes);
	tcase_add_loop_test(c, changes, 0, 3);
	tcase_add_test(c, vanishes);
	tcase_add_test(c, reader_gone);
	tcase_add_test(c, deep);
	tcase_add_test(c, long_paths);
	tcase_add_test(c, quotes);
	tcase_add_test(c, sources);
	suite_add_tcase(s, c);
	return suite_run(s);
}
