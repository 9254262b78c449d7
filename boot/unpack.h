/*
 * unpack.h - a packed part of a file, read forward in pieces (layer 3)
 *
 * A kernel is unpacked straight into guest memory, through one window of a few
 * hundred KiB: no copy of the whole ever exists on the host.
 */
#ifndef HUTCH_UNPACK_H
#define HUTCH_UNPACK_H

#include "base.h"

/* how bytes are packed; after PACK_NONE in the order of pack_names */
enum pack { PACK_NONE, PACK_GZIP, PACK_XZ, PACK_LZ4, PACK_ZSTD, PACK_BZIP2, PACK_LZMA, PACK_LZO };

/* no kernel is larger; a packed file that says so only costs time */
#define UNPACK_MAX (1 * GiB)

/* where packed bytes lie; @what begins every message about them */
struct source {
	const char *what;
	int fd;
	uint64_t off, len;
	enum pack pack;
};

struct unpack;

enum pack pack_of(const uint8_t *head, size_t len);
const char *pack_name(enum pack pack);
bool pack_known(enum pack pack); /* can it be unpacked here? */

/* NULL with a message: no memory, or a format that is not known here */
struct unpack *unpack_open(const struct source *src);
void unpack_close(struct unpack *u);
void cleanup_unpack(struct unpack **u);

/*
 * unpack_next() - the next 1 to @most bytes, good until the next call
 *
 * Their number, or a message and -ENODATA at the end, -EBADMSG for damage, or
 * the -errno of reading.
 */
ssize_t unpack_next(struct unpack *u, uint64_t most, const uint8_t **ret) must_check;

/* exactly @len bytes; errors as above */
int unpack_read(struct unpack *u, void *buf, size_t len) must_check;

/* go to @pos of the unpacked bytes; going back unpacks again from the start */
int unpack_seek(struct unpack *u, uint64_t pos) must_check;

/*
 * unpack_finish() - read on to the end, for the sums that gzip and xz keep there
 *
 * Errors as above, or -EFBIG for more than UNPACK_MAX.
 */
int unpack_finish(struct unpack *u) must_check;

#endif
