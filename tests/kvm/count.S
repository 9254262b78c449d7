/*
 * count - every CPU counts in memory: CPU n the word 4 * n of the mailbox
 *
 * Each compares what it reads with a register, so that a lost or doubled store
 * or a changed register is seen: it then stores 0xbad behind, at 64 + 4 * n,
 * and stops.  Ends when the word 128 is set: "done" and power-off.
 */
#include "flat.h"

	.code32
	.text
	.global start
start:
	start_aps count
count:	mov $1, %eax
	cpuid
	shr $24, %ebx
	lea MAILBOX(, %ebx, 4), %edi
	xor %ebp, %ebp
	mov $0x1234567, %ecx
	mov $0x89abcde, %edx
	mov %edi, %esi
1:	cmp %ebp, (%edi)
	jne bad
	inc %ebp
	incl (%edi)
	cmp $0x1234567, %ecx
	jne bad
	cmp $0x89abcde, %edx
	jne bad
	cmp %edi, %esi
	jne bad
	cmpl $0, MAILBOX + 128
	je 1b
	cmp $MAILBOX, %edi
	jne halt
	print done
	power_off
bad:	movl $0xbad, 64(%edi)
halt:	cli
	hlt
	jmp halt
	flat_lib 32
done:	.asciz "done\n"
	pvh_entry start
