/* #syscalls pread64 */
/* #syscalls:before openat newfstatat */
#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image.h"
#include "unpack.h"

/* what people give by mistake, told by bytes at a fixed place */
static const struct {
	uint16_t off;
	uint8_t len;
	const char *magic, *what;
} foreign[] = {
	{ 56, 4, "ARM\x64", "an arm64 kernel (Image)" },
	{ 56, 4, "RSC\x05", "a RISC-V kernel (Image)" },
	{ 4, 4, "zimg", "an EFI zboot kernel" },
	{ 0, 4, "\x27\x05\x19\x56", "a U-Boot image (uImage)" },
	{ 0, 6, "070701", "a cpio archive, as for --initrd" },
	{ 0, 4, "QFI\xfb", "a qcow2 disk" },
	{ 0, 4, "hsqs", "a squashfs file system" },
	{ 1080, 2, "\x53\xef", "an ext2, ext3 or ext4 file system" },
	{ 0, 2, "#!", "a script" },
	{ 0, 2, "MZ", "an EFI or Windows program" },
};

static int open_error(const struct image *img, const char *want)
{
	if (errno == ENOENT)
		return err(-ENOENT, "%s: there is no such file; name %s", img->what, want);
	return err(-errno, "%s: cannot be opened: %s", img->what, strerror(errno));
}

static const char *kind_of_file(mode_t mode)
{
	return S_ISDIR(mode)	? "a directory"
	       : S_ISFIFO(mode) ? "a pipe"
	       : S_ISCHR(mode)	? "a character device"
	       : S_ISBLK(mode)	? "a block device"
				: "a socket";
}

int image_open(struct image *img, const char *role, const char *path, const char *want)
{
	struct stat st;
	int r;

	snprintf(img->what, sizeof(img->what), "%.7s %s", role, path);
	/* O_NONBLOCK: a pipe must not keep us waiting for its other end */
	img->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (img->fd < 0)
		return open_error(img, want);
	if (fstat(img->fd, &st))
		r = open_error(img, want);
	else if (!S_ISREG(st.st_mode))
		r = err(-EINVAL, "%s: is %s; name %s", img->what, kind_of_file(st.st_mode), want);
	else if (!st.st_size)
		r = err(-ENODATA, "%s: is empty; name %s", img->what, want);
	else
		r = 0;
	img->size = r ? 0 : (uint64_t)st.st_size;
	if (r)
		image_close(img);
	return r;
}

void image_close(struct image *img)
{
	cleanup_close(&img->fd);
	img->fd = -1;
}

ssize_t image_read(const struct image *img, uint64_t off, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(img->fd, (char *)buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err(-errno, "%s: cannot be read: %s", img->what, strerror(errno));
		if (!n)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static bool has(const uint8_t *head, size_t len, size_t off, const char *magic, size_t n)
{
	return range_fits(off, n, len) && !memcmp(head + off, magic, n);
}

int image_identify(const char *what, const uint8_t *head, size_t len, enum image_kind *ret)
{
	if (has(head, len, 0, ELFMAG, SELFMAG))
		*ret = IMAGE_ELF;
	else if (has(head, len, 0x202, "HdrS", 4) && has(head, len, 0x1fe, "\x55\xaa", 2))
		*ret = IMAGE_BZIMAGE;
	else if (pack_of(head, len) != PACK_NONE)
		*ret = IMAGE_PACKED;
	else {
		for (unsigned i = 0; i < ARRAY_SIZE(foreign); i++)
			if (has(head, len, foreign[i].off, foreign[i].magic, foreign[i].len))
				return err(-ENOEXEC,
					   "%s: is %s; give an x86_64 kernel, as a bzImage or ELF "
					   "file",
					   what, foreign[i].what);
		return err(-ENOEXEC, "%s: is not a Linux kernel: neither a bzImage nor an ELF file",
			   what);
	}
	return 0;
}

int image_too_big(const char *what, const struct gmem *mem, uint64_t end)
{
	char need[32], have[32];
	uint64_t total = 0;

	for (unsigned i = 0; i < mem->n; i++)
		total += mem->slot[i].len;
	size_print(align_up(MIN(end, INT64_MAX), MiB), need, sizeof(need));
	size_print(total, have, sizeof(have));
	return err(-ENOMEM,
		   "%s: needs %s of memory to start and the machine has %s; give more --memory",
		   what, need, have);
}
