/* retry.h - run --retry: the whole sandbox again, when hutch or the machine failed (layer 6) */
#ifndef HUTCH_RETRY_H
#define HUTCH_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#define RETRY_MAX 100

/* a try that failed, and was not the last */
struct attempt {
	char code[16];		   /* E_... */
	char text[256];		   /* why, as a sentence */
	uint64_t begin_ms, end_ms; /* of CLOCK_REALTIME */
};

struct retry {
	unsigned most;	   /* tries after the first */
	uint64_t delay_ms; /* before each of them */
	unsigned failed;
	struct attempt attempt[RETRY_MAX];
	int report;   /* of one try: where it tells its parent how it goes, or -1 */
	bool started; /* a command has begun in one of the tries */
};

struct run;

/* "3", "3,delay=500ms": -EINVAL after a complaint */
int retry_parse(const char *text, struct retry *ret);

/* run_sandbox() with tries: the exit status */
int retry_run(struct run *r);
/* in a try: the command runs */
void retry_started(struct run *r);

#endif
