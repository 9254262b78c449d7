/*
 * snap_diff_data.c - what is different in two snapshots: memory, and what was written over disks
 *
 * All of it is a list of couples, a chunk of either file, which every processor
 * takes its share of.  What both have from the same place is the same, and is
 * not read.  A piece of a disk that one of them alone has is no couple: what the
 * other has there is in the image below, which is not at hand.
 */
#include "snap.h"
#include "snap_diff.h"
#include "snap_mem.h"
#include "team.h"

#define SHARE 16 /* couples that a thread takes at a time */

/* by where their entries are */
struct couple {
	uint64_t a, b;
};

struct comparing {
	const struct snap_file *a, *b;
	struct gmem mem;
	uint64_t chunks;       /* of memory, which are compared first */
	struct couple *pieces; /* and then these */
	uint64_t next, all;    /* atomic */
	struct snap_diff_data *ret;
	pthread_t caller; /* who tells how far it is */
	pthread_mutex_t lock;
	int error;
	char text[512];
};

struct hand {
	struct snap_unpacker z;
	uint8_t a[SNAP_CHUNK], b[SNAP_CHUNK];
};

/* a piece of a disk is its own file's, whatever that is a child of */
static bool same_place(const struct comparing *c, struct couple two)
{
	bool memory = two.a < c->a->head.chunks;
	const struct snap_file *a = memory ? snap_owner(c->a, two.a) : c->a;
	const struct snap_file *b = memory ? snap_owner(c->b, two.b) : c->b;
	const struct snap_entry *x = &a->entry[two.a], *y = &b->entry[two.b];
	enum snap_kind kind = snap_kind(x);

	if (two.a == two.b && !memcmp(a->head.id, b->head.id, sizeof(a->head.id)))
		return true;
	return kind == snap_kind(y) && (kind == SNAP_ZERO || (kind == SNAP_FILL && x->at == y->at));
}

static int read_one(const struct snap_file *f, uint64_t n, uint8_t *to, size_t len, struct hand *h)
{
	memset(to, 0, len);
	return snap_read(f, n, to, len, &h->z);
}

static int compare_couple(struct comparing *c, uint64_t n, struct hand *h)
{
	struct couple two = n < c->chunks ? (struct couple){ n, n } : c->pieces[n - c->chunks];
	struct snap_diff_part *part = &c->ret->memory;
	uint64_t off, bytes = 0;
	size_t len = SNAP_CHUNK;
	int r;

	if (same_place(c, two))
		return 0;
	if (n < c->chunks)
		snap_slot(&c->mem, n, &off, &len);
	else
		part = &c->ret->disk[snap_piece_disk(c->a->piece[two.a - c->a->head.chunks])];
	r = read_one(c->a, two.a, h->a, len, h);
	if (!r)
		r = read_one(c->b, two.b, h->b, len, h);
	if (r || !memcmp(h->a, h->b, len))
		return r;
	for (size_t i = 0; i < len; i++)
		bytes += h->a[i] != h->b[i];
	__atomic_fetch_add(&part->differ, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&part->bytes, bytes, __ATOMIC_RELAXED);
	return 0;
}

static void fail(struct comparing *c, int r)
{
	pthread_mutex_lock(&c->lock);
	if (!c->error) {
		c->error = r;
		snprintf(c->text, sizeof(c->text), "%s", err_last());
	}
	pthread_mutex_unlock(&c->lock);
	__atomic_store_n(&c->next, c->all, __ATOMIC_RELAXED);
}

static void compare(void *arg)
{
	cleanup_free struct hand *h = malloc(sizeof(*h));
	struct comparing *c = arg;
	uint64_t first;
	int r = h ? snap_unpacker_init(&h->z) : err(-ENOMEM, "snapshot: out of memory");

	if (r) {
		fail(c, r);
		return;
	}
	while (!r && (first = __atomic_fetch_add(&c->next, SHARE, __ATOMIC_RELAXED)) < c->all) {
		if (pthread_equal(pthread_self(), c->caller))
			snap_progress(c->a, first, c->all);
		for (uint64_t n = first; !r && n < MIN(first + SHARE, c->all); n++)
			r = compare_couple(c, n, h);
	}
	if (r)
		fail(c, r);
	snap_unpacker_free(&h->z);
}

/* the pieces that both have; both lists go up */
static int find_couples(struct comparing *c)
{
	const struct snap_file *a = c->a, *b = c->b;
	uint64_t i = 0, j = 0, n = 0, most = MIN(a->pieces, b->pieces);

	c->pieces = most ? calloc(most, sizeof(*c->pieces)) : NULL;
	if (most && !c->pieces)
		return err(-ENOMEM, "snapshot %s: out of memory", a->name);
	while (i < a->pieces || j < b->pieces) {
		uint64_t in_a = i < a->pieces ? a->piece[i] : UINT64_MAX,
			 in_b = j < b->pieces ? b->piece[j] : UINT64_MAX;
		struct snap_diff_part *part = &c->ret->disk[snap_piece_disk(MIN(in_a, in_b))];

		part->chunks++;
		if (in_a == in_b)
			c->pieces[n++] = (struct couple){ a->head.chunks + i, b->head.chunks + j };
		else
			part->differ++;
		i += in_a <= in_b;
		j += in_b <= in_a;
	}
	c->all += n;
	return 0;
}

int snap_diff_data(const struct snap_file *a, const struct snap_file *b, const struct conf *memory,
		   struct snap_diff_data *ret)
{
	struct comparing c = { .a = a, .b = b, .caller = pthread_self(), .ret = ret };
	int r = 0;

	*ret = (struct snap_diff_data){ .memory.chunks = a->head.chunks };
	if (memory) {
		c.all = c.chunks = a->head.chunks;
		r = snap_shape(memory, &c.mem);
		if (!r &&
		    (snap_chunks(&c.mem) != a->head.chunks || a->head.chunks != b->head.chunks))
			r = err(-EBADMSG, "snapshot %s: has another memory than its machine",
				snap_chunks(&c.mem) == a->head.chunks ? b->name : a->name);
	}
	if (!r)
		r = find_couples(&c);
	if (!r && c.all) {
		pthread_mutex_init(&c.lock, NULL);
		team_run(compare, &c);
		snap_progress(a, c.all, c.all);
		pthread_mutex_destroy(&c.lock);
		r = c.error ? err(c.error, "%s", c.text) : 0;
	}
	free(c.pieces);
	return r;
}
