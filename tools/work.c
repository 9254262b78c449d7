/* #syscalls:caller newfstatat */
/* #syscalls:before access */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "work.h"

#define CODE_PLACE  "/tmp/hutch-code"
#define CHANGES_MAX 10000

struct mount {
	char *host;
	const char *guest; /* within the same text */
	bool back;
};

struct work {
	struct mount *mount;
	unsigned mounts;
	const char *code;
	int runtime; /* of the code */
	char code_path[64];
	char **argv;
	void *before;
	size_t before_size;
	bool known;
	struct work_change *change;
	size_t changes, changes_size;
};

static const struct {
	const char *name, *program, *suffix;
	const char *check[2]; /* what makes it compile and not run */
} runtimes[] = {
	{ "sh", "sh", "sh", { "-n" } },
	{ "python", "python3", "py", { "-m", "py_compile" } },
	{ "javascript", "node", "js", { "--check" } },
};

#define RUNTIMES (sizeof(runtimes) / sizeof(*runtimes))

static bool is_folder(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* "HOST:GUEST[:ro|rw|copy]", which is cut into pieces; @text is as it was given */
static int cut_mount(char *host, const char *text, struct mount *ret)
{
	char *guest = strchr(host, ':'), *how;
	bool back = false;

	if (!guest || guest == host || guest[1] != '/') {
		complain("--mount: '%s' is no mount; write HOST:/GUEST, and :rw behind it to have "
			 "changes copied back",
			 text);
		return -1;
	}
	*guest++ = '\0';
	how = strchr(guest, ':');
	if (how) {
		back = !strcmp(how, ":rw");
		if (!back && strcmp(how, ":ro") && strcmp(how, ":copy")) {
			complain("--mount: '%s' is no mount: '%s' behind the guest's path is none "
				 "of :ro, :rw and :copy",
				 text, how);
			return -1;
		}
		*how = '\0';
	}
	if (access(host, back ? R_OK | W_OK : R_OK)) {
		complain("--mount: %s: %s; name a file or folder of this host that may be read%s",
			 host, strerror(errno), back ? " and written" : "");
		return -1;
	}
	*ret = (struct mount){ host, guest, back };
	return 0;
}

static int parse_mount(const char *text, struct mount *ret)
{
	char *copy = strdup(text);

	if (!copy) {
		complain("out of memory");
		return -1;
	}
	if (!cut_mount(copy, text, ret))
		return 0;
	free(copy);
	return -1;
}

static int take_mounts(struct work *w, const struct given *mounts)
{
	w->mount = calloc(mounts->n + 1, sizeof(*w->mount));
	if (!w->mount)
		return EXIT_HUTCH;
	for (; w->mounts < mounts->n; w->mounts++)
		if (parse_mount(mounts->all[w->mounts], &w->mount[w->mounts]))
			return EXIT_USAGE;
	return 0;
}

static int find_runtime(const char *name)
{
	const char *names[RUNTIMES + 1] = { NULL }, *near;

	for (unsigned i = 0; i < RUNTIMES; i++) {
		if (!strcmp(name, runtimes[i].name))
			return (int)i;
		names[i] = runtimes[i].name;
	}
	near = hutch_nearest(name, names);
	complain("error %d E_RUNTIME: there is no runtime '%s'%s%s%s; it is sh, python or "
		 "javascript",
		 EXIT_HUTCH, name, near ? "; did you mean '" : "", near ? near : "",
		 near ? "'?" : "");
	return -1;
}

static int take_code(struct work *w, const struct given *runtime, const char *code, char **argv)
{
	int i = find_runtime(runtime->n ? runtime->text : "sh");
	unsigned n = 0;

	if (i < 0)
		return EXIT_HUTCH;
	if (access(code, R_OK)) {
		complain("--code %s: %s", code, strerror(errno));
		return EXIT_USAGE;
	}
	while (argv[n])
		n++;
	w->argv = calloc(n + 3, sizeof(*w->argv));
	if (!w->argv)
		return EXIT_HUTCH;
	snprintf(w->code_path, sizeof(w->code_path), CODE_PLACE ".%s", runtimes[i].suffix);
	w->code = code;
	w->runtime = i;
	w->argv[0] = (char *)(uintptr_t)runtimes[i].program;
	w->argv[1] = w->code_path;
	memcpy(w->argv + 2, argv, n * sizeof(*argv));
	return 0;
}

struct work *work_read(const struct given *mounts, const struct given *runtime,
		       const struct given *code, char **argv, int *ret_status)
{
	struct work *w = calloc(1, sizeof(*w));

	*ret_status = EXIT_HUTCH;
	if (w)
		*ret_status = take_mounts(w, mounts);
	if (w && !*ret_status && code->n)
		*ret_status = take_code(w, runtime, code->text, argv);
	else if (w && !*ret_status && runtime->n) {
		complain("--runtime %s: which code? name its file with --code FILE", runtime->text);
		*ret_status = EXIT_USAGE;
	}
	if (w && !*ret_status && !w->argv)
		w->argv = argv;
	if (!*ret_status)
		return w;
	work_free(w);
	return NULL;
}

void work_free(struct work *w)
{
	if (!w)
		return;
	for (unsigned i = 0; i < w->mounts; i++)
		free(w->mount[i].host);
	for (size_t i = 0; i < w->changes; i++)
		free(w->change[i].name);
	free(w->change);
	free(w->mount);
	free(w->before);
	if (w->code)
		free(w->argv);
	free(w);
}

bool work_any(const struct work *w)
{
	return w->mounts || w->code;
}

char **work_argv(const struct work *w)
{
	return w->argv;
}

int work_compile(struct work *w)
{
	char **argv = calloc(5, sizeof(*argv));
	unsigned n = 0;

	if (!argv)
		return -ENOMEM;
	argv[n++] = (char *)(uintptr_t)runtimes[w->runtime].program;
	for (unsigned i = 0; i < 2 && runtimes[w->runtime].check[i]; i++)
		argv[n++] = (char *)(uintptr_t)runtimes[w->runtime].check[i];
	argv[n] = w->code_path;
	free(w->argv);
	w->argv = argv;
	return 0;
}

const char *work_folder(const struct work *w)
{
	return w->mounts ? w->mount[0].guest : NULL;
}

int work_in(struct work *w, struct transfer *t)
{
	char from[4300];

	for (unsigned i = 0; i < w->mounts; i++) {
		const struct mount *m = &w->mount[i];

		/* the guest's path is this very folder, whether it is there already or not */
		snprintf(t->what_for, sizeof(t->what_for), "--mount %.250s", m->host);
		snprintf(from, sizeof(from), "%.4200s%s", m->host, is_folder(m->host) ? "/." : "");
		if (transfer_put(t, from, m->guest))
			return EXIT_HUTCH;
	}
	strcpy(t->what_for, "--code");
	if (w->code && transfer_put(t, w->code, w->code_path))
		return EXIT_HUTCH;
	if (w->mounts)
		w->before = transfer_tree(t, w->mount[0].guest, &w->before_size);
	return 0;
}

static void on_change(void *arg, enum tree_change what, const char *name, size_t len)
{
	struct work *w = arg;

	if (w->changes == CHANGES_MAX)
		return;
	if (w->changes == w->changes_size) {
		size_t size = w->changes_size ? w->changes_size * 2 : 64;
		struct work_change *more = realloc(w->change, size * sizeof(*more));

		if (!more)
			return;
		w->change = more;
		w->changes_size = size;
	}
	w->change[w->changes] = (struct work_change){ what, strndup(name, len) };
	w->changes += w->change[w->changes].name != NULL;
}

int work_out(struct work *w, struct transfer *t, bool keep, bool *ret_over)
{
	char from[4300];
	struct tree_result result;
	size_t size = 0;
	void *after;
	int status = 0, r;

	*ret_over = false;
	if (w->before) {
		after = transfer_tree(t, w->mount[0].guest, &size);
		w->known = after && !tree_diff(w->before, w->before_size, after, size, on_change, w,
					       &result);
		free(after);
	}
	for (unsigned i = 0; keep && i < w->mounts; i++) {
		const struct mount *m = &w->mount[i];

		if (!m->back)
			continue;
		snprintf(t->what_for, sizeof(t->what_for), "--mount %.250s", m->host);
		snprintf(from, sizeof(from), "%.4200s%s", m->guest, is_folder(m->host) ? "/." : "");
		r = transfer_get(t, from, m->host);
		if (r)
			status = EXIT_HUTCH;
		*ret_over |= r == -EFBIG;
	}
	return status;
}

bool work_changes(const struct work *w, const struct work_change **ret, size_t *ret_n)
{
	*ret = w->change;
	*ret_n = w->changes;
	return w->known;
}
