/*
 * conf_toml.c - TOML 1.0, as much of it as the keys need, as events of a configuration
 *
 *	memory = "1G"
 *	cpus = 2
 *	initrd = ["a", "b"]
 *	[[disk]]
 *	path = "root.img"
 *
 * 1. Each call of next() tells one event.  What is open is a stack of brackets,
 *    and [[key]] opens a list and a mapping that the next header, or the end, closes.
 * 2. What follows a value depends on the stack alone: the end of the line, a
 *    comma, or the closing bracket; `after` says that it has not been seen yet.
 * 3. A value is told as text, and the field tables say what it means: numbers
 *    come without underscores, and octal and binary ones in decimal.
 * 4. What no key takes is refused with a reason: [table], dotted keys, floats, dates.
 */
#include "conf_event.h"

#define DEPTH 32

struct toml {
	struct conf_events events;
	const char *at, *end;
	size_t line;
	char *text; /* the last scalar; what is read is never longer than what stands there */
	char open[DEPTH];
	unsigned depth;
	bool begun;
	bool in_table;
	bool value; /* a key was told, and its value is next */
	bool after; /* a value was told, and not yet what follows it */
	struct conf_event queue[5];
	unsigned queued, told;
};

static int fail(const struct toml *t, const char *why)
{
	return err(-EINVAL, "%s:%zu: %s", t->events.name, t->line, why);
}

/* --- bytes --- */

static int peek(const struct toml *t)
{
	return t->at < t->end ? (unsigned char)*t->at : -1;
}

static bool starts(const struct toml *t, const char *with)
{
	size_t len = strlen(with);

	return (size_t)(t->end - t->at) >= len && !memcmp(t->at, with, len);
}

static bool skip(struct toml *t, const char *what)
{
	if (!starts(t, what))
		return false;
	t->at += strlen(what);
	return true;
}

static void skip_blanks(struct toml *t)
{
	while (peek(t) == ' ' || peek(t) == '\t')
		t->at++;
}

static bool skip_newline(struct toml *t)
{
	if (!skip(t, "\n") && !skip(t, "\r\n"))
		return false;
	t->line++;
	return true;
}

static bool is_control(int c)
{
	return (c >= 0 && c < ' ' && c != '\t') || c == 0x7f;
}

/* blanks, a remark, and what else stands before the line's end */
static int skip_remark(struct toml *t)
{
	skip_blanks(t);
	if (peek(t) != '#')
		return 0;
	while (peek(t) >= 0 && !starts(t, "\n") && !starts(t, "\r\n")) {
		if (is_control(peek(t)))
			return fail(t, "a control character stands in a remark");
		t->at++;
	}
	return 0;
}

/* all that means nothing, over lines */
static int skip_lines(struct toml *t)
{
	int r;

	do {
		r = skip_remark(t);
	} while (!r && skip_newline(t));
	return r;
}

/* how many bytes the character at @s takes, 0 if it is not UTF-8 */
static unsigned utf8_length(const unsigned char *s, size_t len)
{
	unsigned n = s[0] < 0x80	     ? 1
		     : (s[0] & 0xe0) == 0xc0 ? 2
		     : (s[0] & 0xf0) == 0xe0 ? 3
		     : (s[0] & 0xf8) == 0xf0 ? 4
					     : 0;
	uint32_t c = n ? s[0] & (0xffu >> n) : 0;
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };

	if (n < 2)
		return n;
	for (unsigned i = 1; i < n; i++) {
		if (i >= len || (s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	return c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : n;
}

static int check_utf8(struct toml *t)
{
	size_t line = t->line;
	unsigned n;

	for (const char *s = t->at; s < t->end; s += n) {
		n = utf8_length((const unsigned char *)s, (size_t)(t->end - s));
		if (!n)
			return err(-EINVAL, "%s:%zu: what stands here is not UTF-8", t->events.name,
				   line);
		line += *s == '\n';
	}
	return 0;
}

static char *put_utf8(char *to, uint32_t c)
{
	if (c < 0x80) {
		*to++ = (char)c;
		return to;
	}
	if (c >= 0x10000) {
		*to++ = (char)(0xf0 | c >> 18);
		*to++ = (char)(0x80 | (c >> 12 & 0x3f));
	} else if (c >= 0x800) {
		*to++ = (char)(0xe0 | c >> 12);
	}
	if (c >= 0x800)
		*to++ = (char)(0x80 | (c >> 6 & 0x3f));
	else
		*to++ = (char)(0xc0 | c >> 6);
	*to++ = (char)(0x80 | (c & 0x3f));
	return to;
}

static int digit(int c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : 99;
}

/* --- scalars --- */

/* \u0041 and \U00000041, behind the letter */
static int take_code(struct toml *t, unsigned digits, char **to)
{
	uint32_t c = 0;

	for (unsigned i = 0; i < digits; i++, t->at++) {
		if (digit(peek(t)) > 15)
			return fail(t, "\\u takes 4 hexadecimal digits, and \\U takes 8");
		c = c << 4 | (uint32_t)digit(peek(t));
	}
	if (!c)
		return fail(t, "a NUL byte stands in a value");
	if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return fail(t, "\\u names no character");
	*to = put_utf8(*to, c);
	return 0;
}

/* behind a backslash */
static int take_escape(struct toml *t, bool lines, char **to)
{
	static const char from[] = "btnfr\"\\", into[] = "\b\t\n\f\r\"\\";
	const char *which = peek(t) > 0 ? strchr(from, peek(t)) : NULL;
	const char *here = t->at;

	if (which) {
		t->at++;
		*(*to)++ = into[which - from];
		return 0;
	}
	if (skip(t, "u"))
		return take_code(t, 4, to);
	if (skip(t, "U"))
		return take_code(t, 8, to);
	/* at the end of a line: up to what is written next */
	skip_blanks(t);
	if (lines && skip_newline(t)) {
		do {
			skip_blanks(t);
		} while (skip_newline(t));
		return 0;
	}
	t->at = here;
	return fail(t, "\\ is followed by none of b t n f r \" \\ u U; a text in '...' is taken "
		       "as it stands");
}

/* the closing quote, before which up to two more may stand where there are three: false if it is
 * not here */
static bool take_end(struct toml *t, const char *quote, char **to)
{
	size_t len = strlen(quote), n = 0;

	if (!starts(t, quote))
		return false;
	while (len == 3 && n < 5 && t->at + n < t->end && t->at[n] == *quote)
		n++;
	for (size_t more = len; more < n; more++)
		*(*to)++ = *quote;
	t->at += MAX(n, len);
	return true;
}

/* @quote is one of " ' and three of them */
static int take_string(struct toml *t, const char *quote)
{
	bool lines = quote[1], escapes = *quote == '"';
	size_t line = t->line;
	char *to = t->text;
	int r = 0;

	t->at += strlen(quote);
	if (lines)
		skip_newline(t);
	while (!r && !take_end(t, quote, &to)) {
		int c = peek(t);

		if (c < 0 || (!lines && (c == '\n' || c == '\r'))) {
			t->line = line;
			return fail(t, "a text that begins here has no end");
		}
		if (lines && skip_newline(t)) {
			*to++ = '\n';
			continue;
		}
		if (is_control(c))
			return fail(t, c ? "a control character stands in a text; write it as \\u"
					 : "a NUL byte stands in a value");
		t->at++;
		if (escapes && c == '\\')
			r = take_escape(t, lines, &to);
		else
			*to++ = (char)c;
	}
	*to = '\0';
	return r;
}

static bool is_word(int c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c == '_' || c == '-';
}

/* the digits of @len bytes at @s without their underscores into t->text */
static bool take_digits(struct toml *t, const char *s, size_t len, int base)
{
	char *to = t->text;

	for (size_t i = 0; i < len; i++) {
		if (s[i] == '_' && i && i + 1 < len && s[i - 1] != '_')
			continue;
		if (digit(s[i]) >= base)
			return false;
		*to++ = s[i];
	}
	*to = '\0';
	return len > 0;
}

/* 1_000, -5, 0x1F, 0o17, 0b1: false if the @len bytes at @s are none of these */
static bool take_integer(struct toml *t, const char *s, size_t len)
{
	bool minus = *s == '-', sign = minus || *s == '+';
	int base = len < 2 || s[0] != '0' ? 10
		   : s[1] == 'x'	  ? 16
		   : s[1] == 'o'	  ? 8
		   : s[1] == 'b'	  ? 2
					  : 10;
	unsigned long long v;

	if (base == 10) {
		s += sign;
		len -= sign;
		if (!take_digits(t, s, len, 10) || (len > 1 && *s == '0'))
			return false;
		if (minus) {
			memmove(t->text + 1, t->text, strlen(t->text) + 1);
			*t->text = '-';
		}
		return true;
	}
	if (!take_digits(t, s + 2, len - 2, base))
		return false;
	errno = 0;
	v = strtoull(t->text, NULL, base);
	sprintf(t->text, "%llu", v);
	return !errno;
}

static int take_bare(struct toml *t)
{
	const char *s = t->at;
	size_t len;

	while (is_word(peek(t)) || peek(t) == '+' || peek(t) == '.' || peek(t) == ':')
		t->at++;
	len = (size_t)(t->at - s);
	if (!len && (peek(t) < 0 || strchr("\r\n#,]}", peek(t))))
		return fail(t, "a value is missing");
	if ((len == 4 && !memcmp(s, "true", 4)) || (len == 5 && !memcmp(s, "false", 5))) {
		memcpy(t->text, s, len);
		t->text[len] = '\0';
		return 0;
	}
	if (len && take_integer(t, s, len))
		return 0;
	return err(-EINVAL,
		   "%s:%zu: '%.*s' is no value; write a text in quotes, as in \"512M\", a whole "
		   "number, true or false",
		   t->events.name, t->line, (int)MIN(MAX(len, 1U), 64U), s);
}

/* --- events --- */

static void push(struct toml *t, enum conf_event_type type)
{
	t->queue[t->queued++] = (struct conf_event){ .type = type, .line = t->line };
}

static int tell(const struct toml *t, enum conf_event_type type, struct conf_event *ret)
{
	*ret = (struct conf_event){ .type = type, .line = t->line, .text = t->text };
	return 0;
}

/* t->text is the key; what has to follow it stays */
static int take_key(struct toml *t)
{
	const char *s = t->at;
	int r = 0;

	if (starts(t, "\"\"\"") || starts(t, "'''"))
		return fail(t, "a key stands on one line");
	if (peek(t) == '"') {
		r = take_string(t, "\"");
	} else if (peek(t) == '\'') {
		r = take_string(t, "'");
	} else {
		while (is_word(peek(t)))
			t->at++;
		if (t->at == s)
			return fail(t, "a key is expected, as in memory = \"512M\"");
		memcpy(t->text, s, (size_t)(t->at - s));
		t->text[t->at - s] = '\0';
	}
	skip_blanks(t);
	if (!r && peek(t) == '.')
		return fail(t, "dotted keys are not taken; write an element of a list as [[disk]], "
			       "and its keys below it");
	return r;
}

/* a key and its equals sign */
static int tell_key(struct toml *t, struct conf_event *ret)
{
	int r = take_key(t);

	if (r)
		return r;
	if (!skip(t, "="))
		return peek(t) == '+'
			       ? fail(t, "a key that appends is written \"disk+\", in quotes")
			       : fail(t, "= is missing behind a key");
	t->value = true;
	return tell(t, CONF_SCALAR, ret);
}

static int open_bracket(struct toml *t, char c, struct conf_event *ret)
{
	if (t->depth == DEPTH)
		return fail(t, "brackets lie too deep in each other");
	t->at++;
	t->open[t->depth++] = c;
	t->after = false;
	return tell(t, c == '[' ? CONF_LIST : CONF_MAP, ret);
}

static int close_bracket(struct toml *t, struct conf_event *ret)
{
	char c = t->open[--t->depth];

	t->at++;
	t->after = true;
	return tell(t, c == '[' ? CONF_LIST_END : CONF_MAP_END, ret);
}

static int tell_value(struct toml *t, struct conf_event *ret)
{
	int r;

	if (peek(t) == '[' || peek(t) == '{')
		return open_bracket(t, *t->at, ret);
	if (starts(t, "\"\"\""))
		r = take_string(t, "\"\"\"");
	else if (starts(t, "'''"))
		r = take_string(t, "'''");
	else if (peek(t) == '"' || peek(t) == '\'')
		r = take_string(t, peek(t) == '"' ? "\"" : "'");
	else
		r = take_bare(t);
	t->after = true;
	return r ? r : tell(t, CONF_SCALAR, ret);
}

/* within [ ] */
static int tell_item(struct toml *t, struct conf_event *ret)
{
	int r = skip_lines(t);

	if (!r && t->after && skip(t, ","))
		r = skip_lines(t);
	else if (!r && t->after && peek(t) != ']')
		return fail(t, "a comma or ] is missing in a list");
	if (r)
		return r;
	return peek(t) == ']' ? close_bracket(t, ret) : tell_value(t, ret);
}

/* within { }, which stand on one line */
static int tell_pair(struct toml *t, struct conf_event *ret)
{
	skip_blanks(t);
	if (peek(t) == '}')
		return close_bracket(t, ret);
	if (t->after && !skip(t, ","))
		return fail(t, "a comma or } is missing, on the same line as {");
	skip_blanks(t);
	return tell_key(t, ret);
}

static int tell_header(struct toml *t, struct conf_event *ret)
{
	bool list = skip(t, "[["), was = t->in_table;
	int r;

	if (!list)
		t->at++;
	skip_blanks(t);
	r = take_key(t);
	if (r)
		return r;
	if (!list)
		return err(-EINVAL,
			   "%s:%zu: [%.64s]: no key is a table; write an element of a list as "
			   "[[disk]], and keys with one value above all of these",
			   t->events.name, t->line, t->text);
	if (!skip(t, "]]"))
		return fail(t, "]] is missing");
	t->in_table = t->after = true;
	t->queued = t->told = 0;
	if (was) {
		push(t, CONF_MAP_END);
		push(t, CONF_LIST_END);
	}
	push(t, CONF_SCALAR);
	t->queue[t->queued - 1].text = t->text;
	t->queue[t->queued - 1].table = true;
	push(t, CONF_LIST);
	push(t, CONF_MAP);
	*ret = t->queue[t->told++];
	return 0;
}

static int tell_end(struct toml *t, struct conf_event *ret)
{
	t->queued = t->told = 0;
	if (t->in_table) {
		push(t, CONF_MAP_END);
		push(t, CONF_LIST_END);
	}
	push(t, CONF_MAP_END);
	push(t, CONF_END);
	*ret = t->queue[t->told++];
	return 0;
}

static int tell_line(struct toml *t, struct conf_event *ret)
{
	int r = skip_remark(t);

	if (!r && t->after && peek(t) >= 0 && !skip_newline(t))
		return fail(t, "something stands behind a value on its line");
	t->after = false;
	if (!r)
		r = skip_lines(t);
	if (r)
		return r;
	if (peek(t) == '[')
		return tell_header(t, ret);
	return peek(t) >= 0 ? tell_key(t, ret) : tell_end(t, ret);
}

static int next(struct conf_events *in, struct conf_event *ret)
{
	struct toml *t = container_of(in, struct toml, events);

	if (!t->begun) {
		t->begun = true;
		return tell(t, CONF_MAP, ret);
	}
	if (t->told < t->queued) {
		*ret = t->queue[t->told++];
		return 0;
	}
	if (t->value) {
		t->value = false;
		skip_blanks(t);
		return tell_value(t, ret);
	}
	if (!t->depth)
		return tell_line(t, ret);
	return t->open[t->depth - 1] == '[' ? tell_item(t, ret) : tell_pair(t, ret);
}

int conf_load_toml(struct conf *conf, const char *name, const void *text, size_t len,
		   struct conf_origins *origins, const struct conf_fence *fence)
{
	struct toml t = { .events = { .name = name, .next = next },
			  .at = text,
			  .end = (const char *)text + len,
			  .line = 1 };
	int r = check_utf8(&t);

	if (r)
		return r;
	t.text = malloc(len + 32); /* and a number of 64 bits in decimal */
	if (!t.text)
		return err(-ENOMEM, "%s: out of memory", name);
	r = conf_read(&t.events, conf, origins, fence);
	free(t.text);
	return r;
}
