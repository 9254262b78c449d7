/*
 * gmem.h - guest memory: the only way from a guest address to host bytes (layer 1)
 *
 * Every access names its length; a range that is not all RAM is -EFAULT and
 * nothing is moved.  Every store by the VMM marks its pages dirty, because
 * KVM's log cannot see it.  Each slot lies between two guard pages.
 */
#ifndef HUTCH_GMEM_H
#define HUTCH_GMEM_H

#include <sys/uio.h>

#include "base.h"

#define GMEM_SLOTS 8
#define GMEM_PAGE  4096ULL

struct gmem_slot {
	gpa_t gpa;
	uint64_t len;
	uint8_t *hva;
	unsigned long *dirty; /* one bit a page: stores of the VMM */
	bool mapped;	      /* what was not stored to is a file's: gmem_map() */
	unsigned holes;	      /* in that */
};

/* who puts pages in when they are asked for, while there is one; any thread */
struct gmem_filler {
	/* before bytes are looked at, or stored: -errno with a message, and they are not there */
	int (*look)(struct gmem_filler *f, const uint8_t *hva, uint64_t len);
	/* before pages are given back, after which they are zeroes */
	int (*drop)(struct gmem_filler *f, const uint8_t *hva, uint64_t len);
};

struct gmem {
	struct gmem_filler *filler; /* NULL: all pages are there */
	unsigned n;
	struct gmem_slot slot[GMEM_SLOTS]; /* in order of gpa, not overlapping */
};

/* gmem_add() - RAM of @len bytes at @gpa, both of whole pages: -EINVAL, -ENOMEM; not touched yet */
int gmem_add(struct gmem *mem, gpa_t gpa, uint64_t len) must_check;
void gmem_free(struct gmem *mem);

/*
 * gmem_map() - slot @i shows @fd from @off on, page by page as it is looked at
 *
 * Stores stay here.  The file is never written again, and is long enough; it may be closed, and
 * lose its name.  Before any guest runs; -errno of the mapping.
 */
int gmem_map(struct gmem *mem, unsigned i, int fd, uint64_t off) must_check;

int gmem_read(const struct gmem *mem, gpa_t gpa, void *dst, size_t len) must_check;
int gmem_write(struct gmem *mem, gpa_t gpa, const void *src, size_t len) must_check;
int gmem_zero(struct gmem *mem, gpa_t gpa, uint64_t len) must_check;

/*
 * gmem_load() - fill [@gpa, @gpa + @len) from @fd at @off
 *
 * -EFAULT outside RAM, -ENODATA if the file ends early, -errno of the read.
 */
int gmem_load(struct gmem *mem, gpa_t gpa, int fd, uint64_t off, uint64_t len) must_check;

/* gmem_iov() - iov[] over a range: entries used, -EFAULT, or -E2BIG past @max */
int gmem_iov(const struct gmem *mem, gpa_t gpa, size_t len, struct iovec *iov,
	     unsigned max) must_check;

/* mark what was stored through an iovec of gmem_iov() */
void gmem_dirty(struct gmem *mem, const void *hva, size_t len);

/* one naturally aligned little-endian 16-bit access: load-acquire, store-release */
int gmem_ld16(const struct gmem *mem, gpa_t gpa, uint16_t *ret) must_check;
int gmem_st16(struct gmem *mem, gpa_t gpa, uint16_t v) must_check;

/* is the whole range RAM? */
bool gmem_is_ram(const struct gmem *mem, gpa_t gpa, uint64_t len);

/*
 * gmem_discard() - give the pages of [@gpa, @gpa + @len) back to the host
 *
 * For a device whose guest gave them up (balloon); vCPUs may run.  They read as
 * zero and cost nothing until something is stored to them again.  That is a
 * change of content by the VMM, so they are marked dirty like any other: else
 * what a snapshot chain keeps of them would be the old bytes, which the guest
 * may have been promised to never see again.  A page that is saved as zeroes
 * costs a snapshot next to nothing.
 * -EFAULT if it is not whole pages of RAM, and nothing is touched; -errno of
 * the host where a backing cannot give them up, and what lies behind is as it was.
 */
int gmem_discard(struct gmem *mem, gpa_t gpa, uint64_t len) must_check;

/* gmem_gpa() - where the guest has the byte that an iovec of gmem_iov() begins with */
gpa_t gmem_gpa(const struct gmem *mem, const void *p);

/* every page reads as zero again and costs nothing, as after gmem_add(); no vCPU may run */
void gmem_discard_all(struct gmem *mem);

/* is a page of [@off, @off + @len) of the slot marked dirty? */
bool gmem_any_dirty(const struct gmem_slot *s, uint64_t off, uint64_t len);
/* more of them, a bit a page from slot @i's first one on; then none at all.  No vCPU may run */
void gmem_mark_dirty(struct gmem *mem, unsigned i, const unsigned long *bitmap);
void gmem_clear_dirty(struct gmem *mem);
/* words of such a bitmap */
size_t gmem_dirty_words(const struct gmem_slot *s);

/* read and clear the VMM's dirty bit of the page at @gpa */
bool gmem_test_clear_dirty(struct gmem *mem, gpa_t gpa);

#endif
