/*
 * host_rig.h - run and exec on this side of one connection; on the other is the agent as a process
 * of this machine, or one that plays dead
 */
#ifndef HUTCH_TEST_HOST_RIG_H
#define HUTCH_TEST_HOST_RIG_H

#include "base.h"
#include "command.h"

#define NS 1000000000ULL

enum agent {
	AGENT_REAL,
	AGENT_DEAD,  /* takes connections, and no more */
	AGENT_STUCK, /* the command runs, and nothing else is heard */
	AGENT_BUSY,  /* one connection too many */
};

struct host_rig {
	char dir[32], path[64];
	pid_t agent, killer;
	struct command c;
	uint64_t begin, patience; /* how long all of it may take */
};

#define ARGV(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* in place of a vsock device: a socket at @path, and what it and the guest make of a connection */
int host_socket(const char *path);
void host_serve(enum agent how, int fd);
void host_start(struct host_rig *x, enum agent how, const char *const *argv);
/* a machine of our own too, whose one CPU spins; its agent is the one of this machine */
void host_start_spinning(struct host_rig *x, const char *const *argv);
void host_stop(struct host_rig *x);
/* a user who wants us to end, and says so again and again: once every 300 ms */
void host_signals(struct host_rig *x, int signo);
/* does the result's object have that member? */
bool host_tells(struct host_rig *x, int status, const char *member);

#endif
