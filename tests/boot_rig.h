/*
 * boot_rig.h - kernels made in memory, and a machine's memory to boot them in
 *
 * For the tests and fuzzers of boot/.  Files are memfds, named to the code
 * under test as /proc/self/fd/N.
 */
#ifndef HUTCH_TEST_BOOT_RIG_H
#define HUTCH_TEST_BOOT_RIG_H

#include "boot.h"
#include "unpack.h"

struct blob {
	uint8_t *data;
	size_t len;
};

void blob_free(struct blob *b);
#define cleanup_blob cleanup(blob_free)
struct blob blob_of(const void *data, size_t len);

void blob_put16(struct blob *b, size_t off, uint16_t v);
void blob_put32(struct blob *b, size_t off, uint32_t v);
void blob_put64(struct blob *b, size_t off, uint64_t v);

/* a segment filled with a pattern of its own; where it lies in the file is up to make_elf() */
struct seg {
	uint64_t vaddr;
	gpa_t gpa;
	size_t filesz;
	uint64_t memsz;
};

enum {
	NOTE_PVH = 1,
	NOTE_LINUX = 2,
	NOTE_WIDE = 4,	 /* 8-byte alignment and entry */
	NOTE_LOADED = 8, /* not behind the segments but in the first, where memory has them too */
};

#define ELF_PH(i)    (64 + 56 * (size_t)(i)) /* where program header i lies in the file */
#define PVH_OFFSET   0x40		     /* the PVH entry lies this far in the first segment */

#define NOTES_OFFSET 0x200 /* and the notes of NOTE_LOADED this far */

/* segments stand in the file in the order given, the notes behind them in a PT_NOTE of their own */
struct blob make_elf(const struct seg *seg, unsigned n, uint64_t entry, unsigned notes);
uint8_t pattern(gpa_t gpa); /* what make_elf() fills a segment with, at each address */

/* lz4: stored as literals, and runs of one byte as matches */
struct blob make_packed(const struct blob *plain, enum pack pack);

/* a bzImage of protocol 2.15 around @payload, which is taken as it is; tests change its fields */
struct blob make_bzimage(const struct blob *payload);

struct rig {
	struct conf conf;
	struct gmem mem;
	struct board board;
	struct boot *boot;
	struct boot_entry entry;
	unsigned files;
	int fd[8];
};

struct rig *rig_new(uint64_t memory);
void rig_free(struct rig *rig);
void rig_freep(struct rig **rig);
#define cleanup_rig cleanup(rig_freep)

void rig_kernel(struct rig *rig, const struct blob *b);
void rig_initrd(struct rig *rig, const struct blob *b);

/* other bytes for a file given before, in the order they were given */
void rig_replace(struct rig *rig, unsigned file, const void *data, size_t len);

/* boot_open() and boot_load(): 0, or -1 if the first failed, or what the second returned */
int rig_boot(struct rig *rig);

/* for fuzzers: boot, check that there is a message or a good entry, and clear memory */
void rig_try(struct rig *rig);

#endif
