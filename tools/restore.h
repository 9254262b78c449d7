/* restore.h - a snapshot as a person names it, and the machine of one (layer 6) */
#ifndef HUTCH_RESTORE_H
#define HUTCH_RESTORE_H

#include "tool.h"

/* @what is a path if there is a / in it or such a file here, else a name in the store: -1 after a
 * complaint if that makes no path */
int snap_path(const char *what, char *buf, size_t size);
/* remove memory that is kept unpacked, what was not used for longest first, until 2G are left */
void kept_trim(const char *folder);
/* hutch_restore() of it, a sandbox's if @box; -1 after a complaint */
int restore_guest(struct hutch *h, const char *what, bool box);

#endif
