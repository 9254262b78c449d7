/*
 * snap_back.c - a machine that runs goes back to a snapshot of it, in place
 *
 * 1. All that can be found wrong is found before anything is touched: the file
 *    is whole, and its machine is this one, down to the processors that the
 *    guest was shown.  So a refusal leaves the machine as it was.
 * 2. Then it is as in a reset: the host's side of each device stays open, its
 *    state is what the snapshot has, and connections of the vsock end.  Nothing
 *    is opened, for a machine in its jail could not.
 * 3. What fails after that leaves no machine that could go on, and ends it.
 */
#include <libfdt.h>

#include "irqchip.h"
#include "pager.h"
#include "snap.h"
#include "vm.h"

static int other_cpu(unsigned i)
{
	return err(-ENOTSUP,
		   "snapshot: CPU %u of its guest is another than this machine's, which cannot "
		   "change while it runs; 'hutch restore' makes one that has it",
		   i);
}

static int check_vcpus(struct vm *vm)
{
	int r = snap_load_vcpus(vm);

	for (unsigned i = 0; !r && i < vm->cpus; i++) {
		const struct vcpu_state *s = &vm->saved[i];
		const struct vcpu *v = &vm->vcpu[i];

		if (s->cpuid_len != v->cpuid_n * sizeof(*v->cpuid) ||
		    memcmp(s->cpuid, v->cpuid, s->cpuid_len))
			r = other_cpu(i);
	}
	return r;
}

/* KVM tells it of one that stands still */
static int check_paces(const struct vm *vm)
{
	for (unsigned i = 0; i < vm->cpus; i++)
		if (!regs_same_pace(vm->vcpu[i].fd, vm->saved[i].tsc_khz))
			return other_cpu(i);
	return 0;
}

static int check_devices(struct vm *vm)
{
	const void *fdt = vm->from->tree;
	struct irqchip_state chip;
	int r = vm_tree_nodes(fdt, "/state", vm->cpus + 1 + vm->devs);

	if (!r)
		r = vm_tree_load(fdt, "/state/irqchip", irqchip_fields, &chip);
	for (unsigned i = 0; !r && i < vm->devs; i++)
		r = dev_check(vm->dev[i], fdt, fdt_path_offset(fdt, "/state"));
	return r;
}

/* all but what changes while the guest runs */
static int check(struct vm *vm, struct snap_info *info)
{
	cleanup_free struct conf *was = calloc(1, sizeof(*was));
	int r = was ? snap_check(vm->from, info, was) : err(-ENOMEM, "snapshot: out of memory");

	if (!r)
		r = snap_disks_check(vm->from, info, vm->conf);
	if (!r)
		r = snap_disks_fit(vm);
	for (unsigned i = 0; !r && i < info->disks; i++)
		if (info->disk[i].captured) /* overlay= says as much as format=cow */
			was->disk[i].format = vm->conf->disk[i].format;
	if (!r)
		r = conf_check_made(vm->conf, was);
	if (!r)
		r = vm_tree_check_board(vm->from->tree, &vm->board);
	if (!r)
		r = check_vcpus(vm);
	if (!r)
		r = check_devices(vm);
	return r ? r : snap_verify(vm->from, was);
}

static int check_disks(const struct vm *vm, const struct snap_info *info)
{
	int r = snap_check_disks(info, vm->conf, 0);

	return r ? err(r,
		       "%s; that is for 'hutch restore': in a rollback all disks stay where they "
		       "are",
		       err_last())
		 : 0;
}

static bool is_ending(struct vm *vm)
{
	bool ends;

	pthread_mutex_lock(&vm->event_lock);
	ends = vm->end != VM_RUNNING || vm->event != VM_RUNNING;
	pthread_mutex_unlock(&vm->event_lock);
	return ends;
}

/* the machine stands still: 0, or -errno and *@ret_touched tells whether it can go on */
static int load(struct vm *vm, const struct snap_info *info, bool *ret_touched)
{
	int r = is_ending(vm) ? err(-EINVAL, "the machine has ended") : check_paces(vm);

	if (!r)
		r = check_disks(vm, info);
	if (r)
		return r;
	*ret_touched = true;
	/* before its connections end: who loses one asks why */
	__atomic_add_fetch(&vm->rollbacks, 1, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < vm->devs; i++)
		dev_reset(vm->dev[i]);
	gmem_discard_all(&vm->mem);
	snap_changed_forget(vm);
	vm->from_memory = -1;
	r = snap_load(vm);
	vm->panic_text[0] = '\0';
	return r;
}

static int roll_back(struct vm *vm)
{
	struct snap_info info = { .disks = 0 };
	bool touched = false;
	int r = check(vm, &info);

	if (!r && vm->pager) /* it would go on to put in what was */
		r = pager_finish(vm->pager);
	if (r)
		return r;
	vm_pause(vm);
	r = load(vm, &info, &touched);
	if (r && touched) { /* it stays paused, until that is seen to */
		vm_event(vm, VM_ERROR, "the machine could not be rolled back: %s", err_last());
		return r;
	}
	if (!r && vm->user_paused)
		r = vm_user_resume(vm);
	vm_resume(vm);
	return r;
}

int snap_roll_back(struct vm *vm, int fd, const char *name)
{
	struct snap_file from;
	int r;

	if (is_ending(vm))
		return err(-EINVAL, "the machine has ended");
	r = snap_open(&from, fd, name);
	if (r)
		return r;
	vm->from = &from;
	r = from.wanted ? err(-EINVAL, "snapshot %s: is given without its parent", name)
			: roll_back(vm);
	vm->from = NULL;
	free(vm->saved);
	vm->saved = NULL;
	snap_close(&from);
	return r;
}
