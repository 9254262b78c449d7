/* keys.c - the keys that leave a terminal */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "keys.h"
#include "tool.h"

/* one key of @len bytes: its code, or -1 */
static int key_of(const char *text, size_t len)
{
	int c = (unsigned char)text[len - 1];

	if (len == 1)
		return c;
	if (len != 6 || strncmp(text, "ctrl-", 5))
		return -1;
	c = islower(c) ? toupper(c) : c;
	return c >= '@' && c <= '_' && !isupper((unsigned char)text[5]) ? c - '@' : -1;
}

int keys_parse(const char *text, struct keys *ret)
{
	struct keys keys = { .n = 0 };

	for (const char *at = text; *at;) {
		size_t len = strcspn(at, ",");
		int c = len ? key_of(at, len) : -1;

		if (c < 0 || (at[len] && !at[len + 1])) {
			complain("--detach-keys: '%s' is not understood; write keys with commas "
				 "between, each a character or ctrl- and one of a-z @ [ \\ ] ^ _, "
				 "as in " KEYS_DEFAULT,
				 text);
			return -EINVAL;
		}
		if (keys.n == sizeof(keys.key)) {
			complain("--detach-keys: '%s' has more than %zu keys", text,
				 sizeof(keys.key));
			return -EINVAL;
		}
		keys.key[keys.n++] = (unsigned char)c;
		at += len + (at[len] == ',');
	}
	*ret = keys;
	return 0;
}

size_t keys_filter(void *arg, const void *data, size_t len, void *out, bool *leave)
{
	const unsigned char *in = data;
	struct keys *k = arg;
	unsigned char *to = out;

	if (!k->n) {
		memcpy(out, data, len);
		return len;
	}
	for (size_t i = 0; i < len && !*leave; i++) {
		k->held[k->holds++] = in[i];
		while (k->holds && memcmp(k->held, k->key, k->holds)) {
			*to++ = k->held[0];
			memmove(k->held, k->held + 1, --k->holds);
		}
		*leave = k->holds == k->n;
	}
	return (size_t)(to - (unsigned char *)out);
}
