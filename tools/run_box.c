/*
 * run_box.c - a run: the sandbox enters the registry, the machine starts, the agent calls, the
 * command runs, the machine goes, the result is told, the registry forgets
 *
 * #syscalls:caller ftruncate openat dup2 close write epoll_create1 epoll_ctl unlink ioctl:TCGETS
 * #syscalls:before getpid geteuid
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "detach.h"
#include "restore.h"
#include "run.h"
#include "units.h"

#define SETTLE_MS 10000

/* --- before the machine --- */

int run_set(struct run *r, const char *key, const char *value)
{
	if (!hutch_set(r->h, key, value))
		return 0;
	complain("%s", hutch_error(r->h));
	return -1;
}

void run_violation(void *arg, const struct violation *v)
{
	const struct run *r = arg;
	const char *name = r->box.name, *answer = command_answers[v->answer];
	char value[64] = "", percent[16] = "", members[256];

	hutch_get(r->h, v->limit, value, sizeof(value));
	hutch_get(r->h, "cpu_percent", percent, sizeof(percent));
	snprintf(members, sizeof(members), ",\"limit\":\"%s\",\"value\":\"%s\",\"action\":\"%s\"",
		 v->limit, value, answer);
	box_event(&r->box, HUTCH_LOG_WARNING, "security.violation", members);
	box_log(&r->box, "audit", HUTCH_LOG_WARNING, "%s of %s was reached: %s", v->limit, value,
		answer);
	if (v->answer == ANSWER_PAUSE)
		caution("%s of %s was reached, and sandbox '%s' is paused; 'hutch resume %s' lets "
			"it go on, 'hutch kill %s' ends it",
			v->limit, value, name, name, name);
	if (v->answer == ANSWER_THROTTLE)
		caution("%s of %s was reached, and sandbox '%s' is throttled to %s%% of a "
			"processor; 'hutch set %s cpu-percent=%lu' lets it go on as before",
			v->limit, value, name, percent, name, (unsigned long)v->percent);
	/* the first limits are the level's, which nobody may know of; transfer.c tells of its own
	 */
	if (v->answer == ANSWER_CUT && strcmp(v->limit, "copy_max"))
		caution("%s of %s was reached: the command said more, which is lost; give more "
			"with --%.6s-max, 0 is no limit",
			v->limit, value, v->limit);
}

void run_fault(void *arg, unsigned n)
{
	const struct run *r = arg;
	char members[32];

	snprintf(members, sizeof(members), ",\"times\":%u", n);
	box_event(&r->box, HUTCH_LOG_WARNING, "security.device", members);
	box_log(&r->box, "audit", HUTCH_LOG_WARNING,
		"the guest broke the rules of its devices, %u times by now", n);
}

int run_publish(struct run *r)
{
	const struct given *ports = &r->given[FLAG_PORT];
	char all[256] = "", mode[8];

	if (!ports->n)
		return 0;
	if (hutch_get(r->h, "net@0.mode", mode, sizeof(mode))) {
		if (r->given[FLAG_FROM].n) {
			complain("-p: the snapshot's machine has no network, and gets none by a "
				 "restore");
			return -1;
		}
		if (run_set(r, "net", "user"))
			return -1;
	}
	for (unsigned i = 0; i < ports->n; i++) {
		size_t len = strlen(all);

		if (snprintf(all + len, sizeof(all) - len, "%s%s", len ? "+" : "", ports->all[i]) >=
		    (int)(sizeof(all) - len)) {
			complain("-p: %u ports are too many to name", ports->n);
			return -1;
		}
	}
	return run_set(r, "net@0.forward", all);
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
	return run_set(r, "rootfs", path);
}

int run_restore(struct run *r)
{
	return restore_guest(r->h, r->given[FLAG_FROM].text, true, r->restored) ||
	       policy_restored(r->h, &r->given[FLAG_POLICY]);
}

/* what boots, or goes on from a snapshot */
static int make_guest(struct run *r)
{
	if (r->given[FLAG_FROM].n)
		return run_restore(r) || run_publish(r);
	return machine_line(r->h) || machine_guest(r->h, true) || find_root(r) || run_publish(r);
}

static int make_sandbox(struct run *r)
{
	char path[256];
	int n;

	if (make_guest(r))
		return EXIT_HUTCH;
	if (hutch_get(r->h, "vsock@0.path", path, sizeof(path)) && run_set(r, "vsock", ""))
		return EXIT_HUTCH;
	if (run_set(r, "agent", "yes"))
		return EXIT_HUTCH;
	machine_agent_log(r->h, &r->agent_log, &r->box);
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
	return run_set(r, "hostname", r->box.name) ? EXIT_HUTCH : 0;
}

/* --- the run itself --- */

void run_quiet(struct run *r)
{
	detach_quiet(&r->ready, &r->box);
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
	if (r->restored[0])
		box_event(&r->box, HUTCH_LOG_INFO, "execution.restore", r->restored);
	box_event(&r->box, HUTCH_LOG_INFO, "execution.start", "");
	result_started(&r->result);
	retry_started(r);
	detach_tell(&r->ready, &r->box);
}

/* what may be written now is kept open: root may not be able to do it again in the jail */
int run_write_pid(struct run *r, const char *path)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d\n", getpid());

	r->pid_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (r->pid_fd >= 0 && write(r->pid_fd, text, (size_t)n) == n)
		return 0;
	complain("--pid-file %s: %s", path, strerror(errno));
	return EXIT_HUTCH;
}

/* where it has to stay it says nothing */
static void remove_pid(struct run *r, const char *path)
{
	if (unlink(path) && errno != ENOENT && r->pid_fd >= 0 && ftruncate(r->pid_fd, 0))
		complain("--pid-file %s: it stays there: %s", path, strerror(errno));
	if (r->pid_fd >= 0)
		close(r->pid_fd);
}

/* root in a jail: see porter.h */
static int start_porter(struct run *r)
{
	char jail[16];

	if (geteuid() || !work_any(r->work) || hutch_get(r->h, "jail", jail, sizeof(jail)) ||
	    !strcmp(jail, "none"))
		return 0;
	r->porter = porter_new();
	return r->porter ? 0 : EXIT_HUTCH;
}

/* what the host lacks now it may have later */
static bool may_pass(int e)
{
	return e == -ENOMEM || e == -EAGAIN || e == -EBUSY || e == -EMFILE || e == -ENFILE ||
	       e == -ENOSPC || e == -EIO || e == -ETIMEDOUT;
}

static int start(struct run *r)
{
	int n;

	r->c.signals = command_signals();
	r->c.ends = command_ends();
	machine_files();
	if (r->c.what.tty && isatty(STDIN_FILENO))
		term_guard();
	if (r->given[FLAG_PID_FILE].n && !r->retry.most &&
	    run_write_pid(r, r->given[FLAG_PID_FILE].text))
		return EXIT_HUTCH;
	if (start_porter(r))
		return EXIT_HUTCH;
	if (!r->given[FLAG_FROM].n)
		warm_look(r->h);
	n = hutch_start(r->h);
	if (!n) {
		result_machine(&r->result);
		return 0;
	}
	complain("%s", hutch_error(r->h));
	r->c.fate = FATE_MACHINE;
	r->useless = !may_pass(hutch_error_code(r->h));
	snprintf(r->c.text, sizeof(r->c.text), "%s", hutch_error(r->h));
	snprintf(r->box.reason, sizeof(r->box.reason), "%.*s", (int)sizeof(r->box.reason) - 1,
		 hutch_error(r->h));
	return n == -EINVAL ? EXIT_USAGE : EXIT_HUTCH;
}

/* what ends a transfer early: a signal, or the machine's end */
static int wake_of(struct run *r)
{
	struct epoll_event e = { .events = EPOLLIN };
	int fd = epoll_create1(EPOLL_CLOEXEC);

	if (fd >= 0 && (epoll_ctl(fd, EPOLL_CTL_ADD, r->c.ends, &e) ||
			epoll_ctl(fd, EPOLL_CTL_ADD, hutch_event_fd(r->h), &e))) {
		close(fd);
		return -1;
	}
	return fd;
}

/*
 * A guest whose helper stands still would keep us for ever: files that go with a command may take
 * as long as it may, and as the guest may to begin.  0, or an exit status after a complaint.
 */
static int files_of(struct run *r, struct transfer *ret)
{
	struct transfer t = { .h = r->h, .porter = r->porter, .wake = wake_of(r) };
	uint64_t run = 0, boot = 0;

	if (t.wake < 0) {
		complain("files cannot be copied: epoll: %s", strerror(errno));
		return EXIT_HUTCH;
	}
	if (!hutch_get_number(r->h, "timeout", &run) &&
	    !hutch_get_number(r->h, "boot-timeout", &boot) && run)
		t.until_ms = monotonic_ms() + run + boot;
	*ret = t;
	return 0;
}

/* files did not come or go; the exit status */
static int fail_work(struct run *r, int status)
{
	if (command_interrupted(&r->c))
		return command_status(&r->c);
	r->c.fate = FATE_WORK;
	return status;
}

/* the guest is there: what the command needs is brought; 0, or the exit status */
static int bring_work(struct run *r)
{
	struct command boot = r->c;
	struct transfer t;
	int status;

	boot.what =
		(struct hutch_request){ .what = HUTCH_ASK_INFO, .in = -1, .out = -1, .err = -1 };
	command_run(&boot);
	result_booted(&r->result, &boot.exit);
	if (boot.fate != FATE_EXITED) {
		boot.what = r->c.what;
		r->c = boot;
		return command_status(&r->c);
	}
	/* what has been answered by now is not answered again */
	r->c.limits = boot.limits;
	memcpy(r->c.violation, boot.violation, sizeof(boot.violation));
	r->c.violations = boot.violations;
	status = files_of(r, &t);
	if (status)
		return fail_work(r, status);
	status = work_in(r->work, &t);
	close(t.wake);
	return status ? fail_work(r, status) : 0;
}

static int take_work(struct run *r)
{
	bool over = false, keep;
	struct transfer t;
	int status;

	if (r->c.fate != FATE_EXITED && r->c.fate != FATE_LIMIT && r->c.fate != FATE_STDIO)
		return 0;
	status = files_of(r, &t);
	if (status)
		return fail_work(r, status);
	keep = !r->result.rollback || !command_status(&r->c);
	status = transfer_limit(&t) ? EXIT_HUTCH : work_out(r->work, &t, keep, &over);
	close(t.wake);
	if (over)
		command_violation(&r->c, "copy_max");
	return status ? fail_work(r, status) : 0;
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
		caution("the guest did not end in time: what it wrote last may not be on its "
			"disks");
	hutch_job_free(job);
}

/* the command and what belongs to it; 0 if the status is the command's */
static int execute(struct run *r)
{
	bool restored = r->given[FLAG_FROM].n;
	int status = restored || work_any(r->work) ? bring_work(r) : 0;

	if (status)
		return status;
	if (restored) /* it may have been slow to hear it, the first time */
		hutch_tell_time(r->h);
	r->c.on_started = on_started;
	command_run(&r->c);
	status = work_any(r->work) ? take_work(r) : 0;
	if (r->c.fate != FATE_MACHINE && r->c.fate != FATE_AGENT && writes_disks(r))
		settle(r);
	return status;
}

/* a failure before there was a command is not a command's number, and no try mends it */
static int own_up(struct run *r, int status)
{
	if (!status || r->c.fate != FATE_EXITED || r->c.exit.started_ns)
		return status;
	r->c.fate = FATE_MACHINE;
	r->useless = true;
	snprintf(r->c.text, sizeof(r->c.text), "the sandbox could not be made");
	return status;
}

int run_prepare(struct run *r)
{
	int status = make_sandbox(r);

	return own_up(r, status || !r->given[FLAG_DETACH].n ? status : detach_output(r));
}

int run_once(struct run *r)
{
	int status = own_up(r, start(r));

	if (status)
		return status;
	if (r->c.what.tty && isatty(STDIN_FILENO))
		term_raw();
	status = execute(r);
	term_restore();
	box_stopping(&r->box);
	command_explain(&r->c);
	return status ? status : command_status(&r->c);
}

static void tell_complete(const struct run *r)
{
	char members[128];

	if (r->c.fate == FATE_AGENT) {
		box_event(&r->box, HUTCH_LOG_WARNING, "security.agent_lost", "");
		box_log(&r->box, "audit", HUTCH_LOG_WARNING, "the agent was lost: %s", r->c.text);
	}

	snprintf(members, sizeof(members), ",\"exit_code\":%d,\"duration_ms\":%lu",
		 r->result.status,
		 (unsigned long)((r->result.ended_ns - r->result.begin_ns) / 1000000));
	box_event(&r->box, HUTCH_LOG_INFO, "execution.complete", members);
}

/* the last that is written */
static void tell_last(void *arg)
{
	struct run *r = arg;

	if (r->given[FLAG_PID_FILE].n)
		remove_pid(r, r->given[FLAG_PID_FILE].text);
	r->untold = result_tell(&r->result) != 0;
}

/* what the caller gets: a result that could not be told is no success */
int run_finish(struct run *r, int status)
{
	r->result.status = own_up(r, status);
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
	/* files that came back may have taken the place of what is kept open */
	if (r->porter) {
		porter_begin(r->porter, tell_last, r);
		porter_wait(r->porter);
	} else {
		tell_last(r);
	}
	porter_free(r->porter);
	if (r->untold && !status)
		status = EXIT_HUTCH;
	capture_end(&r->said);
	if (r->given[FLAG_TIMING].n)
		result_timing(&r->result);
	return status;
}

/* of code that was compiled: is it valid? */
static int check_status(const struct run *r, int status)
{
	return status && r->c.fate == FATE_EXITED ? EXIT_FAIL : status;
}

int run_sandbox(struct run *r)
{
	int status;

	if (r->retry.most && !r->checking)
		return retry_run(r);
	status = run_prepare(r);
	if (!status)
		status = run_once(r);
	return run_finish(r, r->checking ? check_status(r, status) : status);
}
