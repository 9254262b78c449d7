/*
 * fuzz_snap - a snapshot's file, changed anywhere and sealed again: refused with a message, or read
 *
 * A good image is at hand.  Each operation of the input changes a part of it: a
 * field of the header or of a section, an entry of the index, bytes of a chunk
 * or of the tree's structure, a property of the tree, the file's length.  Then
 * checksums are made right, unless the input says otherwise, so what is tried is
 * what stands behind them.  What is taken is read whole, its tree printed, and
 * saved again: it must come out as it went in.  Every other input changes a child
 * of that image, which stays good, and half of them an image with pieces of disks,
 * whose list then is half of what is changed.
 */
#include <libfdt.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz_input.h"
#include "snap_mem.h"
#include "snap_rig.h"
#include "state.h"

#define OPERATIONS 16
#define TREE_ROOM  8192U
#define UNUSED	   0xa5

#define PIECES	   64U /* that are read */

static struct image good, child, with_pieces, child_with_pieces;

static uint64_t where(struct input *in, uint64_t size)
{
	static const uint64_t ends[] = { 0, 1, SNAP_PAGE - 1, SNAP_PAGE, SNAP_PAGE + 1 };
	uint8_t how = byte(in);

	if (how < 64)
		return ends[how % ARRAY_SIZE(ends)];
	if (how < 128)
		return size - 70 + how % 128;
	return how < 192 ? word(in) << 8 : number(in);
}

/* --- parts that are changed --- */

static void change_header(struct image *x, struct input *in)
{
	struct snap_header *h = rig_head(x);

	switch (byte(in) % 6) {
	case 0:
		h->sections = (uint32_t)number(in);
		break;
	case 1:
		h->size = where(in, x->size);
		break;
	case 2:
		h->chunks = byte(in) & 1 ? RIG_CHUNKS + byte(in) % 4 - 2U : number(in);
		break;
	case 3:
		h->version = (uint32_t)number(in);
		break;
	default:
		x->data[word(in) % SNAP_PAGE] ^= byte(in);
	}
}

static void change_section(struct image *x, struct input *in)
{
	struct snap_header *h = rig_head(x);
	struct snap_section *s = &h->section[byte(in) % 4];

	switch (byte(in) % 6) {
	case 0:
		s->type = byte(in) % 6;
		break;
	case 1:
		s->flags = byte(in) % 4;
		break;
	case 2:
		s->at = where(in, x->size);
		break;
	case 3:
		s->size = where(in, x->size);
		break;
	case 4:
		*s = h->section[byte(in) % 4];
		break;
	default:
		h->sections = MIN(h->sections + 1, SNAP_SECTIONS);
	}
}

static void alter_entry(const struct image *x, struct input *in, struct snap_entry *e)
{
	switch (byte(in) % 5) {
	case 0:
		e->what = (e->what & 0xfffffff) | (uint32_t)(byte(in) % 6) << 28;
		break;
	case 1:
		e->what = (e->what & ~0xfffffffU) |
			  ((uint32_t)where(in, byte(in) & 1 ? SNAP_CHUNK : x->size) & 0xfffffff);
		break;
	case 2:
		e->at = where(in, x->size);
		break;
	case 3:
		*e = rig_entry(x, byte(in) % RIG_CHUNKS);
		break;
	default:
		e->crc = (uint32_t)number(in);
	}
}

static void change_entry(struct image *x, struct input *in)
{
	uint64_t n = byte(in) % RIG_CHUNKS;
	struct snap_entry e = rig_entry(x, n);

	alter_entry(x, in, &e);
	rig_set_entry(x, n, e);
}

/* its bytes, and the checksum that goes with them; false: it has none, or they would be the
 * header's, which says where it is itself */
static bool alter_bytes(struct image *x, struct input *in, struct snap_entry *e)
{
	uint32_t len = snap_stored(e);

	if (!len || e->at < SNAP_PAGE || !range_fits(e->at, len, x->size))
		return false;
	for (unsigned i = byte(in) % 8; i; i--)
		x->data[e->at + word(in) % len] ^= byte(in);
	e->crc = (uint32_t)crc32_z(0, x->data + e->at, len);
	return true;
}

static void change_chunk(struct image *x, struct input *in)
{
	uint64_t n = byte(in) % RIG_CHUNKS;
	struct snap_entry e = rig_entry(x, n);

	if (alter_bytes(x, in, &e))
		rig_set_entry(x, n, e);
}

/* a stream of the input's own bytes */
static size_t own_bytes(struct input *in, uint8_t own[64])
{
	size_t len = 1 + byte(in) % 64;

	for (size_t i = 0; i < len; i++)
		own[i] = byte(in);
	return len;
}

static void own_chunk(struct image *x, struct input *in)
{
	enum snap_kind kind = byte(in) & 1 ? SNAP_DEFLATE : SNAP_RAW;
	uint64_t n = byte(in) % RIG_CHUNKS;
	uint8_t own[64];
	size_t len = own_bytes(in, own);

	rig_rechunk(x, n, kind, own, len);
}

static void change_tree_bytes(struct image *x, struct input *in)
{
	/* as it is told now: what is changed may be the telling */
	const struct snap_section s = *rig_section(x, SNAP_SECTION_TREE);

	if (!s.size || !range_fits(s.at, s.size, x->size))
		return;
	for (unsigned i = byte(in) % 4; i; i--)
		x->data[s.at + word(in) % s.size] ^= byte(in);
}

static int nth_node(const void *t, unsigned n)
{
	int node = 0;

	for (int next = 0; n && next >= 0; n--) {
		next = fdt_next_node(t, node, NULL);
		if (next >= 0)
			node = next;
	}
	return node;
}

static int nth_property(const void *t, int node, unsigned n)
{
	int at = fdt_first_property_offset(t, node);

	for (int next = at; n && next >= 0; n--) {
		next = fdt_next_property_offset(t, at);
		if (next >= 0)
			at = next;
	}
	return at;
}

static void change_node(void *t, struct input *in)
{
	int node = nth_node(t, byte(in) % 8), prop = nth_property(t, node, byte(in) % 64), len;
	const char *name = NULL;
	char own[256], copy[64] = "";

	if (prop >= 0)
		fdt_getprop_by_offset(t, prop, &name, &len);
	if (name) /* it moves with what is changed */
		snprintf(copy, sizeof(copy), "%s", name);
	for (size_t i = 0; i < sizeof(own); i++)
		own[i] = (char)('a' + i % 26);
	len = byte(in);
	switch (byte(in) % 9) {
	case 0:
		fdt_setprop_u32(t, node, copy, (uint32_t)number(in));
		break;
	case 1:
		fdt_setprop_u64(t, node, copy, number(in));
		break;
	case 2:
		for (int i = 0; i < len && i < 16; i++)
			own[i] = (char)byte(in);
		own[len] = '\0';
		fdt_setprop(t, node, copy, own, len + 1);
		break;
	case 3:
		fdt_setprop(t, node, copy, own, len);
		break;
	case 4:
		fdt_delprop(t, node, copy);
		break;
	case 5:
		fdt_setprop_u32(t, node, "newer", 1);
		break;
	case 6:
		fdt_del_node(t, node);
		break;
	case 7:
		snprintf(copy, sizeof(copy), "%s@%u", byte(in) & 1 ? "disk" : "net", byte(in) % 20);
		fdt_add_subnode(t, node, copy);
		break;
	default:
		fdt_add_subnode(t, node, "newer");
	}
}

static void change_tree(struct image *x, struct input *in)
{
	struct snap_section *s = rig_section(x, SNAP_SECTION_TREE);
	size_t room = s->size + TREE_ROOM;
	void *t;

	if (s->size > 1 << 20 || !range_fits(s->at, s->size, x->size))
		return;
	t = malloc(room);
	memcpy(t, x->data + s->at, s->size);
	if (!fdt_check_full(t, s->size) && !fdt_open_into(t, t, (int)room)) {
		change_node(t, in);
		fdt_pack(t);
		rig_retree(x, t, fdt_totalsize(t));
	}
	free(t);
}

static void change_length(struct image *x, struct input *in)
{
	size_t size = where(in, x->size) % (x->size + 100);

	if (size < SNAP_PAGE)
		return;
	if (size > x->size) {
		x->data = realloc(x->data, size);
		memset(x->data + x->size, 0, size - x->size);
	}
	x->size = size;
	if (byte(in) & 1)
		rig_head(x)->size = size;
}

static void change_parent(struct image *x, struct input *in)
{
	const struct snap_header *h = rig_head(x);

	for (unsigned i = 0; i < MIN(h->sections, SNAP_SECTIONS); i++)
		if (h->section[i].type == SNAP_SECTION_PARENT && h->section[i].size &&
		    range_fits(h->section[i].at, h->section[i].size, x->size))
			x->data[h->section[i].at + word(in) % MIN(h->section[i].size, 64U)] ^=
				byte(in);
}

static void change_list_size(struct image *x, struct input *in)
{
	struct snap_section *s = rig_section(x, SNAP_SECTION_DISKS);

	switch (byte(in) % 3) {
	case 0:
		s->size = byte(in) % (RIG_PIECES + 1U) * RIG_PIECE_SIZE;
		break;
	case 1:
		s->size -= byte(in) % (2 * RIG_PIECE_SIZE);
		break;
	default:
		s->size = number(in);
	}
}

static void change_piece(struct image *x, struct input *in)
{
	uint64_t i = byte(in) % rig_pieces(x);
	struct snap_entry e, other;
	uint64_t at = rig_piece_of(x, i, &e);
	uint8_t own[64];
	size_t len;

	switch (byte(in) % 7) {
	case 0:
		at = SNAP_PIECE(byte(in) % 4, number(in));
		break;
	case 1:
		at = number(in);
		break;
	case 2: /* as another one, or in its place */
		at = rig_piece_of(x, byte(in) % rig_pieces(x), &other);
		if (byte(in) & 1)
			e = other;
		break;
	case 3:
		alter_bytes(x, in, &e);
		break;
	case 4:
		len = own_bytes(in, own);
		e.at = rig_append(x, own, len);
		e.what = (uint32_t)(byte(in) & 1 ? SNAP_DEFLATE : SNAP_RAW) << 28 | (uint32_t)len;
		e.crc = (uint32_t)crc32_z(0, own, len);
		break;
	default:
		alter_entry(x, in, &e);
	}
	rig_set_piece(x, i, at, e);
}

/* the one that rig_section() finds; NULL: it would find none */
static const struct snap_section *first_of(const struct image *x, uint32_t type)
{
	const struct snap_header *h = rig_head(x);

	for (unsigned i = 0; i < MIN(h->sections, SNAP_SECTIONS); i++)
		if (h->section[i].type == type)
			return &h->section[i];
	return NULL;
}

static bool has_list(const struct image *x)
{
	const struct snap_section *s = first_of(x, SNAP_SECTION_DISKS);

	return s && s->size >= RIG_PIECE_SIZE && range_fits(s->at, s->size, x->size);
}

static bool has_parts(const struct image *x)
{
	const struct snap_section *index = first_of(x, SNAP_SECTION_INDEX);

	return first_of(x, SNAP_SECTION_TREE) && index &&
	       index->size >= RIG_CHUNKS * sizeof(struct snap_entry) &&
	       range_fits(index->at, index->size, x->size);
}

static void change(struct image *x, struct input *in)
{
	static void (*const in_parts[])(struct image * x, struct input * in) = {
		change_entry,	   change_chunk, own_chunk,	change_tree,
		change_tree_bytes, change_tree,	 change_parent,
	};
	uint8_t op = byte(in), what = op % 10;

	if (op & 128 && has_list(x) && has_parts(x))
		(op & 7 ? change_piece : change_list_size)(x, in);
	else if (what == 0)
		change_header(x, in);
	else if (what == 1)
		change_section(x, in);
	else if (what == 2)
		change_length(x, in);
	else if (has_parts(x))
		in_parts[what % ARRAY_SIZE(in_parts)](x, in);
}

/* --- what has to hold --- */

/* what was taken is in range, and is the same when it is saved and loaded again */
static void check_conf(const struct conf *conf)
{
	static uint8_t tree[1 << 20];
	struct conf *back = calloc(1, sizeof(*back));
	char text[CONF_APPEND + 64];
	int r;

	for_each_field (f, conf_fields) {
		if (f->kind == FIELD_STR)
			require(strnlen(field_at(f, conf, 0), f->size) < f->size);
		if (f->kind <= FIELD_STR)
			field_print(f, conf, text, sizeof(text));
	}
	require(conf->disks <= CONF_DISKS && conf->nets <= CONF_NETS && conf->vsocks <= 1);
	r = tree_begin(tree, sizeof(tree));
	if (!r)
		r = state_save(tree, conf_fields, conf);
	if (!r)
		r = tree_end(tree);
	require(r > 0 && !state_load(tree, 0, conf_fields, back));
	require(!memcmp(&back->memory, &conf->memory, sizeof(back->memory)) &&
		back->disks == conf->disks && !strcmp(back->kernel, conf->kernel));
	free(back);
}

static struct snap_unpacker *unpacker(void)
{
	static struct snap_unpacker *u;

	if (!u) {
		u = malloc(sizeof(*u));
		require(u && !snap_unpacker_init(u));
		memset(u->out, UNUSED, sizeof(u->out));
	}
	return u;
}

/* each chunk and each piece up to a page that is nobody's; @ret_whole: is all good? */
static bool read_all(const struct snap_file *f)
{
	struct snap_unpacker *u = unpacker();
	static uint8_t *room;
	bool whole = true;
	int r;

	if (!room) {
		room = mmap(NULL, SNAP_CHUNK + 4096, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		require(room != MAP_FAILED && !mprotect(room + SNAP_CHUNK, 4096, PROT_NONE));
	}
	for (uint64_t n = 0; n < f->head.chunks + MIN(f->pieces, PIECES); n++) {
		bool piece = n >= f->head.chunks;
		uint32_t len = piece || n >= RIG_CHUNKS ? SNAP_CHUNK : rig_len(n);

		if (n >= 2 * RIG_CHUNKS && !piece)
			continue;
		err_clear();
		r = snap_read(f, n, room + SNAP_CHUNK - len, len, u);
		require(r <= 0 && (!r || err_last()[0]));
		require(u->out[0] == UNUSED); /* it lies behind what is read */
		whole &= !r;
	}
	return whole;
}

static void read_piece(const struct snap_file *f, uint64_t i, uint8_t to[SNAP_CHUNK])
{
	memset(to, 0, SNAP_CHUNK);
	require(!snap_read(f, f->head.chunks + i, to, SNAP_CHUNK, unpacker()));
}

/* @f, all of which is good, with its pieces */
static void save_again(const struct snap_file *f, const struct conf *conf)
{
	static uint8_t is[SNAP_CHUNK], want[SNAP_CHUNK];
	int fd = memfd_create("again", MFD_CLOEXEC);
	struct snap_file again;

	require(fd >= 0 && !snap_whole(f, conf, fd) && !snap_open(&again, fd, "again"));
	require(!snap_verify(&again, conf) && again.pieces == f->pieces);
	require(!memcmp(again.piece, f->piece, f->pieces * sizeof(*f->piece)));
	for (uint64_t i = 0; i < MIN(f->pieces, PIECES); i++) {
		read_piece(f, i, want);
		read_piece(&again, i, is);
		require(!memcmp(is, want, SNAP_CHUNK));
	}
	snap_close(&again);
	close(fd);
}

/* its own descriptor, which goes with it */
static struct snap_file *open_parent(void)
{
	struct snap_file *p = calloc(1, sizeof(*p));
	static int fd = -1;

	if (fd < 0)
		fd = rig_fd(&good);
	require(p && !snap_open(p, dup(fd), "parent"));
	return p;
}

/* false: it is another's child, or does not know its parent any more */
static bool adopt(struct snap_file *f)
{
	struct snap_file *p = open_parent();

	if (!snap_adopt(f, p))
		return true;
	require(err_last()[0]);
	snap_close(p);
	close(p->fd);
	free(p);
	return false;
}

static void take(int fd)
{
	struct conf *conf = calloc(1, sizeof(*conf));
	struct snap_info info = { .hutch = "" };
	struct snap_file f;
	FILE *null = NULL;
	bool whole;
	int r;

	err_clear();
	r = snap_open(&f, fd, "fuzz");
	require(r <= 0 && (!r || err_last()[0]));
	if (r) {
		require(!f.tree && !f.entry && !f.wanted && !f.piece);
		free(conf);
		return;
	}
	if (f.wanted && !adopt(&f)) {
		snap_close(&f);
		free(conf);
		return;
	}
	whole = read_all(&f);
	null = fopen("/dev/null", "we");
	tree_print(f.tree, null, f.head.id[0] & 1);
	fclose(null);
	err_clear();
	r = snap_check(&f, &info, conf);
	require(r <= 0 && (!r || err_last()[0]));
	if (!r) {
		check_conf(conf);
		err_clear();
		r = snap_verify(&f, conf);
		require(r <= 0 && (!r || err_last()[0]));
		require(r || whole);
		if (!r && f.pieces)
			save_again(&f, conf);
	}
	snap_close(&f);
	free(conf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct image *const images[] = { &good, &child, &with_pieces, &child_with_pieces };
	struct image x cleanup_image = { NULL, 0 };
	static int fd = -1;

	if (fd < 0) {
		good = rig_small_image();
		child = rig_child(&good, 1, 1, "parent");
		with_pieces = rig_image_with_pieces(1, 1);
		child_with_pieces = rig_child_with_pieces(&good, 1, 1, "parent");
		fd = memfd_create("fuzz", MFD_CLOEXEC);
		require(fd >= 0);
	}
	x = rig_copy(images[size ? data[size - 1] % ARRAY_SIZE(images) : 0]);
	for (unsigned i = 0; i < OPERATIONS && in.left; i++)
		change(&x, &in);
	if (!size || data[0] % 8) /* the checksums themselves are worth a try, too */
		rig_seal(&x);
	require(!ftruncate(fd, 0) && pwrite(fd, x.data, x.size, 0) == (ssize_t)x.size);
	take(fd);
	return 0;
}
