/*
 * relay.c - between a session and its command: what the host sends to it, what it says
 *
 * Rules 1 to 3 of session.c are kept here.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "session.h"

#define TTY_HOLDS (64U << 10) /* what a terminal keeps beyond what FIONREAD tells */

void relay_close(struct session *s)
{
	/* a terminal's one descriptor is in two places */
	if (s->in.fd == s->outlet[0].fd)
		s->in.fd = -1;
	close_fd(&s->in.fd);
	close_fd(&s->outlet[0].fd);
	close_fd(&s->outlet[1].fd);
	free(s->in.buf);
	s->in = (struct inlet){ .fd = -1 };
}

static void say_credit(struct session *s, uint32_t n)
{
	proto_begin(&s->out, PROTO_CREDIT, PROTO_STDIN);
	proto_raw(&s->out, &n, sizeof(n));
	proto_end(&s->out);
}

void say_empty(struct session *s, uint8_t type, uint8_t stream)
{
	proto_begin(&s->out, type, stream);
	proto_end(&s->out);
}

/* --- what the host sends --- */

/* nobody reads it any more; a terminal stays open for what it says */
static void inlet_close(struct session *s)
{
	if (s->in.fd != s->outlet[0].fd)
		close_fd(&s->in.fd);
	s->in.fd = -1;
	s->in.used = 0;
	say_empty(s, PROTO_CLOSE, PROTO_STDIN);
}

void inlet_write(struct session *s, const uint8_t *data, uint32_t len)
{
	struct inlet *in = &s->in;
	ssize_t n = 0;

	if (in->fd < 0) { /* the command closed it, or is gone */
		if (s->request)
			say_credit(s, len);
		return;
	}
	if (!in->used)
		n = write(in->fd, data, len);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		inlet_close(s);
		return;
	}
	n = n < 0 ? 0 : n;
	if (n)
		say_credit(s, (uint32_t)n);
	len -= (uint32_t)n;
	if (!len)
		return;
	if (!in->buf)
		in->buf = malloc(PROTO_WINDOW);
	if (!in->buf || len > PROTO_WINDOW - in->used) {
		s->broken = true; /* more than it had credit for */
		return;
	}
	if (len > PROTO_WINDOW - in->head - in->used) {
		memmove(in->buf, in->buf + in->head, in->used);
		in->head = 0;
	}
	memcpy(in->buf + in->head + in->used, data + n, len);
	in->used += len;
}

void inlet_end(struct session *s)
{
	static const char end_of_text = 4;

	s->in.end = true;
	if (s->in.used || s->in.fd < 0)
		return;
	/* a terminal is not closed: its line discipline is told, as a person would */
	if (s->in.fd == s->outlet[0].fd) {
		if (write(s->in.fd, &end_of_text, 1) < 0)
			return;
		s->in.fd = -1;
	} else {
		close_fd(&s->in.fd);
	}
}

static void inlet_flush(struct session *s)
{
	struct inlet *in = &s->in;
	ssize_t n = write(in->fd, in->buf + in->head, in->used);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		say_credit(s, in->used);
		inlet_close(s);
		return;
	}
	in->head += (uint32_t)n;
	in->used -= (uint32_t)n;
	say_credit(s, (uint32_t)n);
	if (in->used)
		return;
	in->head = 0;
	if (in->end)
		inlet_end(s);
}

void inlet_ready(struct session *s, short revents)
{
	if (s->in.fd < 0 || !revents)
		return;
	if (s->in.used) {
		inlet_flush(s);
	} else if (revents & POLLERR) {
		inlet_close(s);
	}
}

/* --- what it says --- */

void outlet_close(struct session *s, uint8_t stream)
{
	struct outlet *o = &s->outlet[stream - PROTO_STDOUT];

	if (o->fd >= 0 && o->fd == s->in.fd)
		s->in.fd = -1;
	close_fd(&o->fd);
}

void outlet_credit(struct session *s, uint8_t stream, const uint8_t *body)
{
	struct outlet *o = &s->outlet[stream - PROTO_STDOUT];
	uint32_t n;

	memcpy(&n, body, sizeof(n));
	if (n > PROTO_WINDOW - o->credit)
		s->broken = true;
	else
		o->credit += n;
}

void outlet_read(struct session *s, int i)
{
	static uint8_t buf[PROTO_DATA_MAX];
	struct outlet *o = &s->outlet[i];
	size_t most = o->credit < sizeof(buf) ? o->credit : sizeof(buf);
	uint8_t stream = (uint8_t)(PROTO_STDOUT + i);
	ssize_t n = read(o->fd, buf, most);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		proto_begin(&s->out, PROTO_DATA, stream);
		proto_raw(&s->out, buf, (size_t)n);
		proto_end(&s->out);
		o->credit -= (uint32_t)n;
		o->due -= o->due < (uint32_t)n ? o->due : (uint32_t)n;
		return;
	}
	/* a terminal that nobody has open any more is EIO */
	say_empty(s, PROTO_EOF, stream);
	outlet_close(s, stream);
}

static bool is_readable(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };

	return fd >= 0 && poll(&p, 1, 0) == 1;
}

/* whatever the command said is in its pipes by now */
void relay_drained(struct session *s)
{
	int n;

	s->drained = true;
	for (int i = 0; i < 2; i++)
		if (s->outlet[i].fd >= 0 && !ioctl(s->outlet[i].fd, FIONREAD, &n))
			s->outlet[i].due = (uint32_t)n + TTY_HOLDS;
}

bool relay_is_over(const struct session *s)
{
	bool open = false;

	for (int i = 0; i < 2; i++) {
		const struct outlet *o = &s->outlet[i];

		if (o->fd < 0)
			continue;
		if ((!s->drained || o->due) && is_readable(o->fd))
			return false; /* to be read when there is credit */
		open = true;
	}
	return !open || s->drained;
}
