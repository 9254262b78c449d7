/*
 * chain.c - one number out of another, through memory and every device that can hold some of it
 *
 * What comes out in the end, "chain NUMBER", is the same in every run that starts
 * from the same disk: a machine that lost or made up one bit anywhere on the way
 * prints another.  Random numbers and what the console takes are asked for and
 * left out of it.  At each stage the word at MAILBOX counts, for who wants to stop it somewhere.
 */
#include "virtio.h"

int main(uint64_t info);

#define MAILBOX	  ((volatile uint32_t *)0x60000)
#define STAGES	  60
#define STEPS	  60
#define SECTORS	  128
#define AREA	  ((volatile uint64_t *)0x1000000) /* 16 MiB on */
#define WORDS	  (1U << 20)
#define ANSWER_MS 3000

static _Alignas(PAGE) uint8_t data[PAGE];
static _Alignas(PAGE) uint8_t noise[PAGE];
static _Alignas(PAGE) uint8_t head[64], tail[64];
static uint64_t h = 88172645463325252ULL;

static uint64_t next(void)
{
	h ^= h << 13;
	h ^= h >> 7;
	h ^= h << 17;
	return h;
}

static void walk_memory(void)
{
	for (unsigned i = 0; i < STEPS; i++) {
		volatile uint64_t *w = &AREA[next() % WORDS];

		h += *w + i;
		*w ^= next();
	}
}

static bool request(struct dev *d, uint32_t type, uint64_t sector)
{
	struct piece p[3] = { { head, 16, false }, { data, 512, type == 0 }, { tail, 1, true } };

	*(volatile uint64_t *)head = type;
	*(volatile uint64_t *)(head + 8) = sector;
	tail[0] = 0xee;
	add(d, 0, p, 3);
	return used(d, 0, ANSWER_MS) >= 0 && !*(volatile uint8_t *)tail;
}

static bool walk_disk(struct dev *d)
{
	volatile uint64_t *w = (volatile uint64_t *)data;

	if (!start(d, 0, 1))
		return false;
	for (unsigned i = 0; i < 2; i++) {
		for (unsigned k = 0; k < 64; k++)
			w[k] = next();
		if (!request(d, 1, next() % SECTORS) || !request(d, 0, next() % SECTORS))
			return false;
		for (unsigned k = 0; k < 64; k++)
			h = (h ^ w[k]) * 0x9e3779b97f4a7c15ULL;
	}
	return true;
}

/* pages that are given up are zeroes, and count as that */
static bool walk_balloon(struct dev *d)
{
	volatile uint32_t *pfn = (volatile uint32_t *)head;
	unsigned page = next() % (WORDS * 8 / PAGE);

	if (!start(d, 0, 2))
		return false;
	pfn[0] = (uint32_t)((uintptr_t)AREA / PAGE + page);
	for (unsigned q = 0; q < 2; q++) {
		add(d, q, &(struct piece){ head, 4, false }, 1);
		if (used(d, q, ANSWER_MS) < 0)
			return false;
	}
	h += AREA[page * (PAGE / 8)];
	return true;
}

static bool ask_noise(struct dev *d)
{
	if (!start(d, 0, 1))
		return false;
	add(d, 0, &(struct piece){ noise, 64, true }, 1);
	return used(d, 0, ANSWER_MS) == 64;
}

/* all have the same rings, so each gives them back */
static bool use(uint32_t id, bool (*walk)(struct dev *d))
{
	struct dev d;
	bool good;

	if (!find(&d, id, 0))
		return true;
	good = walk(&d);
	reset(&d);
	return good;
}

static bool stage(unsigned n)
{
	walk_memory();
	if (!use(ID_BLK, walk_disk))
		return false;
	if (n % 8 == 3 && !use(ID_BALLOON, walk_balloon))
		return false;
	return n % 4 || use(ID_RNG, ask_noise);
}

int main(uint64_t info)
{
	(void)info;
	for (unsigned n = 0; n < STAGES; n++) {
		MAILBOX[0] = n + 1;
		if (!stage(n)) {
			print("a device failed at stage ");
			print_number(n);
			print("\n");
			return 1;
		}
	}
	print("chain ");
	print_number(h);
	print("\n");
	return 0;
}
