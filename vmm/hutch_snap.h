/* hutch_snap.h - what a snapshot is to a handle, for the files that implement hutch.h (layer 4) */
#ifndef HUTCH_HUTCH_SNAP_H
#define HUTCH_HUTCH_SNAP_H

#include "handle.h"
#include "kept.h"
#include "pager.h"
#include "snap.h"

struct snap {
	struct snap_file file;
	struct snap_info info;
	struct conf was;      /* the machine as it was saved */
	bool mapped;	      /* its memory is mapped from the file itself */
	bool boot;	      /* of this machine's own boot: hutch_warm() */
	bool eager;	      /* hutch_restore_eager() */
	bool used;	      /* a machine was made of it */
	char keep[CONF_PATH]; /* where memory is kept unpacked, or "" */
	char kept[KEPT_PATH]; /* the file there, and its name until it is whole */
	char kept_tmp[KEPT_PATH];
	struct pager_conf lazy; /* its memory comes when it is wanted, if there is a uffd */
	uint32_t *first;	/* and this comes first */
	uint32_t anew;		/* disks whose place was told anew */
	int fd;
};

/* one of anybody's, which is only looked at, without its parents; or all of it: NULL with a message
 */
struct snap *hutch_snap_open(const char *path, bool any, bool parents);

/* --- hutch_kept.c --- */

void hutch_kept_init(struct snap *s);
/* with all of its memory as a file, and from where on; or -1 and s->lazy, or out of the snapshot */
int hutch_kept_find(struct snap *s, int *ret, uint64_t *ret_off) must_check;
/* the machine has ended, or never was */
void hutch_kept_end(struct snap *s);

#endif
