#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "archive_rig.h"
#include "fake.h"

static char folder[64];

void rig_begin(bool disk)
{
	bool shm = !disk && !access("/dev/shm", W_OK);

	snprintf(folder, sizeof(folder), "%s/hutch-test.XXXXXX", shm ? "/dev/shm" : "/tmp");
	require(mkdtemp(folder) && !chdir(folder));
}

void rig_done(void)
{
	require(!chdir("/"));
	rig_remove(folder);
}

static void remove_at(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct dirent *e;
	DIR *dir;

	if (fd < 0 && errno == EACCES && !fchmodat(at, name, 0700, 0))
		fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		require(!unlinkat(at, name, 0) || errno == ENOENT);
		return;
	}
	fchmod(fd, 0700);
	dir = fdopendir(fd);
	require(dir);
	while ((e = readdir(dir)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			remove_at(fd, e->d_name);
	closedir(dir);
	require(!unlinkat(at, name, AT_REMOVEDIR));
}

void rig_remove(const char *path)
{
	remove_at(AT_FDCWD, path);
}

void rig_dir(const char *path)
{
	require(!mkdir(path, 0755));
}

void rig_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	require(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

bool rig_is(const char *path, const char *text)
{
	char buf[4096];
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf));

	if (fd >= 0)
		close(fd);
	return n == (ssize_t)strlen(text) && !memcmp(buf, text, (size_t)n);
}

/* --- what a tree looks like --- */

static uint64_t hash(int fd)
{
	static uint8_t buf[65536];
	uint64_t h = 14695981039346656037U;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < n; i++)
			h = (h ^ buf[i]) * 1099511628211U;
	return h;
}

static void attributes(FILE *out, int fd)
{
	char names[4096], value[4096];
	ssize_t n = flistxattr(fd, names, sizeof(names));

	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1) {
		ssize_t len = fgetxattr(fd, names + at, value, sizeof(value));

		if (strncmp(names + at, "user.", 5) && strcmp(names + at, "security.capability"))
			continue;
		fprintf(out, " %s=", names + at);
		for (ssize_t i = 0; i < len; i++)
			fprintf(out, "%02x", (unsigned char)value[i]);
	}
}

static void state_of(FILE *out, int at, const char *name, const char *path, bool times)
{
	struct dirent **list;
	char target[4096];
	struct stat st;
	ssize_t n;
	int fd;

	require(!fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW));
	fprintf(out, "%s %o %u:%u", path, st.st_mode, st.st_uid, st.st_gid);
	if (times)
		fprintf(out, " %ld.%09ld links %lu", st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
			S_ISDIR(st.st_mode) ? 0 : st.st_nlink);
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		fprintf(out, " device %u:%u", major(st.st_rdev), minor(st.st_rdev));
	if (S_ISLNK(st.st_mode)) {
		n = readlinkat(at, name, target, sizeof(target));
		fprintf(out, " -> %.*s", (int)n, target);
	}
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
		fputc('\n', out);
		return;
	}
	fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	require(fd >= 0);
	attributes(out, fd);
	if (S_ISREG(st.st_mode)) {
		fprintf(out, " %lu bytes %016lx\n", st.st_size,
			st.st_size < 1 << 26 ? hash(fd) : 0);
	} else {
		fputc('\n', out);
		n = scandirat(fd, ".", &list, NULL, alphasort);
		require(n >= 0);
		for (ssize_t i = 0; i < n; i++) {
			char *sub = NULL;

			require(asprintf(&sub, "%s/%s", path, list[i]->d_name) > 0);
			if (strcmp(list[i]->d_name, ".") && strcmp(list[i]->d_name, ".."))
				state_of(out, fd, list[i]->d_name, sub, times);
			free(sub);
			free(list[i]);
		}
		free(list);
	}
	close(fd);
}

char *rig_state(const char *path, bool times)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	require(out);
	state_of(out, AT_FDCWD, path, "", times);
	fclose(out);
	return text;
}

/* --- archives by hand --- */

static void put(struct made *m, const void *data, size_t len)
{
	if (len > m->size - m->len) {
		m->size = 2 * (m->size + len);
		m->data = realloc(m->data, m->size);
		require(m->data);
	}
	if (len)
		memcpy(m->data + m->len, data, len);
	m->len += len;
}

void made_record(struct made *m, uint32_t type, const void *body, size_t len)
{
	struct archive_record rec = { type, (uint32_t)len };

	put(m, &rec, sizeof(rec));
	put(m, body, len);
}

void made_head(struct made *m, const char *name)
{
	struct archive_head h = { ARCHIVE_MAGIC, ARCHIVE_VERSION, !*name };
	struct archive_record rec = { ARCHIVE_HEAD, (uint32_t)(sizeof(h) + strlen(name)) };

	put(m, &rec, sizeof(rec));
	put(m, &h, sizeof(h));
	put(m, name, strlen(name));
}

void made_any(struct made *m, uint32_t type, struct archive_entry e, const char *name,
	      const char *link)
{
	struct archive_record rec = { type, (uint32_t)sizeof(e) };

	e.link_len = (uint32_t)strlen(link);
	rec.len += e.name_len + e.link_len;
	put(m, &rec, sizeof(rec));
	put(m, &e, sizeof(e));
	put(m, name, e.name_len);
	put(m, link, e.link_len);
	m->end.entries++;
}

void made_entry(struct made *m, uint32_t mode, const char *name, const char *link)
{
	struct archive_entry e = { .mode = mode, .name_len = (uint32_t)strlen(name) };

	made_any(m, mode ? ARCHIVE_ENTRY : ARCHIVE_LINK, e, name, link);
}

void made_data(struct made *m, uint64_t offset, const char *text)
{
	struct archive_data d = { offset };
	struct archive_record rec = { ARCHIVE_DATA, (uint32_t)(sizeof(d) + strlen(text)) };

	put(m, &rec, sizeof(rec));
	put(m, &d, sizeof(d));
	put(m, text, strlen(text));
	m->end.bytes += strlen(text);
}

void made_file_end(struct made *m, uint64_t size)
{
	struct archive_file_end end = { .size = size };

	made_record(m, ARCHIVE_FILE_END, &end, sizeof(end));
}

void made_file(struct made *m, const char *name, const char *text)
{
	made_entry(m, S_IFREG | 0644, name, "");
	if (*text)
		made_data(m, 0, text);
	made_file_end(m, strlen(text));
}

void made_leave(struct made *m)
{
	made_record(m, ARCHIVE_LEAVE, NULL, 0);
}

void made_end(struct made *m)
{
	made_record(m, ARCHIVE_END, &m->end, sizeof(m->end));
}

void made_free(struct made *m)
{
	free(m->data);
	*m = (struct made){ .data = NULL };
}

/* --- both ways --- */

int rig_pack(const char *path, unsigned flags, struct made *ret, struct archive_report *report)
{
	struct archive_opts o = { .flags = flags };
	int fd = memfd_create("archive", MFD_CLOEXEC), r;
	struct stat st;

	require(fd >= 0);
	r = archive_pack(fd, path, &o, report);
	require(!fstat(fd, &st));
	*ret = (struct made){ .data = malloc((size_t)st.st_size + 1), .len = (size_t)st.st_size };
	ret->size = ret->len + 1;
	require(ret->data && pread(fd, ret->data, ret->len, 0) == (ssize_t)ret->len);
	close(fd);
	return r;
}

int rig_unpack(const struct made *m, const char *target, const struct archive_opts *opts,
	       struct archive_report *report)
{
	int fd = memfd_create("archive", MFD_CLOEXEC), r;

	require(fd >= 0 && write(fd, m->data, m->len) == (ssize_t)m->len);
	require(!lseek(fd, 0, SEEK_SET));
	r = archive_unpack(fd, target, opts, report);
	close(fd);
	require(r == -report->error && !report->text[0] == !r);
	return r;
}
