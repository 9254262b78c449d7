/* restore.c - a snapshot as a person names it */
/* #syscalls:before access */
#include <string.h>
#include <unistd.h>

#include "image_build.h"
#include "restore.h"

int snap_path(const char *what, char *buf, size_t size)
{
	char folder[PATH_MAX];
	int n;

	if (strchr(what, '/') || !access(what, F_OK) ||
	    snap_store_path(false, folder, sizeof(folder)))
		n = snprintf(buf, size, "%s", what);
	else
		n = snprintf(buf, size, "%s/%s.snap", folder, what);
	if (n < (int)size)
		return 0;
	complain("snapshot %s: its path is too long", what);
	return -1;
}

int restore_guest(struct hutch *h, const char *what, bool box)
{
	char path[PATH_MAX], agent[8];

	if (snap_path(what, path, sizeof(path)))
		return -1;
	if (access(path, F_OK) && path[0] == '/' && !strchr(what, '/')) {
		complain("there is no snapshot '%s', here or in the store; 'hutch snap ls' lists "
			 "those that there are",
			 what);
		return -1;
	}
	if (hutch_restore(h, path)) {
		complain("%s", hutch_error(h));
		return -1;
	}
	if (!box || (!hutch_get(h, "agent", agent, sizeof(agent)) && !strcmp(agent, "yes")))
		return 0;
	complain("snapshot %s: is of a machine without an agent, in which no command can be run; "
		 "'hutch restore %s' lets it go on",
		 path, what);
	return -1;
}
