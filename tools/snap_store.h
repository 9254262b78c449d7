/* snap_store.h - the snapshots of a folder, and which needs which (layer 6) */
#ifndef HUTCH_SNAP_STORE_H
#define HUTCH_SNAP_STORE_H

#include "tool.h"

struct snap_listed {
	char name[256]; /* of the file, without ".snap" */
	struct hutch_snap snap;
	bool goes; /* it is to be removed */
};

struct snap_list {
	struct snap_listed *at; /* to free(), the oldest first */
	unsigned n;
	bool unknown; /* there is one that could not be read, whose parent may be any */
};

/* those in @folder that are ones; the others are told of.  A folder that is not there has none */
void snap_store_read(const char *folder, struct hutch *h, struct snap_list *ret);

/* --- cmd_snap_prune.c --- */

int snap_take_keep(const char *text, uint64_t *ret); /* of --keep: -1 after a complaint */
/* the last @n of @machine stay in the store: the exit status */
int snap_keep_last(const char *machine, uint64_t n);

/* of the verb snap, in cmd_snap_prune.c, cmd_snap_diff.c and cmd_snap_extract.c */
extern const struct verb verb_snap_prune, verb_snap_rm, verb_snap_diff, verb_snap_extract;

#endif
