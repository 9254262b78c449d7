/*
 * fuzz_tar - archives made of the input's bytes, into a tree and an image
 *
 * The first byte says whether what follows is headers as they are, entries put
 * together of words that lead into each other, so that most get past the sums
 * and the paths, or JSON.  An image that comes of it must be in order, whatever
 * the archive was.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "../tools/image_json.h"
#include "../tools/image_tar.h"
#include "fake.h"
#include "image_rig.h"

#define BALLS 2 /* layers */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *p;
	size_t left;
};

static uint8_t byte(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->p++;
}

static const char *const words[] = {
	"a", "b", "l", "d", ".", "..", "", "d/a", ".wh.a", ".wh..wh..opq", ".wh.d", "\n",
};

/* up to three words, or a long name */
static void path(struct input *in, char *buf, size_t size)
{
	uint8_t how = byte(in);

	*buf = '\0';
	if (how > 250) {
		memset(buf, 'n', how == 251 ? 255 : 256);
		buf[how == 251 ? 255 : 256] = '\0';
		return;
	}
	for (unsigned i = 0; i < how % 4; i++) {
		size_t n = strlen(buf);

		snprintf(buf + n, size - n, "%s%s", i || how & 64 ? "/" : "",
			 words[byte(in) % (sizeof(words) / sizeof(*words))]);
	}
}

static void entry(struct input *in, struct ball *b)
{
	static const char types[] = "0012255346VSxgLKM";
	char name[600], link[600], text[300] = "";
	uint8_t how = byte(in);
	struct ball_entry e = { .type = types[how % (sizeof(types) - 1)],
				.path = name,
				.link = link };

	path(in, name, sizeof(name));
	path(in, link, sizeof(link));
	if (strchr("xg", e.type)) {
		ball_record(text, sizeof(text), how & 64 ? "path" : "SCHILY.xattr.user.x", name);
		ball_record(text, sizeof(text), how & 128 ? "linkpath" : "size", link);
		text[byte(in) % sizeof(text)] ^= how & 32 ? (char)byte(in) : 0;
		ball_pax(b, e.type, text, strlen(text));
		return;
	}
	memset(text, 't', byte(in));
	e.text = text;
	e.mode = byte(in);
	e.size = byte(in) == 255 ? (uint64_t)byte(in) << byte(in) % 33 : 0;
	ball_add(b, e);
}

static void make_ball(struct input *in, struct ball *b, uint8_t how)
{
	if (how & 1) {
		ball_raw(b, in->p, in->left / 512 * 512);
		for (size_t at = 0; at < b->len; at += 512)
			ball_sum(b, at);
	} else {
		for (unsigned i = 0; in->left && i < 60 && (i < 8 || byte(in) != 255); i++)
			entry(in, b);
	}
	if (how & 2)
		ball_end(b);
	if (how & 4 && b->len)
		ball_gzip(b, 0);
}

static void make_image(struct image_tree *t, const struct image_source *sources, unsigned count)
{
	int fd = memfd_create("image", MFD_CLOEXEC);
	struct erofs *e;
	struct view v;

	require(fd >= 0 && !tree_freeze(t));
	e = erofs_open(t, fd);
	require(e && !tar_contents(t, sources, count, e));
	erofs_close(e);
	view_open_fd(&v, fd);
	view_check(&v);
	view_close(&v);
	close(fd);
}

static void archives(struct input *in, uint8_t how)
{
	struct image_source sources[BALLS];
	struct image_tree *t = tree_new("fuzz");
	struct ball b = { NULL };
	unsigned n = 0;
	int r = 0;

	while (!r && n < (how & 8 ? BALLS : 1)) {
		struct stat st;

		b.len = 0;
		make_ball(in, &b, how);
		sources[n].what = "fuzz";
		sources[n].fd = memfd_create("tar", MFD_CLOEXEC);
		require(sources[n].fd >= 0 &&
			write(sources[n].fd, b.data, b.len) == (ssize_t)b.len &&
			!fstat(sources[n].fd, &st));
		sources[n].off = 0;
		sources[n].len = b.len;
		sources[n].ctime = st.st_ctim;
		t->layer = n;
		*complained = '\0';
		r = tar_read(t, &sources[n], n, how & 8, NULL);
		require(r <= 0 && !r == !*complained);
		n++;
	}
	if (!r)
		make_image(t, sources, n);
	while (n)
		close(sources[--n].fd);
	free(b.data);
	tree_free(t);
}

static void json(const struct input *in)
{
	char *text = malloc(in->left + 1), buf[64];
	const struct json_value *v;
	struct json j;
	uint64_t n;

	memcpy(text, in->p, in->left);
	if (!json_parse(&j, text, in->left)) {
		require(j.n && j.v->next == j.n);
		for (v = j.v; v < j.v + j.n; v++) {
			require(v->next <= j.n && v->next > v - j.v);
			require(range_fits(v->start, v->len, in->left));
			json_string(&j, v, buf, sizeof(buf));
			json_uint(&j, v, &n);
			json_get(&j, v, "a");
		}
		json_free(&j);
	} else {
		require(j.why && j.line && !j.v);
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	uint8_t how = byte(&in);

	if (how % 16 == 15)
		json(&in);
	else
		archives(&in, how);
	return 0;
}
