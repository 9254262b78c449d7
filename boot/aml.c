#include <ctype.h>

#include "aml.h"

enum {
	OP_ZERO = 0x00,
	OP_ONE = 0x01,
	OP_NAME = 0x08,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_STRING = 0x0d,
	OP_QWORD = 0x0e,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_METHOD = 0x14,
	OP_DUAL_NAME = 0x2e,
	OP_EXT = 0x5b,
	OP_ROOT = 0x5c,
	OP_EXT_DEVICE = 0x82,
	OP_NOTIFY = 0x86,
};

enum {
	ITEM_IRQ = 0x22, /* IRQNoFlags: the two bytes of a mask follow */
	ITEM_IO = 0x47,
	ITEM_END = 0x79, /* with its checksum, where 0 stands for "none" */
	ITEM_MEM32_FIXED = 0x86,
	ITEM_DWORD = 0x87,
	ITEM_WORD = 0x88,
	ITEM_INTERRUPT = 0x89,
	ITEM_QWORD = 0x8a,
};

enum space { SPACE_MEM, SPACE_IO, SPACE_BUS }; /* "resource type" of an address space item */

#define IO_DECODE16	0x01
#define MEM_WRITABLE	0x01
#define IO_ENTIRE_RANGE 0x03
#define IRQ_EDGE	0x02
#define IRQ_CONSUMER	0x01
#define PRODUCER_FIXED	0x0c /* a producer; both the minimum and the maximum are fixed */

void aml_init(struct aml *aml, void *buf, size_t max)
{
	*aml = (struct aml){ .buf = buf, .max = max };
}

int aml_done(const struct aml *aml, size_t *ret_len)
{
	BUG_ON(aml->depth);
	if (aml->full)
		return -ENOSPC;
	*ret_len = aml->len;
	return 0;
}

/* put bytes in at @at, moving up what is behind */
static void insert(struct aml *aml, size_t at, const void *bytes, size_t len)
{
	if (aml->full || len > aml->max - aml->len) {
		aml->full = true;
		return;
	}
	memmove(aml->buf + at + len, aml->buf + at, aml->len - at);
	memcpy(aml->buf + at, bytes, len);
	aml->len += len;
}

void aml_raw(struct aml *aml, const void *bytes, size_t len)
{
	insert(aml, aml->len, bytes, len);
}

void aml_le(struct aml *aml, uint64_t v, unsigned size)
{
	uint8_t bytes[8];

	BUG_ON(size > sizeof(bytes));
	for (unsigned i = 0; i < size; i++)
		bytes[i] = (uint8_t)(v >> 8 * i);
	aml_raw(aml, bytes, size);
}

static void byte(struct aml *aml, uint8_t v)
{
	aml_raw(aml, &v, 1);
}

/* a value begins: if a package is being written, it is one more element of it */
static void element(struct aml *aml)
{
	if (aml->depth)
		aml->open[aml->depth - 1].elements++;
}

static void name_string(struct aml *aml, const char *name)
{
	char seg[4] = "____";
	size_t len = strlen(name);

	BUG_ON(!len || len > sizeof(seg) || isdigit((unsigned char)name[0]));
	for (size_t i = 0; i < len; i++) {
		BUG_ON(!isupper((unsigned char)name[i]) && !isdigit((unsigned char)name[i]) &&
		       name[i] != '_');
		seg[i] = name[i];
	}
	aml_raw(aml, seg, sizeof(seg));
}

/* the length, which counts its own bytes too, goes in front when it is known: at the end */
static void begin(struct aml *aml, enum aml_kind kind)
{
	BUG_ON(aml->depth == AML_DEPTH);
	aml->open[aml->depth++] = (struct aml_open){ .kind = kind, .at = aml->len };
}

/* how an integer is written, in the fewest bytes: how many */
static size_t encode_int(uint8_t *p, uint64_t v)
{
	unsigned size = v <= 0xff ? 1 : v <= 0xffff ? 2 : v <= 0xffffffff ? 4 : 8;

	if (v == OP_ZERO || v == OP_ONE) {
		p[0] = (uint8_t)v;
		return 1;
	}
	p[0] = size == 1 ? OP_BYTE : size == 2 ? OP_WORD : size == 4 ? OP_DWORD : OP_QWORD;
	for (unsigned i = 0; i < size; i++)
		p[1 + i] = (uint8_t)(v >> 8 * i);
	return 1 + size;
}

/*
 * PkgLength of @content bytes: 6 bits in one byte, or 4 bits and up to 3 bytes
 * more, whose number stands in the top two bits of the first
 */
static size_t encode_length(uint8_t *p, size_t content)
{
	size_t size = 1, v;

	BUG_ON(content >= 1U << 27);
	while (content + size >= (size == 1 ? 1U << 6 : 1U << (8 * size - 4)))
		size++;
	v = content + size;
	if (size == 1) {
		p[0] = (uint8_t)v;
		return 1;
	}
	p[0] = (uint8_t)((size - 1) << 6 | (v & 0xf));
	v >>= 4;
	for (size_t i = 1; i < size; i++, v >>= 8)
		p[i] = (uint8_t)v;
	return size;
}

/* what stands between length and content: the number of elements, or that of bytes */
static size_t encode_count(uint8_t *p, const struct aml_open *open, size_t bytes)
{
	switch (open->kind) {
	case AML_PACKAGE:
		BUG_ON(open->elements > 255);
		p[0] = (uint8_t)open->elements;
		return 1;
	case AML_CRS:
		return encode_int(p, bytes);
	case AML_BLOCK:
		break;
	}
	return 0;
}

void aml_end(struct aml *aml)
{
	uint8_t length[4], count[9];
	struct aml_open *open;
	size_t content, n;

	BUG_ON(!aml->depth);
	open = &aml->open[--aml->depth];
	if (open->kind == AML_CRS)
		aml_le(aml, ITEM_END, 2);
	if (aml->full)
		return;
	content = aml->len - open->at;
	n = encode_count(count, open, content);
	insert(aml, open->at, count, n);
	insert(aml, open->at, length, encode_length(length, content + n));
}

void aml_scope(struct aml *aml, const char *name)
{
	byte(aml, OP_SCOPE);
	begin(aml, AML_BLOCK);
	name_string(aml, name);
}

void aml_device(struct aml *aml, const char *name)
{
	byte(aml, OP_EXT);
	byte(aml, OP_EXT_DEVICE);
	begin(aml, AML_BLOCK);
	name_string(aml, name);
}

void aml_name(struct aml *aml, const char *name)
{
	byte(aml, OP_NAME);
	name_string(aml, name);
}

void aml_method(struct aml *aml, const char *name)
{
	byte(aml, OP_METHOD);
	begin(aml, AML_BLOCK);
	name_string(aml, name);
	byte(aml, 0); /* no arguments, not serialized */
}

void aml_notify(struct aml *aml, const char *scope, const char *device, uint8_t what)
{
	byte(aml, OP_NOTIFY);
	byte(aml, OP_ROOT);
	byte(aml, OP_DUAL_NAME);
	name_string(aml, scope);
	name_string(aml, device);
	aml_int(aml, what);
}

void aml_package(struct aml *aml)
{
	element(aml);
	byte(aml, OP_PACKAGE);
	begin(aml, AML_PACKAGE);
}

void aml_int(struct aml *aml, uint64_t v)
{
	uint8_t bytes[9];

	element(aml);
	aml_raw(aml, bytes, encode_int(bytes, v));
}

void aml_string(struct aml *aml, const char *s)
{
	element(aml);
	byte(aml, OP_STRING);
	aml_raw(aml, s, strlen(s) + 1);
}

/* three letters of 5 bits and four hexadecimal digits, the most significant byte first */
void aml_eisa(struct aml *aml, const char *id)
{
	uint32_t v = 0;

	BUG_ON(strlen(id) != 7);
	for (unsigned i = 0; i < 3; i++) {
		BUG_ON(id[i] < 'A' || id[i] > 'Z');
		v = v << 5 | (uint32_t)(id[i] - '@');
	}
	for (unsigned i = 3; i < 7; i++) {
		BUG_ON(!isdigit((unsigned char)id[i]) && (id[i] < 'A' || id[i] > 'F'));
		v = v << 4 | (uint32_t)(id[i] <= '9' ? id[i] - '0' : id[i] - 'A' + 10);
	}
	aml_int(aml, __builtin_bswap32(v));
}

void aml_crs(struct aml *aml)
{
	element(aml);
	byte(aml, OP_BUFFER);
	begin(aml, AML_CRS);
}

void aml_io(struct aml *aml, uint16_t port, uint8_t len)
{
	byte(aml, ITEM_IO);
	byte(aml, IO_DECODE16);
	aml_le(aml, port, 2); /* the lowest base, and the highest */
	aml_le(aml, port, 2);
	byte(aml, 1); /* alignment */
	byte(aml, len);
}

void aml_irq(struct aml *aml, unsigned isa_irq)
{
	BUG_ON(isa_irq > 15);
	byte(aml, ITEM_IRQ);
	aml_le(aml, 1U << isa_irq, 2);
}

void aml_interrupt(struct aml *aml, uint32_t gsi)
{
	byte(aml, ITEM_INTERRUPT);
	aml_le(aml, 6, 2); /* bytes that follow */
	byte(aml, IRQ_CONSUMER | IRQ_EDGE);
	byte(aml, 1); /* number of interrupts */
	aml_le(aml, gsi, 4);
}

void aml_mem32(struct aml *aml, uint32_t base, uint32_t len)
{
	byte(aml, ITEM_MEM32_FIXED);
	aml_le(aml, 9, 2); /* bytes that follow */
	byte(aml, MEM_WRITABLE);
	aml_le(aml, base, 4);
	aml_le(aml, len, 4);
}

/* an address space item whose addresses are of @size bytes */
static void window(struct aml *aml, uint8_t item, unsigned size, enum space space, uint8_t flags,
		   uint64_t first, uint64_t last)
{
	uint64_t len = last - first + 1;

	BUG_ON(first > last || !len || (size < 8 && len >> 8 * size));
	byte(aml, item);
	aml_le(aml, 3 + 5 * size, 2); /* bytes that follow */
	byte(aml, (uint8_t)space);
	byte(aml, PRODUCER_FIXED);
	byte(aml, flags);
	aml_le(aml, 0, size); /* granularity */
	aml_le(aml, first, size);
	aml_le(aml, last, size);
	aml_le(aml, 0, size); /* offset of the addresses on the bus */
	aml_le(aml, len, size);
}

void aml_bus_window(struct aml *aml, uint16_t first, uint16_t last)
{
	window(aml, ITEM_WORD, 2, SPACE_BUS, 0, first, last);
}

void aml_io_window(struct aml *aml, uint16_t first, uint16_t last)
{
	window(aml, ITEM_WORD, 2, SPACE_IO, IO_ENTIRE_RANGE, first, last);
}

void aml_mem32_window(struct aml *aml, uint32_t first, uint32_t last)
{
	window(aml, ITEM_DWORD, 4, SPACE_MEM, MEM_WRITABLE, first, last);
}

void aml_mem64_window(struct aml *aml, uint64_t first, uint64_t last)
{
	window(aml, ITEM_QWORD, 8, SPACE_MEM, MEM_WRITABLE, first, last);
}
