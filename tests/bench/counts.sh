#!/bin/sh
# tests/bench/counts.sh [REQUESTS]: what one request of virtio-blk costs, counted: exits and system calls
#
# 4 KiB random reads at depth 1 and 32, by fio in a Linux guest, of hutch and QEMU's microvm. For each request:
#   exits      of the vCPU for any reason, most of them handled in the kernel (a kick is one, a timer, a HLT)
#   to VMM     register accesses that left the kernel for the VMM
#   syscalls   of the whole VMM, by strace
# Unlike times these are nearly the same on every host and in the testbed.
set -eu
cd "$(dirname "$0")/../.."
requests=${1:-1000}
[ -e build/fio.cpio ] || tests/fio.sh "$PWD/build/fio.cpio"
. tests/bench/lib.sh.inc
in_testbed "$requests"
guest_files build/fio.cpio
dd if=/dev/zero of="$tmp/disk" bs=1M count=64 status=none
[ -d /sys/kernel/debug/kvm ] || mount -t debugfs debugfs /sys/kernel/debug

line=$(guest_line <<EOT
job() { # DEPTH
	fio --name=j --filename=/dev/vda --direct=1 --ioengine=libaio --number_ios=$requests --rw=randread --bs=4k \
		--iodepth=\$1 --output-format=terse >/dev/null
}
fio --version >/dev/null
for depth in 1 32; do
	echo mark-begin
	sleep 2 # strace attaches
	job \$depth
	echo mark-end-\$depth
	sleep 2
done
EOT
)

kvm_stats() {
	echo "$(cat /sys/kernel/debug/kvm/exits) $(cat /sys/kernel/debug/kvm/mmio_exits)"
}

# watch NAME PID-PATTERN: the console on stdin, counts at its marks
watch() {
	while read -r text; do
		case $text in
		mark-begin*)
			pid=$(pgrep -n -f "$2")
			strace -f -c -o "$tmp/strace" -p "$pid" 2>/dev/null &
			tracer=$!
			sleep 1
			before=$(kvm_stats)
			;;
		mark-end-*)
			after=$(kvm_stats)
			kill -INT $tracer
			wait $tracer || true
			depth=$(echo "$text" | tr -cd 0-9)
			calls=$(awk '/ total$/ { print $4 }' "$tmp/strace")
			echo "$before $after $calls" | awk -v n="$requests" -v vmm="$1" -v d="$depth" '{
				printf "%-12s depth %-3s %8.2f exits %8.2f to VMM %8.2f syscalls\n", vmm, d, ($3 - $1) / n, ($4 - $2) / n, $5 / n }'
			[ -z "${HUTCH_VERBOSE:-}" ] || cat "$tmp/strace"
			;;
		esac
	done
}

qdisk="-object iothread,id=io -drive file=$tmp/disk,if=none,id=d,format=raw,aio=io_uring,cache=writeback"
hutch --disk "$tmp/disk" </dev/null 2>&1 | watch hutch-mmio 'hutch boot'
qemu "" $qdisk -device virtio-blk-device,drive=d,iothread=io </dev/null 2>&1 | watch qemu-mmio 'qemu-system.* microvm'
hutch --transport pci --disk "$tmp/disk" </dev/null 2>&1 | watch hutch-pci 'hutch boot'
qemu ,pcie=on $qdisk -device virtio-blk-pci,drive=d,iothread=io </dev/null 2>&1 | watch qemu-pci 'qemu-system.* microvm'
