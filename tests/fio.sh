#!/bin/sh
# tests/fio.sh OUT: Debian's fio as a cpio to append to a guest's initramfs, in 6 MB instead of 150.
#
# fio is linked with clients of Ceph, Gluster, RDMA and more, which bring 50 libraries. A guest that measures its
# own disk calls none of them, so one empty library stands in for each, with the names that fio wants to find.
set -eu
out=$1
fio=$(command -v fio) || { echo "fio.sh: fio is not installed" >&2; exit 1; }
busybox=$(command -v busybox)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/root/bin" "$tmp/root/lib64" "$tmp/root/lib/x86_64-linux-gnu"
cp "$fio" "$tmp/root/bin/fio"
ldd "$fio" | awk '$2 == "=>" { print $1, $3 }' >"$tmp/libs"
cp -L /lib64/ld-linux-x86-64.so.2 "$tmp/root/lib64"
: >"$tmp/have"
for lib in $(readelf -dW "$fio" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
	case $lib in
	libc.so.6 | libm.so.6 | libz.so.1 | libaio.so.1 | libnuma.so.1)
		path=$(awk -v l="$lib" '$1 == l { print $2 }' "$tmp/libs")
		cp -L "$path" "$tmp/root/lib/x86_64-linux-gnu/$lib"
		nm -D --defined-only "$path" | awk '{ sub(/@.*/, "", $3); print $3 }' >>"$tmp/have"
		;;
	*) echo "$lib" >>"$tmp/stubs" ;;
	esac
done
sort -u "$tmp/have" >"$tmp/known"
nm -D --undefined-only "$fio" | awk '$1 == "U" { sub(/@/, " ", $2); print $2 }' | sort -u |
	join -v 1 - "$tmp/known" >"$tmp/missing"	# NAME [VERSION]
# Where fio asks a library for names of some version, its stub has to have that version.
objdump -p "$fio" | awk '/required from/ { sub(/:/, "", $3); lib = $3; next } lib && NF == 4 { print lib, $4 }' >"$tmp/versions"
while read -r lib; do
	awk -v lib="$lib" -v map="$tmp/map" '
		FNR == NR { if ($1 == lib) need[$2] = n = n + 1; next }
		n ? $2 in need : NF == 1 { names[$2] = names[$2] " " $1 ";"; print "void " $1 "(void); void " $1 "(void) {}" }
		END { printf "" >map; for (v in need) print v " { global:" names[v] " };" >map }
	' "$tmp/versions" "$tmp/missing" >"$tmp/stub.c"
	[ -s "$tmp/map" ] && script="-Wl,--version-script,$tmp/map" || script=
	gcc -shared -fPIC -w -o "$tmp/root/lib/x86_64-linux-gnu/$lib" -Wl,-soname,"$lib" $script "$tmp/stub.c"
done <"$tmp/stubs"
(cd "$tmp/root" && find . | "$busybox" cpio -o -H newc -R 0:0 2>/dev/null) >"$out.new"
mv "$out.new" "$out"
