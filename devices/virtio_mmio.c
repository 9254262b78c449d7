/*
 * virtio_mmio.c - the register file of virtio over MMIO, version 2
 *
 * The interrupt line is edge-triggered in the tables but driven as a level: up
 * while InterruptStatus is not zero.  The edge comes when the first bit is set,
 * and the driver's acknowledgement, an exit anyway, takes the line down.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include "virtio.h"

#define REGISTERS_SIZE 0x1000
#define MAGIC	       0x74726976 /* "virt" */
#define VENDOR	       0x48435455 /* "UTCH" */

struct mmio {
	struct irq_line line;
	gpa_t base;
};

static void update(struct vdev *v)
{
	struct mmio *t = v->transport;

	irq_line_set(&t->line, v->s.isr != 0);
}

static uint64_t mmio_read(struct dev *dev, uint64_t off, unsigned len)
{
	struct vdev *v = to_vdev(dev);
	const struct vq_state *s = vdev_queue(v, v->s.q_sel);

	if (off >= VIRTIO_MMIO_CONFIG)
		return vdev_config_read(v, off - VIRTIO_MMIO_CONFIG, len);
	if (len != 4)
		return 0;
	switch (off) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return 2;
	case VIRTIO_MMIO_DEVICE_ID:
		return v->vt->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return vdev_get_features(v, v->s.feature_sel);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return s ? v->qmax : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return s ? s->ready : 0;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return v->s.isr;
	case VIRTIO_MMIO_STATUS:
		return v->s.status;
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return v->s.generation;
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX; /* no shared memory region */
	}
	return 0;
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

static void mmio_write(struct dev *dev, uint64_t off, unsigned len, uint64_t val64)
{
	struct vdev *v = to_vdev(dev);
	uint32_t val = (uint32_t)val64;

	if (off >= VIRTIO_MMIO_CONFIG)
		vdev_config_write(v, off - VIRTIO_MMIO_CONFIG, len, val64);
	if (len != 4 || off >= VIRTIO_MMIO_CONFIG)
		return;
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
		v->s.isr &= ~val;
		update(v);
		return;
	case VIRTIO_MMIO_STATUS:
		vdev_set_status(v, val);
		return;
	default:
		queue_write(v, off, val);
	}
}

static const struct bus_ops mmio_ops = { mmio_read, mmio_write };

static void mmio_interrupt(struct vdev *v, unsigned q)
{
	(void)q;
	v->s.isr |= VIRTIO_MMIO_INT_VRING;
	update(v);
}

static void mmio_config_interrupt(struct vdev *v)
{
	v->s.isr |= VIRTIO_MMIO_INT_CONFIG;
	update(v);
}

static void mmio_refresh(struct vdev *v)
{
	struct mmio *t = v->transport;

	update(v);
	irq_line_refresh(&t->line); /* an edge is lost with the interrupt controller it went to */
}

static void mmio_destroy(struct vdev *v)
{
	free(v->transport);
}

static const struct vtransport_ops mmio_transport = {
	.interrupt = mmio_interrupt,
	.config_interrupt = mmio_config_interrupt,
	.reset = update,
	.refresh = mmio_refresh,
	.destroy = mmio_destroy,
};

int virtio_mmio_create(struct vdev *v, const struct vdev_place *place)
{
	struct mmio *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return err(-ENOMEM, "%s: out of memory", v->dev.name);
	t->line = (struct irq_line){ v->dev.m->irq, place->gsi, false };
	t->base = place->base;
	v->transport = t;
	v->tr = &mmio_transport;
	r = bus_add(v->dev.m->bus, BUS_MMIO, t->base, REGISTERS_SIZE, &v->dev, &mmio_ops);
	/* the address never moves, so KVM learns it once */
	for (unsigned q = 0; !r && q < v->s.nvq; q++)
		vdev_kick_at(v, q, t->base + VIRTIO_MMIO_QUEUE_NOTIFY, 4, true);
	return r;
}
