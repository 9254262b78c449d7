/*
 * blk - a virtio-blk driver: requests that wait for their interrupt asleep
 *
 * First letter of the argument: m: virtio-mmio; p: PCI with MSI-X; i: PCI with
 * its interrupt line.  Second: k: 1000 kicks more; b: a broken ring, reset, and
 * on; q: what may not change once the device runs; s: resets while it works;
 * x: its vector, then all of MSI-X, masked for a while.
 * The disk holds 32-bit numbers that count up; sector 2 becomes a copy of 1.
 */
#include "flat.h"

#define MMIO	    0xfeb00000
#define MMIO_GSI    16
#define CONFIG	    (ECAM + (1 << 15)) /* of slot 1 */
#define BAR	    0xc0000000
#define LINE_GSI    17
#define QUEUE_VECTOR  0x43
#define CONFIG_VECTOR 0x44
#define LEVEL	    0x8000

#define DESC   RINGS
#define AVAIL  (RINGS + 0x100)
#define USED   (RINGS + 0x200)
#define HEADER (RINGS + 0x300)
#define STATUS (RINGS + 0x310)
#define SIZE   8

#define T_IN	0
#define T_OUT	1
#define T_FLUSH 4

/* one register of the device, 32 bits of MMIO, or what PCI has for it */
.macro vput mmio, pci, value, suffix=l
	cmpb $0, is_pci
	jne 31f
	movl $\value, MMIO + \mmio
	jmp 32f
31:	mov\suffix $\value, BAR + \pci
32:
.endm

.macro request type, sector, len
	movl $\type, HEADER
	movl $\sector, HEADER + 8
	movl $\len, DESC + 24
	call submit
.endm

	.code32
	.text
	.global start
start:
	cld
	set_gate QUEUE_VECTOR, on_queue
	set_gate CONFIG_VECTOR, on_config
	load_idt
	lapic_on
	cmpb $'m', ARGUMENTS
	jne 1f
	ioapic_route MMIO_GSI, QUEUE_VECTOR
	jmp 2f
1:	movb $1, is_pci
	mov CONFIG, %eax
	EXPECT(%eax, $0x10421af4)
	mov CONFIG + 0x10, %eax
	EXPECT(%eax, $BAR)
	cmpb $'i', ARGUMENTS
	jne 3f
	ioapic_route LINE_GSI, (QUEUE_VECTOR | LEVEL)
	jmp 2f
3:	call msix_on
2:	cmpb $0, is_pci
	jne 1f
	mov MMIO, %eax
	EXPECT(%eax, $0x74726976)
	mov MMIO + 8, %eax
	EXPECT(%eax, $2)
1:	call init

	/* a sector, and that its capacity is told */
	request T_IN, 1, 512
	EXPECT(%eax, $0)
	mov USED + 8, %eax
	EXPECT(%eax, $513)
	mov $BUFFER, %esi
	mov $128, %ecx
1:	lodsl
	EXPECT(%eax, %ecx)
	inc %ecx
	cmp $256, %ecx
	jb 1b
	request T_OUT, 2, 512
	EXPECT(%eax, $0)
	request T_FLUSH, 0, 0
	EXPECT(%eax, $0)
	request T_IN, 0x100000, 512 /* behind the end */
	EXPECT(%eax, $1)
	request 77, 0, 512
	EXPECT(%eax, $2)
	movl $0, BUFFER
	request T_IN, 2, 4096 /* eight at once */
	EXPECT(%eax, $0)
	mov BUFFER, %eax
	EXPECT(%eax, $128)
	mov BUFFER + 512, %eax
	EXPECT(%eax, $384)
	mov BUFFER + 4092, %eax
	EXPECT(%eax, $1279)
	movb ARGUMENTS + 1, %al
	cmp $'k', %al
	je kicks
	cmp $'b', %al
	je breaks
	cmp $'q', %al
	je frozen
	cmp $'s', %al
	je resets
	cmp $'x', %al
	je masked
	jmp finish

kicks:	mov $1000, %ecx
1:	call kick
	dec %ecx
	jnz 1b
	jmp finish

	/*
	 * An index behind the table, where a good request lies all the same: told
	 * by status and interrupt, then silence.
	 */
breaks:	mov $DESC, %esi
	mov $(DESC + 16 * 100), %edi
	mov $12, %ecx
	rep movsl
	movl $(101 << 16 | 1), DESC + 16 * 100 + 12
	movl $(102 << 16 | 3), DESC + 16 * 101 + 12
	movzwl AVAIL + 2, %eax
	mov %eax, %ecx
	and $(SIZE - 1), %ecx
	movw $100, AVAIL + 4(, %ecx, 2)
	inc %eax
	movw %ax, AVAIL + 2
	call kick
	sleep_until config_irqs, $1
	call get_status
	EXPECT(%eax, $0x4f)
	movzwl USED + 2, %edi
	call kick
	call pause
	movzwl USED + 2, %eax
	EXPECT(%eax, %edi)
	call reset
	call init
	movl $0, BUFFER
	request T_IN, 3, 512
	EXPECT(%eax, $0)
	mov BUFFER, %eax
	EXPECT(%eax, $384)
	/* an available index far ahead */
	movw $0x7777, AVAIL + 2
	call kick
	sleep_until config_irqs, $2
	call get_status
	EXPECT(%eax, $0x4f)
	call reset
	call init
	request T_IN, 3, 512
	EXPECT(%eax, $0)
	/* a ring outside memory, and outside everything */
	call reset
	call acknowledge
	vput 0x80, 0x20, 0xf0000000
	vput 0x84, 0x24, 0xffffffff
	vput 0x44, 0x1c, 1, w
	vput 0x70, 0x14, 0xf, b
	call get_status
	and $0x40, %eax
	EXPECT(%eax, $0x40)
	call reset
	call init
	request T_IN, 3, 512
	EXPECT(%eax, $0)
	jmp finish

	/* size, addresses and features are frozen, and bits of the status stay */
frozen:	vput 0x38, 0x18, 2, w
	vput 0x80, 0x20, 0
	vput 0x90, 0x28, 0
	vput 0xa0, 0x30, 0
	vput 0x24, 0x08, 0
	vput 0x20, 0x0c, 0xffffffff
	vput 0x70, 0x14, 1, b
	call get_status
	EXPECT(%eax, $0xf)
	cmpb $0, is_pci
	je 1f
	movzwl BAR + 0x18, %eax
	EXPECT(%eax, $SIZE)
	mov BAR + 0x20, %eax
	EXPECT(%eax, $DESC)
1:	mov $20, %ebp /* more than twice around the ring */
2:	movl $0, BUFFER
	request T_IN, 4, 512
	EXPECT(%eax, $0)
	mov BUFFER, %eax
	EXPECT(%eax, $512)
	dec %ebp
	jnz 2b
	jmp finish

	/* a reset with a request under way: nothing comes after it */
resets:	mov $30, %ebp
1:	movl $T_IN, HEADER
	movl $5, HEADER + 8
	movl $512, DESC + 24
	call put
	call reset
	movl $0x5a5a5a5a, BUFFER
	call pause
	mov BUFFER, %eax
	EXPECT(%eax, $0x5a5a5a5a)
	call init
	request T_IN, 6, 512
	EXPECT(%eax, $0)
	mov BUFFER, %eax
	EXPECT(%eax, $768)
	dec %ebp
	jnz 1b

	jmp finish

	/* pending while masked, and sent when the mask goes */
masked:	movl $1, BAR + 0x400c
	call quiet_request
	movl $0, BAR + 0x400c
	call woken
	call find_msix
	orw $0x4000, CONFIG + 2(%edi)
	call quiet_request
	call find_msix
	andw $0xbfff, CONFIG + 2(%edi)
	call woken

finish:	print done
	power_off

	/* reset, and wait for it */
reset:	vput 0x70, 0x14, 0, b
1:	call get_status
	test %eax, %eax
	jnz 1b
	ret

	/* to FEATURES_OK, with VERSION_1 and nothing else */
acknowledge:
	vput 0x70, 0x14, 1, b
	vput 0x70, 0x14, 3, b
	vput 0x14, 0x00, 1
	cmpb $0, is_pci
	je 1f
	mov BAR + 4, %eax
	jmp 2f
1:	mov MMIO + 0x10, %eax
2:	and $1, %eax
	EXPECT(%eax, $1)
	vput 0x24, 0x08, 1
	vput 0x20, 0x0c, 1
	vput 0x24, 0x08, 0
	vput 0x20, 0x0c, 0
	vput 0x70, 0x14, 0xb, b
	call get_status
	EXPECT(%eax, $0xb)
	vput 0x30, 0x16, 0, w
	ret

init:	call acknowledge
	mov $RINGS, %edi
	xor %eax, %eax
	mov $0x100, %ecx
	rep stosl
	vput 0x38, 0x18, SIZE, w
	vput 0x80, 0x20, DESC
	vput 0x84, 0x24, 0
	vput 0x90, 0x28, AVAIL
	vput 0x94, 0x2c, 0
	vput 0xa0, 0x30, USED
	vput 0xa4, 0x34, 0
	cmpb $'p', ARGUMENTS
	jne 1f
	movw $1, BAR + 0x10 /* vectors: of the configuration, of the queue */
	movw $0, BAR + 0x1a
	movzwl BAR + 0x1a, %eax
	EXPECT(%eax, $0)
1:	vput 0x44, 0x1c, 1, w
	vput 0x70, 0x14, 0xf, b
	call get_status
	EXPECT(%eax, $0xf)
	/* header, data, status */
	movl $HEADER, DESC
	movl $16, DESC + 8
	movl $0x10001, DESC + 12
	movl $BUFFER, DESC + 16
	movl $0x20001, DESC + 28
	movl $STATUS, DESC + 32
	movl $1, DESC + 40
	movl $2, DESC + 44
	ret

get_status:
	cmpb $0, is_pci
	je 1f
	movzbl BAR + 0x14, %eax
	ret
1:	mov MMIO + 0x70, %eax
	ret

kick:	cmpb $0, is_pci
	je 1f
	movw $0, BAR + 0x3000
	ret
1:	movl $0, MMIO + 0x50
	ret

	/* put the request at HEADER, with DESC's data, into the ring */
put:	movb $0xee, STATUS
	movw $3, DESC + 28
	cmpl $T_OUT, HEADER
	jne 1f
	movw $1, DESC + 28
1:	movw $1, DESC + 14
	cmpl $0, DESC + 24
	jne 1f
	movw $2, DESC + 14 /* no data */
1:	movzwl AVAIL + 2, %eax
	mov %eax, %ecx
	and $(SIZE - 1), %ecx
	movw $0, AVAIL + 4(, %ecx, 2)
	inc %eax
	movw %ax, AVAIL + 2
	jmp kick

	/* the same, and sleep until it is used: its status in eax */
submit:	mov queue_irqs, %edi
	inc %edi
	call put
	sleep_until queue_irqs, %edi
	movzwl AVAIL + 2, %eax
	movzwl USED + 2, %ecx
	EXPECT(%ecx, %eax)
	movzbl STATUS, %eax
	ret

	/* one that is served without an interrupt */
quiet_request:
	movl $T_IN, HEADER
	movl $7, HEADER + 8
	movl $512, DESC + 24
	mov queue_irqs, %ebp
	call put
	call pause
	movzbl STATUS, %eax
	EXPECT(%eax, $0)
	mov queue_irqs, %eax
	EXPECT(%eax, %ebp)
	mov BAR + 0x5000, %eax
	EXPECT(%eax, $1)
	ret
	/* the interrupt of that one */
woken:	inc %ebp
	sleep_until queue_irqs, %ebp
	mov BAR + 0x5000, %eax
	EXPECT(%eax, $0)
	ret

	/* 20 ms */
pause:	mov $PM_TMR, %edx
	inl %dx, %eax
	mov %eax, %ecx
1:	inl %dx, %eax
	sub %ecx, %eax
	cmp $71590, %eax
	jb 1b
	ret

	/* the capability, into edi */
find_msix:
	movzbl CONFIG + 0x34, %edi
1:	movzbl CONFIG(%edi), %eax
	cmp $0x11, %eax
	je 2f
	movzbl CONFIG + 1(%edi), %edi
	test %edi, %edi
	jnz 1b
	EXPECT(%edi, $1)
2:	ret

	/* point both vectors, masked so far, at this CPU, and enable */
msix_on:
	call find_msix
	mov CONFIG + 4(%edi), %eax
	EXPECT(%eax, $0x4000)
	mov BAR + 0x400c, %eax
	EXPECT(%eax, $1)
	movl $LAPIC, BAR + 0x4000
	movl $0, BAR + 0x4004
	movl $QUEUE_VECTOR, BAR + 0x4008
	movl $0, BAR + 0x400c
	movl $LAPIC, BAR + 0x4010
	movl $0, BAR + 0x4014
	movl $CONFIG_VECTOR, BAR + 0x4018
	movl $0, BAR + 0x401c
	orw $0x8000, CONFIG + 2(%edi)
	ret

	/* mmio: both interrupts come here; PCI's line: reading the ISR takes it down */
on_queue:
	push %eax
	cmpb $0, is_pci
	jne 1f
	mov MMIO + 0x60, %eax
	mov %eax, MMIO + 0x64
	jmp 2f
1:	mov $1, %eax
	cmpb $'i', ARGUMENTS
	jne 2f
	movzbl BAR + 0x1000, %eax
2:	test $1, %al
	jz 3f
	incl queue_irqs
3:	test $2, %al
	jz 4f
	incl config_irqs
4:	pop %eax
	irq_end
on_config:
	incl config_irqs
	irq_end
	irq_lib
	flat_lib 32
done:	.asciz "done\n"
	.align 4
queue_irqs: .long 0
config_irqs: .long 0
is_pci:	.byte 0
	pvh_entry start
