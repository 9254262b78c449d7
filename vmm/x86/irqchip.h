/* irqchip.h - the VM's state in KVM outside the vCPUs:
 * interrupt controllers, timer, clock (layer 4) */
#ifndef HUTCH_IRQCHIP_H
#define HUTCH_IRQCHIP_H

#include "field.h"
#include "kvm.h"

struct irqchip_state {
	uint8_t pic_master[sizeof(struct kvm_pic_state)];
	uint8_t pic_slave[sizeof(struct kvm_pic_state)];
	uint8_t ioapic[sizeof(struct kvm_ioapic_state)];
	uint8_t pit[sizeof(struct kvm_pit_state2)]; /* zero without a PIT */
	uint64_t clock;				    /* kvmclock, ns */
};

extern const struct field irqchip_fields[];

int irqchip_get(const struct kvm *kvm, struct irqchip_state *ret) must_check;
int irqchip_set(const struct kvm *kvm, const struct irqchip_state *state) must_check;

#endif
