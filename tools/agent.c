/* agent.c - requests to the agent in a sandbox */
#include <errno.h>
#include <signal.h>

#include "tool.h"

#define ANSWER 1000 /* ms in which an agent that is well has answered */
#define MISSED 4    /* and as many looks: if this process stood still, its guest did too */

uint64_t agent_ms(struct hutch *h, uint64_t ms)
{
	uint64_t percent = 0;

	hutch_get_number(h, "cpu_percent", &percent);
	return percent && percent < 100 ? ms * 100 / percent : ms;
}

bool agent_is_silent(struct hutch *h, struct hutch_job *job, unsigned *missed)
{
	uint64_t most = 0;

	hutch_get_number(h, "heartbeat", &most);
	if (!most || hutch_is_paused(h) || hutch_job_silence(job) < agent_ms(h, most))
		*missed = 0;
	else
		++*missed;
	return *missed >= MISSED;
}

int agent_poweroff(const char *name, unsigned ms)
{
	const struct hutch_request x = {
		.what = HUTCH_ASK_POWEROFF, .grace_ms = ms, .in = -1, .out = -1, .err = -1
	};
	struct hutch *h = sandbox_handle(name);
	struct hutch_job *job = h ? hutch_ask(h, &x) : NULL;
	struct hutch_exit e;
	int r = job ? hutch_job_wait(job, ANSWER, -1, &e) : -ENOSYS;

	if (!r && e.how != HUTCH_DONE)
		r = -EIO;
	hutch_job_free(job);
	hutch_free(h);
	return r;
}
