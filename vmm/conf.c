#include "conf.h"

static const char *const boot_names[] = { "auto", "bzimage", "elf", "pvh", NULL };
static const char *const transport_names[] = { "mmio", "pci", NULL };
static const char *const reboot_names[] = { "exit", "reset", NULL };
static const char *const format_names[] = { "raw", "cow", NULL };
static const char *const engine_names[] = { "auto", "uring", "threads", NULL };
static const char *const cache_names[] = { "writeback", "writethrough", "direct", "unsafe", NULL };
static const char *const net_names[] = { "tap", "user", "none", NULL };
static const char *const console_names[] = { "serial", "virtio", NULL };

_Static_assert(ARRAY_SIZE(boot_names) == BOOT_PVH + 2, "a name for each boot protocol");
_Static_assert(ARRAY_SIZE(transport_names) == TRANSPORT_PCI + 2, "a name for each transport");
_Static_assert(ARRAY_SIZE(reboot_names) == REBOOT_RESET + 2, "a name for each answer");
_Static_assert(ARRAY_SIZE(format_names) == FORMAT_COW + 2, "a name for each format");
_Static_assert(ARRAY_SIZE(engine_names) == ENGINE_THREADS + 2, "a name for each engine");
_Static_assert(ARRAY_SIZE(cache_names) == CACHE_UNSAFE + 2, "a name for each way to cache");
_Static_assert(ARRAY_SIZE(net_names) == NET_NONE + 2, "a name for each network");
_Static_assert(ARRAY_SIZE(console_names) == CONSOLE_VIRTIO + 2, "a name for each console");

static const struct field path_fields[] = {
	F_STR(struct conf_path, path, .arg = "PATH", .help = "a file"),
	F_END,
};

static const struct field disk_fields[] = {
	F_STR(struct conf_disk, path, .arg = "PATH", .help = "raw image or block device"),
	F_BOOL(struct conf_disk, ro, .help = "the guest cannot write it"),
	F_STR(struct conf_disk, serial, .arg = "TEXT", .help = "serial number the guest reads"),
	F_ENUM(struct conf_disk, format, format_names, .dflt = "raw",
	       .help = "raw, or cow: writes go to a private overlay and PATH is never touched"),
	F_STR(struct conf_disk, overlay, .arg = "PATH",
	      .help = "keep the overlay of format=cow in this file; without, it goes with the "
		      "machine"),
	F_ENUM(struct conf_disk, engine, engine_names, .dflt = "auto",
	       .help = "uring, threads, or what the host has"),
	F_ENUM(struct conf_disk, cache, cache_names, .dflt = "writeback",
	       .help = "writeback, writethrough, direct (past the page cache), or unsafe (no "
		       "flush)"),
	F_BOOL(struct conf_disk, discard, .help = "space the guest gives up is given back"),
	F_RANGE(struct conf_disk, queues, 1, 16, .dflt = "1", .help = "request queues"),
	F_SIZE(struct conf_disk, bw, 0, UINT64_MAX, .live = true, .help = "bytes a second"),
	F_SIZE(struct conf_disk, bw_burst, 0, UINT64_MAX, .live = true,
	       .help = "bytes at once; 0 is a tenth of a second's"),
	F_UINT(struct conf_disk, iops, .live = true, .help = "requests a second"),
	F_UINT(struct conf_disk, iops_burst, .live = true, .help = "requests at once"),
	F_END,
};

static const struct field net_fields[] = {
	F_ENUM(struct conf_net, mode, net_names, .dflt = "tap", .help = "tap, user or none"),
	F_STR(struct conf_net, tap, .arg = "NAME", .help = "a tap interface of the host"),
	F_STR(struct conf_net, socket, .arg = "PATH",
	      .help = "a passt that runs already; without, mode user starts one"),
	F_STR(struct conf_net, mac, .arg = "MAC", .help = "hardware address of the guest's side"),
	F_RANGE(struct conf_net, mtu, 0, 65535, .help = "largest packet, told to the guest"),
	F_BOOL(struct conf_net, offload, .dflt = "yes",
	       .help = "packets of 64K and unfinished checksums between guest and host"),
	F_BOOL(struct conf_net, link, .dflt = "yes", .live = true,
	       .help = "the cable is plugged in"),
	F_SIZE(struct conf_net, bw, 0, UINT64_MAX, .live = true,
	       .help = "bytes a second, each direction"),
	F_SIZE(struct conf_net, bw_burst, 0, UINT64_MAX, .live = true, .help = "bytes at once"),
	F_UINT(struct conf_net, pps, .live = true, .help = "packets a second, each direction"),
	F_UINT(struct conf_net, pps_burst, .live = true, .help = "packets at once"),
	F_END,
};

static const struct field vsock_fields[] = {
	F_STR(struct conf_vsock, path, .arg = "PATH",
	      .help = "Unix socket through which programs reach the guest, after a first line "
		      "\"CONNECT PORT\"; PATH_PORT is where the guest reaches port PORT of the "
		      "host"),
	F_RANGE(struct conf_vsock, cid, 3, 0xfffffffe, .dflt = "3", .help = "the guest's address"),
	F_END,
};

static const struct field balloon_fields[] = {
	F_SIZE(struct conf_balloon, size, 0, 16ULL << 40, .live = true,
	       .help = "memory taken from the guest"),
	F_BOOL(struct conf_balloon, deflate_on_oom, .dflt = "yes",
	       .help = "the guest takes it back before it runs out of memory"),
	F_BOOL(struct conf_balloon, reporting, .dflt = "yes",
	       .help = "pages the guest frees go back to the host by themselves"),
	F_RANGE(struct conf_balloon, stats, 0, 86400, .live = true,
		.help = "seconds between two readings of the guest's memory statistics"),
	F_END,
};

const struct field conf_fields[] = {
	F_STR(struct conf, kernel, .arg = "FILE",
	      .help = "Linux kernel: bzImage, or ELF with a PVH or 64-bit entry"),
	F_LIST(struct conf, initrd, initrds, path_fields, .arg = "FILE",
	       .help = "initial file system; more than one are joined, later files win"),
	F_STR(struct conf, append, .arg = "TEXT", .dflt = "console=ttyS0 loglevel=3",
	      .help = "kernel command line; panic=-1 is added unless TEXT says panic="),
	F_SIZE(struct conf, memory, 2 * MiB, 16ULL << 40, .arg = "SIZE", .dflt = "512M",
	       .help = "guest memory, as in 512M or 4G"),
	F_RANGE(struct conf, cpus, 1, CONF_CPUS, .arg = "N", .dflt = "1", .help = "virtual CPUs"),
	F_LIST(struct conf, disk, disks, disk_fields,
	       .arg = "PATH[,ro][,format=raw|cow][,overlay=PATH][,KEY=VALUE...]",
	       .help = "virtio-blk disk over a raw image or block device"),
	F_LIST(struct conf, net, nets, net_fields, .arg = "tap=NAME|user|none[,KEY=VALUE...]",
	       .help = "virtio-net card: on a tap interface, or user: through passt, without "
		       "rights"),
	F_LIST(struct conf, vsock, vsocks, vsock_fields, .arg = "[path=PATH][,cid=N]",
	       .help = "sockets between guest and host, without a network"),
	F_BOOL(struct conf, rng, .dflt = "yes", .help = "give the guest the host's random numbers"),
	F_LIST(struct conf, balloon, balloons, balloon_fields, .arg = "[SIZE][,KEY=VALUE...]",
	       .help = "take memory back from the guest, and what it frees"),
	F_ENUM(struct conf, boot, boot_names, .arg = "HOW", .dflt = "auto",
	       .help = "auto, bzimage (the guest unpacks its kernel), elf (64-bit entry) or pvh"),
	F_ENUM(struct conf, transport, transport_names, .arg = "BUS", .dflt = "mmio",
	       .help = "how the guest reaches its virtio devices: mmio or pci"),
	F_ENUM(struct conf, on_reboot, reboot_names, .arg = "WHAT", .dflt = "exit",
	       .help = "when the guest reboots: exit, or reset the machine in place"),
	F_BOOL(struct conf, pit,
	       .help = "give the machine an i8254 timer, for kernels without kvmclock"),
	F_STR(struct conf, console, .arg = "WHERE", .dflt = "-",
	      .help = "serial console: - (this terminal), none, a file, or fd:IN:OUT"),
	F_ENUM(struct conf, console_device, console_names, .arg = "HOW", .dflt = "serial",
	       .help = "what the guest has as its console: serial, or virtio (hvc0)"),
	F_STR(struct conf, console_size, .arg = "COLUMNSxROWS", .live = true,
	      .help = "size of the virtio console's terminal"),
	F_STR(struct conf, name, .arg = "NAME",
	      .help = "name under which other commands find the machine"),
	F_STR(struct conf, ctl, .arg = "PATH", .help = "Unix socket for control, made by --name"),
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

const struct field *conf_find(struct conf *conf, const char *key, void **ret_obj)
{
	const char *at = strchr(key, '@'), *dot = at ? strchr(at, '.') : NULL;
	char name[64], number[16];
	const struct field *f;
	uint64_t i;

	*ret_obj = conf;
	if (!at)
		return field_find(conf_fields, key);
	snprintf(name, sizeof(name), "%.*s", (int)MIN(at - key, 63), key);
	f = field_find(conf_fields, name);
	if (!f || f->kind != FIELD_LIST || !dot)
		return NULL;
	snprintf(number, sizeof(number), "%.*s", (int)MIN(dot - at - 1, 15), at + 1);
	if (number_parse(number, &i) || i >= *field_used(f, conf))
		return NULL;
	*ret_obj = field_at(f, conf, (unsigned)i);
	return field_find(f->sub, dot + 1);
}

int conf_check(const struct conf *conf)
{
	if (!conf->kernel[0])
		return err(-EINVAL, "kernel: none is given; name one with --kernel FILE");
	for (unsigned i = 0; i < conf->disks; i++) {
		if (!conf->disk[i].path[0])
			return err(-EINVAL, "disk %u: a path is missing; write --disk PATH[,ro]",
				   i);
		for (unsigned j = 0; j < i; j++)
			if (!strcmp(conf->disk[i].path, conf->disk[j].path) &&
			    !(conf->disk[i].ro && conf->disk[j].ro))
				return err(-EINVAL,
					   "disk %s: is given twice and may be written; give it "
					   "once, or ro both times",
					   conf->disk[i].path);
	}
	for (unsigned i = 0; i < conf->vsocks; i++)
		if (!conf->vsock[i].path[0])
			return err(-EINVAL,
				   "vsock: a path is missing; write --vsock path=PATH, or give the "
				   "machine a --name, which makes one in its run folder");
	for (unsigned i = 0; i < conf->initrds; i++)
		if (!conf->initrd[i].path[0])
			return err(-EINVAL, "initrd: a path is missing; write --initrd FILE");
	return 0;
}
