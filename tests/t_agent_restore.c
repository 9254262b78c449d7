/* t_agent_restore - connections that are reset, as all are in a restored machine: what becomes of
 * the commands that were run over them; and what two that were one have twice no more */

#include <ctype.h>
#include <fcntl.h>
#include <linux/random.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
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
static uint8_t greet_with(struct rig *x, unsigned restored, const void *entropy, size_t len)
{
	struct proto_buf b = { .data = NULL };
	uint8_t answer;
	struct client c;

	agent_reach(x->path, &c);
	proto_begin(&b, PROTO_SETUP, 0);
	if (restored)
		proto_number(&b, TAG_RESTORED, restored);
	if (len)
		proto_bytes(&b, TAG_ENTROPY, entropy, len);
	proto_end(&b);
	proto_begin(&b, PROTO_INFO, 0);
	proto_end(&b);
	client_request(&c, &b, 1);
	ck_assert_int_eq(client_pump(&c, 20000, -1), 0);
	answer = c.end.type;
	agent_leave(&c);
	return answer;
}

static void greet(struct rig *x, unsigned restored)
{
	ck_assert_int_eq(greet_with(x, restored, NULL, 0), PROTO_DONE);
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
	greet(&x, RESTORED_SAME);
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
	greet(&x, RESTORED_SAME);
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
	greet(&x, 0);
	ns = grew_for("count", PATIENCE + 5);
	ck_assert_uint_gt(ns, (PATIENCE - 1) * NS);
	greet(&x, RESTORED_SAME); /* too late */
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
	greet(&x, RESTORED_SAME);
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
	greet(&x, RESTORED_SAME);
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
	greet(&x, 0); /* it is there */
	fds = fds_of(x.agent);
	for (int round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < KEPT; i++)
			begin(&x, &c[i], -1, i == 3 ? EXEC_TTY : 0,
			      "echo said; until [ -e $D/go ]; do sleep 0.1; done; printf x "
			      ">>$D/over");
		for (unsigned i = 0; i < KEPT; i++)
			agent_reset(&c[i]);
		greet(&x, RESTORED_SAME);
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
		greet(&x, RESTORED_SAME);
	}
	grew_for("second", 20);
	ck_assert(grows("first"));
	stop(&x);
}
END_TEST

/* --- who it is --- */

#define MACHINE_ID "/etc/machine-id"
#define BOOT_ID	   "/proc/sys/kernel/random/boot_id"

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	require(f && fputs(text, f) >= 0 && !fclose(f));
}

static const char *text_of(const char *path, char text[64])
{
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(text, 1, 63, f) : 0;

	if (f)
		fclose(f);
	text[n] = '\0';
	return text;
}

/* an /etc and a /run that are ours and the agent's alone; false: this machine lets us have none */
static bool own_files(void)
{
	char map[32];

	snprintf(map, sizeof(map), "0 %u 1", getuid());
	if (unshare(CLONE_NEWNS)) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS)) {
			printf("skip agent_restore: no mounts of our own\n");
			return false;
		}
		put("/proc/self/uid_map", map);
	}
	require(!mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
		!mount("etc", "/etc", "tmpfs", 0, NULL) && !mount("run", "/run", "tmpfs", 0, NULL));
	return true;
}

/* digits, with dashes before some of them, and a line's end */
static void check_id(const char *id, const char *dashes)
{
	unsigned n = 0;

	for (; *id != '\n'; id++)
		if (*id == '-')
			ck_assert_uint_eq(n, (unsigned)*dashes++);
		else
			ck_assert(isxdigit((unsigned char)*id) && ++n);
	ck_assert_uint_eq(n, 32);
	ck_assert_str_eq(dashes, "");
	ck_assert_str_eq(id, "\n");
}

static unsigned mounts_on(const char *path)
{
	FILE *f = fopen("/proc/self/mounts", "re");
	char line[1024];
	unsigned n = 0;

	require(f != NULL);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, path) != NULL;
	fclose(f);
	return n;
}

/* one that goes on alone is who it was; a clone is not, nor is a clone of that */
START_TEST(another)
{
	static const char first[] = "0123456789abcdef0123456789abcdef\n";
	char was[64], boot[64], machine[64], now[64];
	struct rig x;

	if (!own_files())
		return;
	put(MACHINE_ID, first);
	text_of(BOOT_ID, was);
	start(&x);
	greet(&x, RESTORED_SAME);
	ck_assert_str_eq(text_of(MACHINE_ID, now), first);
	ck_assert_str_eq(text_of(BOOT_ID, now), was);
	for (int i = 0; i < 3; i++) {
		text_of(MACHINE_ID, machine);
		text_of(BOOT_ID, boot);
		greet(&x, i == 1 ? RESTORED_BOOT : RESTORED_OTHER);
		ck_assert_str_ne(text_of(MACHINE_ID, now), machine);
		check_id(now, "");
		ck_assert_str_ne(text_of(BOOT_ID, now), boot);
		check_id(now, "\10\14\20\24");
		ck_assert_uint_eq(mounts_on(BOOT_ID), 1);
		ck_assert_int_lt(open(BOOT_ID, O_WRONLY | O_CLOEXEC | O_TRUNC), 0);
	}
	/* none yet, and none at all: that is not ours to give */
	put(MACHINE_ID, "uninitialized\n");
	greet(&x, RESTORED_OTHER);
	ck_assert_str_eq(text_of(MACHINE_ID, now), "uninitialized\n");
	unlink(MACHINE_ID);
	greet(&x, RESTORED_OTHER);
	ck_assert(access(MACHINE_ID, F_OK));
	stop(&x);
	umount2(BOOT_ID, MNT_DETACH);
}
END_TEST

/* --- its luck --- */

struct calls {
	bool added, reseeded;
	int added_r, reseeded_r;
	uint8_t pool[sizeof(struct rand_pool_info) + 64];
};

static void note(pid_t pid, const struct __ptrace_syscall_info *now, unsigned long *ioctl_now,
		 struct calls *seen)
{
	struct iovec to = { seen->pool, sizeof(seen->pool) }, from = { NULL, to.iov_len };

	if (now->op == PTRACE_SYSCALL_INFO_ENTRY) {
		*ioctl_now = now->entry.nr == SYS_ioctl ? now->entry.args[1] : 0;
		if (*ioctl_now != RNDADDENTROPY)
			return;
		from.iov_base = (void *)(uintptr_t)now->entry.args[2];
		ck_assert_int_eq(process_vm_readv(pid, &to, 1, &from, 1, 0), (ssize_t)to.iov_len);
	} else if (now->op == PTRACE_SYSCALL_INFO_EXIT && *ioctl_now == RNDADDENTROPY) {
		seen->added = true;
		seen->added_r = (int)now->exit.rval;
	} else if (now->op == PTRACE_SYSCALL_INFO_EXIT && *ioctl_now == RNDRESEEDCRNG) {
		seen->reseeded = seen->added; /* with what was added */
		seen->reseeded_r = (int)now->exit.rval;
	}
}

/* what the agent asks of its kernel until @other, a child, has ended */
static void watch(pid_t agent, pid_t other, struct calls *seen)
{
	struct __ptrace_syscall_info now;
	unsigned long ioctl_now = 0;
	int status;
	pid_t pid;

	*seen = (struct calls){ .added = false };
	while ((pid = waitpid(-1, &status, 0)) != other) {
		require(pid == agent && WIFSTOPPED(status));
		if (WSTOPSIG(status) == (SIGTRAP | 0x80) &&
		    ptrace(PTRACE_GET_SYSCALL_INFO, agent, sizeof(now), &now) > 0)
			note(agent, &now, &ioctl_now, seen);
		require(!ptrace(PTRACE_SYSCALL, agent, 0, 0));
	}
	ck_assert(WIFEXITED(status) && !WEXITSTATUS(status));
}

/* what the host sends is in the kernel's pool, counts as random, and is what the next numbers are
 * made of: without that two clones would draw the same ones */
START_TEST(entropy)
{
	struct rand_pool_info head;
	struct calls seen;
	uint8_t sent[64];
	struct rig x;
	int status;
	pid_t pid;

	for (unsigned i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(7 * i + 1);
	start(&x);
	greet(&x, RESTORED_SAME); /* it is there */
	require(!ptrace(PTRACE_SEIZE, x.agent, 0, PTRACE_O_TRACESYSGOOD) &&
		!ptrace(PTRACE_INTERRUPT, x.agent, 0, 0));
	pid = fork();
	if (!pid)
		_exit(greet_with(&x, RESTORED_SAME, sent, sizeof(sent)) == PROTO_TYPES);
	watch(x.agent, pid, &seen);
	ck_assert(seen.added);
	memcpy(&head, seen.pool, sizeof(head));
	ck_assert_int_eq(head.buf_size, sizeof(sent));
	ck_assert_int_eq(head.entropy_count, 8 * sizeof(sent));
	ck_assert_mem_eq(seen.pool + sizeof(head), sent, sizeof(sent));
	if (seen.added_r == -EPERM) {
		printf("skip agent_restore: the kernel takes entropy from root alone\n");
	} else {
		ck_assert_int_eq(seen.added_r, 0);
		ck_assert(seen.reseeded);
		ck_assert_int_eq(seen.reseeded_r, 0);
	}
	kill(x.agent, SIGKILL);
	do
		require(waitpid(x.agent, &status, 0) == x.agent);
	while (WIFSTOPPED(status));
	require(!chdir("/tmp"));
	rig_remove(x.dir);
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
	tcase_add_test(t, another);
	tcase_add_test(t, entropy);
	suite_add_tcase(s, t);
	return suite_run(s);
}
