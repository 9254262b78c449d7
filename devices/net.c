/*
 * net.c - virtio-net: one queue each way, over a carrier of the host
 *
 * 1. Features that change what a frame looks like are offered only where the
 *    carrier can do it too, and it learns which ones the driver took before the
 *    first frame (net_ready()).
 * 2. Link up means both: the cable is plugged in, and the carrier is there.
 *    Without it frames are dropped and counted, in both directions.
 * 3. epoll is level-triggered and asked only for what can be used: frames while
 *    there are buffers for them, room while some wait for it.
 * 4. A carrier that is gone stays gone: the machine goes on without a network.
 *
 * #syscalls:before getrandom
 */
#include <endian.h>
#include <linux/virtio_config.h>
#include <sys/epoll.h>
#include <sys/random.h>

#include "devices.h"
#include "net.h"

#define BIT(f) (1ULL << (f))
#define OFFLOADS                                                                                \
	(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) | \
	 BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN) |                           \
	 BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN))

static const struct field net_fields[] = {
	F_BYTES(struct net_state, mac),
	F_RANGE(struct net_state, status, 0, VIRTIO_NET_S_LINK_UP),
	F_END,
};

static const struct field counter_fields[] = {
	F_UINT(struct net_counters, rx_packets),
	F_UINT(struct net_counters, rx_bytes),
	F_UINT(struct net_counters, rx_bad),
	F_UINT(struct net_counters, rx_no_link),
	F_UINT(struct net_counters, rx_too_large),
	F_UINT(struct net_counters, rx_waits),
	F_UINT(struct net_counters, rx_calls),
	F_UINT(struct net_counters, tx_packets),
	F_UINT(struct net_counters, tx_bytes),
	F_UINT(struct net_counters, tx_bad),
	F_UINT(struct net_counters, tx_no_link),
	F_UINT(struct net_counters, tx_refused),
	F_UINT(struct net_counters, tx_waits),
	F_UINT(struct net_counters, tx_calls),
	F_END,
};

static struct net *to_net(struct vdev *v)
{
	return container_of(v, struct net, v);
}

bool net_agrees(const struct net *n, const struct virtio_net_hdr_v1 *hdr, bool to_guest)
{
	const struct vdev *v = &n->v;
	uint8_t kind = hdr->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;

	if (hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM &&
	    !vdev_has(v, to_guest ? VIRTIO_NET_F_GUEST_CSUM : VIRTIO_NET_F_CSUM))
		return false;
	if (hdr->gso_type & VIRTIO_NET_HDR_GSO_ECN &&
	    !vdev_has(v, to_guest ? VIRTIO_NET_F_GUEST_ECN : VIRTIO_NET_F_HOST_ECN))
		return false;
	switch (kind) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return true;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return vdev_has(v, to_guest ? VIRTIO_NET_F_GUEST_TSO4 : VIRTIO_NET_F_HOST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return vdev_has(v, to_guest ? VIRTIO_NET_F_GUEST_TSO6 : VIRTIO_NET_F_HOST_TSO6);
	default:
		return false;
	}
}

/* --- link and carrier --- */

static void fill_config(struct net *n, uint16_t mtu)
{
	memcpy(n->config.mac, n->s.mac, sizeof(n->s.mac));
	n->config.status = htole16(n->s.status);
	n->config.max_virtqueue_pairs = htole16(1);
	n->config.mtu = htole16(mtu);
}

static void update_link(struct net *n)
{
	uint16_t status = n->plugged && n->back ? VIRTIO_NET_S_LINK_UP : 0;

	if (n->s.status == status)
		return;
	n->s.status = status;
	n->config.status = htole16(status);
	vdev_config_changed(&n->v);
}

void net_watch(struct net *n)
{
	if (n->back)
		loop_fd_events(n->v.dev.m->loop, &n->h,
			       (n->rx.on ? EPOLLIN : 0U) | (n->back->blocked ? EPOLLOUT : 0U));
}

void net_lost(struct net *n, int error)
{
	struct net_back *back = n->back;

	if (!back)
		return;
	log_warn("%s: %s; the guest's link is down", n->v.dev.name,
		 error == EPIPE || error == ECONNRESET ? "the other end of its socket is gone"
		 : error == EPROTO ? "the other end of its socket sent what is no frame"
		 : error == EBADFD ? "its tap interface is gone"
				   : strerror(error));
	loop_fd_del(n->v.dev.m->loop, &n->h);
	n->back = NULL;
	n->rx.waits = 0;
	back->lost = true;
	back->ops->close(back);
	update_link(n);
}

bool net_ready(struct net *n)
{
	uint64_t features = n->v.s.driver_features;
	int r;

	if (!vdev_is_live(&n->v) || n->v.quiet)
		return false;
	if (n->back && n->back->ops->agree && n->agreed != features) {
		r = n->back->ops->agree(n->back, features);
		if (r)
			net_lost(n, -r);
	}
	n->agreed = features;
	update_link(n);
	return true;
}

static void on_event(void *arg, uint32_t events)
{
	struct net *n = arg;
	int r = 0;

	dev_lock(&n->v.dev);
	if (events & EPOLLOUT) {
		n->back->blocked = false;
		r = n->back->ops->send(n->back, NULL, 0);
		if (r < 0)
			net_lost(n, -r);
		net_watch(n);
		if (n->back && !n->back->blocked)
			net_tx_run(n);
	}
	if (events & EPOLLIN && n->back)
		net_rx_run(n);
	/* told whether asked for or not; what lies behind it nobody has buffers for */
	if (events & (EPOLLERR | EPOLLHUP) && !(events & EPOLLIN && n->rx.on) && n->back)
		net_lost(n, events & EPOLLERR ? EBADFD : EPIPE);
	dev_unlock(&n->v.dev);
}

static void on_rx_timer(void *arg)
{
	struct net *n = arg;

	dev_lock(&n->v.dev);
	net_rx_run(n);
	dev_unlock(&n->v.dev);
}

static void on_tx_timer(void *arg)
{
	struct net *n = arg;

	dev_lock(&n->v.dev);
	net_tx_run(n);
	dev_unlock(&n->v.dev);
}

/* --- the device --- */

static void kick(struct vdev *v, unsigned q)
{
	struct net *n = to_net(v);

	if (q == NET_TX)
		net_tx_run(n);
	else if (!n->rx.on || (n->back && n->back->holds)) /* else epoll will tell */
		net_rx_run(n);
}

static void reset(struct vdev *v)
{
	net_rx_forget(to_net(v));
}

static size_t config(struct vdev *v, const void **ret)
{
	*ret = &to_net(v)->config;
	return offsetof(struct virtio_net_config, speed);
}

static const struct vdev_type net_vtype = {
	.id = VIRTIO_ID_NET,
	.kick = kick,
	.reset = reset,
	.config = config,
};

void net_mac_of(const struct conf *conf, unsigned index, char text[18])
{
	uint64_t h = 0xcbf29ce484222325; /* FNV-1a */

	snprintf(text, 18, "%s", conf->net[index].mac);
	if (*text || !conf->name[0])
		return;
	for (const char *c = conf->name; *c; c++)
		h = (h ^ (uint8_t)*c) * 0x100000001b3;
	h = (h ^ index) * 0x100000001b3;
	h ^= h >> 32;
	/* 02: administered locally, for one host */
	snprintf(text, 18, "02:%02x:%02x:%02x:%02x:%02x", (unsigned)(h >> 32 & 0xff),
		 (unsigned)(h >> 24 & 0xff), (unsigned)(h >> 16 & 0xff), (unsigned)(h >> 8 & 0xff),
		 (unsigned)(h & 0xff));
}

static int choose_mac(struct net *n, const char *text)
{
	int r;

	if (*text) {
		r = conf_mac(n->v.dev.name, text, n->mac);
		memcpy(n->s.mac, n->mac, sizeof(n->mac));
		return r;
	}
	if (getrandom(n->s.mac, sizeof(n->s.mac), 0) != sizeof(n->s.mac))
		return err(-errno, "%s: random address: %s", n->v.dev.name, strerror(errno));
	n->s.mac[0] = 2;
	return 0;
}

static void set_live(struct net *n, const struct conf_net *conf)
{
	struct limiter *l[2] = { &n->rx.limit, &n->tx.limit };

	n->plugged = conf->link;
	for (unsigned i = 0; i < 2; i++) {
		limit_set(&l[i]->bytes, conf->bw, conf->bw_burst);
		limit_set(&l[i]->ops, conf->pps, conf->pps_burst);
	}
}

static int open_back(struct net *n, const struct conf_net *conf)
{
	struct dev *dev = &n->v.dev;

	n->back = conf->mode == NET_TAP ? net_tap_open(dev->name, conf, &n->count)
					: net_sock_open(dev->m->loop, dev->name, conf, &n->count);
	if (!n->back)
		return -EINVAL;
	n->h = (struct loop_fd){ n->back->fd, 0, on_event, n };
	if (loop_fd_add(dev->m->loop, &n->h))
		return err(-errno, "%s: epoll: %s", dev->name, strerror(errno));
	return 0;
}

static int net_create(struct dev *dev, const void *conf)
{
	const struct vdev_place *place = conf;
	const struct conf_net *net = place->conf;
	struct net *n = to_net(to_vdev(dev));
	uint64_t features =
		BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_MRG_RXBUF);
	int r = choose_mac(n, net->mac);

	if (!r)
		r = open_back(n, net);
	if (r)
		return r;
	if (n->back->offloads)
		features |= OFFLOADS;
	if (net->mtu)
		features |= BIT(VIRTIO_NET_F_MTU);
	n->rx.timer = (struct loop_timer){ .fn = on_rx_timer, .arg = n };
	n->tx.timer = (struct loop_timer){ .fn = on_tx_timer, .arg = n };
	set_live(n, net);
	n->s.status = n->plugged ? VIRTIO_NET_S_LINK_UP : 0;
	fill_config(n, (uint16_t)net->mtu);
	r = vdev_init(&n->v, &net_vtype, features, 2, place);
	DEV_PART(dev, "net", net_fields, &n->s);
	dev_counters(dev, counter_fields, &n->count);
	return r;
}

static int net_loaded(struct dev *dev)
{
	static const uint8_t none[6];
	struct net *n = to_net(to_vdev(dev));
	int r = vdev_loaded(&n->v);

	if (!r && (n->s.mac[0] & 1 || !memcmp(n->s.mac, none, sizeof(none))))
		r = err(-EINVAL, "snapshot: %s: an address that no card can have", dev->name);
	/* a clone has a name of its own, and so an address; its agent tells the driver */
	if (memcmp(n->mac, none, sizeof(none)))
		memcpy(n->s.mac, n->mac, sizeof(n->mac));
	fill_config(n, le16toh(n->config.mtu));
	return r;
}

static int net_configure(struct dev *dev, const void *conf)
{
	struct net *n = to_net(to_vdev(dev));

	set_live(n, conf);
	loop_timer_cancel(dev->m->loop, &n->rx.timer);
	loop_timer_cancel(dev->m->loop, &n->tx.timer);
	update_link(n);
	net_rx_run(n);
	net_tx_run(n);
	return 0;
}

static void net_destroy(struct dev *dev)
{
	struct net *n = to_net(to_vdev(dev));

	vdev_destroy(&n->v);
	loop_timer_cancel(dev->m->loop, &n->rx.timer);
	loop_timer_cancel(dev->m->loop, &n->tx.timer);
	if (!n->back)
		return;
	loop_fd_del(dev->m->loop, &n->h);
	n->back->ops->close(n->back);
}

const struct dev_type net_type = {
	.name = "net",
	.size = sizeof(struct net),
	.create = net_create,
	.reset = vdev_power_on,
	.drain = vdev_drain,
	.loaded = net_loaded,
	.resume = vdev_resume,
	.configure = net_configure,
	.destroy = net_destroy,
};
