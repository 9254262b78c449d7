/* rundir.c - the folders of the registry: how they appear, are held and go (theory: registry.h) */
/* #syscalls:caller renameat openat newfstatat fcntl:F_GETFL fcntl:F_SETFD getdents64 */
/* #syscalls:caller unlinkat close */
/* #syscalls:before geteuid mkdir mkdirat flock */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "registry.h"
#include "tool.h"

#define SOCKET_PATH_MAX 96 /* of vsock; connections add a port to it, up to what sun_path takes */
#define DEPTH_MAX	8

static int root_path(char *buf, size_t size)
{
	const char *root = globals.root ? globals.root : getenv("HUTCH_ROOT");
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	int n;

	if (root && *root)
		n = snprintf(buf, size, "%s", root);
	else if (xdg && *xdg)
		n = snprintf(buf, size, "%s/hutch", xdg);
	else if (!geteuid())
		n = snprintf(buf, size, "/run/hutch");
	else
		n = snprintf(buf, size, "/tmp/hutch-%u", (unsigned)geteuid());
	return n < (int)size ? 0 : -ENAMETOOLONG;
}

int rundir_path(const char *name, const char *file, char *buf, size_t size)
{
	size_t n;

	if (root_path(buf, size))
		return -ENAMETOOLONG;
	n = strlen(buf);
	return snprintf(buf + n, size - n, "/%s%s%s", name, *file ? "/" : "", file) <
			       (int)(size - n)
		       ? 0
		       : -ENAMETOOLONG;
}

static bool good_name(const char *name)
{
	size_t n =
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	return *name && *name != '.' && *name != '-' && !name[n] && n < 64;
}

int rundir_check(const char *name)
{
	char path[4096];

	if (!good_name(name)) {
		complain("--name: '%s' is not a name; use up to 63 letters, digits, dots, dashes, "
			 "underscores",
			 name);
		return -EINVAL;
	}
	if (rundir_path(name, "vsock", path, sizeof(path)) || strlen(path) > SOCKET_PATH_MAX) {
		complain("%s: the path has more than %d bytes, too many for a Unix socket; take a "
			 "shorter folder with --root DIR or HUTCH_ROOT, or a shorter --name",
			 path, SOCKET_PATH_MAX);
		return -EINVAL;
	}
	return 0;
}

static int refuse_root(const char *path, int r, const char *fix)
{
	complain("the folder of sandboxes, %s: %s; %s", path,
		 r == -EPERM ? "it is another user's, or others may write in it" : strerror(-r),
		 fix);
	return r;
}

/* a folder that others made or may write could lead our files, and what we kill, anywhere */
int rundir_root(bool make)
{
	static const char fix[] = "take another with --root DIR or HUTCH_ROOT";
	char path[4096];
	struct stat st;
	int fd;

	if (root_path(path, sizeof(path)))
		return refuse_root("HUTCH_ROOT", -ENAMETOOLONG, fix);
	if (make && mkdir(path, 0700) && errno != EEXIST)
		return refuse_root(path, -errno, fix);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && !make)
		return -ENOENT;
	if (fd < 0)
		return refuse_root(path, -errno, fix);
	if (fstat(fd, &st) || st.st_uid != geteuid() || (st.st_mode & 022)) {
		close(fd);
		return refuse_root(path, -EPERM, fix);
	}
	return fd;
}

int rundir_hold(int root)
{
	int fd = openat(root, ".lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX)) {
		if (errno == EINTR)
			continue;
		close(fd);
		return -EIO;
	}
	return fd;
}

/* a shared lock for a moment: readers do not stand in each other's way, and nobody takes it anew */
bool rundir_held(int lock)
{
	if (flock(lock, LOCK_SH | LOCK_NB))
		return true;
	flock(lock, LOCK_UN);
	return false;
}

int rundir_begin(int root, const char *id, int *ret_dir, int *ret_lock)
{
	char hidden[64];
	int dir, lock;

	snprintf(hidden, sizeof(hidden), ".new-%s", id);
	if (mkdirat(root, hidden, 0700))
		return -errno;
	dir = openat(root, hidden, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	lock = openat(dir, "lock", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB)) {
		int r = -errno;

		if (lock >= 0)
			close(lock);
		close(dir);
		return r;
	}
	*ret_dir = dir;
	*ret_lock = lock;
	return 0;
}

int rundir_appear(int root, const char *id, const char *name)
{
	char hidden[64];

	snprintf(hidden, sizeof(hidden), ".new-%s", id);
	if (!renameat(root, hidden, root, name))
		return 0;
	return errno == ENOTEMPTY || errno == ENOTDIR ? -EEXIST : -errno;
}

/* what is in a folder but @last; links are removed, not followed */
static void empty_folder(int dir, const char *last, unsigned depth)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;
	int sub;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
		    (last && !strcmp(e->d_name, last)))
			continue;
		if (!unlinkat(dir, e->d_name, 0) || errno != EISDIR || depth == DEPTH_MAX)
			continue;
		sub = openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub < 0)
			continue;
		empty_folder(sub, NULL, depth + 1);
		close(sub);
		unlinkat(dir, e->d_name, AT_REMOVEDIR);
	}
	closedir(d);
}

void rundir_remove(int root, const char *name, const char *id)
{
	char hidden[64];
	int dir;

	snprintf(hidden, sizeof(hidden), ".gone-%s", id);
	if (*name == '.')
		snprintf(hidden, sizeof(hidden), "%s", name);
	else if (renameat(root, name, root, hidden))
		return;
	dir = openat(root, hidden, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return;
	/* the lock goes last: until then a sweeper sees whether we live */
	empty_folder(dir, "lock", 0);
	unlinkat(dir, "lock", 0);
	unlinkat(root, hidden, AT_REMOVEDIR);
	close(dir);
}
