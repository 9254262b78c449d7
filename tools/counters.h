/*
 * counters.h - what a machine's devices have counted (layer 6)
 *
 * They come as the node "counters" of its tree: a node a device, a property a counter.
 */
#ifndef HUTCH_COUNTERS_H
#define HUTCH_COUNTERS_H

#include <stdint.h>

#define COUNTERS_MAX 256

struct counter {
	char device[32], name[32];
	uint64_t value;
};

struct counters {
	unsigned n;
	struct counter all[COUNTERS_MAX];
};

/* of a tree of so many bytes: none if it is no tree */
void counters_read(struct counters *c, const void *tree, long size);
/* of all devices whose name begins so: "blk" is each disk */
uint64_t counters_sum(const struct counters *c, const char *device, const char *name);

#endif
