/* write.c - the whole of a buffer into a descriptor, however many writes that takes */
/* #syscalls:caller write */
#include <errno.h>
#include <unistd.h>

#include "tool.h"

int write_all(int fd, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		buf += n;
		len -= (size_t)n;
	}
	return 0;
}
