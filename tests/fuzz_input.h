/*
 * fuzz_input.h - what the fuzzers of devices make of their input, and how much they did
 *
 * An input is read as operations and numbers, not as bytes of a ring: so most of
 * it gets past the first check, and what breaks arithmetic comes up often.
 */
#ifndef HUTCH_FUZZ_INPUT_H
#define HUTCH_FUZZ_INPUT_H

#include "fake.h"

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

#endif
