/* cmd_doctor.c - hutch doctor: what this host can do, what is missing, how to get it */
/* #syscalls:before memfd_create write close clone dup2 execve pipe2 poll read kill wait4 */
/* #syscalls:before exit_group lseek */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "json.h"
#include "tool.h"
#include "units.h"

#define RUN_MS	 45000	 /* what `hutch run -- true` takes at most, once its guest has booted */
#define BOOT_MAX 3600000 /* ms */

enum { FLAG_BOOT_TIMEOUT, FLAG_JSON, FLAGS };

static const struct flag flags[] = {
	[FLAG_BOOT_TIMEOUT] = { .name = "boot-timeout",
				.arg = "TIME",
				.help = "how long the default guest may take to boot [30s]" },
	[FLAG_JSON] = { .name = "json", .help = "one object: the facts, and whether it is ready" },
	{ .name = NULL },
};

/*
 * The smallest guest there is: an ELF file with a PVH entry whose code writes
 * SLP_EN to the ACPI register.  If it powers off, KVM, memory, vCPU and exits
 * work on this host.
 */
static const unsigned char probe_code[] = {
	0x66, 0xba, 0x04, 0x06, /* mov $0x604, %dx */
	0x66, 0xb8, 0x00, 0x20, /* mov $0x2000, %ax */
	0x66, 0xef,		/* out %ax, %dx */
	0xf4, 0xeb, 0xfd,	/* hlt; jmp to it */
};

struct probe {
	unsigned char ident[16];
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, phoff, shoff;
	uint32_t flags;
	uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
	struct {
		uint32_t type, flags;
		uint64_t offset, vaddr, paddr, filesz, memsz, align;
	} ph[2];
	uint32_t note[5]; /* namesz 4, descsz 4, type 18, "Xen", entry */
	unsigned char code[sizeof(probe_code)];
};

static void fill_probe(struct probe *p)
{
	*p = (struct probe){
		.ident = { 0x7f, 'E', 'L', 'F', 2, 1, 1 },
		.type = 2,
		.machine = 62,
		.version = 1,
		.entry = 0x100000,
		.phoff = offsetof(struct probe, ph),
		.ehsize = 64,
		.phentsize = 56,
		.phnum = 2,
		.ph = { { .type = 1,
			  .flags = 5,
			  .offset = offsetof(struct probe, code),
			  .vaddr = 0x100000,
			  .paddr = 0x100000,
			  .filesz = sizeof(probe_code),
			  .memsz = sizeof(probe_code),
			  .align = 1 },
			{ .type = 4,
			  .flags = 4,
			  .offset = offsetof(struct probe, note),
			  .filesz = sizeof(p->note),
			  .memsz = sizeof(p->note),
			  .align = 4 } },
		.note = { 4, 4, 18, 0x006e6558, 0x100000 },
	};
	memcpy(p->code, probe_code, sizeof(probe_code));
}

/* run the probe: true if it powered off; @why tells else */
static bool guest_runs(char *why, size_t size)
{
	struct hutch *h = hutch_new();
	struct hutch_result result = { .end = HUTCH_ERROR };
	struct probe probe;
	char path[32];
	int fd = memfd_create("probe", MFD_CLOEXEC);

	fill_probe(&probe);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	snprintf(why, size, "it did not end within 2 s");
	if (fd < 0 || write(fd, &probe, sizeof(probe)) != sizeof(probe)) {
		snprintf(why, size, "no memory file for the probe");
	} else if (hutch_set(h, "kernel", path) || hutch_set(h, "memory", "4M") ||
		   hutch_set(h, "console", "none") || hutch_start(h)) {
		snprintf(why, size, "%s", hutch_error(h));
	} else if (!hutch_wait(h, 2000, &result)) {
		snprintf(why, size, "%s", result.text);
	}
	hutch_free(h);
	if (fd >= 0)
		close(fd);
	return result.end == HUTCH_POWEROFF;
}

enum state { OK, WARN, FAIL };

/* one who prints lines, or objects of JSON */
struct doctor {
	unsigned lines;
	bool failed;
};

static void line(struct doctor *d, enum state state, const char *name, const char *text,
		 const char *fix)
{
	static const char *const word[] = { "ok", "warn", "fail" };

	d->failed |= state == FAIL;
	if (!globals.json) {
		printf("%-5s %-16s %s\n", word[state], name, text);
		if (fix)
			printf("%22s fix: %s\n", "", fix);
		return;
	}
	printf("%s{\"name\":", d->lines++ ? ",\n " : "\n ");
	json_text(stdout, name);
	printf(",\"state\":\"%s\",\"text\":", word[state]);
	json_text(stdout, text);
	fputs(",\"fix\":", stdout);
	if (fix)
		json_text(stdout, fix);
	else
		fputs("null", stdout);
	putchar('}');
}

/* the parts of the default guest: are all there? */
static bool guest_lines(struct doctor *d)
{
	static const char fix[] = "'make guest' in hutch's folder, or name one: HUTCH_KERNEL and "
				  "--kernel, HUTCH_BOX and --initrd";
	char path[4096];
	bool kernel = !guest_kernel(path, sizeof(path)), box;

	line(d, kernel ? OK : FAIL, "guest kernel", kernel ? path : "none is prepared",
	     kernel ? NULL : fix);
	box = !guest_box(path, sizeof(path));
	line(d, box ? OK : FAIL, "guest files",
	     box ? path : "none with an agent are prepared: 'hutch run' has nothing to run in",
	     box ? NULL : fix);
	return kernel && box;
}

/* --- the default guest, as `hutch run` would have it --- */

static pid_t start_run(const char *boot_timeout, int out)
{
	const char *const argv[] = { "hutch",	   "run",	  "--boot-timeout",
				     boot_timeout, "--heartbeat", "10s",
				     "--timeout",  "30s",	  "--",
				     "true",	   NULL };
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid)
		return pid;
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
	dprintf(STDERR_FILENO, "/proc/self/exe: %s\n", strerror(errno));
	_exit(EXIT_HUTCH);
}

/* what it says until its end, the first line of it kept: false if it did not end by @end */
static bool listen_to(int fd, uint64_t end, char *first, size_t size)
{
	size_t len = 0;
	char buf[512];
	ssize_t n = 1;

	while (n > 0) {
		uint64_t now = monotonic_ms();
		struct pollfd p = { fd, POLLIN, 0 };

		if (now >= end || poll(&p, 1, (int)(end - now)) == 0)
			return false;
		n = read(fd, buf, sizeof(buf));
		for (ssize_t i = 0; i < n && len < size - 1; i++)
			first[len++] = buf[i];
	}
	first[len] = '\0';
	first[strcspn(first, "\n")] = '\0';
	return true;
}

static bool linux_runs(const char *boot_timeout, uint64_t boot_ms, char *why, size_t size)
{
	uint64_t begin = monotonic_ms();
	int fd[2], status = 0;
	bool ended;
	pid_t pid;

	if (pipe2(fd, O_CLOEXEC)) {
		snprintf(why, size, "pipe: %s", strerror(errno));
		return false;
	}
	pid = start_run(boot_timeout, fd[1]);
	close(fd[1]);
	ended = pid > 0 && listen_to(fd[0], begin + boot_ms + RUN_MS, why, size);
	close(fd[0]);
	if (!ended)
		snprintf(why, size, "hutch run -- true did not end in time");
	if (pid > 0 && !ended)
		kill(pid, SIGKILL);
	if (pid > 0 && waitpid(pid, &status, 0) == pid && ended && WIFEXITED(status) &&
	    !WEXITSTATUS(status)) {
		snprintf(why, size, "booted, ran `true` and was gone within %lu ms",
			 (unsigned long)(monotonic_ms() - begin));
		return true;
	}
	if (!why[0])
		snprintf(why, size, "hutch run -- true failed, and said nothing");
	return false;
}

static void default_guest(struct doctor *d, const char *boot_timeout, uint64_t boot_ms, bool able,
			  bool there)
{
	char why[600];

	if (!able)
		line(d, FAIL, "default guest",
		     "not tried: this KVM cannot run Linux, see 'virtualization'", NULL);
	else if (!there)
		line(d, FAIL, "default guest", "not tried: it is not prepared", NULL);
	else if (linux_runs(boot_timeout, boot_ms, why, sizeof(why)))
		line(d, OK, "default guest", why, NULL);
	else
		line(d, FAIL, "default guest", why,
		     "hutch run --console - -- true shows how far it came; --boot-timeout gives it "
		     "longer");
}

static void look(struct doctor *d, const char *boot_timeout, uint64_t boot_ms)
{
	static const enum state state[] = {
		[HUTCH_OK] = OK, [HUTCH_MISSING] = WARN, [HUTCH_BROKEN] = FAIL
	};
	struct hutch_fact fact;
	bool able = true, there;
	char why[600];

	for (unsigned i = 0; !hutch_fact(i, &fact); i++) {
		line(d, state[fact.state], fact.name, fact.text, fact.fix);
		able &= fact.state != HUTCH_BROKEN;
	}
	there = guest_lines(d);
	if (guest_runs(why, sizeof(why)))
		line(d, OK, "flat guest", "a machine was made, ran and powered off", NULL);
	else
		line(d, FAIL, "flat guest", why, NULL);
	default_guest(d, boot_timeout, boot_ms, able, there);
}

static int run_doctor(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { 0 };
	int n = parse_names(argc, argv, verb, given, 0, 0);
	const char *boot_timeout = "30s";
	struct doctor d = { .lines = 0 };
	uint64_t boot_ms;

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (given[FLAG_BOOT_TIMEOUT].n)
		boot_timeout = given[FLAG_BOOT_TIMEOUT].text;
	if (duration_parse("--boot-timeout", boot_timeout, &boot_ms))
		return EXIT_USAGE;
	if (!boot_ms || boot_ms > BOOT_MAX) {
		complain("--boot-timeout: '%s' is not between 1ms and 1h", boot_timeout);
		return EXIT_USAGE;
	}
	if (globals.json)
		fputs("{\"facts\":[", stdout);
	look(&d, boot_timeout, boot_ms);
	if (globals.json)
		printf("\n],\"ready\":%s}\n", d.failed ? "false" : "true");
	else
		puts(d.failed ? "\nthis host is not ready: see 'fail' above; tests/testbed runs "
				"hutch on an emulated one"
			      : "\nthis host is ready");
	return d.failed ? EXIT_FAIL : 0;
}

const struct verb verb_doctor = {
	.name = "doctor",
	.args = "[FLAGS]",
	.summary = "tell what this host can do, what is missing and how to get it",
	.text = "Each fact is tried, not guessed; last, the default guest boots and runs `true`,\n"
		"as `hutch run` does. \"warn\" is what hutch does without. The exit status is 0\n"
		"when this host is ready and 1 when it is not.",
	.flags = flags,
	.run = run_doctor,
};
