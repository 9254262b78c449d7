/* cmd_kill.c - hutch kill: end a sandbox at once, or pass a signal to it */
/* #syscalls:before pidfd_send_signal close */
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "registry.h"
#include "tool.h"

enum { FLAG_SIGNAL, FLAGS };

static const struct flag flags[] = {
	[FLAG_SIGNAL] = { .name = "signal",
			  .letter = 's',
			  .arg = "SIG",
			  .help = "pass this signal (TERM, SIGTERM or 15) to the sandbox, which "
				  "forwards it [KILL]" },
	{ .name = NULL },
};

/* "TERM", "sigterm", "15": 0 if it is none */
static int signal_of(const char *text)
{
	const char *name = strncasecmp(text, "SIG", 3) ? text : text + 3, *known;
	char *end;
	long v = strtol(text, &end, 10);

	if (isdigit((unsigned char)*text))
		return *end || v < 1 || v >= NSIG ? 0 : (int)v;
	for (int i = 1; i < NSIG; i++) {
		known = sigabbrev_np(i);
		if (known && !strcasecmp(name, known))
			return i;
	}
	return 0;
}

static int pass(const struct box *box, int signal)
{
	int fd = box_pidfd(box), r = 0;

	if (fd < 0)
		r = -ESRCH;
	else if (pidfd_send_signal(fd, signal, NULL, 0))
		r = -errno;
	if (fd >= 0)
		close(fd);
	if (r)
		complain("sandbox '%s': %s", box->name,
			 r == -ESRCH ? "it has ended meanwhile" : strerror(-r));
	return r;
}

static int kill_one(const char *name, int signal)
{
	struct box box;
	int r;

	if (box_open(name, &box))
		return EXIT_FAIL;
	if (!box.alive) {
		complain("sandbox '%s' has ended already; 'hutch rm %s' removes it", box.name,
			 box.name);
		r = EXIT_FAIL;
	} else if (signal == SIGKILL) {
		r = box_kill(&box, "killed by hutch kill") ? EXIT_HUTCH : 0;
	} else {
		r = pass(&box, signal) ? EXIT_FAIL : 0;
	}
	box_close(&box);
	return r;
}

static int run_kill(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { 0 };
	int n = parse_names(argc, argv, verb, given, 1, -1), signal = SIGKILL, status = 0, r;

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (given[FLAG_SIGNAL].n)
		signal = signal_of(given[FLAG_SIGNAL].text);
	if (!signal) {
		complain("kill: '%s' is no signal; write its name or number, as in TERM or 15",
			 given[FLAG_SIGNAL].text);
		return EXIT_USAGE;
	}
	for (int i = 0; i < n; i++) {
		r = kill_one(argv[i], signal);
		status = r > status ? r : status;
	}
	return status;
}

const struct verb verb_kill = {
	.name = "kill",
	.args = "[FLAGS] NAME...",
	.summary = "end sandboxes at once, or pass a signal to them",
	.text = "Without -s nothing in the sandbox has a say, and nothing of it is kept; `hutch "
		"stop` asks first.",
	.flags = flags,
	.run = run_kill,
};
