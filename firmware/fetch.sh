#!/bin/sh
# Unpack a Debian package into a folder, without installing it and without root.
#
#   firmware/fetch.sh PACKAGE DEST
#
# DEST then holds the files of PACKAGE (DEST/usr/bin/... or DEST/boot/...), and DEST/.package its name
# and version. A name like linux-image-amd64, which stands for the newest kernel, gives that kernel.
# A DEST that exists is complete and is left alone, with no network used: remove it to fetch anew.
# apt-get checks the download against the signed package lists of this machine.
set -eu

die()
{
	echo "fetch.sh: $*" >&2
	exit 1
}

[ $# = 2 ] || die "usage: fetch.sh PACKAGE DEST"
package=$1 dest=${2%/}

[ ! -d "$dest" ] || exit 0

for tool in apt-get apt-cache dpkg flock; do
	command -v $tool >/dev/null || die "$tool not found: packages are fetched with the tools of Debian"
done
parent=$(dirname "$dest")
mkdir -p "$parent" || die "cannot make the folder $parent"

# One fetch at a time in a folder, so what stands at DEST.tmp once we hold the lock was left by a killed one.
exec 9<"$parent"
flock 9
[ ! -d "$dest" ] || exit 0
tmp=$dest.tmp
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
rm -rf "$tmp"
mkdir -p "$tmp/deb" "$tmp/tree"

# Follow linux-image-amd64 -> linux-image-6.1.0-N-amd64: the first only depends on the second.
while :; do
	apt-cache show --no-all-versions "$package" >"$tmp/show" 2>/dev/null || :
	version=$(sed -n 's/^Version: *//p' "$tmp/show")
	[ "$version" ] || die "apt knows no package $package: run apt-get update as root, then try again"
	real=$(sed -n 's/^Depends: *\([^ ,]*\).*/\1/p' "$tmp/show")
	case $real in
	linux-image-* | linux-source-*) package=$real ;;
	*) break ;;
	esac
done

[ ! -t 2 ] || echo "fetching $package $version" >&2
# The user _apt, to whom apt-get gives downloads when it is root, may not enter this folder.
(cd "$tmp/deb" && apt-get -qq -o APT::Sandbox::User=root download "$package" </dev/null) \
	>"$tmp/log" 2>&1 ||
	die "cannot download $package $version: $(grep -m 1 '^E:' "$tmp/log")" \
		"(fix: run apt-get update as root, or check the network)"
dpkg -x "$tmp"/deb/*.deb "$tmp/tree" || die "cannot unpack $package $version: is the disk full?"
echo "$package $version" >"$tmp/tree/.package"
chmod 755 "$tmp/tree"
mv "$tmp/tree" "$dest"
