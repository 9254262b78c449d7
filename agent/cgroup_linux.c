/*
 * cgroup_linux.c - the cgroup of all commands
 *
 * It lies beside the agent's own place in the tree, never above it: what stops or ends the commands
 * must not reach the agent.  A kernel may lack any controller, or cgroups at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "os_linux.h"

#define TREE	"/sys/fs/cgroup"
#define WORK	TREE "/work"
#define WAIT_MS 2000

int work_open(void)
{
	/* one by one: a list with one unknown name is refused as a whole */
	static const char *const controllers[] = { "+memory", "+pids", "+cpu" };

	if (access(TREE "/cgroup.controllers", F_OK))
		return -1;
	for (size_t i = 0; i < sizeof(controllers) / sizeof(controllers[0]); i++)
		file_write(AT_FDCWD, TREE "/cgroup.subtree_control", controllers[i]);
	if (mkdir(WORK, 0755) && errno != EEXIST)
		return -1;
	return open(WORK, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int work_limit_pids(const struct os *os, uint64_t most, struct why *why)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, most);
	if (os->cgroup < 0)
		errno = ENOTSUP;
	else if (!file_write(os->cgroup, "pids.max", text))
		return 0;
	return refuse(why, ERROR_SYSTEM, errno,
		      "at most %" PRIu64 " processes: %s (the guest's kernel needs cgroup2 and its "
		      "pids controller)",
		      most, strerror(errno));
}

/* the number behind @key at the start of a line, or the first of all without a key */
static uint64_t number(const struct os *os, const char *file, const char *key)
{
	char text[1024];
	const char *at = text;
	size_t len = strlen(key);

	if (os->cgroup < 0 || file_read(os->cgroup, file, text, sizeof(text)))
		return 0;
	while (at && (strncmp(at, key, len) != 0 || (len && at[len] != ' '))) {
		at = strchr(at, '\n');
		if (at)
			at++;
	}
	return at ? strtoull(at + len, NULL, 10) : 0;
}

void work_read(const struct os *os, struct work *ret)
{
	ret->cpu_us = number(os, "cpu.stat", "usage_usec");
	ret->processes = number(os, "pids.current", "");
}

uint64_t work_ooms(const struct os *os)
{
	return number(os, "memory.events", "oom_kill");
}

uint64_t work_memory_peak(const struct os *os)
{
	return number(os, "memory.peak", "");
}

/* until cgroup.events says so; the kernel wakes who polls that file */
static int wait_for(const struct os *os, const char *key, uint64_t value)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + WAIT_MS * 1000000ULL;
	struct pollfd p = { file_open(os->cgroup, "cgroup.events", O_RDONLY), POLLPRI, 0 };
	char c;
	int r = 0;

	if (p.fd < 0)
		return -errno;
	while (number(os, "cgroup.events", key) != value && !r) {
		if (clock_ns(CLOCK_MONOTONIC) >= end)
			r = -ETIMEDOUT;
		/* a change since the last read of this descriptor ends the wait */
		poll(&p, 1, 10);
		if (pread(p.fd, &c, 1, 0) < 0)
			r = -errno;
	}
	close(p.fd);
	return r;
}

int work_kill(const struct os *os)
{
	if (os->cgroup < 0)
		return 0;
	return file_write(os->cgroup, "cgroup.kill", "1") ? -errno : wait_for(os, "populated", 0);
}

int work_freeze(const struct os *os, bool freeze)
{
	if (os->cgroup < 0)
		return 0;
	if (file_write(os->cgroup, "cgroup.freeze", freeze ? "1" : "0"))
		return -errno;
	return wait_for(os, "frozen", freeze);
}
