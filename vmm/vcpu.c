/* #syscalls ioctl:KVM_RUN tgkill:SELF rt_sigaction munmap */
/* #syscalls:caller clock_gettime */
/* #syscalls:before mmap madvise */
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpuid.h"
#include "sandbox.h"
#include "vcpu.h"
#include "vm.h"

static void on_kick(int sig)
{
	(void)sig;
}

/* as this host's are, or as the one that a snapshot was made of */
static int set_processor(struct vcpu *v)
{
	const struct vcpu_state *saved = v->vm->saved ? &v->vm->saved[v->id] : NULL;
	struct kvm_cpuid_list list;
	int khz;

	if (saved) {
		list.nent = saved->cpuid_len / (uint32_t)sizeof(list.e[0]);
		memcpy(list.e, saved->cpuid, saved->cpuid_len);
	} else {
		khz = kvm_ioctl(v->fd, KVM_GET_TSC_KHZ, NULL);
		cpuid_for_vcpu(&v->vm->kvm, v->id, v->vm->cpus, khz > 0 ? (uint32_t)khz : 0, &list);
	}
	v->cpuid = calloc(list.nent + 1, sizeof(*v->cpuid));
	if (!v->cpuid)
		return err(-ENOMEM, "vCPU %u: out of memory", v->id);
	memcpy(v->cpuid, list.e, list.nent * sizeof(list.e[0]));
	v->cpuid_n = list.nent;
	return regs_make(v->fd, v->cpuid, v->cpuid_n, saved ? saved->tsc_khz : 0);
}

int vcpu_create(struct vcpu *v, struct vm *vm, unsigned id)
{
	void *run;
	int r;

	*v = (struct vcpu){ .vm = vm, .id = id, .fd = -1 };
	r = kvm_create_vcpu(&vm->kvm, id, &v->fd);
	if (r)
		return r;
	run = mmap(NULL, vm->kvm.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (run == MAP_FAILED)
		return err(-errno, "vCPU %u: mmap: %s", id, strerror(errno));
	v->run = run;
	madvise(run, vm->kvm.run_size, MADV_DONTFORK); /* a fork of this process keeps no VM */
	r = set_processor(v);
	if (!r)
		r = regs_firmware_defaults(v->fd);
	return r || vm->cpus <= KVM_XAPIC_CPUS ? r : regs_x2apic(v->fd);
}

void vcpu_kick(struct vcpu *v)
{
	v->run->immediate_exit = 1;
	if (v->has_thread)
		pthread_kill(v->thread, VCPU_KICK_SIGNAL);
}

/* while there is a reason to stand still, if there still is one; false when the thread is to end */
static bool park(struct vcpu *v)
{
	struct vm *vm = v->vm;
	bool stop;

	pthread_mutex_lock(&vm->park_lock);
	vm->parked++;
	if (vm->hold)
		loop_wake(vm->loop); /* vm_pause() waits for it there */
	while ((vm->hold || vm->throttled) && !vm->stop)
		pthread_cond_wait(&vm->park_cond, &vm->park_lock);
	stop = vm->stop;
	vm->parked--;
	v->run->immediate_exit = 0;
	pthread_mutex_unlock(&vm->park_lock);
	return !stop;
}

static void mark_first(struct vcpu *v, enum vm_phase phase)
{
	if (!v->id && !v->vm->mark[phase])
		v->vm->mark[phase] = now_ns();
}

static void *run_thread(void *arg)
{
	struct vcpu *v = arg;
	char name[16];

	snprintf(name, sizeof(name), "vcpu%u", v->id);
	pthread_setname_np(pthread_self(), name);
	if (sandbox_narrow()) {
		vm_event(v->vm, VM_ERROR, "%s", err_last());
		while (park(v))
			; /* and the guest does not run */
		return NULL;
	}
	mark_first(v, PHASE_ENTRY);
	for (;;) {
		if (!ioctl(v->fd, KVM_RUN, 0)) {
			v->exits++;
			mark_first(v, PHASE_FIRST_EXIT);
			vcpu_exit(v);
			continue;
		}
		if (errno != EINTR && errno != EAGAIN)
			vm_event(v->vm, VM_ERROR, "KVM_RUN of vCPU %u: %s", v->id, strerror(errno));
		/* also when the reason has gone already: the kick is to be forgotten */
		if (!park(v))
			return NULL;
	}
}

int vcpu_start(struct vcpu *v)
{
	struct sigaction sa = { .sa_handler = on_kick };
	int r;

	sigaction(VCPU_KICK_SIGNAL, &sa, NULL);
	r = thread_start(&v->thread, run_thread, v, VCPU_KICK_SIGNAL);
	if (r)
		return err(r, "vCPU %u: no thread: %s; raise the limit of processes (ulimit -u)",
			   v->id, strerror(-r));
	pthread_mutex_lock(&v->vm->park_lock);
	v->has_thread = true;
	pthread_mutex_unlock(&v->vm->park_lock);
	return 0;
}

void vcpu_destroy(struct vcpu *v)
{
	if (v->has_thread)
		pthread_join(v->thread, NULL);
	if (v->run)
		munmap(v->run, v->vm->kvm.run_size);
	cleanup_close(&v->fd);
	free(v->power_on);
	free(v->cpuid);
}

uint64_t vcpu_cpu_ns(const struct vcpu *v)
{
	struct timespec t;
	clockid_t clock;

	if (!v->has_thread || pthread_getcpuclockid(v->thread, &clock) || clock_gettime(clock, &t))
		return 0;
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}
