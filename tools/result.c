/* #syscalls:caller ftruncate openat newfstatat write renameat unlinkat close getpid */
/* #syscalls:before fcntl */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "counters.h"
#include "json.h"
#include "result.h"
#include "units.h"

void result_begin(struct result *r)
{
	*r = (struct result){
		.fd = -1,
		.file_fd = -1,
		.status_fd = -1,
		.begin_ns = clock_ns(CLOCK_MONOTONIC),
		.begin_ms = realtime_ms(),
		.exec_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID),
	};
	r->try_ns = r->begin_ns;
	r->try_ms = r->begin_ms;
}

void result_again(struct result *r)
{
	r->try_ns = clock_ns(CLOCK_MONOTONIC);
	r->try_ms = realtime_ms();
}

static int parse_fd(const char *flag, const char *text, int *ret)
{
	char *end;
	long v = strtol(text, &end, 10);

	if (!*text || *end || v < 0 || fcntl((int)v, F_GETFD) < 0) {
		complain("%s: '%s' is no open descriptor", flag, text);
		return EXIT_USAGE;
	}
	*ret = (int)v;
	return 0;
}

/*
 * What cannot be written in the end is told before anything is done; and it is kept open, for in
 * the jail root may not have the right any more.
 */
static int try_file(struct result *r, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);

	if (fd < 0) {
		complain("--result %s: %s", path, strerror(errno));
		return EXIT_USAGE;
	}
	r->file_fd = fd;
	r->file = strdup(path);
	return 0;
}

int result_init(struct result *r, const struct given *file, const struct given *status_fd,
		const struct box *box)
{
	int status = 0;

	r->box = box;
	if (file->n && !strncmp(file->text, "fd:", 3))
		status = parse_fd("--result", file->text + 3, &r->fd);
	else if (file->n)
		status = try_file(r, file->text);
	if (!status && status_fd->n)
		status = parse_fd("--status-fd", status_fd->text, &r->status_fd);
	return status;
}

static void tell_status(const struct result *r, const char *event)
{
	char text[512], when[TIME_TEXT];

	if (r->status_fd < 0)
		return;
	time_print(realtime_ms(), when);
	snprintf(text, sizeof(text),
		 "{\"event\":\"%s\",\"time\":\"%s\",\"id\":\"%s\",\"correlation_id\":\"%s\"}\n",
		 event, when, r->box->id, r->box->correlation_id);
	write_all(r->status_fd, text, strlen(text));
}

void result_machine(struct result *r)
{
	r->machine_ns = clock_ns(CLOCK_MONOTONIC);
	tell_status(r, "sandbox.start");
}

void result_started(struct result *r)
{
	r->started_ns = clock_ns(CLOCK_MONOTONIC);
	tell_status(r, "execution.start");
}

void result_booted(struct result *r, const struct hutch_exit *e)
{
	if (!r->boot.called_ns)
		r->boot = *e;
}

static const char *status_word(const struct command *c)
{
	switch (c->fate) {
	case FATE_EXITED:
		return c->exit.oom && c->exit.how == HUTCH_SIGNALED ? "oom"
		       : c->exit.how == HUTCH_SIGNALED		    ? "signaled"
								    : "exited";
	case FATE_LEFT:
		return "detached";
	case FATE_LIMIT:
		return strcmp(c->limit, "cpu_time") && strcmp(c->limit, "fuel") ? "timeout"
										: "limit";
	case FATE_SIGNAL:
		return "signaled";
	default:
		return "error";
	}
}

void result_reason(const struct result *r, const struct command *c, char *buf, size_t size)
{
	if (c->fate == FATE_LIMIT || (c->fate == FATE_WORK && c->limit))
		snprintf(buf, size, "%s was reached", c->limit);
	else if (c->fate == FATE_SIGNAL)
		snprintf(buf, size, "it was ended by signal %d", c->signal);
	else if (c->fate == FATE_LEFT)
		snprintf(buf, size, "its terminal was left; the command goes on");
	else if (c->fate == FATE_WORK)
		snprintf(buf, size, "files could not be copied");
	else if (c->text[0])
		snprintf(buf, size, "%.*s", (int)size - 1, c->text);
	else if (c->fate == FATE_EXITED && c->exit.how == HUTCH_SIGNALED)
		snprintf(buf, size, "the command died of signal %d", c->exit.signal);
	else
		snprintf(buf, size, "the command ended with %d", r->status);
}

static uint64_t ms_between(uint64_t a, uint64_t b)
{
	return a && b > a ? (b - a) / 1000000 : 0;
}

static void member_text(FILE *out, const char *key, const char *text)
{
	fprintf(out, ",\"%s\":", key);
	json_text(out, text);
}

static void member_number(FILE *out, const char *key, uint64_t v)
{
	fprintf(out, ",\"%s\":%lu", key, (unsigned long)v);
}

static void member_bool(FILE *out, const char *key, bool v)
{
	fprintf(out, ",\"%s\":%s", key, v ? "true" : "false");
}

static void member_error(FILE *out, const char *code, const char *message)
{
	if (!code) {
		fputs(",\"error\":null", out);
		return;
	}
	fputs(",\"error\":{\"code\":", out);
	json_text(out, code);
	member_text(out, "message", message);
	fputc('}', out);
}

static void write_error(FILE *out, const struct result *r, const struct command *c)
{
	const char *code = command_code(c);
	char reason[256];

	result_reason(r, c, reason, sizeof(reason));
	member_error(out, code, reason);
}

static void write_attempt(FILE *out, uint64_t begin_ms, uint64_t end_ms, const char *code,
			  const char *reason)
{
	char when[TIME_TEXT];

	time_print(begin_ms, when);
	fputs("{\"started_at\":", out);
	json_text(out, when);
	member_number(out, "duration_ms", end_ms > begin_ms ? end_ms - begin_ms : 0);
	member_error(out, code, reason);
	fputc('}', out);
}

/* each try of --retry, the last included */
static void write_attempts(FILE *out, const struct result *r, const struct command *c)
{
	char reason[256];

	fputs(",\"attempts\":[", out);
	for (unsigned i = 0; r->retry && i < r->retry->failed; i++) {
		const struct attempt *a = &r->retry->attempt[i];

		write_attempt(out, a->begin_ms, a->end_ms, a->code, a->text);
		fputc(',', out);
	}
	result_reason(r, c, reason, sizeof(reason));
	write_attempt(out, r->try_ms, r->end_ms, command_code(c), reason);
	fputc(']', out);
}

/* what the command did to the folder that was mounted first; null where that is not known */
static void write_changes(FILE *out, const struct result *r)
{
	static const char *const key[] = {
		[TREE_CREATED] = "files_created",
		[TREE_MODIFIED] = "files_modified",
		[TREE_DELETED] = "files_deleted",
	};
	const struct work_change *change = NULL;
	size_t n = 0;
	bool known = r->work && work_changes(r->work, &change, &n);

	if (r->work && work_folder(r->work))
		member_text(out, "workspace_path", work_folder(r->work));
	for (unsigned what = 0; what < TREE_CHANGES; what++) {
		const char *comma = "";

		fprintf(out, ",\"%s\":%s", key[what], known ? "[" : "null");
		for (size_t i = 0; known && i < n; i++) {
			if (change[i].what != what)
				continue;
			fputs(comma, out);
			json_text(out, change[i].name);
			comma = ",";
		}
		fputs(known ? "]" : "", out);
	}
}

static void write_violations(FILE *out, const struct command *c)
{
	char text[64];

	fputs(",\"violations\":[", out);
	for (unsigned i = 0; i < c->violations; i++) {
		const struct violation *v = &c->violation[i];

		fputs(i ? ",{\"limit\":" : "{\"limit\":", out);
		json_text(out, v->limit);
		hutch_get(c->h, v->limit, text, sizeof(text));
		member_text(out, "value", text);
		member_text(out, "action", command_answers[v->answer]);
		time_print(v->at_ms, text);
		member_text(out, "at", text);
		fputc('}', out);
	}
	fputc(']', out);
}

static void write_sums(FILE *out, const struct counters *c, const char *member, const char *device,
		       const char *const names[4][2])
{
	fprintf(out, ",\"%s\":{", member);
	for (unsigned i = 0; i < 4; i++)
		fprintf(out, "%s\"%s\":%lu", i ? "," : "", names[i][0],
			(unsigned long)counters_sum(c, device, names[i][1]));
	fputc('}', out);
}

/* of all disks and cards, from the machine's start */
static void write_traffic(FILE *out, const struct command *command)
{
	static const char *const io[4][2] = { { "read_bytes", "bytes_read" },
					      { "written_bytes", "bytes_written" },
					      { "reads", "reads" },
					      { "writes", "writes" } };
	static const char *const net[4][2] = { { "rx_bytes", "rx_bytes" },
					       { "tx_bytes", "tx_bytes" },
					       { "rx_packets", "rx_packets" },
					       { "tx_packets", "tx_packets" } };
	struct counters c;
	void *tree = NULL;
	int size = hutch_counters(command->h, &tree);

	counters_read(&c, tree, size);
	write_sums(out, &c, "io", "blk", io);
	write_sums(out, &c, "net", "net", net);
	free(tree);
}

/* the budget that is null is none */
static void write_fuel(FILE *out, const struct command *c)
{
	uint64_t budget = 0;
	bool instructions;

	member_number(out, "fuel_consumed", c->fuel);
	if (hutch_fuel(c->h, &budget, &instructions) || !budget)
		fputs(",\"fuel_budget\":null", out);
	else
		member_number(out, "fuel_budget", budget);
	member_text(out, "fuel_unit", c->limits.instructions ? "instructions" : "ms");
}

static void write_policy(FILE *out, const struct policy *p)
{
	fputs(",\"policy\":{\"level\":", out);
	json_text(out, p->level);
	if (p->sha256[0])
		member_text(out, "sha256", p->sha256);
	else
		fputs(",\"sha256\":null", out);
	fputc('}', out);
}

/* with --capture the flags are of what is held here, which may be less than was passed on */
static void write_output(FILE *out, const struct result *r, const struct hutch_exit *e)
{
	const bool cut[] = { e->out_cut, e->err_cut };

	if (r->said)
		capture_write(r->said, cut, out);
	member_number(out, "stdout_bytes", e->out_bytes);
	member_number(out, "stderr_bytes", e->err_bytes);
	member_bool(out, "stdout_truncated", e->out_cut || (r->said && r->said->held[0].cut));
	member_bool(out, "stderr_truncated", e->err_cut || (r->said && r->said->held[1].cut));
}

static void write_object(FILE *out, const struct result *r, const struct command *c)
{
	const struct hutch_exit *e = &c->exit;
	bool guest = c->fate == FATE_EXITED; /* else a number of 124 to 127 is our word */
	int signo = c->fate == FATE_EXITED && e->how == HUTCH_SIGNALED ? e->signal
		    : c->fate == FATE_SIGNAL			       ? c->signal
								       : 0;
	char when[TIME_TEXT];

	fputs("{\"schema\":\"hutch.result/1\"", out);
	member_text(out, "id", r->box->id);
	member_text(out, "name", r->box->name);
	member_bool(out, "success", !r->status);
	member_text(out, "status", status_word(c));
	member_text(out, "origin", guest ? "guest" : "hutch");
	member_number(out, "exit_code", (uint64_t)r->status);
	if (signo)
		member_number(out, "signal", (uint64_t)signo);
	else
		fputs(",\"signal\":null", out);
	if (c->limit)
		member_text(out, "limit", c->limit);
	if (r->rollback)
		member_bool(out, "rolled_back", r->status != 0);
	write_output(out, r, e);
	member_number(out, "duration_ms", ms_between(r->begin_ns, r->ended_ns));
	member_number(out, "boot_ms",
		      ms_between(r->try_ns, c->started_ns ? c->started_ns : r->ended_ns));
	member_number(out, "exec_ms", ms_between(c->started_ns, r->ended_ns));
	member_number(out, "cpu_ms", hutch_cpu_ns(c->h) / 1000000);
	member_number(out, "command_cpu_ms", (e->user_us + e->system_us) / 1000);
	write_fuel(out, c);
	member_number(out, "memory_peak_bytes", e->memory_peak ? e->memory_peak : e->rss_max);
	write_attempts(out, r, c);
	write_traffic(out, c);
	write_changes(out, r);
	write_violations(out, c);
	if (r->policy)
		write_policy(out, r->policy);
	member_text(out, "correlation_id", r->box->correlation_id);
	time_print(r->begin_ms, when);
	member_text(out, "started_at", when);
	time_print(r->end_ms, when);
	member_text(out, "finished_at", when);
	write_error(out, r, c);
	fputs("}\n", out);
}

void result_finish(struct result *r, const struct command *c)
{
	size_t size;
	FILE *out;

	r->ended_ns = clock_ns(CLOCK_MONOTONIC);
	r->end_ms = realtime_ms();
	result_booted(r, &c->exit);
	for (unsigned i = 0; i < RESULT_PHASES && !hutch_timing(c->h, i, &r->phase[i]); i++)
		;
	if (r->started_ns && c->started_ns)
		r->started_ns = c->started_ns;
	out = open_memstream(&r->text, &size);
	if (!out)
		return;
	write_object(out, r, c);
	if (fclose(out)) {
		free(r->text);
		r->text = NULL;
	}
}

/* whole, or not at all */
static int write_file(int dir, const char *path, const char *text)
{
	char name[4200];
	int fd, n = snprintf(name, sizeof(name), "%s.tmp-%d", path, getpid());
	bool ok;

	if (n >= (int)sizeof(name))
		return -ENAMETOOLONG;
	/* nothing of that name is followed or kept: others may write in that folder */
	unlinkat(dir, name, 0);
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0)
		return -errno;
	errno = 0;
	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	ok = !close(fd) && ok && !renameat(dir, name, dir, path);
	if (ok)
		return 0;
	n = errno ? -errno : -ENOSPC;
	unlinkat(dir, name, 0);
	return n;
}

void result_keep(const struct result *r, int dir)
{
	int e = r->text ? write_file(dir, "result", r->text) : 0;

	if (e)
		complain("the result cannot be kept in the sandbox's folder: %s", strerror(-e));
}

/* a plain file is replaced as a whole; a link, /dev/null, a pipe stay what they are; takes @fd */
static int tell_file(const char *path, int fd, const char *text)
{
	struct stat st;
	int n;

	if (!lstat(path, &st) && S_ISREG(st.st_mode)) {
		n = write_file(AT_FDCWD, path, text);
		if (n != -EACCES && n != -EPERM && n != -EROFS) {
			close(fd);
			return n;
		}
	}
	/* it, or its folder, only lets itself be written to */
	n = write_all(fd, text, strlen(text));
	if (!n && !fstat(fd, &st) && S_ISREG(st.st_mode) && ftruncate(fd, (off_t)strlen(text)))
		n = -errno;
	if (close(fd) && !n)
		n = -errno;
	return n;
}

int result_tell(struct result *r)
{
	int in_file = 0, on_fd = 0;

	r->gone_ns = clock_ns(CLOCK_MONOTONIC);
	if (r->text && r->file)
		in_file = tell_file(r->file, r->file_fd, r->text);
	if (in_file)
		complain("error %d E_RESULT: --result %s: %s", EXIT_HUTCH, r->file,
			 strerror(-in_file));
	if (r->text && r->fd >= 0)
		on_fd = write_all(r->fd, r->text, strlen(r->text));
	if (on_fd)
		complain("error %d E_RESULT: --result fd:%d: %s", EXIT_HUTCH, r->fd,
			 strerror(-on_fd));
	if (r->text && r->status_fd >= 0)
		write_all(r->status_fd, r->text, strlen(r->text));
	free(r->text);
	free(r->file);
	r->text = r->file = NULL;
	return in_file ? in_file : on_fd;
}

static void step(const char *name, uint64_t from, uint64_t to)
{
	if (from && to > from)
		inform("%-12s %8.1f ms", name, (double)(to - from) / 1e6);
}

/* the guest's clock tells how much of the time until its agent called was the agent's own */
static void boot_steps(const struct result *r)
{
	const struct hutch_exit *b = &r->boot;
	uint64_t agent = b->init_ns ? b->boot_ns - b->init_ns : 0;

	if (!b->called_ns || b->called_ns - r->machine_ns < agent)
		return;
	step("  kernel", r->machine_ns, b->called_ns - agent);
	step("  agent", b->called_ns - agent, b->called_ns);
	step("  setup", b->called_ns, b->ready_ns);
	step("  start", b->ready_ns, r->started_ns);
}

void result_timing(const struct result *r)
{
	inform("%-12s %8.1f ms of processor time before main()", "exec", (double)r->exec_ns / 1e6);
	step("machine", r->begin_ns, r->machine_ns);
	for (unsigned i = 0; i < RESULT_PHASES && r->phase[i].name; i++)
		inform("  %-10s %8.1f ms", r->phase[i].name, r->phase[i].us / 1e3);
	step("boot", r->machine_ns, r->started_ns);
	boot_steps(r);
	step("command", r->started_ns, r->ended_ns);
	step("teardown", r->ended_ns, r->gone_ns);
	step("all", r->begin_ns, r->gone_ns);
}
