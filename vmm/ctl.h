/*
 * ctl.h - the control socket of a running machine (layer 4)
 *
 * One request a connection: "VERB\n" or "VERB ARGUMENTS\n".  The answer is "ok LENGTH\n" and that
 * many bytes, or "error SENTENCE\n".  Verbs stand in the table of ctl.c.  The
 * socket's file is the owner's alone, and goes with the machine.
 */
#ifndef HUTCH_CTL_H
#define HUTCH_CTL_H

#include "snap.h"
#include "vm.h"

/*
 * ctl_run() - do what a request says, on the loop; @request is cut into words
 *
 * Bytes of *@ret, to be freed, or -errno with a message; an unknown verb is
 * answered with the nearest.  -EINPROGRESS: @who is told later.
 */
int ctl_run(struct vm *vm, char *request, int fd, const struct asker *who, void **ret);

struct ctl;

struct ctl *ctl_new(struct loop *loop, const char *path, struct vm *vm); /* NULL with a message */
void ctl_free(struct ctl *ctl);

#endif
