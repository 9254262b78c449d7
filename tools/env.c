/* #syscalls:before openat read close */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "env.h"

struct env {
	char **list;
	unsigned n, size;
};

void env_free(struct env *env)
{
	if (!env)
		return;
	for (unsigned i = 0; i < env->n; i++)
		free(env->list[i]);
	free(env->list);
	free(env);
}

const char *const *env_list(const struct env *env)
{
	return (const char *const *)env->list;
}

/* "NAME=VALUE"; the last of one name counts */
static int put(struct env *env, char *text)
{
	size_t name = strcspn(text, "=");

	for (unsigned i = 0; i < env->n; i++) {
		if (strncmp(env->list[i], text, name + 1))
			continue;
		free(env->list[i]);
		env->list[i] = text;
		return 0;
	}
	if (env->n + 1 >= env->size) {
		unsigned size = env->size ? env->size * 2 : 16;
		char **more = realloc(env->list, size * sizeof(*more));

		if (!more) {
			free(text);
			return -1;
		}
		env->list = more;
		env->size = size;
	}
	env->list[env->n++] = text;
	env->list[env->n] = NULL;
	return 0;
}

/* "NAME=VALUE", or "NAME" with the value that it has here; one we do not have is left out */
static int add(struct env *env, const char *what, const char *text)
{
	size_t name = strcspn(text, "=");
	const char *ours;
	char *copy = NULL;

	if (!name) {
		complain("%s: '%s' has no name; write NAME=VALUE", what, text);
		return -1;
	}
	if (text[name]) {
		copy = strdup(text);
	} else {
		ours = getenv(text);
		if (!ours)
			return 0;
		if (asprintf(&copy, "%s=%s", text, ours) < 0)
			copy = NULL;
	}
	if (copy && !put(env, copy))
		return 0;
	complain("%s: out of memory", what);
	return -1;
}

static int add_file(struct env *env, const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL, what[300];
	size_t size = 0;
	unsigned n = 0;
	ssize_t len;
	int r = 0;

	if (!f) {
		complain("--env-file %s: %s", path, strerror(errno));
		return -1;
	}
	while (!r && (len = getline(&line, &size, f)) >= 0) {
		char *text = line + strspn(line, " \t");

		snprintf(what, sizeof(what), "--env-file %.250s:%u", path, ++n);
		if (strlen(line) != (size_t)len) {
			complain("%s: a NUL byte, which no variable can hold", what);
			r = -1;
			break;
		}
		text[strcspn(text, "\r\n")] = '\0';
		if (*text && *text != '#')
			r = add(env, what, text);
	}
	if (!r && ferror(f)) {
		complain("--env-file %s: %s", path, strerror(errno));
		r = -1;
	}
	free(line);
	fclose(f);
	return r;
}

struct env *env_read(const struct given *vars, const struct given *files, bool tty)
{
	struct env *env = calloc(1, sizeof(*env));
	int r = env ? 0 : -1;

	if (env) /* a list, also if it is empty */
		env->list = calloc(1, sizeof(*env->list));
	if (!r && tty && getenv("TERM"))
		r = add(env, "TERM", "TERM");
	for (unsigned i = 0; !r && i < files->n; i++)
		r = add_file(env, files->all[i]);
	for (unsigned i = 0; !r && i < vars->n; i++)
		r = add(env, "--env", vars->all[i]);
	if (!r && env->list)
		return env;
	env_free(env);
	return NULL;
}
