/*
 * image_oci.c - index.json -> (an index ->) a manifest -> its layers, each blob named by its digest
 *
 * The index names images; one is chosen by what this machine runs (linux and
 * the architecture) and, where there are several, by the name it was saved
 * under.  A blob is only ever looked up by a digest of the right form.
 *
 * #syscalls:before newfstatat close
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image_dir.h"
#include "image_json.h"
#include "image_oci.h"
#include "image_tar.h"
#include "tool.h"

#ifdef __aarch64__
#define ARCH "arm64"
#else
#define ARCH "amd64"
#endif

#define NESTED_MOST 3

/* what one blob says of another */
struct descriptor {
	char digest[7 + SHA256_HEX]; /* "sha256:..." */
	uint64_t size;
};

struct blob {
	struct image_source src;
	char *text;
	struct json json;
};

static int fail(const struct oci *o, const char *name, const char *why)
{
	complain("%s: %.80s: %s", o->what, name, why);
	return -EBADMSG;
}

/* a file of the layout; in a folder its descriptor is the caller's to close */
static int open_file(const struct oci *o, const char *path, struct image_source *ret)
{
	struct image_node *n;
	struct stat st;
	int fd;

	if (o->files) {
		n = tree_find(o->files, path);
		if (!n || !S_ISREG(n->mode))
			return fail(o, path, "is missing in the layout");
		*ret = o->outer;
		ret->off = n->offset;
		ret->len = n->size;
		return 0;
	}
	fd = open_beneath(o->dir, path, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return fail(o, path, strerror(-fd));
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return fail(o, path, "is not a file");
	}
	*ret = (struct image_source){
		.what = o->what, .fd = fd, .len = (uint64_t)st.st_size, .ctime = st.st_ctim
	};
	return 0;
}

static void close_file(const struct oci *o, const struct image_source *src)
{
	if (!o->files)
		close(src->fd);
}

static int open_blob(const struct oci *o, const struct descriptor *d, struct image_source *ret)
{
	char path[128];
	int r;

	snprintf(path, sizeof(path), "blobs/sha256/%s", d->digest + 7);
	r = open_file(o, path, ret);
	if (!r && ret->len != d->size) {
		close_file(o, ret);
		return fail(o, d->digest, "has not the size that is written of it");
	}
	return r;
}

static int check_digest(const struct oci *o, const struct descriptor *d, struct sha256 *sum)
{
	char hex[SHA256_HEX];

	sha256_hex(sum, hex);
	return strcmp(hex, d->digest + 7)
		       ? fail(o, d->digest,
			      "has another content than its digest says: damaged or "
			      "changed; fetch the image again")
		       : 0;
}

static int read_text(const struct oci *o, const char *name, const struct image_source *src,
		     struct sha256 *sum, char **ret)
{
	struct image_stream *in;
	char *text;
	int r;

	if (src->len > JSON_SIZE)
		return fail(o, name, "is larger than 4 MiB, which no index or manifest is");
	text = malloc(src->len + 1);
	if (!text) {
		complain("%s: out of memory", o->what);
		return -ENOMEM;
	}
	in = stream_open(src, sum);
	r = in ? stream_need(in, text, src->len) : -EINVAL;
	stream_close(in);
	if (r)
		free(text);
	else
		*ret = text;
	return r;
}

static void blob_free(struct blob *b)
{
	json_free(&b->json);
	free(b->text);
	b->text = NULL;
}

/* index.json (no descriptor: nothing says what it must be), or a blob of JSON */
static int read_json(const struct oci *o, const struct descriptor *d, struct blob *ret)
{
	const char *name = d ? d->digest : "index.json";
	struct sha256 sum;
	char why[200];
	int r;

	*ret = (struct blob){ .text = NULL };
	sha256_start(&sum);
	r = d ? open_blob(o, d, &ret->src) : open_file(o, name, &ret->src);
	if (r)
		return r;
	r = read_text(o, name, &ret->src, &sum, &ret->text);
	close_file(o, &ret->src);
	if (!r && d)
		r = check_digest(o, d, &sum);
	if (!r && json_parse(&ret->json, ret->text, ret->src.len)) {
		snprintf(why, sizeof(why), "line %u: %s", ret->json.line,
			 ret->json.why ? ret->json.why : "out of memory");
		r = fail(o, name, why);
	}
	if (r)
		blob_free(ret);
	return r;
}

static int get_descriptor(const struct oci *o, const struct json *j, const struct json_value *v,
			  struct descriptor *ret)
{
	const struct json_value *digest = json_get(j, v, "digest");

	if (json_string(j, digest, ret->digest, sizeof(ret->digest)) ||
	    strncmp(ret->digest, "sha256:", 7) || strlen(ret->digest) != 71 ||
	    ret->digest[7 + strspn(ret->digest + 7, "0123456789abcdef")])
		return fail(o, "a descriptor", "has no digest 'sha256:' with 64 digits");
	if (json_uint(j, json_get(j, v, "size"), &ret->size))
		return fail(o, ret->digest, "its descriptor has no size");
	return 0;
}

/* 2: for this machine, 1: for which is not said, 0: for another */
static int fits(const struct json *j, const struct json_value *v)
{
	const struct json_value *p = json_get(j, v, "platform");

	if (!p)
		return 1;
	return json_is(j, json_get(j, p, "os"), "linux") &&
			       json_is(j, json_get(j, p, "architecture"), ARCH)
		       ? 2
		       : 0;
}

static const char *const ref_keys[] = { "org.opencontainers.image.ref.name",
					"io.containerd.image.name" };

static bool has_ref(const struct json *j, const struct json_value *v, const char *ref)
{
	const struct json_value *notes = json_get(j, v, "annotations");

	return json_is(j, json_get(j, notes, ref_keys[0]), ref) ||
	       json_is(j, json_get(j, notes, ref_keys[1]), ref);
}

/* what a person may write after --ref */
static void list_refs(const struct json *j, const struct json_value *list, char *buf, size_t size)
{
	size_t at = 0;

	*buf = '\0';
	for (const struct json_value *v = json_first(j, list); v; v = json_next(j, list, v)) {
		const struct json_value *notes = json_get(j, v, "annotations");
		char ref[200];

		if ((json_string(j, json_get(j, notes, ref_keys[1]), ref, sizeof(ref)) &&
		     json_string(j, json_get(j, notes, ref_keys[0]), ref, sizeof(ref))) ||
		    strlen(ref) + 3 > size - at)
			continue;
		for (char *c = ref; *c; c++) /* a terminal must not obey it */
			*c = *c < ' ' || *c == 127 ? '?' : *c;
		at += (size_t)snprintf(buf + at, size - at, "%s%s", at ? ", " : "", ref);
	}
}

/* one of an index's manifests; in index.json, two that fit equally are one too many */
static int choose(const struct oci *o, const struct blob *b, bool top, struct descriptor *ret)
{
	const struct json *j = &b->json;
	const struct json_value *list = json_get(j, j->v, "manifests"), *best = NULL;
	int best_fit = 0, equal = 0;
	char refs[600];

	for (const struct json_value *v = json_first(j, list); v; v = json_next(j, list, v)) {
		int fit = top && o->ref && !has_ref(j, v, o->ref) ? 0 : fits(j, v);

		if (fit > best_fit) {
			best = v;
			best_fit = fit;
			equal = 0;
		} else if (fit && fit == best_fit) {
			equal++;
		}
	}
	list_refs(j, list, refs, sizeof(refs));
	if (!best) {
		complain("%s: there is no image for linux/" ARCH "%s%s in it%s%s", o->what,
			 top && o->ref ? " named " : "", top && o->ref ? o->ref : "",
			 *refs ? "; there are: " : "", refs);
		return -ENOENT;
	}
	if (top && equal) {
		complain("%s: there are several images in it; choose one with --ref: %s", o->what,
			 *refs ? refs : "they have no names, so save one alone");
		return -EINVAL;
	}
	return get_descriptor(o, j, best, ret);
}

static int check_config(const struct oci *o, const struct json *j)
{
	struct descriptor d;
	struct blob config;
	bool right;
	int r = get_descriptor(o, j, json_get(j, j->v, "config"), &d);

	if (!r)
		r = read_json(o, &d, &config);
	if (r)
		return r;
	right = json_is(&config.json, json_get(&config.json, config.json.v, "os"), "linux") &&
		json_is(&config.json, json_get(&config.json, config.json.v, "architecture"), ARCH);
	blob_free(&config);
	return right ? 0 : fail(o, d.digest, "the image is not one for linux/" ARCH);
}

static int read_layer(struct oci *o, struct image_tree *t, const struct descriptor *d)
{
	struct image_source *src = &o->layers[o->count];
	char what[600];
	struct sha256 sum;
	int r;

	sha256_start(&sum);
	r = open_blob(o, d, src);
	if (r)
		return r;
	o->count++;
	snprintf(what, sizeof(what), "%.500s: layer %.19s", o->what, d->digest);
	src->what = tree_text(t, what, strlen(what));
	if (!src->what)
		return -ENOMEM;
	t->layer = o->count - 1;
	r = tar_read(t, src, t->layer, true, &sum);
	return r ? r : check_digest(o, d, &sum);
}

static int read_manifest(struct oci *o, const struct blob *b, struct image_tree *t)
{
	const struct json *j = &b->json;
	const struct json_value *list = json_get(j, j->v, "layers");
	struct descriptor d;
	int r = check_config(o, j);

	for (const struct json_value *v = json_first(j, list); !r && v; v = json_next(j, list, v)) {
		if (o->count == OCI_LAYERS)
			return fail(o, "the manifest", "has more than 256 layers");
		r = get_descriptor(o, j, v, &d);
		if (!r)
			r = read_layer(o, t, &d);
	}
	return r ? r : o->count ? 0 : fail(o, "the manifest", "has no layers");
}

int oci_read(struct oci *o, struct image_tree *t)
{
	struct descriptor d;
	struct blob b;
	int r = read_json(o, NULL, &b);

	for (unsigned depth = 0; !r; depth++) {
		bool index = json_get(&b.json, b.json.v, "manifests") != NULL;

		if (!depth || index)
			r = depth > NESTED_MOST ? fail(o, d.digest, "is nested too deeply")
						: choose(o, &b, !depth, &d);
		else
			r = read_manifest(o, &b, t);
		blob_free(&b);
		if (r || (depth && !index))
			break;
		r = read_json(o, &d, &b);
	}
	return r;
}

void oci_close(struct oci *o)
{
	while (o->count)
		close_file(o, &o->layers[--o->count]);
}
