/*
 * snap_live.c - a machine into a snapshot's file, while its guest goes on
 *
 * 1. The machine stands still until fork() has given its memory to another
 *    process, the packer, page by page not copied but shared until this one
 *    stores to it.  The tree and where memory is at all were noted before: the
 *    pagemap is this process's, whose balloon goes on.
 * 2. The packer keeps two descriptors: the file, and a pipe on which nothing is
 *    said, whose end is its own.  Above all it keeps no lock of the run
 *    directory and nothing of KVM's, so that a machine that was killed is dead.
 *    What it has to say it leaves in a page that both have, before it ends.
 * 3. It goes with the thread that made it, the loop's, which lives as long as the
 *    machine: also when this process is killed.  Where the machine ends, or who
 *    asked has gone, the page says so, and it ends by itself, for which this
 *    process needs no right to kill any other.
 * 4. Who asked is told once: when the packer has ended, or when its end is wished
 *    for; it may then take a moment more, in which there is no next one.
 *
 * In the jail this is the only process that can be made, with these flags, and
 * it has the same two filters.  So who breaks out of the guest gains a process
 * that can outlive this one: it executes nothing and opens nothing, but keeps
 * the descriptors it has.  What ends it with the machine is what is around this
 * process, a PID namespace or a cgroup.  Threads can be had as many before as
 * after; a limit for both (RLIMIT_NPROC) counts all that this user runs on the
 * host, so it is for who gives each machine a user of its own.
 *
 * #syscalls clone:FORK close_range getppid prctl:PR_SET_PDEATHSIG pipe2 waitid munmap
 * #syscalls getpid exit_group
 * #syscalls:before mmap
 * mmap in the jail too, which allows it for malloc() (sandbox.c)
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "snap_saving.h"
#include "vm.h"

/* the page of both */
struct note {
	bool stop; /* to the packer */
	bool done; /* from it: what follows is true */
	int result;
	char text[512];
};

struct snap_live {
	struct vm *vm;
	struct asker who; /* .tell is NULL when he was told */
	struct note *note;
	struct loop_fd end; /* its other end is the packer's alone */
	pid_t packer;	    /* 0: not yet */
	const char *kind;   /* of child: what the answer ends with */
	uint64_t still_us;
};

/* --- the packer --- */

/* all descriptors but these two; -errno */
static int close_others(int a, int b)
{
	unsigned low = (unsigned)MIN(a, b), high = (unsigned)MAX(a, b);

	if ((low && close_range(0, low - 1, 0)) ||
	    (high - low > 1 && close_range(low + 1, high - 1, 0)) || close_range(high + 1, ~0U, 0))
		return err(-errno, "snapshot: this host has no close_range(): %s", strerror(errno));
	return 0;
}

/* the thread that made it may be gone before prctl(): then the page says stop, if not all of the
 * process is gone */
static void be_packer(struct snap_live *l, struct saving *s, int pipe, pid_t parent)
{
	int r;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	r = close_others(s->w.fd, pipe);
	if (!r)
		r = saving_pack(s);
	if (r)
		snprintf(l->note->text, sizeof(l->note->text), "%s", err_last());
	l->note->result = r;
	__atomic_store_n(&l->note->done, true, __ATOMIC_RELEASE);
	_exit(0);
}

/* --- the machine --- */

static void tell(struct asker *who, int r, void *blob)
{
	void (*fn)(void *arg, int r, void *blob) = who->tell;

	who->tell = NULL;
	if (fn)
		fn(who->arg, r, blob);
	else
		free(blob);
}

static void free_live(struct snap_live *l)
{
	loop_fd_del(l->vm->loop, &l->end);
	cleanup_close(&l->end.fd);
	if (l->note)
		munmap(l->note, sizeof(*l->note));
	l->vm->live = NULL;
	free(l);
}

/* the packer has ended, or will have in a moment; @ret is what is known of how */
static void reap(struct snap_live *l, siginfo_t *ret)
{
	int r;

	*ret = (siginfo_t){ 0 };
	do
		r = waitid(P_PID, (id_t)l->packer, ret, WEXITED);
	while (r && errno == EINTR);
}

static int tell_how_it_died(const siginfo_t *how)
{
	if (how->si_code == CLD_EXITED)
		return err(-EIO, "snapshot: the process that packed it ended with status %d",
			   how->si_status);
	return err(-EIO,
		   "snapshot: the process that packed it was killed by signal %d; if nobody did "
		   "that, there may be too little memory for it and for what the guest changes "
		   "meanwhile: save without --live",
		   how->si_status);
}

static int tell_success(const struct snap_live *l, void **ret)
{
	char *text = NULL;
	int n = asprintf(&text, "%lu%s", (unsigned long)l->still_us, l->kind);

	if (n < 0)
		return err(-ENOMEM, "snapshot: out of memory to answer");
	*ret = text;
	return n;
}

static void on_end(void *arg, uint32_t events)
{
	struct snap_live *l = arg;
	struct asker who = l->who;
	void *blob = NULL;
	siginfo_t how;
	int r;

	(void)events;
	reap(l, &how);
	if (!__atomic_load_n(&l->note->done, __ATOMIC_ACQUIRE))
		r = tell_how_it_died(&how);
	else if (l->note->result)
		r = err(l->note->result, "%s", l->note->text);
	else
		r = tell_success(l, &blob);
	snap_turn_end(l->vm, r >= 0 && who.tell); /* who has been told otherwise has no file */
	free_live(l);				  /* who is told may ask for another one */
	tell(&who, r, blob);
}

void snap_live_stop(struct vm *vm, const char *why)
{
	struct snap_live *l = vm->live;

	if (!l || !l->packer)
		return; /* there is none, or snap_live() will see for itself */
	__atomic_store_n(&l->note->stop, true, __ATOMIC_RELAXED);
	tell(&l->who, err(-ECANCELED, "snapshot: it was given up, because %s", why), NULL);
}

void snap_live_free(struct vm *vm)
{
	siginfo_t how;

	if (!vm->live)
		return;
	snap_live_stop(vm, "the machine has ended");
	reap(vm->live, &how);
	snap_turn_end(vm, false);
	free_live(vm->live);
}

/* @pipe becomes the packer's */
static int hand_over(struct snap_live *l, struct saving *s, int pipe)
{
	pid_t self = getpid(), child = fork();

	if (!child)
		be_packer(l, s, pipe, self);
	if (child < 0)
		return err(-errno,
			   "snapshot: there can be no process to pack it: %s; save without --live",
			   strerror(errno));
	l->packer = child;
	return 0;
}

static int take(struct snap_live *l, struct saving *s, int pipe)
{
	struct vm *vm = l->vm;
	uint64_t begin = now_ns();
	int r;

	vm_pause(vm);
	r = vm->end == VM_RUNNING ? 0 : err(-EINVAL, "the machine has ended");
	if (!r)
		r = saving_take(s);
	if (!r)
		r = hand_over(l, s, pipe);
	if (r)
		snap_turn_end(vm, false);
	vm_resume(vm);
	l->still_us = (now_ns() - begin) / 1000;
	return r;
}

static int prepare(struct snap_live *l, int *ret_pipe)
{
	void *p = mmap(NULL, sizeof(*l->note), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	int fd[2];

	if (p == MAP_FAILED)
		return err(-ENOMEM, "snapshot: out of memory to pack it aside");
	l->note = p;
	if (pipe2(fd, O_CLOEXEC))
		return err(-errno, "snapshot: no pipe to who packs it: %s", strerror(errno));
	l->end = (struct loop_fd){ fd[0], EPOLLIN, on_end, l };
	*ret_pipe = fd[1];
	return loop_fd_add(l->vm->loop, &l->end)
		       ? err(-ENOMEM, "snapshot: out of memory to pack it aside")
		       : 0;
}

int snap_live(struct vm *vm, int fd, const struct snap_order *how)
{
	cleanup_fd int pipe = -1;
	struct snap_live *l;
	struct saving s;
	int r;

	if (vm->live)
		return err(-EBUSY, "snapshot: another one of this machine is being packed; try "
				   "again when that is done, or without --live");
	l = calloc(1, sizeof(*l));
	if (!l)
		return err(-ENOMEM, "snapshot: out of memory to pack it aside");
	*l = (struct snap_live){ .vm = vm, .who = *how->who, .end.fd = -1 };
	vm->live = l; /* a pause runs the loop, and with it requests */
	r = prepare(l, &pipe);
	if (!r) {
		r = saving_begin(&s, vm, fd, how);
		s.stop = &l->note->stop;
		if (!r)
			r = take(l, &s, pipe);
		l->kind = !how->parent ? "" : s.changed ? " changed" : " whole";
		saving_end(&s);
	}
	if (!r)
		return -EINPROGRESS;
	free_live(l);
	return r;
}
