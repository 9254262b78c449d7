/* t_initrd - initial file systems are joined, placed and refused as they should be */
#include <unistd.h>

#include "boot_cases.h"

static struct blob letters(char c, size_t len)
{
	struct blob b = blob_of(NULL, len);

	memset(b.data, c, len);
	return b;
}

/* joined in the order given, each at a multiple of 4, with zeros between; ours last */
START_TEST(initrd_joined)
{
	struct blob a cleanup_blob = letters('a', 5), b cleanup_blob = letters('b', 8);
	struct blob c cleanup_blob = letters('c', 3);
	struct rig *rig cleanup_rig = small_elf(64 * MiB, 0);
	struct boot_params bp;
	char text[32] = "";

	rig_initrd(rig, &a);
	rig_initrd(rig, &b);
	rig_initrd(rig, &c);
	rig->boot = boot_open(&rig->conf);
	ck_assert_int_eq(boot_add_initrd(rig->boot, "dd", 2), 0);
	ck_assert_int_eq(boot_add_initrd(rig->boot, "", 0), 0);
	ck_assert_int_eq(boot_add_initrd(rig->boot, "e", 1), 0);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(boot_load(rig->boot, &rig->mem, &rig->board, &rig->entry), 0);
		ck_assert_int_eq(gmem_read(&rig->mem, ZERO_PAGE, &bp, sizeof(bp)), 0);
		ck_assert_uint_eq(bp.hdr.ramdisk_size, 25);
		ck_assert_uint_eq(bp.hdr.ramdisk_image, 64 * MiB - 4096);
		ck_assert_uint_eq(bp.ext_ramdisk_image | bp.ext_ramdisk_size, 0);
		ck_assert_int_eq(gmem_read(&rig->mem, bp.hdr.ramdisk_image, text, 32), 0);
		ck_assert_mem_eq(text, "aaaaa\0\0\0bbbbbbbbccc\0dd\0\0e\0\0\0\0\0\0\0", 32);
		gmem_discard_all(&rig->mem);
	}
}
END_TEST

START_TEST(initrd_parts)
{
	struct rig *rig cleanup_rig = small_elf(64 * MiB, 0);

	rig->boot = boot_open(&rig->conf);
	for (unsigned i = 0; i < CONF_INITRDS + 4; i++)
		ck_assert_int_eq(boot_add_initrd(rig->boot, "x", 1), 0);
	ck_assert_int_eq(boot_add_initrd(rig->boot, "x", 1), -E2BIG);
}
END_TEST

START_TEST(initrd_missing)
{
	struct rig *rig cleanup_rig = small_elf(64 * MiB, 0);
	struct blob empty cleanup_blob = { NULL, 0 };

	rig_initrd(rig, &empty);
	ck_assert_int_eq(rig_boot(rig), -1);
	ck_assert_ptr_nonnull(strstr(err_last(), "is empty; name a cpio archive"));
	ck_assert_int_eq(str_copy(rig->conf.initrd[0].path, CONF_PATH, "/nonexistent/rd"), 0);
	ck_assert_int_eq(rig_boot(rig), -1);
	ck_assert_str_eq(err_last(), "initrd /nonexistent/rd: there is no such file; name a cpio "
				     "archive, packed or not");
	ck_assert_int_eq(str_copy(rig->conf.initrd[0].path, CONF_PATH, "/proc"), 0);
	ck_assert_int_eq(rig_boot(rig), -1);
	ck_assert_ptr_nonnull(strstr(err_last(), "initrd /proc: is a directory"));
}
END_TEST

/* the kernel ends at 24 MiB: of 64 MiB, 40 are left, to the byte */
START_TEST(initrd_fits_beside)
{
	struct rig *rig cleanup_rig = small_elf(64 * MiB, 0);
	struct blob b cleanup_blob = { NULL, 0 };
	struct boot_params bp;

	rig_initrd(rig, &b);
	ck_assert_int_eq(ftruncate(rig->fd[1], 40 * MiB), 0);
	bp = zero_page(rig);
	ck_assert_uint_eq(bp.hdr.ramdisk_image, 24 * MiB);
	ck_assert_uint_eq(bp.hdr.ramdisk_size, 40 * MiB);
	ck_assert_int_eq(ftruncate(rig->fd[1], 40 * MiB + 1), 0);
	ck_assert_int_eq(rig_boot(rig), -ENOMEM);
	ck_assert_ptr_nonnull(strstr(err_last(), "41M do not fit beside the kernel"));
	ck_assert_ptr_nonnull(strstr(err_last(), "in the 64M of memory"));
	ck_assert_int_eq(ftruncate(rig->fd[1], 1LL << 50), 0);
	ck_assert_int_eq(rig_boot(rig), -ENOMEM);
	rig_initrd(rig, &b);
	rig_initrd(rig, &b);
	/* together they would be 10 bytes, if 64 bits were all */
	ck_assert_int_eq(ftruncate(rig->fd[1], INT64_MAX), 0);
	ck_assert_int_eq(ftruncate(rig->fd[2], INT64_MAX), 0);
	ck_assert_int_eq(ftruncate(rig->fd[3], 10), 0);
	ck_assert_int_eq(rig_boot(rig), -ENOMEM);
	ck_assert_ptr_nonnull(strstr(err_last(), " and 2 more: "));
}
END_TEST

/* the kernel lies from 16 to 24 MiB of 26: what 2 MiB above it do not hold goes below it */
START_TEST(initrd_below_kernel)
{
	static const struct {
		uint64_t len;
		gpa_t want; /* 0: refused */
	} cases[] = {
		{ 2 * MiB, 24 * MiB },
		{ 2 * MiB + 1, 14 * MiB - 4096 },
		{ 15 * MiB, 1 * MiB },
		{ 15 * MiB + 1, 0 },
	};
	struct blob b cleanup_blob = small_bzimage(), rd cleanup_blob = letters('r', 1);

	blob_put32(&b, 0x260, 8 * MiB);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig *rig cleanup_rig = rig_new(26 * MiB);
		struct boot_params bp;

		rig->conf.boot = _i ? BOOT_BZIMAGE : BOOT_AUTO;
		rig_kernel(rig, &b);
		rig_initrd(rig, &rd);
		ck_assert_int_eq(ftruncate(rig->fd[1], (off_t)cases[i].len), 0);
		if (cases[i].want) {
			bp = zero_page(rig);
			ck_assert_uint_eq(bp.hdr.ramdisk_image, cases[i].want);
		} else {
			ck_assert_int_eq(rig_boot(rig), -ENOMEM);
		}
	}
}
END_TEST

/* below where the kernel looks for it, above the end of all it uses */
START_TEST(initrd_limit)
{
	struct blob bz cleanup_blob = small_bzimage(), rd cleanup_blob = letters('r', 3 * MiB);
	struct rig *rig cleanup_rig = rig_new(64 * MiB);
	struct boot_params bp;

	blob_put32(&bz, 0x22c, 31 * MiB - 1);
	blob_put32(&bz, 0x260, 12 * MiB);
	rig_kernel(rig, &bz);
	rig_initrd(rig, &rd);
	bp = zero_page(rig);
	ck_assert_uint_eq(bp.hdr.ramdisk_image, 28 * MiB);
	/* the ELF inside ends at 24 MiB, but the bzImage itself needs up to 28 MiB to unpack */
	rig->conf.boot = BOOT_BZIMAGE;
	bp = zero_page(rig);
	ck_assert_uint_eq(bp.hdr.ramdisk_image, 28 * MiB);
	ck_assert_int_eq(ftruncate(rig->fd[1], 3 * MiB + 1), 0);
	bp = zero_page(rig);
	ck_assert_uint_eq(bp.hdr.ramdisk_image, 13 * MiB - 4096);
}
END_TEST

/* high memory is no place for it, and neither is what lies above 2 GiB */
START_TEST(initrd_of_large_machine)
{
	struct rig *rig cleanup_rig = small_elf(6 * GiB, NOTE_PVH);
	struct blob rd cleanup_blob = letters('r', 4097);
	struct pvh_start_info si;
	struct pvh_module mod;

	rig_initrd(rig, &rd);
	si = start_info(rig);
	ck_assert_int_eq(gmem_read(&rig->mem, si.modlist, &mod, sizeof(mod)), 0);
	ck_assert_uint_eq(mod.addr, 2 * GiB - 8192);
}
END_TEST

START_TEST(initrd_of_pvh)
{
	struct rig *rig cleanup_rig = small_elf(64 * MiB, NOTE_PVH);
	struct blob rd cleanup_blob = blob_of("0123456789", 10);
	struct pvh_start_info si;
	struct pvh_module mod;
	char text[16] = "";

	rig_initrd(rig, &rd);
	si = start_info(rig);
	ck_assert_uint_eq(si.nr_modules, 1);
	ck_assert_int_eq(gmem_read(&rig->mem, si.modlist, &mod, sizeof(mod)), 0);
	ck_assert_uint_eq(mod.size, 10);
	ck_assert_uint_eq(mod.cmdline, 0);
	ck_assert_uint_eq(mod.addr, 64 * MiB - 4096);
	ck_assert_int_eq(gmem_read(&rig->mem, mod.addr, text, 10), 0);
	ck_assert_str_eq(text, "0123456789");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("initrd");
	TCase *t = tcase_create("initrd");

	tcase_add_test(t, initrd_joined);
	tcase_add_test(t, initrd_parts);
	tcase_add_test(t, initrd_missing);
	tcase_add_test(t, initrd_fits_beside);
	tcase_add_loop_test(t, initrd_below_kernel, 0, 2);
	tcase_add_test(t, initrd_limit);
	tcase_add_test(t, initrd_of_large_machine);
	tcase_add_test(t, initrd_of_pvh);
	suite_add_tcase(s, t);
	return suite_run(s);
}
