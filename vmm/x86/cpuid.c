/* #syscalls:before arch_prctl ioctl */
#include <sys/syscall.h>
#include <unistd.h>

#include "cpuid.h"

#define ARCH_GET_XCOMP_SUPP	  0x1021
#define ARCH_REQ_XCOMP_GUEST_PERM 0x1025
#define XTILEDATA		  18

#define LEAF_KVM		  0x40000000
#define LEAF_TSC_FREQ		  0x40000010
#define APIC_BUS_KHZ		  1000000 /* what KVM's local APIC timer counts at */

/* guests get AMX only if the process has asked for it before the first vCPU */
static void allow_amx(void)
{
	uint64_t features = 0;

	if (!syscall(SYS_arch_prctl, ARCH_GET_XCOMP_SUPP, &features) && features >> XTILEDATA & 1)
		syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_GUEST_PERM, XTILEDATA);
}

int cpuid_init(struct kvm *kvm)
{
	int r;

	allow_amx();
	kvm->cpuid.nent = KVM_CPUID_MAX - 8; /* room for what is added */
	r = kvm_ioctl(kvm->fd, KVM_GET_SUPPORTED_CPUID, &kvm->cpuid);
	return r ? err(r, "KVM_GET_SUPPORTED_CPUID: %s", strerror(-r)) : 0;
}

static const struct kvm_cpuid_entry2 *find(const struct kvm_cpuid_list *list, uint32_t leaf)
{
	for (uint32_t i = 0; i < list->nent; i++)
		if (list->e[i].function == leaf)
			return &list->e[i];
	return NULL;
}

unsigned cpuid_phys_bits(const struct kvm *kvm)
{
	const struct kvm_cpuid_entry2 *e = find(&kvm->cpuid, 0x80000008);

	return e && (e->eax & 0xff) >= 36 ? e->eax & 0xff : 36;
}

void cpuid_model(const struct kvm *kvm, char buf[49])
{
	memset(buf, 0, 49);
	for (uint32_t i = 0; i < 3; i++) {
		const struct kvm_cpuid_entry2 *e = find(&kvm->cpuid, 0x80000002 + i);
		uint32_t regs[4] = { e ? e->eax : 0, e ? e->ebx : 0, e ? e->ecx : 0,
				     e ? e->edx : 0 };

		memcpy(buf + 16 * i, regs, sizeof(regs));
	}
	if (!buf[0]) { /* no name: at least the vendor */
		const struct kvm_cpuid_entry2 *e = find(&kvm->cpuid, 0);
		uint32_t regs[3] = { e ? e->ebx : 0, e ? e->edx : 0, e ? e->ecx : 0 };

		memcpy(buf, regs, sizeof(regs));
	}
}

static bool is_amd(const struct kvm_cpuid_list *list)
{
	const struct kvm_cpuid_entry2 *e = find(list, 0);

	return e && (e->ebx == 0x68747541 /* Auth */ || e->ebx == 0x6f677948 /* Hygo */);
}

static unsigned bits_for(unsigned n)
{
	unsigned bits = 0;

	while (1U << bits < n)
		bits++;
	return bits;
}

static void set_bits(uint32_t *reg, unsigned hi, unsigned lo, uint32_t v)
{
	uint32_t mask = (uint32_t)((1ULL << (hi - lo + 1)) - 1) << lo;

	*reg = (*reg & ~mask) | (v << lo & mask);
}

/* what every processor has: identity, topology, what a virtual one must not promise */
static void patch_common(struct kvm_cpuid_entry2 *e, const struct kvm *kvm, unsigned id,
			 unsigned cpus)
{
	switch (e->function) {
	case 1:
		set_bits(&e->ebx, 15, 8, 8); /* CLFLUSH lines of 64 bytes */
		set_bits(&e->ebx, 23, 16, MIN(1U << bits_for(cpus), 255U));
		set_bits(&e->ebx, 31, 24, id);
		set_bits(&e->ecx, 15, 15, 0); /* PDCM */
		set_bits(&e->ecx, 24, 24, kvm->tsc_deadline);
		set_bits(&e->ecx, 31, 31, 1);	     /* hypervisor */
		set_bits(&e->edx, 28, 28, cpus > 1); /* HTT: the count above holds */
		break;
	case 6: /* no power management */
		set_bits(&e->eax, 1, 1, 0);
		set_bits(&e->ecx, 3, 3, 0);
		break;
	case 7:
		if (!e->index)
			set_bits(&e->ecx, 5, 5, 0); /* WAITPKG */
		break;
	case 0xa: /* no performance counters */
		e->eax = e->ebx = e->ecx = e->edx = 0;
		break;
	}
}

static void patch_intel(struct kvm_cpuid_entry2 *e, unsigned cpus)
{
	unsigned level;

	if (e->function != 4)
		return;
	level = e->eax >> 5 & 7;
	set_bits(&e->eax, 31, 26, MIN((1U << bits_for(cpus)) - 1, 63U));
	set_bits(&e->eax, 25, 14, level >= 3 ? MIN((1U << bits_for(cpus)) - 1, 4095U) : 0);
}

static void patch_amd(struct kvm_cpuid_entry2 *e, unsigned id, unsigned cpus)
{
	unsigned level;

	switch (e->function) {
	case 7:
		if (!e->index)
			set_bits(&e->edx, 29, 29, 0); /* ARCH_CAPABILITIES is Intel's */
		break;
	case 0x80000008:
		set_bits(&e->ecx, 7, 0, MIN(cpus - 1, 255U));
		set_bits(&e->ecx, 15, 12, bits_for(cpus));
		break;
	case 0x8000001d:
		level = e->eax >> 5 & 7;
		set_bits(&e->eax, 25, 14, level >= 3 ? MIN(cpus - 1, 4095U) : 0);
		break;
	case 0x8000001e:
		e->eax = id;
		set_bits(&e->ebx, 7, 0, id & 0xff);
		set_bits(&e->ebx, 15, 8, 0); /* one thread a core */
		e->ecx = 0;		     /* one node */
		break;
	}
}

static void add(struct kvm_cpuid_list *list, struct kvm_cpuid_entry2 e)
{
	BUG_ON(list->nent == KVM_CPUID_MAX);
	list->e[list->nent++] = e;
}

/* 0xB and 0x1F: one thread a core, all cores in one package; the end of the list is a zero level */
static void add_topology(struct kvm_cpuid_list *list, uint32_t leaf, unsigned id, unsigned cpus)
{
	const uint32_t flag = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;

	add(list, (struct kvm_cpuid_entry2){ .function = leaf,
					     .index = 0,
					     .flags = flag,
					     .eax = 0,
					     .ebx = 1,
					     .ecx = 1U << 8,
					     .edx = id });
	add(list, (struct kvm_cpuid_entry2){ .function = leaf,
					     .index = 1,
					     .flags = flag,
					     .eax = bits_for(cpus),
					     .ebx = cpus,
					     .ecx = 2U << 8 | 1,
					     .edx = id });
	add(list, (struct kvm_cpuid_entry2){
			  .function = leaf, .index = 2, .flags = flag, .ecx = 2, .edx = id });
}

void cpuid_for_vcpu(const struct kvm *kvm, unsigned id, unsigned cpus, uint32_t tsc_khz,
		    struct kvm_cpuid_list *ret)
{
	const struct kvm_cpuid_entry2 *basic = find(&kvm->cpuid, 0);
	bool amd = is_amd(&kvm->cpuid);

	ret->nent = 0;
	ret->padding = 0;
	for (uint32_t i = 0; i < kvm->cpuid.nent; i++) {
		struct kvm_cpuid_entry2 e = kvm->cpuid.e[i];

		if (e.function == 0xb || e.function == 0x1f || e.function == LEAF_TSC_FREQ)
			continue;
		patch_common(&e, kvm, id, cpus);
		if (amd)
			patch_amd(&e, id, cpus);
		else
			patch_intel(&e, cpus);
		if (e.function == LEAF_KVM)
			e.eax = MAX(e.eax, (uint32_t)LEAF_TSC_FREQ);
		add(ret, e);
	}
	if (basic && basic->eax >= 0xb)
		add_topology(ret, 0xb, id, cpus);
	if (basic && basic->eax >= 0x1f)
		add_topology(ret, 0x1f, id, cpus);
	if (tsc_khz && find(&kvm->cpuid, LEAF_KVM)) /* saves guests that know it a calibration */
		add(ret, (struct kvm_cpuid_entry2){
				 .function = LEAF_TSC_FREQ, .eax = tsc_khz, .ebx = APIC_BUS_KHZ });
}
