/* msr.h - model-specific registers: which survive, and how they start (layer 4) */
#ifndef HUTCH_MSR_H
#define HUTCH_MSR_H

#include "kvm.h"

int msr_firmware_defaults(int vcpu) must_check;

/* an array of struct kvm_msr_entry as bytes: -errno, -E2BIG with a message */
int msr_get(const struct kvm *kvm, int vcpu, void *buf, size_t size, uint32_t *ret_len) must_check;
int msr_set(int vcpu, const void *buf, uint32_t len) must_check;

#endif
