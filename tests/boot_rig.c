#include <elf.h>
#include <lzma.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "boot_rig.h"
#include "layout_x86.h"

#define SETUP_SECTS 3
#define BODY	    ((SETUP_SECTS + 1) * 512)
#define PAYLOAD	    0x300 /* in the body */

void blob_free(struct blob *b)
{
	free(b->data);
	*b = (struct blob){ NULL, 0 };
}

struct blob blob_of(const void *data, size_t len)
{
	struct blob b = { calloc(1, len + 1), len };

	BUG_ON(!b.data);
	if (data)
		memcpy(b.data, data, len);
	return b;
}

static void put(struct blob *b, size_t off, const void *v, size_t len)
{
	BUG_ON(!range_fits(off, len, b->len));
	memcpy(b->data + off, v, len);
}

void blob_put16(struct blob *b, size_t off, uint16_t v)
{
	put(b, off, &v, sizeof(v));
}

void blob_put32(struct blob *b, size_t off, uint32_t v)
{
	put(b, off, &v, sizeof(v));
}

void blob_put64(struct blob *b, size_t off, uint64_t v)
{
	put(b, off, &v, sizeof(v));
}

uint8_t pattern(gpa_t gpa)
{
	/* every other page is zero, as much of a kernel is */
	return gpa / GMEM_PAGE % 2 ? 0 : (uint8_t)(gpa * 2654435761U >> 13 | 1);
}

static size_t put_note(struct blob *b, size_t off, const char *name, uint32_t type, uint64_t desc,
		       size_t desc_len, size_t align)
{
	Elf64_Nhdr nh = { (uint32_t)strlen(name) + 1, (uint32_t)desc_len, type };

	put(b, off, &nh, sizeof(nh));
	put(b, off + sizeof(nh), name, nh.n_namesz);
	off = align_up(off + sizeof(nh) + nh.n_namesz, align);
	put(b, off, &desc, desc_len);
	return align_up(off + desc_len, align);
}

static void put_notes(struct blob *b, size_t off, gpa_t pvh, unsigned notes, Elf64_Phdr *ret)
{
	size_t align = notes & NOTE_WIDE ? 8 : 4, at = off;

	at = put_note(b, at, "GNU", 3, 0x1122334455667788, 8, align);
	if (notes & NOTE_LINUX)
		at = put_note(b, at, "Linux", 0x100, 0, 4, align);
	if (notes & NOTE_PVH)
		at = put_note(b, at, "Xen", 18, pvh, align, align);
	at = put_note(b, at, "Xen", 5, 0x11223344, 8, align); /* of the same owner, no entry */
	*ret = (Elf64_Phdr){
		.p_type = PT_NOTE, .p_offset = off, .p_filesz = at - off, .p_align = align
	};
}

struct blob make_elf(const struct seg *seg, unsigned n, uint64_t entry, unsigned notes)
{
	Elf64_Ehdr eh = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
				       1 },
			  .e_type = ET_EXEC,
			  .e_machine = EM_X86_64,
			  .e_version = 1,
			  .e_entry = entry,
			  .e_phoff = 64,
			  .e_ehsize = 64,
			  .e_phentsize = sizeof(Elf64_Phdr),
			  .e_phnum = (uint16_t)(n + !!notes) };
	size_t off = align_up(ELF_PH(n + 1), 16), len = off + 256;
	struct blob b;
	Elf64_Phdr ph;

	for (unsigned i = 0; i < n; i++)
		len += seg[i].filesz;
	b = blob_of(NULL, notes ? len : len - 256);
	put(&b, 0, &eh, sizeof(eh));
	for (unsigned i = 0; i < n; i++) {
		ph = (Elf64_Phdr){ .p_type = PT_LOAD,
				   .p_offset = off,
				   .p_vaddr = seg[i].vaddr,
				   .p_paddr = seg[i].gpa,
				   .p_filesz = seg[i].filesz,
				   .p_memsz = seg[i].memsz };
		put(&b, ELF_PH(i), &ph, sizeof(ph));
		for (size_t k = 0; k < seg[i].filesz; k++)
			b.data[off + k] = pattern(seg[i].gpa + k);
		off += seg[i].filesz;
	}
	if (notes) {
		if (notes & NOTE_LOADED)
			off = align_up(ELF_PH(n + 1), 16) + NOTES_OFFSET;
		put_notes(&b, off, seg[0].gpa + PVH_OFFSET, notes, &ph);
		put(&b, ELF_PH(n), &ph, sizeof(ph));
	}
	return b;
}

static struct blob pack_gzip(const struct blob *plain)
{
	struct blob b = blob_of(NULL, plain->len + plain->len / 100 + 1024);
	z_stream z = { .next_in = plain->data,
		       .avail_in = (unsigned)plain->len,
		       .next_out = b.data,
		       .avail_out = (unsigned)b.len };

	BUG_ON(deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK);
	BUG_ON(deflate(&z, Z_FINISH) != Z_STREAM_END);
	b.len = z.total_out;
	deflateEnd(&z);
	return b;
}

static struct blob pack_xz(const struct blob *plain)
{
	struct blob b = blob_of(NULL, lzma_stream_buffer_bound(plain->len));
	size_t len = 0;

	BUG_ON(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, plain->data, plain->len, b.data,
				       &len, b.len) != LZMA_OK);
	b.len = len;
	return b;
}

/* a length of 15 or more goes on behind its token */
static uint8_t *lz4_more(uint8_t *to, size_t len)
{
	if (len < 15)
		return to;
	for (len -= 15; len >= 255; len -= 255)
		*to++ = 255;
	*to++ = (uint8_t)len;
	return to;
}

static uint8_t *lz4_sequence(uint8_t *to, const uint8_t *literals, size_t n, size_t match)
{
	size_t extra = match ? match - 4 : 0;

	*to++ = (uint8_t)(MIN(n, 15U) << 4 | MIN(extra, 15U));
	to = lz4_more(to, n);
	memcpy(to, literals, n);
	to += n;
	if (!match)
		return to;
	*to++ = 1; /* offset 1: the byte before, again */
	*to++ = 0;
	return lz4_more(to, extra);
}

static struct blob pack_lz4(const struct blob *plain)
{
	struct blob b = blob_of(NULL, 2 * plain->len + 64);
	const uint8_t *p = plain->data, *end = p + plain->len, *from = p;
	uint8_t *to = b.data + 8;

	blob_put32(&b, 0, 0x184c2102);
	while (p < end) {
		size_t run = 0;

		while (p > from && p + run < end && p[run] == p[-1])
			run++;
		if (run < 8) {
			p++;
			continue;
		}
		to = lz4_sequence(to, from, (size_t)(p - from), run);
		from = p += run;
	}
	to = lz4_sequence(to, from, (size_t)(p - from), 0);
	blob_put32(&b, 4, (uint32_t)(to - b.data - 8));
	/* the kernel's build adds the unpacked length behind it */
	b.len = (size_t)(to - b.data) + 4;
	blob_put32(&b, b.len - 4, (uint32_t)plain->len);
	return b;
}

struct blob make_packed(const struct blob *plain, enum pack pack)
{
	return pack == PACK_GZIP  ? pack_gzip(plain)
	       : pack == PACK_XZ  ? pack_xz(plain)
	       : pack == PACK_LZ4 ? pack_lz4(plain)
				  : blob_of(plain->data, plain->len);
}

struct blob make_bzimage(const struct blob *payload)
{
	size_t body = align_up(PAYLOAD + payload->len, 16);
	struct blob b = blob_of(NULL, BODY + body);

	memset(b.data, 0xcc, BODY); /* real-mode code; the header is cut out of it */
	memset(b.data + 0x1f1, 0, 0x26c - 0x1f1);
	b.data[0x1f1] = SETUP_SECTS;
	blob_put32(&b, 0x1f4, (uint32_t)(body / 16)); /* syssize */
	blob_put16(&b, 0x1fe, 0xaa55);
	b.data[0x200] = 0xeb; /* jmp over the header, which so says how long it is */
	b.data[0x201] = 0x6a;
	memcpy(b.data + 0x202, "HdrS", 4);
	blob_put16(&b, 0x206, 0x20f);
	b.data[0x211] = 1;		   /* loadflags: LOADED_HIGH */
	blob_put32(&b, 0x22c, 0x7fffffff); /* initrd_addr_max */
	blob_put32(&b, 0x230, 2 * MiB);	   /* kernel_alignment */
	b.data[0x234] = 1;		   /* relocatable_kernel */
	blob_put16(&b, 0x236, 1);	   /* xloadflags: XLF_KERNEL_64 */
	blob_put32(&b, 0x238, 2047);	   /* cmdline_size */
	blob_put32(&b, 0x248, PAYLOAD);	   /* payload_offset */
	blob_put32(&b, 0x24c, (uint32_t)payload->len);
	blob_put64(&b, 0x258, 16 * MiB); /* pref_address */
	blob_put32(&b, 0x260, 4 * MiB);	 /* init_size */
	for (size_t k = 0; k < PAYLOAD; k++)
		b.data[BODY + k] = pattern(16 * MiB + k);
	memcpy(b.data + BODY + PAYLOAD, payload->data, payload->len);
	return b;
}

struct rig *rig_new(uint64_t memory)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	uint64_t low = MIN(memory, LOWMEM_MAX), high = memory - low;

	BUG_ON(!rig);
	conf_defaults(&rig->conf);
	BUG_ON(str_copy(rig->conf.append, CONF_APPEND, "console=ttyS0 quiet"));
	rig->board = (struct board){
		.cpus = 1, .lowmem_end = low, .highmem_end = HIGHMEM_BASE + high, .phys_bits = 40
	};
	BUG_ON(gmem_add(&rig->mem, 0, low));
	BUG_ON(high && gmem_add(&rig->mem, HIGHMEM_BASE, high));
	return rig;
}

void rig_free(struct rig *rig)
{
	boot_close(rig->boot);
	gmem_free(&rig->mem);
	while (rig->files)
		close(rig->fd[--rig->files]);
	free(rig);
}

void rig_freep(struct rig **rig)
{
	rig_free(*rig);
}

void rig_replace(struct rig *rig, unsigned file, const void *data, size_t len)
{
	BUG_ON(file >= rig->files || ftruncate(rig->fd[file], 0));
	BUG_ON(pwrite(rig->fd[file], data, len, 0) != (ssize_t)len);
}

static void add_file(struct rig *rig, const struct blob *b, char *path)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	BUG_ON(fd < 0 || rig->files == ARRAY_SIZE(rig->fd));
	rig->fd[rig->files++] = fd;
	rig_replace(rig, rig->files - 1, b->data, b->len);
	snprintf(path, CONF_PATH, "/proc/self/fd/%d", fd);
}

void rig_kernel(struct rig *rig, const struct blob *b)
{
	add_file(rig, b, rig->conf.kernel);
}

void rig_initrd(struct rig *rig, const struct blob *b)
{
	BUG_ON(rig->conf.initrds == CONF_INITRDS);
	add_file(rig, b, rig->conf.initrd[rig->conf.initrds++].path);
}

int rig_boot(struct rig *rig)
{
	err_clear();
	boot_close(rig->boot);
	rig->boot = boot_open(&rig->conf);
	if (!rig->boot)
		return -1;
	return boot_load(rig->boot, &rig->mem, &rig->board, &rig->entry);
}

void rig_try(struct rig *rig)
{
	int r = rig_boot(rig);

	/* one line, of words only: names of files are ours */
	BUG_ON(r && !err_last()[0]);
	for (const char *p = err_last(); r && *p; p++)
		BUG_ON((unsigned char)*p < ' ');
	if (!r) {
		BUG_ON(!gmem_is_ram(&rig->mem, rig->entry.rip, 1));
		BUG_ON(rig->entry.rip < HIGH_RAM_START || rig->entry.rip >= 1 * GiB);
	}
	gmem_discard_all(&rig->mem);
}
