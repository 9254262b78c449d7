/* tool.h - what the verbs of the command share (layer 6) */
#ifndef HUTCH_TOOL_H
#define HUTCH_TOOL_H

#include "hutch.h"

#define EXIT_USAGE 2
#define EXIT_FAIL  1

/* a flag of one verb; those of the machine come from hutch_key() */
struct flag {
	const char *name, *arg, *help; /* arg NULL: a switch; "[...]": may be left out */
	char letter;		       /* 'e' for "-e" as well, 0 for none */
	bool many;		       /* may be repeated, and each value counts */
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
} globals;
extern const struct flag global_flags[];

struct verb {
	const char *name, *args, *summary;
	const char *text;	  /* for the manual: paragraphs, or NULL */
	const struct flag *flags; /* ends with name NULL; may be NULL */
	bool machine;		  /* takes the machine's keys too */
	bool command;		  /* what stands behind "--" is a command */
	int (*run)(int argc, char **argv, const struct verb *verb);
};

extern const struct verb *const verbs[]; /* NULL-terminated */
extern const struct verb verb_boot, verb_set, verb_inspect, verb_doctor, verb_help, verb_version;

/* one line on stderr: "hutch: ..." */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * parse() - the flags of @verb, wherever they stand among the arguments before "--"
 *
 * Machine keys go to @h (files given with -C first, so that flags win), flags
 * of every verb to globals, and the verb's own to @given, in the order of its
 * table, which the caller has zeroed.  "-it", "-w DIR", "-wDIR", "--workdir=DIR"
 * are all understood.  Other arguments are moved to the front of @argv, which
 * ends with NULL; behind them follows the command of a verb that takes one, up
 * to NULL.  Returns how many there are in front, -1 after a complaint, or -2
 * after --help.
 */
int parse(int argc, char **argv, const struct verb *verb, struct hutch *h, struct given *given);
/* how many words of @argv are flags of every verb and stand before the verb, -1 after a complaint
 */
int leading_flags(int argc, char **argv);
/* 'm' for "memory", 0 for a key without a letter */
char key_letter(const char *key);

void help_verb(const struct verb *verb, FILE *out);
void help_all(FILE *out);

/* the guest that is used when none is named: HUTCH_KERNEL, or what `make guest` prepared: -ENOENT
 */
int guest_kernel(char *buf, size_t size);
int guest_initrd(char *buf, size_t size);

/* where machines that have a name are found: -ENAMETOOLONG */
int rundir_path(const char *name, const char *file, char *buf, size_t size);
/* make the folder of a machine and hold it: a descriptor, or -errno after a complaint */
int rundir_make(const char *name);
void rundir_remove(const char *name, int fd);

/* a request to a running machine: its answer to free(), and size; -1 after a complaint */
long client_ask(const char *name, const char *request, void **ret);

/* terminal in raw mode, put back on every way out, even if this process is killed */
int term_raw(void);
void term_restore(void);

#endif
