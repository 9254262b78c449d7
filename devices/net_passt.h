/* net_passt.h - a passt of our own behind a socket (layer 3) */
#ifndef HUTCH_NET_PASST_H
#define HUTCH_NET_PASST_H

#include "loop.h"

struct net_passt;

/*
 * start one on @fd, which it gets a copy of; -errno with a message
 *
 * @forward is conf_net's: TCP ports of the host that lead to the guest, "" for none.
 */
int net_passt_start(struct loop *loop, const char *name, unsigned mtu, const char *forward, int fd,
		    struct net_passt **ret) must_check;
/*
 * end it, if it has not ended by itself, and leave nothing; NULL is fine
 *
 * @lost: not our wish, so what it had to say is shown.
 */
void net_passt_end(struct net_passt *p, bool lost);

#endif
