/* image_rig.c - see image_rig.h */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "fake.h" /* require() */
#include "image_rig.h"

#define BLOCK 4096u

char scratch[64];

const char *scratch_path(const char *name)
{
	static char buf[8][512];
	static unsigned next;
	char *p = buf[next++ % 8];

	snprintf(p, sizeof(buf[0]), "%s/%s", scratch, name);
	return p;
}

void scratch_make(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(scratch, sizeof(scratch), "%.40s/hutch-t.XXXXXX", tmp ? tmp : "/tmp");
	require(mkdtemp(scratch) != NULL);
	setenv("XDG_DATA_HOME", scratch_path("data"), 1);
	setenv("XDG_CACHE_HOME", scratch_path("cache"), 1);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	return ftw->level ? remove(path) : 0;
}

void scratch_clear(void)
{
	*complained = '\0';
	nftw(scratch, remove_one, 64, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

void scratch_remove(void)
{
	scratch_clear();
	rmdir(scratch);
}

void put_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	require(fd >= 0);
	require(write(fd, data, len) == (ssize_t)len);
	close(fd);
}

void put_text(const char *path, const char *text)
{
	put_file(path, text, strlen(text));
}

void set_mtime(const char *path, int64_t s, uint32_t ns)
{
	struct timespec t[2] = { { s, ns }, { s, ns } };

	require(utimensat(AT_FDCWD, path, t, AT_SYMLINK_NOFOLLOW) == 0);
}

void *get_file(const char *path, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *p;

	require(fd >= 0 && !fstat(fd, &st));
	p = malloc((size_t)st.st_size + 1);
	require(read(fd, p, (size_t)st.st_size) == st.st_size);
	close(fd);
	*ret_len = (size_t)st.st_size;
	return p;
}

bool same_files(const char *a, const char *b)
{
	size_t na, nb;
	void *pa = get_file(a, &na), *pb = get_file(b, &nb);
	bool same = na == nb && !memcmp(pa, pb, na);

	free(pa);
	free(pb);
	return same;
}

int command(const char *fmt, ...)
{
	char line[2048];
	va_list ap;
	int r;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	r = system(line);
	return WIFEXITED(r) ? WEXITSTATUS(r) : -1;
}

void ball_raw(struct ball *b, const void *data, size_t len)
{
	if (len > b->size - b->len) {
		b->size = (b->size + len) * 2;
		b->data = realloc(b->data, b->size);
		require(b->data != NULL);
	}
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
}

static void ball_pad(struct ball *b)
{
	static const uint8_t zeros[512];

	ball_raw(b, zeros, -b->len % 512);
}

/* @n digits and a NUL */
static void put_octal(char *p, unsigned n, uint64_t v)
{
	p[n] = '\0';
	for (; n--; v >>= 3)
		p[n] = (char)('0' + (v & 7));
}

void ball_sum(struct ball *b, size_t header)
{
	unsigned sum = 0;

	memset(b->data + header + 148, ' ', 8);
	for (unsigned i = 0; i < 512; i++)
		sum += b->data[header + i];
	put_octal((char *)b->data + header + 148, 6, sum);
}

void ball_add(struct ball *b, struct ball_entry e)
{
	size_t len = e.text ? strlen(e.text) : 0, at = b->len;
	char h[512] = { 0 };

	strncpy(h, e.path, 100);
	put_octal(h + 100, 7, e.mode ? e.mode : 0644);
	put_octal(h + 108, 7, e.uid);
	put_octal(h + 116, 7, e.gid);
	put_octal(h + 124, 11, (e.size ? e.size : len));
	put_octal(h + 136, 11, e.mtime);
	h[156] = e.type ? e.type : '0';
	strncpy(h + 157, e.link ? e.link : "", 100);
	memcpy(h + 257,
	       "ustar\0"
	       "00",
	       8);
	put_octal(h + 329, 7, e.dev[0]);
	put_octal(h + 337, 7, e.dev[1]);
	ball_raw(b, h, sizeof(h));
	ball_sum(b, at);
	ball_raw(b, e.text, len);
	ball_pad(b);
}

void ball_pax(struct ball *b, char type, const char *records, size_t len)
{
	ball_add(b, (struct ball_entry){ .type = type, .path = "pax", .size = len });
	ball_raw(b, records, len);
	ball_pad(b);
}

void ball_record(char *buf, size_t size, const char *key, const char *value)
{
	size_t at = strlen(buf), body = strlen(key) + strlen(value) + 3, len = body;
	char digits[24];

	do {
		len = body + (size_t)snprintf(digits, sizeof(digits), "%zu", len);
	} while (len != body + (size_t)snprintf(digits, sizeof(digits), "%zu", len));
	snprintf(buf + at, size - at, "%zu %s=%s\n", len, key, value);
}

void ball_end(struct ball *b)
{
	static const uint8_t zeros[1024];

	ball_raw(b, zeros, sizeof(zeros));
}

void ball_gzip(struct ball *b, size_t from)
{
	z_stream z = { .next_in = b->data + from, .avail_in = (unsigned)(b->len - from) };
	size_t room = b->len - from + 1000;
	uint8_t *out = malloc(room);

	require(deflateInit2(&z, 1, Z_DEFLATED, 31, 8, 0) == Z_OK);
	z.next_out = out;
	z.avail_out = (unsigned)room;
	require(deflate(&z, Z_FINISH) == Z_STREAM_END);
	b->len = from;
	ball_raw(b, out, z.total_out);
	deflateEnd(&z);
	free(out);
}

void ball_write(struct ball *b, const char *path)
{
	put_file(path, b->data, b->len);
	free(b->data);
	*b = (struct ball){ NULL };
}

int build_image(const char *source, const char *name)
{
	struct image_options opt = { .ref = NULL };
	struct image_sum sum;
	int fd = open(scratch_path(name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), r;

	require(fd >= 0);
	*complained = '\0';
	r = image_build(source, &opt, fd, &sum);
	close(fd);
	/* who fails says why, once */
	require(!r == !*complained);
	return r;
}

static uint64_t get(const struct view *v, uint64_t at, unsigned size)
{
	uint64_t x = 0;

	require(at <= v->len && size <= v->len - at);
	memcpy(&x, v->p + at, size);
	return x;
}

void view_open(struct view *v, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	require(fd >= 0);
	view_open_fd(v, fd);
	close(fd);
}

void view_open_fd(struct view *v, int fd)
{
	struct stat st;

	require(!fstat(fd, &st) && st.st_size);
	v->len = (size_t)st.st_size;
	v->p = mmap(NULL, v->len, PROT_READ, MAP_SHARED, fd, 0); /* files may be huge, and holes */
	require(v->p != MAP_FAILED);
	require(get(v, 1024, 4) == 0xe0f5e1e2);
	require(get(v, 1024 + 12, 1) == 12);
	require(get(v, 1024 + 36, 4) * BLOCK == v->len);
}

void view_close(struct view *v)
{
	munmap(v->p, v->len);
}

static void view_inode(const struct view *v, uint64_t nid, struct view_inode *i)
{
	uint64_t at = get(v, 1024 + 40, 4) * BLOCK + nid * 32, format = get(v, at, 2), end, tail;

	*i = (struct view_inode){ .nid = nid,
				  .mode = (uint32_t)get(v, at + 4, 2),
				  .size = get(v, at + 8, 8),
				  .rdev = (uint32_t)get(v, at + 16, 4),
				  .uid = (uint32_t)get(v, at + 24, 4),
				  .gid = (uint32_t)get(v, at + 28, 4),
				  .mtime = (int64_t)get(v, at + 32, 8),
				  .mtime_ns = (uint32_t)get(v, at + 40, 4),
				  .nlink = (uint32_t)get(v, at + 44, 4) };
	require(format == 1 || format == 5);
	i->xattrs = (uint32_t)get(v, at + 2, 2);
	i->xattrs = i->xattrs ? 12 + 4 * (i->xattrs - 1) : 0;
	i->xattr_at = (uint32_t)at + 64;
	i->data = get(v, at + 16, 4) * BLOCK;
	end = at + 64 + i->xattrs;
	if (end - at <= BLOCK)
		require(at / BLOCK == (end - 1) / BLOCK);
	if (format == 1)
		return;
	tail = i->size % BLOCK;
	require(tail != 0);
	/* the kernel takes it from the page of the inode */
	require(at / BLOCK == (end + tail - 1) / BLOCK);
	i->tail = end;
}

void view_read(const struct view *v, const struct view_inode *i, uint64_t off, void *buf,
	       size_t len)
{
	uint64_t full = i->tail ? i->size / BLOCK * BLOCK : i->size;

	require(off <= i->size && len <= i->size - off);
	for (size_t k = 0; k < len; k++, off++)
		((uint8_t *)buf)[k] =
			(uint8_t)get(v, off < full ? i->data + off : i->tail + off - full, 1);
}

/* a folder's entries, one after the other */
struct entries {
	const struct view *v;
	const struct view_inode *dir;
	uint64_t at; /* of the next block */
	size_t len;
	unsigned n, count;
	uint8_t b[BLOCK + 1];
	char name[256];
	uint64_t nid;
};

static uint16_t name_off(const struct entries *e, unsigned n)
{
	uint16_t off;

	memcpy(&off, e->b + 12 * (size_t)n + 8, 2);
	return off;
}

static bool next_entry(struct entries *e)
{
	size_t from, to;

	if (e->n == e->count) {
		if (e->at >= e->dir->size)
			return false;
		e->len = e->dir->size - e->at < BLOCK ? e->dir->size - e->at : BLOCK;
		memset(e->b, 0, sizeof(e->b));
		view_read(e->v, e->dir, e->at, e->b, e->len);
		e->at += BLOCK;
		e->n = 0;
		e->count = name_off(e, 0) / 12;
		require(e->count && name_off(e, 0) % 12 == 0 && name_off(e, 0) < e->len);
	}
	from = name_off(e, e->n);
	to = e->n + 1 < e->count ? name_off(e, e->n + 1)
				 : from + strnlen((char *)e->b + from, e->len - from);
	require(from < to && to <= e->len && to - from < 256);
	memcpy(e->name, e->b + from, to - from);
	e->name[to - from] = '\0';
	memcpy(&e->nid, e->b + 12 * (size_t)e->n++, 8);
	return true;
}

bool view_find(const struct view *v, const char *path, struct view_inode *ret)
{
	view_inode(v, get(v, 1024 + 14, 2), ret);
	while (*path) {
		struct entries e = { .v = v, .dir = ret };
		size_t len = strcspn(path, "/");
		bool found = false;

		require(S_ISDIR(ret->mode));
		while (!found && next_entry(&e))
			found = strlen(e.name) == len && !memcmp(e.name, path, len);
		if (!found)
			return false;
		view_inode(v, e.nid, ret);
		path += len;
		path += *path == '/';
	}
	return true;
}

bool view_text(const struct view *v, const char *path, const char *want)
{
	struct view_inode i;
	char buf[8192];

	if (!view_find(v, path, &i) || i.size != strlen(want))
		return false;
	view_read(v, &i, 0, buf, i.size);
	return !memcmp(buf, want, i.size);
}

static unsigned check_dir(const struct view *v, const struct view_inode *dir, uint64_t parent)
{
	struct entries e = { .v = v, .dir = dir };
	unsigned names = 1, links = 0;
	struct view_inode i;
	char last[256] = "";

	while (next_entry(&e)) {
		require(strcmp(last, e.name) < 0);
		strcpy(last, e.name);
		view_inode(v, e.nid, &i);
		links += S_ISDIR(i.mode) && strcmp(e.name, ".");
		if (!strcmp(e.name, "."))
			require(e.nid == dir->nid);
		else if (!strcmp(e.name, ".."))
			require(e.nid == parent);
		else
			names += S_ISDIR(i.mode) ? check_dir(v, &i, dir->nid) : 1;
	}
	/* ".." counts here, as the name above does there */
	require(dir->nlink == links + 1);
	return names;
}

unsigned view_check(const struct view *v)
{
	struct view_inode root;

	require(view_find(v, "", &root) && S_ISDIR(root.mode));
	return check_dir(v, &root, root.nid);
}
