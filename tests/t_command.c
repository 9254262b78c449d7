/* t_command - run and exec on this side: signals, limits, descriptors, files; the agent is a
 * process of this machine, or one that plays dead */

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "complain.h"
#include "env.h"
#include "guest.h"
#include "kvm_rig.h" /* where the flat guests are */
#include "proto.h"
#include "result.h"
#include "suite.h"
#include "transfer.h"

#define NS 1000000000ULL

enum agent {
	AGENT_REAL,
	AGENT_DEAD,  /* takes connections, and no more */
	AGENT_STUCK, /* the command runs, and nothing else is heard */
};

struct rig {
	char dir[32], path[64];
	pid_t agent, killer;
	struct command c;
	uint64_t begin;
};

static const char *agent_path(void)
{
	static char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	require(n > 0);
	path[n] = '\0';
	for (int i = 0; i < 2; i++)
		*strrchr(path, '/') = '\0';
	strcat(path, "/agent/agent");
	return path;
}

/* what a vsock device and a guest make of one connection */
static void serve(enum agent how, int fd)
{
	struct proto_buf b = { .data = NULL };
	char c = 0;

	while (c != '\n' && read(fd, &c, 1) == 1)
		;
	require(write(fd, "OK 1\n", 5) == 5);
	if (how == AGENT_REAL) {
		require(dup2(fd, 3) == 3);
		close_range(4, ~0U, 0);
		execl(agent_path(), "agent", "--fd", "3", NULL);
		_exit(99);
	}
	if (how == AGENT_DEAD)
		return;
	proto_begin(&b, PROTO_HELLO, 0);
	proto_number(&b, TAG_MAGIC, PROTO_MAGIC);
	proto_end(&b);
	proto_begin(&b, PROTO_STARTED, 0);
	proto_end(&b);
	require(write(fd, b.data, b.len) == (ssize_t)b.len);
	proto_free(&b);
}

static void start_agent(struct rig *x, enum agent how)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	require(s >= 0);
	strcpy(a.sun_path, x->path);
	require(!bind(s, (struct sockaddr *)&a, sizeof(a)) && !listen(s, 1));
	x->agent = fork();
	if (!x->agent) {
		int fd = accept(s, NULL, NULL);

		serve(how, fd);
		for (;;)
			pause();
	}
	close(s);
}

static void start_command(struct rig *x, const char *const *argv)
{
	x->c.forward = true;
	x->c.what = (struct hutch_request){
		.what = HUTCH_ASK_EXEC, .argv = argv, .in = -1, .out = -1, .err = -1
	};
	x->c.signals = command_signals();
	complained[0] = '\0';
	x->begin = now_ns();
}

static void start(struct rig *x, enum agent how, const char *const *argv)
{
	*x = (struct rig){ .dir = "/tmp/hutch-command.XXXXXX", .killer = -1 };
	require(mkdtemp(x->dir) != NULL);
	snprintf(x->path, sizeof(x->path), "%s/vsock", x->dir);
	start_agent(x, how);
	x->c.h = hutch_new();
	require(x->c.h && !hutch_set(x->c.h, "vsock", "") &&
		!hutch_set(x->c.h, "vsock@0.path", x->path));
	start_command(x, argv);
}

/* a machine of our own too, whose one CPU spins; its agent is the one of this machine */
static void start_spinning(struct rig *x, const char *const *argv)
{
	char kernel[4096];

	*x = (struct rig){ .dir = "/tmp/hutch-command.XXXXXX", .killer = -1 };
	require(mkdtemp(x->dir) != NULL);
	snprintf(x->path, sizeof(x->path), "%s/vsock", x->dir);
	x->c.h = hutch_new();
	flat_path("count", kernel, sizeof(kernel));
	require(x->c.h && !hutch_set(x->c.h, "vsock", "") &&
		!hutch_set(x->c.h, "vsock@0.path", x->path) &&
		!hutch_set(x->c.h, "kernel", kernel) && !hutch_set(x->c.h, "memory", "4M") &&
		!hutch_set(x->c.h, "console", "none"));
	ck_assert_msg(!hutch_start(x->c.h), "%s", hutch_error(x->c.h));
	require(!unlink(x->path));
	start_agent(x, AGENT_REAL);
	x->c.own = true;
	start_command(x, argv);
}

static void stop(struct rig *x)
{
	ck_assert_uint_lt(now_ns() - x->begin, 20 * NS);
	if (x->killer > 0) {
		kill(x->killer, SIGKILL);
		waitpid(x->killer, NULL, 0);
	}
	hutch_free(x->c.h);
	close(x->c.signals);
	kill(x->agent, SIGKILL);
	require(waitpid(x->agent, NULL, 0) == x->agent);
	unlink(x->path);
	rmdir(x->dir);
}

/* a user who wants us to end, and says so again and again: once every 300 ms */
static void signals(struct rig *x, int signo)
{
	pid_t us = getpid();

	x->killer = fork();
	if (x->killer)
		return;
	for (;;) {
		usleep(300000);
		kill(us, signo);
	}
}

#define ARGV(...) ((const char *const[]){ __VA_ARGS__, NULL })

START_TEST(plain)
{
	struct rig x;

	start(&x, AGENT_REAL, ARGV("sh", "-c", "exit 7"));
	command_run(&x.c);
	ck_assert_int_eq(x.c.fate, FATE_EXITED);
	ck_assert_int_eq(command_status(&x.c), 7);
	ck_assert_str_eq(complained, "");
	stop(&x);
}
END_TEST

/* a full disk, a folder for stdin: told, and no success; a failure of the command stays its own */
START_TEST(descriptors_that_fail)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	int folder = open("/", O_RDONLY | O_CLOEXEC);
	struct rig x;

	start(&x, AGENT_REAL, ARGV("echo", "hello"));
	x.c.what.out = full;
	command_run(&x.c);
	ck_assert_int_eq(command_status(&x.c), EXIT_HUTCH);
	ck_assert_ptr_nonnull(strstr(complained, "stdout: No space left"));
	stop(&x);
	start(&x, AGENT_REAL, ARGV("sh", "-c", "echo hello >&2; exit 9"));
	x.c.what.err = full;
	command_run(&x.c);
	ck_assert_int_eq(command_status(&x.c), 9);
	ck_assert_ptr_nonnull(strstr(complained, "stderr: No space left"));
	stop(&x);
	start(&x, AGENT_REAL, ARGV("cat"));
	x.c.what.in = folder;
	command_run(&x.c);
	ck_assert_int_eq(command_status(&x.c), EXIT_HUTCH);
	ck_assert_ptr_nonnull(strstr(complained, "stdin: Is a directory"));
	stop(&x);
	close(full);
	close(folder);
}
END_TEST

START_TEST(limit_before_the_start)
{
	struct rig x;

	start(&x, AGENT_DEAD, ARGV("true"));
	x.c.limits.most[RULE_TIMEOUT] = 300;
	command_run(&x.c);
	ck_assert_int_eq(command_status(&x.c), EXIT_LIMIT);
	stop(&x);
	/* one that is far away is none: in ms it is more than an int holds, and 0 in its low half
	 */
	start(&x, AGENT_REAL, ARGV("sleep", "0.5"));
	x.c.limits.most[RULE_TIMEOUT] = (1ULL << 32) + 1;
	command_run(&x.c);
	ck_assert_int_eq(command_status(&x.c), 0);
	stop(&x);
}
END_TEST

static uint64_t cpu_percent(struct hutch *h)
{
	uint64_t v = 0;

	ck_assert_int_eq(hutch_get_number(h, "cpu_percent", &v), 0);
	return v;
}

static void violated(const struct rig *x, unsigned i, const char *key, enum command_answer answer)
{
	ck_assert_uint_gt(x->c.violations, i);
	ck_assert_str_eq(x->c.violation[i].limit, key);
	ck_assert_int_eq(x->c.violation[i].answer, answer);
}

/* it counts from the command's start on, whatever its guest spent before */
START_TEST(fuel_is_spent)
{
	struct rig x;
	uint64_t before;

	start_spinning(&x, ARGV("sleep", "10"));
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
	stop(&x);
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
		struct rig x;

		start_spinning(&x, ARGV("sleep", "0.7"));
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
		stop(&x);
	}
	ck_assert_uint_le(over, 50);
}
END_TEST

/* one limit is answered by slowing it down, another by a line, and a third by its end */
START_TEST(each_limit_has_its_answer)
{
	struct rig x;
	uint64_t cpu;

	start_spinning(&x, ARGV("sleep", "10"));
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
	stop(&x);
}
END_TEST

START_TEST(throttled_again)
{
	static const struct {
		const char *before;
		uint64_t after;
	} percent[] = { { "0", 10 }, { "100", 10 }, { "55", 5 }, { "7", 1 }, { "1", 1 } };

	for (unsigned i = 0; i < ARRAY_SIZE(percent); i++) {
		struct rig x;

		start_spinning(&x, ARGV("sleep", "0.3"));
		require(!hutch_set(x.c.h, "cpu_percent", percent[i].before));
		x.c.limits.most[RULE_TIMEOUT] = 50;
		x.c.limits.answer[RULE_TIMEOUT] = ANSWER_THROTTLE;
		command_run(&x.c);
		ck_assert_int_eq(command_status(&x.c), 0);
		violated(&x, 0, "timeout", ANSWER_THROTTLE);
		ck_assert_uint_eq(cpu_percent(x.c.h), percent[i].after);
		stop(&x);
	}
}
END_TEST

/* of a machine that does not count its instructions nobody knows how many are left */
START_TEST(fuel_that_is_not_counted)
{
	struct rig x;

	start_spinning(&x, ARGV("sleep", "10"));
	x.c.limits.most[RULE_FUEL] = 1ULL << 60;
	x.c.limits.instructions = true;
	command_run(&x.c);
	ck_assert_int_eq(command_status(&x.c), EXIT_LIMIT);
	ck_assert_str_eq(x.c.limit, "fuel");
	ck_assert_uint_eq(x.c.fuel, 1ULL << 60);
	ck_assert_ptr_nonnull(strstr(complained, "counts as spent"));
	stop(&x);
}
END_TEST

/* SIGTERM ends us where the command cannot take it */
START_TEST(signals_end_us)
{
	static const enum agent how[] = { AGENT_DEAD, AGENT_STUCK, AGENT_REAL };
	int p[2];

	require(!pipe2(p, O_CLOEXEC | O_NONBLOCK) && fcntl(p[1], F_SETPIPE_SZ, 4096) > 0);
	for (unsigned i = 0; i < ARRAY_SIZE(how); i++) {
		struct rig x;

		/* the real one has ended at once, and nobody reads what it said */
		start(&x, how[i], ARGV("sh", "-c", "trap '' TERM; exec head -c 100000 /dev/zero"));
		x.c.what.out = p[1];
		signals(&x, SIGTERM);
		command_run(&x.c);
		ck_assert_int_eq(x.c.fate, FATE_SIGNAL);
		ck_assert_int_eq(command_status(&x.c), 128 + SIGTERM);
		stop(&x);
	}
	close(p[0]);
	close(p[1]);
}
END_TEST

/* files are not waited for for ever where the machine is ours, and its agent plays dead */
START_TEST(files_of_a_dead_agent)
{
	int never = eventfd(0, EFD_CLOEXEC);
	char to[64];
	struct rig x;

	start(&x, AGENT_STUCK, NULL);
	snprintf(to, sizeof(to), "%s/to", x.dir);
	ck_assert_int_eq(transfer_get(x.c.h, "cp", "/etc", to, never), -1);
	ck_assert_ptr_nonnull(strstr(complained, "does not answer"));
	stop(&x);
	close(never);
}
END_TEST

static int tell(const char *path)
{
	struct result r = { .fd = -1, .status_fd = -1 };

	r.text = strdup("{}\n");
	r.file = strdup(path);
	complained[0] = '\0';
	return result_tell(&r);
}

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
	tcase_add_test(t, limit_before_the_start);
	(void)argc;
	flat_setup(argv[0]);
	if (flat_possible()) {
		tcase_add_test(t, fuel_is_spent);
		tcase_add_test(t, fuel_is_seen_in_time);
		tcase_add_test(t, each_limit_has_its_answer);
		tcase_add_test(t, throttled_again);
		tcase_add_test(t, fuel_that_is_not_counted);
		tcase_add_test(t, what_the_result_counts);
	}
	tcase_add_test(t, signals_end_us);
	tcase_add_test(t, files_of_a_dead_agent);
	tcase_add_test(t, where_the_result_goes);
	tcase_add_test(t, environment_files);
	suite_add_tcase(s, t);
	return suite_run(s);
}
