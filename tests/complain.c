#include <stdarg.h>
#include <stdio.h>

#include "complain.h"
#include "tool.h"

char complained[2048];

#define KEEP(fmt)                                                   \
	do {                                                        \
		va_list ap;                                         \
                                                                    \
		va_start(ap, fmt);                                  \
		vsnprintf(complained, sizeof(complained), fmt, ap); \
		va_end(ap);                                         \
	} while (0)

/* in place of the command's own */
void complain(const char *fmt, ...)
{
	KEEP(fmt);
}

void caution(const char *fmt, ...)
{
	KEEP(fmt);
}

void inform(const char *fmt, ...)
{
	KEEP(fmt);
}
