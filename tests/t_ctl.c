/*
 * t_ctl - the control socket against clients of all kinds
 *
 * The machine is one of no KVM: a vCPU that parks when a test says so, which is
 * all that pausing needs.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl.h"
#include "fake.h"
#include "suite.h"

#define MS 1000000ULL

static struct fake *f;
static struct vm vm;
static struct conf conf;
static struct ctl *ctl;
static struct vcpu vcpu;
static struct kvm_run *run;
static unsigned stops;
static char path[sizeof(((struct sockaddr_un *)0)->sun_path)];

static void on_event(void *arg)
{
	(void)arg;
	stops++;
}

static void set_up(void)
{
	f = fake_new();
	run = calloc(1, 4096);
	signal(SIGPIPE, SIG_IGN);
	signal(VCPU_KICK_SIGNAL, SIG_IGN);
	vm = (struct vm){ .conf = &conf, .loop = f->m.loop, .vcpu = &vcpu };
	vcpu = (struct vcpu){ .vm = &vm, .run = run, .thread = pthread_self() };
	vm.on_event = (struct loop_call){ .fn = on_event };
	pthread_mutex_init(&vm.park_lock, NULL);
	pthread_mutex_init(&vm.event_lock, NULL);
	pthread_cond_init(&vm.park_cond, NULL);
	snprintf(path, sizeof(path), "%s/ctl", fake_folder());
	ctl = ctl_new(f->m.loop, path, &vm);
	ck_assert_msg(ctl != NULL, "%s", err_last());
}

static void tear_down(void)
{
	ctl_free(ctl);
	ck_assert_int_eq(access(path, F_OK), -1);
	fake_folder_remove();
	fake_free(f);
	free(run);
}

static bool held_at_park;

static void park(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&vm.park_lock);
	vm.parked = 1;
	held_at_park = vm.hold;
	pthread_mutex_unlock(&vm.park_lock);
}

static struct loop_timer park_timer = { .fn = park };

/* from now on a pause takes until a timer parks the vCPU */
static void pause_slowly(void)
{
	vm.cpus = 1;
	vcpu.has_thread = true;
	loop_timer_set(f->m.loop, &park_timer, now_ns() + 30 * MS);
}

static int connect_client(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strcpy(addr.sun_path, path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void say(int fd, const void *text, size_t len)
{
	ck_assert_int_eq(send(fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

static bool never(void *arg)
{
	(void)arg;
	return false;
}

static void run_for(uint64_t ns)
{
	ck_assert_int_eq(loop_until(f->m.loop, never, NULL, ns), -ETIMEDOUT);
}

/* what came back in the end; the connection has been closed */
static const char *hear(int fd)
{
	static char text[2048];
	ssize_t n;
	size_t len = 0;

	run_for(5 * MS);
	while ((n = recv(fd, text + len, sizeof(text) - 1 - len, MSG_DONTWAIT)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	ck_assert_msg(!n, "the connection is still open: %s", text);
	close(fd);
	return text;
}

static const char *ask(const char *request)
{
	int fd = connect_client();

	say(fd, request, strlen(request));
	return hear(fd);
}

START_TEST(requests)
{
	ck_assert_str_eq(ask("pause\n"), "ok 0\n");
	ck_assert_str_eq(ask("pause\n"), "error the machine is paused already\n");
	ck_assert_str_eq(ask("resume\n"), "ok 0\n");
	ck_assert_str_eq(ask("powerbutton\n"), "error the machine has no power button\n");
	ck_assert_str_eq(ask("resume\n"), "error the machine is not paused\n");
	ck_assert_str_eq(ask("stop\n"), "ok 0\n");
	ck_assert_uint_eq(stops, 1);
	ck_assert_uint_eq(vm.event, VM_STOPPED);
}
END_TEST

START_TEST(what_is_no_request)
{
	char longer[1500];
	int fd;

	ck_assert_str_eq(ask("puase\n"), "error unknown request 'puase'; did you mean pause\n");
	ck_assert_str_eq(ask("\n"), "error unknown request ''\n");
	ck_assert_str_eq(ask("pause \n"), "error unknown request 'pause '; did you mean pause\n");
	ck_assert(!vm.user_paused);
	memset(longer, 'x', sizeof(longer));
	fd = connect_client();
	say(fd, longer, sizeof(longer));
	run_for(5 * MS);
	ck_assert_int_le(recv(fd, longer, sizeof(longer), 0), 0); /* closed without a word */
	ck_assert_int_ne(errno, EAGAIN);
	close(fd);
	fd = connect_client();
	say(fd, "sto\0p\n", 6);
	shutdown(fd, SHUT_WR);
	hear(fd);
	ck_assert_uint_eq(stops, 0);
}
END_TEST

START_TEST(in_pieces)
{
	int fd = connect_client();

	for (const char *p = "pause"; *p; p++) {
		say(fd, p, 1);
		run_for(MS);
	}
	ck_assert(!vm.user_paused);
	say(fd, "\n", 1);
	ck_assert_str_eq(hear(fd), "ok 0\n");
	ck_assert(vm.user_paused);
}
END_TEST

/* more than there is room for, none of which says anything: those served already stay served */
START_TEST(many_clients)
{
	unsigned fds = fake_fds();
	int fd[40];

	for (unsigned i = 0; i < ARRAY_SIZE(fd); i++) {
		fd[i] = connect_client();
		run_for(MS);
	}
	say(fd[0], "pause\n", 6);
	ck_assert_str_eq(hear(fd[0]), "ok 0\n");
	for (unsigned i = 1; i < ARRAY_SIZE(fd); i++)
		close(fd[i]);
	run_for(5 * MS);
	ck_assert_str_eq(ask("resume\n"), "ok 0\n");
	ck_assert_uint_eq(fake_fds(), fds);
}
END_TEST

/* a client that goes while its request runs, and the loop within */
START_TEST(gone_meanwhile)
{
	unsigned fds = fake_fds();
	int fd = connect_client();

	pause_slowly();
	say(fd, "pause\n", 6);
	close(fd);
	run_for(60 * MS);
	ck_assert(vm.user_paused);
	ck_assert_int_ge(fcntl(STDIN_FILENO, F_GETFD), 0);
	ck_assert_uint_eq(fake_fds(), fds);
	ck_assert_str_eq(ask("resume\n"), "ok 0\n");
}
END_TEST

/* one that goes on talking while its request runs */
START_TEST(talks_on)
{
	int fd = connect_client();

	pause_slowly();
	say(fd, "pause\nstop\n", 11);
	run_for(60 * MS);
	ck_assert(vm.user_paused);
	ck_assert_uint_eq(stops, 0); /* one request a connection */
	close(fd);
}
END_TEST

/* a second request while the first one's runs is answered after it */
START_TEST(two_at_a_time)
{
	int a = connect_client(), b = connect_client();

	pause_slowly();
	say(a, "pause\n", 6);
	say(b, "resume\n", 7);
	run_for(60 * MS);
	ck_assert(held_at_park);
	ck_assert_str_eq(hear(a), "ok 0\n");
	ck_assert_str_eq(hear(b), "ok 0\n");
	ck_assert(!vm.user_paused);
	ck_assert(!vm.hold);
}
END_TEST

/*
 * The machine ends, or starts over, in the middle of a pause: its resume does
 * not let loose what another pause holds.
 */
static void pause_and_resume(void *arg)
{
	(void)arg;
	vm_pause(&vm);
	ck_assert_uint_eq(vm.parked, 1);
	vm_resume(&vm);
	ck_assert(vm.hold);
}

START_TEST(pauses_nest)
{
	struct loop_timer t = { .fn = pause_and_resume };
	int fd = connect_client();

	pause_slowly();
	loop_timer_set(f->m.loop, &t, now_ns() + 10 * MS);
	say(fd, "pause\n", 6);
	run_for(60 * MS);
	ck_assert_str_eq(hear(fd), "ok 0\n");
	ck_assert(vm.hold);
	ck_assert_str_eq(ask("resume\n"), "ok 0\n");
	ck_assert(!vm.hold);
}
END_TEST

START_TEST(the_socket_file)
{
	char longer[300];
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	/* taken, and it stays the other one's */
	ck_assert_ptr_null(ctl_new(f->m.loop, path, &vm));
	ck_assert_ptr_nonnull(strstr(err_last(), path));
	ck_assert_str_eq(ask("pause\n"), "ok 0\n");
	memset(longer, 'p', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	ck_assert_ptr_null(ctl_new(f->m.loop, longer, &vm));
	ck_assert_ptr_nonnull(strstr(err_last(), "longer than"));
	ck_assert_ptr_null(ctl_new(f->m.loop, "/nonexistent/ctl", &vm));
}
END_TEST

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* who waits while there are no descriptors keeps nobody busy, and is served when there are */
START_TEST(out_of_descriptors)
{
	int fd = connect_client();
	struct rlimit old, none;
	uint64_t cpu;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ (rlim_t)fd + 1, old.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	cpu = cpu_ns();
	run_for(200 * MS);
	ck_assert_uint_lt(cpu_ns() - cpu, 100 * MS);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	say(fd, "stop\n", 5);
	run_for(200 * MS);
	ck_assert_uint_eq(vm.event, VM_STOPPED);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ctl");
	TCase *t = tcase_create("ctl");

	tcase_set_timeout(t, 20);
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, requests);
	tcase_add_test(t, what_is_no_request);
	tcase_add_test(t, in_pieces);
	tcase_add_test(t, many_clients);
	tcase_add_test(t, gone_meanwhile);
	tcase_add_test(t, talks_on);
	tcase_add_test(t, two_at_a_time);
	tcase_add_test(t, pauses_nest);
	tcase_add_test(t, the_socket_file);
	tcase_add_test(t, out_of_descriptors);
	suite_add_tcase(s, t);
	return suite_run(s);
}
