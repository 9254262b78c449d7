/*
 * hutch.h - microVMs inside your program (libhutch)
 *
 *	struct hutch *h = hutch_new();
 *
 *	if (hutch_set(h, "kernel", "vmlinuz") || hutch_set(h, "memory", "256M") ||
 *	    hutch_start(h) || hutch_wait(h, -1, &result))
 *		fprintf(stderr, "%s\n", hutch_error(h));
 *	hutch_free(h);
 *
 * Functions return 0 or a negative errno; hutch_error() then has the sentence
 * for a person.  A handle is used by one thread at a time; any number of
 * handles live side by side.  The library never calls exit(), prints only
 * warnings on stderr, and uses the signal SIGRTMIN with an empty handler.
 *
 * The key "jail" is none by default, because another value is about your whole
 * process and cannot be taken back.  With basic, hutch_start() gives up, once
 * all is open and before the guest runs: capabilities (of the thread that calls
 * it and those that come after it), new privileges by execve(), core files, and
 * every system call that neither a running machine nor hutch_free() needs, in
 * all threads.  Opening a file fails with EPERM from then on, a second
 * hutch_start() with -EBUSY; most else ends the process with status 125 and a
 * line on stderr that names the call (SIGSYS is used for that).  So make it the
 * last thing your process starts, or let it be a process of its own.
 */
#ifndef HUTCH_H
#define HUTCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define HUTCH_VERSION "0.1.0"

struct hutch;

struct hutch *hutch_new(void);	  /* NULL: out of memory */
void hutch_free(struct hutch *h); /* ends the machine if it runs; NULL is fine */
const char *hutch_error(const struct hutch *h);

/* set one key (see hutch_key()), as on the command line without the dashes; a list appends,
 * and "vsock@0.path" is one value of what is in it already.
 * "disk@0.iops" is one of the first disk, "disk@0" several ("iops=100,bw=1M").  Of a running
 * machine only some keys can be changed, those that hutch_key() calls live. */
int hutch_set(struct hutch *h, const char *key, const char *value);
/* the value of a key that is not a list, or of one element ("vsock@0.path"), as text: -EINVAL,
 * -E2BIG */
int hutch_get(struct hutch *h, const char *key, char *buf, size_t size);
/* merge a YAML or JSON file */
int hutch_load(struct hutch *h, const char *path);
/* empty a list, so that the next hutch_set() replaces what a file gave */
int hutch_clear(struct hutch *h, const char *key);

/* the keys there are, in order: -ENOENT past the last */
struct hutch_key {
	const char *name, *arg, *dflt,
		*help;	 /* arg NULL: a switch; dflt NULL: none; "[...]": may be left out */
	bool list, many; /* a list; one that takes more than one */
	bool live;	 /* can be changed while the machine runs */
};
int hutch_key(unsigned i, struct hutch_key *ret);
/* the keys within key @i, where it has some ("format" of "disk"), in order */
int hutch_subkey(unsigned i, unsigned k, struct hutch_key *ret);

/* which of @names (NULL-terminated) was meant by @word? NULL if none is close */
const char *hutch_nearest(const char *word, const char *const *names);

/* make the machine and let it run; -EINVAL: what the keys ask for makes no sense, on any host */
int hutch_start(struct hutch *h);

enum hutch_end {
	HUTCH_POWEROFF = 1,
	HUTCH_REBOOT,
	HUTCH_PANIC,
	HUTCH_TRIPLE_FAULT,
	HUTCH_ERROR,   /* of the host or of KVM */
	HUTCH_STOPPED, /* by hutch_stop() or hutch_free() */
};

struct hutch_result {
	enum hutch_end end;
	char text[512];		  /* what happened, as a sentence */
	uint64_t console_dropped; /* bytes of output that no reader took */
	unsigned resets;
};

/* wait for the machine's end: -ETIMEDOUT after @timeout_ms (-1: none) */
int hutch_wait(struct hutch *h, int timeout_ms, struct hutch_result *ret);
/* readable once the machine has ended; for poll(2), not to be read or closed */
int hutch_event_fd(const struct hutch *h);

int hutch_pause(struct hutch *h);
int hutch_resume(struct hutch *h);
int hutch_stop(struct hutch *h); /* at once, without asking the guest */

/*
 * hutch_tree() - the machine as a flattened device tree: what is configured,
 * and once started its state.  Returns its size and *@ret to free(), or -errno.
 */
int hutch_tree(struct hutch *h, void **ret);
/* print such a tree, from wherever it came: -EINVAL if it is none */
int hutch_tree_print(const void *tree, size_t size, FILE *out, bool json);

/* how long each phase of hutch_start() took: -ENOENT past the last */
struct hutch_phase {
	const char *name;
	double us;
};
int hutch_timing(const struct hutch *h, unsigned i, struct hutch_phase *ret);

/* what this host can do for hutch, one fact at a time: -ENOENT past the last */
struct hutch_fact {
	const char *name;
	enum {
		HUTCH_OK,
		HUTCH_MISSING,
		HUTCH_BROKEN
	} state; /* nice to have, or nothing runs without */
	char text[256];
	const char *fix; /* how to get it, NULL if there is nothing to do */
};
int hutch_fact(unsigned i, struct hutch_fact *ret);

#endif
