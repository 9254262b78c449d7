/*
 * disk_io.c - makes each operation one that its file can take
 *
 * 1. O_DIRECT wants offset, length and memory aligned.  Where only memory is
 *    not, the data goes through a buffer that is.
 * 2. Otherwise (a sector of a file whose blocks are larger, or a very long
 *    request in crooked memory) it goes through the page cache.  That is
 *    coherent with O_DIRECT only if nothing else is under way, since a page
 *    that is being filled would overwrite what passes it by.  So such an
 *    operation waits until it is alone, and all after it wait for it.
 * 3. Where a file system can neither punch a hole nor zero a range, zeroes are
 *    written, a buffer at a time.
 */
#include <fcntl.h>
#include <linux/falloc.h>

#include "disk_io.h"

#define BOUNCE_MOST (256U << 10)

/* what O_DIRECT can take as it is; @memory: looks at memory too */
static bool is_straight(const struct disk_io *io, bool memory)
{
	uint64_t odd = io->off | io->len, mask = io->file->align - 1;

	for (unsigned i = 0; memory && i < io->iovs; i++)
		odd |= (uintptr_t)io->iov[i].iov_base | io->iov[i].iov_len;
	return !(odd & mask);
}

static void copy_iov(const struct iovec *iov, unsigned n, char *buf, bool in)
{
	for (; n; buf += iov->iov_len, iov++, n--) {
		if (in)
			memcpy(iov->iov_base, buf, iov->iov_len);
		else
			memcpy(buf, iov->iov_base, iov->iov_len);
	}
}

static bool make_bounce(struct disk_io *io)
{
	if (io->len > BOUNCE_MOST || posix_memalign(&io->bounce, DISK_PAGE, io->len)) {
		io->bounce = NULL;
		return false;
	}
	if (io->op == IO_WRITE)
		copy_iov(io->iov, io->iovs, io->bounce, false);
	io->own_iov = io->iov;
	io->own_iovs = io->iovs;
	io->one = (struct iovec){ io->bounce, io->len };
	io->iov = &io->one;
	io->iovs = 1;
	return true;
}

static void straighten(struct disk_io *io)
{
	io->plain = false;
	if (!io->file->align || io->op > IO_WRITE || is_straight(io, true))
		return;
	/* zeroes lie in a buffer already, so it is not memory that is crooked there */
	if (is_straight(io, false) && !io->bounce && make_bounce(io))
		return;
	io->plain = true;
}

static void enqueue(struct disk *d, struct disk_io *io)
{
	d->busy++;
	d->alone = io->plain;
	io_list_add(&d->queued, io);
}

static void release(struct disk *d)
{
	while (d->held.first && !d->alone && !(d->held.first->plain && d->busy))
		enqueue(d, io_list_take(&d->held));
}

static void put(struct disk *d, struct disk_io *io)
{
	io->moved = 0;
	straighten(io);
	io_list_add(&d->held, io);
	release(d);
}

void io_submit(struct disk *d, struct disk_io *io)
{
	io->disk = d;
	io->bounce = NULL;
	io->zero_end = 0;
	io->result = 0;
	put(d, io);
}

/* the next zeroes, or the first; false when there are no more */
static bool write_zeroes(struct disk *d, struct disk_io *io)
{
	if (!io->zero_end) {
		size_t size = MIN(io->len, BOUNCE_MOST);

		if (posix_memalign(&io->bounce, DISK_PAGE, size)) {
			io->bounce = NULL;
			io->result = -ENOMEM;
			return false;
		}
		memset(io->bounce, 0, size);
		io->zero_end = io->off + io->len;
	} else {
		io->off += io->len;
	}
	io->len = MIN(io->zero_end - io->off, BOUNCE_MOST);
	if (!io->len)
		return false;
	io->op = IO_WRITE;
	io->one = (struct iovec){ io->bounce, io->len };
	io->iov = &io->one;
	io->iovs = 1;
	io->result = 0;
	put(d, io);
	return true;
}

void io_complete(struct disk *d, struct disk_io *io)
{
	/* a block device says EINVAL of what is no whole number of its own blocks */
	bool cannot = io->op >= IO_PUNCH && io->must_zero &&
		      (io->result == -EOPNOTSUPP || (io->result == -EINVAL && io->file->blockdev));

	d->busy--;
	d->alone = false;
	if ((cannot || (io->zero_end && !io->result)) && write_zeroes(d, io))
		return;
	if (io->bounce && !io->zero_end && io->op == IO_READ && !io->result)
		copy_iov(io->own_iov, io->own_iovs, io->bounce, true);
	free(io->bounce);
	io->bounce = NULL;
	release(d);
	io->done(io);
}

bool io_advance(struct disk_io *io, size_t n)
{
	io->moved += n;
	for (; io->iovs && n >= io->iov->iov_len; io->iov++, io->iovs--)
		n -= io->iov->iov_len;
	if (io->iovs) {
		io->iov->iov_base = (char *)io->iov->iov_base + n;
		io->iov->iov_len -= n;
	}
	return !io->iovs;
}

int io_fallocate_mode(enum io_op op)
{
	return FALLOC_FL_KEEP_SIZE | (op == IO_PUNCH ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
}

unsigned disk_slice(const struct iovec *iov, unsigned n, uint64_t off, uint64_t len,
		    struct iovec *to)
{
	unsigned k = 0;

	for (; n && len; iov++, n--) {
		size_t take;

		if (off >= iov->iov_len) {
			off -= iov->iov_len;
			continue;
		}
		take = MIN(iov->iov_len - off, len);
		to[k++] = (struct iovec){ (char *)iov->iov_base + off, take };
		len -= take;
		off = 0;
	}
	return k;
}
