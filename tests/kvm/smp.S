/*
 * smp - starts the other CPUs by INIT and SIPI; each counts itself with locked instructions
 *
 * Prints: CPUs by leaf 0xB, CPUs of the MADT, those that came, the sum and the
 * map of their APIC ids, and how many saw ids that do not agree.
 */
#include "flat.h"

#define ROUNDS 50 /* locked additions by each */

	.code32
	.text
	.global start
start:
	mov 32(%ebx), %ebp /* start info: the RSDP */
	mov $0xb, %eax
	mov $1, %ecx
	cpuid
	movzwl %bx, %ebx
	mov %ebx, expected
	call my_id
	call count_me
	call count_madt

	start_aps ap
	mov $PM_TMR, %edx
	inl %dx, %eax
	mov %eax, %edi
wait:	mov came, %eax
	cmp expected, %eax
	jae report
	inl %dx, %eax
	sub %edi, %eax
	cmp $(3579545 * 3), %eax /* seconds */
	jb wait

report:
	mov expected, %ebx
	call put
	mov in_madt, %ebx
	call put
	mov came, %ebx
	call put
	mov sum, %ebx
	call put
	mov map, %ebx
	call put
	mov bad, %ebx
	call put
	mov rounds, %ebx
	call put
	print done
	power_off

put:	call print_hex32
	mov $' ', %al
	outb %al, %dx
	ret

	/* no stack here: all CPUs share what there is */
ap:	mov $ap_halt, %ebp
	mov $1, %eax
	cpuid
	mov %ebx, %esi
	shr $24, %esi
	mov $0xb, %eax
	xor %ecx, %ecx
	cpuid
	cmp %edx, %esi
	je 1f
	lock incl bad
1:	mov LAPIC_ID, %eax
	shr $24, %eax
	cmp %eax, %esi
	je 1f
	lock incl bad
1:	mov %esi, %eax
	lock xadd %eax, sum
	lock btsl %esi, map
	mov $ROUNDS, %ecx
	/* compare and exchange, as a lock would */
2:	mov rounds, %eax
	lea 1(%eax), %ebx
	lock cmpxchg %ebx, rounds
	jne 2b
	dec %ecx
	jnz 2b
	lock incl came
ap_halt:
	cli
	hlt
	jmp ap_halt

	/* the first CPU, with a stack */
my_id:	mov $1, %eax
	cpuid
	shr $24, %ebx
	EXPECT(%ebx, $0)
	mov $0xb, %eax
	xor %ecx, %ecx
	cpuid
	EXPECT(%edx, $0)
	ret
count_me:
	lock btsl %edx, map
	lock incl came
	ret

	/* ebp: RSDP; XSDT, then the table APIC, then entries of type 0 that are enabled, or 9 */
count_madt:
	mov 24(%ebp), %esi
	mov 4(%esi), %ecx
	add %esi, %ecx
	add $36, %esi
1:	mov (%esi), %edi
	cmpl $0x43495041, (%edi)
	je 2f
	add $8, %esi
	cmp %ecx, %esi
	jb 1b
	ret
2:	mov 4(%edi), %ecx
	add %edi, %ecx
	add $44, %edi
3:	movzbl (%edi), %eax
	cmp $0, %eax
	jne 4f
	mov 4(%edi), %edx
	and $1, %edx
	add %edx, in_madt
4:	movzbl 1(%edi), %eax
	add %eax, %edi
	cmp %ecx, %edi
	jb 3b
	ret

	flat_lib 32
done:	.asciz "done\n"
	.align 4
expected: .long 0
in_madt: .long 0
came:	.long 0
sum:	.long 0
map:	.long 0
bad:	.long 0
rounds:	.long 0
	pvh_entry start
