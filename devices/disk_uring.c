/*
 * disk_uring.c - one io_uring for each disk
 *
 * 1. A batch is one io_uring_enter().  What the page cache holds is complete when
 *    that returns, and is reaped without another call.
 * 2. For the rest an eventfd tells the loop: edge-triggered, never read, and
 *    switched off while the loop is inside io_uring_enter(), so that what was
 *    done inside does not wake it once more.  After switching on again the loop
 *    looks at the ring, because something may have come between.
 * 3. No more is in flight than the completion ring holds, so none overflows.
 * 4. What the kernel cuts short goes in again with the rest, as with threads.
 *    Descriptors are registered, but for the one that holds the lock (disk.h, 5).
 *
 * 5. A ring is a way to do almost anything past the jail's filter of system calls
 *    (vmm/sandbox.c).  So it starts disabled, and is told for good what it may do
 *    before it is enabled.
 *
 * By hand, because it takes fewer lines than liburing has functions, and adds
 * no package.
 *
 * #syscalls io_uring_enter io_uring_register:IORING_UNREGISTER_FILES munmap
 * #syscalls:before io_uring_setup mmap eventfd2
 */
#include <linux/io_uring.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "disk_io.h"

#define ENTRIES	 256
#define RETRY_NS 1000000
#define LEN_MOST (1U << 30) /* of one operation: its length has 32 bits */

struct uring {
	struct disk *d;
	struct loop_fd h;	 /* the eventfd */
	struct loop_timer retry; /* the kernel had no memory for what was submitted */
	int fd;
	unsigned inflight, entries, cq_entries;
	uint32_t *sq_head, *sq_tail, *cq_head, *cq_tail, *cq_flags;
	uint32_t tail; /* ours; *sq_tail once all is filled in */
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	void *ring;
	size_t ring_size;
};

static void fill(struct uring *u, struct disk_io *io)
{
	struct io_uring_sqe *e = &u->sqe[u->tail & (u->entries - 1)];
	bool registered = !io->plain;

	*e = (struct io_uring_sqe){
		.fd = registered ? (int)(io->file - u->d->file) : io_fd(io),
		.flags = registered ? IOSQE_FIXED_FILE : 0,
		.off = io->off + io->moved,
		.user_data = (uintptr_t)io,
	};
	switch (io->op) {
	case IO_READ:
	case IO_WRITE:
		e->addr = (uintptr_t)io->iov;
		e->len = io->iovs;
		e->opcode = io->op == IO_READ ? IORING_OP_READV : IORING_OP_WRITEV;
		if (io->iovs != 1)
			break;
		e->addr = (uintptr_t)io->iov->iov_base;
		e->len = (uint32_t)MIN(io->iov->iov_len, LEN_MOST);
		e->opcode = io->op == IO_READ ? IORING_OP_READ : IORING_OP_WRITE;
		break;
	case IO_SYNC:
		e->opcode = IORING_OP_FSYNC;
		e->off = 0;
		e->fsync_flags = IORING_FSYNC_DATASYNC;
		break;
	default:
		e->opcode = IORING_OP_FALLOCATE;
		e->addr = io->len;
		e->len = (uint32_t)io_fallocate_mode(io->op);
	}
	u->tail++;
	u->inflight++;
}

/* one call; false when the kernel takes no more for now */
static bool enter(struct uring *u, unsigned n)
{
	long k;

	__atomic_store_n(u->sq_tail, u->tail, __ATOMIC_RELEASE);
	__atomic_store_n(u->cq_flags, IORING_CQ_EVENTFD_DISABLED, __ATOMIC_RELAXED);
	do {
		u->d->calls++;
		k = syscall(SYS_io_uring_enter, u->fd, n, 0, 0, NULL, 0);
	} while (k < 0 && errno == EINTR);
	__atomic_store_n(u->cq_flags, 0, __ATOMIC_RELAXED);
	/* before the look at the ring that follows */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return k == (long)n;
}

static bool uring_go(struct disk *d)
{
	struct uring *u = d->host;
	bool taken = true, any = false;

	while (taken) {
		uint32_t head = __atomic_load_n(u->sq_head, __ATOMIC_ACQUIRE);

		while (d->queued.first && u->tail - head < u->entries &&
		       u->inflight < u->cq_entries)
			fill(u, io_list_take(&d->queued));
		if (u->tail == head)
			return any;
		taken = enter(u, u->tail - head);
		any |= taken;
	}
	/* what was left in the ring goes with the next batch, or, if none may come, soon */
	if (!u->retry.at)
		loop_timer_set(d->loop, &u->retry, now_ns() + RETRY_NS);
	return any;
}

/* true when @io is done */
static bool take(struct disk_io *io, int res)
{
	if (res == -EINTR || res == -EAGAIN)
		return false;
	if (res < 0 || io->op > IO_WRITE) {
		io->result = res < 0 ? res : 0;
		return true;
	}
	if (!res) { /* the file has shrunk under us */
		io->result = -EIO;
		return true;
	}
	return io_advance(io, (size_t)res);
}

static bool uring_reap(struct disk *d)
{
	struct uring *u = d->host;
	uint32_t head = *u->cq_head, first = head;

	while (head != __atomic_load_n(u->cq_tail, __ATOMIC_ACQUIRE)) {
		struct io_uring_cqe *e = &u->cqe[head & (u->cq_entries - 1)];
		struct disk_io *io = (struct disk_io *)(uintptr_t)e->user_data;
		int res = e->res;

		__atomic_store_n(u->cq_head, ++head, __ATOMIC_RELEASE);
		u->inflight--;
		if (take(io, res))
			io_complete(d, io);
		else
			io_list_add(&d->queued, io);
	}
	return head != first;
}

static void on_event(void *arg, uint32_t events)
{
	struct uring *u = arg;

	(void)events;
	u->d->ready(u->d->arg);
}

static void on_retry(void *arg)
{
	struct uring *u = arg;

	uring_go(u->d);
	u->d->ready(u->d->arg);
}

static long uring_register(struct uring *u, unsigned op, const void *arg, unsigned n)
{
	return syscall(SYS_io_uring_register, u->fd, op, arg, n);
}

static void uring_close(struct disk *d)
{
	struct uring *u = d->host;

	BUG_ON(u->inflight);
	loop_timer_cancel(d->loop, &u->retry);
	if (u->fd >= 0) /* a ring ends some time after close(); the files are let go now */
		uring_register(u, IORING_UNREGISTER_FILES, NULL, 0);
	if (u->sqe)
		munmap(u->sqe, u->entries * sizeof(*u->sqe));
	if (u->ring)
		munmap(u->ring, u->ring_size);
	if (u->h.fd >= 0)
		loop_fd_del(d->loop, &u->h);
	cleanup_close(&u->h.fd);
	cleanup_close(&u->fd);
	free(u);
	d->host = NULL;
}

static void *map(struct uring *u, size_t size, uint64_t what)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, u->fd,
		       (off_t)what);

	return p == MAP_FAILED ? NULL : p;
}

static int map_rings(struct uring *u, const struct io_uring_params *p)
{
	uint32_t *array;
	char *ring;

	u->entries = p->sq_entries;
	u->cq_entries = p->cq_entries;
	u->ring_size = MAX(p->sq_off.array + p->sq_entries * sizeof(uint32_t),
			   p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe));
	u->ring = map(u, u->ring_size, IORING_OFF_SQ_RING);
	if (!u->ring)
		return -errno;
	u->sqe = map(u, p->sq_entries * sizeof(*u->sqe), IORING_OFF_SQES);
	if (!u->sqe)
		return -errno;
	ring = u->ring;
	u->sq_head = (void *)(ring + p->sq_off.head);
	u->sq_tail = (void *)(ring + p->sq_off.tail);
	u->cq_head = (void *)(ring + p->cq_off.head);
	u->cq_tail = (void *)(ring + p->cq_off.tail);
	u->cq_flags = (void *)(ring + p->cq_off.flags);
	u->cqe = (void *)(ring + p->cq_off.cqes);
	array = (void *)(ring + p->sq_off.array);
	for (unsigned i = 0; i < u->entries; i++)
		array[i] = i;
	return 0;
}

#define MAY_DO(op)                                                             \
	{                                                                      \
		.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_##op, \
	}

/* what fill() fills in, and uring_close() */
static int restrict_and_enable(struct uring *u)
{
	static const struct io_uring_restriction may[] = {
		MAY_DO(READ),
		MAY_DO(WRITE),
		MAY_DO(READV),
		MAY_DO(WRITEV),
		MAY_DO(FSYNC),
		MAY_DO(FALLOCATE),
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_FIXED_FILE },
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_UNREGISTER_FILES },
	};

	if (uring_register(u, IORING_REGISTER_RESTRICTIONS, may, ARRAY_SIZE(may)) ||
	    uring_register(u, IORING_REGISTER_ENABLE_RINGS, NULL, 0))
		return -errno;
	return 0;
}

static int set_up(struct disk *d, struct uring *u)
{
	struct io_uring_params p = { .flags = IORING_SETUP_R_DISABLED };
	int fds[DISK_FILES], r;

	u->fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &p);
	if (u->fd < 0)
		return -errno;
	/* of Linux 5.6, as the operations are; a ring that starts disabled is of 5.10 */
	if (~p.features & (IORING_FEAT_SINGLE_MMAP | IORING_FEAT_RW_CUR_POS))
		return -ENOSYS;
	r = map_rings(u, &p);
	if (r)
		return r;
	for (unsigned i = 0; i < DISK_FILES; i++)
		fds[i] = d->file[i].fd;
	u->h.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (u->h.fd < 0 || uring_register(u, IORING_REGISTER_FILES, fds, DISK_FILES) ||
	    uring_register(u, IORING_REGISTER_EVENTFD, &u->h.fd, 1))
		return -errno;
	r = restrict_and_enable(u);
	return r ? r : loop_fd_add(d->loop, &u->h);
}

static int uring_open(struct disk *d)
{
	struct uring *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return -ENOMEM;
	d->host = u;
	u->d = d;
	u->fd = -1;
	u->h = (struct loop_fd){ -1, EPOLLIN | EPOLLET, on_event, u };
	u->retry = (struct loop_timer){ .fn = on_retry, .arg = u };
	r = set_up(d, u);
	if (r)
		uring_close(d);
	return r;
}

const struct disk_engine disk_uring = { uring_open, uring_go, uring_reap, uring_close };
