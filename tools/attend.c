/* attend.c - a machine's console on this terminal, and the end of it */
/* #syscalls:caller poll read write lseek ioctl:TIOCGWINSZ */
/* #syscalls:before socketpair fcntl rt_sigaction rt_sigprocmask signalfd4 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attend.h"
#include "detach.h"
#include "machine.h"
#include "units.h"

#define EXIT_PANIC	  3
#define EXIT_TRIPLE_FAULT 4
#define ESCAPE		  1 /* Ctrl-A */

struct session {
	struct hutch *h;
	const struct attend *how;
	struct box box;
	bool has_box; /* it is in the registry */
	struct agent_log agent_log;
	int signals;   /* signalfd */
	int guest_in;  /* our end of the console's input, -1 when the machine reads stdin itself */
	int guest_end; /* the machine's end */
	bool escaped;  /* the last key was Ctrl-A */
	bool resizes;  /* the guest's terminal follows ours */
	int stop_signal;
	uint64_t start_ns; /* of the machine */
	int ready;	   /* where to tell that it runs, or -1 */
};

/* with a terminal the keys pass through us, for the escape; else the machine reads stdin itself */
static int connect_console(struct session *s)
{
	char where[32];
	int pair[2];

	if (hutch_get(s->h, "console", where, sizeof(where)) || strcmp(where, "-") ||
	    !isatty(STDIN_FILENO))
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	s->guest_in = pair[0];
	s->guest_end = pair[1];
	snprintf(where, sizeof(where), "fd:%d:%d", pair[1], STDOUT_FILENO);
	return hutch_set(s->h, "console", where);
}

/* tell the guest how large this terminal is */
static int pass_size(struct session *s)
{
	struct winsize ws;
	char size[16];

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) || !ws.ws_col || !ws.ws_row)
		return 0;
	snprintf(size, sizeof(size), "%ux%u", ws.ws_col, ws.ws_row);
	return hutch_set(s->h, "console-size", size);
}

/* a virtio console has the size of this terminal, unless one was given */
static int connect_size(struct session *s)
{
	char device[16], size[16], where[32];

	if (hutch_get(s->h, "console-device", device, sizeof(device)) || strcmp(device, "virtio") ||
	    hutch_get(s->h, "console-size", size, sizeof(size)) || size[0] ||
	    hutch_get(s->h, "console", where, sizeof(where)) || strcmp(where, "-") ||
	    !isatty(STDOUT_FILENO))
		return 0;
	s->resizes = true;
	return pass_size(s);
}

/* into the registry, if it has a name or is to be kept */
static int register_it(struct session *s, bool keep)
{
	int r;

	if (hutch_get(s->h, "name", s->box.name, sizeof(s->box.name)))
		return -1;
	if (!s->box.name[0] && !keep)
		return 0;
	s->box.keep = keep;
	snprintf(s->box.command, sizeof(s->box.command), "%s", s->how->command);
	r = machine_register(s->h, &s->box);
	s->has_box = !r;
	if (!r)
		machine_agent_log(s->h, &s->agent_log, &s->box);
	return r;
}

static int catch_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	sigaddset(&set, SIGWINCH);
	signal(SIGPIPE, SIG_IGN);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void tell_keys(void)
{
	dprintf(STDERR_FILENO,
		"\r\nhutch: Ctrl-A x ends the machine, Ctrl-A Ctrl-A sends Ctrl-A\r\n");
}

/* one key from the terminal: false when it ends the machine */
static bool key(struct session *s, char c)
{
	if (!s->escaped && c == ESCAPE) {
		s->escaped = true;
		return true;
	}
	if (s->escaped) {
		s->escaped = false;
		if (c == 'x' || c == 'X')
			return false;
		if (c != ESCAPE) {
			tell_keys();
			return true;
		}
	}
	/* a guest that reads nothing loses keys, as a terminal line would */
	return write(s->guest_in, &c, 1) == 1 || errno == EAGAIN || errno == EPIPE;
}

static bool keys(struct session *s, struct pollfd *p)
{
	char buf[256];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));

	if (n <= 0)
		p->fd = -1;
	for (ssize_t i = 0; i < n; i++)
		if (!key(s, buf[i]))
			return false;
	return true;
}

/* until the machine ends, or a key or signal ends it */
static void watch(struct session *s)
{
	struct pollfd p[3] = {
		{ hutch_event_fd(s->h), POLLIN, 0 },
		{ s->signals, POLLIN, 0 },
		{ s->guest_in >= 0 ? STDIN_FILENO : -1, POLLIN, 0 },
	};
	struct signalfd_siginfo info;

	for (;;) {
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			return;
		if (p[0].revents)
			return;
		if (p[1].revents && read(s->signals, &info, sizeof(info)) == sizeof(info)) {
			if (info.ssi_signo == SIGWINCH) {
				if (s->resizes && pass_size(s))
					s->resizes = false; /* the machine is ending */
				continue;
			}
			s->stop_signal = (int)info.ssi_signo;
			hutch_stop(s->h);
			return;
		}
		if (p[2].revents && !keys(s, &p[2])) {
			hutch_stop(s->h);
			return;
		}
	}
}

void attend_begin(struct attend *how, bool forks)
{
	how->exec_us = forks ? 0 : (double)clock_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e3;
	how->began_ns = clock_ns(CLOCK_MONOTONIC);
}

static void print_timing(const struct session *s)
{
	struct hutch_phase phase;
	double begin = (double)(s->start_ns - s->how->began_ns) / 1e3,
	       sum = s->how->exec_us + begin;

	if (s->how->exec_us > 0)
		inform("%-12s %8.0f us of processor time before main()", "exec", s->how->exec_us);
	inform("%-12s %8.0f us, %8.0f us so far", s->how->exec_us > 0 ? "command" : "fork", begin,
	       sum);
	for (unsigned i = 0; !hutch_timing(s->h, i, &phase); i++) {
		sum += phase.us;
		inform("%-12s %8.0f us, %8.0f us so far", phase.name, phase.us, sum);
	}
}

static int report(struct session *s)
{
	struct hutch_result result;

	if (hutch_wait(s->h, 5000, &result)) {
		complain("the machine does not stop");
		return EXIT_FAIL;
	}
	if (result.console_dropped)
		caution("%lu bytes of console output were dropped: nobody read them fast enough",
			(unsigned long)result.console_dropped);
	snprintf(s->box.reason, sizeof(s->box.reason), "%.*s", (int)sizeof(s->box.reason) - 1,
		 result.text);
	switch (result.end) {
	case HUTCH_POWEROFF:
		return 0;
	case HUTCH_REBOOT:
		inform("%s; --on-reboot reset starts it again", result.text);
		return 0;
	case HUTCH_PANIC:
		complain("%s", result.text);
		return EXIT_PANIC;
	case HUTCH_TRIPLE_FAULT:
		complain("%s", result.text);
		return EXIT_TRIPLE_FAULT;
	case HUTCH_STOPPED:
		return s->stop_signal ? 128 + s->stop_signal : 0;
	default:
		complain("%s", result.text);
		return EXIT_FAIL;
	}
}

/* why it could not be made is told to who waits: only who asked for that has it kept, too */
static int fail(struct session *s, int status, const char *why)
{
	s->box.keep = s->how->keep;
	complain("%s", why);
	snprintf(s->box.reason, sizeof(s->box.reason), "%.*s", (int)sizeof(s->box.reason) - 1, why);
	return status;
}

static void tell_started(struct session *s)
{
	if (s->has_box)
		box_started(&s->box);
	if (s->has_box && s->how->restored[0])
		box_event(&s->box, HUTCH_LOG_INFO, "execution.restore", s->how->restored);
}

static int run(struct session *s)
{
	const char *why;
	int status, r;

	if (connect_size(s) || connect_console(s)) {
		if (*hutch_error(s->h))
			complain("%s", hutch_error(s->h));
		return EXIT_FAIL;
	}
	r = register_it(s, s->how->keep || s->ready >= 0);
	if (r)
		return r == -EINVAL ? EXIT_USAGE : EXIT_FAIL;
	s->signals = catch_signals();
	machine_files();
	if (s->guest_in >= 0)
		term_guard();
	s->start_ns = clock_ns(CLOCK_MONOTONIC);
	r = hutch_start(s->h);
	if (r)
		return fail(s, r == -EINVAL ? EXIT_USAGE : EXIT_FAIL, hutch_error(s->h));
	why = s->how->started ? s->how->started(s->h) : NULL;
	if (why)
		return fail(s, EXIT_FAIL, why);
	tell_started(s);
	detach_tell(&s->ready, &s->box);
	if (s->guest_in >= 0)
		term_raw();
	watch(s);
	if (s->has_box)
		box_stopping(&s->box);
	term_restore();
	status = report(s);
	if (s->how->timing)
		print_timing(s);
	return status;
}

int attend(struct hutch *h, const struct attend *how)
{
	struct session s = { .h = h,
			     .how = how,
			     .signals = -1,
			     .guest_in = -1,
			     .guest_end = -1,
			     .ready = how->ready };
	int status = run(&s);

	hutch_free(h);
	if (s.has_box) {
		s.box.exit_code = status;
		box_end(&s.box);
	}
	return status;
}
