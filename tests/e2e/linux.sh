#!/bin/sh
# tests/e2e/linux.sh [GROUP...]: Debian's kernels boot to a shell, by every protocol, on machines of many shapes.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh.inc
elf="--kernel build/guest/vmlinux --initrd build/guest/initrd"

# the guest that waits for it goes back to a snapshot of it, and so is another one
another_generation() {
	for _ in $(seq 2000); do
		tr -d '\r' <"$tmp/raw" 2>/dev/null | grep -qx 'one generation' && break
		sleep 0.1
	done
	$hutch snapshot "e2e-generic.$$" "$tmp/generic.snap" >/dev/null &&
		$hutch rollback "e2e-generic.$$" "$tmp/generic.snap" >/dev/null
}

protocols() {
	boot bzimage 0 $cloud --boot bzimage <<-EOT && has "cloud bzImage, unpacked by the guest" cloud-amd64 'hutch-exit=0'
		uname -r
	EOT
	boot auto 0 $cloud --cpus 2 <<-EOT && has "cloud bzImage, unpacked by hutch, 2 CPUs" '^cpus 2$' 'hutch-exit=0'
		echo cpus \$(nproc)
	EOT
	boot elf 0 $elf --boot elf <<-EOT && has "cloud ELF, 64-bit entry" 'hutch-exit=0'
		uname -r
	EOT
	boot pvh 0 $elf --boot pvh --cpus 4 <<-EOT && has "cloud ELF, PVH, 4 CPUs" '^cpus 4$' 'hutch-exit=0'
		echo cpus \$(nproc)
	EOT
	another_generation &
	boot generic 0 --kernel build/guest-generic/vmlinuz --initrd build/guest-generic/initrd --boot bzimage \
		--name "e2e-generic.$$" <<-EOT &&
		uname -r
		ls /sys/bus/acpi/drivers/vmgenid
		echo one generation
		for i in \$(seq 300); do dmesg | grep 'virtual machine fork' && break; sleep 0.1; done
	EOT
		has "generic bzImage, which minds its generation id" '^6.*[0-9]-amd64$' '^HTCH0001:00' \
			'crng reseeded due to virtual machine fork' 'hutch-exit=0'
	wait
	if [ -e build/guest-kernel/vmlinux ]; then
		boot small 0 --kernel build/guest-kernel/vmlinux --initrd build/guest/initrd --memory 64M <<-EOT &&
			dmesg | grep e820
		EOT
			has "small kernel, 64 MiB" 'mem 0x0000000000100000-0x0000000003ffffff] usable' 'hutch-exit=0'
	else
		echo "skip small kernel: not built (make guest-kernel)"
	fi
}

# every byte is reported, on both sides of the hole, and no ACPI complaint stands in the log; 64 MiB are for
# the small kernel (protocols, above): Debian's needs 48 MiB for itself and dies in the rest
memory() {
	for m in 96M 512M 3G 6G; do
		case $m in
		96M) low=0x0000000005ffffff high= ;;
		512M) low=0x000000001fffffff high= ;;
		3G) low=0x000000007fffffff high=0x000000013fffffff ;;
		6G) low=0x000000007fffffff high=0x00000001ffffffff ;;
		esac
		boot "memory $m" 0 $cloud --memory $m <<-EOT || continue
			dmesg | grep BIOS-e820
			dmesg -r | grep -iE '^<[0-4]>.*acpi' && echo complaint
			dd if=/dev/zero of=/x bs=1M count=4 2>/dev/null && rm /x
		EOT
		if grep -q '^complaint' "$tmp/out"; then
			bad "memory $m" "the kernel complains about ACPI"
		elif [ -n "$high" ]; then
			has "memory $m" "mem 0x0000000000100000-$low] usable" "mem 0x0000000100000000-$high] usable" hutch-exit=
		else
			has "memory $m" "mem 0x0000000000100000-$low] usable" hutch-exit=
		fi
	done
}

# an ext4 root is mounted read-write, written, left clean
disks() {
	for bus in mmio pci; do
		truncate -s 96M "$tmp/root.img"
		mkfs.ext4 -q -F "$tmp/root.img" || return
		truncate -s 1M "$tmp/ro.img"
		boot "ext4 over $bus" 0 $cloud --transport $bus --cpus 2 --disk "$tmp/root.img,serial=root-disk" \
			--disk "$tmp/ro.img,ro" <<-EOT || continue
			set -e
			mkdir /m
			mount -t ext4 /dev/vda /m
			dd if=/dev/urandom of=/m/data bs=64k count=512 2>/dev/null
			sha256sum /m/data | cut -d' ' -f1 >/m/sum
			sync
			echo serial \$(cat /sys/block/vda/serial) ro \$(cat /sys/block/vdb/ro)
			umount /m
			mount -t ext4 /dev/vda /m
			echo 3 >/proc/sys/vm/drop_caches
			[ "\$(sha256sum /m/data | cut -d' ' -f1)" = "\$(cat /m/sum)" ] && echo same
			umount /m
			if dd if=/dev/zero of=/dev/vdb count=1 2>/dev/null; then echo written; fi
			dmesg -r | grep -iE '^<[0-4]>.*acpi' && echo complaint
			grep -c virtio /proc/interrupts
		EOT
		if ! e2fsck -fn "$tmp/root.img" >"$tmp/fsck" 2>&1; then
			cat "$tmp/fsck" >&2
			bad "ext4 over $bus" "e2fsck finds faults"
		elif grep -qE '^(written|complaint)' "$tmp/out"; then
			bad "ext4 over $bus" "$(grep -E '^(written|complaint)' "$tmp/out")"
		else
			has "ext4 over $bus" '^serial root-disk ro 1$' '^same$' 'hutch-exit='
		fi
	done
}

# a machine whose root is an ext4 disk: written, powered off cleanly
root_disk() {
	busybox=$(ls build/packages/busybox-static/bin/busybox build/packages/busybox-static/usr/bin/busybox 2>/dev/null | head -n 1)
	mkdir -p "$tmp/root/sbin" "$tmp/root/bin" "$tmp/root/proc" "$tmp/root/dev" "$tmp/over"
	cp "$busybox" "$tmp/root/bin/busybox"
	cat >"$tmp/root/sbin/init" <<-EOT
		#!/bin/busybox sh
		/bin/busybox mount -t proc proc /proc
		/bin/busybox grep ' / ' /proc/mounts | /bin/busybox tail -n 1
		/bin/busybox seq 200000 >/numbers && echo written
		/bin/busybox mount -o remount,ro /
		/bin/busybox poweroff -f
	EOT
	cat >"$tmp/over/init" <<-EOT
		#!/bin/busybox sh
		/bin/busybox mount -t proc proc /proc
		/bin/busybox mount -t sysfs sys /sys
		/bin/busybox mount -t devtmpfs dev /dev
		/bin/busybox modprobe -a virtio_mmio virtio_blk ext4
		/bin/busybox mkdir /r
		/bin/busybox mount -t ext4 /dev/vda /r
		exec /bin/busybox switch_root /r /sbin/init
	EOT
	chmod +x "$tmp/root/sbin/init" "$tmp/over/init"
	(cd "$tmp/over" && echo init | cpio -o -H newc --quiet) >"$tmp/over.cpio"
	truncate -s 64M "$tmp/rootfs.img"
	mkfs.ext4 -q -F -d "$tmp/root" "$tmp/rootfs.img" || return
	boot "ext4 root" 0 $cloud --initrd "$tmp/over.cpio" --disk "$tmp/rootfs.img" --append "console=ttyS0 quiet" </dev/null || return
	if ! e2fsck -fn "$tmp/rootfs.img" >"$tmp/fsck" 2>&1; then
		cat "$tmp/fsck" >&2
		bad "ext4 root" "e2fsck finds faults"
	elif [ "$(debugfs -R 'cat /numbers' "$tmp/rootfs.img" 2>/dev/null | tail -n 1)" != 200000 ]; then
		bad "ext4 root" "what was written is not there"
	else
		has "ext4 root, written and clean" '/dev/vda / ext4 rw' '^written$'
	fi
}

# ends: panic, reboot, reset in place, a second initrd
ends() {
	boot panic 3 $cloud <<-EOT && { grep -q 'hutch: the guest.s kernel panicked: sysrq triggered crash' "$tmp/err" &&
		echo c >/proc/sysrq-trigger
	EOT
		echo "ok panic" || bad panic "no sentence about it"; }
	boot noroot 3 --kernel build/guest/vmlinuz --append "console=ttyS0 quiet root=/dev/none" </dev/null && {
		grep -q 'kernel panicked: VFS: Unable to mount root fs' "$tmp/err" && echo "ok panic without a root" ||
			bad "panic without a root" "no sentence about it"; }
	boot reboot 0 $cloud <<-EOT && { grep -q 'the guest rebooted' "$tmp/err" && echo "ok reboot ends the machine" ||
		reboot -f
	EOT
		bad reboot "no sentence about it"; }
	truncate -s 1M "$tmp/count.img"
	boot reset 0 $cloud --cpus 2 --on-reboot reset --disk "$tmp/count.img" <<-EOT && has "reset in place" '^boot 3$'
		n=\$(dd if=/dev/vda bs=1 count=1 2>/dev/null | tr -d '\\0')
		n=\$((\${n:-0} + 1))
		echo boot \$n
		printf %s \$n | dd of=/dev/vda conv=notrunc 2>/dev/null
		sync
		[ \$n -ge 3 ] || reboot -f
	EOT
	mkdir -p "$tmp/tree"
	echo 'echo from the second initrd' >"$tmp/tree/cmd"
	(cd "$tmp/tree" && echo cmd | cpio -o -H newc --quiet) >"$tmp/second.cpio"
	boot initrds 0 $cloud --initrd "$tmp/second.cpio" --append "console=ttyS0 quiet" </dev/null &&
		has "second initrd" '^from the second initrd$' 'hutch-exit=0'
}

# a running machine shows its tree, and goes on
inspect() {
	$hutch boot $cloud --name e2e-inspect --append "console=ttyS0 quiet hutch.sh=$(printf 'sleep 4; echo done' | base64 -w0)" \
		>"$tmp/raw" 2>"$tmp/err" </dev/null &
	pid=$!
	while kill -0 $pid 2>/dev/null; do
		sleep 1
		$hutch inspect e2e-inspect --json >"$tmp/new.json" 2>/dev/null && mv "$tmp/new.json" "$tmp/tree.json"
		$hutch inspect e2e-inspect --blob >"$tmp/new.dtb" 2>/dev/null && mv "$tmp/new.dtb" "$tmp/tree.dtb"
	done
	wait $pid
	status=$?
	tr -d '\r' <"$tmp/raw" >"$tmp/out"
	if [ $status != 0 ]; then
		bad inspect "the machine ended with $status"
	elif ! grep -q '"config":' "$tmp/tree.json" || ! fdtdump "$tmp/tree.dtb" 2>/dev/null | grep -q 'cpu@0'; then
		bad inspect "no tree"
	else
		has "inspect a running guest" '^done$'
	fi
}

prepare() {
	firmware/guest.sh --kernel generic build/guest-generic || { echo "not ok prepare the generic guest"; exit 1; }
}

run_groups "protocols memory disks root_disk ends inspect" "$@"
