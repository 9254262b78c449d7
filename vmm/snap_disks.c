/*
 * snap_disks.c - what a guest has written to its disks, where that is an overlay: into a snapshot
 * and back
 *
 * An overlay without a name goes with its machine, so it is always in the snapshot;
 * one with a name only if that is asked for, and else named there and checked when
 * it is restored.  Of those that are in it each machine gets an overlay of its
 * own, without a name unless whoever restores it gives one; in a rollback it is
 * the one that the machine has.
 */
#include "devices.h"
#include "disk.h"
#include "snap.h"
#include "vm.h"

#define SEVERAL 16 /* pieces that there is room for at first */

static struct disk *disk_of(const struct vm *vm, unsigned n)
{
	for (unsigned i = 0; i < vm->devs; i++)
		if (vm->dev[i]->type == &blk_type && !n--)
			return blk_disk(vm->dev[i]);
	return NULL;
}

bool snap_disk_is_in(const struct conf_disk *disk, bool named)
{
	if (disk->ro || (disk->format != FORMAT_COW && !disk->overlay[0]))
		return false;
	return named || !disk->overlay[0];
}

void snap_disks_private(const struct snap_info *info, struct conf *conf)
{
	for (unsigned i = 0; i < MIN(info->disks, conf->disks); i++)
		if (info->disk[i].captured) {
			conf->disk[i].format = FORMAT_COW;
			conf->disk[i].overlay[0] = '\0';
		}
}

int snap_disks_check(const struct snap_file *f, const struct snap_info *info,
		     const struct conf *conf)
{
	for (unsigned i = 0; i < info->disks; i++)
		if (info->disk[i].captured && !snap_disk_is_in(&conf->disk[i], true))
			return err(-EBADMSG,
				   "snapshot %s: has what was written to disk %u, which has no "
				   "overlay",
				   f->name, i);
	for (uint64_t i = 0; i < f->pieces; i++) {
		unsigned n = snap_piece_disk(f->piece[i]);

		if (n >= info->disks || !info->disk[n].captured)
			return err(-EBADMSG,
				   "snapshot %s: piece %lu of its disks is of disk %u, which is "
				   "not in it",
				   f->name, (unsigned long)i, n);
	}
	return 0;
}

/* --- saving --- */

static int add(uint64_t piece, uint64_t **list, uint64_t *n, uint64_t *room)
{
	if (*n == *room) {
		uint64_t *p = reallocarray(*list, MAX(*room * 2, SEVERAL), sizeof(*p));

		if (!p)
			return err(-ENOMEM, "snapshot: out of memory for its disks");
		*list = p;
		*room = MAX(*room * 2, SEVERAL);
	}
	(*list)[(*n)++] = piece;
	return 0;
}

int snap_disks_find(const struct vm *vm, const struct snap_info *info, uint64_t **ret,
		    uint64_t *ret_n)
{
	uint64_t room = 0;
	int r = 0;

	*ret = NULL;
	*ret_n = 0;
	for (unsigned i = 0; i < info->disks; i++) {
		const struct disk *d = disk_of(vm, i);
		uint64_t size = disk_overlay_size(d);

		if (!info->disk[i].captured)
			continue;
		for (uint64_t at = 0; !r && at < size; at += SNAP_CHUNK)
			if (disk_overlay_any(d, at, SNAP_CHUNK))
				r = add(SNAP_PIECE(i, at / SNAP_CHUNK), ret, ret_n, &room);
	}
	return r;
}

int snap_disks_read(const struct vm *vm, uint64_t piece, uint8_t to[SNAP_CHUNK])
{
	return disk_overlay_read(disk_of(vm, snap_piece_disk(piece)), snap_piece_at(piece), to,
				 SNAP_CHUNK);
}

/* --- and back --- */

int snap_disks_fit(const struct vm *vm)
{
	const struct snap_file *f = vm->from;

	for (uint64_t n = 0; n < f->pieces; n++) {
		unsigned i = snap_piece_disk(f->piece[n]);

		if (snap_piece_at(f->piece[n]) >= disk_overlay_size(disk_of(vm, i)))
			return err(-EBADMSG,
				   "snapshot %s: piece %lu of its disks lies behind the end of "
				   "disk %u",
				   f->name, (unsigned long)n, i);
	}
	return 0;
}

static int load_piece(const struct vm *vm, uint64_t n, struct snap_unpacker *u)
{
	const struct snap_file *f = vm->from;
	uint64_t at = snap_piece_at(f->piece[n]);
	struct disk *d = disk_of(vm, snap_piece_disk(f->piece[n]));
	int r;

	memset(u->out, 0, sizeof(u->out));
	r = snap_read(f, f->head.chunks + n, u->out, sizeof(u->out), u);
	return r ? r
		 : disk_overlay_write(d, at, u->out,
				      MIN(sizeof(u->out), disk_overlay_size(d) - at));
}

static int load_pieces(const struct vm *vm)
{
	struct snap_unpacker *u;
	int r;

	if (!vm->from->pieces)
		return 0;
	u = malloc(sizeof(*u));
	if (!u)
		return err(-ENOMEM, "snapshot %s: out of memory for its disks", vm->from->name);
	r = snap_unpacker_init(u);
	for (uint64_t n = 0; !r && n < vm->from->pieces; n++)
		r = load_piece(vm, n, u);
	snap_unpacker_free(u);
	free(u);
	return r;
}

/* a machine that is there goes back, and what it wrote is to go */
static int make_clear(const struct vm *vm, unsigned i)
{
	const char *overlay = vm->conf->disk[i].overlay;
	struct disk *d = disk_of(vm, i);

	if (!vm->built && !disk_overlay_is_clear(d))
		return err(-EEXIST,
			   "snapshot %s: disk %u: something was written to overlay %s before, and "
			   "the snapshot has an overlay for this disk; name a file that is not "
			   "there yet",
			   vm->from->name, i, overlay);
	/* under its clear bits may lie what came before a kill and was never flushed, and it
	 * would show where the snapshot has zeroes, which are not written */
	return vm->built || *overlay ? disk_overlay_clear(d) : 0;
}

int snap_disks_load(struct vm *vm)
{
	struct snap_info info = { .disks = 0 };
	int r = vm_tree_load(vm->from->tree, "/snapshot", snap_info_fields, &info);

	if (!r)
		r = snap_disks_fit(vm);
	for (unsigned i = 0; !r && i < info.disks; i++)
		if (info.disk[i].captured)
			r = make_clear(vm, i);
	if (!r)
		r = load_pieces(vm);
	for (unsigned i = 0; !r && i < info.disks; i++)
		if (info.disk[i].captured)
			r = disk_overlay_filled(disk_of(vm, i));
	return r;
}
