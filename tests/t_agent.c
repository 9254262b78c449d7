/* t_agent - the agent itself, as a process of this machine, and the host's side of its connection
 */

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client_rig.h"
#include "guest.h"
#include "suite.h"

#define NS	   1000000000ULL
#define EXEC_ITEMS 65536 /* agent.h */

static void says(struct rig *x, const char *text)
{
	static char buf[1 << 16];

	drain(x->out[0], buf, sizeof(buf));
	ck_assert_str_eq(buf, text);
}

START_TEST(every_exit_status)
{
	struct rig x;
	char script[32];

	start(&x);
	for (int i = 0; i < 256; i++) {
		snprintf(script, sizeof(script), "exit %d", i);
		ck_assert_int_eq(sh(&x, script), i);
		ck_assert_int_eq(x.c.end.type, PROTO_EXIT);
		ck_assert_int_eq((int)x.c.end.signal, 0);
	}
	stop(&x);
}
END_TEST

/* what each of the 31 does to a command that does not care */
START_TEST(every_signal)
{
	static const int ignored[] = { SIGCHLD, SIGCONT, SIGURG, SIGWINCH };
	static const int stops[] = { SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU };
	struct rig x;
	char script[64];

	start(&x);
	for (int i = 1; i < 32; i++) {
		bool harmless = false, stopping = false;

		for (int k = 0; k < 4; k++) {
			harmless |= i == ignored[k];
			stopping |= i == stops[k];
		}
		snprintf(script, sizeof(script), "exec 2>&-; kill -%d $$; exit 7", i);
		ask(&x, ARGV("sh", "-c", script));
		if (stopping) {
			/* a session without a terminal is stopped by SIGSTOP alone */
			while (pump(&x.c, 50, -1) == -ETIMEDOUT)
				client_signal(&x.c, SIGCONT);
		} else {
			ck_assert_int_eq(pump(&x.c, 20000, -1), 0);
		}
		if (harmless || stopping) {
			ck_assert_int_eq((int)x.c.end.status, 7);
		} else {
			ck_assert_int_eq((int)x.c.end.status, 128 + i);
			ck_assert_int_eq((int)x.c.end.signal, i);
		}
	}
	stop(&x);
}
END_TEST

START_TEST(arguments_byte_for_byte)
{
	static char big[100 << 10], out[101 << 10];
	const char *odd[] = { "a b", "'\"", "line\nline", "$(touch /nowhere) `x` $HOME",
			      "",    "\\",  "\xff\x01\t", "*",
			      big };
	const char *argv[16] = { "printf", "%s|" };
	char *at = out;
	struct rig x;
	static char got[101 << 10];

	memset(big, 'x', sizeof(big) - 1);
	for (unsigned i = 0; i < ARRAY_SIZE(odd); i++) {
		argv[2 + i] = odd[i];
		at += sprintf(at, "%s|", odd[i]);
	}
	start(&x);
	ck_assert_int_eq(run(&x, argv), 0);
	drain(x.out[0], got, sizeof(got));
	ck_assert(!strcmp(got, out));
	stop(&x);
}
END_TEST

START_TEST(what_does_not_run)
{
	static const struct {
		const char *name, *cwd, *user;
		int code;
		const char *text;
	} cases[] = {
		{ "no-such-command", NULL, NULL, ERROR_NOT_FOUND, "no-such-command" },
		{ "/no/such/file", NULL, NULL, ERROR_NOT_FOUND, "/no/such/file" },
		{ "/etc/passwd", NULL, NULL, ERROR_NOT_RUNNABLE, "Permission denied" },
		{ "/etc", NULL, NULL, ERROR_NOT_RUNNABLE, "/etc" },
		{ "true", "/no/such/place", NULL, ERROR_CWD, "/no/such/place" },
		{ "true", "/etc/passwd", NULL, ERROR_CWD, "Not a directory" },
		{ "true", NULL, "nobody-of-this-name", ERROR_USER, "nobody-of-this-name" },
		{ "true", NULL, "root:no-such-group", ERROR_USER, "no-such-group" },
		{ "", NULL, NULL, ERROR_REQUEST, "without a name" },
	};
	struct rig x;

	start(&x);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		x.cwd = cases[i].cwd;
		x.user = cases[i].user;
		run(&x, ARGV(cases[i].name));
		ck_assert_int_eq(x.c.end.type, PROTO_ERROR);
		ck_assert_int_eq((int)x.c.end.code, cases[i].code);
		ck_assert_ptr_nonnull(strstr(x.c.end.text, cases[i].text));
	}
	x.cwd = x.user = NULL;
	ck_assert_int_eq(sh(&x, "exit 3"), 3); /* and it goes on */
	stop(&x);
}
END_TEST

START_TEST(place_user_environment)
{
	static const char *const env[] = { "A=1 2", "B=\n", "PATH=/usr/bin:/bin", NULL };
	struct rig x;

	start(&x);
	x.cwd = "/usr";
	x.env = env;
	ck_assert_int_eq(sh(&x, "pwd; printf '%s|%s|' \"$A\" \"$B\"; echo $HOME"), 0);
	says(&x, "/usr\n1 2|\n|/root\n");
	if (!geteuid()) {
		x.user = "daemon";
		ck_assert_int_eq(sh(&x, "id -u; id -g; echo $USER"), 0);
		says(&x, "1\n1\ndaemon\n");
		x.user = "1234:5678";
		ck_assert_int_eq(sh(&x, "id -u; id -G"), 0);
		says(&x, "1234\n5678\n");
	}
	stop(&x);
}
END_TEST

/* bytes of all kinds, both ways, more than any buffer holds */
START_TEST(binary_both_ways)
{
	enum { SIZE = 8 << 20 };
	char path[] = "/tmp/hutch-agent.XXXXXX", back[] = "/tmp/hutch-agent.XXXXXX";
	int in = mkstemp(path), out = mkstemp(back);
	uint8_t *a = malloc(SIZE), *b = malloc(SIZE);
	uint32_t seed = 1;
	struct rig x;

	require(in >= 0 && out >= 0 && a && b);
	unlink(path);
	unlink(back);
	for (int i = 0; i < SIZE; i++) {
		seed = seed * 1103515245 + 12345;
		a[i] = (uint8_t)(seed >> 16);
	}
	require(write(in, a, SIZE) == SIZE && !lseek(in, 0, SEEK_SET));
	start(&x);
	x.in = in;
	ask(&x, ARGV("cat"));
	client_sink(&x.c, 0, out, 0);
	ck_assert_int_eq(pump(&x.c, 60000, -1), 0);
	ck_assert_int_eq((int)x.c.end.status, 0);
	ck_assert_int_eq(pread(out, b, SIZE, 0), SIZE);
	ck_assert(!memcmp(a, b, SIZE));
	ck_assert_uint_eq(x.c.sink[0].total, SIZE);
	stop(&x);
	close(in);
	close(out);
	free(a);
	free(b);
}
END_TEST

START_TEST(output_is_cut)
{
	static char buf[1 << 20];
	struct rig x;

	start(&x);
	x.most = 200000;
	ck_assert_int_eq(run(&x, ARGV("yes")), 128 + SIGPIPE);
	ck_assert(x.c.sink[0].cut);
	ck_assert_uint_eq(x.c.sink[0].total, 200000);
	ck_assert_uint_eq(drain(x.out[0], buf, sizeof(buf)), 200000);
	/* just as much as it takes is not cut */
	x.most = 5;
	ck_assert_int_eq(run(&x, ARGV("printf", "12345")), 0);
	ck_assert(!x.c.sink[0].cut);
	stop(&x);
}
END_TEST

/* the one who reads has gone: as in a pipe of local commands */
START_TEST(closed_reader)
{
	struct rig x;

	start(&x);
	close(x.out[0]);
	x.out[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(run(&x, ARGV("yes")), 128 + SIGPIPE);
	stop(&x);
}
END_TEST

START_TEST(reader_that_stalls)
{
	static char buf[1 << 20];
	uint64_t before;
	struct rig x;
	size_t all = 0;

	start(&x);
	fcntl(x.out[1], F_SETPIPE_SZ, 4096);
	ask(&x, ARGV("sh", "-c", "head -c 3000000 /dev/zero; echo on its own >&2"));
	ck_assert_int_eq(pump(&x.c, 300, -1), -ETIMEDOUT);
	/* what came is what was granted, and not more */
	ck_assert_uint_le(x.c.sink[0].total, PROTO_WINDOW + 8192);
	fcntl(x.out[1], F_SETPIPE_SZ, 1 << 20);
	before = now_ns();
	while (pump(&x.c, 20, -1) == -ETIMEDOUT && now_ns() - before < 20 * NS)
		all += drain(x.out[0], buf, sizeof(buf));
	all += drain(x.out[0], buf, sizeof(buf));
	ck_assert_uint_eq(all, 3000000);
	drain(x.err[0], buf, sizeof(buf));
	ck_assert_str_eq(buf, "on its own\n");
	stop(&x);
}
END_TEST

/* a stream that stalls holds nothing else up */
START_TEST(streams_are_apart)
{
	static char buf[1 << 16];
	struct rig x;

	start(&x);
	fcntl(x.out[1], F_SETPIPE_SZ, 4096);
	ask(&x, ARGV("sh", "-c", "head -c 3000000 /dev/zero & echo one >&2; sleep 5"));
	for (int i = 0; i < 100 && !x.c.sink[1].total; i++)
		ck_assert_int_eq(pump(&x.c, 50, -1), -ETIMEDOUT);
	drain(x.err[0], buf, sizeof(buf));
	ck_assert_str_eq(buf, "one\n");
	stop(&x); /* and kills it */
}
END_TEST

START_TEST(background_child)
{
	uint64_t before = now_ns();
	struct rig x;

	start(&x);
	ck_assert_int_eq(sh(&x, "sleep 30 & echo done; exit 4"), 4);
	says(&x, "done\n");
	ck_assert_uint_lt(now_ns() - before, 10 * NS);
	ck_assert_int_eq(sh(&x, "echo next"), 0);
	says(&x, "next\n");
	stop(&x);
}
END_TEST

/* nor does one that never stops talking, through pipes or a terminal, faster than we read */
START_TEST(background_talker)
{
	static const char script[] = "trap '' HUP; for i in 1 2 3; do dd if=/dev/zero bs=1M 2>&- & "
				     "done; exit 3";
	static char buf[8192];
	uint64_t before = now_ns();
	struct rig x;

	start(&x);
	fcntl(x.out[1], F_SETPIPE_SZ, 4096);
	for (int tty = 0; tty < 2; tty++) {
		x.flags = tty ? EXEC_TTY : 0;
		ask(&x, ARGV("sh", "-c", script));
		while (pump(&x.c, 2, -1) == -ETIMEDOUT && now_ns() - before < 20 * NS)
			(void)!read(x.out[0], buf, sizeof(buf));
		ck_assert(x.c.ended);
		ck_assert_int_eq((int)x.c.end.status, 3);
		while (read(x.out[0], buf, sizeof(buf)) > 0)
			;
	}
	stop(&x);
}
END_TEST

/* user and system time of a process, in ms */
static unsigned long cpu_ms(pid_t pid)
{
	unsigned long user = 0, sys = 0;
	char path[64], text[512], *at;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	require(fd >= 0);
	drain(fd, text, sizeof(text));
	close(fd);
	at = strrchr(text, ')');
	require(at && sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
			     &sys) == 2);
	return (user + sys) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK);
}

/* the command has ended, its words are in a pipe, and there is no credit: they wait, and no
 * processor is spent on that */
START_TEST(slow_reader_of_the_last_words)
{
	static char buf[1 << 20];
	unsigned long cpu;
	struct rig x;
	size_t all = 0;
	uint64_t before;

	start(&x);
	fcntl(x.out[1], F_SETPIPE_SZ, 4096);
	ask(&x, ARGV("head", "-c", "300000", "/dev/zero"));
	ck_assert_int_eq(pump(&x.c, 1000, -1), -ETIMEDOUT);
	cpu = cpu_ms(x.pid);
	ck_assert_int_eq(pump(&x.c, 1000, -1), -ETIMEDOUT);
	ck_assert_uint_lt(cpu_ms(x.pid) - cpu, 200);
	before = now_ns();
	while (pump(&x.c, 20, -1) == -ETIMEDOUT && now_ns() - before < 20 * NS)
		all += drain(x.out[0], buf, sizeof(buf));
	all += drain(x.out[0], buf, sizeof(buf));
	ck_assert_uint_eq(all, 300000);
	ck_assert_int_eq((int)x.c.end.status, 0);
	stop(&x);
}
END_TEST

START_TEST(detached)
{
	struct rig x;

	start(&x);
	x.flags = EXEC_DETACH | EXEC_TTY;
	ask(&x, ARGV("sleep", "0"));
	ck_assert_int_eq(pump(&x.c, 20000, -1), 0);
	ck_assert_int_eq(x.c.end.type, PROTO_DONE);
	x.flags = 0;
	ck_assert_int_eq(sh(&x, "exit 3"), 3);
	stop(&x);
}
END_TEST

/* the entries of a process's folder of descriptors */
static unsigned fds_of(pid_t pid)
{
	char path[64];
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	require(d != NULL);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

START_TEST(nothing_is_left_open)
{
	static const struct {
		const char *name;
		uint64_t flags;
		int status;
	} cases[] = {
		{ "true", 0, 0 },	    { "true", EXEC_TTY, 0 },
		{ "true", EXEC_DETACH, 0 }, { "no-such-command", 0, -1 },
		{ "/etc", EXEC_TTY, -1 },
	};
	char children[64], text[64];
	unsigned before;
	struct rig x;
	int fd;

	start(&x);
	ck_assert_int_eq(sh(&x, "ls /proc/self/fd | tr '\n' ' '"), 0);
	says(&x, "0 1 2 3 "); /* and one of ls itself */
	before = fds_of(x.pid);
	for (int i = 0; i < 1000; i++) {
		x.flags = cases[i % 5].flags;
		run(&x, ARGV(cases[i % 5].name));
		ck_assert_int_eq(x.c.end.type, cases[i % 5].status < 0 ? PROTO_ERROR
					       : x.flags & EXEC_DETACH ? PROTO_DONE
								       : PROTO_EXIT);
	}
	ck_assert_uint_eq(fds_of(x.pid), before);
	/* and none of them waits to be reaped; the last detached one may still run */
	x.flags = 0;
	snprintf(children, sizeof(children), "/proc/%d/task/%d/children", x.pid, x.pid);
	for (int i = 0; i < 100; i++) {
		fd = open(children, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			break; /* not told by this kernel */
		drain(fd, text, sizeof(text));
		close(fd);
		if (!text[0])
			break;
		usleep(20000);
		ck_assert_int_lt(i, 99);
	}
	stop(&x);
}
END_TEST

START_TEST(empty_arguments)
{
	const char **argv = calloc(EXEC_ITEMS + 2, sizeof(*argv));
	struct rig x;

	require(argv != NULL);
	for (int i = 0; i <= EXEC_ITEMS; i++)
		argv[i] = "";
	argv[0] = "true";
	start(&x);
	run(&x, argv);
	ck_assert_int_eq(x.c.end.type, PROTO_ERROR);
	ck_assert_ptr_nonnull(strstr(x.c.end.text, "65536"));
	argv[EXEC_ITEMS] = NULL;
	ck_assert_int_eq(run(&x, argv), 0);
	ck_assert_int_eq(x.c.end.type, PROTO_EXIT);
	stop(&x);
	free(argv);
}
END_TEST

/* what the host said of one command's input, and what came after its end, is nothing to the next */
START_TEST(input_of_the_last_command)
{
	static char block[200000];
	struct proto_buf late = { .data = NULL };
	struct rig x;
	int in = open("/dev/zero", O_RDONLY | O_CLOEXEC), some[2];

	start(&x);
	x.in = in;
	ck_assert_int_eq(sh(&x, "sleep 0.2; exit 5"), 5); /* more than fits, and nobody reads it */
	proto_begin(&late, PROTO_EOF, PROTO_STDIN);
	proto_end(&late);
	client_request(&x.c, &late, 0);
	require(!pipe2(some, O_CLOEXEC) && fcntl(some[1], F_SETPIPE_SZ, 1 << 20) > 0);
	require(write(some[1], block, sizeof(block)) == sizeof(block));
	x.in = some[0];
	ask(&x, ARGV("sh", "-c", "sleep 0.2; cat | wc -c"));
	/* all of that is read by then */
	ck_assert_int_eq(pump(&x.c, 600, -1), -ETIMEDOUT);
	require(write(some[1], block, sizeof(block)) == sizeof(block));
	close(some[1]);
	ck_assert_int_eq(pump(&x.c, 20000, -1), 0);
	ck_assert_int_eq((int)x.c.end.status, 0);
	says(&x, "400000\n");
	close(some[0]);
	close(in);
	stop(&x);
}
END_TEST

START_TEST(end_of_input)
{
	struct rig x;
	int p[2];

	start(&x);
	ck_assert_int_eq(sh(&x, "cat; echo nothing"), 0); /* none is given */
	says(&x, "nothing\n");
	require(!pipe2(p, O_CLOEXEC));
	require(write(p[1], "some", 4) == 4);
	close(p[1]);
	x.in = p[0];
	ck_assert_int_eq(sh(&x, "cat; echo .end"), 0);
	says(&x, "some.end\n");
	/* a command that reads nothing does not keep who writes */
	close(p[0]);
	x.in = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(sh(&x, "exec <&-; sleep 0.1; echo ok"), 0);
	says(&x, "ok\n");
	close(x.in);
	stop(&x);
}
END_TEST

START_TEST(signals_reach_the_group)
{
	struct rig x;

	start(&x);
	ask(&x,
	    ARGV("sh", "-c", "trap 'echo got; exit 5' TERM; echo up; while :; do sleep 1; done"));
	for (int i = 0; i < 100 && !x.c.sink[0].total; i++)
		ck_assert_int_eq(pump(&x.c, 50, -1), -ETIMEDOUT);
	client_signal(&x.c, SIGTERM);
	ck_assert_int_eq(pump(&x.c, 20000, -1), 0);
	ck_assert_int_eq((int)x.c.end.status, 5);
	says(&x, "up\ngot\n");
	stop(&x);
}
END_TEST

START_TEST(terminal)
{
	struct proto_buf b = { .data = NULL };
	static char buf[4096];
	struct rig x;

	start(&x);
	x.in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	proto_begin(&b, PROTO_EXEC, 0);
	for (const char *const *a = ARGV("sh", "-c", "tty >/dev/null && stty size; exit 6"); *a;
	     a++)
		proto_text(&b, TAG_ARG, *a);
	proto_number(&b, TAG_COLUMNS, 123);
	proto_number(&b, TAG_ROWS, 45);
	proto_number(&b, TAG_FLAGS, EXEC_TTY | EXEC_STDIN);
	proto_end(&b);
	client_source(&x.c, -1);
	client_sink(&x.c, 0, x.out[1], 0);
	client_request(&x.c, &b, 0);
	ck_assert_int_eq(pump(&x.c, 20000, -1), 0);
	ck_assert_int_eq((int)x.c.end.status, 6);
	drain(x.out[0], buf, sizeof(buf));
	ck_assert_str_eq(buf, "45 123\r\n");
	close(x.in);
	stop(&x);
}
END_TEST

START_TEST(questions_within_a_command)
{
	struct rig x;

	start(&x);
	ask(&x, ARGV("sleep", "1"));
	for (int i = 0; i < 100 && !x.c.started; i++)
		ck_assert_int_eq(pump(&x.c, 20, -1), -ETIMEDOUT);
	client_ping(&x.c);
	ck_assert(x.c.pinged);
	for (int i = 0; i < 40 && x.c.pinged; i++)
		if (pump(&x.c, 20, -1) != -ETIMEDOUT)
			break;
	ck_assert(!x.c.pinged);
	ck_assert(!x.c.ended);
	stop(&x);
}
END_TEST

static void ask_plain(struct rig *x, uint8_t type)
{
	struct proto_buf b = { .data = NULL };

	proto_begin(&b, type, 0);
	proto_end(&b);
	client_request(&x->c, &b, 0);
	ck_assert_int_eq(pump(&x->c, 20000, -1), 0);
	ck_assert_int_eq(x->c.end.type, PROTO_DONE);
}

static uint64_t date_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * NS + (uint64_t)t.tv_nsec;
}

START_TEST(what_it_knows_of_its_machine)
{
	uint64_t before = date_ns(), after;
	struct timespec up;
	struct rig x;

	start(&x);
	ask_plain(&x, PROTO_INFO);
	after = date_ns();
	ck_assert_uint_ge(x.c.end.time_ns, before);
	ck_assert_uint_le(x.c.end.time_ns, after);
	clock_gettime(CLOCK_BOOTTIME, &up);
	ck_assert_uint_le(x.c.end.uptime_ns / NS, (uint64_t)up.tv_sec);
	ck_assert_uint_ge(x.c.end.uptime_ns / NS + 20, (uint64_t)up.tv_sec);
	ck_assert_uint_gt(x.c.end.memory_free, 0);
	ck_assert_uint_le(x.c.end.memory_free, x.c.end.memory_total);
	ck_assert_uint_gt(x.c.end.processes, 0);
	stop(&x);
}
END_TEST

START_TEST(nothing_starts_while_frozen)
{
	struct rig x;

	start(&x);
	ask_plain(&x, PROTO_FREEZE);
	run(&x, ARGV("true"));
	ck_assert_int_eq(x.c.end.type, PROTO_ERROR);
	ck_assert_ptr_nonnull(strstr(x.c.end.text, "thaw"));
	ask_plain(&x, PROTO_THAW);
	ck_assert_int_eq(sh(&x, "exit 5"), 5);
	stop(&x);
}
END_TEST

/* whatever comes, the agent ends its session and nothing else; stop() looks at how it ended */
START_TEST(nonsense)
{
	static const struct {
		uint8_t type, stream;
		uint32_t len;
	} frames[] = {
		{ 0, 0, 0 },
		{ PROTO_TYPES, 0, 0 },
		{ PROTO_EXEC, 0, 5 },
		{ PROTO_EXEC, 0, 1U << 30 },
		{ PROTO_DATA, 9, 4 },
		{ PROTO_DATA, 0, 1 << 20 },
		{ PROTO_CREDIT, 1, 4 },
		{ PROTO_CREDIT, 1, 9 },
		{ PROTO_EXIT, 0, 0 },
		{ PROTO_SETUP, 0, 7 },
		{ PROTO_GET, 0, 0 },
		{ PROTO_SIGNAL, 0, 3 },
		{ PROTO_CLOSE, 2, 0 },
		{ PROTO_EOF, 0, 0 },
		{ PROTO_RESIZE, 0, 16 },
		{ PROTO_HELLO, 0, 12 },
		{ PROTO_POWEROFF, 2, 65536 },
	};
	uint8_t body[64];

	for (unsigned i = 0; i < ARRAY_SIZE(frames); i++) {
		uint8_t header[PROTO_HEADER];
		struct rig x;

		start(&x);
		require(pump(&x.c, 50, -1) == -ETIMEDOUT);
		proto_put_header(header, frames[i].type, frames[i].stream, frames[i].len);
		memset(body, 0xff, sizeof(body));
		require(send(x.c.fd, header, sizeof(header), MSG_NOSIGNAL) == sizeof(header));
		if (frames[i].type != PROTO_POWEROFF)
			send(x.c.fd, body, MIN(frames[i].len, sizeof(body)), MSG_NOSIGNAL);
		(void)!pump(&x.c, 50, -1);
		stop(&x);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("agent");
	TCase *t = tcase_create("agent");

	tcase_set_timeout(t, 120);
	if (access(agent_path(), X_OK)) {
		printf("skip agent: %s is not built\n", agent_path());
		return 0;
	}
	tcase_add_test(t, every_exit_status);
	tcase_add_test(t, every_signal);
	tcase_add_test(t, arguments_byte_for_byte);
	tcase_add_test(t, what_does_not_run);
	tcase_add_test(t, place_user_environment);
	tcase_add_test(t, binary_both_ways);
	tcase_add_test(t, output_is_cut);
	tcase_add_test(t, closed_reader);
	tcase_add_test(t, reader_that_stalls);
	tcase_add_test(t, streams_are_apart);
	tcase_add_test(t, background_child);
	tcase_add_test(t, background_talker);
	tcase_add_test(t, slow_reader_of_the_last_words);
	tcase_add_test(t, detached);
	tcase_add_test(t, nothing_is_left_open);
	tcase_add_test(t, empty_arguments);
	tcase_add_test(t, input_of_the_last_command);
	tcase_add_test(t, end_of_input);
	tcase_add_test(t, signals_reach_the_group);
	tcase_add_test(t, terminal);
	tcase_add_test(t, questions_within_a_command);
	tcase_add_test(t, what_it_knows_of_its_machine);
	tcase_add_test(t, nothing_starts_while_frozen);
	tcase_add_test(t, nonsense);
	suite_add_tcase(s, t);
	return suite_run(s);
}
