/*
 * flat.h - what every flat guest begins with
 *
 * Flat guests are plain integer code: they run on any /dev/kvm, also where KVM
 * emulates supervisor code because the host has no hardware virtualization.
 * That emulator knows no iret in protected mode, so handlers leave by irq_end.
 *
 * They check what they see themselves: EXPECT() prints the line of the source
 * and the value and powers off, so a test only has to compare the console.
 */
#define COM1	  0x3f8
#define COM1_IER  0x3f9
#define COM1_IIR  0x3fa
#define COM1_MCR  0x3fc
#define COM1_LSR  0x3fd
#define COM1_SCR  0x3ff
#define PM1_EN	  0x602
#define PM1_CNT	  0x604
#define PM_TMR	  0x608
#define POWER_OFF 0x2000

/* of the machine: boot/layout_x86.h */
#define CODE64	  0x08
#define DATA	  0x10
#define CODE32	  0x18
#define ARGUMENTS 0x20000 /* the command line */
#define ECAM	  0xb0000000
#define IOAPIC	  0xfec00000
#define LAPIC	  0xfee00000
#define LAPIC_ID  0xfee00020
#define LAPIC_EOI 0xfee000b0
#define LAPIC_SVR 0xfee000f0
#define LAPIC_ICR 0xfee00300

/* low memory that is the guest's own */
#define PML4	   0x40000 /* PDPT and as many page directories as are used behind it */
#define TRAMPOLINE 0x50000
#define IDT	   0x51000
#define MAILBOX	   0x60000 /* words that the test and the guest share */
#define RINGS	   0x70000
#define BUFFER	   0x80000

/* the PVH entry (XEN_ELFNOTE_PHYS32_ENTRY): 32-bit protected mode, ebx = start info */
.macro pvh_entry symbol
	.pushsection .note, "a", @note
	.align 4
	.long 4, 4, 18
	.asciz "Xen"
	.long \symbol
	.popsection
.endm

/* print the NUL-terminated text at \label; uses eax, edx, esi */
.macro print label
	mov $\label, %esi
	mov $COM1, %edx
88:	lodsb
	test %al, %al
	jz 99f
	outb %al, %dx
	jmp 88b
99:
.endm

.macro power_off
	mov $PM1_CNT, %edx
	mov $POWER_OFF, %eax
	outw %ax, %dx
77:	hlt
	jmp 77b
.endm

/* reg is 32 bits wide (or 64 with EXPECT64): anything but want is told, and ends the guest */
#define EXPECT(reg, want)   expect reg, want, __LINE__, %ebx, 32
#define EXPECT64(reg, want) expect reg, want, __LINE__, %rbx, 64
.macro expect reg, want, line, tmp, mode
	cmp \want, \reg
	je 66f
	mov \reg, \tmp
	mov $67f, %esi
	jmp fail\mode
	.pushsection .rodata
67:	.asciz "line \line: "
	.popsection
66:
.endm

/* subroutines in this mode: print_hex (ebx; uses eax, ecx, edx), fail (esi: text, ebx: value) */
.macro flat_lib mode
print_hex\mode:
	mov $8, %ecx
55:	rol $4, %ebx
	mov %ebx, %eax
	and $15, %eax
	movb hex_digits(%eax), %al
	mov $COM1, %edx
	outb %al, %dx
	dec %ecx
	jnz 55b
	ret
fail\mode:
	cld
	mov $COM1, %edx
56:	lodsb
	test %al, %al
	jz 57f
	outb %al, %dx
	jmp 56b
57:	call print_hex\mode
	mov $'\n', %al
	outb %al, %dx
	power_off
.ifndef hex_digits
hex_digits: .ascii "0123456789abcdef"
.endif
.endm

/* identity map of the first 4 GiB, then 64-bit code follows; uses eax, ecx, edx, edi */
.macro long_mode
	mov $PML4, %edi
	xor %eax, %eax
	mov $0x1800, %ecx
	cld
	rep stosl
	movl $(PML4 + 0x1003), PML4
	movl $(PML4 + 0x2003), PML4 + 0x1000
	movl $(PML4 + 0x3003), PML4 + 0x1008
	movl $(PML4 + 0x4003), PML4 + 0x1010
	movl $(PML4 + 0x5003), PML4 + 0x1018
	mov $(PML4 + 0x2000), %edi
	mov $0x83, %eax
	mov $2048, %ecx
44:	mov %eax, (%edi)
	add $0x200000, %eax
	add $8, %edi
	dec %ecx
	jnz 44b
	mov %cr4, %eax
	or $0x20, %eax
	mov %eax, %cr4
	mov $PML4, %eax
	mov %eax, %cr3
	mov $0xc0000080, %ecx
	rdmsr
	or $0x100, %eax
	wrmsr
	mov %cr0, %eax
	or $0x80000000, %eax
	mov %eax, %cr0
	ljmp $CODE64, $45f
	.code64
45:
.endm

/* interrupts, in 32-bit code; the 8259s would send a second one each for lines below 16 */
.macro lapic_on
	movl $0x1ff, LAPIC_SVR
	mov $0xff, %al
	outb %al, $0x21
	outb %al, $0xa1
.endm

.macro set_gate vector, handler
	mov $\handler, %eax
	movw %ax, IDT + 8 * \vector
	movw $CODE32, IDT + 8 * \vector + 2
	movw $0x8e00, IDT + 8 * \vector + 4
	shr $16, %eax
	movw %ax, IDT + 8 * \vector + 6
.endm

.macro load_idt
	lidt 33f
	.pushsection .rodata
33:	.word 0x7ff
	.long IDT
	.popsection
.endm

/* IOAPIC input \gsi raises \low (vector, bit 15: level) on CPU 0 */
.macro ioapic_route gsi, low
	movl $(0x11 + 2 * \gsi), IOAPIC
	movl $0, IOAPIC + 0x10
	movl $(0x10 + 2 * \gsi), IOAPIC
	movl $\low, IOAPIC + 0x10
.endm

/* the way out of a handler that has saved nothing: eip, cs, eflags lie on the stack */
.macro irq_end
	movl $0, LAPIC_EOI
	jmp irq_return
.endm
.macro irq_lib
irq_return:
	pushl 8(%esp)
	popf
	lret $4
.endm

/* sleep until the word at \at is \want, which an interrupt's handler sees to */
.macro sleep_until at, want
22:	cli
	cmpl \want, \at
	je 23f
	sti
	hlt
	jmp 22b
23:	sti
.endm

/* start the other CPUs at \entry, in 32-bit code without a stack; uses eax, ecx, esi, edi */
.macro start_aps entry
	lapic_on
	mov $11f, %esi
	mov $TRAMPOLINE, %edi
	mov $(14f - 11f), %ecx
	cld
	rep movsb
	movl $0xc4500, LAPIC_ICR /* INIT to all but this one */
	movl $(0xc4600 | TRAMPOLINE >> 12), LAPIC_ICR
	jmp 14f
	.code16
11:	cli
	lgdtl %cs:(13f - 11b)
	mov %cr0, %eax
	or $1, %eax
	mov %eax, %cr0
	ljmpl $CODE32, $12f
13:	.word 31
	.long 0x500
14:
	.code32
	jmp 15f
12:	mov $DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	jmp \entry
15:
.endm
