/*
 * image_cache.c - what a person names as a root file system, as the path of an image
 *
 * A folder is packed once: its image lies in the cache under a digest of names
 * and inodes, which every change to the folder alters.  Who uses a cached image
 * holds it with a lock for readers; an image that is held, or is one of the KEEP
 * used last, is not removed.
 *
 * #syscalls:before openat newfstatat getdents64 utimensat unlinkat close
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image_build.h"

#define KEEP   16
#define FORMAT "hutch image 1" /* another, once the same folder gives another image */

struct cached {
	char name[SHA256_HEX + 4];
	struct timespec used;
};

static int last_used_first(const void *a, const void *b)
{
	const struct cached *x = a, *y = b;

	if (x->used.tv_sec != y->used.tv_sec)
		return x->used.tv_sec > y->used.tv_sec ? -1 : 1;
	return x->used.tv_nsec > y->used.tv_nsec ? -1 : x->used.tv_nsec < y->used.tv_nsec;
}

static bool is_cached(const char *name)
{
	return strspn(name, "0123456789abcdef") == SHA256_HEX - 1 &&
	       !strcmp(name + SHA256_HEX - 1, ".img");
}

static void remove_unused(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return;
	if (!image_lock(fd, F_WRLCK, false))
		unlinkat(dir, name, 0);
	close(fd);
}

/* failures are nobody's business: the next one prunes again */
static void prune(const char *path)
{
	struct cached *list = NULL, *more;
	size_t count = 0, room = 0;
	DIR *d = opendir(path);
	struct dirent *de;
	struct stat st;

	while (d && (de = readdir(d))) {
		if (!is_cached(de->d_name) || fstatat(dirfd(d), de->d_name, &st, 0))
			continue;
		if (count == room) {
			room = room ? 2 * room : 32;
			more = realloc(list, room * sizeof(*list));
			if (!more)
				break;
			list = more;
		}
		list[count].used = st.st_mtim;
		memcpy(list[count++].name, de->d_name, sizeof(list->name));
	}
	if (count > KEEP)
		qsort(list, count, sizeof(*list), last_used_first);
	for (size_t i = KEEP; i < count; i++)
		remove_unused(dirfd(d), list[i].name);
	free(list);
	if (d)
		closedir(d);
}

/* an image that is there, held: its descriptor, or -ENOENT */
static int hold(const char *path)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -ENOENT;
	/* who prunes may have had it first */
	if (!image_lock(fd, F_RDLCK, true) && !fstat(fd, &st) && st.st_nlink &&
	    image_probe(fd, NULL) == IMAGE_EROFS) {
		futimens(fd, NULL);
		return fd;
	}
	close(fd);
	return -ENOENT;
}

/* a folder's image: its descriptor, held */
static int find_or_pack(const char *folder, const struct image_options *opt, const char *dir,
			char *path, size_t size)
{
	struct image_temp temp;
	struct image_folder f;
	struct image_sum sum;
	char hex[SHA256_HEX];
	struct sha256 key;
	int r;

	sha256_start(&key);
	sha256_add(&key, FORMAT, sizeof(FORMAT));
	sha256_add(&key, opt->map_root ? "r" : "-", 1);
	r = image_folder(folder, opt, &f, &key);
	if (r)
		return r;
	sha256_hex(&key, hex);
	if (snprintf(path, size, "%s/%s.img", dir, hex) >= (int)size)
		r = -ENAMETOOLONG;
	if (!r)
		r = hold(path);
	if (r == -ENOENT) {
		r = image_temp_open(&temp, path);
		if (!r) {
			r = image_pack(&f, temp.fd, &sum);
			if (r)
				image_temp_drop(&temp);
			else
				r = image_temp_commit(&temp, path);
			r = r ? r : temp.fd;
		}
	}
	image_folder_close(&f);
	return r;
}

static int from_folder(const char *folder, unsigned flags, char *path, size_t size)
{
	struct image_options opt = { .map_root = flags & IMAGE_MAP_ROOT };
	char dir[PATH_MAX];
	int r = image_cache_path(true, dir, sizeof(dir));

	if (!r)
		r = find_or_pack(folder, &opt, dir, path, size);
	if (r < 0)
		return r;
	prune(dir); /* the descriptor stays open: this process uses the image */
	return IMAGE_EROFS;
}

static int from_file(const char *file, int fd, char *path, size_t size)
{
	int kind = image_probe(fd, NULL);

	if (!kind) {
		complain("%s: is not an image: neither ext4, erofs nor squashfs; 'hutch image "
			 "build %s NAME' makes one of an archive",
			 file, file);
		return -EINVAL;
	}
	if (snprintf(path, size, "%s", file) >= (int)size) {
		complain("%s: the path is too long", file);
		return -ENAMETOOLONG;
	}
	return kind;
}

static int open_what(const char *what, char *named, size_t size)
{
	int fd = -1, code;

	if (!strchr(what, '/') && !image_name_path(what, false, named, size))
		fd = open(named, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	snprintf(named, size, "%s", what);
	fd = open(what, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	code = -errno;
	if (code == -ENOENT && !strchr(what, '/'))
		complain("there is no image, file or folder '%s'; 'hutch image ls' lists the "
			 "images",
			 what);
	else
		complain("rootfs %s: %s; name an image, a folder, or one of 'hutch image ls'", what,
			 strerror(-code));
	return code;
}

int image_there(const char *what)
{
	char named[PATH_MAX];
	int fd = open_what(what, named, sizeof(named));

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

int image_resolve(const char *what, unsigned flags, char *path, size_t size)
{
	char named[PATH_MAX];
	int fd = open_what(what, named, sizeof(named)), r;
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st)) {
		r = -errno;
		complain("%s: %s", what, strerror(errno));
	} else if (S_ISDIR(st.st_mode)) {
		r = from_folder(named, flags, path, size);
	} else {
		r = from_file(named, fd, path, size);
	}
	close(fd);
	return r;
}
