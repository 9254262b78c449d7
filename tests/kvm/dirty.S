/*
 * dirty - stores to the pages it is told
 *
 * The mailbox: word 0 is set to 1 by the test, to 2 by the guest when it is
 * done, to 3 by the test to end; word 4 is how many; 64-bit addresses from 16
 * on, below 5 GiB.
 */
#include "flat.h"

	.code32
	.text
	.global start
start:
	long_mode
	/* the 5th GiB, which is RAM behind the hole */
	movl $(PML4 + 0x6003), PML4 + 0x1020
	mov $(PML4 + 0x6000), %edi
	mov $0x100000083, %rax
	mov $512, %ecx
1:	mov %rax, (%rdi)
	add $0x200000, %rax
	add $8, %rdi
	dec %ecx
	jnz 1b
	mov $MAILBOX, %ebp
wait:	cmpl $3, (%rbp)
	je end
	cmpl $1, (%rbp)
	jne wait
	mov 4(%rbp), %ecx
	lea 16(%rbp), %rsi
2:	test %ecx, %ecx
	jz 3f
	mov (%rsi), %rdi
	incl (%rdi)
	add $8, %rsi
	dec %ecx
	jmp 2b
3:	movl $2, (%rbp)
	jmp wait
end:	print done
	power_off
	flat_lib 64
done:	.asciz "done\n"
	pvh_entry start
