/* cmd_rollback.c - hutch rollback: a sandbox goes back to a snapshot of it */
/* #syscalls:before close getcwd readlink */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image_build.h"
#include "json.h"
#include "registry.h"
#include "restore.h"
#include "snap_guest.h"
#include "transfer.h"

enum { FLAG_DISK, FLAG_NET, FLAG_COPY_MAX, FLAGS };

static const struct flag flags[] = {
	[FLAG_DISK] = FLAG_SNAP_DISK,
	[FLAG_NET] = FLAG_SNAP_NET,
	[FLAG_COPY_MAX] = { .name = "copy-max",
			    .arg = "SIZE",
			    .help = "most that each GUEST-PATH may have [" SNAP_COPY_MAX "]" },
	{ .name = NULL },
};

/* its guest learns what time it is, and that its commands go on */
static const char *tell_guest(struct hutch *h, const struct box *box, const char *path)
{
	void *tree = NULL;
	long size = client_ask_box(box, "inspect", -1, true, &tree);
	int r = size < 0 ? -1 : hutch_renew(h, path, tree, (size_t)size);

	free(tree);
	return size < 0 ? "it has ended" : r < 0 ? hutch_error(h) : r ? restore_greet(h) : NULL;
}

static int renew(const struct box *box, const char *path)
{
	struct hutch *h = sandbox_handle(box->name);
	const char *why;

	if (!h) /* it was told */
		return EXIT_FAIL;
	why = tell_guest(h, box, path);
	if (why)
		complain("sandbox '%s' was rolled back, but does not answer: %s", box->name, why);
	hutch_free(h);
	return why ? EXIT_FAIL : 0;
}

/* @file: those of its files that came back; none: all of it did */
static void tell_event(const struct box *box, const char *path, char *const *file, int files)
{
	char members[4 * PATH_MAX] = "";
	FILE *out = fmemopen(members, sizeof(members), "w");
	long n = -1;

	if (out) {
		fputs(",\"path\":", out);
		json_text(out, path);
		for (int i = 0; i < files; i++) {
			fputs(i ? "," : ",\"files\":[", out);
			json_text(out, file[i]);
		}
		if (files)
			fputs("]", out);
		n = fflush(out) ? -1 : ftell(out);
		fclose(out);
	}
	/* half of a path is none */
	box_event(box, HUTCH_LOG_INFO, "execution.rollback",
		  n > 0 && n < (long)sizeof(members) - 1 ? members : "");
}

/* its process may open nothing: the file goes to it as a descriptor */
static int open_snapshot(const char *path)
{
	struct hutch *h = hutch_new();
	int fd = h ? hutch_snap_fd(h, path) : -ENOMEM;

	if (fd < 0)
		complain("%s", h ? hutch_error(h) : "out of memory");
	hutch_free(h);
	return fd;
}

static int roll_back(const struct box *box, const char *path)
{
	char request[1024], whole[PATH_MAX];
	int fd = open_snapshot(path);
	void *answer = NULL;
	long n;

	if (fd < 0)
		return EXIT_FAIL;
	snprintf(request, sizeof(request), "rollback %.900s", path);
	n = client_ask_fd(box, request, fd, &answer);
	close(fd);
	free(answer);
	if (n < 0)
		return EXIT_FAIL;
	tell_event(box, realpath(path, whole) ? whole : path, NULL, 0);
	return renew(box, path);
}

/* --- some of its files alone --- */

struct files {
	const struct box *box;
	char *const *path;
	int n, done;
	const char *most;
};

static int put_back(struct hutch *h, void *arg)
{
	struct files *f = arg;
	struct transfer t = { .what_for = "rollback", .wake = -1 };
	int r = -1;

	t.h = sandbox_handle(f->box->name);
	if (!t.h)
		return -1;
	if (hutch_set(t.h, "copy-max", f->most))
		complain("%s", hutch_error(t.h));
	else
		r = transfer_limit(&t);
	for (f->done = 0; !r && f->done < f->n; f->done += !r)
		r = transfer_across(&t, h, f->path[f->done]);
	hutch_free(t.h);
	return r;
}

static int files_back(struct files *f, const char *path, const struct given *g)
{
	char whole[PATH_MAX];
	int r;

	for (int i = 0; i < f->n; i++)
		if (f->path[i][0] != '/' || !f->path[i][strspn(f->path[i], "/.")]) {
			complain("'%s': write a path in the guest that begins with a slash, of a "
				 "file or a folder",
				 f->path[i]);
			return EXIT_USAGE;
		}
	r = snap_guest(path, &g[FLAG_DISK], &g[FLAG_NET], put_back, f);
	if (f->done)
		tell_event(f->box, realpath(path, whole) ? whole : path, f->path, f->done);
	return r ? EXIT_FAIL : 0;
}

static int run_rollback(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { 0 };
	int n = parse_names(argc, argv, verb, given, 2, -1), status = EXIT_FAIL;
	struct files files = { .path = argv + 2, .n = n - 2, .most = SNAP_COPY_MAX };
	char path[PATH_MAX];
	struct box box;

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (n == 2 && (given[FLAG_DISK].n || given[FLAG_NET].n || given[FLAG_COPY_MAX].n)) {
		complain("rollback: --disk, --net and --copy-max are about files: name some behind "
			 "the snapshot");
		return EXIT_USAGE;
	}
	if (given[FLAG_COPY_MAX].n)
		files.most = given[FLAG_COPY_MAX].text;
	if (snap_find(argv[1], path, sizeof(path)) || box_open(argv[0], &box))
		return EXIT_FAIL;
	files.box = &box;
	status = n > 2 ? files_back(&files, path, given) : roll_back(&box, path);
	box_close(&box);
	return status;
}

const struct verb verb_rollback = {
	.name = "rollback",
	.args = "[FLAGS] NAME SNAPSHOT [GUEST-PATH...]",
	.summary = "let a sandbox go back to a snapshot of it, or some of its files",
	.text = "SNAPSHOT is a name of `hutch snap ls`, or a file. The sandbox's process goes on,\n"
		"with its name, its sockets, its ports, networks and limits; memory, processors\n"
		"and devices are what they were when the snapshot was made, and the guest learns\n"
		"what time it is. All is checked first: another machine's snapshot, a damaged one\n"
		"and a disk that was written since are refused, and the sandbox runs on as it "
		"was.\n"
		"One that was paused is so no more. Connections into the guest end: each `hutch\n"
		"exec` fails at once. What it ran is gone, unless it ran when the snapshot was\n"
		"made: then it goes on there, but nobody listens. The same holds for the command\n"
		"of `hutch run`: its output is lost, and its exit status; that process then stays\n"
		"until the sandbox is stopped, or a limit ends it, and its own status is 125.\n"
		"\n"
		"With GUEST-PATHs only these files and folders become what they were, and all "
		"else\n"
		"goes on; what is in such a folder and was not there then stays. They are read as\n"
		"`hutch snap extract` reads them: a machine of SNAPSHOT is restored for it, so it\n"
		"needs what `hutch restore` needs.",
	.flags = flags,
	.run = run_rollback,
};
