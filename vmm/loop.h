/*
 * loop.h - one epoll loop carries all I/O, timers and control (layer 1)
 *
 * 1. Everything here but loop_call(), loop_wake() and loop_stop() is for the loop's thread.
 * 2. A handler may remove any fd, timer or call, its own too: what was removed
 *    does not run any more, also not from a batch already fetched.
 * 3. Handlers never block.  loop_until() runs the loop inside a handler, for
 *    draining; other handlers run meanwhile.
 * Structures belong to the caller and must stay until removed.
 */
#ifndef HUTCH_LOOP_H
#define HUTCH_LOOP_H

#include "base.h"

struct loop;

struct loop_fd {
	int fd;
	uint32_t events; /* EPOLLIN, EPOLLOUT, ... */
	void (*fn)(void *arg, uint32_t events);
	void *arg;
};

struct loop_timer {
	uint64_t at; /* ns of CLOCK_MONOTONIC; 0 when not set */
	void (*fn)(void *arg);
	void *arg;
	struct loop_timer *next;
};

struct loop_call {
	void (*fn)(void *arg);
	void *arg;
	struct loop_call *next;
	bool queued;
};

struct loop *loop_new(void); /* NULL with a message */
void loop_free(struct loop *loop);

int loop_fd_add(struct loop *loop, struct loop_fd *h) must_check; /* -errno of epoll */
void loop_fd_events(struct loop *loop, struct loop_fd *h, uint32_t events);
void loop_fd_del(struct loop *loop, struct loop_fd *h); /* harmless if not added; fd stays open */

/* run @t->fn once at @at (now_ns() time scale); moves a timer that is set */
void loop_timer_set(struct loop *loop, struct loop_timer *t, uint64_t at);
void loop_timer_cancel(struct loop *loop, struct loop_timer *t);

/* run @c->fn on the loop soon; from any thread; once if called again before it ran */
void loop_call(struct loop *loop, struct loop_call *c);
/* forget a queued call; loop's thread only */
void loop_call_cancel(struct loop *loop, struct loop_call *c);

void loop_run(struct loop *loop);  /* until loop_stop() */
void loop_stop(struct loop *loop); /* from any thread */

/* have loop_until() look at its condition again; from any thread */
void loop_wake(struct loop *loop);

/* run until @done(arg) is true: 0, or -ETIMEDOUT after @timeout_ns */
int loop_until(struct loop *loop, bool (*done)(void *arg), void *arg,
	       uint64_t timeout_ns) must_check;

#endif
