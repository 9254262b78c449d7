# tests/bench/lib.sh: what the benchmarks share. To be sourced at the top of the tree, after `runs` is set.
#
# Each benchmark measures hutch and QEMU's microvm in turns in one run on one host: with the same guest kernel,
# initramfs and backing, each with its best settings. Where this machine cannot run Linux guests it runs in the
# testbed, where times mean nothing and ratios do.

# in_testbed ARGUMENTS...: run this script again in there, if that is where it has to run
in_testbed() {
	if [ "${HUTCH_BENCH:-}" != inside ] && ! { grep -qE ' (vmx|svm)' /proc/cpuinfo && [ -w /dev/kvm ]; }; then
		HUTCH_BENCH=inside exec tests/testbed --timeout 3000 -- "$0" "$@"
	fi
}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# guest_files CPIO...: the guest's kernel and initramfs, with more added, where a first read does not count
guest_files() {
	cp build/guest/vmlinuz "$tmp"
	cat build/guest/initrd "$@" >"$tmp/initrd"
}

# guest_line: the kernel command line, with the script on stdin
guest_line() {
	echo "console=ttyS0 quiet panic=-1 ${ip:-} hutch.sh=$(base64 -w0)"
}

hutch() {
	timeout 300 build/hutch boot --memory 512M --kernel "$tmp/vmlinuz" --initrd "$tmp/initrd" --append "$line" "$@"
}

qemu() { # MACHINE-OPTIONS ARGUMENTS...
	more=$1
	shift
	timeout 300 qemu-system-x86_64 -M "microvm,acpi=on,rtc=on,pit=off,pic=off,isa-serial=on$more" -accel kvm -cpu host -m 512 \
		-nodefaults -display none -serial stdio -no-reboot \
		-kernel "$tmp/vmlinuz" -initrd "$tmp/initrd" -append "$line" "$@"
}

# one VMM COMMAND...: a guest, whose console lines "ROW VALUE" go into $tmp/VMM.ROW; and the exits of its vCPUs
one() {
	vmm=$1
	shift
	"$@" </dev/null >"$tmp/out" 2>&1 || { echo "$vmm failed:"; tail -n 15 "$tmp/out"; exit 1; }
	tr -d '\r' <"$tmp/out" | sed -n 's/^figure \([^ ]*\) \([0-9.]*\)$/\1 \2/p' >"$tmp/figures"
	[ -s "$tmp/figures" ] || { echo "$vmm gave no figures:"; tail -n 15 "$tmp/out"; exit 1; }
	while read -r row value; do echo "$value" >>"$tmp/$vmm.$row"; done <"$tmp/figures"
}

median() { # FILE
	sort -g "$1" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# table VMM...: medians of each row, and each VMM's ratio to the first
table() {
	base=$1
	printf '%-24s' ""
	for vmm; do printf ' %22s' "$vmm"; done
	echo
	for f in "$tmp/$base".*; do
		row=${f##*/"$base".}
		first=$(median "$f")
		printf '%-24s' "$row"
		for vmm; do
			[ -e "$tmp/$vmm.$row" ] || { printf ' %22s' -; continue; }
			v=$(median "$tmp/$vmm.$row")
			printf ' %14s  %5s' "$v" "$(echo "$first $v" | awk '{ printf "%.2f", $2 ? $1 / $2 : 0 }')"
		done
		echo
	done
}
