/*
 * flat.h - what every flat guest begins with
 *
 * Flat guests are plain integer code: they run on any /dev/kvm, also where KVM
 * emulates supervisor code because the host has no hardware virtualization.
 */
#define COM1	  0x3f8
#define PM1_CNT	  0x604
#define POWER_OFF 0x2000

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
