/* image_json.c - JSON into one array of values */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image_json.h"

struct parser {
	struct json *j;
	const char *p, *end;
	unsigned depth;
	uint32_t open[JSON_DEPTH]; /* arrays and objects around here */
};

static int fail(struct parser *x, const char *why)
{
	x->j->why = why;
	x->j->line = 1;
	for (const char *p = x->j->text; p < x->p; p++)
		x->j->line += *p == '\n';
	return -EINVAL;
}

static void skip_space(struct parser *x)
{
	while (x->p < x->end && (*x->p == ' ' || *x->p == '\t' || *x->p == '\n' || *x->p == '\r'))
		x->p++;
}

static struct json_value *add(struct parser *x, enum json_kind kind)
{
	struct json *j = x->j;
	struct json_value *more;

	if (j->n == JSON_VALUES)
		return NULL;
	if (!(j->n & (j->n - 1))) { /* full at each power of two */
		more = realloc(j->v, sizeof(*more) * (j->n ? j->n * 2 : 1));
		if (!more)
			return NULL;
		j->v = more;
	}
	j->v[j->n] = (struct json_value){ .kind = kind, .start = (uint32_t)(x->p - j->text) };
	return &j->v[j->n++];
}

static void close_value(struct parser *x, struct json_value *v)
{
	v->len = (uint32_t)(x->p - x->j->text) - v->start;
	v->next = x->j->n;
}

/* how many bytes one well-formed character of UTF-8 takes, 0 if it is none */
static unsigned utf8_len(const char *text, const char *end)
{
	const unsigned char *p = (const unsigned char *)text;
	unsigned n = p[0] < 0x80			     ? 1
		     : (p[0] & 0xe0) == 0xc0 && p[0] >= 0xc2 ? 2
		     : (p[0] & 0xf0) == 0xe0		     ? 3
		     : (p[0] & 0xf8) == 0xf0 && p[0] <= 0xf4 ? 4
							     : 0;

	if (!n || (size_t)(end - text) < n)
		return 0;
	for (unsigned i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

static int hex4(const char *p, const char *end)
{
	int v = 0;

	if (end - p < 4)
		return -1;
	for (unsigned i = 0; i < 4; i++) {
		static const char digits[] = "0123456789abcdef";
		const char *d = p[i] ? strchr(digits, p[i] | (p[i] >= 'A' ? 0x20 : 0)) : NULL;

		if (!d)
			return -1;
		v = v << 4 | (int)(d - digits);
	}
	return v;
}

static int take_string(struct parser *x)
{
	struct json_value *v;

	x->p++;
	v = add(x, JSON_STRING);
	if (!v)
		return fail(x, "there are too many values");
	while (x->p < x->end && *x->p != '"') {
		unsigned n = utf8_len(x->p, x->end);

		if (!n || (unsigned char)*x->p < 0x20)
			return fail(x, "a string has a byte that does not belong there");
		x->p += n;
		if (x->p[-1] != '\\' || n != 1)
			continue;
		if (x->p == x->end || !*x->p || !strchr("\"\\/bfnrtu", *x->p))
			return fail(x, "a backslash stands before what it cannot stand before");
		if (*x->p == 'u' && hex4(x->p + 1, x->end) < 0)
			return fail(x, "\\u needs four hexadecimal digits");
		x->p += *x->p == 'u' ? 5 : 1;
	}
	if (x->p == x->end)
		return fail(x, "a string has no end");
	close_value(x, v);
	x->p++;
	return 0;
}

static unsigned digits(struct parser *x)
{
	unsigned n = 0;

	for (; x->p < x->end && *x->p >= '0' && *x->p <= '9'; n++)
		x->p++;
	return n;
}

static int take_number(struct parser *x)
{
	struct json_value *v = add(x, JSON_NUMBER);
	const char *first;
	unsigned n;

	if (!v)
		return fail(x, "there are too many values");
	if (*x->p == '-')
		x->p++;
	first = x->p;
	n = digits(x);
	if (!n || (n > 1 && *first == '0'))
		return fail(x, "this is not a number");
	if (x->p < x->end && *x->p == '.') {
		x->p++;
		if (!digits(x))
			return fail(x, "this is not a number");
	}
	if (x->p < x->end && (*x->p == 'e' || *x->p == 'E')) {
		x->p++;
		if (x->p < x->end && (*x->p == '+' || *x->p == '-'))
			x->p++;
		if (!digits(x))
			return fail(x, "this is not a number");
	}
	close_value(x, v);
	return 0;
}

static int take_word(struct parser *x)
{
	static const struct {
		const char *word;
		enum json_kind kind;
	} words[] = { { "true", JSON_BOOL }, { "false", JSON_BOOL }, { "null", JSON_NULL } };

	for (unsigned i = 0; i < sizeof(words) / sizeof(*words); i++) {
		size_t n = strlen(words[i].word);
		struct json_value *v;

		if ((size_t)(x->end - x->p) < n || memcmp(x->p, words[i].word, n))
			continue;
		v = add(x, words[i].kind);
		if (!v)
			return fail(x, "there are too many values");
		x->p += n;
		close_value(x, v);
		return 0;
	}
	return fail(x, "a value is expected here");
}

/* a value begins here; an array or object stays open */
static int take_value(struct parser *x)
{
	if (x->p == x->end)
		return fail(x, "the text ends too early");
	if (*x->p == '"')
		return take_string(x);
	if (*x->p == '-' || (*x->p >= '0' && *x->p <= '9'))
		return take_number(x);
	if (*x->p != '{' && *x->p != '[')
		return take_word(x);
	if (x->depth == JSON_DEPTH)
		return fail(x, "arrays and objects are nested too deeply");
	if (!add(x, *x->p == '{' ? JSON_OBJECT : JSON_ARRAY))
		return fail(x, "there are too many values");
	x->open[x->depth++] = x->j->n - 1;
	x->p++;
	return 0;
}

static int take_name(struct parser *x)
{
	int r;

	if (x->p == x->end || *x->p != '"')
		return fail(x, "a name in quotes is expected here");
	r = take_string(x);
	if (r)
		return r;
	skip_space(x);
	if (x->p == x->end || *x->p != ':')
		return fail(x, "a colon is missing");
	x->p++;
	skip_space(x);
	return 0;
}

/* after an item or the opening bracket: the next item's start, or the brackets that close here */
static int between(struct parser *x)
{
	bool first = x->depth && x->open[x->depth - 1] == x->j->n - 1;

	for (;;) {
		struct json_value *v;
		char last;

		skip_space(x);
		if (!x->depth)
			return x->p == x->end ? 0 : fail(x, "something follows the end");
		v = &x->j->v[x->open[x->depth - 1]];
		last = v->kind == JSON_OBJECT ? '}' : ']';
		if (x->p < x->end && *x->p == last) {
			x->p++;
			close_value(x, v);
			x->depth--;
			first = false;
			continue;
		}
		if (!first) {
			if (x->p == x->end || *x->p != ',')
				return fail(x, "a comma or a closing bracket is missing");
			x->p++;
			skip_space(x);
		}
		return v->kind == JSON_OBJECT ? take_name(x) : 0;
	}
}

int json_parse(struct json *ret, const char *text, size_t len)
{
	struct parser x = { .j = ret, .p = text, .end = text + len };
	int r;

	*ret = (struct json){ .text = text };
	if (len > JSON_SIZE)
		return -EFBIG;
	skip_space(&x);
	do {
		r = take_value(&x);
		if (!r)
			r = between(&x);
	} while (!r && x.depth);
	if (r)
		json_free(ret);
	return r;
}

void json_free(struct json *j)
{
	free(j->v);
	j->v = NULL;
	j->n = 0;
}

const struct json_value *json_first(const struct json *j, const struct json_value *array)
{
	return array && array->kind == JSON_ARRAY ? json_next(j, array, NULL) : NULL;
}

const struct json_value *json_next(const struct json *j, const struct json_value *array,
				   const struct json_value *item)
{
	uint32_t i = item ? item->next : (uint32_t)(array - j->v) + 1;

	return i < array->next ? &j->v[i] : NULL;
}

const struct json_value *json_get(const struct json *j, const struct json_value *object,
				  const char *name)
{
	const struct json_value *found = NULL;

	if (!object || object->kind != JSON_OBJECT)
		return NULL;
	for (const struct json_value *key = json_next(j, object, NULL); key;
	     key = json_next(j, object, key + 1)) {
		if (!json_is(j, key, name))
			continue;
		if (found)
			return NULL;
		found = key + 1;
	}
	return found;
}

/* the character at @*p as UTF-8: how many bytes, 0 if it is half of one */
static unsigned decode(const char **p, const char *end, char out[4])
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	uint32_t c;
	unsigned n;

	if (**p != '\\') {
		out[0] = *(*p)++;
		return 1;
	}
	if ((*p)[1] != 'u') {
		out[0] = to[strchr(from, (*p)[1]) - from];
		*p += 2;
		return 1;
	}
	c = (uint32_t)hex4(*p + 2, end);
	*p += 6;
	if (c >= 0xd800 && c < 0xdc00 && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u') {
		uint32_t low = (uint32_t)hex4(*p + 2, end);

		if (low < 0xdc00 || low > 0xdfff)
			return 0;
		*p += 6;
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	if (c >= 0xd800 && c < 0xe000)
		return 0;
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	for (unsigned i = n - 1; i; i--, c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3f));
	out[0] = (char)((0xf00U >> n & 0xf0) | c);
	return n;
}

int json_string(const struct json *j, const struct json_value *v, char *buf, size_t size)
{
	const char *p, *end;
	size_t len = 0;

	if (!v || v->kind != JSON_STRING)
		return -1;
	p = j->text + v->start;
	end = p + v->len;
	while (p < end) {
		char out[4] = { 0 };
		unsigned n = decode(&p, end, out);

		if (!n || !out[0] || n >= size - len)
			return -1;
		memcpy(buf + len, out, n);
		len += n;
	}
	if (len >= size)
		return -1;
	buf[len] = '\0';
	return 0;
}

bool json_is(const struct json *j, const struct json_value *v, const char *text)
{
	char buf[256];

	return !json_string(j, v, buf, sizeof(buf)) && !strcmp(buf, text);
}

int json_uint(const struct json *j, const struct json_value *v, uint64_t *ret)
{
	uint64_t n = 0;

	if (!v || v->kind != JSON_NUMBER)
		return -1;
	for (uint32_t i = 0; i < v->len; i++) {
		char c = j->text[v->start + i];

		if (c < '0' || c > '9' || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(c - '0'), &n))
			return -1;
	}
	*ret = n;
	return 0;
}
