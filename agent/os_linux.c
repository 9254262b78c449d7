/*
 * os_linux.c - this guest as a whole: the first steps of process 1, what SETUP asks for, the end
 *
 * 1. As process 1 the agent is all the guest has at first.  os_boot() does what every guest needs
 *    and what leads to vsock, in the order of what depends on what; a step that fails is told on
 * the console and the next is tried, for a guest without /dev/shm is better than none.
 * 2. What only some guests need waits until SETUP asks for it.
 * 3. What nobody waits for is left to a child at the end of os_setup(): the drivers of the other
 *    devices.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/random.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "os_linux.h"

#define ENTROPY_MAX 4096
#define FILES_SOFT  1024
#define FILES_HARD  1048576

#define PLAIN	    (MS_NOSUID | MS_NODEV)

/* no tmpfs on /tmp: it is part of the root, which is memory of a bounded size in either case */
static const struct {
	const char *target, *type;
	unsigned long flags;
	const char *data;
} mounts[] = {
	{ "/proc", "proc", PLAIN | MS_NOEXEC, NULL },
	{ "/sys", "sysfs", PLAIN | MS_NOEXEC, NULL },
	{ "/dev", "devtmpfs", MS_NOSUID, "mode=755" },
	{ "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666" },
	{ "/dev/shm", "tmpfs", PLAIN, "mode=1777" },
	{ "/run", "tmpfs", PLAIN, "mode=755" },
	{ "/sys/fs/cgroup", "cgroup2", PLAIN | MS_NOEXEC, NULL },
};

static const char *const links[][2] = {
	{ "/proc/self/fd", "/dev/fd" },
	{ "fd/0", "/dev/stdin" },
	{ "fd/1", "/dev/stdout" },
	{ "fd/2", "/dev/stderr" },
};

uint64_t clock_ns(int clock)
{
	struct timespec t = { 0, 0 };

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* a machine without a console starts us without open files */
static void open_console(void)
{
	int fd;

	if (fcntl(STDERR_FILENO, F_GETFD) >= 0)
		return;
	while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd < STDERR_FILENO)
		;
	if (fd > STDERR_FILENO)
		close(fd);
	fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	close(fd);
}

static void mount_all(void)
{
	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i].target, 0755);
		if (mount(mounts[i].type, mounts[i].target, mounts[i].type, mounts[i].flags,
			  mounts[i].data) &&
		    errno != EBUSY)
			log_say(LEVEL_ERROR, "%s: cannot mount %s: %s", mounts[i].target,
				mounts[i].type, strerror(errno));
		if (!strcmp(mounts[i].target, "/dev"))
			open_console();
	}
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (symlink(links[i][0], links[i][1]) && errno != EEXIST)
			log_say(LEVEL_ERROR, "%s: %s", links[i][1], strerror(errno));
}

static void load_vsock(const struct os *os)
{
	modules_transport(os);
	module_load(os, "vmw_vsock_virtio_transport");
	if (access("/dev/vsock", F_OK))
		log_say(LEVEL_ERROR,
			"no vsock: nobody will hear this guest (its kernel needs VIRTIO_VSOCKETS "
			"built in, or modules for it in the initramfs)");
}

/* all that the sessions have open, and some for what comes and goes */
_Static_assert(PROTO_SESSIONS *(2 * SESSION_FDS - 1) + ORPHANS + 40 <= FILES_SOFT,
	       "the agent never runs out of descriptors");

static void protect(void)
{
	struct rlimit files = { FILES_SOFT, FILES_HARD };

	signal(SIGPIPE, SIG_IGN);
	if (file_write(AT_FDCWD, "/proc/self/oom_score_adj", "-1000"))
		log_say(LEVEL_ERROR, "oom_score_adj: %s", strerror(errno));
	if (getpid() == 1)
		setrlimit(RLIMIT_NOFILE, &files);
}

void os_child(void)
{
	signal(SIGPIPE, SIG_DFL);
	file_write(AT_FDCWD, "/proc/self/oom_score_adj", "0");
}

void os_boot(struct os *os)
{
	int r;

	*os = (struct os){ .modules = -1, .cgroup = -1 };
	if (getpid() == 1) {
		umask(022);
		mount_all();
		os->modules = modules_open();
		load_vsock(os);
		r = net_lo();
		if (r)
			log_say(LEVEL_ERROR, "lo: %s", strerror(-r));
		if (sethostname("hutch", 5))
			log_say(LEVEL_ERROR, "host name: %s", strerror(errno));
	}
	protect();
	os->cgroup = work_open();
}

static int set_clock(uint64_t ns, struct why *why)
{
	struct timespec t = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };

	if (!clock_settime(CLOCK_REALTIME, &t))
		return 0;
	return refuse(why, ERROR_SYSTEM, errno, "clock: cannot set it to %" PRIu64 " ns: %s", ns,
		      strerror(errno));
}

/* it counts as random, and what has been handed out tells nothing of what comes: clones differ */
static int add_entropy(const uint8_t *data, size_t len, struct why *why)
{
	union {
		struct rand_pool_info head;
		uint8_t bytes[sizeof(struct rand_pool_info) + ENTROPY_MAX];
	} pool;
	int fd, r;

	if (len > ENTROPY_MAX)
		return refuse(why, ERROR_LIMIT, 0, "entropy: %zu bytes, of at most %d", len,
			      ENTROPY_MAX);
	pool.head.entropy_count = (int)len * 8;
	pool.head.buf_size = (int)len;
	memcpy(pool.bytes + sizeof(pool.head), data, len);
	fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
	r = fd < 0 || ioctl(fd, RNDADDENTROPY, &pool) ? -1 : 0;
	if (r)
		refuse(why, ERROR_SYSTEM, errno, "entropy: /dev/urandom: %s", strerror(errno));
	else
		ioctl(fd, RNDRESEEDCRNG);
	explicit_bzero(&pool, sizeof(pool));
	if (fd >= 0)
		close(fd);
	return r;
}

/* the initramfs is all the root there is: what may be written is on top of what it holds */
static int set_layer(const struct setup *s, struct why *why)
{
	struct statfs st;
	char size[32];

	if (statfs("/", &st))
		return refuse(why, ERROR_SYSTEM, errno, "layer size: /: %s", strerror(errno));
	snprintf(size, sizeof(size), "size=%" PRIu64,
		 s->layer_size + (st.f_blocks - st.f_bfree) * (uint64_t)st.f_bsize);
	if (!mount(NULL, "/", NULL, MS_REMOUNT, size))
		return 0;
	return refuse(why, ERROR_SYSTEM, errno,
		      "layer size %" PRIu64 " bytes: the guest's root does not take it: %s",
		      s->layer_size, strerror(errno));
}

static int set_root(struct os *os, const struct setup *s, struct why *why)
{
	if (s->root ? root_switch(os, s, why) : s->layer_size ? set_layer(s, why) : 0)
		return -1;
	for (unsigned i = 0; i < s->mounts; i++)
		if (root_mount(os, &s->mount[i], why))
			return -1;
	return 0;
}

/* A command may look for its disks at once.  For the rest the agent does not wait, and its reaper
 * finds it. */
static void load_rest(struct os *os)
{
	if (getpid() != 1 || os->modules < 0 || os->rest)
		return;
	os->rest = true;
	modules_disks(os);
	if (fork() != 0)
		return;
	modules_devices(os);
	_exit(0);
}

int os_setup(struct os *os, const struct setup *s, struct why *why)
{
	if (s->entropy_len && add_entropy(s->entropy, s->entropy_len, why))
		return -1;
	if (s->time_ns && set_clock(s->time_ns, why))
		return -1;
	if (s->restored > RESTORED_SAME) /* with the entropy of this guest alone */
		identity_renew();
	if (s->hostname && sethostname(s->hostname, strlen(s->hostname)))
		return refuse(why, ERROR_SYSTEM, errno, "host name '%.100s': %s", s->hostname,
			      strerror(errno));
	if (set_root(os, s, why))
		return -1;
	if (s->pids_max && work_limit_pids(os, s->pids_max, why))
		return -1;
	if (net_setup(os, s, why))
		return -1;
	load_rest(os);
	return 0;
}

void os_poweroff(struct os *os)
{
	work_kill(os);
	sync();
	if (getpid() == 1)
		root_read_only();
	else
		execl("/sbin/poweroff", "poweroff", (char *)NULL);
	reboot(RB_POWER_OFF);
	log_say(LEVEL_ERROR, "cannot power off: %s", strerror(errno));
	for (;;)
		pause();
}

/* "MemAvailable:  123 kB" in bytes */
static uint64_t meminfo(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? strtoull(at + strlen(key), NULL, 10) * 1024 : 0;
}

/* the first line of /proc/stat: user nice system idle iowait irq softirq, in ticks */
static uint64_t busy_us(void)
{
	unsigned long long user = 0, nice = 0, sys = 0, irq = 0, soft = 0;
	char text[256];

	if (file_read(AT_FDCWD, "/proc/stat", text, sizeof(text)) ||
	    sscanf(text, "cpu %llu %llu %llu %*u %*u %llu %llu", &user, &nice, &sys, &irq, &soft) !=
		    5)
		return 0;
	return (user + nice + sys + irq + soft) * (1000000 / (uint64_t)sysconf(_SC_CLK_TCK));
}

void os_info(const struct os *os, struct os_info *ret)
{
	struct sysinfo info = { .procs = 0 };
	struct work work;
	char text[256] = "";

	file_read(AT_FDCWD, "/proc/meminfo", text, sizeof(text));
	ret->memory_total = meminfo(text, "MemTotal:");
	ret->memory_free = meminfo(text, "MemAvailable:");
	ret->uptime_ns = clock_ns(CLOCK_BOOTTIME);
	ret->time_ns = clock_ns(CLOCK_REALTIME);
	if (os->cgroup >= 0) {
		work_read(os, &work);
		ret->cpu_us = work.cpu_us;
		ret->processes = work.processes;
		return;
	}
	sysinfo(&info);
	ret->cpu_us = busy_us();
	ret->processes = info.procs;
}
