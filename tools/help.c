/* help.c - --help and the manual page, from the tables that the parser uses */
#include <errno.h>
#include <string.h>

#include "external.h"
#include "layers.h"

#define COLUMN 30
#define WIDTH  100

/* a flag or a key, as it is told */
struct entry {
	struct hutch_key key;
	char letter;
	bool sub; /* a key within another */
};

/* "--on-reboot WHAT", "-m, --memory SIZE", or of a key within another "iops=N" */
static int left_side(char *buf, size_t size, const struct entry *e, const char *arg)
{
	int at = e->sub	     ? snprintf(buf, size, "      ")
		 : e->letter ? snprintf(buf, size, "  -%c, --", e->letter)
			     : snprintf(buf, size, "  --");
	int n = at + snprintf(buf + at, size - (size_t)at, "%s%s%s", e->key.name,
			      !arg     ? ""
			      : e->sub ? "="
				       : " ",
			      arg ? arg : "");

	for (char *p = buf + at; *p && *p != (e->sub ? '=' : ' '); p++)
		if (*p == '_')
			*p = '-';
	return n;
}

/* words from COLUMN on, in as many lines as they need */
static void words(FILE *out, const char *text)
{
	int at = COLUMN;

	while (*text) {
		int n = (int)strcspn(text, " ");

		if (at > COLUMN && at + 1 + n > WIDTH)
			at = fprintf(out, "\n%*s", COLUMN, "") - 1;
		else if (at > COLUMN)
			at += fprintf(out, " ");
		at += fprintf(out, "%.*s", n, text);
		text += n + (text[n] == ' ');
	}
	fputc('\n', out);
}

static void option(FILE *out, const struct entry *e)
{
	const struct hutch_key *key = &e->key;
	char left[128], text[1024];
	int n = left_side(left, sizeof(left), e, key->arg);

	fprintf(out, "%-*s", COLUMN, left);
	if (n >= COLUMN)
		fprintf(out, "\n%*s", COLUMN, "");
	snprintf(text, sizeof(text), "%s%s%s%s%s%s", key->help,
		 key->many ? "; may be repeated" : "", key->live ? " (live)" : "",
		 key->dflt ? " [" : "", key->dflt ? key->dflt : "", key->dflt ? "]" : "");
	words(out, text);
}

static void machine_options(FILE *out, const struct verb *verb,
			    void (*print)(FILE *out, const struct entry *e))
{
	struct entry e = { .sub = false };

	for (unsigned i = 0; !hutch_key(i, &e.key); i++) {
		if (!verb_takes(verb, &e.key))
			continue;
		e.letter = key_letter(e.key.name);
		e.sub = false;
		print(out, &e);
		e.sub = true;
		for (unsigned k = 0; !hutch_subkey(i, k, &e.key); k++)
			if (verb_takes(verb, &e.key))
				print(out, &e);
	}
}

static void flag_options(FILE *out, const struct flag *flags,
			 void (*print)(FILE *out, const struct entry *e))
{
	for (const struct flag *f = flags; f && f->name; f++)
		print(out, &(struct entry){
				   .key = { .name = f->name,
					    .arg = f->arg,
					    .help = f->help,
					    .many = f->many },
				   .letter = f->letter,
			   });
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
		machine_options(out, verb, option);
	flag_options(out, verb->flags, option);
	if (verb->sub)
		fputs("\nverbs:\n", out);
	for (unsigned i = 0; verb->sub && verb->sub[i]; i++)
		fprintf(out, "  %-14s %s\n", verb->sub[i]->name, verb->sub[i]->summary);
	fputs("\n'hutch help' lists the flags that every verb takes.\n", out);
}

void help_all(FILE *out)
{
	fputs("usage: hutch [FLAGS] VERB [FLAGS] [ARGUMENTS]\n\n"
	      "hutch runs untrusted work in a microVM of its own.\n\nverbs:\n",
	      out);
	for (unsigned i = 0; verbs[i]; i++)
		fprintf(out, "  %-10s %s\n", verbs[i]->name, verbs[i]->summary);
	fputs("\nother names:\n", out);
	for (const struct alias *a = aliases; a->name; a++)
		fprintf(out, "  %-10s %s%s%s\n", a->name, a->verb, a->flag ? " " : "",
			a->flag ? a->flag : "");
	external_list(out, "\nprograms on PATH, hutch-NAME, that are verbs too:\n");
	fputs("\nflags of all verbs, before or behind the verb:\n", out);
	flag_options(out, global_flags, option);
	fputs("\n'hutch help VERB' tells more of one, 'hutch help configuration' which files and "
	      "variables are read.\n",
	      out);
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

static void man_option(FILE *out, const struct entry *e)
{
	const struct hutch_key *key = &e->key;
	char left[128];

	left_side(left, sizeof(left), e, NULL);
	fputs(e->sub ? ".RS\n.TP\n\\fB" : ".TP\n\\fB", out);
	roff(out, left + strspn(left, " "));
	fputs("\\fR", out);
	if (key->arg) {
		fputs(e->sub ? "=\\fI" : " \\fI", out);
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
	fputs(e->sub ? "\n.RE\n" : "\n", out);
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
	flag_options(out, verb->flags, man_option);
	for (unsigned i = 0; verb->sub && verb->sub[i]; i++)
		man_verb(verb->sub[i], out);
	if (!verb->machine)
		return;
	fputs(".PP\nand the machine's flags:\n", out);
	machine_options(out, verb, man_option);
}

static void man_page(FILE *out)
{
	fputs(".TH HUTCH 1 \"\" \"hutch " HUTCH_VERSION
	      "\"\n.SH NAME\nhutch \\- run untrusted work in a microVM of its own\n"
	      ".SH SYNOPSIS\n.B hutch\n.I VERB\n[\\fIFLAGS\\fR] [\\fIARGUMENTS\\fR]\n.SH VERBS\n",
	      out);
	for (unsigned i = 0; verbs[i]; i++)
		man_verb(verbs[i], out);
	fputs(".SH OTHER NAMES OF VERBS\n", out);
	for (const struct alias *a = aliases; a->name; a++) {
		fprintf(out, ".TP\n\\fB%s\\fR\n%s ", a->name, a->verb);
		roff(out, a->flag ? a->flag : "");
		fputc('\n', out);
	}
	fputs(".PP\nA program hutch\\-NAME on PATH is the verb NAME, unless hutch has one of that "
	      "name; it finds the folder of sandboxes in HUTCH_ROOT.\n",
	      out);
	fputs(".SH FLAGS OF ALL VERBS\n", out);
	flag_options(out, global_flags, man_option);
	fputs(".SH CONFIGURATION\n.nf\n", out);
	roff(out, layers_manual);
	fputs(".fi\n", out);
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
	struct given given[1] = { 0 };
	const struct alias *alias;
	int n = parse(argc, argv, verb, NULL, given);

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (given[0].n) {
		man_page(stdout);
		return 0;
	}
	alias = n ? alias_find(argv[0]) : NULL;
	if (alias)
		printf("hutch %s is hutch %s%s%s\n\n", alias->name, alias->verb,
		       alias->flag ? " " : "", alias->flag ? alias->flag : "");
	for (unsigned i = 0; n && verbs[i]; i++) {
		if (!strcmp(alias ? alias->verb : argv[0], verbs[i]->name))
			return help_named(verbs[i], n > 1 ? argv[1] : NULL);
	}
	if (n && !strcmp(argv[0], "configuration")) {
		fputs(layers_manual, stdout);
		return 0;
	}
	if (n) {
		char flag[] = "--help", *program[] = { argv[0], flag, NULL };
		int status = external_run(program, 0);

		if (status != -ENOENT)
			return status;
		complain("there is no verb '%s'; 'hutch help' lists them", argv[0]);
		return EXIT_USAGE;
	}
	help_all(stdout);
	return 0;
}

static const struct flag help_flags[] = {
	{ .name = "man", .help = "print the manual page, for man(1)" },
	{ .name = NULL },
};

const struct verb verb_help = {
	.name = "help",
	.args = "[VERB|configuration]",
	.summary = "tell what hutch or one of its verbs does, or which files it reads",
	.flags = help_flags,
	.run = run_help,
};
