/*
 * archive_format.h - the records of an archive, and what packer and unpacker share
 *
 *   archive = HEAD tree END
 *   tree    = ENTRY (file) DATA* FILE_END | ENTRY (folder) tree* LEAVE | ENTRY (other) | LINK
 *
 * with NOTE anywhere between them, and ABORT instead of what would follow.  The
 * root's ENTRY has no name: that is HEAD's.  Each record is its header and `len`
 * bytes.  All numbers are little-endian, as every machine is that this runs on.
 */
#ifndef HUTCH_ARCHIVE_FORMAT_H
#define HUTCH_ARCHIVE_FORMAT_H

#include "archive.h"

#define ARCHIVE_MAGIC	"hutchar" /* 8 bytes with its NUL */
#define ARCHIVE_VERSION 1
#define ARCHIVE_BLOCK	(64U << 10)		/* most bytes of a file in one record */
#define ARCHIVE_XATTR	(64U << 10)		/* most bytes of an entry's attributes */
#define ARCHIVE_RECORD	(ARCHIVE_XATTR + 8192U) /* most bytes of any record, with its header */
#define ARCHIVE_TEXT	700			/* most bytes of a sentence */

enum archive_type {
	ARCHIVE_HEAD = 1,
	ARCHIVE_ENTRY,
	ARCHIVE_LINK, /* one more name of an entry before: `link` is its path below the root */
	ARCHIVE_DATA, /* struct archive_data, bytes; what is between them are holes */
	ARCHIVE_FILE_END,
	ARCHIVE_LEAVE, /* nothing */
	ARCHIVE_NOTE,  /* a sentence */
	ARCHIVE_ABORT, /* errno as 4 bytes, a sentence */
	ARCHIVE_END,
};

struct archive_record {
	uint32_t type, len;
};

/* then the name, up to the record's end */
struct archive_head {
	char magic[8];
	uint32_t version, contents;
};

/* then name, link (a symbolic link's target) and attributes */
struct archive_entry {
	uint64_t size; /* as it was before it was read: a hint */
	int64_t mtime;
	uint32_t mtime_ns;
	uint32_t mode; /* with the type, as in Linux */
	uint32_t uid, gid;
	uint32_t major, minor;
	uint32_t name_len, link_len, xattr_len, zero;
};

/* an attribute: then name and value */
struct archive_xattr {
	uint16_t name_len, zero;
	uint32_t value_len;
};

struct archive_data {
	uint64_t offset; /* not before the end of the one before */
};

struct archive_file_end {
	uint64_t size;
	uint32_t error;	  /* errno: not readable to its end, what is there is not to be used */
	uint32_t changed; /* while it was read */
};

struct archive_end {
	uint64_t entries, bytes; /* ENTRY and LINK; in DATA */
};

/* where one is, below the root: for messages and links */
struct archive_place {
	const char *root; /* as it was given */
	size_t len;
	char path[ARCHIVE_PATH + 1];
};

/* go to @name in the folder where one is: -ENAMETOOLONG. Back: set `len` as it was */
int archive_enter(struct archive_place *p, const char *name);
void archive_back(struct archive_place *p, size_t len);

/* one component, and no other place than one inside */
bool archive_name_ok(const char *name, size_t len);
/* such components with one slash between them */
bool archive_link_ok(const char *path, size_t len);
/* attributes that fill @len bytes, of the names that are copied */
bool archive_xattrs_ok(const char *p, size_t len);

/* keep the first error; @error's text stands behind @what and the place, if there is one */
int archive_error(struct archive_report *r, int error, const char *what,
		  const struct archive_place *p);
/* the same sentence as a note */
void archive_note(const struct archive_opts *o, struct archive_report *r, const char *text);
void archive_sentence(char *to, size_t size, int error, const char *what,
		      const struct archive_place *p);

int archive_write(int fd, const void *data, size_t len); /* all of it, or -errno */

#endif
