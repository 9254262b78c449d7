/* t_snap - flat guests on /dev/kvm: saved at any moment, restored, and none the wiser */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "chain_rig.h"
#include "echo_rig.h"
#include "irqchip.h"
#include "kvm_rig.h"
#include "layout_x86.h"
#include "pager.h"
#include "snap.h"
#include "snap_rig.h"
#include "suite.h"

#define GENERATIONS 20

static int save_fd, save_level;

static int do_save(struct vm *vm)
{
	return snap_save(vm, save_fd,
			 &(struct snap_order){ .label = "a label", .level = save_level }, NULL);
}

/* into a file in memory */
static int save(struct flat *f, int level)
{
	save_fd = memfd_create("snapshot", MFD_CLOEXEC);
	save_level = level;
	ck_assert_int_ge(save_fd, 0);
	ck_assert_msg(!flat_call(f, do_save), "%s", err_last());
	return save_fd;
}

/* --- chains --- */

static char disk[2][64];

static void make_disks(void)
{
	for (unsigned i = 0; i < 2; i++) {
		int fd;

		snprintf(disk[i], sizeof(disk[i]), "/tmp/hutch-t_snap.%d.%u", getpid(), i);
		fd = open(disk[i], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
		close(fd);
	}
}

static void remove_disks(void)
{
	for (unsigned i = 0; i < 2; i++)
		unlink(disk[i]);
}

static const struct {
	const char *memory, *bus, *cpus;
	int level;
	/* its memory was unpacked first, in place or into a file; or it comes when it is wanted,
	 * and is kept in a file besides */
	enum { EAGER, MAPPED, LAZY, KEEPING } memory_from;
} chains[] = {
	{ "64M", "mmio", "1", 1, EAGER },   { "40M", "pci", "2", 6, EAGER },
	{ "64M", "pci", "1", 0, EAGER },    { "64M", "mmio", "1", 1, MAPPED },
	{ "40M", "pci", "1", 0, MAPPED },   { "64M", "pci", "1", 1, LAZY },
	{ "40M", "mmio", "2", 1, KEEPING },
};

/* with all devices that there are */
static struct flat *chain(int i)
{
	char conf[128];
	struct flat *f;

	snprintf(conf, sizeof(conf), "%s,engine=threads", disk[0]);
	f = flat_new("chain", "append", chains[i].cpus, "cpus", chains[i].cpus, "memory",
		     chains[i].memory, "transport", chains[i].bus, "disk", conf, "net", echo_net,
		     "vsock", echo_vsock, "balloon", "0", "console-device", "virtio", NULL);
	ck_assert_msg(f != NULL, "%s", err_last());
	return f;
}

/* all that one and those before it have said, to be put behind it */
static char said[2048];

static void hear(struct flat *f)
{
	flat_read(f);
	ck_assert_uint_lt(strlen(said) + f->len, sizeof(said));
	strcat(said, f->text);
}

/* until it ends */
static const char *all_said(struct flat *f)
{
	enum vm_end end = flat_wait(f, 30);

	ck_assert_msg(end == VM_POWEROFF, "%d: %s", end, f->vm->event_text);
	hear(f);
	ck_assert_msg(strstr(said, "\nchain ") != NULL, "said: %s", said);
	return said;
}

/* the same work, undisturbed */
static void end_of_another(int i, char want[sizeof(said)])
{
	struct flat *f;

	make_disks();
	f = chain(i);
	ck_assert_int_eq(flat_start(f), 0);
	strcpy(want, all_said(f));
	flat_free(f);
	said[0] = '\0';
	make_disks();
}

#define LATE 2 /* the last of them are lazy */

static int kept_want = -1;

/* what the machine before this one kept is what there was */
static void check_kept(void)
{
	static char is[1 << 20], want[1 << 20];
	ssize_t n;

	for (off_t at = 0; (n = pread(kept_want, want, sizeof(want), at)) > 0; at += n) {
		ck_assert_int_eq(pread(flat_keep, is, sizeof(is), at), n);
		ck_assert_msg(!memcmp(is, want, (size_t)n), "at %ld", (long)at);
	}
	close(kept_want);
	close(flat_keep);
}

static struct flat *restore_from(int fd, int from, const char *disk_key)
{
	struct flat *f;

	if (from == MAPPED)
		flat_memory = unpack(fd);
	if (from == KEEPING) {
		if (kept_want >= 0)
			check_kept();
		kept_want = unpack(fd);
		flat_keep = memfd_create("kept", MFD_CLOEXEC);
	}
	flat_lazy = from == LAZY || from == KEEPING;
	f = flat_restore(fd, "disk@0", disk_key, NULL);
	cleanup_close(&flat_memory);
	flat_memory = -1;
	return f;
}

static void read_memory(int snapshot, uint8_t *to, size_t len)
{
	int fd = unpack(snapshot);

	ck_assert_int_eq(pread(fd, to, len, 0), (ssize_t)len);
	close(fd);
	close(snapshot);
}

/* from one moment to the next, each time as another machine on another copy of the disk */
START_TEST(test_generations)
{
	char want[sizeof(said)], key[128];
	struct flat *f;
	unsigned seed = 1 + (unsigned)_i, at = 0;
	int fd;

	end_of_another(_i, want);
	f = chain(_i);
	for (unsigned n = 0; n < GENERATIONS; n++) {
		ck_assert_int_eq(flat_start(f), 0);
		/* somewhere between this stage and the next, or as soon as can be */
		flat_until_least(f, FLAT_MAILBOX, at);
		usleep((useconds_t)(rand_r(&seed) % 3000));
		at += STAGES / GENERATIONS - 1;
		flat_read(f);
		ck_assert_msg(!flat_pause(f), "generation %u: said: %s", n, f->text);
		fd = save(f, chains[_i].level);
		hear(f);
		flat_free(f);
		copy_disk(disk[n & 1], disk[~n & 1]);
		snprintf(key, sizeof(key), "path=%s", disk[~n & 1]);
		f = restore_from(fd, chains[_i].memory_from, key);
		ck_assert_msg(f != NULL, "generation %u: %s", n, err_last());
		close(fd);
	}
	ck_assert_int_eq(flat_start(f), 0);
	ck_assert_str_eq(all_said(f), want);
	flat_free(f);
	/* there was all of it in the end, also where the machine ended before */
	if (chains[_i].memory_from == KEEPING) {
		check_kept();
		ck_assert_uint_eq(flat_whole, GENERATIONS);
	}
	remove_disks();
}
END_TEST

/* what has not come when it is saved again is not zero */
START_TEST(test_saved_before_it_came)
{
	struct flat *f = flat_new("fill", "memory", "16M", NULL);
	static uint8_t was[16 << 20], is[16 << 20];
	int fd;

	ck_assert_msg(f != NULL, "%s", err_last());
	ck_assert_int_eq(flat_start(f), 0);
	ck_assert_int_eq(flat_wait_text(f, "filled"), 0);
	fd = save(f, 1);
	flat_free(f);
	flat_lazy = true;
	f = flat_restore(fd, NULL);
	ck_assert_msg(f != NULL, "%s", err_last());
	read_memory(fd, was, sizeof(was));
	save_fd = memfd_create("snapshot", MFD_CLOEXEC);
	ck_assert_msg(!do_save(f->vm), "%s", err_last()); /* it has not begun */
	read_memory(save_fd, is, sizeof(is));
	flat_free(f);
	/* but that it is another generation */
	memcpy(is + GENID_ADDR, was + GENID_ADDR, GENID_LEN);
	ck_assert_msg(!memcmp(is, was, sizeof(is)), "it is another memory");
}
END_TEST

/* what comes in the end may be damaged: then it does not come, and the guest sees nothing else */
START_TEST(test_damage_that_is_met_late)
{
	const uint64_t chunk = 0x400000 / SNAP_CHUNK + 7;
	struct flat *f = flat_new("fill", "memory", "16M", NULL);
	cleanup_image struct image image = { NULL };
	int fd;

	ck_assert_msg(f != NULL, "%s", err_last());
	ck_assert_int_eq(flat_start(f), 0);
	ck_assert_int_eq(flat_wait_text(f, "filled"), 0);
	fd = save(f, 1);
	flat_free(f);
	image = rig_of_fd(fd);
	close(fd);
	ck_assert_int_eq(snap_kind(&(struct snap_entry){ .what = rig_entry(&image, chunk).what }),
			 SNAP_DEFLATE);
	image.data[rig_entry(&image, chunk).at + 5] ^= 0x10;
	fd = rig_fd(&image);
	flat_lazy = true;
	f = flat_restore(fd, NULL);
	ck_assert_msg(f != NULL, "%s", err_last());
	close(fd);
	ck_assert_int_eq(flat_start(f), 0);
	ck_assert_int_eq(flat_wait(f, 20), VM_ERROR);
	ck_assert_msg(strstr(f->vm->event_text, "chunk 71 of its memory is damaged") != NULL, "%s",
		      f->vm->event_text);
	ck_assert_msg(!strstr(f->text, "damaged"), "printed: %s", f->text);
	flat_free(f);
}
END_TEST

/* who was saved goes on, and notices nothing */
START_TEST(test_saving_changes_nothing)
{
	char want[sizeof(said)];
	struct flat *f;

	end_of_another(_i, want);
	f = chain(_i);
	ck_assert_int_eq(flat_start(f), 0);
	for (unsigned i = 0; i < 10; i++) {
		ck_assert(flat_until_least(f, FLAT_MAILBOX, i * 5));
		usleep(3000);
		close(save(f, 1));
	}
	ck_assert_str_eq(all_said(f), want);
	flat_free(f);
	remove_disks();
}
END_TEST

/* both go on at once, each with a network and a vsock of its own */
START_TEST(test_twins)
{
	char want[sizeof(said)], before[sizeof(said)], key[128];
	struct flat *f, *twin;
	int fd;

	end_of_another(_i, want);
	f = chain(_i);
	ck_assert_int_eq(flat_start(f), 0);
	ck_assert(flat_until_least(f, FLAT_MAILBOX, STAGES / 3));
	ck_assert_int_eq(flat_pause(f), 0);
	fd = save(f, 1);
	copy_disk(disk[0], disk[1]);
	snprintf(key, sizeof(key), "path=%s", disk[1]);
	flat_read(f);
	strcpy(before, f->text);
	twin = flat_restore(fd, "disk@0", key, "vsock@0", echo_vsock_too, NULL);
	ck_assert_msg(twin != NULL, "%s", err_last());
	close(fd);
	ck_assert_int_eq(flat_start(twin), 0);
	ck_assert_int_eq(flat_resume(f), 0);
	ck_assert_str_eq(all_said(f), want);
	strcpy(said, before);
	ck_assert_str_eq(all_said(twin), want);
	flat_free(f);
	flat_free(twin);
	remove_disks();
}
END_TEST

/* two processors that count, each with an eye on the other's memory */
START_TEST(test_two_processors)
{
	struct flat *f = flat_new("count", "cpus", "2", NULL);
	uint32_t old;
	int fd;

	ck_assert_msg(f != NULL, "%s", err_last());
	for (unsigned round = 0; round < 10; round++) {
		ck_assert_int_eq(flat_start(f), 0);
		for (unsigned i = 0; i < 2; i++) {
			old = *flat_word(f, FLAT_MAILBOX + 4 * i);
			for (unsigned ms = 0; *flat_word(f, FLAT_MAILBOX + 4 * i) == old; ms++) {
				ck_assert_msg(ms < 5000, "round %u: CPU %u stands still", round, i);
				sleep_ms(1);
			}
			ck_assert_uint_eq(*flat_word(f, FLAT_MAILBOX + 64 + 4 * i), 0);
		}
		fd = save(f, 1);
		flat_free(f);
		f = flat_restore(fd, NULL);
		ck_assert_msg(f != NULL, "round %u: %s", round, err_last());
		close(fd);
	}
	ck_assert_int_eq(flat_start(f), 0);
	*flat_word(f, FLAT_MAILBOX + 128) = 1;
	ck_assert_int_eq(flat_wait(f, 10), VM_POWEROFF);
	ck_assert_str_eq(f->text, "done\n");
	flat_free(f);
}
END_TEST

static struct irqchip_state chip;

/* a line of the I/O APIC that leads somewhere, and a clock that is late */
static int set_chip(struct vm *vm)
{
	struct kvm_ioapic_state *io = (void *)chip.ioapic;
	int r = irqchip_get(&vm->kvm, &chip);

	io->redirtbl[9].bits = 0x39;
	chip.pic_master[3] = 0x5a;
	chip.clock += 3600ULL * 1000000000;
	return r ? r : irqchip_set(&vm->kvm, &chip);
}

/* what is inside KVM, and no vCPU's */
START_TEST(test_interrupt_controllers)
{
	struct flat *f = flat_new("count", NULL);
	struct irqchip_state now;
	int fd;

	ck_assert_msg(f != NULL, "%s", err_last());
	ck_assert_int_eq(flat_start(f), 0);
	ck_assert_int_eq(flat_pause(f), 0);
	ck_assert_int_eq(flat_call(f, set_chip), 0);
	fd = save(f, 1);
	flat_free(f);
	f = flat_restore(fd, NULL);
	ck_assert_msg(f != NULL, "%s", err_last());
	close(fd);
	ck_assert_int_eq(irqchip_get(&f->vm->kvm, &now), 0);
	ck_assert_mem_eq(now.ioapic, chip.ioapic, sizeof(now.ioapic));
	ck_assert_mem_eq(now.pic_master, chip.pic_master, sizeof(now.pic_master));
	ck_assert_uint_ge(now.clock, chip.clock);
	ck_assert_uint_lt(now.clock, chip.clock + 60ULL * 1000000000);
	flat_free(f);
}
END_TEST

/* two out of one, both told that they are not who they were, wherever their memory comes from */
START_TEST(test_generation)
{
	struct flat *f = flat_new("count", NULL);
	uint8_t id[3][GENID_LEN];
	int fd;

	ck_assert_msg(f != NULL, "%s", err_last());
	ck_assert_int_eq(gmem_read(&f->vm->mem, GENID_ADDR, id[0], GENID_LEN), 0);
	ck_assert_uint_eq(bus_read(&f->vm->bus, BUS_PORT, PORT_GPE0, 1), 0);
	ck_assert_int_eq(flat_start(f), 0);
	fd = save(f, 1);
	/* who goes on is the same */
	ck_assert_int_eq(gmem_read(&f->vm->mem, GENID_ADDR, id[1], GENID_LEN), 0);
	ck_assert_mem_eq(id[0], id[1], GENID_LEN);
	flat_free(f);
	if (_i == MAPPED)
		flat_memory = unpack(fd);
	flat_lazy = _i == LAZY;
	for (unsigned i = 1; i < 3; i++) {
		f = flat_restore(fd, NULL);
		ck_assert_msg(f != NULL, "%s", err_last());
		ck_assert_int_eq(gmem_read(&f->vm->mem, GENID_ADDR, id[i], GENID_LEN), 0);
		ck_assert(gmem_test_clear_dirty(&f->vm->mem, GENID_ADDR));
		ck_assert_uint_eq(bus_read(&f->vm->bus, BUS_PORT, PORT_GPE0, 1), 1);
		flat_free(f);
	}
	cleanup_close(&flat_memory);
	flat_memory = -1;
	close(fd);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_mem_ne(id[i], id[(i + 1) % 3], GENID_LEN);
}
END_TEST

START_TEST(test_nothing)
{
}
END_TEST

static void add_tests(TCase *tc)
{
	int fd = pager_open(), all = ARRAY_SIZE(chains);

	tcase_add_checked_fixture(tc, echo_begin, echo_end);
	if (fd >= 0) {
		tcase_add_test(tc, test_damage_that_is_met_late);
		tcase_add_test(tc, test_saved_before_it_came);
	} else {
		printf("skip memory that comes late: no userfaultfd for KVM: %s\n", strerror(-fd));
	}
	tcase_add_loop_test(tc, test_generations, 0, fd < 0 ? all - LATE : all);
	tcase_add_loop_test(tc, test_generation, 0, fd < 0 ? LAZY : LAZY + 1);
	cleanup_close(&fd);
	tcase_add_loop_test(tc, test_saving_changes_nothing, 0, 2);
	tcase_add_loop_test(tc, test_twins, 1, 2);
	tcase_add_test(tc, test_two_processors);
	tcase_add_test(tc, test_interrupt_controllers);
}

int main(int argc, char **argv)
{
	Suite *suite = suite_create("snap");
	TCase *tc = tcase_create("snap");

	(void)argc;
	flat_setup(argv[0]);
	echo_setup(argv[0]);
	tcase_set_timeout(tc, 120);
	if (flat_possible())
		add_tests(tc);
	else
		tcase_add_test(tc, test_nothing);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
