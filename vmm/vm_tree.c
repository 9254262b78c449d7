/* vm_tree.c - a machine, running or only described, as a tree, and back */
#include <libfdt.h>

#include "cpuid.h"
#include "irqchip.h"
#include "snap.h"
#include "state.h"
#include "vm_build.h"

#define TREE_BASE      (256U << 10)
#define TREE_COUNTERS  (64U << 10)
#define TREE_VCPU      (56U << 10)

#define MACHINE_FORMAT "hutch.machine/1"
#define ARCH_NAME      "x86_64"

struct header {
	char format[32], arch[16], cpu[64];
};

static const struct field header_fields[] = {
	F_STR(struct header, format),
	F_STR(struct header, arch),
	F_STR(struct header, cpu),
	F_END,
};

struct place {
	uint64_t base;
	uint32_t gsi;
};

static const struct field place_fields[] = {
	F_UINT(struct place, base),
	F_UINT(struct place, gsi),
	F_END,
};

struct ram {
	uint64_t base, size;
};

static const struct field ram_fields[] = { F_UINT(struct ram, base), F_UINT(struct ram, size),
					   F_END };

/* among the devices' counters: what all vCPUs used, and what held them up */
struct vcpus_counters {
	uint64_t cpu_ms, exits;
	uint64_t throttled, throttled_ms; /* times that they had to wait for cpu_percent */
	uint32_t cpu_percent;
};

static const struct field vcpus_fields[] = {
	F_UINT(struct vcpus_counters, cpu_ms),	     F_UINT(struct vcpus_counters, exits),
	F_UINT(struct vcpus_counters, cpu_percent),  F_UINT(struct vcpus_counters, throttled),
	F_UINT(struct vcpus_counters, throttled_ms), F_END,
};

static int save_node(void *fdt, const char *name, const struct field *table, const void *obj)
{
	int r = tree_node(fdt, name);

	if (!r)
		r = state_save(fdt, table, obj);
	return r ? r : tree_node_end(fdt);
}

static int save_board(void *fdt, const struct board *b)
{
	const struct ram ram[2] = { { 0, b->lowmem_end },
				    { 1ULL << 32, b->highmem_end - (1ULL << 32) } };
	char name[32];
	int r = tree_node(fdt, "board");

	for (unsigned i = 0; !r && i < ARRAY_SIZE(ram) && ram[i].size; i++) {
		snprintf(name, sizeof(name), "ram@%u", i);
		r = save_node(fdt, name, ram_fields, &ram[i]);
	}
	for (unsigned i = 0; !r && i < b->mmio_n; i++) {
		const struct place place = { b->mmio[i].base, b->mmio[i].gsi };

		snprintf(name, sizeof(name), "virtio_mmio@%u", i);
		r = save_node(fdt, name, place_fields, &place);
	}
	return r ? r : tree_node_end(fdt);
}

static int save_vcpu(struct vm *vm, void *fdt, unsigned i)
{
	cleanup_free struct vcpu_state *s = calloc(1, sizeof(*s));
	char name[32];
	int r = s ? regs_get(&vm->kvm, vm->vcpu[i].fd, s) : err(-ENOMEM, "tree: out of memory");

	snprintf(name, sizeof(name), "cpu@%u", i);
	if (!r) {
		s->cpuid_len = vm->vcpu[i].cpuid_n * (uint32_t)sizeof(struct kvm_cpuid_entry2);
		memcpy(s->cpuid, vm->vcpu[i].cpuid, s->cpuid_len);
	}
	return r ? r : save_node(fdt, name, vcpu_fields, s);
}

static int save_state(struct vm *vm, void *fdt)
{
	struct irqchip_state chip;
	int r = tree_node(fdt, "state");

	for (unsigned i = 0; !r && i < vm->cpus; i++)
		r = save_vcpu(vm, fdt, i);
	if (!r)
		r = irqchip_get(&vm->kvm, &chip);
	if (!r)
		r = save_node(fdt, "irqchip", irqchip_fields, &chip);
	for (unsigned i = 0; !r && i < vm->devs; i++)
		r = dev_save(vm->dev[i], fdt);
	return r ? r : tree_node_end(fdt);
}

static int save_vcpus_counters(struct vm *vm, void *fdt)
{
	struct vcpus_counters n = {
		.cpu_ms = vm_cpu_ns(vm) / 1000000,
		.cpu_percent = vm->throttle.percent,
		.throttled = vm->throttle.stops,
		.throttled_ms = vm->throttle.stopped_ns / 1000000,
	};

	for (unsigned i = 0; i < vm->cpus; i++)
		n.exits += __atomic_load_n(&vm->vcpu[i].exits, __ATOMIC_RELAXED);
	return save_node(fdt, "vcpus", vcpus_fields, &n);
}

static int save_counters(struct vm *vm, void *fdt)
{
	int r = tree_node(fdt, "counters");

	if (!r)
		r = save_vcpus_counters(vm, fdt);
	for (unsigned i = 0; !r && i < vm->devs; i++)
		r = dev_save_counters(vm->dev[i], fdt);
	return r ? r : tree_node_end(fdt);
}

/* @vm: with its state; @info: of a snapshot, which leaves the counters out */
static int make_tree(const struct conf *conf, const struct board *board, struct vm *vm,
		     const struct snap_info *info, void **ret)
{
	size_t size = TREE_BASE + (vm ? vm->cpus * (size_t)TREE_VCPU : 0);
	cleanup_free void *fdt = malloc(size);
	struct header header = { MACHINE_FORMAT, ARCH_NAME, "" };
	int r = fdt ? tree_begin(fdt, size) : err(-ENOMEM, "tree: out of memory");

	if (vm)
		cpuid_model(&vm->kvm, header.cpu);
	if (!r)
		r = state_save(fdt, header_fields, &header);
	if (!r && info)
		r = save_node(fdt, "snapshot", snap_info_fields, info);
	if (!r)
		r = save_node(fdt, "config", conf_fields, conf);
	if (!r)
		r = save_board(fdt, board);
	if (!r && vm)
		r = save_state(vm, fdt);
	if (!r && vm && !info)
		r = save_counters(vm, fdt);
	if (!r)
		r = tree_end(fdt);
	if (r > 0) {
		*ret = fdt;
		fdt = NULL;
	}
	return r;
}

int vm_tree(struct vm *vm, void **ret)
{
	int r;

	if (vm->end != VM_RUNNING) /* paused for good */
		return make_tree(vm->conf, &vm->board, vm, NULL, ret);
	vm_pause(vm);
	r = make_tree(vm->conf, &vm->board, vm, NULL, ret);
	vm_resume(vm);
	return r;
}

int vm_tree_snapshot(struct vm *vm, const struct snap_info *info, void **ret)
{
	return make_tree(vm->conf, &vm->board, vm, info, ret);
}

int vm_tree_counters(struct vm *vm, void **ret)
{
	cleanup_free void *fdt = malloc(TREE_COUNTERS);
	int r = fdt ? tree_begin(fdt, TREE_COUNTERS) : err(-ENOMEM, "tree: out of memory");

	if (!r)
		r = save_counters(vm, fdt);
	if (!r)
		r = tree_end(fdt);
	if (r > 0) {
		*ret = fdt;
		fdt = NULL;
	}
	return r;
}

int vm_tree_described(const struct conf *conf, void **ret)
{
	struct board board;
	int r = vm_board(conf, &board);

	return r ? r : make_tree(conf, &board, NULL, NULL, ret);
}

/* --- back from a tree, which is hostile until proven good --- */

/* the node at @path into @obj; messages name it */
int vm_tree_load(const void *fdt, const char *path, const struct field *table, void *obj)
{
	int node = fdt_path_offset(fdt, path), r;

	r = node < 0 ? err(-EINVAL, "no such node") : state_load(fdt, node, table, obj);
	return r ? err(r, "snapshot: %s: %s", path, err_last()) : 0;
}

/* has @path these nodes and no other? Each of them is looked for elsewhere */
int vm_tree_nodes(const void *fdt, const char *path, unsigned want)
{
	int sub, node = fdt_path_offset(fdt, path);
	unsigned n = 0;

	fdt_for_each_subnode(sub, fdt, node) n++;
	return n == want ? 0
			 : err(-EINVAL,
			       "snapshot: %s: has %u nodes, and %u are known; another version made "
			       "it",
			       path, n, want);
}

int vm_tree_check(const void *fdt)
{
	struct header h;
	int r = vm_tree_load(fdt, "/", header_fields, &h);

	if (r)
		return r;
	if (strcmp(h.format, MACHINE_FORMAT))
		return err(-ENOTSUP, "snapshot: its machine is of format '%s', this hutch knows %s",
			   h.format, MACHINE_FORMAT);
	if (strcmp(h.arch, ARCH_NAME))
		return err(-ENOTSUP, "snapshot: it is of a machine of %s, this one is of %s",
			   h.arch, ARCH_NAME);
	/* /snapshot, /config, /board and /state */
	return vm_tree_nodes(fdt, "/", 4);
}

static int same_place(const char *path, const char *what, uint64_t a, uint64_t b)
{
	return a == b ? 0
		      : err(-ENOTSUP,
			    "snapshot: %s: its %s is %#lx there, and %#lx in the machine that this "
			    "hutch makes; restore it with the version that made it",
			    path, what, (unsigned long)a, (unsigned long)b);
}

/* what is where, as the guest knows it, has to be what this program makes of the configuration */
int vm_tree_check_board(const void *fdt, const struct board *b)
{
	const struct ram ram[2] = { { 0, b->lowmem_end },
				    { 1ULL << 32, b->highmem_end - (1ULL << 32) } };
	struct place place;
	struct ram there;
	char path[48];
	int r = vm_tree_nodes(fdt, "/board", 1 + (ram[1].size != 0) + b->mmio_n);

	for (unsigned i = 0; !r && i < ARRAY_SIZE(ram) && ram[i].size; i++) {
		snprintf(path, sizeof(path), "/board/ram@%u", i);
		r = vm_tree_load(fdt, path, ram_fields, &there);
		if (!r)
			r = same_place(path, "base", there.base, ram[i].base);
		if (!r)
			r = same_place(path, "size", there.size, ram[i].size);
	}
	for (unsigned i = 0; !r && i < b->mmio_n; i++) {
		snprintf(path, sizeof(path), "/board/virtio_mmio@%u", i);
		r = vm_tree_load(fdt, path, place_fields, &place);
		if (!r)
			r = same_place(path, "base", place.base, b->mmio[i].base);
		if (!r)
			r = same_place(path, "gsi", place.gsi, b->mmio[i].gsi);
	}
	return r;
}
