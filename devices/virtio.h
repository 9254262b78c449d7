/*
 * virtio.h - what a virtio device sees: queues of bounded buffers (layer 3)
 *
 * 1. A device never reads ring memory.  vq_pop() copies each descriptor once,
 *    checks it, and hands out iovecs; vq_push() gives the buffer back.
 * 2. A guest that breaks the rules breaks the device: DEVICE_NEEDS_RESET, one
 *    rate-limited line, and silence until it resets the device.
 * 3. Features, queue sizes and addresses are frozen from DRIVER_OK on.  Both
 *    transports change them through the vdev_set functions only.
 * 4. A guest's kick arrives on the loop, through an eventfd, and so does
 *    everything else on a queue.  Register accesses run on vCPU threads.
 * 5. A reset waits for requests in flight: after it nothing of the old driver's
 *    memory is written.  The vCPU that asked for it waits, the loop does not.
 */
#ifndef HUTCH_VIRTIO_H
#define HUTCH_VIRTIO_H

#include "dev.h"

#define VQ_MAX		   256 /* largest ring */
#define VQ_IOV_MAX	   130 /* pieces in one buffer */
#define VDEV_VQS	   17

#define VIRTIO_MMIO_WINDOW 0x1000 /* the registers of one device */

struct vq_state {
	gpa_t desc, avail, used;
	uint16_t size, ready, next_avail, next_used;
	uint16_t signalled; /* next_used when the driver was last interrupted */
	uint16_t zero[3];
};

/* valid from vq_pop() to vq_push(); iov[0..nout) are for reading, nin more for writing */
struct vq_buf {
	uint16_t head, nout, nin;
	uint32_t out_len, in_len;
	struct iovec iov[VQ_IOV_MAX];
};

/* a buffer to be given back, without its pieces */
struct vq_done {
	uint16_t head;
	uint32_t written;
};

struct vdev_state {
	uint64_t driver_features;
	uint32_t feature_sel, driver_feature_sel; /* which 32 bits the registers show */
	uint32_t status, isr, q_sel, generation;
	uint32_t nvq, zero;
	struct vq_state vq[VDEV_VQS];
};

struct vdev;

/* what a device has done since it was made; not state: a restored machine counts anew */
struct vdev_counters {
	uint64_t kicks, buffers, interrupts, config_interrupts, broken;
};

struct vdev_type {
	uint32_t id;
	uint64_t features; /* of the device; what the rings can do is added */
	/* on the loop, locked: the guest has put buffers into queue @q, or may have */
	void (*kick)(struct vdev *v, unsigned q);
	/* the device's own part of a reset; may be NULL */
	void (*reset)(struct vdev *v);
	/* read-only device configuration, copied out as the guest sees it; returns its size */
	size_t (*config)(struct vdev *v, const void **ret);
	/* a store to the configuration, inside what config() shows; NULL: it is read-only */
	void (*config_write)(struct vdev *v, uint64_t off, unsigned len, uint64_t val);
};

struct vtransport_ops {
	void (*interrupt)(struct vdev *v, unsigned q);
	void (*config_interrupt)(struct vdev *v);
	void (*show)(struct vdev *v);	  /* registers may read otherwise now; may be NULL */
	void (*reset)(struct vdev *v);	  /* the driver reset the device */
	void (*power_on)(struct vdev *v); /* the machine was reset; may be NULL */
	void (*refresh)(struct vdev *v);  /* bring lines and kicks in step with loaded state */
	int (*loaded)(struct vdev *v);
	void (*destroy)(struct vdev *v);
};

struct vdev_kick {
	struct loop_fd h;
	struct vdev *v;
	unsigned q;
	uint64_t addr; /* 0 when KVM does not know it */
	unsigned len;
	uint32_t match;
	bool matched;
};

struct vdev {
	struct dev dev;
	const struct vdev_type *vt;
	uint64_t features; /* all that is offered */
	uint32_t qmax;
	struct vdev_state s;
	unsigned inflight;
	bool quiet; /* drained: nothing is taken from the rings until resume */
	pthread_cond_t idle;
	const struct vtransport_ops *tr;
	void *transport;
	struct vdev_kick kick[VDEV_VQS];
	struct vdev_counters count;
};

struct pci_bus;

/* how the board connects a virtio device */
struct vdev_place {
	struct pci_bus *pci; /* NULL: virtio-mmio */
	unsigned slot;	     /* pci */
	gpa_t base;	     /* mmio: the registers; pci: where the BAR starts out */
	unsigned gsi;
	void *window; /* mmio: the page that the guest sees in place of the registers, NULL: none */
	const void *conf;      /* the device's own */
	struct stream *stream; /* console: the host's end */
};

static inline struct vdev *to_vdev(struct dev *dev)
{
	return container_of(dev, struct vdev, dev);
}

/*
 * vdev_init() - the virtio part of a device's create(): queues, transport, parts
 *
 * -errno with a message.  The device adds its own part afterwards.
 */
int vdev_init(struct vdev *v, const struct vdev_type *vt, uint64_t features, unsigned nvq,
	      const struct vdev_place *place) must_check;
void vdev_destroy(struct vdev *v);

/* for a device's dev_type */
void vdev_power_on(struct dev *dev); /* its reset */
void vdev_drain(struct dev *dev);
int vdev_loaded(struct vdev *v)
	must_check; /* called by its loaded(), before it looks at its own part */
void vdev_resume(struct dev *dev);

/* vq_pop() - next buffer of queue @q: true, or false for none (or the device is broken) */
bool vq_pop(struct vdev *v, unsigned q, struct vq_buf *b) must_check;
/* vq_push() - return @b with @written bytes of its in part filled; vq_notify() after the last one
 */
void vq_push(struct vdev *v, unsigned q, struct vq_buf *b, uint32_t written);
/* the same for one thing in @n buffers: the driver sees all of them used at once, or none yet */
void vq_push_all(struct vdev *v, unsigned q, const struct vq_done *d, unsigned n);
void vq_notify(struct vdev *v, unsigned q);
/* vq_unpop() - the @n buffers popped last were not used: they
 * are back in the ring, to be popped again */
void vq_unpop(struct vdev *v, unsigned q, unsigned n);
/* vq_drop() - forget a buffer that cannot be answered; the device has to be broken then */
void vq_drop(struct vdev *v, struct vq_buf *b);

/* copy between the out (in) part of a buffer and host memory: bytes moved, and marked dirty */
size_t vq_get(const struct vq_buf *b, size_t off, void *dst, size_t len);
size_t vq_put(struct vdev *v, struct vq_buf *b, size_t off, const void *src, size_t len);
/* mark bytes of the in part that were filled through its iovecs */
void vq_dirty(struct vdev *v, const struct vq_buf *b, size_t off, size_t len);

/* the configuration shows something else now: tell a driver that runs */
void vdev_config_changed(struct vdev *v);

/* the guest broke the rules; the device answers nothing until it is reset */
void vdev_broken(struct vdev *v, const char *why);

static inline bool vdev_has(const struct vdev *v, unsigned feature)
{
	return v->s.driver_features >> feature & 1;
}

bool vdev_is_live(const struct vdev *v); /* DRIVER_OK and not broken */

/* what the transports share: register semantics */
uint32_t vdev_get_features(const struct vdev *v, uint32_t sel);
void vdev_set_features(struct vdev *v, uint32_t sel, uint32_t value);
void vdev_set_status(struct vdev *v, uint32_t status);	 /* 0 resets and waits */
struct vq_state *vdev_queue(struct vdev *v, uint32_t q); /* NULL if there is none */
void vdev_set_queue_size(struct vdev *v, uint32_t q, uint32_t size);
enum vq_area { VQ_DESC, VQ_AVAIL, VQ_USED };
void vdev_set_queue_addr(struct vdev *v, uint32_t q, enum vq_area area, bool high, uint32_t value);
void vdev_set_queue_ready(struct vdev *v, uint32_t q);
void vdev_take_queue_back(struct vdev *v, uint32_t q); /* only before DRIVER_OK */
uint64_t vdev_config_read(struct vdev *v, uint64_t off, unsigned len);
void vdev_config_write(struct vdev *v, uint64_t off, unsigned len, uint64_t val);
void vdev_notify(struct vdev *v, uint32_t q); /* a kick that KVM did not catch */

/* have KVM turn stores at @addr into kicks of queue @q; @addr 0 takes it back */
void vdev_kick_at(struct vdev *v, unsigned q, uint64_t addr, unsigned len, bool matched);

int virtio_mmio_create(struct vdev *v, const struct vdev_place *place) must_check;
int virtio_pci_create(struct vdev *v, const struct vdev_place *place) must_check;

#endif
