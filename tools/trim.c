/* trim.c - memory that is kept unpacked is a cache, and has its size */
/* #syscalls:before openat getdents64 newfstatat unlinkat close fcntl time */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "trim.h"

#define TMP_OLD	   600		 /* seconds */
#define FIRST_OLD  (30 * 86400L) /* of a few KB each */
#define KEPT_FILES 1024
#define KEPT_MOST  (2ULL << 30) /* bytes of memory that are kept unpacked */

struct kept {
	char name[160];
	uint64_t used_ns, bytes;
};

/* the last used first */
static int by_use(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;

	return x->used_ns < y->used_ns ? 1 : x->used_ns > y->used_ns ? -1 : 0;
}

static bool ends_in(const char *name, const char *end)
{
	size_t len = strlen(name), n = strlen(end);

	return len >= n && !strcmp(name + len - n, end);
}

static unsigned read_kept(int dir, struct kept *all, unsigned most)
{
	DIR *d = fdopendir(fcntl(dir, F_DUPFD_CLOEXEC, 0));
	const struct dirent *e;
	struct stat st;
	unsigned n = 0;

	while (d && n < most && (e = readdir(d))) {
		size_t len = strlen(e->d_name);

		if (len >= sizeof(all[0].name) ||
		    (!strstr(e->d_name, ".memory") && !strstr(e->d_name, ".first")) ||
		    fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW))
			continue;
		/* what is being written is young */
		if ((ends_in(e->d_name, ".tmp") && st.st_mtime + TMP_OLD < time(NULL)) ||
		    (ends_in(e->d_name, ".first") && st.st_mtime + FIRST_OLD < time(NULL)))
			unlinkat(dir, e->d_name, 0);
		if (!ends_in(e->d_name, ".memory"))
			continue;
		memcpy(all[n].name, e->d_name, len + 1);
		all[n].used_ns =
			(uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec;
		all[n++].bytes = (uint64_t)st.st_blocks * 512;
	}
	if (d)
		closedir(d);
	return n;
}

void kept_trim(const char *folder)
{
	int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct kept *all = calloc(KEPT_FILES, sizeof(*all));
	unsigned n = dir >= 0 && all ? read_kept(dir, all, KEPT_FILES) : 0;
	uint64_t sum = 0;

	if (n)
		qsort(all, n, sizeof(*all), by_use);
	for (unsigned i = 0; i < n; i++) {
		sum += all[i].bytes;
		if (sum > KEPT_MOST)
			unlinkat(dir, all[i].name, 0);
	}
	free(all);
	if (dir >= 0)
		close(dir);
}
