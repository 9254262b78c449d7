/* cmd_cp.c - hutch cp: files into a sandbox that runs, and out of it */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transfer.h"

#define COPY_MAX "1G"

enum { FLAG_COPY_MAX, FLAGS };

static const struct flag flags[] = {
	[FLAG_COPY_MAX] = { .name = "copy-max",
			    .arg = "SIZE",
			    .help = "most that is taken out of the sandbox, and no file is longer; "
				    "a name counts 4K, and 0 is no limit [" COPY_MAX "]" },
	{ .name = NULL },
};

/* "NAME:PATH" names a sandbox; "./a:b" and "/a:b" are files here */
static const char *guest_path(const char *word)
{
	const char *colon = strchr(word, ':'), *slash = strchr(word, '/');

	return colon && colon > word && (!slash || colon < slash) && *word != '.' ? colon + 1
										  : NULL;
}

static int copy_out(struct hutch *h, const char *from, const char *to, const struct given *most)
{
	struct transfer t = { .h = h, .what_for = "cp", .wake = -1 };

	if (hutch_set(h, "copy-max", most->n ? most->text : COPY_MAX)) {
		complain("%s", hutch_error(h));
		return EXIT_USAGE;
	}
	if (transfer_limit(&t))
		return EXIT_HUTCH;
	switch (transfer_get(&t, from, to)) {
	case 0:
		return 0;
	case -EFBIG:
		return EXIT_HUTCH;
	default:
		return EXIT_FAIL;
	}
}

static int copy_in(struct hutch *h, const char *from, const char *to)
{
	struct transfer t = { .h = h, .what_for = "cp", .wake = -1 };

	return transfer_put(&t, from, to) ? EXIT_FAIL : 0;
}

static int run_cp(int argc, char **argv, const struct verb *verb)
{
	const char *from, *to, *inside;
	struct given given[FLAGS] = { 0 };
	int n = parse_names(argc, argv, verb, given, 2, 2), status;
	struct hutch *h;
	char name[256];

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	from = guest_path(argv[0]);
	to = guest_path(argv[1]);
	if (!from == !to) {
		complain("cp: %s; one of the two is in a sandbox, as in hutch cp file box:/tmp",
			 from ? "both are in a sandbox" : "neither is in a sandbox");
		return EXIT_USAGE;
	}
	inside = from ? argv[0] : argv[1];
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(inside, ":"), inside);
	h = sandbox_handle(name);
	if (!h)
		return EXIT_FAIL;
	if (from)
		status = copy_out(h, from, argv[1], &given[FLAG_COPY_MAX]);
	else
		status = copy_in(h, argv[0], to);
	hutch_free(h);
	return status;
}

const struct verb verb_cp = {
	.name = "cp",
	.args = "[FLAGS] FROM NAME:TO | NAME:FROM TO",
	.summary = "copy files and folders into a sandbox that runs, or out of it",
	.text = "As cp -a does: what is copied goes into TO if that is a folder, else it becomes\n"
		"TO. \"FROM/.\" is what is in a folder. Nothing that a guest sends leads out of\n"
		"TO: symbolic links are copied, not followed, and device nodes and set-user-id\n"
		"bits stay behind.",
	.flags = flags,
	.run = run_cp,
};
