/* t_snap_child - flat guests saved as the changes of another snapshot, in each way of knowing them
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chain_rig.h"
#include "ctl.h"
#include "echo_rig.h"
#include "hutch.h"
#include "kvm_rig.h"
#include "snap.h"
#include "snap_mem.h"
#include "suite.h"

#define CHAIN	5U
#define MEMORY	"64M"
#define CHUNKS	1024U
#define SCRATCH (32 * MiB) /* where that guest has nothing */
#define BIG	(4 * SNAP_CHUNK)

static char folder[64], disk[80], disk_then[80];
static struct hutch *lib; /* for its messages */
static uint8_t parent_id[16];
static int save_fd, save_level;
static bool whole, live; /* live: children are made while the guest goes on */

static const char *in_folder(const char *name)
{
	static char path[4][128];
	static unsigned at;

	snprintf(path[++at % 4], sizeof(path[0]), "%s/%s", folder, name);
	return path[at % 4];
}

static const char *numbered(unsigned n)
{
	char name[32];

	snprintf(name, sizeof(name), "%u.snap", n);
	return in_folder(name);
}

static void setup(void)
{
	int fd;

	snprintf(folder, sizeof(folder), "/tmp/hutch-t_snap_child.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(disk, sizeof(disk), "%s/disk", folder);
	snprintf(disk_then, sizeof(disk_then), "%s/disk_then", folder);
	fd = open(disk, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert(fd >= 0 && !ftruncate(fd, 1 << 20));
	close(fd);
	lib = hutch_new();
	ck_assert_ptr_nonnull(lib);
	echo_begin();
}

static void teardown(void)
{
	char command[128];

	echo_end();
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
	hutch_free(lib);
}

/* --- saving --- */

static int do_save(struct vm *vm)
{
	return snap_save(vm, save_fd,
			 &(struct snap_order){ .label = "a label", .level = save_level }, NULL);
}

static int do_child(struct vm *vm)
{
	return snap_save(vm, save_fd,
			 &(struct snap_order){
				 .label = "a label", .level = save_level, .parent = parent_id },
			 &whole);
}

static int new_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	return fd;
}

static void save(struct flat *f, const char *path)
{
	save_fd = new_file(path);
	ck_assert_msg(!flat_call(f, do_save), "%s", err_last());
	close(save_fd);
}

static int make_child(struct flat *f)
{
	struct flat_live came;

	if (!live)
		return flat_call(f, do_child);
	if (flat_live_begin(f, save_fd, save_level, parent_id))
		return -1;
	came = flat_live_end();
	whole = came.whole;
	return came.result < 0 ? err(came.result, "%s", came.text) : 0;
}

/* as a child, in the way that is expected */
static void save_child(struct flat *f, const char *parent, const char *path, bool compared)
{
	struct hutch_parent *p = hutch_parent_open(lib, parent, path);
	int fd = new_file(path);

	ck_assert_msg(p != NULL, "%s", hutch_error(lib));
	ck_assert_int_eq(snap_scan_id(hutch_parent_id(p), parent_id), 0);
	save_fd = compared ? memfd_create("whole", MFD_CLOEXEC) : fd;
	ck_assert_msg(!make_child(f), "%s", err_last());
	ck_assert_msg(whole == compared, "%s: %s", path, whole ? "whole" : "changed");
	ck_assert_msg(!(whole ? hutch_parent_compare(lib, p, save_fd, fd, save_level)
			      : hutch_parent_end(lib, p, fd)),
		      "%s", hutch_error(lib));
	if (compared)
		close(save_fd);
	close(fd);
	hutch_parent_free(p);
}

static void open_chain(struct snap_file *f, const char *path)
{
	int fd = snap_open_path(path, false);

	ck_assert_msg(fd >= 0 && !snap_open(f, fd, path) && !snap_open_parents(f, path, false),
		      "%s", err_last());
}

static unsigned of_the_parent(const struct snap_file *f)
{
	unsigned n = 0;

	for (uint64_t i = 0; i < f->head.chunks; i++)
		n += snap_kind(&f->entry[i]) == SNAP_PARENT;
	return n;
}

/* chunks that have bytes of their own in this file */
static unsigned stored_in(const char *path)
{
	struct snap_file f;
	unsigned n = 0;

	open_chain(&f, path);
	for (uint64_t i = 0; i < f.head.chunks; i++)
		n += snap_stored(&f.entry[i]) != 0;
	snap_close(&f);
	close(f.fd);
	return n;
}

/* is the file, with all that is its parents', what is in memory now?  The guest stands still.
 * Returns how many chunks are of its parent */
static unsigned check_all(struct flat *f, const char *path)
{
	static struct snap_unpacker u;
	static uint8_t to[SNAP_CHUNK];
	const struct gmem_slot *slot;
	struct snap_file file;
	uint64_t off;
	unsigned n;
	size_t len;

	ck_assert_int_eq(snap_unpacker_init(&u), 0);
	open_chain(&file, path);
	ck_assert_uint_eq(file.head.chunks, CHUNKS);
	for (uint64_t i = 0; i < CHUNKS; i++) {
		slot = snap_slot(&f->vm->mem, i, &off, &len);
		memset(to, 0, sizeof(to));
		ck_assert_msg(!snap_read(&file, i, to, len, &u), "%s", err_last());
		ck_assert_msg(!memcmp(to, slot->hva + off, len), "%s: chunk %lu is not what it is",
			      path, (unsigned long)i);
	}
	n = of_the_parent(&file);
	snap_close(&file);
	close(file.fd);
	snap_unpacker_free(&u);
	return n;
}

/* --- guests --- */

static struct flat *new_chain(const char *bus)
{
	char conf[128];
	struct flat *f;

	snprintf(conf, sizeof(conf), "%s,engine=threads", disk);
	f = flat_new("chain", "memory", MEMORY, "transport", bus, "disk", conf, "net", echo_net,
		     "vsock", echo_vsock, "balloon", "0", NULL);
	ck_assert_msg(f != NULL, "%s", err_last());
	return f;
}

static struct flat *restore(const char *path, bool mapped)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct snap_file from;
	struct flat *f;

	if (mapped) {
		open_chain(&from, path);
		flat_memory = unpack_parts(&from);
		snap_close(&from);
		close(from.fd);
	}
	flat_lazy = !mapped; /* through all of its parents, while it runs */
	f = flat_restore(fd, NULL);
	ck_assert_msg(f != NULL, "%s: %s", path, err_last());
	cleanup_close(&flat_memory);
	flat_memory = -1;
	close(fd);
	return f;
}

static char uninterrupted[64];

/* what comes out without any of it; once for all tests */
static void setup_once(void)
{
	struct flat *f;

	setup();
	f = new_chain("mmio");
	ck_assert_int_eq(flat_start(f), 0);
	ck_assert_int_eq(str_copy(uninterrupted, sizeof(uninterrupted), end_of(f)), 0);
	flat_free(f);
	teardown();
}

/* some of its work, then it stands still */
static void run_a_while(struct flat *f, unsigned *at)
{
	*at += STAGES / (CHAIN + 2);
	run_to(f, *at);
}

static unsigned scratch_round;

/* what the VMM does to memory by itself: pages that come, and pages that go */
static int scratch(struct vm *vm)
{
	gpa_t at = SCRATCH + (gpa_t)scratch_round * BIG, last = at - BIG;
	static uint8_t noise[BIG];
	int r;

	memset(noise, (int)scratch_round + 1, sizeof(noise));
	r = gmem_write(&vm->mem, at, noise, sizeof(noise));
	if (!r && scratch_round) /* a hole, if it is mapped, and a page that is too small for one */
		r = gmem_discard(&vm->mem, last, BIG / 2);
	if (!r && scratch_round)
		r = gmem_discard(&vm->mem, last + BIG - GMEM_PAGE, GMEM_PAGE);
	scratch_round++;
	return r;
}

/* --- a chain of five, each restored or gone on from --- */

enum way { MAPPED, LOGGED, COMPARED, MAPPED_THEN_LOGGED };

static const struct {
	enum way way;
	int level;
	bool live;
	const char *bus;
} ways[] = { { MAPPED, 1, false, "mmio" },   { LOGGED, 0, false, "pci" },
	     { COMPARED, 1, false, "mmio" }, { MAPPED_THEN_LOGGED, 6, false, "pci" },
	     { MAPPED, 0, true, "pci" },     { LOGGED, 1, true, "mmio" },
	     { COMPARED, 1, true, "pci" },   { MAPPED_THEN_LOGGED, 1, true, "mmio" } };

START_TEST(test_chain_of_five)
{
	enum way way = ways[_i].way;
	unsigned at = 0, same;
	struct flat *f;
	bool compared;

	f = new_chain(ways[_i].bus);
	save_level = ways[_i].level;
	live = ways[_i].live;
	ck_assert_int_eq(flat_start(f), 0);
	for (unsigned n = 0; n <= CHAIN; n++) {
		run_a_while(f, &at);
		ck_assert_msg(!flat_call(f, scratch), "%s", err_last());
		if (!n) {
			save(f, numbered(0));
		} else {
			compared = way == COMPARED || (way == LOGGED && n == 1);
			save_child(f, numbered(n - 1), numbered(n), compared);
			same = check_all(f, numbered(n));
			/* one that is compared names no parent for a chunk of zeroes */
			ck_assert_msg(same > (compared ? 0 : CHUNKS / 2),
				      "only %u chunks are its parent's", same);
		}
		copy_disk(disk, disk_then);
		if (way == LOGGED || (way == MAPPED_THEN_LOGGED && n)) {
			ck_assert_int_eq(flat_resume(f), 0);
			continue;
		}
		flat_free(f);
		f = restore(numbered(n), way != COMPARED);
		ck_assert_int_eq(flat_start(f), 0);
	}
	if (way == LOGGED || way == MAPPED_THEN_LOGGED) {
		flat_free(f);
		copy_disk(disk_then, disk);
		f = restore(numbered(CHAIN), false);
		ck_assert_int_eq(flat_start(f), 0);
	}
	ck_assert_str_eq(end_of(f), uninterrupted);
	flat_free(f);
}
END_TEST

/* --- what fails, and what the next one has --- */

static void save_child_fails(struct flat *f, const char *parent)
{
	const struct rlimit little = { 70000, RLIM_INFINITY },
			    all = { RLIM_INFINITY, RLIM_INFINITY };
	struct hutch_parent *p = hutch_parent_open(lib, parent, in_folder("none"));

	ck_assert_msg(p != NULL, "%s", hutch_error(lib));
	ck_assert_int_eq(snap_scan_id(hutch_parent_id(p), parent_id), 0);
	hutch_parent_free(p);
	save_fd = memfd_create("child", MFD_CLOEXEC);
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &little), 0);
	ck_assert_int_eq(flat_call(f, do_child), -EFBIG);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &all), 0);
	close(save_fd);
}

/* a guest that has been restored with its memory mapped from 0.snap, and stands still */
static struct flat *from_zero(unsigned *at)
{
	struct flat *f = new_chain("mmio");

	save_level = 1;
	ck_assert_int_eq(flat_start(f), 0);
	run_a_while(f, at);
	save(f, numbered(0));
	flat_free(f);
	f = restore(numbered(0), true);
	ck_assert_int_eq(flat_start(f), 0);
	run_a_while(f, at);
	return f;
}

START_TEST(test_next_after_a_failure)
{
	unsigned at = 0;
	struct flat *f = from_zero(&at);

	save_child_fails(f, numbered(0));
	save_child(f, numbered(0), numbered(1), false);
	ck_assert_uint_gt(check_all(f, numbered(1)), 0);
	ck_assert_int_eq(flat_resume(f), 0);
	run_a_while(f, &at);
	ck_assert_int_eq(flat_call(f, scratch), 0);
	/* the log was read for it, and it does not forget */
	save_child_fails(f, numbered(1));
	save_child(f, numbered(1), numbered(2), false);
	ck_assert_uint_gt(check_all(f, numbered(2)), 0);
	flat_free(f);
}
END_TEST

/* and stands still there */
static int do_back(struct vm *vm)
{
	int r = snap_roll_back(vm, save_fd, "test");

	return r ? r : vm_user_pause(vm);
}

/* all of memory came anew, and most of it is what it was */
START_TEST(test_next_after_a_rollback)
{
	unsigned at = 0;
	struct flat *f = flat_new("chain", "memory", MEMORY, NULL); /* a disk would be another */

	save_level = 1;
	ck_assert(f && !flat_start(f));
	run_a_while(f, &at);
	save(f, numbered(0));
	flat_free(f);
	f = restore(numbered(0), true);
	ck_assert_int_eq(flat_start(f), 0);
	run_a_while(f, &at);
	if (_i)
		save_child(f, numbered(0), numbered(1), false);
	save_fd = open(numbered(0), O_RDONLY | O_CLOEXEC);
	ck_assert_msg(!flat_call(f, do_back), "%s", err_last());
	close(save_fd);
	save_child(f, numbered(_i), numbered(2), true);
	ck_assert_uint_gt(check_all(f, numbered(2)), 0);
	if (!_i)
		ck_assert_uint_lt(stored_in(numbered(2)), stored_in(numbered(0)) / 2);
	flat_free(f);
}
END_TEST

/* --- while the guest goes on --- */

enum end_of_live { COMES, KILLED, GIVEN_UP };

/* who packs a child of that parent, and goes no further for now */
static pid_t begin_live_child(struct flat *f, const char *parent)
{
	struct hutch_parent *p = hutch_parent_open(lib, parent, in_folder("none"));
	char magic[8];
	pid_t packer;

	ck_assert_msg(p != NULL, "%s", hutch_error(lib));
	ck_assert_int_eq(snap_scan_id(hutch_parent_id(p), parent_id), 0);
	hutch_parent_free(p);
	ck_assert_msg(!flat_live_begin(f, save_fd, 9, parent_id), "%s", err_last());
	packer = flat_packer(getpid());
	ck_assert_int_gt(packer, 0);
	ck_assert_int_eq(kill(packer, SIGSTOP), 0);
	ck_assert(pread(save_fd, magic, sizeof(magic), 0) != sizeof(magic) ||
		  memcmp(magic, SNAP_MAGIC, sizeof(magic)) != 0);
	return packer;
}

static int give_up(struct vm *vm)
{
	snap_live_stop(vm, "this is a test");
	return 0;
}

static int do_snapshot_meanwhile(struct vm *vm)
{
	int fd = memfd_create("meanwhile", MFD_CLOEXEC);
	int r = snap_save(vm, fd, &(struct snap_order){ .label = "" }, NULL);

	close(fd);
	return r;
}

/* what the live one came to */
static void let_it_end(struct flat *f, pid_t packer, enum end_of_live how)
{
	struct flat_live came;

	if (how == GIVEN_UP)
		flat_call(f, give_up);
	kill(packer, how == KILLED ? SIGKILL : SIGCONT);
	came = flat_live_end();
	switch (how) {
	case COMES:
		ck_assert_msg(came.result > 0 && !came.whole, "%d: %s", came.result, came.text);
		break;
	case KILLED:
		ck_assert_int_eq(came.result, -EIO);
		break;
	case GIVEN_UP:
		ck_assert_int_eq(came.result, -ECANCELED);
		break;
	}
	for (unsigned i = 0; i < 500 && flat_packer(getpid()); i++)
		sleep_ms(10);
	ck_assert_int_eq(flat_packer(getpid()), 0);
}

/* what changed before the child, and what changes while it is packed, is in the next one, whatever
 * came of it */
START_TEST(test_live_child)
{
	bool logged = _i & 1;
	enum end_of_live how = (enum end_of_live)(_i / 2);
	struct hutch_parent *p;
	unsigned at = 0, parent = 0;
	struct flat *f = from_zero(&at);
	pid_t packer;

	if (logged) {
		save_child(f, numbered(parent), numbered(1), false);
		parent = 1;
	}
	ck_assert_int_eq(flat_resume(f), 0);
	run_a_while(f, &at);
	ck_assert_int_eq(flat_call(f, scratch), 0);
	save_fd = new_file(numbered(2));
	packer = begin_live_child(f, numbered(parent));
	ck_assert_int_eq(flat_resume(f), 0);
	run_a_while(f, &at);
	ck_assert_int_eq(flat_call(f, scratch), 0);
	/* others meanwhile: they could not tell of which of both it is the child */
	ck_assert_int_eq(flat_call(f, do_child), -EBUSY);
	ck_assert_int_eq(flat_call(f, do_snapshot_meanwhile), 0);
	let_it_end(f, packer, how);
	if (how == COMES) {
		p = hutch_parent_open(lib, numbered(parent), in_folder("none"));
		ck_assert_msg(!hutch_parent_end(lib, p, save_fd), "%s", hutch_error(lib));
		hutch_parent_free(p);
		parent = 2;
	}
	close(save_fd);
	save_child(f, numbered(parent), numbered(3), false);
	ck_assert_uint_gt(check_all(f, numbered(3)), CHUNKS / 2);
	flat_free(f);
}
END_TEST

/* of another parent than the last one, and of the last one again */
START_TEST(test_other_parents)
{
	unsigned at = 0;
	struct flat *f = from_zero(&at);

	save_child(f, numbered(0), numbered(1), false);
	save_child(f, numbered(1), in_folder("same.snap"), false);
	ck_assert_uint_eq(check_all(f, in_folder("same.snap")), CHUNKS);
	ck_assert_int_eq(flat_resume(f), 0);
	run_a_while(f, &at);
	save(f, in_folder("between.snap")); /* one without a parent changes nothing */
	save_child(f, numbered(0), numbered(2), true);
	ck_assert_uint_gt(check_all(f, numbered(2)), 0);
	save_child(f, numbered(1), numbered(3), true);
	ck_assert_uint_gt(check_all(f, numbered(3)), 0);
	ck_assert_int_eq(flat_resume(f), 0);
	run_a_while(f, &at);
	/* a compared one is known to the machine, too */
	save_child(f, numbered(3), numbered(4), false);
	ck_assert_uint_gt(check_all(f, numbered(4)), 0);
	flat_free(f);
}
END_TEST

static int no_pagemap(struct vm *vm)
{
	cleanup_close(&vm->pagemap);
	vm->pagemap = -1;
	return 0;
}

START_TEST(test_without_a_pagemap)
{
	unsigned at = 0;
	struct flat *f = from_zero(&at);

	flat_call(f, no_pagemap);
	save_child(f, numbered(0), numbered(1), true);
	ck_assert_uint_gt(check_all(f, numbered(1)), 0);
	flat_free(f);
}
END_TEST

static int reset(struct vm *vm)
{
	return vm_reset(vm);
}

/* nothing of what it was is left, in memory that was mapped or in one that is logged */
START_TEST(test_reset)
{
	struct flat *f = flat_new("count", "memory", MEMORY, "on-reboot", "reset", NULL);

	ck_assert_msg(f && !flat_start(f), "%s", err_last());
	ck_assert(flat_until_set(f, FLAT_MAILBOX));
	ck_assert_int_eq(flat_pause(f), 0);
	save_level = 1;
	*flat_word(f, SCRATCH) = 7;
	save(f, numbered(0));
	flat_free(f);
	f = restore(numbered(0), true);
	ck_assert_int_eq(flat_start(f), 0);
	for (unsigned n = 1; n < 3; n++) {
		ck_assert_int_eq(flat_pause(f), 0);
		ck_assert_msg(!flat_call(f, reset), "%s", err_last());
		save_child(f, numbered(n - 1), numbered(n), false);
		check_all(f, numbered(n));
		ck_assert_uint_eq(*flat_word(f, SCRATCH), 0);
		ck_assert_int_eq(flat_resume(f), 0);
	}
	flat_free(f);
}
END_TEST

/* --- what the control socket is told --- */

static const char *wrong;

static int ask_wrongly(struct vm *vm)
{
	char request[128];
	void *answer = NULL;
	int r;

	snprintf(request, sizeof(request), "%s", wrong);
	r = ctl_run(vm, request, save_fd, NULL, &answer);

	free(answer);
	return r;
}

START_TEST(test_wrong_requests)
{
	static const char *const requests[] = {
		"child",
		"child 1",
		"child 1 ",
		"child 1 00112233445566778899aabbccddeef",
		"child 1 00112233445566778899aabbccddeeff0",
		"child 1 00112233445566778899aabbccddeefg",
		"child 1 00112233445566778899AABBCCDDEEFF",
		"child 10 00112233445566778899aabbccddeeff",
		"child x 00112233445566778899aabbccddeeff",
		"child 00112233445566778899aabbccddeeff 1 x",
	};
	struct flat *f = flat_new("count", "memory", MEMORY, NULL);

	ck_assert_msg(f && !flat_start(f), "%s", err_last());
	save_fd = memfd_create("child", MFD_CLOEXEC);
	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
		wrong = requests[i];
		ck_assert_int_eq(flat_call(f, ask_wrongly), -EINVAL);
	}
	wrong = "child 1 00112233445566778899aabbccddeeff a label";
	ck_assert_int_eq(flat_call(f, ask_wrongly), 5);	      /* "whole" */
	ck_assert_int_eq(flat_call(f, ask_wrongly), -EINVAL); /* it is not empty any more */
	close(save_fd);
	save_fd = -1;
	ck_assert_int_eq(flat_call(f, ask_wrongly), -EINVAL);
	flat_free(f);
}
END_TEST

/* --- from a program --- */

static struct hutch *program(const char *memory)
{
	struct hutch *h = hutch_new();
	char path[CONF_PATH];

	ck_assert(h && !hutch_set(h, "kernel", flat_path("count", path, sizeof(path))) &&
		  !hutch_set(h, "memory", memory) && !hutch_set(h, "console", "none"));
	ck_assert_msg(!hutch_start(h), "%s", hutch_error(h));
	return h;
}

static void library_child(struct hutch *h, const char *parent, const char *path, int want)
{
	struct hutch_parent *p = hutch_parent_open(h, parent, path);
	int fd = new_file(path), to, r;
	unsigned still_us = 0;

	ck_assert_msg(p != NULL, "%s", hutch_error(h));
	r = live ? hutch_snapshot_live_child(h, fd, NULL, -1, p, &still_us)
		 : hutch_snapshot_child(h, fd, NULL, -1, p);
	ck_assert_msg(r == want, "%d: %s", r, hutch_error(h));
	ck_assert_int_eq(still_us > 0, live);
	if (r) {
		ck_assert_int_eq(unlink(path), 0);
		to = new_file(path);
		ck_assert_msg(!hutch_parent_compare(h, p, fd, to, -1), "%s", hutch_error(h));
		close(to);
	}
	close(fd);
	hutch_parent_free(p);
	ck_assert_msg(!hutch_snap_verify(h, path), "%s", hutch_error(h));
}

static void no_place(struct hutch *h, const char *parent, const char *path, const char *want)
{
	ck_assert_ptr_null(hutch_parent_open(h, parent, path));
	ck_assert_msg(strstr(hutch_error(h), want) != NULL, "'%s' is not '%s'", hutch_error(h),
		      want);
}

START_TEST(test_program)
{
	struct hutch *h = program("16M");
	struct hutch_snap snap, parent;
	int fd = new_file(numbered(0));

	live = _i;
	ck_assert_msg(!hutch_snapshot(h, fd, NULL, -1), "%s", hutch_error(h));
	close(fd);
	library_child(h, numbered(0), numbered(1), 1);
	library_child(h, numbered(1), numbered(2), 0);
	ck_assert(hutch_snap_look(h, numbered(2), &snap, NULL) > 0 &&
		  hutch_snap_look(h, numbered(1), &parent, NULL) > 0);
	ck_assert_str_eq(snap.parent, parent.id);
	ck_assert_str_eq(snap.parent_path, "1.snap");

	/* onto one of those that it needs, by whatever name */
	ck_assert_int_eq(symlink("1.snap", in_folder("soft")), 0);
	ck_assert_int_eq(link(numbered(0), in_folder("hard")), 0);
	no_place(h, numbered(2), numbered(2), "itself");
	no_place(h, numbered(2), in_folder("soft"), "1.snap itself");
	no_place(h, numbered(2), in_folder("hard"), "0.snap itself");
	no_place(h, numbered(2), in_folder("none/x"), "No such file");
	no_place(h, in_folder("none"), numbered(9), "No such file");
	hutch_free(h);
}
END_TEST

START_TEST(test_another_memory)
{
	struct hutch *h = program("16M"), *other = program("32M");
	int fd = new_file(numbered(0)), to = memfd_create("child", MFD_CLOEXEC);
	struct hutch_parent *p;

	ck_assert_msg(!hutch_snapshot(other, fd, NULL, -1), "%s", hutch_error(other));
	close(fd);
	p = hutch_parent_open(h, numbered(0), in_folder("elsewhere"));
	fd = new_file(numbered(1));
	ck_assert_int_eq(hutch_snapshot_child(h, fd, NULL, -1, p), 1);
	ck_assert_int_eq(hutch_parent_compare(h, p, fd, to, -1), -EINVAL);
	ck_assert_ptr_nonnull(strstr(hutch_error(h), "it has 32M of memory, and the machine 16M"));
	ck_assert_int_eq(hutch_parent_compare(h, p, to, to, -1), -EINVAL); /* which is empty */
	hutch_parent_free(p);
	close(fd);
	close(to);
	hutch_free(h);
	hutch_free(other);
}
END_TEST

START_TEST(test_nothing)
{
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, test_chain_of_five, 0, ARRAY_SIZE(ways));
	tcase_add_test(tc, test_next_after_a_failure);
	tcase_add_loop_test(tc, test_next_after_a_rollback, 0, 2);
	tcase_add_loop_test(tc, test_live_child, 0, 6);
	tcase_add_test(tc, test_other_parents);
	tcase_add_test(tc, test_without_a_pagemap);
	tcase_add_test(tc, test_reset);
	tcase_add_test(tc, test_wrong_requests);
	tcase_add_loop_test(tc, test_program, 0, 2);
	tcase_add_test(tc, test_another_memory);
}

int main(int argc, char **argv)
{
	Suite *suite = suite_create("snap_child");
	TCase *tc = tcase_create("snap_child");

	(void)argc;
	flat_setup(argv[0]);
	echo_setup(argv[0]);
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	if (flat_possible()) {
		tcase_add_unchecked_fixture(tc, setup_once, NULL);
		add_tests(tc);
	} else {
		tcase_add_test(tc, test_nothing);
	}
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
