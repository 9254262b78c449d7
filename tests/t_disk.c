/*
 * t_disk - the disk layer: formats, engines and ways to cache against a plain array, and hosts that
 * fail
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "disk_io.h"
#include "disk_rig.h"
#include "fake.h"
#include "suite.h"

#define SIZE  (1U << 20)
#define BATCH 24

/* each disk the configuration can name */
static const struct {
	enum conf_format format;
	enum conf_engine engine;
	enum conf_cache cache;
} kinds[] = {
	{ FORMAT_RAW, ENGINE_THREADS, CACHE_WRITEBACK },
	{ FORMAT_RAW, ENGINE_URING, CACHE_WRITEBACK },
	{ FORMAT_RAW, ENGINE_THREADS, CACHE_DIRECT },
	{ FORMAT_RAW, ENGINE_URING, CACHE_DIRECT },
	{ FORMAT_RAW, ENGINE_URING, CACHE_WRITETHROUGH },
	{ FORMAT_RAW, ENGINE_URING, CACHE_UNSAFE },
	{ FORMAT_COW, ENGINE_THREADS, CACHE_WRITEBACK },
	{ FORMAT_COW, ENGINE_URING, CACHE_WRITEBACK },
	{ FORMAT_COW, ENGINE_THREADS, CACHE_DIRECT },
	{ FORMAT_COW, ENGINE_URING, CACHE_DIRECT },
	{ FORMAT_COW, ENGINE_THREADS, CACHE_WRITETHROUGH },
	{ FORMAT_COW, ENGINE_URING, CACHE_UNSAFE },
};
#define LARGE 4 /* of them once more, with 4 KiB blocks: what O_DIRECT may want */
#define KINDS ((int)ARRAY_SIZE(kinds))

static const int large[LARGE] = { 2, 3, 8, 9 };
static uint8_t model[SIZE + 512], image[SIZE + 512];

static void fill_image(size_t size, uint32_t seed)
{
	for (size_t i = 0; i < size; i += 4) {
		uint32_t v = fake_random(&seed);

		memcpy(image + i, &v, 4);
	}
}

static struct conf_disk conf_of(int i, const char *path)
{
	struct conf_disk c = rig_conf(path, kinds[i].engine, kinds[i].cache);

	c.format = kinds[i].format;
	c.discard = true;
	return c;
}

static void check_all(struct rig *g, size_t size, const char *when)
{
	static uint8_t buf[SIZE + 512] __attribute__((aligned(4096)));

	ck_assert_int_eq(rig_do(g, DISK_READ, 0, buf, size), 0);
	for (size_t i = 0; i < size; i++)
		if (buf[i] != model[i])
			ck_abort_msg("%s: byte %zu (cluster %zu) is %#x, not %#x", when, i,
				     i / 4096, buf[i], model[i]);
}

/* one request of a batch: ranges of a batch do not overlap, or the order would matter */
static void add_random(struct rig *g, struct rig_req *q, uint32_t *seed, uint8_t *buf, uint64_t lo,
		       uint64_t sectors)
{
	uint64_t off = lo + fake_random(seed) % sectors * 512;
	uint64_t len = (1 + fake_random(seed) % ((lo + sectors * 512 - off) / 512)) * 512;
	unsigned what = fake_random(seed) % 8, n = 1 + fake_random(seed) % 4, k = 0;
	enum disk_op op = what < 5 ? DISK_WRITE : what < 7 ? DISK_ZERO : DISK_DISCARD;
	uint64_t cut = len / n / 512 * 512;

	/* crooked in memory, and in pieces of which only the sum is a sector */
	buf += fake_random(seed) % 4 ? 0 : 8 * (fake_random(seed) % 64);
	if (fake_random(seed) % 4 == 0 && cut > 100)
		cut -= 100;
	for (uint64_t i = 0; i < len; i++)
		buf[i] = (uint8_t)fake_random(seed);
	if (op == DISK_DISCARD) { /* whole clusters, whose contents are then nobody's business */
		off = align_up(off, 4096);
		len = 4096;
		if (off + len > lo + sectors * 512)
			op = DISK_WRITE, off = lo, len = 512;
	}
	q->r = (struct disk_req){ .op = op, .off = off, .len = len, .iov = q->iov };
	q->r.unmap = fake_random(seed) % 2;
	for (uint64_t at = 0; op == DISK_WRITE && at < len; k++) {
		uint64_t take = k + 1 < n && cut ? MIN(cut, len - at) : len - at;

		q->iov[k] = (struct iovec){ buf + at, take };
		at += take;
	}
	q->r.iovs = k;
	if (op == DISK_WRITE)
		memcpy(model + off, buf, len);
	else
		memset(model + off, 0, len);
	g->under_way++;
	disk_submit(g->d, &q->r);
}

/* what is written is what is read, whatever else is under way */
START_TEST(against_a_model)
{
	static uint8_t buf[BATCH][SIZE / BATCH + 8192] __attribute__((aligned(4096)));
	static struct rig_req q[BATCH];
	/* the last cluster is not whole */
	const size_t size = SIZE - 4096 + 512;
	const uint64_t part = size / 512 / BATCH;
	const int kind = _i < KINDS ? _i : large[_i - KINDS];
	uint32_t seed = 77 + (uint32_t)_i;
	struct conf_disk conf;
	struct rig g;

	fill_image(size, seed);
	memcpy(model, image, size);
	conf = conf_of(kind, fake_file("disk", image, size));
	ck_assert_msg(rig_open(&g, &conf), "%s", err_last());
	ck_assert_uint_eq(disk_sectors(g.d), size / 512);
	ck_assert_int_eq(disk_engine(g.d), kinds[kind].engine);
	for (unsigned i = 0; i < DISK_FILES; i++) {
		ck_assert(g.d->file[i].fd < 0 ||
			  !g.d->file[i].align == (conf.cache != CACHE_DIRECT));
		if (_i >= KINDS)
			g.d->file[i].align = 4096;
	}
	check_all(&g, size, "at first");
	for (unsigned round = 0; round < 30; round++) {
		for (unsigned i = 0; i < BATCH; i++) {
			/* parts that touch in the middle of a cluster */
			uint64_t lo = i * part * 512;
			uint64_t n = i + 1 == BATCH ? size / 512 - i * part : part;

			add_random(&g, &q[i], &seed, buf[i], lo, MIN(n, part));
		}
		rig_finish(&g);
		ck_assert_int_eq(g.last, 0);
		if (round % 7 == 0)
			ck_assert_int_eq(rig_do(&g, DISK_FLUSH, 0, NULL, 0), 0);
		check_all(&g, size, "afterwards");
	}
	rig_close(&g);
	if (conf.format == FORMAT_RAW) {
		int fd = open(conf.path, O_RDONLY);

		ck_assert_int_eq(pread(fd, image, size, 0), (ssize_t)size);
		ck_assert_mem_eq(image, model, size);
		close(fd);
	}
	fake_folder_remove();
}
END_TEST

/* more than a buffer is made for, in memory that O_DIRECT does not take */
START_TEST(large_and_crooked)
{
	static uint8_t buf[SIZE + 64] __attribute__((aligned(4096)));
	struct conf_disk conf;
	struct rig_req q;
	struct rig g;

	fill_image(SIZE, 3);
	memcpy(model, image, SIZE);
	conf = conf_of(_i, fake_file("disk", image, SIZE));
	ck_assert(rig_open(&g, &conf));
	memset(buf, 0x33, sizeof(buf));
	memset(model + 512, 0x33, SIZE / 2);
	rig_add(&g, &q, DISK_WRITE, 512, buf + 8, SIZE / 2);
	rig_finish(&g);
	ck_assert_int_eq(g.last, 0);
	check_all(&g, SIZE, "written");
	ck_assert_int_eq(rig_do(&g, DISK_READ, 0, buf + 24, SIZE), 0);
	ck_assert_mem_eq(buf + 24, model, SIZE);
	rig_close(&g);
	fake_folder_remove();
}
END_TEST

/* what goes through the page cache beside O_DIRECT has nothing beside it */
START_TEST(alone_in_the_page_cache)
{
	static uint8_t buf[4][4096] __attribute__((aligned(4096)));
	static const uint64_t off[] = { 0, 4096 + 512, 8192, 12288 };
	struct conf_disk conf;
	struct rig_req q[4];
	struct rig g;

	fill_image(SIZE, 4);
	conf = conf_of(_i, fake_file("disk", image, SIZE));
	ck_assert(rig_open(&g, &conf));
	g.d->file[DISK_BASE].align = 4096;
	for (unsigned i = 0; i < 4; i++) {
		rig_add(&g, &q[i], DISK_READ, off[i], buf[i], 4096);
		ck_assert_uint_eq(g.d->busy, 1); /* the first; the others wait for the second */
	}
	ck_assert(!g.d->alone && g.d->held.first == &q[1].r.io);
	rig_finish(&g);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_mem_eq(buf[i], image + off[i], 4096);
	rig_close(&g);
	fake_folder_remove();
}
END_TEST

static uint64_t blocks(const char *path)
{
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* discard gives space back; zeroes do only if they may */
START_TEST(space_is_given_back)
{
	struct conf_disk conf;
	struct rig g;
	struct rig_req q;
	char path[CONF_PATH];
	uint64_t full;

	fill_image(SIZE, 5);
	snprintf(path, sizeof(path), "%s", fake_file("disk", image, SIZE));
	conf = conf_of(_i, path);
	ck_assert(rig_open(&g, &conf));
	ck_assert(disk_can_discard(g.d));
	ck_assert_int_eq(rig_do(&g, DISK_FLUSH, 0, NULL, 0), 0);
	full = blocks(path);
	ck_assert_int_eq(rig_do(&g, DISK_ZERO, 0, NULL, SIZE / 4), 0);
	ck_assert_uint_eq(blocks(path), full);
	ck_assert_int_eq(rig_do(&g, DISK_DISCARD, SIZE / 2, NULL, SIZE / 4), 0);
	ck_assert_uint_le(blocks(path), full - SIZE / 4);
	q.r = (struct disk_req){ .op = DISK_ZERO, .off = 0, .len = SIZE / 2, .unmap = true };
	g.under_way++;
	disk_submit(g.d, &q.r);
	rig_finish(&g);
	ck_assert_uint_le(blocks(path), full - SIZE / 4 - SIZE / 2);
	ck_assert_int_eq(rig_do(&g, DISK_READ, 0, image, SIZE / 2), 0);
	for (unsigned i = 0; i < SIZE / 2; i++)
		if (image[i])
			ck_abort_msg("byte %u", i);
	rig_close(&g);
	fake_folder_remove();
}
END_TEST

START_TEST(the_file_is_cut)
{
	struct conf_disk conf;
	struct rig g;
	uint8_t buf[8192];

	fill_image(SIZE, 6);
	conf = conf_of(_i, fake_file("disk", image, SIZE));
	ck_assert(rig_open(&g, &conf));
	ck_assert_int_eq(truncate(conf.path, 10000), 0);
	ck_assert_int_eq(rig_do(&g, DISK_READ, 0, buf, 8192), 0);
	ck_assert_int_eq(rig_do(&g, DISK_READ, 8192, buf, 4096), -EIO);
	ck_assert_int_eq(rig_do(&g, DISK_READ, 65536, buf, 4096), -EIO);
	ck_assert_int_eq(rig_do(&g, DISK_WRITE, 65536, buf, 4096), 0);
	ck_assert_int_eq(rig_do(&g, DISK_READ, 65536, buf, 4096), 0);
	rig_close(&g);
	fake_folder_remove();
}
END_TEST

/* --- one call for many --- */

static uint64_t calls_for(struct rig *g, unsigned n)
{
	static uint8_t buf[64][4096];
	static struct rig_req q[64];
	uint64_t before = disk_calls(g->d);

	for (unsigned i = 0; i < n; i++)
		rig_add(g, &q[i], DISK_READ, 8192 * i, buf[i], 4096);
	rig_finish(g);
	return disk_calls(g->d) - before;
}

START_TEST(one_call_for_a_batch)
{
	struct conf_disk conf;
	struct rig g;

	fill_image(SIZE, 7);
	conf = conf_of(1, fake_file("disk", image, SIZE));
	ck_assert(rig_open(&g, &conf));
	ck_assert_uint_eq(calls_for(&g, 1), 1);
	ck_assert_uint_eq(calls_for(&g, 64), 1);
	rig_close(&g);
	conf.engine = ENGINE_THREADS;
	ck_assert(rig_open(&g, &conf));
	ck_assert_uint_eq(calls_for(&g, 1), 1);
	ck_assert_uint_eq(calls_for(&g, 64), 64);
	rig_close(&g);
	fake_folder_remove();
}
END_TEST

/* more than the ring holds, each of several pieces of work */
START_TEST(more_than_the_ring)
{
	enum { N = 2000 };
	static struct rig_req q[N];
	static uint8_t buf[N][512];
	struct conf_disk conf;
	struct rig g;

	fill_image(SIZE, 8);
	conf = conf_of(_i, fake_file("disk", image, SIZE));
	ck_assert(rig_open(&g, &conf));
	for (unsigned i = 0; i < N; i++) {
		memset(buf[i], (int)i, 512);
		rig_add(&g, &q[i], i % 2 ? DISK_WRITE : DISK_FLUSH, 512 * i, buf[i],
			i % 2 ? 512 : 0);
	}
	rig_finish(&g);
	for (unsigned i = 1; i < N; i += 2) {
		uint8_t got[512];

		ck_assert_int_eq(rig_do(&g, DISK_READ, 512 * i, got, 512), 0);
		ck_assert_int_eq(got[5], (uint8_t)i);
		i += 100;
	}
	rig_close(&g);
	fake_folder_remove();
}
END_TEST

/* --- hosts that refuse --- */

/* in a child, so that the filter ends with it: what the child's function says */
static int in_child(int (*fn)(const char *path), const char *path)
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (!pid)
		_exit(fn(path));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status), "the child was killed by %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

static bool forbid(long nr, int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(code), code };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

static int without_uring(const char *path)
{
	struct conf_disk conf = rig_conf(path, ENGINE_AUTO, CACHE_WRITEBACK);
	uint8_t buf[512];
	struct rig g;

	if (!forbid(SYS_io_uring_setup, EPERM))
		return 1;
	if (!rig_open(&g, &conf) || disk_engine(g.d) != ENGINE_THREADS ||
	    rig_do(&g, DISK_READ, 512, buf, 512) || memcmp(buf, image + 512, 512))
		return 2;
	rig_close(&g);
	conf.engine = ENGINE_URING;
	if (rig_open(&g, &conf))
		return 3;
	return strstr(err_last(), "io_uring is refused") && strstr(err_last(), path) &&
			       strstr(err_last(), "kernel.io_uring_disabled")
		       ? 0
		       : 4;
}

/* the ring of this process, -1 if it has none */
static int ring_fd(void)
{
	char path[64], what[64];

	for (int fd = 0; fd < 256; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, what, sizeof(what) - 1);
		what[MAX(n, 0)] = '\0';
		if (!strcmp(what, "anon_inode:[io_uring]"))
			return fd;
	}
	return -1;
}

/* else it would lead past the jail: what it may not do, it says EACCES to */
START_TEST(a_ring_is_restricted)
{
	struct io_uring_probe probe = { 0 };
	struct conf_disk conf;
	struct rig g;

	fill_image(SIZE, 9);
	conf = rig_conf(fake_file("disk", image, SIZE), ENGINE_AUTO, CACHE_WRITEBACK);
	ck_assert(rig_open(&g, &conf));
	if (disk_engine(g.d) == ENGINE_URING) {
		ck_assert_int_ge(ring_fd(), 0);
		ck_assert_int_eq((int)syscall(SYS_io_uring_register, ring_fd(),
					      IORING_REGISTER_PROBE, &probe, 0),
				 -1);
		ck_assert_int_eq(errno, EACCES);
	}
	rig_close(&g);
	fake_folder_remove();
}
END_TEST

static int without_register(const char *path)
{
	struct conf_disk conf = rig_conf(path, ENGINE_AUTO, CACHE_WRITEBACK);
	struct rig g;
	unsigned fds = fake_fds();

	if (!forbid(SYS_io_uring_register, ENOSYS))
		return 1;
	if (!rig_open(&g, &conf) || disk_engine(g.d) != ENGINE_THREADS)
		return 2;
	rig_close(&g);
	return fake_fds() == fds ? 0 : 3;
}

START_TEST(no_io_uring)
{
	fill_image(8192, 9);
	ck_assert_int_eq(in_child(without_uring, fake_file("disk", image, 8192)), 0);
	ck_assert_int_eq(in_child(without_register, fake_file("disk", image, 8192)), 0);
	fake_folder_remove();
}
END_TEST

START_TEST(auto_is_uring_where_it_can_be)
{
	struct conf_disk conf =
		rig_conf(fake_file("disk", NULL, 8192), ENGINE_AUTO, CACHE_WRITEBACK);
	unsigned fds = fake_fds();
	struct rig g;

	ck_assert(rig_open(&g, &conf));
	ck_assert_int_eq(disk_engine(g.d), ENGINE_URING);
	rig_close(&g);
	ck_assert_uint_eq(fake_fds(), fds);
	fake_folder_remove();
}
END_TEST

/* a file system of 1 MiB, of this child only: NULL when that is not allowed */
static const char *small_fs(void)
{
	static char at[128];

	snprintf(at, sizeof(at), "%s/small", fake_folder());
	mkdir(at, 0700);
	if (unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return NULL;
	mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	return mount("tmpfs", at, "tmpfs", 0, "size=1M") ? NULL : at;
}

static enum conf_engine full_engine;
static bool full_cow;

/* 77: not possible here */
static int full_disk(const char *base)
{
	const char *at = small_fs();
	struct conf_disk conf = rig_conf(base, full_engine, CACHE_WRITEBACK);
	static uint8_t big[768 << 10], got[8192];
	char path[256], hog[256];
	struct rig g;
	int fd;

	if (!at)
		return 77;
	snprintf(path, sizeof(path), "%s/disk", at);
	snprintf(hog, sizeof(hog), "%s/hog", at);
	if (full_cow) {
		snprintf(conf.overlay, sizeof(conf.overlay), "%s", path);
	} else {
		snprintf(conf.path, sizeof(conf.path), "%s", path);
		fd = open(path, O_RDWR | O_CREAT, 0600);
		if (ftruncate(fd, SIZE))
			return 1;
		close(fd);
	}
	if (!rig_open(&g, &conf))
		return 2;
	memset(big, 0x11, sizeof(big));
	fd = open(hog, O_RDWR | O_CREAT, 0600);
	while (write(fd, big, 4096) == 4096)
		;
	if (rig_do(&g, DISK_WRITE, 8192 + 512, big, 1024) != -ENOSPC)
		return 3;
	/* what was there before is there still */
	if (rig_do(&g, DISK_READ, 8192, got, 4096))
		return 4;
	if (full_cow ? memcmp(got, image + 8192, 4096) : got[600])
		return 5;
	if (rig_do(&g, DISK_WRITE, 0, big, sizeof(big)) != -ENOSPC)
		return 6;
	unlink(hog);
	close(fd);
	if (rig_do(&g, DISK_WRITE, 8192 + 512, big, 1024) ||
	    rig_do(&g, DISK_READ, 8192, got, 4096) || got[512] != 0x11 || got[1535] != 0x11)
		return 7;
	if (full_cow && (memcmp(got, image + 8192, 512) ||
			 memcmp(got + 1536, image + 8192 + 1536, 4096 - 1536)))
		return 8;
	if (rig_do(&g, DISK_FLUSH, 0, NULL, 0))
		return 9;
	rig_close(&g);
	return 0;
}

START_TEST(no_space)
{
	char at[128];
	int r;

	full_engine = _i % 2 ? ENGINE_URING : ENGINE_THREADS;
	full_cow = _i / 2;
	fill_image(SIZE, 10);
	r = in_child(full_disk, fake_file("base", image, SIZE));
	if (r == 77) {
		printf("skip no_space: no mounts in a namespace of one's own here\n");
		r = 0;
	}
	ck_assert_int_eq(r, 0);
	snprintf(at, sizeof(at), "%s/small", fake_folder());
	rmdir(at); /* nothing is mounted there in this process */
	fake_folder_remove();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("disk");
	TCase *c = tcase_create("disk");

	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, against_a_model, 0, KINDS + LARGE);
	tcase_add_loop_test(c, large_and_crooked, 2, 4);
	tcase_add_loop_test(c, alone_in_the_page_cache, 2, 4);
	tcase_add_loop_test(c, space_is_given_back, 0, 2);
	tcase_add_loop_test(c, the_file_is_cut, 0, 2);
	tcase_add_test(c, one_call_for_a_batch);
	tcase_add_loop_test(c, more_than_the_ring, 0, KINDS);
	tcase_add_test(c, no_io_uring);
	tcase_add_test(c, a_ring_is_restricted);
	tcase_add_test(c, auto_is_uring_where_it_can_be);
	tcase_add_loop_test(c, no_space, 0, 4);
	suite_add_tcase(s, c);
	return suite_run(s);
}
