/*
 * sandbox.h - the last stage of the jail: what this process gives up before a guest runs (layer 4)
 *
 * Whatever surrounds the process (namespaces, cgroups, a chroot) is made before
 * it; this is what is left for the process to do, when all it needs is open.
 */
#ifndef HUTCH_SANDBOX_H
#define HUTCH_SANDBOX_H

#include <stdbool.h>

struct sandbox {
	bool must; /* a layer this host lacks is an error; else a warning, and the rest is done */
};

/*
 * sandbox_enter() - no core files, no capabilities, no new privileges, and only the system calls
 * of a process with a running machine, for all threads of this process and for good
 *
 * The capabilities of threads that run already stay as they are: the kernel
 * lets a thread drop only its own.  What is not allowed ends the process with
 * status 125 and a line on the log; it takes over SIGSYS for that.
 * -EPERM: capabilities that cannot be dropped.  -EBUSY, with @what->must: a
 * thread has a filter of its own.  -ENOTSUP, with @what->must: a layer is missing.
 */
int sandbox_enter(const struct sandbox *what) __attribute__((warn_unused_result));

/*
 * sandbox_narrow() - no more than what a machine itself needs, for this thread and those it starts
 *
 * What the caller of hutch_start() may do besides, above all to open files,
 * those cannot.  Does nothing where this process is not in it; -errno.
 */
int sandbox_narrow(void) __attribute__((warn_unused_result));

/* is this process in it already? */
bool sandbox_is_in(void);

#endif
