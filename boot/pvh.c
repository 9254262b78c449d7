#include "layout_x86.h"
#include "memmap.h"
#include "pvh.h"

/* all of it, as it lies in guest memory */
struct start_page {
	struct pvh_start_info info;
	struct pvh_module module;
	struct pvh_range range[MEMMAP_MAX];
};

_Static_assert(sizeof(struct pvh_start_info) == 56, "as Xen lays it out");
_Static_assert(sizeof(struct pvh_module) == 32, "as Xen lays it out");
_Static_assert(sizeof(struct pvh_range) == 24, "as Xen lays it out");
_Static_assert(PVH_START_INFO + sizeof(struct start_page) <= ZERO_PAGE, "they do not overlap");

int pvh_write(struct gmem *mem, const struct board *board, const struct initrd_at *initrd)
{
	struct start_page page = { 0 };
	struct memmap map;

	memmap_make(board, &map);
	for (unsigned i = 0; i < map.n; i++)
		page.range[i] = (struct pvh_range){ .addr = map.range[i].addr,
						    .size = map.range[i].size,
						    .type = map.range[i].type };
	page.info = (struct pvh_start_info){
		.magic = PVH_MAGIC,
		.version = 1,
		.cmdline = CMDLINE_ADDR,
		.rsdp = ACPI_ADDR,
		.memmap = PVH_START_INFO + offsetof(struct start_page, range),
		.memmap_entries = map.n,
	};
	if (initrd->len) {
		page.module = (struct pvh_module){ .addr = initrd->addr, .size = initrd->len };
		page.info.nr_modules = 1;
		page.info.modlist = PVH_START_INFO + offsetof(struct start_page, module);
	}
	return gmem_write(mem, PVH_START_INFO, &page, sizeof(page));
}
