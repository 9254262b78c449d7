/*
 * console.c - virtio-console: one port, over the stream that a serial port has otherwise
 *
 * 1. What the guest sends goes into the stream's ring, or is dropped and
 *    counted there: no guest waits for a reader.  A kick takes KICK_BYTES, then
 *    the loop writes them out before more comes, so a reader that keeps up
 *    loses nothing.
 * 2. Input stays in the host's pipe or terminal until the guest has buffers
 *    for it, so none is lost while it has none, is paused, or is saved.  How
 *    much room there is, is asked of the ring each time and not remembered.
 * 3. The size of the terminal is state: what the guest was told last.  Linux
 *    looks at it only when told that it changed, and forgets that if its port is
 *    not there yet; when it is, no message says.  So it is told again with its
 *    1st, 2nd, 4th ... TELL_LAST-th kick for output.
 */
#include <endian.h>
#include <linux/virtio_console.h>

#include "conf.h"
#include "devices.h"
#include "stream.h"
#include "virtio.h"

#define RX	   0
#define TX	   1
#define QUEUES	   2
#define CHUNK	   4096
#define KICK_BYTES (64U << 10)
#define KICK_MOST  64
#define TELL_LAST  64

struct console_state {
	uint16_t cols, rows;
	uint32_t kicks; /* for output, up to TELL_LAST */
};

static const struct field console_fields[] = {
	F_UINT(struct console_state, cols),
	F_UINT(struct console_state, rows),
	F_RANGE(struct console_state, kicks, 0, TELL_LAST),
	F_END,
};

struct console_counters {
	uint64_t bytes_out, bytes_in;
};

static const struct field counter_fields[] = {
	F_UINT(struct console_counters, bytes_out),
	F_UINT(struct console_counters, bytes_in),
	F_END,
};

struct console {
	struct vdev v;
	struct console_state s;
	struct virtio_console_config config;
	struct stream *stream;
	struct console_counters count;
};

/*
 * One buffer of output.  A chain may name gigabytes, the same ones many times:
 * of one that is longer than the stream's ring, the rest would be dropped by
 * the ring anyway, and is dropped here.
 */
static uint32_t send(struct console *c, const struct vq_buf *b)
{
	uint32_t most = MIN(b->out_len, STREAM_RING), done = 0;
	uint8_t buf[CHUNK];

	while (done < most) {
		size_t n = vq_get(b, done, buf, MIN(sizeof(buf), most - done));

		stream_put(c->stream, buf, n);
		done += (uint32_t)n;
	}
	if (b->out_len > done)
		stream_drop(c->stream, b->out_len - done);
	c->count.bytes_out += b->out_len;
	return done;
}

static void tell_size(struct console *c)
{
	if (c->s.kicks == TELL_LAST || !c->s.cols || !vdev_has(&c->v, VIRTIO_CONSOLE_F_SIZE))
		return;
	c->s.kicks++;
	if (is_pow2(c->s.kicks))
		vdev_config_changed(&c->v);
}

static void send_all(struct console *c)
{
	unsigned bytes = 0, n = 0;
	struct vq_buf b;

	while (bytes < KICK_BYTES && n < KICK_MOST && vq_pop(&c->v, TX, &b)) {
		bytes += send(c, &b);
		n++;
		vq_push(&c->v, TX, &b, 0);
	}
	if (bytes >= KICK_BYTES || n == KICK_MOST)
		vdev_notify(&c->v, TX); /* the rest after a look at everything else */
	if (n)
		tell_size(c);
	vq_notify(&c->v, TX);
}

static void kick(struct vdev *v, unsigned q)
{
	struct console *c = container_of(v, struct console, v);

	if (q == TX)
		send_all(c);
	else
		stream_room(c->stream);
}

static bool get_room(struct console *c, struct vq_buf *b)
{
	if (!vq_pop(&c->v, RX, b))
		return false;
	if (b->in_len)
		return true;
	vq_drop(&c->v, b);
	vdev_broken(&c->v, "a buffer for input without room");
	return false;
}

/* of the first buffer; a false vq_pop() has asked the guest for a kick when there is more */
static size_t room(void *arg)
{
	struct console *c = arg;
	struct vq_buf b;
	size_t n = 0;

	dev_lock(&c->v.dev);
	if (get_room(c, &b)) {
		n = b.in_len;
		vq_unpop(&c->v, RX, 1);
	}
	dev_unlock(&c->v.dev);
	return n;
}

/* no more than room() said a moment ago; a guest that shrinks its buffer meanwhile loses bytes */
static void input(void *arg, const uint8_t *buf, size_t len)
{
	struct console *c = arg;
	struct vq_buf b;

	dev_lock(&c->v.dev);
	while (len && get_room(c, &b)) {
		size_t n = vq_put(&c->v, &b, 0, buf, len);

		vq_push(&c->v, RX, &b, (uint32_t)n);
		buf += n;
		len -= n;
		c->count.bytes_in += n;
	}
	vq_notify(&c->v, RX);
	dev_unlock(&c->v.dev);
	/* there may be room for more, and of a file nothing else asks */
	stream_room(c->stream);
}

static const struct stream_ops stream_ops = { .room = room, .input = input };

static void reset(struct vdev *v)
{
	container_of(v, struct console, v)->s.kicks = 0;
}

static size_t config(struct vdev *v, const void **ret)
{
	struct console *c = container_of(v, struct console, v);

	c->config = (struct virtio_console_config){
		.cols = htole16(c->s.cols),
		.rows = htole16(c->s.rows),
		.max_nr_ports = htole32(1),
	};
	*ret = &c->config;
	return offsetof(struct virtio_console_config, emerg_wr);
}

static const struct vdev_type console_vtype = {
	.id = 3,
	.features = 1ULL << VIRTIO_CONSOLE_F_SIZE,
	.kick = kick,
	.reset = reset,
	.config = config,
};

/* @conf: conf.console_size */
static int console_configure(struct dev *dev, const void *conf)
{
	struct console *c = container_of(to_vdev(dev), struct console, v);
	struct console_state s = c->s;
	int r = conf_console_size(conf, &s.cols, &s.rows);

	if (r || (s.cols == c->s.cols && s.rows == c->s.rows))
		return r;
	c->s = s;
	vdev_config_changed(&c->v);
	return 0;
}

static int console_create(struct dev *dev, const void *conf)
{
	struct console *c = container_of(to_vdev(dev), struct console, v);
	const struct vdev_place *place = conf;
	int r = conf_console_size(place->conf, &c->s.cols, &c->s.rows);

	if (!r)
		r = vdev_init(&c->v, &console_vtype, console_vtype.features, QUEUES, place);
	if (r)
		return r;
	DEV_PART(dev, "console", console_fields, &c->s);
	dev_counters(dev, counter_fields, &c->count);
	c->stream = place->stream;
	stream_attach(c->stream, &stream_ops, c);
	return 0;
}

static int console_loaded(struct dev *dev)
{
	return vdev_loaded(to_vdev(dev));
}

static void console_destroy(struct dev *dev)
{
	struct console *c = container_of(to_vdev(dev), struct console, v);

	if (c->stream)
		stream_attach(c->stream, NULL, NULL);
	vdev_destroy(&c->v);
}

const struct dev_type console_type = {
	.name = "console",
	.size = sizeof(struct console),
	.create = console_create,
	.reset = vdev_power_on,
	.drain = vdev_drain,
	.loaded = console_loaded,
	.resume = vdev_resume,
	.configure = console_configure,
	.destroy = console_destroy,
};
