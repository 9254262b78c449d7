/* disk_cow_io.h - what the parts of the copy-on-write format share (layer 3) */
#ifndef HUTCH_DISK_COW_IO_H
#define HUTCH_DISK_COW_IO_H

#include "disk_cow.h"
#include "disk_io.h"

#define COW_IOS 8 /* operations of one request at a time */

struct cow;

struct cow_io {
	struct disk_io io;
	struct cow_req *req;
};

/* a request that is more than one operation; those not in use are kept for the next */
struct cow_req {
	/* copied from the base, before and behind the data */
	uint8_t edge[2][COW_CLUSTER] __attribute__((aligned(DISK_PAGE)));
	struct cow *cow;
	struct disk_req *r;
	struct cow_req *next;
	int result;
	unsigned pending;
	uint64_t pos; /* how much of r is dealt with, or begun */
	/* what is being changed; of a write, all of it */
	uint64_t off, len, piece_at;
	uint64_t first, last; /* clusters */
	uint32_t head, tail;
	bool hole, piece; /* piece: data from r at piece_at; else zeroes */
	struct cow_io io[COW_IOS];
	struct iovec edge_iov[2];
	struct iovec iov[DISK_IOVS + COW_IOS];
};

struct cow {
	struct disk *d;
	uint64_t bytes;	  /* of the disk */
	uint64_t map_len; /* of the bitmap, whole pages */
	uint64_t data_at;
	bool kept;		   /* the overlay has a name */
	bool lost;		   /* an fdatasync failed (disk_cow.h, 5) */
	uint8_t *map, *aside;	   /* map_len bytes each */
	uint64_t *dirty, *writing; /* a bit for each page of map */
	bool any_dirty;
	struct cow_req *active, *waiting, **waiting_end, *free;
	/* the flush under way, and the requests that wait for the next */
	struct disk_req *flushing, *flush_next, **flush_next_end;
	uint64_t write_at; /* page of map */
	struct disk_io io[COW_IOS];
	struct iovec iov[COW_IOS];
	unsigned pending;
	int result;
};

static inline bool cow_is_set(const struct cow *c, uint64_t cluster)
{
	return c->map[cluster / 8] >> cluster % 8 & 1;
}

int cow_file_open(struct disk *d, const struct conf_disk *conf) must_check;
/* what was written and not flushed goes to the file too */
void cow_file_close(struct cow *c);
/* finish @r when all that is finished by now is durable */
void cow_flush(struct cow *c, struct disk_req *r);

#endif
