/* image_build.h - a root file system from a folder, an archive or an OCI layout, and where it lies
 */
#ifndef HUTCH_IMAGE_BUILD_H
#define HUTCH_IMAGE_BUILD_H

#include <limits.h>
#include <sys/types.h>

#include "image_sha256.h"
#include "image_tree.h"
#include "tool.h"

struct image_options {
	bool map_root;	 /* what belongs to the caller belongs to root in the image */
	const char *ref; /* which image of an OCI layout with several, or NULL */
};

struct image_sum {
	uint64_t files, bytes; /* inodes, and the size of the image */
};

/* image_build() - @source as an image into @fd, an empty file: 0, or -errno after a complaint */
int image_build(const char *source, const struct image_options *opt, int fd, struct image_sum *ret);

/*
 * A folder in two steps, so that a cache can look in between.  image_folder()
 * looks at names and inodes and adds to @key what tells this state of the folder
 * from another; image_pack() makes the image of it.  Both -errno after a complaint.
 */
struct image_folder {
	struct image_tree *t;
	int root;
};
int image_folder(const char *path, const struct image_options *opt, struct image_folder *ret,
		 struct sha256 *key);
int image_pack(struct image_folder *f, int fd, struct image_sum *ret);
void image_folder_close(struct image_folder *f);

/*
 * A file that appears whole or not at all: it is written under another name in
 * the same folder, locked while it is, and renamed at the end.  What a killed
 * process leaves is swept by the next one.  -errno after a complaint.
 */
struct image_temp {
	char path[PATH_MAX];
	int fd;
};
int image_temp_open(struct image_temp *t, const char *final);
/* to the disk, then under its name; the descriptor stays open, locked for reading */
int image_temp_commit(struct image_temp *t, const char *final);
void image_temp_drop(struct image_temp *t);

/*
 * The folder of named images, of cached ones, and the path of a named one.  With
 * @make the folder is made if need be, and what fails complained about; without,
 * nothing is, and what the path names may be missing.  -ENOENT (no home folder),
 * -ENAMETOOLONG, -EINVAL (no name; never complained about), what mkdir() says.
 */
int image_store_path(bool make, char *buf, size_t size);
int snap_store_path(bool make, char *buf, size_t size); /* of snapshots */
int image_cache_path(bool make, char *buf, size_t size);
/* the folder of cached ones, made if need be: is there one?  Nothing is complained about */
bool image_cache_there(char *buf, size_t size);
int image_name_path(const char *name, bool make, char *buf, size_t size);

/* 0, or -EAGAIN if someone else holds the file in a way that excludes this */
int image_lock(int fd, short type, bool wait);

/* which file system an open file holds, 0 if none; and how many inodes, if that is easy to tell */
int image_probe(int fd, uint64_t *ret_files);

#endif
