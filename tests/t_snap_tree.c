/* t_snap_tree - a snapshot of a real machine whose tree lies, under good checksums: each lie is
 * refused by name */
#include <libfdt.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hutch.h"
#include "kvm_rig.h"
#include "layout_x86.h"
#include "snap_rig.h"
#include "suite.h"

#define ROOM (64U << 10) /* for what a lie adds */

static struct image good;
static char disk[64];

static int save_fd;

static int do_save(struct vm *vm)
{
	return snap_save(vm, save_fd, &(struct snap_order){ .label = "a label", .level = 1 }, NULL);
}

/* one that has used its disk, and is amid it; once for all tests */
static void setup(void)
{
	struct flat *f;
	int fd;

	snprintf(disk, sizeof(disk), "/tmp/hutch-t_snap_tree.%d", getpid());
	fd = open(disk, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert(fd >= 0 && !ftruncate(fd, 1 << 20));
	close(fd);
	f = flat_new("chain", "memory", "64M", "disk", disk, "balloon", "0", NULL);
	ck_assert_msg(f && !flat_start(f), "%s", err_last());
	ck_assert(flat_until_set(f, FLAT_MAILBOX));
	ck_assert_int_eq(flat_pause(f), 0);
	save_fd = memfd_create("snapshot", MFD_CLOEXEC);
	ck_assert_msg(!flat_call(f, do_save), "%s", err_last());
	flat_free(f);
	good = rig_of_fd(save_fd);
	close(save_fd);
}

static void teardown(void)
{
	image_freep(&good);
	unlink(disk);
}

/* --- lies --- */

static int at(void *t, const char *path)
{
	int node = fdt_path_offset(t, path);

	ck_assert_msg(node >= 0, "%s is not in the tree", path);
	return node;
}

static void u32(void *t, const char *path, const char *name, uint32_t v)
{
	ck_assert_int_eq(fdt_setprop_inplace_u32(t, at(t, path), name, v), 0);
}

static void u64(void *t, const char *path, const char *name, uint64_t v)
{
	ck_assert_int_eq(fdt_setprop_inplace_u64(t, at(t, path), name, v), 0);
}

static void text(void *t, const char *path, const char *name, const char *v)
{
	ck_assert_int_eq(fdt_setprop_string(t, at(t, path), name, v), 0);
}

static void drop(void *t, const char *path, const char *name)
{
	ck_assert_int_eq(fdt_delprop(t, at(t, path), name), 0);
}

static void drop_node(void *t, const char *path)
{
	ck_assert_int_eq(fdt_del_node(t, at(t, path)), 0);
}

static void add_node(void *t, const char *path, const char *name)
{
	ck_assert_int_gt(fdt_add_subnode(t, at(t, path), name), 0);
}

static uint8_t *bytes(void *t, const char *path, const char *name, int *ret_len)
{
	void *p = fdt_getprop_w(t, at(t, path), name, ret_len);

	ck_assert_msg(p != NULL, "%s has no %s", path, name);
	return p;
}

static void other_format(void *t)
{
	text(t, "/", "format", "hutch.machine/2");
}

static void other_arch(void *t)
{
	text(t, "/", "arch", "aarch64");
}

static void no_arch(void *t)
{
	drop(t, "/", "arch");
}

static void a_number_for_a_word(void *t)
{
	ck_assert_int_eq(fdt_setprop(t, 0, "arch", "x86_64", 6), 0);
}

static void more_at_the_root(void *t)
{
	ck_assert_int_eq(fdt_appendprop_string(t, 0, "zzz", "new"), 0);
}

static void one_node_more(void *t)
{
	add_node(t, "/", "newer");
}

static void no_state(void *t)
{
	drop_node(t, "/state");
}

static void state_by_another_name(void *t)
{
	ck_assert_int_eq(fdt_set_name(t, at(t, "/state"), "stale"), 0);
}

static void no_config(void *t)
{
	drop_node(t, "/config");
	add_node(t, "/", "newer");
}

static void no_snapshot(void *t)
{
	drop_node(t, "/snapshot");
	add_node(t, "/", "newer");
}

static void two_disks_told(void *t)
{
	drop_node(t, "/snapshot/disk@0");
}

static void unknown_key(void *t)
{
	ck_assert_int_eq(fdt_setprop_string(t, at(t, "/config"), "zzz", "new"), 0);
}

static void key_out_of_range(void *t)
{
	u32(t, "/config", "cpus", 4000);
}

static void word_that_is_none(void *t)
{
	text(t, "/config", "transport", "telepathy");
}

static void no_kernel(void *t)
{
	text(t, "/config", "kernel", "");
}

static void another_processor(void *t)
{
	u32(t, "/config", "cpus", 2);
}

static void more_processors_than_told(void *t)
{
	ck_assert_int_gt(fdt_add_subnode(t, at(t, "/state"), "cpu@1"), 0);
}

static void no_processor(void *t)
{
	drop_node(t, "/state/cpu@0");
}

static void more_memory(void *t)
{
	u64(t, "/config", "memory", 128 * MiB);
}

static void more_memory_everywhere(void *t)
{
	more_memory(t);
	u64(t, "/board/ram@0", "size", 128 * MiB);
}

static void less_memory_everywhere(void *t)
{
	u64(t, "/config", "memory", 32 * MiB);
	u64(t, "/board/ram@0", "size", 32 * MiB);
}

static void odd_memory(void *t)
{
	u64(t, "/config", "memory", 64 * MiB - 1);
	u64(t, "/board/ram@0", "size", 64 * MiB - 1);
}

static void high_memory(void *t)
{
	u64(t, "/config", "memory", 3 * GiB);
}

static void ram_elsewhere(void *t)
{
	u64(t, "/board/ram@0", "base", 4096);
}

static void no_ram(void *t)
{
	drop_node(t, "/board/ram@0");
}

static void device_elsewhere(void *t)
{
	u64(t, "/board/virtio_mmio@1", "base", 0xfeb05000);
}

static void other_line(void *t)
{
	u32(t, "/board/virtio_mmio@2", "gsi", 5);
}

static void one_place_less(void *t)
{
	drop_node(t, "/board/virtio_mmio@2");
}

static void one_place_more(void *t)
{
	add_node(t, "/board", "virtio_mmio@3");
}

static void other_bus(void *t)
{
	text(t, "/config", "transport", "pci");
}

static void no_rng(void *t)
{
	u32(t, "/config", "rng", 0);
}

static void no_disk_state(void *t)
{
	drop_node(t, "/state/blk@0");
}

static void one_device_more(void *t)
{
	add_node(t, "/state", "blk@1");
}

static void device_by_another_name(void *t)
{
	ck_assert_int_eq(fdt_set_name(t, at(t, "/state/blk@0"), "blk@7"), 0);
}

static void one_part_more(void *t)
{
	add_node(t, "/state/blk@0", "newer");
}

static void one_part_less(void *t)
{
	drop_node(t, "/state/blk@0/blk");
}

static void part_by_another_name(void *t)
{
	ck_assert_int_eq(fdt_set_name(t, at(t, "/state/blk@0/blk"), "bl0"), 0);
}

static void property_of_a_device(void *t)
{
	ck_assert_int_eq(fdt_setprop_u32(t, at(t, "/state/rng"), "newer", 1), 0);
}

static void unknown_property(void *t)
{
	ck_assert_int_eq(fdt_setprop_u32(t, at(t, "/state/i8042/i8042"), "newer", 1), 0);
}

static void missing_property(void *t)
{
	drop(t, "/state/serial/serial", "thre");
}

static void long_property(void *t)
{
	u64(t, "/config", "memory", 64 * MiB);
	ck_assert_int_eq(fdt_setprop_u64(t, at(t, "/state/serial/serial"), "lcr", 1), 0);
}

static void wide_value(void *t)
{
	u32(t, "/state/serial/serial", "lcr", 256);
}

static void unknown_node(void *t)
{
	add_node(t, "/state/cpu@0/sregs/cs", "newer");
}

static void missing_node(void *t)
{
	drop_node(t, "/state/cpu@0/sregs/idt");
}

/* as a driver has it that is done */
static void ready(void *t)
{
	u32(t, "/state/blk@0/virtio", "status", 0xf);
	u64(t, "/state/blk@0/virtio", "driver_features", 1ULL << 32);
	u32(t, "/state/blk@0/virtio/vq@0", "ready", 1);
	u64(t, "/state/blk@0/virtio/vq@0", "desc", 0x200000);
	u64(t, "/state/blk@0/virtio/vq@0", "avail", 0x201000);
	u64(t, "/state/blk@0/virtio/vq@0", "used", 0x202000);
}

static void ring_outside(void *t)
{
	ready(t);
	u64(t, "/state/blk@0/virtio/vq@0", "desc", 1ULL << 40);
}

static void ring_at_the_edge(void *t)
{
	ready(t);
	u64(t, "/state/blk@0/virtio/vq@0", "used", 64 * MiB - 8);
}

static void ring_that_wraps(void *t)
{
	ready(t);
	u64(t, "/state/blk@0/virtio/vq@0", "avail", UINT64_MAX - 3);
}

static void ring_not_aligned(void *t)
{
	ready(t);
	u64(t, "/state/blk@0/virtio/vq@0", "desc", 0x100001);
}

static void long_ring(void *t)
{
	u32(t, "/state/blk@0/virtio/vq@0", "size", 0x8000);
}

static void odd_ring(void *t)
{
	u32(t, "/state/blk@0/virtio/vq@0", "size", 3);
}

static void no_rings(void *t)
{
	drop_node(t, "/state/blk@0/virtio/vq@0");
}

static void features_unknown(void *t)
{
	ready(t);
	u64(t, "/state/blk@0/virtio", "driver_features", 1ULL << 32 | 1ULL << 60);
}

static void larger_disk(void *t)
{
	u64(t, "/state/blk@0/blk", "sectors", 1ULL << 40);
}

static void short_lapic(void *t)
{
	uint8_t lapic[1023] = { 0 };

	ck_assert_int_eq(fdt_setprop(t, at(t, "/state/cpu@0"), "lapic", lapic, sizeof(lapic)), 0);
}

static void long_msrs(void *t)
{
	static uint8_t msrs[32 << 10];

	ck_assert_int_eq(fdt_setprop(t, at(t, "/state/cpu@0"), "msrs", msrs, sizeof(msrs)), 0);
}

static void half_a_msr(void *t)
{
	int len;
	uint8_t *p = bytes(t, "/state/cpu@0", "msrs", &len);
	uint8_t copy[8192];

	ck_assert_int_le(len, (int)sizeof(copy));
	memcpy(copy, p, (size_t)len);
	ck_assert_int_eq(fdt_setprop(t, at(t, "/state/cpu@0"), "msrs", copy, len - 8), 0);
}

static void unknown_msr(void *t)
{
	int len;
	uint8_t *p = bytes(t, "/state/cpu@0", "msrs", &len);

	memset(p, 0xee, 4);
}

static void short_xsave(void *t)
{
	static uint8_t xsave[512];

	u32(t, "/state/cpu@0", "xsave_len", sizeof(xsave));
	ck_assert_int_eq(fdt_setprop(t, at(t, "/state/cpu@0"), "xsave", xsave, sizeof(xsave)), 0);
}

static void absurd_registers(void *t)
{
	u64(t, "/state/cpu@0/sregs", "cr0", UINT64_MAX);
}

static struct kvm_cpuid_entry2 *leaf(void *t, uint32_t function)
{
	int len;
	struct kvm_cpuid_entry2 *e = (void *)bytes(t, "/state/cpu@0", "cpuid", &len);

	for (int i = 0; i < len / (int)sizeof(*e); i++)
		if (e[i].function == function && !e[i].index)
			return &e[i];
	ck_abort_msg("no leaf %#x", function);
	return NULL;
}

static void other_maker(void *t)
{
	leaf(t, 0)->ecx ^= 1;
}

static void half_a_leaf(void *t)
{
	int len;
	uint8_t *p = bytes(t, "/state/cpu@0", "cpuid", &len);
	uint8_t copy[8192];

	ck_assert_int_le(len, (int)sizeof(copy));
	memcpy(copy, p, (size_t)len);
	ck_assert_int_eq(fdt_setprop(t, at(t, "/state/cpu@0"), "cpuid", copy, len - 1), 0);
}

static void no_leaves(void *t)
{
	ck_assert_int_eq(fdt_setprop(t, at(t, "/state/cpu@0"), "cpuid", "", 0), 0);
}

static const struct {
	void (*lie)(void *t);
	const char *want;
} lies[] = {
	{ other_format, "'hutch.machine/2', this hutch knows hutch.machine/1" },
	{ other_arch, "of a machine of aarch64, this one is of x86_64" },
	{ no_arch, "/: arch: is missing" },
	{ a_number_for_a_word, "/: arch: is not a string" },
	{ more_at_the_root, "zzz" },
	{ one_node_more, "/: has 5 nodes" },
	{ no_state, "/: has 3 nodes" },
	{ state_by_another_name, "/state" },
	{ no_config, "/config: no such node" },
	{ no_snapshot, "/snapshot: no such node" },
	{ two_disks_told, "/snapshot: tells of 0 disks, and /config of 1" },
	{ unknown_key, "/config: zzz: unknown property" },
	{ key_out_of_range, "/config: cpus: 0xfa0 is outside" },
	{ word_that_is_none, "'telepathy'" },
	{ no_kernel, "kernel: none is given" },
	{ another_processor, "/state/cpu@1: no such node" },
	{ more_processors_than_told, "/state: " },
	{ no_processor, "/state/cpu@0: no such node" },
	{ more_memory, "/board/ram@0: its size is 0x4000000 there, and 0x8000000 in" },
	{ more_memory_everywhere, "has 1024 chunks of memory, its machine 2048" },
	{ less_memory_everywhere, "has 1024 chunks of memory, its machine 512" },
	{ odd_memory, "memory: '" },
	{ high_memory, "/board: has 4 nodes, and 5 are known" },
	{ ram_elsewhere, "/board/ram@0: its base is 0x1000 there" },
	{ no_ram, "/board: has 3 nodes, and 4 are known" },
	{ device_elsewhere, "/board/virtio_mmio@1: its base is 0xfeb05000 there" },
	{ other_line, "/board/virtio_mmio@2: its gsi is 0x5 there" },
	{ one_place_less, "/board: has 3 nodes, and 4 are known" },
	{ one_place_more, "/board: has 5 nodes, and 4 are known" },
	{ other_bus, "/board: has 4 nodes, and 1 are known" },
	{ no_rng, "/board: has 4 nodes, and 3 are known" },
	{ no_disk_state, "/state: " },
	{ one_device_more, "/state: " },
	{ device_by_another_name, "blk@0: no state for this device" },
	{ one_part_more, "blk@0: has more or less than" },
	{ one_part_less, "blk@0: has more or less than" },
	{ part_by_another_name, "blk@0/blk: no such node" },
	{ property_of_a_device, "rng: has more or less than" },
	{ unknown_property, "i8042/i8042: data: is missing (found newer)" },
	{ missing_property, "serial/serial: thre: is missing (found head)" },
	{ long_property, "serial/serial: lcr: has 8 bytes" },
	{ wide_value, "serial/serial: lcr: 0x100 is outside" },
	{ unknown_node, "/state/cpu@0: newer: unknown node" },
	{ missing_node, "/state/cpu@0: idt: no such node" },
	{ ring_outside, "blk@0: queue 0 has a ring that is not aligned or not in memory" },
	{ ring_at_the_edge, "blk@0: queue 0 has a ring that is not" },
	{ ring_that_wraps, "blk@0: queue 0 has a ring that is not" },
	{ ring_not_aligned, "blk@0: queue 0 has a ring that is not" },
	{ long_ring, "blk@0/virtio: size: 0x8000 is outside" },
	{ odd_ring, "blk@0: queue 0 of size 3" },
	{ no_rings, "blk@0: has 0 queues, this device 1" },
	{ features_unknown, "blk@0: its driver uses features 0x1000000000000000" },
	{ larger_disk, "blk@0: " },
	{ short_lapic, "/state/cpu@0: lapic: has 1023 bytes, not 1024" },
	{ long_msrs, "/state/cpu@0: msrs: has 32768 bytes" },
	{ half_a_msr, "MSRs: " },
	{ unknown_msr, "MSR 0xeeeeeeee is none" },
	{ short_xsave, "its XSAVE area has 512 bytes, this host's" },
	{ absurd_registers, "KVM_SET_SREGS" },
	{ other_maker, "of another maker" },
	{ half_a_leaf, "no whole CPUID leaves" },
	{ no_leaves, "of another maker" },
};

/* the image's tree, where libfdt can take it: a copy with room */
static void *tree_of(const struct image *image)
{
	struct snap_section *s = rig_section(image, SNAP_SECTION_TREE);
	void *t = malloc(s->size + ROOM);

	ck_assert_ptr_nonnull(t);
	memcpy(t, image->data + s->at, s->size);
	ck_assert_int_eq(fdt_open_into(t, t, (int)(s->size + ROOM)), 0);
	return t;
}

/* the image with its tree retold */
static int retold(void (*lie)(void *t))
{
	struct image image cleanup_image = rig_copy(&good);
	void *t = tree_of(&good);

	if (lie)
		lie(t);
	ck_assert_int_eq(fdt_pack(t), 0);
	rig_retree(&image, t, fdt_totalsize(t));
	rig_seal(&image);
	free(t);
	return rig_fd(&image);
}

/* not retold but taken apart: else all would be refused for the retelling */
START_TEST(test_truth)
{
	struct flat *f;
	int fd = retold(NULL);

	f = flat_restore(fd, NULL);
	ck_assert_msg(f != NULL, "%s", err_last());
	close(fd);
	ck_assert_int_eq(flat_start(f), 0);
	ck_assert_int_eq(flat_wait(f, 30), VM_POWEROFF);
	ck_assert_msg(!strncmp(f->text, "chain ", 6), "printed: %s", f->text);
	flat_free(f);
}
END_TEST

/* refused with its sentence, and nothing is left: no descriptor, no thread, no guest's memory */
START_TEST(test_lie)
{
	int fd = retold(lies[_i].lie);
	unsigned fds, threads;
	struct flat *f;
	long size;

	for (unsigned k = 0; k < 3; k++) { /* the first leaves what the C library keeps */
		if (k < 2) {
			fds = entries("/proc/self/fd");
			threads = entries("/proc/self/task");
			size = proc_status("VmSize:");
		}
		err_clear();
		f = flat_restore(fd, NULL);
		ck_assert_msg(!f, "lie %d, '%s', is taken", _i, lies[_i].want);
		ck_assert_msg(strstr(err_last(), lies[_i].want) != NULL, "'%s' is not '%s'",
			      err_last(), lies[_i].want);
	}
	ck_assert_uint_eq(entries("/proc/self/fd"), fds);
	ck_assert_uint_eq(entries("/proc/self/task"), threads);
	ck_assert_int_le(proc_status("VmSize:"), size + 32 * 1024);
	close(fd);
}
END_TEST

/* --- a processor that this host lacks --- */

static const struct {
	unsigned bit;
	const char *name;
} leaf7_ebx[] = { { 16, "avx512f" }, { 14, "mpx" }, { 2, "sgx" }, { 11, "rtm" }, { 5, "avx2" } };

static unsigned feature;

static void feature_lacking(void *t)
{
	leaf(t, 7)->ebx |= 1U << leaf7_ebx[feature].bit;
}

static bool has_feature(unsigned i)
{
	void *t = tree_of(&good);
	bool has;

	has = leaf(t, 7)->ebx >> leaf7_ebx[i].bit & 1;
	free(t);
	return has;
}

START_TEST(test_feature)
{
	unsigned tried = 0;
	char want[64];
	int fd;

	for (feature = 0; feature < ARRAY_SIZE(leaf7_ebx); feature++) {
		if (has_feature(feature))
			continue;
		fd = retold(feature_lacking);
		ck_assert_ptr_null(flat_restore(fd, NULL));
		snprintf(want, sizeof(want), "a processor with %s, which", leaf7_ebx[feature].name);
		ck_assert_msg(strstr(err_last(), want) != NULL, "'%s' does not tell of %s",
			      err_last(), leaf7_ebx[feature].name);
		close(fd);
		tried++;
	}
	ck_assert_uint_gt(tried, 0);
}
END_TEST

/* bits of the tree's structure itself, under a good checksum: refused or taken, and never more */
START_TEST(test_noise)
{
	struct snap_section s = *rig_section(&good, SNAP_SECTION_TREE);
	unsigned taken = 0, refused = 0, seed = 12345;
	struct flat *f;

	for (unsigned i = 0; i < 400; i++) {
		struct image image cleanup_image = rig_copy(&good);
		int fd;

		for (unsigned k = 0; k < 1 + i % 3; k++)
			image.data[s.at + (unsigned)rand_r(&seed) % s.size] ^=
				(uint8_t)(1U << rand_r(&seed) % 8);
		rig_seal(&image);
		fd = rig_fd(&image);
		err_clear();
		f = flat_restore(fd, NULL);
		ck_assert_msg(f || *err_last(), "refused without a word");
		f ? taken++ : refused++;
		flat_free(f);
		close(fd);
	}
	ck_assert_msg(taken && refused, "%u taken, %u refused", taken, refused);
}
END_TEST

/* --- who uses it wrongly, from a program --- */

static void no_snapshot_into(struct hutch *h, int fd, int level, const char *want)
{
	int r = hutch_snapshot(h, fd, "label", level);

	ck_assert_msg(r < 0, "'%s': %d is taken", want, fd);
	ck_assert_msg(strstr(hutch_error(h), want) != NULL, "'%s' is not '%s'", hutch_error(h),
		      want);
}

static struct hutch *program(const char *from)
{
	struct hutch *h = hutch_new();
	char path[CONF_PATH];

	ck_assert_ptr_nonnull(h);
	if (from)
		ck_assert_msg(!hutch_restore(h, from), "%s", hutch_error(h));
	else
		ck_assert(!hutch_set(h, "kernel", flat_path("ends", path, sizeof(path))) &&
			  !hutch_set(h, "append", "h") && !hutch_set(h, "memory", "16M"));
	ck_assert(!hutch_set(h, "console", "none"));
	return h;
}

START_TEST(test_wrong_use)
{
	struct hutch *h = program(NULL);
	int fd = memfd_create("snapshot", MFD_CLOEXEC),
	    null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct hutch_result result;
	int append, reader;
	char path[64], label[200];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ck_assert_int_eq(fchmod(fd, 0600), 0);
	append = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
	reader = open(path, O_RDONLY | O_CLOEXEC);
	memset(label, 'x', sizeof(label));
	label[sizeof(label) - 1] = '\0';
	no_snapshot_into(h, fd, 1, "was not started");
	ck_assert_msg(!hutch_start(h), "%s", hutch_error(h));
	no_snapshot_into(h, -1, 1, "Bad file descriptor");
	no_snapshot_into(h, null, 1, "goes into an empty file");
	no_snapshot_into(h, append, 1, "open for appending");
	no_snapshot_into(h, reader, 1, "Bad file descriptor");
	no_snapshot_into(h, fd, 10, "a level from 0 to 9");
	ck_assert_int_eq(hutch_snapshot(h, fd, label, 1), -EINVAL);
	ck_assert_ptr_nonnull(strstr(hutch_error(h), "more than 127 bytes"));
	ck_assert_msg(!hutch_snapshot(h, fd, NULL, -1), "%s", hutch_error(h));
	no_snapshot_into(h, fd, 1, "goes into an empty file");
	ck_assert_int_eq(hutch_restore(h, path), -EBUSY);
	ck_assert_int_eq(hutch_wait(h, 0, &result), -ETIMEDOUT); /* it has minded none of it */
	hutch_free(h);

	h = program(path);
	ck_assert_int_eq(hutch_set(h, "memory", "32M"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(hutch_error(h), "made with '16M'"));
	ck_assert_int_eq(hutch_set(h, "memory", "16M"), 0);
	ck_assert(!strncmp(hutch_origin(h, "memory"), "snapshot /proc", 14));
	ck_assert_int_eq(hutch_restore(h, path), -EBUSY);
	ck_assert_msg(!hutch_start(h), "%s", hutch_error(h));
	ck_assert_int_eq(hutch_wait(h, 50, &result), -ETIMEDOUT);
	hutch_free(h);
	close(append);
	close(reader);
	close(null);
	close(fd);
}
END_TEST

START_TEST(test_nothing)
{
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("snap_tree");
	TCase *tc = tcase_create("snap_tree");

	(void)argc;
	flat_setup(argv[0]);
	tcase_set_timeout(tc, 120);
	if (flat_possible()) {
		tcase_add_unchecked_fixture(tc, setup, teardown);
		tcase_add_test(tc, test_truth);
		tcase_add_loop_test(tc, test_lie, 0, ARRAY_SIZE(lies));
		tcase_add_test(tc, test_feature);
		tcase_add_test(tc, test_noise);
		tcase_add_test(tc, test_wrong_use);
	} else {
		tcase_add_test(tc, test_nothing);
	}
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
