/* cmd_doctor.c - hutch doctor: what this host can do, what is missing, how to get it */
/* #syscalls:before memfd_create write close */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tool.h"

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

static void line(const char *state, const char *name, const char *text, const char *fix)
{
	printf("%-8s %-15s %s\n", state, name, text);
	if (fix)
		printf("%24s to get it: %s\n", "", fix);
}

static void kernel_line(void)
{
	char path[4096];

	if (guest_kernel(path, sizeof(path)))
		line("missing", "guest kernel", "none is prepared",
		     "'make guest' in hutch's folder, or name one in HUTCH_KERNEL or with "
		     "--kernel");
	else
		line("ok", "guest kernel", path, NULL);
}

static int run_doctor(int argc, char **argv, const struct verb *verb)
{
	static const char *const state[] = { "ok", "missing", "BROKEN" };
	int n = parse(argc, argv, verb, NULL, NULL);
	struct hutch_fact fact;
	bool broken = false;
	char why[600];

	if (n)
		return n == -2 ? 0 : EXIT_USAGE;
	for (unsigned i = 0; !hutch_fact(i, &fact); i++) {
		line(state[fact.state], fact.name, fact.text, fact.fix);
		broken |= fact.state == HUTCH_BROKEN;
	}
	kernel_line();
	if (guest_runs(why, sizeof(why))) {
		line("ok", "a guest", "a machine was made, ran and powered off", NULL);
	} else {
		line("BROKEN", "a guest", why, NULL);
		broken = true;
	}
	puts(broken ? "\nthis host is not ready: see BROKEN above; tests/testbed runs hutch on an "
		      "emulated one"
		    : "\nthis host is ready");
	return broken ? EXIT_FAIL : 0;
}

const struct verb verb_doctor = {
	.name = "doctor",
	.args = "",
	.summary = "tell what this host can do, what is missing and how to get it",
	.text = "Each fact is tried, not guessed; last, a machine is made and a guest runs in it.\n"
		"The exit status is 0 when this host is ready and 1 when it is not.",
	.run = run_doctor,
};
