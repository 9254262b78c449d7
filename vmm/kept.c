/* #syscalls:caller openat rename unlink */
#include <fcntl.h>
#include <unistd.h>

#include "kept.h"

int kept_begin(const char *path, char tmp[KEPT_PATH])
{
	int fd;

	if (snprintf(tmp, KEPT_PATH, "%s.tmp", path) >= KEPT_PATH)
		return -ENAMETOOLONG;
	fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

int kept_end(const char *tmp, const char *path)
{
	return rename(tmp, path) ? -errno : 0;
}

void kept_drop(const char *tmp)
{
	unlink(tmp);
}
