/*
 * fuzz_input.h - what the fuzzers of devices make of their input, and how much they did
 *
 * An input is read as operations and numbers, not as bytes of a ring: so most of
 * it gets past the first check, and what breaks arithmetic comes up often.
 */
#ifndef HUTCH_FUZZ_INPUT_H
#define HUTCH_FUZZ_INPUT_H

#include "contract.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *p;
	size_t left;
};

static inline uint8_t byte(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->p++;
}

static inline uint32_t word(struct input *in)
{
	uint32_t v = byte(in);

	return v | (uint32_t)byte(in) << 8;
}

/* small, or one of fake_odd()'s, or any */
static inline uint64_t number(struct input *in)
{
	uint8_t how = byte(in);
	uint32_t seed = how | 0x100;

	if (how < 64)
		return how;
	if (how < 192)
		return fake_odd(&seed);
	return (uint64_t)word(in) << 16 | word(in);
}

/* chains taken or refused, of each type of device; told at the end */
static struct {
	const struct dev_type *type;
	uint64_t rings;
} fuzz_total[4];

static void fuzz_report(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(fuzz_total) && fuzz_total[i].type; i++)
		fprintf(stderr, "rings: %s %lu\n", fuzz_total[i].type->name, fuzz_total[i].rings);
}

/* at the end of a case */
static inline void fuzz_rings(struct dev *dev)
{
	struct vdev_counters *count = &to_vdev(dev)->count;
	unsigned i = 0;

	while (fuzz_total[i].type && fuzz_total[i].type != dev->type)
		require(++i < ARRAY_SIZE(fuzz_total));
	if (!i && !fuzz_total[i].type)
		require(!atexit(fuzz_report));
	fuzz_total[i].type = dev->type;
	fuzz_total[i].rings += count->buffers + count->broken;
	*count = (struct vdev_counters){ 0 };
}

static inline uint32_t fuzz_hash(const uint8_t *data, size_t size)
{
	uint32_t h = 2166136261;

	while (size--)
		h = (h ^ *data++) * 16777619;
	return h;
}

static inline bool fuzz_wants_rain(const uint8_t *data, size_t size)
{
	return size && !(data[size - 1] & 3);
}

/*
 * fuzz_rain() - many small chains of odd descriptors, in any of the queues
 *
 * Too many to be spelled out by an input; @seed is taken from it.  A device that
 * breaks is started again.  False when that fails.
 */
static inline bool fuzz_rain(struct subject *x, uint64_t features, unsigned queues, uint32_t seed)
{
	struct guest *g = &x->g;

	seed |= 1;
	fake_settle(x->f);
	subject_reset(x);
	for (unsigned n = 0; n < 64; n++) {
		unsigned q = fake_random(&seed) % queues, links = 1 + fake_random(&seed) % 3;

		if (!n || guest_is_broken(g)) {
			fake_settle(x->f); /* a reset waits for what is in flight */
			if (!guest_start(g, features, queues, 16))
				return false;
		}
		for (unsigned l = 0; l < links; l++) {
			uint32_t r = fake_random(&seed);
			bool odd = !(r % 8);

			guest_desc(g, g->q[q].desc, l,
				   (struct vring_desc){
					   .addr = odd ? fake_odd(&seed) : GUEST_DATA + r % 0x2000,
					   .len = r & 0x100 ? (uint32_t)fake_odd(&seed) : r >> 20,
					   .flags =
						   (uint16_t)((l + 1 < links ? VRING_DESC_F_NEXT
									     : 0) |
							      (r & 0x200 ? VRING_DESC_F_WRITE : 0) |
							      (r >> 10 & 0xf
								       ? 0
								       : VRING_DESC_F_INDIRECT)),
					   .next = (uint16_t)(r >> 14 & 0xf ? l + 1 : r >> 18),
				   });
		}
		guest_publish(g, q, 0);
		guest_kick(g, q);
		fake_turn(x->f);
	}
	return true;
}

/* registers at any offset and width, of the device or its configuration space */
static inline void poke_register(struct subject *x, struct input *in)
{
	unsigned len = 1U << byte(in) % 4;
	uint64_t off = word(in) % 0x8000, at = x->g.base + off;

	if (x->wiring == WIRE_MMIO)
		at = x->g.base + off % 0x200;
	else if (off >= 0x6000)
		at = GUEST_ECAM + (3 << 15) + off % 0x100;
	bus_write(&x->f->bus, BUS_MMIO, at, len, number(in));
	bus_read(&x->f->bus, BUS_MMIO, at, len);
}

static inline void save_and_load(struct subject *x)
{
	static _Alignas(8) char tree[CONTRACT_TREE];
	int n = fake_save(x->f, tree, sizeof(tree));

	/* what one device saves the other loads */
	require(!fake_load(x->f, tree, (size_t)n));
	fake_resume(x->f);
}

#endif
