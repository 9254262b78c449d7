/* run.h - what run and check share: one set of flags, one way to read them (layer 6) */
#ifndef HUTCH_RUN_H
#define HUTCH_RUN_H

#include "tool.h"

extern const struct flag run_flags[];
/* verb_check stops where the machine would begin, unless there is code to compile */
int run_or_check(int argc, char **argv, const struct verb *verb);
/* each key of @h with its value and who named it, on stdout */
void print_effective(struct hutch *h);

#endif
