/*
 * files.c - PUT, GET and TREE: a child reads or writes the stream, as a command would
 *
 * So a hostile archive, a folder without end or a slow disk are one process's
 * trouble, and the session knows nothing of files.  A failure is told on stderr,
 * in one line, which the host shows.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "archive.h"
#include "files.h"
#include "tree.h"

struct files_request {
	uint8_t type;
	char *path;
	uint64_t flags;
	char *exclude[TREE_EXCLUDES];
	unsigned excludes;
};

void files_free(struct files_request *x)
{
	if (!x)
		return;
	for (unsigned i = 0; i < x->excludes; i++)
		free(x->exclude[i]);
	free(x->path);
	free(x);
}

static bool take(struct files_request *x, const struct proto_item *item)
{
	switch (item->tag) {
	case TAG_PATH:
		free(x->path);
		x->path = proto_item_text(item);
		return x->path != NULL;
	case TAG_FLAGS:
		return !proto_item_number(item, &x->flags);
	case TAG_EXCLUDE:
		return x->excludes < TREE_EXCLUDES &&
		       (x->exclude[x->excludes] = proto_item_text(item)) && ++x->excludes;
	default:
		return item->tag & PROTO_OPTIONAL;
	}
}

struct files_request *files_parse(uint8_t type, struct proto_reader r, struct why *why)
{
	struct files_request *x = calloc(1, sizeof(*x));
	struct proto_item item;
	int more = 0;

	if (!x) {
		refuse(why, ERROR_SYSTEM, ENOMEM, "no memory for the request");
		return NULL;
	}
	x->type = type;
	while ((more = proto_next(&r, &item)) == 1)
		if (!take(x, &item))
			break;
	if (!more && x->path)
		return x;
	refuse(why, ERROR_REQUEST, 0, "a request for files that makes no sense to this agent");
	files_free(x);
	return NULL;
}

static void note(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "%s\n", text);
}

static int tell(int r, const struct archive_report *report)
{
	if (r)
		fprintf(stderr, "%s\n", report->text);
	return r ? 1 : 0;
}

static int list(const struct files_request *x)
{
	int r = tree_list(STDOUT_FILENO, x->path, (const char *const *)x->exclude, x->excludes,
			  TREE_ENTRIES);

	if (r)
		fprintf(stderr, "%s: %s\n", x->path, strerror(-r));
	return r ? 1 : 0;
}

int files_run(void *arg)
{
	const struct files_request *x = arg;
	struct archive_opts opts = { .flags = (unsigned)x->flags, .note = note };
	struct archive_report report;

	switch (x->type) {
	case PROTO_PUT:
		return tell(archive_unpack(STDIN_FILENO, x->path, &opts, &report), &report);
	case PROTO_GET:
		return tell(archive_pack(STDOUT_FILENO, x->path, &opts, &report), &report);
	default:
		return list(x);
	}
}

void files_say_end(struct proto_buf *out, int status)
{
	if (!status) {
		proto_begin(out, PROTO_DONE, 0);
	} else {
		proto_begin(out, PROTO_ERROR, 0);
		proto_number(out, TAG_CODE, ERROR_PATH);
		proto_number(out, TAG_ERRNO, 0);
		proto_text(out, TAG_TEXT, "");
	}
	proto_end(out);
}
