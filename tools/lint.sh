#!/bin/sh
# tools/lint.sh: what `make lint` holds the tree to. Prints each violation and ends with 1 if there was one.
#
#   layers    which file may include which (below)
#   rules     no exit() or mutable file-scope state where it does not belong, sizes of files, words
#   format    clang-format
#   compile   every file with gcc and with clang, all warnings errors
#   analyse   cppcheck, with each waiver explained in tools/cppcheck.supp
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0

say() {
	echo "lint: $*"
	bad=1
}

# Which layer a header belongs to: 0 base, 1 memory/state/loop, 2 interfaces, 3 devices and boot, 4 KVM and
# the machine, 5 the public header. A file may include its own layer and those below, with the exceptions
# spelled out in may_include.
layer_of() {
	case $1 in
	base.h | log.h | team.h) echo 0 ;;
	gmem.h | field.h | state.h | conf.h | conf_event.h | loop.h | snap_file.h | kept.h) echo 1 ;;
	dev.h | bus.h | irq.h | stream.h) echo 2 ;;
	kvm.h | snap.h | snap_mem.h | snap_saving.h | snap_diff.h | vcpu.h | throttle.h | pager.h | perf.h | vm.h | vm_build.h | ctl.h | cpuid.h | msr.h | regs.h | irqchip.h | sandbox.h | sandbox_arch.h | seccomp.h) echo 4 ;;
	hutch.h) echo 5 ;;
	*) if [ -e "devices/$1" ] || [ -e "boot/$1" ]; then echo 3; else echo -; fi ;;
	esac
}

may_include() { # FILE HEADER
	own=$(layer_of "$(basename "$1" .c | sed 's/\.h$//').h")
	other=$(layer_of "$2")
	case $1 in
	tools/*)
		case $2 in hutch.h | proto.h | archive.h | tree.h) return 0 ;; esac
		[ -e "tools/$2" ]; return ;;
	agent/*) case $2 in proto.h) return 0 ;; *) [ -e "agent/$2" ] ;; esac; return ;;
	tests/*) return 0 ;;
	boot/*) # guest memory and configuration, and each other
		case $2 in gmem.h | conf.h | base.h | field.h | log.h) return 0 ;; esac
		[ -e "boot/$2" ]; return ;;
	devices/*) # the layers below; of each other only the shared pieces
		case $2 in devices.h | virtio.h | pci.h | msix.h | limit.h) return 0 ;; esac
		stem=$(basename "$1" .c)
		case $2 in "${stem%%_*}"*.h) return 0 ;; esac # net_tap.c and net.h
		case $1:$2 in devices/blk.c:disk.h) return 0 ;; esac
		[ "$other" != - ] && [ "$other" -le 2 ] && return 0
		[ "$2" = "$(basename "$1" .c).h" ]; return ;;
	vmm/hutch.c | vmm/host.c) return 0 ;;
	vmm/*) case $2 in proto.h | archive.h | tree.h) return 0 ;; esac ;;
	esac
	[ "$own" = - ] && own=$(case $1 in
		vmm/tree_print.c) echo 1 ;; vmm/conf_*.c) echo 1 ;;
		vmm/snap_write.c) echo 1 ;; vmm/vm_tree.c | vmm/vm_set.c | vmm/snap_*.c | vmm/x86/*) echo 4 ;; *) echo - ;; esac)
	[ "$own" = - ] && return 0
	[ "$other" = - ] && return 1
	[ "$other" -le "$own" ]
}

layers() {
	for f in $(git ls-files '*.c' '*.h'); do
		for h in $(sed -n 's/^#include "\(.*\)".*/\1/p' "$f"); do
			may_include "$f" "$h" || say "$f: must not include $h (layers: see tools/lint.sh)"
		done
	done
	grep -ln '<linux/kvm.h>' devices/*.[ch] boot/*.[ch] tools/*.[ch] 2>/dev/null |
		sed 's/^/lint: knows KVM but must not: /' | grep . && bad=1
	# host addresses of guest memory stay in gmem, kvm, snap and pager
	grep -n '\bhva\b' vmm/*.[ch] vmm/x86/*.[ch] devices/*.[ch] boot/*.[ch] tools/*.[ch] |
		grep -vE '^vmm/(gmem|kvm|pager|snap(_[a-z]+)?)\.[ch]:' | sed 's/^/lint: host address of guest memory: /' | grep . && bad=1
	return 0
}

rules() {
	grep -nE '\b(exit|_exit|abort)\(' vmm/*.[ch] vmm/x86/*.[ch] devices/*.[ch] boot/*.[ch] |
		grep -vE '^vmm/log\.c:|^vmm/(host|sandbox|snap_live)\.c:.*_exit\(|^vmm/hutch\.h:|\* ' | sed 's/^/lint: ends the process: /' | grep . && bad=1
	for o in build/vmm/*.o build/vmm/x86/*.o build/devices/*.o build/boot/*.o; do
		[ -e "$o" ] || continue
		case $o in build/vmm/log.o) continue ;; esac
		# constants with addresses in them are in .data.rel.ro, which the loader makes read-only
		nm -f sysv "$o" | awk -F'|' '$7 ~ /^\.(data|bss|tdata|tbss)/ && $7 !~ /rel\.ro/ { print $1 }' |
			sed "s|^|lint: mutable file-scope state in $o: |" | grep . && bad=1
	done
	for f in $(git ls-files '*.c' '*.h'); do
		n=$(wc -l <"$f")
		# tests are lists: one may be longer than a file that has to be understood
		case $f in tests/*) most=950 ;; *) most=800 ;; esac
		[ "$n" -le $most ] || say "$f: $n lines are too many for one file"
	done
	return 0
}

format() {
	command -v clang-format >/dev/null || { echo "lint: clang-format is not installed, skipped"; return; }
	# flat.h is assembler
	git ls-files '*.c' '*.h' ':!tests/kvm/flat.h' | xargs clang-format --dry-run -Werror 2>/tmp/lint.$$ || {
		sed -n 's/: error:.*//p' /tmp/lint.$$ | cut -d: -f1 | sort -u | sed 's/^/lint: not formatted (clang-format -i): /'
		bad=1
	}
	rm -f /tmp/lint.$$
}

compile() {
	unset MAKEFLAGS # of the make that called us, whose jobs we have no part in
	make --no-print-directory -s -j"$(nproc)" all tests >/dev/null || say "gcc warns"
	make --no-print-directory -s -j"$(nproc)" CC=clang GCCWARN= B=build/clang all >/dev/null || say "clang warns"
}

analyse() {
	command -v cppcheck >/dev/null || { echo "lint: cppcheck is not installed, skipped"; return; }
	cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
		--suppressions-list=tools/cppcheck.supp --error-exitcode=1 -j2 \
		-Ivmm -Ivmm/x86 -Iboot -Idevices -Iagent -Itools -D_GNU_SOURCE -D__x86_64__ \
		vmm devices boot agent tools || say "cppcheck complains"
	for s in $(git ls-files '*.sh') .ci/run tests/testbed firmware/init; do
		[ -e "$s" ] || continue
		sh -n "$s" || say "$s: syntax"
	done
}

layers
compile
rules
format
analyse
[ $bad = 0 ] && echo "lint: clean"
exit $bad
