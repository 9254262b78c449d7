/*
 * snaps.c - snaps FLAT-FOLDER FILE MIB ROUNDS: what a snapshot costs, with a flat guest of 512 MiB
 *
 * Its memory is filled from FILE, over and over; tests/bench/snap.sh has what is told.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "kvm_rig.h"
#include "snap.h"
#include "snap_mem.h"
#include "team.h"

#define MEMORY	"512M"
#define AREA	(16 * MiB)
#define CLONES	100
#define CHANGED 8 /* MiB */

static int save_fd, save_level;
static bool save_known;
static uint64_t save_ns;

static void fail(const char *what)
{
	fprintf(stderr, "snaps: %s: %s\n", what, err_last());
	exit(1);
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), by_size);
	return v[n / 2];
}

static double boot; /* what one takes, in ms */

static void tell(const char *what, double ms)
{
	printf("%-34s %9.2f ms, %.2f of a boot\n", what, ms, ms / boot);
}

static int do_save(struct vm *vm)
{
	uint64_t begin = now_ns();
	int r = snap_save(vm, save_fd, &(struct snap_order){ .label = "", .level = SNAP_LEVEL },
			  NULL);

	save_ns = now_ns() - begin;
	return r;
}

/* --- what zlib alone takes, with as many threads, for the same bytes in the same pieces --- */

static struct {
	const uint8_t *data;
	uint64_t chunks, next; /* atomic */
} bare;

static void deflate_bare(void *arg)
{
	uint8_t *to = malloc(2 * SNAP_CHUNK);
	z_stream z = { 0 };
	uint64_t n;

	(void)arg;
	if (!to ||
	    deflateInit2(&z, SNAP_LEVEL, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		abort();
	while ((n = __atomic_fetch_add(&bare.next, 1, __ATOMIC_RELAXED)) < bare.chunks) {
		z.next_in = (Bytef *)(uintptr_t)bare.data + n * SNAP_CHUNK;
		z.avail_in = SNAP_CHUNK;
		z.next_out = to;
		z.avail_out = 2 * SNAP_CHUNK;
		if (deflate(&z, Z_FINISH) != Z_STREAM_END || deflateReset(&z) != Z_OK)
			abort();
	}
	deflateEnd(&z);
	free(to);
}

/* the guest stands still for this, too */
static double bare_ms(struct flat *f, uint64_t mib)
{
	uint64_t took;

	if (flat_pause(f))
		fail("pause");
	took = now_ns();
	bare.data = (const uint8_t *)(uintptr_t)flat_word(f, AREA);
	bare.chunks = mib * MiB / SNAP_CHUNK;
	bare.next = 0;
	team_run(deflate_bare, NULL);
	took = now_ns() - took;
	if (flat_resume(f))
		fail("resume");
	return (double)took / 1e6;
}

static double live_ms(struct flat *f)
{
	int fd = memfd_create("snapshot", MFD_CLOEXEC);
	struct flat_live came;

	if (flat_live_begin(f, fd, SNAP_LEVEL, NULL))
		fail("save");
	came = flat_live_end();
	if (came.result < 0)
		fail(came.text);
	close(fd);
	return (double)came.still_us / 1e3;
}

static int do_child(struct vm *vm)
{
	static const uint8_t other[16];
	uint64_t begin = now_ns();
	bool whole;
	const struct snap_order how = { .label = "",
					.level = save_level,
					.parent = save_known ? vm->base.id : other };
	int r = snap_save(vm, save_fd, &how, &whole);

	save_ns = now_ns() - begin;
	return r || whole != save_known ? r : err(-EINVAL, "the machine knows another parent");
}

static void fill(struct flat *f, const char *path, uint64_t mib)
{
	uint8_t *to = (uint8_t *)(uintptr_t)flat_word(f, AREA), *p;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t len = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);

	p = len > 0 ? mmap(NULL, (size_t)len, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
	if (p == MAP_FAILED)
		fail(path);
	for (uint64_t at = 0, n; at < mib * MiB; at += n) {
		n = MIN(mib * MiB - at, (uint64_t)len);
		memcpy(to + at, p, n);
	}
	munmap(p, (size_t)len);
	close(fd);
}

/* until the guest counts */
static void wait_for_it(struct flat *f)
{
	volatile uint32_t *word = flat_word(f, FLAT_MAILBOX);
	uint32_t old = *word;

	if (flat_start(f))
		fail("start");
	while (*word == old)
		;
}

static double boot_ms(void)
{
	uint64_t begin = now_ns();
	struct flat *f = flat_new("count", "memory", MEMORY, NULL);
	double ms;

	if (!f)
		fail("boot");
	wait_for_it(f);
	ms = (double)(now_ns() - begin) / 1e6;
	flat_free(f);
	return ms;
}

static double restore_ms(int fd, int memory)
{
	uint64_t begin = now_ns();
	struct flat *f;
	double ms;

	flat_memory = memory;
	f = flat_restore(fd, NULL);
	if (!f)
		fail("restore");
	wait_for_it(f);
	ms = (double)(now_ns() - begin) / 1e6;
	flat_free(f);
	return ms;
}

static int unpack(int fd)
{
	int to = memfd_create("memory", MFD_CLOEXEC);
	static struct conf conf;
	struct snap_file from;
	struct snap_info info;

	if (snap_open(&from, fd, "snaps") || snap_check(&from, &info, &conf) ||
	    snap_unpack(&from, &conf, to))
		fail("unpack");
	printf("%-34s %9.1f %%\n", "image, of memory",
	       (double)from.head.size / (double)conf.memory * 100);
	printf("%-34s %9.1f %%\n", "image, of what was in use",
	       (double)from.head.size / (double)info.resident * 100);
	snap_close(&from);
	return to;
}

static long private_kib(void)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "r");
	char line[256];
	long kib, sum = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Private_Dirty: %ld", &kib) == 1)
			sum += kib;
	if (f)
		fclose(f);
	return sum;
}

/* that many at once, each of which has begun to count */
static void clone_many(int fd, int memory)
{
	struct flat *f[CLONES];
	long before = private_kib();

	flat_memory = memory;
	for (unsigned i = 0; i < CLONES; i++) {
		f[i] = flat_restore(fd, NULL);
		if (!f[i])
			fail("clone");
		wait_for_it(f[i]);
		flat_pause(f[i]);
	}
	/* of the rig is the text that it keeps of what is printed */
	printf("%-34s %9.1f KiB\n", "100 alive, private memory of each",
	       (double)(private_kib() - before) / CLONES);
	for (unsigned i = 0; i < CLONES; i++)
		flat_free(f[i]);
}

/* of a clone, and again of the same one, and once more without packing it */
static const struct {
	const char *name;
	int level;
	bool known;
} children[] = { { "child of a clone, 8 MiB changed", SNAP_LEVEL, true },
		 { "the next child, 8 MiB changed", SNAP_LEVEL, true },
		 { "the same, not packed", 0, true },
		 { "child of any other parent", SNAP_LEVEL, false } };

/* a MiB here and there gets what is in another, so that it is what the image is made of */
static void change(struct flat *f, unsigned i, uint64_t mib)
{
	for (uint64_t k = 0; k < CHANGED; k++) {
		gpa_t from = AREA + k * (mib / CHANGED) * MiB, to = from + (i + 1) * MiB;
		void *hva = (void *)(uintptr_t)flat_word(f, to);

		memcpy(hva, (const void *)(uintptr_t)flat_word(f, from), MiB);
		/* KVM would tell of the guest's own stores */
		gmem_dirty(&f->vm->mem, hva, MiB);
	}
}

static double child_ms(struct flat *f, unsigned i, uint64_t mib)
{
	if (flat_pause(f))
		fail("pause");
	change(f, i, mib);
	save_fd = memfd_create("child", MFD_CLOEXEC);
	save_level = children[i].level;
	save_known = children[i].known;
	if (flat_call(f, do_child) || flat_resume(f))
		fail("child");
	close(save_fd);
	return (double)save_ns / 1e6;
}

static void make_children(int fd, int memory, uint64_t mib, unsigned rounds)
{
	double *v = calloc((size_t)rounds * ARRAY_SIZE(children), sizeof(*v));
	struct flat *f;

	flat_memory = memory;
	for (unsigned n = 0; n < rounds; n++) {
		f = flat_restore(fd, NULL);
		if (!f)
			fail("clone");
		wait_for_it(f);
		for (unsigned i = 0; i < ARRAY_SIZE(children); i++)
			v[i * rounds + n] = child_ms(f, i, mib);
		flat_free(f);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(children); i++)
		tell(children[i].name, median(v + i * rounds, rounds));
	free(v);
}

int main(int argc, char **argv)
{
	unsigned rounds = argc == 5 ? (unsigned)atoi(argv[4]) : 0;
	uint64_t mib = argc == 5 ? strtoul(argv[3], NULL, 10) : 0;
	double *v = calloc(2 * (size_t)rounds, sizeof(*v)), *zlib = v + rounds, save;
	char slash[4096];
	struct flat *f;
	int memory;

	if (!rounds || !mib || mib > 480) {
		fprintf(stderr, "snaps FLAT-FOLDER FILE MIB ROUNDS\n");
		return 2;
	}
	snprintf(slash, sizeof(slash), "%s/../x", argv[1]);
	flat_setup(slash);
	for (unsigned i = 0; i < rounds; i++)
		v[i] = boot_ms();
	boot = median(v, rounds);
	tell("boot, to its first count", boot);
	f = flat_new("count", "memory", MEMORY, NULL);
	if (!f)
		fail("boot");
	fill(f, argv[2], mib);
	wait_for_it(f);
	for (unsigned i = 0; i < rounds; i++) {
		save_fd = memfd_create("snapshot", MFD_CLOEXEC);
		if (flat_call(f, do_save))
			fail("save");
		v[i] = (double)save_ns / 1e6;
		zlib[i] = bare_ms(f, mib);
		if (i + 1 < rounds)
			close(save_fd);
	}
	save = median(v, rounds);
	tell("save, standing still", save);
	for (unsigned i = 0; i < rounds; i++)
		v[i] = live_ms(f);
	tell("live, standing still", median(v, rounds));
	flat_free(f);
	printf("%-34s %9.1f MB/s, %.2f of the time zlib alone takes\n", "packed",
	       (double)(mib * MiB) / 1e6 / (save / 1e3), save / median(zlib, rounds));
	memory = unpack(save_fd);
	for (unsigned i = 0; i < rounds; i++)
		v[i] = restore_ms(save_fd, -1);
	tell("restore, unpacked first", median(v, rounds));
	flat_lazy = true;
	for (unsigned i = 0; i < rounds; i++)
		v[i] = restore_ms(save_fd, -1);
	flat_lazy = false;
	tell("restore, packed", median(v, rounds));
	for (unsigned i = 0; i < rounds; i++)
		v[i] = restore_ms(save_fd, memory);
	tell("restore, memory kept", median(v, rounds));
	clone_many(save_fd, memory);
	make_children(save_fd, memory, mib, rounds);
	return 0;
}
