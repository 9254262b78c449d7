/*
 * client.h - the host's side of one connection to a guest's agent (layer 4)
 *
 * agent/proto.h has the rules of what is said.  A client belongs to one thread,
 * which gives it time with client_pump(); nothing else here waits.  What the
 * agent says is hostile input: it can end the connection, not more.
 *
 * Output goes to descriptors of the caller that are left as they are: they may
 * block and may be shared, so what they take at once is written and the rest
 * waits in a ring of PROTO_WINDOW bytes; the guest has credit for no more.
 * The caller ignores SIGPIPE.
 */
#ifndef HUTCH_CLIENT_H
#define HUTCH_CLIENT_H

#include <poll.h>

#include "log.h"
#include "proto.h"

struct client_sink {
	int fd; /* -1: nobody wants it */
	uint8_t *ring;
	uint32_t head, used;
	uint32_t owed;	/* bytes taken that the guest was not told of */
	uint64_t total; /* bytes that came, after the cut */
	uint64_t most;	/* of them to pass on; 0: no limit */
	bool cut;	/* there were more than that */
	bool broken;	/* its reader has gone, or `error` */
	int error;	/* why it could not be written, but for a reader that has gone */
	bool eof;
	bool waits; /* it takes nothing more now */
};

struct client_source {
	int fd; /* -1: nothing, or all was read */
	uint32_t credit;
	uint64_t moved;
	int error;   /* why it could not be read to its end */
	bool active; /* there is a command to read it */
};

enum client_state {
	CLIENT_CALLED, /* a listening socket: the agent will call */
	CLIENT_HELLO,  /* connected through the device, which has not said OK */
	CLIENT_IDLE,
	CLIENT_BUSY,
	CLIENT_LOST,
};

/* how a request ended */
struct client_end {
	uint8_t type;	      /* PROTO_DONE, PROTO_EXIT or PROTO_ERROR */
	uint64_t code, error; /* PROTO_ERROR: enum proto_error, errno */
	uint64_t status, signal, core, oom, user_us, system_us, rss_max, memory_peak;
	uint64_t memory_total, memory_free, cpu_us, processes, uptime_ns, time_ns;
	uint64_t pid;
	char text[512];
};

struct client {
	int fd;
	enum client_state state;
	uint8_t *rx;
	size_t rx_len;
	struct proto_buf out;
	size_t sent;
	size_t clock_at;     /* where the time is in out, until that begins to be sent; or 0 */
	unsigned setups;     /* SETUP requests before the one whose end is waited for */
	bool started;	     /* the command runs */
	bool started_told;   /* and the caller knows */
	uint64_t started_ns; /* when it did */
	uint64_t called_ns, ready_ns; /* when the agent called, and when the last SETUP was done */
	uint64_t init_ns, boot_ns;    /* on the guest's clock: the agent was started, was up */
	bool ended;
	struct client_end end;
	struct client_source in;
	struct client_sink sink[2];
	void (*on_log)(void *arg, unsigned level, const char *text); /* NULL: no logs */
	void *on_log_arg;
	struct log_limit logged;
	void (*on_output)(void *arg, unsigned stream, const void *data, size_t len);
	void *arg;
	size_t (*on_input)(void *arg, const void *data, size_t len, void *out, bool *leave);
	void *in_arg;
	uint64_t heard_ns; /* the last time the agent said anything */
	bool pinged;
};

void client_init(struct client *c);
void client_close(struct client *c);

/* @fn is told what the agent logs: an enum proto_level and a text without control bytes, at most
 * CLIENT_LOGS in LOG_WINDOW_NS; before the next two */
#define CLIENT_LOGS 200
void client_logs(struct client *c, void (*fn)(void *arg, unsigned level, const char *text),
		 void *arg);
/* connect through the socket of a vsock device: -ENOENT, -ECONNREFUSED, ... with a message */
int client_connect(struct client *c, const char *path) must_check;
/* wait for the agent to call at @listener, which stays the caller's */
void client_expect(struct client *c, int listener);
/* it has called, and @fd is the connection, which becomes the client's; after the request */
void client_answer(struct client *c, int fd);

/*
 * client_exec() - ask for a command; items of the request are in @what, whose header is EXEC's
 *
 * Frames in @before (SETUP) go first.  Both are consumed.
 */
void client_request(struct client *c, struct proto_buf *frames, unsigned setups);
uint64_t client_clock(void); /* ns of the epoch, as guests are told */

/* -1 or a descriptor to read to its end; before the request */
void client_source(struct client *c, int fd);
void client_sink(struct client *c, unsigned i, int fd, uint64_t most);

/* @fn is told of all output that is passed on, of stream 1 or 2; before the request */
void client_watch(struct client *c,
		  void (*fn)(void *arg, unsigned stream, const void *data, size_t len), void *arg);

/* @fn makes of what is read what is passed on, see struct hutch_request; before the request */
void client_filter(struct client *c,
		   size_t (*fn)(void *arg, const void *data, size_t len, void *out, bool *leave),
		   void *arg);

/* false when the request has ended: there is nobody to take it */
bool client_signal(struct client *c, int signo);
void client_resize(struct client *c, unsigned columns, unsigned rows);
void client_ping(struct client *c);
/*
 * client_silence() - ms since an answer to a ping is overdue; it pings when that is due
 *
 * 0 while SETUP is under way: disks and networks may take their time.
 */
unsigned client_silence(struct client *c);

/*
 * client_pump() - move what can be moved, for at most @timeout_ms (-1: as long as it takes)
 *
 * 0 when the request has ended and its output is written, -EINPROGRESS once when the command runs,
 * -EINTR when @wake is readable (-1: none),
 * -ETIMEDOUT, also while data moves; -ECONNRESET when the agent is lost, -EPROTO when it talks
 * nonsense, -EBUSY when it has as many connections as it takes.
 */
int client_pump(struct client *c, int timeout_ms, int wake) must_check;

#endif
