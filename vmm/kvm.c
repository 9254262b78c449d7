/* #syscalls ioctl:KVM_IRQ_LINE ioctl:KVM_SIGNAL_MSI ioctl:KVM_IOEVENTFD */
/* #syscalls ioctl:KVM_SET_USER_MEMORY_REGION ioctl:KVM_GET_DIRTY_LOG */
/* #syscalls:before openat read geteuid */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kvm.h"
#include "layout_x86.h"
#include "log.h"

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
	int r;

	do {
		r = ioctl(fd, request, arg);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

static int ioctl_val(int fd, unsigned long request, unsigned long arg)
{
	return kvm_ioctl(fd, request, (void *)arg);
}

bool kvm_host_has_virtualization(void)
{
	cleanup_fd int fd = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
	char buf[8192];
	ssize_t n = fd < 0 ? 0 : read(fd, buf, sizeof(buf) - 1);

	if (n <= 0)
		return true; /* cannot tell: do not claim a lack */
	buf[n] = '\0';
	return strstr(buf, " vmx") || strstr(buf, " svm");
}

static int open_error(int code)
{
	switch (code) {
	case -ENOENT:
	case -ENXIO:
		return err(code,
			   "cannot open /dev/kvm: it is not there; load the kvm module (modprobe "
			   "kvm_intel or kvm_amd), or run in the testbed: tests/testbed -- hutch "
			   "...");
	case -EACCES:
	case -EPERM:
		return err(code,
			   "cannot open /dev/kvm: permission denied for user %u; add the user to "
			   "group kvm: sudo usermod -aG kvm USER, and log in again",
			   (unsigned)geteuid());
	default:
		return err(code, "cannot open /dev/kvm: %s", strerror(-code));
	}
}

static int capability(struct kvm *kvm, long cap)
{
	int r = ioctl_val(kvm->fd, KVM_CHECK_EXTENSION, (unsigned long)cap);

	return MAX(r, 0);
}

static int check_capabilities(struct kvm *kvm)
{
	static const struct {
		int cap;
		const char *name;
	} need[] = {
		{ KVM_CAP_IRQCHIP, "IRQCHIP" },
		{ KVM_CAP_USER_MEMORY, "USER_MEMORY" },
		{ KVM_CAP_IOEVENTFD, "IOEVENTFD" },
		{ KVM_CAP_SIGNAL_MSI, "SIGNAL_MSI" },
		{ KVM_CAP_EXT_CPUID, "EXT_CPUID" },
		{ KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT" },
		{ KVM_CAP_VCPU_EVENTS, "VCPU_EVENTS" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(need); i++)
		if (!capability(kvm, need[i].cap))
			return err(-ENODEV,
				   "/dev/kvm lacks KVM_CAP_%s; a Linux kernel of 5.10 or later has "
				   "it",
				   need[i].name);
	kvm->tsc_deadline = capability(kvm, KVM_CAP_TSC_DEADLINE_TIMER);
	kvm->cpus_max = (unsigned)capability(kvm, KVM_CAP_MAX_VCPUS);
	return 0;
}

int kvm_open(struct kvm *kvm)
{
	int version, size;

	memset(kvm, 0, sizeof(*kvm));
	kvm->vm = -1;
	kvm->fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm->fd < 0)
		return open_error(-errno);
	version = ioctl_val(kvm->fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION)
		return err(-ENODEV, "/dev/kvm speaks API version %d, not %d: is it really KVM?",
			   version, KVM_API_VERSION);
	size = ioctl_val(kvm->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(struct kvm_run))
		return err(-ENODEV, "/dev/kvm: KVM_GET_VCPU_MMAP_SIZE answers %d", size);
	kvm->run_size = (size_t)size;
	return check_capabilities(kvm);
}

void kvm_close(struct kvm *kvm)
{
	cleanup_close(&kvm->vm);
	cleanup_close(&kvm->fd);
	kvm->vm = kvm->fd = -1;
}

static void set_line(struct irq *irq, unsigned gsi, bool level)
{
	struct kvm *kvm = container_of(irq, struct kvm, irq);
	struct kvm_irq_level l = { .irq = gsi, .level = level };

	kvm_ioctl(kvm->vm, KVM_IRQ_LINE, &l);
}

/*
 * KVM_SIGNAL_MSI, not an irqfd for each vector: it is one system call too, the
 * interrupt is in the local APIC when it returns (nothing is pending outside
 * the machine's state), and no routing table has to be set again, each time
 * waiting for the host's grace periods, while the guest programs its vectors.
 * tests/kvm/bench_irq.c measures both.
 */
static void send_msi(struct irq *irq, uint64_t addr, uint32_t data)
{
	struct kvm *kvm = container_of(irq, struct kvm, irq);
	struct kvm_msi msi = {
		.address_lo = (uint32_t)addr,
		.address_hi = (uint32_t)(addr >> 32),
		.data = data,
	};

	kvm_ioctl(kvm->vm, KVM_SIGNAL_MSI, &msi);
}

static int set_kick(struct irq *irq, uint64_t addr, unsigned len, const uint32_t *match,
		    int eventfd, bool on)
{
	struct kvm *kvm = container_of(irq, struct kvm, irq);
	struct kvm_ioeventfd e = {
		.addr = addr,
		.len = len,
		.fd = eventfd,
		.datamatch = match ? *match : 0,
		.flags = (match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) |
			 (on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};

	return kvm_ioctl(kvm->vm, KVM_IOEVENTFD, &e);
}

static const struct irq_ops kvm_irq_ops = {
	.line = set_line,
	.msi = send_msi,
	.kick = set_kick,
};

int kvm_create_vm(struct kvm *kvm)
{
	uint64_t idmap = KVM_IDMAP_ADDR;
	int r = ioctl_val(kvm->fd, KVM_CREATE_VM, 0);

	if (r < 0)
		return err(r, "KVM_CREATE_VM: %s%s", strerror(-r),
			   r == -EBUSY ? "; another hypervisor may hold the processor's extensions"
				       : "");
	kvm->vm = r;
	kvm->irq.ops = &kvm_irq_ops;
	pthread_mutex_init(&kvm->irq.lock, NULL);
	/* this VM's own answer: it may differ from the system's */
	r = ioctl_val(kvm->vm, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
	kvm->xsave_size = (size_t)MAX(r, (int)sizeof(struct kvm_xsave));
	/* where Intel processors without unrestricted guest mode keep what KVM needs */
	r = ioctl_val(kvm->vm, KVM_SET_TSS_ADDR, KVM_TSS_ADDR);
	if (!r)
		r = kvm_ioctl(kvm->vm, KVM_SET_IDENTITY_MAP_ADDR, &idmap);
	return r ? err(r, "KVM_SET_TSS_ADDR: %s", strerror(-r)) : 0;
}

static int set_region(struct kvm *kvm, unsigned slot, gpa_t gpa, uint64_t len, const void *at,
		      uint32_t flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = len,
		.userspace_addr = (uintptr_t)at,
	};

	return kvm_ioctl(kvm->vm, KVM_SET_USER_MEMORY_REGION, &region);
}

static int set_slot(struct kvm *kvm, const struct gmem *mem, unsigned i, uint32_t flags)
{
	const struct gmem_slot *s = &mem->slot[i];

	return set_region(kvm, i, s->gpa, s->len, s->hva, flags);
}

int kvm_add_memory(struct kvm *kvm, const struct gmem *mem)
{
	for (unsigned i = 0; i < mem->n; i++) {
		int r = set_slot(kvm, mem, i, 0);

		if (r)
			return err(r,
				   "memory: KVM refuses %#lx bytes of it at %#lx: %s; give less "
				   "--memory",
				   mem->slot[i].len, mem->slot[i].gpa, strerror(-r));
	}
	return 0;
}

int kvm_add_window(struct kvm *kvm, gpa_t gpa, uint64_t len, const void *page)
{
	return set_region(kvm, GMEM_SLOTS, gpa, len, page, KVM_MEM_READONLY);
}

int kvm_dirty_track(struct kvm *kvm, const struct gmem *mem, bool on)
{
	for (unsigned i = 0; i < mem->n; i++) {
		int r = set_slot(kvm, mem, i, on ? KVM_MEM_LOG_DIRTY_PAGES : 0);

		if (r)
			return err(r, "KVM cannot track dirty pages: %s", strerror(-r));
	}
	return 0;
}

int kvm_dirty_log(struct kvm *kvm, unsigned slot, unsigned long *bitmap)
{
	struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = bitmap };
	int r = kvm_ioctl(kvm->vm, KVM_GET_DIRTY_LOG, &log);

	return r ? err(r, "KVM_GET_DIRTY_LOG: %s", strerror(-r)) : 0;
}

int kvm_create_irqchip(struct kvm *kvm, bool pit)
{
	struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY };
	int r = ioctl_val(kvm->vm, KVM_CREATE_IRQCHIP, 0);

	if (r)
		return err(r, "KVM_CREATE_IRQCHIP: %s", strerror(-r));
	kvm->pit = pit;
	r = pit ? kvm_ioctl(kvm->vm, KVM_CREATE_PIT2, &config) : 0;
	return r ? err(r, "KVM_CREATE_PIT2: %s", strerror(-r)) : 0;
}

int kvm_allow_x2apic_ids(struct kvm *kvm)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_X2APIC_API,
		.args = { KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK },
	};
	int r = kvm_ioctl(kvm->vm, KVM_ENABLE_CAP, &cap);

	return r ? err(r, "KVM cannot address more than %d vCPUs: %s", KVM_XAPIC_CPUS, strerror(-r))
		 : 0;
}

int kvm_create_vcpu(struct kvm *kvm, unsigned id, int *ret_fd)
{
	int r = ioctl_val(kvm->vm, KVM_CREATE_VCPU, id);

	if (r < 0)
		return err(r, "KVM_CREATE_VCPU %u: %s", id, strerror(-r));
	*ret_fd = r;
	return 0;
}
