/*
 * fill.c - what takes its time to be packed hard: letters that say nothing; then it counts
 *
 * It prints "filled", and a number every 20 ms from there on, each one more than
 * the one before, so that nobody can take a beginning for a going on.  Between
 * two numbers it looks at a word of what it filled.  It never ends.
 */
#include "lib.h"

int main(uint64_t info);

#define AREA  ((volatile uint64_t *)0x400000)
#define WORDS (3U << 20 >> 3)
#define MADE  (64U << 10 >> 3) /* so many are made, and copied: emulated instructions are slow */

static uint32_t seed = 1;

static uint32_t next(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

static void fill(void)
{
	volatile uint64_t *from = AREA, *to = AREA + MADE;
	uint64_t n = WORDS - MADE;

	for (unsigned i = 0; i < MADE; i++)
		AREA[i] = 0x6161616161616161 ^ (next() & 0x030303) ^
			  (uint64_t)(next() & 0x030303) << 24 ^ (uint64_t)(next() & 0x0303) << 48;
	/* each chunk of 64 KiB is the one before it */
	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

int main(uint64_t info)
{
	struct wait w;

	(void)info;
	fill();
	print("filled\n");
	for (unsigned n = 1;; n++) {
		unsigned at = next() % WORDS;

		if (AREA[at] != AREA[at % MADE]) {
			print("damaged\n");
			return 1;
		}
		w = wait_ms(20);
		while (!wait_over(&w))
			;
		print_number(n);
		print("\n");
	}
}
