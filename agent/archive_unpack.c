/*
 * the unpacker: a stream as a tree; the rules are in archive.h, the records in archive_format.h
 *
 * Each name it uses is one component below a descriptor that it holds (rules 1
 * and 2), but for the target as its caller gave it.  Nothing it makes is changed
 * by name afterwards where a link could have taken its place: files and folders
 * by descriptor, the others by calls that do not follow.
 *
 * #syscalls:caller read pwrite64 ftruncate openat close fcntl:F_DUPFD_CLOEXEC access getrandom
 * #syscalls:caller umask mkdirat linkat symlinkat renameat unlinkat fchmod utimensat
 * #syscalls:before geteuid fchown fchownat fsetxattr mknodat
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "archive_format.h"

#define TEMP_TRIES 100

/* a folder that is being filled */
struct level {
	int fd;	   /* -1: it could not be made, and all in it is passed over */
	bool made; /* by us: its mode and times are set when it is left */
	size_t back;
	struct archive_entry e;
};

struct unpacker {
	const struct archive_opts *o;
	struct archive_report *r;
	struct archive_place place; /* of the entry at hand, or the folder one is in */
	const char *target;
	struct archive_source src;
	bool head, root, end; /* seen */
	bool proc;	      /* /proc is there: files without a name can get one */
	int base;	      /* where the root goes */
	char shown[4096 + ARCHIVE_NAME + 2];

	unsigned depth;
	struct level level[ARCHIVE_DEPTH];

	/* the entry at hand */
	struct archive_entry e;
	char name[ARCHIVE_NAME + 1], link[ARCHIVE_PATH + 1];
	char xattr[ARCHIVE_XATTR];

	/* the file whose bytes come */
	bool in_file;
	int file;      /* -1: passed over */
	char temp[32]; /* its name until it is whole, or "" */
	uint64_t written;
	size_t back;

	int in;
	bool eof;
	size_t at, have;
	char buf[2 * ARCHIVE_RECORD];
};

/* --- what goes wrong --- */

static int fail(struct unpacker *u, int error, const char *what)
{
	return archive_error(u->r, error, what, u->place.len || u->root ? &u->place : NULL);
}

/* the stream itself: what ends it is what is told, also after an error that did not */
static int stream_error(struct unpacker *u, int error, const char *what)
{
	u->r->error = 0;
	return archive_error(u->r, error, what, NULL);
}

static int broken(struct unpacker *u, const char *what)
{
	char text[128];

	snprintf(text, sizeof(text), "the archive is not in order: %s", what);
	return stream_error(u, EPROTO, text);
}

static void note(struct unpacker *u, int error, const char *what)
{
	char text[ARCHIVE_TEXT];

	archive_sentence(text, sizeof(text), error, what, &u->place);
	archive_note(u->o, u->r, text);
}

/* this side cannot make something: the end, or a note */
static int trouble(struct unpacker *u, int error, const char *what)
{
	fail(u, error, what);
	if (!(u->o->flags & ARCHIVE_CONTINUE))
		return -error;
	note(u, error, what);
	return 0;
}

/* @n more of what may be made, or a file of @size: rule 7; it ends all, as what comes goes on */
static int spend(struct unpacker *u, uint64_t n, uint64_t size)
{
	uint64_t most = u->o->most;

	if (most && (size > most || u->r->spent > most || n > most - u->r->spent)) {
		u->r->over = true;
		return stream_error(u, EFBIG, "more than may be made");
	}
	u->r->spent += n;
	return 0;
}

/* --- records --- */

/* @len bytes at u->buf + u->at; fewer at the stream's end */
static int want(struct unpacker *u, size_t len)
{
	if (u->at + len > sizeof(u->buf)) {
		memmove(u->buf, u->buf + u->at, u->have - u->at);
		u->have -= u->at;
		u->at = 0;
	}
	while (u->have - u->at < len && !u->eof) {
		ssize_t n = read(u->in, u->buf + u->have, sizeof(u->buf) - u->have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return stream_error(u, errno, "cannot read the archive");
		u->eof = !n;
		u->have += (size_t)n;
	}
	return 0;
}

/* 1, 0 at the stream's end, or -errno; the body stands at @body until the next call */
static int next(struct unpacker *u, struct archive_record *rec, const char **body)
{
	int r = want(u, sizeof(*rec));

	if (r)
		return r;
	if (u->have == u->at)
		return 0;
	if (u->have - u->at >= sizeof(*rec)) {
		memcpy(rec, u->buf + u->at, sizeof(*rec));
		if (rec->len > ARCHIVE_RECORD - sizeof(*rec))
			return broken(u, "a record is too long");
		r = want(u, sizeof(*rec) + rec->len);
		if (r)
			return r;
		if (u->have - u->at >= sizeof(*rec) + rec->len) {
			*body = u->buf + u->at + sizeof(*rec);
			u->at += sizeof(*rec) + rec->len;
			return 1;
		}
	}
	return stream_error(u, EPROTO, "the archive ends early");
}

/* --- owners, modes, times --- */

/* @fd, or if that is -1 @name in @at without following it; the mode that may be set then */
static int set_owner(struct unpacker *u, int fd, int at, const char *name,
		     const struct archive_entry *e, mode_t *mode)
{
	bool keep = u->o->flags & ARCHIVE_OWNER;
	uid_t uid = keep ? e->uid : u->o->uid;
	gid_t gid = keep ? e->gid : u->o->gid;

	*mode = e->mode & (u->o->flags & ARCHIVE_SETID ? 07777 : 01777);
	if (!keep && !u->o->own)
		return 0;
	if (!(fd >= 0 ? fchown(fd, uid, gid) : fchownat(at, name, uid, gid, AT_SYMLINK_NOFOLLOW)))
		return 0;
	if (errno != EPERM || !geteuid())
		return -1;
	*mode &= 01777; /* as another's it would be another right */
	return 0;
}

static void times_of(const struct archive_entry *e, struct timespec ts[2])
{
	ts[0] = (struct timespec){ .tv_nsec = UTIME_OMIT };
	ts[1] = (struct timespec){ .tv_sec = e->mtime, .tv_nsec = e->mtime_ns };
}

/* checked by archive_xattrs_ok(); a file system may have none, or not these */
static void set_xattrs(struct unpacker *u, int fd)
{
	struct archive_xattr x;
	char name[256];

	for (size_t at = 0; at < u->e.xattr_len; at += sizeof(x) + x.name_len + x.value_len) {
		const char *p = u->xattr + at + sizeof(x);

		memcpy(&x, u->xattr + at, sizeof(x));
		memcpy(name, p, x.name_len);
		name[x.name_len] = '\0';
		if (!(u->o->flags & ARCHIVE_XATTRS) ||
		    (strncmp(name, "user.", 5) && !(u->o->flags & ARCHIVE_SETID)))
			continue;
		if (fsetxattr(fd, name, p + x.name_len, x.value_len, 0))
			note(u, errno, "an extended attribute is left out:");
	}
}

/* of a file or folder that we have made; attributes last but for what forbids them, and after the
 * bytes and the owner: either change takes security.capability away */
static int set_meta(struct unpacker *u, int fd, const struct archive_entry *e)
{
	struct timespec ts[2];
	mode_t mode;

	times_of(e, ts);
	if (set_owner(u, fd, -1, NULL, e, &mode))
		return -1;
	if (u->in_file)
		set_xattrs(u, fd);
	return fchmod(fd, mode) || futimens(fd, ts) ? -1 : 0;
}

/* --- one name --- */

static int temp_name(char temp[32])
{
	uint32_t r[2];

	if (getrandom(r, sizeof(r), 0) != sizeof(r))
		return -1;
	snprintf(temp, 32, ".hutch-%08x%08x", r[0], r[1]);
	return 0;
}

/* make @name in @at by @make; if there is one, under another name that then takes its place */
static int settle(struct unpacker *u, int at, const char *name,
		  int (*make)(struct unpacker *u, int at, const char *name))
{
	char temp[32];
	int r = make(u, at, name), error;

	if (!r || errno != EEXIST)
		return r;
	for (unsigned i = 0; r && errno == EEXIST && i < TEMP_TRIES; i++)
		r = temp_name(temp) ? -1 : make(u, at, temp);
	if (r)
		return r;
	r = renameat(at, temp, at, name);
	error = errno;
	unlinkat(at, temp, 0); /* also if both were names of one file: then neither has moved */
	errno = error;
	return r;
}

static int make_symlink(struct unpacker *u, int at, const char *name)
{
	struct timespec ts[2];
	mode_t mode;

	times_of(&u->e, ts);
	if (symlinkat(u->link, at, name))
		return -1;
	if (set_owner(u, -1, at, name, &u->e, &mode))
		return -1;
	utimensat(at, name, ts, AT_SYMLINK_NOFOLLOW);
	return 0;
}

/* its mode is exact, because the umask is 0 */
static int make_node(struct unpacker *u, int at, const char *name)
{
	struct timespec ts[2];
	mode_t mode;

	times_of(&u->e, ts);
	if (mknodat(at, name, u->e.mode & (S_IFMT | 01777), makedev(u->e.major, u->e.minor)))
		return -1;
	if (set_owner(u, -1, at, name, &u->e, &mode))
		return -1;
	utimensat(at, name, ts, AT_SYMLINK_NOFOLLOW);
	return 0;
}

/* give the file that has no name yet its own */
static int make_file(struct unpacker *u, int at, const char *name)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", u->file);
	return linkat(AT_FDCWD, path, at, name, AT_SYMLINK_FOLLOW);
}

/* the folder of u->link and what is in it; each component as rule 2 says */
static int make_link(struct unpacker *u, int at, const char *name)
{
	int dir = fcntl(u->level[0].fd, F_DUPFD_CLOEXEC, 0), r = -1, error;
	char *part = u->link, *slash;

	while (dir >= 0 && (slash = strchr(part, '/'))) {
		int sub;

		*slash = '\0';
		sub = openat(dir, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		*slash = '/';
		error = errno;
		close(dir);
		errno = error;
		dir = sub;
		part = slash + 1;
	}
	if (dir >= 0) {
		r = linkat(dir, part, at, name, 0);
		error = errno;
		close(dir);
		errno = error;
	}
	return r;
}

/* --- files --- */

/* without a name until it is whole, where the file system can do that */
static int open_file(struct unpacker *u, int at)
{
	int fd = -1;

	u->temp[0] = '\0';
	if (u->proc)
		fd = openat(at, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (fd >= 0 || (u->proc && errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd;
	for (unsigned i = 0; i < TEMP_TRIES; i++) {
		if (temp_name(u->temp))
			break;
		fd = openat(at, u->temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			    0600);
		if (fd >= 0)
			return fd;
		if (errno != EEXIST)
			break;
	}
	u->temp[0] = '\0';
	return -1;
}

static int where(const struct unpacker *u)
{
	return u->depth ? u->level[u->depth - 1].fd : u->base;
}

static void drop_file(struct unpacker *u)
{
	if (u->file >= 0) {
		close(u->file);
		if (u->temp[0])
			unlinkat(where(u), u->temp, 0);
	}
	u->file = -1;
	u->temp[0] = '\0';
}

static int begin_file(struct unpacker *u)
{
	u->in_file = true;
	u->written = 0;
	u->file = open_file(u, where(u));
	if (u->file < 0)
		return trouble(u, errno, "cannot make");
	return 0;
}

static int data(struct unpacker *u, const char *body, uint32_t len)
{
	struct archive_data d;

	if (!u->in_file || len <= sizeof(d) || len - sizeof(d) > ARCHIVE_BLOCK)
		return broken(u, "bytes of no file");
	memcpy(&d, body, sizeof(d));
	body += sizeof(d);
	len -= (uint32_t)sizeof(d);
	if (d.offset < u->written || d.offset > (uint64_t)INT64_MAX - len)
		return broken(u, "bytes out of their order");
	if (spend(u, len, d.offset + len))
		return -EFBIG;
	u->written = d.offset + len;
	u->r->bytes += len;
	while (len && u->file >= 0) {
		ssize_t n = pwrite(u->file, body, len, (off_t)d.offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int error = errno;

			drop_file(u);
			return trouble(u, error, "cannot write");
		}
		body += n;
		d.offset += (uint64_t)n;
		len -= (uint32_t)n;
	}
	return 0;
}

/* whole now: length, owner, mode, times, and at last its name */
static int name_file(struct unpacker *u, uint64_t size)
{
	int r;

	if (ftruncate(u->file, (off_t)size) || set_meta(u, u->file, &u->e))
		return -1;
	if (!u->temp[0])
		return settle(u, where(u), u->name, make_file);
	r = renameat(where(u), u->temp, where(u), u->name);
	if (!r)
		u->temp[0] = '\0';
	return r;
}

static int end_file(struct unpacker *u, const char *body, uint32_t len)
{
	struct archive_file_end end;
	int r = 0;

	if (!u->in_file || len != sizeof(end))
		return broken(u, "the end of no file");
	memcpy(&end, body, sizeof(end));
	if (end.size < u->written || end.size > INT64_MAX)
		return broken(u, "a file that is shorter than what is in it");
	if (spend(u, 0, end.size))
		return -EFBIG;
	if (u->file >= 0 && !end.error && name_file(u, end.size)) {
		r = trouble(u, errno, "cannot make");
	}
	drop_file(u);
	u->in_file = false;
	archive_back(&u->place, u->back);
	return r;
}

/* --- folders --- */

static int enter(struct unpacker *u, int fd, bool made, size_t back)
{
	if (u->depth == ARCHIVE_DEPTH) {
		if (fd >= 0)
			close(fd);
		return broken(u, "too many folders in each other");
	}
	u->level[u->depth++] = (struct level){ fd, made, back, u->e };
	if (made)
		set_xattrs(u, fd);
	return 0;
}

static int begin_folder(struct unpacker *u, size_t back)
{
	int at = where(u), fd;
	bool made = !mkdirat(at, u->name, 0700);

	if (!made && errno != EEXIST) {
		fd = -1;
	} else {
		fd = openat(at, u->name,
			    (made ? O_RDONLY : O_PATH) | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 && !made)
			errno = ENOTDIR; /* whatever kind of file or link it is */
	}
	if (fd < 0) {
		int r = trouble(u, errno, "cannot make the folder");

		if (r)
			return r;
	}
	return enter(u, fd, made && fd >= 0, back);
}

static int leave(struct unpacker *u, uint32_t len)
{
	struct level *l;
	int r = 0;

	if (!u->depth || u->in_file || len)
		return broken(u, "the end of no folder");
	l = &u->level[--u->depth];
	if (l->made && set_meta(u, l->fd, &l->e))
		r = trouble(u, errno, "cannot set the mode or the times of");
	if (l->fd >= 0)
		close(l->fd);
	archive_back(&u->place, l->back);
	return r;
}

/* --- where the root goes --- */

/* the folder that holds @path's last component, which becomes the root's name */
static int open_parent(struct unpacker *u, const char *path)
{
	struct archive_source s;
	char parent[4096];
	size_t end = strlen(path);
	int r = archive_source(path, &s);

	if (!r && (s.contents || end >= sizeof(parent)))
		r = s.contents ? -ENOENT : -ENAMETOOLONG;
	if (r) {
		errno = -r;
		return -1;
	}
	while (end && path[end - 1] == '/')
		end--;
	end -= strlen(s.name);
	memcpy(parent, path, end);
	strcpy(parent + end, ".");
	strcpy(u->name, s.name);
	return open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* u->base and u->name of the root, or its folder entered already: 1 */
static int place_root(struct unpacker *u, bool is_folder)
{
	struct archive_source t;
	bool must = !archive_source(u->target, &t) && t.folder;
	int fd, r;

	if (u->src.contents && !is_folder)
		return broken(u, "what was to be a folder is none");
	fd = open(u->target, O_PATH | O_DIRECTORY | O_CLOEXEC | (must ? 0 : O_NOFOLLOW));
	if (fd >= 0 && u->src.contents) {
		r = enter(u, fd, false, 0);
		return r ? r : 1;
	}
	if (fd >= 0) {
		u->base = fd;
		strcpy(u->name, u->src.name);
		snprintf(u->shown, sizeof(u->shown), "%s/%s", u->target, u->name);
		return 0;
	}
	/* not a folder: it may become one, of a folder, if there is nothing */
	if ((errno != ENOENT && errno != ENOTDIR && errno != ELOOP) || !*u->target ||
	    (must && (!is_folder || errno != ENOENT)))
		return fail(u, errno, "cannot copy to the folder");
	u->base = open_parent(u, u->target);
	return u->base < 0 ? fail(u, errno, "cannot copy to") : 0;
}

/* --- entries --- */

/* the record as u->e, u->name, u->link and u->xattr, if it is one that can be */
static int read_entry(struct unpacker *u, uint32_t type, const char *body, uint32_t len)
{
	struct archive_entry *e = &u->e;
	bool link, xattr;

	if (!u->head || u->in_file || (u->root && !u->depth) || len < sizeof(*e))
		return broken(u, "an entry out of place");
	memcpy(e, body, sizeof(*e));
	body += sizeof(*e);
	len -= (uint32_t)sizeof(*e);
	link = type == ARCHIVE_LINK || S_ISLNK(e->mode);
	xattr = type == ARCHIVE_ENTRY && (S_ISREG(e->mode) || S_ISDIR(e->mode));
	if (e->name_len > ARCHIVE_NAME || e->link_len > ARCHIVE_PATH ||
	    e->xattr_len > ARCHIVE_XATTR || e->name_len + e->link_len + e->xattr_len != len ||
	    e->mtime_ns >= 1000000000 || e->zero || e->mode & ~(uint32_t)(S_IFMT | 07777) ||
	    !e->link_len == link || (e->xattr_len && !xattr) || (type == ARCHIVE_LINK && e->mode))
		return broken(u, "an entry that cannot be");
	if (u->root ? !archive_name_ok(body, e->name_len) : e->name_len != 0)
		return broken(u, "a name that leads elsewhere");
	memcpy(u->name, body, e->name_len);
	u->name[e->name_len] = '\0';
	body += e->name_len;
	if (memchr(body, 0, e->link_len) ||
	    (type == ARCHIVE_LINK && !archive_link_ok(body, e->link_len)))
		return broken(u, "a link that leads elsewhere");
	memcpy(u->link, body, e->link_len);
	u->link[e->link_len] = '\0';
	memcpy(u->xattr, body + e->link_len, e->xattr_len);
	if (!archive_xattrs_ok(u->xattr, e->xattr_len))
		return broken(u, "attributes that cannot be");
	return spend(u, ARCHIVE_COST + e->xattr_len, 0);
}

static int make_other(struct unpacker *u, uint32_t type)
{
	uint32_t kind = u->e.mode & S_IFMT;
	int r;

	if (type == ARCHIVE_LINK) {
		r = settle(u, where(u), u->name, make_link);
	} else if (kind == S_IFLNK) {
		r = settle(u, where(u), u->name, make_symlink);
	} else if (kind == S_IFIFO || kind == S_IFCHR || kind == S_IFBLK) {
		if (!(u->o->flags & (kind == S_IFIFO ? ARCHIVE_FIFOS : ARCHIVE_DEVICES))) {
			note(u, 0,
			     kind == S_IFIFO ? "a fifo is left out:"
					     : "a device node is left out:");
			return 0;
		}
		r = settle(u, where(u), u->name, make_node);
	} else {
		return broken(u, "an entry of no known kind");
	}
	if (!r)
		return 0;
	return trouble(u, errno, "cannot make");
}

static int entry(struct unpacker *u, uint32_t type, const char *body, uint32_t len)
{
	size_t back = u->place.len;
	int r = read_entry(u, type, body, len);

	if (r)
		return r;
	if (u->root) {
		if (archive_enter(&u->place, u->name))
			return broken(u, "a path that is too long");
	} else {
		u->root = true;
		if (type == ARCHIVE_LINK)
			return broken(u, "a link to nothing");
		r = place_root(u, S_ISDIR(u->e.mode));
		if (r < 0)
			return r;
	}
	u->r->entries++;
	u->back = back;
	if (r) /* the root is there, and entered */
		return 0;
	if (u->depth && where(u) < 0) { /* its folder could not be made */
		u->written = 0;
		u->in_file = type == ARCHIVE_ENTRY && S_ISREG(u->e.mode);
		if (type == ARCHIVE_ENTRY && S_ISDIR(u->e.mode))
			return enter(u, -1, false, back);
	} else if (type == ARCHIVE_ENTRY && S_ISDIR(u->e.mode)) {
		return begin_folder(u, back);
	} else if (type == ARCHIVE_ENTRY && S_ISREG(u->e.mode)) {
		r = begin_file(u);
	} else {
		r = make_other(u, type);
	}
	/* until a file's end, messages are about it */
	if (!u->in_file)
		archive_back(&u->place, back);
	return r;
}

/* --- the stream --- */

static int head(struct unpacker *u, const char *body, uint32_t len)
{
	struct archive_head h;

	if (u->head || len < sizeof(h))
		return broken(u, "it does not begin as one");
	memcpy(&h, body, sizeof(h));
	len -= (uint32_t)sizeof(h);
	if (memcmp(h.magic, ARCHIVE_MAGIC, sizeof(h.magic)))
		return broken(u, "it does not begin as one");
	if (h.version != ARCHIVE_VERSION)
		return broken(u, "of a version that this side does not know");
	u->head = true;
	if (u->o->source) {
		if (archive_source(u->o->source, &u->src))
			return stream_error(u, EINVAL, "not a path that can be copied");
		return 0;
	}
	u->src.contents = h.contents;
	if (h.contents > 1 || (h.contents ? len : !archive_name_ok(body + sizeof(h), len)))
		return broken(u, "a name that leads elsewhere");
	memcpy(u->src.name, body + sizeof(h), len);
	u->src.name[len] = '\0';
	return 0;
}

/* what the other side says, for a person; nothing in it is believed */
static int said(struct unpacker *u, bool last, const char *body, uint32_t len)
{
	char text[ARCHIVE_TEXT], all[ARCHIVE_TEXT + 32];
	uint32_t error = EIO;

	if (last) {
		if (len < sizeof(error))
			return broken(u, "it gives up without a word");
		memcpy(&error, body, sizeof(error));
		body += sizeof(error);
		len -= (uint32_t)sizeof(error);
		if (!error || error > 4095 || error == EPROTO)
			error = EIO;
	}
	archive_clean(text, sizeof(text), body, len);
	snprintf(all, sizeof(all), "the sender says: %s", text);
	if (!last) {
		archive_note(u->o, u->r, all);
		return 0;
	}
	u->r->error = (int)error;
	snprintf(u->r->text, sizeof(u->r->text), "%s", all);
	return -(int)error;
}

static int end(struct unpacker *u, const char *body, uint32_t len)
{
	struct archive_end e;

	if (!u->root || u->depth || u->in_file || len != sizeof(e))
		return broken(u, "it ends in the middle");
	memcpy(&e, body, sizeof(e));
	if (e.entries != u->r->entries || e.bytes != u->r->bytes)
		return broken(u, "something in it is missing");
	u->end = true;
	return 0;
}

static int one(struct unpacker *u, const struct archive_record *rec, const char *body)
{
	if (u->end || (!u->head && rec->type != ARCHIVE_HEAD && rec->type != ARCHIVE_ABORT))
		return broken(u, u->end ? "something follows its end" : "it does not begin as one");
	switch (rec->type) {
	case ARCHIVE_HEAD:
		return head(u, body, rec->len);
	case ARCHIVE_ENTRY:
	case ARCHIVE_LINK:
		return entry(u, rec->type, body, rec->len);
	case ARCHIVE_DATA:
		return data(u, body, rec->len);
	case ARCHIVE_FILE_END:
		return end_file(u, body, rec->len);
	case ARCHIVE_LEAVE:
		return leave(u, rec->len);
	case ARCHIVE_NOTE:
	case ARCHIVE_ABORT:
		return said(u, rec->type == ARCHIVE_ABORT, body, rec->len);
	case ARCHIVE_END:
		return end(u, body, rec->len);
	default:
		return broken(u, "a record of no known type");
	}
}

static int stream(struct unpacker *u)
{
	struct archive_record rec;
	const char *body = NULL;
	int r;

	while ((r = next(u, &rec, &body)) > 0) {
		r = one(u, &rec, body);
		if (r)
			return r;
	}
	if (!r && !u->end)
		return stream_error(u, EPROTO, "the archive ends early");
	return r;
}

int archive_unpack(int in, const char *target, const struct archive_opts *opts,
		   struct archive_report *report)
{
	struct unpacker *u = calloc(1, sizeof(*u));
	char more[64];
	mode_t mask;

	*report = (struct archive_report){ .spent = opts->spent };
	if (!u)
		return archive_error(report, ENOMEM, "cannot unpack", NULL);
	u->o = opts;
	u->r = report;
	u->in = in;
	u->target = target;
	u->place.root = u->shown;
	snprintf(u->shown, sizeof(u->shown), "%s", target);
	u->base = u->file = -1;
	u->proc = !access("/proc/self/fd", X_OK);
	mask = umask(0);
	stream(u);
	umask(mask);
	drop_file(u);
	while (u->depth--)
		if (u->level[u->depth].fd >= 0)
			close(u->level[u->depth].fd);
	if (u->base >= 0)
		close(u->base);
	if (report->notes > ARCHIVE_NOTES && opts->note) {
		snprintf(more, sizeof(more), "and %llu more",
			 (unsigned long long)(report->notes - ARCHIVE_NOTES));
		opts->note(opts->arg, more);
	}
	free(u);
	return -report->error;
}
