/*
 * chain_rig.h - what tests do with the guest of kvm/c/chain.c, and with snapshots of it
 *
 * For tests with libcheck alone, so it is no part of what fuzzers link.
 */
#ifndef HUTCH_TEST_CHAIN_RIG_H
#define HUTCH_TEST_CHAIN_RIG_H

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm_rig.h"
#include "snap.h"
#include "suite.h"

#define STAGES	   60
#define CHAIN_DISK (1U << 20)

/* its disk, made if it is not there */
static inline void copy_disk(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	static char buf[CHAIN_DISK];

	ck_assert_int_eq(read(in, buf, sizeof(buf)), sizeof(buf));
	ck_assert_int_eq(write(out, buf, sizeof(buf)), sizeof(buf));
	close(in);
	close(out);
}

/* it has got so far, and stands still */
static inline void run_to(struct flat *f, unsigned stage)
{
	flat_until_least(f, FLAT_MAILBOX, stage);
	flat_read(f);
	ck_assert_msg(!flat_pause(f), "printed: %s", f->text);
}

/* what it came to */
static inline const char *end_of(struct flat *f)
{
	enum vm_end end = flat_wait(f, 30);

	ck_assert_msg(end == VM_POWEROFF, "%d: %s", end, f->vm->event_text);
	ck_assert_msg(!strncmp(f->text, "chain ", 6), "printed: %s", f->text);
	return f->text;
}

/* the memory of a snapshot, as hutch_kept.c keeps it */
static inline int unpack_parts(struct snap_file *from)
{
	int to = memfd_create("memory", MFD_CLOEXEC);
	static struct conf conf;
	struct snap_info info;

	ck_assert_int_ge(to, 0);
	ck_assert_msg(!snap_check(from, &info, &conf) && !snap_unpack(from, &conf, to), "%s",
		      err_last());
	return to;
}

static inline int unpack(int fd)
{
	struct snap_file from;
	int to;

	ck_assert_msg(!snap_open(&from, fd, "test"), "%s", err_last());
	to = unpack_parts(&from);
	snap_close(&from);
	return to;
}

#endif
