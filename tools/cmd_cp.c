/* cmd_cp.c - hutch cp: files into a sandbox that runs, and out of it */
#include <stdlib.h>
#include <string.h>

#include "transfer.h"

/* "NAME:PATH" names a sandbox; "./a:b" and "/a:b" are files here */
static const char *guest_path(const char *word)
{
	const char *colon = strchr(word, ':'), *slash = strchr(word, '/');

	return colon && colon > word && (!slash || colon < slash) && *word != '.' ? colon + 1
										  : NULL;
}

static int run_cp(int argc, char **argv, const struct verb *verb)
{
	const char *from, *to, *inside;
	int n = parse_names(argc, argv, verb, NULL, 2, 2), r;
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
	r = from ? transfer_get(h, "cp", from, argv[1], -1)
		 : transfer_put(h, "cp", argv[0], to, -1);
	hutch_free(h);
	return r ? EXIT_FAIL : 0;
}

const struct verb verb_cp = {
	.name = "cp",
	.args = "FROM NAME:TO | NAME:FROM TO",
	.summary = "copy files and folders into a sandbox that runs, or out of it",
	.text = "As cp -a does: what is copied goes into TO if that is a folder, else it becomes "
		"TO.\n"
		"\"FROM/.\" is what is in a folder. Nothing that a guest sends leads out of TO: "
		"symbolic\n"
		"links are copied, not followed, and device nodes and set-user-id bits stay "
		"behind.",
	.run = run_cp,
};
