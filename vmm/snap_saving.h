/*
 * snap_saving.h - a snapshot in the making, for who packs it (layer 4)
 *
 *	saving_begin(), while the machine runs; vm_pause(); saving_take();
 *	saving_pack(), on what memory was then; vm_resume(); saving_end()
 *
 * After saving_take() the machine is only memory that is read: a process that was forked from this
 * one then can pack it as well.
 */
#ifndef HUTCH_SNAP_SAVING_H
#define HUTCH_SNAP_SAVING_H

#include <pthread.h>

#include "snap.h"

struct saving {
	struct vm *vm;
	struct snap_writer w;
	struct snap_info info;
	const struct snap_order *how;
	uint8_t *there;	  /* of each chunk: may anything but zeroes be in it? */
	uint8_t *changed; /* of a child: which chunks are in it; NULL: all */
	uint64_t *piece;  /* of disks */
	void *tree;
	int tree_size;
	const bool *stop; /* when it becomes true, nobody wants it any more; NULL: it does not */
	uint64_t next;	  /* chunk; atomic */
	uint64_t end;	  /* and where it ends */
	pthread_mutex_t lock;
	int error; /* the first one, and its text */
	char text[512];
};

/* @fd is an empty file. -EINVAL, -ENOMEM, with a message; then saving_end() all the same */
int saving_begin(struct saving *s, struct vm *vm, int fd, const struct snap_order *how) must_check;
/* the machine's tree, its disks, and where its memory is: it is paused.  A child is in the making
 * from then on, until snap_turn_end() */
int saving_take(struct saving *s) must_check;
/* -errno of the writing, -ECANCELED when it was told to stop, with a message */
int saving_pack(struct saving *s) must_check;
void saving_end(struct saving *s);

#endif
