/* scripts_blk.c - a guest with a disk */
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>
#include <sys/mman.h>
#include <unistd.h>

#include "contract.h"
#include "devices.h"

/* a ring's workers stay for seconds when it is gone, so threads; t_blk has both engines */
struct conf_disk blk_script_disk = {
	.serial = "SERIAL0",
	.engine = ENGINE_THREADS,
	.queues = 2,
	.discard = true,
};

static void blk_refill(struct subject *x)
{
	static uint8_t buf[CONTRACT_SECTORS * 512];

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i / 512 * 3 + i % 512);
	require(pwrite(x->disk, buf, sizeof(buf), 0) == sizeof(buf));
}

static void blk_host(struct subject *x)
{
	x->disk_conf = blk_script_disk;
	x->disk = x->disk_conf.path[0] ? open(x->disk_conf.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)
				       : memfd_create("disk", MFD_CLOEXEC);
	require(x->disk >= 0);
	blk_refill(x);
	snprintf(x->disk_conf.path, sizeof(x->disk_conf.path), "/proc/self/fd/%d", x->disk);
}

static const void *blk_conf(struct subject *x)
{
	return &x->disk_conf;
}

static void blk_request(struct subject *x, uint32_t type, uint64_t sector, gpa_t data, uint32_t len)
{
	subject_note(x, guest_blk(&x->g, type, sector, data, len));
}

/* a read through an indirect table, into two pieces of memory side by side */
static void blk_indirect(struct subject *x)
{
	const struct guest_buf buf[] = {
		{ GUEST_HDR, 16, false },
		{ FAKE_HIGH + FAKE_HIGH_SLOT - 700, 1536, true },
		{ GUEST_STATUS, 1, true },
	};

	guest_blk_header(&x->g, GUEST_HDR, VIRTIO_BLK_T_IN, 9);
	guest_add_indirect(&x->g, 0, buf, ARRAY_SIZE(buf));
	guest_kick(&x->g, 0);
}

/* on queue 1: two segments, whose second overlaps nothing */
static void blk_segments(struct subject *x, uint32_t type, uint32_t flags)
{
	const struct virtio_blk_discard_write_zeroes seg[] = { { 30, 3, flags }, { 40, 8, flags } };
	const struct guest_buf buf[] = { { GUEST_HDR, 16, false },
					 { GUEST_DATA, sizeof(seg), false },
					 { GUEST_STATUS, 1, true } };
	struct guest_used u;

	guest_blk_header(&x->g, GUEST_HDR, type, 0);
	fake_poke(x->f, GUEST_DATA, seg, sizeof(seg));
	fake_fill(x->f, GUEST_STATUS, 0xff, 1);
	guest_add(&x->g, 1, buf, ARRAY_SIZE(buf));
	guest_kick(&x->g, 1);
	fake_settle(x->f);
	while (guest_used(&x->g, 1, &u))
		subject_note(x, u.id | (uint64_t)u.len << 32);
	subject_note(x, guest_blk_status(&x->g, 0));
}

static void blk_look(struct subject *x)
{
	subject_note(x, guest_read(&x->g, REG_STATUS));
	subject_note(x, guest_used_idx(&x->g, 0) | guest_avail_event(&x->g, 0) << 16);
	subject_note(x, guest_ack(&x->g));
}

static void blk_move_bar(struct subject *x)
{
	if (x->wiring != WIRE_PCI)
		return;
	guest_pci_write(&x->g, PCI_BASE_ADDRESS_0, 4, 0xd0000000);
	guest_find_bar(&x->g);
}

static void blk_pin(struct subject *x)
{
	if (x->wiring == WIRE_PCI)
		guest_pci_write(&x->g, x->g.msix_cap + PCI_MSIX_FLAGS, 2, 0);
}

static void blk_mask(struct subject *x, bool masked)
{
	if (x->wiring == WIRE_PCI)
		guest_msix_entry(&x->g, 0, masked);
}

static void blk_step(struct subject *x, unsigned k)
{
	const uint64_t rings = GUEST_VERSION_1 | GUEST_EVENT_IDX | GUEST_INDIRECT_F;

	if (k > 0 && k < 14)
		fake_fill(x->f, GUEST_DATA, (uint8_t)(0x80 + k), 2048);
	switch (k) {
	case 0:
		require(guest_start(&x->g, rings | 1ULL << VIRTIO_BLK_F_MQ, 2, 8));
		break;
	case 1:
		blk_request(x, VIRTIO_BLK_T_OUT, 5, GUEST_DATA, 1024);
		break;
	case 2:
		blk_request(x, VIRTIO_BLK_T_IN, 5, GUEST_DATA + 512, 1024);
		break;
	case 3:
		blk_request(x, VIRTIO_BLK_T_OUT, CONTRACT_SECTORS - 1, GUEST_DATA, 1024);
		break;
	case 4:
		if (x->wiring == WIRE_PCI)
			guest_msix(&x->g, 1);
		blk_request(x, VIRTIO_BLK_T_GET_ID, 0, GUEST_DATA, 20);
		break;
	case 5:
		blk_indirect(x);
		break;
	case 6:
		guest_set_used_event(&x->g, 0, x->g.q[0].next + 1);
		blk_request(x, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
		break;
	case 7: /* made available, and not a word about it */
		blk_mask(x, true);
		guest_blk_add(&x->g, 1, VIRTIO_BLK_T_IN, 20, GUEST_DATA, 512);
		return; /* a restore looks at the queue, so what is seen now may differ */
	case 8:
		guest_kick(&x->g, 0);
		fake_settle(x->f);
		blk_move_bar(x);
		break;
	case 9:
		blk_mask(x, false);
		blk_request(x, VIRTIO_BLK_T_IN, 5, GUEST_DATA, 1024);
		break;
	case 10: /* the other queue */
		blk_segments(x, VIRTIO_BLK_T_WRITE_ZEROES, 0);
		break;
	case 11:
		blk_segments(x, VIRTIO_BLK_T_DISCARD, 0);
		break;
	case 12:
		blk_segments(x, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
		break;
	case 13:
		blk_request(x, VIRTIO_BLK_T_IN, 29, GUEST_DATA, 1024);
		break;
	case 14: /* an index out of thin air */
		fake_poke16(x->f, x->g.q[0].avail + 2, (uint16_t)(x->g.q[0].next + 100));
		guest_kick(&x->g, 0);
		break;
	case 15:
		blk_look(x);
		guest_reset(&x->g);
		require(guest_negotiate(&x->g, GUEST_VERSION_1));
		break;
	case 16: /* half way through the set-up */
		require(guest_queue(&x->g, 0, 16));
		break;
	case 17:
		blk_pin(x);
		guest_driver_ok(&x->g);
		blk_request(x, VIRTIO_BLK_T_OUT, 6, GUEST_DATA, 512);
		break;
	case 18:
		blk_request(x, VIRTIO_BLK_T_IN, 5, GUEST_DATA + 2048, 1024);
		break;
	case 19:
		guest_reset(&x->g);
		break;
	}
	fake_settle(x->f);
	if (k != 15 && k != 17) /* an interrupt is left waiting */
		blk_look(x);
}

const struct script blk_script = {
	.type = &blk_type,
	.host = blk_host,
	.refill = blk_refill,
	.conf = blk_conf,
	.steps = 20,
	.step = blk_step,
};
