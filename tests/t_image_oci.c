/* t_image_oci - OCI layouts: whiteouts, digests, choice of an image; and the JSON and SHA-256 of
 * them */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <unistd.h>

#include "../tools/image_json.h"
#include "image_rig.h"
#include "suite.h"

static void digest_of(const void *data, size_t len, char hex[SHA256_HEX])
{
	struct sha256 s;

	sha256_start(&s);
	sha256_add(&s, data, len);
	sha256_hex(&s, hex);
}

/* of FIPS 180-4, and in pieces around a block's size */
START_TEST(sha256)
{
	static const char million[] =
		"cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
	char hex[SHA256_HEX], again[SHA256_HEX], data[300];
	struct sha256 s;

	digest_of("", 0, hex);
	ck_assert_str_eq(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	digest_of("abc", 3, hex);
	ck_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	digest_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, hex);
	ck_assert_str_eq(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
	memset(data, 'a', sizeof(data));
	sha256_start(&s);
	for (unsigned i = 0; i < 1000000; i += 250)
		sha256_add(&s, data, 250);
	sha256_hex(&s, hex);
	ck_assert_str_eq(hex, million);
	for (size_t len = 0; len < sizeof(data); len++) {
		digest_of(data, len, hex);
		sha256_start(&s);
		for (size_t at = 0, n; at < len; at += n) {
			n = len - at < at % 67 + 1 ? len - at : at % 67 + 1;
			sha256_add(&s, data + at, n);
		}
		sha256_hex(&s, again);
		ck_assert_str_eq(hex, again);
	}
}
END_TEST

START_TEST(json)
{
	static const char text[] =
		" {\"a\" : [ 1, -0.5e+3, true,null,\"x\\u00e4\\n\\ud83d\\ude00\"],"
		"\"b\":{\"c\":[],\"d\":{}},\"two\":1,\"two\":2}\n";
	const struct json_value *a, *v;
	struct json j;
	char buf[16];
	uint64_t n;

	ck_assert_int_eq(json_parse(&j, text, strlen(text)), 0);
	a = json_get(&j, j.v, "a");
	v = json_first(&j, a);
	ck_assert(!json_uint(&j, v, &n) && n == 1);
	v = json_next(&j, a, v);
	ck_assert(v->kind == JSON_NUMBER && json_uint(&j, v, &n));
	v = json_next(&j, a, json_next(&j, a, json_next(&j, a, v)));
	ck_assert(!json_string(&j, v, buf, 9) && !strcmp(buf, "x\xc3\xa4\n\xf0\x9f\x98\x80"));
	ck_assert_int_eq(json_string(&j, v, buf, 8), -1);
	ck_assert_ptr_null(json_next(&j, a, v));
	v = json_get(&j, json_get(&j, j.v, "b"), "c");
	ck_assert(v && v->kind == JSON_ARRAY && !json_first(&j, v));
	/* what is not there, or is there twice */
	ck_assert_ptr_null(json_get(&j, json_get(&j, j.v, "none"), "c"));
	ck_assert_ptr_null(json_get(&j, j.v, "two"));
	ck_assert(!json_is(&j, NULL, "") && json_uint(&j, NULL, &n));
	json_free(&j);
}
END_TEST

static const char *const bad_json[] = {
	"",
	" ",
	"{",
	"[",
	"[1",
	"[1,",
	"[1,]",
	"[,1]",
	"{,}",
	"{\"a\"}",
	"{\"a\":}",
	"{\"a\":1,}",
	"{a:1}",
	"{\"a\" 1}",
	"[1 2]",
	"[1]]",
	"[1] x",
	"01",
	"-",
	"+1",
	"1.",
	".5",
	"1e",
	"1e+",
	"tru",
	"nul",
	"True",
	"'a'",
	"\"",
	"\"a",
	"\"\\\"",
	"\"\\x\"",
	"\"\\u12g4\"",
	"\"\\u123\"",
	"\"\n\"",
	"\"\xff\"",
	"\"\xc0\xaf\"",
	"\"\xed\xa0\x80\"",
	"\"\xf4\x90\x80\x80\"",
	"\"\xe2\x82\"",
	"[}",
	"{]",
	"// x\n1",
	"\xef\xbb\xbf"
	"1",
	"NaN",
};

START_TEST(json_refused)
{
	struct json j;

	ck_assert_int_eq(json_parse(&j, bad_json[_i], strlen(bad_json[_i])), -EINVAL);
	ck_assert_ptr_nonnull(j.why);
	ck_assert_ptr_null(j.v);
}
END_TEST

START_TEST(json_bounds)
{
	size_t len = 200000;
	char *text = malloc(len);
	struct json j;
	char buf[8];

	memset(text, '[', JSON_DEPTH);
	memset(text + JSON_DEPTH, ']', JSON_DEPTH);
	ck_assert_int_eq(json_parse(&j, text, 2 * JSON_DEPTH), 0);
	json_free(&j);
	memset(text, '[', len);
	ck_assert_int_eq(json_parse(&j, text, len), -EINVAL);
	ck_assert_str_eq(j.why, "arrays and objects are nested too deeply");
	for (size_t i = 1; i + 1 < len; i += 2)
		memcpy(text + i, "1,", 2);
	ck_assert_int_eq(json_parse(&j, text, len), -EINVAL);
	ck_assert_str_eq(j.why, "there are too many values");
	ck_assert_int_eq(json_parse(&j, text, JSON_SIZE + 1), -EFBIG);
	free(text);
	/* half a character, and a NUL, are no text */
	ck_assert_int_eq(json_parse(&j, "\"\\ud83d\"", 8), 0);
	ck_assert_int_eq(json_string(&j, j.v, buf, sizeof(buf)), -1);
	json_free(&j);
	ck_assert_int_eq(json_parse(&j, "\"\\u0000\"", 8), 0);
	ck_assert_int_eq(json_string(&j, j.v, buf, sizeof(buf)), -1);
	json_free(&j);
}
END_TEST

/* a layout being made */
struct blob {
	char digest[SHA256_HEX];
	size_t size;
};

static struct blob put_blob(const void *data, size_t len)
{
	struct blob b = { .size = len };
	char name[200];

	digest_of(data, len, b.digest);
	snprintf(name, sizeof(name), "oci/blobs/sha256/%s", b.digest);
	put_file(scratch_path(name), data, len);
	return b;
}

static struct blob put_layer(struct ball *b, bool gzip)
{
	struct blob blob;

	ball_end(b);
	if (gzip)
		ball_gzip(b, 0);
	blob = put_blob(b->data, b->len);
	free(b->data);
	*b = (struct ball){ NULL };
	return blob;
}

static struct blob put_json(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static struct blob put_json(const char *fmt, ...)
{
	char text[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return put_blob(text, strlen(text));
}

#define DESC  "\"digest\":\"sha256:%s\",\"size\":%zu"
#define OF(b) (b).digest, (b).size
#define LINUX "\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}"
#define OTHER "\"platform\":{\"os\":\"linux\",\"architecture\":\"s390x\"}"

static void start_layout(void)
{
	ck_assert_int_eq(command("mkdir -p '%s/oci/blobs/sha256'", scratch), 0);
	put_text(scratch_path("oci/oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}");
}

static struct blob put_manifest(const struct blob *layers, unsigned count, const char *arch)
{
	struct blob config = put_json("{\"os\":\"linux\",\"architecture\":\"%s\"}", arch);
	char list[2000] = "";

	for (unsigned i = 0; i < count; i++)
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s{" DESC "}",
			 i ? "," : "", OF(layers[i]));
	return put_json("{\"config\":{" DESC "},\"layers\":[%s]}", OF(config), list);
}

static void put_index(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void put_index(const char *fmt, ...)
{
	char text[4096] = "{\"manifests\":[";
	size_t n = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - n - 2, fmt, ap);
	va_end(ap);
	strcat(text, "]}");
	put_text(scratch_path("oci/index.json"), text);
}

/* one image with these layers, named by nobody */
static void put_image(const struct blob *layers, unsigned count)
{
	struct blob m = put_manifest(layers, count, "amd64");

	put_index("{" DESC "}", OF(m));
}

static struct blob text_layer(const char *path, const char *text)
{
	struct ball b = { NULL };

	ball_add(&b, (struct ball_entry){ .path = path, .text = text });
	return put_layer(&b, true);
}

/* refused, with these words */
static void refuse(const char *words)
{
	ck_assert_int_lt(build_image(scratch_path("oci"), "img"), 0);
	ck_assert_msg(strstr(complained, words) != NULL, "'%s' is not '%s'", complained, words);
}

static void put_layers(struct blob layers[3])
{
	static const char *const low[] = { "etc/base",	"etc/gone",	"etc/kept",
					   "old/x/y",	"opaque/low",	"opaque/s/low",
					   "mixed/low", "mixed/dir/low" };
	struct ball b = { NULL };

	for (unsigned i = 0; i < 8; i++)
		ball_add(&b, (struct ball_entry){ .path = low[i], .text = low[i] });
	ball_add(&b, (struct ball_entry){ .type = '2', .path = "lib", .link = "usr/lib" });
	ball_add(&b, (struct ball_entry){ .type = '5', .path = "usr/lib" });
	layers[0] = put_layer(&b, false);
	ball_add(&b, (struct ball_entry){ .path = "etc/.wh.gone" });
	ball_add(&b, (struct ball_entry){ .path = "etc/.wh.never" });
	ball_add(&b, (struct ball_entry){ .path = ".wh.old" });
	ball_add(&b, (struct ball_entry){ .path = ".wh..wh.plnk" });
	ball_add(&b, (struct ball_entry){ .path = "opaque/new", .text = "new" });
	ball_add(&b, (struct ball_entry){ .path = "opaque/.wh..wh..opq" });
	ball_add(&b, (struct ball_entry){ .path = "mixed/dir/new", .text = "new" });
	ball_add(&b, (struct ball_entry){ .path = ".wh.mixed" });
	layers[1] = put_layer(&b, true);
	ball_add(&b, (struct ball_entry){ .path = "lib/so", .text = "so" });
	ball_add(&b, (struct ball_entry){ .path = "etc/base", .text = "top" });
	ball_add(&b, (struct ball_entry){ .type = '1', .path = "hard", .link = "etc/kept" });
	layers[2] = put_layer(&b, true);
}

START_TEST(layers_and_whiteouts)
{
	struct blob layers[3];
	struct view_inode i;
	struct view v;

	start_layout();
	put_layers(layers);
	put_image(layers, 3);
	ck_assert_msg(!build_image(scratch_path("oci"), "img"), "%s", complained);
	view_open(&v, scratch_path("img"));
	view_check(&v);
	ck_assert(view_text(&v, "etc/base", "top") && view_text(&v, "hard", "etc/kept"));
	ck_assert(!view_find(&v, "etc/gone", &i) && !view_find(&v, "old", &i));
	ck_assert(!view_find(&v, "etc/.wh.gone", &i) && !view_find(&v, ".wh..wh.plnk", &i));
	ck_assert(view_text(&v, "opaque/new", "new") && !view_find(&v, "opaque/low", &i));
	ck_assert(!view_find(&v, "opaque/s", &i) && !view_find(&v, "opaque/.wh..wh..opq", &i));
	/* a whiteout hides what is below, not what its own layer has */
	ck_assert(view_text(&v, "mixed/dir/new", "new") && !view_find(&v, "mixed/dir/low", &i));
	ck_assert(!view_find(&v, "mixed/low", &i) && view_text(&v, "usr/lib/so", "so"));
	view_close(&v);
	/* an archive of the layout is the layout */
	ck_assert_int_eq(command("tar -C '%s/oci' -cf '%s/oci.tar' .", scratch, scratch), 0);
	ck_assert_msg(!build_image(scratch_path("oci.tar"), "img2"), "%s", complained);
	ck_assert(same_files(scratch_path("img"), scratch_path("img2")));
	ck_assert_int_eq(command("gzip -1 '%s/oci.tar'", scratch), 0);
	ck_assert_int_lt(build_image(scratch_path("oci.tar.gz"), "img2"), 0);
	ck_assert_ptr_nonnull(strstr(complained, "gzip -d"));
}
END_TEST

/* one byte wrong in any blob */
START_TEST(damaged)
{
	struct blob layers[3], m, index;
	char name[200];

	start_layout();
	put_layers(layers);
	m = put_manifest(layers, 3, "amd64");
	index = put_json("{\"manifests\":[{" DESC "," LINUX "}]}", OF(m));
	put_index("{" DESC "}", OF(index));
	ck_assert_msg(!build_image(scratch_path("oci"), "img"), "%s", complained);
	snprintf(name, sizeof(name), "oci/blobs/sha256/%s",
		 _i == 0   ? index.digest
		 : _i == 1 ? m.digest
			   : layers[_i - 2].digest);
	/* behind the archive's end, or a space of JSON: only the digest tells */
	ck_assert_int_eq(command("f='%s' && size=$(stat -c %%s \"$f\") && printf %s | "
				 "dd of=\"$f\" bs=1 seek=%d conv=notrunc status=none && "
				 "[ $size = $(stat -c %%s \"$f\") ]",
				 scratch_path(name), _i < 2 ? "' '" : "x",
				 _i < 2	   ? 1
				 : _i == 2 ? (int)layers[0].size - 1
					   : 4),
			 0);
	refuse("has another content than its digest says");
	ck_assert_ptr_nonnull(strstr(complained, name + 17));
	ck_assert_int_eq(command("truncate -s +1 '%s'", scratch_path(name)), 0);
	refuse("has not the size that is written of it");
	ck_assert_int_eq(unlink(scratch_path(name)), 0);
	refuse("No such file");
	ck_assert_int_eq(symlink("/etc/passwd", scratch_path(name)), 0);
	refuse(name + 4);
}
END_TEST

START_TEST(which_image)
{
	struct blob a = { .size = 0 }, b, other, nested;
	struct image_options opt = { .ref = "b:1" };
	struct image_sum sum;
	struct view v;
	int fd;

	start_layout();
	a = text_layer("a", "a");
	a = put_manifest(&a, 1, "amd64");
	b = text_layer("b", "b");
	b = put_manifest(&b, 1, "amd64");
	other = put_manifest(&b, 1, "s390x");
	/* by its platform, within an index of an index */
	nested = put_json("{\"manifests\":[{" DESC "," OTHER "},{" DESC "," LINUX "}]}", OF(other),
			  OF(a));
	put_index("{" DESC "," OTHER "},{" DESC "}", OF(other), OF(nested));
	ck_assert_msg(!build_image(scratch_path("oci"), "img"), "%s", complained);
	view_open(&v, scratch_path("img"));
	ck_assert(view_text(&v, "a", "a"));
	view_close(&v);
	put_index("{" DESC "," OTHER "}", OF(other));
	refuse("there is no image for linux/amd64");
	/* its descriptor says nothing, but its configuration does */
	put_index("{" DESC "}", OF(other));
	refuse("is not one for linux/amd64");
	put_index("{" DESC ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"a:1\"}},"
		  "{" DESC ",\"annotations\":{\"io.containerd.image.name\":\"b:1\"}}",
		  OF(a), OF(b));
	refuse("choose one with --ref: a:1, b:1");
	fd = open(scratch_path("img"), O_RDWR | O_TRUNC | O_CLOEXEC);
	ck_assert_int_eq(image_build(scratch_path("oci"), &opt, fd, &sum), 0);
	close(fd);
	view_open(&v, scratch_path("img"));
	ck_assert(view_text(&v, "b", "b"));
	view_close(&v);
	/* without end */
	for (unsigned i = 0; i < 6; i++)
		nested = put_json("{\"manifests\":[{" DESC "}]}", OF(i ? nested : a));
	put_index("{" DESC "}", OF(nested));
	refuse("nested too deeply");
}
END_TEST

START_TEST(hostile)
{
	static const char *const digests[] = {
		"\"digest\":\"sha256:../../../../../../../../../../../../../../../../etc/"
		"hostname.....\","
		"\"size\":1",
		"\"digest\":\"sha512:abc\",\"size\":1",
		"\"digest\":\"sha256:abc\",\"size\":1",
		"\"digest\":7,\"size\":1",
		"\"size\":1",
		"\"digest\":"
		"\"sha256:E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\","
		"\"size\":0",
	};
	struct blob b;

	start_layout();
	for (unsigned i = 0; i < sizeof(digests) / sizeof(*digests); i++) {
		put_index("{%s}", digests[i]);
		refuse("has no digest 'sha256:' with 64 digits");
	}
	put_text(scratch_path("oci/index.json"), "{\"manifests\":[\n{},\n}");
	refuse("line 3: ");
	put_text(scratch_path("oci/index.json"), "[]");
	refuse("there is no image");
	b = text_layer(".wh...", "");
	put_image(&b, 1);
	refuse("a whiteout hides no name");
	b = text_layer("../../x", "");
	put_image(&b, 1);
	refuse("has '..'");
	put_image(&b, 0);
	refuse("has no layers");
	b = put_blob("\x28\xb5\x2f\xfd zstd", 9);
	put_image(&b, 1);
	refuse("packed with zstd");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("image_oci");
	TCase *t = tcase_create("image_oci");

	tcase_set_timeout(t, 60);
	tcase_add_unchecked_fixture(t, scratch_make, scratch_remove);
	tcase_add_checked_fixture(t, scratch_clear, NULL);
	tcase_add_test(t, sha256);
	tcase_add_test(t, json);
	tcase_add_loop_test(t, json_refused, 0, sizeof(bad_json) / sizeof(*bad_json));
	tcase_add_test(t, json_bounds);
	tcase_add_test(t, layers_and_whiteouts);
	tcase_add_loop_test(t, damaged, 0, 5);
	tcase_add_test(t, which_image);
	tcase_add_test(t, hostile);
	suite_add_tcase(s, t);
	return suite_run(s);
}
