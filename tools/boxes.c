/* boxes.c - sandboxes as others see them: found, swept, waited for, removed (theory: registry.h) */
/* #syscalls:caller close */
/* #syscalls:before openat newfstatat fcntl getdents64 flock getrandom pread64 poll */
/* #syscalls:before pidfd_open pidfd_send_signal */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "registry.h"
#include "tool.h"

#define ID_MIN	   4	 /* fewer digits of an id find nothing */
#define KILL_LIMIT 10000 /* ms that a killed process may take to go */
#define LOOK	   5

void box_new_id(char id[33])
{
	unsigned char raw[16];

	while (getrandom(raw, sizeof(raw), 0) != sizeof(raw))
		;
	for (size_t i = 0; i < sizeof(raw); i++)
		sprintf(id + 2 * i, "%02x", raw[i]);
}

void box_close(struct box *box)
{
	int *const fds[] = { &box->root, &box->dir, &box->lock };

	for (unsigned i = 0; i < sizeof(fds) / sizeof(*fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

int box_load(int root, const char *name, struct box *ret)
{
	struct box box = { .root = -1, .lock = -1 };
	int r = 0;

	box.dir = openat(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (box.dir < 0)
		return -ENOENT;
	box.lock = openat(box.dir, "lock", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (box.lock < 0) {
		r = -ENOENT;
	} else {
		/* in this order: one that ends in between says "exited" when it is read */
		box.alive = rundir_held(box.lock);
		r = record_read(&box);
		if (!box.alive && (r || box.status != BOX_EXITED || !box.keep))
			r = -ESTALE;
		box.root = fcntl(root, F_DUPFD_CLOEXEC, 3);
		if (!r && box.root < 0)
			r = -errno;
	}
	if (r)
		box_close(&box);
	else
		*ret = box;
	return r;
}

int box_reload(struct box *box)
{
	box->alive = rundir_held(box->lock);
	return record_read(box) ? -ENOENT : 0;
}

bool box_sweep_held(int root, const char *name)
{
	struct box box;
	char id[33] = "";
	int dir, lock;
	bool dead;

	if (*name != '.') {
		int r = box_load(root, name, &box);

		if (!r)
			box_close(&box);
		dead = r == -ESTALE;
	} else {
		dir = openat(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (dir < 0)
			return false;
		lock = openat(dir, "lock", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
		dead = lock < 0 || !rundir_held(lock);
		if (lock >= 0)
			close(lock);
		close(dir);
	}
	if (!dead)
		return false;
	box_new_id(id);
	rundir_remove(root, name, id);
	return true;
}

static bool sweep(int root, const char *name)
{
	int hold = rundir_hold(root);
	bool swept = hold >= 0 && box_sweep_held(root, name);

	if (hold >= 0)
		close(hold);
	return swept;
}

static bool is_hidden(const char *name)
{
	return !strncmp(name, ".new-", 5) || !strncmp(name, ".gone-", 6);
}

struct each {
	int root;
	int (*fn)(struct box *box, void *arg);
	void (*swept)(const char *name);
	void *arg;
};

static int visit(const struct each *each, const char *name)
{
	struct box box;
	int r;

	if (*name == '.') {
		if (is_hidden(name) && sweep(each->root, name) && each->swept)
			each->swept(name); /* killed while it was made or removed */
		return 0;
	}
	r = box_load(each->root, name, &box);
	if (r == -ESTALE && sweep(each->root, name) && each->swept)
		each->swept(name);
	if (r == -EINVAL)
		complain("the state of '%s' makes no sense", name);
	if (r)
		return 0;
	r = each->fn(&box, each->arg);
	box_close(&box);
	return r;
}

int box_each_swept(int (*fn)(struct box *box, void *arg), void (*swept)(const char *name),
		   void *arg)
{
	const struct each each = { rundir_root(false), fn, swept, arg };
	struct dirent *e;
	DIR *d;
	int r = 0, fd;

	if (each.root < 0)
		return each.root == -ENOENT ? 0 : each.root;
	fd = openat(each.root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd >= 0 ? fdopendir(fd) : NULL;
	if (!d) {
		r = -errno;
		complain("the folder of sandboxes cannot be read: %s", strerror(errno));
	}
	while (d && !r && (e = readdir(d)))
		r = visit(&each, e->d_name);
	if (d)
		closedir(d);
	close(each.root);
	return r;
}

int box_each(int (*fn)(struct box *box, void *arg), void *arg)
{
	return box_each_swept(fn, NULL, arg);
}

struct search {
	const char *prefix;
	char name[64];
	unsigned found;
};

static int match(struct box *box, void *arg)
{
	struct search *s = arg;

	if (strncmp(box->id, s->prefix, strlen(s->prefix)))
		return 0;
	s->found++;
	strcpy(s->name, box->name);
	return 0;
}

/* the name behind the beginning of an id */
static int find_id(const char *word, struct search *s)
{
	size_t n = strspn(word, "0123456789abcdef");
	int r;

	*s = (struct search){ .prefix = word };
	if (n < ID_MIN || word[n])
		return -ENOENT;
	r = box_each(match, s);
	if (r)
		return r;
	if (s->found <= 1)
		return s->found ? 0 : -ENOENT;
	complain("'%s' begins the id of %u sandboxes; write more of it, or a name", word, s->found);
	return -EINVAL;
}

int box_open(const char *word, struct box *ret)
{
	int root = rundir_root(false), r = -ENOENT;
	struct search s;

	if (root < 0 && root != -ENOENT)
		return root;
	if (root >= 0 && *word != '.' && !strchr(word, '/'))
		r = box_load(root, word, ret);
	if (r == -ESTALE) {
		sweep(root, word);
		r = -ENOENT;
	}
	if (r == -ENOENT && root >= 0) {
		r = find_id(word, &s);
		if (!r)
			r = box_load(root, s.name, ret) ? -ENOENT : 0;
	} else if (r && r != -ENOENT) {
		complain("the state of '%s' makes no sense", word);
	}
	if (root >= 0)
		close(root);
	if (r == -ENOENT)
		complain("there is no sandbox '%s'; 'hutch ps --all' lists those there are", word);
	return r;
}

int box_pidfd(const struct box *box)
{
	int fd = box->pid > 0 ? pidfd_open(box->pid, 0) : -1;

	/*
	 * The state was written by who holds the lock, and it is held still: so its
	 * process lived when the descriptor was made, and no other had its number.
	 */
	if (fd >= 0 && rundir_held(box->lock))
		return fd;
	if (fd >= 0)
		close(fd);
	return -ESRCH;
}

int box_wait(const struct box *box, int timeout_ms)
{
	struct pollfd p = { .events = POLLIN };
	int r;

	if (timeout_ms >= 0) {
		p.fd = box_pidfd(box);
		if (p.fd < 0)
			return 0;
		do {
			r = poll(&p, 1, timeout_ms);
		} while (r < 0 && errno == EINTR);
		close(p.fd);
		return r > 0 ? 0 : -ETIMEDOUT;
	}
	while (flock(box->lock, LOCK_SH))
		if (errno != EINTR)
			return -errno;
	flock(box->lock, LOCK_UN);
	return 0;
}

int box_exit_code(const struct box *box, int *ret_code, char *reason, size_t size)
{
	char text[200];
	ssize_t n;
	int code, at = 0;

	if (rundir_held(box->lock))
		return -EBUSY;
	n = pread(box->lock, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return -ENODATA;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (sscanf(text, "%d %n", &code, &at) != 1 || !at)
		return -ENODATA;
	snprintf(reason, size, "%s", text + at);
	*ret_code = code;
	return 0;
}

int box_kill(const struct box *box, const char *reason)
{
	struct pollfd p = { .fd = box_pidfd(box), .events = POLLIN };
	int r = 0;
	char c;

	if (p.fd >= 0) {
		/* what it cannot say any more, unless it is just ending by itself */
		if (pread(box->lock, &c, 1, 0) == 0)
			record_exit(box, 128 + SIGKILL, reason);
		if (pidfd_send_signal(p.fd, SIGKILL, NULL, 0) && errno != ESRCH)
			r = -errno;
		else if (poll(&p, 1, KILL_LIMIT) <= 0)
			r = -ETIMEDOUT;
		/* one of several tries has a parent, which ends what the try was */
		for (int ms = 0; !r && rundir_held(box->lock) && ms < KILL_LIMIT; ms += LOOK)
			poll(NULL, 0, LOOK);
		close(p.fd);
	}
	if (!r)
		r = box_remove(box);
	if (r)
		complain("sandbox '%s' (process %d) cannot be killed: %s", box->name, box->pid,
			 strerror(-r));
	return r;
}

int box_remove(const struct box *box)
{
	int hold = rundir_hold(box->root), r = 0;
	struct box now;

	if (hold < 0)
		return hold;
	/* the name may be another's by now */
	r = box_load(box->root, box->name, &now);
	if (!r) {
		if (now.alive)
			r = strcmp(now.id, box->id) ? 0 : -EBUSY;
		else if (!strcmp(now.id, box->id))
			rundir_remove(box->root, box->name, box->id);
		box_close(&now);
	} else if (r == -ESTALE) {
		box_sweep_held(box->root, box->name);
		r = 0;
	} else if (r == -ENOENT) {
		r = 0;
	}
	close(hold);
	return r;
}
