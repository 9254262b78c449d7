/* pvh.h - Xen's PVH boot protocol: the start info (layer 3) */
#ifndef HUTCH_PVH_H
#define HUTCH_PVH_H

#include "gmem.h"
#include "initrd.h"

/* the layout is Xen's public interface, start_info.h; all addresses are guest physical */
#define PVH_MAGIC 0x336ec578

struct pvh_start_info {
	uint32_t magic;
	uint32_t version; /* 1: with the memory map */
	uint32_t flags;
	uint32_t nr_modules;
	uint64_t modlist;
	uint64_t cmdline;
	uint64_t rsdp;
	uint64_t memmap;
	uint32_t memmap_entries;
	uint32_t reserved;
};

struct pvh_module {
	uint64_t addr;
	uint64_t size;
	uint64_t cmdline;
	uint64_t reserved;
};

struct pvh_range {
	uint64_t addr;
	uint64_t size;
	uint32_t type; /* as in e820 */
	uint32_t reserved;
};

/* the start info at PVH_START_INFO, the initrd as its only module */
int pvh_write(struct gmem *mem, const struct board *board,
	      const struct initrd_at *initrd) must_check;

#endif
