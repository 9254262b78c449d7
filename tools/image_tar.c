/*
 * image_tar.c - ustar, pax and GNU archives
 *
 * 1. A header is 512 bytes with a sum; content follows in full blocks of 512.
 *    Two kinds of entries describe the next one: pax records ("x", and "g" for
 *    all that follow) and GNU's long names ("L", "K").
 * 2. An archive is hostile.  Each number is checked where it is read, nothing is
 *    allocated by what a header says but records up to PAX_MOST, and a path is
 *    only ever a path in the tree.  ".." in it is refused: no honest archive
 *    needs it.
 * 3. It is read twice, because a place in the image is known only when all files
 *    are: once for names, then for contents in the order in which they lie.
 *
 * #syscalls:before newfstatat
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "image_tar.h"
#include "tool.h"

#define BLOCK	 512u
#define PAX_MOST (1u << 20)

struct header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100];
	char magic[6], version[2], uname[32], gname[32], major[8], minor[8], prefix[155], pad[12];
};

_Static_assert(sizeof(struct header) == BLOCK, "a header fills a block");

/* what pax records say, beyond the header */
struct pax {
	bool has_size, has_uid, has_gid, has_mtime;
	uint64_t size, uid, gid;
	int64_t mtime;
	uint32_t mtime_ns;
	bool has_path, has_link;
	char path[TREE_PATH], link[TREE_PATH];
	struct image_xattr *xattrs;
};

struct tar {
	struct image_tree *t;
	struct image_stream *in;
	const char *what;
	uint32_t source;
	bool layer;
	struct pax next, global;
	char path[TREE_PATH], link[TREE_PATH];
};

static int fail(const struct tar *a, const char *why)
{
	complain("%s: byte %lu: %s", a->what, (unsigned long)stream_pos(a->in), why);
	return -EBADMSG;
}

/* a field of octal digits between spaces and NULs, or in GNU's way of binary digits: -1 if it is
 * neither or too large */
static int number(const char *field, size_t size, int64_t *ret)
{
	const uint8_t *p = (const uint8_t *)field, *end = p + size;
	uint64_t v = 0;

	if (*p & 0x80) { /* two's complement, the uppermost bit set */
		bool negative = *p & 0x40;

		v = negative ? ~0ULL : 0;
		for (const uint8_t *q = p; q < end; q++) {
			uint8_t digit = q == p && !negative ? *q & 0x7f : *q;

			if (v >> 55 != (negative ? 0x1ff : 0))
				return -1;
			v = v << 8 | digit;
		}
		*ret = (int64_t)v;
		return 0;
	}
	while (p < end && *p == ' ')
		p++;
	for (; p < end && *p >= '0' && *p <= '7'; p++) {
		if (v >> 60)
			return -1;
		v = v << 3 | (*p - '0');
	}
	while (p < end && (*p == ' ' || !*p))
		p++;
	*ret = (int64_t)v;
	return p == end ? 0 : -1;
}

static bool good_sum(const struct header *h)
{
	const uint8_t *p = (const uint8_t *)h;
	unsigned at = offsetof(struct header, sum), plain = 0;
	int with_sign = 0;
	int64_t want;

	for (unsigned i = 0; i < BLOCK; i++) {
		uint8_t c = i >= at && i < at + sizeof(h->sum) ? ' ' : p[i];

		plain += c;
		with_sign += (int8_t)c;
	}
	return !number(h->sum, sizeof(h->sum), &want) && (want == plain || want == with_sign);
}

static bool all_zero(const struct header *h)
{
	static const struct header zero;

	return !memcmp(h, &zero, sizeof(zero));
}

static uint64_t padding(uint64_t size)
{
	return -size % BLOCK;
}

/* "1700000000.25", "-1.5": seconds, rounded down, and the rest */
static int parse_time(const char *text, int64_t *ret_s, uint32_t *ret_ns)
{
	bool negative = *text == '-';
	uint32_t ns = 0, scale = 100000000;
	int64_t s = 0;

	text += negative;
	if (*text < '0' || *text > '9')
		return -1;
	for (; *text >= '0' && *text <= '9'; text++)
		if (__builtin_mul_overflow(s, 10, &s) || __builtin_add_overflow(s, *text - '0', &s))
			return -1;
	if (*text == '.') {
		for (text++; *text >= '0' && *text <= '9'; text++, scale /= 10)
			ns += (uint32_t)(*text - '0') * scale;
	}
	if (*text)
		return -1;
	*ret_s = !negative ? s : ns ? -s - 1 : -s;
	*ret_ns = negative && ns ? 1000000000 - ns : ns;
	return 0;
}

static int parse_uint(const char *text, uint64_t *ret)
{
	uint64_t v = 0;

	if (!*text)
		return -1;
	for (; *text; text++)
		if (*text < '0' || *text > '9' || __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*text - '0'), &v))
			return -1;
	*ret = v;
	return 0;
}

static int copy_path(struct tar *a, char *dst, const char *src, size_t len)
{
	if (len >= TREE_PATH || memchr(src, '\0', len)) {
		complain("%s: the path '%.60s...' is %s", a->what, src,
			 len >= TREE_PATH ? "too long" : "cut by a NUL byte");
		return -EBADMSG;
	}
	memcpy(dst, src, len);
	dst[len] = '\0';
	return 0;
}

/* one record; @value is NUL-terminated, and its length counts */
static int pax_record(struct tar *a, struct pax *x, const char *key, const char *value, size_t len)
{
	bool bad = false;

	if (!strcmp(key, "path") || !strcmp(key, "linkpath")) {
		bool path = *key == 'p';

		if (x == &a->global)
			return fail(a, "a pax header for all entries gives a path");
		*(path ? &x->has_path : &x->has_link) = true;
		return copy_path(a, path ? x->path : x->link, value, len);
	}
	if (!strncmp(key, "GNU.sparse.", 11))
		return fail(a, "a file is stored sparse; make the archive without --sparse");
	if (!strncmp(key, "SCHILY.xattr.", 13))
		return x == &a->global ? 0 : tree_xattr(a->t, &x->xattrs, key + 13, value, len);
	if (!strcmp(key, "size"))
		bad = !(x->has_size = !parse_uint(value, &x->size));
	else if (!strcmp(key, "uid"))
		bad = !(x->has_uid = !parse_uint(value, &x->uid));
	else if (!strcmp(key, "gid"))
		bad = !(x->has_gid = !parse_uint(value, &x->gid));
	else if (!strcmp(key, "mtime"))
		bad = !(x->has_mtime = !parse_time(value, &x->mtime, &x->mtime_ns));
	return bad ? fail(a, "a pax header has a number that is none") : 0;
}

/* "LENGTH KEY=VALUE\n", over and over, where LENGTH counts all of it */
static int pax_parse(struct tar *a, struct pax *x, char *p, size_t left)
{
	while (left) {
		size_t len = 0, n = 0;
		char *eq;
		int r;

		while (n < left && n < 8 && p[n] >= '0' && p[n] <= '9')
			len = len * 10 + (size_t)(p[n++] - '0');
		if (!n || n >= left || p[n] != ' ' || len > left || len < n + 3 ||
		    p[len - 1] != '\n')
			return fail(a, "a pax header is damaged");
		p[len - 1] = '\0';
		eq = memchr(p + n + 1, '=', len - n - 2);
		if (!eq || eq == p + n + 1)
			return fail(a, "a pax header is damaged");
		*eq = '\0';
		r = pax_record(a, x, p + n + 1, eq + 1, (size_t)(p + len - 1 - (eq + 1)));
		if (r)
			return r;
		p += len;
		left -= len;
	}
	return 0;
}

static int read_pax(struct tar *a, struct pax *x, uint64_t size)
{
	char *body;
	int r;

	if (size > PAX_MOST)
		return fail(a, "a pax header is larger than 1 MiB");
	body = malloc(size + 1);
	if (!body) {
		complain("%s: out of memory", a->what);
		return -ENOMEM;
	}
	r = stream_need(a->in, body, size);
	if (!r)
		r = pax_parse(a, x, body, size);
	free(body);
	return r ? r : stream_skip(a->in, padding(size));
}

static int read_long_name(struct tar *a, char *dst, bool *has, uint64_t size)
{
	char body[TREE_PATH + 1];
	int r;

	if (!size || size > sizeof(body))
		return fail(a, "a long name is longer than 4095 bytes");
	r = stream_need(a->in, body, size);
	if (!r)
		r = copy_path(a, dst, body, strnlen(body, size));
	*has = true;
	return r ? r : stream_skip(a->in, -(stream_pos(a->in)) % BLOCK);
}

/* the header's own name, which a prefix may precede (only in ustar; GNU keeps times there) */
static void header_path(const struct header *h, char path[TREE_PATH])
{
	bool ustar = !memcmp(h->magic, "ustar", 6);

	if (ustar && *h->prefix)
		snprintf(path, TREE_PATH, "%.155s/%.100s", h->prefix, h->name);
	else
		snprintf(path, TREE_PATH, "%.100s", h->name);
}

static bool leads_up(const char *path)
{
	while (*path) {
		size_t len = strcspn(path, "/");

		if (len == 2 && path[0] == '.' && path[1] == '.')
			return true;
		path += len;
		path += strspn(path, "/");
	}
	return false;
}

static int take_paths(struct tar *a, const struct header *h)
{
	header_path(h, a->path);
	snprintf(a->link, sizeof(a->link), "%.100s", h->link);
	if (a->next.has_path)
		strcpy(a->path, a->next.path);
	if (a->next.has_link)
		strcpy(a->link, a->next.link);
	if (leads_up(a->path) || (h->type == '1' && leads_up(a->link))) {
		complain("%s: '%.1000s' has '..' in it, which leads out of the archive", a->what,
			 leads_up(a->path) ? a->path : a->link);
		return -EBADMSG;
	}
	return 0;
}

/* what a header says of owner, times and mode; pax records go before it */
static int take_meta(struct tar *a, const struct header *h, struct image_node *n)
{
	const struct pax *x = &a->next;
	int64_t mode, uid, gid, mtime, major = 0, minor = 0;
	bool device = h->type == '3' || h->type == '4';

	if (number(h->mode, sizeof(h->mode), &mode) || number(h->uid, sizeof(h->uid), &uid) ||
	    number(h->gid, sizeof(h->gid), &gid) || number(h->mtime, sizeof(h->mtime), &mtime) ||
	    (device && (number(h->major, sizeof(h->major), &major) ||
			number(h->minor, sizeof(h->minor), &minor))))
		return fail(a, "a header has a number that is none");
	uid = x->has_uid ? (int64_t)x->uid : uid;
	gid = x->has_gid ? (int64_t)x->gid : gid;
	if (uid < 0 || uid > UINT32_MAX || gid < 0 || gid > UINT32_MAX || major < 0 ||
	    major > 0xfff || minor < 0 || minor > 0xfffff)
		return fail(a, "an owner or a device's number is out of range");
	*n = (struct image_node){
		.mode = (uint32_t)mode & 07777,
		.uid = (uint32_t)uid,
		.gid = (uint32_t)gid,
		.mtime = x->has_mtime ? x->mtime : mtime,
		.mtime_ns = x->has_mtime ? x->mtime_ns : 0,
		.rdev_major = (uint32_t)major,
		.rdev_minor = (uint32_t)minor,
		.xattrs = x->xattrs,
		.source = a->source,
	};
	return 0;
}

/* ".wh.NAME" hides NAME of lower layers, ".wh..wh..opq" all that its folder has of them */
static int whiteout(struct tar *a, bool *ret_is)
{
	char *slash = strrchr(a->path, '/'), *name = slash ? slash + 1 : a->path;
	char path[TREE_PATH];

	*ret_is = !strncmp(name, ".wh.", 4);
	if (!*ret_is)
		return 0;
	if (!strcmp(name, ".wh..wh..opq")) {
		snprintf(path, sizeof(path), "%.*s.", (int)(name - a->path), a->path);
		return tree_hide(a->t, path, true);
	}
	if (!strncmp(name, ".wh..wh.", 8)) /* what aufs keeps for itself */
		return 0;
	if (!name[4] || !strcmp(name + 4, ".") || !strcmp(name + 4, ".."))
		return fail(a, "a whiteout hides no name");
	memmove(name, name + 4, strlen(name + 4) + 1);
	return tree_hide(a->t, a->path, false);
}

static int take_symlink(struct tar *a, struct image_node *n)
{
	n->size = strlen(a->link);
	if (!n->size)
		return fail(a, "a symlink leads nowhere");
	n->mode |= S_IFLNK;
	n->target = tree_text(a->t, a->link, n->size);
	return n->target ? tree_add(a->t, a->path, n) : -ENOMEM;
}

static int unknown_type(struct tar *a, char type)
{
	if (type == 'S')
		return fail(a, "a file is stored sparse; make the archive without --sparse");
	complain("%s: '%.1000s' is an entry of type '%c', which is not known", a->what, a->path,
		 type > ' ' && type < 127 ? type : '?');
	return -EBADMSG;
}

/* a file, folder, link or device */
static int take_entry(struct tar *a, const struct header *h, uint64_t size)
{
	struct image_node n;
	bool hidden = false;
	size_t len;
	int r = take_paths(a, h);

	if (!r)
		r = take_meta(a, h, &n);
	if (!r && a->layer)
		r = whiteout(a, &hidden);
	if (r || hidden)
		return r;
	len = strlen(a->path);
	switch (h->type) {
	case '0':
	case '7':
	case '\0':
		n.mode |= len && a->path[len - 1] == '/' ? S_IFDIR : S_IFREG; /* as of old */
		n.size = S_ISREG(n.mode) ? size : 0;
		n.offset = stream_pos(a->in);
		return tree_add(a->t, a->path, &n);
	case '1':
		return tree_link(a->t, a->path, a->link);
	case '2':
		return take_symlink(a, &n);
	case '3':
		n.mode |= S_IFCHR;
		return tree_add(a->t, a->path, &n);
	case '4':
		n.mode |= S_IFBLK;
		return tree_add(a->t, a->path, &n);
	case '5':
		n.mode |= S_IFDIR;
		return tree_add(a->t, a->path, &n);
	case '6':
		n.mode |= S_IFIFO;
		return tree_add(a->t, a->path, &n);
	default:
		return unknown_type(a, h->type);
	}
}

/* the next 512 bytes; a text or a picture is told apart from an archive that is damaged */
static int read_header(struct tar *a, struct header *h)
{
	bool first = !stream_pos(a->in);
	ssize_t n;

	if (!first)
		return stream_need(a->in, h, sizeof(*h));
	n = stream_read(a->in, h, sizeof(*h));
	if (n < 0 || (n == sizeof(*h) && (good_sum(h) || all_zero(h))))
		return n < 0 ? (int)n : 0;
	complain("%s: is not an archive of tar, plain or gzip", a->what);
	return -EBADMSG;
}

/* a header that is not the end */
static int take_header(struct tar *a, const struct header *h)
{
	int64_t field;
	uint64_t size;
	int r;

	if (!good_sum(h))
		return fail(a, "this is no header of tar, or it is damaged");
	if (number(h->size, sizeof(h->size), &field) || field < 0)
		return fail(a, "a header has a size that is none");
	size = (uint64_t)field;
	switch (h->type) {
	case 'x':
		return read_pax(a, &a->next, size);
	case 'g':
		r = read_pax(a, &a->global, size);
		a->next = a->global;
		return r;
	case 'L':
		return read_long_name(a, a->next.path, &a->next.has_path, size);
	case 'K':
		return read_long_name(a, a->next.link, &a->next.has_link, size);
	default:
		break;
	}
	if (a->next.has_size)
		size = a->next.size;
	if (h->type >= '1' && h->type <= '6') /* some write the size of a link's target */
		size = 0;
	if (size > INT64_MAX - BLOCK)
		return fail(a, "a header has a size that is none");
	r = h->type == 'V' ? 0 : take_entry(a, h, size); /* V: a label of the archive */
	a->next = a->global;
	return r ? r : stream_skip(a->in, size + padding(size));
}

int tar_read(struct image_tree *t, const struct image_source *src, uint32_t source, bool layer,
	     struct sha256 *sum)
{
	struct tar *a = calloc(1, sizeof(*a));
	struct header h;
	int r = -ENOMEM;

	if (!a) {
		complain("%s: out of memory", src->what);
		return r;
	}
	a->t = t;
	a->what = src->what;
	a->source = source;
	a->layer = layer;
	a->in = stream_open(src, sum);
	if (a->in) {
		do {
			r = read_header(a, &h);
			if (!r && all_zero(&h))
				break;
			if (!r)
				r = take_header(a, &h);
		} while (!r);
		if (!r)
			r = stream_drain(a->in);
	} else {
		r = -EINVAL;
	}
	stream_close(a->in);
	free(a);
	return r;
}

static int by_place(const void *a, const void *b)
{
	const struct image_node *x = *(struct image_node *const *)a;
	const struct image_node *y = *(struct image_node *const *)b;

	if (x->source != y->source)
		return x->source < y->source ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static int read_stream(void *arg, void *buf, size_t len)
{
	return stream_need(arg, buf, len);
}

/* places that were found in one state of a file mean nothing in another */
static int unchanged(const struct image_source *src)
{
	struct stat st;

	if (!fstat(src->fd, &st) && st.st_ctim.tv_sec == src->ctime.tv_sec &&
	    st.st_ctim.tv_nsec == src->ctime.tv_nsec)
		return 0;
	complain("%s: was changed while it was read; try again when nothing writes to it",
		 src->what);
	return -ESTALE;
}

/* files[] of one source, in the order of the archive */
static int source_contents(const struct image_source *src, struct image_node **files, size_t count,
			   struct erofs *e)
{
	struct image_stream *in = stream_open(src, NULL);
	int r = in ? 0 : -EINVAL;

	for (size_t i = 0; !r && i < count; i++) {
		r = stream_skip(in, files[i]->offset - stream_pos(in));
		if (!r)
			r = erofs_file(e, files[i], read_stream, in);
	}
	stream_close(in);
	return r ? r : unchanged(src);
}

int tar_contents(struct image_tree *t, const struct image_source *sources, uint32_t count,
		 struct erofs *e)
{
	struct image_node **files = malloc(sizeof(struct image_node *) * t->count);
	size_t n = 0, end;
	int r = 0;

	if (!files) {
		complain("%s: out of memory", t->what);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < t->count; i++)
		if (S_ISREG(t->nodes[i]->mode))
			files[n++] = t->nodes[i];
	qsort(files, n, sizeof(*files), by_place);
	for (size_t at = 0; !r && at < n; at = end) {
		uint32_t source = files[at]->source;

		for (end = at; end < n && files[end]->source == source; end++)
			;
		r = source < count ? source_contents(&sources[source], files + at, end - at, e)
				   : -EINVAL;
	}
	free(files);
	return r;
}
