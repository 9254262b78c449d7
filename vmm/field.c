#include <ctype.h>
#include <strings.h>

#include "field.h"

#define NAMES_MAX 64

static bool same_name(const char *name, const char *given)
{
	for (; *name && (*name == *given || (*name == '_' && *given == '-')); name++)
		given++;
	return *name == *given;
}

const struct field *field_find(const struct field *table, const char *name)
{
	for_each_field (f, table)
		if (same_name(f->name, name))
			return f;
	return NULL;
}

uint64_t field_get(const struct field *f, const void *obj)
{
	uint64_t v = 0;

	BUG_ON(f->size > sizeof(v));
	memcpy(&v, field_at(f, obj, 0), f->size); /* little-endian hosts only; see state.c */
	return v;
}

void field_put(const struct field *f, void *obj, uint64_t v)
{
	BUG_ON(f->size > sizeof(v));
	memcpy(field_at(f, obj, 0), &v, f->size);
}

static int parse_bool(const char *what, const char *text, uint64_t *ret)
{
	static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		if (!strcasecmp(text, words[i])) {
			*ret = i & 1;
			return 0;
		}
	}
	return err(-EINVAL, "%s: '%s' is neither yes nor no", what, text);
}

static int parse_enum(const struct field *f, const char *what, const char *text, uint64_t *ret)
{
	char all[256] = "";

	for (unsigned i = 0; f->names[i]; i++) {
		if (!strcmp(text, f->names[i])) {
			*ret = i;
			return 0;
		}
		if (strlen(all) + strlen(f->names[i]) + 3 < sizeof(all)) {
			strcat(all, i ? ", " : "");
			strcat(all, f->names[i]);
		}
	}
	return err(-EINVAL, "%s: '%s' is not one of: %s", what, text, all);
}

static int range_error(const struct field *f, const char *what, const char *text)
{
	char lo[32], hi[32];

	if (f->kind == FIELD_SIZE) {
		size_print(f->lo, lo, sizeof(lo));
		size_print(f->hi, hi, sizeof(hi));
		return err(-ERANGE, "%s: '%s' is outside %s to %s", what, text, lo, hi);
	}
	return err(-ERANGE, "%s: '%s' is outside %lu to %lu", what, text, f->lo, f->hi);
}

static int parse_number(const struct field *f, const char *what, const char *text, void *obj)
{
	uint64_t v = 0, most = f->size == 8 ? UINT64_MAX : (1ULL << 8 * f->size) - 1;
	int r = 0;

	switch (f->kind) {
	case FIELD_UINT:
		r = number_parse(text, &v);
		if (r == -EINVAL)
			return err(r, "%s: '%s' is not a whole number; write digits alone", what,
				   text);
		break;
	case FIELD_SIZE:
		r = size_parse(text, &v);
		if (r == -EINVAL)
			return err(r, "%s: %s", what, err_last());
		break;
	case FIELD_TIME:
		r = span_parse(text, &v);
		if (r)
			return err(r, "%s: %s", what, err_last());
		break;
	case FIELD_BOOL:
		r = parse_bool(what, text, &v);
		break;
	case FIELD_ENUM:
		r = parse_enum(f, what, text, &v);
		break;
	}
	if (r == -ERANGE)
		return range_error(f, what, text);
	if (r)
		return r;
	if (f->kind != FIELD_ENUM && (v < f->lo || v > f->hi || v > most))
		return range_error(f, what, text);
	field_put(f, obj, v);
	return 0;
}

/* "VALUE,KEY=VALUE,KEY" into the struct at @obj; a comma in a value is written ",," */
static int parse_struct(const struct field *table, const char *what, const char *text, void *obj)
{
	char item[8192];
	size_t n;
	int r;

	for (bool first = true; *text; first = false) {
		char *eq;

		for (n = 0; *text && (*text != ',' || text[1] == ','); text++) {
			if (*text == ',')
				text++;
			if (n == sizeof(item) - 1)
				return err(-E2BIG, "%s: a value is longer than %zu bytes", what, n);
			item[n++] = *text;
		}
		item[n] = '\0';
		if (*text == ',' && !*++text)
			return err(-EINVAL, "%s: ends in a comma; write ,, for a comma in a value",
				   what);
		eq = strchr(item, '=');
		if (first && !(eq && (*eq = '\0', field_find(table, item)))) {
			if (eq)
				*eq = '=';
			r = field_parse(table, what, item, obj);
		} else {
			if (eq)
				*eq = '\0';
			r = field_set(table, what, item, eq ? eq + 1 : NULL, obj);
		}
		if (r)
			return r;
	}
	return 0;
}

static int parse_list(const struct field *f, const char *what, const char *text, void *obj)
{
	uint32_t *used = field_used(f, obj);
	void *element;
	int r;

	if (*used >= f->count)
		return err(-E2BIG, "%s: more than %u are given; the machine takes %u", what,
			   f->count, f->count);
	element = field_at(f, obj, *used);
	field_defaults(f->sub, element, f->size);
	r = parse_struct(f->sub, what, text, element);
	if (!r)
		++*used;
	return r;
}

int field_change(const struct field *f, const char *what, const char *text, unsigned i, void *obj)
{
	return parse_struct(f->sub, what, text, field_at(f, obj, i));
}

static int parse_str(const struct field *f, const char *what, const char *text, void *obj)
{
	for (const char *c = text; f->punct && *c; c++)
		if (!isascii(*c) || (!isalnum(*c) && !strchr(f->punct, *c)))
			return err(-EINVAL,
				   "%s: '%.160s' has more in it than letters, digits and these: %s",
				   what, text, f->punct);
	if (!str_copy(field_at(f, obj, 0), f->size, text))
		return 0;
	return err(-E2BIG, "%s: %zu bytes are too long; at most %u are taken", what, strlen(text),
		   f->size - 1);
}

int field_parse(const struct field *f, const char *what, const char *text, void *obj)
{
	switch (f->kind) {
	case FIELD_STR:
		return parse_str(f, what, text, obj);
	case FIELD_STRUCT:
		BUG_ON(f->count != 1);
		return parse_struct(f->sub, what, text, field_at(f, obj, 0));
	case FIELD_LIST:
		return parse_list(f, what, text, obj);
	case FIELD_BYTES:
	case FIELD_BLOB:
		return err(-EINVAL, "%s: cannot be set from text", what);
	default:
		return parse_number(f, what, text, obj);
	}
}

int field_unknown(const struct field *table, const char *what, const char *name)
{
	const char *names[NAMES_MAX] = { NULL }, *near, *colon = *what ? ": " : "";
	unsigned n = 0;

	for_each_field (g, table)
		if (n < NAMES_MAX - 1)
			names[n++] = g->name;
	near = nearest(name, names);
	if (near)
		return err(-EINVAL, "%s%sunknown key '%.64s'; did you mean '%s'?", what, colon,
			   name, near);
	return err(-EINVAL, "%s%sunknown key '%.64s'; 'hutch help run' lists what there is", what,
		   colon, name);
}

int field_set(const struct field *table, const char *what, const char *name, const char *text,
	      void *obj)
{
	const struct field *f = field_find(table, name);
	const char *colon = *what ? ": " : "";
	char where[128];

	if (!f)
		return field_unknown(table, what, name);
	snprintf(where, sizeof(where), "%s%s%s", what, colon, name);
	if (text)
		return field_parse(f, where, text, obj);
	if (f->kind != FIELD_BOOL)
		return err(-EINVAL, "%s: a value is missing; write %s=VALUE", where, name);
	field_put(f, obj, 1);
	return 0;
}

void field_defaults(const struct field *table, void *obj, size_t size)
{
	memset(obj, 0, size);
	for_each_field (f, table) {
		if (f->kind == FIELD_STRUCT)
			for (unsigned i = 0; i < f->count; i++)
				field_defaults(f->sub, field_at(f, obj, i), f->size);
		else if (f->dflt)
			BUG_ON(field_parse(f, f->name, f->dflt, obj));
	}
}

void field_print(const struct field *f, const void *obj, char *buf, size_t len)
{
	switch (f->kind) {
	case FIELD_UINT:
		snprintf(buf, len, "%lu", field_get(f, obj));
		return;
	case FIELD_BOOL:
		snprintf(buf, len, "%s", field_get(f, obj) ? "yes" : "no");
		return;
	case FIELD_SIZE:
		size_print(field_get(f, obj), buf, len);
		return;
	case FIELD_TIME:
		span_print(field_get(f, obj), buf, len);
		return;
	case FIELD_ENUM:
		snprintf(buf, len, "%s", f->names[field_get(f, obj)]);
		return;
	case FIELD_STR:
		snprintf(buf, len, "%s", (const char *)field_at(f, obj, 0));
		return;
	default:
		BUG_ON(1);
	}
}
