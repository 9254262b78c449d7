#!/bin/sh
# Make what the default guest boots from: a kernel of Debian and a small initramfs around busybox.
#
#   firmware/guest.sh [--kernel cloud|generic] [--init FILE] [--modules "NAME..."] [OUT]
#
# OUT (build/guest) then holds
#   vmlinuz   the kernel as the package has it (a bzImage)
#   vmlinux   the same kernel unpacked (ELF with a PVH note), which boots without a decompressor
#   initrd    the initramfs: FILE (firmware/init) as /init, busybox, the modules named and what they need
# The same input gives the same bytes. A second call finds OUT up to date and does nothing.
# Packages come from fetch.sh and stay, unpacked, in build/packages.
set -eu

die()
{
	echo "guest.sh: $*" >&2
	exit 1
}

top=$(cd "$(dirname "$0")/.." && pwd)
packages=$top/build/packages
usage='usage: guest.sh [--kernel cloud|generic] [--init FILE] [--modules "NAME..."] [OUT]'

kernel=cloud init=$top/firmware/init
modules="virtio_mmio virtio_pci virtio_blk virtio_net virtio_rng virtio_balloon virtio_console
	vmw_vsock_virtio_transport virtiofs ext4 crc32c_generic overlay squashfs erofs loop
	pvpanic_mmio pvpanic_pci"
while [ $# -gt 1 ]; do
	case $1 in
	--kernel) kernel=$2 ;;
	--init) init=$2 ;;
	--modules) modules=$2 ;;
	*) die "$usage" ;;
	esac
	shift 2
done
out=${1:-$top/build/guest}
case $out in -*) die "$usage" ;; esac
case $kernel in
cloud) package=linux-image-cloud-amd64 ;;
generic) package=linux-image-amd64 ;;
*) die "no kernel '$kernel': it is cloud or generic" ;;
esac

mkdir -p "$out"
exec 8<"$out"
flock 8
for p in $package busybox-static; do
	"$top/firmware/fetch.sh" "$p" "$packages/$p"
done
key=$(cat "$0" "$init" "$packages/$package/.package" "$packages/busybox-static/.package" | cksum)$modules
[ "$(cat "$out/.key" 2>/dev/null)" != "$key" ] || exit 0

umask 022
tmp=$out/.tmp tree=$out/.tmp/tree
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
rm -rf "$tmp"
mkdir -p "$tree"
busybox=$packages/busybox-static/bin/busybox
# The only folder in it is named after the kernel's version.
from=$(echo "$packages/$package"/lib/modules/*)
version=${from##*/}

# The kernel, and its payload: where that lies stands in the header (Documentation/x86/boot.rst).
cp "$packages/$package/boot/vmlinuz-$version" "$tmp/vmlinuz"
field()	# TYPE OFFSET
{
	od -A n -t "$1" -j $(($2)) -N "${1#u}" "$tmp/vmlinuz" | tr -d ' '
}
start=$((($(field u1 0x1f1) + 1) * 512 + $(field u4 0x248)))
# The last four bytes are not of the compressor: the kernel's build adds the unpacked size.
size=$(($(field u4 0x24c) - 4))
head -c $((start + size)) "$tmp/vmlinuz" | tail -c $size >"$tmp/payload"
case $(od -A n -t x1 -N 4 "$tmp/payload") in
" fd 37 7a 58") unpacker=xz-utils/usr/bin/xz ;;
" 02 21 4c 18") unpacker=lz4/usr/bin/lz4 ;;
*) die "vmlinuz-$version is packed in a way unknown here" ;;
esac
"$top/firmware/fetch.sh" "${unpacker%%/*}" "$packages/${unpacker%%/*}"
"$packages/$unpacker" -dc <"$tmp/payload" >"$tmp/vmlinux"

# The list of which module needs which is made when a kernel is installed; ours is only unpacked.
# kmod's depmod, where there is one, also writes the form that kmod's modprobe wants (for tests/testbed).
PATH=$PATH:/usr/sbin:/sbin
if command -v depmod >/dev/null; then
	[ -e "$from/modules.dep.bin" ] || depmod -b "$packages/$package" "$version"
else
	[ -e "$from/modules.dep" ] || "$busybox" depmod -b "$packages/$package" "$version"
fi
# Print the files of the modules named and of all they need. Some are built into one kernel and not into another.
wanted=$(echo "$modules" | awk '
	function name(path) { sub(/.*\//, "", path); sub(/\.ko$/, "", path); gsub(/-/, "_", path); return path }
	function want(m,  n, i, part) {
		if (done[m]++ || m in builtin) return
		if (!(m in file)) { print "the kernel has no module " m > "/dev/stderr"; exit 1 }
		n = split(needs[m], part)
		for (i = 1; i <= n; i++) want(name(part[i]))
		print file[m]
	}
	FILENAME ~ /builtin$/ { builtin[name($1)]; next }
	FILENAME ~ /dep$/ { sub(/:/, ""); m = name($1); file[m] = $1; sub(/[^ ]* */, ""); needs[m] = $0; next }
	{ for (f = 1; f <= NF; f++) want(name($f)) }
	' "$from/modules.builtin" "$from/modules.dep" -) || die "no such module in $package"

mkdir -p "$tree/bin" "$tree/sbin" "$tree/proc" "$tree/sys" "$tree/dev" "$tree/run" "$tree/tmp" "$tree/mnt"
cp "$busybox" "$tree/bin/busybox"
ln -s busybox "$tree/bin/sh"
ln -s ../bin/busybox "$tree/sbin/modprobe"	# the kernel calls it
cp "$init" "$tree/init"
chmod 755 "$tree/init"
to=$tree/lib/modules/$version
for m in $wanted; do
	mkdir -p "$to/${m%/*}"
	cp "$from/$m" "$to/$m"
done
"$busybox" depmod -b "$tree" "$version"

# Not compressed: the guest would spend more time on unpacking than the host on reading.
find "$tree" -exec touch -h -d @0 {} +
(cd "$tree" && find . | LC_ALL=C sort |
	"$busybox" cpio -o -H newc -R 0:0 --ignore-devno --renumber-inodes 2>/dev/null) >"$tmp/initrd"

mv "$tmp/vmlinuz" "$tmp/vmlinux" "$tmp/initrd" "$out"
echo "$key" >"$out/.key"
