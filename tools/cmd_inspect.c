/* cmd_inspect.c - hutch inspect: a machine's tree, running or described */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine.h"

enum { FLAG_JSON, FLAG_BLOB, FLAGS };

static const struct flag flags[] = {
	[FLAG_JSON] = { .name = "json", .help = "print the tree as one JSON object" },
	[FLAG_BLOB] = { .name = "blob",
			.help = "write the tree itself, a flattened device tree that fdtdump(1) "
				"reads" },
	{ .name = NULL },
};

static int show(void *tree, long size, bool blob)
{
	int r;

	if (blob)
		r = write_all(STDOUT_FILENO, tree, (size_t)size);
	else
		r = hutch_tree_print(tree, (size_t)size, stdout, globals.json);
	if (fflush(stdout))
		r = -1;
	if (r)
		complain("inspect: the tree could not be written");
	free(tree);
	return r ? EXIT_FAIL : 0;
}

static int run_inspect(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { 0 };
	struct hutch *h = hutch_new();
	void *tree = NULL;
	long size;
	int n = parse(argc, argv, verb, h, given), status = EXIT_FAIL;

	if (n < 0)
		status = n == -2 ? 0 : EXIT_USAGE;
	else if (machine_defaults(h, false))
		status = EXIT_FAIL;
	else if (n > 1)
		complain("inspect: one name is taken, '%s' is too many", argv[1]);
	else if (n == 1 && (size = client_ask(argv[0], "inspect", &tree)) >= 0)
		status = show(tree, size, given[FLAG_BLOB].n);
	else if (!n && (size = hutch_tree(h, &tree)) >= 0)
		status = show(tree, size, given[FLAG_BLOB].n);
	else if (!n)
		complain("%s", hutch_error(h));
	hutch_free(h);
	return status;
}

const struct verb verb_inspect = {
	.name = "inspect",
	.args = "[FLAGS] [NAME]",
	.summary =
		"print the tree of a running machine, or of the one that flags and files describe",
	.text = "With NAME, the machine that was started with --name NAME stands still for a\n"
		"moment and tells its configuration and all of its state: processors, interrupt\n"
		"controllers, devices. Without, nothing is started: the tree is what `hutch\n"
		"boot` with these flags would make.",
	.flags = flags,
	.machine = true,
	.box = true,
	.run = run_inspect,
};
