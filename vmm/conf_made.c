/*
 * conf_made.c - which keys a machine was made of, and which its host's side may have anew
 *
 * What the guest has seen stays with a snapshot: `made` in the table.  Where a
 * device leads on this host, and how fast it may, is `anew`, and a restored
 * machine may have that otherwise.
 */
#include "conf.h"

static bool same_value(const struct field *f, const void *a, const void *b)
{
	return !memcmp(field_at(f, a, 0), field_at(f, b, 0), f->size);
}

static int differs(const char *key, const struct field *f, const void *was)
{
	char text[256];

	field_print(f, was, text, sizeof(text));
	return err(-EINVAL,
		   "%s: the snapshot's machine was made with '%s', which its guest knows; a "
		   "restore "
		   "cannot change it",
		   key, text);
}

static int check_list(const struct field *f, const struct conf *now, const struct conf *was)
{
	char key[64];

	if (*field_used(f, now) != *field_used(f, was))
		return err(-EINVAL,
			   "%s: the snapshot's machine has %u of them, which its guest knows; a "
			   "restore cannot change that",
			   f->name, *field_used(f, was));
	for (unsigned i = 0; i < *field_used(f, was); i++)
		for_each_field (g, f->sub) {
			const void *a = field_at(f, now, i), *b = field_at(f, was, i);

			snprintf(key, sizeof(key), "%s@%u.%s", f->name, i, g->name);
			if (!g->anew && !g->live && !same_value(g, a, b))
				return differs(key, g, b);
		}
	return 0;
}

int conf_check_made(const struct conf *now, const struct conf *was)
{
	int r = 0;

	for (const struct field *f = conf_fields; !r && f->name; f++) {
		if (!f->made)
			continue;
		if (f->kind == FIELD_LIST)
			r = check_list(f, now, was);
		else if (!f->live && !same_value(f, now, was))
			r = differs(f->name, f, was);
	}
	return r;
}

void conf_take_made(struct conf *conf, const struct conf *from)
{
	size_t n;

	for_each_field (f, conf_fields) {
		if (!f->made)
			continue;
		n = f->count;
		if (f->kind == FIELD_LIST)
			n = *field_used(f, conf) = *field_used(f, from);
		memcpy(field_at(f, conf, 0), field_at(f, from, 0), (size_t)f->size * n);
	}
}
