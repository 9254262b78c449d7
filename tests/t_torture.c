/*
 * t_torture - a process that writes to a disk is killed at any moment, again and again
 *
 * The child tells in shared memory what it is about to write and what was
 * flushed.  After kill -9 every sector has to be a whole one, no older than the
 * last flush, no newer than what was begun; an overlay has to open.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "disk_rig.h"
#include "fake.h"
#include "suite.h"

#define SECTORS 2048
#define ROUNDS	80
#define BATCH	32

struct stamp {
	uint32_t sector, version;
	uint32_t rest[126];
};

struct shared {
	uint32_t begun[SECTORS], finished[SECTORS], flushed[SECTORS];
	uint32_t version, flushes;
};

static const struct {
	enum conf_format format;
	enum conf_engine engine;
	enum conf_cache cache;
} kinds[] = {
	{ FORMAT_RAW, ENGINE_THREADS, CACHE_WRITEBACK },
	{ FORMAT_RAW, ENGINE_URING, CACHE_WRITEBACK },
	{ FORMAT_RAW, ENGINE_URING, CACHE_DIRECT },
	{ FORMAT_COW, ENGINE_THREADS, CACHE_WRITEBACK },
	{ FORMAT_COW, ENGINE_URING, CACHE_WRITEBACK },
	{ FORMAT_COW, ENGINE_URING, CACHE_DIRECT },
};

static void stamp(struct stamp *s, uint32_t sector, uint32_t version)
{
	uint32_t seed = (sector + 1) * 2654435761U ^ (version + 1) * 40503U;

	s->sector = sector;
	s->version = version;
	for (unsigned i = 0; i < ARRAY_SIZE(s->rest); i++)
		s->rest[i] = seed + i;
}

static void batch(struct rig *g, struct shared *sh, uint32_t *seed)
{
	static struct stamp buf[BATCH][16];
	static struct rig_req q[BATCH + 1];
	static uint32_t before[SECTORS];
	uint32_t v = ++sh->version;
	bool flush = fake_random(seed) % 4 == 0;

	memcpy(before, sh->finished, sizeof(before));
	if (flush)
		rig_add(g, &q[BATCH], DISK_FLUSH, 0, NULL, 0);
	for (unsigned i = 0; i < BATCH; i++) {
		const uint32_t part = SECTORS / BATCH;
		uint32_t first = i * part + fake_random(seed) % part;
		uint32_t n = 1 + fake_random(seed) % MIN(16U, (i + 1) * part - first);

		for (uint32_t k = 0; k < n; k++) {
			stamp(&buf[i][k], first + k, v);
			__atomic_store_n(&sh->begun[first + k], v, __ATOMIC_SEQ_CST);
		}
		rig_add(g, &q[i], DISK_WRITE, first * 512, buf[i], n * 512);
	}
	rig_finish(g);
	memcpy(sh->finished, sh->begun, sizeof(sh->finished));
	if (!flush || q[BATCH].r.result)
		return;
	for (uint32_t i = 0; i < SECTORS; i++)
		__atomic_store_n(&sh->flushed[i], before[i], __ATOMIC_SEQ_CST);
	sh->flushes++;
}

static void write_for_ever(const struct conf_disk *conf, struct shared *sh, uint32_t seed)
{
	struct rig g;

	if (!rig_open(&g, conf)) {
		fprintf(stderr, "%s\n", err_last());
		_exit(1);
	}
	for (;;)
		batch(&g, sh, &seed);
}

/* and the child of the next round goes on from what is there now */
static void look(const struct conf_disk *conf, struct shared *sh, unsigned round)
{
	static struct stamp buf[SECTORS];
	struct stamp want;
	struct rig g;

	ck_assert_msg(rig_open(&g, conf), "round %u: %s", round, err_last());
	ck_assert_int_eq(rig_do(&g, DISK_READ, 0, buf, sizeof(buf)), 0);
	for (uint32_t i = 0; i < SECTORS; i++) {
		uint32_t v = buf[i].version;

		stamp(&want, i, v);
		if (memcmp(&want, &buf[i], sizeof(want)))
			ck_abort_msg("round %u: sector %u is garbage", round, i);
		if (v < sh->flushed[i] || v > sh->begun[i])
			ck_abort_msg("round %u: sector %u has version %u, flushed was %u, begun %u",
				     round, i, v, sh->flushed[i], sh->begun[i]);
		sh->begun[i] = sh->finished[i] = v;
		sh->flushed[i] = MIN(sh->flushed[i], v);
	}
	rig_close(&g);
}

START_TEST(killed)
{
	static struct stamp first[SECTORS];
	struct shared *sh =
		mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint32_t seed = 4711 + (uint32_t)_i;
	struct conf_disk conf;

	for (uint32_t i = 0; i < SECTORS; i++)
		stamp(&first[i], i, 0);
	conf = rig_conf(fake_file("disk", first, sizeof(first)), kinds[_i].engine, kinds[_i].cache);
	conf.format = kinds[_i].format;
	if (conf.format == FORMAT_COW)
		snprintf(conf.overlay, sizeof(conf.overlay), "%s/overlay", fake_folder());
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint32_t child_seed = fake_random(&seed);
		int status;
		pid_t pid;

		/* a new overlay now and then, so that clusters are still copied */
		if (round % 8 == 0 && conf.format == FORMAT_COW) {
			unlink(conf.overlay);
			memset(sh, 0, sizeof(*sh));
		}
		pid = fork();
		/* before any ck_assert: what a kill cuts of its message to the runner makes that
		 * one fail */
		if (!pid)
			write_for_ever(&conf, sh, child_seed);
		ck_assert_int_ge(pid, 0);
		usleep(fake_random(&seed) % 30000);
		kill(pid, SIGKILL);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_msg(WIFSIGNALED(status), "the child gave up");
		look(&conf, sh, round);
	}
	printf("killed %d: version %u, %u flushes since the last new one\n", _i, sh->version,
	       sh->flushes);
	munmap(sh, sizeof(*sh));
	fake_folder_remove();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("torture");
	TCase *c = tcase_create("torture");

	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, killed, 0, (int)ARRAY_SIZE(kinds));
	suite_add_tcase(s, c);
	return suite_run(s);
}
