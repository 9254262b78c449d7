#include "limit.h"

#define SECOND 1000000000ULL

/* the time that @n take at @rate; more than a few hours are of no use to anyone */
static uint64_t cost_ns(uint64_t n, uint64_t rate)
{
	uint64_t ns;

	if (__builtin_mul_overflow(n, SECOND, &ns))
		return n / rate * SECOND;
	return ns / rate;
}

void limit_set(struct limit *l, uint64_t rate, uint64_t burst)
{
	l->rate = rate;
	l->burst_ns = !rate ? 0 : burst ? cost_ns(burst, rate) : SECOND / 10;
	/* a stricter rate must not be waited for before it was ever used */
	if (!rate)
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
		l->free_at = MAX(l->free_at, now) + cost_ns(n, l->rate);
}

void limiter_charge(struct limiter *l, uint64_t bytes, uint64_t now)
{
	charge(&l->bytes, bytes, now);
	charge(&l->ops, 1, now);
}
