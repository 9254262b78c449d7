/* t_perf - what is counted of a machine's threads; of its instructions where the host has a PMU */
#include <fcntl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fake.h"
#include "handle.h"
#include "kvm_rig.h"
#include "perf.h"
#include "suite.h"

#define MS	 1000000ULL
#define PARANOID "/proc/sys/kernel/perf_event_paranoid"

static uint64_t process_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t count(int fd)
{
	uint64_t v = 0;

	ck_assert_msg(!perf_read(fd, &v), "%s", err_last());
	return v;
}

/* the vCPUs' threads are counted because they came after it; by the time that they spend */
START_TEST(threads_are_counted)
{
	uint64_t begin = process_ns(), cpu, seen;
	struct flat *f;
	int fd = -1;

	ck_assert_msg(!perf_open(PERF_THREAD_TIME, &fd), "%s", err_last());
	f = flat_new("count", "cpus", "2", NULL);
	ck_assert_msg(f != NULL, "%s", err_last());
	ck_assert_int_eq(flat_start(f), 0);
	sleep_ms(300);
	cpu = vm_cpu_ns(f->vm);
	seen = count(fd);
	ck_assert_uint_gt(cpu, 50 * MS);
	/* the two are read one after the other, on clocks of their own */
	ck_assert_uint_ge(seen, cpu - cpu / 20);
	ck_assert_uint_le(seen, process_ns() - begin + 20 * MS);
	ck_assert_int_eq(flat_pause(f), 0);
	cpu = count(fd);
	sleep_ms(100);
	ck_assert_uint_lt(count(fd) - cpu, 20 * MS);
	/* those that have ended still count */
	flat_free(f);
	ck_assert_uint_ge(count(fd), cpu);
	close(fd);
}
END_TEST

/* whose counter is full of nothing must not look as if nothing was spent */
START_TEST(counters_that_tell_nothing)
{
	static const struct {
		uint64_t value, enabled, running;
		int r;
		uint64_t count;
	} reads[] = {
		{ 1000, 0, 0, 0, 1000 },       { 1000, 5000, 5000, 0, 1000 },
		{ 1000, 5000, 2500, 0, 2000 }, { 0, 5000, 0, -EIO, 0 },
		{ 1, 5000, 49, -EIO, 0 },
	};
	uint64_t v = 0;
	int fd;

	for (unsigned i = 0; i < ARRAY_SIZE(reads); i++) {
		fd = open(fake_file("count", &reads[i], 3 * sizeof(uint64_t)),
			  O_RDONLY | O_CLOEXEC);
		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(perf_read(fd, &v), reads[i].r);
		if (!reads[i].r)
			ck_assert_uint_eq(v, reads[i].count);
		/* and at its end: a counter in error reads so */
		ck_assert_int_eq(perf_read(fd, &v), -EIO);
		close(fd);
	}
}
END_TEST

/* the guest stood still since: what it spent must not become less than nothing */
START_TEST(estimates_that_fall)
{
	static const uint64_t high[] = { 1000, 2000, 1000 }, low[] = { 1010, 10000, 9000 },
			      more[] = { 3000, 10000, 9990 };
	const uint64_t *const reads[] = { high, low, more };
	static const uint64_t counts[] = { 2000, 2000, 3003 };
	struct hutch *h = hutch_new();
	uint64_t v = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(reads); i++) {
		h->instructions =
			open(fake_file("count", reads[i], sizeof(high)), O_RDONLY | O_CLOEXEC);
		ck_assert_int_eq(hutch_instructions(h, &v), 0);
		ck_assert_uint_eq(v, counts[i]);
		close(h->instructions);
	}
	h->instructions = -1;
	hutch_free(h);
}
END_TEST

static int paranoid(void)
{
	char text[16] = "";
	int fd = open(PARANOID, O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_gt(read(fd, text, sizeof(text) - 1), 0);
	close(fd);
	return atoi(text);
}

/* 0: told to mend the setting; or what went otherwise */
static int as_nobody(void)
{
	int fd = -1, r;

	if (setuid(65534))
		return 1;
	r = perf_open(PERF_GUEST_INSTRUCTIONS, &fd);
	return r != -EACCES ? 2 : !strstr(err_last(), PARANOID " is ") ? 3 : 0;
}

START_TEST(who_may_not)
{
	int status = -1;
	pid_t pid;

	if (geteuid() || paranoid() < 2) {
		fprintf(stderr, "skip who_may_not: it takes root, and a " PARANOID " of 2\n");
		return;
	}
	pid = fork();
	if (!pid)
		_exit(as_nobody());
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

static struct hutch *fueled(const char *fuel)
{
	struct hutch *h = hutch_new();
	char path[4096];

	ck_assert_ptr_nonnull(h);
	ck_assert_int_eq(hutch_set(h, "kernel", flat_path("count", path, sizeof(path))), 0);
	ck_assert_int_eq(hutch_set(h, "memory", "4M"), 0);
	ck_assert_int_eq(hutch_set(h, "console", "none"), 0);
	ck_assert_int_eq(hutch_set(h, "fuel", fuel), 0);
	return h;
}

/* where there is no PMU, that is said before a guest runs; where there is one, it counts */
START_TEST(instructions)
{
	struct hutch *h = fueled("1000000i");
	uint64_t v, before;

	ck_assert_int_eq(hutch_instructions(h, &v), -EINVAL);
	if (hutch_can_count(h)) {
		ck_assert(strstr(hutch_error(h), "no PMU") || strstr(hutch_error(h), PARANOID) ||
			  strstr(hutch_error(h), "two kinds of cores"));
		ck_assert_int_lt(hutch_start(h), 0);
		ck_assert_ptr_nonnull(strstr(hutch_error(h), "instructions of a guest"));
		/* and the handle can be mended */
		ck_assert_int_eq(hutch_set(h, "fuel", "5s"), 0);
		ck_assert_msg(!hutch_start(h), "%s", hutch_error(h));
		ck_assert_int_eq(hutch_instructions(h, &v), -EINVAL);
		hutch_free(h);
		fprintf(stderr, "skip instructions: this host does not count a guest's\n");
		return;
	}
	ck_assert_msg(!hutch_start(h), "%s", hutch_error(h));
	sleep_ms(50);
	ck_assert_int_eq(hutch_instructions(h, &before), 0);
	sleep_ms(50);
	ck_assert_int_eq(hutch_instructions(h, &v), 0);
	ck_assert_uint_gt(v, before + 100000);
	ck_assert_int_eq(hutch_pause(h), 0);
	ck_assert_int_eq(hutch_instructions(h, &before), 0);
	sleep_ms(50);
	ck_assert_int_eq(hutch_instructions(h, &v), 0);
	ck_assert_uint_eq(v, before); /* nothing of ours is in it */
	hutch_free(h);
}
END_TEST

static void set_up(void)
{
	ck_assert_int_eq(chdir(fake_folder()), 0);
}

static void tear_down(void)
{
	ck_assert_int_eq(chdir("/"), 0);
	fake_folder_remove();
}

int main(int argc, char **argv)
{
	Suite *s = suite_create("perf");
	TCase *t = tcase_create("perf");
	char here[4096];

	(void)argc;
	/* the tests go elsewhere */
	if (!realpath(argv[0], here))
		return 1;
	flat_setup(here);
	tcase_set_timeout(t, 30);
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, counters_that_tell_nothing);
	tcase_add_test(t, estimates_that_fall);
	tcase_add_test(t, who_may_not);
	if (flat_possible()) {
		tcase_add_test(t, threads_are_counted);
		tcase_add_test(t, instructions);
	}
	suite_add_tcase(s, t);
	return suite_run(s);
}
