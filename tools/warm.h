/* warm.h - a boot is kept, and the next machine of its kind goes on from there (layer 6) */
#ifndef HUTCH_WARM_H
#define HUTCH_WARM_H

#include "tool.h"

/* before hutch_start() of a machine whose keys are all set */
void warm_look(struct hutch *h);

#endif
