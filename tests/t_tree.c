/* t_tree - lists of a folder and what has changed between two, true ones and such as nobody made */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "archive_rig.h"
#include "fake.h"
#include "suite.h"
#include "tree.h"

struct list {
	char *data;
	size_t len;
};

static struct list list_of(const char *const *excludes, unsigned n, uint32_t most)
{
	int fd = memfd_create("list", MFD_CLOEXEC);
	struct list l;
	struct stat st;

	ck_assert_int_eq(tree_list(fd, "ws", excludes, n, most), 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	l = (struct list){ malloc((size_t)st.st_size), (size_t)st.st_size };
	ck_assert_int_eq(pread(fd, l.data, l.len, 0), (ssize_t)l.len);
	close(fd);
	return l;
}

static struct list now(void)
{
	return list_of(NULL, 0, TREE_ENTRIES);
}

/* "+name", "*name", "-name", each with a space behind */
static char changes[8192];

static void add_change(void *arg, enum tree_change what, const char *name, size_t len)
{
	size_t at = strlen(changes);

	(void)arg;
	ck_assert_uint_lt(at + len + 3, sizeof(changes));
	snprintf(changes + at, sizeof(changes) - at, "%c%.*s ", "+*-"[what], (int)len, name);
}

static int diff(const struct list *a, const struct list *b, struct tree_result *res)
{
	changes[0] = '\0';
	return tree_diff(a->data, a->len, b->data, b->len, add_change, NULL, res);
}

static void check_changes(struct list *a, const char *want, uint32_t flags)
{
	struct list b = now();
	struct tree_result res;
	uint64_t n = 0;

	ck_assert_int_eq(diff(a, &b, &res), 0);
	ck_assert_str_eq(changes, want);
	ck_assert_uint_eq(res.flags, flags);
	for (const char *s = changes; *s; s++)
		n += *s == ' ';
	ck_assert_uint_eq(res.count[0] + res.count[1] + res.count[2], n);
	free(a->data);
	*a = b;
}

static void set_up(void)
{
	rig_begin(true);
	rig_dir("ws");
}

static void tear_down(void)
{
	rig_done();
}

START_TEST(each_kind)
{
	struct timespec ts[2] = { { 1, 1 }, { 1, 1 } };
	struct list a;

	rig_file("ws/a", "1");
	rig_file("ws/a.b", "1");
	rig_dir("ws/d");
	rig_file("ws/d/x", "1");
	rig_file("ws/e", "1");
	a = now();
	check_changes(&a, "", 0);
	rig_dir("ws/new");
	rig_file("ws/new/in", "1");
	rig_file("ws/d/y", "1");
	check_changes(&a, "+d/y +new +new/in ", 0);
	/* the same length and, as far as can be, the same time */
	rig_file("ws/a", "2");
	ck_assert_int_eq(utimensat(AT_FDCWD, "ws/a", ts, 0), 0);
	check_changes(&a, "*a ", 0);
	usleep(20000);
	rig_file("ws/a", "3");
	ck_assert_int_eq(utimensat(AT_FDCWD, "ws/a", ts, 0), 0);
	check_changes(&a, "*a ", 0);
	ck_assert_int_eq(chmod("ws/d", 0700) | chmod("ws/d/x", 0600), 0);
	check_changes(&a, "*d *d/x ", 0);
	ck_assert_int_eq(rename("ws/d", "ws/a2"), 0);
	check_changes(&a, "+a2 +a2/x +a2/y -d -d/x -d/y ", 0);
	rig_remove("ws/new");
	unlink("ws/e");
	rig_dir("ws/e"); /* another kind */
	check_changes(&a, "*e -new -new/in ", 0);
	unlink("ws/a");
	ck_assert_int_eq(symlink("x", "ws/a"), 0);
	rig_file("ws/a.b", "");
	check_changes(&a, "*a *a.b ", 0);
	free(a.data);
}
END_TEST

/* "a/z" is before "a.b" and "a!b", though a slash is behind both */
START_TEST(order)
{
	struct list a = now();

	rig_dir("ws/a");
	rig_dir("ws/a/b");
	rig_file("ws/a/b/c", "");
	rig_file("ws/a/z", "");
	rig_file("ws/a!b", "");
	rig_file("ws/a.b", "");
	rig_file("ws/a\nb", "");
	rig_file("ws/\xff", "");
	rig_file("ws/A", "");
	check_changes(&a, "+A +a +a/b +a/b/c +a/z +a\nb +a!b +a.b +\xff ", 0);
	rig_remove("ws/a");
	check_changes(&a, "-a -a/b -a/b/c -a/z ", 0);
	free(a.data);
}
END_TEST

START_TEST(left_out)
{
	static const char *const ex[] = { "*.o", ".git", "build/cache", "/top", "sub/*.log" };
	static const char *const files[] = { "ws/x.o",		 "ws/sub/y.o",	  "ws/.git/f",
					     "ws/build/cache/f", "ws/build/keep", "ws/top",
					     "ws/sub/top",	 "ws/sub/a.log",  "ws/a.log" };
	struct list a, b;
	struct tree_result res;

	rig_dir("ws/sub");
	rig_dir("ws/.git");
	rig_dir("ws/build");
	rig_dir("ws/build/cache");
	a = list_of(ex, ARRAY_SIZE(ex), TREE_ENTRIES);
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		rig_file(files[i], "x");
	b = list_of(ex, ARRAY_SIZE(ex), TREE_ENTRIES);
	ck_assert_int_eq(diff(&a, &b, &res), 0);
	ck_assert_str_eq(changes, "+a.log +build/keep +sub/top ");
	free(a.data);
	free(b.data);
}
END_TEST

static void many(unsigned from, unsigned to)
{
	char name[32];

	for (unsigned i = from; i < to; i++) {
		snprintf(name, sizeof(name), "ws/%c/%03u", 'a' + i / 100, i % 100);
		if (i % 100 == 0) {
			name[4] = '\0';
			rig_dir(name);
			name[4] = '/';
		}
		rig_file(name, "");
	}
}

/* a list that is too long ends somewhere; up to there it is right, behind it nothing is said */
START_TEST(too_long)
{
	struct list a, b;
	struct tree_result res;

	many(0, 300);
	a = list_of(NULL, 0, 150);
	unlink("ws/a/050");
	unlink("ws/c/050");
	rig_file("ws/a/a", "");
	rig_file("ws/z", "");
	b = list_of(NULL, 0, 150);
	ck_assert_int_eq(diff(&a, &b, &res), 0);
	ck_assert_str_eq(changes, "-a/050 +a/a ");
	ck_assert_uint_eq(res.flags, TREE_TRUNCATED);
	free(b.data);
	b = now(); /* only one of them */
	ck_assert_int_eq(diff(&a, &b, &res), 0);
	ck_assert_str_eq(changes, "-a/050 +a/a ");
	ck_assert_int_eq(diff(&b, &a, &res), 0);
	ck_assert_str_eq(changes, "+a/050 -a/a ");
	free(a.data);
	free(b.data);
	/* more in one folder than could be listed: which come first is not known, so none is told
	 */
	a = list_of(NULL, 0, 0);
	ck_assert_uint_eq(a.len, 8 + sizeof(struct tree_entry));
	free(a.data);
}
END_TEST

START_TEST(too_deep)
{
	struct list a, b;
	struct tree_result res;

	ck_assert_int_eq(chdir("ws"), 0);
	for (unsigned i = 0; i < TREE_DEPTH + 10; i++) {
		rig_dir("d");
		ck_assert_int_eq(chdir("d"), 0);
	}
	for (unsigned i = 0; i < TREE_DEPTH + 11; i++)
		ck_assert_int_eq(chdir(".."), 0);
	a = now();
	rig_file("ws/x", "");
	b = now();
	ck_assert_int_eq(diff(&a, &b, &res), 0);
	ck_assert_str_eq(changes, "+x ");
	ck_assert_uint_eq(res.flags, TREE_INCOMPLETE);
	free(a.data);
	free(b.data);
}
END_TEST

START_TEST(refused)
{
	static const char *const ex[TREE_EXCLUDES + 1];
	unsigned fds = fake_fds();
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	rig_file("f", "");
	ck_assert_int_eq(tree_list(full, "none", NULL, 0, TREE_ENTRIES), -ENOENT);
	ck_assert_int_eq(tree_list(full, "f", NULL, 0, TREE_ENTRIES), -ENOTDIR);
	ck_assert_int_eq(tree_list(full, "ws", ex, ARRAY_SIZE(ex), TREE_ENTRIES), -E2BIG);
	ck_assert_int_eq(tree_list(full, "ws", NULL, 0, TREE_ENTRIES), -ENOSPC);
	close(full);
	ck_assert_uint_eq(fake_fds(), fds);
}
END_TEST

/* --- lists that nobody made --- */

#define BAD_LIST (10U << 20)

static void put(struct list *l, const void *data, size_t len)
{
	if (!l->data)
		l->data = malloc(BAD_LIST);
	ck_assert_uint_le(l->len + len, BAD_LIST);
	memcpy(l->data + l->len, data, len);
	l->len += len;
}

static void put_name(struct list *l, uint16_t keep, const char *name)
{
	struct tree_entry e = { .mode = S_IFREG | 0644, .keep = keep };

	e.len = (uint16_t)strlen(name);
	put(l, &e, sizeof(e));
	put(l, name, e.len);
}

static void put_last(struct list *l, uint64_t n, uint32_t flags)
{
	struct tree_entry e = { .size = n, .flags = flags };

	put(l, &e, sizeof(e));
}

static struct list bad_list(int i)
{
	struct list l = { NULL, 0 };

	put(&l, i == 0 ? "hutchtr2" : TREE_MAGIC, 8);
	if (i == 1) { /* not in order */
		put_name(&l, 0, "b");
		put_name(&l, 0, "a");
		put_last(&l, 2, 0);
	} else if (i == 2) { /* twice */
		put_name(&l, 0, "a");
		put_name(&l, 0, "a");
		put_last(&l, 2, 0);
	} else if (i == 3) { /* shares what is not there */
		put_name(&l, 1, "a");
		put_last(&l, 1, 0);
	} else if (i == 4) { /* nothing new */
		put_name(&l, 0, "a");
		put_name(&l, 1, "");
		put_last(&l, 2, 0);
	} else if (i >= 5 && i < 10) { /* leads elsewhere */
		static const char *const names[] = { "..", "/a", "a//b", "a/../b", "a/" };

		put_name(&l, 0, names[i - 5]);
		put_last(&l, 1, 0);
	} else if (i == 10) { /* the wrong number */
		put_name(&l, 0, "a");
		put_last(&l, 2, 0);
	} else if (i == 11) { /* no flag */
		put_last(&l, 0, 4);
	} else if (i == 12) { /* something behind it */
		put_last(&l, 0, 0);
		put_last(&l, 0, 0);
	} else if (i == 13) { /* too long a name, of two halves */
		char name[3001] = "";

		memset(name, 'a', 3000);
		put_name(&l, 0, name);
		put_name(&l, 3000, name);
		put_last(&l, 2, 0);
	} else if (i == 14) {
		l.len = 7;
	} else if (i == 15) { /* too many */
		char name[16];

		for (unsigned n = 0; n <= TREE_ENTRIES; n++) {
			snprintf(name, sizeof(name), "%06u", n);
			put_name(&l, 0, name);
		}
		put_last(&l, TREE_ENTRIES + 1, 0);
	}
	return l;
}

START_TEST(bad_lists)
{
	struct list good = { NULL, 0 }, bad = bad_list(_i);
	struct tree_result res;

	put(&good, TREE_MAGIC, 8);
	put_last(&good, 0, 0);
	ck_assert_int_eq(diff(&good, &good, &res), 0);
	ck_assert_int_eq(tree_diff(good.data, good.len, bad.data, bad.len, NULL, NULL, &res),
			 -EPROTO);
	ck_assert_int_eq(tree_diff(bad.data, bad.len, good.data, good.len, NULL, NULL, &res),
			 -EPROTO);
	free(good.data);
	free(bad.data);
}
END_TEST

/* cut at any byte it is noticed; and a turned bit is never read past the end */
START_TEST(cut)
{
	struct list a, b;
	struct tree_result res;

	rig_dir("ws/d");
	rig_file("ws/d/f", "");
	rig_file("ws/e", "");
	a = now();
	for (size_t len = 0; len < a.len; len++) {
		b = (struct list){ malloc(len + !len), len };
		memcpy(b.data, a.data, len);
		ck_assert_int_eq(diff(&a, &b, &res), -EPROTO);
		ck_assert_int_eq(diff(&b, &a, &res), -EPROTO);
		free(b.data);
	}
	b = (struct list){ malloc(a.len), a.len };
	memcpy(b.data, a.data, a.len);
	for (size_t i = 0; i < a.len * 8; i++) {
		b.data[i / 8] ^= (char)(1 << i % 8);
		diff(&a, &b, &res);
		b.data[i / 8] ^= (char)(1 << i % 8);
	}
	free(a.data);
	free(b.data);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tree");
	TCase *c = tcase_create("tree");

	tcase_set_timeout(c, 60);
	tcase_add_checked_fixture(c, set_up, tear_down);
	tcase_add_test(c, each_kind);
	tcase_add_test(c, order);
	tcase_add_test(c, left_out);
	tcase_add_test(c, too_long);
	tcase_add_test(c, too_deep);
	tcase_add_test(c, refused);
	tcase_add_loop_test(c, bad_lists, 0, 16);
	tcase_add_test(c, cut);
	suite_add_tcase(s, c);
	return suite_run(s);
}
