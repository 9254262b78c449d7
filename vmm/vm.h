/*
 * vm.h - the machine: composition root and life cycle (layer 4)
 *
 * Everything here but vm_event() and vm_hold() runs on one thread at a time:
 * the one that builds the machine, then the loop's.
 *
 * A machine is built in the order KVM wants it: memory, interrupt controller,
 * vCPUs, devices, kicks.  It ends with the first event that a guest, a vCPU or
 * the user sends; vm_end() is told on the loop.
 */
#ifndef HUTCH_VM_H
#define HUTCH_VM_H

#include "boot.h"
#include "conf.h"
#include "dev.h"
#include "kvm.h"
#include "stream.h"
#include "throttle.h"
#include "vcpu.h"

#define VM_DEVS 64

enum vm_phase {
	PHASE_START,
	PHASE_FILES,
	PHASE_KVM,
	PHASE_MEMORY,
	PHASE_VCPUS,
	PHASE_DEVICES,
	PHASE_LOAD,
	PHASE_JAIL, /* by hutch.c, around vm_start() */
	PHASE_ENTRY,
	PHASE_FIRST_EXIT,
	PHASES,
};

/* why a machine ended; the first three are enum machine_event */
enum vm_end {
	VM_RUNNING,
	VM_POWEROFF = MACHINE_POWEROFF,
	VM_REBOOT = MACHINE_REBOOT,
	VM_PANIC = MACHINE_PANIC,
	VM_TRIPLE_FAULT,
	VM_ERROR,
	VM_STOPPED,
};

struct irqchip_state;
struct pager;
struct pager_conf;
struct pci_bus;
struct snap_file;
struct snap_live;
struct snap_turn;

/* the snapshot that memory is known to differ from in known pages only; see snap_changed.c */
struct vm_base {
	enum { BASE_NONE, BASE_MAPPED, BASE_LOGGED } how;
	uint8_t id[16];
};

struct vm {
	struct machine m;
	struct conf *conf; /* the caller keeps it */
	struct kvm kvm;
	struct gmem mem;
	struct bus bus;
	uint8_t *windows; /* what virtio-mmio devices show, one page each; NULL: KVM does not map
			     them */
	struct loop *loop;
	struct stream *console;	   /* of the guest's console, whichever device that is */
	struct stream *no_console; /* of the serial port, when it is not the console */
	struct boot *boot;
	struct board board;
	struct boot_entry entry;
	unsigned devs;
	struct dev *dev[VM_DEVS]; /* in the order of creation */
	unsigned cpus;
	struct vcpu *vcpu;
	struct irqchip_state *power_on; /* with on-reboot=reset */
	const struct snap_file *from;	/* the snapshot it is made from, while it is made */
	int from_memory;		/* its memory unpacked, from from_off on; or -1 */
	uint64_t from_off;
	const struct pager_conf *from_lazy; /* NULL: all of it is there before it runs */
	struct pager *pager;		    /* gets it; or NULL */
	struct vcpu_state *saved;	    /* its processors; vm->cpus of them */
	struct vm_base base;
	struct snap_turn *turn; /* a child in the making, which will be the base; or NULL */
	struct snap_live *live; /* a snapshot that is packed while the guest goes on, or NULL */
	const char *version;	/* of the program, told in snapshots */
	int pagemap;		/* tells which pages of the guest are there at all; -1: not known */

	pthread_mutex_t park_lock;
	pthread_cond_t park_cond;
	bool hold, stop, built; /* written under park_lock */
	bool throttled;		/* so is this; see throttle.h */
	struct throttle throttle;
	unsigned parked;
	unsigned pauses; /* on the loop: one may come within another, and the last resume counts */
	bool user_paused;
	bool restored; /* its devices have been loaded, and not resumed yet until it starts */

	pthread_mutex_t event_lock; /* guards event, event_text, panic_text; stores to end */
	enum vm_end event;
	char event_text[512];
	char panic_text[256]; /* what the guest's kernel said last when it panicked */
	struct loop_call on_event;

	enum vm_end end;
	unsigned resets;
	unsigned rollbacks;	  /* atomic */
	void (*ended)(void *arg); /* on the loop, once */
	void *ended_arg;
	void (*on_pause)(void *arg, bool paused); /* on the loop, at a user's wish; may be NULL */
	void *on_pause_arg;
	uint64_t mark[PHASES];
};

/* build a machine on @loop from a checked configuration that outlives it: NULL with a message;
 * nothing runs yet */
struct vm *vm_new(struct loop *loop, struct conf *conf);
/*
 * vm_restore() - the same of a snapshot, whose configuration this is
 *
 * @memory is a file that has all of it from @off on, as snap_unpack() fills one, of which all
 * machines share what they do not change; or -1, and it is unpacked: before this returns, or with
 * @lazy while the machine runs, for which @from then stays open until vm_free().
 */
struct vm *vm_restore(struct loop *loop, struct conf *conf, const struct snap_file *from,
		      int memory, uint64_t off, const struct pager_conf *lazy);
void vm_free(struct vm *vm); /* on the loop's thread, or when no loop runs */

int vm_start(struct vm *vm) must_check;

/*
 * Stop all vCPUs and drain all devices; until vm_resume() the machine is as if
 * frozen.  Pausing runs the loop, so pauses nest: each has its own resume.
 */
void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);

/* the same at a user's wish: it lasts until resumed, whatever else pauses in between; -EINVAL */
int vm_user_pause(struct vm *vm) must_check;
int vm_user_resume(struct vm *vm) must_check;

/* press the guest's power button: -EINVAL, -ENOTSUP with a message; on the loop */
int vm_power_button(struct vm *vm) must_check;

/* its guest goes on from what another one was, and is told so: -errno with a message; on the loop,
 * no vCPU runs */
int vm_new_generation(struct vm *vm) must_check;

/* something ended or must end the machine; any thread, returns at once, the first one counts, but a
 * stop always does */
void vm_event(struct vm *vm, enum vm_end event, const char *fmt, ...) printf_like(3, 4);

/* processor time its vCPUs have used; any thread */
uint64_t vm_cpu_ns(const struct vm *vm);

/* ask all vCPUs to park, without waiting; any thread */
void vm_hold(struct vm *vm);

/* back to power-on, memory and all, with the host's side left open; paused before and after */
int vm_reset(struct vm *vm) must_check;

/*
 * vm_set() - change a key that is live ("balloon", "disk@0") of a running machine, on the loop
 *
 * Of a list @value names what is to change ("iops=100,bw=1M"); the rest stays.
 * -EINVAL, -ERANGE with a message, and nothing has changed.
 */
int vm_set(struct vm *vm, const char *key, const char *value) must_check;

/*
 * vm_tree() - the machine as a tree: configuration, and state unless @described
 *
 * Returns the size of *@ret, to be freed, or -errno.  The machine is paused for
 * the time it takes.
 */
int vm_tree(struct vm *vm, void **ret) must_check;
/* its counters alone, and nothing stands still for them; on the loop */
int vm_tree_counters(struct vm *vm, void **ret) must_check;
/* the same of a configuration alone, no machine made */
int vm_tree_described(const struct conf *conf, void **ret) must_check;

#endif
