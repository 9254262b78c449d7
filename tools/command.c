/* #syscalls:caller epoll_create1 epoll_ctl epoll_wait read close ioctl:TIOCGWINSZ */
/* #syscalls:before rt_sigaction rt_sigprocmask signalfd4 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "units.h"

#define KILL_GRACE  150	    /* ms that a killed command has to tell how it ended */
#define KILL_MOST   2000    /* and no more, however slow its machine is */
#define TWICE	    2000    /* ms within which a second SIGINT ends all */
#define LONG_WAIT   3600000 /* ms until a limit that is far away is looked at again */
#define GUEST_END   500	    /* ms in which a guest that ends closed its agent's connection first */
#define AFTERMATH   200	    /* ms to read what was said before the machine's end */
#define FAULTS_TOLD 10000   /* ms between two words about devices that the guest breaks */

#define CPU_MS	    1000000ULL	/* ns that a CPU spends in a ms, */
#define FAST_MS	    20000000ULL /* and instructions of the fastest there is: 4 of 5 GHz */
#define OVERRUN	    20		/* ms that all CPUs may go over what they may spend */
#define SLOW	    10		/* percent of a processor: a throttled machine that had no limit */

const char *const command_rules[RULES] = { "timeout", "cpu_time", "idle_timeout", "fuel" };
const char *const command_answers[ANSWERS] = { "kill", "pause", "throttle", "log", "cut" };

struct state {
	struct command *c;
	struct hutch_job *job;
	int signals, wake;
	uint64_t begin, interrupted, moved_at, moved, kill_at, give_up_at;
	uint64_t fuel_begin; /* what was spent when the command began */
	unsigned missed, faults, rollbacks;
	uint64_t fault_at; /* when they were told */
	bool silent;	   /* the agent does not answer */
	bool fuel_lost;
	bool adrift; /* its machine was rolled back: its end is told to nobody */
	bool over;
};

static sigset_t passed(void)
{
	static const int all[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH };
	sigset_t set;

	sigemptyset(&set);
	for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++)
		sigaddset(&set, all[i]);
	return set;
}

int command_signals(void)
{
	sigset_t set = passed();

	signal(SIGPIPE, SIG_IGN);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int command_ends(void)
{
	sigset_t set = passed();

	sigdelset(&set, SIGWINCH); /* the command learns of it when it runs */
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

bool command_interrupted(struct command *c)
{
	struct signalfd_siginfo info;

	if (read(c->ends, &info, sizeof(info)) != sizeof(info))
		return false;
	c->fate = FATE_SIGNAL;
	c->signal = (int)info.ssi_signo;
	return true;
}

static void end(struct state *s, enum command_fate fate, const char *text)
{
	s->c->fate = fate;
	if (text)
		snprintf(s->c->text, sizeof(s->c->text), "%s", text);
	s->over = true;
}

/* a limit is reached, and so is one no longer */
static struct violation *add_violation(struct command *c, const char *name,
				       enum command_answer answer)
{
	struct violation *v = &c->violation[c->violations++];

	*v = (struct violation){ name, answer, realtime_ms(), 0 };
	return v;
}

static struct violation *violate(struct state *s, uint64_t *value, const char *name)
{
	*value = 0;
	return add_violation(s->c, name, ANSWER_KILL);
}

void command_violation(struct command *c, const char *limit)
{
	const struct violation *v = add_violation(c, limit, ANSWER_CUT);

	c->limit = limit;
	if (c->on_violation)
		c->on_violation(c->arg, v);
}

static void tell(struct state *s, const struct violation *v)
{
	if (s->c->on_violation)
		s->c->on_violation(s->c->arg, v);
}

/* the command is ended, and its last words are waited for */
static void kill_command(struct state *s, const char *name)
{
	uint64_t grace = s->c->limits.kill_after, now = monotonic_ms();
	uint64_t last = agent_ms(s->c->h, KILL_GRACE);

	s->c->limit = name;
	hutch_job_signal(s->job, grace ? SIGTERM : SIGKILL);
	s->kill_at = grace ? now + grace : 0;
	s->give_up_at = now + grace + (last < KILL_MOST ? last : KILL_MOST);
}

/* known only in the end */
static void tell_cuts(struct state *s)
{
	struct command *c = s->c;
	struct violation *v;

	if (c->exit.out_cut) {
		v = violate(s, &c->what.out_max, "stdout_max");
		v->answer = ANSWER_CUT;
		tell(s, v);
	}
	if (c->exit.err_cut) {
		v = violate(s, &c->what.err_max, "stderr_max");
		v->answer = ANSWER_CUT;
		tell(s, v);
	}
}

int command_answer_word(struct hutch *h, const char *key, char *buf, size_t size)
{
	int r = hutch_get(h, key, buf, size);

	return r || strcmp(buf, "same") ? r : hutch_get(h, "on_violation", buf, size);
}

/* the machine goes on slowly: the next time a tenth of that */
static int throttle(struct hutch *h, uint64_t percent)
{
	char text[24];

	percent = !percent ? SLOW : percent < 10 ? 1 : percent / 10;
	snprintf(text, sizeof(text), "%lu", (unsigned long)percent);
	return hutch_set(h, "cpu_percent", text);
}

static void limit(struct state *s, enum command_rule rule)
{
	struct command *c = s->c;
	struct violation *v;

	if (c->limit)
		return;
	v = violate(s, &c->limits.most[rule], command_rules[rule]);
	v->answer = c->limits.answer[rule];
	hutch_get_number(c->h, "cpu_percent", &v->percent);
	/* a machine that cannot be paused, or throttled, would go on */
	if ((v->answer == ANSWER_PAUSE && !hutch_is_paused(c->h) && hutch_pause(c->h)) ||
	    (v->answer == ANSWER_THROTTLE && throttle(c->h, v->percent)))
		v->answer = ANSWER_KILL;
	if (v->answer == ANSWER_KILL)
		kill_command(s, command_rules[rule]);
	tell(s, v);
}

static void pass_size(struct state *s)
{
	struct winsize ws;

	if (s->c->what.tty && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) && ws.ws_col && ws.ws_row)
		hutch_job_resize(s->job, ws.ws_col, ws.ws_row);
}

bool command_asks_to_end(int signo)
{
	return signo == SIGINT || signo == SIGTERM || signo == SIGHUP || signo == SIGQUIT;
}

static void on_signal(struct state *s, int signo)
{
	uint64_t now = monotonic_ms();
	bool again = signo == SIGINT && s->interrupted && now - s->interrupted < TWICE;

	if (signo == SIGWINCH) {
		pass_size(s);
		return;
	}
	s->c->asked_to_end |= command_asks_to_end(signo);
	if (signo == SIGINT)
		s->interrupted = now;
	/* one that has ended takes none: only the reader of its output keeps us */
	if (again || s->adrift || !s->c->forward || !hutch_job_started(s->job) || s->silent ||
	    !hutch_job_signal(s->job, signo)) {
		s->c->signal = signo;
		end(s, FATE_SIGNAL, NULL);
	}
}

/* what it said before its machine went is still to be had */
static void on_machine_end(struct state *s)
{
	struct hutch_result result;

	int r;

	do {
		r = hutch_job_wait(s->job, AFTERMATH, -1, &s->c->exit);
	} while (r == -EINPROGRESS);
	if (!r) {
		end(s, FATE_EXITED, NULL);
		return;
	}
	if (hutch_wait(s->c->h, 0, &result))
		end(s, FATE_MACHINE, hutch_error(s->c->h));
	else
		end(s, FATE_MACHINE, result.text);
}

static void on_wake(struct state *s)
{
	struct signalfd_siginfo info;
	struct epoll_event e[2];
	int n = epoll_wait(s->wake, e, 2, 0);

	while (!s->over && read(s->signals, &info, sizeof(info)) == sizeof(info))
		on_signal(s, (int)info.ssi_signo);
	for (int i = 0; i < n && !s->over; i++)
		if (e[i].data.fd != s->signals)
			on_machine_end(s);
}

/* ms that remain until @limit ms after @since; 0 is now */
static int remains(uint64_t since, uint64_t limit, uint64_t now)
{
	uint64_t gone = now - since;

	return gone >= limit ? 0 : limit - gone < LONG_WAIT ? (int)(limit - gone) : LONG_WAIT;
}

static void sooner(int *wait, int ms)
{
	if (*wait < 0 || ms < *wait)
		*wait = ms;
}

/*
 * Of what the machine's CPUs spend: when could it be all at the earliest, each of them spending
 * @rate a ms?  Near the end that is soon and often, but no more often than is needed.
 */
static void look_at_spent(struct state *s, enum command_rule rule, uint64_t most, uint64_t spent,
			  uint64_t rate, int *wait)
{
	uint64_t cpus = 1, ms, least;

	if (spent >= most) {
		sooner(wait, 0);
		limit(s, rule);
		return;
	}
	hutch_get_number(s->c->h, "cpus", &cpus);
	ms = (most - spent) / rate / cpus;
	least = OVERRUN > cpus ? OVERRUN / cpus : 1;
	sooner(wait, ms < least ? (int)least : ms < LONG_WAIT ? (int)ms : LONG_WAIT);
}

/* a count that is lost is as good as all of it */
static void lose_fuel(struct state *s)
{
	struct command *c = s->c;

	complain("%s; the command's fuel counts as spent", hutch_error(c->h));
	c->fuel = c->limits.most[RULE_FUEL];
	s->fuel_lost = true;
}

/* what was spent since the command began */
static void count_fuel(struct state *s)
{
	struct command *c = s->c;
	uint64_t count = 0;

	if (!c->own || !c->started_ns || s->fuel_lost)
		return;
	if (!c->limits.instructions) {
		c->fuel = hutch_cpu_ns(c->h) / CPU_MS - s->fuel_begin;
	} else if (!hutch_instructions(c->h, &count)) {
		c->fuel = count - s->fuel_begin;
	} else {
		lose_fuel(s);
	}
}

/* of the CPUs' time since the machine's start, and of what the command may spend */
static void look_at_cpus(struct state *s, int *wait)
{
	const struct command *c = s->c;
	uint64_t cpu = c->limits.most[RULE_CPU_TIME], fuel = c->limits.most[RULE_FUEL];

	if (cpu && c->own)
		look_at_spent(s, RULE_CPU_TIME, cpu, hutch_cpu_ns(c->h) / CPU_MS, 1, wait);
	if (!fuel || !c->own || !c->started_ns)
		return;
	count_fuel(s);
	look_at_spent(s, RULE_FUEL, fuel, c->fuel, c->limits.instructions ? FAST_MS : 1, wait);
}

/* each limit that is reached acts; ms until the next may be */
static int look_at_limits(struct state *s, uint64_t now)
{
	struct command_limits *l = &s->c->limits;
	uint64_t started = s->c->started_ns / 1000000, moved = hutch_job_moved(s->job);
	uint64_t wall = l->most[RULE_TIMEOUT], idle = l->most[RULE_IDLE_TIMEOUT];
	int wait = -1, ms;

	/* it stands still for the sake of one limit: the others wait with it */
	if (s->c->violations && hutch_is_paused(s->c->h)) {
		s->moved_at = now;
		return -1;
	}
	if (moved != s->moved || !started) {
		s->moved = moved;
		s->moved_at = now;
	}
	if (l->boot && !started) {
		sooner(&wait, ms = remains(s->begin, l->boot, now));
		if (!ms) {
			s->c->limit = "boot_timeout";
			tell(s, violate(s, &l->boot, "boot_timeout"));
			end(s, FATE_LIMIT, NULL);
		}
	}
	/* a sandbox of another process has begun already: there the start of a command counts too
	 */
	if (wall && (started || !s->c->own)) {
		sooner(&wait, ms = remains(started ? started : s->begin, wall, now));
		if (!ms)
			limit(s, RULE_TIMEOUT);
	}
	if (idle && started) {
		sooner(&wait, ms = remains(s->moved_at, idle, now));
		if (!ms)
			limit(s, RULE_IDLE_TIMEOUT);
	}
	look_at_cpus(s, &wait);
	return wait;
}

/* what waits for a command that was killed; ms until then */
static int look_at_kill(struct state *s, uint64_t now)
{
	if (s->kill_at && now >= s->kill_at) {
		hutch_job_signal(s->job, SIGKILL);
		s->kill_at = 0;
	}
	if (now >= s->give_up_at) {
		end(s, FATE_LIMIT, NULL);
		return 0;
	}
	return (int)((s->kill_at ? s->kill_at : s->give_up_at) - now);
}

static void look_at_agent(struct state *s)
{
	if (s->adrift)
		return;
	/* before the command runs it may be busy with what the guest is to be */
	s->silent =
		(s->c->started_ns || !s->c->own) && agent_is_silent(s->c->h, s->job, &s->missed);
	/* another's machine may be paused: how long we wait is the user's choice */
	if (s->silent && s->c->own)
		end(s, FATE_AGENT, "the guest's agent does not answer any more");
}

static void look_at_faults(struct state *s, bool last)
{
	struct command *c = s->c;
	unsigned n = c->own && c->on_fault ? hutch_faults(c->h) : 0;

	if (n == s->faults || (!last && s->faults && monotonic_ms() - s->fault_at < FAULTS_TOLD))
		return;
	s->faults = n;
	s->fault_at = monotonic_ms();
	c->on_fault(c->arg, n);
}

/*
 * The machine went back to a snapshot, where this command may run or not: what it is that runs
 * there cannot be known.  The machine is kept, as the one who rolled it back expects, and within
 * its limits, until it ends.
 */
static void go_adrift(struct state *s)
{
	caution("the machine was rolled back: the command's output and exit status are lost, and "
		"it "
		"stays until it is stopped");
	term_restore(); /* nobody reads its keys any more, and Ctrl-C is to end us */
	s->adrift = true;
	s->silent = false;
}

static void on_end(struct state *s, int r)
{
	struct command *c = s->c;
	struct hutch_result result;

	if (r && c->own && hutch_rollbacks(c->h) != s->rollbacks) {
		go_adrift(s);
		return;
	}
	/* a guest that ends takes its agent along */
	if (r && c->own && !hutch_wait(c->h, GUEST_END, &result))
		end(s, FATE_MACHINE, result.text);
	else if (r)
		end(s, FATE_AGENT, hutch_error(c->h));
	else if (c->exit.how == HUTCH_DONE && c->what.on_input)
		end(s, FATE_LEFT, NULL);
	else if (c->exit.how == HUTCH_REFUSED)
		end(s, FATE_REFUSED, c->exit.text);
	else
		end(s, c->limit ? FATE_LIMIT : FATE_EXITED, NULL);
}

static void on_started(struct state *s)
{
	s->c->started_ns = s->c->exit.started_ns;
	s->fuel_begin = hutch_cpu_ns(s->c->h) / CPU_MS;
	/* were it to come back, it would have the guest's boot in it */
	if (s->c->limits.instructions && hutch_instructions(s->c->h, &s->fuel_begin))
		lose_fuel(s);
	if (s->c->on_started)
		s->c->on_started(s->c->arg);
}

static int wait_for_wake(const struct state *s, int ms)
{
	struct epoll_event e;

	return epoll_wait(s->wake, &e, 1, ms) > 0 ? -EINTR : -ETIMEDOUT;
}

static void step(struct state *s)
{
	uint64_t now = monotonic_ms();
	int wait = s->c->limit ? look_at_kill(s, now) : look_at_limits(s, now), r;

	look_at_faults(s, false);
	look_at_agent(s);
	if (s->over)
		return;
	sooner(&wait, AGENT_LOOK);
	r = s->adrift ? wait_for_wake(s, wait) : hutch_job_wait(s->job, wait, s->wake, &s->c->exit);
	if (hutch_job_started(s->job) && !s->c->started_ns)
		on_started(s);
	if (r == -EINTR)
		on_wake(s);
	else if (r != -ETIMEDOUT && r != -EINPROGRESS)
		on_end(s, r);
}

static int watch(struct state *s, int fd)
{
	struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(s->wake, EPOLL_CTL_ADD, fd, &e);
}

static void size_of_terminal(struct hutch_request *x)
{
	struct winsize ws;

	if (x->tty && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws)) {
		x->columns = ws.ws_col;
		x->rows = ws.ws_row;
	}
}

/* what was lost on this side must not look like success */
static void look_at_descriptors(struct command *c)
{
	const struct {
		const char *name;
		int error;
	} fd[] = {
		{ "stdin", c->exit.in_error },
		{ "stdout", c->exit.out_error },
		{ "stderr", c->exit.err_error },
	};

	for (unsigned i = 0; i < sizeof(fd) / sizeof(*fd); i++) {
		if (!fd[i].error)
			continue;
		/* main() keeps such a descriptor closed in all but its number */
		snprintf(c->text, sizeof(c->text), "%s%s%s: not all of it was passed on",
			 fd[i].name, fd[i].error == EBADF ? " is closed" : ": ",
			 fd[i].error == EBADF ? "" : strerror(fd[i].error));
		complain("error %d E_STDIO: %s", EXIT_HUTCH, c->text);
		if (c->fate == FATE_EXITED && !c->exit.status)
			c->fate = FATE_STDIO;
	}
}

void command_run(struct command *c)
{
	struct state s = { .c = c,
			   .begin = monotonic_ms(),
			   .signals = c->signals,
			   .wake = -1,
			   .rollbacks = hutch_rollbacks(c->h) };

	s.wake = epoll_create1(EPOLL_CLOEXEC);
	size_of_terminal(&c->what);
	if (s.wake < 0 || watch(&s, s.signals) || (c->own && watch(&s, hutch_event_fd(c->h)))) {
		end(&s, FATE_AGENT, strerror(errno));
	} else {
		s.job = hutch_ask(c->h, &c->what);
		if (!s.job)
			end(&s, FATE_AGENT, hutch_error(c->h));
	}
	while (!s.over)
		step(&s);
	c->ended_ns = clock_ns(CLOCK_MONOTONIC);
	look_at_faults(&s, true);
	count_fuel(&s);
	tell_cuts(&s);
	look_at_descriptors(c);
	hutch_job_free(s.job);
	if (s.wake >= 0)
		close(s.wake);
}

int command_status(const struct command *c)
{
	switch (c->fate) {
	case FATE_EXITED:
	case FATE_REFUSED:
		return c->exit.status;
	case FATE_LEFT:
		return 0;
	case FATE_LIMIT:
		return EXIT_LIMIT;
	case FATE_SIGNAL:
		return 128 + c->signal;
	default:
		return EXIT_HUTCH;
	}
}

const char *command_code(const struct command *c)
{
	switch (c->fate) {
	case FATE_LIMIT:
		return "E_LIMIT";
	case FATE_MACHINE:
		return "E_MACHINE";
	case FATE_AGENT:
		return "E_AGENT";
	case FATE_WORK:
		return c->limit ? "E_LIMIT" : "E_FILES";
	case FATE_STDIO:
		return "E_STDIO";
	case FATE_REFUSED:
		return c->exit.status == 127   ? (c->runtime ? "E_RUNTIME" : "E_NOT_FOUND")
		       : c->exit.status == 126 ? "E_NOT_RUNNABLE"
					       : "E_GUEST";
	default:
		return NULL;
	}
}

static void explain_limit(const char *limit)
{
	if (strcmp(limit, "boot_timeout"))
		complain("error %d E_LIMIT: %s was reached; the command was ended", EXIT_LIMIT,
			 limit);
	else
		complain("error %d E_LIMIT: boot_timeout was reached: the guest's agent has not "
			 "called; --boot-timeout gives it longer, 'hutch doctor' tells whether "
			 "this host runs Linux guests at all",
			 EXIT_LIMIT);
}

void command_explain(const struct command *c)
{
	switch (c->fate) {
	case FATE_REFUSED:
		if (c->runtime && c->exit.status == 127)
			complain("error 127 E_RUNTIME: the guest has no '%s', which this code is "
				 "to be run by; --rootfs takes a root that has it",
				 c->runtime);
		else
			complain("%s", c->text);
		break;
	case FATE_MACHINE:
	case FATE_AGENT:
		complain("error %d %s%s", EXIT_HUTCH,
			 c->fate == FATE_MACHINE && c->own
				 ? "E_MACHINE: the machine ended before the command did: "
				 : "E_AGENT: ",
			 c->text);
		break;
	case FATE_LIMIT:
		explain_limit(c->limit);
		break;
	default:
		break;
	}
}
