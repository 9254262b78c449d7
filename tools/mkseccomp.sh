#!/bin/sh
# tools/mkseccomp.sh FILE...: the seccomp filters of a running machine, from the `#syscalls` comments of these sources,
# as a C header on stdout: jail_machine[] for the threads that a guest talks to, and jail_caller[], which is wider, for
# the thread that started the machine and those that this one starts.
#
# What a file needs stands beside the code that needs it, in one or more lines of
#
#	#syscalls read write             a running machine does this: it goes into both filters
#	#syscalls:caller openat          only the caller's threads do, while a machine runs: into theirs
#	#syscalls:before execve mmap     only before the jail is entered, or where there is none: into neither
#
# and what is allowed only in part says so:
#
#	ioctl:KVM_RUN                    where the argument that tells what to do (below) is this; once for each value
#	clone:+CLONE_THREAD              where it has these bits
#	mmap:!PROT_EXEC                  where it has none of these
#	openat:-EPERM                    refused with this error, without ado: for what the C library tries and can do without
#
# A call that is refused so may still be the caller's. All else ends the process, with a message (vmm/sandbox.c). The
# header is two plain BPF programs for seccomp(2): they are laid out here, once, rather than by libseccomp in each
# process that starts. That would be one more library in the program and work at each start, for a list of compares.
# Numbers come from the compiler's kernel headers, so this holds for any architecture.
#
# What takes arguments into account comes first, ioctl() before all: the kernel runs the filter for it each time, KVM_RUN
# among them. The rest is a tree over the numbers: the kernel remembers what is always allowed, and for that goes
# through the filter with every number there is when it is installed; a plain list makes that three times as long.
set -eu
export LC_ALL=C

# a line that is none of the above would be a hole in the list, and nobody would see it
bad=$(grep -n '#syscalls' /dev/null "$@" |
	grep -vE '#syscalls(:before|:caller)?( [a-z0-9_]+(:[-+!]?[A-Z0-9_]+)?)+( \*/)?$' || true)
if [ -n "$bad" ]; then
	echo "mkseccomp.sh: not '#syscalls[:caller|:before] NAME[:WHAT]...' on one line:" >&2
	echo "$bad" >&2
	exit 1
fi

# NUMBER NAME, all there are
numbers() {
	echo '#include <sys/syscall.h>' | ${CC:-cc} -E -dM - |
		sed -n 's/^#define __NR_\([a-z0-9_]*\) \([0-9]*\)$/\2 \1/p' | sort -n
}

# NAME or NAME:WHAT of the lines that begin so, each once
words() { # BEGINNING FILE...
	beginning=$1
	shift
	sed -n "s|.*$beginning \(.*\)|\1|; T; s|\*/||; p" "$@" | tr -s ' ' '\n' | grep . | sort -u
}

# the filter @name of all plain words, and the caller's where they are given
filter() { # NAME [CALLER'S WORDS]
	{ numbers; echo; echo "$2"; echo; echo "$plain"; } | awk -v name="$1" '
function fail(why) {
	print "mkseccomp.sh: " why >"/dev/stderr"
	exit failed = 1
}
function compare(what, skip) {
	if (what ~ /^\+/) return "HAS(" substr(what, 2) ", " skip ")"
	if (what ~ /^!/) return "HAS_NOT(" substr(what, 2) ", " skip ")"
	return "IS(" what ", " skip ")"
}
# a call that is allowed or refused by what its argument says
function show_part(name,    n, part, i) {
	n = split(rule[name], part, " ")
	if (part[1] ~ /^-/) {
		printf "\tCALL(%s, 1), REFUSE(%s),\n", name, substr(part[1], 2)
		return
	}
	printf "\tCALL(%s, %d), ARGUMENT(%d),\n", name, n + 3, arg[name]
	for (i = 1; i <= n; i++)
		printf "\t\t%s,\n", compare(part[i], n - i + 1)
	print "\t\tTRAP, ALLOW,"
}
# calls [from, to) of the sorted ones: how many instructions that takes, with @show the instructions too
function tree(from, to, show,    n, mid, i) {
	n = to - from
	if (n <= 8) {
		for (i = from; show && i < to; i++)
			printf "\tONE_OF(%s, %d),\n", plain[i], to - i
		if (show) print "\tTRAP, ALLOW,"
		return n + 2
	}
	mid = int((from + to) / 2)
	n = tree(from, mid, 0)
	if (show) printf "\tFROM(%s, %d),\n", plain[mid], n
	if (show) tree(from, mid, 1)
	return 1 + n + tree(mid, to, show)
}
BEGIN {
	# which argument a call is narrowed by; those of 64 bits have all that is looked at in their lower half
	arg["ioctl"] = arg["fcntl"] = arg["io_uring_register"] = 1
	arg["socket"] = arg["prctl"] = arg["tgkill"] = arg["clone"] = arg["seccomp"] = 0
	arg["mmap"] = arg["mprotect"] = arg["madvise"] = 2
	CALLER = 1
}
!NF { part++; next }
!part { at[all++] = $2; known[$2] = 1; next }
{ split($0, w, ":"); call = w[1]; what = w[2] }
!(call in known) { fail("the kernel headers know no system call " call) }
part == CALLER { callers[call] = 1 }
what ~ /^-/ && call in callers { next }
what == "" { whole[call] = 1 }
whole[call] && (what != "" || rule[call] != "") { fail(call " is allowed whole in one place and in part in another (" $0 "): narrow both") }
what ~ /^[^-]/ && !(call in arg) { fail($0 ": by which argument? say so in tools/mkseccomp.sh") }
what != "" && rule[call] != "" && (rule[call] ~ /^-/ || what ~ /^-/) { fail(call " is refused in one place and allowed in another") }
index(" " rule[call] " ", " " what " ") { next }
what == "KVM_RUN" { rule[call] = what " " rule[call]; next }
what != "" { rule[call] = rule[call] " " what; sub(/^ /, "", rule[call]) }
END {
	if (failed) exit 1
	print "static const struct sock_filter " name "[] = {\n\tBEGIN,"
	if ("ioctl" in rule && rule["ioctl"]) show_part("ioctl")
	for (i = 0; i < all; i++) {
		if (whole[at[i]]) plain[n++] = at[i]
		else if (rule[at[i]] != "" && at[i] != "ioctl") show_part(at[i])
	}
	if (!n) fail("no #syscalls comment in any of these files")
	tree(0, n, 1)
	print "};"
}'
}

echo "/* made by tools/mkseccomp.sh from the #syscalls comments: change those */"
plain=$(words '#syscalls' "$@" || true)
filter jail_machine ''
filter jail_caller "$(words '#syscalls:caller' "$@" || true)"

# what numbers are called, for messages
echo "static const char *const jail_names[] = {"
numbers | sed 's/.* \(.*\)/	[__NR_\1] = "\1",/'
echo "};"
