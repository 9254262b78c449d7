/*
 * ends - the ways a machine ends, or begins again
 *
 * First letter of the argument: o: power-off; c: port 0xcf9; k: the keyboard
 * controller; a: the reset register of the FADT; t: triple fault; P: the last
 * words of a kernel that panics, then a reset; v: pvpanic; x: an instruction
 * that KVM's emulator lacks; h: never ends.
 * Second letter r: boots are counted in the clock's memory (byte 0x50, which
 * survives); the 5th powers off.  Each finds the machine fresh, starts the
 * other CPUs, and prints its number.
 */
#include "flat.h"

#define CMOS_COUNT 0x50

	.code32
	.text
	.global start
start:
	mov 32(%ebx), %ebp /* the RSDP */
	cmpb $'r', ARGUMENTS + 1
	jne ending
	mov MAILBOX, %eax
	EXPECT(%eax, $0)
	mov mark, %eax
	EXPECT(%eax, $0x600d)
	mov $COM1_SCR, %edx
	xor %eax, %eax
	inb %dx, %al
	EXPECT(%eax, $0)
	mov $PM1_EN, %edx
	inw %dx, %ax
	EXPECT(%eax, $0)
	mov LAPIC_SVR, %eax
	EXPECT(%eax, $0xff)
	movl $0x18, IOAPIC
	mov IOAPIC + 0x10, %eax
	EXPECT(%eax, $0x10000)
	mov $0xbad, %eax
	mov %eax, MAILBOX
	mov %eax, mark
	mov $COM1_SCR, %edx
	outb %al, %dx
	mov $PM1_EN, %edx
	outw %ax, %dx
	movl $0x19, IOAPIC
	movl $0, IOAPIC + 0x10
	movl $0x18, IOAPIC
	movl $0x44, IOAPIC + 0x10

	mov $0xb, %eax
	mov $1, %ecx
	cpuid
	movzwl %bx, %ebx
	mov %ebx, cpus
	start_aps ap
	mov $PM_TMR, %edx
	inl %dx, %eax
	mov %eax, %edi
1:	inl %dx, %eax
	sub %edi, %eax
	cmp $(3579545 * 3), %eax
	jae 2f
	mov came, %eax
	cmp cpus, %eax
	jb 1b
2:	mov came, %eax
	mov cpus, %ecx
	EXPECT(%eax, %ecx)

	mov $CMOS_COUNT, %al
	outb %al, $0x70
	inb $0x71, %al
	inc %eax
	outb %al, $0x71
	mov %eax, %edi
	add $'0', %eax
	mov $COM1, %edx
	outb %al, %dx
	cmp $('0' + 5), %al
	jae off

ending:	movb ARGUMENTS, %al
	cmp $'o', %al
	je off
	cmp $'c', %al
	je cf9
	cmp $'k', %al
	je keyboard
	cmp $'a', %al
	je acpi
	cmp $'t', %al
	je triple
	cmp $'P', %al
	je panic
	cmp $'v', %al
	je pvpanic
	cmp $'x', %al
	je lacking
forever:
	hlt
	jmp forever

off:	power_off

cf9:	mov $0xcf9, %edx
	mov $2, %al
	outb %al, %dx
	mov $6, %al
	outb %al, %dx
	jmp stay

keyboard:
	inb $0x64, %al
	test $2, %al
	jnz keyboard
	mov $0xfe, %al
	outb %al, $0x64
	jmp stay

	/* RSDP, XSDT, FACP: port and value */
acpi:	mov 24(%ebp), %esi
1:	mov 36(%esi), %edi
	add $8, %esi
	cmpl $0x50434146, (%edi)
	jne 1b
	mov 120(%edi), %edx
	movb 128(%edi), %al
	outb %al, %dx
	jmp stay

triple:	lidt nothing
	ud2

panic:	print words
	jmp cf9

pvpanic:
	mov $0x505, %edx
	mov $1, %al
	outb %al, %dx
	jmp stay

lacking:
	popcnt %eax, %eax

	/* a machine that was asked to end does not run on */
stay:	cli
	print on
	hlt
	jmp stay

ap:	lock incl came
2:	cli
	hlt
	jmp 2b

	flat_lib 32
words:	.ascii "[    1.0] Kernel panic - not syncing: VFS: Unable to mount root fs\n"
	.asciz "[    1.1] Rebooting in 1 seconds..\n"
on:	.asciz "it runs on\n"
	.align 4
came:	.long 1
cpus:	.long 0
mark:	.long 0x600d
nothing: .skip 6
	pvh_entry start
