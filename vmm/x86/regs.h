/*
 * regs.h - a vCPU's registers: how they start, and all of them out and in (layer 4)
 */
#ifndef HUTCH_REGS_H
#define HUTCH_REGS_H

#include "boot.h"
#include "field.h"
#include "kvm.h"

#define MSRS_MAX    256
#define XSAVE_MAX   (16U << 10) /* with AMX it is 11 KiB */
#define LAPIC_BYTES sizeof(struct kvm_lapic_state)

/* regs_get() leaves cpuid out: KVM may not tell what it was told (one that emulates guests adds
 * what the host's processor has), so who told it keeps that */
struct vcpu_state {
	uint32_t mp_state, tsc_khz;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	uint8_t debugregs[sizeof(struct kvm_debugregs)];
	uint8_t xcrs[sizeof(struct kvm_xcrs)];
	uint8_t events[sizeof(struct kvm_vcpu_events)];
	uint8_t lapic[LAPIC_BYTES];
	uint32_t msrs_len, xsave_len, cpuid_len, zero;
	uint8_t msrs[MSRS_MAX * sizeof(struct kvm_msr_entry)];
	uint8_t xsave[XSAVE_MAX];
	uint8_t cpuid[KVM_CPUID_MAX * sizeof(struct kvm_cpuid_entry2)];
};

extern const struct field vcpu_fields[];

/* registers of the first vCPU of a direct boot; the others wait for INIT and SIPI: -errno */
int regs_boot(int vcpu, const struct boot_entry *entry) must_check;

/* the local APIC's pins and the MSRs that firmware would have set: -errno */
int regs_firmware_defaults(int vcpu) must_check;

/* local APICs start in x2APIC mode, which ids past 254 need: -errno */
int regs_x2apic(int vcpu) must_check;

/*
 * regs_get() and regs_set() - a stopped vCPU's whole state, in the orders that
 * KVM needs (see regs.c).  -errno with a message that names the part.
 */
int regs_get(const struct kvm *kvm, int vcpu, struct vcpu_state *ret) must_check;
int regs_set(const struct kvm *kvm, int vcpu, const struct vcpu_state *state) must_check;

/*
 * regs_make() - which processor a vCPU is, and the pace of its clock (0: this host's); before it
 * ever runs
 *
 * -ENOTSUP where this host's clock is another and KVM cannot scale it.
 */
int regs_make(int vcpu, const struct kvm_cpuid_entry2 *cpuid, unsigned n,
	      uint32_t tsc_khz) must_check;

/* does its clock run at this pace, as far as one can tell? */
bool regs_same_pace(int vcpu, uint32_t tsc_khz);

/* the guest has stood still for a while: its watchdogs are not to bark.  Before it goes on */
void regs_stood_still(int vcpu);

#endif
