/*
 * policy.c - levels and policies: the layers above and below what a person asks for
 *
 * 1. Each policy is read into a handle of its own, so what it says is told from
 *    what it does not (hutch_origin()).
 * 2. What a file or a flag named is held against each policy, and refused if it
 *    is looser: nothing that was asked for is changed in silence.
 * 3. Keys that nobody named take the level's defaults, and only then, where a
 *    policy is tighter still, the policy's value.
 * So the level, which decides what 3 does, goes through 2 and 3 first.
 *
 * #syscalls:before openat newfstatat getdents64 read close
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "json.h"
#include "policy.h"

#define FILES	 32
#define FILE_MAX (1 << 20)

static const char *const levels[] = { "minimal", "standard", "strict", "maximum", NULL };
static const char *const answers[] = { "log", "throttle", "pause", "kill", NULL };
static const char *const cards[] = { "none", "user", "tap", NULL };

/* minimal gives a network and limits nothing, the others do; strict and maximum will want more */
static const struct {
	const char *key, *value;
	bool stays; /* also of what stays */
	bool minimal;
} level_defaults[] = {
	{ "net", "user", true, true },
	{ "memory", "512M", true, false },
	{ "timeout", "10m", false, false },
	{ "stdout_max", "2000000B", false, false },
	{ "stderr_max", "2000000B", false, false },
	{ "copy_max", "1G", true, false },
};

#define FUEL	    "fuel" /* in one unit or another */
#define PERCENT	    "cpu_percent"
#define PERCENT_MAX "cpu_percent_max"

/* what a policy can hold down */
static const struct ceiling {
	const char *key;
	const char *const
		*order; /* from loose to strict; NULL: a number, of which less is stricter */
	bool always;	/* a policy that does not name it still means its default */
} ceilings[] = {
	{ .key = "level", .order = levels },
	{ .key = "on_violation", .order = answers, .always = true },
	{ .key = "on_timeout", .order = answers, .always = true },
	{ .key = "on_cpu_time", .order = answers, .always = true },
	{ .key = "on_idle_timeout", .order = answers, .always = true },
	{ .key = "on_fuel", .order = answers, .always = true },
	{ .key = "memory" },
	{ .key = "cpus" },
	{ .key = PERCENT },
	{ .key = "pids" },
	{ .key = "layer" },
	{ .key = "timeout" },
	{ .key = "cpu_time" },
	{ .key = FUEL },
	{ .key = "idle_timeout" },
	{ .key = "boot_timeout" },
	{ .key = "stdout_max" },
	{ .key = "stderr_max" },
	{ .key = "copy_max" },
};

#define CEILINGS (sizeof(ceilings) / sizeof(*ceilings))
#define LEVEL	 (&ceilings[0])

struct reading {
	bool stays;
	struct hutch *h;
	struct hutch *policy[FILES];
	char *name[FILES];
	unsigned n;
	struct sha256 sum;
};

/* --- what is told of a refusal --- */

/* for a program that reads it; NULL: there is none of it */
struct refusal {
	const char *key, *value;
	const char *origin; /* who asked for that */
	const char *most;   /* what the policy gives */
	const char *policy; /* its file, or the folder of them */
};

static void tell_event(const struct refusal *what, const char *text)
{
	const struct {
		const char *name, *value;
	} members[] = {
		{ "key", what->key },	{ "value", what->value },   { "origin", what->origin },
		{ "most", what->most }, { "policy", what->policy },
	};
	char *json = NULL;
	size_t size;
	FILE *out = open_memstream(&json, &size);

	if (!out)
		return;
	for (unsigned i = 0; i < sizeof(members) / sizeof(*members); i++) {
		if (!members[i].value)
			continue;
		fprintf(out, ",\"%s\":", members[i].name);
		json_text(out, members[i].value);
	}
	if (!fclose(out))
		hutch_log_event(HUTCH_LOG_WARNING, "security.policy", json, text);
	free(json);
}

static int refuse(const struct refusal *what, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* there is no sandbox yet whose event it could be, so it is one of the log */
static int refuse(const struct refusal *what, const char *fmt, ...)
{
	char text[2048];
	va_list ap;
	int n = snprintf(text, sizeof(text), "error %d E_POLICY: ", EXIT_HUTCH);

	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	va_end(ap);
	complain("%s", text);
	tell_event(what, text);
	return EXIT_HUTCH;
}

static int refuse_file(const char *policy, const char *why)
{
	return refuse(&(struct refusal){ .policy = policy }, "%s", why);
}

/* --- reading them --- */

static int read_whole(const char *path, char *buf, size_t size, size_t *ret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : 1;

	for (*ret = 0; n > 0 && *ret<size; *ret += n> 0 ? (size_t)n : 0)
		n = read(fd, buf + *ret, size - *ret);
	if (n >= 0) {
		close(fd);
		return 0;
	}
	refuse(&(struct refusal){ .policy = path }, "policy %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return EXIT_HUTCH;
}

static bool can_hold(const char *key)
{
	for (unsigned i = 0; i < CEILINGS; i++)
		if (!strcmp(key, ceilings[i].key))
			return true;
	return !strcmp(key, "net");
}

/* a key that would be passed over must not look as if it held */
static int check_keys(struct hutch *policy, const char *path)
{
	struct hutch_key key;
	const char *where;

	for (unsigned i = 0; !hutch_key(i, &key); i++) {
		where = hutch_origin(policy, key.name);
		if (!where || can_hold(key.name))
			continue;
		return refuse(&(struct refusal){ .key = key.name, .policy = path },
			      "%s: %s is nothing that a policy can hold down; it takes level, net, "
			      "memory, cpus, cpu_percent, pids, layer, the times, fuel, "
			      "stdout_max, stderr_max, copy_max, on_violation and on_LIMIT",
			      where, key.name);
	}
	return 0;
}

static int read_policy(struct reading *r, const char *path)
{
	struct hutch *policy;
	bool instructions;
	uint64_t fuel;
	size_t len;
	char *text;
	int status;

	if (r->n == FILES)
		return refuse_file(path, "there are more than 32 policies");
	/* it is read once: what is summed is what holds */
	text = malloc(FILE_MAX + 1);
	policy = r->policy[r->n] = hutch_new();
	if (!text || !policy) {
		free(text);
		hutch_free(policy);
		return refuse_file(path, "out of memory");
	}
	r->name[r->n++] = strdup(path);
	status = read_whole(path, text, FILE_MAX + 1, &len);
	if (!status && hutch_load_text(policy, path, text, len))
		status = refuse_file(path, hutch_error(policy));
	if (!status)
		status = check_keys(policy, path);
	if (!status && hutch_fuel(policy, &fuel, &instructions))
		status = refuse_file(path, hutch_error(policy));
	if (!status)
		sha256_add(&r->sum, text, len);
	free(text);
	return status;
}

static int is_policy(const struct dirent *d)
{
	static const char *const ends[] = { ".yaml", ".yml", ".json", ".toml" };
	size_t len = strlen(d->d_name);

	for (unsigned i = 0; i < sizeof(ends) / sizeof(*ends); i++)
		if (*d->d_name != '.' && len > strlen(ends[i]) &&
		    !strcmp(d->d_name + len - strlen(ends[i]), ends[i]))
			return 1;
	return 0;
}

/* a folder that is not there holds none; one that cannot be read might */
static int read_folder(struct reading *r)
{
	const char *folder = getenv("HUTCH_POLICY_D");
	struct dirent **entry;
	char path[4096];
	int n, status = 0;

	if (!folder || !*folder)
		folder = POLICY_D;
	n = scandir(folder, &entry, is_policy, alphasort);
	if (n < 0 && errno == ENOENT)
		return 0;
	if (n < 0)
		return refuse(&(struct refusal){ .policy = folder }, "policies in %s: %s", folder,
			      strerror(errno));
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, entry[i]->d_name);
		if (!status)
			status = read_policy(r, path);
		free(entry[i]);
	}
	free(entry);
	return status;
}

/* --- holding to them --- */

static unsigned rank(const char *const *order, const char *word)
{
	unsigned i = 0;

	while (order[i] && strcmp(order[i], word))
		i++;
	return i;
}

/* a value as it holds: where one limit's answer is that of all, that */
static int value_of(struct hutch *h, const struct ceiling *c, char *buf, size_t size)
{
	return c->order == answers ? command_answer_word(h, c->key, buf, size)
				   : hutch_get(h, c->key, buf, size);
}

/* how strict a key is: more is stricter, and no limit the least */
static uint64_t strictness(struct hutch *h, const struct ceiling *c)
{
	char word[32] = "";
	uint64_t v = 0;

	if (c->order) {
		value_of(h, c, word, sizeof(word));
		return rank(c->order, word);
	}
	hutch_get_number(h, c->key, &v);
	return v ? UINT64_MAX - v : 0;
}

/* fuel of one unit says nothing of the other's */
static bool same_fuel(struct hutch *h, struct hutch *policy)
{
	uint64_t asked, most;
	bool a, b;

	/* what is no fuel is seen to elsewhere */
	return hutch_fuel(h, &asked, &a) || hutch_fuel(policy, &most, &b) || !asked || !most ||
	       a == b;
}

static bool more_fuel(struct hutch *h, struct hutch *policy)
{
	uint64_t asked, most;
	bool a, b;

	return !hutch_fuel(h, &asked, &a) && !hutch_fuel(policy, &most, &b) &&
	       asked - 1 > most - 1; /* 0 is more than any */
}

/* of processors that the machine does not have it needs no limit */
static bool more_cpu(struct hutch *h, struct hutch *policy)
{
	uint64_t asked = 0, most = 0, cpus = 0;

	hutch_get_number(h, PERCENT, &asked);
	hutch_get_number(policy, PERCENT, &most);
	hutch_get_number(h, "cpus", &cpus);
	return (asked ? asked : 100 * cpus) - 1 > most - 1;
}

/* does @h ask for more than @policy gives? */
static bool is_over(struct hutch *h, struct hutch *policy, const struct ceiling *c)
{
	if (!c->always && !hutch_origin(policy, c->key))
		return false;
	if (!strcmp(c->key, FUEL))
		return !same_fuel(h, policy) || more_fuel(h, policy);
	if (!strcmp(c->key, PERCENT))
		return more_cpu(h, policy);
	return strictness(h, c) < strictness(policy, c);
}

/* the place in a policy that says so, or the whole of it */
static const char *place(const struct reading *r, unsigned i, const struct ceiling *c)
{
	const char *where = hutch_origin(r->policy[i], c->key);

	if (!where && c->order == answers)
		where = hutch_origin(r->policy[i], "on_violation");
	return where ? where : r->name[i];
}

/* what says so: @by asked for it, the policy is the @i'th */
static int refuse_over(const struct reading *r, unsigned i, const struct ceiling *c, const char *by)
{
	bool units = !strcmp(c->key, FUEL) && !same_fuel(r->h, r->policy[i]);
	char wanted[64] = "", most[64] = "";
	const struct refusal what = { c->key, wanted, by, most, r->name[i] };

	value_of(r->h, c, wanted, sizeof(wanted));
	value_of(r->policy[i], c, most, sizeof(most));
	return refuse(&what,
		      "%s: '%s' (%s) %s the policy's '%s' (%s); ask for that, or for something "
		      "stricter",
		      c->key, wanted, by, units ? "is of another unit than" : "goes over", most,
		      place(r, i, c));
}

/* what a policy or a level says does not go into the machine's keys */
static int refuse_key(const struct reading *r, const char *key, const char *policy)
{
	const struct refusal what = { .key = key, .policy = policy };

	return refuse(&what, "%s", hutch_error(r->h));
}

/* rule 2 */
static int check_named(const struct reading *r, const struct ceiling *c)
{
	const char *by = hutch_origin(r->h, c->key);

	for (unsigned i = 0; by && i < r->n; i++)
		if (is_over(r->h, r->policy[i], c))
			return refuse_over(r, i, c, by);
	return 0;
}

/* rule 3, its second half; check_named() has seen to what was named */
static int hold_down(const struct reading *r, const struct ceiling *c)
{
	char value[64];

	for (unsigned i = 0; i < r->n; i++) {
		struct hutch *policy = r->policy[i];
		const char *by = hutch_origin(r->h, c->key);

		if (!is_over(r->h, policy, c))
			continue;
		if (!strcmp(c->key, FUEL) && !same_fuel(r->h, policy)) /* two policies' */
			return refuse_over(r, i, c, by ? by : "");
		hutch_from(r->h, place(r, i, c));
		if (value_of(policy, c, value, sizeof(value)) || hutch_set(r->h, c->key, value))
			return refuse_key(r, c->key, r->name[i]);
	}
	hutch_from(r->h, NULL);
	return 0;
}

/* what can be changed while the machine runs is held down there too */
static int hold_later(const struct reading *r)
{
	uint64_t most = 0, least = 0;
	char value[24];

	hutch_get_number(r->h, PERCENT_MAX, &least);
	for (unsigned i = 0; i < r->n; i++) {
		if (hutch_get_number(r->policy[i], PERCENT, &most) || most - 1 >= least - 1)
			continue;
		least = most;
		snprintf(value, sizeof(value), "%lu", (unsigned long)least);
		hutch_from(r->h, hutch_origin(r->policy[i], PERCENT));
		if (hutch_set(r->h, PERCENT_MAX, value))
			return refuse_key(r, PERCENT_MAX, r->name[i]);
	}
	hutch_from(r->h, NULL);
	return 0;
}

/* the mode and the interface of a card: false if there is no such card */
static bool card(struct hutch *h, unsigned i, char mode[16], char tap[32])
{
	char key[32];

	snprintf(key, sizeof(key), "net@%u.mode", i);
	if (hutch_get(h, key, mode, 16))
		return false;
	snprintf(key, sizeof(key), "net@%u.tap", i);
	return !hutch_get(h, key, tap, 32);
}

static bool allows(struct hutch *policy, const char *mode, const char *tap)
{
	char may[16], may_tap[32];

	if (!rank(cards, mode))
		return true;
	for (unsigned i = 0; card(policy, i, may, may_tap); i++)
		if (!strcmp(may, mode) && (!may_tap[0] || !strcmp(may_tap, tap)))
			return true;
	return false;
}

static int refuse_card(const struct reading *r, unsigned i, const char *mode, const char *tap,
		       const char *where)
{
	char value[64];
	const struct refusal what = { .key = "net",
				      .value = value,
				      .origin = hutch_origin(r->h, "net"),
				      .policy = r->name[i] };

	snprintf(value, sizeof(value), "%s%s%s", mode, tap[0] ? "=" : "", tap);
	return refuse(&what, "net: '%s' (%s) is not among what the policy allows (%s)", value,
		      what.origin, where);
}

static int check_cards(const struct reading *r)
{
	char mode[16], tap[32];
	const char *where;

	for (unsigned i = 0; i < r->n; i++) {
		where = hutch_origin(r->policy[i], "net");
		for (unsigned k = 0; where && card(r->h, k, mode, tap); k++) {
			if (!allows(r->policy[i], mode, tap))
				return refuse_card(r, i, mode, tap, where);
		}
	}
	return 0;
}

/* a network is no promise of any level: where there cannot be one there is none, and it is told */
static bool may_have_net(const struct reading *r)
{
	struct hutch_fact passt;

	for (unsigned i = 0; i < r->n; i++)
		if (hutch_origin(r->policy[i], "net") && !allows(r->policy[i], "user", ""))
			return false;
	if (!hutch_fact_named("passt", &passt) && passt.state == HUTCH_OK)
		return true;
	caution("warning: level minimal has a network by default, but not on this host: passt: "
		"%s; --net none does without it",
		passt.text);
	return false;
}

static int start_level(const struct reading *r)
{
	char level[16] = "", from[32];

	hutch_get(r->h, "level", level, sizeof(level));
	snprintf(from, sizeof(from), "level %s", level);
	for (unsigned i = 0; i < sizeof(level_defaults) / sizeof(*level_defaults); i++) {
		const char *key = level_defaults[i].key;

		if (level_defaults[i].minimal == (rank(levels, level) > 0) ||
		    hutch_origin(r->h, key) || (r->stays && !level_defaults[i].stays))
			continue;
		if (!strcmp(key, "net") && !may_have_net(r))
			continue;
		hutch_from(r->h, from);
		if (hutch_set(r->h, key, level_defaults[i].value))
			return refuse_key(r, key, NULL);
	}
	hutch_from(r->h, NULL);
	return 0;
}

static int apply(const struct reading *r)
{
	int status = check_named(r, LEVEL);

	if (!status)
		status = hold_down(r, LEVEL);
	for (unsigned i = 0; !status && i < CEILINGS; i++)
		status = check_named(r, &ceilings[i]);
	if (!status)
		status = check_cards(r);
	if (!status)
		status = start_level(r);
	for (unsigned i = 0; !status && i < CEILINGS; i++)
		status = hold_down(r, &ceilings[i]);
	return status ? status : hold_later(r);
}

static int read_all(struct reading *r, const struct given *files)
{
	int status;

	sha256_start(&r->sum);
	status = read_folder(r);
	for (unsigned i = 0; !status && files && i < files->n; i++)
		status = read_policy(r, files->all[i]);
	return status;
}

static void forget(struct reading *r)
{
	for (unsigned i = 0; i < r->n; i++) {
		hutch_free(r->policy[i]);
		free(r->name[i]);
	}
}

int policy_apply(struct policy *p, struct hutch *h, const struct given *files, bool stays)
{
	struct reading r = { .h = h, .stays = stays };
	int status = read_all(&r, files);

	if (!status)
		status = apply(&r);
	*p = (struct policy){ .sha256 = "" };
	hutch_get(h, "level", p->level, sizeof(p->level));
	if (r.n)
		sha256_hex(&r.sum, p->sha256);
	forget(&r);
	return status;
}

int policy_restored(struct hutch *h, const struct given *files)
{
	struct reading r = { .h = h };
	int status = read_all(&r, files);

	for (unsigned i = 0; !status && i < CEILINGS; i++)
		status = check_named(&r, &ceilings[i]);
	if (!status)
		status = check_cards(&r);
	forget(&r);
	return status;
}
