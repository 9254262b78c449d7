/*
 * conf.h - what a machine is asked to be (layer 1)
 *
 * One table, conf_fields, is the command line, --help, the config file, the
 * /config node of the tree and the keys of hutch_set() at once.
 */
#ifndef HUTCH_CONF_H
#define HUTCH_CONF_H

#include "field.h"

#define CONF_PATH    4096
#define CONF_APPEND  4096
#define CONF_DISKS   16
#define CONF_INITRDS 4
#define CONF_CPUS    1024
#define CONF_NETS    8
#define CONF_MTU_MIN 68

enum conf_boot { BOOT_AUTO, BOOT_BZIMAGE, BOOT_ELF, BOOT_PVH };
enum conf_transport { TRANSPORT_MMIO, TRANSPORT_PCI };
enum conf_reboot { REBOOT_EXIT, REBOOT_RESET };
enum conf_format { FORMAT_RAW, FORMAT_COW };
enum conf_engine { ENGINE_AUTO, ENGINE_URING, ENGINE_THREADS };
enum conf_cache { CACHE_WRITEBACK, CACHE_WRITETHROUGH, CACHE_DIRECT, CACHE_UNSAFE };
enum conf_net_mode { NET_TAP, NET_USER, NET_NONE };
enum conf_level { LEVEL_MINIMAL, LEVEL_STANDARD, LEVEL_STRICT, LEVEL_MAXIMUM };
/* the strictest first */
enum conf_violation { VIOLATION_KILL, VIOLATION_PAUSE, VIOLATION_THROTTLE, VIOLATION_LOG };
/* of one limit alone: 0 is whatever on_violation says, else enum conf_violation + 1 */
enum conf_console { CONSOLE_SERIAL, CONSOLE_VIRTIO };
enum conf_jail { JAIL_NONE, JAIL_BASIC };

struct conf_path {
	char path[CONF_PATH];
};

struct conf_disk {
	char path[CONF_PATH];
	char serial[21]; /* what GET_ID answers, up to 20 bytes */
	bool ro;
	bool discard;
	uint32_t format; /* enum conf_format */
	char overlay[CONF_PATH];
	uint32_t engine; /* enum conf_engine */
	uint32_t cache;	 /* enum conf_cache */
	uint32_t queues;
	uint64_t bw, bw_burst;	   /* bytes a second; 0: no limit */
	uint64_t iops, iops_burst; /* requests a second */
};

struct conf_net {
	uint32_t mode; /* enum conf_net_mode */
	char tap[16];
	char socket[108];
	char mac[18];
	uint32_t mtu; /* 0: the guest's own choice */
	bool offload;
	bool link;
	char forward[256];	 /* "[ADDRESS/]HOST[:GUEST]", more behind + */
	char ip[96];		 /* as ip= on a kernel's command line; the agent sees to it */
	uint64_t bw, bw_burst;	 /* bytes a second, each direction; 0: no limit */
	uint64_t pps, pps_burst; /* packets a second */
};

struct conf_vsock {
	char path[108];
	uint32_t cid;
};

struct conf_balloon {
	uint64_t size;
	bool deflate_on_oom;
	bool reporting;
	uint32_t stats; /* seconds between two readings; 0: none */
};

struct conf {
	char extends[CONF_PATH]; /* of a file, and empty once that is loaded */
	char name[64];
	uint32_t cpus;
	uint32_t cpu_percent;	  /* of one processor, for all vCPUs; 0: no limit */
	uint32_t cpu_percent_max; /* no more than this, also later; 0: anything */
	uint64_t memory;
	char kernel[CONF_PATH];
	uint32_t initrds;
	struct conf_path initrd[CONF_INITRDS];
	char append[CONF_APPEND];
	uint32_t boot;	    /* enum conf_boot */
	uint32_t transport; /* enum conf_transport */
	uint32_t on_reboot; /* enum conf_reboot */
	bool pit;
	uint32_t disks;
	struct conf_disk disk[CONF_DISKS];
	uint32_t nets;
	struct conf_net net[CONF_NETS];
	uint32_t vsocks;
	struct conf_vsock vsock[1];
	bool rng;
	uint32_t balloons;
	struct conf_balloon balloon[1];
	char console[CONF_PATH];
	uint32_t console_device; /* enum conf_console */
	char console_size[16];
	char ctl[108]; /* sizeof(sun_path) */
	/* of a sandbox, whose guest has an agent */
	bool agent;
	bool cold;
	char rootfs[CONF_PATH];
	bool rootfs_rw;
	uint64_t layer;
	char hostname[65];
	char correlation_id[129];
	uint32_t pids;
	uint32_t level; /* enum conf_level */
	/* milliseconds, 0: no limit */
	uint64_t timeout, cpu_time, idle_timeout, boot_timeout, kill_after, heartbeat;
	uint64_t stdout_max, stderr_max, copy_max;
	uint32_t on_violation;					    /* enum conf_violation */
	uint32_t on_timeout, on_cpu_time, on_idle_timeout, on_fuel; /* the same, from 1; 0: it */
	char fuel[32];
	uint32_t jail; /* enum conf_jail */
};

extern const struct field conf_fields[];

void conf_defaults(struct conf *conf);

/*
 * conf_set() - set @key ("memory", "on-reboot") from text
 *
 * A list appends.  -EINVAL, -ERANGE, -E2BIG with a message that begins with
 * @what ("hutch.yaml:3", or "") and names the key and the value.
 */
int conf_set(struct conf *conf, const char *what, const char *key, const char *value) must_check;

/* a key, or one within an element of a list: "memory", "disk@1",
 * "disk@1.iops", "balloon" (there is one) */
struct conf_ref {
	const struct field *f;
	unsigned i;		 /* which element of a list */
	const struct field *sub; /* within it, or NULL */
};

int conf_ref(const struct conf *conf, const char *key,
	     struct conf_ref *ret) must_check; /* -EINVAL */

/*
 * conf_change() - set what is there already
 *
 * An element of a list takes "iops=100,bw=1M", and the rest of it stays.
 * -EINVAL, -ERANGE, -E2BIG with a message; @conf may be half changed then.
 */
int conf_change(struct conf *conf, const char *key, const char *value,
		struct conf_ref *ret) must_check;

/* where each of conf_fields got its value, in their order: "box.yaml:3"; "" for its default */
#define CONF_KEYS   64
#define CONF_ORIGIN 256
struct conf_origins {
	char at[CONF_KEYS][CONF_ORIGIN];
};

/*
 * conf_load() - merge a YAML (or JSON) file over @conf, or a TOML one if its name ends in .toml
 *
 * Scalars and lists replace, "key+" appends to a list, null takes the default
 * back.  @origins, unless NULL, is told where each key stood.  -EINVAL with file:line for anchors,
 * aliases, tags, duplicate and unknown keys; -EFBIG over 1 MiB; or the -errno of reading it.
 * What the file `extends` is merged first: -ELOOP with file:line if that comes back to a file, or
 * is more than 8 deep.
 */
int conf_load(struct conf *conf, const char *path, struct conf_origins *origins) must_check;

enum conf_source_flags {
	CONF_SOURCE_OPTIONAL = 1, /* one that is not there is no error */
	CONF_SOURCE_OWN = 2,	  /* nobody named it: only if it is the caller's or root's, and not
				     anybody's to write (passed over with a warning if it is
				     optional too), and within the fence of conf_fence.c, -EACCES */
	CONF_SOURCE_TEMPLATE = 4, /* below all files that are none */
};

struct conf_source {
	const char *path;
	unsigned flags;
};

/*
 * conf_load_all() - the same of @n files, each over those before it
 *
 * Templates come first, those that files extend and then those among @from,
 * each once; so any file can change what any template says.  An optional file
 * that is among @from again is merged once, at the later place.
 */
int conf_load_all(struct conf *conf, const struct conf_source *from, unsigned n,
		  struct conf_origins *origins) must_check;

/* conf_load() over bytes in memory, of which `extends` is read and not followed; @name stands in
 * the messages */
int conf_load_text(struct conf *conf, const char *name, const void *text, size_t len,
		   struct conf_origins *origins) must_check;

/*
 * conf_console_size() - "100x30" into columns and rows, "" is 0 and 0: not known
 *
 * -EINVAL with a message.
 */
int conf_console_size(const char *text, uint16_t *ret_cols, uint16_t *ret_rows) must_check;

/*
 * conf_mac() - "02:00:00:00:00:01", an address one card can have
 *
 * -EINVAL with a message that begins with @what.
 */
int conf_mac(const char *what, const char *text, uint8_t ret[6]) must_check;

/*
 * conf_fuel() - "500ms" is a time of the CPUs, "1000000i" instructions; "" and "0" are 0
 *
 * -EINVAL, -ERANGE with a message.
 */
int conf_fuel(const char *text, uint64_t *ret, bool *ret_instructions) must_check;

/* conf_check() - what can be refused without touching the host: -EINVAL */
int conf_check(const struct conf *conf) must_check;

/*
 * conf_check_made() - is @now the machine that @was is, but for what a restore may change?
 *
 * -EINVAL with the first key that is not.
 */
int conf_check_made(const struct conf *now, const struct conf *was) must_check;
/* all that a snapshot keeps, as it is in @from */
void conf_take_made(struct conf *conf, const struct conf *from);

/* does the guest write into the file that @disk names? */
bool conf_disk_written(const struct conf_disk *disk);

#endif
