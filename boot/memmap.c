#include "layout_x86.h"
#include "memmap.h"

static void add(struct memmap *map, gpa_t from, gpa_t to, uint32_t type)
{
	BUG_ON(map->n == MEMMAP_MAX);
	if (from < to)
		map->range[map->n++] = (struct memmap_range){ from, to - from, type };
}

void memmap_make(const struct board *board, struct memmap *ret)
{
	ret->n = 0;
	add(ret, 0, LOW_RAM_END, MEMMAP_RAM);
	add(ret, LOW_RAM_END, HIGH_RAM_START, MEMMAP_RESERVED); /* the ACPI tables are there */
	add(ret, HIGH_RAM_START, board->lowmem_end, MEMMAP_RAM);
	/* Linux uses ECAM only where the map reserves it */
	if (board->pci)
		add(ret, ECAM_BASE, ECAM_BASE + ECAM_SIZE, MEMMAP_RESERVED);
	add(ret, HIGHMEM_BASE, board->highmem_end, MEMMAP_RAM);
}
