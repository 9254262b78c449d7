/*
 * perf.h - what the host's performance counters tell of a machine's threads (layer 4)
 *
 * One descriptor counts for the thread that opens it and for all that come from it afterwards, so
 * it is opened before the vCPUs' threads are made, and before the jail, which then needs no more
 * than read().
 */
#ifndef HUTCH_PERF_H
#define HUTCH_PERF_H

#include "base.h"

enum perf_event {
	PERF_GUEST_INSTRUCTIONS, /* in guest mode only, the guest's kernel and all */
	PERF_THREAD_TIME,	 /* ns in which the threads ran; every host can count these */
};

/*
 * perf_open() - begin to count
 *
 * -EACCES: this user may not; -ENOTSUP: this host cannot; each with a message that says what to do.
 */
int perf_open(enum perf_event what, int *ret_fd) must_check;

/* so many since it was opened, of all threads, those that have ended too: -EIO if that is not known
 */
int perf_read(int fd, uint64_t *ret) must_check;

#endif
