/* restore.h - a snapshot as a person names it, and the machine of one (layer 6) */
#ifndef HUTCH_RESTORE_H
#define HUTCH_RESTORE_H

#include "tool.h"

/* @what is a path if there is a / in it or such a file here, else a name in the store: -1 after a
 * complaint if that makes no path */
int snap_path(const char *what, char *buf, size_t size);
/* the same of one that has to be there */
int snap_find(const char *what, char *buf, size_t size);
/* members of an event: which snapshot it was, and where that is */
#define RESTORE_MEMBERS 2048
void restore_members(const struct hutch_snap *snap, const char *path, char buf[RESTORE_MEMBERS]);
/* hutch_restore() of it, a sandbox's if @box, and the members of the event "execution.restore"; -1
 * after a complaint */
int restore_guest(struct hutch *h, const char *what, bool box, char members[RESTORE_MEMBERS]);

/* its agent is there, and knows what time it is: NULL, or why not */
const char *restore_greet(struct hutch *h);

/* a key of one; -1 after a complaint */
int restore_set(struct hutch *h, const char *key, const char *value);
/*
 * restore_machine() - all that a restore of @what needs but where its devices lead now
 *
 * @name NULL: the one it had; @console NULL: this terminal, unless it is a sandbox, which has
 * how->started then.  -1 after a complaint.
 */
struct attend;
int restore_machine(struct hutch *h, const char *what, const char *name, const char *console,
		    struct attend *how);

#endif
