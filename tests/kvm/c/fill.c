/*
 * fill.c - fill as many MiB of memory as the argument says, then count for ever
 *
 * Each page begins with its number, and the rest is a text that packs as well as
 * a program does.  The word at MAILBOX is 1 when it is filled, and grows from there.
 */
#include "virtio.h"

int main(uint64_t info);

#define MAILBOX ((volatile uint32_t *)0x60000)
#define AREA	0x1000000ULL
#define CODE	((const void *)0x100000)

int main(uint64_t info)
{
	uint64_t mib = 0, at = AREA, end;

	for (const char *p = ARGUMENTS; *p >= '0' && *p <= '9'; p++)
		mib = mib * 10 + (uint64_t)(*p - '0');
	end = AREA + (mib << 20);
	if (end > memory_end(info))
		end = memory_end(info);
	for (; at < end; at += PAGE) {
		memcpy((void *)at, CODE, PAGE);
		*(volatile uint64_t *)at = at * 0x9e3779b97f4a7c15ULL;
	}
	for (;;)
		MAILBOX[0]++;
}
