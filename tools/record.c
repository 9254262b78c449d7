/* record.c - the state file of a sandbox: struct box as JSON, and back */
/* #syscalls:caller openat write close renameat ftruncate pwrite64 */
/* #syscalls:before read */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json.h"
#include "registry.h"
#include "tool.h"

#define STATE_MAX 8192

const char *const box_status_names[BOX_STATUSES] = { "starting", "running", "paused", "stopping",
						     "exited" };

/* the state file's members, in its order */
static const struct member {
	const char *name;
	enum { MEMBER_TEXT, MEMBER_INT, MEMBER_MS, MEMBER_STATUS, MEMBER_BOOL } kind;
	size_t offset, size;
} members[] = {
#define MEMBER(k, m)                                                                  \
	{                                                                             \
#m, MEMBER_##k, offsetof(struct box, m), sizeof(((struct box *)0)->m) \
	}
	MEMBER(TEXT, id),	MEMBER(TEXT, name),	MEMBER(INT, pid),
	MEMBER(STATUS, status), MEMBER(MS, created_ms), MEMBER(MS, started_ms),
	MEMBER(MS, ended_ms),	MEMBER(INT, exit_code), MEMBER(TEXT, reason),
	MEMBER(TEXT, command),	MEMBER(BOOL, keep),	MEMBER(TEXT, correlation_id),
#undef MEMBER
};

#define MEMBERS (sizeof(members) / sizeof(*members))

void box_json(FILE *out, const struct box *box, const char *more)
{
	for (size_t i = 0; i < MEMBERS; i++) {
		const void *p = (const char *)box + members[i].offset;

		fprintf(out, "%c\"%s\":", i ? ',' : '{', members[i].name);
		switch (members[i].kind) {
		case MEMBER_TEXT:
			json_text(out, p);
			break;
		case MEMBER_INT:
			fprintf(out, "%d", *(const int *)p);
			break;
		case MEMBER_MS:
			fprintf(out, "%lu", (unsigned long)*(const uint64_t *)p);
			break;
		case MEMBER_STATUS:
			json_text(out, box_status_names[*(const enum box_status *)p]);
			break;
		case MEMBER_BOOL:
			fputs(*(const bool *)p ? "true" : "false", out);
			break;
		}
	}
	fprintf(out, "%s}", more);
}

static int status_of(const char *text, enum box_status *ret)
{
	for (unsigned i = 0; i < BOX_STATUSES; i++) {
		if (strcmp(text, box_status_names[i]))
			continue;
		*ret = (enum box_status)i;
		return 0;
	}
	return -EINVAL;
}

static int set_member(struct box *box, const struct member *m, const char *text)
{
	void *p = (char *)box + m->offset;

	switch (m->kind) {
	case MEMBER_TEXT:
		snprintf(p, m->size, "%s", text);
		return 0;
	case MEMBER_INT:
		*(int *)p = atoi(text);
		return 0;
	case MEMBER_MS:
		*(uint64_t *)p = strtoull(text, NULL, 10);
		return 0;
	case MEMBER_STATUS:
		return status_of(text, p);
	case MEMBER_BOOL:
		*(bool *)p = !strcmp(text, "true");
		return 0;
	}
	return -EINVAL;
}

/* a member that is not known is of a newer hutch; one that is missing means this is no state */
static int parse_state(const char *text, struct box *box)
{
	char key[32], value[512];
	unsigned seen = 0;
	int r;

	while ((r = json_member(&text, key, sizeof(key), value, sizeof(value))) == 1) {
		for (size_t i = 0; i < MEMBERS; i++) {
			if (strcmp(key, members[i].name))
				continue;
			if (set_member(box, &members[i], value))
				return -EINVAL;
			seen |= 1U << i;
		}
	}
	return r || seen != (1U << MEMBERS) - 1 ? -EINVAL : 0;
}

int record_read(struct box *box)
{
	char text[STATE_MAX];
	int fd = openat(box->dir, "state", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	text[n] = '\0';
	return parse_state(text, box);
}

int record_write(const struct box *box)
{
	char text[STATE_MAX];
	FILE *out = fmemopen(text, sizeof(text), "w");
	int fd, r = 0;
	long n;

	if (!out)
		return -ENOMEM;
	box_json(out, box, "");
	fputc('\n', out);
	n = ftell(out);
	fclose(out);
	fd = openat(box->dir, "state.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	errno = ENOSPC;
	if (write(fd, text, (size_t)n) != n)
		r = -errno;
	close(fd);
	if (!r && renameat(box->dir, "state.new", box->dir, "state"))
		r = -errno;
	return r;
}

void record_exit(const struct box *box, int exit_code, const char *reason)
{
	char text[200];
	int n = snprintf(text, sizeof(text), "%d %s\n", exit_code, reason);

	if (ftruncate(box->lock, 0) || pwrite(box->lock, text, (size_t)n, 0) != n)
		complain("the exit code of '%s' cannot be told: %s", box->name, strerror(errno));
}
