/*
 * snap_child.c - a whole snapshot becomes a child: what its parent has is left out
 *
 * For a parent that the machine knows nothing of.  It was not packed while the
 * machine stood still, and what is left of it is packed here.
 */
#include "snap.h"
#include "snap_mem.h"

struct comparing {
	const struct snap_file *whole, *parent;
	struct snap_unpacker u;
	struct snap_packer packer;
	uint8_t a[SNAP_CHUNK], b[SNAP_CHUNK];
};

static bool is_stored(const struct snap_entry *e)
{
	return snap_kind(e) == SNAP_RAW || snap_kind(e) == SNAP_DEFLATE;
}

/* chunk @n is in c->a; 1, 0, or -errno */
static int is_same(struct comparing *c, uint64_t n, size_t len)
{
	int r;

	if (!is_stored(&snap_owner(c->parent, n)->entry[n])) /* one word, and that never is */
		return 0;
	r = snap_read(c->parent, n, c->b, len, &c->u);
	return r ? r : !memcmp(c->a, c->b, len);
}

static int make_chunk(struct comparing *c, struct snap_writer *w, uint64_t n, size_t len)
{
	const struct snap_entry *e = &c->whole->entry[n];
	int r;

	if (!is_stored(e)) { /* costs as little as to name the parent */
		snap_put(w, n, e);
		return 0;
	}
	r = snap_read(c->whole, n, c->a, len, &c->u);
	if (!r)
		r = is_same(c, n, len);
	if (r > 0)
		snap_leave(w, n);
	if (r)
		return MIN(r, 0);
	r = snap_pack(&c->packer, n, c->a, len);
	return r ? err(r, "snapshot: it cannot be written: %s", strerror(-r)) : 0;
}

static int check_memory(const struct comparing *c, const struct gmem *mem)
{
	char is[32], was[32];

	if (c->whole->head.chunks != snap_chunks(mem))
		return err(-EBADMSG, "snapshot %s: has another memory than its machine",
			   c->whole->name);
	size_print(snap_memory_size(c->whole), is, sizeof(is));
	size_print(snap_memory_size(c->parent), was, sizeof(was));
	return c->parent->head.chunks == c->whole->head.chunks
		       ? 0
		       : err(-EINVAL,
			     "snapshot %s: cannot be the parent: it has %s of memory, and the "
			     "machine %s",
			     c->parent->name, was, is);
}

static int make_chunks(struct comparing *c, const struct gmem *mem, struct snap_writer *w)
{
	uint64_t off;
	size_t len;
	int r = 0;

	for (uint64_t n = 0; !r && n < w->chunks; n++) {
		snap_slot(mem, n, &off, &len);
		r = make_chunk(c, w, n, len);
	}
	if (!r)
		r = snap_copy_pieces(c->whole, &c->packer, &c->u);
	if (r)
		return r;
	r = snap_packer_end(&c->packer);
	return r ? err(r, "snapshot: it cannot be written: %s", strerror(-r)) : 0;
}

static int make_file(struct comparing *c, const struct gmem *mem, int fd, int level)
{
	const struct snap_file *whole = c->whole;
	struct snap_writer w;
	int r = snap_begin_child(&w, fd, whole->head.chunks, level);

	memcpy(w.id, whole->head.id, sizeof(w.id));
	if (!r)
		r = snap_add_pieces(&w, whole->piece, whole->pieces);
	if (!r)
		r = snap_packer_init(&c->packer, &w);
	if (!r)
		r = make_chunks(c, mem, &w);
	if (!r)
		r = snap_end(&w, whole->tree, whole->tree_size);
	snap_packer_free(&c->packer);
	snap_writer_free(&w);
	return r;
}

int snap_make_child(const struct snap_file *whole, const struct conf *conf,
		    const struct snap_file *parent, int fd, int level)
{
	struct comparing *c = calloc(1, sizeof(*c));
	struct gmem mem;
	int r = c ? snap_unpacker_init(&c->u) : -ENOMEM;

	if (r) {
		free(c);
		return err(r, "snapshot: out of memory to compare it");
	}
	c->whole = whole;
	c->parent = parent;
	r = snap_shape(conf, &mem);
	if (!r)
		r = check_memory(c, &mem);
	if (!r)
		r = make_file(c, &mem, fd, level);
	snap_unpacker_free(&c->u);
	free(c);
	return r;
}
