/*
 * blk.c - virtio-blk
 *
 * A request is a chain: 16 bytes of header to read, data, one status byte to
 * write.  Its data iovecs go to the disk as they are, without the header and
 * the status byte.  Every request is completed, the wrong ones with an error;
 * a chain with no room for a status breaks the device.
 *
 * A kick takes all that its queue holds, hands it to the disk at once, takes
 * back what is done by then, and interrupts once.  Over a rate limit, or with
 * every request of the pool under way, buffers stay in the ring, and the queue
 * is marked as waiting until a timer or a finished request looks again.
 */
#include <endian.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>

#include "devices.h"
#include "disk.h"
#include "limit.h"
#include "virtio.h"

#define SERIAL_BYTES VIRTIO_BLK_ID_BYTES
#define QUEUES	     16
#define SEGMENTS     32		/* of one DISCARD or WRITE_ZEROES */
#define SEG_SECTORS  (1U << 21) /* 1 GiB */
#define PAGE_SECTORS 8

_Static_assert(VQ_IOV_MAX <= DISK_IOVS, "a chain is a request");
_Static_assert(QUEUES <= VDEV_VQS, "all queues are request queues");

struct blk_state {
	uint64_t sectors; /* what the guest was told */
};

static const struct field blk_fields[] = { F_UINT(struct blk_state, sectors), F_END };

struct blk_counters {
	uint32_t engine; /* enum conf_engine */
	uint32_t zero;
	uint64_t reads, writes, flushes, discards, zeroes;
	uint64_t bytes_read, bytes_written;
	uint64_t errors;
	uint64_t limited;    /* times that requests waited for the rate limit */
	uint64_t host_calls; /* system calls of the loop for all these */
};

static const char *const engine_names[] = { "auto", "uring", "threads", NULL };

static const struct field counter_fields[] = {
	F_ENUM(struct blk_counters, engine, engine_names),
	F_UINT(struct blk_counters, reads),
	F_UINT(struct blk_counters, writes),
	F_UINT(struct blk_counters, flushes),
	F_UINT(struct blk_counters, discards),
	F_UINT(struct blk_counters, zeroes),
	F_UINT(struct blk_counters, bytes_read),
	F_UINT(struct blk_counters, bytes_written),
	F_UINT(struct blk_counters, errors),
	F_UINT(struct blk_counters, limited),
	F_UINT(struct blk_counters, host_calls),
	F_END,
};

struct blk_req {
	struct vq_buf b;
	struct iovec iov[VQ_IOV_MAX]; /* the data; the disk uses it up */
	struct disk_req disk;
	struct blk *blk;
	struct blk_req *next_free;
	unsigned q;
	/* DISCARD, WRITE_ZEROES: one after the other */
	struct virtio_blk_discard_write_zeroes seg[SEGMENTS];
	unsigned segs, seg_at;
};

struct blk {
	struct vdev v;
	struct blk_state s;
	bool ro;
	char serial[SERIAL_BYTES + 1];
	struct disk *disk;
	struct virtio_blk_config config;
	/* VQ_MAX requests for each queue; those never used are never touched */
	struct blk_req *pool, *free_reqs;
	unsigned pool_used, pool_size;
	unsigned queues;
	uint32_t waiting; /* queues that hold buffers for which there was no request, or no leave */
	unsigned turn;	  /* which of them is looked at first */
	uint32_t touched; /* queues to interrupt */
	struct limiter limit;
	struct loop_timer timer;
	struct blk_counters count;
};

static struct blk *to_blk(struct dev *dev)
{
	return container_of(to_vdev(dev), struct blk, v);
}

struct disk *blk_disk(struct dev *dev)
{
	return to_blk(dev)->disk;
}

/* NULL when all are under way */
static struct blk_req *get_req(struct blk *blk)
{
	struct blk_req *r = blk->free_reqs;

	if (r)
		blk->free_reqs = r->next_free;
	else if (blk->pool_used < blk->pool_size)
		r = &blk->pool[blk->pool_used++];
	if (r)
		r->blk = blk;
	return r;
}

static void put_req(struct blk_req *r)
{
	r->next_free = r->blk->free_reqs;
	r->blk->free_reqs = r;
}

/* hand the buffer back: status byte last, @data bytes of it were filled */
static void finish(struct blk_req *r, uint8_t status, uint32_t data)
{
	struct blk *blk = r->blk;

	blk->count.errors += status == VIRTIO_BLK_S_IOERR;
	blk->touched |= 1U << r->q;
	vq_put(&blk->v, &r->b, r->b.in_len - 1, &status, 1);
	vq_push(&blk->v, r->q, &r->b, data + 1);
	put_req(r);
}

static void start(struct blk_req *r, enum disk_op op, uint64_t off, uint64_t len)
{
	const struct vq_buf *b = &r->b;

	r->disk = (struct disk_req){ .op = op, .off = off, .len = len, .iov = r->iov };
	if (op == DISK_READ)
		r->disk.iovs = disk_slice(b->iov + b->nout, b->nin, 0, len, r->iov);
	else if (op == DISK_WRITE)
		r->disk.iovs =
			disk_slice(b->iov, b->nout, sizeof(struct virtio_blk_outhdr), len, r->iov);
	disk_submit(r->blk->disk, &r->disk);
}

static void start_data(struct blk_req *r, enum disk_op op, uint64_t sector, uint64_t len)
{
	struct blk *blk = r->blk;
	uint64_t sectors = len / DISK_SECTOR;

	if (len % DISK_SECTOR || !range_fits(sector, sectors, blk->s.sectors) ||
	    (op == DISK_WRITE && blk->ro)) {
		finish(r, VIRTIO_BLK_S_IOERR, 0);
		return;
	}
	if (!len) {
		finish(r, VIRTIO_BLK_S_OK, 0);
		return;
	}
	*(op == DISK_READ ? &blk->count.reads : &blk->count.writes) += 1;
	*(op == DISK_READ ? &blk->count.bytes_read : &blk->count.bytes_written) += len;
	start(r, op, sector * DISK_SECTOR, len);
}

/* the next segment that is not empty; false when there is none */
static bool start_segment(struct blk_req *r, enum disk_op op)
{
	while (r->seg_at < r->segs) {
		const struct virtio_blk_discard_write_zeroes *s = &r->seg[r->seg_at++];
		uint32_t sectors = le32toh(s->num_sectors);

		if (!sectors)
			continue;
		r->disk = (struct disk_req){
			.op = op,
			.off = le64toh(s->sector) * DISK_SECTOR,
			.len = (uint64_t)sectors * DISK_SECTOR,
			.unmap = le32toh(s->flags) & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
		};
		if (op == DISK_ZERO) /* where the host cannot zero, it writes */
			limiter_charge_bytes(&r->blk->limit, r->disk.len, now_ns());
		disk_submit(r->blk->disk, &r->disk);
		return true;
	}
	return false;
}

static uint8_t check_segments(const struct blk_req *r, uint32_t flags)
{
	for (unsigned i = 0; i < r->segs; i++) {
		const struct virtio_blk_discard_write_zeroes *s = &r->seg[i];
		uint32_t sectors = le32toh(s->num_sectors);

		if (le32toh(s->flags) & ~flags)
			return VIRTIO_BLK_S_UNSUPP;
		if (sectors > SEG_SECTORS ||
		    !range_fits(le64toh(s->sector), sectors, r->blk->s.sectors))
			return VIRTIO_BLK_S_IOERR;
	}
	return VIRTIO_BLK_S_OK;
}

static void start_segments(struct blk_req *r, enum disk_op op)
{
	struct blk *blk = r->blk;
	size_t len = r->b.out_len - sizeof(struct virtio_blk_outhdr);
	uint8_t status;

	if (!len || len % sizeof(r->seg[0]) || len > sizeof(r->seg) || blk->ro) {
		finish(r, VIRTIO_BLK_S_IOERR, 0);
		return;
	}
	vq_get(&r->b, sizeof(struct virtio_blk_outhdr), r->seg, len);
	r->segs = (unsigned)(len / sizeof(r->seg[0]));
	r->seg_at = 0;
	status = check_segments(r, op == DISK_ZERO ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0);
	if (!status)
		*(op == DISK_ZERO ? &blk->count.zeroes : &blk->count.discards) += 1;
	if (status || !start_segment(r, op))
		finish(r, status, 0);
}

static void get_id(struct blk_req *r)
{
	size_t n = vq_put(&r->blk->v, &r->b, 0, r->blk->serial,
			  MIN(r->b.in_len - 1U, (unsigned)SERIAL_BYTES));

	finish(r, VIRTIO_BLK_S_OK, (uint32_t)n);
}

/* what is not offered is not served */
static bool is_offered(const struct blk_req *r, unsigned feature)
{
	return r->blk->v.features >> feature & 1;
}

static void serve(struct blk_req *r)
{
	struct virtio_blk_outhdr h;

	if (vq_get(&r->b, 0, &h, sizeof(h)) != sizeof(h)) {
		finish(r, VIRTIO_BLK_S_IOERR, 0);
		return;
	}
	switch (le32toh(h.type)) {
	case VIRTIO_BLK_T_IN:
		start_data(r, DISK_READ, le64toh(h.sector), r->b.in_len - 1);
		return;
	case VIRTIO_BLK_T_OUT:
		start_data(r, DISK_WRITE, le64toh(h.sector), r->b.out_len - sizeof(h));
		return;
	case VIRTIO_BLK_T_FLUSH:
		if (!is_offered(r, VIRTIO_BLK_F_FLUSH))
			break;
		r->blk->count.flushes++;
		start(r, DISK_FLUSH, 0, 0);
		return;
	case VIRTIO_BLK_T_DISCARD:
		if (!is_offered(r, VIRTIO_BLK_F_DISCARD))
			break;
		start_segments(r, DISK_DISCARD);
		return;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		if (!is_offered(r, VIRTIO_BLK_F_WRITE_ZEROES))
			break;
		start_segments(r, DISK_ZERO);
		return;
	case VIRTIO_BLK_T_GET_ID:
		get_id(r);
		return;
	}
	finish(r, VIRTIO_BLK_S_UNSUPP, 0);
}

/* the host may lose what the driver takes as safe, because it does not know of flushes */
static bool wants_flush(const struct blk_req *r, enum disk_op op)
{
	return op != DISK_READ && op != DISK_FLUSH && is_offered(r, VIRTIO_BLK_F_FLUSH) &&
	       !vdev_has(&r->blk->v, VIRTIO_BLK_F_FLUSH);
}

/* one request of the disk is done */
static void disk_done(struct blk *blk, struct disk_req *dr)
{
	static const char *const names[] = { "read", "write", "flush", "discard",
					     "write of zeroes" };
	struct blk_req *r = container_of(dr, struct blk_req, disk);
	uint32_t data = dr->op == DISK_READ ? r->b.in_len - 1 : 0;

	if (data) /* also where the read failed half way */
		vq_dirty(&blk->v, &r->b, 0, data);
	if (dr->result)
		log_guest(&blk->v.dev.log, "%s: %s at byte %lu: %s", blk->v.dev.name, names[dr->op],
			  dr->off, strerror(-dr->result));
	else if (dr->op >= DISK_DISCARD && start_segment(r, dr->op))
		return;
	if (!dr->result && wants_flush(r, dr->op)) {
		start(r, DISK_FLUSH, 0, 0);
		return;
	}
	finish(r, dr->result ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK, dr->result ? 0 : data);
}

/* false when the next buffer has to stay where it is */
static bool may_go(struct blk *blk, struct blk_req *r, uint64_t now)
{
	uint64_t at = limiter_is_on(&blk->limit) ? limiter_wait(&blk->limit, now) : 0;
	uint64_t len = (uint64_t)r->b.in_len + r->b.out_len;

	if (!at) {
		len -= MIN(len, 1 + sizeof(struct virtio_blk_outhdr));
		limiter_charge(&blk->limit, len, now);
		return true;
	}
	vq_unpop(&blk->v, r->q, 1);
	blk->waiting |= 1U << r->q;
	loop_timer_set(blk->v.dev.m->loop, &blk->timer, at);
	return false;
}

/* pop one and begin it; false when the queue gives no more for now */
static bool take(struct blk *blk, unsigned q, uint64_t now)
{
	struct blk_req *r = get_req(blk);

	if (!r) {
		blk->waiting |= 1U << q;
		return false;
	}
	r->q = q;
	if (!vq_pop(&blk->v, q, &r->b)) {
		put_req(r);
		return false;
	}
	if (!r->b.in_len) {
		vq_drop(&blk->v, &r->b);
		vdev_broken(&blk->v, "a request without a status byte");
		put_req(r);
		return false;
	}
	if (!may_go(blk, r, now)) {
		put_req(r);
		return false;
	}
	serve(r);
	return true;
}

static void take_all(struct blk *blk, unsigned q)
{
	uint64_t now = limiter_is_on(&blk->limit) ? now_ns() : 0;
	unsigned budget = VQ_MAX;

	blk->waiting &= ~(1U << q);
	/* what is answered at once goes back to the pool, so a guest that is quick has no end */
	while (budget && take(blk, q, now))
		budget--;
	if (!budget)
		vdev_notify(&blk->v, q); /* the rest after a look at everything else */
}

/* hand over, take back, interrupt */
static void go(struct blk *blk)
{
	struct disk_req *dr;

	disk_go(blk->disk);
	while ((dr = disk_reap(blk->disk)))
		disk_done(blk, dr);
	for (unsigned q = 0; blk->touched; q++) {
		if (!(blk->touched >> q & 1))
			continue;
		blk->touched &= ~(1U << q);
		vq_notify(&blk->v, q);
	}
	blk->count.limited = blk->limit.waits;
	blk->count.host_calls = disk_calls(blk->disk);
	/* buffers that found no request may find one now; those over the limit have a timer */
	for (unsigned q = 0; blk->waiting && !blk->timer.at && q < blk->queues; q++)
		if (blk->waiting >> q & 1 && blk->v.inflight < blk->pool_size)
			vdev_notify(&blk->v, q);
}

/* in turns: a timer comes with leave for one request or so, and no queue is to have them all */
static void take_waiting(struct blk *blk)
{
	uint32_t waiting = blk->waiting;
	unsigned first = blk->turn;
	bool moved = false;

	for (unsigned i = 0; i < blk->queues; i++) {
		unsigned q = (first + i) % blk->queues;

		if (!(waiting >> q & 1))
			continue;
		if (!moved)
			blk->turn = (q + 1) % blk->queues;
		moved = true;
		take_all(blk, q);
	}
}

static void kick(struct vdev *v, unsigned q)
{
	struct blk *blk = container_of(v, struct blk, v);

	take_all(blk, q);
	go(blk);
}

/* on the loop: the disk has finished something */
static void on_ready(void *arg)
{
	struct blk *blk = arg;

	dev_lock(&blk->v.dev);
	go(blk);
	dev_unlock(&blk->v.dev);
}

static void on_timer(void *arg)
{
	struct blk *blk = arg;

	dev_lock(&blk->v.dev);
	take_waiting(blk);
	go(blk);
	dev_unlock(&blk->v.dev);
}

static size_t config(struct vdev *v, const void **ret)
{
	struct blk *blk = container_of(v, struct blk, v);

	*ret = &blk->config;
	return sizeof(blk->config);
}

/* with the lock, on a vCPU's thread perhaps: a timer that is set finds nothing to do */
static void blk_reset(struct vdev *v)
{
	container_of(v, struct blk, v)->waiting = 0;
}

static const struct vdev_type blk_vtype = {
	.id = 2,
	.kick = kick,
	.reset = blk_reset,
	.config = config,
};

static void fill_config(struct blk *blk)
{
	bool discard = disk_can_discard(blk->disk);

	blk->config = (struct virtio_blk_config){
		.capacity = htole64(blk->s.sectors),
		.seg_max = htole32(VQ_IOV_MAX - 2),
		.blk_size = htole32(DISK_SECTOR),
		/* larger blocks do not need a copy, neither here nor on the host */
		.physical_block_exp = 3,
		.min_io_size = htole16(PAGE_SECTORS),
		.num_queues = htole16((uint16_t)blk->queues),
	};
	if (discard) {
		blk->config.max_discard_sectors = htole32(SEG_SECTORS);
		blk->config.max_discard_seg = htole32(SEGMENTS);
		blk->config.discard_sector_alignment = htole32(PAGE_SECTORS);
	}
	if (!blk->ro) {
		blk->config.max_write_zeroes_sectors = htole32(SEG_SECTORS);
		blk->config.max_write_zeroes_seg = htole32(SEGMENTS);
		blk->config.write_zeroes_may_unmap = discard;
	}
}

static uint64_t offered(const struct blk *blk, const struct conf_disk *conf)
{
	uint64_t features = 1ULL << VIRTIO_BLK_F_SEG_MAX | 1ULL << VIRTIO_BLK_F_BLK_SIZE |
			    1ULL << VIRTIO_BLK_F_TOPOLOGY;

	/* without it the guest takes each write as durable, and with writethrough it is */
	if (conf->cache != CACHE_WRITETHROUGH)
		features |= 1ULL << VIRTIO_BLK_F_FLUSH;
	if (blk->queues > 1)
		features |= 1ULL << VIRTIO_BLK_F_MQ;
	if (disk_can_discard(blk->disk))
		features |= 1ULL << VIRTIO_BLK_F_DISCARD;
	return features | (blk->ro ? 1ULL << VIRTIO_BLK_F_RO : 1ULL << VIRTIO_BLK_F_WRITE_ZEROES);
}

static int make_pool(struct blk *blk)
{
	blk->pool_size = VQ_MAX * blk->queues;
	blk->pool = calloc(blk->pool_size, sizeof(*blk->pool));
	if (!blk->pool)
		return err(-ENOMEM, "%s: out of memory", blk->v.dev.name);
	return 0;
}

static void set_limit(struct blk *blk, const struct conf_disk *conf)
{
	limit_set(&blk->limit.bytes, conf->bw, conf->bw_burst);
	limit_set(&blk->limit.ops, conf->iops, conf->iops_burst);
}

static int blk_create(struct dev *dev, const void *conf)
{
	struct blk *blk = to_blk(dev);
	const struct vdev_place *place = conf;
	const struct conf_disk *disk = place->conf;
	int r;

	blk->ro = disk->ro;
	blk->queues = MIN(MAX(disk->queues, 1U), (unsigned)QUEUES);
	memcpy(blk->serial, disk->serial, strnlen(disk->serial, SERIAL_BYTES));
	blk->timer = (struct loop_timer){ .fn = on_timer, .arg = blk };
	set_limit(blk, disk);
	blk->disk = disk_open(dev->m->loop, disk, on_ready, blk);
	if (!blk->disk)
		return -EINVAL;
	blk->s.sectors = disk_sectors(blk->disk);
	blk->count.engine = disk_engine(blk->disk);
	fill_config(blk);
	r = make_pool(blk);
	if (!r)
		r = vdev_init(&blk->v, &blk_vtype, offered(blk, disk), blk->queues, place);
	DEV_PART(dev, "blk", blk_fields, &blk->s);
	dev_counters(dev, counter_fields, &blk->count);
	return r;
}

static int blk_loaded(struct dev *dev)
{
	struct blk *blk = to_blk(dev);
	int r = vdev_loaded(&blk->v);

	if (!r && blk->s.sectors > disk_sectors(blk->disk))
		r = err(-EINVAL,
			"snapshot: %s: the guest knows %lu sectors, the image has only %lu",
			dev->name, blk->s.sectors, disk_sectors(blk->disk));
	fill_config(blk);
	return r;
}

static int blk_configure(struct dev *dev, const void *conf)
{
	struct blk *blk = to_blk(dev);

	set_limit(blk, conf);
	loop_timer_cancel(dev->m->loop, &blk->timer);
	go(blk); /* looks at queues that wait: those that still have to set the timer again */
	return 0;
}

static void blk_destroy(struct dev *dev)
{
	struct blk *blk = to_blk(dev);

	vdev_destroy(&blk->v);
	loop_timer_cancel(dev->m->loop, &blk->timer);
	disk_close(blk->disk);
	free(blk->pool);
}

const struct dev_type blk_type = {
	.name = "blk",
	.size = sizeof(struct blk),
	.create = blk_create,
	.reset = vdev_power_on,
	.drain = vdev_drain,
	.loaded = blk_loaded,
	.resume = vdev_resume,
	.configure = blk_configure,
	.destroy = blk_destroy,
};
