/* cmd_logs.c - hutch logs and hutch events: what a sandbox has written, and writes */
/* #syscalls:before faccessat2 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "archive.h"
#include "follow.h"
#include "json.h"
#include "tool.h"
#include "units.h"

/* where lines come from; those of the guest have no times. A detached command's come first */
static const struct source {
	const char *name, *file;
	bool timed;
} sources[] = {
	{ "stdout", "stdout", false },	 { "stderr", "stderr", false },
	{ "console", "console", false }, { "agent", "agent", true },
	{ "vmm", "log", true },		 { "audit", "audit", true },
};

#define SOURCES (sizeof(sources) / sizeof(*sources))

static int print_raw(void *arg, char *buf, size_t len)
{
	(void)arg;
	return write_all(STDOUT_FILENO, buf, len);
}

/* how the lines of a log are shown: from one time on, as text or as JSON */
struct view {
	const struct source *source;
	const struct box *box;
	char since[TIME_TEXT]; /* "": all */
	bool passed;	       /* lines without a time go with the one before */
};

static const char *time_of(const char *line)
{
	static const char json[] = "{\"ts\":\"";

	if (!strncmp(line, json, sizeof(json) - 1))
		line += sizeof(json) - 1;
	return strspn(line, "0123456789") == 4 && line[4] == '-' && strlen(line) >= 24 &&
			       line[10] == 'T'
		       ? line
		       : NULL;
}

static bool is_recent(struct view *v, const char *line)
{
	const char *when = time_of(line);

	if (when)
		v->passed = strncmp(when, v->since, strnlen(v->since, 24)) >= 0;
	return v->passed;
}

static int print_line(char *line, size_t len)
{
	line[len] = '\n'; /* where the NUL was */
	return write_all(STDOUT_FILENO, line, len + 1);
}

static int print_json(const struct view *v, char *line, size_t len)
{
	while (len && (line[len - 1] == '\n' || line[len - 1] == '\r'))
		line[--len] = '\0';
	for (size_t i = 0; i < len; i++) /* no JSON of ours has one, and it would end the text */
		line[i] = line[i] ? line[i] : 0x1a;
	if (v->source->timed && *line == '{') {
		printf("{\"source\":\"%s\",%s\n", v->source->name, line + 1);
	} else {
		printf("{\"source\":\"%s\",\"id\":", v->source->name);
		json_text(stdout, v->box->correlation_id);
		fputs(",\"name\":", stdout);
		json_text(stdout, v->box->name);
		fputs(",\"msg\":", stdout);
		json_text(stdout, line);
		fputs("}\n", stdout);
	}
	return fflush(stdout) ? -errno : 0;
}

/* "2026-01-31T23:59:59.123Z warning what was said" */
static int print_text(char *line, size_t len)
{
	char key[32], raw[4096], value[4 * sizeof(raw)], said[sizeof(value)] = "";
	char when[TIME_TEXT] = "", level[16] = "";
	const char *at = line;
	int r;

	while ((r = json_member(&at, key, sizeof(key), raw, sizeof(raw))) == 1) {
		/* JSON's escapes are gone, and a guest's words may be in it */
		archive_clean(value, sizeof(value), raw, strlen(raw));
		if (!strcmp(key, "ts"))
			snprintf(when, sizeof(when), "%.*s", TIME_TEXT - 1, value);
		else if (!strcmp(key, "level"))
			snprintf(level, sizeof(level), "%.15s", value);
		else if (!strcmp(key, "msg"))
			snprintf(said, sizeof(said), "%s", value);
	}
	if (r) /* what was said on stderr past us: better as it is than not at all */
		return print_line(line, len);
	/* "error 125 E_X: ..." says it already */
	if (!strncmp(said, "error ", 6))
		level[0] = '\0';
	printf("%s %s%s%s\n", when, level, level[0] ? " " : "", said);
	return fflush(stdout) ? -errno : 0;
}

static int print_entry(void *arg, char *line, size_t len)
{
	struct view *v = arg;

	if (!is_recent(v, line))
		return 0;
	return globals.json ? print_json(v, line, len) : print_text(line, len);
}

static int tell_result(const struct verb *verb, const char *name, int r)
{
	if (!r || r == -EPIPE)
		return 0;
	complain("%s: '%s': %s", verb->name, name, strerror(-r));
	return EXIT_HUTCH;
}

enum { LOGS_SOURCE, LOGS_FOLLOW, LOGS_SINCE, LOGS_JSON, LOGS_FLAGS };

static const struct flag logs_flags[] = {
	[LOGS_SOURCE] = { .name = "source",
			  .arg = "SOURCE",
			  .help = "stdout and stderr of a detached command, console (the guest's), "
				  "agent (in the guest), vmm (hutch itself) or audit (limits that "
				  "were reached, what was broken or lost) [stdout where there is "
				  "one, else console]" },
	[LOGS_FOLLOW] = { .name = "follow", .letter = 'f', .help = "go on until the sandbox ends" },
	[LOGS_SINCE] = { .name = "since",
			 .arg = "DURATION",
			 .help = "only lines of the last 30s, 5m, ...; a console has no times" },
	[LOGS_JSON] = { .name = "json",
			.help = "one JSON object a line: source, msg, and of agent, vmm and audit "
				"what --log-format json has" },
	{ .name = NULL },
};

static const struct source *source_of(const char *name)
{
	for (size_t i = 0; i < SOURCES; i++)
		if (!strcmp(name, sources[i].name))
			return &sources[i];
	complain("--source: '%s' is not one of: stdout, stderr, console, agent, vmm, audit", name);
	return NULL;
}

static int run_logs(int argc, char **argv, const struct verb *verb)
{
	struct given given[LOGS_FLAGS] = { 0 };
	int n = parse_names(argc, argv, verb, given, 1, 1), r;
	const struct source *source = NULL;
	struct view view = { .passed = true };
	uint64_t ms = 0, now = realtime_ms();
	struct box box;

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (given[LOGS_SOURCE].n && !(source = source_of(given[LOGS_SOURCE].text)))
		return EXIT_USAGE;
	if (given[LOGS_SINCE].n && duration_parse("--since", given[LOGS_SINCE].text, &ms))
		return EXIT_USAGE;
	if (given[LOGS_SINCE].n && (!source || !source->timed)) {
		complain("--since: what the guest says has no times; it goes with --source "
			 "agent, vmm or audit");
		return EXIT_USAGE;
	}
	if (box_open(argv[0], &box))
		return EXIT_FAIL;
	if (!source)
		source = source_of(faccessat(box.dir, "stdout", R_OK, 0) ? "console" : "stdout");
	view.source = source;
	view.box = &box;
	if (given[LOGS_SINCE].n)
		time_print(now > ms ? now - ms : 0, view.since);
	if (source->timed || globals.json)
		r = follow(&box, source->file, true, given[LOGS_FOLLOW].n, print_entry, &view);
	else
		r = follow(&box, source->file, false, given[LOGS_FOLLOW].n, print_raw, NULL);
	box_close(&box);
	return tell_result(verb, argv[0], r);
}

const struct verb verb_logs = {
	.name = "logs",
	.args = "[FLAGS] NAME",
	.summary = "print what a sandbox has logged",
	.flags = logs_flags,
	.run = run_logs,
};

enum { EVENTS_FOLLOW, EVENTS_JSON, EVENTS_FLAGS };

static const struct flag events_flags[] = {
	[EVENTS_FOLLOW] = { .name = "follow",
			    .letter = 'f',
			    .help = "go on until the sandbox ends" },
	[EVENTS_JSON] = { .name = "json", .help = "the events as they are kept: JSON, one a line" },
	{ .name = NULL },
};

/* "2026-01-31T23:59:59.123Z sandbox.end exit_code=0 reason=..."; what goes without saying is left
 * out
 */
static bool is_plain(const char *key, const char *value, const char *id)
{
	return !strcmp(key, "id") || !strcmp(key, "name") ||
	       (!strcmp(key, "level") && !strcmp(value, "info")) ||
	       (!strcmp(key, "correlation_id") && !strcmp(value, id));
}

static int print_event(void *arg, char *line, size_t len)
{
	char key[64], raw[1024], value[4 * sizeof(raw)];
	const struct box *box = arg;
	const char *at = line;
	int r;

	(void)len;
	while ((r = json_member(&at, key, sizeof(key), raw, sizeof(raw))) == 1) {
		if (is_plain(key, raw, box->id))
			continue;
		archive_clean(value, sizeof(value), raw, strlen(raw));
		if (!strcmp(key, "time") || !strcmp(key, "event"))
			printf("%s ", value);
		else
			printf(strchr(value, ' ') ? "%s=\"%s\" " : "%s=%s ", key, value);
	}
	if (r)
		printf("%s", line); /* no JSON: better as it is than not at all */
	putchar('\n');
	return fflush(stdout) ? -errno : 0;
}

static int print_event_json(void *arg, char *line, size_t len)
{
	(void)arg;
	return print_line(line, len);
}

static int run_events(int argc, char **argv, const struct verb *verb)
{
	struct given given[EVENTS_FLAGS] = { 0 };
	int n = parse_names(argc, argv, verb, given, 1, 1), r;
	struct box box;

	if (n < 0)
		return n == -2 ? 0 : EXIT_USAGE;
	if (box_open(argv[0], &box))
		return EXIT_FAIL;
	r = follow(&box, "events", true, given[EVENTS_FOLLOW].n,
		   globals.json ? print_event_json : print_event, &box);
	box_close(&box);
	return tell_result(verb, argv[0], r);
}

const struct verb verb_events = {
	.name = "events",
	.args = "[FLAGS] NAME",
	.summary = "print what has happened to a sandbox: one event a line",
	.flags = events_flags,
	.run = run_events,
};
