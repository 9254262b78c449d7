/*
 * sweep - random values of random widths into every register there is, by MMIO and by ports
 *
 * The argument: p: PCI (configuration space, BARs), else virtio-mmio; digits
 * choose the seed.  Only what ends the machine is left alone.  Then powers off.
 */
#include "flat.h"

#define STORES 8000

	.code32
	.text
	.global start
start:
	mov ARGUMENTS + 1, %eax
	mov %eax, seed
	mov $STORES, %ebp
1:	call where
	call random
	mov %eax, %ecx
	call random
	and $7, %ecx
	cmp $2, %ecx
	jb 2f
	cmp $4, %ecx
	jb 3f
	cmp $7, %ecx
	je 4f
	and $~3, %edi
	mov (%edi), %edx
	mov %eax, (%edi)
	jmp 5f
2:	movb (%edi), %dl
	movb %al, (%edi)
	jmp 5f
3:	movw (%edi), %dx
	movw %ax, (%edi)
	jmp 5f
4:	mov (%edi), %edx /* not aligned */
	mov %eax, (%edi)
5:	dec %ebp
	jnz 1b

	/* the ports of PCs all, of the others some */
	xor %edi, %edi
6:	call harmless
	jc 7f
	mov %edi, %edx
	inb %dx, %al
	inw %dx, %ax
	inl %dx, %eax
	call random
	outb %al, %dx
	call random
	outw %ax, %dx
	call random
	outl %eax, %dx
7:	inc %edi
	cmp $0x1000, %edi
	jb 6b
	call random
	and $63, %eax
	add %eax, %edi
	cmp $0x10000, %edi
	jb 6b
	power_off

	/* uses eax */
random:	mov seed, %eax
	imul $1664525, %eax
	add $1013904223, %eax
	mov %eax, seed
	rol $13, %eax
	ret

	/* an address into edi */
where:	cmpb $'p', ARGUMENTS
	je 1f
	call random
	mov %eax, %edi
	and $0x1fff, %edi /* two devices, or one and nothing */
	call random
	test $3, %al
	jz 2f
	and $0x10ff, %edi /* registers, mostly */
2:	add $0xfeb00000, %edi
	ret
1:	call random
	mov %eax, %edi
	call random
	test $0x300, %eax
	jz 3f
	test $0x100, %eax
	jz 4f
	and $0x3f, %edi /* slots 0, 1, 2, 31: registers of the header and behind */
	test $0x400, %eax
	jz 5f
	add $0xc0, %edi
	and $0xff, %edi
5:	shr $11, %eax
	and $3, %eax
	cmp $3, %eax
	jne 6f
	mov $31, %eax
6:	shl $15, %eax
	lea ECAM(%edi, %eax), %edi
	ret
3:	and $0x7fff, %edi /* the BAR where it was */
	and $0x800000, %eax
	lea 0xc0000000(%edi, %eax), %edi
	ret
4:	and $0x7fff, %edi /* where it is now */
	mov ECAM + (1 << 15) + 0x10, %eax
	and $0xffff8000, %eax
	cmp $0x80000000, %eax
	jb 3b
	add %eax, %edi
	jnc 7f
	mov $0xc0000000, %edi
7:	ret

	/* carry: port edi is to be left alone, because storing there ends the machine */
harmless:
	mov $endings, %esi
1:	mov (%esi), %eax
	cmp $-1, %eax
	je 2f
	cmp %edi, %eax
	je 3f
	add $4, %esi
	jmp 1b
2:	clc
	ret
3:	stc
	ret

	.align 4
seed:	.long 0
	/* reset by keyboard, PM1 control, pvpanic, reset control; and the console: it is no output */
endings: .long 0x64, 0x604, 0x605, 0x602, 0x505, 0xcf9, 0xcf8, COM1, -1
	pvh_entry start
