/* cmd_rm.c - hutch rm and hutch gc: what is left of sandboxes that have ended */
#include <errno.h>
#include <string.h>

#include "registry.h"
#include "tool.h"

enum { FLAG_FORCE, FLAG_ALL, FLAGS };

static const struct flag flags[] = {
	[FLAG_FORCE] = { .name = "force", .letter = 'f', .help = "kill those that run, first" },
	[FLAG_ALL] = { .name = "all",
		       .letter = 'a',
		       .help = "all that have ended; with -f all there are" },
	{ .name = NULL },
};

static int remove_box(struct box *box, bool force)
{
	int r;

	if (box->alive && !force && box->status != BOX_EXITED) {
		complain("sandbox '%s' runs; 'hutch stop %s' ends it, 'hutch rm -f %s' kills and "
			 "removes it",
			 box->name, box->name, box->name);
		return EXIT_FAIL;
	}
	if (box->alive && box->status != BOX_EXITED)
		return box_kill(box, "killed by hutch rm") ? EXIT_HUTCH : 0;
	box_wait(box, -1); /* it has said "exited": its process is gone at any moment */
	r = box_remove(box);
	if (r)
		complain("sandbox '%s' cannot be removed: %s", box->name, strerror(-r));
	return r ? EXIT_HUTCH : 0;
}

static int remove_one(const char *name, bool force)
{
	struct box box;
	int r;

	if (box_open(name, &box))
		return EXIT_FAIL;
	r = remove_box(&box, force);
	box_close(&box);
	return r;
}

struct all {
	bool force;
	int status;
};

static int remove_any(struct box *box, void *arg)
{
	struct all *all = arg;
	int r;

	if (!all->force && box->status != BOX_EXITED)
		return 0;
	r = remove_box(box, all->force);
	all->status = r > all->status ? r : all->status;
	if (!r && !globals.quiet)
		puts(box->name);
	return 0;
}

static int remove_all(bool force)
{
	struct all all = { .force = force };

	return box_each(remove_any, &all) ? EXIT_HUTCH : all.status;
}

static int run_rm(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { 0 };
	int n = parse_names(argc, argv, verb, given, 0, -1), status = 0, r;

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (!n == !given[FLAG_ALL].n) {
		complain("rm: either names or --all: hutch rm NAME..., hutch rm --all");
		return EXIT_USAGE;
	}
	if (given[FLAG_ALL].n)
		return remove_all(given[FLAG_FORCE].n);
	for (int i = 0; i < n; i++) {
		r = remove_one(argv[i], given[FLAG_FORCE].n);
		status = r > status ? r : status;
	}
	return status;
}

const struct verb verb_rm = {
	.name = "rm",
	.args = "[FLAGS] [NAME...]",
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
	.text = "Every verb that meets such remains sweeps them as well; sandboxes that are kept\n"
		"as \"exited\" stay.",
	.run = run_gc,
};
