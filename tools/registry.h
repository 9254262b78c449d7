/*
 * registry.h - the sandboxes of a user, without a daemon (layer 6)
 *
 * ROOT is --root DIR, $HUTCH_ROOT, $XDG_RUNTIME_DIR/hutch, or /run/hutch for
 * root and /tmp/hutch-UID for others.  ROOT/NAME is the folder of a sandbox:
 *
 *	lock	 held by flock(2) as long as its process lives; in the end the exit code
 *	state	 struct box as one JSON object, replaced by rename(2): never half of one
 *	ctl	 control socket of the machine      vsock   its way to the agent
 *	log	 our own lines                      console what the guest's console says
 *	agent	 lines of the agent                 audit   lines on limits and what was refused
 *	events	 what happened to it                result  the result, JSON
 *
 * log, agent, audit and events have one JSON object a line; whoever reads them
 * chooses how they look.
 *
 * What holds (rundir.c keeps it):
 * 1. A folder appears whole, and goes at once: it is made and removed under a
 *    hidden name (".new-", ".gone-") and renamed.
 * 2. Its lock is taken before it appears and never again once it was let go:
 *    a lock that is free means a dead process, for good.
 * 3. Who makes or sweeps folders holds ROOT/.lock meanwhile.  The process of a
 *    sandbox needs it only to begin, and readers only to sweep.
 * 4. A dead one whose state is "exited" stays until `hutch rm`; any other is
 *    what a killed process left, and is swept by whoever meets it.
 */
#ifndef HUTCH_REGISTRY_H
#define HUTCH_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "hutch.h"

enum box_status { BOX_STARTING, BOX_RUNNING, BOX_PAUSED, BOX_STOPPING, BOX_EXITED, BOX_STATUSES };
extern const char *const box_status_names[BOX_STATUSES];

struct box {
	char id[33]; /* 32 hexadecimal digits */
	char name[64];
	char correlation_id[129]; /* what its caller knows it by */
	int pid;
	enum box_status status;
	uint64_t created_ms, started_ms, ended_ms; /* of CLOCK_REALTIME, 0 for not yet */
	int exit_code;
	char reason[128]; /* why it ended, as a sentence */
	char command[256];
	bool keep; /* stays as "exited" once it has ended */

	/* not in the file */
	bool alive;
	int root, dir, lock; /* descriptors: of ROOT, of the folder, of its lock */
};

/* --- the process of a sandbox --- */

/*
 * box_make() - enter a sandbox, which is this process, and hold it
 *
 * @box has name ("" for one that is made up), correlation_id ("": its id), command and keep; the
 * rest is filled in.  -errno after a complaint: -EINVAL for a name that is none or too
 * long for a socket in this ROOT, -EEXIST for one that is taken.  The lock
 * survives fork(2): who goes on in a child sets box->pid and writes.
 */
int box_make(struct box *box);
/* tell what is in @box: -errno after a complaint; for what the calls below do not tell */
int box_write(struct box *box);
/* its guest runs; it is paused or resumed; it is about to end. Any thread, each with its event */
void box_started(struct box *box);
void box_paused(struct box *box, bool paused);
void box_stopping(struct box *box);
/* one line of "events": @members is "" or more JSON members, as in ",\"code\":1"; any thread.
 * What is of security is a warning, all else for information */
void box_event(const struct box *box, enum hutch_level level, const char *event,
	       const char *members);
/* one line of a log of its folder, "agent" or "audit"; any thread */
void box_log(const struct box *box, const char *file, enum hutch_level level, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* it has ended, as box->exit_code and box->reason say: kept as exited or removed; @box is closed */
void box_end(struct box *box);

/* --- others --- */

/*
 * box_open() - find a sandbox by its name, or by the beginning of its id
 *
 * 0 and @ret to box_close(), or -ENOENT and others after a complaint.  What a
 * killed one left is swept and not found.
 */
int box_open(const char *word, struct box *ret);
void box_close(struct box *box);
/* read its state again: -ENOENT if it is gone or was swept */
int box_reload(struct box *box);

/* every sandbox, in no order; until @fn returns non-zero, which is returned. -errno after a
 * complaint; sweeps */
int box_each(int (*fn)(struct box *box, void *arg), void *arg);
/* the same, and @swept is told the name of each that was swept */
int box_each_swept(int (*fn)(struct box *box, void *arg), void (*swept)(const char *name),
		   void *arg);

/* what is told of it, as a JSON object; @more is "" or more members, as in ",\"cpu_ms\":1" */
void box_json(FILE *out, const struct box *box, const char *more);

/* its process, proven to be the one that holds the lock: a pidfd, or -ESRCH */
int box_pidfd(const struct box *box);
/* wait for its end, -1: as long as it takes; -ETIMEDOUT. Does not poll */
int box_wait(const struct box *box, int timeout_ms);
/*
 * The exit code and reason it ended with, also of one that is no longer there:
 * -EBUSY while it lives, -ENODATA if it was killed and could not say.
 */
int box_exit_code(const struct box *box, int *ret_code, char *reason, size_t size);
/* kill its process and sweep its folder; @reason is what the end is told as, with exit code 137.
 * -errno after a complaint */
int box_kill(const struct box *box, const char *reason);
/* remove one that has ended: -EBUSY if it lives */
int box_remove(const struct box *box);

/* --- paths --- */

/* ROOT/NAME/FILE, FILE may be "": -ENAMETOOLONG */
int rundir_path(const char *name, const char *file, char *buf, size_t size);

/* --- between the files of the registry --- */

/* record.c: the state file in box->dir. -errno, -EINVAL if it is none */
int record_read(struct box *box);
int record_write(const struct box *box);
/* the exit code in its lock */
void record_exit(const struct box *box, int exit_code, const char *reason);

/*
 * boxes.c: the sandbox of this name: -ENOENT if there is none, or it is just
 * going; -ESTALE if it is dead and not kept; -EINVAL if its state makes no sense
 */
int box_load(int root, const char *name, struct box *ret);
/* remove what is dead, holding ROOT/.lock; true if it was */
bool box_sweep_held(int root, const char *name);
void box_new_id(char id[33]);

/* rundir.c */
int rundir_root(bool make);	    /* a descriptor; -ENOENT: none yet; others after a complaint */
int rundir_hold(int root);	    /* take ROOT/.lock: a descriptor to close, -errno */
bool rundir_held(int lock);	    /* does a process hold the lock? */
int rundir_check(const char *name); /* -EINVAL after a complaint */
/* an own folder under a hidden name, locked: 0 and two descriptors, -errno */
int rundir_begin(int root, const char *id, int *ret_dir, int *ret_lock);
/* let it appear: -EEXIST */
int rundir_appear(int root, const char *id, const char *name);
/* let a folder go, all of it. Only of one that is dead, holding ROOT/.lock, or one's own */
void rundir_remove(int root, const char *name, const char *id);

#endif
