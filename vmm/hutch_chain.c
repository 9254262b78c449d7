/*
 * hutch_chain.c - snapshots that are the changes of another, in the public interface
 *
 * The machine writes what has changed, or all; it opens no file, and knows of its
 * parent only the id.  What else a child says of it is added here.
 *
 * #syscalls:caller newfstatat readlink
 * #syscalls:before getcwd
 */
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handle.h"
#include "snap.h"

_Static_assert(SNAP_DEPTH == HUTCH_SNAP_DEPTH, "it is told as it is");

struct hutch_parent {
	struct snap_file file; /* its parents are open, too */
	struct snap_parent what;
	char id[SNAP_ID];
	int fd;
};

/* is the child's place free of its ancestors?  Links lead to the same file */
static int check_place(const struct snap_file *f, const char *path)
{
	struct stat is, there;
	unsigned n = 1;

	for (; f; f = f->parent, n++)
		if (!stat(path, &there) && !fstat(f->fd, &is) && is.st_dev == there.st_dev &&
		    is.st_ino == there.st_ino)
			return err(-EINVAL,
				   "%s: is the snapshot %s itself, which this one needs to be what "
				   "it is; give it another name",
				   path, f->name);
	return n <= SNAP_DEPTH
		       ? 0
		       : err(-ELOOP,
			     "snapshot %s: would be the last of a chain of more than %u files; "
			     "make one without a parent",
			     path, SNAP_DEPTH);
}

/* from the child's folder on if it is in there */
static int note_path(struct snap_parent *what, const char *parent, const char *path)
{
	char folder[PATH_MAX], is[PATH_MAX], in[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t len;

	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash + 1 - path) : 1,
		 slash ? path : ".");
	if (!realpath(parent, is) || !realpath(folder, in))
		return err(-errno, "snapshot %s: %s", path, strerror(errno));
	len = strrchr(is, '/') - is;
	parent = strlen(in) == len && !memcmp(in, is, len) ? is + len + 1 : is;
	return str_copy(what->path, sizeof(what->path), parent)
		       ? err(-ENAMETOOLONG, "snapshot %s: its parent's path is too long", path)
		       : 0;
}

static int open_parent(struct hutch_parent *p, const char *parent, const char *path)
{
	int r;

	p->fd = snap_open_path(parent, false);
	r = p->fd < 0 ? p->fd : snap_open(&p->file, p->fd, parent);
	if (!r)
		r = snap_open_parents(&p->file, parent, false);
	if (!r)
		r = check_place(&p->file, path);
	if (!r)
		r = note_path(&p->what, parent, path);
	if (r)
		return r;
	memcpy(p->what.id, p->file.head.id, sizeof(p->what.id));
	p->what.chunks = p->file.head.chunks;
	p->what.index_crc = snap_index_crc(&p->file);
	snap_print_id(p->what.id, p->id);
	return 0;
}

struct hutch_parent *hutch_parent_open(struct hutch *h, const char *parent, const char *path)
{
	struct hutch_parent *p = calloc(1, sizeof(*p));

	if (!p) {
		hutch_fail(h, err(-ENOMEM, "snapshot: out of memory"));
		return NULL;
	}
	if (!hutch_fail(h, open_parent(p, parent, path)))
		return p;
	hutch_parent_free(p);
	return NULL;
}

void hutch_parent_free(struct hutch_parent *p)
{
	if (!p)
		return;
	snap_close(&p->file);
	cleanup_close(&p->fd);
	free(p);
}

const char *hutch_parent_id(const struct hutch_parent *p)
{
	return p->id;
}

int hutch_snapshot_child(struct hutch *h, int fd, const char *label, int level,
			 const struct hutch_parent *p)
{
	cleanup_free void *answer = NULL;
	int r = hutch_snap_ask(h, "child", level, p->id, fd, label, &answer);

	if (r < 0)
		return r;
	return r == 5 && !memcmp(answer, "whole", 5) ? 1 : hutch_parent_end(h, p, fd);
}

int hutch_snapshot_live_child(struct hutch *h, int fd, const char *label, int level,
			      const struct hutch_parent *p, unsigned *ret_still_us)
{
	cleanup_free void *answer = NULL;
	char kind[8];
	unsigned us;
	int r = hutch_snap_ask(h, "live-child", level, p->id, fd, label, &answer);

	if (r < 0)
		return r;
	if (sscanf(answer, "%u %7s", &us, kind) != 2)
		return hutch_fail(h, err(-EPROTO, "snapshot: the machine's answer makes no sense"));
	if (ret_still_us)
		*ret_still_us = us;
	return !strcmp(kind, "whole") ? 1 : hutch_parent_end(h, p, fd);
}

int hutch_parent_end(struct hutch *h, const struct hutch_parent *p, int fd)
{
	return hutch_fail(h, snap_add_parent(fd, &p->what));
}

static int compare(const struct hutch_parent *p, int whole, int fd, int level)
{
	struct conf *conf = malloc(sizeof(*conf));
	struct snap_info info;
	struct snap_file f = { .fd = whole };
	int r = conf ? snap_open(&f, whole, "that is whole")
		     : err(-ENOMEM, "snapshot: out of memory");

	if (!r)
		r = snap_check(&f, &info, conf);
	if (!r)
		r = snap_make_child(&f, conf, &p->file, fd, level);
	if (!r)
		r = snap_add_parent(fd, &p->what);
	snap_close(&f);
	free(conf);
	return r;
}

int hutch_parent_compare(struct hutch *h, const struct hutch_parent *p, int whole, int fd,
			 int level)
{
	return hutch_fail(h, compare(p, whole, fd, level < 0 ? SNAP_LEVEL : level));
}
