#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "kvm_rig.h"
#include "pager.h"
#include "snap.h"

static char flat_folder[3072];
int flat_memory = -1, flat_keep = -1;
bool flat_lazy;
uint64_t flat_whole;

void flat_setup(const char *argv0)
{
	const char *named = getenv("HUTCH_FLAT"), *slash = strrchr(argv0, '/');

	if (named && *named)
		snprintf(flat_folder, sizeof(flat_folder), "%s", named);
	else
		snprintf(flat_folder, sizeof(flat_folder), "%.*s/kvm",
			 slash ? (int)(slash - argv0) : 1, slash ? argv0 : ".");
}

bool flat_possible(void)
{
	struct kvm kvm;
	int r = kvm_open(&kvm);

	if (r)
		fprintf(stderr, "skip flat guests: %s\n", err_last());
	kvm_close(&kvm);
	return !r;
}

const char *flat_path(const char *guest, char *buf, size_t size)
{
	snprintf(buf, size, "%s/%s.elf", flat_folder, guest);
	return buf;
}

void sleep_ms(unsigned ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

static void on_end(void *arg)
{
	struct flat *f = arg;
	uint64_t one = 1;

	if (write(f->ended, &one, sizeof(one)) < 0)
		abort();
}

static int make_console(struct flat *f)
{
	char spec[32];
	int in[2], out[2];

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		return -errno;
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	f->in = in[1];
	f->guest[0] = in[0];
	f->out = out[0];
	f->guest[1] = out[1];
	snprintf(spec, sizeof(spec), "fd:%d:%d", in[0], out[1]);
	return conf_set(&f->conf, "test", "console", spec);
}

static struct flat *begin(void)
{
	struct flat *f = calloc(1, sizeof(*f));

	if (f)
		f->in = f->out = f->guest[0] = f->guest[1] = f->ended = f->from.fd = f->uffd = -1;
	return f;
}

static void on_kept(void *arg, const struct pager *p, bool whole)
{
	(void)arg;
	(void)p;
	__atomic_fetch_add(&flat_whole, whole, __ATOMIC_RELAXED);
}

static struct vm *make_machine(struct flat *f, const struct snap_file *from)
{
	const struct pager_conf lazy = {
		.uffd = f->uffd = from && flat_lazy ? pager_open() : -1,
		.keep = flat_keep,
		.kept = on_kept,
	};

	return vm_restore(f->loop, &f->conf, from, flat_memory, 0, lazy.uffd < 0 ? NULL : &lazy);
}

/* the machine of f->conf, out of @from if that is one */
static struct flat *make(struct flat *f, int r, const struct snap_file *from)
{
	f->ended = eventfd(0, EFD_CLOEXEC);
	if (!r)
		r = conf_check(&f->conf);
	f->loop = r ? NULL : loop_new();
	f->vm = f->loop ? make_machine(f, from) : NULL;
	if (!f->vm) {
		flat_free(f);
		return NULL;
	}
	if (f->uffd < 0)
		snap_close(&f->from);
	snap_open_pagemap(f->vm); /* as hutch.c does */
	f->vm->ended = on_end;
	f->vm->ended_arg = f;
	return f;
}

struct flat *flat_restore(int fd, ...)
{
	struct flat *f = begin();
	char link[64], path[PATH_MAX];
	const char *key, *value;
	struct snap_info info;
	struct conf_ref ref;
	va_list ap;
	int r;

	if (!f)
		return NULL;
	r = snap_open(&f->from, fcntl(fd, F_DUPFD_CLOEXEC, 0), "test");
	if (!r && f->from.wanted) { /* they are looked for where it lies */
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		r = realpath(link, path) ? snap_open_parents(&f->from, path, false) : -errno;
	}
	if (!r)
		r = snap_check(&f->from, &info, &f->conf);
	if (!r)
		r = make_console(f);
	va_start(ap, fd);
	while (!r && (key = va_arg(ap, const char *))) {
		value = va_arg(ap, const char *);
		r = conf_change(&f->conf, key, value, &ref);
	}
	va_end(ap);
	return make(f, r, &f->from);
}

struct flat *flat_new(const char *guest, ...)
{
	struct flat *f = begin();
	const char *key, *value;
	char path[CONF_PATH];
	va_list ap;
	int r;

	if (!f)
		return NULL;
	conf_defaults(&f->conf);
	r = make_console(f);
	if (!r)
		r = conf_set(&f->conf, "test", "kernel", flat_path(guest, path, sizeof(path)));
	if (!r)
		r = conf_set(&f->conf, "test", "memory", "64M");
	va_start(ap, guest);
	while (!r && (key = va_arg(ap, const char *))) {
		value = va_arg(ap, const char *);
		r = conf_set(&f->conf, "test", key, value);
	}
	va_end(ap);
	return make(f, r, NULL);
}

static void *run_loop(void *arg)
{
	loop_run(arg);
	return NULL;
}

int flat_start(struct flat *f)
{
	int r = vm_start(f->vm);

	if (!r)
		r = -pthread_create(&f->thread, NULL, run_loop, f->loop);
	f->has_thread = !r;
	return r;
}

void flat_read(struct flat *f)
{
	ssize_t n;

	while (f->len < sizeof(f->text) - 1 &&
	       (n = read(f->out, f->text + f->len, sizeof(f->text) - 1 - f->len)) > 0)
		f->len += (size_t)n;
	f->text[f->len] = '\0';
}

enum vm_end flat_wait(struct flat *f, unsigned seconds)
{
	struct pollfd p[2] = { { f->ended, POLLIN, 0 }, { f->stalled ? -1 : f->out, POLLIN, 0 } };
	uint64_t end = now_ns() + seconds * 1000000000ULL;

	while (!p[0].revents && now_ns() < end) {
		poll(p, 2, 100);
		if (!f->stalled)
			flat_read(f);
	}
	pthread_mutex_lock(&f->vm->event_lock); /* for what the machine has left in memory */
	pthread_mutex_unlock(&f->vm->event_lock);
	return p[0].revents ? f->vm->end : VM_RUNNING;
}

int flat_wait_text(struct flat *f, const char *part)
{
	struct pollfd p = { f->out, POLLIN, 0 };

	for (unsigned i = 0; i < 100 && !strstr(f->text, part); i++) {
		poll(&p, 1, 100);
		flat_read(f);
	}
	return strstr(f->text, part) ? 0 : -ETIMEDOUT;
}

enum vm_end flat_run(struct flat *f, unsigned seconds)
{
	return flat_start(f) ? VM_ERROR : flat_wait(f, seconds);
}

struct job {
	struct loop_call call;
	struct vm *vm;
	int (*fn)(struct vm *vm);
	int result, done;
};

static void run_job(void *arg)
{
	struct job *job = arg;
	uint64_t one = 1;

	job->result = job->fn(job->vm);
	if (write(job->done, &one, sizeof(one)) < 0)
		abort();
}

int flat_call(struct flat *f, int (*fn)(struct vm *vm))
{
	struct job job = { .vm = f->vm, .fn = fn, .done = eventfd(0, EFD_CLOEXEC) };
	uint64_t n;

	job.call = (struct loop_call){ .fn = run_job, .arg = &job };
	loop_call(f->loop, &job.call);
	if (read(job.done, &n, sizeof(n)) < 0)
		abort();
	close(job.done);
	return job.result;
}

int flat_pause(struct flat *f)
{
	return flat_call(f, vm_user_pause);
}

int flat_resume(struct flat *f)
{
	return flat_call(f, vm_user_resume);
}

static struct {
	int fd, level;
	const uint8_t *parent;
	int told; /* eventfd */
	struct flat_live came;
} live;

static void tell_live(void *arg, int r, void *blob)
{
	uint64_t one = 1;

	(void)arg;
	live.came = (struct flat_live){ .result = r };
	if (r < 0) {
		snprintf(live.came.text, sizeof(live.came.text), "%s", err_last());
	} else {
		live.came.still_us = strtoul(blob, NULL, 10);
		live.came.whole = strstr(blob, " whole") != NULL;
	}
	free(blob);
	if (write(live.told, &one, sizeof(one)) < 0)
		abort();
}

int flat_live_on_loop(struct vm *vm, int fd, int level, const uint8_t *parent)
{
	const struct asker who = { .tell = tell_live };
	const struct snap_order how = {
		.label = "a label", .level = level, .parent = parent, .who = &who
	};
	int told = eventfd(0, EFD_CLOEXEC), r = snap_live(vm, fd, &how);

	if (r != -EINPROGRESS) {
		close(told);
		return r;
	}
	live.told = told;
	return 0;
}

static int begin_live(struct vm *vm)
{
	return flat_live_on_loop(vm, live.fd, live.level, live.parent);
}

int flat_live_begin(struct flat *f, int fd, int level, const uint8_t *parent)
{
	live.fd = fd;
	live.level = level;
	live.parent = parent;
	return flat_call(f, begin_live);
}

struct flat_live flat_live_end(void)
{
	struct pollfd p = { live.told, POLLIN, 0 };
	bool told = poll(&p, 1, 60000) == 1;

	close(live.told);
	return told ? live.came : (struct flat_live){ .result = -ETIME };
}

pid_t flat_packer(pid_t parent)
{
	DIR *dir = opendir("/proc");
	const struct dirent *e;
	int found = 0, pid, ppid;
	char path[300], name[32];

	while (!found && (e = readdir(dir))) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%s/stat", e->d_name);
		f = e->d_name[0] >= '1' && e->d_name[0] <= '9' ? fopen(path, "r") : NULL;
		if (f && fscanf(f, "%d (%31[^)]) %*c %d", &pid, name, &ppid) == 3 &&
		    ppid == parent && strcmp(name, "peer"))
			found = pid;
		if (f)
			fclose(f);
	}
	closedir(dir);
	return found;
}

void flat_free(struct flat *f)
{
	if (!f)
		return;
	if (f->has_thread) {
		loop_stop(f->loop);
		pthread_join(f->thread, NULL);
	}
	vm_free(f->vm);
	snap_close(&f->from);
	cleanup_close(&f->from.fd);
	cleanup_close(&f->uffd);
	loop_free(f->loop);
	cleanup_close(&f->in);
	cleanup_close(&f->out);
	cleanup_close(&f->guest[0]);
	cleanup_close(&f->guest[1]);
	cleanup_close(&f->ended);
	free(f);
}

void flat_freep(struct flat **f)
{
	flat_free(*f);
}

volatile uint32_t *flat_word(struct flat *f, gpa_t gpa)
{
	for (unsigned i = 0; i < f->vm->mem.n; i++) {
		const struct gmem_slot *s = &f->vm->mem.slot[i];

		if (gpa >= s->gpa && gpa - s->gpa < s->len)
			return (volatile uint32_t *)(void *)(s->hva + (gpa - s->gpa));
	}
	abort();
}

bool flat_until(struct flat *f, gpa_t gpa, uint32_t value)
{
	for (unsigned i = 0; i < 5000; i++) {
		if (*flat_word(f, gpa) == value)
			return true;
		sleep_ms(1);
	}
	return false;
}

bool flat_until_least(struct flat *f, gpa_t gpa, uint32_t value)
{
	for (unsigned i = 0; i < 5000; i++) {
		if (*flat_word(f, gpa) >= value)
			return true;
		sleep_ms(1);
	}
	return false;
}

bool flat_until_set(struct flat *f, gpa_t gpa)
{
	return flat_until_least(f, gpa, 1);
}

long proc_status(const char *key)
{
	cleanup_fd int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf) - 1);
	const char *p;

	buf[n > 0 ? n : 0] = '\0';
	p = strstr(buf, key);
	return p ? strtol(p + strlen(key) + 1, NULL, 10) : -1;
}

unsigned entries(const char *folder)
{
	DIR *dir = opendir(folder);
	unsigned n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}
