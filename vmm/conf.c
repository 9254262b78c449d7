#include <ctype.h>
#include <strings.h>

#include "conf.h"

static const char *const boot_names[] = { "auto", "bzimage", "elf", "pvh", NULL };
static const char *const transport_names[] = { "mmio", "pci", NULL };
static const char *const reboot_names[] = { "exit", "reset", NULL };
static const char *const format_names[] = { "raw", "cow", NULL };
static const char *const engine_names[] = { "auto", "uring", "threads", NULL };
static const char *const cache_names[] = { "writeback", "writethrough", "direct", "unsafe", NULL };
static const char *const net_names[] = { "tap", "user", "none", NULL };
static const char *const level_names[] = { "minimal", "standard", "strict", "maximum", NULL };
static const char *const violation_names[] = { "kill", "pause", "throttle", "log", NULL };
static const char *const answer_names[] = { "same", "kill", "pause", "throttle", "log", NULL };
static const char *const console_names[] = { "serial", "virtio", NULL };
static const char *const jail_names[] = { "none", "basic", NULL };

_Static_assert(ARRAY_SIZE(boot_names) == BOOT_PVH + 2, "a name for each boot protocol");
_Static_assert(ARRAY_SIZE(transport_names) == TRANSPORT_PCI + 2, "a name for each transport");
_Static_assert(ARRAY_SIZE(reboot_names) == REBOOT_RESET + 2, "a name for each answer");
_Static_assert(ARRAY_SIZE(format_names) == FORMAT_COW + 2, "a name for each format");
_Static_assert(ARRAY_SIZE(engine_names) == ENGINE_THREADS + 2, "a name for each engine");
_Static_assert(ARRAY_SIZE(cache_names) == CACHE_UNSAFE + 2, "a name for each way to cache");
_Static_assert(ARRAY_SIZE(net_names) == NET_NONE + 2, "a name for each network");
_Static_assert(ARRAY_SIZE(level_names) == LEVEL_MAXIMUM + 2, "a name for each level");
_Static_assert(ARRAY_SIZE(violation_names) == VIOLATION_LOG + 2, "a name for each answer");
_Static_assert(ARRAY_SIZE(answer_names) == VIOLATION_LOG + 3, "and one for what all have");
_Static_assert(ARRAY_SIZE(console_names) == CONSOLE_VIRTIO + 2, "a name for each console");
_Static_assert(ARRAY_SIZE(jail_names) == JAIL_BASIC + 2, "a name for each jail");

static const struct field path_fields[] = {
	F_STR(struct conf_path, path, .path = true, .arg = "PATH", .help = "a file"),
	F_END,
};

static const struct field disk_fields[] = {
	F_STR(struct conf_disk, path, .anew = true, .path = true, .arg = "PATH",
	      .help = "raw image or block device"),
	F_BOOL(struct conf_disk, ro, .help = "the guest cannot write it"),
	F_STR(struct conf_disk, serial, .arg = "TEXT", .help = "serial number the guest reads"),
	F_ENUM(struct conf_disk, format, format_names, .arg = "raw|cow", .dflt = "raw",
	       .help = "raw, or cow: writes go to a private overlay and PATH is never touched"),
	F_STR(struct conf_disk, overlay, .anew = true, .path = true, .arg = "PATH",
	      .help = "keep the overlay of format=cow (implied) in this file, made if it is not "
		      "there; without, it goes with the machine"),
	F_ENUM(struct conf_disk, engine, engine_names, .anew = true, .arg = "HOW", .dflt = "auto",
	       .help = "uring, threads, or what the host has"),
	F_ENUM(struct conf_disk, cache, cache_names, .arg = "HOW", .dflt = "writeback",
	       .help = "writeback, writethrough, direct (past the page cache), or unsafe (no "
		       "flush)"),
	F_BOOL(struct conf_disk, discard, .help = "space the guest gives up is given back"),
	F_RANGE(struct conf_disk, queues, 1, 16, .arg = "N", .dflt = "1", .help = "request queues"),
	F_SIZE(struct conf_disk, bw, 0, UINT64_MAX, .arg = "SIZE", .live = true,
	       .help = "bytes a second"),
	F_SIZE(struct conf_disk, bw_burst, 0, UINT64_MAX, .arg = "SIZE", .live = true,
	       .help = "bytes at once; 0 is a tenth of a second's"),
	F_UINT(struct conf_disk, iops, .arg = "N", .live = true, .help = "requests a second"),
	F_UINT(struct conf_disk, iops_burst, .arg = "N", .live = true, .help = "requests at once"),
	F_END,
};

static const struct field net_fields[] = {
	F_ENUM(struct conf_net, mode, net_names, .anew = true, .arg = "tap|user|none",
	       .dflt = "tap", .help = "tap, user or none"),
	F_STR(struct conf_net, tap, .anew = true, .arg = "NAME",
	      .help = "a tap interface of the host"),
	F_STR(struct conf_net, socket, .anew = true, .arg = "PATH",
	      .help = "a passt that runs already; without, mode user starts one"),
	F_STR(struct conf_net, forward, .anew = true, .arg = "PORTS",
	      .help = "mode user: TCP ports of the host that lead to the guest, "
		      "[ADDRESS/]HOST[:GUEST], more behind +; ADDRESS is 127.0.0.1 unless given"),
	F_STR(struct conf_net, mac, .arg = "MAC",
	      .help = "hardware address of the guest's side; without, one of the machine's name"),
	F_RANGE(struct conf_net, mtu, 0, 65535, .arg = "N",
		.help = "largest packet, told to the guest"),
	F_BOOL(struct conf_net, offload, .dflt = "yes",
	       .help = "packets of 64K and unfinished checksums between guest and host"),
	F_BOOL(struct conf_net, link, .dflt = "yes", .live = true,
	       .help = "the cable is plugged in"),
	F_STR(struct conf_net, ip, .anew = true, .arg = "IP", .box = true,
	      .help = "the guest's address: dhcp, none, or ADDRESS[/PREFIX]::GATEWAY; "
		      "mode user has dhcp unless told otherwise"),
	F_SIZE(struct conf_net, bw, 0, UINT64_MAX, .arg = "SIZE", .live = true,
	       .help = "bytes a second, each direction"),
	F_SIZE(struct conf_net, bw_burst, 0, UINT64_MAX, .arg = "SIZE", .live = true,
	       .help = "bytes at once"),
	F_UINT(struct conf_net, pps, .arg = "N", .live = true,
	       .help = "packets a second, each direction"),
	F_UINT(struct conf_net, pps_burst, .arg = "N", .live = true, .help = "packets at once"),
	F_END,
};

static const struct field vsock_fields[] = {
	F_STR(struct conf_vsock, path, .anew = true, .arg = "PATH",
	      .help = "Unix socket through which programs reach the guest, after a first line "
		      "\"CONNECT PORT\"; PATH_PORT is where the guest reaches port PORT of the "
		      "host"),
	F_RANGE(struct conf_vsock, cid, 3, 0xfffffffe, .arg = "N", .dflt = "3",
		.help = "the guest's address"),
	F_END,
};

static const struct field balloon_fields[] = {
	F_SIZE(struct conf_balloon, size, 0, 16ULL << 40, .arg = "SIZE", .live = true,
	       .help = "memory taken from the guest"),
	F_BOOL(struct conf_balloon, deflate_on_oom, .dflt = "yes",
	       .help = "the guest takes it back before it runs out of memory"),
	F_BOOL(struct conf_balloon, reporting, .dflt = "yes",
	       .help = "pages the guest frees go back to the host by themselves"),
	F_RANGE(struct conf_balloon, stats, 0, 86400, .arg = "N", .live = true,
		.help = "seconds between two readings of the guest's memory statistics"),
	F_END,
};

const struct field conf_fields[] = {
	F_STR(struct conf, extends, .inner = true, .arg = "FILE", .file = true,
	      .help = "another file, from which this one begins; its path is as seen from this "
		      "file's folder, and it may extend one itself"),
	F_STR(struct conf, kernel, .made = true, .inner = true, .path = true, .arg = "FILE",
	      .help = "Linux kernel: bzImage, or ELF with a PVH or 64-bit entry"),
	F_LIST(struct conf, initrd, initrds, path_fields, .made = true, .inner = true,
	       .arg = "FILE",
	       .help = "initial file system; more than one are joined, later files win"),
	F_STR(struct conf, append, .made = true, .inner = true, .arg = "TEXT",
	      .dflt = "console=auto loglevel=3",
	      .help = "kernel command line; console=auto becomes what --console-device gives the "
		      "guest (ttyS0, hvc0), and panic=-1 is added unless TEXT says panic="),
	F_SIZE(struct conf, memory, 2 * MiB, 16ULL << 40, .made = true, .inner = true,
	       .arg = "SIZE", .dflt = "512M", .help = "guest memory, as in 512M or 4G"),
	F_RANGE(struct conf, cpus, 1, CONF_CPUS, .made = true, .inner = true, .arg = "N",
		.dflt = "1", .help = "virtual CPUs"),
	F_RANGE(struct conf, cpu_percent, 0, 100 * CONF_CPUS, .inner = true, .arg = "N",
		.live = true,
		.help = "most that the virtual CPUs get together, in percent of one processor, "
			"over 100 ms: 50 is half of one, 150 one and a half; 0 is no limit"),
	F_RANGE(struct conf, cpu_percent_max, 0, 100 * CONF_CPUS, .inner = true, .arg = "N",
		.help = "most that cpu-percent may become while the machine runs; 0 is anything"),
	F_LIST(struct conf, disk, disks, disk_fields, .made = true, .inner = true,
	       .arg = "PATH[,ro][,format=raw|cow][,overlay=PATH][,KEY=VALUE...]",
	       .help = "virtio-blk disk over a raw image or block device"),
	F_LIST(struct conf, net, nets, net_fields, .made = true,
	       .arg = "tap=NAME|user|none[,KEY=VALUE...]",
	       .help = "virtio-net card: on a tap interface, or user: through passt, without "
		       "rights"),
	F_LIST(struct conf, vsock, vsocks, vsock_fields, .made = true, .arg = "[path=PATH][,cid=N]",
	       .help = "sockets between guest and host, without a network"),
	F_BOOL(struct conf, rng, .made = true, .dflt = "yes", .inner = true,
	       .help = "give the guest the host's random numbers"),
	F_LIST(struct conf, balloon, balloons, balloon_fields, .made = true, .inner = true,
	       .arg = "[SIZE][,KEY=VALUE...]",
	       .help = "take memory back from the guest, and what it frees"),
	F_ENUM(struct conf, boot, boot_names, .made = true, .inner = true, .arg = "HOW",
	       .dflt = "auto",
	       .help = "auto, bzimage (the guest unpacks its kernel), elf (64-bit entry) or pvh"),
	F_ENUM(struct conf, transport, transport_names, .made = true, .inner = true, .arg = "BUS",
	       .dflt = "mmio", .help = "how the guest reaches its virtio devices: mmio or pci"),
	F_ENUM(struct conf, on_reboot, reboot_names, .made = true, .inner = true, .arg = "WHAT",
	       .dflt = "exit",
	       .help = "when the guest reboots: exit, or reset the machine in place"),
	F_BOOL(struct conf, pit, .made = true, .inner = true,
	       .help = "give the machine an i8254 timer, for kernels without kvmclock"),
	F_STR(struct conf, console, .arg = "WHERE", .dflt = "-",
	      .help = "where the console leads: - (this terminal), none, a file, or fd:IN:OUT"),
	F_ENUM(struct conf, console_device, console_names, .made = true, .inner = true,
	       .arg = "HOW", .dflt = "serial",
	       .help = "what the guest has as its console: serial, or virtio (hvc0)"),
	F_STR(struct conf, console_size, .inner = true, .arg = "COLUMNSxROWS", .live = true,
	      .help = "size of the virtio console's terminal"),
	F_ENUM(struct conf, jail, jail_names, .arg = "none|basic", .dflt = "none",
	       .help = "what this process gives up before the guest runs; basic: capabilities, new "
		       "privileges, core files, and every system call that a running machine does "
		       "not need (`hutch boot` takes basic)"),
	F_STR(struct conf, name, .inner = true, .arg = "NAME",
	      .help = "name under which other commands find the machine"),
	F_STR(struct conf, ctl, .arg = "PATH", .help = "Unix socket for control, made by --name"),
	F_BOOL(struct conf, agent, .made = true, .box = true, .inner = true,
	       .help = "the guest has hutch's agent, which is waited for"),
	F_BOOL(struct conf, cold, .box = true, .inner = true,
	       .help = "boot, even where a machine of the same kernel, agent and configuration has "
		       "booted before and could be gone on from"),
	F_STR(struct conf, rootfs, .made = true, .inner = true, .path = true, .named = true,
	      .arg = "IMAGE", .box = true,
	      .help = "the guest's root: an ext4, erofs or squashfs image, never written unless "
		      "--rootfs-rw is given too"),
	F_BOOL(struct conf, rootfs_rw, .made = true, .box = true,
	       .help = "write to the root's image itself, instead of a layer of memory over it"),
	F_SIZE(struct conf, layer, 0, UINT64_MAX, .made = true, .inner = true, .arg = "SIZE",
	       .box = true,
	       .help = "most that the layer of memory over the root takes; 0 is half the memory"),
	F_STR(struct conf, hostname, .inner = true, .arg = "NAME", .box = true,
	      .help = "the guest's host name"),
	F_STR(struct conf, correlation_id, .arg = "ID", .box = true, .punct = "._:-",
	      .help = "what the caller knows this run by: it stands in the result, the events and "
		      "each line that hutch or its agent logs; the sandbox's id unless given"),
	F_RANGE(struct conf, pids, 0, 4194304, .inner = true, .arg = "N", .box = true,
		.help = "most processes in the guest; 0 is as many as it takes"),
	F_ENUM(struct conf, level, level_names, .arg = "LEVEL", .dflt = "standard", .box = true,
	       .help = "how much stands between the guest and this host: minimal, standard, "
		       "strict, maximum; minimal begins with --net user, the others with limits "
		       "(`hutch check --effective` tells which)"),
	F_TIME(struct conf, timeout, .inner = true, .arg = "TIME", .box = true,
	       .help = "longest run of the command, as in 30s or 10m; 0 is no limit"),
	F_TIME(struct conf, cpu_time, .inner = true, .arg = "TIME", .box = true,
	       .help = "most processor time of the guest, over all its CPUs"),
	F_STR(struct conf, fuel, .inner = true, .arg = "TIME|COUNTi", .box = true,
	      .help = "most that the guest may do from the command's start on: processor time of "
		      "its CPUs, as in 500ms, or instructions of theirs, as in 1000000000i, where "
		      "the host can count them (`hutch doctor`)"),
	F_TIME(struct conf, idle_timeout, .inner = true, .arg = "TIME", .box = true,
	       .help = "longest time in which the command says and reads nothing"),
	F_TIME(struct conf, boot_timeout, .inner = true, .arg = "TIME", .dflt = "30s", .box = true,
	       .help = "longest time until the guest's agent answers"),
	F_TIME(struct conf, heartbeat, .inner = true, .arg = "TIME", .dflt = "1s", .box = true,
	       .help = "longest silence of the guest's agent while a command runs, before it "
		       "counts as lost; 0: it is not asked"),
	F_TIME(struct conf, kill_after, .inner = true, .arg = "TIME", .dflt = "0", .box = true,
	       .help = "time between SIGTERM and SIGKILL when a limit ends the command"),
	F_SIZE(struct conf, stdout_max, 0, UINT64_MAX, .inner = true, .arg = "SIZE", .box = true,
	       .help = "most output of the command that is passed on; 0 is no limit"),
	F_SIZE(struct conf, stderr_max, 0, UINT64_MAX, .inner = true, .arg = "SIZE", .box = true,
	       .help = "the same of its errors"),
	F_SIZE(struct conf, copy_max, 0, UINT64_MAX, .arg = "SIZE", .box = true,
	       .help = "most that is copied back from the guest, and no file is longer; a name "
		       "counts 4K, and 0 is no limit"),
	F_ENUM(struct conf, on_violation, violation_names, .arg = "WHAT", .dflt = "kill",
	       .box = true,
	       .help = "when a limit of time or fuel is reached: kill the command; pause the "
		       "machine until `hutch resume`; throttle it to a cpu-percent of 10, or to a "
		       "tenth of what that was; or log it and let the command go on"),
	F_ENUM(struct conf, on_timeout, answer_names, .arg = "WHAT", .dflt = "same", .box = true,
	       .help = "the same for timeout alone; same is what --on-violation says"),
	F_ENUM(struct conf, on_cpu_time, answer_names, .arg = "WHAT", .dflt = "same", .box = true,
	       .help = "for cpu-time alone"),
	F_ENUM(struct conf, on_idle_timeout, answer_names, .arg = "WHAT", .dflt = "same",
	       .box = true, .help = "for idle-timeout alone"),
	F_ENUM(struct conf, on_fuel, answer_names, .arg = "WHAT", .dflt = "same", .box = true,
	       .help = "for fuel alone"),
	F_END,
};

void conf_defaults(struct conf *conf)
{
	field_defaults(conf_fields, conf, sizeof(*conf));
}

int conf_set(struct conf *conf, const char *what, const char *key, const char *value)
{
	return field_set(conf_fields, what, key, value, conf);
}

int conf_ref(const struct conf *conf, const char *key, struct conf_ref *ret)
{
	size_t len = strcspn(key, "@.");
	const char *at = key[len] == '@' ? key + len + 1 : NULL, *dot = strchr(key, '.');
	char name[64], number[16] = "0";
	uint64_t i = 0;

	snprintf(name, sizeof(name), "%.*s", (int)MIN(len, sizeof(name) - 1), key);
	*ret = (struct conf_ref){ .f = field_find(conf_fields, name) };
	if (!ret->f)
		return field_unknown(conf_fields, "", name);
	if (ret->f->kind != FIELD_LIST)
		return at || dot ? err(-EINVAL, "%s: %s is no list", key, name) : 0;
	if (!at && ret->f->count > 1)
		return err(-EINVAL, "%s: write which one, as in %s@0", key, name);
	if (at)
		snprintf(number, sizeof(number), "%.*s", (int)MIN(strcspn(at, "."), 15U), at);
	if (number_parse(number, &i) || i >= *field_used(ret->f, conf))
		return err(-EINVAL, "%s: the machine has no such device", key);
	ret->i = (unsigned)i;
	ret->sub = dot ? field_find(ret->f->sub, dot + 1) : NULL;
	return dot && !ret->sub ? field_unknown(ret->f->sub, name, dot + 1) : 0;
}

int conf_change(struct conf *conf, const char *key, const char *value, struct conf_ref *ret)
{
	int r = conf_ref(conf, key, ret);

	if (r)
		return r;
	if (ret->sub)
		return field_parse(ret->sub, key, value, field_at(ret->f, conf, ret->i));
	if (ret->f->kind == FIELD_LIST)
		return field_change(ret->f, key, value, ret->i, conf);
	return field_parse(ret->f, key, value, conf);
}

static bool parse_length(const char **p, uint16_t *ret)
{
	unsigned v = 0;
	const char *s = *p;

	for (; *s >= '0' && *s <= '9' && v <= UINT16_MAX; s++)
		v = v * 10 + (unsigned)(*s - '0');
	if (s == *p || !v || v > UINT16_MAX)
		return false;
	*p = s;
	*ret = (uint16_t)v;
	return true;
}

int conf_console_size(const char *text, uint16_t *ret_cols, uint16_t *ret_rows)
{
	uint16_t cols = 0, rows = 0;
	const char *p = text;

	if (*text && (!parse_length(&p, &cols) || *p++ != 'x' || !parse_length(&p, &rows) || *p))
		return err(-EINVAL,
			   "console_size: '%s' is no size; write COLUMNSxROWS, as in 80x25", text);
	*ret_cols = cols;
	*ret_rows = rows;
	return 0;
}

int conf_fuel(const char *text, uint64_t *ret, bool *ret_instructions)
{
	size_t n = strspn(text, "0123456789");
	char digits[32];
	int r;

	*ret_instructions = n && !strcmp(text + n, "i");
	if (!*text || !strcmp(text, "0")) {
		*ret = 0;
		return 0;
	}
	if (!*ret_instructions) {
		r = span_parse(text, ret);
		return r == -EINVAL
			       ? err(r,
				     "fuel: '%.32s' is no budget; write a time, as in 500ms, or a "
				     "number of instructions, as in 1000000000i",
				     text)
		       : r ? err(r, "fuel: %s", err_last())
			   : 0;
	}
	snprintf(digits, sizeof(digits), "%.*s", (int)MIN(n, sizeof(digits) - 1), text);
	r = number_parse(digits, ret);
	return r ? err(r, "fuel: '%.32s' is more than can be counted", text) : 0;
}

static int check_fuel(const struct conf *conf)
{
	uint64_t v;
	bool instructions;

	return conf_fuel(conf->fuel, &v, &instructions);
}

static int check_console(const struct conf *conf)
{
	uint16_t cols, rows;
	int r = conf_console_size(conf->console_size, &cols, &rows);

	if (!r && cols && conf->console_device != CONSOLE_VIRTIO)
		r = err(-EINVAL, "console_size: a serial port has no size; add "
				 "--console-device virtio");
	return r;
}

static int check_cpu_percent(const struct conf *conf)
{
	uint32_t all = 100 * conf->cpus, most = conf->cpu_percent_max;
	uint32_t percent = conf->cpu_percent ? conf->cpu_percent : all;

	if (percent > all)
		return err(-EINVAL,
			   "cpu_percent: %u is more than %u CPUs can use; give at most %u, or 0 "
			   "for no limit",
			   percent, conf->cpus, all);
	if (most && percent > most)
		return err(-EINVAL,
			   "cpu_percent: %u%s is more than cpu_percent_max, or a policy, allows; "
			   "give at most %u",
			   conf->cpu_percent, conf->cpu_percent ? "" : ", which is no limit,",
			   most);
	return 0;
}

static int check_balloon(const struct conf *conf)
{
	char size[32], memory[32];

	if (!conf->balloons || conf->balloon[0].size <= conf->memory)
		return 0;
	size_print(conf->balloon[0].size, size, sizeof(size));
	size_print(conf->memory, memory, sizeof(memory));
	return err(-EINVAL, "balloon: %s is more than the machine's memory of %s", size, memory);
}

int conf_mac(const char *what, const char *text, uint8_t ret[6])
{
	static const char hex[] = "0123456789abcdef";
	uint8_t mac[6] = { 0 };
	unsigned sum = 0;
	bool bad = strlen(text) != 17;

	for (unsigned i = 0; i < 17 && !bad; i++) {
		char c = text[i] >= 'A' && text[i] <= 'F' ? (char)(text[i] | 0x20) : text[i];
		const char *digit = strchr(hex, c);

		if (i % 3 == 2)
			bad = c != ':';
		else if (!digit)
			bad = true;
		else
			mac[i / 3] = (uint8_t)(mac[i / 3] << 4 | (digit - hex));
	}
	if (bad)
		return err(-EINVAL,
			   "%s: mac '%s' is no hardware address; write six bytes as in "
			   "02:00:00:00:00:01",
			   what, text);
	for (unsigned i = 0; i < 6; i++)
		sum |= mac[i];
	if (mac[0] & 1 || !sum)
		return err(-EINVAL,
			   "%s: mac '%s' is %s and cannot be one card's; the first byte has to be "
			   "even, as in 02:00:00:00:00:01",
			   what, text, sum ? "a group's address" : "no address");
	memcpy(ret, mac, sizeof(mac));
	return 0;
}

/* "80" or "80-90", of ports that there are; behind it, or NULL */
static const char *behind_ports(const char *s)
{
	char *end = (char *)(uintptr_t)s;

	do {
		unsigned long n = isdigit((unsigned char)*s) ? strtoul(s, &end, 10) : 0;

		if (!n || n > 65535)
			return NULL;
		s = end + 1;
	} while (*end == '-');
	return end;
}

/* "[ADDRESS/]HOST[:GUEST]", more of them behind + */
static bool good_forward(const char *s)
{
	for (;; s++) {
		const char *slash = memchr(s, '/', strcspn(s, "+"));

		s = behind_ports(slash ? slash + 1 : s);
		if (s && *s == ':')
			s = behind_ports(s + 1);
		if (!s || !*s)
			return s;
		if (*s != '+')
			return false;
	}
}

static int check_net(const struct conf_net *net, const char *what)
{
	uint8_t mac[6];

	if (net->mode == NET_NONE)
		return 0;
	if (net->mode == NET_TAP && net->socket[0])
		return err(-EINVAL,
			   "%s: socket=%s is for mode user; write user,socket=%s, or a tap alone",
			   what, net->socket, net->socket);
	if (net->mode == NET_TAP && !net->tap[0])
		return err(-EINVAL,
			   "%s: the name of a tap interface is missing; write --net tap=NAME, or "
			   "--net user",
			   what);
	if (net->mode == NET_USER && net->tap[0])
		return err(-EINVAL, "%s: tap=%s and mode user exclude each other; give one", what,
			   net->tap);
	if (net->forward[0] && (net->mode != NET_USER || net->socket[0]))
		return err(-EINVAL,
			   "%s: forward=%s needs mode user, with a passt that hutch starts; write "
			   "user,forward=%s",
			   what, net->forward, net->forward);
	if (net->forward[0] && (net->forward[strspn(net->forward, "0123456789abcdefABCDEF.:/-+")] ||
				!good_forward(net->forward)))
		return err(-EINVAL,
			   "%s: forward=%s: write ports of 1 to 65535 as 8080:80, more of them "
			   "behind +",
			   what, net->forward);
	if (net->mtu && net->mtu < CONF_MTU_MIN)
		return err(-EINVAL, "%s: mtu=%u is too small; IPv4 needs %d", what, net->mtu,
			   CONF_MTU_MIN);
	return net->mac[0] ? conf_mac(what, net->mac, mac) : 0;
}

static int check_nets(const struct conf *conf)
{
	char what[16];
	int r = 0;

	for (unsigned i = 0; !r && i < conf->nets; i++) {
		const struct conf_net *a = &conf->net[i];

		snprintf(what, sizeof(what), "net %u", i);
		r = check_net(a, what);
		for (unsigned j = 0; !r && j < i; j++) {
			const struct conf_net *b = &conf->net[j];

			if (a->mode == NET_NONE || b->mode == NET_NONE)
				continue;
			if (a->mode == NET_TAP && b->mode == NET_TAP && !strcmp(a->tap, b->tap))
				r = err(-EINVAL,
					"%s: tap=%s is given twice; each card needs its own", what,
					a->tap);
			else if (a->mac[0] && !strcasecmp(a->mac, b->mac))
				r = err(-EINVAL,
					"%s: mac=%s is given twice; each card needs its own", what,
					a->mac);
		}
	}
	return r;
}

bool conf_disk_written(const struct conf_disk *disk)
{
	return !disk->ro && disk->format == FORMAT_RAW && !disk->overlay[0];
}

static int check_disks(const struct conf *conf)
{
	for (unsigned i = 0; i < conf->disks; i++) {
		const struct conf_disk *d = &conf->disk[i];

		if (!d->path[0])
			return err(-EINVAL, "disk %u: a path is missing; write --disk PATH[,ro]",
				   i);
		for (unsigned j = 0; j < i; j++)
			if (!strcmp(d->path, conf->disk[j].path) &&
			    (conf_disk_written(d) || conf_disk_written(&conf->disk[j])))
				return err(-EINVAL,
					   "disk %s: is given twice and may be written; give it "
					   "once, or ro or format=cow both times",
					   d->path);
	}
	return 0;
}

static int check_vsock(const struct conf *conf)
{
	if (conf->vsocks && !conf->vsock[0].path[0])
		return err(-EINVAL,
			   "vsock: a path is missing; write --vsock path=PATH, or give the machine "
			   "a --name, which makes one in its run folder");
	return 0;
}

int conf_check(const struct conf *conf)
{
	static int (*const checks[])(const struct conf *conf) = {
		check_disks,   check_nets,	  check_vsock, check_balloon,
		check_console, check_cpu_percent, check_fuel,
	};
	int r = 0;

	if (!conf->kernel[0])
		return err(-EINVAL, "kernel: none is given; name one with --kernel FILE");
	for (unsigned i = 0; i < conf->initrds; i++)
		if (!conf->initrd[i].path[0])
			return err(-EINVAL, "initrd: a path is missing; write --initrd FILE");
	for (unsigned i = 0; !r && i < ARRAY_SIZE(checks); i++)
		r = checks[i](conf);
	return r;
}
