/* follow.h - read a file of a sandbox, and what is added to it until the sandbox ends (layer 6) */
#ifndef HUTCH_FOLLOW_H
#define HUTCH_FOLLOW_H

#include "registry.h"

/* @buf has @len bytes and a NUL behind them: whole lines, or what came if they are too long;
 * non-zero ends it */
typedef int follow_fn(void *arg, char *buf, size_t len);

/*
 * follow() - hand what is in @file of @box to @fn
 *
 * With @lines one line a call, without its end; else as it comes.  With @on it
 * goes on until the sandbox has ended, and does not poll.  What @fn returned, or
 * -errno.  A file that is not there is empty.
 */
int follow(const struct box *box, const char *file, bool lines, bool on, follow_fn *fn, void *arg);

#endif
