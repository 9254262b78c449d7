/* t_command - run and exec on this side: signals, limits, descriptors, files; the agent is a
 * process of this machine, or one that plays dead */

#include <errno.h>
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
#include "keys.h"
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

static void start(struct rig *x, enum agent how, const char *const *argv)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*x = (struct rig){ .dir = "/tmp/hutch-command.XXXXXX", .killer = -1 };
	require(s >= 0 && mkdtemp(x->dir));
	snprintf(x->path, sizeof(x->path), "%s/vsock", x->dir);
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
	x->c.h = hutch_new();
	require(x->c.h && !hutch_set(x->c.h, "vsock", "") &&
		!hutch_set(x->c.h, "vsock@0.path", x->path));
	x->c.forward = true;
	x->c.what = (struct hutch_request){
		.what = HUTCH_ASK_EXEC, .argv = argv, .in = -1, .out = -1, .err = -1
	};
	x->c.signals = command_signals();
	complained[0] = '\0';
	x->begin = now_ns();
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
	x.c.limits.wall = 300;
	command_run(&x.c);
	ck_assert_int_eq(command_status(&x.c), EXIT_LIMIT);
	stop(&x);
	/* one that is far away is none: in ms it is more than an int holds, and 0 in its low half
	 */
	start(&x, AGENT_REAL, ARGV("sleep", "0.5"));
	x.c.limits.wall = (1ULL << 32) + 1;
	command_run(&x.c);
	ck_assert_int_eq(command_status(&x.c), 0);
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
	struct rig x;

	start(&x, AGENT_REAL, ARGV("sh", "-c", script));
	capture_begin(&said, out_max, 0);
	x.c.what.out = null;
	x.c.what.out_max = out_max;
	x.c.what.on_output = capture_put;
	x.c.what.arg = &said;
	command_run(&x.c);
	ck_assert_str_eq(written(&said, x.c.exit.out_cut), want);
	capture_end(&said);
	stop(&x);
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
	struct rig x;
	int in[2], out[2];
	char said[64] = "";

	require(!pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC | O_NONBLOCK));
	start(&x, AGENT_REAL, NULL);
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
	stop(&x);
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

int main(void)
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
	tcase_add_test(t, signals_end_us);
	tcase_add_test(t, files_of_a_dead_agent);
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
