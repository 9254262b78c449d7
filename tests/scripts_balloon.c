/* scripts_balloon.c - a guest that gives memory away and takes it back */
#include <linux/virtio_balloon.h>

#include "contract.h"
#include "devices.h"

#define INFLATE 0
#define DEFLATE 1
#define STATS	2
#define REPORT	3
#define QUEUES	4
#define ALL                                                                      \
	(GUEST_VERSION_1 | GUEST_EVENT_IDX | 1ULL << VIRTIO_BALLOON_F_STATS_VQ | \
	 1ULL << VIRTIO_BALLOON_F_DEFLATE_ON_OOM | 1ULL << VIRTIO_BALLOON_F_REPORTING)

static const struct conf_balloon first_conf = { 8 * GMEM_PAGE, true, true, 0 };

static void balloon_refill(struct subject *x)
{
	require(!dev_configure(x->dev, &first_conf));
}

static const void *balloon_conf(struct subject *x)
{
	(void)x;
	return &first_conf;
}

static void pages(struct subject *x, unsigned q, const uint32_t *pfn, unsigned n)
{
	const struct guest_buf buf = { GUEST_HDR, n * 4, false };

	fake_poke(x->f, GUEST_HDR, pfn, n * sizeof(*pfn));
	guest_add(&x->g, q, &buf, 1);
	guest_kick(&x->g, q);
}

static void look(struct subject *x)
{
	struct guest_used u;

	for (unsigned q = 0; q < QUEUES; q++)
		while (x->g.q[q].size && guest_used(&x->g, q, &u))
			subject_note(x, q << 16 | u.id | (uint64_t)u.len << 32);
	subject_note(x, guest_config(&x->g, 0, 8));
	subject_note(x, guest_read(&x->g, REG_STATUS) | guest_ack(&x->g) << 8);
}

static void fill_high(struct subject *x)
{
	fake_fill(x->f, FAKE_HIGH, 0xaa, 2 * FAKE_HIGH_SLOT);
}

static void balloon_step(struct subject *x, unsigned k)
{
	static const uint32_t up[] = { 0x101, 0x102, 0x103, 0x104 }, down[] = { 0x107, 0x106 },
			      outside[] = { 0x105, 0x108 };
	const struct virtio_balloon_stat stat[] = { { VIRTIO_BALLOON_S_MEMFREE, 0x1234000 },
						    { 999, 1 } };
	struct conf_balloon conf = first_conf;

	switch (k) {
	case 0:
		require(guest_start(&x->g, ALL, QUEUES, 8));
		fill_high(x);
		break;
	case 1:
		pages(x, INFLATE, up, 4);
		break;
	case 2:
		bus_write(&x->f->bus, BUS_MMIO, x->g.config + 4, 4, 4);
		break;
	case 3: /* the statistics stay in the ring from here on */
		fake_poke(x->f, GUEST_DATA, stat, sizeof(stat));
		guest_add(&x->g, STATS, &(struct guest_buf){ GUEST_DATA, 20, false }, 1);
		guest_kick(&x->g, STATS);
		break;
	case 4:
		conf.size = 2 * GMEM_PAGE;
		require(!dev_configure(x->dev, &conf));
		break;
	case 5:
		pages(x, DEFLATE, up, 2);
		break;
	case 6: /* reports: a page and a half, of which the whole one goes */
		fill_high(x);
		guest_add(&x->g, REPORT,
			  (struct guest_buf[]){ { FAKE_HIGH, 0x1800, true },
						{ FAKE_HIGH + 0x3000, 0x2000, true } },
			  2);
		guest_kick(&x->g, REPORT);
		break;
	case 7: /* made available, and not a word about it */
		fake_poke(x->f, GUEST_HDR, down, sizeof(down));
		guest_add(&x->g, INFLATE, &(struct guest_buf){ GUEST_HDR, 8, false }, 1);
		return;
	case 8:
		guest_kick(&x->g, INFLATE);
		break;
	case 9: /* one that is there, one that is not */
		pages(x, INFLATE, outside, 2);
		break;
	case 10:
		guest_reset(&x->g);
		require(guest_negotiate(&x->g, GUEST_VERSION_1));
		require(guest_queue(&x->g, INFLATE, 8) && guest_queue(&x->g, DEFLATE, 8));
		break;
	case 11:
		guest_driver_ok(&x->g);
		fill_high(x);
		pages(x, INFLATE, up, 1);
		break;
	case 12:
		guest_reset(&x->g);
		break;
	}
	fake_settle(x->f);
	if (k != 11) /* an interrupt is left waiting */
		look(x);
}

const struct script balloon_script = {
	.type = &balloon_type,
	.refill = balloon_refill,
	.conf = balloon_conf,
	.steps = 13,
	.step = balloon_step,
	.kept = { "target" },
};
