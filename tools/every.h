/* every.h - a verb again and again, by the host's own timers (layer 6) */
#ifndef HUTCH_EVERY_H
#define HUTCH_EVERY_H

#include "registry.h"
#include "tool.h"

/*
 * every() - `hutch VERB [its flags] NAME` each @ms from now on, through systemd; the exit status
 *
 * @skip is the flag that asked for it.  Where systemd is not to be had nothing is set up, the line
 * for crontab(5) is told, and the status is EXIT_HUTCH.
 */
int every(const struct box *box, uint64_t ms, const struct verb *verb, const struct given *given,
	  unsigned skip);

#endif
