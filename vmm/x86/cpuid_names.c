/* cpuid_names.c - does a host have what a guest was shown, and what is that called? */
#include "cpuid.h"

/* the words of a register, from bit 0; "-" has no name, or says nothing of the host */
static const struct {
	uint32_t leaf, index;
	unsigned reg; /* 0 eax, 1 ebx, 2 ecx, 3 edx */
	const char *bits;
} features[] = {
	{ 1, 0, 2,
	  "sse3 pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm "
	  "- pcid dca sse4_1 sse4_2 - movbe popcnt - aes xsave - avx f16c rdrand -" },
	{ 1, 0, 3,
	  "fpu vme de pse tsc msr pae mce cx8 - - sep mtrr pge mca cmov pat pse36 pn clflush - ds "
	  "acpi mmx fxsr sse sse2 ss - tm ia64 pbe" },
	{ 7, 0, 1,
	  "fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm - - mpx - avx512f "
	  "avx512dq rdseed adx smap avx512ifma pcommit clflushopt clwb intel_pt avx512pf avx512er "
	  "avx512cd sha_ni avx512bw avx512vl" },
	{ 7, 0, 2,
	  "prefetchwt1 avx512vbmi umip pku - waitpkg avx512_vbmi2 shstk gfni vaes vpclmulqdq "
	  "avx512_vnni avx512_bitalg tme avx512_vpopcntdq - la57 - - - - - rdpid - bus_lock_detect "
	  "cldemote - movdiri movdir64b enqcmd sgx_lc pks" },
	{ 7, 0, 3,
	  "- - avx512_4vnniw avx512_4fmaps fsrm uintr - - avx512_vp2intersect srbds_ctrl md_clear "
	  "- - - serialize hybrid tsxldtrk - pconfig arch_lbr ibt - amx_bf16 avx512_fp16 amx_tile "
	  "amx_int8 spec_ctrl intel_stibp flush_l1d arch_capabilities core_capabilities ssbd" },
	{ 7, 1, 0, "sha512 sm3 sm4 - avx_vnni avx512_bf16 - cmpccxadd - - fzrm fsrs fsrc" },
	{ 0xd, 1, 0, "xsaveopt xsavec xgetbv1 xsaves xfd" },
	{ 0x80000001, 0, 2,
	  "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs "
	  "xop skinit wdt - lwp fma4 tce - nodeid_msr - tbm topoext perfctr_core" },
	{ 0x80000001, 0, 3,
	  "- - - - - - - - - - - syscall - - - - - - - - nx - mmxext - - fxsr_opt pdpe1gb rdtscp - "
	  "lm 3dnowext 3dnow" },
	{ 0x80000008, 0, 1, "clzero irperf xsaveerptr - rdpru - - - - wbnoinvd" },
	{ 0x40000001, 0, 0,
	  "kvmclock kvm_nop_io_delay kvm_mmu kvmclock2 kvm_asyncpf kvm_steal_time kvm_pv_eoi "
	  "kvm_pv_unhalt - kvm_pv_tlb_flush kvm_asyncpf_vmexit kvm_pv_send_ipi kvm_poll_control "
	  "kvm_pv_sched_yield kvm_asyncpf_int kvm_msi_ext_dest_id kvm_hc_map_gpa_range "
	  "kvm_migration_control" },
};

/* bits that say how the processor is set up, not what it can do: OSXSAVE, OSPKE, APIC, HTT, the
 * hypervisor's own, the TSC deadline (which KVM can do and does not list) */
static uint32_t state_bits(uint32_t leaf, unsigned reg)
{
	if (leaf == 1)
		return reg == 2 ? 1U << 27 | 1U << 31 | 1U << 24 : 1U << 9 | 1U << 28;
	return leaf == 7 && reg == 2 ? 1U << 4 : 0;
}

static uint32_t value(const struct kvm_cpuid_entry2 *list, unsigned n, unsigned i)
{
	const struct kvm_cpuid_entry2 *e = NULL;

	for (unsigned k = 0; k < n && !e; k++)
		if (list[k].function == features[i].leaf && list[k].index == features[i].index)
			e = &list[k];
	if (!e)
		return 0;
	return features[i].reg == 0   ? e->eax
	       : features[i].reg == 1 ? e->ebx
	       : features[i].reg == 2 ? e->ecx
				      : e->edx;
}

static void name_of(unsigned i, unsigned bit, char *buf, size_t size)
{
	static const char *const regs[] = { "eax", "ebx", "ecx", "edx" };
	const char *word = features[i].bits;

	for (; bit && word; bit--) {
		word = strchr(word, ' ');
		word = word ? word + 1 : NULL;
	}
	if (word && *word != '-')
		snprintf(buf, size, "%.*s", (int)strcspn(word, " "), word);
	else
		snprintf(buf, size, "CPUID %#x.%u, a bit of %s", features[i].leaf,
			 features[i].index, regs[features[i].reg]);
}

static bool same_vendor(const struct kvm_cpuid_entry2 *list, unsigned n, const struct kvm *kvm)
{
	const struct kvm_cpuid_entry2 *a = NULL, *b = NULL;

	for (unsigned i = 0; i < n && !a; i++)
		a = list[i].function ? NULL : &list[i];
	for (unsigned i = 0; i < kvm->cpuid.nent && !b; i++)
		b = kvm->cpuid.e[i].function ? NULL : &kvm->cpuid.e[i];
	return a && b && a->ebx == b->ebx && a->ecx == b->ecx && a->edx == b->edx;
}

int cpuid_check(const struct kvm *kvm, const struct kvm_cpuid_entry2 *list, unsigned n)
{
	char name[64];

	if (!same_vendor(list, n, kvm))
		return err(-ENOTSUP,
			   "snapshot: its processor is of another maker than this host's");
	for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
		uint32_t lacking = value(list, n, i) & ~value(kvm->cpuid.e, kvm->cpuid.nent, i) &
				   ~state_bits(features[i].leaf, features[i].reg);

		if (!lacking)
			continue;
		name_of(i, (unsigned)__builtin_ctz(lacking), name, sizeof(name));
		return err(-ENOTSUP,
			   "snapshot: its guest uses a processor with %s, which this host's KVM "
			   "cannot give it; restore it on a host that has it",
			   name);
	}
	return 0;
}
