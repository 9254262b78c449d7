/*
 * virtio_mmio.c - the register file of virtio over MMIO, version 2, without exits while it works
 *
 * 1. What the guest reads lies in a page, the window, which KVM maps into the
 *    guest read-only: loads never leave the guest.  Stores do, so whatever a
 *    store changes is shown in the window before the guest goes on.
 * 2. The driver reads InterruptStatus and acknowledges it in each interrupt.
 *    The bit for used buffers, once set, stays: all it costs is a look at the
 *    rings when only the configuration changed.  So its acknowledgement says
 *    nothing, and KVM swallows that store (an eventfd that nobody reads).
 *    The bit for a changed configuration is taken back as the rules say.
 * 3. The line is an edge: each interrupt is a pulse.
 * So a request costs no exit to this process at all: the kick is an eventfd,
 * the interrupt is two loads and stores that the host's kernel sees at most.
 *
 * #syscalls munmap close
 * #syscalls:before mmap eventfd2
 */
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "virtio.h"

#define MAGIC	   0x74726976 /* "virt" */
#define VENDOR	   0x48435455 /* "UTCH" */
#define NO_REGIONS UINT32_MAX /* of shared memory */

struct mmio {
	struct irq_line line;
	gpa_t base;
	uint8_t *window;
	bool own_window; /* KVM does not map it; loads come to us */
	int swallow;
};

static void set(struct vdev *v, unsigned reg, uint32_t val)
{
	struct mmio *t = v->transport;

	__atomic_store_n((uint32_t *)(void *)(t->window + reg), val, __ATOMIC_RELEASE);
}

static void show_config(struct vdev *v)
{
	struct mmio *t = v->transport;
	const void *config = NULL;
	size_t size = v->vt->config ? v->vt->config(v, &config) : 0;

	if (size)
		memcpy(t->window + VIRTIO_MMIO_CONFIG, config,
		       MIN(size, VIRTIO_MMIO_WINDOW - VIRTIO_MMIO_CONFIG));
}

static void mmio_show(struct vdev *v)
{
	const struct vq_state *s = vdev_queue(v, v->s.q_sel);

	set(v, VIRTIO_MMIO_MAGIC_VALUE, MAGIC);
	set(v, VIRTIO_MMIO_VERSION, 2);
	set(v, VIRTIO_MMIO_DEVICE_ID, v->vt->id);
	set(v, VIRTIO_MMIO_VENDOR_ID, VENDOR);
	set(v, VIRTIO_MMIO_DEVICE_FEATURES, vdev_get_features(v, v->s.feature_sel));
	set(v, VIRTIO_MMIO_QUEUE_NUM_MAX, s ? v->qmax : 0);
	set(v, VIRTIO_MMIO_QUEUE_READY, s ? s->ready : 0);
	set(v, VIRTIO_MMIO_INTERRUPT_STATUS, v->s.isr);
	set(v, VIRTIO_MMIO_STATUS, v->s.status);
	set(v, VIRTIO_MMIO_SHM_LEN_LOW, NO_REGIONS);
	set(v, VIRTIO_MMIO_SHM_LEN_HIGH, NO_REGIONS);
	set(v, VIRTIO_MMIO_SHM_BASE_LOW, NO_REGIONS);
	set(v, VIRTIO_MMIO_SHM_BASE_HIGH, NO_REGIONS);
	show_config(v);
	set(v, VIRTIO_MMIO_CONFIG_GENERATION, v->s.generation); /* last: a driver reads it again */
}

static uint64_t mmio_read(struct dev *dev, uint64_t off, unsigned len)
{
	struct mmio *t = to_vdev(dev)->transport;

	return bus_bytes_read(t->window, VIRTIO_MMIO_WINDOW, off, len);
}

static void queue_write(struct vdev *v, uint64_t off, uint32_t val)
{
	uint32_t q = v->s.q_sel;

	switch (off) {
	case VIRTIO_MMIO_QUEUE_NUM:
		vdev_set_queue_size(v, q, val);
		return;
	case VIRTIO_MMIO_QUEUE_READY:
		if (val)
			vdev_set_queue_ready(v, q);
		else
			vdev_take_queue_back(v, q);
		return;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		vdev_set_queue_addr(v, q, VQ_DESC, off == VIRTIO_MMIO_QUEUE_DESC_HIGH, val);
		return;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		vdev_set_queue_addr(v, q, VQ_AVAIL, off == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, val);
		return;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		vdev_set_queue_addr(v, q, VQ_USED, off == VIRTIO_MMIO_QUEUE_USED_HIGH, val);
		return;
	}
}

static void register_write(struct vdev *v, uint64_t off, uint32_t val)
{
	switch (off) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		v->s.feature_sel = val;
		return;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		v->s.driver_feature_sel = val;
		return;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		vdev_set_features(v, v->s.driver_feature_sel, val);
		return;
	case VIRTIO_MMIO_QUEUE_SEL:
		v->s.q_sel = val;
		return;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		vdev_notify(v, val);
		return;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		v->s.isr &= ~(val & VIRTIO_MMIO_INT_CONFIG);
		return;
	case VIRTIO_MMIO_STATUS:
		vdev_set_status(v, val);
		return;
	default:
		queue_write(v, off, val);
	}
}

static void mmio_write(struct dev *dev, uint64_t off, unsigned len, uint64_t val)
{
	struct vdev *v = to_vdev(dev);

	if (off >= VIRTIO_MMIO_CONFIG)
		vdev_config_write(v, off - VIRTIO_MMIO_CONFIG, len, val);
	else if (len == 4)
		register_write(v, off, (uint32_t)val);
	mmio_show(v);
}

static const struct bus_ops mmio_ops = { mmio_read, mmio_write };

static void pulse(struct vdev *v)
{
	struct mmio *t = v->transport;

	irq_line_set(&t->line, true);
	irq_line_set(&t->line, false);
}

static void mmio_interrupt(struct vdev *v, unsigned q)
{
	(void)q;
	if (!(v->s.isr & VIRTIO_MMIO_INT_VRING)) {
		v->s.isr |= VIRTIO_MMIO_INT_VRING;
		set(v, VIRTIO_MMIO_INTERRUPT_STATUS, v->s.isr);
	}
	pulse(v);
}

static void mmio_config_interrupt(struct vdev *v)
{
	v->s.isr |= VIRTIO_MMIO_INT_CONFIG;
	mmio_show(v);
	pulse(v);
}

static void mmio_refresh(struct vdev *v)
{
	mmio_show(v);
	if (v->s.isr) /* an edge is lost with the interrupt controller it went to */
		pulse(v);
}

static void mmio_destroy(struct vdev *v)
{
	struct mmio *t = v->transport;

	if (t->swallow >= 0) {
		const uint32_t used = VIRTIO_MMIO_INT_VRING;

		v->dev.m->irq->ops->kick(v->dev.m->irq, t->base + VIRTIO_MMIO_INTERRUPT_ACK, 4,
					 &used, t->swallow, false);
	}
	cleanup_close(&t->swallow);
	if (t->own_window)
		munmap(t->window, VIRTIO_MMIO_WINDOW);
	free(t);
}

static const struct vtransport_ops mmio_transport = {
	.interrupt = mmio_interrupt,
	.config_interrupt = mmio_config_interrupt,
	.show = mmio_show,
	.reset = mmio_show,
	.refresh = mmio_refresh,
	.destroy = mmio_destroy,
};

static int make_window(struct vdev *v, struct mmio *t, void *window)
{
	t->window = window;
	if (window)
		return 0;
	t->window = mmap(NULL, VIRTIO_MMIO_WINDOW, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (t->window == MAP_FAILED) {
		t->window = NULL;
		return err(-ENOMEM, "%s: out of memory", v->dev.name);
	}
	t->own_window = true;
	return 0;
}

/* refused: the acknowledgements leave the guest, and all is well but slower */
static void swallow_acks(struct vdev *v, struct mmio *t)
{
	const uint32_t used = VIRTIO_MMIO_INT_VRING;
	struct irq *irq = v->dev.m->irq;

	t->swallow = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->swallow >= 0 &&
	    irq->ops->kick(irq, t->base + VIRTIO_MMIO_INTERRUPT_ACK, 4, &used, t->swallow, true)) {
		close(t->swallow);
		t->swallow = -1;
	}
}

int virtio_mmio_create(struct vdev *v, const struct vdev_place *place)
{
	struct mmio *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return err(-ENOMEM, "%s: out of memory", v->dev.name);
	t->line = (struct irq_line){ v->dev.m->irq, place->gsi, false };
	t->base = place->base;
	t->swallow = -1;
	v->transport = t;
	v->tr = &mmio_transport;
	r = make_window(v, t, place->window);
	if (!r)
		r = bus_add(v->dev.m->bus, BUS_MMIO, t->base, VIRTIO_MMIO_WINDOW, &v->dev,
			    &mmio_ops);
	if (r)
		return r;
	mmio_show(v);
	/* the address never moves, so KVM learns it once */
	for (unsigned q = 0; q < v->s.nvq; q++)
		vdev_kick_at(v, q, t->base + VIRTIO_MMIO_QUEUE_NOTIFY, 4, true);
	swallow_acks(v, t);
	return 0;
}
