/*
 * cmd_snap_extract.c - hutch snap extract: files out of a snapshot
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
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "snap_store.h"
#include "transfer.h"

#define WORDS_MOST 64
#define COPY_MAX   "1G"

enum { FLAG_DISK, FLAG_NET, FLAG_COPY_MAX, FLAGS };

static const struct flag flags[] = {
	[FLAG_DISK] = { .name = "disk",
			.arg = "N=PATH|N,KEY=VALUE...",
			.many = true,
			.help = "disk N is this file, as in `hutch restore`: a copy of one that "
				"another machine has" },
	[FLAG_NET] = { .name = "net",
		       .arg = "N=TAP|N,KEY=VALUE...",
		       .many = true,
		       .help = "card N is on this tap interface, as in `hutch restore`" },
	[FLAG_COPY_MAX] = { .name = "copy-max",
			    .arg = "SIZE",
			    .help = "most that is taken out, as in `hutch cp` [" COPY_MAX "]" },
	{ .name = NULL },
};

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
static int restore(const char *name, const char *snapshot, const struct given *g,
		   const sigset_t *mask)
{
	const char *word[WORDS_MOST + 1] = { "hutch", "restore", "-d", "--name", name };
	unsigned n = 5;

	if (g[FLAG_DISK].n + g[FLAG_NET].n > (WORDS_MOST - 7) / 2) {
		complain("there are more disks and cards than a machine can have");
		return -1;
	}
	for (unsigned i = 0; i < g[FLAG_DISK].n; i++) {
		word[n++] = "--disk";
		word[n++] = g[FLAG_DISK].all[i];
	}
	for (unsigned i = 0; i < g[FLAG_NET].n; i++) {
		word[n++] = "--net";
		word[n++] = g[FLAG_NET].all[i];
	}
	word[n++] = "--";
	word[n] = snapshot;
	return run_self(word, mask) ? -1 : 0;
}

/* all but the last of @path, to the last */
static int copy(struct hutch *h, char *const *path, int n, const struct given *most)
{
	struct transfer t = { .h = h, .what_for = "extract", .wake = -1 };
	int r = 0;

	if (hutch_set(h, "copy-max", most->n ? most->text : COPY_MAX)) {
		complain("%s", hutch_error(h));
		return -1;
	}
	if (transfer_limit(&t))
		return -1;
	for (int i = 0; !r && i < n - 1; i++)
		r = transfer_get(&t, path[i], path[n - 1]);
	return r;
}

static int extract(const char *snapshot, char *const *path, int n, const struct given *g)
{
	char name[32];
	const char *const gone[] = { "hutch", "rm", "-f", name, NULL };
	sigset_t wait, before;
	struct hutch *h;
	int status = EXIT_FAIL;

	snprintf(name, sizeof(name), "extract-%d", getpid());
	sigemptyset(&wait);
	sigaddset(&wait, SIGINT);
	sigaddset(&wait, SIGTERM);
	sigaddset(&wait, SIGHUP);
	sigaddset(&wait, SIGQUIT);
	pthread_sigmask(SIG_BLOCK, &wait, &before);
	if (!restore(name, snapshot, g, &before)) {
		h = sandbox_handle(name);
		if (h && !copy(h, path, n, &g[FLAG_COPY_MAX]))
			status = 0;
		hutch_free(h);
		run_self(gone, &before);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return status;
}

static int run_extract(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { 0 };
	int n = parse_names(argc, argv, verb, given, 3, -1);

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (globals.root)
		setenv("HUTCH_ROOT", globals.root, 1);
	return extract(argv[0], argv + 1, n - 1, given);
}

const struct verb verb_snap_extract = {
	.name = "snap extract",
	.args = "[FLAGS] SNAPSHOT GUEST-PATH... PATH",
	.summary = "copy files out of a snapshot",
	.text = "A machine is restored for that and is gone when it is done; so it needs what\n"
		"`hutch restore` needs, and the snapshot one of a sandbox. What is copied becomes\n"
		"PATH, or goes into it if that is a folder, as `hutch cp` has it.",
	.flags = flags,
	.run = run_extract,
};
