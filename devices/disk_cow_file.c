/*
 * disk_cow_file.c - makes an overlay, opens one as hostile input, and leaves it whole
 *
 * #syscalls pwrite64 fdatasync munmap
 * #syscalls:before openat newfstatat unlink ftruncate fcntl pread64 mmap
 */
#include <endian.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "disk_cow_io.h"

#define READ_STEP (64U << 10)

static uint32_t header_crc(const struct cow_header *h)
{
	return (uint32_t)crc32(0, (const void *)h, offsetof(struct cow_header, crc));
}

static struct cow_header wanted(const struct cow *c)
{
	const struct disk_file *base = &c->d->file[DISK_BASE];
	struct cow_header h = {
		.magic = COW_MAGIC,
		.version = htole32(COW_VERSION),
		.cluster = htole32(COW_CLUSTER),
		.bytes = htole64(c->bytes),
		.base_bytes = htole64(base->bytes),
		/* of a device it is the node's, which says nothing of what is in it */
		.base_mtime_ns = htole64(base->blockdev ? 0 : base->mtime_ns),
		.bitmap_at = htole64(COW_BITMAP),
		.data_at = htole64(c->data_at),
	};

	h.crc = htole32(header_crc(&h));
	return h;
}

static uint64_t whole_size(const struct cow *c)
{
	return c->data_at + align_up(c->bytes, COW_CLUSTER);
}

static int check_header(const struct cow *c, const char *path, const struct cow_header *h)
{
	struct cow_header want = wanted(c);

	if (memcmp(h->magic, want.magic, sizeof(h->magic)))
		return err(-EINVAL,
			   "overlay %s: is not an overlay of hutch; name a file that is not there "
			   "yet, and it is made",
			   path);
	if (le32toh(h->version) != COW_VERSION)
		return err(-ENOTSUP,
			   "overlay %s: has version %u, this hutch knows %d; use a newer one", path,
			   le32toh(h->version), COW_VERSION);
	if (le32toh(h->crc) != header_crc(h))
		return err(-EINVAL, "overlay %s: its header is damaged (checksum %#x, not %#x)",
			   path, le32toh(h->crc), header_crc(h));
	if (h->base_bytes != want.base_bytes)
		return err(-EINVAL,
			   "overlay %s: was made over a base of %lu bytes, %s has %lu; give the "
			   "base it was made over",
			   path, le64toh(h->base_bytes), c->d->path, le64toh(want.base_bytes));
	if (h->base_mtime_ns != want.base_mtime_ns)
		return err(-EINVAL,
			   "overlay %s: %s is not the base it was made over, or was written since: "
			   "modified at %lu.%09lu, not %lu.%09lu; only an unchanged base can be "
			   "used",
			   path, c->d->path, le64toh(want.base_mtime_ns) / 1000000000,
			   le64toh(want.base_mtime_ns) % 1000000000,
			   le64toh(h->base_mtime_ns) / 1000000000,
			   le64toh(h->base_mtime_ns) % 1000000000);
	if (memcmp(h, &want, sizeof(want)))
		return err(-EINVAL, "overlay %s: its header does not fit its base", path);
	if (c->d->file[DISK_OVERLAY].bytes < whole_size(c))
		return err(-EINVAL, "overlay %s: is cut short: it has %lu bytes, %lu are missing",
			   path, c->d->file[DISK_OVERLAY].bytes,
			   whole_size(c) - c->d->file[DISK_OVERLAY].bytes);
	return 0;
}

/* pages that are all zero are not touched, so that the bitmap of a large disk costs what it holds
 */
static int read_map(struct cow *c, const char *path)
{
	cleanup_free uint8_t *buf = malloc(READ_STEP);
	int fd = c->d->file[DISK_OVERLAY].lock;

	if (!buf)
		return err(-ENOMEM, "overlay %s: out of memory", path);
	for (uint64_t at = 0; at < c->map_len; at += READ_STEP) {
		size_t want = MIN(READ_STEP, c->map_len - at);
		ssize_t k = pread(fd, buf, want, (off_t)(COW_BITMAP + at));

		if (k != (ssize_t)want)
			return err(k < 0 ? -errno : -EIO, "overlay %s: reading its bitmap: %s",
				   path, k < 0 ? strerror(errno) : "it is cut short");
		for (size_t i = 0; i < want; i += DISK_PAGE)
			if (buf[i] || memcmp(buf + i, buf + i + 1, DISK_PAGE - 1))
				memcpy(c->map + at + i, buf + i, DISK_PAGE);
	}
	return 0;
}

/* a power cut between the two steps leaves a file without anything in it, which is made again */
static int make(struct cow *c, const char *path)
{
	struct cow_header h = wanted(c);
	int fd = c->d->file[DISK_OVERLAY].lock;

	if (ftruncate(fd, (off_t)whole_size(c)))
		return err(-errno, "overlay %s: %s", path, strerror(errno));
	c->d->file[DISK_OVERLAY].bytes = whole_size(c);
	if (c->d->file[DISK_OVERLAY].align) /* an empty file takes anything */
		c->d->file[DISK_OVERLAY].align = disk_align(c->d->file[DISK_OVERLAY].fd);
	if (c->kept && (pwrite(fd, &h, sizeof(h), 0) != sizeof(h) || fdatasync(fd)))
		return err(-errno, "overlay %s: writing its header: %s", path, strerror(errno));
	return 0;
}

static int open_named(struct cow *c, const char *path)
{
	struct disk *d = c->d;
	struct disk_file *f = &d->file[DISK_OVERLAY];
	struct cow_header h = { 0 };
	const struct cow_header none = { 0 };
	struct stat st;
	ssize_t k;
	int r;

	c->kept = true;
	r = disk_file_open(d, f, "overlay", path, d->ro ? O_RDONLY : O_RDWR | O_CREAT);
	if (r)
		return r;
	k = pread(f->lock, &h, sizeof(h), 0);
	if (k < 0 || fstat(f->lock, &st))
		return err(-errno, "overlay %s: %s", path, strerror(errno));
	if (!d->ro && S_ISREG(st.st_mode) &&
	    (!f->bytes ||
	     (f->bytes == whole_size(c) && !st.st_blocks && !memcmp(&h, &none, sizeof(h)))))
		return make(c, path);
	if (k != sizeof(h))
		return err(-EINVAL,
			   "overlay %s: is not an overlay of hutch: it has only %lu bytes; name a "
			   "file that is not there yet, and it is made",
			   path, f->bytes);
	r = check_header(c, path, &h);
	return r ? r : read_map(c, path);
}

/* gone with the last descriptor, however the process ends */
static int nameless(const char *folder, int flags)
{
	char path[CONF_PATH + 16];
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd;
	/* a file system without O_TMPFILE */
	snprintf(path, sizeof(path), "%s/hutch.XXXXXX", folder);
	fd = mkostemp(path, O_CLOEXEC | flags);
	if (fd >= 0)
		unlink(path);
	return fd;
}

static int open_nameless(struct cow *c)
{
	struct disk *d = c->d;
	struct disk_file *f = &d->file[DISK_OVERLAY];
	const char *folder = getenv("TMPDIR");
	char path[64];

	if (!folder || !*folder)
		folder = "/var/tmp";
	f->lock = nameless(folder, 0);
	if (f->lock < 0)
		return err(-errno,
			   "disk %s: no overlay can be made in %s: %s; set TMPDIR, or name one "
			   "with overlay=PATH",
			   d->path, folder, strerror(errno));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->lock);
	/* nobody will read it again, so nothing has to be durable */
	f->fd = open(path, O_RDWR | O_CLOEXEC | (d->cache == CACHE_DIRECT ? O_DIRECT : 0));
	if (f->fd < 0) /* no O_DIRECT there, or no /proc: through the page cache */
		f->fd = fcntl(f->lock, F_DUPFD_CLOEXEC, 0);
	else if (d->cache == CACHE_DIRECT)
		f->align = disk_align(f->fd);
	if (f->fd < 0)
		return err(-errno, "disk %s: %s", d->path, strerror(errno));
	return make(c, folder);
}

static void *map(uint64_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int make_maps(struct cow *c)
{
	uint64_t clusters = align_up(c->bytes, COW_CLUSTER) / COW_CLUSTER;
	uint64_t words;

	c->map_len = align_up((clusters + 7) / 8, DISK_PAGE);
	words = (c->map_len / DISK_PAGE + 63) / 64;
	c->data_at = COW_BITMAP + c->map_len;
	c->map = map(c->map_len);
	c->aside = map(c->map_len);
	c->dirty = calloc(words, sizeof(*c->dirty));
	c->writing = calloc(words, sizeof(*c->writing));
	if (!c->map || !c->aside || !c->dirty || !c->writing)
		return err(-ENOMEM, "disk %s: no memory for the bitmap of %lu clusters", c->d->path,
			   clusters);
	return 0;
}

int cow_file_open(struct disk *d, const struct conf_disk *conf)
{
	struct cow *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err(-ENOMEM, "disk %s: out of memory", d->path);
	d->cow = c;
	c->d = d;
	c->bytes = d->sectors * DISK_SECTOR;
	c->waiting_end = &c->waiting;
	c->flush_next_end = &c->flush_next;
	r = make_maps(c);
	if (!r)
		r = conf->overlay[0] ? open_named(c, conf->overlay) : open_nameless(c);
	if (r)
		c->lost = true; /* it is not ours to write to */
	else
		disk_look_for_holes(d, &d->file[DISK_OVERLAY], conf);
	return r;
}

/* the loop has ended, so there is nobody to wait but us */
static void write_rest(struct cow *c)
{
	int fd = c->d->file[DISK_OVERLAY].lock;
	bool sync = c->d->cache != CACHE_UNSAFE;

	if (sync && fdatasync(fd))
		goto bad;
	for (uint64_t page = 0; page < c->map_len / DISK_PAGE; page++) {
		uint64_t at = page * DISK_PAGE;

		if (!(c->dirty[page / 64] >> page % 64 & 1))
			continue;
		if (pwrite(fd, c->map + at, DISK_PAGE, (off_t)(COW_BITMAP + at)) != DISK_PAGE)
			goto bad;
	}
	if (sync && fdatasync(fd))
		goto bad;
	return;
bad:
	log_warn("disk %s: what was written since the last flush is lost: its overlay: %s",
		 c->d->path, strerror(errno));
}

void cow_file_close(struct cow *c)
{
	if (c->kept && !c->lost && c->any_dirty)
		write_rest(c);
	if (c->map)
		munmap(c->map, c->map_len);
	if (c->aside)
		munmap(c->aside, c->map_len);
	free(c->dirty);
	free(c->writing);
}
