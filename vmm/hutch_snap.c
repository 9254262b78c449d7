/*
 * hutch_snap.c - snapshots in the public interface
 *
 * A handle that is restored has the snapshot's machine and the caller's own
 * limits; hutch_set() then takes what a restore may change and refuses the rest.
 * The file names things of this host (disks, sockets), which are opened for who
 * restores it: so it has to be his own, or root's.
 *
 * #syscalls:caller fcntl:F_GETFL fcntl:F_DUPFD_CLOEXEC newfstatat memfd_create close
 */
#include <fcntl.h>
#include <libfdt.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hutch_snap.h"
#include "snap_diff.h"
#include "vm.h"

static void close_file(struct snap *s)
{
	snap_close(&s->file);
	cleanup_close(&s->fd);
	s->fd = -1;
}

void hutch_snap_free(struct snap *s)
{
	if (!s)
		return;
	close_file(s);
	hutch_kept_end(s);
	free(s);
}

struct snap *hutch_snap_open(const char *path, bool any, bool parents)
{
	struct snap *s = calloc(1, sizeof(*s));
	int r;

	if (!s) {
		err(-ENOMEM, "snapshot: out of memory");
		return NULL;
	}
	hutch_kept_init(s);
	s->fd = snap_open_path(path, any);
	r = s->fd < 0 ? s->fd : snap_open(&s->file, s->fd, path);
	if (!r)
		r = snap_check(&s->file, &s->info, &s->was);
	if (!r && parents)
		r = snap_open_parents(&s->file, path, any);
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
	h->snap = hutch_snap_open(path, false, true);
	if (!h->snap)
		return hutch_fail(h, err_last_code());
	h->snap->file.progress = &h->progress;
	/* its folder has gone, or is another's; a new one is made with a name */
	if (h->snap->was.vsocks)
		h->snap->was.vsock[0].path[0] = '\0';
	conf_take_made(&h->conf, &h->snap->was);
	for_each_field (f, conf_fields)
		if (f->made)
			snprintf(h->origins.at[f - conf_fields], CONF_ORIGIN, "snapshot %s", path);
	h->stale = h->conf.agent ? STALE_PAST : STALE_NOT;
	return 0;
}

const struct conf *hutch_snap_was(const struct hutch *h)
{
	return h->renewed ? &h->renewed->was : &h->snap->was;
}

const struct conf *hutch_snap_now(const struct hutch *h)
{
	return h->renewed && h->renewed->other ? &h->renewed->now : &h->conf;
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
	struct snap *s = h->snap;
	struct conf_ref ref;
	void *at, *before;
	size_t size;
	int r = conf_ref(&h->conf, key, &ref);

	if (r)
		return r;
	/* the whole configuration is large, and each page of it that is written is a fork's own */
	size = (size_t)ref.f->size * ref.f->count;
	at = field_at(ref.f, &h->conf, 0);
	before = malloc(size);
	if (!before)
		return err(-ENOMEM, "snapshot: out of memory");
	memcpy(before, at, size);
	if (ref.f->kind == FIELD_LIST)
		r = conf_change(&h->conf, key, value, &ref);
	else
		r = conf_set(&h->conf, "", key, value);
	if (!r)
		r = conf_check_made(&h->conf, &s->was);
	if (r)
		memcpy(at, before, size);
	else if (!strcmp(ref.f->name, "disk") &&
		 (ref.sub ? !strcmp(ref.sub->name, "path") || !strcmp(ref.sub->name, "overlay")
			  : tells_place(value)))
		s->anew |= 1U << ref.i;
	free(before);
	return r;
}

void hutch_on_progress(struct hutch *h, void (*fn)(void *arg, uint64_t done, uint64_t all),
		       void *arg)
{
	h->progress = (struct snap_progress){ fn, arg };
}

void hutch_restore_eager(struct hutch *h)
{
	if (h->snap)
		h->snap->eager = true;
}

int hutch_lazy(void)
{
	int fd = pager_open();

	if (fd >= 0)
		close(fd);
	return MIN(fd, 0);
}

void hutch_restore_map(struct hutch *h)
{
	if (h->snap)
		h->snap->mapped = true;
}

void hutch_restore_keep(struct hutch *h, const char *folder)
{
	if (h->snap && str_copy(h->snap->keep, sizeof(h->snap->keep), folder))
		h->snap->keep[0] = '\0';
}

struct vm *hutch_snap_machine(struct hutch *h)
{
	struct snap *s = h->snap;
	cleanup_fd int memory = -1;
	struct vm *vm = NULL;
	uint64_t off = 0;

	if (s->used)
		err(-EINVAL, "snapshot %s: was restored by this handle before", s->file.name);
	else if (!snap_check_disks(&s->info, &h->conf, s->anew) &&
		 !hutch_kept_find(s, &memory, &off))
		vm = vm_restore(h->main.loop, &h->conf, &s->file, memory, off,
				s->lazy.uffd >= 0 ? &s->lazy : NULL);
	s->used = vm != NULL;
	if (!vm)
		hutch_kept_end(s);
	else if (s->lazy.uffd < 0) /* else it is read until the machine has ended */
		close_file(s);
	return vm;
}

void hutch_snapshot_disks(struct hutch *h, bool named)
{
	h->named_disks = named;
}

int hutch_snap_ask(struct hutch *h, const char *what, int level, const char *parent, int fd,
		   const char *label, void **ret)
{
	char request[320];
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return hutch_fail(h, err(-errno, "snapshot: its file: %s", strerror(errno)));
	if (flags & O_APPEND)
		return hutch_fail(h,
				  err(-EINVAL, "snapshot: its file is open for appending, and is "
					       "written at any place; open it without O_APPEND"));
	snprintf(request, sizeof(request), "%s %d%s%s%s %s", what, level < 0 ? SNAP_LEVEL : level,
		 h->named_disks ? "+disks" : "", parent ? " " : "", parent ? parent : "",
		 label ? label : "");
	return hutch_on_loop(h, request, fd, ret);
}

int hutch_snapshot(struct hutch *h, int fd, const char *label, int level)
{
	return hutch_snap_ask(h, "snapshot", level, NULL, fd, label, NULL);
}

int hutch_snapshot_live(struct hutch *h, int fd, const char *label, int level)
{
	cleanup_free void *text = NULL;
	int r = hutch_snap_ask(h, "live-snapshot", level, NULL, fd, label, &text);

	return r < 0 ? r : (int)MIN(strtoul(text, NULL, 10), (unsigned long)INT_MAX);
}

/* a machine in its jail cannot open the parents of one, so it gets all in one file */
static int descriptor_of(const struct snap *s)
{
	int fd, r;

	if (!s->file.wanted) {
		fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 0);
		return fd < 0 ? err(-errno, "snapshot %s: %s", s->file.name, strerror(errno)) : fd;
	}
	fd = memfd_create("snapshot", MFD_CLOEXEC);
	if (fd < 0)
		return err(-errno, "snapshot %s: no memory file for it: %s", s->file.name,
			   strerror(errno));
	r = snap_whole(&s->file, &s->was, fd);
	if (!r)
		return fd;
	close(fd);
	return r;
}

int hutch_snap_fd(struct hutch *h, const char *path)
{
	struct snap *s = hutch_snap_open(path, true, true);
	int r;

	if (!s)
		return hutch_fail(h, err_last_code());
	r = hutch_fail(h, descriptor_of(s));
	hutch_snap_free(s);
	return r;
}

/* what its guest was, for the next hutch_ask(), and unless @tree is NULL what it is */
static int renew(struct hutch *h, const char *path, const void *tree)
{
	struct snap *s = hutch_snap_open(path, true, false);
	struct renewed *x = s ? calloc(1, sizeof(*x)) : NULL;
	int r = !s ? err_last_code() : x ? 0 : err(-ENOMEM, "snapshot %s: out of memory", path);

	if (!r && tree) {
		x->other = true;
		r = vm_tree_load(tree, "/config", conf_fields, &x->now);
	}
	if (!r)
		x->was = s->was;
	hutch_snap_free(s);
	if (r) {
		free(x);
		return r;
	}
	free(h->renewed);
	h->renewed = x;
	if (!hutch_snap_now(h)->agent)
		return 0;
	h->stale = STALE_PAST;
	return 1;
}

int hutch_renew(struct hutch *h, const char *path, const void *tree, size_t size)
{
	if (fdt_check_full(tree, size))
		return hutch_fail(h, err(-EINVAL, "the machine's tree makes no sense"));
	return hutch_fail(h, renew(h, path, tree));
}

int hutch_rollback(struct hutch *h, const char *path)
{
	cleanup_fd int fd = hutch_snap_fd(h, path);
	cleanup_free char *request = NULL;
	int r;

	if (fd < 0)
		return fd;
	if (asprintf(&request, "rollback %s", path) < 0)
		return hutch_fail(h, err(-ENOMEM, "snapshot %s: out of memory", path));
	r = hutch_on_loop(h, request, fd, NULL);
	if (!r)
		r = hutch_fail(h, renew(h, path, NULL));
	return MIN(r, 0);
}

unsigned hutch_rollbacks(const struct hutch *h)
{
	return h->vm ? __atomic_load_n(&h->vm->rollbacks, __ATOMIC_RELAXED) : 0;
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
	snap_print_id(s->file.head.id, ret->id);
	if (s->file.wanted) {
		snap_print_id(s->file.wanted->id, ret->parent);
		snprintf(ret->parent_path, sizeof(ret->parent_path), "%s", s->file.wanted->path);
	}
	snprintf(ret->name, sizeof(ret->name), "%s", s->was.name);
	snprintf(ret->label, sizeof(ret->label), "%s", s->info.label);
	snprintf(ret->hutch, sizeof(ret->hutch), "%s", s->info.hutch);
}

int hutch_restored(struct hutch *h, struct hutch_snap *ret)
{
	if (!h->snap)
		return hutch_fail(h, err(-EINVAL, "this machine is no snapshot's"));
	tell(h->snap, ret);
	return 0;
}

int hutch_snap_look(struct hutch *h, const char *path, struct hutch_snap *ret, void **ret_tree)
{
	struct snap *s = hutch_snap_open(path, true, false);
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
	struct snap *s = hutch_snap_open(path, true, true);
	int r;

	if (!s)
		return hutch_fail(h, err_last_code());
	s->file.progress = &h->progress;
	r = hutch_fail(h, snap_verify(&s->file, &s->was));
	hutch_snap_free(s);
	return r;
}

struct telling {
	void (*fn)(void *arg, const char *where, const char *a, const char *b);
	void *arg;
	bool any;
};

static void tell_difference(void *arg, const char *where, const char *a, const char *b)
{
	struct telling *t = arg;

	t->any = true;
	t->fn(t->arg, where, a, b);
}

_Static_assert(HUTCH_DISKS == CONF_DISKS, "a place for each disk");

static struct hutch_diff_part part_of(const struct snap_diff_part *p, bool compared)
{
	return (struct hutch_diff_part){ compared, p->chunks, p->differ, p->bytes };
}

static int compare(const struct snap *a, const struct snap *b, struct telling *t,
		   struct hutch_difference *ret)
{
	const struct snap_diff d = { tell_difference, t };
	bool as_much = a->was.memory == b->was.memory;
	struct snap_diff_data data;
	int r;

	snap_diff_conf(&d, &a->was, &b->was);
	snap_diff_state(&d, &a->file, &b->file);
	r = snap_diff_data(&a->file, &b->file, as_much ? &a->was : NULL, &data);
	if (r)
		return r;
	ret->memory = part_of(&data.memory, as_much);
	for (unsigned i = 0; i < HUTCH_DISKS; i++) {
		ret->disk[i] = part_of(&data.disk[i], true);
		t->any |= data.disk[i].differ != 0;
	}
	return t->any || data.memory.differ;
}

int hutch_snap_diff(struct hutch *h, const char *a, const char *b,
		    void (*fn)(void *arg, const char *where, const char *a, const char *b),
		    void *arg, struct hutch_difference *ret)
{
	struct snap *x = hutch_snap_open(a, true, true),
		    *y = x ? hutch_snap_open(b, true, true) : NULL;
	struct telling t = { .fn = fn, .arg = arg };
	int r = err_last_code();

	if (y) {
		x->file.progress = &h->progress;
		r = compare(x, y, &t, ret);
	}
	hutch_snap_free(x);
	hutch_snap_free(y);
	return hutch_fail(h, r);
}

int hutch_snap_parent(struct hutch *h, const char *path, char *buf, size_t size)
{
	struct snap *s = hutch_snap_open(path, true, false);
	int r;

	if (!s)
		return hutch_fail(h, err_last_code());
	r = hutch_fail(h, snap_find_parent(&s->file, path, true, buf, size));
	hutch_snap_free(s);
	return r;
}
