/* start.S - from the PVH entry to main(start info) in long mode, and off when it returns */
#include "../flat.h"

	.code32
	.text
	.global start
start:
	cld
	cli
	mov %ebx, info
	long_mode
	mov $stack_end, %esp
	mov info, %edi
	call main
	power_off
	.align 4
info:	.long 0
	.bss
	.align 16
	.skip 0x4000
stack_end:
	pvh_entry start
	.section .note.GNU-stack, "", @progbits
