/* client_rig.h - the host's side of a connection to an agent that is a process of this machine */
#ifndef HUTCH_TEST_CLIENT_RIG_H
#define HUTCH_TEST_CLIENT_RIG_H

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_rig.h"
#include "client.h"
#include "guest.h"

struct rig {
	pid_t pid;
	struct client c;
	const char *cwd, *user;
	uint64_t flags;
	const char *const *env;
	int in; /* of the next command */
	int out[2], err[2];
	uint64_t most;
};

/* client_pump(), but that the command's beginning is nothing special */
static inline int pump(struct client *c, int ms, int wake)
{
	int r;

	do {
		r = client_pump(c, ms, wake);
	} while (r == -EINPROGRESS);
	return r;
}

/* @on_log: what is told of the agent's log; NULL: its host wants none */
static inline void
start_with(struct rig *x, void (*on_log)(void *arg, unsigned level, const char *text), void *arg)
{
	struct proto_buf hello = { .data = NULL };
	int pair[2];

	*x = (struct rig){ .in = -1 };
	signal(SIGPIPE, SIG_IGN);
	require(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	x->pid = fork();
	if (!x->pid) {
		/* and nothing that we were given */
		require(pair[1] == 3 ? !fcntl(3, F_SETFD, 0) : dup2(pair[1], 3) == 3);
		close_range(4, ~0U, 0);
		execl(agent_path(), "agent", "--fd", "3", NULL);
		_exit(99);
	}
	close(pair[1]);
	client_init(&x->c);
	client_logs(&x->c, on_log, arg);
	x->c.fd = pair[0];
	x->c.state = CLIENT_BUSY;
	proto_begin(&hello, PROTO_HELLO, 0);
	proto_number(&hello, TAG_MAGIC, PROTO_MAGIC);
	proto_number(&hello, TAG_VERSION, PROTO_VERSION);
	if (on_log)
		proto_number(&hello, TAG_LOGS, 1);
	proto_end(&hello);
	client_request(&x->c, &hello, 0);
	require(!pipe2(x->out, O_CLOEXEC | O_NONBLOCK) && !pipe2(x->err, O_CLOEXEC | O_NONBLOCK));
	fcntl(x->out[1], F_SETPIPE_SZ, 1 << 20);
}

static inline void start(struct rig *x)
{
	start_with(x, NULL, NULL);
}

static inline void stop(struct rig *x)
{
	int status;

	client_close(&x->c);
	for (int i = 0; i < 2; i++) {
		close(x->out[i]);
		close(x->err[i]);
	}
	require(waitpid(x->pid, &status, 0) == x->pid);
	ck_assert_int_eq(status, 0); /* also after nonsense */
}

static inline void ask(struct rig *x, const char *const *argv)
{
	struct proto_buf b = { .data = NULL };

	proto_begin(&b, PROTO_EXEC, 0);
	for (; *argv; argv++)
		proto_text(&b, TAG_ARG, *argv);
	for (const char *const *env = x->env; env && *env; env++)
		proto_text(&b, TAG_ENV, *env);
	if (x->cwd)
		proto_text(&b, TAG_CWD, x->cwd);
	if (x->user)
		proto_text(&b, TAG_USER, x->user);
	proto_number(&b, TAG_FLAGS, x->flags | (x->in >= 0 ? EXEC_STDIN : 0));
	proto_end(&b);
	client_source(&x->c, x->in);
	client_sink(&x->c, 0, x->out[1], x->most);
	client_sink(&x->c, 1, x->err[1], 0);
	client_request(&x->c, &b, 0);
}

static inline int run(struct rig *x, const char *const *argv)
{
	ask(x, argv);
	ck_assert_int_eq(pump(&x->c, 20000, -1), 0);
	return (int)x->c.end.status;
}

#define ARGV(...) ((const char *const[]){ __VA_ARGS__, NULL })

static inline int sh(struct rig *x, const char *script)
{
	return run(x, ARGV("sh", "-c", script));
}

static inline size_t drain(int fd, char *buf, size_t size)
{
	size_t n = 0;
	ssize_t k;

	while (n < size - 1 && (k = read(fd, buf + n, size - 1 - n)) > 0)
		n += (size_t)k;
	buf[n] = '\0';
	return n;
}

#endif
