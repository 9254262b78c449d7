/*
 * command.h - a command in a guest, as if it were a local one (layer 6)
 *
 * Its bytes pass from and to our descriptors, our signals and our terminal's
 * size go to it, limits end it.  run, exec and shell are this.
 */
#ifndef HUTCH_COMMAND_H
#define HUTCH_COMMAND_H

#include "tool.h"

/* limits that are answered as one likes; that of the boot always ends all */
enum command_rule { RULE_TIMEOUT, RULE_CPU_TIME, RULE_IDLE_TIMEOUT, RULE_FUEL, RULES };
extern const char *const command_rules[RULES]; /* their keys */

/* what is done when a limit is reached; of too much output the rest is cut */
enum command_answer { ANSWER_KILL, ANSWER_PAUSE, ANSWER_THROTTLE, ANSWER_LOG, ANSWER_CUT, ANSWERS };
extern const char *const command_answers[ANSWERS];

struct violation {
	const char *limit; /* its key */
	enum command_answer answer;
	uint64_t at_ms;	  /* of CLOCK_REALTIME */
	uint64_t percent; /* cpu_percent until then */
};

#define LIMITS (RULES + 4) /* each is told once; the others: the boot, stdout, stderr, files */

/* 0: none */
struct command_limits {
	uint64_t boot, kill_after; /* ms */
	uint64_t most[RULES];	   /* ms; RULE_FUEL: in its own unit */
	enum command_answer answer[RULES];
	bool instructions; /* are the unit of fuel, and not ms */
};

enum command_fate {
	FATE_EXITED,  /* `exit` says how */
	FATE_REFUSED, /* it did not come into being: `exit` and `text` say why */
	FATE_LIMIT,   /* `limit` names the one that ended it */
	FATE_SIGNAL,  /* we were told to end, by `signal`, before it could be passed on */
	FATE_LEFT,    /* its terminal was left: it goes on */
	FATE_MACHINE, /* the machine ended: `text` */
	FATE_AGENT,   /* the agent was lost: `text` */
	FATE_WORK,    /* files could not be brought or taken */
	FATE_STDIO, /* it ended with 0, but what it read or wrote was not all: `text`, told already
		     */
};

struct command {
	struct hutch *h;
	bool own; /* the machine is this process's: it is watched too */
	struct hutch_request what;
	const char *runtime; /* the command is this interpreter, which nobody named; or NULL */
	struct command_limits limits;
	int signals;		       /* from command_signals() */
	int ends;		       /* from command_ends() */
	bool forward;		       /* pass them on */
	void (*on_started)(void *arg); /* the command runs; may be NULL */
	void (*on_violation)(void *arg,
			     const struct violation *v); /* it is being answered; may be NULL */
	void (*on_fault)(void *arg, unsigned n); /* the guest has broken a device n times; NULL */
	void *arg;
	/* told in the end */
	enum command_fate fate;
	struct hutch_exit exit;
	const char *limit; /* the one that ended it, or NULL */
	int signal;
	bool asked_to_end; /* by a signal, whoever got it */
	struct violation violation[LIMITS];
	unsigned violations;
	uint64_t started_ns, ended_ns;
	uint64_t fuel; /* what it spent, in the unit of its limit */
	char text[1024];
};

/* run it to its end; the signals that are passed on are blocked from here on */
void command_run(struct command *c);
/* what a shell would see: 0..255 */
int command_status(const struct command *c);

/* is this a signal that asks for the end? */
bool command_asks_to_end(int signo);

/* the word of "on_timeout" or another rule's key, which may be that of "on_violation": 0 or -errno
 */
int command_answer_word(struct hutch *h, const char *key, char *buf, size_t size);

/* E_...; NULL where nothing went wrong */
const char *command_code(const struct command *c);

/* what the person needs to know of its end, on stderr: nothing of one that just ended */
void command_explain(const struct command *c);

/* a signalfd for what is passed on; blocks these signals, so before threads are made */
int command_signals(void);
/* one for those of them that end what goes on before the command and behind it; then */
int command_ends(void);
/* did one of them come? then that is how it ended */
bool command_interrupted(struct command *c);
/* a limit of what goes on behind it was reached: told as all are */
void command_violation(struct command *c, const char *limit);

#endif
