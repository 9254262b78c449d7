/* guest.c - where the default guest lies */
/* #syscalls:before readlink access openat read close */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

/* beside this program: build/guest in its own tree, share/hutch once installed */
static int beside(const char *file, char *buf, size_t size)
{
	static const char *const place[] = { "guest", "../share/hutch" };
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *slash;

	if (n <= 0)
		return -ENOENT;
	exe[n] = '\0';
	slash = strrchr(exe, '/');
	if (!slash)
		return -ENOENT;
	*slash = '\0';
	for (unsigned i = 0; i < sizeof(place) / sizeof(place[0]); i++)
		if (snprintf(buf, size, "%s/%s/%s", exe, place[i], file) < (int)size &&
		    !access(buf, R_OK))
			return 0;
	return -ENOENT;
}

static int find(const char *variable, const char *file, char *buf, size_t size)
{
	const char *named = getenv(variable);

	if (!named || !*named)
		return beside(file, buf, size);
	return snprintf(buf, size, "%s", named) < (int)size ? 0 : -ENAMETOOLONG;
}

int guest_kernel(char *buf, size_t size)
{
	/* to unpack the kernel, each time, takes longer than to read it unpacked */
	return find("HUTCH_KERNEL", "vmlinux", buf, size) ? beside("vmlinuz", buf, size) : 0;
}

int guest_initrd(char *buf, size_t size)
{
	return find("HUTCH_INITRD", "initrd", buf, size);
}

int guest_cmdline(char *buf, size_t size)
{
	char path[4096];
	FILE *f;
	bool ok;

	if (beside("cmdline", path, sizeof(path)))
		return -ENOENT;
	f = fopen(path, "re");
	ok = f && fgets(buf, (int)size, f);
	if (f)
		fclose(f);
	if (ok)
		buf[strcspn(buf, "\n")] = '\0';
	return ok ? 0 : -ENOENT;
}

int guest_box(char *buf, size_t size)
{
	return find("HUTCH_BOX", "box", buf, size);
}
