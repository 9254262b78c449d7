/*
 * t_bulk - output of any size passes whole, in order, and takes no memory on either side
 *
 * 256 MB, or what HUTCH_BIG says: HUTCH_BIG=10G build/tests/t_bulk
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent_rig.h"
#include "guest.h"
#include "host_rig.h"
#include "suite.h"
#include "units.h"

#define LINE  16
#define BLOCK (64U << 10)
#define FLAT  (8U << 10)  /* KiB */
#define LOOK  (16U << 20) /* bytes between two looks at the agent */

struct reader {
	int fd;
	pid_t agent;
	uint64_t bytes;
	size_t agent_peak;
	bool wrong;
};

static void *read_all(void *arg)
{
	static char want[BLOCK + LINE], got[BLOCK];
	struct reader *r = arg;
	uint64_t look = 0;
	ssize_t n;

	for (size_t i = 0; i < sizeof(want); i += LINE)
		memcpy(want + i, "0123456789abcde\n", LINE);
	while ((n = read(r->fd, got, sizeof(got))) > 0) {
		r->wrong |= memcmp(got, want + r->bytes % LINE, (size_t)n) != 0;
		r->bytes += (uint64_t)n;
		if (r->bytes < look)
			continue;
		look = r->bytes + LOOK;
		r->agent_peak = MAX(r->agent_peak, agent_status(r->agent, "VmHWM:"));
	}
	return NULL;
}

static uint64_t big(void)
{
	const char *text = getenv("HUTCH_BIG");
	uint64_t size = 256 << 20;

	if (text)
		require(!size_value("HUTCH_BIG", text, &size));
	return size;
}

START_TEST(output_of_any_size)
{
	uint64_t size = big(), begin = now_ns();
	struct reader r = { .fd = -1 };
	char script[96];
	struct host_rig x;
	pthread_t thread;
	size_t before;
	int p[2];

	snprintf(script, sizeof(script), "yes 0123456789abcde | head -c %llu; exit 3",
		 (unsigned long long)size);
	host_start(&x, AGENT_REAL, ARGV("sh", "-c", script));
	x.patience = UINT64_MAX;
	require(!pipe2(p, O_CLOEXEC));
	r.fd = p[0];
	r.agent = x.agent;
	x.c.what.out = p[1];
	before = agent_status(0, "VmHWM:");
	require(!pthread_create(&thread, NULL, read_all, &r));
	command_run(&x.c);
	close(p[1]);
	pthread_join(thread, NULL);
	ck_assert_int_eq(command_status(&x.c), 3);
	ck_assert_uint_eq(r.bytes, size);
	ck_assert_uint_eq(x.c.exit.out_bytes, size);
	ck_assert(!r.wrong);
	ck_assert_uint_lt(agent_status(0, "VmHWM:") - before, FLAT);
	/* all of it, not what it grew by: as a process of this machine it begins with nothing */
	ck_assert_uint_gt(r.agent_peak, 0);
	ck_assert_uint_lt(r.agent_peak, FLAT);
	if (getenv("HUTCH_BIG"))
		printf("%llu bytes in %.1f s; peak of the agent %zu KiB, growth of the client %zu "
		       "KiB\n",
		       (unsigned long long)size, (double)(now_ns() - begin) / 1e9, r.agent_peak,
		       agent_status(0, "VmHWM:") - before);
	host_stop(&x);
	close(p[0]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("bulk");
	TCase *t = tcase_create("bulk");

	tcase_set_timeout(t, getenv("HUTCH_BIG") ? 3600 : 120);
	if (access(agent_path(), X_OK)) {
		printf("skip bulk: %s is not built\n", agent_path());
		return 0;
	}
	tcase_add_test(t, output_of_any_size);
	suite_add_tcase(s, t);
	return suite_run(s);
}
