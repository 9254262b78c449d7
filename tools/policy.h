/*
 * policy.h - what a level begins with, and what a policy forbids (layer 6)
 *
 * A policy is a file of the configuration's own keys (YAML, JSON, or TOML if its name ends in
 * .toml), and a ceiling: whatever
 * asks for more is refused, and what nobody asked for is held to it.  What
 * applies are the files in POLICY_D ($HUTCH_POLICY_D, for tests), in the order of
 * their names, and then each --policy.
 *
 *	memory cpus cpu_percent pids layer timeout cpu_time idle_timeout
 *	boot_timeout stdout_max stderr_max copy_max
 *				at most this; where 0 means no limit, 0 is too much
 *	fuel			the same, and in the policy's unit
 *	level on_violation	at least as strict; a policy that is silent on
 *				on_violation has its limits kill
 *	on_timeout on_cpu_time on_idle_timeout on_fuel
 *				the same for one limit; silence means on_violation's
 *	net			the cards that are allowed: none, user, tap, tap=NAME
 */
#ifndef HUTCH_POLICY_H
#define HUTCH_POLICY_H

#include "image_sha256.h"
#include "tool.h"

#define POLICY_D "/etc/hutch/policy.d"

struct policy {
	char level[16];
	char sha256[SHA256_HEX]; /* of the files' bytes, one after the other; "" without any */
};

/*
 * policy_apply() - to @h, which has its files and flags: the policies and the level's defaults
 *
 * @stays: a person at a terminal or a detached command is there for as long as it likes, and what
 * a level limits of time and output by default is not for it; a policy's limits are.
 * @files is what --policy gave.  0, or an exit status after a complaint:
 * E_POLICY for a policy that is none or cannot be read, and for what one forbids.  Where the log is
 * JSON, that is an event of it too: a warning, "event":"security.policy" with key, value, origin,
 * most and policy, as far as there are.
 */
int policy_apply(struct policy *p, struct hutch *h, const struct given *files, bool stays);

/*
 * policy_restored() - does a snapshot's machine, which @h has now, keep to the policies?
 *
 * Nothing of it can be held down, because its guest knows what it has: E_POLICY.  @files may be
 * NULL.
 */
int policy_restored(struct hutch *h, const struct given *files);

#endif
