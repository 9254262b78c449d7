/* detach.h - a child is the machine, and the caller leaves once that runs (layer 6) */
#ifndef HUTCH_DETACH_H
#define HUTCH_DETACH_H

#include "registry.h"

/* true in the caller, whose exit status is in *@ret; the child goes on with false and with where to
 * tell that it runs in *@ready */
bool detach(int *ready, int *ret);
/* it runs: the caller is told the name, and from here on nobody reads what we say but `hutch logs`
 */
void detach_tell(int *ready, const struct box *box);
/* what is said goes into the sandbox's folder */
void detach_quiet(int *ready, const struct box *box);

#endif
