/* log.c - err() and the log: the library's only state outside a handle */
/* #syscalls write */
#include <pthread.h>
#include <stdarg.h>
#include <unistd.h>

#include "log.h"

#define LINE_MAX 1024

static int log_fd = STDERR_FILENO;
static enum log_level log_most = LOG_INFO;
static _Thread_local char last_error[LINE_MAX];
static _Thread_local int last_code;

int err(int code, const char *fmt, ...)
{
	char line[LINE_MAX];
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
	log_fd = fd;
	log_most = most;
}

static void log_va(enum log_level level, const char *fmt, va_list ap)
{
	static const char *const tag[] = { "error: ", "warning: ", "", "" };
	char line[LINE_MAX];
	int n, m;

	n = snprintf(line, sizeof(line), "hutch: %s", tag[level]);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	n = MIN(n + m, LINE_MAX - 2);
	line[n++] = '\n';
	/* a log that cannot be written must not end or stall the machine */
	if (write(log_fd, line, (size_t)n) < 0)
		return;
}

void log_from_signal(const char *line, size_t len)
{
	if (write(log_fd, line, len) < 0)
		return;
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

void log_guest(struct log_limit *limit, const char *fmt, ...)
{
	uint64_t now = now_ns();
	va_list ap;

	if (!limit->window_start || now - limit->window_start > LOG_WINDOW_NS) {
		if (limit->left_out)
			log_warn("%u more such lines were left out", limit->left_out);
		*limit = (struct log_limit){ .window_start = now };
	}
	if (limit->lines++ >= LOG_BURST) {
		limit->left_out++;
		return;
	}
	va_start(ap, fmt);
	log_va(LOG_WARN, fmt, ap);
	va_end(ap);
}

void bug(const char *file, int line, const char *what)
{
	log_error("this is a bug in hutch: %s:%d: %s", file, line, what);
	abort();
}
