/* t_agent_log - what the agent logs, and how it comes to its host */
#include "client_rig.h"
#include "suite.h"

struct lines {
	unsigned n, warnings;
	char all[1 << 18];
};

static struct lines lines;

static void on_log(void *arg, unsigned level, const char *text)
{
	struct lines *l = arg;
	size_t len = strlen(l->all);

	l->n++;
	l->warnings += level < LEVEL_INFO;
	snprintf(l->all + len, sizeof(l->all) - len, "%s\n", text);
}

static void clear(void)
{
	lines = (struct lines){ .n = 0 };
}

/* all that is said of a command has come when its end is told */
START_TEST(lines_of_a_command)
{
	struct rig x;

	clear();
	start_with(&x, on_log, &lines);
	ck_assert_int_eq(sh(&x, "exit 7"), 7);
	ck_assert_uint_eq(lines.n, 2);
	ck_assert_ptr_nonnull(strstr(lines.all, " is sh\n"));
	ck_assert_ptr_nonnull(strstr(lines.all, " ended with 7\n"));
	clear();
	ck_assert_int_eq(sh(&x, "kill -9 $$"), 137);
	ck_assert_ptr_nonnull(strstr(lines.all, " died of signal 9\n"));
	clear();
	ck_assert_int_eq(run(&x, ARGV("/no/such/command")), 0);
	ck_assert_uint_eq(x.c.end.type, PROTO_ERROR);
	ck_assert_ptr_nonnull(strstr(lines.all, "refused: "));
	ck_assert_uint_eq(lines.warnings, 0);
	stop(&x);
}
END_TEST

/* a host that is older, or not the sandbox itself, gets no frame that it does not know */
START_TEST(not_to_one_who_did_not_ask)
{
	struct rig x;

	start(&x);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(sh(&x, "exit 0"), 0);
	stop(&x);
}
END_TEST

/* what nobody reads is bounded: the first lines are kept, and the rest is counted */
START_TEST(nobody_reads)
{
	static char name[300];
	struct rig x;

	clear();
	start(&x);
	memset(name, 'x', sizeof(name) - 1);
	for (int i = 0; i < 200; i++)
		run(&x, ARGV(name));
	/* the same connection asks for them from here on */
	client_logs(&x.c, on_log, &lines);
	proto_begin(&x.c.out, PROTO_HELLO, 0);
	proto_number(&x.c.out, TAG_MAGIC, PROTO_MAGIC);
	proto_number(&x.c.out, TAG_VERSION, PROTO_VERSION);
	proto_number(&x.c.out, TAG_LOGS, 1);
	proto_end(&x.c.out);
	for (int i = 0; i < 10; i++)
		sh(&x, "exit 3");
	ck_assert_uint_gt(lines.n, 40);
	ck_assert_uint_lt(lines.n, 180);
	ck_assert_ptr_nonnull(strstr(lines.all, " lines were left out\n"));
	ck_assert_ptr_nonnull(strstr(lines.all, " ended with 3\n"));
	stop(&x);
}
END_TEST

/* all that waits comes, however it falls into frames, and nothing else has to happen for that */
START_TEST(none_is_held_back)
{
	for (unsigned n = 30; n < 60; n++) {
		struct proto_buf hello = { .data = NULL };
		struct rig x;

		clear();
		start(&x);
		for (unsigned i = 0; i < n; i++)
			run(&x, ARGV("/no/such/command"));
		client_logs(&x.c, on_log, &lines);
		proto_begin(&hello, PROTO_HELLO, 0);
		proto_number(&hello, TAG_MAGIC, PROTO_MAGIC);
		proto_number(&hello, TAG_VERSION, PROTO_VERSION);
		proto_number(&hello, TAG_LOGS, 1);
		proto_end(&hello);
		client_request(&x.c, &hello, 0);
		for (unsigned i = 0; i < 100 && lines.n < n; i++)
			ck_assert_int_eq(pump(&x.c, 10, -1), -ETIMEDOUT);
		ck_assert_uint_eq(lines.n, n);
		stop(&x);
	}
}
END_TEST

/* text of a line, whatever is in it: one line, that a terminal can be shown */
START_TEST(names_that_are_odd)
{
	struct rig x;

	clear();
	start_with(&x, on_log, &lines);
	run(&x, ARGV("a\nb\x1b[31mc"));
	ck_assert_uint_eq(lines.n, 1);
	ck_assert_ptr_nonnull(strstr(lines.all, "\\x1b[31mc"));
	stop(&x);
}
END_TEST

/* a guest that does nothing but log */
START_TEST(floods)
{
	struct proto_buf b = { .data = NULL };
	struct client c;
	int pair[2], r;

	clear();
	require(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	client_init(&c);
	client_logs(&c, on_log, &lines);
	c.fd = pair[0];
	c.state = CLIENT_BUSY;
	for (int i = 0; i < 10 * CLIENT_LOGS; i++) {
		b.len = 0;
		proto_begin(&b, PROTO_LOG, 0);
		proto_number(&b, TAG_LEVEL, i % 2 ? UINT64_MAX : LEVEL_ERROR);
		proto_text(&b, TAG_TEXT, "\x07 all is well");
		proto_end(&b);
		require(send(pair[1], b.data, b.len, MSG_NOSIGNAL) == (ssize_t)b.len);
		r = client_pump(&c, 0, -1);
		ck_assert_int_eq(r, -ETIMEDOUT);
	}
	ck_assert_uint_eq(lines.n, CLIENT_LOGS);
	ck_assert_uint_eq(lines.warnings, CLIENT_LOGS / 2);
	ck_assert_ptr_null(strchr(lines.all, '\x07'));
	/* the next window tells */
	c.logged.window_start -= LOG_WINDOW_NS + 1;
	require(send(pair[1], b.data, b.len, MSG_NOSIGNAL) == (ssize_t)b.len);
	ck_assert_int_eq(client_pump(&c, 0, -1), -ETIMEDOUT);
	ck_assert_ptr_nonnull(strstr(lines.all, "1800 more lines were left out\n"));
	/* one who did not ask is not spoken to */
	client_logs(&c, NULL, NULL);
	require(send(pair[1], b.data, b.len, MSG_NOSIGNAL) == (ssize_t)b.len);
	ck_assert_int_eq(client_pump(&c, 0, -1), -EPROTO);
	client_close(&c);
	close(pair[1]);
	proto_free(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("agent_log");
	TCase *t = tcase_create("agent_log");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, floods);
	if (!access(agent_path(), X_OK)) {
		tcase_add_test(t, lines_of_a_command);
		tcase_add_test(t, not_to_one_who_did_not_ask);
		tcase_add_test(t, nobody_reads);
		tcase_add_test(t, none_is_held_back);
		tcase_add_test(t, names_that_are_odd);
	} else {
		printf("skip agent_log: %s is not built\n", agent_path());
	}
	suite_add_tcase(s, t);
	return suite_run(s);
}
