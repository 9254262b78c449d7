/*
 * snap_chain.c - snapshots by their paths: a child's parents are found and opened
 *
 * A parent is known by its id and by the CRC of its index; where it lies is only
 * where it is looked for first.  So a folder of snapshots can be moved, and a
 * file in it renamed.  What is found by the name that the child recorded and is
 * no parent of it is told only when nothing else was found.
 *
 * #syscalls:caller openat newfstatat geteuid close pread64 getdents64
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snap.h"

static int check_file(int fd, const char *path, bool any)
{
	struct stat st;

	if (fstat(fd, &st))
		return err(-errno, "snapshot %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err(-EINVAL, "%s: is no snapshot, but something else than a file", path);
	if (any)
		return 0;
	if (st.st_uid && st.st_uid != geteuid())
		return err(-EACCES,
			   "snapshot %s: is user %u's, and it would open on this host whatever "
			   "that "
			   "user wrote into it; if you trust it, make a copy, which is yours",
			   path, st.st_uid);
	if (st.st_mode & S_IWOTH)
		return err(-EACCES,
			   "snapshot %s: may be written by anybody; chmod o-w %s, if it is still "
			   "yours",
			   path, path);
	return 0;
}

int snap_open_path(const char *path, bool any)
{
	/* a pipe without a writer is not waited for, a terminal does not become ours */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), r;

	if (fd < 0)
		return err(-errno, "snapshot %s: %s", path, strerror(errno));
	r = check_file(fd, path, any);
	if (!r)
		return fd;
	close(fd);
	return r;
}

/* NULL with a message, its code in *@ret */
static struct snap_file *open_one(const char *path, bool any, int *ret)
{
	struct snap_file *f = calloc(1, sizeof(*f));
	int fd = f ? snap_open_path(path, any) : err(-ENOMEM, "snapshot: out of memory");

	*ret = fd < 0 ? fd : snap_open(f, fd, path);
	if (!*ret) {
		free(f->tree); /* what the machine was then is of no use to its children */
		f->tree = NULL;
		return f;
	}
	cleanup_close(&fd);
	free(f);
	return NULL;
}

static void close_one(struct snap_file *f)
{
	snap_close(f);
	close(f->fd);
	free(f);
}

/* what the file at @path is said to be, without any belief in it */
static bool has_id(const char *path, const uint8_t id[16])
{
	struct snap_header h;
	int fd = snap_open_path(path, true);
	bool has = fd >= 0 && pread(fd, &h, sizeof(h), 0) == sizeof(h) &&
		   !memcmp(h.magic, SNAP_MAGIC, sizeof(h.magic)) && !memcmp(h.id, id, sizeof(h.id));

	cleanup_close(&fd);
	return has;
}

/* --- where it may be --- */

struct search {
	struct snap_file *child;
	bool any;
	char folder[PATH_MAX]; /* the child's, "" or with a slash at its end */
	char path[PATH_MAX];   /* what is tried now, and at last what was found */
	int error;	       /* of the first that was there, or was to be; 0: nothing was tried */
	char text[1024];
};

/* is it the one?  Then it belongs to the child */
static bool try(struct search *s)
{
	struct snap_file *p;
	int r;

	p = open_one(s->path, s->any, &r);
	if (p) {
		r = snap_adopt(s->child, p);
		if (!r)
			return true;
		close_one(p);
	}
	if (!s->error || (s->error == -ENOENT && r != -ENOENT)) {
		s->error = r;
		snprintf(s->text, sizeof(s->text), "%s", err_last());
	}
	return false;
}

static bool try_at(struct search *s, const char *folder, const char *name)
{
	return snprintf(s->path, sizeof(s->path), "%s%s", folder, name) < (int)sizeof(s->path) &&
	       try(s);
}

static bool try_folder(struct search *s)
{
	DIR *dir = opendir(*s->folder ? s->folder : ".");
	const struct dirent *e;
	bool found = false;

	while (dir && !found && (e = readdir(dir))) {
		size_t len = strlen(e->d_name);

		if (len < 6 || strcmp(e->d_name + len - 5, ".snap") ||
		    snprintf(s->path, sizeof(s->path), "%s%s", s->folder, e->d_name) >=
			    (int)sizeof(s->path))
			continue;
		found = has_id(s->path, s->child->wanted->id) && try(s);
	}
	if (dir)
		closedir(dir);
	return found;
}

static int not_found(const struct search *s)
{
	const struct snap_parent *w = s->child->wanted;
	char id[SNAP_ID];

	if (s->error != -ENOENT)
		return err(s->error, "%s%s%s",
			   s->error == -ESTALE ? "" : "a parent cannot be used: ", s->text,
			   s->error == -ESTALE ? "; put that one there" : "");
	return err(-ENOENT,
		   "snapshot %s: its parent %s is missing, the one with the id %s, and no *.snap "
		   "in its folder is that one; put it there",
		   s->child->name, w->path, snap_print_id(w->id, id));
}

/* the parent of @f, opened; @path is the file's, and then the parent's */
static int adopt_parent(struct snap_file *f, char path[PATH_MAX], bool any)
{
	cleanup_free struct search *s = calloc(1, sizeof(*s));
	const char *slash = strrchr(path, '/'), *where = f->wanted->path, *base;

	if (!s)
		return err(-ENOMEM, "snapshot: out of memory");
	s->child = f;
	s->any = any;
	if (slash)
		snprintf(s->folder, sizeof(s->folder), "%.*s", (int)(slash + 1 - path), path);
	base = strrchr(where, '/');
	if (!try_at(s, *where == '/' ? "" : s->folder, where) &&
	    !(base && try_at(s, s->folder, base + 1)) && !try_folder(s))
		return not_found(s);
	snprintf(path, PATH_MAX, "%s", s->path);
	return 0;
}

static int take_path(const struct snap_file *f, const char *path, char buf[PATH_MAX])
{
	return str_copy(buf, PATH_MAX, path)
		       ? err(-ENAMETOOLONG, "snapshot %s: its path is too long", f->name)
		       : 0;
}

int snap_find_parent(const struct snap_file *f, const char *path, bool any, char *buf, size_t size)
{
	struct snap_file alone = *f; /* which has no parent yet, and gives back the one it gets */
	char at[PATH_MAX];
	int r = f->wanted ? take_path(f, path, at)
			  : err(-EINVAL, "snapshot %s: has no parent", f->name);

	alone.parent = NULL;
	if (!r)
		r = adopt_parent(&alone, at, any);
	if (r)
		return r;
	close_one(alone.parent);
	return str_copy(buf, size, at)
		       ? err(-ENAMETOOLONG, "snapshot %s: its parent's path is too long", f->name)
		       : 0;
}

/* is @f another file than those it is to be an ancestor of? */
static int check_loop(const struct snap_file *first, const struct snap_file *f)
{
	unsigned n = 1;

	for (const struct snap_file *c = first; c != f; c = c->parent, n++)
		if (!memcmp(c->head.id, f->head.id, sizeof(c->head.id)))
			return err(-ELOOP, "snapshot %s: its parents lead back to %s", first->name,
				   f->name);
	return n <= SNAP_DEPTH ? 0
			       : err(-ELOOP,
				     "snapshot %s: it and its parents are more than %u files; no "
				     "longer chain is read",
				     first->name, SNAP_DEPTH);
}

int snap_open_parents(struct snap_file *f, const char *path, bool any)
{
	char at[PATH_MAX];
	int r = f->wanted ? take_path(f, path, at) : 0;

	for (struct snap_file *c = f; !r && c->wanted; c = c->parent) {
		r = adopt_parent(c, at, any);
		if (!r)
			r = check_loop(f, c->parent);
		if (r)
			break;
	}
	return r;
}
