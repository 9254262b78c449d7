/* t_snap_live - flat guests on /dev/kvm: saved while they go on, whatever happens meanwhile */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chain_rig.h"
#include "echo_rig.h"
#include "hutch.h"
#include "kvm_rig.h"
#include "snap_saving.h"
#include "suite.h"

#define SAVES 3		 /* of one run */
#define AREA  (16 * MiB) /* of memory that the guest leaves alone */
#define LEN   (4 * MiB)

static int file(void)
{
	int fd = memfd_create("snapshot", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

/* --- the process that packs: the only child there is --- */

static bool comes_to(bool (*what)(void))
{
	for (unsigned i = 0; i < 500 && !what(); i++)
		sleep_ms(10);
	return what();
}

static bool no_child(void)
{
	return !flat_packer(getpid());
}

/* it has nothing of ours but two descriptors, and will go with us */
static void is_alone(pid_t packer)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", packer);
	for (unsigned i = 0; i < 5000 && entries(path) != 4; i++)
		sleep_ms(1);
	ck_assert_uint_eq(entries(path), 4);
}

static bool is_whole(int fd)
{
	char magic[8];

	return pread(fd, magic, sizeof(magic), 0) == sizeof(magic) &&
	       !memcmp(magic, SNAP_MAGIC, sizeof(magic));
}

/* it goes no further for now, and has not come to its end */
static void halt(pid_t packer, int fd)
{
	ck_assert_int_eq(kill(packer, SIGSTOP), 0);
	ck_assert(!is_whole(fd));
}

/* --- the guests --- */

/* one that counts on so many processors, in 64 MiB */
static struct flat *counter(const char *cpus)
{
	struct flat *f = flat_new("count", "cpus", cpus, NULL);

	ck_assert_msg(f != NULL, "%s", err_last());
	return f;
}

static void counts(struct flat *f, unsigned cpus)
{
	for (unsigned i = 0; i < cpus; i++) {
		uint32_t old = *flat_word(f, FLAT_MAILBOX + 4 * i);

		for (unsigned ms = 0; *flat_word(f, FLAT_MAILBOX + 4 * i) == old; ms++) {
			ck_assert_msg(ms < 5000, "CPU %u stands still", i);
			sleep_ms(1);
		}
		ck_assert_uint_eq(*flat_word(f, FLAT_MAILBOX + 64 + 4 * i), 0);
	}
}

static void started(struct flat *f, unsigned cpus)
{
	ck_assert_int_eq(flat_start(f), 0);
	counts(f, cpus);
}

static void finished(struct flat *f)
{
	*flat_word(f, FLAT_MAILBOX + 128) = 1;
	ck_assert_int_eq(flat_wait(f, 10), VM_POWEROFF);
	ck_assert_str_eq(f->text, "done\n");
	flat_free(f);
}

static uint32_t letter(uint64_t i)
{
	return 0x61616161 ^ (uint32_t)((i * 2654435761U ^ i >> 7) & 0x07030703);
}

/* what takes seconds to be packed hard */
static void fill(struct flat *f)
{
	volatile uint32_t *to = flat_word(f, AREA);

	for (uint64_t i = 0; i < LEN / 4; i++)
		to[i] = letter(i);
}

static bool is_filled(struct flat *f)
{
	volatile uint32_t *w = flat_word(f, AREA);

	for (uint64_t i = 0; i < LEN / 4; i++)
		if (w[i] != letter(i))
			return false;
	return true;
}

/* the image of a machine like that */
static struct flat *restored(int fd)
{
	struct flat *f = flat_restore(fd, NULL);

	ck_assert_msg(f != NULL, "%s", err_last());
	return f;
}

/* and one whose memory is mapped */
static struct flat *mapped(int fd)
{
	struct flat *f;

	flat_memory = unpack(fd);
	f = restored(fd);
	close(flat_memory);
	flat_memory = -1;
	close(fd);
	return f;
}

static void saved(struct flat *f, int fd)
{
	struct flat_live came;

	ck_assert_msg(!flat_live_begin(f, fd, 1, NULL), "%s", err_last());
	came = flat_live_end();
	ck_assert_msg(came.result > 0, "%d: %s", came.result, came.text);
	ck_assert_uint_gt(came.still_us, 0);
	ck_assert_uint_lt(came.still_us, 5000000);
}

/* one in the midst of being packed, and who packs it */
static struct flat *in_the_midst(int fd, pid_t *ret)
{
	struct flat *f = counter("1");

	fill(f);
	started(f, 1);
	ck_assert_msg(!flat_live_begin(f, fd, 9, NULL), "%s", err_last());
	*ret = flat_packer(getpid());
	ck_assert_int_gt(*ret, 0);
	is_alone(*ret);
	return f;
}

/* --- same work, same result --- */

static char disk[1 + SAVES][64];

static void make_disks(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(disk); i++) {
		int fd;

		snprintf(disk[i], sizeof(disk[i]), "/tmp/hutch-t_snap_live.%d.%u", getpid(), i);
		fd = open(disk[i], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
		close(fd);
	}
}

static void remove_disks(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(disk); i++)
		unlink(disk[i]);
}

static const struct {
	int level;
	bool mapped; /* it is a restored one itself, whose memory is a file's */
	const char *bus;
} chains[] = { { 1, false, "mmio" }, { 0, true, "pci" } };

static struct flat *chain(int i)
{
	char conf[128];
	struct flat *f;

	snprintf(conf, sizeof(conf), "%s,engine=threads", disk[0]);
	f = flat_new("chain", "memory", "40M", "transport", chains[i].bus, "disk", conf, "net",
		     echo_net, "vsock", echo_vsock, "balloon", "0", NULL);
	ck_assert_msg(f != NULL, "%s", err_last());
	return f;
}

static void keep_end_of(struct flat *f, char text[64])
{
	ck_assert_int_eq(str_copy(text, 64, end_of(f)), 0);
	flat_free(f);
}

static int saving, saving_fd, saving_level;
static struct flat_live second;

/* its disk goes on as well, so there is a copy of what that was like */
static int save_with_disk(struct vm *vm)
{
	int r;

	vm_pause(vm);
	copy_disk(disk[0], disk[1 + saving]);
	r = flat_live_on_loop(vm, saving_fd, saving_level, NULL);
	snprintf(second.text, sizeof(second.text), "%s", err_last());
	vm_resume(vm);
	return r;
}

/* a new machine in the same state, whose memory is mapped */
static struct flat *remade(struct flat *f)
{
	int fd = file();

	ck_assert_int_eq(flat_start(f), 0);
	saved(f, fd);
	flat_free(f);
	make_disks();
	return mapped(fd);
}

START_TEST(test_chain)
{
	char want[64], text[64], key[128];
	int fd[SAVES];
	unsigned seed = 1 + (unsigned)_i, n = 0;
	struct flat_live came;
	struct flat *f;

	echo_begin();
	make_disks();
	f = chain(_i);
	ck_assert_int_eq(flat_start(f), 0);
	keep_end_of(f, want);

	make_disks();
	f = chain(_i);
	if (chains[_i].mapped)
		f = remade(f);
	saving_level = chains[_i].level;
	ck_assert_int_eq(flat_start(f), 0);
	for (; n < SAVES; n++) {
		ck_assert(flat_until_least(f, FLAT_MAILBOX, 1 + n * 15));
		usleep((useconds_t)(rand_r(&seed) % 3000));
		saving = (int)n;
		saving_fd = fd[n] = file();
		if (flat_call(f, save_with_disk)) {
			ck_assert_str_eq(second.text, "the machine has ended");
			break;
		}
		came = flat_live_end();
		ck_assert_msg(came.result > 0, "%s", came.text);
	}
	ck_assert_uint_gt(n, 0);
	keep_end_of(f, text);
	ck_assert_str_eq(text, want);
	while (n--) {
		snprintf(key, sizeof(key), "path=%s", disk[1 + n]);
		f = flat_restore(fd[n], "disk@0", key, NULL);
		ck_assert_msg(f != NULL, "save %u: %s", n, err_last());
		close(fd[n]);
		ck_assert_int_eq(flat_start(f), 0);
		keep_end_of(f, text);
		ck_assert_str_eq(text, want);
	}
	remove_disks();
	echo_end();
}
END_TEST

static int save_fd;

/* what comes into memory while it is looked at, before the machine stands still */
static int save_in_steps(struct vm *vm)
{
	const struct snap_order how = { .label = "", .level = 1 };
	struct saving s;
	int r = saving_begin(&s, vm, save_fd, &how);

	if (!r)
		r = gmem_write(&vm->mem, AREA, "late", 4);
	if (!r) {
		vm_pause(vm);
		r = saving_take(&s);
		vm_resume(vm);
	}
	if (!r)
		r = saving_pack(&s);
	saving_end(&s);
	return r;
}

START_TEST(test_new_pages)
{
	struct flat *f = counter("1");

	started(f, 1);
	save_fd = file();
	ck_assert_msg(!flat_call(f, save_in_steps), "%s", err_last());
	finished(f);
	f = restored(save_fd);
	ck_assert(!memcmp((void *)(uintptr_t)flat_word(f, AREA), "late", 4));
	flat_free(f);
}
END_TEST

START_TEST(test_processors)
{
	const char *cpus = _i ? "2" : "1";
	unsigned n = _i ? 2 : 1;
	struct flat *f = counter(cpus), *image;

	started(f, n);
	for (unsigned round = 0; round < 5; round++) {
		int fd = file();

		saved(f, fd);
		counts(f, n);
		image = restored(fd);
		close(fd);
		started(image, n);
		finished(image);
	}
	finished(f);
	ck_assert(no_child());
}
END_TEST

/* --- what happens meanwhile --- */

static int discard(struct vm *vm)
{
	return gmem_discard(&vm->mem, AREA, LEN);
}

/* as a reset in place does it */
static int discard_all(struct vm *vm)
{
	vm_pause(vm);
	gmem_discard_all(&vm->mem);
	return 0;
}

static int overwrite(struct vm *vm)
{
	return gmem_zero(&vm->mem, AREA, LEN);
}

static int (*const changes[])(struct vm *vm) = { discard, overwrite, discard_all };

/* the image is of the moment, not of what became of it before it was packed */
START_TEST(test_memory_changes)
{
	int fd = file();
	pid_t packer;
	struct flat *f = in_the_midst(fd, &packer);
	struct flat_live came;

	halt(packer, fd);
	ck_assert_int_eq(flat_call(f, changes[_i]), 0);
	ck_assert_uint_eq(*flat_word(f, AREA + LEN - 4), 0);
	ck_assert_int_eq(kill(packer, SIGCONT), 0);
	came = flat_live_end();
	ck_assert_msg(came.result > 0, "%s", came.text);
	flat_free(f);
	f = restored(fd);
	close(fd);
	ck_assert(is_filled(f));
	started(f, 1);
	finished(f);
}
END_TEST

/* the same of a machine whose memory is a file's */
START_TEST(test_mapped_memory_changes)
{
	int fd = file();
	struct flat_live came;
	struct flat *f = counter("1");
	pid_t packer;

	fill(f);
	started(f, 1);
	saved(f, fd);
	flat_free(f);
	f = mapped(fd);
	started(f, 1);
	fd = file();
	ck_assert_msg(!flat_live_begin(f, fd, 9, NULL), "%s", err_last());
	packer = flat_packer(getpid());
	halt(packer, fd);
	ck_assert_int_eq(flat_call(f, discard), 0);
	ck_assert_uint_eq(*flat_word(f, AREA + LEN - 4), 0);
	kill(packer, SIGCONT);
	came = flat_live_end();
	ck_assert_msg(came.result > 0, "%s", came.text);
	finished(f);
	f = restored(fd);
	close(fd);
	ck_assert(is_filled(f));
	flat_free(f);
}
END_TEST

static int do_save(struct vm *vm)
{
	return snap_save(vm, save_fd, &(struct snap_order){ .label = "", .level = 1 }, NULL);
}

static int do_second(struct vm *vm)
{
	second.result = flat_live_on_loop(vm, save_fd, 1, NULL);
	snprintf(second.text, sizeof(second.text), "%s", err_last());
	return 0;
}

/* another one is refused; one that stands still, a pause and a resume are not */
START_TEST(test_at_once)
{
	int fd = file();
	pid_t packer;
	struct flat *f = in_the_midst(fd, &packer), *image;
	struct flat_live came;
	uint32_t at;

	halt(packer, fd);
	save_fd = file();
	ck_assert_int_eq(flat_call(f, do_second), 0);
	ck_assert_int_eq(second.result, -EBUSY);
	ck_assert_ptr_nonnull(strstr(second.text, "another one of this machine is being packed"));
	ck_assert_int_eq(flat_call(f, do_save), 0);
	counts(f, 1);
	ck_assert_int_eq(flat_pause(f), 0);
	at = *flat_word(f, FLAT_MAILBOX);
	kill(packer, SIGCONT);
	came = flat_live_end();
	ck_assert_msg(came.result > 0, "%s", came.text);
	/* one that is paused stays so */
	saved(f, file());
	ck_assert_uint_eq(*flat_word(f, FLAT_MAILBOX), at);
	ck_assert_int_eq(flat_resume(f), 0);
	counts(f, 1);
	finished(f);
	image = restored(fd);
	ck_assert(is_filled(image));
	flat_free(image);
	image = restored(save_fd);
	started(image, 1);
	finished(image);
}
END_TEST

/* --- where it goes wrong --- */

static unsigned fds(void)
{
	return entries("/proc/self/fd");
}

/* who was told may look sooner than all is closed */
static void fds_come_to(unsigned want)
{
	for (unsigned i = 0; i < 100 && fds() != want; i++)
		sleep_ms(10);
	ck_assert_uint_eq(fds(), want);
}

static void goes_on(struct flat *f, unsigned before)
{
	int fd;

	ck_assert(comes_to(no_child));
	counts(f, 1);
	fds_come_to(before);
	fd = file();
	saved(f, fd);
	close(fd);
	ck_assert(no_child());
	fds_come_to(before);
}

START_TEST(test_killed)
{
	int fd = file();
	pid_t packer;
	struct flat *f = in_the_midst(fd, &packer);
	struct flat_live came;

	ck_assert_int_eq(kill(packer, SIGKILL), 0);
	came = flat_live_end();
	ck_assert_int_eq(came.result, -EIO);
	ck_assert_msg(strstr(came.text, "was killed by signal 9") != NULL, "%s", came.text);
	goes_on(f, fds());
	finished(f);
}
END_TEST

/* a file that takes no more */
START_TEST(test_not_written)
{
	int fd = memfd_create("full", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct flat *f = counter("1");
	unsigned before;
	struct flat_live came;

	started(f, 1);
	before = fds();
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
	ck_assert_int_eq(flat_live_begin(f, fd, 1, NULL), 0);
	came = flat_live_end();
	ck_assert_int_eq(came.result, -EPERM);
	ck_assert_str_eq(came.text, "snapshot: it cannot be written: Operation not permitted");
	goes_on(f, before);
	finished(f);
	/* nor one that is there already */
	f = counter("1");
	started(f, 1);
	ck_assert_int_eq(ftruncate(save_fd = file(), 1), 0);
	before = fds();
	ck_assert_int_eq(flat_call(f, do_second), 0);
	ck_assert_int_eq(second.result, -EINVAL);
	goes_on(f, before);
	finished(f);
}
END_TEST

/* by itself, by being taken down, and while who packs it does not move */
START_TEST(test_machine_ends)
{
	unsigned before = fds();
	int fd = file();
	pid_t packer;
	struct flat *f = in_the_midst(fd, &packer);
	struct flat_live came;

	if (_i == 0) {
		*flat_word(f, FLAT_MAILBOX + 128) = 1;
		ck_assert_int_eq(flat_wait(f, 10), VM_POWEROFF);
	}
	if (_i == 2)
		halt(packer, fd);
	if (_i)
		flat_free(f);
	came = flat_live_end();
	ck_assert_int_eq(came.result, -ECANCELED);
	ck_assert_str_eq(came.text, "snapshot: it was given up, because the machine has ended");
	if (!_i)
		flat_free(f);
	ck_assert(no_child());
	close(fd);
	fds_come_to(before);
}
END_TEST

/* --- as a program has it --- */

static char folder[64], ctl[80];

static void make_folder(void)
{
	snprintf(folder, sizeof(folder), "/tmp/hutch-t_snap_live.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(ctl, sizeof(ctl), "%s/ctl", folder);
	signal(SIGPIPE, SIG_IGN);
}

static void remove_folder(void)
{
	unlink(ctl);
	rmdir(folder);
}

/* fill.c has what takes its time to be packed hard, and says when it is there */
static struct hutch *handle(const char *jail)
{
	struct hutch *h = hutch_new();
	char path[4096], console[32], text[64];
	int out[2];

	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	snprintf(console, sizeof(console), "fd:-1:%d", out[1]);
	if (hutch_set(h, "kernel", flat_path("fill", path, sizeof(path))) ||
	    hutch_set(h, "memory", "64M") || hutch_set(h, "console", console) ||
	    hutch_set(h, "ctl", ctl) || hutch_set(h, "jail", jail) || hutch_start(h))
		ck_abort_msg("%s", hutch_error(h));
	close(out[1]);
	ck_assert_int_gt(read(out[0], text, sizeof(text)), 0);
	return h; /* whose console is open for as long as this process is there */
}

/* a request with a file, as the command makes it */
static int ask(const char *request, int fd)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec part = { (void *)(uintptr_t)request, strlen(request) };
	struct msghdr m = { .msg_iov = &part,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	strcpy(addr.sun_path, ctl);
	ck_assert_int_eq(connect(s, (struct sockaddr *)&addr, sizeof(addr)), 0);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	ck_assert_int_eq(sendmsg(s, &m, 0), (ssize_t)part.iov_len);
	return s;
}

static const char *hear(int s)
{
	static char text[2048];
	size_t len = 0;
	ssize_t n;

	while ((n = read(s, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(s);
	return text;
}

static bool a_child(void)
{
	return !no_child();
}

START_TEST(test_client)
{
	struct hutch *h = handle("none");
	unsigned before, len, us;
	int fd = file(), s, half;

	before = fds();
	ck_assert_int_eq(sscanf(hear(ask("live-snapshot 1 of a client\n", fd)), "ok %u\n%u", &len,
				&us),
			 2);
	ck_assert_uint_gt(us, 0);
	/* one that hangs up: nobody is there to be told, and who packs it ends */
	s = ask("live-snapshot 9 \n", half = file());
	ck_assert(comes_to(a_child));
	halt(flat_packer(getpid()), half);
	close(s);
	sleep_ms(50);
	kill(flat_packer(getpid()), SIGCONT);
	ck_assert(comes_to(no_child));
	ck_assert(!is_whole(half));
	/* nor does the machine stand still for one who has gone */
	s = ask("snapshot 9 \n", half = file());
	sleep_ms(50);
	close(s);
	ck_assert_int_eq(hutch_pause(h), 0);
	ck_assert(!is_whole(half));
	ck_assert_int_eq(hutch_resume(h), 0);
	/* it could be asked at once */
	ck_assert_int_gt(hutch_snapshot_live(h, file(), "by itself", -1), 0);
	/* the machine ends, and who waits is told */
	s = ask("live-snapshot 9 \n", file());
	ck_assert(comes_to(a_child));
	ck_assert_int_eq(hutch_stop(h), 0);
	ck_assert_str_eq(hear(s),
			 "error snapshot: it was given up, because the machine has ended\n");
	ck_assert(comes_to(no_child));
	fds_come_to(before + 4); /* the files */
	ck_assert_int_eq(hutch_snapshot_live(h, fd, NULL, 1), -EINVAL);
	/* and by being taken down, which closes its socket */
	hutch_free(h);
	h = handle("none");
	s = ask("live-snapshot 9 \n", file());
	ck_assert(comes_to(a_child));
	hutch_free(h);
	ck_assert_str_eq(hear(s),
			 "error snapshot: it was given up, because the machine has ended\n");
	ck_assert(no_child());
}
END_TEST

/* in a child, which goes into the jail: a snapshot, and then half of one */
static int in_jail(int tell)
{
	struct hutch *h = handle("basic");
	int fd = file(), r = hutch_snapshot_live(h, fd, "in the jail", 1);

	if (r <= 0 || write(tell, "", 1) != 1) {
		fprintf(stderr, "%d: %s\n", r, hutch_error(h));
		return 1;
	}
	hutch_snapshot_live(h, file(), NULL, 9);
	return 2;
}

static unsigned in_maps(pid_t pid, const char *what)
{
	char path[64], line[512];
	unsigned n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		n += strstr(line, what) != NULL;
	if (f)
		fclose(f);
	return n;
}

/* what it has of the machine is its memory, and it goes with that */
START_TEST(test_jail)
{
	int status, fd[2];
	pid_t machine, packer = 0;
	char c;

	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	ck_assert_int_eq(pipe2(fd, O_CLOEXEC), 0);
	machine = fork();
	if (!machine)
		_exit(in_jail(fd[1]));
	close(fd[1]);
	ck_assert_int_eq(read(fd[0], &c, 1), 1);
	for (unsigned i = 0; i < 500 && !packer; i++) {
		sleep_ms(2);
		packer = flat_packer(machine);
	}
	ck_assert_int_gt(packer, 0);
	ck_assert_uint_gt(in_maps(machine, "kvm-vcpu"), 0);
	ck_assert_uint_eq(in_maps(packer, "kvm-vcpu"), 0);
	is_alone(packer);
	kill(packer, SIGSTOP);
	ck_assert_int_eq(kill(machine, SIGKILL), 0);
	ck_assert_int_eq(waitpid(machine, &status, 0), machine);
	ck_assert_int_eq(waitpid(packer, &status, 0), packer);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}
END_TEST

START_TEST(test_nothing)
{
}
END_TEST

static void add_tests(Suite *suite)
{
	TCase *tc = tcase_create("live");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_chain, 0, ARRAY_SIZE(chains));
	tcase_add_test(tc, test_new_pages);
	tcase_add_loop_test(tc, test_processors, 0, 2);
	tcase_add_loop_test(tc, test_memory_changes, 0, ARRAY_SIZE(changes));
	tcase_add_test(tc, test_mapped_memory_changes);
	tcase_add_test(tc, test_at_once);
	tcase_add_test(tc, test_killed);
	tcase_add_test(tc, test_not_written);
	tcase_add_loop_test(tc, test_machine_ends, 0, 3);
	suite_add_tcase(suite, tc);
	tc = tcase_create("program");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, make_folder, remove_folder);
	tcase_add_test(tc, test_client);
	tcase_add_test(tc, test_jail);
	suite_add_tcase(suite, tc);
}

int main(int argc, char **argv)
{
	Suite *suite = suite_create("snap_live");
	TCase *tc;

	(void)argc;
	flat_setup(argv[0]);
	echo_setup(argv[0]);
	if (flat_possible()) {
		add_tests(suite);
	} else {
		tc = tcase_create("none");
		tcase_add_test(tc, test_nothing);
		suite_add_tcase(suite, tc);
	}
	return suite_run(suite);
}
