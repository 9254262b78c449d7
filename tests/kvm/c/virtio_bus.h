/*
 * virtio_bus.h - a virtio device's registers, over virtio-mmio or as a function on PCI
 *
 * Both have the same registers, in other places and widths: drivers name them,
 * and the table knows where each bus has them.
 */
#ifndef HUTCH_FLAT_VIRTIO_BUS_H
#define HUTCH_FLAT_VIRTIO_BUS_H

#include "lib.h"

#define MMIO_BASE  0xfeb00000ULL /* boot/layout_x86.h */
#define MMIO_SIZE  0x1000
#define MMIO_SLOTS 17
#define ECAM	   0xb0000000ULL
#define PCI_SLOTS  32
#define PCI_BARS   0xe0000000ULL /* where those go that are moved, 32 KiB each */
#define PLACES	   (MMIO_SLOTS + PCI_SLOTS)

enum reg {
	R_FEATURES,
	R_FEATURES_SEL,
	R_DRIVER,
	R_DRIVER_SEL,
	R_STATUS,
	R_Q_SEL,
	R_Q_SIZE,
	R_Q_READY,
	R_Q_DESC, /* the lower half of an address, and the upper one */
	R_Q_DESC_HI,
	R_Q_AVAIL,
	R_Q_AVAIL_HI,
	R_Q_USED,
	R_Q_USED_HI,
};

static const struct {
	uint16_t mmio; /* all are 4 bytes there */
	uint8_t pci, pci_len;
} reg_places[] = {
	[R_FEATURES] = { 0x10, 4, 4 }, [R_FEATURES_SEL] = { 0x14, 0, 4 },
	[R_DRIVER] = { 0x20, 12, 4 },  [R_DRIVER_SEL] = { 0x24, 8, 4 },
	[R_STATUS] = { 0x70, 20, 1 },  [R_Q_SEL] = { 0x30, 22, 2 },
	[R_Q_SIZE] = { 0x38, 24, 2 },  [R_Q_READY] = { 0x44, 28, 2 },
	[R_Q_DESC] = { 0x80, 32, 4 },  [R_Q_DESC_HI] = { 0x84, 36, 4 },
	[R_Q_AVAIL] = { 0x90, 40, 4 }, [R_Q_AVAIL_HI] = { 0x94, 44, 4 },
	[R_Q_USED] = { 0xa0, 48, 4 },  [R_Q_USED_HI] = { 0xa4, 52, 4 },
};

#define MMIO_MAGIC	 0x00
#define MMIO_VERSION	 0x04
#define MMIO_ID		 0x08
#define MMIO_NOTIFY	 0x50
#define MMIO_CONFIG	 0x100
#define PCI_Q_VECTOR	 26
#define PCI_Q_NOTIFY_OFF 30

/* where one device's are */
struct bus {
	bool pci;
	uint64_t regs, notify, config;
	/* PCI: from one queue's place for notifications to the next, and where MSI-X has its table
	 */
	uint32_t step;
	uint64_t table;
};

static inline uint8_t in8(uint64_t at)
{
	return *(volatile uint8_t *)at;
}

static inline uint16_t in16(uint64_t at)
{
	return *(volatile uint16_t *)at;
}

static inline uint32_t in32(uint64_t at)
{
	return *(volatile uint32_t *)at;
}

static inline void out16(uint64_t at, uint16_t v)
{
	*(volatile uint16_t *)at = v;
}

static inline void out32(uint64_t at, uint32_t v)
{
	*(volatile uint32_t *)at = v;
}

static inline uint32_t bus_get(const struct bus *b, enum reg reg)
{
	uint64_t at = b->regs + (b->pci ? reg_places[reg].pci : reg_places[reg].mmio);

	if (b->pci && reg_places[reg].pci_len == 1)
		return in8(at);
	return b->pci && reg_places[reg].pci_len == 2 ? in16(at) : in32(at);
}

static inline void bus_put(const struct bus *b, enum reg reg, uint32_t v)
{
	uint64_t at = b->regs + (b->pci ? reg_places[reg].pci : reg_places[reg].mmio);

	if (b->pci && reg_places[reg].pci_len == 1)
		*(volatile uint8_t *)at = (uint8_t)v;
	else if (b->pci && reg_places[reg].pci_len == 2)
		out16(at, (uint16_t)v);
	else
		out32(at, v);
}

/* where the queue that is selected is told of buffers */
static inline uint64_t bus_kick_at(const struct bus *b)
{
	return b->notify + (b->pci ? in16(b->regs + PCI_Q_NOTIFY_OFF) * b->step : 0);
}

static inline void bus_kick(const struct bus *b, uint64_t at, unsigned q)
{
	if (b->pci)
		out16(at, (uint16_t)q);
	else
		out32(at, q);
}

/* the device's kind, or 0 where there is none */
static inline uint32_t mmio_probe(struct bus *b, unsigned slot)
{
	uint64_t at = MMIO_BASE + slot * MMIO_SIZE;

	*b = (struct bus){ false, at, at + MMIO_NOTIFY, at + MMIO_CONFIG, 0, 0 };
	return in32(at + MMIO_MAGIC) == 0x74726976 && in32(at + MMIO_VERSION) == 2
		       ? in32(at + MMIO_ID)
		       : 0;
}

/* its structures: each has a capability that says where in the one BAR it lies */
static inline void pci_structures(struct bus *b, uint64_t cfg, uint64_t bar)
{
	for (uint8_t cap = in8(cfg + 0x34); cap; cap = in8(cfg + cap + 1)) {
		uint64_t at = bar + in32(cfg + cap + 8);

		if (in8(cfg + cap) == 0x11)
			b->table = bar + (in32(cfg + cap + 4) & ~7U);
		if (in8(cfg + cap) != 9) /* vendor's own */
			continue;
		switch (in8(cfg + cap + 3)) {
		case 1:
			b->regs = at;
			break;
		case 2:
			b->notify = at;
			b->step = in32(cfg + cap + 16);
			break;
		case 4:
			b->config = at;
			break;
		}
	}
}

/* every other one is moved: then a snapshot has a place to keep that is the guest's own choice */
static inline uint32_t pci_probe(struct bus *b, unsigned slot)
{
	uint64_t cfg = ECAM + ((uint64_t)slot << 15);
	uint32_t id = in32(cfg);

	*b = (struct bus){ .pci = true };
	if ((id & 0xffff) != 0x1af4 || id >> 16 < 0x1040)
		return 0;
	if (slot & 1) {
		out16(cfg + 4, 0);
		out32(cfg + 0x10, (uint32_t)(PCI_BARS + slot * 0x8000));
		out16(cfg + 4, 6); /* memory, and bus master */
	}
	pci_structures(b, cfg, in32(cfg + 0x10));
	return (id >> 16) - 0x1040;
}

/* what the queue that is selected would interrupt with: set, and never switched on */
static inline void pci_set_vector(const struct bus *b, unsigned q)
{
	out16(b->regs + PCI_Q_VECTOR, (uint16_t)q);
	out32(b->table + 16 * q + 8, 0x40 + q);
}

static inline bool pci_has_vector(const struct bus *b, unsigned q)
{
	return in16(b->regs + PCI_Q_VECTOR) == q && in32(b->table + 16 * q + 8) == 0x40 + q;
}

static inline uint32_t bus_probe(struct bus *b, unsigned place)
{
	return place < MMIO_SLOTS ? mmio_probe(b, place) : pci_probe(b, place - MMIO_SLOTS);
}

#endif
