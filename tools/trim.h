/* trim.h - memory that is kept unpacked is a cache, and has its size (layer 6) */
#ifndef HUTCH_TRIM_H
#define HUTCH_TRIM_H

#include <stdbool.h>
#include <stdint.h>

/* remove what was not used for longest, until 2G are left; and what killed processes left */
void kept_trim(const char *folder);

#endif
