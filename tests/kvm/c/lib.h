/*
 * lib.h - what a flat guest in C stands on
 *
 * Plain integer code in long mode, memory mapped one to one up to 4 GiB, one
 * CPU, interrupts off: this runs on any /dev/kvm, also where KVM emulates
 * supervisor code instruction by instruction.  So no SSE, no locked cmpxchg, and whoever
 * waits polls.  What is printed is kept in low memory as well, with a NUL, for a
 * guest whose serial port leads nowhere.
 */
#ifndef HUTCH_FLAT_LIB_H
#define HUTCH_FLAT_LIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COM1	  0x3f8
#define PM1	  0x600 /* status, and enable behind it */
#define PM1_CNT	  0x604
#define PM_TMR	  0x608
#define PM_HZ	  3579545
#define ARGUMENTS ((const char *)0x20000)
#define PAGE	  4096
#define SAID	  ((char *)0x80000) /* BUFFER of flat.h */
#define SAID_MAX  8192U

static unsigned said_len;

static inline void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static inline void outw(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port));
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

/* a full fence: mfence is not an instruction that every emulator knows */
static inline void fence(void)
{
	__asm__ volatile("lock; addl $0, (%%rsp)" : : : "memory", "cc");
}

/* the compiler may call these by itself */
void *memset(void *to, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n);

void *memset(void *to, int c, size_t n)
{
	void *p = to;

	__asm__ volatile("rep stosb" : "+D"(p), "+c"(n) : "a"(c) : "memory");
	return to;
}

void *memcpy(void *to, const void *from, size_t n)
{
	void *p = to;

	__asm__ volatile("rep movsb" : "+D"(p), "+S"(from), "+c"(n) : : "memory");
	return to;
}

static void print(const char *text)
{
	for (; *text; text++) {
		outb(COM1, (uint8_t)*text);
		if (said_len < SAID_MAX - 1)
			SAID[said_len++] = *text;
	}
	SAID[said_len] = '\0';
}

static inline void print_number(uint64_t v)
{
	char buf[24];
	unsigned i = sizeof(buf);

	buf[--i] = '\0';
	do {
		buf[--i] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	print(buf + i);
}

/* milliseconds to a deadline, on the ACPI timer of 24 bits: at most 4 s */
struct wait {
	uint32_t start, ticks;
};

static inline struct wait wait_ms(uint32_t ms)
{
	return (struct wait){ inl(PM_TMR), ms * (PM_HZ / 1000) };
}

static inline bool wait_over(const struct wait *w)
{
	return ((inl(PM_TMR) - w->start) & 0xffffff) >= w->ticks;
}

/* the end of the memory below 4 GiB, from the PVH start info */
static inline uint64_t memory_end(uint64_t info)
{
	const uint64_t *map = (const uint64_t *)*(const uint64_t *)(info + 40);
	uint32_t n = *(const uint32_t *)(info + 48);
	uint64_t end = 0;

	for (; n--; map += 3)
		if ((uint32_t)map[2] == 1 && map[0] < 1ULL << 32)
			end = map[0] + map[1];
	return end;
}

#endif
