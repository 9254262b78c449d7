/*
 * every.c - a verb again and again, by the host's own timers
 *
 * hutch has no daemon and gets none for this: systemd runs it, or cron.  The
 * command that they get needs nothing of this environment: it names the
 * program, the folder of sandboxes and the one for data.
 */
/* #syscalls:before clone execve wait4 readlink exit_group geteuid getcwd */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "every.h"

#define WORDS_MOST 32
#define WORD_MOST  (PATH_MAX + 32)
#define LINE_MOST  2000 /* what complain() has room for */
#define NOT_FOUND  127
#define MINUTE	   60000U

struct words {
	char *at[WORDS_MOST + 1]; /* NULL-terminated */
	unsigned n;
};

static void add(struct words *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct words *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (w->n == WORDS_MOST || vasprintf(&w->at[w->n], fmt, ap) < 0) {
		complain("out of memory");
		exit(EXIT_HUTCH);
	}
	w->n++;
	va_end(ap);
}

static void free_words(struct words *w)
{
	while (w->n)
		free(w->at[--w->n]);
}

/* where sandboxes are, from any folder */
static int find_root(const struct box *box, char *buf)
{
	char path[PATH_MAX];

	if (rundir_path(box->name, "", path, sizeof(path)))
		return -1;
	*strrchr(path, '/') = '\0';
	return realpath(path, buf) ? 0 : -1;
}

/* the command, as one who has nothing of our environment may run it */
static int make_command(const struct box *box, const struct verb *verb, const struct given *given,
			unsigned skip, struct words *ret)
{
	char self[PATH_MAX], root[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0 || find_root(box, root)) {
		complain("--every: where hutch or its folder of sandboxes is cannot be found: %s",
			 strerror(errno));
		return -1;
	}
	self[n] = '\0';
	add(ret, "%s", self);
	add(ret, "--root");
	add(ret, "%s", root);
	add(ret, "%s", verb->name);
	for (unsigned i = 0; verb->flags[i].name; i++)
		if (given[i].n && i != skip)
			add(ret, "--%s%s%s", verb->flags[i].name, verb->flags[i].arg ? "=" : "",
			    verb->flags[i].arg ? given[i].text : "");
	add(ret, "%s", box->name);
	return 0;
}

/* where the store is, if not in the usual place */
static const char *data_home(void)
{
	const char *data = getenv("XDG_DATA_HOME");

	return data && *data == '/' ? data : NULL;
}

/* --- systemd --- */

/* it would put variables in the place of what begins with a dollar sign */
static void add_plain(struct words *w, const char *word)
{
	char plain[2 * WORD_MOST];
	size_t n = 0;

	for (; *word && n + 2 < sizeof(plain); word++) {
		if (*word == '$')
			plain[n++] = '$';
		plain[n++] = *word;
	}
	plain[n] = '\0';
	add(w, "%s", plain);
}

static void make_timer(const struct box *box, uint64_t ms, const struct words *command,
		       struct words *ret)
{
	const char *data = data_home();

	add(ret, "systemd-run");
	add(ret, "--quiet");
	if (geteuid())
		add(ret, "--user");
	add(ret, "--unit=hutch-%s-%s", command->at[3], box->name);
	add(ret, "--description=hutch %s %s", command->at[3], box->name);
	add(ret, "--on-active=%lums", (unsigned long)ms);
	add(ret, "--on-unit-active=%lums", (unsigned long)ms);
	add(ret, "--timer-property=AccuracySec=1s");
	if (data)
		add(ret, "--setenv=XDG_DATA_HOME=%s", data);
	add(ret, "--");
	for (unsigned i = 0; i < command->n; i++)
		add_plain(ret, command->at[i]);
}

/* its exit status; NOT_FOUND: there is no such program */
static int run(const struct words *w)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		execvp(w->at[0], w->at);
		_exit(errno == ENOENT ? NOT_FOUND : 126);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return EXIT_HUTCH;
	return WEXITSTATUS(status);
}

/* --- cron --- */

/* "0,15,30 ..." as far as it has such an interval; false: it has none */
static bool cron_times(uint64_t ms, char *buf, size_t size)
{
	uint64_t minutes = ms / MINUTE;

	if (ms % MINUTE || !minutes)
		return false;
	if (minutes < 60 && 60 % minutes == 0)
		snprintf(buf, size, "*/%lu * * * *", (unsigned long)minutes);
	else if (minutes % 60 == 0 && minutes < 1440 && 1440 % minutes == 0)
		snprintf(buf, size, "0 */%lu * * *", (unsigned long)(minutes / 60));
	else if (minutes == 1440)
		snprintf(buf, size, "0 0 * * *");
	else
		return false;
	return true;
}

/* a word of a shell's command line, within a line of crontab(5), where % is special as well */
static size_t quote(const char *word, char *buf, size_t size)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-_./=:,+@";
	bool quoted = !*word || word[strspn(word, plain)];
	size_t n = 0;

	if (quoted)
		buf[n++] = '\'';
	for (; *word && n + 8 < size; word++) {
		if (*word == '\'')
			n += (size_t)snprintf(buf + n, size - n, "'\\''");
		else if (*word == '%')
			n += (size_t)snprintf(buf + n, size - n, "\\%%");
		else
			buf[n++] = *word;
	}
	if (quoted)
		buf[n++] = '\'';
	buf[n] = '\0';
	return n;
}

static void tell_cron(uint64_t ms, const struct words *command)
{
	const char *data = data_home();
	char line[LINE_MOST], times[32];
	size_t n = 0;

	if (!cron_times(ms, times, sizeof(times))) {
		complain("error %d E_HOST: nothing is set up: systemd-run(1) did not do it, and "
			 "cron has no such interval; take one of minutes that an hour has a whole "
			 "number of, or of hours that a day has",
			 EXIT_HUTCH);
		return;
	}
	if (data) {
		n += (size_t)snprintf(line, sizeof(line), " XDG_DATA_HOME=");
		n += quote(data, line + n, sizeof(line) - n);
	}
	for (unsigned i = 0; i < command->n && n + 16 < sizeof(line); i++) {
		line[n++] = ' ';
		n += quote(command->at[i], line + n, sizeof(line) - n);
	}
	complain("error %d E_HOST: nothing is set up: systemd-run(1) did not do it; with cron it "
		 "is "
		 "this line of `crontab -e`: %s%s",
		 EXIT_HUTCH, times, line);
}

int every(const struct box *box, uint64_t ms, const struct verb *verb, const struct given *given,
	  unsigned skip)
{
	struct words command = { .n = 0 }, timer = { .n = 0 };
	int status = EXIT_HUTCH, r;

	if (make_command(box, verb, given, skip, &command))
		return EXIT_HUTCH;
	make_timer(box, ms, &command, &timer);
	r = run(&timer);
	if (!r) {
		printf("hutch-%s-%s.timer\n", verb->name, box->name);
		inform("'systemctl %sstop hutch-%s-%s.timer' ends it", geteuid() ? "--user " : "",
		       verb->name, box->name);
		status = 0;
	} else {
		tell_cron(ms, &command);
	}
	free_words(&timer);
	free_words(&command);
	return status;
}
