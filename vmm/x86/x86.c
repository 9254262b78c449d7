/* x86.c - what the exits of KVM_RUN mean on x86 */
/* #syscalls ioctl:KVM_GET_REGS */
#include "bus.h"
#include "vm.h"

static void port_io(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	unsigned size = run->io.size;

	/* count is more than 1 for rep ins and rep outs */
	for (uint32_t i = 0; i < run->io.count; i++, data += size) {
		uint64_t val = 0;

		if (run->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&val, data, size);
			bus_write(&v->vm->bus, BUS_PORT, run->io.port, size, val);
		} else {
			val = bus_read(&v->vm->bus, BUS_PORT, run->io.port, size);
			memcpy(data, &val, size);
		}
	}
}

static void mmio(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	unsigned len = MIN(run->mmio.len, (uint32_t)sizeof(run->mmio.data));
	uint64_t val = 0;

	if (run->mmio.is_write) {
		memcpy(&val, run->mmio.data, len);
		bus_write(&v->vm->bus, BUS_MMIO, run->mmio.phys_addr, len, val);
	} else {
		val = bus_read(&v->vm->bus, BUS_MMIO, run->mmio.phys_addr, len);
		memcpy(run->mmio.data, &val, len);
	}
}

static void instruction_bytes(const struct kvm_run *run, char *buf, size_t size)
{
	unsigned n = 0;

	buf[0] = '\0';
	if (run->emulation_failure.ndata >= 3 &&
	    run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)
		n = MIN(run->emulation_failure.insn_size, 15U);
	for (unsigned i = 0; i < n && 3 * i + 4 < size; i++)
		snprintf(buf + 3 * i, size - 3 * i, " %02x", run->emulation_failure.insn_bytes[i]);
}

static void internal_error(struct vcpu *v)
{
	const struct kvm_run *run = v->run;
	struct kvm_regs regs = { .rip = 0 };
	char bytes[64];

	kvm_ioctl(v->fd, KVM_GET_REGS, &regs);
	if (run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION) {
		vm_event(v->vm, VM_ERROR, "KVM gave up on vCPU %u at rip %#llx: internal error %u",
			 v->id, regs.rip, run->internal.suberror);
		return;
	}
	instruction_bytes(run, bytes, sizeof(bytes));
	if (kvm_host_has_virtualization())
		vm_event(v->vm, VM_ERROR,
			 "KVM cannot emulate the guest's instruction at rip %#llx (bytes%s)",
			 regs.rip, bytes[0] ? bytes : " unknown");
	else
		vm_event(v->vm, VM_ERROR,
			 "this host's KVM has no hardware virtualization (no vmx or svm in "
			 "/proc/cpuinfo) and cannot emulate the guest's instruction at rip %#llx "
			 "(bytes%s); run on a machine that has it, or in the testbed: "
			 "tests/testbed -- hutch ...",
			 regs.rip, bytes[0] ? bytes : " unknown");
}

static void triple_fault(struct vcpu *v)
{
	struct kvm_regs regs = { .rip = 0 };

	kvm_ioctl(v->fd, KVM_GET_REGS, &regs);
	vm_event(v->vm, VM_TRIPLE_FAULT, "the guest died of a triple fault on vCPU %u at rip %#llx",
		 v->id, regs.rip);
}

void vcpu_exit(struct vcpu *v)
{
	switch (v->run->exit_reason) {
	case KVM_EXIT_IO:
		port_io(v);
		return;
	case KVM_EXIT_MMIO:
		mmio(v);
		return;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return;
	case KVM_EXIT_SHUTDOWN:
		triple_fault(v);
		return;
	case KVM_EXIT_SYSTEM_EVENT:
		vm_event(v->vm,
			 v->run->system_event.type == KVM_SYSTEM_EVENT_CRASH ? VM_PANIC : VM_REBOOT,
			 "the guest reported system event %u", v->run->system_event.type);
		return;
	case KVM_EXIT_INTERNAL_ERROR:
		internal_error(v);
		return;
	case KVM_EXIT_FAIL_ENTRY:
		vm_event(v->vm, VM_ERROR,
			 "the processor refuses to enter the guest on vCPU %u: reason %#llx", v->id,
			 (unsigned long long)v->run->fail_entry.hardware_entry_failure_reason);
		return;
	default:
		vm_event(v->vm, VM_ERROR, "vCPU %u left the guest for an unknown reason, %u", v->id,
			 v->run->exit_reason);
	}
}
