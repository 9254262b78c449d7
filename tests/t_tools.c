/* t_tools - how the command reads what it is given, and the registry of sandboxes */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "complain.h"
#include "fake.h"
#include "json.h"
#include "proc.h"
#include "registry.h"
#include "suite.h"
#include "tool.h"
#include "units.h"

enum { FLAG_INTERACTIVE, FLAG_TTY, FLAG_ENV, FLAG_WORKDIR, FLAG_LABEL, FLAG_QUIET, FLAGS };

static const struct flag flags[] = {
	[FLAG_INTERACTIVE] = { .name = "interactive", .letter = 'i', .help = "" },
	[FLAG_TTY] = { .name = "tty", .letter = 't', .help = "" },
	[FLAG_ENV] = { .name = "env", .letter = 'e', .arg = "K=V", .many = true, .help = "" },
	[FLAG_WORKDIR] = { .name = "workdir", .letter = 'w', .arg = "DIR", .help = "" },
	[FLAG_LABEL] = { .name = "label", .arg = "TEXT", .many = true, .help = "" },
	[FLAG_QUIET] = { .name = "quiet", .letter = 'q', .help = "" },
	{ .name = NULL },
};

static const struct verb plain = { .name = "test", .args = "", .flags = flags },
			 command = { .name = "test", .args = "", .flags = flags, .command = true },
			 machine = { .name = "test", .args = "", .flags = flags, .machine = true };

static struct given given[FLAGS];
static struct hutch *h;
static char words[512], *argv[32];
static int argc;

/* "@" stands for an argument that is empty */
static int parse_line(const struct verb *verb, const char *line)
{
	snprintf(words, sizeof(words), "%s", line);
	memset(given, 0, sizeof(given));
	globals = (struct globals){ .json = false };
	complained[0] = '\0';
	argc = 0;
	for (char *w = strtok(words, " "); w; w = strtok(NULL, " "))
		argv[argc++] = strcmp(w, "@") ? w : w + 1;
	argv[argc] = NULL;
	return parse(argc, argv, verb, h, given);
}

static void check_list(int flag, const char *want)
{
	char text[256] = "";

	for (const char *const *v = given[flag].all; v && *v; v++) {
		strcat(text, *v);
		strcat(text, "|");
	}
	ck_assert_str_eq(text, want);
}

static void set_up(void)
{
	h = hutch_new();
}

static void tear_down(void)
{
	hutch_free(h);
}

START_TEST(letters)
{
	ck_assert_int_eq(parse_line(&plain, "-i a -t b"), 2);
	ck_assert_str_eq(argv[0], "a");
	ck_assert_str_eq(argv[1], "b");
	ck_assert_ptr_null(argv[2]);
	ck_assert_str_eq(given[FLAG_INTERACTIVE].text, "");
	ck_assert_uint_eq(given[FLAG_TTY].n, 1);

	ck_assert_int_eq(parse_line(&plain, "-itw /tmp x"), 1);
	ck_assert_uint_eq(given[FLAG_INTERACTIVE].n, 1);
	ck_assert_uint_eq(given[FLAG_TTY].n, 1);
	ck_assert_str_eq(given[FLAG_WORKDIR].text, "/tmp");

	ck_assert_int_eq(parse_line(&plain, "-w/tmp -tit"), 0);
	ck_assert_str_eq(given[FLAG_WORKDIR].text, "/tmp");
	ck_assert_uint_eq(given[FLAG_TTY].n, 2);

	/* a value is taken as it is, whatever it looks like; "-" alone is no flag */
	ck_assert_int_eq(parse_line(&plain, "-w -t - --workdir=-x"), 1);
	ck_assert_uint_eq(given[FLAG_TTY].n, 0);
	ck_assert_str_eq(given[FLAG_WORKDIR].text, "-x");
	ck_assert_uint_eq(given[FLAG_WORKDIR].n, 2);
	ck_assert_str_eq(argv[0], "-");

	ck_assert_int_eq(parse_line(&plain, "-ix"), -1);
	ck_assert_str_eq(complained,
			 "test: unknown flag -x in '-ix'; 'hutch help test' lists them");
	ck_assert_int_eq(parse_line(&plain, "-m"), -1); /* no machine, no key of it */
	ck_assert_str_eq(complained, "test: unknown flag -m; 'hutch help test' lists them");
	ck_assert_int_eq(parse_line(&plain, "-itw"), -1);
	ck_assert_str_eq(complained, "-w: a value is missing: DIR");
	ck_assert_int_eq(parse_line(&plain, "--tty=yes"), -1);
	ck_assert_str_eq(complained, "--tty takes no value, 'yes' is too much");
	ck_assert_int_eq(parse_line(&plain, "--workdri x"), -1);
	ck_assert_str_eq(complained, "test: unknown flag --workdri; did you mean --workdir?");
	ck_assert_int_eq(parse_line(&plain, "--=x"), -1);
	ck_assert_int_eq(parse_line(&plain, "-C file"), -1);
}
END_TEST

START_TEST(repeated)
{
	ck_assert_int_eq(parse_line(&plain, "-e A=1 --label x -eB=2 --env=C=3 --env D=4 --label y"),
			 0);
	check_list(FLAG_ENV, "A=1|B=2|C=3|D=4|");
	check_list(FLAG_LABEL, "x|y|");
	ck_assert_uint_eq(given[FLAG_ENV].n, 4);
	ck_assert_str_eq(given[FLAG_ENV].text, "D=4");
	ck_assert_ptr_null(given[FLAG_WORKDIR].all);

	ck_assert_int_eq(parse_line(&plain, "-e @"), 0);
	check_list(FLAG_ENV, "|");
	check_list(FLAG_LABEL, "");
	ck_assert_ptr_nonnull(given[FLAG_LABEL].all);
}
END_TEST

START_TEST(after_two_dashes)
{
	/* a verb that takes no command: they are arguments, whatever they look like */
	ck_assert_int_eq(parse_line(&plain, "a -t -- -x --json b"), 4);
	ck_assert_str_eq(argv[0], "a");
	ck_assert_str_eq(argv[1], "-x");
	ck_assert_str_eq(argv[3], "b");
	ck_assert_ptr_null(argv[4]);
	ck_assert(!globals.json);

	ck_assert_int_eq(parse_line(&command, "-e A=1 name -t -- sh -c -- -t"), 1);
	ck_assert_str_eq(argv[0], "name");
	ck_assert_str_eq(argv[1], "sh");
	ck_assert_str_eq(argv[2], "-c");
	ck_assert_str_eq(argv[3], "--");
	ck_assert_str_eq(argv[4], "-t");
	ck_assert_ptr_null(argv[5]);
	ck_assert_uint_eq(given[FLAG_TTY].n, 1);

	ck_assert_int_eq(parse_line(&command, "-- a"), 0);
	ck_assert_str_eq(argv[0], "a");
	ck_assert_int_eq(parse_line(&command, "a --"), 1);
	ck_assert_ptr_null(argv[1]);
	ck_assert_int_eq(parse_line(&command, "-t a"), 1);
	ck_assert_ptr_null(argv[1]);
	ck_assert_int_eq(parse_line(&command, ""), 0);
	ck_assert_ptr_null(argv[0]);
}
END_TEST

static void check_key(const char *key, const char *want)
{
	char text[64];

	ck_assert_int_eq(hutch_get(h, key, text, sizeof(text)), 0);
	ck_assert_str_eq(text, want);
}

START_TEST(machine_keys)
{
	ck_assert_int_eq(parse_line(&machine, "-m 64M -c3 -it"), 0);
	check_key("memory", "64M");
	check_key("cpus", "3");
	ck_assert_uint_eq(given[FLAG_TTY].n, 1);
	ck_assert_int_eq(parse_line(&machine, "-m 64"), -1);
	ck_assert_ptr_nonnull(strstr(complained, "memory: '64' is not a size"));
	/* a file that cannot be read is told before anything else is done */
	ck_assert_int_eq(parse_line(&machine, "-m 32M -C /nonexistent"), -1);
	ck_assert_ptr_nonnull(strstr(complained, "/nonexistent"));
	check_key("memory", "64M");
	ck_assert_int_eq(parse_line(&machine, "-C @"), -1);
	ck_assert_str_eq(complained, "-C: a value is missing: FILE");
	/* what only looks like -C is no file */
	ck_assert_int_eq(parse_line(&machine, "-w -C"), 0);
	ck_assert_str_eq(given[FLAG_WORKDIR].text, "-C");
}
END_TEST

START_TEST(flags_of_all_verbs)
{
	ck_assert_int_eq(parse_line(&plain, "--root /x --json -v"), 0);
	ck_assert_str_eq(globals.root, "/x");
	ck_assert(globals.json);
	ck_assert(globals.verbose);
	ck_assert(!globals.quiet);
	/* the verb tells more of it, and it is the same */
	ck_assert_int_eq(parse_line(&plain, "-q"), 0);
	ck_assert(globals.quiet);
	ck_assert_uint_eq(given[FLAG_QUIET].n, 1);
	ck_assert_int_eq(parse_line(&plain, "--root"), -1);
	ck_assert_str_eq(complained, "--root: a value is missing: DIR");
}
END_TEST

/* where complaints go is known before the first */
START_TEST(where_the_log_goes)
{
	char path[] = "/tmp/hutch-log.XXXXXX", line[128];
	int fd = mkstemp(path);
	struct stat st;

	ck_assert_int_eq(fd >= 0 ? unlink(path) : -1, 0);
	snprintf(line, sizeof(line), "--bogus --log-file %s -x --log-format json", path);
	ck_assert_int_eq(parse_line(&plain, line), -1);
	ck_assert_ptr_nonnull(
		strstr(complained, "unknown flag --bogus; 'hutch help test' lists them"));
	ck_assert(globals.log_json && !globals.failed);
	ck_assert_str_eq(globals.log_file, path);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	hutch_log(HUTCH_LOG_INFO, "words");
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_gt(st.st_size, 40);
	hutch_log_to(STDERR_FILENO, false);
	unlink(path);
	close(fd);
	/* a value of another flag, and what is the command's, are none of ours */
	ck_assert_int_eq(parse_line(&command, "-e --log-file -w --log-format -- x --log-file /"),
			 0);
	ck_assert_ptr_null(globals.log_file);
	ck_assert_int_eq(parse_line(&plain, "--log-format yaml"), -1);
	ck_assert_str_eq(complained, "--log-format: 'yaml' is neither text nor json");
	ck_assert(!globals.failed);
	ck_assert_int_eq(parse_line(&plain, "--log-file"), -1);
	ck_assert_int_eq(parse_line(&plain, "--log-file /no/such/folder/x"), -1);
	ck_assert(globals.failed);
	ck_assert_str_eq(complained,
			 "error 125 E_LOG: --log-file /no/such/folder/x: No such file or "
			 "directory; name a file that can be appended to");
}
END_TEST

/* every word of a flag's help, in lines that a terminal of 100 columns holds */
START_TEST(help_is_folded)
{
	char *text = NULL, *to, *line, *rest;
	size_t len, keys = 0;
	struct hutch_key key;

	for (unsigned v = 0; verbs[v]; v++) {
		FILE *out = open_memstream(&text, &len);

		help_verb(verbs[v], out);
		fclose(out);
		line = rest = strdup(text);
		for (char *l; (l = strsep(&rest, "\n"));)
			ck_assert_msg(strlen(l) <= 100 && (!*l || l[strlen(l) - 1] != ' '), "'%s'",
				      l);
		free(line);
		to = text;
		for (const char *from = text; *from; from++)
			if (!strchr(" \n", *from) || (to > text && to[-1] != ' '))
				*to++ = *from == '\n' ? ' ' : *from;
		*to = '\0';
		for (unsigned i = 0; verbs[v] == &verb_run && !hutch_key(i, &key); i++, keys++)
			ck_assert_msg(key.inner || strstr(text, key.help), "%s", key.help);
		free(text);
	}
	ck_assert_uint_gt(keys, 40);
}
END_TEST

static int leading(const char *line)
{
	parse_line(&plain, ""); /* clears */
	snprintf(words, sizeof(words), "%s", line);
	argc = 0;
	for (char *w = strtok(words, " "); w; w = strtok(NULL, " "))
		argv[argc++] = w;
	return leading_flags(argc, argv);
}

START_TEST(flags_before_the_verb)
{
	ck_assert_int_eq(leading("ps --root x"), 0);
	ck_assert_int_eq(leading("--root x -qv --json --root=y -C f ps -q"), 7);
	ck_assert_int_eq(leading("-vC f ps"), 2);
	ck_assert_int_eq(leading("-vCf ps"), 1);
	ck_assert_int_eq(leading("--root ps"), 2); /* and nothing is left */
	ck_assert_int_eq(leading("--root"), 1);
	ck_assert_int_eq(leading("-x ps"), -1);
	ck_assert_ptr_nonnull(strstr(complained, "-x is no flag that stands before the verb"));
	ck_assert_int_eq(leading("-qx ps"), -1);
	ck_assert_int_eq(leading("--=x ps"), -1);
	ck_assert_int_eq(leading("-- ps"), -1);
	ck_assert_int_eq(leading("- ps"), 0);
}
END_TEST

/* --- durations, sizes, times --- */

START_TEST(durations)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = {
		{ "0", 0 },	     { "0s", 0 },      { "500ms", 500 },
		{ "30s", 30000 },    { "2m", 120000 }, { "1h", 3600000 },
		{ "7d", 604800000 }, { "007s", 7000 }, { "9223372036854775807ms", INT64_MAX },
	};
	static const char *const bad[] = { "",	  "s",	 "-1s", "+1s",	"1.5s", " 1s",
					   "1s ", "1 s", "1x",	"1mss", "ms",	"0x1s" };
	static const char *const large[] = { "9223372036854775808ms", "99999999999999999999s",
					     "106751991168d" };
	uint64_t ms;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		ms = 1;
		ck_assert_int_eq(duration_parse("--time", good[i].text, &ms), 0);
		ck_assert_uint_eq(ms, good[i].ms);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ms = 42;
		complained[0] = '\0';
		ck_assert_msg(duration_parse("--time", bad[i], &ms) == -EINVAL, "%s", bad[i]);
		ck_assert_uint_eq(ms, 42);
		ck_assert_ptr_nonnull(strstr(complained, "is not a duration; write"));
	}
	for (size_t i = 0; i < ARRAY_SIZE(large); i++)
		ck_assert_msg(duration_parse("--time", large[i], &ms) == -ERANGE, "%s", large[i]);
	ck_assert_int_eq(duration_parse("--time", "90", &ms), -EINVAL);
	ck_assert_str_eq(complained, "--time: '90' has no unit; write 90ms, 90s, 90m or 90h");
}
END_TEST

START_TEST(sizes)
{
	uint64_t v;

	ck_assert_int_eq(size_value("--max", "2M", &v), 0);
	ck_assert_uint_eq(v, 2 << 20);
	ck_assert_int_eq(size_value("--max", "3g", &v), 0);
	ck_assert_uint_eq(v, 3ULL << 30);
	ck_assert_int_eq(size_value("--max", "17B", &v), 0);
	ck_assert_uint_eq(v, 17);
	ck_assert_int_eq(size_value("--max", "0", &v), 0);
	ck_assert_uint_eq(v, 0);
	ck_assert_int_eq(size_value("--max", "64", &v), -EINVAL);
	ck_assert_str_eq(complained, "--max: '64' has no unit; write 64K, 64M or 64G");
	ck_assert_int_eq(size_value("--max", "2MB", &v), -EINVAL);
	ck_assert_int_eq(size_value("--max", "8388608T", &v), -ERANGE);
}
END_TEST

START_TEST(times)
{
	static const struct {
		uint64_t ms;
		const char *text;
	} ages[] = { { 0, "0ms" },	  { 999, "999ms" },
		     { 1000, "1s" },	  { 119999, "119s" },
		     { 120000, "2m" },	  { 7199999, "119m" },
		     { 7200000, "2h" },	  { 172799999, "47h" },
		     { 172800000, "2d" }, { 86400000000, "1000d" } };
	char text[TIME_TEXT];

	for (size_t i = 0; i < ARRAY_SIZE(ages); i++) {
		duration_print(ages[i].ms, text, sizeof(text));
		ck_assert_str_eq(text, ages[i].text);
	}
	time_print(0, text);
	ck_assert_str_eq(text, "1970-01-01T00:00:00.000Z");
	time_print(1795665463007, text);
	ck_assert_str_eq(text, "2026-11-26T03:57:43.007Z");
	ck_assert_uint_gt(realtime_ms(), 1700000000000);
}
END_TEST

/* --- JSON --- */

static const char *json_of(const char *text)
{
	static char buf[256];
	FILE *out = fmemopen(buf, sizeof(buf), "w");

	json_text(out, text);
	fclose(out);
	return buf;
}

/* "key=value|" of each member, and "!" for what is no JSON */
static const char *members_of(const char *text)
{
	static char all[512];
	char key[8], value[16];
	int r;

	all[0] = '\0';
	while ((r = json_member(&text, key, sizeof(key), value, sizeof(value))) == 1)
		sprintf(all + strlen(all), "%s=%s|", key, value);
	if (r)
		strcat(all, "!");
	return all;
}

START_TEST(json)
{
	char back[300];
	const char *at = back;
	char key[8], value[32];

	ck_assert_str_eq(json_of("a\"b\\c\n\t\x7f"), "\"a\\\"b\\\\c\\n\\u0009\\u007f\"");
	ck_assert_str_eq(json_of("\xc2\x80\xc2\x9b\xc2\xa0"), "\"\\u0080\\u009b\xc2\xa0\"");
	ck_assert_str_eq(json_of("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
			 "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
	/* what is no UTF-8: cut, overlong, a surrogate, too large, a stray byte */
	ck_assert_str_eq(json_of("\xc3"), "\"\\ufffd\"");
	ck_assert_str_eq(json_of("\xc0\x80"), "\"\\ufffd\\ufffd\"");
	ck_assert_str_eq(json_of("\xe0\x80\x80"), "\"\\ufffd\\ufffd\\ufffd\"");
	ck_assert_str_eq(json_of("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\"");
	ck_assert_str_eq(json_of("\xf4\x90\x80\x80"), "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
	ck_assert_str_eq(json_of("\x80"
				 "a"),
			 "\"\\ufffda\"");

	snprintf(back, sizeof(back), "{\"k\":%s}", json_of("a\"\\\n\x01\xc3\xa9"));
	ck_assert_int_eq(json_member(&at, key, sizeof(key), value, sizeof(value)), 1);
	ck_assert_str_eq(value, "a\"\\\n\x01\xc3\xa9");

	ck_assert_str_eq(members_of("{}"), "");
	ck_assert_str_eq(members_of(" { } "), "");
	ck_assert_str_eq(members_of("{\"a\":1,\"b\" : true , \"c\":\"x\"}"), "a=1|b=true|c=x|");
	ck_assert_str_eq(members_of("{\"a\":{\"x\":[1,\"}\"]},\"b\":[]}"),
			 "a={\"x\":[1,\"}\"]}|b=[]|");
	ck_assert_str_eq(members_of("{\"a\":\"\\u00e9\\u20ac\\u0000\"}"),
			 "a=\xc3\xa9\xe2\x82\xac\xef\xbf\xbd|");
	/* longer than its buffer: cut */
	ck_assert_str_eq(members_of("{\"a23456789\":\"012345678901234567\"}"),
			 "a234567=012345678901234|");
}
END_TEST

START_TEST(no_json)
{
	static const char *const bad[] = {
		"",
		"x",
		"{",
		"{\"a\"}",
		"{\"a\":}",
		"{\"a\":1",
		"{\"a\" 1}",
		"{a:1}",
		"{\"a\":\"x}",
		"{\"a\":\"\\q\"}",
		"{,}",
		"[1]",
		"{\"a\":[1}",
		"{\"a\":\"\\u12\"}",
		"{\"a\":\"x\ny\"}",
		"{\"a\":\"\\",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_msg(strstr(members_of(bad[i]), "!") != NULL, "%s", bad[i]);
	ck_assert_str_eq(members_of("{\"a\":1 \"b\":2}"), "!");
	ck_assert_str_eq(members_of("{\"a\":1,}"), "a=1|!");
}
END_TEST

/* --- the registry --- */

static char root[64];

static void make_root(void)
{
	snprintf(root, sizeof(root), "/tmp/hutch-tools.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
	globals.root = root;
	complained[0] = '\0';
}

static void remove_root(void)
{
	char path[sizeof(root) + 8];

	/* a test that leaves more fails */
	snprintf(path, sizeof(path), "%s/.lock", root);
	unlink(path);
	ck_assert_msg(!rmdir(root), "something is left: %s", strerror(errno));
	globals.root = NULL;
}

static struct box make_box(const char *name, bool keep)
{
	struct box box = { .keep = keep };

	strcpy(box.name, name);
	strcpy(box.command, "a \"command\" \x01");
	ck_assert_msg(!box_make(&box), "%s", complained);
	return box;
}

static int count(struct box *box, void *arg)
{
	(void)box;
	++*(unsigned *)arg;
	return 0;
}

static unsigned boxes(void)
{
	unsigned n = 0;

	ck_assert_int_eq(box_each(count, &n), 0);
	return n;
}

/* a process of its own: what it made is let go when it ends, however that is */
static void in_child(void (*fn)(void))
{
	pid_t pid = fork();

	if (!pid) {
		fn();
		kill(getpid(), SIGKILL);
	}
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(one_life)
{
	struct box box = make_box("one", true), seen;
	unsigned fds = fake_fds();
	char reason[128];
	int code;

	ck_assert_uint_eq(strlen(box.id), 32);
	ck_assert_int_eq(box_open("one", &seen), 0);
	ck_assert_str_eq(seen.id, box.id);
	ck_assert_str_eq(seen.command, box.command);
	ck_assert_int_eq(seen.pid, getpid());
	ck_assert_uint_eq(seen.status, BOX_STARTING);
	ck_assert(seen.alive && seen.keep);
	ck_assert_int_eq(box_exit_code(&seen, &code, reason, sizeof(reason)), -EBUSY);
	ck_assert_int_eq(box_wait(&seen, 10), -ETIMEDOUT);
	ck_assert_int_eq(box_remove(&seen), -EBUSY);

	box_paused(&box, true); /* before its start was told */
	box_started(&box);
	ck_assert_int_eq(box_reload(&seen), 0);
	ck_assert_uint_eq(seen.status, BOX_PAUSED);
	ck_assert_uint_ge(seen.started_ms, seen.created_ms);
	box_paused(&box, false);
	ck_assert_int_eq(box_reload(&seen), 0);
	ck_assert_uint_eq(seen.status, BOX_RUNNING);
	box_stopping(&box);
	box_paused(&box, true); /* too late */
	ck_assert_int_eq(box_reload(&seen), 0);
	ck_assert_uint_eq(seen.status, BOX_STOPPING);

	box.exit_code = 7;
	strcpy(box.reason, "because");
	box_end(&box);
	ck_assert_int_eq(box_wait(&seen, -1), 0);
	ck_assert_int_eq(box_reload(&seen), 0);
	ck_assert(!seen.alive);
	ck_assert_uint_eq(seen.status, BOX_EXITED);
	ck_assert_int_eq(seen.exit_code, 7);
	ck_assert_int_eq(box_exit_code(&seen, &code, reason, sizeof(reason)), 0);
	ck_assert_int_eq(code, 7);
	ck_assert_str_eq(reason, "because");
	ck_assert_int_eq(box_pidfd(&seen), -ESRCH);
	ck_assert_uint_eq(boxes(), 1);
	ck_assert_int_eq(box_remove(&seen), 0);
	ck_assert_uint_eq(boxes(), 0);
	box_close(&seen);
	ck_assert_uint_eq(fake_fds(), fds - 3);
}
END_TEST

/* the one line that @file of @box has */
static char *line_of(const struct box *box, const char *file)
{
	static char text[8192];
	int fd = openat(box->dir, file, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

	ck_assert_int_gt(n, 0);
	close(fd);
	text[n] = '\0';
	ck_assert_ptr_eq(strchr(text, '\n'), text + n - 1);
	return text;
}

/* each line of an event or a log tells how bad it is, and whose it is */
START_TEST(lines)
{
	struct box box = { .name = "one", .correlation_id = "order:7" }, seen;
	char *line;

	ck_assert_int_eq(box_make(&box), 0);
	ck_assert_int_eq(box_open("one", &seen), 0);
	ck_assert_str_eq(seen.correlation_id, "order:7");
	box_close(&seen);
	box_event(&box, HUTCH_LOG_WARNING, "security.test", ",\"more\":1");
	line = line_of(&box, "events");
	ck_assert_ptr_nonnull(strstr(line, "\"event\":\"security.test\""));
	ck_assert_ptr_nonnull(
		strstr(line, "\"level\":\"warning\",\"correlation_id\":\"order:7\",\"more\":1}\n"));
	hutch_log_about(box.correlation_id, box.name);
	box_log(&box, "audit", HUTCH_LOG_WARNING, "a \"limit\"\n");
	line = line_of(&box, "audit");
	ck_assert_int_eq(strncmp(line, "{\"ts\":\"20", 9), 0);
	ck_assert_ptr_nonnull(strstr(line,
				     "\"level\":\"warning\",\"id\":\"order:7\",\"name\":\"one\","
				     "\"msg\":\"a \\\"limit\\\"\\u000a\"}\n"));
	box_end(&box);
	/* nobody named one */
	box = make_box("two", false);
	ck_assert_str_eq(box.correlation_id, box.id);
	box_end(&box);
}
END_TEST

/* what @verb of "one" prints */
static const char *printed(const struct verb *verb, const char *source)
{
	static char text[4096], name[] = "one", flag[] = "--source", word[16];
	char *args[] = { flag, word, name, NULL };
	int out = dup(STDOUT_FILENO), fd = memfd_create("out", MFD_CLOEXEC), r;
	ssize_t n;

	snprintf(word, sizeof(word), "%s", source);
	fflush(stdout);
	dup2(fd, STDOUT_FILENO);
	r = *source ? verb->run(3, args, verb) : verb->run(1, args + 2, verb);
	fflush(stdout);
	dup2(out, STDOUT_FILENO);
	ck_assert_int_eq(r, 0);
	n = pread(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	close(out);
	close(fd);
	return text;
}

/* a guest's last words are in both; a terminal obeys U+009B as it does ESC [ */
START_TEST(words_of_a_guest)
{
	static const char words_[] = "oops \x1b[31m\xc2\x9b"
				     "2J\xe2\x80\xae \xc3\xa4";
	struct box box = make_box("one", true), seen;
	const char *text;

	box_log(&box, "audit", HUTCH_LOG_WARNING, "%s", words_);
	text = printed(&verb_logs, "audit");
	ck_assert_ptr_nonnull(strstr(text, "warning oops \\x1b[31m\\xc2\\x9b"
					   "2J\\xe2\\x80\\xae \xc3\xa4\n"));
	strcpy(box.reason, words_);
	box_end(&box);
	text = printed(&verb_events, "");
	ck_assert_ptr_nonnull(strstr(text, "reason=\"oops \\x1b[31m\\xc2\\x9b"
					   "2J\\xe2\\x80\\xae \xc3\xa4\""));
	ck_assert_int_eq(box_open("one", &seen), 0);
	ck_assert_int_eq(box_remove(&seen), 0);
	box_close(&seen);
}
END_TEST

/* who had it open learns the exit code although the folder is gone */
START_TEST(gone_at_once)
{
	struct box box = make_box("one", false), seen;
	char reason[128];
	int code = 0;

	ck_assert_int_eq(box_open("one", &seen), 0);
	box.exit_code = 3;
	box_end(&box);
	ck_assert_uint_eq(boxes(), 0);
	ck_assert_int_eq(box_exit_code(&seen, &code, reason, sizeof(reason)), 0);
	ck_assert_int_eq(code, 3);
	ck_assert_int_eq(box_reload(&seen), -ENOENT);
	ck_assert_int_eq(box_remove(&seen), 0);
	box_close(&seen);
}
END_TEST

START_TEST(names)
{
	struct box a = make_box("same", false), b = { .name = "same" }, c = { .name = "" };
	char part[8];

	ck_assert_int_eq(box_make(&b), -EEXIST);
	ck_assert_ptr_nonnull(strstr(complained, "a sandbox named 'same' runs already"));
	strcpy(b.name, "a/b");
	ck_assert_int_eq(box_make(&b), -EINVAL);
	strcpy(b.name, ".hidden");
	ck_assert_int_eq(box_make(&b), -EINVAL);

	ck_assert_int_eq(box_make(&c), 0);
	ck_assert_uint_eq(strlen(c.name), 8);
	ck_assert_int_eq(box_open(c.name, &b), 0);
	box_close(&b);
	snprintf(part, sizeof(part), "%.6s", c.id);
	if (strncmp(part, a.id, 6)) {
		ck_assert_int_eq(box_open(part, &b), 0);
		ck_assert_str_eq(b.name, c.name);
		box_close(&b);
	}
	ck_assert_int_eq(box_open("none", &b), -ENOENT);
	ck_assert_ptr_nonnull(strstr(complained, "there is no sandbox 'none'"));
	ck_assert_int_eq(box_open("..", &b), -ENOENT);
	ck_assert_int_eq(box_open("", &b), -ENOENT);
	ck_assert_int_eq(box_open(".lock", &b), -ENOENT);
	box_end(&a);
	box_end(&c);
}
END_TEST

/* two ids with one beginning, which chance does not give */
static void same_beginning(struct box *box, const char *id)
{
	strcpy(box->id, id);
	ck_assert_int_eq(box_write(box), 0);
}

START_TEST(ids)
{
	struct box a = make_box("a", false), b = make_box("b", false), seen;

	same_beginning(&a, "aaaabbbb111111111111111111111111");
	same_beginning(&b, "aaaabbbb222222222222222222222222");
	ck_assert_int_eq(box_open("aaaa", &seen), -EINVAL);
	ck_assert_ptr_nonnull(strstr(complained, "begins the id of 2 sandboxes"));
	ck_assert_int_eq(box_open("aaaabbbb2", &seen), 0);
	ck_assert_str_eq(seen.name, "b");
	box_close(&seen);
	ck_assert_int_eq(box_open("aaa", &seen), -ENOENT); /* too little */
	ck_assert_int_eq(box_open("aaaac", &seen), -ENOENT);
	box_end(&a);
	box_end(&b);
}
END_TEST

static void make_and_die(void)
{
	struct box box = make_box("dead", false);

	box_started(&box);
}

static void make_kept_and_die(void)
{
	make_box("dead", true);
}

static void tell_swept(const char *name)
{
	ck_assert_str_eq(name, "dead");
}

/* the lock is free and it did not say that it ended: nothing of it is kept, whoever looks */
START_TEST(killed)
{
	struct box box;
	unsigned n = 0;

	in_child(make_and_die);
	ck_assert_int_eq(box_open("dead", &box), -ENOENT);
	in_child(make_kept_and_die);
	ck_assert_int_eq(box_each_swept(count, tell_swept, &n), 0);
	ck_assert_uint_eq(n, 0);
	in_child(make_and_die);
	box = make_box("dead", false); /* its name is free */
	box_end(&box);
}
END_TEST

static struct box held;

/* a child of the sandbox's process goes on with it */
static void hold_on(void)
{
	held.pid = getpid();
	held.keep = true;
	held.exit_code = 5;
	box_end(&held);
}

START_TEST(forked)
{
	struct box seen;

	held = make_box("forked", false);
	in_child(hold_on);
	box_close(&held);
	ck_assert_int_eq(box_open("forked", &seen), 0);
	ck_assert_uint_eq(seen.status, BOX_EXITED);
	ck_assert_int_eq(seen.exit_code, 5);
	ck_assert_int_eq(box_remove(&seen), 0);
	box_close(&seen);
}
END_TEST

/* a number that belongs to another process by now is never signalled */
START_TEST(reused_pid)
{
	pid_t other = fork();
	struct box box, seen;
	int fd;

	if (!other)
		for (;;)
			pause();
	box = make_box("one", false);
	ck_assert_int_eq(box_open("one", &seen), 0);
	fd = box_pidfd(&seen);
	ck_assert_int_ge(fd, 0);
	close(fd);
	box_close(&box); /* its process is gone, and its number another's */
	seen.pid = other;
	ck_assert_int_eq(box_pidfd(&seen), -ESRCH);
	ck_assert_int_eq(box_kill(&seen, "killed"), 0);
	ck_assert_int_eq(waitpid(other, NULL, WNOHANG), 0);
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	ck_assert_uint_eq(boxes(), 0);
	box_close(&seen);
}
END_TEST

/* a state that is no state: told while its process lives, swept after */
START_TEST(broken_state)
{
	struct box box = make_box("one", true), seen;
	int fd = openat(box.dir, "state", O_WRONLY | O_TRUNC);

	ck_assert_int_eq(write(fd, "{\"id\":\"x\"", 9), 9);
	close(fd);
	ck_assert_uint_eq(boxes(), 0);
	ck_assert_str_eq(complained, "the state of 'one' makes no sense");
	ck_assert_int_eq(box_open("one", &seen), -EINVAL);
	box_close(&box);
	ck_assert_int_eq(box_open("one", &seen), -ENOENT);
}
END_TEST

START_TEST(processor_time)
{
	struct proc proc;

	ck_assert_int_eq(proc_read(getpid(), &proc), 0);
	ck_assert_uint_eq(proc.threads, 1);
	ck_assert_uint_gt(proc.rss, 100000);
	ck_assert_uint_lt(proc.cpu_ms, 60000);
	ck_assert_int_eq(proc_read(0x7fffffff, &proc), -ESRCH);
}
END_TEST

static TCase *registry_case(void)
{
	TCase *t = tcase_create("registry");

	tcase_add_checked_fixture(t, make_root, remove_root);
	tcase_add_test(t, one_life);
	tcase_add_test(t, lines);
	tcase_add_test(t, words_of_a_guest);
	tcase_add_test(t, gone_at_once);
	tcase_add_test(t, names);
	tcase_add_test(t, ids);
	tcase_add_test(t, killed);
	tcase_add_test(t, forked);
	tcase_add_test(t, reused_pid);
	tcase_add_test(t, broken_state);
	tcase_add_test(t, processor_time);
	return t;
}

int main(void)
{
	Suite *s = suite_create("tools");
	TCase *t = tcase_create("flags");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, letters);
	tcase_add_test(t, repeated);
	tcase_add_test(t, after_two_dashes);
	tcase_add_test(t, machine_keys);
	tcase_add_test(t, flags_of_all_verbs);
	tcase_add_test(t, where_the_log_goes);
	tcase_add_test(t, flags_before_the_verb);
	suite_add_tcase(s, t);
	t = tcase_create("text");
	tcase_add_test(t, help_is_folded);
	tcase_add_test(t, durations);
	tcase_add_test(t, sizes);
	tcase_add_test(t, times);
	tcase_add_test(t, json);
	tcase_add_test(t, no_json);
	suite_add_tcase(s, t);
	suite_add_tcase(s, registry_case());
	return suite_run(s);
}
