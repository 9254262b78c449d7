/*
 * virtio.h - the smallest driver of virtio: split rings of 8, polled
 *
 * Rings and descriptors are open to whoever includes this: a hostile guest lays
 * them out by hand.
 */
#ifndef HUTCH_FLAT_VIRTIO_H
#define HUTCH_FLAT_VIRTIO_H

#include "virtio_bus.h"

#define ID_NET	      1
#define ID_BLK	      2
#define ID_CONSOLE    3
#define ID_RNG	      4
#define ID_BALLOON    5
#define ID_VSOCK      19

#define S_OK	      0xf
#define S_NEEDS_RESET 0x40

#define F_INDIRECT    (1ULL << 28)
#define F_VERSION_1   (1ULL << 32)

#define D_NEXT	      1
#define D_WRITE	      2
#define D_INDIRECT    4

#define Q_SIZE	      8
#define QUEUES	      4

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct ring {
	struct desc desc[Q_SIZE];
	struct {
		uint16_t flags, idx, ring[Q_SIZE], event;
	} avail;
	struct {
		_Alignas(4) uint16_t flags;
		uint16_t idx;
		struct {
			uint32_t id, len;
		} ring[Q_SIZE];
		uint16_t event;
	} used;
};

_Static_assert(sizeof(struct ring) % 16 == 0, "each ring is aligned");

struct dev {
	struct bus bus;
	uint32_t id;
	unsigned queues;
	uint64_t features;
	volatile struct ring *ring; /* of each queue */
	uint64_t kick_at[QUEUES];
	uint16_t seen[QUEUES]; /* used elements looked at */
	uint16_t free[QUEUES]; /* the next descriptor */
};

/* --- what is said over vsock --- */

#define VSOCK_PORT 1234 /* where the host listens, if it does */

struct vsock_hdr {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

enum { OP_REQUEST = 1, OP_RESPONSE, OP_RST, OP_SHUTDOWN, OP_RW, OP_CREDIT, OP_CREDIT_REQUEST };

/* one piece of a buffer */
struct piece {
	const volatile void *at;
	uint32_t len;
	bool in;
};

/* of one device at a time, unless it is given others before it starts */
static _Alignas(PAGE) volatile struct ring rings[QUEUES];

static inline uint32_t get(const struct dev *d, enum reg reg)
{
	return bus_get(&d->bus, reg);
}

static inline void put(const struct dev *d, enum reg reg, uint32_t v)
{
	bus_put(&d->bus, reg, v);
}

/* the device's own registers */
static inline uint32_t config(const struct dev *d, uint32_t off)
{
	return in32(d->bus.config + off);
}

static inline void set_config(const struct dev *d, uint32_t off, uint32_t v)
{
	out32(d->bus.config + off, v);
}

/* what is in this of the PLACES, whatever bus it is on: false for nothing */
static inline bool look(struct dev *d, unsigned place)
{
	*d = (struct dev){ .ring = rings };
	d->id = bus_probe(&d->bus, place);
	return d->id;
}

/* the @n-th device of this kind: false if there is none */
static inline bool find(struct dev *d, uint32_t id, unsigned n)
{
	for (unsigned i = 0; i < PLACES; i++)
		if (look(d, i) && d->id == id && !n--)
			return true;
	return false;
}

static inline void reset(struct dev *d)
{
	put(d, R_STATUS, 0);
	while (get(d, R_STATUS))
		;
}

static inline void set_queue(struct dev *d, unsigned q)
{
	volatile struct ring *r = &d->ring[q];

	memset((void *)(uintptr_t)r, 0, sizeof(*r));
	d->seen[q] = d->free[q] = 0;
	put(d, R_Q_SEL, q);
	put(d, R_Q_SIZE, Q_SIZE);
	put(d, R_Q_DESC, (uint32_t)(uintptr_t)r->desc);
	put(d, R_Q_DESC_HI, 0);
	put(d, R_Q_AVAIL, (uint32_t)(uintptr_t)&r->avail);
	put(d, R_Q_AVAIL_HI, 0);
	put(d, R_Q_USED, (uint32_t)(uintptr_t)&r->used);
	put(d, R_Q_USED_HI, 0);
	put(d, R_Q_READY, 1);
	d->kick_at[q] = bus_kick_at(&d->bus);
	if (d->bus.pci)
		pci_set_vector(&d->bus, q);
}

/* reset, and all of a driver's start: of @wanted what is offered */
static inline bool start(struct dev *d, uint64_t wanted, unsigned queues)
{
	uint64_t offered;

	reset(d);
	put(d, R_STATUS, 1);
	put(d, R_STATUS, 3);
	put(d, R_FEATURES_SEL, 1);
	offered = (uint64_t)get(d, R_FEATURES) << 32;
	put(d, R_FEATURES_SEL, 0);
	offered |= get(d, R_FEATURES);
	d->features = offered & (wanted | F_VERSION_1);
	put(d, R_DRIVER_SEL, 1);
	put(d, R_DRIVER, (uint32_t)(d->features >> 32));
	put(d, R_DRIVER_SEL, 0);
	put(d, R_DRIVER, (uint32_t)d->features);
	put(d, R_STATUS, 0xb);
	if (get(d, R_STATUS) != 0xb)
		return false;
	d->queues = queues;
	for (unsigned q = 0; q < queues; q++)
		set_queue(d, q);
	put(d, R_STATUS, S_OK);
	return get(d, R_STATUS) == S_OK;
}

/* on PCI all that was set can be read */
static inline bool is_as_started(struct dev *d)
{
	bool same = get(d, R_STATUS) == S_OK;

	for (unsigned q = 0; q < d->queues && d->bus.pci; q++) {
		volatile struct ring *r = &d->ring[q];

		put(d, R_Q_SEL, q);
		same = same && get(d, R_Q_READY) == 1 && get(d, R_Q_SIZE) == Q_SIZE &&
		       get(d, R_Q_DESC) == (uint32_t)(uintptr_t)r->desc &&
		       get(d, R_Q_AVAIL) == (uint32_t)(uintptr_t)&r->avail &&
		       get(d, R_Q_USED) == (uint32_t)(uintptr_t)&r->used &&
		       pci_has_vector(&d->bus, q);
	}
	return same;
}

static inline void publish(struct dev *d, unsigned q, uint16_t head)
{
	volatile struct ring *r = &d->ring[q];

	r->avail.ring[r->avail.idx % Q_SIZE] = head;
	fence();
	r->avail.idx++;
	fence();
}

static inline void kick(struct dev *d, unsigned q)
{
	bus_kick(&d->bus, d->kick_at[q], q);
}

static inline void add(struct dev *d, unsigned q, const struct piece *p, unsigned n)
{
	uint16_t head = d->free[q];

	for (unsigned i = 0; i < n; i++) {
		unsigned at = (head + i) % Q_SIZE;

		d->ring[q].desc[at] = (struct desc){ (uintptr_t)p[i].at, p[i].len,
						     (uint16_t)((p[i].in ? D_WRITE : 0) |
								(i + 1 < n ? D_NEXT : 0)),
						     (uint16_t)((at + 1) % Q_SIZE) };
	}
	d->free[q] = (uint16_t)((head + n) % Q_SIZE);
	publish(d, q, head);
	kick(d, q);
}

/* the next used buffer, within @ms: its length, or -1, also where more were used than there were */
static inline int64_t used(struct dev *d, unsigned q, uint32_t ms)
{
	struct wait w = wait_ms(ms);
	uint32_t len;

	while (d->ring[q].used.idx == d->seen[q])
		if (wait_over(&w))
			return -1;
	fence();
	if ((int16_t)(d->ring[q].avail.idx - d->ring[q].used.idx) < 0)
		return -1;
	len = d->ring[q].used.ring[d->seen[q] % Q_SIZE].len;
	d->seen[q]++;
	return len;
}

static inline bool broken(struct dev *d)
{
	return get(d, R_STATUS) & S_NEEDS_RESET;
}

#endif
