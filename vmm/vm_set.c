/* vm_set.c - change what is configured while the machine runs */
#include "vm_build.h"

/* "disk@1", "balloon" (the only one), "console_size": the field, and which element of a list */
static const struct field *find(const struct conf *conf, const char *key, unsigned *ret)
{
	const char *at = strchr(key, '@');
	const struct field *f;
	uint64_t i = 0;
	char name[64];

	snprintf(name, sizeof(name), "%.*s", at ? (int)(at - key) : 63, key);
	f = field_find(conf_fields, name);
	if (!f) {
		/* says which key was meant */
		if (!field_set(conf_fields, "", name, NULL, (void *)(uintptr_t)conf))
			err(-EINVAL, "%s: cannot be changed while the machine runs", key);
		return NULL;
	}
	if (f->kind != FIELD_LIST ? at != NULL : at ? number_parse(at + 1, &i) : f->count > 1) {
		err(-EINVAL, "%s: %s", key,
		    f->kind == FIELD_LIST ? "write which one, as in disk@0" : "is no list");
		return NULL;
	}
	if (f->kind == FIELD_LIST && i >= *field_used(f, conf)) {
		err(-EINVAL, "%s: the machine has no such device", key);
		return NULL;
	}
	*ret = (unsigned)i;
	return f;
}

static bool same(const struct field *f, const void *a, const void *b)
{
	return !memcmp(field_at(f, a, 0), field_at(f, b, 0), f->size);
}

/* of @table, what differs between @a and @b and is not to be changed: NULL if nothing */
static const struct field *fixed(const struct field *table, const void *a, const void *b)
{
	for_each_field (f, table)
		if (!f->live && !same(f, a, b))
			return f;
	return NULL;
}

/* the part of the configuration that @f (element @i) is, with the new value, into @to */
static int change(struct vm *vm, const struct field *f, unsigned i, const char *key,
		  const char *value, struct conf *to)
{
	const struct field *bad;
	int r;

	*to = *vm->conf;
	if (f->kind != FIELD_LIST) {
		if (!f->live)
			return err(-EINVAL, "%s: cannot be changed while the machine runs", key);
		return field_parse(f, key, value, to);
	}
	r = field_change(f, key, value, i, to);
	if (r)
		return r;
	bad = fixed(f->sub, field_at(f, vm->conf, i), field_at(f, to, i));
	if (bad)
		return err(-EINVAL, "%s: %s cannot be changed while the machine runs", key,
			   bad->name);
	return 0;
}

static struct dev *find_dev(struct vm *vm, const char *name)
{
	for (unsigned i = 0; i < vm->devs; i++)
		if (!strcmp(vm->dev[i]->name, name))
			return vm->dev[i];
	return NULL;
}

int vm_set(struct vm *vm, const char *key, const char *value)
{
	static const struct {
		const char *key,
			*device; /* what lists and values of the configuration are made into */
	} made[] = { { "disk", "blk" },
		     { "net", "net" },
		     { "balloon", "balloon" },
		     { "console_size", "console" } };
	const struct field *f;
	cleanup_free struct conf *to = NULL;
	struct dev *dev = NULL;
	char name[32];
	unsigned i = 0;
	int r;

	f = find(vm->conf, key, &i);
	if (!f)
		return -EINVAL;
	to = malloc(sizeof(*to));
	if (!to)
		return err(-ENOMEM, "%s: out of memory", key);
	r = change(vm, f, i, key, value, to);
	for (unsigned k = 0; !r && !dev && k < ARRAY_SIZE(made); k++) {
		if (strcmp(made[k].key, f->name))
			continue;
		snprintf(name, sizeof(name), f->count > 1 ? "%s@%u" : "%s", made[k].device, i);
		dev = find_dev(vm, name);
	}
	if (!r)
		r = conf_check(to); /* what may not be from the start may not become so */
	if (!r)
		r = dev ? dev_configure(dev, field_at(f, to, i))
			: err(-EINVAL, "%s: the machine has no such device", key);
	if (!r)
		*vm->conf = *to;
	return r;
}
