/*
 * vsock.c - virtio-vsock: its queues, and the guest that was restored
 *
 * #syscalls:before prlimit64
 */
#include <endian.h>
#include <limits.h>
#include <sys/resource.h>

#include "conf.h"
#include "devices.h"
#include "vsock.h"

#define PUMP_MOST   512 /* packets before everything else has its turn */
#define TAKE_MOST   64	/* packets of the guest, up to 64 KiB each, likewise */
#define SHARE	    4	/* packets of one connection while others wait */
#define FILES_LEFT  64	/* for the rest of the process */
#define QUIET_AGAIN 100000000

static const struct field vsock_fields[] = {
	F_RANGE(struct vsock_state, cid, 3, 0xfffffffe),
	F_RANGE(struct vsock_state, last_port, VSOCK_PORT_FIRST, VSOCK_PORT_LAST),
	F_END,
};

static const struct field counter_fields[] = {
	F_UINT(struct vsock_counters, connections),
	F_UINT(struct vsock_counters, opened),
	F_UINT(struct vsock_counters, closed),
	F_UINT(struct vsock_counters, refused),
	F_UINT(struct vsock_counters, resets),
	F_UINT(struct vsock_counters, credit_waits),
	F_UINT(struct vsock_counters, to_guest_packets),
	F_UINT(struct vsock_counters, to_guest_bytes),
	F_UINT(struct vsock_counters, from_guest_packets),
	F_UINT(struct vsock_counters, from_guest_bytes),
	F_END,
};

static struct vsock *to_vsock(struct vdev *v)
{
	return container_of(v, struct vsock, v);
}

/* --- to the guest --- */

/* a buffer that holds a header and @more bytes: 1, 0 for none, -1 after breaking the device */
static int next_buffer(struct vsock *vs, struct vq_buf *b, uint32_t more)
{
	if (!vq_pop(&vs->v, VSOCK_RX, b))
		return 0;
	if (b->in_len >= VSOCK_HEADER + more)
		return 1;
	vq_drop(&vs->v, b);
	vdev_broken(&vs->v, "a receive buffer too small for a packet");
	return -1;
}

static void put_packet(struct vsock *vs, struct vq_buf *b, struct virtio_vsock_hdr *h, uint32_t len)
{
	h->dst_cid = htole64(vs->s.cid);
	h->len = htole32(len);
	vq_put(&vs->v, b, 0, h, VSOCK_HEADER);
	vq_push(&vs->v, VSOCK_RX, b, (uint32_t)VSOCK_HEADER + len);
	vs->count.to_guest_packets++;
	vs->count.to_guest_bytes += len;
}

static struct virtio_vsock_hdr header(struct vsock_conn *c, uint16_t op)
{
	c->told = c->taken;
	return (struct virtio_vsock_hdr){
		.src_cid = htole64(VSOCK_HOST_CID),
		.src_port = htole32(c->host_port),
		.dst_port = htole32(c->guest_port),
		.type = htole16(VIRTIO_VSOCK_TYPE_STREAM),
		.op = htole16(op),
		.flags = htole32(op == VIRTIO_VSOCK_OP_SHUTDOWN ? c->shut : 0),
		.buf_alloc = htole32(VSOCK_BUF),
		.fwd_cnt = htole32(c->taken),
	};
}

static int send_stray(struct vsock *vs)
{
	struct vsock_stray *s = &vs->stray[vs->first_stray];
	struct vq_buf *b = &vs->batch[0];
	struct virtio_vsock_hdr h = {
		.src_cid = htole64(s->host_cid),
		.src_port = htole32(s->host_port),
		.dst_port = htole32(s->guest_port),
		.type = htole16(s->type),
		.op = htole16(VIRTIO_VSOCK_OP_RST),
	};
	int r = next_buffer(vs, b, 0);

	if (r <= 0)
		return r;
	put_packet(vs, b, &h, 0);
	vs->first_stray = (vs->first_stray + 1) % VSOCK_STRAYS;
	vs->strays--;
	return 1;
}

static int send_word(struct vsock *vs, struct vsock_conn *c)
{
	struct vq_buf *b = &vs->batch[0];
	struct virtio_vsock_hdr h;
	uint16_t op;
	int r = next_buffer(vs, b, 0);

	if (r <= 0)
		return r;
	op = conn_next_op(c);
	h = header(c, op);
	put_packet(vs, b, &h, 0);
	if (op == VIRTIO_VSOCK_OP_RST)
		conn_told_reset(c);
	return 1;
}

/* buffers for up to @room bytes, and the pieces of memory behind their headers */
static unsigned gather(struct vsock *vs, unsigned most, uint32_t room, unsigned *ret_iovs,
		       size_t *ret_bytes)
{
	unsigned n = 0, iovs = 0;
	size_t bytes = 0;

	while (n < most && bytes < room && iovs + VQ_IOV_MAX <= VSOCK_IOVS) {
		struct vq_buf *b = &vs->batch[n];

		if (next_buffer(vs, b, 1) <= 0)
			break;
		vs->space[n] = (uint32_t)MIN(b->in_len - VSOCK_HEADER, room - bytes);
		iovs += vsock_slice(b->iov + b->nout, b->nin, VSOCK_HEADER, &vs->space[n],
				    vs->iov + iovs, VSOCK_IOVS - iovs);
		bytes += vs->space[n++];
	}
	*ret_iovs = iovs;
	*ret_bytes = bytes;
	return n;
}

/* one read fills many packets; what it does not fill goes back to the ring */
static int send_data(struct vsock *vs, struct vsock_conn *c)
{
	bool alone = !TAILQ_NEXT(c, data);
	uint32_t room = MIN(vsock_room(c), VSOCK_PACKET);
	unsigned iovs, i = 0, n;
	size_t bytes, left;
	ssize_t got;

	n = gather(vs, alone ? VSOCK_BATCH : SHARE, room, &iovs, &bytes);
	if (!n)
		return 0;
	got = host_read(c, vs->iov, iovs);
	for (left = got > 0 ? (size_t)got : 0; left; i++) {
		struct virtio_vsock_hdr h = header(c, VIRTIO_VSOCK_OP_RW);
		uint32_t len = (uint32_t)MIN(left, vs->space[i]);

		vq_dirty(&vs->v, &vs->batch[i], VSOCK_HEADER, len);
		put_packet(vs, &vs->batch[i], &h, len);
		c->sent += len;
		left -= len;
	}
	vq_unpop(&vs->v, VSOCK_RX, n - i);
	conn_was_read(c, got, bytes);
	return (int)(i ? i : 1);
}

/* --- the guest that was restored --- */

/* how many event buffers wait, and a kick when there are more */
static unsigned count_events(struct vsock *vs)
{
	struct vq_buf *b = &vs->batch[1]; /* send_event() holds the first */
	unsigned n = 0;

	while (n < VQ_MAX && vq_pop(&vs->v, VSOCK_EVENT, b))
		n++;
	vq_unpop(&vs->v, VSOCK_EVENT, n);
	return n;
}

static void send_event(struct vsock *vs)
{
	const struct virtio_vsock_event e = { htole32(VIRTIO_VSOCK_EVENT_TRANSPORT_RESET) };
	struct vq_buf *b = &vs->batch[0];

	if (!vq_pop(&vs->v, VSOCK_EVENT, b))
		return;
	if (b->in_len < sizeof(e)) {
		vq_drop(&vs->v, b);
		vdev_broken(&vs->v, "an event buffer too small for an event");
		return;
	}
	vq_put(&vs->v, b, 0, &e, sizeof(e));
	/* before the guest can see it, and give it back */
	vs->events_left = count_events(vs);
	vq_push(&vs->v, VSOCK_EVENT, b, sizeof(e));
	vs->gate = GATE_EVENT_SENT;
	vq_notify(&vs->v, VSOCK_EVENT);
}

/* a kick alone says nothing, for a resume kicks too: that the buffer is back does */
static void on_event_queue(struct vsock *vs)
{
	unsigned n = count_events(vs);

	if (vs->gate == GATE_EVENT_DUE)
		send_event(vs);
	else if (vs->gate == GATE_EVENT_SENT && n > vs->events_left)
		vs->gate = GATE_OPEN;
}

/* --- the loop's steps --- */

static int pump_one(struct vsock *vs)
{
	struct vsock_conn *c;

	if (vs->strays)
		return send_stray(vs);
	c = TAILQ_FIRST(&vs->ctl);
	if (c)
		return send_word(vs, c);
	c = TAILQ_FIRST(&vs->data);
	return c ? send_data(vs, c) : 0;
}

void vsock_pump(struct vsock *vs)
{
	int budget = PUMP_MOST, n = 0;

	if (vs->gate != GATE_OPEN || !vdev_is_live(&vs->v))
		return;
	while (budget > 0 && (n = pump_one(vs)) > 0)
		budget -= n;
	if (budget <= 0)
		vdev_notify(&vs->v, VSOCK_RX);
	vq_notify(&vs->v, VSOCK_RX);
	if (vs->tx_stalled && vs->strays < VSOCK_STRAYS)
		vdev_notify(&vs->v, VSOCK_TX);
}

static void from_guest(struct vsock *vs)
{
	struct vq_buf *b = &vs->batch[0];
	struct virtio_vsock_hdr h;
	unsigned budget = TAKE_MOST;

	vs->tx_stalled = false;
	for (; budget; budget--) {
		if (vs->strays == VSOCK_STRAYS) {
			vs->tx_stalled = true;
			break;
		}
		if (!vq_pop(&vs->v, VSOCK_TX, b))
			break;
		if (vq_get(b, 0, &h, sizeof(h)) != sizeof(h)) {
			vq_drop(&vs->v, b);
			vdev_broken(&vs->v, "a packet without a header");
			break;
		}
		conn_packet(vs, &h, b);
		vq_push(&vs->v, VSOCK_TX, b, 0);
	}
	if (!budget)
		vdev_notify(&vs->v, VSOCK_TX);
	vq_notify(&vs->v, VSOCK_TX);
}

static void kick(struct vdev *v, unsigned q)
{
	struct vsock *vs = to_vsock(v);

	vsock_enter(vs);
	if (q == VSOCK_TX)
		from_guest(vs);
	else if (q == VSOCK_EVENT)
		on_event_queue(vs);
	else if (vq_pop(v, q, &vs->batch[0])) /* a bad ring is found though nothing is to be sent */
		vq_unpop(v, q, 1);
	vsock_pump(vs);
}

void vsock_enter(struct vsock *vs)
{
	if (!vs->dropped)
		return;
	vs->dropped = false;
	conn_drop_all(vs);
	vs->strays = 0;
	vs->tx_stalled = false;
}

static void on_drop(void *arg)
{
	struct vsock *vs = arg;

	dev_lock(&vs->v.dev);
	vsock_enter(vs);
	dev_unlock(&vs->v.dev);
}

void vsock_alarm(struct vsock *vs, uint64_t at)
{
	if (!vs->timer.at || at < vs->timer.at)
		loop_timer_set(vs->v.dev.m->loop, &vs->timer, at);
}

/* a guest that stands still is not to blame for being late */
static void put_off(struct vsock *vs, uint64_t now)
{
	struct vsock_conn *c;

	TAILQ_FOREACH(c, &vs->all, all)
	if (c->deadline && c->state != CONN_HELLO)
		c->deadline = MAX(c->deadline, now + QUIET_AGAIN);
}

static void on_timer(void *arg)
{
	struct vsock *vs = arg;
	struct vsock_conn *c, *next;
	uint64_t now = now_ns();

	dev_lock(&vs->v.dev);
	vsock_enter(vs);
	if (vs->accept_at && vs->accept_at <= now)
		host_accept_again(vs);
	if (vs->v.quiet)
		put_off(vs, now);
	for (c = TAILQ_FIRST(&vs->all); c; c = next) {
		next = TAILQ_NEXT(c, all);
		conn_on_time(c, now);
	}
	TAILQ_FOREACH(c, &vs->all, all)
	if (c->deadline)
		vsock_alarm(vs, c->deadline);
	if (vs->accept_at)
		vsock_alarm(vs, vs->accept_at);
	vsock_pump(vs);
	dev_unlock(&vs->v.dev);
}

/* on a vCPU's thread, or the loop's */
static void reset(struct vdev *v)
{
	struct vsock *vs = to_vsock(v);

	vs->s.last_port = VSOCK_PORT_FIRST;
	vs->gate = GATE_OPEN;
	vs->dropped = true;
	loop_call(v->dev.m->loop, &vs->drop);
}

static size_t config(struct vdev *v, const void **ret)
{
	struct vsock *vs = to_vsock(v);

	*ret = &vs->config;
	return sizeof(vs->config);
}

static const struct vdev_type vsock_vtype = {
	.id = 19,
	.kick = kick,
	.reset = reset,
	.config = config,
};

/* what is left of the files that this process may open is the other limit */
static void look_at_limits(struct vsock *vs)
{
	struct rlimit files;
	rlim_t left;

	vs->limit = VSOCK_CONNS;
	vs->fd_limit = UINT_MAX;
	if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur > UINT_MAX)
		return;
	left = files.rlim_cur > 2 * FILES_LEFT ? files.rlim_cur - FILES_LEFT : files.rlim_cur / 2;
	vs->limit = (unsigned)MIN(left, VSOCK_CONNS);
	vs->fd_limit = (unsigned)left;
}

static int vsock_create(struct dev *dev, const void *conf)
{
	struct vsock *vs = to_vsock(to_vdev(dev));
	const struct vdev_place *place = conf;
	const struct conf_vsock *c = place->conf;
	int r;

	TAILQ_INIT(&vs->all);
	TAILQ_INIT(&vs->ctl);
	TAILQ_INIT(&vs->data);
	vs->listener.fd = -1;
	vs->cid = c->cid;
	vs->s = (struct vsock_state){ c->cid, VSOCK_PORT_FIRST };
	vs->config.guest_cid = htole64(c->cid);
	look_at_limits(vs);
	vs->drop = (struct loop_call){ .fn = on_drop, .arg = vs };
	vs->timer = (struct loop_timer){ .fn = on_timer, .arg = vs };
	r = vdev_init(&vs->v, &vsock_vtype, 0, VSOCK_QUEUES, place);
	DEV_PART(dev, "vsock", vsock_fields, &vs->s);
	dev_counters(dev, counter_fields, &vs->count);
	return r ? r : host_listen(vs, c->path);
}

/*
 * Connections end with the machine they were made in.  The guest hears so
 * before anything else, and reads its address again: the configured one, which
 * need not be that of the image.
 */
static int vsock_loaded(struct dev *dev)
{
	struct vsock *vs = to_vsock(to_vdev(dev));
	int r = vdev_loaded(&vs->v);

	vs->s.cid = vs->cid;
	vs->gate = vdev_is_live(&vs->v) ? GATE_EVENT_DUE : GATE_OPEN;
	vs->dropped = true;
	vsock_enter(vs);
	return r;
}

static void vsock_destroy(struct dev *dev)
{
	struct vsock *vs = to_vsock(to_vdev(dev));

	conn_drop_all(vs);
	host_unlisten(vs);
	loop_timer_cancel(dev->m->loop, &vs->timer);
	loop_call_cancel(dev->m->loop, &vs->drop);
	vdev_destroy(&vs->v);
}

const struct dev_type vsock_type = {
	.name = "vsock",
	.size = sizeof(struct vsock),
	.create = vsock_create,
	.reset = vdev_power_on,
	.drain = vdev_drain,
	.loaded = vsock_loaded,
	.resume = vdev_resume,
	.destroy = vsock_destroy,
};
