/*
 * snap_write.c - a snapshot's file is written; snap_file.h has what it is like
 *
 * Threads pack chunks side by side.  Each gathers what its chunks became in a
 * buffer of its own and takes a place in the file when that is full, so the
 * order of data is nobody's business, and the index tells where it went.
 *
 * #syscalls pwrite64 getrandom
 * #syscalls:caller pread64
 */
#include <sys/random.h>
#include <unistd.h>

#include "snap_file.h"

static int write_at(int fd, const void *data, size_t len, uint64_t at)
{
	const uint8_t *p = data;

	while (len) {
		ssize_t n = pwrite(fd, p, MIN(len, 1 * GiB), (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int begin(struct snap_writer *w, int fd, uint64_t chunks, int level, bool flat)
{
	*w = (struct snap_writer){ .fd = fd, .level = level, .flat = flat, .at = SNAP_PAGE };
	w->chunks = chunks;
	if (flat) /* what is not written there are holes */
		w->at += chunks * SNAP_CHUNK;
	w->entry = calloc(chunks + 1, sizeof(*w->entry));
	if (!w->entry)
		return err(-ENOMEM, "snapshot: out of memory for its index");
	return getrandom(w->id, sizeof(w->id), 0) == sizeof(w->id)
		       ? 0
		       : err(-EIO, "snapshot: no random numbers: %s", strerror(errno));
}

int snap_begin(struct snap_writer *w, int fd, uint64_t chunks, int level)
{
	return begin(w, fd, chunks, level, !level);
}

int snap_begin_child(struct snap_writer *w, int fd, uint64_t chunks, int level)
{
	return begin(w, fd, chunks, level, false);
}

int snap_add_pieces(struct snap_writer *w, uint64_t *piece, uint64_t pieces)
{
	struct snap_entry *e = reallocarray(w->entry, w->chunks + pieces + 1, sizeof(*e));

	if (!e)
		return err(-ENOMEM, "snapshot: out of memory for its index");
	memset(e + w->chunks, 0, (pieces + 1) * sizeof(*e));
	w->entry = e;
	w->piece = piece;
	w->pieces = pieces;
	return 0;
}

void snap_writer_free(struct snap_writer *w)
{
	free(w->entry);
	w->entry = NULL;
}

int snap_packer_init(struct snap_packer *p, struct snap_writer *w)
{
	p->w = w;
	p->used = 0;
	p->waiting = 0;
	p->z = (z_stream){ 0 };
	return !w->level || deflateInit2(&p->z, w->level, Z_DEFLATED, -MAX_WBITS, 8,
					 Z_DEFAULT_STRATEGY) == Z_OK
		       ? 0
		       : err(-ENOMEM, "snapshot: out of memory to pack it");
}

void snap_packer_free(struct snap_packer *p)
{
	if (p->w && p->w->level)
		deflateEnd(&p->z);
	p->w = NULL;
}

int snap_packer_end(struct snap_packer *p)
{
	uint64_t at = __atomic_fetch_add(&p->w->at, p->used, __ATOMIC_RELAXED);
	int r = write_at(p->w->fd, p->out, p->used, at);

	for (unsigned i = 0; i < p->waiting; i++)
		p->w->entry[p->entry[i]].at += at;
	p->used = 0;
	p->waiting = 0;
	return r;
}

/* is it one word all along? */
static bool is_fill(const uint8_t *data, size_t len, uint64_t *ret)
{
	memcpy(ret, data, sizeof(*ret));
	return !memcmp(data, data + sizeof(*ret), len - sizeof(*ret));
}

/* how much shorter it became, or 0: it did not */
static uint32_t deflate_chunk(struct snap_packer *p, const uint8_t *data, size_t len)
{
	if (deflateReset(&p->z) != Z_OK)
		return 0;
	p->z.next_in = (Bytef *)(uintptr_t)data;
	p->z.avail_in = (uInt)len;
	p->z.next_out = p->out + p->used;
	p->z.avail_out = (uInt)(len - len / 16); /* for less it is not worth unpacking */
	if (deflate(&p->z, Z_FINISH) != Z_STREAM_END)
		return 0;
	return (uint32_t)(p->z.next_out - (p->out + p->used));
}

/* to its own place; pages of zeroes within it are holes as well */
static int pack_flat(struct snap_writer *w, uint64_t n, const uint8_t *data, size_t len)
{
	static const uint8_t zero[SNAP_PAGE];
	uint64_t at = SNAP_PAGE + n * SNAP_CHUNK;
	size_t from = 0, to;
	int r = 0;

	for (; !r && from < len; from = to) {
		bool hole = !memcmp(data + from, zero, SNAP_PAGE);

		for (to = from + SNAP_PAGE; to < len; to += SNAP_PAGE)
			if (!memcmp(data + to, zero, SNAP_PAGE) != hole)
				break;
		if (!hole)
			r = write_at(w->fd, data + from, to - from, at + from);
	}
	w->entry[n] = (struct snap_entry){
		.at = at,
		.what = (uint32_t)SNAP_RAW << 28 | (uint32_t)len,
		.crc = (uint32_t)crc32_z(0, data, len),
	};
	return r;
}

int snap_pack(struct snap_packer *p, uint64_t n, const uint8_t *data, size_t len)
{
	struct snap_entry *e = &p->w->entry[n];
	uint32_t size;
	uint64_t word;
	int r;

	BUG_ON(n >= p->w->chunks + p->w->pieces || len > SNAP_CHUNK || len < sizeof(word));
	if (p->w->flat && n < p->w->chunks)
		return is_fill(data, len, &word) && !word ? 0 : pack_flat(p->w, n, data, len);
	if (is_fill(data, len, &word)) {
		*e = (struct snap_entry){ .at = word,
					  .what = (uint32_t)(word ? SNAP_FILL : SNAP_ZERO) << 28 };
		return 0;
	}
	if (p->used + len > sizeof(p->out) || p->waiting == ARRAY_SIZE(p->entry)) {
		r = snap_packer_end(p);
		if (r)
			return r;
	}
	size = p->w->level ? deflate_chunk(p, data, len) : 0;
	if (!size)
		memcpy(p->out + p->used, data, len);
	*e = (struct snap_entry){
		.at = p->used,
		.what = (uint32_t)(size ? SNAP_DEFLATE : SNAP_RAW) << 28 |
			(size ? size : (uint32_t)len),
		.crc = (uint32_t)crc32_z(0, p->out + p->used, size ? size : len),
	};
	p->entry[p->waiting++] = n;
	p->used += snap_stored(e);
	return 0;
}

void snap_put(struct snap_writer *w, uint64_t n, const struct snap_entry *e)
{
	BUG_ON(n >= w->chunks || snap_stored(e));
	w->entry[n] = *e;
}

void snap_leave(struct snap_writer *w, uint64_t n)
{
	w->entry[n] = (struct snap_entry){ .what = (uint32_t)SNAP_PARENT << 28 };
}

static int add_section(struct snap_writer *w, struct snap_header *h, uint32_t type,
		       const void *data, size_t size)
{
	h->section[h->sections++] = (struct snap_section){
		.type = type,
		.at = w->at,
		.size = size,
		.crc = (uint32_t)crc32_z(0, data, size),
	};
	w->at += size;
	return write_at(w->fd, data, size, w->at - size);
}

static int add_pieces(struct snap_writer *w, struct snap_header *h)
{
	size_t where = w->pieces * sizeof(*w->piece), entries = w->pieces * sizeof(*w->entry);
	cleanup_free uint8_t *p = malloc(where + entries);

	if (!p)
		return -ENOMEM;
	memcpy(p, w->piece, where);
	memcpy(p + where, w->entry + w->chunks, entries);
	return add_section(w, h, SNAP_SECTION_DISKS, p, where + entries);
}

/* @r: what became of the sections */
static int write_header(struct snap_writer *w, struct snap_header *h, int r)
{
	h->size = w->at;
	h->crc = (uint32_t)crc32_z(0, (const Bytef *)h, offsetof(struct snap_header, crc));
	if (!r)
		r = write_at(w->fd, h, sizeof(*h), 0);
	return r ? err(r, "snapshot: it cannot be written: %s", strerror(-r)) : 0;
}

int snap_end(struct snap_writer *w, const void *tree, size_t size)
{
	struct snap_header h = { .magic = SNAP_MAGIC,
				 .version = SNAP_VERSION,
				 .chunks = w->chunks };
	int r = add_section(w, &h, SNAP_SECTION_TREE, tree, size);

	memcpy(h.id, w->id, sizeof(h.id));
	if (!r)
		r = add_section(w, &h, SNAP_SECTION_INDEX, w->entry, w->chunks * sizeof(*w->entry));
	if (!r && w->pieces)
		r = add_pieces(w, &h);
	if (w->flat)
		h.section[h.sections++] = (struct snap_section){
			.type = SNAP_SECTION_FLAT,
			.at = SNAP_PAGE,
			.size = w->chunks * SNAP_CHUNK,
		};
	return write_header(w, &h, r);
}

int snap_add_parent(int fd, const struct snap_parent *parent)
{
	struct snap_writer w = { .fd = fd };
	struct snap_header h;
	int r;

	/* it may be another process that wrote it, and has a guest */
	if (pread(fd, &h, sizeof(h), 0) != sizeof(h) || memcmp(h.magic, SNAP_MAGIC, 8) ||
	    h.sections >= SNAP_SECTIONS || h.size > INT64_MAX - 2 * sizeof(*parent))
		return err(-EBADMSG, "snapshot: what was written of it is none");
	w.at = h.size;
	r = add_section(&w, &h, SNAP_SECTION_PARENT, parent, sizeof(*parent));
	return write_header(&w, &h, r);
}
