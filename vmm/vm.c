/* vm.c - life of a machine: run, pause, events, reset, end */
#include <stdarg.h>

#include "acpi.h"
#include "devices.h"
#include "irqchip.h"
#include "pager.h"
#include "snap.h"
#include "vm.h"
#include "vm_build.h"

#define PARK_TIMEOUT  (10ULL * 1000000000)
#define FLUSH_TIMEOUT (500ULL * 1000000)

void vm_event(struct vm *vm, enum vm_end event, const char *fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&vm->event_lock);
	/* a user's wish to stop also ends a guest that does nothing but reboot */
	if (vm->event == VM_RUNNING || (event == VM_STOPPED && vm->end == VM_RUNNING)) {
		vm->event = event;
		va_start(ap, fmt);
		vsnprintf(vm->event_text, sizeof(vm->event_text), fmt, ap);
		va_end(ap);
	}
	pthread_mutex_unlock(&vm->event_lock);
	vm_hold(vm); /* whoever reports it does not go on either */
	loop_call(vm->loop, &vm->on_event);
}

void vm_hold(struct vm *vm)
{
	pthread_mutex_lock(&vm->park_lock);
	__atomic_store_n(&vm->hold, true, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < vm->cpus; i++)
		vcpu_kick(&vm->vcpu[i]);
	pthread_mutex_unlock(&vm->park_lock);
}

uint64_t vm_cpu_ns(const struct vm *vm)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < vm->cpus; i++)
		sum += vcpu_cpu_ns(&vm->vcpu[i]);
	return sum;
}

static unsigned running(struct vm *vm)
{
	unsigned n = 0;

	pthread_mutex_lock(&vm->park_lock);
	for (unsigned i = 0; i < vm->cpus; i++)
		n += vm->vcpu[i].has_thread;
	n -= vm->parked;
	pthread_mutex_unlock(&vm->park_lock);
	return n;
}

static bool all_parked(void *arg)
{
	return !running(arg);
}

/*
 * The loop goes on while it waits: a vCPU that resets a device waits in turn
 * for that device's requests, which complete here.
 */
void vm_pause(struct vm *vm)
{
	vm->pauses++;
	vm_hold(vm);
	while (loop_until(vm->loop, all_parked, vm, PARK_TIMEOUT))
		log_warn("%u vCPUs have not stopped for 10 s; is a disk of theirs hanging?",
			 running(vm));
	for (unsigned i = 0; i < vm->devs; i++)
		dev_drain(vm->dev[i]);
}

void vm_resume(struct vm *vm)
{
	BUG_ON(!vm->pauses);
	if (--vm->pauses)
		return;
	for (unsigned i = 0; i < vm->devs; i++)
		dev_resume(vm->dev[i]);
	pthread_mutex_lock(&vm->park_lock);
	__atomic_store_n(&vm->hold, false, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&vm->park_cond);
	pthread_mutex_unlock(&vm->park_lock);
	throttle_look(vm);
}

int vm_user_pause(struct vm *vm)
{
	if (vm->end != VM_RUNNING)
		return err(-EINVAL, "the machine has ended");
	if (vm->user_paused)
		return err(-EINVAL, "the machine is paused already");
	vm->user_paused = true;
	vm_pause(vm);
	if (vm->on_pause)
		vm->on_pause(vm->on_pause_arg, true);
	return 0;
}

int vm_user_resume(struct vm *vm)
{
	if (!vm->user_paused)
		return err(-EINVAL, "the machine is not paused");
	vm->user_paused = false;
	if (vm->end != VM_RUNNING)
		return 0;
	for (unsigned i = 0; i < vm->cpus; i++)
		regs_stood_still(vm->vcpu[i].fd);
	vm_resume(vm);
	if (vm->on_pause)
		vm->on_pause(vm->on_pause_arg, false);
	return 0;
}

int vm_power_button(struct vm *vm)
{
	if (vm->end != VM_RUNNING)
		return err(-EINVAL, "the machine has ended");
	if (vm->user_paused)
		return err(-EINVAL, "the machine is paused, and its guest sees no button");
	for (unsigned i = 0; i < vm->devs; i++)
		if (vm->dev[i]->type == &acpi_pm_type)
			return acpi_pm_power_button(vm->dev[i]);
	return err(-ENOTSUP, "the machine has no power button");
}

int vm_new_generation(struct vm *vm)
{
	int r = acpi_generation(&vm->mem);

	for (unsigned i = 0; !r && i < vm->devs; i++)
		if (vm->dev[i]->type == &acpi_pm_type)
			acpi_pm_generation(vm->dev[i]);
	return r;
}

static int set_power_on(struct vm *vm)
{
	int r = 0;

	for (unsigned i = 0; !r && i < vm->cpus; i++)
		r = regs_set(&vm->kvm, vm->vcpu[i].fd, vm->vcpu[i].power_on);
	return r ? r : irqchip_set(&vm->kvm, vm->power_on);
}

int vm_reset(struct vm *vm)
{
	int r;

	if (!vm->power_on)
		return err(-EINVAL,
			   "the machine was not made to be reset; start it with --on-reboot reset");
	r = vm->pager ? pager_finish(vm->pager) : 0;
	for (unsigned i = 0; i < vm->devs; i++)
		dev_reset(vm->dev[i]);
	if (!r)
		r = set_power_on(vm);
	if (r)
		return r;
	gmem_discard_all(&vm->mem);
	r = boot_load(vm->boot, &vm->mem, &vm->board, &vm->entry);
	if (!r)
		r = regs_boot(vm->vcpu[0].fd, &vm->entry);
	vm->panic_text[0] = '\0';
	vm->resets += !r;
	return r;
}

/* vm->end is set */
static void end(struct vm *vm)
{
	snap_live_stop(vm, "the machine has ended");
	stream_flush(vm->console, FLUSH_TIMEOUT);
	if (vm->ended)
		vm->ended(vm->ended_arg);
}

/* a kernel that panics reboots (panic=-1); its last words tell the two apart */
static enum vm_end classify(struct vm *vm)
{
	enum vm_end why = vm->event;

	if (vm->panic_text[0] && (why == VM_REBOOT || why == VM_PANIC || why == VM_TRIPLE_FAULT)) {
		why = VM_PANIC;
		snprintf(vm->event_text, sizeof(vm->event_text), "the guest's kernel panicked: %s",
			 vm->panic_text);
	}
	return why;
}

/* what the event comes to; if that is the end, no other event changes it any more */
static enum vm_end settle(struct vm *vm)
{
	enum vm_end why;

	pthread_mutex_lock(&vm->event_lock);
	why = classify(vm);
	if (why != VM_REBOOT || vm->conf->on_reboot != REBOOT_RESET)
		vm->end = why;
	pthread_mutex_unlock(&vm->event_lock);
	return why;
}

static void begin_again(struct vm *vm)
{
	int r = vm_reset(vm);

	pthread_mutex_lock(&vm->event_lock);
	if (r) {
		snprintf(vm->event_text, sizeof(vm->event_text),
			 "the machine could not be reset: %s", err_last());
		vm->end = VM_ERROR;
	} else if (vm->event == VM_REBOOT) { /* else a stop came meanwhile, and is seen to next */
		vm->event = VM_RUNNING;
	}
	pthread_mutex_unlock(&vm->event_lock);
	if (r)
		end(vm);
	else
		vm_resume(vm);
}

void vm_on_event(void *arg)
{
	struct vm *vm = arg;
	enum vm_end why;

	if (vm->end != VM_RUNNING)
		return;
	vm_pause(vm);
	why = settle(vm);
	if (why == VM_RUNNING)
		vm_resume(vm);
	else if (vm->end != VM_RUNNING)
		end(vm);
	else
		begin_again(vm);
}

int vm_start(struct vm *vm)
{
	int r = 0;

	if (vm->restored)
		for (unsigned i = 0; i < vm->devs; i++)
			dev_resume(vm->dev[i]);
	for (unsigned i = 0; !r && i < vm->cpus; i++)
		r = vcpu_start(&vm->vcpu[i]);
	if (!r && vm->pager)
		r = pager_go(vm->pager);
	if (!r)
		throttle_set(vm);
	return r;
}

void vm_free(struct vm *vm)
{
	if (!vm)
		return;
	snap_live_free(vm);
	if (vm->built)
		vm_pause(vm);
	throttle_end(vm);
	pthread_mutex_lock(&vm->park_lock);
	vm->stop = true;
	pthread_cond_broadcast(&vm->park_cond);
	pthread_mutex_unlock(&vm->park_lock);
	for (unsigned i = 0; i < vm->cpus; i++)
		vcpu_destroy(&vm->vcpu[i]);
	vm_unbuild(vm);
}
