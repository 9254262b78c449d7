/*
 * progress.h - how far something is that takes its time, for a person who waits (layer 6)
 *
 * One line on stderr, if that is a terminal and -q was not given, from a second
 * after the beginning on; it is gone in the end.
 */
#ifndef HUTCH_PROGRESS_H
#define HUTCH_PROGRESS_H

#include <stdint.h>

/* hutch_on_progress() takes it: @what is a text, "verified"; the first call begins, and that with
 * @done = @all ends it */
void progress_tell(void *what, uint64_t done, uint64_t all);

/* what somebody else writes to @fd grows; one at a time */
void progress_watch(int fd);
void progress_watch_end(void);

#endif
