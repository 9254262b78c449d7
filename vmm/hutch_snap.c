/*
 * hutch_snap.c - snapshots in the public interface
 *
 * A handle that is restored has the snapshot's machine and the caller's own
 * limits; hutch_set() then takes what a restore may change and refuses the rest.
 * The file names things of this host (disks, sockets), which are opened for who
 * restores it: so it has to be his own, or root's.
 *
 * #syscalls:before openat newfstatat geteuid
 * #syscalls:caller fcntl:F_GETFL
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handle.h"
#include "snap.h"
#include "vm.h"

struct snap {
	struct snap_file file;
	struct snap_info info;
	struct conf was;
	uint32_t anew; /* disks whose place was told anew */
	int fd;
};

void hutch_snap_free(struct snap *s)
{
	if (!s)
		return;
	snap_close(&s->file);
	cleanup_close(&s->fd);
	free(s);
}

/* is it a file, and unless @any one that may lead whoever restores it? */
static int check_file(int fd, const char *path, bool any)
{
	struct stat st;

	if (fstat(fd, &st))
		return err(-errno, "snapshot %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err(-EINVAL, "%s: is no snapshot, but something else than a file", path);
	if (any)
		return 0;
	if (st.st_uid && st.st_uid != geteuid())
		return err(-EACCES,
			   "snapshot %s: is user %u's, and it would open on this host whatever "
			   "that "
			   "user wrote into it; if you trust it, make a copy, which is yours",
			   path, st.st_uid);
	if (st.st_mode & S_IWOTH)
		return err(-EACCES,
			   "snapshot %s: may be written by anybody; chmod o-w %s, if it is still "
			   "yours",
			   path, path);
	return 0;
}

static struct snap *open_snap(const char *path, bool any)
{
	struct snap *s = calloc(1, sizeof(*s));
	int r;

	if (!s) {
		err(-ENOMEM, "snapshot: out of memory");
		return NULL;
	}
	/* a pipe without a writer is not waited for, a terminal does not become ours */
	s->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	r = s->fd < 0 ? err(-errno, "snapshot %s: %s", path, strerror(errno)) : 0;
	if (!r)
		r = check_file(s->fd, path, any);
	if (!r)
		r = snap_open(&s->file, s->fd, path);
	if (!r)
		r = snap_check(&s->file, &s->info, &s->was);
	if (!r)
		return s;
	hutch_snap_free(s);
	return NULL;
}

int hutch_restore(struct hutch *h, const char *path)
{
	if (h->vm || h->snap)
		return hutch_fail(h, err(-EBUSY, "snapshot %s: this handle has a machine already",
					 path));
	h->snap = open_snap(path, false);
	if (!h->snap)
		return hutch_fail(h, err_last_code());
	/* its folder has gone, or is another's; a new one is made with a name */
	if (h->snap->was.vsocks)
		h->snap->was.vsock[0].path[0] = '\0';
	conf_take_made(&h->conf, &h->snap->was);
	for_each_field (f, conf_fields)
		if (f->made)
			snprintf(h->origins.at[f - conf_fields], CONF_ORIGIN, "snapshot %s", path);
	h->stale = h->conf.agent;
	return 0;
}

/* does "VALUE,KEY=VALUE" of a disk tell where it is? What is left as it was has to be what it was
 */
static bool tells_place(const char *text)
{
	static const char *const places[] = { "path=", "overlay=" };

	for (size_t n;; text += n + 1) {
		n = strcspn(text, ",");
		if (!memchr(text, '=', n))
			return true; /* the path, which needs no name */
		for (unsigned i = 0; i < ARRAY_SIZE(places); i++)
			if (!strncmp(text, places[i], strlen(places[i])))
				return true;
		if (!text[n])
			return false;
	}
}

int hutch_snap_set(struct hutch *h, const char *key, const char *value)
{
	struct conf *old = malloc(sizeof(*old));
	const struct field *f;
	struct conf_ref ref = { .f = NULL };
	int r;

	if (!old)
		return err(-ENOMEM, "%s: out of memory", key);
	*old = h->conf;
	f = field_find(conf_fields, key);
	if (f && f->kind != FIELD_LIST)
		r = conf_set(&h->conf, "", key, value);
	else
		r = conf_change(&h->conf, key, value, &ref);
	if (!r)
		r = conf_check_made(&h->conf, &h->snap->was);
	if (r)
		h->conf = *old;
	else if (ref.f && !strcmp(ref.f->name, "disk") &&
		 (ref.sub ? !strcmp(ref.sub->name, "path") || !strcmp(ref.sub->name, "overlay")
			  : tells_place(value)))
		h->snap->anew |= 1U << ref.i;
	free(old);
	return r;
}

struct vm *hutch_snap_machine(struct hutch *h)
{
	struct snap *s = h->snap;
	struct vm *vm = NULL;

	if (s->fd < 0)
		err(-EINVAL, "snapshot %s: was restored by this handle before", s->file.name);
	else if (!snap_check_disks(&s->info, &h->conf, s->anew))
		vm = vm_restore(h->main.loop, &h->conf, &s->file);
	if (vm) {
		snap_close(&s->file);
		cleanup_close(&s->fd);
		s->fd = -1;
	}
	return vm;
}

int hutch_snapshot(struct hutch *h, int fd, const char *label, int level)
{
	char request[256];
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return hutch_fail(h, err(-errno, "snapshot: its file: %s", strerror(errno)));
	if (flags & O_APPEND)
		return hutch_fail(h,
				  err(-EINVAL, "snapshot: its file is open for appending, and is "
					       "written at any place; open it without O_APPEND"));
	snprintf(request, sizeof(request), "snapshot %d %s", level < 0 ? SNAP_LEVEL : level,
		 label ? label : "");
	return hutch_on_loop(h, request, fd, NULL);
}

static void tell(const struct snap *s, struct hutch_snap *ret)
{
	struct stat st;

	*ret = (struct hutch_snap){
		.created_ms = s->info.created_ms,
		.memory = s->was.memory,
		.resident = s->info.resident,
		.size = s->file.head.size,
		.agent = s->was.agent,
	};
	if (!fstat(s->fd, &st))
		ret->size = (uint64_t)st.st_blocks * 512;
	for (unsigned i = 0; i < sizeof(s->file.head.id); i++)
		snprintf(ret->id + 2 * i, 3, "%02x", s->file.head.id[i]);
	snprintf(ret->name, sizeof(ret->name), "%s", s->was.name);
	snprintf(ret->label, sizeof(ret->label), "%s", s->info.label);
	snprintf(ret->hutch, sizeof(ret->hutch), "%s", s->info.hutch);
}

int hutch_snap_look(struct hutch *h, const char *path, struct hutch_snap *ret, void **ret_tree)
{
	struct snap *s = open_snap(path, true);
	int size;

	if (!s)
		return hutch_fail(h, err_last_code());
	tell(s, ret);
	size = (int)s->file.tree_size;
	if (ret_tree) {
		*ret_tree = s->file.tree;
		s->file.tree = NULL;
	}
	hutch_snap_free(s);
	return size;
}

int hutch_snap_verify(struct hutch *h, const char *path)
{
	struct snap *s = open_snap(path, true);
	int r;

	if (!s)
		return hutch_fail(h, err_last_code());
	r = hutch_fail(h, snap_verify(&s->file, &s->was));
	hutch_snap_free(s);
	return r;
}
