/* log.c - err() and the log: the library's only state outside a handle */
/* #syscalls write clock_gettime */
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define ERR_MAX	  1024
#define CODE_MAX  32
#define UTF8_MOST 4		  /* a NUL ends a text within any of its characters */
#define TAIL	  (CODE_MAX + 32) /* room for what stands behind a message in JSON */

struct output {
	atomic_int fd;	  /* -1: nowhere */
	atomic_bool torn; /* a full disk took a part of a line: the next begins behind its end */
};

static struct output log_main = { .fd = STDERR_FILENO }, log_second = { .fd = -1 };
static bool log_json;
static enum log_level log_most = LOG_INFO;
static char log_id[LOG_ID], log_name[LOG_NAME];
static atomic_bool lost; /* a line could not be written, which is told once */
static _Thread_local char last_error[ERR_MAX];
static _Thread_local int last_code;

int err(int code, const char *fmt, ...)
{
	char line[ERR_MAX];
	va_list ap;

	/* formatted aside: an argument may be err_last() itself */
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	memcpy(last_error, line, sizeof(line));
	last_code = code;
	return code;
}

const char *err_last(void)
{
	return last_error;
}

int err_last_code(void)
{
	return last_code;
}

void err_clear(void)
{
	last_code = 0;
	last_error[0] = '\0';
}

void log_setup(int fd, enum log_level most)
{
	log_main.fd = fd;
	log_most = most;
}

void log_to(int fd, bool json)
{
	log_main.fd = fd;
	log_json = json;
}

void log_copy(int fd)
{
	log_second.fd = fd;
}

void log_about(const char *id, const char *name)
{
	if (id)
		snprintf(log_id, sizeof(log_id), "%s", id);
	if (name)
		snprintf(log_name, sizeof(log_name), "%s", name);
}

/* --- a line being made --- */

struct line {
	char buf[1 + LOG_LINE]; /* the first byte is for a line that was torn before it */
	size_t len, most;
};

/* all of it or nothing */
static bool put_bytes(struct line *l, const char *p, size_t len)
{
	if (len > l->most - l->len)
		return false;
	memcpy(l->buf + l->len, p, len);
	l->len += len;
	return true;
}

static bool put(struct line *l, const char *text)
{
	return put_bytes(l, text, strlen(text));
}

static void put_number(struct line *l, uint64_t v, unsigned digits)
{
	char text[20];

	for (unsigned i = digits; i--; v /= 10)
		text[i] = (char)('0' + v % 10);
	put_bytes(l, text, digits);
}

/* RFC 3339, as time_print() of the command; gmtime() takes locks and looks for files */
static void put_time(struct line *l)
{
	struct timespec t = { 0 };
	uint64_t day, era, year, doy, month;

	clock_gettime(CLOCK_REALTIME, &t);
	/* days since 0000-03-01; each era is 400 years, each year begins in March */
	day = (uint64_t)t.tv_sec / 86400 + 719468;
	era = day / 146097;
	day %= 146097;
	year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	doy = day - (365 * year + year / 4 - year / 100);
	month = (5 * doy + 2) / 153;
	put_number(l, era * 400 + year + (month >= 10), 4);
	put(l, "-");
	put_number(l, month < 10 ? month + 3 : month - 9, 2);
	put(l, "-");
	put_number(l, doy - (153 * month + 2) / 5 + 1, 2);
	put(l, "T");
	put_number(l, (uint64_t)t.tv_sec / 3600 % 24, 2);
	put(l, ":");
	put_number(l, (uint64_t)t.tv_sec / 60 % 60, 2);
	put(l, ":");
	put_number(l, (uint64_t)t.tv_sec % 60, 2);
	put(l, ".");
	put_number(l, (uint64_t)t.tv_nsec / 1000000, 3);
	put(l, "Z");
}

static bool is_control(const char *s, size_t n)
{
	return (unsigned char)*s < 0x20 || *s == 0x7f ||
	       (n == 2 && *s == (char)0xc2 && (unsigned char)s[1] < 0xa0);
}

/* false: it was cut */
static bool put_json(struct line *l, const char *s)
{
	static const char hex[] = "0123456789abcdef";
	size_t n;

	for (; *s; s += n ? n : 1) {
		char one[8] = "\\u00";

		n = utf8_len(s, UTF8_MOST);
		if (!n) {
			if (!put(l, "\\ufffd"))
				return false;
		} else if (is_control(s, n)) {
			one[4] = hex[(unsigned char)s[n - 1] >> 4];
			one[5] = hex[s[n - 1] & 15];
			if (!put_bytes(l, one, 6))
				return false;
		} else if (*s == '"' || *s == '\\') {
			one[1] = *s;
			if (!put_bytes(l, one, 2))
				return false;
		} else if (!put_bytes(l, s, n)) {
			return false;
		}
	}
	return true;
}

/* for a terminal, or one who reads lines */
static bool put_clean(struct line *l, const char *s)
{
	static const char hex[] = "0123456789abcdef";
	size_t n;

	for (; *s; s += n) {
		char one[4] = { '\\', 'x', hex[(unsigned char)*s >> 4], hex[*s & 15] };

		n = utf8_len(s, UTF8_MOST);
		if (n && !is_control(s, n)) {
			if (!put_bytes(l, s, n))
				return false;
			continue;
		}
		n = 1;
		if (!put_bytes(l, one, sizeof(one)))
			return false;
	}
	return true;
}

/* "E_KVM" of "error 125 E_KVM: ...", which ends with a NUL; "" if there is none */
static void find_code(const char *text, char ret[CODE_MAX])
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_";
	const char *at = text;
	size_t n;

	ret[0] = '\0';
	for (; (at = strstr(at, "E_")); at += n) {
		n = strspn(at, letters);
		if (n <= 2 || n >= CODE_MAX || at[n] != ':' || (at != text && at[-1] != ' '))
			continue;
		memcpy(ret, at, n);
		ret[n] = '\0';
		return;
	}
}

static void begin(struct line *l)
{
	l->buf[0] = '\n';
	l->len = 1;
	l->most = sizeof(l->buf) - TAIL;
}

/* what happened, for a program that reads it */
struct event {
	const char *name;
	const char *members; /* JSON: ",\"key\":..." */
};

static void put_event(struct line *l, const struct event *event)
{
	size_t most = l->most;

	put(l, "\",\"event\":\"");
	put(l, event->name);
	put(l, "\"");
	/* each is whole or they are not there, and there is room for what has to stand behind */
	l->most = most - (sizeof("\"msg\":") + 2);
	put(l, event->members);
	l->most = most;
	put(l, ",\"msg\":\"");
}

/* @event may be NULL */
static void make_json(struct line *l, enum log_level level, const struct event *event,
		      const char *text)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };
	char code[CODE_MAX];
	bool whole;

	begin(l);
	put(l, "{\"ts\":\"");
	put_time(l);
	put(l, "\",\"level\":\"");
	put(l, names[level]);
	if (log_id[0]) {
		put(l, "\",\"id\":\"");
		put_json(l, log_id);
	}
	if (log_name[0]) {
		put(l, "\",\"name\":\"");
		put_json(l, log_name);
	}
	if (event)
		put_event(l, event);
	else
		put(l, "\",\"msg\":\"");
	whole = put_json(l, text);
	l->most = sizeof(l->buf);
	find_code(text, code);
	if (code[0]) {
		put(l, "\",\"code\":\"");
		put(l, code);
	}
	put(l, whole ? "\"}\n" : "\",\"cut\":true}\n");
}

static void make_text(struct line *l, enum log_level level, int fd, bool tag, const char *text)
{
	static const char *const tags[] = { "error: ", "warning: ", "", "" };
	bool alone = fd == STDERR_FILENO; /* whoever reads it knows when it was and whose it is */
	bool whole;

	begin(l);
	if (!alone) {
		put_time(l);
		put(l, " ");
	}
	put(l, "hutch");
	if (!alone && log_id[0]) {
		put(l, "[");
		put_clean(l, log_id);
		put(l, "]");
	}
	put(l, ": ");
	put(l, tag ? tags[level] : "");
	whole = put_clean(l, text);
	l->most = sizeof(l->buf);
	put(l, whole ? "\n" : "...\n");
}

/* --- and written --- */

/* 0, or why it is not all there; a log that cannot be written must not end or stall the machine */
static int write_line(struct output *o, const struct line *l)
{
	size_t skip = atomic_exchange(&o->torn, false) ? 0 : 1, len = l->len - skip;
	ssize_t n = write(o->fd, l->buf + skip, len);

	if (n == (ssize_t)len)
		return 0;
	if (n > 0 || !skip)
		atomic_store(&o->torn, true);
	return n < 0 ? errno : ENOSPC;
}

/* once, where it can be told */
static void tell_lost(const struct output *o, int error)
{
	static const char plain[] = "the log cannot be written, and lines of it are lost: ";
	static struct output tell = { .fd = STDERR_FILENO };
	const char *why = strerrordesc_np(error);
	char text[sizeof(plain) + 80];
	struct line l;
	size_t n;

	if (o->fd == STDERR_FILENO || atomic_exchange(&lost, true))
		return;
	why = why ? why : "an error of no known name";
	n = MIN(strlen(why), sizeof(text) - sizeof(plain));
	memcpy(text, plain, sizeof(plain) - 1);
	memcpy(text + sizeof(plain) - 1, why, n);
	text[sizeof(plain) - 1 + n] = '\0';
	if (log_json)
		make_json(&l, LOG_WARN, NULL, text);
	else
		make_text(&l, LOG_WARN, tell.fd, true, text);
	write_line(&tell, &l);
}

/* @event NULL: a text is all there is; an event is told where lines are JSON */
static void emit(enum log_level level, bool tag, const struct event *event, const char *text)
{
	struct line l;
	int r = 0;

	if (log_main.fd >= 0 && (log_json || !event)) {
		if (log_json)
			make_json(&l, level, event, text);
		else
			make_text(&l, level, log_main.fd, tag, text);
		r = write_line(&log_main, &l);
	}
	if (r)
		tell_lost(&log_main, r);
	if (log_second.fd < 0)
		return;
	make_json(&l, level, event, text);
	r = write_line(&log_second, &l);
	if (r)
		tell_lost(&log_second, r);
}

void log_text(enum log_level level, const char *text)
{
	if (level <= log_most)
		emit(level, false, NULL, text);
}

void log_event(enum log_level level, const char *name, const char *members, const char *text)
{
	const struct event event = { name, members };

	if (level <= log_most)
		emit(level, false, &event, text);
}

void log_text_to(int fd, enum log_level level, const char *text)
{
	struct output o = { .fd = fd };
	struct line l;

	make_json(&l, level, NULL, text);
	write_line(&o, &l);
}

static void log_va(enum log_level level, const char *fmt, va_list ap)
{
	char text[LOG_TEXT];

	vsnprintf(text, sizeof(text), fmt, ap);
	emit(level, true, NULL, text);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (level > log_most)
		return;
	va_start(ap, fmt);
	log_va(level, fmt, ap);
	va_end(ap);
}

bool log_admit(struct log_limit *limit, unsigned burst, unsigned *ret_left_out)
{
	uint64_t now = now_ns();

	*ret_left_out = 0;
	if (!limit->window_start || now - limit->window_start > LOG_WINDOW_NS) {
		*ret_left_out = limit->left_out;
		*limit = (struct log_limit){ .window_start = now };
	}
	if (limit->lines++ < burst)
		return true;
	limit->left_out++;
	return false;
}

void log_guest(struct log_limit *limit, const char *fmt, ...)
{
	unsigned left_out;
	bool admitted = log_admit(limit, LOG_BURST, &left_out);
	va_list ap;

	if (left_out)
		log_warn("%u more such lines were left out", left_out);
	if (!admitted)
		return;
	va_start(ap, fmt);
	log_va(LOG_WARN, fmt, ap);
	va_end(ap);
}

void bug(const char *file, int line, const char *what)
{
	log_error("this is a bug in hutch: %s:%d: %s", file, line, what);
	abort();
}
