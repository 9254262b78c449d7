/* t_boot - kernels of every kind are loaded as each protocol wants it, byte by byte */

#include "boot_rig.h"
#include "layout_x86.h"
#include "suite.h"

/* two segments with a gap, the second with a bss, and addresses that are no page's start */
static const struct seg segs[] = {
	{ 0xffffffff81000000, 16 * MiB, 70000, 70000 },
	{ 0xffffffff81200000 + 48, 18 * MiB + 48, 9000, 1 * MiB },
};

#define ENTRY (16 * MiB + 0x20)

static const enum pack packs[] = { PACK_NONE, PACK_GZIP, PACK_XZ, PACK_LZ4 };

static void expect_bytes(const struct rig *rig, gpa_t from, uint64_t len, uint64_t filesz)
{
	uint8_t *b = malloc(len);
	uint64_t k = 0;

	ck_assert_ptr_nonnull(b);
	ck_assert_int_eq(gmem_read(&rig->mem, from, b, len), 0);
	while (k < len && b[k] == (k < filesz ? pattern(from + k) : 0)) /* libcheck is slow */
		k++;
	ck_assert_msg(k == len, "wrong byte at %#lx", from + k);
	free(b);
}

static void expect_loaded(const struct rig *rig)
{
	for (unsigned i = 0; i < ARRAY_SIZE(segs); i++)
		expect_bytes(rig, segs[i].gpa, segs[i].filesz + 5000, segs[i].filesz);
}

static void expect_entry(const struct rig *rig, int mode, gpa_t rip, const char *how)
{
	ck_assert_str_eq(rig->entry.how, how);
	ck_assert_int_eq(rig->entry.mode, mode);
	ck_assert_uint_eq(rig->entry.rip, rip);
	ck_assert_uint_eq(rig->entry.arg, mode == ENTRY_LONG ? ZERO_PAGE : PVH_START_INFO);
}

/* what is chosen for an ELF file with these notes, when asked so */
static const struct choice {
	unsigned notes;
	enum conf_boot asked;
	int mode;
} choices[] = {
	{ 0, BOOT_AUTO, ENTRY_LONG },
	{ 0, BOOT_ELF, ENTRY_LONG },
	{ NOTE_PVH, BOOT_AUTO, ENTRY_PROT32 },
	{ NOTE_PVH, BOOT_ELF, ENTRY_LONG },
	{ NOTE_PVH, BOOT_PVH, ENTRY_PROT32 },
	{ NOTE_PVH | NOTE_WIDE, BOOT_AUTO, ENTRY_PROT32 },
	{ NOTE_PVH | NOTE_LINUX, BOOT_AUTO, ENTRY_LONG },
	{ NOTE_PVH | NOTE_LINUX, BOOT_PVH, ENTRY_PROT32 },
	{ NOTE_PVH | NOTE_LINUX | NOTE_WIDE, BOOT_PVH, ENTRY_PROT32 },
};

START_TEST(elf)
{
	const struct choice *c = &choices[_i];

	for (unsigned p = 0; p < ARRAY_SIZE(packs); p++) {
		struct blob plain cleanup_blob = make_elf(segs, ARRAY_SIZE(segs), ENTRY, c->notes);
		struct blob file cleanup_blob = make_packed(&plain, packs[p]);
		struct rig *rig cleanup_rig = rig_new(64 * MiB);

		rig->conf.boot = c->asked;
		rig_kernel(rig, &file);
		ck_assert_msg(!rig_boot(rig), "%s", err_last());
		expect_loaded(rig);
		if (c->mode == ENTRY_LONG)
			expect_entry(rig, ENTRY_LONG, ENTRY, "ELF");
		else
			expect_entry(rig, ENTRY_PROT32, segs[0].gpa + PVH_OFFSET, "PVH");
	}
}
END_TEST

START_TEST(elf_with_virtual_entry)
{
	struct blob b cleanup_blob = make_elf(segs, 2, segs[1].vaddr + 0x123, 0);
	struct rig *rig cleanup_rig = rig_new(64 * MiB);

	rig_kernel(rig, &b);
	ck_assert_msg(!rig_boot(rig), "%s", err_last());
	expect_entry(rig, ENTRY_LONG, segs[1].gpa + 0x123, "ELF");
}
END_TEST

/* program headers in another order than the bytes in the file: read in one go all the same */
START_TEST(elf_unsorted)
{
	for (unsigned p = 0; p < ARRAY_SIZE(packs); p++) {
		struct blob plain cleanup_blob = make_elf(segs, 2, ENTRY, 0);
		struct rig *rig cleanup_rig = rig_new(64 * MiB);
		struct blob file cleanup_blob = { NULL, 0 };
		uint8_t first[56];

		memcpy(first, plain.data + ELF_PH(0), 56);
		memcpy(plain.data + ELF_PH(0), plain.data + ELF_PH(1), 56);
		memcpy(plain.data + ELF_PH(1), first, 56);
		file = make_packed(&plain, packs[p]);
		rig_kernel(rig, &file);
		ck_assert_msg(!rig_boot(rig), "%s", err_last());
		expect_loaded(rig);
	}
}
END_TEST

/* two segments of the same bytes: the second means going back in the file */
START_TEST(elf_shared_bytes)
{
	for (unsigned p = 0; p < ARRAY_SIZE(packs); p++) {
		/* addresses with the same pattern are this far apart */
		struct seg same[] = { { 0, 16 * MiB, 5000, 5000 }, { 0, 24 * MiB, 5000, 5000 } };
		struct blob plain cleanup_blob = make_elf(same, 2, ENTRY, 0);
		struct rig *rig cleanup_rig = rig_new(64 * MiB);
		struct blob file cleanup_blob = { NULL, 0 };
		uint8_t b;

		memcpy(plain.data + ELF_PH(1) + 8, plain.data + ELF_PH(0) + 8, 8); /* p_offset */
		file = make_packed(&plain, packs[p]);
		rig_kernel(rig, &file);
		ck_assert_msg(!rig_boot(rig), "%s", err_last());
		for (unsigned k = 0; k < 5000; k++) {
			ck_assert_int_eq(gmem_read(&rig->mem, same[1].gpa + k, &b, 1), 0);
			ck_assert_uint_eq(b, pattern(same[0].gpa + k));
		}
	}
}
END_TEST

/* flat guests are small and start at 1 MiB: the least machine runs them */
START_TEST(elf_in_two_mib)
{
	struct seg flat = { 1 * MiB, 1 * MiB, 300, 300 };
	struct blob b cleanup_blob = make_elf(&flat, 1, 1 * MiB, NOTE_PVH);
	struct rig *rig cleanup_rig = rig_new(2 * MiB);

	rig_kernel(rig, &b);
	ck_assert_msg(!rig_boot(rig), "%s", err_last());
	expect_entry(rig, ENTRY_PROT32, 1 * MiB + PVH_OFFSET, "PVH");
}
END_TEST

/* Linux's notes lie in a segment, and are found there without reading the file again */
START_TEST(elf_notes_in_segment)
{
	struct blob plain cleanup_blob = make_elf(segs, 2, ENTRY, NOTE_PVH | NOTE_LOADED);
	struct blob file cleanup_blob = make_packed(&plain, packs[_i]);
	struct rig *rig cleanup_rig = rig_new(64 * MiB);

	rig_kernel(rig, &file);
	ck_assert_msg(!rig_boot(rig), "%s", err_last());
	expect_entry(rig, ENTRY_PROT32, segs[0].gpa + PVH_OFFSET, "PVH");
}
END_TEST

/* a page of zeros in the file is a page the guest does not pay for; one other byte in it is not
 * lost */
START_TEST(elf_zero_pages_stay_untouched)
{
	struct seg seg = { 0, 16 * MiB, 8 * GMEM_PAGE, 8 * GMEM_PAGE };
	struct blob b cleanup_blob = make_elf(&seg, 1, ENTRY, 0);
	static const bool stored[] = { true, false, true, false, true, true, true, false };
	struct rig *rig cleanup_rig = rig_new(64 * MiB);
	uint8_t *page = b.data + b.len - seg.filesz, got[8 * GMEM_PAGE];

	page[2 * GMEM_PAGE] = 0;
	memset(page + 4 * GMEM_PAGE, 0x55, GMEM_PAGE);
	page[6 * GMEM_PAGE - 1] = 1;
	rig_kernel(rig, &b);
	for (unsigned i = 0; i < 8; i++)
		gmem_test_clear_dirty(&rig->mem, seg.gpa + i * GMEM_PAGE);
	ck_assert_msg(!rig_boot(rig), "%s", err_last());
	for (unsigned i = 0; i < 8; i++)
		ck_assert_int_eq(gmem_test_clear_dirty(&rig->mem, seg.gpa + i * GMEM_PAGE),
				 stored[i]);
	ck_assert_int_eq(gmem_read(&rig->mem, seg.gpa, got, sizeof(got)), 0);
	ck_assert_mem_eq(got, page, sizeof(got));
}
END_TEST

static struct blob bzimage_of(enum pack pack, unsigned notes)
{
	struct blob plain cleanup_blob = make_elf(segs, ARRAY_SIZE(segs), ENTRY, notes);
	struct blob packed cleanup_blob = make_packed(&plain, pack);

	return make_bzimage(&packed);
}

START_TEST(elf_out_of_bzimage)
{
	static const enum conf_boot asked[] = { BOOT_AUTO, BOOT_ELF, BOOT_PVH };
	struct blob b cleanup_blob = bzimage_of(packs[_i], NOTE_PVH);

	for (unsigned k = 0; k < ARRAY_SIZE(asked); k++) {
		struct rig *rig cleanup_rig = rig_new(64 * MiB);

		rig->conf.boot = asked[k];
		rig_kernel(rig, &b);
		ck_assert_msg(!rig_boot(rig), "%s", err_last());
		expect_loaded(rig);
		if (asked[k] == BOOT_PVH)
			expect_entry(rig, ENTRY_PROT32, segs[0].gpa + PVH_OFFSET,
				     "PVH, ELF out of bzImage");
		else
			expect_entry(rig, ENTRY_LONG, ENTRY, "ELF out of bzImage");
	}
}
END_TEST

static void expect_bzimage(struct rig *rig, const struct blob *b, gpa_t start)
{
	uint8_t *body = malloc(b->len);

	ck_assert_msg(!rig_boot(rig), "%s", err_last());
	expect_entry(rig, ENTRY_LONG, start + 0x200, "bzImage");
	ck_assert_int_eq(gmem_read(&rig->mem, start, body, b->len - 2048), 0);
	ck_assert_mem_eq(body, b->data + 2048, b->len - 2048);
	free(body);
}

START_TEST(bzimage_as_it_is)
{
	struct blob b cleanup_blob = bzimage_of(PACK_GZIP, 0);
	struct rig *rig cleanup_rig = rig_new(64 * MiB);

	rig->conf.boot = BOOT_BZIMAGE;
	rig_kernel(rig, &b);
	expect_bzimage(rig, &b, 16 * MiB);
}
END_TEST

/* packed in a way that only the kernel itself knows */
START_TEST(bzimage_packed_otherwise)
{
	static const struct {
		const char *name;
		uint8_t magic[9];
	} others[] = {
		{ "zstd", { 0x28, 0xb5, 0x2f, 0xfd } },
		{ "bzip2", { 'B', 'Z', 'h', '9' } },
		{ "lzma", { 0x5d, 0, 0, 0x80, 0 } },
		{ "lzo", { 0x89, 'L', 'Z', 'O', 0, '\r', '\n', 0x1a, '\n' } },
		{ "in a way that is not known", { 0x77, 1, 2, 3, 4, 5, 6, 7, 8 } },
	};
	struct blob payload cleanup_blob = blob_of(NULL, 4096);
	struct rig *rig cleanup_rig = rig_new(64 * MiB);
	struct blob b cleanup_blob = { NULL, 0 };

	memcpy(payload.data, others[_i].magic, 9);
	b = make_bzimage(&payload);
	rig_kernel(rig, &b);
	expect_bzimage(rig, &b, 16 * MiB);
	for (rig->conf.boot = BOOT_ELF; rig->conf.boot <= BOOT_PVH; rig->conf.boot++) {
		ck_assert_int_eq(rig_boot(rig), -1);
		ck_assert_ptr_nonnull(strstr(err_last(), others[_i].name));
		ck_assert_ptr_nonnull(strstr(err_last(), "use --boot bzimage"));
	}
}
END_TEST

START_TEST(bzimage_address)
{
	static const struct {
		uint64_t pref;
		uint32_t align;
		bool relocatable;
		gpa_t start;
	} cases[] = {
		{ 16 * MiB, 2 * MiB, true, 16 * MiB },
		{ 17 * MiB, 2 * MiB, true, 18 * MiB },
		{ 17 * MiB, 3, false, 17 * MiB },
		{ 0, 2 * MiB, true, 2 * MiB },
		{ 0, 0, false, 1 * MiB },
		{ 60 * MiB, 2 * MiB, true, 60 * MiB }, /* ends with memory */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct blob b cleanup_blob = bzimage_of(PACK_GZIP, 0);
		struct rig *rig cleanup_rig = rig_new(64 * MiB);

		blob_put64(&b, 0x258, cases[i].pref);
		blob_put32(&b, 0x230, cases[i].align);
		b.data[0x234] = cases[i].relocatable;
		rig->conf.boot = BOOT_BZIMAGE;
		rig_kernel(rig, &b);
		expect_bzimage(rig, &b, cases[i].start);
	}
}
END_TEST

/* after a reset of the machine: the same again, but for new random numbers */
START_TEST(load_again)
{
	struct blob b cleanup_blob = bzimage_of(packs[_i], 0);
	struct rig *rig cleanup_rig = rig_new(64 * MiB);
	uint8_t *mem[2] = { malloc(32 * MiB), malloc(32 * MiB) };

	rig_kernel(rig, &b);
	ck_assert_msg(!rig_boot(rig), "%s", err_last());
	ck_assert_int_eq(gmem_read(&rig->mem, 0, mem[0], 32 * MiB), 0);
	gmem_discard_all(&rig->mem);
	ck_assert_int_eq(boot_load(rig->boot, &rig->mem, &rig->board, &rig->entry), 0);
	ck_assert_int_eq(gmem_read(&rig->mem, 0, mem[1], 32 * MiB), 0);
	ck_assert_mem_ne(mem[0] + SETUP_DATA + 16, mem[1] + SETUP_DATA + 16, 32);
	memset(mem[0] + SETUP_DATA + 16, 0, 32);
	memset(mem[1] + SETUP_DATA + 16, 0, 32);
	ck_assert_mem_ne(mem[0] + GENID_ADDR, mem[1] + GENID_ADDR, GENID_LEN);
	memset(mem[0] + GENID_ADDR, 0, GENID_LEN);
	memset(mem[1] + GENID_ADDR, 0, GENID_LEN);
	ck_assert_mem_eq(mem[0], mem[1], 32 * MiB);
	free(mem[0]);
	free(mem[1]);
}
END_TEST

START_TEST(cpu_tables)
{
	static const uint64_t gdt[] = { 0, 0x00af9b000000ffff, 0x00cf93000000ffff,
					0x00cf9b000000ffff };
	struct blob b cleanup_blob = bzimage_of(PACK_LZ4, 0);
	struct rig *rig cleanup_rig = rig_new(64 * MiB);
	uint64_t v[4], table = PAGE_TABLES;

	rig_kernel(rig, &b);
	ck_assert_msg(!rig_boot(rig), "%s", err_last());
	ck_assert_int_eq(gmem_read(&rig->mem, GDT_ADDR, v, sizeof(v)), 0);
	ck_assert_mem_eq(v, gdt, sizeof(gdt));
	/* walk them for each 2 MiB of the first GiB, and one behind */
	for (uint64_t addr = 0; addr <= 1 * GiB; addr += 2 * MiB) {
		uint64_t pdpt, pd, page;

		ck_assert_int_eq(gmem_read(&rig->mem, table, &pdpt, 8), 0);
		ck_assert_uint_eq(pdpt & 0xfff, 3);
		ck_assert_int_eq(gmem_read(&rig->mem, (pdpt & ~0xfffULL) + addr / GiB * 8, &pd, 8),
				 0);
		if (addr == 1 * GiB) {
			ck_assert_uint_eq(pd, 0);
			break;
		}
		ck_assert_uint_eq(pd & 0xfff, 3);
		ck_assert_int_eq(gmem_read(&rig->mem, (pd & ~0xfffULL) + addr / (2 * MiB) * 8,
					   &page, 8),
				 0);
		ck_assert_uint_eq(page, addr | 0x83);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("boot");
	TCase *t = tcase_create("kernels");

	tcase_add_loop_test(t, elf, 0, ARRAY_SIZE(choices));
	tcase_add_test(t, elf_with_virtual_entry);
	tcase_add_test(t, elf_unsorted);
	tcase_add_test(t, elf_shared_bytes);
	tcase_add_test(t, elf_in_two_mib);
	tcase_add_loop_test(t, elf_notes_in_segment, 0, ARRAY_SIZE(packs));
	tcase_add_test(t, elf_zero_pages_stay_untouched);
	tcase_add_loop_test(t, elf_out_of_bzimage, 0, ARRAY_SIZE(packs));
	tcase_add_test(t, bzimage_as_it_is);
	tcase_add_loop_test(t, bzimage_packed_otherwise, 0, 5);
	tcase_add_test(t, bzimage_address);
	tcase_add_loop_test(t, load_again, 0, ARRAY_SIZE(packs));
	tcase_add_test(t, cpu_tables);
	suite_add_tcase(s, t);
	return suite_run(s);
}
