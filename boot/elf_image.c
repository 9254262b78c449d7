/*
 * elf_image.c - how it works
 *
 * 1. The file is read forward once: headers, then segments in the order they
 *    have in the file.  It may be packed, where going back means unpacking it
 *    from the start again.
 * 2. elf_open() checks all that the headers alone can tell; elf_load() checks
 *    against memory before it stores the first byte.
 * 3. Memory is all zero at this time, fresh or after gmem_discard_all(): what
 *    p_memsz has beyond p_filesz is not cleared, and its pages stay untouched.
 * 4. Segments go to p_paddr.  An entry point may be physical (Linux) or virtual.
 */
#include <elf.h>

#include "elf_image.h"
#include "image.h"
#include "layout_x86.h"

#define PHDRS			 64
#define NOTES_MAX		 4096 /* bytes of one PT_NOTE that are looked at */

#define XEN_ELFNOTE_PHYS32_ENTRY 18

static int check_magic(const struct source *src, const Elf64_Ehdr *eh)
{
	enum image_kind kind;
	int r;

	if (!memcmp(eh->e_ident, ELFMAG, SELFMAG))
		return 0;
	r = image_identify(src->what, (const uint8_t *)eh, sizeof(*eh), &kind);
	return r ? r
		 : err(-ENOEXEC, "%s: its %s data hold something packed again; unpack it first",
		       src->what, pack_name(src->pack));
}

static int check_header(const struct source *src, const Elf64_Ehdr *eh)
{
	int r = check_magic(src, eh);

	if (r)
		return r;
	if (eh->e_ident[EI_CLASS] != ELFCLASS64)
		return err(-ENOEXEC, "%s: is a 32-bit ELF file; give an x86_64 kernel", src->what);
	if (eh->e_ident[EI_DATA] != ELFDATA2LSB || eh->e_machine != EM_X86_64)
		return err(-ENOEXEC,
			   "%s: is an ELF file for another machine (e_machine %u); give an x86_64 "
			   "kernel",
			   src->what, eh->e_machine);
	if (eh->e_type != ET_EXEC && eh->e_type != ET_DYN)
		return err(-ENOEXEC,
			   "%s: is an ELF file of type %u, not a program that can be loaded",
			   src->what, eh->e_type);
	if (!eh->e_phnum || eh->e_phentsize != sizeof(Elf64_Phdr))
		return err(-ENOEXEC,
			   "%s: is an ELF file without program headers: nothing in it can be "
			   "loaded",
			   src->what);
	if (eh->e_phnum > PHDRS)
		return err(-ENOEXEC, "%s: has %u program headers; %u are the limit", src->what,
			   eh->e_phnum, PHDRS);
	return 0;
}

/* the part of the file that a header names, in bounds that cost no hours to reach */
static int check_extent(const struct source *src, uint64_t off, uint64_t len, const char *name)
{
	if (src->pack == PACK_NONE && !range_fits(off, len, src->len))
		return err(-ENODATA,
			   "%s: is truncated: its %s at %#lx, of %#lx bytes, lie behind the end at "
			   "%#lx",
			   src->what, name, off, len, src->len);
	if (!range_fits(off, len, UNPACK_MAX))
		return err(-ENOEXEC, "%s: its %s at %#lx, of %#lx bytes, lie beyond 1 GiB",
			   src->what, name, off, len);
	return 0;
}

static int add_segment(struct elf *elf, const struct source *src, const Elf64_Phdr *ph)
{
	struct elf_segment *s = &elf->segment[elf->segments];
	uint64_t end;
	int r;

	if (!ph->p_memsz && !ph->p_filesz)
		return 0;
	if (elf->segments == ELF_SEGMENTS)
		return err(-ENOEXEC, "%s: has more than %u segments to load", src->what,
			   ELF_SEGMENTS);
	if (ph->p_filesz > ph->p_memsz)
		return err(-ENOEXEC,
			   "%s: its segment at %#lx has more bytes in the file (%#lx) than in "
			   "memory (%#lx)",
			   src->what, ph->p_paddr, ph->p_filesz, ph->p_memsz);
	if (__builtin_add_overflow(ph->p_paddr, ph->p_memsz, &end))
		return err(-ENOEXEC, "%s: its segment at %#lx, of %#lx bytes, wraps around",
			   src->what, ph->p_paddr, ph->p_memsz);
	if (ph->p_paddr < HIGH_RAM_START)
		return err(-ENOEXEC,
			   "%s: its segment at %#lx lies below 1 MiB, which is the machine's own",
			   src->what, ph->p_paddr);
	r = check_extent(src, ph->p_offset, ph->p_filesz, "segment's bytes");
	if (r)
		return r;
	*s = (struct elf_segment){ .off = ph->p_offset,
				   .filesz = ph->p_filesz,
				   .vaddr = ph->p_vaddr,
				   .gpa = ph->p_paddr,
				   .memsz = ph->p_memsz };
	elf->segments++;
	return 0;
}

static void add_note(struct elf *elf, const Elf64_Phdr *ph)
{
	/* 8 or 4: that is how all who read notes take it, whatever else p_align says */
	if (elf->notes < ELF_NOTES && ph->p_filesz)
		elf->note[elf->notes++] = (struct elf_note){ .off = ph->p_offset,
							     .len = ph->p_filesz,
							     .align = ph->p_align == 8 ? 8 : 4 };
}

static int by_offset(const void *a, const void *b)
{
	const struct elf_segment *l = a, *r = b;

	return l->off < r->off ? -1 : l->off > r->off;
}

static int check_segments(struct elf *elf, const struct source *src)
{
	const struct elf_segment *s = elf->segment;

	if (!elf->segments)
		return err(-ENOEXEC, "%s: is an ELF file with nothing to load", src->what);
	for (unsigned i = 0; i < elf->segments; i++)
		for (unsigned j = 0; j < i; j++)
			if (ranges_overlap(s[i].gpa, s[i].memsz, s[j].gpa, s[j].memsz))
				return err(-ENOEXEC, "%s: its segments at %#lx and %#lx overlap",
					   src->what, s[j].gpa, s[i].gpa);
	qsort(elf->segment, elf->segments, sizeof(*s), by_offset);
	return 0;
}

bool elf_holds(const struct elf *elf, gpa_t gpa)
{
	for (unsigned i = 0; i < elf->segments; i++)
		if (gpa - elf->segment[i].gpa < elf->segment[i].memsz)
			return true;
	return false;
}

static gpa_t physical_entry(const struct elf *elf, uint64_t entry)
{
	if (elf_holds(elf, entry))
		return entry;
	for (unsigned i = 0; i < elf->segments; i++) {
		const struct elf_segment *s = &elf->segment[i];

		if (entry - s->vaddr < s->memsz)
			return s->gpa + (entry - s->vaddr);
	}
	return ELF_NO_ENTRY;
}

int elf_open(struct elf *elf, const struct source *src)
{
	struct unpack *u cleanup(cleanup_unpack) = unpack_open(src);
	Elf64_Phdr ph[PHDRS];
	Elf64_Ehdr eh;
	int r;

	if (!u)
		return -ENOTSUP;
	memset(elf, 0, sizeof(*elf));
	r = unpack_read(u, &eh, sizeof(eh));
	if (!r)
		r = check_header(src, &eh);
	if (!r)
		r = check_extent(src, eh.e_phoff, eh.e_phnum * sizeof(ph[0]), "program headers");
	if (!r)
		r = unpack_seek(u, eh.e_phoff);
	if (!r)
		r = unpack_read(u, ph, eh.e_phnum * sizeof(ph[0]));
	for (unsigned i = 0; !r && i < eh.e_phnum; i++) {
		if (ph[i].p_type == PT_LOAD)
			r = add_segment(elf, src, &ph[i]);
		else if (ph[i].p_type == PT_NOTE)
			add_note(elf, &ph[i]);
	}
	if (!r)
		r = check_segments(elf, src);
	if (!r)
		elf->entry = physical_entry(elf, eh.e_entry);
	return r;
}

static int check_memory(const struct elf *elf, const struct source *src, const struct gmem *mem)
{
	for (unsigned i = 0; i < elf->segments; i++) {
		const struct elf_segment *s = &elf->segment[i];
		uint64_t end = s->gpa + s->memsz;

		if (gmem_is_ram(mem, s->gpa, s->memsz))
			continue;
		if (end <= LOWMEM_MAX || s->gpa >= HIGHMEM_BASE)
			return image_too_big(src->what, mem, end);
		return err(-ENOEXEC,
			   "%s: its segment %#lx to %#lx reaches into the hole for devices, from "
			   "%#llx",
			   src->what, s->gpa, end, LOWMEM_MAX);
	}
	return 0;
}

/*
 * A third of Linux is zero (its bss lies in the file): a page that is left
 * alone costs the guest nothing until it is used.
 */
static int store(struct gmem *mem, gpa_t gpa, const uint8_t *p, size_t len)
{
	int r = 0;

	for (size_t n; !r && len; gpa += n, p += n, len -= n) {
		n = MIN(len, GMEM_PAGE - gpa % GMEM_PAGE);
		if (*p || memcmp(p, p + 1, n - 1))
			r = gmem_write(mem, gpa, p, n);
	}
	return r;
}

static int load_segment(const struct elf_segment *s, struct unpack *u, struct gmem *mem)
{
	const uint8_t *p = NULL;
	int r = unpack_seek(u, s->off);

	for (uint64_t done = 0; !r && done < s->filesz;) {
		ssize_t n = unpack_next(u, s->filesz - done, &p);

		if (n < 0)
			return (int)n;
		r = store(mem, s->gpa + done, p, (size_t)n);
		done += (uint64_t)n;
	}
	return r;
}

static int load_segments(const struct elf *elf, const struct source *src, struct gmem *mem)
{
	struct unpack *u cleanup(cleanup_unpack) = unpack_open(src);
	int r = u ? 0 : -ENOMEM;

	for (unsigned i = 0; !r && i < elf->segments; i++)
		r = load_segment(&elf->segment[i], u, mem);
	return r ? r : unpack_finish(u);
}

int elf_load(const struct elf *elf, const struct source *src, struct gmem *mem, gpa_t *ret_end)
{
	gpa_t end = 0;
	int r = check_memory(elf, src, mem);

	if (!r)
		r = load_segments(elf, src, mem);
	if (r)
		return r;
	for (unsigned i = 0; i < elf->segments; i++)
		if (elf->segment[i].gpa < HIGHMEM_BASE)
			end = MAX(end, elf->segment[i].gpa + elf->segment[i].memsz);
	*ret_end = end;
	return 0;
}

/* Linux's notes lie in a segment: reading them from memory saves unpacking the file again */
static int fetch_note(const struct elf *elf, const struct source *src, const struct gmem *mem,
		      const struct elf_note *note, void *buf, size_t len)
{
	struct unpack *u cleanup(cleanup_unpack) = NULL;
	int r;

	for (unsigned i = 0; i < elf->segments; i++) {
		const struct elf_segment *s = &elf->segment[i];

		if (note->off >= s->off && range_fits(note->off - s->off, len, s->filesz))
			return gmem_read(mem, s->gpa + (note->off - s->off), buf, len);
	}
	r = check_extent(src, note->off, len, "notes");
	if (r)
		return r;
	u = unpack_open(src);
	r = u ? unpack_seek(u, note->off) : -ENOMEM;
	return r ? r : unpack_read(u, buf, len);
}

static void scan_notes(const uint8_t *buf, size_t len, size_t align, struct elf_marks *marks)
{
	size_t off = 0, desc;
	Elf64_Nhdr nh;

	while (range_fits(off, sizeof(nh), len)) {
		memcpy(&nh, buf + off, sizeof(nh));
		if (nh.n_namesz > len || nh.n_descsz > len)
			return;
		desc = align_up(off + sizeof(nh) + nh.n_namesz, align);
		if (!range_fits(desc, nh.n_descsz, len))
			return;
		if (nh.n_namesz == 6 && !memcmp(buf + off + sizeof(nh), "Linux", 6))
			marks->linux_kernel = true;
		/* 8 bytes in Linux, 4 elsewhere; it is a 32-bit address either way */
		if (nh.n_namesz == 4 && !memcmp(buf + off + sizeof(nh), "Xen", 4) &&
		    nh.n_type == XEN_ELFNOTE_PHYS32_ENTRY && nh.n_descsz >= 4) {
			uint32_t entry;

			memcpy(&entry, buf + desc, sizeof(entry));
			marks->pvh_entry = entry;
		}
		off = align_up(desc + nh.n_descsz, align);
	}
}

int elf_read_notes(const struct elf *elf, const struct source *src, const struct gmem *mem,
		   struct elf_marks *ret)
{
	struct elf_marks marks = { .pvh_entry = ELF_NO_ENTRY };
	uint8_t buf[NOTES_MAX];

	for (unsigned i = 0; i < elf->notes; i++) {
		size_t len = MIN(elf->note[i].len, sizeof(buf));
		int r = fetch_note(elf, src, mem, &elf->note[i], buf, len);

		if (r)
			return r;
		scan_notes(buf, len, elf->note[i].align, &marks);
	}
	*ret = marks;
	return 0;
}
