/* t_limit - rates hold over time, bursts are what was said, nothing waits for ever; time is made up
 */
#include "limit.h"
#include "suite.h"

#define SECOND 1000000000ULL
#define MS     1000000ULL

/* how many operations of @bytes begin in @ns, when as many are tried as may */
static uint64_t run(struct limiter *l, uint64_t bytes, uint64_t ns, uint64_t *now)
{
	uint64_t end = *now + ns, n = 0, at;

	while (*now < end) {
		at = limiter_wait(l, *now);
		if (at) {
			ck_assert_uint_gt(at, *now); /* else a timer would spin */
			*now = at;
			continue;
		}
		limiter_charge(l, bytes, *now);
		n++;
	}
	return n;
}

START_TEST(no_limit)
{
	struct limiter l = { 0 };

	limit_set(&l.bytes, 0, 0);
	limit_set(&l.ops, 0, 100);
	ck_assert(!limiter_is_on(&l));
	for (unsigned i = 0; i < 1000; i++) {
		ck_assert_uint_eq(limiter_wait(&l, 1), 0);
		limiter_charge(&l, UINT64_MAX, 1);
	}
	ck_assert_uint_eq(l.waits, 0);
}
END_TEST

START_TEST(operations)
{
	struct limiter l = { 0 };
	uint64_t now = 5 * SECOND, n;

	limit_set(&l.ops, 100, 0);
	ck_assert(limiter_is_on(&l));
	n = run(&l, 4096, 10 * SECOND, &now);
	/* and a tenth of a second's worth at the start */
	ck_assert_uint_ge(n, 1000);
	ck_assert_uint_le(n, 1000 + 10 + 1);
	ck_assert_uint_gt(l.waits, 0);
}
END_TEST

START_TEST(bytes_whatever_their_size)
{
	static const uint64_t size[] = { 16, 512, 4096, 100000, 5000000 };

	for (unsigned i = 0; i < ARRAY_SIZE(size); i++) {
		struct limiter l = { 0 };
		uint64_t now = 1, n;

		limit_set(&l.bytes, 1000000, 0);
		n = run(&l, size[i], 2 * SECOND, &now) * size[i];
		ck_assert_uint_ge(n, 2000000 - MIN(size[i], 2000000));
		ck_assert_uint_le(n, 2000000 + 100000 + 2 * size[i]);
	}
}
END_TEST

START_TEST(the_stricter_holds)
{
	struct limiter l = { 0 };
	uint64_t now = SECOND;

	limit_set(&l.bytes, 1000000, 0);
	limit_set(&l.ops, 10, 1);
	ck_assert_uint_le(run(&l, 1, 10 * SECOND, &now), 102);
	ck_assert_uint_le(run(&l, 1000000, 10 * SECOND, &now), 12);
}
END_TEST

START_TEST(bursts)
{
	struct limiter l = { 0 };
	uint64_t now = SECOND;

	limit_set(&l.ops, 10, 50);
	ck_assert_uint_eq(run(&l, 0, 1, &now), 50);
	now = 100 * SECOND; /* what was not used is not saved up beyond the burst */
	ck_assert_uint_eq(run(&l, 0, 1, &now), 50);
	now += 2 * SECOND;
	ck_assert_uint_ge(run(&l, 0, 1, &now), 20);
}
END_TEST

START_TEST(changed)
{
	struct limiter l = { 0 };
	uint64_t now = SECOND;

	limit_set(&l.bytes, 1, 0);
	limiter_charge(&l, 1000000, now); /* paid for in eleven days */
	ck_assert_uint_gt(limiter_wait(&l, now), now + 100000 * SECOND);
	limit_set(&l.bytes, 1000, 0);
	ck_assert_uint_eq(limiter_wait(&l, now), 0); /* nothing is owed from before */
}
END_TEST

START_TEST(extremes)
{
	static const uint64_t odd[] = { 1, 2, 511, 1ULL << 32, 1ULL << 62, UINT64_MAX };

	for (unsigned i = 0; i < ARRAY_SIZE(odd); i++) {
		for (unsigned k = 0; k < ARRAY_SIZE(odd); k++) {
			struct limiter l = { 0 };
			uint64_t at;

			limit_set(&l.bytes, odd[i], odd[k]);
			ck_assert_uint_eq(limiter_wait(&l, 10), 0);
			for (unsigned n = 0; n < 100; n++)
				limiter_charge(&l, odd[k], 10);
			at = limiter_wait(&l, 10);
			ck_assert(!at || at > 10);
		}
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("limit");
	TCase *t = tcase_create("limit");

	tcase_add_test(t, no_limit);
	tcase_add_test(t, operations);
	tcase_add_test(t, bytes_whatever_their_size);
	tcase_add_test(t, the_stricter_holds);
	tcase_add_test(t, bursts);
	tcase_add_test(t, changed);
	tcase_add_test(t, extremes);
	suite_add_tcase(s, t);
	return suite_run(s);
}
