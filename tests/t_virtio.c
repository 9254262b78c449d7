/*
 * t_virtio - the rules of virtio, on both transports, with virtio-blk as the device
 */
#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>
#include <signal.h>
#include <sys/mman.h>

#include "contract.h"
#include "devices.h"
#include "suite.h"

#define ALL_RINGS    (GUEST_VERSION_1 | GUEST_EVENT_IDX | GUEST_INDIRECT_F)
#define NEXT	     VRING_DESC_F_NEXT
#define WRITE	     VRING_DESC_F_WRITE
#define INDIRECT     VRING_DESC_F_INDIRECT
#define SECOND_TABLE (GUEST_INDIRECT + 0x800)
#define LAST	     (FAKE_LOW_END - 1) /* last byte of low memory */

static const struct contract_case wires[] = { { &blk_type, WIRE_MMIO }, { &blk_type, WIRE_PCI } };

static struct vdev_state *state_of(struct subject *x)
{
	return &to_vdev(x->dev)->s;
}

static void check_serves(struct subject *x)
{
	ck_assert_uint_eq(guest_blk(&x->g, VIRTIO_BLK_T_IN, 1, GUEST_DATA, 512), VIRTIO_BLK_S_OK);
}

/* --- status and features --- */

START_TEST(status_one_step_at_a_time)
{
	struct subject *x = subject_new(&wires[_i]);
	struct guest *g = &x->g;

	ck_assert_uint_eq(guest_read(g, REG_STATUS), 0);
	guest_write(g, REG_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	ck_assert_uint_eq(guest_read(g, REG_STATUS), 1);
	guest_write(g, REG_STATUS, 3);
	ck_assert_uint_eq(guest_read(g, REG_STATUS), 3);
	guest_write(g, REG_STATUS, 3 | VIRTIO_CONFIG_S_DRIVER_OK); /* before FEATURES_OK */
	ck_assert_uint_eq(guest_read(g, REG_STATUS), 3);
	guest_write(g, REG_STATUS, 3 | VIRTIO_CONFIG_S_FEATURES_OK); /* without VERSION_1 */
	ck_assert_uint_eq(guest_read(g, REG_STATUS), 3);
	guest_write(g, REG_STATUS, GUEST_STATUS_OK);
	ck_assert_uint_eq(guest_read(g, REG_STATUS), 3);
	guest_write(g, REG_STATUS, 1); /* only a reset takes a bit back */
	ck_assert_uint_eq(guest_read(g, REG_STATUS), 3);
	guest_write(g, REG_STATUS, 3 | VIRTIO_CONFIG_S_NEEDS_RESET | 0x30);
	ck_assert_uint_eq(guest_read(g, REG_STATUS), 3);
	guest_write(g, REG_STATUS, 3 | VIRTIO_CONFIG_S_FAILED);
	ck_assert_uint_eq(guest_read(g, REG_STATUS), 3 | VIRTIO_CONFIG_S_FAILED);
	guest_reset(g);
	ck_assert_uint_eq(guest_read(g, REG_STATUS), 0);
	ck_assert(guest_start(g, GUEST_VERSION_1, 1, 8));
	check_serves(x);
	subject_free(x);
}
END_TEST

START_TEST(features_are_agreed_upon_once)
{
	struct subject *x = subject_new(&wires[_i]);
	struct guest *g = &x->g;
	uint64_t offered = guest_offered(g);

	ck_assert_uint_eq(offered & ALL_RINGS, ALL_RINGS);
	guest_write(g, REG_FEATURES_SEL, 2);
	ck_assert_uint_eq(guest_read(g, REG_FEATURES), 0);
	guest_write(g, REG_DRIVER_SEL, 1); /* not before DRIVER */
	guest_write(g, REG_DRIVER_FEATURES, 1);
	ck_assert_uint_eq(state_of(x)->driver_features, 0);
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t f = GUEST_VERSION_1 | 1ULL << bit;

		guest_reset(g);
		ck_assert_msg(guest_negotiate(g, f) == !(f & ~offered), "feature %u", bit);
	}
	guest_reset(g);
	ck_assert(guest_negotiate(g, GUEST_VERSION_1));
	for (unsigned sel = 0; sel < 3; sel++) {
		guest_write(g, REG_DRIVER_SEL, sel);
		guest_write(g, REG_DRIVER_FEATURES, UINT32_MAX);
		ck_assert_uint_eq(state_of(x)->driver_features, GUEST_VERSION_1);
	}
	subject_free(x);
}
END_TEST

/* features that are not offered, written and not yet refused: the machine can still be saved */
START_TEST(features_in_a_snapshot)
{
	static _Alignas(8) char tree[CONTRACT_TREE];
	struct subject *x = subject_new(&wires[_i]), *y;
	struct guest *g = &x->g;
	int n;

	guest_write(g, REG_STATUS, 1);
	guest_write(g, REG_STATUS, 3);
	guest_write(g, REG_DRIVER_SEL, 0);
	guest_write(g, REG_DRIVER_FEATURES, UINT32_MAX);
	n = fake_save(x->f, tree, sizeof(tree));
	y = subject_clone(x, tree, (size_t)n);
	guest_write(&y->g, REG_STATUS, 3 | VIRTIO_CONFIG_S_FEATURES_OK);
	ck_assert_uint_eq(guest_read(&y->g, REG_STATUS), 3);
	subject_free(y);
	/* agreed upon they cannot have been */
	ck_assert(guest_start(g, GUEST_VERSION_1, 1, 8));
	state_of(x)->driver_features |= 1ULL << 40;
	n = fake_save(x->f, tree, sizeof(tree));
	ck_assert_int_eq(fake_load(x->f, tree, (size_t)n), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err_last(), "0x10000000000"));
	subject_free(x);
}
END_TEST

/* --- shaping queues --- */

static void write_all_queue_registers(struct guest *g, uint32_t v)
{
	for (unsigned reg = REG_Q_SIZE; reg <= REG_USED_HIGH; reg++)
		guest_write(g, reg, reg == REG_Q_READY ? 1 : v);
}

/* a size that changes under a live ring was an out-of-bounds write elsewhere */
START_TEST(queues_are_frozen)
{
	struct subject *x = subject_new(&wires[_i]);
	struct guest *g = &x->g;
	struct vq_state before;

	/* before FEATURES_OK nothing moves */
	before = state_of(x)->vq[0];
	write_all_queue_registers(g, 4);
	ck_assert_mem_eq(&before, &state_of(x)->vq[0], sizeof(before));
	guest_negotiate(g, GUEST_VERSION_1);
	/* sizes that are none */
	guest_write(g, REG_Q_SEL, 0);
	for (unsigned i = 0; i < 6; i++) {
		static const uint32_t bad[] = { 0, 3, 257, 512, 0x10008, UINT32_MAX };

		guest_write(g, REG_Q_SIZE, bad[i]);
		ck_assert(state_of(x)->vq[0].size == 256 || (x->wiring == WIRE_PCI && i == 4));
		guest_write(g, REG_Q_SIZE, 256);
	}
	/* once ready, and once live */
	ck_assert(guest_queue(g, 0, 8));
	before = state_of(x)->vq[0];
	write_all_queue_registers(g, 16);
	ck_assert_mem_eq(&before, &state_of(x)->vq[0], sizeof(before));
	guest_driver_ok(g);
	write_all_queue_registers(g, 4);
	write_all_queue_registers(g, 0x8000);
	ck_assert_mem_eq(&before, &state_of(x)->vq[0], sizeof(before));
	check_serves(x);
	subject_free(x);
}
END_TEST

START_TEST(queues_made_ready_too_late)
{
	struct subject *x = subject_new(&wires[_i]);
	struct guest *g = &x->g;

	guest_negotiate(g, GUEST_VERSION_1);
	guest_driver_ok(g);
	ck_assert(!guest_queue(g, 0, 8));
	guest_blk_add(g, 0, VIRTIO_BLK_T_IN, 0, GUEST_DATA, 512);
	guest_kick(g, 0);
	fake_settle(x->f);
	ck_assert_uint_eq(guest_used_idx(g, 0), 0);
	ck_assert(guest_start(g, GUEST_VERSION_1, 1, 8));
	check_serves(x);
	subject_free(x);
}
END_TEST

START_TEST(queues_that_are_not_there)
{
	static const uint32_t no[] = { 1, 17, 18, 255, 256, 0xffff, 0x7fffffff, 0xffffffff };
	struct subject *x = subject_new(&wires[_i]);
	struct guest *g = &x->g;

	guest_negotiate(g, GUEST_VERSION_1);
	for (unsigned i = 0; i < ARRAY_SIZE(no); i++) {
		guest_write(g, REG_Q_SEL, no[i]);
		ck_assert_uint_eq(guest_read(g, REG_Q_SIZE), 0);
		ck_assert_uint_eq(guest_read(g, REG_Q_READY), 0);
		write_all_queue_registers(g, 8);
		ck_assert_uint_eq(guest_read(g, REG_Q_READY), 0);
		if (x->wiring == WIRE_MMIO)
			bus_write(&x->f->bus, BUS_MMIO, g->notify, 4, no[i]);
		else if (no[i] < 0x400)
			bus_write(&x->f->bus, BUS_MMIO, g->notify + no[i] * 4, 2, no[i]);
	}
	fake_settle(x->f);
	ck_assert(!guest_is_broken(g));
	ck_assert(guest_start(g, GUEST_VERSION_1, 1, 8));
	check_serves(x);
	subject_free(x);
}
END_TEST

/* where rings of 8 entries (128, 22 and 70 bytes) may lie, and where not */
static const struct {
	const char *what;
	gpa_t desc, avail, used;
	bool good;
} places[] = {
	{ "as they should be", 0x1000, 0x2000, 0x3000, true },
	{ "descriptors not aligned", 0x1008, 0x2000, 0x3000, false },
	{ "available ring not aligned", 0x1000, 0x2001, 0x3000, false },
	{ "used ring not aligned", 0x1000, 0x2000, 0x3002, false },
	{ "all just inside", FAKE_LOW_END - 128, FAKE_HIGH_END - 22, FAKE_HIGH_END - 100, true },
	{ "descriptors end outside", FAKE_LOW_END - 112, 0x2000, 0x3000, false },
	{ "available ring ends outside", 0x1000, FAKE_LOW_END - 20, 0x3000, false },
	{ "used ring ends outside", 0x1000, 0x2000, FAKE_LOW_END - 68, false },
	{ "descriptors in the hole", FAKE_LOW_END, 0x2000, 0x3000, false },
	{ "available ring behind memory", 0x1000, FAKE_HIGH_END, 0x3000, false },
	{ "used ring at the end of addresses", 0x1000, 0x2000, UINT64_MAX - 3, false },
	{ "descriptors wrap around", UINT64_MAX - 15, 0x2000, 0x3000, false },
	{ "available ring wraps around", 0x1000, UINT64_MAX - 1, 0x3000, false },
	{ "high half set", 0x1000 | 1ULL << 32, 0x2000, 0x3000, false },
	{ "across two slots", FAKE_HIGH + FAKE_HIGH_SLOT - 64, 0x2000, 0x3000, true },
};

static void place_rings(struct guest *g, gpa_t desc, gpa_t avail, gpa_t used)
{
	const gpa_t at[3] = { desc, avail, used };

	guest_write(g, REG_Q_SEL, 0);
	guest_write(g, REG_Q_SIZE, 8);
	for (unsigned i = 0; i < 3; i++) {
		guest_write(g, REG_DESC_LOW + 2 * i, (uint32_t)at[i]);
		guest_write(g, REG_DESC_HIGH + 2 * i, (uint32_t)(at[i] >> 32));
	}
	guest_write(g, REG_Q_READY, 1);
}

START_TEST(rings_in_memory)
{
	struct subject *x = subject_new(&wires[_i]);
	struct guest *g = &x->g;

	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		guest_reset(g);
		guest_negotiate(g, GUEST_VERSION_1);
		place_rings(g, places[i].desc, places[i].avail, places[i].used);
		ck_assert_msg(guest_is_broken(g) == !places[i].good, "%s", places[i].what);
		ck_assert_uint_eq(guest_read(g, REG_Q_READY), places[i].good);
		if (!places[i].good)
			continue;
		g->q[0] = (struct guest_queue){
			8, places[i].desc, places[i].avail, places[i].used, 0, 0, 0
		};
		fake_fill(x->f, places[i].avail, 0, 22);
		fake_fill(x->f, places[i].used, 0, 70);
		guest_driver_ok(g);
		for (unsigned n = 0; n < 20; n++)
			check_serves(x);
		ck_assert_uint_eq(guest_used_idx(g, 0), 20);
	}
	subject_free(x);
}
END_TEST

/* --- chains --- */

static const struct vring_desc hdr = { GUEST_HDR, 16, NEXT, 1 };

#define BODY(a, l, f, n)           \
	{                          \
		(a), (l), (f), (n) \
	}
#define DATA(n)                                    \
	{                                          \
		GUEST_DATA, 512, WRITE | NEXT, (n) \
	}
#define DONE                              \
	{                                 \
		GUEST_STATUS, 1, WRITE, 0 \
	}
#define TABLE(bytes, f)                                    \
	{                                                  \
		GUEST_INDIRECT, (bytes), INDIRECT | (f), 1 \
	}

/* a read of one sector: what is in the ring of 8 descriptors, and in the indirect table */
static const struct chain {
	const char *what;
	bool good;
	struct vring_desc d[5], table[5];
	uint16_t head;
} chains[] = {
	{ "plain", true, { hdr, DATA(2), DONE }, { { 0 } }, 0 },
	{ "by another head", true, { DONE, { 0 }, { GUEST_HDR, 16, NEXT, 3 }, DATA(0) }, {}, 2 },
	{ "empty ones between", true, { hdr, BODY(0, 0, NEXT, 2), DATA(3), DONE }, {}, 0 },
	{ "an empty one outside memory",
	  true,
	  { hdr, BODY(UINT64_MAX, 0, NEXT, 2), DATA(3), DONE },
	  {},
	  0 },
	{ "data at the end of memory",
	  true,
	  { hdr, BODY(FAKE_LOW_END - 512, 512, WRITE | NEXT, 2), DONE },
	  {},
	  0 },
	{ "status in the last byte", true, { hdr, DATA(2), BODY(LAST, 1, WRITE, 0) }, {}, 0 },
	{ "data across two slots",
	  true,
	  { hdr, BODY(FAKE_HIGH + FAKE_HIGH_SLOT - 1, 512, WRITE | NEXT, 2), DONE },
	  {},
	  0 },
	{ "status at the end of data", true, { hdr, BODY(GUEST_DATA, 513, WRITE, 0) }, {}, 0 },
	{ "indirect", true, { TABLE(48, 0) }, { hdr, DATA(2), DONE }, 0 },
	{ "indirect, WRITE set and to be ignored",
	  true,
	  { TABLE(48, WRITE) },
	  { hdr, DATA(2), DONE },
	  0 },
	{ "indirect behind a direct one", true, { hdr, TABLE(32, 0) }, { DATA(1), DONE }, 0 },

	{ "head outside the ring", false, { hdr, DATA(2), DONE }, {}, 9 },
	{ "head far outside the ring", false, { hdr, DATA(2), DONE }, {}, 0xffff },
	{ "next outside the ring", false, { hdr, DATA(8), DONE }, {}, 0 },
	{ "next far outside the ring", false, { hdr, DATA(0xffff), DONE }, {}, 0 },
	{ "a loop of one", false, { hdr, DATA(1), DONE }, {}, 0 },
	{ "a loop of two", false, { hdr, BODY(GUEST_DATA, 0, NEXT, 0), DONE }, {}, 0 },
	{ "a loop of nothing", false, { BODY(0, 0, NEXT, 1), BODY(0, 0, NEXT, 0) }, {}, 0 },
	{ "to read behind to write",
	  false,
	  { DATA(1), BODY(GUEST_HDR, 16, NEXT, 2), DONE },
	  {},
	  0 },
	{ "nothing to write", false, { hdr, BODY(GUEST_DATA, 512, 0, 0) }, {}, 0 },
	{ "nothing at all", false, { BODY(GUEST_HDR, 0, 0, 0) }, {}, 0 },
	{ "status one byte too far", false, { hdr, DATA(2), BODY(LAST + 1, 1, WRITE, 0) }, {}, 0 },
	{ "data into the hole", false, { hdr, BODY(LAST, 2, WRITE | NEXT, 2), DONE }, {}, 0 },
	{ "data past the end of memory",
	  false,
	  { hdr, BODY(FAKE_HIGH_END - 511, 512, WRITE | NEXT, 2), DONE },
	  {},
	  0 },
	{ "data that wraps around",
	  false,
	  { hdr, BODY(UINT64_MAX - 511, 512, WRITE | NEXT, 2), DONE },
	  {},
	  0 },
	{ "data that wraps to valid memory",
	  false,
	  { hdr, BODY(UINT64_MAX - 255, 512, WRITE | NEXT, 2), DONE },
	  {},
	  0 },
	{ "4 GiB less one byte",
	  false,
	  { hdr, BODY(GUEST_DATA, UINT32_MAX, WRITE | NEXT, 2), DONE },
	  {},
	  0 },
	{ "indirect and NEXT", false, { TABLE(48, NEXT), DONE }, { hdr, DATA(2), DONE }, 0 },
	{ "indirect in indirect, without end",
	  false,
	  { TABLE(48, 0) },
	  { hdr, TABLE(48, 0), DONE },
	  0 },
	{ "indirect in indirect",
	  false,
	  { TABLE(32, 0) },
	  { hdr, BODY(SECOND_TABLE, 32, INDIRECT, 0) },
	  0 },
	{ "an indirect table of nothing", false, { TABLE(0, 0) }, { hdr, DATA(2), DONE }, 0 },
	{ "an indirect table of 47 bytes", false, { TABLE(47, 0) }, { hdr, DATA(2), DONE }, 0 },
	{ "an indirect table of 4 GiB",
	  false,
	  { TABLE(0xfffffff0, 0) },
	  { hdr, DATA(2), DONE },
	  0 },
	{ "next outside the indirect table", false, { TABLE(32, 0) }, { hdr, DATA(2), DONE }, 0 },
	{ "next far outside the indirect table",
	  false,
	  { TABLE(48, 0) },
	  { { GUEST_HDR, 16, NEXT, 3 }, DATA(2), DONE, DONE },
	  0 },
	{ "a loop in the indirect table", false, { TABLE(48, 0) }, { hdr, DATA(1), DONE }, 0 },
	{ "an indirect table outside memory",
	  false,
	  { BODY(FAKE_LOW_END, 48, INDIRECT, 0) },
	  {},
	  0 },
	{ "an indirect table that ends outside",
	  false,
	  { BODY(FAKE_LOW_END - 32, 64, INDIRECT, 0) },
	  {},
	  0 },
	{ "an indirect table that wraps around",
	  false,
	  { BODY(UINT64_MAX - 15, 48, INDIRECT, 0) },
	  {},
	  0 },
};

/* what would be served if an index was not checked lies behind the ring and behind the tables */
static void lay_chain(struct guest *g, const struct chain *c)
{
	guest_blk_header(g, GUEST_HDR, VIRTIO_BLK_T_IN, 3);
	fake_fill(g->f, GUEST_STATUS, 0xff, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(c->d); i++) {
		guest_desc(g, g->q[0].desc, i, c->d[i]);
		guest_desc(g, GUEST_INDIRECT, i, c->table[i]);
	}
	guest_desc(g, g->q[0].desc, 8, (struct vring_desc)DONE);
	guest_desc(g, g->q[0].desc, 9, hdr);
	guest_desc(g, SECOND_TABLE, 0, (struct vring_desc)DATA(1));
	guest_desc(g, SECOND_TABLE, 1, (struct vring_desc)DONE);
}

/* broken: it says so once in the log and by an interrupt, and touches nothing of the driver's */
static void check_broken(struct subject *x, const char *what)
{
	struct guest *g = &x->g;
	uint16_t used = guest_used_idx(g, 0);

	ck_assert_msg(guest_is_broken(g), "%s is served", what);
	ck_assert_msg(x->f->level[CONTRACT_GSI], "%s: no interrupt", what);
	ck_assert_msg(guest_ack(g) & VIRTIO_PCI_ISR_CONFIG, "%s: no configuration interrupt", what);
	ck_assert(!x->f->level[CONTRACT_GSI]);
	ck_assert_msg(fake_log_lines("blk@0") == 1, "%s: %u lines", what, fake_log_lines("blk@0"));
	/* and stays silent, whatever comes */
	guest_publish(g, 0, 0);
	guest_kick(g, 0);
	fake_settle(x->f);
	ck_assert_uint_eq(guest_used_idx(g, 0), used);
	ck_assert_uint_eq(fake_log_lines("blk@0"), 1);
	ck_assert_uint_eq(guest_ack(g), 0);
	/* status bits do not bring it back */
	guest_write(g, REG_STATUS, GUEST_STATUS_OK);
	ck_assert(guest_is_broken(g));
}

START_TEST(chains_of_all_kinds)
{
	const struct contract_case *wire = &wires[_i / (int)ARRAY_SIZE(chains)];
	const struct chain *c = &chains[_i % (int)ARRAY_SIZE(chains)];
	struct subject *x = subject_new(wire);
	struct guest *g = &x->g;
	struct guest_used u;

	ck_assert(guest_start(g, GUEST_VERSION_1 | GUEST_INDIRECT_F, 1, 8));
	lay_chain(g, c);
	guest_publish(g, 0, c->head);
	guest_kick(g, 0);
	fake_settle(x->f);
	if (c->good) {
		ck_assert_msg(!guest_is_broken(g), "%s", c->what);
		ck_assert(guest_used(g, 0, &u));
		ck_assert_uint_eq(u.id, c->head);
		ck_assert_msg(u.len == 513, "%s: %u bytes", c->what, u.len);
		ck_assert_uint_eq(guest_ack(g), 1);
	} else {
		check_broken(x, c->what);
		ck_assert(!guest_used(g, 0, &u));
	}
	ck_assert(guest_start(g, GUEST_VERSION_1 | GUEST_INDIRECT_F, 1, 8));
	check_serves(x);
	subject_free(x);
}
END_TEST

START_TEST(indirect_has_to_be_negotiated)
{
	struct subject *x = subject_new(&wires[_i]);
	struct guest *g = &x->g;
	const struct guest_buf buf[] = { { GUEST_HDR, 16, false }, { GUEST_STATUS, 1, true } };

	ck_assert(guest_start(g, GUEST_VERSION_1, 1, 8));
	guest_blk_header(g, GUEST_HDR, VIRTIO_BLK_T_IN, 3);
	guest_add_indirect(g, 0, buf, 2);
	guest_kick(g, 0);
	fake_settle(x->f);
	check_broken(x, "indirect");
	subject_free(x);
}
END_TEST

/* as many pieces as a buffer takes, and one more */
START_TEST(long_chains)
{
	struct subject *x = subject_new(&wires[_i]);
	struct guest *g = &x->g;
	struct guest_buf buf[VQ_IOV_MAX + 1];

	for (unsigned n = VQ_IOV_MAX; n <= VQ_IOV_MAX + 1; n++) {
		ck_assert(guest_start(g, GUEST_VERSION_1 | GUEST_INDIRECT_F, 1, 256));
		guest_blk_header(g, GUEST_HDR, VIRTIO_BLK_T_IN, 0);
		buf[0] = (struct guest_buf){ GUEST_HDR, 16, false };
		for (unsigned i = 1; i < n; i++)
			buf[i] = (struct guest_buf){ GUEST_DATA + 4 * i, 4, true };
		buf[n - 1] = (struct guest_buf){ GUEST_STATUS, 1, true };
		for (unsigned indirect = 0; indirect < 2; indirect++) {
			if (indirect)
				guest_add_indirect(g, 0, buf, n);
			else
				guest_add(g, 0, buf, n);
			guest_kick(g, 0);
			fake_settle(x->f);
			ck_assert(guest_is_broken(g) == (n > VQ_IOV_MAX));
			if (n > VQ_IOV_MAX)
				ck_assert(
					guest_start(g, GUEST_VERSION_1 | GUEST_INDIRECT_F, 1, 256));
		}
	}
	subject_free(x);
}
END_TEST

START_TEST(available_index)
{
	static const struct {
		int ahead;
		bool good;
	} jumps[] = { { 1, 1 },	 { 8, 1 },	{ 9, 0 },      { 100, 0 },
		      { -1, 0 }, { 0x7fff, 0 }, { 0x8000, 0 }, { 0xffff, 0 } };

	for (unsigned i = 0; i < ARRAY_SIZE(jumps); i++) {
		struct subject *x = subject_new(&wires[_i]);
		struct guest *g = &x->g;

		ck_assert(guest_start(g, GUEST_VERSION_1, 1, 8));
		fake_log_clear();
		lay_chain(g, &chains[0]);
		check_serves(x);
		guest_ack(g);
		lay_chain(g, &chains[0]);
		for (unsigned k = 0; k < 8; k++)
			fake_poke16(x->f, g->q[0].avail + 4 + 2 * k, 0);
		fake_poke16(x->f, g->q[0].avail + 2, (uint16_t)(1 + jumps[i].ahead));
		guest_kick(g, 0);
		fake_settle(x->f);
		if (jumps[i].good)
			ck_assert_uint_eq(guest_used_idx(g, 0), 1 + jumps[i].ahead);
		else
			check_broken(x, "an index that jumps");
		subject_free(x);
	}
}
END_TEST

/* --- snapshots --- */

/* what a device with rings of its own would act upon, and no driver can have brought about */
START_TEST(snapshots_that_cannot_be)
{
	static _Alignas(8) char tree[CONTRACT_TREE];
	struct subject *x = subject_new(&wires[_i]);
	struct vdev_state good;

	ck_assert(guest_start(&x->g, GUEST_VERSION_1, 1, 8));
	good = *state_of(x);
	for (unsigned i = 0; i < 8; i++) {
		struct vdev_state *s = state_of(x);
		int n;

		switch (i) {
		case 0:
			s->vq[0].size = 0;
			break;
		case 1:
			s->vq[0].size = 3;
			break;
		case 2:
			s->vq[0].size = VQ_MAX + 1;
			break;
		case 3:
			s->vq[0].size = 2 * VQ_MAX;
			break;
		case 4:
			s->vq[0].ready = 2;
			break;
		case 5:
			s->status = 0x100;
			break;
		case 6:
			s->isr = 4;
			break;
		case 7:
			s->zero = 1;
			break;
		}
		n = fake_save(x->f, tree, sizeof(tree));
		*s = good;
		ck_assert_msg(fake_load(x->f, tree, (size_t)n), "case %u is taken", i);
		*s = good;
	}
	subject_free(x);
}
END_TEST

/* rings that were memory when the queue was made ready, and are none in the restored machine */
START_TEST(rings_moved_by_a_snapshot)
{
	static const gpa_t bad[] = { FAKE_LOW_END, FAKE_LOW_END - 8, 1, UINT64_MAX,
				     UINT64_MAX - 3 };
	struct subject *x = subject_new(&wires[_i]);

	for (unsigned i = 0; i < 3 * ARRAY_SIZE(bad); i++) {
		struct vq_state *s = &state_of(x)->vq[0];
		gpa_t *ring[] = { &s->desc, &s->avail, &s->used };

		ck_assert(guest_start(&x->g, GUEST_VERSION_1 | GUEST_EVENT_IDX, 1, 256));
		guest_blk_add(&x->g, 0, VIRTIO_BLK_T_IN, 0, GUEST_DATA, 512);
		*ring[i / ARRAY_SIZE(bad)] = bad[i % ARRAY_SIZE(bad)];
		guest_kick(&x->g, 0);
		fake_settle(x->f);
		/* whatever came of it, nothing was hurt */
		guest_reset(&x->g);
	}
	ck_assert(guest_start(&x->g, GUEST_VERSION_1, 1, 8));
	check_serves(x);
	subject_free(x);
}
END_TEST

/* --- who interrupts whom, and when --- */

static unsigned interrupts(struct subject *x)
{
	return x->f->rises[CONTRACT_GSI];
}

/* @n requests that are served at once, one kick: does an interrupt come? */
static bool batch_interrupts(struct subject *x, unsigned n)
{
	unsigned before = interrupts(x);
	struct guest *g = &x->g;

	for (unsigned i = 0; i < n; i++)
		guest_publish(g, 0, 0);
	guest_kick(g, 0);
	fake_turn(x->f);
	fake_turn(x->f);
	ck_assert_uint_eq(guest_used_idx(g, 0), g->q[0].next);
	guest_ack(g);
	return interrupts(x) != before;
}

static void start_batches(struct subject *x, uint64_t features)
{
	struct chain c = chains[0];

	ck_assert(guest_start(&x->g, features, 1, 256));
	lay_chain(&x->g, &c);
	guest_blk_header(&x->g, GUEST_HDR, VIRTIO_BLK_T_GET_ID, 0);
}

/* with EVENT_IDX: exactly when used.idx passes used_event, also where 65535 is followed by 0 */
START_TEST(used_event)
{
	struct subject *x = subject_new(&wires[_i]);
	struct guest *g = &x->g;
	uint32_t seed = 3;
	unsigned told = 0, batches = 0;

	start_batches(x, ALL_RINGS);
	for (unsigned total = 0; total < 140000; batches++) {
		unsigned n = fake_random(&seed) % 3 ? 1 + fake_random(&seed) % 4
						    : 1 + fake_random(&seed) % 256;
		uint16_t old = g->q[0].next, new = (uint16_t)(old + n);
		uint16_t event = (uint16_t)(old + fake_random(&seed) % 6 - 2);
		bool want = vring_need_event(event, new, old), got;

		guest_set_used_event(g, 0, event);
		got = batch_interrupts(x, n);
		if (want != got)
			ck_abort_msg("event %u, used index from %u to %u: %d", event, old, new,
				     got);
		if (guest_avail_event(g, 0) != new)
			ck_abort_msg("asks for a kick at %u, not %u", guest_avail_event(g, 0), new);
		told += got;
		total += n;
	}
	ck_assert_uint_gt(told, 1000);
	ck_assert_uint_gt(batches - told, 1000);
	subject_free(x);
}
END_TEST

START_TEST(no_interrupt_flag)
{
	struct subject *x = subject_new(&wires[_i]);
	struct guest *g = &x->g;

	start_batches(x, GUEST_VERSION_1);
	for (unsigned i = 0; i < 600; i++) {
		bool off = i % 3 == 1;

		fake_poke16(x->f, g->q[0].avail, off ? VRING_AVAIL_F_NO_INTERRUPT : 0);
		/* the other mechanism's word means nothing */
		guest_set_used_event(g, 0, (uint16_t)(g->q[0].next + 1000));
		ck_assert(batch_interrupts(x, 1 + i) == !off || i > 255);
		if (i == 255)
			break;
	}
	subject_free(x);
}
END_TEST

/* a driver that kicks only when asked loses nothing */
START_TEST(avail_event)
{
	struct subject *x = subject_new(&wires[_i]);
	struct guest *g = &x->g;
	unsigned kicks = 0;

	start_batches(x, ALL_RINGS);
	for (unsigned i = 0; i < 2000; i++) {
		uint16_t old = g->q[0].next;

		guest_publish(g, 0, 0);
		if (guest_wants_kick(g, 0, old)) {
			guest_kick(g, 0);
			kicks++;
		}
		if (i % 7 == 0)
			fake_settle(x->f);
	}
	fake_settle(x->f);
	ck_assert_uint_eq(guest_used_idx(g, 0), 2000);
	ck_assert_uint_gt(kicks, 100);
	ck_assert_uint_lt(kicks, 1500);
	subject_free(x);
}
END_TEST

/*
 * The order of stores, seen from another CPU: element and status before the
 * used index.  Their pages are write-protected; the fault looks at the index.
 */
static struct {
	uint8_t *page;
	const uint16_t *idx;
	unsigned faults;
	bool early;
} watch;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	uint8_t *at = info->si_addr;

	(void)context;
	if (at < watch.page || at >= watch.page + GMEM_PAGE) {
		signal(sig, SIG_DFL); /* not ours: again, and for good */
		return;
	}
	watch.faults++;
	watch.early |= *watch.idx != 0;
	mprotect(watch.page, GMEM_PAGE, PROT_READ | PROT_WRITE);
}

static void *host_of(struct subject *x, gpa_t gpa)
{
	struct iovec iov;

	ck_assert_int_eq(gmem_iov(&x->f->mem, gpa, 1, &iov, 1), 1);
	return iov.iov_base;
}

START_TEST(used_index_comes_last)
{
	const struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	const gpa_t used = 0x3000 - 4, protect[] = { 0x3000, GUEST_STATUS & ~(GMEM_PAGE - 1) };
	struct subject *x = subject_new(&wires[_i]);
	struct guest *g = &x->g;

	sigaction(SIGSEGV, &sa, NULL);
	for (unsigned i = 0; i < 2; i++) {
		guest_reset(g);
		guest_negotiate(g, GUEST_VERSION_1);
		place_rings(g, 0x1000, 0x2000, used);
		g->q[0] = (struct guest_queue){
			.size = 8, .desc = 0x1000, .avail = 0x2000, .used = used
		};
		fake_fill(x->f, 0x2000, 0, 22);
		fake_fill(x->f, used, 0, 70);
		guest_driver_ok(g);
		guest_blk_add(g, 0, VIRTIO_BLK_T_GET_ID, 0, GUEST_DATA, 20);
		watch.page = host_of(x, protect[i]);
		watch.idx = host_of(x, used + 2);
		watch.faults = 0;
		ck_assert_int_eq(mprotect(watch.page, GMEM_PAGE, PROT_READ), 0);
		guest_kick(g, 0);
		fake_settle(x->f);
		ck_assert_uint_eq(guest_used_idx(g, 0), 1);
		ck_assert_uint_eq(watch.faults, 1);
		ck_assert(!watch.early);
	}
	subject_free(x);
}
END_TEST

/* KVM catches kicks: by value on mmio, by address on PCI; all of them are given back */
START_TEST(kicks_without_an_exit)
{
	struct subject *x = subject_new(&wires[_i]);

	/* known from the start */
	x->f->catch_kicks = true;
	subject_reset(x);
	if (x->wiring == WIRE_PCI) {
		ck_assert_uint_eq(x->f->kicks, 1);
		ck_assert_uint_eq(x->f->kick[0].addr, x->g.notify);
		ck_assert_uint_eq(x->f->kick[0].len, 0);
		ck_assert(!x->f->kick[0].matched);
	}
	ck_assert(guest_start(&x->g, GUEST_VERSION_1, 1, 8));
	check_serves(x);
	fake_dev_free(x->f, x->dev);
	ck_assert_uint_eq(x->f->kicks, 0);
	subject_free(x);
}
END_TEST

/* --- a guest that adds for ever must not keep the loop --- */

static void on_timer(void *arg)
{
	*(bool *)arg = true;
}

static bool is_set(void *arg)
{
	return *(bool *)arg;
}

/*
 * Another vCPU that adds as fast as the device serves, without the race: the
 * two rings are one, so that each used index makes a request available.
 */
START_TEST(a_flood_of_requests)
{
	struct subject *x = subject_new(&wires[_i]);
	struct guest *g = &x->g;
	bool fired = false;
	struct loop_timer timer = { .fn = on_timer, .arg = &fired };

	guest_negotiate(g, GUEST_VERSION_1 | GUEST_INDIRECT_F);
	g->q[0] =
		(struct guest_queue){ .size = 8, .desc = 0x1000, .avail = 0x2000, .used = 0x2000 };
	place_rings(g, 0x1000, 0x2000, 0x2000);
	guest_driver_ok(g);
	ck_assert(guest_is_live(g));
	fake_settle(x->f);
	guest_blk_header(g, GUEST_HDR, 0x1234, 0);
	for (unsigned i = 0; i < 8; i++)
		guest_desc(g, 0x1000, i, (struct vring_desc)TABLE(32, 0));
	guest_desc(g, GUEST_INDIRECT, 0, hdr);
	guest_desc(g, GUEST_INDIRECT, 1, (struct vring_desc)DONE);
	state_of(x)->vq[0].next_used = 4; /* ahead, as a driver that is quicker would be */
	fake_poke16(x->f, 0x2002, 4);
	guest_kick(g, 0);
	loop_timer_set(x->f->m.loop, &timer, now_ns() + 50000000);
	ck_assert_int_eq(loop_until(x->f->m.loop, is_set, &fired, 5000000000), 0);
	ck_assert_uint_gt(state_of(x)->vq[0].next_avail, 300);
	guest_reset(g);
	subject_free(x);
}
END_TEST

int main(void)
{
	const int n = ARRAY_SIZE(wires);
	Suite *s = suite_create("virtio");
	TCase *t = tcase_create("virtio");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, status_one_step_at_a_time, 0, n);
	tcase_add_loop_test(t, features_are_agreed_upon_once, 0, n);
	tcase_add_loop_test(t, features_in_a_snapshot, 0, n);
	tcase_add_loop_test(t, queues_are_frozen, 0, n);
	tcase_add_loop_test(t, queues_made_ready_too_late, 0, n);
	tcase_add_loop_test(t, queues_that_are_not_there, 0, n);
	tcase_add_loop_test(t, rings_in_memory, 0, n);
	tcase_add_loop_test(t, chains_of_all_kinds, 0, n * (int)ARRAY_SIZE(chains));
	tcase_add_loop_test(t, indirect_has_to_be_negotiated, 0, n);
	tcase_add_loop_test(t, long_chains, 0, n);
	tcase_add_loop_test(t, available_index, 0, n);
	tcase_add_loop_test(t, snapshots_that_cannot_be, 0, n);
	tcase_add_loop_test(t, rings_moved_by_a_snapshot, 0, n);
	tcase_add_loop_test(t, used_event, 0, n);
	tcase_add_loop_test(t, no_interrupt_flag, 0, n);
	tcase_add_loop_test(t, avail_event, 0, n);
	tcase_add_loop_test(t, used_index_comes_last, 0, n);
	tcase_add_loop_test(t, kicks_without_an_exit, 0, n);
	tcase_add_loop_test(t, a_flood_of_requests, 0, n);
	suite_add_tcase(s, t);
	return suite_run(s);
}
