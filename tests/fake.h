/*
 * fake.h - a machine without KVM: memory, bus, an interrupt controller that takes notes
 *
 * Memory is small and in three slots, so that ends of memory are hit often:
 * [0, 64K), and two of 16K side by side at 1 MiB, which no host pointer spans.
 *
 * What the guest stores goes around gmem_write(), which would hide a missing
 * dirty mark, and into a shadow of memory.  Where memory and shadow differ the
 * VMM has stored, and fake_check_dirty() wants that page marked.
 */
#ifndef HUTCH_TEST_FAKE_H
#define HUTCH_TEST_FAKE_H

#include "dev.h"
#include "virtio.h"

#define FAKE_LOW_END   0x10000ULL
#define FAKE_HIGH      0x100000ULL
#define FAKE_HIGH_SLOT 0x4000ULL
#define FAKE_HIGH_END  (FAKE_HIGH + 2 * FAKE_HIGH_SLOT)
#define FAKE_RAM       (FAKE_LOW_END + 2 * FAKE_HIGH_SLOT)
#define FAKE_MSIS      64
#define FAKE_KICKS     128
#define FAKE_DEVS      8

/* for helpers, which are also linked into fuzzers and so cannot use libcheck */
#define require(cond)                                         \
	do {                                                  \
		if (!(cond))                                  \
			fake_fail(__FILE__, __LINE__, #cond); \
	} while (0)
void fake_fail(const char *file, int line, const char *what) __attribute__((noreturn));

struct fake_msi {
	uint64_t addr;
	uint32_t data;
};

struct fake_kick {
	uint64_t addr;
	unsigned len;
	bool matched;
	uint32_t match;
	int fd;
};

struct fake {
	struct machine m;
	struct gmem mem;
	struct bus bus;
	struct irq irq;
	unsigned devs;
	struct dev *dev[FAKE_DEVS]; /* made by fake_dev(), freed with the machine */

	bool level[IRQ_LINES];
	unsigned rises[IRQ_LINES], line_calls;
	unsigned msis; /* all that came; the last FAKE_MSIS are kept */
	struct fake_msi msi[FAKE_MSIS];
	bool catch_kicks; /* as KVM does; else every kick is a register write */
	unsigned kicks;
	struct fake_kick kick[FAKE_KICKS];

	int event; /* last of enum machine_event */
	unsigned events;
	char why[128];

	uint8_t shadow[FAKE_RAM];
};

struct fake *fake_new(void);
void fake_free(struct fake *f);

/* NULL with err_last(), as dev_new() */
struct dev *fake_dev(struct fake *f, const struct dev_type *type, int index, const void *conf);
void fake_dev_free(struct fake *f, struct dev *dev);
bool fake_is_virtio(const struct dev *dev);
/* one of its counters, which has to be there */
uint64_t fake_counter(const struct dev *dev, const char *name);

/* free @dev, and run the loop for @ms more: what it left behind there would run, on memory that is
 * gone and zeroed */
void fake_dev_gone(struct fake *f, struct dev *dev, unsigned ms);

/* run the loop until no device has anything to do */
void fake_settle(struct fake *f);
/* one look at everything that is ready */
void fake_turn(struct fake *f);

/* the guest's own loads and stores of memory; the range has to be RAM */
void fake_poke(struct fake *f, gpa_t gpa, const void *src, size_t len);
void fake_peek(struct fake *f, gpa_t gpa, void *dst, size_t len);
void fake_fill(struct fake *f, gpa_t gpa, uint8_t c, size_t len);
void fake_poke16(struct fake *f, gpa_t gpa, uint16_t v);
uint16_t fake_peek16(struct fake *f, gpa_t gpa);
uint8_t fake_peek8(struct fake *f, gpa_t gpa);

/* a store to a register, as KVM takes it: some are kicks */
void fake_mmio(struct fake *f, uint64_t addr, unsigned len, uint64_t v);

/* from here on the VMM's stores count */
void fake_mark(struct fake *f);
/* every page the VMM has stored to since is dirty; says how many pages those are */
unsigned fake_check_dirty(struct fake *f);

/* all RAM as one block, for comparing and moving */
void fake_ram_get(struct fake *f, uint8_t *buf);
void fake_ram_set(struct fake *f, const uint8_t *buf);

/* drain, save the devices as one tree, resume: its size */
int fake_save(struct fake *f, void *buf, size_t size);
/* fdt_check_full() and dev_load() of each device: 0, or what one of them said */
int fake_load(struct fake *f, const void *fdt, size_t size);
void fake_resume(struct fake *f);

/* lines in the log of all fakes of this process that contain @text */
unsigned fake_log_lines(const char *text);
void fake_log_clear(void);

/* a folder for a test's files; the second call removes it with all files in it */
const char *fake_folder(void);
void fake_folder_remove(void);
/* a file of @size bytes there: its path, until the next call */
const char *fake_file(const char *name, const void *data, size_t size);

/* open descriptors and threads of this process */
unsigned fake_fds(void);
unsigned fake_threads(void);

/* xorshift: the same numbers everywhere, from any seed but 0 */
uint32_t fake_random(uint32_t *state);
/* a number that breaks arithmetic on lengths, addresses and indexes */
uint64_t fake_odd(uint32_t *state);

#endif
