/* image_tar.h - archives as the source of an image; all complain() and return -errno */
#ifndef HUTCH_IMAGE_TAR_H
#define HUTCH_IMAGE_TAR_H

#include "image_erofs.h"
#include "image_stream.h"

/*
 * tar_read() - what an archive describes into a tree, over what is there
 *
 * ustar, pax and GNU archives, plain or gzip.  Contents are skipped: nodes get
 * @source and their offset in the unpacked stream.  With @layer, whiteouts of
 * OCI layers are applied.  @sum (may be NULL) takes all bytes of the source.
 */
int tar_read(struct image_tree *t, const struct image_source *src, uint32_t source, bool layer,
	     struct sha256 *sum);

/* the contents of all files of a frozen tree, which lie in @sources, into the image */
int tar_contents(struct image_tree *t, const struct image_source *sources, uint32_t count,
		 struct erofs *e);

#endif
