/* t_agent_user - who the agent takes a user for, whatever a guest has made of its /etc */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../agent/os_linux.h"
#include "suite.h"

/* the rest of the agent, as far as these files know it */
int refuse(struct why *why, enum proto_error code, int error, const char *fmt, ...)
{
	va_list ap;

	why->code = code;
	why->error = error;
	va_start(ap, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, ap);
	va_end(ap);
	return -1;
}

#define PASSWD                                         \
	"root:x:0:0:root:/root:/bin/sh\n"              \
	"broken\n"                                     \
	"::::::\n"                                     \
	"minus:x:-1:5::/:\n"                           \
	"anna:x:1000:100:Anna,,,:/home/anna:/bin/sh\n" \
	"homeless:x:1001:1001\n"                       \
	"last:x:1002:7::/last:/bin/sh"
#define GROUP                    \
	"root:x:0:\n"            \
	"users:x:100:anna\n"     \
	"wheel:x:10:root,anna\n" \
	"joanna:x:11:joanna\n"   \
	"audio:x:12:anna,last\n" \
	"broken:x:z:anna\n"

static char folder[64];
static int etc;

static void begin(void)
{
	strcpy(folder, "/tmp/hutch-user.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	etc = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(etc, 0);
}

static void end(void)
{
	unlinkat(etc, "passwd", 0);
	unlinkat(etc, "passwd", AT_REMOVEDIR);
	unlinkat(etc, "group", 0);
	close(etc);
	rmdir(folder);
}

static void put(const char *name, const char *text)
{
	int fd = openat(etc, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

START_TEST(who_it_is)
{
	static const struct {
		const char *text, *name, *home;
		unsigned uid, gid;
		int groups;
	} cases[] = {
		{ "root", "root", "/root", 0, 0, 2 },
		{ "0", "root", "/root", 0, 0, 2 },
		{ "anna", "anna", "/home/anna", 1000, 100, 3 },
		{ "1000", "anna", "/home/anna", 1000, 100, 3 },
		{ "anna:audio", "anna", "/home/anna", 1000, 12, 1 },
		{ "anna:77", "anna", "/home/anna", 1000, 77, 1 },
		{ "homeless", "homeless", "/", 1001, 1001, 1 },
		{ "last", "last", "/last", 1002, 7, 2 },
		{ "4242", "4242", "/", 4242, 4242, 1 },
		{ "4242:wheel", "4242", "/", 4242, 10, 1 },
	};
	struct user u;
	struct why why;

	put("passwd", PASSWD);
	put("group", GROUP);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		ck_assert_int_eq(user_find(etc, cases[i].text, &u, &why), 0);
		ck_assert_str_eq(u.name, cases[i].name);
		ck_assert_str_eq(u.home, cases[i].home);
		ck_assert_uint_eq(u.uid, cases[i].uid);
		ck_assert_uint_eq(u.gid, cases[i].gid);
		ck_assert_int_eq(u.groups, cases[i].groups);
		ck_assert_uint_eq(u.group[0], cases[i].gid);
	}
	ck_assert_int_eq(user_find(etc, "1000", &u, &why), 0);
	ck_assert_uint_eq(u.group[1], 10);
	ck_assert_uint_eq(u.group[2], 12);
}
END_TEST

START_TEST(who_it_is_not)
{
	static const char *const nobody[] = {
		"nobody",
		"",
		":",
		"broken",
		"minus",
		"-1",
		"4294967295",
		"ann",
		"anna:ann",
		"anna:",
		"root:broken",
		"0x0",
		"99999999999",
		"anna:-1",
		"a-name-of-more-than-sixty-three-bytes-which-no-system-takes-for-a-user",
	};
	struct user u;
	struct why why;

	put("passwd", PASSWD);
	put("group", GROUP);
	for (unsigned i = 0; i < sizeof(nobody) / sizeof(*nobody); i++) {
		why.code = 0;
		ck_assert_msg(user_find(etc, nobody[i], &u, &why) == -1, "%s", nobody[i]);
		ck_assert_int_eq(why.code, ERROR_USER);
	}
}
END_TEST

static void is_nobody(const char *says)
{
	struct user u;
	struct why why;

	alarm(10); /* it would wait for ever */
	ck_assert_int_eq(user_find(etc, "anna", &u, &why), -1);
	ck_assert_ptr_nonnull(strstr(why.text, says));
	/* who needs no file is still there */
	ck_assert_int_eq(user_find(etc, "1000", &u, &why), 0);
	ck_assert_uint_eq(u.uid, 1000);
	ck_assert_int_eq(user_find(etc, "1000:audio", &u, &why), 0);
	alarm(0);
}

/* what root in a guest may have put there */
START_TEST(what_is_no_file)
{
	struct user u;
	struct why why;

	put("group", GROUP);
	is_nobody("No such file");
	ck_assert_int_eq(mkfifoat(etc, "passwd", 0600), 0);
	is_nobody("it is no file");
	end();
	begin();
	put("group", GROUP);
	ck_assert_int_eq(mkdirat(etc, "passwd", 0700), 0);
	is_nobody("it is no file");
	ck_assert_int_eq(unlinkat(etc, "passwd", AT_REMOVEDIR), 0);
	ck_assert_int_eq(symlinkat("passwd", etc, "passwd"), 0);
	is_nobody("symbolic links");
	ck_assert_int_eq(unlinkat(etc, "passwd", 0), 0);
	ck_assert_int_eq(symlinkat("/dev/zero", etc, "passwd"), 0);
	is_nobody("it is no file");
	/* the same of groups */
	ck_assert_int_eq(unlinkat(etc, "passwd", 0) | unlinkat(etc, "group", 0), 0);
	put("passwd", PASSWD);
	ck_assert_int_eq(mkfifoat(etc, "group", 0600), 0);
	alarm(10);
	ck_assert_int_eq(user_find(etc, "anna", &u, &why), 0);
	ck_assert_int_eq(u.groups, 1);
	ck_assert_int_eq(user_find(etc, "anna:audio", &u, &why), -1);
	ck_assert_ptr_nonnull(strstr(why.text, "/etc/group: it is no file"));
	alarm(0);
}
END_TEST

/* a file of a terabyte: its first MiB is looked at, and of that whole lines */
START_TEST(what_is_too_long)
{
	static char line[(1 << 20) - 20];
	struct user u;
	struct why why;
	int fd;

	put("group", GROUP);
	put("passwd", PASSWD "\n");
	fd = openat(etc, "passwd", O_WRONLY | O_APPEND | O_CLOEXEC);
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	ck_assert_int_eq(write(fd, line, sizeof(line)), sizeof(line));
	ck_assert_int_eq(ftruncate(fd, 1LL << 40), 0);
	close(fd);
	alarm(10);
	ck_assert_int_eq(user_find(etc, "anna", &u, &why), 0);
	/* a number that the limit cuts short is not taken for another one */
	fd = openat(etc, "passwd", O_RDWR | O_TRUNC | O_CLOEXEC);
	ck_assert_int_eq(write(fd, line, sizeof(line)), sizeof(line));
	ck_assert_int_eq(write(fd, "cut:x:10:123456789:::\n", 22), 22);
	close(fd);
	ck_assert_int_eq(user_find(etc, "cut", &u, &why), -1);
	alarm(0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("agent_user");
	TCase *t = tcase_create("agent_user");

	tcase_add_checked_fixture(t, begin, end);
	tcase_add_test(t, who_it_is);
	tcase_add_test(t, who_it_is_not);
	tcase_add_test(t, what_is_no_file);
	tcase_add_test(t, what_is_too_long);
	suite_add_tcase(s, t);
	return suite_run(s);
}
