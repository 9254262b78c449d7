/*
 * vsock.h - between the parts of virtio-vsock: queues, connections, Unix sockets (layer 3)
 *
 * 1. A connection lies in the list `all`, and in the hash table while its ports
 *    are taken.  In `ctl` it waits for a buffer of the guest to say something
 *    in (`want`), in `data` to send what its socket holds.
 * 2. `want` has one bit for each thing to say, so what is owed to the guest
 *    takes no memory however often it is owed.  Only resets for packets that
 *    belong to no connection need a place: the ring `stray`, and while that is
 *    full no packets are taken from the guest.
 * 3. Sums of bytes are 32 bits wide and wrap.  Of what the guest says, room is
 *    only ever made from bytes that were sent (vsock_credit()), so nothing it
 *    says makes us wait less or send more than it has room for.
 * 4. What a host program does not read waits in the connection's ring, never
 *    more than VSOCK_BUF bytes: that is all the credit the guest has.
 * 5. Sockets are watched for edges.  An edge sets `readable`, and EAGAIN clears
 *    it, so a connection that cannot go on costs no wake-ups.
 * 6. A reset by the driver comes on a vCPU's thread, which cannot touch the
 *    loop: it marks all as `dropped`, and the loop's next step drops it.
 */
#ifndef HUTCH_VSOCK_H
#define HUTCH_VSOCK_H

#include <linux/virtio_vsock.h>
#include <sys/queue.h>

#include "virtio.h"

#define VSOCK_HEADER	 sizeof(struct virtio_vsock_hdr)
#define VSOCK_CONNS	 1023
#define VSOCK_BUF	 (256U << 10)
#define VSOCK_PACKET	 (64U << 10)
#define VSOCK_ALLOC_MAX	 (1U << 30) /* more room than this is not believed */
#define VSOCK_STRAYS	 128
#define VSOCK_BATCH	 16
#define VSOCK_IOVS	 1024
#define VSOCK_HASH	 256
#define VSOCK_PORT_FIRST (1U << 30)
#define VSOCK_PORT_LAST	 INT32_MAX
#define VSOCK_HOST_CID	 2
#define VSOCK_BOTH	 (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)
/* the longest path that leaves room for "_4294967295" */
#define VSOCK_PATH	 96

enum vsock_queue { VSOCK_RX, VSOCK_TX, VSOCK_EVENT, VSOCK_QUEUES };

enum vsock_conn_state {
	CONN_HELLO, /* a host program that has not said which port */
	CONN_ASKED, /* the guest is asked */
	CONN_CALLS, /* the guest asked; the host program has no place for one more yet */
	CONN_OPEN,
	CONN_DONE, /* the guest is to hear a reset, or the host what is left in the ring */
};

enum vsock_want {
	WANT_RST = 1,
	WANT_REQUEST = 2,
	WANT_RESPONSE = 4,
	WANT_SHUTDOWN = 8,
	WANT_ASK_CREDIT = 16,
	WANT_CREDIT = 32,
};

struct vsock;

struct vsock_conn {
	struct vsock *vs;
	TAILQ_ENTRY(vsock_conn) all, ctl, data;
	struct vsock_conn *chain; /* in its hash bucket */
	uint32_t guest_port, host_port;
	uint8_t state, want;
	uint8_t shut; /* what the guest was told, or is to be told, is shut down */
	uint8_t guest_shut;
	bool hashed, in_ctl, in_data;
	bool readable, at_end, asked_credit;
	bool hup;  /* the socket said that an end, or an error, lies somewhere ahead */
	bool cut;  /* the last read ended early, with more behind it */
	bool gone; /* nobody is at the other end of the socket */
	uint64_t deadline, give_up;
	struct loop_fd h;
	/* to the guest */
	uint32_t sent, peer_alloc, peer_taken;
	/* from the guest; `told` is what of `taken` it knows */
	uint32_t got, taken, told;
	uint8_t *ring;
	uint32_t head, used;
};

TAILQ_HEAD(vsock_list, vsock_conn);

struct vsock_state {
	uint32_t cid, last_port;
};

struct vsock_counters {
	uint64_t connections, opened, closed, refused, resets, credit_waits;
	uint64_t to_guest_packets, to_guest_bytes, from_guest_packets, from_guest_bytes;
};

/* where a restored guest is in hearing that its connections are gone */
enum vsock_gate { GATE_OPEN, GATE_EVENT_DUE, GATE_EVENT_SENT };

struct vsock_stray {
	uint64_t host_cid;
	uint32_t host_port, guest_port;
	uint16_t type;
};

struct vsock {
	struct vdev v;
	struct vsock_state s;
	struct vsock_counters count;
	struct virtio_vsock_config config;
	uint32_t cid; /* configured */
	enum vsock_gate gate;
	unsigned events_left; /* event buffers that were there when the event was sent */
	struct vsock_list all, ctl, data;
	struct vsock_conn *hash[VSOCK_HASH];
	unsigned limit;	   /* of connections */
	unsigned fd_limit; /* descriptors from here on are for the rest of the process */
	bool dropped, tx_stalled;
	struct loop_call drop;
	struct loop_timer timer;
	struct vsock_stray stray[VSOCK_STRAYS];
	unsigned strays, first_stray;
	/* packets being filled */
	struct vq_buf batch[VSOCK_BATCH];
	uint32_t space[VSOCK_BATCH];
	struct iovec iov[VSOCK_IOVS];
	/* the host's side */
	struct loop_fd listener;
	char path[108];
	uint64_t path_dev, path_ino; /* of the socket's file, 0 if it is not ours */
	uint64_t accept_at;	     /* when to try again, after running out of files */
};

/* bytes the guest has room for */
static inline uint32_t vsock_room(const struct vsock_conn *c)
{
	uint32_t under_way = c->sent - c->peer_taken;

	return under_way < c->peer_alloc ? c->peer_alloc - under_way : 0;
}

/* bytes we have room for, as far as the guest knows */
static inline uint32_t vsock_granted(const struct vsock_conn *c)
{
	return VSOCK_BUF - (c->got - c->told);
}

/* the guest says how much it has room for and has taken: false if it cannot be true */
bool vsock_credit(struct vsock_conn *c, uint32_t alloc, uint32_t taken);

/* --- vsock.c --- */

/* have the guest hear what is wanted, as far as it has buffers */
void vsock_pump(struct vsock *vs);
/* before anything on the loop: what a reset has left is dropped */
void vsock_enter(struct vsock *vs);
/* run the timer at @at or before */
void vsock_alarm(struct vsock *vs, uint64_t at);

/* --- vsock_conn.c: the table of connections and what packets and sockets do to them --- */

void conn_packet(struct vsock *vs, const struct virtio_vsock_hdr *h, const struct vq_buf *b);
void conn_from_host(struct vsock *vs, int fd); /* a program connected; takes @fd */
void conn_on_socket(struct vsock_conn *c, uint32_t events);
void conn_on_time(struct vsock_conn *c, uint64_t now);
/* in or out of the lists, after anything that may have changed that */
void conn_ready(struct vsock_conn *c);
/* the socket was read: @n bytes, 0 at its end, or -errno */
void conn_was_read(struct vsock_conn *c, ssize_t n, size_t asked);
uint16_t conn_next_op(struct vsock_conn *c); /* what to say, which is then said */
void conn_told_reset(struct vsock_conn *c);
void conn_reset(struct vsock_conn *c);
void conn_free(struct vsock_conn *c);
void conn_drop_all(struct vsock *vs);
struct vsock_conn *conn_find(struct vsock *vs, uint32_t guest_port, uint32_t host_port);

/* --- vsock_host.c: Unix sockets; negative results are -errno --- */

int host_listen(struct vsock *vs, const char *path) must_check;
void host_unlisten(struct vsock *vs);
void host_accept_again(struct vsock *vs);
int host_watch(struct vsock_conn *c, int fd) must_check;
/* connect to PATH_PORT: -EAGAIN when its queue is full */
int host_call(struct vsock_conn *c) must_check;
/* read "CONNECT port\n": 1, 0 if there is more to come */
int host_hello(struct vsock_conn *c, uint32_t *ret_port) must_check;
int host_welcome(struct vsock_conn *c) must_check;
ssize_t host_read(struct vsock_conn *c, const struct iovec *iov, unsigned n) must_check;
bool host_is_at_end(struct vsock_conn *c);
/* the @len bytes of a packet, or what the socket does not take into the ring */
int host_write(struct vsock_conn *c, const struct vq_buf *b, uint32_t len) must_check;
int host_flush(struct vsock_conn *c) must_check;
void host_drop_ring(struct vsock_conn *c); /* nobody will take it */
void host_shutdown(struct vsock_conn *c, int how);
void host_close(struct vsock_conn *c);

/* @len bytes of iov[] from @off on, into at most @max of @to: pieces, and the bytes they hold */
unsigned vsock_slice(const struct iovec *iov, unsigned n, size_t off, uint32_t *len,
		     struct iovec *to, unsigned max);

#endif
