#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>

#include "guest.h"

#define SMALL_QUEUE 16 /* the largest of a queue other than 0 */

/* where the registers are, and how wide */
static const struct {
	uint16_t mmio_read, mmio_write;
	uint8_t pci, pci_len;
} regs[GUEST_REGS] = {
	[REG_FEATURES_SEL] = { 0, VIRTIO_MMIO_DEVICE_FEATURES_SEL, VIRTIO_PCI_COMMON_DFSELECT, 4 },
	[REG_FEATURES] = { VIRTIO_MMIO_DEVICE_FEATURES, 0, VIRTIO_PCI_COMMON_DF, 4 },
	[REG_DRIVER_SEL] = { 0, VIRTIO_MMIO_DRIVER_FEATURES_SEL, VIRTIO_PCI_COMMON_GFSELECT, 4 },
	[REG_DRIVER_FEATURES] = { 0, VIRTIO_MMIO_DRIVER_FEATURES, VIRTIO_PCI_COMMON_GF, 4 },
	[REG_STATUS] = { VIRTIO_MMIO_STATUS, VIRTIO_MMIO_STATUS, VIRTIO_PCI_COMMON_STATUS, 1 },
	[REG_GENERATION] = { VIRTIO_MMIO_CONFIG_GENERATION, 0, VIRTIO_PCI_COMMON_CFGGENERATION, 1 },
	[REG_Q_SEL] = { 0, VIRTIO_MMIO_QUEUE_SEL, VIRTIO_PCI_COMMON_Q_SELECT, 2 },
	[REG_Q_SIZE] = { VIRTIO_MMIO_QUEUE_NUM_MAX, VIRTIO_MMIO_QUEUE_NUM, VIRTIO_PCI_COMMON_Q_SIZE,
			 2 },
	[REG_Q_READY] = { VIRTIO_MMIO_QUEUE_READY, VIRTIO_MMIO_QUEUE_READY,
			  VIRTIO_PCI_COMMON_Q_ENABLE, 2 },
	[REG_DESC_LOW] = { 0, VIRTIO_MMIO_QUEUE_DESC_LOW, VIRTIO_PCI_COMMON_Q_DESCLO, 4 },
	[REG_DESC_HIGH] = { 0, VIRTIO_MMIO_QUEUE_DESC_HIGH, VIRTIO_PCI_COMMON_Q_DESCHI, 4 },
	[REG_AVAIL_LOW] = { 0, VIRTIO_MMIO_QUEUE_AVAIL_LOW, VIRTIO_PCI_COMMON_Q_AVAILLO, 4 },
	[REG_AVAIL_HIGH] = { 0, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, VIRTIO_PCI_COMMON_Q_AVAILHI, 4 },
	[REG_USED_LOW] = { 0, VIRTIO_MMIO_QUEUE_USED_LOW, VIRTIO_PCI_COMMON_Q_USEDLO, 4 },
	[REG_USED_HIGH] = { 0, VIRTIO_MMIO_QUEUE_USED_HIGH, VIRTIO_PCI_COMMON_Q_USEDHI, 4 },
};

uint32_t guest_read(struct guest *g, enum guest_reg reg)
{
	struct bus *bus = &g->f->bus;

	if (g->pci)
		return (uint32_t)bus_read(bus, BUS_MMIO, g->common + regs[reg].pci,
					  regs[reg].pci_len);
	return (uint32_t)bus_read(bus, BUS_MMIO, g->base + regs[reg].mmio_read, 4);
}

void guest_write(struct guest *g, enum guest_reg reg, uint32_t v)
{
	struct bus *bus = &g->f->bus;

	if (g->pci)
		bus_write(bus, BUS_MMIO, g->common + regs[reg].pci, regs[reg].pci_len, v);
	else
		bus_write(bus, BUS_MMIO, g->base + regs[reg].mmio_write, 4, v);
}

uint64_t guest_config(struct guest *g, unsigned off, unsigned len)
{
	return bus_read(&g->f->bus, BUS_MMIO, g->config + off, len);
}

uint32_t guest_ack(struct guest *g)
{
	struct bus *bus = &g->f->bus;
	uint32_t isr;

	if (g->pci) /* reading it clears it */
		return (uint32_t)bus_read(bus, BUS_MMIO, g->isr, 1);
	isr = (uint32_t)bus_read(bus, BUS_MMIO, g->base + VIRTIO_MMIO_INTERRUPT_STATUS, 4);
	bus_write(bus, BUS_MMIO, g->base + VIRTIO_MMIO_INTERRUPT_ACK, 4, isr);
	return isr;
}

/* --- finding the device --- */

uint32_t guest_pci_read(struct guest *g, unsigned off, unsigned len)
{
	return (uint32_t)bus_read(&g->f->bus, BUS_MMIO, GUEST_ECAM + (g->slot << 15) + off, len);
}

void guest_pci_write(struct guest *g, unsigned off, unsigned len, uint32_t v)
{
	bus_write(&g->f->bus, BUS_MMIO, GUEST_ECAM + (g->slot << 15) + off, len, v);
}

void guest_find_mmio(struct guest *g, struct fake *f, gpa_t base, unsigned gsi)
{
	*g = (struct guest){ .f = f, .base = base, .gsi = gsi };
	g->config = base + VIRTIO_MMIO_CONFIG;
	g->notify = base + VIRTIO_MMIO_QUEUE_NOTIFY;
}

static void find_structure(struct guest *g, unsigned cap)
{
	gpa_t at = g->base + guest_pci_read(g, cap + offsetof(struct virtio_pci_cap, offset), 4);

	switch (guest_pci_read(g, cap + offsetof(struct virtio_pci_cap, cfg_type), 1)) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		g->common = at;
		return;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		g->notify = at;
		g->multiplier = guest_pci_read(g, cap + sizeof(struct virtio_pci_cap), 4);
		return;
	case VIRTIO_PCI_CAP_ISR_CFG:
		g->isr = at;
		return;
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		g->config = at;
		return;
	case VIRTIO_PCI_CAP_PCI_CFG:
		g->window_cap = cap;
		return;
	}
}

void guest_find_bar(struct guest *g)
{
	unsigned cap = guest_pci_read(g, PCI_CAPABILITY_LIST, 1);

	g->base = guest_pci_read(g, PCI_BASE_ADDRESS_0, 4) & PCI_BASE_ADDRESS_MEM_MASK;
	for (unsigned bound = 48; cap && bound; bound--) {
		switch (guest_pci_read(g, cap, 1)) {
		case PCI_CAP_ID_VNDR:
			find_structure(g, cap);
			break;
		case PCI_CAP_ID_MSIX:
			g->msix_cap = cap;
			g->msix_table = g->base + guest_pci_read(g, cap + PCI_MSIX_TABLE, 4);
			g->msix_pba = g->base + guest_pci_read(g, cap + PCI_MSIX_PBA, 4);
			break;
		}
		cap = guest_pci_read(g, cap + 1, 1);
	}
	require(g->common && g->notify && g->isr && g->config && g->msix_cap && g->window_cap);
}

void guest_find_pci(struct guest *g, struct fake *f, unsigned slot, unsigned gsi)
{
	*g = (struct guest){ .f = f, .pci = true, .slot = slot, .gsi = gsi };
	guest_find_bar(g);
}

/* --- starting it --- */

uint64_t guest_offered(struct guest *g)
{
	uint64_t low;

	guest_write(g, REG_FEATURES_SEL, 0);
	low = guest_read(g, REG_FEATURES);
	guest_write(g, REG_FEATURES_SEL, 1);
	return low | (uint64_t)guest_read(g, REG_FEATURES) << 32;
}

void guest_reset(struct guest *g)
{
	guest_write(g, REG_STATUS, 0);
	g->queues = 0;
}

bool guest_negotiate(struct guest *g, uint64_t features)
{
	uint32_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE;

	guest_write(g, REG_STATUS, status);
	status |= VIRTIO_CONFIG_S_DRIVER;
	guest_write(g, REG_STATUS, status);
	for (unsigned sel = 0; sel < 2; sel++) {
		guest_write(g, REG_DRIVER_SEL, sel);
		guest_write(g, REG_DRIVER_FEATURES, (uint32_t)(features >> 32 * sel));
	}
	status |= VIRTIO_CONFIG_S_FEATURES_OK;
	guest_write(g, REG_STATUS, status);
	g->features = features;
	return guest_read(g, REG_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK;
}

static struct guest_queue place_queue(unsigned q, unsigned size)
{
	gpa_t at = GUEST_RINGS + 0x400 * (q - 1);

	if (!q)
		return (struct guest_queue){
			.size = size, .desc = GUEST_DESC, .avail = GUEST_AVAIL, .used = GUEST_USED
		};
	require(size <= SMALL_QUEUE);
	return (struct guest_queue){
		.size = size, .desc = at, .avail = at + 0x100, .used = at + 0x180
	};
}

bool guest_queue(struct guest *g, unsigned q, unsigned size)
{
	struct guest_queue *s = &g->q[q];

	*s = place_queue(q, size);
	fake_fill(g->f, s->desc, 0, 16 * size);
	fake_fill(g->f, s->avail, 0, 6 + 2 * size);
	fake_fill(g->f, s->used, 0, 6 + 8 * size);
	guest_write(g, REG_Q_SEL, q);
	guest_write(g, REG_Q_SIZE, size);
	guest_write(g, REG_DESC_LOW, (uint32_t)s->desc);
	guest_write(g, REG_DESC_HIGH, (uint32_t)(s->desc >> 32));
	guest_write(g, REG_AVAIL_LOW, (uint32_t)s->avail);
	guest_write(g, REG_AVAIL_HIGH, (uint32_t)(s->avail >> 32));
	guest_write(g, REG_USED_LOW, (uint32_t)s->used);
	guest_write(g, REG_USED_HIGH, (uint32_t)(s->used >> 32));
	guest_write(g, REG_Q_READY, 1);
	return guest_read(g, REG_Q_READY) == 1;
}

void guest_queue_at(struct guest *g, gpa_t desc, gpa_t avail, gpa_t used)
{
	const gpa_t at[3] = { desc, avail, used };

	g->q[0] = (struct guest_queue){ .size = 8, .desc = desc, .avail = avail, .used = used };
	guest_write(g, REG_Q_SEL, 0);
	guest_write(g, REG_Q_SIZE, 8);
	for (unsigned i = 0; i < 3; i++) {
		guest_write(g, REG_DESC_LOW + 2 * i, (uint32_t)at[i]);
		guest_write(g, REG_DESC_HIGH + 2 * i, (uint32_t)(at[i] >> 32));
	}
	guest_write(g, REG_Q_READY, 1);
}

void guest_driver_ok(struct guest *g)
{
	guest_write(g, REG_STATUS, GUEST_STATUS_OK);
}

bool guest_start(struct guest *g, uint64_t features, unsigned queues, unsigned size)
{
	guest_reset(g);
	if (!guest_negotiate(g, features))
		return false;
	for (unsigned q = 0; q < queues; q++)
		if (!guest_queue(g, q, size))
			return false;
	g->queues = queues;
	guest_driver_ok(g);
	return guest_is_live(g);
}

void guest_msix_entry(struct guest *g, unsigned vector, bool masked)
{
	struct bus *bus = &g->f->bus;
	gpa_t at = g->msix_table + PCI_MSIX_ENTRY_SIZE * vector;

	bus_write(bus, BUS_MMIO, at + PCI_MSIX_ENTRY_LOWER_ADDR, 4, GUEST_MSI);
	bus_write(bus, BUS_MMIO, at + PCI_MSIX_ENTRY_UPPER_ADDR, 4, 0);
	bus_write(bus, BUS_MMIO, at + PCI_MSIX_ENTRY_DATA, 4, GUEST_MSI_DATA + vector);
	bus_write(bus, BUS_MMIO, at + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, masked);
}

/* after guest_reset(), which takes the vectors back */
void guest_msix(struct guest *g, unsigned queues)
{
	struct bus *bus = &g->f->bus;

	guest_pci_write(g, g->msix_cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	for (unsigned q = 0; q <= queues; q++)
		guest_msix_entry(g, q, false);
	for (unsigned q = 0; q < queues; q++) {
		guest_write(g, REG_Q_SEL, q);
		bus_write(bus, BUS_MMIO, g->common + VIRTIO_PCI_COMMON_Q_MSIX, 2, q);
	}
	bus_write(bus, BUS_MMIO, g->common + VIRTIO_PCI_COMMON_MSIX, 2, queues);
}

/* --- rings --- */

void guest_desc(struct guest *g, gpa_t table, unsigned i, struct vring_desc d)
{
	fake_poke(g->f, table + sizeof(d) * i, &d, sizeof(d));
}

void guest_publish(struct guest *g, unsigned q, uint16_t head)
{
	struct guest_queue *s = &g->q[q];

	fake_poke16(g->f, s->avail + 4 + 2ULL * (s->next % s->size), head);
	fake_poke16(g->f, s->avail + 2, ++s->next);
}

static struct vring_desc desc_of(const struct guest_buf *b, bool last, unsigned next)
{
	return (struct vring_desc){
		.addr = b->gpa,
		.len = b->len,
		.flags = (b->in ? VRING_DESC_F_WRITE : 0) | (last ? 0 : VRING_DESC_F_NEXT),
		.next = last ? 0 : (uint16_t)next,
	};
}

uint16_t guest_add(struct guest *g, unsigned q, const struct guest_buf *buf, unsigned n)
{
	struct guest_queue *s = &g->q[q];
	uint16_t head = s->free_d;

	require(n && n <= s->size);
	for (unsigned i = 0; i < n; i++) {
		unsigned at = (head + i) % s->size;

		guest_desc(g, s->desc, at, desc_of(&buf[i], i + 1 == n, (at + 1) % s->size));
	}
	s->free_d = (uint16_t)((head + n) % s->size);
	guest_publish(g, q, head);
	return head;
}

uint16_t guest_add_indirect(struct guest *g, unsigned q, const struct guest_buf *buf, unsigned n)
{
	struct guest_queue *s = &g->q[q];
	uint16_t head = s->free_d;

	for (unsigned i = 0; i < n; i++)
		guest_desc(g, GUEST_INDIRECT, i, desc_of(&buf[i], i + 1 == n, i + 1));
	guest_desc(g, s->desc, head,
		   (struct vring_desc){ .addr = GUEST_INDIRECT,
					.len = n * sizeof(struct vring_desc),
					.flags = VRING_DESC_F_INDIRECT });
	s->free_d = (uint16_t)((head + 1) % s->size);
	guest_publish(g, q, head);
	return head;
}

void guest_kick(struct guest *g, unsigned q)
{
	if (g->pci)
		fake_mmio(g->f, g->notify + q * g->multiplier, 2, q);
	else
		fake_mmio(g->f, g->notify, 4, q);
}

bool guest_wants_kick(struct guest *g, unsigned q, uint16_t old)
{
	return vring_need_event(guest_avail_event(g, q), g->q[q].next, old);
}

uint16_t guest_used_idx(struct guest *g, unsigned q)
{
	return fake_peek16(g->f, g->q[q].used + 2);
}

bool guest_used(struct guest *g, unsigned q, struct guest_used *ret)
{
	struct guest_queue *s = &g->q[q];

	if (s->seen == guest_used_idx(g, q))
		return false;
	fake_peek(g->f, s->used + 4 + sizeof(*ret) * (s->seen % s->size), ret, sizeof(*ret));
	s->seen++;
	return true;
}

void guest_set_used_event(struct guest *g, unsigned q, uint16_t v)
{
	fake_poke16(g->f, g->q[q].avail + 4 + 2ULL * g->q[q].size, v);
}

uint16_t guest_avail_event(struct guest *g, unsigned q)
{
	return fake_peek16(g->f, g->q[q].used + 4 + 8ULL * g->q[q].size);
}

bool guest_is_broken(struct guest *g)
{
	return guest_read(g, REG_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

bool guest_is_live(struct guest *g)
{
	return guest_read(g, REG_STATUS) == GUEST_STATUS_OK;
}

/* --- virtio-blk --- */

void guest_blk_header(struct guest *g, gpa_t at, uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr h = { .type = type, .sector = sector };

	fake_poke(g->f, at, &h, sizeof(h));
}

uint16_t guest_blk_add(struct guest *g, unsigned slot, uint32_t type, uint64_t sector, gpa_t data,
		       uint32_t len)
{
	const uint8_t untouched = 0xff;
	const bool in = type != VIRTIO_BLK_T_OUT;
	const struct guest_buf status = { GUEST_STATUS + slot, 1, true };
	struct guest_buf buf[3] = { { GUEST_HDR + 16 * slot, sizeof(struct virtio_blk_outhdr),
				      0 } };
	unsigned n = 1;

	require(slot < 128);
	guest_blk_header(g, buf[0].gpa, type, sector);
	fake_poke(g->f, status.gpa, &untouched, 1);
	if (len)
		buf[n++] = (struct guest_buf){ data, len, in };
	buf[n++] = status;
	return guest_add(g, 0, buf, n);
}

uint8_t guest_blk_status(struct guest *g, unsigned slot)
{
	return fake_peek8(g->f, GUEST_STATUS + slot);
}

uint8_t guest_blk(struct guest *g, uint32_t type, uint64_t sector, gpa_t data, uint32_t len)
{
	struct guest_used u;

	guest_blk_add(g, 0, type, sector, data, len);
	guest_kick(g, 0);
	fake_settle(g->f);
	while (guest_used(g, 0, &u))
		require(u.id < g->q[0].size);
	return guest_blk_status(g, 0);
}
