/* image_erofs.h - a tree as a file system: EROFS, not compressed, that Linux 5.16 and later mount
 */
#ifndef HUTCH_IMAGE_EROFS_H
#define HUTCH_IMAGE_EROFS_H

#include <sys/types.h>

#include "image_tree.h"

struct erofs;

/*
 * erofs_open() - decide where everything of a frozen tree lies, and write all but the content of
 * files to @fd, an empty file.  NULL after a complaint.
 */
struct erofs *erofs_open(struct image_tree *t, int fd);
void erofs_close(struct erofs *e);
uint64_t erofs_size(const struct erofs *e); /* of the image, in bytes */

/* the next @len bytes of a file's content: 0, 1 if they are zeros and @buf is as it was, or -errno
 * after a complaint */
typedef int erofs_read_fn(void *arg, void *buf, size_t len);

/* erofs_file() - one regular file of the tree, its content read front to back; once for each */
int erofs_file(struct erofs *e, const struct image_node *n, erofs_read_fn *read, void *arg);

#endif
