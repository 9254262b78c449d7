/* snap_store.c - the snapshots of a folder */
/* #syscalls:before openat newfstatat getdents64 close */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "snap_store.h"

static int by_time(const void *a, const void *b)
{
	const struct snap_listed *x = a, *y = b;

	if (x->snap.created_ms != y->snap.created_ms)
		return x->snap.created_ms < y->snap.created_ms ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* one that is none, or is damaged, needs no parent: what keeps us from reading it may pass */
static void pass_over(struct hutch *h, struct snap_list *list)
{
	int code = hutch_error_code(h);

	caution("%s", hutch_error(h));
	list->unknown |= code != -EINVAL && code != -EBADMSG;
}

static bool add(const char *path, const char *file, struct hutch *h, struct snap_list *list)
{
	struct snap_listed *more = realloc(list->at, (list->n + 1) * sizeof(*more));

	if (!more)
		return false;
	list->at = more;
	more += list->n;
	if (hutch_snap_look(h, path, &more->snap, NULL) < 0) {
		pass_over(h, list);
		return true;
	}
	snprintf(more->name, sizeof(more->name), "%.*s", (int)strlen(file) - 5, file);
	more->goes = false;
	list->n++;
	return true;
}

void snap_store_read(const char *folder, struct hutch *h, struct snap_list *ret)
{
	DIR *dir = opendir(folder);
	const struct dirent *e;
	char path[PATH_MAX];

	*ret = (struct snap_list){ .n = 0 };
	while (dir && (e = readdir(dir))) {
		size_t len = strlen(e->d_name);

		if (len < 6 || strcmp(e->d_name + len - 5, ".snap") || *e->d_name == '.')
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", folder, e->d_name) >= (int)sizeof(path) ||
		    !add(path, e->d_name, h, ret))
			ret->unknown = true;
	}
	if (dir)
		closedir(dir);
	if (ret->n)
		qsort(ret->at, ret->n, sizeof(*ret->at), by_time);
}
