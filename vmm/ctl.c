/*
 * ctl.c - requests are read side by side and run one at a time
 *
 * Running one may run the loop (a pause waits for vCPUs), and with it all that
 * is here.  So a client whose request is complete leaves the loop until it is
 * answered, and requests that become complete meanwhile wait their turn.
 *
 * #syscalls accept4 recvmsg sendto poll unlink close
 * #syscalls:before socket bind listen fchmod
 */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl.h"

#define CLIENTS	     16
#define REQUEST_MAX  1024
#define ACCEPT_AGAIN (100ULL * 1000000)

struct client {
	struct ctl *ctl;
	struct loop_fd h;
	bool used;
	bool complete; /* the request waits to be run; not in the loop */
	bool later;    /* it was run, and is answered later; in the loop for its hanging up alone */
	char request[REQUEST_MAX];
	size_t have;
	int fd;	      /* that came along with it, or -1 */
	char *answer; /* being sent */
	size_t len, sent;
};

struct ctl {
	struct loop *loop;
	struct vm *vm;
	struct loop_fd h;
	struct sockaddr_un addr;
	struct client client[CLIENTS];
	bool busy; /* a request runs */
	struct loop_timer again;
};

/* the bytes of *@ret, -EINPROGRESS and @who is told later, or -errno with a message */
struct request {
	struct vm *vm;
	char *args;
	int fd; /* that came along, or -1 */
	const struct asker *who;
	void **ret;
};

static int verb_inspect(const struct request *q)
{
	return vm_tree(q->vm, q->ret);
}

static int verb_counters(const struct request *q)
{
	return vm_tree_counters(q->vm, q->ret);
}

static int verb_pause(const struct request *q)
{
	return vm_user_pause(q->vm);
}

static int verb_resume(const struct request *q)
{
	return vm_user_resume(q->vm);
}

static int verb_powerbutton(const struct request *q)
{
	return vm_power_button(q->vm);
}

static int verb_stop(const struct request *q)
{
	vm_event(q->vm, VM_STOPPED, "the machine was stopped");
	return 0;
}

/* "KEY VALUE" */
static int verb_set(const struct request *q)
{
	char *value = strchr(q->args, ' ');

	if (!value)
		return err(-EINVAL, "set: a key and a value are needed, as in 'balloon 128M'");
	*value++ = '\0';
	return vm_set(q->vm, q->args, value);
}

/*
 * "LEVEL LABEL", or of a child "LEVEL PARENT LABEL" with the parent's id, and the file comes along,
 * because this process may not open any.  LEVEL may end with "+disks": overlays with a name, too
 */
static int take_order(const struct request *q, struct snap_order *ret, uint8_t *ret_parent)
{
	char *label = strchr(q->args, ' '), *id, *disks;
	uint64_t level = 0;

	if (label)
		*label++ = '\0';
	disks = strchr(q->args, '+');
	if (disks)
		*disks++ = '\0';
	if (q->fd < 0 || number_parse(q->args, &level) || level > 9 ||
	    (disks && strcmp(disks, "disks")))
		return err(-EINVAL, "snapshot: a level from 0 to 9 and a file are needed");
	if (ret_parent) {
		id = label;
		label = id ? strchr(id, ' ') : NULL;
		if (label)
			*label++ = '\0';
		if (!id || snap_scan_id(id, ret_parent))
			return err(-EINVAL, "child: its parent's id is needed");
	}
	*ret = (struct snap_order){ .label = label ? label : "",
				    .level = (int)level,
				    .disks = disks != NULL,
				    .parent = ret_parent,
				    .who = q->who };
	return 0;
}

static int verb_snapshot(const struct request *q)
{
	struct snap_order how;
	int r = take_order(q, &how, NULL);

	return r ? r : snap_save(q->vm, q->fd, &how, NULL);
}

static int verb_live_snapshot(const struct request *q)
{
	struct snap_order how;
	int r = take_order(q, &how, NULL);

	return r ? r : snap_live(q->vm, q->fd, &how);
}

static int verb_live_child(const struct request *q)
{
	struct snap_order how;
	uint8_t parent[16];
	int r = take_order(q, &how, parent);

	return r ? r : snap_live(q->vm, q->fd, &how);
}

/* the answer is what became of it, "changed" or "whole" */
static int verb_child(const struct request *q)
{
	struct snap_order how;
	uint8_t parent[16];
	bool whole;
	int r = take_order(q, &how, parent);

	if (!r)
		r = snap_save(q->vm, q->fd, &how, &whole);
	if (r)
		return r;
	*q->ret = strdup(whole ? "whole" : "changed");
	return *q->ret ? (int)strlen(*q->ret) : err(-ENOMEM, "child: out of memory");
}

/* "PATH", for messages, and the file comes along */
static int verb_rollback(const struct request *q)
{
	return q->fd < 0 ? err(-EINVAL, "rollback: a file is needed")
			 : snap_roll_back(q->vm, q->fd, q->args);
}

static const struct {
	const char *name;
	int (*run)(const struct request *q);
	bool args;
} verbs[] = {
	{ .name = "inspect", .run = verb_inspect },
	{ .name = "pause", .run = verb_pause },
	{ .name = "resume", .run = verb_resume },
	{ .name = "stop", .run = verb_stop },
	{ .name = "set", .run = verb_set, .args = true },
	{ .name = "powerbutton", .run = verb_powerbutton },
	{ .name = "counters", .run = verb_counters },
	{ .name = "snapshot", .run = verb_snapshot, .args = true },
	{ .name = "child", .run = verb_child, .args = true },
	{ .name = "live-snapshot", .run = verb_live_snapshot, .args = true },
	{ .name = "live-child", .run = verb_live_child, .args = true },
	{ .name = "rollback", .run = verb_rollback, .args = true },
};

int ctl_run(struct vm *vm, char *request, int fd, const struct asker *who, void **ret)
{
	char *args = request + strcspn(request, " ");
	const char *names[ARRAY_SIZE(verbs) + 1] = { NULL }, *near;

	for (unsigned i = 0; i < ARRAY_SIZE(verbs); i++) {
		size_t len = verbs[i].args ? (size_t)(args - request) : strlen(request);

		if (len == strlen(verbs[i].name) && !memcmp(request, verbs[i].name, len)) {
			const struct request q = { vm, args + (*args == ' '), fd, who, ret };

			return verbs[i].run(&q);
		}
		names[i] = verbs[i].name;
	}
	near = nearest(request, names);
	return err(-EINVAL, "unknown request '%.64s'%s%s", request, near ? "; did you mean " : "",
		   near ? near : "");
}

static void drop(struct client *c)
{
	loop_fd_del(c->ctl->loop, &c->h);
	close(c->h.fd);
	cleanup_close(&c->fd);
	free(c->answer);
	*c = (struct client){ .ctl = c->ctl, .fd = -1 };
}

/* @c is not in the loop, or for writing already */
static void wait_to_send(struct client *c)
{
	if (c->h.events == EPOLLOUT)
		return;
	c->h.events = EPOLLOUT;
	if (loop_fd_add(c->ctl->loop, &c->h))
		drop(c);
}

static void send_answer(struct client *c)
{
	while (c->sent < c->len) {
		ssize_t n = send(c->h.fd, c->answer + c->sent, c->len - c->sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			wait_to_send(c);
			return;
		}
		if (n <= 0)
			break;
		c->sent += (size_t)n;
	}
	drop(c);
}

static void answer(struct client *c, int r, const void *blob)
{
	size_t size = 1100 + (r > 0 ? (size_t)r : 0);
	int n;

	c->answer = malloc(size);
	if (!c->answer) {
		drop(c);
		return;
	}
	if (r < 0)
		n = snprintf(c->answer, size, "error %s\n", err_last());
	else
		n = snprintf(c->answer, size, "ok %d\n", r);
	if (r > 0)
		memcpy(c->answer + n, blob, (size_t)r);
	c->len = (size_t)n + (r > 0 ? (size_t)r : 0);
	send_answer(c);
}

/* what its request came to, after a while */
static void answer_later(void *arg, int r, void *blob)
{
	struct client *c = arg;

	c->later = false;
	loop_fd_del(c->ctl->loop, &c->h);
	answer(c, r, blob);
	free(blob);
}

static bool has_hung_up(void *arg)
{
	struct pollfd p = { .fd = ((const struct client *)arg)->h.fd };

	return poll(&p, 1, 0) == 1 && p.revents & POLLHUP;
}

/* until then nothing is expected of it, but it may hang up */
static void wait_to_answer(struct client *c)
{
	c->later = true;
	c->h.events = 0;
	if (loop_fd_add(c->ctl->loop, &c->h))
		snap_live_stop(c->ctl->vm, "there is no memory to wait for it");
}

static struct client *next_complete(struct ctl *ctl)
{
	for (unsigned i = 0; i < CLIENTS; i++)
		if (ctl->client[i].complete)
			return &ctl->client[i];
	return NULL;
}

static void run_requests(struct ctl *ctl)
{
	struct client *c;

	if (ctl->busy)
		return;
	ctl->busy = true;
	while ((c = next_complete(ctl))) {
		const struct asker who = { answer_later, has_hung_up, c };
		cleanup_free void *blob = NULL;
		int r = ctl_run(ctl->vm, c->request, c->fd, &who, &blob);

		c->complete = false;
		if (r == -EINPROGRESS)
			wait_to_answer(c);
		else
			answer(c, r, blob);
	}
	ctl->busy = false;
}

/* at most one descriptor is taken, and the kernel closes the others */
static ssize_t receive(struct client *c)
{
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec part = { c->request + c->have, REQUEST_MAX - 1 - c->have };
	struct msghdr m = { .msg_iov = &part,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(c->h.fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	const struct cmsghdr *h = n < 0 ? NULL : CMSG_FIRSTHDR(&m);

	if (!h || h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS ||
	    h->cmsg_len != CMSG_LEN(sizeof(int)))
		return n;
	cleanup_close(&c->fd);
	memcpy(&c->fd, CMSG_DATA(h), sizeof(c->fd));
	return n;
}

static void on_client(void *arg, uint32_t events)
{
	struct client *c = arg;
	char *end;
	ssize_t n;

	(void)events;
	if (c->later) {
		snap_live_stop(c->ctl->vm, "who asked for it has gone");
		return;
	}
	if (c->answer) {
		send_answer(c);
		return;
	}
	n = receive(c);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop(c);
		return;
	}
	c->have += (size_t)n;
	c->request[c->have] = '\0';
	end = strchr(c->request, '\n');
	if (end) {
		*end = '\0';
		c->complete = true;
		loop_fd_del(c->ctl->loop, &c->h);
		run_requests(c->ctl);
	} else if (c->have == REQUEST_MAX - 1) {
		drop(c);
	}
}

static void on_again(void *arg)
{
	struct ctl *ctl = arg;

	loop_fd_events(ctl->loop, &ctl->h, EPOLLIN);
}

static void on_connect(void *arg, uint32_t events)
{
	struct ctl *ctl = arg;
	int fd = accept4(ctl->h.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		/* out of descriptors, mostly: it stays ready, and must not keep the loop busy */
		loop_fd_events(ctl->loop, &ctl->h, 0);
		loop_timer_set(ctl->loop, &ctl->again, now_ns() + ACCEPT_AGAIN);
	}
	if (fd < 0)
		return;
	for (unsigned i = 0; i < CLIENTS; i++) {
		struct client *c = &ctl->client[i];

		if (c->used)
			continue;
		*c = (struct client){
			.ctl = ctl, .used = true, .fd = -1, .h = { fd, EPOLLIN, on_client, c }
		};
		if (!loop_fd_add(ctl->loop, &c->h))
			return;
		c->used = false;
		break;
	}
	close(fd); /* all are busy: the caller may try again */
}

static int listen_at(struct ctl *ctl, const char *path)
{
	int r;

	ctl->addr.sun_family = AF_UNIX;
	if (str_copy(ctl->addr.sun_path, sizeof(ctl->addr.sun_path), path))
		return err(-E2BIG, "control socket %s: the path is longer than %zu bytes", path,
			   sizeof(ctl->addr.sun_path) - 1);
	ctl->h.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (ctl->h.fd < 0)
		return err(-errno, "control socket: %s", strerror(errno));
	/* bind() gives the file the mode of the socket: no moment in which others may connect */
	if (fchmod(ctl->h.fd, 0600))
		return err(-errno, "control socket: %s", strerror(errno));
	r = bind(ctl->h.fd, (struct sockaddr *)&ctl->addr, sizeof(ctl->addr)) ? -errno : 0;
	if (r) {
		ctl->addr.sun_path[0] = '\0'; /* not ours to remove */
		return err(r, "control socket %s: %s", path, strerror(-r));
	}
	if (listen(ctl->h.fd, CLIENTS))
		return err(-errno, "control socket %s: %s", path, strerror(errno));
	r = loop_fd_add(ctl->loop, &ctl->h);
	return r ? err(r, "control socket %s: %s", path, strerror(-r)) : 0;
}

struct ctl *ctl_new(struct loop *loop, const char *path, struct vm *vm)
{
	struct ctl *ctl = calloc(1, sizeof(*ctl));

	if (!ctl) {
		err(-ENOMEM, "control socket: out of memory");
		return NULL;
	}
	ctl->loop = loop;
	ctl->vm = vm;
	ctl->h = (struct loop_fd){ -1, EPOLLIN, on_connect, ctl };
	ctl->again = (struct loop_timer){ .fn = on_again, .arg = ctl };
	if (listen_at(ctl, path)) {
		ctl_free(ctl);
		return NULL;
	}
	return ctl;
}

void ctl_free(struct ctl *ctl)
{
	if (!ctl)
		return;
	loop_timer_cancel(ctl->loop, &ctl->again);
	for (unsigned i = 0; i < CLIENTS; i++) {
		if (ctl->client[i].later)
			snap_live_stop(ctl->vm, "the machine has ended");
		if (ctl->client[i].used)
			drop(&ctl->client[i]);
	}
	if (ctl->h.fd >= 0)
		loop_fd_del(ctl->loop, &ctl->h);
	cleanup_close(&ctl->h.fd);
	if (ctl->addr.sun_path[0])
		unlink(ctl->addr.sun_path);
	free(ctl);
}
