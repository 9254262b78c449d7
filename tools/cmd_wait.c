/* cmd_wait.c - hutch wait: until a sandbox ends */
#include <errno.h>
#include <string.h>

#include "registry.h"
#include "tool.h"

static int wait_for(const char *name)
{
	char reason[128] = "";
	struct box box;
	int code, r = box_open(name, &box);

	if (r)
		return EXIT_FAIL;
	r = box_wait(&box, -1);
	if (!r)
		r = box_exit_code(&box, &code, reason, sizeof(reason));
	if (r == -ENODATA)
		complain("sandbox '%s' was killed, and could not say how it ended", box.name);
	else if (r)
		complain("sandbox '%s' cannot be waited for: %s", box.name, strerror(-r));
	else if (globals.verbose)
		complain("sandbox '%s' ended with %d%s%s", box.name, code, *reason ? ": " : "",
			 reason);
	box_close(&box);
	return r ? EXIT_HUTCH : code;
}

static int run_wait(int argc, char **argv, const struct verb *verb)
{
	int n = parse_names(argc, argv, verb, NULL, 1, 1);

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	return wait_for(argv[0]);
}

const struct verb verb_wait = {
	.name = "wait",
	.args = "NAME",
	.summary = "wait until a sandbox ends, and end with its exit code",
	.text = "The exit code is the sandbox's own: 137 if `hutch kill` or `hutch stop` had to "
		"kill "
		"it, 125 if\n"
		"something else did. It is 1 if there is no such sandbox; -v tells the reason of "
		"the "
		"end.",
	.run = run_wait,
};
