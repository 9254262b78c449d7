/*
 * net_tx.c - frames from the guest to the host
 *
 * A frame is given back as soon as the carrier has taken it, within the same
 * turn.  What it cannot take yet goes back into the ring and stays there until
 * it can, so nothing is ever in flight.  With no link everything is taken and
 * dropped: a driver must not wait for a cable.
 */
#include <endian.h>
#include <linux/virtio_config.h>

#include "net.h"

/* the frame behind the header, as a row of pieces of its own */
static void cut_header(struct vq_buf *b, struct net_frame *f)
{
	size_t skip = NET_HDR;
	unsigned i = 0;

	while (skip >= b->iov[i].iov_len)
		skip -= b->iov[i++].iov_len;
	b->iov[i].iov_base = (char *)b->iov[i].iov_base + skip;
	b->iov[i].iov_len -= skip;
	f->iov = &b->iov[i];
	f->n = b->nout - i;
}

/* false after breaking the device */
static bool read_frame(struct net *n, struct vq_buf *b, struct net_frame *f)
{
	*f = (struct net_frame){ .len = b->out_len - NET_HDR };
	if (b->nin || vq_get(b, 0, &f->hdr, NET_HDR) != NET_HDR) {
		vdev_broken(&n->v, "a frame without a header, or to be written");
		return false;
	}
	/* of the flags the others are not for us, and a frame to send is one buffer */
	f->hdr.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	f->hdr.num_buffers = 0;
	if (f->len < NET_FRAME_MIN || f->len > NET_FRAME_MAX || !net_agrees(n, &f->hdr, false))
		n->count.tx_bad++;
	else if (!net_has_link(n) || !n->back)
		n->count.tx_no_link++;
	else
		cut_header(b, f);
	return true;
}

static bool is_limited(struct net *n)
{
	uint64_t at;

	if (!limiter_is_on(&n->tx.limit))
		return false;
	at = n->tx.timer.at ? n->tx.timer.at : limiter_wait(&n->tx.limit, now_ns());
	if (!at)
		return false;
	if (!n->tx.timer.at) {
		n->count.tx_waits++;
		loop_timer_set(n->v.dev.m->loop, &n->tx.timer, at);
	}
	return true;
}

/* up to @most frames: how many; they are popped */
static unsigned collect(struct net *n, unsigned most)
{
	struct net_tx *tx = &n->tx;
	unsigned k = 0;

	while (k < most && !is_limited(n) && vq_pop(&n->v, NET_TX, &tx->b[k])) {
		if (read_frame(n, &tx->b[k], &tx->frame[k])) {
			k++;
			continue;
		}
		vq_unpop(&n->v, NET_TX, k + 1);
		return 0;
	}
	return k;
}

static int hand_over(struct net *n, unsigned k)
{
	int sent = (int)k;

	if (n->back && net_has_link(n))
		sent = n->back->ops->send(n->back, n->tx.frame, k);
	return sent;
}

static uint64_t give_back(struct net *n, unsigned sent)
{
	struct net_tx *tx = &n->tx;
	struct vq_done done[NET_BATCH];
	uint64_t bytes = 0, packets = 0;

	for (unsigned i = 0; i < sent; i++) {
		done[i] = (struct vq_done){ tx->b[i].head, 0 };
		if (!tx->frame[i].n)
			continue;
		packets++;
		bytes += tx->frame[i].len;
		if (limiter_is_on(&tx->limit))
			limiter_charge(&tx->limit, tx->frame[i].len, now_ns());
	}
	vq_push_all(&n->v, NET_TX, done, sent);
	n->count.tx_packets += packets;
	n->count.tx_bytes += bytes;
	return bytes;
}

/* bytes that went; @ret says how many frames, 0 when there is nothing to do or none can go */
static uint64_t one_batch(struct net *n, unsigned *ret)
{
	unsigned most = n->back && !limiter_is_on(&n->tx.limit) ? n->back->batch : 1;
	unsigned k;
	int sent;

	*ret = 0;
	if (n->back && n->back->blocked)
		return 0;
	k = collect(n, most);
	if (!k)
		return 0;
	sent = hand_over(n, k);
	if (sent < 0) {
		/* they are dropped in the next round */
		net_lost(n, -sent);
		sent = 0;
		*ret = 1;
	}
	if ((unsigned)sent < k)
		vq_unpop(&n->v, NET_TX, k - (unsigned)sent);
	*ret += (unsigned)sent;
	return give_back(n, (unsigned)sent);
}

void net_tx_run(struct net *n)
{
	uint64_t bytes = 0;
	unsigned frames = 0, k = 0;

	if (!net_ready(n))
		return;
	do {
		bytes += one_batch(n, &k);
		frames += k;
	} while (k && frames < NET_BUDGET && bytes < NET_BUDGET_BYTES);
	vq_notify(&n->v, NET_TX);
	net_watch(n);
	if (k && vdev_is_live(&n->v))
		vdev_notify(&n->v, NET_TX); /* the rest after a look at everything else */
}
