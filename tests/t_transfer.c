/* t_transfer - files that come out of a guest, or do not: signals, limits, an agent that plays dead
 */

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent_rig.h"
#include "archive_rig.h"
#include "complain.h"
#include "guest.h"
#include "host_rig.h"
#include "kvm_rig.h"
#include "suite.h"
#include "transfer.h"

static int get_etc(struct host_rig *x, const char *to, int wake)
{
	struct transfer t = { .h = x->c.h, .what_for = "cp", .wake = wake };

	return transfer_get(&t, "/etc", to);
}

/* one that comes while files do ends it as it would have ended the command; a terminal's new size
 * is none */
START_TEST(signals_while_files_come)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 };
	struct host_rig x;
	char to[64];

	for (unsigned i = 0; i < ARRAY_SIZE(ends); i++) {
		host_start(&x, AGENT_STUCK, NULL);
		snprintf(to, sizeof(to), "%s/to", x.dir);
		host_signals(&x, ends[i]);
		ck_assert_int_eq(get_etc(&x, to, x.c.ends), -1);
		ck_assert_str_eq(complained, "cp: interrupted");
		ck_assert(command_interrupted(&x.c));
		ck_assert_int_eq(x.c.fate, FATE_SIGNAL);
		ck_assert_int_eq(command_status(&x.c), 128 + ends[i]);
		ck_assert(host_tells(&x, 128 + ends[i],
				     "\"status\":\"signaled\",\"origin\":\"hutch\""));
		ck_assert(host_tells(&x, 128 + ends[i], "\"error\":null"));
		ck_assert_uint_eq(entries(x.dir), 3);
		host_stop(&x);
	}
	host_start(&x, AGENT_STUCK, NULL);
	snprintf(to, sizeof(to), "%s/to", x.dir);
	host_signals(&x, SIGWINCH);
	ck_assert_int_eq(get_etc(&x, to, x.c.ends), -1);
	ck_assert_ptr_nonnull(strstr(complained, "does not answer"));
	ck_assert(!command_interrupted(&x.c));
	host_stop(&x);
}
END_TEST

/* one whose helper stands still: there is a time for that too */
START_TEST(files_that_never_end)
{
	struct transfer t = { .what_for = "--mount a", .wake = -1 };
	struct host_rig x;
	char to[64];

	host_start(&x, AGENT_STUCK, NULL);
	snprintf(to, sizeof(to), "%s/to", x.dir);
	t.h = x.c.h;
	t.until_ms = now_ns() / 1000000 + 500;
	ck_assert_int_eq(transfer_get(&t, "/etc", to), -1);
	ck_assert_ptr_nonnull(
		strstr(complained, "error 125 E_LIMIT: --mount a: files took longer"));
	ck_assert_uint_eq(entries(x.dir), 3);
	host_stop(&x);
}
END_TEST

/* a guest with more than is taken: the limit and its flag are named, what was there is as it was */
START_TEST(files_without_end)
{
	char from[64], to[64], path[96];
	struct transfer t;
	struct stat st;
	struct host_rig x;

	host_start(&x, AGENT_REAL, NULL);
	snprintf(from, sizeof(from), "%s/from", x.dir);
	snprintf(to, sizeof(to), "%s/to", x.dir);
	require(!mkdir(from, 0700) && !mkdir(to, 0700));
	snprintf(path, sizeof(path), "%s/big", to);
	rig_file(path, "old");
	snprintf(path, sizeof(path), "%s/big", from);
	rig_file(path, "");
	require(!truncate(path, 3 << 20));
	snprintf(from, sizeof(from), "%s/from/.", x.dir);
	t = (struct transfer){ .h = x.c.h, .what_for = "--mount to", .wake = -1 };
	require(!hutch_set(x.c.h, "copy-max", "2M") && !transfer_limit(&t));
	ck_assert_int_eq(transfer_get(&t, from, to), -EFBIG);
	ck_assert_ptr_nonnull(strstr(complained, "error 125 E_LIMIT: --mount to: copy_max of 2M "));
	ck_assert_ptr_nonnull(strstr(complained, "--copy-max"));
	ck_assert_uint_eq(entries(to), 3);
	snprintf(path, sizeof(path), "%s/big", to);
	ck_assert(rig_is(path, "old"));
	x.c.fate = FATE_WORK;
	command_violation(&x.c, "copy_max");
	ck_assert(host_tells(&x, 125,
			     "\"error\":{\"code\":\"E_LIMIT\",\"message\":\"copy_max was "
			     "reached\"}"));
	ck_assert(
		host_tells(&x, 125, "{\"limit\":\"copy_max\",\"value\":\"2M\",\"action\":\"cut\""));
	host_stop(&x);
	/* and what is used goes on from one folder to the next */
	host_start(&x, AGENT_REAL, NULL);
	snprintf(path, sizeof(path), "%s/one", x.dir);
	rig_file(path, "one");
	t = (struct transfer){ .h = x.c.h, .what_for = "cp", .wake = -1, .most = 10000 };
	snprintf(to, sizeof(to), "%s/two", x.dir);
	ck_assert_int_eq(transfer_get(&t, path, to), 0);
	ck_assert_uint_eq(t.used, 4099);
	ck_assert(!lstat(to, &st));
	unlink(path);
	unlink(to);
	host_stop(&x);
}
END_TEST

/* files are not waited for for ever where the machine is ours, and its agent plays dead */
START_TEST(files_of_a_dead_agent)
{
	int never = eventfd(0, EFD_CLOEXEC);
	char to[64];
	struct host_rig x;

	host_start(&x, AGENT_STUCK, NULL);
	snprintf(to, sizeof(to), "%s/to", x.dir);
	ck_assert_int_eq(get_etc(&x, to, never), -1);
	ck_assert_ptr_nonnull(strstr(complained, "does not answer"));
	host_stop(&x);
	close(never);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("transfer");
	TCase *t = tcase_create("transfer");

	tcase_set_timeout(t, 60);
	if (access(agent_path(), X_OK)) {
		printf("skip transfer: %s is not built\n", agent_path());
		return 0;
	}
	tcase_add_test(t, signals_while_files_come);
	tcase_add_test(t, files_that_never_end);
	tcase_add_test(t, files_without_end);
	tcase_add_test(t, files_of_a_dead_agent);
	suite_add_tcase(s, t);
	return suite_run(s);
}
