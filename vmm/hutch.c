/* hutch.c - the public interface: a handle, its configuration, its loop thread */
/* #syscalls write */
/* #syscalls:caller poll */
/* #syscalls:before eventfd2 */
#include <libfdt.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ctl.h"
#include "handle.h"
#include "log.h"
#include "perf.h"
#include "sandbox.h"
#include "snap.h"
#include "state.h"
#include "vm_build.h"

_Static_assert(HUTCH_FILE_OPTIONAL == CONF_SOURCE_OPTIONAL && HUTCH_FILE_OWN == CONF_SOURCE_OWN &&
		       HUTCH_FILE_TEMPLATE == CONF_SOURCE_TEMPLATE,
	       "the flags of struct hutch_file and struct conf_source are the same");
_Static_assert((int)HUTCH_POWEROFF == VM_POWEROFF && (int)HUTCH_STOPPED == VM_STOPPED,
	       "enum hutch_end and enum vm_end are the same");
_Static_assert((int)HUTCH_LOG_ERROR == LOG_ERROR && (int)HUTCH_LOG_DEBUG == LOG_DEBUG,
	       "enum hutch_level and enum log_level are the same");

int hutch_fail(struct hutch *h, int r)
{
	if (r < 0) {
		snprintf(h->error, sizeof(h->error), "%s", err_last());
		h->error_code = err_last_code();
	}
	return r;
}

struct hutch *hutch_new(void)
{
	struct hutch *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->event_fd = h->agent = h->called = h->instructions = -1;
	conf_defaults(&h->conf);
	return h;
}

const char *hutch_error(const struct hutch *h)
{
	return h->error;
}

int hutch_error_code(const struct hutch *h)
{
	return h->error_code;
}

int hutch_get(struct hutch *h, const char *key, char *buf, size_t size)
{
	char text[CONF_PATH];
	struct conf_ref ref;
	int r = conf_ref(&h->conf, key, &ref);

	if (r)
		return hutch_fail(h, r);
	if (ref.sub)
		field_print(ref.sub, field_at(ref.f, &h->conf, ref.i), text, sizeof(text));
	else if (ref.f->kind != FIELD_LIST && ref.f->kind != FIELD_STRUCT)
		field_print(ref.f, &h->conf, text, sizeof(text));
	else
		return hutch_fail(h, err(-EINVAL, "%s: is no key with one value", key));
	return str_copy(buf, size, text)
		       ? hutch_fail(h, err(-E2BIG, "%s: its value does not fit", key))
		       : 0;
}

int hutch_get_number(struct hutch *h, const char *key, uint64_t *ret)
{
	struct conf_ref ref;
	int r = conf_ref(&h->conf, key, &ref);
	const struct field *f = ref.sub ? ref.sub : ref.f;

	if (r)
		return hutch_fail(h, r);
	if (f->kind != FIELD_UINT && f->kind != FIELD_SIZE && f->kind != FIELD_TIME)
		return hutch_fail(h, err(-EINVAL, "%s: is no number", key));
	*ret = field_get(f, ref.sub ? field_at(ref.f, &h->conf, ref.i) : (void *)&h->conf);
	return 0;
}

static int may_load(struct hutch *h, const char *what)
{
	return h->vm ? err(-EBUSY, "%s: the machine runs; load it before hutch_start()", what) : 0;
}

int hutch_load(struct hutch *h, const char *path)
{
	int r = may_load(h, path);

	return hutch_fail(h, r ? r : conf_load(&h->conf, path, &h->origins));
}

int hutch_load_files(struct hutch *h, const struct hutch_file *file, unsigned n)
{
	cleanup_free struct conf_source *from = calloc(n + 1, sizeof(*from));
	int r = n ? may_load(h, file[0].path) : 0;

	if (!r && !from)
		r = err(-ENOMEM, "config files: out of memory");
	for (unsigned i = 0; !r && i < n; i++)
		from[i] = (struct conf_source){ .path = file[i].path, .flags = file[i].flags };
	return hutch_fail(h, r ? r : conf_load_all(&h->conf, from, n, &h->origins));
}

int hutch_load_text(struct hutch *h, const char *name, const void *text, size_t len)
{
	int r = may_load(h, name);

	if (!r)
		r = conf_load_text(&h->conf, name, text, len, &h->origins);
	if (!r && h->conf.extends[0])
		r = err(-EINVAL, "%s: extends is nothing that can be followed from here",
			hutch_origin(h, "extends"));
	return hutch_fail(h, r);
}

void hutch_from(struct hutch *h, const char *what)
{
	snprintf(h->from, sizeof(h->from), "%s", what ? what : "");
}

const char *hutch_origin(struct hutch *h, const char *key)
{
	const struct field *f = field_find(conf_fields, key);

	return f && h->origins.at[f - conf_fields][0] ? h->origins.at[f - conf_fields] : NULL;
}

int hutch_check(struct hutch *h)
{
	return hutch_fail(h, conf_check(&h->conf));
}

int hutch_clear(struct hutch *h, const char *key)
{
	const struct field *f = field_find(conf_fields, key);

	if (!f || f->kind != FIELD_LIST)
		return hutch_fail(h, err(-EINVAL, "%s: is not a list", key));
	*field_used(f, &h->conf) = 0;
	return 0;
}

static int nth_key(const struct field *table, unsigned i, const struct field **ret)
{
	for_each_field (f, table) {
		if (!f->help || i--)
			continue;
		*ret = f;
		return 0;
	}
	return -ENOENT;
}

static void tell_key(const struct field *f, struct hutch_key *ret)
{
	*ret = (struct hutch_key){
		.name = f->name,
		.arg = f->arg,
		.dflt = f->dflt,
		.help = f->help,
		.list = f->kind == FIELD_LIST,
		.many = f->count > 1,
		.live = f->live,
		.box = f->box,
		.file = f->file,
		.inner = f->inner,
		.made = f->made,
	};
}

int hutch_key(unsigned i, struct hutch_key *ret)
{
	const struct field *f;

	if (nth_key(conf_fields, i, &f))
		return -ENOENT;
	tell_key(f, ret);
	return 0;
}

int hutch_subkey(unsigned i, unsigned k, struct hutch_key *ret)
{
	const struct field *f;

	if (nth_key(conf_fields, i, &f) || !f->sub || !f->sub[1].name || nth_key(f->sub, k, &f))
		return -ENOENT;
	tell_key(f, ret);
	return 0;
}

const char *hutch_nearest(const char *word, const char *const *names)
{
	return nearest(word, names);
}

uint64_t hutch_cpu_ns(struct hutch *h)
{
	return h->vm ? vm_cpu_ns(h->vm) : 0;
}

int hutch_fuel(struct hutch *h, uint64_t *ret, bool *ret_instructions)
{
	return hutch_fail(h, conf_fuel(h->conf.fuel, ret, ret_instructions));
}

static int count_instructions(struct hutch *h)
{
	bool instructions;
	uint64_t fuel;
	int r = conf_fuel(h->conf.fuel, &fuel, &instructions);

	h->counted = 0;
	return r || !fuel || !instructions ? r
					   : perf_open(PERF_GUEST_INSTRUCTIONS, &h->instructions);
}

int hutch_can_count(struct hutch *h)
{
	cleanup_fd int fd = -1;

	return hutch_fail(h, perf_open(PERF_GUEST_INSTRUCTIONS, &fd));
}

int hutch_instructions(struct hutch *h, uint64_t *ret)
{
	int r;

	if (h->instructions < 0)
		return hutch_fail(h, err(-EINVAL, "the guest's instructions are not counted; give "
						  "the machine fuel in instructions"));
	r = hutch_fail(h, perf_read(h->instructions, ret));
	/* where the PMU is shared it is an estimate, which may turn out to have been too high */
	if (!r)
		*ret = h->counted = MAX(h->counted, *ret);
	return r;
}

bool hutch_is_paused(const struct hutch *h)
{
	return h->vm && __atomic_load_n(&h->vm->pauses, __ATOMIC_RELAXED);
}

unsigned hutch_faults(const struct hutch *h)
{
	return h->vm ? __atomic_load_n(&h->vm->m.faults, __ATOMIC_RELAXED) : 0;
}

/* something that is done on a loop's thread, and waited for */
struct job {
	int (*fn)(struct job *job); /* 0 or more, -errno with a message; -EINPROGRESS: later */
	struct hutch *h;
	const char *request; /* of the control socket */
	int fd;		     /* that goes with it */
	void *blob;
	bool paused;
	struct loop_call call;
	int result;
	char error[1024];
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
};

static void end_job(struct job *job, int r)
{
	if (r < 0)
		snprintf(job->error, sizeof(job->error), "%s", err_last());
	pthread_mutex_lock(&job->lock);
	job->result = r;
	job->done = true;
	pthread_cond_signal(&job->cond);
	pthread_mutex_unlock(&job->lock);
}

static void run_job(void *arg)
{
	struct job *job = arg;
	int r = job->fn(job);

	if (r != -EINPROGRESS)
		end_job(job, r);
}

static int do_job(struct loop *loop, struct job *job)
{
	job->call = (struct loop_call){ .fn = run_job, .arg = job };
	pthread_mutex_init(&job->lock, NULL);
	pthread_cond_init(&job->cond, NULL);
	loop_call(loop, &job->call);
	pthread_mutex_lock(&job->lock);
	while (!job->done)
		pthread_cond_wait(&job->cond, &job->lock);
	pthread_mutex_unlock(&job->lock);
	return job->result < 0 ? err(job->result, "%s", job->error) : job->result;
}

static void on_end(void *arg)
{
	struct hutch *h = arg;
	uint64_t one = 1;

	if (write(h->event_fd, &one, sizeof(one)) < 0)
		return;
}

static void *run_loop(void *arg)
{
	struct hutch_thread *t = arg;

	pthread_setname_np(pthread_self(), t->name);
	loop_run(t->loop);
	return NULL;
}

static void *run_machine(void *arg)
{
	struct hutch *h = arg;

	if (sandbox_narrow())
		vm_event(h->vm, VM_ERROR, "%s", err_last());
	return run_loop(&h->main);
}

/* SIGPIPE, which it does not take, becomes EPIPE there */
static int start_thread(struct hutch_thread *t, void *(*fn)(void *arg), void *arg)
{
	int r = thread_start(&t->thread, fn, arg, 0);

	t->running = !r;
	return r ? err(r,
		       "no thread for the event loop: %s; raise the limit of processes (ulimit -u)",
		       strerror(-r))
		 : 0;
}

static void end_thread(struct hutch_thread *t)
{
	if (t->running) {
		loop_stop(t->loop);
		pthread_join(t->thread, NULL);
		t->running = false;
	}
}

/* also half of one */
static void end_machine(struct hutch *h)
{
	end_thread(&h->main);
	end_thread(&h->aside);
	ctl_free(h->ctl);
	vm_free(h->vm);
	loop_free(h->main.loop);
	loop_free(h->aside.loop);
	cleanup_close(&h->event_fd);
	cleanup_close(&h->instructions);
	agent_host_close(h);
	h->ctl = NULL;
	h->vm = NULL;
	h->main.loop = h->aside.loop = NULL;
	h->event_fd = h->instructions = -1;
}

/* on the thread aside: the loop's may not do what the caller's function may wish to */
static int tell_pause(struct job *job)
{
	job->h->on_pause(job->h->on_pause_arg, job->paused);
	return 0;
}

static void on_pause(void *arg, bool paused)
{
	struct hutch *h = arg;
	struct job job = { .fn = tell_pause, .h = h, .paused = paused };

	do_job(h->aside.loop, &job);
}

static int prepare_pauses(struct hutch *h)
{
	h->aside = (struct hutch_thread){ .name = "aside", .loop = loop_new() };
	if (!h->aside.loop)
		return -ENOMEM;
	h->vm->on_pause = on_pause;
	h->vm->on_pause_arg = h;
	return 0;
}

static int enter_jail(struct hutch *h)
{
	const struct sandbox basic = { .must = false };
	int r = h->conf.jail == JAIL_BASIC ? sandbox_enter(&basic) : 0;

	h->vm->mark[PHASE_JAIL] = now_ns();
	return r;
}

static int start_machine(struct hutch *h)
{
	uint64_t begin = now_ns();
	int r;

	h->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->event_fd < 0)
		return err(-errno, "eventfd: %s", strerror(errno));
	h->main = (struct hutch_thread){ .name = "loop", .loop = loop_new() };
	if (!h->main.loop)
		return -ENOMEM;
	r = agent_host_open(h);
	if (r)
		return r;
	h->vm = h->snap ? hutch_snap_machine(h) : hutch_snap_warm(h);
	if (!h->vm && !h->snap)
		h->vm = vm_new(h->main.loop, &h->conf);
	if (!h->vm)
		return -EIO;
	h->vm->mark[PHASE_START] = begin;
	h->vm->version = HUTCH_VERSION;
	h->vm->ended = on_end;
	h->vm->ended_arg = h;
	if (h->conf.ctl[0]) {
		h->ctl = ctl_new(h->main.loop, h->conf.ctl, h->vm);
		if (!h->ctl)
			return -EIO;
	}
	r = h->on_pause ? prepare_pauses(h) : 0;
	if (!r)
		r = count_instructions(h); /* of the threads that this one starts from here on */
	if (r)
		return r;
	/* all that is to be opened is open, and no guest has run yet */
	r = enter_jail(h);
	snap_open_pagemap(h->vm); /* in the jail, where it tells nothing of the host's memory */
	if (!r && h->on_pause)
		r = start_thread(&h->aside, run_loop, &h->aside);
	if (!r)
		r = vm_start(h->vm);
	return r ? r : start_thread(&h->main, run_machine, h);
}

int hutch_start(struct hutch *h)
{
	int r = h->vm ? err(-EBUSY, "the machine runs already") : conf_check(&h->conf);
	struct board board;

	if (!r)
		r = vm_board(&h->conf, &board); /* vm_new() will ask again */
	if (!r && sandbox_is_in())
		r = err(-EBUSY, "this process is in the jail of a machine that it started before; "
				"start each in a process of its own, or with jail=none");
	if (r)
		return hutch_fail(h, r);
	r = hutch_fail(h, start_machine(h));
	if (r)
		end_machine(h); /* the handle can be mended, and started again */
	return r;
}

int hutch_event_fd(const struct hutch *h)
{
	return h->event_fd;
}

int hutch_wait(struct hutch *h, int timeout_ms, struct hutch_result *ret)
{
	struct pollfd p = { h->event_fd, POLLIN, 0 };
	int r;

	if (!h->vm)
		return hutch_fail(h, err(-EINVAL, "the machine was not started"));
	do {
		r = poll(&p, 1, timeout_ms);
	} while (r < 0 && errno == EINTR);
	if (!r)
		return -ETIMEDOUT;
	*ret = (struct hutch_result){ .console_dropped = stream_dropped(h->vm->console) };
	pthread_mutex_lock(&h->vm->event_lock);
	ret->end = (enum hutch_end)h->vm->end;
	ret->resets = h->vm->resets;
	snprintf(ret->text, sizeof(ret->text), "%s", h->vm->event_text);
	pthread_mutex_unlock(&h->vm->event_lock);
	return 0;
}

static void answer_job(void *arg, int r, void *blob)
{
	struct job *job = arg;

	job->blob = blob;
	end_job(job, r);
}

static int ask_machine(struct job *job)
{
	const struct asker who = { answer_job, NULL, job };
	char request[1024];

	return str_copy(request, sizeof(request), job->request)
		       ? err(-E2BIG, "a value of more than %zu bytes", sizeof(request))
		       : ctl_run(job->h->vm, request, job->fd, &who, &job->blob);
}

int hutch_on_loop(struct hutch *h, const char *request, int fd, void **ret)
{
	struct job job = { .fn = ask_machine, .h = h, .request = request, .fd = fd };
	int r;

	if (!h->main.running)
		return hutch_fail(h, err(-EINVAL, "the machine was not started"));
	r = hutch_fail(h, do_job(h->main.loop, &job));
	if (r >= 0 && ret)
		*ret = job.blob;
	return r;
}

static void note_origin(struct hutch *h, const char *key)
{
	const struct field *f;
	char name[64];

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(key, "@"), key);
	f = field_find(conf_fields, name);
	if (f && h->from[0])
		memcpy(h->origins.at[f - conf_fields], h->from, sizeof(h->from));
}

int hutch_set(struct hutch *h, const char *key, const char *value)
{
	cleanup_free char *request = NULL;
	const struct field *f = field_find(conf_fields, key);
	struct conf_ref ref;
	int r;

	if (f && f->file)
		return hutch_fail(h, err(-EINVAL, "%s: is a key for files alone", key));
	if (!h->vm) {
		r = h->snap	       ? hutch_snap_set(h, key, value)
		    : strchr(key, '@') ? conf_change(&h->conf, key, value, &ref)
				       : conf_set(&h->conf, "", key, value);
		if (!r)
			note_origin(h, key);
		return hutch_fail(h, r);
	}
	if (asprintf(&request, "set %s %s", key, value) < 0)
		return hutch_fail(h, err(-ENOMEM, "%s: out of memory", key));
	return hutch_on_loop(h, request, -1, NULL);
}

int hutch_pause(struct hutch *h)
{
	return hutch_on_loop(h, "pause", -1, NULL);
}

int hutch_resume(struct hutch *h)
{
	return hutch_on_loop(h, "resume", -1, NULL);
}

int hutch_stop(struct hutch *h)
{
	return hutch_on_loop(h, "stop", -1, NULL);
}

void hutch_on_pause(struct hutch *h, void (*fn)(void *arg, bool paused), void *arg)
{
	h->on_pause = fn;
	h->on_pause_arg = arg;
}

void hutch_on_agent_log(struct hutch *h,
			void (*fn)(void *arg, enum hutch_level level, const char *text), void *arg)
{
	h->on_agent_log = fn;
	h->on_agent_log_arg = arg;
}

void hutch_log_to(int fd, bool json)
{
	log_to(fd, json);
}

void hutch_log_copy(int fd)
{
	log_copy(fd);
}

void hutch_log_about(const char *id, const char *name)
{
	log_about(id, name);
}

void hutch_log(enum hutch_level level, const char *text)
{
	log_text((enum log_level)level, text);
}

void hutch_log_event(enum hutch_level level, const char *event, const char *members,
		     const char *text)
{
	log_event((enum log_level)level, event, members, text);
}

void hutch_log_line(int fd, enum hutch_level level, const char *text)
{
	log_text_to(fd, (enum log_level)level, text);
}

size_t hutch_utf8_len(const char *text, size_t len)
{
	return utf8_len(text, len);
}

int hutch_tree(struct hutch *h, void **ret)
{
	if (h->main.running)
		return hutch_on_loop(h, "inspect", -1, ret);
	return hutch_fail(h, vm_tree_described(&h->conf, ret));
}

int hutch_counters(struct hutch *h, void **ret)
{
	return hutch_on_loop(h, "counters", -1, ret);
}

int hutch_tree_print(const void *tree, size_t size, FILE *out, bool json)
{
	if (fdt_check_full(tree, size))
		return -EINVAL;
	tree_print(tree, out, json);
	return 0;
}

int hutch_timing(const struct hutch *h, unsigned i, struct hutch_phase *ret)
{
	static const char *const name[PHASES] = {
		[PHASE_FILES] = "files",
		[PHASE_KVM] = "kvm",
		[PHASE_MEMORY] = "memory",
		[PHASE_VCPUS] = "vcpus",
		[PHASE_DEVICES] = "devices",
		[PHASE_LOAD] = "load",
		[PHASE_JAIL] = "jail",
		[PHASE_ENTRY] = "first entry",
		[PHASE_FIRST_EXIT] = "first exit",
	};

	if (!h->vm || i + 1 >= PHASES)
		return -ENOENT;
	*ret = (struct hutch_phase){ name[i + 1], 0 };
	if (h->vm->mark[i + 1])
		ret->us = (double)(h->vm->mark[i + 1] - h->vm->mark[i]) / 1000;
	return 0;
}

void hutch_free(struct hutch *h)
{
	if (!h)
		return;
	end_machine(h);
	hutch_snap_free(h->snap);
	free(h->renewed);
	free(h);
}
