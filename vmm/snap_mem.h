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

/* where chunk @n is here, and how long; it exists */
static inline uint8_t *snap_chunk(const struct gmem *mem, uint64_t n, size_t *ret_len)
{
	for (unsigned i = 0; i < mem->n; i++) {
		const struct gmem_slot *s = &mem->slot[i];
		uint64_t chunks = snap_chunks_of(s->len);

		if (n < chunks) {
			*ret_len = MIN((uint64_t)SNAP_CHUNK, s->len - n * SNAP_CHUNK);
			return s->hva + n * SNAP_CHUNK;
		}
		n -= chunks;
	}
	BUG_ON(1);
}

#endif
