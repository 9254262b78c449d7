/* cmd_completion.c - hutch completion: what a shell needs to complete hutch's arguments */
#include <string.h>

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

static void bash_flag(const struct verb *verb, const struct flag *flag)
{
	(void)verb;
	printf(" --%s", flag->name);
}

static bool takes_name(const struct verb *verb)
{
	return strstr(verb->args, "NAME") != NULL;
}

/* a function that looks for the verb, then offers its flags or the names there are; zsh runs the
 * same, by its bashcompinit */
static void bash(void)
{
	puts("_hutch() {\n"
	     "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
	     "\tlocal i verb= flags= names= root=\n"
	     "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	     "\t\tcase ${COMP_WORDS[i]} in\n"
	     "\t\t--root | -C | --config | --template)\n"
	     "\t\t\t[[ ${COMP_WORDS[i]} == --root ]] && root=${COMP_WORDS[i+1]}\n"
	     "\t\t\ti=$((i + 1)) ;;\n"
	     "\t\t-*) ;;\n"
	     "\t\t*) [[ $verb ]] || verb=${COMP_WORDS[i]} ;;\n"
	     "\t\tesac\n"
	     "\tdone\n"
	     "\tcase $verb in");
	for (unsigned i = 0; verbs[i]; i++) {
		printf("\t%s) flags='", verbs[i]->name);
		each_flag(verbs[i], bash_flag);
		printf("'%s ;;\n", takes_name(verbs[i]) ? " names=1" : "");
	}
	fputs("\tesac\n"
	      "\tflags=\"$flags",
	      stdout);
	each_flag(NULL, bash_flag);
	fputs(" --help\"\n"
	      "\tif [[ ! $verb && $cur != -* ]]; then\n"
	      "\t\tCOMPREPLY=($(compgen -W '",
	      stdout);
	for (unsigned i = 0; verbs[i]; i++)
		printf("%s%s", i ? " " : "", verbs[i]->name);
	puts("' -- \"$cur\"))\n"
	     "\telif [[ $cur == -* ]]; then\n"
	     "\t\tCOMPREPLY=($(compgen -W \"$flags\" -- \"$cur\"))\n"
	     "\telif [[ $names && $prev != -* ]]; then\n"
	     "\t\tCOMPREPLY=($(compgen -W \"$(\"${COMP_WORDS[0]}\" ${root:+--root \"$root\"} "
	     "ps -aq 2>/dev/null)\" -- \"$cur\"))\n"
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

static void fish_flag(const struct verb *verb, const struct flag *flag)
{
	printf("complete -c hutch");
	if (verb)
		printf(" -n '__fish_seen_subcommand_from %s'", verb->name);
	printf(" -l %s", flag->name);
	if (flag->letter)
		printf(" -s %c", flag->letter);
	printf("%s -d ", flag->arg && *flag->arg != '[' ? " -r" : "");
	fish_text(flag->help);
	putchar('\n');
}

static void fish(void)
{
	for (unsigned i = 0; verbs[i]; i++) {
		printf("complete -c hutch -n __fish_use_subcommand -f -a %s -d ", verbs[i]->name);
		fish_text(verbs[i]->summary);
		putchar('\n');
		if (takes_name(verbs[i]))
			printf("complete -c hutch -n '__fish_seen_subcommand_from %s' -f -a "
			       "'(hutch ps -aq 2>/dev/null)'\n",
			       verbs[i]->name);
		each_flag(verbs[i], fish_flag);
	}
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
