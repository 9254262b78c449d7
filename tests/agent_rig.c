#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent_rig.h"
#include "client.h"
#include "guest.h"

const char *agent_path(void)
{
	static char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	require(n > 0);
	path[n] = '\0';
	for (int i = 0; i < 2; i++)
		*strrchr(path, '/') = '\0';
	strcat(path, "/agent/agent");
	return path;
}

pid_t agent_listen(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	pid_t pid;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	require(s >= 0 && !bind(s, (struct sockaddr *)&a, sizeof(a)) && !listen(s, 512));
	pid = fork();
	if (!pid) {
		require(s == 3 || dup2(s, 3) == 3);
		close_range(4, ~0U, 0);
		prctl(PR_SET_CHILD_SUBREAPER, 1);
		execl(agent_path(), "agent", "--fd", "3", NULL);
		_exit(99);
	}
	close(s);
	return pid;
}

size_t agent_status(pid_t pid, const char *key)
{
	char path[64], line[256];
	size_t v = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid ? pid : getpid());
	f = fopen(path, "re");
	require(f != NULL);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			v = strtoul(line + strlen(key), NULL, 10);
	fclose(f);
	return v;
}

size_t agent_settled(pid_t pid)
{
	size_t now = agent_status(pid, "VmRSS:"), before = 0;

	for (int looks = 0; looks < 50 && now != before; looks++) {
		before = now;
		usleep(100000);
		now = agent_status(pid, "VmRSS:");
	}
	return now;
}

void agent_reach(const char *path, struct client *c)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct proto_buf hello = { .data = NULL };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	client_init(c);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	require(c->fd >= 0 && !connect(c->fd, (struct sockaddr *)&a, sizeof(a)));
	c->state = CLIENT_BUSY;
	proto_begin(&hello, PROTO_HELLO, 0);
	proto_number(&hello, TAG_MAGIC, PROTO_MAGIC);
	proto_number(&hello, TAG_VERSION, PROTO_VERSION);
	proto_end(&hello);
	client_source(c, -1);
	client_sink(c, 0, -1, 0);
	client_sink(c, 1, -1, 0);
	client_request(c, &hello, 0);
}

void agent_leave(struct client *c)
{
	char buf[4096];

	/* a Unix socket that is closed with something unread would reset the other end */
	shutdown(c->fd, SHUT_WR);
	while (recv(c->fd, buf, sizeof(buf), 0) > 0)
		;
	client_close(c);
}

void agent_reset(struct client *c)
{
	uint8_t ping[PROTO_HEADER];
	struct pollfd p = { c->fd, POLLIN, 0 };

	proto_put_header(ping, PROTO_PING, 0, 0);
	require(send(c->fd, ping, sizeof(ping), MSG_NOSIGNAL) == sizeof(ping));
	require(poll(&p, 1, 20000) == 1);
	client_close(c);
}
