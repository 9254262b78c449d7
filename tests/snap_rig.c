#include <libfdt.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake.h"
#include "snap_rig.h"
#include "state.h"

void image_freep(struct image *image)
{
	free(image->data);
	image->data = NULL;
}

/* --- what is in it --- */

enum snap_kind rig_kind(uint64_t n)
{
	static const enum snap_kind kinds[] = { SNAP_DEFLATE, SNAP_ZERO, SNAP_RAW, SNAP_FILL,
						SNAP_DEFLATE, SNAP_RAW,	 SNAP_ZERO };

	return kinds[n % ARRAY_SIZE(kinds)];
}

uint32_t rig_len(uint64_t n)
{
	return n + 1 < RIG_CHUNKS ? SNAP_CHUNK : RIG_LAST;
}

void rig_fill(uint64_t n, uint8_t *to)
{
	uint32_t seed = (uint32_t)n * 2654435761U + 1, len = rig_len(n);
	uint64_t word = 0x0123456789abcdefULL ^ n;

	if (n == RIG_ODD) { /* one word all along, but for the last byte */
		memset(to, 7, len);
		to[len - 1] = 8;
		return;
	}
	for (uint32_t i = 0; i < len; i++) {
		seed = seed * 1664525 + 1013904223;
		switch (rig_kind(n)) {
		case SNAP_RAW:
			to[i] = (uint8_t)(seed >> 24);
			break;
		case SNAP_DEFLATE: /* half of it can be guessed */
			to[i] = (uint8_t)(i & 1 ? seed >> 24 : n);
			break;
		case SNAP_FILL:
			to[i] = (uint8_t)(word >> i % 8 * 8);
			break;
		default:
			to[i] = 0;
		}
	}
}

/* as vm_tree.c has it */
struct rig_header {
	char format[32], arch[16], cpu[64];
};

static const struct field rig_header_fields[] = {
	F_STR(struct rig_header, format),
	F_STR(struct rig_header, arch),
	F_STR(struct rig_header, cpu),
	F_END,
};

static const struct field no_fields[] = { F_END };

#define RIG_TREE_MAX (256U << 10)

static int add_node(void *fdt, const char *name, const struct field *table, const void *obj)
{
	int r = tree_node(fdt, name);

	if (!r)
		r = state_save(fdt, table, obj);
	return r ? r : tree_node_end(fdt);
}

static int make_tree(unsigned disks, void **ret)
{
	const struct rig_header header = { "hutch.machine/1", "x86_64", "a processor" };
	struct snap_info info = { .hutch = "0.1.0", .label = "a label", .created_ms = 1 };
	struct conf *conf = calloc(1, sizeof(*conf));
	void *fdt = malloc(RIG_TREE_MAX);
	int r;

	require(conf && fdt);
	conf_defaults(conf);
	conf->memory = RIG_LEN;
	require(!str_copy(conf->kernel, sizeof(conf->kernel), "/a/kernel"));
	conf->disks = info.disks = disks;
	for (unsigned i = 0; i < disks; i++) {
		require(!str_copy(conf->disk[i].path, sizeof(conf->disk[i].path), "/a/disk"));
		conf->disk[i].format = FORMAT_COW;
		conf->disk[i].queues = 1;
		info.disk[i].captured = true;
	}
	r = tree_begin(fdt, RIG_TREE_MAX);
	if (!r)
		r = state_save(fdt, rig_header_fields, &header);
	if (!r)
		r = add_node(fdt, "snapshot", snap_info_fields, &info);
	if (!r)
		r = add_node(fdt, "config", conf_fields, conf);
	if (!r)
		r = add_node(fdt, "board", no_fields, NULL);
	if (!r)
		r = add_node(fdt, "state", no_fields, NULL);
	if (!r)
		r = tree_end(fdt);
	require(r > 0);
	free(conf);
	*ret = fdt;
	return r;
}

int rig_tree(void **ret)
{
	return make_tree(0, ret);
}

int rig_tree_with_disks(void **ret)
{
	return make_tree(2, ret);
}

/* the pieces, and the chunks of memory that they are like */
static uint64_t piece[RIG_PIECES] = {
	SNAP_PIECE(0, 0), SNAP_PIECE(0, 1), SNAP_PIECE(0, 9),	    SNAP_PIECE(1, 0),
	SNAP_PIECE(1, 7), SNAP_PIECE(1, 8), SNAP_PIECE(1, 1 << 20), SNAP_PIECE(1, (1ULL << 48) - 1),
};
static const uint8_t piece_like[RIG_PIECES] = { 21, 23, 24, 25, 22, 26, 31, 28 };

uint64_t rig_piece(uint64_t i)
{
	return piece[i];
}

enum snap_kind rig_piece_kind(uint64_t i)
{
	return rig_kind(piece_like[i]);
}

void rig_fill_piece(uint64_t i, uint8_t to[SNAP_CHUNK])
{
	rig_fill(piece_like[i], to);
}

/* --- the file --- */

struct packing {
	struct snap_writer w;
	unsigned threads;
	uint64_t most; /* chunks that are packed */
};

/* every @step-th from @first on */
static void pack_pieces(struct snap_packer *packer, uint64_t first, uint64_t step, uint8_t *data)
{
	for (uint64_t i = first; i < packer->w->pieces; i += step) {
		rig_fill_piece(i, data);
		require(!snap_pack(packer, RIG_CHUNKS + i, data, SNAP_CHUNK));
	}
}

struct hand {
	pthread_t thread;
	struct packing *p;
	unsigned i;
};

static void *pack(void *arg)
{
	struct hand *h = arg;
	struct snap_packer *packer = calloc(1, sizeof(*packer));
	uint8_t *data = malloc(SNAP_CHUNK);

	require(packer && data && !snap_packer_init(packer, &h->p->w));
	for (uint64_t n = h->i; n < h->p->most; n += h->p->threads) {
		rig_fill(n, data);
		require(!snap_pack(packer, n, data, rig_len(n)));
	}
	pack_pieces(packer, h->i, h->p->threads, data);
	require(!snap_packer_end(packer));
	snap_packer_free(packer);
	free(packer);
	free(data);
	return NULL;
}

static struct image make_image(int level, unsigned threads, uint64_t most, bool pieces)
{
	struct packing p = { .threads = threads, .most = most };
	struct hand hand[16];
	struct image image;
	void *tree = NULL;
	int fd = memfd_create("snapshot", MFD_CLOEXEC);
	int size = pieces ? rig_tree_with_disks(&tree) : rig_tree(&tree);

	require(fd >= 0 && threads <= ARRAY_SIZE(hand));
	require(!snap_begin(&p.w, fd, RIG_CHUNKS, level));
	require(!pieces || !snap_add_pieces(&p.w, piece, RIG_PIECES));
	for (unsigned i = 0; i < threads; i++) {
		hand[i] = (struct hand){ .p = &p, .i = i };
		require(!pthread_create(&hand[i].thread, NULL, pack, &hand[i]));
	}
	for (unsigned i = 0; i < threads; i++)
		pthread_join(hand[i].thread, NULL);
	require(!snap_end(&p.w, tree, (size_t)size));
	snap_writer_free(&p.w);
	free(tree);
	image = rig_of_fd(fd);
	close(fd);
	return image;
}

struct image rig_image(int level, unsigned threads)
{
	return make_image(level, threads, RIG_CHUNKS, false);
}

struct image rig_small_image(void)
{
	return make_image(1, 1, RIG_KINDS, false);
}

struct image rig_image_with_pieces(int level, unsigned threads)
{
	return make_image(level, threads, RIG_KINDS, true);
}

bool rig_is_anew(unsigned generation, uint64_t n)
{
	return n % 5 == generation % 5;
}

void rig_fill_child(unsigned generation, uint64_t n, uint8_t to[SNAP_CHUNK])
{
	while (generation && !rig_is_anew(generation, n))
		generation--;
	rig_fill(generation ? (n + generation) % (RIG_CHUNKS - 1) : n, to);
}

static void pack_child(struct snap_writer *w, unsigned generation)
{
	struct snap_packer *packer = calloc(1, sizeof(*packer));
	uint8_t *data = malloc(SNAP_CHUNK);

	require(packer && data && !snap_packer_init(packer, w));
	for (uint64_t n = 0; n < RIG_CHUNKS; n++) {
		rig_fill_child(generation, n, data);
		if (!rig_is_anew(generation, n))
			snap_leave(w, n);
		else
			require(!snap_pack(packer, n, data, rig_len(n)));
	}
	pack_pieces(packer, 0, 1, data);
	require(!snap_packer_end(packer));
	snap_packer_free(packer);
	free(packer);
	free(data);
}

static struct image make_child(const struct image *parent, unsigned generation, int level,
			       const char *path, bool pieces)
{
	struct snap_parent p = { .chunks = rig_head(parent)->chunks,
				 .index_crc = rig_section(parent, SNAP_SECTION_INDEX)->crc };
	int fd = memfd_create("snapshot", MFD_CLOEXEC), size;
	struct snap_writer w;
	struct image image;
	void *tree = NULL;

	memcpy(p.id, rig_head(parent)->id, sizeof(p.id));
	require(fd >= 0 && !str_copy(p.path, sizeof(p.path), path));
	size = pieces ? rig_tree_with_disks(&tree) : rig_tree(&tree);
	require(!snap_begin_child(&w, fd, RIG_CHUNKS, level));
	require(!pieces || !snap_add_pieces(&w, piece, RIG_PIECES));
	pack_child(&w, generation);
	require(!snap_end(&w, tree, (size_t)size) && !snap_add_parent(fd, &p));
	snap_writer_free(&w);
	free(tree);
	image = rig_of_fd(fd);
	close(fd);
	return image;
}

struct image rig_child(const struct image *parent, unsigned generation, int level, const char *path)
{
	return make_child(parent, generation, level, path, false);
}

struct image rig_child_with_pieces(const struct image *parent, unsigned generation, int level,
				   const char *path)
{
	return make_child(parent, generation, level, path, true);
}

struct image rig_copy(const struct image *image)
{
	struct image copy = { malloc(image->size), image->size };

	require(copy.data != NULL);
	memcpy(copy.data, image->data, image->size);
	return copy;
}

int rig_fd(const struct image *image)
{
	int fd = memfd_create("snapshot", MFD_CLOEXEC);

	require(fd >= 0 && pwrite(fd, image->data, image->size, 0) == (ssize_t)image->size);
	return fd;
}

struct image rig_of_fd(int fd)
{
	struct image image;
	struct stat st;

	require(!fstat(fd, &st));
	image = (struct image){ malloc((size_t)st.st_size + 1), (size_t)st.st_size };
	require(image.data != NULL && pread(fd, image.data, image.size, 0) == (ssize_t)image.size);
	return image;
}

/* --- to lie with --- */

struct snap_section *rig_section(const struct image *image, enum snap_section_type type)
{
	struct snap_header *h = rig_head(image);

	for (unsigned i = 0; i < h->sections && i < SNAP_SECTIONS; i++)
		if (h->section[i].type == type)
			return &h->section[i];
	require(false);
	return NULL;
}

static uint8_t *entry_at(const struct image *image, uint64_t n)
{
	return image->data + rig_section(image, SNAP_SECTION_INDEX)->at +
	       n * sizeof(struct snap_entry);
}

struct snap_entry rig_entry(const struct image *image, uint64_t n)
{
	struct snap_entry e;

	memcpy(&e, entry_at(image, n), sizeof(e));
	return e;
}

void rig_set_entry(struct image *image, uint64_t n, struct snap_entry e)
{
	memcpy(entry_at(image, n), &e, sizeof(e));
}

uint64_t rig_pieces(const struct image *image)
{
	return rig_section(image, SNAP_SECTION_DISKS)->size / RIG_PIECE_SIZE;
}

/* where piece @i's place is told, and behind all of those its entry */
static uint8_t *place_at(const struct image *image, uint64_t i)
{
	return image->data + rig_section(image, SNAP_SECTION_DISKS)->at + i * sizeof(*piece);
}

static uint8_t *piece_entry_at(const struct image *image, uint64_t i)
{
	return place_at(image, rig_pieces(image)) + i * sizeof(struct snap_entry);
}

uint64_t rig_piece_of(const struct image *image, uint64_t i, struct snap_entry *ret)
{
	uint64_t at;

	memcpy(&at, place_at(image, i), sizeof(at));
	memcpy(ret, piece_entry_at(image, i), sizeof(*ret));
	return at;
}

void rig_set_piece(struct image *image, uint64_t i, uint64_t at, struct snap_entry e)
{
	uint8_t *place = place_at(image, i), *entry = piece_entry_at(image, i);

	/* a list that lies over the header may be elsewhere after this */
	memcpy(place, &at, sizeof(at));
	memcpy(entry, &e, sizeof(e));
}

uint64_t rig_append(struct image *image, const void *data, size_t size)
{
	uint64_t at = align_up(image->size, 8);

	image->data = realloc(image->data, at + size + 1);
	require(image->data != NULL);
	memset(image->data + image->size, 0, at - image->size);
	memcpy(image->data + at, data, size);
	image->size = at + size;
	rig_head(image)->size = image->size;
	return at;
}

void rig_retree(struct image *image, const void *tree, size_t size)
{
	uint64_t at = rig_append(image, tree, size);
	struct snap_section *s = rig_section(image, SNAP_SECTION_TREE);

	s->at = at;
	s->size = size;
}

void rig_rechunk(struct image *image, uint64_t n, enum snap_kind kind, const void *data,
		 size_t size)
{
	uint64_t at = rig_append(image, data, size);

	rig_set_entry(image, n,
		      (struct snap_entry){ .at = at,
					   .what = (uint32_t)kind << 28 | (uint32_t)size,
					   .crc = (uint32_t)crc32_z(0, data, size) });
}

void rig_seal(struct image *image)
{
	struct snap_header *h = rig_head(image);

	for (unsigned i = 0; i < h->sections && i < SNAP_SECTIONS; i++) {
		struct snap_section *s = &h->section[i];

		if (range_fits(s->at, s->size, image->size))
			s->crc = (uint32_t)crc32_z(0, image->data + s->at, s->size);
	}
	h->crc = (uint32_t)crc32_z(0, image->data, offsetof(struct snap_header, crc));
}
