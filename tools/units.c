/* units.c - durations, sizes and times as people write them */
/* #syscalls:caller clock_gettime */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "tool.h"
#include "units.h"

struct unit {
	const char *name;
	uint64_t scale;
};

static const struct unit time_units[] = {
	{ "ms", 1 },	  { "s", 1000 },     { "m", 60000 },
	{ "h", 3600000 }, { "d", 86400000 }, { NULL, 0 },
};

static const struct unit size_units[] = {
	{ "B", 1 },	  { "K", 1 << 10 },    { "M", 1 << 20 },
	{ "G", 1 << 30 }, { "T", 1ULL << 40 }, { NULL, 0 },
};

/* a whole number and a unit: -EINVAL, -ERANGE; *@bare if only the unit is missing */
static int scaled(const char *text, const struct unit *units, bool *bare, uint64_t *ret)
{
	size_t digits = strspn(text, "0123456789");
	uint64_t v = 0;

	*bare = digits && !text[digits];
	for (size_t i = 0; i < digits; i++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(text[i] - '0'), &v))
			return -ERANGE;
	for (const struct unit *u = units; digits && u->name; u++) {
		if (strcasecmp(text + digits, u->name))
			continue;
		if (__builtin_mul_overflow(v, u->scale, &v) || v > INT64_MAX)
			return -ERANGE;
		*ret = v;
		return 0;
	}
	if (!*bare || v)
		return -EINVAL;
	*ret = 0;
	return 0;
}

int duration_parse(const char *flag, const char *text, uint64_t *ret_ms)
{
	bool bare;
	int r = scaled(text, time_units, &bare, ret_ms);

	if (r == -ERANGE)
		complain("%s: '%s' is too long", flag, text);
	else if (r && bare)
		complain("%s: '%s' has no unit; write %sms, %ss, %sm or %sh", flag, text, text,
			 text, text, text);
	else if (r)
		complain("%s: '%s' is not a duration; write a whole number and ms, s, m or h, as "
			 "in 500ms or 30s",
			 flag, text);
	return r;
}

int size_value(const char *flag, const char *text, uint64_t *ret)
{
	bool bare;
	int r = scaled(text, size_units, &bare, ret);

	if (r == -ERANGE)
		complain("%s: '%s' is too large", flag, text);
	else if (r && bare)
		complain("%s: '%s' has no unit; write %sK, %sM or %sG", flag, text, text, text,
			 text);
	else if (r)
		complain("%s: '%s' is not a size; write a whole number and K, M or G, as in 512M",
			 flag, text);
	return r;
}

void duration_print(uint64_t ms, char *buf, size_t size)
{
	static const unsigned most[] = { 1000, 120, 120, 48, UINT32_MAX };
	unsigned i = 0;

	while (time_units[i + 1].name && ms / time_units[i].scale >= most[i])
		i++;
	snprintf(buf, size, "%lu%s", (unsigned long)(ms / time_units[i].scale), time_units[i].name);
}

uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t realtime_ms(void)
{
	return clock_ns(CLOCK_REALTIME) / 1000000;
}

uint64_t monotonic_ms(void)
{
	return clock_ns(CLOCK_MONOTONIC) / 1000000;
}

void time_print(uint64_t ms, char buf[TIME_TEXT])
{
	time_t t = (time_t)(ms / 1000);
	struct tm tm;

	gmtime_r(&t, &tm);
	snprintf(buf + strftime(buf, TIME_TEXT, "%Y-%m-%dT%H:%M:%S", &tm), 8, ".%03uZ",
		 (unsigned)(ms % 1000));
}

const char *bytes_print(uint64_t bytes, char *buf, size_t size)
{
	if (bytes < 10 << 20)
		snprintf(buf, size, "%lu KiB", (unsigned long)(bytes >> 10));
	else
		snprintf(buf, size, "%.1f MiB", (double)bytes / (1 << 20));
	return buf;
}
