/*
 * cmd_snap_prune.c - hutch snap prune and hutch snap rm: snapshots that are not needed any more go
 *
 * A snapshot is of no use without its parent, so none goes before those that
 * need it, whoever ends this in the midst of it.
 */
/* #syscalls:before unlink newfstatat */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image_build.h"
#include "restore.h"
#include "snap_store.h"
#include "units.h"

/* a folder, and what is in it */
struct store {
	const char *folder;
	struct hutch *h;
	struct snap_list all;
};

static bool is_parent(const struct snap_listed *of, const struct snap_listed *s)
{
	return !strcmp(of->snap.parent, s->snap.id);
}

/* one that needs it, and stays for now; of several copies each is its parent */
static const struct snap_listed *child_of(const struct snap_list *all, const struct snap_listed *s)
{
	for (unsigned i = 0; i < all->n; i++)
		if (is_parent(&all->at[i], s) && &all->at[i] != s)
			return &all->at[i];
	return NULL;
}

/* a file of another name or content may have come since: what goes is what was looked at */
static int remove_file(const struct store *store, const struct snap_listed *s)
{
	struct hutch_snap now;
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s.snap", store->folder, s->name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	if (hutch_snap_look(store->h, path, &now, NULL) < 0 || strcmp(now.id, s->snap.id))
		return 0;
	if (!unlink(path) || errno == ENOENT)
		return 0;
	complain("snapshot %s: cannot be removed: %s", path, strerror(errno));
	return -errno;
}

static void drop(struct snap_list *all, unsigned i)
{
	memmove(&all->at[i], &all->at[i + 1], (--all->n - i) * sizeof(*all->at));
}

/* all that go, each after its children, and each name is printed; the exit status */
static int remove_all(struct store *store, bool dry, bool quiet)
{
	struct snap_list *all = &store->all;
	bool some = true;
	int status = 0;

	while (some) {
		some = false;
		for (unsigned i = all->n; i-- > 0;) {
			const struct snap_listed *s = &all->at[i];

			if (!s->goes || child_of(all, s))
				continue;
			if (!dry && remove_file(store, s)) {
				all->at[i].goes = false; /* and so its parents stay */
				status = EXIT_HUTCH;
				continue;
			}
			if (!quiet)
				puts(s->name);
			drop(all, i);
			some = true;
		}
	}
	return status;
}

static void tell_kept(const struct store *store)
{
	for (unsigned i = 0; i < store->all.n; i++) {
		const struct snap_listed *s = &store->all.at[i], *child = child_of(&store->all, s);

		if (s->goes && child)
			inform("%s stays: it is the parent of %s", s->name, child->name);
	}
}

/* --- prune --- */

enum { PRUNE_KEEP, PRUNE_MAX_AGE, PRUNE_DRY_RUN, PRUNE_FLAGS };

static const struct flag prune_flags[] = {
	[PRUNE_KEEP] = { .name = "keep",
			 .arg = "N",
			 .help = "the last N of each machine stay, however old" },
	[PRUNE_MAX_AGE] = { .name = "max-age",
			    .arg = "TIME",
			    .help = "those that are no older stay, however many, as in 7d" },
	[PRUNE_DRY_RUN] = { .name = "dry-run", .help = "print what would go, and remove nothing" },
	{ .name = NULL },
};

struct rule {
	bool by_number, by_age, dry, silent, any_name;
	uint64_t keep, oldest_ms; /* of the epoch */
};

static bool digits(const char *s, size_t n)
{
	return strspn(s, "0123456789") >= n;
}

/* how much of NAME-YYYYMMDD-HHMMSS and NAME-YYYYMMDD-HHMMSS-N is NAME; 0: `hutch snapshot` did not
 * name it */
static size_t named_by_us(const char *name)
{
	const char *p = name + strlen(name);

	while (p > name) {
		while (--p > name && *p != '-')
			;
		if (p > name && digits(p + 1, 8) && p[9] == '-' && digits(p + 10, 6) &&
		    (!p[16] || p[16] == '-'))
			return (size_t)(p - name);
	}
	return 0;
}

/* which machine's: what stands before the time, or of a file by another name the machine's own */
static size_t machine_of(const struct snap_listed *s, const char **ret)
{
	size_t n = named_by_us(s->name);

	*ret = n ? s->name : s->snap.name;
	return n ? n : strlen(s->snap.name);
}

static bool same_machine(const struct snap_listed *a, const struct snap_listed *b)
{
	const char *x, *y;
	size_t n = machine_of(a, &x);

	return machine_of(b, &y) == n && !memcmp(x, y, n);
}

static bool is_named(const struct snap_listed *s, const char *name)
{
	const char *machine;
	size_t n = machine_of(s, &machine);

	return strlen(name) == n && !memcmp(name, machine, n);
}

/* who gave one in the store a name of its own wants to have it by that */
static bool counts(const struct snap_listed *s, const struct rule *rule)
{
	return rule->any_name || named_by_us(s->name);
}

/* the newest stand at the end */
static bool stays(const struct store *store, unsigned i, const struct rule *rule)
{
	const struct snap_listed *s = &store->all.at[i];
	uint64_t newer = 0;

	for (unsigned k = i + 1; k < store->all.n; k++)
		newer += counts(&store->all.at[k], rule) && same_machine(&store->all.at[k], s);
	return !counts(s, rule) || (rule->by_number && newer < rule->keep) ||
	       (rule->by_age && s->snap.created_ms >= rule->oldest_ms);
}

/* of @name, NULL: of all machines */
static int prune_store(const char *folder, const char *name, const struct rule *rule)
{
	struct store store = { .folder = folder, .h = hutch_new() };
	bool found = !name;
	int status;

	if (!store.h) {
		complain("out of memory");
		return EXIT_HUTCH;
	}
	snap_store_read(folder, store.h, &store.all);
	for (unsigned i = 0; i < store.all.n; i++) {
		bool meant = !name || is_named(&store.all.at[i], name);

		found |= meant;
		store.all.at[i].goes = meant && !stays(&store, i, rule);
	}
	if (store.all.unknown) {
		complain("snap prune: %s: nothing goes, because what could not be read may need "
			 "it; move that elsewhere",
			 folder);
		status = EXIT_FAIL;
	} else if (!found) {
		complain("snap prune: there is no snapshot of a machine '%s' in %s; 'hutch snap "
			 "ls' lists them, and a folder is named with a / in it",
			 name, folder);
		status = EXIT_FAIL;
	} else {
		status = remove_all(&store, rule->dry, rule->silent);
		if (globals.verbose)
			tell_kept(&store);
	}
	free(store.all.at);
	hutch_free(store.h);
	return status;
}

static int prune_what(const char *what, struct rule *rule)
{
	char folder[PATH_MAX];
	struct stat st;

	rule->any_name = what && strchr(what, '/');
	if (rule->any_name) {
		if (!stat(what, &st) && S_ISDIR(st.st_mode))
			return prune_store(what, NULL, rule);
		complain("snap prune: %s: is no folder", what);
		return EXIT_FAIL;
	}
	if (snap_store_path(false, folder, sizeof(folder)))
		return 0; /* there is no store */
	return prune_store(folder, what, rule);
}

int snap_take_keep(const char *text, uint64_t *ret)
{
	char *end;

	*ret = strtoul(text, &end, 10);
	if (digits(text, 1) && !*end)
		return 0;
	complain("--keep: '%s' is no number", text);
	*ret = 1;
	return -1;
}

int snap_keep_last(const char *machine, uint64_t n)
{
	struct rule rule = { .by_number = true, .keep = n, .silent = true };

	return prune_what(machine, &rule);
}

static int take_rule(const struct given *g, struct rule *rule)
{
	uint64_t age = 0, now = realtime_ms();

	*rule = (struct rule){ .by_number = g[PRUNE_KEEP].n,
			       .by_age = g[PRUNE_MAX_AGE].n,
			       .dry = g[PRUNE_DRY_RUN].n };
	if (!rule->by_number && !rule->by_age) {
		complain("snap prune: tell what stays: --keep N, --max-age TIME, or both");
		return -1;
	}
	if (rule->by_number && snap_take_keep(g[PRUNE_KEEP].text, &rule->keep))
		return -1;
	if (rule->by_age && duration_parse("--max-age", g[PRUNE_MAX_AGE].text, &age))
		return -1;
	rule->oldest_ms = now > age ? now - age : 0;
	return 0;
}

static int run_prune(int argc, char **argv, const struct verb *verb)
{
	struct given given[PRUNE_FLAGS] = { 0 };
	int n = parse_names(argc, argv, verb, given, 0, -1), status = 0, r;
	struct rule rule;

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (take_rule(given, &rule))
		return EXIT_USAGE;
	for (int i = 0; i < (n ? n : 1); i++) {
		r = prune_what(n ? argv[i] : NULL, &rule);
		status = r > status ? r : status;
	}
	return status;
}

const struct verb verb_snap_prune = {
	.name = "snap prune",
	.args = "--keep N|--max-age TIME [FLAGS] [NAME|FOLDER...]",
	.summary = "remove snapshots that are neither among the last ones nor young",
	.text = "Of the store; of the machine NAME there alone, or of another FOLDER, which has a\n"
		"/ in it. Each machine's are counted by themselves: its name is what stands "
		"before\n"
		"the time in the snapshot's, or where there is none what the machine was called.\n"
		"With --keep and --max-age one goes only if it is both too many and too old. What\n"
		"goes is printed. The parent of a snapshot that stays, stays too, and -v says so;\n"
		"parents of snapshots in other folders are not known. Other files are left alone,\n"
		"and so is a snapshot that is being written.",
	.flags = prune_flags,
	.run = run_prune,
};

/* --- rm --- */

enum { RM_FORCE, RM_FLAGS };

static const struct flag rm_flags[] = {
	[RM_FORCE] = { .name = "force",
		       .letter = 'f',
		       .help = "also one that others need, which are of no use from then on" },
	{ .name = NULL },
};

/* which in its folder needs it: its name in @child, or "" */
static void find_child(struct hutch *h, const char *path, char child[256])
{
	const char *slash = strrchr(path, '/');
	struct snap_listed s = { .goes = true };
	const struct snap_listed *found;
	struct snap_list all;
	char folder[PATH_MAX];

	child[0] = '\0';
	if (hutch_snap_look(h, path, &s.snap, NULL) < 0)
		return;
	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash + 1 - path) : 1,
		 slash ? path : ".");
	snap_store_read(folder, h, &all);
	found = child_of(&all, &s);
	if (found)
		snprintf(child, 256, "%s", found->name);
	free(all.at);
}

static int remove_one(struct hutch *h, const char *what, bool force)
{
	char path[PATH_MAX], child[256] = "";
	struct hutch_snap snap;

	if (snap_find(what, path, sizeof(path)))
		return EXIT_FAIL;
	/* a damaged one may go, what is none is not ours */
	if (hutch_snap_look(h, path, &snap, NULL) == -EINVAL) {
		complain("%s; rm(1) removes it", hutch_error(h));
		return EXIT_FAIL;
	}
	if (!force)
		find_child(h, path, child);
	if (*child) {
		complain("snapshot %s: is the parent of %s, which is of no use without it; remove "
			 "that one first, or use --force",
			 path, child);
		return EXIT_FAIL;
	}
	if (!unlink(path))
		return 0;
	complain("snapshot %s: cannot be removed: %s", path, strerror(errno));
	return errno == ENOENT ? EXIT_FAIL : EXIT_HUTCH;
}

static int run_rm(int argc, char **argv, const struct verb *verb)
{
	struct given given[RM_FLAGS] = { 0 };
	int n = parse_names(argc, argv, verb, given, 1, -1), status = 0, r;
	struct hutch *h = hutch_new();

	if (n < 0 || !h) {
		hutch_free(h);
		return n == -2 ? 0 : EXIT_USAGE;
	}
	for (int i = 0; i < n; i++) {
		r = remove_one(h, argv[i], given[RM_FORCE].n);
		status = r > status ? r : status;
	}
	hutch_free(h);
	return status;
}

const struct verb verb_snap_rm = {
	.name = "snap rm",
	.args = "[FLAGS] SNAPSHOT...",
	.summary = "remove snapshots",
	.text = "One that is the parent of another in its folder is refused. A machine that was\n"
		"restored from it goes on.",
	.flags = rm_flags,
	.run = run_rm,
};
