/*
 * boot.h - from files to a guest ready for its first instruction (layer 3)
 *
 * boot_open() looks at the files and keeps them open; boot_load() fills guest
 * memory, again after every reset of the machine.
 */
#ifndef HUTCH_BOOT_H
#define HUTCH_BOOT_H

#include "board.h"
#include "conf.h"
#include "gmem.h"

struct boot;

/* how the first vCPU starts; GDT and page tables are in guest memory (layout_x86.h) */
struct boot_entry {
	enum { ENTRY_LONG, ENTRY_PROT32 } mode; /* 64-bit with paging, or flat 32-bit without */
	gpa_t rip;
	gpa_t arg;	 /* rsi: the zero page; ebx: the PVH start info */
	const char *how; /* for people: "bzImage", "ELF out of bzImage", "ELF", "PVH" */
};

/* NULL with a message that names the file and what is wrong with it */
struct boot *boot_open(const struct conf *conf);
void boot_close(struct boot *boot);

/*
 * boot_add_initrd() - join a copy of @buf, a cpio archive, behind the initrds of the configuration
 *
 * Its files win.  -E2BIG for too many, or -errno with a message: no memory.
 */
int boot_add_initrd(struct boot *boot, const void *buf, size_t len) must_check;

/* -errno with a message: does not fit, ends early, overlaps */
int boot_load(struct boot *boot, struct gmem *mem, const struct board *board,
	      struct boot_entry *ret) must_check;

#endif
