/* cmd_wait.c - hutch wait: until a sandbox ends */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "registry.h"
#include "tool.h"

/* the code it ended with, in *@ret; else an exit status after a complaint */
static int wait_for(struct box *box, int *ret)
{
	char reason[128] = "";
	int r = box_wait(box, -1);

	if (!r)
		r = box_exit_code(box, ret, reason, sizeof(reason));
	if (r == -ENODATA)
		complain("sandbox '%s' was killed, and could not say how it ended", box->name);
	else if (r)
		complain("sandbox '%s' cannot be waited for: %s", box->name, strerror(-r));
	else if (globals.verbose)
		complain("sandbox '%s' ended with %d%s%s", box->name, *ret, *reason ? ": " : "",
			 reason);
	return r ? EXIT_HUTCH : 0;
}

/* all are there before one is waited for: who ends meanwhile and is not kept is still known */
static int open_all(struct box *box, int n, char **names)
{
	int status = 0;

	for (int i = 0; i < n; i++)
		box[i].root = box[i].dir = box[i].lock = -1;
	for (int i = 0; i < n; i++)
		if (box_open(names[i], &box[i]))
			status = EXIT_FAIL;
	return status;
}

static int wait_all(struct box *box, int n)
{
	int status = 0, code, r;

	for (int i = 0; i < n; i++) {
		r = wait_for(&box[i], &code);
		if (!r && n > 1 && !globals.quiet) {
			printf("%s %d\n", box[i].name, code);
			fflush(stdout);
		}
		if (!status)
			status = r ? r : code;
	}
	return status;
}

static int run_wait(int argc, char **argv, const struct verb *verb)
{
	int n = parse_names(argc, argv, verb, NULL, 1, -1), status;
	struct box *box;

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	box = calloc((size_t)n, sizeof(*box));
	if (!box) {
		complain("out of memory");
		return EXIT_HUTCH;
	}
	status = open_all(box, n, argv);
	if (!status)
		status = wait_all(box, n);
	for (int i = 0; i < n; i++)
		box_close(&box[i]);
	free(box);
	return status;
}

const struct verb verb_wait = {
	.name = "wait",
	.args = "NAME...",
	.summary = "wait until sandboxes end, and end with their exit code",
	.text = "The exit code is the sandbox's own: 137 if `hutch kill` or `hutch stop` had to\n"
		"kill it, 125 if something else did. It is 1 if there is no such sandbox; -v\n"
		"tells the reason of the end. Of several, \"NAME CODE\" is printed of each in\n"
		"the order they are named, and the exit code is the first that is not 0; if one\n"
		"of them is not there, none is waited for.",
	.run = run_wait,
};
