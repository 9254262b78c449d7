/*
 * disk.h - a disk image on the host, read and written without blocking the loop (layer 3)
 *
 * disk_submit() returns at once; done() always runs on the loop, later.
 */
#ifndef HUTCH_DISK_H
#define HUTCH_DISK_H

#include <sys/uio.h>

#include "loop.h"

#define DISK_SECTOR 512

enum disk_op { DISK_READ, DISK_WRITE, DISK_FLUSH };

struct disk_req {
	enum disk_op op;
	uint64_t off;
	struct iovec *iov; /* must stay until done() */
	unsigned iovs;
	uint64_t len; /* of all pieces */
	int result;   /* 0 or -errno; a short file is -EIO */
	void (*done)(struct disk_req *r);
	struct disk_req *next;
};

struct disk;

/*
 * disk_open() - NULL with a message: not there, no permission, a folder, or in
 * use by another machine (one writer, or any number of readers)
 */
struct disk *disk_open(struct loop *loop, const char *path, bool ro);
void disk_close(struct disk *disk); /* nothing in flight */

uint64_t disk_sectors(const struct disk *disk);
void disk_submit(struct disk *disk, struct disk_req *r);

#endif
