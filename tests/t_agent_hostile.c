/*
 * t_agent_hostile - commands that would like to see the agent fall: it goes on, answers others, and
 * keeps its memory
 *
 * This machine is not theirs.  Those that make processes need root here: they run as a user of
 * their own, whose processes the kernel counts, and not before it was seen to do so.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_rig.h"
#include "archive_rig.h"
#include "client.h"
#include "guest.h"
#include "suite.h"

#define NS	     1000000000ULL
#define FLAT_KIB     512
#define PROMPT	     1000 /* ms: the host's patience is that */
#define USER	     "4321"
#define PIDS	     40 /* of that user, at once */
/* ends by itself, with all its group, if this test did not come to its own end */
#define BOMB(script) "exec timeout -s KILL 20 sh -c '" script "'"

struct rig {
	char dir[40], path[64];
	pid_t agent;
	struct client bad;
	const char *user; /* of the hostile command: who cannot kill the agent, as in a guest */
};

static void exec(struct client *c, const char *user, uint64_t flags, const char *script)
{
	const char *const argv[] = { "sh", "-c", script };
	struct proto_buf b = { .data = NULL };

	proto_begin(&b, PROTO_EXEC, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(argv); i++)
		proto_text(&b, TAG_ARG, argv[i]);
	if (user)
		proto_text(&b, TAG_USER, user);
	proto_number(&b, TAG_FLAGS, flags);
	proto_end(&b);
	client_request(c, &b, 0);
}

static int pump(struct client *c, int ms)
{
	int r;

	do {
		r = client_pump(c, ms, -1);
	} while (r == -EINPROGRESS);
	return r;
}

/* how many there are of that user, the dead ones that nobody waited for among them */
static unsigned of_user(void)
{
	DIR *d = opendir("/proc");
	unsigned n = 0;

	require(d != NULL);
	for (struct dirent *e; (e = readdir(d));) {
		char path[300], line[256];
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%s/status", e->d_name);
		f = isdigit((unsigned char)e->d_name[0]) ? fopen(path, "re") : NULL;
		if (!f)
			continue;
		while (fgets(line, sizeof(line), f))
			n += !strncmp(line, "Uid:\t" USER "\t", sizeof("Uid:\t" USER "\t") - 1);
		fclose(f);
	}
	closedir(d);
	return n;
}

static void start(struct rig *x, uint64_t flags, const char *script)
{
	*x = (struct rig){ .dir = "/tmp/hutch-hostile.XXXXXX", .user = geteuid() ? NULL : USER };
	signal(SIGPIPE, SIG_IGN);
	ck_assert_uint_eq(of_user(), 0); /* or there is less room for what it is to do */
	require(mkdtemp(x->dir));
	snprintf(x->path, sizeof(x->path), "%s/agent", x->dir);
	x->agent = agent_listen(x->path);
	agent_reach(x->path, &x->bad);
	exec(&x->bad, x->user, flags, script);
}

/* others are served, in time, whatever goes on */
static void is_well(struct rig *x)
{
	uint64_t begin = now_ns();
	struct client c;

	agent_reach(x->path, &c);
	ck_assert_int_eq(pump(&c, 1), -ETIMEDOUT);
	client_ping(&c);
	while (c.pinged && pump(&c, 10) == -ETIMEDOUT)
		ck_assert_uint_lt((now_ns() - begin) / 1000000, PROMPT);
	ck_assert(!c.pinged);
	exec(&c, NULL, 0, "exit 7");
	ck_assert_int_eq(pump(&c, 20000), 0);
	ck_assert_int_eq(c.end.type, PROTO_EXIT);
	ck_assert_int_eq((int)c.end.status, 7);
	client_close(&c);
}

/*
 * The hostile command is ended by who asked for it, all that it left behind is waited for by the
 * agent, and then the agent ends: to whom its orphans go then may take his time, and until he has
 * looked at them they count as the user's.
 */
static void stop(struct rig *x)
{
	int status;

	is_well(x);
	agent_leave(&x->bad);
	is_well(x);
	for (int i = 0; i < 1000 && of_user(); i++)
		usleep(10000);
	ck_assert_uint_eq(of_user(), 0);
	ck_assert_int_eq(waitpid(x->agent, &status, WNOHANG), 0);
	kill(x->agent, SIGKILL);
	require(waitpid(x->agent, NULL, 0) == x->agent);
	rig_remove(x->dir);
}

/* for @ms, looked at again and again, while the hostile one does what it does */
static void lasts(struct rig *x, unsigned ms)
{
	uint64_t end = now_ns() + ms * 1000000ULL;
	size_t before;

	(void)!pump(&x->bad, 200);
	is_well(x);
	before = agent_status(x->agent, "VmRSS:");
	while (now_ns() < end) {
		(void)!pump(&x->bad, 50);
		is_well(x);
	}
	ck_assert_uint_le(agent_settled(x->agent), before + FLAT_KIB);
}

/* children that nobody waits for but the agent, faster than it would like */
START_TEST(orphans)
{
	struct rig x;

	start(&x, 0,
	      BOMB("for i in 1 2 3 4; do while :; do sh -c \": & : & : & :\"; done & done; wait"));
	lasts(&x, 3000);
	stop(&x);
}
END_TEST

/* all the processes that there may be: where there is none for the next command it is told so */
START_TEST(fork_bomb)
{
	struct rig x;

	start(&x, 0,
	      BOMB("for i in 1 2 3; do sh -c \"f() { f | f & f; }; f\" 2>&- & done; sleep 60"));
	lasts(&x, 1000);
	stop(&x);
}
END_TEST

/* a command that stands still is ended all the same, and its last words are what they were */
START_TEST(stands_still)
{
	struct rig x;

	start(&x, 0, "kill -STOP $$");
	lasts(&x, 300);
	client_signal(&x.bad, SIGTERM);
	ck_assert_int_eq(pump(&x.bad, 300), -ETIMEDOUT);
	client_signal(&x.bad, SIGKILL);
	ck_assert_int_eq(pump(&x.bad, 20000), 0);
	ck_assert_int_eq((int)x.bad.end.signal, SIGKILL);
	stop(&x);
}
END_TEST

/* it kills and stops all that it may, itself at last */
START_TEST(kills_all)
{
	struct rig x;

	start(&x, 0, "sleep 0.1; kill -STOP -1; kill -9 -1; kill -9 $$");
	ck_assert_int_eq(pump(&x.bad, 20000), 0);
	ck_assert_int_eq(x.bad.end.type, PROTO_EXIT);
	stop(&x);
}
END_TEST

/* daemons with our pipes and without end, some of them talking, none of them in reach of a signal
 */
START_TEST(daemons)
{
	uint64_t begin = now_ns();
	struct rig x;

	start(&x, 0,
	      "for i in 1 2 3 4 5 6 7 8; do setsid sh -c 'trap \"\" TERM HUP INT; exec timeout -s "
	      "KILL 5 yes' & done; sleep 0.3; exit 9");
	ck_assert_int_eq(pump(&x.bad, 20000), 0);
	ck_assert_int_eq((int)x.bad.end.status, 9);
	ck_assert_uint_lt(now_ns() - begin, 10 * NS);
	stop(&x);
}
END_TEST

/* no newline, to nobody, on both streams and through a terminal that is played with */
START_TEST(noise)
{
	struct rig x;

	for (int tty = 0; tty < 2; tty++) {
		start(&x, tty ? EXEC_TTY : 0,
		      "stty raw -echo 2>&-; cat /dev/zero >&2 & cat /dev/urandom & stty 1:2:3 "
		      "2>&-; "
		      "exec <&- 2>&-; wait");
		lasts(&x, 1000);
		stop(&x);
	}
}
END_TEST

/* a host that asks and never reads: its command waits, and takes no memory */
START_TEST(nobody_listens)
{
	struct rig x;
	size_t before;

	start(&x, 0, "yes");
	for (int i = 0; i < 10 && !x.bad.started; i++)
		(void)!client_pump(&x.bad, 100, -1);
	is_well(&x);
	before = agent_status(x.agent, "VmRSS:");
	for (int i = 0; i < 20; i++) {
		usleep(50000);
		is_well(&x);
	}
	ck_assert_uint_le(agent_settled(x.agent), before + FLAT_KIB);
	stop(&x);
}
END_TEST

/* are there to be no more processes of that user, and does the kernel hold to it? */
static bool is_bounded(void)
{
	const struct rlimit most = { PIDS, PIDS };
	unsigned made = 0;
	int p[2];
	pid_t pid;

	if (geteuid() || setrlimit(RLIMIT_NPROC, &most) || pipe2(p, O_CLOEXEC))
		return false;
	pid = fork();
	if (!pid) {
		if (setgid(4321) || setuid(4321))
			_exit(1);
		for (; made < 2 * PIDS; made++) {
			pid_t child = fork();

			if (child < 0)
				break;
			if (!child) {
				close(p[1]);
				(void)!read(p[0], &made, 1); /* until all are to end */
				_exit(0);
			}
		}
		close(p[1]);
		while (wait(NULL) > 0)
			;
		_exit(made < 2 * PIDS ? 0 : 1);
	}
	close(p[1]);
	int status = 1;
	bool yes = pid > 0 && waitpid(pid, &status, 0) == pid && !status;
	close(p[0]);
	return yes;
}

int main(void)
{
	Suite *s = suite_create("agent_hostile");
	TCase *t = tcase_create("agent_hostile");

	tcase_set_timeout(t, 120);
	if (access(agent_path(), X_OK)) {
		printf("skip agent_hostile: %s is not built\n", agent_path());
		return 0;
	}
	if (is_bounded()) {
		tcase_add_test(t, orphans);
		tcase_add_test(t, fork_bomb);
		tcase_add_test(t, kills_all);
		tcase_add_test(t, daemons);
	} else {
		printf("skip agent_hostile: bombs, which need root and a limit that holds\n");
	}
	tcase_add_test(t, stands_still);
	tcase_add_test(t, noise);
	tcase_add_test(t, nobody_listens);
	suite_add_tcase(s, t);
	return suite_run(s);
}
