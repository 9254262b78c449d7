/*
 * ask - round trips to the agent of a sandbox that runs: ask VSOCK COUNT
 * exec|info|crowd|clock [COMMAND...]
 *
 * VSOCK is the socket "vsock" in the sandbox's run directory.  Each is a connection of its own, as
 * each `hutch exec` has one: `exec` runs COMMAND (true), `info` makes the agent answer and no more,
 * `crowd` asks all at once: COMMAND, or without one as `info`; `clock` asks what time it is, and
 * prints the least and the most that the guest's clock can be ahead of this host's, in ms, after
 * the quickest answer of all.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hutch.h"

#define LIMIT 30000 /* ms that one may take */

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "ask: %s\n", what);
	exit(1);
}

/* seconds until the command ran (0: there is none), and until it was over */
static void ask(struct hutch *h, const struct hutch_request *x, double *started, double *ended)
{
	double start = now();
	struct hutch_exit end;
	struct hutch_job *job = hutch_ask(h, x);
	int r;

	if (!job)
		die(hutch_error(h));
	*started = 0;
	while ((r = hutch_job_wait(job, LIMIT, -1, &end)) == -EINPROGRESS)
		*started = now() - start;
	*ended = now() - start;
	if (r || end.status)
		die(r			       ? hutch_error(h)
		    : end.how == HUTCH_REFUSED ? end.text
					       : "the command failed");
	hutch_job_free(job);
}

/* all connections are there before one is read; each has its turn, whatever the others wait for */
static void crowd(struct hutch *h, const struct hutch_request *x, int count)
{
	struct hutch_job **job = calloc((size_t)count, sizeof(struct hutch_job *));
	double start = now();
	struct hutch_exit end;
	int left = count, r;

	if (!job)
		die("out of memory");
	for (int i = 0; i < count; i++)
		if (!(job[i] = hutch_ask(h, x)))
			die(hutch_error(h));
	while (left) {
		if (now() - start > LIMIT / 1e3)
			die("not all are answered in time");
		for (int i = 0; i < count; i++) {
			r = job[i] ? hutch_job_wait(job[i], 0, -1, &end) : -ETIMEDOUT;
			if (r == -ETIMEDOUT || r == -EINPROGRESS)
				continue;
			if (r || end.how == HUTCH_REFUSED || end.status)
				die(r ? hutch_error(h) : "one failed");
			hutch_job_free(job[i]);
			job[i] = NULL;
			left--;
		}
	}
	printf("crowd of %d: %.1f ms\n", count, (now() - start) * 1e3);
	free(job);
}

/* the guest looked at its clock while it was being asked: after that began, before it was over */
static void clocks(struct hutch *h, const struct hutch_request *x, int count)
{
	struct timespec from, to;
	struct hutch_exit end;
	int64_t low = 0, high = 0;

	for (int i = 0; i < count; i++) {
		struct hutch_job *job;
		int64_t least, most;

		clock_gettime(CLOCK_REALTIME, &from);
		if (!(job = hutch_ask(h, x)) || hutch_job_wait(job, LIMIT, -1, &end))
			die(hutch_error(h));
		clock_gettime(CLOCK_REALTIME, &to);
		hutch_job_free(job);
		if (!end.time_ns)
			die("the agent does not tell");
		least = (int64_t)end.time_ns - (to.tv_sec * 1000000000LL + to.tv_nsec);
		most = (int64_t)end.time_ns - (from.tv_sec * 1000000000LL + from.tv_nsec);
		if (!i || most - least < high - low)
			low = least, high = most;
	}
	printf("clock x %d: %+.1f to %+.1f ms\n", count, (double)low / 1e6, (double)high / 1e6);
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

int main(int argc, char **argv)
{
	static const char *const just_true[] = { "true", NULL };
	int count = argc > 3 ? atoi(argv[2]) : 0;
	double *started, *ended;
	struct hutch *h = hutch_new();
	struct hutch_request x = { .in = -1, .out = 1, .err = 2, .argv = just_true };

	if (count < 1 || (strcmp(argv[3], "exec") && strcmp(argv[3], "info") &&
			  strcmp(argv[3], "crowd") && strcmp(argv[3], "clock")))
		die("usage: ask VSOCK COUNT exec|info|crowd|clock [COMMAND...]");
	signal(SIGPIPE, SIG_IGN);
	x.what = *argv[3] == 'e' || argc > 4 ? HUTCH_ASK_EXEC : HUTCH_ASK_INFO;
	if (argc > 4)
		x.argv = (const char *const *)argv + 4;
	started = calloc((size_t)count, sizeof(*started));
	ended = calloc((size_t)count, sizeof(*ended));
	if (!h || !started || !ended)
		die("out of memory");
	if (hutch_set(h, "vsock", "") || hutch_set(h, "vsock@0.path", argv[1]))
		die(hutch_error(h));
	if (*argv[3] == 'c') {
		(argv[3][1] == 'r' ? crowd : clocks)(h, &x, count);
		return 0;
	}
	for (int i = 0; i < count; i++)
		ask(h, &x, &started[i], &ended[i]);
	qsort(started, (size_t)count, sizeof(*started), by_size);
	qsort(ended, (size_t)count, sizeof(*ended), by_size);
	printf("%s x %d: p50 %.1f us p99 %.1f us", argv[3], count, ended[count / 2] * 1e6,
	       ended[count * 99 / 100] * 1e6);
	if (x.what == HUTCH_ASK_EXEC)
		printf(", p50 %.1f us until it ran", started[count / 2] * 1e6);
	printf("\n");
	hutch_free(h);
	free(started);
	free(ended);
	return 0;
}
