/*
 * image_stream.h - a stretch of a file, read forward, unpacked if it is gzip
 *
 * As everything of an image, these complain() once, naming the source, and
 * return -errno.
 */
#ifndef HUTCH_IMAGE_STREAM_H
#define HUTCH_IMAGE_STREAM_H

#include <sys/types.h>
#include <time.h>

#include "image_sha256.h"

struct image_stream;

struct image_source {
	const char *what; /* for messages */
	int fd;
	uint64_t off, len;
	struct timespec ctime; /* of the file, when it was opened */
};

/*
 * stream_open() - NULL after a complaint: out of memory, or packed in a way that is not taken
 *
 * With @sha, all bytes of the source, as they lie in the file, are added to it.
 */
struct image_stream *stream_open(const struct image_source *src, struct sha256 *sha);
void stream_close(struct image_stream *s);

/* how many of @len bytes there are: fewer only at the end; -EBADMSG, -EIO and what pread() says */
ssize_t stream_read(struct image_stream *s, void *buf, size_t len);
/* all of them: -ENODATA if the source ends before */
int stream_need(struct image_stream *s, void *buf, size_t len);
int stream_skip(struct image_stream *s, uint64_t len); /* as stream_need() */
int stream_drain(struct image_stream *s);	       /* to the end, whose sums are looked at */
uint64_t stream_pos(const struct image_stream *s);     /* of what was handed out */

#endif
