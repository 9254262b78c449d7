/* #syscalls sched_getaffinity */
#include <sched.h>

#include "base.h"
#include "team.h"

#define TEAM_MOST 16

struct member {
	pthread_t thread;
	void (*fn)(void *arg);
	void *arg;
};

static void *run_member(void *arg)
{
	const struct member *m = arg;

	m->fn(m->arg);
	return NULL;
}

void team_run(void (*fn)(void *arg), void *arg)
{
	struct member member[TEAM_MOST - 1];
	unsigned n = 0, most;
	cpu_set_t set;

	most = sched_getaffinity(0, sizeof(set), &set) ? 1 : (unsigned)CPU_COUNT(&set);
	for (; n + 1 < MIN(most, (unsigned)TEAM_MOST); n++) {
		member[n] = (struct member){ .fn = fn, .arg = arg };
		if (thread_start(&member[n].thread, run_member, &member[n], 0))
			break;
	}
	fn(arg);
	while (n)
		pthread_join(member[--n].thread, NULL);
}
