/*
 * disk.h - a disk image on the host, read and written without blocking the loop (layer 3)
 *
 * 1. disk_submit() only queues.  disk_go() hands all that is queued to the host,
 *    in one system call where the host has io_uring.  disk_reap() takes what is
 *    finished, one by one until NULL; what the page cache held is finished when
 *    disk_go() returns, so reap after it.  For the rest ready() is called, on the
 *    loop.
 * 2. A disk is a format over an engine.  A format (disk_raw.c, disk_cow.c) turns
 *    a request into operations on files; an engine (disk_uring.c,
 *    disk_threads.c) has the host do operations.  Between them disk_io.c makes
 *    each operation one that the file can take: O_DIRECT's alignment, zeroes on
 *    a file system that cannot punch holes.
 * 3. Formats and disk_io.c run on the loop only and so need no locks; only what
 *    an engine hands to other threads does.
 * 4. Nothing maps an image: one that shrinks is -EIO, never SIGBUS.
 * 5. The lock that keeps other machines away lies on a descriptor that no ring
 *    knows of, because a ring lets go of its files only some time after a kill.
 */
#ifndef HUTCH_DISK_H
#define HUTCH_DISK_H

#include <sys/uio.h>

#include "conf.h"
#include "loop.h"

#define DISK_SECTOR 512
#define DISK_IOVS   132 /* pieces of a request */

enum disk_op {
	DISK_READ,
	DISK_WRITE,
	DISK_FLUSH,
	DISK_DISCARD, /* contents do not matter any more */
	DISK_ZERO,    /* reads as zeroes from now on */
};

enum io_op { IO_READ, IO_WRITE, IO_SYNC, IO_PUNCH, IO_ZERO };

/* one operation on one file; the disk's own business */
struct disk_io {
	enum io_op op;
	bool must_zero; /* IO_PUNCH, IO_ZERO: written as zeroes if the file can do neither */
	bool plain;	/* past O_DIRECT */
	struct disk *disk;
	struct disk_file *file;
	uint64_t off, len, moved; /* moved: bytes that are through */
	struct iovec *iov;	  /* used up */
	unsigned iovs;
	int result;
	void (*done)(struct disk_io *io);
	struct disk_io *next;
	/* disk_io.c: memory in place of the caller's */
	void *bounce;
	struct iovec one, *own_iov;
	unsigned own_iovs;
	uint64_t zero_end; /* zeroes are being written up to here */
};

struct disk_req {
	enum disk_op op;
	bool unmap; /* DISK_ZERO: space may be given back */
	uint64_t off, len;
	struct iovec *iov; /* stays until reaped; may be used up */
	unsigned iovs;
	int result; /* 0 or -errno; a short file is -EIO */
	struct disk_req *next;
	struct disk_io io; /* the disk's own */
};

struct disk;

/*
 * disk_open() - NULL with a message: not there, no permission, a folder, in use
 * by another machine (one writer, or any number of readers), an overlay that is
 * none or belongs to another base, or an engine that the host refuses
 *
 * @ready(@arg) is called on the loop when there may be something to reap.
 */
struct disk *disk_open(struct loop *loop, const struct conf_disk *conf, void (*ready)(void *arg),
		       void *arg);
void disk_close(struct disk *disk); /* nothing in flight */

uint64_t disk_sectors(const struct disk *disk);
enum conf_engine disk_engine(const struct disk *disk); /* never ENGINE_AUTO */
bool disk_can_discard(const struct disk *disk);	       /* asked for, and the host can */
bool disk_is_ro(const struct disk *disk);
/* system calls of the loop's thread for requests so far */
uint64_t disk_calls(const struct disk *disk);

void disk_submit(struct disk *disk, struct disk_req *r);
void disk_go(struct disk *disk);
struct disk_req *disk_reap(struct disk *disk); /* NULL: nothing for now */

/*
 * An overlay as bytes, for snapshots; disk_cow_image.c has what they are.  On the loop, with
 * nothing in flight.
 *
 * Into another: it is clear, or disk_overlay_clear() makes it so; disk_overlay_write() from the
 * first byte on, where it is not all zeroes; disk_overlay_filled().  -errno with a message; then
 * what is in it is nothing that a guest should see.
 */
uint64_t disk_overlay_size(const struct disk *disk); /* 0: the disk has none */
/* may there be anything but zeroes? */
bool disk_overlay_any(const struct disk *disk, uint64_t at, size_t len);
/* any thread, while nothing else is done with the disk */
int disk_overlay_read(const struct disk *disk, uint64_t at, void *to, size_t len) must_check;
bool disk_overlay_is_clear(const struct disk *disk);
int disk_overlay_clear(struct disk *disk) must_check;
int disk_overlay_write(struct disk *disk, uint64_t at, const void *data, size_t len) must_check;
int disk_overlay_filled(struct disk *disk) must_check;

/* @len bytes of iov[] from @off on, into @to: pieces */
unsigned disk_slice(const struct iovec *iov, unsigned n, uint64_t off, uint64_t len,
		    struct iovec *to);

#endif
