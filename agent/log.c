/*
 * log.c - the agent's own lines
 *
 * 1. They wait in a pipe until a session's host takes them: so a process that
 *    the agent forked has its say too, and what nobody reads is bounded by what
 *    the pipe holds. The first lines are kept, for they tell how a guest began;
 *    what comes when it is full is counted.
 * 2. Errors and warnings also go to the console, at once, for a guest that
 *    nobody can reach otherwise.
 * 3. Whoever is root in the guest can write there too. The host knows that.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"

#define LINE_MAX  320
#define HELD	  (16 << 10)
#define TEXT_MOST (PROTO_LOG_MAX - 64) /* beside the items' own bytes */

static int ends[2] = { -1, -1 };
static char id[132]; /* "[ID]" once it is known */
static unsigned left_out;
static char have[1024]; /* what was read and not taken yet */
static size_t have_len;

void log_open(void)
{
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		ends[0] = ends[1] = -1;
	else
		fcntl(ends[1], F_SETPIPE_SZ, HELD);
}

void log_about(const char *what)
{
	size_t n = 0;

	id[n++] = '[';
	for (; *what && n < sizeof(id) - 2; what++)
		id[n++] = *what > ' ' && *what < 0x7f ? *what : '?';
	id[n++] = ']';
	id[n] = '\0';
}

/* a level, the text, a newline; a pipe takes all of it or nothing */
static bool keep(enum proto_level level, const char *text)
{
	char line[LINE_MAX + 4];
	int n = snprintf(line, sizeof(line), "%c%s\n", '0' + (int)level, text);

	return write(ends[1], line, (size_t)n) == n;
}

/* at once: the kernel's log takes a write as a line */
static void tell_console(const char *text)
{
	char line[LINE_MAX + sizeof(id) + 20];
	int n = snprintf(line, sizeof(line), "hutch-agent%s: %s\n", id, text);

	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

void log_say(enum proto_level level, const char *fmt, ...)
{
	char text[LINE_MAX], lost[64];
	int error = errno;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *c = text; *c; c++)
		*c = *c == '\n' ? ' ' : *c;
	if (level <= LEVEL_WARNING)
		tell_console(text);
	if (left_out) {
		snprintf(lost, sizeof(lost), "%u lines were left out", left_out);
		if (keep(LEVEL_WARNING, lost))
			left_out = 0;
	}
	if (!keep(level, text))
		left_out++;
	errno = error;
}

int log_fd(void)
{
	return ends[0];
}

/* what was read already wakes nobody */
bool log_waits(void)
{
	return memchr(have, '\n', have_len);
}

bool log_take(struct proto_buf *to)
{
	char *end = memchr(have, '\n', have_len);
	ssize_t n;

	if (!end) {
		/* a line that has no end is not ours */
		have_len = have_len == sizeof(have) ? 0 : have_len;
		n = read(ends[0], have + have_len, sizeof(have) - have_len);
		have_len += n > 0 ? (size_t)n : 0;
		end = memchr(have, '\n', have_len);
	}
	if (!end)
		return false;
	n = end - have - 1;
	if (n >= 0) {
		proto_begin(to, PROTO_LOG, 0);
		proto_number(to, TAG_LEVEL, (uint64_t)(have[0] - '0'));
		proto_bytes(to, TAG_TEXT, have + 1, n < TEXT_MOST ? (size_t)n : TEXT_MOST);
		proto_end(to);
	}
	have_len -= (size_t)(end + 1 - have);
	memmove(have, end + 1, have_len);
	return true;
}
