/* t_agent_many - one agent and many who ask it at once */

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_rig.h"
#include "client.h"
#include "guest.h"
#include "suite.h"

#define NS	 1000000000ULL
#define EXECS	 100
#define ROUNDS	 4
#define SIZE	 300000 /* more than what is under way at most */
#define FLAT_KIB 512

struct rig {
	char dir[40], path[64];
	pid_t agent;
};

static void start(struct rig *x)
{
	*x = (struct rig){ .dir = "/tmp/hutch-many.XXXXXX" };
	signal(SIGPIPE, SIG_IGN);
	require(mkdtemp(x->dir));
	snprintf(x->path, sizeof(x->path), "%s/agent", x->dir);
	x->agent = agent_listen(x->path);
}

static void stop(struct rig *x)
{
	int status;

	/* it is still there, and not because it was never looked at */
	ck_assert_int_eq(waitpid(x->agent, &status, WNOHANG), 0);
	kill(x->agent, SIGKILL);
	require(waitpid(x->agent, NULL, 0) == x->agent);
	unlink(x->path);
	rmdir(x->dir);
}

static void ask(struct client *c, int in, int out, const char *script)
{
	const char *const argv[] = { "sh", "-c", script };
	struct proto_buf b = { .data = NULL };

	proto_begin(&b, PROTO_EXEC, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(argv); i++)
		proto_text(&b, TAG_ARG, argv[i]);
	proto_number(&b, TAG_FLAGS, in >= 0 ? EXEC_STDIN : 0);
	proto_end(&b);
	client_source(c, in);
	client_sink(c, 0, out, 0);
	client_request(c, &b, 0);
}

static int finish(struct client *c, int ms)
{
	int r;

	do {
		r = client_pump(c, ms, -1);
	} while (r == -EINPROGRESS);
	return r;
}

struct one {
	struct client c;
	int in, out;
	bool done;
};

static int temp(void)
{
	return open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

/* each has its own bytes, its own number and its own status; nothing of it is another's */
static void begin(struct rig *x, struct one *o, unsigned i)
{
	static char data[SIZE];
	char script[64];

	memset(data, 'A' + (int)(i % 50), sizeof(data));
	*o = (struct one){ .in = temp(), .out = temp() };
	require(o->in >= 0 && o->out >= 0);
	require(pwrite(o->in, data, SIZE, 0) == SIZE);
	snprintf(script, sizeof(script), "echo %u; cat; exit %u", i, i);
	agent_reach(x->path, &o->c);
	ask(&o->c, o->in, o->out, script);
}

static void check(struct one *o, unsigned i)
{
	static char want[SIZE + 16], got[SIZE + 64];
	int n = snprintf(want, sizeof(want), "%u\n", i);

	memset(want + n, 'A' + (int)(i % 50), SIZE);
	ck_assert_int_eq(o->c.end.type, PROTO_EXIT);
	ck_assert_int_eq((int)o->c.end.status, (int)i);
	ck_assert_int_eq(pread(o->out, got, sizeof(got), 0), SIZE + n);
	ck_assert(!memcmp(got, want, (size_t)(SIZE + n)));
	client_close(&o->c);
	close(o->in);
	close(o->out);
}

START_TEST(a_hundred_at_once)
{
	static struct one one[EXECS];
	uint64_t begun = now_ns();
	size_t after_first = 0;
	struct rig x;

	start(&x);
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned left = EXECS;

		for (unsigned i = 0; i < EXECS; i++)
			begin(&x, &one[i], i);
		while (left) {
			ck_assert_uint_lt(now_ns() - begun, 100 * NS);
			for (unsigned i = 0; i < EXECS; i++) {
				int r = one[i].done ? -ETIMEDOUT : finish(&one[i].c, 0);

				ck_assert(!r || r == -ETIMEDOUT);
				one[i].done |= !r;
				left -= !r;
			}
		}
		for (unsigned i = 0; i < EXECS; i++)
			check(&one[i], i);
		if (!round)
			after_first = agent_settled(x.agent);
	}
	ck_assert_uint_gt(after_first, 0);
	ck_assert_uint_le(agent_settled(x.agent), after_first + FLAT_KIB);
	stop(&x);
}
END_TEST

/* one too many is told so, those who are there notice nothing, and one that leaves makes room */
START_TEST(one_too_many)
{
	static struct client c[PROTO_SESSIONS + 3];
	struct rig x;

	start(&x);
	for (unsigned i = 0; i < PROTO_SESSIONS; i++) {
		agent_reach(x.path, &c[i]);
		ask(&c[i], -1, -1, "sleep 60");
		ck_assert_int_eq(client_pump(&c[i], 20000, -1), -EINPROGRESS);
	}
	for (unsigned i = PROTO_SESSIONS; i < ARRAY_SIZE(c); i++) {
		agent_reach(x.path, &c[i]);
		ask(&c[i], -1, -1, "exit 4");
		ck_assert_int_eq(finish(&c[i], 20000), -EBUSY);
		ck_assert_ptr_nonnull(strstr(c[i].end.text, "128"));
		client_close(&c[i]);
	}
	client_close(&c[7]);
	/* its command is ended first */
	for (int i = 0, r = -EBUSY; r == -EBUSY; i++) {
		ck_assert_int_lt(i, 100);
		agent_reach(x.path, &c[7]);
		ask(&c[7], -1, -1, "exit 5");
		r = finish(&c[7], 20000);
		ck_assert(!r || r == -EBUSY);
		if (!r)
			ck_assert_int_eq((int)c[7].end.status, 5);
		else
			client_close(&c[7]);
		usleep(20000);
	}
	for (unsigned i = 0; i < PROTO_SESSIONS; i++)
		client_close(&c[i]);
	stop(&x);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("agent_many");
	TCase *t = tcase_create("agent_many");

	tcase_set_timeout(t, 120);
	if (access(agent_path(), X_OK)) {
		printf("skip agent_many: %s is not built\n", agent_path());
		return 0;
	}
	tcase_add_test(t, a_hundred_at_once);
	tcase_add_test(t, one_too_many);
	suite_add_tcase(s, t);
	return suite_run(s);
}
