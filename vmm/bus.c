#include "bus.h"
#include "dev.h"

int bus_add(struct bus *bus, enum bus_kind kind, uint64_t base, uint64_t len, struct dev *dev,
	    const struct bus_ops *ops)
{
	struct bus_range *r = bus->range[kind];
	unsigned at = bus->n[kind];

	BUG_ON(!len || base + len < base);
	for (unsigned i = 0; i < bus->n[kind]; i++)
		if (ranges_overlap(base, len, r[i].base, r[i].len))
			return err(-EBUSY, "%s: %#lx to %#lx belongs to %s already", dev->name,
				   base, base + len - 1, r[i].dev->name);
	if (at == BUS_RANGES)
		return err(-ENOSPC, "%s: the bus has no room for more than %d ranges", dev->name,
			   BUS_RANGES);
	for (; at && r[at - 1].base > base; at--)
		r[at] = r[at - 1];
	r[at] = (struct bus_range){ base, len, dev, ops };
	bus->n[kind]++;
	return 0;
}

static const struct bus_range *find(const struct bus *bus, enum bus_kind kind, uint64_t addr,
				    unsigned len)
{
	unsigned lo = 0, hi = bus->n[kind];

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		const struct bus_range *r = &bus->range[kind][mid];

		if (addr < r->base)
			hi = mid;
		else if (addr - r->base >= r->len)
			lo = mid + 1;
		else
			return range_fits(addr - r->base, len, r->len) ? r : NULL;
	}
	return NULL;
}

uint64_t bus_read(struct bus *bus, enum bus_kind kind, uint64_t addr, unsigned len)
{
	const struct bus_range *r = find(bus, kind, addr, len);
	uint64_t v;

	if (!r || !is_pow2(len) || len > 8)
		return bus_ones(len);
	dev_lock(r->dev);
	v = r->ops->read(r->dev, addr - r->base, len);
	dev_unlock(r->dev);
	return v & bus_ones(len);
}

void bus_write(struct bus *bus, enum bus_kind kind, uint64_t addr, unsigned len, uint64_t v)
{
	const struct bus_range *r = find(bus, kind, addr, len);

	if (!r || !is_pow2(len) || len > 8)
		return;
	dev_lock(r->dev);
	r->ops->write(r->dev, addr - r->base, len, v & bus_ones(len));
	dev_unlock(r->dev);
}
