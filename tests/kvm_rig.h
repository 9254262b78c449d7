/*
 * kvm_rig.h - flat guests (tests/kvm) in machines of this process
 *
 * A machine with its loop thread, as hutch.c makes one, but open: tests reach
 * struct vm.  The console is a pair of pipes that end here.
 */
#ifndef HUTCH_TEST_KVM_RIG_H
#define HUTCH_TEST_KVM_RIG_H

#include "snap_file.h"
#include "vm.h"

struct flat {
	struct conf conf;
	struct loop *loop;
	struct vm *vm;
	pthread_t thread;
	bool has_thread;
	int in, out;	       /* our ends: its keyboard, its screen */
	int guest[2];	       /* its ends */
	int ended;	       /* eventfd */
	bool stalled;	       /* flat_wait() reads nothing */
	struct snap_file from; /* a restored one's, while it lives */
	int uffd;
	size_t len;
	char text[64 << 10]; /* what it printed, with a NUL */
};

/* false, with a line for tests/run.sh that says why, where there is no KVM */
bool flat_possible(void);

/* the ELF file of a guest: beside the test, or in HUTCH_FLAT */
void flat_setup(const char *argv0);
const char *flat_path(const char *guest, char *buf, size_t size);

/* a machine, made and not started, of a guest and pairs of keys and values: NULL with err_last() */
struct flat *flat_new(const char *guest, ...) __attribute__((sentinel));
/* one of a snapshot, with its own console, in which these keys are others: NULL with err_last() */
extern int flat_memory;	    /* its memory, unpacked, or -1 */
extern bool flat_lazy;	    /* its memory comes when it is wanted */
extern int flat_keep;	    /* and is kept here, or -1 */
extern uint64_t flat_whole; /* how often all of it was */
struct flat *flat_restore(int fd, ...) __attribute__((sentinel));
void flat_free(struct flat *f);
void flat_freep(struct flat **f);
#define cleanup_flat cleanup(flat_freep)

int flat_start(struct flat *f) must_check;
/* until it ends: how, or VM_RUNNING when that takes longer */
enum vm_end flat_wait(struct flat *f, unsigned seconds);
/* until it has printed @part: -ETIMEDOUT */
int flat_wait_text(struct flat *f, const char *part) must_check;
/* what there is to be read of what it has printed */
void flat_read(struct flat *f);
enum vm_end flat_run(struct flat *f, unsigned seconds);

/* run on the machine's loop, and wait for it */
int flat_call(struct flat *f, int (*fn)(struct vm *vm));
int flat_pause(struct flat *f);
int flat_resume(struct flat *f);

/* a snapshot into @fd while the guest goes on, one at a time: 0 when it has begun; the second one
 * is for who is on the loop already */
int flat_live_begin(struct flat *f, int fd, int level, const uint8_t *parent) must_check;
int flat_live_on_loop(struct vm *vm, int fd, int level, const uint8_t *parent) must_check;
/* what came of it, -ETIME after 60 s: the sentence, or for how long the guest stood still */
struct flat_live {
	int result;
	uint64_t still_us;
	bool whole; /* of one with a parent */
	char text[512];
};
struct flat_live flat_live_end(void);
/* the only child process there is of @parent but those of echo_rig.h, in whatever state, zombies
 * among them; 0: none */
pid_t flat_packer(pid_t parent);

/* the guest's memory as the guest sees it, past gmem and its dirty bits */
volatile uint32_t *flat_word(struct flat *f, gpa_t gpa);
/* wait until the word has this value, at least this one, or any but 0 */
bool flat_until(struct flat *f, gpa_t gpa, uint32_t value);
bool flat_until_least(struct flat *f, gpa_t gpa, uint32_t value);
bool flat_until_set(struct flat *f, gpa_t gpa);

#define FLAT_MAILBOX 0x60000 /* tests/kvm/flat.h */
#define FLAT_BUFFER  0x80000

void sleep_ms(unsigned ms);
/* a line of /proc/self/status in KiB, and how many entries a folder has */
long proc_status(const char *key);
unsigned entries(const char *folder); /* "." and ".." too */

#endif
