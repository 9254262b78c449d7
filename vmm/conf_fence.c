/*
 * conf_fence.c - what a file of keys may do that nobody named
 *
 * Who runs hutch to contain a folder's content stands in that folder, and its
 * hutch.yaml is that content's.  So it sets only keys that the table calls inner,
 * which tell what the machine is like within; and its files are those of its folder,
 * which the guest reads and does not write: what it wrote into .git/config, say,
 * would be run out here.
 *
 * A path is followed once, to its end, and what is opened later is that end.
 *
 * #syscalls:before getcwd newfstatat readlink
 */
#include <limits.h>
#include <sys/stat.h>

#include "conf_event.h"

_Static_assert(CONF_PATH >= PATH_MAX, "realpath() fits into a path");

static int outside(const struct conf_fence *fence, const char *what, const char *why)
{
	return err(-EACCES,
		   "%s: %s; %s is read because it lies here, not because you named it: if "
		   "you trust it, say -C %s",
		   what, why, fence->file, fence->file);
}

/* where a file leads that may have to be made first: its folder is there, and no link is */
static int follow(const char *path, char end[CONF_PATH])
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char folder[CONF_PATH];
	struct stat st;
	size_t len;

	if (realpath(path, end))
		return 0;
	if (errno != ENOENT || !lstat(path, &st) || !*name || !strcmp(name, ".."))
		return -errno ? -errno : -ENOENT;
	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(name - path) : 1,
		 slash ? path : ".");
	if (!realpath(folder, end))
		return -errno;
	len = strlen(end);
	if (len + strlen(name) + 2 > CONF_PATH)
		return -ENAMETOOLONG;
	snprintf(end + len, CONF_PATH - len, "%s%s", len == 1 ? "" : "/", name);
	return 0;
}

int conf_fence_path(const struct conf_fence *fence, const char *what, char path[CONF_PATH])
{
	size_t len = strlen(fence->folder);
	char end[CONF_PATH], why[512];
	int r = follow(path, end);

	if (r) {
		snprintf(why, sizeof(why), "'%.200s' leads nowhere (%s)", path, strerror(-r));
		return outside(fence, what, why);
	}
	if (len == 1 || (!strncmp(end, fence->folder, len) && end[len] == '/')) {
		memcpy(path, end, CONF_PATH);
		return 0;
	}
	snprintf(why, sizeof(why), "'%.200s' lies outside of its folder %.200s", path,
		 fence->folder);
	return outside(fence, what, why);
}

int conf_fence_key(const struct conf_fence *fence, const struct field *f, const char *what)
{
	return f->inner ? 0
			: outside(fence, what, "leads out of the guest, or loosens what holds it");
}

static int check_path(const struct conf_fence *fence, const struct field *f, const char *what,
		      void *obj)
{
	char *path = field_at(f, obj, 0);
	struct stat st;

	BUG_ON(f->size != CONF_PATH);
	/* an image's name in the store is no path, unless there is such a file as well */
	if (!*path || (f->named && !strchr(path, '/') && lstat(path, &st)))
		return 0;
	return conf_fence_path(fence, what, path);
}

int conf_fence_value(const struct conf_fence *fence, const struct field *f, const char *what,
		     unsigned first, struct conf *conf)
{
	int r = f->path ? check_path(fence, f, what, conf) : 0;

	if (f->kind != FIELD_LIST)
		return r;
	for (unsigned i = first; !r && i < *field_used(f, conf); i++)
		for (const struct field *g = f->sub; !r && g->name; g++)
			if (g->path)
				r = check_path(fence, g, what, field_at(f, conf, i));
	for (unsigned i = first; !r && !strcmp(f->name, "disk") && i < conf->disks; i++)
		if (conf_disk_written(&conf->disk[i]))
			r = outside(fence, what, "the guest could write it; add ro or format=cow");
	return r;
}
