/* env.h - the environment of a command, from flags and files (layer 6) */
#ifndef HUTCH_ENV_H
#define HUTCH_ENV_H

#include "tool.h"

struct env;

/* NULL after a complaint; with @tty TERM is ours unless it is given */
struct env *env_read(const struct given *vars, const struct given *files, bool tty);
const char *const *env_list(const struct env *env); /* NULL-terminated */
void env_free(struct env *env);

#endif
