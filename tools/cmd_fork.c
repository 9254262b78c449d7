/* cmd_fork.c - hutch fork: several machines go on from where one is */
/* #syscalls:before unlink openat close getpid access */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attend.h"
#include "detach.h"
#include "image_build.h"
#include "policy.h"
#include "registry.h"

#define FORKS_MOST 1000

enum { FLAG_COUNT, FLAG_NAME, FLAG_TIMING, FLAGS };

static const struct flag flags[] = {
	[FLAG_COUNT] = { .name = "count", .letter = 'n', .arg = "N", .help = "how many [1]" },
	[FLAG_NAME] = { .name = "name",
			.arg = "NAME",
			.help = "they are NAME-1, NAME-2 and so on [the sandbox's name]" },
	[FLAG_TIMING] = { .name = "timing",
			  .help = "log how long each phase of the start took, when it ends (`hutch "
				  "logs --source vmm`)" },
	{ .name = NULL },
};

/* what they go on from */
struct origin {
	char path[PATH_MAX];
	char name[64];
	bool own; /* it was made for them: its memory is mapped, and it goes with this process */
};

/* a sandbox that runs stands still for as long as its memory takes to be written, in which the
 * page cache is what they share */
static int save(const struct box *box, struct origin *o)
{
	char folder[PATH_MAX];
	void *answer = NULL;
	long r;
	int fd;

	if (!image_cache_there(folder, sizeof(folder))) {
		complain("fork: there is no folder for its memory; set XDG_CACHE_HOME to one");
		return -1;
	}
	if (snprintf(o->path, sizeof(o->path), "%s/fork-%s.%d.memory.tmp", folder, box->id,
		     getpid()) >= (int)sizeof(o->path))
		return -1;
	fd = open(o->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		complain("fork: %s: %s", o->path, strerror(errno));
		return -1;
	}
	r = client_ask_fd(box, "snapshot 0+disks fork", fd, &answer);
	free(answer);
	close(fd);
	o->own = true;
	return r < 0 ? -1 : 0;
}

/* a sandbox by its name, or a snapshot */
static int find(const char *what, struct origin *o)
{
	struct hutch *h;
	struct hutch_snap snap;
	struct box box;
	int r = -1;

	if (snap_path(what, o->path, sizeof(o->path)))
		return -1;
	if (access(o->path, F_OK)) {
		if (box_open(what, &box))
			return -1;
		snprintf(o->name, sizeof(o->name), "%s", box.name);
		r = save(&box, o);
		box_close(&box);
		return r;
	}
	h = hutch_new();
	if (h && hutch_snap_look(h, o->path, &snap, NULL) >= 0) {
		snprintf(o->name, sizeof(o->name), "%s", snap.name);
		r = 0;
	} else if (h) {
		complain("%s", hutch_error(h));
	}
	hutch_free(h);
	return r;
}

/* the caller has the exit status in *@ret; the child is the machine, and returns false */
static bool make(const struct origin *o, const char *name, bool timing, int *ret)
{
	struct attend how = { .ready = -1, .timing = timing };
	struct hutch *h = hutch_new();
	bool caller;

	*ret = EXIT_FAIL;
	if (!h || restore_machine(h, o->path, name, "none", &how) ||
	    (how.started && policy_restored(h, NULL))) {
		hutch_free(h);
		return true;
	}
	if (o->own)
		hutch_restore_map(h);
	else
		hutch_restore_eager(h); /* into a file, which all of them then share */
	snprintf(how.command, sizeof(how.command), "fork %s", o->name);
	attend_begin(&how, true);
	caller = detach(&how.ready, ret);
	if (caller)
		hutch_free(h);
	else
		*ret = attend(h, &how);
	return caller;
}

static int count_of(const struct given *g)
{
	char *end;
	long n = g->n ? strtol(g->text, &end, 10) : 1;

	if (n >= 1 && n <= FORKS_MOST && (!g->n || !*end))
		return (int)n;
	complain("--count: '%s' is no number from 1 to %d", g->text, FORKS_MOST);
	return -1;
}

static int run_fork(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { 0 };
	int n = parse_names(argc, argv, verb, given, 1, 1), status = 0;
	struct origin o = { .own = false };
	char name[64];

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	n = count_of(&given[FLAG_COUNT]);
	if (n < 0)
		return EXIT_USAGE;
	if (find(argv[0], &o))
		status = EXIT_FAIL;
	for (int i = 1; !status && i <= n; i++) {
		if (snprintf(name, sizeof(name), "%s-%d",
			     given[FLAG_NAME].n ? given[FLAG_NAME].text : o.name,
			     i) >= (int)sizeof(name)) {
			complain("--name: it is too long");
			status = EXIT_USAGE;
		} else if (!make(&o, name, given[FLAG_TIMING].n, &status)) {
			return status;
		}
	}
	if (o.own)
		unlink(o.path);
	return status;
}

const struct verb verb_fork = {
	.name = "fork",
	.args = "[FLAGS] NAME|SNAPSHOT",
	.summary = "let several machines go on from where one is",
	.text = "Each goes on from this moment of the sandbox, which itself goes on too, or from\n"
		"the snapshot; they share the memory that they do not change, and are detached.\n"
		"Their names are printed as they begin. Clocks, entropy, host names, hardware\n"
		"addresses, /etc/machine-id and the kernel's boot_id are their own; what programs\n"
		"had drawn or cached before is not. Disks that the guest can write, and tap\n"
		"interfaces, cannot be had twice: see `hutch restore`.",
	.flags = flags,
	.run = run_fork,
};
