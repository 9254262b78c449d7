/* result.h - how a run went: one JSON object, "hutch.result/1" (layer 6) */
#ifndef HUTCH_RESULT_H
#define HUTCH_RESULT_H

#include "capture.h"
#include "command.h"
#include "policy.h"
#include "registry.h"
#include "retry.h"
#include "work.h"

#define RESULT_PHASES 8

struct result {
	const struct box *box;
	const struct work *work;     /* NULL: nothing was brought */
	const struct policy *policy; /* NULL: it was not looked at */
	const struct capture *said;  /* NULL: it was not asked for */
	const struct retry *retry;   /* tries before this one; NULL: it was not asked for */
	char *file;		     /* --result */
	int file_fd;		     /* it, open from the beginning, or -1 */
	int fd;			     /* of --result fd:N, or -1 */
	int status_fd;
	int status;
	bool rollback; /* --rollback-on-fail */
	/* CLOCK_MONOTONIC, ns; and CLOCK_REALTIME, ms */
	uint64_t begin_ns, machine_ns, started_ns, ended_ns, gone_ns;
	uint64_t begin_ms, end_ms;
	uint64_t try_ns, try_ms; /* this try of --retry began */
	char *text;		 /* the object, once it is known */
	/* for result_timing() */
	struct hutch_exit boot; /* of what was asked first */
	struct hutch_phase phase[RESULT_PHASES];
	uint64_t exec_ns; /* processor time before main() */
};

void result_begin(struct result *r); /* as early as can be */
void result_again(struct result *r); /* a try begins */
/* where it is to go: 0, or an exit status after a complaint */
int result_init(struct result *r, const struct given *file, const struct given *status_fd,
		const struct box *box);
void result_machine(struct result *r); /* the machine runs */
void result_started(struct result *r); /* the command runs */
/* the guest is up: what was asked of it first has ended so */
void result_booted(struct result *r, const struct hutch_exit *e);
/* the command has ended, or never began; the machine is still there */
void result_finish(struct result *r, const struct command *c);
void result_keep(const struct result *r, int dir); /* as the file "result" */
void result_reason(const struct result *r, const struct command *c, char *buf, size_t size);
/* all is gone: to whoever wants to know; frees. -errno, after a complaint, if --result got none */
int result_tell(struct result *r);
void result_timing(const struct result *r);

#endif
