/*
 * rtc.c - the MC146818 clock and its CMOS bytes
 *
 * Time is the host's UTC plus an offset that the guest may set; it is read in
 * one format only, 24 hours and BCD, as register B says.  No interrupts: Linux
 * uses its own timers for alarms, and firmware polls.  Bytes from 0x0e on are
 * plain memory, where firmware finds the memory sizes.
 *
 * #syscalls time
 */
#include <time.h>

#include "devices.h"

#define CMOS	   128
#define REG_A	   0x0a
#define REG_B	   0x0b
#define REG_C	   0x0c
#define REG_D	   0x0d
#define CENTURY	   0x32
#define A_32KHZ	   0x26 /* divider on, no update in progress: bit 7 stays 0 */
#define B_24H	   0x02
#define B_SET	   0x80 /* the guest is writing the time: it stands still */
#define D_VALID	   0x80

#define OFFSET_MAX 1000000000000LL /* more than BCD years can be away from now */

struct rtc_state {
	int64_t offset; /* seconds from the host's clock */
	uint8_t index;
	uint8_t cmos[CMOS];
	uint8_t zero[7];
};

static const struct field rtc_fields[] = {
	F_UINT(struct rtc_state, offset),
	F_RANGE(struct rtc_state, index, 0, 0xff),
	F_BYTES(struct rtc_state, cmos),
	F_BYTES(struct rtc_state, zero),
	F_END,
};

struct rtc {
	struct dev dev;
	struct rtc_state s;
};

static uint8_t to_bcd(int v)
{
	return (uint8_t)(v / 10 * 16 + v % 10); /* no shift: years may lie before 0 */
}

static int from_bcd(uint8_t v)
{
	return (v >> 4) * 10 + (v & 15);
}

static bool is_time(uint8_t reg)
{
	return reg <= 9 || reg == CENTURY;
}

/* bring the time registers up to date */
static void show_time(struct rtc *p)
{
	time_t t = time(NULL) + p->s.offset;
	struct tm tm;

	if (p->s.cmos[REG_B] & B_SET || !gmtime_r(&t, &tm))
		return;
	p->s.cmos[0] = to_bcd(tm.tm_sec);
	p->s.cmos[2] = to_bcd(tm.tm_min);
	p->s.cmos[4] = to_bcd(tm.tm_hour);
	p->s.cmos[6] = to_bcd(tm.tm_wday + 1);
	p->s.cmos[7] = to_bcd(tm.tm_mday);
	p->s.cmos[8] = to_bcd(tm.tm_mon + 1);
	p->s.cmos[9] = to_bcd(tm.tm_year % 100);
	p->s.cmos[CENTURY] = to_bcd((19 + tm.tm_year / 100) % 100);
}

/* the guest has set the time registers: keep the difference */
static void take_time(struct rtc *p)
{
	const uint8_t *c = p->s.cmos;
	struct tm tm = {
		.tm_sec = from_bcd(c[0]),
		.tm_min = from_bcd(c[2]),
		.tm_hour = from_bcd(c[4] & 0x3f),
		.tm_mday = from_bcd(c[7]),
		.tm_mon = from_bcd(c[8]) - 1,
		.tm_year = from_bcd(c[CENTURY]) * 100 + from_bcd(c[9]) - 1900,
	};

	p->s.offset = (int64_t)timegm(&tm) - (int64_t)time(NULL);
}

static uint64_t rtc_read(struct dev *dev, uint64_t off, unsigned len)
{
	struct rtc *p = container_of(dev, struct rtc, dev);
	uint8_t reg = p->s.index % CMOS;

	if (len != 1)
		return bus_ones(len);
	if (!off)
		return p->s.index;
	if (is_time(reg))
		show_time(p);
	return p->s.cmos[reg];
}

static void rtc_write(struct dev *dev, uint64_t off, unsigned len, uint64_t val)
{
	struct rtc *p = container_of(dev, struct rtc, dev);
	uint8_t reg = p->s.index % CMOS, v = (uint8_t)val;

	if (len != 1)
		return;
	if (!off) {
		p->s.index = v;
		return;
	}
	switch (reg) {
	case REG_A:
		p->s.cmos[REG_A] = v & 0x7f;
		return;
	case REG_B:
		if (p->s.cmos[REG_B] & B_SET && !(v & B_SET))
			take_time(p);
		if (!(p->s.cmos[REG_B] & B_SET) && v & B_SET)
			show_time(p);		       /* what it does not write stays */
		p->s.cmos[REG_B] = (v & 0xf8) | B_24H; /* BCD and 24 hours are not negotiable */
		return;
	case REG_C:
	case REG_D:
		return;
	}
	if (is_time(reg)) {
		show_time(p);
		p->s.cmos[reg] = v;
		if (!(p->s.cmos[REG_B] & B_SET))
			take_time(p);
		return;
	}
	p->s.cmos[reg] = v;
}

static const struct bus_ops rtc_ops = { rtc_read, rtc_write };

static void rtc_reset(struct dev *dev)
{
	struct rtc *p = container_of(dev, struct rtc, dev);

	p->s.index = 0; /* the clock and the bytes are battery-backed: they stay */
	p->s.cmos[REG_A] = A_32KHZ;
	p->s.cmos[REG_B] = B_24H;
	p->s.cmos[REG_C] = 0;
	p->s.cmos[REG_D] = D_VALID;
}

/* where UEFI firmware finds the memory sizes when it has no better source */
static void tell_memory(struct rtc *p, const struct gmem *mem)
{
	uint64_t low = mem->n ? mem->slot[0].len : 0, high = mem->n > 1 ? mem->slot[1].len : 0;
	uint64_t low64k = low > 16 * MiB ? (low - 16 * MiB) >> 16 : 0, high64k = high >> 16;

	memcpy(p->s.cmos + 0x34, &low64k, 2);
	memcpy(p->s.cmos + 0x5b, &high64k, 3);
}

static int rtc_create(struct dev *dev, const void *conf)
{
	struct rtc *p = container_of(dev, struct rtc, dev);
	const struct dev_place *place = conf;

	DEV_PART(dev, "rtc", rtc_fields, &p->s);
	rtc_reset(dev);
	tell_memory(p, dev->m->mem);
	return bus_add(dev->m->bus, BUS_PORT, place->base, 2, dev, &rtc_ops);
}

static int rtc_loaded(struct dev *dev)
{
	struct rtc *p = container_of(dev, struct rtc, dev);

	if (p->s.offset > OFFSET_MAX || p->s.offset < -OFFSET_MAX)
		return err(-EINVAL, "snapshot: %s: its clock is %ld seconds away from the host's",
			   dev->name, p->s.offset);
	p->s.cmos[REG_B] = (p->s.cmos[REG_B] & 0xf8) | B_24H;
	return 0;
}

const struct dev_type rtc_type = {
	.name = "rtc",
	.size = sizeof(struct rtc),
	.create = rtc_create,
	.reset = rtc_reset,
	.loaded = rtc_loaded,
};
