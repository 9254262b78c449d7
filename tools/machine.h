/* machine.h - what boot and run have in common: the default guest, the registry (layer 6) */
#ifndef HUTCH_MACHINE_H
#define HUTCH_MACHINE_H

#include "registry.h"
#include "tool.h"

/* after parse(): what the command means where nobody named a key, or null took it back. The basic
 * jail, and what suits a sandbox if @box.  -1 after a complaint */
int machine_defaults(struct hutch *h, bool box);
/* without --kernel: the default guest, with the agent's initramfs if @box; -1 after a complaint */
int machine_guest(struct hutch *h, bool box);
/* without --append: the kernel command line that suits; before
 * machine_guest(). -1 after a complaint */
int machine_line(struct hutch *h);
/* enter @box, whose command and keep are set, under the machine's name or one that is made up;
 * its sockets are made in its folder.  -errno after a complaint */
int machine_register(struct hutch *h, struct box *box);
/* what the agent says is kept in @box's folder, as much as there is room for; @log and @box are
 * there as long as the machine */
struct agent_log {
	const struct box *box;
	size_t said; /* bytes */
};
void machine_agent_log(struct hutch *h, struct agent_log *log, const struct box *box);
/* each connection of a guest takes a descriptor; 1024 in all is what most shells allow at first */
void machine_files(void);

#endif
