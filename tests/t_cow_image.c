/*
 * t_cow_image - all that an overlay holds, out of one disk and into another, as a snapshot has it
 *
 * Each disk has its copy over the same base; what the guest would see of both is compared.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "disk_cow.h"
#include "disk_rig.h"
#include "fake.h"
#include "suite.h"

#define PIECE  (64U << 10)
#define STEP   (1U << 20)
#define SECTOR 512ULL

/* the bitmap of the last one is two pages, and each of the others has a last cluster that is not
 * whole, or a last piece */
static const uint64_t sizes[] = { 1 * SECTOR, 8 * SECTOR, 1003 * SECTOR, 64 * 128 * SECTOR,
				  (130ULL << 20) + 3 * SECTOR };
#define SMALL 2 /* for who needs no other */

static uint64_t data_at(uint64_t bytes)
{
	return COW_BITMAP + align_up((bytes + 8ULL * COW_CLUSTER - 1) / COW_CLUSTER / 8, 4096);
}

/* --- the host --- */

/* what was done to a file whose order matters: data, bitmap, sync */
static struct {
	bool on;
	uint64_t data_at;
	unsigned n;
	char did[64];
} host;

static void note(char what)
{
	if (host.on && host.n + 1 < sizeof(host.did) && (!host.n || host.did[host.n - 1] != what))
		host.did[host.n++] = what;
}

ssize_t pwrite(int fd, const void *p, size_t len, off_t at)
{
	note((uint64_t)at >= host.data_at ? 'd' : 'b');
	return syscall(SYS_pwrite64, fd, p, len, at);
}

int fdatasync(int fd)
{
	note('s');
	return (int)syscall(SYS_fdatasync, fd);
}

static void watch(uint64_t bytes)
{
	memset(&host, 0, sizeof(host));
	host.data_at = data_at(bytes);
	host.on = true;
}

/* --- disks --- */

/* sparse but for its ends and for where a page of the bitmap ends */
static const char *new_base(uint64_t bytes)
{
	const char *path = fake_file("base", NULL, bytes);
	const uint64_t at[] = { 0, (128ULL << 20) - PIECE,
				bytes > 2 * PIECE ? bytes - 2 * PIECE : 0 };
	static uint8_t buf[2 * PIECE];
	uint32_t seed = 7;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(fake_random(&seed) | 1);
	for (unsigned i = 0; i < ARRAY_SIZE(at); i++)
		if (at[i] < bytes)
			ck_assert_int_gt(pwrite(fd, buf, MIN(bytes - at[i], sizeof(buf)),
						(off_t)at[i]),
					 0);
	close(fd);
	return path;
}

/* @overlay: its name in the folder, NULL: none */
static struct conf_disk conf_of(const char *base, const char *overlay)
{
	struct conf_disk c = rig_conf(base, ENGINE_THREADS, CACHE_WRITEBACK);

	c.format = FORMAT_COW;
	c.discard = true;
	if (overlay)
		snprintf(c.overlay, sizeof(c.overlay), "%s/%s", fake_folder(), overlay);
	return c;
}

static void open_disk(struct rig *g, const char *base, const char *overlay)
{
	struct conf_disk c = conf_of(base, overlay);

	ck_assert_msg(rig_open(g, &c), "%s", err_last());
}

/* writes, zeroes and discards of any length anywhere, and mostly where something is near */
static void scribble(struct rig *g, uint64_t bytes, uint32_t seed)
{
	static uint8_t buf[PIECE];
	uint64_t sectors = bytes / SECTOR;

	for (unsigned n = 0; n < 120; n++) {
		uint64_t near[] = { 0, 128ULL << 11, sectors, fake_random(&seed) % sectors };
		uint64_t at = (near[fake_random(&seed) % 4] + fake_random(&seed) % 600) % sectors;
		uint64_t some = 1 + fake_random(&seed) % (PIECE / SECTOR);
		uint64_t len = MIN(some, sectors - at);
		unsigned what = fake_random(&seed) % 8;
		enum disk_op op = what < 5 ? DISK_WRITE : what < 7 ? DISK_ZERO : DISK_DISCARD;

		for (size_t i = 0; i < len * SECTOR; i++)
			buf[i] = what ? (uint8_t)(fake_random(&seed) | 1) : 0;
		ck_assert_int_eq(rig_do(g, op, at * SECTOR, op == DISK_WRITE ? buf : NULL,
					len * SECTOR),
				 0);
	}
}

/* all that @from holds into @to, as vmm/snap_disks.c does it: how many pieces that was */
static unsigned copy(struct rig *from, struct rig *to)
{
	static uint8_t buf[PIECE];
	uint64_t size = disk_overlay_size(from->d);
	unsigned n = 0;

	ck_assert_uint_eq(disk_overlay_size(to->d), size);
	for (uint64_t at = 0; at < size; at += PIECE) {
		if (!disk_overlay_any(from->d, at, PIECE))
			continue;
		memset(buf, 0xee, sizeof(buf));
		ck_assert_msg(!disk_overlay_read(from->d, at, buf, PIECE), "%s", err_last());
		ck_assert_msg(!disk_overlay_write(to->d, at, buf, MIN(PIECE, size - at)), "%s",
			      err_last());
		n++;
	}
	return n;
}

static void fill(struct rig *from, struct rig *to)
{
	copy(from, to);
	ck_assert_msg(!disk_overlay_filled(to->d), "%s", err_last());
}

/* a guest sees the same of both: how many bytes are not zero */
static uint64_t same(struct rig *a, struct rig *b, const char *when)
{
	uint64_t bytes = disk_sectors(a->d) * SECTOR, set = 0;
	static uint8_t x[STEP], y[STEP];

	ck_assert_uint_eq(disk_sectors(b->d) * SECTOR, bytes);
	for (uint64_t at = 0; at < bytes; at += STEP) {
		size_t len = MIN(STEP, bytes - at);

		ck_assert_int_eq(rig_do(a, DISK_READ, at, x, len), 0);
		ck_assert_int_eq(rig_do(b, DISK_READ, at, y, len), 0);
		for (size_t i = 0; memcmp(x, y, len) && i < len; i++)
			if (x[i] != y[i])
				ck_abort_msg("%s: byte %lu is %#x, not %#x", when,
					     (unsigned long)(at + i), y[i], x[i]);
		for (size_t i = 0; i < len; i += SECTOR)
			set += x[i] != 0;
	}
	return set;
}

/* the same of a copy of the file, as a kill just now would leave it */
static void same_after_kill(struct rig *a, const char *base, const char *overlay, const char *when)
{
	char cmd[512];
	struct rig g;

	snprintf(cmd, sizeof(cmd), "cp --sparse=always %s/%s %s/copy", fake_folder(), overlay,
		 fake_folder());
	ck_assert_int_eq(system(cmd), 0);
	open_disk(&g, base, "copy");
	same(a, &g, when);
	rig_close(&g);
}

static void same_again(struct rig *a, struct rig *g, const char *base, const char *overlay,
		       const char *when)
{
	same_after_kill(a, base, overlay, when);
	rig_close(g);
	open_disk(g, base, overlay);
	same(a, g, when);
}

/* --- what goes in comes out --- */

/* each size, from one with a name and without, into one with a name and without */
START_TEST(all_of_it)
{
	uint64_t bytes = sizes[_i / 4];
	bool named = _i & 1;
	const char *base = new_base(bytes);
	struct rig from, to, none;

	open_disk(&none, base, NULL);
	open_disk(&from, base, _i & 2 ? "from" : NULL);
	open_disk(&to, base, named ? "to" : NULL);
	ck_assert_uint_eq(disk_overlay_size(from.d), data_at(bytes) + align_up(bytes, COW_CLUSTER));
	ck_assert(disk_overlay_is_clear(from.d) && disk_overlay_is_clear(to.d));
	for (uint64_t at = 0; at < disk_overlay_size(from.d); at += PIECE)
		ck_assert(!disk_overlay_any(from.d, at, PIECE));
	scribble(&from, bytes, 1 + (uint32_t)_i);
	ck_assert(!disk_overlay_is_clear(from.d));
	ck_assert_uint_gt(copy(&from, &to), 0);
	if (named) /* not a bit is in the file yet */
		same_after_kill(&none, base, "to", "killed while it was filled");
	watch(bytes);
	ck_assert_msg(!disk_overlay_filled(to.d), "%s", err_last());
	ck_assert_str_eq(host.did, named ? "sbs" : ""); /* disk_cow.h, 4 and 7 */
	ck_assert(!disk_overlay_is_clear(to.d));
	ck_assert(same(&from, &to, "filled") || bytes < PIECE);
	if (named)
		same_again(&from, &to, base, "to", "opened again");
	/* it is a disk as any other, and the first one does not mind */
	scribble(&to, bytes, 77);
	scribble(&from, bytes, 77);
	same(&from, &to, "written on");
	ck_assert_int_eq(rig_do(&to, DISK_FLUSH, 0, NULL, 0), 0);
	if (named)
		same_again(&from, &to, base, "to", "written on and opened again");
	rig_close(&to);
	rig_close(&from);
	rig_close(&none);
	fake_folder_remove();
}
END_TEST

/* only what there is costs anything: a piece is asked for by where it lies, not by what is near */
START_TEST(holes_are_nothing)
{
	uint64_t bytes = sizes[ARRAY_SIZE(sizes) - 1], at = data_at(bytes);
	const char *base = new_base(bytes);
	static uint8_t buf[COW_CLUSTER], is[PIECE];
	struct rig g;

	open_disk(&g, base, NULL);
	memset(buf, 5, sizeof(buf));
	ck_assert_int_eq(rig_do(&g, DISK_WRITE, 129ULL << 20, buf, sizeof(buf)), 0);
	ck_assert_int_eq(rig_do(&g, DISK_ZERO, 64ULL << 20, NULL, 1 << 20), 0);
	/* bits of the first page, and of the second */
	ck_assert(disk_overlay_any(g.d, COW_BITMAP, 4096));
	ck_assert(disk_overlay_any(g.d, COW_BITMAP + 4096, 4096));
	ck_assert(!disk_overlay_any(g.d, 0, COW_BITMAP));
	ck_assert(!disk_overlay_any(g.d, COW_BITMAP, 64 * 256 / 8));
	ck_assert(!disk_overlay_any(g.d, at, 129ULL << 20));
	ck_assert(disk_overlay_any(g.d, at, (129ULL << 20) + 1));
	ck_assert(disk_overlay_any(g.d, at + (129ULL << 20), PIECE));
	ck_assert(!disk_overlay_any(g.d, at + (129ULL << 20) + COW_CLUSTER, PIECE));
	ck_assert_int_eq(disk_overlay_read(g.d, at + (129ULL << 20) - 4096, is, PIECE), 0);
	for (size_t i = 0; i < PIECE; i++)
		ck_assert_uint_eq(is[i], i >= 4096 && i < 8192 ? 5 : 0);
	/* behind the end all is zero */
	memset(is, 1, sizeof(is));
	ck_assert_int_eq(disk_overlay_read(g.d, disk_overlay_size(g.d) - 4096, is, PIECE), 0);
	for (size_t i = 0; i < PIECE; i++)
		ck_assert_uint_eq(is[i], 0);
	rig_close(&g);
	fake_folder_remove();
}
END_TEST

/* a file that has data everywhere and not a bit, as a kill before the first flush leaves it */
static void make_unflushed(const char *base, uint64_t bytes)
{
	static uint8_t buf[PIECE];
	char cmd[512];
	struct rig g;

	memset(buf, 0xdd, sizeof(buf));
	open_disk(&g, base, "running");
	for (uint64_t at = 0; at < bytes; at += PIECE)
		ck_assert_int_eq(rig_do(&g, DISK_WRITE, at, buf, MIN(PIECE, bytes - at)), 0);
	snprintf(cmd, sizeof(cmd), "cp %s/running %s/killed", fake_folder(), fake_folder());
	ck_assert_int_eq(system(cmd), 0);
	rig_close(&g);
}

/* it is nothing to a snapshot, and does not show through one's zeroes once that has gone */
START_TEST(what_lies_under_clear_bits)
{
	uint64_t bytes = sizes[SMALL], first = data_at(bytes);
	const char *base = new_base(bytes);
	static uint8_t is[PIECE], zero[PIECE];
	struct rig none, from, to;

	make_unflushed(base, bytes);
	open_disk(&none, base, NULL);
	open_disk(&from, base, NULL);
	open_disk(&to, base, "killed");
	ck_assert(disk_overlay_is_clear(to.d));
	same(&none, &to, "killed before a flush");
	for (uint64_t at = 0; at < disk_overlay_size(to.d); at += PIECE) {
		ck_assert(!disk_overlay_any(to.d, at, PIECE));
		ck_assert_int_eq(disk_overlay_read(to.d, at, is, PIECE), 0);
		ck_assert(!memcmp(is, zero, PIECE));
	}
	/* of what lies beside a bit nothing either */
	memset(is, 0x3d, COW_CLUSTER);
	ck_assert_int_eq(rig_do(&to, DISK_WRITE, 5 * COW_CLUSTER, is, COW_CLUSTER), 0);
	ck_assert_int_eq(disk_overlay_read(to.d, first, is, PIECE), 0);
	for (size_t i = 0; i < PIECE; i++)
		ck_assert_uint_eq(is[i], i / COW_CLUSTER == 5 ? 0x3d : 0);
	scribble(&from, bytes, 5);
	ck_assert_int_eq(rig_do(&from, DISK_ZERO, 100 * SECTOR, NULL, 700 * SECTOR), 0);
	ck_assert_msg(!disk_overlay_clear(to.d), "%s", err_last());
	fill(&from, &to);
	same(&from, &to, "filled");
	same_again(&from, &to, base, "killed", "opened again");
	rig_close(&to);
	rig_close(&from);
	rig_close(&none);
	fake_folder_remove();
}
END_TEST

/* who has data in a snapshot where no bit is has it for nothing */
START_TEST(clear_bits_hide)
{
	uint64_t bytes = sizes[SMALL], first = data_at(bytes);
	const char *base = new_base(bytes);
	static uint8_t piece[PIECE], want[COW_CLUSTER], is[COW_CLUSTER];
	struct rig none, g;

	ck_assert_uint_lt(first, PIECE);
	open_disk(&none, base, NULL);
	open_disk(&g, base, _i ? "named" : NULL);
	memset(piece, 0xdd, sizeof(piece));
	memset(piece, 0xff, COW_BITMAP); /* the header is the file's own */
	memset(piece + COW_BITMAP, 0, first - COW_BITMAP);
	piece[COW_BITMAP] = 1 << 3;
	ck_assert_int_eq(disk_overlay_write(g.d, 0, piece, PIECE), 0);
	ck_assert_int_eq(disk_overlay_filled(g.d), 0);
	for (unsigned again = 0; again < (_i ? 2 : 1); again++) {
		for (uint64_t at = 0; at + COW_CLUSTER <= bytes; at += COW_CLUSTER) {
			memset(want, 0xdd, sizeof(want));
			if (at != 3 * COW_CLUSTER)
				ck_assert_int_eq(rig_do(&none, DISK_READ, at, want, sizeof(want)),
						 0);
			ck_assert_int_eq(rig_do(&g, DISK_READ, at, is, sizeof(is)), 0);
			ck_assert_msg(!memcmp(is, want, sizeof(is)), "cluster %lu is another",
				      (unsigned long)(at / COW_CLUSTER));
		}
		if (_i && !again) {
			rig_close(&g);
			open_disk(&g, base, "named");
		}
	}
	rig_close(&g);
	rig_close(&none);
	fake_folder_remove();
}
END_TEST

/* --- cleared --- */

static uint64_t blocks(const char *overlay)
{
	char path[256];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", fake_folder(), overlay);
	ck_assert_int_eq(stat(path, &st), 0);
	return (uint64_t)st.st_blocks;
}

/* the base's data is back, and the file holds nothing any more, whether it was flushed or not */
START_TEST(cleared)
{
	uint64_t bytes = sizes[_i / 2];
	bool flushed = _i & 1;
	const char *base = new_base(bytes);
	struct rig none, from, named, nameless;

	open_disk(&none, base, NULL);
	open_disk(&from, base, NULL);
	open_disk(&named, base, "named");
	open_disk(&nameless, base, NULL);
	scribble(&from, bytes, 3);
	scribble(&named, bytes, 4);
	scribble(&nameless, bytes, 4);
	if (flushed)
		ck_assert_int_eq(rig_do(&named, DISK_FLUSH, 0, NULL, 0), 0);
	watch(bytes);
	ck_assert_msg(!disk_overlay_clear(named.d), "%s", err_last());
	ck_assert_str_eq(host.did, "bs"); /* no bit without its data, ever */
	watch(bytes);
	ck_assert_msg(!disk_overlay_clear(nameless.d), "%s", err_last());
	ck_assert_str_eq(host.did, "");
	ck_assert(disk_overlay_is_clear(named.d) && disk_overlay_is_clear(nameless.d));
	/* and a block of the file system's own */
	ck_assert_uint_le(blocks("named"), (data_at(bytes) + 4096) / 512);
	same(&none, &named, "cleared");
	same(&none, &nameless, "cleared, without a name");
	same_again(&none, &named, base, "named", "cleared and opened again");
	/* and filled anew, as a rollback does */
	scribble(&named, bytes, 5);
	ck_assert_int_eq(disk_overlay_clear(named.d), 0);
	fill(&from, &named);
	fill(&from, &nameless);
	same(&from, &named, "filled anew");
	same(&from, &nameless, "filled anew, without a name");
	same_again(&from, &named, base, "named", "filled anew and opened again");
	rig_close(&named);
	rig_close(&nameless);
	rig_close(&from);
	rig_close(&none);
	fake_folder_remove();
}
END_TEST

/* --- refused --- */

START_TEST(a_raw_disk_has_none)
{
	static uint8_t data[PIECE];
	struct conf_disk c =
		rig_conf(fake_file("raw", data, sizeof(data)), ENGINE_THREADS, CACHE_WRITEBACK);
	struct rig g;

	ck_assert(rig_open(&g, &c));
	ck_assert_uint_eq(disk_overlay_size(g.d), 0);
	rig_close(&g);
	fake_folder_remove();
}
END_TEST

static void failed(int r, int want, const char *why)
{
	ck_assert_msg(r == want, "%d, not %d: %s", r, want, err_last());
	ck_assert_msg(strstr(err_last(), why) && strstr(err_last(), "/base: its overlay"),
		      "'%s' does not tell of '%s'", err_last(), why);
	err_clear();
}

START_TEST(behind_the_end)
{
	uint64_t bytes = sizes[_i], size, last = align_up(bytes, COW_CLUSTER) / COW_CLUSTER;
	const char *base = new_base(bytes);
	static uint8_t piece[PIECE];
	struct rig none, g;

	open_disk(&none, base, NULL);
	open_disk(&g, base, "overlay");
	size = disk_overlay_size(g.d);
	failed(disk_overlay_write(g.d, size, piece, 1), -EINVAL, "ends before");
	failed(disk_overlay_write(g.d, size - 1, piece, 2), -EINVAL, "ends before");
	failed(disk_overlay_write(g.d, UINT64_MAX, piece, 2), -EINVAL, "ends before");
	/* a bit for a cluster behind the last one, and the bitmap's very last */
	for (unsigned i = 0; i < 2; i++) {
		uint64_t bit = i ? (data_at(bytes) - COW_BITMAP) * 8 - 1 : last;
		uint8_t byte = (uint8_t)(1U << bit % 8);

		ck_assert_int_eq(disk_overlay_clear(g.d), 0);
		ck_assert_int_eq(disk_overlay_write(g.d, COW_BITMAP + bit / 8, &byte, 1), 0);
		failed(disk_overlay_filled(g.d), -EBADMSG, "behind the disk's end");
		same_after_kill(&none, base, "overlay", "refused");
	}
	ck_assert_int_eq(disk_overlay_clear(g.d), 0);
	same(&none, &g, "cleared");
	rig_close(&g);
	rig_close(&none);
	fake_folder_remove();
}
END_TEST

static void limit(uint64_t most)
{
	struct rlimit l = { .rlim_cur = most, .rlim_max = RLIM_INFINITY };

	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &l), 0);
}

/* a host that takes no more is told, and what a kill leaves is what was before */
START_TEST(a_full_host)
{
	uint64_t bytes = sizes[SMALL], first = data_at(bytes);
	const char *base = new_base(bytes);
	static uint8_t piece[PIECE];
	struct rig none, g;

	open_disk(&none, base, NULL);
	open_disk(&g, base, "overlay");
	memset(piece, 1, sizeof(piece));
	memset(piece + COW_BITMAP, 0, first - COW_BITMAP);
	memset(piece + COW_BITMAP, 0xff, 8);
	limit(first + 4096 + 100); /* in the middle of a write */
	failed(disk_overlay_write(g.d, 0, piece, PIECE), -EFBIG, "File too large");
	limit(first - 1); /* in the middle of the bitmap */
	failed(disk_overlay_filled(g.d), -EFBIG, "File too large");
	limit(COW_BITMAP);
	failed(disk_overlay_filled(g.d), -EFBIG, "File too large");
	failed(disk_overlay_clear(g.d), -EFBIG, "File too large");
	limit(RLIM_INFINITY);
	ck_assert_int_eq(disk_overlay_clear(g.d), 0);
	same(&none, &g, "cleared");
	same_again(&none, &g, base, "overlay", "opened again");
	rig_close(&g);
	rig_close(&none);
	fake_folder_remove();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cow_image");
	TCase *tc = tcase_create("cow_image");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, all_of_it, 0, 4 * ARRAY_SIZE(sizes));
	tcase_add_test(tc, holes_are_nothing);
	tcase_add_test(tc, what_lies_under_clear_bits);
	tcase_add_loop_test(tc, clear_bits_hide, 0, 2);
	tcase_add_loop_test(tc, cleared, 0, 2 * ARRAY_SIZE(sizes));
	tcase_add_test(tc, a_raw_disk_has_none);
	tcase_add_loop_test(tc, behind_the_end, 0, ARRAY_SIZE(sizes));
	tcase_add_test(tc, a_full_host);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
