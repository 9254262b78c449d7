/* t_layers - the order of the configuration's layers, what a file may extend, whose files are read,
 * and the environment
 */
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "complain.h"
#include "fake.h"
#include "machine.h"
#include "run.h"
#include "suite.h"

static const struct flag flags[] = {
	{ .name = "policy", .arg = "FILE", .many = true, .help = "" },
	{ .name = NULL },
};
static const struct verb run = { .name = "test",
				 .args = "",
				 .flags = flags,
				 .machine = true,
				 .box = true,
				 .layers = true },
			 raw = { .name = "test", .args = "", .flags = flags, .machine = true };

static struct hutch *h;
static char folder[256];

/* /etc/hutch is etc, ~/.config is user, and we stand above them */
#define ETC  "etc/hutch.yaml"
#define USER "user/hutch/hutch.yaml"
#define HERE "hutch.yaml"

extern char **environ;

static void put(const char *name, const char *text)
{
	fake_file(name, text, strlen(text));
}

static void set_up(void)
{
	static const char *const folders[] = { "etc", "etc/templates", "user", "user/hutch",
					       "user/hutch/templates" };
	char path[512];

	/* no key of the tester's */
	for (char **e = environ; *e;) {
		snprintf(path, sizeof(path), "%.*s", (int)strcspn(*e, "="), *e);
		if (strncmp(path, "HUTCH_", 6))
			e++;
		else
			unsetenv(path);
	}
	snprintf(folder, sizeof(folder), "%s", fake_folder());
	ck_assert_int_eq(chdir(folder), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(folders); i++)
		ck_assert_int_eq(mkdir(folders[i], 0700), 0);
	snprintf(path, sizeof(path), "%s/user", folder);
	setenv("XDG_CONFIG_HOME", path, 1);
	setenv("HUTCH_CONFIG_D", "etc", 1);
	setenv("HUTCH_POLICY_D", "none", 1);
	h = NULL;
}

static int remove_it(const char *path, const struct stat *st, int what, struct FTW *at)
{
	(void)st;
	(void)what;
	return at->level ? remove(path) : 0;
}

static void tear_down(void)
{
	hutch_free(h);
	ck_assert_int_eq(chdir("/"), 0);
	nftw(folder, remove_it, 8, FTW_DEPTH | FTW_PHYS);
	fake_folder_remove();
}

/* what the verb does with its flags */
static int apply_to(const struct verb *verb, const char *line)
{
	struct given given[1] = { 0 };
	char words[512], *argv[32];
	struct policy policy;
	int argc = 0, n;

	snprintf(words, sizeof(words), "%s", line);
	for (char *w = strtok(words, " "); w; w = strtok(NULL, " "))
		argv[argc++] = w;
	argv[argc] = NULL;
	hutch_free(h);
	h = hutch_new();
	complained[0] = '\0';
	fake_log_clear();
	n = parse(argc, argv, verb, h, given);
	if (!n)
		n = machine_defaults(h, verb->box);
	return n || !verb->box ? n : policy_apply(&policy, h, given, false);
}

static void taken(const char *line)
{
	ck_assert_msg(!apply_to(&run, line), "%s: %s", line, complained);
}

static void refused(const char *line, const char *why)
{
	ck_assert_msg(apply_to(&run, line) != 0, "taken: %s", line);
	ck_assert_msg(!strncmp(complained, why, strlen(why)), "%s: no '%s' in: %s", line, why,
		      complained);
}

/* @origin below the test's folder, too */
static void is(const char *key, const char *value, const char *origin)
{
	const char *from = hutch_origin(h, key);
	size_t len = strlen(folder);
	char text[64];

	ck_assert_int_eq(hutch_get(h, key, text, sizeof(text)), 0);
	ck_assert_msg(!strcmp(text, value), "%s is %s, not %s", key, text, value);
	from = from ? from : "built-in";
	if (!strncmp(from, folder, len))
		from += len + 1;
	ck_assert_msg(!strcmp(from, origin), "%s is from %s, not %s", key, from, origin);
}

/* --- the order --- */

START_TEST(each_wins_over_those_below)
{
	put("flag.toml", "timeout = \"3s\"\n");
	put("base.yaml", "timeout: 2s\n");
	put(ETC, "timeout: 4s\nextends: ../base.yaml\n");
	put(USER, "\ntimeout: 5s\n");
	put(HERE, "timeout: 6s\n");
	put("1.yaml", "timeout: 7s\n");
	put("2.json", "{\"timeout\": \"8s\"}\n");
	setenv("HUTCH_TIMEOUT", "9s", 1);
#define FILES "--template flag.toml -C 1.yaml -C 2.json"
	taken("--timeout 10s " FILES);
	is("timeout", "10s", "--timeout");
	taken(FILES);
	is("timeout", "9s", "HUTCH_TIMEOUT");
	unsetenv("HUTCH_TIMEOUT");
	taken(FILES);
	is("timeout", "8s", "2.json:1");
	taken("--template flag.toml -C 1.yaml");
	is("timeout", "7s", "1.yaml:1");
	taken("--template flag.toml");
	is("timeout", "6s", "./hutch.yaml:1");
	ck_assert_int_eq(unlink(HERE), 0);
	taken("--template flag.toml");
	is("timeout", "5s", USER ":2");
	ck_assert_int_eq(unlink(USER), 0);
	taken("--template flag.toml");
	is("timeout", "4s", ETC ":1");
	put(ETC, "extends: ../base.yaml\n");
	taken("--template flag.toml");
	is("timeout", "3s", "flag.toml:1");
	taken("");
	is("timeout", "2s", "etc/../base.yaml:1");
	put("base.yaml", "");
	taken("");
	is("timeout", "10m", "level standard");
	taken("--level minimal --net none");
	is("timeout", "0", "built-in");
}
END_TEST

START_TEST(appending_and_null_go_through_all)
{
	char path[64];

	put(ETC, "initrd: [a]\nmemory: 1G\njail: none\nappend: x\ntimeout: 1s\nname: n\n");
	put(USER, "initrd+: b\nmemory: 2G\njail: null\n");
	put(HERE, "memory: null\ninitrd+: [c, d]\nappend: ~\ntimeout:\nname: null\n");
	taken("");
	for (unsigned i = 0; i < 4; i++) {
		static const char *const want[] = { "a", "b", "c", "d" };

		snprintf(path, sizeof(path), "initrd@%u.path", i);
		ck_assert_int_eq(hutch_get(h, path, path, sizeof(path)), 0);
		/* those of ./hutch.yaml are followed to where they lead */
		ck_assert_str_eq(i < 2 ? path : strrchr(path, '/') + 1, want[i]);
		ck_assert_int_eq(path[0] == '/', i >= 2);
	}
	ck_assert_ptr_nonnull(strstr(hutch_origin(h, "initrd"), ETC ":1, /"));
	ck_assert_ptr_nonnull(strstr(hutch_origin(h, "initrd"), USER ":1, ./hutch.yaml:2"));
	/* back to what the verb means, not to what a library does */
	is("memory", "512M", "level standard");
	is("timeout", "10m", "level standard");
	is("jail", "basic", "built-in");
	is("append", "", "built-in");
	is("console", "none", "built-in");
	is("name", "", "built-in");
	put("more.yaml", "initrd: null\ninitrd: x\n");
	refused("-C more.yaml", "more.yaml:2: the key is given twice");
	put("more.yaml", "initrd: null\n");
	taken("-C more.yaml");
	ck_assert_int_ne(hutch_get(h, "initrd@0.path", path, sizeof(path)), 0);
	ck_assert_ptr_null(hutch_origin(h, "initrd"));
	/* the environment and flags replace a list */
	setenv("HUTCH_NET", "none", 1);
	put("more.yaml", "net: [user, user]\n");
	taken("-C more.yaml");
	is("net@0.mode", "none", "built-in");
	ck_assert_str_eq(hutch_origin(h, "net"), "HUTCH_NET");
	ck_assert_int_ne(hutch_get(h, "net@1.mode", path, sizeof(path)), 0);
	taken("-C more.yaml --net user");
	is("net@0.mode", "user", "built-in");
	ck_assert_int_ne(hutch_get(h, "net@1.mode", path, sizeof(path)), 0);
}
END_TEST

START_TEST(a_policy_holds_all_of_them)
{
	put("p.toml", "# nobody\nmemory = \"256M\"\n");
	put(HERE, "memory: 1G\n");
	refused("--policy p.toml", "error 125 E_POLICY: memory: '1G' (./hutch.yaml:1) goes over "
				   "the policy's '256M' (p.toml:2)");
	setenv("HUTCH_MEMORY", "2G", 1);
	refused("--policy p.toml", "error 125 E_POLICY: memory: '2G' (HUTCH_MEMORY) goes over");
	taken("--policy p.toml -m 128M");
	put("p.toml", "extends = 'x'\n");
	refused("--policy p.toml", "error 125 E_POLICY: p.toml:1: extends is nothing that can be");
}
END_TEST

/* --- default files --- */

START_TEST(default_files)
{
	taken(""); /* none is there */
	put(USER, "cpus: 2\nmemroy: 1G\n");
	ck_assert_int_ne(apply_to(&run, ""), 0);
	ck_assert_ptr_nonnull(strstr(complained, USER ":2: unknown key 'memroy'"));
	taken("--no-config");
	is("cpus", "1", "built-in");
	/* a raw machine has none of them */
	ck_assert_int_eq(apply_to(&raw, ""), 0);
	ck_assert_int_eq(unlink(USER), 0);
	ck_assert_int_eq(mkdir(ETC, 0700), 0);
	refused("", "config file " ETC ": Is a directory");
	ck_assert_int_eq(rmdir(ETC), 0);
	/* no place to be */
	unsetenv("XDG_CONFIG_HOME");
	unsetenv("HOME");
	taken("");
	/* home's own */
	setenv("XDG_CONFIG_HOME", "relative", 1);
	setenv("HOME", folder, 1);
	ck_assert_int_eq(mkdir(".config", 0700), 0);
	ck_assert_int_eq(mkdir(".config/hutch", 0700), 0);
	put(".config/hutch/hutch.yaml", "cpus: 3\n");
	taken("");
	is("cpus", "3", ".config/hutch/hutch.yaml:1");
	/* --no-config is about those, and nothing that is named */
	setenv("HUTCH_PIDS", "4", 1);
	put("x.yaml", "memory: 1G\n");
	taken("-C x.yaml --no-config");
	is("cpus", "1", "built-in");
	is("memory", "1G", "x.yaml:1");
	is("pids", "4", "HUTCH_PIDS");
	refused("--no-config=x", "--no-config takes no value");
}
END_TEST

/* one that is named as well counts once, where it is named */
START_TEST(the_same_file_twice)
{
	char value[16];

	put(HERE, "initrd+: a\ncpus: 2\n");
	put("x.yaml", "cpus: 3\n");
	taken("-C x.yaml -C hutch.yaml");
	is("cpus", "2", "hutch.yaml:2");
	ck_assert_int_ne(hutch_get(h, "initrd@1.path", value, sizeof(value)), 0);
	taken("-C hutch.yaml -C ./hutch.yaml");
	ck_assert_int_eq(hutch_get(h, "initrd@1.path", value, sizeof(value)), 0);
}
END_TEST

static void passed_over(const char *why)
{
	taken("");
	is("cpus", "1", "built-in");
	ck_assert_msg(fake_log_lines(why) == 1, "no warning of '%s'", why);
	ck_assert_uint_eq(fake_log_lines("passed over"), 1);
}

START_TEST(whose_file_it_is)
{
	put(HERE, "cpus: 2\n");
	taken("");
	is("cpus", "2", "./hutch.yaml:1");
	ck_assert_uint_eq(fake_log_lines(""), 0);
	ck_assert_int_eq(chmod(HERE, 0662), 0);
	passed_over("./hutch.yaml: anybody may write it");
	taken("-C hutch.yaml"); /* as the user says */
	is("cpus", "2", "hutch.yaml:1");
	/* the same of the others is theirs who may write to these folders */
	put(USER, "pids: 2\n");
	ck_assert_int_eq(chmod(USER, 0666), 0);
	taken("");
	is("pids", "2", USER ":1");
	ck_assert_int_eq(unlink(USER), 0);
	/* nor is a template's, if a file names it that is watched */
	ck_assert_int_eq(chmod(HERE, 0600), 0);
	put(HERE, "extends: base.yaml\n");
	put("base.yaml", "cpus: 3\n");
	ck_assert_int_eq(chmod("base.yaml", 0666), 0);
	refused("", "./hutch.yaml:1: extends: base.yaml: anybody may write it");
	taken("--no-config -C hutch.yaml");
	is("cpus", "3", "base.yaml:1");
	if (geteuid()) {
		printf("skip whose_file_it_is: files of others: needs root\n");
		return;
	}
	put(HERE, "cpus: 2\n");
	ck_assert_int_eq(chown(HERE, 12345, 0), 0);
	passed_over("./hutch.yaml: belongs to another user (uid 12345)");
	/* a link of his to a file of mine, and a pipe that nobody writes to */
	ck_assert_int_eq(chown(HERE, 0, 0), 0);
	ck_assert_int_eq(rename(HERE, "mine.yaml"), 0);
	ck_assert_int_eq(symlink("mine.yaml", HERE), 0);
	taken("");
	is("cpus", "2", "./hutch.yaml:1");
	ck_assert_int_eq(lchown(HERE, 12345, 0), 0);
	passed_over("belongs to another user (uid 12345)");
	ck_assert_int_eq(unlink(HERE), 0);
	ck_assert_int_eq(mkfifo(HERE, 0600), 0);
	ck_assert_int_eq(chown(HERE, 12345, 0), 0);
	passed_over("belongs to another user (uid 12345)");
}
END_TEST

/* --- the fence around ./hutch.yaml --- */

#define TRUST                                                                                \
	"./hutch.yaml is read because it lies here, not because you named it: if you trust " \
	"it, say -C ./hutch.yaml"

/* each key, a value for it, and whether ./hutch.yaml may say so: a new one has to be decided on */
static const struct {
	const char *name, *value;
	bool inner;
} decided[] = {
	{ "extends", "base.yaml", true },
	{ "kernel", "k", true },
	{ "initrd", "[i]", true },
	{ "append", "quiet", true },
	{ "memory", "64M", true },
	{ "cpus", "2", true },
	{ "cpu_percent", "50", true },
	{ "cpu_percent_max", "50", true },
	{ "disk", "[{path: d, ro: yes}]", true },
	{ "net", "[none]", false },
	{ "vsock", "[path=v]", false },
	{ "rng", "no", true },
	{ "balloon", "[1M]", true },
	{ "boot", "pvh", true },
	{ "transport", "pci", true },
	{ "on_reboot", "reset", true },
	{ "pit", "yes", true },
	{ "console", "none", false },
	{ "console_device", "virtio", true },
	{ "console_size", "80x25", true },
	{ "jail", "none", false },
	{ "name", "a", true },
	{ "ctl", "c", false },
	{ "agent", "yes", true },
	{ "cold", "yes", true },
	{ "rootfs", "r", true },
	{ "rootfs_rw", "yes", false },
	{ "layer", "1M", true },
	{ "hostname", "h", true },
	{ "correlation_id", "c", false },
	{ "pids", "5", true },
	{ "level", "strict", false },
	{ "timeout", "1s", true },
	{ "cpu_time", "1s", true },
	{ "fuel", "1s", true },
	{ "idle_timeout", "1s", true },
	{ "boot_timeout", "1s", true },
	{ "heartbeat", "2s", true },
	{ "kill_after", "1s", true },
	{ "stdout_max", "1M", true },
	{ "stderr_max", "1M", true },
	{ "copy_max", "1M", false },
	{ "on_violation", "log", false },
	{ "on_timeout", "log", false },
	{ "on_cpu_time", "log", false },
	{ "on_idle_timeout", "log", false },
	{ "on_fuel", "log", false },
};

static void not_set_here(const char *file, const char *name)
{
	char why[512];

	snprintf(why, sizeof(why),
		 "%s:2: %s: leads out of the guest, or loosens what holds it; " TRUST, file, name);
	refused("", why);
}

START_TEST(each_key_is_decided_on)
{
	struct hutch_key key;
	char text[256];
	unsigned n = 0;

	for (; !hutch_key(n, &key); n++) {
		ck_assert_msg(n < ARRAY_SIZE(decided) && !strcmp(key.name, decided[n].name),
			      "%s: may ./hutch.yaml set it?", key.name);
		put("base.yaml", "");
		snprintf(text, sizeof(text), "\n%s: %s\n", key.name, decided[n].value);
		put(HERE, text);
		if (decided[n].inner) {
			taken("");
			continue;
		}
		not_set_here("./hutch.yaml", key.name);
		taken("--no-config");
		/* nor to take away what another file says, nor over a file that this one extends */
		snprintf(text, sizeof(text), "\n%s: null\n", key.name);
		put(HERE, text);
		not_set_here("./hutch.yaml", key.name);
		put("base.yaml", text);
		put(HERE, "extends: base.yaml\n");
		not_set_here("base.yaml", key.name);
		taken("-C ./hutch.yaml");
	}
	ck_assert_uint_eq(n, ARRAY_SIZE(decided));
	put(HERE, "net+: user\n");
	refused("", "./hutch.yaml:1: net: leads out of the guest");
	taken("-C hutch.yaml");
	is("net@0.mode", "user", "built-in");
}
END_TEST

/* whose value is a path of this host is to be decided on, too */
START_TEST(each_key_of_a_disk_is_decided_on)
{
	static const char *const names[] = { "path",	 "ro",	  "serial",    "format", "overlay",
					     "engine",	 "cache", "discard",   "queues", "bw",
					     "bw_burst", "iops",  "iops_burst" };
	struct hutch_key key;
	unsigned disk = 0, n = 0;

	while (!hutch_key(disk, &key) && strcmp(key.name, "disk"))
		disk++;
	for (; !hutch_subkey(disk, n, &key); n++)
		ck_assert_msg(n < ARRAY_SIZE(names) && !strcmp(key.name, names[n]),
			      "%s: may ./hutch.yaml set it?", key.name);
	ck_assert_uint_eq(n, ARRAY_SIZE(names));
}
END_TEST

/* who looks at what a foreign file would do looks at a terminal, row by row */
START_TEST(values_command_no_terminal)
{
	int out = dup(STDOUT_FILENO), fd = memfd_create("out", MFD_CLOEXEC);
	char text[16384];
	ssize_t n;

	put(HERE,
	    "append: \"a\\njail none flag \\e[2J\\x9b2J\"\ndisk: [{path: \"d\\e\", ro: yes}]\n");
	taken("");
	fflush(stdout);
	dup2(fd, STDOUT_FILENO);
	print_effective(h);
	fflush(stdout);
	dup2(out, STDOUT_FILENO);
	n = pread(fd, text, sizeof(text) - 1, 0);
	ck_assert_int_gt(n, 0);
	text[n] = '\0';
	ck_assert_ptr_nonnull(
		strstr(text, " a\\x0ajail none flag \\x1b[2J\\xc2\\x9b2J ./hutch.yaml:1\n"));
	ck_assert_ptr_nonnull(strstr(text, "/d\\x1b ./hutch.yaml:2\n"));
	ck_assert_ptr_null(strchr(text, '\x1b'));
	close(out);
	close(fd);
}
END_TEST

/* a text with a path, %s, and which key has it afterwards */
static const struct {
	const char *text, *key, *name;
} with_path[] = {
	{ "\nkernel: %s\n", "kernel", "kernel" },
	{ "\nrootfs: %s\n", "rootfs", "rootfs" },
	{ "\ninitrd: [%s]\n", "initrd@0.path", "initrd" },
	{ "\ninitrd+: %s\n", "initrd@0.path", "initrd" },
	{ "\ndisk: ['%s,ro']\n", "disk@0.path", "disk" },
	{ "\ndisk: [{ro: yes, path: %s}]\n", "disk@0.path", "disk" },
	{ "\ndisk+: 'd,overlay=%s'\n", "disk@0.overlay", "disk" },
};

static void leads_to(const char *path, const char *end)
{
	char text[512], value[512], want[4096 + 64];

	for (unsigned i = 0; i < ARRAY_SIZE(with_path); i++) {
		snprintf(text, sizeof(text), with_path[i].text, path);
		put(HERE, text);
		taken("");
		ck_assert_int_eq(hutch_get(h, with_path[i].key, value, sizeof(value)), 0);
		ck_assert_ptr_nonnull(realpath(folder, want));
		strcat(want, "/");
		strcat(want, end);
		ck_assert_msg(!strcmp(value, want), "%s: %s, not %s", text, value, want);
	}
}

static void leads_out(const char *path, const char *how)
{
	char text[512], why[512];

	for (unsigned i = 0; i < ARRAY_SIZE(with_path); i++) {
		snprintf(text, sizeof(text), with_path[i].text, path);
		put(HERE, text);
		snprintf(why, sizeof(why), "./hutch.yaml:2: %s: '%s' %s", with_path[i].name, path,
			 how);
		refused("", why);
		ck_assert_ptr_nonnull(strstr(complained, TRUST));
		taken("-C hutch.yaml");
	}
}

START_TEST(paths_stay_in_the_folder)
{
	char path[512], beside[512];

	ck_assert_int_eq(mkdir("lib", 0700), 0);
	put("lib/a", "");
	ck_assert_int_eq(symlink("lib/a", "in"), 0);
	ck_assert_int_eq(symlink("/etc/passwd", "out"), 0);
	ck_assert_int_eq(symlink("/etc", "outfolder"), 0);
	ck_assert_int_eq(symlink("/etc/hutch-is-not-there", "dangling"), 0);
	leads_to("lib/a", "lib/a");
	leads_to("./lib/../in", "lib/a");
	leads_to("lib/new", "lib/new");
	leads_to("./new", "new");
	snprintf(path, sizeof(path), "%s/lib/../in", folder);
	leads_to(path, "lib/a");
	leads_out("/etc/passwd", "lies outside of its folder");
	leads_out("./out", "lies outside of its folder");
	leads_out("out", "lies outside of its folder");
	leads_out("outfolder/passwd", "lies outside of its folder");
	leads_out("outfolder/hutch-is-not-there", "lies outside of its folder");
	leads_out("lib/../../x", "lies outside of its folder");
	leads_out("..", "lies outside of its folder");
	leads_out(".", "lies outside of its folder");
	leads_out("dangling", "leads nowhere (No such file");
	leads_out("none/x", "leads nowhere (No such file");
	/* a name that begins as the folder's does */
	snprintf(beside, sizeof(beside), "%s-beside", folder);
	leads_out(beside, "lies outside of its folder");
	/* an image of the store, and none */
	put(HERE, "rootfs: alpine\n");
	taken("");
	is("rootfs", "alpine", "./hutch.yaml:1");
	put(HERE, "rootfs: ''\n");
	taken("");
	/* what others named is not looked at */
	put(USER, "disk: [/etc/passwd]\ninitrd: [/etc/passwd]\n");
	put(HERE, "disk+: 'lib/a,ro'\ninitrd+: lib/a\n");
	taken("");
	is("disk@0.path", "/etc/passwd", "built-in");
}
END_TEST

START_TEST(disks_are_not_written)
{
	put(HERE, "disk: [d]\n");
	refused("", "./hutch.yaml:1: disk: the guest could write it; add ro or format=cow; " TRUST);
	put(HERE, "disk: [{path: d, ro: yes}, d]\n");
	refused("", "./hutch.yaml:1: disk: the guest could write it");
	taken("-C hutch.yaml");
	put(HERE, "disk: ['d,ro', 'd,format=cow', 'd,overlay=o']\n");
	taken("");
	put("base.toml", "[[disk]]\npath = 'd'\nro = true\n[[disk]]\npath = 'd'\n");
	put(HERE, "extends: base.toml\n");
	refused("", "base.toml:4: disk: the guest could write it");
}
END_TEST

START_TEST(what_it_extends_is_fenced)
{
	put("base.yaml", "\nconsole: /tmp/x\n");
	put(HERE, "extends: base.yaml\n");
	refused("", "base.yaml:2: console: leads out of the guest, or");
	/* whoever names it trusts it, whatever else extends it */
	taken("--template base.yaml");
	put("x.yaml", "extends: base.yaml\n");
	taken("-C x.yaml");
	is("console", "/tmp/x", "base.yaml:2");
	/* and who only names another is not asked */
	put("x.yaml", "cpus: 2\n");
	refused("-C x.yaml", "base.yaml:2: console: leads out of the guest, or");
	put(HERE, "extends: /etc/passwd\n");
	refused("", "./hutch.yaml:1: extends: '/etc/passwd' lies outside of its folder");
	ck_assert_int_eq(symlink("/etc/passwd", "out.yaml"), 0);
	put(HERE, "extends: out.yaml\n");
	refused("", "./hutch.yaml:1: extends: 'out.yaml' lies outside of its folder");
	/* one below is still fenced by the first one's folder */
	ck_assert_int_eq(mkdir("lib", 0700), 0);
	put(HERE, "extends: lib/a.yaml\n");
	put("lib/a.yaml", "extends: ../b.yaml\n");
	put("b.yaml", "kernel: ../k\n");
	refused("", "lib/../b.yaml:1: kernel: '../k' lies outside of its folder");
	ck_assert_ptr_nonnull(strstr(complained, TRUST));
}
END_TEST

/* --- templates --- */

START_TEST(templates)
{
	char value[512];

	ck_assert_int_eq(mkdir("lib", 0700), 0);
	put(HERE, "extends: lib/mid.toml\ncpus: 4\n");
	put("lib/mid.toml", "extends = \"deep.yaml\"\ncpus = 3\npids = 3\n\"initrd+\" = ['m']\n");
	put("lib/deep.yaml", "cpus: 2\npids: 2\nmemory: 64M\ninitrd+: d\n");
	taken("");
	is("cpus", "4", "./hutch.yaml:2");
	is("pids", "3", "lib/mid.toml:3");
	is("memory", "64M", "lib/deep.yaml:3");
	ck_assert_int_eq(hutch_get(h, "initrd@1.path", value, sizeof(value)), 0);
	/* none of it is left to be taken for a key */
	ck_assert_ptr_null(hutch_origin(h, "extends"));
	/* below all files, also those below the one that extends it */
	put(ETC, "pids: 5\n");
	taken("");
	is("pids", "5", ETC ":1");
	/* once, whoever names it */
	put("x.yaml", "extends: lib/deep.yaml\n");
	taken("-C x.yaml --template lib/mid.toml");
	is("cpus", "4", "./hutch.yaml:2");
	ck_assert_int_ne(hutch_get(h, "initrd@2.path", value, sizeof(value)), 0);
	/* of a raw machine, too */
	ck_assert_int_eq(apply_to(&raw, "-C lib/mid.toml"), 0);
	is("cpus", "3", "lib/mid.toml:2");
	is("memory", "64M", "lib/deep.yaml:3");
}
END_TEST

START_TEST(templates_by_name)
{
	put("etc/templates/py.yaml", "cpus: 2\npids: 2\n");
	put("etc/templates/big.json", "{\"memory\": \"1G\"}\n");
	taken("--template py --template big");
	is("cpus", "2", "etc/templates/py.yaml:1");
	is("memory", "1G", "etc/templates/big.json:1");
	put("user/hutch/templates/py.toml", "cpus = 3\n");
	put("user/hutch/templates/py.yml", "cpus: 4\n");
	taken("--template=py");
	is("cpus", "2", "etc/templates/py.yaml:1");
	ck_assert_int_eq(unlink("etc/templates/py.yaml"), 0);
	taken("--template py");
	is("cpus", "4", "user/hutch/templates/py.yml:1");
	put("user/hutch/templates/py.yaml", "cpus: 5\n");
	taken("--template py");
	is("cpus", "5", "user/hutch/templates/py.yaml:1");
	/* the last one wins */
	put("t.yaml", "cpus: 6\n");
	taken("--template py --template t.yaml");
	is("cpus", "6", "t.yaml:1");
	refused("--template nope", "--template: there is no template 'nope': no nope.yaml");
	refused("--template ./nope", "config file ./nope: No such file");
	refused("--template nope.yaml", "config file nope.yaml: No such file");
	refused("--template", "--template: a value is missing");
}
END_TEST

START_TEST(bad_templates)
{
	char name[16], text[64];

	put(HERE, "\nextends: none.yaml\n");
	refused("", "./hutch.yaml:2: extends: config file none.yaml: No such file");
	put("base.yaml", "cpus: 2\ncpu: 2\n");
	put(HERE, "extends: base.yaml\n");
	refused("", "./hutch.yaml:1: extends: base.yaml:2: unknown key 'cpu'");
	put(HERE, "extends: [a, b]\n");
	refused("", "./hutch.yaml:1: extends: takes one value");
	/* cycles, under any name */
	put(HERE, "extends: ../../../../../../../../../../proc/self/cwd/hutch.yaml\n");
	ck_assert_int_ne(apply_to(&run, ""), 0);
	ck_assert_ptr_nonnull(strstr(complained, "hutch.yaml:1: extends: "));
	ck_assert_ptr_nonnull(strstr(complained, "extends itself in the end"));
	put(HERE, "extends: a.yaml\n");
	put("a.yaml", "extends: b.yaml\n");
	put("b.yaml", "# a\nextends: ./a.yaml\n");
	refused("", "b.yaml:2: extends: ./a.yaml extends itself in the end");
	refused("--no-config --template a.yaml", "b.yaml:2: extends: ./a.yaml extends itself");
	ck_assert_int_eq(unlink(HERE), 0);
	/* eight are enough */
	for (unsigned i = 0; i < 9; i++) {
		snprintf(name, sizeof(name), "%u.yaml", i);
		snprintf(text, sizeof(text), "extends: %u.yaml\ncpus: %u\n", i + 1, i + 1);
		put(name, i < 8 ? text : "pids: 9\n");
	}
	taken("-C 0.yaml");
	is("cpus", "1", "0.yaml:2");
	is("pids", "9", "8.yaml:1");
	put("x.yaml", "extends: 0.yaml\n");
	refused("-C x.yaml", "7.yaml:1: extends: more than 8 templates extend one another");
}
END_TEST

/* --- the environment --- */

START_TEST(environment)
{
	setenv("HUTCH_ON_VIOLATION", "log", 1);
	setenv("HUTCH_PIT", "yes", 1);
	setenv("HUTCH_CPUS", "", 1);		/* as good as none */
	setenv("HUTCH_KERNEL", "/k", 1);	/* of the default guest */
	setenv("HUTCH_EXTENDS", "x.yaml", 1);	/* for files alone */
	setenv("HUTCH_SOMETHING_ELSE", "1", 1); /* not ours */
	setenv("HUTCHMEMORY", "1", 1);
	taken("");
	is("on_violation", "log", "HUTCH_ON_VIOLATION");
	is("pit", "yes", "HUTCH_PIT");
	is("cpus", "1", "built-in");
	is("kernel", "", "built-in");
	ck_assert_str_eq(complained, "");
	ck_assert_int_eq(apply_to(&raw, ""), 0);
	is("pit", "no", "built-in");
	unsetenv("HUTCH_EXTENDS");

	setenv("HUTCH_TIMEOUTS", "1s", 1);
	taken("");
	ck_assert_str_eq(complained, "warning: the environment's HUTCH_TIMEOUTS means nothing; did "
				     "you mean HUTCH_TIMEOUT?");
	unsetenv("HUTCH_TIMEOUTS");
	setenv("HUTCH_memory", "1G", 1);
	taken("");
	ck_assert_str_eq(complained, "warning: the environment's HUTCH_memory means nothing; did "
				     "you mean HUTCH_MEMORY?");
	unsetenv("HUTCH_memory");
	setenv("HUTCH_POLICYD", "/x", 1);
	taken("");
	ck_assert_ptr_nonnull(strstr(complained, "did you mean HUTCH_POLICY_D?"));
	unsetenv("HUTCH_POLICYD");
	setenv("HUTCH_MEMORY", "64", 1);
	refused("", "the environment's HUTCH_MEMORY: memory: '64' is not a size");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("layers");
	TCase *t = tcase_create("layers");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, each_wins_over_those_below);
	tcase_add_test(t, appending_and_null_go_through_all);
	tcase_add_test(t, a_policy_holds_all_of_them);
	tcase_add_test(t, default_files);
	tcase_add_test(t, the_same_file_twice);
	tcase_add_test(t, whose_file_it_is);
	tcase_add_test(t, each_key_is_decided_on);
	tcase_add_test(t, each_key_of_a_disk_is_decided_on);
	tcase_add_test(t, paths_stay_in_the_folder);
	tcase_add_test(t, values_command_no_terminal);
	tcase_add_test(t, disks_are_not_written);
	tcase_add_test(t, what_it_extends_is_fenced);
	tcase_add_test(t, templates);
	tcase_add_test(t, templates_by_name);
	tcase_add_test(t, bad_templates);
	tcase_add_test(t, environment);
	suite_add_tcase(s, t);
	return suite_run(s);
}
