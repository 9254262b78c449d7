/* proc.c - what a process costs, from /proc */
/* #syscalls:before openat read close */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proc.h"

int proc_read(int pid, struct proc *ret)
{
	char path[64], text[1024];
	unsigned long user, system;
	long threads, pages;
	const char *p;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -ESRCH;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	/* the process's name, which may be anything, ends at the last ")" */
	p = strrchr(text, ')');
	if (!p || sscanf(p + 1,
			 " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %ld "
			 "%*d %*u %*u %ld",
			 &user, &system, &threads, &pages) != 4)
		return -ESRCH;
	*ret = (struct proc){
		.cpu_ms = (user + system) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK),
		.rss = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE),
		.threads = (unsigned)threads,
	};
	return 0;
}
