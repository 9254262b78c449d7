/* help.c - --help and the manual page, from the tables that the parser uses */
#include <string.h>

#include "tool.h"

#define COLUMN 30

/* "--on-reboot WHAT", or of a key within another "iops=N" */
static int left_side(char *buf, size_t size, const char *name, const char *arg, bool sub)
{
	int n = snprintf(buf, size, sub ? "      %s%s%s" : "  --%s%s%s", name,
			 !arg  ? ""
			 : sub ? "="
			       : " ",
			 arg ? arg : "");

	for (char *p = buf + 4; *p && *p != (sub ? '=' : ' '); p++)
		if (*p == '_')
			*p = '-';
	return n;
}

static void option(FILE *out, const struct hutch_key *key, bool sub)
{
	char left[128];
	int n = left_side(left, sizeof(left), key->name, key->arg, sub);

	fprintf(out, "%-*s", COLUMN, left);
	if (n >= COLUMN)
		fprintf(out, "\n%*s", COLUMN, "");
	fprintf(out, "%s%s%s", key->help, key->many ? "; may be repeated" : "",
		key->live ? " (live)" : "");
	if (key->dflt)
		fprintf(out, " [%s]", key->dflt);
	fputc('\n', out);
}

static const struct hutch_key config_key = {
	.name = "config",
	.arg = "FILE",
	.help = "merge a YAML or JSON file of these keys; also -C FILE",
	.many = true,
};

static void machine_options(FILE *out,
			    void (*print)(FILE *out, const struct hutch_key *key, bool sub))
{
	struct hutch_key key;

	for (unsigned i = 0; !hutch_key(i, &key); i++) {
		print(out, &key, false);
		for (unsigned k = 0; !hutch_subkey(i, k, &key); k++)
			print(out, &key, true);
	}
	print(out, &config_key, false);
}

/* a flag that has a letter tells it at the end of its help */
static void verb_flag(const struct verb *verb, size_t i, FILE *out,
		      void (*print)(FILE *out, const struct hutch_key *key, bool sub))
{
	const struct flag *f = &verb->flags[i];
	char help[256],
		letter = verb->letters && i < strlen(verb->letters) ? verb->letters[i] : ' ';

	snprintf(help, sizeof(help), letter != ' ' ? "%s; also -%c" : "%s", f->help, letter);
	print(out, &(struct hutch_key){ .name = f->name, .arg = f->arg, .help = help }, false);
}

void help_verb(const struct verb *verb, FILE *out)
{
	fprintf(out, "usage: hutch %s%s%s\n%s\n", verb->name, *verb->args ? " " : "", verb->args,
		verb->summary);
	if (verb->text)
		fprintf(out, "\n%s\n", verb->text);
	if (verb->machine || verb->flags)
		fputs("\nflags:\n", out);
	if (verb->machine)
		machine_options(out, option);
	for (size_t i = 0; verb->flags && verb->flags[i].name; i++)
		verb_flag(verb, i, out, option);
	if (verb->sub)
		fputs("\nverbs:\n", out);
	for (unsigned i = 0; verb->sub && verb->sub[i]; i++)
		fprintf(out, "  %-14s %s\n", verb->sub[i]->name, verb->sub[i]->summary);
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

static void man_option(FILE *out, const struct hutch_key *key, bool sub)
{
	char left[128];

	left_side(left, sizeof(left), key->name, NULL, sub);
	fputs(sub ? ".RS\n.TP\n\\fB" : ".TP\n\\fB", out);
	roff(out, left + strspn(left, " "));
	fputs("\\fR", out);
	if (key->arg) {
		fputs(sub ? "=\\fI" : " \\fI", out);
		roff(out, key->arg);
		fputs("\\fR", out);
	}
	fputc('\n', out);
	roff(out, key->help);
	fputs(key->many ? "; may be repeated" : "", out);
	fputs(key->live ? " (live)" : "", out);
	if (key->dflt) {
		fputs(" [", out);
		roff(out, key->dflt);
		fputc(']', out);
	}
	fputs(sub ? "\n.RE\n" : "\n", out);
}

static void man_verb(const struct verb *verb, FILE *out)
{
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
	for (size_t i = 0; verb->flags && verb->flags[i].name; i++)
		verb_flag(verb, i, out, man_option);
	for (unsigned i = 0; verb->sub && verb->sub[i]; i++)
		man_verb(verb->sub[i], out);
	if (!verb->machine)
		return;
	fputs(".PP\nand the machine's flags:\n", out);
	machine_options(out, man_option);
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

/* "help image", "help image build" */
static int help_named(const struct verb *verb, const char *sub)
{
	size_t skip = strlen(verb->name) + 1;

	for (unsigned i = 0; sub && verb->sub && verb->sub[i]; i++) {
		if (!strcmp(verb->sub[i]->name + skip, sub)) {
			help_verb(verb->sub[i], stdout);
			return 0;
		}
	}
	help_verb(verb, stdout);
	return 0;
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
	for (unsigned i = 0; n && verbs[i]; i++)
		if (!strcmp(argv[0], verbs[i]->name))
			return help_named(verbs[i], n > 1 ? argv[1] : NULL);
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
