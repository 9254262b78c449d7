/*
 * t_blk_ops - virtio-blk: queues, discarding and zeroing, limits, what is offered when, and how
 * often the host is asked
 */
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/virtio_blk.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/stat.h>
#include <unistd.h>

#include "contract.h"
#include "devices.h"
#include "disk.h"
#include "suite.h"

#define F(name) (1ULL << VIRTIO_BLK_F_##name)

static const struct contract_case wire = { &blk_type, WIRE_MMIO };
static const enum conf_engine engines[] = { ENGINE_THREADS, ENGINE_URING };

static unsigned syncs;

int fdatasync(int fd)
{
	__atomic_add_fetch(&syncs, 1, __ATOMIC_RELAXED);
	return (int)syscall(SYS_fdatasync, fd);
}

static _Alignas(8) char tree[CONTRACT_TREE];

/* a new machine; @conf: the disk, but for its path */
static struct subject *new_blk(struct conf_disk conf)
{
	blk_script_disk = conf;
	return subject_new(&wire);
}

static struct subject *started(struct conf_disk conf, uint64_t features)
{
	struct subject *x = new_blk(conf);

	ck_assert(guest_start(&x->g, GUEST_VERSION_1 | features, MAX(conf.queues, 1U), 16));
	return x;
}

/* DISCARD or WRITE_ZEROES with @len bytes of segments, on queue @q: the status */
static uint8_t segments(struct subject *x, unsigned q, uint32_t type, const void *seg, uint32_t len)
{
	const struct guest_buf buf[] = { { GUEST_HDR, 16, false },
					 { GUEST_DATA, len, false },
					 { GUEST_STATUS, 1, true } };
	struct guest_used u;

	guest_blk_header(&x->g, GUEST_HDR, type, 0);
	fake_poke(x->f, GUEST_DATA, seg, len);
	fake_fill(x->f, GUEST_STATUS, 0xff, 1);
	guest_add(&x->g, q, buf, ARRAY_SIZE(buf));
	guest_kick(&x->g, q);
	fake_settle(x->f);
	ck_assert(guest_used(&x->g, q, &u));
	ck_assert_uint_eq(u.len, 1);
	return guest_blk_status(&x->g, 0);
}

static uint8_t segment(struct subject *x, uint32_t type, uint64_t sector, uint32_t n,
		       uint32_t flags)
{
	const struct virtio_blk_discard_write_zeroes s = { sector, n, flags };

	return segments(x, 0, type, &s, sizeof(s));
}

static uint8_t on_disk(struct subject *x, uint64_t at)
{
	uint8_t c;

	ck_assert_int_eq(pread(x->disk, &c, 1, (off_t)at), 1);
	return c;
}

/* --- what is offered --- */

START_TEST(what_is_offered)
{
	static const struct {
		struct conf_disk conf;
		uint64_t has, lacks;
	} cases[] = {
		{ { .queues = 1 },
		  F(FLUSH) | F(WRITE_ZEROES) | F(TOPOLOGY) | F(SEG_MAX),
		  F(MQ) | F(DISCARD) | F(RO) },
		{ { .queues = 16, .discard = true }, F(MQ) | F(DISCARD) | F(FLUSH), F(RO) },
		{ { .ro = true, .discard = true }, F(RO), F(DISCARD) | F(WRITE_ZEROES) },
		{ { .cache = CACHE_WRITETHROUGH }, F(WRITE_ZEROES), F(FLUSH) },
		{ { .cache = CACHE_UNSAFE }, F(FLUSH), 0 },
		{ { .format = FORMAT_COW, .discard = true }, F(DISCARD) | F(WRITE_ZEROES), 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct subject *x = new_blk(cases[i].conf);
		uint64_t f = guest_offered(&x->g);
		unsigned queues = MAX(cases[i].conf.queues, 1U);

		ck_assert_msg((f & cases[i].has) == cases[i].has && !(f & cases[i].lacks),
			      "case %u: %#lx", i, f);
		ck_assert(guest_start(&x->g, f, queues, 8));
		ck_assert_uint_eq(guest_config(&x->g,
					       offsetof(struct virtio_blk_config, num_queues), 2),
				  queues);
		/* what is not offered is not served */
		ck_assert_uint_eq(guest_blk(&x->g, VIRTIO_BLK_T_FLUSH, 0, 0, 0),
				  f & F(FLUSH) ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_UNSUPP);
		ck_assert_uint_eq(segment(x, VIRTIO_BLK_T_DISCARD, 0, 1, 0),
				  f & F(DISCARD) ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_UNSUPP);
		ck_assert_uint_eq(segment(x, VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 0),
				  f & F(WRITE_ZEROES) ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_UNSUPP);
		subject_free(x);
	}
}
END_TEST

/* --- queues --- */

START_TEST(every_queue)
{
	struct subject *x =
		started((struct conf_disk){ .engine = engines[_i], .queues = 16 }, F(MQ));
	struct guest_used u;

	for (unsigned q = 0; q < 16; q++) {
		const struct guest_buf buf[] = { { GUEST_HDR + 16 * q, 16, false },
						 { GUEST_DATA + 512 * q, 512, true },
						 { GUEST_STATUS + q, 1, true } };

		guest_blk_header(&x->g, buf[0].gpa, VIRTIO_BLK_T_IN, q);
		guest_add(&x->g, q, buf, 3);
	}
	for (unsigned q = 0; q < 16; q++)
		guest_kick(&x->g, q);
	fake_settle(x->f);
	for (unsigned q = 0; q < 16; q++) {
		ck_assert(guest_used(&x->g, q, &u));
		ck_assert_uint_eq(u.len, 513);
		ck_assert_uint_eq(guest_blk_status(&x->g, q), VIRTIO_BLK_S_OK);
		ck_assert_uint_eq(fake_peek8(x->f, GUEST_DATA + 512 * q), on_disk(x, 512 * q));
		ck_assert(!guest_used(&x->g, q, &u));
	}
	subject_free(x);
}
END_TEST

/* --- discarding and zeroing --- */

START_TEST(segments_are_checked)
{
	struct conf_disk conf = { .engine = engines[_i], .discard = true };
	struct subject *x = started(conf, F(DISCARD) | F(WRITE_ZEROES));
	struct virtio_blk_discard_write_zeroes s[33] = { { 0, 0, 0 } };
	const uint32_t D = VIRTIO_BLK_T_DISCARD, Z = VIRTIO_BLK_T_WRITE_ZEROES;
	const uint32_t unmap = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	static const struct {
		uint64_t sector;
		uint32_t n;
	} outside[] = {
		{ 64, 1 },	   { 63, 2 },	      { 0, 65 },	 { UINT64_MAX, 1 },
		{ UINT64_MAX, 2 }, { 1ULL << 55, 8 }, { 0, UINT32_MAX }, { 8, UINT32_MAX }
	};

	for (unsigned i = 0; i < ARRAY_SIZE(outside); i++) {
		ck_assert_uint_eq(segment(x, D, outside[i].sector, outside[i].n, 0),
				  VIRTIO_BLK_S_IOERR);
		ck_assert_uint_eq(segment(x, Z, outside[i].sector, outside[i].n, unmap),
				  VIRTIO_BLK_S_IOERR);
	}
	ck_assert_uint_eq(segment(x, D, 0, 8, unmap), VIRTIO_BLK_S_UNSUPP);
	ck_assert_uint_eq(segment(x, D, 0, 8, 2), VIRTIO_BLK_S_UNSUPP);
	ck_assert_uint_eq(segment(x, Z, 0, 8, 3), VIRTIO_BLK_S_UNSUPP);
	ck_assert_uint_eq(segment(x, Z, 0, 8, 1U << 31), VIRTIO_BLK_S_UNSUPP);
	/* one bad one spoils them all, before anything is done */
	s[0] = (struct virtio_blk_discard_write_zeroes){ 3, 1, 0 };
	s[1] = (struct virtio_blk_discard_write_zeroes){ 64, 1, 0 };
	ck_assert_uint_eq(segments(x, 0, Z, s, 32), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(on_disk(x, 3 * 512 + 7), 3 * 3 + 7);
	/* lengths that are no segments; too many of them */
	for (uint32_t len = 0; len < 48; len++)
		if (len % 16 || !len)
			ck_assert_uint_eq(segments(x, 0, Z, s, len), VIRTIO_BLK_S_IOERR);
	memset(s, 0, sizeof(s));
	ck_assert_uint_eq(segments(x, 0, Z, s, sizeof(s)), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(segments(x, 0, Z, s, sizeof(s) - 16), VIRTIO_BLK_S_OK); /* all empty */
	for (unsigned i = 0; i < 32; i++)
		s[i] = (struct virtio_blk_discard_write_zeroes){ 2 * i, 1, 0 };
	ck_assert_uint_eq(segments(x, 0, Z, s, 32 * 16), VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < 64; i++)
		ck_assert_uint_eq(on_disk(x, i * 512 + 1), i % 2 ? (uint8_t)(3 * i + 1) : 0);
	ck_assert_uint_eq(segment(x, D, 63, 1, 0), VIRTIO_BLK_S_OK);
	ck_assert(guest_is_live(&x->g));
	subject_free(x);
}
END_TEST

/* a long one is cut by the driver, who was told how long it may be */
START_TEST(long_segments)
{
	struct conf_disk conf = { .engine = engines[_i], .discard = true };
	struct subject *x;
	uint64_t most;

	snprintf(conf.path, sizeof(conf.path), "%s", fake_file("disk", NULL, 3ULL << 30));
	x = started(conf, F(DISCARD) | F(WRITE_ZEROES));
	most = guest_config(&x->g, offsetof(struct virtio_blk_config, max_write_zeroes_sectors), 4);
	ck_assert_uint_gt(most, 2048);
	ck_assert_uint_eq(segment(x, VIRTIO_BLK_T_WRITE_ZEROES, 64, (uint32_t)most, 1),
			  VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(segment(x, VIRTIO_BLK_T_WRITE_ZEROES, 64, (uint32_t)most + 1, 1),
			  VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(segment(x, VIRTIO_BLK_T_DISCARD, 64, (uint32_t)most + 1, 0),
			  VIRTIO_BLK_S_IOERR);
	subject_free(x);
	fake_folder_remove();
}
END_TEST

START_TEST(discard_shrinks_the_file)
{
	struct conf_disk conf = { .engine = engines[_i], .discard = true };
	struct subject *x = started(conf, F(DISCARD) | F(WRITE_ZEROES));
	struct stat a, b;

	ck_assert_int_eq(fstat(x->disk, &a), 0);
	ck_assert_uint_eq(segment(x, VIRTIO_BLK_T_DISCARD, 16, 16, 0), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(fstat(x->disk, &b), 0);
	ck_assert_int_eq(b.st_blocks, a.st_blocks - 16);
	ck_assert_int_eq(b.st_size, a.st_size);
	ck_assert_uint_eq(segment(x, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, 1), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(fstat(x->disk, &b), 0);
	ck_assert_int_eq(b.st_blocks, a.st_blocks - 32);
	/* tmpfs cannot zero but by holes: so without leave to punch them, zeroes are written */
	ck_assert_uint_eq(segment(x, VIRTIO_BLK_T_WRITE_ZEROES, 32, 32, 0), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(fstat(x->disk, &b), 0);
	ck_assert_int_eq(b.st_blocks, a.st_blocks - 32);
	ck_assert_uint_eq(on_disk(x, 63 * 512 + 5), 0);
	subject_free(x);
}
END_TEST

START_TEST(copy_on_write)
{
	struct conf_disk conf = { .engine = engines[_i], .format = FORMAT_COW, .discard = true };
	struct subject *x = started(conf, F(DISCARD) | F(WRITE_ZEROES) | F(FLUSH));
	struct guest *g = &x->g;

	fake_fill(x->f, GUEST_DATA, 0x77, 1024);
	ck_assert_uint_eq(guest_blk(g, VIRTIO_BLK_T_OUT, 9, GUEST_DATA, 1024), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(on_disk(x, 9 * 512), 27);
	ck_assert_uint_eq(guest_blk(g, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(guest_blk(g, VIRTIO_BLK_T_IN, 0, GUEST_DATA, 32 * 512), VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < 32; i++)
		ck_assert_uint_eq(fake_peek8(x->f, GUEST_DATA + i * 512 + 1),
				  i == 9 || i == 10 ? 0x77 : 3 * i + 1);
	ck_assert_uint_eq(segment(x, VIRTIO_BLK_T_DISCARD, 8, 8, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(guest_blk(g, VIRTIO_BLK_T_IN, 8, GUEST_DATA, 4096), VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < 4096; i++)
		if (fake_peek8(x->f, GUEST_DATA + i))
			ck_abort_msg("byte %u", i);
	ck_assert_uint_eq(on_disk(x, 9 * 512), 27);
	subject_free(x);
}
END_TEST

/* --- what a machine says of itself --- */

static uint64_t counter(struct subject *x, const char *name)
{
	for (unsigned i = 0; i < x->dev->counters; i++)
		for_each_field (f, x->dev->counter[i].table)
			if (!strcmp(f->name, name))
				return field_get(f, x->dev->counter[i].obj);
	ck_abort_msg("there is no counter %s", name);
	return 0;
}

START_TEST(counters)
{
	struct conf_disk conf = { .engine = engines[_i], .discard = true };
	struct subject *x = started(conf, F(DISCARD) | F(WRITE_ZEROES) | F(FLUSH));

	ck_assert_uint_eq(counter(x, "engine"), engines[_i]);
	guest_blk(&x->g, VIRTIO_BLK_T_IN, 0, GUEST_DATA, 1024);
	guest_blk(&x->g, VIRTIO_BLK_T_IN, 99, GUEST_DATA, 1024);
	guest_blk(&x->g, VIRTIO_BLK_T_OUT, 0, GUEST_DATA, 512);
	guest_blk(&x->g, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	segment(x, VIRTIO_BLK_T_DISCARD, 0, 1, 0);
	segment(x, VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 0);
	ck_assert_uint_eq(counter(x, "reads"), 1);
	ck_assert_uint_eq(counter(x, "bytes_read"), 1024);
	ck_assert_uint_eq(counter(x, "writes"), 1);
	ck_assert_uint_eq(counter(x, "bytes_written"), 512);
	ck_assert_uint_eq(counter(x, "flushes"), 1);
	ck_assert_uint_eq(counter(x, "discards"), 1);
	ck_assert_uint_eq(counter(x, "zeroes"), 1);
	ck_assert_uint_eq(counter(x, "errors"), 1);
	ck_assert_uint_eq(counter(x, "limited"), 0);
	ck_assert_uint_gt(counter(x, "host_calls"), 0);
	subject_free(x);
}
END_TEST

/* many at once: one call, one interrupt */
START_TEST(one_interrupt_for_a_batch)
{
	struct conf_disk conf = { .engine = engines[_i] };
	struct subject *x;
	struct statfs fs;
	uint64_t calls, interrupts;

	/* not in memory: tmpfs cannot tell whether it would wait */
	snprintf(conf.path, sizeof(conf.path), "%s", fake_file("disk", NULL, 32768));
	if (!statfs(conf.path, &fs) && fs.f_type == TMPFS_MAGIC) {
		printf("skip one interrupt for a batch: /tmp is in memory\n");
		fake_folder_remove();
		return;
	}
	x = started(conf, GUEST_INDIRECT_F);
	/* once, so that the workers' part is out of the way */
	guest_blk(&x->g, VIRTIO_BLK_T_IN, 0, GUEST_DATA, 512);
	calls = counter(x, "host_calls");
	interrupts = counter(x, "interrupts");
	for (unsigned i = 0; i < 5; i++)
		guest_blk_add(&x->g, i, VIRTIO_BLK_T_IN, i, GUEST_DATA + 512 * i, 512);
	guest_kick(&x->g, 0);
	fake_settle(x->f);
	for (unsigned i = 0; i < 5; i++)
		ck_assert_uint_eq(guest_blk_status(&x->g, i), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(counter(x, "interrupts"), interrupts + 1);
	ck_assert_uint_eq(counter(x, "host_calls"), calls + (engines[_i] == ENGINE_URING ? 1 : 5));
	subject_free(x);
	fake_folder_remove();
}
END_TEST

/* --- limits --- */

static void ask(struct subject *x, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		guest_blk_add(&x->g, i, VIRTIO_BLK_T_IN, i, GUEST_DATA + 512 * i, 512);
	guest_kick(&x->g, 0);
	fake_turn(x->f);
	fake_settle(x->f);
}

struct waiting {
	struct subject *x;
	unsigned n;
};

static bool has_come(void *arg)
{
	struct waiting *w = arg;

	return guest_used_idx(&w->x->g, 0) >= w->n;
}

static void wait_for(struct subject *x, unsigned n)
{
	struct waiting w = { x, n };

	ck_assert_int_eq(loop_until(x->f->m.loop, has_come, &w, 10000000000ULL), 0);
}

START_TEST(operations_are_limited)
{
	struct conf_disk conf = { .engine = engines[_i], .iops = 50, .iops_burst = 2 };
	struct subject *x = started(conf, 0);
	uint64_t start = now_ns();

	ask(x, 5);
	ck_assert_uint_eq(to_vdev(x->dev)->inflight, 0);
	ck_assert_uint_le(guest_used_idx(&x->g, 0), 4);
	ck_assert_uint_ge(counter(x, "limited"), 1);
	wait_for(x, 5);
	/* two at once, three at 20 ms each, of which the burst lets the last begin early */
	ck_assert_uint_ge(now_ns() - start, 40000000);
	subject_free(x);
}
END_TEST

START_TEST(bytes_are_limited)
{
	struct conf_disk conf = { .engine = engines[_i], .bw = 51200, .bw_burst = 512 };
	struct subject *x = started(conf, 0);
	uint64_t start = now_ns();

	ask(x, 5);
	ck_assert_uint_lt(guest_used_idx(&x->g, 0), 5);
	wait_for(x, 5);
	ck_assert_uint_ge(now_ns() - start, 30000000);
	subject_free(x);
}
END_TEST

/* as with an hour's wait: lifting it, a pause, a reset do not wait for it */
START_TEST(limits_are_lifted)
{
	struct conf_disk conf = { .engine = engines[_i], .iops = 1, .iops_burst = 1 }, other = conf;
	struct subject *x = started(conf, 0);
	unsigned some;

	ask(x, 4);
	some = guest_used_idx(&x->g, 0);
	ck_assert_uint_lt(some, 3);
	dev_drain(x->dev); /* at once */
	ck_assert_uint_eq(to_vdev(x->dev)->inflight, 0);
	dev_resume(x->dev);
	fake_settle(x->f);
	ck_assert_uint_eq(guest_used_idx(&x->g, 0), some);
	other.iops = 0;
	ck_assert_int_eq(dev_configure(x->dev, &other), 0);
	fake_settle(x->f);
	ck_assert_uint_eq(guest_used_idx(&x->g, 0), 4);
	/* and back */
	ck_assert_int_eq(dev_configure(x->dev, &conf), 0);
	ask(x, 4);
	ck_assert_uint_lt(guest_used_idx(&x->g, 0), 8);
	guest_reset(&x->g);
	other.iops = 1000000;
	ck_assert_int_eq(dev_configure(x->dev, &other), 0);
	ck_assert(guest_start(&x->g, GUEST_VERSION_1, 1, 16));
	fake_settle(x->f);
	ck_assert_uint_eq(guest_used_idx(&x->g, 0), 0);
	ask(x, 1);
	wait_for(x, 1);
	subject_free(x);
}
END_TEST

/* what waits for the limit is the guest's still: another machine takes it up */
START_TEST(saved_while_limited)
{
	struct conf_disk conf = { .engine = engines[_i], .iops = 1, .iops_burst = 1 };
	struct subject *x = started(conf, 0), *y;
	int n;

	ask(x, 4);
	ck_assert_uint_lt(guest_used_idx(&x->g, 0), 3);
	n = fake_save(x->f, tree, sizeof(tree));
	/* the other engine, and no limit: none of that is state */
	blk_script_disk.engine = engines[!_i];
	blk_script_disk.iops = 0;
	y = subject_clone(x, tree, (size_t)n);
	fake_settle(y->f);
	ck_assert_uint_eq(guest_used_idx(&y->g, 0), 4);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq(guest_blk_status(&y->g, i), VIRTIO_BLK_S_OK);
	subject_free(y);
	subject_free(x);
}
END_TEST

/* a queue that is kept full does not take all that the limit leaves */
START_TEST(limits_are_shared_by_queues)
{
	struct conf_disk conf = {
		.engine = engines[_i], .iops = 200, .iops_burst = 1, .queues = 2
	};
	const struct guest_buf one[] = { { GUEST_HDR, 16, false },
					 { GUEST_DATA, 512, true },
					 { GUEST_STATUS, 1, true } };
	struct subject *x = started(conf, 0);
	struct waiting w = { x, UINT16_MAX };
	struct guest_used u;

	guest_blk_header(&x->g, GUEST_HDR, VIRTIO_BLK_T_IN, 0);
	for (unsigned i = 0; i < 4; i++)
		guest_add(&x->g, 0, one, 3);
	guest_kick(&x->g, 0);
	fake_turn(x->f);
	guest_add(&x->g, 1, one, 3);
	guest_kick(&x->g, 1);
	for (unsigned i = 0; i < 200 && !guest_used_idx(&x->g, 1); i++) {
		ck_assert_int_eq(loop_until(x->f->m.loop, has_come, &w, 1000000), -ETIMEDOUT);
		while (guest_used(&x->g, 0, &u)) {
			guest_add(&x->g, 0, one, 3);
			guest_kick(&x->g, 0);
		}
	}
	ck_assert_uint_eq(guest_used_idx(&x->g, 1), 1);
	subject_free(x);
}
END_TEST

/* zeroes count as the bytes they are, because some hosts have to write them */
START_TEST(zeroes_count_as_bytes)
{
	struct conf_disk conf = { .engine = engines[_i], .bw = 64 << 10, .bw_burst = 1024 };
	struct virtio_blk_discard_write_zeroes seg = { .num_sectors = htole32(16) };
	struct subject *x = started(conf, 0);

	ck_assert_uint_eq(segments(x, 0, VIRTIO_BLK_T_WRITE_ZEROES, &seg, sizeof(seg)),
			  VIRTIO_BLK_S_OK);
	ask(x, 1); /* 8 KiB are an eighth of a second */
	ck_assert_uint_ge(counter(x, "limited"), 1);
	subject_free(x);
}
END_TEST

/* a driver that knows of no flush takes what is written as safe */
START_TEST(a_driver_without_flush)
{
	struct conf_disk conf = { .engine = ENGINE_THREADS };
	struct subject *x;

	snprintf(conf.path, sizeof(conf.path), "%s", fake_file("disk", NULL, 32768));
	x = started(conf, _i ? 1ULL << VIRTIO_BLK_F_FLUSH : 0);
	syncs = 0;
	ck_assert_uint_eq(guest_blk(&x->g, VIRTIO_BLK_T_OUT, 0, GUEST_DATA, 512), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(syncs, _i ? 0 : 1);
	ck_assert_uint_eq(guest_blk(&x->g, VIRTIO_BLK_T_IN, 0, GUEST_DATA, 512), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(syncs, _i ? 0 : 1);
	subject_free(x);
	fake_folder_remove();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("blk_ops");
	TCase *c = tcase_create("blk_ops");

	tcase_set_timeout(c, 30);
	tcase_add_test(c, what_is_offered);
	tcase_add_loop_test(c, every_queue, 0, 2);
	tcase_add_loop_test(c, segments_are_checked, 0, 2);
	tcase_add_loop_test(c, long_segments, 0, 2);
	tcase_add_loop_test(c, discard_shrinks_the_file, 0, 2);
	tcase_add_loop_test(c, copy_on_write, 0, 2);
	tcase_add_loop_test(c, counters, 0, 2);
	tcase_add_loop_test(c, one_interrupt_for_a_batch, 0, 2);
	tcase_add_loop_test(c, operations_are_limited, 0, 2);
	tcase_add_loop_test(c, limits_are_shared_by_queues, 0, 2);
	tcase_add_loop_test(c, zeroes_count_as_bytes, 0, 2);
	tcase_add_loop_test(c, a_driver_without_flush, 0, 2);
	tcase_add_loop_test(c, bytes_are_limited, 0, 2);
	tcase_add_loop_test(c, limits_are_lifted, 0, 2);
	tcase_add_loop_test(c, saved_while_limited, 0, 2);
	suite_add_tcase(s, c);
	return suite_run(s);
}
