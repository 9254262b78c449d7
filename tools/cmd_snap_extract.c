/* cmd_snap_extract.c - hutch snap extract: files out of a snapshot */
#include "snap_guest.h"
#include "transfer.h"

enum { FLAG_DISK, FLAG_NET, FLAG_COPY_MAX, FLAGS };

static const struct flag flags[] = {
	[FLAG_DISK] = FLAG_SNAP_DISK,
	[FLAG_NET] = FLAG_SNAP_NET,
	[FLAG_COPY_MAX] = { .name = "copy-max",
			    .arg = "SIZE",
			    .help = "most that is taken out, as in `hutch cp` [" SNAP_COPY_MAX
				    "]" },
	{ .name = NULL },
};

struct wanted {
	char *const *path; /* in the guest, and the last one is here */
	int n;
	const char *most;
};

static int copy(struct hutch *h, void *arg)
{
	const struct wanted *w = arg;
	struct transfer t = { .h = h, .what_for = "extract", .wake = -1 };
	int r = 0;

	if (hutch_set(h, "copy-max", w->most)) {
		complain("%s", hutch_error(h));
		return -1;
	}
	if (transfer_limit(&t))
		return -1;
	for (int i = 0; !r && i < w->n - 1; i++)
		r = transfer_get(&t, w->path[i], w->path[w->n - 1]);
	return r;
}

static int run_extract(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { 0 };
	int n = parse_names(argc, argv, verb, given, 3, -1);
	struct wanted w = { argv + 1, n - 1, SNAP_COPY_MAX };

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (given[FLAG_COPY_MAX].n)
		w.most = given[FLAG_COPY_MAX].text;
	return snap_guest(argv[0], &given[FLAG_DISK], &given[FLAG_NET], copy, &w) ? EXIT_FAIL : 0;
}

const struct verb verb_snap_extract = {
	.name = "snap extract",
	.args = "[FLAGS] SNAPSHOT GUEST-PATH... PATH",
	.summary = "copy files out of a snapshot",
	.text = "A machine is restored for that and is gone when it is done; so it needs what\n"
		"`hutch restore` needs, and the snapshot one of a sandbox. What is copied becomes\n"
		"PATH, or goes into it if that is a folder, as `hutch cp` has it. `hutch "
		"rollback`\n"
		"puts files into a sandbox that runs.",
	.flags = flags,
	.run = run_extract,
};
