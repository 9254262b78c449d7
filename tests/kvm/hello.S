/* hello - prints a line and powers off */
#include "flat.h"
	.code32
	.text
	.global start
start:
	print text
	power_off
text:	.asciz "hello from a flat guest\n"
	pvh_entry start
