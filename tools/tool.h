/* tool.h - what the verbs of the command share (layer 6) */
#ifndef HUTCH_TOOL_H
#define HUTCH_TOOL_H

#include "hutch.h"

#define EXIT_USAGE 2
#define EXIT_FAIL  1

/* a flag of one verb; those of the machine come from hutch_key() */
struct flag {
	const char *name, *arg, *help; /* arg NULL: a switch */
};

struct verb {
	const char *name, *args, *summary;
	const char *text;	  /* for the manual: paragraphs, or NULL */
	const struct flag *flags; /* ends with name NULL; may be NULL */
	bool machine;		  /* takes the machine's keys too */
	int (*run)(int argc, char **argv, const struct verb *verb);
};

extern const struct verb *const verbs[]; /* NULL-terminated */
extern const struct verb verb_boot, verb_set, verb_inspect, verb_doctor, verb_help, verb_version;

/* a machine as the command makes it: in the basic jail, unless a file or a flag says else */
struct hutch *machine_new(void);

/* one line on stderr: "hutch: ..." */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * parse() - the flags of @verb, wherever they stand among the arguments
 *
 * Machine keys go to @h (files given with -C first, so that flags win); the
 * verb's own flags go to @value, in the order of its table ("" for a switch
 * that is given, NULL for what is not).  Other arguments are moved to the
 * front of @argv.  Returns how many, -1 after a complaint, or -2 after --help.
 */
int parse(int argc, char **argv, const struct verb *verb, struct hutch *h, const char **value);

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

/*
 * The terminal in raw mode, put back on every way out, even if this process is
 * killed.  term_guard() comes first, and before the jail: the guard is a
 * process of its own.
 */
int term_guard(void);
int term_raw(void);
void term_restore(void);

#endif
