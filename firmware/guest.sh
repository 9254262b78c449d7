#!/bin/sh
# Make what the default guests boot from: a kernel of Debian and small initramfs around busybox.
#
#   firmware/guest.sh [--kernel cloud|generic] [--init FILE] [--modules "NAME..."] [--agent FILE] [OUT]
#
# OUT (build/guest) then holds
#   vmlinuz   the kernel as the package has it (a bzImage)
#   vmlinux   the same kernel unpacked (ELF with a PVH note), which boots without a decompressor
#   initrd    the initramfs of `hutch boot`: FILE (firmware/init) as /init, busybox, the modules named and what
#             they need
#   box       with --agent, the initramfs of `hutch run`: the agent FILE as /init, busybox as the userland, the
#             same modules without what only a debugger or a check of their signature would read
#   cmdline   with it, what the kernel's command line should say for the least time of start
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
usage='usage: guest.sh [--kernel cloud|generic] [--init FILE] [--modules "NAME..."] [--agent FILE] [OUT]'

kernel=cloud init=$top/firmware/init agent=
modules="virtio_mmio virtio_pci virtio_blk virtio_net virtio_rng virtio_balloon virtio_console
	vmw_vsock_virtio_transport virtiofs ext4 crc32c_generic overlay squashfs erofs loop
	pvpanic_mmio pvpanic_pci"
while [ $# -gt 1 ]; do
	case $1 in
	--kernel) kernel=$2 ;;
	--init) init=$2 ;;
	--modules) modules=$2 ;;
	--agent) agent=$2 ;;
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
key=$(cat "$0" "$packages/$package/.package" "$packages/busybox-static/.package" | cksum)$modules
key_initrd=$key$(cksum <"$init")
key_box=${agent:+$key$(cksum <"$agent")}
[ "$(cat "$out/.key" 2>/dev/null)" != "$key_initrd" ] || key_initrd=
[ "$(cat "$out/.key-box" 2>/dev/null)" != "$key_box" ] || key_box=
[ "$key_initrd$key_box" ] || exit 0

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
field()	# TYPE OFFSET
{
	od -A n -t "$1" -j $(($2)) -N "${1#u}" "$tmp/vmlinuz" | tr -d ' '
}

make_kernel()
{
	cp "$packages/$package/boot/vmlinuz-$version" "$tmp/vmlinuz"
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
}

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

# Not compressed: the guest would spend more time on unpacking than the host on reading.
pack()	# NAME: the files of $tree as the initramfs NAME
{
	find "$tree" -exec touch -h -d @0 {} +
	(cd "$tree" && find . | LC_ALL=C sort |
		"$busybox" cpio -o -H newc -R 0:0 --ignore-devno --renumber-inodes 2>/dev/null) >"$tmp/$1"
	rm -rf "$tree"
}

make_initrd()
{
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
	pack initrd
}

# What only a debugger, a check of the signature or a readable backtrace wants of a module is time of the guest: it is
# copied, checked or sorted before the module runs. The kernel takes modules without, and marks itself as having
# done so (tainted: E).
slim()	# FROM TO
{
	if command -v objcopy >/dev/null; then
		objcopy --strip-unneeded -w -R '.BTF*' -R .comment -R '.orc_unwind*' -R '.rela.orc_unwind*' "$1" "$2"
	else
		cp "$1" "$2"
	fi
}

# What the kernel is told when it runs the box: words for every kernel, and steps of this one's start that nobody here
# needs (README.md has what each is worth). One that another kernel does not have is no error.
make_cmdline()
{
	skip=ftrace_check_for_weak_functions,trace_eval_init,tracer_init_tracefs,load_system_certificate_list
	# With any of these the types of the whole kernel are read, for BPF. TCP falls back to Reno.
	skip=$skip,cubictcp_register,bpf_rstat_kfunc_init,bpf_key_sig_kfuncs_init,kfunc_init,bpf_prog_test_run_init
	skip=$skip,bpf_tcp_ca_kfunc_init
	echo "loglevel=1 pci=off 8250.nr_uarts=1 cryptomgr.notests mitigations=off init_on_alloc=0" \
		"lsm=landlock,yama initcall_blacklist=$skip" >"$tmp/cmdline"
}

make_box()
{
	mkdir -p "$tree/bin" "$tree/usr" "$tree/etc" "$tree/root"
	for d in proc sys dev run mnt; do mkdir "$tree/$d"; done
	mkdir -m 1777 "$tree/tmp"
	# one folder for all tools, by whichever name a script looks for it
	ln -s bin "$tree/sbin"
	ln -s ../bin "$tree/usr/bin"
	ln -s ../bin "$tree/usr/sbin"
	cp "$busybox" "$tree/bin/busybox"
	for tool in $("$busybox" --list); do
		[ "$tool" = busybox ] || ln -s busybox "$tree/bin/$tool"
	done
	echo 'root:x:0:0:root:/root:/bin/sh' >"$tree/etc/passwd"
	echo 'nobody:x:65534:65534:nobody:/:/bin/sh' >>"$tree/etc/passwd"
	printf 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n' >"$tree/etc/group"
	echo '127.0.0.1 localhost' >"$tree/etc/hosts"
	install -m 755 "$agent" "$tree/init"
	to=$tree/lib/modules/$version
	mkdir -p "$to"
	for m in $wanted; do
		slim "$from/$m" "$to/${m##*/}"
	done
	"$busybox" depmod -b "$tree" "$version"
	rm "$to/modules.symbols"
	pack box
}

if [ "$key_initrd" ]; then
	make_kernel
	make_initrd
	mv "$tmp/vmlinuz" "$tmp/vmlinux" "$tmp/initrd" "$out"
	echo "$key_initrd" >"$out/.key"
fi
if [ "$key_box" ]; then
	make_box
	make_cmdline
	mv "$tmp/box" "$tmp/cmdline" "$out"
	echo "$key_box" >"$out/.key-box"
fi
