/* snap_file.c - a snapshot's file is read; snap_file.h has what it is like */
/* #syscalls:caller close */
/* #syscalls pread64 */
/* #syscalls:before newfstatat */
#include <endian.h>
#include <libfdt.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snap_file.h"

_Static_assert(sizeof(struct snap_header) == SNAP_PAGE, "the header is a page");
_Static_assert(sizeof(struct snap_entry) == 16, "an entry of the index is 16 bytes");
_Static_assert(sizeof(struct snap_parent) == SNAP_PAGE, "what is known of a parent is a page");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are written as they are");

const char *snap_print_id(const uint8_t id[16], char buf[SNAP_ID])
{
	for (size_t i = 0; i < 16; i++)
		snprintf(buf + 2 * i, 3, "%02x", id[i]);
	return buf;
}

int snap_scan_id(const char *text, uint8_t ret[16])
{
	char byte[3] = "";

	if (strlen(text) != SNAP_ID - 1 || strspn(text, "0123456789abcdef") != SNAP_ID - 1)
		return -EINVAL;
	for (size_t i = 0; i < 16; i++) {
		memcpy(byte, text + 2 * i, 2);
		ret[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
	return 0;
}

static int refuse(const struct snap_file *f, const char *part, const char *why)
{
	return err(-EBADMSG, "snapshot %s: its %s %s", f->name, part, why);
}

static int read_at(const struct snap_file *f, const char *part, void *to, size_t len, uint64_t at)
{
	uint8_t *p = to;

	while (len) {
		ssize_t n = pread(f->fd, p, MIN(len, 1 * GiB), (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err(-errno, "snapshot %s: its %s cannot be read: %s", f->name, part,
				   strerror(errno));
		if (!n)
			return refuse(f, part, "is cut off: the file is too short");
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static uint32_t crc_of(const void *data, size_t len)
{
	return (uint32_t)crc32_z(0, data, len);
}

static int check_header(const struct snap_file *f)
{
	const struct snap_header *h = &f->head;
	struct stat st;

	if (memcmp(h->magic, SNAP_MAGIC, sizeof(h->magic)))
		return err(-EINVAL,
			   "%s: is no snapshot, or one whose writing did not come to its end",
			   f->name);
	/* a newer one may have another header, so this is asked before its checksum */
	if (h->version > SNAP_VERSION && h->version < 1U << 16)
		return err(-ENOTSUP,
			   "snapshot %s: is of version %u, this hutch reads up to %u; take a newer "
			   "one",
			   f->name, h->version, SNAP_VERSION);
	if (crc_of(h, offsetof(struct snap_header, crc)) != h->crc)
		return refuse(f, "header", "is damaged: its checksum is wrong");
	if (h->version != SNAP_VERSION || h->sections > SNAP_SECTIONS)
		return refuse(f, "header", "makes no sense");
	if (fstat(f->fd, &st))
		return err(-errno, "snapshot %s: %s", f->name, strerror(errno));
	if ((uint64_t)st.st_size != h->size)
		return err(-EBADMSG,
			   "snapshot %s: has %lu bytes, and its header says %lu: it was %s",
			   f->name, (unsigned long)st.st_size, (unsigned long)h->size,
			   (uint64_t)st.st_size < h->size ? "cut off" : "added to");
	return 0;
}

/* a copy of the only section of this type */
static int read_section(const struct snap_file *f, uint32_t type, const char *part, uint64_t most,
			void **ret, size_t *ret_size)
{
	const struct snap_section *s = NULL;
	cleanup_free void *p = NULL;
	int r;

	for (unsigned i = 0; i < f->head.sections; i++)
		if (f->head.section[i].type == type) {
			if (s)
				return refuse(f, part, "is there twice");
			s = &f->head.section[i];
		}
	if (!s)
		return refuse(f, part, "is missing");
	if (s->size > most)
		return refuse(f, part, "is too large");
	p = malloc(s->size + 1);
	if (!p)
		return err(-ENOMEM, "snapshot %s: out of memory for its %s", f->name, part);
	r = read_at(f, part, p, s->size, s->at);
	if (r)
		return r;
	if (crc_of(p, s->size) != s->crc)
		return refuse(f, part, "is damaged: its checksum is wrong");
	*ret = p;
	*ret_size = s->size;
	p = NULL;
	return 0;
}

static void name_section(uint32_t type, char *buf, size_t size)
{
	static const char *const names[] = { [SNAP_SECTION_TREE] = "tree",
					     [SNAP_SECTION_INDEX] = "index",
					     [SNAP_SECTION_FLAT] = "flat memory",
					     [SNAP_SECTION_PARENT] = "parent",
					     [SNAP_SECTION_DISKS] = "list of disks" };

	if (type && type < ARRAY_SIZE(names))
		snprintf(buf, size, "%s", names[type]);
	else
		snprintf(buf, size, "part of type %u", type);
}

/* where it lies, and that it is understood, or may be passed over */
static int check_section(const struct snap_file *f, unsigned i)
{
	const struct snap_section *s = &f->head.section[i], *other;
	bool known = s->type >= SNAP_SECTION_TREE && s->type <= SNAP_SECTION_DISKS;
	char part[32];

	name_section(s->type, part, sizeof(part));
	if (known ? s->flags & ~SNAP_OPTIONAL : !(s->flags & SNAP_OPTIONAL))
		return err(-ENOTSUP,
			   "snapshot %s: its %s, with flags of %#x, is nothing that this hutch "
			   "knows; take a newer one",
			   f->name, part, s->flags);
	if (s->at < SNAP_PAGE || !range_fits(s->at, s->size, f->head.size))
		return refuse(f, part, "lies outside of the file");
	for (unsigned k = 0; k < i; k++) {
		other = &f->head.section[k];
		if (ranges_overlap(s->at, s->size, other->at, other->size))
			return refuse(f, part, "lies where another part is");
	}
	return 0;
}

static int check_sections(const struct snap_file *f)
{
	int r = 0;

	for (unsigned i = 0; !r && i < f->head.sections; i++)
		r = check_section(f, i);
	return r;
}

static bool entry_is_good(const struct snap_file *f, const struct snap_entry *e)
{
	uint32_t len = snap_stored(e);

	switch (snap_kind(e)) {
	case SNAP_ZERO:
		return !len && !e->at && !e->crc;
	case SNAP_PARENT:
		return f->wanted && !len && !e->at && !e->crc;
	case SNAP_FILL:
		return !len && !e->crc;
	case SNAP_RAW:
	case SNAP_DEFLATE:
		return len && len <= SNAP_CHUNK && e->at >= SNAP_PAGE &&
		       range_fits(e->at, len, f->head.size);
	default:
		return false;
	}
}

static int read_index(struct snap_file *f)
{
	void *p;
	size_t size;
	int r;

	if (f->head.chunks > f->head.size / sizeof(struct snap_entry))
		return refuse(f, "header",
			      "makes no sense: more chunks than the file has room for");
	r = read_section(f, SNAP_SECTION_INDEX, "index", f->head.size, &p, &size);
	if (r)
		return r;
	f->entry = p;
	if (size != f->head.chunks * sizeof(struct snap_entry))
		return refuse(f, "index", "is not as long as the header says");
	for (uint64_t i = 0; i < f->head.chunks; i++)
		if (!entry_is_good(f, &f->entry[i]))
			return err(-EBADMSG, "snapshot %s: its index makes no sense at chunk %lu",
				   f->name, (unsigned long)i);
	return 0;
}

static bool has_section(const struct snap_file *f, uint32_t type)
{
	for (unsigned i = 0; i < f->head.sections; i++)
		if (f->head.section[i].type == type)
			return true;
	return false;
}

static int check_pieces(const struct snap_file *f)
{
	for (uint64_t i = 0; i < f->pieces; i++) {
		const struct snap_entry *e = &f->entry[f->head.chunks + i];

		if (snap_kind(e) == SNAP_PARENT || !entry_is_good(f, e) ||
		    (i && f->piece[i] <= f->piece[i - 1]))
			return err(-EBADMSG, "snapshot %s: its disks make no sense at piece %lu",
				   f->name, (unsigned long)i);
	}
	return 0;
}

/* behind the index, where their entries go */
static int read_disks(struct snap_file *f)
{
	cleanup_free void *p = NULL;
	struct snap_entry *e;
	size_t size, each = sizeof(*f->piece) + sizeof(*e);
	int r;

	if (!has_section(f, SNAP_SECTION_DISKS))
		return 0;
	r = read_section(f, SNAP_SECTION_DISKS, "list of disks", f->head.size, &p, &size);
	if (r)
		return r;
	if (!size || size % each)
		return refuse(f, "list of disks", "has no whole pieces");
	e = reallocarray(f->entry, f->head.chunks + size / each, sizeof(*e));
	if (e)
		f->entry = e;
	f->piece = e ? malloc(size / each * sizeof(*f->piece)) : NULL;
	if (!f->piece)
		return err(-ENOMEM, "snapshot %s: out of memory for its disks", f->name);
	f->pieces = size / each;
	memcpy(f->piece, p, f->pieces * sizeof(*f->piece));
	memcpy(e + f->head.chunks, (uint8_t *)p + f->pieces * sizeof(*f->piece),
	       f->pieces * sizeof(*e));
	return check_pieces(f);
}

/* the memory's place, if it has one of its own */
static int read_flat(struct snap_file *f)
{
	for (unsigned i = 0; i < f->head.sections; i++) {
		const struct snap_section *s = &f->head.section[i];

		if (s->type != SNAP_SECTION_FLAT)
			continue;
		if (s->at < SNAP_PAGE || s->at % SNAP_PAGE ||
		    s->size != f->head.chunks * SNAP_CHUNK ||
		    !range_fits(s->at, s->size, f->head.size))
			return refuse(f, "flat memory", "lies outside of the file");
		f->flat = s->at;
	}
	for (uint64_t i = 0; f->flat && i < f->head.chunks; i++)
		if (snap_kind(&f->entry[i]) != SNAP_ZERO &&
		    (snap_kind(&f->entry[i]) != SNAP_RAW ||
		     f->entry[i].at != f->flat + i * SNAP_CHUNK))
			return refuse(f, "flat memory", "is not where its index says");
	return 0;
}

/* before the index, whose entries make sense only with it */
static int read_parent(struct snap_file *f)
{
	struct snap_parent *p;
	void *section;
	size_t size;
	int r;

	if (!has_section(f, SNAP_SECTION_PARENT))
		return 0;
	if (has_section(f, SNAP_SECTION_FLAT))
		return refuse(f, "flat memory", "makes no sense beside a parent");
	r = read_section(f, SNAP_SECTION_PARENT, "parent", sizeof(*p), &section, &size);
	if (r)
		return r;
	f->wanted = p = section;
	if (size != sizeof(*p) || p->zero || p->chunks != f->head.chunks || !*p->path ||
	    !memchr(p->path, '\0', sizeof(p->path)))
		return refuse(f, "parent", "makes no sense");
	return 0;
}

static int read_tree(struct snap_file *f)
{
	int r = read_section(f, SNAP_SECTION_TREE, "tree", SNAP_TREE_MAX, &f->tree, &f->tree_size);

	if (!r && fdt_check_full(f->tree, f->tree_size))
		r = refuse(f, "tree", "is no valid tree");
	return r;
}

int snap_open(struct snap_file *f, int fd, const char *name)
{
	ssize_t n;
	int r;

	*f = (struct snap_file){ .fd = fd };
	snprintf(f->name, sizeof(f->name), "%s", name);
	do {
		n = pread(fd, &f->head, sizeof(f->head), 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err(-errno, "snapshot %s: %s", name, strerror(errno));
	if (n != sizeof(f->head))
		return err(-EINVAL, "%s: is no snapshot: it has %zd bytes", name, n);
	r = check_header(f);
	if (!r)
		r = check_sections(f);
	if (!r)
		r = read_tree(f);
	if (!r)
		r = read_parent(f);
	if (!r)
		r = read_index(f);
	if (!r)
		r = read_disks(f);
	if (!r)
		r = read_flat(f);
	if (r)
		snap_close(f);
	return r;
}

static void forget(struct snap_file *f)
{
	free(f->tree);
	free(f->entry);
	free(f->wanted);
	free(f->piece);
	f->tree = NULL;
	f->piece = NULL;
	f->pieces = 0;
	f->entry = NULL;
	f->wanted = NULL;
}

void snap_close(struct snap_file *f)
{
	struct snap_file *p = f->parent, *next;

	forget(f);
	f->parent = NULL;
	for (; p; p = next) {
		next = p->parent;
		forget(p);
		close(p->fd);
		free(p);
	}
}

uint32_t snap_index_crc(const struct snap_file *f)
{
	return crc_of(f->entry, f->head.chunks * sizeof(*f->entry));
}

int snap_adopt(struct snap_file *f, struct snap_file *parent)
{
	const struct snap_parent *w = f->wanted;
	char is[SNAP_ID], wanted[SNAP_ID];

	if (memcmp(parent->head.id, w->id, sizeof(w->id)))
		return err(-ESTALE, "snapshot %s: %s is not its parent: it is %s, and wanted is %s",
			   f->name, parent->name, snap_print_id(parent->head.id, is),
			   snap_print_id(w->id, wanted));
	if (parent->head.chunks != w->chunks || snap_index_crc(parent) != w->index_crc)
		return err(-ESTALE,
			   "snapshot %s: its parent %s has the id that is wanted, %s, and is not "
			   "what it was: its index is another",
			   f->name, parent->name, snap_print_id(w->id, wanted));
	f->parent = parent;
	return 0;
}

int snap_unpacker_init(struct snap_unpacker *u)
{
	u->z = (z_stream){ 0 };
	return inflateInit2(&u->z, -MAX_WBITS) == Z_OK
		       ? 0
		       : err(-ENOMEM, "snapshot: out of memory to unpack it");
}

void snap_unpacker_free(struct snap_unpacker *u)
{
	inflateEnd(&u->z);
}

static void fill(uint8_t *to, size_t len, uint64_t word)
{
	for (size_t i = 0; i < len; i += sizeof(word))
		memcpy(to + i, &word, sizeof(word));
}

static void name_chunk(const struct snap_file *f, uint64_t n, char *buf, size_t size)
{
	bool memory = n < f->head.chunks;

	snprintf(buf, size, memory ? "chunk %lu of its memory" : "piece %lu of its disks",
		 (unsigned long)(memory ? n : n - f->head.chunks));
}

static int damaged(const struct snap_file *f, uint64_t n, const char *why)
{
	char part[64];

	name_chunk(f, n, part, sizeof(part));
	return err(-EBADMSG, "snapshot %s: %s is damaged: %s", f->name, part, why);
}

static int inflate_chunk(const struct snap_file *f, uint64_t n, uint8_t *to, size_t len,
			 struct snap_unpacker *u)
{
	u->z.next_in = u->in;
	u->z.avail_in = snap_stored(&f->entry[n]);
	u->z.next_out = to;
	u->z.avail_out = (uInt)len;
	if (inflateReset(&u->z) != Z_OK || inflate(&u->z, Z_FINISH) != Z_STREAM_END ||
	    u->z.avail_out || u->z.avail_in)
		return damaged(f, n, "it does not unpack to its length");
	return 0;
}

static int read_stored(const struct snap_file *f, uint64_t n, uint8_t to[SNAP_CHUNK])
{
	const struct snap_entry *e = &f->entry[n];
	char part[64];
	int r;

	name_chunk(f, n, part, sizeof(part));
	r = read_at(f, part, to, snap_stored(e), e->at);
	if (!r && crc_of(to, snap_stored(e)) != e->crc)
		r = damaged(f, n, "its checksum is wrong");
	return r;
}

int snap_read(const struct snap_file *f, uint64_t n, uint8_t *to, size_t len,
	      struct snap_unpacker *u)
{
	const struct snap_entry *e;
	enum snap_kind kind;
	int r;

	BUG_ON(n >= f->head.chunks + f->pieces || len > SNAP_CHUNK || len % sizeof(uint64_t));
	f = snap_owner(f, n);
	e = &f->entry[n];
	kind = snap_kind(e);
	if (kind == SNAP_FILL)
		fill(to, len, e->at);
	if (kind != SNAP_RAW && kind != SNAP_DEFLATE)
		return 0;
	if (kind == SNAP_RAW && snap_stored(e) != len)
		return damaged(f, n, "it has another length");
	r = read_stored(f, n, kind == SNAP_RAW ? to : u->in);
	return r || kind == SNAP_RAW ? r : inflate_chunk(f, n, to, len, u);
}
