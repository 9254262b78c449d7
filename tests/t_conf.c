/* t_conf - the configuration from flags and files, what is refused and how, and back from its tree
 */
#include <libfdt.h>
#include <unistd.h>

#include "conf.h"
#include "fake.h"
#include "state.h"
#include "suite.h"

static struct conf conf;

static void set_up(void)
{
	conf_defaults(&conf);
}

static int load(const char *text)
{
	err_clear();
	return conf_load_text(&conf, "box.yaml", text, strlen(text), NULL);
}

/* refused, and the message begins with file and line */
static void refused(const char *text, unsigned line, const char *what)
{
	char where[32];

	snprintf(where, sizeof(where), "box.yaml:%u: ", line);
	ck_assert_msg(load(text) != 0, "taken:\n%s", text);
	ck_assert_msg(!strncmp(err_last(), where, strlen(where)), "not at line %u: %s", line,
		      err_last());
	ck_assert_msg(strstr(err_last(), what) != NULL, "no '%s' in: %s", what, err_last());
	conf_defaults(&conf);
}

/* --- what is taken --- */

START_TEST(elements_have_names)
{
	static const char *const no[] = { "vsock@1.path",
					  "vsock@x.path",
					  "vsock@.path",
					  "vsock@0.nothing",
					  "vsock.nothing",
					  "memory@0.path",
					  "memory.path",
					  "nothing@0.path",
					  "disk@0.path",
					  "disk.path",
					  "vsock@",
					  "@0.path",
					  "" };
	struct conf_ref ref;

	conf_defaults(&conf);
	ck_assert_int_eq(conf_ref(&conf, "vsock@0.path", &ref), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err_last(), "no such device"));
	ck_assert_int_eq(conf_set(&conf, "", "kernel", "k"), 0);
	ck_assert_int_eq(conf_set(&conf, "", "vsock", "cid=5"), 0);
	ck_assert_int_eq(conf_check(&conf), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err_last(), "--vsock path=PATH"));
	ck_assert_int_eq(conf_change(&conf, "vsock@0.path", "/a,b", &ref), 0);
	ck_assert_str_eq(conf.vsock[0].path, "/a,b");
	ck_assert_int_eq(conf_check(&conf), 0);
	ck_assert_int_eq(conf_change(&conf, "vsock.cid", "6", &ref), 0); /* the only one */
	ck_assert_int_eq(conf_change(&conf, "memory", "1G", &ref), 0);
	ck_assert(conf.vsock[0].cid == 6 && conf.memory == 1024 * MiB);
	for (unsigned i = 0; i < ARRAY_SIZE(no); i++)
		ck_assert_msg(conf_ref(&conf, no[i], &ref) == -EINVAL, "'%s'", no[i]);
	/* several at once, and the rest stays */
	ck_assert_int_eq(conf_set(&conf, "", "disk", "a,bw=1M"), 0);
	ck_assert_int_eq(conf_set(&conf, "", "disk", "b,ro"), 0);
	ck_assert_int_eq(conf_change(&conf, "disk@1", "iops=7,bw-burst=2M", &ref), 0);
	ck_assert(ref.i == 1 && conf.disk[1].iops == 7 && conf.disk[1].bw_burst == 2 * MiB &&
		  conf.disk[1].ro && conf.disk[0].bw == MiB && !conf.disk[0].iops);
	ck_assert_int_eq(conf_change(&conf, "disk@1.iopps", "7", &ref), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err_last(), "did you mean 'iops'?"));
}
END_TEST

START_TEST(a_whole_file)
{
	ck_assert_msg(!load("# a machine\n"
			    "memory: 1G\n"
			    "cpus: 4\n"
			    "kernel: /boot/vmlinux   # with a comment\n"
			    "append: \"root=/dev/vda ro\"\n"
			    "disk:\n"
			    "  - plain.img\n"
			    "  - other.img,ro,serial=A,,B\n"
			    "  - path: third.img\n"
			    "    ro: yes\n"
			    "    serial: 007\n"
			    "initrd: [a.cpio, b.cpio]\n"
			    "on-reboot: reset\n"
			    "pit: on\n"),
		      "%s", err_last());
	ck_assert_uint_eq(conf.memory, GiB);
	ck_assert_uint_eq(conf.cpus, 4);
	ck_assert_str_eq(conf.kernel, "/boot/vmlinux");
	ck_assert_str_eq(conf.append, "root=/dev/vda ro");
	ck_assert_uint_eq(conf.disks, 3);
	ck_assert_str_eq(conf.disk[0].path, "plain.img");
	ck_assert(!conf.disk[0].ro);
	ck_assert_str_eq(conf.disk[1].serial, "A,B");
	ck_assert(conf.disk[1].ro);
	ck_assert_str_eq(conf.disk[2].path, "third.img");
	ck_assert_str_eq(conf.disk[2].serial, "007"); /* a text, whatever it looks like */
	ck_assert_uint_eq(conf.initrds, 2);
	ck_assert_str_eq(conf.initrd[1].path, "b.cpio");
	ck_assert_uint_eq(conf.on_reboot, REBOOT_RESET);
	ck_assert(conf.pit);
}
END_TEST

START_TEST(json_is_yaml)
{
	ck_assert_msg(!load("{\"memory\": \"256M\", \"cpus\": 2, \"pit\": true,\n"
			    " \"disk\": [{\"path\": \"a\", \"ro\": false}, \"b,ro\"], \"name\": "
			    "null}"),
		      "%s", err_last());
	ck_assert_uint_eq(conf.memory, 256 * MiB);
	ck_assert_uint_eq(conf.cpus, 2);
	ck_assert(conf.pit);
	ck_assert_uint_eq(conf.disks, 2);
	ck_assert(conf.disk[1].ro);
}
END_TEST

START_TEST(nothing_at_all)
{
	static const char *const empty[] = { "",  "\n",	 "# only a comment\n", "---\n", "{}",
					     "~", "null" };

	for (unsigned i = 0; i < ARRAY_SIZE(empty); i++)
		ck_assert_msg(!load(empty[i]), "'%s': %s", empty[i], err_last());
	ck_assert_uint_eq(conf.memory, 512 * MiB);
}
END_TEST

/* text that looks like another type stays text: the table says what it is */
START_TEST(types_come_from_the_table)
{
	ck_assert_int_eq(load("name: no\n"), 0);
	ck_assert_str_eq(conf.name, "no");
	ck_assert_int_eq(load("name: 1.0\n"), 0);
	ck_assert_str_eq(conf.name, "1.0");
	ck_assert_int_eq(load("name: 'null'\n"), 0);
	ck_assert_str_eq(conf.name, "null");
	ck_assert_int_eq(load("name: 12e3\n"), 0);
	ck_assert_str_eq(conf.name, "12e3");
	ck_assert_int_eq(load("cpus: 0x10\n"), 0);
	ck_assert_uint_eq(conf.cpus, 16);
}
END_TEST

/* one file over another */
START_TEST(merging)
{
	ck_assert_int_eq(load("disk: [a, b]\nmemory: 1G\nname: first\n"), 0);
	ck_assert_int_eq(load("disk+: c\ncpus: 2\n"), 0);
	ck_assert_uint_eq(conf.disks, 3);
	ck_assert_str_eq(conf.disk[2].path, "c");
	ck_assert_uint_eq(conf.memory, GiB);
	ck_assert_int_eq(load("disk+:\n  - path: d\n  - e,ro\n"), 0);
	ck_assert_uint_eq(conf.disks, 5);
	ck_assert_int_eq(load("disk: z\n"), 0);
	ck_assert_uint_eq(conf.disks, 1);
	ck_assert_str_eq(conf.disk[0].path, "z");
	ck_assert(!conf.disk[0].ro);
	/* null takes the default back */
	ck_assert_int_eq(load("disk: null\nmemory: ~\nname:\n"), 0);
	ck_assert_uint_eq(conf.disks, 0);
	ck_assert_uint_eq(conf.memory, 512 * MiB);
	ck_assert_str_eq(conf.name, "");
	/* what an element had before is gone with it */
	ck_assert_int_eq(load("disk: 'a,ro,serial=S'\n"), 0);
	ck_assert_int_eq(load("disk:\n - path: b\n"), 0);
	ck_assert(!conf.disk[0].ro);
	ck_assert_str_eq(conf.disk[0].serial, "");
}
END_TEST

/* --- what is refused --- */

START_TEST(what_makes_yaml_risky)
{
	refused("memory: &m 1G\n", 1, "anchors");
	refused("cpus: 1\nmemory: *m\n", 2, "anchors");
	refused("disk: &d\n  - a\n", 1, "anchors");
	refused("&top memory: 1G\n", 1, "anchors");
	refused("memory: !!str 1G\n", 1, "tags");
	refused("disk: !list [a]\n", 1, "tags");
	refused("cpus: 1\n\ncpus: 2\n", 3, "twice");
	refused("disk: a\ndisk+: b\n", 2, "twice");
	refused("on-reboot: exit\non_reboot: reset\n", 2, "twice");
	refused("disk:\n  - path: a\n    path: b\n", 3, "twice");
	refused("cpus: 1\n---\ncpus: 2\n", 2, "second document");
	refused("a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n", 1, "unknown key");
	refused("<<: {cpus: 1}\n", 1, "unknown key");
}
END_TEST

START_TEST(wrong_types)
{
	refused("- memory\n", 1, "keys are expected");
	refused("memory\n", 1, "keys are expected");
	refused("cpus: [1]\n", 1, "one value");
	refused("cpus: {a: b}\n", 1, "one value");
	refused("disk: {path: a}\n", 1, "a list");
	refused("disk:\n  - [a]\n", 2, "neither a value nor a mapping");
	refused("disk:\n  - path: [a]\n", 2, "one value");
	refused("[a]: b\n", 1, "plain name");
	refused("{a: b}: c\n", 1, "plain name");
	refused("cpus+: 3\n", 1, "not a list");
	refused("+: 3\n", 1, "unknown key");
	refused("\"\": 3\n", 1, "short name");
	refused("cpus: lots\n", 1, "not a whole number");
	refused("\n\ncpus: 0\n", 3, "1 to 1024");
	refused("memory: 512\n", 1, "unit");
	refused("boot: maybe\n", 1, "bzimage");
	refused("disk:\n  - a\n  - b,roo\n", 3, "did you mean 'ro'?");
	refused("disk:\n  - path: a\n    readonly: yes\n", 3, "unknown key 'readonly'");
	refused("cpus: 1\nmemroy: 1G\n", 2, "did you mean 'memory'?");
	refused("memory-: 1G\n", 1, "did you mean 'memory'?");
}
END_TEST

START_TEST(broken_syntax)
{
	refused("cpus: 1\n\tmemory: 1G\n", 2, "");
	refused("disk: [a, b\n", 2, "");
	refused("name: \"open\n", 2, "");
	refused("cpus: 1: 2\n", 1, "");
	refused("{\"cpus\": 1,,}", 1, "");
	refused("name: \"a\\0b\"\n", 1, "NUL");
	refused("name: @x\n", 1, "");
	ck_assert_int_ne(conf_load_text(&conf, "box.yaml", "name: a\0b\n", 10, NULL), 0);
	ck_assert_int_ne(conf_load_text(&conf, "box.yaml", "name: \xff\xfe\n", 9, NULL), 0);
	ck_assert_int_ne(conf_load_text(&conf, "box.yaml", "\xff\xfe\0\0", 4, NULL), 0);
}
END_TEST

START_TEST(too_much)
{
	char *text = malloc(2 * MiB);
	size_t n = 0;

	memset(text, ' ', 2 * MiB);
	ck_assert_int_eq(conf_load_text(&conf, "box.yaml", text, MiB + 1, NULL), -EFBIG);
	ck_assert_int_eq(conf_load_text(&conf, "box.yaml", text, MiB, NULL), 0);
	/* deep */
	memset(text, '[', MiB);
	ck_assert_int_ne(conf_load_text(&conf, "box.yaml", text, MiB, NULL), 0);
	memcpy(text, "disk: ", 6);
	ck_assert_int_ne(conf_load_text(&conf, "box.yaml", text, MiB, NULL), 0);
	for (unsigned i = 0; i < 100000; i++)
		n += (size_t)sprintf(text + n, "{a: ");
	ck_assert_int_ne(conf_load_text(&conf, "box.yaml", text, n, NULL), 0);
	/* long */
	n = (size_t)sprintf(text, "name: ");
	memset(text + n, 'x', 100000);
	ck_assert_int_eq(conf_load_text(&conf, "box.yaml", text, n + 100000, NULL), -E2BIG);
	memset(text, 'k', 100000);
	ck_assert_int_ne(conf_load_text(&conf, "box.yaml", text, 100000, NULL), 0);
	/* many */
	n = (size_t)sprintf(text, "disk:\n");
	for (unsigned i = 0; i <= CONF_DISKS; i++)
		n += (size_t)sprintf(text + n, "  - path: d%u\n", i);
	ck_assert_int_eq(conf_load_text(&conf, "box.yaml", text, n, NULL), -E2BIG);
	ck_assert_ptr_nonnull(strstr(err_last(), "takes 16"));
	free(text);
}
END_TEST

START_TEST(files)
{
	char *text = calloc(1, MiB + 2);
	const char *path;

	path = fake_file("good.yaml", "cpus: 3\n", 8);
	ck_assert_int_eq(conf_load(&conf, path, NULL), 0);
	ck_assert_uint_eq(conf.cpus, 3);
	path = fake_file("bad.yaml", "cpu: 3\n", 7);
	ck_assert_int_eq(conf_load(&conf, path, NULL), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err_last(), "bad.yaml:1: unknown key 'cpu'"));
	memset(text, '\n', MiB + 2);
	path = fake_file("large.yaml", text, MiB + 2);
	ck_assert_int_eq(conf_load(&conf, path, NULL), -EFBIG);
	path = fake_file("full.yaml", text, MiB);
	ck_assert_int_eq(conf_load(&conf, path, NULL), 0);
	ck_assert_int_eq(conf_load(&conf, "/nonexistent.yaml", NULL), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err_last(), "/nonexistent.yaml"));
	ck_assert_int_eq(conf_load(&conf, fake_folder(), NULL), -EISDIR);
	fake_folder_remove();
	free(text);
}
END_TEST

/* --- flags, and all together --- */

START_TEST(flags)
{
	ck_assert_int_eq(conf_set(&conf, "--on-reboot", "on-reboot", "reset"), 0);
	ck_assert_uint_eq(conf.on_reboot, REBOOT_RESET);
	ck_assert_int_eq(conf_set(&conf, "--disk", "disk", "a,ro"), 0);
	ck_assert_int_eq(conf_set(&conf, "--disk", "disk", "b"), 0);
	ck_assert_uint_eq(conf.disks, 2);
	ck_assert_int_eq(conf_set(&conf, "--memory", "memory", "12X"), -EINVAL);
	ck_assert_msg(!strncmp(err_last(), "--memory", 8), "%s", err_last());
	ck_assert_int_eq(conf_set(&conf, "--memroy", "memroy", "1G"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err_last(), "'memory'"));
	ck_assert_int_eq(conf_set(&conf, "--pit", "pit", NULL), 0);
	ck_assert(conf.pit);
	ck_assert_int_ne(conf_set(&conf, "--kernel", "kernel", NULL), 0);
}
END_TEST

START_TEST(fuel)
{
	static const struct {
		const char *text;
		int r;
		uint64_t v;
		bool instructions;
	} fuels[] = {
		{ "", 0, 0, false },
		{ "0", 0, 0, false },
		{ "500ms", 0, 500, false },
		{ "2m", 0, 120000, false },
		{ "1i", 0, 1, true },
		{ "1000000000i", 0, 1000000000, true },
		{ "18446744073709551615i", 0, UINT64_MAX, true },
		{ "18446744073709551616i", -ERANGE, 0, true },
		{ "99999999999999999999999999999i", -ERANGE, 0, true },
		{ "500", -EINVAL, 0, false },
		{ "i", -EINVAL, 0, false },
		{ "-1i", -EINVAL, 0, false },
		{ "0x10i", -EINVAL, 0, false },
		{ "5 i", -EINVAL, 0, false },
		{ "5is", -EINVAL, 0, false },
		{ "99999999999999999999d", -ERANGE, 0, false },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(fuels); i++) {
		uint64_t v = 7;
		bool instructions = !fuels[i].instructions;
		int r = conf_fuel(fuels[i].text, &v, &instructions);

		ck_assert_msg(r == fuels[i].r, "%s: %d", fuels[i].text, r);
		if (r)
			ck_assert_msg(!strncmp(err_last(), "fuel: '", 7), "%s", err_last());
		else
			ck_assert_msg(v == fuels[i].v && instructions == fuels[i].instructions,
				      "%s", fuels[i].text);
	}
	ck_assert_int_eq(load("kernel: k\nfuel: 500\n"), 0);
	ck_assert_int_eq(conf_check(&conf), -EINVAL);
	ck_assert_int_eq(load("fuel: 1s\ncpu_percent: 101\n"), 0);
	ck_assert_int_eq(conf_check(&conf), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err_last(), "give at most 100"));
	ck_assert_int_eq(load("cpus: 2\n"), 0);
	ck_assert_int_eq(conf_check(&conf), 0);
}
END_TEST

START_TEST(what_makes_no_machine)
{
	ck_assert_int_eq(conf_check(&conf), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err_last(), "--kernel"));
	ck_assert_int_eq(load("kernel: k\n"), 0);
	ck_assert_int_eq(conf_check(&conf), 0);
	ck_assert_int_eq(load("disk: [a, a]\n"), 0);
	ck_assert_int_eq(conf_check(&conf), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err_last(), "twice"));
	ck_assert_int_eq(load("disk: ['a,ro', 'a,ro']\n"), 0);
	ck_assert_int_eq(conf_check(&conf), 0);
	ck_assert_int_eq(load("disk:\n  - ro: yes\n"), 0);
	ck_assert_int_eq(conf_check(&conf), -EINVAL);
	ck_assert_int_eq(load("disk: null\ninitrd: ['']\n"), 0);
	ck_assert_int_eq(conf_check(&conf), -EINVAL);
	ck_assert_int_eq(load("initrd: null\nmemory: 64M\nballoon: [64M]\n"), 0);
	ck_assert_int_eq(conf_check(&conf), 0);
	ck_assert_int_eq(load("balloon: [65540K]\n"), 0);
	ck_assert_int_eq(conf_check(&conf), -EINVAL);
	ck_assert_str_eq(err_last(), "balloon: 65540K is more than the machine's memory of 64M");
	ck_assert_int_eq(load("balloon: null\nconsole-size: 80x25\n"), 0);
	ck_assert_int_eq(conf_check(&conf), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err_last(), "--console-device virtio"));
	ck_assert_int_eq(load("console-device: virtio\n"), 0);
	ck_assert_int_eq(conf_check(&conf), 0);
	ck_assert_int_eq(load("console-size: 80\n"), 0);
	ck_assert_int_eq(conf_check(&conf), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err_last(), "'80'"));
}
END_TEST

/* a value of @f that is not its default */
static void set_some(const struct field *f, void *obj)
{
	const char *text = "some, text=1";

	switch (f->kind) {
	case FIELD_UINT:
		text = "7";
		break;
	case FIELD_SIZE:
		text = "12M";
		break;
	case FIELD_TIME:
		text = "17s";
		break;
	case FIELD_BOOL:
		text = f->dflt ? "no" : "yes";
		break;
	case FIELD_ENUM:
		text = f->names[f->dflt && !strcmp(f->dflt, f->names[1]) ? 0 : 1];
		break;
	case FIELD_LIST:
		for (unsigned i = 0; i < MIN(f->count, 2); i++) {
			void *element = field_at(f, obj, (*field_used(f, obj))++);

			field_defaults(f->sub, element, f->size);
			for_each_field (g, f->sub)
				set_some(g, element);
		}
		return;
	}
	ck_assert_msg(!field_parse(f, "test", text, obj), "%s", err_last());
}

/* every key: text to struct to tree to struct */
START_TEST(every_key_round_trips)
{
	static _Alignas(8) char tree[256 << 10];
	static struct conf back;

	for_each_field (f, conf_fields) {
		conf_defaults(&conf);
		set_some(f, &conf);
		memset(&back, 0xee, sizeof(back));
		conf_defaults(&back);
		ck_assert_mem_ne(&conf, &back, sizeof(conf));
		ck_assert_int_eq(tree_begin(tree, sizeof(tree)), 0);
		ck_assert_int_eq(state_save(tree, conf_fields, &conf), 0);
		ck_assert_int_gt(tree_end(tree), 0);
		ck_assert_msg(!state_load(tree, 0, conf_fields, &back), "%s", err_last());
		ck_assert_msg(!memcmp(&conf, &back, sizeof(conf)), "%s", f->name);
	}
}
END_TEST

/* what people are shown has an explanation, and default values are valid */
START_TEST(every_key_is_explained)
{
	for_each_field (f, conf_fields) {
		ck_assert_ptr_nonnull(f->help);
		ck_assert_msg(f->kind == FIELD_BOOL || f->arg, "%s has no word for its value",
			      f->name);
		for (const char *p = f->name; *p; p++)
			ck_assert_msg(*p == '_' || (*p >= 'a' && *p <= 'z'), "%s", f->name);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("conf");
	TCase *t = tcase_create("conf");

	tcase_set_timeout(t, 20);
	tcase_add_checked_fixture(t, set_up, NULL);
	tcase_add_test(t, elements_have_names);
	tcase_add_test(t, a_whole_file);
	tcase_add_test(t, json_is_yaml);
	tcase_add_test(t, nothing_at_all);
	tcase_add_test(t, types_come_from_the_table);
	tcase_add_test(t, merging);
	tcase_add_test(t, what_makes_yaml_risky);
	tcase_add_test(t, wrong_types);
	tcase_add_test(t, broken_syntax);
	tcase_add_test(t, too_much);
	tcase_add_test(t, files);
	tcase_add_test(t, flags);
	tcase_add_test(t, fuel);
	tcase_add_test(t, what_makes_no_machine);
	tcase_add_test(t, every_key_round_trips);
	tcase_add_test(t, every_key_is_explained);
	suite_add_tcase(s, t);
	return suite_run(s);
}
