/* snap_diff.h - what is different in two snapshots (layer 4) */
#ifndef HUTCH_SNAP_DIFF_H
#define HUTCH_SNAP_DIFF_H

#include "conf.h"
#include "snap_file.h"

/* who is told: hutch_snap_diff() has what of */
struct snap_diff {
	void (*fn)(void *arg, const char *where, const char *a, const char *b);
	void *arg;
};

void snap_diff_conf(const struct snap_diff *d, const struct conf *a, const struct conf *b);
void snap_diff_state(const struct snap_diff *d, const struct snap_file *a,
		     const struct snap_file *b);
/* chunks: all, and that differ; and bytes in those */
struct snap_diff_part {
	uint64_t chunks, differ, bytes;
};
struct snap_diff_data {
	struct snap_diff_part memory, disk[CONF_DISKS];
};
/* memory, if both are of a machine with as much as @memory has (NULL: they are not), and disks;
 * -EBADMSG, -errno */
int snap_diff_data(const struct snap_file *a, const struct snap_file *b, const struct conf *memory,
		   struct snap_diff_data *ret) must_check;

#endif
