/* agent_rig.h - the agent as a process of this machine */
#ifndef HUTCH_TEST_AGENT_RIG_H
#define HUTCH_TEST_AGENT_RIG_H

#include <stddef.h>
#include <sys/types.h>

/* beside the tests: B/agent/agent */
const char *agent_path(void);
/* one that takes any number of connections at a Unix socket, and gets orphans as process 1 would;
 * to be killed */
pid_t agent_listen(const char *path);
/* a line of /proc/PID/status in KiB, as "VmRSS:"; of this process with 0 */
size_t agent_status(pid_t pid, const char *key);
/* its memory in KiB once that does not change any more: connections that were closed are let go of
 * in the agent's own time */
size_t agent_settled(pid_t pid);

struct client;
/* a connection of its own to one at @path, which waits for a request */
void agent_reach(const char *path, struct client *c);
/* and its two ends: what a client's own end is to the agent, whatever it left unread, and what a
 * restored machine's is */
void agent_leave(struct client *c);
void agent_reset(struct client *c);

#endif
