/* vm_build.h - making and unmaking the machine of vm.h; for vmm/ only (layer 4) */
#ifndef HUTCH_VM_BUILD_H
#define HUTCH_VM_BUILD_H

#include "vm.h"

void vm_on_event(void *arg);	/* on the loop: act on vm->event */
void vm_unbuild(struct vm *vm); /* no vCPU thread is left */

/* what the tables say and where devices are, from the configuration alone: -EINVAL */
int vm_board(const struct conf *conf, struct board *ret) must_check;

#endif
