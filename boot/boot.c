/*
 * boot.c - how it works
 *
 * 1. What to do is settled in boot_open(), from the file and what was asked:
 *
 *      file            auto             bzimage   elf          pvh
 *      bzImage         ELF out of it,   itself    ELF out of   ELF out of
 *                      else itself                it, 64-bit   it, PVH entry
 *      ELF, packed     PVH entry if     refused   64-bit       PVH entry
 *      or not          marked and not             entry
 *                      Linux, else 64-bit
 *
 *    "else itself" is for kernels packed in a way that only they can unpack.
 *    Linux is entered in 64-bit mode where there is a choice, because the zero
 *    page carries a seed for its random numbers and PVH's start info does not.
 * 2. boot_load() runs on memory that is all zero, and changes nothing in struct
 *    boot: it can run again after each reset.  The kernel goes first, because
 *    the initrd lies as high as it can above the kernel's end.
 * 3. A kernel taken out of its bzImage runs where it was linked to run: moving
 *    it to a random address (KASLR) is what the skipped code would have done.
 */
#include "acpi.h"
#include "boot.h"
#include "bzimage.h"
#include "cmdline.h"
#include "cpu_tables.h"
#include "elf_image.h"
#include "initrd.h"
#include "layout_x86.h"
#include "params.h"
#include "pvh.h"

#define MEMORY_LEAST (2 * MiB)

struct boot {
	enum conf_boot asked;
	struct image kernel;
	bool has_bz;	     /* the file is a bzImage: bz is set */
	bool unpacks_itself; /* and is booted as one: elf and src are not set */
	struct bzimage bz;
	struct source src; /* of the ELF file */
	struct elf elf;
	struct initrd initrd;
	struct cmdline cmdline;
};

/* what loading the kernel settled */
struct loaded {
	struct boot_entry entry; /* without arg */
	gpa_t start, end;
	uint64_t cmdline_most;
};

static int open_payload(struct boot *b)
{
	int r;

	b->src = b->bz.payload;
	r = elf_open(&b->elf, &b->src);
	if (!r)
		return 0;
	if (b->asked == BOOT_AUTO) {
		err_clear();
		b->unpacks_itself = true;
		return 0;
	}
	if (!pack_known(b->src.pack))
		return err(r,
			   "%s: its kernel is packed with %s, which is not known here (gzip, xz "
			   "and lz4 are); use --boot bzimage",
			   b->kernel.what, pack_name(b->src.pack));
	if (b->src.pack == PACK_NONE)
		return err(r,
			   "%s: its kernel is packed in a way that is not known here; use --boot "
			   "bzimage",
			   b->kernel.what);
	return r;
}

static int open_kernel(struct boot *b, const struct conf *conf)
{
	uint8_t head[IMAGE_HEAD];
	enum image_kind kind;
	ssize_t n;
	int r;

	r = image_open(&b->kernel, "kernel", conf->kernel,
		       "a Linux kernel, as a bzImage or ELF file");
	if (r)
		return r;
	n = image_read(&b->kernel, 0, head, sizeof(head));
	if (n < 0)
		return (int)n;
	r = image_identify(b->kernel.what, head, (size_t)n, &kind);
	if (r)
		return r;
	if (kind == IMAGE_BZIMAGE) {
		b->has_bz = true;
		b->unpacks_itself = b->asked == BOOT_BZIMAGE;
		r = bzimage_parse(&b->bz, &b->kernel, head, (size_t)n);
		return r || b->unpacks_itself ? r : open_payload(b);
	}
	if (b->asked == BOOT_BZIMAGE)
		return err(-ENOEXEC, "%s: is no bzImage; use --boot auto", b->kernel.what);
	b->src = (struct source){ .what = b->kernel.what,
				  .fd = b->kernel.fd,
				  .len = b->kernel.size,
				  .pack = pack_of(head, (size_t)n) };
	return elf_open(&b->elf, &b->src);
}

struct boot *boot_open(const struct conf *conf)
{
	struct boot *b = calloc(1, sizeof(*b));
	int r;

	if (!b) {
		err(-ENOMEM, "boot: no memory");
		return NULL;
	}
	b->asked = (enum conf_boot)conf->boot;
	b->kernel.fd = -1;
	r = open_kernel(b, conf);
	if (!r)
		r = initrd_open(&b->initrd, conf);
	if (!r)
		r = cmdline_make(&b->cmdline, conf);
	if (r) {
		boot_close(b);
		return NULL;
	}
	return b;
}

void boot_close(struct boot *b)
{
	if (!b)
		return;
	initrd_close(&b->initrd);
	image_close(&b->kernel);
	free(b);
}

int boot_add_initrd(struct boot *b, const void *buf, size_t len)
{
	return initrd_add(&b->initrd, buf, len);
}

static int load_bzimage(const struct boot *b, struct gmem *mem, struct loaded *ret)
{
	int r = bzimage_load(&b->bz, &b->kernel, mem, &ret->start, &ret->end);

	ret->entry = (struct boot_entry){ .mode = ENTRY_LONG,
					  .rip = ret->start + BZIMAGE_ENTRY_64,
					  .how = "bzImage" };
	return r;
}

static int enter_pvh(const struct boot *b, const struct elf_marks *marks, struct loaded *ret)
{
	if (marks->pvh_entry == ELF_NO_ENTRY)
		return err(-ENOEXEC,
			   "%s: has no PVH entry (an ELF note of Xen, type 18); use --boot auto",
			   b->kernel.what);
	if (!elf_holds(&b->elf, marks->pvh_entry))
		return err(-ENOEXEC, "%s: its PVH entry %#lx lies in none of its segments",
			   b->kernel.what, marks->pvh_entry);
	ret->entry = (struct boot_entry){ .mode = ENTRY_PROT32,
					  .rip = marks->pvh_entry,
					  .how = b->has_bz ? "PVH, ELF out of bzImage" : "PVH" };
	return 0;
}

static int enter_64bit(const struct boot *b, struct loaded *ret)
{
	if (b->elf.entry == ELF_NO_ENTRY)
		return err(-ENOEXEC, "%s: its entry point lies in none of its segments",
			   b->kernel.what);
	if (b->elf.entry >= IDENTITY_MAP)
		return err(-ENOTSUP, "%s: its entry point %#lx lies above 1 GiB; it must be below",
			   b->kernel.what, b->elf.entry);
	ret->entry = (struct boot_entry){ .mode = ENTRY_LONG,
					  .rip = b->elf.entry,
					  .how = b->has_bz ? "ELF out of bzImage" : "ELF" };
	return 0;
}

static int load_elf(const struct boot *b, struct gmem *mem, struct loaded *ret)
{
	struct elf_marks marks = { .pvh_entry = ELF_NO_ENTRY };
	bool pvh = b->asked == BOOT_PVH;
	int r = elf_load(&b->elf, &b->src, mem, &ret->end);

	if (!r && (pvh || !b->has_bz))
		r = elf_read_notes(&b->elf, &b->src, mem, &marks);
	if (r)
		return r;
	if (marks.linux_kernel)
		ret->cmdline_most = CMDLINE_LINUX;
	if (b->asked == BOOT_AUTO && !marks.linux_kernel && marks.pvh_entry != ELF_NO_ENTRY)
		pvh = true;
	return pvh ? enter_pvh(b, &marks, ret) : enter_64bit(b, ret);
}

/* the first byte of the kernel in memory */
static gpa_t kernel_start(const struct boot *b, const struct loaded *l)
{
	gpa_t start = UINT64_MAX;

	if (b->unpacks_itself)
		return l->start;
	for (unsigned i = 0; i < b->elf.segments; i++)
		if (b->elf.segment[i].memsz)
			start = MIN(start, b->elf.segment[i].gpa);
	return start;
}

/* as high as it goes; in a memory too small for that, between 1 MiB and the kernel */
static int load_initrd(const struct boot *b, struct gmem *mem, const struct loaded *l,
		       gpa_t ceiling, struct initrd_at *ret)
{
	gpa_t start = kernel_start(b, l);

	if (!initrd_fits(&b->initrd, l->end, ceiling) &&
	    initrd_fits(&b->initrd, HIGH_RAM_START, MIN(start, ceiling)))
		return initrd_load(&b->initrd, mem, HIGH_RAM_START, MIN(start, ceiling), ret);
	return initrd_load(&b->initrd, mem, l->end, ceiling, ret);
}

/* tell the kernel about the machine, in the way its entry wants it */
static int hand_over(const struct boot *b, struct gmem *mem, const struct board *board,
		     struct loaded *l, const struct initrd_at *initrd)
{
	if (l->entry.mode == ENTRY_PROT32) {
		l->entry.arg = PVH_START_INFO;
		return pvh_write(mem, board, initrd);
	}
	l->entry.arg = ZERO_PAGE;
	return params_write(mem, board, b->has_bz ? &b->bz : NULL, l->start, initrd);
}

int boot_load(struct boot *b, struct gmem *mem, const struct board *board, struct boot_entry *ret)
{
	struct loaded l = { .cmdline_most = CMDLINE_MAX - 1 };
	gpa_t ceiling = board->lowmem_end;
	struct initrd_at initrd;
	int r;

	if (board->lowmem_end < MEMORY_LEAST)
		return err(-EINVAL,
			   "memory: %lu bytes are too few to boot; give --memory 2M or more",
			   board->lowmem_end);
	r = b->unpacks_itself ? load_bzimage(b, mem, &l) : load_elf(b, mem, &l);
	if (r)
		return r;
	if (b->has_bz) {
		ceiling = MIN(ceiling, b->bz.hdr.initrd_addr_max + 1ULL);
		l.cmdline_most = b->bz.hdr.cmdline_size;
	}
	r = cmdline_write(&b->cmdline, mem, l.cmdline_most);
	if (!r)
		r = load_initrd(b, mem, &l, ceiling, &initrd);
	if (!r)
		r = hand_over(b, mem, board, &l, &initrd);
	if (!r)
		r = cpu_tables_write(mem);
	if (!r)
		r = acpi_write(mem, board);
	if (!r)
		*ret = l.entry;
	return r;
}
