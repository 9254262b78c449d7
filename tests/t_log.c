/* t_log - lines of the log: text and JSON, whole whatever is in them, and a disk that is full */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "json.h"
#include "log.h"
#include "suite.h"

static char said[1 << 20];

static unsigned lines_of(int fd)
{
	ssize_t n = pread(fd, said, sizeof(said) - 1, 0);
	unsigned lines = 0;

	ck_assert_int_ge(n, 0);
	said[n] = '\0';
	for (ssize_t i = 0; i < n; i++)
		lines += said[i] == '\n';
	ck_assert(!n || said[n - 1] == '\n');
	return lines;
}

/* what a line of JSON says */
struct entry {
	char ts[64], level[16], id[200], name[80], msg[LOG_LINE], code[64];
	bool cut;
};

/* @line is one whole object, and nothing in it is more than JSON may have: the next line */
static const char *parse(const char *line, struct entry *ret)
{
	static const char letters[] = "0123-56-89T12:45:78.012Z";
	static char one[2 * LOG_LINE];
	const char *end = strchr(line, '\n'), *at = one;
	char key[32], value[LOG_LINE];
	int r;

	ck_assert_ptr_nonnull(end);
	ck_assert_int_le(end + 1 - line, LOG_LINE);
	snprintf(one, sizeof(one), "%.*s", (int)(end - line), line);
	for (const char *c = one; *c; c += utf8_len(c, 4)) {
		ck_assert_uint_gt(utf8_len(c, 4), 0);
		ck_assert_int_ge((unsigned char)*c, ' ');
	}
	*ret = (struct entry){ .cut = false };
	while ((r = json_member(&at, key, sizeof(key), value, sizeof(value))) == 1) {
		if (!strcmp(key, "cut"))
			ret->cut = !strcmp(value, "true");
#define TAKE(m)               \
	if (!strcmp(key, #m)) \
		snprintf(ret->m, sizeof(ret->m), "%.*s", (int)sizeof(ret->m) - 1, value);
		TAKE(ts) TAKE(level) TAKE(id) TAKE(name) TAKE(msg) TAKE(code)
#undef TAKE
	}
	ck_assert_int_eq(r, 0);
	ck_assert_str_eq(at, "}");
	ck_assert_uint_eq(strlen(ret->ts), 24);
	for (unsigned i = 0; i < 24; i++)
		ck_assert(letters[i] >= '0' && letters[i] <= '9'
				  ? ret->ts[i] >= '0' && ret->ts[i] <= '9'
				  : ret->ts[i] == letters[i]);
	return end + 1;
}

START_TEST(levels_and_lines)
{
	int fd = memfd_create("log", 0), err = dup(STDERR_FILENO);
	static char longer[3000];

	/* to stderr: nothing but the word */
	dup2(fd, STDERR_FILENO);
	log_setup(STDERR_FILENO, LOG_WARN);
	log_info("not shown");
	log_warn("shown %d", 1);
	log_error("shown too");
	log_text(LOG_ERROR, "as it is");
	ck_assert_uint_eq(lines_of(fd), 3);
	ck_assert_str_eq(said,
			 "hutch: warning: shown 1\nhutch: error: shown too\nhutch: as it is\n");
	memset(longer, 'y', sizeof(longer) - 1);
	log_error("%s", longer);
	ck_assert_uint_eq(lines_of(fd), 4);
	log_error("one\ntwo\x1b[31m\x7f three\xff \xc2\x9b \xc3\xa4");
	ck_assert_uint_eq(lines_of(fd), 5);
	ck_assert_ptr_nonnull(
		strstr(said,
		       "hutch: error: one\\x0atwo\\x1b[31m\\x7f three\\xff \\xc2\\x9b \xc3\xa4\n"));
	dup2(err, STDERR_FILENO);
	close(err);
	close(fd);
}
END_TEST

/* a file has lines of many, from different times */
START_TEST(text_in_a_file)
{
	int fd = memfd_create("log", 0);
	char word[32];

	log_to(fd, false);
	log_about("order-7", "box");
	log_warn("it is late");
	ck_assert_uint_eq(lines_of(fd), 1);
	ck_assert_int_eq(sscanf(said, "%31s hutch[order-7]: warning: it is late\n", word), 1);
	ck_assert_uint_eq(strlen(word), 24);
	close(fd);
}
END_TEST

START_TEST(json_says_what_it_is)
{
	static const struct {
		enum log_level level;
		const char *text, *word, *code;
	} cases[] = {
		{ LOG_ERROR, "error 125 E_KVM: cannot open /dev/kvm", "error", "E_KVM" },
		{ LOG_WARN, "plain", "warning", "" },
		{ LOG_INFO, "E_NOT_FOUND: x", "info", "E_NOT_FOUND" },
		{ LOG_DEBUG, "NONE_E_KVM: no code, E_kvm: nor E_ or E_KVM", "debug", "" },
		{ LOG_ERROR, "E_ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOP: too long", "error",
		  "" },
	};
	int fd = memfd_create("log", 0);
	const char *at = said;
	struct entry e;

	log_setup(fd, LOG_DEBUG);
	log_to(fd, true);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		log_line(cases[i].level, "%s", cases[i].text);
	ck_assert_uint_eq(lines_of(fd), ARRAY_SIZE(cases));
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		at = parse(at, &e);
		ck_assert_str_eq(e.msg, cases[i].text);
		ck_assert_str_eq(e.level, cases[i].word);
		ck_assert_str_eq(e.code, cases[i].code);
		ck_assert(!e.id[0] && !e.name[0] && !e.cut);
	}
	/* what it is about, once that is known */
	log_about("a\"b", NULL);
	log_about(NULL, "box");
	ck_assert_int_eq(ftruncate(fd, 0) | (int)lseek(fd, 0, SEEK_SET), 0);
	log_error("x");
	ck_assert_uint_eq(lines_of(fd), 1);
	parse(said, &e);
	ck_assert_str_eq(e.id, "a\"b");
	ck_assert_str_eq(e.name, "box");
	close(fd);
}
END_TEST

/* every byte, and every text that ends within something that is written as more than one */
START_TEST(json_of_odd_texts)
{
	static const char *const units[] = {
		"\"",	    "\\",	    "\n",
		"\x01",	    "\x7f",	    "\xff",
		"\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
		"\xc2\x9b", "\xed\xa0\x80", "\xe2\x82",
	};
	int fd = memfd_create("log", 0);
	static char text[3 * LOG_LINE];
	struct entry e;
	const char *at;
	unsigned n = 0;

	log_to(fd, true);
	for (unsigned c = 1; c < 256; c++, n++)
		log_error("a%cb", (char)c);
	for (unsigned i = 0; i < ARRAY_SIZE(units); i++) {
		for (unsigned shift = 0; shift < 8; shift++, n++) {
			memset(text, 'x', shift);
			text[shift] = '\0';
			while (strlen(text) < 2 * LOG_LINE)
				strcat(text, units[i]);
			log_error("%s", text);
		}
	}
	ck_assert_uint_eq(lines_of(fd), n);
	at = said;
	for (unsigned i = 0; i < n; i++) {
		at = parse(at, &e);
		ck_assert_str_eq(e.level, "error");
		if (i < 255) {
			char want[8] = { 'a', (char)(i + 1), 'b' };

			ck_assert_str_eq(e.msg, i < 127 ? want
							: "a\xef\xbf\xbd"
							  "b");
		}
	}
	/* a text that fits before it is escaped, and not behind */
	ck_assert_int_eq(ftruncate(fd, 0) | (int)lseek(fd, 0, SEEK_SET), 0);
	memset(text, 1, LOG_TEXT - 1);
	text[LOG_TEXT - 1] = '\0';
	log_text(LOG_ERROR, text);
	ck_assert_uint_eq(lines_of(fd), 1);
	parse(said, &e);
	ck_assert(e.cut);
	ck_assert_uint_gt(strlen(e.msg), 600);
	close(fd);
}
END_TEST

/* as text to one, as JSON to the other */
START_TEST(a_copy)
{
	int fd = memfd_create("log", 0), copy = memfd_create("copy", 0);
	struct entry e;

	log_to(fd, false);
	log_copy(copy);
	log_warn("both");
	log_to(-1, false);
	log_warn("only one");
	ck_assert_uint_eq(lines_of(fd), 1);
	ck_assert_ptr_nonnull(strstr(said, "warning: both\n"));
	ck_assert_uint_eq(lines_of(copy), 2);
	parse(parse(said, &e), &e);
	ck_assert_str_eq(e.msg, "only one");
	ck_assert_str_eq(e.level, "warning");
	log_text_to(fd, LOG_INFO, "alone");
	ck_assert_uint_eq(lines_of(fd), 2);
	ck_assert_uint_eq(lines_of(copy), 2);
	close(fd);
	close(copy);
}
END_TEST

/* an event is for those who read JSON; its members are all there, or none is */
START_TEST(events)
{
	int fd = memfd_create("log", 0), copy = memfd_create("copy", 0);
	static char many[2 * LOG_LINE];
	char *end = stpcpy(many, ",\"key\":\"");
	struct entry e;
	const char *at;
	unsigned fits = 0;

	log_to(fd, false);
	log_copy(copy);
	log_event(LOG_WARN, "security.test", ",\"key\":1", "error 125 E_TEST: told");
	ck_assert_uint_eq(lines_of(fd), 0);
	ck_assert_uint_eq(lines_of(copy), 1);
	log_about("order:7", NULL);
	log_to(fd, true);
	log_event(LOG_WARN, "security.test", ",\"key\":1", "error 125 E_TEST: told");
	log_event(LOG_DEBUG, "security.test", "", "not shown");
	ck_assert_uint_eq(lines_of(fd), 1);
	parse(said, &e);
	ck_assert_str_eq(e.level, "warning");
	ck_assert_str_eq(e.id, "order:7");
	ck_assert_str_eq(e.msg, "error 125 E_TEST: told");
	ck_assert_str_eq(e.code, "E_TEST");
	ck_assert_ptr_nonnull(
		strstr(said, ",\"event\":\"security.test\",\"key\":1,\"msg\":\"error"));
	/* of any size, up to one that has no room for a text, and none itself */
	memset(end, 'x', 3700);
	for (end += 3700; end < many + 4200; end++) {
		ck_assert_int_eq(ftruncate(fd, 0) | (int)lseek(fd, 0, SEEK_SET), 0);
		strcpy(end, "\"");
		log_event(LOG_WARN, "e", many, "error 125 E_TEST: told");
		ck_assert_uint_eq(lines_of(fd), 1);
		parse(said, &e);
		at = strstr(said, many);
		ck_assert(at || !strstr(said, "\"key\""));
		fits += at != NULL;
		*end = 'x';
	}
	ck_assert_uint_gt(fits, 0);
	ck_assert(!at && !e.cut);
	close(fd);
	close(copy);
}
END_TEST

/* it goes on, and says so once */
START_TEST(full_disk)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC), fd = memfd_create("err", 0);

	dup2(fd, STDERR_FILENO);
	log_to(full, false);
	for (int i = 0; i < 10; i++)
		log_error("lost");
	ck_assert_uint_eq(lines_of(fd), 1);
	ck_assert_str_eq(said, "hutch: warning: the log cannot be written, and lines of it are "
			       "lost: No space left on device\n");
	close(full);
	close(fd);
}
END_TEST

/* a line of which only a part was taken: the next begins on its own */
START_TEST(torn_line)
{
	int fd = memfd_create("log", 0), err = memfd_create("err", 0);
	struct rlimit limit, most;
	const char *third;
	struct entry e;
	size_t first;

	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &most), 0);
	dup2(err, STDERR_FILENO);
	log_to(fd, true);
	log_error("%500s", "first"); /* the limit is for stderr too, which is far from it */
	ck_assert_uint_eq(lines_of(fd), 1);
	first = strlen(said);
	limit = (struct rlimit){ first + 20, most.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	log_error("second");
	log_error("not a byte of it");
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &most), 0);
	log_error("fourth");
	log_error("fifth");
	ck_assert_uint_eq(lines_of(fd), 4);
	ck_assert_uint_eq(strcspn(said + first, "\n"), 20);
	third = strchr(said + first, '\n') + 1;
	third = parse(third, &e);
	ck_assert_str_eq(e.msg, "fourth");
	parse(third, &e);
	ck_assert_str_eq(e.msg, "fifth");
	ck_assert_uint_eq(lines_of(err), 1);
	parse(said, &e);
	ck_assert_str_eq(e.level, "warning");
	ck_assert_ptr_nonnull(strstr(e.msg, "the log cannot be written"));
	close(fd);
	close(err);
}
END_TEST

/* lines of many processes in one pipe */
START_TEST(lines_do_not_mix)
{
	static char text[1500], got[1 << 20];
	unsigned n[4] = { 0 };
	size_t have = 0;
	struct entry e;
	const char *at = got;
	int fd[2];
	ssize_t k;

	ck_assert_int_eq(pipe(fd), 0);
	log_to(fd[1], true);
	for (int who = 0; who < 4; who++) {
		if (fork())
			continue;
		memset(text, 'a' + who, sizeof(text) - 1);
		for (int i = 0; i < 100; i++)
			log_error("%s", text);
		_exit(0);
	}
	close(fd[1]);
	while ((k = read(fd[0], got + have, sizeof(got) - 1 - have)) > 0)
		have += (size_t)k;
	got[have] = '\0';
	while (*at) {
		at = parse(at, &e);
		ck_assert_uint_eq(strspn(e.msg, (char[]){ e.msg[0], 0 }), sizeof(text) - 1);
		n[e.msg[0] - 'a']++;
	}
	for (int who = 0; who < 4; who++) {
		ck_assert_uint_eq(n[who], 100);
		wait(NULL);
	}
	close(fd[0]);
}
END_TEST

/* a guest gets LOG_BURST lines a window, and a word about the rest when the next one begins */
START_TEST(of_a_guest)
{
	struct log_limit limit = { 0 };
	int fd = memfd_create("log", 0);

	log_setup(fd, LOG_INFO);
	for (unsigned i = 0; i < 1000; i++)
		log_guest(&limit, "line %u", i);
	ck_assert_uint_eq(lines_of(fd), LOG_BURST);
	limit.window_start -= LOG_WINDOW_NS + 1;
	log_guest(&limit, "later");
	ck_assert_uint_eq(lines_of(fd), LOG_BURST + 2);
	ck_assert_ptr_nonnull(strstr(said, "995 more"));
	ck_assert_ptr_nonnull(strstr(said, "later"));
	close(fd);
}
END_TEST

/* a log that is nowhere ends nothing */
START_TEST(that_is_closed)
{
	log_setup(-1, LOG_INFO);
	log_error("nowhere");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("log");
	TCase *t = tcase_create("log");

	tcase_set_timeout(t, 20);
	tcase_add_test(t, levels_and_lines);
	tcase_add_test(t, text_in_a_file);
	tcase_add_test(t, json_says_what_it_is);
	tcase_add_test(t, json_of_odd_texts);
	tcase_add_test(t, a_copy);
	tcase_add_test(t, events);
	tcase_add_test(t, full_disk);
	tcase_add_test(t, torn_line);
	tcase_add_test(t, lines_do_not_mix);
	tcase_add_test(t, of_a_guest);
	tcase_add_test(t, that_is_closed);
	suite_add_tcase(s, t);
	return suite_run(s);
}
