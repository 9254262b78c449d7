/* client.c - ask a running machine over its control socket */
/* #syscalls:before socket connect read write lseek close */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tool.h"

#define ANSWER_MAX (512L << 20)

static int connect_to(const char *name)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	if (rundir_path(name, "ctl", addr.sun_path, sizeof(addr.sun_path))) {
		complain("no machine named '%s' runs", name);
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	if (errno == ENOENT || errno == ECONNREFUSED)
		complain("no machine named '%s' runs (nothing answers at %s)", name, addr.sun_path);
	else
		complain("machine '%s': %s: %s", name, addr.sun_path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* everything until the other side closes */
static long read_all(int fd, char **ret)
{
	size_t have = 0, size = 1 << 16;
	char *buf = malloc(size), *more;
	ssize_t n = -1;

	while (buf && (n = read(fd, buf + have, size - have - 1)) > 0) {
		have += (size_t)n;
		if (size - have > 1)
			continue;
		more = (long)size < ANSWER_MAX ? realloc(buf, size *= 2) : NULL;
		if (!more)
			break;
		buf = more;
	}
	if (!buf || n) {
		free(buf);
		return -1;
	}
	buf[have] = '\0';
	*ret = buf;
	return (long)have;
}

long client_ask(const char *name, const char *request, void **ret)
{
	int fd = connect_to(name), head = 0;
	char *buf = NULL;
	long have, len = -1;

	if (fd < 0)
		return -1;
	if (dprintf(fd, "%s\n", request) < 0 || (have = read_all(fd, &buf)) < 0) {
		complain("machine '%s': it closed the connection: %s", name, strerror(errno));
		close(fd);
		return -1;
	}
	close(fd);
	if (sscanf(buf, "ok %ld%n", &len, &head) == 1 && len >= 0 && buf[head] == '\n' &&
	    have - head - 1 == len) {
		memmove(buf, buf + head + 1, (size_t)len);
		*ret = buf;
		return len;
	}
	buf[strcspn(buf, "\n")] = '\0';
	complain("machine '%s': %s", name,
		 strncmp(buf, "error ", 6) ? "its answer makes no sense" : buf + 6);
	free(buf);
	return -1;
}
