#include <stdarg.h>
#include <stdio.h>

#include "complain.h"
#include "tool.h"

char complained[2048];

/* in place of the command's own */
void complain(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(complained, sizeof(complained), fmt, ap);
	va_end(ap);
}
