/* bzimage.h - Linux's own boot file: a setup header and a
 * packed kernel that unpacks itself (layer 3) */
#ifndef HUTCH_BZIMAGE_H
#define HUTCH_BZIMAGE_H

#include <asm/bootparam.h>

#include "board.h"
#include "image.h"
#include "unpack.h"

#define SETUP_HEADER	 0x1f1 /* where it begins, in the file and in the zero page */
#define SETUP_HEADER_MAX (0x290 - SETUP_HEADER)
#define BZIMAGE_ENTRY_64 0x200 /* from where the body is loaded */

struct bzimage {
	union {
		struct setup_header hdr; /* zero behind what the file has */
		uint8_t hdr_bytes[SETUP_HEADER_MAX];
	};
	uint64_t body_off, body_len; /* the 64-bit part: all behind the setup sectors */
	struct source payload;	     /* the kernel proper, packed */
};

/* check @img, which begins with @head: -ENOEXEC, -ENODATA with a message; keeps img->what */
int bzimage_parse(struct bzimage *bz, const struct image *img, const uint8_t *head,
		  size_t len) must_check;

/* load it to unpack itself: where it starts, and where all that it uses ends */
int bzimage_load(const struct bzimage *bz, const struct image *img, struct gmem *mem,
		 gpa_t *ret_start, gpa_t *ret_end) must_check;

#endif
