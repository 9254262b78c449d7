/* os_linux.h - between the files that are the operating system's part on Linux */
#ifndef HUTCH_OS_LINUX_H
#define HUTCH_OS_LINUX_H

#include <limits.h>

#include "agent.h"

uint64_t clock_ns(int clock);

/* --- file_linux.c: -1 with errno, EINVAL for what is no file of that kind --- */

int file_open(int dir, const char *path, int flags); /* a regular one, as those of /proc are */
int file_null(int flags);			     /* /dev/null */
/* a small one of /proc, /sys or /etc: 0; a read one ends in a NUL */
int file_write(int dir, const char *path, const char *text);
int file_read(int dir, const char *path, char *ret, size_t size);
/* the first @most bytes, to free(), with a NUL behind them; or NULL */
char *file_text(int dir, const char *path, size_t most);

/* --- user_linux.c --- */

#define USER_GROUPS 64

struct user {
	uid_t uid;
	gid_t gid;
	char name[64], home[PATH_MAX]; /* for the environment */
	int groups;
	gid_t group[USER_GROUPS];
};

/* "NAME", "UID", either with ":GROUP", by the files passwd and group in @etc: 0, or -1 with *@why
 */
int user_find(int etc, const char *text, struct user *ret, struct why *why);

/* --- modules_linux.c --- */

/* -1 for a kernel that has none, or whose modules are not here */
int modules_open(void);
/* the module and all it needs; no effect on what is loaded, built in or unknown */
void module_load(const struct os *os, const char *name);
/* the drivers that lead to the machine's virtio devices, as far as they are modules */
void modules_transport(const struct os *os);
/* the drivers of all devices that are there */
void modules_devices(const struct os *os);
/* and of disks alone, which are there when this returns */
void modules_disks(const struct os *os);

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
int net_setup(struct os *os, const struct setup *setup, struct why *why);
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
/* asks for an address, takes it, and leaves a process that keeps it: *@keeper, instead of that one
 */
int dhcp(struct net *net, pid_t *keeper, struct why *why);

/* --- identity_linux.c --- */

/* this guest is not the only one with its past: ids that a system has once, as far as it has them
 * and they can be written, are drawn anew */
void identity_renew(void);

#endif
