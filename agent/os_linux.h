/* os_linux.h - between the files that are the operating system's part on Linux */
#ifndef HUTCH_OS_LINUX_H
#define HUTCH_OS_LINUX_H

#include "agent.h"

/* a small file of /proc, /sys or /etc: 0, or -1 with errno; a read one ends in a NUL */
int file_write(int dir, const char *path, const char *text);
int file_read(int dir, const char *path, char *ret, size_t size);
uint64_t clock_ns(int clock);

/* --- modules_linux.c --- */

/* -1 for a kernel that has none, or whose modules are not here */
int modules_open(void);
/* the module and all it needs; no effect on what is loaded, built in or unknown */
void module_load(const struct os *os, const char *name);
/* the drivers that lead to the machine's virtio devices, as far as they are modules */
void modules_transport(const struct os *os);
/* the drivers of all devices that are there */
void modules_devices(const struct os *os);

/* --- cgroup_linux.c --- */

int work_open(void); /* makes it; or -1 */
int work_limit_pids(const struct os *os, uint64_t most, struct why *why);

/* --- root_linux.c: 0, or -1 with *@why --- */

/* process 1 only: the setup's root becomes the root of all */
int root_switch(struct os *os, const struct setup *setup, struct why *why);
int root_mount(const struct os *os, const struct setup_mount *m, struct why *why);
void root_read_only(void); /* all that is on a disk */

/* --- net_linux.c, dhcp_linux.c: 0, or -1 with *@why --- */

#define NET_NAMES 4

/* what an interface is to have; addresses in network order, 0 for none */
struct net {
	char dev[16], host[64], domain[128];
	uint32_t address, mask, router, dns[NET_NAMES];
	unsigned dnss, mtu;
	bool dhcp;
};

/* the text of TAG_NET */
int net_parse(const char *text, struct net *ret, struct why *why);
int net_setup(const struct os *os, const struct setup *setup, struct why *why);
int net_lo(void); /* -errno */
int net_apply(const struct net *net, struct why *why);
void net_names(const struct net *net);

struct dhcp {
	int fd, index;
	uint8_t mac[6];
	uint32_t xid, server, lease;
};

/* the type of an answer that is for us, with what it says in @net; 0 for any other packet */
int dhcp_take(struct dhcp *c, struct net *net, const uint8_t *data, size_t len);
/* asks for an address, takes it, and leaves a process that keeps it */
int dhcp(struct net *net, struct why *why);

#endif
