/* idle.c - set up all virtio devices as an idle system has them, say so, and sleep for good */
#include "virtio.h"

int main(uint64_t info);

static _Alignas(PAGE) uint8_t buffer[PAGE];

/* rings stay where they are while the device runs, so each has its own */
static _Alignas(PAGE) struct ring own[MMIO_SLOTS][QUEUES];

/* what receives has two buffers waiting; so has the one for statistics */
static void offer(struct dev *d, unsigned q, bool in)
{
	for (unsigned i = 0; i < 2; i++)
		add(d, q, &(struct piece){ buffer, PAGE, in }, 1);
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
		d->ring = own[n];
		if (!start(d, kinds[i].features, kinds[i].queues))
			print("a device does not start\n");
		if (d->id == ID_BALLOON)
			offer(d, 2, false);
		else if (d->id != ID_BLK && d->id != ID_RNG)
			offer(d, 0, true);
	}
}

int main(uint64_t info)
{
	struct dev d;
	unsigned n = 0;

	(void)info;
	for (unsigned i = 0; i < PLACES; i++)
		if (look(&d, i))
			set_up(&d, n++);
	print("idle: ");
	print_number(n);
	print(" devices\n");
	for (;;)
		__asm__ volatile("hlt");
}
