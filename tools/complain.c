/* complain.c - what hutch says itself, on stderr */
/* #syscalls:caller write lseek */
#include <stdarg.h>
#include <unistd.h>

#include "tool.h"

void complain(const char *fmt, ...)
{
	char line[2048];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof(line))
		n = sizeof(line) - 1;
	dprintf(STDERR_FILENO, "hutch: %.*s\n", n, line);
}
