/* sandbox_arch.h - what the jail has to know of this architecture (layer 4) */
#ifndef HUTCH_SANDBOX_ARCH_H
#define HUTCH_SANDBOX_ARCH_H

#include <linux/audit.h>
#include <stdint.h>
#include <ucontext.h>

#define SANDBOX_ARCH AUDIT_ARCH_X86_64

/* the first three arguments of the system call that SIGSYS came from */
static inline void sandbox_args(const ucontext_t *uc, uint64_t ret[3])
{
	ret[0] = (uint64_t)uc->uc_mcontext.gregs[REG_RDI];
	ret[1] = (uint64_t)uc->uc_mcontext.gregs[REG_RSI];
	ret[2] = (uint64_t)uc->uc_mcontext.gregs[REG_RDX];
}

#endif
