/* kept.h - files of a cache that appear whole, and are not synced (layer 1) */
#ifndef HUTCH_KEPT_H
#define HUTCH_KEPT_H

#include "base.h"

#define KEPT_PATH 4200

/*
 * kept_begin() - an empty file that is to be @path, under another name in its folder: -errno
 *
 * -EEXIST: somebody else is at it, or was killed; the other name ends in ".tmp", and goes when the
 * folder is trimmed.
 */
int kept_begin(const char *path, char tmp[KEPT_PATH]) must_check;
/* it is whole: it takes the place of what was @path */
int kept_end(const char *tmp, const char *path) must_check;
void kept_drop(const char *tmp);

#endif
