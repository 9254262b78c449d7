/* external.h - verbs that are programs of their own, and other names of verbs (layer 6) */
#ifndef HUTCH_EXTERNAL_H
#define HUTCH_EXTERNAL_H

#include <stdio.h>

struct alias {
	const char *name, *verb;
	const char *flag; /* that it implies, or NULL */
};

extern const struct alias aliases[]; /* ends with name NULL */

/* NULL: there is none of that name */
const struct alias *alias_find(const char *name);

/*
 * external_run() - become hutch-NAME, if there is one on PATH: -ENOENT
 *
 * @argv has NAME and what follows it, up to NULL.  --root among the @flags words behind NAME, which
 * stood before it, goes on as HUTCH_ROOT; a program that hutch does not know need not know the
 * flag. Returns the exit status after a complaint.
 */
int external_run(char **argv, int flags);
/* "  NAME" for each that is on PATH and no verb hides, sorted; @head goes in front if there are any
 */
void external_list(FILE *out, const char *head);

#endif
