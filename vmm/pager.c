/*
 * pager.c - guest memory comes out of a snapshot's file while the guest runs already
 *
 * 1. Pages that are not there yet belong to a userfaultfd: who touches one waits
 *    until somebody has put it in.  A chunk is unpacked beside the memory and
 *    put in by the kernel, page by page, so nobody sees half of one.
 * 2. Each chunk is WANTED, BUSY or DONE.  Who takes it from WANTED to BUSY has to
 *    put it in, and there are three who do: the thread that reads what the
 *    kernel tells of faults, which are mostly vCPUs'; those that go through all
 *    chunks in the background, which yield to the guest; and whoever is about to
 *    look at guest memory through gmem.h.
 * 3. gmem.h asks first because the loop must not wait for a fault: it would learn
 *    nothing of a chunk that is damaged, and hang.  So it gets an error, and no
 *    device ever acts on a byte that was not there.
 * 4. When a chunk cannot be had, the machine is told to stop, which sends every
 *    vCPU a signal; only then are those let go that wait for pages.  What they
 *    find is zeroes, and the signal is looked at before the guest's next instruction.
 * 5. A page of a DONE chunk that is not there was dropped (gmem_discard), and is
 *    zeroes.  Before a page is dropped its chunk is made DONE, so that nobody is
 *    about to put it in.
 * 6. The order in which chunks were waited for is remembered: who gives it to the
 *    pager of the same snapshot the next time has them before they are waited for.
 * 7. What is to be kept is written by whoever unpacked it, after it was put in; a
 *    chunk of zeroes is a hole.  Once no chunk is wanted any more the
 *    userfaultfd lets go of the memory, and there is nothing special about it.
 *
 * #syscalls ioctl:UFFDIO_COPY ioctl:UFFDIO_ZEROPAGE ioctl:UFFDIO_WAKE ioctl:UFFDIO_UNREGISTER
 * #syscalls read poll pwrite64 write sched_yield
 * #syscalls:caller setpriority
 * #syscalls:before userfaultfd openat eventfd2 ftruncate close
 * #syscalls:before ioctl:UFFDIO_API ioctl:UFFDIO_REGISTER ioctl:USERFAULTFD_IOC_NEW
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pager.h"
#include "snap_mem.h"
#include "team.h"

#define SHARE  4 /* chunks that a thread of the background takes at a time */
#define NICE   10
#define EVENTS 16
#define KEEP_MORE \
	(10ULL * 1000000000) /* for so long an ended machine is kept waiting, or not at all */

#ifndef USERFAULTFD_IOC_NEW /* Linux 6.1 */
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

enum state { WANTED, BUSY, DONE };

struct pager {
	struct gmem_filler filler; /* what gmem.h knows of it */
	struct gmem *mem;
	const struct snap_file *from;
	struct pager_conf conf;
	void (*failed)(void *arg, const char *text);
	void *arg;
	int stop; /* an eventfd: the faults' thread ends */
	uint8_t *state;
	uint64_t next;	   /* chunk of the background; atomic */
	uint64_t left;	   /* chunks that are not DONE; atomic */
	uint64_t waits;	   /* atomic */
	uint32_t *waited;  /* for which chunks, that many */
	uint64_t began;	   /* the background, now_ns() */
	uint64_t deadline; /* of it; atomic */
	bool complete;	   /* atomic */
	bool keep_lost;	   /* what is kept is not whole; atomic */
	pthread_t faults, background;
	bool has_faults, has_background;
	pthread_mutex_t lock; /* guards aside */
	struct snap_unpacker *aside;
	pthread_mutex_t fail_lock; /* guards what is below; error is read without, atomically */
	int error;
	char text[512];
};

/* --- the userfaultfd --- */

int pager_open(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int dev, fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), r;

	if (fd < 0 && errno == EPERM) { /* whom the file's mode lets in may as well */
		dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
		fd = dev < 0 ? -1 : ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
		if (dev < 0)
			errno = EPERM;
		else
			close(dev);
	}
	if (fd < 0)
		return -errno;
	r = ioctl(fd, UFFDIO_API, &api) ? -errno : 0;
	if (r)
		close(fd);
	return r ? r : fd;
}

static int take_memory(struct pager *p)
{
	for (unsigned i = 0; i < p->mem->n; i++) {
		const struct gmem_slot *s = &p->mem->slot[i];
		struct uffdio_register reg = {
			.range = { (uintptr_t)s->hva, s->len },
			.mode = UFFDIO_REGISTER_MODE_MISSING,
		};

		if (ioctl(p->conf.uffd, UFFDIO_REGISTER, &reg))
			return err(-errno, "guest memory: userfaultfd: %s", strerror(errno));
	}
	return 0;
}

/* what is not there is zeroes, and nobody waits for it */
static void leave_memory(const struct pager *p)
{
	for (unsigned i = 0; i < p->mem->n; i++) {
		const struct gmem_slot *s = &p->mem->slot[i];
		struct uffdio_range range = { (uintptr_t)s->hva, s->len };

		ioctl(p->conf.uffd, UFFDIO_UNREGISTER, &range);
	}
}

static void wake(const struct pager *p, const uint8_t *hva, uint64_t len)
{
	struct uffdio_range range = { (uintptr_t)hva, len };

	ioctl(p->conf.uffd, UFFDIO_WAKE, &range);
}

/*
 * How far an ioctl came that was to put in @len bytes at @hva and failed: a page that is there
 * already stays as it is, and a range that was let go of needs nothing.  Who waits there asks
 * again in any case: letting go wakes whom it finds, and may just miss one who is about to wait
 * (seen with Linux 6.18, whose faults hold a lock of their own).
 */
static uint64_t get_over(const struct pager *p, const uint8_t *hva, uint64_t len, int64_t put)
{
	if (put > 0)
		return (uint64_t)put;
	if (errno == EAGAIN)
		return 0;
	len = errno == EEXIST ? GMEM_PAGE : len;
	wake(p, hva, len);
	return len;
}

static void put_zeroes(const struct pager *p, const uint8_t *hva, uint64_t len)
{
	while (len) {
		struct uffdio_zeropage z = { .range = { (uintptr_t)hva, len } };
		uint64_t n;

		if (!ioctl(p->conf.uffd, UFFDIO_ZEROPAGE, &z))
			return;
		n = get_over(p, hva, len, z.zeropage);
		hva += n;
		len -= n;
	}
}

static void put_pages(const struct pager *p, const uint8_t *hva, const uint8_t *data, uint64_t len)
{
	while (len) {
		struct uffdio_copy c = { (uintptr_t)hva, (uintptr_t)data, len, 0, 0 };
		uint64_t n;

		if (!ioctl(p->conf.uffd, UFFDIO_COPY, &c))
			return;
		n = get_over(p, hva, len, c.copy);
		hva += n;
		data += n;
		len -= n;
	}
}

/* --- chunks --- */

static bool take(struct pager *p, uint64_t n)
{
	uint8_t wanted = WANTED;

	return __atomic_compare_exchange_n(&p->state[n], &wanted, BUSY, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

static void done(struct pager *p, uint64_t n)
{
	__atomic_store_n(&p->state[n], DONE, __ATOMIC_RELEASE);
	__atomic_fetch_sub(&p->left, 1, __ATOMIC_ACQ_REL);
}

static enum state state_of(const struct pager *p, uint64_t n)
{
	return (enum state)__atomic_load_n(&p->state[n], __ATOMIC_ACQUIRE);
}

static bool has_failed(struct pager *p)
{
	return __atomic_load_n(&p->error, __ATOMIC_ACQUIRE) != 0;
}

/* this thread's last error is why */
static void fail(struct pager *p, int r)
{
	bool first;

	pthread_mutex_lock(&p->fail_lock);
	first = !p->error;
	if (first) {
		snprintf(p->text, sizeof(p->text), "%s", err_last());
		__atomic_store_n(&p->error, r, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&p->fail_lock);
	if (!first)
		return;
	p->failed(p->arg, p->text);
	leave_memory(p);
}

/* the first error, as this thread's */
static int what_failed(struct pager *p)
{
	return has_failed(p) ? err(p->error, "%s", p->text) : 0;
}

static bool is_zero(const struct pager *p, uint64_t n)
{
	return snap_kind(&snap_owner(p->from, n)->entry[n]) == SNAP_ZERO;
}

static void note_wait(struct pager *p, uint64_t n)
{
	p->waited[__atomic_fetch_add(&p->waits, 1, __ATOMIC_RELAXED)] = (uint32_t)n;
}

static void keep(struct pager *p, uint64_t n, const uint8_t *data, size_t len)
{
	if (p->conf.keep >= 0 &&
	    pwrite(p->conf.keep, data, len, (off_t)(n * SNAP_CHUNK)) != (ssize_t)len)
		__atomic_store_n(&p->keep_lost, true, __ATOMIC_RELAXED);
}

/* chunk @n, which is BUSY and ours: into memory if @show, and into what is kept */
static int fill(struct pager *p, uint64_t n, struct snap_unpacker *z, bool show)
{
	const struct gmem_slot *slot;
	uint64_t off;
	size_t len;
	int r;

	slot = snap_slot(p->mem, n, &off, &len);
	if (is_zero(p, n)) {
		if (show)
			put_zeroes(p, slot->hva + off, len);
		done(p, n);
	} else {
		memset(z->out, 0, len);
		r = snap_read(p->from, n, z->out, len, z);
		if (r) {
			fail(p, r);
			wake(p, slot->hva + off, len); /* who is only now about to wait */
			return r;
		}
		if (show)
			put_pages(p, slot->hva + off, z->out, len);
		done(p, n);
		keep(p, n, z->out, len);
	}
	if (!show) /* who has waited asks again, and is told that it is DONE */
		wake(p, slot->hva + off, len);
	return 0;
}

/* the chunks of [@hva, @hva + @len), which is memory of the guest's */
static void chunks_of(const struct pager *p, const uint8_t *hva, uint64_t len, uint64_t *ret_first,
		      uint64_t *ret_end)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < p->mem->n; i++) {
		const struct gmem_slot *s = &p->mem->slot[i];

		if (hva >= s->hva && hva < s->hva + s->len) {
			uint64_t off = (uint64_t)(hva - s->hva);

			*ret_first = n + off / SNAP_CHUNK;
			*ret_end = n + snap_chunks_of(off + len);
			return;
		}
		n += snap_chunks_of(s->len);
	}
	BUG_ON(1);
}

/* does [@hva, @hva + @len) have all of chunk @n? */
static bool covers(const struct pager *p, uint64_t n, const uint8_t *hva, uint64_t len)
{
	const struct gmem_slot *slot;
	uint64_t off;
	size_t size;

	slot = snap_slot(p->mem, n, &off, &size);
	return hva <= slot->hva + off && hva + len >= slot->hva + off + size;
}

/* somebody else is at it, and never for long */
static int wait_done(struct pager *p, uint64_t n)
{
	while (state_of(p, n) == BUSY) {
		if (has_failed(p))
			return what_failed(p);
		sched_yield();
	}
	return 0;
}

static int fill_aside(struct pager *p, uint64_t n, bool show)
{
	int r;

	if (!take(p, n))
		return wait_done(p, n);
	note_wait(p, n);
	pthread_mutex_lock(&p->lock);
	r = fill(p, n, p->aside, show);
	pthread_mutex_unlock(&p->lock);
	return r;
}

/* --- for gmem.h --- */

static int make_done(struct pager *p, const uint8_t *hva, uint64_t len, bool drop)
{
	uint64_t n, end;
	int r = 0;

	if (__atomic_load_n(&p->complete, __ATOMIC_ACQUIRE))
		return 0;
	if (has_failed(p))
		return what_failed(p);
	chunks_of(p, hva, len, &n, &end);
	for (; !r && n < end; n++)
		if (state_of(p, n) != DONE)
			r = fill_aside(p, n, !drop || !covers(p, n, hva, len));
	return r;
}

static int before_look(struct gmem_filler *filler, const uint8_t *hva, uint64_t len)
{
	return make_done(container_of(filler, struct pager, filler), hva, len, false);
}

/* a chunk that goes as a whole need not come first; but it may have to be kept */
static int before_drop(struct gmem_filler *filler, const uint8_t *hva, uint64_t len)
{
	return make_done(container_of(filler, struct pager, filler), hva, len, true);
}

/* --- faults --- */

static void serve(struct pager *p, uintptr_t at, struct snap_unpacker *z)
{
	const uint8_t *hva = (const uint8_t *)(at & ~(GMEM_PAGE - 1));
	uint64_t n, end;

	chunks_of(p, hva, GMEM_PAGE, &n, &end);
	if (has_failed(p)) {
		wake(p, hva, GMEM_PAGE);
	} else if (take(p, n)) {
		note_wait(p, n);
		fill(p, n, z, true);
	} else if (state_of(p, n) == DONE) {
		put_zeroes(p, hva, GMEM_PAGE);
	} /* else who is at it wakes those who wait */
}

static void *run_faults(void *arg)
{
	struct pager *p = arg;
	cleanup_free struct snap_unpacker *z = calloc(1, sizeof(*z));
	struct pollfd fd[] = { { p->conf.uffd, POLLIN, 0 }, { p->stop, POLLIN, 0 } };
	struct uffd_msg msg[EVENTS];
	ssize_t len;

	pthread_setname_np(pthread_self(), "pager");
	if (!z || snap_unpacker_init(z)) {
		fail(p, err(-ENOMEM, "snapshot: out of memory to unpack it"));
		return NULL;
	}
	for (;;) {
		if (poll(fd, ARRAY_SIZE(fd), -1) < 0)
			continue;
		if (fd[1].revents)
			break;
		len = read(p->conf.uffd, msg, sizeof(msg));
		for (ssize_t i = 0; i < len / (ssize_t)sizeof(msg[0]); i++)
			if (msg[i].event == UFFD_EVENT_PAGEFAULT)
				serve(p, msg[i].arg.pagefault.address, z);
	}
	snap_unpacker_free(z);
	return NULL;
}

/* --- the background --- */

static bool is_over(struct pager *p)
{
	return has_failed(p) || now_ns() >= __atomic_load_n(&p->deadline, __ATOMIC_RELAXED);
}

/* the work of the background: what was waited for the last time, and then all there is */
static uint64_t all_work(const struct pager *p)
{
	return p->conf.firsts + p->from->head.chunks;
}

/* what is zeroes stays away until somebody wants it, or until nothing else is wanted */
static int fill_share(struct pager *p, uint64_t from, struct snap_unpacker *z)
{
	uint64_t end = MIN(from + SHARE, all_work(p)), n;
	int r = 0;

	for (uint64_t i = from; !r && i < end; i++) {
		n = i < p->conf.firsts ? p->conf.first[i] : i - p->conf.firsts;
		if (n < p->from->head.chunks && take(p, n))
			r = fill(p, n, z, !is_zero(p, n));
	}
	return r;
}

static void fill_all(void *arg)
{
	cleanup_free struct snap_unpacker *z = calloc(1, sizeof(*z));
	struct pager *p = arg;
	uint64_t first;

	if (!z || snap_unpacker_init(z))
		return; /* the others do it; if there are none, whoever waits for it */
	while (!is_over(p)) {
		first = __atomic_fetch_add(&p->next, SHARE, __ATOMIC_RELAXED);
		if (first >= all_work(p) || fill_share(p, first, z))
			break;
	}
	snap_unpacker_free(z);
}

/* is all of it there? Those that are BUSY are waited for; then the memory is like any other */
static bool settle(struct pager *p)
{
	while (__atomic_load_n(&p->left, __ATOMIC_ACQUIRE) && !is_over(p) &&
	       __atomic_load_n(&p->next, __ATOMIC_RELAXED) >= all_work(p))
		sched_yield();
	if (__atomic_load_n(&p->left, __ATOMIC_ACQUIRE) || has_failed(p))
		return false;
	leave_memory(p); /* a second time does no harm */
	__atomic_store_n(&p->complete, true, __ATOMIC_RELEASE);
	return true;
}

static void *run_background(void *arg)
{
	struct pager *p = arg;
	bool whole;

	pthread_setname_np(pthread_self(), "pager");
	setpriority(PRIO_PROCESS, 0, NICE); /* of this thread, and of those that it starts */
	team_run(fill_all, p);
	whole = settle(p);
	if (p->conf.kept)
		p->conf.kept(p->conf.arg, p,
			     whole && !__atomic_load_n(&p->keep_lost, __ATOMIC_RELAXED));
	return NULL;
}

/* --- life --- */

static int make(struct pager *p)
{
	int r;

	p->state = calloc(p->from->head.chunks, 1);
	p->waited = calloc(p->from->head.chunks, sizeof(*p->waited));
	p->aside = calloc(1, sizeof(*p->aside));
	if (!p->state || !p->waited || !p->aside || snap_unpacker_init(p->aside)) {
		free(p->aside);
		p->aside = NULL;
		return err(-ENOMEM, "snapshot: out of memory to unpack it");
	}
	p->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->stop < 0)
		return err(-errno, "eventfd: %s", strerror(errno));
	if (p->conf.keep >= 0 &&
	    ftruncate(p->conf.keep, (off_t)(p->from->head.chunks * SNAP_CHUNK)))
		p->keep_lost = true;
	r = take_memory(p);
	if (!r)
		r = thread_start(&p->faults, run_faults, p, 0);
	p->has_faults = !r;
	return r;
}

struct pager *pager_new(struct gmem *mem, const struct snap_file *from,
			const struct pager_conf *conf, void (*failed)(void *arg, const char *text),
			void *arg)
{
	struct pager *p = calloc(1, sizeof(*p));

	if (!p) {
		err(-ENOMEM, "snapshot: out of memory to unpack it");
		return NULL;
	}
	*p = (struct pager){
		.filler = { before_look, before_drop },
		.mem = mem,
		.from = from,
		.conf = *conf,
		.failed = failed,
		.arg = arg,
		.stop = -1,
		.left = from->head.chunks,
		.deadline = UINT64_MAX,
	};
	pthread_mutex_init(&p->lock, NULL);
	pthread_mutex_init(&p->fail_lock, NULL);
	if (make(p)) {
		pager_free(p);
		return NULL;
	}
	mem->filler = &p->filler;
	return p;
}

int pager_go(struct pager *p)
{
	int r;

	p->began = now_ns();
	r = thread_start(&p->background, run_background, p, 0);

	p->has_background = !r;
	return r ? err(r, "snapshot: no thread to unpack it: %s", strerror(-r)) : 0;
}

int pager_finish(struct pager *p)
{
	int r;

	if (__atomic_load_n(&p->complete, __ATOMIC_ACQUIRE))
		return 0;
	fill_all(p); /* at this thread's priority */
	if (settle(p))
		return 0;
	r = what_failed(p);
	return r ? r : err(-ENOMEM, "snapshot: out of memory to unpack it");
}

/* is it going to be whole soon, at the pace it had? */
static bool is_soon(struct pager *p)
{
	uint64_t left = __atomic_load_n(&p->left, __ATOMIC_ACQUIRE);
	uint64_t got = p->from->head.chunks - left;

	return p->has_background && p->conf.keep >= 0 && !has_failed(p) &&
	       !__atomic_load_n(&p->keep_lost, __ATOMIC_RELAXED) &&
	       (now_ns() - p->began) / (got + 1) * left <= KEEP_MORE;
}

void pager_free(struct pager *p)
{
	bool more;

	if (!p)
		return;
	more = is_soon(p);
	p->mem->filler = NULL;
	__atomic_store_n(&p->deadline, more ? now_ns() + KEEP_MORE : 0, __ATOMIC_RELAXED);
	if (p->has_background)
		pthread_join(p->background, NULL);
	if (p->has_faults) {
		eventfd_write(p->stop, 1);
		pthread_join(p->faults, NULL);
	}
	cleanup_close(&p->stop);
	if (p->aside)
		snap_unpacker_free(p->aside);
	free(p->aside);
	free(p->state);
	free(p->waited);
	pthread_mutex_destroy(&p->lock);
	pthread_mutex_destroy(&p->fail_lock);
	free(p);
}

size_t pager_waits(const struct pager *p, uint32_t *ret, size_t most)
{
	size_t n = __atomic_load_n(&p->waits, __ATOMIC_RELAXED);

	if (ret)
		memcpy(ret, p->waited, MIN(n, most) * sizeof(*ret));
	return n;
}
