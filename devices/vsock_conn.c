/*
 * vsock_conn.c - the table of connections, and what packets and sockets do to them
 *
 * 1. Of two ends, each is shut for itself: an end of file of the socket shuts
 *    what the guest receives, an error on writing shuts what it sends.  The
 *    guest says the same with SHUTDOWN.  When it has said both, it is answered
 *    with RST and its ports are free; what the host has yet to read stays.
 * 2. Whatever is wrong with one connection resets that one.
 * 3. A reset is never answered with a reset.
 *
 * #syscalls close
 */
#include <endian.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vsock.h"

#define HELLO_NS   3000000000ULL  /* for "CONNECT port\n" */
#define ANSWER_NS  10000000000ULL /* for the guest to answer */
#define CALL_NS	   2000000000ULL  /* for a full queue of the host program to move */
#define CALL_AGAIN 10000000ULL

/* --- the table --- */

static struct vsock_conn **bucket(struct vsock *vs, uint32_t guest_port, uint32_t host_port)
{
	return &vs->hash[(guest_port * 31 + host_port) % VSOCK_HASH];
}

struct vsock_conn *conn_find(struct vsock *vs, uint32_t guest_port, uint32_t host_port)
{
	struct vsock_conn *c = *bucket(vs, guest_port, host_port);

	while (c && (c->guest_port != guest_port || c->host_port != host_port))
		c = c->chain;
	return c;
}

static void take_ports(struct vsock_conn *c, uint32_t guest_port, uint32_t host_port)
{
	struct vsock_conn **at = bucket(c->vs, guest_port, host_port);

	c->guest_port = guest_port;
	c->host_port = host_port;
	c->chain = *at;
	*at = c;
	c->hashed = true;
}

static void leave_ports(struct vsock_conn *c)
{
	struct vsock_conn **at = bucket(c->vs, c->guest_port, c->host_port);

	if (!c->hashed)
		return;
	while (*at != c)
		at = &(*at)->chain;
	*at = c->chain;
	c->hashed = false;
}

static struct vsock_conn *conn_new(struct vsock *vs, enum vsock_conn_state state)
{
	struct vsock_conn *c = vs->count.connections < vs->limit ? calloc(1, sizeof(*c)) : NULL;

	if (!c)
		return NULL;
	c->vs = vs;
	c->state = (uint8_t)state;
	c->h.fd = -1;
	TAILQ_INSERT_TAIL(&vs->all, c, all);
	vs->count.connections++;
	return c;
}

static void leave_lists(struct vsock_conn *c)
{
	if (c->in_ctl)
		TAILQ_REMOVE(&c->vs->ctl, c, ctl);
	if (c->in_data)
		TAILQ_REMOVE(&c->vs->data, c, data);
	c->in_ctl = c->in_data = false;
}

void conn_free(struct vsock_conn *c)
{
	host_close(c);
	leave_lists(c);
	leave_ports(c);
	TAILQ_REMOVE(&c->vs->all, c, all);
	c->vs->count.connections--;
	free(c);
}

void conn_drop_all(struct vsock *vs)
{
	struct vsock_conn *c;

	while ((c = TAILQ_FIRST(&vs->all)))
		conn_free(c);
}

static bool port_is_used(struct vsock *vs, uint32_t host_port)
{
	struct vsock_conn *c;

	TAILQ_FOREACH(c, &vs->all, all)
	if (c->hashed && c->host_port == host_port)
		return true;
	return false;
}

/* there are more ports than connections */
static uint32_t next_port(struct vsock *vs)
{
	do {
		vs->s.last_port =
			vs->s.last_port < VSOCK_PORT_LAST ? vs->s.last_port + 1 : VSOCK_PORT_FIRST;
	} while (port_is_used(vs, vs->s.last_port));
	return vs->s.last_port;
}

/* --- what is to be said, and what is to be sent --- */

static void want(struct vsock_conn *c, unsigned what)
{
	c->want |= (uint8_t)what;
	if (!c->in_ctl)
		TAILQ_INSERT_TAIL(&c->vs->ctl, c, ctl);
	c->in_ctl = true;
}

static void open_deadline(struct vsock_conn *c, uint64_t at)
{
	c->deadline = at;
	if (at)
		vsock_alarm(c->vs, at);
}

/* nothing goes on here any more; the guest hears of it if its ports are still taken */
static void done(struct vsock_conn *c, bool tell)
{
	if (c->state != CONN_DONE)
		c->vs->count.closed += c->state == CONN_OPEN;
	c->state = CONN_DONE;
	c->deadline = 0;
	leave_lists(c);
	c->want = 0;
	if (tell)
		want(c, WANT_RST);
	else
		leave_ports(c);
	if (!c->used)
		host_close(c); /* the other end reads what it was sent, then the end */
	if (!c->hashed && c->h.fd < 0)
		conn_free(c);
}

void conn_reset(struct vsock_conn *c)
{
	bool tell = c->hashed && !(c->want & WANT_REQUEST); /* of that it knows nothing yet */

	host_close(c);
	c->vs->count.resets += tell;
	done(c, tell);
}

void conn_told_reset(struct vsock_conn *c)
{
	leave_ports(c);
	if (c->h.fd < 0)
		conn_free(c);
}

static void shut_for_guest(struct vsock_conn *c, uint8_t flags)
{
	if ((c->shut & flags) == flags)
		return;
	c->shut |= flags;
	want(c, WANT_SHUTDOWN);
}

/* the host program does not read any more: what comes for it is swallowed */
static void deaf(struct vsock_conn *c)
{
	c->gone = true;
	if (c->at_end)
		host_close(c);
	shut_for_guest(c, VIRTIO_VSOCK_SHUTDOWN_RCV);
}

/* the host program sends nothing more */
static void at_end(struct vsock_conn *c)
{
	c->at_end = true;
	c->readable = false;
	if (c->gone)
		host_close(c);
	shut_for_guest(c, c->gone ? VSOCK_BOTH : VIRTIO_VSOCK_SHUTDOWN_SEND);
}

static bool wants_to_send(struct vsock_conn *c)
{
	if (c->state != CONN_OPEN || !c->readable || c->at_end || c->h.fd < 0 ||
	    c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV)
		return false;
	if (vsock_room(c)) {
		c->asked_credit = false;
		return true;
	}
	if (c->hup && host_is_at_end(c)) { /* that takes no room */
		at_end(c);
		return false;
	}
	if (!c->asked_credit) {
		c->asked_credit = true;
		c->vs->count.credit_waits++;
		want(c, WANT_ASK_CREDIT);
	}
	return false;
}

void conn_ready(struct vsock_conn *c)
{
	bool data = wants_to_send(c);

	if (data == c->in_data)
		return;
	c->in_data = data;
	if (data)
		TAILQ_INSERT_TAIL(&c->vs->data, c, data);
	else
		TAILQ_REMOVE(&c->vs->data, c, data);
}

/* the guest may send again; half of the buffer a time is rare enough, and early enough */
static void grant(struct vsock_conn *c)
{
	if (c->state == CONN_OPEN && c->taken != c->told && vsock_granted(c) < VSOCK_BUF / 2)
		want(c, WANT_CREDIT);
}

static const struct {
	uint8_t want;
	uint16_t op;
} ops[] = {
	{ WANT_RST, VIRTIO_VSOCK_OP_RST },
	{ WANT_REQUEST, VIRTIO_VSOCK_OP_REQUEST },
	{ WANT_RESPONSE, VIRTIO_VSOCK_OP_RESPONSE },
	{ WANT_SHUTDOWN, VIRTIO_VSOCK_OP_SHUTDOWN },
	{ WANT_ASK_CREDIT, VIRTIO_VSOCK_OP_CREDIT_REQUEST },
	{ WANT_CREDIT, VIRTIO_VSOCK_OP_CREDIT_UPDATE },
};

uint16_t conn_next_op(struct vsock_conn *c)
{
	unsigned i = 0;

	while (i < ARRAY_SIZE(ops) - 1 && !(c->want & ops[i].want))
		i++;
	/* every packet says how much room there is */
	c->want &= (uint8_t) ~(ops[i].want | WANT_CREDIT);
	TAILQ_REMOVE(&c->vs->ctl, c, ctl);
	c->in_ctl = false;
	if (c->want)
		want(c, 0); /* behind the others */
	return ops[i].op;
}

/* --- the host's side --- */

void conn_from_host(struct vsock *vs, int fd)
{
	struct vsock_conn *c = vdev_is_live(&vs->v) ? conn_new(vs, CONN_HELLO) : NULL;

	if (!c) {
		vs->count.refused++;
		close(fd);
		return;
	}
	if (host_watch(c, fd)) {
		vs->count.refused++;
		conn_free(c);
		return;
	}
	open_deadline(c, now_ns() + HELLO_NS);
}

static void hello(struct vsock_conn *c)
{
	uint32_t port;
	int r = host_hello(c, &port);

	if (!r)
		return;
	if (r < 0) {
		c->vs->count.refused++;
		conn_free(c);
		return;
	}
	c->state = CONN_ASKED;
	take_ports(c, port, next_port(c->vs));
	open_deadline(c, now_ns() + ANSWER_NS);
	want(c, WANT_REQUEST);
}

static void flush(struct vsock_conn *c)
{
	int r = host_flush(c);

	if (c->state == CONN_DONE) { /* lingers: what was sent is to arrive */
		if (r || !c->used)
			host_close(c);
		if (!c->hashed && c->h.fd < 0)
			conn_free(c);
		return;
	}
	if (r) {
		host_drop_ring(c);
		deaf(c);
	}
	if (!c->used && c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND)
		host_shutdown(c, SHUT_WR);
	grant(c);
}

void conn_on_socket(struct vsock_conn *c, uint32_t events)
{
	if (events & ~(uint32_t)EPOLLOUT)
		c->readable = true;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->hup = true;
	switch (c->state) {
	case CONN_HELLO:
		hello(c);
		return;
	case CONN_ASKED:
		if (events & (EPOLLHUP | EPOLLERR)) {
			c->vs->count.refused++;
			conn_reset(c);
		}
		return;
	case CONN_DONE:
		flush(c);
		return;
	default:
		break;
	}
	if (c->used && events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		flush(c);
	if (events & (EPOLLHUP | EPOLLERR)) {
		c->gone = true;
		/* else the end is found behind what is yet to be read */
		if (c->at_end || c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV)
			at_end(c);
	}
	conn_ready(c);
}

void conn_was_read(struct vsock_conn *c, ssize_t n, size_t asked)
{
	if (n == -EAGAIN)
		c->readable = false;
	else if (!n)
		at_end(c);
	else if (n < 0) {
		conn_reset(c);
		return;
	} else if ((size_t)n < asked && !c->hup && !c->cut) {
		c->readable = false; /* all there was; more comes with an edge */
	}
	if (c->in_data)
		TAILQ_REMOVE(&c->vs->data, c, data);
	c->in_data = false;
	conn_ready(c); /* behind the others */
}

/* --- packets of the guest --- */

bool vsock_credit(struct vsock_conn *c, uint32_t alloc, uint32_t taken)
{
	uint32_t step = taken - c->peer_taken;

	if (step > c->sent - c->peer_taken)
		return (int32_t)step < 0; /* older news: packets of two threads may cross */
	c->peer_taken = taken;
	c->peer_alloc = MIN(alloc, VSOCK_ALLOC_MAX);
	return true;
}

static void stray(struct vsock *vs, const struct virtio_vsock_hdr *h)
{
	struct vsock_stray *s;

	if (le16toh(h->op) == VIRTIO_VSOCK_OP_RST)
		return;
	BUG_ON(vs->strays == VSOCK_STRAYS);
	vs->count.resets++;
	s = &vs->stray[(vs->first_stray + vs->strays++) % VSOCK_STRAYS];
	*s = (struct vsock_stray){ le64toh(h->dst_cid), le32toh(h->dst_port), le32toh(h->src_port),
				   le16toh(h->type) };
}

static void opened(struct vsock_conn *c)
{
	c->state = CONN_OPEN;
	c->deadline = 0;
	c->vs->count.opened++;
}

/* false when it failed for good */
static bool call(struct vsock_conn *c)
{
	int r = host_call(c);
	uint64_t now;

	if (!r) {
		opened(c);
		want(c, WANT_RESPONSE);
		return true;
	}
	now = now_ns();
	if (r != -EAGAIN || now >= c->give_up)
		return false;
	/* less often the longer it lasts: a guest may have hundreds of these */
	open_deadline(c, now + CALL_AGAIN + (now + CALL_NS - c->give_up) / 4);
	return true;
}

static void request(struct vsock *vs, const struct virtio_vsock_hdr *h)
{
	struct vsock_conn *c = conn_new(vs, CONN_CALLS);

	if (c) {
		take_ports(c, le32toh(h->src_port), le32toh(h->dst_port));
		c->give_up = now_ns() + CALL_NS;
		if (vsock_credit(c, le32toh(h->buf_alloc), le32toh(h->fwd_cnt)) && call(c))
			return;
		conn_free(c);
	}
	vs->count.refused++;
	stray(vs, h);
}

static void response(struct vsock_conn *c)
{
	if (c->state != CONN_ASKED) {
		conn_reset(c);
		return;
	}
	opened(c);
	if (host_welcome(c))
		conn_reset(c);
	/* it is readable since its first line: something may stand behind that */
}

static void reset(struct vsock_conn *c)
{
	c->vs->count.refused += c->state == CONN_ASKED;
	done(c, false);
}

static void shut_down(struct vsock_conn *c, uint32_t flags)
{
	c->guest_shut |= (uint8_t)(flags & VSOCK_BOTH);
	if (c->guest_shut == VSOCK_BOTH) {
		done(c, true);
		return;
	}
	if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV)
		host_shutdown(c, SHUT_RD);
	if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND && !c->used)
		host_shutdown(c, SHUT_WR);
}

static void data(struct vsock_conn *c, const struct vq_buf *b, uint32_t len)
{
	int r = 0;

	if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND || len > VSOCK_BUF - (c->got - c->taken)) {
		conn_reset(c);
		return;
	}
	c->got += len;
	c->vs->count.from_guest_bytes += len;
	if (len && !c->gone && c->h.fd >= 0)
		r = host_write(c, b, len);
	if (r == -ENOMEM) {
		conn_reset(c);
		return;
	}
	if (r || c->gone || c->h.fd < 0) {
		c->taken = c->got;
		deaf(c);
	}
	grant(c);
}

static void known(struct vsock_conn *c, const struct virtio_vsock_hdr *h, const struct vq_buf *b)
{
	uint16_t op = le16toh(h->op);

	if (op == VIRTIO_VSOCK_OP_RST) {
		reset(c);
		return;
	}
	if (c->state == CONN_DONE)
		return; /* the reset is on its way */
	if (!vsock_credit(c, le32toh(h->buf_alloc), le32toh(h->fwd_cnt))) {
		conn_reset(c);
		return;
	}
	if (c->state != CONN_OPEN && op != VIRTIO_VSOCK_OP_RESPONSE) {
		conn_reset(c);
		return;
	}
	switch (op) {
	case VIRTIO_VSOCK_OP_RESPONSE:
		response(c);
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		shut_down(c, le32toh(h->flags));
		break;
	case VIRTIO_VSOCK_OP_RW:
		data(c, b, le32toh(h->len));
		break;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		want(c, WANT_CREDIT);
		break;
	default: /* a second REQUEST too */
		conn_reset(c);
	}
}

void conn_packet(struct vsock *vs, const struct virtio_vsock_hdr *h, const struct vq_buf *b)
{
	uint32_t guest_port = le32toh(h->src_port), host_port = le32toh(h->dst_port);
	uint32_t len = le32toh(h->len);
	struct vsock_conn *c;

	vs->count.from_guest_packets++;
	if (le64toh(h->src_cid) != vs->s.cid || le64toh(h->dst_cid) != VSOCK_HOST_CID ||
	    le16toh(h->type) != VIRTIO_VSOCK_TYPE_STREAM) {
		stray(vs, h);
		return;
	}
	c = conn_find(vs, guest_port, host_port);
	if (c && c->want & WANT_REQUEST) { /* the guest has not heard of it, so means another */
		stray(vs, h);
		return;
	}
	if (len > VSOCK_PACKET || len > b->out_len - VSOCK_HEADER) {
		if (!c)
			stray(vs, h);
		else if (c->state != CONN_DONE)
			conn_reset(c);
		return;
	}
	if (c)
		known(c, h, b);
	else if (le16toh(h->op) == VIRTIO_VSOCK_OP_REQUEST)
		request(vs, h);
	else
		stray(vs, h);
	/* credit may have come, or gone */
	c = conn_find(vs, guest_port, host_port);
	if (c)
		conn_ready(c);
}

void conn_on_time(struct vsock_conn *c, uint64_t now)
{
	if (!c->deadline || c->deadline > now)
		return;
	c->deadline = 0;
	if (c->state == CONN_CALLS && call(c))
		return;
	c->vs->count.refused++;
	if (c->state == CONN_HELLO)
		conn_free(c);
	else
		conn_reset(c);
}
