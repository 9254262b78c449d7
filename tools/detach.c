/* detach.c - the two processes of a detached sandbox */
/* #syscalls:caller openat dup2 close write */
/* #syscalls:before pipe2 clone setsid read wait4 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "detach.h"
#include "tool.h"

/* until the machine runs, or did not come into being */
static int wait_for_child(pid_t pid, int ready)
{
	char name[64] = "";
	ssize_t n = read(ready, name, sizeof(name) - 1);
	int status = 0;

	if (n > 0) {
		puts(name);
		return 0;
	}
	if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		return EXIT_HUTCH;
	/* over before it was told that it began */
	return WEXITSTATUS(status);
}

bool detach(int *ready, int *ret)
{
	int pipe_[2];
	pid_t pid;

	if (pipe2(pipe_, O_CLOEXEC)) {
		complain("pipe: %s", strerror(errno));
		*ret = EXIT_HUTCH;
		return true;
	}
	fflush(NULL);
	pid = fork();
	if (!pid) {
		setsid();
		close(pipe_[0]);
		*ready = pipe_[1];
		return false;
	}
	close(pipe_[1]);
	if (pid < 0)
		complain("fork: %s", strerror(errno));
	*ret = pid < 0 ? EXIT_HUTCH : wait_for_child(pid, pipe_[0]);
	return true;
}

void detach_quiet(int *ready, const struct box *box)
{
	int log = openat(box->dir, "log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	close(*ready);
	*ready = -1;
	/* our lines are there already; what else is said on stderr are last words */
	if (!globals.log_file)
		hutch_log_to(-1, globals.log_json);
	if (log >= 0)
		dup2(log, STDERR_FILENO);
	if (null >= 0)
		dup2(null, STDOUT_FILENO);
}

void detach_tell(int *ready, const struct box *box)
{
	if (*ready < 0)
		return;
	if (write(*ready, box->name, strlen(box->name) + 1) < 0)
		caution("the one who started this sandbox has gone");
	detach_quiet(ready, box);
}
