/*
 * t_virtio - status, features, the shaping of queues, kicks and snapshots, on both transports
 *
 * virtio-blk is the device.  What stands in the rings is t_vring's.
 */
#include <linux/virtio_blk.h>
#include <linux/virtio_mmio.h>

#include "contract.h"
#include "devices.h"
#include "suite.h"

#define ALL_RINGS (GUEST_VERSION_1 | GUEST_EVENT_IDX | GUEST_INDIRECT_F)

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
	/* a driver may give a queue back before DRIVER_OK */
	ck_assert(guest_queue(g, 0, 8));
	guest_write(g, REG_Q_READY, 0);
	ck_assert_uint_eq(state_of(x)->vq[0].ready, x->wiring == WIRE_PCI);
	guest_queue(g, 0, 8);
	/* once ready, and once live */
	ck_assert_uint_eq(state_of(x)->vq[0].ready, 1);
	before = state_of(x)->vq[0];
	write_all_queue_registers(g, 16);
	ck_assert_mem_eq(&before, &state_of(x)->vq[0], sizeof(before));
	guest_driver_ok(g);
	write_all_queue_registers(g, 4);
	write_all_queue_registers(g, 0x8000);
	guest_write(g, REG_Q_SEL, 0);
	guest_write(g, REG_Q_READY, 0);
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

START_TEST(rings_in_memory)
{
	struct subject *x = subject_new(&wires[_i]);
	struct guest *g = &x->g;

	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		guest_reset(g);
		guest_negotiate(g, GUEST_VERSION_1);
		guest_queue_at(g, places[i].desc, places[i].avail, places[i].used);
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

/* --- kicks --- */

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

/* the driver of virtio-mmio reads a page and acknowledges to nobody; but a new configuration only
 * once */
START_TEST(interrupts_without_an_exit)
{
	struct subject *x = subject_new(&wires[0]);
	unsigned acks = 0, rises;

	x->f->catch_kicks = true;
	fake_dev_free(x->f, x->dev);
	memset(&x->f->bus, 0, sizeof(x->f->bus)); /* it keeps what was there */
	x->dev = subject_twin(x);
	ck_assert(guest_start(&x->g, GUEST_VERSION_1, 1, 8));
	check_serves(x);
	ck_assert_uint_eq(guest_ack(&x->g), VIRTIO_MMIO_INT_VRING);
	rises = x->f->rises[CONTRACT_GSI];
	check_serves(x); /* each interrupt is an edge of its own, acknowledged or not */
	check_serves(x);
	ck_assert_uint_eq(x->f->rises[CONTRACT_GSI], rises + 2);
	dev_lock(x->dev);
	vdev_config_changed(to_vdev(x->dev));
	dev_unlock(x->dev);
	ck_assert_uint_eq(guest_read(&x->g, REG_GENERATION), 1);
	ck_assert_uint_eq(guest_ack(&x->g), VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG);
	ck_assert_uint_eq(guest_ack(&x->g), VIRTIO_MMIO_INT_VRING);
	for (unsigned i = 0; i < x->f->kicks; i++)
		acks += x->f->kick[i].addr == GUEST_MMIO + VIRTIO_MMIO_INTERRUPT_ACK &&
			x->f->kick[i].matched && x->f->kick[i].match == VIRTIO_MMIO_INT_VRING;
	ck_assert_uint_eq(acks, 1);
	guest_reset(&x->g);
	ck_assert_uint_eq(guest_ack(&x->g), 0);
	subject_free(x);
}
END_TEST

int main(void)
{
	const int n = ARRAY_SIZE(wires);
	Suite *s = suite_create("virtio");
	TCase *t = tcase_create("virtio");

	blk_script_disk.queues = 1;
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, status_one_step_at_a_time, 0, n);
	tcase_add_loop_test(t, features_are_agreed_upon_once, 0, n);
	tcase_add_loop_test(t, features_in_a_snapshot, 0, n);
	tcase_add_loop_test(t, queues_are_frozen, 0, n);
	tcase_add_loop_test(t, queues_made_ready_too_late, 0, n);
	tcase_add_loop_test(t, queues_that_are_not_there, 0, n);
	tcase_add_loop_test(t, rings_in_memory, 0, n);
	tcase_add_loop_test(t, snapshots_that_cannot_be, 0, n);
	tcase_add_loop_test(t, rings_moved_by_a_snapshot, 0, n);
	tcase_add_loop_test(t, kicks_without_an_exit, 0, n);
	tcase_add_test(t, interrupts_without_an_exit);
	suite_add_tcase(s, t);
	return suite_run(s);
}
