#include "conf.h"

static const char *const boot_names[] = { "auto", "bzimage", "elf", "pvh", NULL };
static const char *const transport_names[] = { "mmio", "pci", NULL };
static const char *const reboot_names[] = { "exit", "reset", NULL };

_Static_assert(ARRAY_SIZE(boot_names) == BOOT_PVH + 2, "a name for each boot protocol");
_Static_assert(ARRAY_SIZE(transport_names) == TRANSPORT_PCI + 2, "a name for each transport");
_Static_assert(ARRAY_SIZE(reboot_names) == REBOOT_RESET + 2, "a name for each answer");

static const struct field path_fields[] = {
	F_STR(struct conf_path, path, .arg = "PATH", .help = "a file"),
	F_END,
};

static const struct field disk_fields[] = {
	F_STR(struct conf_disk, path, .arg = "PATH", .help = "raw image or block device"),
	F_BOOL(struct conf_disk, ro, .help = "the guest cannot write it"),
	F_STR(struct conf_disk, serial, .arg = "TEXT", .help = "serial number the guest reads"),
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
	F_LIST(struct conf, disk, disks, disk_fields, .arg = "PATH[,ro][,serial=TEXT]",
	       .help = "virtio-blk disk over a raw image or block device"),
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
	char name[64];
	char *p = name;

	if (str_copy(name, sizeof(name), key))
		return err(-EINVAL, "%s: unknown key '%.64s...'", what, key);
	for (; *p; p++)
		if (*p == '-')
			*p = '_';
	return field_set(conf_fields, what, name, value, conf);
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
	for (unsigned i = 0; i < conf->initrds; i++)
		if (!conf->initrd[i].path[0])
			return err(-EINVAL, "initrd: a path is missing; write --initrd FILE");
	return 0;
}
