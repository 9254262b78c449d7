/*
 * bzimage.c - how it works
 *
 * 1. The file is a boot sector, setup sectors of real-mode code that nobody
 *    runs here, and the body.  The setup header lies across the first two; a
 *    byte in it says how long it is, and nothing behind that is believed.
 * 2. The body is loaded at pref_address and entered at + 0x200 in long mode.
 *    It unpacks its payload to where it runs, using init_size bytes from there.
 * 3. It never runs below pref_address: loaded lower, also a relocatable kernel
 *    moves itself up to it (LOAD_PHYSICAL_ADDR in its head_64.S).  So a memory
 *    that ends before pref_address + init_size is too small, wherever we load.
 */
#include "bzimage.h"
#include "cpu_tables.h"
#include "layout_x86.h"

#define SECTOR	      512
#define VERSION_64BIT 0x20c /* Linux 3.8: xloadflags */
#define VERSION_LEAST 0x206 /* cmdline_size */
#define HEADER_LEAST  (offsetof(struct setup_header, init_size) + 4)

static int check_version(const struct image *img, const struct setup_header *hdr)
{
	if (hdr->version < VERSION_LEAST)
		return err(-ENOEXEC,
			   "%s: speaks boot protocol %u.%02u, too old; Linux 3.8 or newer is "
			   "needed",
			   img->what, hdr->version >> 8, hdr->version & 0xffU);
	if (hdr->version < VERSION_64BIT || !(hdr->xloadflags & XLF_KERNEL_64))
		return err(-ENOEXEC,
			   "%s: has no 64-bit entry: it is a 32-bit kernel, or older than Linux "
			   "3.8; give an x86_64 one",
			   img->what);
	if (hdr->relocatable_kernel && !is_pow2(hdr->kernel_alignment))
		return err(-ENOEXEC,
			   "%s: its header is damaged: kernel_alignment is %#x, no power of two",
			   img->what, hdr->kernel_alignment);
	return 0;
}

static int copy_header(struct bzimage *bz, const struct image *img, const uint8_t *head, size_t len)
{
	size_t end = 0x202U + head[0x201], n = end - SETUP_HEADER;

	if (end > len)
		return err(-ENODATA,
			   "%s: is truncated: it has %zu bytes and its header ends at %zu",
			   img->what, len, end);
	memset(bz->hdr_bytes, 0, sizeof(bz->hdr_bytes));
	memcpy(bz->hdr_bytes, head + SETUP_HEADER, MIN(n, sizeof(bz->hdr_bytes)));
	if (n < HEADER_LEAST && bz->hdr.version >= VERSION_64BIT)
		return err(-ENOEXEC, "%s: its header is damaged: it ends at %#zx, before init_size",
			   img->what, end);
	return check_version(img, &bz->hdr);
}

/* the body's length in the header is in paragraphs; not every build pads the file to one */
static int find_body(struct bzimage *bz, const struct image *img)
{
	uint64_t sects = bz->hdr.setup_sects ? bz->hdr.setup_sects : 4;
	uint64_t len = bz->hdr.syssize * 16ULL;

	bz->body_off = (sects + 1) * SECTOR;
	if (bz->body_off > img->size || img->size - bz->body_off + 15 < len)
		return err(-ENODATA, "%s: is truncated: it has %lu bytes of %lu", img->what,
			   img->size, bz->body_off + len);
	/* all of the file: newer builds put more behind it than syssize says */
	bz->body_len = img->size - bz->body_off;
	if (bz->body_len <= BZIMAGE_ENTRY_64)
		return err(-ENODATA, "%s: is truncated: it ends before its 64-bit entry",
			   img->what);
	return 0;
}

static int find_payload(struct bzimage *bz, const struct image *img)
{
	uint64_t off = bz->hdr.payload_offset, len = bz->hdr.payload_length;
	uint8_t head[16];
	ssize_t n;

	if (!range_fits(off, len, bz->body_len))
		return err(-ENODATA,
			   "%s: is truncated: its payload ends at %lu and the file at %lu",
			   img->what, bz->body_off + off + len, img->size);
	bz->payload = (struct source){
		.what = img->what, .fd = img->fd, .off = bz->body_off + off, .len = len
	};
	n = image_read(img, bz->payload.off, head, MIN(sizeof(head), len));
	if (n < 0)
		return (int)n;
	bz->payload.pack = pack_of(head, (size_t)n);
	return 0;
}

int bzimage_parse(struct bzimage *bz, const struct image *img, const uint8_t *head, size_t len)
{
	int r = copy_header(bz, img, head, len);

	if (!r)
		r = find_body(bz, img);
	if (!r)
		r = find_payload(bz, img);
	return r;
}

int bzimage_load(const struct bzimage *bz, const struct image *img, struct gmem *mem,
		 gpa_t *ret_start, gpa_t *ret_end)
{
	uint64_t align = bz->hdr.relocatable_kernel ? bz->hdr.kernel_alignment : 1;
	uint64_t start = bz->hdr.pref_address, need = MAX(bz->hdr.init_size, bz->body_len);
	int r;

	if (start < IDENTITY_MAP)
		start = align_up(MAX(start, HIGH_RAM_START), align);
	if (!range_fits(start, need, IDENTITY_MAP))
		return err(-ENOTSUP,
			   "%s: wants to run at %#lx and use %#lx bytes; it must stay below 1 GiB",
			   img->what, start, need);
	if (!gmem_is_ram(mem, start, need))
		return image_too_big(img->what, mem, start + need);
	r = gmem_load(mem, start, img->fd, bz->body_off, bz->body_len);
	if (r)
		return err(r, "%s: cannot be read into memory: %s; did it change?", img->what,
			   strerror(-r));
	*ret_start = start;
	*ret_end = start + need;
	return 0;
}
