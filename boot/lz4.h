/*
 * lz4.h - resumable decoder of LZ4's legacy frame, the one kernels are packed in (layer 3)
 *
 * liblz4 decodes whole blocks only, and these are of 8 MiB: it would cost a
 * buffer for one block packed, one unpacked and a copy through main memory.
 * This one stops wherever input or room runs out, so that everything stays
 * within a window in the processor's cache.
 */
#ifndef HUTCH_LZ4_H
#define HUTCH_LZ4_H

#include "base.h"

#define LZ4_MAGIC  0x184c2102U
#define LZ4_WINDOW 0x10000U /* how far back a match reaches */

struct lz4 {
	enum {
		LZ4_START, /* the magic number */
		LZ4_BLOCK, /* a block's length */
		LZ4_TOKEN,
		LZ4_LITERALS_MORE,
		LZ4_LITERALS,
		LZ4_OFFSET_LOW,
		LZ4_OFFSET_HIGH,
		LZ4_MATCH_MORE,
		LZ4_MATCH,
		LZ4_BAD,
	} state;
	uint32_t number; /* LZ4_START, LZ4_BLOCK: bytes so far */
	unsigned number_len;
	uint32_t block_left; /* packed bytes of this block still to come */
	uint64_t made;	     /* unpacked bytes of this block: no match may reach further back */
	uint64_t run;	     /* literals or match bytes still to copy */
	unsigned token, offset;
};

struct lz4_io {
	const uint8_t *in;
	size_t in_left;
	uint8_t *out; /* the last LZ4_WINDOW bytes made stand before it */
	size_t out_left;
};

/*
 * lz4_run() - decode until @io has no input or no room left
 *
 * -EBADMSG for input that is no LZ4, -ENODATA where the stream ends: a length
 * that no block can have (the kernel's build adds its own size behind it).
 */
int lz4_run(struct lz4 *z, struct lz4_io *io) must_check;

#endif
