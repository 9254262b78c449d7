/* team.h - work that every processor takes a share of (layer 0) */
#ifndef HUTCH_TEAM_H
#define HUTCH_TEAM_H

/*
 * team_run() - @fn(@arg) on as many threads as this process has processors, this one among them
 *
 * Returns when all have returned.  Fewer where no more can be had: @fn takes from @arg what is
 * still to be done until nothing is.
 */
void team_run(void (*fn)(void *arg), void *arg);

#endif
