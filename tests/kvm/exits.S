/*
 * exits - every kind of access that leaves the guest, and what a machine without firmware has
 *
 * Wants --transport pci: the host bridge's registers are what it reads and writes by MMIO.
 */
#include "flat.h"

#define HOST_ID	  0x29c08086
#define LPC	  (ECAM + (31 << 15))
#define UNCLAIMED 0xfed40000 /* a TPM would be there */
#define EMPTY_BAR 0xd0000000

	.code32
	.text
	.global start

.macro in_b port
	mov $\port, %edx
	xor %eax, %eax
	inb %dx, %al
.endm
.macro in_w port
	mov $\port, %edx
	xor %eax, %eax
	inw %dx, %ax
.endm
.macro in_l port
	mov $\port, %edx
	inl %dx, %eax
.endm
.macro out_b port, value
	mov $\port, %edx
	mov $\value, %al
	outb %al, %dx
.endm
.macro cmos reg
	out_b 0x70, \reg
	in_b 0x71
.endm

start:
	/* a register that holds what is written; widths it does not have */
	out_b COM1_SCR, 0x5a
	in_b COM1_SCR
	EXPECT(%eax, $0x5a)
	out_b COM1_SCR, 0xa5
	in_b COM1_SCR
	EXPECT(%eax, $0xa5)
	in_b COM1_LSR
	EXPECT(%eax, $0x60)
	in_w COM1
	EXPECT(%eax, $0xffff)
	in_l COM1
	EXPECT(%eax, $0xffffffff)

	/* what nobody claims reads as ones and swallows writes */
	out_b 0x80, 0
	in_b 0x80
	EXPECT(%eax, $0xff)
	in_w 0x80
	EXPECT(%eax, $0xffff)
	in_l 0x80
	EXPECT(%eax, $0xffffffff)
	mov $0xcd8, %edi
	mov $0xce3, %ebp
	call all_ones
	mov $0x2f8, %edi
	mov $0x2ff, %ebp
	call all_ones
	movl $0, UNCLAIMED
	movzbl UNCLAIMED, %eax
	EXPECT(%eax, $0xff)
	movzwl UNCLAIMED, %eax
	EXPECT(%eax, $0xffff)
	mov UNCLAIMED, %eax
	EXPECT(%eax, $0xffffffff)
	mov EMPTY_BAR + 2, %eax
	EXPECT(%eax, $0xffffffff)
	mov 0xfdfffffe, %eax /* across the end of what the PCI bridge decodes */
	EXPECT(%eax, $0xffffffff)

	/* ACPI's registers */
	mov $PM1_EN, %edx
	mov $0x320, %eax
	outw %ax, %dx
	in_w PM1_EN
	EXPECT(%eax, $0x320)
	in_l 0x600
	EXPECT(%eax, $0x3200000)
	in_w PM1_CNT
	and $1, %eax
	EXPECT(%eax, $1)
	in_l PM_TMR
	mov %eax, %edi
	mov $200, %ecx
1:	dec %ecx
	jnz 1b
	in_l PM_TMR
	sub %edi, %eax
	cmp $0, %eax
	jne 1f
	EXPECT(%eax, $1)
1:	cmp $3579545, %eax /* less than a second */
	jb 1f
	EXPECT(%eax, $0)
1:
	/* the clock: it runs, holds a time of this century, and its other bytes are memory */
	cmos 0x0d
	EXPECT(%eax, $0x80)
	cmos 0x0b
	EXPECT(%eax, $0x02)
	cmos 0x0a
	and $0x80, %eax
	EXPECT(%eax, $0)
	cmos 0x32
	EXPECT(%eax, $0x20)
	cmos 0x00
	mov %eax, %edi
	and $0xf0, %edi
	cmp $0x60, %edi
	jb 1f
	EXPECT(%edi, $0)
1:	out_b 0x70, 0x50
	out_b 0x71, 0x77
	cmos 0x50
	EXPECT(%eax, $0x77)
	in_b 0x505
	EXPECT(%eax, $1)
	in_b 0x64
	EXPECT(%eax, $0)

	/* PCI by ports: all widths */
	mov $0xcf8, %edx
	mov $0x80000000, %eax
	outl %eax, %dx
	in_l 0xcf8
	EXPECT(%eax, $0x80000000)
	in_l 0xcfc
	EXPECT(%eax, $HOST_ID)
	in_w 0xcfe
	EXPECT(%eax, $0x29c0)
	in_b 0xcfd
	EXPECT(%eax, $0x80)
	mov $0xcf8, %edx
	mov $(0x80000000 | 7 << 11), %eax
	outl %eax, %dx
	in_l 0xcfc
	EXPECT(%eax, $0xffffffff)

	/* the same registers by MMIO: all widths, aligned and not */
	mov ECAM, %eax
	EXPECT(%eax, $HOST_ID)
	movzwl ECAM + 2, %eax
	EXPECT(%eax, $0x29c0)
	movzbl ECAM + 1, %eax
	EXPECT(%eax, $0x80)
	mov ECAM + 1, %eax
	EXPECT(%eax, $(HOST_ID >> 8))
	mov ECAM + (7 << 15), %eax
	EXPECT(%eax, $0xffffffff)
	movl $0x01234567, LPC + 0xf0
	mov LPC + 0xf0, %eax
	EXPECT(%eax, $0x01234567)
	movw $0x89ab, LPC + 0xf1
	mov LPC + 0xf0, %eax
	EXPECT(%eax, $0x0189ab67)
	movb $0xcd, LPC + 0xf3
	mov LPC + 0xf0, %eax
	EXPECT(%eax, $0xcd89ab67)
	movl $0, LPC /* read-only */
	mov LPC, %eax
	EXPECT(%eax, $0x29188086)
	cld
	mov $ECAM, %esi
	mov $BUFFER, %edi
	mov $16, %ecx
	rep movsl
	mov BUFFER, %eax
	EXPECT(%eax, $HOST_ID)
	mov BUFFER + 8, %eax
	EXPECT(%eax, $0x06000000)

	/* rep ins and outs */
	out_b COM1_SCR, 0x3c
	movl $0, BUFFER + 64
	mov $COM1_SCR, %edx
	mov $BUFFER, %edi
	mov $64, %ecx
	rep insb
	mov $BUFFER, %esi
	mov $16, %ecx
1:	lodsl
	EXPECT(%eax, $0x3c3c3c3c)
	dec %ecx
	jnz 1b
	mov BUFFER + 64, %eax
	EXPECT(%eax, $0)
	mov $0xcf8, %edx
	mov $0x80000000, %eax
	outl %eax, %dx
	mov $0xcfe, %edx
	mov $BUFFER, %edi
	mov $8, %ecx
	rep insw
	mov $BUFFER, %esi
	mov $4, %ecx
1:	lodsl
	EXPECT(%eax, $0x29c029c0)
	dec %ecx
	jnz 1b
	mov $0x900, %edx /* the test's own device: it counts */
	mov $(BUFFER + 0x100), %edi
	mov $64, %ecx
	rep insb
	mov $COM1, %edx
	mov $text, %esi
	mov $6, %ecx
	rep outsb
	mov $0xcf8, %edx
	mov $addresses, %esi
	mov $3, %ecx
	rep outsl
	in_l 0xcf8
	EXPECT(%eax, $0x8000f800)

	long_mode
	/* 8 bytes, where 4 and 1 of them are writable */
	mov $LPC, %edi
	mov $0x0123456789abcdef, %rax
	mov %rax, 0x40(%rdi)
	mov 0x40(%rdi), %rax
	mov $0x6789abcdef, %rcx
	EXPECT64(%rax, %rcx)
	mov $UNCLAIMED, %edi
	mov (%rdi), %rax
	EXPECT64(%rax, $-1)
	mov $ECAM, %edi
	mov (%rdi), %rax
	shl $32, %rax
	shr $32, %rax
	mov $HOST_ID, %ecx
	EXPECT64(%rax, %rcx)
	print done
	power_off
	flat_lib 64

	.code32
	/* ports edi to ebp */
all_ones:
	mov %edi, %edx
	mov $0x55, %al
	outb %al, %dx
	xor %eax, %eax
	inb %dx, %al
	EXPECT(%eax, $0xff)
	inc %edi
	cmp %ebp, %edi
	jbe all_ones
	ret
	flat_lib 32
text:	.ascii "outsb\n"
done:	.asciz "done\n"
addresses: .long 0x80000000, 0x80000800, 0x8000f800
	pvh_entry start
