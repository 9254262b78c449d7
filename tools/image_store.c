/*
 * image_store.c - files that appear whole, and the folders of named and cached images
 *
 * 1. An image is written as ".hutch-HEX.tmp" beside its place and renamed over
 *    it, so a reader sees the old one or the new one, and two writers of one name
 *    never mix.
 * 2. Who writes it holds a lock on it.  A file of that name whose lock is free was
 *    left by a killed process: whoever makes the next image there removes it.
 *    Locks are those of open file descriptions, which disks take too.
 * 3. The lock is one of writers until the file is done and one of readers before
 *    it is renamed, so that a machine may open it at once.
 *
 * #syscalls:before openat newfstatat fcntl getdents64 pread64 fsync rename unlink unlinkat
 * #syscalls:before mkdir close geteuid getrandom
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image_build.h"

#define TEMP_START ".hutch-"
#define TEMP_END   ".tmp"
#define TRIES	   100

static const struct {
	const char *name;
	unsigned offset, len;
	uint8_t magic[4];
} kinds[] = {
	[IMAGE_EXT4] = { "ext4", 1080, 2, { 0x53, 0xef } }, /* also of ext2 and ext3 */
	[IMAGE_EROFS] = { "erofs", 1024, 4, { 0xe2, 0xe1, 0xf5, 0xe0 } },
	[IMAGE_SQUASHFS] = { "squashfs", 0, 4, { 'h', 's', 'q', 's' } },
};

#define KINDS (int)(sizeof(kinds) / sizeof(*kinds))

const char *image_fs_name(int kind)
{
	return kind > 0 && kind < KINDS ? kinds[kind].name : NULL;
}

int image_probe(int fd, uint64_t *ret_files)
{
	uint8_t head[2048] = { 0 };
	ssize_t n = pread(fd, head, sizeof(head), 0);

	for (int i = 1; n > 0 && i < KINDS; i++) {
		if (memcmp(head + kinds[i].offset, kinds[i].magic, kinds[i].len))
			continue;
		if (ret_files)
			*ret_files = 0;
		if (ret_files && i == IMAGE_EROFS)
			memcpy(ret_files, head + 1024 + 16, sizeof(*ret_files));
		return i;
	}
	return 0;
}

int image_lock(int fd, short type, bool wait)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET };
	int r;

	do {
		r = fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &lock);
	} while (r && errno == EINTR);
	/* a file system without locks does without */
	return r && (errno == EAGAIN || errno == EACCES) ? -EAGAIN : 0;
}

/* where the name begins in a path */
static size_t name_at(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash + 1 - path) : 0;
}

static bool is_temp(const char *name)
{
	size_t len = strlen(name), end = strlen(TEMP_END);

	return len > end && !strncmp(name, TEMP_START, strlen(TEMP_START)) &&
	       !strcmp(name + len - end, TEMP_END);
}

static void sweep(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *de;

	while (d && (de = readdir(d))) {
		int fd = is_temp(de->d_name)
				 ? openat(dirfd(d), de->d_name, O_RDWR | O_NOFOLLOW | O_CLOEXEC)
				 : -1;

		if (fd >= 0 && !image_lock(fd, F_WRLCK, false))
			unlinkat(dirfd(d), de->d_name, 0);
		if (fd >= 0)
			close(fd);
	}
	if (d)
		closedir(d);
}

/* one that is swept before it is locked is not it */
static int try_temp(struct image_temp *t, size_t at)
{
	struct stat held, there;
	uint64_t id;

	if (getrandom(&id, sizeof(id), 0) != sizeof(id))
		return -EIO;
	if (snprintf(t->path + at, sizeof(t->path) - at, TEMP_START "%016lx" TEMP_END,
		     (unsigned long)id) >= (int)(sizeof(t->path) - at))
		return -ENAMETOOLONG;
	t->fd = open(t->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (t->fd < 0)
		return errno == EEXIST ? -EAGAIN : -errno;
	if (!image_lock(t->fd, F_WRLCK, false) && !fstat(t->fd, &held) && !stat(t->path, &there) &&
	    held.st_ino == there.st_ino && held.st_dev == there.st_dev)
		return 0;
	close(t->fd);
	return -EAGAIN;
}

int image_temp_open(struct image_temp *t, const char *final)
{
	size_t at = name_at(final);
	struct stat st;
	int r = -EAGAIN;

	if (!stat(final, &st) && !S_ISREG(st.st_mode)) {
		complain("%s: is there and is no file; name a file for the image", final);
		return -EEXIST;
	}
	if (at >= sizeof(t->path)) {
		complain("%s: the path is too long", final);
		return -ENAMETOOLONG;
	}
	memcpy(t->path, final, at);
	t->path[at] = '\0';
	sweep(at ? t->path : ".");
	for (unsigned i = 0; r == -EAGAIN && i < TRIES; i++)
		r = try_temp(t, at);
	if (r)
		complain("%s: cannot be made: %s", final, strerror(-r));
	return r;
}

int image_temp_commit(struct image_temp *t, const char *final)
{
	size_t at = name_at(final);
	int r = 0, dir;

	image_lock(t->fd, F_RDLCK, false);
	if (fsync(t->fd) || rename(t->path, final))
		r = -errno;
	if (r) {
		complain("%s: cannot be written: %s", final, strerror(-r));
		image_temp_drop(t);
		return r;
	}
	t->path[at] = '\0';
	dir = open(at ? t->path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0) {
		fsync(dir); /* the image is whole, whatever becomes of its name */
		close(dir);
	}
	return 0;
}

void image_temp_drop(struct image_temp *t)
{
	unlink(t->path);
	close(t->fd);
}

/* mkdir -p; what is ours alone is for us alone */
static int make_folders(char *path)
{
	for (char *c = path + 1;; c++) {
		char was = *c;

		if (was && was != '/')
			continue;
		*c = '\0';
		if (mkdir(path, 0700) && errno != EEXIST)
			return -errno;
		*c = was;
		if (!was)
			return 0;
	}
}

struct place {
	const char *variable, *in_home, *of_root, *name;
};

static int folder(const struct place *p, bool make, char *buf, size_t size)
{
	const char *xdg = getenv(p->variable), *home = getenv("HOME");
	int n, r;

	if (xdg && *xdg == '/')
		n = snprintf(buf, size, "%s/hutch%s", xdg, p->name);
	else if (!geteuid())
		n = snprintf(buf, size, "%s/hutch%s", p->of_root, p->name);
	else if (home && *home == '/')
		n = snprintf(buf, size, "%s/%s/hutch%s", home, p->in_home, p->name);
	else
		n = 0;
	r = !n ? -ENOENT : n < (int)size ? 0 : -ENAMETOOLONG;
	if (!make)
		return r;
	if (!n) {
		complain("there is no place for images and snapshots: set HOME or %s to a folder",
			 p->variable);
		return r;
	}
	if (!r)
		r = make_folders(buf);
	if (r)
		complain("the folder %s: %s", buf, strerror(-r));
	return r;
}

int image_store_path(bool make, char *buf, size_t size)
{
	static const struct place store = { "XDG_DATA_HOME", ".local/share", "/var/lib",
					    "/images" };

	return folder(&store, make, buf, size);
}

int snap_store_path(bool make, char *buf, size_t size)
{
	static const struct place store = { "XDG_DATA_HOME", ".local/share", "/var/lib",
					    "/snapshots" };

	return folder(&store, make, buf, size);
}

int image_cache_path(bool make, char *buf, size_t size)
{
	static const struct place cache = { "XDG_CACHE_HOME", ".cache", "/var/cache", "" };

	return folder(&cache, make, buf, size);
}

bool image_cache_there(char *buf, size_t size)
{
	return !image_cache_path(false, buf, size) && !make_folders(buf);
}

int image_name_path(const char *name, bool make, char *buf, size_t size)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t n = strspn(name, letters);
	int r;

	if (!n || name[n] || n >= 64 || *name == '.' || *name == '-')
		return -EINVAL;
	r = image_store_path(make, buf, size);
	n = r ? 0 : strlen(buf);
	if (!r && snprintf(buf + n, size - n, "/%s.img", name) >= (int)(size - n))
		r = -ENAMETOOLONG;
	return r;
}
