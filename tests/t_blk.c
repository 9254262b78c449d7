/*
 * t_blk - virtio-blk: what it answers, what it does when the host fails it, and hostile rings
 *
 * All of it with both engines.  Their system calls are taken over below, so
 * that a test can hold them back (a ring that takes nothing for now, a worker
 * that waits) or make a worker's fail.
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_pci.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "contract.h"
#include "devices.h"
#include "disk.h"
#include "suite.h"

#define RINGS	  GUEST_VERSION_1 | GUEST_INDIRECT_F
#define HOSTILE_N 200000

static const struct contract_case wires[] = { { &blk_type, WIRE_MMIO },
					      { &blk_type, WIRE_PCI },
					      { &blk_type, WIRE_MMIO },
					      { &blk_type, WIRE_PCI } };
static const enum conf_engine engines[] = { ENGINE_THREADS, ENGINE_THREADS, ENGINE_URING,
					    ENGINE_URING };

/* --- the host's disk --- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t opened;
	bool closed;
	unsigned waiting, calls;
	int fail; /* errno of the next calls */
} gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .opened = PTHREAD_COND_INITIALIZER };

/* -1 if the call is to fail */
static int pass_gate(void)
{
	int r;

	pthread_mutex_lock(&gate.lock);
	gate.calls++;
	gate.waiting++;
	while (gate.closed)
		pthread_cond_wait(&gate.opened, &gate.lock);
	gate.waiting--;
	errno = gate.fail;
	r = gate.fail ? -1 : 0;
	pthread_mutex_unlock(&gate.lock);
	return r;
}

static void set_gate(bool closed)
{
	pthread_mutex_lock(&gate.lock);
	gate.closed = closed;
	pthread_cond_broadcast(&gate.opened);
	pthread_mutex_unlock(&gate.lock);
}

ssize_t preadv(int fd, const struct iovec *iov, int n, off_t off)
{
	return pass_gate() ? -1 : syscall(SYS_preadv, fd, iov, n, off, 0);
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	return pass_gate() ? -1 : syscall(SYS_pwritev, fd, iov, n, off, 0);
}

/* the loop's own try, which never waits */
ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	bool closed;

	pthread_mutex_lock(&gate.lock);
	closed = gate.closed || gate.fail;
	pthread_mutex_unlock(&gate.lock);
	errno = EAGAIN;
	return closed ? -1 : syscall(SYS_preadv2, fd, iov, n, off, 0, flags);
}

long syscall(long nr, ...)
{
	long (*next)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	long a[6];
	va_list ap;

	va_start(ap, nr);
	for (unsigned i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (nr == SYS_io_uring_enter) {
		pthread_mutex_lock(&gate.lock);
		gate.calls++;
		errno = EBUSY;
		nr = gate.closed ? -1 : nr;
		pthread_mutex_unlock(&gate.lock);
	}
	return nr < 0 ? -1 : next(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int fdatasync(int fd)
{
	return pass_gate() ? -1 : (int)syscall(SYS_fdatasync, fd);
}

static struct subject *new_subject(int i)
{
	blk_script_disk.engine = engines[i];
	blk_script_disk.queues = 1;
	return subject_new(&wires[i]);
}

static struct subject *new_disk(int i)
{
	struct subject *x = new_subject(i);

	ck_assert(guest_start(&x->g, RINGS, 1, 256));
	return x;
}

static uint8_t on_disk(struct subject *x, uint64_t at)
{
	uint8_t c;

	ck_assert_int_eq(pread(x->disk, &c, 1, (off_t)at), 1);
	return c;
}

/* --- requests --- */

START_TEST(write_then_read)
{
	struct subject *x = new_disk(_i);
	struct guest *g = &x->g;

	ck_assert_uint_eq(guest_config(g, 0, 8), CONTRACT_SECTORS);
	ck_assert_uint_eq(guest_config(g, offsetof(struct virtio_blk_config, blk_size), 4), 512);
	fake_fill(x->f, GUEST_DATA, 0x5a, 1024);
	ck_assert_uint_eq(guest_blk(g, VIRTIO_BLK_T_OUT, 7, GUEST_DATA, 1024), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(on_disk(x, 7 * 512), 0x5a);
	ck_assert_uint_eq(on_disk(x, 9 * 512 - 1), 0x5a);
	ck_assert_uint_ne(on_disk(x, 9 * 512), 0x5a);
	fake_fill(x->f, GUEST_DATA, 0, 2048);
	ck_assert_uint_eq(guest_blk(g, VIRTIO_BLK_T_IN, 7, GUEST_DATA, 1024), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(fake_peek8(x->f, GUEST_DATA + 1023), 0x5a);
	ck_assert_uint_eq(fake_peek8(x->f, GUEST_DATA + 1024), 0);
	ck_assert_uint_eq(guest_blk(g, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(guest_blk(g, 77, 0, GUEST_DATA, 512), VIRTIO_BLK_S_UNSUPP);
	ck_assert_uint_eq(guest_blk(g, VIRTIO_BLK_T_IN, 7, 0, 0), VIRTIO_BLK_S_OK);
	subject_free(x);
}
END_TEST

START_TEST(serial_number)
{
	struct subject *x = new_disk(_i);
	char id[33] = "";

	for (uint32_t len = 0; len <= 32; len += 4) {
		fake_fill(x->f, GUEST_DATA, '#', 32);
		ck_assert_uint_eq(guest_blk(&x->g, VIRTIO_BLK_T_GET_ID, 0, GUEST_DATA, len),
				  VIRTIO_BLK_S_OK);
		fake_peek(x->f, GUEST_DATA, id, 32);
		for (unsigned i = 0; i < 32; i++) {
			char want = i >= MIN(len, 20U) ? '#' : i < 7 ? "SERIAL0"[i] : '\0';

			if (id[i] != want)
				ck_abort_msg("length %u, byte %u: %#x", len, i, id[i]);
		}
	}
	subject_free(x);
}
END_TEST

/* first sector and length in bytes, of 64 sectors */
static const struct {
	uint64_t sector;
	uint32_t len;
	uint8_t status;
} ranges[] = {
	{ 0, 512, VIRTIO_BLK_S_OK },
	{ 63, 512, VIRTIO_BLK_S_OK },
	{ 62, 1024, VIRTIO_BLK_S_OK },
	{ 64, 0, VIRTIO_BLK_S_OK },
	{ 65, 0, VIRTIO_BLK_S_IOERR },
	{ 64, 512, VIRTIO_BLK_S_IOERR },
	{ 63, 1024, VIRTIO_BLK_S_IOERR },
	{ UINT64_MAX, 512, VIRTIO_BLK_S_IOERR },
	{ UINT64_MAX, 1024, VIRTIO_BLK_S_IOERR },
	{ 1ULL << 55, 512, VIRTIO_BLK_S_IOERR },
	{ 1ULL << 63, 512, VIRTIO_BLK_S_IOERR },
	{ 0, 511, VIRTIO_BLK_S_IOERR },
	{ 0, 513, VIRTIO_BLK_S_IOERR },
	{ 0, 1, VIRTIO_BLK_S_IOERR },
};

START_TEST(sector_ranges)
{
	struct subject *x = new_disk(_i);
	struct guest_used u;

	for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++) {
		for (uint32_t type = VIRTIO_BLK_T_IN; type <= VIRTIO_BLK_T_OUT; type++) {
			guest_blk_add(&x->g, 0, type, ranges[i].sector, GUEST_DATA, ranges[i].len);
			guest_kick(&x->g, 0);
			fake_settle(x->f);
			ck_assert_msg(guest_blk_status(&x->g, 0) == ranges[i].status,
				      "type %u, sector %#lx, %u bytes: %u", type, ranges[i].sector,
				      ranges[i].len, guest_blk_status(&x->g, 0));
			ck_assert(guest_used(&x->g, 0, &u));
			ck_assert_uint_eq(u.len, 1 + (type == VIRTIO_BLK_T_IN && !ranges[i].status
							      ? ranges[i].len
							      : 0));
		}
	}
	ck_assert(guest_is_live(&x->g));
	subject_free(x);
}
END_TEST

/* the header in @pieces, data in two, the status byte at the end of data or by itself */
static uint8_t read_split(struct subject *x, unsigned header, bool own_status)
{
	struct guest_buf buf[24];
	unsigned n = 0, at = 0;
	struct guest_used u;

	guest_blk_header(&x->g, GUEST_HDR, VIRTIO_BLK_T_IN, 11);
	for (unsigned i = 0; i < header; i++) {
		uint32_t len = i + 1 == header ? 16 - at : 16 / header;

		buf[n++] = (struct guest_buf){ GUEST_HDR + at, len, false };
		at += len;
	}
	buf[n++] = (struct guest_buf){ GUEST_DATA, 100, true };
	buf[n++] = (struct guest_buf){ GUEST_DATA + 100, 412U + !own_status, true };
	if (own_status)
		buf[n++] = (struct guest_buf){ GUEST_DATA + 512, 1, true };
	fake_fill(x->f, GUEST_DATA, 0xee, 520);
	guest_add(&x->g, 0, buf, n);
	guest_kick(&x->g, 0);
	fake_settle(x->f);
	ck_assert(guest_used(&x->g, 0, &u));
	ck_assert_uint_eq(u.len, 513);
	ck_assert_uint_eq(fake_peek8(x->f, GUEST_DATA + 513), 0xee);
	return fake_peek8(x->f, GUEST_DATA + 512);
}

START_TEST(requests_in_pieces)
{
	struct subject *x = new_disk(_i);

	for (unsigned header = 1; header <= 16; header++) {
		for (unsigned own = 0; own < 2; own++) {
			ck_assert_uint_eq(read_split(x, header, own), VIRTIO_BLK_S_OK);
			for (unsigned i = 0; i < 512; i++)
				if (fake_peek8(x->f, GUEST_DATA + i) != on_disk(x, 11 * 512 + i))
					ck_abort_msg("byte %u", i);
		}
	}
	subject_free(x);
}
END_TEST

/* a header of fewer than 16 bytes is answered, not served */
START_TEST(short_header)
{
	struct subject *x = new_disk(_i);

	for (uint32_t len = 0; len < 16; len++) {
		const struct guest_buf buf[] = { { GUEST_HDR, len, false },
						 { GUEST_STATUS, 1, true } };

		fake_fill(x->f, GUEST_STATUS, 0xff, 1);
		guest_add(&x->g, 0, buf, 2);
		guest_kick(&x->g, 0);
		fake_settle(x->f);
		ck_assert_uint_eq(guest_blk_status(&x->g, 0), VIRTIO_BLK_S_IOERR);
	}
	ck_assert(guest_is_live(&x->g));
	subject_free(x);
}
END_TEST

START_TEST(read_only)
{
	struct subject *x = new_subject(_i);
	struct fake *f = fake_new();
	struct conf_disk conf = x->disk_conf;
	struct vdev_place place = { .base = GUEST_MMIO, .gsi = 5, .conf = &conf };
	struct guest g;

	/* a second machine, with the same file */
	conf.ro = true;
	ck_assert_ptr_null(fake_dev(f, &blk_type, 0, &place));
	ck_assert_ptr_nonnull(strstr(err_last(), "in use"));
	subject_free(x);
	fake_free(f);

	x = subject_new(&wires[0]);
	f = fake_new();
	fake_dev_free(x->f, x->dev);
	conf = x->disk_conf;
	conf.ro = true;
	ck_assert_ptr_nonnull(fake_dev(f, &blk_type, 0, &place));
	guest_find_mmio(&g, f, GUEST_MMIO, 5);
	ck_assert_uint_ne(guest_offered(&g) & 1ULL << VIRTIO_BLK_F_RO, 0);
	ck_assert(guest_start(&g, GUEST_VERSION_1 | 1ULL << VIRTIO_BLK_F_RO, 1, 8));
	gate.calls = 0;
	ck_assert_uint_eq(guest_blk(&g, VIRTIO_BLK_T_OUT, 0, GUEST_DATA, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(gate.calls, 0); /* the file is not even tried */
	ck_assert_uint_eq(guest_blk(&g, VIRTIO_BLK_T_IN, 0, GUEST_DATA, 512), VIRTIO_BLK_S_OK);
	fake_free(f);
	subject_free(x);
}
END_TEST

/* --- the host fails --- */

START_TEST(the_file_shrinks)
{
	struct subject *x = new_disk(_i);

	ck_assert_int_eq(ftruncate(x->disk, 10 * 512 + 100), 0);
	ck_assert_uint_eq(guest_blk(&x->g, VIRTIO_BLK_T_IN, 9, GUEST_DATA, 512), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(guest_blk(&x->g, VIRTIO_BLK_T_IN, 9, GUEST_DATA, 1024),
			  VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(guest_blk(&x->g, VIRTIO_BLK_T_IN, 40, GUEST_DATA, 512),
			  VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(guest_blk(&x->g, VIRTIO_BLK_T_OUT, 40, GUEST_DATA, 512), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(guest_blk(&x->g, VIRTIO_BLK_T_IN, 40, GUEST_DATA, 512), VIRTIO_BLK_S_OK);
	ck_assert(guest_is_live(&x->g));
	subject_free(x);
}
END_TEST

START_TEST(errors_of_the_host)
{
	static const struct {
		int error;
		uint32_t type;
	} cases[] = { { EIO, VIRTIO_BLK_T_IN },
		      { ENOSPC, VIRTIO_BLK_T_OUT },
		      { EIO, VIRTIO_BLK_T_FLUSH } };
	struct subject *x = new_disk(_i);
	struct guest_used u;

	fake_log_clear();
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t len = cases[i].type == VIRTIO_BLK_T_FLUSH ? 0 : 512;

		while (guest_used(&x->g, 0, &u))
			;
		gate.fail = cases[i].error;
		guest_blk_add(&x->g, 0, cases[i].type, 3, GUEST_DATA, len);
		guest_kick(&x->g, 0);
		fake_settle(x->f);
		ck_assert_uint_eq(guest_blk_status(&x->g, 0), VIRTIO_BLK_S_IOERR);
		ck_assert(guest_used(&x->g, 0, &u));
		ck_assert_uint_eq(u.len, 1);
		ck_assert_uint_eq(fake_log_lines(strerror(cases[i].error)), i == 2 ? 2 : 1);
		gate.fail = 0;
		ck_assert_uint_eq(guest_blk(&x->g, cases[i].type, 3, GUEST_DATA, len),
				  VIRTIO_BLK_S_OK);
	}
	/* a disk that fails for ever does not fill the log */
	gate.fail = EIO;
	for (unsigned i = 0; i < 50; i++)
		guest_blk(&x->g, VIRTIO_BLK_T_IN, 3, GUEST_DATA, 512);
	ck_assert_uint_le(fake_log_lines("blk@0"), LOG_BURST);
	gate.fail = EINTR; /* until it is over */
	guest_blk_add(&x->g, 0, VIRTIO_BLK_T_IN, 3, GUEST_DATA, 512);
	guest_kick(&x->g, 0);
	fake_turn(x->f);
	usleep(1000);
	gate.fail = 0;
	fake_settle(x->f);
	ck_assert_uint_eq(guest_blk_status(&x->g, 0), VIRTIO_BLK_S_OK);
	subject_free(x);
}
END_TEST

/* --- requests in flight --- */

/* @n reads are in the workers' hands, or wait for them */
static void put_in_flight(struct subject *x, unsigned n)
{
	set_gate(true);
	for (unsigned i = 0; i < n; i++)
		guest_blk_add(&x->g, i, VIRTIO_BLK_T_IN, i, GUEST_DATA + 512 * i, 512);
	guest_kick(&x->g, 0);
	fake_turn(x->f);
	fake_turn(x->f);
	ck_assert_uint_eq(to_vdev(x->dev)->inflight, n);
}

struct vcpu_job {
	struct subject *x;
	bool done;
};

static void *reset_on_vcpu(void *arg)
{
	struct vcpu_job *job = arg;

	guest_reset(&job->x->g);
	__atomic_store_n(&job->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static bool is_done(void *arg)
{
	return __atomic_load_n(&((struct vcpu_job *)arg)->done, __ATOMIC_ACQUIRE);
}

/* the vCPU waits, the loop does not, and afterwards the old driver's memory is its own again */
START_TEST(reset_waits)
{
	static uint8_t before[FAKE_RAM], after[FAKE_RAM];
	struct subject *x = new_disk(_i);
	struct vcpu_job job = { .x = x };
	pthread_t vcpu;

	put_in_flight(x, 6);
	ck_assert_int_eq(pthread_create(&vcpu, NULL, reset_on_vcpu, &job), 0);
	ck_assert_int_eq(loop_until(x->f->m.loop, is_done, &job, 100000000), -ETIMEDOUT);
	set_gate(false);
	while (!is_done(&job))
		fake_turn(x->f);
	ck_assert_int_eq(pthread_join(vcpu, NULL), 0);
	ck_assert_uint_eq(to_vdev(x->dev)->inflight, 0);
	ck_assert_uint_eq(guest_read(&x->g, REG_STATUS), 0);
	fake_ram_get(x->f, before);
	for (unsigned i = 0; i < 20; i++) {
		usleep(1000);
		fake_turn(x->f);
	}
	fake_ram_get(x->f, after);
	ck_assert_mem_eq(before, after, FAKE_RAM);
	ck_assert_uint_eq(guest_used_idx(&x->g, 0), 0);
	ck_assert(!x->f->level[CONTRACT_GSI]);
	ck_assert(guest_start(&x->g, RINGS, 1, 256));
	ck_assert_uint_eq(guest_blk(&x->g, VIRTIO_BLK_T_IN, 1, GUEST_DATA, 512), VIRTIO_BLK_S_OK);
	subject_free(x);
}
END_TEST

static void *open_later(void *arg)
{
	(void)arg;
	usleep(50000);
	set_gate(false);
	return NULL;
}

/* a snapshot waits for what is under way, and takes nothing new meanwhile */
START_TEST(drain_waits)
{
	struct subject *x = new_disk(_i);
	struct vdev *v = to_vdev(x->dev);
	pthread_t thread;

	put_in_flight(x, 5);
	guest_blk_add(&x->g, 5, VIRTIO_BLK_T_IN, 5, GUEST_DATA, 512);
	guest_kick(&x->g, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, open_later, NULL), 0);
	dev_drain(x->dev);
	ck_assert_uint_eq(v->inflight, 0);
	ck_assert_uint_eq(v->s.vq[0].next_avail, 5);
	ck_assert_uint_eq(guest_used_idx(&x->g, 0), 5);
	guest_kick(&x->g, 0);
	fake_turn(x->f);
	ck_assert_uint_eq(v->s.vq[0].next_avail, 5);
	dev_resume(x->dev);
	fake_settle(x->f);
	ck_assert_uint_eq(guest_used_idx(&x->g, 0), 6);
	pthread_join(thread, NULL);
	subject_free(x);
}
END_TEST

/* broken with requests under way: they end, and the rings are not touched any more */
START_TEST(broken_in_flight)
{
	struct subject *x = new_disk(_i);

	put_in_flight(x, 3);
	fake_poke16(x->f, x->g.q[0].avail + 2, 0x8000);
	guest_kick(&x->g, 0);
	fake_turn(x->f);
	ck_assert(guest_is_broken(&x->g));
	ck_assert_uint_eq(to_vdev(x->dev)->inflight, 3);
	fake_mark(x->f);
	set_gate(false);
	fake_settle(x->f);
	fake_check_dirty(x->f); /* the data did arrive */
	ck_assert_uint_eq(guest_used_idx(&x->g, 0), 0);
	ck_assert(guest_start(&x->g, RINGS, 1, 8));
	ck_assert_uint_eq(guest_blk(&x->g, VIRTIO_BLK_T_IN, 1, GUEST_DATA, 512), VIRTIO_BLK_S_OK);
	subject_free(x);
}
END_TEST

/*
 * A driver that makes chains available again before they come back has more
 * under way than the ring has entries.
 */
static void use_up_pool(struct subject *x)
{
	put_in_flight(x, 1);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 250; i++)
			guest_publish(&x->g, 0, 0);
		guest_kick(&x->g, 0);
		fake_turn(x->f);
		fake_turn(x->f);
	}
	ck_assert_uint_eq(to_vdev(x->dev)->inflight, VQ_MAX);
}

START_TEST(more_than_the_pool)
{
	struct subject *x = new_disk(_i);

	use_up_pool(x);
	set_gate(false);
	fake_settle(x->f); /* what was not taken is taken now */
	ck_assert_uint_eq(guest_used_idx(&x->g, 0), 501);
	ck_assert(guest_is_live(&x->g));
	subject_free(x);
}
END_TEST

START_TEST(drain_of_a_full_pool)
{
	struct subject *x = new_disk(_i);
	struct vdev *v = to_vdev(x->dev);
	pthread_t thread;

	use_up_pool(x);
	ck_assert_int_eq(pthread_create(&thread, NULL, open_later, NULL), 0);
	dev_drain(x->dev);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(v->inflight, 0);
	ck_assert_uint_eq(v->s.vq[0].next_avail, VQ_MAX);
	dev_resume(x->dev);
	fake_settle(x->f);
	ck_assert_uint_eq(guest_used_idx(&x->g, 0), 501);
	subject_free(x);
}
END_TEST

/* --- files --- */

static void nothing(void *arg)
{
	(void)arg;
}

static struct disk *open_disk(struct fake *f, const char *path, bool ro)
{
	struct conf_disk conf = { .ro = ro };

	snprintf(conf.path, sizeof(conf.path), "%s", path);
	return disk_open(f->m.loop, &conf, nothing, NULL);
}

static struct disk *try_open(struct fake *f, const char *path, bool ro, const char *says)
{
	struct disk *d;

	err_clear();
	d = open_disk(f, path, ro);
	if (says) {
		ck_assert_msg(!d, "%s is taken", path);
		ck_assert_msg(strstr(err_last(), says) != NULL, "%s: %s", path, err_last());
		ck_assert_ptr_nonnull(strstr(err_last(), path));
	} else {
		ck_assert_msg(d != NULL, "%s", err_last());
	}
	return d;
}

START_TEST(files_that_are_no_disks)
{
	struct fake *f = fake_new();
	unsigned fds = fake_fds();
	const char *folder = fake_folder();
	char pipe_path[128];

	for (unsigned ro = 0; ro < 2; ro++) {
		try_open(f, "/nonexistent/disk", ro, "No such file");
		try_open(f, "", ro, "");
		try_open(f, fake_file("empty", NULL, 0), ro, "less than one sector");
		try_open(f, fake_file("short", NULL, 511), ro, "less than one sector");
		try_open(f, "/dev/null", ro, "neither a file nor");
	}
	try_open(f, folder, false, "folder");
	try_open(f, folder, true, "neither a file");
	/* opening a pipe waits for its other end */
	snprintf(pipe_path, sizeof(pipe_path), "%s/pipe", folder);
	ck_assert_int_eq(mkfifo(pipe_path, 0600), 0);
	try_open(f, pipe_path, true, "neither a file nor");
	try_open(f, pipe_path, false, "neither a file nor");
	ck_assert_uint_eq(fake_fds(), fds);
	fake_free(f);
	fake_folder_remove();
}
END_TEST

START_TEST(sizes_of_files)
{
	struct fake *f = fake_new();
	struct disk *d;

	fake_log_clear();
	d = try_open(f, fake_file("odd", NULL, 1000), false, NULL);
	ck_assert_uint_eq(disk_sectors(d), 1);
	ck_assert_uint_eq(fake_log_lines("488 bytes"), 1);
	disk_close(d);
	d = try_open(f, fake_file("large", NULL, 1ULL << 42), false, NULL);
	ck_assert_uint_eq(disk_sectors(d), 1ULL << 33);
	disk_close(d);
	fake_free(f);
	fake_folder_remove();
}
END_TEST

/* one writer or many readers, also among disks of one process */
START_TEST(files_in_use)
{
	struct fake *f = fake_new();
	struct disk *a, *b, *c;
	const char *path;

	path = fake_file("disk", NULL, 4096);
	a = try_open(f, path, false, NULL);
	try_open(f, path, false, "in use");
	try_open(f, path, true, "in use");
	disk_close(a);
	a = try_open(f, path, true, NULL);
	b = try_open(f, path, true, NULL);
	try_open(f, path, false, "in use");
	disk_close(a);
	try_open(f, path, false, "in use");
	disk_close(b);
	c = try_open(f, path, false, NULL);
	disk_close(c);
	fake_free(f);
	fake_folder_remove();
}
END_TEST

/* --- hostile rings --- */

static void one_of(uint64_t *v, uint32_t *seed, unsigned chance)
{
	if (fake_random(seed) % chance == 0)
		*v = fake_odd(seed);
}

/* entry @i of @n: mostly what a driver would write, sometimes not */
static struct vring_desc wild_desc(uint32_t *seed, unsigned i, unsigned n, bool in)
{
	uint64_t addr = i ? GUEST_DATA : GUEST_HDR, len = i ? 512 : 16, flags = 0, next = i + 1;

	if (i + 1 < n)
		flags = VRING_DESC_F_NEXT;
	if (i && i + 1 == n) {
		addr = GUEST_STATUS;
		len = 1;
	}
	if (i && (in || i + 1 == n))
		flags |= VRING_DESC_F_WRITE;
	if (i) {
		one_of(&addr, seed, 8);
		one_of(&len, seed, 8);
	}
	one_of(&flags, seed, 60);
	one_of(&next, seed, 60);
	return (struct vring_desc){ addr, (uint32_t)len, (uint16_t)flags, (uint16_t)next };
}

static void lay_wild(struct guest *g, uint32_t *seed)
{
	uint64_t type = fake_random(seed) % 3, sector = fake_random(seed) % CONTRACT_SECTORS;
	unsigned n = fake_random(seed) % 4 ? 1 + fake_random(seed) % 5 : fake_random(seed) % 64;
	unsigned ind = fake_random(seed) % 3 ? 0 : 1 + fake_random(seed) % 5;
	bool in = type != VIRTIO_BLK_T_OUT;

	one_of(&type, seed, 6);
	one_of(&sector, seed, 6);
	if (fake_random(seed) % 20 == 0)
		ind = fake_random(seed) % 150;
	guest_blk_header(g, GUEST_HDR, (uint32_t)type, sector);
	for (unsigned i = 0; i < n; i++)
		guest_desc(g, GUEST_DESC, i, wild_desc(seed, i, n, in));
	for (unsigned i = 0; i < ind; i++)
		guest_desc(g, GUEST_INDIRECT, i, wild_desc(seed, i, ind, in));
	if (ind) {
		uint64_t table = GUEST_INDIRECT, len = 16 * ind, flags = VRING_DESC_F_INDIRECT;

		one_of(&table, seed, 12);
		one_of(&len, seed, 12);
		one_of(&flags, seed, 24);
		guest_desc(g, GUEST_DESC, n ? n - 1 : 0,
			   (struct vring_desc){ table, (uint32_t)len, (uint16_t)flags, 0 });
	}
}

/* what came of one ring: 1 served, -1 broken, 0 nothing */
static int wild_ring(struct guest *g, uint32_t *seed)
{
	uint64_t heads = 1, head = 0;

	lay_wild(g, seed);
	one_of(&heads, seed, 20);
	one_of(&head, seed, 20);
	fake_poke16(g->f, g->q[0].avail + 4 + 2ULL * (g->q[0].next % 64), (uint16_t)head);
	g->q[0].next += (uint16_t)heads;
	fake_poke16(g->f, g->q[0].avail + 2, g->q[0].next);
	if (fake_random(seed) % 32 == 0) /* a register in between */
		guest_write(g, fake_random(seed) % GUEST_REGS, (uint32_t)fake_odd(seed) | 1);
	guest_kick(g, 0);
	fake_settle(g->f);
	if (guest_is_broken(g))
		return -1;
	return guest_used_idx(g, 0) != g->q[0].seen;
}

START_TEST(hostile_rings)
{
	struct subject *x = new_subject(_i);
	struct guest *g = &x->g;
	unsigned served = 0, broken = 0;
	bool going_on = false;

	for (uint32_t i = 1; i <= HOSTILE_N; i++) {
		uint32_t seed = i * 2654435761U;
		int r;

		if (!going_on &&
		    !guest_start(g, fake_random(&seed) % 2 ? RINGS : RINGS | GUEST_EVENT_IDX, 1,
				 64))
			ck_abort_msg("after ring %u the device does not start", i - 1);
		r = wild_ring(g, &seed);
		served += r > 0;
		broken += r < 0;
		g->q[0].seen = guest_used_idx(g, 0);
		/* several in a row on one ring, as long as it works */
		going_on = r > 0 && i % 8 && guest_is_live(g);
		if (i % 5000)
			continue;
		ck_assert(guest_start(g, RINGS, 1, 64));
		ck_assert_uint_eq(guest_blk(g, VIRTIO_BLK_T_IN, 1, GUEST_DATA, 512),
				  VIRTIO_BLK_S_OK);
		ck_assert_uint_eq(fake_peek8(x->f, GUEST_DATA + 5), on_disk(x, 512 + 5));
		going_on = false;
	}
	printf("hostile_rings: %s: %u served, %u broke the device, of %u\n",
	       contract_name(&wires[_i]), served, broken, HOSTILE_N);
	ck_assert_uint_gt(served, 1000);
	ck_assert_uint_gt(broken, 1000);
	ck_assert_uint_lt(fake_log_lines(""), 100);
	subject_free(x);
}
END_TEST

int main(void)
{
	const int n = ARRAY_SIZE(wires);
	Suite *s = suite_create("blk");
	TCase *t = tcase_create("blk");

	tcase_set_timeout(t, 200);
	tcase_add_loop_test(t, write_then_read, 0, n);
	tcase_add_loop_test(t, serial_number, 0, n);
	tcase_add_loop_test(t, sector_ranges, 0, n);
	tcase_add_loop_test(t, requests_in_pieces, 0, n);
	tcase_add_loop_test(t, short_header, 0, n);
	tcase_add_loop_test(t, read_only, 0, n);
	tcase_add_loop_test(t, the_file_shrinks, 0, n);
	tcase_add_loop_test(t, errors_of_the_host, 0, 2); /* of workers */
	tcase_add_loop_test(t, reset_waits, 0, n);
	tcase_add_loop_test(t, drain_waits, 0, n);
	tcase_add_loop_test(t, broken_in_flight, 0, n);
	tcase_add_loop_test(t, more_than_the_pool, 0, n);
	tcase_add_loop_test(t, drain_of_a_full_pool, 0, n);
	tcase_add_test(t, files_that_are_no_disks);
	tcase_add_test(t, sizes_of_files);
	tcase_add_test(t, files_in_use);
	tcase_add_loop_test(t, hostile_rings, 0, n);
	suite_add_tcase(s, t);
	return suite_run(s);
}
