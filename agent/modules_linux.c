/*
 * modules_linux.c - loads kernel modules
 *
 * From the files of the initramfs, by its modules.dep and modules.alias as depmod writes them: a
 * finit_module each and no other process.  The folder is held open, so it outlives the initramfs
 * as root.  A kernel with everything built in needs none of this and has none of it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "os_linux.h"

#define WORDS 32 /* of a line: a module and what it needs */

int modules_open(void)
{
	struct utsname name;
	char path[32 + sizeof(name.release)];
	int fd;

	if (access("/proc/modules", F_OK) || uname(&name))
		return -1;
	snprintf(path, sizeof(path), "/lib/modules/%s", name.release);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && getpid() == 1)
		log_say(LEVEL_ERROR, "this kernel is %s, and the initramfs has no modules for it",
			name.release);
	return fd;
}

/* "a/virtio-rng.ko" is virtio_rng */
static void name_of(const char *path, char *ret, size_t size)
{
	const char *slash = strrchr(path, '/');
	size_t i;

	if (slash)
		path = slash + 1;
	for (i = 0; i + 1 < size && path[i] && path[i] != '.'; i++)
		ret[i] = path[i] == '-' ? '_' : path[i];
	ret[i] = '\0';
}

/* also true for what is built in and has parameters */
static bool is_loaded(const char *name)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/module/%s", name);
	return !access(path, F_OK);
}

static void load_file(const struct os *os, const char *path)
{
	char name[64];
	int fd;

	name_of(path, name, sizeof(name));
	if (is_loaded(name))
		return;
	fd = openat(os->modules, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
		log_say(LEVEL_ERROR, "module %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static FILE *open_list(const struct os *os, const char *name)
{
	int fd = os->modules < 0 ? -1 : openat(os->modules, name, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? NULL : fdopen(fd, "r");
}

void module_load(const struct os *os, const char *name)
{
	char *line = NULL, *word[WORDS], *save, *w, found[64];
	FILE *f = is_loaded(name) ? NULL : open_list(os, "modules.dep");
	size_t size = 0;
	int n = 0;

	if (!f)
		return;
	while (!n && getline(&line, &size, f) > 0) {
		name_of(line, found, sizeof(found));
		if (strcmp(found, name) != 0)
			continue;
		for (w = strtok_r(line, ": \n", &save); w && n < WORDS;
		     w = strtok_r(NULL, ": \n", &save))
			word[n++] = w;
	}
	/* each stands before what it needs */
	while (n > 0)
		load_file(os, word[--n]);
	free(line);
	fclose(f);
}

/* calls @each for the modalias of each device of a bus; false when there is none that @each likes
 */
static bool bus_walk(const struct os *os, const char *bus,
		     bool (*each)(const struct os *os, const char *alias, const void *arg),
		     const void *arg)
{
	char path[64], alias[256];
	struct dirent *e;
	bool liked = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/%s/devices", bus);
	dir = opendir(path);
	while (dir && !liked && (e = readdir(dir))) {
		snprintf(path, sizeof(path), "%.40s/modalias", e->d_name);
		if (e->d_name[0] != '.' && !file_read(dirfd(dir), path, alias, sizeof(alias)))
			liked = each(os, alias, arg);
	}
	if (dir)
		closedir(dir);
	return liked;
}

static bool starts_with(const struct os *os, const char *alias, const void *start)
{
	(void)os;
	return !strncmp(alias, start, strlen(start));
}

void modules_transport(const struct os *os)
{
	if (os->modules < 0)
		return;
	if (bus_walk(os, "acpi", starts_with, "acpi:LNRO0005:"))
		module_load(os, "virtio_mmio");
	if (bus_walk(os, "pci", starts_with, "pci:v00001AF4"))
		module_load(os, "virtio_pci");
}

void modules_disks(const struct os *os)
{
	if (bus_walk(os, "virtio", starts_with, "virtio:d00000002v"))
		module_load(os, "virtio_blk");
}

/* lines of modules.alias: "alias PATTERN MODULE" */
static bool load_alias(const struct os *os, const char *alias, const void *arg)
{
	char *line = NULL, *save, *pattern, *name;
	FILE *f = open_list(os, "modules.alias");
	size_t size = 0;

	(void)arg;
	while (f && getline(&line, &size, f) > 0) {
		if (!strtok_r(line, " \n", &save))
			continue;
		pattern = strtok_r(NULL, " \n", &save);
		name = strtok_r(NULL, " \n", &save);
		if (name && !fnmatch(pattern, alias, 0))
			module_load(os, name);
	}
	free(line);
	if (f)
		fclose(f);
	return false;
}

void modules_devices(const struct os *os)
{
	bus_walk(os, "virtio", load_alias, NULL);
	bus_walk(os, "acpi", load_alias, NULL);
	bus_walk(os, "pci", load_alias, NULL);
}
