/* cmd_image.c - hutch image: make, list and remove root file systems */
/* #syscalls:before openat newfstatat getdents64 unlink close */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "image_build.h"
#include "tool.h"
#include "units.h"

struct listed {
	char name[64];
	int kind;
	uint64_t files, bytes;
	time_t made;
};

static int write_image(const char *source, const struct image_options *opt, const char *final)
{
	struct image_temp temp;
	struct image_sum sum;
	char size[32];

	if (image_temp_open(&temp, final))
		return EXIT_HUTCH;
	if (image_build(source, opt, temp.fd, &sum)) {
		image_temp_drop(&temp);
		return EXIT_HUTCH;
	}
	if (image_temp_commit(&temp, final))
		return EXIT_HUTCH;
	close(temp.fd);
	printf("%s: %lu files, %s\n", final, (unsigned long)sum.files,
	       bytes_print(sum.bytes, size, sizeof(size)));
	return 0;
}

enum { BUILD_OUTPUT, BUILD_MAP_ROOT, BUILD_REF, BUILD_FLAGS };

static const struct flag build_flags[] = {
	[BUILD_OUTPUT] = { .name = "output",
			   .letter = 'o',
			   .arg = "FILE",
			   .help = "write the image there, not into the store" },
	[BUILD_MAP_ROOT] = { .name = "map-root",
			     .help = "files of the caller's uid and gid belong to root in the "
				     "image" },
	[BUILD_REF] = { .name = "ref",
			.arg = "NAME",
			.help = "which image of an OCI layout that has several" },
	{ .name = NULL },
};

static int run_build(int argc, char **argv, const struct verb *verb)
{
	struct given given[BUILD_FLAGS] = { 0 };
	int n = parse(argc, argv, verb, NULL, given);
	struct image_options opt = { .map_root = given[BUILD_MAP_ROOT].n,
				     .ref = given[BUILD_REF].text };
	char path[PATH_MAX];
	int r;

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (n < 1 || n > 2 || (n == 2) == (given[BUILD_OUTPUT].n > 0)) {
		complain("image build: a source, and a name or -o FILE, are needed: hutch image "
			 "build SOURCE NAME");
		return EXIT_USAGE;
	}
	if (given[BUILD_OUTPUT].n)
		return write_image(argv[0], &opt, given[BUILD_OUTPUT].text);
	r = image_name_path(argv[1], true, path, sizeof(path));
	if (r == -EINVAL)
		complain("image build: '%s' is not a name; use up to 63 letters, digits, dots, "
			 "dashes, underscores, or -o for a path",
			 argv[1]);
	if (r)
		return r == -EINVAL ? EXIT_USAGE : EXIT_HUTCH;
	return write_image(argv[0], &opt, path);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct listed *)a)->name, ((const struct listed *)b)->name);
}

/* what is in the store, sorted: how many, or -errno after a complaint */
static long list_images(struct listed **ret)
{
	struct listed *list = NULL, *more;
	char path[PATH_MAX];
	struct dirent *de;
	long count = 0;
	DIR *d;
	int r = image_store_path(false, path, sizeof(path));

	d = r ? NULL : opendir(path);
	if (r == -ENOENT || (!r && !d && errno == ENOENT))
		return 0; /* nothing was ever stored */
	while (d && (de = readdir(d))) {
		size_t len = strlen(de->d_name);
		struct listed l = { .kind = 0 };
		struct stat st;
		int fd;

		if (*de->d_name == '.' || len < 5 || len - 4 >= sizeof(l.name) ||
		    strcmp(de->d_name + len - 4, ".img"))
			continue;
		fd = openat(dirfd(d), de->d_name, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue; /* removed meanwhile */
		if (!fstat(fd, &st)) {
			l.bytes = (uint64_t)st.st_size;
			l.made = st.st_mtime;
		}
		l.kind = image_probe(fd, &l.files);
		close(fd);
		memcpy(l.name, de->d_name, len - 4);
		more = realloc(list, sizeof(l) * ((size_t)count + 1));
		if (!more)
			break;
		list = more;
		list[count++] = l;
	}
	if (!d) {
		complain("image ls: %s: %s", path, strerror(errno));
		return -EIO;
	}
	closedir(d);
	if (count)
		qsort(list, (size_t)count, sizeof(*list), by_name);
	*ret = list;
	return count;
}

/* names and kinds need no escapes: both are made of letters, digits and ._- */
static void print_image(const struct listed *l, bool json, bool first)
{
	const char *kind = image_fs_name(l->kind) ? image_fs_name(l->kind) : "damaged";
	char when[32], size[32];
	struct tm tm;

	if (json) {
		gmtime_r(&l->made, &tm);
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
		printf("%s{\"name\":\"%s\",\"type\":\"%s\",\"files\":%lu,\"size_bytes\":%lu,"
		       "\"created_at\":\"%s\"}",
		       first ? "" : ",", l->name, kind, (unsigned long)l->files,
		       (unsigned long)l->bytes, when);
		return;
	}
	localtime_r(&l->made, &tm);
	strftime(when, sizeof(when), "%Y-%m-%d %H:%M", &tm);
	if (globals.quiet) {
		puts(l->name);
		return;
	}
	if (first)
		printf("%-24s %-9s %9s %12s  %s\n", "NAME", "TYPE", "FILES", "SIZE", "CREATED");
	printf("%-24s %-9s %9lu %12s  %s\n", l->name, kind, (unsigned long)l->files,
	       bytes_print(l->bytes, size, sizeof(size)), when);
}

static int run_ls(int argc, char **argv, const struct verb *verb)
{
	int n = parse(argc, argv, verb, NULL, NULL);
	struct listed *list = NULL;
	bool json = globals.json;
	long count;

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (n) {
		complain("image ls: '%s' is too many: it lists all images", argv[0]);
		return EXIT_USAGE;
	}
	count = list_images(&list);
	if (count < 0)
		return EXIT_HUTCH;
	if (json)
		putchar('[');
	for (long i = 0; i < count; i++)
		print_image(&list[i], json, !i);
	if (json)
		puts("]");
	free(list);
	if (fflush(stdout) || ferror(stdout)) {
		complain("image ls: the list could not be written");
		return EXIT_HUTCH;
	}
	return 0;
}

/* "; did you mean 'NAME'?" */
static void say_missing(const char *name)
{
	struct listed *list = NULL;
	long count = list_images(&list);
	const char **names, *near = NULL;

	names = count > 0 ? calloc((size_t)count + 1, sizeof(*names)) : NULL;
	for (long i = 0; names && i < count; i++)
		names[i] = list[i].name;
	if (names)
		near = hutch_nearest(name, names);
	complain("image rm: there is no image '%s'%s%s%s", name, near ? "; did you mean '" : "",
		 near ? near : "", near ? "'?" : "; 'hutch image ls' lists them");
	free(names);
	free(list);
}

static int run_rm(int argc, char **argv, const struct verb *verb)
{
	int n = parse(argc, argv, verb, NULL, NULL), status = 0;
	char path[PATH_MAX];

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (!n) {
		complain("image rm: a name is needed: hutch image rm NAME...");
		return EXIT_USAGE;
	}
	for (int i = 0; i < n; i++) {
		int r = image_name_path(argv[i], false, path, sizeof(path));

		if (!r && !unlink(path))
			continue;
		if (r || errno == ENOENT) {
			say_missing(argv[i]);
			status = status ? status : EXIT_FAIL;
		} else {
			complain("image rm: %s: %s", path, strerror(errno));
			status = EXIT_HUTCH;
		}
	}
	return status;
}

static const struct verb build = {
	.name = "image build",
	.args = "[FLAGS] SOURCE NAME | -o FILE SOURCE",
	.summary = "make a root file system of a folder, a tar or an OCI layout",
	.text = "SOURCE is a folder, a tar archive (ustar, pax or GNU; plain or gzip) or an OCI\n"
		"image layout (a folder or a plain tar of it). The image is EROFS and only\n"
		"depends on what SOURCE holds: the same files give the same bytes.\n"
		"\n"
		"Kept are modes, owners, times, links, devices, and of extended attributes\n"
		"user.*, security.capability and POSIX ACLs; others (labels and marks of the\n"
		"host) are left out, as are sockets and what is mounted inside a folder.",
	.flags = build_flags,
	.run = run_build,
};

static const struct verb ls = {
	.name = "image ls",
	.args = "",
	.summary = "list the images in the store",
	.run = run_ls,
};

static const struct verb rm = {
	.name = "image rm",
	.args = "NAME...",
	.summary = "remove images from the store",
	.text = "A machine that runs on one keeps it until it ends.",
	.run = run_rm,
};

static const struct verb *const sub[] = { &build, &ls, &rm, NULL };

const struct verb verb_image = {
	.name = "image",
	.args = "build|ls|rm ...",
	.summary = "make, list and remove root file systems",
	.text = "Images have names in a store: $XDG_DATA_HOME/hutch/images, else\n"
		"~/.local/share/hutch/images, or /var/lib/hutch/images for root.",
	.sub = sub,
	.run = run_sub,
};
