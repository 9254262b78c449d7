#!/bin/sh
# make demo: from a fresh Debian 12 to commands in microVMs. Installs what is missing (as root or with sudo),
# builds hutch, prepares the default guest and runs commands in it: on this machine's KVM where that can run
# Linux, inside the testbed (tests/testbed) where it cannot.
set -eu
cd "$(dirname "$0")/.."

packages="gcc musl-tools libc6-dev libfdt-dev zlib1g-dev liblzma-dev libyaml-dev"
guest_packages="xz-utils cpio kmod e2fsprogs"
testbed_packages="qemu-system-x86"

can_run_linux() {
	grep -qE ' (vmx|svm)' /proc/cpuinfo && [ -r /dev/kvm ] && [ -w /dev/kvm ]
}

missing() {
	for p; do
		dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q '^install ok installed' || echo "$p"
	done
}

install() {
	want=$(missing "$@")
	[ -n "$want" ] || return 0
	sudo=
	if [ "$(id -u)" != 0 ]; then
		sudo=sudo
		command -v sudo >/dev/null || {
			echo "demo: these packages are missing and you are not root: $(echo $want)" >&2
			exit 1
		}
	fi
	echo "demo: installing $(echo $want)"
	$sudo apt-get update -qq
	DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $want >/dev/null
}

if can_run_linux; then
	install $packages $guest_packages
	run=
else
	install $packages $guest_packages $testbed_packages
	run="tests/testbed --"
fi
make --no-print-directory -s all guest
if [ -z "$run" ]; then
	echo "demo: this machine's KVM runs Linux: the guests run on it"
else
	echo "demo: this machine's KVM cannot run Linux: the same hutch runs in the testbed, an emulated one"
	# where a guest's second is several of ours
	patience="--boot-timeout 3m --heartbeat 30s"
fi

rm -rf build/demo
mkdir -p build/demo
echo "from the host" >build/demo/note
# one stream for all: two of them keep no order between each other on their way out of the testbed
# shellcheck disable=SC2016 # for the shell that runs it
exec $run sh -c 'exec 2>&1
hutch() {
	echo "+ hutch $*"
	verb=$1
	shift
	build/hutch "$verb" '"${patience:-}"' "$@"
}
hutch run -- uname -a
hutch run --mount build/demo:/work:rw --workdir /work -- sh -c "cat note; echo \"from the guest\" >answer"
echo "+ cat build/demo/answer"
cat build/demo/answer
hutch run --memory 256M --cpus 2 -- sh -c "nproc; exit 7"
echo "its exit status was $?"
hutch run --timeout 1s -- sh -c "echo I am at work; sleep 60"
echo "its exit status was $?"' </dev/null
