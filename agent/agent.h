/*
 * agent.h - between the parts of the agent: sessions, commands, files, the operating system
 *
 * What differs between operating systems is in os_*.c and exec_*.c alone.
 */
#ifndef HUTCH_AGENT_H
#define HUTCH_AGENT_H

#include "proto.h"

/* --- os_*.c: this guest as a whole --- */

/* why a request failed, for a person */
struct why {
	enum proto_error code;
	int error; /* errno, or 0 */
	char text[256];
};

/* returns -1 */
int refuse(struct why *why, enum proto_error code, int error, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* what SETUP asks for; texts are NULL and numbers 0 where it says nothing */
struct setup_mount {
	char *device, *type, *target, *options;
};

#define SETUP_MOUNTS 16
#define SETUP_DNS    4

struct setup {
	char *hostname, *root, *root_type, *net, *id;
	char *dns[SETUP_DNS];
	unsigned dnss;
	uint64_t root_flags, layer_size, time_ns, pids_max;
	const uint8_t *entropy;
	size_t entropy_len;
	struct setup_mount mount[SETUP_MOUNTS];
	unsigned mounts;
};

/* as process 1: make this guest fit to run things, and vsock to be there; failures go to the
 * console */
void os_boot(void);
int os_setup(const struct setup *setup, struct why *why); /* 0, or -1 with *@why */
void os_poweroff(void); /* does not return; nothing is left to be written */

#endif
