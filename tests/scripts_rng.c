/*
 * scripts_rng.c - a guest that asks for random numbers
 *
 * Here they are a pattern, so that what one run has in memory another has too:
 * getrandom() is taken over for whoever does not want to wait, and for no one else.
 */
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "contract.h"
#include "devices.h"

struct fake_pool fake_pool;

ssize_t getrandom(void *buf, size_t len, unsigned flags)
{
	uint8_t *p = buf;

	if (!fake_pool.on || !(flags & GRND_NONBLOCK))
		return syscall(SYS_getrandom, buf, len, flags);
	fake_pool.calls++;
	fake_pool.asked = len;
	if (fake_pool.fail) {
		errno = fake_pool.fail;
		return -1;
	}
	if (fake_pool.most)
		len = MIN(len, fake_pool.most);
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 7 + 1) | 1;
	return (ssize_t)len;
}

static void rng_host(struct subject *x)
{
	(void)x;
	fake_pool = (struct fake_pool){ .on = true };
}

static void rng_unhost(struct subject *x)
{
	(void)x;
	fake_pool = (struct fake_pool){ .on = false };
}

static const void *rng_conf(struct subject *x)
{
	(void)x;
	return NULL;
}

static void ask(struct subject *x, gpa_t at, uint32_t len)
{
	const struct guest_buf buf = { at, len, true };

	guest_add(&x->g, 0, &buf, 1);
	guest_kick(&x->g, 0);
	fake_settle(x->f);
}

static void look(struct subject *x)
{
	struct guest_used u;

	while (guest_used(&x->g, 0, &u))
		subject_note(x, u.id | (uint64_t)u.len << 32);
	subject_note(x, guest_read(&x->g, REG_STATUS));
	subject_note(x, guest_ack(&x->g));
}

static void rng_step(struct subject *x, unsigned k)
{
	const struct guest_buf pieces[] = {
		{ GUEST_HDR, 16, false }, /* nothing to read there */
		{ FAKE_HIGH + FAKE_HIGH_SLOT - 100, 200, true },
		{ GUEST_DATA + 3, 5, true },
	};

	if (k > 0 && k < 9)
		fake_fill(x->f, GUEST_DATA, (uint8_t)(0x80 + k), 2048);
	switch (k) {
	case 0:
		require(guest_start(&x->g, GUEST_VERSION_1 | GUEST_EVENT_IDX | GUEST_INDIRECT_F, 1,
				    8));
		break;
	case 1:
		ask(x, GUEST_DATA, 64);
		break;
	case 2:
		guest_add(&x->g, 0, pieces, 3);
		guest_kick(&x->g, 0);
		fake_settle(x->f);
		break;
	case 3:
		guest_add_indirect(&x->g, 0, pieces, 3);
		guest_kick(&x->g, 0);
		fake_settle(x->f);
		break;
	case 4:
		guest_set_used_event(&x->g, 0, x->g.q[0].next + 1);
		ask(x, GUEST_DATA + 1, 1);
		break;
	case 5: /* made available, and not a word about it */
		guest_add(&x->g, 0, &pieces[1], 1);
		return; /* a restore looks at the queue, so what is seen now may differ */
	case 6:
		guest_kick(&x->g, 0);
		fake_settle(x->f);
		break;
	case 7: /* nothing to write to */
		guest_add(&x->g, 0, &pieces[0], 1);
		guest_kick(&x->g, 0);
		fake_settle(x->f);
		break;
	case 8:
		guest_reset(&x->g);
		require(guest_negotiate(&x->g, GUEST_VERSION_1));
		require(guest_queue(&x->g, 0, 4));
		break;
	case 9:
		guest_driver_ok(&x->g);
		ask(x, GUEST_DATA, 300);
		break;
	case 10:
		guest_reset(&x->g);
		break;
	}
	if (k != 9) /* an interrupt is left waiting */
		look(x);
}

const struct script rng_script = {
	.type = &rng_type,
	.host = rng_host,
	.unhost = rng_unhost,
	.conf = rng_conf,
	.steps = 11,
	.step = rng_step,
};
