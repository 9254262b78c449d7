/*
 * snap_whole.c - a snapshot with its parents, as one that needs none
 *
 * Its memory lies there unpacked: it is read at once and then gone.
 */
#include "snap.h"
#include "snap_mem.h"

struct copying {
	struct snap_unpacker u;
	struct snap_packer packer;
};

int snap_copy_pieces(const struct snap_file *f, struct snap_packer *p, struct snap_unpacker *u)
{
	int r = 0;

	for (uint64_t n = f->head.chunks; !r && n < f->head.chunks + f->pieces; n++) {
		memset(u->out, 0, sizeof(u->out));
		r = snap_read(f, n, u->out, sizeof(u->out), u);
		if (r)
			return r;
		r = snap_pack(p, n, u->out, sizeof(u->out));
	}
	return r ? err(r, "snapshot %s: its disks cannot be copied: %s", f->name, strerror(-r)) : 0;
}

static int copy_chunks(const struct snap_file *f, const struct gmem *mem, struct copying *c)
{
	uint64_t off;
	size_t len;
	int r = 0;

	for (uint64_t n = 0; !r && n < f->head.chunks; n++) {
		snap_slot(mem, n, &off, &len);
		memset(c->u.out, 0, len);
		r = snap_read(f, n, c->u.out, len, &c->u);
		if (r)
			return r;
		r = snap_pack(&c->packer, n, c->u.out, len);
	}
	if (!r && snap_copy_pieces(f, &c->packer, &c->u))
		return err_last_code();
	if (!r)
		r = snap_packer_end(&c->packer);
	return r ? err(r, "snapshot %s: it cannot be copied: %s", f->name, strerror(-r)) : 0;
}

static int copy(const struct snap_file *f, const struct gmem *mem, struct snap_writer *w)
{
	struct copying *c = calloc(1, sizeof(*c));
	int r = c ? snap_unpacker_init(&c->u) : -ENOMEM;

	if (!r) {
		r = snap_packer_init(&c->packer, w);
		if (!r)
			r = copy_chunks(f, mem, c);
		snap_packer_free(&c->packer);
		snap_unpacker_free(&c->u);
	} else {
		r = err(-ENOMEM, "snapshot %s: out of memory to copy it", f->name);
	}
	free(c);
	return r ? r : snap_end(w, f->tree, f->tree_size);
}

int snap_whole(const struct snap_file *f, const struct conf *conf, int fd)
{
	struct snap_writer w;
	struct gmem mem;
	int r = snap_shape(conf, &mem);

	if (!r && snap_chunks(&mem) != f->head.chunks)
		r = err(-EBADMSG, "snapshot %s: has another memory than its machine", f->name);
	if (!r)
		r = snap_begin(&w, fd, f->head.chunks, 0);
	if (r)
		return r;
	memcpy(w.id, f->head.id, sizeof(w.id));
	r = snap_add_pieces(&w, f->piece, f->pieces);
	if (!r)
		r = copy(f, &mem, &w);
	snap_writer_free(&w);
	return r;
}
