/*
 * cmd_stop.c - hutch stop: end a sandbox, asking first
 *
 * In this order, each step only if the one before has not ended it: the agent
 * is asked to power off; the guest's power button is pressed; the machine is
 * stopped as it is; the process is killed.  The guest is given --time in all:
 * half of it for the agent, the rest for the button, but nobody who cannot
 * answer is waited for.  What comes then takes SURE at most.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "registry.h"
#include "tool.h"
#include "units.h"

#define SURE	 900	       /* ms for what the guest has no say in */
#define ANSWER	 200	       /* ms in which a machine answers on its socket */
#define TIME_MAX (86400000ULL) /* a day */

enum { FLAG_TIME, FLAGS };

static const struct flag flags[] = {
	[FLAG_TIME] = { .name = "time",
			.arg = "DURATION",
			.help = "how long the guest may take to power off [10s]" },
	{ .name = NULL },
};

struct stop {
	const struct box *box;
	uint64_t start, time; /* ms */
};

static void tell(const struct stop *s, const char *what)
{
	if (globals.verbose)
		complain("sandbox '%s': %s", s->box->name, what);
}

/* until so many ms after the start */
static bool ended_by(const struct stop *s, uint64_t ms)
{
	uint64_t gone = monotonic_ms() - s->start;

	return !box_wait(s->box, ms > gone ? (int)(ms - gone) : 0);
}

static int ask(const struct stop *s, const char *request)
{
	void *answer = NULL;
	long r = client_ask_box(s->box, request, ANSWER, true, &answer);

	free(answer);
	return r < 0 ? (int)r : 0;
}

static bool by_agent(const struct stop *s)
{
	int r = agent_poweroff(s->box->name, (unsigned)(s->time / 2));

	if (r) {
		tell(s, r == -ENOSYS ? "it has no agent to ask" : "its agent does not answer");
		return false;
	}
	tell(s, "its agent was asked to power off");
	return ended_by(s, s->time / 2);
}

static bool by_button(const struct stop *s)
{
	int r = ask(s, "powerbutton");

	if (r) {
		tell(s, r == -ETIMEDOUT ? "its machine does not answer"
					: "its guest does not listen to the power button");
		return false;
	}
	tell(s, "its power button was pressed");
	return ended_by(s, s->time);
}

static bool by_machine(const struct stop *s)
{
	uint64_t sure = monotonic_ms() - s->start + SURE / 2;

	if (ask(s, "stop")) {
		tell(s, "its machine does not answer");
		return false;
	}
	tell(s, "its machine was stopped");
	return ended_by(s, sure);
}

static int stop_box(struct box *box, uint64_t time)
{
	const struct stop s = { box, monotonic_ms(), time };

	if (!box->alive || box->status == BOX_EXITED) {
		tell(&s, "it had ended already");
		return 0;
	}
	if (box->status == BOX_PAUSED)
		tell(&s, "it is paused: its guest is not asked");
	else if (time && (by_agent(&s) || by_button(&s)))
		return 0;
	if (by_machine(&s))
		return 0;
	tell(&s, "its process is killed");
	return box_kill(box, "killed by hutch stop: it did not stop") ? EXIT_HUTCH : 0;
}

static int stop_one(const char *name, uint64_t time)
{
	struct box box;
	int r;

	if (box_open(name, &box))
		return EXIT_FAIL;
	r = stop_box(&box, time);
	box_close(&box);
	return r;
}

static int run_stop(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { 0 };
	int n = parse_names(argc, argv, verb, given, 1, -1), status = 0, r;
	uint64_t time = 10000;

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (given[FLAG_TIME].n && duration_parse("--time", given[FLAG_TIME].text, &time))
		return EXIT_USAGE;
	if (time > TIME_MAX) {
		complain("--time: '%s' is more than a day; 'hutch wait' waits longer",
			 given[FLAG_TIME].text);
		return EXIT_USAGE;
	}
	for (int i = 0; i < n; i++) {
		r = stop_one(argv[i], time);
		status = r > status ? r : status;
	}
	return status;
}

const struct verb verb_stop = {
	.name = "stop",
	.args = "[FLAGS] NAME...",
	.summary = "end sandboxes, asking their guests first",
	.text = "The agent is asked to power off, then the guest's power button is pressed, then\n"
		"the machine is stopped, then its process killed, until it has ended: within\n"
		"--time and a second. -v tells what was done.",
	.flags = flags,
	.run = run_stop,
};
