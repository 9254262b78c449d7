#include "cpu_tables.h"
#include "layout_x86.h"

#define ENTRIES	    512
#define HUGE_PAGE   (2 * MiB)
#define PTE_PRESENT 0x1
#define PTE_WRITE   0x2
#define PTE_HUGE    0x80

_Static_assert(IDENTITY_MAP == ENTRIES * HUGE_PAGE, "one page directory maps it");
_Static_assert(PAGE_TABLES + 3 * GMEM_PAGE <= SETUP_DATA, "they do not overlap");

int cpu_tables_write(struct gmem *mem)
{
	/* accessed already: no CPU needs to store into them */
	static const uint64_t gdt[] = {
		[GDT_CODE64 / 8] = 0x00af9b000000ffff,
		[GDT_DATA / 8] = 0x00cf93000000ffff,
		[GDT_CODE32 / 8] = 0x00cf9b000000ffff,
	};
	uint64_t pml4 = (PAGE_TABLES + GMEM_PAGE) | PTE_PRESENT | PTE_WRITE;
	uint64_t pdpt = (PAGE_TABLES + 2 * GMEM_PAGE) | PTE_PRESENT | PTE_WRITE;
	uint64_t pd[ENTRIES];
	int r;

	for (uint64_t i = 0; i < ENTRIES; i++)
		pd[i] = i * HUGE_PAGE | PTE_PRESENT | PTE_WRITE | PTE_HUGE;
	r = gmem_write(mem, GDT_ADDR, gdt, sizeof(gdt));
	if (!r)
		r = gmem_write(mem, PAGE_TABLES, &pml4, sizeof(pml4));
	if (!r)
		r = gmem_write(mem, PAGE_TABLES + GMEM_PAGE, &pdpt, sizeof(pdpt));
	if (!r)
		r = gmem_write(mem, PAGE_TABLES + 2 * GMEM_PAGE, pd, sizeof(pd));
	return r;
}
