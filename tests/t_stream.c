/*
 * t_stream - the console's host end: readers that stall or go, writers that do not wait
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fake.h"
#include "stream.h"
#include "suite.h"

#define FLOOD (4U << 20)

static struct fake *f;

static void set_up(void)
{
	f = fake_new();
	signal(SIGPIPE, SIG_IGN); /* as the program does */
}

static struct stream *open_fds(int in, int out)
{
	char spec[40];
	struct stream *s;

	snprintf(spec, sizeof(spec), "fd:%d:%d", in, out);
	s = stream_new(f->m.loop, spec);
	ck_assert_msg(s != NULL, "%s", err_last());
	return s;
}

static bool never(void *arg)
{
	(void)arg;
	return false;
}

static void run_for_ms(uint64_t ms)
{
	ck_assert_int_eq(loop_until(f->m.loop, never, NULL, ms * 1000000), -ETIMEDOUT);
}

static uint64_t cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* numbered, so that what arrives can be told from what was dropped */
static void put_numbers(struct stream *s, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		stream_put(s, (const uint8_t *)&i, sizeof(i));
}

static size_t drain(int fd, uint8_t *buf, size_t size)
{
	size_t n = 0;
	ssize_t k;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (n < size && (k = read(fd, buf + n, size - n)) > 0)
		n += (size_t)k;
	return n;
}

/* --- output --- */

/*
 * A reader that stalls costs what does not fit, and not one byte is unaccounted
 * for; what it gets is the beginning, in order, and then what comes later.
 */
static void stalled(int reader, int writer)
{
	struct stream *s = open_fds(-1, writer);
	uint8_t *buf = malloc(FLOOD + 64);
	uint64_t start = now_ns();
	size_t n, kept;

	for (uint32_t i = 0; i < FLOOD / 4; i += 1024) {
		put_numbers(s, i, i + 1024);
		fake_turn(f);
	}
	ck_assert_uint_lt(now_ns() - start, 5000000000);
	ck_assert_uint_gt(stream_dropped(s), FLOOD / 2);
	kept = FLOOD - stream_dropped(s);
	for (n = 0; n < kept; fake_turn(f))
		n += drain(reader, buf + n, kept + 64 - n);
	ck_assert_uint_eq(n, kept);
	for (uint32_t i = 0; i < STREAM_RING / 4; i++)
		if (memcmp(buf + 4 * i, &i, 4))
			ck_abort_msg("number %u is lost", i);
	/* and on it goes */
	stream_put(s, (const uint8_t *)"more", 4);
	fake_turn(f);
	fake_turn(f);
	ck_assert_uint_eq(drain(reader, buf, 64), 4);
	ck_assert_mem_eq(buf, "more", 4);
	ck_assert_uint_eq(FLOOD - stream_dropped(s), kept);
	stream_free(s);
	free(buf);
}

START_TEST(stalled_pipe)
{
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	stalled(fd[0], fd[1]);
	ck_assert_int_eq(fcntl(fd[1], F_GETFL) & O_NONBLOCK, 0); /* ours is another description */
	fake_free(f);
}
END_TEST

START_TEST(stalled_socket)
{
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	stalled(fd[0], fd[1]);
	ck_assert_int_eq(fcntl(fd[1], F_GETFL) & O_NONBLOCK, 0);
	fake_free(f);
}
END_TEST

/* the reader goes: everything from then on is dropped, and the loop does not spin */
START_TEST(closed_reader)
{
	struct stream *s;
	uint64_t cpu;
	uint8_t buf[64];
	int fd[2];

	if (_i)
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	else
		ck_assert_int_eq(pipe(fd), 0);
	s = open_fds(-1, fd[1]);
	stream_put(s, (const uint8_t *)"before", 6);
	fake_turn(f);
	fake_turn(f);
	ck_assert_uint_eq(drain(fd[0], buf, sizeof(buf)), 6);
	close(fd[0]);
	stream_put(s, (const uint8_t *)"after", 5);
	fake_turn(f);
	fake_turn(f);
	ck_assert_uint_eq(stream_dropped(s), 5);
	put_numbers(s, 0, 1000);
	fake_turn(f);
	ck_assert_uint_eq(stream_dropped(s), 4005);
	cpu = cpu_ms();
	run_for_ms(100);
	ck_assert_uint_lt(cpu_ms() - cpu, 50);
	stream_flush(s, 1000000000);
	stream_free(s);
	fake_free(f);
}
END_TEST

/* a reader that goes while output waits for it */
START_TEST(closed_while_stalled)
{
	struct stream *s;
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	s = open_fds(-1, fd[1]);
	close(fd[1]);
	for (uint32_t i = 0; i < FLOOD / 4; i += 1024) {
		put_numbers(s, i, i + 1024);
		fake_turn(f);
	}
	close(fd[0]);
	run_for_ms(20);
	ck_assert_uint_le(FLOOD - stream_dropped(s), 2 << 20); /* what the pipe took */
	ck_assert_uint_gt(stream_dropped(s), FLOOD / 2);
	stream_free(s);
	fake_free(f);
}
END_TEST

START_TEST(output_to_a_file)
{
	const char *path = fake_file("console", "old\n", 4);
	struct stream *s = stream_new(f->m.loop, path);
	char buf[64] = "";
	int fd;

	ck_assert_ptr_nonnull(s);
	stream_put(s, (const uint8_t *)"new\n", 4);
	fake_turn(f);
	stream_put(s, (const uint8_t *)"last", 4); /* written when it closes */
	stream_free(s);
	fd = open(path, O_RDONLY);
	ck_assert_int_eq(read(fd, buf, sizeof(buf)), 12);
	ck_assert_str_eq(buf, "old\nnew\nlast");
	close(fd);
	fake_folder_remove();
	fake_free(f);
}
END_TEST

START_TEST(no_output_at_all)
{
	struct stream *s = stream_new(f->m.loop, "none");

	ck_assert_ptr_nonnull(s);
	put_numbers(s, 0, 100);
	fake_turn(f);
	ck_assert_uint_eq(stream_dropped(s), 400);
	stream_flush(s, 1000000000);
	stream_free(s);
	fake_free(f);
}
END_TEST

static void *put_from_thread(void *arg)
{
	for (unsigned i = 0; i < 1000; i++)
		stream_put(arg, (const uint8_t *)"0123456789\n", 11);
	return NULL;
}

START_TEST(many_writers)
{
	int fd = memfd_create("out", MFD_CLOEXEC);
	struct stream *s = open_fds(-1, fd);
	pthread_t thread[4];
	char buf[11];

	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, put_from_thread, s), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	stream_flush(s, 1000000000);
	ck_assert_uint_eq(stream_dropped(s), 0);
	ck_assert_int_eq(lseek(fd, 0, SEEK_END), 44000);
	for (unsigned i = 0; i < 4000; i++)
		if (pread(fd, buf, 11, 11 * i) != 11 || memcmp(buf, "0123456789\n", 11))
			ck_abort_msg("line %u is torn", i);
	stream_free(s);
	close(fd);
	fake_free(f);
}
END_TEST

START_TEST(flush_gives_up)
{
	struct stream *s;
	uint64_t start;
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	s = open_fds(-1, fd[1]);
	put_numbers(s, 0, 80000);
	start = now_ns();
	stream_flush(s, 50000000);
	ck_assert_uint_lt(now_ns() - start, 1000000000);
	ck_assert_uint_eq(fake_log_lines("stalled"), 1);
	stream_free(s);
	fake_free(f);
}
END_TEST

/* --- lines of output --- */

static char lines[20][300];
static unsigned n_lines;

static void on_line(void *arg, const char *text)
{
	ck_assert_ptr_eq(arg, lines);
	snprintf(lines[n_lines++ % 20], 300, "%s", text);
}

START_TEST(watched_lines)
{
	struct stream *s = stream_new(f->m.loop, "none");
	char longer[1000];

	stream_watch(s, on_line, lines);
	stream_put(s, (const uint8_t *)"one\r\ntwo\n\n\nth", 13);
	ck_assert_uint_eq(n_lines, 2);
	stream_put(s, (const uint8_t *)"ree\n", 4);
	ck_assert_uint_eq(n_lines, 3);
	ck_assert_str_eq(lines[0], "one");
	ck_assert_str_eq(lines[1], "two");
	ck_assert_str_eq(lines[2], "three");
	memset(longer, 'x', sizeof(longer));
	stream_put(s, (const uint8_t *)longer, sizeof(longer));
	stream_put(s, (const uint8_t *)"\nend\n", 5);
	ck_assert_uint_eq(n_lines, 5);
	ck_assert_uint_eq(strlen(lines[3]), 255);
	ck_assert_str_eq(lines[4], "end");
	stream_free(s);
	fake_free(f);
}
END_TEST

/* --- input --- */

static size_t device_room = 10;
static char typed[5000];
static size_t n_typed;

static size_t room(void *arg)
{
	(void)arg;
	return device_room;
}

static void input(void *arg, const uint8_t *buf, size_t len)
{
	(void)arg;
	ck_assert_uint_le(len, device_room);
	device_room -= len;
	memcpy(typed + n_typed, buf, len);
	n_typed += len;
}

static const struct stream_ops ops = { room, input };

START_TEST(input_back_pressure)
{
	struct stream *s;
	uint64_t cpu;
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	s = open_fds(fd[0], -1);
	stream_attach(s, &ops, NULL);
	ck_assert_int_eq(write(fd[1], "abcdefghijklmnopqrstuvwxyz", 26), 26);
	run_for_ms(5);
	ck_assert_uint_eq(n_typed, 10);
	cpu = cpu_ms(); /* full: it waits without asking */
	run_for_ms(100);
	ck_assert_uint_lt(cpu_ms() - cpu, 50);
	ck_assert_uint_eq(n_typed, 10);
	device_room = 7;
	stream_room(s);
	run_for_ms(5);
	ck_assert_uint_eq(n_typed, 17);
	device_room = 100;
	stream_room(s);
	run_for_ms(5);
	ck_assert_uint_eq(n_typed, 26);
	ck_assert_mem_eq(typed, "abcdefghijklmnopqrstuvwxyz", 26);
	/* the other end goes */
	close(fd[1]);
	cpu = cpu_ms();
	run_for_ms(100);
	ck_assert_uint_lt(cpu_ms() - cpu, 50);
	stream_attach(s, NULL, NULL);
	stream_free(s);
	fake_free(f);
}
END_TEST

START_TEST(input_from_files)
{
	static char text[3000];
	int fd[2] = { open("/dev/null", O_RDONLY), memfd_create("in", MFD_CLOEXEC) };
	uint64_t cpu;

	memset(text, 't', sizeof(text));
	ck_assert_int_eq(pwrite(fd[1], text, sizeof(text), 0), sizeof(text));
	for (unsigned i = 0; i < 2; i++) {
		struct stream *s = open_fds(fd[i], -1);

		device_room = 100;
		n_typed = 0;
		stream_attach(s, &ops, NULL);
		for (unsigned turns = 0; turns < 100; turns++) {
			fake_turn(f);
			device_room = 100;
			stream_room(s);
		}
		ck_assert_uint_eq(n_typed, i ? sizeof(text) : 0);
		cpu = cpu_ms();
		run_for_ms(50);
		ck_assert_uint_lt(cpu_ms() - cpu, 25);
		stream_free(s);
	}
	fake_free(f);
}
END_TEST

/*
 * A loop that runs inside a handler may take what an outer one has been told
 * of: the outer one must not read then, for it would wait.
 */
struct nest {
	struct loop_fd h;
	bool ran;
	int pipe;
};

static void run_nested(void *arg, uint32_t events)
{
	struct nest *nest = arg;

	(void)events;
	loop_fd_del(f->m.loop, &nest->h);
	run_for_ms(20);
	nest->ran = true;
}

START_TEST(input_taken_by_a_nested_loop)
{
	int fd[2], other[2];
	struct nest nest = { .ran = false };
	struct stream *s;

	ck_assert_int_eq(pipe(fd), 0);
	ck_assert_int_eq(pipe(other), 0);
	nest.h = (struct loop_fd){ other[0], 1 /* EPOLLIN */, run_nested, &nest };
	ck_assert_int_eq(loop_fd_add(f->m.loop, &nest.h), 0);
	s = open_fds(fd[0], -1);
	device_room = 1000;
	stream_attach(s, &ops, NULL);
	fake_turn(f);
	/* both are told of in one batch, the pipe first */
	ck_assert_int_eq(write(other[1], "x", 1), 1);
	ck_assert_int_eq(write(fd[1], "key", 3), 3);
	fake_turn(f);
	ck_assert(nest.ran);
	ck_assert_uint_eq(n_typed, 3);
	stream_free(s);
	fake_free(f);
}
END_TEST

/* --- where to --- */

START_TEST(specs)
{
	static const char *const bad[] = { "fd:",     "fd:1",	   "fd:1:",	"fd:x:1",
					   "fd:1:2x", "fd:999:-1", "fd:-1:999", "/nonexistent/file",
					   "/" };
	unsigned fds = fake_fds();
	int fd = memfd_create("out", 0);
	struct stream *s;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		err_clear();
		ck_assert_msg(!stream_new(f->m.loop, bad[i]), "%s", bad[i]);
		ck_assert_msg(strstr(err_last(), bad[i]) != NULL, "%s: %s", bad[i], err_last());
	}
	s = open_fds(-1, -1);
	stream_free(s);
	s = open_fds(-1, fd);
	stream_free(s);
	ck_assert_int_eq(fcntl(fd, F_GETFD), 0); /* the caller's is the caller's */
	close(fd);
	s = stream_new(f->m.loop, "-");
	ck_assert_ptr_nonnull(s);
	stream_free(s);
	ck_assert_uint_eq(fake_fds(), fds);
	fake_free(f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("stream");
	TCase *t = tcase_create("stream");

	tcase_set_timeout(t, 20);
	tcase_add_checked_fixture(t, set_up, NULL);
	tcase_add_test(t, stalled_pipe);
	tcase_add_test(t, stalled_socket);
	tcase_add_loop_test(t, closed_reader, 0, 2);
	tcase_add_test(t, closed_while_stalled);
	tcase_add_test(t, output_to_a_file);
	tcase_add_test(t, no_output_at_all);
	tcase_add_test(t, many_writers);
	tcase_add_test(t, flush_gives_up);
	tcase_add_test(t, watched_lines);
	tcase_add_test(t, input_back_pressure);
	tcase_add_test(t, input_from_files);
	tcase_add_test(t, input_taken_by_a_nested_loop);
	tcase_add_test(t, specs);
	suite_add_tcase(s, t);
	return suite_run(s);
}
