/* #syscalls close clock_gettime rt_sigprocmask */
#include <ctype.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base.h"

void cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

void cleanup_freep(void *p)
{
	free(*(void **)p);
}

int str_copy(char *dst, size_t size, const char *src)
{
	size_t len = strlen(src);

	if (len >= size)
		return -E2BIG;
	memcpy(dst, src, len + 1);
	return 0;
}

int number_parse(const char *text, uint64_t *ret)
{
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	unsigned base = hex ? 16 : 10;
	const char *p = hex ? text + 2 : text;
	uint64_t v = 0;

	if (!*p)
		return -EINVAL;
	for (; *p; p++) {
		unsigned digit = isdigit((unsigned char)*p)    ? (unsigned)*p - '0'
				 : isxdigit((unsigned char)*p) ? (*p | 0x20U) - 'a' + 10
							       : 99;

		if (digit >= base)
			return -EINVAL;
		if (__builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, digit, &v))
			return -ERANGE;
	}
	*ret = v;
	return 0;
}

int size_parse(const char *text, uint64_t *ret)
{
	static const char units[] = "BKMGT";
	size_t len = strlen(text);
	const char *unit;
	char digits[24];
	uint64_t v, scale;

	if (!strcmp(text, "0")) {
		*ret = 0;
		return 0;
	}
	if (len < 2 || len > sizeof(digits))
		return err(-EINVAL,
			   "'%.32s' is not a size; write a number and K, M or G, as in 512M", text);
	unit = strchr(units, toupper((unsigned char)text[len - 1]));
	if (strspn(text, "0123456789") == len)
		return err(-EINVAL,
			   "'%s' is not a size: its unit is missing; write K, M or G behind it, as "
			   "in 512M",
			   text);
	memcpy(digits, text, len - 1);
	digits[len - 1] = '\0';
	if (!unit || number_parse(digits, &v))
		return err(-EINVAL,
			   "'%s' is not a size; write a whole number and K, M or G, as in 512M",
			   text);
	scale = 1ULL << 10 * (unit - units);
	if (__builtin_mul_overflow(v, scale, &v))
		return err(-ERANGE, "'%s' does not fit in 64 bits", text);
	*ret = v;
	return 0;
}

void size_print(uint64_t v, char *buf, size_t len)
{
	static const char units[] = "BKMGT";
	int u = 0;

	while (u < 4 && v && !(v % 1024)) {
		v /= 1024;
		u++;
	}
	if (!v)
		snprintf(buf, len, "0");
	else
		snprintf(buf, len, "%lu%c", v, units[u]);
}

size_t utf8_len(const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (s[0] > 0xf4 || n > len)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

static const struct {
	const char *name;
	uint64_t ms;
} span_units[] = {
	{ "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 }
};

int span_parse(const char *text, uint64_t *ret_ms)
{
	size_t n = strspn(text, "0123456789");
	char digits[24];
	uint64_t v;

	if (!strcmp(text, "0")) {
		*ret_ms = 0;
		return 0;
	}
	snprintf(digits, sizeof(digits), "%.*s", (int)MIN(n, sizeof(digits) - 1), text);
	for (unsigned i = 0; n && i < ARRAY_SIZE(span_units); i++) {
		if (strcmp(text + n, span_units[i].name))
			continue;
		if (n >= sizeof(digits) || number_parse(digits, &v) ||
		    __builtin_mul_overflow(v, span_units[i].ms, &v))
			return err(-ERANGE, "'%.40s' is longer than time is counted here", text);
		*ret_ms = v;
		return 0;
	}
	return err(-EINVAL,
		   "'%.32s' is not a time%s; write a whole number and ms, s, m, h or d, as in 30s",
		   text, n && !text[n] ? ": its unit is missing" : "");
}

void span_print(uint64_t ms, char *buf, size_t len)
{
	unsigned i = 0;

	while (i < ARRAY_SIZE(span_units) - 1 && ms % span_units[i].ms)
		i++;
	if (!ms)
		snprintf(buf, len, "0");
	else
		snprintf(buf, len, "%lu%s", ms / span_units[i].ms, span_units[i].name);
}

/* Levenshtein distance, given up past the words' own length */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[48], la = (unsigned)strlen(a), lb = (unsigned)strlen(b);

	if (la >= ARRAY_SIZE(row) || lb >= ARRAY_SIZE(row))
		return 99;
	for (unsigned j = 0; j <= lb; j++)
		row[j] = j;
	for (unsigned i = 1; i <= la; i++) {
		unsigned diag = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= lb; j++) {
			unsigned cost = diag + (a[i - 1] != b[j - 1]);

			diag = row[j];
			row[j] = MIN(cost, MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[lb];
}

const char *nearest(const char *word, const char *const *names)
{
	unsigned limit = (unsigned)strlen(word) / 3 + 1, best = limit + 1;
	const char *found = NULL;

	for (; *names; names++) {
		unsigned d = distance(word, *names);

		if (d < best) {
			best = d;
			found = *names;
		}
	}
	return found;
}

int thread_start(pthread_t *ret, void *(*fn)(void *arg), void *arg, int also)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	sigdelset(&all, SIGSYS);
	if (also)
		sigdelset(&all, also);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(ret, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}
