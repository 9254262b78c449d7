/* image_dir.h - a folder of the host as the source of an image; all complain() and return -errno */
#ifndef HUTCH_IMAGE_DIR_H
#define HUTCH_IMAGE_DIR_H

#include "image_erofs.h"
#include "image_sha256.h"

/*
 * dir_scan() - names and inodes into an empty tree
 *
 * Sockets are left out, as tar does, and so is what is mounted inside: of that
 * the empty folder remains.
 */
int dir_scan(struct image_tree *t, int root);
/* what tells one state of a folder from another: of a frozen tree, before erofs_open() */
void dir_key(const struct image_tree *t, struct sha256 *sum);
/* let the clock pass the last change, so that one that follows cannot look like it */
void dir_settle(const struct image_tree *t);
/* extended attributes of files and folders into a frozen tree, before erofs_open() */
int dir_xattrs(struct image_tree *t, int root);
/* contents into the image: -ESTALE too, if a file is not as it was when it was looked at */
int dir_contents(struct image_tree *t, int root, struct erofs *e);

/* open a path beneath @root, no part of it a symlink: -errno without a complaint */
int open_beneath(int root, const char *path, int flags);

#endif
