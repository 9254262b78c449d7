/* warm.h - a boot is kept, and the next machine of its kind goes on from there (layer 6) */
#ifndef HUTCH_WARM_H
#define HUTCH_WARM_H

#include <limits.h>

#include "tool.h"

struct warm {
	char path[PATH_MAX]; /* "": this machine's boot is not kept */
};

/* before hutch_start() of a machine whose keys are all set */
void warm_look(struct warm *w, struct hutch *h);
/* behind it: a machine that boots is kept as soon as its agent has called, if that is within
 * @timeout_ms (-1: whenever) and before @wake is readable */
void warm_keep(const struct warm *w, struct hutch *h, int timeout_ms, int wake);

#endif
