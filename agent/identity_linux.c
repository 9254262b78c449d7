/*
 * identity_linux.c - what a system has once, and two of them that were one have twice
 *
 * machine-id is the system's own file and is written where there is one.  The
 * kernel's boot_id cannot be: another file is mounted over it, which all see that
 * share our mounts, and a namespace of mounts that was there before does not.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os_linux.h"

#define MACHINE_ID "/etc/machine-id"
#define BOOT_ID	   "/proc/sys/kernel/random/boot_id"
#define NEW_ID	   "/run/boot_id.new"
#define FLAGS	   (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)

/* 32 digits and a line's end; @dashes as in a UUID: 36 of them */
static void draw(bool dashes, char text[38])
{
	uint8_t id[16] = { 0 };
	char *at = text;

	if (getrandom(id, sizeof(id), 0) != sizeof(id))
		log_say(LEVEL_ERROR, "no random id: %s", strerror(errno));
	id[6] = (uint8_t)((id[6] & 0x0f) | 0x40); /* of version 4: a random one */
	id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
	for (unsigned i = 0; i < sizeof(id); i++) {
		if (dashes && i >= 4 && i <= 10 && i % 2 == 0)
			*at++ = '-';
		at += sprintf(at, "%02x", id[i]);
	}
	strcpy(at, "\n");
}

/* an image that is to be given its id by its first boot has an empty file, or a word */
static void renew_machine_id(void)
{
	char text[38];

	if (file_read(AT_FDCWD, MACHINE_ID, text, sizeof(text)) || strlen(text) < 32)
		return;
	draw(false, text);
	if (file_write(AT_FDCWD, MACHINE_ID, text) && errno != EROFS)
		log_say(LEVEL_ERROR, MACHINE_ID ": %s", strerror(errno));
}

static void renew_boot_id(void)
{
	char text[38];
	int fd;

	draw(true, text);
	unlink(NEW_ID);
	fd = open(NEW_ID, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	umount2(BOOT_ID, MNT_DETACH); /* of the last restore */
	if (fd < 0 || write(fd, text, strlen(text)) < 0 ||
	    mount(NEW_ID, BOOT_ID, NULL, MS_BIND, NULL) ||
	    mount(NULL, BOOT_ID, NULL, MS_REMOUNT | MS_BIND | FLAGS, NULL))
		log_say(LEVEL_ERROR, BOOT_ID ": %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	unlink(NEW_ID); /* the mount holds it */
}

void identity_renew(void)
{
	renew_machine_id();
	renew_boot_id();
}
