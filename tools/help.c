/* help.c - --help and the manual page, from the tables that the parser uses */
#include <string.h>

#include "tool.h"

#define COLUMN 30

static void option(FILE *out, const char *name, const char *arg, const char *dflt, const char *help,
		   bool list)
{
	char left[128];
	int n = snprintf(left, sizeof(left), "  --%s%s%s", name, arg ? " " : "", arg ? arg : "");

	for (char *p = left + 4; *p && *p != ' '; p++)
		if (*p == '_')
			*p = '-';
	fprintf(out, "%-*s", COLUMN, left);
	if (n >= COLUMN)
		fprintf(out, "\n%*s", COLUMN, "");
	fprintf(out, "%s%s", help, list ? "; may be repeated" : "");
	if (dflt)
		fprintf(out, " [%s]", dflt);
	fputc('\n', out);
}

void help_verb(const struct verb *verb, FILE *out)
{
	struct hutch_key key;

	fprintf(out, "usage: hutch %s%s%s\n%s\n", verb->name, *verb->args ? " " : "", verb->args,
		verb->summary);
	if (verb->text)
		fprintf(out, "\n%s\n", verb->text);
	if (verb->machine || verb->flags)
		fputs("\nflags:\n", out);
	for (unsigned i = 0; verb->machine && !hutch_key(i, &key); i++)
		option(out, key.name, key.arg, key.dflt, key.help, key.many);
	if (verb->machine)
		option(out, "config", "FILE", NULL,
		       "merge a YAML or JSON file of these keys; also -C FILE", true);
	for (const struct flag *f = verb->flags; f && f->name; f++)
		option(out, f->name, f->arg, NULL, f->help, false);
}

void help_all(FILE *out)
{
	fputs("usage: hutch VERB [FLAGS] [ARGUMENTS]\n\nhutch runs untrusted work in a microVM of "
	      "its own.\n\nverbs:\n",
	      out);
	for (unsigned i = 0; verbs[i]; i++)
		fprintf(out, "  %-10s %s\n", verbs[i]->name, verbs[i]->summary);
	fputs("\n'hutch help VERB' tells more of one.\n", out);
}

/* roff: a dash is a minus sign, a dot at the start of a line is not a request */
static void roff(FILE *out, const char *text)
{
	bool start = true;

	for (; *text; text++) {
		if (start && (*text == '.' || *text == '\''))
			fputs("\\&", out);
		if (*text == '-')
			fputs("\\-", out);
		else if (*text == '\\')
			fputs("\\e", out);
		else
			fputc(*text, out);
		start = *text == '\n';
	}
}

static void man_option(FILE *out, const char *name, const char *arg, const char *dflt,
		       const char *help)
{
	fputs(".TP\n\\fB\\-\\-", out);
	for (; *name; name++)
		fputs(*name == '-' || *name == '_' ? "\\-" : (char[]){ *name, 0 }, out);
	fputs("\\fR", out);
	if (arg) {
		fputs(" \\fI", out);
		roff(out, arg);
		fputs("\\fR", out);
	}
	fputc('\n', out);
	roff(out, help);
	if (dflt) {
		fputs(" [", out);
		roff(out, dflt);
		fputc(']', out);
	}
	fputc('\n', out);
}

static void man_verb(const struct verb *verb, FILE *out)
{
	struct hutch_key key;

	fprintf(out, ".SS hutch %s ", verb->name);
	roff(out, verb->args);
	fputs("\n", out);
	roff(out, verb->summary);
	fputs(".\n", out);
	if (verb->text) {
		fputs(".PP\n.nf\n", out);
		roff(out, verb->text);
		fputs("\n.fi\n", out);
	}
	for (const struct flag *f = verb->flags; f && f->name; f++)
		man_option(out, f->name, f->arg, NULL, f->help);
	if (!verb->machine)
		return;
	fputs(".PP\nand the machine's flags:\n", out);
	for (unsigned i = 0; !hutch_key(i, &key); i++)
		man_option(out, key.name, key.arg, key.dflt, key.help);
	man_option(out, "config", "FILE", NULL,
		   "merge a YAML or JSON file of these keys; also -C FILE");
}

static void man_page(FILE *out)
{
	fputs(".TH HUTCH 1 \"\" \"hutch " HUTCH_VERSION
	      "\"\n.SH NAME\nhutch \\- run untrusted work in a microVM of its own\n"
	      ".SH SYNOPSIS\n.B hutch\n.I VERB\n[\\fIFLAGS\\fR] [\\fIARGUMENTS\\fR]\n.SH VERBS\n",
	      out);
	for (unsigned i = 0; verbs[i]; i++)
		man_verb(verbs[i], out);
}

static int run_help(int argc, char **argv, const struct verb *verb)
{
	const char *value[1] = { NULL };
	int n = parse(argc, argv, verb, NULL, value);

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (value[0]) {
		man_page(stdout);
		return 0;
	}
	for (unsigned i = 0; n && verbs[i]; i++) {
		if (!strcmp(argv[0], verbs[i]->name)) {
			help_verb(verbs[i], stdout);
			return 0;
		}
	}
	if (n) {
		complain("there is no verb '%s'; 'hutch help' lists them", argv[0]);
		return EXIT_USAGE;
	}
	help_all(stdout);
	return 0;
}

static const struct flag help_flags[] = { { "man", NULL, "print the manual page, for man(1)" },
					  { NULL, NULL, NULL } };

const struct verb verb_help = {
	.name = "help",
	.args = "[VERB]",
	.summary = "tell what hutch or one of its verbs does",
	.flags = help_flags,
	.run = run_help,
};
