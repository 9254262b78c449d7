/*
 * fuzz_net - a driver and a peer made of the input's bytes, against virtio-net
 *
 * The first byte chooses the transport.  Then each byte is one operation with
 * the bytes behind it as operands: rings and their contents, registers, frames
 * and raw bytes from the other end, snapshots, limits, the cable.  A card whose
 * carrier was lost, or whose stream may be out of step, is replaced by a new one
 * for the next input; in any other a reset has to mend everything.
 */
#include <endian.h>
#include <linux/virtio_pci.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices.h"
#include "fuzz_input.h"
#include "net.h"
#include "net_peer.h"

static bool frames_sent, raw_sent; /* in this case: whole ones, bytes that may be half of one */

static gpa_t address(struct input *in)
{
	static const gpa_t places[] = { GUEST_HDR,	GUEST_DATA,	   0,
					GUEST_INDIRECT, GUEST_DESC,	   GUEST_AVAIL,
					GUEST_USED,	FAKE_LOW_END - 16, FAKE_HIGH_END - 512 };
	uint8_t how = byte(in);

	return how < 200 ? places[how % ARRAY_SIZE(places)] + how / 16 % 4 * 16 : number(in);
}

static uint32_t length(struct input *in)
{
	static const uint32_t lengths[] = { 11, 12, 13, 25, 26, 27, 128, 1526, 4096, 16384, 65574 };
	uint8_t how = byte(in);

	return how < 160 ? lengths[how % ARRAY_SIZE(lengths)] : (uint32_t)number(in);
}

static struct vring_desc desc(struct input *in)
{
	return (struct vring_desc){
		.addr = address(in),
		.len = length(in),
		.flags = byte(in) & 7,
		.next = (uint16_t)(byte(in) % 20),
	};
}

/* a chain of a few pieces, more often right than wrong */
static void chain(struct subject *x, struct input *in, unsigned q)
{
	uint8_t how = byte(in);
	struct guest_buf buf[4];
	unsigned n = 1 + how % 4;

	for (unsigned i = 0; i < n; i++)
		buf[i] = (struct guest_buf){ address(in), length(in),
					     (q == NET_RX) != (how >= 250 && i == how % n) };
	if (how & 16)
		guest_add_indirect(&x->g, q, buf, n);
	else
		guest_add(&x->g, q, buf, MIN(n, x->g.q[q].size));
}

static void header(struct subject *x, struct input *in)
{
	const struct virtio_net_hdr_v1 h = {
		.flags = byte(in),
		.gso_type = byte(in) % 6,
		.hdr_len = (uint16_t)word(in),
		.gso_size = (uint16_t)number(in),
		.csum_start = (uint16_t)number(in),
		.csum_offset = (uint16_t)number(in),
	};

	fake_poke(x->f, address(in) % (FAKE_LOW_END - sizeof(h)), &h, sizeof(h));
}

/* what the peer's socket does not take is not sent at all, so the stream stays in step */
static void peer_frame(struct subject *x, struct input *in)
{
	static const uint16_t lengths[] = { 14, 15, 60, 100, 1000, 1514, 9000, 65000 };
	static uint8_t zero[65536 + 4];
	uint32_t len = lengths[byte(in) % ARRAY_SIZE(lengths)], be = htobe32(len);

	memcpy(zero, &be, sizeof(be));
	frames_sent = true;
	if (net_peer(x)->fd < 0)
		return;
	if (send(net_peer(x)->fd, zero, len + 4, MSG_NOSIGNAL) != (ssize_t)len + 4)
		raw_sent = true;
}

static void peer_bytes(struct subject *x, struct input *in)
{
	uint8_t buf[64];
	unsigned n = byte(in) % sizeof(buf);

	for (unsigned i = 0; i < n; i++)
		buf[i] = byte(in);
	raw_sent = true;
	if (n && net_peer(x)->fd >= 0 && send(net_peer(x)->fd, buf, n, MSG_NOSIGNAL) < 0)
		return;
}

static void peer_reads(struct subject *x)
{
	static uint8_t buf[1 << 18];

	while (net_peer(x)->fd >= 0 && recv(net_peer(x)->fd, buf, sizeof(buf), 0) > 0)
		;
}

static void start(struct subject *x, uint8_t how)
{
	guest_start(&x->g,
		    NET_BASE | (how & 1 ? NET_F(MRG_RXBUF) : 0) | (how & 2 ? GUEST_INDIRECT_F : 0) |
			    (how & 4 ? GUEST_EVENT_IDX : 0),
		    2, 1U << (how >> 3) % 5);
}

static void configure(struct subject *x, uint8_t how)
{
	struct conf_net conf = net_peer(x)->conf;

	conf.link = !(how & 1);
	conf.pps = how & 2 ? how : 0;
	conf.bw = how & 4 ? how * 100U : 0;
	require(!dev_configure(x->dev, &conf));
}

static void operation(struct subject *x, struct input *in)
{
	struct guest *g = &x->g;
	uint8_t op = byte(in);
	unsigned q = op >> 4 & 1;

	switch (op % 16) {
	case 0:
		start(x, byte(in));
		return;
	case 1:
		guest_kick(g, q);
		fake_turn(x->f);
		return;
	case 2:
		chain(x, in, NET_RX);
		return;
	case 3:
		chain(x, in, NET_TX);
		return;
	case 4:
		guest_desc(g, op & 32 ? g->q[q].desc : GUEST_INDIRECT, byte(in) % 16, desc(in));
		return;
	case 5:
		guest_publish(g, q, (uint16_t)(byte(in) % 20));
		return;
	case 6:
		header(x, in);
		return;
	case 7:
	case 8:
		peer_frame(x, in);
		return;
	case 9:
		if (op >= 0xe0)
			peer_bytes(x, in);
		else
			fake_turn(x->f);
		return;
	case 10:
		guest_write(g, byte(in) % GUEST_REGS, (uint32_t)number(in));
		return;
	case 11:
		fake_poke16(x->f, g->q[q].avail + byte(in) % 20 * 2U, (uint16_t)number(in));
		return;
	case 12:
		poke_register(x, in);
		return;
	case 13:
		if (op & 0xc0)
			fake_turn(x->f);
		else
			save_and_load(x);
		return;
	case 14:
		configure(x, byte(in));
		return;
	case 15:
		peer_reads(x);
		fake_turn(x->f);
		return;
	}
}

/* so that there is a place to write to before the first start */
static void set_up_rings(struct guest *g)
{
	g->q[0] = (struct guest_queue){
		.size = 16, .desc = GUEST_DESC, .avail = GUEST_AVAIL, .used = GUEST_USED
	};
	g->q[1] = (struct guest_queue){ .size = 16,
					.desc = GUEST_RINGS,
					.avail = GUEST_RINGS + 0x100,
					.used = GUEST_RINGS + 0x180 };
}

/* whatever it was, a reset mends it: a frame goes out, and one comes in */
static void check_mended(struct subject *x, bool frames)
{
	const struct guest_buf b = { GUEST_DATA + 0x1000, 256, true };
	struct net *n = container_of(to_vdev(x->dev), struct net, v);
	uint8_t frame[64], got[64];
	struct guest_used u;

	subject_reset(x);
	require(!n->v.inflight);
	configure(x, 0);
	if (frames) { /* those that still wait go to nobody */
		configure(x, 1);
		start(x, 1 | 3 << 3);
		fake_settle(x->f);
		fake_settle(x->f);
		configure(x, 0);
	} else {
		start(x, 1 | 3 << 3);
	}
	peer_reads(x);
	fake_turn(x->f);
	peer_reads(x);
	net_fill(frame, sizeof(frame), 1);
	net_guest_send(&x->g, GUEST_DATA, NULL, frame, sizeof(frame));
	guest_kick(&x->g, NET_TX);
	guest_add(&x->g, NET_RX, &b, 1);
	guest_kick(&x->g, NET_RX);
	net_peer_send(x, frame, sizeof(frame));
	fake_settle(x->f);
	require(net_peer_recv(x, got, sizeof(got)) == sizeof(got));
	require(!memcmp(frame, got, sizeof(got)));
	require(guest_used(&x->g, NET_RX, &u) && u.len == NET_HDR + sizeof(frame));
	fake_peek(x->f, b.gpa + NET_HDR, got, sizeof(got));
	require(!memcmp(frame, got, sizeof(got)));
	subject_reset(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct contract_case wires[] = { { &net_type, WIRE_MMIO },
						      { &net_type, WIRE_PCI } };
	static struct subject *subjects[2];
	static uint8_t zero[FAKE_RAM];
	struct input in = { data, size };
	unsigned wire = byte(&in) & 1;
	struct subject *x;

	if (!subjects[wire]) {
		subjects[wire] = subject_new(&wires[wire]);
		net_peer_fd(subjects[wire]);
	}
	x = subjects[wire];
	frames_sent = raw_sent = false;
	set_up_rings(&x->g);
	fake_ram_set(x->f, zero);
	fake_mark(x->f);
	for (unsigned n = 0; in.left && n < 200; n++)
		operation(x, &in);
	if (fuzz_wants_rain(data, size)) {
		fuzz_rain(x, GUEST_VERSION_1 | GUEST_INDIRECT_F, 2, fuzz_hash(data, size));
		for (unsigned n = 0; n < 8; n++) { /* what came of it goes away */
			peer_reads(x);
			fake_turn(x->f);
		}
	}
	fake_settle(x->f);
	fake_check_dirty(x->f);
	require(!to_vdev(x->dev)->inflight);
	fuzz_rings(x->dev);
	if (!container_of(to_vdev(x->dev), struct net, v)->back || raw_sent) {
		subject_free(x);
		subjects[wire] = NULL;
	} else {
		check_mended(x, frames_sent);
	}
	fake_log_clear();
	return 0;
}
