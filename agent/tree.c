/* #syscalls:before openat newfstatat fcntl getdents64 write close */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive_format.h" /* what a name may be */
#include "tree.h"

#define BUFFER (64U << 10)

/* --- the list --- */

struct lister {
	const char *const *excludes;
	unsigned n, depth;
	uint32_t most, entries, flags;
	size_t bytes;
	dev_t dev;
	char path[TREE_PATH + 1], last[TREE_PATH + 1];
	size_t path_len, last_len;
	int out, error;
	size_t len;
	char buf[BUFFER];
};

/* a folder's names, while it is being listed */
struct names {
	char *text; /* each with its NUL */
	size_t text_len, text_size;
	size_t *at; /* where each begins */
	size_t n, size;
};

static void flush(struct lister *l)
{
	const char *p = l->buf;

	while (l->len && !l->error) {
		ssize_t n = write(l->out, p, l->len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			l->error = errno;
			break;
		}
		p += n;
		l->len -= (size_t)n;
	}
	l->len = 0;
}

static void put(struct lister *l, const void *data, size_t len)
{
	if (len > sizeof(l->buf) - l->len)
		flush(l);
	memcpy(l->buf + l->len, data, len);
	l->len += len;
	l->bytes += len;
}

static int64_t ns(const struct timespec *t)
{
	return (int64_t)((uint64_t)t->tv_sec * 1000000000U + (uint64_t)t->tv_nsec);
}

/* the entry at l->path; false if it has no place any more */
static bool put_entry(struct lister *l, const struct stat *st)
{
	struct tree_entry e = {
		.size = (uint64_t)st->st_size,
		.mtime_ns = ns(&st->st_mtim),
		.ctime_ns = ns(&st->st_ctim),
		.ino = st->st_ino,
		.mode = st->st_mode,
		.uid = st->st_uid,
		.gid = st->st_gid,
	};
	size_t keep = 0;

	while (keep < l->last_len && keep < l->path_len && l->last[keep] == l->path[keep])
		keep++;
	if (l->entries == l->most ||
	    2 * sizeof(e) + l->path_len - keep > TREE_BYTES - l->bytes) { /* and the last record */
		l->flags |= TREE_TRUNCATED;
		return false;
	}
	e.keep = (uint16_t)keep;
	e.len = (uint16_t)(l->path_len - keep);
	put(l, &e, sizeof(e));
	put(l, l->path + keep, e.len);
	memcpy(l->last + keep, l->path + keep, e.len);
	l->last_len = l->path_len;
	l->entries++;
	return true;
}

static bool excluded(const struct lister *l, const char *name)
{
	for (unsigned i = 0; i < l->n; i++) {
		const char *x = l->excludes[i];

		if (strchr(x, '/') ? !fnmatch(x + (*x == '/'), l->path, FNM_PATHNAME)
				   : !fnmatch(x, name, 0))
			return true;
	}
	return false;
}

static int by_name(const void *a, const void *b, void *text)
{
	return strcmp((char *)text + *(const size_t *)a, (char *)text + *(const size_t *)b);
}

static int name_add(struct names *s, const char *name)
{
	size_t len = strlen(name) + 1;

	if (s->n == s->size) {
		size_t size = s->size ? 2 * s->size : 32;
		size_t *at = realloc(s->at, size * sizeof(*at));

		if (!at)
			return -ENOMEM;
		s->at = at;
		s->size = size;
	}
	if (len > s->text_size - s->text_len) {
		size_t size = s->text_size ? 2 * s->text_size : 1024;
		char *text = realloc(s->text, size);

		if (!text)
			return -ENOMEM;
		s->text = text;
		s->text_size = size;
	}
	s->at[s->n++] = s->text_len;
	memcpy(s->text + s->text_len, name, len);
	s->text_len += len;
	return 0;
}

/* all names in @dir, or -E2BIG if there are more than can be listed at all, -errno */
static int names_read(struct lister *l, DIR *dir, struct names *s)
{
	struct dirent *e;
	int r = 0;

	while (!r) {
		errno = 0;
		e = readdir(dir);
		if (!e)
			return -errno;
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		/* those that are excluded count here: it is about memory */
		r = s->n < 2 * (size_t)l->most + 1000 ? name_add(s, e->d_name) : -E2BIG;
	}
	return r;
}

static void folder(struct lister *l, int fd);

/* one name in the folder @at, whose path it goes behind */
static void name(struct lister *l, int at, const char *s)
{
	size_t len = strlen(s), back = l->path_len, slash = back != 0;
	struct stat st;
	int fd;

	if (len + slash > TREE_PATH - back) {
		l->flags |= TREE_INCOMPLETE;
		return;
	}
	if (slash)
		l->path[back] = '/';
	memcpy(l->path + back + slash, s, len + 1);
	l->path_len += slash + len;
	/* what is gone is not there */
	if (!excluded(l, s) && !fstatat(at, s, &st, AT_SYMLINK_NOFOLLOW) && put_entry(l, &st) &&
	    S_ISDIR(st.st_mode) && st.st_dev == l->dev) {
		errno = ELOOP;
		fd = l->depth < TREE_DEPTH
			     ? openat(at, s, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
			     : -1;
		if (fd >= 0)
			folder(l, fd);
		else if (errno != ENOENT)
			l->flags |= TREE_INCOMPLETE;
	}
	l->path_len = back;
	l->path[back] = '\0';
}

/* what is in @fd, which is closed */
static void folder(struct lister *l, int fd)
{
	struct names s = { .n = 0 };
	DIR *dir = fdopendir(fd);
	int r;

	if (!dir) {
		l->error = errno;
		close(fd);
		return;
	}
	r = names_read(l, dir, &s);
	if (r == -E2BIG) /* the first ones in order are not known */
		l->flags |= TREE_TRUNCATED;
	else if (r == -ENOMEM)
		l->error = ENOMEM;
	else if (r)
		l->flags |= TREE_INCOMPLETE;
	if (!r) {
		if (s.n)
			qsort_r(s.at, s.n, sizeof(*s.at), by_name, s.text);
		l->depth++;
		for (size_t i = 0; i < s.n && !l->error && !(l->flags & TREE_TRUNCATED); i++)
			name(l, fd, s.text + s.at[i]);
		l->depth--;
	}
	free(s.text);
	free(s.at);
	closedir(dir);
}

int tree_list(int out, const char *path, const char *const *excludes, unsigned n, uint32_t most)
{
	struct tree_entry last = { .mode = 0 };
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;
	struct lister *l;
	struct stat st;

	if (fd < 0)
		return -errno;
	l = n > TREE_EXCLUDES ? NULL : calloc(1, sizeof(*l));
	if (!l || fstat(fd, &st)) {
		r = n > TREE_EXCLUDES ? -E2BIG : !l ? -ENOMEM : -errno;
		free(l);
		close(fd);
		return r;
	}
	l->out = out;
	l->excludes = excludes;
	l->n = n;
	l->most = most < TREE_ENTRIES ? most : TREE_ENTRIES;
	l->dev = st.st_dev;
	put(l, TREE_MAGIC, 8);
	folder(l, fd);
	last.size = l->entries;
	last.flags = l->flags;
	put(l, &last, sizeof(last));
	flush(l);
	r = -l->error;
	free(l);
	return r;
}

/* --- the comparison --- */

struct cursor {
	const char *at, *end;
	struct tree_entry e;
	char name[TREE_PATH + 1];
	size_t len;
	uint64_t entries;
	bool last; /* the last record was read, and is `e` */
};

/* as a path: a slash comes before all else */
static int compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t i = 0;

	while (i < a_len && i < b_len && a[i] == b[i])
		i++;
	if (i == a_len || i == b_len)
		return (a_len > b_len) - (a_len < b_len);
	if (a[i] == '/' || b[i] == '/')
		return a[i] == '/' ? -1 : 1;
	return (unsigned char)a[i] < (unsigned char)b[i] ? -1 : 1;
}

/* the next entry, or the last record: -EPROTO for what cannot be, or is not in order */
static int next(struct cursor *c)
{
	struct tree_entry *e = &c->e;
	size_t old = c->len, end;
	const char *tail;

	if ((size_t)(c->end - c->at) < sizeof(*e))
		return -EPROTO;
	memcpy(e, c->at, sizeof(*e));
	c->at += sizeof(*e);
	if (!e->mode) {
		c->last = true;
		return e->size == c->entries && c->at == c->end && !e->len &&
				       !(e->flags & ~(uint32_t)(TREE_TRUNCATED | TREE_INCOMPLETE))
			       ? 0
			       : -EPROTO;
	}
	tail = c->at;
	end = (size_t)e->keep + e->len;
	if (++c->entries > TREE_ENTRIES || e->keep > old || !e->len || end > TREE_PATH ||
	    e->len > c->end - c->at || memchr(tail, 0, e->len) ||
	    compare(tail, e->len, c->name + e->keep, old - e->keep) <= 0)
		return -EPROTO;
	memcpy(c->name + e->keep, tail, e->len);
	c->len = end;
	c->at += e->len;
	return archive_link_ok(c->name, c->len) ? 0 : -EPROTO;
}

static int begin(struct cursor *c, const void *list, size_t len)
{
	c->at = list;
	c->end = c->at + len;
	if (len < 8 || memcmp(c->at, TREE_MAGIC, 8))
		return -EPROTO;
	c->at += 8;
	return next(c);
}

static bool modified(const struct tree_entry *a, const struct tree_entry *b)
{
	if (a->mode != b->mode || a->uid != b->uid || a->gid != b->gid)
		return true;
	return !S_ISDIR(a->mode) && (a->size != b->size || a->mtime_ns != b->mtime_ns ||
				     a->ctime_ns != b->ctime_ns || a->ino != b->ino);
}

/* what the two cursors stand at; those that are done with go on */
static int step(struct cursor *a, struct cursor *b, bool judge, struct tree_result *res,
		void (*change)(void *, enum tree_change, const char *, size_t), void *arg)
{
	int order = a->last ? 1 : b->last ? -1 : compare(a->name, a->len, b->name, b->len);
	enum tree_change what = order < 0 ? TREE_DELETED : order ? TREE_CREATED : TREE_MODIFIED;
	struct cursor *c = order < 0 ? a : b;
	int r = 0;

	if (judge && (order || modified(&a->e, &b->e))) {
		res->count[what]++;
		if (change)
			change(arg, what, c->name, c->len);
	}
	if (order <= 0)
		r = next(a);
	if (!r && order >= 0)
		r = next(b);
	return r;
}

int tree_diff(const void *before, size_t before_len, const void *after, size_t after_len,
	      void (*change)(void *arg, enum tree_change what, const char *name, size_t len),
	      void *arg, struct tree_result *ret)
{
	struct cursor *c = calloc(2, sizeof(*c)), *a = c, *b;
	struct tree_result res = { .flags = 0 };
	int r;

	if (!c)
		return -ENOMEM;
	b = c + 1;
	r = begin(a, before, before_len);
	if (!r)
		r = begin(b, after, after_len);
	while (!r && !(a->last && b->last)) {
		/* behind the end of a list that was too long nothing is known */
		bool judge = !(a->last && a->e.flags & TREE_TRUNCATED) &&
			     !(b->last && b->e.flags & TREE_TRUNCATED);

		r = step(a, b, judge, &res, change, arg);
	}
	if (!r) {
		res.flags = a->e.flags | b->e.flags;
		*ret = res;
	}
	free(c);
	return r;
}
