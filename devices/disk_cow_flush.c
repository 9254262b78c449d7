/*
 * disk_cow_flush.c - the order in which an overlay becomes durable; disk_cow.h, 4
 *
 * One flush is under way at a time; requests that come meanwhile share the next.
 */
#include <unistd.h>

#include "disk_cow_io.h"

static void start_flush(struct cow *c);

static void end_flush(struct cow *c)
{
	struct disk_req *r, *next;

	for (r = c->flushing; r; r = next) {
		next = r->next;
		disk_finish(c->d, r, c->result);
	}
	c->flushing = NULL;
	if (c->lost) { /* disk_cow.h, 5: those that wait fail too */
		for (r = c->flush_next; r; r = next) {
			next = r->next;
			disk_finish(c->d, r, -EIO);
		}
		c->flush_next = NULL;
		c->flush_next_end = &c->flush_next;
	}
	if (c->flush_next)
		start_flush(c);
}

static bool take_page(struct cow *c, uint64_t *page)
{
	uint64_t pages = c->map_len / DISK_PAGE;

	for (uint64_t i = *page; i < pages; i++) {
		if (!(i % 64) && !c->writing[i / 64]) {
			i += 63;
			continue;
		}
		if (c->writing[i / 64] >> i % 64 & 1) {
			*page = i;
			return true;
		}
	}
	return false;
}

static void sync_file(struct cow *c, void (*done)(struct disk_io *))
{
	c->io[0] =
		(struct disk_io){ .op = IO_SYNC, .file = &c->d->file[DISK_OVERLAY], .done = done };
	io_submit(c->d, &c->io[0]);
}

/* the pages set aside go back to being changed: the next flush has them again */
static void take_back(struct cow *c)
{
	for (uint64_t i = 0; i < (c->map_len / DISK_PAGE + 63) / 64; i++) {
		c->dirty[i] |= c->writing[i];
		c->any_dirty |= c->writing[i] != 0;
	}
}

/* what was written may not be there */
static void lose(struct cow *c, int result)
{
	c->result = result;
	c->lost = true;
	take_back(c);
}

static void bits_durable(struct disk_io *io)
{
	struct cow *c = io->disk->cow;

	if (io->result)
		lose(c, io->result);
	end_flush(c);
}

static void write_pages(struct cow *c);

static void page_written(struct disk_io *io)
{
	struct cow *c = io->disk->cow;

	if (io->result)
		c->result = io->result;
	if (--c->pending)
		return;
	if (!c->result) {
		write_pages(c);
		return;
	}
	take_back(c);
	end_flush(c);
}

static void write_pages(struct cow *c)
{
	while (c->pending < COW_IOS && take_page(c, &c->write_at)) {
		unsigned k = c->pending++;
		uint64_t at = c->write_at++ * DISK_PAGE;

		c->iov[k] = (struct iovec){ c->aside + at, DISK_PAGE };
		c->io[k] = (struct disk_io){
			.op = IO_WRITE,
			.file = &c->d->file[DISK_OVERLAY],
			.off = COW_BITMAP + at,
			.len = DISK_PAGE,
			.iov = &c->iov[k],
			.iovs = 1,
			.done = page_written,
		};
	}
	for (unsigned k = 0, n = c->pending; k < n; k++)
		io_submit(c->d, &c->io[k]);
	if (!c->pending)
		sync_file(c, bits_durable);
}

static bool any_set_aside(const struct cow *c)
{
	uint64_t page = 0;

	return take_page((struct cow *)(uintptr_t)c, &page);
}

static void data_durable(struct disk_io *io)
{
	struct cow *c = io->disk->cow;

	if (io->result) {
		lose(c, io->result);
	} else if (any_set_aside(c)) {
		c->write_at = 0;
		write_pages(c);
		return;
	}
	end_flush(c);
}

static void set_aside(struct cow *c)
{
	uint64_t words = (c->map_len / DISK_PAGE + 63) / 64, page = 0;

	memset(c->writing, 0, words * sizeof(*c->writing));
	if (!c->any_dirty)
		return;
	memcpy(c->writing, c->dirty, words * sizeof(*c->writing));
	memset(c->dirty, 0, words * sizeof(*c->dirty));
	c->any_dirty = false;
	for (; take_page(c, &page); page++)
		memcpy(c->aside + page * DISK_PAGE, c->map + page * DISK_PAGE, DISK_PAGE);
}

static void start_flush(struct cow *c)
{
	c->flushing = c->flush_next;
	c->flush_next = NULL;
	c->flush_next_end = &c->flush_next;
	c->result = 0;
	set_aside(c);
	sync_file(c, data_durable);
}

void cow_flush(struct cow *c, struct disk_req *r)
{
	if (!c->kept || c->d->ro || c->lost) {
		disk_finish(c->d, r, c->lost ? -EIO : 0);
		return;
	}
	r->next = NULL;
	*c->flush_next_end = r;
	c->flush_next_end = &r->next;
	if (!c->flushing)
		start_flush(c);
}
