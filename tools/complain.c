/* complain.c - what hutch says itself, where the log goes: to stderr unless told otherwise */
#include <stdarg.h>

#include "tool.h"

static void say(enum hutch_level level, const char *fmt, va_list ap)
{
	char text[2048];

	vsnprintf(text, sizeof(text), fmt, ap);
	hutch_log(level, text);
}

void complain(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(HUTCH_LOG_ERROR, fmt, ap);
	va_end(ap);
}

void caution(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(HUTCH_LOG_WARNING, fmt, ap);
	va_end(ap);
}

void inform(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(HUTCH_LOG_INFO, fmt, ap);
	va_end(ap);
}
