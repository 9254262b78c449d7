/*
 * t_porter - root in the jail and folders of other users: what could be written at the start can be
 * written at the end, by that one thread and nothing else
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_rig.h"
#include "archive_rig.h"
#include "complain.h"
#include "guest.h"
#include "host_rig.h"
#include "result.h"
#include "sandbox.h"
#include "suite.h"
#include "transfer.h"

#define OTHER 1234

static char theirs[64];

/* a folder of another user's, which nobody else may enter */
static void begin(void)
{
	strcpy(theirs, "/tmp/hutch-porter.XXXXXX");
	require(mkdtemp(theirs) && !chmod(theirs, 0700) && !chown(theirs, OTHER, OTHER));
}

static void end(void)
{
	rig_remove(theirs);
}

static const char *in(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", theirs, name);
	return path;
}

/* in a process of its own, because the library of these tests is not made for the jail: 0, or which
 * step it was that failed */
static int in_jail(int (*before)(void *arg), int (*after)(void *arg), void *arg)
{
	const struct sandbox all = { .must = true };
	pid_t pid = fork();
	int status, r;

	if (!pid) {
		r = before(arg);
		if (r || sandbox_enter(&all))
			_exit(r ? r : 101);
		if (open(in("new"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0 || errno != EACCES)
			_exit(102);
		_exit(after(arg));
	}
	require(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

struct seen {
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];
	int fd;
};

static void look(void *arg)
{
	struct __user_cap_header_struct self = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct seen *seen = arg;

	syscall(SYS_capget, &self, seen->caps);
	seen->fd = open(in("new"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
}

START_TEST(one_capability)
{
	struct porter *p = porter_new();
	struct seen seen = { .fd = -1 };

	require(p != NULL);
	for (int i = 0; i < 2; i++) {
		porter_begin(p, look, &seen);
		porter_wait(p);
		ck_assert_int_ge(seen.fd, 0);
		close(seen.fd);
		ck_assert_uint_eq(seen.caps[0].permitted, 1U << CAP_DAC_OVERRIDE);
		ck_assert_uint_eq(seen.caps[0].effective, 1U << CAP_DAC_OVERRIDE);
		ck_assert_uint_eq(seen.caps[0].inheritable | seen.caps[1].permitted |
					  seen.caps[1].effective | seen.caps[1].inheritable,
				  0);
	}
	porter_free(p);
	/* and one that has had nothing to do */
	p = porter_new();
	porter_free(p);
	porter_free(NULL);
}
END_TEST

struct files {
	struct transfer t;
	char guest[64];
	bool back;
};

static int hire(void *arg)
{
	struct files *f = arg;

	f->t.porter = porter_new();
	return f->t.porter ? 0 : 1;
}

static int carry(void *arg)
{
	struct files *f = arg;
	int r = f->back ? transfer_get(&f->t, f->guest, in("mine"))
			: transfer_put(&f->t, in("mine"), f->guest);

	porter_free(f->t.porter);
	return r ? 2 : 0;
}

START_TEST(files_of_others)
{
	struct files f = { .t = { .what_for = "--mount", .wake = -1 }, .back = _i };
	struct host_rig x;

	host_start(&x, AGENT_REAL, NULL);
	snprintf(f.guest, sizeof(f.guest), "%s/guest", x.dir);
	rig_file(in("mine"), "mine");
	f.t.h = x.c.h;
	if (f.back)
		rig_file(f.guest, "back");
	ck_assert_int_eq(in_jail(hire, carry, &f), 0);
	ck_assert(f.back ? rig_is(in("mine"), "back") : rig_is(f.guest, "mine"));
	host_stop(&x);
}
END_TEST

static int begin_result(void *arg)
{
	struct given file = { .n = 1, .text = in("result") }, none = { .n = 0 };
	struct result *r = arg;

	result_begin(r);
	r->text = strdup("{}\n");
	return result_init(r, &file, &none, NULL);
}

static int tell_result(void *arg)
{
	return result_tell(arg) ? 2 : 0;
}

/* there too, and no longer than it is */
START_TEST(result_of_others)
{
	struct result r;

	rig_file(in("result"), "what was there, which is longer\n");
	ck_assert_int_eq(in_jail(begin_result, tell_result, &r), 0);
	ck_assert(rig_is(in("result"), "{}\n"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("porter");
	TCase *t = tcase_create("porter");

	if (geteuid() || access(agent_path(), X_OK)) {
		printf("skip porter: it needs root, and %s\n", agent_path());
		return 0;
	}
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, begin, end);
	tcase_add_test(t, one_capability);
	tcase_add_loop_test(t, files_of_others, 0, 2);
	tcase_add_test(t, result_of_others);
	suite_add_tcase(s, t);
	return suite_run(s);
}
