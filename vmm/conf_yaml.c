/*
 * conf_yaml.c - YAML, and so JSON, as events of a configuration
 *
 * libyaml reads it.  What makes YAML risky is refused: anchors, aliases, tags,
 * more than one document.
 */
#include <yaml.h>

#include "conf_event.h"

struct yaml {
	struct conf_events events;
	yaml_parser_t parser;
	yaml_event_t e; /* the last one, which owns its text */
	unsigned documents;
};

static int fail(const struct yaml *y, const char *why)
{
	return err(-EINVAL, "%s:%zu: %s", y->events.name, y->e.start_mark.line + 1, why);
}

static bool is_null(const yaml_event_t *e)
{
	const char *v = (const char *)e->data.scalar.value;

	return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (!*v || !strcmp(v, "~") || !strcmp(v, "null"));
}

static int take_scalar(const struct yaml *y, struct conf_event *ret)
{
	const char *v = (const char *)y->e.data.scalar.value;

	if (strlen(v) != y->e.data.scalar.length)
		return fail(y, "a NUL byte stands in a value");
	ret->type = CONF_SCALAR;
	ret->text = v;
	ret->null = is_null(&y->e);
	return 0;
}

/* 0, or 1 for an event that is none of a configuration's */
static int take(struct yaml *y, struct conf_event *ret)
{
	bool anchor = false, tag = false;
	int r = 0;

	*ret = (struct conf_event){ .line = y->e.start_mark.line + 1 };
	switch (y->e.type) {
	case YAML_SCALAR_EVENT:
		anchor = y->e.data.scalar.anchor;
		tag = y->e.data.scalar.tag;
		r = take_scalar(y, ret);
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = y->e.data.sequence_start.anchor;
		tag = y->e.data.sequence_start.tag;
		ret->type = CONF_LIST;
		break;
	case YAML_SEQUENCE_END_EVENT:
		ret->type = CONF_LIST_END;
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = y->e.data.mapping_start.anchor;
		tag = y->e.data.mapping_start.tag;
		ret->type = CONF_MAP;
		break;
	case YAML_MAPPING_END_EVENT:
		ret->type = CONF_MAP_END;
		break;
	case YAML_ALIAS_EVENT:
		anchor = true;
		break;
	case YAML_STREAM_END_EVENT:
		ret->type = CONF_END;
		break;
	case YAML_DOCUMENT_START_EVENT:
		return y->documents++ ? fail(y, "a second document is not taken") : 1;
	default:
		return 1;
	}
	if (!r && anchor)
		return fail(y, "anchors and aliases are not taken; write the value out");
	return !r && tag ? fail(y, "tags are not taken; leave '!...' out") : r;
}

static int next(struct conf_events *in, struct conf_event *ret)
{
	struct yaml *y = container_of(in, struct yaml, events);
	int r;

	do {
		yaml_event_delete(&y->e);
		if (!yaml_parser_parse(&y->parser, &y->e))
			return err(-EINVAL, "%s:%zu: %s", in->name, y->parser.problem_mark.line + 1,
				   y->parser.problem ? y->parser.problem : "not YAML");
		r = take(y, ret);
	} while (r == 1);
	return r;
}

int conf_load_yaml(struct conf *conf, const char *name, const void *text, size_t len,
		   struct conf_origins *origins, const struct conf_fence *fence)
{
	struct yaml y = { .events = { .name = name, .next = next } };
	int r;

	if (!yaml_parser_initialize(&y.parser))
		return err(-ENOMEM, "%s: out of memory", name);
	yaml_parser_set_input_string(&y.parser, text, len);
	r = conf_read(&y.events, conf, origins, fence);
	yaml_event_delete(&y.e);
	yaml_parser_delete(&y.parser);
	return r;
}
