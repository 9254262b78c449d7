/*
 * virtqueue.c - split rings, read as hostile input
 *
 * Nothing from the ring is used before it is copied and checked.  Loops are
 * bounded by the ring's size and VQ_IOV_MAX, never by guest data.  Ring
 * addresses were checked when the queue was made ready, and are checked again
 * by gmem at each access, because memory can be taken away between.
 */
#include <endian.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "virtio.h"

#define AVAIL_IDX(s)	 ((s)->avail + 2)
#define AVAIL_RING(s, i) ((s)->avail + 4 + 2 * (gpa_t)((i) & ((s)->size - 1)))
#define USED_EVENT(s)	 ((s)->avail + 4 + 2 * (gpa_t)(s)->size)
#define USED_IDX(s)	 ((s)->used + 2)
#define USED_RING(s, i)	 ((s)->used + 4 + 8 * (gpa_t)((i) & ((s)->size - 1)))
#define AVAIL_EVENT(s)	 ((s)->used + 4 + 8 * (gpa_t)(s)->size)

/* the walk along one chain */
struct walk {
	gpa_t table;
	uint32_t size, seen;
	bool indirect;
};

static bool add_piece(struct vdev *v, struct vq_buf *b, uint64_t addr, uint32_t len, bool in)
{
	unsigned n = (unsigned)b->nout + b->nin;
	int pieces;

	if (!in && b->nin) {
		vdev_broken(v, "a buffer to read stands behind one to write");
		return false;
	}
	if (len > UINT32_MAX - (in ? b->in_len : b->out_len)) {
		vdev_broken(v, "a chain of 4 GiB or more");
		return false;
	}
	if (!len)
		return true;
	pieces = gmem_iov(v->dev.m->mem, addr, len, &b->iov[n], VQ_IOV_MAX - n);
	if (pieces < 0) {
		vdev_broken(v, pieces == -E2BIG ? "a chain of too many buffers"
						: "a buffer outside memory");
		return false;
	}
	if (in) {
		b->nin += (uint16_t)pieces;
		b->in_len += len;
	} else {
		b->nout += (uint16_t)pieces;
		b->out_len += len;
	}
	return true;
}

static bool enter_indirect(struct vdev *v, struct walk *w, const struct vring_desc *e)
{
	uint32_t len = le32toh(e->len);

	if (!vdev_has(v, VIRTIO_RING_F_INDIRECT_DESC) || w->indirect ||
	    le16toh(e->flags) & VRING_DESC_F_NEXT || !len || len % sizeof(*e) ||
	    len / sizeof(*e) > VQ_IOV_MAX) {
		vdev_broken(v, "a bad indirect table");
		return false;
	}
	*w = (struct walk){ .table = le64toh(e->addr), .size = len / sizeof(*e), .indirect = true };
	return true;
}

static bool walk_chain(struct vdev *v, struct vq_buf *b, const struct vq_state *s)
{
	struct walk w = { .table = s->desc, .size = s->size };
	struct vring_desc e;

	for (uint32_t i = b->head;; i = le16toh(e.next)) {
		uint16_t flags;

		if (i >= w.size || w.seen++ >= w.size ||
		    gmem_read(v->dev.m->mem, w.table + i * sizeof(e), &e, sizeof(e))) {
			vdev_broken(v, "a descriptor outside its table, or a loop of them");
			return false;
		}
		flags = le16toh(e.flags);
		if (flags & VRING_DESC_F_INDIRECT) {
			if (!enter_indirect(v, &w, &e))
				return false;
			e.next = 0;
			continue;
		}
		if (!add_piece(v, b, le64toh(e.addr), le32toh(e.len), flags & VRING_DESC_F_WRITE))
			return false;
		if (!(flags & VRING_DESC_F_NEXT))
			return true;
	}
}

/* how many buffers wait; -1 after breaking the device */
static int waiting(struct vdev *v, struct vq_state *s)
{
	uint16_t idx;

	if (gmem_ld16(v->dev.m->mem, AVAIL_IDX(s), &idx)) {
		vdev_broken(v, "an available ring outside memory");
		return -1;
	}
	if ((uint16_t)(idx - s->next_avail) > s->size) {
		vdev_broken(v, "an available index more than a ring ahead");
		return -1;
	}
	return (uint16_t)(idx - s->next_avail);
}

/* the ring is empty: ask for a kick, then look again, because the driver may have looked before */
static int arm_and_look(struct vdev *v, struct vq_state *s)
{
	if (!vdev_has(v, VIRTIO_RING_F_EVENT_IDX))
		return 0;
	if (gmem_st16(v->dev.m->mem, AVAIL_EVENT(s), s->next_avail)) {
		vdev_broken(v, "a used ring outside memory");
		return -1;
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return waiting(v, s);
}

bool vq_pop(struct vdev *v, unsigned q, struct vq_buf *b)
{
	struct vq_state *s = &v->s.vq[q];
	uint16_t head;
	int n;

	if (!vdev_is_live(v) || v->quiet || !s->ready)
		return false;
	n = waiting(v, s);
	if (!n)
		n = arm_and_look(v, s);
	if (n <= 0)
		return false;
	if (gmem_ld16(v->dev.m->mem, AVAIL_RING(s, s->next_avail), &head)) {
		vdev_broken(v, "an available ring outside memory");
		return false;
	}
	b->head = head;
	b->nout = b->nin = 0;
	b->out_len = b->in_len = 0;
	if (!walk_chain(v, b, s))
		return false;
	s->next_avail++;
	v->inflight++;
	v->count.buffers++;
	return true;
}

static void put_back(struct vdev *v)
{
	BUG_ON(!v->inflight);
	if (!--v->inflight)
		pthread_cond_broadcast(&v->idle);
}

void vq_drop(struct vdev *v, struct vq_buf *b)
{
	(void)b;
	put_back(v);
}

void vq_unpop(struct vdev *v, unsigned q, unsigned n)
{
	v->s.vq[q].next_avail -= (uint16_t)n;
	v->count.buffers -= n;
	while (n--)
		put_back(v);
}

void vq_push_all(struct vdev *v, unsigned q, const struct vq_done *d, unsigned n)
{
	struct vq_state *s = &v->s.vq[q];

	for (unsigned i = 0; i < n; i++)
		put_back(v);
	if (!n || !vdev_is_live(v))
		return; /* broken meanwhile: the rings are not trusted any more */
	for (unsigned i = 0; i < n; i++) {
		struct vring_used_elem u = { htole32(d[i].head), htole32(d[i].written) };

		if (gmem_write(v->dev.m->mem, USED_RING(s, s->next_used + i), &u, sizeof(u))) {
			vdev_broken(v, "a used ring outside memory");
			return;
		}
	}
	if (gmem_st16(v->dev.m->mem, USED_IDX(s), (uint16_t)(s->next_used + n))) {
		vdev_broken(v, "a used ring outside memory");
		return;
	}
	s->next_used += (uint16_t)n;
}

void vq_push(struct vdev *v, unsigned q, struct vq_buf *b, uint32_t written)
{
	const struct vq_done d = { b->head, written };

	BUG_ON(written > b->in_len);
	vq_push_all(v, q, &d, 1);
}

/* does the driver want to hear of the buffers pushed since it was last told? */
static bool wanted(struct vdev *v, struct vq_state *s)
{
	uint16_t flags, event, old = s->signalled, new = s->next_used;

	if (old == new)
		return false;
	/* used.idx must be visible before the driver's wish is read */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!vdev_has(v, VIRTIO_RING_F_EVENT_IDX))
		return !gmem_ld16(v->dev.m->mem, s->avail, &flags) &&
		       !(flags & VRING_AVAIL_F_NO_INTERRUPT);
	if (gmem_ld16(v->dev.m->mem, USED_EVENT(s), &event))
		return false;
	return vring_need_event(event, new, old);
}

void vq_notify(struct vdev *v, unsigned q)
{
	struct vq_state *s = &v->s.vq[q];
	bool tell;

	if (!vdev_is_live(v) || !s->ready)
		return;
	tell = wanted(v, s);
	s->signalled = s->next_used;
	if (!tell)
		return;
	v->count.interrupts++;
	v->tr->interrupt(v, q);
}

/* move @len bytes between iov[] from @off on and @buf: one of @in and @out is set */
static size_t move(struct gmem *dirty, const struct iovec *iov, unsigned n, size_t off, void *out,
		   const void *in, size_t len)
{
	size_t done = 0;

	for (; n && done < len; iov++, n--) {
		uint8_t *p = iov->iov_base;
		size_t k;

		if (off >= iov->iov_len) {
			off -= iov->iov_len;
			continue;
		}
		k = MIN(iov->iov_len - off, len - done);
		if (out)
			memcpy((uint8_t *)out + done, p + off, k);
		if (in)
			memcpy(p + off, (const uint8_t *)in + done, k);
		if (dirty)
			gmem_dirty(dirty, p + off, k);
		done += k;
		off = 0;
	}
	return done;
}

size_t vq_get(const struct vq_buf *b, size_t off, void *dst, size_t len)
{
	return move(NULL, b->iov, b->nout, off, dst, NULL, len);
}

size_t vq_put(struct vdev *v, struct vq_buf *b, size_t off, const void *src, size_t len)
{
	return move(v->dev.m->mem, b->iov + b->nout, b->nin, off, NULL, src, len);
}

void vq_dirty(struct vdev *v, const struct vq_buf *b, size_t off, size_t len)
{
	move(v->dev.m->mem, b->iov + b->nout, b->nin, off, NULL, NULL, len);
}
