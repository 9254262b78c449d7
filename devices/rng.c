/*
 * rng.c - virtio-rng: random bytes of the host's kernel
 *
 * A request is answered with as much as was asked for, at most 64 KiB, so that
 * one cannot occupy the loop; and only so much is served on one kick, the rest
 * after a look at everything else.  Before the host's pool is ready, which is
 * once after it boots, requests stay in the ring and are looked at again later.
 *
 * #syscalls getrandom
 */
#include <sys/random.h>

#include "devices.h"
#include "virtio.h"

#define QUEUE	    0
#define REQUEST_MAX (64U << 10)
#define KICK_BYTES  (256U << 10)
#define KICK_MOST   64
#define RETRY_NS    (100ULL * 1000000)

struct rng_counters {
	uint64_t requests, bytes;
};

static const struct field counter_fields[] = {
	F_UINT(struct rng_counters, requests),
	F_UINT(struct rng_counters, bytes),
	F_END,
};

struct rng {
	struct vdev v;
	struct loop_timer retry;
	struct rng_counters count;
};

/* up to @most bytes into the in part of @b: how many, or -errno if none are to be had now */
static int fill(struct rng *rng, const struct vq_buf *b, uint32_t most)
{
	const struct iovec *iov = b->iov + b->nout;
	uint32_t done = 0;
	ssize_t n = 0;

	for (unsigned i = 0; i < b->nin && done < most; i++) {
		size_t want = MIN(iov[i].iov_len, most - done);

		n = getrandom(iov[i].iov_base, want, GRND_NONBLOCK);
		if (n > 0)
			done += (uint32_t)n;
		if (n < (ssize_t)want)
			break; /* fewer bytes are an answer, too */
	}
	vq_dirty(&rng->v, b, 0, done);
	return done ? (int)done : -errno;
}

static void kick(struct vdev *v, unsigned q)
{
	struct rng *rng = container_of(v, struct rng, v);
	unsigned left = KICK_BYTES, budget = KICK_MOST;
	struct vq_buf b;

	while (left && budget-- && vq_pop(v, q, &b)) {
		int n;

		if (!b.in_len) {
			vq_drop(v, &b);
			vdev_broken(v, "a request for random bytes without room for any");
			return;
		}
		n = fill(rng, &b, MIN(REQUEST_MAX, left));
		if (n < 0) {
			vq_unpop(v, q, 1);
			loop_timer_set(v->dev.m->loop, &rng->retry, now_ns() + RETRY_NS);
			break;
		}
		vq_push(v, q, &b, (uint32_t)n);
		rng->count.requests++;
		rng->count.bytes += (unsigned)n;
		left -= (unsigned)n;
		if (!left || !budget)
			vdev_notify(v, q); /* the rest after a look at everything else */
	}
	vq_notify(v, q);
}

static void on_retry(void *arg)
{
	vdev_notify(arg, QUEUE);
}

static const struct vdev_type rng_vtype = {
	.id = 4,
	.kick = kick,
};

static int rng_create(struct dev *dev, const void *conf)
{
	struct rng *rng = container_of(to_vdev(dev), struct rng, v);

	rng->retry = (struct loop_timer){ .fn = on_retry, .arg = &rng->v };
	dev_counters(dev, counter_fields, &rng->count);
	return vdev_init(&rng->v, &rng_vtype, 0, 1, conf);
}

static int rng_loaded(struct dev *dev)
{
	return vdev_loaded(to_vdev(dev));
}

static void rng_destroy(struct dev *dev)
{
	struct rng *rng = container_of(to_vdev(dev), struct rng, v);

	loop_timer_cancel(dev->m->loop, &rng->retry);
	vdev_destroy(&rng->v);
}

const struct dev_type rng_type = {
	.name = "rng",
	.size = sizeof(struct rng),
	.create = rng_create,
	.reset = vdev_power_on,
	.drain = vdev_drain,
	.loaded = rng_loaded,
	.resume = vdev_resume,
	.destroy = rng_destroy,
};
