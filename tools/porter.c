/* #syscalls:before capget capset */
#include <errno.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "porter.h"
#include "tool.h"

struct porter {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	void (*fn)(void *arg); /* NULL: nothing to do */
	void *arg;
	bool ready, stop;
};

/* of this thread alone; what it does not have it does not get */
static bool keep_one(void)
{
	struct __user_cap_header_struct self = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct has[_LINUX_CAPABILITY_U32S_3] = { 0 };
	struct __user_cap_data_struct keeps[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (syscall(SYS_capget, &self, has))
		return false;
	keeps[0].permitted = keeps[0].effective = has[0].permitted & 1U << CAP_DAC_OVERRIDE;
	return !syscall(SYS_capset, &self, keeps);
}

static void *work(void *arg)
{
	struct porter *p = arg;
	bool kept = keep_one();

	pthread_mutex_lock(&p->lock);
	p->ready = kept;
	p->stop = !kept;
	pthread_cond_broadcast(&p->changed);
	while (!p->stop) {
		if (!p->fn) {
			pthread_cond_wait(&p->changed, &p->lock);
			continue;
		}
		pthread_mutex_unlock(&p->lock);
		p->fn(p->arg);
		pthread_mutex_lock(&p->lock);
		p->fn = NULL;
		pthread_cond_broadcast(&p->changed);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

struct porter *porter_new(void)
{
	struct porter *p = calloc(1, sizeof(*p));
	int r = p ? 0 : ENOMEM;

	if (p) {
		pthread_mutex_init(&p->lock, NULL);
		pthread_cond_init(&p->changed, NULL);
		r = pthread_create(&p->thread, NULL, work, p);
	}
	if (r) {
		complain("no thread that carries files: %s", strerror(r));
		free(p);
		return NULL;
	}
	pthread_mutex_lock(&p->lock);
	while (!p->ready && !p->stop)
		pthread_cond_wait(&p->changed, &p->lock);
	pthread_mutex_unlock(&p->lock);
	if (p->ready)
		return p;
	complain("the thread that carries files cannot drop its capabilities");
	porter_free(p);
	return NULL;
}

void porter_begin(struct porter *p, void (*fn)(void *arg), void *arg)
{
	pthread_mutex_lock(&p->lock);
	p->arg = arg;
	p->fn = fn;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

void porter_wait(struct porter *p)
{
	pthread_mutex_lock(&p->lock);
	while (p->fn)
		pthread_cond_wait(&p->changed, &p->lock);
	pthread_mutex_unlock(&p->lock);
}

void porter_free(struct porter *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
