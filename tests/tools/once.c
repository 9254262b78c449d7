/*
 * once - process 1 of a benchmark's guest: what the agent does for `hutch run -- true`, and no host
 *
 * Linked with the agent's own files: the same mounts and modules, then the command, then power-off.
 * So a VMM without vsock does what hutch does, but for what the host and the agent say to each
 * other.
 */
#include <signal.h>
#include <stdarg.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"

struct os agent_os;

/* what the agent's files want of agent.c */
int refuse(struct why *why, enum proto_error code, int error, const char *fmt, ...)
{
	(void)why, (void)code, (void)error;
	log_say(LEVEL_ERROR, "%s", fmt);
	return -1;
}

int main(void)
{
	struct setup setup = { .hostname = NULL };
	struct why why;
	pid_t pid;
	int status;

	os_boot(&agent_os);
	os_setup(&agent_os, &setup, &why);
	pid = vfork();
	if (!pid) {
		execl("/bin/true", "true", (char *)NULL);
		_exit(127);
	}
	/* what loads modules meanwhile is a child too */
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		log_say(LEVEL_ERROR, "the command did not run");
	else
		reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
