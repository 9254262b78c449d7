/*
 * hutch_warm.c - a boot that is kept, and gone on from
 *
 * #syscalls:caller poll accept4 close
 * #syscalls:before unlink
 */
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hutch_snap.h"
#include "log.h"
#include "vm.h"

void hutch_warm(struct hutch *h, const char *path)
{
	if (str_copy(h->warm, sizeof(h->warm), path))
		h->warm[0] = '\0';
}

bool hutch_is_warm(const struct hutch *h)
{
	return h->snap && h->snap->boot;
}

/* the same machine, to what its disks hold */
static bool is_same(const struct hutch *h, const struct snap *s)
{
	for (unsigned i = 0; i < h->conf.disks; i++)
		if (i >= s->was.disks || strcmp(h->conf.disk[i].path, s->was.disk[i].path))
			return false;
	return s->file.flat && !conf_check_made(&h->conf, &s->was) &&
	       !snap_check_disks(&s->info, &h->conf, 0);
}

struct vm *hutch_snap_warm(struct hutch *h)
{
	struct snap *s = h->warm[0] ? hutch_snap_open(h->warm, false, true) : NULL;
	struct vm *vm;

	if (!s)
		return NULL;
	if (!is_same(h, s)) {
		hutch_snap_free(s);
		return NULL;
	}
	s->boot = true;
	h->snap = s;
	vm = hutch_snap_machine(h);
	if (vm) { /* it was about to call, and is called now */
		agent_host_close(h);
		h->stale = STALE_NEW;
		return vm;
	}
	log_debug("a kept boot is of no use, and goes: %s", err_last());
	unlink(h->warm);
	hutch_snap_free(s);
	h->snap = NULL;
	return NULL;
}

/* until there is something to read from @fd, or the machine has ended */
static int wait_for(struct hutch *h, int fd, int timeout_ms, int wake)
{
	struct pollfd p[] = { { fd, POLLIN, 0 }, { h->event_fd, POLLIN, 0 }, { wake, POLLIN, 0 } };
	int n;

	do {
		n = poll(p, ARRAY_SIZE(p), timeout_ms);
	} while (n < 0 && errno == EINTR);
	if (p[1].revents || p[0].revents)
		return 0;
	return p[2].revents ? -EINTR : -ETIMEDOUT;
}

/* one that cannot be kept boots again next time */
static void keep_boot(struct hutch *h)
{
	char tmp[KEPT_PATH];
	int fd = kept_begin(h->warm, tmp), r;

	if (fd < 0) {
		log_debug("this boot is not kept: %s: %s", h->warm, strerror(-fd));
		return;
	}
	r = hutch_snapshot(h, fd, "boot", 0);
	close(fd);
	if (!r)
		r = kept_end(tmp, h->warm);
	if (!r)
		return;
	kept_drop(tmp);
	log_debug("this boot is not kept: %s", err_last());
}

/* a guest that waits for an answer to its call would lose patience while it is saved: so it is once
 * it has said a word */
int hutch_snap_boot(struct hutch *h, int timeout_ms, int wake)
{
	int r = 0;

	if (!h->warm[0] || h->snap)
		return 0;
	if (h->called < 0) {
		r = wait_for(h, h->agent, timeout_ms, wake);
		if (!r)
			h->called = accept4(h->agent, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	}
	if (!r && h->called >= 0)
		r = wait_for(h, h->called, timeout_ms, wake);
	if (r)
		return r;
	if (h->called >= 0)
		keep_boot(h);
	h->warm[0] = '\0';
	return 0;
}
