/* t_loop - order, cancelling from inside, calls from threads, loops within loops */
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "loop.h"
#include "suite.h"

#define MS 1000000ULL

static struct loop *loop;
static char trace[256];

static void set_up(void)
{
	loop = loop_new();
	ck_assert_ptr_nonnull(loop);
	trace[0] = '\0';
}

static void tear_down(void)
{
	loop_free(loop);
}

static char letter[128]; /* what notes are made of: its index */

static void put_trace(const void *arg)
{
	size_t n = strlen(trace);

	ck_assert_uint_lt(n + 1, sizeof(trace));
	trace[n] = (char)((const char *)arg - letter);
	trace[n + 1] = '\0';
}

static void note(void *arg)
{
	put_trace(arg);
}

static bool never(void *arg)
{
	(void)arg;
	return false;
}

static void run_for(uint64_t ns)
{
	ck_assert_int_eq(loop_until(loop, never, NULL, ns), -ETIMEDOUT);
}

static void note_fd(void *arg, uint32_t events)
{
	ck_assert_uint_eq(events & EPOLLIN, EPOLLIN);
	put_trace(arg);
}

static int ready_fd(void)
{
	int fd = eventfd(1, EFD_NONBLOCK);

	ck_assert_int_ge(fd, 0);
	return fd;
}

/* --- timers --- */

START_TEST(timers_in_order)
{
	struct loop_timer t[4] = { { .fn = note, .arg = &letter['a'] },
				   { .fn = note, .arg = &letter['b'] },
				   { .fn = note, .arg = &letter['c'] },
				   { .fn = note, .arg = &letter['d'] } };
	uint64_t now = now_ns();

	loop_timer_set(loop, &t[2], now + 6 * MS);
	loop_timer_set(loop, &t[0], now + 2 * MS);
	loop_timer_set(loop, &t[1], now + 2 * MS); /* of one time: in the order they were set */
	loop_timer_set(loop, &t[3], now + 1 * MS);
	loop_timer_set(loop, &t[3], now + 4 * MS); /* moved */
	run_for(20 * MS);
	ck_assert_str_eq(trace, "abdc");
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq(t[i].at, 0);
	loop_timer_set(loop, &t[0], 1); /* long past */
	run_for(MS);
	ck_assert_str_eq(trace, "abdca");
}
END_TEST

static struct loop_timer *victim;

static void cancel_victim(void *arg)
{
	put_trace(arg);
	loop_timer_cancel(loop, victim);
}

START_TEST(timers_cancelled)
{
	struct loop_timer a = { .fn = cancel_victim, .arg = &letter['a'] },
			  b = { .fn = note, .arg = &letter['b'] },
			  c = { .fn = note, .arg = &letter['c'] };
	uint64_t now = now_ns();

	victim = &b;
	loop_timer_cancel(loop, &b); /* not set: harmless */
	loop_timer_set(loop, &a, now + MS);
	loop_timer_set(loop, &b, now + MS);
	loop_timer_set(loop, &c, now + MS);
	run_for(10 * MS);
	ck_assert_str_eq(trace, "ac");
	victim = &a; /* itself */
	loop_timer_set(loop, &a, now_ns());
	run_for(2 * MS);
	ck_assert_str_eq(trace, "aca");
}
END_TEST

struct periodic {
	struct loop_timer t;
	unsigned n;
};

static void again(void *arg)
{
	struct periodic *p = arg;

	if (++p->n < 5)
		loop_timer_set(loop, &p->t, now_ns() + MS);
}

START_TEST(timer_sets_itself)
{
	struct periodic p = { .n = 0 };

	p.t = (struct loop_timer){ .fn = again, .arg = &p };
	loop_timer_set(loop, &p.t, now_ns());
	run_for(30 * MS);
	ck_assert_uint_eq(p.n, 5);
}
END_TEST

/* --- descriptors --- */

static struct loop_fd *doomed[40];
static unsigned n_doomed;

static void remove_all(void *arg, uint32_t events)
{
	(void)events;
	put_trace(arg);
	for (unsigned i = 0; i < n_doomed; i++)
		loop_fd_del(loop, doomed[i]);
}

/* whichever comes first removes all the others and itself: none of the batch runs any more */
START_TEST(removed_in_one_batch)
{
	struct loop_fd h[20];

	n_doomed = 20;
	for (unsigned i = 0; i < n_doomed; i++) {
		h[i] = (struct loop_fd){ ready_fd(), EPOLLIN, remove_all, &letter['x'] };
		doomed[i] = &h[i];
		ck_assert_int_eq(loop_fd_add(loop, &h[i]), 0);
	}
	run_for(5 * MS);
	ck_assert_str_eq(trace, "x");
	for (unsigned i = 0; i < n_doomed; i++) {
		loop_fd_del(loop, &h[i]); /* not added: harmless */
		close(h[i].fd);
	}
}
END_TEST

static void once(void *arg, uint32_t events)
{
	struct loop_fd *h = arg;
	uint64_t n;

	(void)events;
	ck_assert_int_eq(read(h->fd, &n, sizeof(n)), sizeof(n)); /* there is something to read */
	strcat(trace, "o");
}

static void nest(void *arg, uint32_t events)
{
	struct loop_fd *h = arg;

	(void)events;
	loop_fd_del(loop, h);
	strcat(trace, "(");
	run_for(3 * MS);
	strcat(trace, ")");
}

/* a loop within a handler takes events the outer one was told of too: they come once */
START_TEST(nested_takes_once)
{
	struct loop_fd outer = { ready_fd(), EPOLLIN, nest, &outer };
	struct loop_fd inner = { ready_fd(), EPOLLIN, once, &inner };

	ck_assert_int_eq(loop_fd_add(loop, &outer), 0);
	ck_assert_int_eq(loop_fd_add(loop, &inner), 0);
	run_for(10 * MS);
	ck_assert_str_eq(trace, "(o)");
	loop_fd_del(loop, &inner);
	close(outer.fd);
	close(inner.fd);
}
END_TEST

static void nest_and_remove(void *arg, uint32_t events)
{
	(void)arg;
	(void)events;
	strcat(trace, "(");
	for (unsigned i = 0; i < n_doomed; i++)
		loop_fd_del(loop, doomed[i]);
	run_for(3 * MS);
	strcat(trace, ")");
}

/* removed by a nested turn: the outer batch does not run it either */
START_TEST(nested_removes)
{
	struct loop_fd h[3] = { { ready_fd(), EPOLLIN, nest_and_remove, NULL },
				{ ready_fd(), EPOLLIN, note_fd, &letter['b'] },
				{ ready_fd(), EPOLLIN, note_fd, &letter['c'] } };

	for (unsigned i = 0; i < 3; i++) {
		doomed[i] = &h[i];
		ck_assert_int_eq(loop_fd_add(loop, &h[i]), 0);
	}
	n_doomed = 3;
	run_for(5 * MS);
	ck_assert_str_eq(trace, "()");
	for (unsigned i = 0; i < 3; i++)
		close(h[i].fd);
}
END_TEST

START_TEST(events_change)
{
	struct loop_fd h = { ready_fd(), 0, note_fd, &letter['x'] };

	ck_assert_int_eq(loop_fd_add(loop, &h), 0);
	run_for(2 * MS);
	ck_assert_str_eq(trace, "");
	loop_fd_events(loop, &h, EPOLLIN | EPOLLONESHOT);
	run_for(2 * MS);
	ck_assert_str_eq(trace, "x");
	loop_fd_del(loop, &h);
	close(h.fd);
	ck_assert_int_eq(loop_fd_add(loop, &h), -EBADF);
}
END_TEST

/* --- calls --- */

START_TEST(calls)
{
	struct loop_call a = { .fn = note, .arg = &letter['a'] },
			 b = { .fn = note, .arg = &letter['b'] },
			 c = { .fn = note, .arg = &letter['c'] };

	loop_call(loop, &a);
	loop_call(loop, &b);
	loop_call(loop, &c);
	loop_call(loop, &a); /* queued already */
	loop_call_cancel(loop, &b);
	loop_call_cancel(loop, &b);
	run_for(MS);
	ck_assert_str_eq(trace, "ac");
	loop_call(loop, &c);
	loop_call_cancel(loop, &c); /* the last: the end of the queue moves back */
	loop_call(loop, &b);
	run_for(MS);
	ck_assert_str_eq(trace, "acb");
}
END_TEST

struct recall {
	struct loop_call c;
	unsigned n;
};

static void call_again(void *arg)
{
	struct recall *r = arg;

	r->n++;
	loop_call(loop, &r->c);
}

/* a call that queues itself for ever keeps neither timers nor descriptors from running */
START_TEST(calls_do_not_starve)
{
	struct recall r = { .n = 0 };
	struct loop_timer t = { .fn = note, .arg = &letter['t'] };
	struct loop_fd h = { ready_fd(), EPOLLIN | EPOLLONESHOT, note_fd, &letter['f'] };

	r.c = (struct loop_call){ .fn = call_again, .arg = &r };
	loop_call(loop, &r.c);
	loop_timer_set(loop, &t, now_ns() + MS);
	ck_assert_int_eq(loop_fd_add(loop, &h), 0);
	run_for(5 * MS);
	ck_assert_str_eq(trace, "ft");
	ck_assert_uint_gt(r.n, 10);
	loop_call_cancel(loop, &r.c);
	loop_fd_del(loop, &h);
	close(h.fd);
}
END_TEST

#define THREADS 4
#define CALLS	5000

struct caller {
	struct loop_call c;
	unsigned ran, asked;
	pthread_t thread;
};

static void count(void *arg)
{
	struct caller *c = arg;

	__atomic_fetch_add(&c->ran, 1, __ATOMIC_RELEASE);
}

/* asks again only after it ran: so none may be lost, and none come twice */
static void *ask(void *arg)
{
	struct caller *c = arg;

	for (c->asked = 0; c->asked < CALLS;) {
		c->asked++;
		loop_call(loop, &c->c);
		while (__atomic_load_n(&c->ran, __ATOMIC_ACQUIRE) != c->asked)
			sched_yield();
	}
	return NULL;
}

static bool all_ran(void *arg)
{
	struct caller *c = arg;
	unsigned n = 0;

	for (unsigned i = 0; i < THREADS; i++)
		n += c[i].ran;
	return n == THREADS * CALLS;
}

START_TEST(calls_from_threads)
{
	struct caller c[THREADS] = { 0 };

	for (unsigned i = 0; i < THREADS; i++) {
		c[i].c = (struct loop_call){ .fn = count, .arg = &c[i] };
		ck_assert_int_eq(pthread_create(&c[i].thread, NULL, ask, &c[i]), 0);
	}
	ck_assert_int_eq(loop_until(loop, all_ran, c, 15000 * MS), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(c[i].thread, NULL);
	run_for(MS);
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_uint_eq(c[i].ran, CALLS);
}
END_TEST

/* --- running --- */

static void *stop_later(void *arg)
{
	(void)arg;
	usleep(20000);
	loop_stop(loop);
	return NULL;
}

START_TEST(stop_from_a_thread)
{
	uint64_t start = now_ns();
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, stop_later, NULL), 0);
	loop_run(loop);
	ck_assert_uint_gt(now_ns() - start, 10 * MS);
	ck_assert_uint_lt(now_ns() - start, 5000 * MS);
	pthread_join(thread, NULL);
}
END_TEST

struct deep {
	unsigned depth, reached;
	struct loop_call c;
};

static bool reached(void *arg)
{
	struct deep *d = arg;

	return d->reached >= 10;
}

static void dive(void *arg)
{
	struct deep *d = arg;

	if (++d->reached < 10) {
		loop_call(loop, &d->c);
		ck_assert_int_eq(loop_until(loop, reached, d, 1000 * MS), 0);
	}
}

START_TEST(loops_ten_deep)
{
	struct deep d = { .depth = 0 };

	d.c = (struct loop_call){ .fn = dive, .arg = &d };
	loop_call(loop, &d.c);
	ck_assert_int_eq(loop_until(loop, reached, &d, 1000 * MS), 0);
	ck_assert_uint_eq(d.reached, 10);
}
END_TEST

START_TEST(until_times_out)
{
	uint64_t start = now_ns();
	int n = 10;

	ck_assert_int_eq(loop_until(loop, never, &n, 10 * MS), -ETIMEDOUT);
	ck_assert_uint_ge(now_ns() - start, 10 * MS);
	ck_assert_uint_lt(now_ns() - start, 2000 * MS);
	ck_assert_int_eq(loop_until(loop, never, &n, 0), -ETIMEDOUT);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("loop");
	TCase *t = tcase_create("loop");

	tcase_set_timeout(t, 20);
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, timers_in_order);
	tcase_add_test(t, timers_cancelled);
	tcase_add_test(t, timer_sets_itself);
	tcase_add_test(t, removed_in_one_batch);
	tcase_add_test(t, nested_takes_once);
	tcase_add_test(t, nested_removes);
	tcase_add_test(t, events_change);
	tcase_add_test(t, calls);
	tcase_add_test(t, calls_do_not_starve);
	tcase_add_test(t, calls_from_threads);
	tcase_add_test(t, stop_from_a_thread);
	tcase_add_test(t, loops_ten_deep);
	tcase_add_test(t, until_times_out);
	suite_add_tcase(s, t);
	return suite_run(s);
}
