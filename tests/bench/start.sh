#!/bin/sh
# tests/bench/start.sh [RUNS]: from exec to the guest's first instruction, for 512 MiB and one vCPU
#
# First hutch's own account, the median of each phase; then the whole process
# seen from outside, linked in three ways from the same objects; then the other
# end, of a guest that has used memory: 30 rounds, whatever RUNS is.
set -eu
cd "$(dirname "$0")/../.."
B=${B:-build}
runs=${1:-50}
guest=$B/tests/kvm/hello.elf
out=$B/bench
mkdir -p "$out"
. tests/bench/phases.sh.inc

i=0
while [ $i -lt "$runs" ]; do
	"$B/hutch" boot --kernel "$guest" --memory 512M --timing </dev/null 2>&1 >/dev/null
	i=$((i + 1))
done | phases "hutch boot --memory 512M --cpus 1, medians of $runs runs"

objects="$(find "$B/tools" -name '*.o') $B/libhutch.a"
libs="-lfdt -lyaml -llzma -lz"
hard="-Wl,-z,relro,-z,now,-z,noexecstack"
# shellcheck disable=SC2086 # they are lists
{
	gcc -pthread -static-pie $hard -o "$out/hutch-static-pie" $objects $libs
	gcc -pthread -pie $hard -o "$out/hutch-dynamic" $objects $libs
	gcc -pthread -static -no-pie $hard -o "$out/hutch-static" $objects $libs
	gcc -O2 -D_GNU_SOURCE -Wall -Wextra -o "$out/spawn" tests/bench/spawn.c
}
echo "the whole process, fork to end, $runs rounds taking turns:"
set -- boot --kernel "$guest" --memory 512M
"$out/spawn" "$runs" "$out/hutch-static-pie" "$@" , "$out/hutch-dynamic" "$@" , "$out/hutch-static" "$@"
echo "the same with nothing to do (hutch version):"
"$out/spawn" "$runs" "$out/hutch-static-pie" version , "$out/hutch-dynamic" version , "$out/hutch-static" version

gcc -O2 -D_GNU_SOURCE -Wall -Wextra -o "$out/teardown" tests/bench/teardown.c
# where run folders usually are: in memory
root=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
trap 'rm -rf "$root"' EXIT
set -- "$B/hutch" boot --root "$root" --name bench --kernel "$B/tests/kvm/touch.elf" --memory 512M
echo "from the end of a machine that has used 75 MiB, which powers off, until:"
"$out/teardown" 30 "$root" "$@"
echo "from a SIGTERM to one, until:"
"$out/teardown" 30 "$root" -TERM "$@" --append h
