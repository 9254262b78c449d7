#!/bin/sh
# tests/bench/fork.sh [FORKS]: what it costs that many machines go on from where one is, with `hutch fork` itself
#
# A flat guest of 512 MiB on this machine's /dev/kvm, which has used 75 MiB and sleeps; what hutch has beside it. In turns with boots of a guest
# like it: hutch's own account of each fork, from before its process is made to its guest's first instruction, and of
# each boot, from exec; medians. Then what the whole command takes for one and for all, what memory each of them has to
# itself that has not written yet, and what less the host has with each of them, its kernel's part included: of some
# hundreds, since other things come and go on a host, too.
set -eu
cd "$(dirname "$0")/../.."
B=${B:-build}
n=${1:-100}
[ "$n" -gt 1 ] || { echo "fork.sh: FORKS is 2 or more" >&2; exit 2; }
. tests/bench/phases.sh.inc
make -s "$B/hutch" "$B/tests/kvm/touch.elf" "$B/tests/kvm/hello.elf"
# where run folders usually are: in memory
root=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
h() { verb=$1 && shift && "$B/hutch" "$verb" --root "$root" "$@"; }
forks() { h ps -q | grep '^fork-' || true; }
trap 'h stop --time 0 $(h ps -q) 2>/dev/null; wait; rm -rf "$root"' EXIT

h boot --name source --memory 512M --kernel "$B/tests/kvm/touch.elf" --append h --console "$root/console" </dev/null &
until grep -q . "$root/console" 2>/dev/null; do sleep 0.1; done

pid_of() { sed -n 's/.*"pid":\([0-9]*\).*/\1/p' "$root/$1/state"; }

now() { date +%s%N; }

sleep 0.5 # it is at rest
awk '/^[0-9a-f]+-[0-9a-f]+ / { guest = 0 } /^Size:/ { guest = $2 == 512 * 1024 } /^Private_Dirty:/ && !guest { own += $2 }
	END { printf "one that has booted has beside its guest: %d KiB\n", own }' "/proc/$(pid_of source)/smaps"
i=0
while [ $i -lt "$n" ]; do
	i=$((i + 1))
	h fork --timing --name fork source >"$root/names"
	h stop --time 0 fork-1
	h logs --source vmm fork-1 >>"$root/fork.log"
	h rm fork-1 >/dev/null
	h boot --memory 512M --timing --kernel "$B/tests/kvm/hello.elf" </dev/null >"$root/said" 2>>"$root/boot.log"
done
phases "boot" <"$root/boot.log"
phases "fork" <"$root/fork.log"

begin=$(now)
h fork --name fork source >"$root/names"
one=$((($(now) - begin) / 1000))
h rm -f fork-1 >/dev/null
available() { sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo; }
sleep 2 # for what those before it had to be given back
before=$(available)
begin=$(now)
h fork --name fork -n "$n" source >"$root/names"
all=$((($(now) - begin) / 1000))
after=$(available)
[ "$(forks | wc -l)" = "$n" ]
echo "hutch fork: $one us; hutch fork -n $n: $all us, $(((all - one) / (n - 1))) each from the second on"
for name in $(forks); do
	sed -n 's/^Private_Dirty: *\([0-9]*\) kB/\1/p' "/proc/$(pid_of "$name")/smaps_rollup"
done | sort -n | awk '{ v[NR] = $1 } END { printf "private memory of each of %d: %d KiB, at most %d\n", NR, v[int((NR + 1) / 2)], v[NR] }'
echo "less on the host with each: $(((before - after) / n)) KiB"
