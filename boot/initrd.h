/* initrd.h - initial file systems, joined into one (layer 3) */
#ifndef HUTCH_INITRD_H
#define HUTCH_INITRD_H

#include "board.h"
#include "image.h"

#define INITRD_ADDED 4 /* made by ourselves, behind those of the configuration */

struct initrd {
	unsigned parts;
	struct image part[CONF_INITRDS + INITRD_ADDED];
};

/* where it lies in guest memory; len 0: there is none */
struct initrd_at {
	gpa_t addr;
	uint64_t len;
};

/* open all that @conf names; on an error nothing is left open */
int initrd_open(struct initrd *rd, const struct conf *conf) must_check;
void initrd_close(struct initrd *rd);

/* initrd_add() - join a copy of @buf behind the others: -E2BIG, -ENOMEM or that of writing it */
int initrd_add(struct initrd *rd, const void *buf, size_t len) must_check;

/* is there room for it between @floor and @ceiling? */
bool initrd_fits(const struct initrd *rd, gpa_t floor, gpa_t ceiling);

/*
 * initrd_load() - as high as it goes between @floor, where the kernel ends, and @ceiling
 *
 * -ENOMEM if it does not fit there.
 */
int initrd_load(const struct initrd *rd, struct gmem *mem, gpa_t floor, gpa_t ceiling,
		struct initrd_at *ret) must_check;

#endif
