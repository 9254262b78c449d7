/*
 * retry.c - run --retry: the whole sandbox again, when hutch or the machine failed
 *
 * 1. A machine enters a jail that nothing leads out of.  So each try is a process
 *    of its own, and this one, their parent, only watches; without --retry there
 *    is none.  It is the one that the caller knows, by --pid-file for one.
 * 2. The parent holds the sandbox, its name, id, folder and lock.  A try writes
 *    itself into the state, as whom to signal and measure; the parent does so in
 *    between, before the number of the last try is free for others.  The last try
 *    ends the sandbox and tells the result, or the parent if there is none to.
 * 3. A try says how it goes through a pipe.  One that ends without a word broke:
 *    by a signal that is a fault's, or by the jail (status 125); but what
 *    SIGKILL and its like ended was to end.
 * 4. Signals of the terminal reach both, those of kill(2) are passed on.  One
 *    that asks for the end ends all tries, also between two.
 * 5. A try goes with its parent.
 * 6. A try is in the jail, and its parent is not: what it says is bounded here.
 *
 * #syscalls:caller write close
 * #syscalls:before clone pipe2 prctl getpid getppid kill unlinkat waitid rt_sigprocmask signalfd4
 * #syscalls:before poll read exit_group
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run.h"
#include "units.h"

#define DELAY 1000 /* ms, unless told otherwise */

struct report {
	enum { REPORT_STARTED, REPORT_AGAIN, REPORT_LAST } what;
	struct attempt attempt; /* REPORT_AGAIN */
};

struct watch {
	struct run *r;
	int signals, report;
	pid_t pid;
	int signo;  /* asked for the end, 0: nothing did */
	bool fresh; /* it may have begun behind a signal of the terminal */
	bool told;  /* the try has said its last word */
	bool again; /* and that was: it may be tried again */
	struct attempt attempt;
};

int retry_parse(const char *text, struct retry *ret)
{
	static const char delay[] = ",delay=";
	char *end;
	long n = strtol(text, &end, 10);

	*ret = (struct retry){ .delay_ms = DELAY, .report = -1 };
	if (end == text || n < 1 || n > RETRY_MAX) {
		complain("--retry: '%s' does not begin with a number of tries from 1 to %d, as in "
			 "3 or 3,delay=500ms",
			 text, RETRY_MAX);
		return -EINVAL;
	}
	ret->most = (unsigned)n;
	if (!*end)
		return 0;
	if (!strncmp(end, delay, strlen(delay)))
		return duration_parse("--retry delay", end + strlen(delay), &ret->delay_ms);
	complain("--retry: '%s' in '%s' is not understood; write N or N,delay=TIME", end, text);
	return -EINVAL;
}

/* --- a try --- */

static void say(struct run *r, const struct report *report)
{
	if (r->retry.report >= 0 &&
	    write(r->retry.report, report, sizeof(*report)) != sizeof(*report))
		caution("the process that watches over this try has gone");
}

void retry_started(struct run *r)
{
	const struct report report = { .what = REPORT_STARTED };

	say(r, &report);
}

/* input that is gone is not there for another try */
static bool has_read(const struct run *r, bool started)
{
	if (r->c.what.in < 0 || !started)
		return false;
	caution("it is not tried again: the command has begun to read its input, which is gone");
	return true;
}

/* hutch or the machine failed, nobody asked for the end, and there is all that a try needs */
static bool may_try_again(const struct run *r)
{
	const struct command *c = &r->c;
	bool failed = c->fate == FATE_MACHINE || c->fate == FATE_AGENT ||
		      (c->fate == FATE_LIMIT && !strcmp(c->limit, "boot_timeout"));

	if (!failed || r->useless || c->asked_to_end || r->retry.failed >= r->retry.most)
		return false;
	return !has_read(r, c->started_ns);
}

static int one_try(struct run *r)
{
	struct report report = { .what = REPORT_LAST };
	int status = run_once(r);

	if (may_try_again(r)) {
		report.what = REPORT_AGAIN;
		report.attempt.begin_ms = r->result.try_ms;
		report.attempt.end_ms = realtime_ms();
		snprintf(report.attempt.code, sizeof(report.attempt.code), "%s",
			 command_code(&r->c));
		result_reason(&r->result, &r->c, report.attempt.text, sizeof(report.attempt.text));
		hutch_free(r->h);
		capture_end(&r->said);
	} else {
		status = run_finish(r, status);
	}
	say(r, &report);
	return status;
}

/* the child's side of fork() */
static int be_a_try(struct watch *w, pid_t parent, int report)
{
	struct run *r = w->r;
	sigset_t child;

	/* who is gone already cannot be waited for */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
		_exit(EXIT_HUTCH);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	pthread_sigmask(SIG_UNBLOCK, &child, NULL);
	close(w->signals);
	close(w->report);
	r->retry.report = report;
	r->box.pid = getpid();
	box_write(&r->box);
	return one_try(r);
}

/* --- the parent --- */

static int watch_signals(struct watch *w)
{
	static const int watched[] = { SIGINT,	SIGTERM, SIGHUP,   SIGQUIT,
				       SIGUSR1, SIGUSR2, SIGWINCH, SIGCHLD };
	sigset_t set;

	sigemptyset(&set);
	for (unsigned i = 0; i < sizeof(watched) / sizeof(*watched); i++)
		sigaddset(&set, watched[i]);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	w->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return w->signals < 0 ? -errno : 0;
}

/* the one who waits for -d has gone, and we must not hold its pipes */
static void command_began(struct watch *w)
{
	w->r->retry.started = true;
	if (w->r->ready >= 0)
		run_quiet(w->r);
}

static void read_reports(struct watch *w)
{
	struct report report;

	while (read(w->report, &report, sizeof(report)) == sizeof(report)) {
		if (report.what == REPORT_STARTED) {
			command_began(w);
			continue;
		}
		/* one that may not be tried again, and says so, is as good as one that broke */
		if (report.what == REPORT_AGAIN && w->r->retry.failed >= w->r->retry.most)
			continue;
		w->told = true;
		w->again = report.what == REPORT_AGAIN;
		w->attempt = report.attempt;
		w->attempt.code[sizeof(w->attempt.code) - 1] = '\0';
		w->attempt.text[sizeof(w->attempt.text) - 1] = '\0';
	}
}

static void on_signal(struct watch *w, const struct signalfd_siginfo *info)
{
	int signo = (int)info->ssi_signo;

	if (signo == SIGCHLD)
		return;
	if (command_asks_to_end(signo))
		w->signo = signo;
	if (w->pid > 0 && (w->fresh || info->ssi_code != SI_KERNEL))
		kill(w->pid, signo);
}

static void read_signals(struct watch *w)
{
	struct signalfd_siginfo info;

	while (read(w->signals, &info, sizeof(info)) == sizeof(info))
		on_signal(w, &info);
}

/* has it ended? Its number stays its own until it is reaped */
static bool has_ended(const struct watch *w, siginfo_t *info)
{
	info->si_pid = 0;
	return !waitid(P_PID, (id_t)w->pid, info, WEXITED | WNOHANG | WNOWAIT) && info->si_pid;
}

/* to the end of a try: how it ended, reaped */
static siginfo_t watch_try(struct watch *w)
{
	siginfo_t info;

	while (!has_ended(w, &info)) {
		struct pollfd p[] = { { w->signals, POLLIN, 0 }, { w->report, POLLIN, 0 } };

		poll(p, 2, -1);
		read_signals(w);
		read_reports(w);
	}
	read_reports(w);
	/* as it was before: our number, and nothing has begun */
	if (!w->told || w->again)
		box_write(&w->r->box);
	waitid(P_PID, (id_t)w->pid, &info, WEXITED);
	w->pid = 0;
	return info;
}

static bool is_fault(int signo)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP };

	for (unsigned i = 0; i < sizeof(faults) / sizeof(*faults); i++)
		if (signo == faults[i])
			return true;
	return false;
}

/* a try that ended without a word: what the run's end is, unless it is tried again */
static int broke(struct watch *w, const siginfo_t *info, uint64_t begin_ms)
{
	struct command *c = &w->r->c;
	int signo = info->si_code == CLD_EXITED ? 0 : info->si_status;

	if (signo && !is_fault(signo)) {
		c->fate = FATE_SIGNAL;
		c->signal = signo;
		return 128 + signo;
	}
	c->fate = FATE_MACHINE;
	snprintf(c->text, sizeof(c->text),
		 signo ? "its process died of signal %d"
		       : "its process ended with %d and told nothing",
		 info->si_status);
	complain("error %d E_MACHINE: %s", EXIT_HUTCH, c->text);
	w->again = w->r->retry.failed < w->r->retry.most && !has_read(w->r, w->r->retry.started);
	w->attempt = (struct attempt){ "E_MACHINE", "", begin_ms, realtime_ms() };
	snprintf(w->attempt.text, sizeof(w->attempt.text), "%.*s", (int)sizeof(w->attempt.text) - 1,
		 c->text);
	return EXIT_HUTCH;
}

/* between two tries; a signal may end it, and all */
static void pause_between(struct watch *w)
{
	uint64_t end = monotonic_ms() + w->r->retry.delay_ms, now;
	struct pollfd p = { w->signals, POLLIN, 0 };

	read_signals(w);
	while (!w->signo && (now = monotonic_ms()) < end) {
		poll(&p, 1, end - now < 3600000 ? (int)(end - now) : 3600000);
		read_signals(w);
	}
}

static void prepare_next(struct watch *w)
{
	static const char *const sockets[] = { "ctl", "vsock" };
	struct retry *retry = &w->r->retry;
	char delay[24], members[128];

	retry->attempt[retry->failed++] = w->attempt;
	/* what broke() left is not of the next */
	w->r->c.fate = FATE_EXITED;
	w->r->c.text[0] = '\0';
	snprintf(members, sizeof(members), ",\"attempt\":%u,\"code\":\"%s\"", retry->failed,
		 w->attempt.code);
	box_event(&w->r->box, HUTCH_LOG_WARNING, "sandbox.retry", members);
	duration_print(retry->delay_ms, delay, sizeof(delay));
	caution("try %u of %u failed (%s); the next begins in %s", retry->failed, retry->most + 1,
		w->attempt.code, delay);
	/* of one that broke */
	for (unsigned i = 0; i < sizeof(sockets) / sizeof(*sockets); i++)
		unlinkat(w->r->box.dir, sockets[i], 0);
}

/* the end of all where no try has told it */
static int end_here(struct watch *w, int status)
{
	if (w->signo) {
		w->r->c.fate = FATE_SIGNAL;
		w->r->c.signal = w->signo;
		status = 128 + w->signo;
	}
	return run_finish(w->r, status);
}

/* one try from its start to its reaping: true if this process is the try itself; @ret its status */
static bool try_once(struct watch *w, int *ret)
{
	uint64_t begin_ms = realtime_ms();
	pid_t us = getpid();
	siginfo_t info;
	int fd[2];

	w->told = w->again = false;
	result_again(&w->r->result);
	*ret = EXIT_HUTCH;
	if (pipe2(fd, O_CLOEXEC | O_NONBLOCK)) {
		complain("pipe: %s", strerror(errno));
		return false;
	}
	w->report = fd[0];
	fflush(NULL);
	w->pid = fork();
	if (!w->pid) {
		*ret = be_a_try(w, us, fd[1]);
		return true;
	}
	close(fd[1]);
	if (w->pid < 0) {
		complain("fork: %s", strerror(errno));
	} else {
		/* one that came before there were two of us reached only this one; one that
		 * reached both waits in the other, where it is still one */
		w->fresh = true;
		read_signals(w);
		w->fresh = false;
		info = watch_try(w);
		*ret = !w->told			    ? broke(w, &info, begin_ms)
		       : info.si_code == CLD_EXITED ? info.si_status
						    : 128 + info.si_status;
	}
	close(w->report);
	return false;
}

int retry_run(struct run *r)
{
	struct watch w = { .r = r };
	int status = run_prepare(r);

	if (!status && watch_signals(&w))
		status = EXIT_HUTCH;
	if (!status && r->given[FLAG_PID_FILE].n)
		status = run_write_pid(r, r->given[FLAG_PID_FILE].text);
	if (status)
		return run_finish(r, status);
	for (;;) {
		read_signals(&w);
		if (w.signo)
			return end_here(&w, status);
		if (try_once(&w, &status) || (w.told && !w.again))
			return status;
		if (!w.again || w.signo)
			return end_here(&w, status);
		prepare_next(&w);
		pause_between(&w);
	}
}
