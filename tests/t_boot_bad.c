/* t_boot_bad - every wrong kernel is refused, with one line that says what it is and what would be
 * right */
#include <sys/stat.h>
#include <unistd.h>

#include "boot_cases.h"

static void expect_path_refused(struct rig *rig, const char *path, const char *part)
{
	ck_assert_int_eq(str_copy(rig->conf.kernel, CONF_PATH, path), 0);
	ck_assert_int_eq(rig_boot(rig), -1);
	expect_boot_message(rig, part);
}

START_TEST(no_file)
{
	static const char pipe_path[] = "/tmp/t_boot_bad.pipe";
	struct rig *rig cleanup_rig = rig_new(64 * MiB);

	expect_path_refused(rig, "/nonexistent/vmlinuz",
			    "there is no such file; name a Linux kernel");
	expect_path_refused(rig, "/proc", "is a directory; name a Linux kernel");
	expect_path_refused(rig, "/dev/null", "is a character device");
	unlink(pipe_path);
	ck_assert_int_eq(mkfifo(pipe_path, 0600), 0);
	expect_path_refused(rig, pipe_path, "is a pipe");
	unlink(pipe_path);
}
END_TEST

START_TEST(not_a_kernel)
{
	static const struct {
		size_t off;
		const char *magic, *part;
	} cases[] = {
		{ 0, "", "is not a Linux kernel: neither a bzImage nor an ELF file" },
		{ 56, "ARM\x64", "arm64" },
		{ 56, "RSC\x05", "RISC-V" },
		{ 4, "zimg", "zboot" },
		{ 0, "\x27\x05\x19\x56", "uImage" },
		{ 0, "070701", "cpio archive, as for --initrd" },
		{ 0, "QFI\xfb", "qcow2" },
		{ 0, "hsqs", "squashfs" },
		{ 1080, "\x53\xef", "ext4" },
		{ 0, "#!/bin/sh", "a script" },
		{ 0, "MZ", "Windows program" },
		{ 0, "\x28\xb5\x2f\xfd", "is packed with zstd, which is not known here" },
		{ 0, "BZh9", "is packed with bzip2" },
		{ 0, "\x89LZO\0", "is not a Linux kernel" },
	};
	struct blob empty cleanup_blob = { NULL, 0 };

	expect_refused(&empty, BOOT_AUTO, "is empty");
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct blob b cleanup_blob = blob_of(NULL, 5000);

		for (size_t k = 0; k < b.len; k++)
			b.data[k] = pattern(k) | 0x80;
		memcpy(b.data + cases[i].off, cases[i].magic, strlen(cases[i].magic));
		expect_refused(&b, BOOT_AUTO, cases[i].part);
	}
}
END_TEST

/* what is wrong stands inside the packed bytes */
START_TEST(not_a_kernel_once_unpacked)
{
	struct blob arm cleanup_blob = blob_of(NULL, 5000), gz cleanup_blob = { NULL, 0 };
	struct blob bz cleanup_blob = good_bzimage(),
		       gz_bz cleanup_blob = make_packed(&bz, PACK_XZ);
	struct blob twice cleanup_blob = make_packed(&gz_bz, PACK_LZ4);

	memcpy(arm.data + 56, "ARM\x64", 4);
	gz = make_packed(&arm, PACK_GZIP);
	expect_refused(&gz, BOOT_AUTO, "arm64");
	expect_refused(&gz_bz, BOOT_AUTO, "neither a bzImage nor an ELF file");
	expect_refused(&twice, BOOT_AUTO, "its lz4 data hold something packed again");
}
END_TEST

START_TEST(wrong_elf)
{
	static const struct {
		size_t off, len;
		uint64_t v;
		const char *part;
	} cases[] = {
		{ 4, 1, 1, "is a 32-bit ELF file" },
		{ 5, 1, 2, "for another machine" },
		{ 18, 2, 183, "for another machine (e_machine 183)" },
		{ 16, 2, 1, "of type 1, not a program" },
		{ 54, 2, 32, "without program headers" },
		{ 56, 2, 0, "without program headers" },
		{ 56, 2, 65, "has 65 program headers; 64 are the limit" },
		{ 32, 8, 1 << 20, "is truncated: its program headers at 0x100000" },
		{ 32, 8, UINT64_MAX, "is truncated: its program headers at 0xffffffffffffffff" },
		{ ELF_PH(0) + 8, 8, 1 << 20, "is truncated: its segment" },
		{ ELF_PH(0) + 8, 8, UINT64_MAX - 99, "is truncated: its segment" },
		{ ELF_PH(0) + 24, 8, 0xff000, "lies below 1 MiB" },
		{ ELF_PH(0) + 24, 8, UINT64_MAX - 599, "wraps around" },
		{ ELF_PH(0) + 24, 8, 18 * MiB - 599, "overlap" },
		{ ELF_PH(0) + 24, 8, 26 * MiB - 1, "overlap" },
		{ ELF_PH(0) + 32, 8, 601, "more bytes in the file (0x259) than in memory (0x258)" },
		{ ELF_PH(0) + 40, 8, UINT64_MAX, "wraps around" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct blob b cleanup_blob = good_elf();

		memcpy(b.data + cases[i].off, &cases[i].v, cases[i].len);
		expect_refused(&b, BOOT_AUTO, cases[i].part);
	}
}
END_TEST

START_TEST(elf_without_segments)
{
	struct blob b cleanup_blob = good_elf(), many cleanup_blob = { NULL, 0 };
	struct seg seg[33];

	blob_put32(&b, ELF_PH(0), 0);
	blob_put32(&b, ELF_PH(1), 0);
	expect_refused(&b, BOOT_AUTO, "nothing to load");
	for (unsigned i = 0; i < ARRAY_SIZE(seg); i++)
		seg[i] = (struct seg){ 0, 16 * MiB + i * MiB, 1, 1 };
	many = make_elf(seg, ARRAY_SIZE(seg), ENTRY, 0);
	expect_refused(&many, BOOT_AUTO, "more than 32 segments");
}
END_TEST

START_TEST(elf_beside_memory)
{
	static const struct {
		gpa_t gpa;
		uint64_t memsz;
		int code;
		const char *part;
	} cases[] = {
		{ 63 * MiB, 1 * MiB + 1, -ENOMEM,
		  "needs 65M of memory to start and the machine has 64M" },
		{ 64 * MiB, 600, -ENOMEM, "needs 65M of memory" },
		{ 100 * MiB, 1 * MiB, -ENOMEM, "needs 101M of memory" },
		{ 16 * MiB, 2 * GiB, -ENOEXEC, "reaches into the hole for devices" },
		{ 3 * GiB, 1 * MiB, -ENOEXEC, "reaches into the hole for devices" },
		{ 16 * MiB, 1ULL << 62, -ENOEXEC, "reaches into the hole for devices" },
		{ 4 * GiB, 1 * MiB, -ENOMEM, "give more --memory" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct seg seg = { 0x100000000000, cases[i].gpa, 600, cases[i].memsz };
		struct blob b cleanup_blob = make_elf(&seg, 1, cases[i].gpa + 0x20, NOTE_PVH);

		expect_load_error(&b, BOOT_PVH, cases[i].code, cases[i].part);
	}
}
END_TEST

START_TEST(elf_entry)
{
	struct seg high = { 0x100000000000, 1 * GiB + 16 * MiB, 600, 600 };
	struct blob none cleanup_blob = make_elf(segs, 2, 0x1234, NOTE_LINUX);
	struct blob pvh cleanup_blob = good_elf();
	struct blob above cleanup_blob = make_elf(&high, 1, high.gpa, 0);
	struct rig *rig cleanup_rig = rig_new(2 * GiB);

	expect_load_error(&none, BOOT_AUTO, -ENOEXEC,
			  "its entry point lies in none of its segments");
	expect_load_error(&none, BOOT_PVH, -ENOEXEC, "has no PVH entry");
	blob_put64(&pvh, 24, 0); /* e_entry does not matter there */
	expect_load_error(&pvh, BOOT_ELF, -ENOEXEC, "its entry point lies in none of its segments");
	rig_kernel(rig, &above);
	ck_assert_int_eq(rig_boot(rig), -ENOTSUP);
	expect_boot_message(rig, "lies above 1 GiB");
}
END_TEST

START_TEST(pvh_entry_elsewhere)
{
	static const uint8_t xen[] = { 'X', 'e', 'n', 0 };
	struct blob b cleanup_blob = good_elf();
	uint8_t *note = memmem(b.data, b.len, xen, sizeof(xen));

	ck_assert_ptr_nonnull(note);
	blob_put32(&b, (size_t)(note - b.data) + 4, 0x200000);
	expect_load_error(&b, BOOT_AUTO, -ENOEXEC,
			  "its PVH entry 0x200000 lies in none of its segments");
	note[0] = 'x'; /* another owner's note of the same type */
	expect_load_error(&b, BOOT_PVH, -ENOEXEC, "has no PVH entry");
}
END_TEST

START_TEST(wrong_bzimage)
{
	static const struct {
		size_t off, len;
		uint64_t v;
		const char *part;
	} cases[] = {
		{ 0x206, 2, 0x205, "speaks boot protocol 2.05, too old" },
		{ 0x206, 2, 0x20b, "has no 64-bit entry" },
		{ 0x236, 2, 0, "has no 64-bit entry" },
		{ 0x201, 1, 0x61, "it ends at 0x263, before init_size" },
		{ 0x230, 4, 0, "kernel_alignment is 0" },
		{ 0x230, 4, 3 * MiB, "kernel_alignment is 0x300000" },
		{ 0x1f1, 1, 64, "is truncated" },
		{ 0x1f4, 4, 1 << 20, "is truncated" },
		{ 0x248, 4, UINT32_MAX, "is truncated: its payload" },
		{ 0x24c, 4, UINT32_MAX, "is truncated: its payload" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct blob b cleanup_blob = good_bzimage();

		memcpy(b.data + cases[i].off, &cases[i].v, cases[i].len);
		for (unsigned asked = BOOT_AUTO; asked <= BOOT_PVH; asked++)
			expect_refused(&b, asked, cases[i].part);
	}
}
END_TEST

START_TEST(bzimage_beside_memory)
{
	static const struct {
		size_t off, len;
		uint64_t v;
		int code;
		const char *part;
	} cases[] = {
		{ 0x258, 8, 61 * MiB, -ENOMEM,
		  "needs 66M of memory to start and the machine has 64M" },
		{ 0x260, 4, 48 * MiB + 1, -ENOMEM,
		  "needs 65M of memory to start and the machine has 64M" },
		{ 0x260, 4, UINT32_MAX, -ENOTSUP, "must stay below 1 GiB" },
		{ 0x258, 8, 1 * GiB, -ENOTSUP, "must stay below 1 GiB" },
		{ 0x258, 8, UINT64_MAX, -ENOTSUP, "must stay below 1 GiB" },
		{ 0x230, 4, 0x80000000, -ENOTSUP, "must stay below 1 GiB" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct blob b cleanup_blob = good_bzimage();

		memcpy(b.data + cases[i].off, &cases[i].v, cases[i].len);
		expect_load_error(&b, BOOT_BZIMAGE, cases[i].code, cases[i].part);
	}
}
END_TEST

START_TEST(asked_for_what_it_is_not)
{
	struct blob b cleanup_blob = good_elf();

	expect_refused(&b, BOOT_BZIMAGE, "is no bzImage; use --boot auto");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("boot_bad");
	TCase *t = tcase_create("wrong kernels");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, no_file);
	tcase_add_test(t, not_a_kernel);
	tcase_add_test(t, not_a_kernel_once_unpacked);
	tcase_add_test(t, wrong_elf);
	tcase_add_test(t, elf_without_segments);
	tcase_add_test(t, elf_beside_memory);
	tcase_add_test(t, elf_entry);
	tcase_add_test(t, pvh_entry_elsewhere);
	tcase_add_test(t, wrong_bzimage);
	tcase_add_test(t, bzimage_beside_memory);
	tcase_add_test(t, asked_for_what_it_is_not);
	suite_add_tcase(s, t);
	return suite_run(s);
}
