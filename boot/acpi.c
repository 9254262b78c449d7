/*
 * acpi.c - the tables of a board
 *
 * 1. RSDP comes first, because that is the address people are told; XSDT last,
 *    because it lists the others.  Nothing has a fixed place but for that.
 * 2. Each table starts at 16 bytes, FACS at 64 as it must.
 * 3. The guest pays for every table, device and bus on its way to init.  So
 *    there are none but those that an operating system cannot do without.
 * 4. The generation id lies in the same page, where the memory map has neither
 *    RAM nor ACPI data, which is what its specification asks for: a guest that
 *    finds another one there is a clone of who it was, and draws new random
 *    numbers.  GPE 0 tells it to look.
 *
 * #syscalls getrandom
 *
 * Structures are written as they lie in memory: guest and host are x86.
 */
#include <assert.h>
#include <sys/random.h>

#include "acpi.h"
#include "aml.h"
#include "layout_x86.h"

#define OEM		"HUTCH "
#define OEM_TABLE	"HUTCHVMM"
#define CREATOR		"HTCH"
#define TABLES_MAX	8
#define X2APIC_FIRST_ID 255 /* a plain entry has 8 bits for it, and 255 stands for all CPUs */

struct header {
	char sig[4];
	uint32_t len;
	uint8_t revision;
	uint8_t sum; /* makes the bytes of the table add up to 0 */
	char oem[6];
	char oem_table[8];
	uint32_t oem_revision;
	char creator[4];
	uint32_t creator_revision;
} __attribute__((packed));

struct rsdp {
	char sig[8];
	uint8_t sum; /* of the first 20 bytes */
	char oem[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t len;
	uint64_t xsdt;
	uint8_t full_sum;
	uint8_t reserved[3];
} __attribute__((packed));

/* where a register is */
struct gas {
	uint8_t space; /* SPACE_PORT */
	uint8_t bits;
	uint8_t offset;
	uint8_t access; /* 1, 2, 3: by 8, 16, 32 bits */
	uint64_t addr;
} __attribute__((packed));

#define SPACE_PORT 1
#define PORT(where, width, how) \
	((struct gas){ .space = SPACE_PORT, .bits = (width), .access = (how), .addr = (where) })

struct fadt {
	uint32_t facs, dsdt;
	uint8_t reserved1, profile;
	uint16_t sci_int;
	uint32_t smi_cmd;
	uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
	uint32_t pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_tmr, gpe0, gpe1;
	uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_len, gpe1_len, gpe1_base;
	uint8_t cst_cnt;
	uint16_t c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	uint16_t boot_arch;
	uint8_t reserved2;
	uint32_t flags;
	struct gas reset;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor;
	uint64_t x_facs, x_dsdt;
	struct gas x_pm1a_evt, x_pm1b_evt, x_pm1a_cnt, x_pm1b_cnt, x_pm2_cnt, x_pm_tmr;
	struct gas x_gpe0, x_gpe1, sleep_control, sleep_status;
	char hypervisor[8];
} __attribute__((packed));

enum fadt_flags {
	FADT_WBINVD = 1 << 0,
	FADT_PROC_C1 = 1 << 2,
	FADT_PWR_BUTTON = 1 << 4, /* there is no fixed power button (but there is), ... */
	FADT_SLP_BUTTON = 1 << 5, /* ... no fixed sleep button, ... */
	FADT_FIX_RTC = 1 << 6,	  /* ... and no fixed wake-up by the RTC */
	FADT_TMR_VAL_EXT = 1 << 8,
	FADT_RESET_REG_SUP = 1 << 10,
};

/*
 * Not set: "legacy devices", as the DSDT names all there are; a keyboard
 * controller; no MSI; no RTC.
 */
#define BOOT_ARCH_NO_VGA 0x04

enum madt_type { MADT_LAPIC, MADT_IOAPIC, MADT_OVERRIDE, MADT_X2APIC = 9 };

#define MADT_PCAT_COMPAT 1 /* there is a PC's pair of 8259 as well */
#define CPU_ENABLED	 1
#define IRQ_AS_BUS	 0x0
#define IRQ_LEVEL_HIGH	 0xd

#define WAET_RTC_GOOD	 0x1
#define WAET_TIMER_GOOD	 0x2

static_assert(sizeof(struct header) == 36, "ACPI");
static_assert(sizeof(struct rsdp) == 36, "ACPI");
static_assert(sizeof(struct gas) == 12, "ACPI");
static_assert(sizeof(struct header) + sizeof(struct fadt) == 276, "ACPI 6");

struct tables {
	struct aml out;
	size_t at; /* of the table being written */
	unsigned n;
	gpa_t listed[TABLES_MAX]; /* by the XSDT */
};

static void align(struct aml *out, size_t to)
{
	while (out->len % to && !out->full)
		aml_le(out, 0, 1);
}

static uint8_t sum(const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	uint8_t v = 0;

	while (len--)
		v = (uint8_t)(v + *p++);
	return (uint8_t)-v;
}

static void begin(struct tables *t, const char *sig, uint8_t revision)
{
	struct header h = {
		.revision = revision,
		.oem_revision = 1,
		.creator_revision = 1,
	};

	memcpy(h.sig, sig, sizeof(h.sig));
	memcpy(h.oem, OEM, sizeof(h.oem));
	memcpy(h.oem_table, OEM_TABLE, sizeof(h.oem_table));
	memcpy(h.creator, CREATOR, sizeof(h.creator));
	align(&t->out, 16);
	t->at = t->out.len;
	aml_raw(&t->out, &h, sizeof(h));
}

/* the table is complete: its address */
static gpa_t end(struct tables *t)
{
	struct header *h = (void *)(t->out.buf + t->at);

	if (!t->out.full) {
		h->len = (uint32_t)(t->out.len - t->at);
		h->sum = sum(h, h->len);
	}
	return ACPI_ADDR + t->at;
}

static void end_listed(struct tables *t)
{
	BUG_ON(t->n == TABLES_MAX);
	t->listed[t->n++] = end(t);
}

static void dsdt_com1(struct aml *d)
{
	aml_device(d, "COM1");
	aml_name(d, "_HID");
	aml_eisa(d, "PNP0501");
	aml_name(d, "_CRS");
	aml_crs(d);
	aml_io(d, PORT_COM1, 8);
	aml_irq(d, GSI_COM1);
	aml_end(d);
	aml_end(d);
}

static void dsdt_rtc(struct aml *d)
{
	aml_device(d, "RTC");
	aml_name(d, "_HID");
	aml_eisa(d, "PNP0B00");
	aml_name(d, "_CRS");
	aml_crs(d);
	aml_io(d, PORT_RTC, 2);
	aml_irq(d, GSI_RTC);
	aml_end(d);
	aml_end(d);
}

static void dsdt_pvpanic(struct aml *d)
{
	aml_device(d, "PVPN");
	aml_name(d, "_HID");
	aml_string(d, "QEMU0001"); /* what drivers look for */
	aml_name(d, "_CRS");
	aml_crs(d);
	aml_io(d, PORT_PVPANIC, 1);
	aml_end(d);
	aml_end(d);
}

static void dsdt_generation(struct aml *d)
{
	aml_device(d, "VGEN");
	aml_name(d, "_HID");
	aml_string(d, "HTCH0001");
	aml_name(d, "_CID");
	aml_string(d, "VM_Gen_Counter"); /* what drivers look for; Windows also in _DDN */
	aml_name(d, "_DDN");
	aml_string(d, "VM_Gen_Counter");
	aml_name(d, "ADDR");
	aml_package(d);
	aml_int(d, GENID_ADDR);
	aml_int(d, 0); /* its upper half */
	aml_end(d);
	aml_end(d);
}

static void dsdt_events(struct aml *d)
{
	aml_scope(d, "_GPE");
	aml_method(d, "_E00");
	aml_notify(d, "_SB", "VGEN", 0x80);
	aml_end(d);
	aml_end(d);
}

static void dsdt_virtio_mmio(struct aml *d, const struct board *board, unsigned i)
{
	char name[sizeof("VRxx")];

	snprintf(name, sizeof(name), "VR%02X", i & 0xff);
	BUG_ON(board->mmio[i].base > UINT32_MAX);
	aml_device(d, name);
	aml_name(d, "_HID");
	aml_string(d, "LNRO0005");
	aml_name(d, "_UID");
	aml_int(d, i);
	aml_name(d, "_CRS");
	aml_crs(d);
	aml_mem32(d, (uint32_t)board->mmio[i].base, VIRTIO_MMIO_SIZE);
	aml_interrupt(d, board->mmio[i].gsi);
	aml_end(d);
	aml_end(d);
}

static void dsdt_pci_windows(struct aml *d, const struct board *board)
{
	aml_name(d, "_CRS");
	aml_crs(d);
	aml_bus_window(d, 0, 0);
	aml_io(d, PORT_PCI_ADDR, 8);
	aml_io_window(d, 0, PORT_PCI_ADDR - 1);
	aml_io_window(d, PORT_PCI_ADDR + 8, 0xffff);
	aml_mem32_window(d, PCI_BAR_BASE, PCI_BAR_END - 1);
	if (board->pci64_len)
		aml_mem64_window(d, board->pci64_base, board->pci64_base + board->pci64_len - 1);
	aml_end(d);
}

static bool has_lines(const struct board *board)
{
	for (unsigned slot = 0; slot < BOARD_PCI_SLOTS; slot++)
		if (board->pci_gsi[slot])
			return true;
	return false;
}

/* the line of each pin of each slot: the four pins of one share it */
static void dsdt_pci_lines(struct aml *d, const struct board *board)
{
	aml_name(d, "_PRT");
	aml_package(d);
	for (unsigned slot = 0; slot < BOARD_PCI_SLOTS; slot++)
		for (unsigned pin = 0; pin < 4 && board->pci_gsi[slot]; pin++) {
			aml_package(d);
			aml_int(d, slot << 16 | 0xffff); /* every function of it */
			aml_int(d, pin);
			aml_int(d, 0); /* the next is a GSI, not an entry of a link device */
			aml_int(d, board->pci_gsi[slot]);
			aml_end(d);
		}
	aml_end(d);
}

static void dsdt_pci(struct aml *d, const struct board *board)
{
	aml_device(d, "PCI0");
	aml_name(d, "_HID");
	aml_eisa(d, "PNP0A08");
	aml_name(d, "_CID");
	aml_eisa(d, "PNP0A03");
	aml_name(d, "_UID");
	aml_int(d, 0);
	dsdt_pci_windows(d, board);
	if (has_lines(board))
		dsdt_pci_lines(d, board);
	aml_end(d);

	/* Linux believes the MCFG only if the space is reserved: by this, or by the memory map */
	aml_device(d, "ECAM");
	aml_name(d, "_HID");
	aml_eisa(d, "PNP0C02");
	aml_name(d, "_CRS");
	aml_crs(d);
	aml_mem32(d, ECAM_BASE, ECAM_SIZE);
	aml_end(d);
	aml_end(d);
}

static gpa_t put_dsdt(struct tables *t, const struct board *board)
{
	struct aml *d = &t->out;

	BUG_ON(board->mmio_n > BOARD_MMIO);
	begin(t, "DSDT", 2);
	/* what to write to SLP_TYP, a and b, to power off */
	aml_name(d, "_S5");
	aml_package(d);
	for (unsigned i = 0; i < 4; i++)
		aml_int(d, 0);
	aml_end(d);

	aml_scope(d, "_SB");
	dsdt_com1(d);
	dsdt_rtc(d);
	dsdt_pvpanic(d);
	dsdt_generation(d);
	for (unsigned i = 0; i < board->mmio_n; i++)
		dsdt_virtio_mmio(d, board, i);
	if (board->pci)
		dsdt_pci(d, board);
	aml_end(d);
	dsdt_events(d);
	return end(t);
}

/* a lock to share with firmware and a wake-up vector: never used here, yet it must be there */
static gpa_t put_facs(struct tables *t)
{
	const uint32_t facs[16] = { [1] = sizeof(facs), [8] = 2 /* version */ };

	align(&t->out, 64);
	t->at = t->out.len;
	aml_raw(&t->out, "FACS", 4);
	aml_raw(&t->out, facs + 1, sizeof(facs) - 4);
	return ACPI_ADDR + t->at;
}

static void put_fadt(struct tables *t, const struct board *board, gpa_t facs, gpa_t dsdt)
{
	struct fadt fadt = {
		.facs = (uint32_t)facs,
		.dsdt = (uint32_t)dsdt,
		.x_dsdt = dsdt,
		.minor = 3,
		.sci_int = GSI_SCI,
		.pm1a_evt = PORT_PM1_EVT,
		.pm1_evt_len = 4,
		.x_pm1a_evt = PORT(PORT_PM1_EVT, 32, 2),
		.pm1a_cnt = PORT_PM1_CNT,
		.pm1_cnt_len = 2,
		.x_pm1a_cnt = PORT(PORT_PM1_CNT, 16, 2),
		.gpe0 = PORT_GPE0,
		.gpe0_len = 2,
		.x_gpe0 = PORT(PORT_GPE0, 16, 1),
		.c2_latency = 0xfff, /* no C2, no C3 */
		.c3_latency = 0xfff,
		.century = 0x32, /* where the RTC has it */
		.boot_arch = BOOT_ARCH_NO_VGA,
		.reset = PORT(PORT_RESET, 8, 1),
		.reset_value = RESET_VALUE,
		.flags = FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_FIX_RTC |
			 FADT_RESET_REG_SUP,
		.hypervisor = "HUTCH",
	};

	if (board->pm_timer) {
		fadt.pm_tmr = PORT_PM_TMR;
		fadt.pm_tmr_len = 4;
		fadt.x_pm_tmr = PORT(PORT_PM_TMR, 32, 3);
		fadt.flags |= FADT_TMR_VAL_EXT;
	}
	begin(t, "FACP", 6);
	aml_raw(&t->out, &fadt, sizeof(fadt));
	end_listed(t);
}

static void madt_cpu(struct aml *m, unsigned id)
{
	if (id < X2APIC_FIRST_ID) {
		aml_le(m, MADT_LAPIC, 1);
		aml_le(m, 8, 1);
		aml_le(m, id, 1); /* of the processor in the namespace, if it were there */
		aml_le(m, id, 1); /* of its APIC */
		aml_le(m, CPU_ENABLED, 4);
	} else {
		aml_le(m, MADT_X2APIC, 1);
		aml_le(m, 16, 1);
		aml_le(m, 0, 2);
		aml_le(m, id, 4);
		aml_le(m, CPU_ENABLED, 4);
		aml_le(m, id, 4);
	}
}

static void madt_override(struct aml *m, unsigned isa_irq, unsigned gsi, unsigned flags)
{
	aml_le(m, MADT_OVERRIDE, 1);
	aml_le(m, 10, 1);
	aml_le(m, 0, 1); /* ISA */
	aml_le(m, isa_irq, 1);
	aml_le(m, gsi, 4);
	aml_le(m, flags, 2);
}

static void put_madt(struct tables *t, const struct board *board)
{
	struct aml *m = &t->out;

	begin(t, "APIC", 5);
	aml_le(m, LAPIC_BASE, 4);
	aml_le(m, MADT_PCAT_COMPAT, 4);
	for (unsigned id = 0; id < board->cpus && !m->full; id++)
		madt_cpu(m, id);

	aml_le(m, MADT_IOAPIC, 1);
	aml_le(m, 12, 1);
	aml_le(m, 0, 2); /* id 0 */
	aml_le(m, IOAPIC_BASE, 4);
	aml_le(m, 0, 4); /* its first GSI */

	if (board->pit)
		madt_override(m, 0, 2, IRQ_AS_BUS);
	madt_override(m, GSI_SCI, GSI_SCI, IRQ_LEVEL_HIGH);
	end_listed(t);
}

/*
 * One bus only: Linux looks at every slot of every bus that is announced here,
 * by ports, which is 8,160 accesses and two exits each for 256 of them.
 */
static void put_mcfg(struct tables *t)
{
	begin(t, "MCFG", 1);
	aml_le(&t->out, 0, 8);
	aml_le(&t->out, ECAM_BASE, 8);
	aml_le(&t->out, 0, 2); /* segment */
	aml_le(&t->out, 0, 1); /* first bus */
	aml_le(&t->out, 0, 1); /* last bus */
	aml_le(&t->out, 0, 4);
	end_listed(t);
}

/* tells Windows to read the timer once, not until values agree, and not to acknowledge the RTC */
static void put_waet(struct tables *t)
{
	begin(t, "WAET", 1);
	aml_le(&t->out, WAET_RTC_GOOD | WAET_TIMER_GOOD, 4);
	end_listed(t);
}

static gpa_t put_xsdt(struct tables *t)
{
	begin(t, "XSDT", 1);
	for (unsigned i = 0; i < t->n; i++)
		aml_le(&t->out, t->listed[i], 8);
	return end(t);
}

static void fill_rsdp(struct tables *t, gpa_t xsdt)
{
	struct rsdp rsdp = {
		.revision = 2,
		.len = sizeof(rsdp),
		.xsdt = xsdt,
	};

	memcpy(rsdp.sig, "RSD PTR ", sizeof(rsdp.sig));
	memcpy(rsdp.oem, OEM, sizeof(rsdp.oem));
	rsdp.sum = sum(&rsdp, offsetof(struct rsdp, len));
	rsdp.full_sum = sum(&rsdp, sizeof(rsdp));
	if (!t->out.full)
		memcpy(t->out.buf, &rsdp, sizeof(rsdp));
}

static void build(struct tables *t, const struct board *board)
{
	const uint8_t no_id[GENID_LEN] = { 0 };
	const struct rsdp later = { 0 };
	gpa_t facs, dsdt;

	aml_raw(&t->out, &later, sizeof(later));
	align(&t->out, 8);
	BUG_ON(ACPI_ADDR + t->out.len != GENID_ADDR && !t->out.full);
	aml_raw(&t->out, no_id, sizeof(no_id));
	facs = put_facs(t);
	dsdt = put_dsdt(t, board);
	put_fadt(t, board, facs, dsdt);
	put_madt(t, board);
	if (board->pci)
		put_mcfg(t);
	if (board->pm_timer)
		put_waet(t);
	fill_rsdp(t, put_xsdt(t));
}

int acpi_write(struct gmem *mem, const struct board *board)
{
	cleanup_free void *buf = malloc(ACPI_MAX);
	struct tables t = { .n = 0 };
	size_t len;

	if (!buf)
		return err(-ENOMEM, "no memory to build ACPI tables in");
	aml_init(&t.out, buf, ACPI_MAX);
	build(&t, board);
	if (aml_done(&t.out, &len))
		return err(-ENOSPC,
			   "the ACPI tables of %u CPUs do not fit into %llu KiB; use fewer",
			   board->cpus, ACPI_MAX / KiB);
	if (gmem_write(mem, ACPI_ADDR, buf, len))
		return err(-EFAULT,
			   "the ACPI tables need memory at %#llx; give the guest 1M or more",
			   ACPI_ADDR);
	return acpi_generation(mem);
}

int acpi_generation(struct gmem *mem)
{
	uint8_t id[GENID_LEN];

	if (getrandom(id, sizeof(id), 0) != sizeof(id))
		return err(-errno, "generation id: no random bytes: %s", strerror(errno));
	return gmem_write(mem, GENID_ADDR, id, sizeof(id));
}
