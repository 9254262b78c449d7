/*
 * t_board - clock, keyboard controller, ACPI registers and pvpanic, in what the contract does not
 * ask
 */
#include <time.h>
#include <unistd.h>

#include "contract.h"
#include "devices.h"
#include "suite.h"

#define RTC   0x70
#define I8042 0x60
#define PM    0x600
#define RESET 0xcf9
#define PANIC 0x505

static struct subject *new_subject(const struct dev_type *type)
{
	const struct contract_case c = { type, WIRE_BOARD };

	return subject_new(&c);
}

static uint64_t in(struct subject *x, uint64_t port, unsigned len)
{
	return bus_read(&x->f->bus, BUS_PORT, port, len);
}

static void out(struct subject *x, uint64_t port, unsigned len, uint64_t v)
{
	bus_write(&x->f->bus, BUS_PORT, port, len, v);
}

/* --- the clock --- */

static uint8_t cmos(struct subject *x, uint8_t reg)
{
	out(x, RTC, 1, reg);
	return (uint8_t)in(x, RTC + 1, 1);
}

static void set_cmos(struct subject *x, uint8_t reg, uint8_t v)
{
	out(x, RTC, 1, reg);
	out(x, RTC + 1, 1, v);
}

static int bcd(uint8_t v)
{
	return (v >> 4) * 10 + (v & 15);
}

/* what the registers show, as seconds; read twice, for a second may end in between */
static time_t read_clock(struct subject *x)
{
	struct tm tm;
	time_t t, again = 0;

	do {
		t = again;
		tm = (struct tm){
			.tm_sec = bcd(cmos(x, 0)),
			.tm_min = bcd(cmos(x, 2)),
			.tm_hour = bcd(cmos(x, 4)),
			.tm_mday = bcd(cmos(x, 7)),
			.tm_mon = bcd(cmos(x, 8)) - 1,
			.tm_year = bcd(cmos(x, 0x32)) * 100 + bcd(cmos(x, 9)) - 1900,
		};
		again = timegm(&tm);
	} while (t != again);
	return t;
}

static void set_clock(struct subject *x, time_t t)
{
	struct tm tm;

	gmtime_r(&t, &tm);
	set_cmos(x, 0x0b, 0x82);
	set_cmos(x, 0, (uint8_t)(tm.tm_sec / 10 * 16 + tm.tm_sec % 10));
	set_cmos(x, 2, (uint8_t)(tm.tm_min / 10 * 16 + tm.tm_min % 10));
	set_cmos(x, 4, (uint8_t)(tm.tm_hour / 10 * 16 + tm.tm_hour % 10));
	set_cmos(x, 7, (uint8_t)(tm.tm_mday / 10 * 16 + tm.tm_mday % 10));
	set_cmos(x, 8, (uint8_t)((tm.tm_mon + 1) / 10 * 16 + (tm.tm_mon + 1) % 10));
	set_cmos(x, 9, (uint8_t)(tm.tm_year % 100 / 10 * 16 + tm.tm_year % 10));
	set_cmos(x, 0x32,
		 (uint8_t)((1900 + tm.tm_year) / 1000 * 16 + (1900 + tm.tm_year) / 100 % 10));
	set_cmos(x, 0x0b, 0x02);
}

START_TEST(clock_shows_utc)
{
	struct subject *x = new_subject(&rtc_type);
	time_t now = time(NULL);
	struct tm tm;

	ck_assert_int_le(labs(read_clock(x) - now), 2);
	gmtime_r(&now, &tm);
	if (tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec < 86390) /* not around midnight */
		ck_assert_int_eq(bcd(cmos(x, 6)), tm.tm_wday + 1);
	ck_assert_uint_eq(cmos(x, 0x0a), 0x26);
	ck_assert_uint_eq(cmos(x, 0x0b), 0x02);
	ck_assert_uint_eq(cmos(x, 0x0d), 0x80);
	subject_free(x);
}
END_TEST

START_TEST(clock_is_set)
{
	static const time_t times[] = { 0, 951782399, 4102444799, 946684799 };
	struct subject *x = new_subject(&rtc_type);

	for (unsigned i = 0; i < ARRAY_SIZE(times); i++) {
		set_clock(x, times[i]);
		ck_assert_int_le(labs(read_clock(x) - times[i]), 2);
		subject_reset(x); /* it runs on a battery */
		ck_assert_int_le(labs(read_clock(x) - times[i]), 2);
	}
	/* one register by itself, while it runs */
	set_clock(x, 86400 * 365);
	set_cmos(x, 4, 0x11);
	ck_assert_int_le(labs(read_clock(x) - (86400 * 365 + 11 * 3600)), 2);
	subject_free(x);
}
END_TEST

START_TEST(clock_stands_while_it_is_set)
{
	struct subject *x = new_subject(&rtc_type);

	set_cmos(x, 0x0b, 0x82);
	set_cmos(x, 0, 0x33);
	usleep(1100000);
	ck_assert_uint_eq(cmos(x, 0), 0x33);
	set_cmos(x, 0x0b, 0x02);
	subject_free(x);
}
END_TEST

/* any bytes in the time registers, some of them no BCD */
START_TEST(clock_takes_nonsense)
{
	struct subject *x = new_subject(&rtc_type);
	uint32_t seed = 9;

	for (unsigned i = 0; i < 20000; i++) {
		set_cmos(x, (uint8_t)(fake_random(&seed) % 3 ? fake_random(&seed) % 12 : 0x32),
			 (uint8_t)fake_odd(&seed));
		cmos(x, (uint8_t)fake_random(&seed));
	}
	set_clock(x, 1000000000);
	ck_assert_int_le(labs(read_clock(x) - 1000000000), 2);
	subject_free(x);
}
END_TEST

START_TEST(cmos_tells_memory)
{
	struct subject *x = new_subject(&rtc_type);

	/* 64 KiB below, and 16 KiB that is taken for what lies above */
	ck_assert_uint_eq(cmos(x, 0x34) | cmos(x, 0x35), 0);
	ck_assert_uint_eq(cmos(x, 0x5b) | cmos(x, 0x5c) | cmos(x, 0x5d), 0);
	set_cmos(x, 0x7f, 0x12);
	ck_assert_uint_eq(cmos(x, 0xff), 0x12); /* bit 7 is the NMI's */
	subject_free(x);
}
END_TEST

/* --- what ends the machine --- */

static void check_event(struct subject *x, int event, unsigned count)
{
	ck_assert_uint_eq(x->f->events, count);
	if (count)
		ck_assert_int_eq(x->f->event, event);
	x->f->events = 0;
}

START_TEST(keyboard_reset)
{
	struct subject *x = new_subject(&i8042_type);

	ck_assert_uint_eq(in(x, I8042 + 4, 1), 0); /* never busy */
	for (unsigned v = 0; v < 256; v++) {
		out(x, I8042 + 4, 1, v);
		check_event(x, MACHINE_REBOOT, v == 0xfe);
		out(x, I8042, 1, v);
	}
	out(x, I8042 + 4, 2, 0xfe);
	out(x, I8042 + 4, 4, 0xfe);
	check_event(x, 0, 0);
	subject_free(x);
}
END_TEST

START_TEST(panic_port)
{
	struct subject *x = new_subject(&pvpanic_type);

	ck_assert_uint_eq(in(x, PANIC, 1), 1);
	for (unsigned v = 0; v < 256; v++) {
		out(x, PANIC, 1, v);
		check_event(x, MACHINE_PANIC, v & 1);
	}
	out(x, PANIC, 2, 1);
	check_event(x, 0, 0);
	subject_free(x);
}
END_TEST

START_TEST(power_off)
{
	struct subject *x = new_subject(&acpi_pm_type);

	for (unsigned bit = 0; bit < 16; bit++) {
		out(x, PM + 4, 2, 1U << bit);
		check_event(x, MACHINE_POWEROFF, bit == 13);
	}
	for (unsigned v = 0; v < 256; v++) {
		out(x, RESET, 1, v);
		check_event(x, MACHINE_REBOOT, v >> 2 & 1);
		ck_assert_uint_eq(in(x, RESET, 1), v & 0xfb);
	}
	subject_free(x);
}
END_TEST

START_TEST(pm_registers)
{
	struct subject *x = new_subject(&acpi_pm_type);

	ck_assert_uint_eq(in(x, PM + 4, 2), 1); /* ACPI is on from the start */
	out(x, PM + 2, 2, 0xbeef);
	ck_assert_uint_eq(in(x, PM + 2, 2), 0xbeef);
	ck_assert_uint_eq(in(x, PM, 4), 0xbeef0000);
	out(x, PM, 4, 0x1234ffff);
	ck_assert_uint_eq(in(x, PM + 2, 2), 0x1234);
	ck_assert_uint_eq(in(x, PM, 2), 0);
	ck_assert_uint_eq(in(x, PM + 3, 1), 0x12);
	subject_free(x);
}
END_TEST

/* the guest is interrupted by a button it has enabled, until it says that it has seen it */
START_TEST(power_button)
{
	struct subject *x = new_subject(&acpi_pm_type);
	bool *sci = &x->f->level[CONTRACT_GSI];

	ck_assert_int_eq(acpi_pm_power_button(x->dev), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(err_last(), "does not listen"));
	ck_assert_uint_eq(in(x, PM, 2), 0);
	out(x, PM + 2, 2, 0x100);
	ck_assert(!*sci);
	ck_assert_int_eq(acpi_pm_power_button(x->dev), 0);
	ck_assert(*sci);
	ck_assert_uint_eq(in(x, PM, 2), 0x100);
	out(x, PM, 2, 0xfeff); /* other bits do not clear it */
	ck_assert(*sci);
	out(x, PM + 2, 2, 0); /* masked, as a handler does for a while */
	ck_assert(!*sci);
	ck_assert_uint_eq(in(x, PM, 2), 0x100);
	out(x, PM + 2, 2, 0x100);
	ck_assert(*sci);
	out(x, PM, 2, 0x100);
	ck_assert(!*sci);
	ck_assert_uint_eq(in(x, PM, 2), 0);
	ck_assert_uint_eq(x->f->rises[CONTRACT_GSI], 2);

	/* pressed, and the machine starts over */
	ck_assert_int_eq(acpi_pm_power_button(x->dev), 0);
	subject_reset(x);
	ck_assert(!*sci);
	ck_assert_uint_eq(in(x, PM, 4), 0);
	/* not in ACPI mode: nobody could tell the guest */
	out(x, PM + 2, 2, 0x100);
	out(x, PM + 4, 2, 0);
	ck_assert_int_eq(acpi_pm_power_button(x->dev), -ENOTSUP);
	subject_free(x);
}
END_TEST

/* a guest that did not listen yet learns it when it does */
START_TEST(generation)
{
	struct subject *x = new_subject(&acpi_pm_type);
	bool *sci = &x->f->level[CONTRACT_GSI];

	acpi_pm_generation(x->dev);
	ck_assert(!*sci);
	ck_assert_uint_eq(in(x, PM + 12, 1), 1);
	out(x, PM + 13, 1, 0xfe);
	ck_assert(!*sci);
	out(x, PM + 13, 1, 0xff);
	ck_assert(*sci);
	ck_assert_uint_eq(in(x, PM + 12, 2), 0xff01);
	out(x, PM + 13, 1, 0); /* masked */
	ck_assert(!*sci);
	out(x, PM + 12, 2, 0x01fe); /* other bits do not clear it */
	ck_assert(*sci);
	ck_assert_uint_eq(in(x, PM, 4), 0); /* nobody pressed a button */
	out(x, PM + 4, 2, 0);
	ck_assert(!*sci);
	out(x, PM + 4, 2, 1);
	ck_assert(*sci);
	out(x, PM + 12, 1, 1);
	ck_assert(!*sci);
	acpi_pm_generation(x->dev);
	acpi_pm_generation(x->dev);
	ck_assert(*sci);
	subject_reset(x);
	ck_assert(!*sci);
	ck_assert_uint_eq(in(x, PM + 12, 2), 0);
	subject_free(x);
}
END_TEST

/* 3.58 MHz, and standing still while the machine does; bounds hold however slow the host is */
START_TEST(pm_timer)
{
	struct subject *x = new_subject(&acpi_pm_type);
	uint64_t before_a = now_ns(), after_a, before_b, after_b, paused, all;
	uint32_t a, b;

	a = (uint32_t)in(x, PM + 8, 4);
	after_a = now_ns();
	usleep(200000);
	before_b = now_ns();
	b = (uint32_t)in(x, PM + 8, 4);
	after_b = now_ns();
	ck_assert_uint_ge(b - a, (before_b - after_a) / 1000 * 3579 / 1000);
	ck_assert_uint_le(b - a, (after_b - before_a) / 1000 * 3580 / 1000 + 2);
	dev_drain(x->dev);
	paused = now_ns();
	usleep(200000);
	paused = now_ns() - paused;
	dev_resume(x->dev);
	a = (uint32_t)in(x, PM + 8, 4);
	all = now_ns() - after_b;
	ck_assert_uint_le(a - b, (all - paused) / 1000 * 3580 / 1000 + 4000);
	subject_free(x);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("board");
	TCase *t = tcase_create("board");

	tcase_set_timeout(t, 30);
	tcase_add_test(t, clock_shows_utc);
	tcase_add_test(t, clock_is_set);
	tcase_add_test(t, clock_stands_while_it_is_set);
	tcase_add_test(t, clock_takes_nonsense);
	tcase_add_test(t, cmos_tells_memory);
	tcase_add_test(t, keyboard_reset);
	tcase_add_test(t, panic_port);
	tcase_add_test(t, power_off);
	tcase_add_test(t, pm_registers);
	tcase_add_test(t, power_button);
	tcase_add_test(t, generation);
	tcase_add_test(t, pm_timer);
	suite_add_tcase(s, t);
	return suite_run(s);
}
