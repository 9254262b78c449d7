/* t_lib - libhutch as a program that embeds it sees it: hutch.h and nothing else of ours, on KVM */
#include <errno.h>
#include <fcntl.h>
#include <libfdt.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hutch.h"
#include "suite.h"
#include "kvm_rig.h" /* where the guests are, and /proc; no machine of it */

/* a handle with a flat guest, 32 MiB, and no console */
static struct hutch *handle(const char *guest, const char *append)
{
	struct hutch *h = hutch_new();
	char path[4096];

	ck_assert_ptr_nonnull(h);
	ck_assert_int_eq(hutch_set(h, "kernel", flat_path(guest, path, sizeof(path))), 0);
	ck_assert_int_eq(hutch_set(h, "memory", "32M"), 0);
	ck_assert_int_eq(hutch_set(h, "console", "none"), 0);
	if (append)
		ck_assert_int_eq(hutch_set(h, "append", append), 0);
	return h;
}

static enum hutch_end wait_for(struct hutch *h, struct hutch_result *r)
{
	ck_assert_msg(!hutch_wait(h, 10000, r), "%s", hutch_error(h));
	return r->end;
}

static const struct {
	const char *append;
	enum hutch_end end;
} ends[] = {
	{ "o", HUTCH_POWEROFF }, { "c", HUTCH_REBOOT },	      { "P", HUTCH_PANIC },
	{ "v", HUTCH_PANIC },	 { "t", HUTCH_TRIPLE_FAULT },
};

START_TEST(test_ends)
{
	struct hutch *h = handle("ends", ends[_i].append);
	struct hutch_result r, after;
	struct pollfd p;

	ck_assert_int_eq(hutch_start(h), 0);
	p = (struct pollfd){ hutch_event_fd(h), POLLIN, 0 };
	ck_assert_int_eq(poll(&p, 1, 10000), 1);
	ck_assert_int_eq(wait_for(h, &r), ends[_i].end);
	ck_assert_uint_gt(strlen(r.text), 10);
	ck_assert_int_eq(wait_for(h, &r), ends[_i].end); /* as often as one likes */
	ck_assert_int_eq(hutch_pause(h), -EINVAL);
	ck_assert_str_eq(hutch_error(h), "the machine has ended");
	/* it has ended as it has, whatever is asked of it afterwards */
	ck_assert_int_eq(hutch_stop(h), 0);
	ck_assert_int_eq(hutch_wait(h, 0, &after), 0);
	ck_assert_int_eq(after.end, ends[_i].end);
	ck_assert_str_eq(after.text, r.text);
	hutch_free(h);
}
END_TEST

START_TEST(test_console_fd)
{
	struct hutch *h = handle("hello", NULL);
	struct hutch_result r;
	char spec[32], text[64] = "";
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	snprintf(spec, sizeof(spec), "fd:-1:%d", fd[1]);
	ck_assert_int_eq(hutch_set(h, "console", spec), 0);
	ck_assert_int_eq(hutch_start(h), 0);
	close(fd[1]); /* it has its own */
	ck_assert_int_eq(wait_for(h, &r), HUTCH_POWEROFF);
	ck_assert_uint_eq(r.console_dropped, 0);
	ck_assert_int_eq(read(fd[0], text, sizeof(text) - 1), 24);
	ck_assert_str_eq(text, "hello from a flat guest\n");
	hutch_free(h);
	ck_assert_int_eq(read(fd[0], text, sizeof(text)), 0); /* and has closed it */
	close(fd[0]);
}
END_TEST

START_TEST(test_resets_are_counted)
{
	struct hutch *h = handle("ends", "cr");
	struct hutch_result r;

	ck_assert_int_eq(hutch_set(h, "on-reboot", "reset"), 0);
	ck_assert_int_eq(hutch_start(h), 0);
	ck_assert_int_eq(wait_for(h, &r), HUTCH_POWEROFF);
	ck_assert_uint_eq(r.resets, 4);
	hutch_free(h);
}
END_TEST

/* before the start, and after it */
START_TEST(test_order)
{
	struct hutch *h = handle("count", NULL);
	struct hutch_result r;
	char text[64];

	ck_assert_int_eq(hutch_pause(h), -EINVAL);
	ck_assert_str_eq(hutch_error(h), "the machine was not started");
	ck_assert_int_eq(hutch_resume(h), -EINVAL);
	ck_assert_int_eq(hutch_stop(h), -EINVAL);
	ck_assert_int_eq(hutch_wait(h, 0, &r), -EINVAL);
	ck_assert_int_eq(hutch_event_fd(h), -1);
	ck_assert_int_eq(hutch_start(h), 0);
	ck_assert_int_eq(hutch_start(h), -EBUSY);
	ck_assert_int_eq(hutch_set(h, "memory", "64M"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(hutch_error(h), "while the machine runs"));
	ck_assert_int_eq(hutch_load(h, "/dev/null"), -EBUSY);
	ck_assert_int_eq(hutch_get(h, "memory", text, sizeof(text)), 0);
	ck_assert_str_eq(text, "32M");
	ck_assert_int_eq(hutch_wait(h, 0, &r), -ETIMEDOUT);
	ck_assert_int_eq(hutch_wait(h, 20, &r), -ETIMEDOUT);
	ck_assert_int_eq(hutch_resume(h), -EINVAL);
	ck_assert_int_eq(hutch_stop(h), 0);
	ck_assert_int_eq(wait_for(h, &r), HUTCH_STOPPED);
	ck_assert_int_eq(hutch_stop(h), 0); /* once more is no error */
	hutch_free(h);
	hutch_free(NULL);
}
END_TEST

/* a start that fails leaves a handle that can be mended and started, and nothing else */
START_TEST(test_start_after_failure)
{
	struct hutch *h = handle("hello", NULL);
	struct hutch_result r;
	char path[4096];
	unsigned fds = entries("/proc/self/fd");

	for (unsigned i = 0; i < 10; i++) {
		ck_assert_int_eq(hutch_set(h, "kernel", "/nonexistent"), 0);
		ck_assert_int_lt(hutch_start(h), 0);
		ck_assert_ptr_nonnull(strstr(hutch_error(h), "/nonexistent"));
	}
	ck_assert_uint_eq(entries("/proc/self/fd"), fds);
	ck_assert_int_eq(hutch_set(h, "kernel", flat_path("hello", path, sizeof(path))), 0);
	ck_assert_msg(!hutch_start(h), "%s", hutch_error(h));
	ck_assert_int_eq(wait_for(h, &r), HUTCH_POWEROFF);
	hutch_free(h);
	ck_assert_uint_eq(entries("/proc/self/fd"), fds);
}
END_TEST

static uint64_t reg64(const void *tree, const char *name)
{
	int node = fdt_path_offset(tree, "/state/cpu@0/regs"), len = 0;
	const fdt64_t *p = fdt_getprop(tree, node, name, &len);

	ck_assert_msg(p && len == 8, "%s has %d bytes", name, len);
	return fdt64_ld(p);
}

/* what the first CPU has counted, in ebp: 0 before count.S has begun */
static uint64_t counted(struct hutch *h)
{
	void *tree = NULL;
	int size = hutch_tree(h, &tree);
	uint64_t v;

	ck_assert_msg(size > 0, "%s", hutch_error(h));
	ck_assert_int_eq(fdt_check_full(tree, (size_t)size), 0);
	ck_assert_int_ge(fdt_path_offset(tree, "/config"), 0);
	v = reg64(tree, "rcx") == 0x1234567 ? reg64(tree, "rbp") : 0;
	free(tree);
	return v;
}

static void wait_for_work(struct hutch *h)
{
	unsigned i = 0;

	while (!counted(h) && i++ < 1000)
		sleep_ms(1);
	ck_assert_uint_gt(counted(h), 0);
}

START_TEST(test_pause_freezes)
{
	struct hutch *h = handle("count", NULL);
	struct hutch_result r;
	uint64_t last = 0;

	ck_assert_int_eq(hutch_start(h), 0);
	wait_for_work(h);
	for (unsigned i = 0; i < 50; i++) {
		uint64_t now;

		ck_assert_int_eq(hutch_pause(h), 0);
		now = counted(h);
		ck_assert_uint_ge(now, last);
		if (i % 10 == 0)
			sleep_ms(2);
		ck_assert_uint_eq(counted(h), now);
		ck_assert_int_eq(hutch_resume(h), 0);
		if (i % 10 == 0) {
			sleep_ms(5);
			ck_assert_uint_gt(counted(h), now);
		}
		last = now;
	}
	ck_assert_int_eq(hutch_pause(h), 0);
	ck_assert_int_eq(hutch_stop(h), 0); /* also of one that is paused */
	ck_assert_int_eq(wait_for(h, &r), HUTCH_STOPPED);
	hutch_free(h);
}
END_TEST

START_TEST(test_tree_while_it_works)
{
	struct hutch *h = handle("count", NULL);
	struct hutch_result r;
	uint64_t first;

	ck_assert_int_eq(hutch_set(h, "cpus", "2"), 0);
	ck_assert_int_eq(hutch_start(h), 0);
	wait_for_work(h);
	first = counted(h);
	for (unsigned i = 0; i < 50; i++)
		counted(h);
	ck_assert_uint_gt(counted(h), first);
	ck_assert_int_eq(hutch_wait(h, 0, &r), -ETIMEDOUT);
	hutch_free(h);
}
END_TEST

/* counters are to be had at any time after the start, and no vCPU waits for them */
START_TEST(test_counters)
{
	struct hutch *h = handle("count", NULL);
	const fdt32_t *percent;
	void *tree = NULL;
	int size, node, len;

	ck_assert_int_eq(hutch_counters(h, &tree), -EINVAL);
	ck_assert_int_eq(hutch_start(h), 0);
	ck_assert_int_eq(hutch_set(h, "cpu-percent", "30"), 0);
	for (unsigned i = 0; i < 3; i++) {
		size = hutch_counters(h, &tree);
		ck_assert_int_gt(size, 0);
		ck_assert_int_eq(fdt_check_full(tree, (size_t)size), 0);
		node = fdt_path_offset(tree, "/counters/vcpus");
		percent = fdt_getprop(tree, node, "cpu_percent", &len);
		ck_assert_ptr_nonnull(percent);
		ck_assert_uint_eq(fdt32_ld(percent), 30);
		ck_assert_int_ge(fdt_path_offset(tree, "/counters/rng"), 0);
		ck_assert_int_lt(fdt_path_offset(tree, "/state"), 0);
		free(tree);
		if (!i)
			ck_assert_int_eq(hutch_pause(h), 0);
		else if (i == 1)
			ck_assert_int_eq(hutch_stop(h), 0);
	}
	hutch_free(h);
}
END_TEST

START_TEST(test_tree_prints)
{
	struct hutch *h = handle("hello", NULL);
	void *tree = NULL;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int size = hutch_tree(h, &tree); /* not started: what it would be */

	ck_assert_int_gt(size, 0);
	ck_assert_int_eq(hutch_tree_print(tree, (size_t)size, out, true), 0);
	fclose(out);
	ck_assert_ptr_nonnull(strstr(text, "\"memory\""));
	ck_assert_int_eq(hutch_tree_print(tree, 10, stderr, false), -EINVAL);
	memset(tree, 0, 4);
	ck_assert_int_eq(hutch_tree_print(tree, (size_t)size, stderr, false), -EINVAL);
	free(tree);
	free(text);
	hutch_free(h);
}
END_TEST

static void *stop_later(void *arg)
{
	sleep_ms(20);
	ck_assert_int_eq(hutch_stop(arg), 0);
	return NULL;
}

/* from another thread than the one that waits */
START_TEST(test_stop_from_a_thread)
{
	struct hutch *h = handle("ends", "h"); /* sleeps for good */
	struct hutch_result r;
	pthread_t t;

	ck_assert_int_eq(hutch_start(h), 0);
	pthread_create(&t, NULL, stop_later, h);
	ck_assert_int_eq(hutch_wait(h, -1, &r), 0);
	ck_assert_int_eq(r.end, HUTCH_STOPPED);
	pthread_join(t, NULL);
	hutch_free(h);
}
END_TEST

/* of one that does nothing but begin again */
START_TEST(test_stop_while_it_resets)
{
	struct hutch *h = handle("ends", "c");
	struct hutch_result r;

	ck_assert_int_eq(hutch_set(h, "on-reboot", "reset"), 0);
	ck_assert_int_eq(hutch_start(h), 0);
	sleep_ms(50);
	ck_assert_int_eq(hutch_stop(h), 0);
	ck_assert_int_eq(wait_for(h, &r), HUTCH_STOPPED);
	ck_assert_uint_gt(r.resets, 1);
	hutch_free(h);
}
END_TEST

START_TEST(test_two_at_once)
{
	struct hutch *a = handle("count", NULL), *b = handle("ends", "P");
	struct hutch_result r;

	ck_assert_int_eq(hutch_start(a), 0);
	ck_assert_int_eq(hutch_start(b), 0);
	ck_assert_int_eq(wait_for(b, &r), HUTCH_PANIC);
	hutch_free(b);
	ck_assert_int_eq(hutch_wait(a, 0, &r), -ETIMEDOUT);
	wait_for_work(a);
	ck_assert_int_eq(hutch_stop(a), 0);
	ck_assert_int_eq(wait_for(a, &r), HUTCH_STOPPED);
	hutch_free(a);
}
END_TEST

/* how many of a kind this process has */
struct has {
	unsigned fds, threads;
	long size, maps;
};

static long maps(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	long n = 0;
	int c;

	while ((c = getc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

static struct has what_it_has(void)
{
	struct has h = { .threads = entries("/proc/self/task"), .maps = maps() };

	h.fds = entries("/proc/self/fd");
	h.size = proc_status("VmSize:");
	return h;
}

START_TEST(test_nothing_is_left)
{
	struct has before = { 0 }, after;
	char disk[] = "/tmp/t_lib.XXXXXX";
	int fd = mkstemp(disk);

	ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
	close(fd);
	for (unsigned i = 0; i < 52; i++) {
		bool runs = i % 4 == 3;
		struct hutch *h = handle(runs ? "count" : "ends", i % 4 == 1 ? "P" : "o");
		struct hutch_result r;

		if (i % 3 == 0)
			ck_assert_int_eq(hutch_set(h, "disk", disk), 0);
		if (i % 2)
			ck_assert_int_eq(hutch_set(h, "transport", "pci"), 0);
		ck_assert_int_eq(hutch_set(h, "cpus", i & 1 ? "2" : "1"), 0);
		ck_assert_msg(!hutch_start(h), "%s", hutch_error(h));
		if (!runs)
			wait_for(h, &r);
		hutch_free(h);
		if (i == 1) /* the first ones set up what stays: arenas, stacks for threads */
			before = what_it_has();
	}
	unlink(disk);
	after = what_it_has();
	ck_assert_uint_eq(after.fds, before.fds);
	ck_assert_uint_eq(after.threads, before.threads);
#ifndef __SANITIZE_ADDRESS__
	ck_assert_int_le(after.maps, before.maps + 20);
	ck_assert_int_le(after.size, before.size + (160 << 10)); /* arenas of malloc, 64 MiB each */
#endif
}
END_TEST

START_TEST(test_timing)
{
	struct hutch *h = handle("hello", NULL);
	struct hutch_phase p;
	struct hutch_result r;
	unsigned n = 0;

	ck_assert_int_eq(hutch_timing(h, 0, &p), -ENOENT);
	ck_assert_int_eq(hutch_start(h), 0);
	wait_for(h, &r);
	for (; !hutch_timing(h, n, &p); n++) {
		ck_assert_uint_gt(strlen(p.name), 0);
		ck_assert_msg(p.us > 0 && p.us < 10e6, "%s: %f us", p.name, p.us);
	}
	ck_assert_uint_ge(n, 8);
	hutch_free(h);
}
END_TEST

START_TEST(test_facts)
{
	struct hutch_fact fact;
	unsigned n = 0, broken = 0;

	for (; !hutch_fact(n, &fact); n++) {
		ck_assert_uint_gt(strlen(fact.name), 0);
		ck_assert_uint_gt(strlen(fact.text), 0);
		ck_assert_msg(fact.state == HUTCH_OK || fact.fix, "%s: no fix", fact.name);
		/* machines ran just now; only Linux may be out of reach */
		broken += fact.state == HUTCH_BROKEN &&
			  (strcmp(fact.name, "virtualization") || kvm_host_has_virtualization());
	}
	ck_assert_uint_gt(n, 2);
	ck_assert_uint_eq(broken, 0);
}
END_TEST

START_TEST(test_nothing)
{
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, test_ends, 0, sizeof(ends) / sizeof(ends[0]));
	tcase_add_test(tc, test_console_fd);
	tcase_add_test(tc, test_resets_are_counted);
	tcase_add_test(tc, test_order);
	tcase_add_test(tc, test_start_after_failure);
	tcase_add_test(tc, test_pause_freezes);
	tcase_add_test(tc, test_tree_while_it_works);
	tcase_add_test(tc, test_counters);
	tcase_add_test(tc, test_tree_prints);
	tcase_add_test(tc, test_stop_from_a_thread);
	tcase_add_test(tc, test_stop_while_it_resets);
	tcase_add_test(tc, test_two_at_once);
	tcase_add_test(tc, test_nothing_is_left);
	tcase_add_test(tc, test_timing);
	tcase_add_test(tc, test_facts);
}

int main(int argc, char **argv)
{
	Suite *suite = suite_create("lib");
	TCase *tc = tcase_create("lib");

	(void)argc;
	flat_setup(argv[0]);
	tcase_set_timeout(tc, 60);
	if (flat_possible())
		add_tests(tc);
	else
		tcase_add_test(tc, test_nothing);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
