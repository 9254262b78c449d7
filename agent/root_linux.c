/*
 * root_linux.c - file systems: the root that commands see, and what else is mounted
 *
 * 1. The kernel starts the agent on the initramfs, which is the root of a guest that is given none.
 * 2. A root that is given is mounted read-only as the lower half of an overlay whose upper half is
 *    memory, so that it can be shared and stays as it is; or it is written in place.
 * 3. Below /layer lie the two halves.  Once the overlay is made it has them for itself, and
 *    they are taken out of the tree.
 * 4. The new root is moved over the old one, for the agent and for the kernel's own threads,
 *    which share what process 1 calls its root.  Then the old root's files are removed, because
 * they are memory; the modules stay, for later, behind the agent's descriptor of their folder.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os_linux.h"

#define LAYER	 "/layer"
#define LOWER	 LAYER "/lower"
#define NEW_ROOT "/root.new"

/* "vda": a name of /dev and nothing else */
static int check_disk(const char *what, const char *name, struct why *why)
{
	char path[64], there[128] = "";
	struct dirent *e;
	size_t len = 0;
	DIR *dir;

	if (!name[0] || strchr(name, '/') || strlen(name) > 32)
		return refuse(why, ERROR_REQUEST, 0,
			      "%s '%.40s': not the name of a disk; write one like vda", what, name);
	snprintf(path, sizeof(path), "/dev/%s", name);
	if (!access(path, F_OK))
		return 0;
	dir = opendir("/sys/block");
	while (dir && (e = readdir(dir)) && len < sizeof(there) - 34)
		if (e->d_name[0] != '.')
			len += (size_t)snprintf(there + len, sizeof(there) - len, " %.32s",
						e->d_name);
	if (dir)
		closedir(dir);
	return refuse(why, ERROR_SYSTEM, ENOENT, "%s '%s': the machine has no such disk; it has%s",
		      what, name, len ? there : " none");
}

static int mount_failed(const char *what, const char *device, const char *type, struct why *why)
{
	int error = errno;
	const char *hint = "";

	if (error == ENODEV)
		hint = "; the guest's kernel does not know this file system";
	else if (error == EINVAL)
		hint = "; is that the file system it holds?";
	else if (error == EROFS || error == EACCES)
		hint = "; the disk can only be read, and this needs to write it: a clean image "
		       "mounted read-only does not";
	return refuse(why, ERROR_SYSTEM, error, "%s %s as %s: %s%s", what, device, type,
		      strerror(error), hint);
}

static int overlay(const struct setup *s, const char *device, struct why *why)
{
	char size[48] = "mode=700";

	if (s->layer_size)
		snprintf(size, sizeof(size), "mode=700,size=%" PRIu64, s->layer_size);
	mkdir(LAYER, 0700);
	if (mount("tmpfs", LAYER, "tmpfs", 0, size))
		return refuse(why, ERROR_SYSTEM, errno, "layer over the root, %s: %s", size,
			      strerror(errno));
	if (mkdir(LOWER, 0755) || mkdir(LAYER "/upper", 0755) || mkdir(LAYER "/work", 0755))
		return refuse(why, ERROR_SYSTEM, errno, "layer over the root, %s: %s", size,
			      strerror(errno));
	if (mount(device, LOWER, s->root_type, MS_RDONLY, NULL))
		return mount_failed("root", device, s->root_type, why);
	/* redirect_dir: a folder of the image can be renamed, as dpkg does */
	if (mount("root", NEW_ROOT, "overlay", 0,
		  "lowerdir=" LOWER ",upperdir=" LAYER "/upper,workdir=" LAYER
		  "/work,redirect_dir=on"))
		return refuse(why, ERROR_SYSTEM, errno, "layer over the root: overlay: %s",
			      strerror(errno));
	umount2(LAYER, MNT_DETACH);
	return 0;
}

static int mount_root(const struct os *os, const struct setup *s, struct why *why)
{
	char device[64];

	if (!s->root_type)
		return refuse(why, ERROR_REQUEST, 0, "root '%.40s': no file system was named",
			      s->root);
	if (s->root_flags > 1)
		return refuse(why, ERROR_REQUEST, 0, "root flags %#" PRIx64 ": only 1 is known",
			      s->root_flags);
	module_load(os, "virtio_blk");
	if (check_disk("root", s->root, why))
		return -1;
	module_load(os, s->root_type);
	snprintf(device, sizeof(device), "/dev/%s", s->root);
	mkdir(NEW_ROOT, 0755);
	if (s->root_flags == 1)
		return mount(device, NEW_ROOT, s->root_type, 0, NULL)
			       ? mount_failed("root", device, s->root_type, why)
			       : 0;
	module_load(os, "overlay");
	return overlay(s, device, why);
}

/* not into other file systems, and not @keep, a folder */
static void empty(int dir, const struct stat *keep, dev_t dev)
{
	DIR *d = fdopendir(dir);
	struct dirent *e;
	struct stat st;
	int sub;

	if (!d) {
		close(dir);
		return;
	}
	while ((e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) || st.st_dev != dev)
			continue;
		if (!S_ISDIR(st.st_mode)) {
			unlinkat(dirfd(d), e->d_name, 0);
			continue;
		}
		if (st.st_ino == keep->st_ino)
			continue;
		sub = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (sub >= 0)
			empty(sub, keep, dev);
		unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
	}
	closedir(d);
}

static int move_into(const char *path, struct why *why)
{
	char to[64];

	snprintf(to, sizeof(to), NEW_ROOT "%s", path);
	if (mkdir(to, 0755) && errno != EEXIST)
		return refuse(why, ERROR_SYSTEM, errno, "root: cannot make its folder %s: %s", path,
			      strerror(errno));
	if (mount(path, to, NULL, MS_MOVE, NULL))
		return refuse(why, ERROR_SYSTEM, errno, "root: %s: %s", path, strerror(errno));
	return 0;
}

int root_switch(struct os *os, const struct setup *setup, struct why *why)
{
	static const char *const along[] = { "/dev", "/proc", "/sys", "/run" };
	struct stat keep = { .st_ino = 0 }, st;
	int old;

	if (getpid() != 1)
		return refuse(why, ERROR_REQUEST, 0,
			      "root '%.40s': this guest has a root, on which its init runs",
			      setup->root);
	if (os->root)
		return refuse(why, ERROR_REQUEST, 0, "root '%.40s': this guest has got one already",
			      setup->root);
	if (mount_root(os, setup, why)) {
		umount2(NEW_ROOT, MNT_DETACH);
		umount2(LAYER, MNT_DETACH);
		return -1;
	}
	for (size_t i = 0; i < sizeof(along) / sizeof(along[0]); i++)
		if (move_into(along[i], why))
			return -1;
	old = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (old < 0 || fstat(old, &st) || chdir(NEW_ROOT) || mount(".", "/", NULL, MS_MOVE, NULL) ||
	    chroot(".") || chdir("/")) {
		refuse(why, ERROR_SYSTEM, errno, "root %s: cannot change to it: %s", setup->root,
		       strerror(errno));
		if (old >= 0)
			close(old);
		return -1;
	}
	if (os->modules >= 0)
		fstat(os->modules, &keep);
	empty(old, &keep, st.st_dev);
	os->root = true;
	return 0;
}

static const struct {
	const char *name;
	unsigned long set, clear;
} options[] = {
	{ "ro", MS_RDONLY, 0 },	       { "rw", 0, MS_RDONLY },	   { "nosuid", MS_NOSUID, 0 },
	{ "nodev", MS_NODEV, 0 },      { "noexec", MS_NOEXEC, 0 }, { "noatime", MS_NOATIME, 0 },
	{ "sync", MS_SYNCHRONOUS, 0 }, { "defaults", 0, 0 },
};

/* what mount(2) has as flags; the rest is the file system's */
static unsigned long split_options(char *text, char *rest, size_t size)
{
	unsigned long flags = 0;
	size_t len = 0, i;
	char *save, *o;

	rest[0] = '\0';
	for (o = strtok_r(text, ",", &save); o; o = strtok_r(NULL, ",", &save)) {
		for (i = 0; i < sizeof(options) / sizeof(options[0]); i++)
			if (!strcmp(o, options[i].name))
				break;
		if (i < sizeof(options) / sizeof(options[0]))
			flags = (flags & ~options[i].clear) | options[i].set;
		else if (len + strlen(o) + 2 <= size)
			len += (size_t)snprintf(rest + len, size - len, "%s%s", len ? "," : "", o);
	}
	return flags;
}

/* each folder of a path, as mkdir -p */
static int make_path(const char *path)
{
	char part[512];

	for (const char *p = path; p; p = strchr(p + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", (int)(p - path), path);
		if (part[0] && mkdir(part, 0755) && errno != EEXIST)
			return -1;
	}
	return mkdir(path, 0755) && errno != EEXIST ? -1 : 0;
}

int root_mount(const struct os *os, const struct setup_mount *m, struct why *why)
{
	char source[64], rest[512], text[512];
	unsigned long flags;

	if (m->target[0] != '/' || strlen(m->target) >= 512)
		return refuse(why, ERROR_REQUEST, 0,
			      "mount on '%.100s': the target must begin with / and be shorter than "
			      "512 bytes",
			      m->target);
	if (m->options && strlen(m->options) >= sizeof(text))
		return refuse(why, ERROR_REQUEST, 0, "mount on %.100s: options of %zu bytes",
			      m->target, strlen(m->options));
	if (!strncmp(m->device, "vd", 2)) {
		module_load(os, "virtio_blk");
		if (check_disk("mount", m->device, why))
			return -1;
		snprintf(source, sizeof(source), "/dev/%s", m->device);
	} else {
		/* a tag of virtiofs, or a name that says nothing */
		snprintf(source, sizeof(source), "%.60s", m->device);
	}
	module_load(os, m->type);
	snprintf(text, sizeof(text), "%s", m->options ? m->options : "");
	flags = split_options(text, rest, sizeof(rest));
	if (make_path(m->target))
		return refuse(why, ERROR_SYSTEM, errno,
			      "mount on %.100s: cannot make that folder: %s", m->target,
			      strerror(errno));
	if (mount(source, m->target, m->type, flags, rest[0] ? rest : NULL))
		return mount_failed(m->target, source, m->type, why);
	return 0;
}

/* /proc/mounts has spaces and such as \040 */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] && s[2] && s[3]) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

void root_read_only(void)
{
	int fd = file_open(AT_FDCWD, "/proc/mounts", O_RDONLY);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	char *line = NULL, *save, *source, *target;
	size_t size = 0;

	while (f && getline(&line, &size, f) > 0) {
		source = strtok_r(line, " ", &save);
		target = strtok_r(NULL, " ", &save);
		if (!target || strncmp(source, "/dev/", 5) != 0)
			continue;
		unescape(target);
		mount(NULL, target, NULL, MS_REMOUNT | MS_RDONLY, NULL);
	}
	free(line);
	if (f)
		fclose(f);
}
