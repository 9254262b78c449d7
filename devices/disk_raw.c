/* disk_raw.c - sector n of the disk is sector n of the file */
#include "disk_io.h"

static const enum io_op ops[] = {
	[DISK_READ] = IO_READ, [DISK_WRITE] = IO_WRITE,	  [DISK_FLUSH] = IO_SYNC,
	[DISK_ZERO] = IO_ZERO, [DISK_DISCARD] = IO_PUNCH,
};

static int raw_open(struct disk *d, const struct conf_disk *conf)
{
	disk_look_for_holes(d, &d->file[DISK_BASE], conf);
	return 0;
}

static void raw_done(struct disk_io *io)
{
	struct disk_req *r = container_of(io, struct disk_req, io);
	struct disk *d = io->disk;

	/* O_DSYNC covers writes only */
	if (d->cache == CACHE_WRITETHROUGH && !io->result && r->op >= DISK_DISCARD &&
	    io->op != IO_SYNC) {
		io->op = IO_SYNC;
		io_submit(d, io);
		return;
	}
	/* a promise to forget may be broken */
	if (r->op == DISK_DISCARD && io->result == -EOPNOTSUPP)
		io->result = 0;
	disk_finish(d, r, io->result);
}

static void raw_start(struct disk *d, struct disk_req *r)
{
	if (r->op == DISK_FLUSH && (d->ro || d->cache == CACHE_UNSAFE)) {
		disk_finish(d, r, 0);
		return;
	}
	r->io = (struct disk_io){
		.op = ops[r->op],
		.file = &d->file[DISK_BASE],
		.off = r->off,
		.len = r->len,
		.iov = r->iov,
		.iovs = r->iovs,
		.must_zero = r->op == DISK_ZERO,
		.done = raw_done,
	};
	if (r->op == DISK_ZERO && r->unmap && d->can_punch)
		r->io.op = IO_PUNCH;
	io_submit(d, &r->io);
}

static void raw_close(struct disk *d)
{
	(void)d;
}

const struct disk_format disk_raw = { raw_open, raw_start, raw_close };
