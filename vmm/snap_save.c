/*
 * snap_save.c - a machine into a snapshot's file
 *
 * The machine stands still, its devices drained, from before the tree is made
 * until the last chunk is packed; then it goes on as if nothing had been.
 *
 * #syscalls pread64 newfstatat clock_gettime
 * #syscalls:caller openat
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "pager.h"
#include "snap.h"
#include "snap_mem.h"
#include "team.h"
#include "vm.h"

#define PAGES_PER_CHUNK (SNAP_CHUNK / GMEM_PAGE)
#define SHARE		16	     /* chunks that a thread takes at a time */
#define PAGE_THERE	(3ULL << 62) /* present, or in swap */

static const struct field disk_fields[] = {
	F_UINT(struct snap_disk, size),
	F_UINT(struct snap_disk, mtime_ns),
	F_UINT(struct snap_disk, overlay_size),
	F_UINT(struct snap_disk, overlay_mtime_ns),
	F_END,
};

const struct field snap_info_fields[] = {
	F_STR(struct snap_info, hutch),
	F_STR(struct snap_info, label),
	F_UINT(struct snap_info, created_ms),
	F_UINT(struct snap_info, resident),
	F_RANGE(struct snap_info, zero, 0, 0),
	F_LIST(struct snap_info, disk, disks, disk_fields),
	F_END,
};

void snap_open_pagemap(struct vm *vm)
{
	vm->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
}

/* --- memory --- */

struct packing {
	const struct gmem *mem;
	struct snap_writer w;
	int pagemap;
	uint8_t *changed;  /* of a child: which chunks are in it; NULL: all */
	uint64_t next;	   /* chunk; atomic */
	uint64_t resident; /* bytes; atomic */
	pthread_mutex_t lock;
	int error; /* the first one, and its text */
	char text[512];
};

static void fail(struct packing *p, int r, const char *text)
{
	pthread_mutex_lock(&p->lock);
	if (!p->error) {
		p->error = r;
		snprintf(p->text, sizeof(p->text), "%s", text);
	}
	pthread_mutex_unlock(&p->lock);
}

/* may anything but zeroes be in it?  What was never touched is not touched now */
static bool is_there(const struct packing *p, const struct gmem_slot *slot, const uint8_t *hva,
		     size_t len)
{
	uint64_t page[PAGES_PER_CHUNK];
	size_t size = len / GMEM_PAGE * sizeof(page[0]);

	if (p->pagemap < 0 || slot->mapped ||
	    pread(p->pagemap, page, size, (off_t)((uintptr_t)hva / GMEM_PAGE * sizeof(page[0]))) !=
		    (ssize_t)size)
		return true;
	for (size_t i = 0; i < len / GMEM_PAGE; i++)
		if (page[i] & PAGE_THERE)
			return true;
	return false;
}

static int pack_chunks(struct packing *p, struct snap_packer *packer, uint64_t first)
{
	const struct gmem_slot *slot;
	uint64_t resident = 0, off;
	const uint8_t *hva;
	size_t len;
	int r = 0;

	for (uint64_t n = first; !r && n < MIN(first + SHARE, p->w.chunks); n++) {
		slot = snap_slot(p->mem, n, &off, &len);
		hva = slot->hva + off;
		if (p->changed && !p->changed[n]) {
			snap_leave(&p->w, n);
			continue;
		}
		if (!is_there(p, slot, hva, len))
			continue;
		resident += len;
		r = snap_pack(packer, n, hva, len);
	}
	__atomic_fetch_add(&p->resident, resident, __ATOMIC_RELAXED);
	return r;
}

static void pack(void *arg)
{
	cleanup_free struct snap_packer *packer = calloc(1, sizeof(*packer));
	struct packing *p = arg;
	uint64_t n;
	int r;

	if (!packer || snap_packer_init(packer, &p->w)) {
		fail(p, -ENOMEM, "snapshot: out of memory to pack it");
		return;
	}
	do {
		n = __atomic_fetch_add(&p->next, SHARE, __ATOMIC_RELAXED);
		r = n < p->w.chunks ? pack_chunks(p, packer, n) : snap_packer_end(packer);
	} while (!r && n < p->w.chunks);
	if (r) {
		char text[256];

		snprintf(text, sizeof(text), "snapshot: it cannot be written: %s", strerror(-r));
		fail(p, r, text);
		__atomic_store_n(&p->next, p->w.chunks, __ATOMIC_RELAXED);
	}
	snap_packer_free(packer);
}

/* --- the machine --- */

static void look_at(const char *path, uint64_t *ret_size, uint64_t *ret_mtime)
{
	struct stat st;

	if (!*path || stat(path, &st) || !S_ISREG(st.st_mode))
		return;
	*ret_size = (uint64_t)st.st_size;
	*ret_mtime = (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec;
}

static int look_at_disks(const struct conf *conf, struct snap_info *info)
{
	for (unsigned i = 0; i < conf->disks; i++) {
		const struct conf_disk *d = &conf->disk[i];
		struct snap_disk *to = &info->disk[i];

		if (d->format == FORMAT_COW && !d->overlay[0])
			return err(-EINVAL,
				   "snapshot: what the guest wrote to disk %u would be lost, "
				   "because "
				   "its overlay goes with the machine; give it a file to stay in: "
				   "--disk %s,overlay=FILE",
				   i, d->path);
		look_at(d->path, &to->size, &to->mtime_ns);
		look_at(d->overlay, &to->overlay_size, &to->overlay_mtime_ns);
	}
	info->disks = conf->disks;
	return 0;
}

static uint64_t epoch_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int save(struct vm *vm, struct packing *p, struct snap_info *info)
{
	cleanup_free void *tree = NULL;
	int size;

	team_run(pack, p);
	if (p->error)
		return err(p->error, "%s", p->text);
	info->resident = p->resident;
	size = vm_tree_snapshot(vm, info, &tree);
	return size < 0 ? size : snap_end(&p->w, tree, (size_t)size);
}

/* what is there already would be in the way of the size that the header tells */
static int check_empty(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return err(-errno, "snapshot: its file: %s", strerror(errno));
	return S_ISREG(st.st_mode) && !st.st_size
		       ? 0
		       : err(-EINVAL, "snapshot: it goes into an empty file, and this is none");
}

/* @parent NULL: it has none */
static int save_to(struct vm *vm, int fd, const char *label, int level, const uint8_t *parent,
		   bool *ret_whole)
{
	struct packing p = { .mem = &vm->mem, .pagemap = vm->pagemap };
	struct snap_info info = { .created_ms = epoch_ms() };
	int r;

	if (vm->end != VM_RUNNING)
		return err(-EINVAL, "the machine has ended");
	if (str_copy(info.label, sizeof(info.label), label))
		return err(-EINVAL, "snapshot: its label has more than %zu bytes",
			   sizeof(info.label) - 1);
	snprintf(info.hutch, sizeof(info.hutch), "%s", vm->version ? vm->version : "");
	r = check_empty(fd);
	if (!r && vm->pager) /* what is not there yet is not zero */
		r = pager_finish(vm->pager);
	if (!r)
		r = (parent ? snap_begin_child : snap_begin)(&p.w, fd, snap_chunks(&vm->mem),
							     level);
	if (r)
		return r;
	pthread_mutex_init(&p.lock, NULL);
	vm_pause(vm);
	p.changed = parent ? snap_changed(vm, parent) : NULL;
	*ret_whole = !p.changed;
	if (parent && !p.changed) /* most of it will be left out later, and need not be packed */
		p.w.level = 0;
	r = look_at_disks(vm->conf, &info);
	if (!r)
		r = save(vm, &p, &info);
	if (!r && parent)
		snap_changed_since(vm, p.w.id);
	vm_resume(vm);
	pthread_mutex_destroy(&p.lock);
	snap_writer_free(&p.w);
	free(p.changed);
	return r;
}

int snap_save(struct vm *vm, int fd, const char *label, int level)
{
	bool whole;

	return save_to(vm, fd, label, level, NULL, &whole);
}

int snap_save_child(struct vm *vm, int fd, const char *label, int level, const uint8_t parent[16],
		    bool *ret_whole)
{
	return save_to(vm, fd, label, level, parent, ret_whole);
}
