/* image_rig.h - for tests of images: a scratch folder, archives of any kind, and a reader of EROFS
 */
#ifndef HUTCH_TEST_IMAGE_RIG_H
#define HUTCH_TEST_IMAGE_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "complain.h"
#include "image_build.h"

/* what complain() said last is in complain.h */

/* a folder of its own, gone with scratch_remove() also when a test fails (an unchecked fixture);
 * the environment's stores lie in it. Each test begins with scratch_clear(). */
extern char scratch[64];
void scratch_make(void);
void scratch_clear(void);
void scratch_remove(void);
const char *scratch_path(const char *name); /* one of eight buffers */

void put_file(const char *path, const void *data, size_t len);
void put_text(const char *path, const char *text);
void set_mtime(const char *path, int64_t s, uint32_t ns);
void *get_file(const char *path, size_t *ret_len); /* to free() */
bool same_files(const char *a, const char *b);
int command(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* an archive in memory */
struct ball {
	uint8_t *data;
	size_t len, size;
};

struct ball_entry {
	char type; /* 0: '0' */
	const char *path, *link;
	unsigned mode, uid, gid;
	uint64_t mtime;
	const char *text; /* content */
	uint64_t size;	  /* what the header says, unless 0: as long as the text */
	unsigned dev[2];
};

void ball_add(struct ball *b, struct ball_entry e);
void ball_pax(struct ball *b, char type, const char *records, size_t len);
void ball_record(char *buf, size_t size, const char *key, const char *value); /* appends */
void ball_raw(struct ball *b, const void *data, size_t len);
void ball_end(struct ball *b);
void ball_write(struct ball *b, const char *path); /* and frees it */
void ball_gzip(struct ball *b, size_t from);	   /* what lies behind @from, as one member */
void ball_sum(struct ball *b, size_t header);	   /* correct the header's sum at that offset */

/* build @source into scratch_path(@name): what image_build() says */
int build_image(const char *source, const char *name);

/* an image, read as the kernel does; any oddity fails the test */
struct view {
	uint8_t *p;
	size_t len;
};

struct view_inode {
	uint64_t nid, size, data,
		tail; /* data: offset of full blocks; tail: of what is inline, or 0 */
	uint32_t mode, uid, gid, nlink, rdev, mtime_ns, xattrs, xattr_at;
	int64_t mtime;
};

void view_open(struct view *v, const char *path);
void view_open_fd(struct view *v, int fd);
void view_close(struct view *v);
bool view_find(const struct view *v, const char *path, struct view_inode *ret);
void view_read(const struct view *v, const struct view_inode *i, uint64_t off, void *buf,
	       size_t len);
bool view_text(const struct view *v, const char *path, const char *want);
/* every folder from the root on, its order, ".", "..", and link counts: how many names */
unsigned view_check(const struct view *v);

#endif
