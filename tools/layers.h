/*
 * layers.h - what a machine's keys are merged from, before flags (layer 6)
 *
 * From the lowest: built-in, the level (policy.c), templates, /etc/hutch/hutch.yaml,
 * the caller's own hutch.yaml, that of the working folder, each --config, the
 * environment, and above them all the flags.  Verbs without `layers` have no
 * files but those that are named, and no environment.
 */
#ifndef HUTCH_LAYERS_H
#define HUTCH_LAYERS_H

#include "tool.h"

/* what the command line names of them */
struct layers {
	struct hutch_file *file; /* room for as many as there are arguments */
	unsigned n;
	bool bare; /* --no-config */
};

/* -1 after a complaint; @what is a file, or the name of a template */
int layers_template(struct layers *l, const char *what);
int layers_config(struct layers *l, const char *path);
/* all files, and the environment, into @h: -1 after a complaint */
int layers_load(const struct layers *l, const struct verb *verb, struct hutch *h);

void layers_free(struct layers *l);

/* the manual's text of it all */
extern const char layers_manual[];

#endif
