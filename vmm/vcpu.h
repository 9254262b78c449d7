/*
 * vcpu.h - a virtual CPU: its thread, its run loop, and how it is stopped (layer 4)
 *
 * 1. A vCPU runs while vm->hold and vm->throttled are false.  vm_hold() sets the
 *    one (throttle.c the other), sets every immediate_exit and sends the kick
 *    signal; KVM_RUN then completes a pending access, returns EINTR, and the
 *    thread parks on the barrier.  There it takes immediate_exit back, also
 *    where it need not wait any more: else KVM_RUN would return for ever.
 * 2. Only while vm_pause() holds them may a vCPU's registers be touched by others:
 *    one that is throttled goes on when it likes.
 * 3. The kick signal has an empty handler: it only interrupts KVM_RUN.
 */
#ifndef HUTCH_VCPU_H
#define HUTCH_VCPU_H

#include <pthread.h>
#include <signal.h>

#include "regs.h"

#define VCPU_KICK_SIGNAL SIGRTMIN

struct vm;

struct vcpu {
	struct vm *vm;
	unsigned id;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool has_thread;
	uint64_t exits;
	struct kvm_cpuid_entry2 *cpuid; /* the processor it is */
	unsigned cpuid_n;
	struct vcpu_state *power_on; /* what a reset goes back to; kept only where one may come */
};

int vcpu_create(struct vcpu *v, struct vm *vm, unsigned id) must_check;
int vcpu_start(struct vcpu *v) must_check; /* its thread */
void vcpu_destroy(struct vcpu *v);	   /* after vm->stop; joins the thread */

/* processor time its thread has used, the guest's and ours */
uint64_t vcpu_cpu_ns(const struct vcpu *v);

/* make KVM_RUN return soon; any thread */
void vcpu_kick(struct vcpu *v);

/* x86.c: act on one exit of KVM_RUN */
void vcpu_exit(struct vcpu *v);

#endif
