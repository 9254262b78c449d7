/*
 * t_sandbox - the last stage of the jail: what it refuses and how it says so, what goes on as
 * before, and machines in it
 *
 * Each test enters it in a child, whose stderr is read here.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hutch.h"
#include "kvm_rig.h"
#include "sandbox.h"
#include "suite.h"

static const struct sandbox all_of_it = { .must = true };

enum who { CALLER, MACHINE, WHO };

static int enter_as(enum who who)
{
	int r = sandbox_enter(&all_of_it);

	return r || who == CALLER ? r : sandbox_narrow();
}

/* what became of a child: its status as wait(2) has it, and what it said */
struct fate {
	int status;
	char said[4096];
};

static void read_all(int fd, char *buf, size_t size)
{
	size_t n = 0;
	ssize_t k;

	while (n < size - 1 && (k = read(fd, buf + n, size - 1 - n)) > 0)
		n += (size_t)k;
	buf[n] = '\0';
}

static struct fate child(int (*fn)(unsigned arg), unsigned arg)
{
	struct fate fate;
	int fd[2];
	pid_t pid;

	ck_assert_int_eq(pipe(fd), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		dup2(fd[1], STDERR_FILENO);
		close(fd[0]);
		close(fd[1]);
		alarm(60);
		_exit(fn(arg));
	}
	close(fd[1]);
	read_all(fd[0], fate.said, sizeof(fate.said));
	close(fd[0]);
	ck_assert_int_eq(waitpid(pid, &fate.status, 0), pid);
	return fate;
}

static bool ended_with(const struct fate *f, int code)
{
	return WIFEXITED(f->status) && WEXITSTATUS(f->status) == code;
}

/* --- what is refused --- */

#define X32 0x40000000

static const struct call {
	const char *as; /* what the message calls it */
	long nr, arg[3];
} refused[] = {
	{ "59 (execve:", SYS_execve, { 0 } },
	{ "322 (execveat:", SYS_execveat, { -1 } },
	{ "57 (fork:", SYS_fork, { 0 } },
	{ "58 (vfork:", SYS_vfork, { 0 } },
	{ "56 (clone: 0x11,", SYS_clone, { SIGCHLD } },
	{ "56 (clone: 0x11200011,",
	  SYS_clone,
	  { CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | CLONE_NEWUSER | SIGCHLD } },
	{ "2 (open:", SYS_open, { 0 } },
	{ "437 (openat2:", SYS_openat2, { AT_FDCWD } },
	{ "41 (socket: 0x2, 0x1, 0x0)", SYS_socket, { AF_INET, SOCK_STREAM } },
	{ "41 (socket: 0x10,", SYS_socket, { AF_NETLINK, SOCK_RAW } },
	{ "53 (socketpair:", SYS_socketpair, { AF_UNIX, SOCK_STREAM } },
	{ "49 (bind:", SYS_bind, { 0 } },
	{ "101 (ptrace:", SYS_ptrace, { PTRACE_TRACEME } },
	{ "310 (process_vm_readv:", SYS_process_vm_readv, { 1 } },
	{ "9 (mmap: 0x0, 0x1000, 0x5)", SYS_mmap, { 0, 4096, PROT_READ | PROT_EXEC } },
	{ "10 (mprotect: 0x0, 0x0, 0x4)", SYS_mprotect, { 0, 0, PROT_EXEC } },
	{ "329 (pkey_mprotect:", SYS_pkey_mprotect, { 0, 0, PROT_EXEC } },
	{ "135 (personality:", SYS_personality, { 0x0400000 } },
	{ "28 (madvise: 0x0, 0x0, 0xe)", SYS_madvise, { 0, 0, MADV_HUGEPAGE } },
	{ "157 (prctl: 0x4,", SYS_prctl, { PR_SET_DUMPABLE, 1 } },
	{ "302 (prlimit64:", SYS_prlimit64, { 0, RLIMIT_CORE } },
	{ "62 (kill:", SYS_kill, { 1, 0 } },
	{ "234 (tgkill: 0x1,", SYS_tgkill, { 1, 1, 0 } },
	{ "16 (ioctl: 0x0, 0x5412,", SYS_ioctl, { 0, 0x5412 /* TIOCSTI */ } },
	{ "16 (ioctl: 0x0, 0xae01,", SYS_ioctl, { 0, KVM_CREATE_VM } },
	{ "317 (seccomp:", SYS_seccomp, { 0 } },
	{ "425 (io_uring_setup:", SYS_io_uring_setup, { 1 } },
	{ "427 (io_uring_register: 0x0, 0x2,", SYS_io_uring_register, { 0, 2 } },
	{ "323 (userfaultfd:", SYS_userfaultfd, { 0 } },
	{ "321 (bpf:", SYS_bpf, { 0 } },
	{ "272 (unshare:", SYS_unshare, { CLONE_NEWUSER } },
	{ "165 (mount:", SYS_mount, { 0 } },
	{ "117 (setresuid:", SYS_setresuid, { 0 } },
	{ "126 (capset:", SYS_capset, { 0 } },
	{ "1073741863 (of no known name:", X32 | SYS_getpid, { 0 } },
	{ "100000 (of no known name:", 100000, { 0 } },
};

/* the caller's alone */
static const struct call narrow[] = {
	{ "264 (renameat:", SYS_renameat, { -1, 0, -1 } },
	{ "263 (unlinkat:", SYS_unlinkat, { -1 } },
	{ "258 (mkdirat:", SYS_mkdirat, { -1 } },
	{ "265 (linkat:", SYS_linkat, { -1, 0, -1 } },
	{ "266 (symlinkat:", SYS_symlinkat, { 0, -1 } },
	{ "77 (ftruncate:", SYS_ftruncate, { -1 } },
	{ "217 (getdents64:", SYS_getdents64, { -1 } },
	{ "267 (readlinkat:", SYS_readlinkat, { -1 } },
	{ "319 (memfd_create:", SYS_memfd_create, { 0 } },
	{ "291 (epoll_create1:", SYS_epoll_create1, { 0 } },
	{ "33 (dup2:", SYS_dup2, { -1, -1 } },
	{ "95 (umask:", SYS_umask, { 022 } },
	{ "72 (fcntl: 0xffffffffffffffff, 0x3,", SYS_fcntl, { -1, F_GETFL } },
	{ "317 (seccomp: 0x1,", SYS_seccomp, { SECCOMP_SET_MODE_FILTER } },
};

static int make_call(enum who who, const struct call *c)
{
	if (enter_as(who))
		return 1;
	syscall(c->nr, c->arg[0], c->arg[1], c->arg[2], 0, 0, 0);
	return 2; /* it was allowed */
}

static int do_refused(unsigned i)
{
	return make_call(i % WHO, &refused[i / WHO]);
}

static int do_narrow(unsigned i)
{
	return make_call(i % WHO, &narrow[i / WHO]);
}

static void check_refused(const struct call *c, const struct fate *f)
{
	char want[128];

	snprintf(want, sizeof(want), "hutch: error 125 E_SECCOMP: system call %s", c->as);
	ck_assert_msg(ended_with(f, 125), "%s: status %#x: %s", c->as, f->status, f->said);
	ck_assert_msg(!strncmp(f->said, want, strlen(want)), "%s", f->said);
	/* one line, which says why and what to do */
	ck_assert_ptr_eq(strchr(f->said, '\n'), f->said + strlen(f->said) - 1);
	ck_assert_ptr_nonnull(strstr(f->said, ") is not allowed in the jail   why: "));
	ck_assert_ptr_nonnull(strstr(f->said, "   fix: "));
}

START_TEST(test_refused)
{
	struct fate f = child(do_refused, (unsigned)_i);

	check_refused(&refused[_i / WHO], &f);
}
END_TEST

START_TEST(test_narrow)
{
	struct fate f = child(do_narrow, (unsigned)_i);

	if (_i % WHO == MACHINE)
		check_refused(&narrow[_i / WHO], &f);
	else
		ck_assert_msg(ended_with(&f, 2), "%s: status %#x: %s", narrow[_i / WHO].as,
			      f.status, f.said);
}
END_TEST

/* the numbers of 32 bits: 20 is getpid() there, writev() here, which is allowed */
static int do_32(unsigned arg)
{
	long r = 20;

	if (arg && sandbox_enter(&all_of_it))
		return 1;
	__asm__ volatile("int $0x80" : "+a"(r) : : "r8", "r9", "r10", "r11", "memory");
	return r == getpid() ? 0 : 2;
}

START_TEST(test_32)
{
	struct fate f = child(do_32, 0);

	if (!ended_with(&f, 0))
		return; /* this kernel has no calls of 32 bits */
	f = child(do_32, 1);
	ck_assert_msg(ended_with(&f, 125), "status %#x: %s", f.status, f.said);
	ck_assert_ptr_nonnull(strstr(f.said, "system call 20 (of another architecture:"));
}
END_TEST

/* each thread tells, and ends the process: one of ours, and one that was there before */
static void *do_getpgid(void *arg)
{
	int *fd = arg;
	char c;

	if (read(*fd, &c, 1) == 1)
		syscall(SYS_getpgid, 0);
	return NULL;
}

static int do_in_thread(unsigned before)
{
	int fd[2];
	pthread_t t;

	if (pipe(fd) || (before && thread_start(&t, do_getpgid, &fd[0], 0)) ||
	    sandbox_enter(&all_of_it) || (!before && thread_start(&t, do_getpgid, &fd[0], 0)))
		return 1;
	if (write(fd[1], "", 1) == 1)
		pthread_join(t, NULL);
	return 2;
}

START_TEST(test_in_thread)
{
	struct fate f = child(do_in_thread, (unsigned)_i);

	ck_assert_msg(ended_with(&f, 125), "status %#x: %s", f.status, f.said);
	ck_assert_ptr_nonnull(strstr(f.said, "system call 121 (getpgid:"));
}
END_TEST

/* a thread of a machine, one that it starts, and the one that started it */
struct opener {
	bool narrowed; /* by who started it */
	const char *wrong;
};

static void *open_as_machine(void *arg)
{
	struct opener *o = arg, second = { .narrowed = true };
	pthread_t t;

	if (!o->narrowed && sandbox_narrow())
		o->wrong = "not narrowed";
	else if (open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0 || errno != EPERM)
		o->wrong = o->narrowed ? "the second opened" : "the first opened";
	else if (!o->narrowed &&
		 (thread_start(&t, open_as_machine, &second, 0) || pthread_join(t, NULL)))
		o->wrong = "no thread";
	else
		o->wrong = second.wrong;
	return NULL;
}

static int do_open(unsigned arg)
{
	struct opener first = { .narrowed = false };
	pthread_t t;

	(void)arg;
	if (sandbox_enter(&all_of_it) || thread_start(&t, open_as_machine, &first, 0) ||
	    pthread_join(t, NULL))
		return 1;
	if (first.wrong)
		fprintf(stderr, "%s", first.wrong);
	return open("/dev/null", O_RDONLY | O_CLOEXEC) < 0 ? 2 : 0;
}

START_TEST(test_open)
{
	struct fate f = child(do_open, 0);

	ck_assert_msg(ended_with(&f, 0), "status %#x: %s", f.status, f.said);
	ck_assert_str_eq(f.said, "");
}
END_TEST

/* --- what goes on --- */

static void *touch_memory(void *arg)
{
	/* an arena of its own, large enough to be trimmed */
	void *p[64];

	pthread_setname_np(pthread_self(), "named");
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = malloc(100 << 10);
		if (!p[i])
			return arg;
		memset(p[i], 1, 100 << 10);
	}
	for (unsigned i = ARRAY_SIZE(p); i; i--)
		free(p[i - 1]);
	return NULL;
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, 100);
}

/* the C library: memory, threads, time, sorting, stdio: 0, or which failed */
static int library(enum who who)
{
	static char many[2000][100];
	char *p = malloc(1 << 10), *q;
	time_t then = 86400;
	struct tm tm;
	pthread_t t;
	void *r;

	q = p ? realloc(p, 64 << 20) : NULL;
	if (!q)
		return 3;
	memset(q, 1, 64 << 20);
	free(q);
	for (unsigned i = 0; i < 20; i++)
		if (thread_start(&t, touch_memory, &t, 0) || pthread_join(t, &r) || r)
			return 4;
	many[1999][0] = -1;
	qsort(many, ARRAY_SIZE(many), sizeof(many[0]), compare);
	if (!gmtime_r(&then, &tm) || tm.tm_mday != 2 || timegm(&tm) != then)
		return 5;
	if (who == CALLER)
		dprintf(STDERR_FILENO, "dprintf ");
	fprintf(stderr, "fprintf ");
	return fflush(stdout) ? 6 : 0;
}

static int do_allowed(unsigned who)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "/nonexistent/socket" };
	int fd;

	if (enter_as(who))
		return 1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || !connect(fd, (struct sockaddr *)&addr, sizeof(addr)) || errno != ENOENT)
		return 2;
	if (syscall(SYS_clone3, NULL, 0) >= 0 || errno != ENOSYS)
		return 8;
	return library(who);
}

START_TEST(test_allowed)
{
	struct fate f = child(do_allowed, (unsigned)_i);

	ck_assert_msg(ended_with(&f, 0), "status %#x: %s", f.status, f.said);
	ck_assert_str_eq(f.said, _i == CALLER ? "dprintf fprintf " : "fprintf ");
}
END_TEST

/* a bug of ours still says so, and ends by SIGABRT */
static int do_bug(unsigned arg)
{
	if (sandbox_enter(&all_of_it))
		return 1;
	BUG_ON(arg == 0);
	return 2;
}

START_TEST(test_bug)
{
	struct fate f = child(do_bug, 0);

	ck_assert(WIFSIGNALED(f.status) && WTERMSIG(f.status) == SIGABRT);
	ck_assert_ptr_nonnull(strstr(f.said, "this is a bug in hutch"));
}
END_TEST

/* --- hosts that lack a layer, and processes with a filter --- */

/* answer system call @nr, with @arg as argument @i, with an error */
static bool forbid(long nr, unsigned i, uint32_t arg, int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)nr, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8 * i),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arg, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(code), code };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

static const struct {
	long nr;
	uint32_t arg;
	int error;
	const char *lacks;
} layers[] = {
	{ SYS_seccomp, SECCOMP_SET_MODE_FILTER, ENOSYS, "seccomp filters: Function not" },
	{ SYS_prctl, PR_SET_NO_NEW_PRIVS, EINVAL, "no_new_privs: Invalid" },
};

static int do_lacking(unsigned arg)
{
	const struct sandbox what = { .must = arg & 1 };
	int r;

	if (!forbid(layers[arg / 2].nr, 0, layers[arg / 2].arg, layers[arg / 2].error))
		return 1;
	r = sandbox_enter(&what);
	if (r)
		fprintf(stderr, "%s", err_last());
	return r == (what.must ? -ENOTSUP : 0) ? 0 : 2;
}

START_TEST(test_lacking)
{
	struct fate f = child(do_lacking, (unsigned)_i);
	char want[128];

	ck_assert_msg(ended_with(&f, 0), "status %#x: %s", f.status, f.said);
	snprintf(want, sizeof(want), "%sjail: this host has no %s",
		 _i & 1 ? "" : "hutch: warning: ", layers[_i / 2].lacks);
	ck_assert_msg(!strncmp(f.said, want, strlen(want)), "%s", f.said);
}
END_TEST

/* a thread with a filter of its own cannot have ours */
static void *filter_self(void *arg)
{
	int *fd = arg;
	char c;

	if (forbid(SYS_mount, 0, 0, EPERM) && write(fd[1], "", 1) == 1 && read(fd[2], &c, 1) < 0)
		return fd;
	return NULL;
}

static int do_own_filter(unsigned must)
{
	const struct sandbox what = { .must = must };
	int fd[4];
	pthread_t t;
	char c;
	int r;

	if (pipe(fd) || pipe(fd + 2) || thread_start(&t, filter_self, fd, 0) ||
	    read(fd[0], &c, 1) != 1)
		return 1;
	r = sandbox_enter(&what);
	if (must) {
		fprintf(stderr, "%s", err_last());
		return r == -EBUSY ? 0 : 2;
	}
	if (r)
		return 3;
	syscall(SYS_getpgid, 0);
	return 4;
}

START_TEST(test_own_filter)
{
	struct fate f = child(do_own_filter, (unsigned)_i);

	ck_assert_msg(ended_with(&f, _i ? 0 : 125), "status %#x: %s", f.status, f.said);
	ck_assert_ptr_nonnull(strstr(f.said, "has a seccomp filter of its own"));
}
END_TEST

/* --- machines --- */

static char folder[] = "/tmp/t_sandbox.XXXXXX", peer[256];

static const char *in_folder(const char *file)
{
	static char path[4][128];
	static unsigned n;
	char *p = path[n++ % ARRAY_SIZE(path)];

	snprintf(p, sizeof(path[0]), "%s/%s", folder, file);
	return p;
}

static pid_t start_echo(const char *socket)
{
	char address[160];
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		snprintf(address, sizeof(address), "unix-listen:%s", socket);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO);
		execl(peer, peer, "echo", address, "1000", NULL);
		_exit(127);
	}
	for (unsigned i = 0; i < 500 && access(socket, F_OK); i++)
		sleep_ms(10);
	return pid;
}

static pid_t echo[2];

static void make_folder(void)
{
	cleanup_fd int fd = -1;

	ck_assert_ptr_nonnull(mkdtemp(folder));
	fd = open(in_folder("disk"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(ftruncate(fd, MiB), 0);
	echo[0] = start_echo(in_folder("net"));
	echo[1] = start_echo(in_folder("v_1234"));
}

static void remove_folder(void)
{
	static const char *const files[] = {
		"disk", "overlay", "net", "v_1234", "paused", "resumed"
	};

	for (unsigned i = 0; i < ARRAY_SIZE(echo); i++) {
		kill(echo[i], SIGKILL);
		waitpid(echo[i], NULL, 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		unlink(in_folder(files[i]));
	ck_assert_msg(!rmdir(folder), "something is left in %s", folder);
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
}

static const struct {
	const char *guest, *append, *disk, *more[6];
	bool virtio; /* its console */
	enum hutch_end end;
	const char *text;
} machines[] = {
	{ .guest = "all",
	  .disk = "engine=uring",
	  .more = { "net", "vsock", "balloon", "1M,stats=1" },
	  .virtio = true,
	  .end = HUTCH_POWEROFF,
	  .text = "a line on the virtio console\n"
		  "blk: ok\nnet: ok\nvsock: ok\nrng: ok\nballoon: ok\nconsole: ok\ndone\n" },
	{ .guest = "all",
	  .disk = "engine=threads",
	  .end = HUTCH_POWEROFF,
	  .text = "blk: ok\nrng: ok\ndone\n" },
	{ .guest = "all",
	  .disk = "engine=threads,cache=direct,overlay=",
	  .end = HUTCH_POWEROFF,
	  .text = "blk: ok\nrng: ok\ndone\n" },
	{ .guest = "all",
	  .disk = "format=cow,discard",
	  .end = HUTCH_POWEROFF,
	  .text = "blk: ok\nrng: ok\ndone\n" },
	/* five boots, reset in place, with the other processors and the timer */
	{ .guest = "ends",
	  .append = "cr",
	  .more = { "on-reboot", "reset", "cpus", "2", "pit", "yes" },
	  .end = HUTCH_POWEROFF,
	  .text = "12345" },
	{ .guest = "ends", .append = "t", .end = HUTCH_TRIPLE_FAULT, .text = "" },
	{ .guest = "ends", .append = "x", .end = HUTCH_ERROR, .text = "" },
};

static void must(struct hutch *h, const char *key, const char *value)
{
	if (!hutch_set(h, key, value))
		return;
	fprintf(stderr, "%s", hutch_error(h));
	_exit(10);
}

/* in a child: a machine in the jail, its console at stderr, and not started */
static struct hutch *machine(const char *guest, const char *append)
{
	struct hutch *h = hutch_new();
	char path[4096];

	must(h, "kernel", flat_path(guest, path, sizeof(path)));
	must(h, "memory", "64M");
	must(h, "console", "fd:-1:2");
	must(h, "jail", "basic");
	if (append)
		must(h, "append", append);
	return h;
}

static int run_to_end(struct hutch *h, struct hutch_result *r)
{
	if (!hutch_start(h) && !hutch_wait(h, 30000, r))
		return 0;
	fprintf(stderr, "%s", hutch_error(h));
	return 11;
}

static int do_machine(unsigned i)
{
	struct hutch *h = machine(machines[i].guest, machines[i].append);
	struct hutch_result result;
	char value[256];
	int r;

	if (machines[i].disk) {
		snprintf(value, sizeof(value), "%s,%s%s", in_folder("disk"), machines[i].disk,
			 strstr(machines[i].disk, "overlay=") ? in_folder("overlay") : "");
		must(h, "disk", value);
	}
	for (const char *const *more = machines[i].more; *more; more++) {
		if (!strcmp(*more, "net")) {
			snprintf(value, sizeof(value), "user,socket=%s", in_folder("net"));
			must(h, "net", value);
		} else if (!strcmp(*more, "vsock")) {
			snprintf(value, sizeof(value), "path=%s", in_folder("v"));
			must(h, "vsock", value);
		} else {
			must(h, more[0], more[1]);
			more++;
		}
		if (more == machines[i].more + ARRAY_SIZE(machines[i].more) - 1)
			break;
	}
	if (machines[i].virtio)
		must(h, "console-device", "virtio");
	r = run_to_end(h, &result);
	hutch_free(h);
	return r ? r : result.end == machines[i].end ? 0 : 12;
}

START_TEST(test_machine)
{
	struct fate f = child(do_machine, (unsigned)_i);

	ck_assert_msg(ended_with(&f, 0), "status %#x: %s", f.status, f.said);
	ck_assert_str_eq(f.said, machines[_i].text);
}
END_TEST

/* a thread that cannot narrow itself runs no guest, and ends the machine */
static int do_no_narrow(unsigned arg)
{
	struct hutch *h = machine("hello", NULL);
	struct hutch_result result;
	struct hutch_phase phase;
	int r;

	(void)arg;
	if (!forbid(SYS_seccomp, 1, SECCOMP_FILTER_FLAG_SPEC_ALLOW, ENOMEM))
		return 1;
	r = run_to_end(h, &result);
	for (unsigned i = 0; !r && !hutch_timing(h, i, &phase); i++)
		if (!strcmp(phase.name, "first entry") && phase.us > 0)
			r = 3;
	if (!r && (result.end != HUTCH_ERROR || !strstr(result.text, "no seccomp filter")))
		r = 4;
	hutch_free(h);
	return r;
}

START_TEST(test_no_narrow)
{
	struct fate f = child(do_no_narrow, 0);

	ck_assert_msg(ended_with(&f, 0), "status %#x: %s", f.status, f.said);
	ck_assert_str_eq(f.said, "");
}
END_TEST

/* the caller's function keeps what it is told, as hutch run does */
static void keep_pause(void *arg, bool paused)
{
	cleanup_fd int fd = openat(*(int *)arg, "state.new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, "", 1) != 1 ||
	    renameat(*(int *)arg, "state.new", *(int *)arg, paused ? "paused" : "resumed"))
		fprintf(stderr, "%s", strerror(errno));
}

/* what can be done to a machine that runs: all of it through the loop, as the control socket does
 */
static int do_live(unsigned arg)
{
	static const struct {
		const char *key, *value;
	} live[] = { { "balloon", "8M" },
		     { "disk@0.iops", "500" },
		     { "disk@0", "bw=10M" },
		     { "net@0.link", "no" },
		     { "console-size", "90x30" } };
	struct hutch *h = machine("idle", NULL), *second;
	char value[256];
	void *tree;
	int size, dir = open(folder, O_PATH | O_CLOEXEC);

	(void)arg;
	hutch_on_pause(h, keep_pause, &dir);
	must(h, "disk", in_folder("disk"));
	snprintf(value, sizeof(value), "user,socket=%s", in_folder("net"));
	must(h, "net", value);
	must(h, "balloon", "0M,stats=1");
	must(h, "console-device", "virtio");
	must(h, "ctl", in_folder("ctl"));
	if (hutch_start(h))
		return 1;
	for (unsigned i = 0; i < ARRAY_SIZE(live); i++)
		must(h, live[i].key, live[i].value);
	if (hutch_pause(h) || access(in_folder("paused"), F_OK) || hutch_resume(h) ||
	    access(in_folder("resumed"), F_OK))
		return 2;
	size = hutch_tree(h, &tree);
	if (size <= 0)
		return 3;
	free(tree);
	/* as hutch.h says */
	second = machine("hello", NULL);
	if (hutch_start(second) != -EBUSY || !strstr(hutch_error(second), "process of its own"))
		return 4;
	hutch_free(second);
	hutch_free(h);
	return 0;
}

START_TEST(test_live)
{
	struct fate f = child(do_live, 0);

	ck_assert_msg(ended_with(&f, 0), "status %#x: %s", f.status, f.said);
	ck_assert_str_eq(f.said, "");
}
END_TEST

/* --- what the kernel says of each thread --- */

static bool has_line(const char *status, const char *key, const char *value)
{
	const char *p = strstr(status, key);

	return p && !strncmp(p + strlen(key), value, strlen(value)) &&
	       p[strlen(key) + strlen(value)] == '\n';
}

#define NO_CAPABILITIES "0000000000000000"

/* a thread that a guest talks to, and it has both filters */
static bool is_narrow(const char *status)
{
	return (has_line(status, "Name:\t", "loop") || strstr(status, "Name:\tvcpu")) &&
	       has_line(status, "\nSeccomp_filters:\t", "2");
}

/* every thread of @pid is in the jail, or says which is not: how many are narrowed */
static unsigned jailed_threads(pid_t pid)
{
	static const struct {
		const char *key, *value;
	} want[] = { { "\nSeccomp:\t", "2" },
		     { "\nNoNewPrivs:\t", "1" },
		     { "\nCapEff:\t", NO_CAPABILITIES },
		     { "\nCapPrm:\t", NO_CAPABILITIES },
		     { "\nCapInh:\t", NO_CAPABILITIES },
		     { "\nCapAmb:\t", NO_CAPABILITIES } };
	char path[300], status[8192];
	unsigned narrow_ones = 0;
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	while ((e = readdir(dir))) {
		cleanup_fd int fd = -1;

		if (*e->d_name == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", pid, e->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		ck_assert_int_ge(fd, 0);
		read_all(fd, status, sizeof(status));
		for (unsigned i = 0; i < ARRAY_SIZE(want); i++)
			ck_assert_msg(has_line(status, want[i].key, want[i].value), "not%s %s:\n%s",
				      want[i].key, want[i].value, status);
		ck_assert(atoi(e->d_name) != pid || has_line(status, "\nSeccomp_filters:\t", "1"));
		narrow_ones += is_narrow(status);
		/* only who could have more can drop what others could get */
		ck_assert(geteuid() || has_line(status, "\nCapBnd:\t", NO_CAPABILITIES));
	}
	closedir(dir);
	return narrow_ones;
}

START_TEST(test_status)
{
	char c, path[64], limits[4096];
	int fd[2], proc;
	pid_t pid;

	ck_assert_int_eq(pipe(fd), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		const struct rlimit core = { 4096, 4096 };
		struct hutch *h = machine("ends", "h");
		char spec[128];

		alarm(60);
		setrlimit(RLIMIT_CORE, &core);
		snprintf(spec, sizeof(spec), "%s,engine=threads,cache=direct", in_folder("disk"));
		must(h, "disk", spec);
		must(h, "cpus", "3");
		hutch_on_pause(h, keep_pause, NULL);
		_exit(hutch_start(h) || write(fd[1], "", 1) != 1 ||
		      !hutch_wait(h, -1, &(struct hutch_result){ 0 }));
	}
	ck_assert_int_eq((int)read(fd[0], &c, 1), 1);
	/* loop, vCPUs; each does it when it runs for the first time */
	for (unsigned i = 0; i < 1000 && jailed_threads(pid) != 1 + 3; i++)
		sleep_ms(10);
	ck_assert_uint_eq(jailed_threads(pid), 1 + 3);
	snprintf(path, sizeof(path), "/proc/%d/limits", pid);
	proc = open(path, O_RDONLY | O_CLOEXEC);
	read_all(proc, limits, sizeof(limits));
	close(proc);
	ck_assert_msg(strstr(limits, "Max core file size        0                    0") != NULL,
		      "%s", limits);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(fd[0]);
	close(fd[1]);
}
END_TEST

/* the library alone leaves its process as it is */
static int do_none(unsigned jail)
{
	struct hutch *h = machine("hello", NULL);
	struct rlimit core = { 4096, 4096 };
	struct hutch_result r;

	setrlimit(RLIMIT_CORE, &core);
	if (!jail)
		must(h, "jail", "none");
	if (run_to_end(h, &r))
		return 1;
	hutch_free(h);
	if (jail)
		syscall(SYS_getpgid, 0);
	return getrlimit(RLIMIT_CORE, &core) || core.rlim_cur != 4096 ||
			       prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) || prctl(PR_GET_SECCOMP)
		       ? 2
		       : 0;
}

START_TEST(test_none)
{
	struct fate f = child(do_none, (unsigned)_i);

	ck_assert_msg(ended_with(&f, _i ? 125 : 0), "status %#x: %s", f.status, f.said);
}
END_TEST

static void add_machines(Suite *suite)
{
	TCase *tc = tcase_create("machines");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, make_folder, remove_folder);
	tcase_add_loop_test(tc, test_machine, 0, ARRAY_SIZE(machines));
	tcase_add_test(tc, test_no_narrow);
	tcase_add_test(tc, test_live);
	tcase_add_test(tc, test_status);
	tcase_add_loop_test(tc, test_none, 0, 2);
	suite_add_tcase(suite, tc);
}

int main(int argc, char **argv)
{
	Suite *suite = suite_create("sandbox");
	TCase *tc = tcase_create("calls");

	(void)argc;
	flat_setup(argv[0]);
	snprintf(peer, sizeof(peer), "%.*speer", (int)(strrchr(argv[0], '/') - argv[0] + 1),
		 argv[0]);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_refused, 0, WHO * ARRAY_SIZE(refused));
	tcase_add_loop_test(tc, test_narrow, 0, WHO * ARRAY_SIZE(narrow));
	tcase_add_test(tc, test_open);
	tcase_add_test(tc, test_32);
	tcase_add_loop_test(tc, test_in_thread, 0, 2);
	tcase_add_loop_test(tc, test_allowed, 0, WHO);
	tcase_add_test(tc, test_bug);
	tcase_add_loop_test(tc, test_lacking, 0, 2 * ARRAY_SIZE(layers));
	tcase_add_loop_test(tc, test_own_filter, 0, 2);
	suite_add_tcase(suite, tc);
	if (flat_possible())
		add_machines(suite);
	return suite_run(suite);
}
