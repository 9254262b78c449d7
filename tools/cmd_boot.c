/* cmd_boot.c - hutch boot: a raw machine with its serial console on this terminal */
#include "attend.h"
#include "machine.h"

enum { FLAG_TIMING, FLAG_KEEP, FLAGS };

static const struct flag flags[] = {
	[FLAG_TIMING] = { .name = "timing",
			  .help = "print how long each phase of the start took, on stderr" },
	[FLAG_KEEP] = { .name = "keep",
			.help = "stay in `hutch ps --all` once it has ended, until `hutch rm`" },
	{ .name = NULL },
};

/* "boot KERNEL ARGUMENTS", cut */
static void tell_command(struct hutch *h, char *buf, size_t size)
{
	char kernel[4096], append[256];

	if (hutch_get(h, "kernel", kernel, sizeof(kernel)))
		kernel[0] = '\0';
	if (hutch_get(h, "append", append, sizeof(append)))
		append[0] = '\0';
	snprintf(buf, size, "boot %.100s %.140s", kernel, append);
}

static int run_boot(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { 0 };
	struct attend how = { .ready = -1 };
	struct hutch *h = hutch_new();
	int n, status;

	attend_begin(&how, false);
	if (!h) {
		complain("out of memory");
		return EXIT_FAIL;
	}
	n = parse(argc, argv, verb, h, given);
	if (n > 0)
		complain("boot: '%s' is not a flag; the kernel is given with --kernel", argv[0]);
	status = n == -2 ? 0 : n ? EXIT_USAGE : -1;
	if (status < 0 && (machine_defaults(h, false) || machine_guest(h, false)))
		status = EXIT_FAIL;
	if (status >= 0) {
		hutch_free(h);
		return status;
	}
	how.keep = given[FLAG_KEEP].n;
	how.timing = given[FLAG_TIMING].n;
	tell_command(h, how.command, sizeof(how.command));
	return attend(h, &how);
}

const struct verb verb_boot = {
	.name = "boot",
	.args = "[FLAGS]",
	.summary = "boot a kernel in a raw machine, its serial console on this terminal",
	.text = "Ctrl-A x ends the machine, Ctrl-A Ctrl-A sends Ctrl-A. Without --kernel the\n"
		"default guest boots. The exit status is 0 when the guest powers off or reboots,\n"
		"1 when this host or a file is at fault, 2 for flags that make no sense, 3 when\n"
		"the guest's kernel panics, 4 when the guest dies of a triple fault, and 128+N\n"
		"when signal N ends the machine. A raw machine is what these flags and the files\n"
		"they name make it: no file is read by itself, and none of the environment's\n"
		"keys.",
	.flags = flags,
	.machine = true,
	.run = run_boot,
};
