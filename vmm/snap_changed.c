/*
 * snap_changed.c - which chunks of memory are not what they were in some snapshot
 *
 * A machine knows that of one snapshot at most, its base, and it costs nothing
 * while it runs until somebody has asked for a child:
 *
 * 1. Memory that is mapped from a file of the base: what was stored to is a page
 *    of its own by then, which the kernel tells from one of the file (pagemap);
 *    what gmem_discard() has put over the file is marked in gmem's bitmap.
 * 2. Once a child has been made, that is the base, and KVM keeps a log of what the
 *    guest stores; what the VMM stores is in gmem's bitmap, and the log is merged
 *    into that when it is read, because reading clears it.
 * 3. While a child is written, which with --live is while the guest goes on, the
 *    bitmap is of what changes after it, and the one before it is kept aside.  If the
 *    child fails, that is added again, and the base is what it was.
 *
 * The client that asked may still lose what was written here.  Then no file has
 * the id of the base, nobody asks for it, and another parent is not the base.
 *
 * #syscalls pread64
 */
#include <unistd.h>

#include "log.h"
#include "snap.h"
#include "snap_mem.h"
#include "vm.h"

#define PAGES	  2048	       /* of the pagemap at a time: whole chunks */
#define THERE	  (3ULL << 62) /* present, or in swap */
#define OF_A_FILE (1ULL << 61)

static int merge_log(struct vm *vm)
{
	int r = 0;

	for (unsigned i = 0; !r && i < vm->mem.n; i++) {
		cleanup_free unsigned long *log =
			calloc(gmem_dirty_words(&vm->mem.slot[i]), sizeof(*log));

		r = log ? kvm_dirty_log(&vm->kvm, i, log) : -ENOMEM;
		if (!r)
			gmem_mark_dirty(&vm->mem, i, log);
	}
	return r;
}

/* pages of its own, of a slot that is mapped; @ret has a byte for each chunk of it */
static int find_own_pages(const struct vm *vm, const struct gmem_slot *s, uint8_t *ret)
{
	uint64_t page[PAGES], first = (uintptr_t)s->hva / GMEM_PAGE, pages = s->len / GMEM_PAGE;
	uint64_t n;

	for (uint64_t at = 0; at < pages; at += n) {
		n = MIN(pages - at, (uint64_t)PAGES);
		if (pread(vm->pagemap, page, n * sizeof(*page),
			  (off_t)((first + at) * sizeof(*page))) != (ssize_t)(n * sizeof(*page)))
			return -EIO;
		for (uint64_t i = 0; i < n; i++)
			if (page[i] & THERE && !(page[i] & OF_A_FILE))
				ret[(at + i) / (SNAP_CHUNK / GMEM_PAGE)] = 1;
	}
	return 0;
}

static int find_changed(struct vm *vm, uint8_t *ret)
{
	int r = vm->base.how == BASE_LOGGED ? merge_log(vm) : 0;

	for (unsigned i = 0; !r && i < vm->mem.n; i++) {
		const struct gmem_slot *s = &vm->mem.slot[i];
		uint64_t chunks = snap_chunks_of(s->len);

		if (vm->base.how == BASE_MAPPED && s->mapped)
			r = find_own_pages(vm, s, ret);
		for (uint64_t n = 0; n < chunks; n++)
			ret[n] |=
				gmem_any_dirty(s, n * SNAP_CHUNK,
					       MIN((uint64_t)SNAP_CHUNK, s->len - n * SNAP_CHUNK));
		ret += chunks;
	}
	return r;
}

uint8_t *snap_changed(struct vm *vm, const uint8_t id[16])
{
	bool is_base = vm->base.how != BASE_NONE && !memcmp(vm->base.id, id, sizeof(vm->base.id));
	uint8_t *changed = calloc(snap_chunks(&vm->mem) + 1, 1);

	if (!changed || find_changed(vm, changed)) {
		vm->base.how = BASE_NONE; /* a part of the log may be lost */
		is_base = false;
	}
	if (is_base)
		return changed;
	free(changed);
	return NULL;
}

void snap_changed_forget(struct vm *vm)
{
	if (vm->base.how == BASE_LOGGED && kvm_dirty_track(&vm->kvm, &vm->mem, false))
		log_debug("%s; it goes on, for nobody", err_last());
	vm->base.how = BASE_NONE;
}

/* --- from one base to the next --- */

struct snap_turn {
	struct vm_base was;
	unsigned long *dirty[GMEM_SLOTS]; /* since then */
};

static void free_turn(struct vm *vm)
{
	for (unsigned i = 0; i < vm->mem.n; i++)
		free(vm->turn->dirty[i]);
	free(vm->turn);
	vm->turn = NULL;
}

static int keep_dirty(struct vm *vm)
{
	for (unsigned i = 0; i < vm->mem.n; i++) {
		const struct gmem_slot *s = &vm->mem.slot[i];
		size_t size = gmem_dirty_words(s) * sizeof(*s->dirty);

		vm->turn->dirty[i] = malloc(size);
		if (!vm->turn->dirty[i])
			return -ENOMEM;
		memcpy(vm->turn->dirty[i], s->dirty, size);
	}
	return 0;
}

int snap_turn_begin(struct vm *vm, const uint8_t id[16])
{
	vm->turn = calloc(1, sizeof(*vm->turn));
	if (!vm->turn || keep_dirty(vm)) {
		if (vm->turn)
			free_turn(vm);
		return err(-ENOMEM, "snapshot: out of memory to note what will change");
	}
	vm->turn->was = vm->base;
	memcpy(vm->base.id, id, sizeof(vm->base.id));
	if (vm->base.how != BASE_LOGGED && kvm_dirty_track(&vm->kvm, &vm->mem, true)) {
		log_debug("the next child will be compared whole: %s", err_last());
		vm->base.how = BASE_NONE;
		return 0;
	}
	gmem_clear_dirty(&vm->mem);
	vm->base.how = BASE_LOGGED;
	return 0;
}

static void take_back(struct vm *vm)
{
	const struct vm_base was = vm->turn->was;

	for (unsigned i = 0; i < vm->mem.n; i++)
		gmem_mark_dirty(&vm->mem, i, vm->turn->dirty[i]);
	if (was.how != BASE_LOGGED && vm->base.how == BASE_LOGGED &&
	    kvm_dirty_track(&vm->kvm, &vm->mem, false))
		log_debug("%s; it goes on, for nobody", err_last());
	vm->base = was;
}

void snap_turn_end(struct vm *vm, bool there)
{
	if (!vm->turn)
		return;
	if (!there)
		take_back(vm);
	free_turn(vm);
}

void snap_changed_mapped(struct vm *vm, const uint8_t id[16])
{
	vm->base.how = BASE_MAPPED;
	memcpy(vm->base.id, id, sizeof(vm->base.id));
}
