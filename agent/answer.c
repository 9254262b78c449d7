/* answer.c - the bodies of answers that have much to tell */
#include <sys/wait.h>

#include "agent.h"

static uint64_t us(struct timeval t)
{
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

void answer_exit(struct proto_buf *out, int status, const struct rusage *usage,
		 uint64_t ooms_before)
{
	int w = status;

	proto_begin(out, PROTO_EXIT, 0);
	proto_number(out, TAG_STATUS,
		     (uint64_t)(WIFSIGNALED(w) ? 128 + WTERMSIG(w) : WEXITSTATUS(w)));
	if (WIFSIGNALED(w)) {
		proto_number(out, TAG_SIGNO, (uint64_t)WTERMSIG(w));
		proto_number(out, TAG_CORE, WCOREDUMP(w) != 0);
	}
	if (work_ooms(&agent_os) != ooms_before)
		proto_number(out, TAG_OOM, 1);
	proto_number(out, TAG_USER_US, us(usage->ru_utime));
	proto_number(out, TAG_SYSTEM_US, us(usage->ru_stime));
	proto_number(out, TAG_RSS_MAX, (uint64_t)usage->ru_maxrss << 10);
	proto_number(out, TAG_MEMORY_PEAK, work_memory_peak(&agent_os));
	proto_end(out);
}

void answer_info(struct proto_buf *out)
{
	struct os_info info;

	os_info(&agent_os, &info);
	proto_begin(out, PROTO_DONE, 0);
	proto_number(out, TAG_MEMORY_TOTAL, info.memory_total);
	proto_number(out, TAG_MEMORY_FREE, info.memory_free);
	proto_number(out, TAG_CPU_US, info.cpu_us);
	proto_number(out, TAG_PROCESSES, info.processes);
	proto_number(out, TAG_UPTIME_NS, info.uptime_ns);
	proto_number(out, TAG_TIME_NS, info.time_ns);
	proto_end(out);
}
