/*
 * guest.h - a virtio driver, the smallest there is
 *
 * It knows of a device what a guest can know: registers through the bus, rings
 * in memory.  The same calls drive virtio-mmio and virtio-pci.  Each ring has
 * its place; queue 0 takes up to 256 entries, others up to 16.
 *
 * Helpers that a hostile guest needs (guest_desc, guest_publish) do what they
 * are told; the rest is a well-behaved driver.
 */
#ifndef HUTCH_TEST_GUEST_H
#define HUTCH_TEST_GUEST_H

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "fake.h"

/* where the guest keeps what, in its 64 KiB */
#define GUEST_DESC	0x1000 /* queue 0 */
#define GUEST_AVAIL	0x2000
#define GUEST_USED	0x3000
#define GUEST_RINGS	0x4000 /* 0x400 bytes for each other queue */
#define GUEST_INDIRECT	0x8800 /* 384 descriptors */
#define GUEST_HDR	0xa000 /* 16 bytes for each of up to 128 requests */
#define GUEST_STATUS	0xa800 /* one byte each */
#define GUEST_DATA	0xb000 /* to the end of low memory: 20 KiB */

#define GUEST_ECAM	0xb0000000ULL
#define GUEST_BAR	0xc0000000ULL
#define GUEST_HOLE	0x80000000ULL
#define GUEST_HOLE_END	0xfe000000ULL
#define GUEST_MMIO	0xfeb00000ULL
#define GUEST_CFG_PORT	0xcf8
#define GUEST_MSI	0xfee00000ULL
#define GUEST_MSI_DATA	0x4000U /* + the vector */
#define GUEST_NO_VECTOR 0xffff

#define GUEST_STATUS_OK                                                                       \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK | \
	 VIRTIO_CONFIG_S_DRIVER_OK)
#define GUEST_VERSION_1	 (1ULL << VIRTIO_F_VERSION_1)
#define GUEST_EVENT_IDX	 (1ULL << VIRTIO_RING_F_EVENT_IDX)
#define GUEST_INDIRECT_F (1ULL << VIRTIO_RING_F_INDIRECT_DESC)

/* registers that both transports have */
enum guest_reg {
	REG_FEATURES_SEL,
	REG_FEATURES,
	REG_DRIVER_SEL,
	REG_DRIVER_FEATURES,
	REG_STATUS,
	REG_GENERATION,
	REG_Q_SEL,
	REG_Q_SIZE, /* mmio: write only */
	REG_Q_READY,
	REG_DESC_LOW,
	REG_DESC_HIGH,
	REG_AVAIL_LOW,
	REG_AVAIL_HIGH,
	REG_USED_LOW,
	REG_USED_HIGH,
	GUEST_REGS,
};

struct guest_queue {
	unsigned size;
	gpa_t desc, avail, used;
	uint16_t next;	 /* avail.idx */
	uint16_t seen;	 /* used elements looked at */
	uint16_t free_d; /* next descriptor to use, round and round */
};

struct guest {
	struct fake *f;
	bool pci;
	gpa_t base; /* mmio: registers; pci: BAR 0 */
	unsigned gsi;
	/* pci */
	unsigned slot, msix_cap, window_cap, multiplier;
	gpa_t common, isr, config, notify, msix_table, msix_pba;
	uint64_t features; /* agreed upon */
	unsigned queues;
	struct guest_queue q[VDEV_VQS];
};

/* one piece of a buffer */
struct guest_buf {
	gpa_t gpa;
	uint32_t len;
	bool in; /* the device writes it */
};

struct guest_used {
	uint32_t id, len;
};

/* find the device: registers at @base, or function @slot of the bus and its capabilities */
void guest_find_mmio(struct guest *g, struct fake *f, gpa_t base, unsigned gsi);
void guest_find_pci(struct guest *g, struct fake *f, unsigned slot, unsigned gsi);

uint32_t guest_read(struct guest *g, enum guest_reg reg);
void guest_write(struct guest *g, enum guest_reg reg, uint32_t v);
uint64_t guest_config(struct guest *g, unsigned off, unsigned len);
uint32_t guest_ack(struct guest *g); /* read the interrupt status and take the line down */

uint32_t guest_pci_read(struct guest *g, unsigned off, unsigned len);
void guest_pci_write(struct guest *g, unsigned off, unsigned len, uint32_t v);
void guest_find_bar(struct guest *g); /* again, after the BAR was moved */

/* the steps of a driver's start */
uint64_t guest_offered(struct guest *g);
void guest_reset(struct guest *g);
bool guest_negotiate(struct guest *g, uint64_t features);     /* to FEATURES_OK; false if refused */
bool guest_queue(struct guest *g, unsigned q, unsigned size); /* false if it is not ready */
/* queue 0 with 8 entries, its rings anywhere; memory is left as it is */
void guest_queue_at(struct guest *g, gpa_t desc, gpa_t avail, gpa_t used);
void guest_driver_ok(struct guest *g);
/* all of it, @queues of @size: true if the device is live */
bool guest_start(struct guest *g, uint64_t features, unsigned queues, unsigned size);

/* MSI-X on, vector q for queue q, vector @queues for the configuration */
void guest_msix(struct guest *g, unsigned queues);
void guest_msix_entry(struct guest *g, unsigned vector, bool masked);

/* make a chain available and say so to nobody: its head */
uint16_t guest_add(struct guest *g, unsigned q, const struct guest_buf *buf, unsigned n);
/* the same through the indirect table at GUEST_INDIRECT */
uint16_t guest_add_indirect(struct guest *g, unsigned q, const struct guest_buf *buf, unsigned n);
/* a ring of @q already laid out: @heads more heads are there */
void guest_publish(struct guest *g, unsigned q, uint16_t head);
void guest_desc(struct guest *g, gpa_t table, unsigned i, struct vring_desc d);
void guest_kick(struct guest *g, unsigned q);
/* kick only if the device asked for it (EVENT_IDX) */
bool guest_wants_kick(struct guest *g, unsigned q, uint16_t old);

/* the next used element: false for none */
bool guest_used(struct guest *g, unsigned q, struct guest_used *ret);
uint16_t guest_used_idx(struct guest *g, unsigned q);
void guest_set_used_event(struct guest *g, unsigned q, uint16_t v);
uint16_t guest_avail_event(struct guest *g, unsigned q);

bool guest_is_broken(struct guest *g);
bool guest_is_live(struct guest *g);

/* --- virtio-blk requests --- */

/* request @slot's header and status byte have a place of their own; kicks and waits: the status */
uint8_t guest_blk(struct guest *g, uint32_t type, uint64_t sector, gpa_t data, uint32_t len);
uint16_t guest_blk_add(struct guest *g, unsigned slot, uint32_t type, uint64_t sector, gpa_t data,
		       uint32_t len);
uint8_t guest_blk_status(struct guest *g, unsigned slot);
void guest_blk_header(struct guest *g, gpa_t at, uint32_t type, uint64_t sector);

#endif
