/*
 * sandbox.c - no core files, no capabilities, no new privileges, few system calls
 *
 * 1. The filters are made from the syscalls comments of all files by
 *    tools/mkseccomp.sh, which has their grammar and why they are plain BPF.
 *    They are therefore complete when each file is honest about itself
 *    (tests/syscalls.sh holds them to it) and this one about the C library.
 * 2. There are two.  jail_caller is of all threads, from sandbox_enter() on: who
 *    started the machine goes on to relay what a command says, and to keep
 *    files.  jail_machine is put on top by the threads that run devices, the
 *    loop's and each vCPU's, as their first act; disk workers inherit both.  The
 *    kernel asks both filters, and the stricter answer counts.  vCPUs have the
 *    loop's: a register of a device may do nearly all that the loop does.
 *    All threads share their memory, so this is one more step to take for who
 *    breaks in, not a wall: he would have to make the caller's thread call for
 *    him.  What the process as a whole cannot do is what jail_caller says.
 * 3. Numbers mean something else to other architectures' entries (int $0x80),
 *    so those are refused first.  x32 has numbers of its own, none of which is
 *    in the list.
 * 4. What is not in the list gets SIGSYS, whose handler says what it was and
 *    ends the process.  Every thread of ours leaves SIGSYS open (thread_start());
 *    where an embedder's thread blocks it, the kernel ends the process all the
 *    same, without a word.
 * 5. Pages are never made executable, a new process is a thread or what fork()
 *    makes (snap_live.c has why, and what that is worth to whom), nothing else is
 *    executed, a socket is of AF_UNIX, and signals go to this process and to the passt it
 *    started.  The machine's threads open no files: the C library, which tries
 *    that for what it can do without (the trim of a heap, a time zone), gets
 *    EPERM, and so gets who breaks in.  An io_uring, which no filter sees into,
 *    has limits of its own (disk_uring.c).  What is left to them by name, to
 *    unlink(), rmdir() and connect(), is what this user could reach anyway: a
 *    matter of namespaces.  So is all that the caller opens.
 * 6. Capabilities go before the filter, because dropping them takes calls that
 *    are not in it.  Without CAP_SETPCAP the bounding set stays; no_new_privs
 *    makes it worth nothing.
 * 7. The process stays dumpable: its user may look into a machine that hangs,
 *    and RLIMIT_CORE keeps the guest's memory out of files.
 *
 * Entering costs 0.20 ms, nearly all of it the kernel's, which compiles the
 * filter and tries it on each number; for root 0.06 ms of it are the 41
 * capabilities of its bounding set.  Then each thread takes 0.08 ms for its own,
 * all at once.
 * From then on a call whose arguments are looked at, KVM_RUN among them, costs
 * 0.07 us more with the first filter and 0.02 us with the second; others 0.06 us
 * and nothing, because the kernel has remembered what both say.  The shortest
 * takes 0.13 us without (in a virtual machine on an EPYC, with ioctl(-1, KVM_RUN)
 * and getpid(); `hutch boot --timing`, line jail).
 *
 * libcap-ng would drop the capabilities in three lines.  In a program that is
 * linked statically it brings the name service along, 150 KB and a warning of
 * the linker; and it reads /proc for what is to be thrown away.
 *
 * #syscalls:caller seccomp:SECCOMP_SET_MODE_FILTER
 * #syscalls:before prlimit64 capset prctl
 * #syscalls write getpid exit_group
 *
 * The C library, by itself.  Memory of malloc() and of threads' stacks:
 * #syscalls brk mmap:!PROT_EXEC mprotect:!PROT_EXEC mremap munmap madvise:MADV_DONTNEED
 * #syscalls sched_getaffinity openat:-EPERM
 * Threads; glibc takes clone() where there is no clone3(), whose flags lie in memory unseen:
 * #syscalls clone:+CLONE_THREAD clone3:-ENOSYS set_robust_list rseq prctl:PR_SET_NAME futex exit
 * Signals, what goes on after SIGSTOP, abort() and its last words:
 * #syscalls rt_sigprocmask rt_sigreturn rt_sigaction restart_syscall gettid tgkill:SELF writev
 * stdio, qsort(), and the clock where the vDSO has none:
 * #syscalls newfstatat fstat sysinfo clock_gettime
 */
#include <asm/unistd.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"
#include "sandbox.h"
#include "sandbox_arch.h"

#define LOAD(field)	  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define JUMP(op, k, t, f) BPF_JUMP(BPF_JMP | (op) | BPF_K, k, t, f)
#define RETURN(what)	  BPF_STMT(BPF_RET | BPF_K, what)

/* the words of the generated header: n is how many to skip, if that is not the call, or if it is
 * the value */
#define TRAP		  RETURN(SECCOMP_RET_TRAP)
#define ALLOW		  RETURN(SECCOMP_RET_ALLOW)
#define REFUSE(error)	  RETURN(SECCOMP_RET_ERRNO | (error))
#define BEGIN		  LOAD(arch), JUMP(BPF_JEQ, SANDBOX_ARCH, 1, 0), TRAP, LOAD(nr)
#define CALL(name, n)	  JUMP(BPF_JEQ, __NR_##name, 0, n)
#define ONE_OF(name, n)	  JUMP(BPF_JEQ, __NR_##name, n, 0)
#define FROM(name, n)	  JUMP(BPF_JGE, __NR_##name, n, 0)
#define ARGUMENT(i)	  LOAD(args[i])
#define IS(value, n)	  JUMP(BPF_JEQ, value, n, 0)
#define HAS(bits, n)	  JUMP(BPF_JSET, bits, n, 0)
#define HAS_NOT(bits, n)  JUMP(BPF_JSET, bits, 0, n)
/* how fork() is asked for */
#define FORK		  (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD)
#define SELF		  0x5e1f5e1f /* stands for this process's number until it is known */

#include "seccomp.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "ARGUMENT() is a lower half");

#define EXIT_JAIL 125

static char *put(char *to, const char *text)
{
	return (char *)memcpy(to, text, strlen(text)) + strlen(text);
}

static char *put_number(char *to, uint64_t v, unsigned base)
{
	char digits[24], *p = digits + sizeof(digits);

	do
		*--p = "0123456789abcdef"[v % base];
	while (v /= base);
	memcpy(to, p, (size_t)(digits + sizeof(digits) - p));
	return to + (digits + sizeof(digits) - p);
}

static const char *name_of(int nr)
{
	const char *name = nr >= 0 && nr < (int)ARRAY_SIZE(jail_names) ? jail_names[nr] : NULL;

	return name ? name : "of no known name";
}

/* in whichever thread; nothing but write() and _exit(), and they are in the list */
static void on_refused(int sig, siginfo_t *info, void *context)
{
	bool foreign = info->si_arch != SANDBOX_ARCH;
	uint64_t args[3];
	char line[512], *p = line;

	(void)sig;
	sandbox_args(context, args);
	p = put(p, "error 125 E_SECCOMP: system call ");
	p = put_number(p, (unsigned)info->si_syscall, 10);
	p = put(p, " (");
	p = put(p, foreign ? "of another architecture" : name_of(info->si_syscall));
	for (unsigned i = 0; i < ARRAY_SIZE(args); i++) {
		p = put(p, i ? ", 0x" : ": 0x");
		p = put_number(p, args[i], 16);
	}
	p = put(p, ") is not allowed in the jail   why: this is a bug of hutch, or someone who "
		   "broke out of the guest   fix: report it with this line");
	*p = '\0';
	log_text(LOG_ERROR, line);
	_exit(EXIT_JAIL);
}

static int lacks(const struct sandbox *what, const char *layer, int error)
{
	if (what->must)
		return err(-ENOTSUP, "jail: this host has no %s: %s", layer, strerror(error));
	log_warn("jail: this host has no %s: %s; the machine runs without", layer, strerror(error));
	return 0;
}

/* @bounds: what a program that is executed could get; only who has CAP_SETPCAP may touch it */
static int drop_capabilities(void)
{
	struct __user_cap_header_struct self = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	for (unsigned long cap = 0; !prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); cap++)
		;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) ||
	    syscall(SYS_capset, &self, none))
		return err(-errno, "jail: the capabilities of this process cannot be dropped: %s",
			   strerror(errno));
	return 0;
}

static void name_self(struct sock_filter *code, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (code[i].code == (BPF_JMP | BPF_JEQ | BPF_K) && code[i].k == SELF)
			code[i].k = (uint32_t)getpid();
}

static int install(const struct sock_fprog *filter, unsigned flags)
{
	/*
	 * SPEC_ALLOW: older kernels take a filter as a wish for defences against
	 * Spectre 4 that slow the thread down, and with it a vCPU.  They are meant
	 * for processes that run foreign code in their own mode; a guest has its own.
	 */
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			    flags | SECCOMP_FILTER_FLAG_SPEC_ALLOW, filter);
}

static int filter_calls(const struct sandbox *what)
{
	struct sigaction sa = { .sa_sigaction = on_refused, .sa_flags = SA_SIGINFO | SA_NODEFER };
	struct sock_filter code[ARRAY_SIZE(jail_caller)];
	const struct sock_fprog filter = { ARRAY_SIZE(code), code };
	int r;

	memcpy(code, jail_caller, sizeof(code));
	name_self(code, ARRAY_SIZE(code));
	if (sigaction(SIGSYS, &sa, NULL))
		return err(-errno, "jail: SIGSYS: %s", strerror(errno));
	r = install(&filter, SECCOMP_FILTER_FLAG_TSYNC);
	if (r > 0) { /* the number of a thread that has a filter of its own */
		if (what->must)
			return err(-EBUSY,
				   "jail: thread %d has a seccomp filter of its own already", r);
		log_warn("jail: thread %d has a seccomp filter of its own; only the machine's "
			 "threads get one",
			 r);
		r = install(&filter, 0);
	}
	if (!r)
		return 0;
	r = errno;
	signal(SIGSYS, SIG_DFL);
	return lacks(what, "seccomp filters", r);
}

int sandbox_enter(const struct sandbox *what)
{
	const struct rlimit none = { 0, 0 };
	int r = 0;

	if (setrlimit(RLIMIT_CORE, &none))
		return err(-errno, "jail: core files cannot be turned off: %s", strerror(errno));
	r = drop_capabilities();
	if (!r && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		r = lacks(what, "no_new_privs", errno);
	return r ? r : filter_calls(what);
}

int sandbox_narrow(void)
{
	struct sock_filter code[ARRAY_SIZE(jail_machine)];
	const struct sock_fprog filter = { ARRAY_SIZE(code), code };

	if (!sandbox_is_in())
		return 0;
	memcpy(code, jail_machine, sizeof(code));
	name_self(code, ARRAY_SIZE(code));
	return install(&filter, 0)
		       ? err(-errno, "jail: no seccomp filter for the machine's threads: %s",
			     strerror(errno))
		       : 0;
}

bool sandbox_is_in(void)
{
	struct sigaction sa;

	return !sigaction(SIGSYS, NULL, &sa) && sa.sa_sigaction == on_refused;
}
