/*
 * teardown - from a machine's end to nothing of it: teardown ROUNDS ROOT [-TERM] COMMAND...
 *
 * COMMAND is a hutch boot or run with ROOT as its --root, alone there.  Its machine ends as soon as
 * the first byte was seen on its stdout: by itself, or with -TERM by a signal that is sent then.
 * Printed are times from then on, until nothing is in ROOT but its lock, and until the process is
 * gone: median and worst; and the least of how much memory was in use.
 */
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS	1000
#define PATIENT 10000 /* ms */

extern char **environ;

static double empty[ROUNDS], gone[ROUNDS];
static long least_kib = -1;

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int is_empty(const char *root)
{
	DIR *d = opendir(root);
	struct dirent *e;
	int n = 0;

	if (!d)
		die(root);
	while ((e = readdir(d)))
		n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..") &&
		     strcmp(e->d_name, ".lock");
	closedir(d);
	return !n;
}

static pid_t start(char **argv, int *ret_out)
{
	posix_spawn_file_actions_t actions;
	int fd[2];
	pid_t pid;

	if (pipe(fd))
		die("pipe");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fd[1], STDOUT_FILENO);
	posix_spawn_file_actions_addclose(&actions, fd[0]);
	posix_spawn_file_actions_addclose(&actions, fd[1]);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", 0, 0);
	if (posix_spawn(&pid, argv[0], &actions, NULL, argv, environ))
		die(argv[0]);
	posix_spawn_file_actions_destroy(&actions);
	close(fd[1]);
	*ret_out = fd[0];
	return pid;
}

static void run(const char *root, int signo, char **argv, int round)
{
	int watch = inotify_init1(IN_CLOEXEC), out, status;
	struct pollfd p = { .fd = watch, .events = POLLIN };
	pid_t pid = start(argv, &out);
	struct rusage use;
	char buf[4096];
	double begin;

	if (read(out, buf, 1) != 1)
		die("it said nothing");
	begin = now_us();
	if (signo)
		kill(pid, signo);
	if (watch < 0 || inotify_add_watch(watch, root, IN_DELETE | IN_MOVE) < 0)
		die(root);
	while (!is_empty(root)) {
		if (poll(&p, 1, PATIENT) != 1 || read(watch, buf, sizeof(buf)) < 0)
			die("it does not go");
	}
	empty[round] = now_us() - begin;
	if (wait4(pid, &status, 0, &use) < 0 ||
	    (signo ? !WIFEXITED(status) || WEXITSTATUS(status) != 128 + signo : status != 0))
		die("it failed");
	gone[round] = now_us() - begin;
	if (least_kib < 0 || use.ru_maxrss < least_kib)
		least_kib = use.ru_maxrss;
	close(out);
	close(watch);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void tell(const char *what, double *us, int rounds)
{
	qsort(us, (size_t)rounds, sizeof(*us), by_value);
	printf("  %-24s median %6.2f ms, worst %6.2f ms\n", what, us[rounds / 2] / 1e3,
	       us[rounds - 1] / 1e3);
}

int main(int argc, char **argv)
{
	int rounds = argc > 3 ? atoi(argv[1]) : 0, signo = 0;

	if (rounds < 1 || rounds > ROUNDS) {
		fprintf(stderr, "usage: teardown ROUNDS ROOT [-TERM] COMMAND...\n");
		return 2;
	}
	if (!strcmp(argv[3], "-TERM"))
		signo = SIGTERM;
	for (int round = 0; round < rounds; round++)
		run(argv[2], signo, argv + 3 + (signo != 0), round);
	tell("the run folder is empty", empty, rounds);
	tell("its process is gone", gone, rounds);
	printf("  %-24s %ld MiB at least\n", "memory in use", least_kib >> 10);
	return 0;
}
