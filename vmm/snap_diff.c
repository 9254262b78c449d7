/*
 * snap_diff.c - what is different in two snapshots: configuration, devices, memory
 *
 * Both trees are the files' own words: keys are compared as they print, and
 * nodes property by property, so that devices which only one of them has are
 * told as well.  Memory that both have from the same place is the same, and is
 * not read.
 */
#include <libfdt.h>

#include "snap.h"
#include "snap_diff.h"
#include "snap_mem.h"
#include "team.h"

#define SHARE	   16 /* chunks that a thread takes at a time */
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

/* --- memory --- */

struct comparing {
	const struct snap_file *a, *b;
	struct gmem mem;
	uint64_t next, chunks, bytes; /* atomic */
	pthread_t caller;	      /* who tells how far it is */
	pthread_mutex_t lock;
	int error;
	char text[512];
};

struct hand {
	struct snap_unpacker z;
	uint8_t a[SNAP_CHUNK], b[SNAP_CHUNK];
};

static bool same_place(const struct comparing *c, uint64_t n)
{
	const struct snap_file *a = snap_owner(c->a, n), *b = snap_owner(c->b, n);
	const struct snap_entry *x = &a->entry[n], *y = &b->entry[n];
	enum snap_kind kind = snap_kind(x);

	if (!memcmp(a->head.id, b->head.id, sizeof(a->head.id)))
		return true;
	return kind == snap_kind(y) && (kind == SNAP_ZERO || (kind == SNAP_FILL && x->at == y->at));
}

static int read_one(const struct snap_file *f, uint64_t n, uint8_t *to, size_t len, struct hand *h)
{
	memset(to, 0, len);
	return snap_read(f, n, to, len, &h->z);
}

static int compare_chunk(struct comparing *c, uint64_t n, struct hand *h)
{
	uint64_t off, bytes = 0;
	size_t len;
	int r;

	if (same_place(c, n))
		return 0;
	snap_slot(&c->mem, n, &off, &len);
	r = read_one(c->a, n, h->a, len, h);
	if (!r)
		r = read_one(c->b, n, h->b, len, h);
	if (r || !memcmp(h->a, h->b, len))
		return r;
	for (size_t i = 0; i < len; i++)
		bytes += h->a[i] != h->b[i];
	__atomic_fetch_add(&c->chunks, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&c->bytes, bytes, __ATOMIC_RELAXED);
	return 0;
}

static void fail(struct comparing *c, int r)
{
	pthread_mutex_lock(&c->lock);
	if (!c->error) {
		c->error = r;
		snprintf(c->text, sizeof(c->text), "%s", err_last());
	}
	pthread_mutex_unlock(&c->lock);
	__atomic_store_n(&c->next, c->a->head.chunks, __ATOMIC_RELAXED);
}

static void compare(void *arg)
{
	cleanup_free struct hand *h = malloc(sizeof(*h));
	struct comparing *c = arg;
	uint64_t first, chunks = c->a->head.chunks;
	int r = h ? snap_unpacker_init(&h->z) : err(-ENOMEM, "snapshot: out of memory");

	if (r) {
		fail(c, r);
		return;
	}
	while (!r && (first = __atomic_fetch_add(&c->next, SHARE, __ATOMIC_RELAXED)) < chunks) {
		if (pthread_equal(pthread_self(), c->caller))
			snap_progress(c->a, first, chunks);
		for (uint64_t n = first; !r && n < MIN(first + SHARE, chunks); n++)
			r = compare_chunk(c, n, h);
	}
	if (r)
		fail(c, r);
	snap_unpacker_free(&h->z);
}

int snap_diff_memory(const struct snap_file *a, const struct snap_file *b, const struct conf *conf,
		     uint64_t *ret_chunks, uint64_t *ret_bytes)
{
	struct comparing c = { .a = a, .b = b, .caller = pthread_self() };
	int r = snap_shape(conf, &c.mem);

	if (!r && (snap_chunks(&c.mem) != a->head.chunks || a->head.chunks != b->head.chunks))
		r = err(-EBADMSG, "snapshot %s: has another memory than its machine",
			snap_chunks(&c.mem) == a->head.chunks ? b->name : a->name);
	if (r)
		return r;
	pthread_mutex_init(&c.lock, NULL);
	team_run(compare, &c);
	snap_progress(a, a->head.chunks, a->head.chunks);
	pthread_mutex_destroy(&c.lock);
	*ret_chunks = c.chunks;
	*ret_bytes = c.bytes;
	return c.error ? err(c.error, "%s", c.text) : 0;
}
