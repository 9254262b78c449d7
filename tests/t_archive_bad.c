/*
 * t_archive_bad - archives that nobody packed: whatever they say, nothing outside the target
 * changes
 *
 * Each is unpacked into in/, in a folder beside which there are a secret and what
 * a link could point to.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "archive_rig.h"
#include "fake.h"
#include "suite.h"

#define FOLDER (S_IFDIR | 0755)

static const struct archive_opts plain = { .flags = 0 }, trusted = { .flags = ARCHIVE_TRUSTED };
static struct archive_report report;
static struct made m;
static char *before;
static unsigned fds;

static char *outside(void)
{
	char *a = rig_state("out", true), *b = rig_state("secret", true), *both = NULL;
	struct stat st;

	ck_assert_int_eq(stat("secret", &st), 0);
	ck_assert_int_gt(asprintf(&both, "%s%s%ld.%ld", a, b, st.st_ctim.tv_sec,
				  st.st_ctim.tv_nsec),
			 0);
	free(a);
	free(b);
	return both;
}

static void set_up(void)
{
	fds = fake_fds();
	rig_begin(false);
	rig_file("secret", "keep me");
	rig_dir("out");
	rig_file("out/file", "keep me");
	rig_dir("in");
	ck_assert_int_eq(symlink("../out", "in/there"), 0);
	before = outside();
	m = (struct made){ .data = NULL };
}

static void tear_down(void)
{
	char *after = outside();

	ck_assert_msg(!strcmp(before, after), "changed outside:\n%s\n%s", before, after);
	ck_assert_uint_eq(fake_fds(), fds);
	free(before);
	free(after);
	made_free(&m);
	rig_done();
}

static int unpack(const struct archive_opts *opts)
{
	return rig_unpack(&m, "in", opts, &report);
}

/* how many names are in @path, also such as are there for a moment only */
static unsigned names(const char *path)
{
	char *state = rig_state(path, false);
	unsigned n = 0;

	for (char *s = state; *s; s++)
		n += *s == '\n';
	free(state);
	return n - 1;
}

/* --- names --- */

static const struct {
	const char *name;
	uint32_t len;
} bad_names[] = {
	{ "..", 2 },	    { ".", 1 },	  { "", 0 },	   { "/", 1 },
	{ "../secret", 9 }, { "a/b", 3 }, { "/etc/x", 6 }, { "a/", 2 },
	{ "a\0b", 3 },	    { "\0", 1 },  { "..\0", 3 },   { "there/x", 7 },
};

START_TEST(bad_name)
{
	unsigned i = (unsigned)_i / 4, what = (unsigned)_i % 4;
	static const uint32_t kinds[] = { S_IFREG | 0644, FOLDER, S_IFLNK | 0777, 0 };
	struct archive_entry e = { .mode = kinds[what], .name_len = bad_names[i].len };

	made_head(&m, "");
	made_entry(&m, FOLDER, "", "");
	if (what == 3)
		made_file(&m, "first", "x");
	made_any(&m, what == 3 ? ARCHIVE_LINK : ARCHIVE_ENTRY, e, bad_names[i].name,
		 what == 2   ? "secret"
		 : what == 3 ? "first"
			     : "");
	if (!what)
		made_file_end(&m, 0);
	if (what == 1)
		made_leave(&m);
	made_leave(&m);
	made_end(&m);
	ck_assert_int_eq(unpack(&trusted), -EPROTO);
	ck_assert_uint_eq(names("in"), 1 + (what == 3));
}
END_TEST

START_TEST(name_too_long)
{
	char name[ARCHIVE_NAME + 2];

	memset(name, 'a', sizeof(name));
	name[ARCHIVE_NAME + 1] = '\0';
	made_head(&m, "");
	made_entry(&m, FOLDER, "", "");
	made_file(&m, name, "x");
	made_leave(&m);
	made_end(&m);
	ck_assert_int_eq(unpack(&trusted), -EPROTO);
}
END_TEST

/* the root's name: what was asked for counts, and not what the archive says */
START_TEST(root_names)
{
	static const char *const bad[] = { "..", ".", "a/b", "../secret", "/etc" };
	struct archive_opts asked = { .source = "/some/asked" };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		made_head(&m, bad[i]);
		made_file(&m, "", "x");
		made_end(&m);
		ck_assert_int_eq(unpack(&trusted), -EPROTO);
		made_free(&m);
	}
	made_head(&m, ".bashrc");
	made_file(&m, "", "x");
	made_end(&m);
	ck_assert_int_eq(unpack(&asked), 0);
	ck_assert(rig_is("in/asked", "x"));
	ck_assert_uint_eq(names("in"), 2);
	made_free(&m);
	rig_remove("in/asked");
	/* the folder was asked for, what is in it comes */
	made_head(&m, "");
	made_entry(&m, FOLDER, "", "");
	made_file(&m, ".bashrc", "x");
	made_leave(&m);
	made_end(&m);
	ck_assert_int_eq(unpack(&asked), 0);
	ck_assert(rig_is("in/asked/.bashrc", "x"));
	ck_assert_uint_eq(names("in"), 3);
	/* and what is in it was asked for, a file comes */
	asked.source = "/some/.";
	made_free(&m);
	made_head(&m, "x");
	made_file(&m, "", "x");
	made_end(&m);
	ck_assert_int_eq(unpack(&asked), -EPROTO);
	ck_assert_uint_eq(names("in"), 3);
}
END_TEST

/* --- links --- */

/* a link of the archive's own, or one that is there, and then a folder of that name with a file */
START_TEST(through_symlink)
{
	static const char *const to[] = { "../out", "..", "/dev", "there", "." };
	bool own = _i < (int)ARRAY_SIZE(to);

	made_head(&m, "");
	made_entry(&m, FOLDER, "", "");
	if (own)
		made_entry(&m, S_IFLNK | 0777, "l", to[_i]);
	made_entry(&m, FOLDER, own ? "l" : "there", "");
	made_file(&m, "file", "bad");
	made_leave(&m);
	made_leave(&m);
	made_end(&m);
	ck_assert_int_eq(unpack(&trusted), -ENOTDIR);
	ck_assert_uint_eq(names("in"), 1U + own);
}
END_TEST

/* a file takes the link's place */
START_TEST(file_over_symlink)
{
	made_head(&m, "");
	made_entry(&m, FOLDER, "", "");
	made_entry(&m, S_IFLNK | 0777, "l", "../secret");
	made_file(&m, "l", "mine");
	made_file(&m, "there", "mine");
	made_leave(&m);
	made_end(&m);
	ck_assert_int_eq(unpack(&trusted), 0);
	ck_assert(rig_is("in/l", "mine") && rig_is("in/there", "mine"));
}
END_TEST

/* the target itself, on the second of two equal copies */
START_TEST(target_became_link)
{
	made_head(&m, "x");
	made_entry(&m, S_IFLNK | 0777, "", "../out");
	made_end(&m);
	ck_assert_int_eq(rig_unpack(&m, "in/x", &plain, &report), 0);
	made_free(&m);
	made_head(&m, "x");
	made_entry(&m, FOLDER, "", "");
	made_file(&m, "file", "bad");
	made_leave(&m);
	made_end(&m);
	ck_assert_int_eq(rig_unpack(&m, "in/x", &plain, &report), -ENOTDIR);
	ck_assert_int_eq(rig_unpack(&m, "in", &plain, &report), -ENOTDIR);
	made_free(&m);
	made_head(&m, "x");
	made_file(&m, "", "mine");
	made_end(&m);
	ck_assert_int_eq(rig_unpack(&m, "in/x", &plain, &report), 0);
	ck_assert(rig_is("in/x", "mine"));
}
END_TEST

static const struct {
	const char *to;
	int error;
} bad_links[] = {
	{ "../secret", EPROTO }, { "/etc/passwd", EPROTO }, { "sub/../../secret", EPROTO },
	{ "./a", EPROTO },	 { "sub//f", EPROTO },	    { "sub/", EPROTO },
	{ "", EPROTO },		 { "there/file", ENOTDIR }, { "own/file", ENOTDIR },
	{ "sub", EPERM },	 { "none", ENOENT },	    { "sub/none/x", ENOENT },
};

START_TEST(bad_link)
{
	made_head(&m, "");
	made_entry(&m, FOLDER, "", "");
	made_entry(&m, S_IFLNK | 0777, "own", "../out");
	made_entry(&m, FOLDER, "sub", "");
	made_file(&m, "f", "x");
	made_leave(&m);
	made_entry(&m, 0, "new", bad_links[_i].to);
	made_leave(&m);
	made_end(&m);
	ck_assert_msg(unpack(&trusted) == -bad_links[_i].error, "%s: %s", bad_links[_i].to,
		      report.text);
	ck_assert_uint_eq(names("in"), 4);
}
END_TEST

/* a link to a link is one more link, and what is written under its name is a file of its own */
START_TEST(link_to_symlink)
{
	struct stat st;

	made_head(&m, "");
	made_entry(&m, FOLDER, "", "");
	made_entry(&m, S_IFLNK | 0777, "s", "../secret");
	made_entry(&m, 0, "h", "s");
	made_entry(&m, 0, "t", "there");
	made_leave(&m);
	made_end(&m);
	ck_assert_int_eq(unpack(&trusted), 0);
	ck_assert_int_eq(lstat("in/h", &st), 0);
	ck_assert(S_ISLNK(st.st_mode));
	made_free(&m);
	made_head(&m, "");
	made_entry(&m, FOLDER, "", "");
	made_file(&m, "h", "bad");
	made_file(&m, "t", "bad");
	made_leave(&m);
	made_end(&m);
	ck_assert_int_eq(unpack(&trusted), 0);
	ck_assert(rig_is("in/h", "bad") && rig_is("in/t", "bad"));
}
END_TEST

/* a name that is there outside too: its other end is not written to */
START_TEST(over_hard_link)
{
	char *linked;

	ck_assert_int_eq(link("secret", "in/s"), 0);
	linked = rig_state("secret", false);
	made_head(&m, "");
	made_entry(&m, FOLDER, "", "");
	made_file(&m, "s", "bad");
	made_entry(&m, S_IFREG | 0777, "s", "");
	made_file_end(&m, 0);
	made_leave(&m);
	made_end(&m);
	ck_assert_int_eq(unpack(&trusted), 0);
	ck_assert(rig_is("secret", "keep me"));
	free(before);
	before = outside(); /* its time of change is that of the link's end */
	free(linked);
}
END_TEST

START_TEST(same_name_twice)
{
	made_head(&m, "");
	made_entry(&m, FOLDER, "", "");
	made_file(&m, "a", "first");
	made_entry(&m, 0, "b", "a");
	made_file(&m, "a", "second");
	made_entry(&m, 0, "a", "a"); /* itself */
	made_entry(&m, FOLDER, "d", "");
	made_leave(&m);
	made_entry(&m, FOLDER, "d", "");
	made_file(&m, "x", "x");
	made_leave(&m);
	made_leave(&m);
	made_end(&m);
	ck_assert_int_eq(unpack(&trusted), 0);
	ck_assert(rig_is("in/a", "second") && rig_is("in/b", "first") && rig_is("in/d/x", "x"));
	ck_assert_uint_eq(names("in"), 5);
}
END_TEST

/* --- kinds and rights --- */

START_TEST(left_out)
{
	static const uint32_t kinds[] = { S_IFCHR, S_IFBLK, S_IFIFO };
	struct archive_entry e = { .name_len = 1, .major = 1, .minor = 3 };

	made_head(&m, "");
	made_entry(&m, FOLDER, "", "");
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		e.mode = kinds[i] | 0666;
		made_any(&m, ARCHIVE_ENTRY, e, "n", "");
	}
	made_leave(&m);
	made_end(&m);
	ck_assert_int_eq(unpack(&plain), 0);
	ck_assert_uint_eq(report.notes, 3);
	ck_assert_uint_eq(names("in"), 1);
	made_free(&m);
	/* the root alone */
	made_head(&m, "n");
	e.name_len = 0;
	made_any(&m, ARCHIVE_ENTRY, e, "", "");
	made_end(&m);
	ck_assert_int_eq(unpack(&plain), 0);
	ck_assert_uint_eq(names("in"), 1);
}
END_TEST

START_TEST(no_such_kind)
{
	static const uint32_t modes[] = { S_IFSOCK | 0644, 0644, 0170644, S_IFREG | 010644,
					  1U << 31 };

	made_head(&m, "");
	made_entry(&m, FOLDER, "", "");
	made_any(&m, ARCHIVE_ENTRY, (struct archive_entry){ .mode = modes[_i], .name_len = 1 }, "n",
		 "");
	made_leave(&m);
	made_end(&m);
	ck_assert_int_eq(unpack(&trusted), -EPROTO);
	ck_assert_uint_eq(names("in"), 1);
}
END_TEST

START_TEST(setid)
{
	struct stat st;

	made_head(&m, "");
	made_entry(&m, FOLDER, "", "");
	made_entry(&m, S_IFREG | 06777, "f", "");
	made_file_end(&m, 0);
	made_entry(&m, S_IFDIR | 07777, "d", "");
	made_leave(&m);
	made_leave(&m);
	made_end(&m);
	ck_assert_int_eq(unpack(&plain), 0);
	ck_assert_int_eq(stat("in/f", &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0777);
	ck_assert_int_eq(stat("in/d", &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFDIR | 01777);
	rig_remove("in/d");
	ck_assert_int_eq(unpack(&trusted), 0);
	ck_assert_int_eq(stat("in/f", &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 06777);
	ck_assert_int_eq(stat("in/d", &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFDIR | 07777);
}
END_TEST

/* --- sizes --- */

static const struct {
	uint64_t offset, size;
	int error;
} huge[] = {
	{ 0, UINT64_MAX, EPROTO },
	{ 0, (uint64_t)INT64_MAX + 1, EPROTO },
	{ 0, INT64_MAX, EFBIG }, /* or what this file system says, at once */
	{ UINT64_MAX, UINT64_MAX, EPROTO },
	{ UINT64_MAX - 1, 3, EPROTO },
	{ INT64_MAX, INT64_MAX, EPROTO },
	{ INT64_MAX - 3, INT64_MAX, EFBIG },
	{ 10, 12, EPROTO }, /* shorter than what is in it */
};

START_TEST(huge_size)
{
	struct archive_entry e = { .mode = S_IFREG | 0644, .size = UINT64_MAX, .name_len = 1 };
	struct stat st;

	made_head(&m, "");
	made_entry(&m, FOLDER, "", "");
	made_any(&m, ARCHIVE_ENTRY, e, "f", "");
	made_data(&m, huge[_i].offset, "xyz");
	made_file_end(&m, huge[_i].size);
	made_leave(&m);
	made_end(&m);
	signal(SIGXFSZ, SIG_IGN);
	if (huge[_i].error == EPROTO)
		ck_assert_int_eq(unpack(&plain), -EPROTO);
	else if (!unpack(&plain)) /* there are file systems where it is only a large hole */
		ck_assert(!stat("in/f", &st) && st.st_blocks < 100 && !unlink("in/f"));
	ck_assert_uint_eq(names("in"), 1);
}
END_TEST

/* bytes that go back */
START_TEST(out_of_order)
{
	made_head(&m, "f");
	made_entry(&m, S_IFREG | 0644, "", "");
	made_data(&m, 100, "xyz");
	made_data(&m, 102, "xyz");
	made_file_end(&m, 1000);
	made_end(&m);
	ck_assert_int_eq(unpack(&plain), -EPROTO);
	ck_assert_uint_eq(names("in"), 1);
}
END_TEST

/* lengths within a record that do not add up */
START_TEST(lengths)
{
	static const struct archive_entry of[] = {
		{ .name_len = UINT32_MAX, .link_len = 2 },
		{ .name_len = 1, .link_len = UINT32_MAX },
		{ .name_len = 1, .xattr_len = UINT32_MAX },
		{ .name_len = 2 },
		{ .name_len = 0 },
		{ .name_len = 1, .mtime_ns = 1000000000 },
		{ .name_len = 1, .zero = 1 },
		{ .name_len = 1, .link_len = 1 },
	};
	struct {
		struct archive_entry e;
		char rest[4];
	} body = { of[_i], "n" };

	body.e.mode = S_IFREG | 0644;
	made_head(&m, "");
	made_entry(&m, FOLDER, "", "");
	made_record(&m, ARCHIVE_ENTRY, &body, sizeof(body.e) + 1);
	ck_assert_int_eq(unpack(&trusted), -EPROTO);
	ck_assert_ptr_nonnull(strstr(report.text, "not in order")); /* and not that it ends early */
	ck_assert_uint_eq(names("in"), 1);
}
END_TEST

START_TEST(attributes)
{
	static const struct {
		const char *bytes;
		uint32_t len;
		bool good;
	} of[] = {
		{ "\x06\0\0\0\1\0\0\0user.av", 15, true },
		{ "\x06\0\0\0\2\0\0\0user.av", 15, false },
		{ "\x06\0\0\0\0\0\0\0user.av", 15, false },
		{ "\x05\0\0\0\1\0\0\0user.v", 14, false },
		{ "\x06\0\1\0\1\0\0\0user.av", 15, false },
		{ "\x06\0\0\0\xff\xff\xff\xffuser.av", 15, false },
		{ "\0\0\0\0\0\0\0\0", 8, false },
		{ "\x06\0\0\0", 4, false },
		{ "\x10\0\0\0\0\0\0\0security.selinux", 24, false },
		{ "\x0e\0\0\0\0\0\0\0trusted.overlay", 22, false },
		{ "\x07\0\0\0\0\0\0\0user.a\0", 15, false },
	};
	struct {
		struct archive_entry e;
		char rest[64];
	} body = { { .mode = S_IFREG | 0644, .name_len = 1, .xattr_len = of[_i].len }, "n" };

	memcpy(body.rest + 1, of[_i].bytes, of[_i].len);
	made_head(&m, "");
	made_entry(&m, FOLDER, "", "");
	made_record(&m, ARCHIVE_ENTRY, &body, sizeof(body.e) + 1 + of[_i].len);
	m.end.entries++;
	made_file_end(&m, 0);
	made_leave(&m);
	made_end(&m);
	ck_assert_int_eq(unpack(&trusted), of[_i].good ? 0 : -EPROTO);
}
END_TEST

START_TEST(too_deep)
{
	made_head(&m, "");
	for (unsigned i = 0; i <= ARCHIVE_DEPTH; i++)
		made_entry(&m, FOLDER, i ? "d" : "", "");
	for (unsigned i = 0; i <= ARCHIVE_DEPTH; i++)
		made_leave(&m);
	made_end(&m);
	ck_assert_int_eq(unpack(&trusted), -EPROTO);
}
END_TEST

START_TEST(path_too_long)
{
	char name[ARCHIVE_NAME + 1] = "";

	memset(name, 'd', ARCHIVE_NAME);
	made_head(&m, "");
	for (unsigned i = 0; i <= ARCHIVE_PATH / (ARCHIVE_NAME + 1) + 2; i++)
		made_entry(&m, FOLDER, i ? name : "", "");
	ck_assert_int_eq(unpack(&trusted), -EPROTO);
	ck_assert_ptr_nonnull(strstr(report.text, "too long"));
}
END_TEST

/* --- order --- */

/* each letter a record; whatever the order, an error */
static const char *const orders[] = {
	"",	  "R",	      "HR",	  "H",	     "HE",    "HHRLE",	 "RLE",	   "HL",
	"HLE",	  "HD",	      "HF",	  "HRDLE",   "HRFLE", "HREL",	 "HRfRLE", "HRfLE",
	"HRfE",	  "HRfDDFE",  "HRLRLE",	  "HRLLE",   "HRLEE", "HRLEN",	 "HRLEH",  "HRLE?",
	"HR?LE",  "HRfDFE",   "HRfDFFLE", "HRfDLFE", "HRLe",  "HRfDFLe", "A",	   "HA",
	"HRA",	  "HRfA",     "HRfDA",	  "HRLA",    "NHRLE", "HXE",	 "HRZLE",  "HrDFrDFE",
	"HrDFLE", "HrDFfDFE", "HrE",	  "HrD",     "HrDLE",
};

static void order_record(char c)
{
	struct archive_record odd = { 99, 0 };
	uint32_t error = EACCES;

	switch (c) {
	case 'H':
		made_head(&m, "x");
		break;
	case 'R':
		made_entry(&m, FOLDER, m.end.entries ? "sub" : "", "");
		break;
	case 'r':
	case 'f':
		made_entry(&m, S_IFREG | 0644, c == 'f' ? "file" : "", "");
		break;
	case 'D':
		made_data(&m, m.end.bytes, "x");
		break;
	case 'F':
		made_file_end(&m, m.end.bytes);
		break;
	case 'L':
		made_leave(&m);
		break;
	case 'E':
		made_end(&m);
		break;
	case 'e': /* one file was lost on the way */
		m.end.entries++;
		made_end(&m);
		break;
	case 'N':
		made_record(&m, ARCHIVE_NOTE, "note", 4);
		break;
	case 'A':
		made_record(&m, ARCHIVE_ABORT, &error, sizeof(error));
		break;
	case 'X':
		made_entry(&m, 0, "", "target");
		break;
	case 'Z':
		made_record(&m, ARCHIVE_LEAVE, "x", 1);
		break;
	default:
		made_record(&m, odd.type, NULL, 0);
	}
}

START_TEST(order)
{
	for (const char *s = orders[_i]; *s; s++)
		order_record(*s);
	ck_assert_msg(unpack(&trusted) == (strchr(orders[_i], 'A') ? -EACCES : -EPROTO), "%s: %s",
		      orders[_i], report.text);
	/* no half of it under its name */
	ck_assert(access("in/x/file", F_OK) ||
		  (strstr(orders[_i], "DF") && !rig_is("in/x/file", "")));
}
END_TEST

START_TEST(not_one)
{
	static const char *const of[] = { "PK\3\4 and so on, long enough for a header of ours",
					  "\x1f\x8b\x08", "hello" };
	struct archive_head h = { ARCHIVE_MAGIC, ARCHIVE_VERSION + 1, 0 };

	for (unsigned i = 0; i < ARRAY_SIZE(of); i++) {
		m = (struct made){ .data = (uint8_t *)strdup(of[i]), .len = strlen(of[i]) };
		ck_assert_int_eq(unpack(&trusted), -EPROTO);
		made_free(&m);
	}
	made_record(&m, ARCHIVE_HEAD, &h, sizeof(h));
	ck_assert_int_eq(unpack(&trusted), -EPROTO);
	ck_assert_ptr_nonnull(strstr(report.text, "version"));
}
END_TEST

/* --- words --- */

static unsigned told;

static void tell(void *arg, const char *text)
{
	(void)arg;
	told++;
	for (const char *s = text; *s; s++)
		ck_assert_msg(*s >= 0x20 && *s < 0x7f, "%02x", *s);
}

START_TEST(words)
{
	struct archive_opts o = { .note = tell };
	struct {
		uint32_t error;
		char text[600];
	} last = { EPROTO, "" };

	memset(last.text, '\x1b', sizeof(last.text));
	made_head(&m, "\x1b]0;x\n");
	made_entry(&m, FOLDER, "", "");
	for (unsigned i = 0; i < 1000; i++)
		made_record(&m, ARCHIVE_NOTE, "\x1b[31m\x07\0\xff", 8);
	made_entry(&m, S_IFIFO | 0644, "\r\n\xc2\x9bK", "");
	made_record(&m, ARCHIVE_ABORT, &last, sizeof(last));
	ck_assert_int_eq(unpack(&o), -EIO); /* a number of ours is not theirs to give */
	ck_assert_uint_eq(told, ARCHIVE_NOTES + 1);
	ck_assert_uint_eq(report.notes, 1001);
	tell(NULL, report.text);
	last.error = 77777;
	made_free(&m);
	made_record(&m, ARCHIVE_ABORT, &last, sizeof(last));
	ck_assert_int_eq(unpack(&o), -EIO);
	tell(NULL, report.text);
}
END_TEST

/* --- cuts --- */

/* a small tree, in order */
static void small(void)
{
	made_head(&m, "x");
	made_entry(&m, FOLDER, "", "");
	made_file(&m, "a", "whole");
	made_entry(&m, FOLDER, "d", "");
	made_entry(&m, S_IFREG | 0600, "b", "");
	made_data(&m, 0, "who");
	made_data(&m, 3, "le");
	made_file_end(&m, 5);
	made_entry(&m, S_IFLNK | 0777, "l", "a");
	made_leave(&m);
	made_entry(&m, 0, "h", "d/b");
	made_leave(&m);
	made_end(&m);
}

/* what is there is whole, and nothing else is */
static void check_whole(void)
{
	static const char *const files[] = { "in/x/a", "in/x/d/b", "in/x/h" };
	unsigned n = !access("in/x", F_OK) + !access("in/x/d", F_OK);
	struct stat st;

	for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
		if (!access(files[i], F_OK)) {
			ck_assert(rig_is(files[i], "whole"));
			n++;
		}
	}
	ck_assert_uint_eq(names("in"), 1 + n + !lstat("in/x/d/l", &st));
}

/* /proc is not there in some places: then a file has another name until it is whole */
static void without_proc(void)
{
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/proc", "tmpfs", 0, NULL)) {
		printf("skip without_proc: no namespace of mounts of one's own\n");
		_exit(0);
	}
}

/* cut at every byte; with _i, where /proc is missing */
static void cut_everywhere(void)
{
	small();
	for (size_t whole = m.len, len = 0; len <= whole; len++) {
		m.len = len;
		ck_assert_msg(unpack(&plain) == (len < whole ? -EPROTO : 0), "%zu of %zu: %s", len,
			      whole, report.text);
		check_whole();
		if (len < whole)
			rig_remove("in/x");
	}
	ck_assert_uint_eq(names("in"), 7);
}

START_TEST(cut)
{
	int status;
	pid_t pid;

	if (!_i) {
		cut_everywhere();
		return;
	}
	pid = fork();
	if (!pid) {
		without_proc();
		cut_everywhere();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	m.len = 0;
	rig_remove("in/x");
}
END_TEST

/* each bit of it turned: whatever that means, it is only inside, and ends */
START_TEST(turned)
{
	small();
	for (size_t i = 0; i < m.len * 8; i += 3) {
		m.data[i / 8] ^= (uint8_t)(1 << i % 8);
		unpack(i & 8 ? &trusted : &plain);
		m.data[i / 8] ^= (uint8_t)(1 << i % 8);
		rig_remove("in");
		rig_dir("in");
		ck_assert_int_eq(symlink("../out", "in/there"), 0);
	}
}
END_TEST

/* killed in the middle of a file: the old one is there, whole, and no other */
START_TEST(killed)
{
	struct stat st;
	int p[2], status;
	pid_t pid;

	made_head(&m, "");
	made_entry(&m, FOLDER, "", "");
	made_file(&m, "first", "x");
	made_entry(&m, S_IFREG | 0644, "f", "");
	made_data(&m, 0, "half of the new one");
	rig_file("in/f", "the old one");
	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		close(p[1]);
		archive_unpack(p[0], "in", &plain, &report);
		_exit(0);
	}
	close(p[0]);
	ck_assert_int_eq(write(p[1], m.data, m.len), (ssize_t)m.len);
	/* it waits for more when the pipe is empty and the file before is there */
	for (unsigned i = 0; i < 1000 && stat("in/first", &st); i++)
		usleep(10000);
	ck_assert_int_eq(stat("in/first", &st), 0);
	usleep(50000);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	close(p[1]);
	ck_assert(rig_is("in/f", "the old one"));
	ck_assert_uint_le(names("in"), 4); /* the fourth where a file cannot be without a name */
}
END_TEST

/* the disk is full: an error that names the file, and it is not there */
START_TEST(full)
{
	static char block[ARCHIVE_BLOCK + 1];
	int status;
	pid_t pid = fork();

	memset(block, 'x', ARCHIVE_BLOCK);
	if (!pid) {
		if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("none", "in", "tmpfs", 0, "size=1m"))
			_exit(77);
		made_head(&m, "big");
		made_entry(&m, S_IFREG | 0644, "", "");
		for (unsigned i = 0; i < 32; i++)
			made_data(&m, i * ARCHIVE_BLOCK, block);
		made_file_end(&m, 32 * ARCHIVE_BLOCK);
		made_end(&m);
		ck_assert_int_eq(unpack(&plain), -ENOSPC);
		ck_assert_str_eq(report.text, "cannot write \"in/big\": No space left on device");
		ck_assert_uint_eq(names("in"), 0);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		printf("skip full: no namespace of mounts of one's own\n");
	else
		ck_assert_int_eq(status, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("archive_bad");
	TCase *c = tcase_create("archive_bad");

	tcase_set_timeout(c, 60);
	tcase_add_checked_fixture(c, set_up, tear_down);
	tcase_add_loop_test(c, bad_name, 0, 4 * ARRAY_SIZE(bad_names));
	tcase_add_test(c, name_too_long);
	tcase_add_test(c, root_names);
	tcase_add_loop_test(c, through_symlink, 0, 6);
	tcase_add_test(c, file_over_symlink);
	tcase_add_test(c, target_became_link);
	tcase_add_loop_test(c, bad_link, 0, ARRAY_SIZE(bad_links));
	tcase_add_test(c, link_to_symlink);
	tcase_add_test(c, over_hard_link);
	tcase_add_test(c, same_name_twice);
	tcase_add_test(c, left_out);
	tcase_add_loop_test(c, no_such_kind, 0, 5);
	tcase_add_test(c, setid);
	tcase_add_loop_test(c, huge_size, 0, ARRAY_SIZE(huge));
	tcase_add_test(c, out_of_order);
	tcase_add_loop_test(c, lengths, 0, 8);
	tcase_add_loop_test(c, attributes, 0, 11);
	tcase_add_test(c, too_deep);
	tcase_add_test(c, path_too_long);
	tcase_add_loop_test(c, order, 0, ARRAY_SIZE(orders));
	tcase_add_test(c, not_one);
	tcase_add_test(c, words);
	tcase_add_loop_test(c, cut, 0, 2);
	tcase_add_test(c, turned);
	tcase_add_test(c, killed);
	tcase_add_test(c, full);
	suite_add_tcase(s, c);
	return suite_run(s);
}
