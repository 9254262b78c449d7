/*
 * spawn - the wall time of short commands, taking turns: spawn ROUNDS COMMAND [, COMMAND]...
 *
 * For each: medians from before the fork to its first byte on stdout, and to
 * its end, and the least of both.
 */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COMMANDS 8
#define ROUNDS	 5000

extern char **environ;

struct command {
	char **argv;
	double first[ROUNDS], whole[ROUNDS];
};

static struct command command[COMMANDS];

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

static void run(struct command *c, int round)
{
	posix_spawn_file_actions_t actions;
	double start = now_us();
	int fd[2], status;
	char buf[256];
	pid_t pid;

	if (pipe(fd))
		die("pipe");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fd[1], STDOUT_FILENO);
	posix_spawn_file_actions_addclose(&actions, fd[0]);
	posix_spawn_file_actions_addclose(&actions, fd[1]);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", 0, 0);
	if (posix_spawn(&pid, c->argv[0], &actions, NULL, c->argv, environ))
		die(c->argv[0]);
	close(fd[1]);
	if (read(fd[0], buf, 1) < 0)
		die("read");
	c->first[round] = now_us() - start;
	while (read(fd[0], buf, sizeof(buf)) > 0)
		;
	if (waitpid(pid, &status, 0) < 0 || status)
		die("it failed");
	c->whole[round] = now_us() - start;
	close(fd[0]);
	posix_spawn_file_actions_destroy(&actions);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[1]) : 0, n = 0;

	if (rounds < 1 || rounds > ROUNDS) {
		fprintf(stderr, "usage: spawn ROUNDS COMMAND [, COMMAND]...\n");
		return 2;
	}
	command[n++].argv = argv + 2;
	for (int i = 2; i < argc; i++) {
		if (strcmp(argv[i], ",") || n == COMMANDS)
			continue;
		argv[i] = NULL;
		command[n++].argv = argv + i + 1;
	}
	for (int round = 0; round < rounds; round++)
		for (int i = 0; i < n; i++)
			run(&command[i], round);
	for (int i = 0; i < n; i++) {
		struct command *c = &command[i];

		qsort(c->first, (size_t)rounds, sizeof(double), by_value);
		qsort(c->whole, (size_t)rounds, sizeof(double), by_value);
		printf("%-28s %6.0f us to its first byte (least %5.0f), %6.0f us to its end (least "
		       "%5.0f), "
		       "ratio %.2f\n",
		       strrchr(c->argv[0], '/') ? strrchr(c->argv[0], '/') + 1 : c->argv[0],
		       c->first[rounds / 2], c->first[0], c->whole[rounds / 2], c->whole[0],
		       c->whole[rounds / 2] / command[0].whole[rounds / 2]);
	}
	return 0;
}
