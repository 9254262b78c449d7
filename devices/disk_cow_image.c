/*
 * disk_cow_image.c - all that an overlay holds, out of it and into another
 *
 * It is told as the bytes of a file: at COW_BITMAP the bitmap as it is now, which
 * no file may have, and behind it the clusters under set bits.  All else reads as
 * zero, and so does the header, which is the file's own.
 *
 * #syscalls pread64 pwrite64 lseek fdatasync fallocate
 */
#include <fcntl.h>
#include <unistd.h>

#include "disk_cow_io.h"

static bool is_zero(const uint8_t *p, size_t len)
{
	return !len || (!*p && !memcmp(p, p + 1, len - 1));
}

static uint64_t clusters(const struct cow *c)
{
	return align_up(c->bytes, COW_CLUSTER) / COW_CLUSTER;
}

/* the part of [@at, @at + @len) that lies in [@first, @end): its length, and where it begins */
static size_t part_of(uint64_t at, size_t len, uint64_t first, uint64_t end, uint64_t *ret)
{
	uint64_t to = MIN(at + len, end);

	*ret = MAX(at, first);
	return to > *ret ? to - *ret : 0;
}

static size_t part_of_map(const struct cow *c, uint64_t at, size_t len, uint64_t *ret)
{
	return part_of(at, len, COW_BITMAP, c->data_at, ret);
}

/* a run of clusters with set bits, from file offset *@at on and before @end: its length, 0: none */
static uint64_t next_run(const struct cow *c, uint64_t *at, uint64_t end)
{
	uint64_t n = (*at - c->data_at) / COW_CLUSTER, last = (end - c->data_at) / COW_CLUSTER, to;

	while (n < last && !cow_is_set(c, n))
		n++;
	for (to = n; to < last && cow_is_set(c, to); to++)
		;
	*at = c->data_at + n * COW_CLUSTER;
	return (to - n) * COW_CLUSTER;
}

uint64_t disk_overlay_size(const struct disk *d)
{
	const struct cow *c = d->cow;

	return c ? c->data_at + clusters(c) * COW_CLUSTER : 0;
}

bool disk_overlay_any(const struct disk *d, uint64_t at, size_t len)
{
	const struct cow *c = d->cow;
	uint64_t from, end;
	size_t n = part_of_map(c, at, len, &from);
	off_t data;

	if (n && !is_zero(c->map + from - COW_BITMAP, n))
		return true;
	n = part_of(at, len, c->data_at, disk_overlay_size(d), &from);
	end = from + n;
	if (!n || !next_run(c, &from, end))
		return false;
	data = lseek(d->file[DISK_OVERLAY].lock, (off_t)from, SEEK_DATA);
	return data >= 0 ? (uint64_t)data < end : errno != ENXIO;
}

int disk_overlay_read(const struct disk *d, uint64_t at, void *to, size_t len)
{
	const struct cow *c = d->cow;
	uint64_t from, end, run;
	uint8_t *p = to;
	size_t n = part_of_map(c, at, len, &from);

	memset(p, 0, len);
	if (n)
		memcpy(p + (from - at), c->map + from - COW_BITMAP, n);
	n = part_of(at, len, c->data_at, disk_overlay_size(d), &from);
	end = from + n;
	for (; n && (run = next_run(c, &from, end)); from += run) {
		ssize_t k = pread(d->file[DISK_OVERLAY].lock, p + (from - at), run, (off_t)from);

		if (k != (ssize_t)run)
			return err(k < 0 ? -errno : -EIO, "disk %s: reading its overlay: %s",
				   d->path, k < 0 ? strerror(errno) : "it is cut short");
	}
	return 0;
}

static int failed(const struct disk *d)
{
	return err(-errno, "disk %s: its overlay: %s", d->path, strerror(errno));
}

static int write_all(int fd, const uint8_t *p, size_t len, uint64_t at)
{
	while (len) {
		ssize_t n = pwrite(fd, p, len, (off_t)at);

		if (!n)
			errno = EIO;
		if (n <= 0)
			return -1;
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* each page of the bitmap that has a bit, or zeroes in its place */
static int write_map(struct cow *c, bool zeroes)
{
	static const uint8_t zero[DISK_PAGE];

	for (uint64_t at = 0; at < c->map_len; at += DISK_PAGE)
		if (!is_zero(c->map + at, DISK_PAGE) &&
		    write_all(c->d->file[DISK_OVERLAY].lock, zeroes ? zero : c->map + at, DISK_PAGE,
			      COW_BITMAP + at))
			return -1;
	return 0;
}

/* a file system that punches no holes gets zeroes */
static int drop(int fd, uint64_t from, uint64_t end)
{
	static const uint8_t zero[64U << 10];
	size_t n;

	if (!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
		       (off_t)(end - from)))
		return 0;
	for (; from < end; from += n) {
		off_t data = lseek(fd, (off_t)from, SEEK_DATA);

		if (data < 0 || (uint64_t)data >= end)
			return data < 0 && errno != ENXIO ? -1 : 0;
		from = (uint64_t)data;
		n = MIN(sizeof(zero), end - from);
		if (write_all(fd, zero, n, from))
			return -1;
	}
	return 0;
}

int disk_overlay_clear(struct disk *d)
{
	struct cow *c = d->cow;
	int fd = d->file[DISK_OVERLAY].lock;

	/* no bit may stand for data that is not there any more */
	if (c->kept && (write_map(c, true) || fdatasync(fd)))
		return failed(d);
	if (drop(fd, c->data_at, disk_overlay_size(d)))
		return failed(d);
	for (uint64_t at = 0; at < c->map_len; at += DISK_PAGE)
		if (!is_zero(c->map + at, DISK_PAGE))
			memset(c->map + at, 0, DISK_PAGE);
	memset(c->dirty, 0, (c->map_len / DISK_PAGE + 63) / 64 * sizeof(*c->dirty));
	c->any_dirty = false;
	return 0;
}

bool disk_overlay_is_clear(const struct disk *d)
{
	const struct cow *c = d->cow;

	return is_zero(c->map, c->map_len);
}

int disk_overlay_write(struct disk *d, uint64_t at, const void *data, size_t len)
{
	struct cow *c = d->cow;
	const uint8_t *p = data;
	uint64_t from, end, run;
	size_t n = part_of_map(c, at, len, &from);

	if (!range_fits(at, len, disk_overlay_size(d)))
		return err(-EINVAL, "disk %s: its overlay ends before %lu", d->path,
			   (unsigned long)(at + len));
	if (n)
		memcpy(c->map + from - COW_BITMAP, p + (from - at), n);
	n = part_of(at, len, c->data_at, disk_overlay_size(d), &from);
	end = from + n;
	for (; n && (run = next_run(c, &from, end)); from += run)
		if (!is_zero(p + (from - at), run) &&
		    write_all(d->file[DISK_OVERLAY].lock, p + (from - at), run, from))
			return failed(d);
	return 0;
}

int disk_overlay_filled(struct disk *d)
{
	struct cow *c = d->cow;
	int fd = d->file[DISK_OVERLAY].lock;

	for (uint64_t i = clusters(c); i < c->map_len * 8; i++)
		if (cow_is_set(c, i))
			return err(-EBADMSG, "disk %s: its overlay has data behind the disk's end",
				   d->path);
	/* in the order of disk_cow.h, 4 */
	if (c->kept && (fdatasync(fd) || write_map(c, false) || fdatasync(fd)))
		return failed(d);
	return 0;
}
