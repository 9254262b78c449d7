/* t_retry - the parent of tries: what it believes of them, and what it does with their ends */
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "complain.h"
#include "kvm_rig.h"
#include "run.h"
#include "suite.h"

/* what all processes see */
static struct seen {
	unsigned tries, ends;
	enum command_fate fate; /* of the last try, or of the parent's end */
	char text[64];
	int signals;
	uint64_t first_end_ms, try_ms; /* of the first try, and of the last one's beginning */
} * seen;

static void (*try_it)(struct run *r);

/* in place of run_box.c, see the Makefile */
int __wrap_run_prepare(struct run *r);
int __wrap_run_once(struct run *r);
int __wrap_run_finish(struct run *r, int status);
void __wrap_run_quiet(struct run *r);
int __wrap_run_write_pid(struct run *r, const char *path);

int __wrap_run_prepare(struct run *r)
{
	(void)r;
	return 0;
}

int __wrap_run_once(struct run *r)
{
	seen->tries++;
	try_it(r);
	return command_status(&r->c);
}

int __wrap_run_finish(struct run *r, int status)
{
	seen->ends++;
	seen->fate = r->c.fate;
	seen->first_end_ms = r->retry.attempt[0].end_ms;
	seen->try_ms = r->result.try_ms;
	snprintf(seen->text, sizeof(seen->text), "%.63s", r->c.text);
	return status;
}

void __wrap_run_quiet(struct run *r)
{
	(void)r;
}

int __wrap_run_write_pid(struct run *r, const char *path)
{
	(void)r;
	(void)path;
	return 0;
}

/* the exit status of a run of up to 1 + @most tries, each of which is @fn */
static int tries(unsigned most, int in, void (*fn)(struct run *r))
{
	static struct given given[FLAGS];
	static struct run r;
	char dir[] = "/tmp/t_retry.XXXXXX";
	const struct rlimit none = { 0, 0 };
	pid_t us = getpid();
	int status;

	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert(seen != MAP_FAILED);
	setrlimit(RLIMIT_CORE, &none);
	r = (struct run){
		.given = given, .ready = -1, .pid_fd = -1, .retry = { .most = most, .report = -1 }
	};
	ck_assert_ptr_nonnull(mkdtemp(dir));
	r.box.dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(r.box.dir, 0);
	result_begin(&r.result);
	r.c.what.in = in;
	try_it = fn;
	status = retry_run(&r);
	if (getpid() != us)
		_exit(status);
	unlinkat(r.box.dir, "state", 0);
	unlinkat(r.box.dir, "events", 0);
	close(r.box.dir);
	ck_assert_int_eq(rmdir(dir), 0);
	return status;
}

static void lie(struct run *r)
{
	/* more than there is room for, were the parent to believe it */
	if (seen->tries > RETRY_MAX + 2)
		return;
	r->c.fate = FATE_AGENT;
	r->retry.most = ~0U;
}

/* the parent is not in the jail: a try that is somebody else's by now has as many as there are */
START_TEST(no_more_than_there_are)
{
	ck_assert_int_eq(tries(2, -1, lie), EXIT_HUTCH);
	ck_assert_uint_eq(seen->tries, 3);
	ck_assert_uint_eq(seen->ends, 1);
	ck_assert_int_eq(seen->fate, FATE_MACHINE);
}
END_TEST

static void break_once(struct run *r)
{
	(void)r;
	if (seen->tries == 1)
		raise(SIGSEGV);
}

/* why the first broke is not why the second ended */
START_TEST(each_has_its_own_end)
{
	ck_assert_int_eq(tries(2, -1, break_once), 0);
	ck_assert_uint_eq(seen->tries, 2);
	ck_assert_uint_eq(seen->ends, 1);
	ck_assert_int_eq(seen->fate, FATE_EXITED);
	ck_assert_str_eq(seen->text, "");
}
END_TEST

static void break_late(struct run *r)
{
	(void)r;
	sleep_ms(20);
	raise(SIGSEGV);
}

/* the last try began where it did, also if it could not tell so itself */
START_TEST(the_last_has_its_own_time)
{
	ck_assert_int_eq(tries(1, -1, break_late), EXIT_HUTCH);
	ck_assert_uint_eq(seen->tries, 2);
	ck_assert_uint_gt(seen->first_end_ms, 0);
	ck_assert_uint_ge(seen->try_ms, seen->first_end_ms);
}
END_TEST

static void begin_and_break(struct run *r)
{
	retry_started(r);
	raise(SIGSEGV);
}

/* also of one that broke: what it had read the next would miss */
START_TEST(input_is_read_once)
{
	ck_assert_int_eq(tries(2, STDIN_FILENO, begin_and_break), EXIT_HUTCH);
	ck_assert_uint_eq(seen->tries, 1);
	ck_assert_int_eq(seen->fate, FATE_MACHINE);
	ck_assert_ptr_nonnull(strstr(complained, "not tried again"));
	ck_assert_int_eq(tries(2, STDIN_FILENO, break_once), 0);
	ck_assert_uint_eq(seen->tries, 2);
	ck_assert_int_eq(tries(2, -1, begin_and_break), EXIT_HUTCH);
	ck_assert_uint_eq(seen->tries, 3);
}
END_TEST

/* --- a signal of the terminal just before the try is there --- */

static int terminal;

/* try_once() flushes all streams, and then forks */
static ssize_t press_ctrl_c(void *cookie, const char *buf, size_t len)
{
	sigset_t set;

	(void)cookie;
	(void)buf;
	if (write(terminal, "\003", 1) != 1)
		_exit(99);
	for (int i = 0; i < 1000; i++) {
		if (!sigpending(&set) && sigismember(&set, SIGINT))
			break;
		sleep_ms(1);
	}
	return (ssize_t)len;
}

static void wait_for_signal(struct run *r)
{
	const struct timespec patience = { .tv_sec = 5 };
	sigset_t set;

	(void)r;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	if (sigtimedwait(&set, NULL, &patience) == SIGINT)
		seen->signals++;
}

/* the signals that the try got, of one that came when the parent was still alone */
static int with_terminal(void)
{
	cookie_io_functions_t io = { .write = press_ctrl_c };
	FILE *f = fopencookie(NULL, "w", io);
	int slave;

	terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (!f || fputc('x', f) != 'x' || setsid() < 0 || terminal < 0 || grantpt(terminal) ||
	    unlockpt(terminal))
		return 90;
	slave = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || ioctl(slave, TIOCSCTTY, 0) || tcsetpgrp(slave, getpgrp()))
		return 91;
	tries(0, -1, wait_for_signal);
	return seen->signals;
}

START_TEST(signal_before_the_try)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(with_terminal());
	ck_assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("retry");
	TCase *t = tcase_create("retry");

	tcase_set_timeout(t, 20);
	tcase_add_test(t, no_more_than_there_are);
	tcase_add_test(t, each_has_its_own_end);
	tcase_add_test(t, the_last_has_its_own_time);
	tcase_add_test(t, input_is_read_once);
	tcase_add_test(t, signal_before_the_try);
	suite_add_tcase(s, t);
	return suite_run(s);
}
