/* #syscalls pread64 munmap madvise:MADV_DONTNEED */
/* #syscalls:before mmap mprotect */
/* mmap in the jail too, which allows it for malloc() (sandbox.c) */
#include <endian.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gmem.h"

#define WORD_BITS (8 * sizeof(long))

static size_t bitmap_bytes(uint64_t len)
{
	return align_up((len / GMEM_PAGE / WORD_BITS + 1) * sizeof(long), GMEM_PAGE);
}

static const struct gmem_slot *slot_of(const struct gmem *mem, gpa_t gpa)
{
	for (unsigned i = 0; i < mem->n; i++)
		if (gpa >= mem->slot[i].gpa && gpa - mem->slot[i].gpa < mem->slot[i].len)
			return &mem->slot[i];
	return NULL;
}

static struct gmem_slot *slot_at(struct gmem *mem, gpa_t gpa)
{
	const struct gmem_slot *s = slot_of(mem, gpa);

	return s ? &mem->slot[s - mem->slot] : NULL;
}

/* the part of [gpa, gpa + len) that is contiguous on the host: its bytes, 0 if @gpa is no RAM */
static uint64_t place(const struct gmem *mem, gpa_t gpa, uint64_t len, uint8_t **ret_hva)
{
	const struct gmem_slot *s = slot_of(mem, gpa);

	if (!s)
		return 0;
	*ret_hva = s->hva + (gpa - s->gpa);
	return MIN(len, s->len - (gpa - s->gpa));
}

/* the same for who is going to look at it: also 0 where it cannot be had */
static uint64_t piece(const struct gmem *mem, gpa_t gpa, uint64_t len, uint8_t **ret_hva)
{
	uint64_t n = place(mem, gpa, len, ret_hva);

	return mem->filler && n && mem->filler->look(mem->filler, *ret_hva, n) ? 0 : n;
}

/* an access of 1 byte or more, wholly inside one slot: the common case by far */
static uint8_t *whole(const struct gmem *mem, gpa_t gpa, uint64_t len)
{
	uint8_t *hva;

	return piece(mem, gpa, len, &hva) == len && len ? hva : NULL;
}

bool gmem_is_ram(const struct gmem *mem, gpa_t gpa, uint64_t len)
{
	uint8_t *hva;
	uint64_t n;

	for (; len; gpa += n, len -= n) {
		n = place(mem, gpa, len, &hva);
		if (!n)
			return false;
	}
	return true;
}

/*
 * Guard pages stand on both sides, and the start is aligned to 2 MiB so that
 * the host can use huge pages.
 */
static void *map_guarded(uint64_t len)
{
	uint64_t span = len + 2 * MiB + GMEM_PAGE;
	uint8_t *p =
		mmap(NULL, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *start;

	if (p == MAP_FAILED)
		return NULL;
	start = (uint8_t *)align_up((uintptr_t)p + GMEM_PAGE, 2 * MiB);
	/* give back what alignment left over, but for one page on each side */
	if (start - GMEM_PAGE > p)
		munmap(p, (size_t)(start - GMEM_PAGE - p));
	if (p + span > start + len + GMEM_PAGE)
		munmap(start + len + GMEM_PAGE, (size_t)(p + span - (start + len + GMEM_PAGE)));
	if (mprotect(start, len, PROT_READ | PROT_WRITE)) {
		munmap(start - GMEM_PAGE, len + 2 * GMEM_PAGE);
		return NULL;
	}
	return start;
}

int gmem_add(struct gmem *mem, gpa_t gpa, uint64_t len)
{
	struct gmem_slot *s = &mem->slot[mem->n];
	char text[32];

	if (!len || gpa % GMEM_PAGE || len % GMEM_PAGE || len > INT64_MAX - 4 * MiB ||
	    gpa > INT64_MAX - len || mem->n == GMEM_SLOTS ||
	    (mem->n && gpa < s[-1].gpa + s[-1].len))
		return err(-EINVAL, "guest memory: %#lx bytes at %#lx are not whole pages in order",
			   len, gpa);
	size_print(len, text, sizeof(text));
	*s = (struct gmem_slot){ .gpa = gpa, .len = len, .hva = map_guarded(len) };
	if (!s->hva)
		return err(-ENOMEM, "guest memory: this host cannot map %s: %s; give less --memory",
			   text, strerror(errno));
	s->dirty = mmap(NULL, bitmap_bytes(len), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (s->dirty == MAP_FAILED) {
		munmap(s->hva - GMEM_PAGE, len + 2 * GMEM_PAGE);
		return err(-ENOMEM, "guest memory: no dirty bitmap for %s: %s", text,
			   strerror(errno));
	}
	mem->n++;
	return 0;
}

void gmem_free(struct gmem *mem)
{
	while (mem->n) {
		struct gmem_slot *s = &mem->slot[--mem->n];

		munmap(s->dirty, bitmap_bytes(s->len));
		munmap(s->hva - GMEM_PAGE, s->len + 2 * GMEM_PAGE);
	}
}

int gmem_read(const struct gmem *mem, gpa_t gpa, void *dst, size_t len)
{
	uint8_t *p = dst, *hva;
	uint64_t n;

	if (!gmem_is_ram(mem, gpa, len))
		return -EFAULT;
	for (; len; gpa += n, p += n, len -= n) {
		n = piece(mem, gpa, len, &hva);
		if (!n)
			return -EFAULT;
		memcpy(p, hva, n);
	}
	return 0;
}

int gmem_write(struct gmem *mem, gpa_t gpa, const void *src, size_t len)
{
	const uint8_t *p = src;
	uint8_t *hva;
	uint64_t n;

	if (!gmem_is_ram(mem, gpa, len))
		return -EFAULT;
	for (; len; gpa += n, p += n, len -= n) {
		n = piece(mem, gpa, len, &hva);
		if (!n)
			return -EFAULT;
		memcpy(hva, p, n);
		gmem_dirty(mem, hva, n);
	}
	return 0;
}

int gmem_zero(struct gmem *mem, gpa_t gpa, uint64_t len)
{
	uint8_t *hva;
	uint64_t n;

	if (!gmem_is_ram(mem, gpa, len))
		return -EFAULT;
	for (; len; gpa += n, len -= n) {
		n = piece(mem, gpa, len, &hva);
		if (!n)
			return -EFAULT;
		memset(hva, 0, n);
		gmem_dirty(mem, hva, n);
	}
	return 0;
}

static int load_piece(struct gmem *mem, uint8_t *hva, int fd, uint64_t off, uint64_t len)
{
	while (len) {
		ssize_t n = pread(fd, hva, MIN(len, 1 * GiB), (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ENODATA;
		gmem_dirty(mem, hva, (size_t)n);
		hva += n;
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

int gmem_load(struct gmem *mem, gpa_t gpa, int fd, uint64_t off, uint64_t len)
{
	uint8_t *hva;
	uint64_t n;
	int r;

	if (!gmem_is_ram(mem, gpa, len))
		return -EFAULT;
	for (; len; gpa += n, off += n, len -= n) {
		n = piece(mem, gpa, len, &hva);
		if (!n)
			return -EFAULT;
		r = load_piece(mem, hva, fd, off, n);
		if (r)
			return r;
	}
	return 0;
}

int gmem_iov(const struct gmem *mem, gpa_t gpa, size_t len, struct iovec *iov, unsigned max)
{
	unsigned i = 0;
	uint8_t *hva;
	uint64_t n;

	if (!len)
		return -EFAULT;
	for (; len; gpa += n, len -= n) {
		n = piece(mem, gpa, len, &hva);
		if (!n)
			return -EFAULT;
		if (i == max)
			return -E2BIG;
		iov[i++] = (struct iovec){ hva, n };
	}
	return (int)i;
}

void gmem_dirty(struct gmem *mem, const void *hva, size_t len)
{
	for (unsigned i = 0; len && i < mem->n; i++) {
		struct gmem_slot *s = &mem->slot[i];
		uint64_t off = (uintptr_t)hva - (uintptr_t)s->hva;

		if ((const uint8_t *)hva < s->hva || off >= s->len)
			continue;
		for (uint64_t p = off / GMEM_PAGE; p <= (off + len - 1) / GMEM_PAGE; p++) {
			unsigned long *word = &s->dirty[p / WORD_BITS], bit = 1UL << p % WORD_BITS;

			/* mostly set already: reading is cheaper than a locked store */
			if (!(__atomic_load_n(word, __ATOMIC_RELAXED) & bit))
				__atomic_fetch_or(word, bit, __ATOMIC_RELAXED);
		}
		return;
	}
}

bool gmem_test_clear_dirty(struct gmem *mem, gpa_t gpa)
{
	const struct gmem_slot *s = slot_of(mem, gpa);
	uint64_t p;

	if (!s)
		return false;
	p = (gpa - s->gpa) / GMEM_PAGE;
	return __atomic_fetch_and(&s->dirty[p / WORD_BITS], ~(1UL << p % WORD_BITS),
				  __ATOMIC_RELAXED) >>
		       p % WORD_BITS &
	       1;
}

size_t gmem_dirty_words(const struct gmem_slot *s)
{
	return bitmap_bytes(s->len) / sizeof(long);
}

bool gmem_any_dirty(const struct gmem_slot *s, uint64_t off, uint64_t len)
{
	for (uint64_t p = off / GMEM_PAGE; p < (off + len) / GMEM_PAGE; p++)
		if (__atomic_load_n(&s->dirty[p / WORD_BITS], __ATOMIC_RELAXED) >> p % WORD_BITS &
		    1)
			return true;
	return false;
}

void gmem_mark_dirty(struct gmem *mem, unsigned i, const unsigned long *bitmap)
{
	for (size_t w = 0; w < gmem_dirty_words(&mem->slot[i]); w++)
		if (bitmap[w])
			__atomic_fetch_or(&mem->slot[i].dirty[w], bitmap[w], __ATOMIC_RELAXED);
}

void gmem_clear_dirty(struct gmem *mem)
{
	for (unsigned i = 0; i < mem->n; i++)
		memset(mem->slot[i].dirty, 0, bitmap_bytes(mem->slot[i].len));
}

int gmem_ld16(const struct gmem *mem, gpa_t gpa, uint16_t *ret)
{
	uint8_t *hva = whole(mem, gpa, 2);

	if (!hva || gpa & 1)
		return -EFAULT;
	*ret = le16toh(__atomic_load_n((uint16_t *)(void *)hva, __ATOMIC_ACQUIRE));
	return 0;
}

int gmem_st16(struct gmem *mem, gpa_t gpa, uint16_t v)
{
	uint8_t *hva = whole(mem, gpa, 2);

	if (!hva || gpa & 1)
		return -EFAULT;
	__atomic_store_n((uint16_t *)(void *)hva, htole16(v), __ATOMIC_RELEASE);
	gmem_dirty(mem, hva, 2);
	return 0;
}

#define HOLES_MAX 4096	     /* mappings are few: 65,530 for the whole process */
#define HOLE_MIN  (64 * KiB) /* for less, a page of zeroes is cheaper than a mapping */

int gmem_map(struct gmem *mem, unsigned i, int fd, uint64_t off)
{
	struct gmem_slot *s = &mem->slot[i];

	if (mmap(s->hva, s->len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
		 fd, (off_t)off) == MAP_FAILED)
		return err(-errno, "guest memory: a file of it cannot be mapped: %s",
			   strerror(errno));
	s->mapped = true;
	s->holes = 0;
	return 0;
}

static int put_zeroes(uint8_t *hva, uint64_t len)
{
	return mmap(hva, len, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED
		       ? -errno
		       : 0;
}

/*
 * A page of anonymous memory that is dropped reads as zero when it is touched
 * again; one of a file would have the file's content again.
 */
static int drop_pages(struct gmem_slot *s, uint8_t *hva, uint64_t len)
{
	if (!s->mapped)
		return madvise(hva, len, MADV_DONTNEED) ? -errno : 0;
	if (len < HOLE_MIN || s->holes == HOLES_MAX) {
		memset(hva, 0, len);
		return 0;
	}
	s->holes++;
	return put_zeroes(hva, len);
}

int gmem_discard(struct gmem *mem, gpa_t gpa, uint64_t len)
{
	uint8_t *hva;
	uint64_t n;
	int r;

	if (gpa % GMEM_PAGE || len % GMEM_PAGE || !gmem_is_ram(mem, gpa, len))
		return -EFAULT;
	for (; len; gpa += n, len -= n) {
		n = place(mem, gpa, len, &hva);
		r = mem->filler ? mem->filler->drop(mem->filler, hva, n) : 0;
		if (!r)
			r = drop_pages(slot_at(mem, gpa), hva, n);
		if (r)
			return r;
		gmem_dirty(mem, hva, n);
	}
	return 0;
}

gpa_t gmem_gpa(const struct gmem *mem, const void *p)
{
	for (unsigned i = 0; i < mem->n; i++) {
		const struct gmem_slot *s = &mem->slot[i];
		uintptr_t off = (uintptr_t)p - (uintptr_t)s->hva;

		if ((uintptr_t)p >= (uintptr_t)s->hva && off < s->len)
			return s->gpa + off;
	}
	BUG_ON(1);
}

void gmem_discard_all(struct gmem *mem)
{
	for (unsigned i = 0; i < mem->n; i++) {
		struct gmem_slot *s = &mem->slot[i];

		if (s->mapped)
			BUG_ON(put_zeroes(s->hva, s->len));
		else
			madvise(s->hva, s->len, MADV_DONTNEED);
		s->mapped = false;
		memset(mem->slot[i].dirty, 0xff, bitmap_bytes(mem->slot[i].len));
	}
}
