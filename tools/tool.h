/* tool.h - what the verbs of the command share (layer 6) */
#ifndef HUTCH_TOOL_H
#define HUTCH_TOOL_H

#include "hutch.h"

#define EXIT_USAGE 2
#define EXIT_FAIL  1   /* not found, or a false answer */
#define EXIT_LIMIT 124 /* a limit of ours ended the command */
#define EXIT_HUTCH 125 /* hutch itself failed */

/* a flag of one verb; those of the machine come from hutch_key() */
struct flag {
	const char *name, *arg, *help; /* arg NULL: a switch; "[...]": may be left out */
	char letter;		       /* 'e' for "-e" as well, 0 for none */
	bool many;		       /* may be repeated, and each value counts */
	bool machine; /* of every verb: only of those that take the machine's keys */
};

/* what was given of one flag; all zero: nothing */
struct given {
	const char *text;	/* its value, the last of several; "" for a switch */
	const char *const *all; /* of one that may be repeated: each value in order, NULL at the
				   end; until the next parse() */
	unsigned n;		/* how often */
};

/* the flags that every verb takes, also before the verb; set by parse() */
extern struct globals {
	const char *root;
	bool json, quiet, verbose;
	const char *log_file; /* NULL: stderr */
	bool log_json;
	bool failed; /* parse() has complained of what is no wrong usage: EXIT_HUTCH */
} globals;
extern const struct flag global_flags[];

struct verb {
	const char *name, *args, *summary;
	const char *text;	  /* for the manual: paragraphs, or NULL */
	const struct flag *flags; /* ends with name NULL; may be NULL */
	bool machine;		  /* takes the machine's keys too */
	bool box;		  /* and those of a sandbox */
	bool layers;		  /* also from the default files and the environment (layers.h) */
	bool command;		  /* what stands behind "--" is a command */
	/* verbs of this one, named "image ls"; then run is run_sub() */
	const struct verb *const *sub;
	int (*run)(int argc, char **argv, const struct verb *verb);
};

static inline bool verb_takes(const struct verb *verb, const struct hutch_key *key)
{
	return verb->machine && !key->file && (!key->box || verb->box);
}

extern const struct verb *const verbs[]; /* NULL-terminated */
extern const struct verb verb_boot, verb_set, verb_inspect, verb_doctor, verb_help, verb_version,
	verb_ps, verb_wait, verb_stop, verb_kill, verb_pause, verb_resume, verb_rm, verb_gc,
	verb_logs, verb_run, verb_exec, verb_shell, verb_cp, verb_image, verb_events, verb_stats,
	verb_completion, verb_check, verb_init, verb_snapshot, verb_restore, verb_snap, verb_fork,
	verb_rollback;

/* one line, "hutch: ...", on stderr or where --log-file says; in JSON it is an error, a warning, or
 * for information */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void caution(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void inform(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

int write_all(int fd, const char *buf, size_t len); /* 0, or -errno of what was not written */

/*
 * parse() - the flags of @verb, wherever they stand among the arguments before "--"
 *
 * Machine keys go to @h (files and the environment first, so that flags win), flags
 * of every verb to globals, and the verb's own to @given, in the order of its
 * table, which the caller has zeroed.  "-it", "-w DIR", "-wDIR", "--workdir=DIR"
 * are all understood.  Other arguments are moved to the front of @argv; right
 * behind them follows the command of a verb that takes one, up to NULL.  Returns how many there are
 * in front, -1 after a complaint, or -2 after --help.
 */
int parse(int argc, char **argv, const struct verb *verb, struct hutch *h, struct given *given);
/* the same of a verb that takes @min to @max arguments, each a name (-1: any number) */
int parse_names(int argc, char **argv, const struct verb *verb, struct given *given, int min,
		int max);
/* how many words of @argv are flags of every verb and stand before the verb, -1 after a complaint
 */
int leading_flags(int argc, char **argv);
/* those are moved behind the verb; how many words they are, -1 after a complaint */
int verb_first(int argc, char **argv);
/* 'm' for "memory", 0 for a key without a letter */
char key_letter(const char *key);

void help_verb(const struct verb *verb, FILE *out);
void help_all(FILE *out);

/* the guest that is used when none is named: HUTCH_KERNEL, or what `make guest` prepared: -ENOENT
 */
int guest_kernel(char *buf, size_t size);
int guest_initrd(char *buf, size_t size);
int guest_box(char *buf, size_t size);	   /* the initramfs whose process 1 is the agent */
int guest_cmdline(char *buf, size_t size); /* what its kernel is to be told */

/* a request to the machine of a sandbox, found by name or id: its answer to free(), and size; -1
 * after a complaint */
long client_ask(const char *name, const char *request, void **ret);
struct box;
/* the same of one that is open, within @ms (-1: as long as it takes); -ETIMEDOUT without a
 * complaint, other -errno with one, or none if @quiet */
long client_ask_box(const struct box *box, const char *request, int ms, bool quiet, void **ret);

/* as long as it takes, and a descriptor goes along with it */
long client_ask_fd(const struct box *box, const char *request, int pass, void **ret);

/* ask the agent in a sandbox to power its guest off: -ENOSYS if there is no way to */
int agent_poweroff(const char *name, unsigned ms);

/* to the agent of a sandbox that another process is: NULL after a complaint */
struct hutch *sandbox_handle(const char *name);
/* what takes an agent @ms takes that of a throttled machine so long */
uint64_t agent_ms(struct hutch *h, uint64_t ms);
/* one look at an agent, every AGENT_LOOK ms: true once it has not
 * answered for `heartbeat` and some looks */
#define AGENT_LOOK 250
bool agent_is_silent(struct hutch *h, struct hutch_job *job, unsigned *missed);

/* run the verb of @verb that the first argument names */
int run_sub(int argc, char **argv, const struct verb *verb);

enum image_fs { IMAGE_EXT4 = 1, IMAGE_EROFS, IMAGE_SQUASHFS };

#define IMAGE_MAP_ROOT 1u /* in a folder's image, the caller's files belong to root */

/*
 * image_resolve() - the image a person means by @what: its path, and which file system it holds
 *
 * @what is the name of an image in the store (looked at first if there is no '/'
 * in it), the path of an image, or of a folder: that is packed into an image in
 * the cache, or one is there because nothing in the folder has changed since.
 * A cached image is held until this process and those forked from it end: nobody
 * removes it.  Returns an enum image_fs, or -errno after a complaint.
 */
int image_resolve(const char *what, unsigned flags, char *path, size_t size);
/* would it find something? 0, or -errno after a complaint */
int image_there(const char *what);
/* "ext4", "erofs", "squashfs": what the guest's kernel calls it; NULL for other numbers */
const char *image_fs_name(int fs);

/*
 * The terminal in raw mode, put back on every way out, even if this process is
 * killed.  term_guard() comes first, and before the jail: the guard is a
 * process of its own.
 */
int term_guard(void);
int term_raw(void);
void term_restore(void);

#endif
