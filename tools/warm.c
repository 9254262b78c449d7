/*
 * warm.c - a boot is kept, and the next machine of its kind goes on from there
 *
 * 1. What is kept is the moment when the agent is up and calls: its guest has
 *    been told nothing yet, neither its root nor its name nor the time, so one
 *    boot is any sandbox's.  All that comes after the restore, as after a boot.
 * 2. The name of the file says which boot it is: a digest of each key that the
 *    guest knows, of the files that these name (device, inode, size, time), of
 *    this program's version and of this start of the host.  The last because it
 *    is not synced; the trimming of the cache throws it away in the end.
 * 3. The memory lies flat in it and is mapped: machines share what they do not
 *    change, and its checksums, which are for what comes from elsewhere, are not
 *    looked at.
 * 4. Only a machine whose devices hold nothing yet: no network, whose card has an
 *    address of its own, and no disk that can be written.
 *
 * #syscalls:before newfstatat access
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image_build.h"
#include "trim.h"
#include "warm.h"

static void add_text(struct sha256 *s, const char *text)
{
	sha256_add(s, text, strlen(text) + 1);
}

/* a key's value, and the file if it names one; -1 if the machine has no such key */
static int add_key(struct sha256 *s, struct hutch *h, const char *key)
{
	char value[4096];
	struct stat st;

	if (hutch_get(h, key, value, sizeof(value)))
		return -1;
	add_text(s, key);
	add_text(s, value);
	if (!strchr(value, '/') || stat(value, &st))
		return 0;
	sha256_add(s, &st.st_dev, sizeof(st.st_dev));
	sha256_add(s, &st.st_ino, sizeof(st.st_ino));
	sha256_add(s, &st.st_size, sizeof(st.st_size));
	sha256_add(s, &st.st_mtim, sizeof(st.st_mtim));
	sha256_add(s, &st.st_ctim, sizeof(st.st_ctim));
	return 0;
}

/* element @n of list @i; -1 if there is none */
static int add_element(struct sha256 *s, struct hutch *h, unsigned i, const char *name, unsigned n)
{
	struct hutch_key sub;
	char key[80];

	if (hutch_subkey(i, 0, &sub)) { /* one value each */
		snprintf(key, sizeof(key), "%s@%u.path", name, n);
		return add_key(s, h, key);
	}
	for (unsigned k = 0; !hutch_subkey(i, k, &sub); k++) {
		snprintf(key, sizeof(key), "%s@%u.%s", name, n, sub.name);
		/* where its socket lies is the sandbox's own */
		if (strcmp(name, "vsock") || strcmp(sub.name, "path") ? add_key(s, h, key) : 0)
			return -1;
	}
	return 0;
}

static bool is(struct hutch *h, const char *key, const char *value)
{
	char now[64];

	return !hutch_get(h, key, now, sizeof(now)) && !strcmp(now, value);
}

/* has it nothing that one machine has and another has not? */
static bool is_plain(struct hutch *h)
{
	char key[32], value[64];

	if (!is(h, "agent", "yes") || !is(h, "cold", "no") || !is(h, "on_reboot", "exit") ||
	    !is(h, "rootfs_rw", "no") || !hutch_get(h, "net@0.mode", value, sizeof(value)))
		return false;
	for (unsigned i = 0;; i++) {
		snprintf(key, sizeof(key), "disk@%u.ro", i);
		if (hutch_get(h, key, value, sizeof(value)))
			return true;
		if (strcmp(value, "yes"))
			return false;
	}
}

void warm_look(struct hutch *h)
{
	char folder[PATH_MAX], path[PATH_MAX], hex[SHA256_HEX], host[HUTCH_HOST_BOOT];
	struct hutch_key key;
	struct sha256 s;

	if (!is_plain(h) || !image_cache_there(folder, sizeof(folder)) || hutch_host_boot(host))
		return;
	sha256_start(&s);
	add_text(&s, host);
	add_text(&s, HUTCH_VERSION);
	for (unsigned i = 0; !hutch_key(i, &key); i++) {
		if (key.made && !key.list)
			add_key(&s, h, key.name);
		for (unsigned n = 0; key.made && key.list; n++)
			if (add_element(&s, h, i, key.name, n))
				break;
	}
	sha256_hex(&s, hex);
	if (snprintf(path, sizeof(path), "%s/boot-%s.memory", folder, hex) >= (int)sizeof(path))
		return;
	if (access(path, F_OK)) /* one more is going to be there */
		kept_trim(folder);
	hutch_warm(h, path);
}
