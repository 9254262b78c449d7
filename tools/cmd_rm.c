/* cmd_rm.c - hutch rm and hutch gc: what is left of sandboxes that have ended */
#include <errno.h>
#include <string.h>

#include "registry.h"
#include "tool.h"

enum { FLAG_FORCE, FLAGS };

static const struct flag flags[] = {
	[FLAG_FORCE] = { .name = "force", .letter = 'f', .help = "kill those that run, first" },
	{ .name = NULL },
};

static int remove_one(const char *name, bool force)
{
	struct box box;
	int r;

	if (box_open(name, &box))
		return EXIT_FAIL;
	if (box.alive && !force && box.status != BOX_EXITED) {
		complain("sandbox '%s' runs; 'hutch stop %s' ends it, 'hutch rm -f %s' kills and "
			 "removes it",
			 box.name, box.name, box.name);
		r = EXIT_FAIL;
	} else if (box.alive && box.status != BOX_EXITED) {
		r = box_kill(&box, "killed by hutch rm") ? EXIT_HUTCH : 0;
	} else {
		box_wait(&box, -1); /* it has said "exited": its process is gone at any moment */
		r = box_remove(&box);
		if (r)
			complain("sandbox '%s' cannot be removed: %s", box.name, strerror(-r));
		r = r ? EXIT_HUTCH : 0;
	}
	box_close(&box);
	return r;
}

static int run_rm(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { 0 };
	int n = parse_names(argc, argv, verb, given, 1, -1), status = 0, r;

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	for (int i = 0; i < n; i++) {
		r = remove_one(argv[i], given[FLAG_FORCE].n);
		status = r > status ? r : status;
	}
	return status;
}

const struct verb verb_rm = {
	.name = "rm",
	.args = "[FLAGS] NAME...",
	.summary = "remove what is kept of sandboxes that have ended",
	.flags = flags,
	.run = run_rm,
};

static unsigned swept;

static void tell_swept(const char *name)
{
	swept++;
	if (!globals.quiet)
		printf("%s\n", name);
}

static int look(struct box *box, void *arg)
{
	(void)box;
	(void)arg;
	return 0;
}

static int run_gc(int argc, char **argv, const struct verb *verb)
{
	int n = parse_names(argc, argv, verb, NULL, 0, 0);

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (box_each_swept(look, tell_swept, NULL))
		return EXIT_HUTCH;
	if (!swept && globals.verbose)
		complain("there was nothing to sweep");
	return 0;
}

const struct verb verb_gc = {
	.name = "gc",
	.args = "",
	.summary = "sweep what killed sandboxes have left behind, and print their names",
	.text = "Every verb that meets such remains sweeps them as well; sandboxes that are kept "
		"as "
		"\"exited\"\n"
		"stay.",
	.run = run_gc,
};
