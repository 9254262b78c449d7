/* image_stream.c - reading forward, plain or gzip (of several members, as some tools write it) */
/* #syscalls:before pread64 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "image_stream.h"
#include "tool.h"

#define IN_SIZE 65536

struct image_stream {
	struct image_source src;
	struct sha256 *sha;
	uint64_t in_pos; /* how much of the source was read */
	uint64_t pos;
	bool gzip, ended; /* no member follows */
	bool between;	  /* two members, or before the first */
	z_stream z;
	uint8_t in[IN_SIZE], scrap[IN_SIZE];
};

static const struct {
	const char *name, *tool;
	uint8_t len, magic[6];
} packs[] = {
	{ "gzip", NULL, 2, { 0x1f, 0x8b } },
	{ "zstd", "zstd -d", 4, { 0x28, 0xb5, 0x2f, 0xfd } },
	{ "xz", "xz -d", 6, { 0xfd, '7', 'z', 'X', 'Z', 0 } },
	{ "bzip2", "bzip2 -d", 3, { 'B', 'Z', 'h' } },
	{ "lz4", "lz4 -d", 4, { 0x04, 0x22, 0x4d, 0x18 } },
};

static ssize_t read_raw(struct image_stream *s, void *buf, size_t len)
{
	uint64_t left = s->src.len - s->in_pos;
	size_t want = len < left ? len : (size_t)left, got = 0;

	while (got < want) {
		ssize_t n = pread(s->src.fd, (char *)buf + got, want - got,
				  (off_t)(s->src.off + s->in_pos + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int code = -errno;

			complain("%s: cannot be read: %s", s->src.what, strerror(errno));
			return code;
		}
		if (!n) {
			complain("%s: became shorter while it was read; leave it alone meanwhile",
				 s->src.what);
			return -EIO;
		}
		got += (size_t)n;
	}
	if (s->sha)
		sha256_add(s->sha, buf, got);
	s->in_pos += got;
	return (ssize_t)got;
}

struct image_stream *stream_open(const struct image_source *src, struct sha256 *sha)
{
	struct image_stream *s = calloc(1, sizeof(*s));
	uint8_t head[6] = { 0 };
	ssize_t n;

	if (!s) {
		complain("%s: out of memory", src->what);
		return NULL;
	}
	s->src = *src;
	n = read_raw(s, head, sizeof(head)); /* not yet for @sha */
	for (unsigned i = 0; n > 0 && i < sizeof(packs) / sizeof(*packs); i++) {
		if (n < packs[i].len || memcmp(head, packs[i].magic, packs[i].len))
			continue;
		s->gzip = !i;
		if (i) {
			complain("%s: is packed with %s, which is not taken: unpack it with '%s', "
				 "or pack it with gzip",
				 src->what, packs[i].name, packs[i].tool);
			n = -1;
		}
	}
	s->in_pos = 0;
	s->sha = sha;
	s->between = true;
	if (n >= 0 && s->gzip && inflateInit2(&s->z, 16 + MAX_WBITS) != Z_OK) {
		complain("%s: out of memory", src->what);
		s->gzip = false;
		n = -1;
	}
	if (n >= 0)
		return s;
	stream_close(s);
	return NULL;
}

void stream_close(struct image_stream *s)
{
	if (s && s->gzip)
		inflateEnd(&s->z);
	free(s);
}

/* input for inflate(): 0 if there is none any more */
static ssize_t refill(struct image_stream *s)
{
	ssize_t n = read_raw(s, s->in, sizeof(s->in));

	if (n > 0) {
		s->z.next_in = s->in;
		s->z.avail_in = (unsigned)n;
	}
	return n;
}

/* behind a member: another, zeros that fill a tape's block, or the end */
static int next_member(struct image_stream *s)
{
	for (;;) {
		ssize_t n = s->z.avail_in ? 1 : refill(s);

		if (n < 0)
			return (int)n;
		if (!n) {
			s->ended = true;
			return 0;
		}
		if (*s->z.next_in)
			break;
		s->z.next_in++;
		s->z.avail_in--;
	}
	s->between = false;
	return inflateReset(&s->z) == Z_OK ? 0 : -EIO;
}

static ssize_t read_gzip(struct image_stream *s, uint8_t *buf, size_t len)
{
	size_t got = 0;

	while (got < len && !s->ended) {
		unsigned room = len - got < (1U << 30) ? (unsigned)(len - got) : 1U << 30;
		ssize_t n = 1;
		int r;

		if (s->between) {
			r = next_member(s);
			if (r)
				return r;
			continue;
		}
		if (!s->z.avail_in)
			n = refill(s);
		if (n < 0)
			return n;
		s->z.next_out = buf + got;
		s->z.avail_out = room;
		r = inflate(&s->z, Z_NO_FLUSH);
		got += room - s->z.avail_out;
		if (r == Z_STREAM_END) {
			s->between = true;
		} else if (!n && s->z.avail_out == room) {
			complain("%s: its gzip data ends too early; it is not whole", s->src.what);
			return -EBADMSG;
		} else if (r != Z_OK && r != Z_BUF_ERROR) {
			complain("%s: its gzip data is damaged (%s)", s->src.what,
				 s->z.msg ? s->z.msg : "a wrong sum");
			return -EBADMSG;
		}
	}
	return (ssize_t)got;
}

ssize_t stream_read(struct image_stream *s, void *buf, size_t len)
{
	ssize_t n = s->gzip ? read_gzip(s, buf, len) : read_raw(s, buf, len);

	if (n > 0)
		s->pos += (uint64_t)n;
	return n;
}

static int too_short(struct image_stream *s)
{
	complain("%s: ends at byte %lu, in the middle of an entry; it is not whole", s->src.what,
		 (unsigned long)s->pos);
	return -ENODATA;
}

int stream_need(struct image_stream *s, void *buf, size_t len)
{
	ssize_t n = stream_read(s, buf, len);

	if (n < 0)
		return (int)n;
	return (size_t)n == len ? 0 : too_short(s);
}

int stream_skip(struct image_stream *s, uint64_t len)
{
	if (!s->gzip && !s->sha) {
		if (len > s->src.len - s->in_pos)
			return too_short(s);
		s->in_pos += len;
		s->pos += len;
		return 0;
	}
	while (len) {
		size_t n = len < sizeof(s->scrap) ? (size_t)len : sizeof(s->scrap);
		int r = stream_need(s, s->scrap, n);

		if (r)
			return r;
		len -= n;
	}
	return 0;
}

int stream_drain(struct image_stream *s)
{
	ssize_t n;

	if (!s->gzip && !s->sha)
		return 0;
	do {
		n = stream_read(s, s->scrap, sizeof(s->scrap));
	} while (n > 0);
	return (int)n;
}

uint64_t stream_pos(const struct image_stream *s)
{
	return s->pos;
}
