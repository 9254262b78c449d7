#include "limit.h"

#define SECOND 1000000000ULL
#define MONTH  (30 * 86400 * SECOND)

/* the time that @n take at @rate; past a month it makes no difference, and nothing overflows */
static uint64_t cost_ns(uint64_t n, uint64_t rate)
{
	uint64_t ns;

	if (__builtin_mul_overflow(n, SECOND, &ns))
		return n / rate < MONTH / SECOND ? n / rate * SECOND : MONTH;
	return MIN(ns / rate, MONTH);
}

void limit_set(struct limit *l, uint64_t rate, uint64_t burst)
{
	l->rate = rate;
	l->burst_ns = !rate ? 0 : burst ? cost_ns(burst, rate) : SECOND / 10;
	l->free_at = 0;
}

static uint64_t wait_until(const struct limit *l, uint64_t now)
{
	if (!l->rate || l->free_at <= now || l->free_at - now < MAX(l->burst_ns, 1))
		return 0;
	return l->free_at - l->burst_ns + 1;
}

uint64_t limiter_wait(struct limiter *l, uint64_t now)
{
	uint64_t bytes = wait_until(&l->bytes, now), ops = wait_until(&l->ops, now);

	if (bytes || ops)
		l->waits++;
	return MAX(bytes, ops);
}

static void charge(struct limit *l, uint64_t n, uint64_t now)
{
	if (l->rate)
		l->free_at = MIN(MAX(l->free_at, now) + cost_ns(n, l->rate), now + MONTH);
}

void limiter_charge_bytes(struct limiter *l, uint64_t bytes, uint64_t now)
{
	charge(&l->bytes, bytes, now);
}

void limiter_charge(struct limiter *l, uint64_t bytes, uint64_t now)
{
	limiter_charge_bytes(l, bytes, now);
	charge(&l->ops, 1, now);
}
