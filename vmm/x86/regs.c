/* #syscalls ioctl:KVM_GET_REGS ioctl:KVM_GET_SREGS ioctl:KVM_GET_LAPIC ioctl:KVM_GET_MP_STATE */
/* #syscalls ioctl:KVM_GET_XCRS ioctl:KVM_GET_DEBUGREGS ioctl:KVM_GET_XSAVE ioctl:KVM_GET_XSAVE2 */
/* #syscalls ioctl:KVM_GET_VCPU_EVENTS ioctl:KVM_GET_TSC_KHZ */
/* #syscalls ioctl:KVM_SET_REGS ioctl:KVM_SET_SREGS ioctl:KVM_SET_LAPIC ioctl:KVM_SET_MP_STATE */
/* #syscalls ioctl:KVM_SET_XCRS ioctl:KVM_SET_DEBUGREGS ioctl:KVM_SET_XSAVE */
/* #syscalls ioctl:KVM_SET_VCPU_EVENTS ioctl:KVM_KVMCLOCK_CTRL */
/* #syscalls:before ioctl:KVM_SET_CPUID2 ioctl:KVM_SET_TSC_KHZ */
#include "layout_x86.h"
#include "msr.h"
#include "regs.h"

static const struct field regs_fields[] = {
	F_UINT(struct kvm_regs, rax),
	F_UINT(struct kvm_regs, rbx),
	F_UINT(struct kvm_regs, rcx),
	F_UINT(struct kvm_regs, rdx),
	F_UINT(struct kvm_regs, rsi),
	F_UINT(struct kvm_regs, rdi),
	F_UINT(struct kvm_regs, rsp),
	F_UINT(struct kvm_regs, rbp),
	F_UINT(struct kvm_regs, r8),
	F_UINT(struct kvm_regs, r9),
	F_UINT(struct kvm_regs, r10),
	F_UINT(struct kvm_regs, r11),
	F_UINT(struct kvm_regs, r12),
	F_UINT(struct kvm_regs, r13),
	F_UINT(struct kvm_regs, r14),
	F_UINT(struct kvm_regs, r15),
	F_UINT(struct kvm_regs, rip),
	F_UINT(struct kvm_regs, rflags),
	F_END,
};

static const struct field segment_fields[] = {
	F_UINT(struct kvm_segment, base),     F_UINT(struct kvm_segment, limit),
	F_UINT(struct kvm_segment, selector), F_UINT(struct kvm_segment, type),
	F_UINT(struct kvm_segment, present),  F_UINT(struct kvm_segment, dpl),
	F_UINT(struct kvm_segment, db),	      F_UINT(struct kvm_segment, s),
	F_UINT(struct kvm_segment, l),	      F_UINT(struct kvm_segment, g),
	F_UINT(struct kvm_segment, avl),      F_UINT(struct kvm_segment, unusable),
	F_UINT(struct kvm_segment, padding),  F_END,
};

static const struct field table_fields[] = {
	F_UINT(struct kvm_dtable, base),
	F_UINT(struct kvm_dtable, limit),
	F_BYTES(struct kvm_dtable, padding),
	F_END,
};

#define SEGMENT(name) F_STRUCT(struct kvm_sregs, name, segment_fields)

static const struct field sregs_fields[] = {
	SEGMENT(cs),
	SEGMENT(ds),
	SEGMENT(es),
	SEGMENT(fs),
	SEGMENT(gs),
	SEGMENT(ss),
	SEGMENT(tr),
	SEGMENT(ldt),
	F_STRUCT(struct kvm_sregs, gdt, table_fields),
	F_STRUCT(struct kvm_sregs, idt, table_fields),
	F_UINT(struct kvm_sregs, cr0),
	F_UINT(struct kvm_sregs, cr2),
	F_UINT(struct kvm_sregs, cr3),
	F_UINT(struct kvm_sregs, cr4),
	F_UINT(struct kvm_sregs, cr8),
	F_UINT(struct kvm_sregs, efer),
	F_UINT(struct kvm_sregs, apic_base),
	F_BYTES(struct kvm_sregs, interrupt_bitmap),
	F_END,
};

const struct field vcpu_fields[] = {
	F_UINT(struct vcpu_state, mp_state),
	F_UINT(struct vcpu_state, tsc_khz),
	F_STRUCT(struct vcpu_state, regs, regs_fields),
	F_STRUCT(struct vcpu_state, sregs, sregs_fields),
	F_BYTES(struct vcpu_state, debugregs),
	F_BYTES(struct vcpu_state, xcrs),
	F_BYTES(struct vcpu_state, events),
	F_BYTES(struct vcpu_state, lapic),
	F_RANGE(struct vcpu_state, msrs_len, 0, sizeof_field(struct vcpu_state, msrs)),
	F_RANGE(struct vcpu_state, xsave_len, 0, XSAVE_MAX),
	F_RANGE(struct vcpu_state, cpuid_len, 0, sizeof_field(struct vcpu_state, cpuid)),
	F_RANGE(struct vcpu_state, zero, 0, 0),
	F_BLOB(struct vcpu_state, msrs, msrs_len),
	F_BLOB(struct vcpu_state, xsave, xsave_len),
	F_BLOB(struct vcpu_state, cpuid, cpuid_len),
	F_END,
};

#define CR0_PE	 1ULL
#define CR0_ET	 (1ULL << 4)
#define CR0_PG	 (1ULL << 31)
#define CR4_PAE	 (1ULL << 5)
#define EFER_LME (1ULL << 8)
#define EFER_LMA (1ULL << 10)

static struct kvm_segment segment(uint16_t selector, bool code, bool wide)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = code ? 11 : 3, /* accessed, readable or writable */
		.present = 1,
		.s = 1,
		.g = 1,
		.l = code && wide,
		.db = !(code && wide),
	};
}

int regs_boot(int vcpu, const struct boot_entry *entry)
{
	bool wide = entry->mode == ENTRY_LONG;
	struct kvm_regs regs = {
		.rip = entry->rip, .rflags = 2, .rsp = BOOT_STACK, .rbp = BOOT_STACK
	};
	struct kvm_sregs s;
	int r = kvm_ioctl(vcpu, KVM_GET_SREGS, &s);

	if (r)
		return err(r, "KVM_GET_SREGS: %s", strerror(-r));
	s.cs = segment(wide ? GDT_CODE64 : GDT_CODE32, true, wide);
	s.ds = s.es = s.ss = s.fs = s.gs = segment(GDT_DATA, false, wide);
	s.tr = (struct kvm_segment){ .limit = 0x67, .type = 11, .present = 1 };
	s.gdt = (struct kvm_dtable){ .base = GDT_ADDR, .limit = 4 * 8 - 1 };
	s.idt = (struct kvm_dtable){ .limit = 0 };
	s.cr0 = CR0_PE | CR0_ET;
	if (wide) {
		s.cr0 |= CR0_PG;
		s.cr3 = PAGE_TABLES;
		s.cr4 = CR4_PAE;
		s.efer = EFER_LME | EFER_LMA;
		regs.rsi = entry->arg;
	} else {
		regs.rbx = entry->arg;
	}
	r = kvm_ioctl(vcpu, KVM_SET_SREGS, &s);
	if (r)
		return err(r, "KVM_SET_SREGS: %s", strerror(-r));
	r = kvm_ioctl(vcpu, KVM_SET_REGS, &regs);
	return r ? err(r, "KVM_SET_REGS: %s", strerror(-r)) : 0;
}

#define APIC_LVT0   0x350
#define APIC_LVT1   0x360
#define APIC_EXTINT 0x700
#define APIC_NMI    0x400
#define LVT_MASK    0x10700U /* mask and delivery mode */

static void set_lvt(struct kvm_lapic_state *lapic, unsigned reg, uint32_t mode)
{
	uint32_t v;

	memcpy(&v, lapic->regs + reg, sizeof(v));
	v = (v & ~LVT_MASK) | mode;
	memcpy(lapic->regs + reg, &v, sizeof(v));
}

int regs_firmware_defaults(int vcpu)
{
	struct kvm_lapic_state lapic;
	int r = kvm_ioctl(vcpu, KVM_GET_LAPIC, &lapic);

	if (r)
		return err(r, "KVM_GET_LAPIC: %s", strerror(-r));
	set_lvt(&lapic, APIC_LVT0, APIC_EXTINT);
	set_lvt(&lapic, APIC_LVT1, APIC_NMI);
	r = kvm_ioctl(vcpu, KVM_SET_LAPIC, &lapic);
	return r ? err(r, "KVM_SET_LAPIC: %s", strerror(-r)) : msr_firmware_defaults(vcpu);
}

#define APIC_BASE_X2APIC (1ULL << 10)

int regs_x2apic(int vcpu)
{
	struct kvm_sregs s;
	int r = kvm_ioctl(vcpu, KVM_GET_SREGS, &s);

	if (!r) {
		s.apic_base |= APIC_BASE_X2APIC;
		r = kvm_ioctl(vcpu, KVM_SET_SREGS, &s);
	}
	return r ? err(r, "vCPU: x2APIC mode: %s", strerror(-r)) : 0;
}

struct step {
	const char *name;
	unsigned long request;
	size_t off;
};

#define STEP(req, field)                                            \
	{                                                           \
#req, KVM_##req, offsetof(struct vcpu_state, field) \
	}

static int run_steps(int vcpu, const struct step *step, unsigned n, struct vcpu_state *s)
{
	for (unsigned i = 0; i < n; i++) {
		int r = kvm_ioctl(vcpu, step[i].request, (char *)s + step[i].off);

		if (r)
			return err(r, "vCPU: KVM_%s: %s", step[i].name, strerror(-r));
	}
	return 0;
}

/*
 * MP_STATE comes first, because asking for it runs pending APIC events;
 * VCPU_EVENTS last, because each of the others may change them.
 */
int regs_get(const struct kvm *kvm, int vcpu, struct vcpu_state *s)
{
	static const struct step step[] = {
		STEP(GET_MP_STATE, mp_state),	STEP(GET_REGS, regs),
		STEP(GET_SREGS, sregs),		STEP(GET_XCRS, xcrs),
		STEP(GET_DEBUGREGS, debugregs), STEP(GET_LAPIC, lapic),
	};
	static const struct step last[] = { STEP(GET_VCPU_EVENTS, events) };
	int r = run_steps(vcpu, step, ARRAY_SIZE(step), s);

	if (r)
		return r;
	if (kvm->xsave_size > XSAVE_MAX)
		return err(-E2BIG, "vCPU: an XSAVE area of %zu bytes is not supported",
			   kvm->xsave_size);
	s->xsave_len = (uint32_t)kvm->xsave_size;
	r = kvm_ioctl(vcpu,
		      kvm->xsave_size > sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE,
		      s->xsave);
	if (r)
		return err(r, "vCPU: KVM_GET_XSAVE: %s", strerror(-r));
	r = kvm_ioctl(vcpu, KVM_GET_TSC_KHZ, NULL);
	s->tsc_khz = r > 0 ? (uint32_t)r : 0;
	r = msr_get(kvm, vcpu, s->msrs, sizeof(s->msrs), &s->msrs_len);
	return r ? r : run_steps(vcpu, last, ARRAY_SIZE(last), s);
}

/*
 * SREGS before LAPIC: they hold the APIC base.  LAPIC before MSRS, or the TSC
 * deadline is lost without a word.  VCPU_EVENTS last.
 */
int regs_set(const struct kvm *kvm, int vcpu, const struct vcpu_state *state)
{
	static const struct step step[] = {
		STEP(SET_MP_STATE, mp_state), STEP(SET_REGS, regs), STEP(SET_SREGS, sregs),
		STEP(SET_XSAVE, xsave),	      STEP(SET_XCRS, xcrs), STEP(SET_DEBUGREGS, debugregs),
		STEP(SET_LAPIC, lapic),
	};
	static const struct step last[] = { STEP(SET_VCPU_EVENTS, events) };
	struct vcpu_state *s = (struct vcpu_state *)(uintptr_t)state; /* ioctl() takes no const */
	int r;

	if (s->xsave_len != kvm->xsave_size)
		return err(-EINVAL, "vCPU: its XSAVE area has %u bytes, this host's %zu",
			   s->xsave_len, kvm->xsave_size);
	r = run_steps(vcpu, step, ARRAY_SIZE(step), s);
	if (!r)
		r = msr_set(vcpu, s->msrs, s->msrs_len);
	return r ? r : run_steps(vcpu, last, ARRAY_SIZE(last), s);
}

#define TSC_TOLERANCE 4000 /* one part in it: what NTP would put right */

static uint32_t pace_of(int vcpu)
{
	int khz = kvm_ioctl(vcpu, KVM_GET_TSC_KHZ, NULL);

	return khz > 0 ? (uint32_t)khz : 0;
}

bool regs_same_pace(int vcpu, uint32_t khz)
{
	uint32_t now = pace_of(vcpu);

	return !khz || !now || MAX(khz, now) - MIN(khz, now) <= khz / TSC_TOLERANCE;
}

static int set_pace(int vcpu, uint32_t khz)
{
	uint32_t now = pace_of(vcpu);
	int r;

	if (regs_same_pace(vcpu, khz))
		return 0;
	r = kvm_ioctl(vcpu, KVM_SET_TSC_KHZ, (void *)(uintptr_t)khz);
	return r ? err(-ENOTSUP,
		       "snapshot: its processor's clock (TSC) ran at %u kHz, this host's runs at "
		       "%u "
		       "kHz, and KVM cannot scale it here",
		       khz, now)
		 : 0;
}

int regs_make(int vcpu, const struct kvm_cpuid_entry2 *cpuid, unsigned n, uint32_t tsc_khz)
{
	struct kvm_cpuid_list list = { .nent = n };
	int r = set_pace(vcpu, tsc_khz);

	if (r)
		return r;
	BUG_ON(n > KVM_CPUID_MAX);
	memcpy(list.e, cpuid, n * sizeof(list.e[0]));
	r = kvm_ioctl(vcpu, KVM_SET_CPUID2, &list);
	return r ? err(r, "vCPU: KVM_SET_CPUID2: %s", strerror(-r)) : 0;
}

/* -EINVAL: the guest has no kvmclock, and nothing to be told */
void regs_stood_still(int vcpu)
{
	kvm_ioctl(vcpu, KVM_KVMCLOCK_CTRL, NULL);
}
