/* t_kvm_hostile - flat guests that behave badly, on /dev/kvm */
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "kvm_rig.h"
#include "suite.h"

/*
 * Nobody reads its console: it goes on, our memory does not grow, and what is
 * lost is counted.  A reader that comes late gets all the rest.  Where each
 * byte is a costly exit the flood only just spills.
 */
START_TEST(test_flood)
{
	unsigned kib = kvm_host_has_virtualization() ? 5000 : 272;
	struct flat *f cleanup_flat = NULL;
	struct pollfd p = { .events = POLLIN };
	char arg[16];
	uint64_t start, dropped;
	long rss;
	size_t have = 0;

	snprintf(arg, sizeof(arg), "%u", kib);
	f = flat_new("flood", "append", arg, NULL);
	ck_assert_msg(f != NULL, "%s", err_last());
	p.fd = f->out;
	ck_assert_int_eq(fcntl(f->out, F_SETPIPE_SZ, 4096), 4096);
	f->stalled = true;
	start = now_ns();
	rss = proc_status("VmRSS:");
	ck_assert_int_eq(flat_run(f, 50), VM_POWEROFF);
	ck_assert_uint_gt(now_ns() - start, 500000000ULL); /* it had half a second to be read */
	ck_assert_int_lt(proc_status("VmRSS:") - rss, 4 << 10);
	dropped = stream_dropped(f->vm->console);
	ck_assert_uint_gt(dropped, 0);
	ck_assert_uint_le(dropped, kib * 1024 - STREAM_RING);
	while (have + dropped < kib * 1024 && poll(&p, 1, 1000) > 0)
		have += (size_t)read(f->out, f->text, sizeof(f->text));
	ck_assert_uint_eq(have + dropped, kib * 1024);
	ck_assert_uint_eq(stream_dropped(f->vm->console), dropped);
}
END_TEST

static const struct {
	const char *arg, *transport;
} sweeps[] = {
	{ "m1234", "mmio" },
	{ "mabcd", "mmio" },
	{ "p1234", "pci" },
	{ "pabcd", "pci" },
};

START_TEST(test_sweep)
{
	char path[] = "/tmp/t_kvm.XXXXXX";
	struct flat *f cleanup_flat = NULL;
	int fd = mkstemp(path);
	enum vm_end end;

	ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
	close(fd);
	f = flat_new("sweep", "append", sweeps[_i].arg, "transport", sweeps[_i].transport, "disk",
		     path, NULL);
	unlink(path);
	ck_assert_msg(f != NULL, "%s", err_last());
	end = flat_run(f, 30);
	ck_assert_msg(end == VM_POWEROFF, "%d: %s", end, f->vm->event_text);
}
END_TEST

START_TEST(test_nothing)
{
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, test_flood);
	tcase_add_loop_test(tc, test_sweep, 0, ARRAY_SIZE(sweeps));
}

int main(int argc, char **argv)
{
	Suite *suite = suite_create("kvm_hostile");
	TCase *tc = tcase_create("kvm_hostile");

	(void)argc;
	flat_setup(argv[0]);
	tcase_set_timeout(tc, 90);
	if (flat_possible())
		add_tests(tc);
	else
		tcase_add_test(tc, test_nothing);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
