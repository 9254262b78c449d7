/* t_tools - how the command reads what it is given: flags, durations, names */
#include <stdarg.h>
#include <string.h>

#include "suite.h"
#include "tool.h"

/* in place of the command's own: what was complained of last */
static char complaint[2048];

void complain(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(complaint, sizeof(complaint), fmt, ap);
	va_end(ap);
}

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
	complaint[0] = '\0';
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
	ck_assert_str_eq(complaint, "test: unknown flag -x in '-ix'");
	ck_assert_int_eq(parse_line(&plain, "-m"), -1); /* no machine, no key of it */
	ck_assert_str_eq(complaint, "test: unknown flag -m");
	ck_assert_int_eq(parse_line(&plain, "-itw"), -1);
	ck_assert_str_eq(complaint, "-w: a value is missing: DIR");
	ck_assert_int_eq(parse_line(&plain, "--tty=yes"), -1);
	ck_assert_str_eq(complaint, "--tty takes no value, 'yes' is too much");
	ck_assert_int_eq(parse_line(&plain, "--workdri x"), -1);
	ck_assert_str_eq(complaint, "test: unknown flag --workdri; did you mean --workdir?");
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
	ck_assert_ptr_nonnull(strstr(complaint, "memory: '64' is not a size"));
	/* a file that cannot be read is told before anything else is done */
	ck_assert_int_eq(parse_line(&machine, "-m 32M -C /nonexistent"), -1);
	ck_assert_ptr_nonnull(strstr(complaint, "/nonexistent"));
	check_key("memory", "64M");
	ck_assert_int_eq(parse_line(&machine, "-C @"), -1);
	ck_assert_str_eq(complaint, "-C: a value is missing: FILE");
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
	ck_assert_str_eq(complaint, "--root: a value is missing: DIR");
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
	ck_assert_ptr_nonnull(strstr(complaint, "-x is no flag that stands before the verb"));
	ck_assert_int_eq(leading("-qx ps"), -1);
	ck_assert_int_eq(leading("--=x ps"), -1);
	ck_assert_int_eq(leading("-- ps"), -1);
	ck_assert_int_eq(leading("- ps"), 0);
}
END_TEST

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
	tcase_add_test(t, flags_before_the_verb);
	suite_add_tcase(s, t);
	return suite_run(s);
}
