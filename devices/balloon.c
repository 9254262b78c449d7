/*
 * balloon.c - virtio-balloon: memory the guest gives back, free page reports, statistics
 *
 * 1. Which queue is which follows from the features the driver took, without
 *    gaps: inflate, deflate, then statistics and reports as far as negotiated.
 * 2. What a buffer names is checked as a whole page of RAM before it is given
 *    back; runs of neighbours go back in one piece.  What is not RAM breaks the
 *    device.  Pages of a deflated balloon need nothing: they appear when used.
 * 3. A kick does a bounded amount of work, in the middle of a chain if need be:
 *    that chain returns to the ring, `done` remembers how far it got, and the
 *    next kick goes on.  Nothing is in flight between two kicks, so nothing of
 *    this is state: after a restore a chain begins anew, and discarding a page
 *    twice is discarding it, because the guest does not have it back yet.
 * 4. The buffer with the statistics stays in the ring.  It is read when it
 *    arrives and returned when the next reading is due, which asks the guest to
 *    send it again.  A guest that does not answer is not asked again.
 *
 */
#include <endian.h>
#include <linux/virtio_balloon.h>

#include "conf.h"
#include "devices.h"
#include "virtio.h"

#define PAGE	     (1U << VIRTIO_BALLOON_PFN_SHIFT)
#define QUEUES_FIRST 2 /* that every driver has */
#define KICK_PFNS    1024
#define KICK_BYTES   (16ULL * MiB) /* of reported memory */
#define KICK_MOST    64		   /* buffers */
#define PFNS_READ    256
#define STATS_MOST   256
#define SECOND_NS    1000000000ULL

_Static_assert(PAGE == GMEM_PAGE, "a page of the balloon is one of memory");

enum role { INFLATE, DEFLATE, STATS, REPORT, NO_ROLE };

struct balloon_state {
	uint32_t target; /* pages, what the guest was told */
	uint32_t actual; /* pages, what it said it gave */
};

static const struct field balloon_fields[] = {
	F_UINT(struct balloon_state, target),
	F_UINT(struct balloon_state, actual),
	F_END,
};

/* bytes, but for faults and hugetlb pages; statistics are the guest's word */
struct balloon_counters {
	uint64_t actual, inflated, deflated, reported, readings;
	uint64_t free, total, available, caches, swap_in, swap_out;
	uint64_t major_faults, minor_faults, hugetlb_allocations, hugetlb_failures;
};

#define C(f) F_UINT(struct balloon_counters, f)
static const struct field counter_fields[] = {
	C(actual),
	C(inflated),
	C(deflated),
	C(reported),
	C(readings),
	C(free),
	C(total),
	C(available),
	C(caches),
	C(swap_in),
	C(swap_out),
	C(major_faults),
	C(minor_faults),
	C(hugetlb_allocations),
	C(hugetlb_failures),
	F_END,
};

/* where the value of a tag is shown; other tags are newer than we are */
static const uint16_t stat_at[] = {
	[VIRTIO_BALLOON_S_SWAP_IN] = offsetof(struct balloon_counters, swap_in),
	[VIRTIO_BALLOON_S_SWAP_OUT] = offsetof(struct balloon_counters, swap_out),
	[VIRTIO_BALLOON_S_MAJFLT] = offsetof(struct balloon_counters, major_faults),
	[VIRTIO_BALLOON_S_MINFLT] = offsetof(struct balloon_counters, minor_faults),
	[VIRTIO_BALLOON_S_MEMFREE] = offsetof(struct balloon_counters, free),
	[VIRTIO_BALLOON_S_MEMTOT] = offsetof(struct balloon_counters, total),
	[VIRTIO_BALLOON_S_AVAIL] = offsetof(struct balloon_counters, available),
	[VIRTIO_BALLOON_S_CACHES] = offsetof(struct balloon_counters, caches),
	[VIRTIO_BALLOON_S_HTLB_PGALLOC] = offsetof(struct balloon_counters, hugetlb_allocations),
	[VIRTIO_BALLOON_S_HTLB_PGFAIL] = offsetof(struct balloon_counters, hugetlb_failures),
};

struct balloon {
	struct vdev v;
	struct balloon_state s;
	struct virtio_balloon_config config;
	uint32_t stats_s; /* seconds between two readings; 0: none */
	struct loop_timer timer;
	uint64_t done[NO_ROLE]; /* bytes of the first chain that are worked off */
	struct balloon_counters count;
};

static enum role role_of(const struct vdev *v, unsigned q)
{
	unsigned next = QUEUES_FIRST;

	if (q < QUEUES_FIRST)
		return q == 0 ? INFLATE : DEFLATE;
	if (vdev_has(v, VIRTIO_BALLOON_F_STATS_VQ) && q == next++)
		return STATS;
	if (vdev_has(v, VIRTIO_BALLOON_F_REPORTING) && q == next)
		return REPORT;
	return NO_ROLE;
}

/* give whole pages back; the host may be unable to, and then they stay */
static uint64_t give_back(struct balloon *b, gpa_t gpa, uint64_t len)
{
	return len && !gmem_discard(b->v.dev.m->mem, gpa, len) ? len : 0;
}

/* pages that lie side by side, in whichever order they are named */
struct run {
	uint64_t first, end; /* pages */
};

static void run_out(struct balloon *b, struct run *r)
{
	b->count.inflated += give_back(b, r->first * PAGE, (r->end - r->first) * PAGE);
	*r = (struct run){ 0, 0 };
}

static void run_add(struct balloon *b, struct run *r, uint64_t pfn)
{
	if (r->end > r->first && pfn == r->end) {
		r->end++;
	} else if (r->end > r->first && pfn + 1 == r->first) {
		r->first--;
	} else {
		run_out(b, r);
		*r = (struct run){ pfn, pfn + 1 };
	}
}

/* an array of page numbers from byte @at on: where it stopped */
static uint64_t inflate(struct balloon *b, const struct vq_buf *buf, uint64_t at, uint64_t *left)
{
	const struct gmem *mem = b->v.dev.m->mem;
	struct run run = { 0, 0 };
	__le32 pfns[PFNS_READ];

	while (*left && buf->out_len - at >= sizeof(pfns[0])) {
		size_t n = vq_get(buf, at, pfns, sizeof(pfns[0]) * MIN(*left, PFNS_READ)) /
			   sizeof(pfns[0]);

		for (size_t i = 0; i < n; i++) {
			uint64_t pfn = le32toh(pfns[i]);

			if (!gmem_is_ram(mem, pfn * PAGE, PAGE)) {
				vdev_broken(&b->v, "a page for the balloon outside memory");
				break;
			}
			run_add(b, &run, pfn);
		}
		if (!vdev_is_live(&b->v))
			break;
		at += n * sizeof(pfns[0]);
		*left -= n;
	}
	run_out(b, &run);
	/* a rest of less than a number names nothing */
	return buf->out_len - at < sizeof(pfns[0]) ? buf->out_len : at;
}

/* memory that is free for as long as the guest does not have the buffer back */
static uint64_t report(struct balloon *b, const struct vq_buf *buf, uint64_t at, uint64_t *left)
{
	const struct iovec *iov = buf->iov + buf->nout;
	uint64_t skip = at;

	for (unsigned i = 0; i < buf->nin && *left; i++) {
		uint64_t n, first, end;
		gpa_t gpa;

		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		gpa = gmem_gpa(b->v.dev.m->mem, iov[i].iov_base) + skip;
		n = iov[i].iov_len - skip;
		if (n > *left) { /* cut between pages, so that none falls through */
			end = (gpa + *left) & ~(uint64_t)(PAGE - 1);
			n = *left = end > gpa ? end - gpa : 0;
		}
		skip = 0;
		at += n;
		*left -= n;
		/* whole pages only: what shares a page with it is in use */
		first = align_up(gpa, PAGE);
		end = (gpa + n) & ~(uint64_t)(PAGE - 1);
		if (end > first)
			b->count.reported += give_back(b, first, end - first);
	}
	return at;
}

/* buffers of queue @q, each through @work, at most @left of whatever it counts in */
static void serve(struct balloon *b, unsigned q, enum role role, uint64_t left,
		  uint64_t (*work)(struct balloon *, const struct vq_buf *, uint64_t, uint64_t *))
{
	unsigned budget = KICK_MOST;
	struct vq_buf buf;

	while (left && budget && vq_pop(&b->v, q, &buf)) {
		uint64_t size = role == REPORT ? buf.in_len : buf.out_len;
		/* the guest may have put another chain in its place */
		uint64_t at = work(b, &buf, MIN(b->done[role], size), &left);

		if (at < size && vdev_is_live(&b->v)) {
			b->done[role] = at;
			vq_unpop(&b->v, q, 1);
			break;
		}
		b->done[role] = 0;
		vq_push(&b->v, q, &buf, 0);
		budget--;
	}
	if (!left || !budget)
		vdev_notify(&b->v, q); /* the rest after a look at everything else */
	vq_notify(&b->v, q);
}

static void deflate(struct balloon *b, unsigned q)
{
	unsigned budget = KICK_MOST;
	struct vq_buf buf;

	while (budget && vq_pop(&b->v, q, &buf)) {
		b->count.deflated += buf.out_len / sizeof(__le32) * (uint64_t)PAGE;
		vq_push(&b->v, q, &buf, 0);
		if (!--budget)
			vdev_notify(&b->v, q);
	}
	vq_notify(&b->v, q);
}

/* read what waits in the ring and leave it there; false if nothing does */
static bool read_stats(struct balloon *b, unsigned q)
{
	struct virtio_balloon_stat stat[STATS_MOST];
	struct vq_buf buf;
	size_t n;

	if (!vq_pop(&b->v, q, &buf))
		return false;
	n = vq_get(&buf, 0, stat, sizeof(stat)) / sizeof(stat[0]);
	vq_unpop(&b->v, q, 1);
	for (size_t i = 0; i < n; i++) {
		uint16_t tag = le16toh(stat[i].tag);

		if (tag < ARRAY_SIZE(stat_at))
			*(uint64_t *)(void *)((char *)&b->count + stat_at[tag]) =
				le64toh(stat[i].val);
	}
	b->count.readings++;
	return true;
}

static void stats(struct balloon *b, unsigned q)
{
	if (read_stats(b, q) && b->stats_s && !b->timer.at)
		loop_timer_set(b->v.dev.m->loop, &b->timer, now_ns() + b->stats_s * SECOND_NS);
}

/* the next reading is due */
static void on_timer(void *arg)
{
	struct balloon *b = arg;
	const unsigned q = QUEUES_FIRST;
	struct vq_buf buf;

	dev_lock(&b->v.dev);
	if (b->stats_s && role_of(&b->v, q) == STATS && vq_pop(&b->v, q, &buf)) {
		vq_push(&b->v, q, &buf, 0);
		vq_notify(&b->v, q);
		stats(b, q); /* nothing, mostly, but it asks for the kick */
	}
	dev_unlock(&b->v.dev);
}

static void kick(struct vdev *v, unsigned q)
{
	struct balloon *b = container_of(v, struct balloon, v);
	enum role role = role_of(v, q);

	switch (role) {
	case INFLATE:
		serve(b, q, role, KICK_PFNS, inflate);
		return;
	case DEFLATE:
		deflate(b, q);
		return;
	case STATS:
		stats(b, q);
		return;
	case REPORT:
		serve(b, q, role, KICK_BYTES, report);
		return;
	case NO_ROLE:
		if (v->s.vq[q].ready)
			vdev_broken(v, "a queue of a feature that it did not take");
		return;
	}
}

static void reset(struct vdev *v)
{
	struct balloon *b = container_of(v, struct balloon, v);

	/* its pages are the guest's again: nothing keeps it from using them */
	b->s.actual = 0;
	b->count.actual = 0;
	memset(b->done, 0, sizeof(b->done));
}

static size_t config(struct vdev *v, const void **ret)
{
	struct balloon *b = container_of(v, struct balloon, v);

	b->config.num_pages = htole32(b->s.target);
	b->config.actual = htole32(b->s.actual);
	*ret = &b->config;
	return offsetof(struct virtio_balloon_config, free_page_hint_cmd_id);
}

static void config_write(struct vdev *v, uint64_t off, unsigned len, uint64_t val)
{
	struct balloon *b = container_of(v, struct balloon, v);

	if (off != offsetof(struct virtio_balloon_config, actual) || len != sizeof(b->s.actual))
		return; /* the target is not the guest's to change */
	b->s.actual = (uint32_t)val;
	b->count.actual = (uint64_t)b->s.actual * PAGE;
}

static const struct vdev_type balloon_vtype = {
	.id = 5,
	.features = 1ULL << VIRTIO_BALLOON_F_STATS_VQ,
	.kick = kick,
	.reset = reset,
	.config = config,
	.config_write = config_write,
};

static uint32_t pages_of(const struct conf_balloon *conf)
{
	return (uint32_t)MIN(conf->size / PAGE, UINT32_MAX);
}

static int balloon_configure(struct dev *dev, const void *arg)
{
	struct balloon *b = container_of(to_vdev(dev), struct balloon, v);
	const struct conf_balloon *conf = arg;

	if (conf->stats != b->stats_s) {
		b->stats_s = conf->stats;
		loop_timer_cancel(dev->m->loop, &b->timer);
		if (role_of(&b->v, QUEUES_FIRST) == STATS)
			vdev_notify(&b->v, QUEUES_FIRST); /* sets the timer anew */
	}
	if (pages_of(conf) != b->s.target) {
		b->s.target = pages_of(conf);
		vdev_config_changed(&b->v);
	}
	return 0;
}

static int balloon_create(struct dev *dev, const void *arg)
{
	struct balloon *b = container_of(to_vdev(dev), struct balloon, v);
	const struct vdev_place *place = arg;
	const struct conf_balloon *conf = place->conf;
	uint64_t features = balloon_vtype.features;
	int r;

	if (conf->deflate_on_oom)
		features |= 1ULL << VIRTIO_BALLOON_F_DEFLATE_ON_OOM;
	if (conf->reporting)
		features |= 1ULL << VIRTIO_BALLOON_F_REPORTING;
	b->s.target = pages_of(conf);
	b->stats_s = conf->stats;
	b->timer = (struct loop_timer){ .fn = on_timer, .arg = b };
	r = vdev_init(&b->v, &balloon_vtype, features, QUEUES_FIRST + 1U + conf->reporting, place);
	DEV_PART(dev, "balloon", balloon_fields, &b->s);
	dev_counters(dev, counter_fields, &b->count);
	return r;
}

static int balloon_loaded(struct dev *dev)
{
	struct balloon *b = container_of(to_vdev(dev), struct balloon, v);

	memset(b->done, 0, sizeof(b->done));
	b->count.actual = (uint64_t)b->s.actual * PAGE;
	return vdev_loaded(&b->v);
}

static void balloon_destroy(struct dev *dev)
{
	struct balloon *b = container_of(to_vdev(dev), struct balloon, v);

	loop_timer_cancel(dev->m->loop, &b->timer);
	vdev_destroy(&b->v);
}

const struct dev_type balloon_type = {
	.name = "balloon",
	.size = sizeof(struct balloon),
	.create = balloon_create,
	.reset = vdev_power_on,
	.drain = vdev_drain,
	.loaded = balloon_loaded,
	.resume = vdev_resume,
	.configure = balloon_configure,
	.destroy = balloon_destroy,
};
