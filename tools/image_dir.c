/*
 * image_dir.c - reading a folder of the host
 *
 * Nothing is opened by a path that a symlink could bend: each is resolved
 * beneath the root folder, and one that is a symlink by now is refused.
 *
 * #syscalls:before openat2 newfstatat fcntl getdents64 read lseek readlinkat llistxattr
 * #syscalls:before lgetxattr close clock_gettime clock_nanosleep
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "image_dir.h"
#include "tool.h"

#define TICK_NS 20000000 /* more than the kernel's clock of files takes for one step */

int open_beneath(int root, const char *path, int flags)
{
	struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC),
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
	long fd;

	do {
		fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
	} while (fd < 0 && (errno == EAGAIN || errno == EINTR));
	return fd < 0 ? -errno : (int)fd;
}

static int fail(const struct image_tree *t, const char *path, const char *name, int code)
{
	complain("%s/%s%s%s: %s", t->what, path, *name ? "/" : "", name, strerror(-code));
	return code;
}

static int open_node(const struct image_tree *t, int root, const struct image_node *n, int flags,
		     char path[TREE_PATH])
{
	int fd = tree_path(n, path);

	if (fd) {
		complain("%s: a folder in it lies too deep for a path of %u bytes", t->what,
			 TREE_PATH - 1);
		return fd;
	}
	fd = open_beneath(root, path, flags);
	return fd < 0 ? fail(t, path, "", fd) : fd;
}

static struct image_node node_of(const struct stat *st)
{
	return (struct image_node){
		.mode = st->st_mode,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.rdev_major = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode) ? major(st->st_rdev) : 0,
		.rdev_minor = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode) ? minor(st->st_rdev) : 0,
		.mtime = st->st_mtim.tv_sec,
		.mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
		.size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0,
		.ctime = st->st_ctim,
		.ino = st->st_ino,
	};
}

/* inodes with more than one name */
struct known {
	dev_t dev; /* on an overlay, files lie on the file systems beneath */
	ino_t ino;
	struct image_node *node;
};

struct scan {
	struct image_tree *t;
	dev_t dev;
	void *known; /* tsearch(3) tree */
};

static int by_ino(const void *a, const void *b)
{
	const struct known *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return x->dev < y->dev ? -1 : x->dev > y->dev;
}

static int read_target(struct scan *s, int dir, const char *name, struct image_node *n)
{
	char target[TREE_PATH];
	ssize_t len = readlinkat(dir, name, target, sizeof(target));

	if (len < 0)
		return -errno;
	if (len == sizeof(target))
		return -ENAMETOOLONG;
	n->size = (uint64_t)len;
	n->target = tree_text(s->t, target, (size_t)len);
	return n->target ? 0 : -ENOMEM;
}

/* a name of an inode that may be known by another */
static int add_linked(struct scan *s, struct image_node *dir, const char *name,
		      const struct image_node *meta, dev_t dev)
{
	struct known key = { .dev = dev, .ino = meta->ino }, *k;
	void **found = tfind(&key, &s->known, by_ino);
	int r;

	if (found)
		return tree_link_at(s->t, dir, name, (*(struct known **)found)->node);
	k = tree_alloc(s->t, sizeof(*k));
	if (!k)
		return -ENOMEM;
	*k = key;
	r = tree_add_at(s->t, dir, name, meta, &k->node);
	if (!r && !tsearch(k, &s->known, by_ino)) {
		complain("%s: out of memory", s->t->what);
		r = -ENOMEM;
	}
	return r;
}

static int scan_name(struct scan *s, struct image_node *dir, int fd, const char *path,
		     const char *name)
{
	struct image_node n;
	struct stat st;
	int r;

	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW))
		return fail(s->t, path, name, -errno);
	if (S_ISSOCK(st.st_mode))
		return 0;
	n = node_of(&st);
	r = S_ISLNK(st.st_mode) ? read_target(s, fd, name, &n) : 0;
	if (r)
		return fail(s->t, path, name, r);
	if (S_ISDIR(st.st_mode) && st.st_dev != s->dev)
		complain("%s/%s/%s: is another file system; the image gets an empty folder there",
			 s->t->what, path, name);
	if (!S_ISDIR(st.st_mode) && st.st_nlink > 1)
		return add_linked(s, dir, name, &n, st.st_dev);
	return tree_add_at(s->t, dir, name, &n, NULL);
}

static int scan_dir(struct scan *s, struct image_node *dir, int root)
{
	char path[TREE_PATH];
	int fd = open_node(s->t, root, dir, O_RDONLY | O_DIRECTORY, path), r = 0;
	struct dirent *de;
	struct stat st;
	DIR *d;

	if (fd < 0)
		return fd;
	d = fdopendir(fd);
	if (!d || fstat(fd, &st)) {
		r = fail(s->t, path, "", -errno);
		if (d)
			closedir(d);
		else
			close(fd);
		return r;
	}
	errno = 0;
	while (!r && st.st_dev == s->dev && (de = readdir(d))) {
		if (strcmp(de->d_name, ".") && strcmp(de->d_name, ".."))
			r = scan_name(s, dir, fd, path, de->d_name);
		errno = 0;
	}
	if (!r && errno)
		r = fail(s->t, path, "", -errno);
	closedir(d);
	return r;
}

static void free_nothing(void *p)
{
	(void)p;
}

int dir_scan(struct image_tree *t, int root)
{
	struct scan s = { .t = t };
	struct image_node *done = NULL;
	struct image_node meta;
	struct stat st;
	int r = 0;

	if (fstat(root, &st))
		return fail(t, ".", "", -errno);
	s.dev = st.st_dev;
	meta = node_of(&st);
	r = tree_add(t, ".", &meta);
	/* new folders come to the front of t->dirs: those up to the last front are still to do */
	while (!r && t->dirs != done) {
		struct image_node *front = t->dirs;

		for (struct image_node *d = front; !r && d != done; d = d->next_dir)
			r = scan_dir(&s, d, root);
		done = front;
	}
	tdestroy(s.known, free_nothing);
	return r;
}

void dir_key(const struct image_tree *t, struct sha256 *sum)
{
	for (uint32_t i = 0; i < t->count; i++) {
		const struct image_node *n = t->nodes[i];
		uint64_t facts[] = { n->mode,
				     n->uid,
				     n->gid,
				     (uint64_t)n->rdev_major << 32 | n->rdev_minor,
				     n->size,
				     (uint64_t)n->mtime,
				     n->mtime_ns,
				     (uint64_t)n->ctime.tv_sec,
				     (uint64_t)n->ctime.tv_nsec,
				     n->ino,
				     n->count };

		sha256_add(sum, facts, sizeof(facts));
		for (uint32_t k = 0; k < n->count; k++) {
			uint32_t index = n->list[k]->node->index;

			sha256_add(sum, n->list[k]->name, strlen(n->list[k]->name) + 1);
			sha256_add(sum, &index, sizeof(index));
		}
		if (n->target)
			sha256_add(sum, n->target, n->size);
	}
}

void dir_settle(const struct image_tree *t)
{
	struct timespec now, wait = { .tv_nsec = TICK_NS };
	int64_t age;

	clock_gettime(CLOCK_REALTIME, &now);
	for (uint32_t i = 0; i < t->count; i++) {
		const struct timespec *c = &t->nodes[i]->ctime;

		if (now.tv_sec - c->tv_sec > 1 || c->tv_sec - now.tv_sec > 1)
			continue;
		age = (now.tv_sec - c->tv_sec) * 1000000000L + now.tv_nsec - c->tv_nsec;
		if (age < TICK_NS) {
			nanosleep(&wait, NULL);
			return;
		}
	}
}

static int one_xattr(struct image_tree *t, struct image_node *n, const char *file, const char *name)
{
	char value[65536];
	ssize_t len = lgetxattr(file, name, value, sizeof(value));

	if (len < 0)
		return errno == ENODATA ? 0 : -errno;
	return tree_xattr(t, &n->xattrs, name, value, (size_t)len);
}

/* @file leads through /proc/self/fd, which no symlink can bend */
static int node_xattrs(struct image_tree *t, struct image_node *n, const char *file)
{
	char names[65536];
	ssize_t len = llistxattr(file, names, sizeof(names));
	int r = 0;

	if (len < 0)
		return errno == ENOTSUP ? 0 : -errno;
	for (char *p = names; !r && p < names + len; p += strlen(p) + 1)
		r = one_xattr(t, n, file, p);
	return r;
}

int dir_xattrs(struct image_tree *t, int root)
{
	char path[TREE_PATH], file[64 + 256];
	int r;

	snprintf(file, sizeof(file), "/proc/self/fd/%d/.", root);
	r = node_xattrs(t, t->root, file);
	if (r)
		return fail(t, ".", "", r);
	for (uint32_t i = 0; i < t->count; i++) {
		struct image_node *dir = t->nodes[i];
		int fd;

		if (dir->count <= 2)
			continue;
		fd = open_node(t, root, dir, O_PATH | O_DIRECTORY, path);
		if (fd < 0)
			return fd;
		for (uint32_t k = 0; !r && k < dir->count; k++) {
			struct image_node *n = dir->list[k]->node;

			if (n->entry != dir->list[k] || !(S_ISREG(n->mode) || S_ISDIR(n->mode)))
				continue;
			snprintf(file, sizeof(file), "/proc/self/fd/%d/%s", fd, n->entry->name);
			r = node_xattrs(t, n, file);
			if (r)
				fail(t, path, n->entry->name, r);
		}
		close(fd);
		if (r)
			return r;
	}
	return 0;
}

static bool same(const struct image_node *n, const struct stat *st)
{
	return st->st_ino == n->ino && (uint64_t)st->st_size == n->size &&
	       st->st_ctim.tv_sec == n->ctime.tv_sec && st->st_ctim.tv_nsec == n->ctime.tv_nsec;
}

struct file_reader {
	int fd;
	bool sparse;
	int code; /* 1: ended too early */
};

/* is there a hole of @len bytes here? then the file's offset is behind it */
static bool skip_hole(int fd, size_t len)
{
	off_t at = lseek(fd, 0, SEEK_CUR), data = lseek(fd, at, SEEK_DATA);
	bool hole = data < 0 ? errno == ENXIO : data - at >= (off_t)len;

	lseek(fd, hole ? at + (off_t)len : at, SEEK_SET);
	return hole;
}

static int read_file(void *arg, void *buf, size_t len)
{
	struct file_reader *f = arg;

	if (f->sparse && skip_hole(f->fd, len))
		return 1;
	while (len) {
		ssize_t n = read(f->fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			f->code = n ? -errno : 1;
			return -EIO;
		}
		buf = (char *)buf + n;
		len -= (size_t)n;
	}
	return 0;
}

static int one_file(struct image_tree *t, int root, const struct image_node *n, struct erofs *e)
{
	char path[TREE_PATH];
	struct file_reader f = { .fd = open_node(t, root, n, O_RDONLY | O_NONBLOCK, path) };
	struct stat st;
	bool stale;
	int r = 0;

	if (f.fd < 0)
		return f.fd;
	stale = fstat(f.fd, &st) || !same(n, &st);
	f.sparse = !stale && st.st_blocks < st.st_size / 512;
	if (!stale)
		r = erofs_file(e, n, read_file, &f);
	if (!stale && !f.code)
		stale = fstat(f.fd, &st) || !same(n, &st);
	close(f.fd);
	if (stale || f.code == 1) {
		complain("%s/%s: was changed while the folder was packed; try again when nothing "
			 "writes there",
			 t->what, path);
		return -ESTALE;
	}
	return f.code ? fail(t, path, "", f.code) : r;
}

int dir_contents(struct image_tree *t, int root, struct erofs *e)
{
	int r = 0;

	for (uint32_t i = 0; !r && i < t->count; i++)
		if (S_ISREG(t->nodes[i]->mode))
			r = one_file(t, root, t->nodes[i], e);
	return r;
}
