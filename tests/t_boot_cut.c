/* t_boot_cut - kernels cut short or damaged anywhere are refused, with one line that says so */

#include "boot_cases.h"

static void expect_booted(const struct blob *b)
{
	struct rig *rig cleanup_rig = rig_new(64 * MiB);

	rig_kernel(rig, b);
	ck_assert_msg(!rig_boot(rig), "%s", err_last());
}

/* cut anywhere, a kernel is refused: while opening, or when the bytes are missed */
static void expect_cut_refused(const struct blob *whole, enum conf_boot asked)
{
	for (size_t len = 1; len < whole->len; len++) {
		struct blob cut = { whole->data, len };
		struct rig *rig cleanup_rig = rig_new(64 * MiB);

		rig->conf.boot = asked;
		rig_kernel(rig, &cut);
		ck_assert_msg(rig_boot(rig), "%zu bytes of %zu booted", len, whole->len);
		expect_boot_message(rig, "");
	}
}

START_TEST(cut_elf)
{
	struct blob plain cleanup_blob = make_elf(segs, 2, ENTRY, 0);

	expect_cut_refused(&plain, BOOT_AUTO);
}
END_TEST

START_TEST(cut_packed_elf)
{
	static const enum pack packs[] = { PACK_GZIP, PACK_XZ, PACK_LZ4 };
	/* what follows the packed bytes is not missed: the sum of gzip, the index of xz, a length
	 */
	static const size_t tail[] = { 0, 0, 4 };
	struct blob plain cleanup_blob = make_elf(segs, 2, ENTRY, 0);
	struct blob b cleanup_blob = make_packed(&plain, packs[_i]);

	b.len -= tail[_i];
	expect_cut_refused(&b, BOOT_AUTO);
}
END_TEST

START_TEST(cut_bzimage)
{
	struct blob b cleanup_blob = good_bzimage();
	struct blob header = { b.data, 0x26b };

	/* the end may lack what rounds it up to 16 bytes */
	b.len = 2048 + 0x300 + *(uint32_t *)(void *)(b.data + 0x24c);
	ck_assert_uint_ne(b.len % 16, 0);
	expect_booted(&b);
	expect_cut_refused(&b, BOOT_AUTO);
	expect_cut_refused(&b, BOOT_ELF);
	expect_refused(&header, BOOT_AUTO, "it has 619 bytes and its header ends at 620");
}
END_TEST

/* bytes that are wrong where only unpacking tells, or only the sum at its end */
START_TEST(damaged)
{
	static const enum pack packs[] = { PACK_GZIP, PACK_XZ };
	struct seg big = { 0, 16 * MiB, 400000, 400000 };
	struct blob plain cleanup_blob = make_elf(&big, 1, ENTRY, 0);
	struct blob b cleanup_blob = make_packed(&plain, packs[_i]);

	memset(b.data + b.len / 2, 0, 300);
	expect_load_error(&b, BOOT_AUTO, -EBADMSG, "data are damaged after");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("boot_cut");
	TCase *t = tcase_create("cut kernels");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, cut_elf);
	tcase_add_loop_test(t, cut_packed_elf, 0, 3);
	tcase_add_test(t, cut_bzimage);
	tcase_add_loop_test(t, damaged, 0, 2);
	suite_add_tcase(s, t);
	return suite_run(s);
}
