/* net_peer.h - the other end of a card's socket, and a guest with a card */
#ifndef HUTCH_TEST_NET_PEER_H
#define HUTCH_TEST_NET_PEER_H

#include <linux/virtio_net.h>

#include "contract.h"

#define PEER_MAC "02:00:00:00:00:07"

/* x->own of a card's subject */
struct net_peer {
	int listen, place; /* the socket, and where it can be reached */
	int fd;		   /* -1: not accepted yet, or closed */
	struct conf_net conf;
};

static inline struct net_peer *net_peer(struct subject *x)
{
	return x->own;
}

void net_peer_host(struct subject *x);
void net_peer_unhost(struct subject *x);
/* the connection, accepted by now */
int net_peer_fd(struct subject *x);
/* raw bytes, and a frame behind its length; all of it, or it fails */
void net_peer_put(struct subject *x, const void *data, size_t len);
void net_peer_send(struct subject *x, const void *frame, uint32_t len);
/* the next frame's length, -1 for none */
int net_peer_recv(struct subject *x, void *frame, uint32_t size);

/* @len bytes that are like no other frame's */
void net_fill(uint8_t *frame, uint32_t len, unsigned seed);

#define NET_F(f) (1ULL << VIRTIO_NET_F_##f)
#define NET_BASE (GUEST_VERSION_1 | NET_F(MAC) | NET_F(STATUS))

/* one packet of the guest, its header (zero if NULL) and frame in the place @at; no kick */
void net_guest_send(struct guest *g, gpa_t at, const struct virtio_net_hdr_v1 *hdr,
		    const void *frame, uint32_t len);

#endif
