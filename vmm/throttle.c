/* throttle.c - how much of a processor the vCPUs get */
#include "throttle.h"
#include "vm.h"

#define WINDOW	 (100ULL * 1000000)
#define LOOK_MIN (1ULL * 1000000)
#define LOOK_CPU (20ULL * 1000) /* a look asks each vCPU's clock */

static void stop(struct vm *vm)
{
	struct throttle *t = &vm->throttle;

	if (vm->throttled)
		return;
	t->stops++;
	t->stopped_at = now_ns();
	pthread_mutex_lock(&vm->park_lock);
	__atomic_store_n(&vm->throttled, true, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < vm->cpus; i++)
		vcpu_kick(&vm->vcpu[i]);
	pthread_mutex_unlock(&vm->park_lock);
}

/* those that have not come to park yet see that they need not */
static void go(struct vm *vm)
{
	struct throttle *t = &vm->throttle;

	if (!vm->throttled)
		return;
	t->stopped_ns += now_ns() - t->stopped_at;
	pthread_mutex_lock(&vm->park_lock);
	__atomic_store_n(&vm->throttled, false, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&vm->park_cond);
	pthread_mutex_unlock(&vm->park_lock);
}

void throttle_look(struct vm *vm)
{
	struct throttle *t = &vm->throttle;
	uint64_t budget = WINDOW / 100 * t->percent, now, windows, used, wait;

	if (!t->percent || vm->pauses)
		return;
	now = now_ns();
	used = vm_cpu_ns(vm) - t->base;
	windows = (now - t->window) / WINDOW;
	if (windows) {
		uint64_t paid = MIN(used, windows * budget);

		t->window += windows * WINDOW;
		t->base += paid;
		used -= paid;
	}
	if (used >= budget) {
		stop(vm);
		loop_timer_set(vm->loop, &t->timer, t->window + WINDOW);
		return;
	}
	go(vm);
	wait = MAX((budget - used) / vm->cpus, LOOK_MIN + LOOK_CPU * vm->cpus);
	loop_timer_set(vm->loop, &t->timer, MIN(now + wait, t->window + WINDOW));
}

static void on_timer(void *arg)
{
	throttle_look(arg);
}

void throttle_init(struct vm *vm)
{
	vm->throttle.timer = (struct loop_timer){ .fn = on_timer, .arg = vm };
}

void throttle_set(struct vm *vm)
{
	struct throttle *t = &vm->throttle;

	t->percent = vm->conf->cpu_percent;
	if (!t->percent) {
		throttle_end(vm);
		go(vm);
		return;
	}
	t->window = now_ns();
	t->base = vm_cpu_ns(vm);
	throttle_look(vm);
}

void throttle_end(struct vm *vm)
{
	if (vm->throttle.timer.at)
		loop_timer_cancel(vm->loop, &vm->throttle.timer);
}
