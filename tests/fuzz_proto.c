/*
 * fuzz_proto - the agent's protocol, both ways
 *
 * The input is taken as frames that arrived: nothing in it may be read past its
 * end.  Then it is taken as what to say: what the writer writes, the reader
 * reads, byte for byte.
 */
#include "base.h"
#include "proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool true_or_bug)
{
	BUG_ON(!true_or_bug);
}

static void read_body(const uint8_t *data, size_t len)
{
	uint8_t *own = malloc(len + !len); /* so that its end is watched */
	struct proto_reader r = { own, own + len };
	struct proto_item item;
	uint64_t n = 0;
	size_t seen = 0;

	memcpy(own, data, len);
	while (proto_next(&r, &item) == 1) {
		char *text = proto_item_text(&item);

		require(!text || strlen(text) == item.len);
		require(!proto_item_number(&item, &n) == (item.len == 8));
		seen += 8 + item.len;
		require(seen <= len);
		free(text);
	}
	free(own);
}

static void arrived(const uint8_t *data, size_t size)
{
	struct proto_frame f;

	while (size >= PROTO_HEADER && !proto_get_header(data, &f)) {
		data += PROTO_HEADER;
		size -= PROTO_HEADER;
		if (f.len > size)
			f.len = (uint32_t)size;
		read_body(data, f.len);
		data += f.len;
		size -= f.len;
	}
	read_body(data, size);
}

/* each byte of @data: an item of its tag, with the bytes behind it as value */
static void said(const uint8_t *data, size_t size)
{
	struct proto_buf b = { .data = NULL };
	struct proto_reader r;
	struct proto_item item;
	struct proto_frame f;
	uint8_t type = size ? data[0] : 0, stream = size ? data[0] % 4 : 0;
	size_t at = 0;

	proto_begin(&b, type, stream);
	for (at = 0; at < size && at < 400; at++)
		proto_bytes(&b, data[at], data + at, MIN(size - at, (size_t)data[at]));
	proto_end(&b);
	if (b.failed) {
		proto_free(&b);
		return;
	}
	require(b.len >= PROTO_HEADER);
	if (!proto_get_header(b.data, &f)) {
		require(f.type == type && f.stream == stream && f.len == b.len - PROTO_HEADER);
		r = (struct proto_reader){ b.data + PROTO_HEADER, b.data + b.len };
		for (at = 0; at < size && at < 400; at++) {
			require(proto_next(&r, &item) == 1);
			require(item.tag == data[at]);
			require(item.len == MIN(size - at, (size_t)data[at]));
			require(!memcmp(item.data, data + at, item.len));
		}
		require(proto_next(&r, &item) == 0);
	} else { /* only for what no header can say */
		require(!type || type >= PROTO_TYPES || stream >= PROTO_STREAMS ||
			type == PROTO_CREDIT);
	}
	proto_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	arrived(data, size);
	said(data, size);
	return 0;
}
