/* capture.c - what a command says, held for the result */
#include <stdlib.h>
#include <string.h>

#include "capture.h"
#include "json.h"

#define FIRST	   4096
#define BYTES_UTF8 4 /* of the longest character */

void capture_begin(struct capture *c, uint64_t out_max, uint64_t err_max)
{
	const uint64_t max[] = { out_max, err_max };

	*c = (struct capture){ .held = { { .len = 0 } } };
	for (int i = 0; i < 2; i++)
		c->held[i].most = max[i] && max[i] < CAPTURE_MAX ? (size_t)max[i] : CAPTURE_MAX;
}

/* room for @len bytes more, or for as many as there is memory for */
static size_t make_room(struct held *h, size_t len)
{
	size_t size = h->size ? h->size : FIRST;
	char *more;

	while (size < h->len + len)
		size *= 2;
	if (size > h->size && (more = realloc(h->data, size))) {
		h->data = more;
		h->size = size;
	}
	return h->size - h->len < len ? h->size - h->len : len;
}

void capture_put(void *arg, unsigned stream, const void *data, size_t len)
{
	struct held *h = &((struct capture *)arg)->held[stream == 2];
	size_t take = len < h->most - h->len ? len : h->most - h->len;

	/* what comes behind a gap would be a lie */
	take = h->cut || !take ? 0 : make_room(h, take);
	if (take)
		memcpy(h->data + h->len, data, take);
	h->len += take;
	h->cut |= take < len;
}

static void base64(FILE *out, const char *data, size_t len)
{
	static const char digit[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *s = (const unsigned char *)data;

	fputc('"', out);
	for (; len; s += 3, len -= len < 3 ? len : 3) {
		unsigned v = (unsigned)s[0] << 16 | (len > 1 ? (unsigned)s[1] << 8 : 0) |
			     (len > 2 ? s[2] : 0);

		fputc(digit[v >> 18], out);
		fputc(digit[v >> 12 & 63], out);
		fputc(len > 1 ? digit[v >> 6 & 63] : '=', out);
		fputc(len > 2 ? digit[v & 63] : '=', out);
	}
	fputc('"', out);
}

/* bytes of it that are text, or -1 if it is none */
static long text_len(const struct held *h, bool whole)
{
	size_t n = json_utf8(h->data, h->len);

	if (n == h->len || (!whole && h->len - n < BYTES_UTF8))
		return (long)n;
	return -1;
}

void capture_write(const struct capture *c, const bool cut[2], FILE *out)
{
	static const char *const name[] = { "stdout", "stderr" };
	long len[2];
	bool text;

	for (int i = 0; i < 2; i++)
		len[i] = text_len(&c->held[i], !c->held[i].cut && !cut[i]);
	text = len[0] >= 0 && len[1] >= 0;
	for (int i = 0; i < 2; i++) {
		fprintf(out, ",\"%s\":", name[i]);
		if (text)
			json_bytes(out, c->held[i].data, (size_t)len[i]);
		else
			base64(out, c->held[i].data, c->held[i].len);
	}
	fprintf(out, ",\"encoding\":\"%s\"", text ? "utf-8" : "base64");
}

void capture_end(struct capture *c)
{
	for (int i = 0; i < 2; i++)
		free(c->held[i].data);
	*c = (struct capture){ .held = { { .len = 0 } } };
}
