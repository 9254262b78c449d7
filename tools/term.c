/*
 * term.c - the user's terminal in raw mode, and back
 *
 * atexit() and signal handlers put it back on every way out that the process
 * sees.  For SIGKILL there is a guard: a child that holds the read end of a
 * pipe; when the pipe closes without a word, it restores the terminal.
 *
 * #syscalls ioctl:TCSETS rt_sigaction tgkill:SELF
 * #syscalls:caller write close wait4
 * #syscalls:before ioctl:TCGETS pipe2 clone prctl dup2 close_range read exit_group
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "tool.h"

static struct termios saved, raw_mode;
static volatile sig_atomic_t is_raw;
static int guard_pipe = -1;
static pid_t guard_pid;

void term_restore(void)
{
	if (is_raw) {
		is_raw = 0;
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	}
	if (guard_pipe >= 0) {
		if (write(guard_pipe, "", 1) < 0)
			return;
		close(guard_pipe);
		guard_pipe = -1;
		waitpid(guard_pid, NULL, 0);
	}
}

/* on whichever thread, also one that a guest talks to */
static void on_fatal(int sig)
{
	if (is_raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	signal(sig, SIG_DFL);
	raise(sig);
}

static void on_stop(int sig)
{
	if (is_raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	(void)sig;
	raise(SIGSTOP);
	if (is_raw) /* continued */
		tcsetattr(STDIN_FILENO, TCSANOW, &raw_mode);
}

static void start_guard(void)
{
	int fd[2];
	char c;

	if (pipe(fd))
		return;
	guard_pid = fork();
	if (guard_pid) {
		close(fd[0]);
		guard_pipe = fd[1];
		return;
	}
	close(fd[1]);
	prctl(PR_SET_NAME, "hutch-term");
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_IGN); /* also SIGTTOU: we may be in the background by then */
	/* nothing else of the process lives on here: its locks and sockets end with it */
	dup2(fd[0], STDOUT_FILENO);
	close_range(STDERR_FILENO, ~0U, 0);
	if (!read(STDOUT_FILENO, &c, 1))
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	_exit(0);
}

int term_guard(void)
{
	if (tcgetattr(STDIN_FILENO, &saved))
		return -errno;
	raw_mode = saved;
	cfmakeraw(&raw_mode);
	start_guard();
	atexit(term_restore);
	return 0;
}

int term_raw(void)
{
	static const int fatal[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };

	for (unsigned i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		signal(fatal[i], on_fatal);
	signal(SIGTSTP, on_stop);
	is_raw = 1;
	return tcsetattr(STDIN_FILENO, TCSANOW, &raw_mode) ? -errno : 0;
}
