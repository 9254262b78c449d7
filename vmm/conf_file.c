/*
 * conf_file.c - YAML, and so JSON, into the configuration
 *
 * The events of libyaml are walked along the field tables.  Each scalar gets
 * its type from the table, never from how it looks.  What makes YAML risky is
 * refused: anchors, aliases, tags, duplicate keys, more than one document.
 * Depth is bounded by the tables, size by FILE_MAX.
 *
 * #syscalls:before openat read
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include "conf.h"

#define FILE_MAX MiB

struct reader {
	yaml_parser_t yaml;
	const char *name;
	struct conf_origins *origins; /* or NULL */
};

static int fail(struct reader *in, const yaml_event_t *at, const char *why)
{
	return err(-EINVAL, "%s:%zu: %s", in->name, at->start_mark.line + 1, why);
}

static int next(struct reader *in, yaml_event_t *e)
{
	bool anchor = false, tag = false;

	if (!yaml_parser_parse(&in->yaml, e))
		return err(-EINVAL, "%s:%zu: %s", in->name, in->yaml.problem_mark.line + 1,
			   in->yaml.problem ? in->yaml.problem : "not YAML");
	switch (e->type) {
	case YAML_SCALAR_EVENT:
		anchor = e->data.scalar.anchor;
		tag = e->data.scalar.tag;
		if (strlen((char *)e->data.scalar.value) != e->data.scalar.length)
			return fail(in, e, "a NUL byte stands in a value");
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = e->data.sequence_start.anchor;
		tag = e->data.sequence_start.tag;
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = e->data.mapping_start.anchor;
		tag = e->data.mapping_start.tag;
		break;
	case YAML_ALIAS_EVENT:
		anchor = true;
		break;
	default:
		break;
	}
	if (anchor)
		return fail(in, e, "anchors and aliases are not taken; write the value out");
	return tag ? fail(in, e, "tags are not taken; leave '!...' out") : 0;
}

static bool is_null(const yaml_event_t *e)
{
	const char *v = (const char *)e->data.scalar.value;

	return e->type == YAML_SCALAR_EVENT && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (!*v || !strcmp(v, "~") || !strcmp(v, "null"));
}

static int read_mapping(struct reader *in, const struct field *table, void *obj);

/* "FILE:LINE: KEY", as the messages of field_parse() begin */
static void say_where(struct reader *in, const struct field *f, const yaml_event_t *e, char *buf,
		      size_t len)
{
	snprintf(buf, len, "%.400s:%zu: %s", in->name, e->start_mark.line + 1, f->name);
}

static int read_list(struct reader *in, const struct field *f, void *obj)
{
	uint32_t *used = field_used(f, obj);
	char what[512];
	int r = 0;

	for (bool end = false; !r && !end;) {
		yaml_event_t e;

		memset(&e, 0, sizeof(e));
		r = next(in, &e);
		say_where(in, f, &e, what, sizeof(what));
		if (r || e.type == YAML_SEQUENCE_END_EVENT) {
			end = true;
		} else if (e.type == YAML_SCALAR_EVENT) {
			r = field_parse(f, what, (char *)e.data.scalar.value, obj);
		} else if (e.type != YAML_MAPPING_START_EVENT) {
			r = fail(in, &e, "a list item is neither a value nor a mapping");
		} else if (*used == f->count) {
			r = err(-E2BIG, "%s: more than %u are given; the machine takes %u", what,
				f->count, f->count);
		} else {
			field_defaults(f->sub, field_at(f, obj, *used), f->size);
			r = read_mapping(in, f->sub, field_at(f, obj, *used));
			++*used;
		}
		yaml_event_delete(&e);
	}
	return r;
}

static int read_value(struct reader *in, const struct field *f, const yaml_event_t *e, bool append,
		      void *obj)
{
	char what[512];

	say_where(in, f, e, what, sizeof(what));
	if (f->kind == FIELD_LIST && !append)
		*field_used(f, obj) = 0;
	else if (f->kind != FIELD_LIST && append)
		return err(-EINVAL, "%s: is not a list; write it without +", what);
	if (is_null(e)) {
		if (f->kind == FIELD_LIST)
			return 0;
		if (f->dflt)
			return field_parse(f, what, f->dflt, obj);
		memset(field_at(f, obj, 0), 0, f->size);
		return 0;
	}
	if (e->type == YAML_SCALAR_EVENT)
		return field_parse(f, what, (char *)e->data.scalar.value, obj);
	if (e->type == YAML_SEQUENCE_START_EVENT && f->kind == FIELD_LIST)
		return read_list(in, f, obj);
	if (e->type == YAML_MAPPING_START_EVENT && f->kind == FIELD_STRUCT)
		return read_mapping(in, f->sub, field_at(f, obj, 0));
	return err(-EINVAL, "%s: takes %s", what, f->kind == FIELD_LIST ? "a list" : "one value");
}

/* the key in @e: its field, whether it appends, and that it came once */
static int read_key(struct reader *in, const struct field *table, const yaml_event_t *e,
		    const struct field **ret, bool *ret_append)
{
	char key[64], what[512];
	size_t n;

	if (e->type != YAML_SCALAR_EVENT)
		return fail(in, e, "a key must be a plain name");
	if (str_copy(key, sizeof(key), (char *)e->data.scalar.value) || !key[0])
		return fail(in, e, "a key must be a short name");
	n = strlen(key);
	*ret_append = key[n - 1] == '+';
	if (*ret_append)
		key[n - 1] = '\0';
	*ret = field_find(table, key);
	if (*ret)
		return 0;
	snprintf(what, sizeof(what), "%.400s:%zu", in->name, e->start_mark.line + 1);
	return field_unknown(table, what, key);
}

/* a key that is null is as if nobody had named it */
static void note_origin(struct reader *in, const struct field *table, const struct field *f,
			const yaml_event_t *e)
{
	char *at;

	if (!in->origins || table != conf_fields)
		return;
	at = in->origins->at[f - table];
	*at = '\0';
	if (!is_null(e))
		snprintf(at, CONF_ORIGIN, "%.240s:%zu", in->name, e->start_mark.line + 1);
}

static int read_mapping(struct reader *in, const struct field *table, void *obj)
{
	bool seen[CONF_KEYS] = { false };
	int r = 0;

	for (bool end = false; !r && !end;) {
		const struct field *f = NULL;
		yaml_event_t key, value;
		bool append = false;

		memset(&key, 0, sizeof(key));
		memset(&value, 0, sizeof(value));
		r = next(in, &key);
		if (!r && key.type == YAML_MAPPING_END_EVENT)
			end = true;
		else if (!r)
			r = read_key(in, table, &key, &f, &append);
		if (!r && !end) {
			BUG_ON(f - table >= CONF_KEYS);
			if (seen[f - table])
				r = fail(in, &key, "the key is given twice");
			seen[f - table] = true;
		}
		if (!r && !end)
			r = next(in, &value);
		if (!r && !end)
			r = read_value(in, f, &value, append, obj);
		if (!r && !end)
			note_origin(in, table, f, &value);
		yaml_event_delete(&value);
		yaml_event_delete(&key);
	}
	return r;
}

/* STREAM-START DOCUMENT-START mapping DOCUMENT-END STREAM-END; an empty file is no error */
static int read_stream(struct reader *in, struct conf *conf)
{
	int r = 0;

	for (int seen = 0; !r; seen++) {
		yaml_event_t e;
		yaml_event_type_t type;

		memset(&e, 0, sizeof(e));
		r = next(in, &e);
		type = e.type;
		if (!r && type == YAML_MAPPING_START_EVENT)
			r = read_mapping(in, conf_fields, conf);
		else if (!r && (type == YAML_SEQUENCE_START_EVENT ||
				(type == YAML_SCALAR_EVENT && !is_null(&e))))
			r = fail(in, &e, "keys are expected, as in 'memory: 512M'");
		else if (!r && type == YAML_DOCUMENT_START_EVENT && seen > 1)
			r = fail(in, &e, "a second document is not taken");
		yaml_event_delete(&e);
		if (type == YAML_STREAM_END_EVENT)
			break;
	}
	return r;
}

int conf_load_text(struct conf *conf, const char *name, const void *text, size_t len,
		   struct conf_origins *origins)
{
	struct reader in = { .name = name, .origins = origins };
	int r;

	if (len > FILE_MAX)
		return err(-EFBIG, "%s: is larger than 1 MiB; a configuration is a page", name);
	if (!yaml_parser_initialize(&in.yaml))
		return err(-ENOMEM, "%s: out of memory", name);
	yaml_parser_set_input_string(&in.yaml, text, len);
	r = read_stream(&in, conf);
	yaml_parser_delete(&in.yaml);
	return r;
}

int conf_load(struct conf *conf, const char *path, struct conf_origins *origins)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	cleanup_free char *text = NULL;
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return err(-errno, "config file %s: %s", path, strerror(errno));
	text = malloc(FILE_MAX + 1);
	if (!text)
		return err(-ENOMEM, "config file %s: out of memory", path);
	while (len <= FILE_MAX && (n = read(fd, text + len, FILE_MAX + 1 - len)) > 0)
		len += (size_t)n;
	if (len <= FILE_MAX && n < 0)
		return err(-errno, "config file %s: %s", path, strerror(errno));
	return conf_load_text(conf, path, text, len, origins);
}
