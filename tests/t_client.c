/* t_client - a hostile agent against the host's side of its connection: it can end it, not more */

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"
#include "guest.h"
#include "suite.h"

#define NS 1000000000ULL

struct rig {
	struct client c;
	struct proto_buf say; /* what the agent is about to say */
	int agent;
	int out[2], err[2];
	pid_t pid;
};

static void start(struct rig *x)
{
	struct proto_buf none = { .data = NULL };
	int pair[2];

	*x = (struct rig){ .pid = -1 };
	signal(SIGPIPE, SIG_IGN);
	require(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	require(!pipe2(x->out, O_CLOEXEC | O_NONBLOCK) && !pipe2(x->err, O_CLOEXEC | O_NONBLOCK));
	client_init(&x->c);
	x->c.fd = pair[0];
	x->c.state = CLIENT_BUSY;
	x->c.heard_ns = now_ns();
	x->agent = pair[1];
	client_source(&x->c, -1);
	client_sink(&x->c, 0, x->out[1], 0);
	client_sink(&x->c, 1, x->err[1], 0);
	client_request(&x->c, &none, 0);
}

static void stop(struct rig *x)
{
	client_close(&x->c);
	proto_free(&x->say);
	close(x->agent);
	for (int i = 0; i < 2; i++) {
		close(x->out[i]);
		close(x->err[i]);
	}
	if (x->pid > 0) {
		kill(x->pid, SIGKILL);
		require(waitpid(x->pid, NULL, 0) == x->pid);
	}
}

static void frame(struct rig *x, uint8_t type, uint8_t stream, const void *body, size_t len)
{
	proto_begin(&x->say, type, stream);
	proto_raw(&x->say, body, len);
	proto_end(&x->say);
}

static void number(struct rig *x, uint8_t type, uint16_t tag, uint64_t v)
{
	proto_begin(&x->say, type, 0);
	proto_number(&x->say, tag, v);
	proto_end(&x->say);
}

/* it has said all that, and goes on saying nothing */
static int hear(struct rig *x, int ms)
{
	int r;

	require(!x->say.failed);
	require(send(x->agent, x->say.data, x->say.len, 0) == (ssize_t)x->say.len);
	proto_free(&x->say);
	do {
		r = client_pump(&x->c, ms, -1);
	} while (r == -EINPROGRESS);
	return r;
}

/* in a process of its own: these bytes, again and again, never reading */
static void for_ever(struct rig *x)
{
	x->pid = fork();
	if (x->pid)
		return;
	while (send(x->agent, x->say.data, x->say.len, MSG_NOSIGNAL) > 0)
		;
	_exit(0);
}

static size_t memory(void)
{
	size_t all = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	require(f && fscanf(f, "%zu %zu", &all, &resident) == 2);
	fclose(f);
	return resident * 4096;
}

START_TEST(headers)
{
	static const struct {
		uint32_t len;
		uint8_t type, stream, reserved;
	} bad[] = {
		{ 0, 0, 0, 0 },
		{ 0, PROTO_TYPES, 0, 0 },
		{ 0, 255, 0, 0 },
		{ 0, PROTO_DONE, PROTO_STREAMS, 0 },
		{ 0, PROTO_DONE, 0, 1 },
		{ PROTO_SMALL_MAX + 1, PROTO_DONE, 0, 0 },
		{ UINT32_MAX, PROTO_HELLO, 0, 0 },
		{ PROTO_DATA_MAX + 1, PROTO_DATA, 1, 0 },
		{ 1, PROTO_EOF, 1, 0 },
		{ 3, PROTO_CREDIT, 0, 0 },
		{ PROTO_BODY_MAX, PROTO_EXEC, 0, 0 }, /* what a host says, and not an agent */
		{ 0, PROTO_EXEC, 0, 0 },
		{ 0, PROTO_SIGNAL, 0, 0 },
		{ 0, PROTO_PING, 0, 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		uint8_t header[PROTO_HEADER];
		struct rig x;

		start(&x);
		proto_put_header(header, bad[i].type, bad[i].stream, bad[i].len);
		header[6] = bad[i].reserved;
		proto_raw(&x.say, header, sizeof(header));
		ck_assert_int_eq(hear(&x, 1000), -EPROTO);
		ck_assert_int_eq(client_pump(&x.c, 0, -1), -ECONNRESET); /* and nothing more */
		stop(&x);
	}
}
END_TEST

static void says_number(uint8_t type, uint8_t stream, uint32_t n, int want)
{
	struct rig x;

	start(&x);
	frame(&x, type, stream, &n, sizeof(n));
	ck_assert_int_eq(hear(&x, 50), want);
	stop(&x);
}

START_TEST(lies_about_streams)
{
	struct rig x;

	says_number(PROTO_CREDIT, PROTO_STDIN, 1, -EPROTO); /* beyond the window */
	says_number(PROTO_CREDIT, PROTO_STDIN, UINT32_MAX, -EPROTO);
	says_number(PROTO_CREDIT, PROTO_STDOUT, 1, -EPROTO); /* it has none to give */
	says_number(PROTO_DATA, PROTO_STDIN, 1, -EPROTO);
	says_number(PROTO_DATA, PROTO_STDERR, 1, -ETIMEDOUT);

	start(&x);
	frame(&x, PROTO_DATA, PROTO_STDOUT, "a", 1);
	frame(&x, PROTO_EOF, PROTO_STDOUT, NULL, 0);
	frame(&x, PROTO_EOF, PROTO_STDOUT, NULL, 0);
	ck_assert_int_eq(hear(&x, 20), -ETIMEDOUT);
	frame(&x, PROTO_DATA, PROTO_STDOUT, "b", 1);
	ck_assert_int_eq(hear(&x, 1000), -EPROTO); /* behind its end */
	stop(&x);

	start(&x);
	number(&x, PROTO_STARTED, TAG_PID, 1);
	number(&x, PROTO_STARTED, TAG_PID, 2);
	ck_assert_int_eq(hear(&x, 1000), -EPROTO);
	stop(&x);
}
END_TEST

/* the first end counts, whatever is behind it; numbers of any size are some number */
START_TEST(ends_twice)
{
	struct rig x;

	start(&x);
	proto_begin(&x.say, PROTO_EXIT, 0);
	proto_number(&x.say, TAG_STATUS, 3);
	proto_number(&x.say, TAG_RSS_MAX, UINT64_MAX);
	proto_bytes(&x.say, TAG_USER_US, "short", 5);
	proto_bytes(&x.say, 0x7fff, "unknown", 7);
	proto_end(&x.say);
	number(&x, PROTO_EXIT, TAG_STATUS, 4);
	frame(&x, PROTO_DATA, PROTO_STDOUT, "late", 4);
	ck_assert_int_eq(hear(&x, 1000), 0);
	ck_assert_uint_eq(x.c.end.status, 3);
	ck_assert_uint_eq(x.c.sink[0].total, 0);
	ck_assert(!client_signal(&x.c, SIGTERM)); /* there is nobody to take it */
	stop(&x);

	static const uint8_t ends[] = { PROTO_EXIT, PROTO_DONE, PROTO_ERROR };
	for (unsigned i = 0; i < ARRAY_SIZE(ends); i++) {
		start(&x);
		number(&x, ends[i], TAG_STATUS, 1ULL << 32);
		ck_assert_int_eq(hear(&x, 1000), 0);
		ck_assert_uint_eq(x.c.end.status, 255);
		stop(&x);
	}
}
END_TEST

/* nothing that a terminal obeys, in any encoding */
START_TEST(words_for_a_terminal)
{
	static const char text[] = "no\x1b[2J\a\r\n\x7f\x9b"
				   "31m\xc2\x9b\xe2\x80\xae end \xc3\xa4";
	struct rig x;

	start(&x);
	proto_begin(&x.say, PROTO_ERROR, 0);
	proto_bytes(&x.say, TAG_TEXT, text, sizeof(text)); /* and its NUL */
	proto_end(&x.say);
	ck_assert_int_eq(hear(&x, 1000), 0);
	for (const char *s = x.c.end.text; *s; s++) {
		ck_assert_int_ge((unsigned char)*s, ' ');
		ck_assert_int_ne(*s, 0x7f);
	}
	ck_assert_ptr_null(strchr(x.c.end.text, '\x9b'));
	ck_assert_ptr_nonnull(strstr(x.c.end.text, "end"));
	stop(&x);

	static char much[60000];
	memset(much, '\x9b', sizeof(much));
	start(&x);
	proto_begin(&x.say, PROTO_ERROR, 0);
	proto_bytes(&x.say, TAG_TEXT, much, sizeof(much));
	proto_end(&x.say);
	ck_assert_int_eq(hear(&x, 1000), 0);
	ck_assert_uint_lt(strlen(x.c.end.text), sizeof(x.c.end.text));
	stop(&x);
}
END_TEST

/* output without credit, to one who does not read: the window is all that is kept */
START_TEST(floods_a_reader_that_stalls)
{
	static char block[PROTO_DATA_MAX];
	uint64_t before = now_ns();
	struct rig x;
	int r;

	start(&x);
	frame(&x, PROTO_DATA, PROTO_STDOUT, block, sizeof(block));
	for_ever(&x);
	do {
		r = client_pump(&x.c, 100, -1);
	} while (r == -ETIMEDOUT && now_ns() - before < 20 * NS);
	ck_assert_int_eq(r, -EPROTO);
	ck_assert_uint_le(x.c.sink[0].total, PROTO_WINDOW + (1 << 20));
	stop(&x);
}
END_TEST

/* one that always has something to say: limits are looked at all the same, and what we have to
 * tell it does not pile up */
START_TEST(never_stops_talking)
{
	static char block[PROTO_DATA_MAX];
	uint64_t before = now_ns();
	size_t held;
	struct rig x;

	start(&x);
	client_sink(&x.c, 0, -1, 0);
	for (int i = 0; i < 2; i++)
		frame(&x, PROTO_DATA, PROTO_STDOUT, block, sizeof(block));
	for_ever(&x);
	ck_assert_int_eq(client_pump(&x.c, 300, -1), -ETIMEDOUT);
	ck_assert_uint_lt(now_ns() - before, 10 * NS);
	held = memory();
	/* its socket takes little of this, and then nothing */
	require(!setsockopt(x.c.fd, SOL_SOCKET, SO_SNDBUF, &(int){ 4096 }, sizeof(int)));
	before = now_ns();
	while (now_ns() - before < 2 * NS)
		ck_assert_int_eq(client_pump(&x.c, 100, -1), -ETIMEDOUT);
	ck_assert_uint_lt(x.c.out.len, 128 << 10);
	ck_assert_uint_lt(memory(), held + (2 << 20));
	stop(&x);
}
END_TEST

/* empty frames cost as much as others, and add nothing */
START_TEST(nothing_again_and_again)
{
	uint64_t before = now_ns();
	struct rig x;

	start(&x);
	for (int i = 0; i < 1000; i++) {
		frame(&x, PROTO_DATA, PROTO_STDERR, NULL, 0);
		frame(&x, PROTO_PONG, 0, NULL, 0);
		frame(&x, PROTO_EOF, PROTO_STDIN, NULL, 0);
		frame(&x, PROTO_CLOSE, PROTO_STDIN, NULL, 0);
		frame(&x, PROTO_HELLO, 0, NULL, 0);
	}
	ck_assert_int_eq(hear(&x, 200), -EPROTO); /* a HELLO that does not say whose it is */
	stop(&x);
	start(&x);
	for (int i = 0; i < 1000; i++)
		frame(&x, PROTO_DATA, PROTO_STDERR, NULL, 0);
	for_ever(&x);
	ck_assert_int_eq(client_pump(&x.c, 300, -1), -ETIMEDOUT);
	ck_assert_uint_lt(now_ns() - before, 10 * NS);
	stop(&x);
}
END_TEST

/* @timeout_ms is over when it is over, however much is there to be read */
START_TEST(time_is_up)
{
	static char block[PROTO_DATA_MAX];
	struct rig x;

	start(&x);
	client_sink(&x.c, 0, -1, 0);
	for (int i = 0; i < 4; i++)
		frame(&x, PROTO_DATA, PROTO_STDOUT, block, sizeof(block));
	ck_assert_int_eq(hear(&x, 0), -ETIMEDOUT);
	ck_assert_uint_lt(x.c.sink[0].total, 3 * PROTO_DATA_MAX);
	stop(&x);
}
END_TEST

START_TEST(never_answers)
{
	uint64_t before = now_ns();
	struct rig x;

	start(&x);
	ck_assert_int_eq(client_pump(&x.c, 0, -1), -ETIMEDOUT);
	ck_assert_int_eq(client_pump(&x.c, 200, -1), -ETIMEDOUT);
	ck_assert_uint_ge(now_ns() - before, NS / 5);
	x.c.heard_ns = now_ns() - NS;
	ck_assert_uint_eq(client_silence(&x.c), 0); /* it is asked first */
	ck_assert_uint_ge(client_silence(&x.c), 400);
	ck_assert_int_eq(client_pump(&x.c, 0, -1), -ETIMEDOUT);
	frame(&x, PROTO_PONG, 0, NULL, 0);
	ck_assert_int_eq(hear(&x, 50), -ETIMEDOUT);
	ck_assert_uint_eq(client_silence(&x.c), 0);
	/* a disk or a network that is slow to come is no silence */
	x.c.setups = 1;
	x.c.heard_ns = now_ns() - 10 * NS;
	x.c.pinged = true;
	ck_assert_uint_eq(client_silence(&x.c), 0);
	stop(&x);

	start(&x);
	x.c.state = CLIENT_HELLO; /* the device before the agent */
	proto_raw(&x.say, "OK 1", 4);
	ck_assert_int_eq(hear(&x, 50), -ETIMEDOUT);
	proto_raw(&x.say, "1111111111111111111111111111111111", 34);
	ck_assert_int_eq(hear(&x, 1000), -EPROTO);
	stop(&x);
}
END_TEST

/* it said everything and went, before it took what we had to say: its words are not lost */
START_TEST(last_words)
{
	static char block[PROTO_DATA_MAX], got[PROTO_DATA_MAX * 5];
	struct rig x;
	int r, size = 1 << 20, in = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	start(&x);
	client_source(&x.c, in);
	fcntl(x.out[1], F_SETPIPE_SZ, 1 << 20);
	require(!setsockopt(x.agent, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
	number(&x, PROTO_STARTED, TAG_PID, 1);
	for (int i = 0; i < 4; i++)
		frame(&x, PROTO_DATA, PROTO_STDOUT, block, sizeof(block));
	number(&x, PROTO_EXIT, TAG_STATUS, 7);
	require(send(x.agent, x.say.data, x.say.len, 0) == (ssize_t)x.say.len);
	shutdown(x.agent, SHUT_RDWR);
	do {
		r = client_pump(&x.c, 1000, -1);
	} while (r == -EINPROGRESS);
	ck_assert_int_eq(r, 0);
	ck_assert_uint_eq(x.c.end.status, 7);
	n = read(x.out[0], got, sizeof(got));
	ck_assert_int_eq((int)n, 4 * PROTO_DATA_MAX);
	close(in);
	stop(&x);
}
END_TEST

/* what cannot be written or read is told, and no more is asked for; a reader that has gone is not
 */
/* the number of the first item of the second frame; the first is the greeting */
static uint64_t first_number(const uint8_t *data, size_t len)
{
	struct proto_frame f;
	struct proto_item item;
	struct proto_reader r;
	uint64_t v = 0;

	require(!proto_get_header(data, &f) && f.type == PROTO_HELLO);
	data += PROTO_HEADER + f.len;
	len -= PROTO_HEADER + f.len;
	require(len > PROTO_HEADER && !proto_get_header(data, &f) && f.type == PROTO_SETUP);
	r = (struct proto_reader){ data + PROTO_HEADER, data + PROTO_HEADER + f.len };
	require(proto_next(&r, &item) == 1 && !proto_item_number(&item, &v));
	return v;
}

/* a guest that boots calls late; what time it is then is what it is told, and nothing else changes
 */
START_TEST(time_of_the_call)
{
	const uint16_t tag = _i ? TAG_PIDS_MAX : TAG_TIME_NS;
	struct proto_buf frames = { .data = NULL };
	uint8_t data[512];
	struct client c;
	int pair[2];
	uint64_t now, is;
	ssize_t len;

	require(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	client_init(&c);
	client_expect(&c, -1);
	proto_begin(&frames, PROTO_SETUP, 0);
	proto_number(&frames, tag, 12345);
	proto_end(&frames);
	client_request(&c, &frames, 1);
	client_answer(&c, pair[0]);
	now = client_clock();
	ck_assert_int_eq(client_pump(&c, 0, -1), -ETIMEDOUT);
	len = recv(pair[1], data, sizeof(data), MSG_DONTWAIT);
	ck_assert_int_gt(len, 0);
	is = first_number(data, (size_t)len);
	if (_i) {
		ck_assert_uint_eq(is, 12345);
	} else {
		ck_assert_uint_ge(is, now);
		ck_assert_uint_lt(is, now + 5000000000);
	}
	client_close(&c);
	close(pair[1]);
}
END_TEST

START_TEST(our_own_side_fails)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	int folder = open("/", O_RDONLY | O_CLOEXEC);
	uint8_t header[PROTO_HEADER];
	struct rig x;

	start(&x);
	client_sink(&x.c, 0, full, 0);
	close(x.err[0]);
	x.err[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	client_source(&x.c, folder);
	number(&x, PROTO_STARTED, TAG_PID, 1);
	frame(&x, PROTO_DATA, PROTO_STDOUT, "x", 1);
	frame(&x, PROTO_DATA, PROTO_STDERR, "x", 1);
	ck_assert_int_eq(hear(&x, 100), -ETIMEDOUT);
	ck_assert_int_eq(x.c.sink[0].error, ENOSPC);
	ck_assert(x.c.sink[1].broken);
	ck_assert_int_eq(x.c.sink[1].error, 0);
	ck_assert_int_eq(x.c.in.error, EISDIR);
	for (int i = 0; i < 3; i++) { /* two CLOSE and an EOF, in whatever order */
		require(recv(x.agent, header, sizeof(header), 0) == sizeof(header));
		ck_assert(header[4] == (header[5] ? PROTO_CLOSE : PROTO_EOF));
	}
	close(full);
	close(folder);
	stop(&x);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("client");
	TCase *t = tcase_create("client");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, headers);
	tcase_add_test(t, lies_about_streams);
	tcase_add_test(t, ends_twice);
	tcase_add_test(t, words_for_a_terminal);
	tcase_add_test(t, floods_a_reader_that_stalls);
	tcase_add_test(t, never_stops_talking);
	tcase_add_test(t, nothing_again_and_again);
	tcase_add_test(t, time_is_up);
	tcase_add_test(t, never_answers);
	tcase_add_test(t, last_words);
	tcase_add_test(t, our_own_side_fails);
	tcase_add_loop_test(t, time_of_the_call, 0, 2);
	suite_add_tcase(s, t);
	return suite_run(s);
}
