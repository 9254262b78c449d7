/* perf.c - counting by perf_event_open(2) */
/* #syscalls:caller read */
/* #syscalls:before perf_event_open openat access read */
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "perf.h"

#define PARANOID "/proc/sys/kernel/perf_event_paranoid"
/* a host with two kinds of cores has a PMU for each, and "instructions" means those of one */
#define HYBRID	 "/sys/bus/event_source/devices/cpu_atom"

static int refused(int error)
{
	cleanup_fd int fd = open(PARANOID, O_RDONLY | O_CLOEXEC);
	char level[16] = "";
	ssize_t n = fd < 0 ? -1 : read(fd, level, sizeof(level) - 1);

	level[n > 0 ? strcspn(level, "\n") : 0] = '\0';
	switch (error) {
	case EACCES:
	case EPERM:
		return err(-EACCES,
			   "instructions of a guest: this user may not count them: %s; " PARANOID
			   " is %s, and 1 would do (sysctl kernel.perf_event_paranoid=1), or "
			   "CAP_PERFMON; a budget of time needs neither, as in 500ms",
			   strerror(error), level[0] ? level : "not readable");
	case ENOSYS:
	case ENOENT:
	case ENODEV:
	case EOPNOTSUPP:
		return err(-ENOTSUP,
			   "instructions of a guest: this host has no PMU that counts them: %s; in "
			   "a virtual machine ask for one; a budget of time needs none, as in "
			   "500ms",
			   strerror(error));
	default:
		return err(-ENOTSUP, "instructions of a guest: perf_event_open: %s",
			   strerror(error));
	}
}

int perf_open(enum perf_event what, int *ret_fd)
{
	bool guest = what == PERF_GUEST_INSTRUCTIONS;
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = guest ? PERF_TYPE_HARDWARE : PERF_TYPE_SOFTWARE,
		.config = guest ? PERF_COUNT_HW_INSTRUCTIONS : PERF_COUNT_SW_TASK_CLOCK,
		.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING,
		.exclude_host = guest,
		.exclude_hv = 1,
		.inherit = 1,
	};
	int fd;

	if (guest && !access(HYBRID, F_OK))
		return err(-ENOTSUP,
			   "instructions of a guest: this host has two kinds of cores, and a PMU "
			   "for each (" HYBRID "); a budget of time does without, as in 500ms");
	fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		return refused(errno);
	*ret_fd = fd;
	return 0;
}

int perf_read(int fd, uint64_t *ret)
{
	struct {
		uint64_t value, enabled, running;
	} count;

	if (read(fd, &count, sizeof(count)) != sizeof(count))
		return err(-EIO, "instructions of a guest: the counter cannot be read");
	/*
	 * Others may use the PMU too, and the kernel lets them take turns: what was not seen is
	 * taken to have been like what was.  Where nearly nothing was seen, that is no measure.
	 */
	if (count.running < count.enabled / 100)
		return err(-EIO, "instructions of a guest: others on this host use all counters of "
				 "its PMU");
	if (count.running && count.running < count.enabled)
		count.value = (uint64_t)((double)count.value * (double)count.enabled /
					 (double)count.running);
	*ret = count.value;
	return 0;
}
