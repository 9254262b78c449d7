#!/bin/sh
# tests/bench/irq.sh: what an interrupt costs by KVM_SIGNAL_MSI and by an irqfd (tests/kvm/bench_irq.c)
set -eu
cd "$(dirname "$0")/../.."
B=${B:-build}
mkdir -p "$B/tests/kvm"
${CC:-gcc} -std=gnu11 -O2 -Wall -Wextra -Werror -D_GNU_SOURCE -pthread \
	-o "$B/tests/kvm/bench_irq" tests/kvm/bench_irq.c
exec "$B/tests/kvm/bench_irq"
