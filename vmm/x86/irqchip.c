/* #syscalls ioctl:KVM_GET_IRQCHIP ioctl:KVM_GET_PIT2 ioctl:KVM_GET_CLOCK */
/* #syscalls ioctl:KVM_SET_IRQCHIP ioctl:KVM_SET_PIT2 ioctl:KVM_SET_CLOCK */
#include "irqchip.h"

const struct field irqchip_fields[] = {
	F_BYTES(struct irqchip_state, pic_master), F_BYTES(struct irqchip_state, pic_slave),
	F_BYTES(struct irqchip_state, ioapic),	   F_BYTES(struct irqchip_state, pit),
	F_UINT(struct irqchip_state, clock),	   F_END,
};

struct part {
	uint32_t id;
	size_t off, size;
};

#define PART(id, field)                                           \
	{                                                         \
		id, offsetof(struct irqchip_state, field),        \
			sizeof_field(struct irqchip_state, field) \
	}

static const struct part parts[] = {
	PART(KVM_IRQCHIP_PIC_MASTER, pic_master),
	PART(KVM_IRQCHIP_PIC_SLAVE, pic_slave),
	PART(KVM_IRQCHIP_IOAPIC, ioapic),
};

int irqchip_get(const struct kvm *kvm, struct irqchip_state *ret)
{
	struct kvm_clock_data clock = { .clock = 0 };
	int r;

	memset(ret, 0, sizeof(*ret));
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		struct kvm_irqchip chip = { .chip_id = parts[i].id };

		r = kvm_ioctl(kvm->vm, KVM_GET_IRQCHIP, &chip);
		if (r)
			return err(r, "KVM_GET_IRQCHIP %u: %s", parts[i].id, strerror(-r));
		memcpy((char *)ret + parts[i].off, &chip.chip, parts[i].size);
	}
	r = kvm->pit ? kvm_ioctl(kvm->vm, KVM_GET_PIT2, ret->pit) : 0;
	if (r)
		return err(r, "KVM_GET_PIT2: %s", strerror(-r));
	r = kvm_ioctl(kvm->vm, KVM_GET_CLOCK, &clock);
	if (r)
		return err(r, "KVM_GET_CLOCK: %s", strerror(-r));
	ret->clock = clock.clock;
	return 0;
}

int irqchip_set(const struct kvm *kvm, const struct irqchip_state *state)
{
	/* no flags: with KVM_CLOCK_REALTIME the guest's monotonic time would jump */
	struct kvm_clock_data clock = { .clock = state->clock };
	uint8_t pit[sizeof(state->pit)];
	int r;

	memcpy(pit, state->pit, sizeof(pit));
	r = kvm->pit ? kvm_ioctl(kvm->vm, KVM_SET_PIT2, pit) : 0;
	if (r)
		return err(r, "KVM_SET_PIT2: %s", strerror(-r));
	r = kvm_ioctl(kvm->vm, KVM_SET_CLOCK, &clock);
	if (r)
		return err(r, "KVM_SET_CLOCK: %s", strerror(-r));
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		struct kvm_irqchip chip = { .chip_id = parts[i].id };

		memcpy(&chip.chip, (const char *)state + parts[i].off, parts[i].size);
		r = kvm_ioctl(kvm->vm, KVM_SET_IRQCHIP, &chip);
		if (r)
			return err(r, "KVM_SET_IRQCHIP %u: %s", parts[i].id, strerror(-r));
	}
	return 0;
}
