/* #syscalls epoll_ctl epoll_pwait2 read write */
/* #syscalls:before epoll_create1 eventfd2 */
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "loop.h"

#define BATCH 32

/* events fetched and not yet handled; nested loop_until() calls stack theirs */
struct batch {
	struct epoll_event ev[BATCH];
	int n, at;
	struct batch *outer;
};

struct loop {
	int epoll, wake;
	struct loop_fd wake_h;
	struct batch *batch;
	struct loop_timer *timers; /* soonest first */
	pthread_mutex_t lock;	   /* guards calls only */
	struct loop_call *calls, **calls_end;
	bool stop;
};

static void on_wake(void *arg, uint32_t events)
{
	struct loop *loop = arg;
	uint64_t n;

	(void)events;
	if (read(loop->wake, &n, sizeof(n)) < 0)
		return;
}

void loop_wake(struct loop *loop)
{
	uint64_t one = 1;

	if (write(loop->wake, &one, sizeof(one)) < 0)
		return; /* EAGAIN: awake already */
}

struct loop *loop_new(void)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop) {
		err(-ENOMEM, "event loop: out of memory");
		return NULL;
	}
	pthread_mutex_init(&loop->lock, NULL);
	loop->calls_end = &loop->calls;
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	loop->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	loop->wake_h = (struct loop_fd){ loop->wake, EPOLLIN, on_wake, loop };
	if (loop->epoll < 0 || loop->wake < 0 || loop_fd_add(loop, &loop->wake_h)) {
		err(-errno, "event loop: %s", strerror(errno));
		loop_free(loop);
		return NULL;
	}
	return loop;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	cleanup_close(&loop->wake);
	cleanup_close(&loop->epoll);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

int loop_fd_add(struct loop *loop, struct loop_fd *h)
{
	struct epoll_event ev = { .events = h->events, .data.ptr = h };

	return epoll_ctl(loop->epoll, EPOLL_CTL_ADD, h->fd, &ev) ? -errno : 0;
}

void loop_fd_events(struct loop *loop, struct loop_fd *h, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = h };

	if (h->events == events)
		return;
	h->events = events;
	epoll_ctl(loop->epoll, EPOLL_CTL_MOD, h->fd, &ev);
}

/* what @b and the batches around it still hold for @h is not handed out any more */
static void forget(struct batch *b, const struct loop_fd *h)
{
	for (; b; b = b->outer)
		for (int i = b->at; i < b->n; i++)
			if (b->ev[i].data.ptr == h)
				b->ev[i].data.ptr = NULL;
}

void loop_fd_del(struct loop *loop, struct loop_fd *h)
{
	epoll_ctl(loop->epoll, EPOLL_CTL_DEL, h->fd, NULL);
	forget(loop->batch, h);
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *t)
{
	for (struct loop_timer **p = &loop->timers; *p; p = &(*p)->next) {
		if (*p == t) {
			*p = t->next;
			break;
		}
	}
	t->at = 0;
}

void loop_timer_set(struct loop *loop, struct loop_timer *t, uint64_t at)
{
	struct loop_timer **p = &loop->timers;

	if (t->at)
		loop_timer_cancel(loop, t);
	t->at = at ? at : 1;
	while (*p && (*p)->at <= t->at)
		p = &(*p)->next;
	t->next = *p;
	*p = t;
}

void loop_call(struct loop *loop, struct loop_call *c)
{
	bool first;

	pthread_mutex_lock(&loop->lock);
	first = !loop->calls;
	if (!c->queued) {
		c->queued = true;
		c->next = NULL;
		*loop->calls_end = c;
		loop->calls_end = &c->next;
	}
	pthread_mutex_unlock(&loop->lock);
	if (first)
		loop_wake(loop);
}

void loop_call_cancel(struct loop *loop, struct loop_call *c)
{
	struct loop_call **p;

	pthread_mutex_lock(&loop->lock);
	for (p = &loop->calls; c->queued && *p; p = &(*p)->next) {
		if (*p == c) {
			*p = c->next;
			if (!*p)
				loop->calls_end = p;
			c->queued = false;
			break;
		}
	}
	pthread_mutex_unlock(&loop->lock);
}

/* one at a time: a handler may cancel any that is still queued */
static void run_calls(struct loop *loop)
{
	for (unsigned bound = 0; bound < 1024; bound++) {
		struct loop_call *c;

		pthread_mutex_lock(&loop->lock);
		c = loop->calls;
		if (c) {
			loop->calls = c->next;
			if (!loop->calls)
				loop->calls_end = &loop->calls;
			c->queued = false;
		}
		pthread_mutex_unlock(&loop->lock);
		if (!c)
			return;
		c->fn(c->arg);
	}
	loop_wake(loop); /* the rest after a look at the fds */
}

static void run_timers(struct loop *loop)
{
	uint64_t now = loop->timers ? now_ns() : 0;

	/* bounded: one that sets itself to now again must not keep the fds waiting */
	for (unsigned bound = 0; bound < 64 && loop->timers && loop->timers->at <= now; bound++) {
		struct loop_timer *t = loop->timers;

		loop->timers = t->next;
		t->at = 0;
		t->fn(t->arg);
	}
}

static int fetch(struct loop *loop, struct batch *b, uint64_t limit)
{
	uint64_t now, at = loop->timers ? MIN(loop->timers->at, limit) : limit;
	struct timespec ts, *wait = NULL;

	if (at != UINT64_MAX) {
		now = now_ns();
		at = at > now ? at - now : 0;
		ts = (struct timespec){ (time_t)(at / 1000000000), (long)(at % 1000000000) };
		wait = &ts;
	}
	return epoll_pwait2(loop->epoll, b->ev, BATCH, wait, NULL);
}

static void turn(struct loop *loop, uint64_t limit)
{
	struct batch b = { .outer = loop->batch };

	run_calls(loop); /* covers calls whose wake-up a nested turn has eaten */
	b.n = fetch(loop, &b, limit);
	/* only until this turn ends, below */
	loop->batch = &b; // cppcheck-suppress autoVariables
	while (b.at < b.n) {
		struct epoll_event *ev = &b.ev[b.at++];
		struct loop_fd *h = ev->data.ptr;

		if (!h)
			continue;
		/* an outer turn must not hand out what this one takes: a read would wait */
		forget(b.outer, h);
		h->fn(h->arg, ev->events);
	}
	loop->batch = b.outer;
	run_timers(loop);
	run_calls(loop);
}

void loop_run(struct loop *loop)
{
	while (!__atomic_load_n(&loop->stop, __ATOMIC_ACQUIRE))
		turn(loop, UINT64_MAX);
}

void loop_stop(struct loop *loop)
{
	__atomic_store_n(&loop->stop, true, __ATOMIC_RELEASE);
	loop_wake(loop);
}

int loop_until(struct loop *loop, bool (*done)(void *arg), void *arg, uint64_t timeout_ns)
{
	uint64_t limit = now_ns() + timeout_ns;

	while (!done(arg)) {
		if (now_ns() >= limit)
			return -ETIMEDOUT;
		turn(loop, limit);
	}
	return 0;
}
