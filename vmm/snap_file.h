/*
 * snap_file.h - a snapshot's file: a tree and the memory's chunks, packed and under checksums
 * (layer 1)
 *
 * It knows of bytes, not of machines.  All numbers are little-endian.
 *
 *	0	header, a page; written last, so a file that was not finished has none
 *	4096	data: what chunks need, in any order
 *	...	the sections: the machine's tree, an FDT; the index
 *
 * 1. Memory is a row of chunks of 64 KiB; where one RAM range ends within a
 *    chunk, that chunk is shorter, and the next range begins a new one.
 * 2. The index has 16 bytes for each: what it is (zero, one word repeated, raw,
 *    deflate), where, how long, and a CRC of the bytes in the file.  A chunk is
 *    looked at before it is unpacked, and never unpacked past its length.
 * 3. The header, each section and each chunk has a CRC; what lies in none of
 *    them (between sections, behind the last) does not exist: the size in the
 *    header is the file's.  So no byte can change, and no byte go, unseen.
 * 4. A file is hostile until snap_open() has taken it, and its chunks until
 *    snap_read() has.  What is refused is named.
 * 5. In a flat file chunk n lies at a place of its own, n chunks behind the first,
 *    raw, and zeroes are holes: it can be mapped as memory.  A section says where.
 * 6. A section of a type that is not known is refused, unless its flag says that
 *    it may be passed over.  What is known of a version never changes.
 * 7. A child has a parent, another file, and a section that says which: its id, the
 *    CRC of its index, and where it was.  A chunk of the kind parent has no bytes
 *    here: it is the parent's of the same number.  A parent may itself be a child;
 *    the chain is no longer than SNAP_DEPTH.  A child is never flat.
 * 8. Disks may be there, too: pieces of 64 KiB of what a disk's overlay holds, those
 *    that are not all zeroes, in order.  A section has for each where it belongs,
 *    and then an entry for each as the index has them; they are the chunks behind
 *    the memory's.  A child has all of them itself, and none lies flat.
 */
#ifndef HUTCH_SNAP_FILE_H
#define HUTCH_SNAP_FILE_H

#include <zlib.h>

#include "base.h"

#define SNAP_MAGIC    "hutchimg"
#define SNAP_VERSION  1U
#define SNAP_PAGE     4096U
#define SNAP_CHUNK    (64U << 10)
#define SNAP_SECTIONS 16U
#define SNAP_TREE_MAX (256U << 20)
#define SNAP_LEVEL    1	 /* of zlib: 6 takes three times as long for 9% */
#define SNAP_DEPTH    64 /* files of a chain */

enum snap_section_type {
	SNAP_SECTION_TREE = 1,
	SNAP_SECTION_INDEX,
	SNAP_SECTION_FLAT,
	SNAP_SECTION_PARENT,
	SNAP_SECTION_DISKS,
};
#define SNAP_OPTIONAL 1U /* flag of a section: who does not know it may go without */

struct snap_section {
	uint32_t type, flags;
	uint64_t at, size;
	uint32_t crc, zero;
};

struct snap_header {
	char magic[8];
	uint32_t version, sections;
	uint64_t size;	 /* of the file */
	uint64_t chunks; /* of memory */
	uint8_t id[16];	 /* random: names this snapshot */
	struct snap_section section[SNAP_SECTIONS];
	uint8_t zero[SNAP_PAGE - 48 - SNAP_SECTIONS * sizeof(struct snap_section) - 4];
	uint32_t crc; /* of all that is before it */
};

enum snap_kind { SNAP_ZERO, SNAP_FILL, SNAP_RAW, SNAP_DEFLATE, SNAP_PARENT, SNAP_KINDS };

/* the section of that name */
struct snap_parent {
	uint8_t id[16];
	uint64_t chunks;
	uint32_t index_crc, zero;
	char path[SNAP_PAGE - 32]; /* from the child's folder on, or absolute */
};

struct snap_entry {
	uint64_t at;   /* in the file; SNAP_FILL: the word */
	uint32_t what; /* the kind << 28 | bytes in the file */
	uint32_t crc;  /* of those bytes */
};

/* the disk << 48 | which piece of its overlay, so that each has a place below 2^64 */
#define SNAP_PIECE(disk, n) ((uint64_t)(disk) << 48 | (n))

static inline unsigned snap_piece_disk(uint64_t piece)
{
	return (unsigned)(piece >> 48);
}

static inline uint64_t snap_piece_at(uint64_t piece)
{
	return (piece & ((1ULL << 48) - 1)) * SNAP_CHUNK;
}

static inline enum snap_kind snap_kind(const struct snap_entry *e)
{
	return (enum snap_kind)(e->what >> 28);
}

static inline uint32_t snap_stored(const struct snap_entry *e)
{
	return e->what & 0xfffffff;
}

#define SNAP_ID 33						    /* an id as text */
const char *snap_print_id(const uint8_t id[16], char buf[SNAP_ID]); /* @buf */
int snap_scan_id(const char *text, uint8_t ret[16]) must_check;	    /* -EINVAL */

/* --- reading --- */

/* who is told how far it is, on the thread that asked for it */
struct snap_progress {
	void (*fn)(void *arg, uint64_t done, uint64_t all);
	void *arg;
};

struct snap_file {
	const struct snap_progress *progress; /* the caller's; NULL: nobody */
	int fd;				      /* the caller's */
	char name[256];
	struct snap_header head;
	void *tree;
	size_t tree_size;
	struct snap_entry *entry;   /* of memory's chunks, and then of the pieces of disks */
	uint64_t pieces, *piece;    /* where they belong: SNAP_PIECE() */
	uint64_t flat;		    /* where memory lies as it is, 0: it does not */
	struct snap_parent *wanted; /* NULL: it has no parent */
	struct snap_file *parent;   /* once it is open, with its fd and its memory: this one's */
};

/* @name stands in messages. -EINVAL, -EBADMSG, -ENOMEM or of the reading, with the part's name;
 * then there is nothing to close */
int snap_open(struct snap_file *f, int fd, const char *name) must_check;
void snap_close(struct snap_file *f);

/* the CRC of its index, which is what it is known by beside its id */
uint32_t snap_index_crc(const struct snap_file *f);
/* snap_adopt() - @parent, from malloc(), belongs to @f from here on; -ESTALE if it is not the one
 * that is wanted, with a message, and it is the caller's */
int snap_adopt(struct snap_file *f, struct snap_file *parent) must_check;

/* @done = @all: it has ended */
static inline void snap_progress(const struct snap_file *f, uint64_t done, uint64_t all)
{
	if (f->progress && f->progress->fn)
		f->progress->fn(f->progress->arg, done, all);
}

/* which file of the chain has chunk @n */
static inline const struct snap_file *snap_owner(const struct snap_file *f, uint64_t n)
{
	while (snap_kind(&f->entry[n]) == SNAP_PARENT)
		f = f->parent;
	return f;
}

/* what one thread needs to unpack, or to pack */
struct snap_unpacker {
	z_stream z;
	uint8_t in[SNAP_CHUNK], out[SNAP_CHUNK];
};

int snap_unpacker_init(struct snap_unpacker *u) must_check; /* -ENOMEM with a message */
void snap_unpacker_free(struct snap_unpacker *u);

/*
 * snap_read() - chunk @n, which has @len bytes, to @to, which reads as zero so far
 *
 * -EBADMSG: it was damaged; -EIO and the like.  Any thread, with an unpacker of its own.  Of a
 * child, whose parents are all open.
 */
int snap_read(const struct snap_file *f, uint64_t n, uint8_t *to, size_t len,
	      struct snap_unpacker *u) must_check;

/* --- writing: begin, pack each chunk by any thread, end --- */

struct snap_writer {
	int fd;
	int level; /* of zlib; 0: raw */
	bool flat;
	uint64_t at; /* where the next bytes go; atomic */
	uint64_t chunks;
	uint64_t pieces, *piece; /* of disks: chunks from @chunks on; the caller's */
	struct snap_entry *entry;
	uint8_t id[16];
};

#define SNAP_BATCH	  (1U << 20)
#define SNAP_BATCH_CHUNKS (SNAP_BATCH / SNAP_CHUNK)

struct snap_packer {
	struct snap_writer *w;
	z_stream z;
	uint32_t used;
	unsigned waiting; /* entries of @w whose bytes are in @out */
	uint64_t entry[SNAP_BATCH_CHUNKS * 64];
	uint8_t out[SNAP_BATCH];
};

/* @fd is an empty file that can be written at any place; -errno with a message */
int snap_begin(struct snap_writer *w, int fd, uint64_t chunks, int level) must_check;
/* the same of a child, which is no snapshot before snap_add_parent() */
int snap_begin_child(struct snap_writer *w, int fd, uint64_t chunks, int level) must_check;
/* before any chunk is packed: there are pieces of disks as well; -ENOMEM with a message */
int snap_add_pieces(struct snap_writer *w, uint64_t *piece, uint64_t pieces) must_check;
int snap_packer_init(struct snap_packer *p, struct snap_writer *w) must_check;
/* a chunk that is never packed is all zeroes; -errno of the writing */
int snap_pack(struct snap_packer *p, uint64_t n, const uint8_t *data, size_t len) must_check;
/* a chunk that has no bytes in another file either, and that one's entry for it */
void snap_put(struct snap_writer *w, uint64_t n, const struct snap_entry *e);
/* a child's chunk is its parent's */
void snap_leave(struct snap_writer *w, uint64_t n);
int snap_packer_end(struct snap_packer *p) must_check; /* what is still to be written */
void snap_packer_free(struct snap_packer *p);
/* the tree, the index, and at last the header; -errno with a message */
int snap_end(struct snap_writer *w, const void *tree, size_t size) must_check;
void snap_writer_free(struct snap_writer *w);
/* the last step of a child: @fd is what snap_end() has left; -errno with a message */
int snap_add_parent(int fd, const struct snap_parent *parent) must_check;

#endif
