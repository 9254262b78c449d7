/* client.c - ask the machine of a sandbox over its control socket */
/* #syscalls:before socket connect setsockopt sendmsg read close */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "progress.h"
#include "registry.h"
#include "tool.h"

#define ANSWER_MAX (512L << 20)

struct question {
	const struct box *box;
	bool quiet;
};

static long fail(const struct question *q, int r, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static long fail(const struct question *q, int r, const char *fmt, ...)
{
	char text[1200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!q->quiet && r != -ETIMEDOUT)
		complain("sandbox '%s': %s", q->box->name, text);
	return r;
}

static int connect_to(const struct question *q, int ms)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval limit = { ms / 1000, ms % 1000 * 1000 };
	int fd, r;

	if (!q->box->alive || q->box->status == BOX_EXITED)
		return (int)fail(q, -ESRCH, "it has ended");
	if (rundir_path(q->box->name, "ctl", addr.sun_path, sizeof(addr.sun_path)))
		return (int)fail(q, -ENAMETOOLONG, "the path of its socket is too long");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && ms >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	}
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	r = errno == EAGAIN ? -ETIMEDOUT : -errno;
	if (fd >= 0)
		close(fd);
	if ((r == -ENOENT || r == -ECONNREFUSED) && q->box->status == BOX_STARTING)
		return (int)fail(q, r, "it is starting, and does not answer yet");
	if (r == -ENOENT || r == -ECONNREFUSED)
		return (int)fail(q, r, "nothing answers at %s: it is ending", addr.sun_path);
	return (int)fail(q, r, "%s: %s", addr.sun_path, strerror(-r));
}

/* @pass goes along with it, unless it is -1 */
static bool send_line(int fd, const char *request, int pass)
{
	char line[1100], control[CMSG_SPACE(sizeof(int))] = { 0 };
	int n = snprintf(line, sizeof(line), "%s\n", request);
	struct iovec part = { line, (size_t)n };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1 };
	struct cmsghdr *h;

	if (n >= (int)sizeof(line))
		return false;
	if (pass >= 0) {
		m.msg_control = control;
		m.msg_controllen = sizeof(control);
		h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(h), &pass, sizeof(pass));
	}
	return sendmsg(fd, &m, MSG_NOSIGNAL) == n;
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

static long ask(const struct box *box, const char *request, int pass, int ms, bool quiet,
		void **ret)
{
	const struct question q = { box, quiet };
	int fd = connect_to(&q, ms), head = 0;
	char *buf = NULL;
	long have, len = -1;

	if (fd < 0)
		return fd;
	errno = 0;
	if (!send_line(fd, request, pass) || (have = read_all(fd, &buf)) < 0) {
		int r = errno == EAGAIN ? -ETIMEDOUT : -EPIPE;

		close(fd);
		return fail(&q, r, "it closed the connection: %s", strerror(errno));
	}
	close(fd);
	if (sscanf(buf, "ok %ld%n", &len, &head) == 1 && len >= 0 && buf[head] == '\n' &&
	    have - head - 1 == len) {
		memmove(buf, buf + head + 1, (size_t)len);
		buf[len] = '\0';
		*ret = buf;
		return len;
	}
	buf[strcspn(buf, "\n")] = '\0';
	len = fail(&q, -EIO, "%s",
		   !*buf		       ? "it ended without an answer"
		   : strncmp(buf, "error ", 6) ? "its answer makes no sense"
					       : buf + 6);
	free(buf);
	return len;
}

long client_ask_box(const struct box *box, const char *request, int ms, bool quiet, void **ret)
{
	return ask(box, request, -1, ms, quiet, ret);
}

long client_ask_fd(const struct box *box, const char *request, int pass, void **ret)
{
	long r;

	/* what it writes into the descriptor may take its time */
	progress_watch(pass);
	r = ask(box, request, pass, -1, false, ret);
	progress_watch_end();
	return r;
}

long client_ask(const char *name, const char *request, void **ret)
{
	struct box box;
	long r;

	if (box_open(name, &box))
		return -1;
	r = client_ask_box(&box, request, -1, false, ret);
	box_close(&box);
	return r < 0 ? -1 : r;
}
