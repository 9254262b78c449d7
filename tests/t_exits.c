/* t_exits - how a command ended, from its wait status to the result that is told: nothing is lost
 * or changed on the way */
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent_rig.h"
#include "complain.h"
#include "guest.h"
#include "host_rig.h"
#include "suite.h"

static void ends(struct host_rig *x, const char *script)
{
	host_start(x, AGENT_REAL, ARGV("sh", "-c", script));
	command_run(&x->c);
	command_explain(&x->c);
}

/* @status, of a command that came to its end: the codes that have a meaning of their own too */
static void is_told(struct host_rig *x, int status, int signo)
{
	char member[64];

	ck_assert_int_eq(x->c.fate, FATE_EXITED);
	ck_assert_int_eq(command_status(&x->c), status);
	ck_assert_str_eq(complained, "");
	snprintf(member, sizeof(member), ",\"exit_code\":%d,", status);
	ck_assert(host_tells(x, status, member));
	if (signo)
		snprintf(member, sizeof(member), ",\"signal\":%d,", signo);
	else
		strcpy(member, ",\"signal\":null,");
	ck_assert(host_tells(x, status, member));
	ck_assert(host_tells(x, status,
			     signo ? ",\"status\":\"signaled\"," : ",\"status\":\"exited\","));
	ck_assert(host_tells(x, status, ",\"origin\":\"guest\","));
	ck_assert(host_tells(x, status, ",\"error\":null}"));
	ck_assert(host_tells(x, status, status ? ",\"success\":false," : ",\"success\":true,"));
}

/* what main() returns is that of `hutch run` too: its lowest 8 bits, which are all of it */
START_TEST(every_exit_status)
{
	struct host_rig x;
	char script[32];

	for (int i = 0; i < 256; i++) {
		snprintf(script, sizeof(script), "exit %d", i);
		ends(&x, script);
		is_told(&x, i, 0);
		host_stop(&x);
	}
}
END_TEST

/* the 31, and those for real time: 32 and 33 too, which the C libraries keep for themselves */
START_TEST(every_signal)
{
	static const char harmless[] = { SIGCHLD, SIGCONT, SIGURG,  SIGWINCH, SIGSTOP,
					 SIGTSTP, SIGTTIN, SIGTTOU, 0 };
	/* as a child of glibc's posix_spawn() gets them: ignored, where no library lets us say so
	 */
	static const unsigned long ignored[8] = { (unsigned long)SIG_IGN };
	struct host_rig x;
	char script[128];

	for (int i = 32; i <= 33; i++)
		require(!syscall(SYS_rt_sigaction, i, ignored, NULL, 8));
	for (int i = 1; i <= 64; i++) {
		/* a session without a terminal is stopped by SIGSTOP alone */
		snprintf(script, sizeof(script), "%s kill -%d $$; exit 7",
			 i == SIGSTOP ? "(sleep 0.2; kill -CONT $$) &" : "", i);
		ends(&x, script);
		if (strchr(harmless, i))
			is_told(&x, 7, 0);
		else
			is_told(&x, 128 + i, i);
		host_stop(&x);
	}
}
END_TEST

/* the same numbers where there was no command: told apart by who says so */
START_TEST(what_does_not_run)
{
	static const struct {
		const char *name, *cwd, *user, *code;
		int status;
	} cases[] = {
		{ "no-such-command", NULL, NULL, "E_NOT_FOUND", 127 },
		{ "/no/such/command", NULL, NULL, "E_NOT_FOUND", 127 },
		{ "/etc/passwd", NULL, NULL, "E_NOT_RUNNABLE", 126 },
		{ "true", "/no/such/folder", NULL, "E_NOT_RUNNABLE", 126 },
		{ "true", NULL, "nobody-of-this-name", "E_NOT_RUNNABLE", 126 },
	};
	struct host_rig x;
	char member[64];

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		host_start(&x, AGENT_REAL, ARGV(cases[i].name));
		x.c.what.cwd = cases[i].cwd;
		x.c.what.user = cases[i].user;
		command_run(&x.c);
		command_explain(&x.c);
		ck_assert_int_eq(x.c.fate, FATE_REFUSED);
		ck_assert_int_eq(command_status(&x.c), cases[i].status);
		ck_assert_str_ne(complained, "");
		snprintf(member, sizeof(member), "\"error\":{\"code\":\"%s\",", cases[i].code);
		ck_assert(host_tells(&x, cases[i].status, member));
		ck_assert(host_tells(&x, cases[i].status,
				     ",\"status\":\"error\",\"origin\":\"hutch\","));
		host_stop(&x);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("exits");
	TCase *t = tcase_create("exits");

	tcase_set_timeout(t, 120);
	if (access(agent_path(), X_OK)) {
		printf("skip exits: %s is not built\n", agent_path());
		return 0;
	}
	tcase_add_test(t, every_exit_status);
	tcase_add_test(t, every_signal);
	tcase_add_test(t, what_does_not_run);
	suite_add_tcase(s, t);
	return suite_run(s);
}
