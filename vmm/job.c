/* job.c - something asked of a guest's agent, in the public interface */
#include <unistd.h>

#include "client.h"
#include "handle.h"

struct hutch_job {
	struct hutch *h;
	struct client c;
	bool from_guest; /* the agent's own call */
	int stale;	 /* what it tells of that, until it was heard */
};

static void add_exec(const struct hutch_request *x, struct proto_buf *b)
{
	uint64_t flags = (x->in >= 0 ? EXEC_STDIN : 0) | (x->tty ? EXEC_TTY : 0) |
			 (x->detach ? EXEC_DETACH : 0);

	for (const char *const *arg = x->argv; arg && *arg; arg++)
		proto_text(b, TAG_ARG, *arg);
	for (const char *const *env = x->env; env && *env; env++)
		proto_text(b, TAG_ENV, *env);
	if (x->cwd)
		proto_text(b, TAG_CWD, x->cwd);
	if (x->user)
		proto_text(b, TAG_USER, x->user);
	if (x->columns && x->rows) {
		proto_number(b, TAG_COLUMNS, x->columns);
		proto_number(b, TAG_ROWS, x->rows);
	}
	proto_number(b, TAG_FLAGS, flags);
}

static void add_request(const struct hutch_request *x, struct proto_buf *b)
{
	static const uint8_t type[] = {
		[HUTCH_ASK_EXEC] = PROTO_EXEC, [HUTCH_ASK_PUT] = PROTO_PUT,
		[HUTCH_ASK_GET] = PROTO_GET,   [HUTCH_ASK_TREE] = PROTO_TREE,
		[HUTCH_ASK_INFO] = PROTO_INFO, [HUTCH_ASK_FREEZE] = PROTO_FREEZE,
		[HUTCH_ASK_THAW] = PROTO_THAW, [HUTCH_ASK_POWEROFF] = PROTO_POWEROFF,
	};

	proto_begin(b, type[x->what], 0);
	if (x->what == HUTCH_ASK_EXEC)
		add_exec(x, b);
	if (x->path)
		proto_text(b, TAG_PATH, x->path);
	if (x->what != HUTCH_ASK_EXEC && x->flags)
		proto_number(b, TAG_FLAGS, x->flags);
	if (x->what == HUTCH_ASK_POWEROFF)
		proto_number(b, TAG_GRACE_MS, x->grace_ms);
	proto_end(b);
}

_Static_assert((int)LEVEL_ERROR == HUTCH_LOG_ERROR && (int)LEVEL_INFO == HUTCH_LOG_INFO,
	       "enum proto_level and enum hutch_level are the same");

static void on_log(void *arg, unsigned level, const char *text)
{
	struct hutch *h = arg;

	h->on_agent_log(h->on_agent_log_arg, (enum hutch_level)level, text);
}

/* the agent calls once, to be told what its guest is to be; a restored one is told what is new */
static int connect_job(struct hutch_job *job, struct proto_buf *frames, unsigned *ret_setups)
{
	struct hutch *h = job->h;
	int r;

	if (job->from_guest) {
		client_expect(&job->c, h->agent);
		*ret_setups = agent_host_setup(h, frames);
		return 0;
	}
	if (!h->conf.vsocks || !h->conf.vsock[0].path[0])
		return err(-EINVAL, "vsock: no path is given, and so there is no agent to ask");
	r = client_connect(&job->c, h->conf.vsock[0].path);
	if (!r && h->stale) {
		*ret_setups = h->stale == STALE_CLOCK ? agent_host_clock(frames)
			      : h->stale == STALE_NEW ? agent_host_setup(h, frames)
						      : agent_host_renew(h, frames);
		job->stale = h->stale;
		h->stale = STALE_NOT;
	}
	return r;
}

void hutch_tell_time(struct hutch *h)
{
	if (!h->stale)
		h->stale = STALE_CLOCK;
}

struct hutch_job *hutch_ask(struct hutch *h, const struct hutch_request *x)
{
	struct hutch_job *job = calloc(1, sizeof(*job));
	struct proto_buf frames = { .data = NULL };
	unsigned setups = 0;

	if (!job) {
		hutch_fail(h, err(-ENOMEM, "out of memory"));
		return NULL;
	}
	job->h = h;
	client_init(&job->c);
	job->from_guest = h->agent >= 0;
	if (h->on_agent_log)
		client_logs(&job->c, on_log, h);
	if (hutch_fail(h, connect_job(job, &frames, &setups))) {
		proto_free(&frames);
		client_close(&job->c);
		free(job);
		return NULL;
	}
	add_request(x, &frames);
	client_source(&job->c, x->in);
	client_sink(&job->c, 0, x->out, x->out_max);
	client_sink(&job->c, 1, x->err, x->err_max);
	client_watch(&job->c, x->on_output, x->arg);
	client_filter(&job->c, x->on_input, x->in_arg);
	client_request(&job->c, &frames, setups);
	/* files are read at once: there is no command that may not come into being */
	job->c.in.active = x->what == HUTCH_ASK_PUT;
	return job;
}

/* what a shell would say of why a command did not run */
static int refusal(uint64_t code)
{
	switch (code) {
	case ERROR_NOT_FOUND:
		return 127;
	case ERROR_NOT_RUNNABLE:
	case ERROR_CWD:
	case ERROR_USER:
		return 126;
	default:
		return 125;
	}
}

static void tell_end(const struct client *c, struct hutch_exit *ret)
{
	const struct client_end *e = &c->end;

	*ret = (struct hutch_exit){
		.how = e->type == PROTO_ERROR  ? HUTCH_REFUSED
		       : e->type == PROTO_DONE ? HUTCH_DONE
		       : e->signal	       ? HUTCH_SIGNALED
					       : HUTCH_EXITED,
		.status = e->type == PROTO_ERROR ? refusal(e->code) : (int)e->status,
		.signal = (int)MIN(e->signal, 64U),
		.core = e->core != 0,
		.oom = e->oom != 0,
		.user_us = e->user_us,
		.system_us = e->system_us,
		.rss_max = e->rss_max,
		.memory_peak = e->memory_peak,
		.out_bytes = c->sink[0].total,
		.err_bytes = c->sink[1].total,
		.out_cut = c->sink[0].cut,
		.err_cut = c->sink[1].cut,
		.in_error = c->in.error,
		.out_error = c->sink[0].error,
		.err_error = c->sink[1].error,
		.started_ns = c->started_ns,
		.called_ns = c->called_ns,
		.ready_ns = c->ready_ns,
		.init_ns = c->init_ns,
		.boot_ns = c->boot_ns,
		.memory_total = e->memory_total,
		.memory_free = e->memory_free,
		.cpu_us = e->cpu_us,
		.processes = e->processes,
		.uptime_ns = e->uptime_ns,
		.time_ns = e->time_ns,
	};
	snprintf(ret->text, sizeof(ret->text), "%s", e->text);
}

int hutch_job_wait(struct hutch_job *job, int timeout_ms, int wake, struct hutch_exit *ret)
{
	struct hutch *h = job->h;
	int r = 0;

	if (job->from_guest && job->c.state == CLIENT_CALLED)
		r = hutch_snap_boot(h, timeout_ms, wake);
	if (!r && h->called >= 0) {
		client_answer(&job->c, h->called);
		h->called = -1;
	}
	if (!r)
		r = client_pump(&job->c, timeout_ms, wake);
	if (job->from_guest && job->h->agent >= 0 && job->c.state != CLIENT_CALLED)
		agent_host_close(job->h); /* it has called; whoever else does is not the agent */
	tell_end(&job->c, ret);
	if (r == -ECONNRESET && job->c.setups) /* the next one tells it */
		h->stale = job->stale;
	if (r == -ECONNRESET)
		err(r, "the guest's agent closed the connection");
	else if (r == -EPROTO)
		err(r, "the guest's agent talks nonsense");
	else if (r == -EBUSY)
		err(r, "the sandbox's agent serves %d requests at once; try again", PROTO_SESSIONS);
	return r == -EINTR || r == -ETIMEDOUT || r == -EINPROGRESS ? r : hutch_fail(job->h, r);
}

bool hutch_job_signal(struct hutch_job *job, int signo)
{
	return client_signal(&job->c, signo);
}

void hutch_job_resize(struct hutch_job *job, unsigned columns, unsigned rows)
{
	client_resize(&job->c, columns, rows);
}

bool hutch_job_started(const struct hutch_job *job)
{
	return job->c.started;
}

unsigned hutch_job_silence(struct hutch_job *job)
{
	return client_silence(&job->c);
}

uint64_t hutch_job_moved(const struct hutch_job *job)
{
	return job->c.sink[0].total + job->c.sink[1].total + job->c.in.moved;
}

void hutch_job_free(struct hutch_job *job)
{
	if (!job)
		return;
	client_close(&job->c);
	free(job);
}
