/* idle.c - set up all virtio devices as an idle system has them, say so, and sleep for good */
#include "virtio.h"

int main(uint64_t info);

static _Alignas(PAGE) uint8_t buffer[PAGE];

/* rings stay where they are while the device runs, so each has its own */
static struct {
	_Alignas(PAGE) struct ring r[QUEUES];
} own[MMIO_SLOTS];

static void move_rings(struct dev *d, unsigned n, unsigned queues)
{
	for (unsigned q = 0; q < queues; q++) {
		struct ring *r = &own[n].r[q];

		put(d, R_Q_SEL, q);
		put(d, R_Q_SIZE, Q_SIZE);
		put(d, R_Q_DESC, (uint32_t)(uintptr_t)r->desc);
		put(d, R_Q_AVAIL, (uint32_t)(uintptr_t)&r->avail);
		put(d, R_Q_USED, (uint32_t)(uintptr_t)&r->used);
		put(d, R_Q_READY, 1);
	}
}

/* what receives has two buffers waiting; so has the one for statistics */
static void offer(struct dev *d, unsigned n, unsigned q, bool in)
{
	struct ring *r = &own[n].r[q];

	for (uint16_t i = 0; i < 2; i++) {
		r->desc[i] = (struct desc){ (uintptr_t)buffer, PAGE, in ? D_WRITE : 0, 0 };
		r->avail.ring[i] = i;
	}
	fence();
	r->avail.idx = 2;
	fence();
	kick(d, q);
}

static void set_up(struct dev *d, unsigned n)
{
	static const struct {
		uint32_t id, features;
		unsigned queues;
	} kinds[] = { { ID_NET, 0, 2 }, { ID_BLK, 0, 1 },	   { ID_CONSOLE, 0, 2 },
		      { ID_RNG, 0, 1 }, { ID_BALLOON, 1 << 1, 3 }, { ID_VSOCK, 0, 3 } };

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (kinds[i].id != d->id)
			continue;
		reset(d);
		put(d, R_STATUS, 3);
		put(d, R_DRIVER_SEL, 1);
		put(d, R_DRIVER, 1);
		put(d, R_DRIVER_SEL, 0);
		put(d, R_DRIVER, kinds[i].features);
		put(d, R_STATUS, 0xb);
		move_rings(d, n, kinds[i].queues);
		put(d, R_STATUS, S_OK);
		if (get(d, R_STATUS) != S_OK)
			print("a device does not start\n");
		if (d->id == ID_BALLOON)
			offer(d, n, 2, false);
		else if (d->id != ID_BLK && d->id != ID_RNG)
			offer(d, n, 0, true);
	}
}

int main(uint64_t info)
{
	unsigned n = 0;

	(void)info;
	for (unsigned i = 0; i < MMIO_SLOTS; i++) {
		struct dev d = { .base = MMIO_BASE + i * MMIO_SIZE };

		if (get(&d, R_MAGIC) != 0x74726976)
			continue;
		d.id = get(&d, R_ID);
		set_up(&d, n++);
	}
	print("idle: ");
	print_number(n);
	print(" devices\n");
	for (;;)
		__asm__ volatile("hlt");
}
