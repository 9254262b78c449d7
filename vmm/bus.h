/*
 * bus.h - which device answers at a port or address (layer 2)
 *
 * Ranges are added while the machine is built and frozen when it starts, so a
 * look-up takes no lock.  What nobody claims reads as all ones and swallows
 * writes: firmware and drivers probe for exactly that.
 */
#ifndef HUTCH_BUS_H
#define HUTCH_BUS_H

#include "base.h"

struct dev;

enum bus_kind { BUS_PORT, BUS_MMIO, BUS_KINDS };

/* off counts from the range's base; len is 1, 2, 4 or 8; called with the device's lock held */
struct bus_ops {
	uint64_t (*read)(struct dev *dev, uint64_t off, unsigned len);
	void (*write)(struct dev *dev, uint64_t off, unsigned len, uint64_t v);
};

#define BUS_RANGES 96

struct bus_range {
	uint64_t base, len;
	struct dev *dev;
	const struct bus_ops *ops;
};

struct bus {
	unsigned n[BUS_KINDS];
	struct bus_range range[BUS_KINDS][BUS_RANGES]; /* in order of base */
};

/* -EBUSY names the device that has a part of the range already, -ENOSPC */
int bus_add(struct bus *bus, enum bus_kind kind, uint64_t base, uint64_t len, struct dev *dev,
	    const struct bus_ops *ops) must_check;

/* one guest access from a vCPU's thread; a width of other than 1, 2, 4, 8 counts as unclaimed */
uint64_t bus_read(struct bus *bus, enum bus_kind kind, uint64_t addr, unsigned len);
void bus_write(struct bus *bus, enum bus_kind kind, uint64_t addr, unsigned len, uint64_t v);

/* all ones, @len bytes wide */
static inline uint64_t bus_ones(unsigned len)
{
	return len >= 8 ? UINT64_MAX : (1ULL << 8 * len) - 1;
}

/*
 * A register file kept as bytes: read or write the part of @regs that
 * [off, off + len) covers; what lies outside reads as zero.
 */
static inline uint64_t bus_bytes_read(const void *regs, size_t size, uint64_t off, unsigned len)
{
	uint64_t v = 0;

	if (off < size)
		memcpy(&v, (const uint8_t *)regs + off, MIN(len, size - off));
	return v;
}

#endif
