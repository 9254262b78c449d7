/*
 * agent.c - the host's hand in a guest: starts commands, moves files, tells how the guest does
 *
 * As process 1 it makes the guest fit to run things first, reaps every orphan
 * and powers the machine off in the end; elsewhere it just serves.  It is one
 * thread around poll(2); a command's pipes are relayed here, so that a sandboxed
 * `kill -9 -1`, which spares process 1 alone, takes no session with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* after the socket headers, which it needs */
#include <linux/vm_sockets.h>

#include "agent.h"

#define SESSIONS   PROTO_SESSIONS
#define ALL	   (2 * SESSIONS) /* the second half is adrift */
#define BACKLOG	   SESSIONS	  /* after a restore they may all come at once */
#define FDS	   3		  /* that are no session's */
#define LAST_WORDS 300		  /* ms to hear how commands ended */
#define REAPED	   64 /* children at once: who makes orphans without end keeps nobody waiting */

struct os agent_os;
bool agent_frozen;

static struct session *session[ALL];
static uint64_t began_ns, up_ns;
static uint64_t off_at, kill_at; /* when the machine is to be off */
static bool unreaped;		 /* there may be more children that have ended */

uint64_t agent_began_ns(void)
{
	return began_ns;
}

uint64_t agent_up_ns(void)
{
	return up_ns;
}

uint64_t agent_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int refuse(struct why *why, enum proto_error code, int error, const char *fmt, ...)
{
	va_list ap;

	why->code = code;
	why->error = error;
	va_start(ap, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, ap);
	va_end(ap);
	return -1;
}

/* --- connections --- */

static void add_session(int fd)
{
	for (unsigned i = 0; i < SESSIONS; i++) {
		if (session[i])
			continue;
		session[i] = session_new(fd);
		return;
	}
	session_turn_away(fd);
}

/* where its command may go on; NULL if there are too many */
static struct session **place_adrift(void)
{
	for (unsigned i = SESSIONS; i < ALL; i++)
		if (!session[i])
			return &session[i];
	return NULL;
}

/* nobody comes back where nobody can call */
static void end_session(struct session **s, bool listening)
{
	struct session **to = listening && s < &session[SESSIONS] ? place_adrift() : NULL;

	if (to && session_cast_off(*s))
		*to = *s;
	else
		session_free(*s);
	*s = NULL;
}

void agent_restored(void)
{
	unsigned n = 0;

	for (unsigned i = SESSIONS; i < ALL; i++)
		n += session[i] && session_keep(session[i]);
	log_say(LEVEL_INFO,
		n == 1 ? "%u command goes on after a restore" : "%u commands go on after a restore",
		n);
}

static int listen_vsock(void)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK,
				 .svm_port = PROTO_PORT,
				 .svm_cid = VMADDR_CID_ANY };
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	if (!bind(fd, (struct sockaddr *)&a, sizeof(a)) && !listen(fd, BACKLOG))
		return fd;
	close(fd);
	return -1;
}

/* the host may wait for our call, to lose no time; if nobody does, it will call us */
static void call_host(void)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK,
				 .svm_port = PROTO_PORT,
				 .svm_cid = VMADDR_CID_HOST };
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		close(fd);
		return;
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	add_session(fd);
}

/* a program in the guest that reached us through its own loopback would be root */
static void accept_host(int listener)
{
	struct sockaddr_vm a = { .svm_family = 0 };
	socklen_t size = sizeof(a);
	int fd = accept4(listener, (struct sockaddr *)&a, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0 && a.svm_family == AF_VSOCK && a.svm_cid != VMADDR_CID_HOST)
		close(fd);
	else if (fd >= 0)
		add_session(fd);
}

/* --- children --- */

static void reap(int signals)
{
	struct signalfd_siginfo info;
	struct rusage usage;
	int status;
	pid_t pid;

	while (read(signals, &info, sizeof(info)) == sizeof(info))
		continue;
	unreaped = true;
	for (int n = 0; n < REAPED && unreaped; n++) {
		pid = wait4(-1, &status, WNOHANG, &usage);
		unreaped = pid > 0;
		for (unsigned i = 0; i < ALL && unreaped; i++)
			if (session[i] && session_reaped(session[i], pid, status, &usage))
				break;
	}
}

static int watch_children(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* --- the end --- */

/* as process 1, all others; else only commands that are waited for */
static void signal_all(int signo)
{
	if (getpid() == 1)
		kill(-1, signo);
}

void agent_power_off(uint64_t grace_ms)
{
	if (off_at)
		return;
	kill_at = agent_now_ms() + grace_ms;
	off_at = kill_at + LAST_WORDS;
	log_say(LEVEL_INFO, "powering off, at the host's wish");
	signal_all(SIGTERM);
	for (unsigned i = 0; i < ALL; i++)
		if (session[i])
			session_end_command(session[i], SIGTERM);
}

static bool busy(void)
{
	for (unsigned i = 0; i < ALL; i++)
		if (session[i] && session_is_busy(session[i]))
			return true;
	return false;
}

/* ms until something is due, or -1 */
static int on_the_way_out(void)
{
	uint64_t now = agent_now_ms();

	if (!off_at)
		return -1;
	if (!busy() || now >= off_at)
		os_poweroff(&agent_os);
	if (kill_at && now >= kill_at) {
		kill_at = 0;
		signal_all(SIGKILL);
		for (unsigned i = 0; i < ALL; i++)
			if (session[i])
				session_end_command(session[i], SIGKILL);
	}
	return (int)((kill_at ? kill_at : off_at) - now);
}

/* --- the loop --- */

static void step(int listener, int signals)
{
	static struct pollfd p[FDS + ALL * SESSION_FDS + ORPHANS];
	static unsigned who[ALL];
	unsigned n = 0, at, orphans;
	int wait = on_the_way_out();

	p[0] = (struct pollfd){ signals, POLLIN, 0 };
	p[1] = (struct pollfd){ listener, POLLIN, 0 };
	p[2] = (struct pollfd){ -1, POLLIN, 0 };
	for (unsigned i = 0; i < ALL; i++) {
		int ms;

		if (!session[i])
			continue;
		ms = session_poll(session[i], &p[FDS + n * SESSION_FDS]);
		if (session_takes_logs(session[i])) {
			p[2].fd = log_fd();
			ms = log_waits() ? 0 : ms;
		}
		if (ms >= 0 && (wait < 0 || ms < wait))
			wait = ms;
		who[n++] = i;
	}
	at = FDS + n * SESSION_FDS;
	orphans = orphan_poll(&p[at]);
	if (poll(p, at + orphans, unreaped ? 0 : wait) < 0)
		return;
	/* before sessions add more */
	orphan_step(&p[at], orphans);
	if (p[0].revents || unreaped)
		reap(signals);
	for (unsigned k = 0; k < n; k++) {
		struct session **s = &session[who[k]];

		if (!session_step(*s, &p[FDS + k * SESSION_FDS]))
			end_session(s, listener >= 0);
	}
	if (p[1].revents)
		accept_host(listener);
}

static bool is_listener(int fd)
{
	socklen_t size = sizeof(int);
	int listens = 0;

	return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) && listens;
}

/*
 * For tests, what was inherited: one connection, until it ends, or a socket that listens, as long
 * as there is who started us.  What is around it is left alone.
 */
static int serve(int fd)
{
	int signals = watch_children();
	pid_t parent = getppid();

	agent_os = (struct os){ .modules = -1, .cgroup = -1 };
	signal(SIGPIPE, SIG_IGN);
	log_open();
	fcntl(fd, F_SETFL, O_NONBLOCK);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	while (is_listener(fd)) {
		step(fd, signals);
		if (getppid() != parent)
			return 0;
	}
	add_session(fd);
	while (session[0] || orphan_any())
		step(-1, signals);
	return 0;
}

static uint64_t since_boot(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
	int signals, listener;
	bool alone = getpid() == 1;

	if (!alone && argc == 3 && !strcmp(argv[1], "--fd"))
		return serve(atoi(argv[2]));
	if (!alone && argc != 1) {
		fprintf(stderr, "usage: agent [--fd N]\n");
		return 2;
	}
	began_ns = since_boot();
	log_open();
	os_boot(&agent_os);
	up_ns = since_boot();
	signals = watch_children();
	listener = listen_vsock();
	call_host();
	log_say(LEVEL_INFO, "up, %llu ms after the guest's clock began",
		(unsigned long long)(up_ns / 1000000));
	if (listener < 0 || signals < 0) {
		log_say(LEVEL_ERROR, "cannot listen on vsock port %d: %s", PROTO_PORT,
			strerror(errno));
		if (!alone)
			return 1;
	}
	for (;;)
		step(listener, signals);
}
