#!/bin/sh
# tests/syscalls.sh: is each file honest about the system calls it makes?
#
#   comments  what each object file takes from the C library, turned into system calls, is what its `#syscalls` comments
#             say, no less and no more; a function that this script does not know is an error
#   requests  each ioctl:REQUEST and other WHAT of a comment stands in that file's code, too
#   filter    the two filters in the build folder have exactly what the comments say
#   grammar   tools/mkseccomp.sh refuses what it would misread
#
# Prints "ok NAME" and "not ok NAME: WHY". Needs what `make` built.
set -u
export LC_ALL=C
cd "$(dirname "$0")/.." || exit 1
B=${B:-build}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/hutch-syscalls.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
sources=$(ls vmm/*.c vmm/*/*.c devices/*.c boot/*.c tools/*.c agent/proto.c agent/archive*.c agent/tree.c)

# FUNCTION SYSCALL...: what functions of the C library come to. Those without a system call make none, or only those
# that vmm/sandbox.c declares for the C library as a whole: memory, threads, stdio, abort().
cat >"$tmp/map" <<'END'
accept4 accept4
access access
bind bind
clock_gettime clock_gettime
close close
closedir close
close_range close_range
connect connect
__dprintf_chk lseek write
dup2 dup2
epoll_create1 epoll_create1
epoll_ctl epoll_ctl
epoll_pwait2 epoll_pwait2
epoll_wait epoll_wait
eventfd eventfd2
eventfd_write write
_exit exit_group
exit exit_group
execv execve
execvp execve
faccessat faccessat2
fallocate fallocate
fchmod fchmod
fchown fchown
fchownat fchownat
fcntl fcntl
fdatasync fdatasync
fdopendir newfstatat fcntl
fgets read
fgetxattr fgetxattr
flistxattr flistxattr
flock flock
fdopen fcntl
fopen openat close
fork clone
fsetxattr fsetxattr
fstat newfstatat
fstatat newfstatat
fsync fsync
ftruncate ftruncate
futimens utimensat
__getdelim read
getegid getegid
geteuid geteuid
getpid getpid
getppid getppid
getrandom getrandom
getrlimit prlimit64
inotify_add_watch inotify_add_watch
inotify_init1 inotify_init1
ioctl ioctl
isatty ioctl
kill kill
kvm_ioctl ioctl
lgetxattr lgetxattr
linkat linkat
listen listen
llistxattr llistxattr
lseek lseek
lstat newfstatat
madvise madvise
memfd_create memfd_create
mkdir mkdir
mkdirat mkdirat
mknodat mknodat
mkostemp openat
mmap mmap
mprotect mprotect
munmap munmap
nanosleep clock_nanosleep
open openat
openat openat
opendir openat newfstatat
scandir openat newfstatat getdents64 close
alphasort
__open_2 openat
pidfd_open pidfd_open
pidfd_send_signal pidfd_send_signal
pipe pipe2
pipe2 pipe2
poll poll
posix_spawnp clone3 vfork execve dup2 close_range rt_sigprocmask rt_sigaction setpgid
prctl prctl
pread pread64
__pread_chk pread64
preadv preadv
preadv2 preadv2
pthread_kill tgkill
pthread_sigmask rt_sigprocmask
pwrite pwrite64
pwritev pwritev
pwritev2 pwritev2
raise tgkill
read read
readdir getdents64
readlink readlink
readlinkat readlinkat
readv readv
realpath getcwd readlink faccessat2
__realpath_chk getcwd readlink
recv recvfrom
rename rename
renameat renameat
__recv_chk recvfrom
recvmsg recvmsg
rmdir rmdir
sched_getaffinity sched_getaffinity
sched_yield sched_yield
send sendto
sendmsg sendmsg
setpriority setpriority
setrlimit prlimit64
setsid setsid
setsockopt setsockopt
shutdown shutdown
sigaction rt_sigaction
signal rt_sigaction
signalfd signalfd4
socket socket
socketpair socketpair
stat newfstatat
statfs statfs
symlinkat symlinkat
tcgetattr ioctl
tcsetattr ioctl
time time
tmpfile openat
umask umask
unlink unlink
unlinkat unlinkat
unshare unshare
utimensat utimensat
waitid waitid
waitpid wait4
write write
writev writev
END
for f in abort atexit calloc cfmakeraw dirfd environ fclose ferror fflush fileno fmemopen fnmatch fputc fputs free ftell fwrite getenv \
	gmtime_r localtime_r malloc mallopt open_memstream posix_memalign pthread_cond_broadcast pthread_cond_destroy pthread_cond_init \
	pthread_cond_signal pthread_cond_wait pthread_create pthread_getcpuclockid pthread_join pthread_mutex_destroy \
	pthread_mutex_init pthread_mutex_lock pthread_mutex_unlock pthread_self pthread_setname_np putc puts qsort qsort_r \
	realloc reallocarray setenv sigabbrev_np sigaddset sigdelset sigemptyset sigfillset snprintf stderr stdout strerror strerrordesc_np sysconf timegm \
	vsnprintf __asprintf_chk __vasprintf_chk __ctype_b_loc __ctype_toupper_loc __errno_location __fprintf_chk __isoc99_sscanf \
	__libc_current_sigrtmin __memcpy_chk __memset_chk __printf_chk __snprintf_chk __sprintf_chk __stack_chk_fail \
	__strcpy_chk __vsnprintf_chk _GLOBAL_OFFSET_TABLE_ stpcpy crc32 crc32_z __sched_cpucount tdelete tdestroy tfind tsearch twalk_r; do
	echo "$f"
done >>"$tmp/map"

# what is in the libraries that hutch brings along makes no system calls but for memory
pure='^(str[^e]|mem[cms]|fdt_|yaml_|lzma_|inflate|deflate|posix_spawn(attr|_file_actions)_)'

# the names a file's comments give, without what narrows them
declared() {
	sed -n 's|.*#syscalls\(:[a-z]*\)\{0,1\} ||; T; s|\*/||; p' "$1" | tr -s ' ' '\n' | sed 's/:.*//' | grep . | sort -u
}

# the system calls of an object file, by the functions it takes from outside; "?NAME" where that is not known
made() { # SOURCE OBJECT
	nm -u "$2" | awk -v pure="$pure" -v raw="$(grep -o '\bSYS_[a-z0-9_]*' "$1" | sed 's/SYS_//')" '
		FILENAME == ARGV[1] { ours[$1]; next }
		FILENAME == ARGV[2] { map[$1] = substr($0, length($1) + 2) " "; next }
		$2 in ours || $2 ~ pure { next }
		$2 == "syscall" { print raw; next }
		{ printf "%s", $2 in map ? map[$2] : "?" $2 " " }' "$tmp/ours" "$tmp/map" - | tr ' ' '\n' | grep . | sort -u
}

comments() {
	for c in $sources; do echo "$B/${c%.c}.o"; done | xargs nm --defined-only 2>/dev/null | awk 'NF == 3 { print $3 }' |
		grep -vx kvm_ioctl | sort -u >"$tmp/ours"
	for c in $sources; do
		o=$B/${c%.c}.o
		if [ ! -e "$o" ]; then
			echo "not ok comments of $c: $o is not built"
			continue
		fi
		# sandbox.c speaks for the C library, too: more than it calls itself
		made "$c" "$o" >"$tmp/made"
		declared "$c" >"$tmp/declared"
		less=$(grep -vxFf "$tmp/declared" "$tmp/made" | tr '\n' ' ')
		more=$(grep -vxFf "$tmp/made" "$tmp/declared" | tr '\n' ' ')
		[ "$c" = vmm/sandbox.c ] && more=
		case $less in \?* | *' ?'*)
			echo "not ok comments of $c: say in tests/syscalls.sh what it calls: $less"
			continue
			;;
		esac
		if [ -n "$less" ]; then
			echo "not ok comments of $c: its #syscalls comments lack $less"
		elif [ -n "$more" ]; then
			echo "not ok comments of $c: it does not do what its #syscalls comments name: $more"
		else
			echo ok
		fi
	done >"$tmp/result"
	grep -v '^ok' "$tmp/result" || echo "ok comments of $(grep -c ok "$tmp/result") files"
}

# a request is used as KVM_RUN, or put together by STEP() from what stands behind KVM_
requests() {
	bad=
	for c in $sources; do
		[ "$c" = vmm/sandbox.c ] && continue
		for what in $(grep -o '#syscalls.*' "$c" | grep -oE ':[-+!]?[A-Z][A-Z0-9_]+' | tr -d ':+!-'); do
			case $what in
			SELF) continue ;;
			FORK) what=fork ;;
			TCSETS) what=tcsetattr ;;
			TCGETS) what='(tcgetattr|isatty)' ;;
			F_GETFL | F_SETFD) what="(fdopendir|$what)" ;;
			esac
			grep -v '#syscalls' "$c" | grep -qE "\b(${what}|${what#KVM_})\b" || bad="$bad $c:$what"
		done
	done
	[ -z "$bad" ] && echo "ok requests" || echo "not ok requests: not in the code:$bad"
}

# same NAME LINE-PATTERN: has the header's array just what these lines say?
same() {
	# shellcheck disable=SC2086
	grep -ohE "$2 [^*]*" $sources | tr -s ' ' '\n' | grep -vE '^(#syscalls(:caller)?)?$' | sort -u >"$tmp/said"
	# what is refused to the machine's threads may be the caller's
	grep ':-' "$tmp/said" | while IFS=: read -r call error; do
		grep -q "^$call$" "$tmp/said" && sed -i "/^$call:$error$/d" "$tmp/said"
	done
	awk -F'[(,]' -v name="$1[[]" '
		/static const/ { mine = $0 ~ name }
		!mine { next }
		/^\tCALL/ { call = $2 }
		/^\t\tIS/ { print call ":" $2 }
		/^\t\tHAS\(/ { print call ":+" $2 }
		/^\t\tHAS_NOT/ { print call ":!" $2 }
		/REFUSE/ { sub(/\)/, "", $5); print call ":-" $5 }
		/^\tONE_OF/ { print $2 }' "$B/seccomp.h" | sort -u >"$tmp/has"
	if cmp -s "$tmp/said" "$tmp/has"; then
		echo "ok $1 of $(wc -l <"$tmp/has") calls"
	else
		echo "not ok $1: $(diff "$tmp/said" "$tmp/has" | grep '^[<>]' | tr '\n' ' ')"
	fi
}

filter() {
	same jail_machine '#syscalls'
	same jail_caller '#syscalls(:caller)?'
}

# refuses NAME PATTERN LINE...
refuses() {
	name=$1 pattern=$2
	shift 2
	printf '/* %s */\n' "$@" >"$tmp/a.c"
	if tools/mkseccomp.sh "$tmp/a.c" >"$tmp/out" 2>&1; then
		echo "not ok refuses $name"
	elif grep -q "$pattern" "$tmp/out"; then
		echo "ok refuses $name"
	else
		echo "not ok refuses $name: $(head -n 2 "$tmp/out")"
	fi
}

grammar() {
	refuses "an unknown call" "know no system call raed" '#syscalls raed'
	refuses "an unknown class" "not '#syscalls" '#syscalls:after read'
	refuses "a list with commas" "not '#syscalls" '#syscalls read, write'
	refuses "a call both whole and narrowed" "ioctl is allowed whole" '#syscalls ioctl' '#syscalls ioctl:KVM_RUN'
	refuses "a call both refused and allowed" "allowed in another" '#syscalls prctl:-EPERM prctl:PR_SET_NAME'
	refuses "a call of the caller that is both" "socket is allowed whole" \
		'#syscalls read socket:AF_UNIX' '#syscalls:caller socket'
	refuses "an argument it does not know" "by which argument" '#syscalls read:STDIN'
	refuses "nothing" "no #syscalls comment" '#syscalls:before read'
}

comments
requests
filter
grammar
