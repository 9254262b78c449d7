/* transfer.h - files into a guest and out of it (layer 6) */
#ifndef HUTCH_TRANSFER_H
#define HUTCH_TRANSFER_H

#include "tool.h"

/* what may come out of a guest; @used goes on from one transfer to the next */
struct transfer_limit {
	uint64_t most, used; /* as in agent/archive.h; 0: no limit */
};

/* the key copy_max of @h */
int transfer_limit(struct hutch *h, struct transfer_limit *ret); /* -1 after a complaint */

/*
 * What is at @from here becomes @to there, and the other way; as cp -a does, see agent/archive.h.
 * 0, or -1 after a complaint.  @what_for stands in front of it, "cp" or "--mount ./src".
 * It is given up when @wake is readable (-1: none).  -EFBIG, after a complaint: more than @limit.
 */
int transfer_put(struct hutch *h, const char *what_for, const char *from, const char *to, int wake);
int transfer_get(struct hutch *h, const char *what_for, const char *from, const char *to,
		 struct transfer_limit *limit, int wake);

/* a list of what lies below @path in the guest (agent/tree.h), to free(): NULL without a complaint
 */
void *transfer_tree(struct hutch *h, const char *path, size_t *ret_size, int wake);

#endif
