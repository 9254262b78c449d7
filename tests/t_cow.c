/*
 * t_cow - overlays: whose file is taken, what survives a kill and a loss of power, and in which
 * order things become durable
 *
 * The workers' system calls are taken over below, so that a test knows what a
 * power cut could leave behind.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "disk_cow.h"
#include "disk_rig.h"
#include "fake.h"
#include "suite.h"

#define SECTORS 1000 /* the last cluster is not whole */
#define DATA_AT 8192
#define WHOLE	(DATA_AT + 125 * 4096)

/* --- sectors that say which they are, and which version --- */

struct stamp {
	uint32_t sector, version;
	uint8_t rest[504];
};

static void stamp(struct stamp *s, uint32_t sector, uint32_t version)
{
	uint32_t seed = (sector + 1) * 2654435761U ^ (version + 1) * 40503U;

	s->sector = sector;
	s->version = version;
	for (unsigned i = 0; i < sizeof(s->rest); i++)
		s->rest[i] = (uint8_t)(i % 4 ? s->rest[i - i % 4] + i : fake_random(&seed));
}

/* the version, or -1 for garbage */
static int64_t version_of(const struct stamp *s, uint32_t sector)
{
	struct stamp want;

	stamp(&want, sector, s->version);
	return memcmp(&want, s, sizeof(want)) ? -1 : (int64_t)s->version;
}

static const char *new_base(void)
{
	static struct stamp buf[SECTORS];

	for (uint32_t i = 0; i < SECTORS; i++)
		stamp(&buf[i], i, 0);
	return fake_file("base", buf, sizeof(buf));
}

static struct conf_disk cow_conf(enum conf_engine engine, bool named)
{
	struct conf_disk c = rig_conf(new_base(), engine, CACHE_WRITEBACK);

	c.format = FORMAT_COW;
	if (named)
		snprintf(c.overlay, sizeof(c.overlay), "%s/overlay", fake_folder());
	return c;
}

/* versions of all sectors lie between @low and @high */
static void check_versions(struct rig *g, const uint32_t *low, const uint32_t *high,
			   const char *when)
{
	static struct stamp buf[SECTORS];

	ck_assert_int_eq(rig_do(g, DISK_READ, 0, buf, sizeof(buf)), 0);
	for (uint32_t i = 0; i < SECTORS; i++) {
		int64_t v = version_of(&buf[i], i);

		if (v < low[i] || v > high[i])
			ck_abort_msg("%s: sector %u has version %ld (-1: garbage), between %u and "
				     "%u is right",
				     when, i, (long)v, low[i], high[i]);
	}
}

static const uint32_t nought[SECTORS];

/* --- calls of the host --- */

struct written {
	uint64_t off, len;
	unsigned at;
	uint8_t *data; /* NULL: zeroes */
};

static struct {
	pthread_mutex_t lock;
	bool on;
	unsigned n, synced; /* of written[], those before `synced` are durable */
	struct written w[8192];
	int fail_sync;
	bool once;    /* and only once, as Linux tells of it */
	int fail_map; /* writes of the bitmap */
	void (*before_lock)(void);
	unsigned syncs;
} host = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* what a loss of power just now may leave, and what must be in it; checked later */
static struct {
	bool on;
	unsigned n;
	uint32_t seed;
	struct cow_header h;
	struct {
		uint8_t image[WHOLE];
		uint32_t low[SECTORS];
	} cut[6];
} power;

static uint32_t low[SECTORS], high[SECTORS], done[SECTORS];

static void apply(uint8_t *image, const struct written *w, uint64_t page)
{
	uint64_t from = MAX(w->off, page * 4096), to = MIN(w->off + w->len, (page + 1) * 4096);

	if (from >= to || to > WHOLE)
		return;
	if (w->data)
		memcpy(image + from, w->data + (from - w->off), to - from);
	else
		memset(image + from, 0, to - from);
}

/* with the lock: what was synced, and of the rest some pages, each as it was at some time since */
static void cut_power(void)
{
	uint8_t *image = power.cut[power.n].image;

	if (!power.on || power.n == ARRAY_SIZE(power.cut))
		return;
	memcpy(power.cut[power.n++].low, low, sizeof(low));
	memset(image, 0, WHOLE);
	memcpy(image, &power.h, sizeof(power.h));
	for (uint64_t page = 1; page < WHOLE / 4096; page++) {
		unsigned upto = host.synced + fake_random(&power.seed) % (host.n - host.synced + 1);

		/* mostly all or nothing: the worst is a bitmap without its data */
		if (fake_random(&power.seed) % 4)
			upto = page == 1 ? host.n : host.synced;
		for (unsigned i = 0; i < upto; i++)
			apply(image, &host.w[i], page);
	}
}

static void note_write(uint64_t off, uint64_t len, const struct iovec *iov, int iovs)
{
	struct written *w;
	size_t at = 0;

	pthread_mutex_lock(&host.lock);
	if (host.on) {
		require(host.n < ARRAY_SIZE(host.w));
		w = &host.w[host.n];
		*w = (struct written){ .off = off, .len = len, .at = host.n++ };
		if (iov)
			w->data = malloc(len);
		for (int i = 0; iov && i < iovs; at += iov[i++].iov_len)
			memcpy(w->data + at, iov[i].iov_base, iov[i].iov_len);
		if (off < DATA_AT) /* the moment that matters */
			cut_power();
	}
	pthread_mutex_unlock(&host.lock);
}

static uint64_t bytes_in(const struct iovec *iov, int n)
{
	uint64_t len = 0;

	while (n--)
		len += iov++->iov_len;
	return len;
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	ssize_t k;

	if (host.fail_map && off == 4096) {
		errno = host.fail_map;
		return -1;
	}
	k = syscall(SYS_pwritev, fd, iov, n, off, 0);
	if (k > 0) {
		require((uint64_t)k == bytes_in(iov, n));
		note_write((uint64_t)off, (uint64_t)k, iov, n);
		/* then all are, and durable when they return */
		if (fcntl(fd, F_GETFL) & O_DSYNC) {
			pthread_mutex_lock(&host.lock);
			host.synced = host.n;
			pthread_mutex_unlock(&host.lock);
		}
	}
	return k;
}

int fallocate(int fd, int mode, off_t off, off_t len)
{
	int r = (int)syscall(SYS_fallocate, fd, mode, off, len);

	if (!r && off < WHOLE)
		note_write((uint64_t)off, (uint64_t)len, NULL, 0);
	return r;
}

int fdatasync(int fd)
{
	unsigned n;
	int r, fail;

	pthread_mutex_lock(&host.lock);
	n = host.n;
	fail = host.fail_sync;
	if (host.once)
		host.fail_sync = 0;
	host.syncs++;
	pthread_mutex_unlock(&host.lock);
	if (fail) {
		errno = fail;
		return -1;
	}
	r = (int)syscall(SYS_fdatasync, fd);
	pthread_mutex_lock(&host.lock);
	host.synced = MAX(host.synced, n);
	pthread_mutex_unlock(&host.lock);
	return r;
}

/* what another machine does between the moment a file is opened and the moment it is locked */
int fcntl(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (cmd == F_OFD_SETLK && host.before_lock && ((struct flock *)arg)->l_type == F_WRLCK) {
		void (*other)(void) = host.before_lock;

		host.before_lock = NULL;
		other();
	}
	return (int)syscall(SYS_fcntl, fd, cmd, arg);
}

static void host_clear(void)
{
	for (unsigned i = 0; i < host.n; i++)
		free(host.w[i].data);
	host.n = host.synced = 0;
}

/* --- reading and writing --- */

START_TEST(base_is_left_alone)
{
	static struct stamp buf[SECTORS], before[SECTORS];
	struct conf_disk conf = cow_conf(_i ? ENGINE_URING : ENGINE_THREADS, true), other;
	struct rig g, h;
	uint32_t want[SECTORS] = { 0 };
	int fd = open(conf.path, O_RDONLY);

	ck_assert_int_eq(pread(fd, before, sizeof(before), 0), sizeof(before));
	ck_assert_msg(rig_open(&g, &conf), "%s", err_last());
	/* another machine over the same base, with its own overlay */
	other = conf;
	snprintf(other.overlay, sizeof(other.overlay), "%s/other", fake_folder());
	ck_assert_msg(rig_open(&h, &other), "%s", err_last());
	for (unsigned i = 3; i < SECTORS; i += 5) {
		stamp(&buf[i], i, 1);
		want[i] = 1;
		ck_assert_int_eq(rig_do(&g, DISK_WRITE, i * 512, &buf[i], 512), 0);
	}
	check_versions(&g, want, want, "where it was written");
	check_versions(&h, nought, nought, "beside it");
	ck_assert_int_eq(pread(fd, buf, sizeof(buf), 0), sizeof(buf));
	ck_assert_mem_eq(before, buf, sizeof(buf));
	close(fd);
	rig_close(&h);
	rig_close(&g);
	ck_assert_msg(rig_open(&g, &conf), "%s",
		      err_last()); /* it was written out when it was closed */
	check_versions(&g, want, want, "opened again");
	rig_close(&g);
	conf.ro = true;
	ck_assert_msg(rig_open(&g, &conf), "%s", err_last());
	ck_assert(rig_open(&h, &conf)); /* both only read */
	check_versions(&h, want, want, "read only");
	rig_close(&h);
	rig_close(&g);
	fake_folder_remove();
}
END_TEST

/* parts of one cluster at the same time: each would copy the rest over the other */
START_TEST(one_cluster_many_writers)
{
	struct conf_disk conf = cow_conf(_i ? ENGINE_URING : ENGINE_THREADS, false);
	static struct stamp buf[SECTORS];
	static struct rig_req q[SECTORS];
	uint32_t want[SECTORS];
	struct rig g;

	ck_assert_msg(rig_open(&g, &conf), "%s", err_last());
	for (uint32_t i = 0; i < SECTORS; i++) {
		stamp(&buf[i], i, want[i] = i % 3 ? 7 : 0);
		if (want[i])
			rig_add(&g, &q[i], DISK_WRITE, i * 512, &buf[i], 512);
	}
	rig_finish(&g);
	check_versions(&g, want, want, "afterwards");
	rig_close(&g);
	fake_folder_remove();
}
END_TEST

/* what was discarded or zeroed does not show the base again, also not after opening anew */
START_TEST(zeroes_hide_the_base)
{
	struct conf_disk conf = cow_conf(_i ? ENGINE_URING : ENGINE_THREADS, true);
	struct stat before, after;
	struct rig g;
	uint8_t buf[16384];
	struct stamp s;

	conf.discard = true;
	ck_assert_msg(rig_open(&g, &conf), "%s", err_last());
	ck_assert(disk_can_discard(g.d));
	memset(buf, 9, sizeof(buf));
	ck_assert_int_eq(rig_do(&g, DISK_WRITE, 4096, buf, sizeof(buf)), 0);
	ck_assert_int_eq(rig_do(&g, DISK_FLUSH, 0, NULL, 0), 0);
	ck_assert_int_eq(stat(conf.overlay, &before), 0);
	ck_assert_int_eq(rig_do(&g, DISK_DISCARD, 4096, NULL, sizeof(buf)), 0);
	ck_assert_int_eq(stat(conf.overlay, &after), 0);
	ck_assert_int_lt(after.st_blocks, before.st_blocks - 16);
	ck_assert_int_eq(rig_do(&g, DISK_ZERO, 100 * 512, NULL, 20 * 512), 0);
	/* to the end, which is in the middle of a cluster */
	ck_assert_int_eq(rig_do(&g, DISK_ZERO, (SECTORS - 3) * 512, NULL, 3 * 512), 0);
	ck_assert_int_eq(rig_do(&g, DISK_FLUSH, 0, NULL, 0), 0);
	rig_close(&g);
	ck_assert_msg(rig_open(&g, &conf), "%s", err_last());
	for (uint32_t i = 0; i < SECTORS; i++) {
		bool zero = (i >= 8 && i < 40) || (i >= 100 && i < 120) || i >= SECTORS - 3;

		if (rig_do(&g, DISK_READ, i * 512, &s, 512))
			ck_abort_msg("sector %u is not read", i);
		if (zero ? s.sector || memcmp(&s, (char *)&s + 4, 508) : version_of(&s, i))
			ck_abort_msg("sector %u", i);
	}
	rig_close(&g);
	fake_folder_remove();
}
END_TEST

/* opened as after a kill: what closing would write is not there */
static void kill_and_open(struct rig *g, struct conf_disk *conf)
{
	char copy[CONF_PATH + 8], command[3 * CONF_PATH];

	snprintf(copy, sizeof(copy), "%s.copy", conf->overlay);
	snprintf(command, sizeof(command), "cp --sparse=always %s %s", conf->overlay, copy);
	ck_assert_int_eq(system(command), 0);
	rig_close(g);
	snprintf(conf->overlay, sizeof(conf->overlay), "%.*s", CONF_PATH - 1, copy);
	ck_assert_msg(rig_open(g, conf), "%s", err_last());
}

START_TEST(overlay_is_small)
{
	struct conf_disk conf = cow_conf(ENGINE_AUTO, true);
	struct stat st;
	struct rig g;
	struct stamp buf;

	ck_assert_int_eq(truncate(conf.path, 1LL << 40), 0);
	ck_assert_msg(rig_open(&g, &conf), "%s", err_last());
	for (uint32_t i = 0; i < 64; i++) {
		stamp(&buf, i, 9);
		ck_assert_int_eq(rig_do(&g, DISK_WRITE, (uint64_t)i << 34, &buf, 512), 0);
		if (i % 2) /* what is flushed one by one, and together */
			ck_assert_int_eq(rig_do(&g, DISK_FLUSH, 0, NULL, 0), 0);
	}
	for (uint32_t i = 0; i < 64; i++) {
		stamp(&buf, i, 9);
		ck_assert_int_eq(rig_do(&g, DISK_WRITE, ((uint64_t)i << 34) + 4096 * (i + 1), &buf,
					512),
				 0);
	}
	ck_assert_int_eq(rig_do(&g, DISK_FLUSH, 0, NULL, 0), 0);
	ck_assert_int_eq(stat(conf.overlay, &st), 0);
	ck_assert_int_gt(st.st_size, 1LL << 40);
	ck_assert_int_lt(st.st_blocks, 64 * 8 * 3 + 64 * 8);
	kill_and_open(&g, &conf);
	for (uint32_t i = 0; i < 64; i++) {
		for (unsigned k = 0; k < 2; k++) {
			uint64_t at = ((uint64_t)i << 34) + 4096 * (i + 1) * k;

			ck_assert_int_eq(rig_do(&g, DISK_READ, at, &buf, 512), 0);
			ck_assert_int_eq(version_of(&buf, i), 9);
		}
	}
	rig_close(&g);
	fake_folder_remove();
}
END_TEST

/* without a name it is nowhere to be seen, and needs no flush */
START_TEST(nameless)
{
	struct conf_disk conf = cow_conf(ENGINE_THREADS, false);
	char folder[128], buf[512] = "";
	struct rig g;

	snprintf(folder, sizeof(folder), "%s/tmp", fake_folder());
	ck_assert_int_eq(mkdir(folder, 0700), 0);
	ck_assert_int_eq(setenv("TMPDIR", folder, 1), 0);
	ck_assert_msg(rig_open(&g, &conf), "%s", err_last());
	host.syncs = 0;
	ck_assert_int_eq(rig_do(&g, DISK_WRITE, 0, buf, 512), 0);
	ck_assert_int_eq(rig_do(&g, DISK_FLUSH, 0, NULL, 0), 0);
	ck_assert_uint_eq(host.syncs, 0);
	ck_assert_int_eq(rmdir(folder), 0); /* nothing in it */
	rig_close(&g);
	ck_assert(!rig_open(&g, &conf));
	ck_assert_ptr_nonnull(strstr(err_last(), "TMPDIR"));
	unsetenv("TMPDIR");
	fake_folder_remove();
}
END_TEST

/* --- whose file is taken --- */

static void refused(const struct conf_disk *conf, const char *says)
{
	struct rig g;
	unsigned fds = fake_fds();

	err_clear();
	ck_assert_msg(!rig_open(&g, conf), "is taken, not refused with '%s'", says);
	ck_assert_msg(strstr(err_last(), says) != NULL, "'%s' does not say '%s'", err_last(), says);
	ck_assert_msg(strstr(err_last(), conf->overlay) != NULL, "'%s' does not name it",
		      err_last());
	ck_assert_uint_eq(fake_fds(), fds);
}

static void poke(const char *path, uint64_t off, const void *p, size_t len)
{
	int fd = open(path, O_RDWR);

	ck_assert_int_eq(pwrite(fd, p, len, (off_t)off), (ssize_t)len);
	close(fd);
}

static void put_header(const char *path, struct cow_header h)
{
	h.crc = (uint32_t)crc32(0, (const void *)&h, offsetof(struct cow_header, crc));
	poke(path, 0, &h, sizeof(h));
}

START_TEST(wrong_overlays)
{
	static const uint8_t zero[64];
	struct conf_disk conf = cow_conf(ENGINE_AUTO, true), bad = conf;
	struct timespec times[2] = { { 1, 0 }, { 1, 0 } };
	struct cow_header h, g;
	struct rig rig, second;
	int fd;

	ck_assert(rig_open(&rig, &conf));
	ck_assert(!rig_open(&second, &conf));
	ck_assert_ptr_nonnull(strstr(err_last(), "in use"));
	rig_close(&rig);
	fd = open(conf.overlay, O_RDONLY);
	ck_assert_int_eq(pread(fd, &h, sizeof(h), 0), sizeof(h));
	close(fd);
	ck_assert_uint_eq(h.data_at, DATA_AT);

	g = h;
	g.version = 2;
	put_header(conf.overlay, g);
	refused(&conf, "version 2");
	g = h;
	g.bytes++;
	poke(conf.overlay, 0, &g, sizeof(g));
	refused(&conf, "damaged");
	/* a checksum that is right, over fields that are not */
	for (unsigned off = 8; off < offsetof(struct cow_header, crc); off++) {
		g = h;
		((uint8_t *)&g)[off] ^= 0x40;
		put_header(conf.overlay, g);
		refused(&conf, conf.overlay);
	}
	put_header(conf.overlay, h);
	ck_assert_int_eq(truncate(conf.overlay, WHOLE - 1), 0);
	refused(&conf, "cut short");
	ck_assert_int_eq(truncate(conf.overlay, 100), 0);
	refused(&conf, "cut short");
	ck_assert_int_eq(truncate(conf.overlay, 10), 0);
	refused(&conf, "not an overlay");
	ck_assert_int_eq(truncate(conf.overlay, WHOLE), 0);
	put_header(conf.overlay, h);
	ck_assert_msg(rig_open(&rig, &conf), "%s", err_last());
	rig_close(&rig);
	poke(conf.overlay, 0, zero, sizeof(zero));
	refused(&conf, "not an overlay");
	put_header(conf.overlay, h);
	snprintf(bad.overlay, sizeof(bad.overlay), "%s/nowhere/overlay", fake_folder());
	refused(&bad, "No such file");
	snprintf(bad.overlay, sizeof(bad.overlay), "%s", fake_folder());
	refused(&bad, "folder");
	bad = conf;
	snprintf(bad.path, sizeof(bad.path), "%s", fake_file("larger", NULL, SECTORS * 512 + 512));
	refused(&bad, "was made over a base of");
	ck_assert_int_eq(utimensat(AT_FDCWD, conf.path, times, 0), 0);
	refused(&conf, "is not the base it was made over");
	fake_folder_remove();
}
END_TEST

/* a power cut while it was made */
START_TEST(half_made)
{
	struct conf_disk conf = cow_conf(ENGINE_AUTO, true);
	struct rig g;

	fake_file("overlay", NULL, 0);
	ck_assert_msg(rig_open(&g, &conf), "%s", err_last());
	rig_close(&g);
	unlink(conf.overlay);
	fake_file("overlay", NULL, WHOLE);
	ck_assert_msg(rig_open(&g, &conf), "%s", err_last());
	check_versions(&g, nought, nought, "made");
	rig_close(&g);
	fake_folder_remove();
}
END_TEST

/* bytes anywhere in the file: an error or a disk, never a crash */
START_TEST(wild_overlays)
{
	struct conf_disk conf = cow_conf(ENGINE_THREADS, true);
	unsigned opened = 0;
	struct rig g;

	for (uint32_t i = 1; i < 400; i++) {
		uint32_t seed = i * 2654435761U;

		unlink(conf.overlay);
		ck_assert_msg(rig_open(&g, &conf), "%s", err_last());
		rig_close(&g);
		for (unsigned k = fake_random(&seed) % 8; k; k--) {
			uint64_t v = fake_odd(&seed);

			poke(conf.overlay, fake_random(&seed) % (i % 2 ? 80 : DATA_AT), &v, 8);
		}
		if (fake_random(&seed) % 4 == 0)
			ck_assert_int_eq(truncate(conf.overlay, fake_random(&seed) % WHOLE), 0);
		if (!rig_open(&g, &conf))
			continue;
		opened++;
		ck_assert_int_eq(rig_do(&g, DISK_ZERO, 0, NULL, SECTORS * 512), 0);
		rig_close(&g);
	}
	ck_assert_uint_gt(opened, 50);
	ck_assert_uint_lt(opened, 350);
	fake_folder_remove();
}
END_TEST

/* --- a loss of power --- */

/* writes under way beside a flush; what was finished before it is durable when it ends */
static void write_some(struct rig *g, uint32_t *seed, uint32_t version, bool flush)
{
	static struct stamp buf[64][16];
	static struct rig_req q[65];

	if (flush)
		rig_add(g, &q[64], DISK_FLUSH, 0, NULL, 0);
	for (unsigned i = 0; i < 60; i++) {
		/* 16 sectors each to choose from, none is another's */
		uint32_t first = i * 16 + fake_random(seed) % 16;
		uint32_t n = 1 + fake_random(seed) % ((i + 1) * 16 - first);

		if (fake_random(seed) % 4)
			continue;
		for (uint32_t k = 0; k < n; k++) {
			stamp(&buf[i][k], first + k, version);
			high[first + k] = version;
		}
		rig_add(g, &q[i], DISK_WRITE, first * 512, buf[i], n * 512);
	}
	rig_finish(g);
	if (flush) {
		ck_assert_int_eq(q[64].r.result, 0);
		memcpy(low, done, sizeof(low));
	}
	memcpy(done, high, sizeof(done));
}

static unsigned check_cuts(const struct conf_disk *conf)
{
	struct rig g;
	unsigned n;

	pthread_mutex_lock(&host.lock);
	cut_power(); /* and now, too */
	host.on = power.on = false;
	pthread_mutex_unlock(&host.lock);
	for (unsigned i = 0; i < power.n; i++) {
		fake_file("cut", power.cut[i].image, WHOLE);
		ck_assert_msg(rig_open(&g, conf), "%s", err_last());
		check_versions(&g, power.cut[i].low, high, "after a power cut");
		rig_close(&g);
	}
	n = power.n;
	power.n = 0;
	host.on = power.on = true;
	return n;
}

START_TEST(power_cuts)
{
	struct conf_disk conf = cow_conf(ENGINE_THREADS, true), again = conf;
	unsigned cuts = 0;
	struct rig g;
	int fd;

	conf.cache = _i ? CACHE_WRITETHROUGH : CACHE_WRITEBACK;
	snprintf(again.overlay, sizeof(again.overlay), "%s/cut", fake_folder());
	power.seed = 12345;
	for (uint32_t seed = 1, round = 0; round < 20; round++) {
		memset(low, 0, sizeof(low));
		memset(high, 0, sizeof(high));
		memset(done, 0, sizeof(done));
		unlink(conf.overlay);
		ck_assert(rig_open(&g, &conf));
		fd = open(conf.overlay, O_RDONLY);
		ck_assert_int_eq(pread(fd, &power.h, sizeof(power.h), 0), sizeof(power.h));
		close(fd);
		host.on = power.on = true;
		for (uint32_t v = 1; v < 10; v++) {
			write_some(&g, &seed, v, fake_random(&seed) % 3);
			if (_i) /* each write was durable when it ended */
				memcpy(low, done, sizeof(low));
			cuts += check_cuts(&again);
		}
		host.on = power.on = false;
		rig_close(&g);
		host_clear();
	}
	printf("power_cuts: %u\n", cuts);
	ck_assert_uint_gt(cuts, 250);
	fake_folder_remove();
}
END_TEST

/* nobody knows what an fdatasync that failed has lost: nothing after it may say that all is well */
START_TEST(sync_that_failed)
{
	struct conf_disk conf = cow_conf(ENGINE_THREADS, true);
	uint32_t want[SECTORS] = { 0 };
	struct stamp s;
	struct rig g;

	ck_assert_msg(rig_open(&g, &conf), "%s", err_last());
	stamp(&s, 50, 1);
	ck_assert_int_eq(rig_do(&g, DISK_WRITE, 50 * 512, &s, 512), 0);
	ck_assert_int_eq(rig_do(&g, DISK_FLUSH, 0, NULL, 0), 0);
	want[50] = 1;
	stamp(&s, 90, 1);
	ck_assert_int_eq(rig_do(&g, DISK_WRITE, 90 * 512, &s, 512), 0);
	host.fail_sync = EIO;
	ck_assert_int_eq(rig_do(&g, DISK_FLUSH, 0, NULL, 0), -EIO);
	host.fail_sync = 0;
	ck_assert_int_eq(rig_do(&g, DISK_FLUSH, 0, NULL, 0), -EIO);
	ck_assert_int_eq(rig_do(&g, DISK_READ, 90 * 512, &s, 512), 0);
	ck_assert_int_eq(version_of(&s, 90), 1);
	rig_close(&g);
	ck_assert_msg(rig_open(&g, &conf), "%s", err_last());
	check_versions(&g, want, want, "the last good flush");
	rig_close(&g);
	fake_folder_remove();
}
END_TEST

/* two flushes at once: the kernel tells of what it lost only once, and neither may say that all is
 * well */
START_TEST(sync_that_failed_for_two)
{
	static struct rig_req q[2];
	struct conf_disk conf = cow_conf(ENGINE_THREADS, true);
	uint32_t want[SECTORS] = { 0 };
	struct stamp s;
	struct rig g;

	ck_assert_msg(rig_open(&g, &conf), "%s", err_last());
	stamp(&s, 50, 1);
	ck_assert_int_eq(rig_do(&g, DISK_WRITE, 50 * 512, &s, 512), 0);
	host.fail_sync = EIO;
	host.once = true;
	rig_add(&g, &q[0], DISK_FLUSH, 0, NULL, 0);
	rig_add(&g, &q[1], DISK_FLUSH, 0, NULL, 0);
	rig_finish(&g);
	ck_assert_int_eq(q[0].r.result, -EIO);
	ck_assert_int_eq(q[1].r.result, -EIO);
	rig_close(&g);
	ck_assert_msg(rig_open(&g, &conf), "%s", err_last());
	check_versions(&g, want, want, "the last good flush");
	rig_close(&g);
	fake_folder_remove();
}
END_TEST

/* cache=writethrough: a write to a cluster that is there already may stand under a bit that is not
 * yet */
START_TEST(writethrough_means_the_bit_too)
{
	struct conf_disk conf = cow_conf(ENGINE_THREADS, true);
	uint32_t want[SECTORS] = { 0 };
	struct stamp s;
	struct rig g;

	conf.cache = CACHE_WRITETHROUGH;
	ck_assert_msg(rig_open(&g, &conf), "%s", err_last());
	stamp(&s, 50, 1);
	if (_i)
		host.fail_sync = EIO;
	else
		host.fail_map = ENOSPC;
	ck_assert_int_ne(rig_do(&g, DISK_WRITE, 50 * 512, &s, 512), 0);
	/* and again, as a guest does */
	ck_assert_int_ne(rig_do(&g, DISK_WRITE, 50 * 512, &s, 512), 0);
	host.fail_sync = host.fail_map = 0;
	if (!_i) { /* there is space again */
		ck_assert_int_eq(rig_do(&g, DISK_WRITE, 50 * 512, &s, 512), 0);
		want[50] = 1;
	}
	rig_close(&g);
	ck_assert_msg(rig_open(&g, &conf), "%s", err_last());
	check_versions(&g, want, want, "what was acknowledged");
	rig_close(&g);
	fake_folder_remove();
}
END_TEST

static struct conf_disk same;

static void another_life(void)
{
	struct stamp s;
	struct rig g;

	ck_assert_msg(rig_open(&g, &same), "%s", err_last());
	stamp(&s, 50, 1);
	ck_assert_int_eq(rig_do(&g, DISK_WRITE, 50 * 512, &s, 512), 0);
	ck_assert_int_eq(rig_do(&g, DISK_FLUSH, 0, NULL, 0), 0);
	rig_close(&g);
}

START_TEST(made_by_another_meanwhile)
{
	struct conf_disk conf = cow_conf(ENGINE_THREADS, true);
	uint32_t want[SECTORS] = { [50] = 1 };
	struct rig g;

	same = conf;
	host.before_lock = another_life;
	ck_assert_msg(rig_open(&g, &conf), "%s", err_last());
	ck_assert_ptr_null(host.before_lock);
	check_versions(&g, want, want, "what the other one flushed");
	rig_close(&g);
	fake_folder_remove();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cow");
	TCase *c = tcase_create("cow");

	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, base_is_left_alone, 0, 2);
	tcase_add_loop_test(c, one_cluster_many_writers, 0, 2);
	tcase_add_loop_test(c, zeroes_hide_the_base, 0, 2);
	tcase_add_test(c, overlay_is_small);
	tcase_add_test(c, nameless);
	tcase_add_test(c, wrong_overlays);
	tcase_add_test(c, half_made);
	tcase_add_test(c, wild_overlays);
	tcase_add_loop_test(c, power_cuts, 0, 2);
	tcase_add_test(c, sync_that_failed);
	tcase_add_test(c, sync_that_failed_for_two);
	tcase_add_loop_test(c, writethrough_means_the_bit_too, 0, 2);
	tcase_add_test(c, made_by_another_meanwhile);
	suite_add_tcase(s, c);
	return suite_run(s);
}
