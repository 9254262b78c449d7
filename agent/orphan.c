/*
 * orphan.c - terminals whose person has left: the command goes on, and what it says is read away
 *
 * Closed, such a terminal would send SIGHUP to its command; unread, it would
 * stop it.  Whose command has ended has nothing more to say and is closed.
 */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "agent.h"

static int orphan[ORPHANS];
static unsigned orphans;

bool orphan_add(int fd)
{
	if (orphans == ORPHANS)
		return false;
	orphan[orphans++] = fd;
	return true;
}

bool orphan_any(void)
{
	return orphans;
}

unsigned orphan_poll(struct pollfd *p)
{
	for (unsigned i = 0; i < orphans; i++)
		p[i] = (struct pollfd){ orphan[i], POLLIN, 0 };
	return orphans;
}

void orphan_step(const struct pollfd *p, unsigned n)
{
	char buf[4096];

	/* from the end: the last takes the place of one that goes */
	while (n--) {
		ssize_t got = p[n].revents ? read(orphan[n], buf, sizeof(buf)) : 1;

		if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
			continue;
		close(orphan[n]);
		orphan[n] = orphan[--orphans];
	}
}
