/* t_snap_disks - flat guests on /dev/kvm whose disk is an overlay: it goes along with a snapshot */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chain_rig.h"
#include "devices.h"
#include "disk_cow.h"
#include "disk_rig.h"
#include "hutch.h"
#include "kvm_rig.h"
#include "snap.h"
#include "snap_rig.h"
#include "suite.h"

#define SAVES	  4
#define DISK_SIZE (1U << 20)

static char folder[64], base[80];
static struct stat base_was;

static const char *in_folder(const char *name)
{
	static char path[4][128];
	static unsigned at;

	snprintf(path[++at % 4], sizeof(path[0]), "%s/%s", folder, name);
	return path[at % 4];
}

static void setup(void)
{
	int fd;

	snprintf(folder, sizeof(folder), "/tmp/hutch-t_snap_disks.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(base, sizeof(base), "%s/base", folder);
	fd = open(base, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert(fd >= 0 && !ftruncate(fd, DISK_SIZE) && pwrite(fd, "base", 4, 4096) == 4);
	ck_assert_int_eq(fstat(fd, &base_was), 0);
	close(fd);
}

/* nobody has written to the base */
static void teardown(void)
{
	char command[128];
	struct stat st;

	ck_assert_int_eq(stat(base, &st), 0);
	ck_assert(!memcmp(&st.st_mtim, &base_was.st_mtim, sizeof(st.st_mtim)) &&
		  st.st_size == base_was.st_size);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
}

/* --- guests --- */

static const struct way {
	const char *transport, *engine;
	int level;
	bool named, live;
	enum { EAGER, LAZY } memory;
} ways[] = {
	{ "mmio", "threads", 1, false, false, EAGER }, { "pci", "auto", 0, false, false, LAZY },
	{ "mmio", "auto", 1, false, true, LAZY },      { "pci", "threads", 6, true, false, EAGER },
	{ "mmio", "threads", 0, true, true, EAGER },
};

static const char *disk_conf(const struct way *w)
{
	static char conf[512];

	snprintf(conf, sizeof(conf), "%s,format=cow,engine=%s%s%s", base, w->engine,
		 w->named ? ",overlay=" : "", w->named ? in_folder("overlay") : "");
	return conf;
}

static struct flat *chain(const struct way *w)
{
	struct flat *f = flat_new("chain", "memory", "40M", "transport", w->transport, "disk",
				  disk_conf(w), "balloon", "0", NULL);

	ck_assert_msg(f != NULL, "%s", err_last());
	return f;
}

static char uninterrupted[64];

static void setup_once(void)
{
	struct flat *f;

	setup();
	f = chain(&ways[0]);
	ck_assert_int_eq(flat_start(f), 0);
	ck_assert_int_eq(str_copy(uninterrupted, sizeof(uninterrupted), end_of(f)), 0);
	flat_free(f);
	teardown();
}

static void ends_well(struct flat *f)
{
	ck_assert_str_eq(end_of(f), uninterrupted);
	flat_free(f);
}

static struct snap_order order;
static int save_fd;
static char why[1024];

static int do_save(struct vm *vm)
{
	return snap_save(vm, save_fd, &order, NULL);
}

static int save(struct flat *f, const struct way *w, bool disks)
{
	save_fd = memfd_create("snapshot", MFD_CLOEXEC);
	order = (struct snap_order){ .label = "", .level = w->level, .disks = disks };
	if (w->live && !disks) {
		ck_assert_msg(!flat_live_begin(f, save_fd, w->level, NULL), "%s", err_last());
		ck_assert_int_gt(flat_live_end().result, 0);
	} else {
		ck_assert_msg(!flat_call(f, do_save), "%s", err_last());
	}
	return save_fd;
}

static struct flat *restore(int fd, const struct way *w, const char *overlay)
{
	char conf[256];
	struct flat *f;

	flat_lazy = w->memory == LAZY && hutch_lazy() >= 0;
	snprintf(conf, sizeof(conf), "overlay=%s", overlay);
	f = overlay ? flat_restore(fd, "disk@0", conf, NULL) : flat_restore(fd, NULL);
	snprintf(why, sizeof(why), "%s", err_last());
	return f;
}

/* it goes on with what it had written then, whatever the first one wrote since, and so does the
 * next
 */
START_TEST(test_goes_along)
{
	const struct way *w = &ways[_i];
	int fd[SAVES];
	struct flat *f = chain(w);

	ck_assert_int_eq(flat_start(f), 0);
	for (unsigned n = 0; n < SAVES; n++) {
		run_to(f, (n + 1) * STAGES / (SAVES + 2));
		fd[n] = save(f, w, w->named);
		ck_assert_int_eq(flat_resume(f), 0);
	}
	ends_well(f);
	for (unsigned n = SAVES; n--; close(fd[n])) {
		f = restore(fd[n], w, NULL);
		ck_assert_msg(f != NULL, "%s", why);
		ck_assert_int_eq(flat_start(f), 0);
		if (n % 2) { /* and out of a restored one */
			run_to(f, (n + 2) * STAGES / (SAVES + 2));
			close(fd[n]);
			fd[n] = save(f, w, false);
			flat_free(f);
			f = restore(fd[n], w, NULL);
			ck_assert_msg(f != NULL, "%s", why);
			ck_assert_int_eq(flat_start(f), 0);
		}
		ends_well(f);
	}
}
END_TEST

/* --- overlays that have a name --- */

static struct flat *named(const struct way *w, int *ret_fd, bool disks)
{
	struct flat *f = chain(w);

	ck_assert_int_eq(flat_start(f), 0);
	run_to(f, STAGES / 3);
	*ret_fd = save(f, w, disks);
	return f;
}

START_TEST(test_named)
{
	const struct way *w = &ways[3];
	struct flat *f, *other;
	int fd;

	/* it is only named, and belongs to who has it */
	f = named(w, &fd, false);
	ck_assert_ptr_null(restore(fd, w, NULL));
	ck_assert_msg(strstr(why, "is in use by another machine") != NULL, "%s", why);
	flat_free(f);
	close(fd);
	ck_assert_int_eq(unlink(in_folder("overlay")), 0);
	/* it goes along: into a file of its own, once */
	f = named(w, &fd, true);
	other = restore(fd, w, in_folder("second"));
	ck_assert_msg(other != NULL, "%s", why);
	ck_assert_int_eq(flat_start(other), 0);
	ends_well(other);
	ck_assert_ptr_null(restore(fd, w, in_folder("second")));
	ck_assert_msg(strstr(why, "name a file that is not there yet") != NULL, "%s", why);
	/* the first one has what it had */
	ck_assert_int_eq(flat_resume(f), 0);
	ends_well(f);
	close(fd);
}
END_TEST

/* what is in both files in the end is the same to a guest: the chain's number depends on it */
START_TEST(test_file_is_whole)
{
	const struct way *w = &ways[3];
	struct disk *d[2];
	static uint8_t a[SNAP_CHUNK], b[SNAP_CHUNK];
	struct conf_disk conf = { .format = FORMAT_COW, .ro = true };
	struct loop *loop = loop_new();
	struct flat *f, *other;
	char command[256];
	int fd;

	f = named(w, &fd, true);
	other = restore(fd, w, in_folder("second"));
	ck_assert_msg(other != NULL, "%s", why);
	/* as kill -9 leaves it */
	snprintf(command, sizeof(command), "cp %s/second %s/third", folder, folder);
	ck_assert_int_eq(system(command), 0);
	flat_free(other);
	flat_free(f);
	close(fd);
	ck_assert_int_eq(str_copy(conf.path, sizeof(conf.path), base), 0);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(str_copy(conf.overlay, sizeof(conf.overlay),
					  in_folder(i ? "third" : "overlay")),
				 0);
		d[i] = disk_open(loop, &conf, NULL, NULL);
		ck_assert_msg(d[i] != NULL, "%s", err_last());
	}
	ck_assert_uint_eq(disk_overlay_size(d[0]), disk_overlay_size(d[1]));
	for (uint64_t at = 0; at < disk_overlay_size(d[0]); at += SNAP_CHUNK) {
		ck_assert(!disk_overlay_read(d[0], at, a, sizeof(a)) &&
			  !disk_overlay_read(d[1], at, b, sizeof(b)));
		ck_assert_msg(!memcmp(a, b, sizeof(a)), "at %lu", (unsigned long)at);
	}
	ck_assert(!disk_overlay_is_clear(d[1]));
	disk_close(d[0]);
	disk_close(d[1]);
	loop_free(loop);
}
END_TEST

static struct disk *disk_in(const struct vm *vm)
{
	struct disk *d = NULL;

	for (unsigned i = 0; i < vm->devs; i++)
		if (vm->dev[i]->type == &blk_type)
			d = blk_disk(vm->dev[i]);
	return d;
}

static int all_zeroes(struct vm *vm)
{
	uint8_t map[DISK_SIZE / COW_CLUSTER / 8];
	struct disk *d = disk_in(vm);

	memset(map, 0xff, sizeof(map));
	ck_assert_int_eq(disk_overlay_clear(d), 0);
	ck_assert_int_eq(disk_overlay_write(d, COW_BITMAP, map, sizeof(map)), 0);
	return disk_overlay_filled(d);
}

/* into a file whose machine was killed before its first flush: it has data that never counted, and
 * that does not show where the snapshot has zeroes */
START_TEST(test_killed)
{
	const struct way *w = &ways[0];
	static uint8_t data[DISK_SIZE], zero[DISK_SIZE];
	struct conf_disk conf = rig_conf(base, ENGINE_THREADS, CACHE_WRITEBACK);
	struct flat *f = chain(w);
	char command[256];
	struct rig g;
	int fd;

	ck_assert_int_eq(flat_start(f), 0);
	run_to(f, 1);
	ck_assert_int_eq(flat_call(f, all_zeroes), 0);
	fd = save(f, w, false);
	flat_free(f);

	conf.format = FORMAT_COW;
	ck_assert_int_eq(str_copy(conf.overlay, sizeof(conf.overlay), in_folder("running")), 0);
	ck_assert_msg(rig_open(&g, &conf), "%s", err_last());
	memset(data, 0xdd, sizeof(data));
	ck_assert_int_eq(rig_do(&g, DISK_WRITE, 0, data, sizeof(data)), 0);
	snprintf(command, sizeof(command), "cp %s/running %s/killed", folder, folder);
	ck_assert_int_eq(system(command), 0);
	rig_close(&g);

	f = restore(fd, w, in_folder("killed"));
	ck_assert_msg(f != NULL, "%s", why);
	flat_free(f);
	close(fd);
	ck_assert_int_eq(str_copy(conf.overlay, sizeof(conf.overlay), in_folder("killed")), 0);
	ck_assert_msg(rig_open(&g, &conf), "%s", err_last());
	ck_assert_int_eq(rig_do(&g, DISK_READ, 0, data, sizeof(data)), 0);
	ck_assert_mem_eq(data, zero, sizeof(data));
	rig_close(&g);
}
END_TEST

/* --- in place --- */

static int do_back(struct vm *vm)
{
	int r = snap_roll_back(vm, save_fd, "test");

	snprintf(why, sizeof(why), "%s", r ? err_last() : "");
	return r;
}

START_TEST(test_roll_back)
{
	const struct way *w = &ways[_i];
	struct flat *f = chain(w);
	int fd;

	ck_assert_int_eq(flat_start(f), 0);
	run_to(f, STAGES / 4);
	fd = save(f, w, w->named);
	for (unsigned round = 0; round < 2; round++) {
		ck_assert_int_eq(flat_resume(f), 0);
		run_to(f, STAGES / 4 + (round + 1) * STAGES / 6);
		save_fd = fd;
		ck_assert_msg(!flat_call(f, do_back), "%s", why);
		ck_assert_int_eq(flat_pause(f), 0);
	}
	ck_assert_int_eq(flat_resume(f), 0);
	ends_well(f);
	close(fd);
}
END_TEST

/* of one that had not written yet nothing is left, whatever lies in the overlay now */
static int write_all(struct vm *vm)
{
	static uint8_t data[DISK_SIZE];

	memset(data, 0xff, sizeof(data));
	return disk_overlay_write(disk_in(vm), 0, data, sizeof(data));
}

static int is_clear(struct vm *vm)
{
	return disk_overlay_is_clear(disk_in(vm));
}

START_TEST(test_back_to_nothing)
{
	const struct way *w = &ways[_i ? 3 : 0]; /* with a name, and without */
	struct flat *f = flat_new("idle", "disk", disk_conf(w), NULL);
	int fd;

	ck_assert_msg(f && !flat_start(f), "%s", err_last());
	ck_assert_int_eq(flat_wait_text(f, "idle"), 0);
	fd = save(f, w, w->named);
	ck_assert_int_eq(flat_pause(f), 0);
	ck_assert_int_eq(flat_call(f, write_all), 0);
	ck_assert(!flat_call(f, is_clear));
	save_fd = fd;
	ck_assert_msg(!flat_call(f, do_back), "%s", why);
	ck_assert(flat_call(f, is_clear));
	flat_free(f);
	close(fd);
}
END_TEST

/* a disk that is written in place is no place for an overlay */
START_TEST(test_other_disk)
{
	const struct way *w = &ways[0];
	struct flat *f = chain(w), *raw;
	char conf[256];
	int fd;

	ck_assert_int_eq(flat_start(f), 0);
	run_to(f, STAGES / 4);
	fd = save(f, w, false);
	flat_free(f);
	snprintf(conf, sizeof(conf), "%s/raw", folder);
	ck_assert_int_eq(symlink("base", conf), 0);
	snprintf(conf, sizeof(conf), "%s/raw,engine=threads", folder);
	raw = flat_new("chain", "memory", "40M", "disk", conf, "balloon", "0", NULL);
	ck_assert_msg(raw != NULL, "%s", err_last());
	ck_assert_int_eq(flat_start(raw), 0);
	ck_assert_int_eq(flat_pause(raw), 0);
	save_fd = fd;
	ck_assert_int_eq(flat_call(raw, do_back), -EBADMSG);
	ck_assert_msg(strstr(why, "disk 0, which has no overlay") != NULL, "%s", why);
	flat_free(raw);
	close(fd);
}
END_TEST

/* --- children --- */

static uint8_t parent_id[16];
static bool whole;

static int do_child(struct vm *vm)
{
	order.parent = parent_id;
	return snap_save(vm, save_fd, &order, &whole);
}

/* the memory is its parent's for the most part, the disk is its own; compared, known, and read as
 * one */
START_TEST(test_child)
{
	const struct way *w = &ways[0];
	char path[2][128], number[32];
	struct hutch *lib = hutch_new();
	struct hutch_parent *p;
	struct flat *f = chain(w);
	unsigned at = STAGES / 6;
	int fd, to;

	order = (struct snap_order){ .label = "", .level = 1 };
	ck_assert_int_eq(flat_start(f), 0);
	run_to(f, at);
	snprintf(path[1], sizeof(path[1]), "%s", in_folder("0.snap"));
	save_fd = open(path[1], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(flat_call(f, do_save), 0);
	close(save_fd);
	for (unsigned n = 1; n < 3; n++) {
		ck_assert_int_eq(flat_resume(f), 0);
		run_to(f, at += STAGES / 6);
		memcpy(path[0], path[1], sizeof(path[0]));
		snprintf(number, sizeof(number), "%u.snap", n);
		snprintf(path[1], sizeof(path[1]), "%s", in_folder(number));
		p = hutch_parent_open(lib, path[0], path[1]);
		ck_assert_msg(p && !snap_scan_id(hutch_parent_id(p), parent_id), "%s",
			      hutch_error(lib));
		to = open(path[1], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		save_fd = n == 1 ? memfd_create("whole", MFD_CLOEXEC) : to;
		ck_assert_msg(!flat_call(f, do_child), "%s", err_last());
		ck_assert_int_eq(whole, n == 1);
		ck_assert_msg(!(n == 1 ? hutch_parent_compare(lib, p, save_fd, to, -1)
				       : hutch_parent_end(lib, p, to)),
			      "%s", hutch_error(lib));
		hutch_parent_free(p);
		ck_assert_msg(!hutch_snap_verify(lib, path[1]), "%s", hutch_error(lib));
		close(to);
	}
	/* in place, out of a copy without parents */
	fd = hutch_snap_fd(lib, path[1]);
	ck_assert_msg(fd >= 0, "%s", hutch_error(lib));
	ck_assert_int_eq(flat_resume(f), 0);
	run_to(f, at += STAGES / 6);
	save_fd = fd;
	ck_assert_msg(!flat_call(f, do_back), "%s", why);
	ends_well(f);
	close(fd);
	for (unsigned i = 0; i < 2; i++) { /* one that was compared, and one that was known */
		fd = open(path[i], O_RDONLY | O_CLOEXEC);
		f = restore(fd, w, NULL);
		ck_assert_msg(f != NULL, "%s", why);
		ck_assert_int_eq(flat_start(f), 0);
		ends_well(f);
		close(fd);
	}
	hutch_free(lib);
}
END_TEST

/* --- what lies, under good checksums --- */

/* the first piece alone */
static void another_disk(struct image *x)
{
	struct snap_entry e;

	rig_piece_of(x, 0, &e);
	rig_section(x, SNAP_SECTION_DISKS)->size = RIG_PIECE_SIZE;
	rig_set_piece(x, 0, SNAP_PIECE(1, 0), e);
}

static void behind_the_end(struct image *x)
{
	uint64_t last = rig_pieces(x) - 1;
	struct snap_entry e;

	rig_piece_of(x, last, &e);
	rig_set_piece(x, last, SNAP_PIECE(0, 1000), e);
}

static const struct {
	void (*lie)(struct image *x);
	const char *want;
} lies[] = {
	{ another_disk, "is of disk 1, which is not in it" },
	{ behind_the_end, "lies behind the end of disk 0" },
};

START_TEST(test_lies)
{
	const struct way *w = &ways[0];
	struct flat *f = chain(w);
	struct image image;
	int fd;

	ck_assert_int_eq(flat_start(f), 0);
	run_to(f, STAGES / 4);
	fd = save(f, w, false);
	image = rig_of_fd(fd);
	close(fd);
	lies[_i].lie(&image);
	rig_seal(&image);
	fd = rig_fd(&image);
	ck_assert_ptr_null(restore(fd, w, NULL));
	ck_assert_msg(strstr(why, lies[_i].want) != NULL, "%s", why);
	/* nor back to it, and then nothing was touched */
	save_fd = fd;
	ck_assert_int_eq(flat_call(f, do_back), -EBADMSG);
	ck_assert_msg(strstr(why, lies[_i].want) != NULL, "%s", why);
	ck_assert_int_eq(flat_resume(f), 0);
	ends_well(f);
	close(fd);
	image_freep(&image);
}
END_TEST

START_TEST(test_nothing)
{
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, test_goes_along, 0, ARRAY_SIZE(ways));
	tcase_add_test(tc, test_named);
	tcase_add_test(tc, test_file_is_whole);
	tcase_add_test(tc, test_killed);
	tcase_add_loop_test(tc, test_roll_back, 0, ARRAY_SIZE(ways));
	tcase_add_loop_test(tc, test_back_to_nothing, 0, 2);
	tcase_add_test(tc, test_other_disk);
	tcase_add_test(tc, test_child);
	tcase_add_loop_test(tc, test_lies, 0, ARRAY_SIZE(lies));
}

int main(int argc, char **argv)
{
	Suite *suite = suite_create("snap_disks");
	TCase *tc = tcase_create("disks");

	(void)argc;
	flat_setup(argv[0]);
	tcase_set_timeout(tc, 120);
	if (flat_possible()) {
		tcase_add_unchecked_fixture(tc, setup_once, NULL);
		tcase_add_checked_fixture(tc, setup, teardown);
		add_tests(tc);
	} else {
		tcase_add_test(tc, test_nothing);
	}
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
