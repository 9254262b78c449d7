#!/bin/sh
# make demo: from a fresh Debian 12 to a guest that talks. Installs what is missing (as root or with sudo),
# builds hutch, prepares the default guest and boots it: on this machine's KVM where that can run Linux,
# inside the testbed (tests/testbed) where it cannot.
set -eu
cd "$(dirname "$0")/.."

packages="gcc libc6-dev libfdt-dev zlib1g-dev liblzma-dev libyaml-dev"
guest_packages="xz-utils cpio kmod e2fsprogs"
testbed_packages="qemu-system-x86"

can_run_linux() {
	grep -qE ' (vmx|svm)' /proc/cpuinfo && [ -r /dev/kvm ] && [ -w /dev/kvm ]
}

missing() {
	for p; do
		dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q '^install ok installed' || echo "$p"
	done
}

install() {
	want=$(missing "$@")
	[ -n "$want" ] || return 0
	sudo=
	if [ "$(id -u)" != 0 ]; then
		sudo=sudo
		command -v sudo >/dev/null || {
			echo "demo: these packages are missing and you are not root: $(echo $want)" >&2
			exit 1
		}
	fi
	echo "demo: installing $(echo $want)"
	$sudo apt-get update -qq
	DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $want >/dev/null
}

if can_run_linux; then
	install $packages $guest_packages
	run=
else
	install $packages $guest_packages $testbed_packages
	run="tests/testbed --"
fi
make --no-print-directory -s all
firmware/guest.sh build/guest
if [ -z "$run" ]; then
	echo "demo: this machine's KVM runs Linux: the guest runs on it"
else
	echo "demo: this machine's KVM cannot run Linux: the same hutch runs in the testbed, an emulated one"
fi

script='echo; echo "Hello from a microVM. My disk is /dev/vda on $(basename $(readlink -f /sys/block/vda/device)), and this is what I keep on it:"
mkdir /m; mount -t ext4 /dev/vda /m && echo "written by the guest" >/m/note && cat /m/note && umount /m
echo "Good-bye."'
disk=build/demo.img
rm -f $disk
truncate -s 32M $disk
PATH=$PATH:/sbin:/usr/sbin mkfs.ext4 -q -F $disk
line="console=ttyS0 loglevel=3 hutch.sh=$(echo "$script" | base64 -w0)"
echo "+ ${run:+$run }build/hutch boot --memory 256M --cpus 2 --disk $disk --append \"console=ttyS0 loglevel=3 ...\""
$run build/hutch boot --memory 256M --cpus 2 --disk $disk --append "$line" </dev/null
