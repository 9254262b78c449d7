/* cmd_exec.c - hutch exec, hutch shell: one more command in a sandbox that runs */
/* #syscalls:before ioctl */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "command_flags.h"
#include "keys.h"
#include "registry.h"
#include "result.h"

enum { FLAG_DETACH = COMMAND_FLAGS, FLAG_DETACH_KEYS, FLAG_TIMEOUT, FLAG_RESULT, FLAGS };

static const struct flag flags[] = {
	COMMAND_FLAGS_TABLE,
	[FLAG_DETACH] = { .name = "detach",
			  .letter = 'd',
			  .help = "leave once it runs; its output goes nowhere" },
	[FLAG_DETACH_KEYS] = { .name = "detach-keys",
			       .arg = "KEYS",
			       .help = "with -t: keys that leave the terminal, while the command "
				       "goes on and its output goes nowhere; \"\" for none "
				       "[" KEYS_DEFAULT "]" },
	[FLAG_TIMEOUT] = { .name = "timeout",
			   .arg = "TIME",
			   .help = "longest run, as in 30s; the command is killed then" },
	[FLAG_RESULT] = { .name = "result",
			  .arg = "FILE|fd:N",
			  .help = "write how it went, as one JSON object" },
	{ .name = NULL },
};

/* a handle that leads to the agent of a sandbox that another process is */
static struct hutch *box_handle(const struct box *box)
{
	struct hutch *h = hutch_new();
	char path[256];

	if (box->status == BOX_EXITED)
		complain("sandbox '%s' has ended; 'hutch ps' lists those that run", box->name);
	else if (box->status == BOX_PAUSED)
		complain("sandbox '%s' is paused and would not answer; 'hutch resume %s' first",
			 box->name, box->name);
	else if (h && !rundir_path(box->name, "vsock", path, sizeof(path)) &&
		 !hutch_set(h, "vsock", "") && !hutch_set(h, "vsock@0.path", path) &&
		 !hutch_set(h, "heartbeat", "10s"))
		return h;
	hutch_free(h);
	return NULL;
}

struct hutch *sandbox_handle(const char *name)
{
	struct hutch *h;
	struct box box;

	if (box_open(name, &box))
		return NULL;
	h = box_handle(&box);
	box_close(&box);
	return h;
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

static int check_flags(const struct given *given)
{
	if (given[FLAG_DETACH].n && given[FLAG_RESULT].n) {
		complain("exec: -d and --result exclude each other: nobody waits for how it ends");
		return EXIT_USAGE;
	}
	if (!given[FLAG_DETACH_KEYS].n || (given[FLAG_TTY].n && !given[FLAG_DETACH].n))
		return 0;
	complain("exec: --detach-keys: there is no terminal to leave; it goes with -t");
	return EXIT_USAGE;
}

/* what is run, and with which limit and keys */
static int take_command(struct command *c, struct keys *keys, const struct given *given)
{
	bool detach = given[FLAG_DETACH].n, tty = given[FLAG_TTY].n && !detach;
	const char *text = given[FLAG_DETACH_KEYS].n ? given[FLAG_DETACH_KEYS].text : KEYS_DEFAULT;

	if (take_timeout(c->h, &given[FLAG_TIMEOUT], c) || keys_parse(text, keys))
		return EXIT_USAGE;
	c->what.tty = tty;
	c->what.detach = detach;
	if (detach)
		c->what.in = -1;
	if (tty && keys->n) {
		c->what.on_input = keys_filter;
		c->what.in_arg = keys;
	}
	return 0;
}

static int run_command(struct command *c, const char *name)
{
	c->signals = command_signals();
	if (c->what.tty && isatty(STDIN_FILENO))
		term_raw();
	command_run(c);
	term_restore();
	command_explain(c);
	if (c->fate == FATE_LEFT)
		complain("left; the command goes on in sandbox '%s', and its output goes nowhere",
			 name);
	return command_status(c);
}

static int exec_in(struct hutch *h, const struct box *box, char **argv, const struct given *given)
{
	struct env *env = env_read(&given[FLAG_ENV], &given[FLAG_ENV_FILE], given[FLAG_TTY].n);
	struct command c = { .h = h, .forward = true };
	struct given none = { .n = 0 };
	struct result result;
	struct keys keys;
	int status = EXIT_USAGE;

	result_begin(&result);
	if (env && !result_init(&result, &given[FLAG_RESULT], &none, box)) {
		c.what = command_request(given, argv, env);
		status = take_command(&c, &keys, given);
	}
	if (!status) {
		status = run_command(&c, box->name);
		result.status = status;
		result_finish(&result, &c);
		if (result_tell(&result) && !status)
			status = EXIT_HUTCH;
	}
	env_free(env);
	return status;
}

/* in the sandbox of this name; a @given for each of `flags` */
static int exec_by_name(const char *name, char **argv, const struct given *given)
{
	struct hutch *h;
	struct box box;
	int status;

	if (box_open(name, &box))
		return EXIT_HUTCH;
	h = box_handle(&box);
	status = h ? exec_in(h, &box, argv, given) : EXIT_HUTCH;
	hutch_free(h);
	box_close(&box);
	return status;
}

static int run_exec(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { 0 };
	int n = parse(argc, argv, verb, NULL, given), status;

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (!n) {
		complain("exec: which sandbox? 'hutch ps' lists those that run");
		return EXIT_USAGE;
	}
	if (n > 1) {
		complain("exec: '%s' stands before --; the command goes behind it", argv[1]);
		return EXIT_USAGE;
	}
	if (!argv[1]) {
		complain("exec: no command is given; write it behind --, as in hutch exec %s -- ps",
			 argv[0]);
		return EXIT_USAGE;
	}
	status = check_flags(given);
	return status ? status : exec_by_name(argv[0], argv + 1, given);
}

const struct verb verb_exec = {
	.name = "exec",
	.args = "[FLAGS] NAME -- COMMAND [ARGUMENTS]",
	.summary = "run one more command in a sandbox that runs",
	.text = "Its bytes, signals and exit status are passed on as `hutch run` does. If this\n"
		"process is killed, the command is; but the keys of --detach-keys leave a\n"
		"terminal, and the command goes on.",
	.flags = flags,
	.command = true,
	.run = run_exec,
};

static int run_shell(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { [FLAG_TTY] = { .n = 1 }, [FLAG_STDIN] = { .n = 1 } };
	char *shell[] = { (char *)"/bin/sh", NULL };
	int n = parse_names(argc, argv, verb, NULL, 1, 1);

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		given[FLAG_TTY].n = 0; /* a script on stdin */
	return exec_by_name(argv[0], shell, given);
}

const struct verb verb_shell = {
	.name = "shell",
	.args = "NAME",
	.summary = "a shell in a sandbox that runs, on this terminal",
	.text = "The keys " KEYS_DEFAULT " leave it, and it goes on.",
	.run = run_shell,
};
