/*
 * t_kvm_virtio - virtio devices on /dev/kvm: a guest that uses them all, one that abuses them all,
 * and one that sleeps
 */
#include <dirent.h>
#include <unistd.h>

#include "echo_rig.h"
#include "kvm_rig.h"
#include "suite.h"

static char disk[] = "/tmp/t_kvm_virtio.XXXXXX";

static void make_disk(void)
{
	cleanup_fd int fd = mkstemp(disk);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, MiB), 0);
}

static void remove_disk(void)
{
	unlink(disk);
	strcpy(disk + strlen(disk) - 6, "XXXXXX");
}

static void make_host(void)
{
	make_disk();
	echo_begin();
}

static void remove_host(void)
{
	echo_end();
	remove_disk();
}

static const char *const buses[] = { "mmio", "pci" };

static void expect_end(struct flat *f, enum vm_end want)
{
	enum vm_end end = flat_run(f, 30);

	ck_assert_msg(end == want, "ended with %d (%s), printed: %s", end, f->vm->event_text,
		      f->text);
}

/* what the guest said, wherever its serial port leads */
static const char *said(struct flat *f)
{
	return (const char *)(uintptr_t)flat_word(f, FLAT_BUFFER);
}

START_TEST(test_all)
{
	struct flat *f cleanup_flat = flat_new("all", "transport", buses[_i], "disk", disk,
					       "balloon", "1M,stats=1", NULL);

	ck_assert_msg(f != NULL, "%s", err_last());
	expect_end(f, VM_POWEROFF);
	ck_assert_str_eq(f->text, "blk: ok\nrng: ok\nballoon: ok\ndone\n");
}
END_TEST

START_TEST(test_all_without)
{
	struct flat *f cleanup_flat = flat_new("all", "rng", "no", NULL);

	ck_assert_msg(f != NULL, "%s", err_last());
	expect_end(f, VM_POWEROFF);
	ck_assert_str_eq(f->text, "done\n");
}
END_TEST

/* the stream is the virtio console's, and nobody else's */
START_TEST(test_all_console)
{
	struct flat *f cleanup_flat = flat_new("all", "transport", buses[_i], "disk", disk,
					       "balloon", "1M", "console-device", "virtio", NULL);

	ck_assert_msg(f != NULL, "%s", err_last());
	expect_end(f, VM_POWEROFF);
	ck_assert_str_eq(f->text, "a line on the virtio console\n"
				  "blk: ok\nrng: ok\nballoon: ok\nconsole: ok\ndone\n");
}
END_TEST

static const struct {
	const char *guest, *text;
} panics[] = {
	{ "ends", "kernel panicked: VFS: Unable" }, /* on the serial port all the same */
	{ "all", "kernel panicked: by virtio" },
};

START_TEST(test_panic)
{
	struct flat *f cleanup_flat =
		flat_new(panics[_i].guest, "append", "P", "console-device", "virtio", NULL);

	ck_assert_msg(f != NULL, "%s", err_last());
	expect_end(f, VM_PANIC);
	ck_assert_msg(strstr(f->vm->event_text, panics[_i].text) != NULL, "%s", f->vm->event_text);
}
END_TEST

/* with a console of its own, whose output nobody could read */
START_TEST(test_hostile)
{
	struct flat *f cleanup_flat =
		flat_new("hostile", "transport", buses[_i], "disk", disk, "balloon", "1M",
			 "console-device", "virtio", "console", "none", NULL);

	ck_assert_msg(f != NULL, "%s", err_last());
	expect_end(f, VM_POWEROFF);
	ck_assert_str_eq(said(f), "blk: 50 rings\nrng: 50 rings\nconsole: 100 rings\n"
				  "balloon: 200 rings\ndone\n");
}
END_TEST

/* --- the balloon's size, live --- */

static int set_balloon(struct vm *vm, const char *size)
{
	return vm_set(vm, "balloon", size);
}

static int to_24m(struct vm *vm)
{
	return set_balloon(vm, "24M");
}

static int to_nothing(struct vm *vm)
{
	return set_balloon(vm, "0M");
}

/* 1: one of the refusals is not one */
static int too_much(struct vm *vm)
{
	if (set_balloon(vm, "65M") != -EINVAL || !strstr(err_last(), "memory of 64M"))
		return 1;
	return vm_set(vm, "balloon", "deflate_on_oom=no") != -EINVAL ||
	       vm_set(vm, "console-size", "80x25") != -EINVAL;
}

START_TEST(test_balloon)
{
	struct flat *f cleanup_flat =
		flat_new("inflate", "transport", buses[_i], "balloon", "0M", NULL);
	long full, given;

	ck_assert_msg(f != NULL, "%s", err_last());
	ck_assert_int_eq(flat_start(f), 0);
	ck_assert_int_eq(flat_wait_text(f, "full\n"), 0);
	full = proc_status("VmRSS:");
	ck_assert_int_ge(full, 32 << 10);
	ck_assert_int_eq(flat_call(f, too_much), 0);
	ck_assert_int_eq(flat_call(f, to_24m), 0);
	ck_assert_int_eq(flat_wait_text(f, "given\n"), 0);
	given = proc_status("VmRSS:");
	ck_assert_msg(given <= full - (23 << 10), "%ld KiB, then %ld", full, given);
	ck_assert_uint_eq(f->conf.balloon[0].size, 24 * MiB);
	ck_assert_int_eq(flat_call(f, to_nothing), 0);
	ck_assert_int_eq(flat_wait(f, 10), VM_POWEROFF);
	ck_assert_str_eq(f->text, "full\ngiven\ndone\n");
}
END_TEST

static const struct {
	const char *key, *value, *text;
} refused[] = {
	{ "balloon", "65M", "more than the machine's memory of 64M" },
	{ "console-size", "80", "write COLUMNSxROWS" },
	{ "console-size", "80x25", "a serial port has no size" },
};

START_TEST(test_refused)
{
	struct flat *f = flat_new("all", refused[_i].key, refused[_i].value, NULL);

	ck_assert_ptr_null(f);
	ck_assert_msg(strstr(err_last(), refused[_i].text) != NULL, "%s", err_last());
}
END_TEST

/* --- a machine that sleeps --- */

/* how often the threads of this process were woken, but for this one */
static unsigned long wakes(void)
{
	DIR *dir = opendir("/proc/self/task");
	unsigned long sum = 0;
	struct dirent *e;

	while ((e = readdir(dir))) {
		char path[300], line[128];
		unsigned long n;
		FILE *file;

		if (*e->d_name == '.' || atoi(e->d_name) == gettid())
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%s/status", e->d_name);
		file = fopen(path, "re");
		while (file && fgets(line, sizeof(line), file))
			if (sscanf(line, "voluntary_ctxt_switches: %lu", &n) == 1)
				sum += n;
		if (file)
			fclose(file);
	}
	closedir(dir);
	return sum;
}

static void expect_idle(struct flat *f, const char *devices)
{
	unsigned long before, after;

	ck_assert_int_eq(flat_start(f), 0);
	for (unsigned i = 0; i < 100 && !strstr(said(f), "devices\n"); i++)
		sleep_ms(20);
	ck_assert_str_eq(said(f), devices);
	sleep_ms(200);
	before = wakes();
	sleep_ms(2000);
	after = wakes();
	ck_assert_msg(after - before < 20, "%lu wake-ups in 2 s", after - before);
}

START_TEST(test_nothing)
{
}
END_TEST

/* all that there is, on one machine */
START_TEST(test_everything)
{
	struct flat *f cleanup_flat =
		flat_new("all", "transport", buses[_i], "disk", disk, "net", echo_net, "vsock",
			 echo_vsock, "balloon", "1M", "console-device", "virtio", NULL);

	ck_assert_msg(f != NULL, "%s", err_last());
	expect_end(f, VM_POWEROFF);
	ck_assert_str_eq(f->text,
			 "a line on the virtio console\n"
			 "blk: ok\nnet: ok\nvsock: ok\nrng: ok\nballoon: ok\nconsole: ok\ndone\n");
}
END_TEST

START_TEST(test_hostile_to_the_host)
{
	struct flat *f cleanup_flat = flat_new("hostile", "transport", buses[_i], "net", echo_net,
					       "vsock", echo_vsock, "rng", "no", NULL);

	ck_assert_msg(f != NULL, "%s", err_last());
	expect_end(f, VM_POWEROFF);
	ck_assert_str_eq(said(f), "net: 100 rings\nvsock: 150 rings\ndone\n");
}
END_TEST

START_TEST(test_everything_idle)
{
	struct flat *f cleanup_flat =
		flat_new("idle", "transport", buses[_i], "disk", disk, "net", echo_net, "vsock",
			 echo_vsock, "balloon", "0M,stats=1", "console-device", "virtio", NULL);

	ck_assert_msg(f != NULL, "%s", err_last());
	expect_idle(f, "idle: 6 devices\n");
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, make_host, remove_host);
	tcase_add_loop_test(tc, test_all, 0, ARRAY_SIZE(buses));
	tcase_add_test(tc, test_all_without);
	tcase_add_loop_test(tc, test_all_console, 0, ARRAY_SIZE(buses));
	tcase_add_loop_test(tc, test_panic, 0, ARRAY_SIZE(panics));
	tcase_add_loop_test(tc, test_hostile, 0, ARRAY_SIZE(buses));
	tcase_add_loop_test(tc, test_balloon, 0, ARRAY_SIZE(buses));
	tcase_add_loop_test(tc, test_refused, 0, ARRAY_SIZE(refused));
	tcase_add_loop_test(tc, test_everything, 0, ARRAY_SIZE(buses));
	tcase_add_loop_test(tc, test_hostile_to_the_host, 0, ARRAY_SIZE(buses));
	tcase_add_loop_test(tc, test_everything_idle, 0, ARRAY_SIZE(buses));
}

int main(int argc, char **argv)
{
	Suite *suite = suite_create("kvm_virtio");
	TCase *tc = tcase_create("kvm_virtio");

	(void)argc;
	flat_setup(argv[0]);
	echo_setup(argv[0]);
	tcase_set_timeout(tc, 60);
	if (flat_possible())
		add_tests(tc);
	else
		tcase_add_test(tc, test_nothing);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
