/* t_command - run and exec on this side: signals, limits, descriptors, files; the agent is a
 * process of this machine, or one that plays dead */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_rig.h"
#include "archive_rig.h"
#include "complain.h"
#include "env.h"
#include "guest.h"
#include "handle.h"
#include "host_rig.h"
#include "keys.h"
#include "kvm_rig.h" /* where the flat guests are */
#include "result.h"
#include "suite.h"
#include "transfer.h"

START_TEST(plain)
{
	struct host_rig x;

	host_start(&x, AGENT_REAL, ARGV("sh", "-c", "exit 7"));
	command_run(&x.c);
	ck_assert_int_eq(x.c.fate, FATE_EXITED);
	ck_assert_int_eq(command_status(&x.c), 7);
	ck_assert_str_eq(complained, "");
	host_stop(&x);
}
END_TEST

/* a full disk, a folder for stdin: told, and no success; a failure of the command stays its own */
START_TEST(descriptors_that_fail)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	int folder = open("/", O_RDONLY | O_CLOEXEC);
	struct host_rig x;

	host_start(&x, AGENT_REAL, ARGV("echo", "hello"));
	x.c.what.out = full;
	command_run(&x.c);
	ck_assert_int_eq(command_status(&x.c), EXIT_HUTCH);
	ck_assert_ptr_nonnull(strstr(complained, "stdout: No space left"));
	host_stop(&x);
	host_start(&x, AGENT_REAL, ARGV("sh", "-c", "echo hello >&2; exit 9"));
	x.c.what.err = full;
	command_run(&x.c);
	ck_assert_int_eq(command_status(&x.c), 9);
	ck_assert_ptr_nonnull(strstr(complained, "stderr: No space left"));
	host_stop(&x);
	host_start(&x, AGENT_REAL, ARGV("cat"));
	x.c.what.in = folder;
	command_run(&x.c);
	ck_assert_int_eq(command_status(&x.c), EXIT_HUTCH);
	ck_assert_ptr_nonnull(strstr(complained, "stdin: Is a directory"));
	host_stop(&x);
	close(full);
	close(folder);
}
END_TEST

/* as main() leaves one that the caller has closed: a loss only if there was something to say */
START_TEST(descriptors_that_are_closed)
{
	int out = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int in = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct host_rig x;

	host_start(&x, AGENT_REAL, ARGV("echo", "hello"));
	x.c.what.out = out;
	command_run(&x.c);
	ck_assert_int_eq(command_status(&x.c), EXIT_HUTCH);
	ck_assert_str_eq(complained,
			 "error 125 E_STDIO: stdout is closed: not all of it was passed on");
	host_stop(&x);
	host_start(&x, AGENT_REAL, ARGV("cat"));
	x.c.what.in = in;
	command_run(&x.c);
	ck_assert_int_eq(command_status(&x.c), EXIT_HUTCH);
	ck_assert_ptr_nonnull(strstr(complained, "E_STDIO: stdin is closed"));
	host_stop(&x);
	host_start(&x, AGENT_REAL, ARGV("sh", "-c", "exit 3"));
	x.c.what.out = x.c.what.err = out;
	command_run(&x.c);
	ck_assert_int_eq(command_status(&x.c), 3);
	ck_assert_str_eq(complained, "");
	host_stop(&x);
	close(out);
	close(in);
}
END_TEST

/* the command itself, called with some of the three closed: "version" has a line to say */
static int call_closed(unsigned closed, char text[256])
{
	char path[4096];
	int p[2], status;
	ssize_t n;
	pid_t pid;

	snprintf(path, sizeof(path), "%s", agent_path());
	*strrchr(path, '/') = '\0';
	strcpy(strrchr(path, '/'), "/hutch");
	require(!pipe2(p, O_CLOEXEC));
	pid = fork();
	if (!pid) {
		dup2(p[1], STDERR_FILENO);
		for (int fd = 0; fd < 3; fd++)
			if (closed >> fd & 1)
				close(fd);
		execl(path, "hutch", "version", NULL);
		_exit(99);
	}
	close(p[1]);
	n = read(p[0], text, 255);
	text[n > 0 ? n : 0] = '\0';
	close(p[0]);
	require(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

START_TEST(called_with_closed_descriptors)
{
	char text[256];

	ck_assert_int_eq(call_closed(1, text), 0);
	ck_assert_int_eq(call_closed(2, text), EXIT_HUTCH);
	ck_assert_str_eq(text, "hutch: stdout: it is closed\n");
	ck_assert_int_eq(call_closed(4, text), 0);
	ck_assert_int_eq(call_closed(7, text), EXIT_HUTCH);
}
END_TEST

START_TEST(limit_before_the_start)
{
	struct host_rig x;

	host_start(&x, AGENT_DEAD, ARGV("true"));
	x.c.limits.most[RULE_TIMEOUT] = 300;
	command_run(&x.c);
	ck_assert_int_eq(command_status(&x.c), EXIT_LIMIT);
	host_stop(&x);
	/* one that is far away is none: in ms it is more than an int holds, and 0 in its low half
	 */
	host_start(&x, AGENT_REAL, ARGV("sleep", "0.5"));
	x.c.limits.most[RULE_TIMEOUT] = (1ULL << 32) + 1;
	command_run(&x.c);
	ck_assert_int_eq(command_status(&x.c), 0);
	host_stop(&x);
}
END_TEST

static uint64_t cpu_percent(struct hutch *h)
{
	uint64_t v = 0;

	ck_assert_int_eq(hutch_get_number(h, "cpu_percent", &v), 0);
	return v;
}

static void violated(const struct host_rig *x, unsigned i, const char *key,
		     enum command_answer answer)
{
	ck_assert_uint_gt(x->c.violations, i);
	ck_assert_str_eq(x->c.violation[i].limit, key);
	ck_assert_int_eq(x->c.violation[i].answer, answer);
}

/* it counts from the command's start on, whatever its guest spent before */
START_TEST(fuel_is_spent)
{
	struct host_rig x;
	uint64_t before;

	host_start_spinning(&x, ARGV("sleep", "10"));
	while ((before = hutch_cpu_ns(x.c.h)) < NS / 10)
		usleep(1000);
	x.c.limits.most[RULE_FUEL] = 250;
	command_run(&x.c);
	ck_assert_int_eq(x.c.fate, FATE_LIMIT);
	ck_assert_int_eq(command_status(&x.c), EXIT_LIMIT);
	ck_assert_str_eq(x.c.limit, "fuel");
	violated(&x, 0, "fuel", ANSWER_KILL);
	ck_assert_uint_ge(x.c.fuel, 250);
	/* at the limit it is told to end, and has 150 ms for that at most */
	ck_assert_uint_le(x.c.fuel, 250 + 50 + 150);
	ck_assert_uint_ge((hutch_cpu_ns(x.c.h) - before) / 1000000, 250);
	host_stop(&x);
}
END_TEST

static uint64_t spent_at; /* when the limit was answered */

static void on_violation(void *arg, const struct violation *v)
{
	(void)v;
	spent_at = hutch_cpu_ns(arg);
}

/* no more than 50 ms of the guest's time after it; where the host is busy, we may be late ourselves
 */
START_TEST(fuel_is_seen_in_time)
{
	uint64_t most = 0, over = UINT64_MAX;

	for (unsigned try = 0; try < 5 && over > 50; try++) {
		struct host_rig x;

		host_start_spinning(&x, ARGV("sleep", "0.7"));
		most = hutch_cpu_ns(x.c.h) / 1000000 + 100;
		x.c.limits.most[RULE_CPU_TIME] = most;
		x.c.limits.answer[RULE_CPU_TIME] = ANSWER_LOG;
		x.c.on_violation = on_violation;
		x.c.arg = x.c.h;
		spent_at = 0;
		command_run(&x.c);
		ck_assert_int_eq(command_status(&x.c), 0);
		ck_assert_uint_eq(x.c.violations, 1);
		ck_assert_uint_ge(spent_at / 1000000, most);
		over = spent_at / 1000000 - most;
		host_stop(&x);
	}
	ck_assert_uint_le(over, 50);
}
END_TEST

/* one limit is answered by slowing it down, another by a line, and a third by its end */
START_TEST(each_limit_has_its_answer)
{
	struct host_rig x;
	uint64_t cpu;

	host_start_spinning(&x, ARGV("sleep", "10"));
	x.c.limits.most[RULE_TIMEOUT] = 100;
	x.c.limits.answer[RULE_TIMEOUT] = ANSWER_LOG;
	x.c.limits.most[RULE_IDLE_TIMEOUT] = 300;
	x.c.limits.answer[RULE_IDLE_TIMEOUT] = ANSWER_THROTTLE;
	x.c.limits.most[RULE_FUEL] = 400;
	x.c.limits.answer[RULE_FUEL] = ANSWER_KILL;
	command_run(&x.c);
	ck_assert_int_eq(command_status(&x.c), EXIT_LIMIT);
	ck_assert_str_eq(x.c.limit, "fuel");
	ck_assert_uint_eq(x.c.violations, 3);
	violated(&x, 0, "timeout", ANSWER_LOG);
	violated(&x, 1, "idle_timeout", ANSWER_THROTTLE);
	violated(&x, 2, "fuel", ANSWER_KILL);
	ck_assert_uint_eq(cpu_percent(x.c.h), 10);
	/* 300 ms at full speed or less; what was left of 400 at a tenth of it */
	ck_assert_uint_gt((now_ns() - x.begin) / 1000000, 700);
	cpu = hutch_cpu_ns(x.c.h);
	usleep(500000);
	ck_assert_uint_lt(hutch_cpu_ns(x.c.h) - cpu, NS / 8);
	host_stop(&x);
}
END_TEST

START_TEST(throttled_again)
{
	static const struct {
		const char *before;
		uint64_t after;
	} percent[] = { { "0", 10 }, { "100", 10 }, { "55", 5 }, { "7", 1 }, { "1", 1 } };

	for (unsigned i = 0; i < ARRAY_SIZE(percent); i++) {
		struct host_rig x;

		host_start_spinning(&x, ARGV("sleep", "0.3"));
		require(!hutch_set(x.c.h, "cpu_percent", percent[i].before));
		x.c.limits.most[RULE_TIMEOUT] = 50;
		x.c.limits.answer[RULE_TIMEOUT] = ANSWER_THROTTLE;
		command_run(&x.c);
		ck_assert_int_eq(command_status(&x.c), 0);
		violated(&x, 0, "timeout", ANSWER_THROTTLE);
		ck_assert_uint_eq(cpu_percent(x.c.h), percent[i].after);
		host_stop(&x);
	}
}
END_TEST

static int counter;

static void counter_is_back(void *arg)
{
	static const uint64_t count[] = { 1000, 1, 1 };

	(void)arg;
	for (int i = 0; i < 100; i++)
		require(write(counter, count, sizeof(count)) == sizeof(count));
}

/* what the guest had done before is not to be taken for the command's */
START_TEST(fuel_that_was_not_counted)
{
	struct host_rig x;
	int p[2];

	require(!pipe2(p, O_CLOEXEC | O_NONBLOCK));
	host_start_spinning(&x, ARGV("sleep", "20"));
	x.c.limits.most[RULE_FUEL] = 1ULL << 60;
	x.c.limits.instructions = true;
	x.c.h->instructions = p[0];
	counter = p[1];
	x.c.on_started = counter_is_back;
	command_run(&x.c);
	ck_assert_int_eq(x.c.fate, FATE_LIMIT);
	ck_assert_str_eq(x.c.limit, "fuel");
	ck_assert_uint_eq(x.c.fuel, 1ULL << 60);
	ck_assert_ptr_nonnull(strstr(complained, "counts as spent"));
	host_stop(&x);
	close(p[1]);
}
END_TEST

/* of a machine that does not count its instructions nobody knows how many are left */
START_TEST(fuel_that_is_not_counted)
{
	struct host_rig x;

	host_start_spinning(&x, ARGV("sleep", "10"));
	x.c.limits.most[RULE_FUEL] = 1ULL << 60;
	x.c.limits.instructions = true;
	command_run(&x.c);
	ck_assert_int_eq(command_status(&x.c), EXIT_LIMIT);
	ck_assert_str_eq(x.c.limit, "fuel");
	ck_assert_uint_eq(x.c.fuel, 1ULL << 60);
	ck_assert_ptr_nonnull(strstr(complained, "counts as spent"));
	host_stop(&x);
}
END_TEST

/* SIGTERM ends us where the command cannot take it */
START_TEST(signals_end_us)
{
	static const enum agent how[] = { AGENT_DEAD, AGENT_STUCK, AGENT_REAL };
	int p[2];

	require(!pipe2(p, O_CLOEXEC | O_NONBLOCK) && fcntl(p[1], F_SETPIPE_SZ, 4096) > 0);
	for (unsigned i = 0; i < ARRAY_SIZE(how); i++) {
		struct host_rig x;

		/* the real one has ended at once, and nobody reads what it said */
		host_start(&x, how[i],
			   ARGV("sh", "-c", "trap '' TERM; exec head -c 100000 /dev/zero"));
		x.c.what.out = p[1];
		host_signals(&x, SIGTERM);
		command_run(&x.c);
		ck_assert_int_eq(x.c.fate, FATE_SIGNAL);
		ck_assert_int_eq(command_status(&x.c), 128 + SIGTERM);
		host_stop(&x);
	}
	close(p[0]);
	close(p[1]);
}
END_TEST

/* what capture_write() makes of it */
static const char *written(const struct capture *c, bool out_cut)
{
	static char text[512];
	const bool cut[] = { out_cut, false };
	FILE *out = fmemopen(text, sizeof(text), "w");

	require(out != NULL);
	capture_write(c, cut, out);
	require(!fclose(out));
	return text;
}

static void captured(const char *script, uint64_t out_max, const char *want)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct capture said;
	struct host_rig x;

	host_start(&x, AGENT_REAL, ARGV("sh", "-c", script));
	capture_begin(&said, out_max, 0);
	x.c.what.out = null;
	x.c.what.out_max = out_max;
	x.c.what.on_output = capture_put;
	x.c.what.arg = &said;
	command_run(&x.c);
	ck_assert_str_eq(written(&said, x.c.exit.out_cut), want);
	capture_end(&said);
	host_stop(&x);
	close(null);
}

/* beside its being passed on, or going nowhere */
START_TEST(captures)
{
	captured("printf 'a\"\\303\\244\\000\\n'; printf err >&2", 0,
		 ",\"stdout\":\"a\\\"\303\244\\u0000\\n\",\"stderr\":\"err\",\"encoding\":\"utf-"
		 "8\"");
	captured("printf 'a\\377b'; printf err >&2", 0,
		 ",\"stdout\":\"Yf9i\",\"stderr\":\"ZXJy\",\"encoding\":\"base64\"");
	/* half a character: of one that was cut it is left out, else it is no text */
	captured("printf 'a\\303\\244'", 2,
		 ",\"stdout\":\"a\",\"stderr\":\"\",\"encoding\":\"utf-8\"");
	captured("printf 'a\\303'", 2,
		 ",\"stdout\":\"YcM=\",\"stderr\":\"\",\"encoding\":\"base64\"");
}
END_TEST

START_TEST(capture_is_bounded)
{
	static char block[1 << 20];
	struct capture c;

	capture_begin(&c, 0, 3);
	for (int i = 0; i < 17; i++)
		capture_put(&c, 1, block, sizeof(block) - 1);
	ck_assert_uint_eq(c.held[0].len, CAPTURE_MAX);
	ck_assert(c.held[0].cut);
	capture_put(&c, 2, "abc", 3);
	ck_assert(!c.held[1].cut);
	capture_put(&c, 2, "d", 1);
	ck_assert(c.held[1].cut);
	ck_assert_uint_eq(c.held[1].len, 3);
	capture_end(&c);
}
END_TEST

static int wait_for_file(const char *path)
{
	for (int i = 0; i < 500 && access(path, F_OK); i++)
		usleep(20000);
	return access(path, F_OK);
}

/* who leaves a terminal hears no more of its command, which goes on, however much it says */
START_TEST(leaves_a_terminal)
{
	char script[256], file[64];
	struct keys keys;
	struct host_rig x;
	int in[2], out[2];
	char said[64] = "";

	require(!pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC | O_NONBLOCK));
	host_start(&x, AGENT_REAL, NULL);
	snprintf(file, sizeof(file), "%s/done", x.dir);
	snprintf(script, sizeof(script),
		 "stty -echo; read a; echo got $a; read b; head -c 300000 /dev/zero; touch %s",
		 file);
	x.c.what.argv = ARGV("sh", "-c", script);
	x.c.what.tty = true;
	x.c.what.in = in[0];
	x.c.what.out = out[1];
	require(!keys_parse("ctrl-p,ctrl-q", &keys));
	x.c.what.on_input = keys_filter;
	x.c.what.in_arg = &keys;
	x.killer = fork();
	if (!x.killer) {
		require(write(in[1], "one\020\n", 5) == 5);
		usleep(500000);
		require(write(in[1], "two\n\020\021", 6) == 6);
		_exit(0);
	}
	command_run(&x.c);
	ck_assert_int_eq(x.c.fate, FATE_LEFT);
	ck_assert_int_eq(command_status(&x.c), 0);
	ck_assert_int_eq(wait_for_file(file), 0);
	require(read(out[0], said, sizeof(said) - 1) > 0);
	ck_assert_ptr_nonnull(strstr(said, "got one\020"));
	unlink(file);
	host_stop(&x);
	for (int i = 0; i < 2; i++) {
		close(in[i]);
		close(out[i]);
	}
}
END_TEST

static const char *filtered(struct keys *k, const char *in, bool *leave)
{
	static char out[64];
	size_t n;

	*leave = false;
	n = keys_filter(k, in, strlen(in), out, leave);
	ck_assert_uint_le(n, strlen(in) + HUTCH_INPUT_HELD);
	out[n] = '\0';
	return out;
}

START_TEST(keys_that_leave)
{
	struct keys k;
	bool leave;

	ck_assert_int_eq(keys_parse("a,a,b", &k), 0);
	ck_assert_str_eq(filtered(&k, "xaay", &leave), "xaay");
	ck_assert(!leave);
	/* the beginning may lie in the middle of what was held */
	ck_assert_str_eq(filtered(&k, "aaa", &leave), "a");
	ck_assert(!leave);
	ck_assert_str_eq(filtered(&k, "bz", &leave), "");
	ck_assert(leave);
	ck_assert_int_eq(keys_parse("ctrl-a,ctrl-Z,ctrl-@,ctrl-],ctrl-_,~", &k), -EINVAL);
	ck_assert_int_eq(keys_parse("ctrl-a,ctrl-z,ctrl-@,ctrl-],ctrl-_,~", &k), 0);
	ck_assert_mem_eq(k.key, "\1\32\0\35\37~", 6);
	ck_assert_uint_eq(k.n, 6);
	ck_assert_int_eq(keys_parse("", &k), 0);
	ck_assert_str_eq(filtered(&k, "\020\021", &leave), "\020\021");
	ck_assert(!leave);
	for (const char *const *bad = ARGV("ctrl", "ctrl-", "ctrl-1", "ab", ",", "a,", "a,,b",
					   "a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a");
	     *bad; bad++)
		ck_assert_msg(keys_parse(*bad, &k) == -EINVAL, "%s", *bad);
}
END_TEST

START_TEST(tries)
{
	struct retry retry;

	ck_assert_int_eq(retry_parse("3", &retry), 0);
	ck_assert_uint_eq(retry.most, 3);
	ck_assert_uint_eq(retry.delay_ms, 1000);
	ck_assert_int_eq(retry_parse("100,delay=2m", &retry), 0);
	ck_assert_uint_eq(retry.most, 100);
	ck_assert_uint_eq(retry.delay_ms, 120000);
	for (const char *const *bad =
		     ARGV("", "0", "-1", "101", "x", "3x", "3,", "3,delay=", "3,delay=x");
	     *bad; bad++)
		ck_assert_int_ne(retry_parse(*bad, &retry), 0);
}
END_TEST

static void holds(const char *path, const char *text)
{
	char buf[64] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	require(fd >= 0 && read(fd, buf, sizeof(buf) - 1) >= 0);
	close(fd);
	ck_assert_str_eq(buf, text);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	require(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

/* it says so, and what to do about it */
START_TEST(busy_agent)
{
	struct transfer t = { .what_for = "cp", .wake = -1 };
	char to[64];
	struct host_rig x;

	host_start(&x, AGENT_BUSY, ARGV("true"));
	command_run(&x.c);
	ck_assert_int_eq(x.c.fate, FATE_AGENT);
	ck_assert_int_eq(command_status(&x.c), EXIT_HUTCH);
	command_explain(&x.c);
	ck_assert_str_eq(complained, "error 125 E_AGENT: the sandbox's agent serves 128 requests "
				     "at once; try again");
	host_stop(&x);
	host_start(&x, AGENT_BUSY, NULL);
	snprintf(to, sizeof(to), "%s/to", x.dir);
	t.h = x.c.h;
	ck_assert_int_eq(transfer_get(&t, "/etc", to), -1);
	ck_assert_ptr_nonnull(strstr(complained, "128 requests at once; try again"));
	host_stop(&x);
}
END_TEST

static int tell(const char *path)
{
	struct given file = { .n = 1, .text = path }, none = { .n = 0 };
	struct result r;

	result_begin(&r);
	require(!result_init(&r, &file, &none, NULL));
	r.text = strdup("{}\n");
	complained[0] = '\0';
	return result_tell(&r);
}

START_TEST(where_the_result_goes)
{
	char dir[] = "/tmp/hutch-command.XXXXXX", file[64], link[64], victim[64], temp[96];
	struct stat st;

	require(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/file", dir);
	snprintf(link, sizeof(link), "%s/link", dir);
	snprintf(victim, sizeof(victim), "%s/victim", dir);
	snprintf(temp, sizeof(temp), "%s.tmp-%d", file, getpid());
	put(file, "old and longer\n");
	put(victim, "safe");
	/* somebody who may write in that folder waits for us there */
	require(!symlink(victim, temp));
	ck_assert_int_eq(tell(file), 0);
	holds(file, "{}\n");
	holds(victim, "safe");
	ck_assert_int_ne(lstat(temp, &st), 0);
	/* what is no plain file stays what it is: think of /dev/null, and root */
	require(!symlink(file, link));
	put(file, "old and longer\n");
	ck_assert_int_eq(tell(link), 0);
	require(!lstat(link, &st));
	ck_assert(S_ISLNK(st.st_mode));
	holds(file, "{}\n");
	/* a disk that is full */
	require(!unlink(link) && !symlink("/dev/full", link));
	ck_assert_int_eq(tell(link), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(complained, "No space left"));
	unlink(link);
	unlink(file);
	unlink(victim);
	rmdir(dir);
}
END_TEST

/* what the guest has moved and spent: known also of a machine that has ended */
START_TEST(what_the_result_counts)
{
	static const char *const members[] = {
		"\"io\":{\"read_bytes\":4608,\"written_bytes\":512,\"reads\":2,\"writes\":1}",
		"\"net\":{\"rx_bytes\":0,\"tx_bytes\":0,\"rx_packets\":0,\"tx_packets\":0}",
		"\"fuel_consumed\":17,\"fuel_budget\":500,\"fuel_unit\":\"ms\"",
		"\"status\":\"limit\"",
		"\"violations\":[{\"limit\":\"fuel\",\"value\":\"500ms\",\"action\":\"throttle\"",
	};
	struct command c = { .fate = FATE_LIMIT, .limit = "fuel", .fuel = 17, .violations = 1 };
	char dir[] = "/tmp/hutch-command.XXXXXX", disk[64], kernel[4096];
	static const struct box box = { .name = "box" };
	static uint32_t words[128 * 64]; /* as tests/kvm/blk.S wants it: it copies a sector */
	struct hutch_result end;
	struct result r;
	int fd;

	require(mkdtemp(dir));
	snprintf(disk, sizeof(disk), "%s/disk", dir);
	for (uint32_t i = 0; i < ARRAY_SIZE(words); i++)
		words[i] = i;
	fd = open(disk, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	require(fd >= 0 && write(fd, words, sizeof(words)) == sizeof(words));
	close(fd);
	c.violation[0] = (struct violation){ "fuel", ANSWER_THROTTLE, 1, 0 };
	c.h = hutch_new();
	flat_path("blk", kernel, sizeof(kernel));
	require(!hutch_set(c.h, "kernel", kernel) && !hutch_set(c.h, "append", "m") &&
		!hutch_set(c.h, "memory", "64M") && !hutch_set(c.h, "console", "none") &&
		!hutch_set(c.h, "fuel", "500ms") && !hutch_set(c.h, "disk", disk));
	ck_assert_msg(!hutch_start(c.h), "%s", hutch_error(c.h));
	ck_assert_int_eq(hutch_wait(c.h, 10000, &end), 0);
	result_begin(&r);
	r.box = &box;
	result_finish(&r, &c);
	for (unsigned i = 0; i < ARRAY_SIZE(members); i++)
		ck_assert_msg(strstr(r.text, members[i]) != NULL, "no %s in %s", members[i],
			      r.text);
	free(r.text);
	hutch_free(c.h);
	unlink(disk);
	rmdir(dir);
}
END_TEST

START_TEST(environment_files)
{
	char dir[] = "/tmp/hutch-command.XXXXXX", file[64];
	const char *all[] = { file, NULL };
	struct given none = { 0 }, files = { .n = 1, .text = file, .all = all };
	struct env *env;
	int fd;

	require(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/env", dir);
	put(file, "A=1\n# remark\n\n  B=x y\r\nA=2");
	env = env_read(&none, &files, false);
	require(env != NULL);
	ck_assert_str_eq(env_list(env)[0], "A=2");
	ck_assert_str_eq(env_list(env)[1], "B=x y");
	ck_assert_ptr_null(env_list(env)[2]);
	env_free(env);
	fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);
	require(fd >= 0 && write(fd, "A=1\nB=2\0C=3\n", 12) == 12);
	close(fd);
	ck_assert_ptr_null(env_read(&none, &files, false));
	ck_assert_ptr_nonnull(strstr(complained, "env:2: a NUL"));
	unlink(file);
	require(!mkdir(file, 0700));
	ck_assert_ptr_null(env_read(&none, &files, false));
	ck_assert_ptr_nonnull(strstr(complained, "Is a directory"));
	rmdir(file);
	rmdir(dir);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *s = suite_create("command");
	TCase *t = tcase_create("command");

	tcase_set_timeout(t, 60);
	if (access(agent_path(), X_OK)) {
		printf("skip command: %s is not built\n", agent_path());
		return 0;
	}
	tcase_add_test(t, plain);
	tcase_add_test(t, descriptors_that_fail);
	tcase_add_test(t, descriptors_that_are_closed);
	tcase_add_test(t, called_with_closed_descriptors);
	tcase_add_test(t, limit_before_the_start);
	(void)argc;
	flat_setup(argv[0]);
	if (flat_possible()) {
		tcase_add_test(t, fuel_is_spent);
		tcase_add_test(t, fuel_is_seen_in_time);
		tcase_add_test(t, each_limit_has_its_answer);
		tcase_add_test(t, throttled_again);
		tcase_add_test(t, fuel_that_is_not_counted);
		tcase_add_test(t, fuel_that_was_not_counted);
		tcase_add_test(t, what_the_result_counts);
	}
	tcase_add_test(t, signals_end_us);
	tcase_add_test(t, busy_agent);
	tcase_add_test(t, captures);
	tcase_add_test(t, capture_is_bounded);
	tcase_add_test(t, leaves_a_terminal);
	tcase_add_test(t, keys_that_leave);
	tcase_add_test(t, tries);
	tcase_add_test(t, where_the_result_goes);
	tcase_add_test(t, environment_files);
	suite_add_tcase(s, t);
	return suite_run(s);
}
