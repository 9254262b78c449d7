#include <libfdt.h>

#include "dev.h"
#include "state.h"

struct dev *dev_new(const struct dev_type *type, int index, struct machine *m, const void *conf)
{
	struct dev *dev = calloc(1, type->size);

	if (!dev) {
		err(-ENOMEM, "%s: out of memory", type->name);
		return NULL;
	}
	dev->type = type;
	dev->m = m;
	if (index < 0)
		snprintf(dev->name, sizeof(dev->name), "%s", type->name);
	else
		snprintf(dev->name, sizeof(dev->name), "%s@%d", type->name, index);
	pthread_mutex_init(&dev->lock, NULL);
	if (type->create && type->create(dev, conf)) {
		dev_free(dev);
		return NULL;
	}
	return dev;
}

/* also the way out of a create() that failed half way: destroy() takes what is there */
void dev_free(struct dev *dev)
{
	if (!dev)
		return;
	if (dev->type->destroy)
		dev->type->destroy(dev);
	pthread_mutex_destroy(&dev->lock);
	free(dev);
}

void dev_part(struct dev *dev, const char *name, const struct field *table, void *obj, size_t size)
{
	BUG_ON(dev->parts == DEV_PARTS);
	dev->part[dev->parts++] = (struct dev_part){ name, table, obj, size };
}

void dev_counters(struct dev *dev, const struct field *table, void *obj)
{
	BUG_ON(dev->counters == DEV_COUNTERS);
	dev->counter[dev->counters++] = (struct dev_part){ .table = table, .obj = obj };
}

void dev_reset(struct dev *dev)
{
	dev_drain(dev);
	dev_lock(dev);
	if (dev->type->reset)
		dev->type->reset(dev);
	dev_unlock(dev);
}

void dev_drain(struct dev *dev)
{
	if (dev->type->drain)
		dev->type->drain(dev);
}

void dev_resume(struct dev *dev)
{
	dev_lock(dev);
	if (dev->type->resume)
		dev->type->resume(dev);
	dev_unlock(dev);
}

int dev_configure(struct dev *dev, const void *conf)
{
	int r;

	if (!dev->type->configure)
		return err(-EINVAL, "%s: nothing of it can be changed while the machine runs",
			   dev->name);
	dev_lock(dev);
	r = dev->type->configure(dev, conf);
	dev_unlock(dev);
	return r;
}

int dev_save_counters(struct dev *dev, void *fdt)
{
	int r;

	if (!dev->counters)
		return 0;
	r = tree_node(fdt, dev->name);
	dev_lock(dev);
	for (unsigned i = 0; !r && i < dev->counters; i++)
		r = state_save(fdt, dev->counter[i].table, dev->counter[i].obj);
	dev_unlock(dev);
	return r ? r : tree_node_end(fdt);
}

int dev_save(struct dev *dev, void *fdt)
{
	int r = tree_node(fdt, dev->name);

	dev_lock(dev);
	for (unsigned i = 0; !r && i < dev->parts; i++) {
		r = tree_node(fdt, dev->part[i].name);
		if (!r)
			r = state_save(fdt, dev->part[i].table, dev->part[i].obj);
		if (!r)
			r = tree_node_end(fdt);
	}
	dev_unlock(dev);
	return r ? r : tree_node_end(fdt);
}

/* each part to where it belongs, or nowhere if @look */
static int load_parts(const struct dev *dev, const void *fdt, int parent, bool look)
{
	int node = fdt_subnode_offset(fdt, parent, dev->name), sub, r = 0;
	unsigned parts = 0;

	if (node < 0)
		return err(-EINVAL, "snapshot: %s: no state for this device", dev->name);
	fdt_for_each_subnode(sub, fdt, node) parts++;
	if (parts != dev->parts || fdt_first_property_offset(fdt, node) >= 0)
		return err(-EINVAL,
			   "snapshot: %s: has more or less than this hutch knows of; another "
			   "version made it",
			   dev->name);
	for (unsigned i = 0; !r && i < dev->parts; i++) {
		const struct dev_part *part = &dev->part[i];
		cleanup_free void *nowhere = look ? calloc(1, part->size) : NULL;

		sub = fdt_subnode_offset(fdt, node, part->name);
		r = sub < 0 ? err(-EINVAL, "no such node")
		    : look && !nowhere
			    ? err(-ENOMEM, "out of memory")
			    : state_load(fdt, sub, part->table, look ? nowhere : part->obj);
		if (r)
			r = err(r, "snapshot: %s/%s: %s", dev->name, part->name, err_last());
	}
	return r;
}

int dev_check(const struct dev *dev, const void *fdt, int parent)
{
	return load_parts(dev, fdt, parent, true);
}

int dev_load(struct dev *dev, const void *fdt, int parent)
{
	int r;

	dev_lock(dev);
	r = load_parts(dev, fdt, parent, false);
	if (!r && dev->type->loaded)
		r = dev->type->loaded(dev);
	dev_unlock(dev);
	return r;
}
