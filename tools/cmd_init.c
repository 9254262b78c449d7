/* cmd_init.c - hutch init: a configuration to begin with, out of the table that reads it */
/* #syscalls:before openat fcntl */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "json.h"
#include "tool.h"

enum { FLAG_FORCE, FLAGS };

static const struct flag flags[] = {
	[FLAG_FORCE] = { .name = "force", .help = "write over a file that is there" },
	{ .name = NULL },
};

/* what YAML could take for something else goes into quotes */
static void value(FILE *out, const struct hutch_key *key)
{
	const char *text = key->dflt ? key->dflt : key->arg ? "" : "no";
	bool plain = *text;

	for (const char *c = text; *c; c++)
		plain = plain && isalnum((unsigned char)*c);
	fputc(' ', out);
	if (plain)
		fputs(text, out);
	else if (*text)
		json_text(out, text);
	else
		fputs("null", out);
	if (key->arg && !key->dflt)
		fprintf(out, "  # %s", key->arg);
	fputc('\n', out);
}

/* an element of a list, with all that can be said of it */
static void element(FILE *out, unsigned nth)
{
	struct hutch_key sub;
	const char *mark = "- ";

	if (hutch_subkey(nth, 0, &sub)) {
		fputs("#  - FILE\n", out);
		return;
	}
	for (unsigned k = 0; !hutch_subkey(nth, k, &sub); k++) {
		fprintf(out, "#  %s# %s\n#    %s:", k ? "  " : mark, sub.help, sub.name);
		value(out, &sub);
	}
}

static void write_key(FILE *out, unsigned nth, const struct hutch_key *key)
{
	fprintf(out, "\n# %s%s\n#%s:", key->help, key->many ? " (a list)" : "", key->name);
	if (!key->list) {
		value(out, key);
		return;
	}
	fputc('\n', out);
	element(out, nth);
}

static void write_keys(FILE *out)
{
	struct hutch_key key;

	fputs("# What hutch can be told, each key with its default. Take the # away before what "
	      "you change, and\n"
	      "# run hutch from its folder, or name this file with --config. A flag of the same "
	      "name wins over it;\n"
	      "# `hutch check --effective` tells what holds in the end, and why.\n",
	      out);
	for (unsigned i = 0; !hutch_key(i, &key); i++)
		write_key(out, i, &key);
}

static int run_init(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { 0 };
	int n = parse_names(argc, argv, verb, given, 0, 1), fd;
	const char *path = n > 0 ? argv[0] : "hutch.yaml";
	FILE *out;

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (given[FLAG_FORCE].n ? O_TRUNC : O_EXCL),
		  0666);
	if (fd < 0 && errno == EEXIST) {
		complain("init: %s is there already; name another file, or write over it with "
			 "--force",
			 path);
		return EXIT_FAIL;
	}
	out = fd < 0 ? NULL : fdopen(fd, "w");
	if (out)
		write_keys(out);
	if (out && !ferror(out) && !fclose(out))
		return 0;
	complain("init: %s: %s", path, strerror(errno));
	return EXIT_HUTCH;
}

const struct verb verb_init = {
	.name = "init",
	.args = "[FLAGS] [FILE]",
	.summary = "write a configuration file to begin with: every key, its default, what it does",
	.text = "FILE is hutch.yaml unless one is named, which `hutch run` reads from the folder\n"
		"it is started in; `-C ./hutch.yaml` allows keys in it that lead out of the\n"
		"guest, too (`hutch help configuration`). All keys in it are remarks.",
	.flags = flags,
	.run = run_init,
};
