/* cmd_snap_diff.c - hutch snap diff: what is different in two snapshots */
#include <string.h>

#include "archive.h"
#include "image_build.h"
#include "json.h"
#include "progress.h"
#include "restore.h"
#include "snap_store.h"

/* as a terminal may have it: a file may say anything */
static void print_text(const char *text)
{
	char clean[1024];

	archive_clean(clean, sizeof(clean), text, strlen(text));
	fputs(clean, stdout);
}

static void print_json(const char *where, const char *a, const char *b, bool first)
{
	const char *const word[] = { where, a, b }, *const name[] = { "where", "a", "b" };

	for (unsigned i = 0; i < sizeof(word) / sizeof(*word); i++) {
		printf("%s\"%s\":", i ? "," : first ? "{\"differences\":[\n {" : ",\n {", name[i]);
		if (word[i])
			json_text(stdout, word[i]);
		else
			fputs("null", stdout);
	}
	fputs("}", stdout);
}

static void print_difference(void *arg, const char *where, const char *a, const char *b)
{
	bool *first = arg;

	if (globals.json) {
		print_json(where, a, b, *first);
		*first = false;
		return;
	}
	print_text(where);
	if (!a || !b) {
		printf(": only in the %s", a ? "first" : "second");
		if (*(a ? a : b))
			fputs(": ", stdout);
		print_text(a ? a : b);
	} else if (*where == '/') {
		fputs(": ", stdout);
		print_text(a);
	} else {
		fputs(": ", stdout);
		print_text(*a ? a : "-");
		fputs(" -> ", stdout);
		print_text(*b ? b : "-");
	}
	putchar('\n');
}

static void print_numbers(const struct hutch_diff_part *p)
{
	printf("{\"chunks\":%lu,\"differ\":%lu,\"bytes\":%lu}", (unsigned long)p->chunks,
	       (unsigned long)p->differ, (unsigned long)p->bytes);
}

/* all disks up to the last one that something was written over */
static void print_data_json(const struct hutch_difference *d)
{
	unsigned disks = HUTCH_DISKS;

	fputs("\n],\"memory\":", stdout);
	if (d->memory.compared)
		print_numbers(&d->memory);
	else
		fputs("null", stdout);
	while (disks && !d->disk[disks - 1].chunks)
		disks--;
	fputs(",\"disks\":[", stdout);
	for (unsigned i = 0; i < disks; i++) {
		fputs(i ? "," : "", stdout);
		print_numbers(&d->disk[i]);
	}
	puts("]}");
}

static void print_data(const struct hutch_difference *d)
{
	const struct hutch_diff_part *p = &d->memory;

	if (p->differ)
		printf("memory: %lu of %lu chunks, %lu bytes in them\n", (unsigned long)p->differ,
		       (unsigned long)p->chunks, (unsigned long)p->bytes);
	for (unsigned i = 0; i < HUTCH_DISKS; i++) {
		p = &d->disk[i];
		if (p->differ)
			printf("disk@%u: %lu of %lu written chunks, %lu bytes in those that both "
			       "have\n",
			       i, (unsigned long)p->differ, (unsigned long)p->chunks,
			       (unsigned long)p->bytes);
	}
}

static char compared[] = "compared";

static int run_diff(int argc, char **argv, const struct verb *verb)
{
	int n = parse_names(argc, argv, verb, NULL, 2, 2), r = -1;
	struct hutch *h = hutch_new();
	struct hutch_difference data;
	char a[PATH_MAX], b[PATH_MAX];
	bool first = true;

	if (n < 0 || !h) {
		hutch_free(h);
		return n == -2 ? 0 : EXIT_USAGE;
	}
	if (!snap_find(argv[0], a, sizeof(a)) && !snap_find(argv[1], b, sizeof(b))) {
		hutch_on_progress(h, progress_tell, compared);
		r = hutch_snap_diff(h, a, b, print_difference, &first, &data);
		if (r < 0)
			complain("%s", hutch_error(h));
		else if (globals.json) {
			fputs(first ? "{\"differences\":[" : "", stdout);
			print_data_json(&data);
		} else {
			print_data(&data);
		}
	}
	hutch_free(h);
	return r < 0 ? EXIT_USAGE : r;
}

const struct verb verb_snap_diff = {
	.name = "snap diff",
	.args = "SNAPSHOT SNAPSHOT",
	.summary = "tell what is different in two snapshots",
	.text = "Keys of the configuration with both values, the parts of devices and processors\n"
		"and what in them differs, and how much of memory, and of what was written over\n"
		"disks where the snapshots have that: in chunks of 64 KiB, and in bytes.\n"
		"The exit status is that of diff(1): 0 if nothing differs, 1 if something does, 2\n"
		"if one of them cannot be read.",
	.run = run_diff,
};
