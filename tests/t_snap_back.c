/* t_snap_back - flat guests on /dev/kvm go back to what they were, in place, or go on untouched */
#include <fcntl.h>
#include <libfdt.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chain_rig.h"
#include "echo_rig.h"
#include "hutch.h"
#include "kvm_rig.h"
#include "snap_rig.h"
#include "suite.h"

#define ROUNDS 6

static char disk[64];
static int file, level;
static char why[1024];

static int do_save(struct vm *vm)
{
	return snap_save(vm, file, &(struct snap_order){ .label = "", .level = level }, NULL);
}

static int do_back(struct vm *vm)
{
	int r = snap_roll_back(vm, file, "test");

	snprintf(why, sizeof(why), "%s", r ? err_last() : "");
	return r;
}

/* before it has got as far as it was */
static int do_back_and_pause(struct vm *vm)
{
	int r = do_back(vm);

	return r ? r : vm_user_pause(vm);
}

static int save(struct flat *f)
{
	file = memfd_create("snapshot", MFD_CLOEXEC);
	ck_assert_int_ge(file, 0);
	ck_assert_int_eq(flat_call(f, do_save), 0);
	return file;
}

static void back(struct flat *f, int fd)
{
	file = fd;
	ck_assert_msg(!flat_call(f, do_back), "%s", why);
}

/* --- the disk, which the machine keeps open --- */

static uint8_t kept[1 << 20];
static struct stat kept_as;

static void make_disk(void)
{
	int fd;

	snprintf(disk, sizeof(disk), "/tmp/hutch-t_snap_back.%d", getpid());
	fd = open(disk, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert(fd >= 0 && !ftruncate(fd, sizeof(kept)));
	close(fd);
}

static void keep_disk(void)
{
	int fd = open(disk, O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(read(fd, kept, sizeof(kept)), sizeof(kept));
	ck_assert_int_eq(fstat(fd, &kept_as), 0);
	close(fd);
}

/* what it held, and as if it had held nothing else since */
static void put_disk_back(void)
{
	int fd = open(disk, O_WRONLY | O_CLOEXEC);

	ck_assert_int_eq(write(fd, kept, sizeof(kept)), sizeof(kept));
	ck_assert_int_eq(futimens(fd,
				  (const struct timespec[]){ kept_as.st_atim, kept_as.st_mtim }),
			 0);
	close(fd);
}

static const char *disk_key(void)
{
	static char key[80];

	snprintf(key, sizeof(key), "path=%s", disk);
	return key;
}

static const struct {
	const char *memory, *transport;
	int level;
	bool mapped; /* it goes on from a file that is mapped, and back from there */
} chains[] = {
	{ "64M", "mmio", 1, false },
	{ "40M", "pci", 1, false },
	{ "40M", "mmio", 0, false },
	{ "64M", "mmio", 1, true },
};

static struct flat *chain(int i)
{
	char conf[128];
	struct flat *f;

	snprintf(conf, sizeof(conf), "%s,engine=threads", disk);
	f = flat_new("chain", "memory", chains[i].memory, "transport", chains[i].transport, "disk",
		     conf, "net", echo_net, "vsock", echo_vsock, "balloon", "0", NULL);
	ck_assert_msg(f != NULL, "%s", err_last());
	return f;
}

static struct flat *again_mapped(struct flat *f)
{
	int fd = save(f);

	flat_free(f);
	flat_memory = unpack(fd);
	f = flat_restore(fd, NULL);
	ck_assert_msg(f && !flat_start(f), "%s", err_last());
	close(flat_memory);
	flat_memory = -1;
	close(fd);
	return f;
}

/* until it has got this far */
static void until(struct flat *f, unsigned stage)
{
	flat_until_least(f, FLAT_MAILBOX, stage);
}

/* each time a bit on, and then back; what comes out is what comes out of a straight run */
START_TEST(test_chain)
{
	unsigned seed = 7 + (unsigned)_i, at;
	struct flat *f;
	char want[64];
	int fd;

	make_disk();
	f = chain(_i);
	ck_assert_int_eq(flat_start(f), 0);
	snprintf(want, sizeof(want), "%.60s", end_of(f));
	ck_assert_msg(!strncmp(want, "chain ", 6), "printed: %s", want);
	flat_free(f);

	make_disk();
	f = chain(_i);
	level = chains[_i].level;
	ck_assert_int_eq(flat_start(f), 0);
	for (unsigned n = 0; n < ROUNDS; n++) {
		until(f, n * 8);
		usleep((useconds_t)(rand_r(&seed) % 3000));
		ck_assert_int_eq(flat_pause(f), 0);
		if (!n && chains[_i].mapped) {
			f = again_mapped(f);
			ck_assert_int_eq(flat_pause(f), 0);
		}
		keep_disk();
		fd = save(f);
		at = *flat_word(f, FLAT_MAILBOX);
		ck_assert_int_eq(flat_resume(f), 0);
		until(f, at + 3);
		ck_assert_int_eq(flat_pause(f), 0);
		put_disk_back();
		back(f, fd); /* and it is paused no more */
		close(fd);
	}
	ck_assert_uint_eq(f->vm->rollbacks, ROUNDS);
	ck_assert_str_eq(end_of(f), want);
	flat_free(f);
	unlink(disk);
}
END_TEST

/* its memory is still coming, out of a later one, when it goes back to an earlier one */
START_TEST(test_lazy)
{
	struct flat *f;
	char want[64];
	int fd[2];

	make_disk();
	f = chain(0);
	level = 1;
	ck_assert_int_eq(flat_start(f), 0);
	until(f, 2);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(flat_pause(f), 0);
		if (!i)
			keep_disk();
		fd[i] = save(f);
		ck_assert_int_eq(flat_resume(f), 0);
		until(f, 30);
	}
	snprintf(want, sizeof(want), "%.60s", end_of(f));
	flat_free(f);
	for (unsigned round = 0; round < 2; round++) {
		flat_lazy = true;
		f = flat_restore(fd[1], "disk@0", disk_key(), NULL);
		flat_lazy = false;
		ck_assert_msg(f && !flat_start(f), "%s", err_last());
		ck_assert_int_eq(flat_pause(f), 0);
		put_disk_back();
		back(f, fd[0]);
		ck_assert_str_eq(end_of(f), want);
		flat_free(f);
	}
	close(fd[0]);
	close(fd[1]);
	unlink(disk);
}
END_TEST

START_TEST(test_two_processors)
{
	struct flat *f = flat_new("count", "cpus", "2", NULL);
	uint32_t was[2], last;
	int fd;

	ck_assert_msg(f != NULL, "%s", err_last());
	level = 1;
	ck_assert_int_eq(flat_start(f), 0);
	ck_assert(flat_until_set(f, FLAT_MAILBOX) && flat_until_set(f, FLAT_MAILBOX + 4));
	for (unsigned round = 0; round < 5; round++) {
		ck_assert_int_eq(flat_pause(f), 0);
		fd = save(f);
		for (unsigned i = 0; i < 2; i++)
			was[i] = *flat_word(f, FLAT_MAILBOX + 4 * i);
		ck_assert_int_eq(flat_resume(f), 0);
		sleep_ms(200);
		last = *flat_word(f, FLAT_MAILBOX);
		ck_assert_uint_gt(last, was[0]);
		file = fd; /* while it runs */
		ck_assert_msg(!flat_call(f, do_back_and_pause), "%s", why);
		for (unsigned i = 0; i < 2; i++)
			ck_assert_uint_ge(*flat_word(f, FLAT_MAILBOX + 4 * i), was[i]);
		ck_assert_uint_lt(*flat_word(f, FLAT_MAILBOX), last);
		ck_assert_int_eq(flat_resume(f), 0);
		close(fd);
	}
	for (unsigned i = 0; i < 2; i++)
		ck_assert_uint_eq(*flat_word(f, FLAT_MAILBOX + 64 + 4 * i), 0);
	*flat_word(f, FLAT_MAILBOX + 128) = 1;
	ck_assert_int_eq(flat_wait(f, 10), VM_POWEROFF);
	ck_assert_str_eq(f->text, "done\n");
	flat_free(f);
}
END_TEST

/* --- what is refused, and nobody has noticed --- */

static struct image image; /* to be altered */
static void *tree;

static void *open_tree(void)
{
	const struct snap_section *s = rig_section(&image, SNAP_SECTION_TREE);

	tree = malloc(s->size + 4096);
	ck_assert_ptr_nonnull(tree);
	memcpy(tree, image.data + s->at, s->size); /* which is not aligned there */
	ck_assert_int_eq(fdt_open_into(tree, tree, (int)s->size + 4096), 0);
	return tree;
}

static void close_tree(void)
{
	rig_retree(&image, tree, fdt_totalsize(tree));
	rig_seal(&image);
	free(tree);
}

static void set_u32(const char *path, const char *name, uint32_t v)
{
	void *t = open_tree();

	ck_assert_int_eq(fdt_setprop_inplace_u32(t, fdt_path_offset(t, path), name, v), 0);
	close_tree();
}

static void more_memory(void)
{
	void *t = open_tree();

	ck_assert_int_eq(fdt_setprop_inplace_u64(t, fdt_path_offset(t, "/config"), "memory",
						 128 * MiB),
			 0);
	close_tree();
}

static void more_cpus(void)
{
	set_u32("/config", "cpus", 2);
}

static void no_rng(void)
{
	set_u32("/config", "rng", 0);
}

static void wide_value(void)
{
	set_u32("/state/serial/serial", "lcr", 256);
}

static void no_device(void)
{
	void *t = open_tree();

	ck_assert_int_eq(fdt_set_name(t, fdt_path_offset(t, "/state/rng"), "rog"), 0);
	close_tree();
}

static void other_cpu(void)
{
	void *t = open_tree();
	int len;
	uint8_t *p = fdt_getprop_w(t, fdt_path_offset(t, "/state/cpu@0"), "cpuid", &len);

	/* a leaf that says nothing on this host: the same features, and yet another */
	ck_assert_int_eq(fdt_setprop(t, fdt_path_offset(t, "/state/cpu@0"), "cpuid", p,
				     len - (int)sizeof(struct kvm_cpuid_entry2)),
			 0);
	close_tree();
}

static void damaged(void)
{
	for (uint64_t n = 0; n < rig_head(&image)->chunks; n++) {
		struct snap_entry e = rig_entry(&image, n);

		if (snap_kind(&e) != SNAP_DEFLATE)
			continue;
		image.data[e.at + 5] ^= 1;
		return;
	}
	ck_abort_msg("no chunk of it is packed");
}

static void cut_off(void)
{
	image.size /= 2;
}

static void none(void)
{
	memset(image.data, 'x', image.size);
}

static void no_parent(void)
{
	cleanup_image struct image parent = rig_image(1, 1);

	image_freep(&image);
	image = rig_child(&parent, 1, 1, "elsewhere.snap");
}

static const struct {
	void (*alter)(void);
	const char *says;
} lies[] = {
	{ more_memory, "memory: the snapshot's machine was made with '128M'" },
	{ more_cpus, "cpus: the snapshot's machine was made with '2'" },
	{ no_rng, "rng: the snapshot's machine was made with" },
	{ wide_value, "serial/serial: lcr" },
	{ no_device, "rng: no state for this device" },
	{ other_cpu, "CPU 0 of its guest is another" },
	{ damaged, "of its memory is damaged" },
	{ cut_off, "was cut off" },
	{ none, "is no snapshot" },
	{ no_parent, "is given without its parent" },
};

/* and still it counts, from where it was */
static void runs_on(struct flat *f)
{
	uint32_t at = *flat_word(f, FLAT_MAILBOX);

	ck_assert_uint_eq(f->vm->rollbacks, 0);
	for (unsigned ms = 0; *flat_word(f, FLAT_MAILBOX) <= at; ms++) {
		ck_assert_msg(ms < 5000, "it stands still");
		sleep_ms(1);
	}
}

START_TEST(test_refusal)
{
	struct flat *f = flat_new("count", NULL);
	int fd;

	ck_assert_msg(f != NULL, "%s", err_last());
	level = 1;
	ck_assert_int_eq(flat_start(f), 0);
	ck_assert(flat_until_set(f, FLAT_MAILBOX));
	fd = save(f);
	image = rig_of_fd(fd);
	close(fd);
	lies[_i].alter();
	file = rig_fd(&image);
	ck_assert_int_lt(flat_call(f, do_back), 0);
	ck_assert_msg(strstr(why, lies[_i].says), "%s", why);
	runs_on(f);
	ck_assert_int_eq(flat_pause(f), 0);
	ck_assert_int_lt(flat_call(f, do_back), 0);
	ck_assert(f->vm->user_paused);
	ck_assert_int_eq(flat_resume(f), 0);
	runs_on(f);
	flat_free(f);
	image_freep(&image);
	close(file);
}
END_TEST

/* a ring that only the device itself finds wrong: too late to go on */
START_TEST(test_too_late)
{
	struct flat *f;
	void *t;
	int fd;

	make_disk();
	f = chain(0);
	level = 1;
	ck_assert_int_eq(flat_start(f), 0);
	until(f, 1);
	ck_assert_int_eq(flat_pause(f), 0);
	keep_disk();
	fd = save(f);
	image = rig_of_fd(fd);
	close(fd);
	t = open_tree();
	ck_assert_int_eq(fdt_setprop_inplace_u32(t, fdt_path_offset(t, "/state/blk@0/virtio/vq@0"),
						 "size", 3),
			 0);
	close_tree();
	file = rig_fd(&image);
	ck_assert_int_eq(flat_call(f, do_back), -EINVAL);
	ck_assert_msg(strstr(why, "queue 0 of size 3"), "%s", why);
	ck_assert_int_eq(flat_wait(f, 5), VM_ERROR);
	ck_assert_ptr_nonnull(strstr(f->vm->event_text, "could not be rolled back: snapshot: blk"));
	ck_assert_int_lt(flat_call(f, do_back), 0);
	ck_assert_str_eq(why, "the machine has ended");
	flat_free(f);
	image_freep(&image);
	close(file);
	unlink(disk);
}
END_TEST

START_TEST(test_disk_written)
{
	struct flat *f;
	unsigned at;

	make_disk();
	f = chain(0);
	level = 1;
	ck_assert_int_eq(flat_start(f), 0);
	until(f, 1);
	save(f);
	at = *flat_word(f, FLAT_MAILBOX);
	until(f, at + 4);
	ck_assert_int_eq(flat_call(f, do_back), -EINVAL);
	ck_assert_msg(strstr(why, "was written since the snapshot was made"), "%s", why);
	ck_assert_msg(strstr(why, "that is for 'hutch restore'"), "%s", why);
	ck_assert_uint_eq(f->vm->rollbacks, 0);
	ck_assert_msg(!strncmp(end_of(f), "chain ", 6), "printed: %s", f->text);
	close(file);
	flat_free(f);
	unlink(disk);
}
END_TEST

/* --- a child, whose parents the machine could not open --- */

static void put(const char *path, const struct image *from)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert(fd >= 0 && write(fd, from->data, from->size) == (ssize_t)from->size);
	close(fd);
}

START_TEST(test_whole)
{
	cleanup_image struct image parent = rig_image(1, 1), child = { NULL, 0 };
	struct snap_unpacker *z = malloc(sizeof(*z));
	struct hutch *h = hutch_new();
	uint8_t got[SNAP_CHUNK], want[SNAP_CHUNK];
	char path[2][64], folder[] = "/tmp/hutch-t_snap_back.XXXXXX";
	struct snap_file f;
	int fd;

	ck_assert(mkdtemp(folder) && z && !snap_unpacker_init(z));
	for (unsigned i = 0; i < 2; i++)
		snprintf(path[i], sizeof(path[i]), "%s/%u.snap", folder, i);
	child = rig_child(&parent, 1, 1, "0.snap");
	put(path[0], &parent);
	put(path[1], &child);
	fd = hutch_snap_fd(h, path[1]);
	ck_assert_msg(fd >= 0, "%s", hutch_error(h));
	ck_assert_msg(!snap_open(&f, fd, "whole"), "%s", err_last());
	ck_assert_ptr_null(f.wanted);
	ck_assert_mem_eq(f.head.id, rig_head(&child)->id, sizeof(f.head.id));
	for (uint64_t n = 0; n < RIG_CHUNKS; n++) {
		memset(got, 0, sizeof(got));
		ck_assert_msg(!snap_read(&f, n, got, rig_len(n), z), "%s", err_last());
		rig_fill(n, want);
		if (rig_is_anew(1, n))
			rig_fill_child(1, n, want);
		ck_assert_mem_eq(got, want, rig_len(n));
	}
	snap_close(&f);
	close(fd);
	fd = hutch_snap_fd(h, path[0]); /* itself */
	ck_assert(fd >= 0 && !snap_open(&f, fd, "parent"));
	ck_assert_mem_eq(f.head.id, rig_head(&parent)->id, sizeof(f.head.id));
	snap_close(&f);
	close(fd);
	unlink(path[0]);
	ck_assert_int_eq(hutch_snap_fd(h, path[1]), -ENOENT);
	ck_assert_ptr_nonnull(strstr(hutch_error(h), "its parent 0.snap is missing"));
	unlink(path[1]);
	rmdir(folder);
	snap_unpacker_free(z);
	free(z);
	hutch_free(h);
}
END_TEST

/* through the public interface */
START_TEST(test_library)
{
	struct hutch *h = hutch_new(), *idle = hutch_new();
	int fd = memfd_create("snapshot", MFD_CLOEXEC);
	struct hutch_result result;
	char path[256];
	void *machine;
	int size;

	ck_assert_int_eq(hutch_set(h, "kernel", flat_path("idle", path, sizeof(path))), 0);
	ck_assert(!hutch_set(h, "memory", "16M") && !hutch_set(h, "console", "none"));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ck_assert_msg(!hutch_start(h), "%s", hutch_error(h));
	ck_assert_int_eq(hutch_rollback(h, path), -EINVAL);
	ck_assert_ptr_nonnull(strstr(hutch_error(h), "is no snapshot"));
	ck_assert_int_eq(hutch_rollback(h, "/none.snap"), -ENOENT);
	ck_assert_ptr_nonnull(strstr(hutch_error(h), "snapshot /none.snap: No such file"));
	ck_assert_uint_eq(hutch_rollbacks(h), 0);
	ck_assert_msg(!hutch_snapshot(h, fd, NULL, -1), "%s", hutch_error(h));
	size = hutch_tree(h, &machine);
	ck_assert_int_gt(size, 0);
	ck_assert_int_eq(hutch_renew(idle, path, machine, (size_t)size), 0); /* it has no agent */
	ck_assert_int_eq(hutch_renew(idle, path, "no tree", 7), -EINVAL);
	ck_assert_int_eq(hutch_renew(idle, "/none.snap", machine, (size_t)size), -ENOENT);
	free(machine);
	ck_assert_int_eq(hutch_rollback(idle, path), -EINVAL);
	ck_assert_ptr_nonnull(strstr(hutch_error(idle), "was not started"));
	hutch_free(idle);
	ck_assert_msg(!hutch_pause(h) && !hutch_rollback(h, path), "%s", hutch_error(h));
	ck_assert_uint_eq(hutch_rollbacks(h), 1);
	ck_assert(!hutch_is_paused(h));
	ck_assert_int_eq(hutch_wait(h, 20, &result), -ETIMEDOUT);
	hutch_free(h);
	close(fd);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, echo_begin, echo_end);
	tcase_add_loop_test(tc, test_chain, 0, ARRAY_SIZE(chains));
	tcase_add_test(tc, test_lazy);
	tcase_add_test(tc, test_two_processors);
	tcase_add_loop_test(tc, test_refusal, 0, ARRAY_SIZE(lies));
	tcase_add_test(tc, test_too_late);
	tcase_add_test(tc, test_disk_written);
	tcase_add_test(tc, test_library);
}

int main(int argc, char **argv)
{
	Suite *suite = suite_create("snap_back");
	TCase *tc = tcase_create("snap_back");

	(void)argc;
	flat_setup(argv[0]);
	echo_setup(argv[0]);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_whole);
	if (flat_possible())
		add_tests(tc);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
