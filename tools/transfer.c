/*
 * transfer.c - an archive through a pipe: one end is a thread here, the other the guest's agent
 *
 * Packing and unpacking are blocking functions, so they have a thread; this one
 * moves bytes between the pipe and the agent.  What comes from the guest is
 * unpacked as hostile: archive.h says what that means.
 *
 * #syscalls:caller rt_sigaction pipe2 fcntl:F_SETPIPE_SZ memfd_create lseek pread64 close
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "archive.h"
#include "transfer.h"

#define TEXT_MAX 2000
#define TREE_MAX (20UL << 20)

struct side {
	bool unpacks;
	int fd; /* its end of the pipe */
	const char *path, *source;
	struct transfer_limit *limit; /* of what is unpacked, or NULL */
	struct archive_report report;
	int r;
};

static void note(void *arg, const char *text)
{
	complain("%s: %s", (const char *)arg, text);
}

static void *run_side(void *arg)
{
	struct side *s = arg;
	struct archive_opts opts = { .source = s->source,
				     .most = s->limit ? s->limit->most : 0,
				     .spent = s->limit ? s->limit->used : 0,
				     .note = note,
				     .arg = (void *)(uintptr_t) "files" };

	if (s->unpacks)
		s->r = archive_unpack(s->fd, s->path, &opts, &s->report);
	else
		s->r = archive_pack(s->fd, s->path, &opts, &s->report);
	close(s->fd);
	return NULL;
}

/* what the other side said on its stderr, for a terminal */
static void read_text(int fd, char *buf, size_t size)
{
	char raw[TEXT_MAX];
	ssize_t n = pread(fd, raw, sizeof(raw), 0);

	buf[0] = '\0';
	if (n <= 0)
		return;
	if (raw[n - 1] == '\n')
		n--;
	archive_clean(buf, size, raw, (size_t)n);
}

/* until it has ended; @wake: the machine is ours, and an agent that is lost is not waited for */
static int wait_for(struct hutch *h, struct hutch_job *job, int wake, struct hutch_exit *e)
{
	unsigned missed = 0;
	int r;

	do {
		r = hutch_job_wait(job, AGENT_LOOK, wake, e);
		if (wake >= 0 && r == -ETIMEDOUT && agent_is_silent(h, job, &missed))
			return r;
	} while (r == -ETIMEDOUT || r == -EINPROGRESS);
	return r;
}

/* ask, and wait; the guest's words go to @text */
static int ask(struct hutch *h, struct hutch_request *x, char *text, size_t size, int wake)
{
	int words = memfd_create("words", MFD_CLOEXEC), r = -1;
	struct hutch_job *job;
	struct hutch_exit e;

	x->err = words;
	x->err_max = TEXT_MAX;
	job = hutch_ask(h, x);
	if (job)
		r = wait_for(h, job, wake, &e);
	text[0] = '\0';
	if (r)
		snprintf(text, size, "%s",
			 r == -EINTR	   ? "interrupted"
			 : r == -ETIMEDOUT ? "the agent does not answer any more"
					   : hutch_error(h));
	else if (e.how != HUTCH_DONE)
		read_text(words, text, size);
	if (!r && e.how != HUTCH_DONE) {
		r = -1;
		if (!text[0])
			snprintf(text, size, "%s", e.text);
	}
	hutch_job_free(job);
	if (words >= 0)
		close(words);
	return r;
}

int transfer_limit(struct hutch *h, struct transfer_limit *ret)
{
	ret->used = 0;
	if (!hutch_get_number(h, "copy-max", &ret->most))
		return 0;
	complain("%s", hutch_error(h));
	return -1;
}

static void explain(struct hutch *h, const char *what_for, const struct side *side, int r,
		    const char *text)
{
	char most[32] = "";

	/* the side that gave up first tells why; the other only that its stream ended */
	if (side->report.over) {
		hutch_get(h, "copy-max", most, sizeof(most));
		complain("error %d E_LIMIT: %s: copy_max of %s was reached: there is more in the "
			 "guest, and it stays there; take more with --copy-max, 0 is no limit",
			 EXIT_HUTCH, what_for, most);
	} else if (r == -EINTR) {
		complain("%s: %s", what_for, text);
	} else if (side->r && (!r || (side->r != -EPIPE && side->r != -EPROTO))) {
		complain("%s: %s", what_for, side->report.text);
	} else {
		complain("%s: %s%s", what_for, r == -EBUSY ? "" : "in the guest: ", text);
	}
}

static int transfer(struct hutch *h, const char *what_for, struct hutch_request *x,
		    struct side *side, int wake)
{
	char text[TEXT_MAX * 4];
	pthread_t thread;
	int p[2], r;

	signal(SIGPIPE, SIG_IGN);
	if (pipe2(p, O_CLOEXEC)) {
		complain("%s: pipe: %s", what_for, strerror(errno));
		return -1;
	}
	fcntl(p[0], F_SETPIPE_SZ, 256 << 10);
	side->fd = side->unpacks ? p[0] : p[1];
	*(side->unpacks ? &x->out : &x->in) = side->unpacks ? p[1] : p[0];
	r = pthread_create(&thread, NULL, run_side, side);
	if (r) {
		complain("%s: no thread: %s", what_for, strerror(r));
		close(p[0]);
		close(p[1]);
		return -1;
	}
	r = ask(h, x, text, sizeof(text), wake);
	close(side->unpacks ? p[1] : p[0]);
	pthread_join(thread, NULL);
	if (side->limit)
		side->limit->used = side->report.spent;
	if (!r && !side->r)
		return 0;
	explain(h, what_for, side, r, text);
	return side->report.over ? -EFBIG : -1;
}

int transfer_put(struct hutch *h, const char *what_for, const char *from, const char *to, int wake)
{
	struct hutch_request x = {
		.what = HUTCH_ASK_PUT, .path = to, .flags = ARCHIVE_TRUSTED, .out = -1
	};
	struct side side = { .path = from };

	return transfer(h, what_for, &x, &side, wake);
}

int transfer_get(struct hutch *h, const char *what_for, const char *from, const char *to,
		 struct transfer_limit *limit, int wake)
{
	struct hutch_request x = { .what = HUTCH_ASK_GET, .path = from, .in = -1 };
	struct side side = { .unpacks = true, .path = to, .source = from, .limit = limit };

	return transfer(h, what_for, &x, &side, wake);
}

void *transfer_tree(struct hutch *h, const char *path, size_t *ret_size, int wake)
{
	struct hutch_request x = {
		.what = HUTCH_ASK_TREE, .path = path, .in = -1, .out_max = TREE_MAX
	};
	char text[TEXT_MAX * 4], *tree = NULL;
	off_t size;
	int r;

	x.out = memfd_create("tree", MFD_CLOEXEC);
	if (x.out < 0)
		return NULL;
	r = ask(h, &x, text, sizeof(text), wake);
	size = lseek(x.out, 0, SEEK_END);
	if (!r && size > 0)
		tree = malloc((size_t)size);
	if (tree && pread(x.out, tree, (size_t)size, 0) != size) {
		free(tree);
		tree = NULL;
	}
	close(x.out);
	*ret_size = (size_t)size;
	return tree;
}
