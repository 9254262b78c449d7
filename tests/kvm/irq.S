/*
 * irq - interrupts of the serial port through the I/O APIC, and the local APIC's timer
 *
 * The argument says which: e, l: what is sent, by edge and by level; E, L: what
 * is received (5 bytes, sent back); t: the timer, in its three modes.
 */
#include "flat.h"

#define SERIAL_VECTOR 0x40
#define TIMER_VECTOR  0x41
#define LEVEL	      0x8000
#define TIMER_LVT     0xfee00320
#define TIMER_COUNT   0xfee00380
#define TIMER_DIVIDE  0xfee003e0
#define TSC_DEADLINE  0x6e0

	.code32
	.text
	.global start
start:
	cld
	set_gate SERIAL_VECTOR, on_serial
	set_gate TIMER_VECTOR, on_timer
	load_idt
	lapic_on
	movb ARGUMENTS, %al
	cmp $'t', %al
	je timer
	mov $SERIAL_VECTOR, %ebx
	test $0x20, %al
	jnz 1f
	movb $1, receiving
1:	or $0x20, %al
	cmp $'l', %al
	jne 1f
	or $LEVEL, %ebx
1:	movl $0x19, IOAPIC /* input 4 */
	movl $0, IOAPIC + 0x10
	movl $0x18, IOAPIC
	movl %ebx, IOAPIC + 0x10
	cmpb $0, receiving
	jne receive

	/* each byte that is sent brings one interrupt, and enabling them brings one before */
	mov $text, %edi
	xor %ebp, %ebp
	mov $COM1_IER, %edx
	mov $2, %al
	outb %al, %dx
1:	inc %ebp
	sleep_until serials, %ebp
	movb (%edi), %al
	inc %edi
	test %al, %al
	jz 2f
	mov $COM1, %edx
	outb %al, %dx
	jmp 1b
2:	cli
	mov serials, %ebx
	EXPECT(%ebx, $22)
	mov $COM1_IIR, %edx
	xor %eax, %eax
	inb %dx, %al
	EXPECT(%eax, $1)
	jmp finish

receive:
	mov $COM1_IER, %edx
	mov $1, %al
	outb %al, %dx
	mov $COM1, %edx /* tell the test that we listen */
	mov $'?', %al
	outb %al, %dx
	sleep_until got, $5
	mov $line, %esi
	mov $5, %ecx
	mov $COM1, %edx
	rep outsb
	jmp finish

timer:
	movl $0xb, TIMER_DIVIDE /* by 1: of 1 GHz */
	movl $TIMER_VECTOR, TIMER_LVT
	call now
	mov %eax, %edi
	movl $2000000, TIMER_COUNT
	sleep_until timers, $1
	call now
	sub %edi, %eax
	cmp $7100, %eax /* 2 ms, at 3.58 MHz */
	jae 1f
	EXPECT(%eax, $7100)
1:	movl $(TIMER_VECTOR | 1 << 17), TIMER_LVT
	movl $1000000, TIMER_COUNT
	sleep_until timers, $6
	movl $0, TIMER_COUNT
	cli
	mov timers, %ebp
	inc %ebp
	movl $(TIMER_VECTOR | 2 << 17), TIMER_LVT
	rdtsc
	add $3000000, %eax
	adc $0, %edx
	mov $TSC_DEADLINE, %ecx
	wrmsr
	sleep_until timers, %ebp

finish:
	print done
	power_off

now:	mov $PM_TMR, %edx
	inl %dx, %eax
	ret

on_timer:
	incl timers
	irq_end

on_serial:
	push %eax
	push %edx
	push %ebx
	mov $COM1_IIR, %edx
	inb %dx, %al
	and $0xf, %al
	cmp $4, %al
	je 1f
	cmp $2, %al
	jne 3f
	incl serials
	jmp 2f
3:	incl spurious
	jmp 2f
1:	mov $COM1_LSR, %edx
	inb %dx, %al
	test $1, %al
	jz 2f
	mov $COM1, %edx
	inb %dx, %al
	mov got, %ebx
	cmp $5, %ebx
	jae 2f
	movb %al, line(%ebx)
	incl got
	jmp 1b
2:	pop %ebx
	pop %edx
	pop %eax
	irq_end
	irq_lib
	flat_lib 32
text:	.asciz "sent by interrupts..\n"
done:	.asciz "done\n"
line:	.skip 8
receiving: .byte 0
	.align 4
serials: .long 0
spurious: .long 0
timers:	.long 0
got:	.long 0
	pvh_entry start
