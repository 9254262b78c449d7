/* t_throttle - flat guests on /dev/kvm that spin: what of a processor they get */
#include "kvm_rig.h"
#include "suite.h"

#define SECOND 1000000000ULL

static struct flat *spinning(const char *cpus, const char *percent)
{
	struct flat *f = flat_new("count", "cpus", cpus, "cpu-percent", percent, NULL);

	ck_assert_msg(f != NULL, "%s", err_last());
	ck_assert_int_eq(flat_start(f), 0);
	for (unsigned i = 0; i < f->vm->cpus; i++)
		ck_assert(flat_until_set(f, FLAT_MAILBOX + 4 * i));
	return f;
}

/* percent of a processor over @ms */
static unsigned share(struct flat *f, unsigned ms)
{
	uint64_t begin = now_ns(), cpu = vm_cpu_ns(f->vm);

	sleep_ms(ms);
	return (unsigned)((vm_cpu_ns(f->vm) - cpu) * 100 / (now_ns() - begin));
}

/* never more than @most; on a host that is busy it may take another second to get @least */
static void expect_share(struct flat *f, unsigned least, unsigned most)
{
	unsigned p = 0;

	for (unsigned i = 0; i < 5 && p < least; i++) {
		p = share(f, 1000);
		ck_assert_msg(p <= most, "%u%% of a processor", p);
	}
	ck_assert_msg(p >= least, "%u%% of a processor", p);
}

static const char *percent;

static int set_percent(struct vm *vm)
{
	return vm_set(vm, "cpu_percent", percent);
}

static void expect_set(struct flat *f, const char *to)
{
	percent = to;
	ck_assert_msg(!flat_call(f, set_percent), "%s", err_last());
}

static void expect_goes_on(struct flat *f)
{
	for (unsigned i = 0; i < f->vm->cpus; i++) {
		uint32_t old = *flat_word(f, FLAT_MAILBOX + 4 * i);
		unsigned ms = 0;

		while (*flat_word(f, FLAT_MAILBOX + 4 * i) == old && ms++ < 5000)
			sleep_ms(1);
		ck_assert_msg(ms < 5000, "CPU %u stands still", i);
		ck_assert_uint_eq(*flat_word(f, FLAT_MAILBOX + 64 + 4 * i), 0);
	}
}

static void until_throttled(struct flat *f)
{
	for (unsigned i = 0; i < 5000; i++) {
		if (__atomic_load_n(&f->vm->throttled, __ATOMIC_ACQUIRE))
			return;
		sleep_ms(1);
	}
	ck_abort_msg("it is not throttled");
}

static const char *const cpus[] = { "1", "2", "4" };

/* one processor's share, however many vCPUs want it; the guest sees no store lost or doubled */
START_TEST(a_fifth)
{
	struct flat *f cleanup_flat = spinning(cpus[_i], "20");

	expect_share(f, 10, 30);
	expect_share(f, 15, 25);
	expect_goes_on(f);
	ck_assert_uint_gt(f->vm->throttle.stops, 5);
	ck_assert_uint_gt(f->vm->throttle.stopped_ns, SECOND / 2);
	*flat_word(f, FLAT_MAILBOX + 128) = 1;
	ck_assert_int_eq(flat_wait(f, 10), VM_POWEROFF);
}
END_TEST

/* in each window by itself, so that nothing is saved up and spent at once */
START_TEST(no_bursts)
{
	struct flat *f cleanup_flat = spinning("1", "20");

	for (unsigned i = 0; i < 20; i++) {
		/* two windows may touch: the end of one's share, the begin of the next one's */
		unsigned p = share(f, 100);

		ck_assert_msg(p <= 60, "%u%% of a processor", p);
	}
}
END_TEST

static int set_other(struct vm *vm)
{
	return vm_set(vm, "cpu_percent_max", "0");
}

/* a ceiling stays, whatever is asked for later */
START_TEST(no_more_than_the_most)
{
	static const char *const more[] = { "0", "31", "100", "200" };
	struct flat *f cleanup_flat =
		flat_new("count", "cpus", "2", "cpu-percent", "30", "cpu-percent-max", "30", NULL);

	ck_assert_msg(f != NULL, "%s", err_last());
	ck_assert_int_eq(flat_start(f), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(more); i++) {
		percent = more[i];
		ck_assert_int_eq(flat_call(f, set_percent), -EINVAL);
	}
	ck_assert_int_eq(flat_call(f, set_other), -EINVAL);
	expect_set(f, "10");
	expect_set(f, "30");
	ck_assert_uint_le(share(f, 1000), 40);
	ck_assert_ptr_null(flat_new("count", "cpus", "2", "cpu-percent-max", "30", NULL));
	ck_assert_ptr_nonnull(strstr(err_last(), "give at most 30"));
}
END_TEST

START_TEST(little)
{
	struct flat *f cleanup_flat = spinning("1", "2");

	ck_assert_uint_le(share(f, 2000), 6);
	expect_goes_on(f);
}
END_TEST

START_TEST(changed_while_it_runs)
{
	struct flat *f cleanup_flat = spinning("1", "0");

	ck_assert_uint_eq(f->vm->throttle.timer.at, 0); /* no limit, no timer */
	expect_share(f, 25, 110);
	expect_set(f, "10");
	expect_share(f, 5, 15);
	expect_set(f, "40");
	expect_share(f, 25, 50);
	until_throttled(f);
	expect_set(f, "0");
	ck_assert(!f->vm->throttled);
	ck_assert_uint_eq(f->vm->throttle.timer.at, 0);
	expect_share(f, 25, 110);
	expect_goes_on(f);

	percent = "101";
	ck_assert_int_eq(flat_call(f, set_percent), -EINVAL);
	ck_assert_uint_eq(f->vm->conf->cpu_percent, 0);
}
END_TEST

/* whichever comes first, a paused machine stands still, and has no timer; then it goes on */
START_TEST(paused_while_throttled)
{
	struct flat *f cleanup_flat = spinning("2", "10");
	uint32_t before[2];
	uint64_t begin;

	for (unsigned round = 0; round < 20; round++) {
		if (round & 1)
			until_throttled(f);
		begin = now_ns();
		ck_assert_int_eq(flat_pause(f), 0);
		ck_assert_uint_lt(now_ns() - begin, SECOND / 10);
		for (unsigned i = 0; i < 2; i++)
			before[i] = *flat_word(f, FLAT_MAILBOX + 4 * i);
		sleep_ms(round < 4 ? 250 : 1); /* over the end of its window */
		for (unsigned i = 0; i < 2; i++)
			ck_assert_uint_eq(before[i], *flat_word(f, FLAT_MAILBOX + 4 * i));
		if (round < 4)
			ck_assert_uint_eq(f->vm->throttle.timer.at, 0);
		if (round == 10)
			expect_set(f, "15");
		ck_assert_int_eq(flat_resume(f), 0);
	}
	expect_share(f, 5, 22);
	/* without a limit from within the pause */
	until_throttled(f);
	ck_assert_int_eq(flat_pause(f), 0);
	expect_set(f, "0");
	before[0] = *flat_word(f, FLAT_MAILBOX);
	sleep_ms(20);
	ck_assert_uint_eq(before[0], *flat_word(f, FLAT_MAILBOX));
	ck_assert_int_eq(flat_resume(f), 0);
	expect_goes_on(f);
	expect_share(f, 25, 210);
}
END_TEST

static int stop_it(struct vm *vm)
{
	vm_event(vm, VM_STOPPED, "the machine was stopped");
	return 0;
}

START_TEST(ended_while_throttled)
{
	for (unsigned i = 0; i < 10; i++) {
		struct flat *f = spinning(i & 1 ? "3" : "1", "1");
		uint64_t begin;

		if (i & 2)
			until_throttled(f);
		begin = now_ns();
		if (i & 4) {
			ck_assert_int_eq(flat_call(f, stop_it), 0);
			ck_assert_int_eq(flat_wait(f, 5), VM_STOPPED);
		}
		flat_free(f);
		ck_assert_uint_lt(now_ns() - begin, SECOND / 4);
	}
}
END_TEST

/* one vCPU waits in HLT: being kicked out of it again and again changes nothing for it */
START_TEST(guests_that_wait)
{
	struct flat *f cleanup_flat = flat_new("smp", "cpus", "4", "cpu-percent", "5", NULL);
	enum vm_end end;

	ck_assert_msg(f != NULL, "%s", err_last());
	end = flat_run(f, 50);
	ck_assert_msg(end == VM_POWEROFF, "%d: %s, printed: %s", end, f->vm->event_text, f->text);
}
END_TEST

START_TEST(nothing)
{
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, a_fifth, 0, ARRAY_SIZE(cpus));
	tcase_add_test(t, no_bursts);
	tcase_add_test(t, no_more_than_the_most);
	tcase_add_test(t, little);
	tcase_add_test(t, changed_while_it_runs);
	tcase_add_test(t, paused_while_throttled);
	tcase_add_test(t, ended_while_throttled);
	tcase_add_test(t, guests_that_wait);
}

int main(int argc, char **argv)
{
	Suite *s = suite_create("throttle");
	TCase *t = tcase_create("throttle");

	(void)argc;
	flat_setup(argv[0]);
	tcase_set_timeout(t, 60);
	if (flat_possible())
		add_tests(t);
	else
		tcase_add_test(t, nothing);
	suite_add_tcase(s, t);
	return suite_run(s);
}
