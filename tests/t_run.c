/* t_run - a whole run in this process, and what its folder keeps of it; the guest is a flat one,
 * and its agent a child that says what it has to, or the agent as a process of this machine */
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_rig.h"
#include "archive_rig.h"
#include "fake.h"
#include "host_rig.h"
#include "kvm_rig.h"
#include "proto.h"
#include "suite.h"
#include "tool.h"

#define WAIT_MS 20000

/* what the agent says when the guest is up */
enum call {
	CALL_NEVER,
	CALL_SILENT, /* the command has begun; then nothing */
	CALL_GONE,   /* the same, and it is gone */
	CALL_WORKS,
};

static char here[64];
static pid_t agent;

/* no configuration and no policies but our own; all of it in a folder that is ours */
static void set_up(void)
{
	char root[80];

	rig_begin(false);
	require(getcwd(here, sizeof(here)) != NULL);
	setenv("HUTCH_CONFIG_D", here, 1);
	setenv("XDG_CONFIG_HOME", here, 1);
	setenv("XDG_CACHE_HOME", here, 1);
	setenv("HUTCH_POLICY_D", "none", 1);
	snprintf(root, sizeof(root), "%s/root", here);
	setenv("HUTCH_ROOT", root, 1);
	agent = -1;
}

static void tear_down(void)
{
	rig_done();
}

static char text[64 << 10];

/* a file that may not be there yet */
static const char *read_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

static bool appears(const char *path, const char *part)
{
	for (unsigned i = 0; i < WAIT_MS && (access(path, F_OK) || !strstr(read_file(path), part));
	     i++)
		sleep_ms(1);
	return access(path, F_OK) == 0;
}

static unsigned count(const char *in, const char *part)
{
	unsigned n = 0;

	for (; (in = strstr(in, part)); in += strlen(part))
		n++;
	return n;
}

/* --- the guest's side --- */

static void call(enum call how, const char *vsock)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct proto_buf b = { .data = NULL };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s_%d", vsock, PROTO_PORT);
	require(fd >= 0 && !connect(fd, (struct sockaddr *)&a, sizeof(a)));
	proto_begin(&b, PROTO_HELLO, 0);
	proto_number(&b, TAG_MAGIC, PROTO_MAGIC);
	proto_end(&b);
	proto_begin(&b, PROTO_DONE, 0); /* it is what it is to be */
	proto_end(&b);
	proto_begin(&b, how == CALL_WORKS ? PROTO_DONE : PROTO_STARTED, 0);
	proto_end(&b);
	require(write(fd, b.data, b.len) == (ssize_t)b.len);
	proto_free(&b);
	if (how == CALL_GONE)
		_exit(0);
}

/* once the file @wait_for has @part: the agent calls, and in place of the device it is reached */
static void begin_agent(enum call how, const char *wait_for, const char *part)
{
	static const char vsock[] = "root/one/vsock";
	int s;

	if (how == CALL_NEVER)
		return;
	agent = fork();
	if (agent)
		return;
	require(appears("root/one/vsock_1024", "") && appears(vsock, ""));
	require(appears(wait_for, part));
	require(!unlink(vsock));
	s = host_socket(vsock);
	call(how, vsock);
	for (;;) {
		int fd = accept(s, NULL, NULL);

		require(fd >= 0);
		if (!fork())
			host_serve(AGENT_REAL, fd);
		close(fd);
	}
}

static void end_agent(void)
{
	if (agent < 0)
		return;
	kill(agent, SIGKILL);
	require(waitpid(agent, NULL, 0) == agent);
}

/* --- the run --- */

/* hutch run of @line, as sandbox "one" that is kept; with files that go in, to a place of our own,
 * the agent is asked for something before the command */
static int run(const char *guest, bool files, const char *line)
{
	char words[512], kernel[4096], *argv[48];
	int argc = 0;

	snprintf(words, sizeof(words),
		 "--name one --keep --correlation-id order:7 --jail none --memory 32M "
		 "--result result --kernel %s %s%s%s %s",
		 flat_path(guest, kernel, sizeof(kernel)), files ? "--mount mounted:" : "",
		 files ? here : "", files ? "/guest" : "", line);
	rig_dir("mounted");
	for (char *w = strtok(words, " "); w; w = strtok(NULL, " "))
		argv[argc++] = w;
	argv[argc] = NULL;
	return verb_run.run(argc, argv, &verb_run);
}

/* its events of this name: how many; each is of security and so a warning, and whose it is */
static unsigned events(const char *name)
{
	char begin[64];
	const char *line = read_file("root/one/events"), *end;
	unsigned n = 0;

	snprintf(begin, sizeof(begin), "\",\"event\":\"%s\",\"id\":\"", name);
	for (; (end = strchr(line, '\n')); line = end + 1) {
		char one[1024];

		snprintf(one, sizeof(one), "%.*s", (int)(end - line), line);
		if (!strstr(one, begin))
			continue;
		n++;
		ck_assert_int_eq(strncmp(one, "{\"time\":\"20", 11), 0);
		ck_assert_msg(strstr(one, "\"name\":\"one\",\"level\":\"warning\","
					  "\"correlation_id\":\"order:7\"") != NULL,
			      "%s", one);
	}
	return n;
}

static unsigned long times_of(const char *at)
{
	at = strstr(at, "\"times\":");
	return at ? strtoul(at + 8, NULL, 10) : 0;
}

/* a guest that breaks all its devices again and again: it is told at once, and in the end how often
 * that was; not each time */
START_TEST(broken_devices)
{
	uint64_t begin = now_ns();
	const char *first, *last;
	unsigned n;

	ck_assert_int_eq(run("hostile", false, "-- true"), EXIT_HUTCH);
	n = events("security.device");
	ck_assert_uint_ge(n, 2);
	ck_assert_uint_le(n, 2 + (now_ns() - begin) / (10 * NS));
	first = strstr(text, "security.device");
	last = strrchr(text, '}');
	while (strncmp(last, "security.device", 15))
		last--;
	ck_assert_uint_ge(times_of(first), 1);
	ck_assert_uint_gt(times_of(last), 10);
	ck_assert_uint_gt(times_of(last), times_of(first));
	ck_assert_uint_eq(events("security.agent_lost"), 0);
	read_file("root/one/audit");
	ck_assert_uint_eq(count(text, "\"level\":\"warning\",\"id\":\"order:7\",\"name\":\"one\","
				      "\"msg\":\"the guest broke the rules of its devices, "),
			  n);
}
END_TEST

/* it does not answer, or has hung up: either way it is told why */
START_TEST(agent_that_is_lost)
{
	static const struct {
		enum call how;
		const char *why;
	} cases[] = {
		{ CALL_SILENT, "the guest's agent does not answer any more" },
		{ CALL_GONE, "the guest's agent closed the connection" },
	};
	char want[256];

	begin_agent(cases[_i].how, "root/one/state", "");
	ck_assert_int_eq(run("ends", false, "--append h --heartbeat 500ms -- true"), EXIT_HUTCH);
	ck_assert_uint_eq(events("security.agent_lost"), 1);
	ck_assert_uint_eq(events("security.device"), 0);
	snprintf(want, sizeof(want),
		 "\"level\":\"warning\",\"id\":\"order:7\",\"name\":\"one\","
		 "\"msg\":\"the agent was lost: %s",
		 cases[_i].why);
	ck_assert_uint_eq(count(read_file("root/one/audit"), want), 1);
	ck_assert_ptr_nonnull(strstr(read_file("result"), "\"code\":\"E_AGENT\""));
	end_agent();
}
END_TEST

/* a command that ends, in a guest that behaves, is none of this */
START_TEST(nothing_to_tell)
{
	begin_agent(CALL_WORKS, "root/one/state", "");
	ck_assert_int_eq(run("ends", true, "--append h -- sh -c true"), 0);
	ck_assert_uint_eq(count(read_file("root/one/events"), "security."), 0);
	ck_assert_uint_eq(count(text, "\"event\":\"execution.complete\""), 1);
	end_agent();
}
END_TEST

/* one that is reached while the guest boots, before files go in, is the command's too: told once,
 * and in the result */
START_TEST(limit_of_the_boot)
{
	begin_agent(CALL_WORKS, "root/one/events", "security.violation");
	ck_assert_int_eq(run("count", true, "--cpu-time 50ms --on-cpu-time log -- sleep 0.3"), 0);
	ck_assert_uint_eq(events("security.violation"), 1);
	ck_assert_uint_eq(count(read_file("result"), "{\"limit\":\"cpu_time\",\"value\":\"50ms\","
						     "\"action\":\"log\""),
			  1);
	ck_assert_uint_eq(count(read_file("root/one/audit"), "cpu_time of 50ms was reached: log"),
			  1);
	end_agent();
}
END_TEST

START_TEST(nothing)
{
}
END_TEST

int main(void)
{
	Suite *s = suite_create("run");
	TCase *t = tcase_create("run");
	char self[4096] = "";

	/* each test goes into a folder of its own */
	require(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	flat_setup(self);
	tcase_set_timeout(t, 60);
	if (flat_possible()) {
		tcase_add_checked_fixture(t, set_up, tear_down);
		tcase_add_test(t, broken_devices);
		tcase_add_loop_test(t, agent_that_is_lost, 0, 2);
		tcase_add_test(t, nothing_to_tell);
		tcase_add_test(t, limit_of_the_boot);
	} else {
		tcase_add_test(t, nothing);
	}
	suite_add_tcase(s, t);
	return suite_run(s);
}
