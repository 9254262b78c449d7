/* t_kvm_life - flat guests on /dev/kvm: how a machine ends, begins again, pauses and is looked at
 */
#include <libfdt.h>
#include <unistd.h>

#include "irqchip.h"
#include "kvm_rig.h"
#include "suite.h"

/* --- ends --- */

static const struct {
	const char *arg;
	enum vm_end end;
	const char *text; /* part of the sentence */
	bool only_without_hardware;
} ends[] = {
	{ "o", VM_POWEROFF, "the guest powered off", false },
	{ "c", VM_REBOOT, "the guest rebooted", false },
	{ "k", VM_REBOOT, "keyboard controller", false },
	{ "a", VM_REBOOT, "the guest rebooted", false },
	{ "t", VM_TRIPLE_FAULT, "triple fault on vCPU 0 at rip 0x10", false },
	{ "P", VM_PANIC, "kernel panicked: VFS: Unable to mount root fs", false },
	{ "v", VM_PANIC, "kernel panicked", false },
	{ "x", VM_ERROR, "no hardware virtualization", true },
};

START_TEST(test_end)
{
	struct flat *f cleanup_flat = NULL;
	enum vm_end end;

	if (ends[_i].only_without_hardware && kvm_host_has_virtualization()) {
		fprintf(stderr, "skip test_end: this host's KVM runs every instruction\n");
		return;
	}
	f = flat_new("ends", "append", ends[_i].arg, NULL);
	ck_assert_msg(f != NULL, "%s", err_last());
	end = flat_run(f, 10);
	ck_assert_msg(end == ends[_i].end && strstr(f->vm->event_text, ends[_i].text), "%d: %s",
		      end, f->vm->event_text);
	ck_assert_msg(!strstr(f->text, "it runs on"), "printed: %s", f->text);
	if (end == VM_ERROR) { /* what it is, where, and the bytes */
		ck_assert_ptr_nonnull(strstr(f->vm->event_text, "rip 0x1"));
		ck_assert_ptr_nonnull(strstr(f->vm->event_text, "(bytes f3 0f b8 c0"));
	}
}
END_TEST

static const struct {
	const char *arg, *cpus, *transport;
} resets[] = {
	{ "cr", "1", "mmio" }, { "cr", "4", "pci" },  { "kr", "1", "pci" },
	{ "kr", "4", "mmio" }, { "ar", "1", "mmio" }, { "ar", "4", "pci" },
};

START_TEST(test_reset)
{
	struct flat *f cleanup_flat =
		flat_new("ends", "append", resets[_i].arg, "cpus", resets[_i].cpus, "on-reboot",
			 "reset", "transport", resets[_i].transport, NULL);
	enum vm_end end;

	ck_assert_msg(f != NULL, "%s", err_last());
	end = flat_run(f, 20);
	ck_assert_msg(end == VM_POWEROFF, "%d: %s, printed: %s", end, f->vm->event_text, f->text);
	ck_assert_str_eq(f->text, "12345");
	ck_assert_uint_eq(f->vm->resets, 4);
}
END_TEST

/* one that was not asked for ends the machine */
START_TEST(test_panic_is_no_reset)
{
	struct flat *f cleanup_flat = flat_new("ends", "append", "P", "on-reboot", "reset", NULL);

	ck_assert_msg(f != NULL, "%s", err_last());
	ck_assert_int_eq(flat_run(f, 10), VM_PANIC);
	ck_assert_uint_eq(f->vm->resets, 0);
}
END_TEST

/* --- pause --- */

static struct flat *counting(const char *cpus)
{
	struct flat *f = flat_new("count", "cpus", cpus, NULL);

	ck_assert_msg(f != NULL, "%s", err_last());
	ck_assert_int_eq(flat_start(f), 0);
	for (unsigned i = 0; i < f->vm->cpus; i++)
		ck_assert(flat_until_set(f, FLAT_MAILBOX + 4 * i));
	return f;
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

static void expect_good_end(struct flat *f)
{
	*flat_word(f, FLAT_MAILBOX + 128) = 1;
	ck_assert_int_eq(flat_wait(f, 10), VM_POWEROFF);
	ck_assert_str_eq(f->text, "done\n");
}

static const char *const pause_cpus[] = { "1", "2" };

START_TEST(test_pause)
{
	struct flat *f cleanup_flat = counting(pause_cpus[_i]);
	uint32_t before[2], after[2];

	for (unsigned round = 0; round < 200; round++) {
		ck_assert_int_eq(flat_pause(f), 0);
		for (unsigned i = 0; i < 2; i++)
			before[i] = *flat_word(f, FLAT_MAILBOX + 4 * i);
		if (round % 20 == 0)
			sleep_ms(5);
		for (unsigned i = 0; i < 2; i++)
			after[i] = *flat_word(f, FLAT_MAILBOX + 4 * i);
		ck_assert_mem_eq(before, after, sizeof(before));
		if (round % 50 == 0)
			ck_assert_int_eq(flat_pause(f), -EINVAL); /* it is already */
		ck_assert_int_eq(flat_resume(f), 0);
		if (round % 20 == 0)
			expect_goes_on(f);
	}
	ck_assert_int_eq(flat_resume(f), -EINVAL);
	expect_goes_on(f);
	expect_good_end(f);
	ck_assert_int_eq(flat_pause(f), -EINVAL);
}
END_TEST

/* a wish to pause outlasts a look at the machine */
static void *tree;

static int take_tree(struct vm *vm)
{
	return vm_tree(vm, &tree);
}

static void check_tree(int size, unsigned cpus)
{
	int state, node;

	ck_assert_msg(size > 0, "%s", err_last());
	ck_assert_int_eq(fdt_check_full(tree, (size_t)size), 0);
	ck_assert_int_ge(fdt_path_offset(tree, "/config"), 0);
	ck_assert_int_ge(fdt_path_offset(tree, "/state/cpu@0/regs"), 0);
	ck_assert_int_ge(fdt_path_offset(tree, "/state/irqchip"), 0);
	ck_assert_int_ge(fdt_path_offset(tree, "/state/serial"), 0);
	state = fdt_path_offset(tree, "/state");
	fdt_for_each_subnode(node, tree, state) cpus -=
		!strncmp(fdt_get_name(tree, node, NULL), "cpu@", 4);
	ck_assert_uint_eq(cpus, 0);
	free(tree);
}

START_TEST(test_tree_of_running)
{
	struct flat *f cleanup_flat = counting("2");
	uint32_t before;

	for (unsigned i = 0; i < 50; i++)
		check_tree(flat_call(f, take_tree), 2);
	expect_goes_on(f);
	ck_assert_int_eq(flat_pause(f), 0);
	check_tree(flat_call(f, take_tree), 2);
	before = *flat_word(f, FLAT_MAILBOX);
	sleep_ms(5);
	ck_assert_uint_eq(before, *flat_word(f, FLAT_MAILBOX));
	ck_assert_int_eq(flat_resume(f), 0);
	expect_goes_on(f);
	expect_good_end(f);
	check_tree(flat_call(f, take_tree), 2);
}
END_TEST

/* --- registers --- */

#define MSR_TSC		 0x10
#define MSR_TSC_DEADLINE 0x6e0

/* the TSC goes on, and a deadline of 0 is stored as the TSC */
static void drop_time(struct vcpu_state *s)
{
	struct kvm_msr_entry e;

	for (uint32_t at = 0; at < s->msrs_len; at += sizeof(e)) {
		memcpy(&e, s->msrs + at, sizeof(e));
		if (e.index == MSR_TSC || e.index == MSR_TSC_DEADLINE)
			e.data = 0;
		memcpy(s->msrs + at, &e, sizeof(e));
	}
}

#define SAME(part) ck_assert_mem_eq(&a->part, &b->part, sizeof(a->part))

static void expect_identity(struct vm *vm, struct vcpu *v)
{
	cleanup_free struct vcpu_state *a = calloc(1, sizeof(*a)), *b = calloc(1, sizeof(*b));
	struct kvm_xcrs xcrs;

	ck_assert_int_eq(regs_get(&vm->kvm, v->fd, a), 0);
	ck_assert_int_eq(regs_set(&vm->kvm, v->fd, a), 0);
	ck_assert_int_eq(regs_get(&vm->kvm, v->fd, b), 0);
	drop_time(a);
	drop_time(b);
	SAME(mp_state);
	SAME(tsc_khz);
	SAME(regs);
	SAME(sregs);
	SAME(debugregs);
	SAME(xcrs);
	SAME(events);
	SAME(lapic);
	SAME(msrs_len);
	SAME(msrs);
	SAME(xsave_len);
	SAME(xsave);
	ck_assert_uint_gt(a->msrs_len, 10 * sizeof(struct kvm_msr_entry));
	ck_assert_uint_eq(a->regs.rcx, 0x1234567); /* of count.S: it was at work */
	ck_assert_uint_eq(a->mp_state, KVM_MP_STATE_RUNNABLE);
	memcpy(&xcrs, a->xcrs, sizeof(xcrs));
	ck_assert_uint_ge(xcrs.nr_xcrs, 1);
	ck_assert_uint_eq(xcrs.xcrs[0].value & 1, 1); /* x87, always on */
}

static int same_registers(struct vm *vm)
{
	struct irqchip_state a, b;

	vm_pause(vm);
	for (unsigned i = 0; i < vm->cpus; i++)
		expect_identity(vm, &vm->vcpu[i]);
	ck_assert_int_eq(irqchip_get(&vm->kvm, &a), 0);
	ck_assert_int_eq(irqchip_set(&vm->kvm, &a), 0);
	ck_assert_int_eq(irqchip_get(&vm->kvm, &b), 0);
	ck_assert_uint_ge(b.clock, a.clock);
	a.clock = b.clock = 0;
	ck_assert_mem_eq(&a, &b, sizeof(a));
	vm_resume(vm);
	return 0;
}

START_TEST(test_regs_identity)
{
	struct flat *f cleanup_flat = counting(pause_cpus[_i]);

	for (unsigned i = 0; i < 50; i++)
		ck_assert_int_eq(flat_call(f, same_registers), 0);
	expect_goes_on(f);
	expect_good_end(f);
}
END_TEST

/* what is set is what runs: a register, a flag, an MSR, and the FPU's own */
static int change_registers(struct vm *vm)
{
	cleanup_free struct vcpu_state *s = calloc(1, sizeof(*s));

	vm_pause(vm);
	ck_assert_int_eq(regs_get(&vm->kvm, vm->vcpu[0].fd, s), 0);
	s->regs.rcx ^= 1; /* the guest will see it */
	ck_assert_int_eq(regs_set(&vm->kvm, vm->vcpu[0].fd, s), 0);
	vm_resume(vm);
	return 0;
}

START_TEST(test_regs_set)
{
	struct flat *f cleanup_flat = counting("1");

	ck_assert_int_eq(flat_call(f, change_registers), 0);
	ck_assert(flat_until(f, FLAT_MAILBOX + 64, 0xbad));
}
END_TEST

/* --- many --- */

START_TEST(test_two_at_once)
{
	struct flat *a cleanup_flat = counting("1"), *b cleanup_flat = counting("2");
	uint32_t before;

	expect_goes_on(a);
	expect_goes_on(b);
	ck_assert_int_eq(flat_pause(a), 0);
	before = *flat_word(a, FLAT_MAILBOX);
	expect_goes_on(b);
	ck_assert_uint_eq(*flat_word(a, FLAT_MAILBOX), before);
	expect_good_end(b);
	ck_assert_int_eq(flat_resume(a), 0);
	expect_goes_on(a);
	expect_good_end(a);
}
END_TEST

/* at any moment, also the first */
START_TEST(test_free_while_running)
{
	for (unsigned i = 0; i < 30; i++) {
		struct flat *f = flat_new("count", "cpus", i & 1 ? "3" : "1", NULL);

		ck_assert_msg(f != NULL, "%s", err_last());
		if (i % 3)
			ck_assert_int_eq(flat_start(f), 0);
		if (i % 5 == 4)
			sleep_ms(2);
		flat_free(f);
	}
}
END_TEST

START_TEST(test_nothing)
{
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, test_end, 0, ARRAY_SIZE(ends));
	tcase_add_loop_test(tc, test_reset, 0, ARRAY_SIZE(resets));
	tcase_add_test(tc, test_panic_is_no_reset);
	tcase_add_loop_test(tc, test_pause, 0, ARRAY_SIZE(pause_cpus));
	tcase_add_test(tc, test_tree_of_running);
	tcase_add_loop_test(tc, test_regs_identity, 0, ARRAY_SIZE(pause_cpus));
	tcase_add_test(tc, test_regs_set);
	tcase_add_test(tc, test_two_at_once);
	tcase_add_test(tc, test_free_while_running);
}

int main(int argc, char **argv)
{
	Suite *suite = suite_create("kvm_life");
	TCase *tc = tcase_create("kvm_life");

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
