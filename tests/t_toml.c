/* t_toml - TOML as a configuration: what is taken and means the same as in YAML, and what is
 * refused
 */
#include "conf.h"
#include "suite.h"

static struct conf conf;
static struct conf_origins origins;

static void set_up(void)
{
	conf_defaults(&conf);
	memset(&origins, 0, sizeof(origins));
}

static int load_bytes(const char *text, size_t len)
{
	err_clear();
	return conf_load_text(&conf, "box.toml", text, len, &origins);
}

static void taken(const char *text)
{
	conf_defaults(&conf);
	ck_assert_msg(!load_bytes(text, strlen(text)), "%s\n%s", err_last(), text);
}

static void refused(const char *text, unsigned line, const char *what)
{
	char where[32];

	snprintf(where, sizeof(where), "box.toml:%u: ", line);
	conf_defaults(&conf);
	ck_assert_msg(load_bytes(text, strlen(text)) != 0, "taken:\n%s", text);
	ck_assert_msg(!strncmp(err_last(), where, strlen(where)), "not at line %u: %s\n%s", line,
		      err_last(), text);
	ck_assert_msg(strstr(err_last(), what) != NULL, "no '%s' in: %s", what, err_last());
}

static void text_is(const char *value, const char *want)
{
	char text[512];

	snprintf(text, sizeof(text), "append = %s", value);
	taken(text);
	ck_assert_msg(!strcmp(conf.append, want), "%s is '%s', not '%s'", value, conf.append, want);
}

static const char *origin(const char *key)
{
	return origins.at[field_find(conf_fields, key) - conf_fields];
}

/* --- what is taken --- */

START_TEST(a_whole_file)
{
	taken("# a machine\r\n"
	      "memory = \"1G\"   # with a remark\n"
	      "cpus=4\n"
	      "\n"
	      "\t\"kernel\" = '/boot/vm\\linux'\n"
	      "on-reboot = \"reset\"\n"
	      "pit = true\n"
	      "rng = false\n"
	      "initrd = [ \"a.cpio\", # the first\n"
	      "  'b.cpio',\n"
	      "]\n"
	      "net = [ {mode = \"user\", mtu = 1_400}, \"none\" ]\n"
	      "[[disk]] # one\n"
	      "path = \"root.img\"\n"
	      "ro = true\n"
	      "[[balloon]]\n"
	      "[[ 'disk' ]]\n"
	      "path = \"other.img\"\n"
	      "serial = 7");
	ck_assert(conf.memory == GiB && conf.cpus == 4 && conf.pit && !conf.rng);
	ck_assert_str_eq(conf.kernel, "/boot/vm\\linux");
	ck_assert_uint_eq(conf.on_reboot, REBOOT_RESET);
	ck_assert_uint_eq(conf.initrds, 2);
	ck_assert_str_eq(conf.initrd[1].path, "b.cpio");
	ck_assert(conf.nets == 2 && conf.net[0].mode == NET_USER && conf.net[0].mtu == 1400 &&
		  conf.net[1].mode == NET_NONE && conf.net[1].offload);
	ck_assert(conf.disks == 2 && conf.disk[0].ro && !conf.disk[1].ro && conf.balloons == 1);
	ck_assert_str_eq(conf.disk[0].path, "root.img");
	ck_assert_str_eq(conf.disk[1].path, "other.img");
	ck_assert_str_eq(conf.disk[1].serial, "7");
	ck_assert_str_eq(origin("memory"), "box.toml:2");
	ck_assert_str_eq(origin("initrd"), "box.toml:9");
	ck_assert_str_eq(origin("disk"), "box.toml:13");
	ck_assert_str_eq(origin("boot"), "");
}
END_TEST

START_TEST(nothing_at_all)
{
	static const char *const empty[] = { "", "\n", "# only a remark", " \t", "\r\n#\r\n" };

	for (unsigned i = 0; i < ARRAY_SIZE(empty); i++)
		taken(empty[i]);
	ck_assert_uint_eq(conf.memory, 512 * MiB);
}
END_TEST

/* one file over another: lists replace, and a key that ends in + appends */
START_TEST(merging)
{
	static const char more[] = "\"disk+\" = [\"c\"]\n",
			  tables[] = "[[\"disk+\"]]\npath = \"d\"\n"
				     "[['disk+']]\npath = 'e'\n",
			  other[] = "disk = ['z']";

	taken("disk = ['a', 'b']\n");
	ck_assert_int_eq(load_bytes(more, strlen(more)), 0);
	ck_assert_int_eq(load_bytes(tables, strlen(tables)), 0);
	ck_assert_uint_eq(conf.disks, 5);
	ck_assert_str_eq(conf.disk[2].path, "c");
	ck_assert_str_eq(conf.disk[4].path, "e");
	ck_assert_str_eq(origin("disk"), "box.toml:1, box.toml:1, box.toml:1");
	ck_assert_int_eq(load_bytes(other, strlen(other)), 0);
	ck_assert_uint_eq(conf.disks, 1);
	taken("net = []");
	ck_assert_uint_eq(conf.nets, 0);
	ck_assert_str_eq(origin("net"), "box.toml:1");
}
END_TEST

START_TEST(texts)
{
	text_is("\"\"", "");
	text_is("''", "");
	text_is("\"a\\tb\\\"c\\\\d\\u0041\\U0001F600\\u00e9\\u20AC\"",
		"a\tb\"c\\dA\xf0\x9f\x98\x80\xc3\xa9\xe2\x82\xac");
	text_is("'a\\tb\"'", "a\\tb\"");
	text_is("\"\xc3\xa9 # none\"", "\xc3\xa9 # none");
	text_is("\"\"\"\"\"\"", "");
	text_is("\"\"\"\na\r\n b\\\\\"\"\"", "a\n b\\");
	text_is("\"\"\"a \\   \n \n\t b\"\"\"", "a b");
	text_is("\"\"\"a\"\"b\"\"\"\"\"", "a\"\"b\"\"");
	text_is("\"\"\"\\\"\\\"\\\"\"\"\"", "\"\"\"");
	text_is("'''\n'a' \\n''''", "'a' \\n'");
	text_is("7", "7");
	text_is("true", "true");
}
END_TEST

START_TEST(numbers)
{
	static const struct {
		const char *text;
		unsigned cpus;
	} good[] = { { "1", 1 },     { "+7", 7 },     { "1_0_0", 100 }, { "0x1F", 31 },
		     { "0o17", 15 }, { "0b1_01", 5 }, { "\"12\"", 12 } };
	static const char *const bad[] = {
		"01",  "1__0", "_1",   "1_",  "0x",  "0x_1",	   "0o8",      "0b2",
		"1.5", "1e3",  "+0x1", "0X1", "--1", "+",	   "-",	       "1-2",
		"inf", "nan",  "True", "yes", "12M", "1979-05-27", "07:32:00", "0xfffffffffffffffff"
	};
	char line[64];

	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		snprintf(line, sizeof(line), "cpus = %s", good[i].text);
		taken(line);
		ck_assert_msg(conf.cpus == good[i].cpus, "%s", line);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(line, sizeof(line), "cpus = %s", bad[i]);
		refused(line, 1, "is no value; write a text in quotes");
	}
	/* a number for TOML, and for the key none */
	refused("cpus = -1", 1, "cpus: '-1' is not a whole number");
	refused("cpus = 99999999999999999999999", 1, "outside 1 to 1024");
	refused("cpus = true", 1, "not a whole number");
	refused("memory = 512", 1, "unit");
	refused("pit = 2", 1, "neither yes nor no");
}
END_TEST

/* --- what is refused --- */

START_TEST(keys_come_once)
{
	refused("cpus = 1\n\ncpus = 2\n", 3, "twice");
	refused("on-reboot = 'exit'\non_reboot = 'reset'\n", 2, "twice");
	refused("disk = ['a']\n[[disk]]\npath = 'b'\n", 2, "twice");
	refused("disk = ['a']\n'disk+' = ['b']\n", 2, "twice");
	refused("[[disk]]\npath = 'a'\n[['disk+']]\npath = 'b'\n", 3, "twice");
	refused("[[disk]]\npath = 'a'\npath = 'b'\n", 3, "twice");
	refused("disk = [{path = 'a', path = 'b'}]\n", 1, "twice");
	refused("[[disk]]\n[[net]]\nmode = 'none'\nmode = 'none'", 4, "twice");
}
END_TEST

START_TEST(wrong_types)
{
	refused("memroy = '1G'\n", 1, "did you mean 'memory'?");
	refused("[[disks]]\n", 1, "did you mean 'disk'?");
	refused("[[disk]]\nreado = true\n", 2, "unknown key 'reado'");
	refused("[[disk]]\ncpus = 1\n", 2, "unknown key 'cpus'");
	refused("[[memory]]\n", 1, "memory: takes one value");
	refused("cpus = [1]\n", 1, "takes one value");
	refused("cpus = {a = 1}\n", 1, "takes one value");
	refused("disk = {path = 'a'}\n", 1, "takes a list");
	refused("disk = [['a']]\n", 1, "neither a value nor a mapping");
	refused("disk = [{path = ['a']}]\n", 1, "takes one value");
	refused("\"cpus+\" = 1\n", 1, "not a list");
	refused("\"\" = 1\n", 1, "short name");
	refused("memory = \"1G\"\n[disk]\n", 2, "[disk]: no key is a table");
	refused("disk.path = 'a'\n", 1, "dotted keys");
	refused("[[disk.more]]\n", 1, "dotted keys");
	refused("disk = [\n'a',\n'b,roo']\n", 3, "did you mean 'ro'?");
}
END_TEST

START_TEST(broken_syntax)
{
	static const struct {
		const char *text;
		unsigned line;
		const char *why;
	} bad[] = {
		{ "cpus", 1, "= is missing" },
		{ "cpus 1", 1, "= is missing" },
		{ "disk+ = ['a']", 1, "\"disk+\", in quotes" },
		{ "cpus =", 1, "a value is missing" },
		{ "cpus = # 1\n", 1, "a value is missing" },
		{ "cpus =\n1", 1, "a value is missing" },
		{ "= 1", 1, "a key is expected" },
		{ "cpus = 1 pit = true", 1, "behind a value" },
		{ "cpus = 1, pit = true", 1, "behind a value" },
		{ "[[disk]] path = 'a'", 1, "behind a value" },
		{ "[[disk]\n", 1, "]] is missing" },
		{ "[[disk] ]\n", 1, "]] is missing" },
		{ "[[]]\n", 1, "a key is expected" },
		{ "name = \"open\n\"", 1, "has no end" },
		{ "name = 'open", 1, "has no end" },
		{ "\nname = \"\"\"open\n\n\"\"", 2, "has no end" },
		{ "'''name''' = 1", 1, "on one line" },
		{ "name = \"\"\"a\"\"\"\"\"\"", 1, "behind a value" },
		{ "name = \"\\x\"", 1, "is followed by none of" },
		{ "name = \"\\\n\"", 1, "is followed by none of" },
		{ "name = \"\\u12\"", 1, "4 hexadecimal digits" },
		{ "name = \"\\ud800\"", 1, "names no character" },
		{ "name = \"\\U00110000\"", 1, "names no character" },
		{ "name = \"\\u0000\"", 1, "NUL" },
		{ "name = \"a\x01\"", 1, "control character" },
		{ "name = \"\"\"\na\rb\"\"\"", 2, "control character" },
		{ "# a\rb\n", 1, "control character" },
		{ "cpus = 1\r", 1, "behind a value" },
		{ "disk = ['a' 'b']", 1, "a comma or ] is missing" },
		{ "disk = [,]", 1, "a value is missing" },
		{ "disk = ['a',,'b']", 1, "a value is missing" },
		{ "disk = ['a',\n", 2, "a value is missing" },
		{ "disk = ['a'\n", 2, "a comma or ] is missing" },
		{ "disk = [{path = 'a',}]", 1, "a key is expected" },
		{ "disk = [{path = 'a' ro = true}]", 1, "a comma or } is missing" },
		{ "disk = [{path = 'a',\nro = true}]", 1, "a key is expected" },
		{ "disk = [{\npath = 'a'}]", 1, "a key is expected" },
		{ "disk = [{path = 'a']", 1, "a comma or } is missing" },
		{ "cpus = 1\nname = \"\xff\"", 2, "not UTF-8" },
		{ "name = \"\xc0\x80\"", 1, "not UTF-8" },
		{ "name = \"\xed\xa0\x80\"", 1, "not UTF-8" },
		{ "name = \"\xe2\x82", 1, "not UTF-8" },
		{ "memory: 1G\n", 1, "= is missing" },
		{ "{\"cpus\": 1}", 1, "a key is expected" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		refused(bad[i].text, bad[i].line, bad[i].why);
	ck_assert_int_ne(load_bytes("name = 'a\0b'", 12), 0);
	ck_assert_ptr_nonnull(strstr(err_last(), "NUL"));
	ck_assert_int_ne(load_bytes("cpus = \0", 8), 0);
	ck_assert_int_ne(load_bytes("\0", 1), 0);
}
END_TEST

START_TEST(too_much)
{
	char *text = malloc(MiB + 1);
	size_t n = (size_t)sprintf(text, "append = '");

	memset(text + n, '[', MiB - n);
	ck_assert_int_ne(load_bytes(text, MiB), 0);
	ck_assert_int_eq(load_bytes(text, MiB + 1), -EFBIG);
	text[MiB - 1] = '\'';
	ck_assert_int_eq(load_bytes(text, MiB), -E2BIG); /* read whole, and no room for it */
	/* deep */
	memcpy(text, "disk    =", 9);
	memset(text + 9, '[', MiB - 9);
	ck_assert_int_eq(load_bytes(text, MiB), -EINVAL);
	/* many */
	n = 0;
	for (unsigned i = 0; i <= CONF_DISKS; i++)
		n += (size_t)sprintf(text + n, "[[disk]]\npath = 'd%u'\n", i);
	ck_assert_int_eq(load_bytes(text, n), -E2BIG);
	ck_assert_ptr_nonnull(strstr(err_last(), "box.toml:33: disk: more than 16"));
	free(text);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("toml");
	TCase *t = tcase_create("toml");

	tcase_add_checked_fixture(t, set_up, NULL);
	tcase_add_test(t, a_whole_file);
	tcase_add_test(t, nothing_at_all);
	tcase_add_test(t, merging);
	tcase_add_test(t, texts);
	tcase_add_test(t, numbers);
	tcase_add_test(t, keys_come_once);
	tcase_add_test(t, wrong_types);
	tcase_add_test(t, broken_syntax);
	tcase_add_test(t, too_much);
	suite_add_tcase(s, t);
	return suite_run(s);
}
