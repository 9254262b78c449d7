/* pvpanic.c - one port where a dying kernel says so (QEMU's pvpanic, ACPI id QEMU0001) */
#include "devices.h"

#define EVENT_PANICKED 1U /* and nothing of a crash kernel follows */

struct pvpanic {
	struct dev dev;
};

static uint64_t pvpanic_read(struct dev *dev, uint64_t off, unsigned len)
{
	(void)dev;
	(void)off;
	return len == 1 ? EVENT_PANICKED : bus_ones(len);
}

static void pvpanic_write(struct dev *dev, uint64_t off, unsigned len, uint64_t v)
{
	(void)off;
	if (len == 1 && v & EVENT_PANICKED)
		dev->m->event(dev->m, MACHINE_PANIC, "the guest's kernel panicked");
}

static const struct bus_ops pvpanic_ops = { pvpanic_read, pvpanic_write };

static int pvpanic_create(struct dev *dev, const void *conf)
{
	const struct dev_place *place = conf;

	return bus_add(dev->m->bus, BUS_PORT, place->base, 1, dev, &pvpanic_ops);
}

const struct dev_type pvpanic_type = {
	.name = "pvpanic",
	.size = sizeof(struct pvpanic),
	.create = pvpanic_create,
};
