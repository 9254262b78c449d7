/*
 * net_passt.c - start passt, the program that gives a guest a network without rights
 *
 * 1. It gets its end of a socket pair as descriptor 3 and nothing else of ours.
 *    When our end closes, however we end, it ends too.  PR_SET_PDEATHSIG would
 *    add nothing: passt changes its credentials, which takes the signal back,
 *    and the signal follows the thread that started it, not the process.
 * 2. posix_spawn() does not run our code in the child, so it is safe in a
 *    process with threads, and tells when there is no such program.
 * 3. Only that one child is waited for, through a pidfd, so that a program
 *    around the library keeps its own children to itself.
 * 4. What it says goes into a small file in memory that cannot grow, and is
 *    shown if it ends before us.
 *
 * #syscalls pread64 waitid pidfd_send_signal close
 * #syscalls:before memfd_create ftruncate fcntl clone3 vfork execve dup2 close_range
 * #syscalls:before rt_sigprocmask rt_sigaction setpgid pidfd_open kill wait4
 */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "net_passt.h"

#define SAID_BYTES 4096
#define FORWARDS   32

struct net_passt {
	const char *name; /* of the device */
	struct loop *loop;
	pid_t pid;
	struct loop_fd h; /* the pidfd; -1 once it was reaped */
	int said;
};

/* what it last said, on one line */
static void last_words(struct net_passt *p, char *buf, size_t size)
{
	ssize_t n = pread(p->said, buf, size - 1, 0);

	buf[MAX(n, 0)] = '\0';
	for (char *c = buf; *c; c++)
		if (*c == '\n')
			*c = c[1] ? ';' : '\0';
}

static void reap(struct net_passt *p, siginfo_t *ret)
{
	while (waitid(P_PIDFD, (id_t)p->h.fd, ret, WEXITED) && errno == EINTR)
		;
	loop_fd_del(p->loop, &p->h);
	close(p->h.fd);
	p->h.fd = -1;
}

/* nobody waits for it, and it is no zombie; the card hears of it from its socket */
static void on_end(void *arg, uint32_t events)
{
	siginfo_t info;

	(void)events;
	reap(arg, &info);
}

static int spawn(struct net_passt *p, char *const *argv, int fd)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_init(&fa);
	/* our signals are our own; neither shall a ^C at the terminal reach it before us */
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
						POSIX_SPAWN_SETPGROUP);
	r = posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDWR, 0);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&fa, p->said, 1);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&fa, p->said, 2);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&fa, fd, 3);
	if (!r)
		r = posix_spawn_file_actions_addclosefrom_np(&fa, 4);
	if (!r)
		r = posix_spawnp(&p->pid, argv[0], &fa, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&attr);
	return -r;
}

/* "8080:80+::1/9000" as passt has it, each with an address: how many, or -E2BIG */
static int split_forwards(const char *text, char forward[FORWARDS][64])
{
	unsigned n = 0;

	for (; *text; text += strcspn(text, "+"), text += *text == '+') {
		int len = (int)strcspn(text, "+");
		bool address = memchr(text, '/', (size_t)len);

		if (!len)
			continue;
		if (n == FORWARDS || len > 48)
			return -E2BIG;
		snprintf(forward[n++], 64, "%s%.*s", address ? "" : "127.0.0.1/", len, text);
	}
	return (int)n;
}

static int start(struct net_passt *p, unsigned mtu, const char *forward, int fd)
{
	char mtu_text[16], forwards[FORWARDS][64];
	/*
	 * --no-map-gw: else the gateway's address would lead to the host's own
	 * loopback, and with it to services that trust whoever is on the host.
	 */
	const char *argv[16 + 2 * FORWARDS] = { "passt",     "--foreground", "--quiet",
						"--one-off", "--no-map-gw",  "--udp-ports",
						"none",	     "--fd",	     "3" };
	int r, n = split_forwards(forward, forwards);
	unsigned at = 9;

	if (n < 0)
		return err(n, "%s: user: forward=%s: at most %d ports, each at most 48 bytes",
			   p->name, forward, FORWARDS);
	for (int i = 0; i < n; i++) {
		argv[at++] = "--tcp-ports";
		argv[at++] = forwards[i];
	}
	if (!n) {
		argv[at++] = "--tcp-ports";
		argv[at++] = "none";
	}
	snprintf(mtu_text, sizeof(mtu_text), "%u", mtu);
	if (mtu) {
		argv[at++] = "--mtu";
		argv[at++] = mtu_text;
	}
	p->said = memfd_create("passt", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (p->said < 0 || ftruncate(p->said, SAID_BYTES) ||
	    fcntl(p->said, F_ADD_SEALS, F_SEAL_GROW))
		return err(-errno, "%s: passt: %s", p->name, strerror(errno));
	/* the arrays' strings are not written; the interface is older than const */
	r = spawn(p, (char *const *)(uintptr_t)argv, fd);
	if (r == -ENOENT)
		return err(r,
			   "%s: user: there is no program passt; install the package passt, or "
			   "use tap=NAME",
			   p->name);
	if (r)
		return err(r, "%s: user: passt: %s", p->name, strerror(-r));
	p->h = (struct loop_fd){ pidfd_open(p->pid, 0), EPOLLIN, on_end, p };
	r = p->h.fd < 0 ? -errno : loop_fd_add(p->loop, &p->h);
	if (!r)
		return 0;
	if (p->h.fd < 0) {
		kill(p->pid, SIGKILL);
		waitpid(p->pid, NULL, 0);
	}
	return err(r, "%s: user: passt: %s", p->name, strerror(-r));
}

int net_passt_start(struct loop *loop, const char *name, unsigned mtu, const char *forward, int fd,
		    struct net_passt **ret)
{
	struct net_passt *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err(-ENOMEM, "%s: out of memory", name);
	*p = (struct net_passt){ .name = name, .loop = loop, .said = -1, .h.fd = -1 };
	r = start(p, mtu, forward, fd);
	if (r) {
		net_passt_end(p, false);
		return r;
	}
	*ret = p;
	return 0;
}

void net_passt_end(struct net_passt *p, bool lost)
{
	char words[512];
	siginfo_t info;

	if (!p)
		return;
	if (p->h.fd >= 0) {
		/* it keeps nothing that would have to be put in order; if it is not ours to
		 * kill any more, its closed socket ends it */
		pidfd_send_signal(p->h.fd, SIGKILL, NULL, 0);
		reap(p, &info);
	}
	last_words(p, words, sizeof(words));
	if (lost && words[0])
		log_warn("%s: passt said: %s", p->name, words);
	cleanup_close(&p->said);
	free(p);
}
