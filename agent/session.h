/* session.h - between the files of a session: session.c has its rules */
#ifndef HUTCH_AGENT_SESSION_H
#define HUTCH_AGENT_SESSION_H

#include <unistd.h>

#include "agent.h"

/* what the host sends to a command */
struct inlet {
	int fd;
	uint8_t *buf; /* PROTO_WINDOW bytes, made when they are needed */
	uint32_t head, used;
	bool end; /* the host has sent all */
};

/* what a command says */
struct outlet {
	int fd;
	uint32_t credit;
	uint32_t due; /* once drained: bytes to be read yet; what comes behind them is too late */
};

struct session {
	int fd;	   /* -1: adrift */
	int error; /* that ended it: errno, or 0 */
	bool hello, broken;
	bool logs; /* the host wants them */
	uint8_t *rx;
	size_t rx_len, rx_size;
	struct proto_buf out;
	size_t sent;
	/* the request under way; 0 when there is none */
	uint8_t request;
	pid_t pid;
	bool exited;
	int status;
	struct rusage usage;
	uint64_t drain_until;
	bool drained; /* that time has come */
	uint64_t ooms_before;
	uint64_t keep_until; /* adrift: how long its host may take to come back; 0 once it has */
	struct inlet in;
	struct outlet outlet[2];
};

static inline void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* a frame without a body */
void say_empty(struct session *s, uint8_t type, uint8_t stream);

/* --- relay.c --- */

void relay_close(struct session *s); /* nothing more goes in or comes out */
/* its child has ended a while ago: what it said is in its pipes by now */
void relay_drained(struct session *s);
bool relay_is_over(const struct session *s); /* and all of that was read */

/* of the host: bytes for the command, and their end */
void inlet_write(struct session *s, const uint8_t *data, uint32_t len);
void inlet_end(struct session *s);
void inlet_ready(struct session *s, short revents); /* of poll(2) */

void outlet_close(struct session *s, uint8_t stream);
void outlet_credit(struct session *s, uint8_t stream, const uint8_t *body); /* of a CREDIT */
void outlet_read(struct session *s, int i);				    /* there is something */

#endif
