/* t_agent_restore - connections that are reset, as all are in a restored machine: what becomes of
 * the commands that were run over them */

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_rig.h"
#include "archive_rig.h"
#include "client.h"
#include "guest.h"
#include "suite.h"

#define NS	 1000000000ULL
#define PATIENCE 5 /* s: ADRIFT_MS of session.c */
#define FLAT_KIB 512
#define ROUNDS	 10
#define CLIENTS	 64
#define KEPT	 16 /* in each round: in all more than PROTO_SESSIONS */

struct rig {
	char dir[48], path[64];
	pid_t agent;
};

static void start(struct rig *x)
{
	*x = (struct rig){ .dir = "/tmp/hutch-restore.XXXXXX" };
	signal(SIGPIPE, SIG_IGN);
	require(mkdtemp(x->dir) && !chdir(x->dir));
	snprintf(x->path, sizeof(x->path), "%s/agent", x->dir);
	x->agent = agent_listen(x->path);
}

static void stop(struct rig *x)
{
	char gone[64];
	int status;

	ck_assert_int_eq(waitpid(x->agent, &status, WNOHANG), 0);
	kill(x->agent, SIGKILL);
	require(waitpid(x->agent, NULL, 0) == x->agent);
	snprintf(gone, sizeof(gone), "%s~", x->dir);
	require(!chdir("/tmp") && !rename(x->dir, gone)); /* nothing comes into it any more */
	rig_remove(gone);
}

/* a command that runs, and finds our folder in $D; it ends a while after the test at the latest */
static void begin(struct rig *x, struct client *c, int in, uint64_t flags, const char *script)
{
	const char *const argv[] = { "timeout", "60", "sh", "-c", script };
	struct proto_buf b = { .data = NULL };
	char env[64];

	agent_reach(x->path, c);
	proto_begin(&b, PROTO_EXEC, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(argv); i++)
		proto_text(&b, TAG_ARG, argv[i]);
	snprintf(env, sizeof(env), "D=%s", x->dir);
	proto_text(&b, TAG_ENV, env);
	proto_number(&b, TAG_FLAGS, flags | (in >= 0 ? EXEC_STDIN : 0));
	proto_end(&b);
	client_source(c, in);
	client_request(c, &b, 0);
	ck_assert_int_eq(client_pump(c, 20000, -1), -EINPROGRESS);
}

/* what a host says first to a guest that it has restored: in one go with an INFO, as `hutch
 * restore` does */
static void greet(struct rig *x, bool restored)
{
	struct proto_buf b = { .data = NULL };
	struct client c;

	agent_reach(x->path, &c);
	proto_begin(&b, PROTO_SETUP, 0);
	if (restored)
		proto_number(&b, TAG_RESTORED, 1);
	proto_end(&b);
	proto_begin(&b, PROTO_INFO, 0);
	proto_end(&b);
	client_request(&c, &b, 1);
	ck_assert_int_eq(client_pump(&c, 20000, -1), 0);
	ck_assert_int_eq(c.end.type, PROTO_DONE);
	agent_leave(&c);
}

static long size_of(const char *file)
{
	struct stat st;

	return stat(file, &st) ? -1 : (long)st.st_size;
}

/* a file that grows as long as its command runs: does it, from now on? */
static bool grows(const char *file)
{
	long before = size_of(file);

	for (int i = 0; i < 20; i++) {
		usleep(50000);
		if (size_of(file) > before)
			return true;
	}
	return false;
}

/* ns until it does not any more */
static uint64_t grew_for(const char *file, unsigned most_s)
{
	uint64_t begun = now_ns();

	while (grows(file))
		ck_assert_uint_lt(now_ns() - begun, most_s * NS);
	return now_ns() - begun;
}

static void wait_for(const char *file, long size)
{
	for (int i = 0; size_of(file) < size; i++) {
		ck_assert_int_lt(i, 400);
		usleep(50000);
	}
}

/* ends with the folder */
#define COUNT "while sleep 0.05 && printf x >>$D/count; do :; done"

/* the command notices nothing, though it says more than anybody takes */
START_TEST(goes_on)
{
	struct client c;
	struct rig x;

	start(&x);
	begin(&x, &c, -1, 0, "head -c 3000000 /dev/zero; echo >&2; printf x >$D/loud; " COUNT);
	agent_reset(&c);
	greet(&x, true);
	wait_for("loud", 1);
	for (int i = 0; i <= PATIENCE; i++) {
		ck_assert(grows("count"));
		sleep(1);
	}
	stop(&x);
}
END_TEST

/* a person's terminal too, which would hang it up if it was closed */
START_TEST(terminal_goes_on)
{
	struct client c;
	struct rig x;

	start(&x);
	begin(&x, &c, -1, EXEC_TTY, "head -c 300000 /dev/zero; printf x >$D/loud; " COUNT);
	agent_reset(&c);
	greet(&x, true);
	wait_for("loud", 1);
	sleep(PATIENCE + 1);
	ck_assert(grows("count"));
	stop(&x);
}
END_TEST

/* a machine that was not restored, whatever its host says else */
START_TEST(nobody_comes_back)
{
	struct client c;
	uint64_t ns;
	struct rig x;

	start(&x);
	begin(&x, &c, -1, 0, COUNT);
	agent_reset(&c);
	greet(&x, false);
	ns = grew_for("count", PATIENCE + 5);
	ck_assert_uint_gt(ns, (PATIENCE - 1) * NS);
	greet(&x, true); /* too late */
	ck_assert(!grows("count"));
	stop(&x);
}
END_TEST

/* a client that has gone takes its command with it, at once, though a restore is told of */
START_TEST(client_that_went)
{
	struct client c;
	struct rig x;

	start(&x);
	begin(&x, &c, -1, 0, "echo something unread; " COUNT);
	wait_for("count", 1);
	agent_leave(&c);
	greet(&x, true);
	ck_assert_uint_lt(grew_for("count", 5), 3 * NS);
	stop(&x);
}
END_TEST

/* what came is read, then nothing comes, and no end either; a file in the way says how it went */
START_TEST(input)
{
	static char block[PROTO_DATA_MAX];
	struct client c[2];
	struct rig x;
	int p[2];

	start(&x);
	for (int ended = 0; ended < 2; ended++) {
		require(!pipe2(p, O_CLOEXEC));
		fcntl(p[1], F_SETPIPE_SZ, 1 << 20);
		for (int i = 0; i < 6; i++) /* more than the command's pipe holds */
			require(write(p[1], block, sizeof(block)) == sizeof(block));
		begin(&x, &c[ended], p[0], 0,
		      ended ? "until [ -e $D/go ]; do sleep 0.05; done; cat >$D/all; echo >$D/end"
			    : "until [ -e $D/go ]; do sleep 0.05; done; cat >$D/some; echo "
			      ">$D/wrong");
		if (ended)
			close(p[1]);
		ck_assert_int_eq(client_pump(&c[ended], 300, -1), -ETIMEDOUT);
		agent_reset(&c[ended]);
		close(p[0]);
		if (!ended)
			close(p[1]);
	}
	greet(&x, true);
	close(open("go", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	wait_for("all", 6 * sizeof(block));
	wait_for("some", 6 * sizeof(block));
	wait_for("end", 1);
	sleep(1);
	ck_assert_int_eq((int)size_of("wrong"), -1);
	stop(&x);
}
END_TEST

/* descriptors that the agent has open */
static unsigned fds_of(pid_t pid)
{
	char path[64], name[300];
	struct stat st;
	unsigned n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	for (int i = 0; i < 1024; i++) {
		snprintf(name, sizeof(name), "%s/%d", path, i);
		n += !lstat(name, &st);
	}
	return n;
}

/* @n ask at once, as they do who find their machine back */
static void crowd(struct rig *x, struct client *c, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		agent_reach(x->path, &c[i]);
	for (unsigned i = 0; i < n; i++) {
		struct proto_buf b = { .data = NULL };

		proto_begin(&b, PROTO_INFO, 0);
		proto_end(&b);
		client_request(&c[i], &b, 0);
	}
	for (unsigned i = 0; i < n; i++) {
		ck_assert_int_eq(client_pump(&c[i], 20000, -1), 0);
		ck_assert_int_eq(c[i].end.type, PROTO_DONE);
		agent_leave(&c[i]);
	}
}

/* restore after restore: in all more commands than can be kept, and each is let go of once it has
 * ended */
START_TEST(again_and_again)
{
	static struct client c[CLIENTS];
	size_t memory = 0;
	unsigned fds;
	struct rig x;

	start(&x);
	greet(&x, false); /* it is there */
	fds = fds_of(x.agent);
	for (int round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < KEPT; i++)
			begin(&x, &c[i], -1, i == 3 ? EXEC_TTY : 0,
			      "echo said; until [ -e $D/go ]; do sleep 0.1; done; printf x "
			      ">>$D/over");
		for (unsigned i = 0; i < KEPT; i++)
			agent_reset(&c[i]);
		greet(&x, true);
		crowd(&x, c, CLIENTS);
		close(open("go", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
		wait_for("over", (round + 1) * KEPT);
		unlink("go");
		for (int i = 0; fds_of(x.agent) != fds; i++) {
			ck_assert_int_lt(i, 100);
			usleep(50000);
		}
		if (!round)
			memory = agent_settled(x.agent);
	}
	ck_assert_uint_le(agent_settled(x.agent), memory + FLAT_KIB);
	stop(&x);
}
END_TEST

/* as many are kept as there are connections, and those still find their place */
START_TEST(no_more_than_that)
{
	static struct client c[PROTO_SESSIONS];
	struct rig x;

	start(&x);
	for (int round = 0; round < 2; round++) {
		for (unsigned i = 0; i < PROTO_SESSIONS; i++)
			begin(&x, &c[i], -1, 0,
			      round ? "while sleep 0.2 && printf x >>$D/second; do :; done"
				    : "while sleep 0.2 && printf x >>$D/first; do :; done");
		for (unsigned i = 0; i < PROTO_SESSIONS; i++)
			agent_reset(&c[i]);
		greet(&x, true);
	}
	grew_for("second", 20);
	ck_assert(grows("first"));
	stop(&x);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("agent_restore");
	TCase *t = tcase_create("agent_restore");

	tcase_set_timeout(t, 120);
	if (access(agent_path(), X_OK)) {
		printf("skip agent_restore: %s is not built\n", agent_path());
		return 0;
	}
	tcase_add_test(t, goes_on);
	tcase_add_test(t, terminal_goes_on);
	tcase_add_test(t, nobody_comes_back);
	tcase_add_test(t, client_that_went);
	tcase_add_test(t, input);
	tcase_add_test(t, again_and_again);
	tcase_add_test(t, no_more_than_that);
	suite_add_tcase(s, t);
	return suite_run(s);
}
