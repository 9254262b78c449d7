/* the packer: a tree as a stream; the rules are in archive.h, the records in archive_format.h */
/* #syscalls:caller openat close newfstatat fcntl:F_GETFL fcntl:F_SETFD getdents64 lseek pread64 */
/* #syscalls:caller readlinkat readlink getcwd faccessat2 */
/* #syscalls:before flistxattr fgetxattr */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "archive_format.h"

#define BUFFER	    (2 * ARCHIVE_RECORD)
#define VIRTUAL_MAX (1U << 20)	/* of a file that says it is empty, as those of /proc do */
#define LINKS_MAX   (32U << 20) /* bytes to remember names of files that have several */
#define BUCKETS	    4096

struct link {
	struct link *next;
	dev_t dev;
	ino_t ino;
	char path[];
};

struct packer {
	const struct archive_opts *o;
	struct archive_report *r;
	struct archive_place place;
	dev_t dev; /* of the root */
	unsigned depth;
	size_t links_size;
	struct link *link[BUCKETS];
	char xattr[ARCHIVE_XATTR];
	size_t xattr_len;
	int out;
	size_t len;
	char buf[BUFFER];
};

/* --- records --- */

static int flush(struct packer *p)
{
	size_t len = p->len;
	int r;

	p->len = 0;
	r = archive_write(p->out, p->buf, len);
	return r ? archive_error(p->r, -r, "cannot write the archive", NULL) : 0;
}

/* room for a record of @len bytes, at the end of what is not written yet */
static int reserve(struct packer *p, size_t len)
{
	return sizeof(p->buf) - p->len < len + sizeof(struct archive_record) ? flush(p) : 0;
}

/* @room bytes were reserved */
static void add(struct packer *p, const void *data, size_t len)
{
	memcpy(p->buf + p->len, data, len);
	p->len += len;
}

static int record(struct packer *p, uint32_t type, const void *head, size_t head_len,
		  const void *data, size_t data_len)
{
	struct archive_record rec = { type, (uint32_t)(head_len + data_len) };
	int r = reserve(p, rec.len);

	if (r)
		return r;
	add(p, &rec, sizeof(rec));
	add(p, head, head_len);
	add(p, data, data_len);
	return 0;
}

static int note(struct packer *p, int error, const char *what)
{
	char text[ARCHIVE_TEXT];

	archive_sentence(text, sizeof(text), error, what, &p->place);
	archive_note(p->o, p->r, text);
	return record(p, ARCHIVE_NOTE, text, strlen(text), "", 0);
}

/* something cannot be packed: the end, or a note */
static int trouble(struct packer *p, int error, const char *what)
{
	/* below the root things may vanish: whoever copied a moment later would not have seen them
	 */
	if (p->place.len && (error == ENOENT || error == ESTALE))
		return note(p, 0, "gone before it was read:");
	archive_error(p->r, error, what, &p->place);
	if (p->place.len && p->o->flags & ARCHIVE_CONTINUE)
		return note(p, error, what);
	return -error;
}

/* --- entries --- */

static struct archive_entry entry_of(const struct stat *st)
{
	return (struct archive_entry){
		.size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0,
		.mtime = st->st_mtim.tv_sec,
		.mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
		.mode = st->st_mode,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.major = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode) ? major(st->st_rdev) : 0,
		.minor = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode) ? minor(st->st_rdev) : 0,
	};
}

/* @name is "" for the root */
static int entry(struct packer *p, uint32_t type, struct archive_entry e, const char *name,
		 const char *link)
{
	struct archive_record rec = { type, sizeof(e) };
	int r;

	e.name_len = (uint32_t)strlen(name);
	e.link_len = (uint32_t)strlen(link);
	e.xattr_len = (uint32_t)p->xattr_len;
	rec.len += e.name_len + e.link_len + e.xattr_len;
	r = reserve(p, rec.len);
	if (r)
		return r;
	add(p, &rec, sizeof(rec));
	add(p, &e, sizeof(e));
	add(p, name, e.name_len);
	add(p, link, e.link_len);
	add(p, p->xattr, p->xattr_len);
	p->xattr_len = 0;
	p->r->entries++;
	return 0;
}

static void xattr_add(struct packer *p, int fd, const char *name)
{
	struct archive_xattr x = { .name_len = (uint16_t)strlen(name) };
	size_t head = p->xattr_len + sizeof(x) + x.name_len;
	ssize_t n;

	if (head >= sizeof(p->xattr))
		return;
	n = fgetxattr(fd, name, p->xattr + head, sizeof(p->xattr) - head);
	if (n < 0)
		return;
	x.value_len = (uint32_t)n;
	memcpy(p->xattr + p->xattr_len, &x, sizeof(x));
	memcpy(p->xattr + p->xattr_len + sizeof(x), name, x.name_len);
	p->xattr_len = head + (size_t)n;
}

/* for the next entry(): what does not fit or cannot be read is left out */
static void xattrs(struct packer *p, int fd)
{
	char names[4096];
	ssize_t n;

	p->xattr_len = 0;
	if (!(p->o->flags & ARCHIVE_XATTRS))
		return;
	n = flistxattr(fd, names, sizeof(names));
	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1)
		if (!strncmp(names + at, "user.", 5) || !strcmp(names + at, "security.capability"))
			xattr_add(p, fd, names + at);
}

/* --- files that have several names --- */

static struct link **bucket(struct packer *p, const struct stat *st)
{
	return &p->link[(st->st_ino ^ st->st_dev * 31) % BUCKETS];
}

static const char *linked(struct packer *p, const struct stat *st)
{
	if (st->st_nlink < 2)
		return NULL;
	for (struct link *l = *bucket(p, st); l; l = l->next)
		if (l->ino == st->st_ino && l->dev == st->st_dev)
			return l->path;
	return NULL;
}

/* one that is not remembered is packed as often as it has names */
static void remember(struct packer *p, const struct stat *st)
{
	size_t size = sizeof(struct link) + p->place.len + 1;
	struct link *l, **at = bucket(p, st);

	if (st->st_nlink < 2 || !p->place.len || size > LINKS_MAX - p->links_size)
		return;
	l = malloc(size);
	if (!l)
		return;
	*l = (struct link){ *at, st->st_dev, st->st_ino };
	memcpy(l->path, p->place.path, p->place.len + 1);
	*at = l;
	p->links_size += size;
}

static void forget(struct packer *p)
{
	for (unsigned i = 0; i < BUCKETS; i++) {
		while (p->link[i]) {
			struct link *l = p->link[i];

			p->link[i] = l->next;
			free(l);
		}
	}
}

/* --- files --- */

/* one record of what is at @off: bytes, 0 at the file's end, or -errno; a reader's is in *@fatal */
static ssize_t block(struct packer *p, int fd, uint64_t off, uint64_t most, int *fatal)
{
	size_t want = most < ARCHIVE_BLOCK ? (size_t)most : ARCHIVE_BLOCK;
	struct archive_record rec = { .type = ARCHIVE_DATA };
	struct archive_data d = { off };
	char *at;
	ssize_t n;

	*fatal = reserve(p, sizeof(d) + want);
	if (*fatal)
		return 0;
	at = p->buf + p->len;
	do {
		n = pread(fd, at + sizeof(rec) + sizeof(d), want, (off_t)off);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n ? -errno : 0;
	rec.len = (uint32_t)(sizeof(d) + (size_t)n);
	memcpy(at, &rec, sizeof(rec));
	memcpy(at + sizeof(rec), &d, sizeof(d));
	p->len += sizeof(rec) + rec.len;
	p->r->bytes += (uint64_t)n;
	return n;
}

/* where there is something at or behind @off, and how far: false if there are only holes */
static bool extent(int fd, uint64_t off, uint64_t size, uint64_t *ret_start, uint64_t *ret_end)
{
	off_t start = lseek(fd, (off_t)off, SEEK_DATA), end;

	*ret_start = off;
	*ret_end = size;
	if (start < 0)
		return errno != ENXIO; /* else this file system does not tell */
	if ((uint64_t)start >= size)
		return false;
	end = lseek(fd, start, SEEK_HOLE);
	*ret_start = (uint64_t)start;
	if (end > start && (uint64_t)end < size)
		*ret_end = (uint64_t)end;
	return true;
}

/* the bytes of @fd up to the size it had: where they end is in @end; a reader's -errno */
static int contents(struct packer *p, int fd, const struct stat *st, struct archive_file_end *end)
{
	/* what is made up while it is read has no size; what grows is read as far as it was */
	bool virtual = !st->st_size && !st->st_blocks;
	uint64_t size = virtual ? VIRTUAL_MAX : (uint64_t)st->st_size, at = 0, start, stop;
	struct stat now;
	ssize_t n = 1;
	int fatal = 0;

	while (at < size && n > 0 && extent(fd, at, size, &start, &stop)) {
		for (at = start; at < stop && n > 0; at += n > 0 ? (uint64_t)n : 0) {
			n = block(p, fd, at, stop - at, &fatal);
			if (fatal)
				return fatal;
		}
	}
	end->error = n < 0 ? (uint32_t)-n : 0;
	end->size = virtual || n <= 0 ? at : size;
	if (!virtual && !fstat(fd, &now)) {
		end->changed = now.st_size != st->st_size ||
			       now.st_mtim.tv_sec != st->st_mtim.tv_sec ||
			       now.st_mtim.tv_nsec != st->st_mtim.tv_nsec;
		/* cut short within what were holes */
		if ((uint64_t)now.st_size < end->size)
			end->size = (uint64_t)now.st_size > at ? (uint64_t)now.st_size : at;
	}
	return 0;
}

static int file(struct packer *p, int at, const char *name, const char *as)
{
	int fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), r;
	struct archive_file_end end = { 0 };
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		r = trouble(p, errno, "cannot read");
		goto out;
	}
	if (!S_ISREG(st.st_mode)) { /* any more */
		r = trouble(p, ESTALE, "no file any more:");
		goto out;
	}
	xattrs(p, fd);
	r = entry(p, ARCHIVE_ENTRY, entry_of(&st), as, "");
	if (!r)
		r = contents(p, fd, &st, &end);
	if (!r)
		r = record(p, ARCHIVE_FILE_END, &end, sizeof(end), "", 0);
	if (r)
		goto out;
	if (end.error)
		r = trouble(p, (int)end.error, "cannot read");
	else
		remember(p, &st);
	if (!r && end.changed)
		r = note(p, 0, "changed while it was read:");
out:
	if (fd >= 0)
		close(fd);
	return r;
}

static int symlink_entry(struct packer *p, int at, const char *name, const char *as,
			 const struct stat *st)
{
	char to[ARCHIVE_PATH + 1];
	ssize_t n = readlinkat(at, name, to, sizeof(to));

	if (n < 0 || n > ARCHIVE_PATH)
		return trouble(p, n < 0 ? errno : ENAMETOOLONG, "cannot read the link");
	if (!n)
		return trouble(p, EINVAL, "cannot read the link");
	to[n] = '\0';
	remember(p, st);
	return entry(p, ARCHIVE_ENTRY, entry_of(st), as, to);
}

/* --- folders --- */

static int any(struct packer *p, int at, const char *name, const char *as);

static int inside(struct packer *p, DIR *dir)
{
	size_t here = p->place.len;
	struct dirent *e;
	int r = 0;

	while (!r) {
		errno = 0;
		e = readdir(dir);
		if (!e)
			return errno ? trouble(p, errno, "cannot read the folder") : 0;
		if (!archive_name_ok(e->d_name, strlen(e->d_name)))
			continue; /* "." and ".." */
		if (archive_enter(&p->place, e->d_name)) {
			r = trouble(p, ENAMETOOLONG, "too deep: cannot copy what is in");
			continue;
		}
		r = any(p, dirfd(dir), e->d_name, e->d_name);
		archive_back(&p->place, here);
	}
	return r;
}

static int folder(struct packer *p, int at, const char *name, const char *as)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r;
	struct stat st;
	DIR *dir;

	if (fd < 0 || fstat(fd, &st)) {
		r = trouble(p, errno, "cannot open the folder");
		if (fd >= 0)
			close(fd);
		return r;
	}
	dir = fdopendir(fd);
	if (!dir) {
		r = trouble(p, errno, "cannot open the folder");
		close(fd);
		return r;
	}
	xattrs(p, fd);
	r = entry(p, ARCHIVE_ENTRY, entry_of(&st), as, "");
	if (!p->place.len)
		p->dev = st.st_dev;
	if (r || (p->o->flags & ARCHIVE_ONE_FILESYSTEM && st.st_dev != p->dev))
		goto out;
	if (p->depth == ARCHIVE_DEPTH - 1) {
		r = trouble(p, ELOOP,
			    "more than 256 folders in each other: cannot copy what is in");
		goto out;
	}
	p->depth++;
	r = inside(p, dir);
	p->depth--;
out:
	closedir(dir);
	return r ? r : record(p, ARCHIVE_LEAVE, "", 0, "", 0);
}

/* whatever @name is, under the name @as */
static int any(struct packer *p, int at, const char *name, const char *as)
{
	const char *first;
	struct stat st;

	if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW))
		return trouble(p, errno, "cannot copy");
	if (S_ISDIR(st.st_mode))
		return folder(p, at, name, as);
	first = linked(p, &st);
	if (first)
		return entry(p, ARCHIVE_LINK, (struct archive_entry){ .mode = 0 }, as, first);
	if (S_ISREG(st.st_mode))
		return file(p, at, name, as);
	if (S_ISLNK(st.st_mode))
		return symlink_entry(p, at, name, as, &st);
	if (S_ISSOCK(st.st_mode)) {
		if (!p->place.len)
			return trouble(p, EOPNOTSUPP, "a socket cannot be copied:");
		return note(p, 0, "a socket is left out:");
	}
	remember(p, &st);
	return entry(p, ARCHIVE_ENTRY, entry_of(&st), as, "");
}

/* the root: links in its path are followed, it itself as the path and the flags say */
static int root(struct packer *p, const char *path)
{
	struct archive_head h = { ARCHIVE_MAGIC, ARCHIVE_VERSION, 0 };
	struct archive_source src;
	struct stat st;
	char real[4096];
	int r = archive_source(path, &src);

	if (r)
		return trouble(p, -r, "not a path that can be copied:");
	h.contents = src.contents;
	r = record(p, ARCHIVE_HEAD, &h, sizeof(h), src.name, strlen(src.name));
	if (r)
		return r;
	if (src.folder || p->o->flags & ARCHIVE_FOLLOW) {
		/* the rest of this file follows nothing */
		if (!realpath(path, real))
			return trouble(p, errno, "cannot copy");
		if (src.folder && !stat(real, &st) && !S_ISDIR(st.st_mode))
			return trouble(p, ENOTDIR, "cannot copy");
		path = real;
	}
	return any(p, AT_FDCWD, path, "");
}

int archive_pack(int out, const char *path, const struct archive_opts *opts,
		 struct archive_report *report)
{
	struct packer *p = calloc(1, sizeof(*p));
	struct archive_end end;
	uint32_t error;
	int r;

	*report = (struct archive_report){ .error = 0 };
	if (!p)
		return archive_error(report, ENOMEM, "cannot pack", NULL);
	p->o = opts;
	p->r = report;
	p->out = out;
	p->place.root = path;
	r = root(p, path);
	if (r) {
		error = (uint32_t)-r;
		/* what is pending goes too; if it is the writing that fails, so does this */
		r = record(p, ARCHIVE_ABORT, &error, sizeof(error), report->text,
			   strlen(report->text));
	} else {
		end = (struct archive_end){ report->entries, report->bytes };
		r = record(p, ARCHIVE_END, &end, sizeof(end), "", 0);
	}
	if (!r)
		flush(p);
	forget(p);
	free(p);
	return -report->error;
}
