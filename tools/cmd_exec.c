/* cmd_exec.c - hutch exec, hutch shell: one more command in a sandbox that runs */
/* #syscalls:before ioctl */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "command_flags.h"
#include "registry.h"

enum { FLAG_DETACH = COMMAND_FLAGS, FLAG_TIMEOUT, FLAGS };

static const struct flag flags[] = {
	COMMAND_FLAGS_TABLE,
	[FLAG_DETACH] = { .name = "detach",
			  .letter = 'd',
			  .help = "leave once it runs; its output goes nowhere" },
	[FLAG_TIMEOUT] = { .name = "timeout",
			   .arg = "TIME",
			   .help = "longest run, as in 30s; the command is killed then" },
	{ .name = NULL },
};

/* a handle that leads to the agent of a sandbox that another process is */
struct hutch *sandbox_handle(const char *name)
{
	struct hutch *h;
	struct box box;
	char path[256];

	if (box_open(name, &box))
		return NULL;
	h = hutch_new();
	if (box.status == BOX_EXITED) {
		complain("sandbox '%s' has ended; 'hutch ps' lists those that run", box.name);
	} else if (box.status == BOX_PAUSED) {
		complain("sandbox '%s' is paused and would not answer; 'hutch resume %s' first",
			 box.name, box.name);
	} else if (h && !rundir_path(box.name, "vsock", path, sizeof(path)) &&
		   !hutch_set(h, "vsock", "") && !hutch_set(h, "vsock@0.path", path) &&
		   !hutch_set(h, "heartbeat", "10s")) {
		box_close(&box);
		return h;
	}
	box_close(&box);
	hutch_free(h);
	return NULL;
}

static int take_timeout(struct hutch *h, const struct given *given, struct command *c)
{
	if (!given->n)
		return 0;
	if (!hutch_set(h, "timeout", given->text) &&
	    !hutch_get_number(h, "timeout", &c->limits.most[RULE_TIMEOUT]))
		return 0;
	complain("%s", hutch_error(h));
	return EXIT_USAGE;
}

static int exec_in(struct hutch *h, char **argv, const struct given *given)
{
	struct env *env = env_read(&given[FLAG_ENV], &given[FLAG_ENV_FILE], given[FLAG_TTY].n);
	bool detach = given[FLAG_DETACH].n, tty = given[FLAG_TTY].n && !detach;
	struct command c = { .h = h, .forward = true };
	int status = EXIT_USAGE;

	if (env && !take_timeout(h, &given[FLAG_TIMEOUT], &c)) {
		c.what = command_request(given, argv, env);
		c.what.tty = tty;
		c.what.detach = detach;
		if (detach)
			c.what.in = -1;
		c.signals = command_signals();
		if (tty && isatty(STDIN_FILENO))
			term_raw();
		command_run(&c);
		term_restore();
		command_explain(&c);
		status = command_status(&c);
	}
	env_free(env);
	return status;
}

static int run_exec(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { 0 };
	int n = parse(argc, argv, verb, NULL, given), status;
	struct hutch *h;

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (!n) {
		complain("exec: which sandbox? 'hutch ps' lists those that run");
		return EXIT_USAGE;
	}
	if (!argv[1]) {
		complain("exec: no command is given; write it behind --, as in hutch exec %s -- ps",
			 argv[0]);
		return EXIT_USAGE;
	}
	h = sandbox_handle(argv[0]);
	if (!h)
		return EXIT_HUTCH;
	status = exec_in(h, argv + 1, given);
	hutch_free(h);
	return status;
}

const struct verb verb_exec = {
	.name = "exec",
	.args = "[FLAGS] NAME -- COMMAND [ARGUMENTS]",
	.summary = "run one more command in a sandbox that runs",
	.text = "Its bytes, signals and exit status are passed on as `hutch run` does. If this "
		"process is\n"
		"killed, the command is.",
	.flags = flags,
	.command = true,
	.run = run_exec,
};

static int run_shell(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { [FLAG_TTY] = { .n = 1 }, [FLAG_STDIN] = { .n = 1 } };
	char *shell[] = { (char *)"/bin/sh", NULL };
	int n = parse_names(argc, argv, verb, NULL, 1, 1), status;
	struct hutch *h;

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	h = sandbox_handle(argv[0]);
	if (!h)
		return EXIT_HUTCH;
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		given[FLAG_TTY].n = 0; /* a script on stdin */
	status = exec_in(h, shell, given);
	hutch_free(h);
	return status;
}

const struct verb verb_shell = {
	.name = "shell",
	.args = "NAME",
	.summary = "a shell in a sandbox that runs, on this terminal",
	.run = run_shell,
};
