/* cmd_set.c - hutch set: change a running machine */
#include <stdlib.h>
#include <string.h>

#include "tool.h"

static int set(const char *name, char *word)
{
	char request[1024], *eq = strchr(word, '=');
	void *answer = NULL;

	if (!eq) {
		complain("set: '%s' is not KEY=VALUE, as in balloon=128M or disk@0.iops=500", word);
		return EXIT_USAGE;
	}
	*eq = '\0';
	if (snprintf(request, sizeof(request), "set %s %s", word, eq + 1) >= (int)sizeof(request)) {
		complain("set: %s: the value is too long", word);
		return EXIT_USAGE;
	}
	if (client_ask(name, request, &answer) < 0)
		return EXIT_FAIL;
	free(answer);
	return 0;
}

static int run_set(int argc, char **argv, const struct verb *verb)
{
	int n = parse(argc, argv, verb, NULL, NULL), status = 0;

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (n < 2) {
		complain("set: a name and what to change are needed: hutch set NAME KEY=VALUE...");
		return EXIT_USAGE;
	}
	for (int i = 1; !status && i < n; i++)
		status = set(argv[0], argv[i]);
	return status;
}

const struct verb verb_set = {
	.name = "set",
	.args = "NAME KEY=VALUE...",
	.summary = "change a running machine",
	.text = "What can be changed is marked (live) in `hutch help boot`: balloon.size=128M,\n"
		"net@N.link=no, console-size=100x30, and limits: cpu-percent=20,\n"
		"disk@N.iops=500, or several at once, disk@N=iops=500,bw=10M (0: none any more).\n"
		"N counts the flags from 0.",
	.run = run_set,
};
