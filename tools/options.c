/* options.c - flags: the machine's keys from hutch_key(), a verb's own from its table */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

#define KEYS_MAX 64

struct parser {
	const struct verb *verb;
	struct hutch *h;
	const char **value;
	bool cleared[KEYS_MAX]; /* lists the command line has begun to replace */
};

/* "--on-reboot" is the key on_reboot */
static bool same_name(const char *flag, size_t len, const char *key)
{
	if (strlen(key) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (flag[i] != key[i] && !(flag[i] == '-' && key[i] == '_'))
			return false;
	return true;
}

static int find_key(const struct parser *p, const char *flag, size_t len, struct hutch_key *ret)
{
	for (unsigned i = 0; p->verb->machine && !hutch_key(i, ret); i++)
		if (same_name(flag, len, ret->name))
			return (int)i;
	return -1;
}

static int find_flag(const struct parser *p, const char *flag, size_t len)
{
	for (int i = 0; p->verb->flags && p->verb->flags[i].name; i++)
		if (same_name(flag, len, p->verb->flags[i].name))
			return i;
	return -1;
}

static int find_letter(const struct parser *p, char letter)
{
	const char *letters = p->verb->letters, *at = letters ? strchr(letters, letter) : NULL;

	return at && *at && *at != ' ' ? (int)(at - letters) : -1;
}

static int unknown(const struct parser *p, const char *flag, size_t len)
{
	static char word[64], dashed[KEYS_MAX][40];
	const char *names[KEYS_MAX + 1] = { NULL }, *near;
	struct hutch_key key;
	unsigned n = 0;

	for (unsigned i = 0; p->verb->machine && n < KEYS_MAX && !hutch_key(i, &key); i++, n++) {
		snprintf(dashed[n], sizeof(dashed[n]), "%s", key.name);
		for (char *c = dashed[n]; *c; c++)
			*c = *c == '_' ? '-' : *c;
		names[n] = dashed[n];
	}
	for (unsigned i = 0; p->verb->flags && n < KEYS_MAX && p->verb->flags[i].name; i++)
		names[n++] = p->verb->flags[i].name;
	snprintf(word, sizeof(word), "%.*s", (int)(len < 60 ? len : 60), flag);
	near = hutch_nearest(word, names);
	complain("%s: unknown flag --%s%s%s%s", p->verb->name, word,
		 near ? "; did you mean --" : "", near ? near : "", near ? "?" : "");
	return -1;
}

static int set_key(struct parser *p, int i, const struct hutch_key *key, const char *text)
{
	if (key->list && i < KEYS_MAX && !p->cleared[i]) {
		hutch_clear(p->h, key->name);
		p->cleared[i] = true;
	}
	if (!hutch_set(p->h, key->name, text))
		return 0;
	complain("%s", hutch_error(p->h));
	return -1;
}

/* one "--flag", "--flag=value" or "--flag value": how many arguments it took, -1 after a complaint
 */
static int take(struct parser *p, int argc, char **argv)
{
	const char *flag = argv[0] + 2, *eq = strchr(flag, '='), *text = eq ? eq + 1 : NULL;
	size_t len = eq ? (size_t)(eq - flag) : strlen(flag);
	struct hutch_key key;
	int i = find_key(p, flag, len, &key), own = i < 0 ? find_flag(p, flag, len) : -1;
	const char *arg;
	bool wants;

	if (i < 0 && own < 0)
		return unknown(p, flag, len);
	arg = i >= 0 ? key.arg : p->verb->flags[own].arg;
	wants = arg && (*arg != '[' || (argc > 1 && argv[1][0] != '-'));
	if (wants && !text && argc < 2) {
		complain("--%.*s: a value is missing: %s", (int)len, flag, arg);
		return -1;
	}
	if (wants && !text)
		text = argv[1];
	if (i >= 0 && set_key(p, i, &key, text ? text : arg ? "" : "yes"))
		return -1;
	if (own >= 0)
		p->value[own] = text ? text : "";
	return wants && !eq ? 2 : 1;
}

/* "-o FILE", "-oFILE", "-x": as take() */
static int take_letter(struct parser *p, int argc, char **argv)
{
	const char *word = argv[0];
	int i = find_letter(p, word[1]);
	const char *arg;

	if (i < 0)
		return unknown(p, word + 1, strlen(word + 1));
	arg = p->verb->flags[i].arg;
	if (!arg && word[2]) {
		complain("%.2s: takes no value, '%s' is too much", word, word + 2);
		return -1;
	}
	if (arg && !word[2] && argc < 2) {
		complain("%.2s: a value is missing: %s", word, arg);
		return -1;
	}
	p->value[i] = !arg ? "" : word[2] ? word + 2 : argv[1];
	return arg && !word[2] ? 2 : 1;
}

/* -C and --config files come first, so that flags win wherever they stand */
static int take_files(struct parser *p, int argc, char **argv)
{
	for (int i = 0; p->verb->machine && i < argc && strcmp(argv[i], "--"); i++) {
		const char *path = NULL;

		if (!strcmp(argv[i], "-C") || !strcmp(argv[i], "--config"))
			path = i + 1 < argc ? argv[++i] : "";
		else if (!strncmp(argv[i], "--config=", 9))
			path = argv[i] + 9;
		if (!path)
			continue;
		if (!*path) {
			complain("-C: a value is missing: FILE");
			return -1;
		}
		if (hutch_load(p->h, path)) {
			complain("%s", hutch_error(p->h));
			return -1;
		}
	}
	return 0;
}

int parse(int argc, char **argv, const struct verb *verb, struct hutch *h, const char **value)
{
	struct parser p = { .verb = verb, .h = h, .value = value };
	int rest = 0, n;

	if (take_files(&p, argc, argv))
		return -1;
	for (int i = 0; i < argc; i += n) {
		n = 1;
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			help_verb(verb, stdout);
			return -2;
		}
		if (verb->machine && (!strcmp(argv[i], "-C") || !strcmp(argv[i], "--config")))
			n = 2;
		else if (verb->machine && !strncmp(argv[i], "--config=", 9))
			n = 1;
		else if (!strncmp(argv[i], "--", 2) && argv[i][2])
			n = take(&p, argc - i, argv + i);
		else if (argv[i][0] == '-' && argv[i][1] && argv[i][1] != '-')
			n = take_letter(&p, argc - i, argv + i);
		else
			argv[rest++] = argv[i];
		if (n < 0)
			return -1;
	}
	return rest;
}

int run_sub(int argc, char **argv, const struct verb *verb)
{
	const char *names[KEYS_MAX + 1] = { NULL }, *near;
	size_t skip = strlen(verb->name) + 1; /* "image ls" */

	if (argc && (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h"))) {
		help_verb(verb, stdout);
		return 0;
	}
	if (!argc) {
		help_verb(verb, stderr);
		return EXIT_USAGE;
	}
	for (unsigned i = 0; i < KEYS_MAX && verb->sub[i]; i++) {
		names[i] = verb->sub[i]->name + skip;
		if (!strcmp(argv[0], names[i]))
			return verb->sub[i]->run(argc - 1, argv + 1, verb->sub[i]);
	}
	near = hutch_nearest(argv[0], names);
	complain("%s: there is no '%s'%s%s%s; 'hutch help %s' lists what there is", verb->name,
		 argv[0], near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "",
		 verb->name);
	return EXIT_USAGE;
}
