/* keys.h - the keys that leave a terminal (layer 6) */
#ifndef HUTCH_KEYS_H
#define HUTCH_KEYS_H

#include "hutch.h"

#define KEYS_DEFAULT "ctrl-p,ctrl-q"

struct keys {
	unsigned char key[HUTCH_INPUT_HELD]; /* in this order */
	unsigned n;			     /* 0: none leave it */
	unsigned char held[HUTCH_INPUT_HELD];
	unsigned holds; /* of `held`, which are the beginning of `key` */
};

/*
 * keys_parse() - "ctrl-p,ctrl-q", "ctrl-],x", "" for none: -EINVAL after a complaint
 *
 * Keys with commas between: a character, or ctrl- and one of a-z @ [ \ ] ^ _
 */
int keys_parse(const char *text, struct keys *ret);

/* for struct hutch_request, @arg is the keys: what may be their beginning is held until it is not
 */
size_t keys_filter(void *arg, const void *data, size_t len, void *out, bool *leave);

#endif
