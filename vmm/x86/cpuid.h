/* cpuid.h - which processor the guest sees (layer 4) */
#ifndef HUTCH_CPUID_H
#define HUTCH_CPUID_H

#include "kvm.h"

/* ask KVM what it supports, after asking the host for leave to give AMX to guests: -errno */
int cpuid_init(struct kvm *kvm) must_check;

/* the list for vCPU @id of @cpus, all cores of one package */
void cpuid_for_vcpu(const struct kvm *kvm, unsigned id, unsigned cpus, uint32_t tsc_khz,
		    struct kvm_cpuid_list *ret);

/* width of a guest physical address */
unsigned cpuid_phys_bits(const struct kvm *kvm);

/*
 * cpuid_check() - can this host's KVM show a guest the processor of @list?
 *
 * -ENOTSUP with the name of the first feature that it lacks.
 */
int cpuid_check(const struct kvm *kvm, const struct kvm_cpuid_entry2 *list, unsigned n) must_check;

/* the processor's model in a line, for /cpu of the tree; @buf takes 48 characters and the NUL */
void cpuid_model(const struct kvm *kvm, char buf[49]);

#endif
