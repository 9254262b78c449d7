/*
 * fuzz_virtio - a driver made of the input's bytes, against virtio-blk on either transport
 *
 * The first byte chooses the transport.  Then each byte is one operation with
 * the bytes behind it as operands: registers, configuration space, rings and
 * their contents, kicks, snapshots.  Operands are often taken from a table of
 * values that break arithmetic, because bytes alone rarely hit an edge.
 */
#include <linux/virtio_blk.h>
#include <linux/virtio_pci.h>

#include "contract.h"
#include "devices.h"
#include "fuzz_input.h"

static gpa_t address(struct input *in)
{
	static const gpa_t places[] = { GUEST_HDR,	GUEST_DATA,	   GUEST_STATUS,
					GUEST_INDIRECT, GUEST_DESC,	   GUEST_AVAIL,
					GUEST_USED,	FAKE_LOW_END - 16, FAKE_HIGH_END - 512 };
	uint8_t how = byte(in);

	return how < 200 ? places[how % ARRAY_SIZE(places)] + how / 16 % 4 * 16 : number(in);
}

static struct vring_desc desc(struct input *in)
{
	return (struct vring_desc){
		.addr = address(in),
		.len = (uint32_t)number(in),
		.flags = byte(in) & 7,
		.next = (uint16_t)(byte(in) % 20),
	};
}

static void request(struct subject *x, struct input *in)
{
	static const uint32_t types[] = { VIRTIO_BLK_T_IN,	VIRTIO_BLK_T_OUT,
					  VIRTIO_BLK_T_FLUSH,	VIRTIO_BLK_T_GET_ID,
					  VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES };
	uint32_t type = types[byte(in) % ARRAY_SIZE(types)];
	uint64_t sector = number(in);
	uint32_t len = (uint32_t)number(in);

	guest_blk_header(&x->g, GUEST_HDR, type, sector);
	guest_desc(&x->g, GUEST_DESC, 0,
		   (struct vring_desc){ GUEST_HDR, 16, VRING_DESC_F_NEXT, 1 });
	guest_desc(&x->g, GUEST_DESC, 1,
		   (struct vring_desc){ address(in), len,
					VRING_DESC_F_NEXT | (type ? 0 : VRING_DESC_F_WRITE), 2 });
	guest_desc(&x->g, GUEST_DESC, 2,
		   (struct vring_desc){ GUEST_STATUS, 1, VRING_DESC_F_WRITE, 0 });
	guest_publish(&x->g, 0, 0);
}

static void operation(struct subject *x, struct input *in)
{
	struct guest *g = &x->g;
	uint8_t op = byte(in);

	/* a register may wait for requests, which complete on this very thread */
	if (to_vdev(x->dev)->inflight)
		fake_settle(x->f);
	switch (op % 16) {
	case 0:
		guest_start(g,
			    GUEST_VERSION_1 | (op & 16 ? GUEST_INDIRECT_F : 0) |
				    (op & 32 ? GUEST_EVENT_IDX : 0),
			    1, 1U << (op >> 6) * 2);
		return;
	case 1:
		guest_kick(g, 0);
		fake_turn(x->f);
		return;
	case 2:
	case 3:
		request(x, in);
		return;
	case 4:
		guest_desc(g, GUEST_DESC, byte(in) % 20, desc(in));
		return;
	case 5:
		guest_desc(g, GUEST_INDIRECT, byte(in) % 20, desc(in));
		return;
	case 6:
		guest_publish(g, 0, (uint16_t)(byte(in) % 20));
		return;
	case 7:
		guest_blk_header(g, GUEST_HDR, byte(in) % 12, number(in));
		return;
	case 8:
		guest_write(g, byte(in) % GUEST_REGS, (uint32_t)number(in));
		return;
	case 9:
		poke_register(x, in);
		return;
	case 10:
		fake_poke16(x->f, g->q[0].avail + byte(in) % 32 * 2U, (uint16_t)number(in));
		return;
	case 11:
		if (x->wiring == WIRE_PCI)
			guest_msix(g, 1);
		return;
	case 12:
		guest_negotiate(g, GUEST_VERSION_1);
		return;
	case 13:
		save_and_load(x);
		return;
	case 14:
		guest_ack(g);
		return;
	case 15:
		fake_settle(x->f);
		return;
	}
}

static void set_up_ring(struct guest *g)
{
	/* so that there is a place to write to before the first start */
	g->q[0] = (struct guest_queue){
		.size = 16, .desc = GUEST_DESC, .avail = GUEST_AVAIL, .used = GUEST_USED
	};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct contract_case wires[] = { { &blk_type, WIRE_MMIO },
						      { &blk_type, WIRE_PCI } };
	static struct subject *subjects[2];
	static uint8_t zero[FAKE_RAM];
	struct input in = { data, size };
	struct subject *x;
	unsigned wire = byte(&in) & 1;

	if (!subjects[wire])
		subjects[wire] = subject_new(&wires[wire]);
	x = subjects[wire];
	set_up_ring(&x->g);
	fake_ram_set(x->f, zero);
	fake_mark(x->f);
	for (unsigned n = 0; in.left && n < 200; n++)
		operation(x, &in);
	if (fuzz_wants_rain(data, size))
		fuzz_rain(x, GUEST_VERSION_1 | GUEST_INDIRECT_F, 2, fuzz_hash(data, size));
	fake_settle(x->f);
	fake_check_dirty(x->f);
	/* whatever it was, a reset mends it */
	subject_reset(x);
	require(guest_start(&x->g, GUEST_VERSION_1, 1, 8));
	require(guest_blk(&x->g, VIRTIO_BLK_T_IN, 1, GUEST_DATA, 512) == VIRTIO_BLK_S_OK);
	subject_reset(x);
	require(to_vdev(x->dev)->inflight == 0);
	fuzz_rings(x->dev);
	fake_log_clear();
	return 0;
}
