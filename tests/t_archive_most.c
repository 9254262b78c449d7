/* t_archive_most - a limit on what is unpacked: what would fill a disk ends, and what was there
 * stays */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "archive_rig.h"
#include "suite.h"

#define FOLDER (S_IFDIR | 0755)

static struct made m;
static struct archive_report report;

static void begin(void)
{
	rig_begin(false);
	rig_dir("in");
	m = (struct made){ .data = NULL };
	made_head(&m, "");
	made_entry(&m, FOLDER, "", "");
}

static void end(void)
{
	made_free(&m);
	rig_done();
}

static int unpack(uint64_t most, uint64_t spent)
{
	const struct archive_opts opts = {
		.flags = ARCHIVE_XATTRS, .source = "src/.", .most = most, .spent = spent
	};

	made_leave(&m);
	made_end(&m);
	return rig_unpack(&m, "in", &opts, &report);
}

static bool is_there(const char *path)
{
	return !access(path, F_OK);
}

/* to the byte: a folder, a file, ten bytes */
#define COST (2 * ARCHIVE_COST + 10)

START_TEST(bytes)
{
	/* none, just enough, one byte less, enough but for what is gone already */
	static const struct {
		uint64_t most, spent;
		int r;
	} cases[] = {
		{ 0, 0, 0 },
		{ COST, 0, 0 },
		{ COST - 1, 0, -EFBIG },
		{ UINT64_MAX, 0, 0 },
		{ UINT64_MAX, UINT64_MAX - COST, 0 },
		{ UINT64_MAX, UINT64_MAX - COST + 1, -EFBIG },
		{ COST, 1, -EFBIG },
		{ COST, COST + 1, -EFBIG },
		{ 1, 0, -EFBIG },
	};

	rig_file("in/a", "old");
	made_file(&m, "a", "0123456789");
	ck_assert_int_eq(unpack(cases[_i].most, cases[_i].spent), cases[_i].r);
	ck_assert(report.over == (cases[_i].r != 0));
	ck_assert(rig_is("in/a", cases[_i].r ? "old" : "0123456789"));
	if (!cases[_i].r)
		ck_assert_uint_eq(report.spent, cases[_i].spent + COST);
}
END_TEST

/* what came before is whole, what it ended in is as it was, and nothing else is there */
START_TEST(half_written)
{
	char *state;

	rig_file("in/b", "old");
	made_file(&m, "a", "first");
	made_entry(&m, S_IFREG | 0644, "b", "");
	for (unsigned i = 0; i < 100; i++)
		made_data(&m, i * 10, "0123456789");
	made_file_end(&m, 1000);
	made_file(&m, "c", "");
	ck_assert_int_eq(unpack(3 * ARCHIVE_COST + 500, 0), -EFBIG);
	ck_assert(rig_is("in/a", "first"));
	ck_assert(rig_is("in/b", "old"));
	state = rig_state("in", false);
	ck_assert_ptr_null(strstr(state, ".hutch"));
	free(state);
	ck_assert(!is_there("in/c"));
}
END_TEST

/* a hole costs nothing, but a file of it is as long as what is read from it */
START_TEST(holes)
{
	made_entry(&m, S_IFREG | 0644, "sparse", "");
	made_data(&m, 999990, "0123456789");
	made_file_end(&m, 1000000);
	made_entry(&m, S_IFREG | 0644, "empty", "");
	made_file_end(&m, 1000000);
	ck_assert_int_eq(unpack(1000000, 0), 0);
	ck_assert_uint_eq(report.spent, 3 * ARCHIVE_COST + 10);
	end();
	begin();
	made_entry(&m, S_IFREG | 0644, "sparse", "");
	made_file_end(&m, 1000001);
	ck_assert_int_eq(unpack(1000000, 0), -EFBIG);
	ck_assert(!is_there("in/sparse"));
	end();
	begin();
	made_entry(&m, S_IFREG | 0644, "sparse", "");
	made_data(&m, 1000000, "x");
	made_file_end(&m, 1000001);
	ck_assert_int_eq(unpack(1000000, 0), -EFBIG);
	ck_assert(!is_there("in/sparse"));
}
END_TEST

/* names alone fill a disk too, of any kind, also where errors do not end it */
START_TEST(entries)
{
	static const uint32_t kinds[] = { FOLDER, S_IFREG | 0644, S_IFLNK | 0777, S_IFIFO | 0600 };
	const struct archive_opts opts = { .flags = ARCHIVE_CONTINUE,
					   .source = "src/.",
					   .most = 11 * ARCHIVE_COST };
	char name[16];

	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "%u", i);
		made_entry(&m, kinds[_i], name, S_ISLNK(kinds[_i]) ? "target" : "");
		if (S_ISREG(kinds[_i]))
			made_file_end(&m, 0);
		if (S_ISDIR(kinds[_i]))
			made_leave(&m);
	}
	made_leave(&m);
	made_end(&m);
	ck_assert_int_eq(rig_unpack(&m, "in", &opts, &report), -EFBIG);
	ck_assert(report.over);
	ck_assert_uint_eq(report.entries, 11);
	ck_assert(!is_there("in/10"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("archive_most");
	TCase *t = tcase_create("archive_most");

	tcase_add_checked_fixture(t, begin, end);
	tcase_add_loop_test(t, bytes, 0, 9);
	tcase_add_test(t, half_written);
	tcase_add_test(t, holes);
	tcase_add_loop_test(t, entries, 0, 4);
	suite_add_tcase(s, t);
	return suite_run(s);
}
