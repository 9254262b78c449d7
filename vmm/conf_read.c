/*
 * conf_read.c - the events of a configuration file into the configuration
 *
 * Each scalar gets its type from the field tables, never from how it looks, and
 * depth is bounded by them.
 */
#include "conf_event.h"

struct reader {
	struct conf_events *in;
	struct conf_origins *origins;	/* or NULL */
	const struct conf_fence *fence; /* or NULL */
};

/* how a key of a mapping was given */
enum { GIVEN_NOT, GIVEN_VALUE, GIVEN_TABLES, GIVEN_TABLES_MORE };

static int fail(struct reader *r, const struct conf_event *at, const char *why)
{
	return err(-EINVAL, "%s:%zu: %s", r->in->name, at->line, why);
}

static int read_mapping(struct reader *in, const struct field *table, void *obj);

/* "FILE:LINE: KEY", as the messages of field_parse() begin */
static void say_where(struct reader *in, const struct field *f, const struct conf_event *e,
		      char *buf, size_t len)
{
	snprintf(buf, len, "%.400s:%zu: %s", in->in->name, e->line, f->name);
}

static int read_element(struct reader *in, const struct field *f, const char *what, void *obj)
{
	uint32_t *used = field_used(f, obj);
	int r;

	if (*used >= f->count)
		return err(-E2BIG, "%s: more than %u are given; the machine takes %u", what,
			   f->count, f->count);
	field_defaults(f->sub, field_at(f, obj, *used), f->size);
	r = read_mapping(in, f->sub, field_at(f, obj, *used));
	++*used;
	return r;
}

static int read_list(struct reader *in, const struct field *f, void *obj)
{
	struct conf_event e;
	char what[512];
	int r = 0;

	while (!r) {
		r = in->in->next(in->in, &e);
		if (r || e.type == CONF_LIST_END)
			break;
		say_where(in, f, &e, what, sizeof(what));
		if (e.type == CONF_SCALAR)
			r = field_parse(f, what, e.text, obj);
		else if (e.type == CONF_MAP)
			r = read_element(in, f, what, obj);
		else
			r = fail(in, &e, "a list item is neither a value nor a mapping");
	}
	return r;
}

static int read_value(struct reader *in, const struct field *f, const struct conf_event *e,
		      bool append, void *obj)
{
	char what[512];

	say_where(in, f, e, what, sizeof(what));
	if (f->kind == FIELD_LIST && !append)
		*field_used(f, obj) = 0;
	else if (f->kind != FIELD_LIST && append)
		return err(-EINVAL, "%s: is not a list; write it without +", what);
	if (e->type == CONF_SCALAR && e->null) {
		if (f->kind == FIELD_LIST)
			return 0;
		if (f->dflt)
			return field_parse(f, what, f->dflt, obj);
		memset(field_at(f, obj, 0), 0, f->size);
		return 0;
	}
	if (e->type == CONF_SCALAR)
		return field_parse(f, what, e->text, obj);
	if (e->type == CONF_LIST && f->kind == FIELD_LIST)
		return read_list(in, f, obj);
	if (e->type == CONF_MAP && f->kind == FIELD_STRUCT)
		return read_mapping(in, f->sub, field_at(f, obj, 0));
	return err(-EINVAL, "%s: takes %s", what, f->kind == FIELD_LIST ? "a list" : "one value");
}

/* the key in @e: its field, and whether it appends */
static int read_key(struct reader *in, const struct field *table, const struct conf_event *e,
		    const struct field **ret, bool *ret_append)
{
	char key[64], what[512];
	size_t n;

	if (e->type != CONF_SCALAR)
		return fail(in, e, "a key must be a plain name");
	if (str_copy(key, sizeof(key), e->text) || !key[0])
		return fail(in, e, "a key must be a short name");
	n = strlen(key);
	*ret_append = key[n - 1] == '+';
	if (*ret_append)
		key[n - 1] = '\0';
	*ret = field_find(table, key);
	if (*ret)
		return 0;
	snprintf(what, sizeof(what), "%.400s:%zu", in->in->name, e->line);
	return field_unknown(table, what, key);
}

/* a key comes once, but for the tables of one list: *@append for those behind the first */
static int note_given(struct reader *in, const struct conf_event *key, uint8_t *given, bool *append)
{
	uint8_t how = !key->table ? GIVEN_VALUE : *append ? GIVEN_TABLES_MORE : GIVEN_TABLES;

	if (*given && (!key->table || *given != how))
		return fail(in, key, "the key is given twice");
	*append |= *given != GIVEN_NOT;
	*given = how;
	return 0;
}

/* a key that is null is as if nobody had named it; a list that grows is of all who named it */
static void note_origin(struct reader *in, const struct field *table, const struct field *f,
			const struct conf_event *value, bool append)
{
	bool null = value->type == CONF_SCALAR && value->null;
	size_t len;
	char *at;

	if (!in->origins || table != conf_fields || (append && null))
		return;
	at = in->origins->at[f - table];
	len = append ? strlen(at) : 0;
	at[len] = '\0';
	if (!null)
		snprintf(at + len, CONF_ORIGIN - len, "%s%.240s:%zu", len ? ", " : "", in->in->name,
			 value->line);
}

/* read_value() of one of conf_fields, within the fence */
static int read_fenced(struct reader *in, const struct field *f, const struct conf_event *e,
		       bool append, struct conf *conf)
{
	unsigned first = f->kind == FIELD_LIST && append ? *field_used(f, conf) : 0;
	char what[512];
	int r;

	say_where(in, f, e, what, sizeof(what));
	r = conf_fence_key(in->fence, f, what);
	if (!r)
		r = read_value(in, f, e, append, conf);
	return r ? r : conf_fence_value(in->fence, f, what, first, conf);
}

static int read_mapping(struct reader *in, const struct field *table, void *obj)
{
	uint8_t given[CONF_KEYS] = { GIVEN_NOT };
	int r = 0;

	while (!r) {
		const struct field *f = NULL;
		struct conf_event e;
		bool append = false, first;

		r = in->in->next(in->in, &e);
		if (r || e.type == CONF_MAP_END)
			break;
		r = read_key(in, table, &e, &f, &append);
		if (r)
			break;
		BUG_ON(f - table >= CONF_KEYS);
		first = !given[f - table];
		r = note_given(in, &e, &given[f - table], &append);
		if (!r)
			r = in->in->next(in->in, &e);
		if (r)
			break;
		/* before the value, whose own events take the place of @e's text */
		if (first)
			note_origin(in, table, f, &e, append);
		if (in->fence && table == conf_fields)
			r = read_fenced(in, f, &e, append, obj);
		else
			r = read_value(in, f, &e, append, obj);
	}
	return r;
}

int conf_read(struct conf_events *in, struct conf *conf, struct conf_origins *origins,
	      const struct conf_fence *fence)
{
	struct reader reader = { .in = in, .origins = origins, .fence = fence };
	struct conf_event e;
	int r;

	do {
		r = in->next(in, &e);
		if (r)
			break;
		if (e.type == CONF_MAP)
			r = read_mapping(&reader, conf_fields, conf);
		else if (e.type != CONF_END && !(e.type == CONF_SCALAR && e.null))
			r = fail(&reader, &e, "keys are expected, as in 'memory: 512M'");
	} while (!r && e.type != CONF_END);
	return r;
}
