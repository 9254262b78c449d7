/* json.c - JSON as the command writes it, and reads back what it wrote */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hutch.h"
#include "json.h"

size_t json_utf8(const void *data, size_t len)
{
	const char *s = data;
	size_t at = 0, n;

	while (at < len && (n = hutch_utf8_len(s + at, len - at)))
		at += n;
	return at;
}

void json_bytes(FILE *out, const void *data, size_t len)
{
	const char *s = data, *end = s + len;
	size_t n;

	fputc('"', out);
	for (; s < end; s += n ? n : 1) {
		n = hutch_utf8_len(s, (size_t)(end - s));
		if (!n)
			fputs("\\ufffd", out);
		else if (*s == '"' || *s == '\\')
			fprintf(out, "\\%c", *s);
		else if (*s == '\n')
			fputs("\\n", out);
		else if ((unsigned char)*s < 0x20 || *s == 0x7f)
			fprintf(out, "\\u%04x", (unsigned)*s);
		else if (n == 2 && *s == (char)0xc2 && (unsigned char)s[1] < 0xa0)
			fprintf(out, "\\u%04x", (unsigned)(unsigned char)s[1]);
		else
			fwrite(s, 1, n, out);
	}
	fputc('"', out);
}

void json_text(FILE *out, const char *text)
{
	json_bytes(out, text, strlen(text));
}

/* what is being read, and a buffer that takes as much as fits */
struct reader {
	const char *at;
	char *to;
	size_t room; /* without the NUL */
};

static void put(struct reader *r, unsigned c)
{
	if (!r->room)
		return;
	*r->to++ = (char)c;
	r->room--;
}

static void put_utf8(struct reader *r, unsigned c)
{
	if (c < 0x80) {
		put(r, c);
	} else if (c < 0x800) {
		put(r, 0xc0 | c >> 6);
		put(r, 0x80 | (c & 0x3f));
	} else {
		put(r, 0xe0 | c >> 12);
		put(r, 0x80 | (c >> 6 & 0x3f));
		put(r, 0x80 | (c & 0x3f));
	}
}

static int escape(struct reader *r)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *known;
	unsigned c;

	if (*r->at == 'u') {
		for (int i = 1; i <= 4; i++)
			if (!isxdigit((unsigned char)r->at[i]))
				return -EINVAL;
		sscanf(r->at + 1, "%4x", &c);
		put_utf8(r, c ? c : 0xfffd); /* our texts end with a NUL */
		r->at += 5;
		return 0;
	}
	known = *r->at ? strchr(from, *r->at) : NULL;
	if (!known)
		return -EINVAL;
	put(r, (unsigned char)to[known - from]);
	r->at++;
	return 0;
}

static int read_text(struct reader *r)
{
	r->at++;
	while (*r->at != '"') {
		if ((unsigned char)*r->at < 0x20)
			return -EINVAL;
		if (*r->at == '\\') {
			r->at++;
			if (escape(r))
				return -EINVAL;
		} else {
			put(r, (unsigned char)*r->at++);
		}
	}
	r->at++;
	return 0;
}

/* a number, a word, an array or an object, up to the comma or brace that ends it */
static int read_raw(struct reader *r)
{
	const char *start = r->at;
	unsigned depth = 0;
	bool text = false;

	for (; *r->at; put(r, (unsigned char)*r->at++)) {
		char c = *r->at;

		if (text) {
			if (c == '\\' && r->at[1])
				put(r, (unsigned char)*r->at++);
			text = c != '"';
			continue;
		}
		if (!depth && (c == ',' || c == '}' || isspace((unsigned char)c)))
			break;
		text = c == '"';
		depth += c == '{' || c == '[';
		depth -= depth && (c == '}' || c == ']');
	}
	return r->at == start || depth || text ? -EINVAL : 0;
}

static void skip_space(struct reader *r)
{
	while (isspace((unsigned char)*r->at))
		r->at++;
}

static int read_value(struct reader *r, char *buf, size_t size)
{
	int e;

	r->to = buf;
	r->room = size - 1;
	skip_space(r);
	e = *r->at == '"' ? read_text(r) : read_raw(r);
	*r->to = '\0';
	skip_space(r);
	return e;
}

int json_member(const char **at, char *key, size_t key_size, char *value, size_t value_size)
{
	struct reader r = { .at = *at };
	bool first;

	skip_space(&r);
	first = *r.at == '{';
	if (*r.at == '}' || (first && r.at[1 + strspn(r.at + 1, " \t\n\r")] == '}'))
		return 0;
	if (!first && *r.at != ',')
		return -EINVAL;
	r.at++;
	skip_space(&r);
	if (*r.at != '"' || read_value(&r, key, key_size) || *r.at++ != ':' ||
	    read_value(&r, value, value_size) || (*r.at != ',' && *r.at != '}'))
		return -EINVAL;
	*at = r.at;
	return 1;
}
