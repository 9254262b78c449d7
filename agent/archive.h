/*
 * archive.h - files and folders as one stream of bytes, between host and guest
 *
 * The same code is on both sides: `hutch cp` to a guest packs on the host and
 * unpacks in the guest, from a guest the other way round.  An archive that
 * comes out of a guest is hostile.
 *
 * 1. An archive is a tree, told from its root: a folder's entries follow it, up
 *    to the record that leaves it.  An entry has a name of one component, never
 *    a path: "..", "/" and "" are refused, so there is nothing to resolve.
 * 2. The unpacker keeps a descriptor of each folder it is in, opened without
 *    following a symbolic link, and names only what is directly inside.  What
 *    another process renames meanwhile cannot lead it elsewhere, and a link that
 *    the archive itself has made, or that was there, is never written through.
 * 3. A file gets its name when it is whole: what is killed leaves the old file,
 *    or none.  What was there under the name is replaced, not written to.
 * 4. A folder that is there already is filled; its mode, owner and times stay.
 *    A folder never replaces a file, nor a file a folder.
 * 5. The root's name, and whether it is the root or what is in it that is copied,
 *    is decided by the path that was asked for.  Whoever asks an untrusted side
 *    says so again to the unpacker: see `source`.
 * 6. Lengths are checked before they are believed, sizes cost nothing until there
 *    are bytes, and the number of entries is no one's memory: a hard link names
 *    its other end by its path in the archive, found as 2. says.
 * 7. What comes is counted before it is made: `most` ends what would fill a disk.
 * 8. A file that changes while it is read, is cut short or cannot be read to its
 *    end never breaks the stream: its last record says how long it was and what
 *    happened.  A stream that ends early is noticed, at any byte.
 *
 * The records themselves are in archive_format.h.
 */
#ifndef HUTCH_ARCHIVE_H
#define HUTCH_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARCHIVE_NAME  255  /* bytes of one name */
#define ARCHIVE_PATH  4095 /* bytes of a path below the root */
#define ARCHIVE_DEPTH 256  /* folders in folders; each is a descriptor */
#define ARCHIVE_COST  4096 /* bytes that an entry counts for in `most`, beside what is in it */

enum archive_flag {
	/* of both sides */
	ARCHIVE_CONTINUE = 1, /* go on after an error: what can be copied is; the first is told */
	ARCHIVE_XATTRS = 2,   /* user.* and, with ARCHIVE_SETID, security.capability */
	/* of the packer */
	ARCHIVE_FOLLOW = 4,	    /* a source that is a symbolic link is what it points to */
	ARCHIVE_ONE_FILESYSTEM = 8, /* folders on which another one is mounted are empty */
	/* of the unpacker: what it may make beside files, folders and symbolic links */
	ARCHIVE_OWNER = 16,    /* owners as in the archive; without privilege, as far as it goes */
	ARCHIVE_SETID = 32,    /* keep set-user-id and set-group-id bits */
	ARCHIVE_FIFOS = 64,    /* else they are left out, and noted */
	ARCHIVE_DEVICES = 128, /* the same */
};

/* for a guest that is told to unpack by its host */
#define ARCHIVE_TRUSTED \
	(ARCHIVE_XATTRS | ARCHIVE_OWNER | ARCHIVE_SETID | ARCHIVE_FIFOS | ARCHIVE_DEVICES)

struct archive_opts {
	unsigned flags;
	bool own; /* without ARCHIVE_OWNER: everything is to belong to uid and gid */
	uint32_t uid, gid;
	const char *source; /* unpack, of an untrusted side: the path that was asked for */
	/*
	 * unpack: what may be made at most, 0: no limit.  Bytes of files count without holes, and
	 * entries with ARCHIVE_COST each; no file is longer, holes and all.  @spent is gone
	 * already.
	 */
	uint64_t most, spent;
	/* a sentence for a person about what was left out or has changed; may be NULL */
	void (*note)(void *arg, const char *text);
	void *arg;
};

#define ARCHIVE_NOTES 20 /* that many are told, and then how many more */

struct archive_report {
	uint64_t entries, bytes; /* bytes: of files, without holes */
	uint64_t notes;
	uint64_t spent; /* of `most`, with what was gone before */
	bool over;	/* that was why it ended */
	int error;	/* the first one, as errno; 0 if there was none */
	char text[768]; /* and its sentence, names in it escaped */
};

/*
 * archive_pack() - write what is at @path to @out, a blocking descriptor
 *
 * "DIR" is the folder, "DIR/." what is in it; so are "/", "." and "..". "NAME/"
 * has to be a folder.  A symbolic link is packed as one, unless a slash or
 * ARCHIVE_FOLLOW says otherwise.  What vanishes meanwhile and sockets are noted.
 *
 * 0, or -errno with @report's text; the archive tells it to the other side too.
 * With ARCHIVE_CONTINUE the first error is returned in the end.  A reader that
 * has gone is -EPIPE (and SIGPIPE, which is the caller's business).
 */
int archive_pack(int out, const char *path, const struct archive_opts *opts,
		 struct archive_report *report);

/*
 * archive_unpack() - read an archive from @in to its end, and make what it tells at @target
 *
 * As cp does: what is copied goes into @target if that is a folder, else it
 * becomes @target.  "TARGET/" has to be a folder, or becomes one of a folder.
 * A target that is a symbolic link is replaced by a file, and a folder is
 * refused; with "TARGET/" it is followed.
 *
 * 0, or -errno with @report's text: -EPROTO for what is no archive or
 * ends early, -EFBIG for more than `most`, what the other side told if it gave up, or what this
 * side met.  With ARCHIVE_CONTINUE what is met here does not stop it.  While it runs this process's
 * umask is 0.
 */
int archive_unpack(int in, const char *target, const struct archive_opts *opts,
		   struct archive_report *report);

/* what a path asks for, the same on both sides */
struct archive_source {
	char name[ARCHIVE_NAME + 1]; /* "" if contents */
	bool contents;		     /* what is in the folder, not the folder */
	bool folder;		     /* has to be one */
};

/* -EINVAL for "", -ENAMETOOLONG */
int archive_source(const char *path, struct archive_source *ret);

/*
 * archive_quote() - @name for a terminal or a log: control bytes, what is not UTF-8, quotes and
 * backslashes escaped; "..." at the end of what does not fit.  Returns @to.
 */
char *archive_quote(char *to, size_t size, const char *name, size_t len);
/* the same for a sentence of the other side: its quotes and backslashes stay */
char *archive_clean(char *to, size_t size, const char *text, size_t len);

#endif
