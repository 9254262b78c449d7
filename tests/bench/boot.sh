#!/bin/sh
# tests/bench/boot.sh [RUNS]: a Linux guest from exec to power-off, by hutch and by QEMU's microvm, in turns
#
# Same host, kernel and initramfs; each starts, runs `true` as its only work and powers off. Medians of wall
# time in ms, and the ratio to the first row. In the testbed the absolute figures mean nothing, the ratios do.
set -eu
cd "$(dirname "$0")/../.."
runs=${1:-5}
if [ "${HUTCH_BENCH:-}" != inside ] && ! { grep -qE ' (vmx|svm)' /proc/cpuinfo && [ -w /dev/kvm ]; }; then
	HUTCH_BENCH=inside exec tests/testbed --timeout 1800 -- "$0" "$runs"
fi
guest=build/guest
line="console=ttyS0 quiet panic=-1 hutch.sh=$(echo true | base64 -w0)"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cp $guest/vmlinuz $guest/vmlinux $guest/initrd "$tmp" # so that no first read counts

hutch() {
	build/hutch boot --memory 512M --initrd "$tmp/initrd" --append "$line" "$@"
}

qemu() {
	qemu-system-x86_64 -accel kvm -cpu host -m 512 -nodefaults -display none -serial stdio -no-reboot \
		-kernel "$tmp/vmlinuz" -initrd "$tmp/initrd" -append "$line" "$@"
}

one() { # NAME COMMAND...
	name=$1
	shift
	start=$(date +%s%N)
	timeout 120 sh -c : # the same fork for all
	"$@" </dev/null >"$tmp/out" 2>&1 || { echo "boot.sh: $name failed:"; tail -n 5 "$tmp/out"; exit 1; }
	echo $((($(date +%s%N) - start) / 1000000)) >>"$tmp/ms.$name"
}

for _ in $(seq "$runs"); do
	one 1-hutch-mmio hutch --kernel "$tmp/vmlinuz"
	one 2-hutch-pci hutch --kernel "$tmp/vmlinuz" --transport pci
	one 3-hutch-bzimage hutch --kernel "$tmp/vmlinuz" --boot bzimage
	one 4-hutch-vmlinux hutch --kernel "$tmp/vmlinux"
	one 5-qemu-microvm qemu -M microvm,acpi=on,rtc=on,pit=off,pic=off,isa-serial=on
	one 6-qemu-q35 qemu -M q35
done
base=
for f in "$tmp"/ms.*; do
	median=$(sort -n "$f" | sed -n "$(((runs + 1) / 2))p")
	[ -n "$base" ] || base=$median
	printf '%-16s %6d ms  %s\n' "${f##*ms.[0-9]-}" "$median" "$(echo "$median $base" | awk '{ printf "%.2f", $1 / $2 }')"
done
