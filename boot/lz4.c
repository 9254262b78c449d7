/*
 * lz4.c - how it works
 *
 * A block is a row of sequences: a token (two lengths of 4 bits), literals, a
 * 16-bit offset, and a match of 4 bytes or more copied from that far back.  A
 * length of 15 goes on in bytes of up to 255.  The last sequence of a block
 * ends behind its literals.
 *
 * 1. One state a step, each of which can stop at any byte and go on later.
 * 2. fast() does the sequences that are short on both sides, while there is
 *    input and room for the longest of them: no checks inside, and copies of a
 *    fixed size that may store more than they count.
 * 3. A match never reaches before its block: offset <= made.  The caller keeps
 *    LZ4_WINDOW bytes before io->out, more than an offset can say.
 */
#include <endian.h>

#include "lz4.h"

#define BLOCK_SIZE (8 * MiB)
#define BLOCK_MOST (BLOCK_SIZE + BLOCK_SIZE / 255 + 16)

#define FAST_IN	   32 /* token, 14 literals copied as 16, offset */
#define FAST_OUT   64 /* 14 literals and 18 bytes of match, copied as 16 and 24 */

static void advance_in(struct lz4 *z, struct lz4_io *io, size_t n)
{
	io->in += n;
	io->in_left -= n;
	z->block_left -= (uint32_t)n;
}

static void advance_out(struct lz4 *z, struct lz4_io *io, size_t n)
{
	io->out += n;
	io->out_left -= n;
	z->made += n;
}

/* copy a match: what lies between @src and the end repeats, so each round may take twice as much */
static void copy_match(uint8_t *out, size_t offset, size_t len)
{
	const uint8_t *src = out - offset;

	while (len) {
		size_t n = MIN(len, (size_t)(out - src));

		memcpy(out, src, n);
		out += n;
		len -= n;
	}
}

static void copy_short(uint8_t *out, size_t offset)
{
	memcpy(out, out - offset, 8);
	memcpy(out + 8, out + 8 - offset, 8);
	memcpy(out + 16, out + 16 - offset, 8);
}

/* sequences of fewer than 15 literals and at most 18 bytes of match; leaves the rest to the states
 */
static void fast(struct lz4 *z, struct lz4_io *io)
{
	const uint8_t *in = io->in, *in_end = in + MIN(io->in_left, z->block_left);
	uint8_t *out = io->out, *out_end = out + io->out_left;
	uint64_t made = z->made;

	while (in_end - in >= FAST_IN && out_end - out >= FAST_OUT) {
		unsigned literals = *in >> 4, match = (*in & 15U) + 4, offset;

		if (literals == 15 || match == 15 + 4)
			break;
		offset = in[1 + literals] | (unsigned)in[2 + literals] << 8;
		if (!offset || offset > made + literals)
			break;
		memcpy(out, in + 1, 16);
		in += 1 + literals + 2;
		out += literals;
		if (offset >= 8)
			copy_short(out, offset);
		else
			copy_match(out, offset, match);
		out += match;
		made += literals + match;
	}
	advance_in(z, io, (size_t)(in - io->in));
	io->out_left -= (size_t)(out - io->out);
	io->out = out;
	z->made = made;
}

/* collect a little-endian number: false if input ran out first */
static bool number(struct lz4 *z, struct lz4_io *io)
{
	for (; z->number_len < 4; z->number_len++) {
		if (!io->in_left)
			return false;
		z->number |= (uint32_t)*io->in++ << 8 * z->number_len;
		io->in_left--;
	}
	return true;
}

static int bad(struct lz4 *z)
{
	z->state = LZ4_BAD;
	return -EBADMSG;
}

static int block_start(struct lz4 *z)
{
	uint32_t len = z->number;

	z->number = 0;
	z->number_len = 0;
	if (z->state == LZ4_START && len != LZ4_MAGIC)
		return bad(z);
	z->state = LZ4_BLOCK;
	if (len == LZ4_MAGIC) /* also between blocks: frames may be joined */
		return 0;
	if (!len || len > BLOCK_MOST) {
		z->state = LZ4_BAD;
		return -ENODATA;
	}
	z->block_left = len;
	z->made = 0;
	z->state = LZ4_TOKEN;
	return 0;
}

/* one byte of a token, a length or an offset */
static int step_byte(struct lz4 *z, struct lz4_io *io)
{
	unsigned byte = *io->in;

	if (!z->block_left)
		return bad(z);
	advance_in(z, io, 1);
	switch (z->state) {
	case LZ4_TOKEN:
		z->token = byte;
		z->run = byte >> 4;
		z->state = z->run == 15 ? LZ4_LITERALS_MORE : LZ4_LITERALS;
		return 0;
	case LZ4_LITERALS_MORE:
	case LZ4_MATCH_MORE:
		z->run += byte;
		if (byte != 255)
			z->state = z->state == LZ4_MATCH_MORE ? LZ4_MATCH : LZ4_LITERALS;
		return 0;
	case LZ4_OFFSET_LOW:
		z->offset = byte;
		z->state = LZ4_OFFSET_HIGH;
		return 0;
	default: /* LZ4_OFFSET_HIGH */
		z->offset |= byte << 8;
		if (!z->offset || z->offset > z->made)
			return bad(z);
		z->run = (z->token & 15) + 4;
		z->state = z->run == 15 + 4 ? LZ4_MATCH_MORE : LZ4_MATCH;
		return 0;
	}
}

static int step_literals(struct lz4 *z, struct lz4_io *io)
{
	size_t n = MIN(z->run, MIN(io->in_left, io->out_left));

	if (z->run > z->block_left)
		return bad(z);
	memcpy(io->out, io->in, n);
	advance_in(z, io, n);
	advance_out(z, io, n);
	z->run -= n;
	if (!z->run)
		z->state = z->block_left ? LZ4_OFFSET_LOW : LZ4_BLOCK;
	return 0;
}

static void step_match(struct lz4 *z, struct lz4_io *io)
{
	size_t n = MIN(z->run, io->out_left);

	copy_match(io->out, z->offset, n);
	advance_out(z, io, n);
	z->run -= n;
	if (!z->run)
		z->state = z->block_left ? LZ4_TOKEN : LZ4_BLOCK;
}

int lz4_run(struct lz4 *z, struct lz4_io *io)
{
	int r = 0;

	while (!r) {
		switch (z->state) {
		case LZ4_BAD:
			return -EBADMSG;
		case LZ4_START:
		case LZ4_BLOCK:
			if (!number(z, io))
				return 0;
			r = block_start(z);
			break;
		case LZ4_LITERALS:
			if (z->run && (!io->in_left || !io->out_left))
				return 0;
			r = step_literals(z, io);
			break;
		case LZ4_MATCH:
			if (!io->out_left)
				return 0;
			step_match(z, io);
			break;
		default:
			if (z->state == LZ4_TOKEN)
				fast(z, io);
			if (!io->in_left)
				return 0;
			r = step_byte(z, io);
			break;
		}
	}
	return r;
}
