/* cmdline.h - the kernel command line (layer 3) */
#ifndef HUTCH_CMDLINE_H
#define HUTCH_CMDLINE_H

#include "conf.h"
#include "gmem.h"

#define CMDLINE_LINUX \
	2047 /* COMMAND_LINE_SIZE of Linux on x86 without the NUL; longer is cut silently */

struct cmdline {
	char text[CONF_APPEND + 16];
};

/*
 * cmdline_make() - the append of @conf, and panic=-1 unless it says panic=
 *
 * A panic then ends the machine instead of hanging it.  The first word console=auto
 * becomes the console that @conf gives the guest.  -EINVAL for control characters.
 */
int cmdline_make(struct cmdline *line, const struct conf *conf) must_check;

/* write it to CMDLINE_ADDR: -E2BIG if it is longer than @most bytes, the NUL not counted */
int cmdline_write(const struct cmdline *line, struct gmem *mem, uint64_t most) must_check;

#endif
