/*
 * disk_align.c - what O_DIRECT wants; by itself because <linux/stat.h> and <sys/stat.h> do not mix
 *
 * #syscalls:before statx pread64
 */
#include <linux/fcntl.h>
#include <linux/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "disk_io.h"

/* before Linux 6.1: try it */
static uint32_t probe(int fd)
{
	static const uint32_t sizes[] = { 512, 1024, 2048, 4096, 8192, 16384, 65536 };
	uint32_t found = 65536;
	void *buf;

	if (posix_memalign(&buf, found, found))
		return found;
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		/* less than asked for is the end of a short file: aligned well enough */
		if (pread(fd, buf, sizes[i], 0) >= 0) {
			found = sizes[i];
			break;
		}
	}
	free(buf);
	return found;
}

uint32_t disk_align(int fd)
{
	struct statx st = { 0 };
	uint32_t most;

	if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) ||
	    !(st.stx_mask & STATX_DIOALIGN) || !st.stx_dio_offset_align)
		return probe(fd);
	most = MAX(st.stx_dio_mem_align, st.stx_dio_offset_align);
	return MAX(most, (uint32_t)DISK_SECTOR);
}
