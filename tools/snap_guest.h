/* snap_guest.h - what is in a snapshot, asked of its guest (layer 6) */
#ifndef HUTCH_SNAP_GUEST_H
#define HUTCH_SNAP_GUEST_H

#include "tool.h"

/* of the verbs that do: as `hutch restore` has them */
#define FLAG_SNAP_DISK                                                                            \
	{                                                                                         \
		.name = "disk", .arg = "N=PATH|N,KEY=VALUE...", .many = true,                     \
		.help = "disk N is this file, as in `hutch restore`: a copy of one that another " \
			"machine has"                                                             \
	}
#define FLAG_SNAP_NET                                                            \
	{                                                                        \
		.name = "net", .arg = "N=TAP|N,KEY=VALUE...", .many = true,      \
		.help = "card N is on this tap interface, as in `hutch restore`" \
	}
#define SNAP_COPY_MAX "1G"

/* a machine of @snapshot for as long as @fn runs, which asks its agent: what that returned, or -1
 * after a complaint */
int snap_guest(const char *snapshot, const struct given *disks, const struct given *nets,
	       int (*fn)(struct hutch *h, void *arg), void *arg);

#endif
