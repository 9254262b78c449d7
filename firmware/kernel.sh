#!/bin/sh
# Build the small guest kernel from Debian's source package: minutes of work, once.
#
#   firmware/kernel.sh [OUT]
#
# OUT (build/guest-kernel) then holds vmlinux (an ELF file with a PVH note and a 64-bit entry) and config.
# Its configuration is firmware/guest.config over the kernel's own tinyconfig. A second call finds OUT up to
# date and does nothing. The same input gives the same bytes. Needs gcc make flex bison bc libelf-dev xz-utils.
set -eu

die()
{
	echo "kernel.sh: $*" >&2
	exit 1
}

source=linux-source-6.1
top=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$top/build/guest-kernel}
needs="apt-get install gcc make flex bison bc libelf-dev xz-utils"
for tool in gcc make flex bison bc xz; do
	command -v $tool >/dev/null || die "$tool is missing: $needs"
done
echo '#include <libelf.h>' | gcc -E - >/dev/null 2>&1 || die "libelf.h is missing: $needs"

package=$top/build/packages/$source
"$top/firmware/fetch.sh" $source "$package"
mkdir -p "$out"
out=$(cd "$out" && pwd)
exec 8<"$out"
flock 8
key=$(cat "$0" "$top/firmware/guest.config" "$package/.package" | cksum)
[ "$(cat "$out/.key" 2>/dev/null)" != "$key" ] || exit 0

tree=$out/source
rm -rf "$tree"
mkdir -p "$tree"
tar -xf "$package/usr/src/$source.tar.xz" -C "$tree" --strip-components 1
cd "$tree"
# What the kernel would tell of this machine and moment.
export KBUILD_BUILD_USER=hutch KBUILD_BUILD_HOST=guest KBUILD_BUILD_TIMESTAMP='1970-01-01' KBUILD_BUILD_VERSION=1
echo "kernel.sh: configuring"
make -s tinyconfig >/dev/null 2>&1
# tinyconfig is of 32 bits: the fragment's 64BIT has to be there when the rest is asked for
scripts/kconfig/merge_config.sh -m .config "$top/firmware/guest.config" >/dev/null
make -s olddefconfig 2>/dev/null
# what did not survive is a mistake in the fragment, or a kernel that has changed
grep -E '^CONFIG_[A-Z0-9_]+=[^n]' "$top/firmware/guest.config" | while read -r line; do
	grep -qxF "$line" .config || echo "kernel.sh: not in this kernel: $line" >&2
done
echo "kernel.sh: building with $(nproc) processors"
make -s -j"$(nproc)" vmlinux
strip -o "$out/vmlinux.new" vmlinux
cp .config "$out/config"
cd "$out"
rm -rf "$tree"
mv vmlinux.new vmlinux
echo "$key" >.key
