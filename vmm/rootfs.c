/* #syscalls:caller openat pread64 */
#include <fcntl.h>
#include <unistd.h>

#include "rootfs.h"

static const struct {
	const char *type;
	off_t off;
	size_t len;
	uint8_t magic[4];
} kinds[] = {
	{ "erofs", 1024, 4, { 0xe2, 0xe1, 0xf5, 0xe0 } },
	{ "ext4", 1024 + 0x38, 2, { 0x53, 0xef } },
	{ "squashfs", 0, 4, { 'h', 's', 'q', 's' } },
};

const char *rootfs_type(const char *path)
{
	int fd cleanup_fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t magic[4];

	if (fd < 0) {
		err(-errno, "rootfs %s: %s", path, strerror(errno));
		return NULL;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
		if (pread(fd, magic, kinds[i].len, kinds[i].off) == (ssize_t)kinds[i].len &&
		    !memcmp(magic, kinds[i].magic, kinds[i].len))
			return kinds[i].type;
	err(-EINVAL,
	    "rootfs %s: is no ext4, erofs or squashfs image; 'hutch image build' makes one from a "
	    "folder or a tar file",
	    path);
	return NULL;
}
