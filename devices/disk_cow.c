/* disk_cow.c - copy on write; disk_cow.h has the theory */
#include "disk_cow_io.h"

static const uint8_t zeroes[COW_CLUSTER] __attribute__((aligned(COW_CLUSTER)));

static void set_bits(struct cow *c, uint64_t first, uint64_t last)
{
	for (uint64_t i = first; i <= last; i++) {
		uint64_t page = i / 8 / DISK_PAGE;

		if (cow_is_set(c, i))
			continue;
		c->map[i / 8] |= (uint8_t)(1U << i % 8);
		c->dirty[page / 64] |= 1ULL << page % 64;
		c->any_dirty = true;
	}
}

static bool all_set(const struct cow *c, uint64_t first, uint64_t last)
{
	while (first <= last && cow_is_set(c, first))
		first++;
	return first > last;
}

static struct cow_req *get(struct cow *c, struct disk_req *r)
{
	struct cow_req *q = c->free;

	if (q) {
		c->free = q->next;
	} else {
		if (posix_memalign((void **)&q, DISK_PAGE, sizeof(*q)))
			return NULL;
	}
	q->cow = c;
	q->r = r;
	q->pos = 0;
	q->result = 0;
	q->pending = 0;
	return q;
}

static void put(struct cow_req *q)
{
	q->next = q->cow->free;
	q->cow->free = q;
}

static void finish(struct cow_req *q)
{
	struct cow *c = q->cow;
	struct disk_req *r = q->r;
	int result = q->result;

	put(q);
	/* a write that is to be durable has set bits that are not yet */
	if (!result && c->d->cache == CACHE_WRITETHROUGH && r->op != DISK_READ)
		cow_flush(c, r);
	else
		disk_finish(c->d, r, result);
}

static void add_io(struct cow_req *q, enum io_op op, unsigned file, uint64_t off, uint64_t len,
		   struct iovec *iov, unsigned iovs, void (*done)(struct disk_io *))
{
	struct cow_io *o = &q->io[q->pending++];

	BUG_ON(q->pending > COW_IOS);
	o->req = q;
	o->io = (struct disk_io){
		.op = op,
		.file = &q->cow->d->file[file],
		.off = off + (file == DISK_OVERLAY ? q->cow->data_at : 0),
		.len = len,
		.iov = iov,
		.iovs = iovs,
		.must_zero = true,
		.done = done,
	};
}

static void submit_all(struct cow_req *q)
{
	for (unsigned i = 0, n = q->pending; i < n; i++)
		io_submit(q->cow->d, &q->io[i].io);
}

/* the last of those submitted together? */
static struct cow_req *ended(struct disk_io *io)
{
	struct cow_req *q = container_of(io, struct cow_io, io)->req;

	if (io->result)
		q->result = io->result;
	return --q->pending ? NULL : q;
}

/* --- the easy case: all in one file, and no bit to set --- */

static void easy_done(struct disk_io *io)
{
	struct disk_req *r = container_of(io, struct disk_req, io);
	struct cow *c = io->disk->cow;

	/* the data is durable; the bits that it stands under may not be yet */
	if (!io->result && r->op == DISK_WRITE && c->d->cache == CACHE_WRITETHROUGH &&
	    (c->any_dirty || c->flushing || c->lost))
		cow_flush(c, r);
	else
		disk_finish(c->d, r, io->result);
}

static void start_easy(struct cow *c, struct disk_req *r, enum io_op op, unsigned file)
{
	r->io = (struct disk_io){
		.op = op,
		.file = &c->d->file[file],
		.off = r->off + (file == DISK_OVERLAY ? c->data_at : 0),
		.len = r->len,
		.iov = r->iov,
		.iovs = r->iovs,
		.done = easy_done,
	};
	io_submit(c->d, &r->io);
}

/* --- reading --- */

/* how many of @len bytes at @off come from one file, and from which */
static uint64_t run_of(const struct cow *c, uint64_t off, uint64_t len, unsigned *ret_file)
{
	uint64_t i = off / COW_CLUSTER, end = off + len;
	bool set = cow_is_set(c, i);

	*ret_file = set ? DISK_OVERLAY : DISK_BASE;
	for (i++; i * COW_CLUSTER < end && cow_is_set(c, i) == set; i++)
		;
	return MIN(end, i * COW_CLUSTER) - off;
}

static void read_done(struct disk_io *io);

static void read_on(struct cow_req *q)
{
	struct disk_req *r = q->r;
	unsigned used = 0;

	while (q->pos < r->len && q->pending < COW_IOS) {
		unsigned file, n;
		uint64_t len = run_of(q->cow, r->off + q->pos, r->len - q->pos, &file);

		n = disk_slice(r->iov, r->iovs, q->pos, len, q->iov + used);
		add_io(q, IO_READ, file, r->off + q->pos, len, q->iov + used, n, read_done);
		used += n;
		q->pos += len;
	}
	if (q->pending)
		submit_all(q);
	else
		finish(q);
}

static void read_done(struct disk_io *io)
{
	struct cow_req *q = ended(io);

	if (!q)
		return;
	if (q->result)
		finish(q);
	else
		read_on(q);
}

static void start_read(struct cow *c, struct disk_req *r)
{
	struct cow_req *q;
	unsigned file;

	if (run_of(c, r->off, r->len, &file) == r->len) {
		start_easy(c, r, IO_READ, file);
		return;
	}
	q = get(c, r);
	if (q)
		read_on(q);
	else
		disk_finish(c->d, r, -ENOMEM);
}

/* --- what sets bits --- */

static bool overlap(const struct cow_req *list, const struct cow_req *end, const struct cow_req *q)
{
	for (; list != end; list = list->next)
		if (list->first <= q->last && q->first <= list->last)
			return true;
	return false;
}

static void begin(struct cow_req *q);

static void run_waiting(struct cow *c)
{
	struct cow_req **p = &c->waiting, *q;

	while ((q = *p)) {
		if (overlap(c->active, NULL, q) || overlap(c->waiting, q, q)) {
			p = &q->next;
			continue;
		}
		*p = q->next;
		if (!*p)
			c->waiting_end = p;
		begin(q);
	}
}

static void leave(struct cow_req *q)
{
	struct cow_req **p = &q->cow->active;

	while (*p != q)
		p = &(*p)->next;
	*p = q->next;
}

static void next_piece(struct cow_req *q);

static void piece_done(struct disk_io *io)
{
	struct cow_req *q = ended(io);
	struct cow *c;

	if (!q)
		return;
	c = q->cow;
	if (!q->result)
		set_bits(c, q->first, q->last);
	leave(q);
	next_piece(q);
	run_waiting(c);
}

/* the piece, and around it what was copied from the base, in one operation */
static void write_piece(struct cow_req *q)
{
	struct iovec *iov = q->iov;
	unsigned n = 0;

	if (q->head)
		iov[n++] = (struct iovec){ q->edge[0], q->head };
	n += q->piece ? disk_slice(q->r->iov, q->r->iovs, q->piece_at, q->len, iov + n) : 0;
	if (!q->piece)
		iov[n++] = (struct iovec){ (void *)(uintptr_t)zeroes, q->len };
	if (q->tail)
		iov[n++] = (struct iovec){ q->edge[1], q->tail };
	add_io(q, IO_WRITE, DISK_OVERLAY, q->off - q->head, q->head + q->len + q->tail, iov, n,
	       piece_done);
	submit_all(q);
}

static void edges_done(struct disk_io *io)
{
	struct cow_req *q = ended(io);

	if (!q)
		return;
	if (!q->result) {
		write_piece(q);
		return;
	}
	leave(q);
	run_waiting(q->cow);
	finish(q);
}

static void read_edge(struct cow_req *q, unsigned i, uint64_t off, uint64_t len)
{
	/* behind the disk's end there is nothing to copy */
	uint64_t have = off < q->cow->bytes ? MIN(len, q->cow->bytes - off) : 0;

	memset(q->edge[i] + have, 0, len - have);
	if (!have)
		return;
	q->edge_iov[i] = (struct iovec){ q->edge[i], have };
	add_io(q, IO_READ, DISK_BASE, off, have, &q->edge_iov[i], 1, edges_done);
}

/* nothing that overlaps is under way */
static void begin(struct cow_req *q)
{
	struct cow *c = q->cow;
	uint64_t end = q->off + q->len;

	q->next = c->active;
	c->active = q;
	q->head = q->tail = 0;
	if (q->hole) {
		add_io(q, IO_PUNCH, DISK_OVERLAY, q->off, (q->last - q->first + 1) * COW_CLUSTER,
		       NULL, 0, piece_done);
		submit_all(q);
		return;
	}
	if (!cow_is_set(c, q->first))
		q->head = (uint32_t)(q->off % COW_CLUSTER);
	if (!cow_is_set(c, q->last))
		q->tail = (uint32_t)(align_up(end, COW_CLUSTER) - end);
	if (q->head)
		read_edge(q, 0, q->off - q->head, q->head);
	if (q->tail)
		read_edge(q, 1, end, q->tail);
	if (q->pending)
		submit_all(q);
	else
		write_piece(q);
}

static void set_piece(struct cow_req *q, uint64_t len)
{
	q->off = q->r->off + q->pos;
	q->piece_at = q->pos;
	q->len = len;
	q->pos += len;
	q->first = q->off / COW_CLUSTER;
	q->last = (q->off + len - 1) / COW_CLUSTER;
}

/* zeroes: what stands before the first whole cluster, those, what stands behind */
static void set_zero_piece(struct cow_req *q)
{
	struct disk_req *r = q->r;
	uint64_t off = r->off + q->pos, end = r->off + r->len, whole = end - end % COW_CLUSTER;

	if (end == q->cow->bytes)
		whole = end;
	q->piece = false;
	q->hole = !(off % COW_CLUSTER) && off < whole;
	if (q->hole)
		set_piece(q, whole - off);
	else
		set_piece(q, MIN(end, align_up(off + 1, COW_CLUSTER)) - off);
}

static void next_piece(struct cow_req *q)
{
	struct cow *c = q->cow;
	struct disk_req *r = q->r;

	do {
		if (q->result || q->pos == r->len) {
			finish(q);
			return;
		}
		if (r->op == DISK_WRITE) {
			q->piece = true;
			q->hole = false;
			set_piece(q, r->len);
		} else {
			set_zero_piece(q);
		}
		/* less than a cluster is not worth a copy to forget it */
	} while (r->op == DISK_DISCARD && !q->hole);
	if (overlap(c->active, NULL, q) || overlap(c->waiting, NULL, q)) {
		q->next = NULL;
		*c->waiting_end = q;
		c->waiting_end = &q->next;
	} else {
		begin(q);
	}
}

static void start_change(struct cow *c, struct disk_req *r)
{
	struct cow_req *q;
	uint64_t first = r->off / COW_CLUSTER, last = (r->off + r->len - 1) / COW_CLUSTER;

	if (r->op == DISK_WRITE && all_set(c, first, last)) {
		start_easy(c, r, IO_WRITE, DISK_OVERLAY);
		return;
	}
	q = get(c, r);
	if (q)
		next_piece(q);
	else
		disk_finish(c->d, r, -ENOMEM);
}

static void cow_start(struct disk *d, struct disk_req *r)
{
	struct cow *c = d->cow;

	switch (r->op) {
	case DISK_READ:
		start_read(c, r);
		return;
	case DISK_FLUSH:
		if (c->d->cache == CACHE_UNSAFE)
			disk_finish(d, r, 0);
		else
			cow_flush(c, r);
		return;
	default:
		start_change(c, r);
	}
}

static void cow_close(struct disk *d)
{
	struct cow *c = d->cow;
	struct cow_req *q;

	if (!c)
		return;
	cow_file_close(c);
	while ((q = c->free)) {
		c->free = q->next;
		free(q);
	}
	free(c);
	d->cow = NULL;
}

const struct disk_format disk_cow = { cow_file_open, cow_start, cow_close };
