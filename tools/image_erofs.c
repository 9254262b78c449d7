/*
 * image_erofs.c - EROFS, written in one go
 *
 * 1. The bytes of an image depend on the tree alone: no clock, no UUID, names
 *    in the order of their bytes, inodes width first in that order.
 * 2. Everything has its place before the first byte is written, so contents may
 *    come in any order, as they lie in an archive, and never lie in memory.
 * 3. Metadata begins in block 0 behind the superblock: for each inode 64 bytes,
 *    its extended attributes, and its tail, which is what is left of its content
 *    behind the last full block.  A tail is only kept there if all three fit into
 *    one block, because the kernel takes it from one page.  A new inode goes into
 *    the first block that has room, of the OPEN last begun, so tails of all sizes
 *    fill blocks well.
 * 4. The root comes first, as its number has 16 bits only.  An inode's number is
 *    its place, in steps of 32 bytes.
 * 5. Behind metadata follow the full blocks of folders, then those of files.
 *    Blocks of zeros are not written: the image has holes there.
 * 6. A folder is blocks of entries: an array of 12 bytes each, then the names.
 *    The kernel bisects, so "." and ".." stand where their bytes belong.
 *
 * #syscalls:before pwrite64 ftruncate
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "image_erofs.h"
#include "tool.h"

#define BLOCK	     4096u
#define SUPER	     1024u
#define SUPER_SIZE   128u
#define INODE	     64u
#define SLOT	     32u
#define DIRENT	     12u
#define MAGIC	     0xe0f5e1e2u
#define OPEN	     32
#define PIECE	     (1u << 20)

#define COMPAT_MTIME 2 /* times are mtimes */

enum { LAYOUT_PLAIN = 0, LAYOUT_INLINE = 2 };

struct erofs_super {
	uint32_t magic, checksum, compat;
	uint8_t block_bits, ext_slots;
	uint16_t root_nid;
	uint64_t inodes, build_time;
	uint32_t build_time_ns, blocks, meta_block, xattr_block;
	uint8_t uuid[16], name[16];
	uint32_t incompat;
	uint8_t reserved[44];
};

struct erofs_inode {
	uint16_t format, xattr_count, mode, reserved;
	uint64_t size;
	uint32_t block_or_rdev, ino, uid, gid;
	uint64_t mtime;
	uint32_t mtime_ns, nlink;
	uint8_t reserved2[16];
};

struct erofs_dirent {
	uint64_t nid;
	uint16_t name_off;
	uint8_t type, reserved;
} __attribute__((packed));

_Static_assert(sizeof(struct erofs_super) == SUPER_SIZE, "as the kernel has it");
_Static_assert(sizeof(struct erofs_inode) == INODE, "as the kernel has it");
_Static_assert(sizeof(struct erofs_dirent) == DIRENT, "as the kernel has it");

/* a block of metadata that has room */
struct open_block {
	uint32_t block, used;
};

struct erofs {
	struct image_tree *t;
	int fd;
	uint64_t blocks;
	struct open_block open[OPEN];
	unsigned opened;
	uint8_t buf[PIECE];
	uint8_t meta[INODE + 2 * TREE_XATTRS + BLOCK]; /* an inode with what belongs to it */
};

static const uint8_t zeros[BLOCK];

static int write_at(struct erofs *e, const void *data, size_t len, uint64_t off)
{
	while (len) {
		ssize_t n = pwrite(e->fd, data, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int code = n ? -errno : -EIO;

			complain("%s: the image cannot be written: %s", e->t->what,
				 strerror(-code));
			return code;
		}
		data = (const char *)data + n;
		len -= (size_t)n;
		off += (size_t)n;
	}
	return 0;
}

/* where each attribute's name goes on, and the number that stands for what is before */
static uint8_t xattr_prefix(const char *name, const char **rest)
{
	static const struct {
		const char *prefix;
		uint8_t index;
	} prefixes[] = { { "user.", 1 },
			 { "system.posix_acl_access", 2 },
			 { "system.posix_acl_default", 3 },
			 { "security.", 6 } };

	for (unsigned i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++) {
		size_t n = strlen(prefixes[i].prefix);

		*rest = name + n;
		if (!strncmp(name, prefixes[i].prefix, n))
			return prefixes[i].index;
	}
	return 0;
}

/* the attributes of a node to @buf (NULL: only count): how many bytes */
static uint32_t put_xattrs(const struct image_node *n, uint8_t *buf)
{
	uint32_t at = 12; /* no shared ones, so all of the header is 0 */

	if (!n->xattrs)
		return 0;
	if (buf)
		memset(buf, 0, at);
	for (const struct image_xattr *x = n->xattrs; x; x = x->next) {
		const char *rest;
		uint8_t index = xattr_prefix(x->name, &rest);
		uint32_t len = (uint32_t)strlen(rest), end = at + 4 + len + x->len;

		if (buf) {
			uint16_t value_len = htole16((uint16_t)x->len);

			buf[at] = (uint8_t)len;
			buf[at + 1] = index;
			memcpy(buf + at + 2, &value_len, 2);
			memcpy(buf + at + 4, rest, len);
			memcpy(buf + at + 4 + len, x->value, x->len);
			memset(buf + end, 0, -end & 3);
		}
		at = (end + 3) & ~3u;
	}
	return at;
}

/* how many entries of @n from @first on fill one block, and how many bytes they take */
static uint32_t dir_block(const struct image_node *n, uint32_t first, uint32_t *ret_len)
{
	uint32_t len = 0, i = first;

	for (; i < n->count; i++) {
		uint32_t more = DIRENT + (uint32_t)strlen(n->list[i]->name);

		if (len + more > BLOCK)
			break;
		len += more;
	}
	*ret_len = len;
	return i - first;
}

static uint64_t dir_size(const struct image_node *n)
{
	uint64_t size = 0;
	uint32_t len = 0;

	for (uint32_t i = 0; i < n->count;) {
		size = (size + BLOCK - 1) / BLOCK * BLOCK;
		i += dir_block(n, i, &len);
		size += len;
	}
	return size;
}

static bool has_content(const struct image_node *n)
{
	return S_ISREG(n->mode) || S_ISDIR(n->mode) || S_ISLNK(n->mode);
}

/* @need bytes of metadata in one block, or from the start of a block if they are more */
static uint64_t place_meta(struct erofs *e, uint32_t need)
{
	struct open_block *o = NULL, *fullest = &e->open[0];
	uint64_t pos;

	for (unsigned i = 0; !o && i < e->opened; i++) {
		if (BLOCK - e->open[i].used >= need)
			o = &e->open[i];
		else if (e->open[i].used > fullest->used)
			fullest = &e->open[i];
	}
	if (o) {
		pos = (uint64_t)o->block * BLOCK + o->used;
		o->used = (o->used + need + SLOT - 1) / SLOT * SLOT;
		return pos;
	}
	o = e->opened < OPEN ? &e->open[e->opened++] : fullest;
	pos = e->blocks * BLOCK;
	e->blocks += (need + BLOCK - 1) / BLOCK;
	o->block = (uint32_t)(e->blocks - 1);
	o->used = ((need - 1) % BLOCK + 1 + SLOT - 1) / SLOT * SLOT;
	return pos;
}

static int place_blocks(struct erofs *e, bool dirs)
{
	for (uint32_t i = 0; i < e->t->count; i++) {
		struct image_node *n = e->t->nodes[i];
		uint64_t blocks = n->size / BLOCK + (n->size % BLOCK && !n->inlined);

		if (S_ISDIR(n->mode) != dirs || !has_content(n) || !blocks)
			continue;
		n->block = (uint32_t)e->blocks;
		if (blocks >= UINT32_MAX - e->blocks) {
			complain("%s: its files take more than 16 TiB, the most an image holds",
				 e->t->what);
			return -EFBIG;
		}
		e->blocks += blocks;
	}
	return 0;
}

static int layout(struct erofs *e)
{
	int r;

	e->open[e->opened++] = (struct open_block){ 0, SUPER + SUPER_SIZE };
	e->blocks = 1;
	for (uint32_t i = 0; i < e->t->count; i++) {
		struct image_node *n = e->t->nodes[i];
		uint32_t meta = INODE + put_xattrs(n, NULL), tail;

		if (S_ISDIR(n->mode))
			n->size = dir_size(n);
		else if (!has_content(n))
			n->size = 0;
		tail = n->size % BLOCK;
		n->inlined = tail && meta + tail <= BLOCK;
		n->pos = place_meta(e, meta + (n->inlined ? tail : 0));
	}
	r = place_blocks(e, true);
	return r ? r : place_blocks(e, false);
}

static int write_super(struct erofs *e)
{
	struct erofs_super s = {
		.magic = htole32(MAGIC),
		.compat = htole32(COMPAT_MTIME),
		.block_bits = 12,
		.root_nid = htole16((uint16_t)(e->t->root->pos / SLOT)),
		.inodes = htole64(e->t->count),
		.blocks = htole32((uint32_t)e->blocks),
	};

	return write_at(e, &s, sizeof(s), SUPER);
}

/* the inode with its attributes into e->meta: how many bytes */
static uint32_t put_inode(struct erofs *e, const struct image_node *n)
{
	uint32_t xattrs = put_xattrs(n, e->meta + INODE);
	unsigned major = n->rdev_major, minor = n->rdev_minor;
	uint32_t rdev = (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
	bool device = S_ISCHR(n->mode) || S_ISBLK(n->mode);
	struct erofs_inode inode = {
		.format = htole16((n->inlined ? LAYOUT_INLINE : LAYOUT_PLAIN) << 1 | 1),
		.xattr_count = htole16((uint16_t)(xattrs ? 1 + (xattrs - 12) / 4 : 0)),
		.mode = htole16((uint16_t)n->mode),
		.size = htole64(n->size),
		.block_or_rdev = htole32(device ? rdev : n->block),
		.ino = htole32(n->index),
		.uid = htole32(n->uid),
		.gid = htole32(n->gid),
		.mtime = htole64((uint64_t)n->mtime),
		.mtime_ns = htole32(n->mtime_ns),
		.nlink = htole32(n->nlink),
	};

	memcpy(e->meta, &inode, sizeof(inode));
	return INODE + xattrs;
}

static bool is_zero(const uint8_t *p, size_t len)
{
	return !memcmp(p, zeros, len);
}

/* full blocks, and one that is not, padded with the zeros of a hole */
static int write_blocks(struct erofs *e, const uint8_t *data, size_t len, uint64_t off)
{
	size_t from = 0, at;
	int r = 0;

	/* stretches without a block of zeros in them */
	for (at = 0; !r && at < len; at += BLOCK) {
		if (!is_zero(data + at, len - at < BLOCK ? len - at : BLOCK))
			continue;
		r = write_at(e, data + from, at - from, off + from);
		from = at + BLOCK;
	}
	return r || from >= len ? r : write_at(e, data + from, len - from, off + from);
}

/* an inode that has content: @read gives it */
static int write_content(struct erofs *e, const struct image_node *n, erofs_read_fn *read,
			 void *arg)
{
	uint64_t in_blocks = n->inlined ? n->size / BLOCK * BLOCK : n->size;
	uint32_t tail = (uint32_t)(n->size - in_blocks), len;
	int r;

	for (uint64_t done = 0; done < in_blocks; done += len) {
		len = in_blocks - done < PIECE ? (uint32_t)(in_blocks - done) : PIECE;
		r = read(arg, e->buf, len);
		if (!r)
			r = write_blocks(e, e->buf, len, (uint64_t)n->block * BLOCK + done);
		if (r < 0)
			return r;
	}
	len = put_inode(e, n);
	memset(e->meta + len, 0, tail);
	r = tail ? read(arg, e->meta + len, tail) : 0;
	return r < 0 ? r : write_at(e, e->meta, len + tail, n->pos);
}

static uint8_t file_type(uint32_t mode)
{
	static const struct {
		uint32_t mode;
		uint8_t type;
	} types[] = { { S_IFREG, 1 }, { S_IFDIR, 2 },  { S_IFCHR, 3 }, { S_IFBLK, 4 },
		      { S_IFIFO, 5 }, { S_IFSOCK, 6 }, { S_IFLNK, 7 } };

	for (unsigned i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (types[i].mode == (mode & S_IFMT))
			return types[i].type;
	return 0;
}

/* a folder is read block by block, as write_content() asks for it */
struct dir_reader {
	const struct image_node *n;
	uint32_t next;
	uint8_t block[BLOCK];
	uint32_t at, have; /* of it */
};

static void fill_dir_block(struct dir_reader *d)
{
	uint32_t len, count = dir_block(d->n, d->next, &len), off = count * DIRENT;

	for (uint32_t i = 0; i < count; i++) {
		const struct image_entry *entry = d->n->list[d->next + i];
		struct erofs_dirent de = { .nid = htole64(entry->node->pos / SLOT),
					   .name_off = htole16((uint16_t)off),
					   .type = file_type(entry->node->mode) };
		size_t name_len = strlen(entry->name);

		memcpy(d->block + i * DIRENT, &de, DIRENT);
		memcpy(d->block + off, entry->name, name_len);
		off += (uint32_t)name_len;
	}
	d->next += count;
	memset(d->block + off, 0, BLOCK - off);
	d->at = 0;
	d->have = d->next < d->n->count ? BLOCK : off;
}

static int read_dir(void *arg, void *buf, size_t len)
{
	struct dir_reader *d = arg;

	while (len) {
		size_t n;

		if (d->at == d->have)
			fill_dir_block(d);
		n = len < d->have - d->at ? len : d->have - d->at;
		memcpy(buf, d->block + d->at, n);
		buf = (uint8_t *)buf + n;
		d->at += (uint32_t)n;
		len -= n;
	}
	return 0;
}

static int read_target(void *arg, void *buf, size_t len)
{
	memcpy(buf, arg, len); /* shorter than a block, so asked for once */
	return 0;
}

static int write_tree(struct erofs *e)
{
	int r = write_super(e);

	for (uint32_t i = 0; !r && i < e->t->count; i++) {
		struct image_node *n = e->t->nodes[i];
		struct dir_reader dir = { .n = n };

		if (S_ISDIR(n->mode))
			r = write_content(e, n, read_dir, &dir);
		else if (S_ISLNK(n->mode))
			r = write_content(e, n, read_target, (void *)(uintptr_t)n->target);
		else if (!S_ISREG(n->mode))
			r = write_at(e, e->meta, put_inode(e, n), n->pos);
	}
	return r;
}

struct erofs *erofs_open(struct image_tree *t, int fd)
{
	struct erofs *e = calloc(1, sizeof(*e));

	if (!e) {
		complain("%s: out of memory", t->what);
		return NULL;
	}
	e->t = t;
	e->fd = fd;
	if (layout(e))
		goto fail;
	if (ftruncate(fd, (off_t)(e->blocks * BLOCK))) {
		complain("%s: an image of %lu bytes cannot be made: %s", t->what,
			 (unsigned long)(e->blocks * BLOCK), strerror(errno));
		goto fail;
	}
	if (!write_tree(e))
		return e;
fail:
	erofs_close(e);
	return NULL;
}

void erofs_close(struct erofs *e)
{
	free(e);
}

uint64_t erofs_size(const struct erofs *e)
{
	return e->blocks * BLOCK;
}

int erofs_file(struct erofs *e, const struct image_node *n, erofs_read_fn *read, void *arg)
{
	return write_content(e, n, read, arg);
}
