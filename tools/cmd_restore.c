/* cmd_restore.c - hutch restore: a machine goes on where a snapshot of it was made */
#include <errno.h>
#include <string.h>

#include "attend.h"
#include "detach.h"
#include "machine.h"
#include "policy.h"
#include "restore.h"

enum {
	FLAG_NAME,
	FLAG_DETACH,
	FLAG_DISK,
	FLAG_NET,
	FLAG_VSOCK,
	FLAG_CONSOLE,
	FLAG_KEEP,
	FLAG_NO_LAZY,
	FLAG_TIMING,
	FLAGS
};

static const struct flag flags[] = {
	[FLAG_NAME] = { .name = "name",
			.arg = "NAME",
			.help = "name under which other commands find the machine [its name when "
				"the "
				"snapshot was made]" },
	[FLAG_DETACH] = { .name = "detach",
			  .letter = 'd',
			  .help = "leave once it runs, and print its name" },
	[FLAG_DISK] = { .name = "disk",
			.arg = "N=PATH|N,KEY=VALUE...",
			.many = true,
			.help = "disk N is this file now, which holds what the disk held when the "
				"snapshot was made" },
	[FLAG_NET] = { .name = "net",
		       .arg = "N=TAP|N,KEY=VALUE...",
		       .many = true,
		       .help = "card N is on this tap interface, or has these keys, as in "
			       "0,mode=user" },
	[FLAG_VSOCK] = { .name = "vsock",
			 .arg = "PATH",
			 .help = "socket through which programs reach the guest; a machine with a "
				 "name "
				 "has one in its run folder" },
	[FLAG_CONSOLE] = { .name = "console",
			   .arg = "WHERE",
			   .help = "where the console leads: - (this terminal), none, a file, or "
				   "fd:IN:OUT; none for a sandbox, - for others" },
	[FLAG_KEEP] = { .name = "keep",
			.help = "stay in `hutch ps --all` once it has ended, until `hutch rm`" },
	[FLAG_NO_LAZY] = { .name = "no-lazy",
			   .help = "unpack all of its memory before it runs, so that damage in it "
				   "is found by then; else the guest runs at once, and what it "
				   "touches comes first" },
	[FLAG_TIMING] = { .name = "timing",
			  .help = "print how long each phase of the start took, on stderr" },
	{ .name = NULL },
};

/* "0=/path" is @sub of the first of @list, "0,engine=threads" other keys of it */
static int set_device(struct hutch *h, const char *list, const char *sub, const char *text)
{
	size_t n = strspn(text, "0123456789");
	const char *rest = text[n] ? text + n + 1 : "";
	char key[64];

	if (!n || n > 3 || (text[n] != '=' && text[n] != ',')) {
		complain("--%s %s: tell which one, as in --%s 0=%s", list, text, list,
			 strcmp(list, "disk") ? "tap1" : "copy.img");
		return -1;
	}
	/* a word alone would be taken for the path */
	if (text[n] == ',' && rest[strcspn(rest, ",=")] != '=') {
		complain("--%s %s: write each of its keys as KEY=VALUE", list, text);
		return -1;
	}
	snprintf(key, sizeof(key), "%s@%.*s%s%s", list, (int)n, text, text[n] == '=' ? "." : "",
		 text[n] == '=' ? sub : "");
	return restore_set(h, key, rest);
}

static int set_all(struct hutch *h, const struct given *g)
{
	int r = 0;

	for (unsigned i = 0; !r && i < g[FLAG_DISK].n; i++)
		r = set_device(h, "disk", "path", g[FLAG_DISK].all[i]);
	for (unsigned i = 0; !r && i < g[FLAG_NET].n; i++)
		r = set_device(h, "net", "tap", g[FLAG_NET].all[i]);
	if (!r && g[FLAG_VSOCK].n)
		r = restore_set(h, "vsock@0.path", g[FLAG_VSOCK].text);
	return r;
}

/* its name, its console, and where its devices lead now */
static int prepare(struct hutch *h, const char *what, const struct given *g, struct attend *how)
{
	const char *console = g[FLAG_CONSOLE].n	 ? g[FLAG_CONSOLE].text
			      : g[FLAG_DETACH].n ? "none"
						 : NULL;

	return restore_machine(h, what, g[FLAG_NAME].text, console, how) || set_all(h, g) ||
			       (how->started && policy_restored(h, NULL))
		       ? -1
		       : 0;
}

static int run_restore(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { 0 };
	struct attend how = { .ready = -1 };
	struct hutch *h = hutch_new();
	int n, status = -1;

	attend_begin(&how, false);
	if (!h) {
		complain("out of memory");
		return EXIT_FAIL;
	}
	n = parse_names(argc, argv, verb, given, 1, 1);
	how.keep = given[FLAG_KEEP].n;
	how.timing = given[FLAG_TIMING].n;
	if (n < 0)
		status = n == -2 ? 0 : EXIT_USAGE;
	else if (prepare(h, argv[0], given, &how))
		status = EXIT_FAIL;
	else if (given[FLAG_DETACH].n && detach(&how.ready, &n))
		status = n;
	else if (given[FLAG_NO_LAZY].n)
		hutch_restore_eager(h);
	if (status >= 0) {
		hutch_free(h);
		return status;
	}
	return attend(h, &how);
}

const struct verb verb_restore = {
	.name = "restore",
	.args = "[FLAGS] SNAPSHOT",
	.summary = "let a machine go on from where a snapshot of it was made",
	.text = "SNAPSHOT is a name of `hutch snap ls`, or a file. The guest goes on with its\n"
		"next instruction; what it had on the host's side (disks, networks) has to be\n"
		"there, and may be named anew. A disk's image must hold what it held then: one\n"
		"that was written since is refused, unless it is named with --disk. An overlay "
		"that\n"
		"the snapshot has in it is this machine's own and goes with it, unless --disk\n"
		"N,overlay=FILE has it in a file, which is made. The agent of a sandbox is told\n"
		"what time it is and given fresh entropy. With --name NAME it is another machine:\n"
		"it has another host name, another hardware address of each card that was given\n"
		"none, another /etc/machine-id, if it has one, and another boot_id; without, it "
		"is\n"
		"who it was. Every guest that knows ACPI's VM generation id finds another there,\n"
		"and draws new random numbers. Connections from before are closed; the commands\n"
		"that were run over them, by `hutch run` or `hutch exec`, go on, but nobody\n"
		"listens: what they say is lost, their input stays open and silent, and when they\n"
		"end it is told to nobody, and the machine stays until `hutch stop`. The exit\n"
		"status is `hutch boot`'s.",
	.flags = flags,
	.run = run_restore,
};
