/*
 * work.h - what goes into a guest before its command, and comes out after (layer 6)
 *
 * --mount HOST:GUEST copies in, and with rw back out at the end; --code copies
 * one file in and makes the command an interpreter of it.
 */
#ifndef HUTCH_WORK_H
#define HUTCH_WORK_H

#include "transfer.h"
#include "tree.h"

struct work;

struct work_change {
	enum tree_change what;
	char *name;
};

/* NULL after a complaint, and *@ret_status is what to exit with */
struct work *work_read(const struct given *mounts, const struct given *runtime,
		       const struct given *code, char **argv, int *ret_status);
void work_free(struct work *w);
bool work_any(const struct work *w);
/* with code: interpreter, file, and the arguments that were given; else these alone */
char **work_argv(const struct work *w);
/* the code is to be compiled and not run; its arguments are left out: -ENOMEM */
int work_compile(struct work *w);
/* 0, or an exit status after a complaint; @t without its what_for */
int work_in(struct work *w, struct transfer *t);
/* what the command did to the first folder is known from here on, and unless @keep is false it and
 * the others come back.  The limit is of all together; *@ret_over: it was reached */
int work_out(struct work *w, struct transfer *t, bool keep, bool *ret_over);
/* the folder whose changes are told, NULL: none; and they, in order: false if they are not known */
const char *work_folder(const struct work *w);
bool work_changes(const struct work *w, const struct work_change **ret, size_t *ret_n);

#endif
