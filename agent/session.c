/*
 * session.c - one connection: its frames in, the request that is under way, frames out
 *
 * 1. Nothing blocks. A frame is handled when it is whole; bytes for a command
 *    that its pipe does not take wait in `in`, at most PROTO_WINDOW, which is
 *    all the credit the host has.
 * 2. Output of a command is read only when all of `out` was sent and the host
 *    has given credit, so memory stays at one frame for each connection.
 * 3. A request ends when its child has ended and its output is read: to its
 *    end, or what had come DRAIN_MS after the child's end, so that a process
 *    left behind with the pipes open keeps nobody waiting, however much it says.
 * 4. The frame of a further request stays in `rx` until then.
 * 5. Lines of the log go to a host that wants them whenever it has taken all
 *    else, and those of a request before the frame that ends it, behind which
 *    the host may read no more.
 * 6. A connection that was reset, as all are when a machine goes on from a
 *    snapshot, leaves its command adrift: its output is read and dropped, its
 *    input stays open and is silent, so that it notices nothing. If no host
 *    says within ADRIFT_MS that this is a restored machine, it is ended, as
 *    every other command is at once whose host has gone.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"
#include "session.h"

#define DRAIN_MS  200
#define ADRIFT_MS 5000
#define LOGS_MOST (4U << 10) /* that wait for a host to read them */
#define RX_FIRST  (4U << 10)
#define RX_KEEP	  (PROTO_HEADER + PROTO_DATA_MAX) /* more than that is given back after use */

static void say_hello(struct proto_buf *out)
{
	proto_begin(out, PROTO_HELLO, 0);
	proto_number(out, TAG_MAGIC, PROTO_MAGIC);
	proto_number(out, TAG_VERSION, PROTO_VERSION);
	proto_number(out, TAG_BOOT_NS, agent_up_ns());
	proto_number(out, TAG_INIT_NS, agent_began_ns());
	proto_end(out);
}

struct session *session_new(int fd)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s) {
		close(fd);
		return NULL;
	}
	s->fd = fd;
	s->in.fd = s->outlet[0].fd = s->outlet[1].fd = -1;
	say_hello(&s->out);
	return s;
}

void session_free(struct session *s)
{
	if (s->request && s->pid > 0 && !s->exited)
		exec_signal(s->pid, SIGKILL);
	relay_close(s);
	close_fd(&s->fd);
	proto_free(&s->out);
	free(s->rx);
	free(s);
}

bool session_is_busy(const struct session *s)
{
	return s->request || s->out.len;
}

bool session_takes_logs(const struct session *s)
{
	return s->logs && !s->out.len;
}

static void give_logs(struct session *s)
{
	while (s->logs && s->out.len < LOGS_MOST && log_take(&s->out))
		;
}

/* --- answers --- */

static void say_refusal(struct proto_buf *out, const struct why *why)
{
	proto_begin(out, PROTO_ERROR, 0);
	proto_number(out, TAG_CODE, why->code);
	proto_number(out, TAG_ERRNO, (uint64_t)why->error);
	proto_text(out, TAG_TEXT, why->text);
	proto_end(out);
}

static void say_error(struct session *s, const struct why *why)
{
	log_say(LEVEL_INFO, "refused: %s", why->text);
	give_logs(s);
	say_refusal(&s->out, why);
}

void session_turn_away(int fd)
{
	struct proto_buf out = { .data = NULL };
	struct why why;

	refuse(&why, ERROR_BUSY, 0, "this agent serves %d requests at once", PROTO_SESSIONS);
	say_hello(&out);
	say_refusal(&out, &why);
	/* a new connection takes that much at once; and who does not read it is not waited for */
	if (!out.failed && send(fd, out.data, out.len, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		shutdown(fd, SHUT_WR);
	proto_free(&out);
	close(fd);
}

static void say_done(struct session *s, int r, const struct why *why)
{
	if (r) {
		say_error(s, why);
		return;
	}
	give_logs(s);
	proto_begin(&s->out, PROTO_DONE, 0);
	proto_end(&s->out);
}

/* --- requests --- */

/* the child's ends become ours */
static void begin(struct session *s, uint8_t request, const struct exec_child *child)
{
	s->request = request;
	s->pid = child->pid;
	s->exited = s->drained = false;
	s->in = (struct inlet){ .fd = child->in }; /* an EOF may have come late for the last one */
	for (int i = 0; i < 2; i++)
		s->outlet[i] = (struct outlet){ child->out[i], PROTO_WINDOW, 0 };
	s->ooms_before = work_ooms(&agent_os);
}

/* a child would stand still before it is the command, and we with it */
static bool is_frozen(struct why *why)
{
	return agent_frozen &&
	       refuse(why, ERROR_SYSTEM, 0, "the commands are frozen; thaw them first");
}

static void start_exec(struct session *s, struct proto_reader r)
{
	struct exec_request x = { .arg = NULL };
	struct exec_child child;
	struct why why;

	if (exec_parse(r, &x, &why) || is_frozen(&why) || exec_start(&x, &child, &why)) {
		say_error(s, &why);
	} else {
		log_say(LEVEL_INFO, "process %d is %s", child.pid, x.arg[0]);
		proto_begin(&s->out, PROTO_STARTED, 0);
		proto_number(&s->out, TAG_PID, (uint64_t)child.pid);
		proto_end(&s->out);
		/* who is detached is nobody's to wait for but process 1's */
		if (x.flags & EXEC_DETACH)
			say_done(s, 0, NULL);
		else
			begin(s, PROTO_EXEC, &child);
	}
	exec_request_free(&x);
}

static void start_files(struct session *s, uint8_t type, struct proto_reader r)
{
	struct exec_child child;
	struct files_request *x;
	struct why why;

	x = files_parse(type, r, &why);
	if (!x || exec_call(files_run, x, &child, &why))
		say_error(s, &why);
	else
		begin(s, type, &child);
	files_free(x);
}

static void do_setup(struct session *s, struct proto_reader r)
{
	struct setup x = { .hostname = NULL };
	struct why why;
	int failed = setup_parse(r, &x, &why);

	if (!failed && x.id)
		log_about(x.id);
	if (!failed)
		failed = os_setup(&agent_os, &x, &why);
	if (!failed && x.restored && x.restored != RESTORED_BOOT)
		agent_restored();
	else if (!failed)
		log_say(LEVEL_INFO, "the guest is set up");
	say_done(s, failed, &why);
	setup_free(&x);
}

static void do_freeze(struct session *s, bool freeze)
{
	struct why why;
	int r = work_freeze(&agent_os, freeze);

	agent_frozen = !r && freeze;
	if (!r)
		log_say(LEVEL_INFO, "all commands are %s", freeze ? "frozen" : "thawed");
	if (r)
		refuse(&why, ERROR_SYSTEM, -r, "the commands cannot be frozen: %s", strerror(-r));
	else if (freeze)
		sync();
	say_done(s, r, &why);
}

static void do_poweroff(struct session *s, struct proto_reader r)
{
	struct proto_item item;
	uint64_t grace = 0;

	while (proto_next(&r, &item) == 1)
		if (item.tag == TAG_GRACE_MS && proto_item_number(&item, &grace))
			grace = 0;
	say_done(s, 0, NULL);
	agent_power_off(grace);
}

static void request(struct session *s, uint8_t type, struct proto_reader r)
{
	struct why why;

	switch (type) {
	case PROTO_SETUP:
		do_setup(s, r);
		break;
	case PROTO_EXEC:
		start_exec(s, r);
		break;
	case PROTO_PUT:
	case PROTO_GET:
	case PROTO_TREE:
		start_files(s, type, r);
		break;
	case PROTO_INFO:
		give_logs(s);
		answer_info(&s->out);
		break;
	case PROTO_FREEZE:
	case PROTO_THAW:
		do_freeze(s, type == PROTO_FREEZE);
		break;
	case PROTO_POWEROFF:
		do_poweroff(s, r);
		break;
	default:
		refuse(&why, ERROR_REQUEST, 0, "a frame of type %u is no request", type);
		say_error(s, &why);
		s->broken = true;
	}
}

/* --- what belongs to a request under way; it may have ended just now, and nobody is at fault ---
 */

static void on_signal(struct session *s, struct proto_reader r)
{
	struct proto_item item;
	uint64_t signo = 0;

	while (proto_next(&r, &item) == 1)
		if (item.tag == TAG_SIGNO && proto_item_number(&item, &signo))
			signo = 0;
	/* what is left of the group after the command itself has ended is signalled too */
	if (s->request == PROTO_EXEC)
		exec_signal(s->pid, signo);
}

static void on_resize(struct session *s, struct proto_reader r)
{
	uint64_t columns = 0, rows = 0;
	struct proto_item item;

	while (proto_next(&r, &item) == 1)
		if (item.tag == TAG_COLUMNS
			    ? proto_item_number(&item, &columns)
			    : item.tag == TAG_ROWS && proto_item_number(&item, &rows))
			return;
	if (s->request == PROTO_EXEC && s->outlet[0].fd >= 0)
		exec_resize(s->outlet[0].fd, columns, rows);
}

/* the person at the terminal leaves; the command goes on, and keeps the terminal */
static void on_detach(struct session *s)
{
	struct why why;
	int fd = s->outlet[0].fd;

	/* it has ended meanwhile, or is just ending: that will be told */
	if (s->request != PROTO_EXEC || s->exited)
		return;
	if (fd < 0 || !isatty(fd)) {
		refuse(&why, ERROR_REQUEST, 0, "a command without a terminal cannot be left");
		say_error(s, &why);
	} else if (!orphan_add(fd)) {
		refuse(&why, ERROR_LIMIT, 0, "%d terminals are left; this one ends", ORPHANS);
		say_error(s, &why);
	} else {
		s->in.fd = s->outlet[0].fd = -1;
		relay_close(s);
		s->request = 0;
		s->pid = 0;
		say_done(s, 0, NULL);
	}
}

/* --- frames in --- */

static void on_hello(struct session *s, struct proto_reader r)
{
	struct proto_item item;
	uint64_t v, magic = 0, version = 0;
	struct why why;

	while (proto_next(&r, &item) == 1) {
		if (proto_item_number(&item, &v))
			continue;
		if (item.tag == TAG_MAGIC)
			magic = v;
		else if (item.tag == TAG_VERSION)
			version = v;
		else if (item.tag == TAG_LOGS)
			s->logs = v == 1;
	}
	s->hello = magic == PROTO_MAGIC && version >= 1;
	if (s->hello)
		return;
	refuse(&why, ERROR_VERSION, 0, "this agent speaks version %d, and the host %llu",
	       PROTO_VERSION, (unsigned long long)version);
	say_error(s, &why);
	s->broken = true;
}

static bool is_request(uint8_t type)
{
	return type >= PROTO_SETUP && type <= PROTO_POWEROFF;
}

static void on_frame(struct session *s, const struct proto_frame *f, const uint8_t *body)
{
	struct proto_reader r = { body, body + f->len };
	bool out = f->stream != PROTO_STDIN;

	if (!s->hello && f->type != PROTO_HELLO) {
		s->broken = true;
		return;
	}
	switch (f->type) {
	case PROTO_HELLO:
		on_hello(s, r);
		return;
	case PROTO_PING:
		say_empty(s, PROTO_PONG, 0);
		return;
	case PROTO_DATA:
		if (!out)
			inlet_write(s, body, f->len);
		return;
	case PROTO_EOF:
		if (!out)
			inlet_end(s);
		return;
	case PROTO_CREDIT:
		if (out && s->request)
			outlet_credit(s, f->stream, body);
		return;
	case PROTO_CLOSE:
		if (out)
			outlet_close(s, f->stream);
		return;
	case PROTO_SIGNAL:
		on_signal(s, r);
		return;
	case PROTO_RESIZE:
		on_resize(s, r);
		return;
	case PROTO_DETACH:
		on_detach(s);
		return;
	default:
		request(s, f->type, r);
	}
}

/* all whole frames, as far as the request under way lets them be handled */
static void take_frames(struct session *s)
{
	struct proto_frame f;
	size_t at = 0;

	while (!s->broken && s->rx_len - at >= PROTO_HEADER) {
		if (proto_get_header(s->rx + at, &f)) {
			s->broken = true;
			break;
		}
		if (s->rx_len - at - PROTO_HEADER < f.len || (s->request && is_request(f.type)))
			break;
		on_frame(s, &f, s->rx + at + PROTO_HEADER);
		at += PROTO_HEADER + f.len;
	}
	s->rx_len -= at;
	if (at)
		memmove(s->rx, s->rx + at, s->rx_len);
}

/* room for the frame that is coming, or for some bytes of one */
static bool make_room(struct session *s)
{
	size_t want = RX_FIRST;
	struct proto_frame f;
	uint8_t *more;

	if (s->rx_len >= PROTO_HEADER && !proto_get_header(s->rx, &f))
		want = f.len + PROTO_HEADER;
	if (want <= s->rx_size && (s->rx_len || s->rx_size <= RX_KEEP))
		return true;
	more = realloc(s->rx, want);
	if (!more)
		return false;
	s->rx = more;
	s->rx_size = want;
	return true;
}

/* a further request waits in `rx`, and all behind it waits in the socket */
static bool is_held_up(const struct session *s)
{
	struct proto_frame f;

	return s->request && s->rx_len >= PROTO_HEADER && !proto_get_header(s->rx, &f) &&
	       is_request(f.type);
}

/* false when the host is gone */
static bool read_frames(struct session *s)
{
	ssize_t n;

	if (!make_room(s))
		return false;
	if (s->rx_len == s->rx_size)
		return true;
	n = recv(s->fd, s->rx + s->rx_len, s->rx_size - s->rx_len, MSG_DONTWAIT);
	if (n < 0) {
		s->error = errno;
		return errno == EAGAIN || errno == EINTR;
	}
	s->rx_len += (size_t)n;
	return n > 0;
}

/* --- the end of a request --- */

static void finish(struct session *s)
{
	give_logs(s);
	if (s->request == PROTO_EXEC)
		answer_exit(&s->out, s->status, &s->usage, s->ooms_before);
	else
		files_say_end(&s->out, s->status);
	relay_close(s);
	s->request = 0;
	s->pid = 0;
}

static void finish_if_done(struct session *s)
{
	if (!s->request || !s->exited)
		return;
	if (!s->drained && agent_now_ms() >= s->drain_until)
		relay_drained(s);
	if (relay_is_over(s))
		finish(s);
}

/* false when the host is gone */
static bool flush(struct session *s)
{
	while (s->sent < s->out.len) {
		ssize_t n = send(s->fd, s->out.data + s->sent, s->out.len - s->sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			s->error = errno;
			return errno == EAGAIN;
		}
		s->sent += (size_t)n;
	}
	s->out.len = s->sent = 0;
	return !s->out.failed;
}

/* --- adrift --- */

/*
 * Linux tells a reset of all there is by its own driver from the end of one connection, however
 * its host ended that: only then there is an error left.
 */
static bool was_reset(const struct session *s)
{
	socklen_t size = sizeof(int);
	int left = 0;

	return s->error == ECONNRESET ||
	       (!getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &left, &size) && left == ECONNRESET);
}

/* what the command says is taken, and nobody hears it */
static void mute(struct session *s)
{
	s->out.len = s->sent = 0;
	for (int i = 0; i < 2; i++)
		s->outlet[i].credit = PROTO_WINDOW;
}

bool session_cast_off(struct session *s)
{
	if (s->broken || s->request != PROTO_EXEC || s->exited || !was_reset(s))
		return false;
	close_fd(&s->fd);
	free(s->rx);
	s->rx = NULL;
	s->rx_len = s->rx_size = 0;
	s->logs = false;
	mute(s);
	s->keep_until = agent_now_ms() + ADRIFT_MS;
	return true;
}

bool session_keep(struct session *s)
{
	bool news = s->keep_until;

	s->keep_until = 0;
	return news;
}

/* false when the command is over, or its time is */
static bool drifts_on(struct session *s)
{
	mute(s);
	if (!s->request || !s->keep_until || agent_now_ms() < s->keep_until)
		return s->request;
	log_say(LEVEL_INFO, "process %d is ended: its host has not come back", s->pid);
	return false;
}

/* --- the loop's side --- */

int session_poll(const struct session *s, struct pollfd *p)
{
	const struct inlet *in = &s->in;
	uint64_t now = agent_now_ms(), until;

	p[0] = (struct pollfd){ s->fd, 0, 0 };
	if (!is_held_up(s))
		p[0].events |= POLLIN;
	if (s->out.len)
		p[0].events |= POLLOUT;
	/* without data to pass on, only the reader's going away is of interest */
	p[1] = (struct pollfd){ in->fd == s->outlet[0].fd && !in->used ? -1 : in->fd, 0, 0 };
	if (in->used)
		p[1].events = POLLOUT;
	for (int i = 0; i < 2; i++) {
		const struct outlet *o = &s->outlet[i];

		p[2 + i] = (struct pollfd){ o->credit && !s->out.len ? o->fd : -1, POLLIN, 0 };
	}
	until = s->request && s->exited && !s->drained ? s->drain_until : s->keep_until;
	return !until ? -1 : now >= until ? 0 : (int)(until - now);
}

bool session_step(struct session *s, const struct pollfd *p)
{
	if (p[0].revents & (POLLIN | POLLHUP | POLLERR) && (is_held_up(s) || !read_frames(s)))
		return false; /* held up, only the host's going away is told */
	inlet_ready(s, p[1].revents);
	for (int i = 0; i < 2; i++)
		if (p[2 + i].revents && s->outlet[i].fd == p[2 + i].fd)
			outlet_read(s, i);
	finish_if_done(s);
	if (s->fd < 0)
		return drifts_on(s);
	take_frames(s);
	if (session_takes_logs(s))
		give_logs(s);
	return flush(s) && !s->broken;
}

bool session_reaped(struct session *s, pid_t pid, int status, const struct rusage *usage)
{
	if (!s->request || s->exited || s->pid != pid)
		return false;
	s->exited = true;
	s->status = status;
	if (s->request == PROTO_EXEC && WIFSIGNALED(status))
		log_say(LEVEL_INFO, "process %d died of signal %d", pid, WTERMSIG(status));
	else if (s->request == PROTO_EXEC)
		log_say(LEVEL_INFO, "process %d ended with %d", pid, WEXITSTATUS(status));
	s->usage = *usage;
	s->drain_until = agent_now_ms() + DRAIN_MS;
	return true;
}

void session_end_command(struct session *s, int signo)
{
	if (s->request && !s->exited)
		exec_signal(s->pid, (uint64_t)signo);
}
