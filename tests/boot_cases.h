/* boot_cases.h - good kernels of two segments and of one, what they are told, and how bad ones are
 * refused */
#ifndef HUTCH_TEST_BOOT_CASES_H
#define HUTCH_TEST_BOOT_CASES_H

#include <asm/bootparam.h>

#include "boot_rig.h"
#include "layout_x86.h"
#include "pvh.h"
#include "suite.h"

#define ENTRY (16 * MiB + 0x20)

static const struct seg segs[] = {
	{ 0xffffffff81000000, 16 * MiB, 600, 600 },
	{ 0xffffffff81200000, 18 * MiB, 300, 8 * MiB },
};

static inline struct blob good_elf(void)
{
	return make_elf(segs, ARRAY_SIZE(segs), ENTRY, NOTE_PVH);
}

static inline struct blob good_bzimage(void)
{
	struct blob plain cleanup_blob = good_elf();
	struct blob packed cleanup_blob = make_packed(&plain, PACK_GZIP);

	return make_bzimage(&packed);
}

static const struct seg small_seg[] = { { 0xffffffff81000000, 16 * MiB, 600, 8 * MiB } };

static inline struct rig *small_elf(uint64_t memory, unsigned notes)
{
	struct blob b cleanup_blob = make_elf(small_seg, 1, ENTRY, notes);
	struct rig *rig = rig_new(memory);

	rig_kernel(rig, &b);
	return rig;
}

static inline struct blob small_bzimage(void)
{
	struct blob plain cleanup_blob = make_elf(small_seg, 1, ENTRY, NOTE_PVH);
	struct blob packed cleanup_blob = make_packed(&plain, PACK_LZ4);

	return make_bzimage(&packed);
}

static inline struct boot_params zero_page(struct rig *rig)
{
	struct boot_params bp;

	ck_assert_msg(!rig_boot(rig), "%s", err_last());
	ck_assert_int_eq(rig->entry.mode, ENTRY_LONG);
	ck_assert_int_eq(gmem_read(&rig->mem, rig->entry.arg, &bp, sizeof(bp)), 0);
	return bp;
}

static inline struct pvh_start_info start_info(struct rig *rig)
{
	struct pvh_start_info si;

	ck_assert_msg(!rig_boot(rig), "%s", err_last());
	ck_assert_int_eq(rig->entry.mode, ENTRY_PROT32);
	ck_assert_int_eq(gmem_read(&rig->mem, rig->entry.arg, &si, sizeof(si)), 0);
	return si;
}

/* the message is one line that begins with "kernel PATH: " */
static inline void expect_boot_message(const struct rig *rig, const char *part)
{
	char start[CONF_PATH + 16];

	snprintf(start, sizeof(start), "kernel %s: ", rig->conf.kernel);
	ck_assert_msg(!strncmp(err_last(), start, strlen(start)), "'%s' for '%s'", err_last(),
		      part);
	ck_assert_msg(strstr(err_last(), part) != NULL, "'%s' lacks '%s'", err_last(), part);
	ck_assert_ptr_null(strchr(err_last(), '\n'));
}

/* refused while opening */
static inline void expect_refused(const struct blob *b, enum conf_boot asked, const char *part)
{
	struct rig *rig cleanup_rig = rig_new(64 * MiB);

	rig->conf.boot = asked;
	rig_kernel(rig, b);
	ck_assert_msg(rig_boot(rig) == -1, "not refused: '%s' (%s)", part, err_last());
	expect_boot_message(rig, part);
}

/* refused while loading, where memory is known */
static inline void expect_load_error(const struct blob *b, enum conf_boot asked, int code,
				     const char *part)
{
	struct rig *rig cleanup_rig = rig_new(64 * MiB);
	int r;

	rig->conf.boot = asked;
	rig_kernel(rig, b);
	r = rig_boot(rig);
	ck_assert_msg(r == code, "%d instead of %d for '%s': %s", r, code, part, err_last());
	expect_boot_message(rig, part);
}

#endif
