/* hutch.c - the command: finds the verb and runs it */
/* #syscalls:before openat fcntl */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "external.h"
#include "tool.h"

#define NAMES_MAX 64

static int unknown_verb(const char *word)
{
	const char *names[NAMES_MAX + 1] = { NULL }, *near;
	unsigned n = 0;

	for (unsigned i = 0; n < NAMES_MAX && verbs[i]; i++)
		names[n++] = verbs[i]->name;
	for (unsigned i = 0; n < NAMES_MAX && aliases[i].name; i++)
		names[n++] = aliases[i].name;
	near = hutch_nearest(word, names);
	complain("there is no verb '%s'%s%s%s; 'hutch help' lists them", word,
		 near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	return EXIT_USAGE;
}

static const struct verb *find_verb(const char *name)
{
	for (unsigned i = 0; verbs[i]; i++)
		if (!strcmp(name, verbs[i]->name))
			return verbs[i];
	return NULL;
}

/* @argv has what follows the verb; a flag that the alias implies goes in front of it */
static int run_alias(const struct alias *a, int argc, char **argv)
{
	char **all = calloc((size_t)argc + 2, sizeof(*all));
	const struct verb *verb = find_verb(a->verb);
	unsigned n = 0;
	char flag[16];
	int status;

	if (!all || !verb) {
		complain("out of memory");
		free(all);
		return EXIT_HUTCH;
	}
	snprintf(flag, sizeof(flag), "%s", a->flag ? a->flag : "");
	if (a->flag)
		all[n++] = flag;
	memcpy(all + n, argv, (size_t)argc * sizeof(*argv));
	status = verb->run(argc + (int)n, all, verb);
	free(all);
	return status;
}

/*
 * A caller may have closed them: a kernel's image must not become our stdin.  Each is opened the
 * wrong way round, so that who reads or writes it gets EBADF all the same.
 */
static bool hold_standard_fds(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			return false;
	return true;
}

/* what was to be said was said, or it is no success */
static int finish(int status)
{
	if (globals.failed)
		status = EXIT_HUTCH;
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	complain("stdout: %s", errno == EBADF ? "it is closed" : strerror(errno));
	return status ? status : EXIT_HUTCH;
}

int main(int argc, char **argv)
{
	static const struct verb none = { .name = "hutch", .args = "" };
	static char help[] = "help", version[] = "version";
	const struct alias *alias;
	const struct verb *verb;
	const char *word;
	int flags, status;

	/* malloc would raise it to what is freed, and then keep that, and each fork of it a copy */
	mallopt(M_MMAP_THRESHOLD, 128 << 10);
	if (!hold_standard_fds())
		return EXIT_HUTCH;
	if (argc < 2) {
		help_all(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))
		argv[1] = version;
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		argv[1] = help;
	flags = verb_first(argc - 1, argv + 1);
	if (flags < 0)
		return EXIT_USAGE;
	verb = find_verb(argv[1]);
	if (verb)
		return finish(verb->run(argc - 2, argv + 2, verb));
	alias = alias_find(argv[1]);
	if (alias)
		return finish(run_alias(alias, argc - 2, argv + 2));
	word = argv[1];
	status = external_run(argv + 1, flags);
	if (status != -ENOENT)
		return status;
	/* where that is to be said may stand before it */
	if (parse(flags, argv + 2, &none, NULL, NULL) < 0)
		return globals.failed ? EXIT_HUTCH : EXIT_USAGE;
	return unknown_verb(word);
}
