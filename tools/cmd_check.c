/* cmd_check.c - hutch check: would it run, and with what? */
#include <string.h>

#include "archive.h"
#include "run.h"

/* a file that is somebody else's may give a value that a terminal would obey, or that looks like
 * more rows */
static void print_row(const char *key, const char *value, const char *from)
{
	char shown[4 * 4096];

	archive_clean(shown, sizeof(shown), value, strlen(value));
	printf("%-24s %-24s %s\n", key, *shown ? shown : "-", from ? from : "built-in");
}

static void row(struct hutch *h, const char *key, const char *value)
{
	print_row(key, value, hutch_origin(h, key));
}

/* one value of an element of a list, if there is such an element: "disk@0.path" */
static bool sub_row(struct hutch *h, const char *list, unsigned i, const char *sub)
{
	char key[64], value[4096];

	snprintf(key, sizeof(key), "%s@%u.%s", list, i, sub);
	if (hutch_get(h, key, value, sizeof(value)))
		return false;
	print_row(key, value, hutch_origin(h, list));
	return true;
}

static void list_rows(struct hutch *h, unsigned nth, const char *list)
{
	struct hutch_key sub;
	bool any = true;

	for (unsigned i = 0; any; i++) {
		/* a list whose elements are a path and nothing else has no keys to tell */
		any = hutch_subkey(nth, 0, &sub) && sub_row(h, list, i, "path");
		for (unsigned k = 0; !hutch_subkey(nth, k, &sub); k++)
			any |= sub_row(h, list, i, sub.name);
		if (!any && !i)
			row(h, list, "");
	}
}

void print_effective(struct hutch *h)
{
	struct hutch_key key;
	char value[4096];

	for (unsigned i = 0; !hutch_key(i, &key); i++) {
		if (key.file)
			continue;
		if (key.list)
			list_rows(h, i, key.name);
		else if (!hutch_get(h, key.name, value, sizeof(value)))
			row(h, key.name, value);
	}
}

const struct verb verb_check = {
	.name = "check",
	.args = "[FLAGS] [-- COMMAND [ARGUMENTS]]",
	.summary = "tell whether `hutch run` would take the same flags, and run nothing",
	.text = "Files, flags and policies are read and checked, and nothing is printed if they\n"
		"are good. The exit status is 2 for what makes no sense, and 125 for what a\n"
		"policy forbids or this host cannot do. With --code the code is compiled in a\n"
		"guest of its own and not run: 0 if it is valid, 1 and what its interpreter says\n"
		"if not, 127 if the guest has no such interpreter. With --effective each key is\n"
		"printed with its value and who gave it: FILE:LINE, HUTCH_KEY of the\n"
		"environment, a flag, the level, or built-in.",
	.flags = run_flags,
	.machine = true,
	.box = true,
	.layers = true,
	.command = true,
	.run = run_or_check,
};
