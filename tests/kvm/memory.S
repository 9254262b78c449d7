/*
 * memory - stores to the first and last page of each range of RAM, then looks at all of them
 *
 * Prints the ranges of the PVH memory map from 1 MiB up.
 */
#include "flat.h"

#define NEXT_TABLE (PML4 + 0x6000)

	.code32
	.text
	.global start
start:
	mov %ebx, %ebp
	cld
	long_mode
	mov $NEXT_TABLE, %r15d
	call ranges /* look, and store */
	incl pass
	call ranges
	print done
	power_off

ranges:	mov 40(%rbp), %rsi /* start info: the map, and its entries */
	mov 48(%rbp), %r14d
1:	mov (%rsi), %r8
	mov 8(%rsi), %r9
	cmpl $1, 16(%rsi)
	jne 2f
	cmp $0x100000, %r8
	jb 2f
	call range
2:	add $24, %rsi
	dec %r14d
	jnz 1b
	ret

	/* r8: start, r9: bytes */
range:	push %rsi
	cmpl $0, pass
	jne 3f
	mov %r8, %r10
	call put64
	mov %r9, %r10
	call put64
3:	mov %r8, %rdi
	add $0xff0, %rdi
	call touch
	lea -8(%r8, %r9), %rdi
	call touch
	lea (%r8, %r9), %rdi
	sub $4096, %rdi
	call touch
	pop %rsi
	ret

	/* the word at rdi: 0 at first, then its address */
touch:	call map
	cmpl $0, pass
	jne 4f
	mov (%rdi), %rax
	EXPECT64(%rax, $0)
	mov %rdi, (%rdi)
	ret
4:	mov (%rdi), %rax
	EXPECT64(%rax, %rdi)
	ret

	/* have rdi mapped, by 2 MiB; uses rax, rcx, rdx */
map:	mov %rdi, %rcx
	shr $30, %rcx
	lea PML4 + 0x1000(, %rcx, 8), %rcx
	mov (%rcx), %rax
	test %rax, %rax
	jnz 5f
	lea 3(%r15), %rax
	mov %rax, (%rcx)
	add $0x1000, %r15
	mov %cr3, %rdx
	mov %rdx, %cr3
5:	and $~0xfff, %rax
	mov %rdi, %rcx
	shr $21, %rcx
	and $511, %ecx
	mov %rdi, %rdx
	and $~0x1fffff, %rdx
	or $0x83, %rdx
	mov %rdx, (%rax, %rcx, 8)
	mov %cr3, %rdx
	mov %rdx, %cr3
	ret

put64:	mov %r10, %rbx
	shr $32, %rbx
	call print_hex64
	mov %r10, %rbx
	call print_hex64
	mov $'\n', %al
	outb %al, %dx
	ret

	flat_lib 64
	.align 4
pass:	.long 0
done:	.asciz "done\n"
	pvh_entry start
