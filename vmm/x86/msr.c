/*
 * msr.c - KVM names a few hundred MSRs; the ones that hold guest state are saved
 *
 * The index list of the host is cut by ranges known to be state: the others
 * describe the host or hold nothing.  TSC_DEADLINE is written last, after the
 * TSC it is compared with.
 *
 * #syscalls ioctl:KVM_GET_MSRS ioctl:KVM_SET_MSRS ioctl:KVM_GET_MSR_INDEX_LIST
 */
#include "msr.h"

#define MSR_TSC		 0x10
#define MSR_MTRR_DEF	 0x2ff
#define MSR_MISC_ENABLE	 0x1a0
#define MSR_TSC_DEADLINE 0x6e0

#define MTRR_ENABLE_WB	 (1ULL << 11 | 6)
#define FAST_STRING	 1ULL
#define LIST_MAX	 1024
#define CHUNK		 64

static const struct {
	uint32_t first, last;
} kept[] = {
	{ 0x10, 0x10 },	  /* TSC */
	{ 0x3a, 0x3b },	  /* FEATURE_CONTROL, TSC_ADJUST */
	{ 0x48, 0x48 },	  /* SPEC_CTRL */
	{ 0xce, 0xce },	  /* PLATFORM_INFO */
	{ 0x122, 0x122 }, /* TSX_CTRL */
	{ 0x140, 0x140 }, /* MISC_FEATURES_ENABLES */
	{ 0x174, 0x176 }, /* SYSENTER */
	{ 0x179, 0x17b }, /* MCG */
	{ 0x1a0, 0x1a0 }, /* MISC_ENABLE */
	{ 0x1d9, 0x1d9 }, /* DEBUGCTL */
	{ 0x200, 0x20f }, /* MTRRs */
	{ 0x250, 0x250 },
	{ 0x258, 0x259 },
	{ 0x268, 0x26f },
	{ 0x277, 0x277 }, /* PAT */
	{ 0x2ff, 0x2ff },
	{ 0x400, 0x47f },	    /* machine check banks */
	{ 0x4d0, 0x4d0 },	    /* MCG_EXT_CTL */
	{ 0x6e0, 0x6e0 },	    /* TSC_DEADLINE */
	{ 0xd90, 0xd90 },	    /* BNDCFGS */
	{ 0xda0, 0xda0 },	    /* XSS */
	{ 0x40000000, 0x400000ff }, /* Hyper-V */
	{ 0x4b564d00, 0x4b564dff }, /* KVM: clock, steal time, async faults */
	{ 0xc0000080, 0xc0000084 }, /* EFER, STAR, LSTAR, CSTAR, FMASK */
	{ 0xc0000100, 0xc0000103 }, /* FS, GS, KERNEL_GS base, TSC_AUX */
	{ 0xc0010015, 0xc0010015 }, /* HWCR */
};

struct msrs {
	uint32_t n, padding;
	struct kvm_msr_entry e[CHUNK];
};

int msr_firmware_defaults(int vcpu)
{
	struct msrs m = {
		.n = 2,
		.e = { { .index = MSR_MISC_ENABLE, .data = FAST_STRING },
		       { .index = MSR_MTRR_DEF, .data = MTRR_ENABLE_WB } },
	};
	int r = kvm_ioctl(vcpu, KVM_SET_MSRS, &m);

	return r == 2 ? 0
		      : err(r < 0 ? r : -EINVAL, "KVM_SET_MSRS: %s",
			    r < 0 ? strerror(-r) : "refused");
}

static bool is_kept(uint32_t index)
{
	for (unsigned i = 0; i < ARRAY_SIZE(kept); i++)
		if (index >= kept[i].first && index <= kept[i].last)
			return true;
	return false;
}

/* KVM stops at an MSR that this guest's processor lacks: that one is left out */
static int get_chunk(int vcpu, struct msrs *m, struct kvm_msr_entry *out, size_t room)
{
	size_t n = 0;

	for (uint32_t at = 0; at < m->n;) {
		struct msrs rest = { .n = m->n - at };
		int r;

		memcpy(rest.e, m->e + at, rest.n * sizeof(rest.e[0]));
		r = kvm_ioctl(vcpu, KVM_GET_MSRS, &rest);
		if (r < 0)
			return err(r, "KVM_GET_MSRS: %s", strerror(-r));
		if (n + (size_t)r > room)
			return err(-E2BIG, "this host's KVM names more MSRs than are supported");
		memcpy(out + n, rest.e, (size_t)r * sizeof(*out));
		n += (size_t)r;
		at += (uint32_t)r + 1;
	}
	return (int)n;
}

int msr_get(const struct kvm *kvm, int vcpu, void *buf, size_t size, uint32_t *ret_len)
{
	cleanup_free struct kvm_msr_list *list =
		calloc(1, sizeof(*list) + LIST_MAX * sizeof(uint32_t));
	struct kvm_msr_entry *out = buf;
	size_t n = 0, room = size / sizeof(*out);
	struct msrs m = { .n = 0 };
	int r;

	if (!list)
		return err(-ENOMEM, "MSRs: out of memory");
	list->nmsrs = LIST_MAX;
	r = kvm_ioctl(kvm->fd, KVM_GET_MSR_INDEX_LIST, list);
	if (r)
		return err(r, "KVM_GET_MSR_INDEX_LIST: %s", strerror(-r));
	for (uint32_t i = 0; i < list->nmsrs; i++) {
		if (is_kept(list->indices[i]))
			m.e[m.n++] = (struct kvm_msr_entry){ .index = list->indices[i] };
		if (m.n < CHUNK && i + 1 < list->nmsrs)
			continue;
		r = get_chunk(vcpu, &m, out + n, room - n);
		if (r < 0)
			return r;
		n += (size_t)r;
		m.n = 0;
	}
	*ret_len = (uint32_t)(n * sizeof(*out));
	return 0;
}

static int set_chunk(int vcpu, struct msrs *m)
{
	int r = m->n ? kvm_ioctl(vcpu, KVM_SET_MSRS, m) : 0;

	if (r < 0)
		return err(r, "KVM_SET_MSRS: %s", strerror(-r));
	if ((uint32_t)r < m->n)
		return err(-EINVAL, "this host's KVM refuses MSR %#x = %#llx", m->e[r].index,
			   (unsigned long long)m->e[r].data);
	m->n = 0;
	return 0;
}

int msr_set(int vcpu, const void *buf, uint32_t len)
{
	const struct kvm_msr_entry *in = buf, *deadline = NULL;
	uint64_t tsc = 0;
	struct msrs m = { .n = 0 };
	int r = len % sizeof(*in) ? err(-EINVAL, "MSRs: %u bytes are no whole number of them", len)
				  : 0;

	for (uint32_t i = 0; !r && i < len / sizeof(*in); i++) {
		/* what nobody saves is nothing to be set, whatever KVM would say to it */
		if (!is_kept(in[i].index))
			return err(-EINVAL, "MSR %#x is none that a machine's state has",
				   in[i].index);
		if (in[i].index == MSR_TSC)
			tsc = in[i].data;
		if (in[i].index == MSR_TSC_DEADLINE) {
			deadline = &in[i];
			continue;
		}
		m.e[m.n++] = in[i];
		if (m.n == CHUNK)
			r = set_chunk(vcpu, &m);
	}
	if (!r && deadline && m.n < CHUNK) {
		m.e[m.n] = *deadline;
		/* 0 would disarm; a deadline that passed while it was read has to fire */
		if (!m.e[m.n].data)
			m.e[m.n].data = tsc;
		m.n++;
	}
	return r ? r : set_chunk(vcpu, &m);
}
