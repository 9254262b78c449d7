/* image.h - opening a file to boot from, and telling what it is (layer 3) */
#ifndef HUTCH_IMAGE_H
#define HUTCH_IMAGE_H

#include "conf.h"
#include "gmem.h"

#define IMAGE_HEAD 4096 /* bytes that are enough to tell */

struct image {
	char what[CONF_PATH + 8]; /* "kernel PATH": begins every message about it */
	int fd;
	uint64_t size;
};

enum image_kind { IMAGE_BZIMAGE, IMAGE_ELF, IMAGE_PACKED };

/*
 * image_open() - open @path as a @role ("kernel", "initrd") that is not empty
 *
 * A message says what was found instead of a file, and that @want would be
 * right.
 */
int image_open(struct image *img, const char *role, const char *path, const char *want) must_check;
void image_close(struct image *img);

/* up to @len bytes from @off: their number, fewer only at the end of the file */
ssize_t image_read(const struct image *img, uint64_t off, void *buf, size_t len) must_check;

/* -ENOEXEC with a message that names what was found */
int image_identify(const char *what, const uint8_t *head, size_t len,
		   enum image_kind *ret) must_check;

/*
 * image_too_big() - the message for what does not fit in memory
 *
 * @end is where @what would end; returns -ENOMEM.
 */
int image_too_big(const char *what, const struct gmem *mem, uint64_t end) must_check;

#endif
