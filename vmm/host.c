/*
 * host.c - what this host can do for hutch: each fact is tried, not guessed
 *
 * #syscalls:before openat access io_uring_setup unshare statfs clone wait4 pipe2 read
 * #syscalls:before write close geteuid exit_group
 */
#include <fcntl.h>
#include <net/route.h>
#include <stdarg.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hutch.h"
#include "kvm.h"
#include "pager.h"
#include "perf.h"
#include "sandbox.h"

#define CGROUP2_MAGIC 0x63677270L
#define MEMORY_KIB    (640U << 10) /* for a guest as it is by default, and for us */

static void say(struct hutch_fact *f, int state, const char *fmt, ...) printf_like(3, 4);
static void say(struct hutch_fact *f, int state, const char *fmt, ...)
{
	va_list ap;

	f->state = state;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
}

static void fact_kvm(struct hutch_fact *f)
{
	struct kvm kvm;

	if (kvm_open(&kvm)) {
		say(f, HUTCH_BROKEN, "%s", err_last());
		f->fix = access("/dev/kvm", F_OK) ? "modprobe kvm_intel or kvm_amd; in a cloud "
						    "machine ask for nested "
						    "virtualization; or run in the testbed"
						  : "sudo usermod -aG kvm $USER, and log in again";
	} else {
		say(f, HUTCH_OK, "/dev/kvm opens, API %d, up to %u vCPUs", KVM_API_VERSION,
		    kvm.cpus_max);
	}
	kvm_close(&kvm);
}

static void fact_virtualization(struct hutch_fact *f)
{
	if (kvm_host_has_virtualization()) {
		say(f, HUTCH_OK, "the processor runs guests by itself");
		return;
	}
	say(f, HUTCH_BROKEN,
	    "no vmx or svm in /proc/cpuinfo: this KVM emulates guest kernels, and Linux does not "
	    "run");
	f->fix = "switch VT-x or AMD-V on in the firmware, use a machine with nested "
		 "virtualization, or the testbed";
}

/* one for a process's own faults alone is of no use to KVM */
static void fact_uffd(struct hutch_fact *f)
{
	cleanup_fd int fd = pager_open();

	if (fd >= 0) {
		say(f, HUTCH_OK,
		    "allowed, for faults of the kernel too: a restored machine runs at once, and "
		    "its memory comes as it is wanted");
		return;
	}
	say(f, HUTCH_MISSING,
	    "not allowed: %s; the first restore of a snapshot unpacks all of its memory before the "
	    "guest runs",
	    strerror(-fd));
	f->fix = "sysctl vm.unprivileged_userfaultfd=1, or give the user access to "
		 "/dev/userfaultfd";
}

static void fact_io_uring(struct hutch_fact *f)
{
	char params[256] = { 0 }; /* struct io_uring_params, 120 bytes */
	int fd = (int)syscall(SYS_io_uring_setup, 1, params);

	if (fd >= 0) {
		say(f, HUTCH_OK, "allowed");
		close(fd);
		return;
	}
	say(f, HUTCH_MISSING, "not allowed: %s; disks use worker threads", strerror(errno));
	f->fix = "sysctl kernel.io_uring_disabled=0";
}

static void fact_tun(struct hutch_fact *f)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		say(f, HUTCH_OK, "/dev/net/tun opens");
		close(fd);
		return;
	}
	say(f, HUTCH_MISSING, "/dev/net/tun: %s; networks through a tap are not to be had",
	    strerror(errno));
	f->fix = "modprobe tun";
}

/* what passt gives a guest is this host's own network: without a default route it gives up */
static bool has_way_out(void)
{
	FILE *routes = fopen("/proc/net/route", "re");
	unsigned to, flags, mask;
	bool found = false;
	char line[256];

	if (!routes)
		return false;
	while (!found && fgets(line, sizeof(line), routes))
		found = sscanf(line, "%*s %x %*s %x %*s %*s %*s %x", &to, &flags, &mask) == 3 &&
			!to && !mask && flags & RTF_UP;
	fclose(routes);
	return found;
}

static void fact_passt(struct hutch_fact *f)
{
	const char *path = getenv("PATH");
	char file[4096];

	for (size_t len; path && *path; path += len + (path[len] == ':')) {
		len = strcspn(path, ":");
		snprintf(file, sizeof(file), "%.*s/passt", (int)MIN(len, 4000U), path);
		if (access(file, X_OK))
			continue;
		say(f, HUTCH_OK, "%.200s", file);
		if (!has_way_out()) {
			say(f, HUTCH_MISSING,
			    "%.120s is installed, but this host has no default route; --net user "
			    "is not to be had",
			    file);
			f->fix = "ip route add default via GATEWAY";
		}
		return;
	}
	say(f, HUTCH_MISSING, "not installed; --net user is not to be had");
	f->fix = "apt-get install passt";
}

static void fact_cgroups(struct hutch_fact *f)
{
	struct statfs fs;

	if (!statfs("/sys/fs/cgroup", &fs) && fs.f_type == CGROUP2_MAGIC) {
		bool writable = !access("/sys/fs/cgroup/cgroup.subtree_control", W_OK);

		say(f, HUTCH_OK, "version 2%s",
		    writable ? ", writable" : ", not writable by this user");
		return;
	}
	if (!access("/sys/fs/cgroup/memory", F_OK)) {
		say(f, HUTCH_OK, "version 1");
		return;
	}
	say(f, HUTCH_MISSING,
	    "not mounted at /sys/fs/cgroup: resource limits of the host are not to be had");
	f->fix = "mount -t cgroup2 none /sys/fs/cgroup";
}

static void fact_namespaces(struct hutch_fact *f)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		int flags = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC;

		_exit(unshare(geteuid() ? flags | CLONE_NEWUSER : flags) ? errno : 0);
	}
	if (pid > 0)
		waitpid(pid, &status, 0);
	if (pid > 0 && WIFEXITED(status) && !WEXITSTATUS(status)) {
		say(f, HUTCH_OK, "mount, network and IPC namespaces can be made");
		return;
	}
	say(f, HUTCH_MISSING, "cannot be made: %s",
	    pid < 0 ? strerror(errno) : strerror(WEXITSTATUS(status)));
	f->fix = "sysctl kernel.unprivileged_userns_clone=1, or run as root";
}

static void fact_user_namespaces(struct hutch_fact *f)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid)
		_exit(unshare(CLONE_NEWUSER) ? errno : 0);
	if (pid > 0)
		waitpid(pid, &status, 0);
	if (pid > 0 && WIFEXITED(status) && !WEXITSTATUS(status)) {
		say(f, HUTCH_OK, "can be made");
		return;
	}
	say(f, HUTCH_MISSING, "cannot be made: %s",
	    pid < 0 ? strerror(errno) : strerror(WEXITSTATUS(status)));
	f->fix = "sysctl user.max_user_namespaces=10000 kernel.unprivileged_userns_clone=1, or a "
		 "container that allows unshare(2)";
}

/* a number of /proc/meminfo, as it stands there */
static bool meminfo(const char *name, uint64_t *ret)
{
	FILE *file = fopen("/proc/meminfo", "re");
	size_t len = strlen(name);
	char line[128];
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file)) {
		found = !strncmp(line, name, len) && line[len] == ':';
		if (found)
			*ret = strtoull(line + len + 1, NULL, 10);
	}
	if (file)
		fclose(file);
	return found;
}

static void fact_memory(struct hutch_fact *f)
{
	uint64_t kib;

	if (!meminfo("MemAvailable", &kib)) {
		say(f, HUTCH_MISSING, "/proc/meminfo does not tell how much is available");
		f->fix = "mount -t proc proc /proc";
		return;
	}
	say(f, kib >= MEMORY_KIB ? HUTCH_OK : HUTCH_MISSING, "%lu MiB are available",
	    (unsigned long)(kib >> 10));
	if (kib < MEMORY_KIB)
		f->fix =
			"a guest has 512M unless told otherwise: give it less with -m 128M, or end "
			"what takes the memory";
}

/* nothing needs them */
static void fact_hugepages(struct hutch_fact *f)
{
	char modes[64] = "";
	int fd = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, modes, sizeof(modes) - 1);
	uint64_t all = 0, size = 0;
	char *mode = n > 0 ? strchr(modes, '[') : NULL;

	cleanup_close(&fd);
	meminfo("HugePages_Total", &all);
	meminfo("Hugepagesize", &size);
	if (mode)
		mode[strcspn(mode, "]")] = '\0';
	say(f, HUTCH_OK, "transparent ones: %s; reserved: %lu of %lu KiB",
	    mode ? mode + 1 : "not in this kernel", (unsigned long)all, (unsigned long)size);
}

static void fact_jail(struct hutch_fact *f)
{
	const struct sandbox all = { .must = true };
	char why[160] = "";
	int fd[2];
	pid_t pid;

	if (pipe(fd))
		fd[0] = fd[1] = -1;
	pid = fork();
	if (!pid) {
		/* with its NUL; if all went well that call is the first from within */
		const char *text = sandbox_enter(&all) ? err_last() : "";

		_exit(write(fd[1], text, strlen(text) + 1) < 0);
	}
	cleanup_close(&fd[1]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	if (read(fd[0], why, sizeof(why) - 1) <= 0)
		snprintf(why, sizeof(why), "%s", strerror(errno));
	cleanup_close(&fd[0]);
	if (!why[0]) {
		say(f, HUTCH_OK,
		    "seccomp filters, no_new_privs, no capabilities: it can be entered");
		return;
	}
	say(f, HUTCH_MISSING, "%s", why);
	f->fix = "a kernel with CONFIG_SECCOMP_FILTER, or a container that allows seccomp(2)";
}

static void fact_pmu(struct hutch_fact *f)
{
	cleanup_fd int fd = -1;
	int r = perf_open(PERF_GUEST_INSTRUCTIONS, &fd);

	if (!r) {
		say(f, HUTCH_OK, "a guest's instructions can be counted: --fuel takes them");
		return;
	}
	say(f, HUTCH_MISSING, "%s", err_last());
	f->fix = r == -EACCES ? "sysctl kernel.perf_event_paranoid=1"
			      : "a processor, or a machine this one runs in, that has a PMU; until "
				"then limit the time with --cpu-time";
}

static void fact_firmware(struct hutch_fact *f)
{
	static const char *const file[] = { "/usr/share/OVMF/OVMF_CODE_4M.fd",
					    "/usr/share/OVMF/OVMF_CODE.fd" };

	for (unsigned i = 0; i < ARRAY_SIZE(file); i++) {
		if (!access(file[i], R_OK)) {
			say(f, HUTCH_OK, "%s", file[i]);
			return;
		}
	}
	say(f, HUTCH_MISSING, "no UEFI firmware is installed; only Linux kernels boot");
	f->fix = "apt-get install ovmf";
}

static const struct {
	const char *name;
	void (*find)(struct hutch_fact *f);
} facts[] = {
	{ "kvm", fact_kvm },
	{ "virtualization", fact_virtualization },
	{ "userfaultfd", fact_uffd },
	{ "io_uring", fact_io_uring },
	{ "tun", fact_tun },
	{ "passt", fact_passt },
	{ "cgroups", fact_cgroups },
	{ "namespaces", fact_namespaces },
	{ "user namespaces", fact_user_namespaces },
	{ "jail", fact_jail },
	{ "memory", fact_memory },
	{ "huge pages", fact_hugepages },
	{ "pmu", fact_pmu },
	{ "firmware", fact_firmware },
};

int hutch_fact_named(const char *name, struct hutch_fact *ret)
{
	for (unsigned i = 0; i < ARRAY_SIZE(facts); i++)
		if (!strcmp(name, facts[i].name))
			return hutch_fact(i, ret);
	return -ENOENT;
}

int hutch_fact(unsigned i, struct hutch_fact *ret)
{
	if (i >= ARRAY_SIZE(facts))
		return -ENOENT;
	*ret = (struct hutch_fact){ .name = facts[i].name };
	facts[i].find(ret);
	return 0;
}

int hutch_host_boot(char ret[HUTCH_HOST_BOOT])
{
	cleanup_fd int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, ret, HUTCH_HOST_BOOT - 1) != HUTCH_HOST_BOOT - 1)
		return -EIO;
	ret[HUTCH_HOST_BOOT - 1] = '\0';
	return 0;
}
