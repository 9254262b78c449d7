/*
 * archive_rig.h - folders to pack and unpack in, archives made by hand, and what a tree looks like
 *
 * rig_begin() goes into a folder of its own, on a disk or if that does not matter
 * in memory, which is faster; rig_done() removes it.  Names in between are
 * relative to it.
 */
#ifndef HUTCH_ARCHIVE_RIG_H
#define HUTCH_ARCHIVE_RIG_H

#include <sys/stat.h>

#include "archive_format.h"
#include "base.h"

void rig_begin(bool disk);
void rig_done(void);
void rig_remove(const char *path); /* with all in it; nothing there is fine */

void rig_dir(const char *path);
void rig_file(const char *path, const char *text);
/* is @path a file with @text in it? */
bool rig_is(const char *path, const char *text);

/*
 * rig_state() - all there is to see of the tree @path, as text to free()
 *
 * Names, kinds, modes, owners, times, sizes, link counts, targets, attributes and
 * bytes (as a hash). With @times false, without times and link counts.
 */
char *rig_state(const char *path, bool times);

/* an archive by hand */
struct made {
	uint8_t *data;
	size_t len, size;
	struct archive_end end; /* what the last record is to say */
};

void made_record(struct made *m, uint32_t type, const void *body, size_t len);
void made_head(struct made *m, const char *name);
void made_entry(struct made *m, uint32_t mode, const char *name, const char *link);
/* the same with any bytes as name, and as type ARCHIVE_LINK */
void made_any(struct made *m, uint32_t type, struct archive_entry e, const char *name,
	      const char *link);
void made_data(struct made *m, uint64_t offset, const char *text);
void made_file_end(struct made *m, uint64_t size);
void made_file(struct made *m, const char *name, const char *text); /* all of one */
void made_leave(struct made *m);
void made_end(struct made *m);
void made_free(struct made *m);

/* through archive_pack() and archive_unpack(), by a file without a name */
int rig_pack(const char *path, unsigned flags, struct made *ret, struct archive_report *report);
int rig_unpack(const struct made *m, const char *target, const struct archive_opts *opts,
	       struct archive_report *report);

#endif
