/*
 * snap_diff.c - what is different in two snapshots: configuration and devices
 *
 * Both trees are the files' own words: keys are compared as they print, and
 * nodes property by property, so that devices which only one of them has are
 * told as well.
 */
#include <libfdt.h>

#include "snap_diff.h"

#define NAMES_MOST 512
#define DEPTH_MOST 16

/* --- configuration --- */

static void tell(const struct snap_diff *d, const char *where, const char *a, const char *b)
{
	d->fn(d->arg, where, a, b);
}

static void compare_value(const struct snap_diff *d, const char *key, const struct field *f,
			  const void *a, const void *b)
{
	char x[CONF_PATH] = "", y[CONF_PATH] = "";

	if (a)
		field_print(f, a, x, sizeof(x));
	if (b)
		field_print(f, b, y, sizeof(y));
	if (strcmp(x, y) || !a != !b)
		tell(d, key, a ? x : NULL, b ? y : NULL);
}

static void compare_list(const struct snap_diff *d, const struct field *f, const struct conf *a,
			 const struct conf *b)
{
	uint32_t in_a = *field_used(f, a), in_b = *field_used(f, b);
	char key[96];

	for (uint32_t i = 0; i < MAX(in_a, in_b); i++)
		for_each_field (g, f->sub) {
			snprintf(key, sizeof(key), "%s@%u.%s", f->name, i, g->name);
			compare_value(d, key, g, i < in_a ? field_at(f, a, i) : NULL,
				      i < in_b ? field_at(f, b, i) : NULL);
		}
}

void snap_diff_conf(const struct snap_diff *d, const struct conf *a, const struct conf *b)
{
	for_each_field (f, conf_fields) {
		if (f->kind == FIELD_LIST)
			compare_list(d, f, a, b);
		else
			compare_value(d, f->name, f, a, b);
	}
}

/* --- state --- */

static void add_name(char *names, const char *name)
{
	size_t len = strlen(names);

	snprintf(names + len, NAMES_MOST - len, "%s%s", len ? " " : "", name);
}

/* the properties of @node that are missing in the other tree's, or unless @missing are others */
static void compare_properties(const void *fdt, int node, const void *other, int at, bool missing,
			       char *names)
{
	int prop, len, other_len;

	fdt_for_each_property_offset(prop, fdt, node)
	{
		const char *name;
		const void *v = fdt_getprop_by_offset(fdt, prop, &name, &len);
		const void *w = v ? fdt_getprop(other, at, name, &other_len) : NULL;

		if (v && (!w || (!missing && (len != other_len || memcmp(v, w, (size_t)len)))))
			add_name(names, name);
	}
}

struct pair {
	const void *a, *b;
};

static void compare_nodes(const struct snap_diff *d, const struct pair *t, int a, int b,
			  const char *path, int depth)
{
	char names[NAMES_MOST] = "", sub_path[256];
	const char *name;
	int sub, other;

	if (depth > DEPTH_MOST)
		return;
	compare_properties(t->a, a, t->b, b, false, names);
	compare_properties(t->b, b, t->a, a, true, names);
	if (*names)
		tell(d, path, names, names);
	fdt_for_each_subnode(sub, t->a, a)
	{
		name = fdt_get_name(t->a, sub, NULL);
		other = fdt_subnode_offset(t->b, b, name);
		snprintf(sub_path, sizeof(sub_path), "%s/%s", path, name);
		if (other < 0)
			tell(d, sub_path, "", NULL);
		else
			compare_nodes(d, t, sub, other, sub_path, depth + 1);
	}
	fdt_for_each_subnode(sub, t->b, b)
	{
		name = fdt_get_name(t->b, sub, NULL);
		snprintf(sub_path, sizeof(sub_path), "%s/%s", path, name);
		if (fdt_subnode_offset(t->a, a, name) < 0)
			tell(d, sub_path, NULL, "");
	}
}

void snap_diff_state(const struct snap_diff *d, const struct snap_file *a,
		     const struct snap_file *b)
{
	const struct pair t = { a->tree, b->tree };

	compare_nodes(d, &t, fdt_path_offset(a->tree, "/state"), fdt_path_offset(b->tree, "/state"),
		      "/state", 0);
}
