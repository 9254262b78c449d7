/* virtio.c - status, features and queue configuration: what every virtio device and transport share
 */
/* #syscalls write close */
/* #syscalls:before eventfd2 */
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "virtio.h"

#define RING_FEATURES                                                       \
	(1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_RING_F_INDIRECT_DESC | \
	 1ULL << VIRTIO_RING_F_EVENT_IDX)
#define DRAIN_WARN (10ULL * 1000000000)
#define STATUS_BITS                                                                         \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK | \
	 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED)

static const struct field vq_fields[] = {
	F_UINT(struct vq_state, desc),	       F_UINT(struct vq_state, avail),
	F_UINT(struct vq_state, used),	       F_RANGE(struct vq_state, size, 0, VQ_MAX),
	F_RANGE(struct vq_state, ready, 0, 1), F_UINT(struct vq_state, next_avail),
	F_UINT(struct vq_state, next_used),    F_UINT(struct vq_state, signalled),
	F_BYTES(struct vq_state, zero),	       F_END,
};

static const struct field vdev_fields[] = {
	F_UINT(struct vdev_state, driver_features),
	F_UINT(struct vdev_state, feature_sel),
	F_UINT(struct vdev_state, driver_feature_sel),
	F_RANGE(struct vdev_state, status, 0, 0xff),
	F_RANGE(struct vdev_state, isr, 0, 3),
	F_UINT(struct vdev_state, q_sel),
	F_UINT(struct vdev_state, generation),
	F_RANGE(struct vdev_state, nvq, 1, VDEV_VQS),
	F_RANGE(struct vdev_state, zero, 0, 0),
	F_LIST(struct vdev_state, vq, nvq, vq_fields),
	F_END,
};

static const struct field counter_fields[] = {
	F_UINT(struct vdev_counters, kicks),	  F_UINT(struct vdev_counters, buffers),
	F_UINT(struct vdev_counters, interrupts), F_UINT(struct vdev_counters, config_interrupts),
	F_UINT(struct vdev_counters, broken),	  F_END,
};

bool vdev_is_live(const struct vdev *v)
{
	return (v->s.status & (VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET)) ==
	       VIRTIO_CONFIG_S_DRIVER_OK;
}

static void config_interrupt(struct vdev *v)
{
	v->count.config_interrupts++;
	v->tr->config_interrupt(v);
}

void vdev_broken(struct vdev *v, const char *why)
{
	if (v->s.status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	log_guest(&v->dev.log, "%s: its driver in the guest broke the rules: %s", v->dev.name, why);
	v->s.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	v->count.broken++;
	__atomic_add_fetch(&v->dev.m->faults, 1, __ATOMIC_RELAXED);
	if (v->s.status & VIRTIO_CONFIG_S_DRIVER_OK)
		config_interrupt(v);
}

void vdev_config_changed(struct vdev *v)
{
	v->s.generation++;
	if (v->tr->show)
		v->tr->show(v);
	if (vdev_is_live(v))
		config_interrupt(v);
}

/* the eventfd is never read: an edge comes with each store to
 * it, and its count has room for centuries */
static void on_kick(void *arg, uint32_t events)
{
	struct vdev_kick *k = arg;

	(void)events;
	dev_lock(&k->v->dev);
	k->v->count.kicks++;
	if (vdev_is_live(k->v) && !k->v->quiet)
		k->v->vt->kick(k->v, k->q);
	dev_unlock(&k->v->dev);
}

void vdev_notify(struct vdev *v, uint32_t q)
{
	uint64_t one = 1;

	if (q < v->s.nvq && write(v->kick[q].h.fd, &one, sizeof(one)) < 0)
		return; /* full: kicked already */
}

void vdev_kick_at(struct vdev *v, unsigned q, uint64_t addr, unsigned len, bool matched)
{
	struct vdev_kick *k = &v->kick[q];
	struct irq *irq = v->dev.m->irq;

	if (k->addr)
		irq->ops->kick(irq, k->addr, k->len, k->matched ? &k->match : NULL, k->h.fd, false);
	k->addr = addr;
	k->len = len;
	k->match = q;
	k->matched = matched;
	/* refused (two devices moved to one address): the store
	 * leaves the guest and vdev_notify() kicks */
	if (addr && irq->ops->kick(irq, addr, len, matched ? &k->match : NULL, k->h.fd, true))
		k->addr = 0;
}

static void clear(struct vdev *v)
{
	uint32_t nvq = v->s.nvq;

	v->s = (struct vdev_state){ .nvq = nvq };
	for (unsigned q = 0; q < nvq; q++)
		v->s.vq[q].size = (uint16_t)v->qmax;
}

int vdev_init(struct vdev *v, const struct vdev_type *vt, uint64_t features, unsigned nvq,
	      const struct vdev_place *place)
{
	pthread_cond_init(&v->idle, NULL);
	v->vt = vt;
	v->features = features | RING_FEATURES;
	v->qmax = VQ_MAX;
	for (unsigned q = 0; q < VDEV_VQS; q++)
		v->kick[q].h.fd = -1;
	BUG_ON(nvq > VDEV_VQS);
	v->s.nvq = nvq;
	clear(v);
	for (unsigned q = 0; q < nvq; q++) {
		struct vdev_kick *k = &v->kick[q];

		k->v = v;
		k->q = q;
		k->h = (struct loop_fd){ eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), EPOLLIN | EPOLLET,
					 on_kick, k };
		if (k->h.fd < 0 || loop_fd_add(v->dev.m->loop, &k->h))
			return err(-errno,
				   "%s: eventfd: %s; raise the limit of open files (ulimit -n)",
				   v->dev.name, strerror(errno));
	}
	DEV_PART(&v->dev, "virtio", vdev_fields, &v->s);
	dev_counters(&v->dev, counter_fields, &v->count);
	return place->pci ? virtio_pci_create(v, place) : virtio_mmio_create(v, place);
}

void vdev_destroy(struct vdev *v)
{
	/* not up to nvq: a snapshot that was refused may have left anything there */
	for (unsigned q = 0; q < VDEV_VQS; q++) {
		if (!v->kick[q].v || v->kick[q].h.fd < 0)
			continue;
		vdev_kick_at(v, q, 0, 0, false);
		loop_fd_del(v->dev.m->loop, &v->kick[q].h);
		close(v->kick[q].h.fd);
	}
	if (v->tr)
		v->tr->destroy(v);
	pthread_cond_destroy(&v->idle);
}

/* nothing is in flight */
static void reset(struct vdev *v)
{
	BUG_ON(v->inflight);
	clear(v);
	v->tr->reset(v);
	if (v->vt->reset)
		v->vt->reset(v);
}

void vdev_power_on(struct dev *dev)
{
	struct vdev *v = to_vdev(dev);

	reset(v);
	if (v->tr->power_on)
		v->tr->power_on(v);
}

static bool is_idle(void *arg)
{
	struct vdev *v = arg;
	bool idle;

	dev_lock(&v->dev);
	idle = !v->inflight;
	dev_unlock(&v->dev);
	return idle;
}

void vdev_drain(struct dev *dev)
{
	struct vdev *v = to_vdev(dev);

	dev_lock(dev);
	v->quiet = true;
	dev_unlock(dev);
	while (loop_until(dev->m->loop, is_idle, v, DRAIN_WARN))
		log_warn("%s: %u requests have been in flight for 10 s; still waiting", dev->name,
			 v->inflight);
}

static bool ring_is_good(const struct vdev *v, const struct vq_state *s)
{
	const struct gmem *mem = v->dev.m->mem;

	return !(s->desc % 16) && !(s->avail % 2) && !(s->used % 4) &&
	       gmem_is_ram(mem, s->desc, 16ULL * s->size) &&
	       gmem_is_ram(mem, s->avail, 6 + 2ULL * s->size) &&
	       gmem_is_ram(mem, s->used, 6 + 8ULL * s->size);
}

/* loaded rings are as hostile as a driver's, and more can be wrong at once */
int vdev_loaded(struct vdev *v)
{
	unsigned nvq = 0;

	while (nvq < VDEV_VQS && v->kick[nvq].h.fd >= 0)
		nvq++;
	if (v->s.nvq != nvq)
		return err(-EINVAL, "snapshot: %s: has %u queues, this device %u", v->dev.name,
			   v->s.nvq, nvq);
	/* before FEATURES_OK a driver may have written anything */
	if (v->s.status & (VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK) &&
	    v->s.driver_features & ~v->features)
		return err(-EINVAL,
			   "snapshot: %s: its driver uses features %#lx that this hutch lacks",
			   v->dev.name, v->s.driver_features & ~v->features);
	for (unsigned q = 0; q < nvq; q++) {
		const struct vq_state *s = &v->s.vq[q];

		if (!is_pow2(s->size) || s->size > v->qmax)
			return err(-EINVAL, "snapshot: %s: queue %u of size %u", v->dev.name, q,
				   s->size);
		/* no driver gets that far */
		if (s->ready && !ring_is_good(v, s))
			return err(-EINVAL,
				   "snapshot: %s: queue %u has a ring that is not aligned or not "
				   "in memory",
				   v->dev.name, q);
	}
	return v->tr->loaded ? v->tr->loaded(v) : 0;
}

/* notifications may have been lost on the way: look at every queue, and tell the driver again */
void vdev_resume(struct dev *dev)
{
	struct vdev *v = to_vdev(dev);

	v->quiet = false;
	v->tr->refresh(v);
	for (unsigned q = 0; q < v->s.nvq && vdev_is_live(v); q++)
		vdev_notify(v, q);
}

uint32_t vdev_get_features(const struct vdev *v, uint32_t sel)
{
	return sel < 2 ? (uint32_t)(v->features >> 32 * sel) : 0;
}

void vdev_set_features(struct vdev *v, uint32_t sel, uint32_t value)
{
	uint64_t mask;

	if (sel > 1 || !(v->s.status & VIRTIO_CONFIG_S_DRIVER) ||
	    v->s.status & VIRTIO_CONFIG_S_FEATURES_OK)
		return;
	mask = (uint64_t)UINT32_MAX << 32 * sel;
	v->s.driver_features = (v->s.driver_features & ~mask) | (uint64_t)value << 32 * sel;
}

/*
 * A vCPU waits here for requests in flight, without the lock, so that the loop
 * can complete them.  Meanwhile the device takes nothing new.
 */
static void reset_from_guest(struct vdev *v)
{
	v->s.status &= ~(uint32_t)VIRTIO_CONFIG_S_DRIVER_OK;
	while (v->inflight)
		pthread_cond_wait(&v->idle, &v->dev.lock);
	reset(v);
}

void vdev_set_status(struct vdev *v, uint32_t status)
{
	uint32_t old = v->s.status, added;

	if (!status) {
		reset_from_guest(v);
		return;
	}
	status &= STATUS_BITS;
	if (old & STATUS_BITS & ~status)
		return; /* a bit is only ever taken back by a reset */
	added = status & ~old;
	if (added & VIRTIO_CONFIG_S_FEATURES_OK &&
	    (v->s.driver_features & ~v->features || !vdev_has(v, VIRTIO_F_VERSION_1)))
		status &= ~(uint32_t)VIRTIO_CONFIG_S_FEATURES_OK; /* the driver reads it back */
	if (added & VIRTIO_CONFIG_S_DRIVER_OK && !(status & VIRTIO_CONFIG_S_FEATURES_OK))
		status &= ~(uint32_t)VIRTIO_CONFIG_S_DRIVER_OK;
	v->s.status = status | (old & VIRTIO_CONFIG_S_NEEDS_RESET);
	if (vdev_is_live(v) && !(old & VIRTIO_CONFIG_S_DRIVER_OK))
		for (unsigned q = 0; q < v->s.nvq; q++)
			vdev_notify(v, q); /* buffers may wait already */
}

struct vq_state *vdev_queue(struct vdev *v, uint32_t q)
{
	return q < v->s.nvq ? &v->s.vq[q] : NULL;
}

/* may the driver shape this queue now? only between FEATURES_OK
 * and DRIVER_OK, and not once it is ready */
static struct vq_state *open_queue(struct vdev *v, uint32_t q)
{
	struct vq_state *s = vdev_queue(v, q);

	if (!s || s->ready || !(v->s.status & VIRTIO_CONFIG_S_FEATURES_OK) ||
	    v->s.status & (VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET))
		return NULL;
	return s;
}

void vdev_set_queue_size(struct vdev *v, uint32_t q, uint32_t size)
{
	struct vq_state *s = open_queue(v, q);

	if (s && is_pow2(size) && size <= v->qmax)
		s->size = (uint16_t)size;
}

void vdev_set_queue_addr(struct vdev *v, uint32_t q, enum vq_area area, bool high, uint32_t value)
{
	struct vq_state *s = open_queue(v, q);
	gpa_t *addr;

	if (!s)
		return;
	addr = area == VQ_DESC ? &s->desc : area == VQ_AVAIL ? &s->avail : &s->used;
	if (high)
		*addr = (*addr & UINT32_MAX) | (uint64_t)value << 32;
	else
		*addr = (*addr & ~(uint64_t)UINT32_MAX) | value;
}

void vdev_set_queue_ready(struct vdev *v, uint32_t q)
{
	struct vq_state *s = open_queue(v, q);

	if (!s)
		return;
	if (!ring_is_good(v, s)) {
		vdev_broken(v, "a ring that is not aligned or not in memory");
		return;
	}
	s->ready = 1;
}

/* a driver whose set-up failed half way; a live queue stays as it is */
void vdev_take_queue_back(struct vdev *v, uint32_t q)
{
	struct vq_state *s = vdev_queue(v, q);

	if (s && !(v->s.status & VIRTIO_CONFIG_S_DRIVER_OK))
		s->ready = 0;
}

uint64_t vdev_config_read(struct vdev *v, uint64_t off, unsigned len)
{
	const void *config = NULL;
	size_t size = v->vt->config ? v->vt->config(v, &config) : 0;

	return bus_bytes_read(config, size, off, len);
}

void vdev_config_write(struct vdev *v, uint64_t off, unsigned len, uint64_t val)
{
	const void *config;
	size_t size = v->vt->config_write ? v->vt->config(v, &config) : 0;

	if (off < size && len <= size - off)
		v->vt->config_write(v, off, len, val);
}
