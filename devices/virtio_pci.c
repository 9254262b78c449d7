/*
 * virtio_pci.c - the modern PCI transport
 *
 * One memory BAR of 32 KiB holds all structures, each on a page of its own.
 * Each queue has a notify address of its own, so that KVM catches kicks by
 * address alone.  The identity is what firmware and Windows drivers match:
 * 1af4:1040+id, revision 1, subsystem 1af4:1100.
 */
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "msix.h"
#include "virtio.h"

enum {
	BAR_COMMON = 0x0000,
	BAR_ISR = 0x1000,
	BAR_CONFIG = 0x2000,
	BAR_NOTIFY = 0x3000,
	BAR_MSIX = 0x4000,
	BAR_PBA = 0x5000,
	BAR_BYTES = 0x8000,
	STRUCT_BYTES = 0x1000,
};

#define NOTIFY_MULTIPLIER 4
#define COMMON_BYTES	  sizeof(struct virtio_pci_common_cfg)

struct vpci_state {
	uint16_t config_vector, queue_vector[VDEV_VQS];
};

static const struct field vpci_fields[] = {
	F_UINT(struct vpci_state, config_vector),
	F_BYTES(struct vpci_state, queue_vector),
	F_END,
};

/* the parts of the transport as one, for the tree */
struct vpci {
	struct vpci_state s;
	struct pci_fn fn;
	struct msix msix;
	struct irq_line line;
	struct pci_bus *bus;
	struct vdev *v;
	unsigned window; /* offset of VIRTIO_PCI_CAP_PCI_CFG */
};

static struct vpci *of_fn(struct pci_fn *fn)
{
	return container_of(fn, struct vpci, fn);
}

static void update_line(struct vpci *t)
{
	irq_line_set(&t->line, t->v->s.isr && !msix_on(&t->msix) && !pci_fn_intx_off(&t->fn));
}

static void fire(struct vdev *v, uint16_t vector, uint32_t isr)
{
	struct vpci *t = v->transport;

	if (msix_on(&t->msix)) {
		msix_fire(&t->msix, vector);
		return;
	}
	v->s.isr |= isr;
	update_line(t);
}

static void vpci_interrupt(struct vdev *v, unsigned q)
{
	fire(v, ((struct vpci *)v->transport)->s.queue_vector[q], 1);
}

static void vpci_config_interrupt(struct vdev *v)
{
	fire(v, ((struct vpci *)v->transport)->s.config_vector, VIRTIO_PCI_ISR_CONFIG);
}

/* --- the common structure --- */

static void fill_queue(struct vdev *v, struct virtio_pci_common_cfg *c)
{
	struct vpci *t = v->transport;
	const struct vq_state *s = vdev_queue(v, v->s.q_sel);

	if (!s)
		return;
	c->queue_size = s->size;
	c->queue_msix_vector = t->s.queue_vector[v->s.q_sel];
	c->queue_enable = s->ready;
	c->queue_notify_off = (uint16_t)v->s.q_sel;
	c->queue_desc_lo = (uint32_t)s->desc;
	c->queue_desc_hi = (uint32_t)(s->desc >> 32);
	c->queue_avail_lo = (uint32_t)s->avail;
	c->queue_avail_hi = (uint32_t)(s->avail >> 32);
	c->queue_used_lo = (uint32_t)s->used;
	c->queue_used_hi = (uint32_t)(s->used >> 32);
}

static uint64_t common_read(struct vdev *v, uint64_t off, unsigned len)
{
	struct vpci *t = v->transport;
	struct virtio_pci_common_cfg c = {
		.device_feature_select = v->s.feature_sel,
		.device_feature = vdev_get_features(v, v->s.feature_sel),
		.guest_feature_select = v->s.driver_feature_sel,
		.guest_feature =
			v->s.driver_feature_sel < 2
				? (uint32_t)(v->s.driver_features >> 32 * v->s.driver_feature_sel)
				: 0,
		.msix_config = t->s.config_vector,
		.num_queues = (uint16_t)v->s.nvq,
		.device_status = (uint8_t)v->s.status,
		.config_generation = (uint8_t)v->s.generation,
		.queue_select = (uint16_t)v->s.q_sel,
	};

	fill_queue(v, &c);
	return bus_bytes_read(&c, sizeof(c), off, len);
}

/* a vector that does not exist reads back as none */
static uint16_t vector_or_none(struct vpci *t, uint32_t vector)
{
	return vector < t->msix.n ? (uint16_t)vector : MSIX_NO_VECTOR;
}

static void queue_write(struct vdev *v, uint64_t off, uint32_t val)
{
	uint32_t q = v->s.q_sel;

	switch (off) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		vdev_set_queue_size(v, q, val);
		return;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		if (val == 1)
			vdev_set_queue_ready(v, q);
		return;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		vdev_set_queue_addr(v, q, VQ_DESC, off == VIRTIO_PCI_COMMON_Q_DESCHI, val);
		return;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		vdev_set_queue_addr(v, q, VQ_AVAIL, off == VIRTIO_PCI_COMMON_Q_AVAILHI, val);
		return;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		vdev_set_queue_addr(v, q, VQ_USED, off == VIRTIO_PCI_COMMON_Q_USEDHI, val);
		return;
	}
}

static unsigned width_of(uint64_t off)
{
	switch (off) {
	case VIRTIO_PCI_COMMON_STATUS:
		return 1;
	case VIRTIO_PCI_COMMON_MSIX:
	case VIRTIO_PCI_COMMON_Q_SELECT:
	case VIRTIO_PCI_COMMON_Q_SIZE:
	case VIRTIO_PCI_COMMON_Q_MSIX:
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		return 2;
	default:
		return 4;
	}
}

static void common_write(struct vdev *v, uint64_t off, unsigned len, uint64_t v64)
{
	struct vpci *t = v->transport;
	uint32_t val = (uint32_t)v64;

	if (len == 8) { /* a 64-bit store to an address is its two halves */
		common_write(v, off, 4, val);
		common_write(v, off + 4, 4, v64 >> 32);
		return;
	}
	if (len != width_of(off))
		return;
	switch (off) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		v->s.feature_sel = val;
		return;
	case VIRTIO_PCI_COMMON_GFSELECT:
		v->s.driver_feature_sel = val;
		return;
	case VIRTIO_PCI_COMMON_GF:
		vdev_set_features(v, v->s.driver_feature_sel, val);
		return;
	case VIRTIO_PCI_COMMON_MSIX:
		t->s.config_vector = vector_or_none(t, val);
		return;
	case VIRTIO_PCI_COMMON_STATUS:
		vdev_set_status(v, val);
		return;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		v->s.q_sel = val;
		return;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		if (vdev_queue(v, v->s.q_sel))
			t->s.queue_vector[v->s.q_sel] = vector_or_none(t, val);
		return;
	default:
		queue_write(v, off, val);
	}
}

/* --- the BAR --- */

static uint64_t isr_read(struct vdev *v, uint64_t off)
{
	uint32_t isr = v->s.isr;

	if (off)
		return 0;
	v->s.isr = 0;
	update_line(v->transport);
	return isr;
}

static uint64_t bar_read(struct pci_fn *fn, uint64_t off, unsigned len)
{
	struct vpci *t = of_fn(fn);
	uint64_t in = off % STRUCT_BYTES;

	switch (off - in) {
	case BAR_COMMON:
		return common_read(t->v, in, len);
	case BAR_ISR:
		return isr_read(t->v, in);
	case BAR_CONFIG:
		return vdev_config_read(t->v, in, len);
	case BAR_MSIX:
		return msix_table_read(&t->msix, in, len);
	case BAR_PBA:
		return msix_pba_read(&t->msix, in, len);
	}
	return 0;
}

static void bar_write(struct pci_fn *fn, uint64_t off, unsigned len, uint64_t val)
{
	struct vpci *t = of_fn(fn);
	uint64_t in = off % STRUCT_BYTES;

	switch (off - in) {
	case BAR_COMMON:
		common_write(t->v, in, len, val);
		return;
	case BAR_NOTIFY:
		if (!(in % NOTIFY_MULTIPLIER))
			vdev_notify(t->v, (uint32_t)(in / NOTIFY_MULTIPLIER));
		return;
	case BAR_CONFIG:
		vdev_config_write(t->v, in, len, val);
		return;
	case BAR_MSIX:
		msix_table_write(&t->msix, in, len, val);
		return;
	}
}

/* kicks follow the BAR */
static void place_kicks(struct vpci *t)
{
	gpa_t at = pci_fn_bar_at(&t->fn);

	for (unsigned q = 0; q < t->v->s.nvq; q++) {
		gpa_t addr = at ? at + BAR_NOTIFY + q * NOTIFY_MULTIPLIER : 0;

		if (t->v->kick[q].addr != addr)
			vdev_kick_at(t->v, q, addr, 0, false);
	}
}

/* --- configuration space --- */

/* VIRTIO_PCI_CAP_PCI_CFG: the BAR seen through a window of up to 4 bytes, for firmware that cannot
 * map it */
static bool window_target(struct vpci *t, uint32_t *off, uint32_t *len)
{
	const uint8_t *cap = t->fn.s.cfg + t->window;

	memcpy(off, cap + offsetof(struct virtio_pci_cap, offset), 4);
	memcpy(len, cap + offsetof(struct virtio_pci_cap, length), 4);
	return !cap[offsetof(struct virtio_pci_cap, bar)] &&
	       (*len == 1 || *len == 2 || *len == 4) && *off % *len == 0 &&
	       range_fits(*off, *len, BAR_BYTES);
}

static bool in_window(struct vpci *t, unsigned off, unsigned len)
{
	return ranges_overlap(off, len, t->window + sizeof(struct virtio_pci_cap), 4);
}

static void prepare(struct pci_fn *fn, unsigned off, unsigned len)
{
	struct vpci *t = of_fn(fn);
	uint32_t at, n, v;

	if (!in_window(t, off, len) || !window_target(t, &at, &n))
		return;
	v = (uint32_t)bar_read(fn, at, n);
	memcpy(fn->s.cfg + t->window + sizeof(struct virtio_pci_cap), &v, 4);
}

static void configured(struct pci_fn *fn, unsigned off, unsigned len)
{
	struct vpci *t = of_fn(fn);
	uint32_t at, n, v;

	if (in_window(t, off, len) && window_target(t, &at, &n)) {
		memcpy(&v, fn->s.cfg + t->window + sizeof(struct virtio_pci_cap), 4);
		bar_write(fn, at, n, v & bus_ones(n));
	}
	if (off < PCI_BASE_ADDRESS_1)
		place_kicks(t);
	msix_flush(&t->msix);
	update_line(t);
}

static const struct pci_fn_ops fn_ops = {
	.read = bar_read,
	.write = bar_write,
	.configured = configured,
	.prepare = prepare,
};

static void add_caps(struct vpci *t)
{
	static const struct {
		uint8_t type;
		uint32_t off, len;
	} structure[] = {
		{ VIRTIO_PCI_CAP_COMMON_CFG, BAR_COMMON, COMMON_BYTES },
		{ VIRTIO_PCI_CAP_ISR_CFG, BAR_ISR, 1 },
		{ VIRTIO_PCI_CAP_DEVICE_CFG, BAR_CONFIG, STRUCT_BYTES },
		{ VIRTIO_PCI_CAP_NOTIFY_CFG, BAR_NOTIFY, STRUCT_BYTES },
		{ VIRTIO_PCI_CAP_PCI_CFG, 0, 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(structure); i++) {
		struct {
			struct virtio_pci_cap cap;
			uint32_t extra; /* the notify multiplier, or the window's data */
		} c = { .cap = { .cfg_type = structure[i].type,
				 .offset = structure[i].off,
				 .length = structure[i].len } };
		bool more = structure[i].type == VIRTIO_PCI_CAP_NOTIFY_CFG ||
			    structure[i].type == VIRTIO_PCI_CAP_PCI_CFG;

		c.cap.cap_len = more ? sizeof(c) : sizeof(c.cap);
		c.extra = structure[i].type == VIRTIO_PCI_CAP_NOTIFY_CFG ? NOTIFY_MULTIPLIER : 0;
		t->window = pci_fn_cap(&t->fn, PCI_CAP_ID_VNDR, (char *)&c + 2, c.cap.cap_len - 2U);
	}
	/* the last one is the window: its bar, offset, length and data are the driver's */
	pci_fn_writable(&t->fn, t->window + offsetof(struct virtio_pci_cap, bar), 1);
	pci_fn_writable(&t->fn, t->window + offsetof(struct virtio_pci_cap, offset), 12);
}

static void clear_vectors(struct vpci *t)
{
	t->s.config_vector = MSIX_NO_VECTOR;
	memset(t->s.queue_vector, 0xff, sizeof(t->s.queue_vector));
}

/* a virtio reset leaves the PCI function as it is, but for the vectors */
static void vpci_reset(struct vdev *v)
{
	struct vpci *t = v->transport;

	clear_vectors(t);
	update_line(t);
}

static void vpci_power_on(struct vdev *v)
{
	struct vpci *t = v->transport;

	pci_fn_reset(&t->fn);
	msix_reset(&t->msix);
	place_kicks(t);
	update_line(t);
}

static void vpci_refresh(struct vdev *v)
{
	struct vpci *t = v->transport;

	place_kicks(t);
	msix_flush(&t->msix);
	update_line(t);
	irq_line_refresh(&t->line);
}

static int vpci_loaded(struct vdev *v)
{
	struct vpci *t = v->transport;
	int r = pci_fn_loaded(&t->fn);

	t->s.config_vector = vector_or_none(t, t->s.config_vector);
	for (unsigned q = 0; q < VDEV_VQS; q++)
		t->s.queue_vector[q] = vector_or_none(t, t->s.queue_vector[q]);
	return r ? r : msix_loaded(&t->msix);
}

static void vpci_destroy(struct vdev *v)
{
	struct vpci *t = v->transport;

	pci_detach(t->bus, &t->fn);
	free(t);
}

static const struct vtransport_ops vpci_transport = {
	.interrupt = vpci_interrupt,
	.config_interrupt = vpci_config_interrupt,
	.reset = vpci_reset,
	.power_on = vpci_power_on,
	.refresh = vpci_refresh,
	.loaded = vpci_loaded,
	.destroy = vpci_destroy,
};

static uint32_t class_of(uint32_t virtio_id)
{
	switch (virtio_id) {
	case 1:
		return 0x020000; /* network */
	case 2:
		return 0x010000; /* storage */
	case 3:
	case 19:
		return 0x078000; /* communication */
	}
	return 0xff0000;
}

int virtio_pci_create(struct vdev *v, const struct vdev_place *place)
{
	struct vpci *t = calloc(1, sizeof(*t));
	const struct pci_id id = {
		.vendor = 0x1af4,
		.device = (uint16_t)(0x1040 + v->vt->id),
		.subsystem_vendor = 0x1af4,
		.subsystem = 0x1100,
		.revision = 1,
		.class_code = class_of(v->vt->id),
	};
	int r;

	if (!t)
		return err(-ENOMEM, "%s: out of memory", v->dev.name);
	t->v = v;
	t->bus = place->pci;
	t->line = (struct irq_line){ v->dev.m->irq, place->gsi, false };
	v->transport = t;
	v->tr = &vpci_transport;
	pci_fn_init(&t->fn, &v->dev, &fn_ops, &id);
	pci_fn_bar(&t->fn, BAR_BYTES, place->base);
	t->fn.s.cfg[PCI_INTERRUPT_PIN] = 1;
	t->fn.s.cfg[PCI_INTERRUPT_LINE] = (uint8_t)place->gsi;
	add_caps(t);
	msix_init(&t->msix, &t->fn, v->dev.m->irq, v->s.nvq + 1, BAR_MSIX, BAR_PBA);
	pci_fn_seal(&t->fn);
	clear_vectors(t);
	DEV_PART(&v->dev, "transport", vpci_fields, &t->s);
	DEV_PART(&v->dev, "pci", pci_fn_fields, &t->fn.s);
	DEV_PART(&v->dev, "msix", msix_fields, &t->msix.s);
	r = pci_attach(t->bus, place->slot, &t->fn);
	if (!r)
		place_kicks(t);
	return r;
}
