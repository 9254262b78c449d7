/* #syscalls getrandom */
#include <sys/random.h>

#include "layout_x86.h"
#include "memmap.h"
#include "params.h"

#define BOOT_FLAG    0xaa55
#define HEADER_MAGIC 0x53726448 /* "HdrS" */
#define NO_LOADER_ID 0xff
#define SEED_BYTES   32

_Static_assert(sizeof(struct boot_params) == 0x1000, "the zero page is a page");
_Static_assert(offsetof(struct boot_params, hdr) == SETUP_HEADER, "the header is where it says");

/*
 * Linux takes the seed at once and wipes it; without it, a guest that has no
 * other source waits for random numbers.  Kernels that do not know the type
 * (before 6.0) pass over it.
 */
static int write_seed(struct gmem *mem)
{
	struct setup_data head = { .type = SETUP_RNG_SEED, .len = SEED_BYTES };
	uint8_t seed[SEED_BYTES];
	int r;

	if (getrandom(seed, sizeof(seed), 0) != sizeof(seed))
		return err(-errno, "boot: no random bytes for the guest: %s", strerror(errno));
	r = gmem_write(mem, SETUP_DATA, &head, sizeof(head));
	return r ? r : gmem_write(mem, SETUP_DATA + sizeof(head), seed, sizeof(seed));
}

/* what a kernel looks at when no bzImage brought it: a header as of Linux 3.8 */
static void plain_header(struct setup_header *hdr)
{
	hdr->boot_flag = BOOT_FLAG;
	hdr->header = HEADER_MAGIC;
	hdr->version = 0x20c;
	hdr->loadflags = LOADED_HIGH;
	hdr->kernel_alignment = 2 * MiB;
	hdr->vid_mode = 0xffff; /* normal */
}

static void put_initrd(struct boot_params *bp, const struct initrd_at *initrd)
{
	bp->hdr.ramdisk_image = (uint32_t)initrd->addr;
	bp->hdr.ramdisk_size = (uint32_t)initrd->len;
	bp->ext_ramdisk_image = (uint32_t)(initrd->addr >> 32);
	bp->ext_ramdisk_size = (uint32_t)(initrd->len >> 32);
}

static void put_memmap(struct boot_params *bp, const struct board *board)
{
	struct memmap map;

	memmap_make(board, &map);
	for (unsigned i = 0; i < map.n; i++)
		bp->e820_table[i] = (struct boot_e820_entry){ map.range[i].addr, map.range[i].size,
							      map.range[i].type };
	bp->e820_entries = (uint8_t)map.n;
}

int params_write(struct gmem *mem, const struct board *board, const struct bzimage *bz, gpa_t start,
		 const struct initrd_at *initrd)
{
	struct boot_params bp = { 0 };
	int r = write_seed(mem);

	if (r)
		return r;
	/* the file's header and nothing around it: what else stands there is real-mode code */
	if (bz)
		memcpy((uint8_t *)&bp + SETUP_HEADER, bz->hdr_bytes, sizeof(bz->hdr_bytes));
	else
		plain_header(&bp.hdr);
	bp.hdr.type_of_loader = NO_LOADER_ID;
	bp.hdr.ext_loader_ver = bp.hdr.ext_loader_type = 0;
	bp.hdr.loadflags &= (uint8_t) ~(CAN_USE_HEAP | KASLR_FLAG);
	if (start)
		bp.hdr.code32_start = (uint32_t)start;
	bp.hdr.cmd_line_ptr = CMDLINE_ADDR;
	bp.hdr.setup_data = SETUP_DATA;
	bp.acpi_rsdp_addr = ACPI_ADDR;
	put_initrd(&bp, initrd);
	put_memmap(&bp, board);
	return gmem_write(mem, ZERO_PAGE, &bp, sizeof(bp));
}
