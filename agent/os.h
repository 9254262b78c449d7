/* os.h - what the agent asks of its operating system beside os_boot() and os_setup() */
#ifndef HUTCH_AGENT_OS_H
#define HUTCH_AGENT_OS_H

#include "agent.h"

struct os_info {
	uint64_t memory_total, memory_free; /* bytes; free is what could be used */
	uint64_t cpu_us, uptime_ns;
	uint64_t processes;
};

struct os_info os_info(void);
uint64_t os_boot_ns(void); /* when os_boot() was done, since the kernel's start; 0 as a service */

/* the group that all commands are in, where there are groups: else nothing, and 0 */
void os_join_work(void); /* in a child: system calls only */
uint64_t os_work_memory_peak(void);
uint64_t os_work_oom_kills(void);
int os_freeze(bool freeze, struct why *why); /* all commands stand still, files are written out */
void os_signal_all(int signo);		     /* everything but the agent; nothing as a service */

#endif
