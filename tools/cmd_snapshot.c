/* cmd_snapshot.c - hutch snapshot: a machine that runs, into a file */
/* #syscalls:before time newfstatat fchmod close ioctl:TCGETS */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "every.h"
#include "image_build.h"
#include "json.h"
#include "registry.h"
#include "restore.h"
#include "snap_store.h"
#include "tool.h"
#include "units.h"

enum { FLAG_LABEL, FLAG_COMPRESS, FLAG_PARENT, FLAG_LIVE, FLAG_DISK, FLAG_KEEP, FLAG_EVERY, FLAGS };

#define EVERY_LEAST 60000 /* ms */

static const struct flag flags[] = {
	[FLAG_LABEL] = { .name = "label",
			 .arg = "TEXT",
			 .help = "what `hutch snap ls` shows of it" },
	[FLAG_COMPRESS] = { .name = "compress",
			    .arg = "zlib[:N]|none",
			    .help = "how hard the memory is packed, from 1 to 9; each step is "
				    "slower "
				    "and a little smaller [zlib:1]" },
	[FLAG_PARENT] = { .name = "parent",
			  .arg = "SNAPSHOT",
			  .help = "leave out what is as it was in that one, which is needed from "
				  "then "
				  "on" },
	[FLAG_LIVE] = { .name = "live",
			.help = "let the guest go on while its memory is packed: it stands "
				"still for some ms, and what it changes meanwhile is in memory "
				"twice" },
	[FLAG_DISK] = { .name = "disk",
			.help = "what was written to an overlay that has a file goes along, too, "
				"as "
				"it does of one that has none" },
	[FLAG_KEEP] = { .name = "keep",
			.arg = "N",
			.help = "then remove all but the last N of this sandbox from the store, as "
				"`hutch snap prune` does" },
	[FLAG_EVERY] = { .name = "every",
			 .arg = "TIME",
			 .help = "each time that this has passed, by a timer of systemd's" },
	{ .name = NULL },
};

/* -1 after a complaint */
static int take_level(const struct given *g)
{
	if (!g->n || !strcmp(g->text, "zlib"))
		return 1;
	if (!strcmp(g->text, "none"))
		return 0;
	if (!strncmp(g->text, "zlib:", 5) && g->text[5] >= '1' && g->text[5] <= '9' && !g->text[6])
		return g->text[5] - '0';
	complain("--compress: '%s' is neither none, zlib, nor zlib:1 to zlib:9", g->text);
	return -1;
}

/* a name in the store that nobody has: the sandbox's and the time */
static int name_it(const char *name, char *buf, size_t size)
{
	char folder[PATH_MAX], when[32];
	time_t now = time(NULL);
	struct tm tm;
	struct stat st;

	if (snap_store_path(true, folder, sizeof(folder)))
		return -1;
	strftime(when, sizeof(when), "%Y%m%d-%H%M%S", gmtime_r(&now, &tm));
	for (unsigned i = 1; i < 1000; i++) {
		int n = i == 1 ? snprintf(buf, size, "%s/%s-%s.snap", folder, name, when)
			       : snprintf(buf, size, "%s/%s-%s-%u.snap", folder, name, when, i);

		if (n < (int)size && lstat(buf, &st))
			return 0;
	}
	complain("there is no place for a snapshot in %s", folder);
	return -1;
}

/* what is asked for */
struct order {
	const struct box *box;
	const char *path, *label;
	int level;
	struct hutch *h;
	struct hutch_parent *parent; /* NULL: without */
	bool live, disks;
	double still_ms; /* if it is live: for how long the guest stood still */
	bool known;	 /* the machine could tell what has changed since */
};

static void tell_child(const struct order *o, const struct hutch_snap *snap, double took,
		       const char *still)
{
	char size[32], changed[32];

	bytes_print(snap->size, size, sizeof(size));
	if (o->known)
		inform("%s of %s that may have changed since, in %.2f s%s", size,
		       bytes_print(snap->resident, changed, sizeof(changed)), took, still);
	else
		inform("%s; the machine could not tell what has changed since, so all was written "
		       "and "
		       "compared, in %.2f s%s",
		       size, took, still);
}

static void tell_person(const struct order *o, const struct hutch_snap *snap, double took)
{
	char size[32], resident[32], memory[32], still[64] = "";

	if (o->live)
		snprintf(still, sizeof(still), "; the guest stood still for %.0f ms", o->still_ms);
	if (o->parent)
		tell_child(o, snap, took, still);
	else
		inform("%s of %s that were in use, of %s, in %.2f s%s",
		       bytes_print(snap->size, size, sizeof(size)),
		       bytes_print(snap->resident, resident, sizeof(resident)),
		       bytes_print(snap->memory, memory, sizeof(memory)), took, still);
}

static void print_json(const struct order *o, const struct hutch_snap *snap, double took)
{
	fputs("{\"path\":", stdout);
	json_text(stdout, o->path);
	printf(",\"id\":\"%s\",\"size\":%lu,\"resident\":%lu,\"memory\":%lu,\"parent\":\"%s\","
	       "\"compared\":%s,\"took_ms\":%.1f,\"still_ms\":",
	       snap->id, (unsigned long)snap->size, (unsigned long)snap->resident,
	       (unsigned long)snap->memory, snap->parent, o->parent && !o->known ? "true" : "false",
	       took * 1e3);
	if (o->live)
		printf("%.1f}\n", o->still_ms);
	else
		puts("null}");
}

/* it is there: to whoever asked, and to those who follow its sandbox */
static int tell(const struct order *o, double took)
{
	char members[RESTORE_MEMBERS];
	struct hutch_snap snap;

	if (hutch_snap_look(o->h, o->path, &snap, NULL) < 0) {
		complain("%s", hutch_error(o->h));
		return EXIT_HUTCH;
	}
	restore_members(&snap, o->path, members);
	box_event(o->box, HUTCH_LOG_INFO, "sandbox.snapshot", members);
	if (globals.json)
		print_json(o, &snap, took);
	else
		puts(o->path);
	if (!globals.quiet && (globals.verbose || isatty(STDERR_FILENO)))
		tell_person(o, &snap, took);
	return 0;
}

/* of what the machine has written; @temp is another file then, if it wrote all */
static int make_child(struct order *o, struct image_temp *temp)
{
	struct image_temp child;
	int r;

	if (o->known) {
		r = hutch_parent_end(o->h, o->parent, temp->fd);
	} else {
		if (image_temp_open(&child, o->path))
			return -1;
		fchmod(child.fd, 0600);
		r = hutch_parent_compare(o->h, o->parent, temp->fd, child.fd, o->level);
		image_temp_drop(r ? &child : temp);
		if (!r)
			*temp = child;
	}
	if (r)
		complain("%s", hutch_error(o->h));
	return r;
}

/* the machine's answer, the file that it has written in @temp */
static int ask(struct order *o, struct image_temp *temp)
{
	const char *verb = o->parent ? "child" : "snapshot";
	char request[256];
	void *answer = NULL;
	long r;

	snprintf(request, sizeof(request), "%s%s %d%s%s%s %s", o->live ? "live-" : "", verb,
		 o->level, o->disks ? "+disks" : "", o->parent ? " " : "",
		 o->parent ? hutch_parent_id(o->parent) : "", o->label);
	r = client_ask_fd(o->box, request, temp->fd, &answer);
	if (r > 0) {
		o->still_ms = strtod(answer, NULL) / 1e3;
		o->known = strstr(answer, "changed") != NULL;
	}
	free(answer);
	return r < 0 ? -1 : 0;
}

static int save(struct order *o)
{
	struct image_temp temp;
	double begin = (double)clock_ns(CLOCK_MONOTONIC) / 1e9;

	if (image_temp_open(&temp, o->path))
		return EXIT_HUTCH;
	fchmod(temp.fd, 0600); /* a guest's memory has its secrets in it */
	if (ask(o, &temp) || (o->parent && make_child(o, &temp))) {
		image_temp_drop(&temp);
		return EXIT_FAIL;
	}
	if (image_temp_commit(&temp, o->path))
		return EXIT_HUTCH;
	close(temp.fd);
	return tell(o, (double)clock_ns(CLOCK_MONOTONIC) / 1e9 - begin);
}

static int save_with_parent(struct order *o, const char *parent)
{
	char path[PATH_MAX];
	int status = EXIT_FAIL;

	o->h = hutch_new();
	if (!o->h) {
		complain("out of memory");
		return EXIT_HUTCH;
	}
	if (parent && !snap_find(parent, path, sizeof(path))) {
		o->parent = hutch_parent_open(o->h, path, o->path);
		if (!o->parent)
			complain("%s", hutch_error(o->h));
	}
	if (!parent || o->parent)
		status = save(o);
	hutch_parent_free(o->parent);
	hutch_free(o->h);
	return status;
}

/* what is about the store, and those to come there: -1 after a complaint */
static int check_store(const struct given *g, bool file, uint64_t *ret_keep, uint64_t *ret_every_ms)
{
	const char *which = g[FLAG_EVERY].n ? "every" : g[FLAG_KEEP].n ? "keep" : NULL;

	if (which && file) {
		complain("--%s: is about snapshots in the store; leave FILE out", which);
		return -1;
	}
	if (g[FLAG_EVERY].n && g[FLAG_PARENT].n) {
		complain("--every: each of them would be a child of the same parent; leave "
			 "--parent out");
		return -1;
	}
	if (g[FLAG_KEEP].n && (snap_take_keep(g[FLAG_KEEP].text, ret_keep) || !*ret_keep)) {
		if (!*ret_keep)
			complain("--keep: at least 1, which is the one that is made");
		return -1;
	}
	if (!g[FLAG_EVERY].n)
		return 0;
	if (duration_parse("--every", g[FLAG_EVERY].text, ret_every_ms))
		return -1;
	if (*ret_every_ms >= EVERY_LEAST)
		return 0;
	complain("--every: '%s' is too often; 1m at least", g[FLAG_EVERY].text);
	return -1;
}

static int run_snapshot(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { 0 };
	int n = parse_names(argc, argv, verb, given, 1, 2), level, status;
	uint64_t keep = 1, every_ms = 0;
	struct order order = { .h = NULL };
	char path[PATH_MAX];
	struct box box;

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	level = take_level(&given[FLAG_COMPRESS]);
	if (level < 0)
		return EXIT_USAGE;
	if (given[FLAG_LABEL].n &&
	    (strlen(given[FLAG_LABEL].text) > 127 || strpbrk(given[FLAG_LABEL].text, "\n\r\033"))) {
		complain("--label: at most 127 bytes, on one line");
		return EXIT_USAGE;
	}
	if (check_store(given, n == 2, &keep, &every_ms))
		return EXIT_USAGE;
	if (box_open(argv[0], &box))
		return EXIT_FAIL;
	if (given[FLAG_EVERY].n) {
		status = every(&box, every_ms, verb, given, FLAG_EVERY);
		box_close(&box);
		return status;
	}
	if (n == 2)
		snprintf(path, sizeof(path), "%s", argv[1]);
	order.box = &box;
	order.path = path;
	order.label = given[FLAG_LABEL].n ? given[FLAG_LABEL].text : "";
	order.level = level;
	order.live = given[FLAG_LIVE].n;
	order.disks = given[FLAG_DISK].n;
	if (n < 2 && name_it(box.name, path, sizeof(path)))
		status = EXIT_HUTCH;
	else
		status = save_with_parent(&order, given[FLAG_PARENT].text);
	if (!status && given[FLAG_KEEP].n)
		status = snap_keep_last(box.name, keep);
	box_close(&box);
	return status;
}

const struct verb verb_snapshot = {
	.name = "snapshot",
	.args = "[FLAGS] NAME [FILE]",
	.summary = "save a running machine, memory and devices, into a file",
	.text = "The machine stands still until it is saved, then it goes on; with --live it goes\n"
		"on while it is packed, one such snapshot at a time. FILE appears whole or not at\n"
		"all; without it the snapshot goes into the store, under the sandbox's name and\n"
		"the time (UTC). Its path is printed, or with --json what is known of it. `hutch\n"
		"restore` and `hutch run --from` go on from it, as often as you like.\n"
		"\n"
		"Of a disk of format=cow what was written to its overlay is in it, and each that\n"
		"is restored has that to itself; of an overlay with a file only with --disk. "
		"Other\n"
		"images are not in it: it knows their sizes and times, and a restore refuses one\n"
		"that was written since. With --live the guest may do that at once: if it has an\n"
		"image to write to, `hutch pause` it, save, copy the image, and `hutch resume` "
		"it.\n"
		"\n"
		"With --parent what is as it was in another snapshot, a file or a name, is left "
		"out,\n"
		"and read from there: so that one has to stay, in this one's folder or where it "
		"is.\n"
		"A machine knows what has changed since its last snapshot with --parent, and "
		"since the\n"
		"one that it was restored from if that one's memory was kept already (it is by "
		"the\n"
		"first restore), and only that is packed. Of another parent all is written, and\n"
		"compared while the machine goes on; -v tells which it was. --live does with\n"
		"either what it does without.\n"
		"`hutch snap log` shows a chain of them.\n"
		"\n"
		"With --every nothing is saved now: systemd-run(1) is asked for a timer that runs\n"
		"this command without --every, first when TIME has passed. Its name is printed;\n"
		"`systemctl stop` ends it, as does the end of this session of systemd's, and it\n"
		"fails each time once the sandbox has ended. Where there is no systemd the line\n"
		"for crontab(5) that does the same is told, and the exit status is 125.",
	.flags = flags,
	.run = run_snapshot,
};
