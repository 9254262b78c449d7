/*
 * exec_linux.c - start a command: vfork, what the child is to be, execve
 *
 * The child shares our memory until execve(), so it does nothing but system
 * calls on what was prepared before, and leaves in `stage` and `error` what
 * went wrong.  That saves copying page tables, and a pipe to hear of failure.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "os_linux.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define ETC	     "/etc"
#define CHILD_STACK  (64U << 10)
#define KERNEL_SIGS  64

enum stage { STAGE_OK, STAGE_SESSION, STAGE_LIMIT, STAGE_USER, STAGE_CWD, STAGE_EXEC };

struct plan {
	char **arg, **env;
	const char *path; /* where to look, NULL: arg[0] is the file */
	const char *cwd;
	bool tty;
	bool joins;		 /* not yet in the group of all commands */
	const struct user *user; /* NULL: who we are */
	int fd[3];
	const struct exec_rlimit *rlimit;
	unsigned rlimits;
	char candidate[PATH_MAX];
	char **shell_arg; /* for a script without a first line that names its interpreter */
	/* told by the child */
	volatile enum stage stage;
	volatile int error;
};

static const char *env_get(char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (; *env; env++)
		if (!strncmp(*env, name, n) && (*env)[n] == '=')
			return *env + n + 1;
	return NULL;
}

static int find_user(const char *text, struct user *ret, struct why *why)
{
	int etc = open(ETC, O_PATH | O_DIRECTORY | O_CLOEXEC), r = user_find(etc, text, ret, why);

	if (etc >= 0)
		close(etc);
	return r;
}

/* --- pipes or a terminal --- */

struct ends {
	int ours[3], theirs[3];
};

static void close_fds(int *fd, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		for (unsigned k = i + 1; k < n; k++)
			if (fd[k] == fd[i])
				fd[k] = -1;
		if (fd[i] >= 0)
			close(fd[i]);
		fd[i] = -1;
	}
}

static int open_terminal(const struct exec_request *x, struct ends *e, struct why *why)
{
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK), slave, no = 0;

	if (master < 0)
		return refuse(why, ERROR_SYSTEM, errno, "no terminal: /dev/ptmx: %s",
			      strerror(errno));
	slave = ioctl(master, TIOCSPTLCK, &no)
			? -1
			: ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0) {
		refuse(why, ERROR_SYSTEM, errno, "no terminal: %s", strerror(errno));
		close(master);
		return -1;
	}
	exec_resize(master, x->columns, x->rows);
	e->ours[0] = e->ours[1] = master;
	e->theirs[0] = e->theirs[1] = e->theirs[2] = slave;
	return 0;
}

static int open_pipes(const struct exec_request *x, struct ends *e, struct why *why)
{
	for (int i = 0; i < 3; i++) {
		int p[2];

		if (x->flags & EXEC_DETACH || (!i && !(x->flags & EXEC_STDIN))) {
			e->theirs[i] = file_null(i ? O_WRONLY : O_RDONLY);
			if (e->theirs[i] >= 0)
				continue;
			return refuse(why, ERROR_SYSTEM, errno, "/dev/null: %s", strerror(errno));
		}
		if (pipe2(p, O_CLOEXEC))
			return refuse(why, ERROR_SYSTEM, errno, "no pipe for the command: %s",
				      strerror(errno));
		e->ours[i] = p[!i];
		e->theirs[i] = p[!!i];
		fcntl(e->ours[i], F_SETFL, O_NONBLOCK);
	}
	return 0;
}

static int open_ends(const struct exec_request *x, struct ends *e, struct why *why)
{
	int r;

	*e = (struct ends){ { -1, -1, -1 }, { -1, -1, -1 } };
	r = x->flags & EXEC_TTY ? open_terminal(x, e, why) : open_pipes(x, e, why);
	if (r) {
		close_fds(e->ours, 3);
		close_fds(e->theirs, 3);
	}
	return r;
}

/* --- in the child: system calls only --- */

static int fail(struct plan *p, enum stage stage)
{
	p->error = errno;
	p->stage = stage;
	return -1;
}

static void default_signals(void)
{
	/* to the kernel itself: a C library lets nobody touch the signals it keeps for itself,
	 * which glibc's posix_spawn() leaves ignored in its children; all zero is SIG_DFL */
	static const unsigned long none[8];

	for (int i = 1; i <= KERNEL_SIGS; i++)
		syscall(SYS_rt_sigaction, i, none, NULL, KERNEL_SIGS / 8);
}

static int be_own_session(struct plan *p)
{
	if (setsid() < 0)
		return fail(p, STAGE_SESSION);
	if (p->tty && ioctl(p->fd[0], TIOCSCTTY, 0))
		return fail(p, STAGE_SESSION);
	/* none of ours is below 3 */
	for (int i = 0; i < 3; i++)
		if (dup2(p->fd[i], i) < 0)
			return fail(p, STAGE_SESSION);
	return 0;
}

/* the group of all commands; without it there are only fewer figures */
static void join_work(void)
{
	int fd = openat(agent_os.cgroup, "cgroup.procs", O_WRONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0 && write(fd, "0", 1) == 1)
		close(fd);
}

static int be_user(struct plan *p)
{
	const struct user *u = p->user;

	if (u && (syscall(SYS_setgroups, (long)u->groups, u->group) ||
		  syscall(SYS_setgid, u->gid) || syscall(SYS_setuid, u->uid)))
		return fail(p, STAGE_USER);
	return 0;
}

/* try one file; returns unless it runs */
static void try_file(struct plan *p, const char *file)
{
	execve(file, p->arg, p->env);
	if (errno != ENOEXEC)
		return;
	p->shell_arg[0] = (char *)"sh";
	p->shell_arg[1] = (char *)(uintptr_t)file;
	execve("/bin/sh", p->shell_arg, p->env);
	errno = ENOEXEC;
}

static void try_path(struct plan *p)
{
	const char *name = p->arg[0], *dir = p->path, *end;
	int worst = ENOENT;

	for (; dir; dir = *end ? end + 1 : NULL) {
		int n;

		end = dir + strcspn(dir, ":");
		n = snprintf(p->candidate, sizeof(p->candidate), "%.*s/%s", (int)(end - dir),
			     end == dir ? "." : dir, name);
		if (n < 0 || n >= (int)sizeof(p->candidate))
			continue;
		try_file(p, p->candidate);
		if (errno != ENOENT && errno != ENOTDIR)
			worst = errno;
	}
	errno = worst;
}

static int become(struct plan *p)
{
	sigset_t none;

	sigemptyset(&none);
	default_signals();
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (be_own_session(p))
		return -1;
	os_child();
	if (p->joins)
		join_work();
	for (unsigned i = 0; i < p->rlimits; i++) {
		struct rlimit l = { p->rlimit[i].soft, p->rlimit[i].hard };

		if (setrlimit((int)p->rlimit[i].what, &l))
			return fail(p, STAGE_LIMIT);
	}
	umask(022);
	if (be_user(p))
		return -1;
	if (chdir(p->cwd))
		return fail(p, STAGE_CWD);
	if (p->path)
		try_path(p);
	else
		try_file(p, p->arg[0]);
	return fail(p, STAGE_EXEC);
}

/* --- before and after --- */

static int explain(const struct plan *p, struct why *why)
{
	const char *name = p->arg[0];

	switch (p->stage) {
	case STAGE_EXEC:
		if (p->error == ENOENT && !p->path && !access(name, F_OK))
			return refuse(why, ERROR_NOT_FOUND, p->error,
				      "%.100s is there, but not the interpreter it names", name);
		if (p->error == ENOENT || p->error == ENOTDIR)
			return refuse(why, ERROR_NOT_FOUND, p->error,
				      "%.100s: there is no such command in the guest", name);
		return refuse(why, ERROR_NOT_RUNNABLE, p->error, "%.100s: cannot be run: %s", name,
			      strerror(p->error));
	case STAGE_CWD:
		return refuse(why, ERROR_CWD, p->error, "cannot work in %.150s: %s", p->cwd,
			      strerror(p->error));
	case STAGE_USER:
		return refuse(why, ERROR_USER, p->error, "cannot become user %u, group %u: %s",
			      (unsigned)p->user->uid, (unsigned)p->user->gid, strerror(p->error));
	case STAGE_LIMIT:
		return refuse(why, ERROR_LIMIT, p->error, "cannot set a resource limit: %s",
			      strerror(p->error));
	default:
		return refuse(why, ERROR_SYSTEM, p->error,
			      "cannot prepare the command's session: %s", strerror(p->error));
	}
}

/* the request's environment, with what every program expects where that says nothing */
static char **environment(const struct exec_request *x, const char *home, const char *name,
			  char text[3][PATH_MAX + 16])
{
	const struct {
		const char *name, *value;
	} dflt[] = { { "PATH", DEFAULT_PATH }, { "HOME", home }, { "USER", name } };
	char **env = calloc((size_t)x->envs + 4, sizeof(*env));
	unsigned n = 0;

	if (!env)
		return NULL;
	for (unsigned i = 0; i < x->envs; i++)
		env[n++] = x->env[i];
	for (unsigned i = 0; i < 3; i++) {
		if (env_get(env, dflt[i].name))
			continue;
		snprintf(text[i], PATH_MAX + 16, "%s=%s", dflt[i].name, dflt[i].value);
		env[n++] = text[i];
	}
	return env;
}

static void __attribute__((noreturn)) child(struct plan *p)
{
	become(p);
	_exit(127);
}

#ifdef __x86_64__
/*
 * vfork() that begins in the group of all commands: to enter it later waits until no processor of
 * the guest can be within a fork any more, which takes its kernel milliseconds.  The child has a
 * stack of its own, because the frame of who called is still the parent's.
 */
static pid_t fork_into_work(struct plan *p)
{
	static char stack[CHILD_STACK] __attribute__((aligned(16)));
	struct clone_args args = {
		.flags = CLONE_VM | CLONE_VFORK,
		.exit_signal = SIGCHLD,
		.stack = (uintptr_t)stack,
		.stack_size = sizeof(stack),
	};
	long pid;

	if (agent_os.cgroup >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)agent_os.cgroup;
	}
	asm volatile("syscall\n\t"
		     "test %%rax, %%rax\n\t"
		     "jnz 1f\n\t"
		     "mov %[plan], %%rdi\n\t"
		     "call *%[child]\n"
		     "1:"
		     : "=a"(pid)
		     : "0"((long)SYS_clone3), "D"(&args),
		       "S"(sizeof(args)), [plan] "r"(p), [child] "r"(child)
		     : "rcx", "r11", "cc", "memory");
	return (pid_t)pid;
}
#else
static pid_t fork_into_work(struct plan *p)
{
	(void)p;
	return -ENOSYS;
}
#endif

static int run_plan(struct plan *p, struct exec_child *ret, struct why *why)
{
	sigset_t all, old;
	pid_t pid;

	/* a handler of ours must not run in the child */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid = fork_into_work(p);
	if (pid < 0) { /* a kernel before 5.7, or without cgroups */
		p->joins = agent_os.cgroup >= 0;
		pid = vfork();
		if (!pid)
			child(p);
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (pid < 0)
		return refuse(why, ERROR_SYSTEM, errno, "no process for the command: %s",
			      strerror(errno));
	ret->pid = pid;
	return p->stage ? explain(p, why) : 0;
}

int exec_start(const struct exec_request *x, struct exec_child *ret, struct why *why)
{
	static char text[3][PATH_MAX + 16];
	static struct user user;
	struct plan p = { .arg = x->arg, .tty = x->flags & EXEC_TTY, .cwd = x->cwd ? x->cwd : "/" };
	struct ends e;
	int r = -1;

	if (!x->args || !*x->arg[0])
		return refuse(why, ERROR_REQUEST, 0, "a command without a name");
	if (find_user(x->user ? x->user : "0", &user, why))
		return -1;
	if (x->user)
		p.user = &user;
	p.rlimit = x->rlimit;
	p.rlimits = x->rlimits;
	if (open_ends(x, &e, why))
		return -1;
	memcpy(p.fd, e.theirs, sizeof(p.fd));
	p.env = environment(x, user.home, user.name, text);
	p.shell_arg = calloc((size_t)x->args + 2, sizeof(*p.shell_arg));
	if (p.env && p.shell_arg) {
		memcpy(p.shell_arg + 2, x->arg + 1, x->args * sizeof(*x->arg));
		p.path = strchr(x->arg[0], '/') ? NULL : env_get(p.env, "PATH");
		r = run_plan(&p, ret, why);
	} else {
		refuse(why, ERROR_SYSTEM, ENOMEM, "no memory for the command");
	}
	free(p.env);
	free(p.shell_arg);
	close_fds(e.theirs, 3);
	if (r)
		close_fds(e.ours, 3);
	ret->in = e.ours[0];
	ret->out[0] = e.ours[1];
	ret->out[1] = e.ours[2];
	return r;
}

int exec_call(int (*fn)(void *arg), void *arg, struct exec_child *ret, struct why *why)
{
	struct exec_request x = { .flags = EXEC_STDIN };
	struct ends e;
	sigset_t none;

	if (open_ends(&x, &e, why))
		return -1;
	ret->pid = fork();
	if (!ret->pid) {
		sigemptyset(&none);
		default_signals();
		sigprocmask(SIG_SETMASK, &none, NULL);
		if (setsid() < 0)
			_exit(126);
		for (int i = 0; i < 3; i++)
			if (dup2(e.theirs[i], i) < 0)
				_exit(126);
		/* the agent's connections are not this one's */
		syscall(SYS_close_range, 3U, ~0U, 0U);
		_exit(fn(arg));
	}
	close_fds(e.theirs, 3);
	if (ret->pid < 0) {
		refuse(why, ERROR_SYSTEM, errno, "no process: %s", strerror(errno));
		close_fds(e.ours, 3);
		return -1;
	}
	ret->in = e.ours[0];
	ret->out[0] = e.ours[1];
	ret->out[1] = e.ours[2];
	return 0;
}

int exec_signal(pid_t pid, uint64_t signo)
{
	if (!signo || signo >= NSIG)
		return -EINVAL;
	return kill(-pid, (int)signo) ? -errno : 0;
}

void exec_resize(int terminal, uint64_t columns, uint64_t rows)
{
	struct winsize ws = { .ws_col = (unsigned short)columns, .ws_row = (unsigned short)rows };

	if (columns && rows)
		ioctl(terminal, TIOCSWINSZ, &ws);
}
