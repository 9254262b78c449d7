/* restore.c - a snapshot as a person names it */
/* #syscalls:before access getcwd readlink */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attend.h"
#include "image_build.h"
#include "json.h"
#include "progress.h"
#include "restore.h"
#include "trim.h"
#include "units.h"

#define KEYS_MAX   128
#define ANSWER_MS  30000
#define LATE_MS	   200 /* a clock may be wrong by as much */
#define LATE_TRIES 5
#define SLOW_MS	   5000

int snap_path(const char *what, char *buf, size_t size)
{
	char folder[PATH_MAX];
	int n;

	if (strchr(what, '/') || !access(what, F_OK) ||
	    snap_store_path(false, folder, sizeof(folder)))
		n = snprintf(buf, size, "%s", what);
	else
		n = snprintf(buf, size, "%s/%s.snap", folder, what);
	if (n < (int)size)
		return 0;
	complain("snapshot %s: its path is too long", what);
	return -1;
}

int snap_find(const char *what, char *buf, size_t size)
{
	if (snap_path(what, buf, size))
		return -1;
	if (!access(buf, F_OK) || buf[0] != '/' || strchr(what, '/'))
		return 0; /* who opens a file says best what is wrong with it */
	complain("there is no snapshot '%s', here or in the store; 'hutch snap ls' lists those "
		 "that there are",
		 what);
	return -1;
}

/* without a place for it each machine unpacks its own */
static void keep_memory(struct hutch *h)
{
	char folder[PATH_MAX];

	if (!image_cache_there(folder, sizeof(folder)))
		return;
	kept_trim(folder);
	hutch_restore_keep(h, folder);
}

/*
 * What flags ask of the machine, of keys that the snapshot is going to overwrite: a value each in
 * @asked.  Files and the environment are about machines in general, a flag is about this one.
 */
static int note_flags(struct hutch *h, char **asked)
{
	struct hutch_key key;
	const char *by;
	char value[4096];

	for (unsigned i = 0; i < KEYS_MAX && !hutch_key(i, &key); i++) {
		by = hutch_origin(h, key.name);
		if (!key.made || !by || *by != '-')
			continue;
		if (key.list) {
			complain("%s: a snapshot's machine has what it had when that was made; "
				 "'hutch restore' can lead its disks and networks elsewhere",
				 by);
			return -1;
		}
		if (hutch_get(h, key.name, value, sizeof(value)))
			return -1;
		asked[i] = strdup(value);
	}
	return 0;
}

/* they may ask for what the machine is, and for nothing else */
static int check_flags(struct hutch *h, char **asked)
{
	struct hutch_key key;

	for (unsigned i = 0; i < KEYS_MAX && !hutch_key(i, &key); i++)
		if (asked[i] && hutch_set(h, key.name, asked[i]))
			return -1;
	return 0;
}

static int restore(struct hutch *h, const char *path)
{
	char *asked[KEYS_MAX] = { NULL };
	int r = note_flags(h, asked);

	if (!r && (hutch_restore(h, path) || check_flags(h, asked))) {
		complain("%s", hutch_error(h));
		r = -1;
	}
	for (unsigned i = 0; i < KEYS_MAX; i++)
		free(asked[i]);
	return r;
}

void restore_members(const struct hutch_snap *snap, const char *path, char buf[RESTORE_MEMBERS])
{
	int n = snprintf(buf, RESTORE_MEMBERS, ",\"snapshot\":\"%s\"", snap->id);
	char whole[PATH_MAX];
	FILE *out;

	out = fmemopen(buf + n, RESTORE_MEMBERS - (size_t)n, "w");
	if (!out)
		return;
	fputs(",\"path\":", out);
	json_text(out, realpath(path, whole) ? whole : path);
	if (fflush(out) || ftell(out) >= RESTORE_MEMBERS - n) /* half of a path is none */
		buf[n] = '\0';
	fclose(out);
}

static char unpacked[] = "unpacked";

int restore_guest(struct hutch *h, const char *what, bool box, char members[RESTORE_MEMBERS])
{
	char path[PATH_MAX], agent[8];
	struct hutch_snap snap;

	if (snap_find(what, path, sizeof(path)))
		return -1;
	if (restore(h, path))
		return -1;
	members[0] = '\0';
	if (!hutch_restored(h, &snap))
		restore_members(&snap, path, members);
	keep_memory(h);
	hutch_on_progress(h, progress_tell, unpacked);
	if (!box || (!hutch_get(h, "agent", agent, sizeof(agent)) && !strcmp(agent, "yes")))
		return 0;
	complain("snapshot %s: is of a machine without an agent, in which no command can be run; "
		 "'hutch restore %s' lets it go on",
		 path, what);
	return -1;
}

int restore_set(struct hutch *h, const char *key, const char *value)
{
	if (!hutch_set(h, key, value))
		return 0;
	complain("%s", hutch_error(h));
	return -1;
}

static const char *ask_once(struct hutch *h, int *ret)
{
	const struct hutch_request ask = { .what = HUTCH_ASK_INFO, .in = -1, .out = -1, .err = -1 };
	struct hutch_job *job = hutch_ask(h, &ask);
	static struct hutch_exit answer;
	int r = -EINVAL;

	if (job)
		r = hutch_job_wait(job, ANSWER_MS, hutch_event_fd(h), &answer);
	hutch_job_free(job);
	*ret = r;
	return !r		 ? answer.how == HUTCH_REFUSED ? answer.text : NULL
	       : r == -ETIMEDOUT ? "the guest's agent does not answer"
	       : r == -EINTR	 ? "the machine ended before its agent answered"
				 : hutch_error(h);
}

/* A guest that is slow to hear what time it is learns what time it was.  One whose memory is slow
 * to come may not even take a connection in the time that it has for that: a reset that came at
 * once is an answer, a late one is none. */
const char *restore_greet(struct hutch *h)
{
	uint64_t first = monotonic_ms(), begin, took;
	const char *why;
	int r;

	for (unsigned told = 0; told < LATE_TRIES;) {
		begin = monotonic_ms();
		why = ask_once(h, &r);
		took = monotonic_ms() - begin;
		if (r == -ECONNRESET && took >= SLOW_MS && begin - first < ANSWER_MS)
			continue;
		if (why || took < LATE_MS)
			return why;
		told++;
		hutch_tell_time(h);
	}
	return NULL;
}

int restore_machine(struct hutch *h, const char *what, const char *name, const char *console,
		    struct attend *how)
{
	struct hutch_snap snap;
	char agent[8];

	if (restore_guest(h, what, false, how->restored) || hutch_restored(h, &snap) ||
	    hutch_get(h, "agent", agent, sizeof(agent)))
		return -1;
	if (!strcmp(agent, "yes"))
		how->started = restore_greet;
	snprintf(how->command, sizeof(how->command), "restore %s", what);
	if (!console)
		console = how->started ? "none" : "-";
	/* a sandbox is reached by its name alone, and so it has one; a raw machine may be without
	 */
	return restore_set(h, "name", name ? name : snap.name) || restore_set(h, "jail", "basic") ||
			       restore_set(h, "console", console)
		       ? -1
		       : 0;
}
