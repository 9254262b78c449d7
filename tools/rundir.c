/*
 * rundir.c - a folder for each machine that has a name
 *
 * Its file "lock" is held by flock(2) as long as the machine's process lives,
 * so whoever finds the lock free has found the remains of a killed one, and
 * sweeps them.
 *
 * #syscalls geteuid unlink rmdir close
 * #syscalls:before mkdir newfstatat openat flock
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool.h"

#define TRIES 100

/* what a machine may leave there */
static const char *const files[] = { "ctl", "vsock" };

static int root_path(char *buf, size_t size)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	int n;

	if (xdg && *xdg)
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

/* a root that another user made could lead our files anywhere */
static int make_root(void)
{
	char path[256];
	struct stat st;

	if (root_path(path, sizeof(path)))
		return -ENAMETOOLONG;
	if (mkdir(path, 0700) && errno != EEXIST)
		return -errno;
	if (lstat(path, &st))
		return -errno;
	return S_ISDIR(st.st_mode) && st.st_uid == geteuid() ? 0 : -EPERM;
}

/* the lock file in the folder of a name, both made if need be; held. One that is removed meanwhile
 * is not it. */
static int lock_folder(const char *path, const char *lock)
{
	struct stat held, there;
	int fd;

	for (unsigned i = 0; i < TRIES; i++) {
		if (mkdir(path, 0700) && errno != EEXIST)
			return -errno;
		fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_EX | LOCK_NB)) {
			close(fd);
			return -EBUSY;
		}
		if (!fstat(fd, &held) && !stat(lock, &there) && held.st_ino == there.st_ino &&
		    held.st_dev == there.st_dev)
			return fd;
		close(fd);
	}
	return -EAGAIN;
}

int rundir_make(const char *name)
{
	char path[256], lock[256];
	int r;

	if (!good_name(name)) {
		complain("--name: '%s' is not a name; use up to 63 letters, digits, dots, dashes, "
			 "underscores",
			 name);
		return -EINVAL;
	}
	r = make_root();
	if (!r)
		r = rundir_path(name, "", path, sizeof(path));
	if (!r)
		r = rundir_path(name, "lock", lock, sizeof(lock));
	if (!r)
		r = lock_folder(path, lock);
	if (r == -EBUSY)
		complain("a machine named '%s' runs already; stop it, or take another --name",
			 name);
	else if (r < 0)
		complain("cannot make the run folder of '%s': %s", name, strerror(-r));
	for (unsigned i = 0; r >= 0 && i < sizeof(files) / sizeof(*files); i++)
		if (!rundir_path(name, files[i], path, sizeof(path)))
			unlink(path); /* of one that was killed */
	return r;
}

void rundir_remove(const char *name, int fd)
{
	char path[256];

	for (unsigned i = 0; i < sizeof(files) / sizeof(*files); i++)
		if (!rundir_path(name, files[i], path, sizeof(path)))
			unlink(path);
	if (!rundir_path(name, "lock", path, sizeof(path)))
		unlink(path);
	if (!rundir_path(name, "", path, sizeof(path)))
		rmdir(path);
	close(fd);
}
