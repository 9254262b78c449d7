/*
 * inflate.c - fill 32 MiB, then follow the balloon's target with them, until it is 0 again
 *
 * Prints "full", "given" when the target is reached, and "done", or the line
 * where something was wrong.
 */
#include "virtio.h"

int main(uint64_t info);

#define FIRST	  (16U << 20)
#define PAGES	  8192
#define LIST	  1024
#define TARGET_MS 4000

static _Alignas(PAGE) uint32_t list[LIST];

#define TRY(cond)                        \
	do {                             \
		if (!(cond))             \
			return __LINE__; \
	} while (0)

/* pages [from, to) into queue @q; every other list is backwards */
static int move(struct dev *d, unsigned q, uint32_t from, uint32_t to)
{
	while (from < to) {
		uint32_t n = to - from < LIST ? to - from : LIST;

		for (uint32_t i = 0; i < n; i++)
			list[i] = FIRST / PAGE + (from / LIST & 1 ? from + n - 1 - i : from + i);
		add(d, q, &(struct piece){ list, n * 4, false }, 1);
		TRY(used(d, q, TARGET_MS) == 0);
		from += n;
	}
	return 0;
}

static uint32_t target(struct dev *d)
{
	return config(d, 0);
}

static int follow(struct dev *d)
{
	uint32_t n;

	TRY(start(d, 0, 2));
	while (!target(d))
		;
	n = target(d);
	TRY(n <= PAGES);
	TRY(!move(d, 0, 0, n));
	set_config(d, 4, n);
	print("given\n");
	while (target(d))
		;
	TRY(!move(d, 1, 0, n));
	set_config(d, 4, 0);
	for (uint32_t i = 0; i < PAGES; i += 64)
		TRY(*(volatile uint32_t *)(uintptr_t)(FIRST + i * PAGE) == (i < n ? 0 : i + 1));
	return 0;
}

int main(uint64_t info)
{
	struct dev d;
	int line = __LINE__;

	(void)info;
	for (uint32_t i = 0; i < PAGES; i++)
		*(volatile uint32_t *)(uintptr_t)(FIRST + i * PAGE) = i + 1;
	print("full\n");
	if (find(&d, ID_BALLOON, 0))
		line = follow(&d);
	if (line) {
		print("failed at line ");
		print_number((unsigned)line);
		print("\n");
	}
	print("done\n");
	return 0;
}
