/*
 * net.h - a network card between the guest's rings and something that carries frames (layer 3)
 *
 * net.c is the device, net_rx.c and net_tx.c move frames, net_tap.c and
 * net_sock.c carry them on the host, net_passt.c starts the program behind a
 * socket.  Everything but net_config() and the reset runs on the loop.
 */
#ifndef HUTCH_NET_H
#define HUTCH_NET_H

#include <linux/virtio_net.h>
#include <sys/uio.h>

#include "conf.h"
#include "limit.h"
#include "virtio.h"

#define NET_RX		 0
#define NET_TX		 1
#define NET_HDR		 ((unsigned)sizeof(struct virtio_net_hdr_v1))
#define NET_FRAME_MIN	 14    /* an Ethernet header */
#define NET_FRAME_MAX	 65562 /* what the specification lets a driver expect */
#define NET_BATCH	 32    /* frames handed to a carrier at once */
#define NET_BUDGET	 256 /* frames in one turn of the loop, then everything else has its turn */
#define NET_BUDGET_BYTES (1U << 20)

/* dropped: a frame of a wrong size or with a header that was not agreed upon; one that nobody
 * takes (link down, no carrier, refused by the host); one too large for the guest's buffers */
struct net_counters {
	uint64_t rx_packets, rx_bytes, rx_bad, rx_no_link, rx_too_large, rx_waits, rx_calls;
	uint64_t tx_packets, tx_bytes, tx_bad, tx_no_link, tx_refused, tx_waits, tx_calls;
};

/* a frame of the guest: its pieces behind the header; none at all: it is only to be given back */
struct net_frame {
	struct virtio_net_hdr_v1 hdr; /* checked, and not to be read from the guest again */
	struct iovec *iov;
	unsigned n;
	uint32_t len;
};

struct net_back;

struct net_back_ops {
	/*
	 * Take frames, in order: how many it took.  Fewer, or @blocked set, when
	 * it wants EPOLLOUT first; with @n 0 it goes on with what it has begun.
	 * -errno: the carrier is gone for good.
	 */
	int (*send)(struct net_back *b, struct net_frame *f, unsigned n);
	/*
	 * The next frame into iov[1..n), its header into @hdr; iov[0] is for the
	 * carrier's own use.  iov[] has room for NET_FRAME_MAX.  The frame's
	 * length, -EAGAIN for none, another -errno: gone for good.
	 */
	ssize_t (*recv)(struct net_back *b, struct virtio_net_hdr_v1 *hdr, struct iovec *iov,
			unsigned n);
	/* the driver of these features runs now; NULL where there is nothing to tell */
	int (*agree)(struct net_back *b, uint64_t features);
	void (*close)(struct net_back *b);
};

struct net_back {
	const struct net_back_ops *ops;
	const char *name; /* of the device, for messages */
	int fd;		  /* nonblocking */
	unsigned batch;	  /* frames send() can use at once, up to NET_BATCH */
	bool blocked;	  /* send() waits for EPOLLOUT */
	bool holds;	  /* recv() has frames that epoll does not know of */
	bool lost;	  /* it ended by itself, before close() */
	bool offloads;
	struct net_counters *count;
};

/* NULL with a message */
struct net_back *net_tap_open(const char *name, const struct conf_net *conf,
			      struct net_counters *count);
struct net_back *net_sock_open(struct loop *loop, const char *name, const struct conf_net *conf,
			       struct net_counters *count);

/* --- the device --- */

#define RX_CHAINS 256
#define RX_IOV	  768

struct rx_chain {
	uint16_t head, pieces;
	uint32_t len;
};

/* buffers popped from the ring, as one flat row; see net_rx.c */
struct net_rx {
	struct rx_chain chain[RX_CHAINS];
	struct iovec iov[RX_IOV];
	unsigned chain_at, chains, iov_at, iovs;
	uint64_t cap;	/* bytes of all chains */
	uint32_t want;	/* bytes worth having popped before a frame is known */
	uint32_t most;	/* largest frame of this turn */
	uint32_t waits; /* bytes of the frame in @spill that waits for buffers; 0: none */
	struct virtio_net_hdr_v1 hdr;
	struct vq_buf b;
	struct vq_done done[RX_CHAINS];
	struct iovec call[RX_IOV + 2];
	uint8_t spill[NET_FRAME_MAX];
	struct loop_timer timer;
	struct limiter limit;
	bool on; /* the carrier is asked for frames */
};

struct net_tx {
	struct vq_buf b[NET_BATCH];
	struct net_frame frame[NET_BATCH];
	struct loop_timer timer;
	struct limiter limit;
};

struct net_state {
	uint8_t mac[6];
	uint16_t status; /* what the guest reads */
};

struct net {
	struct vdev v;
	struct net_state s;
	struct virtio_net_config config;
	struct net_counters count;
	struct net_back *back; /* NULL: it is gone */
	struct loop_fd h;
	uint64_t agreed; /* driver features the carrier was told of */
	bool plugged;	 /* link=yes */
	uint8_t mac[6];	 /* of its configuration, and not of a snapshot; zeroes: by chance */
	struct net_rx rx;
	struct net_tx tx;
};

/* move what can be moved, and see to it that the rest is thought of; on the loop, locked */
void net_rx_run(struct net *n);
void net_tx_run(struct net *n);
/* what was kept for a driver that is gone; may run on a vCPU */
void net_rx_forget(struct net *n);

/* is there a driver to work for? brings carrier and link in step with it first */
bool net_ready(struct net *n);
/* ask epoll for what is wanted */
void net_watch(struct net *n);
/* the carrier is gone: link down, one line in the log */
void net_lost(struct net *n, int error);

static inline bool net_has_link(const struct net *n)
{
	return n->s.status & VIRTIO_NET_S_LINK_UP;
}

/* is a frame's header one that this driver has agreed to? */
bool net_agrees(const struct net *n, const struct virtio_net_hdr_v1 *hdr, bool to_guest);

/* the address of card @index: the one it was given, or one of the machine's name, always the same;
 * "" is left to chance */
void net_mac_of(const struct conf *conf, unsigned index, char text[18]);

#endif
