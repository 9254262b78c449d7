/* t_progress - a line that moves, on a terminal alone, and only for what takes its time */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm_rig.h"
#include "progress.h"
#include "suite.h"
#include "tool.h"

static char what[] = "tested";
static int old, reader; /* stderr as it was; what was said there instead */

static void begin(int to)
{
	old = dup(STDERR_FILENO);
	dup2(to, STDERR_FILENO);
	close(to);
	fcntl(reader, F_SETFL, O_NONBLOCK);
}

static void terminal(void)
{
	reader = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert(reader >= 0 && !grantpt(reader) && !unlockpt(reader));
	begin(open(ptsname(reader), O_RDWR | O_NOCTTY | O_CLOEXEC));
	ck_assert(isatty(STDERR_FILENO));
}

static void no_terminal(void)
{
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	reader = fd[0];
	begin(fd[1]);
}

/* a terminal hands out one write at a time, and not at once */
static const char *said(void)
{
	static char text[4096];
	size_t len = 0;
	ssize_t n;

	sleep_ms(20);
	while ((n = read(reader, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	return text;
}

static void finish(void)
{
	dup2(old, STDERR_FILENO);
	close(old);
	close(reader);
}

static void takes_its_time(void)
{
	progress_tell(what, 0, 200);
	sleep_ms(1050);
	progress_tell(what, 1, 200);
	progress_tell(what, 60, 200); /* at once: nobody could read it */
	sleep_ms(150);
	progress_tell(what, 199, 200);
}

START_TEST(test_terminal)
{
	char clear[48], want[96];

	terminal();
	progress_tell(what, 50, 200);
	ck_assert_str_eq(said(), "");
	progress_tell(what, 200, 200); /* it took no second */
	ck_assert_str_eq(said(), "");
	takes_its_time();
	snprintf(want, sizeof(want), "\r%-40s\r%-40s", "  0% tested", " 99% tested");
	ck_assert_str_eq(said(), want);
	progress_tell(what, 200, 200);
	snprintf(clear, sizeof(clear), "\r%40s\r", "");
	ck_assert_str_eq(said(), clear);
	progress_tell(what, 10, 200); /* another thing, whose time begins now */
	ck_assert_str_eq(said(), "");
	finish();
}
END_TEST

START_TEST(test_nobody)
{
	if (_i)
		terminal();
	else
		no_terminal();
	globals.quiet = _i;
	takes_its_time();
	progress_tell(what, 200, 200);
	progress_watch(STDIN_FILENO);
	progress_watch_end();
	ck_assert_str_eq(said(), "");
	finish();
}
END_TEST

/* memory that a file is given is its size on disk */
static void grow(int fd, off_t to)
{
	ck_assert_int_eq(posix_fallocate(fd, 0, to), 0);
}

START_TEST(test_file)
{
	int fd = memfd_create("file", MFD_CLOEXEC);
	const char *text;

	terminal();
	grow(fd, 1 << 20);
	progress_watch(fd);
	sleep_ms(1300);
	ck_assert_str_eq(said(), ""); /* it does not grow */
	grow(fd, 3 << 20);
	sleep_ms(300);
	text = said();
	ck_assert_msg(!strncmp(text, "\r3072 KiB written ", 18), "'%s'", text);
	ck_assert_ptr_null(strchr(text, '\n'));
	progress_watch_end();
	text = said();
	ck_assert_msg(text[0] == '\r' && text[strlen(text) - 1] == '\r' && strlen(text) == 42,
		      "'%s'", text);
	progress_watch_end(); /* harmless */
	ck_assert_str_eq(said(), "");
	finish();
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("progress");
	TCase *tc = tcase_create("progress");

	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, test_terminal);
	tcase_add_loop_test(tc, test_nobody, 0, 2);
	tcase_add_test(tc, test_file);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
