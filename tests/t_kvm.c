/* t_kvm - flat guests on /dev/kvm: what leaves the guest, processors, interrupts, disks, memory */
#include <fcntl.h>
#include <unistd.h>

#include "kvm_rig.h"
#include "suite.h"

#define PML4_PAGE  0x40 /* the guest's page tables: KVM marks what they were used for */
#define PML4_PAGES 7

static void expect_end(struct flat *f, enum vm_end want, const char *text)
{
	enum vm_end end = flat_run(f, 20);

	ck_assert_msg(end == want, "ended with %d (%s), printed: %s", end, f->vm->event_text,
		      f->text);
	if (text)
		ck_assert_str_eq(f->text, text);
}

/* --- a device of the test's own: each byte read is one more than the last --- */

struct counter {
	struct dev dev;
	struct vm *vm;
	unsigned reads, exits;
	uint64_t last_exit;
};

static uint64_t counter_read(struct dev *dev, uint64_t off, unsigned len)
{
	struct counter *c = container_of(dev, struct counter, dev);

	(void)off;
	(void)len;
	c->exits += c->last_exit != c->vm->vcpu[0].exits;
	c->last_exit = c->vm->vcpu[0].exits;
	return c->reads++;
}

static void counter_write(struct dev *dev, uint64_t off, unsigned len, uint64_t v)
{
	(void)dev;
	(void)off;
	(void)len;
	(void)v;
}

static const struct bus_ops counter_ops = { counter_read, counter_write };
static const struct dev_type counter_type = { .name = "counter", .size = sizeof(struct counter) };

START_TEST(test_exits)
{
	struct flat *f cleanup_flat = flat_new("exits", "transport", "pci", NULL);
	struct dev *dev;
	struct counter *c;
	uint8_t buf[64];

	ck_assert_msg(f != NULL, "%s", err_last());
	dev = dev_new(&counter_type, -1, &f->vm->m, NULL);
	c = container_of(dev, struct counter, dev);
	c->vm = f->vm;
	ck_assert_int_eq(bus_add(&f->vm->bus, BUS_PORT, 0x900, 1, dev, &counter_ops), 0);
	expect_end(f, VM_POWEROFF, "outsb\ndone\n");

	/* rep ins: in order, none lost or doubled, and many in one exit */
	ck_assert_uint_eq(c->reads, sizeof(buf));
	ck_assert_int_eq(gmem_read(&f->vm->mem, FLAT_BUFFER + 0x100, buf, sizeof(buf)), 0);
	for (unsigned i = 0; i < sizeof(buf); i++)
		ck_assert_uint_eq(buf[i], i);
	ck_assert_uint_lt(c->exits, sizeof(buf) / 2);
	dev_free(dev);
}
END_TEST

static const unsigned smp_cpus[] = { 1, 2, 4, 16 };

START_TEST(test_smp)
{
	unsigned n = smp_cpus[_i];
	char cpus[8], want[128];
	struct flat *f cleanup_flat = NULL;

	snprintf(cpus, sizeof(cpus), "%u", n);
	f = flat_new("smp", "cpus", cpus, NULL);
	ck_assert_msg(f != NULL, "%s", err_last());
	/* leaf 0xB, MADT, came; sum and map of the ids; disagreements; rounds of cmpxchg */
	snprintf(want, sizeof(want), "%08x %08x %08x %08x %08x %08x %08x done\n", n, n, n,
		 n * (n - 1) / 2, (1U << n) - 1, 0, 50 * (n - 1));
	expect_end(f, VM_POWEROFF, want);
}
END_TEST

static const char *const irq_modes[] = { "e", "l", "t" };

START_TEST(test_irq)
{
	struct flat *f cleanup_flat = flat_new("irq", "append", irq_modes[_i], NULL);

	ck_assert_msg(f != NULL, "%s", err_last());
	expect_end(f, VM_POWEROFF,
		   *irq_modes[_i] == 't' ? "done\n" : "sent by interrupts..\ndone\n");
}
END_TEST

/* a byte at a time and all at once, by edge and by level; the guest sleeps meanwhile */
START_TEST(test_irq_receive)
{
	struct flat *f cleanup_flat = flat_new("irq", "append", _i & 1 ? "L" : "E", NULL);
	const char *word = "hello";

	ck_assert_msg(f != NULL, "%s", err_last());
	ck_assert_int_eq(flat_start(f), 0);
	ck_assert_int_eq(flat_wait_text(f, "?"), 0);
	for (unsigned n = _i & 2 ? 5 : 1, at = 0; at < 5; at += n) {
		ck_assert_int_eq(write(f->in, word + at, n), n);
		sleep_ms(5);
	}
	ck_assert_int_eq(flat_wait(f, 5), VM_POWEROFF);
	ck_assert_str_eq(f->text, "?hellodone\n");
}
END_TEST

/* --- disks --- */

#define DISK_WORDS (128 * 64)

static void make_disk(char *path)
{
	uint32_t words[DISK_WORDS];
	cleanup_fd int fd = mkstemp(path);

	for (uint32_t i = 0; i < DISK_WORDS; i++)
		words[i] = i;
	ck_assert_int_eq(write(fd, words, sizeof(words)), sizeof(words));
}

static const char *const transports[] = { "m", "p", "i" };

/* @variant goes behind the transport's letter: exits to user space */
static uint64_t run_blk(unsigned transport, const char *variant)
{
	char path[] = "/tmp/t_kvm.XXXXXX", arg[8];
	struct flat *f cleanup_flat = NULL;
	uint32_t words[256];
	cleanup_fd int fd = -1;

	make_disk(path);
	snprintf(arg, sizeof(arg), "%s%s", transports[transport], variant);
	f = flat_new("blk", "append", arg, "disk", path, "transport", transport ? "pci" : "mmio",
		     NULL);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	unlink(path);
	ck_assert_msg(f != NULL, "%s", err_last());
	expect_end(f, VM_POWEROFF, "done\n");
	ck_assert_int_eq(pread(fd, words, sizeof(words), 512), sizeof(words));
	for (uint32_t i = 0; i < 256; i++)
		if (words[i] != 128 + i % 128)
			ck_abort_msg("word %u of the disk is %u", 128 + i, words[i]);
	return f->vm->vcpu[0].exits;
}

START_TEST(test_blk)
{
	run_blk((unsigned)_i, "");
}
END_TEST

START_TEST(test_blk_broken_and_alive)
{
	run_blk((unsigned)_i, "b");
}
END_TEST

START_TEST(test_blk_frozen)
{
	run_blk((unsigned)_i, "q");
}
END_TEST

START_TEST(test_blk_reset_at_work)
{
	run_blk((unsigned)_i, "s");
}
END_TEST

START_TEST(test_msix_masked)
{
	run_blk(1, "x");
}
END_TEST

/* a thousand kicks that KVM turns into an eventfd's count: none of them comes up here */
START_TEST(test_blk_kicks)
{
	uint64_t without = run_blk((unsigned)_i, ""), with = run_blk((unsigned)_i, "k");

	ck_assert_uint_lt(with, without + 50);
}
END_TEST

/* --- memory --- */

static const struct {
	const char *memory, *map;
} memories[] = {
	{ "2M", "0000000000100000\n0000000000100000\n" },
	{ "4M", "0000000000100000\n0000000000300000\n" },
	{ "64M", "0000000000100000\n0000000003f00000\n" },
	{ "3G", "0000000000100000\n000000007ff00000\n0000000100000000\n0000000040000000\n" },
	{ "6G", "0000000000100000\n000000007ff00000\n0000000100000000\n0000000100000000\n" },
	{ "64G", "0000000000100000\n000000007ff00000\n0000000100000000\n0000000f80000000\n" },
};

START_TEST(test_memory)
{
	struct flat *f cleanup_flat = flat_new("memory", "memory", memories[_i].memory, NULL);
	char want[256];

	if (!f && strstr(err_last(), "cannot map")) {
		fprintf(stderr, "skip test_memory: %s\n", err_last());
		return;
	}
	ck_assert_msg(f != NULL, "%s", err_last());
	snprintf(want, sizeof(want), "%sdone\n", memories[_i].map);
	expect_end(f, VM_POWEROFF, want);
#ifndef __SANITIZE_ADDRESS__
	ck_assert_int_lt(proc_status("VmRSS:"), 24 << 10);
#endif
}
END_TEST

static int track(struct vm *vm)
{
	return kvm_dirty_track(&vm->kvm, &vm->mem, true);
}

static int untrack(struct vm *vm)
{
	return kvm_dirty_track(&vm->kvm, &vm->mem, false);
}

static bool is_in(gpa_t page, const gpa_t *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (list[i] / GMEM_PAGE == page)
			return true;
	return false;
}

/* of slot @i: exactly the pages in @list, and what any round of the guest takes */
static void expect_dirty(struct flat *f, unsigned i, const gpa_t *list, unsigned n)
{
	const struct gmem_slot *s = &f->vm->mem.slot[i];
	uint64_t pages = s->len / GMEM_PAGE;
	cleanup_free unsigned long *map = calloc(pages / 64 + 1, sizeof(*map));

	ck_assert_int_eq(kvm_dirty_log(&f->vm->kvm, i, map), 0);
	for (uint64_t p = 0; p < pages; p++) {
		uint64_t page = s->gpa / GMEM_PAGE + p;
		bool dirty = map[p / 64] >> p % 64 & 1;

		if (dirty != (is_in(page, list, n) || page == FLAT_MAILBOX / GMEM_PAGE) &&
		    page - PML4_PAGE >= PML4_PAGES)
			ck_abort_msg("page %#lx is %sdirty", page, dirty ? "" : "not ");
	}
}

/* have the guest store to all of @list */
static void store_to(struct flat *f, const gpa_t *list, unsigned n)
{
	volatile uint32_t *word = flat_word(f, FLAT_MAILBOX);

	memcpy((void *)(uintptr_t)(word + 4), list, n * sizeof(*list));
	word[1] = n;
	__atomic_store_n((uint32_t *)(uintptr_t)word, 1, __ATOMIC_RELEASE);
	ck_assert(flat_until(f, FLAT_MAILBOX, 2));
}

START_TEST(test_dirty_log)
{
	static const gpa_t first[] = { 0x200000,    0x201ff8,	 0x3fffffc,  0x7ffff000,
				       0x100000000, 0x100fff000, 0x102345678 };
	static const gpa_t second[] = { 0x200008, 0x100001000 };
	struct flat *f cleanup_flat = flat_new("dirty", "memory", "2200M", NULL);
	unsigned long map[8192];

	ck_assert_msg(f != NULL, "%s", err_last());
	ck_assert_int_eq(flat_start(f), 0);
	store_to(f, first, ARRAY_SIZE(first)); /* before tracking: not seen */
	ck_assert_int_eq(flat_pause(f), 0);
	ck_assert_int_eq(flat_call(f, track), 0);
	ck_assert_int_eq(flat_resume(f), 0);
	for (unsigned round = 0; round < 2; round++) {
		store_to(f, first, ARRAY_SIZE(first));
		expect_dirty(f, 0, first, ARRAY_SIZE(first));
		expect_dirty(f, 1, first, ARRAY_SIZE(first));
		store_to(f, second, ARRAY_SIZE(second));
		expect_dirty(f, 0, second, ARRAY_SIZE(second));
		expect_dirty(f, 1, second, ARRAY_SIZE(second));
	}
	ck_assert_int_eq(flat_call(f, untrack), 0);
	ck_assert_int_lt(kvm_dirty_log(&f->vm->kvm, 0, map), 0);
	*flat_word(f, FLAT_MAILBOX) = 3;
	ck_assert_int_eq(flat_wait(f, 5), VM_POWEROFF);
	ck_assert_str_eq(f->text, "done\n");
}
END_TEST

/* a refusal names the key, the value and the host's limit */
START_TEST(test_refused)
{
	struct flat *f = flat_new("count", "cpus", "4000", NULL);

	ck_assert_ptr_null(f);
	ck_assert_ptr_nonnull(strstr(err_last(), "4000"));
}
END_TEST

START_TEST(test_nothing)
{
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, test_exits);
	tcase_add_loop_test(tc, test_smp, 0, ARRAY_SIZE(smp_cpus));
	tcase_add_loop_test(tc, test_irq, 0, ARRAY_SIZE(irq_modes));
	tcase_add_loop_test(tc, test_irq_receive, 0, 4);
	tcase_add_loop_test(tc, test_blk, 0, ARRAY_SIZE(transports));
	tcase_add_loop_test(tc, test_blk_broken_and_alive, 0, ARRAY_SIZE(transports));
	tcase_add_loop_test(tc, test_blk_frozen, 0, ARRAY_SIZE(transports));
	tcase_add_loop_test(tc, test_blk_reset_at_work, 0, ARRAY_SIZE(transports));
	tcase_add_test(tc, test_msix_masked);
	tcase_add_loop_test(tc, test_blk_kicks, 0, ARRAY_SIZE(transports));
	tcase_add_loop_test(tc, test_memory, 0, ARRAY_SIZE(memories));
	tcase_add_test(tc, test_dirty_log);
	tcase_add_test(tc, test_refused);
}

int main(int argc, char **argv)
{
	Suite *suite = suite_create("kvm");
	TCase *tc = tcase_create("kvm");

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
