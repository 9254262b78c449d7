/*
 * hutch.h - microVMs inside your program (libhutch)
 *
 *	struct hutch *h = hutch_new();
 *
 *	if (hutch_set(h, "kernel", "vmlinuz") || hutch_set(h, "memory", "256M") ||
 *	    hutch_start(h) || hutch_wait(h, -1, &result))
 *		fprintf(stderr, "%s\n", hutch_error(h));
 *	hutch_free(h);
 *
 * Functions return 0 or a negative errno; hutch_error() then has the sentence
 * for a person.  A handle is used by one thread at a time; any number of
 * handles live side by side.  The library never calls exit(), prints only
 * warnings, on stderr unless told otherwise, and uses the signal SIGRTMIN with an empty handler.
 *
 * The key "jail" is none by default, because another value is about your whole
 * process and cannot be taken back.  With basic, hutch_start() gives up, once
 * all is open and before the guest runs: capabilities (of the thread that calls
 * it and those that come after it), new privileges by execve(), core files, and
 * every system call but those of a running machine, of hutch_free(), and of who
 * keeps files and relays bytes meanwhile.  The machine's own threads, which a
 * guest talks to, have a filter that is narrower still: they open, make and
 * rename nothing.  A second hutch_start() fails with -EBUSY; what is not allowed
 * ends the process with status 125 and a line on stderr that names the call
 * (SIGSYS is used for that).  So make it the last thing your process starts, or
 * let it be a process of its own.
 */
#ifndef HUTCH_H
#define HUTCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define HUTCH_VERSION "0.1.0"

struct hutch;

struct hutch *hutch_new(void);	  /* NULL: out of memory */
void hutch_free(struct hutch *h); /* ends the machine if it runs; NULL is fine */
const char *hutch_error(const struct hutch *h);
/* the -errno of what the sentence tells, where it was found; what was returned may be less exact */
int hutch_error_code(const struct hutch *h);

/* set one key (see hutch_key()), as on the command line without the dashes; a list appends,
 * and "vsock@0.path" is one value of what is in it already.
 * "disk@0.iops" is one of the first disk, "disk@0" several ("iops=100,bw=1M").  Of a running
 * machine only some keys can be changed, those that hutch_key() calls live. */
int hutch_set(struct hutch *h, const char *key, const char *value);
/* the value of a key that is not a list, or of one element
 * ("vsock@0.path"), as text: -EINVAL, -E2BIG */
int hutch_get(struct hutch *h, const char *key, char *buf, size_t size);
/* the same of a number, a size (bytes) or a time (ms): -EINVAL */
int hutch_get_number(struct hutch *h, const char *key, uint64_t *ret);
/* merge a YAML or JSON file, or a TOML one if its name ends in .toml; and before it what it extends
 */
int hutch_load(struct hutch *h, const char *path);
/* the same of several: first all templates, those that files extend and then those in @file, so
 * that each file can change what any of them says; then the files, each over those before it */
struct hutch_file {
	const char *path;
	unsigned flags;
};
#define HUTCH_FILE_OPTIONAL 1u /* one that is not there is no error */
/* nobody named it: only if it belongs to the caller or root and not everybody may write it (an
 * optional one is passed over with a warning if not), and only with keys that hutch_key() calls
 * inner and paths beneath its own folder: -EACCES */
#define HUTCH_FILE_OWN	    2u
#define HUTCH_FILE_TEMPLATE 4u /* below all files that are none */
int hutch_load_files(struct hutch *h, const struct hutch_file *file, unsigned n);
/* one file's bytes, from memory; it cannot extend another. @name stands in messages */
int hutch_load_text(struct hutch *h, const char *name, const void *text, size_t len);
/* what hutch_set() sets from here on is said to come from @what ("--memory"); NULL: from nobody */
void hutch_from(struct hutch *h, const char *what);
/* who named a key: what hutch_from() said, or FILE:LINE; NULL: nobody, it has its default */
const char *hutch_origin(struct hutch *h, const char *key);
/* would hutch_start() take what the keys ask for, as far as it
 * can be told without this host? -EINVAL */
int hutch_check(struct hutch *h);
/* empty a list, so that the next hutch_set() replaces what a file gave */
int hutch_clear(struct hutch *h, const char *key);

/* the keys there are, in order: -ENOENT past the last */
struct hutch_key {
	const char *name, *arg, *dflt,
		*help;	 /* arg NULL: a switch; dflt NULL: none; "[...]": may be left out */
	bool list, many; /* a list; one that takes more than one */
	bool live;	 /* can be changed while the machine runs */
	bool box;	 /* of a sandbox; of no use to a machine without an agent */
	bool file;	 /* of a file: hutch_set() does not take it */
	bool made;	 /* its guest knows it: a snapshot keeps it */
	bool inner;	 /* a HUTCH_FILE_OWN may set it: it does not lead out of the guest */
};
int hutch_key(unsigned i, struct hutch_key *ret);
/* the keys within key @i, where it has some ("format" of "disk"), in order */
int hutch_subkey(unsigned i, unsigned k, struct hutch_key *ret);

/* which of @names (NULL-terminated) was meant by @word? NULL if none is close */
const char *hutch_nearest(const char *word, const char *const *names);

/* make the machine and let it run; -EINVAL: what the keys ask for makes no sense, on any host */
int hutch_start(struct hutch *h);

enum hutch_end {
	HUTCH_POWEROFF = 1,
	HUTCH_REBOOT,
	HUTCH_PANIC,
	HUTCH_TRIPLE_FAULT,
	HUTCH_ERROR,   /* of the host or of KVM */
	HUTCH_STOPPED, /* by hutch_stop() or hutch_free() */
};

struct hutch_result {
	enum hutch_end end;
	char text[512];		  /* what happened, as a sentence */
	uint64_t console_dropped; /* bytes of output that no reader took */
	unsigned resets;
};

/* wait for the machine's end: -ETIMEDOUT after @timeout_ms (-1: none) */
int hutch_wait(struct hutch *h, int timeout_ms, struct hutch_result *ret);
/* readable once the machine has ended; for poll(2), not to be read or closed */
int hutch_event_fd(const struct hutch *h);

int hutch_pause(struct hutch *h);
int hutch_resume(struct hutch *h);
int hutch_stop(struct hutch *h); /* at once, without asking the guest */
/* @fn is told of each pause and resume, also of those asked for over the control socket, before
 * they are answered; on a thread of its own, which in the jail may do what yours may. Before
 * hutch_start() */
void hutch_on_pause(struct hutch *h, void (*fn)(void *arg, bool paused), void *arg);

/*
 * hutch_snapshot() - the whole machine into @fd, an empty file that is open for writing at any
 * place
 *
 * It stands still meanwhile, and goes on as if nothing had been.  @level is zlib's, 0 to 9 (-1:
 * what suits); @label may be NULL.  What is in the file after a failure is no snapshot.  -EINVAL,
 * or the -errno of the writing.
 *
 * What was written to disks of format=cow is in it if their overlay has no name, and with
 * hutch_snapshot_disks() also if it has; other images are only named there, and a restore refuses
 * one that was written since.
 */
int hutch_snapshot(struct hutch *h, int fd, const char *label, int level);
void hutch_snapshot_disks(struct hutch *h, bool named);

/*
 * hutch_snapshot_live() - the same, but it stands still only until a process that is forked from
 * this one has its memory, and packs it
 *
 * Returns when that is done: for how many microseconds the machine stood still.  That process ends
 * with the machine, and this one gets a SIGCHLD when it ends; memory that the guest changes
 * meanwhile is there twice.  -EBUSY while another one is made so, -ECANCELED where the machine
 * ended, -EAGAIN or -ENOMEM where there can be no process.
 */
int hutch_snapshot_live(struct hutch *h, int fd, const char *label, int level);

/*
 * A child is a snapshot without the memory that is as it was in another, its parent, and of no use
 * without that.  hutch_parent_open() opens that with all of its own parents, for a child that is to
 * be at @path: NULL with a message where one of them is there now, or not what it should be.
 */
struct hutch_parent;
struct hutch_parent *hutch_parent_open(struct hutch *h, const char *parent, const char *path);
const char *hutch_parent_id(const struct hutch_parent *p);
void hutch_parent_free(struct hutch_parent *p);
/*
 * hutch_snapshot_child() - hutch_snapshot() of what has changed since
 *
 * 0: @fd is the child, made at once.  1: the machine could not tell what has changed, and @fd is a
 * whole snapshot, not packed, of which hutch_parent_compare() makes the child; what changes from
 * here on it can tell.
 */
int hutch_snapshot_child(struct hutch *h, int fd, const char *label, int level,
			 const struct hutch_parent *p);
/* the same as hutch_snapshot_live() does it; *@ret_still_us unless that is NULL: for how long the
 * machine stood still */
int hutch_snapshot_live_child(struct hutch *h, int fd, const char *label, int level,
			      const struct hutch_parent *p, unsigned *ret_still_us);
/* the child of a whole snapshot of the same machine, @whole, into the empty file @fd: -EINVAL,
 * -EBADMSG, or the -errno of the writing */
int hutch_parent_compare(struct hutch *h, const struct hutch_parent *p, int whole, int fd,
			 int level);
/* of who asks another process's machine, and was answered "changed": the child in @fd is one */
int hutch_parent_end(struct hutch *h, const struct hutch_parent *p, int fd);

/*
 * hutch_restore() - hutch_start() will make the machine of this file, and it goes on from there
 *
 * Keys that its guest knows have the snapshot's values from here on, whoever named them before
 * (hutch_origin() says so), and hutch_set() refuses others;
 * where its devices lead may be set anew ("disk@0.path", "net@0.tap", "vsock@0.path", which is
 * empty now), and so may all others.  The first hutch_ask() tells a guest with an agent that it was
 * restored: what commands ran in it go on if that comes within 5 s of its time.  -EACCES for
 * another user's file; -EINVAL, -EBADMSG, -ENOTSUP for one that is none, is damaged, or newer;
 * -ENOENT, -ESTALE where its parent is not there, or another.
 */
int hutch_restore(struct hutch *h, const char *path);

/* @fn is told how far it is what takes its time with a snapshot: unpacking it, within
 * hutch_start(), hutch_snap_verify(), hutch_snap_diff(); on the caller's thread, with @done = @all
 * in the end */
void hutch_on_progress(struct hutch *h, void (*fn)(void *arg, uint64_t done, uint64_t all),
		       void *arg);

/*
 * hutch_restore_keep() - its memory is kept unpacked in this folder, which is there, and used from
 * there by the next one
 *
 * All machines of one snapshot then share what they do not change.  The folder is the caller's to
 * clear: files that no machine was made of for a while may be removed at any time.
 */
void hutch_restore_keep(struct hutch *h, const char *folder);

/*
 * hutch_restore_eager() - all of its memory is unpacked before it runs
 *
 * Otherwise that is so only where this host does not let us do better (hutch_lazy(), -errno), or
 * where it is kept unpacked already: the guest runs at once, and waits for what it touches first.
 */
void hutch_restore_eager(struct hutch *h);
int hutch_lazy(void);

/*
 * hutch_warm() - hutch_start() goes on from @path instead of booting, if that is there
 *
 * Where it is not there, or of another machine, this one boots, and is kept there once its agent
 * has called, within the first hutch_job_wait().  @path says which machine and which start of this
 * host it is; it may be removed at any time.  hutch_is_warm() tells whether it booted.
 */
void hutch_warm(struct hutch *h, const char *path);
bool hutch_is_warm(const struct hutch *h);

/*
 * hutch_restore_map() - of a file that the caller has just had made with level 0: its memory is
 * mapped from there, and its checksums are not looked at
 */
void hutch_restore_map(struct hutch *h);

/*
 * hutch_rollback() - the running machine goes back to this snapshot of it, and on from there
 *
 * Its name, its sockets and where its devices lead stay what they are, the connections of its
 * vsock end, and the next hutch_ask() tells its guest, as after hutch_restore().  One that was
 * paused is so no more.  -EINVAL, -ENOTSUP for another machine's snapshot or a disk that was
 * written since, -EBADMSG for a damaged one: nothing has changed.
 */
int hutch_rollback(struct hutch *h, const char *path);
/*
 * hutch_snap_fd() - a descriptor of the snapshot at @path, with all that its parents have of it
 *
 * For the machine of another process, as the request "rollback" of its control socket wants it:
 * that process need not be able to open it.  -errno.
 */
int hutch_snap_fd(struct hutch *h, const char *path);
/* how often this machine was rolled back, by whomever */
unsigned hutch_rollbacks(const struct hutch *h);
/*
 * hutch_renew() - the machine of another process was rolled back to the snapshot at @path: the next
 * hutch_ask() of this handle tells its guest
 *
 * @tree is that machine's, as hutch_tree() has it.  1, or 0 if it has no agent to be told; -EINVAL
 * and those of hutch_restore().
 */
int hutch_renew(struct hutch *h, const char *path, const void *tree, size_t size);

/* which start of this host it is: what was not synced before the last one may not be what was
 * written. -EIO */
#define HUTCH_HOST_BOOT 37
int hutch_host_boot(char ret[HUTCH_HOST_BOOT]);

struct hutch_snap {
	char id[33], name[64], label[128], hutch[32];
	uint64_t created_ms, memory, resident, size; /* of the epoch; bytes: size is on disk */
	bool agent;
	char parent[33];	/* the id of the one that it is the changes of; "": it has all */
	char parent_path[4096]; /* where that was, from its own folder on, or absolute */
};
/* the one that a handle goes on from: -EINVAL if there is none */
int hutch_restored(struct hutch *h, struct hutch_snap *ret);
/* what is in it: the tree's size and *@ret_tree to free() (NULL: not wanted), or -errno; its
 * parent need not be there */
int hutch_snap_look(struct hutch *h, const char *path, struct hutch_snap *ret, void **ret_tree);
/* is each byte of its memory what it was, also of that which is its parents'? -EBADMSG, -ENOENT */
int hutch_snap_verify(struct hutch *h, const char *path);
/*
 * hutch_snap_diff() - what is different in two snapshots
 *
 * @fn is told of each key whose values @a and @b differ ("memory", "disk@0.path"), and of each node
 * of the machine's state ("/state/serial/serial"), where @a and @b name the properties that
 * differ; NULL is in none of them.  Memory is compared if both have as much.  Of disks there is
 * what was written over them, if that is in the snapshots; what one of them alone has written
 * differs, and no bytes of it are told.  1: there is a difference, 0: there is none, -EBADMSG,
 * -ENOENT and the like.
 */
#define HUTCH_DISKS 16
struct hutch_difference {
	struct hutch_diff_part {
		bool compared;			/* else there is nothing more to tell */
		uint64_t chunks, differ, bytes; /* of 64 KiB: all, and that differ; in them */
	} memory, disk[HUTCH_DISKS];
};
int hutch_snap_diff(struct hutch *h, const char *a, const char *b,
		    void (*fn)(void *arg, const char *where, const char *a, const char *b),
		    void *arg, struct hutch_difference *ret);
/*
 * hutch_snap_parent() - where the parent of the snapshot at @path is now
 *
 * Where it was, or under that name in the child's folder, or any *.snap there that is it.  -ENOENT,
 * -ESTALE with what is there instead, -EINVAL if it has none.
 */
int hutch_snap_parent(struct hutch *h, const char *path, char *buf, size_t size);
#define HUTCH_SNAP_DEPTH 64u /* a snapshot and all of its parents */

/*
 * hutch_tree() - the machine as a flattened device tree: what is configured,
 * and once started its state.  Returns its size and *@ret to free(), or -errno.
 */
int hutch_tree(struct hutch *h, void **ret);
/* the node /counters of it alone; no vCPU stops for that: -EINVAL before hutch_start() */
int hutch_counters(struct hutch *h, void **ret);
/* print such a tree, from wherever it came: -EINVAL if it is none */
int hutch_tree_print(const void *tree, size_t size, FILE *out, bool json);

/*
 * What the agent in a guest is asked for; the machine is this handle's own, or another process's
 * whose socket the key "vsock" names.  Descriptors stay the caller's and are left as they are;
 * SIGPIPE has to be ignored.
 */
struct hutch_request {
	enum hutch_ask {
		HUTCH_ASK_EXEC,
		HUTCH_ASK_PUT,	/* an archive on `in` to be unpacked at `path` */
		HUTCH_ASK_GET,	/* `path` as an archive on `out` */
		HUTCH_ASK_TREE, /* what lies below `path`, on `out` */
		HUTCH_ASK_INFO,
		HUTCH_ASK_FREEZE, /* all commands stand still, files are written out */
		HUTCH_ASK_THAW,
		HUTCH_ASK_POWEROFF, /* SIGTERM, and after `grace_ms` SIGKILL, to all */
	} what;
	const char *const *argv, *const *env; /* NULL-terminated; env may be NULL */
	const char *cwd, *user, *path;
	bool tty, detach;
	unsigned columns, rows, grace_ms, flags;
	int in, out, err;	   /* -1: none */
	uint64_t out_max, err_max; /* bytes to pass on, 0: all */
	/* told what the command says, beside its being passed on: @stream is 1 for `out`, 2 for
	 * `err`.  On your thread, within hutch_job_wait(); may be NULL */
	void (*on_output)(void *arg, unsigned stream, const void *data, size_t len);
	void *arg;
	/* makes of @len bytes that were read from `in` what is passed on: at most HUTCH_INPUT_HELD
	 * more, to @out, and how many.  *@leave: the command, which has a terminal, goes on
	 * without us, and the request ends as HUTCH_DONE.  May be NULL */
	size_t (*on_input)(void *arg, const void *data, size_t len, void *out, bool *leave);
	void *in_arg;
};
#define HUTCH_INPUT_HELD 16

struct hutch_exit {
	/* 0..255 as a shell tells it, 128+N for signal N; or 125 to 127 with HUTCH_REFUSED */
	int status;
	enum hutch_how { HUTCH_EXITED, HUTCH_SIGNALED, HUTCH_DONE, HUTCH_REFUSED } how;
	int signal;
	bool core, oom;
	char text[512]; /* HUTCH_REFUSED: why */
	uint64_t user_us, system_us, rss_max, memory_peak;
	uint64_t out_bytes, err_bytes;
	bool out_cut, err_cut;
	/* errno of what ended the reading or writing of a descriptor before its time, but EPIPE */
	int in_error, out_error, err_error;
	/* on the clock of CLOCK_MONOTONIC, 0 where it was not so: the agent called, the guest was
	 * set up, the command ran */
	uint64_t called_ns, ready_ns, started_ns;
	/* on the guest's own clock since its start: its agent was started, and was up */
	uint64_t init_ns, boot_ns;
	/* HUTCH_ASK_INFO; time_ns: the guest's date, 0 of an agent that does not tell */
	uint64_t memory_total, memory_free, cpu_us, processes, uptime_ns, time_ns;
};

struct hutch_job;

/*
 * hutch_tell_time() - the next hutch_ask() sets the guest's clock
 *
 * The first one of a machine that boots or is restored does so anyway; a guest that took its time
 * to hear of it (it may have had to fetch its memory for that) is late by so much.
 */
void hutch_tell_time(struct hutch *h);

/* begin; NULL with a message.  The first of a handle's own machine waits for the agent to be there
 */
struct hutch_job *hutch_ask(struct hutch *h, const struct hutch_request *x);
/*
 * hutch_job_wait() - move data until it has ended, @wake is readable (-1: none), or time is up
 *
 * -EINPROGRESS, once: the command runs now.  -EINTR, -ETIMEDOUT; -ECONNRESET: the agent is lost;
 * -EBUSY: it serves as many requests as it can.
 * Data moves only within this call.
 */
int hutch_job_wait(struct hutch_job *job, int timeout_ms, int wake, struct hutch_exit *ret);
/* to the command's process group; false when that has ended, and only its output is to be written
 */
bool hutch_job_signal(struct hutch_job *job, int signo);
void hutch_job_resize(struct hutch_job *job, unsigned columns, unsigned rows);
bool hutch_job_started(const struct hutch_job *job); /* the command runs */
/* ms since the agent last said anything while it was asked to; 0 when it was not asked */
unsigned hutch_job_silence(struct hutch_job *job);
uint64_t hutch_job_moved(
	const struct hutch_job *job); /* bytes, both ways; grows while there is something to do */
void hutch_job_free(struct hutch_job *job); /* ends the command if it runs */

/* processor time of the machine's CPUs, in ns */
uint64_t hutch_cpu_ns(struct hutch *h);
/* the key "fuel": ms of that time, or instructions of the guest; 0: no limit.  Who asks for it
 * sees to it.  -EINVAL, -ERANGE */
int hutch_fuel(struct hutch *h, uint64_t *ret, bool *ret_instructions);
/* can this host count a guest's instructions? -EACCES, -ENOTSUP: hutch_start() could not, either */
int hutch_can_count(struct hutch *h);
/* those of a machine whose fuel they are: -EIO when the counter was lost, -EINVAL without */
int hutch_instructions(struct hutch *h, uint64_t *ret);
bool hutch_is_paused(const struct hutch *h);
/* how often the guest has broken the rules of a device, which then served it no more until reset */
unsigned hutch_faults(const struct hutch *h);

/*
 * What is said: one line a write(2), for the process as a whole, because stderr is that too.
 * Where lines go and what they are about is told before hutch_start().
 */
enum hutch_level { HUTCH_LOG_ERROR, HUTCH_LOG_WARNING, HUTCH_LOG_INFO, HUTCH_LOG_DEBUG };
/* to @fd [stderr], -1: nowhere; as text, or as JSON: {"ts", "level", "id", "name", "msg", and
 * "code" of an error that has one}, one object a line */
void hutch_log_to(int fd, bool json);
void hutch_log_copy(int fd); /* each line to @fd too, as JSON; -1: no */
/* the correlation id and the name that lines have; NULL leaves one as it is */
void hutch_log_about(const char *id, const char *name);
/* a line among the library's own */
void hutch_log(enum hutch_level level, const char *text);
/* what happened, as a program wants to read it: "event" and @members (",\"key\":1", JSON) stand in
 * the line; only where lines are JSON, so who reads text is told in another way */
void hutch_log_event(enum hutch_level level, const char *event, const char *members,
		     const char *text);
/* a line, as JSON, to @fd alone */
void hutch_log_line(int fd, enum hutch_level level, const char *text);
/* @fn is told what the agent in the guest logs; within hutch_job_wait(). Before hutch_ask() */
void hutch_on_agent_log(struct hutch *h,
			void (*fn)(void *arg, enum hutch_level level, const char *text), void *arg);
/* bytes of the UTF-8 character that @text of @len bytes begins with, 0 if it is none */
size_t hutch_utf8_len(const char *text, size_t len);

/* how long each phase of hutch_start() took: -ENOENT past the last */
struct hutch_phase {
	const char *name;
	double us;
};
int hutch_timing(const struct hutch *h, unsigned i, struct hutch_phase *ret);

/* what this host can do for hutch, one fact at a time: -ENOENT past the last */
struct hutch_fact {
	const char *name;
	enum {
		HUTCH_OK,
		HUTCH_MISSING,
		HUTCH_BROKEN
	} state; /* nice to have, or nothing runs without */
	char text[256];
	const char *fix; /* how to get it, NULL if there is nothing to do */
};
int hutch_fact(unsigned i, struct hutch_fact *ret);
/* the one of that name: -ENOENT if there is none */
int hutch_fact_named(const char *name, struct hutch_fact *ret);

#endif
