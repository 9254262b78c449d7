/* cmd_snapshot.c - hutch snapshot: a machine that runs, into a file */
/* #syscalls:before clock_gettime time newfstatat fchmod close ioctl:TCGETS */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "image_build.h"
#include "registry.h"
#include "tool.h"
#include "units.h"

enum { FLAG_LABEL, FLAG_COMPRESS, FLAGS };

static const struct flag flags[] = {
	[FLAG_LABEL] = { .name = "label",
			 .arg = "TEXT",
			 .help = "what `hutch snap ls` shows of it" },
	[FLAG_COMPRESS] = { .name = "compress",
			    .arg = "zlib[:N]|none",
			    .help = "how hard the memory is packed, from 1 to 9; each step is "
				    "slower "
				    "and a little smaller [zlib:1]" },
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

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void tell(const char *path, double took)
{
	char size[32], resident[32], memory[32];
	struct hutch *h = hutch_new();
	struct hutch_snap snap;

	if (h && hutch_snap_look(h, path, &snap, NULL) >= 0)
		inform("%s of %s that were in use, of %s, in %.2f s",
		       bytes_print(snap.size, size, sizeof(size)),
		       bytes_print(snap.resident, resident, sizeof(resident)),
		       bytes_print(snap.memory, memory, sizeof(memory)), took);
	hutch_free(h);
}

static int save(const struct box *box, const char *path, const char *label, int level)
{
	struct image_temp temp;
	char request[256];
	void *answer = NULL;
	double begin = seconds();
	long r;

	if (image_temp_open(&temp, path))
		return EXIT_HUTCH;
	fchmod(temp.fd, 0600); /* a guest's memory has its secrets in it */
	snprintf(request, sizeof(request), "snapshot %d %s", level, label);
	r = client_ask_fd(box, request, temp.fd, &answer);
	free(answer);
	if (r < 0) {
		image_temp_drop(&temp);
		return EXIT_FAIL;
	}
	if (image_temp_commit(&temp, path))
		return EXIT_HUTCH;
	close(temp.fd);
	puts(path);
	if (!globals.quiet && isatty(STDERR_FILENO))
		tell(path, seconds() - begin);
	return 0;
}

static int run_snapshot(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { 0 };
	int n = parse_names(argc, argv, verb, given, 1, 2), level, status;
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
	if (box_open(argv[0], &box))
		return EXIT_FAIL;
	if (n == 2)
		snprintf(path, sizeof(path), "%s", argv[1]);
	if (n < 2 && name_it(box.name, path, sizeof(path)))
		status = EXIT_HUTCH;
	else
		status = save(&box, path, given[FLAG_LABEL].n ? given[FLAG_LABEL].text : "", level);
	box_close(&box);
	return status;
}

const struct verb verb_snapshot = {
	.name = "snapshot",
	.args = "[FLAGS] NAME [FILE]",
	.summary = "save a running machine, memory and devices, into a file",
	.text = "The machine stands still until it is saved, then it goes on. FILE appears whole\n"
		"or not at all; without it the snapshot goes into the store, under the sandbox's "
		"name\n"
		"and the time (UTC). Its path is printed. `hutch restore` and `hutch run --from` "
		"go\n"
		"on from it, as often as you like. Images of disks are not in it: it knows their\n"
		"sizes and times, and a restore refuses one that was written since.",
	.flags = flags,
	.run = run_snapshot,
};
