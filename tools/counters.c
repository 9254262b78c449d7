/* counters.c - a machine's counters, from its tree */
#include <libfdt.h>
#include <stdio.h>
#include <string.h>

#include "counters.h"

static void add(struct counters *c, const char *device, const char *name, const void *v, int len)
{
	struct counter *to = &c->all[c->n];

	if ((len != 4 && len != 8) || c->n == COUNTERS_MAX)
		return;
	snprintf(to->device, sizeof(to->device), "%s", device);
	snprintf(to->name, sizeof(to->name), "%s", name);
	to->value = len == 4 ? fdt32_ld(v) : fdt64_ld(v);
	c->n++;
}

void counters_read(struct counters *c, const void *tree, long size)
{
	int parent, node, property, len;
	const char *name;
	const void *v;

	c->n = 0;
	if (size <= 0 || fdt_check_full(tree, (size_t)size))
		return;
	parent = fdt_subnode_offset(tree, 0, "counters");
	if (parent < 0)
		return;
	fdt_for_each_subnode(node, tree, parent)
	{
		fdt_for_each_property_offset(property, tree, node)
		{
			v = fdt_getprop_by_offset(tree, property, &name, &len);
			if (v)
				add(c, fdt_get_name(tree, node, NULL), name, v, len);
		}
	}
}

uint64_t counters_sum(const struct counters *c, const char *device, const char *name)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < c->n; i++)
		if (!strncmp(c->all[i].device, device, strlen(device)) &&
		    !strcmp(c->all[i].name, name))
			v += c->all[i].value;
	return v;
}
