/*
 * initrd.c - how it works
 *
 * Linux unpacks any number of cpio archives, packed or not, from one range: it
 * skips zero bytes between them and wants each at a multiple of 4.  Files of
 * later ones replace those of earlier ones.  What is made in memory goes into a
 * memfd, so that all parts are alike and can be loaded again after a reset.
 *
 * #syscalls:before memfd_create write
 */
#include <sys/mman.h>
#include <unistd.h>

#include "initrd.h"

#define PART_ALIGN 4

int initrd_open(struct initrd *rd, const struct conf *conf)
{
	for (rd->parts = 0; rd->parts < conf->initrds; rd->parts++) {
		int r = image_open(&rd->part[rd->parts], "initrd", conf->initrd[rd->parts].path,
				   "a cpio archive, packed or not");

		if (r) {
			initrd_close(rd);
			return r;
		}
	}
	return 0;
}

void initrd_close(struct initrd *rd)
{
	while (rd->parts)
		image_close(&rd->part[--rd->parts]);
}

static int write_all(int fd, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf += n;
		len -= (size_t)n;
	}
	return 0;
}

int initrd_add(struct initrd *rd, const void *buf, size_t len)
{
	struct image *part = &rd->part[rd->parts];
	int r;

	if (!len)
		return 0;
	if (rd->parts == ARRAY_SIZE(rd->part))
		return err(-E2BIG, "initrd: more than %zu parts", ARRAY_SIZE(rd->part));
	*part = (struct image){ .what = "initrd made by hutch", .size = len };
	part->fd = memfd_create("initrd", MFD_CLOEXEC);
	r = part->fd < 0 ? -errno : write_all(part->fd, buf, len);
	if (r) {
		image_close(part);
		return err(r, "%s: no memory for it: %s", part->what, strerror(-r));
	}
	rd->parts++;
	return 0;
}

/* the length of all parts: false if 64 bits do not hold it */
static bool total(const struct initrd *rd, uint64_t *ret)
{
	uint64_t len = 0;

	for (unsigned i = 0; i < rd->parts; i++) {
		len = align_up(len, PART_ALIGN);
		if (__builtin_add_overflow(len, rd->part[i].size, &len) || len > INT64_MAX)
			return false;
	}
	*ret = len;
	return true;
}

static int does_not_fit(const struct initrd *rd, uint64_t len, gpa_t floor, gpa_t ceiling)
{
	char size[32], limit[32], others[32] = "";

	size_print(align_up(MIN(len, INT64_MAX), MiB), size, sizeof(size));
	size_print(ceiling, limit, sizeof(limit));
	if (rd->parts > 1)
		snprintf(others, sizeof(others), " and %u more", rd->parts - 1);
	return err(-ENOMEM,
		   "%s%s: %s do not fit beside the kernel, which ends at %#lx, in the %s of memory "
		   "it can lie in; give more --memory",
		   rd->part[0].what, others, size, floor, limit);
}

/* where it would lie: false if it does not fit */
static bool place(const struct initrd *rd, gpa_t floor, gpa_t ceiling, gpa_t *ret,
		  uint64_t *ret_len)
{
	uint64_t len = INT64_MAX;
	bool fits = total(rd, &len) && floor <= ceiling && len <= ceiling;

	*ret_len = len;
	*ret = fits ? (ceiling - len) & ~(GMEM_PAGE - 1) : 0;
	return fits && *ret >= floor;
}

bool initrd_fits(const struct initrd *rd, gpa_t floor, gpa_t ceiling)
{
	uint64_t len;
	gpa_t addr;

	return place(rd, floor, ceiling, &addr, &len);
}

int initrd_load(const struct initrd *rd, struct gmem *mem, gpa_t floor, gpa_t ceiling,
		struct initrd_at *ret)
{
	uint64_t len;
	gpa_t addr, at;

	if (!rd->parts) {
		*ret = (struct initrd_at){ 0 };
		return 0;
	}
	if (!place(rd, floor, ceiling, &addr, &len))
		return does_not_fit(rd, len, floor, ceiling);
	at = addr;
	for (unsigned i = 0; i < rd->parts; i++) {
		const struct image *part = &rd->part[i];
		int r;

		/* memory is zero: so is what lies between the parts */
		at = align_up(at, PART_ALIGN);
		r = gmem_load(mem, at, part->fd, 0, part->size);
		if (r)
			return err(r, "%s: cannot be read into memory: %s; did it change?",
				   part->what, strerror(-r));
		at += part->size;
	}
	*ret = (struct initrd_at){ addr, len };
	return 0;
}
