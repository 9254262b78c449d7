#!/bin/sh
# tests/bench/blk.sh [RUNS] [SECONDS]: fio on virtio-blk, hutch and QEMU's microvm in turns
#
# A raw image of 256 MiB in the host's page cache, io_uring on both sides, QEMU with an iothread. Rows are I/O
# operations a second (bandwidth in KiB/s for the sequential ones), medians of RUNS. The number behind each is
# hutch's rate over that VMM's: above 1 hutch is faster.
set -eu
cd "$(dirname "$0")/../.."
runs=${1:-3} seconds=${2:-3}
[ -e build/fio.cpio ] || tests/fio.sh "$PWD/build/fio.cpio"
. tests/bench/lib.sh.inc
in_testbed "$runs" "$seconds"
guest_files build/fio.cpio
truncate -s 256M "$tmp/disk"
dd if=/dev/urandom of="$tmp/disk" bs=1M count=256 conv=notrunc status=none

line=$(guest_line <<EOT
job() { # ROW FIELD FIO-OPTIONS...
	row=\$1 field=\$2
	shift 2
	fio --name=j --filename=/dev/vda --direct=1 --ioengine=libaio --time_based --ramp_time=1 --runtime=$seconds \
		--output-format=terse --terse-version=3 "\$@" | cut -d\; -f\$field | sed "s/^/figure \$row /"
}
job 4k-read-depth-1 8 --rw=randread --bs=4k --iodepth=1
job 4k-write-depth-1 49 --rw=randwrite --bs=4k --iodepth=1
job 4k-read-depth-32 8 --rw=randread --bs=4k --iodepth=32
job 4k-write-depth-32 49 --rw=randwrite --bs=4k --iodepth=32
job 128k-read-sequential 7 --rw=read --bs=128k --iodepth=4
job 128k-write-sequential 48 --rw=write --bs=128k --iodepth=4
EOT
)
qdisk="-object iothread,id=io -drive file=$tmp/disk,if=none,id=d,format=raw,aio=io_uring,cache=writeback"
for _ in $(seq "$runs"); do
	one hutch-mmio hutch --disk "$tmp/disk,engine=${engine:-auto}"
	one qemu-mmio qemu "" $qdisk -device virtio-blk-device,drive=d,iothread=io
	one hutch-pci hutch --transport pci --disk "$tmp/disk,engine=${engine:-auto}"
	one qemu-pci qemu ,pcie=on $qdisk -device virtio-blk-pci,drive=d,iothread=io
done
table hutch-mmio qemu-mmio
table hutch-pci qemu-pci
