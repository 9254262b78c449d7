/* t_rng - virtio-rng: how much is answered, a pool that is not ready, and guests that ask for all
 */
#include "contract.h"
#include "devices.h"
#include "suite.h"

#define RINGS	    (GUEST_VERSION_1 | GUEST_INDIRECT_F)
#define REQUEST_MAX (64U << 10)

static const struct contract_case wires[] = { { &rng_type, WIRE_MMIO }, { &rng_type, WIRE_PCI } };

static struct subject *new_rng(int i)
{
	struct subject *x = subject_new(&wires[i]);

	ck_assert(guest_start(&x->g, RINGS, 1, 256));
	return x;
}

/* the length of the next used buffer; it has to be there */
static uint32_t answered(struct subject *x)
{
	struct guest_used u;

	ck_assert(guest_used(&x->g, 0, &u));
	return u.len;
}

static void ask(struct subject *x, const struct guest_buf *buf, unsigned n)
{
	guest_add(&x->g, 0, buf, n);
	guest_kick(&x->g, 0);
	fake_settle(x->f);
}

static bool is_filled(struct subject *x, gpa_t at, size_t len, size_t from)
{
	for (size_t i = 0; i < len; i++)
		if (fake_peek8(x->f, at + i) != ((uint8_t)((from + i) * 7 + 1) | 1))
			return false;
	return true;
}

START_TEST(fills_what_is_asked_for)
{
	struct subject *x = new_rng(_i);

	fake_fill(x->f, GUEST_DATA, 0, 4096);
	fake_mark(x->f);
	ask(x, (struct guest_buf[]){ { GUEST_DATA + 5, 200, true } }, 1);
	ck_assert_uint_eq(answered(x), 200);
	ck_assert(is_filled(x, GUEST_DATA + 5, 200, 0));
	ck_assert_uint_eq(fake_peek8(x->f, GUEST_DATA + 4), 0);
	ck_assert_uint_eq(fake_peek8(x->f, GUEST_DATA + 205), 0);
	ck_assert_uint_ge(fake_check_dirty(x->f), 2);
	ck_assert_uint_eq(fake_counter(x->dev, "requests"), 1);
	ck_assert_uint_eq(fake_counter(x->dev, "bytes"), 200);
	subject_free(x);
}
END_TEST

/* in pieces, over the seam of two slots, behind something to read */
START_TEST(in_pieces)
{
	struct subject *x = new_rng(_i);

	fake_mark(x->f);
	ask(x,
	    (struct guest_buf[]){ { GUEST_HDR, 16, false },
				  { FAKE_HIGH + FAKE_HIGH_SLOT - 10, 20, true },
				  { GUEST_DATA, 7, true } },
	    3);
	ck_assert_uint_eq(answered(x), 27);
	ck_assert(is_filled(x, FAKE_HIGH + FAKE_HIGH_SLOT - 10, 10, 0));
	ck_assert(is_filled(x, FAKE_HIGH + FAKE_HIGH_SLOT, 10, 0)); /* each call begins anew */
	ck_assert(is_filled(x, GUEST_DATA, 7, 0));
	ck_assert_uint_ge(fake_check_dirty(x->f), 4);
	subject_free(x);
}
END_TEST

/* the same 16 KiB eight times over: 128 KiB, of which 64 are answered */
START_TEST(at_most_64k)
{
	struct subject *x = new_rng(_i);
	struct guest_buf buf[8];

	for (unsigned i = 0; i < 8; i++)
		buf[i] = (struct guest_buf){ FAKE_HIGH, 0x4000, true };
	ask(x, buf, 8);
	ck_assert_uint_eq(answered(x), REQUEST_MAX);
	ck_assert_uint_eq(fake_pool.calls, 4);
	buf[3].len = 0x3fff;
	buf[4].len = 1;
	ask(x, buf, 5);
	ck_assert_uint_eq(answered(x), REQUEST_MAX);
	subject_free(x);
}
END_TEST

/* fewer bytes than asked for are an answer */
START_TEST(a_short_read)
{
	struct subject *x = new_rng(_i);

	fake_pool.most = 256;
	ask(x, (struct guest_buf[]){ { GUEST_DATA, 4096, true }, { GUEST_HDR, 16, true } }, 2);
	ck_assert_uint_eq(answered(x), 256);
	subject_free(x);
}
END_TEST

static bool any_used(void *arg)
{
	struct guest *g = arg;

	return guest_used_idx(g, 0) != g->q[0].seen;
}

/* the request stays in the ring, nothing waits, and it is answered once the pool is ready */
START_TEST(a_pool_that_is_not_ready)
{
	struct subject *x = new_rng(_i);

	fake_pool.fail = EAGAIN;
	ask(x, (struct guest_buf[]){ { GUEST_DATA, 16, true } }, 1);
	ck_assert(!any_used(&x->g));
	ck_assert_uint_eq(fake_pool.calls, 1);
	ck_assert_uint_eq(to_vdev(x->dev)->inflight, 0);
	guest_kick(&x->g, 0);
	fake_settle(x->f);
	ck_assert_uint_eq(fake_pool.calls, 2);
	ck_assert(guest_is_live(&x->g));
	fake_pool.fail = 0;
	ck_assert_int_eq(loop_until(x->f->m.loop, any_used, &x->g, 5000000000ULL), 0);
	ck_assert_uint_eq(answered(x), 16);
	ck_assert_uint_eq(fake_counter(x->dev, "requests"), 1);
	subject_free(x);
}
END_TEST

/* a machine that goes while it waits for the pool leaves no timer behind */
START_TEST(gone_while_waiting)
{
	struct subject *x = new_rng(_i);

	fake_pool.fail = EAGAIN;
	ask(x, (struct guest_buf[]){ { GUEST_DATA, 16, true } }, 1);
	fake_dev_gone(x->f, x->dev, 150);
	subject_free(x);
}
END_TEST

/* 256 requests of 64 KiB on one kick: not in one turn of the loop, but all of them */
START_TEST(bounded_work)
{
	struct subject *x = new_rng(_i);
	unsigned turns = 0, most = 0;

	for (unsigned i = 0; i < 4; i++)
		guest_desc(&x->g, GUEST_DESC, i,
			   (struct vring_desc){ FAKE_HIGH, 0x4000,
						VRING_DESC_F_WRITE |
							(i < 3 ? VRING_DESC_F_NEXT : 0),
						(uint16_t)(i + 1) });
	for (unsigned i = 0; i < 256; i++)
		guest_publish(&x->g, 0, 0);
	guest_kick(&x->g, 0);
	while (guest_used_idx(&x->g, 0) < 256 && turns < 1000) {
		unsigned before = guest_used_idx(&x->g, 0);

		fake_turn(x->f);
		turns++;
		most = MAX(most, guest_used_idx(&x->g, 0) - before);
	}
	ck_assert_uint_eq(guest_used_idx(&x->g, 0), 256);
	ck_assert_uint_le(most, 8); /* a turn may see the kick twice */
	ck_assert_uint_eq(fake_counter(x->dev, "bytes"), 256 * REQUEST_MAX);
	subject_free(x);
}
END_TEST

START_TEST(no_room_at_all)
{
	struct subject *x = new_rng(_i);

	ask(x, (struct guest_buf[]){ { GUEST_DATA, 16, false } }, 1);
	ck_assert(guest_is_broken(&x->g));
	ck_assert_uint_eq(fake_pool.calls, 0);
	ck_assert(guest_start(&x->g, RINGS, 1, 8));
	ask(x, (struct guest_buf[]){ { GUEST_DATA, 0, true } }, 1);
	ck_assert(guest_is_broken(&x->g));
	ck_assert(guest_start(&x->g, RINGS, 1, 8));
	ask(x, (struct guest_buf[]){ { GUEST_DATA, 1, true } }, 1);
	ck_assert_uint_eq(answered(x), 1);
	subject_free(x);
}
END_TEST

START_TEST(what_it_says_it_is)
{
	struct subject *x = new_rng(_i);

	if (x->g.pci)
		ck_assert_uint_eq(guest_pci_read(&x->g, 2, 2), 0x1044);
	else
		ck_assert_uint_eq(bus_read(&x->f->bus, BUS_MMIO, x->g.base + 8, 4), 4);
	subject_free(x);
}
END_TEST

int main(void)
{
	const int n = ARRAY_SIZE(wires);
	Suite *s = suite_create("rng");
	TCase *t = tcase_create("rng");

	tcase_set_timeout(t, 30);
	tcase_add_loop_test(t, fills_what_is_asked_for, 0, n);
	tcase_add_loop_test(t, in_pieces, 0, n);
	tcase_add_loop_test(t, at_most_64k, 0, n);
	tcase_add_loop_test(t, a_short_read, 0, n);
	tcase_add_loop_test(t, a_pool_that_is_not_ready, 0, n);
	tcase_add_loop_test(t, gone_while_waiting, 0, n);
	tcase_add_loop_test(t, bounded_work, 0, n);
	tcase_add_loop_test(t, no_room_at_all, 0, n);
	tcase_add_loop_test(t, what_it_says_it_is, 0, n);
	suite_add_tcase(s, t);
	return suite_run(s);
}
