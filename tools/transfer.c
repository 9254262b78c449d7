/*
 * transfer.c - an archive through a pipe: one end is a thread here, the other the guest's agent
 *
 * Packing and unpacking are blocking functions, so they have a thread; this one
 * moves bytes between the pipe and the agent.  What comes from the guest is
 * unpacked as hostile: archive.h says what that means.
 *
 * #syscalls:caller rt_sigaction pipe2 fcntl:F_SETPIPE_SZ memfd_create lseek pread64 close
 * #syscalls:before openat ftruncate
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "archive.h"
#include "transfer.h"
#include "units.h"

#define TEXT_MAX 2000
#define TREE_MAX (20UL << 20)

struct side {
	bool unpacks;
	int fd; /* its end of the pipe */
	const char *path, *source;
	uint64_t most, spent;
	struct archive_report report;
	int r;
};

static void note(void *arg, const char *text)
{
	complain("%s: %s", (const char *)arg, text);
}

static void run_side(void *arg)
{
	struct side *s = arg;
	struct archive_opts opts = { .source = s->source,
				     .most = s->most,
				     .spent = s->spent,
				     .note = note,
				     .arg = (void *)(uintptr_t) "files" };

	if (s->unpacks)
		s->r = archive_unpack(s->fd, s->path, &opts, &s->report);
	else
		s->r = archive_pack(s->fd, s->path, &opts, &s->report);
	close(s->fd);
}

static void *side_thread(void *arg)
{
	run_side(arg);
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
static int wait_for(const struct transfer *t, struct hutch_job *job, struct hutch_exit *e)
{
	unsigned missed = 0;
	int r;

	do {
		r = hutch_job_wait(job, AGENT_LOOK, t->wake, e);
		if (t->wake >= 0 && r == -ETIMEDOUT && agent_is_silent(t->h, job, &missed))
			return r;
		if (r == -ETIMEDOUT && t->until_ms && monotonic_ms() >= t->until_ms)
			return -ETIME;
	} while (r == -ETIMEDOUT || r == -EINPROGRESS);
	return r;
}

/* ask, and wait; the guest's words go to @text */
static int ask(const struct transfer *t, struct hutch_request *x, char *text, size_t size)
{
	int words = memfd_create("words", MFD_CLOEXEC), r = -1;
	struct hutch_job *job;
	struct hutch_exit e;

	x->err = words;
	x->err_max = TEXT_MAX;
	job = hutch_ask(t->h, x);
	if (job)
		r = wait_for(t, job, &e);
	text[0] = '\0';
	if (r)
		snprintf(text, size, "%s",
			 r == -EINTR	   ? "interrupted"
			 : r == -ETIMEDOUT ? "the agent does not answer any more"
			 : r == -ETIME	   ? "it takes too long"
					   : hutch_error(t->h));
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

int transfer_limit(struct transfer *t)
{
	if (!hutch_get_number(t->h, "copy-max", &t->most))
		return 0;
	complain("%s", hutch_error(t->h));
	return -1;
}

static void explain(const struct transfer *t, const struct side *side, int r, const char *text)
{
	char most[32] = "";

	/* the side that gave up first tells why; the other only that its stream ended */
	if (side->report.over) {
		hutch_get(t->h, "copy-max", most, sizeof(most));
		complain("error %d E_LIMIT: %s: copy_max of %s was reached: there is more in the "
			 "guest, and it stays there; take more with --copy-max, 0 is no limit",
			 EXIT_HUTCH, t->what_for, most);
	} else if (r == -ETIME) {
		complain("error %d E_LIMIT: %s: files took longer than --timeout and "
			 "--boot-timeout together",
			 EXIT_HUTCH, t->what_for);
	} else if (r == -EINTR) {
		complain("%s: %s", t->what_for, text);
	} else if (side->r && (!r || (side->r != -EPIPE && side->r != -EPROTO))) {
		complain("%s: %s", t->what_for, side->report.text);
	} else {
		complain("%s: %s%s", t->what_for, r == -EBUSY ? "" : "in the guest: ", text);
	}
}

/* our side works while the other is asked for; what that says is @text */
static int both(struct transfer *t, struct hutch_request *x, struct side *side, int theirs,
		char *text, size_t size)
{
	pthread_t thread;
	int r = 0;

	if (t->porter)
		porter_begin(t->porter, run_side, side);
	else
		r = pthread_create(&thread, NULL, side_thread, side);
	if (r) {
		complain("%s: no thread: %s", t->what_for, strerror(r));
		close(theirs);
		close(side->fd);
		return -EAGAIN;
	}
	r = ask(t, x, text, size);
	close(theirs);
	if (t->porter)
		porter_wait(t->porter);
	else
		pthread_join(thread, NULL);
	t->used = side->report.spent;
	if (r || side->r)
		explain(t, side, r, text);
	return r;
}

static int transfer(struct transfer *t, struct hutch_request *x, struct side *side)
{
	char text[TEXT_MAX * 4];
	int p[2], r;

	signal(SIGPIPE, SIG_IGN);
	if (pipe2(p, O_CLOEXEC)) {
		complain("%s: pipe: %s", t->what_for, strerror(errno));
		return -1;
	}
	fcntl(p[0], F_SETPIPE_SZ, 256 << 10);
	side->fd = side->unpacks ? p[0] : p[1];
	side->spent = t->used;
	*(side->unpacks ? &x->out : &x->in) = side->unpacks ? p[1] : p[0];
	r = both(t, x, side, side->unpacks ? p[1] : p[0], text, sizeof(text));
	return side->report.over ? -EFBIG : r || side->r ? -1 : 0;
}

int transfer_put(struct transfer *t, const char *from, const char *to)
{
	struct hutch_request x = {
		.what = HUTCH_ASK_PUT, .path = to, .flags = ARCHIVE_TRUSTED, .out = -1
	};
	struct side side = { .path = from };

	return transfer(t, &x, &side);
}

int transfer_get(struct transfer *t, const char *from, const char *to)
{
	struct hutch_request x = { .what = HUTCH_ASK_GET, .path = from, .in = -1 };
	struct side side = { .unpacks = true, .path = to, .source = from, .most = t->most };

	return transfer(t, &x, &side);
}

/* as an archive into @fd */
static int take(struct transfer *t, struct hutch *from, const char *path, int fd, char *text,
		size_t size)
{
	struct transfer there = *t;
	struct hutch_request x = { .what = HUTCH_ASK_GET, .path = path, .in = -1, .out = fd };

	there.h = from;
	x.out_max = t->most ? t->most + 1 : 0;
	if (lseek(fd, 0, SEEK_SET) || ftruncate(fd, 0)) {
		snprintf(text, size, "%s", strerror(errno));
		return -1;
	}
	return ask(&there, &x, text, size);
}

int transfer_across(struct transfer *t, struct hutch *from, const char *path)
{
	struct hutch_request x = { .what = HUTCH_ASK_PUT, .flags = ARCHIVE_TRUSTED, .out = -1 };
	char text[TEXT_MAX * 4], inside[PATH_MAX];
	FILE *file = tmpfile();
	int r = -1;

	if (!file || snprintf(inside, sizeof(inside), "%s/.", path) >= (int)sizeof(inside)) {
		complain("%s: %s: %s", t->what_for, path, strerror(file ? ENAMETOOLONG : errno));
		goto out;
	}
	x.in = fileno(file);
	x.path = inside;
	r = take(t, from, inside, x.in, text, sizeof(text));
	inside[strlen(inside) - 1] = '\0'; /* "PATH/" is a folder, or becomes one */
	if (r) {
		x.path = path;
		r = take(t, from, path, x.in, text, sizeof(text));
	}
	if (!r && t->most && (uint64_t)lseek(x.in, 0, SEEK_END) > t->most) {
		complain("error %d E_LIMIT: %s: %s: is more than copy_max; take more with "
			 "--copy-max, 0 is no limit",
			 EXIT_HUTCH, t->what_for, path);
		r = -EFBIG;
		goto out;
	}
	if (!r && !lseek(x.in, 0, SEEK_SET))
		r = ask(t, &x, text, sizeof(text));
	if (r)
		complain("%s: in the guest: %s", t->what_for, text);
out:
	if (file)
		fclose(file);
	return r;
}

void *transfer_tree(struct transfer *t, const char *path, size_t *ret_size)
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
	r = ask(t, &x, text, sizeof(text));
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
