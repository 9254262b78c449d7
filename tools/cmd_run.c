/*
 * cmd_run.c - hutch run: a command in a machine of its own, as if it were a local one
 *
 * This process is the machine.  Here everything that is asked for is read and
 * checked; run_box.c does it.  With -d a child is the machine, and the caller
 * leaves once the command runs.
 */
/* #syscalls:before access */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "detach.h"
#include "run.h"

const struct flag run_flags[] = {
	COMMAND_FLAGS_TABLE,
	[FLAG_DETACH] = { .name = "detach",
			  .letter = 'd',
			  .help = "leave once the command runs, and print the sandbox's name; its "
				  "output goes to `hutch logs`" },
	[FLAG_DETACH_KEYS] = { .name = "detach-keys",
			       .arg = "KEYS",
			       .help = "of `hutch exec -t` alone: the machine of run -t goes with "
				       "its terminal" },
	[FLAG_KEEP] = { .name = "keep",
			.help = "let the ended sandbox stay in `hutch ps --all` until `hutch rm`" },
	[FLAG_PORT] = { .name = "publish",
			.letter = 'p',
			.arg = "[ADDRESS/]HOST:GUEST",
			.many = true,
			.help = "a TCP port of this host leads to one of the guest, over --net "
				"user; of 127.0.0.1 unless ADDRESS is given" },
	[FLAG_MOUNT] = { .name = "mount",
			 .arg = "HOST:GUEST[:ro|rw|copy]",
			 .many = true,
			 .help = "copy a file or folder in; with rw, what is there in the end is "
				 "copied back. Nothing else of this host is written" },
	[FLAG_RUNTIME] = { .name = "runtime",
			   .arg = "NAME",
			   .help = "what --code is run by: sh, python or javascript [sh]" },
	[FLAG_CODE] = { .name = "code",
			.arg = "FILE",
			.help = "run this file; what is behind -- are its arguments" },
	[FLAG_RESULT] = { .name = "result",
			  .arg = "FILE|fd:N",
			  .help = "write how it went, as one JSON object" },
	[FLAG_STATUS_FD] = { .name = "status-fd",
			     .arg = "N",
			     .help = "tell what happens on this descriptor, one JSON object a "
				     "line; the last is the result" },
	[FLAG_CAPTURE] = { .name = "capture",
			   .help = "also put the command's output into the result: up to "
				   "--stdout-max and --stderr-max, and 16M of each" },
	[FLAG_RETRY] = { .name = "retry",
			 .arg = "N[,delay=TIME]",
			 .help = "up to N times, run the whole sandbox again when hutch or the "
				 "machine failed (E_MACHINE, E_AGENT, the boot timeout), but not "
				 "once the command has begun to read its input [delay=1s]" },
	[FLAG_PID_FILE] = { .name = "pid-file", .arg = "FILE", .help = "write the process's id" },
	[FLAG_NO_FORWARD] = { .name = "no-forward-signals",
			      .help = "signals end the sandbox instead of going to the command" },
	[FLAG_FROM] = { .name = "from",
			.arg = "SNAPSHOT",
			.help = "instead of booting, go on from this snapshot of a sandbox, and "
				"its commands with it: a name of `hutch snap ls`, or a file; what "
				"its guest knows of the machine stays as it was: a flag that says "
				"otherwise is refused, files are passed over" },
	[FLAG_ROLLBACK] = { .name = "rollback-on-fail",
			    .help = "keep nothing of a command that fails or reaches a limit: "
				    "folders of --mount H:G:rw stay as they were; with a disk "
				    "that is written in place it is refused" },
	[FLAG_TIMING] = { .name = "timing", .help = "print how long each step took, on stderr" },
	[FLAG_POLICY] = { .name = "policy",
			  .arg = "FILE",
			  .many = true,
			  .help = "a ceiling: a YAML, JSON or TOML file of keys, as for --config, "
				  "that nothing may go over; those in " POLICY_D " always hold" },
	[FLAG_DRY_RUN] = { .name = "dry-run",
			   .help = "check everything that can be checked without a machine" },
	[FLAG_EFFECTIVE] = { .name = "effective",
			     .help = "run nothing; print each key, its value, and where it comes "
				     "from" },
	{ .name = NULL },
};

/* --- what is asked for --- */

static int take_answers(struct run *r)
{
	char key[32], word[16];

	for (unsigned i = 0; i < RULES; i++) {
		enum command_answer *to = &r->c.limits.answer[i];

		snprintf(key, sizeof(key), "on_%s", command_rules[i]);
		if (command_answer_word(r->h, key, word, sizeof(word))) {
			complain("%s", hutch_error(r->h));
			return EXIT_HUTCH;
		}
		*to = ANSWER_KILL;
		while (*to < ANSWER_LOG && strcmp(word, command_answers[*to]))
			++*to;
	}
	return 0;
}

static int take_fuel(struct run *r)
{
	struct command_limits *l = &r->c.limits;

	if (hutch_fuel(r->h, &l->most[RULE_FUEL], &l->instructions)) {
		complain("%s", hutch_error(r->h));
		return EXIT_USAGE;
	}
	if (!l->most[RULE_FUEL] || !l->instructions || !hutch_can_count(r->h))
		return 0;
	complain("error %d E_FUEL: %s", EXIT_HUTCH, hutch_error(r->h));
	return EXIT_HUTCH;
}

static int take_limits(struct run *r)
{
	struct command_limits *l = &r->c.limits;
	const struct {
		const char *key;
		uint64_t *to;
	} limits[] = {
		{ "boot-timeout", &l->boot },
		{ "timeout", &l->most[RULE_TIMEOUT] },
		{ "cpu-time", &l->most[RULE_CPU_TIME] },
		{ "idle-timeout", &l->most[RULE_IDLE_TIMEOUT] },
		{ "kill-after", &l->kill_after },
		{ "stdout-max", &r->c.what.out_max },
		{ "stderr-max", &r->c.what.err_max },
	};
	int status;

	for (unsigned i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		if (!hutch_get_number(r->h, limits[i].key, limits[i].to))
			continue;
		complain("%s", hutch_error(r->h));
		return EXIT_USAGE;
	}
	status = take_fuel(r);
	return status ? status : take_answers(r);
}

static int take_capture(struct run *r)
{
	const struct given *g = r->given;

	if (!g[FLAG_CAPTURE].n)
		return 0;
	if (!g[FLAG_RESULT].n && !g[FLAG_STATUS_FD].n && !g[FLAG_KEEP].n && !g[FLAG_DETACH].n) {
		complain("--capture: the output goes into the result; tell where that goes, with "
			 "--result FILE or --status-fd N");
		return EXIT_USAGE;
	}
	capture_begin(&r->said, r->c.what.out_max, r->c.what.err_max);
	r->c.what.on_output = capture_put;
	r->c.what.arg = &r->said;
	r->result.said = &r->said;
	return 0;
}

static int take_command(struct run *r)
{
	const struct given *g = r->given;
	int status;

	if (!r->argv[0] && !g[FLAG_CODE].n && !r->checking && !g[FLAG_EFFECTIVE].n) {
		complain("run: no command is given; write it behind --, as in hutch run -- uname "
			 "-a");
		return EXIT_USAGE;
	}
	if (g[FLAG_TTY].n && g[FLAG_DETACH].n) {
		complain("run: -t and -d exclude each other: there is no terminal behind a "
			 "detached command");
		return EXIT_USAGE;
	}
	if (g[FLAG_DETACH_KEYS].n) {
		complain("run: --detach-keys: this process is the machine, and goes with its "
			 "terminal; start it with run -d, and take a terminal in it that can be "
			 "left with exec -t");
		return EXIT_USAGE;
	}
	if (g[FLAG_RETRY].n && retry_parse(g[FLAG_RETRY].text, &r->retry))
		return EXIT_USAGE;
	r->result.retry = &r->retry;
	r->work = work_read(&g[FLAG_MOUNT], &g[FLAG_RUNTIME], &g[FLAG_CODE], r->argv, &status);
	if (!r->work)
		return status;
	if (r->checking && g[FLAG_CODE].n && work_compile(r->work)) {
		complain("out of memory");
		return EXIT_HUTCH;
	}
	r->argv = work_argv(r->work);
	r->env = env_read(&g[FLAG_ENV], &g[FLAG_ENV_FILE], g[FLAG_TTY].n);
	if (!r->env)
		return EXIT_USAGE;
	r->c.what = command_request(g, r->argv, r->env);
	r->c.runtime = g[FLAG_CODE].n ? r->argv[0] : NULL;
	r->c.h = r->h;
	r->c.own = true;
	r->c.on_violation = run_violation;
	r->c.on_fault = run_fault;
	r->c.arg = r;
	r->c.forward = !g[FLAG_NO_FORWARD].n;
	status = take_limits(r);
	return status ? status : take_capture(r);
}

/* a level promises what stands behind it: what is not there yet is refused */
static int check_level(struct run *r)
{
	char level[16];

	if (hutch_get(r->h, "level", level, sizeof(level)))
		return EXIT_HUTCH;
	if (strcmp(level, "strict") && strcmp(level, "maximum"))
		return 0;
	complain("--level %s: this version cannot keep what it promises (a user of its own, an "
		 "empty network namespace, Landlock, a cgroup), and does not pretend to; use "
		 "--level standard",
		 level);
	return EXIT_HUTCH;
}

/* is there nothing to be run? */
static bool only_checks(const struct run *r)
{
	const struct given *g = r->given;

	return g[FLAG_DRY_RUN].n || g[FLAG_EFFECTIVE].n || (r->checking && !g[FLAG_CODE].n);
}

/* is every file there that the machine begins with? */
static int check_files(struct run *r)
{
	static const char *const lists[] = { "kernel", "initrd@%u.path", "disk@%u.path" };
	char key[32], path[4096];

	for (unsigned k = 0, i = 0; k < sizeof(lists) / sizeof(*lists); k++, i = 0) {
		while (snprintf(key, sizeof(key), lists[k], i++),
		       !hutch_get(r->h, key, path, sizeof(path))) {
			if (access(path, R_OK)) {
				complain("%.*s %s: %s; name a file that may be read",
					 (int)strcspn(key, "@"), key, path, strerror(errno));
				return EXIT_HUTCH;
			}
			if (!strchr(lists[k], '%'))
				break;
		}
	}
	if (!hutch_get(r->h, "rootfs", path, sizeof(path)) && path[0] && image_there(path))
		return EXIT_HUTCH;
	return 0;
}

/* what hutch_start() would find in the keys; run_sandbox() gives the vsock its path */
static int check_machine(struct run *r)
{
	char path[256];

	if (!hutch_get(r->h, "name", path, sizeof(path)) && path[0] && rundir_check(path))
		return EXIT_USAGE;
	if (r->given[FLAG_FROM].n ? run_restore(r)
				  : machine_line(r->h) || machine_guest(r->h, true))
		return EXIT_HUTCH;
	if (run_publish(r))
		return EXIT_HUTCH;
	if (!hutch_get(r->h, "vsock@0.path", path, sizeof(path)) && !path[0] &&
	    run_set(r, "vsock@0.path", "vsock"))
		return EXIT_HUTCH;
	if (!hutch_check(r->h))
		return check_files(r);
	complain("%s", hutch_error(r->h));
	return EXIT_USAGE;
}

/* what goes wrong from here on is found by it, also before there is a sandbox */
static void take_correlation(struct run *r)
{
	char *id = r->box.correlation_id;

	if (!hutch_get(r->h, "correlation_id", id, sizeof(r->box.correlation_id)) && *id)
		hutch_log_about(id, NULL);
}

/* what a disk was is not known any more once the guest has written to it */
static int check_rollback(struct run *r)
{
	char key[32], value[4096];
	bool in_place;

	r->result.rollback = r->given[FLAG_ROLLBACK].n;
	if (!r->result.rollback)
		return 0;
	if (!hutch_get(r->h, "rootfs-rw", value, sizeof(value)) && !strcmp(value, "yes")) {
		complain("--rollback-on-fail: --rootfs-rw writes to the image itself; leave one of "
			 "them out");
		return EXIT_USAGE;
	}
	for (unsigned i = 0;; i++) {
		snprintf(key, sizeof(key), "disk@%u.ro", i);
		if (hutch_get(r->h, key, value, sizeof(value)))
			return 0;
		if (!strcmp(value, "yes"))
			continue;
		snprintf(key, sizeof(key), "disk@%u.format", i);
		in_place = hutch_get(r->h, key, value, sizeof(value)) || strcmp(value, "cow");
		snprintf(key, sizeof(key), "disk@%u.overlay", i);
		if (!in_place && !hutch_get(r->h, key, value, sizeof(value)) && !value[0])
			continue;
		complain("--rollback-on-fail: disk %u is written in place, and what it was is "
			 "lost; "
			 "give it a layer that goes with the sandbox: --disk PATH,format=cow",
			 i);
		return EXIT_USAGE;
	}
}

static int check(struct run *r)
{
	const struct given *g = r->given;
	int status;

	take_correlation(r);
	status = policy_apply(&r->policy, r->h, &g[FLAG_POLICY], g[FLAG_TTY].n || g[FLAG_DETACH].n);

	if (!status)
		status = check_level(r);
	if (!status)
		status = check_rollback(r);
	if (!status)
		status = take_command(r);
	r->result.work = r->work;
	r->result.policy = &r->policy;
	if (!status)
		status = result_init(&r->result, &g[FLAG_RESULT], &g[FLAG_STATUS_FD], &r->box);
	if (!status && g[FLAG_EFFECTIVE].n)
		print_effective(r->h);
	else if (!status && only_checks(r))
		status = check_machine(r);
	return status;
}

int run_or_check(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { 0 };
	struct run r = { .given = given,
			 .ready = -1,
			 .pid_fd = -1,
			 .retry = { .report = -1 },
			 .checking = verb == &verb_check };
	int n, status;

	r.h = hutch_new();
	if (!r.h) {
		complain("out of memory");
		return EXIT_HUTCH;
	}
	result_begin(&r.result);
	n = parse(argc, argv, verb, r.h, given);
	if (n > 0)
		complain("%s: '%s' stands before --; the command goes behind it", verb->name,
			 argv[0]);
	status = n == -2 ? 0 : n ? EXIT_USAGE : machine_defaults(r.h, true) ? EXIT_HUTCH : -1;
	if (status >= 0) {
		hutch_free(r.h);
		return status;
	}
	r.argv = argv; /* what stood behind -- */
	status = check(&r);
	if (status || only_checks(&r) || (given[FLAG_DETACH].n && detach(&r.ready, &status))) {
		hutch_free(r.h);
		work_free(r.work);
		env_free(r.env);
		return status;
	}
	status = run_sandbox(&r);
	work_free(r.work);
	env_free(r.env);
	return status;
}

const struct verb verb_run = {
	.name = "run",
	.args = "[FLAGS] -- COMMAND [ARGUMENTS]",
	.summary =
		"run a command in a machine of its own, and hand back its output and exit status",
	.text = "The machine begins with the command and goes with it; nothing is left behind.\n"
		"stdout and stderr carry the command's bytes alone. The exit status is the\n"
		"command's own; 124 when a limit ended it, 125 when hutch failed, 126 when it\n"
		"cannot be run (also a bad --workdir or --user), 127 when it is not there, 128+N\n"
		"when signal N ended it. The result tells a command that returns 124 to 127\n"
		"itself from hutch that does. `hutch help configuration` tells which files and\n"
		"variables are read.",
	.flags = run_flags,
	.machine = true,
	.box = true,
	.layers = true,
	.command = true,
	.run = run_or_check,
};
