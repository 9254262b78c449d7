/* elf_image.h - ELF kernels: vmlinux, packed or not, and anything else with a PVH note (layer 3) */
#ifndef HUTCH_ELF_IMAGE_H
#define HUTCH_ELF_IMAGE_H

#include "gmem.h"
#include "unpack.h"

#define ELF_SEGMENTS 32
#define ELF_NOTES    8
#define ELF_NO_ENTRY UINT64_MAX

struct elf_segment {
	uint64_t off, filesz; /* in the unpacked file */
	uint64_t vaddr;
	gpa_t gpa;
	uint64_t memsz;
};

struct elf_note {
	uint64_t off, len, align;
};

struct elf {
	gpa_t entry; /* ELF_NO_ENTRY if it names no address of the file */
	unsigned segments, notes;
	struct elf_segment segment[ELF_SEGMENTS]; /* in order of off */
	struct elf_note note[ELF_NOTES];
};

/* what the notes say */
struct elf_marks {
	bool linux_kernel;
	gpa_t pvh_entry; /* ELF_NO_ENTRY if there is none */
};

/* read and check the headers: -ENOEXEC, -ENODATA, -ENOTSUP with a message */
int elf_open(struct elf *elf, const struct source *src) must_check;

/* put the segments into memory that reads as zero; where the last byte below 4 GiB ends */
int elf_load(const struct elf *elf, const struct source *src, struct gmem *mem,
	     gpa_t *ret_end) must_check;

/* read the notes, after elf_load() */
int elf_read_notes(const struct elf *elf, const struct source *src, const struct gmem *mem,
		   struct elf_marks *ret) must_check;

/* does a segment hold @gpa? */
bool elf_holds(const struct elf *elf, gpa_t gpa);

#endif
