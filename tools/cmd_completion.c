/* cmd_completion.c - hutch completion: what a shell needs to complete hutch's arguments */
#include <string.h>

#include "external.h"
#include "tool.h"

/* each flag of a verb, as typed; NULL: those of all verbs */
static void each_flag(const struct verb *verb,
		      void (*fn)(const struct verb *verb, const struct flag *flag))
{
	struct hutch_key key;
	char name[64];

	for (unsigned i = 0; verb && !hutch_key(i, &key); i++) {
		if (!verb_takes(verb, &key))
			continue;
		snprintf(name, sizeof(name), "%s", key.name);
		for (char *c = name; *c; c++)
			*c = *c == '_' ? '-' : *c;
		fn(verb, &(struct flag){ .name = name,
					 .arg = key.arg,
					 .help = key.help,
					 .letter = key_letter(key.name) });
	}
	for (const struct flag *f = verb ? verb->flags : global_flags; f && f->name; f++)
		fn(verb, f);
}

/* flags of all verbs, or those that only verbs of a machine take */
static void each_global(bool machine, void (*fn)(const struct verb *verb, const struct flag *flag))
{
	for (const struct flag *f = global_flags; f->name; f++)
		if (f->machine == machine)
			fn(NULL, f);
}

static void bash_flag(const struct verb *verb, const struct flag *flag)
{
	(void)verb;
	printf(" --%s", flag->name);
}

static bool takes_name(const struct verb *verb)
{
	return strstr(verb->args, "NAME") != NULL;
}

/* "ps|list" */
static void bash_pattern(const struct verb *verb)
{
	printf("\t%s", verb->name);
	for (const struct alias *a = aliases; a->name; a++)
		if (!strcmp(a->verb, verb->name))
			printf("|%s", a->name);
	putchar(')');
}

/* a verb of verbs: those, and the flags of the one that is there */
static void bash_sub(const struct verb *verb)
{
	size_t skip = strlen(verb->name) + 1;

	fputs(" subs='", stdout);
	for (unsigned i = 0; verb->sub[i]; i++)
		printf("%s%s", i ? " " : "", verb->sub[i]->name + skip);
	puts("'\n\t\tcase $sub in");
	for (unsigned i = 0; verb->sub[i]; i++) {
		printf("\t\t%s) flags='", verb->sub[i]->name + skip);
		each_flag(verb->sub[i], bash_flag);
		/* a name that is there already comes first; one that is made does not */
		printf("'%s ;;\n", !strncmp(verb->sub[i]->args, "NAME", 4) ? " names=images" : "");
	}
	puts("\t\tesac ;;");
}

static void bash_verb(const struct verb *verb)
{
	bash_pattern(verb);
	if (verb->sub) {
		bash_sub(verb);
		return;
	}
	fputs(" flags='", stdout);
	each_flag(verb, bash_flag);
	if (verb->machine)
		each_global(true, bash_flag);
	printf("'%s ;;\n", takes_name(verb) ? " names=boxes" : "");
}

/* a function that looks for the verb, then offers its flags or the names there are; zsh runs the
 * same, by its bashcompinit */
static void bash(void)
{
	puts("_hutch() {\n"
	     "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
	     "\tlocal i verb= sub= subs= flags= names= root=\n"
	     "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	     "\t\tcase ${COMP_WORDS[i]} in\n"
	     "\t\t--root | -C | --config | --template)\n"
	     "\t\t\t[[ ${COMP_WORDS[i]} == --root ]] && root=${COMP_WORDS[i+1]}\n"
	     "\t\t\ti=$((i + 1)) ;;\n"
	     "\t\t-*) ;;\n"
	     "\t\t*) if [[ ! $verb ]]; then verb=${COMP_WORDS[i]}\n"
	     "\t\t\telif [[ ! $sub ]]; then sub=${COMP_WORDS[i]}; fi ;;\n"
	     "\t\tesac\n"
	     "\tdone\n"
	     "\tcase $verb in");
	for (unsigned i = 0; verbs[i]; i++)
		bash_verb(verbs[i]);
	fputs("\t'') flags='", stdout);
	each_global(true, bash_flag);
	fputs("' ;;\n"
	      "\tesac\n"
	      "\tflags=\"$flags",
	      stdout);
	each_global(false, bash_flag);
	fputs(" --help\"\n"
	      "\t[[ $prev == --rootfs ]] && names=images\n"
	      "\tif [[ ! $verb && $cur != -* ]]; then\n"
	      "\t\tCOMPREPLY=($(compgen -W '",
	      stdout);
	for (unsigned i = 0; verbs[i]; i++)
		printf("%s%s", i ? " " : "", verbs[i]->name);
	for (const struct alias *a = aliases; a->name; a++)
		printf(" %s", a->name);
	puts("' -- \"$cur\"))\n"
	     "\telif [[ $cur == -* ]]; then\n"
	     "\t\tCOMPREPLY=($(compgen -W \"$flags\" -- \"$cur\"))\n"
	     "\telif [[ $subs && ! $sub ]]; then\n"
	     "\t\tCOMPREPLY=($(compgen -W \"$subs\" -- \"$cur\"))\n"
	     "\telif [[ $names == images ]]; then\n"
	     "\t\tCOMPREPLY=($(compgen -f -W \"$(\"${COMP_WORDS[0]}\" image ls -q 2>/dev/null)\" "
	     "-- \"$cur\"))\n"
	     "\telif [[ $names && $prev != -* ]]; then\n"
	     "\t\tCOMPREPLY=($(compgen -W \"$(\"${COMP_WORDS[0]}\" ${root:+--root \"$root\"} "
	     "ps -aq 2>/dev/null)\" -- \"$cur\"))\n"
	     "\t\t[[ $verb == cp ]] && COMPREPLY+=($(compgen -f -- \"$cur\"))\n"
	     "\telse\n"
	     "\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n"
	     "\tfi\n"
	     "}\n"
	     "complete -o filenames -F _hutch hutch");
}

static void zsh(void)
{
	puts("#compdef hutch\n"
	     "autoload -U +X bashcompinit && bashcompinit");
	bash();
}

/* in single quotes, where only these two mean something */
static void fish_text(const char *text)
{
	putchar('\'');
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			putchar('\\');
		putchar(*text);
	}
	putchar('\'');
}

/* when the verb is there, by whatever name */
static void fish_seen(const struct verb *verb)
{
	printf("complete -c hutch -n '__fish_seen_subcommand_from %s", verb->name);
	for (const struct alias *a = aliases; a->name; a++)
		if (!strcmp(a->verb, verb->name))
			printf(" %s", a->name);
	putchar('\'');
}

static void fish_flag(const struct verb *verb, const struct flag *flag)
{
	if (verb)
		fish_seen(verb);
	else
		printf("complete -c hutch");
	printf(" -l %s", flag->name);
	if (flag->letter)
		printf(" -s %c", flag->letter);
	printf("%s%s -d ", flag->arg && *flag->arg != '[' ? " -r" : "",
	       strcmp(flag->name, "rootfs") ? "" : " -a '(hutch image ls -q 2>/dev/null)'");
	fish_text(flag->help);
	putchar('\n');
}

/* "image rm" */
static void fish_sub(const struct verb *verb, const struct verb *sub)
{
	const char *name = sub->name + strlen(verb->name) + 1;

	fish_seen(verb);
	printf(" -f -a %s -d ", name);
	fish_text(sub->summary);
	putchar('\n');
	if (strncmp(sub->args, "NAME", 4))
		return;
	printf("complete -c hutch -n '__fish_seen_subcommand_from %s; and "
	       "__fish_seen_subcommand_from %s' -f -a '(hutch image ls -q 2>/dev/null)'\n",
	       verb->name, name);
}

static void fish(void)
{
	for (unsigned i = 0; verbs[i]; i++) {
		printf("complete -c hutch -n __fish_use_subcommand -f -a %s -d ", verbs[i]->name);
		fish_text(verbs[i]->summary);
		putchar('\n');
		if (takes_name(verbs[i])) {
			fish_seen(verbs[i]);
			printf("%s -a '(hutch ps -aq 2>/dev/null)'\n",
			       strcmp(verbs[i]->name, "cp") ? " -f" : "");
		}
		each_flag(verbs[i], fish_flag);
		for (unsigned k = 0; verbs[i]->sub && verbs[i]->sub[k]; k++)
			fish_sub(verbs[i], verbs[i]->sub[k]);
	}
	for (const struct alias *a = aliases; a->name; a++)
		printf("complete -c hutch -n __fish_use_subcommand -f -a %s -d '%s %s'\n", a->name,
		       a->verb, a->flag ? a->flag : "");
	each_flag(NULL, fish_flag);
}

static int run_completion(int argc, char **argv, const struct verb *verb)
{
	static const struct {
		const char *name;
		void (*print)(void);
	} shells[] = { { "bash", bash }, { "zsh", zsh }, { "fish", fish } };
	int n = parse_names(argc, argv, verb, NULL, 1, 1);

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	for (unsigned i = 0; i < sizeof(shells) / sizeof(*shells); i++) {
		if (strcmp(argv[0], shells[i].name))
			continue;
		shells[i].print();
		return 0;
	}
	complain("completion: '%s' is not one of: bash, zsh, fish", argv[0]);
	return EXIT_USAGE;
}

const struct verb verb_completion = {
	.name = "completion",
	.args = "bash|zsh|fish",
	.summary = "print what makes a shell complete hutch's arguments",
	.text = "bash   hutch completion bash >~/.local/share/bash-completion/completions/hutch\n"
		"zsh    hutch completion zsh >DIR/_hutch, with DIR in $fpath\n"
		"fish   hutch completion fish >~/.config/fish/completions/hutch.fish",
	.run = run_completion,
};
