/*
 * disk.c - a raw image behind a few worker threads
 *
 * Workers start with the first request, so a machine that never touches its
 * disk pays for none.  A request is in exactly one place: the queue, a
 * worker's hands, or the done list that the loop empties.
 *
 * #syscalls openat fstat lseek fcntl preadv pwritev fdatasync futex clone3 close
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"
#include "log.h"

#define WORKERS 4

struct disk {
	int fd;
	uint64_t sectors;
	struct loop *loop;
	struct loop_call completed;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t work;
	struct disk_req *queue, **queue_end;
	struct disk_req *done, **done_end;
	bool stop;
	unsigned workers, idle;
	pthread_t worker[WORKERS];
};

/* the whole request, however the kernel cuts it; the caller's iovecs are used up */
static int transfer(int fd, struct disk_req *r)
{
	struct iovec *iov = r->iov;
	unsigned n = r->iovs;
	uint64_t off = r->off;

	while (n) {
		ssize_t k = r->op == DISK_READ ? preadv(fd, iov, (int)n, (off_t)off)
					       : pwritev(fd, iov, (int)n, (off_t)off);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) /* 0: the file has shrunk under us */
			return k ? -errno : -EIO;
		off += (uint64_t)k;
		for (; n && (size_t)k >= iov->iov_len; iov++, n--)
			k -= (ssize_t)iov->iov_len;
		if (n) {
			iov->iov_base = (char *)iov->iov_base + k;
			iov->iov_len -= (size_t)k;
		}
	}
	return 0;
}

static void serve(struct disk *disk, struct disk_req *r)
{
	if (r->op == DISK_FLUSH)
		r->result = fdatasync(disk->fd) ? -errno : 0;
	else
		r->result = transfer(disk->fd, r);
}

/* with the lock */
static void give_back(struct disk *disk, struct disk_req *r)
{
	r->next = NULL;
	*disk->done_end = r;
	disk->done_end = &r->next;
	loop_call(disk->loop, &disk->completed);
}

static void *run_worker(void *arg)
{
	struct disk *disk = arg;

	pthread_setname_np(pthread_self(), "disk");
	pthread_mutex_lock(&disk->lock);
	for (;;) {
		struct disk_req *r = disk->queue;

		if (!r && disk->stop)
			break;
		if (!r) {
			disk->idle++;
			pthread_cond_wait(&disk->work, &disk->lock);
			disk->idle--;
			continue;
		}
		disk->queue = r->next;
		if (!disk->queue)
			disk->queue_end = &disk->queue;
		pthread_mutex_unlock(&disk->lock);
		serve(disk, r);
		pthread_mutex_lock(&disk->lock);
		give_back(disk, r);
	}
	pthread_mutex_unlock(&disk->lock);
	return NULL;
}

static void on_completed(void *arg)
{
	struct disk *disk = arg;
	struct disk_req *r, *next;

	pthread_mutex_lock(&disk->lock);
	r = disk->done;
	disk->done = NULL;
	disk->done_end = &disk->done;
	pthread_mutex_unlock(&disk->lock);
	for (; r; r = next) {
		next = r->next;
		r->done(r);
	}
}

static void add_worker(struct disk *disk)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (!pthread_create(&disk->worker[disk->workers], NULL, run_worker, disk))
		disk->workers++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void disk_submit(struct disk *disk, struct disk_req *r)
{
	pthread_mutex_lock(&disk->lock);
	if (!disk->idle && disk->workers < WORKERS)
		add_worker(disk);
	if (disk->workers) {
		r->next = NULL;
		*disk->queue_end = r;
		disk->queue_end = &r->next;
		pthread_cond_signal(&disk->work);
	} else { /* no thread is to be had: slow, but right */
		serve(disk, r);
		give_back(disk, r);
	}
	pthread_mutex_unlock(&disk->lock);
}

uint64_t disk_sectors(const struct disk *disk)
{
	return disk->sectors;
}

/* one writer or many readers, by all processes; block devices too */
static int lock_file(int fd, const char *path, bool ro)
{
	struct flock lock = { .l_type = ro ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };

	if (!fcntl(fd, F_OFD_SETLK, &lock))
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return err(-EBUSY, "disk %s: is in use by another machine%s", path,
			   ro ? " that may write it"
			      : "; stop that one, or give the disk as ro to both");
	return 0; /* a file system without locks: the user's own care */
}

static int open_image(struct disk *disk, const char *path, bool ro)
{
	struct stat st;
	off_t end;

	/* O_NONBLOCK: a FIFO is to be refused below, not waited for */
	disk->fd = open(path, (ro ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (disk->fd < 0 && errno == EISDIR)
		return err(-EISDIR, "disk %s: is a folder; a raw image or a block device is needed",
			   path);
	if (disk->fd < 0 && (errno == EACCES || errno == EROFS) && !ro)
		return err(-errno,
			   "disk %s: cannot be opened for writing: %s; add ,ro to only read it",
			   path, strerror(errno));
	if (disk->fd < 0)
		return err(-errno, "disk %s: %s", path, strerror(errno));
	if (fstat(disk->fd, &st) || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)))
		return err(-EINVAL, "disk %s: is neither a file nor a block device", path);
	end = lseek(disk->fd, 0, SEEK_END);
	if (end < DISK_SECTOR)
		return err(-EINVAL, "disk %s: has %ld bytes, less than one sector of 512", path,
			   (long)end);
	if (end % DISK_SECTOR)
		log_warn("disk %s: its last %ld bytes are no whole sector and are left out", path,
			 (long)(end % DISK_SECTOR));
	disk->sectors = (uint64_t)end / DISK_SECTOR;
	return lock_file(disk->fd, path, ro);
}

struct disk *disk_open(struct loop *loop, const char *path, bool ro)
{
	struct disk *disk = calloc(1, sizeof(*disk));

	if (!disk) {
		err(-ENOMEM, "disk %s: out of memory", path);
		return NULL;
	}
	disk->loop = loop;
	disk->completed = (struct loop_call){ .fn = on_completed, .arg = disk };
	disk->queue_end = &disk->queue;
	disk->done_end = &disk->done;
	pthread_mutex_init(&disk->lock, NULL);
	pthread_cond_init(&disk->work, NULL);
	if (open_image(disk, path, ro)) {
		disk_close(disk);
		return NULL;
	}
	return disk;
}

void disk_close(struct disk *disk)
{
	if (!disk)
		return;
	pthread_mutex_lock(&disk->lock);
	BUG_ON(disk->queue || disk->done);
	disk->stop = true;
	pthread_cond_broadcast(&disk->work);
	pthread_mutex_unlock(&disk->lock);
	for (unsigned i = 0; i < disk->workers; i++)
		pthread_join(disk->worker[i], NULL);
	loop_call_cancel(disk->loop, &disk->completed);
	cleanup_close(&disk->fd);
	pthread_cond_destroy(&disk->work);
	pthread_mutex_destroy(&disk->lock);
	free(disk);
}
