/*
 * #syscalls:caller socket:AF_UNIX connect accept4 recvfrom sendto read pwritev2 write poll
 * #syscalls:caller newfstatat clock_gettime
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "archive.h"
#include "client.h"
#include "hutch.h"

#define RX_MAX	    (PROTO_HEADER + PROTO_SMALL_MAX)
#define OUT_ENOUGH  (64U << 10)
#define OWE_AT_MOST (PROTO_WINDOW / 4)
#define PING_AFTER  (500 * 1000000ULL)

void client_init(struct client *c)
{
	*c = (struct client){ .fd = -1, .state = CLIENT_LOST };
	c->in.fd = c->sink[0].fd = c->sink[1].fd = -1;
}

void client_close(struct client *c)
{
	if (c->state != CLIENT_CALLED)
		cleanup_close(&c->fd);
	free(c->rx);
	proto_free(&c->out);
	free(c->sink[0].ring);
	free(c->sink[1].ring);
	client_init(c);
}

static void say_hello(struct client *c)
{
	proto_begin(&c->out, PROTO_HELLO, 0);
	proto_number(&c->out, TAG_MAGIC, PROTO_MAGIC);
	proto_number(&c->out, TAG_VERSION, PROTO_VERSION);
	if (c->on_log)
		proto_number(&c->out, TAG_LOGS, 1);
	proto_end(&c->out);
}

void client_logs(struct client *c, void (*fn)(void *arg, unsigned level, const char *text),
		 void *arg)
{
	c->on_log = fn;
	c->on_log_arg = arg;
}

int client_connect(struct client *c, const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char first[32];
	int n = snprintf(first, sizeof(first), "CONNECT %d\n", PROTO_PORT);

	if (str_copy(a.sun_path, sizeof(a.sun_path), path))
		return err(-ENAMETOOLONG, "vsock %s: the path is longer than %zu bytes", path,
			   sizeof(a.sun_path) - 1);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return err(-errno, "socket: %s", strerror(errno));
	if (connect(c->fd, (struct sockaddr *)&a, sizeof(a)))
		return err(-errno, "vsock %s: %s; does the machine run?", path, strerror(errno));
	c->state = CLIENT_HELLO;
	proto_raw(&c->out, first, (size_t)n);
	say_hello(c);
	c->heard_ns = now_ns();
	return 0;
}

void client_expect(struct client *c, int listener)
{
	c->fd = listener;
	c->state = CLIENT_CALLED;
	say_hello(c);
}

void client_source(struct client *c, int fd)
{
	c->in = (struct client_source){ .fd = fd, .credit = PROTO_WINDOW };
}

void client_sink(struct client *c, unsigned i, int fd, uint64_t most)
{
	free(c->sink[i].ring);
	c->sink[i] = (struct client_sink){ .fd = fd, .most = most };
}

void client_watch(struct client *c,
		  void (*fn)(void *arg, unsigned stream, const void *data, size_t len), void *arg)
{
	c->on_output = fn;
	c->arg = arg;
}

void client_filter(struct client *c,
		   size_t (*fn)(void *arg, const void *data, size_t len, void *out, bool *leave),
		   void *arg)
{
	c->on_input = fn;
	c->in_arg = arg;
}

static bool begins_with_time(const struct proto_buf *frames, unsigned setups)
{
	struct proto_reader r;
	struct proto_item item;

	if (!setups || frames->failed || frames->len <= PROTO_HEADER)
		return false;
	r = (struct proto_reader){ frames->data + PROTO_HEADER, frames->data + frames->len };
	return proto_next(&r, &item) > 0 && item.tag == TAG_TIME_NS;
}

uint64_t client_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void client_request(struct client *c, struct proto_buf *frames, unsigned setups)
{
	if (frames->failed)
		c->out.failed = true;
	if (begins_with_time(frames, setups))
		c->clock_at = c->out.len + PROTO_HEADER + PROTO_ITEM;
	proto_raw(&c->out, frames->data, frames->len);
	proto_free(frames);
	c->setups = setups;
	c->ended = c->started = c->started_told = false;
	c->end = (struct client_end){ .type = 0 };
	if (c->state == CLIENT_IDLE)
		c->state = CLIENT_BUSY;
}

static void say_number(struct client *c, uint8_t type, uint16_t tag, uint64_t v)
{
	proto_begin(&c->out, type, 0);
	proto_number(&c->out, tag, v);
	proto_end(&c->out);
}

bool client_signal(struct client *c, int signo)
{
	if (c->ended)
		return false;
	say_number(c, PROTO_SIGNAL, TAG_SIGNO, (uint64_t)signo);
	return true;
}

void client_resize(struct client *c, unsigned columns, unsigned rows)
{
	proto_begin(&c->out, PROTO_RESIZE, 0);
	proto_number(&c->out, TAG_COLUMNS, columns);
	proto_number(&c->out, TAG_ROWS, rows);
	proto_end(&c->out);
}

static void say_empty(struct client *c, uint8_t type, uint8_t stream)
{
	proto_begin(&c->out, type, stream);
	proto_end(&c->out);
}

void client_ping(struct client *c)
{
	if (c->pinged)
		return;
	say_empty(c, PROTO_PING, 0);
	c->pinged = true;
}

unsigned client_silence(struct client *c)
{
	uint64_t since = now_ns() - c->heard_ns;

	if (c->state != CLIENT_BUSY || c->setups || since < PING_AFTER)
		return 0;
	if (!c->pinged) {
		client_ping(c);
		return 0;
	}
	return (unsigned)MIN((since - PING_AFTER) / 1000000, 1U << 30);
}

/* --- output --- */

/* what of @len bytes a descriptor takes without waiting: how many, -EAGAIN, or -errno */
static ssize_t write_some(int fd, const void *data, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)data, len };
	struct pollfd p = { fd, POLLOUT, 0 };
	ssize_t n = pwritev2(fd, &iov, 1, -1, RWF_NOWAIT);
	int why = errno;
	struct stat st;

	if (n >= 0 || (why != EAGAIN && why != EOPNOTSUPP && why != EINVAL))
		return n < 0 ? -why : n;
	/* a file is waited for; a terminal takes 4096 bytes once it says that it takes some */
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		if (why == EAGAIN || poll(&p, 1, 0) != 1)
			return -EAGAIN;
		len = MIN(len, 4096U);
	}
	n = write(fd, data, len);
	return n < 0 ? -errno : n;
}

static void sink_broke(struct client *c, struct client_sink *s, int error)
{
	s->broken = true;
	s->error = error == EPIPE ? 0 : error;
	s->owed += s->used;
	s->used = 0;
	say_empty(c, PROTO_CLOSE, (uint8_t)(PROTO_STDOUT + (s - c->sink)));
}

/* write what waits in the ring */
static void sink_flush(struct client *c, struct client_sink *s)
{
	s->waits = false;
	while (s->used) {
		uint32_t n = MIN(s->used, PROTO_WINDOW - s->head);
		ssize_t k = write_some(s->fd, s->ring + s->head, n);

		if (k == -EINTR)
			continue;
		if (k == -EAGAIN) {
			s->waits = true;
			return;
		}
		if (k < 0) {
			sink_broke(c, s, (int)-k);
			return;
		}
		s->head = (s->head + (uint32_t)k) % PROTO_WINDOW;
		s->used -= (uint32_t)k;
		s->owed += (uint32_t)k;
	}
	s->head = 0;
}

/* false if the guest sent more than it had credit for */
static bool sink_keep(struct client_sink *s, const uint8_t *data, uint32_t len)
{
	if (!s->ring)
		s->ring = malloc(PROTO_WINDOW);
	if (!s->ring || len > PROTO_WINDOW - s->used)
		return false;
	while (len) {
		uint32_t tail = (s->head + s->used) % PROTO_WINDOW;
		uint32_t n = MIN(len, PROTO_WINDOW - tail);

		memcpy(s->ring + tail, data, n);
		s->used += n;
		data += n;
		len -= n;
	}
	return true;
}

static bool sink_put(struct client *c, struct client_sink *s, const uint8_t *data, uint32_t len)
{
	uint32_t take = len;
	ssize_t n = 0;

	if (s->most && len > s->most - s->total) {
		take = (uint32_t)(s->most - s->total);
		if (!s->cut)
			say_empty(c, PROTO_CLOSE, (uint8_t)(PROTO_STDOUT + (s - c->sink)));
		s->cut = true;
	}
	s->total += take;
	s->owed += len - take;
	if (c->on_output && take)
		c->on_output(c->arg, (unsigned)(PROTO_STDOUT + (s - c->sink)), data, take);
	if (s->fd < 0 || s->broken) {
		s->owed += take;
		return true;
	}
	if (!s->used && take)
		n = write_some(s->fd, data, take);
	if (n < 0 && n != -EAGAIN && n != -EINTR) {
		s->owed += take;
		sink_broke(c, s, (int)-n);
		return true;
	}
	n = MAX(n, 0);
	s->owed += (uint32_t)n;
	if (n < take)
		s->waits = true;
	return n == take || sink_keep(s, data + n, take - (uint32_t)n);
}

static void give_credit(struct client *c)
{
	/* one who does not read what we say has no need of more */
	for (int i = 0; i < 2 && c->out.len < OUT_ENOUGH; i++) {
		struct client_sink *s = &c->sink[i];

		if (s->owed < OWE_AT_MOST || s->eof)
			continue;
		proto_begin(&c->out, PROTO_CREDIT, (uint8_t)(PROTO_STDOUT + i));
		proto_raw(&c->out, &s->owed, sizeof(s->owed));
		proto_end(&c->out);
		s->owed = 0;
	}
}

/* --- input --- */

/* bytes that can be read and passed on now */
static uint32_t source_room(const struct client *c)
{
	uint32_t room = MIN(PROTO_DATA_MAX, c->in.credit), held = HUTCH_INPUT_HELD;

	return !c->on_input ? room : room > held ? room - held : 0;
}

static void say_data(struct client *c, const uint8_t *data, size_t len)
{
	proto_begin(&c->out, PROTO_DATA, PROTO_STDIN);
	proto_raw(&c->out, data, len);
	proto_end(&c->out);
	c->in.credit -= (uint32_t)len;
	c->in.moved += (uint32_t)len;
}

static void filter_input(struct client *c, const uint8_t *data, size_t len)
{
	uint8_t out[PROTO_DATA_MAX];
	bool leave = false;
	size_t n = c->on_input(c->in_arg, data, len, out, &leave);

	if (n)
		say_data(c, out, n);
	if (!leave)
		return;
	say_empty(c, PROTO_DETACH, 0);
	c->in.fd = -1;
}

static void read_source(struct client *c)
{
	uint8_t buf[PROTO_DATA_MAX];
	ssize_t n = read(c->in.fd, buf, source_room(c));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n > 0 && c->on_input) {
		filter_input(c, buf, (size_t)n);
		return;
	}
	if (n > 0) {
		say_data(c, buf, (size_t)n);
		return;
	}
	/* EIO: a terminal that has gone has no more to say */
	if (n < 0 && errno != EIO)
		c->in.error = errno;
	say_empty(c, PROTO_EOF, PROTO_STDIN);
	c->in.fd = -1;
}

/* --- what the agent says --- */

static void end_item(struct client_end *e, const struct proto_item *item)
{
	const struct {
		uint16_t tag;
		uint64_t *to;
	} numbers[] = {
		{ TAG_CODE, &e->code },
		{ TAG_ERRNO, &e->error },
		{ TAG_STATUS, &e->status },
		{ TAG_SIGNO, &e->signal },
		{ TAG_CORE, &e->core },
		{ TAG_OOM, &e->oom },
		{ TAG_USER_US, &e->user_us },
		{ TAG_SYSTEM_US, &e->system_us },
		{ TAG_RSS_MAX, &e->rss_max },
		{ TAG_MEMORY_PEAK, &e->memory_peak },
		{ TAG_MEMORY_TOTAL, &e->memory_total },
		{ TAG_MEMORY_FREE, &e->memory_free },
		{ TAG_CPU_US, &e->cpu_us },
		{ TAG_PROCESSES, &e->processes },
		{ TAG_UPTIME_NS, &e->uptime_ns },
		{ TAG_TIME_NS, &e->time_ns },
		{ TAG_PID, &e->pid },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++)
		if (item->tag == numbers[i].tag && proto_item_number(item, numbers[i].to))
			*numbers[i].to = 0;
	/* a guest's text may be anything: what a terminal would obey is not passed on */
	if (item->tag == TAG_TEXT)
		archive_clean(e->text, sizeof(e->text), (const char *)item->data, item->len);
}

static int on_end(struct client *c, uint8_t type, struct proto_reader r)
{
	struct proto_item item;

	/* one that fails ends all: what follows it would be done in a guest that is not as wanted
	 */
	if (c->setups && type == PROTO_DONE) {
		if (!--c->setups)
			c->ready_ns = now_ns();
		return 0;
	}
	c->end = (struct client_end){ .type = type };
	while (proto_next(&r, &item) == 1)
		end_item(&c->end, &item);
	c->end.status = MIN(c->end.status, 255U);
	/* not of what we asked, which it has not read */
	if (type == PROTO_ERROR && c->end.code == ERROR_BUSY)
		return -EBUSY;
	c->ended = true;
	c->in.fd = -1;
	c->state = CLIENT_IDLE;
	return 0;
}

static void on_started(struct client *c, struct proto_reader r)
{
	struct proto_item item;

	while (proto_next(&r, &item) == 1)
		end_item(&c->end, &item);
	c->started = c->in.active = true;
	c->started_ns = now_ns();
}

static int on_hello(struct client *c, struct proto_reader r)
{
	uint64_t magic = 0, v;
	struct proto_item item;

	while (proto_next(&r, &item) == 1) {
		if (proto_item_number(&item, &v))
			continue;
		if (item.tag == TAG_MAGIC)
			magic = v;
		if (item.tag == TAG_BOOT_NS)
			c->boot_ns = v;
		if (item.tag == TAG_INIT_NS)
			c->init_ns = v;
	}
	return magic == PROTO_MAGIC ? 0 : -EPROTO;
}

static void on_log(struct client *c, struct proto_reader r)
{
	struct proto_item item;
	char text[PROTO_LOG_MAX] = "", lost[64];
	uint64_t level = LEVEL_INFO;
	unsigned left_out;
	bool admitted = log_admit(&c->logged, CLIENT_LOGS, &left_out);

	if (left_out) {
		snprintf(lost, sizeof(lost), "%u more lines were left out", left_out);
		c->on_log(c->on_log_arg, LEVEL_WARNING, lost);
	}
	if (!admitted)
		return;
	while (proto_next(&r, &item) == 1) {
		if (item.tag == TAG_LEVEL && proto_item_number(&item, &level))
			level = LEVEL_INFO;
		if (item.tag == TAG_TEXT)
			archive_clean(text, sizeof(text), (const char *)item.data, item.len);
	}
	c->on_log(c->on_log_arg, (unsigned)MIN(level, (uint64_t)LEVEL_INFO), text);
}

static int on_frame(struct client *c, const struct proto_frame *f, const uint8_t *body)
{
	struct proto_reader r = { body, body + f->len };
	struct client_sink *s = f->stream ? &c->sink[f->stream - PROTO_STDOUT] : NULL;
	uint32_t n;

	switch (f->type) {
	case PROTO_HELLO:
		return on_hello(c, r);
	case PROTO_PONG:
		return 0;
	case PROTO_LOG:
		if (!c->on_log)
			return -EPROTO;
		on_log(c, r);
		return 0;
	case PROTO_STARTED:
		if (c->started)
			return -EPROTO;
		on_started(c, r);
		return 0;
	case PROTO_DATA:
		return s && !s->eof && sink_put(c, s, body, f->len) ? 0 : -EPROTO;
	case PROTO_EOF:
		if (s)
			s->eof = true;
		return 0;
	case PROTO_CREDIT:
		memcpy(&n, body, sizeof(n));
		if (s || n > PROTO_WINDOW - c->in.credit)
			return -EPROTO;
		c->in.credit += n;
		return 0;
	case PROTO_CLOSE:
		c->in.fd = s ? c->in.fd : -1;
		return 0;
	case PROTO_DONE:
	case PROTO_ERROR:
	case PROTO_EXIT:
		return on_end(c, f->type, r);
	default:
		return -EPROTO;
	}
}

/* "OK 1073741824\n", from the device, before anything of the agent's: 1, 0 if more is to come */
static int take_ok(struct client *c)
{
	uint8_t *end = memchr(c->rx, '\n', MIN(c->rx_len, 32U));
	size_t n;

	if (!end)
		return c->rx_len >= 32 ? -EPROTO : 0;
	if (c->rx_len < 3 || memcmp(c->rx, "OK ", 3))
		return -EPROTO;
	n = (size_t)(end - c->rx) + 1;
	c->rx_len -= n;
	memmove(c->rx, end + 1, c->rx_len);
	c->state = CLIENT_BUSY;
	return 1;
}

static int take_frames(struct client *c)
{
	struct proto_frame f;
	size_t at = 0;
	int r = c->state == CLIENT_HELLO ? take_ok(c) : 1;

	while (r == 1 && !c->ended && c->rx_len - at >= PROTO_HEADER) {
		if (proto_get_header(c->rx + at, &f))
			return -EPROTO;
		if (f.len > PROTO_SMALL_MAX)
			return -EPROTO;
		if (c->rx_len - at - PROTO_HEADER < f.len)
			break;
		r = on_frame(c, &f, c->rx + at + PROTO_HEADER);
		if (r)
			return r;
		r = 1;
		at += PROTO_HEADER + f.len;
	}
	c->rx_len -= at;
	if (at && c->rx_len)
		memmove(c->rx, c->rx + at, c->rx_len);
	return MIN(r, 0);
}

static int receive(struct client *c)
{
	ssize_t n;

	if (!c->rx && !(c->rx = malloc(RX_MAX)))
		return -ENOMEM;
	n = recv(c->fd, c->rx + c->rx_len, RX_MAX - c->rx_len, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -ECONNRESET;
	if (!n)
		return -ECONNRESET;
	c->rx_len += (size_t)n;
	c->heard_ns = now_ns();
	c->pinged = false;
	return take_frames(c);
}

/* it was asked before there was anybody to be asked, who may have had to boot first */
static void put_clock(struct client *c)
{
	uint64_t ns;

	if (!c->clock_at)
		return;
	ns = client_clock();
	memcpy(c->out.data + c->clock_at, &ns, sizeof(ns));
	c->clock_at = 0;
}

static int transmit(struct client *c)
{
	if (c->out.failed)
		return err(-E2BIG, "a request of more than %u bytes, or no memory for it",
			   PROTO_BODY_MAX);
	put_clock(c);
	while (c->sent < c->out.len) {
		ssize_t n = send(c->fd, c->out.data + c->sent, c->out.len - c->sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0) /* nobody hears us; what was said before that is still to be read */
			break;
		c->sent += (size_t)n;
	}
	c->out.len = c->sent = 0;
	return 0;
}

void client_answer(struct client *c, int fd)
{
	c->fd = fd;
	c->state = CLIENT_BUSY;
	c->heard_ns = c->called_ns = now_ns();
}

/* the agent calls; nobody else in the guest can be quicker, and later calls are not taken */
static int answer_call(struct client *c)
{
	int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED ? 0 : -errno;
	client_answer(c, fd);
	return 0;
}

static bool is_done(const struct client *c)
{
	return c->ended && !c->sink[0].used && !c->sink[1].used;
}

enum { P_FD, P_IN, P_OUT, P_ERR, P_WAKE, P_ALL };

static void what_to_wait_for(const struct client *c, struct pollfd *p, int wake)
{
	p[P_FD] = (struct pollfd){ c->ended ? -1 : c->fd, POLLIN, 0 };
	if (c->out.len && c->state != CLIENT_CALLED)
		p[P_FD].events |= POLLOUT;
	p[P_IN] = (struct pollfd){
		c->in.active && source_room(c) && c->out.len < OUT_ENOUGH ? c->in.fd : -1, POLLIN, 0
	};
	for (int i = 0; i < 2; i++)
		p[P_OUT + i] = (struct pollfd){ c->sink[i].used ? c->sink[i].fd : -1, POLLOUT, 0 };
	p[P_WAKE] = (struct pollfd){ wake, POLLIN, 0 };
}

static int work(struct client *c, const struct pollfd *p)
{
	int r = 0;

	for (int i = 0; i < 2; i++)
		if (p[P_OUT + i].revents)
			sink_flush(c, &c->sink[i]);
	if (p[P_IN].revents)
		read_source(c);
	if (p[P_FD].revents & ~POLLOUT)
		r = c->state == CLIENT_CALLED ? answer_call(c) : receive(c);
	if (!r && !c->ended) {
		give_credit(c);
		if (c->state != CLIENT_CALLED)
			r = transmit(c);
	}
	if (r)
		c->state = CLIENT_LOST;
	return r;
}

int client_pump(struct client *c, int timeout_ms, int wake)
{
	uint64_t end = timeout_ms < 0 ? UINT64_MAX : now_ns() + (uint64_t)timeout_ms * 1000000;
	struct pollfd p[P_ALL];

	if (c->state == CLIENT_LOST)
		return -ECONNRESET;
	while (!is_done(c)) {
		uint64_t now = now_ns();
		bool last = now >= end;
		int n, r;

		what_to_wait_for(c, p, wake);
		n = poll(p, P_ALL,
			 end == UINT64_MAX ? -1
			 : last		   ? 0
					   : (int)((end - now + 999999) / 1000000));
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n < 0)
			continue;
		if (!n)
			return -ETIMEDOUT;
		if (p[P_WAKE].revents)
			return -EINTR;
		r = work(c, p);
		if (r)
			return r;
		if (c->started && !c->started_told && !c->ended) {
			c->started_told = true;
			return -EINPROGRESS;
		}
		/* an agent that never stops talking must not hold our caller up */
		if (last && !is_done(c))
			return -ETIMEDOUT;
	}
	return 0;
}
