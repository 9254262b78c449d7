/* cmd_restore.c - hutch restore: a machine goes on where a snapshot of it was made */
/* #syscalls:before clock_gettime */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "attend.h"
#include "detach.h"
#include "machine.h"
#include "restore.h"

#define ANSWER_MS 30000

enum {
	FLAG_NAME,
	FLAG_DETACH,
	FLAG_DISK,
	FLAG_NET,
	FLAG_VSOCK,
	FLAG_CONSOLE,
	FLAG_KEEP,
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
	[FLAG_TIMING] = { .name = "timing",
			  .help = "print how long each phase of the start took, on stderr" },
	{ .name = NULL },
};

static int set(struct hutch *h, const char *key, const char *value)
{
	if (!hutch_set(h, key, value))
		return 0;
	complain("%s", hutch_error(h));
	return -1;
}

/* "0=/path" is @sub of the first of @list, "0,engine=threads" other keys of it */
static int set_device(struct hutch *h, const char *list, const char *sub, const char *text)
{
	size_t n = strspn(text, "0123456789");
	char key[64];

	if (!n || n > 3 || (text[n] != '=' && text[n] != ',')) {
		complain("--%s %s: tell which one, as in --%s 0=%s", list, text, list,
			 strcmp(list, "disk") ? "tap1" : "copy.img");
		return -1;
	}
	snprintf(key, sizeof(key), "%s@%.*s%s%s", list, (int)n, text, text[n] == '=' ? "." : "",
		 text[n] == '=' ? sub : "");
	return set(h, key, text + n + 1);
}

static int set_all(struct hutch *h, const struct given *g)
{
	int r = 0;

	for (unsigned i = 0; !r && i < g[FLAG_DISK].n; i++)
		r = set_device(h, "disk", "path", g[FLAG_DISK].all[i]);
	for (unsigned i = 0; !r && i < g[FLAG_NET].n; i++)
		r = set_device(h, "net", "tap", g[FLAG_NET].all[i]);
	if (!r && g[FLAG_VSOCK].n)
		r = set(h, "vsock@0.path", g[FLAG_VSOCK].text);
	return r;
}

/* the agent is there, and knows what time it is */
static const char *greet(struct hutch *h)
{
	const struct hutch_request ask = { .what = HUTCH_ASK_INFO, .in = -1, .out = -1, .err = -1 };
	struct hutch_job *job = hutch_ask(h, &ask);
	static struct hutch_exit answer;
	int r = -EINVAL;

	if (job)
		r = hutch_job_wait(job, ANSWER_MS, hutch_event_fd(h), &answer);
	hutch_job_free(job);
	return !r		 ? answer.how == HUTCH_REFUSED ? answer.text : NULL
	       : r == -ETIMEDOUT ? "the guest's agent does not answer"
	       : r == -EINTR	 ? "the machine ended before its agent answered"
				 : hutch_error(h);
}

/* its name, its console, and where its devices lead now */
static int prepare(struct hutch *h, const char *what, const struct given *g, struct attend *how)
{
	char agent[8], path[4096];
	struct hutch_snap snap;
	bool box;

	if (snap_path(what, path, sizeof(path)) || restore_guest(h, what, false) ||
	    hutch_snap_look(h, path, &snap, NULL) < 0 ||
	    hutch_get(h, "agent", agent, sizeof(agent)))
		return -1;
	box = !strcmp(agent, "yes");
	restore_members(h, what, how->restored);
	snprintf(how->command, sizeof(how->command), "restore %s", what);
	if (box)
		how->started = greet;
	/* a sandbox is reached by its name alone, and so it has one; a raw machine may be without
	 */
	if (set(h, "name", g[FLAG_NAME].n ? g[FLAG_NAME].text : snap.name) ||
	    set(h, "jail", "basic") ||
	    set(h, "console",
		g[FLAG_CONSOLE].n	  ? g[FLAG_CONSOLE].text
		: box || g[FLAG_DETACH].n ? "none"
					  : "-"))
		return -1;
	return set_all(h, g);
}

static int run_restore(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { 0 };
	struct attend how = { .ready = -1 };
	struct hutch *h = hutch_new();
	struct timespec cpu;
	int n, status = -1;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	how.exec_us = (double)cpu.tv_sec * 1e6 + (double)cpu.tv_nsec / 1e3;
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
	.text = "SNAPSHOT is a name of `hutch snap ls`, or a file. The guest goes on with its "
		"next\n"
		"instruction; what it had on the host's side (disks, networks) has to be there, "
		"and\n"
		"may be named anew. A disk's image must hold what it held then: one that was "
		"written\n"
		"since is refused, unless it is named with --disk. The agent of a sandbox is told\n"
		"what time it is and given fresh entropy. Connections from before are closed; the\n"
		"commands that were run over them, by `hutch run` or `hutch exec`, go on, but\n"
		"nobody listens: what they say is lost, their input stays open and silent, and\n"
		"when they end it is told to nobody, and the machine stays until `hutch stop`. "
		"The\n"
		"exit status is `hutch boot`'s.",
	.flags = flags,
	.run = run_restore,
};
