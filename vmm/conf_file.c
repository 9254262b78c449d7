/*
 * conf_file.c - files of keys into the configuration, and the templates they extend
 *
 * 1. All files are read first, once each, and looked through for `extends`;
 *    what is looked at is what is merged.
 * 2. All templates are merged before all files: a template is what every file may
 *    change.  A template that several name is merged once, where it came first.
 * 3. A file is known by its device and inode, whatever it is called.
 * 4. One that nobody named (CONF_SOURCE_OWN) is merged within a fence, and so is
 *    what it extends.  Whoever names it as well takes the fence away.
 *
 * #syscalls:before openat read newfstatat geteuid getcwd readlink
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf_event.h"
#include "log.h"

#define DEPTH 8 /* templates over one another */

struct file {
	char name[CONF_PATH];
	unsigned flags; /* enum conf_source_flags */
	dev_t dev;
	ino_t ino;
	char *text;
	size_t len;
	char extends[CONF_PATH];
	char where[CONF_ORIGIN]; /* it says so */
	struct conf_fence fence; /* CONF_SOURCE_OWN */
};

struct pile {
	struct file **file;
	unsigned n;
};

static void free_file(struct file *f)
{
	if (f)
		free(f->text);
	free(f);
}

static void free_pile(struct pile *p)
{
	for (unsigned i = 0; i < p->n; i++)
		free_file(p->file[i]);
	free(p->file);
}

static bool same(const struct file *a, const struct file *b)
{
	return a->dev == b->dev && a->ino == b->ino;
}

/* --- one file --- */

static bool is_toml(const char *name)
{
	size_t len = strlen(name);

	return len > 5 && !strcmp(name + len - 5, ".toml");
}

static int load_text(struct conf *conf, const char *name, const void *text, size_t len,
		     struct conf_origins *origins, const struct conf_fence *fence)
{
	if (len > CONF_FILE_MAX)
		return err(-EFBIG, "%s: is larger than 1 MiB; a configuration is a page", name);
	return (is_toml(name) ? conf_load_toml : conf_load_yaml)(conf, name, text, len, origins,
								 fence);
}

int conf_load_text(struct conf *conf, const char *name, const void *text, size_t len,
		   struct conf_origins *origins)
{
	return load_text(conf, name, text, len, origins, NULL);
}

static int foreign(const struct file *f, const struct stat *st)
{
	const char *fix = f->flags & CONF_SOURCE_OPTIONAL
				  ? "name it with --config to take it all the same"
				  : "what names it is only taken if nobody else can change it";

	if (!(f->flags & CONF_SOURCE_OWN))
		return 0;
	if (st->st_uid && st->st_uid != geteuid())
		return err(-EPERM, "%s: belongs to another user (uid %u); %s", f->name, st->st_uid,
			   fix);
	if (S_ISREG(st->st_mode) && st->st_mode & S_IWOTH)
		return err(-EPERM, "%s: anybody may write it; chmod o-w helps; %s", f->name, fix);
	return 0;
}

static int read_text(struct file *f, int fd)
{
	ssize_t n = 1;

	f->text = malloc(CONF_FILE_MAX + 1);
	if (!f->text)
		return err(-ENOMEM, "config file %s: out of memory", f->name);
	while (f->len <= CONF_FILE_MAX && n > 0) {
		n = read(fd, f->text + f->len, CONF_FILE_MAX + 1 - f->len);
		f->len += n > 0 ? (size_t)n : 0;
	}
	return n < 0 ? err(-errno, "config file %s: %s", f->name, strerror(errno)) : 0;
}

static int open_text(struct file *f, const char *path)
{
	bool own = f->flags & CONF_SOURCE_OWN;
	cleanup_fd int fd = -1;
	struct stat st;
	int r = 0;

	/* a link of somebody else's leads where he likes, and a pipe of his never ends */
	if (own && !lstat(f->name, &st))
		r = foreign(f, &st);
	if (!r) {
		fd = open(path, O_RDONLY | O_CLOEXEC | (own ? O_NONBLOCK : 0));
		if (fd < 0 || fstat(fd, &st))
			return err(-errno, "config file %s: %s", f->name, strerror(errno));
		r = foreign(f, &st);
	}
	if (r)
		return r;
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	return read_text(f, fd);
}

/* what @f extends, into the file itself */
static int find_extends(struct file *f)
{
	cleanup_free struct conf *conf = malloc(sizeof(*conf));
	cleanup_free struct conf_origins *origins = calloc(1, sizeof(*origins));
	int r;

	if (!conf || !origins)
		return err(-ENOMEM, "config file %s: out of memory", f->name);
	conf_defaults(conf);
	r = conf_load_text(conf, f->name, f->text, f->len, origins);
	if (r || !conf->extends[0])
		return r;
	memcpy(f->extends, conf->extends, sizeof(f->extends));
	memcpy(f->where, origins->at[field_find(conf_fields, "extends") - conf_fields],
	       sizeof(f->where));
	return 0;
}

/* @path is where @name, which messages have, leads */
static int open_file(const char *name, const char *path, unsigned flags, struct file **ret)
{
	struct file *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return err(-ENOMEM, "config file %s: out of memory", name);
	f->flags = flags;
	r = str_copy(f->name, sizeof(f->name), name);
	if (r)
		r = err(r, "config file %.64s...: its name is too long", name);
	if (!r)
		r = open_text(f, path);
	if (!r)
		r = find_extends(f);
	if (r)
		free_file(f);
	else
		*ret = f;
	return r;
}

/* --- many --- */

static int push(struct pile *p, struct file *f)
{
	struct file **more = realloc(p->file, (p->n + 1) * sizeof(*more));

	if (!more)
		return err(-ENOMEM, "config file %s: out of memory", f->name);
	p->file = more;
	p->file[p->n++] = f;
	return 0;
}

/* is it there already? then it is what @f is, and has no fence if @f has none */
static bool holds(const struct pile *p, const struct file *f)
{
	for (unsigned i = 0; i < p->n; i++) {
		if (!same(p->file[i], f))
			continue;
		if (!(f->flags & CONF_SOURCE_OWN))
			p->file[i]->flags &= ~(unsigned)CONF_SOURCE_OWN;
		return true;
	}
	return false;
}

/* a file that is there by default and is named as well is merged where it is named */
static bool is_named(const struct conf_source *from, unsigned n, const struct file *f)
{
	struct stat st;

	for (unsigned i = 0; i < n; i++)
		if (!(from[i].flags & (CONF_SOURCE_OPTIONAL | CONF_SOURCE_TEMPLATE)) &&
		    !stat(from[i].path, &st) && st.st_dev == f->dev && st.st_ino == f->ino)
			return true;
	return false;
}

/* around the folder that @f lies in */
static int put_fence(struct file *f)
{
	const char *slash = strrchr(f->name, '/');
	char folder[CONF_PATH];

	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - f->name) + 1 : 1,
		 slash ? f->name : ".");
	memcpy(f->fence.file, f->name, sizeof(f->fence.file));
	if (!realpath(folder, f->fence.folder))
		return err(-errno, "config file %s: %s: %s", f->name, folder, strerror(errno));
	return 0;
}

/* the template of @f: its path is as seen from @f's folder */
static int open_template(const struct file *f, struct file **ret)
{
	const char *slash = strrchr(f->name, '/');
	int folder = *f->extends == '/' || !slash ? 0 : (int)(slash - f->name) + 1;
	bool own = f->flags & CONF_SOURCE_OWN;
	char name[2 * CONF_PATH], end[CONF_PATH], why[512];
	int r;

	if (folder == 2 && !strncmp(f->name, "./", 2))
		folder = 0;
	snprintf(name, sizeof(name), "%.*s%s", folder, f->name, f->extends);
	if (own) {
		snprintf(end, sizeof(end), "%.*s", CONF_PATH - 1, name);
		snprintf(why, sizeof(why), "%.300s: extends", f->where);
		r = conf_fence_path(&f->fence, why, end);
		if (r)
			return r;
	}
	r = open_file(name, own ? end : name, f->flags & CONF_SOURCE_OWN, ret);
	if (!r) {
		(*ret)->fence = f->fence;
		return 0;
	}
	snprintf(why, sizeof(why), "%s", err_last());
	return err(r, "%s: extends: %s", f->where, why);
}

/* what @f extends, and what that does, the last one first, behind the templates there are */
static int push_templates(struct pile *templates, struct file *f)
{
	const struct file *chain[DEPTH + 1] = { f };
	struct pile found = { .n = 0 };
	unsigned n = 0;
	int r = 0;

	while (!r && chain[n]->extends[0]) {
		struct file *t = NULL;

		if (n == DEPTH) {
			r = err(-ELOOP, "%s: extends: more than %d templates extend one another",
				chain[n]->where, DEPTH);
			break;
		}
		r = open_template(chain[n], &t);
		if (r)
			break;
		for (unsigned i = 0; !r && i <= n; i++)
			if (same(chain[i], t))
				r = err(-ELOOP, "%s: extends: %s extends itself in the end",
					chain[n]->where, t->name);
		if (!r && holds(templates, t)) {
			free_file(t);
			break;
		}
		if (!r)
			r = push(&found, t);
		if (r) {
			free_file(t);
			break;
		}
		chain[++n] = t;
	}
	while (!r && found.n) {
		r = push(templates, found.file[found.n - 1]);
		found.n -= !r;
	}
	free_pile(&found);
	return r;
}

/* @from[0], before @n - 1 others */
static int take(struct pile *templates, struct pile *files, const struct conf_source *from,
		unsigned n)
{
	struct pile *to = from->flags & CONF_SOURCE_TEMPLATE ? templates : files;
	struct file *f = NULL;
	int r = open_file(from->path, from->path, from->flags, &f);

	if (from->flags & CONF_SOURCE_OPTIONAL && (r == -ENOENT || r == -ENOTDIR))
		return 0;
	if (from->flags & CONF_SOURCE_OPTIONAL && r == -EPERM) {
		log_warn("%s; it is passed over", err_last());
		return 0;
	}
	if (r)
		return r;
	if (from->flags & CONF_SOURCE_OPTIONAL && is_named(from + 1, n - 1, f)) {
		free_file(f);
		return 0;
	}
	if (f->flags & CONF_SOURCE_OWN)
		r = put_fence(f);
	if (!r)
		r = push_templates(templates, f);
	if (!r && !(to == templates && holds(templates, f))) {
		r = push(to, f);
		if (!r)
			return 0;
	}
	free_file(f);
	return r;
}

static int merge(const struct pile *p, struct conf *conf, struct conf_origins *origins)
{
	int r = 0;

	for (unsigned i = 0; !r && i < p->n; i++) {
		const struct file *f = p->file[i];

		r = load_text(conf, f->name, f->text, f->len, origins,
			      f->flags & CONF_SOURCE_OWN ? &f->fence : NULL);
	}
	return r;
}

int conf_load_all(struct conf *conf, const struct conf_source *from, unsigned n,
		  struct conf_origins *origins)
{
	struct pile templates = { .n = 0 }, files = { .n = 0 };
	int r = 0;

	for (unsigned i = 0; !r && i < n; i++)
		r = take(&templates, &files, &from[i], n - i);
	if (!r)
		r = merge(&templates, conf, origins);
	if (!r)
		r = merge(&files, conf, origins);
	/* it was followed, and is no part of what the machine is */
	conf->extends[0] = '\0';
	if (origins)
		origins->at[field_find(conf_fields, "extends") - conf_fields][0] = '\0';
	free_pile(&templates);
	free_pile(&files);
	return r;
}

int conf_load(struct conf *conf, const char *path, struct conf_origins *origins)
{
	return conf_load_all(conf, &(struct conf_source){ .path = path }, 1, origins);
}
