/*
 * fuzz_initrd - initrds of any number and size, and any command line, beside a small kernel
 *
 * What is loaded must lie between the kernel and the end of memory, each part
 * at a multiple of 4 and whole.  Lengths come first, then the command line;
 * of the parts only the first bytes are not zero.
 */
#include <unistd.h>

#include "boot_rig.h"
#include "initrd.h"
#include "layout_x86.h"

#define MEMORY	   (4 * MiB)
#define KERNEL	   (2 * MiB)
#define KERNEL_END (2 * MiB + 512 * KiB)
#define PARTS	   3

struct input {
	uint8_t boot, parts, shift[PARTS], ceiling;
	uint32_t len[PARTS];
} __attribute__((packed));

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rig *make_rig(void)
{
	const struct seg seg = { 0, KERNEL, 64, KERNEL_END - KERNEL };
	struct blob b cleanup_blob = make_elf(&seg, 1, KERNEL, NOTE_PVH);
	struct rig *rig = rig_new(MEMORY);

	rig_kernel(rig, &b);
	for (unsigned i = 0; i < PARTS; i++)
		rig_initrd(rig, &b);
	return rig;
}

static uint64_t part_len(const struct input *in, unsigned i)
{
	uint64_t len = (uint64_t)in->len[i] << in->shift[i] % 32;

	return len && len < INT64_MAX ? len : 1;
}

/* the same with the parts opened here, where the result can be looked at */
static void check_placing(struct rig *rig, const struct input *in)
{
	gpa_t ceiling = in->ceiling * 16 * KiB, at;
	struct initrd rd = { 0 };
	struct initrd_at where;

	if (initrd_open(&rd, &rig->conf))
		return;
	if (!initrd_load(&rd, &rig->mem, KERNEL_END, ceiling, &where) && where.len) {
		BUG_ON(where.addr < KERNEL_END || !range_fits(where.addr, where.len, ceiling));
		at = where.addr;
		for (unsigned i = 0; i < rig->conf.initrds; i++) {
			uint8_t first;

			BUG_ON(at % 4 || gmem_read(&rig->mem, at, &first, 1) || first != i + 1);
			at = align_up(at + part_len(in, i), 4);
		}
		BUG_ON(at < where.addr + where.len);
	}
	initrd_close(&rd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rig *rig;
	struct input in;

	if (size < sizeof(in))
		return 0;
	if (!rig)
		rig = make_rig();
	memcpy(&in, data, sizeof(in));
	data += sizeof(in);
	size = MIN(size - sizeof(in), CONF_APPEND - 1);
	memcpy(rig->conf.append, data, size);
	rig->conf.append[size] = '\0';
	rig->conf.boot = in.boot & 1 ? BOOT_ELF : BOOT_PVH;
	rig->conf.initrds = in.parts % (PARTS + 1);
	for (unsigned i = 0; i < PARTS; i++) {
		const uint8_t mark = (uint8_t)(i + 1);

		rig_replace(rig, i + 1, &mark, 1);
		BUG_ON(ftruncate(rig->fd[i + 1], (off_t)part_len(&in, i)));
	}
	rig_try(rig);
	check_placing(rig, &in);
	gmem_discard_all(&rig->mem);
	return 0;
}
