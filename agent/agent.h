/*
 * agent.h - between the parts of the agent: sessions, commands, files, the operating system
 *
 * What differs between operating systems is in os_*.c and exec_*.c alone.
 */
#ifndef HUTCH_AGENT_H
#define HUTCH_AGENT_H

#include <sys/resource.h>
#include <sys/types.h>

#include "proto.h"

/* --- os_*.c: this guest as a whole --- */

/* why a request failed, for a person */
struct why {
	enum proto_error code;
	int error; /* errno, or 0 */
	char text[256];
};

/* returns -1 */
int refuse(struct why *why, enum proto_error code, int error, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* what SETUP asks for; texts are NULL and numbers 0 where it says nothing */
struct setup_mount {
	char *device, *type, *target, *options;
};

#define SETUP_MOUNTS 16
#define SETUP_DNS    4
#define SETUP_MACS   8

struct setup {
	char *hostname, *root, *root_type, *net, *id;
	char *dns[SETUP_DNS];
	unsigned dnss;
	uint64_t root_flags, layer_size, time_ns, pids_max, restored;
	const uint8_t *entropy;
	size_t entropy_len;
	struct setup_mac {
		uint8_t from[6], to[6];
	} mac[SETUP_MACS];
	unsigned macs;
	struct setup_mount mount[SETUP_MOUNTS];
	unsigned mounts;
};

/* what the agent holds of its guest; -1 for what it does not have */
struct os {
	int modules; /* the folder of the kernel's modules */
	int cgroup;  /* of all commands: for CLONE_INTO_CGROUP */
	bool root;   /* the root has been changed already */
	bool rest;   /* and the drivers of all devices are being loaded */
	pid_t dhcp;  /* keeps the address of a network; 0: none does */
};

/*
 * As process 1: make this guest fit to run things, and vsock to be there; failures go to the
 * console, which is also stdout and stderr from then on.  Elsewhere only: take up what is there.
 * The agent is then safe from SIGPIPE and from a lack of memory, see os_child().
 */
void os_boot(struct os *os);
/* in the child of a fork, before it becomes somebody else's: undo what os_boot() made the agent */
void os_child(void);
int os_setup(struct os *os, const struct setup *setup, struct why *why); /* 0, or -1 with *@why */
/* ends all commands; does not return; nothing is left to be written */
void os_poweroff(struct os *os) __attribute__((noreturn));

struct os_info {
	uint64_t memory_total, memory_free; /* bytes; free: what a new process could have */
	uint64_t cpu_us;    /* of all commands, or of the guest where it has no cgroups */
	uint64_t processes; /* threads count too; of the same */
	uint64_t uptime_ns;
	uint64_t time_ns; /* of the epoch */
};

void os_info(const struct os *os, struct os_info *ret);

/* --- cgroup_*.c: all commands together; where there are no cgroups, zeros and no effect --- */

struct work {
	uint64_t cpu_us;
	uint64_t processes;
};

void work_read(const struct os *os, struct work *ret);
/* each is a file of its own to read, and these are read for each command */
uint64_t work_ooms(const struct os *os);	   /* processes killed for lack of memory */
uint64_t work_memory_peak(const struct os *os);	   /* bytes */
int work_kill(const struct os *os);		   /* waits until they are gone; or -errno */
int work_freeze(const struct os *os, bool freeze); /* waits until they stand still; or -errno */

/* --- exec_*.c: one command --- */

#define EXEC_ITEMS   65536
#define EXEC_RLIMITS 16

struct exec_rlimit {
	uint64_t what, soft, hard;
};

struct exec_request {
	char **arg, **env; /* NULL-terminated */
	unsigned args, envs;
	char *cwd, *user;
	uint64_t flags, columns, rows;
	struct exec_rlimit rlimit[EXEC_RLIMITS];
	unsigned rlimits;
};

struct exec_child {
	pid_t pid;
	/* our ends, not blocking, -1 for what there is not; a terminal is out[0] and, again, in */
	int in, out[2];
};

/* 0, or -1 with *@why: the command did not come into being */
int exec_start(const struct exec_request *x, struct exec_child *ret, struct why *why);
/* the same for a function of ours, in a process of its own */
int exec_call(int (*fn)(void *arg), void *arg, struct exec_child *ret, struct why *why);
int exec_signal(pid_t pid, uint64_t signo); /* to its process group; -errno */
void exec_resize(int terminal, uint64_t columns, uint64_t rows);

/* --- request.c: 0, or -1 with *@why; what is parsed is to be freed all the same --- */

int exec_parse(struct proto_reader r, struct exec_request *x, struct why *why);
void exec_request_free(struct exec_request *x);
/* its entropy lies in the body */
int setup_parse(struct proto_reader r, struct setup *x, struct why *why);
void setup_free(struct setup *x);

/* --- answer.c --- */

void answer_exit(struct proto_buf *out, int status, const struct rusage *usage,
		 uint64_t ooms_before);
void answer_info(struct proto_buf *out);

/* --- session.c: one connection --- */

struct session;
struct pollfd;

#define SESSION_FDS 4

struct session *session_new(int fd); /* takes @fd; NULL: no memory */
void session_free(struct session *s);
bool session_takes_logs(const struct session *s); /* its host wants them, and has read the last */
void session_turn_away(int fd); /* there is no room for one: tell it so; takes @fd */
/* what to wait for: exactly SESSION_FDS entries, -1 for none; ms until time matters, or -1 */
int session_poll(const struct session *s, struct pollfd *p);
/* those are ready: false when the session is over */
bool session_step(struct session *s, const struct pollfd *p);
/* a child has ended: true if it was this session's */
bool session_reaped(struct session *s, pid_t pid, int status, const struct rusage *usage);
/* every command is to end: SIGTERM, or SIGKILL */
void session_end_command(struct session *s, int signo);
bool session_is_busy(const struct session *s);
/* it is over: has it a command that may outlive it? That is adrift from then on, see session.c */
bool session_cast_off(struct session *s);
/* the host has come back: it goes on for good; true if that was not known yet */
bool session_keep(struct session *s);

/* --- log.c: the agent's own lines --- */

void log_open(void);		  /* before all others */
void log_about(const char *what); /* the correlation id, for the console */
/* errno stays */
void log_say(enum proto_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int log_fd(void);		     /* readable when there is a line; -1 */
bool log_waits(void);		     /* a line was read, and not taken */
bool log_take(struct proto_buf *to); /* the next line as a frame; false: there is none */

/* --- orphan.c: terminals that were left --- */

#define ORPHANS 64

bool orphan_add(int fd); /* takes @fd; false if there are too many */
bool orphan_any(void);
unsigned orphan_poll(struct pollfd *p); /* at most ORPHANS entries: how many */
void orphan_step(const struct pollfd *p, unsigned n);

/* --- agent.c --- */

extern struct os agent_os;
extern bool agent_frozen; /* all commands stand still, at the host's wish */

void agent_power_off(uint64_t grace_ms); /* once all commands have ended, or after that time */
void agent_restored(void);		 /* all commands adrift go on */
uint64_t agent_now_ms(void);
/* since the guest's clock began: when the agent was started, and when it was ready to serve */
uint64_t agent_began_ns(void);
uint64_t agent_up_ns(void);

#endif
