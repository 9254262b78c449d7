/*
 * run.h - hutch run in two halves: what is asked for (cmd_run.c), and the run of it (run_box.c)
 * (layer 6)
 *
 * hutch check is the first half alone, or, for code, all of it.
 */
#ifndef HUTCH_RUN_H
#define HUTCH_RUN_H

#include "command_flags.h"
#include "machine.h"
#include "policy.h"
#include "restore.h"
#include "result.h"
#include "retry.h"
#include "warm.h"
#include "work.h"

enum {
	FLAG_DETACH = COMMAND_FLAGS,
	FLAG_KEEP,
	FLAG_PORT,
	FLAG_MOUNT,
	FLAG_RUNTIME,
	FLAG_CODE,
	FLAG_RESULT,
	FLAG_STATUS_FD,
	FLAG_PID_FILE,
	FLAG_CAPTURE,
	FLAG_DETACH_KEYS,
	FLAG_RETRY,
	FLAG_NO_FORWARD,
	FLAG_FROM,
	FLAG_ROLLBACK,
	FLAG_TIMING,
	FLAG_POLICY,
	FLAG_DRY_RUN,
	FLAG_EFFECTIVE,
	FLAGS
};

struct run {
	struct hutch *h;
	const struct given *given;
	char **argv;
	struct box box;
	bool has_box;
	bool checking; /* hutch check */
	struct agent_log agent_log;
	char restored[RESTORE_MEMBERS]; /* of its event; "": it booted */
	int ready; /* -1, or where to tell the one who waits that the command runs */
	struct command c;
	struct env *env;
	struct work *work;
	struct porter *porter; /* NULL: files are carried as anybody can */
	int pid_fd;	       /* of --pid-file */
	bool untold;	       /* --result did not get it */
	struct policy policy;
	struct capture said; /* --capture */
	struct retry retry;
	bool useless; /* the machine could not be made, and could not at another time */
	struct result result;
};

extern const struct flag run_flags[];
/* verb_check stops where the machine would begin, unless there is code to compile */
int run_or_check(int argc, char **argv, const struct verb *verb);
/* each key of @h with its value and who named it, on stdout */
void print_effective(struct hutch *h);

/* a key of the machine's; -1 after a complaint */
int run_set(struct run *r, const char *key, const char *value);
/* --from: what is in that snapshot, and keeps to the policies; not 0 after a complaint */
int run_restore(struct run *r);
/* -p is net@0.forward, of a network that is made for it if there is none; -1 after a complaint */
int run_publish(struct run *r);
/* a limit is being answered: whatever the answer is, it is told; @arg is the run */
void run_violation(void *arg, const struct violation *v);
/* the guest breaks the rules of its devices; @arg is the run */
void run_fault(void *arg, unsigned n);
/* from the registry's entry to its end, and the result told: the exit status; frees the machine */
int run_sandbox(struct run *r);

/* the three parts of that: it enters the registry, it runs, its end is told */
int run_prepare(struct run *r);
int run_once(struct run *r);
int run_finish(struct run *r, int status);
int run_write_pid(struct run *r, const char *path);
/* with -d: nobody reads what we say any more, but `hutch logs` */
void run_quiet(struct run *r);

#endif
