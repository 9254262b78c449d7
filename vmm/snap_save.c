/*
 * snap_save.c - a machine into a snapshot's file
 *
 * The machine stands still, its devices drained, from before the tree is made
 * until the last chunk is packed (or, in snap_live.c, until another process has
 * its memory); then it goes on as if nothing had been.
 *
 * #syscalls pread64 newfstatat clock_gettime
 * #syscalls:caller openat
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "pager.h"
#include "snap_mem.h"
#include "snap_saving.h"
#include "team.h"
#include "vm.h"

#define PAGES_PER_CHUNK (SNAP_CHUNK / GMEM_PAGE)
#define SHARE		16	     /* chunks that a thread takes at a time */
#define LOOK		64	     /* chunks that are asked for at a time */
#define PAGE_THERE	(3ULL << 62) /* present, or in swap */

static const struct field disk_fields[] = {
	F_UINT(struct snap_disk, size),
	F_UINT(struct snap_disk, mtime_ns),
	F_UINT(struct snap_disk, overlay_size),
	F_UINT(struct snap_disk, overlay_mtime_ns),
	F_BOOL(struct snap_disk, captured, .dflt = "no"),
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

/* how many chunks from @n on, of @most, hold nothing as far as is known */
static uint64_t unknown(const struct saving *s, uint64_t n, uint64_t most)
{
	uint64_t i = 0;

	while (i < most && !s->there[n + i])
		i++;
	return i;
}

/* what was never touched is not touched now; at most LOOK chunks, @n the first of them */
static void look_at_chunks(struct saving *s, uint64_t n, const uint8_t *hva, uint64_t len)
{
	uint64_t page[LOOK * PAGES_PER_CHUNK];
	size_t size = len / GMEM_PAGE * sizeof(page[0]);
	bool told = pread(s->vm->pagemap, page, size,
			  (off_t)((uintptr_t)hva / GMEM_PAGE * sizeof(page[0]))) == (ssize_t)size;

	for (uint64_t i = 0; i < len / GMEM_PAGE; i++)
		if (!told || page[i] & PAGE_THERE)
			s->there[n + i / PAGES_PER_CHUNK] = 1;
}

static void look_at_slot(struct saving *s, const struct gmem_slot *slot, uint64_t first)
{
	uint64_t chunks = snap_chunks_of(slot->len), run;

	if (s->vm->pagemap < 0 || slot->mapped) {
		memset(s->there + first, 1, chunks);
		return;
	}
	for (uint64_t n = 0; n < chunks; n += MAX(run, (uint64_t)1)) {
		uint64_t off = n * SNAP_CHUNK;

		run = unknown(s, first + n, MIN((uint64_t)LOOK, chunks - n));
		if (run)
			look_at_chunks(s, first + n, slot->hva + off,
				       MIN(run * SNAP_CHUNK, slot->len - off));
	}
}

/* where memory may hold anything; what was found before stays found */
static void look(struct saving *s)
{
	const struct gmem *mem = &s->vm->mem;
	uint64_t first = 0;

	for (unsigned i = 0; i < mem->n; i++) {
		look_at_slot(s, &mem->slot[i], first);
		first += snap_chunks_of(mem->slot[i].len);
	}
}

static uint64_t resident(const struct saving *s)
{
	uint64_t sum = 0, off;
	size_t len;

	for (uint64_t n = 0; n < s->w.chunks; n++)
		if (s->there[n] && (!s->changed || s->changed[n])) {
			snap_slot(&s->vm->mem, n, &off, &len);
			sum += len;
		}
	return sum;
}

static void fail(struct saving *s, int r, const char *text)
{
	pthread_mutex_lock(&s->lock);
	if (!s->error) {
		s->error = r;
		snprintf(s->text, sizeof(s->text), "%s", text);
	}
	pthread_mutex_unlock(&s->lock);
}

static int pack_piece(struct saving *s, struct snap_packer *packer, uint64_t n)
{
	uint8_t data[SNAP_CHUNK];
	int r = snap_disks_read(s->vm, s->piece[n - s->w.chunks], data);

	if (r)
		fail(s, r, err_last());
	return r ? r : snap_pack(packer, n, data, sizeof(data));
}

/* a machine that stands still for nobody goes on */
static bool nobody_waits(const struct saving *s)
{
	const struct asker *who = s->how->who;

	if (s->stop) /* this is another process, and who asks has to do with the machine's */
		return __atomic_load_n(s->stop, __ATOMIC_RELAXED);
	return who && who->gone && who->gone(who->arg);
}

static int pack_chunks(struct saving *s, struct snap_packer *packer, uint64_t first)
{
	const struct gmem_slot *slot;
	uint64_t off;
	size_t len;
	int r = nobody_waits(s) ? -ECANCELED : 0;

	for (uint64_t n = first; !r && n < MIN(first + SHARE, s->end); n++) {
		if (n >= s->w.chunks) {
			r = pack_piece(s, packer, n);
			continue;
		}
		if (s->changed && !s->changed[n])
			snap_leave(&s->w, n);
		if (!s->there[n] || (s->changed && !s->changed[n]))
			continue;
		slot = snap_slot(&s->vm->mem, n, &off, &len);
		r = snap_pack(packer, n, slot->hva + off, len);
	}
	return r;
}

static void pack(void *arg)
{
	cleanup_free struct snap_packer *packer = calloc(1, sizeof(*packer));
	struct saving *s = arg;
	uint64_t n;
	int r;

	if (!packer || snap_packer_init(packer, &s->w)) {
		fail(s, -ENOMEM, "snapshot: out of memory to pack it");
		return;
	}
	do {
		n = __atomic_fetch_add(&s->next, SHARE, __ATOMIC_RELAXED);
		r = n < s->end ? pack_chunks(s, packer, n) : snap_packer_end(packer);
	} while (!r && n < s->end);
	if (r) {
		char text[256];

		snprintf(text, sizeof(text), "snapshot: it cannot be written: %s", strerror(-r));
		fail(s, r, text);
		__atomic_store_n(&s->next, s->end, __ATOMIC_RELAXED);
	}
	snap_packer_free(packer);
}

static int pack_all(struct saving *s, uint64_t first, uint64_t end)
{
	s->next = first;
	s->end = end;
	if (first < end)
		team_run(pack, s);
	return s->error ? err(s->error, "%s", s->text) : 0;
}

int saving_pack(struct saving *s)
{
	int r = pack_all(s, 0, s->w.chunks);

	return r ? r : snap_end(&s->w, s->tree, (size_t)s->tree_size);
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

static void look_at_disks(const struct conf *conf, bool named, struct snap_info *info)
{
	for (unsigned i = 0; i < conf->disks; i++) {
		const struct conf_disk *d = &conf->disk[i];
		struct snap_disk *to = &info->disk[i];

		to->captured = snap_disk_is_in(d, named);
		look_at(d->path, &to->size, &to->mtime_ns);
		if (!to->captured)
			look_at(d->overlay, &to->overlay_size, &to->overlay_mtime_ns);
	}
	info->disks = conf->disks;
}

/* they go on with the guest, so this cannot wait for who has a copy of its memory */
static int pack_disks(struct saving *s)
{
	uint64_t pieces;
	int r = snap_disks_find(s->vm, &s->info, &s->piece, &pieces);

	if (!r)
		r = snap_add_pieces(&s->w, s->piece, pieces);
	return r ? r : pack_all(s, s->w.chunks, s->w.chunks + pieces);
}

static uint64_t epoch_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
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

int saving_begin(struct saving *s, struct vm *vm, int fd, const struct snap_order *how)
{
	int r;

	*s = (struct saving){ .vm = vm, .how = how, .info.created_ms = epoch_ms() };
	pthread_mutex_init(&s->lock, NULL);
	if (vm->end != VM_RUNNING)
		return err(-EINVAL, "the machine has ended");
	if (how->parent && vm->turn)
		return err(-EBUSY, "snapshot: another child of this machine's is being packed; try "
				   "again when that is done");
	if (str_copy(s->info.label, sizeof(s->info.label), how->label))
		return err(-EINVAL, "snapshot: its label has more than %zu bytes",
			   sizeof(s->info.label) - 1);
	snprintf(s->info.hutch, sizeof(s->info.hutch), "%s", vm->version ? vm->version : "");
	r = check_empty(fd);
	if (!r && vm->pager) /* what is not there yet is not zero */
		r = pager_finish(vm->pager);
	if (!r)
		r = (how->parent ? snap_begin_child : snap_begin)(&s->w, fd, snap_chunks(&vm->mem),
								  how->level);
	if (r)
		return r;
	s->there = calloc(s->w.chunks + 1, 1);
	if (!s->there)
		return err(-ENOMEM, "snapshot: out of memory for its index");
	look(s); /* most of it, so that the guest need not stand still for that */
	return 0;
}

int saving_take(struct saving *s)
{
	const uint8_t *parent = s->how->parent;
	int r;

	s->changed = parent ? snap_changed(s->vm, parent) : NULL;
	if (parent && !s->changed) /* most of it will be left out later, and need not be packed */
		s->w.level = 0;
	look_at_disks(s->vm->conf, s->how->disks, &s->info);
	r = pack_disks(s);
	if (r)
		return r;
	look(s);
	s->info.resident = resident(s);
	s->tree_size = vm_tree_snapshot(s->vm, &s->info, &s->tree);
	if (s->tree_size < 0)
		return s->tree_size;
	return parent ? snap_turn_begin(s->vm, s->w.id) : 0;
}

void saving_end(struct saving *s)
{
	pthread_mutex_destroy(&s->lock);
	snap_writer_free(&s->w);
	free(s->there);
	free(s->changed);
	free(s->piece);
	free(s->tree);
}

int snap_save(struct vm *vm, int fd, const struct snap_order *how, bool *ret_whole)
{
	struct saving s;
	int r = saving_begin(&s, vm, fd, how);

	if (!r) {
		vm_pause(vm);
		r = saving_take(&s);
		if (!r)
			r = saving_pack(&s);
		if (how->parent)
			snap_turn_end(vm, !r);
		vm_resume(vm);
	}
	if (ret_whole)
		*ret_whole = !s.changed;
	saving_end(&s);
	return r;
}
