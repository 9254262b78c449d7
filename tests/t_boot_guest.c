/* t_boot_guest - what the kernel is told: memory map, zero page, start info, command line, initrd
 */

#include "boot_cases.h"
#include "cmdline.h"
#include "memmap.h"

static void expect_text(const struct rig *rig, gpa_t at, const char *want)
{
	char text[CONF_APPEND + 32] = "";

	ck_assert_int_eq(gmem_read(&rig->mem, at, text, sizeof(text) - 1), 0);
	ck_assert_str_eq(text, want);
}

static const struct {
	uint64_t memory;
	bool pci;
	unsigned n;
	struct memmap_range range[MEMMAP_MAX];
} maps[] = {
	{ 2 * MiB,
	  false,
	  3,
	  { { 0, 0x9fc00, 1 }, { 0x9fc00, 0x60400, 2 }, { 0x100000, 1 * MiB, 1 } } },
	{ 64 * MiB,
	  false,
	  3,
	  { { 0, 0x9fc00, 1 }, { 0x9fc00, 0x60400, 2 }, { 0x100000, 63 * MiB, 1 } } },
	{ 512 * MiB,
	  true,
	  4,
	  { { 0, 0x9fc00, 1 },
	    { 0x9fc00, 0x60400, 2 },
	    { 0x100000, 511 * MiB, 1 },
	    { 0xb0000000, 256 * MiB, 2 } } },
	{ 3 * GiB,
	  false,
	  4,
	  { { 0, 0x9fc00, 1 },
	    { 0x9fc00, 0x60400, 2 },
	    { 0x100000, 2047 * MiB, 1 },
	    { 4 * GiB, 1 * GiB, 1 } } },
	{ 6 * GiB,
	  true,
	  5,
	  { { 0, 0x9fc00, 1 },
	    { 0x9fc00, 0x60400, 2 },
	    { 0x100000, 2047 * MiB, 1 },
	    { 0xb0000000, 256 * MiB, 2 },
	    { 4 * GiB, 4 * GiB, 1 } } },
};

/* the same map by both protocols */
START_TEST(memory_map)
{
	struct seg flat = { 0, 1 * MiB, 600, 600 };
	struct blob b cleanup_blob = make_elf(&flat, 1, 1 * MiB, NOTE_PVH);
	struct rig *rig cleanup_rig = rig_new(maps[_i].memory);
	struct pvh_start_info si;
	struct pvh_range range;
	struct boot_params bp;

	rig_kernel(rig, &b);
	rig->board.pci = maps[_i].pci;
	rig->conf.boot = BOOT_ELF;
	bp = zero_page(rig);
	ck_assert_uint_eq(bp.e820_entries, maps[_i].n);
	rig->conf.boot = BOOT_PVH;
	si = start_info(rig);
	ck_assert_uint_eq(si.memmap_entries, maps[_i].n);
	for (unsigned i = 0; i < maps[_i].n; i++) {
		const struct memmap_range *want = &maps[_i].range[i];

		ck_assert_uint_eq(bp.e820_table[i].addr, want->addr);
		ck_assert_uint_eq(bp.e820_table[i].size, want->size);
		ck_assert_uint_eq(bp.e820_table[i].type, want->type);
		ck_assert_int_eq(gmem_read(&rig->mem, si.memmap + 24 * i, &range, sizeof(range)),
				 0);
		ck_assert_uint_eq(range.addr, want->addr);
		ck_assert_uint_eq(range.size, want->size);
		ck_assert_uint_eq(range.type, want->type);
		ck_assert_uint_eq(range.reserved, 0);
		if (want->type == MEMMAP_RAM)
			ck_assert(gmem_is_ram(&rig->mem, want->addr, want->size));
	}
}
END_TEST

START_TEST(too_little_memory)
{
	struct rig *rig cleanup_rig = small_elf(1 * MiB + 512 * KiB, 0);

	ck_assert_int_eq(rig_boot(rig), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err_last(), "give --memory 2M or more"));
}
END_TEST

static void expect_seed(const struct rig *rig, gpa_t at)
{
	static const uint8_t zeros[32];
	struct setup_data head;
	uint8_t seed[32];

	ck_assert_int_eq(gmem_read(&rig->mem, at, &head, sizeof(head)), 0);
	ck_assert_uint_eq(head.next, 0);
	ck_assert_uint_eq(head.type, SETUP_RNG_SEED);
	ck_assert_uint_eq(head.len, sizeof(seed));
	ck_assert_int_eq(gmem_read(&rig->mem, at + sizeof(head), seed, sizeof(seed)), 0);
	ck_assert_mem_ne(seed, zeros, sizeof(seed));
}

static void expect_handed_over(const struct rig *rig, const struct boot_params *bp)
{
	char sig[9] = "";

	ck_assert_uint_eq(bp->hdr.type_of_loader, 0xff);
	ck_assert_uint_eq(bp->hdr.boot_flag, 0xaa55);
	ck_assert_mem_eq(&bp->hdr.header, "HdrS", 4);
	ck_assert(bp->hdr.loadflags & LOADED_HIGH);
	ck_assert_uint_eq(bp->sentinel, 0);
	ck_assert_uint_eq(bp->ext_cmd_line_ptr, 0);
	expect_text(rig, bp->hdr.cmd_line_ptr, "console=ttyS0 quiet panic=-1");
	ck_assert_int_eq(gmem_read(&rig->mem, bp->acpi_rsdp_addr, sig, 8), 0);
	ck_assert_str_eq(sig, "RSD PTR ");
	expect_seed(rig, bp->hdr.setup_data);
}

START_TEST(zero_page_of_elf)
{
	struct rig *rig cleanup_rig = small_elf(64 * MiB, 0);
	struct boot_params bp = zero_page(rig);

	expect_handed_over(rig, &bp);
	ck_assert_uint_ge(bp.hdr.version, 0x20c);
	ck_assert_uint_eq(bp.hdr.kernel_alignment, 2 * MiB);
	ck_assert_uint_eq(bp.hdr.ramdisk_size, 0);
}
END_TEST

/* of the file there is the header, as long as it says it is, and nothing around it */
START_TEST(zero_page_of_bzimage)
{
	struct blob b cleanup_blob = small_bzimage();
	struct rig *rig cleanup_rig = rig_new(64 * MiB);
	struct boot_params bp;
	uint8_t *raw = (uint8_t *)&bp;

	rig->conf.boot = _i ? BOOT_BZIMAGE : BOOT_AUTO;
	b.data[0x1f2] = 0x77; /* root_flags: handed on */
	b.data[0x211] = LOADED_HIGH | KASLR_FLAG | CAN_USE_HEAP;
	blob_put32(&b, 0x268, 0x55667788); /* kernel_info_offset: the last field */
	blob_put32(&b, 0x214, 0x100000);   /* code32_start: ours if we load the body */
	b.data[0x201] = 0x68;		   /* but the header ends in its middle */
	rig_kernel(rig, &b);
	bp = zero_page(rig);
	expect_handed_over(rig, &bp);
	ck_assert_uint_eq(bp.hdr.root_flags, 0x77);
	ck_assert_uint_eq(bp.hdr.version, 0x20f);
	ck_assert_uint_eq(bp.hdr.loadflags, LOADED_HIGH);
	ck_assert_uint_eq(bp.hdr.code32_start, _i ? 16 * MiB : 1 * MiB);
	ck_assert_uint_eq(bp.hdr.kernel_info_offset, 0x7788);
	for (unsigned off = 0x26a; off < 0x290; off++)
		ck_assert_uint_eq(raw[off], 0);
	for (unsigned off = 0x1ec; off < 0x1f1; off++)
		ck_assert_uint_eq(raw[off], 0);
}
END_TEST

/* a header longer than any known one does not run over what lies behind it */
START_TEST(zero_page_of_long_header)
{
	struct blob b cleanup_blob = small_bzimage();
	struct rig *rig cleanup_rig = rig_new(64 * MiB);
	struct boot_params bp;

	b.data[0x201] = 0xff;
	memset(b.data + 0x26c, 0x99, 0x301 - 0x26c);
	rig_kernel(rig, &b);
	bp = zero_page(rig);
	expect_handed_over(rig, &bp);
	ck_assert_uint_eq(bp._pad7[sizeof(bp._pad7) - 1], 0x99);
	ck_assert_uint_eq(bp.edd_mbr_sig_buffer[0], 0);
	ck_assert_uint_eq(bp.e820_table[0].addr, 0);
}
END_TEST

START_TEST(pvh)
{
	struct rig *rig cleanup_rig = small_elf(64 * MiB, NOTE_PVH);
	struct pvh_start_info si = start_info(rig);
	char text[16] = "";

	ck_assert_uint_eq(si.magic, 0x336ec578);
	ck_assert_uint_eq(si.version, 1);
	ck_assert_uint_eq(si.flags, 0);
	ck_assert_uint_eq(si.nr_modules, 0);
	ck_assert_uint_eq(si.modlist, 0);
	expect_text(rig, si.cmdline, "console=ttyS0 quiet panic=-1");
	ck_assert_int_eq(gmem_read(&rig->mem, si.rsdp, text, 8), 0);
	ck_assert_str_eq(text, "RSD PTR ");
}
END_TEST

START_TEST(command_line)
{
	static const struct {
		const char *append, *want;
	} cases[] = {
		{ "", "panic=-1" },
		{ "quiet", "quiet panic=-1" },
		{ "quiet ", "quiet panic=-1" },
		{ "panic=5", "panic=5" },
		{ "a panic=5 b", "a panic=5 b" },
		{ "xpanic=5", "xpanic=5 panic=-1" },
		{ "panic", "panic panic=-1" },
		{ "a --b", "a --b panic=-1" },
		{ "a -- b", "a panic=-1 -- b" },
		{ "-- panic=1", "panic=-1 -- panic=1" },
		{ "panic=1 -- b", "panic=1 -- b" },
		{ "caf\xc3\xa9", "caf\xc3\xa9 panic=-1" },
		{ "console=auto", "console=ttyS0 panic=-1" },
		{ "panic=1 console=auto -- b", "panic=1 console=ttyS0 -- b" },
		{ "console=auto quiet console=auto", "console=ttyS0 quiet console=auto panic=-1" },
		{ "console=autom xconsole=auto", "console=autom xconsole=auto panic=-1" },
		{ "quiet -- console=auto", "quiet panic=-1 -- console=auto" },
	};
	struct rig *rig cleanup_rig = small_elf(64 * MiB, 0);

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		ck_assert_int_eq(str_copy(rig->conf.append, CONF_APPEND, cases[i].append), 0);
		ck_assert_msg(!rig_boot(rig), "%s", err_last());
		expect_text(rig, CMDLINE_ADDR, cases[i].want);
	}
	rig->conf.console_device = CONSOLE_VIRTIO;
	ck_assert_int_eq(str_copy(rig->conf.append, CONF_APPEND, "a console=auto b"), 0);
	ck_assert_int_eq(rig_boot(rig), 0);
	expect_text(rig, CMDLINE_ADDR, "a console=hvc0 b panic=-1");
}
END_TEST

/* the longest there is, and its console's name grows */
START_TEST(command_line_of_words)
{
	struct rig *rig cleanup_rig = small_elf(64 * MiB, NOTE_PVH);
	char want[CONF_APPEND + 32];

	rig->conf.append[0] = '\0';
	while (strlen(rig->conf.append) + 13 < CONF_APPEND)
		strcat(rig->conf.append, "console=auto ");
	ck_assert_int_eq(rig_boot(rig), 0);
	snprintf(want, sizeof(want), "console=ttyS0%s", rig->conf.append + 12);
	strcat(want, "panic=-1");
	expect_text(rig, CMDLINE_ADDR, want);
}
END_TEST

START_TEST(command_line_control)
{
	static const char bad[] = "\n\t\r\x01\x1b\x7f";
	struct rig *rig cleanup_rig = small_elf(64 * MiB, 0);

	for (unsigned i = 0; bad[i]; i++) {
		snprintf(rig->conf.append, CONF_APPEND, "ab%cc", bad[i]);
		ck_assert_int_eq(rig_boot(rig), -1);
		ck_assert_ptr_nonnull(strstr(err_last(), "append: byte 3 is a control character"));
	}
}
END_TEST

/* the longest that each kernel takes, and one byte more; panic=-1 counts */
START_TEST(command_line_length)
{
	static const struct {
		unsigned notes;
		bool bz;
		size_t most;
	} cases[] = {
		{ NOTE_LINUX, false, 2047 },
		{ 0, true, 1000 },
		{ NOTE_PVH, false, CONF_APPEND - 1 + 9 }, /* more cannot be said */
	};
	struct blob bz cleanup_blob = small_bzimage();
	struct rig *rig cleanup_rig = small_elf(64 * MiB, cases[_i].notes);
	size_t most = cases[_i].most - strlen(" panic=-1");

	blob_put32(&bz, 0x238, 1000);
	if (cases[_i].bz)
		rig_kernel(rig, &bz);
	memset(rig->conf.append, 'x', most);
	ck_assert_msg(!rig_boot(rig), "%s", err_last());
	if (most == CONF_APPEND - 1)
		return;
	rig->conf.append[most] = 'x';
	ck_assert_int_eq(rig_boot(rig), -E2BIG);
	ck_assert_ptr_nonnull(strstr(err_last(), cases[_i].bz ? "is 1001 bytes" : "is 2048 bytes"));
	ck_assert_ptr_nonnull(strstr(err_last(), cases[_i].bz ? "takes 1000" : "takes 2047"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("boot_guest");
	TCase *t = tcase_create("handed over");

	tcase_add_loop_test(t, memory_map, 0, ARRAY_SIZE(maps));
	tcase_add_test(t, too_little_memory);
	tcase_add_test(t, zero_page_of_elf);
	tcase_add_loop_test(t, zero_page_of_bzimage, 0, 2);
	tcase_add_test(t, zero_page_of_long_header);
	tcase_add_test(t, pvh);
	tcase_add_test(t, command_line);
	tcase_add_test(t, command_line_of_words);
	tcase_add_test(t, command_line_control);
	tcase_add_loop_test(t, command_line_length, 0, 3);
	suite_add_tcase(s, t);
	return suite_run(s);
}
