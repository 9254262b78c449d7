/*
 * snap_whole.c - a snapshot with its parents, as one that needs none
 *
 * Chunks are copied as they are stored, under the checksums that they have:
 * nothing is unpacked, and what is damaged is found.
 */
#include "snap_file.h"

int snap_whole(const struct snap_file *f, int fd)
{
	uint8_t stored[SNAP_CHUNK];
	struct snap_writer w;
	int r = snap_begin(&w, fd, f->head.chunks, SNAP_LEVEL);

	if (r)
		return r;
	memcpy(w.id, f->head.id, sizeof(w.id));
	for (uint64_t n = 0; !r && n < f->head.chunks; n++) {
		const struct snap_file *owner = snap_owner(f, n);
		const struct snap_entry *e = &owner->entry[n];

		if (snap_stored(e))
			r = snap_read_stored(owner, n, stored);
		if (r)
			break;
		r = snap_put(&w, n, e, stored);
		if (r)
			r = err(r, "snapshot %s: it cannot be copied: %s", f->name, strerror(-r));
	}
	if (!r)
		r = snap_end(&w, f->tree, f->tree_size);
	snap_writer_free(&w);
	return r;
}
