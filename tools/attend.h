/* attend.h - a machine with its console on this terminal, until it ends (layer 6) */
#ifndef HUTCH_ATTEND_H
#define HUTCH_ATTEND_H

#include "restore.h"
#include "tool.h"

struct attend {
	char command[256]; /* what `hutch ps` shows of it */
	bool keep;	   /* it stays in the registry once it has ended */
	bool timing;
	double exec_us;	   /* processor time this process used before main(); 0: it is a fork */
	uint64_t began_ns; /* when its verb began, or the fork */
	int ready;	   /* of detach(), or -1 */
	const char *(*started)(
		struct hutch *h);	/* it runs: NULL, or why it is to end; may be NULL */
	char restored[RESTORE_MEMBERS]; /* of its event; "": it booted */
};

/* first of all in a verb, or where it forks: what is told of how long things took */
void attend_begin(struct attend *how, bool forks);

/* frees @h, whose keys are all set: the exit status */
int attend(struct hutch *h, const struct attend *how);

#endif
