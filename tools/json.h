/* json.h - JSON as the command writes it, and reads back what it wrote (layer 6) */
#ifndef HUTCH_JSON_H
#define HUTCH_JSON_H

#include <stddef.h>
#include <stdio.h>

/* @text in quotes; bytes that are no UTF-8 become U+FFFD */
void json_text(FILE *out, const char *text);
/* the same of bytes that may hold NULs */
void json_bytes(FILE *out, const void *data, size_t len);
/* how many bytes of @data are whole characters of UTF-8, up to the first that is none */
size_t json_utf8(const void *data, size_t len);

/*
 * json_member() - the next member of an object
 *
 * *@at is the object's text, and moves.  A text loses its quotes and escapes; a
 * number, a word, an array or an object is given as it stands.  What is longer
 * than its buffer is cut.  1, 0 at the end, -EINVAL if this is no JSON.
 */
int json_member(const char **at, char *key, size_t key_size, char *value, size_t value_size);

#endif
