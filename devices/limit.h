/*
 * limit.h - how much a guest may do in a second (layer 3)
 *
 * A bucket of tokens, told as a time: `free_at` is when all that was taken is
 * paid for.  Something may begin while less than the burst is owed, whatever
 * its size, and is charged whole; so no request is too large to ever go, and
 * the rate holds over any longer time.
 */
#ifndef HUTCH_LIMIT_H
#define HUTCH_LIMIT_H

#include "base.h"

struct limit {
	uint64_t rate;	   /* a second; 0: no limit */
	uint64_t burst_ns; /* what may be owed, in time at this rate */
	uint64_t free_at;
};

/* bytes and operations together: the stricter one holds */
struct limiter {
	struct limit bytes, ops;
	uint64_t waits; /* how often something had to wait */
};

/* @burst 0: a tenth of a second's worth; what was owed at the old rate is forgotten */
void limit_set(struct limit *l, uint64_t rate, uint64_t burst);

static inline bool limiter_is_on(const struct limiter *l)
{
	return l->bytes.rate || l->ops.rate;
}

/* 0: one more may begin; else the time at which it may, to set a timer to */
uint64_t limiter_wait(struct limiter *l, uint64_t now);
void limiter_charge(struct limiter *l, uint64_t bytes, uint64_t now);
/* more bytes of an operation that is charged already */
void limiter_charge_bytes(struct limiter *l, uint64_t bytes, uint64_t now);

#endif
