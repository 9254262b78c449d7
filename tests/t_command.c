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

#include "agent_rig.h"
#include "command.h"
#include "complain.h"
#include "env.h"
#include "guest.h"
#include "proto.h"
#include "result.h"
#include "suite.h"
#include "transfer.h"

#define NS 1000000000ULL

enum agent {
	AGENT_REAL,
	AGENT_DEAD,  /* takes connections, and no more */
	AGENT_STUCK, /* the command runs, and nothing else is heard */
	AGENT_BUSY,  /* one connection too many */
};

struct rig {
	char dir[32], path[64];
	pid_t agent, killer;
	struct command c;
	uint64_t begin;
};

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
	proto_begin(&b, how == AGENT_BUSY ? PROTO_ERROR : PROTO_STARTED, 0);
	if (how == AGENT_BUSY)
		proto_number(&b, TAG_CODE, ERROR_BUSY);
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

/* it says so, and what to do about it */
START_TEST(busy_agent)
{
	char to[64];
	struct rig x;

	start(&x, AGENT_BUSY, ARGV("true"));
	command_run(&x.c);
	ck_assert_int_eq(x.c.fate, FATE_AGENT);
	ck_assert_int_eq(command_status(&x.c), EXIT_HUTCH);
	command_explain(&x.c);
	ck_assert_str_eq(complained, "error 125 E_AGENT: the sandbox's agent serves 128 requests "
				     "at once; try again");
	stop(&x);
	start(&x, AGENT_BUSY, NULL);
	snprintf(to, sizeof(to), "%s/to", x.dir);
	ck_assert_int_eq(transfer_get(x.c.h, "cp", "/etc", to, -1), -1);
	ck_assert_ptr_nonnull(strstr(complained, "128 requests at once; try again"));
	stop(&x);
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
	tcase_add_test(t, busy_agent);
	tcase_add_test(t, files_of_a_dead_agent);
	tcase_add_test(t, where_the_result_goes);
	tcase_add_test(t, environment_files);
	suite_add_tcase(s, t);
	return suite_run(s);
}
