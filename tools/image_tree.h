/*
 * image_tree.h - the files of an image while it is made
 *
 * A tree holds names and inodes, not contents: of those it remembers where they
 * lie.  It is filled from a folder or from archives, layer over layer, and
 * nothing outside it is ever touched, so a hostile archive can only describe
 * an odd image.  What it may ask for is bounded: TREE_ENTRIES names, TREE_BYTES
 * of memory, TREE_DEPTH folders within each other.
 *
 * Paths are looked up as by a process whose root is the tree: a symlink in the
 * middle of a path is followed and never leads out.  The last part is not
 * followed.
 *
 * Functions complain() once and return -errno.
 */
#ifndef HUTCH_IMAGE_TREE_H
#define HUTCH_IMAGE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define TREE_ENTRIES (4u << 20)
#define TREE_BYTES   (1ull << 30)
#define TREE_DEPTH   1000
#define TREE_PATH    4096 /* with the NUL, as the kernel counts */
#define TREE_XATTRS  (128u << 10)

struct image_xattr {
	struct image_xattr *next; /* sorted by name */
	const char *name;
	const void *value;
	uint32_t len;
};

struct image_entry {
	struct image_node *dir, *node;
	uint32_t layer; /* that put it there last, or something beneath it */
	char name[];
};

struct image_node {
	uint32_t mode, uid, gid, nlink;
	uint32_t rdev_major, rdev_minor;
	int64_t mtime;
	uint32_t mtime_ns;
	uint64_t size;	    /* of a file, or of a symlink's target */
	const char *target; /* of a symlink */
	struct image_xattr *xattrs;

	/* where a file's content lies: at an offset in an archive, or in the folder that is packed,
	 * unless it is changed meanwhile */
	uint32_t source;
	union {
		uint64_t offset;
		struct timespec ctime;
	};
	uint64_t ino;

	struct image_entry *entry; /* the first that leads here; NULL: the root */
	/* of a folder */
	struct image_node *next_dir;
	void *names; /* tsearch(3) tree of entries */
	uint32_t depth;
	struct image_entry **list; /* after tree_freeze(): sorted, "." and ".." among them */
	uint32_t count;

	/* where it is put, see image_erofs.c */
	uint32_t index; /* in tree->nodes, from 1; 0: not in it */
	uint32_t block;
	uint64_t pos;
	bool inlined;
};

struct image_tree {
	const char *what; /* for messages: the source */
	struct image_node *root, *dirs;
	uint32_t layer; /* that is being read, from 0 */
	uint32_t entries;
	uint64_t bytes;
	struct tree_chunk *chunks;
	bool map_root; /* uid and gid below become 0 */
	uid_t uid;
	gid_t gid;

	/* after tree_freeze(): every inode once, in an order that only depends on names */
	struct image_node **nodes;
	uint32_t count;
};

struct image_tree *tree_new(const char *what); /* NULL: out of memory */
void tree_free(struct image_tree *t);

/* memory that lives as long as the tree: NULL after a complaint */
void *tree_alloc(struct image_tree *t, size_t size);
char *tree_text(struct image_tree *t, const char *text, size_t len);

/* tree_xattr() - put one on @list, which is for a node of @t: -ENOMEM, -E2BIG; what an image does
 * not keep is left out */
int tree_xattr(struct image_tree *t, struct image_xattr **list, const char *name, const void *value,
	       size_t len);

/*
 * tree_add() - put @path there, a copy of @meta; parents that are missing are made
 *
 * What is there already is replaced, but a folder keeps what is in it when it
 * is given again.  -ENOTDIR, -ELOOP, -EINVAL (a name that cannot be), -E2BIG.
 */
int tree_add(struct image_tree *t, const char *path, const struct image_node *meta);
/* the same for a name in a folder, and *@ret_node (NULL: never mind) is the inode */
int tree_add_at(struct image_tree *t, struct image_node *dir, const char *name,
		const struct image_node *meta, struct image_node **ret_node);
/* another name for what @target is: -ENOENT, -EPERM (a folder), and as tree_add() */
int tree_link(struct image_tree *t, const char *path, const char *target);
int tree_link_at(struct image_tree *t, struct image_node *dir, const char *name,
		 struct image_node *node);
/* what lower layers have put at @path, or (@inside) into it, is gone */
int tree_hide(struct image_tree *t, const char *path, bool inside);

struct image_node *tree_find(struct image_tree *t, const char *path); /* NULL: is not there */
/* the path of a node, "." for the root: -ENAMETOOLONG */
int tree_path(const struct image_node *node, char buf[TREE_PATH]);

/* nothing is added from here on; fills nodes, list and nlink: -ENOMEM */
int tree_freeze(struct image_tree *t);

#endif
