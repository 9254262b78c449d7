/*
 * throttle.h - the machine's vCPUs together get at most so much of a processor (layer 4)
 *
 * 1. Time goes in windows of 100 ms.  In each the vCPU threads may use cpu_percent of one
 *    processor, by their own clocks: the guest, and what its exits cost us.  Once they have, all
 *    of them are kicked out of the guest and park until the next window.
 * 2. They are looked at when they could have used it up at the earliest, all at work at once, so
 *    what they get too much is little; it is owed, and taken off the windows that follow.  What
 *    they leave is not saved up.
 * 3. vm->throttled is a reason to park like vm->hold, and the barrier is the same: a vCPU that
 *    stands still for either counts as parked, and leaves when there is no reason left, or to end.
 * 4. Without a limit there is no timer and no look; while the machine is paused neither.
 */
#ifndef HUTCH_THROTTLE_H
#define HUTCH_THROTTLE_H

#include "field.h"
#include "loop.h"

struct vm;

struct throttle {
	uint32_t percent; /* of one processor; 0: no limit */
	struct loop_timer timer;
	uint64_t window;     /* when it began */
	uint64_t base;	     /* what the vCPUs' clocks showed then, less what they owe */
	uint64_t stops;	     /* how often they had to wait, */
	uint64_t stopped_ns; /* and how long, */
	uint64_t stopped_at; /* this time since then */
};

void throttle_init(struct vm *vm);
/* take what vm->conf says from here on; on the loop, or before it runs */
void throttle_set(struct vm *vm);
/* have they used too much, or may they go on? on the loop, at any time */
void throttle_look(struct vm *vm);
void throttle_end(struct vm *vm);

#endif
