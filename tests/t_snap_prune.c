/* t_snap_prune - which snapshots of a folder go, in which order, and which never */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "complain.h"
#include "snap_rig.h"
#include "snap_store.h"
#include "suite.h"

static char folder[] = "/tmp/hutch-t_snap_prune.XXXXXX";
static char said[4096];

static const char *path_of(const char *name)
{
	static char path[4][512];
	static unsigned at;

	snprintf(path[++at % 4], sizeof(path[0]), "%s/%s.snap", folder, name);
	return path[at % 4];
}

static bool is_there(const char *name)
{
	return !access(path_of(name), F_OK);
}

static void put(const char *name, const void *data, size_t size)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	close(fd);
}

static void put_whole(const char *name)
{
	cleanup_image struct image image = rig_small_image();

	put(name, image.data, image.size);
}

/* 1, 2 and 3 of a chain of machine "m", each the parent of the next */
static const char *const chain[] = { "m-20260101-000001", "m-20260101-000002",
				     "m-20260101-000003" };

static void put_chain(void)
{
	struct image image = rig_image(1, 1), child;
	char name[64];

	for (unsigned i = 0; i < ARRAY_SIZE(chain); i++) {
		put(chain[i], image.data, image.size);
		snprintf(name, sizeof(name), "%s.snap", chain[i]);
		child = rig_child(&image, i + 1, 1, name);
		image_freep(&image);
		image = child;
	}
	image_freep(&image);
}

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(folder));
	globals.quiet = globals.verbose = false;
	setenv("XDG_DATA_HOME", folder, 1);
}

static void teardown(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
}

/* its exit status; what it printed is in said */
static int run(const struct verb *verb, const char *const *words)
{
	char *argv[16] = { NULL }, *copy[16]; /* the verb moves them about */
	int argc = 0, status, old = dup(STDOUT_FILENO), fd = open(folder, O_TMPFILE | O_RDWR, 0600);
	ssize_t n;

	complained[0] = '\0';
	for (; words[argc]; argc++)
		argv[argc] = copy[argc] = strdup(words[argc]);
	fflush(stdout);
	dup2(fd, STDOUT_FILENO);
	status = verb->run(argc, argv, verb);
	fflush(stdout);
	dup2(old, STDOUT_FILENO);
	n = pread(fd, said, sizeof(said) - 1, 0);
	said[n > 0 ? n : 0] = '\0';
	close(fd);
	close(old);
	while (argc)
		free(copy[--argc]);
	return status;
}

#define PRUNE(...) run(&verb_snap_prune, (const char *const[]){ __VA_ARGS__, NULL })
#define RM(...)	   run(&verb_snap_rm, (const char *const[]){ __VA_ARGS__, NULL })

START_TEST(test_number)
{
	/* as `hutch snapshot` names them, the second within a second, too; and others' */
	put_whole("a-20260101-000000");
	put_whole("a-20260101-000000-2");
	put_whole("a-20260102-000000");
	put_whole("a-b-20260101-000000");
	put_whole("b-20260101-000000");
	put_whole("by hand");
	put("none", "none", 4);
	put(".hutch-1.snap", "being written", 13);
	ck_assert_int_eq(PRUNE("--keep", "1", folder), 0);
	ck_assert_str_eq(said, "a-20260101-000000-2\na-20260101-000000\n");
	ck_assert(!is_there("a-20260101-000000") && !is_there("a-20260101-000000-2"));
	ck_assert(is_there("a-20260102-000000") && is_there("a-b-20260101-000000"));
	ck_assert(is_there("b-20260101-000000") && is_there("by hand"));
	ck_assert_int_eq(PRUNE("--keep", "1", folder), 0);
	ck_assert_str_eq(said, "");
	ck_assert_int_eq(PRUNE("--keep", "0", "--dry-run", folder), 0);
	ck_assert_ptr_nonnull(strstr(said, "a-20260102-000000\n"));
	ck_assert(is_there("a-20260102-000000"));
	ck_assert_int_eq(PRUNE("--keep", "0", folder), 0);
	ck_assert(!is_there("a-20260102-000000") && !is_there("by hand"));
	ck_assert(is_there("none") && is_there(".hutch-1.snap"));
}
END_TEST

/* those of the rig were made in 1970 */
START_TEST(test_age)
{
	put_whole("a-20260101-000000");
	put_whole("a-20260102-000000");
	ck_assert_int_eq(PRUNE("--max-age", "200000d", folder), 0);
	ck_assert_str_eq(said, "");
	ck_assert_int_eq(PRUNE("--max-age", "7d", "--keep", "2", folder), 0);
	ck_assert_str_eq(said, "");
	ck_assert_int_eq(PRUNE("--max-age", "200000d", "--keep", "1", folder), 0);
	ck_assert_str_eq(said, "");
	ck_assert_int_eq(PRUNE("--max-age", "7d", "--keep", "1", folder), 0);
	ck_assert_str_eq(said, "a-20260101-000000\n");
	ck_assert_int_eq(PRUNE("--max-age", "7d", folder), 0);
	ck_assert_str_eq(said, "a-20260102-000000\n");
}
END_TEST

START_TEST(test_parents)
{
	put_chain();
	put_whole("m-20251231-000000");
	globals.verbose = true;
	ck_assert_int_eq(PRUNE("--keep", "1", folder), 0);
	ck_assert_str_eq(said, "m-20251231-000000\n");
	ck_assert_msg(strstr(complained, "stays: it is the parent of m-20260101-00000"), "%s",
		      complained);
	for (unsigned i = 0; i < ARRAY_SIZE(chain); i++)
		ck_assert(is_there(chain[i]));
	/* all go: children first */
	ck_assert_int_eq(PRUNE("--keep", "0", folder), 0);
	ck_assert_str_eq(said, "m-20260101-000003\nm-20260101-000002\nm-20260101-000001\n");
}
END_TEST

/* another machine's child needs it as well, also where only one machine is meant */
START_TEST(test_parent_of_another)
{
	put_chain();
	ck_assert_int_eq(rename(path_of(chain[1]), path_of("fork-20260101-000001")), 0);
	ck_assert_int_eq(rename(path_of(chain[2]), path_of("fork-20260101-000002")), 0);
	ck_assert_int_eq(PRUNE("--keep", "1", folder), 0);
	ck_assert_str_eq(said, "");
	ck_assert(is_there(chain[0]) && is_there("fork-20260101-000001"));
}
END_TEST

/* one of which nobody knows what it needs */
START_TEST(test_unknown)
{
	cleanup_image struct image newer = rig_small_image();

	put_whole("a-20260101-000000");
	rig_head(&newer)->version = 77;
	rig_seal(&newer);
	put("newer", newer.data, newer.size);
	ck_assert_int_eq(PRUNE("--keep", "0", folder), EXIT_FAIL);
	ck_assert_str_eq(said, "");
	ck_assert_msg(strstr(complained, "nothing goes"), "%s", complained);
	ck_assert(is_there("a-20260101-000000") && is_there("newer"));
}
END_TEST

START_TEST(test_use)
{
	char store[64];

	ck_assert_int_eq(run(&verb_snap_prune, (const char *const[]){ NULL }), EXIT_USAGE);
	ck_assert_msg(strstr(complained, "--keep N, --max-age TIME"), "%s", complained);
	ck_assert_int_eq(PRUNE("--keep", "x"), EXIT_USAGE);
	ck_assert_int_eq(PRUNE("--keep", "-1"), EXIT_USAGE);
	ck_assert_int_eq(PRUNE("--keep", ""), EXIT_USAGE);
	ck_assert_int_eq(PRUNE("--max-age", "7"), EXIT_USAGE);
	ck_assert_int_eq(PRUNE("--keep", "1"), 0); /* there is no store */
	ck_assert_int_eq(PRUNE("--keep", "1", "/none/at/all"), EXIT_FAIL);
	ck_assert_msg(strstr(complained, "is no folder"), "%s", complained);

	snprintf(store, sizeof(store), "%s/hutch", folder);
	ck_assert(!mkdir(store, 0700));
	snprintf(store, sizeof(store), "%s/hutch/snapshots", folder);
	ck_assert(!mkdir(store, 0700));
	put_whole("hutch/snapshots/a-20260101-000000");
	put_whole("hutch/snapshots/b-20260101-000000");
	put_whole("hutch/snapshots/golden"); /* its name is its own: of no use to be rid of */
	ck_assert_int_eq(PRUNE("--keep", "1"), 0);
	ck_assert_str_eq(said, "");
	ck_assert_int_eq(PRUNE("--keep", "0", "--dry-run"), 0);
	ck_assert_str_eq(said, "b-20260101-000000\na-20260101-000000\n");
	ck_assert_int_eq(PRUNE("--keep", "0", "c"), EXIT_FAIL);
	ck_assert_msg(strstr(complained, "no snapshot of a machine 'c'"), "%s", complained);
	ck_assert_int_eq(PRUNE("--keep", "0", "a"), 0);
	ck_assert_str_eq(said, "a-20260101-000000\n");
	ck_assert(is_there("hutch/snapshots/b-20260101-000000"));
	ck_assert_int_eq(RM("b-20260101-000000"), 0);
	ck_assert(!is_there("hutch/snapshots/b-20260101-000000"));
}
END_TEST

START_TEST(test_rm)
{
	put_chain();
	put("none", "none", 4);
	ck_assert_int_eq(RM(path_of(chain[0])), EXIT_FAIL);
	ck_assert_msg(strstr(complained, "is the parent of m-20260101-000002"), "%s", complained);
	ck_assert_int_eq(RM(path_of("none")), EXIT_FAIL);
	ck_assert_int_eq(RM("--force", path_of("none")), EXIT_FAIL);
	ck_assert_msg(strstr(complained, "is no snapshot"), "%s", complained);
	ck_assert_int_eq(RM(path_of("nosuch")), EXIT_FAIL);
	ck_assert_msg(strstr(complained, "No such file"), "%s", complained);
	ck_assert(is_there(chain[0]) && is_there("none"));
	ck_assert_int_eq(RM("-f", path_of(chain[1])), 0);
	ck_assert_int_eq(RM(path_of(chain[2]), path_of(chain[0])), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(chain); i++)
		ck_assert(!is_there(chain[i]));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snap_prune");
	TCase *tc = tcase_create("snap_prune");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_number);
	tcase_add_test(tc, test_age);
	tcase_add_test(tc, test_parents);
	tcase_add_test(tc, test_parent_of_another);
	tcase_add_test(tc, test_unknown);
	tcase_add_test(tc, test_use);
	tcase_add_test(tc, test_rm);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
