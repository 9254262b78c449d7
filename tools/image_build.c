/* image_build.c - from a source of any kind to an image */
/* #syscalls:before openat newfstatat pread64 faccessat2 geteuid getegid close */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image_build.h"
#include "image_dir.h"
#include "image_oci.h"
#include "image_tar.h"

static int failed(const char *what, int code)
{
	complain("%s: %s", what, strerror(-code));
	return code;
}

static struct image_tree *new_tree(const char *what, const struct image_options *opt)
{
	struct image_tree *t = tree_new(what);

	if (!t) {
		complain("%s: out of memory", what);
		return NULL;
	}
	t->map_root = opt->map_root;
	t->uid = geteuid();
	t->gid = getegid();
	return t;
}

static void summarize(const struct image_tree *t, const struct erofs *e, struct image_sum *ret)
{
	*ret = (struct image_sum){ .files = t->count, .bytes = erofs_size(e) };
}

int image_folder(const char *path, const struct image_options *opt, struct image_folder *ret,
		 struct sha256 *key)
{
	struct stat st;
	int r;

	ret->t = NULL;
	ret->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ret->root < 0)
		return failed(path, -errno);
	ret->t = new_tree(path, opt);
	r = ret->t ? dir_scan(ret->t, ret->root) : -ENOMEM;
	if (!r)
		r = tree_freeze(ret->t);
	if (!r && fstat(ret->root, &st))
		r = failed(path, -errno);
	if (r) {
		image_folder_close(ret);
		return r;
	}
	sha256_add(key, &st.st_dev, sizeof(st.st_dev));
	dir_key(ret->t, key);
	return 0;
}

int image_pack(struct image_folder *f, int fd, struct image_sum *ret)
{
	struct erofs *e;
	int r;

	dir_settle(f->t);
	r = dir_xattrs(f->t, f->root);
	if (r)
		return r;
	e = erofs_open(f->t, fd);
	r = e ? dir_contents(f->t, f->root, e) : -EIO;
	if (!r)
		summarize(f->t, e, ret);
	erofs_close(e);
	return r;
}

void image_folder_close(struct image_folder *f)
{
	tree_free(f->t);
	if (f->root >= 0)
		close(f->root);
	f->t = NULL;
	f->root = -1;
}

static int build_folder(const char *path, const struct image_options *opt, int fd,
			struct image_sum *ret)
{
	struct image_folder f;
	struct sha256 key;
	int r;

	sha256_start(&key);
	r = image_folder(path, opt, &f, &key);
	if (r)
		return r;
	r = image_pack(&f, fd, ret);
	image_folder_close(&f);
	return r;
}

static int finish_archive(struct image_tree *t, const struct image_source *sources, uint32_t count,
			  int fd, struct image_sum *ret)
{
	struct erofs *e;
	int r = tree_freeze(t);

	if (r)
		return r;
	e = erofs_open(t, fd);
	r = e ? tar_contents(t, sources, count, e) : -EIO;
	if (!r)
		summarize(t, e, ret);
	erofs_close(e);
	return r;
}

static int build_oci(struct oci *o, const struct image_options *opt, int fd, struct image_sum *ret)
{
	struct image_tree *t = new_tree(o->what, opt);
	int r = t ? oci_read(o, t) : -ENOMEM;

	if (!r)
		r = finish_archive(t, o->layers, o->count, fd, ret);
	oci_close(o);
	tree_free(t);
	return r;
}

static int build_archive(const struct image_source *src, const struct image_options *opt, int fd,
			 struct image_sum *ret)
{
	struct oci o = { .what = src->what, .dir = -1, .outer = *src, .ref = opt->ref };
	struct image_tree *t = new_tree(src->what, opt);
	uint8_t head[2] = { 0 };
	int r = t ? tar_read(t, src, 0, false, NULL) : -ENOMEM;

	if (!r && tree_find(t, "oci-layout") && tree_find(t, "index.json")) {
		o.files = t;
		if (pread(src->fd, head, 2, 0) == 2 && head[0] == 0x1f && head[1] == 0x8b) {
			complain("%s: an OCI layout is only read from a plain archive; unpack it "
				 "with 'gzip -d'",
				 src->what);
			r = -EINVAL;
		} else {
			r = build_oci(&o, opt, fd, ret);
		}
	} else if (!r && tree_find(t, "manifest.json") && tree_find(t, "repositories")) {
		complain("%s: looks like what an old 'docker save' writes; make an OCI layout, "
			 "with docker 25 or later or with 'skopeo copy ... oci:DIR'",
			 src->what);
		r = -EINVAL;
	} else if (!r && opt->ref) {
		complain("%s: is no OCI layout, so --ref chooses nothing", src->what);
		r = -EINVAL;
	} else if (!r) {
		r = finish_archive(t, src, 1, fd, ret);
	}
	tree_free(t);
	return r;
}

static bool is_layout(int dir)
{
	return !faccessat(dir, "oci-layout", F_OK, 0) && !faccessat(dir, "index.json", F_OK, 0);
}

static int open_source(const char *source, struct image_source *ret, struct stat *ret_st)
{
	int fd = open(source, O_RDONLY | O_NONBLOCK | O_CLOEXEC), kind;

	if (fd < 0)
		return failed(source, -errno);
	if (fstat(fd, ret_st)) {
		int r = failed(source, -errno);

		close(fd);
		return r;
	}
	*ret = (struct image_source){
		.what = source, .fd = fd, .len = (uint64_t)ret_st->st_size, .ctime = ret_st->st_ctim
	};
	if (S_ISDIR(ret_st->st_mode))
		return 0;
	kind = S_ISREG(ret_st->st_mode) ? image_probe(fd, NULL) : 0;
	if (!kind && S_ISREG(ret_st->st_mode))
		return 0;
	if (kind)
		complain("%s: is an image already (%s); run it as it is", source,
			 image_fs_name(kind));
	else
		complain("%s: is neither a folder nor a file; an archive must be a file, as it is "
			 "read twice",
			 source);
	close(fd);
	return -EINVAL;
}

int image_build(const char *source, const struct image_options *opt, int fd, struct image_sum *ret)
{
	struct image_source src;
	struct stat st;
	int r = open_source(source, &src, &st);

	if (r)
		return r;
	if (!S_ISDIR(st.st_mode)) {
		r = build_archive(&src, opt, fd, ret);
	} else if (is_layout(src.fd)) {
		struct oci o = { .what = source, .dir = src.fd, .ref = opt->ref };

		r = build_oci(&o, opt, fd, ret);
	} else if (opt->ref) {
		complain("%s: is no OCI layout, so --ref chooses nothing", source);
		r = -EINVAL;
	} else {
		r = build_folder(source, opt, fd, ret);
	}
	close(src.fd);
	return r;
}
