/*
 * snap_rig.h - a snapshot's file in memory, to be damaged
 *
 * For the tests and the fuzzer of snap_file.c; it knows no libcheck, because
 * fuzzers link it too.  What is changed in an image has wrong checksums until
 * rig_seal() has made them right again: so a test says whether a lie is to be
 * found by its checksum or by its sense.
 */
#ifndef HUTCH_TEST_SNAP_RIG_H
#define HUTCH_TEST_SNAP_RIG_H

#include "conf.h"
#include "snap.h"

/* RIG_LEN of memory, the last chunk of which is a page */
#define RIG_CHUNKS 34U
#define RIG_KINDS  4U  /* the first ones are of each kind */
#define RIG_ODD	   14U /* almost of one word */
#define RIG_LAST   4096U
#define RIG_LEN	   ((uint64_t)(RIG_CHUNKS - 1) * SNAP_CHUNK + RIG_LAST)

struct image {
	uint8_t *data;
	size_t size;
};

void image_freep(struct image *image);
#define cleanup_image cleanup(image_freep)

/* what chunk @n is made of: each kind of chunk is among them */
enum snap_kind rig_kind(uint64_t n);
uint32_t rig_len(uint64_t n);
void rig_fill(uint64_t n, uint8_t *to);

/* a machine's tree without a machine: /board and /state are empty; its size */
int rig_tree(void **ret);
int rig_tree_with_disks(void **ret); /* two, and what was written to them is in the snapshot */

/* packed by so many threads */
struct image rig_image(int level, unsigned threads);
/* the same, but what is behind the first of each kind is zeroes: for who needs many */
struct image rig_small_image(void);
/* a small one, and pieces of two disks: of each kind, side by side and far away */
#define RIG_PIECES 8U
struct image rig_image_with_pieces(int level, unsigned threads);
uint64_t rig_piece(uint64_t i); /* where it belongs */
enum snap_kind rig_piece_kind(uint64_t i);
void rig_fill_piece(uint64_t i, uint8_t to[SNAP_CHUNK]);
struct image rig_copy(const struct image *image);

/*
 * A child has a fifth of the chunks anew, each time another fifth.  What is in
 * them after @generation children, and such a child of @parent that says it lies at @path.
 */
bool rig_is_anew(unsigned generation, uint64_t n);
void rig_fill_child(unsigned generation, uint64_t n, uint8_t to[SNAP_CHUNK]);
struct image rig_child(const struct image *parent, unsigned generation, int level,
		       const char *path);
struct image rig_child_with_pieces(const struct image *parent, unsigned generation, int level,
				   const char *path);

static inline struct snap_header *rig_head(const struct image *image)
{
	return (struct snap_header *)(void *)image->data;
}

/* the section of this type; there is one */
struct snap_section *rig_section(const struct image *image, enum snap_section_type type);
struct snap_entry rig_entry(const struct image *image, uint64_t n);
void rig_set_entry(struct image *image, uint64_t n, struct snap_entry e);

/* of an image whose list of disks lies in the file: how many, where one belongs, and its entry */
#define RIG_PIECE_SIZE (sizeof(uint64_t) + sizeof(struct snap_entry))
uint64_t rig_pieces(const struct image *image);
uint64_t rig_piece_of(const struct image *image, uint64_t i, struct snap_entry *ret);
void rig_set_piece(struct image *image, uint64_t i, uint64_t at, struct snap_entry e);

/* room behind the last byte, which the header's size takes in: where it begins */
uint64_t rig_append(struct image *image, const void *data, size_t size);
/* another tree: behind all the rest */
void rig_retree(struct image *image, const void *tree, size_t size);
/* other bytes in the file for a chunk, with their checksum; the index has to be sealed */
void rig_rechunk(struct image *image, uint64_t n, enum snap_kind kind, const void *data,
		 size_t size);
/* the checksums of sections and of the header as they should be; sections that lie in no place of
 * the file are left alone */
void rig_seal(struct image *image);

/* a memfd with these bytes, and back */
int rig_fd(const struct image *image);
struct image rig_of_fd(int fd);

#endif
