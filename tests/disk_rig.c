#include "disk_rig.h"

#include "fake.h"

static void reap(void *arg)
{
	struct rig *g = arg;
	struct disk_req *r;

	while ((r = disk_reap(g->d))) {
		g->last = r->result;
		g->under_way--;
	}
}

bool rig_open(struct rig *g, const struct conf_disk *conf)
{
	*g = (struct rig){ .loop = loop_new() };
	require(g->loop);
	g->d = disk_open(g->loop, conf, reap, g);
	if (g->d)
		return true;
	loop_free(g->loop);
	return false;
}

void rig_close(struct rig *g)
{
	disk_close(g->d);
	loop_free(g->loop);
}

static bool is_over(void *arg)
{
	return !((struct rig *)arg)->under_way;
}

void rig_finish(struct rig *g)
{
	disk_go(g->d);
	reap(g);
	require(!loop_until(g->loop, is_over, g, 20000000000ULL));
}

void rig_add(struct rig *g, struct rig_req *q, enum disk_op op, uint64_t off, void *buf, size_t len)
{
	q->iov[0] = (struct iovec){ buf, len };
	q->r = (struct disk_req){ .op = op, .off = off, .len = len, .iov = q->iov, .iovs = 1 };
	g->under_way++;
	disk_submit(g->d, &q->r);
}

int rig_do(struct rig *g, enum disk_op op, uint64_t off, void *buf, size_t len)
{
	struct rig_req q;

	rig_add(g, &q, op, off, buf, len);
	rig_finish(g);
	return g->last;
}

struct conf_disk rig_conf(const char *path, enum conf_engine engine, enum conf_cache cache)
{
	struct conf_disk c = { .engine = engine, .cache = cache, .queues = 1 };

	snprintf(c.path, sizeof(c.path), "%s", path);
	return c;
}
