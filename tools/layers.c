/* layers.c - the files and the environment that a machine's keys are merged from */
/* #syscalls:before access */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "layers.h"

#define ETC	  "/etc/hutch" /* $HUTCH_CONFIG_D, for tests */
#define HERE	  "./hutch.yaml"
#define PREFIX	  "HUTCH_"
#define NAMES_MAX 128

extern char **environ;

/* what variables of this prefix mean that are no key; kernel and initrd are those of the guest that
 * is used when none is named */
static const char *const taken[] = { "HUTCH_ROOT", "HUTCH_KERNEL",   "HUTCH_INITRD",
				     "HUTCH_BOX",  "HUTCH_POLICY_D", "HUTCH_CONFIG_D" };

static bool is_taken(const char *name)
{
	for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++)
		if (!strcmp(name, taken[i]))
			return true;
	return false;
}

const char layers_manual[] =
	"`hutch run` and `hutch check` merge the machine's keys, each of which is a flag too,\n"
	"from these, and the later one wins:\n"
	"\n"
	"  1. what is built in\n"
	"  2. the defaults of --level, for keys that nothing else names\n"
	"  3. templates: what a file `extends`, then --template NAME|FILE\n"
	"  4. /etc/hutch/hutch.yaml\n"
	"  5. $XDG_CONFIG_HOME/hutch/hutch.yaml, or ~/.config/hutch/hutch.yaml\n"
	"  6. ./hutch.yaml\n"
	"  7. each --config FILE, in their order\n"
	"  8. HUTCH_KEY of the environment\n"
	"  9. flags\n"
	"\n"
	"Policies (--policy, /etc/hutch/policy.d) are no layer but a ceiling: what goes over one\n"
	"is refused, whoever asked for it. `hutch check --effective` prints each key, its value,\n"
	"and who gave it.\n"
	"\n"
	"A file that is not there is passed over if nobody named it (4 to 6); one that cannot be\n"
	"read, or is wrong, is an error with its line. --no-config goes without those three.\n"
	"\n"
	"./hutch.yaml comes with the folder, and may be its author's rather than yours. So it\n"
	"and what it extends only say what the machine is like within. Keys that lead out of it,\n"
	"or loosen what holds it, are an error: jail, level, on_violation and its like, console,\n"
	"ctl, net, vsock, rootfs_rw. Paths have to lead, links and all, to something beneath its\n"
	"folder (a rootfs may be a name in the store of images, too), and the guest cannot write\n"
	"the disks that it names, but for their overlays. `-C ./hutch.yaml` is to trust it, and\n"
	"takes all of it. Besides, it is passed over with a warning unless you or root own it\n"
	"(and the link, if it is one) and not everybody may write it. It still decides what is\n"
	"run and how much of this host that takes; policies bound that, and --no-config is to go\n"
	"without.\n"
	"\n"
	"Files are YAML or JSON, or TOML if their names end in .toml. Scalars and lists replace\n"
	"what was said before; `disk+:` (in TOML \"disk+\", in quotes) appends to a list, and\n"
	"null takes a key back to what it is if nobody names it (TOML has no null). A list's\n"
	"elements are as on the command line, or mappings: in TOML, [[disk]] and keys below it.\n"
	"\n"
	"`extends: FILE` begins from another file, as seen from the folder of the one that says\n"
	"so. Up to 8 may extend one another. All templates lie below all files:\n"
	"/etc/hutch/hutch.yaml wins over what ./hutch.yaml extends, and one that several files\n"
	"extend is merged once. --template NAME is NAME.yaml, .yml, .json or .toml in\n"
	"~/.config/hutch/templates, or else in /etc/hutch/templates; with an ending or a / it is\n"
	"a FILE.\n"
	"\n"
	"HUTCH_MEMORY=1G is the key memory, HUTCH_ON_VIOLATION=log on-violation, and so on; a\n"
	"list gets one element, in place of all. An empty variable is as good as none.\n"
	"HUTCH_KERNEL and HUTCH_INITRD are no keys: they are the guest that is used when none is\n"
	"named, as HUTCH_BOX is run's. Nor are HUTCH_ROOT (the folder of all sandboxes),\n"
	"HUTCH_CONFIG_D and HUTCH_POLICY_D (for /etc/hutch and /etc/hutch/policy.d). Others of\n"
	"this prefix are not ours and ignored, but one that looks like a key is warned of.\n"
	"\n"
	"Other verbs that take keys (boot, inspect) have built-in, templates, --config and flags\n"
	"alone.\n";

/* --- files --- */

static const char *etc(void)
{
	const char *folder = getenv("HUTCH_CONFIG_D");

	return folder && *folder ? folder : ETC;
}

/* "hutch.yaml" in the caller's own folder: false if there is no such folder */
static bool own(const char *name, char *buf, size_t size)
{
	const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	int n = 0;

	if (xdg && *xdg == '/')
		n = snprintf(buf, size, "%s/hutch/%s", xdg, name);
	else if (home && *home == '/')
		n = snprintf(buf, size, "%s/.config/hutch/%s", home, name);
	return n && n < (int)size;
}

static bool has_end(const char *name, const char *end)
{
	size_t len = strlen(name), n = strlen(end);

	return len > n && !strcmp(name + len - n, end);
}

/* "NAME.yaml" in one of the folders of templates */
static bool find_template(const char *name, char *buf, size_t size)
{
	static const char *const ends[] = { ".yaml", ".yml", ".json", ".toml" };
	char file[256];

	for (size_t i = 0; i < 2 * sizeof(ends) / sizeof(*ends); i++) {
		bool there;

		snprintf(file, sizeof(file), "templates/%.200s%s", name, ends[i / 2]);
		there = i % 2 ? snprintf(buf, size, "%s/%s", etc(), file) < (int)size
			      : own(file, buf, size);
		if (there && !access(buf, F_OK))
			return true;
	}
	return false;
}

static int push(struct layers *l, const char *path, unsigned flags)
{
	struct hutch_file *f = &l->file[l->n];

	f->flags = flags;
	f->path = strdup(path);
	if (!f->path) {
		complain("out of memory");
		return -1;
	}
	l->n++;
	return 0;
}

int layers_config(struct layers *l, const char *path)
{
	return push(l, path, 0);
}

int layers_template(struct layers *l, const char *what)
{
	char path[4096];

	if (strchr(what, '/') || has_end(what, ".yaml") || has_end(what, ".yml") ||
	    has_end(what, ".json") || has_end(what, ".toml"))
		return push(l, what, HUTCH_FILE_TEMPLATE);
	if (find_template(what, path, sizeof(path)))
		return push(l, path, HUTCH_FILE_TEMPLATE);
	complain("--template: there is no template '%s': no %s.yaml (.yml, .json, .toml) in "
		 "~/.config/hutch/templates or %s/templates; a file is named with its ending or "
		 "a /",
		 what, what, etc());
	return -1;
}

void layers_free(struct layers *l)
{
	for (unsigned i = 0; i < l->n; i++)
		free((char *)(uintptr_t)l->file[i].path);
	free(l->file);
}

static int load_files(const struct layers *l, const struct verb *verb, struct hutch *h)
{
	struct hutch_file *all = calloc(l->n + 3, sizeof(*all));
	char of_all[4096], of_user[4096];
	unsigned n = 0;
	int r;

	if (!all) {
		complain("out of memory");
		return -1;
	}
	if (verb->layers && !l->bare) {
		if (snprintf(of_all, sizeof(of_all), "%s/hutch.yaml", etc()) < (int)sizeof(of_all))
			all[n++] = (struct hutch_file){ of_all, HUTCH_FILE_OPTIONAL };
		if (own("hutch.yaml", of_user, sizeof(of_user)))
			all[n++] = (struct hutch_file){ of_user, HUTCH_FILE_OPTIONAL };
		/* it is read because it lies there, so it stays within a fence */
		all[n++] = (struct hutch_file){ HERE, HUTCH_FILE_OPTIONAL | HUTCH_FILE_OWN };
	}
	if (l->n)
		memcpy(all + n, l->file, l->n * sizeof(*all));
	r = hutch_load_files(h, all, n + l->n);
	free(all);
	if (r)
		complain("%s", hutch_error(h));
	return r ? -1 : 0;
}

/* --- the environment --- */

/* "HUTCH_ON_VIOLATION" */
static void variable(const char *key, char *buf, size_t size)
{
	snprintf(buf, size, PREFIX "%s", key);
	for (char *c = buf; *c; c++)
		*c = (char)toupper((unsigned char)*c);
}

/* one that means nothing is not ours, unless it looks as if it were to */
static void warn_unknown(const struct verb *verb, const char *name)
{
	static char text[NAMES_MAX][64];
	const char *names[NAMES_MAX + 1] = { NULL }, *near;
	struct hutch_key key;
	char upper[128];
	unsigned n = 0;

	for (unsigned i = 0; n < NAMES_MAX && !hutch_key(i, &key); i++) {
		if (!verb_takes(verb, &key))
			continue;
		variable(key.name, text[n], sizeof(text[n]));
		names[n] = text[n] + strlen(PREFIX);
		n++;
	}
	for (size_t i = 0; n < NAMES_MAX && i < sizeof(taken) / sizeof(*taken); i++)
		names[n++] = taken[i] + strlen(PREFIX);
	variable(name + strlen(PREFIX), upper, sizeof(upper));
	near = hutch_nearest(upper + strlen(PREFIX), names);
	if (near)
		caution("warning: the environment's %s means nothing; did you mean " PREFIX "%s?",
			name, near);
}

static int set_variable(struct hutch *h, const struct hutch_key *key, const char *name,
			const char *value)
{
	int r;

	if (key->list)
		hutch_clear(h, key->name);
	hutch_from(h, name);
	r = hutch_set(h, key->name, value);
	hutch_from(h, NULL);
	if (!r)
		return 0;
	complain("the environment's %s: %s", name, hutch_error(h));
	return -1;
}

/* which key a variable is: false if none */
static bool find_variable(const struct verb *verb, const char *name, struct hutch_key *ret)
{
	char text[64];

	for (unsigned i = 0; !hutch_key(i, ret); i++) {
		variable(ret->name, text, sizeof(text));
		if (verb_takes(verb, ret) && !strcmp(name, text))
			return true;
	}
	return false;
}

static int load_environment(const struct verb *verb, struct hutch *h)
{
	struct hutch_key key;
	char name[128];
	int r = 0;

	for (char **e = environ; !r && e && *e; e++) {
		const char *eq = strchr(*e, '=');

		/* one that is empty is as good as unset, as for a shell's ${NAME:-} */
		if (strncmp(*e, PREFIX, strlen(PREFIX)) || !eq || !eq[1] ||
		    (size_t)(eq - *e) >= sizeof(name))
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)(eq - *e), *e);
		if (is_taken(name))
			continue;
		if (find_variable(verb, name, &key))
			r = set_variable(h, &key, name, eq + 1);
		else
			warn_unknown(verb, name);
	}
	return r;
}

int layers_load(const struct layers *l, const struct verb *verb, struct hutch *h)
{
	int r = load_files(l, verb, h);

	return !r && verb->layers ? load_environment(verb, h) : r;
}
