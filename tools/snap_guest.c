/*
 * snap_guest.c - what is in a snapshot, asked of its guest
 *
 * Only the guest can read its file systems, on a disk or in memory.  So a machine
 * is restored for that, under a name of its own, asked, and gone again; signals
 * wait until then.
 */
/* #syscalls:before clone execve wait4 readlink exit_group getpid rt_sigprocmask openat dup2 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "snap_guest.h"

#define WORDS_MOST 64

/* this program with these words, and with nothing on stdout: its exit status */
static int run_self(const char *const *words, const sigset_t *mask)
{
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int status, null;
	pid_t pid;

	if (len < 0)
		return EXIT_HUTCH;
	self[len] = '\0';
	fflush(NULL);
	pid = fork();
	if (!pid) {
		null = open("/dev/null", O_WRONLY | O_CLOEXEC);
		pthread_sigmask(SIG_SETMASK, mask, NULL);
		if (null >= 0)
			dup2(null, STDOUT_FILENO);
		execv(self, (char *const *)(uintptr_t)words);
		_exit(EXIT_HUTCH);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return EXIT_HUTCH;
	return WEXITSTATUS(status);
}

/* -1 after a complaint */
static int restore(const char *name, const char *snapshot, const struct given *disks,
		   const struct given *nets, const sigset_t *mask)
{
	const char *word[WORDS_MOST + 1] = { "hutch", "restore", "-d", "--name", name };
	unsigned n = 5;

	if (disks->n + nets->n > (WORDS_MOST - 7) / 2) {
		complain("there are more disks and cards than a machine can have");
		return -1;
	}
	for (unsigned i = 0; i < disks->n; i++) {
		word[n++] = "--disk";
		word[n++] = disks->all[i];
	}
	for (unsigned i = 0; i < nets->n; i++) {
		word[n++] = "--net";
		word[n++] = nets->all[i];
	}
	word[n++] = "--";
	word[n] = snapshot;
	return run_self(word, mask) ? -1 : 0;
}

int snap_guest(const char *snapshot, const struct given *disks, const struct given *nets,
	       int (*fn)(struct hutch *h, void *arg), void *arg)
{
	char name[32];
	const char *const gone[] = { "hutch", "rm", "-f", name, NULL };
	sigset_t wait, before;
	struct hutch *h;
	int r = -1;

	if (globals.root)
		setenv("HUTCH_ROOT", globals.root, 1);
	snprintf(name, sizeof(name), "extract-%d", getpid());
	sigemptyset(&wait);
	sigaddset(&wait, SIGINT);
	sigaddset(&wait, SIGTERM);
	sigaddset(&wait, SIGHUP);
	sigaddset(&wait, SIGQUIT);
	pthread_sigmask(SIG_BLOCK, &wait, &before);
	if (!restore(name, snapshot, disks, nets, &before)) {
		h = sandbox_handle(name);
		if (h)
			r = fn(h, arg);
		hutch_free(h);
		run_self(gone, &before);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}
