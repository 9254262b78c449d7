/* transfer.h - files into a guest and out of it (layer 6) */
#ifndef HUTCH_TRANSFER_H
#define HUTCH_TRANSFER_H

#include "porter.h"
#include "tool.h"

struct transfer {
	struct hutch *h;
	char what_for[300];    /* in front of complaints: "cp" or "--mount ./src" */
	int wake;	       /* it is given up when this is readable; -1: none */
	uint64_t until_ms;     /* and then, on CLOCK_MONOTONIC; 0: as long as it takes */
	struct porter *porter; /* NULL: a thread of its own does it */
	/* what may come out of the guest, and did in all its transfers: agent/archive.h; 0: no
	 * limit
	 */
	uint64_t most, used;
};

/* @t->most is the key copy_max: -1 after a complaint */
int transfer_limit(struct transfer *t);

/*
 * What is at @from here becomes @to there, and the other way; as cp -a does, see agent/archive.h.
 * 0, or -1 after a complaint; -EFBIG: after one that there is more than may come.
 */
int transfer_put(struct transfer *t, const char *from, const char *to);
int transfer_get(struct transfer *t, const char *from, const char *to);

/* what is at @path in another guest takes its place in this one's, when all of it has come; files
 * that are only here stay */
int transfer_across(struct transfer *t, struct hutch *from, const char *path);

/* a list of what lies below @path in the guest (agent/tree.h), to free(): NULL without a complaint
 */
void *transfer_tree(struct transfer *t, const char *path, size_t *ret_size);

#endif
