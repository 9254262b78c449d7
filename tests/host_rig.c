#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_rig.h"
#include "archive_rig.h"
#include "complain.h"
#include "guest.h"
#include "host_rig.h"
#include "kvm_rig.h" /* where the flat guests are */
#include "proto.h"
#include "result.h"

void host_serve(enum agent how, int fd)
{
	struct proto_buf b = { .data = NULL };
	char c = 0;

	while (c != '\n' && read(fd, &c, 1) == 1)
		;
	require(write(fd, "OK 1\n", 5) == 5);
	if (how == AGENT_REAL) {
		require(dup2(fd, 3) == 3);
		close_range(4, ~0U, 0);
		execl(agent_path(), "agent", "--fd", "3", NULL);
		_exit(99);
	}
	if (how == AGENT_DEAD)
		return;
	proto_begin(&b, PROTO_HELLO, 0);
	proto_number(&b, TAG_MAGIC, PROTO_MAGIC);
	proto_end(&b);
	proto_begin(&b, how == AGENT_BUSY ? PROTO_ERROR : PROTO_STARTED, 0);
	if (how == AGENT_BUSY)
		proto_number(&b, TAG_CODE, ERROR_BUSY);
	proto_end(&b);
	require(write(fd, b.data, b.len) == (ssize_t)b.len);
	proto_free(&b);
}

int host_socket(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	require(s >= 0 && strlen(path) < sizeof(a.sun_path));
	strcpy(a.sun_path, path);
	require(!bind(s, (struct sockaddr *)&a, sizeof(a)) && !listen(s, 1));
	return s;
}

static void start_agent(struct host_rig *x, enum agent how)
{
	int s = host_socket(x->path);

	x->agent = fork();
	if (!x->agent) {
		int fd = accept(s, NULL, NULL);

		host_serve(how, fd);
		for (;;)
			pause();
	}
	close(s);
}

static void start_command(struct host_rig *x, const char *const *argv)
{
	x->c.forward = true;
	x->c.what = (struct hutch_request){
		.what = HUTCH_ASK_EXEC, .argv = argv, .in = -1, .out = -1, .err = -1
	};
	x->c.signals = command_signals();
	x->c.ends = command_ends();
	complained[0] = '\0';
	x->begin = now_ns();
}

static void make_place(struct host_rig *x)
{
	*x = (struct host_rig){ .dir = "/tmp/hutch-command.XXXXXX",
				.killer = -1,
				.patience = 20 * NS };
	require(mkdtemp(x->dir));
	snprintf(x->path, sizeof(x->path), "%s/vsock", x->dir);
	x->c.h = hutch_new();
	require(x->c.h && !hutch_set(x->c.h, "vsock", "") &&
		!hutch_set(x->c.h, "vsock@0.path", x->path));
}

void host_start(struct host_rig *x, enum agent how, const char *const *argv)
{
	make_place(x);
	start_agent(x, how);
	start_command(x, argv);
}

void host_start_spinning(struct host_rig *x, const char *const *argv)
{
	char kernel[4096];

	make_place(x);
	flat_path("count", kernel, sizeof(kernel));
	require(!hutch_set(x->c.h, "kernel", kernel) && !hutch_set(x->c.h, "memory", "4M") &&
		!hutch_set(x->c.h, "console", "none"));
	require(!hutch_start(x->c.h));
	require(!unlink(x->path));
	start_agent(x, AGENT_REAL);
	x->c.own = true;
	start_command(x, argv);
}

void host_stop(struct host_rig *x)
{
	require(now_ns() - x->begin < x->patience);
	if (x->killer > 0) {
		kill(x->killer, SIGKILL);
		waitpid(x->killer, NULL, 0);
	}
	hutch_free(x->c.h);
	close(x->c.signals);
	close(x->c.ends);
	kill(x->agent, SIGKILL);
	require(waitpid(x->agent, NULL, 0) == x->agent);
	rig_remove(x->dir);
}

bool host_tells(struct host_rig *x, int status, const char *member)
{
	struct box box = { .id = "00000000000000000000000000000000", .name = "box" };
	struct result r = { .box = &box, .fd = -1, .status_fd = -1, .status = status };
	bool yes;

	result_finish(&r, &x->c);
	require(r.text != NULL);
	yes = strstr(r.text, member) != NULL;
	free(r.text);
	return yes;
}

void host_signals(struct host_rig *x, int signo)
{
	pid_t us = getpid();

	x->killer = fork();
	if (x->killer)
		return;
	for (;;) {
		usleep(300000);
		kill(us, signo);
	}
}
