/*
 * proto.h - what the host and the agent in a guest say to each other
 *
 * The same two files are in both programs, and a fuzzer feeds them: neither
 * side trusts the other.
 *
 * 1. A connection carries frames: a header of 8 bytes and a body of `len`
 *    bytes.  Each side sends HELLO first and need not wait for the other's.
 * 2. The host sends a request; the agent ends it with DONE, EXIT or ERROR.
 *    The next request may be sent at once, and is begun when the one before
 *    has ended.  Many things at once are many connections.
 * 3. The body of a request or an answer is a list of items (tag, length,
 *    bytes).  Numbers are items of 8 bytes.  An item with an unknown tag is
 *    skipped if its PROTO_OPTIONAL bit is set, else the request is refused:
 *    that is how either side can be the newer one.
 * 4. DATA and EOF belong to a stream.  Of each stream at most PROTO_WINDOW
 *    bytes are under way: CREDIT tells that some were taken.  So a reader that
 *    stalls stops its own stream and nothing else, and nobody buffers more.
 * 5. CLOSE says that a stream's reader wants no more of it.  What is under way
 *    is dropped, and the writer gets what a closed pipe gives it.
 * 6. PING is answered by PONG at any time, also within a request.
 * 7. LOG is a line of the agent's log. It comes at any time after a HELLO of the host that says
 *    TAG_LOGS, and never to one that does not; it is not answered.
 *
 * Everything is little-endian, as every machine is that this runs on.
 */
#ifndef HUTCH_PROTO_H
#define HUTCH_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTO_MAGIC	0x68637475UL /* "utch" */
#define PROTO_VERSION	1
#define PROTO_PORT	1024 /* of vsock: the agent listens there, and calls there once it is up */
#define PROTO_WINDOW	(256U << 10)
#define PROTO_DATA_MAX	(32U << 10)
#define PROTO_BODY_MAX	(4U << 20)  /* arguments and environment of a command */
#define PROTO_SMALL_MAX (64U << 10) /* of all others */
#define PROTO_LOG_MAX	1024
#define PROTO_SESSIONS	128 /* connections at once; one more is told ERROR_BUSY and closed */
#define PROTO_OPTIONAL	0x8000

enum proto_type {
	PROTO_HELLO = 1,
	PROTO_DONE,
	PROTO_ERROR,
	PROTO_PING,
	PROTO_PONG,
	/* streams */
	PROTO_DATA,
	PROTO_EOF,
	PROTO_CREDIT, /* body: one number of 4 bytes */
	PROTO_CLOSE,
	/* requests */
	PROTO_SETUP, /* what this guest is to be: root, host name, clock, network, entropy */
	PROTO_EXEC,
	PROTO_PUT,
	PROTO_GET,
	PROTO_TREE, /* what lies below a folder, to tell later what has changed */
	PROTO_INFO, /* memory and processor statistics */
	PROTO_FREEZE,
	PROTO_THAW,
	PROTO_POWEROFF,
	/* within EXEC */
	PROTO_STARTED,
	PROTO_SIGNAL, /* to the command's process group */
	PROTO_RESIZE,
	PROTO_EXIT,
	PROTO_DETACH, /* its terminal is left, and it goes on; ends with DONE */
	/* from the agent */
	PROTO_LOG,
	PROTO_TYPES,
};

enum proto_stream { PROTO_STDIN, PROTO_STDOUT, PROTO_STDERR, PROTO_STREAMS };

/* one space of tags for all bodies */
enum proto_tag {
	/* HELLO */
	TAG_MAGIC = 1,
	TAG_VERSION,
	TAG_BOOT_NS =
		3 | PROTO_OPTIONAL, /* the guest's clock since its start, when the agent was up */
	TAG_INIT_NS = 4 | PROTO_OPTIONAL, /* the same, when the agent began */
	TAG_LOGS = 5 | PROTO_OPTIONAL,	  /* 1: of the host, which wants LOG */
	/* ERROR */
	TAG_CODE = 0x10, /* enum proto_error */
	TAG_ERRNO,	 /* Linux's number, 0 if there is none */
	TAG_TEXT,
	/* EXEC */
	TAG_ARG = 0x20, /* each */
	TAG_ENV,	/* each, "NAME=VALUE" */
	TAG_CWD,
	TAG_USER,    /* "NAME", "NAME:GROUP", or numbers */
	TAG_FLAGS,   /* enum proto_exec_flag */
	TAG_COLUMNS, /* also RESIZE */
	TAG_ROWS,
	TAG_RLIMIT, /* each: resource, soft, hard; 3 numbers */
	TAG_SIGNO,  /* SIGNAL, EXIT */
	TAG_PID,
	/* EXIT */
	TAG_STATUS = 0x40, /* 0..255; with a signal 128 and its number */
	TAG_CORE,
	TAG_OOM, /* the guest had no memory left, and it was for that */
	TAG_USER_US,
	TAG_SYSTEM_US,
	TAG_RSS_MAX,	 /* bytes, of the largest process */
	TAG_MEMORY_PEAK, /* bytes, of all together */
	TAG_LEFT,	 /* processes of the command that are still there */
	/* SETUP; PUT, GET, TREE */
	TAG_HOSTNAME = 0x60,
	TAG_TIME_NS, /* of the epoch */
	TAG_ENTROPY,
	TAG_ROOT,	/* the root's device, "vda": read-only, with a layer of memory over it */
	TAG_ROOT_TYPE,	/* its file system: "erofs", "ext4", "squashfs" */
	TAG_ROOT_FLAGS, /* 1: writable in place */
	TAG_LAYER_SIZE, /* most bytes of that layer of memory */
	TAG_NET,	/* as ip= on a kernel's command line */
	TAG_PIDS_MAX,
	TAG_DNS,   /* each: an address */
	TAG_MOUNT, /* each: "DEVICE\0TYPE\0TARGET\0OPTIONS" */
	TAG_ID,	   /* correlation */
	/* 1: this guest goes on from a snapshot, and its commands with it */
	TAG_RESTORED = 0x6c | PROTO_OPTIONAL, /* enum proto_restored */
	TAG_MAC = 0x6d | PROTO_OPTIONAL, /* each card: the address it had, and the one it has */
	TAG_PATH = 0x80,
	TAG_MODE,
	TAG_GRACE_MS, /* POWEROFF */
	TAG_EXCLUDE,  /* TREE, each */
	/* INFO, TREE: answers */
	TAG_MEMORY_TOTAL = 0xa0,
	TAG_MEMORY_FREE,
	TAG_CPU_US,
	TAG_PROCESSES,
	TAG_UPTIME_NS,
	TAG_FILES,
	TAG_BYTES,
	/* LOG, with TAG_TEXT */
	TAG_LEVEL = 0xc0, /* enum proto_level */
};

enum proto_level { LEVEL_ERROR, LEVEL_WARNING, LEVEL_INFO };

/* a guest goes on after a restore: as who it was, or as somebody else beside that one; or from a
 * boot that is many guests', and is told what it is to be for the first time */
enum proto_restored { RESTORED_SAME = 1, RESTORED_OTHER, RESTORED_BOOT };

enum proto_exec_flag {
	EXEC_STDIN = 1, /* there is one; else it is empty */
	EXEC_TTY = 2,	/* one terminal for all three: its output is PROTO_STDOUT */
	EXEC_DETACH =
		4, /* nothing to read or write; ends with STARTED and DONE; the command goes on */
};

enum proto_error {
	ERROR_REQUEST = 1, /* makes no sense, or a newer one than this agent knows */
	ERROR_VERSION,
	ERROR_NOT_FOUND, /* no such command */
	ERROR_NOT_RUNNABLE,
	ERROR_CWD,
	ERROR_USER,
	ERROR_LIMIT,  /* too many at once, too large */
	ERROR_SYSTEM, /* the guest's kernel refused something */
	ERROR_PATH,   /* PUT, GET, TREE */
	ERROR_BUSY,   /* of no request: as many connections as there can be are there already */
};

struct proto_frame {
	uint8_t type, stream;
	uint32_t len;
};

#define PROTO_HEADER 8
#define PROTO_ITEM   8 /* before what an item holds: tag 2, zero 2, length 4 */

void proto_put_header(uint8_t to[PROTO_HEADER], uint8_t type, uint8_t stream, uint32_t len);
/* 0, or -EPROTO for what cannot be a header: type, stream, length */
int proto_get_header(const uint8_t from[PROTO_HEADER], struct proto_frame *ret);

/*
 * Frames being written: begin one, add items, end it; then send the `len` bytes of `data`.
 * What is missing in memory or too long is told by `failed`, which stays.
 */
struct proto_buf {
	uint8_t *data;
	size_t len, size;
	size_t start; /* of the last frame */
	bool failed;
};

void proto_begin(struct proto_buf *b, uint8_t type, uint8_t stream);
void proto_bytes(struct proto_buf *b, uint16_t tag, const void *data, size_t len);
void proto_text(struct proto_buf *b, uint16_t tag, const char *text);
void proto_number(struct proto_buf *b, uint16_t tag, uint64_t v);
void proto_raw(struct proto_buf *b, const void *data, size_t len); /* DATA, CREDIT: no items */
void proto_end(struct proto_buf *b);
void proto_free(struct proto_buf *b);

/* walk the items of a body */
struct proto_reader {
	const uint8_t *at, *end;
};

struct proto_item {
	uint16_t tag;
	uint32_t len;
	const uint8_t *data;
};

/* 1, 0 at the end, -EPROTO for a body that is cut short */
int proto_next(struct proto_reader *r, struct proto_item *ret);
int proto_item_number(const struct proto_item *item, uint64_t *ret); /* -EPROTO */
/* a copy with a NUL at its end, to free(): NULL if there is no memory or a NUL inside */
char *proto_item_text(const struct proto_item *item);

#endif
