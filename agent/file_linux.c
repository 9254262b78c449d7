/*
 * file_linux.c - files of a guest whose commands may be root: nothing that they put there makes
 * the agent wait
 *
 * A fifo, a device or a link to one may stand where a file is expected, also in /dev, /proc and
 * /sys, over which anything can be mounted.  What a file system in the guest's user space (FUSE)
 * does with a name is beyond this: then the host finds the agent silent.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os_linux.h"

static int open_kind(int dir, const char *path, int flags, mode_t kind)
{
	int fd = openat(dir, path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || (!fstat(fd, &st) && (st.st_mode & S_IFMT) == kind))
		return fd;
	close(fd);
	errno = EINVAL;
	return -1;
}

int file_open(int dir, const char *path, int flags)
{
	return open_kind(dir, path, flags, S_IFREG);
}

int file_null(int flags)
{
	int fd = open_kind(AT_FDCWD, "/dev/null", flags, S_IFCHR);

	/* it becomes a command's, which may look at that */
	if (fd >= 0)
		fcntl(fd, F_SETFL, 0);
	return fd;
}

int file_write(int dir, const char *path, const char *text)
{
	int fd = file_open(dir, path, O_WRONLY), r = 0, error;

	if (fd < 0)
		return -1;
	if (write(fd, text, strlen(text)) < 0)
		r = -1;
	error = errno;
	close(fd);
	errno = error;
	return r;
}

int file_read(int dir, const char *path, char *ret, size_t size)
{
	int fd = file_open(dir, path, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, ret, size - 1);
	close(fd);
	if (n < 0)
		return -1;
	ret[n] = '\0';
	return 0;
}

char *file_text(int dir, const char *path, size_t most)
{
	int fd = file_open(dir, path, O_RDONLY);
	char *text = fd < 0 ? NULL : malloc(most + 1);
	size_t len = 0;
	ssize_t n = -1;

	while (text && len < most && (n = read(fd, text + len, most - len)) > 0)
		len += (size_t)n;
	if (text && n < 0) {
		free(text);
		text = NULL;
	}
	if (text)
		text[len] = '\0';
	n = errno;
	if (fd >= 0)
		close(fd);
	errno = (int)n;
	return text;
}
