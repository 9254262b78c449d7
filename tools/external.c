/* external.c - verbs that are programs of their own, and other names of verbs */
/* #syscalls:before access newfstatat execve openat getdents64 close */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "external.h"
#include "tool.h"

#define PREFIX	  "hutch-"
#define NAMES_MAX 256

const struct alias aliases[] = {
	{ "create", "run", "-d" },    { "list", "ps", NULL }, { "monitor", "stats", NULL },
	{ "shutdown", "stop", NULL }, { .name = NULL },
};

const struct alias *alias_find(const char *name)
{
	for (const struct alias *a = aliases; a->name; a++)
		if (!strcmp(a->name, name))
			return a;
	return NULL;
}

/* the next folder of PATH, which moves; false at its end. What is relative is left out: it would be
 * whatever lies where we happen to be */
static bool next_folder(const char **path, char *buf, size_t size)
{
	while (*path && **path) {
		size_t len = strcspn(*path, ":");
		bool good = **path == '/' && len < size;

		if (good)
			snprintf(buf, size, "%.*s", (int)len, *path);
		*path += len + ((*path)[len] == ':');
		if (good)
			return true;
	}
	return false;
}

static bool is_name(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-_";

	return *name && *name != '-' && !name[strspn(name, allowed)];
}

static bool is_program(const char *path)
{
	struct stat st;

	return !access(path, X_OK) && !stat(path, &st) && S_ISREG(st.st_mode);
}

static bool find_program(const char *name, char *buf, size_t size)
{
	const char *path = getenv("PATH");
	char folder[4000];

	if (!is_name(name))
		return false;
	while (next_folder(&path, folder, sizeof(folder)))
		if (snprintf(buf, size, "%s/" PREFIX "%s", folder, name) < (int)size &&
		    is_program(buf))
			return true;
	return false;
}

/* take --root out of the flags in front: how many words are left */
static int take_root(char **argv, int flags)
{
	int kept = 0;

	for (int i = 0; i < flags; i++) {
		if (!strcmp(argv[i], "--root") && i + 1 < flags)
			setenv("HUTCH_ROOT", argv[++i], 1);
		else if (!strncmp(argv[i], "--root=", 7))
			setenv("HUTCH_ROOT", argv[i] + 7, 1);
		else
			argv[kept++] = argv[i];
	}
	return kept;
}

int external_run(char **argv, int flags)
{
	char path[4096];
	int kept, n = 0;

	if (!find_program(argv[0], path, sizeof(path)))
		return -ENOENT;
	while (argv[1 + flags + n])
		n++;
	kept = take_root(argv + 1, flags);
	memmove(argv + 1 + kept, argv + 1 + flags, ((size_t)n + 1) * sizeof(*argv));
	argv[0] = path;
	execv(path, argv);
	complain("%s: %s", path, strerror(errno));
	return EXIT_HUTCH;
}

/* --- the list of them --- */

static bool is_hidden(const char *name)
{
	for (unsigned i = 0; verbs[i]; i++)
		if (!strcmp(verbs[i]->name, name))
			return true;
	return alias_find(name) != NULL;
}

static unsigned add_folder(const char *folder, char **name, unsigned n)
{
	DIR *d = opendir(folder);
	struct dirent *e;
	char path[4600];

	while (d && n < NAMES_MAX && (e = readdir(d))) {
		const char *word = e->d_name + sizeof(PREFIX) - 1;

		if (strncmp(e->d_name, PREFIX, sizeof(PREFIX) - 1) || !is_name(word) ||
		    is_hidden(word))
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		if (is_program(path) && (name[n] = strdup(word)))
			n++;
	}
	if (d)
		closedir(d);
	return n;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void external_list(FILE *out, const char *head)
{
	const char *path = getenv("PATH");
	char folder[4000], *name[NAMES_MAX];
	unsigned n = 0;

	while (next_folder(&path, folder, sizeof(folder)))
		n = add_folder(folder, name, n);
	if (n) {
		fputs(head, out);
		qsort(name, n, sizeof(*name), by_name);
	}
	for (unsigned i = 0; i < n; i++) {
		if (!i || strcmp(name[i], name[i - 1]))
			fprintf(out, "  %s\n", name[i]);
	}
	for (unsigned i = 0; i < n; i++)
		free(name[i]);
}
