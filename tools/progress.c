/* progress.c - how far something is that takes its time */
/* #syscalls:before write newfstatat poll eventfd2 close ioctl:TCGETS */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "progress.h"
#include "tool.h"
#include "units.h"

#define FIRST_MS 1000
#define AGAIN_MS 100
#define WIDTH	 40

static uint64_t begun_ms, told_ms; /* 0: not */

static bool may_tell(void)
{
	return !globals.quiet && isatty(STDERR_FILENO);
}

static void begin(void)
{
	begun_ms = monotonic_ms();
	told_ms = 0;
}

/* is it time for another line? */
static bool is_due(void)
{
	uint64_t now = monotonic_ms();

	if (now - begun_ms < FIRST_MS || now - told_ms < AGAIN_MS)
		return false;
	told_ms = now;
	return true;
}

static void show(const char *text)
{
	char line[WIDTH + 4];
	int n = snprintf(line, sizeof(line), "\r%-*.*s", WIDTH, WIDTH, text);

	write_all(STDERR_FILENO, line, (size_t)n);
}

static void end(void)
{
	if (told_ms) {
		show("");
		write_all(STDERR_FILENO, "\r", 1);
	}
	begun_ms = told_ms = 0;
}

void progress_tell(void *what, uint64_t done, uint64_t all)
{
	char text[WIDTH + 1];

	if (done >= all) {
		end();
		return;
	}
	if (!begun_ms)
		begin();
	if (!may_tell() || !is_due())
		return;
	snprintf(text, sizeof(text), "%3u%% %s", (unsigned)(done * 100 / all), (const char *)what);
	show(text);
}

/* --- a file that grows --- */

static struct {
	int fd, stop;
	pthread_t thread;
} watched = { .fd = -1, .stop = -1 };

static uint64_t size_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}

static void *watch(void *arg)
{
	struct pollfd p = { watched.stop, POLLIN, 0 };
	uint64_t was = size_of(watched.fd), is;
	char text[WIDTH + 1], size[32];

	(void)arg;
	while (!poll(&p, 1, AGAIN_MS)) {
		is = size_of(watched.fd);
		if (is == was || !is_due())
			continue;
		was = is;
		snprintf(text, sizeof(text), "%s written", bytes_print(is, size, sizeof(size)));
		show(text);
	}
	return NULL;
}

void progress_watch(int fd)
{
	if (!may_tell())
		return;
	begin();
	watched.fd = fd;
	watched.stop = eventfd(0, EFD_CLOEXEC);
	if (watched.stop < 0 || !pthread_create(&watched.thread, NULL, watch, NULL))
		return;
	close(watched.stop);
	watched.stop = -1;
}

void progress_watch_end(void)
{
	if (watched.stop < 0)
		return;
	eventfd_write(watched.stop, 1);
	pthread_join(watched.thread, NULL);
	close(watched.stop);
	watched.stop = -1;
	end();
}
