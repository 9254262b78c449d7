/*
 * image_json.h - the JSON of an OCI image, read strictly
 *
 * A text is taken whole or not at all: RFC 8259, UTF-8, at most JSON_DEPTH
 * levels, JSON_VALUES values, JSON_SIZE bytes.  Values lie in one array in the
 * order of the text, so that nothing is allocated for each and nothing is
 * walked by recursion.
 */
#ifndef HUTCH_IMAGE_JSON_H
#define HUTCH_IMAGE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_SIZE   (4u << 20)
#define JSON_DEPTH  32
#define JSON_VALUES 65536

enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json_value {
	enum json_kind kind;
	uint32_t start, len; /* in the text: of a string what is between its quotes */
	uint32_t next;	     /* index of what follows it and all within it */
};

struct json {
	const char *text;
	struct json_value *v; /* [0] is the whole; a member is its name, then its value */
	uint32_t n;
	const char *why; /* it is refused, and at which line */
	unsigned line;
};

/* json_parse() - @text must outlive @ret: -EINVAL with @ret->why and line set, -ENOMEM, -EFBIG */
int json_parse(struct json *ret, const char *text, size_t len);
void json_free(struct json *j);

/* each takes NULL for a value that is not there, and answers NULL, false or -1 then */
const struct json_value *json_get(const struct json *j, const struct json_value *object,
				  const char *name); /* NULL too if it is there twice */
const struct json_value *json_first(const struct json *j, const struct json_value *array);
const struct json_value *json_next(const struct json *j, const struct json_value *array,
				   const struct json_value *item);
bool json_is(const struct json *j, const struct json_value *v, const char *text);
/* a string, decoded, NUL-terminated: -1 if it is none, does not fit or has a NUL in it */
int json_string(const struct json *j, const struct json_value *v, char *buf, size_t size);
/* a whole number that is not negative: -1 if it is none */
int json_uint(const struct json *j, const struct json_value *v, uint64_t *ret);

#endif
