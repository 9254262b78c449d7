/*
 * disk.c - opens an image, and puts format and engine together
 *
 * #syscalls:before openat newfstatat lseek fcntl fallocate
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk_io.h"

void disk_submit(struct disk *d, struct disk_req *r)
{
	r->result = 0;
	d->format->start(d, r);
}

void disk_go(struct disk *d)
{
	if (d->queued.first)
		d->engine->go(d);
}

void disk_finish(struct disk *d, struct disk_req *r, int result)
{
	r->result = result;
	r->next = NULL;
	*d->finished_end = r;
	d->finished_end = &r->next;
}

struct disk_req *disk_reap(struct disk *d)
{
	struct disk_req *r;

	/* a request may take several operations, each of which may end at once */
	while (!(r = d->finished)) {
		bool any = d->engine->reap(d);

		if (d->finished)
			continue;
		if (d->queued.first)
			any |= d->engine->go(d);
		if (!any)
			return NULL;
	}
	d->finished = r->next;
	if (!d->finished)
		d->finished_end = &d->finished;
	return r;
}

uint64_t disk_sectors(const struct disk *d)
{
	return d->sectors;
}

enum conf_engine disk_engine(const struct disk *d)
{
	return d->engine_id;
}

bool disk_can_discard(const struct disk *d)
{
	return d->can_punch;
}

bool disk_is_ro(const struct disk *d)
{
	return d->ro;
}

uint64_t disk_calls(const struct disk *d)
{
	return d->calls;
}

/* one writer or many readers, by all processes; block devices too */
static int lock_file(int fd, const char *what, const char *path, bool ro)
{
	struct flock lock = { .l_type = ro ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };

	if (!fcntl(fd, F_OFD_SETLK, &lock))
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return err(-EBUSY, "%s %s: is in use by another machine%s", what, path,
			   ro ? " that may write it"
			      : "; stop that one, or give the disk as ro to both");
	return 0; /* a file system without locks: the user's own care */
}

void disk_look_for_holes(struct disk *d, const struct disk_file *f, const struct conf_disk *conf)
{
	off_t end = (off_t)align_up(f->bytes, DISK_PAGE);

	if (!conf->discard || d->ro)
		return;
	/* behind the end there is nothing to lose; a device refuses that for another reason */
	d->can_punch =
		!fallocate(f->lock, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, end, DISK_PAGE) ||
		(errno != EOPNOTSUPP && errno != ENOSYS);
	if (!d->can_punch)
		log_warn("disk %s: its file system cannot give space back; discard is left out",
			 conf->path);
}

static int open_first(struct disk_file *f, const char *what, const char *path, int flags)
{
	/* O_NONBLOCK: a FIFO is to be refused below, not waited for */
	f->lock = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
	if (f->lock >= 0)
		return 0;
	if (errno == EISDIR)
		return err(-EISDIR, "%s %s: is a folder; a raw image or a block device is needed",
			   what, path);
	if ((errno == EACCES || errno == EROFS) && flags & O_RDWR)
		return err(-errno,
			   "%s %s: cannot be opened for writing: %s; add ,ro to only read it", what,
			   path, strerror(errno));
	return err(-errno, "%s %s: %s", what, path, strerror(errno));
}

/* the descriptor that data goes through: of the same file, and it may wait */
static int open_second(struct disk *d, struct disk_file *f, const char *what, const char *path,
		       int flags, const struct stat *st)
{
	struct stat again;

	flags &= ~(O_CREAT | O_EXCL);
	if (d->cache == CACHE_DIRECT)
		flags |= O_DIRECT;
	if (d->cache == CACHE_WRITETHROUGH)
		flags |= O_DSYNC;
	f->fd = open(path, flags | O_CLOEXEC | O_NOCTTY);
	if (f->fd < 0 && errno == EINVAL && flags & O_DIRECT)
		return err(-EINVAL,
			   "%s %s: its file system has no O_DIRECT; use cache=writeback instead of "
			   "cache=direct",
			   what, path);
	if (f->fd < 0)
		return err(-errno, "%s %s: %s", what, path, strerror(errno));
	if (fstat(f->fd, &again) || again.st_dev != st->st_dev || again.st_ino != st->st_ino)
		return err(-ESTALE, "%s %s: was replaced while it was opened; try again", what,
			   path);
	if (flags & O_DIRECT)
		f->align = disk_align(f->fd);
	return 0;
}

int disk_file_open(struct disk *d, struct disk_file *f, const char *what, const char *path,
		   int flags)
{
	struct stat st;
	off_t end;
	int r = open_first(f, what, path, flags);

	if (r)
		return r;
	if (fstat(f->lock, &st) || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)))
		return err(-EINVAL, "%s %s: is neither a file nor a block device", what, path);
	r = lock_file(f->lock, what, path, !(flags & O_RDWR));
	if (r)
		return r;
	if (fstat(f->lock, &st)) /* only now: what the machine that had it before left */
		return err(-errno, "%s %s: %s", what, path, strerror(errno));
	f->blockdev = S_ISBLK(st.st_mode);
	f->mtime_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec;
	end = lseek(f->lock, 0, SEEK_END);
	if (end < 0)
		return err(-errno, "%s %s: %s", what, path, strerror(errno));
	f->bytes = (uint64_t)end;
	return open_second(d, f, what, path, flags, &st);
}

void disk_file_close(struct disk_file *f)
{
	cleanup_close(&f->fd);
	cleanup_close(&f->lock);
}

static int open_image(struct disk *d, const struct conf_disk *conf, bool ro)
{
	struct disk_file *f = &d->file[DISK_BASE];
	int r = disk_file_open(d, f, "disk", conf->path, ro ? O_RDONLY : O_RDWR);

	if (r)
		return r;
	if (f->bytes < DISK_SECTOR)
		return err(-EINVAL, "disk %s: has %lu bytes, less than one sector of 512",
			   conf->path, f->bytes);
	if (f->bytes % DISK_SECTOR)
		log_warn("disk %s: its last %lu bytes are no whole sector and are left out",
			 conf->path, f->bytes % DISK_SECTOR);
	d->sectors = f->bytes / DISK_SECTOR;
	return 0;
}

static const char *why_refused(int error)
{
	switch (error) {
	case ENOSYS:
		return "this kernel has none";
	case EPERM:
	case EACCES:
		return "see sysctl kernel.io_uring_disabled, and a container's seccomp filter";
	case ENOMEM:
		return "raise the limit of locked memory (ulimit -l)";
	case EMFILE:
		return "raise the limit of open files (ulimit -n)";
	default:
		return "a newer kernel may help";
	}
}

static int open_engine(struct disk *d, enum conf_engine want)
{
	int r;

	if (want != ENGINE_THREADS) {
		d->engine = &disk_uring;
		d->engine_id = ENGINE_URING;
		r = d->engine->open(d);
		if (!r)
			return 0;
		if (want == ENGINE_URING)
			return err(r,
				   "disk %s: engine=uring: io_uring is refused: %s (%s); or use "
				   "engine=auto",
				   d->path, strerror(-r), why_refused(-r));
		log_info("disk %s: io_uring is refused: %s; worker threads do its work", d->path,
			 strerror(-r));
	}
	d->engine = &disk_threads;
	d->engine_id = ENGINE_THREADS;
	r = d->engine->open(d);
	return r ? err(r, "disk %s: %s", d->path, strerror(-r)) : 0;
}

static int open_all(struct disk *d, const struct conf_disk *conf)
{
	bool cow = conf->format == FORMAT_COW || conf->overlay[0];
	int r = open_image(d, conf, d->ro || cow);

	if (r)
		return r;
	d->format = cow ? &disk_cow : &disk_raw;
	r = d->format->open(d, conf);
	return r ? r : open_engine(d, conf->engine);
}

struct disk *disk_open(struct loop *loop, const struct conf_disk *conf, void (*ready)(void *arg),
		       void *arg)
{
	struct disk *d = calloc(1, sizeof(*d));

	if (!d) {
		err(-ENOMEM, "disk %s: out of memory", conf->path);
		return NULL;
	}
	d->loop = loop;
	d->ready = ready;
	d->arg = arg;
	d->ro = conf->ro;
	d->cache = conf->cache;
	memcpy(d->path, conf->path, sizeof(d->path));
	io_list_init(&d->queued);
	io_list_init(&d->held);
	d->finished_end = &d->finished;
	for (unsigned i = 0; i < DISK_FILES; i++)
		d->file[i].fd = d->file[i].lock = -1;
	if (open_all(d, conf)) {
		disk_close(d);
		return NULL;
	}
	return d;
}

void disk_close(struct disk *d)
{
	if (!d)
		return;
	BUG_ON(d->busy || d->held.first || d->finished);
	if (d->host)
		d->engine->close(d);
	if (d->format)
		d->format->close(d);
	for (unsigned i = 0; i < DISK_FILES; i++)
		disk_file_close(&d->file[i]);
	free(d);
}
