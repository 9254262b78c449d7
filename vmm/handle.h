/* handle.h - what a struct hutch is, for the files that implement hutch.h (layer 4) */
#ifndef HUTCH_HANDLE_H
#define HUTCH_HANDLE_H

#include <pthread.h>

#include "conf.h"
#include "hutch.h"
#include "proto.h"
#include "snap_file.h"

struct loop;
struct vm;
struct ctl;
struct snap;

/* an event loop and its thread */
struct hutch_thread {
	const char *name;
	struct loop *loop;
	pthread_t thread;
	bool running;
};

/* a guest that went back to what it was */
struct renewed {
	struct conf was, now;
	bool other; /* the machine is another process's, and `now` is its configuration */
};

struct hutch {
	struct conf conf;
	struct conf_origins origins;
	char from[CONF_ORIGIN]; /* of what is set now */
	char error[1024];
	int error_code;
	struct vm *vm;
	struct ctl *ctl;
	struct hutch_thread main;  /* the machine */
	struct hutch_thread aside; /* tells on_pause */
	int event_fd;
	int instructions; /* counts the guest's; -1: nobody asked */
	uint64_t counted; /* of them, so far */
	void (*on_pause)(void *arg, bool paused);
	void *on_pause_arg;
	void (*on_agent_log)(void *arg, enum hutch_level level, const char *text);
	void *on_agent_log_arg;
	/* agent_host.c */
	int called;  /* its first connection, which nobody has read from yet; or -1 */
	int agent;   /* where the guest's agent calls first, -1: nobody waits for it */
	bool rooted; /* the root's image is the first disk */
	/* its guest is a snapshot's: it does not know what time it is, or not even what it is */
	enum { STALE_NOT, STALE_CLOCK, STALE_PAST, STALE_NEW } stale;
	char warm[CONF_PATH]; /* a snapshot of its own boot, or "" */
	struct snap_progress progress;
	struct renewed *renewed; /* by a rollback; or NULL */
	struct snap *snap;	 /* hutch_snap.c; NULL: it boots */
	bool named_disks;	 /* are in its snapshots */
	char agent_path[112];
};

/* keep this thread's last message in the handle, if @r is negative; returns @r */
int hutch_fail(struct hutch *h, int r);

/* a request of the control socket, on the loop's thread; @fd goes with it, or is -1 */
int hutch_on_loop(struct hutch *h, const char *request, int fd, void **ret);

/* --- hutch_snap.c --- */

void hutch_snap_free(struct snap *s);
/* a request that writes into @fd: @what, and the level, the parent's id if there is one, and the
 * label behind it, each of which may be NULL */
int hutch_snap_ask(struct hutch *h, const char *what, int level, const char *parent, int fd,
		   const char *label, void **ret) must_check;
/* the machine as it was saved; only of a handle that is restored */
const struct conf *hutch_snap_was(const struct hutch *h);
const struct conf *hutch_snap_now(const struct hutch *h); /* and what it is */
/* a key of a machine that is restored; -EINVAL if its guest would know */
int hutch_snap_set(struct hutch *h, const char *key, const char *value);
struct vm *hutch_snap_machine(struct hutch *h); /* NULL with a message */
/* with its root among its disks: the machine of a kept boot, or NULL: there is none that is of any
 * use, and nothing has changed */
struct vm *hutch_snap_warm(struct hutch *h);
/*
 * hutch_snap_boot() - a machine of hutch_warm() that boots: once its agent has called it is kept
 *
 * Then, or where there is nothing to keep or it cannot be kept, 0, and h->called is the connection
 * or -1.  -ETIMEDOUT, -EINTR: call again.
 */
int hutch_snap_boot(struct hutch *h, int timeout_ms, int wake) must_check;

/* --- agent_host.c: a machine whose guest has an agent --- */

/* before the machine is made: its root among the disks, a socket for the agent's call */
int agent_host_open(struct hutch *h) must_check;
void agent_host_close(struct hutch *h); /* harmless if not open */
/* what the guest is to be, as frames for its agent: how many requests */
unsigned agent_host_renew(const struct hutch *h, struct proto_buf *frames); /* of a restored one */
unsigned agent_host_setup(const struct hutch *h, struct proto_buf *frames);
unsigned agent_host_clock(struct proto_buf *frames); /* the time alone */

#endif
