/* hutch.c - the command: finds the verb and runs it */
/* #syscalls:before openat close */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

#define NAMES_MAX 64

static int unknown_verb(const char *word)
{
	const char *names[NAMES_MAX + 1] = { NULL }, *near;

	for (unsigned i = 0; i < NAMES_MAX && verbs[i]; i++)
		names[i] = verbs[i]->name;
	near = hutch_nearest(word, names);
	complain("there is no verb '%s'%s%s%s; 'hutch help' lists them", word,
		 near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	return EXIT_USAGE;
}

/* a caller may have closed them: a kernel's image must not become our stdin */
static void open_standard_fds(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	static const struct verb none = { .name = "hutch", .args = "" };
	static char help[] = "help", version[] = "version";
	const char *word;
	int flags;

	open_standard_fds();
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
	for (unsigned i = 0; verbs[i]; i++) {
		int status;

		if (strcmp(argv[1], verbs[i]->name))
			continue;
		status = verbs[i]->run(argc - 2, argv + 2, verbs[i]);
		return globals.failed ? EXIT_HUTCH : status;
	}
	/* where that is to be said may stand before it */
	word = argv[1];
	if (parse(flags, argv + 2, &none, NULL, NULL) < 0)
		return globals.failed ? EXIT_HUTCH : EXIT_USAGE;
	return unknown_verb(word);
}
