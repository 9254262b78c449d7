/*
 * touch - stores to each page of 75 MiB behind the first 16, and says so: "."
 *
 * Then it powers off, or with the argument "h" never ends.
 */
#include "flat.h"

#define FROM  0x1000000
#define PAGES (75 << 8)

	.code32
	.text
	.global start
start:
	mov $FROM, %edi
	mov $PAGES, %ecx
1:	mov %edi, (%edi)
	add $4096, %edi
	dec %ecx
	jnz 1b
	print done
	cmpb $'h', ARGUMENTS
	je halt
	power_off
halt:	hlt
	jmp halt
done:	.asciz "."
	pvh_entry start
