/* snap.h - a machine into a snapshot's file, and out of it (layer 4) */
#ifndef HUTCH_SNAP_H
#define HUTCH_SNAP_H

#include "conf.h"
#include "snap_file.h"

struct vm;
struct board;
struct gmem;

/* what the files of a disk were like when the snapshot was made; the size is 0 of what is none */
struct snap_disk {
	uint64_t size, mtime_ns;
	uint64_t overlay_size, overlay_mtime_ns;
	bool captured; /* what was written to it is in the snapshot */
};

/* /snapshot of the tree */
struct snap_info {
	char hutch[32]; /* the version that wrote it */
	char label[128];
	uint64_t created_ms; /* since the epoch */
	uint64_t resident;   /* bytes of memory that held anything */
	uint32_t disks, zero;
	struct snap_disk disk[CONF_DISKS];
};

extern const struct field snap_info_fields[];

/* who wants something that takes its time */
struct asker {
	/* on the loop: what came of it, the bytes of @blob, which becomes his, or -errno with a
	 * message */
	void (*tell)(void *arg, int r, void *blob);
	bool (*gone)(void *arg); /* any thread: he does not wait any more; NULL: he always does */
	void *arg;
};

/* how one is to be made */
struct snap_order {
	const char *label;
	int level;		 /* of zlib; 0: it is not packed */
	bool disks;		 /* overlays that have a name are in it, too */
	const uint8_t *parent;	 /* NULL: all of memory; else what is not as it was in the snapshot
				    with this id */
	const struct asker *who; /* NULL: whoever calls waits for it */
};

/*
 * snap_save() - the machine into @fd, an empty file; it stands still for that time
 *
 * On the loop's thread.  -EINVAL for a machine that cannot be saved, -ECANCELED when who asked has
 * gone, -errno of the writing; the
 * machine goes on in any case, and what is in @fd then is no snapshot.
 *
 * Of one with a parent, *@ret_whole: what has changed is not known, and it is all there, a snapshot
 * by itself, and not packed, for snap_make_child().  Else it is none before snap_add_parent().  The
 * machine knows from here on what changes, so the next one, whose parent this one is, is small.
 * -EBUSY while another child is made by snap_live().
 */
int snap_save(struct vm *vm, int fd, const struct snap_order *how, bool *ret_whole) must_check;

/*
 * snap_live() - snap_save(), but the machine goes on as soon as another process has its memory, and
 * that packs it; what is of disks is packed before that
 *
 * -EINPROGRESS, and how->who will be told: how long the machine stood still, in us, as a decimal
 * number, of a child followed by " changed" or " whole"; or why there is no snapshot.  -EBUSY while
 * another one is made so.
 */
int snap_live(struct vm *vm, int fd, const struct snap_order *how) must_check;
/* nobody wants it any more: who asked is told at once, -ECANCELED.  Harmless if there is none */
void snap_live_stop(struct vm *vm, const char *why);
/* the same, and it has ended when this returns */
void snap_live_free(struct vm *vm);

/* --- snap_disks.c: overlays of disks --- */

/* is what was written to such a disk in a snapshot?  @named: overlays with a name are */
bool snap_disk_is_in(const struct conf_disk *disk, bool named);
/* for snap_check(): those that are in the snapshot need no file of this host */
void snap_disks_private(const struct snap_info *info, struct conf *conf);
/* -EBADMSG: it has a disk that such a machine has not, with a message */
int snap_disks_check(const struct snap_file *f, const struct snap_info *info,
		     const struct conf *conf) must_check;
/* the pieces that are not all zeroes, for who frees them; the machine stands still */
int snap_disks_find(const struct vm *vm, const struct snap_info *info, uint64_t **ret,
		    uint64_t *ret_n) must_check;
int snap_disks_read(const struct vm *vm, uint64_t piece, uint8_t to[SNAP_CHUNK]) must_check;
/* has each piece a place on the machine's disks? -EBADMSG with a message */
int snap_disks_fit(const struct vm *vm) must_check;
/* into overlays that have nothing, or those of a machine that goes back and stands still */
int snap_disks_load(struct vm *vm) must_check;

/*
 * snap_make_child() - @whole, a snapshot of such a machine, into the empty file @fd without the
 * chunks that @parent has, too; snap_add_parent() is next
 *
 * It has the same id.  -EINVAL: @parent has another memory; -EBADMSG, -errno of the writing.
 */
int snap_make_child(const struct snap_file *whole, const struct conf *conf,
		    const struct snap_file *parent, int fd, int level) must_check;

/* --- snap_changed.c --- */

/* memory is mapped from a file that has the memory of this one; before any guest runs */
void snap_changed_mapped(struct vm *vm, const uint8_t id[16]);
/* a byte for each chunk, to be freed: may it be another than in the snapshot @id?  NULL: that is
 * not known.  The machine stands still */
uint8_t *snap_changed(struct vm *vm, const uint8_t id[16]);
/* what is in memory now will all be in the snapshot @id, a child in the making, and from here on it
 * is noted what changes; the machine has not run since snap_changed() */
int snap_turn_begin(struct vm *vm, const uint8_t id[16]) must_check;
/* all of memory is another: the next child is compared, which finds what is the same after all */
void snap_changed_forget(struct vm *vm);
/* it is there, and the base of the next one; or it will not be, and all is as if it had never been
 * begun.  Nothing if none is in the making */
void snap_turn_end(struct vm *vm, bool there);

/* --- snap_chain.c: files by their paths --- */

/* a descriptor of what may be a snapshot, and unless @any one that may lead whoever restores it;
 * -errno with a message */
int snap_open_path(const char *path, bool any) must_check;
/* where the parent of @f, which is the file at @path, is now: -ENOENT, -ESTALE, -EBADMSG and the
 * like, with its name */
int snap_find_parent(const struct snap_file *f, const char *path, bool any, char *buf,
		     size_t size) must_check;
/* all of them, if it has any, into f->parent; of each the same is asked as of the first.  -ELOOP:
 * they are too many, or lead back to one of them */
int snap_open_parents(struct snap_file *f, const char *path, bool any) must_check;

/* the bits of hutch_restore(): is it one of ours, and what is in it? -errno with a message.
 * *@ret_conf is what a machine of it is made from: a disk that is in it has no overlay on this host
 */
int snap_check(const struct snap_file *f, struct snap_info *ret_info,
	       struct conf *ret_conf) must_check;
/* are the images still what they were?  @anew: those that were named anew, whose size alone counts
 */
int snap_check_disks(const struct snap_info *info, const struct conf *conf,
		     uint32_t anew) must_check;

/* is each chunk whole? Nothing is restored; -EBADMSG with the first that is not */
int snap_verify(const struct snap_file *f, const struct conf *conf) must_check;

/*
 * snap_unpack() - all of its memory into an empty file, for vm_restore(); chunks of zeroes are
 * holes
 *
 * -EBADMSG where it is damaged, else -errno of the writing.
 */
int snap_unpack(const struct snap_file *f, const struct conf *conf, int fd) must_check;
/* the memory that such a machine would have, nowhere */
int snap_shape(const struct conf *conf, struct gmem *ret) must_check;
/* @f, of such a machine, whose parents are open, into the empty file @fd as one without any;
 * -EBADMSG, -errno */
int snap_whole(const struct snap_file *f, const struct conf *conf, int fd) must_check;
/* the pieces of disks; -errno with a message */
int snap_copy_pieces(const struct snap_file *f, struct snap_packer *p,
		     struct snap_unpacker *u) must_check;
static inline uint64_t snap_memory_size(const struct snap_file *f)
{
	return f->head.chunks * SNAP_CHUNK;
}

/*
 * snap_roll_back() - the machine goes back to this snapshot, and on from there; @name is told
 *
 * On the loop's thread; one that was paused is so no more.  -errno with a message: it goes on as
 * if nothing had been, or, when it was too late for that, ends with the same message.
 */
int snap_roll_back(struct vm *vm, int fd, const char *name) must_check;

/* for vm_build.c: all vCPUs into vm->saved, checked against this host; then all the rest into a
 * machine that is made */
int snap_load_vcpus(struct vm *vm) must_check;
/* its memory, where that is a file as snap_unpack() left it there: before KVM knows of it, which
 * would have to forget each page */
int snap_map(struct vm *vm) must_check;
int snap_load(struct vm *vm) must_check;

/* a descriptor with which saving passes over what the guest never touched; may fail without harm */
void snap_open_pagemap(struct vm *vm);

/* --- vm_tree.c, for these --- */
struct field;
int vm_tree_snapshot(struct vm *vm, const struct snap_info *info, void **ret) must_check;
int vm_tree_load(const void *fdt, const char *path, const struct field *table,
		 void *obj) must_check;
/* has @path this many nodes? Each of them is looked for by itself */
int vm_tree_nodes(const void *fdt, const char *path, unsigned want) must_check;
int vm_tree_check(const void *fdt) must_check;
int vm_tree_check_board(const void *fdt, const struct board *b) must_check;

#endif
