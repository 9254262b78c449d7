/*
 * pager.h - guest memory comes out of a snapshot's file while the guest runs already (layer 4)
 *
 * Linux hands us faults of a whole process, KVM's own among them, only through a
 * userfaultfd that may do so: pager_open() says whether this process gets one.
 */
#ifndef HUTCH_PAGER_H
#define HUTCH_PAGER_H

#include "gmem.h"
#include "snap_file.h"

struct pager;

/* the descriptors stay open until pager_free(), and are the caller's */
struct pager_conf {
	int uffd; /* of pager_open() */
	int keep; /* an empty file in which all of memory is kept as it becomes known, or -1 */
	/* what was waited for the last time, which comes before the rest; the caller's, as those
	 * are */
	const uint32_t *first;
	size_t firsts;
	/* on a thread of the pager's, once it is there as a whole, or will never be */
	void (*kept)(void *arg, const struct pager *p, bool whole);
	void *arg;
};

/* a userfaultfd for pager_new(), or -errno: -EPERM where the host allows it to others only */
int pager_open(void) must_check;

/*
 * pager_new() - all of @mem, which nobody has touched, shows @from's chunks from here on
 *
 * @from stays open until pager_free().  @failed is called once, on any thread, when a chunk
 * cannot be had; what it stops does not see a wrong byte.  NULL with a message.
 */
struct pager *pager_new(struct gmem *mem, const struct snap_file *from,
			const struct pager_conf *conf, void (*failed)(void *arg, const char *text),
			void *arg);

/* get what nobody asks for, too; -errno of threads: then all of it comes when it is asked for */
int pager_go(struct pager *p) must_check;
/* returns when all of it is there and the memory is like any other: -errno with a message */
int pager_finish(struct pager *p) must_check;
/* nobody waits for memory any more; NULL is fine.  What is to be kept still is, if that is quick */
void pager_free(struct pager *p);

/* the chunks that were waited for so far, in that order: how many, and in @ret, if that is not
 * NULL, the first @most of them */
size_t pager_waits(const struct pager *p, uint32_t *ret, size_t most);

#endif
