/*
 * disk_threads.c - a few worker threads do what would wait
 *
 * 1. Reads that the page cache can answer are answered by the loop at once
 *    (RWF_NOWAIT); all else goes to the workers, a batch under one lock.
 * 2. Workers start with the first operation that needs them, so a machine whose
 *    disk lies in memory pays for none.
 * 3. An operation is in exactly one place: d->queued, work, a worker's hands,
 *    done, or quick.  The loop is told when done is no longer empty; the eventfd
 *    that tells it is edge-triggered and never read.
 *
 * #syscalls preadv preadv2 pwritev fdatasync fallocate write
 * #syscalls:before eventfd2
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "disk_io.h"

#define WORKERS 4

struct threads {
	struct disk *d;
	struct loop_fd h;
	struct io_list quick; /* done by the loop itself */
	bool no_quick;	      /* the file system cannot say whether it would wait */
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t wake;
	struct io_list work, done;
	bool stop;
	unsigned workers, idle;
	pthread_t worker[WORKERS];
};

/* the whole operation, however the kernel cuts it */
static int transfer(struct disk_io *io)
{
	while (io->iovs) {
		off_t off = (off_t)(io->off + io->moved);
		ssize_t k = io->op == IO_READ ? preadv(io_fd(io), io->iov, (int)io->iovs, off)
					      : pwritev(io_fd(io), io->iov, (int)io->iovs, off);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) /* 0: the file has shrunk under us */
			return k ? -errno : -EIO;
		io_advance(io, (size_t)k);
	}
	return 0;
}

static void serve(struct disk_io *io)
{
	int r;

	switch (io->op) {
	case IO_READ:
	case IO_WRITE:
		io->result = transfer(io);
		return;
	case IO_SYNC:
		r = fdatasync(io_fd(io));
		break;
	default:
		do
			r = fallocate(io_fd(io), io_fallocate_mode(io->op), (off_t)io->off,
				      (off_t)io->len);
		while (r && errno == EINTR);
	}
	io->result = r ? -errno : 0;
}

/* with the lock */
static void give_back(struct threads *t, struct disk_io *io)
{
	bool first = !t->done.first;
	uint64_t one = 1;

	io_list_add(&t->done, io);
	if (first && write(t->h.fd, &one, sizeof(one)) < 0)
		return; /* full: told already */
}

static void *run_worker(void *arg)
{
	struct threads *t = arg;

	pthread_setname_np(pthread_self(), "disk");
	pthread_mutex_lock(&t->lock);
	for (;;) {
		struct disk_io *io = io_list_take(&t->work);

		if (!io && t->stop)
			break;
		if (!io) {
			t->idle++;
			pthread_cond_wait(&t->wake, &t->lock);
			t->idle--;
			continue;
		}
		pthread_mutex_unlock(&t->lock);
		serve(io);
		pthread_mutex_lock(&t->lock);
		give_back(t, io);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

static void add_worker(struct threads *t)
{
	if (!thread_start(&t->worker[t->workers], run_worker, t, 0))
		t->workers++;
}

/* true if @io is done; else what is left of it is for a worker */
static bool try_quick(struct threads *t, struct disk_io *io)
{
	ssize_t k;

	if (io->op != IO_READ || t->no_quick || io->file->align)
		return false;
	t->d->calls++;
	k = preadv2(io_fd(io), io->iov, (int)io->iovs, (off_t)io->off, RWF_NOWAIT);
	if (k < 0 && errno == EOPNOTSUPP)
		t->no_quick = true;
	return k > 0 && io_advance(io, (size_t)k);
}

static unsigned take_quick(struct threads *t, struct disk *d, struct io_list *rest)
{
	bool missed = false; /* what lies beside it is not there either, mostly */
	unsigned n = 0;
	struct disk_io *io;

	while ((io = io_list_take(&d->queued))) {
		if (!missed && try_quick(t, io)) {
			io_list_add(&t->quick, io);
			continue;
		}
		missed |= io->op == IO_READ;
		io_list_add(rest, io);
		n++;
	}
	return n;
}

static bool threads_go(struct disk *d)
{
	struct threads *t = d->host;
	struct io_list rest;
	struct disk_io *io;
	unsigned n;

	io_list_init(&rest);
	n = take_quick(t, d, &rest);
	if (!n)
		return true;
	pthread_mutex_lock(&t->lock);
	for (unsigned have = t->idle; have < n && t->workers < WORKERS; have++) {
		unsigned before = t->workers;

		add_worker(t);
		if (t->workers == before)
			break;
	}
	if (!t->workers) { /* no thread is to be had: slow, but right */
		pthread_mutex_unlock(&t->lock);
		while ((io = io_list_take(&rest))) {
			serve(io);
			io_list_add(&t->quick, io);
		}
		return true;
	}
	*t->work.end = rest.first;
	t->work.end = rest.end;
	for (unsigned i = MIN(n, t->idle); i; i--) {
		d->calls++;
		pthread_cond_signal(&t->wake);
	}
	pthread_mutex_unlock(&t->lock);
	return true;
}

static bool threads_reap(struct disk *d)
{
	struct threads *t = d->host;
	struct disk_io *io, *next;
	bool any = t->quick.first;

	while ((io = io_list_take(&t->quick)))
		io_complete(d, io);
	pthread_mutex_lock(&t->lock);
	io = t->done.first;
	io_list_init(&t->done);
	pthread_mutex_unlock(&t->lock);
	any |= io != NULL;
	for (; io; io = next) {
		next = io->next;
		io_complete(d, io);
	}
	return any;
}

static void on_done(void *arg, uint32_t events)
{
	struct threads *t = arg;

	(void)events;
	t->d->ready(t->d->arg);
}

static void threads_close(struct disk *d)
{
	struct threads *t = d->host;

	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_cond_broadcast(&t->wake);
	pthread_mutex_unlock(&t->lock);
	for (unsigned i = 0; i < t->workers; i++)
		pthread_join(t->worker[i], NULL);
	if (t->h.fd >= 0)
		loop_fd_del(d->loop, &t->h);
	cleanup_close(&t->h.fd);
	pthread_cond_destroy(&t->wake);
	pthread_mutex_destroy(&t->lock);
	free(t);
	d->host = NULL;
}

static int threads_open(struct disk *d)
{
	struct threads *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	d->host = t;
	t->d = d;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->wake, NULL);
	io_list_init(&t->quick);
	io_list_init(&t->work);
	io_list_init(&t->done);
	t->h = (struct loop_fd){ eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), EPOLLIN | EPOLLET, on_done,
				 t };
	r = t->h.fd < 0 ? -errno : loop_fd_add(d->loop, &t->h);
	if (r)
		threads_close(d);
	return r;
}

const struct disk_engine disk_threads = { threads_open, threads_go, threads_reap, threads_close };
