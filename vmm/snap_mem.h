/* snap_mem.h - guest memory as a row of chunks, see snap_file.h (layer 4) */
#ifndef HUTCH_SNAP_MEM_H
#define HUTCH_SNAP_MEM_H

#include "gmem.h"
#include "snap_file.h"

static inline uint64_t snap_chunks_of(uint64_t len)
{
	return (len + SNAP_CHUNK - 1) / SNAP_CHUNK;
}

static inline uint64_t snap_chunks(const struct gmem *mem)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < mem->n; i++)
		n += snap_chunks_of(mem->slot[i].len);
	return n;
}

/* where chunk @n lies, and how long it is; it exists */
static inline const struct gmem_slot *snap_slot(const struct gmem *mem, uint64_t n,
						uint64_t *ret_off, size_t *ret_len)
{
	for (unsigned i = 0; i < mem->n; i++) {
		const struct gmem_slot *s = &mem->slot[i];
		uint64_t chunks = snap_chunks_of(s->len);

		if (n < chunks) {
			*ret_off = n * SNAP_CHUNK;
			*ret_len = MIN((uint64_t)SNAP_CHUNK, s->len - *ret_off);
			return s;
		}
		n -= chunks;
	}
	BUG_ON(1);
}

#endif
