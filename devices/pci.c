/*
 * pci.c - configuration mechanism #1, ECAM, BAR decoding, and the two bridges
 *
 * Firmware for this board (8086:29c0 at 00:00.0) wants exactly: PCIEXBAR at
 * 0x60 of the host bridge, an LPC bridge 8086:2918 at 00:1f.0 whose PMBASE,
 * ACPI_CNT and PIRQ bytes hold what is written, 0xcf8 that reads back, and all
 * ones from functions that are not there.
 *
 * Lock order: the bus's own lock, then the function's device's.
 */
#include <linux/pci_regs.h>

#include "devices.h"
#include "pci.h"

#define CFG_PORTS 8 /* address and data */
#define RESET_PORT                                                                     \
	1 /* a byte of it, in the middle of the address, is the reset control register \
	   */
#define ADDR_ENABLE   0x80000000U
#define ADDR_MASK     0x80fffffcU
#define ECAM_BYTES    (256ULL << 20)
#define PCIEXBAR      0x60
#define PCIEXBAR_ON   1U
#define PCIEXBAR_BASE 0xf0000000ULL
#define LPC_SLOT      31

struct bus_state {
	uint32_t addr; /* what 0xcf8 holds */
	uint8_t reset_ctl, zero[3];
};

static const struct field bus_fields[] = {
	F_UINT(struct bus_state, addr),
	F_UINT(struct bus_state, reset_ctl),
	F_BYTES(struct bus_state, zero),
	F_END,
};

const struct field pci_fn_fields[] = { F_BYTES(struct pci_state, cfg), F_END };

struct pci_bus {
	struct dev dev;
	struct bus_state s;
	struct pci_place place;
	struct pci_fn host, lpc;
	struct pci_fn *fn[PCI_SLOTS];
};

struct pci_bus *pci_bus(struct dev *dev)
{
	BUG_ON(dev->type != &pci_type);
	return container_of(dev, struct pci_bus, dev);
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* --- a function's configuration space --- */

static void put(struct pci_fn *fn, unsigned off, uint64_t v, unsigned len)
{
	BUG_ON(!range_fits(off, len, PCI_CFG_BYTES));
	memcpy(fn->s.cfg + off, &v, len);
}

void pci_fn_writable(struct pci_fn *fn, unsigned off, unsigned len)
{
	BUG_ON(!range_fits(off, len, PCI_CFG_BYTES));
	memset(fn->wmask + off, 0xff, len);
}

void pci_fn_init(struct pci_fn *fn, struct dev *dev, const struct pci_fn_ops *ops,
		 const struct pci_id *id)
{
	const uint16_t command = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
				 PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE;

	*fn = (struct pci_fn){ .dev = dev, .ops = ops, .cap_end = 0x40 };
	put(fn, PCI_VENDOR_ID, id->vendor, 2);
	put(fn, PCI_DEVICE_ID, id->device, 2);
	put(fn, PCI_CLASS_REVISION, (uint64_t)id->class_code << 8 | id->revision, 4);
	put(fn, PCI_SUBSYSTEM_VENDOR_ID, id->subsystem_vendor, 2);
	put(fn, PCI_SUBSYSTEM_ID, id->subsystem, 2);
	memcpy(fn->wmask + PCI_COMMAND, &command, 2);
	pci_fn_writable(fn, PCI_CACHE_LINE_SIZE, 2);
	pci_fn_writable(fn, PCI_INTERRUPT_LINE, 1);
}

void pci_fn_bar(struct pci_fn *fn, uint32_t size, gpa_t at)
{
	uint32_t mask = ~(size - 1);

	BUG_ON(!is_pow2(size) || size < 16 || at % size || at >> 32);
	fn->bar_size = size;
	memcpy(fn->wmask + PCI_BASE_ADDRESS_0, &mask, 4);
	put(fn, PCI_BASE_ADDRESS_0, at, 4);
	put(fn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER,
	    2); /* as firmware leaves it */
}

unsigned pci_fn_cap(struct pci_fn *fn, uint8_t id, const void *data, unsigned len)
{
	unsigned at = fn->cap_end;

	BUG_ON(!range_fits(at, len + 2ULL, PCI_CFG_BYTES));
	put(fn, at, id, 1);
	put(fn, at + 1, fn->s.cfg[PCI_CAPABILITY_LIST], 1);
	memcpy(fn->s.cfg + at + 2, data, len);
	put(fn, PCI_CAPABILITY_LIST, at, 1);
	put(fn, PCI_STATUS, PCI_STATUS_CAP_LIST, 2);
	fn->cap_end = (at + 2 + len + 3) & ~3U;
	return at;
}

void pci_fn_seal(struct pci_fn *fn)
{
	memcpy(fn->fixed, fn->s.cfg, sizeof(fn->fixed));
}

void pci_fn_reset(struct pci_fn *fn)
{
	memcpy(fn->s.cfg, fn->fixed, sizeof(fn->fixed));
}

int pci_fn_loaded(struct pci_fn *fn)
{
	for (unsigned i = 0; i < PCI_CFG_BYTES; i++)
		if ((fn->s.cfg[i] ^ fn->fixed[i]) & ~fn->wmask[i])
			return err(-EINVAL,
				   "snapshot: %s: PCI configuration byte %#x is %#x, which no "
				   "guest can write",
				   fn->dev ? fn->dev->name : "pci", i, fn->s.cfg[i]);
	return 0;
}

gpa_t pci_fn_bar_at(const struct pci_fn *fn)
{
	uint32_t base = get32(fn->s.cfg + PCI_BASE_ADDRESS_0) & ~(fn->bar_size - 1);

	if (!fn->bar_size || !(get16(fn->s.cfg + PCI_COMMAND) & PCI_COMMAND_MEMORY))
		return 0;
	return base == ~(fn->bar_size - 1) ? 0 : base; /* all ones: being sized */
}

bool pci_fn_intx_off(const struct pci_fn *fn)
{
	return get16(fn->s.cfg + PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE;
}

static uint64_t fn_read(struct pci_fn *fn, unsigned off, unsigned len)
{
	uint64_t v;

	/* behind 256 bytes: the extended capabilities, of which there are none */
	if (!range_fits(off, len, PCI_CFG_BYTES))
		return 0;
	if (fn->dev)
		dev_lock(fn->dev);
	if (fn->ops && fn->ops->prepare)
		fn->ops->prepare(fn, off, len);
	v = bus_bytes_read(fn->s.cfg, PCI_CFG_BYTES, off, len);
	if (fn->dev)
		dev_unlock(fn->dev);
	return v;
}

static void fn_write(struct pci_fn *fn, unsigned off, unsigned len, uint64_t v)
{
	if (!range_fits(off, len, PCI_CFG_BYTES))
		return;
	if (fn->dev)
		dev_lock(fn->dev);
	for (unsigned i = 0; i < len; i++, v >>= 8) {
		uint8_t mask = fn->wmask[off + i], *b = &fn->s.cfg[off + i];

		*b = (*b & ~mask) | ((uint8_t)v & mask);
	}
	if (fn->ops && fn->ops->configured)
		fn->ops->configured(fn, off, len);
	if (fn->dev)
		dev_unlock(fn->dev);
}

/* --- the bus: bdf is bus << 8 | device << 3 | function --- */

static struct pci_fn *fn_at(struct pci_bus *bus, unsigned bdf)
{
	return bdf >> 8 || bdf & 7 ? NULL : bus->fn[bdf >> 3 & 31];
}

static uint64_t cfg_read(struct pci_bus *bus, unsigned bdf, unsigned off, unsigned len)
{
	struct pci_fn *fn = fn_at(bus, bdf);

	return fn ? fn_read(fn, off, len) : bus_ones(len);
}

static void cfg_write(struct pci_bus *bus, unsigned bdf, unsigned off, unsigned len, uint64_t v)
{
	struct pci_fn *fn = fn_at(bus, bdf);

	if (fn)
		fn_write(fn, off, len, v);
}

static uint64_t port_read(struct dev *dev, uint64_t off, unsigned len)
{
	struct pci_bus *bus = pci_bus(dev);

	if (off == RESET_PORT && len == 1)
		return bus->s.reset_ctl;
	if (off < 4)
		return bus_bytes_read(&bus->s.addr, 4, off, len);
	if (!(bus->s.addr & ADDR_ENABLE) || len > 4)
		return bus_ones(len);
	return cfg_read(bus, bus->s.addr >> 8 & 0xffff, (bus->s.addr & 0xfc) + (off & 3), len);
}

static void port_write(struct dev *dev, uint64_t off, unsigned len, uint64_t v)
{
	struct pci_bus *bus = pci_bus(dev);

	if (off == RESET_PORT && len == 1)
		machine_reset_register(dev->m, &bus->s.reset_ctl, (uint8_t)v);
	else if (!off && len == 4)
		bus->s.addr = (uint32_t)v & ADDR_MASK;
	else if (off >= 4 && len <= 4 && bus->s.addr & ADDR_ENABLE)
		cfg_write(bus, bus->s.addr >> 8 & 0xffff, (bus->s.addr & 0xfc) + (off & 3), len, v);
}

static const struct bus_ops port_ops = { port_read, port_write };

static bool in_ecam(const struct pci_bus *bus, gpa_t addr, unsigned len, uint64_t *ret_off)
{
	uint64_t bar = bus_bytes_read(bus->host.s.cfg, PCI_CFG_BYTES, PCIEXBAR, 8),
		 base = bar & PCIEXBAR_BASE;

	if (!(bar & PCIEXBAR_ON) || bar >> 32 || addr < base ||
	    !range_fits(addr - base, len, ECAM_BYTES))
		return false;
	*ret_off = addr - base;
	return true;
}

static struct pci_fn *fn_with_bar(struct pci_bus *bus, gpa_t addr, unsigned len, uint64_t *ret_off)
{
	for (unsigned i = 0; i < PCI_SLOTS; i++) {
		struct pci_fn *fn = bus->fn[i];
		gpa_t at = fn ? pci_fn_bar_at(fn) : 0;

		if (at && addr >= at && range_fits(addr - at, len, fn->bar_size)) {
			*ret_off = addr - at;
			return fn;
		}
	}
	return NULL;
}

static uint64_t hole_read(struct dev *dev, uint64_t off, unsigned len)
{
	struct pci_bus *bus = pci_bus(dev);
	gpa_t addr = bus->place.hole_base + off;
	struct pci_fn *fn;
	uint64_t at, v;

	if (in_ecam(bus, addr, len, &at))
		return cfg_read(bus, (unsigned)(at >> 12), at & 0xfff, len);
	fn = fn_with_bar(bus, addr, len, &at);
	if (!fn)
		return bus_ones(len);
	dev_lock(fn->dev);
	v = fn->ops->read(fn, at, len);
	dev_unlock(fn->dev);
	return v;
}

static void hole_write(struct dev *dev, uint64_t off, unsigned len, uint64_t v)
{
	struct pci_bus *bus = pci_bus(dev);
	gpa_t addr = bus->place.hole_base + off;
	struct pci_fn *fn;
	uint64_t at;

	if (in_ecam(bus, addr, len, &at)) {
		cfg_write(bus, (unsigned)(at >> 12), at & 0xfff, len, v);
		return;
	}
	fn = fn_with_bar(bus, addr, len, &at);
	if (!fn)
		return;
	dev_lock(fn->dev);
	fn->ops->write(fn, at, len, v);
	dev_unlock(fn->dev);
}

static const struct bus_ops hole_ops = { hole_read, hole_write };

int pci_attach(struct pci_bus *bus, unsigned slot, struct pci_fn *fn)
{
	if (slot >= PCI_SLOTS || bus->fn[slot])
		return err(-EBUSY, "%s: PCI slot %u is taken", fn->dev->name, slot);
	bus->fn[slot] = fn;
	return 0;
}

void pci_detach(struct pci_bus *bus, struct pci_fn *fn)
{
	for (unsigned i = 0; i < PCI_SLOTS; i++)
		if (bus->fn[i] == fn)
			bus->fn[i] = NULL;
}

/* --- the bridges --- */

static void make_host(struct pci_bus *bus)
{
	static const struct pci_id id = { .vendor = 0x8086,
					  .device = 0x29c0,
					  .class_code = 0x060000 };

	pci_fn_init(&bus->host, NULL, NULL, &id);
	pci_fn_writable(&bus->host, PCIEXBAR, 8);
	put(&bus->host, PCIEXBAR, bus->place.ecam_base | PCIEXBAR_ON, 8);
	pci_fn_seal(&bus->host);
	bus->fn[0] = &bus->host;
}

static void make_lpc(struct pci_bus *bus)
{
	static const struct pci_id id = { .vendor = 0x8086,
					  .device = 0x2918,
					  .class_code = 0x060100 };
	static const struct {
		uint8_t off, len;
	} writable[] = { { 0x40, 4 }, { 0x44, 1 }, { 0x60, 4 }, { 0x68, 4 }, { 0xf0, 4 } };

	pci_fn_init(&bus->lpc, NULL, NULL, &id);
	for (unsigned i = 0; i < ARRAY_SIZE(writable); i++)
		pci_fn_writable(&bus->lpc, writable[i].off, writable[i].len);
	pci_fn_seal(&bus->lpc);
	bus->fn[LPC_SLOT] = &bus->lpc;
}

static void pci_reset(struct dev *dev)
{
	struct pci_bus *bus = pci_bus(dev);

	bus->s = (struct bus_state){ .addr = 0 };
	pci_fn_reset(&bus->host);
	pci_fn_reset(&bus->lpc);
}

static int pci_create(struct dev *dev, const void *conf)
{
	struct pci_bus *bus = container_of(dev, struct pci_bus, dev);
	const struct pci_place *p = conf;
	int r;

	bus->place = *p;
	make_host(bus);
	make_lpc(bus);
	DEV_PART(dev, "pci", bus_fields, &bus->s);
	DEV_PART(dev, "host", pci_fn_fields, &bus->host.s);
	DEV_PART(dev, "lpc", pci_fn_fields, &bus->lpc.s);
	r = bus_add(dev->m->bus, BUS_PORT, p->addr_port, CFG_PORTS, dev, &port_ops);
	return r ? r
		 : bus_add(dev->m->bus, BUS_MMIO, p->hole_base, p->hole_end - p->hole_base, dev,
			   &hole_ops);
}

static int pci_loaded(struct dev *dev)
{
	struct pci_bus *bus = pci_bus(dev);
	int r = pci_fn_loaded(&bus->host);

	bus->s.addr &= ADDR_MASK;
	return r ? r : pci_fn_loaded(&bus->lpc);
}

const struct dev_type pci_type = {
	.name = "pci",
	.size = sizeof(struct pci_bus),
	.create = pci_create,
	.reset = pci_reset,
	.loaded = pci_loaded,
};
