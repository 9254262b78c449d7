/*
 * vm_build.c - composition root: which devices a machine has, where, and in which order it is made
 *
 * #syscalls munmap
 * #syscalls:before mmap
 */
#include <sys/mman.h>

#include "cpuid.h"
#include "devices.h"
#include "irqchip.h"
#include "layout_x86.h"
#include "net.h"
#include "pager.h"
#include "pci.h"
#include "snap.h"
#include "virtio.h"
#include "vm_build.h"

#define I8042_PORT 0x60

/* lines for virtio-mmio: edges cannot be shared, so each device has one of its own */
static const uint8_t mmio_gsi[] = {
	16, 17, 18, 19, 20, 21, 22, 23, 5, 6, 7, 10, 11, 12, 13, 14, 15
};

_Static_assert(VIRTIO_MMIO_SIZE == VIRTIO_MMIO_WINDOW, "a device's registers fill its place");

#define PCI_GSI_FIRST  16
#define PCI_GSIS       8
#define PCI_SLOT_FIRST 1
#define PCI_SLOT_LAST  30 /* 31 is where firmware looks for the LPC bridge */

static unsigned virtio_devices(const struct conf *conf)
{
	unsigned n = conf->disks + conf->vsocks + conf->rng + conf->balloons +
		     (conf->console_device == CONSOLE_VIRTIO);

	for (unsigned i = 0; i < conf->nets; i++)
		n += conf->net[i].mode != NET_NONE;
	return n;
}

static int board_virtio(const struct conf *conf, struct board *b)
{
	unsigned n = virtio_devices(conf);

	b->pci = conf->transport == TRANSPORT_PCI;
	if (b->pci) {
		if (n > PCI_SLOT_LAST)
			return err(-EINVAL, "%u devices are given; a PCI bus takes %d", n,
				   PCI_SLOT_LAST);
		for (unsigned i = PCI_SLOT_FIRST; i <= PCI_SLOT_LAST; i++)
			b->pci_gsi[i] = PCI_GSI_FIRST + i % PCI_GSIS;
		return 0;
	}
	if (n > ARRAY_SIZE(mmio_gsi))
		return err(-EINVAL,
			   "%u devices are given; virtio-mmio takes %zu, use --transport pci", n,
			   ARRAY_SIZE(mmio_gsi));
	for (unsigned i = 0; i < n; i++) {
		b->mmio[i].base = VIRTIO_MMIO_BASE + i * VIRTIO_MMIO_SIZE;
		b->mmio[i].gsi = mmio_gsi[i];
	}
	b->mmio_n = n;
	return 0;
}

int vm_board(const struct conf *conf, struct board *b)
{
	char text[32];

	*b = (struct board){ .cpus = conf->cpus, .pit = conf->pit, .pm_timer = conf->pit };
	if (conf->memory % GMEM_PAGE) {
		size_print(conf->memory, text, sizeof(text));
		return err(-EINVAL, "memory: '%s' is not a multiple of 4K", text);
	}
	b->lowmem_end = MIN(conf->memory, LOWMEM_MAX);
	b->highmem_end = HIGHMEM_BASE + (conf->memory - b->lowmem_end);
	return board_virtio(conf, b);
}

static void mark(struct vm *vm, enum vm_phase phase)
{
	vm->mark[phase] = now_ns();
}

static void machine_event(struct machine *m, int event, const char *why)
{
	vm_event(container_of(m, struct vm, m), (enum vm_end)event, "%s", why);
}

/* a dying kernel's last words */
static void watch_console(void *arg, const char *line)
{
	static const char mark_text[] = "Kernel panic - not syncing: ";
	struct vm *vm = arg;
	const char *p = strstr(line, mark_text);

	if (!p)
		return;
	pthread_mutex_lock(&vm->event_lock);
	snprintf(vm->panic_text, sizeof(vm->panic_text), "%.*s", (int)sizeof(vm->panic_text) - 1,
		 p + sizeof(mark_text) - 1);
	pthread_mutex_unlock(&vm->event_lock);
}

static int make_host_side(struct vm *vm)
{
	/* a restored machine has its kernel in memory, and needs it again only for a reset */
	if (!vm->from || vm->conf->on_reboot == REBOOT_RESET) {
		vm->boot = boot_open(vm->conf);
		if (!vm->boot)
			return -EINVAL;
	}
	vm->console = stream_new(vm->loop, vm->conf->console);
	if (!vm->console)
		return -EINVAL;
	stream_watch(vm->console, watch_console, vm);
	if (vm->conf->console_device == CONSOLE_SERIAL)
		return 0;
	/* a kernel may speak there before its virtio driver is loaded */
	vm->no_console = stream_new(vm->loop, "none");
	if (!vm->no_console)
		return -ENOMEM;
	stream_watch(vm->no_console, watch_console, vm);
	return 0;
}

static int check_host(struct vm *vm)
{
	unsigned bits = cpuid_phys_bits(&vm->kvm);
	char text[32];

	if (vm->conf->cpus > vm->kvm.cpus_max)
		return err(-EINVAL, "cpus: %u are more than this host's KVM takes (%u)",
			   vm->conf->cpus, vm->kvm.cpus_max);
	size_print(vm->conf->memory, text, sizeof(text));
	if (bits < 64 && vm->board.highmem_end > 1ULL << bits)
		return err(-EINVAL,
			   "memory: %s does not fit in this processor's %u-bit physical addresses",
			   text, bits);
	vm->board.phys_bits = bits;
	return 0;
}

static int make_kvm(struct vm *vm)
{
	int r = kvm_open(&vm->kvm);

	if (!r)
		r = kvm_create_vm(&vm->kvm);
	if (!r)
		r = cpuid_init(&vm->kvm);
	return r ? r : check_host(vm);
}

/* the registers of virtio-mmio devices, to be read without
 * leaving the guest; refused: they leave it */
static int make_windows(struct vm *vm)
{
	size_t len = vm->board.mmio_n * VIRTIO_MMIO_SIZE;
	void *at;

	if (!len)
		return 0;
	at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return err(-ENOMEM, "device registers: out of memory");
	if (kvm_add_window(&vm->kvm, VIRTIO_MMIO_BASE, len, at)) {
		munmap(at, len);
		return 0;
	}
	vm->windows = at;
	return 0;
}

static int make_memory(struct vm *vm)
{
	uint64_t high = vm->board.highmem_end - HIGHMEM_BASE;
	int r = gmem_add(&vm->mem, 0, vm->board.lowmem_end);

	if (!r && high)
		r = gmem_add(&vm->mem, HIGHMEM_BASE, high);
	if (!r && vm->from_memory >= 0)
		r = snap_map(vm);
	if (!r)
		r = kvm_add_memory(&vm->kvm, &vm->mem);
	if (!r)
		r = make_windows(vm);
	if (!r)
		r = kvm_create_irqchip(&vm->kvm, vm->conf->pit);
	return r || vm->conf->cpus <= KVM_XAPIC_CPUS ? r : kvm_allow_x2apic_ids(&vm->kvm);
}

static int make_vcpus(struct vm *vm)
{
	int r = vm->from ? snap_load_vcpus(vm) : 0;

	if (r)
		return r;
	vm->vcpu = calloc(vm->conf->cpus, sizeof(*vm->vcpu));
	if (!vm->vcpu)
		return err(-ENOMEM, "vCPUs: out of memory");
	vm->cpus = vm->conf->cpus;
	for (unsigned i = 0; i < vm->cpus; i++)
		vm->vcpu[i] = (struct vcpu){ .vm = vm, .fd = -1 };
	for (unsigned i = 0; !r && i < vm->cpus; i++)
		r = vcpu_create(&vm->vcpu[i], vm, i);
	return r;
}

/* only where a reset may come: it costs 0.1 ms a vCPU */
static int keep_power_on(struct vm *vm)
{
	int r = 0;

	if (vm->conf->on_reboot != REBOOT_RESET)
		return 0;
	vm->power_on = calloc(1, sizeof(*vm->power_on));
	if (!vm->power_on)
		return err(-ENOMEM, "reset state: out of memory");
	for (unsigned i = 0; !r && i < vm->cpus; i++) {
		vm->vcpu[i].power_on = calloc(1, sizeof(struct vcpu_state));
		if (!vm->vcpu[i].power_on)
			return err(-ENOMEM, "reset state: out of memory");
		r = regs_get(&vm->kvm, vm->vcpu[i].fd, vm->vcpu[i].power_on);
	}
	return r ? r : irqchip_get(&vm->kvm, vm->power_on);
}

static int add(struct vm *vm, const struct dev_type *type, int index, const void *conf)
{
	struct dev *dev;

	BUG_ON(vm->devs == VM_DEVS);
	dev = dev_new(type, index, &vm->m, conf);
	if (!dev)
		return -EINVAL;
	vm->dev[vm->devs++] = dev;
	return 0;
}

static int make_board_devices(struct vm *vm)
{
	const struct dev_place serial = { .base = PORT_COM1,
					  .gsi = GSI_COM1,
					  .stream = vm->no_console ? vm->no_console : vm->console };
	const struct dev_place rtc = { .base = PORT_RTC, .gsi = GSI_RTC };
	const struct dev_place i8042 = { .base = I8042_PORT };
	const struct dev_place pm[2] = { { .base = PORT_PM1_EVT, .gsi = GSI_SCI },
					 { .base = vm->board.pci ? 0 : PORT_RESET } };
	const struct dev_place panic = { .base = PORT_PVPANIC };
	int r = add(vm, &serial_type, -1, &serial);

	if (!r)
		r = add(vm, &rtc_type, -1, &rtc);
	if (!r)
		r = add(vm, &i8042_type, -1, &i8042);
	if (!r)
		r = add(vm, &acpi_pm_type, -1, pm);
	return r ? r : add(vm, &pvpanic_type, -1, &panic);
}

static int make_virtio(struct vm *vm, const struct dev_type *type, int index, struct pci_bus *pci,
		       unsigned n, const void *conf)
{
	struct vdev_place place = { .pci = pci, .conf = conf, .stream = vm->console };

	if (pci) {
		place.slot = PCI_SLOT_FIRST + n;
		place.base = PCI_BAR_BASE + n * PCI_BAR_STRIDE;
		place.gsi = vm->board.pci_gsi[place.slot];
	} else {
		place.base = vm->board.mmio[n].base;
		place.gsi = vm->board.mmio[n].gsi;
		if (vm->windows)
			place.window = vm->windows + n * VIRTIO_MMIO_SIZE;
	}
	return add(vm, type, index, &place);
}

/* a machine with a name has the same addresses each time, so that leases and rules stay true */
static int make_net(struct vm *vm, unsigned i, struct pci_bus *pci, unsigned n)
{
	struct conf_net net = vm->conf->net[i];

	net_mac_of(vm->conf, i, net.mac);
	return make_virtio(vm, &net_type, (int)i, pci, n, &net);
}

static int make_devices(struct vm *vm)
{
	const struct pci_place pci_place = {
		.addr_port = PORT_PCI_ADDR,
		.hole_base = PCI_HOLE_BASE,
		.hole_end = PCI_HOLE_END,
		.ecam_base = ECAM_BASE,
	};
	struct pci_bus *pci = NULL;
	unsigned n = 0;
	int r = make_board_devices(vm);

	if (!r && vm->board.pci) {
		r = add(vm, &pci_type, -1, &pci_place);
		if (!r)
			pci = pci_bus(vm->dev[vm->devs - 1]);
	}
	for (unsigned i = 0; !r && i < vm->conf->disks; i++)
		r = make_virtio(vm, &blk_type, (int)i, pci, n++, &vm->conf->disk[i]);
	for (unsigned i = 0; !r && i < vm->conf->nets; i++)
		if (vm->conf->net[i].mode != NET_NONE)
			r = make_net(vm, i, pci, n++);
	if (!r && vm->conf->vsocks)
		r = make_virtio(vm, &vsock_type, -1, pci, n++, &vm->conf->vsock[0]);
	if (!r && vm->conf->rng)
		r = make_virtio(vm, &rng_type, -1, pci, n++, NULL);
	if (!r && vm->conf->balloons)
		r = make_virtio(vm, &balloon_type, -1, pci, n++, &vm->conf->balloon[0]);
	if (!r && vm->conf->console_device == CONSOLE_VIRTIO)
		r = make_virtio(vm, &console_type, -1, pci, n++, vm->conf->console_size);
	return r;
}

static int boot(struct vm *vm)
{
	int r = boot_load(vm->boot, &vm->mem, &vm->board, &vm->entry);

	return r ? r : regs_boot(vm->vcpu[0].fd, &vm->entry);
}

static int build(struct vm *vm)
{
	static const struct {
		enum vm_phase phase;
		int (*make)(struct vm *vm);
	} step[] = {
		{ PHASE_FILES, make_host_side }, { PHASE_KVM, make_kvm },
		{ PHASE_MEMORY, make_memory },	 { PHASE_VCPUS, make_vcpus },
		{ PHASE_VCPUS, keep_power_on },	 { PHASE_DEVICES, make_devices },
	};
	int r = vm_board(vm->conf, &vm->board);

	for (unsigned i = 0; !r && i < ARRAY_SIZE(step); i++) {
		r = step[i].make(vm);
		mark(vm, step[i].phase);
	}
	if (!r)
		r = vm->from ? snap_load(vm) : boot(vm);
	mark(vm, PHASE_LOAD);
	return r;
}

struct vm *vm_new(struct loop *loop, struct conf *conf)
{
	return vm_restore(loop, conf, NULL, -1, 0, NULL);
}

struct vm *vm_restore(struct loop *loop, struct conf *conf, const struct snap_file *from,
		      int memory, uint64_t off, const struct pager_conf *lazy)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (!vm) {
		err(-ENOMEM, "machine: out of memory");
		return NULL;
	}
	vm->conf = conf;
	vm->from = from;
	vm->from_memory = memory;
	vm->from_off = off;
	vm->from_lazy = lazy;
	vm->loop = loop;
	vm->pagemap = -1;
	vm->kvm.fd = vm->kvm.vm = -1;
	vm->m = (struct machine){ &vm->mem, &vm->bus, &vm->kvm.irq, loop, machine_event, 0 };
	pthread_mutex_init(&vm->park_lock, NULL);
	pthread_cond_init(&vm->park_cond, NULL);
	pthread_mutex_init(&vm->event_lock, NULL);
	throttle_init(vm);
	vm->on_event = (struct loop_call){ .fn = vm_on_event, .arg = vm };
	if (build(vm)) {
		vm_free(vm);
		return NULL;
	}
	free(vm->saved);
	vm->saved = NULL;
	vm->from = NULL; /* the caller's, who may close it now */
	vm->from_lazy = NULL;
	vm->built = true;
	return vm;
}

void vm_unbuild(struct vm *vm)
{
	while (vm->devs)
		dev_free(vm->dev[--vm->devs]);
	pager_free(vm->pager); /* until here somebody may have waited for memory */
	stream_free(vm->console);
	stream_free(vm->no_console);
	loop_call_cancel(vm->loop, &vm->on_event);
	kvm_close(&vm->kvm);
	if (vm->windows)
		munmap(vm->windows, vm->board.mmio_n * VIRTIO_MMIO_SIZE);
	gmem_free(&vm->mem);
	boot_close(vm->boot);
	free(vm->vcpu);
	free(vm->power_on);
	free(vm->saved);
	cleanup_close(&vm->pagemap);
	pthread_mutex_destroy(&vm->event_lock);
	pthread_cond_destroy(&vm->park_cond);
	pthread_mutex_destroy(&vm->park_lock);
	free(vm);
}
