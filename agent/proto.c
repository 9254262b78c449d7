#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto.h"

static void put16(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, sizeof(v));
}

static void put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
}

static uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

void proto_put_header(uint8_t to[PROTO_HEADER], uint8_t type, uint8_t stream, uint32_t len)
{
	put32(to, len);
	to[4] = type;
	to[5] = stream;
	put16(to + 6, 0);
}

static uint32_t most(uint8_t type)
{
	switch (type) {
	case PROTO_DATA:
		return PROTO_DATA_MAX;
	case PROTO_CREDIT:
		return 4;
	case PROTO_EOF:
	case PROTO_CLOSE:
	case PROTO_PING:
	case PROTO_PONG:
		return 0;
	case PROTO_LOG:
		return PROTO_LOG_MAX;
	case PROTO_EXEC:
		return PROTO_BODY_MAX;
	default:
		return PROTO_SMALL_MAX;
	}
}

int proto_get_header(const uint8_t from[PROTO_HEADER], struct proto_frame *ret)
{
	struct proto_frame f = { .type = from[4], .stream = from[5], .len = get32(from) };

	if (!f.type || f.type >= PROTO_TYPES || f.stream >= PROTO_STREAMS || get16(from + 6) ||
	    f.len > most(f.type) || (f.type == PROTO_CREDIT && f.len != 4))
		return -EPROTO;
	*ret = f;
	return 0;
}

static uint8_t *grow(struct proto_buf *b, size_t len)
{
	size_t size = b->size ? b->size : 256;
	uint8_t *more;

	if (b->failed)
		return NULL;
	while (size - b->len < len && size <= 2 * (PROTO_BODY_MAX + PROTO_HEADER))
		size *= 2;
	if (size - b->len < len) {
		b->failed = true;
		return NULL;
	}
	if (size != b->size) {
		more = realloc(b->data, size);
		if (!more) {
			b->failed = true;
			return NULL;
		}
		b->data = more;
		b->size = size;
	}
	b->len += len;
	return b->data + b->len - len;
}

void proto_begin(struct proto_buf *b, uint8_t type, uint8_t stream)
{
	uint8_t *p;

	b->start = b->len;
	p = grow(b, PROTO_HEADER);
	if (p)
		proto_put_header(p, type, stream, 0);
}

void proto_raw(struct proto_buf *b, const void *data, size_t len)
{
	uint8_t *p = grow(b, len);

	if (p && len)
		memcpy(p, data, len);
}

void proto_bytes(struct proto_buf *b, uint16_t tag, const void *data, size_t len)
{
	uint8_t *p = len <= PROTO_BODY_MAX ? grow(b, PROTO_ITEM + len) : NULL;

	if (!p) {
		b->failed = true;
		return;
	}
	put16(p, tag);
	put16(p + 2, 0);
	put32(p + 4, (uint32_t)len);
	if (len)
		memcpy(p + PROTO_ITEM, data, len);
}

void proto_text(struct proto_buf *b, uint16_t tag, const char *text)
{
	proto_bytes(b, tag, text, strlen(text));
}

void proto_number(struct proto_buf *b, uint16_t tag, uint64_t v)
{
	proto_bytes(b, tag, &v, sizeof(v));
}

void proto_end(struct proto_buf *b)
{
	size_t len = b->len - b->start - PROTO_HEADER;

	if (b->failed)
		return;
	if (len > most(b->data[b->start + 4]))
		b->failed = true;
	else
		put32(b->data + b->start, (uint32_t)len);
}

void proto_free(struct proto_buf *b)
{
	free(b->data);
	*b = (struct proto_buf){ .data = NULL };
}

int proto_next(struct proto_reader *r, struct proto_item *ret)
{
	size_t left = (size_t)(r->end - r->at);
	uint32_t len;

	if (!left)
		return 0;
	if (left < PROTO_ITEM || get16(r->at + 2))
		return -EPROTO;
	len = get32(r->at + 4);
	if (len > left - PROTO_ITEM)
		return -EPROTO;
	*ret = (struct proto_item){ get16(r->at), len, r->at + PROTO_ITEM };
	r->at += PROTO_ITEM + len;
	return 1;
}

int proto_item_number(const struct proto_item *item, uint64_t *ret)
{
	if (item->len != sizeof(*ret))
		return -EPROTO;
	memcpy(ret, item->data, sizeof(*ret));
	return 0;
}

char *proto_item_text(const struct proto_item *item)
{
	char *text = memchr(item->data, 0, item->len) ? NULL : malloc((size_t)item->len + 1);

	if (!text)
		return NULL;
	memcpy(text, item->data, item->len);
	text[item->len] = '\0';
	return text;
}
