/* image_tree.c - names and inodes of an image; see the header for what a hostile source can do */
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "image_tree.h"
#include "tool.h"

#define CHUNK	   65536
#define LINKS_MOST 40 /* followed within one path, as the kernel does */

struct tree_chunk {
	struct tree_chunk *next;
	size_t used, size;
	_Alignas(16) char data[];
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct image_entry *)a)->name, ((const struct image_entry *)b)->name);
}

static void free_nothing(void *p)
{
	(void)p;
}

void *tree_alloc(struct image_tree *t, size_t size)
{
	struct tree_chunk *c = t->chunks;
	void *p;

	size = (size + 15) & ~(size_t)15;
	if (!c || size > c->size - c->used) {
		size_t room = size > CHUNK ? size : CHUNK;

		c = room <= TREE_BYTES - t->bytes ? malloc(sizeof(*c) + room) : NULL;
		if (!c) {
			complain("%s: its files need too much memory (%u names so far); split it",
				 t->what, t->entries);
			return NULL;
		}
		t->bytes += room;
		*c = (struct tree_chunk){ .next = t->chunks, .size = room };
		t->chunks = c;
	}
	p = c->data + c->used;
	c->used += size;
	return memset(p, 0, size);
}

char *tree_text(struct image_tree *t, const char *text, size_t len)
{
	char *copy = tree_alloc(t, len + 1);

	return copy ? memcpy(copy, text, len) : NULL;
}

static struct image_node *new_node(struct image_tree *t, const struct image_node *meta)
{
	struct image_node *n = tree_alloc(t, sizeof(*n));

	if (!n)
		return NULL;
	*n = *meta;
	n->names = NULL;
	if (t->map_root && n->uid == t->uid)
		n->uid = 0;
	if (t->map_root && n->gid == t->gid)
		n->gid = 0;
	if (S_ISDIR(n->mode)) {
		n->size = 0;
		n->next_dir = t->dirs;
		t->dirs = n;
	}
	return n;
}

static const struct image_node plain_dir = { .mode = S_IFDIR | 0755 };

struct image_tree *tree_new(const char *what)
{
	struct image_tree *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->what = what;
	t->root = new_node(t, &plain_dir);
	if (t->root)
		return t;
	tree_free(t);
	return NULL;
}

void tree_free(struct image_tree *t)
{
	if (!t)
		return;
	for (struct image_node *d = t->dirs; d; d = d->next_dir) {
		tdestroy(d->names, free_nothing);
		free(d->list);
	}
	while (t->chunks) {
		struct tree_chunk *c = t->chunks;

		t->chunks = c->next;
		free(c);
	}
	free(t->nodes);
	free(t);
}

/* labels and marks of the host's own machinery mean nothing in a guest, or the wrong thing */
static bool kept(const char *name)
{
	return !strncmp(name, "user.", 5) || !strcmp(name, "security.capability") ||
	       !strcmp(name, "system.posix_acl_access") ||
	       !strcmp(name, "system.posix_acl_default");
}

int tree_xattr(struct image_tree *t, struct image_xattr **list, const char *name, const void *value,
	       size_t len)
{
	struct image_xattr *x, **at = list;
	size_t name_len = strlen(name), sum = name_len + len + sizeof(*x);
	int order = -1;

	if (!kept(name) || !strcmp(name, "user."))
		return 0;
	for (x = *list; x; x = x->next)
		sum += strlen(x->name) + x->len + sizeof(*x);
	if (name_len > 255 || len > 65535 || sum > TREE_XATTRS) {
		complain("%s: the extended attribute %.40s is too large for an image", t->what,
			 name);
		return -E2BIG;
	}
	while (*at && (order = strcmp((*at)->name, name)) < 0)
		at = &(*at)->next;
	x = tree_alloc(t, sizeof(*x));
	if (!x)
		return -ENOMEM;
	x->name = tree_text(t, name, name_len);
	x->value = tree_text(t, value, len);
	x->len = (uint32_t)len;
	if (!x->name || !x->value)
		return -ENOMEM;
	x->next = *at && !order ? (*at)->next : *at;
	*at = x;
	return 0;
}

static struct image_entry *lookup(const struct image_node *dir, const char *name)
{
	union {
		struct image_entry e;
		char room[sizeof(struct image_entry) + 256];
	} key;
	size_t len = strlen(name);
	void **found;

	if (len > 255)
		return NULL;
	memcpy(key.e.name, name, len + 1);
	found = tfind(&key.e, &dir->names, by_name);
	return found ? *found : NULL;
}

static int add_entry(struct image_tree *t, struct image_node *dir, const char *name,
		     struct image_node *node)
{
	size_t len = strlen(name);
	struct image_entry *e;

	if (!len || len > 255 || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, "..")) {
		complain("%s: '%.300s' cannot be a file's name; names have at most 255 bytes",
			 t->what, name);
		return -EINVAL;
	}
	if (t->entries == TREE_ENTRIES || (S_ISDIR(node->mode) && dir->depth >= TREE_DEPTH)) {
		complain("%s: %s at '%.200s'; an image takes %u names, and folders %u deep",
			 t->what, t->entries == TREE_ENTRIES ? "too many files" : "too deep", name,
			 TREE_ENTRIES, TREE_DEPTH);
		return -E2BIG;
	}
	e = tree_alloc(t, sizeof(*e) + len + 1);
	if (!e)
		return -ENOMEM;
	*e = (struct image_entry){ .dir = dir, .node = node, .layer = t->layer };
	memcpy(e->name, name, len + 1);
	if (!tsearch(e, &dir->names, by_name)) {
		complain("%s: out of memory", t->what);
		return -ENOMEM;
	}
	t->entries++;
	if (!node->entry)
		node->entry = e;
	if (S_ISDIR(node->mode))
		node->depth = dir->depth + 1;
	return 0;
}

static void remove_entry(struct image_node *dir, struct image_entry *e)
{
	tdelete(e, &dir->names, by_name);
}

/* a folder that is given again */
static void new_meta(struct image_tree *t, struct image_node *dir, const struct image_node *meta)
{
	dir->mode = meta->mode;
	dir->uid = t->map_root && meta->uid == t->uid ? 0 : meta->uid;
	dir->gid = t->map_root && meta->gid == t->gid ? 0 : meta->gid;
	dir->mtime = meta->mtime;
	dir->mtime_ns = meta->mtime_ns;
	dir->xattrs = meta->xattrs;
	dir->ctime = meta->ctime;
	dir->ino = meta->ino;
}

int tree_add_at(struct image_tree *t, struct image_node *dir, const char *name,
		const struct image_node *meta, struct image_node **ret_node)
{
	struct image_entry *e = lookup(dir, name);
	struct image_node *n;
	int r;

	if (e && S_ISDIR(e->node->mode) && S_ISDIR(meta->mode)) {
		new_meta(t, e->node, meta);
		e->layer = t->layer;
		n = e->node;
	} else {
		n = new_node(t, meta);
		if (!n)
			return -ENOMEM;
		if (e)
			remove_entry(dir, e);
		r = add_entry(t, dir, name, n);
		if (r)
			return r;
	}
	if (ret_node)
		*ret_node = n;
	return 0;
}

/*
 * A path that is being looked up: what is left of it, links unfolded in front
 *
 * The rest is kept at the end of the buffer, so that a link's target can be put before it.
 */
struct walk {
	struct image_tree *t;
	const char *path;
	bool make; /* folders on the way, and complaints */
	struct image_node *dir;
	unsigned links;
	size_t at; /* the rest starts here and ends at the buffer's end */
	char rest[2 * TREE_PATH];
};

static int walk_fail(const struct walk *w, int code, const char *why)
{
	if (w->make)
		complain("%s: '%.1000s' %s", w->t->what, w->path, why);
	return code;
}

static int walk_put(struct walk *w, const char *text)
{
	size_t len = strlen(text);

	if (len + 1 > w->at)
		return walk_fail(w, -ENAMETOOLONG, "is too long a path");
	w->at -= len + 1;
	memcpy(w->rest + w->at, text, len);
	w->rest[w->at + len] = w->at + len + 1 == sizeof(w->rest) ? '\0' : '/';
	return 0;
}

/* the next part of the path into @name: 0 at the end */
static size_t walk_part(struct walk *w, char name[256])
{
	size_t len;

	while (w->at < sizeof(w->rest) && w->rest[w->at] == '/')
		w->at++;
	if (w->at == sizeof(w->rest))
		return 0;
	len = strcspn(w->rest + w->at, "/");
	if (len <= 255) {
		memcpy(name, w->rest + w->at, len);
		name[len] = '\0';
	}
	w->at += len;
	return len;
}

static bool walk_ended(const struct walk *w)
{
	size_t at = w->at;

	while (w->rest[at] == '/')
		at++;
	return !w->rest[at];
}

/* from w->dir into its folder @name */
static int walk_down(struct walk *w, const char *name)
{
	struct image_entry *e;
	int r;

	if (!strcmp(name, ".."))
		w->dir = w->dir->entry ? w->dir->entry->dir : w->t->root;
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return 0;
	e = lookup(w->dir, name);
	if (!e && !w->make)
		return -ENOENT;
	if (!e) {
		r = tree_add_at(w->t, w->dir, name, &plain_dir, NULL);
		if (r)
			return r;
		e = lookup(w->dir, name);
	}
	if (S_ISLNK(e->node->mode)) {
		if (++w->links > LINKS_MOST)
			return walk_fail(w, -ELOOP, "leads through too many symlinks");
		if (*e->node->target == '/')
			w->dir = w->t->root;
		return walk_put(w, e->node->target);
	}
	if (!S_ISDIR(e->node->mode))
		return walk_fail(w, -ENOTDIR, "leads through something that is no folder");
	if (w->make)
		e->layer = w->t->layer;
	w->dir = e->node;
	return 0;
}

/*
 * To the folder of the last part of @path, which is copied to @name ("" for the folder itself)
 */
static int walk(struct walk *w, struct image_tree *t, const char *path, bool make, char name[256])
{
	int r;

	w->t = t;
	w->path = path;
	w->make = make;
	w->dir = t->root;
	w->links = 0;
	w->at = sizeof(w->rest);
	*name = '\0';
	if (strlen(path) >= TREE_PATH)
		return walk_fail(w, -ENAMETOOLONG, "is too long a path");
	r = walk_put(w, path);
	while (!r) {
		size_t len = walk_part(w, name);

		if (len > 255)
			return walk_fail(w, -ENAMETOOLONG, "has too long a name");
		if (!len)
			return 0;
		if (strcmp(name, ".") && strcmp(name, "..") && walk_ended(w))
			return 0;
		r = walk_down(w, name);
		*name = '\0';
	}
	return r;
}

int tree_add(struct image_tree *t, const char *path, const struct image_node *meta)
{
	struct walk w;
	char name[256];
	int r = walk(&w, t, path, true, name);

	if (r)
		return r;
	if (*name)
		return tree_add_at(t, w.dir, name, meta, NULL);
	if (!S_ISDIR(meta->mode)) {
		complain("%s: '%.1000s' is where a folder must be", t->what, path);
		return -ENOTDIR;
	}
	new_meta(t, w.dir, meta);
	return 0;
}

struct image_node *tree_find(struct image_tree *t, const char *path)
{
	struct image_entry *e;
	struct walk w;
	char name[256];

	if (walk(&w, t, path, false, name))
		return NULL;
	e = *name ? lookup(w.dir, name) : NULL;
	return *name ? (e ? e->node : NULL) : w.dir;
}

int tree_link_at(struct image_tree *t, struct image_node *dir, const char *name,
		 struct image_node *node)
{
	struct image_entry *e = lookup(dir, name);

	if (e && e->node == node) {
		e->layer = t->layer;
		return 0;
	}
	if (e)
		remove_entry(dir, e);
	return add_entry(t, dir, name, node);
}

int tree_link(struct image_tree *t, const char *path, const char *target)
{
	struct image_node *node = tree_find(t, target);
	struct walk w;
	char name[256];
	int r;

	if (!node || S_ISDIR(node->mode)) {
		complain("%s: '%.1000s' is a hard link to '%.1000s', which is %s", t->what, path,
			 target, node ? "a folder" : "not there (yet)");
		return node ? -EPERM : -ENOENT;
	}
	r = walk(&w, t, path, true, name);
	if (r)
		return r;
	if (!*name) {
		complain("%s: '%.1000s' is where a folder must be", t->what, path);
		return -ENOTDIR;
	}
	return tree_link_at(t, w.dir, name, node);
}

struct doomed {
	uint32_t layer;
	struct image_entry **list;
	uint32_t count, room;
	bool failed;
};

static void collect(const void *p, VISIT order, void *arg)
{
	struct doomed *d = arg;
	struct image_entry *e = *(struct image_entry *const *)p;

	if (order != postorder && order != leaf)
		return;
	if (d->count == d->room) {
		struct image_entry **more;

		d->room = d->room ? 2 * d->room : 16;
		more = realloc(d->list, d->room * sizeof(*more));
		if (!more) {
			d->failed = true;
			d->room = d->count;
			return;
		}
		d->list = more;
	}
	d->list[d->count++] = e;
}

/*
 * Remove from @dir what lower layers put there.  An entry of this layer stays; if it is a folder,
 * what lower layers put inside is removed.  One of a lower layer has nothing of this layer beneath
 * it, because walk_down() marks the folders on the way.
 */
static int hide_inside(struct image_tree *t, struct image_node *dir)
{
	struct doomed d = { .layer = t->layer };
	int r = 0;

	twalk_r(dir->names, collect, &d);
	if (d.failed) {
		complain("%s: out of memory", t->what);
		r = -ENOMEM;
	}
	for (uint32_t i = 0; !r && i < d.count; i++) {
		if (d.list[i]->layer < t->layer)
			remove_entry(dir, d.list[i]);
		else if (S_ISDIR(d.list[i]->node->mode))
			r = hide_inside(t, d.list[i]->node);
	}
	free(d.list);
	return r;
}

int tree_hide(struct image_tree *t, const char *path, bool inside)
{
	struct image_entry *e;
	struct walk w;
	char name[256];

	if (walk(&w, t, path, false, name))
		return 0;
	e = *name ? lookup(w.dir, name) : NULL;
	if (*name && !e)
		return 0;
	if (inside || !e || e->layer == t->layer) {
		struct image_node *dir = e ? e->node : w.dir;

		return S_ISDIR(dir->mode) ? hide_inside(t, dir) : 0;
	}
	remove_entry(w.dir, e);
	return 0;
}

int tree_path(const struct image_node *node, char buf[TREE_PATH])
{
	size_t at = TREE_PATH - 1;

	buf[at] = '\0';
	for (const struct image_entry *e = node->entry; e; e = e->dir->entry) {
		size_t len = strlen(e->name), slash = buf[at] ? 1 : 0;

		if (len + slash > at)
			return -ENAMETOOLONG;
		if (slash)
			buf[--at] = '/';
		at -= len;
		memcpy(buf + at, e->name, len);
	}
	if (!buf[at])
		buf[--at] = '.';
	memmove(buf, buf + at, TREE_PATH - at);
	return 0;
}

/* "." and ".." have their places in the order of names, not at the front */
static void insert_dots(struct image_entry **list, uint32_t *count, struct image_entry *dots)
{
	uint32_t i = (*count)++;

	for (; i && strcmp(list[i - 1]->name, dots->name) > 0; i--)
		list[i] = list[i - 1];
	list[i] = dots;
}

static struct image_entry *dots_entry(struct image_tree *t, const char *name,
				      struct image_node *node)
{
	struct image_entry *e = tree_alloc(t, sizeof(*e) + 3);

	if (e) {
		e->node = node;
		strcpy(e->name, name);
	}
	return e;
}

static int list_dir(struct image_tree *t, struct image_node *dir)
{
	struct image_node *parent = dir->entry ? dir->entry->dir : dir;
	struct image_entry *self = dots_entry(t, ".", dir), *up = dots_entry(t, "..", parent);
	struct doomed d = { .layer = 0 };
	struct image_entry **list;

	if (!self || !up)
		return -ENOMEM;
	twalk_r(dir->names, collect, &d);
	list = realloc(d.list, (d.count + 2) * sizeof(*list));
	if (d.failed || !list) {
		free(list ? list : d.list);
		complain("%s: out of memory", t->what);
		return -ENOMEM;
	}
	dir->list = list;
	dir->count = d.count;
	insert_dots(list, &dir->count, self);
	insert_dots(list, &dir->count, up);
	return 0;
}

/* width first: the inodes of a folder stand side by side, and nothing recurses */
int tree_freeze(struct image_tree *t)
{
	t->nodes = malloc(sizeof(*t->nodes) * ((size_t)t->entries + 1));
	if (!t->nodes) {
		complain("%s: out of memory", t->what);
		return -ENOMEM;
	}
	t->nodes[t->count++] = t->root;
	t->root->index = 1;
	for (uint32_t i = 0; i < t->count; i++) {
		struct image_node *dir = t->nodes[i];
		int r;

		if (!S_ISDIR(dir->mode))
			continue;
		r = list_dir(t, dir);
		if (r)
			return r;
		for (uint32_t k = 0; k < dir->count; k++) {
			struct image_node *n = dir->list[k]->node;

			/* a folder is counted by its name, its "." and the ".." beneath it */
			n->nlink++;
			if (n->index)
				continue;
			n->entry = dir->list[k]; /* an earlier one may be gone */
			t->nodes[t->count++] = n;
			n->index = t->count;
		}
	}
	return 0;
}
