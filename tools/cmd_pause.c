/* cmd_pause.c - hutch pause and hutch resume */
#include <stdlib.h>

#include "tool.h"

static int ask_each(int argc, char **argv, const struct verb *verb)
{
	int n = parse_names(argc, argv, verb, NULL, 1, -1), status = 0;
	void *answer;

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	for (int i = 0; i < n; i++) {
		answer = NULL;
		if (client_ask(argv[i], verb->name, &answer) < 0)
			status = EXIT_FAIL;
		free(answer);
	}
	return status;
}

const struct verb verb_pause = {
	.name = "pause",
	.args = "NAME...",
	.summary = "freeze sandboxes, until `hutch resume`",
	.text = "The guest stands still and loses nothing. The exit status is 1 if there is no\n"
		"such sandbox, or it is paused already.",
	.run = ask_each,
};

const struct verb verb_resume = {
	.name = "resume",
	.args = "NAME...",
	.summary = "let paused sandboxes go on",
	.run = ask_each,
};
