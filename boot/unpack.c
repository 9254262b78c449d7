/* #syscalls pread64 */
#include <lzma.h>
#include <unistd.h>
#include <zlib.h>

#include "lz4.h"
#include "unpack.h"

#define IN_SIZE	 (64 * KiB)
#define OUT_SIZE (192 * KiB)
#define XZ_MEMORY                                                                      \
	(96 * MiB) /* the kernel's build asks for a dictionary of 32 MiB, xz -9 for 64 \
		    */

static const char *const pack_names[] = { "none", "gzip",  "xz",   "lz4",
					  "zstd", "bzip2", "lzma", "lzo" };

_Static_assert(ARRAY_SIZE(pack_names) == PACK_LZO + 1, "a name for each way to pack");

static const struct {
	enum pack pack;
	uint8_t len, magic[9];
} magics[] = {
	{ PACK_GZIP, 2, { 0x1f, 0x8b } },
	{ PACK_XZ, 6, { 0xfd, '7', 'z', 'X', 'Z', 0 } },
	{ PACK_LZ4, 4, { 0x02, 0x21, 0x4c, 0x18 } },
	{ PACK_ZSTD, 4, { 0x28, 0xb5, 0x2f, 0xfd } },
	{ PACK_BZIP2, 3, { 'B', 'Z', 'h' } },
	{ PACK_LZMA, 3, { 0x5d, 0, 0 } },
	{ PACK_LZO, 9, { 0x89, 'L', 'Z', 'O', 0, '\r', '\n', 0x1a, '\n' } },
};

struct unpack {
	struct source src;
	uint64_t in_pos; /* how much of the source was read */
	uint64_t pos;	 /* how much was handed out */
	uint8_t *next;	 /* unpacked and not yet handed out */
	size_t left;
	int failed; /* what the decoder said behind these */
	bool ended; /* and that was its own end, with its sums right */
	const uint8_t *in_next;
	size_t in_left;
	union {
		z_stream gzip;
		lzma_stream xz;
		struct lz4 lz4;
	};
	uint8_t in[IN_SIZE];
	uint8_t buf[LZ4_WINDOW + OUT_SIZE]; /* the window behind which output is made */
};

enum pack pack_of(const uint8_t *head, size_t len)
{
	for (unsigned i = 0; i < ARRAY_SIZE(magics); i++)
		if (len >= magics[i].len && !memcmp(head, magics[i].magic, magics[i].len))
			return magics[i].pack;
	return PACK_NONE;
}

const char *pack_name(enum pack pack)
{
	return pack_names[pack];
}

bool pack_known(enum pack pack)
{
	return pack <= PACK_LZ4;
}

static int decoder_start(struct unpack *u)
{
	switch (u->src.pack) {
	case PACK_GZIP:
		u->gzip = (z_stream){ 0 };
		return inflateInit2(&u->gzip, 16 + MAX_WBITS) == Z_OK ? 0 : -ENOMEM;
	case PACK_XZ:
		u->xz = (lzma_stream)LZMA_STREAM_INIT;
		return lzma_stream_decoder(&u->xz, XZ_MEMORY, 0) == LZMA_OK ? 0 : -ENOMEM;
	default:
		u->lz4 = (struct lz4){ 0 };
		return 0;
	}
}

static void decoder_end(struct unpack *u)
{
	if (u->src.pack == PACK_GZIP)
		inflateEnd(&u->gzip);
	if (u->src.pack == PACK_XZ)
		lzma_end(&u->xz);
}

/* each step fills @out as far as the input goes, and says how much: 0, or why it cannot go on */
static int step_gzip(struct unpack *u, size_t *ret_made)
{
	int r;

	u->gzip.next_in = (uint8_t *)(uintptr_t)u->in_next;
	u->gzip.avail_in = (unsigned)u->in_left;
	u->gzip.next_out = u->buf + LZ4_WINDOW;
	u->gzip.avail_out = OUT_SIZE;
	r = inflate(&u->gzip, Z_NO_FLUSH);
	u->in_next = u->gzip.next_in;
	u->in_left = u->gzip.avail_in;
	*ret_made = OUT_SIZE - u->gzip.avail_out;
	u->ended = r == Z_STREAM_END;
	return r == Z_OK || r == Z_BUF_ERROR ? 0 : u->ended ? -ENODATA : -EBADMSG;
}

static int step_xz(struct unpack *u, size_t *ret_made)
{
	lzma_ret r;

	u->xz.next_in = u->in_next;
	u->xz.avail_in = u->in_left;
	u->xz.next_out = u->buf + LZ4_WINDOW;
	u->xz.avail_out = OUT_SIZE;
	r = lzma_code(&u->xz, LZMA_RUN);
	u->in_next = u->xz.next_in;
	u->in_left = u->xz.avail_in;
	*ret_made = OUT_SIZE - u->xz.avail_out;
	if (r == LZMA_MEMLIMIT_ERROR)
		return -ENOMEM;
	u->ended = r == LZMA_STREAM_END;
	return r == LZMA_OK || r == LZMA_BUF_ERROR ? 0 : u->ended ? -ENODATA : -EBADMSG;
}

static int step_lz4(struct unpack *u, size_t *ret_made)
{
	struct lz4_io io = { u->in_next, u->in_left, u->buf + LZ4_WINDOW, OUT_SIZE };
	int r = lz4_run(&u->lz4, &io);

	u->in_next = io.in;
	u->in_left = io.in_left;
	*ret_made = OUT_SIZE - io.out_left;
	return r;
}

static int step(struct unpack *u, size_t *ret_made)
{
	switch (u->src.pack) {
	case PACK_GZIP:
		return step_gzip(u, ret_made);
	case PACK_XZ:
		return step_xz(u, ret_made);
	default:
		return step_lz4(u, ret_made);
	}
}

/* LZ4 looks back at what was made last: let it stand before what is made next */
static void slide_window(struct unpack *u)
{
	if (u->src.pack == PACK_LZ4 && u->next)
		memmove(u->buf, u->next - LZ4_WINDOW, LZ4_WINDOW);
	u->next = u->buf + LZ4_WINDOW;
}

/* read on in the source: 0 with no bytes at its end */
static int read_source(struct unpack *u, uint8_t *buf, uint64_t most, size_t *ret)
{
	uint64_t want = MIN(most, u->src.len - u->in_pos);
	ssize_t n;

	do
		n = pread(u->src.fd, buf, want, (off_t)(u->src.off + u->in_pos));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err(-errno, "%s: cannot be read: %s", u->src.what, strerror(errno));
	u->in_pos += (uint64_t)n;
	*ret = (size_t)n;
	return 0;
}

static int refill(struct unpack *u)
{
	u->in_next = u->in;
	return read_source(u, u->in, IN_SIZE, &u->in_left);
}

static int fail(const struct unpack *u, int why)
{
	const char *name = pack_name(u->src.pack);

	if (why == -ENOMEM)
		return err(why,
			   "%s: its %s data need more than %llu MiB to unpack; pack it with a "
			   "smaller window",
			   u->src.what, name, XZ_MEMORY / MiB);
	if (why == -EBADMSG)
		return err(why, "%s: its %s data are damaged after %lu bytes", u->src.what, name,
			   u->pos);
	if (u->src.pack == PACK_NONE)
		return err(why,
			   "%s: ends after %lu bytes, in the middle of what it should hold: is it "
			   "truncated?",
			   u->src.what, u->src.len);
	return err(why,
		   "%s: its %s data end after %lu unpacked bytes, in the middle of the kernel: is "
		   "it truncated?",
		   u->src.what, name, u->pos);
}

/* what is not packed goes past the decoders */
static int fill_plain(struct unpack *u, uint64_t most)
{
	int r;

	u->next = u->buf;
	r = read_source(u, u->buf, MIN(most, sizeof(u->buf)), &u->left);
	return r || u->left ? r : fail(u, -ENODATA);
}

/* unpack a piece; what was made before an error is handed out first */
static int fill(struct unpack *u, uint64_t most)
{
	size_t made = 0, before;

	if (u->src.pack == PACK_NONE)
		return fill_plain(u, most);
	slide_window(u);
	while (!u->failed && !made) {
		int r = u->in_left ? 0 : refill(u);

		if (r)
			return r;
		before = u->in_left;
		u->failed = before ? step(u, &made) : -ENODATA;
		if (!u->failed && !made && u->in_left == before)
			u->failed = -EBADMSG; /* a decoder that neither takes nor gives would never
						 end */
	}
	u->left = made;
	return made ? 0 : fail(u, u->failed);
}

struct unpack *unpack_open(const struct source *src)
{
	struct unpack *u;

	if (!pack_known(src->pack)) {
		err(-ENOTSUP,
		    "%s: is packed with %s, which is not known here (gzip, xz and lz4 are); unpack "
		    "it first",
		    src->what, pack_name(src->pack));
		return NULL;
	}
	/* not cleared: a window not written to is a window not touched */
	u = malloc(sizeof(*u));
	if (u) {
		memset(u, 0, offsetof(struct unpack, in));
		u->src = *src;
	}
	if (!u || decoder_start(u)) {
		free(u);
		err(-ENOMEM, "%s: no memory to unpack it", src->what);
		return NULL;
	}
	return u;
}

void unpack_close(struct unpack *u)
{
	if (u)
		decoder_end(u);
	free(u);
}

void cleanup_unpack(struct unpack **u)
{
	unpack_close(*u);
}

ssize_t unpack_next(struct unpack *u, uint64_t most, const uint8_t **ret)
{
	size_t n;

	if (!u->left) {
		int r = fill(u, most);

		if (r)
			return r;
	}
	n = MIN(u->left, most);
	*ret = u->next;
	u->next += n;
	u->left -= n;
	u->pos += n;
	return (ssize_t)n;
}

int unpack_read(struct unpack *u, void *buf, size_t len)
{
	uint8_t *to = buf;
	const uint8_t *p = NULL;

	while (len) {
		ssize_t n = unpack_next(u, len, &p);

		if (n < 0)
			return (int)n;
		memcpy(to, p, (size_t)n);
		to += n;
		len -= (size_t)n;
	}
	return 0;
}

static int rewind_to_start(struct unpack *u)
{
	decoder_end(u);
	u->in_pos = u->pos = 0;
	u->in_left = u->left = 0;
	u->failed = 0;
	u->ended = false;
	u->next = NULL;
	if (decoder_start(u)) {
		u->src.pack = PACK_NONE; /* nothing for unpack_close() to end */
		return err(-ENOMEM, "%s: no memory to unpack it", u->src.what);
	}
	return 0;
}

int unpack_seek(struct unpack *u, uint64_t pos)
{
	const uint8_t *p = NULL;
	int r = 0;

	if (u->src.pack == PACK_NONE) {
		if (pos > u->src.len)
			return fail(u, -ENODATA);
		u->in_pos = u->pos = pos;
		u->in_left = u->left = 0;
		u->failed = 0;
		return 0;
	}
	if (pos < u->pos)
		r = rewind_to_start(u);
	while (!r && u->pos < pos) {
		ssize_t n = unpack_next(u, pos - u->pos, &p);

		if (n < 0)
			r = (int)n;
	}
	return r;
}

int unpack_finish(struct unpack *u)
{
	const uint8_t *p = NULL;

	if (u->src.pack != PACK_GZIP && u->src.pack != PACK_XZ)
		return 0;
	while (!u->ended || u->left) {
		ssize_t n = unpack_next(u, UNPACK_MAX, &p);

		if (n < 0)
			return u->ended ? 0 : (int)n;
		if (u->pos > UNPACK_MAX)
			return err(-EFBIG, "%s: its %s data hold more than 1 GiB", u->src.what,
				   pack_name(u->src.pack));
	}
	return 0;
}
