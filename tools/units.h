/* units.h - durations, sizes and times as people write them (layer 6) */
#ifndef HUTCH_UNITS_H
#define HUTCH_UNITS_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/*
 * duration_parse() - "500ms", "30s", "2m", "1h": milliseconds; only 0 needs no unit
 *
 * @flag is named in complaints: -EINVAL, -ERANGE past 292 years.
 */
int duration_parse(const char *flag, const char *text, uint64_t *ret_ms);
/* "850ms", "12s", "3m", "5h", "9d": two digits tell enough of an age */
void duration_print(uint64_t ms, char *buf, size_t size);
/* "512 KiB", "12.3 MiB", for people */
const char *bytes_print(uint64_t bytes, char *buf, size_t size);
/* "512M", "4G", "64K", "100B", as everywhere in hutch; complaints as above */
int size_value(const char *flag, const char *text, uint64_t *ret);

uint64_t clock_ns(clockid_t clock);
uint64_t realtime_ms(void);
uint64_t monotonic_ms(void);
/* "2026-01-31T23:59:59.123Z", which sorts as text */
#define TIME_TEXT 32
void time_print(uint64_t ms, char buf[TIME_TEXT]);

#endif
