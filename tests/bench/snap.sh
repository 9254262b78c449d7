#!/bin/sh
# tests/bench/snap.sh [ROUNDS]: what a snapshot costs, with flat guests of 512 MiB on this machine's /dev/kvm
#
# A guest whose memory holds MIB of a kernel, as much as a Debian guest has in use after its boot, and five times
# that: how long it stands still while it is saved, and with --live, how fast that packs beside zlib alone, what the
# image takes, how long until a restored one runs its first instructions (its memory unpacked for it before that;
# coming as it is wanted; mapped, because one before it has left it unpacked), and what a hundred of them cost that
# have not written yet; how long one of them stands still for a child of 8 MiB that changed, a MiB here and there, and
# for one of a parent it knows nothing of. Medians.
set -eu
cd "$(dirname "$0")/../.."
rounds=${1:-30}
make -s build/tests/snaps build/tests/kvm/count.elf
make -s guest
for mib in 75 391; do
	echo "$mib MiB in use:"
	build/tests/snaps build/tests/kvm build/guest/vmlinux $mib "$rounds" | sed 's/^/  /'
done
