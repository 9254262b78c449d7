/* hutch.c - the command: a table of verbs */
/* #syscalls write lseek */
/* #syscalls:before openat close */
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

const struct verb *const verbs[] = {
	&verb_boot, &verb_set, &verb_inspect, &verb_doctor, &verb_help, &verb_version, NULL,
};

#define VERBS (sizeof(verbs) / sizeof(verbs[0]) - 1)

void complain(const char *fmt, ...)
{
	char line[2048];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof(line))
		n = sizeof(line) - 1;
	dprintf(STDERR_FILENO, "hutch: %.*s\n", n, line);
}

struct hutch *machine_new(void)
{
	struct hutch *h = hutch_new();

	if (h && hutch_set(h, "jail", "basic")) {
		hutch_free(h);
		h = NULL;
	}
	return h;
}

static int unknown_verb(const char *word)
{
	const char *names[VERBS + 1] = { NULL }, *near;

	for (unsigned i = 0; i < VERBS; i++)
		names[i] = verbs[i]->name;
	near = hutch_nearest(word, names);
	complain("there is no verb '%s'%s%s%s; 'hutch help' lists them", word,
		 near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	return EXIT_USAGE;
}

static int run_version(int argc, char **argv, const struct verb *verb)
{
	(void)argc;
	(void)argv;
	(void)verb;
	puts("hutch " HUTCH_VERSION);
	return 0;
}

const struct verb verb_version = {
	.name = "version",
	.args = "",
	.summary = "print hutch's version",
	.run = run_version,
};

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
	const char *word = argc > 1 ? argv[1] : NULL;

	open_standard_fds();

	if (!word) {
		help_all(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(word, "--version") || !strcmp(word, "-V"))
		word = "version";
	if (!strcmp(word, "--help") || !strcmp(word, "-h"))
		word = "help";
	for (unsigned i = 0; verbs[i]; i++)
		if (!strcmp(word, verbs[i]->name))
			return verbs[i]->run(argc - 2, argv + 2, verbs[i]);
	return unknown_verb(word);
}
