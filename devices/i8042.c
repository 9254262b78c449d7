/*
 * i8042.c - of the keyboard controller, only its wire to the CPU's reset pin
 *
 * Status reads as 0: the input buffer is free, so a guest that resets this way
 * does not wait for it.
 */
#include "devices.h"

#define COMMAND	    4
#define PULSE_RESET 0xfe

struct i8042_state {
	uint8_t data; /* last byte stored at the data port */
};

static const struct field i8042_fields[] = { F_UINT(struct i8042_state, data), F_END };

struct i8042 {
	struct dev dev;
	struct i8042_state s;
};

static uint64_t i8042_read(struct dev *dev, uint64_t off, unsigned len)
{
	(void)dev;
	return off == COMMAND && len == 1 ? 0 : bus_ones(len);
}

static void i8042_write(struct dev *dev, uint64_t off, unsigned len, uint64_t v)
{
	struct i8042 *k = container_of(dev, struct i8042, dev);

	if (off == COMMAND && len == 1 && v == PULSE_RESET)
		dev->m->event(dev->m, MACHINE_REBOOT,
			      "the guest reset the machine (keyboard controller)");
	else if (!off && len == 1)
		k->s.data = (uint8_t)v;
}

static const struct bus_ops i8042_ops = { i8042_read, i8042_write };

static void i8042_reset(struct dev *dev)
{
	container_of(dev, struct i8042, dev)->s = (struct i8042_state){ 0 };
}

static int i8042_create(struct dev *dev, const void *conf)
{
	struct i8042 *k = container_of(dev, struct i8042, dev);
	const struct dev_place *place = conf;

	DEV_PART(dev, "i8042", i8042_fields, &k->s);
	return bus_add(dev->m->bus, BUS_PORT, place->base, COMMAND + 1, dev, &i8042_ops);
}

const struct dev_type i8042_type = {
	.name = "i8042",
	.size = sizeof(struct i8042),
	.create = i8042_create,
	.reset = i8042_reset,
};
