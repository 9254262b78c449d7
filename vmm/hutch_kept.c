/*
 * hutch_kept.c - where a restored machine's memory comes from
 *
 * From a file that has it unpacked, which all machines of one snapshot map: it is
 * kept in a folder of the caller's, for this start of the host, by the first one
 * of them.  That one has its memory as it is wanted (pager.h), or where this
 * host does not allow that, unpacks it first.
 *
 * #syscalls:caller openat read write
 * #syscalls:before openat newfstatat geteuid utimensat fcntl close
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hutch_snap.h"
#include "log.h"

static int open_kept(const struct snap *s, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return -1;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
	    !(st.st_mode & 0077) && (uint64_t)st.st_size == snap_memory_size(&s->file)) {
		futimens(fd, NULL); /* used: the ones that are not go first */
		return fd;
	}
	close(fd);
	return -1;
}

/* an empty file for it, or -1: there is no place, or somebody else is at it */
static int begin_kept(struct snap *s)
{
	int fd = s->kept[0] ? kept_begin(s->kept, s->kept_tmp) : -1;

	if (fd < 0)
		s->kept_tmp[0] = '\0';
	return MAX(fd, -1);
}

/*
 * What guests of this snapshot wait for, in the order of the first one: unlike memory it is of use
 * on the next start of this host, too, and where memory was trimmed.  It tells what comes early and
 * nothing else, so it is believed.
 */
static bool name_first(const struct snap *s, char path[KEPT_PATH])
{
	char id[SNAP_ID];

	snap_print_id(s->file.head.id, id);
	return s->keep[0] && snprintf(path, KEPT_PATH, "%s/%s.first", s->keep, id) < KEPT_PATH;
}

static void find_first(struct snap *s)
{
	size_t most = s->file.head.chunks * sizeof(*s->first);
	char path[KEPT_PATH];
	cleanup_fd int fd =
		name_first(s, path) ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	ssize_t len;

	s->first = fd < 0 ? NULL : calloc(1, most);
	if (!s->first)
		return;
	len = read(fd, s->first, most);
	s->lazy.first = s->first;
	s->lazy.firsts = len > 0 ? (size_t)len / sizeof(*s->first) : 0;
}

/* once: the next time not much is waited for, because it has come before */
static void keep_first(const struct snap *s, const struct pager *p)
{
	char path[KEPT_PATH], tmp[KEPT_PATH];
	size_t n = pager_waits(p, NULL, 0);
	cleanup_free uint32_t *order = s->first || !n ? NULL : calloc(n, sizeof(*order));
	cleanup_fd int fd = order && name_first(s, path) ? kept_begin(path, tmp) : -1;

	if (fd < 0)
		return;
	pager_waits(p, order, n);
	if (write(fd, order, n * sizeof(*order)) != (ssize_t)(n * sizeof(*order)) ||
	    kept_end(tmp, path))
		kept_drop(tmp);
}

static void finish_kept(struct snap *s, bool whole)
{
	if (s->kept_tmp[0] && (!whole || kept_end(s->kept_tmp, s->kept)))
		kept_drop(s->kept_tmp);
	s->kept_tmp[0] = '\0';
}

static void end_kept(void *arg, const struct pager *p, bool whole)
{
	struct snap *s = arg;

	finish_kept(s, whole);
	keep_first(s, p);
}

static void name_kept(struct snap *s)
{
	char id[33], host[HUTCH_HOST_BOOT];

	if (!s->keep[0] || hutch_host_boot(host))
		return;
	snap_print_id(s->file.head.id, id);
	if (snprintf(s->kept, sizeof(s->kept), "%s/%s.%.8s.memory", s->keep, id, host) >=
	    (int)sizeof(s->kept))
		s->kept[0] = '\0';
}

/* its memory as a file, with all of it; -1: there is none, and it is unpacked for this machine
 * alone
 */
static int unpack_memory(struct snap *s, int *ret)
{
	int fd = begin_kept(s), r;

	if (fd < 0)
		return 0;
	r = snap_unpack(&s->file, &s->was, fd);
	finish_kept(s, !r);
	if (r)
		close(fd);
	else
		*ret = fd;
	return r == -EBADMSG ? r : 0;
}

int hutch_kept_find(struct snap *s, int *ret, uint64_t *ret_off)
{
	*ret = -1;
	*ret_off = 0;
	if ((s->boot || s->mapped) && s->file.flat) { /* ours, and it lies there as it is */
		*ret = fcntl(s->fd, F_DUPFD_CLOEXEC, 0);
		*ret_off = s->file.flat;
		return 0;
	}
	name_kept(s);
	*ret = s->kept[0] ? open_kept(s, s->kept) : -1;
	if (*ret >= 0)
		return 0;
	s->lazy.uffd = s->eager ? -1 : pager_open();
	if (s->lazy.uffd < 0) {
		if (!s->eager)
			log_info("snapshot %s: all of its memory is unpacked before it runs, "
				 "because this user gets no userfaultfd for KVM here: %s",
				 s->file.name, strerror(-s->lazy.uffd));
		return unpack_memory(s, ret);
	}
	s->lazy.keep = begin_kept(s);
	find_first(s);
	return 0;
}

void hutch_kept_init(struct snap *s)
{
	s->lazy = (struct pager_conf){ .uffd = -1, .keep = -1, .kept = end_kept, .arg = s };
}

void hutch_kept_end(struct snap *s)
{
	free(s->first);
	s->first = NULL;
	cleanup_close(&s->lazy.uffd);
	cleanup_close(&s->lazy.keep);
	s->lazy.uffd = s->lazy.keep = -1;
	if (s->kept_tmp[0])
		kept_drop(s->kept_tmp);
	s->kept_tmp[0] = '\0';
}
