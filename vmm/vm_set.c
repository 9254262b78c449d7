/* vm_set.c - change what is configured while the machine runs */
#include "vm_build.h"

/* is @table's struct the same in both, but for what may be changed? else says which key is not */
static int check_live(const struct field *table, const char *key, const void *a, const void *b)
{
	for_each_field (f, table) {
		unsigned n = f->kind == FIELD_LIST ? *field_used(f, a) : 0;
		int r = 0;

		for (unsigned i = 0; !r && i < n; i++)
			r = check_live(f->sub, key, field_at(f, a, i), field_at(f, b, i));
		if (r)
			return r;
		if (f->kind != FIELD_LIST && !f->live &&
		    memcmp(field_at(f, a, 0), field_at(f, b, 0), f->size))
			return err(-EINVAL, "%s: %s cannot be changed while the machine runs", key,
				   f->name);
	}
	return 0;
}

/* what a key of the configuration was made into */
static struct dev *find_dev(struct vm *vm, const struct conf_ref *ref)
{
	static const struct {
		const char *key, *device;
	} made[] = { { "disk", "blk" },
		     { "net", "net" },
		     { "balloon", "balloon" },
		     { "console_size", "console" } };
	char name[32];

	for (unsigned k = 0; k < ARRAY_SIZE(made); k++) {
		if (strcmp(made[k].key, ref->f->name))
			continue;
		snprintf(name, sizeof(name), ref->f->count > 1 ? "%s@%u" : "%s", made[k].device,
			 ref->i);
		for (unsigned i = 0; i < vm->devs; i++)
			if (!strcmp(vm->dev[i]->name, name))
				return vm->dev[i];
	}
	return NULL;
}

int vm_set(struct vm *vm, const char *key, const char *value)
{
	cleanup_free struct conf *to = malloc(sizeof(*to));
	struct conf_ref ref;
	struct dev *dev;
	int r;

	if (!to)
		return err(-ENOMEM, "%s: out of memory", key);
	*to = *vm->conf;
	r = conf_change(to, key, value, &ref);
	if (!r)
		r = check_live(conf_fields, key, vm->conf, to);
	if (!r)
		r = conf_check(to); /* what may not be from the start may not become so */
	if (r)
		return r;
	if (!strcmp(ref.f->name, "cpu_percent")) {
		*vm->conf = *to;
		throttle_set(vm);
		return 0;
	}
	dev = find_dev(vm, &ref);
	if (!dev)
		return err(-EINVAL, "%s: the machine has no such device", key);
	r = dev_configure(dev, field_at(ref.f, to, ref.i));
	if (!r)
		*vm->conf = *to;
	return r;
}
