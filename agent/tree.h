/*
 * tree.h - what lies below a folder, and what has changed there since
 *
 * The guest lists before and after, the host compares.  Contents are not read:
 * a file counts as modified if anything of its size, times, inode, mode or owner
 * has changed, and the time of change cannot be set back without privilege.
 *
 * 1. A list is entries in order, each name after its folder's and before its
 *    younger brothers', so that two lists are compared in one pass and in no
 *    memory but their own.  A name shares its beginning with the one before.
 * 2. A list ends with a record that counts, so one that is cut is noticed.
 * 3. It is bounded.  What does not fit is left out from some name on, never in
 *    the middle, so that up to there a comparison is right; it says so.
 * 4. Other file systems that are mounted below are not looked into.
 */
#ifndef HUTCH_TREE_H
#define HUTCH_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TREE_MAGIC    "hutchtr1" /* a list begins with these 8 bytes */
#define TREE_ENTRIES  100000
#define TREE_BYTES    (16U << 20) /* of a list */
#define TREE_PATH     4095
#define TREE_DEPTH    256
#define TREE_EXCLUDES 64

/* then `len` bytes that follow the first `keep` of the name before */
struct tree_entry {
	uint64_t size; /* of the last record: how many entries there are */
	int64_t mtime_ns, ctime_ns;
	uint64_t ino;
	uint32_t mode, uid, gid; /* mode 0: the last record */
	uint16_t keep, len;
	uint32_t flags; /* of the last record: enum tree_flag */
	uint32_t zero;
};

enum tree_flag {
	TREE_TRUNCATED = 1,  /* there is more, behind the last name */
	TREE_INCOMPLETE = 2, /* a folder was not to be read, or is too deep */
};

/*
 * tree_list() - write to @out, a blocking descriptor, what lies below the folder @path
 *
 * @excludes are patterns as of fnmatch(3): with a slash for a path below @path
 * ("build/cache"), else for a name anywhere ("*.pyc", ".git"); a folder that
 * matches is left out with all in it.  @most is TREE_ENTRIES, or fewer.
 *
 * 0, or -errno: -E2BIG for too many excludes, -ENOTDIR, -ENOMEM, what opening
 * @path or writing to @out gave.
 */
int tree_list(int out, const char *path, const char *const *excludes, unsigned n, uint32_t most);

enum tree_change { TREE_CREATED, TREE_MODIFIED, TREE_DELETED, TREE_CHANGES };

struct tree_result {
	uint64_t count[TREE_CHANGES];
	uint32_t flags; /* of both lists */
};

/*
 * tree_diff() - compare two lists, which may come out of a hostile guest
 *
 * @change is called for each name in order; it is not terminated, and has any
 * byte but 0 in it; it may be NULL.  A folder is modified if its mode or owner
 * is: what is in it has names of its own.  What becomes another kind of file is
 * modified.  0, -ENOMEM, or -EPROTO for what is no list or is cut: then what
 * @change was told is worth nothing.
 */
int tree_diff(const void *before, size_t before_len, const void *after, size_t after_len,
	      void (*change)(void *arg, enum tree_change what, const char *name, size_t len),
	      void *arg, struct tree_result *ret);

#endif
