/* t_policy - the order in which levels, files, flags and policies hold, and what a policy refuses
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "complain.h"
#include "fake.h"
#include "policy.h"
#include "suite.h"

static const struct flag flags[] = {
	{ .name = "policy", .arg = "FILE", .many = true, .help = "" },
	{ .name = NULL },
};
static const struct verb verb = {
	.name = "test", .args = "", .flags = flags, .machine = true, .box = true
};

static struct hutch *h;
static struct policy policy;
static char folder[256];

/* a file of @text in the test's folder, for a line of flags */
static void put(const char *name, const char *text)
{
	fake_file(name, text, strlen(text));
}

static bool stays; /* as with -t or -d */

/* no administrator's policies but those of the test; we stand in its folder */
static void set_up(void)
{
	snprintf(folder, sizeof(folder), "%s", fake_folder());
	ck_assert_int_eq(chdir(folder), 0);
	setenv("HUTCH_POLICY_D", "policy.d", 1);
	h = NULL;
	stays = false;
}

static void tear_down(void)
{
	hutch_free(h);
	ck_assert_int_eq(chdir("/"), 0);
	fake_folder_remove();
}

/* what run does with its flags */
static int apply(const char *line)
{
	struct given given[1] = { 0 };
	char words[512], *argv[32];
	int argc = 0;

	snprintf(words, sizeof(words), "%s", line);
	for (char *w = strtok(words, " "); w; w = strtok(NULL, " "))
		argv[argc++] = w;
	argv[argc] = NULL;
	hutch_free(h);
	h = hutch_new();
	complained[0] = '\0';
	ck_assert_msg(!parse(argc, argv, &verb, h, given), "%s", complained);
	return policy_apply(&policy, h, given, stays);
}

static void is(const char *key, const char *value, const char *origin)
{
	const char *from = hutch_origin(h, key);
	char text[64];

	ck_assert_int_eq(hutch_get(h, key, text, sizeof(text)), 0);
	ck_assert_msg(!strcmp(text, value), "%s is %s, not %s", key, text, value);
	from = from ? from : "built-in";
	ck_assert_msg(!strcmp(from, origin), "%s is from %s, not %s", key, from, origin);
}

static void taken(const char *line)
{
	ck_assert_msg(!apply(line), "%s: %s", line, complained);
}

static void refused(const char *line, const char *why)
{
	ck_assert_msg(apply(line) == EXIT_HUTCH, "taken: %s", line);
	ck_assert_msg(!strncmp(complained, "error 125 E_POLICY: ", 20), "%s", complained);
	ck_assert_msg(strstr(complained, why) != NULL, "%s: no '%s' in: %s", line, why, complained);
}

/* --- levels --- */

START_TEST(levels_are_lowest)
{
	taken("");
	is("timeout", "10m", "level standard");
	is("stdout_max", "2000000B", "level standard");
	is("stderr_max", "2000000B", "level standard");
	is("copy_max", "1G", "level standard");
	is("memory", "512M", "level standard");
	is("cpu_time", "0", "built-in");
	ck_assert_str_eq(policy.level, "standard");
	ck_assert_str_eq(policy.sha256, "");

	put("box.yaml", "timeout: 20m\nstdout_max: 0\n");
	taken("-C box.yaml --stderr-max 5M");
	is("timeout", "20m", "box.yaml:1");
	is("stdout_max", "0", "box.yaml:2");
	is("stderr_max", "5M", "--stderr-max");
	is("memory", "512M", "level standard");
	taken("-C box.yaml --timeout 1s");
	is("timeout", "1s", "--timeout");

	/* null takes back what a file before it said, and the level is there again */
	put("null.yaml", "cpus: 2\ntimeout: null\n");
	taken("-C box.yaml -C null.yaml");
	is("timeout", "10m", "level standard");
	is("cpus", "2", "null.yaml:1");
}
END_TEST

START_TEST(minimal_has_no_limits)
{
	taken("--level minimal");
	is("timeout", "0", "built-in");
	is("stdout_max", "0", "built-in");
	is("copy_max", "0", "built-in");
	ck_assert_str_eq(policy.level, "minimal");
	put("box.yaml", "level: minimal\n");
	taken("-C box.yaml");
	is("timeout", "0", "built-in");
	is("level", "minimal", "box.yaml:1");
}
END_TEST

/* who is said to have named the networks, and whether there is one */
static void net_is(const char *mode, const char *origin)
{
	const char *from = hutch_origin(h, "net");
	char text[16] = "";

	if (hutch_get(h, "net@0.mode", text, sizeof(text)))
		strcpy(text, "-");
	ck_assert_str_eq(text, mode);
	ck_assert_str_eq(from ? from : "built-in", origin);
}

START_TEST(minimal_has_a_network)
{
	static const char *const fine[] = { "net: [user, tap=vm0]\n", "memory: 1G\n",
					    "net: null\n" },
				 *const not [] = { "net: []\n", "net: none\n", "net: tap=vm0\n" };

	struct hutch_fact passt;

	setenv("PATH", folder, 1);
	put("passt", "");
	ck_assert_int_eq(chmod("passt", 0700), 0);
	ck_assert_int_eq(hutch_fact_named("passt", &passt), 0);
	if (passt.state != HUTCH_OK) {
		printf("skip minimal_has_a_network: %s\n", passt.text);
		return;
	}
	taken("--level minimal");
	net_is("user", "level minimal");
	ck_assert_str_eq(complained, "");
	stays = true;
	taken("--level minimal");
	net_is("user", "level minimal");
	stays = false;
	taken("");
	net_is("-", "built-in");
	/* who names one, or none, is heard */
	taken("--level minimal --net none");
	net_is("none", "--net");
	put("box.yaml", "level: minimal\nnet: []\n");
	taken("-C box.yaml");
	net_is("-", "box.yaml:2");
	put("null.yaml", "net: null\n");
	taken("-C box.yaml -C null.yaml");
	net_is("user", "level minimal");
	/* and a policy */
	for (unsigned i = 0; i < ARRAY_SIZE(fine); i++) {
		put("p.yaml", fine[i]);
		taken("--level minimal --policy p.yaml");
		net_is("user", "level minimal");
		put("q.yaml", not [i]);
		taken("--level minimal --policy p.yaml --policy q.yaml");
		net_is("-", "built-in");
		ck_assert_str_eq(complained, "");
	}
	/* best effort */
	ck_assert_int_eq(unlink("passt"), 0);
	taken("--level minimal");
	net_is("-", "built-in");
	ck_assert_ptr_nonnull(strstr(complained, "passt: not installed; --net user is not"));
	taken("--level minimal --net none");
	ck_assert_str_eq(complained, "");
	taken("--level minimal --policy q.yaml");
	ck_assert_str_eq(complained, "");
}
END_TEST

START_TEST(what_stays_has_no_clock)
{
	stays = true;
	taken("");
	is("memory", "512M", "level standard");
	is("timeout", "0", "built-in");
	is("stdout_max", "0", "built-in");
	is("copy_max", "1G", "level standard"); /* it has no clock */
	put("p.yaml", "timeout: 1h\n");
	taken("--policy p.yaml");
	is("timeout", "1h", "p.yaml:1");
	is("stderr_max", "0", "built-in");
}
END_TEST

/* --- ceilings --- */

START_TEST(tighter_one_holds)
{
	put("p.yaml", "timeout: 30s\nstdout_max: 10M\nmemory: 256M\nlevel: standard\n");
	taken("--policy p.yaml");
	is("timeout", "30s", "p.yaml:1");
	is("stdout_max", "2000000B", "level standard"); /* tighter than the policy by itself */
	is("memory", "256M", "p.yaml:3");
	is("level", "standard", "built-in");

	taken("--policy p.yaml --timeout 5s --stdout-max 10M --memory 128M --level standard");
	is("timeout", "5s", "--timeout");
	is("stdout_max", "10M", "--stdout-max");
	is("memory", "128M", "--memory");

	/* what the level does not limit, the policy does */
	put("low.yaml", "level: minimal\ntimeout: 30s\n");
	taken("--policy low.yaml --level minimal");
	is("timeout", "30s", "low.yaml:2");

	/* a level that a policy lifts has its defaults too */
	put("level.yaml", "{ \"level\": \"maximum\" }\n");
	taken("--policy level.yaml");
	is("level", "maximum", "level.yaml:1");
	is("timeout", "10m", "level maximum");
	ck_assert_str_eq(policy.level, "maximum");
}
END_TEST

START_TEST(looser_is_refused)
{
	static const struct {
		const char *policy, *flag, *less, *equal;
	} keys[] = {
		{ "memory: 256M", "--memory 257M", "--memory 255M", "--memory 256M" },
		{ "cpus: 2", "--cpus 3", "--cpus 1", "--cpus 2" },
		{ "pids: 10", "--pids 11", "--pids 9", "--pids 10" },
		{ "pids: 10", "--pids 0", "--pids 9", "--pids 10" },
		{ "layer: 64M", "--layer 0", "--layer 1M", "--layer 64M" },
		{ "timeout: 30s", "--timeout 31s", "--timeout 1ms", "--timeout 30s" },
		{ "timeout: 30s", "--timeout 0", "--timeout 1ms", "--timeout 30000ms" },
		{ "cpu-time: 30s", "--cpu-time 31s", "--cpu-time 1s", "--cpu-time 30s" },
		{ "idle_timeout: 30s", "--idle-timeout 0", "--idle-timeout 1s",
		  "--idle-timeout 30s" },
		{ "boot_timeout: 30s", "--boot-timeout 1h", "--boot-timeout 1s",
		  "--boot-timeout 30s" },
		{ "stdout_max: 1M", "--stdout-max 0", "--stdout-max 1K", "--stdout-max 1M" },
		{ "stderr_max: 1M", "--stderr-max 2M", "--stderr-max 1K", "--stderr-max 1M" },
		{ "copy_max: 1M", "--copy-max 0", "--copy-max 1K", "--copy-max 1M" },
		{ "level: strict", "--level standard", "--level maximum", "--level strict" },
		{ "on_violation: pause", "--on-violation log", "--on-violation kill",
		  "--on-violation pause" },
		{ "on_violation: pause", "--on-violation throttle", "", "--on-fuel pause" },
		{ "on_violation: throttle", "--on-violation log", "--on-violation pause",
		  "--on-violation throttle" },
		{ "on_violation: throttle", "--on-timeout log", "--on-timeout pause",
		  "--on-timeout same" },
		{ "{ on_violation: log, on_idle_timeout: throttle }", "--on-idle-timeout log",
		  "--on-idle-timeout kill", "--on-violation log --on-idle-timeout throttle" },
		{ "cpu_percent: 50", "--cpu-percent 51", "--cpu-percent 49", "--cpu-percent 50" },
		{ "cpu_percent: 50", "--cpu-percent 0", "", "--cpu-percent 50 --cpus 2" },
		{ "cpu_percent: 150", "--cpus 2 --cpu-percent 0", "--cpus 2 --cpu-percent 1",
		  "--cpus 1 --cpu-percent 0" },
		{ "fuel: 500ms", "--fuel 501ms", "--fuel 499ms", "--fuel 500ms" },
		{ "fuel: 500ms", "--fuel 0", "", "" },
		{ "fuel: 1s", "--fuel 500i", "--fuel 500ms", "--fuel 1000ms" },
		{ "fuel: 1000i", "--fuel 1001i", "--fuel 999i", "--fuel 1000i" },
		{ "fuel: 1000i", "--fuel 1ms", "", "" },
		{ "net: user", "--net tap=vm0", "--net none", "--net user" },
		{ "net: [none]", "--net user", "--net none", "" },
		{ "net: []", "--net user", "", "--net none" },
		{ "net: [user, tap=vm0]", "--net tap=vm1", "--net user", "--net tap=vm0" },
		{ "net: tap", "--net user", "--net tap=vm0", "--net tap=vm0 --net tap=vm1" },
		{ "net: tap", "--net tap=vm0 --net user", "", "" },
	};
	char line[256];

	for (unsigned i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		put("p.yaml", keys[i].policy);
		snprintf(line, sizeof(line), "--policy p.yaml %s", keys[i].less);
		taken(line);
		snprintf(line, sizeof(line), "--policy p.yaml %s", keys[i].equal);
		taken(line);
		snprintf(line, sizeof(line), "%s --policy p.yaml", keys[i].flag);
		refused(line, "p.yaml:1)");
	}
	/* the key, what was asked for and by whom, what is allowed and where that stands */
	put("p.yaml", "\nmemory: 256M\n");
	refused("-m 1G --policy p.yaml",
		"memory: '1G' (-m) goes over the policy's '256M' (p.yaml:2)");
	put("box.yaml", "memory: 1G\n");
	refused("-C box.yaml --policy p.yaml", "memory: '1G' (box.yaml:1) goes over");
	put("p.yaml", "net: null\n");
	taken("--net user --policy p.yaml");
}
END_TEST

START_TEST(silence_on_violations_means_kill)
{
	put("p.yaml", "timeout: 30s\n");
	refused("--policy p.yaml --on-violation log", "'kill' (p.yaml)");
	refused("--policy p.yaml --on-violation pause", "'kill' (p.yaml)");
	put("log.yaml", "on_violation: log\n");
	taken("--policy log.yaml --on-violation log");
	refused("--policy log.yaml --policy p.yaml --on-violation log", "(p.yaml)");
	taken("--on-violation log");
}
END_TEST

START_TEST(answers_of_one_limit)
{
	put("p.yaml", "on_violation: log\non_fuel: kill\non_timeout: throttle\n");
	taken("--policy p.yaml --on-violation log");
	is("on_violation", "log", "--on-violation");
	is("on_fuel", "kill", "p.yaml:2");
	is("on_timeout", "throttle", "p.yaml:3");
	is("on_cpu_time", "same", "built-in");
	/* all of them are stricter by themselves */
	taken("--policy p.yaml");
	is("on_fuel", "same", "built-in");
	is("on_violation", "kill", "built-in");
	put("q.yaml", "on_cpu_time: log\n");
	taken("--policy q.yaml --on-cpu-time log");
	refused("--policy q.yaml --on-violation log", "the policy's 'kill' (q.yaml)");
	refused("--policy q.yaml --on-timeout pause", "the policy's 'kill' (q.yaml)");
	/* what is named, not what it stands for, is as strict as what it stands for */
	refused("--policy p.yaml --on-violation log --on-fuel same", "on_fuel: 'log' (--on-fuel)");
	taken("--policy p.yaml --on-violation kill --on-fuel same");
}
END_TEST

START_TEST(processors_and_fuel_are_held_down)
{
	put("p.yaml", "cpu_percent: 150\nfuel: 2s\n");
	taken("--policy p.yaml --cpus 4");
	is("cpu_percent", "150", "p.yaml:1");
	is("fuel", "2s", "p.yaml:2");
	is("cpu_percent_max", "150", "p.yaml:1"); /* nor later, by hutch set */
	taken("--policy p.yaml --cpus 4 --cpu-percent-max 120 --cpu-percent 100");
	is("cpu_percent_max", "120", "--cpu-percent-max");
	taken("--policy p.yaml --cpus 4 --cpu-percent-max 0");
	is("cpu_percent_max", "150", "p.yaml:1");
	/* one CPU cannot use as much: there is nothing to hold, and nothing to refuse */
	taken("--policy p.yaml");
	is("cpu_percent", "0", "built-in");
	taken("");
	is("cpu_percent_max", "0", "built-in");
	put("q.yaml", "fuel: 1s\n");
	taken("--policy p.yaml --policy q.yaml");
	is("fuel", "1s", "q.yaml:1");
	put("q.yaml", "fuel: 1000i\n");
	refused("--policy p.yaml --policy q.yaml", "is of another unit than the policy's '1000i'");
	refused("--policy p.yaml --fuel 10i", "fuel: '10i' (--fuel) is of another unit");
	put("q.yaml", "fuel: much\n");
	refused("--policy q.yaml", "fuel: 'much'");
	/* what is no fuel is not the policy's to judge: usage, told by who takes it */
	taken("--policy p.yaml --fuel much");
}
END_TEST

/* --- what a program is told of it --- */

/* the log's last line has all of @...: members of an event */
static void event_has(int fd, const char *members)
{
	char line[4097];
	ssize_t n = pread(fd, line, sizeof(line) - 1, 0);

	ck_assert_int_gt(n, 0);
	line[n] = '\0';
	ck_assert_ptr_eq(strchr(line, '\n'), line + n - 1);
	ck_assert_int_eq(strncmp(line, "{\"ts\":\"20", 9), 0);
	ck_assert_ptr_nonnull(strstr(line, ",\"level\":\"warning\",\"id\":\"order:7\","
					   "\"event\":\"security.policy\","));
	ck_assert_msg(strstr(line, members) != NULL, "no %s in %s", members, line);
	ck_assert_ptr_nonnull(strstr(line, "\"msg\":\"error 125 E_POLICY: "));
	ck_assert_ptr_nonnull(strstr(line, "\",\"code\":\"E_POLICY\"}\n"));
	ck_assert_int_eq(ftruncate(fd, 0), 0);
}

START_TEST(refusals_are_events)
{
	int fd = open(".", O_TMPFILE | O_RDWR | O_APPEND, 0600);

	ck_assert_int_ge(fd, 0);
	hutch_log_about("order:7", NULL);
	hutch_log_to(fd, true);
	put("p.yaml", "memory: 256M\nnet: [user, tap=vm0]\nfuel: 5s\n");
	taken("--policy p.yaml -m 128M");
	ck_assert_int_eq(lseek(fd, 0, SEEK_END), 0);
	refused("--policy p.yaml -m 1G", "goes over");
	event_has(fd, ",\"key\":\"memory\",\"value\":\"1G\",\"origin\":\"-m\",\"most\":\"256M\","
		      "\"policy\":\"p.yaml\",\"msg\":");
	refused("--policy p.yaml --net tap=vm1", "not among");
	event_has(fd, ",\"key\":\"net\",\"value\":\"tap=vm1\",\"origin\":\"--net\",\"policy\":"
		      "\"p.yaml\",\"msg\":");
	refused("--policy p.yaml --fuel 5i", "of another unit");
	event_has(fd, ",\"key\":\"fuel\",\"value\":\"5i\",\"origin\":\"--fuel\",\"most\":\"5s\",");
	/* what is no policy refuses as well, and what is not known is not there */
	put("\"p\".yaml", "kernel: x\n");
	refused("--policy \"p\".yaml", "nothing that a policy can hold down");
	event_has(fd, "y\",\"key\":\"kernel\",\"policy\":\"\\\"p\\\".yaml\",\"msg\":");
	refused("--policy none.yaml", "No such file");
	event_has(fd, "y\",\"policy\":\"none.yaml\",\"msg\":");
	put("policy.d", "");
	refused("", "Not a directory");
	event_has(fd, "y\",\"policy\":\"policy.d\",\"msg\":");
	ck_assert_int_eq(unlink("policy.d"), 0);
	/* who reads text has read the sentence */
	hutch_log_to(fd, false);
	refused("--policy p.yaml -m 1G", "goes over");
	ck_assert_int_eq(lseek(fd, 0, SEEK_END), 0);
	hutch_log_to(STDERR_FILENO, false);
	close(fd);
}
END_TEST

/* --- files --- */

START_TEST(all_policies_hold)
{
	char one[SHA256_HEX], two[SHA256_HEX];

	ck_assert_int_eq(mkdir("policy.d", 0700), 0);
	put("policy.d/20.yaml", "timeout: 20s\n");
	put("policy.d/10.yaml", "timeout: 10s\nmemory: 256M\n");
	put("policy.d/notes.txt", "not a policy\n");
	put("policy.d/.hidden.yaml", "not a policy\n");
	put("p.yaml", "memory: 128M\n");
	taken("");
	is("timeout", "10s", "policy.d/10.yaml:1");
	strcpy(one, policy.sha256);
	taken("--policy p.yaml");
	is("memory", "128M", "p.yaml:1");
	strcpy(two, policy.sha256);
	ck_assert_str_ne(one, two);
	refused("--timeout 15s", "policy.d/10.yaml:1");
	refused("--timeout 25s --policy p.yaml", "policy.d/10.yaml:1");

	/* the sum is of the bytes that hold, in their order */
	ck_assert_int_eq(unlink("policy.d/20.yaml"), 0);
	ck_assert_int_eq(unlink("policy.d/10.yaml"), 0);
	put("policy.d/30.json", "abc: 1\n");
	refused("", "policy.d/30.json:1: unknown key 'abc'");
	put("policy.d/30.json", "# a");
	put("p.yaml", "bc");
	refused("--policy p.yaml", "p.yaml:1");
	put("p.yaml", "\n");
	taken("--policy p.yaml");
	/* printf '# a\n' | sha256sum */
	ck_assert_str_eq(policy.sha256,
			 "fd99dedae7c3f7532f8a65d60f811a05dc9dc3e1c5936b0c554c98aafdad8c10");
	ck_assert_int_eq(unlink("policy.d/30.json"), 0);
	ck_assert_int_eq(unlink("policy.d/notes.txt"), 0);
	ck_assert_int_eq(unlink("policy.d/.hidden.yaml"), 0);
	ck_assert_int_eq(rmdir("policy.d"), 0);
}
END_TEST

START_TEST(policies_in_toml)
{
	ck_assert_int_eq(mkdir("policy.d", 0700), 0);
	put("policy.d/10.toml", "timeout = \"10s\"\n\n[[net]]\nmode = \"tap\"\ntap = \"vm0\"\n");
	put("policy.d/20.yaml", "timeout: 20s\n");
	put("p.toml", "memory = \"128M\"\n");
	taken("--policy p.toml");
	is("timeout", "10s", "policy.d/10.toml:1");
	is("memory", "128M", "p.toml:1");
	refused("--timeout 15s", "'10s' (policy.d/10.toml:1)");
	refused("--net tap=vm1", "is not among what the policy allows (policy.d/10.toml:3)");
	taken("--net tap=vm0");
	put("policy.d/10.toml", "timeout = 10\n");
	refused("", "policy.d/10.toml:1: timeout: '10' ");
	put("policy.d/10.toml", "timeout = '10s'\nkernel = 'k'\n");
	refused("", "policy.d/10.toml:2: kernel is nothing that a policy can hold down");
	put("policy.d/10.toml", "timeout: 10s\n");
	refused("", "policy.d/10.toml:1: = is missing");
	ck_assert_int_eq(unlink("policy.d/10.toml"), 0);
	ck_assert_int_eq(unlink("policy.d/20.yaml"), 0);
	ck_assert_int_eq(rmdir("policy.d"), 0);
}
END_TEST

START_TEST(bad_policies)
{
	refused("--policy none.yaml", "policy none.yaml: No such file");
	refused("--policy .", "policy .: Is a directory");
	put("p.yaml", "timeout: 30s\nkernel: x\n");
	refused("--policy p.yaml", "p.yaml:2: kernel is nothing that a policy can hold down");
	put("p.yaml", "memory: 30\n");
	refused("--policy p.yaml", "p.yaml:1: memory: '30' is not a size");
	put("p.yaml", "memory: 30M\nmemory: 1G\n");
	refused("--policy p.yaml", "p.yaml:2: the key is given twice");
	/* a folder that is none hides what should hold */
	put("policy.d", "");
	refused("", "policies in policy.d: Not a directory");
	ck_assert_int_eq(unlink("policy.d"), 0);
	taken("");
}
END_TEST

/* --- hutch init --- */

static int init(const char *file, char *flag)
{
	char name[64];
	char *argv[] = { name, flag, NULL };

	snprintf(name, sizeof(name), "%s", file);
	return verb_init.run(flag ? 2 : 1, argv, &verb_init);
}

START_TEST(init_writes_what_is_taken)
{
	static char force[] = "--force", text[65536], plain[65536];
	struct hutch_key key;
	char line[128];
	size_t n;
	FILE *f;

	ck_assert_int_eq(init("new.yaml", NULL), 0);
	taken("-C new.yaml");
	is("cpus", "1", "built-in");
	f = fopen("new.yaml", "re");
	ck_assert_ptr_nonnull(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	for (unsigned i = 0; !hutch_key(i, &key); i++) {
		snprintf(line, sizeof(line), "\n#%s:", key.name);
		ck_assert_msg(strstr(text, line) != NULL, "no '%s'", line + 1);
	}
	/* and without the # of the keys it is the configuration that it tells */
	n = 0;
	for (char *c = text; *c; c++)
		if (!(*c == '#' && c != text && c[-1] == '\n' && c[1] != ' ') &&
		    !(*c == '#' && c[1] == ' ' && c[2] == ' '))
			plain[n++] = *c;
	fake_file("plain.yaml", plain, n);
	taken("-C plain.yaml");
	ck_assert_ptr_nonnull(hutch_origin(h, "append"));
	ck_assert_ptr_nonnull(hutch_origin(h, "disk"));
	ck_assert_ptr_null(hutch_origin(h, "kernel"));
	ck_assert_int_eq(hutch_get(h, "disk@0.engine", line, sizeof(line)), 0);
	ck_assert_str_eq(line, "auto");

	/* never over what is there */
	put("new.yaml", "cpus: 2\n");
	ck_assert_int_eq(init("new.yaml", NULL), EXIT_FAIL);
	ck_assert_ptr_nonnull(strstr(complained, "new.yaml is there already"));
	taken("-C new.yaml");
	is("cpus", "2", "new.yaml:1");
	ck_assert_int_eq(init("new.yaml", force), 0);
	taken("-C new.yaml");
	is("cpus", "1", "built-in");
	ck_assert_int_eq(init("no/where.yaml", NULL), EXIT_HUTCH);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("policy");
	TCase *t = tcase_create("policy");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, levels_are_lowest);
	tcase_add_test(t, minimal_has_no_limits);
	tcase_add_test(t, minimal_has_a_network);
	tcase_add_test(t, what_stays_has_no_clock);
	tcase_add_test(t, tighter_one_holds);
	tcase_add_test(t, looser_is_refused);
	tcase_add_test(t, silence_on_violations_means_kill);
	tcase_add_test(t, answers_of_one_limit);
	tcase_add_test(t, processors_and_fuel_are_held_down);
	tcase_add_test(t, refusals_are_events);
	tcase_add_test(t, all_policies_hold);
	tcase_add_test(t, policies_in_toml);
	tcase_add_test(t, bad_policies);
	tcase_add_test(t, init_writes_what_is_taken);
	suite_add_tcase(s, t);
	return suite_run(s);
}
