/* registry.c - a sandbox as its own process tells of it (theory: registry.h) */
/* #syscalls:caller openat write close */
/* #syscalls:before getrandom getpid faccessat2 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "json.h"
#include "registry.h"
#include "tool.h"
#include "units.h"

#define NAMES_MAX 64 /* how often a name is made up before that is given up */

static int open_end(const struct box *box, const char *file)
{
	return openat(box->dir, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

void box_event(const struct box *box, enum hutch_level level, const char *event, const char *more)
{
	char line[4096], when[TIME_TEXT];
	int fd = open_end(box, "events");
	ssize_t n;

	time_print(realtime_ms(), when);
	n = snprintf(line, sizeof(line),
		     "{\"time\":\"%s\",\"event\":\"%s\",\"id\":\"%s\",\"name\":\"%s\","
		     "\"level\":\"%s\",\"correlation_id\":\"%s\"%s}\n",
		     when, event, box->id, box->name,
		     level == HUTCH_LOG_WARNING ? "warning" : "info", box->correlation_id, more);
	/* one write(2), so that lines of several threads stay whole; a full disk ends no sandbox */
	if (fd >= 0 && n < (ssize_t)sizeof(line))
		n = write(fd, line, (size_t)n);
	if (fd >= 0)
		close(fd);
}

void box_log(const struct box *box, const char *file, enum hutch_level level, const char *fmt, ...)
{
	int fd = open_end(box, file);
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (fd < 0)
		return;
	hutch_log_line(fd, level, text);
	close(fd);
}

/* a process has one sandbox, and more than one thread that tells of it */
static pthread_mutex_t tell_lock = PTHREAD_MUTEX_INITIALIZER;

static int tell_locked(const struct box *box)
{
	int r = record_write(box);

	if (r)
		complain("the state of '%s' cannot be written: %s", box->name, strerror(-r));
	return r;
}

int box_write(struct box *box)
{
	int r;

	pthread_mutex_lock(&tell_lock);
	r = tell_locked(box);
	pthread_mutex_unlock(&tell_lock);
	return r;
}

void box_started(struct box *box)
{
	pthread_mutex_lock(&tell_lock);
	box->started_ms = realtime_ms();
	if (box->status == BOX_STARTING) /* it may be paused by now */
		box->status = BOX_RUNNING;
	tell_locked(box);
	pthread_mutex_unlock(&tell_lock);
	box_event(box, HUTCH_LOG_INFO, "sandbox.start", "");
}

void box_paused(struct box *box, bool paused)
{
	pthread_mutex_lock(&tell_lock);
	if (box->status < BOX_STOPPING) {
		box->status = paused ? BOX_PAUSED : BOX_RUNNING;
		tell_locked(box);
	}
	pthread_mutex_unlock(&tell_lock);
	box_event(box, HUTCH_LOG_INFO, paused ? "sandbox.pause" : "sandbox.resume", "");
}

void box_stopping(struct box *box)
{
	pthread_mutex_lock(&tell_lock);
	box->status = BOX_STOPPING;
	tell_locked(box);
	pthread_mutex_unlock(&tell_lock);
}

/* "lumovari": 4 syllables of 80, easy to say and to type */
static void make_name(char *name)
{
	static const char consonants[] = "bdfghjklmnprstvz", vowels[] = "aeiou";
	uint32_t r;

	while (getrandom(&r, sizeof(r), 0) != sizeof(r))
		;
	for (unsigned i = 0; i < 4; i++, r /= 80) {
		*name++ = consonants[r % 80 / 5];
		*name++ = vowels[r % 5];
	}
	*name = '\0';
}

/* what has the name that is wanted; ROOT/.lock is held. 0: nothing any more */
static int refuse_taken(int root, const char *name)
{
	struct box box;
	int r;

	box_sweep_held(root, name);
	r = box_load(root, name, &box);
	if (r == -ENOENT && faccessat(root, name, F_OK, AT_SYMLINK_NOFOLLOW))
		return 0;
	if (r)
		complain("'%s' is in the folder of sandboxes and is none; remove it, or take "
			 "another --name",
			 name);
	else if (box.alive)
		complain("a sandbox named '%s' runs already; stop it, or take another --name",
			 name);
	else
		complain("a sandbox named '%s' is kept since it ended; 'hutch rm %s' removes it, "
			 "or take another --name",
			 name, name);
	if (!r)
		box_close(&box);
	return -EEXIST;
}

/* ROOT/.lock is held */
static int enter(struct box *box)
{
	bool named = box->name[0];
	int r = -EEXIST;

	for (unsigned i = 0; r == -EEXIST && i < NAMES_MAX; i++) {
		if (!named)
			make_name(box->name);
		r = record_write(box);
		if (!r)
			r = rundir_appear(box->root, box->id, box->name);
		if (r == -EEXIST && named && refuse_taken(box->root, box->name))
			return -EEXIST;
	}
	if (r)
		complain("cannot make the run folder of '%s': %s", box->name, strerror(-r));
	return r;
}

static int begin(struct box *box)
{
	char hidden[64];
	int r = rundir_begin(box->root, box->id, &box->dir, &box->lock);

	if (r)
		complain("cannot make the run folder of '%s': %s", box->name, strerror(-r));
	else
		r = enter(box);
	if (r) {
		snprintf(hidden, sizeof(hidden), ".new-%s", box->id);
		rundir_remove(box->root, hidden, box->id);
	}
	return r;
}

int box_make(struct box *box)
{
	int hold, r;

	if (rundir_check(box->name[0] ? box->name : "generated"))
		return -EINVAL;
	box->root = rundir_root(true);
	if (box->root < 0)
		return box->root;
	box->dir = box->lock = -1;
	box_new_id(box->id);
	if (!box->correlation_id[0])
		memcpy(box->correlation_id, box->id, sizeof(box->id));
	box->pid = getpid();
	box->status = BOX_STARTING;
	box->created_ms = realtime_ms();
	box->started_ms = box->ended_ms = 0;
	box->exit_code = 0;
	box->reason[0] = '\0';
	hold = rundir_hold(box->root);
	r = hold < 0 ? hold : begin(box);
	if (hold >= 0)
		close(hold);
	else
		complain("cannot lock the folder of sandboxes: %s", strerror(-r));
	box->alive = !r;
	if (r)
		box_close(box);
	return r;
}

static void tell_end(const struct box *box)
{
	char *more = NULL;
	size_t size;
	FILE *out = open_memstream(&more, &size);

	if (!out)
		return;
	fprintf(out, ",\"exit_code\":%d,\"reason\":", box->exit_code);
	json_text(out, box->reason);
	fclose(out);
	box_event(box, HUTCH_LOG_INFO, "sandbox.end", more);
	free(more);
}

void box_end(struct box *box)
{
	box->ended_ms = realtime_ms();
	tell_end(box);
	record_exit(box, box->exit_code, box->reason);
	if (box->keep) {
		box->status = BOX_EXITED;
		box_write(box);
	} else {
		rundir_remove(box->root, box->name, box->id);
	}
	box_close(box);
}
