/*
 * net_rx.c - frames from the host into the guest's buffers
 *
 * 1. Buffers are popped into one flat row of pieces, as many as frames have
 *    lately taken, and the carrier reads straight into them.  At the end of
 *    each turn what was not used is back in the ring, so between turns nothing
 *    is in flight and a reset or a snapshot has nothing to wait for.
 * 2. Behind the row lies `spill`, large enough for any frame, so a read never
 *    cuts one off, however little the guest has made available.  What lands
 *    there is copied to buffers that are popped for it.
 * 3. Where there are none the whole frame moves to `spill` and waits: the only
 *    one that ever does.  Meanwhile the host's own queue holds the others.  If
 *    a whole ring of buffers would not hold it, it is dropped.
 * 4. Without VIRTIO_NET_F_MRG_RXBUF a frame has one buffer or is dropped.
 * 5. The header is the host's until it is checked; all buffers of one frame
 *    are published at once, because the driver takes num_buffers at its word.
 */
#include <endian.h>
#include <linux/virtio_config.h>

#include "net.h"

enum rx_result { RX_GO_ON, RX_EMPTY, RX_NO_BUFFERS, RX_STOP };

static bool is_mergeable(const struct net *n)
{
	return vdev_has(&n->v, VIRTIO_NET_F_MRG_RXBUF);
}

/* --- the row --- */

static void make_room(struct net_rx *rx)
{
	if (rx->iov_at + rx->iovs + VQ_IOV_MAX > RX_IOV) {
		memmove(rx->iov, rx->iov + rx->iov_at, rx->iovs * sizeof(*rx->iov));
		rx->iov_at = 0;
	}
	if (rx->chain_at + rx->chains == RX_CHAINS) {
		memmove(rx->chain, rx->chain + rx->chain_at, rx->chains * sizeof(*rx->chain));
		rx->chain_at = 0;
	}
}

static bool is_full(const struct net_rx *rx)
{
	return rx->iovs + VQ_IOV_MAX > RX_IOV || rx->chains == RX_CHAINS;
}

static bool pop_one(struct net *n)
{
	struct net_rx *rx = &n->rx;
	struct vq_buf *b = &rx->b;

	make_room(rx);
	if (is_full(rx) || !vq_pop(&n->v, NET_RX, b))
		return false;
	if (b->nout || b->in_len < NET_HDR) {
		vq_drop(&n->v, b);
		vdev_broken(&n->v, "a receive buffer without room for a header, or to be read");
		return false;
	}
	memcpy(rx->iov + rx->iov_at + rx->iovs, b->iov, b->nin * sizeof(*b->iov));
	rx->chain[rx->chain_at + rx->chains++] = (struct rx_chain){ b->head, b->nin, b->in_len };
	rx->iovs += b->nin;
	rx->cap += b->in_len;
	return true;
}

/* have @bytes in the row: false if the guest has not made that much available */
static bool reserve(struct net *n, uint64_t bytes)
{
	if (!is_mergeable(n))
		return n->rx.chains || pop_one(n);
	while (n->rx.cap < bytes)
		if (!pop_one(n))
			return false;
	return true;
}

static void give_back(struct net *n)
{
	struct net_rx *rx = &n->rx;

	vq_unpop(&n->v, NET_RX, rx->chains);
	rx->chains = rx->iovs = rx->chain_at = rx->iov_at = 0;
	rx->cap = 0;
}

enum move { MOVE_IN, MOVE_OUT, MOVE_DIRTY };

/* between the row from byte @off on and @buf */
static void move(struct net *n, enum move how, uint64_t off, void *buf, size_t len)
{
	const struct iovec *iov = n->rx.iov + n->rx.iov_at;
	uint8_t *host = buf;

	for (; len; iov++) {
		uint8_t *p = iov->iov_base;
		size_t k;

		if (off >= iov->iov_len) {
			off -= iov->iov_len;
			continue;
		}
		k = MIN(iov->iov_len - off, len);
		if (how == MOVE_IN)
			memcpy(p + off, host, k);
		else if (how == MOVE_OUT)
			memcpy(host, p + off, k);
		if (how != MOVE_OUT)
			gmem_dirty(n->v.dev.m->mem, p + off, k);
		if (host)
			host += k;
		len -= k;
		off = 0;
	}
}

/* the row without the first header's room as the carrier's iovecs, and spill: how many */
static unsigned lay_out(struct net_rx *rx)
{
	const struct iovec *iov = rx->iov + rx->iov_at;
	size_t skip = NET_HDR, room = NET_FRAME_MAX;
	unsigned k = 1; /* the first is the carrier's */

	for (unsigned i = 0; i < rx->iovs && room; i++, iov++) {
		size_t len;

		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		len = MIN(iov->iov_len - skip, room);
		rx->call[k++] = (struct iovec){ (char *)iov->iov_base + skip, len };
		room -= len;
		skip = 0;
	}
	rx->call[k++] = (struct iovec){ rx->spill, sizeof(rx->spill) };
	return k;
}

/* --- one frame --- */

/* the row's first @bytes are a header and a frame: to the guest with them */
static void publish(struct net *n, uint64_t bytes)
{
	struct net_rx *rx = &n->rx;
	unsigned used = 0;

	n->count.rx_packets++;
	n->count.rx_bytes += bytes - NET_HDR;
	limiter_charge(&rx->limit, bytes - NET_HDR, limiter_is_on(&rx->limit) ? now_ns() : 0);
	for (uint64_t left = bytes; left; used++) {
		const struct rx_chain *c = &rx->chain[rx->chain_at + used];
		uint32_t k = (uint32_t)MIN(c->len, left);

		rx->done[used] = (struct vq_done){ c->head, k };
		left -= k;
	}
	rx->hdr.num_buffers = htole16((uint16_t)used);
	move(n, MOVE_IN, 0, &rx->hdr, NET_HDR);
	move(n, MOVE_DIRTY, NET_HDR, NULL, bytes - NET_HDR);
	for (unsigned i = 0; i < used; i++) {
		const struct rx_chain *c = &rx->chain[rx->chain_at + i];

		rx->cap -= c->len;
		rx->iov_at += c->pieces;
		rx->iovs -= c->pieces;
	}
	rx->chain_at += used;
	rx->chains -= used;
	vq_push_all(&n->v, NET_RX, rx->done, used);
}

/* can what the row has and the ring may still get never hold this? */
static bool is_hopeless(const struct net *n)
{
	return !is_mergeable(n) || is_full(&n->rx) || n->rx.chains >= n->v.s.vq[NET_RX].size;
}

/* the frame in `spill` is too large for the buffers there are */
static enum rx_result wait_or_drop(struct net *n, uint32_t len)
{
	if (!vdev_is_live(&n->v))
		return RX_STOP;
	if (is_hopeless(n)) {
		n->rx.waits = 0;
		n->count.rx_too_large++;
		return RX_GO_ON;
	}
	n->rx.waits = len;
	return RX_NO_BUFFERS;
}

static enum rx_result place_waiting(struct net *n)
{
	struct net_rx *rx = &n->rx;
	uint32_t len = rx->waits;

	if (!reserve(n, NET_HDR + len) || rx->cap < NET_HDR + len)
		return wait_or_drop(n, len);
	move(n, MOVE_IN, NET_HDR, rx->spill, len);
	rx->waits = 0;
	publish(n, NET_HDR + len);
	return RX_GO_ON;
}

/* @len bytes were read, of which the row had room for @had */
static enum rx_result place(struct net *n, uint32_t len, uint64_t had)
{
	struct net_rx *rx = &n->rx;

	rx->most = MAX(rx->most, len);
	if (len <= had) {
		publish(n, NET_HDR + len);
		return RX_GO_ON;
	}
	if (reserve(n, NET_HDR + len) && rx->cap >= NET_HDR + len) {
		move(n, MOVE_IN, NET_HDR + had, rx->spill, len - had);
		publish(n, NET_HDR + len);
		return RX_GO_ON;
	}
	/* what lies in the guest's buffers is taken out again */
	move(n, MOVE_DIRTY, NET_HDR, NULL, had);
	if (is_mergeable(n)) {
		memmove(rx->spill + had, rx->spill, len - had);
		move(n, MOVE_OUT, NET_HDR, rx->spill, had);
	}
	return wait_or_drop(n, len);
}

/* nobody is to have it: read and thrown away */
static enum rx_result discard(struct net *n)
{
	struct net_rx *rx = &n->rx;
	ssize_t len;

	rx->call[1] = (struct iovec){ rx->spill, sizeof(rx->spill) };
	len = n->back->ops->recv(n->back, &rx->hdr, rx->call, 2);
	rx->waits = 0;
	if (len >= 0)
		n->count.rx_no_link++;
	else if (len != -EAGAIN)
		net_lost(n, (int)-len);
	return len >= 0 ? RX_GO_ON : len == -EAGAIN ? RX_EMPTY : RX_STOP;
}

static enum rx_result receive(struct net *n)
{
	struct net_rx *rx = &n->rx;
	uint64_t had;
	ssize_t len;

	if (!net_has_link(n))
		return discard(n);
	if (rx->waits)
		return place_waiting(n);
	if (!reserve(n, NET_HDR + (uint64_t)rx->want) && !rx->chains)
		return RX_NO_BUFFERS;
	if (!vdev_is_live(&n->v))
		return RX_STOP;
	had = MIN(rx->cap - NET_HDR, NET_FRAME_MAX);
	len = n->back->ops->recv(n->back, &rx->hdr, rx->call, lay_out(rx));
	if (len == -EAGAIN)
		return RX_EMPTY;
	if (len < 0) {
		net_lost(n, (int)-len);
		return RX_STOP;
	}
	if (len < NET_FRAME_MIN || len > NET_FRAME_MAX || !net_agrees(n, &rx->hdr, true)) {
		/* it was read into buffers that stay the guest's */
		move(n, MOVE_DIRTY, NET_HDR, NULL, MIN((size_t)len, had));
		n->count.rx_bad++;
		return RX_GO_ON;
	}
	if (!vdev_has(&n->v, VIRTIO_NET_F_GUEST_CSUM))
		rx->hdr.flags = 0;
	return place(n, (uint32_t)len, had);
}

/* --- a turn --- */

static bool is_limited(struct net *n)
{
	struct net_rx *rx = &n->rx;
	uint64_t at = limiter_is_on(&rx->limit) ? limiter_wait(&rx->limit, now_ns()) : 0;

	if (!at)
		return false;
	n->count.rx_waits++;
	loop_timer_set(n->v.dev.m->loop, &rx->timer, at);
	return true;
}

void net_rx_run(struct net *n)
{
	struct net_rx *rx = &n->rx;
	uint64_t stop = n->count.rx_bytes + NET_BUDGET_BYTES;
	enum rx_result r = RX_STOP;

	rx->on = false;
	if (!net_ready(n) || !n->back || rx->timer.at) {
		net_watch(n);
		return;
	}
	rx->most = 0;
	for (unsigned budget = NET_BUDGET; budget && n->count.rx_bytes < stop; budget--) {
		r = is_limited(n) ? RX_STOP : receive(n);
		if (r != RX_GO_ON)
			break;
	}
	give_back(n);
	/* small frames after large ones do not mean that those are over */
	rx->want = MAX(rx->most, rx->want / 2);
	vq_notify(&n->v, NET_RX);
	rx->on = r == RX_GO_ON || r == RX_EMPTY;
	net_watch(n);
	if (r == RX_GO_ON && n->back && n->back->holds)
		vdev_notify(&n->v, NET_RX);
}

void net_rx_forget(struct net *n)
{
	n->rx.waits = 0;
	n->rx.want = 0;
}
