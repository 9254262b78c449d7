/*
 * kvm.h - every ioctl on /dev/kvm and on the VM's descriptor (layer 4)
 *
 * The order of making a machine matters: memory slots before the interrupt
 * controller, that before the vCPUs, kicks last.  A memory slot added after
 * any of them waits 7 ms for an SRCU grace period of the host kernel.
 */
#ifndef HUTCH_KVM_H
#define HUTCH_KVM_H

#include <linux/kvm.h>

#include "gmem.h"
#include "irq.h"

#define KVM_CPUID_MAX 256

struct kvm_cpuid_list {
	uint32_t nent, padding;
	struct kvm_cpuid_entry2 e[KVM_CPUID_MAX];
};

struct kvm {
	struct irq irq; /* kvm_irq_ops */
	int fd, vm;
	unsigned cpus_max;
	size_t run_size, xsave_size;
	bool tsc_deadline, pit;
	struct kvm_cpuid_list cpuid; /* what KVM supports on this host */
};

/* /dev/kvm of the right API: -ENOENT, -EACCES, -ENODEV with what to do about it */
int kvm_open(struct kvm *kvm) must_check;
void kvm_close(struct kvm *kvm);

int kvm_create_vm(struct kvm *kvm) must_check;
int kvm_add_memory(struct kvm *kvm, const struct gmem *mem) must_check;
/* pages of ours that the guest can read at @gpa; its stores there still leave it: -errno */
int kvm_add_window(struct kvm *kvm, gpa_t gpa, uint64_t len, const void *page) must_check;
int kvm_create_irqchip(struct kvm *kvm, bool pit) must_check;

#define KVM_XAPIC_CPUS 255 /* more need x2APIC mode, and KVM told so before any vCPU is made */
int kvm_allow_x2apic_ids(struct kvm *kvm) must_check;
int kvm_create_vcpu(struct kvm *kvm, unsigned id, int *ret_fd) must_check;

/* pages the guest has stored to since the last call, for one slot: -errno */
int kvm_dirty_track(struct kvm *kvm, const struct gmem *mem, bool on) must_check;
int kvm_dirty_log(struct kvm *kvm, unsigned slot, unsigned long *bitmap) must_check;

/* can this processor run guests by itself, or does KVM have to emulate their kernels? */
bool kvm_host_has_virtualization(void);

/* ioctl() that retries EINTR; -errno */
int kvm_ioctl(int fd, unsigned long request, void *arg);

#endif
