/* memmap.h - the memory map that a direct boot tells the kernel (layer 3) */
#ifndef HUTCH_MEMMAP_H
#define HUTCH_MEMMAP_H

#include "board.h"

#define MEMMAP_MAX	8

/* as in e820, and the same in PVH's map */
#define MEMMAP_RAM	1
#define MEMMAP_RESERVED 2

struct memmap {
	unsigned n;
	struct memmap_range {
		gpa_t addr;
		uint64_t size;
		uint32_t type;
	} range[MEMMAP_MAX];
};

void memmap_make(const struct board *board, struct memmap *ret);

#endif
