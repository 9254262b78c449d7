/* t_field - values, structs and lists from text, defaults, and what a person is told */

#include "field.h"
#include "suite.h"

static const char *const colours[] = { "red", "green", "blue", NULL };

struct inner {
	char path[16];
	bool ro;
	uint32_t n;
};

struct outer {
	uint8_t small;
	uint16_t port;
	uint32_t cpus;
	uint64_t big;
	uint64_t memory;
	bool on;
	uint32_t colour;
	char name[8];
	struct inner one;
	uint32_t many_n;
	struct inner many[3];
	uint8_t raw[4];
};

static const struct field inner_fields[] = {
	F_STR(struct inner, path),
	F_BOOL(struct inner, ro),
	F_RANGE(struct inner, n, 1, 9, .dflt = "3"),
	F_END,
};

static const struct field fields[] = {
	F_UINT(struct outer, small, .dflt = "7"),
	F_UINT(struct outer, port),
	F_RANGE(struct outer, cpus, 1, 64, .dflt = "1"),
	F_UINT(struct outer, big),
	F_SIZE(struct outer, memory, MiB, GiB, .dflt = "512M"),
	F_BOOL(struct outer, on, .dflt = "yes"),
	F_ENUM(struct outer, colour, colours, .dflt = "green"),
	F_STR(struct outer, name, .dflt = "box"),
	F_STRUCT(struct outer, one, inner_fields),
	F_LIST(struct outer, many, many_n, inner_fields),
	F_BYTES(struct outer, raw),
	F_END,
};

static struct outer o;

static void set_up(void)
{
	field_defaults(fields, &o, sizeof(o));
}

static int set(const char *name, const char *text)
{
	err_clear();
	return field_set(fields, "test:1", name, text, &o);
}

/* a refusal says where, which value, and @what */
static void refused(const char *name, const char *text, int r, const char *what)
{
	ck_assert_msg(set(name, text) == r, "%s=%s is taken", name, text);
	ck_assert_msg(!strncmp(err_last(), "test:1: ", 8), "%s", err_last());
	ck_assert_msg(strstr(err_last(), what) != NULL, "%s=%s: %s", name, text, err_last());
}

START_TEST(defaults)
{
	ck_assert_uint_eq(o.small, 7);
	ck_assert_uint_eq(o.port, 0);
	ck_assert_uint_eq(o.memory, 512 * MiB);
	ck_assert(o.on);
	ck_assert_uint_eq(o.colour, 1);
	ck_assert_str_eq(o.name, "box");
	ck_assert_uint_eq(o.one.n, 3);
	ck_assert_uint_eq(o.many_n, 0);
}
END_TEST

START_TEST(numbers)
{
	ck_assert_int_eq(set("small", "255"), 0);
	ck_assert_uint_eq(o.small, 255);
	ck_assert_uint_eq(o.port, 0); /* the neighbour is not touched */
	refused("small", "256", -ERANGE, "256");
	ck_assert_uint_eq(o.small, 255);
	ck_assert_int_eq(set("port", "0xffff"), 0);
	refused("port", "65536", -ERANGE, "65536");
	ck_assert_int_eq(set("big", "18446744073709551615"), 0);
	refused("big", "18446744073709551616", -ERANGE, "18446744073709551616");
	refused("big", "many", -EINVAL, "not a whole number");
	refused("big", "", -EINVAL, "not a whole number");
	ck_assert_int_eq(set("cpus", "64"), 0);
	refused("cpus", "0", -ERANGE, "1 to 64");
	refused("cpus", "65", -ERANGE, "1 to 64");
	ck_assert_uint_eq(o.cpus, 64);
	ck_assert_int_eq(set("memory", "1G"), 0);
	refused("memory", "2G", -ERANGE, "1M to 1G");
	refused("memory", "4K", -ERANGE, "1M to 1G");
	refused("memory", "512", -EINVAL, "unit");
	refused("memory", "99999999999T", -ERANGE, "99999999999T");
	ck_assert_uint_eq(o.memory, GiB);
}
END_TEST

START_TEST(words)
{
	static const char *const yes[] = { "yes", "YES", "true", "on", "1", NULL };
	static const char *const no[] = { "no", "No", "false", "off", "0", NULL };

	for (unsigned i = 0; i < 5; i++) {
		ck_assert_int_eq(set("on", yes[i]), 0);
		ck_assert(o.on);
		ck_assert_int_eq(set("on", no[i]), 0);
		ck_assert(!o.on);
	}
	ck_assert_int_eq(set("on", NULL), 0); /* a flag */
	ck_assert(o.on);
	refused("on", "2", -EINVAL, "neither yes nor no");
	refused("on", "", -EINVAL, "neither yes nor no");
	ck_assert_int_eq(set("colour", "blue"), 0);
	ck_assert_uint_eq(o.colour, 2);
	refused("colour", "Blue", -EINVAL, "red, green, blue");
	refused("colour", "", -EINVAL, "red, green, blue");
	ck_assert_int_eq(set("name", "1234567"), 0);
	refused("name", "12345678", -E2BIG, "at most 7");
	ck_assert_str_eq(o.name, "1234567");
	ck_assert_int_eq(set("name", ""), 0);
	refused("name", NULL, -EINVAL, "name=VALUE");
	refused("raw", "00", -EINVAL, "cannot be set");
}
END_TEST

START_TEST(unknown_keys)
{
	char longer[300];

	refused("colou", "red", -EINVAL, "did you mean 'colour'?");
	refused("memroy", "1G", -EINVAL, "did you mean 'memory'?");
	refused("zzzzzzz", "1", -EINVAL, "unknown key 'zzzzzzz'");
	ck_assert_ptr_null(strstr(err_last(), "did you mean"));
	memset(longer, 'k', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	refused(longer, "1", -EINVAL, "unknown key");
	refused("one", "x,roo", -EINVAL, "did you mean 'ro'?");
}
END_TEST

/* "VALUE,KEY=VALUE,KEY" */
START_TEST(structs)
{
	static const struct {
		const char *text, *path;
		bool ro;
		unsigned n;
	} good[] = {
		{ "disk", "disk", false, 3 },
		{ "disk,ro", "disk", true, 3 },
		{ "disk,ro=no,n=5", "disk", false, 5 },
		{ "path=disk,n=1", "disk", false, 1 },
		{ "ro", "ro", false, 3 }, /* the first is the path, whatever it is called */
		{ "n=9", "", false, 9 },
		{ "a=b,ro", "a=b", true, 3 }, /* no key 'a': so it is a path */
		{ "a,,b,ro", "a,b", true, 3 },
		{ ",,", ",", false, 3 },
		{ "x,,,ro", "x,", true, 3 },
		{ "path=a,,b=c,n=2", "a,b=c", false, 2 },
		{ "", "", false, 3 },
		{ ",ro", "", true, 3 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		set_up();
		ck_assert_msg(!set("many", good[i].text), "%s: %s", good[i].text, err_last());
		ck_assert_uint_eq(o.many_n, 1);
		ck_assert_msg(!strcmp(o.many[0].path, good[i].path), "%s: %s", good[i].text,
			      o.many[0].path);
		ck_assert_msg(o.many[0].ro == good[i].ro, "%s", good[i].text);
		ck_assert_msg(o.many[0].n == good[i].n, "%s: %u", good[i].text, o.many[0].n);
	}
	set_up();
	refused("many", "disk,", -EINVAL, "ends in a comma");
	refused("many", "disk,rw", -EINVAL, "did you mean 'ro'?");
	refused("many", "disk,n", -EINVAL, "n=VALUE");
	refused("many", "disk,n=10", -ERANGE, "1 to 9");
	refused("many", "disk,ro,n=", -EINVAL, "not a whole number");
	refused("many", "0123456789abcdef", -E2BIG, "at most 15");
	ck_assert_uint_eq(o.many_n, 0);
	ck_assert_int_eq(set("one", "x,ro"), 0);
	ck_assert_str_eq(o.one.path, "x");
}
END_TEST

START_TEST(values_too_long)
{
	char *text = malloc(20000);

	memset(text, 'x', 19999);
	text[19999] = '\0';
	refused("many", text, -E2BIG, "longer");
	text[8191] = '\0';
	refused("many", text, -E2BIG, "too long");
	text[0] = ',';
	memcpy(text + 100, ",,", 2);
	ck_assert_int_ne(set("many", text), 0);
	free(text);
}
END_TEST

START_TEST(lists)
{
	char path[4] = "d0";

	for (unsigned i = 0; i < 3; i++) {
		path[1] = (char)('0' + i);
		ck_assert_int_eq(set("many", path), 0);
	}
	ck_assert_uint_eq(o.many_n, 3);
	ck_assert_str_eq(o.many[2].path, "d2");
	refused("many", "d3", -E2BIG, "takes 3");
	ck_assert_uint_eq(o.many_n, 3);
	ck_assert_uint_eq(o.raw[0], 0);
}
END_TEST

/* what is printed is read back as the same */
START_TEST(printing)
{
	static const char *const values[][2] = {
		{ "small", "200" },   { "port", "8080" },   { "big", "18446744073709551615" },
		{ "memory", "513M" }, { "on", "no" },	    { "on", "yes" },
		{ "colour", "blue" }, { "name", "a b,c=" }, { "name", "" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
		const struct field *f = field_find(fields, values[i][0]);
		char text[64];

		ck_assert_int_eq(set(values[i][0], values[i][1]), 0);
		field_print(f, &o, text, sizeof(text));
		ck_assert_str_eq(text, values[i][1]);
	}
	ck_assert_ptr_null(field_find(fields, "nothing"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("field");
	TCase *t = tcase_create("field");

	tcase_set_timeout(t, 10);
	tcase_add_checked_fixture(t, set_up, NULL);
	tcase_add_test(t, defaults);
	tcase_add_test(t, numbers);
	tcase_add_test(t, words);
	tcase_add_test(t, unknown_keys);
	tcase_add_test(t, structs);
	tcase_add_test(t, values_too_long);
	tcase_add_test(t, lists);
	tcase_add_test(t, printing);
	suite_add_tcase(s, t);
	return suite_run(s);
}
