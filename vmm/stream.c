/* #syscalls read write sendto poll close */
/* #syscalls:before openat newfstatat fcntl */
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stream.h"

#define LINE_KEPT  256
#define CHUNK_IN   4096
#define CHUNK_SLOW 256 /* written at a time where the fd cannot be made non-blocking */

enum how {
	HOW_NONE,
	HOW_FILE,   /* never blocks for long, and epoll refuses it */
	HOW_OWN,    /* opened anew, non-blocking: the caller's description keeps its flags */
	HOW_SOCKET, /* MSG_DONTWAIT */
	HOW_SHARED, /* a description we may not change: ask poll(2), write little */
};

struct stream {
	struct loop *loop;
	const struct stream_ops *ops;
	void *arg;
	struct loop_fd in_h, out_h;
	enum how in, out;
	bool in_armed, out_armed;
	struct loop_call flush, refill;
	pthread_mutex_t lock; /* guards all below */
	size_t head, used;
	uint64_t dropped;
	void (*on_line)(void *arg, const char *text);
	void *line_arg;
	char line[LINE_KEPT];
	size_t line_len;
	uint8_t ring[STREAM_RING];
};

static ssize_t write_some(struct stream *s, const uint8_t *p, size_t len)
{
	struct pollfd pfd = { s->out_h.fd, POLLOUT, 0 };

	switch (s->out) {
	case HOW_SOCKET:
		return send(s->out_h.fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	case HOW_SHARED:
		if (poll(&pfd, 1, 0) <= 0) {
			errno = EAGAIN;
			return -1;
		}
		return write(s->out_h.fd, p, MIN(len, CHUNK_SLOW));
	default:
		return write(s->out_h.fd, p, len);
	}
}

/*
 * An fd is in the epoll set only while we wait for it: a hang-up is reported
 * whatever events are asked for, and would spin the loop.
 */
static void arm(struct stream *s, struct loop_fd *h, bool *armed, bool want)
{
	if (*armed == want)
		return;
	if (want) {
		*armed = !loop_fd_add(s->loop, h);
		return;
	}
	loop_fd_del(s->loop, h);
	*armed = false;
}

/* the reader is gone: from here on output is dropped */
static void out_close(struct stream *s)
{
	arm(s, &s->out_h, &s->out_armed, false);
	cleanup_close(&s->out_h.fd);
	s->out_h.fd = -1;
	s->out = HOW_NONE;
	pthread_mutex_lock(&s->lock);
	s->dropped += s->used;
	s->used = 0;
	pthread_mutex_unlock(&s->lock);
}

/*
 * Only this, on the loop, takes from the ring, so the bytes between head and
 * head + n stay as they are while they are written without the lock.
 */
static void flush(void *arg)
{
	struct stream *s = arg;

	while (s->out != HOW_NONE) {
		size_t head, n;
		ssize_t done;

		pthread_mutex_lock(&s->lock);
		head = s->head;
		n = MIN(s->used, STREAM_RING - head);
		pthread_mutex_unlock(&s->lock);
		if (!n) {
			arm(s, &s->out_h, &s->out_armed, false);
			return;
		}
		done = write_some(s, s->ring + head, n);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno == EAGAIN) {
			arm(s, &s->out_h, &s->out_armed, true);
			return;
		}
		if (done < 0) {
			out_close(s);
			return;
		}
		pthread_mutex_lock(&s->lock);
		s->head = (head + (size_t)done) % STREAM_RING;
		s->used -= (size_t)done;
		pthread_mutex_unlock(&s->lock);
	}
}

static void on_out(void *arg, uint32_t events)
{
	(void)events;
	flush(arg);
}

static void in_close(struct stream *s)
{
	arm(s, &s->in_h, &s->in_armed, false);
	s->in = HOW_NONE;
}

static void read_some(struct stream *s, size_t room)
{
	uint8_t buf[CHUNK_IN];
	ssize_t n = read(s->in_h.fd, buf, MIN(room, sizeof(buf)));

	if (n > 0)
		s->ops->input(s->arg, buf, (size_t)n);
	else if (!n || (errno != EAGAIN && errno != EINTR))
		in_close(s);
}

/* take input while the device has room for it; runs whenever it says it has */
static void refill(void *arg)
{
	struct stream *s = arg;
	size_t room;

	if (s->in == HOW_NONE || !s->ops)
		return;
	room = s->ops->room(s->arg);
	if (s->in == HOW_SHARED) {
		arm(s, &s->in_h, &s->in_armed, room > 0);
		if (room && !s->in_armed)
			s->in = HOW_FILE; /* /dev/null and files: epoll refuses them, read(2) never
					     waits */
	}
	if (s->in == HOW_FILE && room)
		read_some(s, room);
}

static void on_in(void *arg, uint32_t events)
{
	struct stream *s = arg;
	size_t room = s->ops->room(s->arg);

	(void)events;
	if (room)
		read_some(s, room);
	else
		arm(s, &s->in_h, &s->in_armed, false);
}

static void watch_lines(struct stream *s, const uint8_t *buf, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (buf[i] == '\n' || buf[i] == '\r') {
			s->line[s->line_len] = '\0';
			if (s->line_len)
				s->on_line(s->line_arg, s->line);
			s->line_len = 0;
		} else if (s->line_len < LINE_KEPT - 1) {
			s->line[s->line_len++] = (char)buf[i];
		}
	}
}

void stream_put(struct stream *s, const uint8_t *buf, size_t len)
{
	size_t room, at, first;
	bool idle;

	pthread_mutex_lock(&s->lock);
	if (s->on_line)
		watch_lines(s, buf, len);
	idle = !s->used;
	room = s->out == HOW_NONE ? 0 : STREAM_RING - s->used;
	if (len > room) {
		s->dropped += len - room;
		len = room;
	}
	at = (s->head + s->used) % STREAM_RING;
	first = MIN(len, STREAM_RING - at);
	memcpy(s->ring + at, buf, first);
	memcpy(s->ring, buf + first, len - first);
	s->used += len;
	pthread_mutex_unlock(&s->lock);
	if (idle && len)
		loop_call(s->loop, &s->flush);
}

void stream_drop(struct stream *s, size_t len)
{
	pthread_mutex_lock(&s->lock);
	s->dropped += len;
	pthread_mutex_unlock(&s->lock);
}

void stream_room(struct stream *s)
{
	loop_call(s->loop, &s->refill);
}

static enum how how_in(int fd)
{
	struct stat st;

	return fd < 0 || fstat(fd, &st) ? HOW_NONE : S_ISREG(st.st_mode) ? HOW_FILE : HOW_SHARED;
}

/* terminals and pipes are opened anew: O_NONBLOCK on a shared one would hit our parent's shell */
static enum how how_out(int *fd)
{
	struct stat st;
	char path[32];
	int own;

	if (*fd < 0 || fstat(*fd, &st))
		return HOW_NONE;
	if (S_ISREG(st.st_mode))
		return HOW_FILE;
	if (S_ISSOCK(st.st_mode))
		return HOW_SOCKET;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", *fd);
	own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (own < 0)
		return HOW_SHARED;
	close(*fd);
	*fd = own;
	return HOW_OWN;
}

static int dup_fd(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static int open_spec(struct stream *s, const char *spec)
{
	int in, out, end = 0;

	if (!strcmp(spec, "none"))
		return 0;
	if (!strcmp(spec, "-")) {
		s->in_h.fd = dup_fd(STDIN_FILENO);
		s->out_h.fd = dup_fd(STDOUT_FILENO);
		return 0;
	}
	if (sscanf(spec, "fd:%d:%d%n", &in, &out, &end) == 2 && !spec[end]) {
		s->in_h.fd = dup_fd(in);
		s->out_h.fd = dup_fd(out);
		if ((in >= 0 && s->in_h.fd < 0) || (out >= 0 && s->out_h.fd < 0))
			return err(-EBADF, "console %s: no such file descriptor", spec);
		return 0;
	}
	if (!strncmp(spec, "fd:", 3))
		return err(-EINVAL,
			   "console %s: write fd:IN:OUT, as in fd:3:4, with -1 for neither", spec);
	s->out_h.fd =
		open(spec, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
	if (s->out_h.fd < 0)
		return err(-errno, "console %s: %s", spec, strerror(errno));
	return 0;
}

struct stream *stream_new(struct loop *loop, const char *spec)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s) {
		err(-ENOMEM, "console: out of memory");
		return NULL;
	}
	pthread_mutex_init(&s->lock, NULL);
	s->loop = loop;
	s->flush = (struct loop_call){ .fn = flush, .arg = s };
	s->refill = (struct loop_call){ .fn = refill, .arg = s };
	s->in_h = (struct loop_fd){ -1, EPOLLIN, on_in, s };
	s->out_h = (struct loop_fd){ -1, EPOLLOUT, on_out, s };
	if (open_spec(s, spec)) {
		stream_free(s);
		return NULL;
	}
	s->out = how_out(&s->out_h.fd);
	s->in = how_in(s->in_h.fd);
	return s;
}

void stream_attach(struct stream *s, const struct stream_ops *ops, void *arg)
{
	pthread_mutex_lock(&s->lock);
	s->ops = ops;
	s->arg = arg;
	pthread_mutex_unlock(&s->lock);
	if (ops)
		loop_call(s->loop, &s->refill);
	else
		in_close(s);
}

void stream_watch(struct stream *s, void (*line)(void *arg, const char *text), void *arg)
{
	s->on_line = line;
	s->line_arg = arg;
}

static bool flushed(void *arg)
{
	struct stream *s = arg;

	flush(s);
	return !s->used || s->out == HOW_NONE;
}

void stream_flush(struct stream *s, uint64_t timeout_ns)
{
	if (loop_until(s->loop, flushed, s, timeout_ns))
		log_warn("console: its reader has stalled; %zu bytes are lost", s->used);
}

uint64_t stream_dropped(struct stream *s)
{
	uint64_t n;

	pthread_mutex_lock(&s->lock);
	n = s->dropped;
	pthread_mutex_unlock(&s->lock);
	return n;
}

void stream_free(struct stream *s)
{
	if (!s)
		return;
	in_close(s);
	if (s->out != HOW_NONE)
		flush(s);
	arm(s, &s->out_h, &s->out_armed, false);
	loop_call_cancel(s->loop, &s->flush);
	loop_call_cancel(s->loop, &s->refill);
	cleanup_close(&s->in_h.fd);
	cleanup_close(&s->out_h.fd);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
