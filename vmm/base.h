/* base.h - types, errors and small helpers every layer may use (layer 0) */
#ifndef HUTCH_BASE_H
#define HUTCH_BASE_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t gpa_t; /* guest physical address */

#define KiB			   (1ULL << 10)
#define MiB			   (1ULL << 20)
#define GiB			   (1ULL << 30)

#define ARRAY_SIZE(a)		   (sizeof(a) / sizeof((a)[0]))
#define container_of(p, type, mem) ((type *)(void *)((char *)(p)-offsetof(type, mem)))
#define sizeof_field(type, mem)	   sizeof(((type *)0)->mem)

#define printf_like(a, b)	   __attribute__((format(printf, a, b)))
#define must_check		   __attribute__((warn_unused_result))
#define cleanup(fn)		   __attribute__((cleanup(fn)))

#define MIN(a, b)		   ((a) < (b) ? (a) : (b))
#define MAX(a, b)		   ((a) > (b) ? (a) : (b))

/*
 * err() - record a message for the person and return @code (a -errno)
 *
 * Called once, where most is known; callers above return the code as it is.
 * The message says what was wrong, with which value, and what to do.
 */
int err(int code, const char *fmt, ...) printf_like(2, 3);
const char *err_last(void); /* this thread's last message, "" if none */
int err_last_code(void);    /* and its code, 0 if none */
void err_clear(void);

/* BUG_ON() - a mistake of ours; never for what a guest, a file or a host did */
void bug(const char *file, int line, const char *what) __attribute__((noreturn));
#define BUG_ON(cond)                                    \
	do {                                            \
		if (__builtin_expect(!!(cond), 0))      \
			bug(__FILE__, __LINE__, #cond); \
	} while (0)

static inline bool is_pow2(uint64_t v)
{
	return v && !(v & (v - 1));
}

/* round up to a power of two; wraps to 0 at the top, so check the input first */
static inline uint64_t align_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) & ~(to - 1);
}

/* does [off, off + len) lie inside [0, size)? safe for any values */
static inline bool range_fits(uint64_t off, uint64_t len, uint64_t size)
{
	return off <= size && len <= size - off;
}

/* do [a, a + alen) and [b, b + blen) share a byte? ends must not wrap */
static inline bool ranges_overlap(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
	return a < b + blen && b < a + alen;
}

void cleanup_close(int *fd);
void cleanup_freep(void *p);
#define cleanup_fd   cleanup(cleanup_close)
#define cleanup_free cleanup(cleanup_freep)

/* str_copy() - copy @src whole, with its NUL: -E2BIG if @size bytes do not hold it */
int str_copy(char *dst, size_t size, const char *src) must_check;

/* number_parse() - decimal or 0x hexadecimal, whole string: -EINVAL, -ERANGE */
int number_parse(const char *text, uint64_t *ret) must_check;

/*
 * size_parse() - "512M", "4G", "64K", "100B": powers of 1024; only 0 needs no unit
 *
 * A number without a unit is refused: nobody can tell bytes from megabytes.
 * -EINVAL with a message that says so, -ERANGE past 64 bits.
 */
int size_parse(const char *text, uint64_t *ret) must_check;
/*
 * span_parse() - "500ms", "30s", "2m", "1h", "7d", to milliseconds; only 0 needs no unit
 *
 * -EINVAL, -ERANGE with a message, as size_parse().
 */
int span_parse(const char *text, uint64_t *ret_ms) must_check;
/* span_print() - the shortest text span_parse() reads back as @ms */
void span_print(uint64_t ms, char *buf, size_t len);

/* size_print() - the shortest text size_parse() reads back as @v */
void size_print(uint64_t v, char *buf, size_t len);

/*
 * nearest() - which of @names (NULL-terminated) did the writer of @word mean?
 * NULL if none is close.
 */
const char *nearest(const char *word, const char *const *names);

/*
 * thread_start() - a thread of ours
 *
 * The process's signals stay with the caller's threads: it takes none but
 * @also (0: none) and SIGSYS, by which the jail tells what it refuses.  -errno
 */
int thread_start(pthread_t *ret, void *(*fn)(void *arg), void *arg, int also) must_check;

/* nanoseconds of CLOCK_MONOTONIC */
uint64_t now_ns(void);

#endif
