/*
 * blk.c - virtio-blk
 *
 * A request is a chain: 16 bytes of header to read, data, one status byte to
 * write.  Its data iovecs go to the disk as they are, without the header and
 * the status byte.  Every request is completed, the wrong ones with an error;
 * a chain with no room for a status breaks the device.
 */
#include <endian.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>

#include "conf.h"
#include "devices.h"
#include "disk.h"
#include "virtio.h"

#define SERIAL_BYTES VIRTIO_BLK_ID_BYTES
#define QUEUE	     0

struct blk_state {
	uint64_t sectors; /* what the guest was told */
};

static const struct field blk_fields[] = { F_UINT(struct blk_state, sectors), F_END };

struct blk_req {
	struct vq_buf b;
	struct iovec iov[VQ_IOV_MAX]; /* the data; the disk uses it up */
	struct disk_req disk;
	struct blk *blk;
	struct blk_req *next_free;
};

struct blk {
	struct vdev v;
	struct blk_state s;
	bool ro;
	char serial[SERIAL_BYTES + 1];
	struct disk *disk;
	struct virtio_blk_config config;
	/* VQ_MAX requests of 4 KiB; those never used are never touched */
	struct blk_req *pool, *free_reqs;
	unsigned pool_used;
};

static struct blk *to_blk(struct dev *dev)
{
	return container_of(to_vdev(dev), struct blk, v);
}

/* NULL when VQ_MAX are under way */
static struct blk_req *get_req(struct blk *blk)
{
	struct blk_req *r = blk->free_reqs;

	if (r)
		blk->free_reqs = r->next_free;
	else if (blk->pool_used < VQ_MAX)
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

	vq_put(&blk->v, &r->b, r->b.in_len - 1, &status, 1);
	vq_push(&blk->v, QUEUE, &r->b, data + 1);
	put_req(r);
}

static void kick(struct vdev *v, unsigned q);

/* on the loop: one request of the disk is done */
static void disk_done(struct disk_req *dr)
{
	struct blk_req *r = container_of(dr, struct blk_req, disk);
	struct blk *blk = r->blk;
	struct vdev *v = &blk->v;
	uint32_t data = dr->op == DISK_READ ? r->b.in_len - 1 : 0;
	bool starved;

	dev_lock(&v->dev);
	if (data) /* also where the read failed half way */
		vq_dirty(v, &r->b, 0, data);
	if (dr->result)
		log_guest(&v->dev.log, "%s: %s at byte %lu: %s", v->dev.name,
			  dr->op == DISK_READ	 ? "read"
			  : dr->op == DISK_WRITE ? "write"
						 : "flush",
			  dr->off, strerror(-dr->result));
	starved = !blk->free_reqs && blk->pool_used == VQ_MAX;
	finish(r, dr->result ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK, dr->result ? 0 : data);
	vq_notify(v, QUEUE);
	if (starved) /* buffers may wait that found no request before */
		kick(v, QUEUE);
	dev_unlock(&v->dev);
}

/* @len bytes of iov[] from @off on, into @to: pieces */
static unsigned slice(const struct iovec *iov, unsigned n, size_t off, size_t len, struct iovec *to)
{
	unsigned k = 0;

	for (; n && len; iov++, n--) {
		size_t take;

		if (off >= iov->iov_len) {
			off -= iov->iov_len;
			continue;
		}
		take = MIN(iov->iov_len - off, len);
		to[k++] = (struct iovec){ (char *)iov->iov_base + off, take };
		len -= take;
		off = 0;
	}
	return k;
}

static void start(struct blk_req *r, enum disk_op op, uint64_t off, uint64_t len)
{
	const struct vq_buf *b = &r->b;

	r->disk = (struct disk_req){
		.op = op, .off = off, .len = len, .iov = r->iov, .done = disk_done
	};
	if (op == DISK_READ)
		r->disk.iovs = slice(b->iov + b->nout, b->nin, 0, len, r->iov);
	else if (op == DISK_WRITE)
		r->disk.iovs =
			slice(b->iov, b->nout, sizeof(struct virtio_blk_outhdr), len, r->iov);
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
	if (!len)
		finish(r, VIRTIO_BLK_S_OK, 0);
	else
		start(r, op, sector * DISK_SECTOR, len);
}

static void get_id(struct blk_req *r)
{
	size_t n = vq_put(&r->blk->v, &r->b, 0, r->blk->serial,
			  MIN(r->b.in_len - 1U, (unsigned)SERIAL_BYTES));

	finish(r, VIRTIO_BLK_S_OK, (uint32_t)n);
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
		start(r, DISK_FLUSH, 0, 0);
		return;
	case VIRTIO_BLK_T_GET_ID:
		get_id(r);
		return;
	default:
		finish(r, VIRTIO_BLK_S_UNSUPP, 0);
	}
}

static void kick(struct vdev *v, unsigned q)
{
	struct blk *blk = container_of(v, struct blk, v);
	unsigned budget = VQ_MAX;
	struct blk_req *r;

	/* what is answered at once goes back to the pool, so a guest that is quick has no end */
	while (budget-- && (r = get_req(blk))) {
		if (!vq_pop(v, q, &r->b)) {
			put_req(r);
			break;
		}
		if (!r->b.in_len) {
			vq_drop(v, &r->b);
			vdev_broken(v, "a request without a status byte");
			put_req(r);
			break;
		}
		serve(r);
		if (!budget)
			vdev_notify(v, q); /* the rest after a look at everything else */
	}
	vq_notify(v, q);
}

static size_t config(struct vdev *v, const void **ret)
{
	struct blk *blk = container_of(v, struct blk, v);

	*ret = &blk->config;
	return sizeof(blk->config);
}

static const struct vdev_type blk_vtype = {
	.id = 2,
	.kick = kick,
	.config = config,
};

static void fill_config(struct blk *blk)
{
	blk->config = (struct virtio_blk_config){
		.capacity = htole64(blk->s.sectors),
		.seg_max = htole32(VQ_IOV_MAX - 2),
		.blk_size = htole32(DISK_SECTOR),
	};
}

static int make_pool(struct blk *blk)
{
	blk->pool = calloc(VQ_MAX, sizeof(*blk->pool));
	if (!blk->pool)
		return err(-ENOMEM, "%s: out of memory", blk->v.dev.name);
	return 0;
}

static int blk_create(struct dev *dev, const void *conf)
{
	struct blk *blk = to_blk(dev);
	const struct vdev_place *place = conf;
	const struct conf_disk *disk = place->conf;
	uint64_t features = 1ULL << VIRTIO_BLK_F_FLUSH | 1ULL << VIRTIO_BLK_F_SEG_MAX |
			    1ULL << VIRTIO_BLK_F_BLK_SIZE;
	int r;

	blk->ro = disk->ro;
	if (blk->ro)
		features |= 1ULL << VIRTIO_BLK_F_RO;
	memcpy(blk->serial, disk->serial, strnlen(disk->serial, SERIAL_BYTES));
	blk->disk = disk_open(dev->m->loop, disk->path, disk->ro);
	if (!blk->disk)
		return -EINVAL;
	blk->s.sectors = disk_sectors(blk->disk);
	fill_config(blk);
	r = make_pool(blk);
	if (!r)
		r = vdev_init(&blk->v, &blk_vtype, features, 1, place);
	DEV_PART(dev, "blk", blk_fields, &blk->s);
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

static void blk_destroy(struct dev *dev)
{
	struct blk *blk = to_blk(dev);

	vdev_destroy(&blk->v);
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
	.destroy = blk_destroy,
};
