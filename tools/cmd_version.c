/* cmd_version.c - hutch version */
#include "tool.h"

static int run_version(int argc, char **argv, const struct verb *verb)
{
	int n = parse(argc, argv, verb, NULL, NULL);

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (n) {
		complain("version: '%s' is too much", argv[0]);
		return EXIT_USAGE;
	}
	puts(globals.json ? "{\"name\":\"hutch\",\"version\":\"" HUTCH_VERSION "\"}"
			  : "hutch " HUTCH_VERSION);
	return 0;
}

const struct verb verb_version = {
	.name = "version",
	.args = "",
	.summary = "print hutch's version",
	.run = run_version,
};
