/*
 * options.c - flags: the machine's keys from hutch_key(), a verb's own from its table, and those of
 * every verb
 *
 * The arguments are walked three times: where complaints go is looked for first,
 * then configuration files are looked for and loaded, so that flags win over them
 * wherever they stand.
 *
 * #syscalls:before openat
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "layers.h"

#define KEYS_MAX 128

struct globals globals;

enum {
	GLOBAL_ROOT,
	GLOBAL_JSON,
	GLOBAL_QUIET,
	GLOBAL_VERBOSE,
	GLOBAL_LOG_FORMAT,
	GLOBAL_LOG_FILE,
	FILES_FIRST,
	GLOBAL_CONFIG = FILES_FIRST,
	GLOBAL_TEMPLATE,
	GLOBAL_BARE
};

const struct flag global_flags[] = {
	[GLOBAL_ROOT] = { .name = "root",
			  .arg = "DIR",
			  .help = "the folder of all sandboxes, for HUTCH_ROOT, "
				  "$XDG_RUNTIME_DIR/hutch or /run/hutch" },
	[GLOBAL_JSON] = { .name = "json", .help = "print JSON instead of text" },
	[GLOBAL_QUIET] = { .name = "quiet",
			   .letter = 'q',
			   .help = "print only what was asked for" },
	[GLOBAL_VERBOSE] = { .name = "verbose", .letter = 'v', .help = "tell what is being done" },
	[GLOBAL_LOG_FORMAT] = { .name = "log-format",
				.arg = "text|json",
				.help = "how hutch's own lines are written; json: one object a "
					"line, with ts, level, id (the correlation id), name (the "
					"sandbox's), msg, and code where there is one [text]" },
	[GLOBAL_LOG_FILE] = { .name = "log-file",
			      .arg = "FILE",
			      .help = "append hutch's own lines to this file, instead of stderr" },
	[GLOBAL_CONFIG] = { .name = "config",
			    .letter = 'C',
			    .arg = "FILE",
			    .many = true,
			    .machine = true,
			    .help = "merge a YAML, JSON or TOML file of the machine's keys over "
				    "what other files say" },
	[GLOBAL_TEMPLATE] = { .name = "template",
			      .arg = "NAME|FILE",
			      .many = true,
			      .machine = true,
			      .help = "begin from this file, which all others win over; NAME is "
				      "one in ~/.config/hutch/templates or /etc/hutch/templates" },
	[GLOBAL_BARE] = { .name = "no-config",
			  .machine = true,
			  .help = "without the files that are read by themselves" },
	{ .name = NULL },
};

/* letters of the machine's keys; a verb's own letters go first */
static const struct {
	char letter;
	const char *key;
} key_letters[] = { { 'm', "memory" }, { 'c', "cpus" } };

/* one value of a repeatable flag */
struct seen {
	int flag;
	const char *text;
};

struct parser {
	const struct verb *verb;
	struct hutch *h;
	struct given *given;
	enum walk { WALK_LOG, WALK_FILES, WALK_ALL } walk;
	struct layers layers;
	struct seen *seen;
	unsigned seen_n;
	bool cleared[KEYS_MAX]; /* lists the command line has begun to replace */
};

/* what a word of the command line names */
struct target {
	enum { TARGET_KEY, TARGET_OWN, TARGET_GLOBAL } kind;
	int i; /* which of its table */
	const char *arg;
	struct hutch_key key;
	char shown[64]; /* "--memory" or "-m" */
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
	for (unsigned i = 0; !hutch_key(i, ret); i++)
		if (verb_takes(p->verb, ret) && same_name(flag, len, ret->name))
			return (int)i;
	return -1;
}

/* by its name, or by its letter if @len is 0: never by the letter that is none */
static int find_flag(const struct flag *table, const char *flag, size_t len)
{
	for (int i = 0; table && table[i].name; i++)
		if (len ? same_name(flag, len, table[i].name) : *flag && *flag == table[i].letter)
			return i;
	return -1;
}

static int find_global(const struct parser *p, const char *flag, size_t len)
{
	int i = find_flag(global_flags, flag, len);

	return i >= 0 && global_flags[i].machine && !p->verb->machine ? -1 : i;
}

char key_letter(const char *key)
{
	for (size_t i = 0; i < sizeof(key_letters) / sizeof(*key_letters); i++)
		if (!strcmp(key, key_letters[i].key))
			return key_letters[i].letter;
	return 0;
}

static int find_key_letter(const struct parser *p, char letter, struct hutch_key *ret)
{
	for (size_t i = 0; i < sizeof(key_letters) / sizeof(*key_letters); i++)
		if (letter == key_letters[i].letter)
			return find_key(p, key_letters[i].key, strlen(key_letters[i].key), ret);
	return -1;
}

/* "name" of @len bytes, or one letter where @len is 0 */
static bool find(const struct parser *p, const char *flag, size_t len, struct target *ret)
{
	struct target t = { .kind = TARGET_OWN };

	snprintf(t.shown, sizeof(t.shown), len ? "--%.*s" : "-%.*s", len ? (int)len : 1, flag);
	t.i = find_flag(p->verb->flags, flag, len);
	if (t.i >= 0)
		t.arg = p->verb->flags[t.i].arg;
	if (t.i < 0) {
		t.kind = TARGET_KEY;
		t.i = len ? find_key(p, flag, len, &t.key) : find_key_letter(p, *flag, &t.key);
		t.arg = t.key.arg;
	}
	if (t.i < 0) {
		t.kind = TARGET_GLOBAL;
		t.i = find_global(p, flag, len);
		t.arg = t.i >= 0 ? global_flags[t.i].arg : NULL;
	}
	if (t.i < 0)
		return false;
	*ret = t;
	return true;
}

static int unknown_letter(const struct parser *p, const char *word, char letter)
{
	if (word[2])
		complain("%s: unknown flag -%c in '%s'; 'hutch help %s' lists them", p->verb->name,
			 letter, word, p->verb->name);
	else
		complain("%s: unknown flag %s; 'hutch help %s' lists them", p->verb->name, word,
			 p->verb->name);
	return -1;
}

static int unknown(const struct parser *p, const char *flag, size_t len)
{
	static char word[64], dashed[KEYS_MAX][40];
	const char *names[KEYS_MAX + 1] = { NULL }, *near;
	struct hutch_key key;
	unsigned n = 0;

	for (unsigned i = 0; n < KEYS_MAX && !hutch_key(i, &key); i++) {
		if (!verb_takes(p->verb, &key))
			continue;
		snprintf(dashed[n], sizeof(dashed[n]), "%s", key.name);
		for (char *c = dashed[n]; *c; c++)
			*c = *c == '_' ? '-' : *c;
		names[n] = dashed[n];
		n++;
	}
	for (unsigned i = 0; p->verb->flags && n < KEYS_MAX && p->verb->flags[i].name; i++)
		names[n++] = p->verb->flags[i].name;
	for (unsigned i = 0; n < KEYS_MAX && global_flags[i].name; i++)
		if (!global_flags[i].machine || p->verb->machine)
			names[n++] = global_flags[i].name;
	snprintf(word, sizeof(word), "%.*s", (int)(len < 60 ? len : 60), flag);
	near = hutch_nearest(word, names);
	if (near)
		complain("%s: unknown flag --%s; did you mean --%s?", p->verb->name, word, near);
	else
		complain("%s: unknown flag --%s; 'hutch help %s' lists them", p->verb->name, word,
			 p->verb->name);
	return -1;
}

static int set_key(struct parser *p, const struct target *t, const char *text)
{
	const struct hutch_key *key = &t->key;
	int i = t->i, r;

	if (key->list && i < KEYS_MAX && !p->cleared[i]) {
		hutch_clear(p->h, key->name);
		p->cleared[i] = true;
	}
	hutch_from(p->h, t->shown);
	r = hutch_set(p->h, key->name, text);
	hutch_from(p->h, NULL);
	if (!r)
		return 0;
	complain("%s", hutch_error(p->h));
	return -1;
}

static void set_own(struct parser *p, int i, const char *text)
{
	p->given[i].text = text;
	p->given[i].n++;
	if (p->verb->flags[i].many && p->verb->flags[i].arg)
		p->seen[p->seen_n++] = (struct seen){ i, text };
}

/* in which walk it counts */
static enum walk walk_of(const struct target *t)
{
	if (t->kind != TARGET_GLOBAL)
		return WALK_ALL;
	if (t->i == GLOBAL_LOG_FORMAT || t->i == GLOBAL_LOG_FILE)
		return WALK_LOG;
	return t->i >= FILES_FIRST ? WALK_FILES : WALK_ALL;
}

static int set_log_format(const char *text)
{
	globals.log_json = !strcmp(text, "json");
	if (globals.log_json || !strcmp(text, "text"))
		return 0;
	complain("--log-format: '%s' is neither text nor json", text);
	return -1;
}

static int set_global(int i, const char *text)
{
	switch (i) {
	case GLOBAL_ROOT:
		globals.root = text;
		break;
	case GLOBAL_JSON:
		globals.json = true;
		break;
	case GLOBAL_QUIET:
		globals.quiet = true;
		break;
	case GLOBAL_VERBOSE:
		globals.verbose = true;
		break;
	case GLOBAL_LOG_FORMAT:
		return set_log_format(text);
	case GLOBAL_LOG_FILE:
		globals.log_file = text;
		break;
	default:
		break;
	}
	return 0;
}

/* before anything is done, and before the jail */
static int open_log(void)
{
	int fd = STDERR_FILENO;

	if (globals.log_file)
		fd = open(globals.log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY,
			  0600);
	if (fd < 0) {
		complain("error %d E_LOG: --log-file %s: %s; name a file that can be appended to",
			 EXIT_HUTCH, globals.log_file, strerror(errno));
		globals.failed = true;
		return -1;
	}
	if (globals.log_file || globals.log_json)
		hutch_log_to(fd, globals.log_json);
	return 0;
}

static int note_file(struct layers *l, int i, const char *text)
{
	if (i == GLOBAL_TEMPLATE)
		return layers_template(l, text);
	if (i == GLOBAL_CONFIG)
		return layers_config(l, text);
	l->bare = true;
	return 0;
}

/* @text NULL: a flag without a value */
static int give(struct parser *p, const struct target *t, const char *text)
{
	const char *name;

	if (p->walk != walk_of(t))
		return 0;
	if (t->kind == TARGET_KEY)
		return set_key(p, t, text ? text : t->arg ? "" : "yes");
	if (text && !t->arg) {
		complain("%s takes no value, '%s' is too much", t->shown, text);
		return -1;
	}
	if (p->walk == WALK_FILES)
		return note_file(&p->layers, t->i, text);
	text = text ? text : "";
	if (t->kind == TARGET_GLOBAL)
		return set_global(t->i, text);
	set_own(p, t->i, text);
	/* a verb that tells more of a global flag means the same one */
	name = p->verb->flags[t->i].name;
	return set_global(find_flag(global_flags, name, strlen(name)), text);
}

/*
 * A flag that was found: @text is the value that stands in the same word, or
 * NULL.  Returns how many words it took, -1 after a complaint.
 */
static int take(struct parser *p, const struct target *t, const char *text, int argc, char **argv)
{
	bool next = !text && t->arg && (*t->arg != '[' || (argc > 1 && argv[1][0] != '-'));

	if (next && (argc < 2 || (!*argv[1] && t->kind == TARGET_GLOBAL))) {
		if (p->walk != walk_of(t))
			return 1; /* it is told in its own walk */
		complain("%s: a value is missing: %s", t->shown, t->arg);
		return -1;
	}
	if (give(p, t, next ? argv[1] : text))
		return -1;
	return next ? 2 : 1;
}

/* "--flag", "--flag=value" or "--flag value" */
static int take_long(struct parser *p, int argc, char **argv)
{
	const char *flag = argv[0] + 2, *eq = strchr(flag, '=');
	size_t len = eq ? (size_t)(eq - flag) : strlen(flag);
	struct target t;

	if (!len || !find(p, flag, len, &t))
		return p->walk == WALK_LOG ? 1 : unknown(p, flag, len);
	return take(p, &t, eq ? eq + 1 : NULL, argc, argv);
}

/* "-f", "-it", "-w value", "-wvalue", "-itw value" */
static int take_letters(struct parser *p, int argc, char **argv)
{
	const char *word = argv[0];
	struct target t;
	int n = 1;

	for (const char *c = word + 1; *c && n == 1; c++) {
		if (!find(p, c, 0, &t))
			return p->walk == WALK_LOG ? 1 : unknown_letter(p, word, *c);
		if (t.arg && c[1])
			return take(p, &t, c + 1, argc, argv);
		n = take(p, &t, NULL, argc, argv);
	}
	return n;
}

/* how many arguments stand in front now, -1 after a complaint, -2 after --help */
static int walk(struct parser *p, int argc, char **argv)
{
	int rest = 0, i, n;

	for (i = 0; i < argc && strcmp(argv[i], "--"); i += n) {
		const char *word = argv[i];

		n = 1;
		if (p->walk != WALK_LOG && (!strcmp(word, "--help") || !strcmp(word, "-h"))) {
			help_verb(p->verb, stdout);
			return -2;
		}
		if (word[0] == '-' && word[1] == '-')
			n = take_long(p, argc - i, argv + i);
		else if (word[0] == '-' && word[1])
			n = take_letters(p, argc - i, argv + i);
		else if (p->walk == WALK_ALL)
			argv[rest++] = argv[i];
		if (n < 0)
			return -1;
	}
	if (p->walk != WALK_ALL)
		return 0;
	/* what follows "--", and the NULL behind it */
	n = argc - i - 1;
	if (n < 0)
		argv[rest] = NULL;
	else
		memmove(argv + rest, argv + i + 1, ((size_t)n + 1) * sizeof(*argv));
	return p->verb->command || n < 0 ? rest : rest + n;
}

/* the values of repeatable flags, each flag's together and ended by NULL */
static int collect(struct parser *p)
{
	static const char **all;
	unsigned at = 0, flags = 0;

	while (p->verb->flags && p->verb->flags[flags].name)
		flags++;
	free(all);
	all = calloc(p->seen_n + flags + 1, sizeof(*all));
	if (!all) {
		complain("out of memory");
		return -1;
	}
	for (unsigned i = 0; i < flags; i++) {
		if (!p->verb->flags[i].many)
			continue;
		p->given[i].all = all + at;
		for (unsigned k = 0; k < p->seen_n; k++)
			if (p->seen[k].flag == (int)i)
				all[at++] = p->seen[k].text;
		at++;
	}
	return 0;
}

static int walk_all(struct parser *p, int argc, char **argv)
{
	int n;

	p->walk = WALK_LOG;
	n = walk(p, argc, argv);
	if (!n)
		n = open_log();
	p->walk = WALK_FILES;
	if (!n && p->verb->machine)
		n = walk(p, argc, argv);
	if (!n && p->verb->machine)
		n = layers_load(&p->layers, p->verb, p->h);
	p->walk = WALK_ALL;
	return n ? n : walk(p, argc, argv);
}

int parse(int argc, char **argv, const struct verb *verb, struct hutch *h, struct given *given)
{
	struct parser p = { .verb = verb, .h = h, .given = given };
	int n = -1;

	p.seen = calloc((size_t)argc + 1, sizeof(*p.seen));
	p.layers.file = calloc((size_t)argc + 1, sizeof(*p.layers.file));
	if (p.seen && p.layers.file)
		n = walk_all(&p, argc, argv);
	else
		complain("out of memory");
	if (n >= 0 && collect(&p))
		n = -1;
	layers_free(&p.layers);
	free(p.seen);
	return n;
}

int parse_names(int argc, char **argv, const struct verb *verb, struct given *given, int min,
		int max)
{
	int n = parse(argc, argv, verb, NULL, given);

	if (n >= 0 && n < min) {
		complain("%s: a name is missing: hutch %s %s", verb->name, verb->name, verb->args);
		return -1;
	}
	if (max >= 0 && n > max) {
		complain("%s: '%s' is too much: hutch %s%s%s", verb->name, argv[max], verb->name,
			 *verb->args ? " " : "", verb->args);
		return -1;
	}
	return n;
}

/* how many words a flag of every verb takes, 0 if it is none */
static int global_words(const char *word)
{
	int i;

	if (word[1] == '-') {
		i = find_flag(global_flags, word + 2, strcspn(word + 2, "="));
		return i < 0 ? 0 : global_flags[i].arg && !strchr(word, '=') ? 2 : 1;
	}
	for (const char *c = word + 1; *c; c++) {
		i = find_flag(global_flags, c, 0);
		if (i < 0)
			return 0;
		if (global_flags[i].arg)
			return c[1] ? 1 : 2;
	}
	return 1;
}

int leading_flags(int argc, char **argv)
{
	int at = 0, n;

	for (; at < argc && argv[at][0] == '-' && argv[at][1]; at += n) {
		n = global_words(argv[at]);
		if (!n) {
			complain("%s is no flag that stands before the verb; 'hutch help' lists "
				 "those that do",
				 argv[at]);
			return -1;
		}
	}
	return at < argc ? at : argc;
}

int verb_first(int argc, char **argv)
{
	int n = leading_flags(argc, argv);
	char *word;

	if (n < 0)
		return -1;
	if (n == argc) {
		complain("a verb is missing behind '%s'; 'hutch help' lists them", argv[n - 1]);
		return -1;
	}
	word = argv[n];
	memmove(argv + 1, argv, (size_t)n * sizeof(*argv));
	argv[0] = word;
	return n;
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
	if (verb_first(argc, argv) < 0)
		return EXIT_USAGE;
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
