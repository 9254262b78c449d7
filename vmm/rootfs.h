/* rootfs.h - which file system an image holds (layer 1) */
#ifndef HUTCH_ROOTFS_H
#define HUTCH_ROOTFS_H

#include "base.h"

/* "erofs", "ext4" (also for ext2 and ext3) or "squashfs": NULL with a message */
const char *rootfs_type(const char *path);

#endif
