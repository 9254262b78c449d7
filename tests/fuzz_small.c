/*
 * fuzz_small - a driver made of the input's bytes, against rng, balloon and console
 *
 * The first byte chooses the device and the transport.  Then each byte is one
 * operation with the bytes behind it as operands, as in fuzz_virtio; those of
 * the host are among them: typing, a new size, a drain, a pool that is empty.
 */
#include <linux/virtio_balloon.h>
#include <unistd.h>

#include "contract.h"
#include "devices.h"
#include "fuzz_input.h"

static gpa_t address(struct input *in)
{
	static const gpa_t places[] = { GUEST_DATA,	GUEST_DATA + 0x2000, FAKE_HIGH,
					GUEST_INDIRECT, GUEST_DESC,	     FAKE_HIGH + 0x3000,
					GUEST_USED,	FAKE_LOW_END - 16,   FAKE_HIGH_END - 512 };
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

/* what the device in question understands */
static void request(struct subject *x, struct input *in, unsigned q)
{
	unsigned n = 1 + byte(in) % 3;
	struct guest_buf buf[3];

	for (unsigned i = 0; i < 8; i++) { /* page numbers, tags, text */
		uint32_t v = byte(in) & 128 ? (uint32_t)number(in) : 0x100U + byte(in) % 9;

		fake_poke(x->f, GUEST_DATA + 4 * i, &v, sizeof(v));
	}
	for (unsigned i = 0; i < n; i++)
		buf[i] = (struct guest_buf){ address(in), (uint32_t)number(in), byte(in) & 1 };
	if (x->g.q[q].size >= n)
		guest_add(&x->g, q, buf, n);
}

/* something happens on the host */
static void host(struct subject *x, struct input *in)
{
	static const char *const sizes[] = { "80x25", "100x30", "", "1x1" };
	uint8_t how = byte(in);
	struct conf_balloon conf = { number(in) * GMEM_PAGE, true, true, how % 3 };
	ssize_t n = 0;

	if (x->dev->type == &console_type) {
		if (how & 1)
			n = write(x->input[1], "typed by the host", how / 16U);
		else
			require(!dev_configure(x->dev, sizes[how / 2 % 4]));
	} else if (x->dev->type == &balloon_type) {
		require(!dev_configure(x->dev, &conf));
	} else {
		fake_pool.fail = how & 1 ? EAGAIN : 0;
		fake_pool.most = how / 2;
	}
	(void)n; /* the pipe may be full */
}

static void start(struct subject *x, uint8_t op)
{
	uint64_t features = GUEST_VERSION_1 | (op & 16 ? GUEST_INDIRECT_F : 0) |
			    (op & 32 ? GUEST_EVENT_IDX : 0);

	if (x->dev->type == &balloon_type && op & 64)
		features |= 1ULL << VIRTIO_BALLOON_F_REPORTING;
	if (x->dev->type == &balloon_type && op & 128)
		features |= 1ULL << VIRTIO_BALLOON_F_STATS_VQ;
	guest_start(&x->g, features,
		    x->dev->type == &balloon_type ? 2U + (op >> 7) + (op >> 6 & 1)
						  : to_vdev(x->dev)->s.nvq,
		    16);
}

static void operation(struct subject *x, struct input *in)
{
	struct guest *g = &x->g;
	uint8_t op = byte(in);
	unsigned q = (unsigned)(op >> 4) % 4;

	if (!g->q[q].size)
		q = 0;
	switch (op % 16) {
	case 0:
		start(x, op);
		return;
	case 1:
	case 2:
		guest_kick(g, q);
		fake_turn(x->f);
		return;
	case 3:
	case 4:
	case 5:
		request(x, in, q);
		guest_kick(g, q);
		return;
	case 6:
		guest_desc(g, g->q[q].desc, byte(in) % 20, desc(in));
		return;
	case 7:
		guest_desc(g, GUEST_INDIRECT, byte(in) % 20, desc(in));
		return;
	case 8:
		guest_publish(g, q, (uint16_t)(byte(in) % 20));
		return;
	case 9:
		guest_write(g, byte(in) % GUEST_REGS, (uint32_t)number(in));
		return;
	case 10:
		poke_register(x, in);
		return;
	case 11:
		fake_poke16(x->f, g->q[q].avail + byte(in) % 20 * 2U, (uint16_t)number(in));
		return;
	case 12:
		host(x, in);
		return;
	case 13:
		save_and_load(x);
		return;
	case 14:
		guest_ack(g);
		if (x->wiring == WIRE_PCI && op & 128)
			guest_msix(g, 1);
		return;
	case 15:
		fake_settle(x->f);
		return;
	}
}

/* so that there is a place to write to before the first start */
static void set_up_ring(struct guest *g)
{
	memset(g->q, 0, sizeof(g->q));
	g->q[0] = (struct guest_queue){
		.size = 16, .desc = GUEST_DESC, .avail = GUEST_AVAIL, .used = GUEST_USED
	};
}

/* whatever it was, a reset mends it */
static void check_mended(struct subject *x)
{
	static const uint8_t text[] = { 0, 1, 0, 0 }; /* page 0x100 */
	struct guest_used u;

	fake_pool.fail = 0;
	subject_reset(x);
	if (x->script->refill)
		x->script->refill(x);
	require(guest_start(&x->g, GUEST_VERSION_1, x->dev->type == &rng_type ? 1 : 2, 8));
	fake_poke(x->f, GUEST_DATA, text, sizeof(text));
	if (x->dev->type == &console_type)
		require(write(x->input[1], text, 1) == 1);
	guest_add(&x->g, 0, &(struct guest_buf){ GUEST_DATA, 4, x->dev->type != &balloon_type }, 1);
	guest_kick(&x->g, 0);
	for (unsigned i = 0; i < 6; i++)
		fake_settle(x->f);
	require(guest_used(&x->g, 0, &u));
	require(u.len == (x->dev->type == &console_type			 ? 1
			  : x->dev->type == &rng_type && !fake_pool.most ? 4
									 : u.len));
	subject_reset(x);
	require(to_vdev(x->dev)->inflight == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct contract_case wires[] = {
		{ &rng_type, WIRE_MMIO },     { &rng_type, WIRE_PCI },
		{ &balloon_type, WIRE_MMIO }, { &balloon_type, WIRE_PCI },
		{ &console_type, WIRE_MMIO }, { &console_type, WIRE_PCI },
	};
	static struct subject *subjects[ARRAY_SIZE(wires)];
	static uint8_t zero[FAKE_RAM];
	struct input in = { data, size };
	struct subject *x;
	unsigned wire = byte(&in) % ARRAY_SIZE(wires);

	if (!subjects[wire])
		subjects[wire] = subject_new(&wires[wire]);
	x = subjects[wire];
	if (x->output >= 0 && ftruncate(x->output, 0))
		return 0;
	set_up_ring(&x->g);
	fake_ram_set(x->f, zero);
	fake_mark(x->f);
	for (unsigned n = 0; in.left && n < 200; n++)
		operation(x, &in);
	if (fuzz_wants_rain(data, size))
		fuzz_rain(x, GUEST_VERSION_1 | GUEST_INDIRECT_F, x->dev->type == &rng_type ? 1 : 2,
			  fuzz_hash(data, size));
	fake_settle(x->f);
	fake_check_dirty(x->f);
	check_mended(x);
	fuzz_rings(x->dev);
	fake_log_clear();
	return 0;
}
