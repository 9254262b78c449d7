/* cmd_snap.c - hutch snap: list snapshots, look into them, verify them */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "archive.h"
#include "image_build.h"
#include "json.h"
#include "progress.h"
#include "restore.h"
#include "snap_store.h"
#include "tool.h"
#include "units.h"

static const char *when(uint64_t ms, char *buf, size_t size)
{
	time_t t = (time_t)(ms / 1000);
	struct tm tm;

	strftime(buf, size, "%Y-%m-%d %H:%M:%S", gmtime_r(&t, &tm));
	return buf;
}

/* --- ls --- */

/* as a file is named in the store */
static void name_of(const char *path, char *buf, size_t size)
{
	const char *slash = strrchr(path, '/');
	size_t len;

	path = slash ? slash + 1 : path;
	len = strlen(path);
	if (len > 5 && !strcmp(path + len - 5, ".snap"))
		len -= 5;
	snprintf(buf, size, "%.*s", (int)len, path);
}

static const char *print_parent(const struct hutch_snap *snap, char *buf, size_t size)
{
	char name[256];

	if (!*snap->parent)
		return "-";
	name_of(snap->parent_path, name, sizeof(name));
	archive_clean(buf, size, name, strlen(name));
	return buf;
}

static void print_head(void)
{
	printf("%-36s %-19s %10s %10s %-36s %s\n", "NAME", "MADE (UTC)", "SIZE", "MEMORY", "PARENT",
	       "LABEL");
}

static void print_listed(const struct snap_listed *l, bool last)
{
	char time[32], size[32], memory[32], label[520], parent[1024];

	if (globals.json) {
		printf("{\"name\":");
		json_text(stdout, l->name);
		printf(",\"id\":\"%s\",\"created_ms\":%lu,\"size\":%lu,\"memory\":%lu,\"sandbox\":",
		       l->snap.id, (unsigned long)l->snap.created_ms, (unsigned long)l->snap.size,
		       (unsigned long)l->snap.memory);
		json_text(stdout, l->snap.name);
		printf(",\"label\":");
		json_text(stdout, l->snap.label);
		printf(",\"parent\":\"%s\",\"parent_path\":", l->snap.parent);
		json_text(stdout, l->snap.parent_path);
		printf("}%s\n", last ? "" : ",");
		return;
	}
	/* a label may hold anything, and a terminal would obey some of it */
	archive_clean(label, sizeof(label), l->snap.label, strlen(l->snap.label));
	printf("%-36s %s %10s %10s %-36s %s\n", l->name,
	       when(l->snap.created_ms, time, sizeof(time)),
	       bytes_print(l->snap.size, size, sizeof(size)),
	       bytes_print(l->snap.memory, memory, sizeof(memory)),
	       print_parent(&l->snap, parent, sizeof(parent)), label);
}

static int run_ls(int argc, char **argv, const struct verb *verb)
{
	int n = parse_names(argc, argv, verb, NULL, 0, 0);
	struct hutch *h = hutch_new();
	struct snap_list all = { .n = 0 };
	char folder[PATH_MAX];

	if (n < 0 || !h) {
		hutch_free(h);
		return n == -2 ? 0 : EXIT_USAGE;
	}
	if (!snap_store_path(false, folder, sizeof(folder)))
		snap_store_read(folder, h, &all);
	if (globals.json)
		puts("[");
	else if (all.n)
		print_head();
	for (unsigned i = 0; i < all.n; i++)
		print_listed(&all.at[i], i + 1 == all.n);
	if (globals.json)
		puts("]");
	free(all.at);
	hutch_free(h);
	return 0;
}

static const struct verb verb_ls = {
	.name = "snap ls",
	.args = "[FLAGS]",
	.summary = "list the snapshots in the store, the oldest first",
	.run = run_ls,
};

/* --- log --- */

static int look(struct hutch *h, const char *path, struct snap_listed *l)
{
	name_of(path, l->name, sizeof(l->name));
	return hutch_snap_look(h, path, &l->snap, NULL) < 0 ? -1 : 0;
}

/* from the snapshot at @path on to the first of its chain, or to where that is broken */
static int print_chain(struct hutch *h, char path[PATH_MAX])
{
	struct snap_listed l, next;
	int r = look(h, path, &l);

	if (!r && !globals.json)
		print_head();
	for (unsigned n = 1; !r; n++) {
		bool first = !*l.snap.parent, most = n == HUTCH_SNAP_DEPTH;

		if (!first && !most)
			r = hutch_snap_parent(h, path, path, PATH_MAX) || look(h, path, &next);
		print_listed(&l, first || most || r);
		if (first)
			return 0;
		if (most) {
			complain("%s: a chain of more than %u files, of which none is restored",
				 path, HUTCH_SNAP_DEPTH);
			return -1;
		}
		l = next;
	}
	complain("%s", hutch_error(h));
	return -1;
}

static int run_log(int argc, char **argv, const struct verb *verb)
{
	int n = parse_names(argc, argv, verb, NULL, 1, 1), status = EXIT_FAIL;
	struct hutch *h = hutch_new();
	char path[PATH_MAX];

	if (n < 0 || !h) {
		hutch_free(h);
		return n == -2 ? 0 : EXIT_USAGE;
	}
	if (globals.json)
		puts("[");
	if (!snap_find(argv[0], path, sizeof(path)) && !print_chain(h, path))
		status = 0;
	if (globals.json)
		puts("]");
	hutch_free(h);
	return status;
}

static const struct verb verb_snap_log = {
	.name = "snap log",
	.args = "SNAPSHOT",
	.summary = "list a snapshot, its parent, and so on to the beginning",
	.text = "The exit status is 1 if one of them is missing, or another than it was; the\n"
		"message says which. Those before it are listed.",
	.run = run_log,
};

/* --- inspect --- */

enum { FLAG_BLOB = 0, INSPECT_FLAGS };

static const struct flag inspect_flags[] = {
	[FLAG_BLOB] = { .name = "blob",
			.help = "write the tree itself, a flattened device tree that fdtdump(1) "
				"reads" },
	{ .name = NULL },
};

static int print_blob(const void *tree, size_t size)
{
	int r = write_all(STDOUT_FILENO, tree, size);

	if (!r)
		return 0;
	complain("stdout: %s", strerror(-r));
	return EXIT_FAIL;
}

static int run_inspect(int argc, char **argv, const struct verb *verb)
{
	struct given given[INSPECT_FLAGS] = { 0 };
	int n = parse_names(argc, argv, verb, given, 1, 1), size = -1;
	struct hutch *h = hutch_new();
	struct hutch_snap snap;
	char path[PATH_MAX];
	void *tree = NULL;
	int status = EXIT_FAIL;

	if (n < 0 || !h) {
		hutch_free(h);
		return n == -2 ? 0 : EXIT_USAGE;
	}
	if (!snap_find(argv[0], path, sizeof(path))) {
		size = hutch_snap_look(h, path, &snap, &tree);
		if (size < 0)
			complain("%s", hutch_error(h));
	}
	if (size >= 0 && given[FLAG_BLOB].n)
		status = print_blob(tree, (size_t)size);
	else if (size >= 0)
		status = hutch_tree_print(tree, (size_t)size, stdout, globals.json) ? EXIT_FAIL : 0;
	free(tree);
	hutch_free(h);
	return status;
}

static const struct verb verb_snap_inspect = {
	.name = "snap inspect",
	.args = "[FLAGS] SNAPSHOT",
	.summary = "print the tree of a snapshot's machine",
	.flags = inspect_flags,
	.run = run_inspect,
};

/* --- verify --- */

static char verified[] = "verified";

static int run_verify(int argc, char **argv, const struct verb *verb)
{
	int n = parse_names(argc, argv, verb, NULL, 1, -1), status = 0;
	struct hutch *h = hutch_new();
	char path[PATH_MAX];

	if (n < 0 || !h) {
		hutch_free(h);
		return n == -2 ? 0 : EXIT_USAGE;
	}
	hutch_on_progress(h, progress_tell, verified);
	for (int i = 0; i < n; i++) {
		if (snap_find(argv[i], path, sizeof(path))) {
			status = EXIT_FAIL;
		} else if (hutch_snap_verify(h, path)) {
			complain("%s", hutch_error(h));
			status = EXIT_FAIL;
		} else if (!globals.quiet) {
			printf("%s: whole\n", argv[i]);
		}
	}
	hutch_free(h);
	return status;
}

static const struct verb verb_verify = {
	.name = "snap verify",
	.args = "SNAPSHOT...",
	.summary = "look at every byte of snapshots: are they what was written?",
	.text = "The exit status is 1 if one is not; the message says which part of it.",
	.run = run_verify,
};

static const struct verb *const subs[] = { &verb_ls,	  &verb_snap_log,     &verb_snap_inspect,
					   &verb_verify,  &verb_snap_diff,    &verb_snap_prune,
					   &verb_snap_rm, &verb_snap_extract, NULL };

const struct verb verb_snap = {
	.name = "snap",
	.args = "ls|log|inspect|verify|diff|extract|prune|rm",
	.summary = "list snapshots, look into them, verify, compare, copy out of and remove them",
	.sub = subs,
	.run = run_sub,
};
