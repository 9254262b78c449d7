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

static void tell_event(const struct box *box, const char *path)
{
	char members[PATH_MAX + 32] = "";
	FILE *out = fmemopen(members, sizeof(members), "w");
	long n = -1;

	if (out) {
		fputs(",\"path\":", out);
		json_text(out, path);
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
	tell_event(box, realpath(path, whole) ? whole : path);
	return renew(box, path);
}

static int run_rollback(int argc, char **argv, const struct verb *verb)
{
	int n = parse_names(argc, argv, verb, NULL, 2, 2), status = EXIT_FAIL;
	char path[PATH_MAX];
	struct box box;

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (snap_path(argv[1], path, sizeof(path)) || box_open(argv[0], &box))
		return EXIT_FAIL;
	status = roll_back(&box, path);
	box_close(&box);
	return status;
}

const struct verb verb_rollback = {
	.name = "rollback",
	.args = "NAME SNAPSHOT",
	.summary = "let a sandbox go back to a snapshot of it",
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
		"until the sandbox is stopped, or a limit ends it, and its own status is 125.",
	.run = run_rollback,
};
