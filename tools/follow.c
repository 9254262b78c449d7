/* follow.c - read a file of a sandbox, and what is added to it until the sandbox ends */
/* #syscalls:before openat inotify_init1 inotify_add_watch poll read close */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "follow.h"

struct tail {
	const struct box *box;
	const char *file;
	bool lines;
	follow_fn *fn;
	void *arg;
	int fd; /* -1 as long as the file is not there */
	size_t have;
	char buf[1 << 16];
};

/* give the lines that are complete, keep the rest */
static int give_lines(struct tail *t)
{
	char *line = t->buf, *end;
	size_t left = t->have;
	int r = 0;

	while (!r && (end = memchr(line, '\n', left))) {
		*end = '\0';
		r = t->fn(t->arg, line, (size_t)(end - line));
		left -= (size_t)(end - line) + 1;
		line = end + 1;
	}
	if (!r && left == sizeof(t->buf) - 1) {
		line[left] = '\0';
		r = t->fn(t->arg, line, left);
		left = 0;
	}
	memmove(t->buf, line, left);
	t->have = left;
	return r;
}

static int give(struct tail *t)
{
	int r;

	if (t->lines)
		return give_lines(t);
	t->buf[t->have] = '\0';
	r = t->fn(t->arg, t->buf, t->have);
	t->have = 0;
	return r;
}

/* all there is now */
static int drain(struct tail *t)
{
	ssize_t n;
	int r = 0;

	if (t->fd < 0)
		t->fd = openat(t->box->dir, t->file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (t->fd < 0)
		return errno == ENOENT ? 0 : -errno;
	while (!r && (n = read(t->fd, t->buf + t->have, sizeof(t->buf) - 1 - t->have)) > 0) {
		t->have += (size_t)n;
		r = give(t);
	}
	return r;
}

/* a watch on the folder, which may be gone from its place already */
static int watch(const struct box *box)
{
	char path[32];
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", box->dir);
	if (fd >= 0 && inotify_add_watch(fd, path, IN_MODIFY | IN_CREATE | IN_MOVED_TO) >= 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static int until_end(struct tail *t)
{
	/* both are there before the first look: nothing falls between */
	struct pollfd p[2] = { { box_pidfd(t->box), POLLIN, 0 }, { watch(t->box), POLLIN, 0 } };
	char events[4096];
	int r = p[0].fd >= 0 && p[1].fd < 0 ? -errno : 0;

	while (!r) {
		bool ended = p[0].fd < 0 || p[0].revents;

		r = drain(t);
		if (r || ended)
			break;
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			r = -errno;
		while (read(p[1].fd, events, sizeof(events)) > 0)
			;
	}
	for (unsigned i = 0; i < 2; i++)
		if (p[i].fd >= 0)
			close(p[i].fd);
	return r;
}

int follow(const struct box *box, const char *file, bool lines, bool on, follow_fn *fn, void *arg)
{
	struct tail t = {
		.box = box, .file = file, .lines = lines, .fn = fn, .arg = arg, .fd = -1
	};
	int r = on ? until_end(&t) : drain(&t);

	if (!r && t.have) { /* a last line without its end */
		t.buf[t.have] = '\0';
		r = fn(arg, t.buf, t.have);
	}
	if (t.fd >= 0)
		close(t.fd);
	return r;
}
