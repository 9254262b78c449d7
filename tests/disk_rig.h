/* disk_rig.h - the disk layer by itself, on a loop of its own, one request at a time or many */
#ifndef HUTCH_TEST_DISK_RIG_H
#define HUTCH_TEST_DISK_RIG_H

#include "disk.h"

struct rig {
	struct loop *loop;
	struct disk *d;
	unsigned under_way;
	int last; /* result of the request that was finished last */
};

struct rig_req {
	struct disk_req r;
	struct iovec iov[DISK_IOVS];
};

/* false with err_last() */
bool rig_open(struct rig *g, const struct conf_disk *conf);
void rig_close(struct rig *g);

/* one request from begin to end: its result */
int rig_do(struct rig *g, enum disk_op op, uint64_t off, void *buf, size_t len);
/* queue one only; rig_finish() sees all of them through */
void rig_add(struct rig *g, struct rig_req *q, enum disk_op op, uint64_t off, void *buf,
	     size_t len);
void rig_finish(struct rig *g);

/* as the command line would have it: "PATH,format=cow" */
struct conf_disk rig_conf(const char *path, enum conf_engine engine, enum conf_cache cache);

#endif
