/*
 * snap_load.c - a machine out of a snapshot's file
 *
 * The machine is made from the configuration as any other, and where one that
 * boots gets its kernel this one gets its past: memory first, because devices
 * look there at once whether their queues make sense; then what is inside KVM;
 * then the devices, which put their interrupt lines right.  Last, the guest gets
 * another generation id, so that it knows that it may not be the only one with
 * this past.  Nothing runs before all of it has been taken.
 *
 * #syscalls:before newfstatat pwrite64 ftruncate
 */
#include <libfdt.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpuid.h"
#include "irqchip.h"
#include "layout_x86.h"
#include "pager.h"
#include "snap.h"
#include "snap_mem.h"
#include "state.h"
#include "team.h"
#include "vm_build.h"

#define SHARE 16 /* chunks that a thread takes at a time */

int snap_check(const struct snap_file *f, struct snap_info *ret_info, struct conf *ret_conf)
{
	int r = vm_tree_check(f->tree);

	if (!r)
		r = vm_tree_load(f->tree, "/snapshot", snap_info_fields, ret_info);
	if (!r)
		r = vm_tree_load(f->tree, "/config", conf_fields, ret_conf);
	if (!r && ret_info->disks != ret_conf->disks)
		r = err(-EINVAL, "snapshot: /snapshot: tells of %u disks, and /config of %u",
			ret_info->disks, ret_conf->disks);
	if (!r)
		r = snap_disks_check(f, ret_info, ret_conf);
	if (!r)
		snap_disks_private(ret_info, ret_conf);
	return r;
}

static int check_image(const char *path, uint64_t size, uint64_t was, bool anew, unsigned i)
{
	struct stat st;
	uint64_t mtime;

	if (!*path || !size)
		return 0;
	if (stat(path, &st))
		return err(-errno, "snapshot: disk %u: %s: %s; say where it is now: --disk %u=PATH",
			   i, path, strerror(errno), i);
	mtime = (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec;
	if ((uint64_t)st.st_size != size)
		return err(-EINVAL,
			   "snapshot: disk %u: %s has %lu bytes, and had %lu when the snapshot was "
			   "made",
			   i, path, (unsigned long)st.st_size, (unsigned long)size);
	if (mtime != was && !anew)
		return err(-EINVAL,
			   "snapshot: disk %u: %s was written since the snapshot was made, and its "
			   "guest would not know; if it holds what it held then, say so: --disk "
			   "%u=%s",
			   i, path, i, path);
	return 0;
}

int snap_check_disks(const struct snap_info *info, const struct conf *conf, uint32_t anew)
{
	int r = 0;

	for (unsigned i = 0; !r && i < conf->disks; i++) {
		const struct snap_disk *d = &info->disk[i];
		bool new = anew >> i & 1;

		r = check_image(conf->disk[i].path, d->size, d->mtime_ns, new, i);
		if (!r && !d->captured)
			r = check_image(conf->disk[i].overlay, d->overlay_size, d->overlay_mtime_ns,
					new, i);
	}
	return r;
}

/* --- processors --- */

int snap_load_vcpus(struct vm *vm)
{
	char path[32];
	int r = 0;

	vm->saved = calloc(vm->conf->cpus, sizeof(*vm->saved));
	if (!vm->saved)
		return err(-ENOMEM, "snapshot: out of memory for its processors");
	for (unsigned i = 0; !r && i < vm->conf->cpus; i++) {
		struct vcpu_state *s = &vm->saved[i];

		snprintf(path, sizeof(path), "/state/cpu@%u", i);
		r = vm_tree_load(vm->from->tree, path, vcpu_fields, s);
		if (!r && s->cpuid_len % sizeof(struct kvm_cpuid_entry2))
			r = err(-EINVAL, "snapshot: %s: cpuid: %u bytes are no whole CPUID leaves",
				path, s->cpuid_len);
		if (!r)
			r = cpuid_check(&vm->kvm, (const void *)s->cpuid,
					s->cpuid_len / (unsigned)sizeof(struct kvm_cpuid_entry2));
	}
	return r;
}

/* --- memory --- */

struct unpacking {
	const struct snap_file *from;
	const struct gmem *mem;
	int to;		  /* a file, or -1: to where @mem is, if it is anywhere */
	uint64_t next;	  /* chunk; atomic */
	pthread_t caller; /* who tells how far it is */
	pthread_mutex_t lock;
	int error;
	char text[512];
};

static void fail(struct unpacking *u, int r)
{
	pthread_mutex_lock(&u->lock);
	if (!u->error) {
		u->error = r;
		snprintf(u->text, sizeof(u->text), "%s", err_last());
	}
	pthread_mutex_unlock(&u->lock);
	__atomic_store_n(&u->next, u->from->head.chunks, __ATOMIC_RELAXED);
}

static int unpack_chunk(struct unpacking *u, uint64_t n, struct snap_unpacker *z)
{
	const struct gmem_slot *slot;
	uint64_t off;
	size_t len;
	int r;

	slot = snap_slot(u->mem, n, &off, &len);
	if (u->to < 0)
		return snap_read(u->from, n, slot->hva ? slot->hva + off : z->out, len, z);
	if (snap_kind(&snap_owner(u->from, n)->entry[n]) == SNAP_ZERO)
		return 0;
	r = snap_read(u->from, n, z->out, len, z);
	if (!r && pwrite(u->to, z->out, len, (off_t)(n * SNAP_CHUNK)) != (ssize_t)len)
		r = err(errno ? -errno : -EIO,
			"snapshot %s: its memory cannot be kept unpacked: %s", u->from->name,
			strerror(errno));
	return r;
}

static void unpack(void *arg)
{
	cleanup_free struct snap_unpacker *z = malloc(sizeof(*z));
	struct unpacking *u = arg;
	uint64_t first, chunks = u->from->head.chunks;
	int r = z ? snap_unpacker_init(z) : err(-ENOMEM, "snapshot: out of memory to unpack it");

	if (r) {
		fail(u, r);
		return;
	}
	while ((first = __atomic_fetch_add(&u->next, SHARE, __ATOMIC_RELAXED)) < chunks && !r) {
		if (pthread_equal(pthread_self(), u->caller))
			snap_progress(u->from, first, chunks);
		for (uint64_t n = first; !r && n < MIN(first + SHARE, chunks); n++)
			r = unpack_chunk(u, n, z);
	}
	if (r)
		fail(u, r);
	snap_unpacker_free(z);
}

/* to @mem, or to @fd unless that is -1; where @mem has no address, chunks are only looked at */
static int unpack_all(const struct snap_file *from, const struct gmem *mem, int fd)
{
	struct unpacking u = { .from = from, .mem = mem, .to = fd, .caller = pthread_self() };

	if (snap_chunks(mem) != from->head.chunks)
		return err(-EBADMSG, "snapshot %s: has %lu chunks of memory, its machine %lu",
			   from->name, (unsigned long)from->head.chunks,
			   (unsigned long)snap_chunks(mem));
	pthread_mutex_init(&u.lock, NULL);
	team_run(unpack, &u);
	snap_progress(from, from->head.chunks, from->head.chunks);
	pthread_mutex_destroy(&u.lock);
	return u.error ? err(u.error, "%s", u.text) : 0;
}

int snap_shape(const struct conf *conf, struct gmem *ret)
{
	struct board b;
	int r = vm_board(conf, &b);

	*ret = (struct gmem){ .n = 1 };
	ret->slot[0].len = r ? 0 : b.lowmem_end;
	if (!r && b.highmem_end > HIGHMEM_BASE)
		ret->slot[ret->n++].len = b.highmem_end - HIGHMEM_BASE;
	return r;
}

static int verify_pieces(const struct snap_file *f)
{
	struct snap_unpacker *u = f->pieces ? malloc(sizeof(*u)) : NULL;
	int r = 0;

	if (!f->pieces)
		return 0;
	if (!u || snap_unpacker_init(u))
		r = err(-ENOMEM, "snapshot %s: out of memory to verify it", f->name);
	for (uint64_t n = 0; !r && n < f->pieces; n++)
		r = snap_read(f, f->head.chunks + n, u->out, sizeof(u->out), u);
	if (u)
		snap_unpacker_free(u);
	free(u);
	return r;
}

int snap_verify(const struct snap_file *f, const struct conf *conf)
{
	struct gmem mem;
	int r = snap_shape(conf, &mem);

	if (!r)
		r = verify_pieces(f);
	return r ? r : unpack_all(f, &mem, -1);
}

int snap_unpack(const struct snap_file *f, const struct conf *conf, int fd)
{
	struct gmem mem;
	int r = snap_shape(conf, &mem);

	if (!r && ftruncate(fd, (off_t)snap_memory_size(f)))
		r = err(-errno, "snapshot %s: its memory cannot be kept unpacked: %s", f->name,
			strerror(errno));
	return r ? r : unpack_all(f, &mem, fd);
}

/* --- the rest --- */

static int load_kvm(struct vm *vm)
{
	struct irqchip_state chip;
	int r = vm_tree_load(vm->from->tree, "/state/irqchip", irqchip_fields, &chip);

	for (unsigned i = 0; !r && i < vm->cpus; i++) {
		r = regs_set(&vm->kvm, vm->vcpu[i].fd, &vm->saved[i]);
		if (!r)
			regs_stood_still(vm->vcpu[i].fd);
	}
	return r ? r : irqchip_set(&vm->kvm, &chip);
}

static int load_devices(struct vm *vm)
{
	const void *fdt = vm->from->tree;
	int r = vm_tree_nodes(fdt, "/state", vm->cpus + 1 + vm->devs);

	for (unsigned i = 0; !r && i < vm->devs; i++)
		r = dev_load(vm->dev[i], fdt, fdt_path_offset(fdt, "/state"));
	vm->restored = !r;
	return r;
}

static int check_chunks(const struct vm *vm)
{
	uint64_t has = snap_chunks(&vm->mem), of = vm->from->head.chunks;

	return has == of ? 0
			 : err(-EBADMSG, "snapshot %s: has %lu chunks of memory, its machine %lu",
			       vm->from->name, (unsigned long)of, (unsigned long)has);
}

int snap_map(struct vm *vm)
{
	uint64_t off = vm->from_off;
	int r = check_chunks(vm);

	for (unsigned i = 0; !r && i < vm->mem.n; i++) {
		r = gmem_map(&vm->mem, i, vm->from_memory, off);
		off += snap_chunks_of(vm->mem.slot[i].len) * SNAP_CHUNK;
	}
	return r;
}

static void memory_failed(void *arg, const char *text)
{
	vm_event(arg, VM_ERROR, "%s", text);
}

static int page_memory(struct vm *vm)
{
	vm->pager = pager_new(&vm->mem, vm->from, vm->from_lazy, memory_failed, vm);
	return vm->pager ? 0 : err_last_code();
}

/* unless it is mapped */
static int load_memory(struct vm *vm)
{
	int r;

	if (vm->from_memory >= 0)
		return 0;
	r = check_chunks(vm);
	if (r)
		return r;
	return vm->from_lazy ? page_memory(vm) : unpack_all(vm->from, &vm->mem, -1);
}

int snap_load(struct vm *vm)
{
	int r = vm_tree_check_board(vm->from->tree, &vm->board);

	if (vm->from_memory >= 0)
		snap_changed_mapped(vm, vm->from->head.id);
	if (!r)
		r = load_memory(vm);
	if (!r)
		r = load_kvm(vm);
	if (!r)
		r = snap_disks_load(vm);
	if (!r)
		r = load_devices(vm);
	if (!r)
		r = vm_new_generation(vm);
	/* a device only knows that it could not look there */
	return r && vm->pager && vm->event == VM_ERROR ? err(r, "%s", vm->event_text) : r;
}
