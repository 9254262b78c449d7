/*
 * cmd_run.c - hutch run: a command in a machine of its own, as if it were a local one
 *
 * This process is the machine.  In order: what is asked for is checked, the
 * sandbox enters the registry, the machine starts, the agent calls, the command
 * runs, the machine goes, the result is told, the registry forgets.  With -d
 * a child does all that, and the caller leaves once the command runs.
 *
 * #syscalls:caller openat dup2 close write epoll_create1 epoll_ctl unlink ioctl:TCGETS
 * #syscalls:before pipe2 clone setsid read wait4 getpid geteuid
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "env.h"
#include "machine.h"
#include "policy.h"
#include "result.h"
#include "run.h"
#include "work.h"

enum {
	FLAG_DETACH,
	FLAG_KEEP,
	FLAG_STDIN,
	FLAG_TTY,
	FLAG_ENV,
	FLAG_ENV_FILE,
	FLAG_CWD,
	FLAG_USER,
	FLAG_PORT,
	FLAG_MOUNT,
	FLAG_RUNTIME,
	FLAG_CODE,
	FLAG_RESULT,
	FLAG_STATUS_FD,
	FLAG_PID_FILE,
	FLAG_NO_FORWARD,
	FLAG_TIMING,
	FLAG_POLICY,
	FLAG_DRY_RUN,
	FLAG_EFFECTIVE,
	FLAGS
};

const struct flag run_flags[] = {
	[FLAG_DETACH] = { .name = "detach",
			  .letter = 'd',
			  .help = "leave once the command runs, and print the sandbox's name; its "
				  "output goes to `hutch logs`" },
	[FLAG_KEEP] = { .name = "keep",
			.help = "let the ended sandbox stay in `hutch ps --all` until `hutch rm`" },
	[FLAG_STDIN] = { .name = "interactive", .letter = 'i', .help = "pass our stdin on" },
	[FLAG_TTY] = { .name = "tty", .letter = 't', .help = "give the command a terminal" },
	[FLAG_ENV] = { .name = "env",
		       .letter = 'e',
		       .arg = "NAME=VALUE",
		       .many = true,
		       .help = "a variable of the command; NAME alone takes ours" },
	[FLAG_ENV_FILE] = { .name = "env-file",
			    .arg = "FILE",
			    .many = true,
			    .help = "variables, one NAME=VALUE a line, # for remarks" },
	[FLAG_CWD] = { .name = "workdir",
		       .letter = 'w',
		       .arg = "DIR",
		       .help = "where in the guest the command begins [/]" },
	[FLAG_USER] = { .name = "user",
			.letter = 'u',
			.arg = "USER[:GROUP]",
			.help = "who in the guest it runs as [root]" },
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
	[FLAG_PID_FILE] = { .name = "pid-file", .arg = "FILE", .help = "write the process's id" },
	[FLAG_NO_FORWARD] = { .name = "no-forward-signals",
			      .help = "signals end the sandbox instead of going to the command" },
	[FLAG_TIMING] = { .name = "timing", .help = "print how long each step took, on stderr" },
	[FLAG_POLICY] = { .name = "policy",
			  .arg = "FILE",
			  .many = true,
			  .help = "a ceiling: a YAML or JSON file of keys, as for --config, that "
				  "nothing may go over; those in " POLICY_D " always hold" },
	[FLAG_DRY_RUN] = { .name = "dry-run",
			   .help = "check everything that can be checked without a machine" },
	[FLAG_EFFECTIVE] = { .name = "effective",
			     .help = "run nothing; print each key, its value, and where it comes "
				     "from" },
	{ .name = NULL },
};

#define SETTLE_MS 10000

struct run {
	struct hutch *h;
	const struct given *given;
	char **argv;
	struct box box;
	bool has_box;
	bool checking; /* hutch check */
	int ready;     /* -1, or where to tell the one who waits that the command runs */
	struct command c;
	struct env *env;
	struct work *work;
	struct policy policy;
	struct result result;
};

/* --- what is asked for --- */

static int take_answer(struct run *r)
{
	enum command_answer *to = &r->c.limits.answer;
	char word[16];

	if (hutch_get(r->h, "on_violation", word, sizeof(word))) {
		complain("%s", hutch_error(r->h));
		return EXIT_HUTCH;
	}
	*to = ANSWER_KILL;
	while (*to < ANSWER_LOG && strcmp(word, command_answers[*to]))
		++*to;
	return 0;
}

static int take_limits(struct run *r)
{
	struct command_limits *l = &r->c.limits;
	const struct {
		const char *key;
		uint64_t *to;
	} limits[] = {
		{ "boot-timeout", &l->boot },
		{ "timeout", &l->wall },
		{ "cpu-time", &l->cpu },
		{ "idle-timeout", &l->idle },
		{ "kill-after", &l->kill_after },
		{ "stdout-max", &r->c.what.out_max },
		{ "stderr-max", &r->c.what.err_max },
	};

	for (unsigned i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		if (!hutch_get_number(r->h, limits[i].key, limits[i].to))
			continue;
		complain("%s", hutch_error(r->h));
		return EXIT_USAGE;
	}
	return take_answer(r);
}

/* whatever the answer is, it is told */
static void on_violation(void *arg, const struct violation *v)
{
	const struct run *r = arg;
	const char *name = r->box.name, *answer = command_answers[v->answer];
	char value[64] = "", members[256];

	hutch_get(r->h, v->limit, value, sizeof(value));
	snprintf(members, sizeof(members),
		 ",\"level\":\"warning\",\"limit\":\"%s\",\"value\":\"%s\",\"action\":\"%s\"",
		 v->limit, value, answer);
	box_event(&r->box, "security.violation", members);
	box_log(&r->box, "audit", "%s of %s was reached: %s", v->limit, value, answer);
	if (v->answer == ANSWER_PAUSE)
		complain("%s of %s was reached, and sandbox '%s' is paused; 'hutch resume %s' lets "
			 "it go on, 'hutch kill %s' ends it",
			 v->limit, value, name, name, name);
	/* the first limits are the level's, which nobody may know of */
	if (v->answer == ANSWER_CUT)
		complain("%s of %s was reached: the command said more, which is lost; give more "
			 "with "
			 "--%.6s-max, 0 is no limit",
			 v->limit, value, v->limit);
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
	r->c.what = (struct hutch_request){
		.what = HUTCH_ASK_EXEC,
		.argv = (const char *const *)r->argv,
		.env = env_list(r->env),
		.cwd = g[FLAG_CWD].text,
		.user = g[FLAG_USER].text,
		.tty = g[FLAG_TTY].n,
		.in = g[FLAG_STDIN].n || g[FLAG_TTY].n ? STDIN_FILENO : -1,
		.out = STDOUT_FILENO,
		.err = STDERR_FILENO,
	};
	r->c.h = r->h;
	r->c.own = true;
	r->c.on_violation = on_violation;
	r->c.arg = r;
	r->c.forward = !g[FLAG_NO_FORWARD].n;
	return take_limits(r);
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

static int set(struct run *r, const char *key, const char *value)
{
	if (!hutch_set(r->h, key, value))
		return 0;
	complain("%s", hutch_error(r->h));
	return -1;
}

/* -p is net@0.forward, of a network that is made for it if there is none */
static int publish(struct run *r)
{
	const struct given *ports = &r->given[FLAG_PORT];
	char all[256] = "", mode[8];

	if (!ports->n)
		return 0;
	if (hutch_get(r->h, "net@0.mode", mode, sizeof(mode)) && set(r, "net", "user"))
		return -1;
	for (unsigned i = 0; i < ports->n; i++) {
		size_t len = strlen(all);

		if (snprintf(all + len, sizeof(all) - len, "%s%s", len ? "+" : "", ports->all[i]) >=
		    (int)(sizeof(all) - len)) {
			complain("-p: %u ports are too many to name", ports->n);
			return -1;
		}
	}
	return set(r, "net@0.forward", all);
}

/* --rootfs: an image, a name in the store, or a folder that is packed first */
static int find_root(struct run *r)
{
	char what[4096], path[4096];

	if (hutch_get(r->h, "rootfs", what, sizeof(what)) || !what[0])
		return 0;
	/* the files of a caller who is not root belong to the guest's root */
	if (image_resolve(what, geteuid() ? IMAGE_MAP_ROOT : 0, path, sizeof(path)) < 0)
		return -1;
	return set(r, "rootfs", path);
}

static int make_sandbox(struct run *r)
{
	char path[256];
	int n;

	if (machine_line(r->h) || machine_guest(r->h, true) || find_root(r) || publish(r))
		return EXIT_HUTCH;
	if (hutch_get(r->h, "vsock@0.path", path, sizeof(path)) && set(r, "vsock", ""))
		return EXIT_HUTCH;
	if (set(r, "agent", "yes"))
		return EXIT_HUTCH;
	snprintf(r->box.command, sizeof(r->box.command), "%s", r->argv[0]);
	for (char **arg = r->argv + 1; *arg; arg++) {
		size_t len = strlen(r->box.command);

		snprintf(r->box.command + len, sizeof(r->box.command) - len, " %s", *arg);
	}
	r->box.keep = r->given[FLAG_KEEP].n || r->given[FLAG_DETACH].n;
	n = machine_register(r->h, &r->box);
	r->has_box = !n;
	if (n)
		return n == -EINVAL ? EXIT_USAGE : EXIT_HUTCH;
	if (hutch_get(r->h, "hostname", path, sizeof(path)) || path[0])
		return 0;
	return set(r, "hostname", r->box.name) ? EXIT_HUTCH : 0;
}

/* --- the run itself --- */

static void tell_ready(struct run *r)
{
	if (r->ready < 0)
		return;
	if (write(r->ready, r->box.name, strlen(r->box.name) + 1) < 0)
		complain("the one who started this sandbox has gone");
	close(r->ready);
	r->ready = -1;
}

/* a detached command's words go into the sandbox's folder, as ours do */
static int detach_output(struct run *r)
{
	int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int out = openat(r->box.dir, "stdout", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	int err = openat(r->box.dir, "stderr", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (in < 0 || out < 0 || err < 0) {
		complain("sandbox '%s': its output cannot be kept: %s", r->box.name,
			 strerror(errno));
		return EXIT_HUTCH;
	}
	dup2(in, STDIN_FILENO);
	close(in);
	r->c.what.out = out;
	r->c.what.err = err;
	if (!r->given[FLAG_STDIN].n)
		r->c.what.in = -1;
	return 0;
}

static void on_started(void *arg)
{
	struct run *r = arg;

	box_started(&r->box);
	box_event(&r->box, "execution.start", "");
	result_started(&r->result);
	if (r->ready < 0)
		return;
	tell_ready(r);
	/* from here on nobody reads what we say but `hutch logs` */
	int log = openat(r->box.dir, "log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (log >= 0)
		dup2(log, STDERR_FILENO);
	if (null >= 0)
		dup2(null, STDOUT_FILENO);
}

static int write_pid(const char *path)
{
	FILE *f = fopen(path, "we");

	if (f && fprintf(f, "%d\n", getpid()) > 0 && !fclose(f))
		return 0;
	complain("--pid-file %s: %s", path, strerror(errno));
	return EXIT_HUTCH;
}

static void explain(const struct run *r)
{
	const struct command *c = &r->c;

	switch (c->fate) {
	case FATE_REFUSED:
		complain("%s", c->text);
		break;
	case FATE_MACHINE:
		complain("error %d E_MACHINE: the machine ended before the command did: %s",
			 EXIT_HUTCH, c->text);
		break;
	case FATE_AGENT:
		complain("error %d E_AGENT: %s", EXIT_HUTCH, c->text);
		break;
	case FATE_LIMIT:
		complain("error %d E_LIMIT: %s was reached; the command was ended", EXIT_LIMIT,
			 c->limit);
		break;
	default:
		break;
	}
}

static int start(struct run *r)
{
	int n;

	r->c.signals = command_signals();
	machine_files();
	if (r->c.what.tty && isatty(STDIN_FILENO))
		term_guard();
	if (r->given[FLAG_PID_FILE].n && write_pid(r->given[FLAG_PID_FILE].text))
		return EXIT_HUTCH;
	n = hutch_start(r->h);
	if (!n) {
		result_machine(&r->result);
		return 0;
	}
	complain("%s", hutch_error(r->h));
	snprintf(r->box.reason, sizeof(r->box.reason), "%.*s", (int)sizeof(r->box.reason) - 1,
		 hutch_error(r->h));
	return n == -EINVAL ? EXIT_USAGE : EXIT_HUTCH;
}

/* what ends a transfer early: a signal, or the machine's end */
static int wake_of(struct run *r)
{
	struct epoll_event e = { .events = EPOLLIN };
	int fd = epoll_create1(EPOLL_CLOEXEC);

	if (fd >= 0 && (epoll_ctl(fd, EPOLL_CTL_ADD, r->c.signals, &e) ||
			epoll_ctl(fd, EPOLL_CTL_ADD, hutch_event_fd(r->h), &e))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* the guest is there: what the command needs is brought; 0, or the exit status */
static int bring_work(struct run *r)
{
	struct command boot = r->c;
	int wake, status;

	boot.what =
		(struct hutch_request){ .what = HUTCH_ASK_INFO, .in = -1, .out = -1, .err = -1 };
	command_run(&boot);
	result_booted(&r->result, &boot.exit);
	if (boot.fate != FATE_EXITED) {
		boot.what = r->c.what;
		r->c = boot;
		return command_status(&r->c);
	}
	wake = wake_of(r);
	status = work_in(r->work, r->h, wake);
	if (wake >= 0)
		close(wake);
	if (status)
		r->c.fate = FATE_WORK;
	return status;
}

static int take_work(struct run *r)
{
	int wake, status;

	if (r->c.fate != FATE_EXITED && r->c.fate != FATE_LIMIT && r->c.fate != FATE_STDIO)
		return 0;
	wake = wake_of(r);
	status = work_out(r->work, r->h, wake);
	if (wake >= 0)
		close(wake);
	if (status)
		r->c.fate = FATE_WORK;
	return status;
}

/* does the guest write to what outlives it? */
static bool writes_disks(struct run *r)
{
	char key[32], ro[8], format[8];

	for (unsigned i = 0;; i++) {
		snprintf(key, sizeof(key), "disk@%u.ro", i);
		if (hutch_get(r->h, key, ro, sizeof(ro)))
			return false;
		snprintf(key, sizeof(key), "disk@%u.format", i);
		if (!strcmp(ro, "no") && !hutch_get(r->h, key, format, sizeof(format)))
			return true;
	}
}

/* what the command has written is on its disks: the guest ends as a machine does */
static void settle(struct run *r)
{
	const struct hutch_request x = {
		.what = HUTCH_ASK_POWEROFF, .in = -1, .out = -1, .err = -1
	};
	struct hutch_job *job = hutch_ask(r->h, &x);
	struct hutch_result result;
	struct hutch_exit e;

	/* the answer, or the end of the machine that asked for it */
	if (job)
		hutch_job_wait(job, SETTLE_MS, hutch_event_fd(r->h), &e);
	if (!job || hutch_wait(r->h, SETTLE_MS, &result))
		complain("the guest did not end in time: what it wrote last may not be on its "
			 "disks");
	hutch_job_free(job);
}

/* the command and what belongs to it; 0 if the status is the command's */
static int execute(struct run *r)
{
	int status = work_any(r->work) ? bring_work(r) : 0;

	if (status)
		return status;
	r->c.on_started = on_started;
	command_run(&r->c);
	status = work_any(r->work) ? take_work(r) : 0;
	if (r->c.fate != FATE_MACHINE && r->c.fate != FATE_AGENT && writes_disks(r))
		settle(r);
	return status;
}

static int run_sandbox(struct run *r)
{
	int status = make_sandbox(r);

	if (!status && r->given[FLAG_DETACH].n)
		status = detach_output(r);
	if (!status)
		status = start(r);
	if (status)
		return status;
	if (r->c.what.tty && isatty(STDIN_FILENO))
		term_raw();
	status = execute(r);
	term_restore();
	box_stopping(&r->box);
	explain(r);
	return status ? status : command_status(&r->c);
}

static void tell_complete(const struct run *r)
{
	char members[128];

	snprintf(members, sizeof(members), ",\"exit_code\":%d,\"duration_ms\":%lu",
		 r->result.status,
		 (unsigned long)((r->result.ended_ns - r->result.begin_ns) / 1000000));
	box_event(&r->box, "execution.complete", members);
}

/* what the caller gets: a result that could not be told is no success */
static int finish(struct run *r, int status)
{
	r->result.status = status;
	result_finish(&r->result, &r->c);
	if (r->has_box) {
		tell_complete(r);
		result_keep(&r->result, r->box.dir);
		r->box.exit_code = status;
		if (!r->box.reason[0])
			result_reason(&r->result, &r->c, r->box.reason, sizeof(r->box.reason));
	}
	hutch_free(r->h);
	if (r->has_box)
		box_end(&r->box);
	if (r->given[FLAG_PID_FILE].n)
		unlink(r->given[FLAG_PID_FILE].text);
	if (result_tell(&r->result) && !status)
		status = EXIT_HUTCH;
	if (r->given[FLAG_TIMING].n)
		result_timing(&r->result, stderr);
	return status;
}

/* the caller of run -d: until the command runs, or did not come into being */
static int wait_for_child(pid_t pid, int ready)
{
	char name[64] = "";
	ssize_t n = read(ready, name, sizeof(name) - 1);
	int status = 0;

	if (n > 0) {
		puts(name);
		return 0;
	}
	if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		return EXIT_HUTCH;
	/* over before it was told that it began */
	return WEXITSTATUS(status);
}

/* the child goes on with 0; the caller has its exit status in *@ret */
static bool detach(struct run *r, int *ret)
{
	int pipe_[2];
	pid_t pid;

	if (pipe2(pipe_, O_CLOEXEC)) {
		complain("pipe: %s", strerror(errno));
		*ret = EXIT_HUTCH;
		return true;
	}
	fflush(NULL);
	pid = fork();
	if (!pid) {
		setsid();
		close(pipe_[0]);
		r->ready = pipe_[1];
		return false;
	}
	close(pipe_[1]);
	if (pid < 0)
		complain("fork: %s", strerror(errno));
	*ret = pid < 0 ? EXIT_HUTCH : wait_for_child(pid, pipe_[0]);
	return true;
}

/* is there nothing to be run? */
static bool only_checks(const struct run *r)
{
	const struct given *g = r->given;

	return g[FLAG_DRY_RUN].n || g[FLAG_EFFECTIVE].n || (r->checking && !g[FLAG_CODE].n);
}

/* what hutch_start() would find in the keys; make_sandbox() gives the vsock its path */
static int check_machine(struct run *r)
{
	char path[256];

	if (machine_line(r->h) || machine_guest(r->h, true))
		return EXIT_HUTCH;
	if (!hutch_get(r->h, "vsock@0.path", path, sizeof(path)) && !path[0] &&
	    set(r, "vsock@0.path", "vsock"))
		return EXIT_HUTCH;
	if (!hutch_check(r->h))
		return 0;
	complain("%s", hutch_error(r->h));
	return EXIT_USAGE;
}

static int check(struct run *r)
{
	const struct given *g = r->given;
	int status =
		policy_apply(&r->policy, r->h, &g[FLAG_POLICY], g[FLAG_TTY].n || g[FLAG_DETACH].n);

	if (!status)
		status = check_level(r);
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

/* of code that was compiled: is it valid? */
static int check_status(const struct run *r, int status)
{
	return status && r->c.fate == FATE_EXITED ? EXIT_FAIL : status;
}

int run_or_check(int argc, char **argv, const struct verb *verb)
{
	struct given given[FLAGS] = { 0 };
	struct run r = { .given = given, .ready = -1, .checking = verb == &verb_check };
	int n, status;

	r.h = machine_new();
	if (!r.h) {
		complain("out of memory");
		return EXIT_HUTCH;
	}
	result_begin(&r.result);
	/* "": what suits the kernel, once that is known */
	if (hutch_set(r.h, "append", "") || hutch_set(r.h, "console", "none")) {
		complain("%s", hutch_error(r.h));
		return EXIT_HUTCH;
	}
	n = parse(argc, argv, verb, r.h, given);
	if (n > 0)
		complain("%s: '%s' stands before --; the command goes behind it", verb->name,
			 argv[0]);
	if (n) {
		hutch_free(r.h);
		return n == -2 ? 0 : EXIT_USAGE;
	}
	r.argv = argv; /* what stood behind -- */
	status = check(&r);
	if (status || only_checks(&r) || (given[FLAG_DETACH].n && detach(&r, &status))) {
		hutch_free(r.h);
		work_free(r.work);
		env_free(r.env);
		return status;
	}
	status = run_sandbox(&r);
	if (r.checking)
		status = check_status(&r, status);
	status = finish(&r, status);
	work_free(r.work);
	env_free(r.env);
	return status;
}

const struct verb verb_run = {
	.name = "run",
	.args = "[FLAGS] -- COMMAND [ARGUMENTS]",
	.summary =
		"run a command in a machine of its own, and hand back its output and exit status",
	.text = "The machine begins with the command and goes with it; nothing is left behind. "
		"stdout and\n"
		"stderr carry the command's bytes alone. The exit status is the command's own; 124 "
		"when a\n"
		"limit ended it, 125 when hutch failed, 126 when it cannot be run (also a bad "
		"--workdir or\n"
		"--user), 127 when it is not there, 128+N when signal N ended it. The result tells "
		"a command\n"
		"that returns 124 to 127 itself from hutch that does.",
	.flags = run_flags,
	.machine = true,
	.box = true,
	.command = true,
	.run = run_or_check,
};
