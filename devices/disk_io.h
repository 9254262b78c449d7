/* disk_io.h - what formats and engines of a disk share; disk.h has the theory (layer 3) */
#ifndef HUTCH_DISK_IO_H
#define HUTCH_DISK_IO_H

#include "disk.h"
#include "log.h"

#define DISK_PAGE 4096

enum { DISK_BASE, DISK_OVERLAY, DISK_FILES };

struct disk_file {
	int fd;		/* -1: there is none */
	int lock;	/* the same file without O_DIRECT; holds the lock, and is in no ring */
	uint32_t align; /* of O_DIRECT; 0 without */
	bool blockdev;
	uint64_t bytes;
	uint64_t mtime_ns;
};

struct io_list {
	struct disk_io *first, **end;
};

static inline void io_list_init(struct io_list *l)
{
	l->first = NULL;
	l->end = &l->first;
}

static inline void io_list_add(struct io_list *l, struct disk_io *io)
{
	io->next = NULL;
	*l->end = io;
	l->end = &io->next;
}

static inline struct disk_io *io_list_take(struct io_list *l)
{
	struct disk_io *io = l->first;

	if (io) {
		l->first = io->next;
		if (!l->first)
			l->end = &l->first;
	}
	return io;
}

struct disk_format {
	int (*open)(struct disk *d, const struct conf_disk *conf);
	void (*start)(struct disk *d, struct disk_req *r);
	void (*close)(struct disk *d);
};

struct disk_engine {
	int (*open)(struct disk *d);  /* -errno without a message */
	bool (*go)(struct disk *d);   /* take what it can from d->queued; false: nothing */
	bool (*reap)(struct disk *d); /* io_complete() each finished one; false: there was none */
	void (*close)(struct disk *d);
};

extern const struct disk_format disk_raw, disk_cow;
extern const struct disk_engine disk_uring, disk_threads;

struct disk {
	struct loop *loop;
	char path[CONF_PATH]; /* for messages */
	uint64_t sectors;
	bool ro, can_punch;
	enum conf_cache cache;
	enum conf_engine engine_id;
	void (*ready)(void *arg);
	void *arg;
	struct disk_file file[DISK_FILES];
	const struct disk_format *format;
	const struct disk_engine *engine;
	void *cow, *host;      /* the format's and the engine's own */
	struct io_list queued; /* for the engine to take */
	unsigned busy;	       /* queued or with the engine */
	bool alone;	       /* the one that is busy bears no other beside it */
	struct io_list held;   /* wait for that one, or are such */
	struct disk_req *finished, **finished_end;
	uint64_t calls;
};

/*
 * disk_file_open() - -errno with a message that begins with "@what @path"
 *
 * @flags: O_RDONLY or O_RDWR, perhaps O_CREAT.  Locked shared if O_RDONLY.
 */
int disk_file_open(struct disk *d, struct disk_file *f, const char *what, const char *path,
		   int flags) must_check;
void disk_file_close(struct disk_file *f);
/* d->can_punch: discard is asked for, and holes can be punched in @f */
void disk_look_for_holes(struct disk *d, const struct disk_file *f, const struct conf_disk *conf);
/* what O_DIRECT wants of @fd, which has it: a power of two */
uint32_t disk_align(int fd);

/* formats: io->done() is called from disk_reap(), never from here */
void io_submit(struct disk *d, struct disk_io *io);
void disk_finish(struct disk *d, struct disk_req *r, int result);
/* engines: */
void io_complete(struct disk *d, struct disk_io *io);
/* which descriptor */
static inline int io_fd(const struct disk_io *io)
{
	return io->plain ? io->file->lock : io->file->fd;
}
/* @n bytes of the transfer are done: true if that is all of it */
bool io_advance(struct disk_io *io, size_t n);
int io_fallocate_mode(enum io_op op);

#endif
