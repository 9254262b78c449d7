#!/bin/sh
# tests/e2e/disk.sh [GROUP...]: a file system of a real guest under load, on every kind of disk there is
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh.inc
limit=300

prepare() {
	command -v fio >/dev/null || { echo "skip disk: fio is not installed"; exit 0; }
	[ -e build/fio.cpio ] || tests/fio.sh "$PWD/build/fio.cpio" || { echo "not ok prepare fio"; exit 1; }
}

# fio writes with checksums, reads back, flushes; the image is clean afterwards
verify() { # NAME DISK FLAGS...
	name=$1 disk=$2
	shift 2
	boot "$name" 0 $cloud --initrd build/fio.cpio --disk "$disk" "$@" <<-EOT || return
		mkdir /m
		mount -t ext4 -o discard /dev/vda /m || exit 1
		fio --name=v --directory=/m --size=8m --rw=randwrite --bsrange=512-64k --verify=crc32c --do_verify=1 \
			--verify_fatal=1 --ioengine=libaio --iodepth=16 --direct=1 --fsync=32 --output-format=terse >/dev/null &&
			echo verified
		umount /m && echo unmounted
	EOT
	has "$name" '^verified$' '^unmounted$' 'hutch-exit=0'
}

new_image() {
	truncate -s 64M "$tmp/disk.img"
	mkfs.ext4 -q -F "$tmp/disk.img"
}

clean() { # NAME IMAGE
	if e2fsck -fn "$2" >"$tmp/fsck" 2>&1; then echo "ok $1, clean"; else
		cat "$tmp/fsck" >&2
		echo "not ok $1: e2fsck finds faults"
	fi
}

raw() {
	for bus in mmio pci; do
		new_image
		verify "fio verify over $bus, io_uring" "$tmp/disk.img,engine=uring,discard,queues=2" --transport $bus --cpus 2
		clean "fio verify over $bus" "$tmp/disk.img"
	done
	new_image
	verify "fio verify, worker threads" "$tmp/disk.img,engine=threads"
	clean "fio verify, worker threads" "$tmp/disk.img"
}

# the base is not touched, the overlay has it all; a second machine on the same base sees nothing of it
overlay() {
	new_image
	before=$(sha256sum <"$tmp/disk.img")
	verify "fio verify on an overlay" "$tmp/disk.img,overlay=$tmp/over"
	boot "overlay again" 0 $cloud --disk "$tmp/disk.img,overlay=$tmp/over" <<-EOT &&
		mkdir /m
		mount -t ext4 /dev/vda /m && ls -l /m/v.0.0
		umount /m
	EOT
		has "what an overlay holds is there again" '8388608 .*/m/v.0.0'
	boot "same base" 0 $cloud --disk "$tmp/disk.img,format=cow" <<-EOT &&
		mkdir /m
		mount -t ext4 /dev/vda /m && ls -l /m && echo x >/m/mine && sync && cat /m/mine
		umount /m
	EOT
		{ if grep -q 'v\.0\.0' "$tmp/out"; then bad "same base" "sees the other's file"; else
			has "a base shared with a private overlay" '^x$'; fi; }
	if [ "$(sha256sum <"$tmp/disk.img")" = "$before" ]; then echo "ok the base is as it was"; else echo "not ok the base was changed"; fi
}

# fstrim gives the file's space back
discard() {
	new_image
	boot discard 0 $cloud --disk "$tmp/disk.img,discard" <<-EOT || return
		mkdir /m
		mount -t ext4 /dev/vda /m
		dd if=/dev/urandom of=/m/big bs=1M count=32 2>/dev/null && sync && rm /m/big && sync
		fstrim -v /m && echo trimmed
		umount /m
	EOT
	used=$(($(stat -c %b "$tmp/disk.img") / 2))
	if [ $used -lt 16384 ]; then has "discard shrinks the file (to $used KiB)" '^trimmed$'; else bad discard "the file still has $used KiB"; fi
	clean discard "$tmp/disk.img"
}

run_groups "raw overlay discard" "$@"
