/*
 * flood - writes as many KiB to its console as the argument says, whoever reads, and powers off
 */
#include "flat.h"

	.code32
	.text
	.global start
start:
	cld
	mov $ARGUMENTS, %esi
	xor %ebx, %ebx
1:	xor %eax, %eax
	lodsb
	sub $'0', %eax
	cmp $9, %eax
	ja 2f
	imul $10, %ebx
	add %eax, %ebx
	jmp 1b
2:	mov $COM1, %edx
3:	mov $line, %esi
	mov $1024, %ecx
	rep outsb
	dec %ebx
	jnz 3b
	power_off
line:	.rept 16
	.ascii "0123456789012345678901234567890123456789012345678901234567890.\r\n"
	.endr
	pvh_entry start
