/*
 * dhcp_linux.c - a client of DHCP (RFC 2131), as small as it can be
 *
 * 1. It speaks through a packet socket, because the interface has no address yet and some servers
 *    answer to the one they are about to give.
 * 2. DISCOVER until there is an OFFER, REQUEST until there is an ACK; what is lost is sent again
 * after TRY_MS, then twice as long.
 * 3. What comes in is not trusted: its lengths are checked against what was received.
 * 4. An address lent for a time is asked for again, from the start, at half of it, by a process of
 * its own that stays.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "os_linux.h"

#define CLIENT	   68
#define SERVER	   67
#define TRY_MS	   250
#define TRIES	   5 /* 8 s together */
#define CARRIER_MS 200
#define LEASE_MIN  120
#define LEASE_MAX  (14U * 24 * 3600)
#define COOKIE	   0x63825363

enum { DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK };

enum {
	OPT_PAD = 0,
	OPT_MASK = 1,
	OPT_ROUTER = 3,
	OPT_DNS = 6,
	OPT_DOMAIN = 15,
	OPT_MTU = 26,
	OPT_ADDRESS = 50,
	OPT_LEASE = 51,
	OPT_TYPE = 53,
	OPT_SERVER = 54,
	OPT_WANTED = 55,
	OPT_END = 255,
};

struct message {
	uint8_t op, htype, hlen, hops;
	uint32_t xid;
	uint16_t secs, flags;
	uint32_t ciaddr, yiaddr, siaddr, giaddr;
	uint8_t chaddr[16], sname[64], file[128];
	uint32_t cookie;
	uint8_t options[312];
};

struct packet {
	struct iphdr ip;
	struct udphdr udp;
	struct message m;
};

_Static_assert(sizeof(struct message) == 240 + 312, "as on the wire");

static uint16_t checksum(const void *data, size_t len)
{
	uint32_t sum = 0;
	uint16_t word;

	for (size_t i = 0; i + 1 < len; i += 2) {
		memcpy(&word, (const uint8_t *)data + i, 2);
		sum += word;
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static uint8_t *option(uint8_t *to, uint8_t code, const void *data, size_t len)
{
	*to++ = code;
	*to++ = (uint8_t)len;
	memcpy(to, data, len);
	return to + len;
}

static int send_message(const struct dhcp *c, uint8_t type, const struct net *net)
{
	static const uint8_t wanted[] = { OPT_MASK, OPT_ROUTER, OPT_DNS, OPT_DOMAIN, OPT_MTU };
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_IP),
				  .sll_ifindex = c->index,
				  .sll_halen = 6,
				  .sll_addr = { 255, 255, 255, 255, 255, 255 } };
	struct packet p = { .ip = { .version = 4,
				    .ihl = 5,
				    .tot_len = htons(sizeof(p)),
				    .ttl = 64,
				    .protocol = IPPROTO_UDP,
				    .daddr = INADDR_BROADCAST },
			    .udp = { .source = htons(CLIENT),
				     .dest = htons(SERVER),
				     .len = htons(sizeof(p.udp) + sizeof(p.m)) },
			    .m = { .op = 1, .htype = 1, .hlen = 6, .xid = c->xid } };
	uint8_t *o = p.m.options;

	p.ip.check = checksum(&p.ip, sizeof(p.ip));
	p.m.flags = htons(0x8000);
	p.m.cookie = htonl(COOKIE);
	memcpy(p.m.chaddr, c->mac, 6);
	o = option(o, OPT_TYPE, &type, 1);
	o = option(o, OPT_WANTED, wanted, sizeof(wanted));
	if (type == REQUEST) {
		o = option(o, OPT_ADDRESS, &net->address, 4);
		o = option(o, OPT_SERVER, &c->server, 4);
	}
	*o = OPT_END;
	return sendto(c->fd, &p, sizeof(p), 0, (struct sockaddr *)&to, sizeof(to)) < 0 ? -1 : 0;
}

static void take_option(struct dhcp *c, struct net *net, uint8_t code, const uint8_t *at,
			size_t len)
{
	uint32_t word = 0;
	uint16_t half;

	if (len >= 4)
		memcpy(&word, at, 4);
	switch (code) {
	case OPT_MASK:
		net->mask = word;
		break;
	case OPT_ROUTER:
		net->router = word;
		break;
	case OPT_SERVER:
		c->server = word;
		break;
	case OPT_LEASE:
		c->lease = ntohl(word);
		break;
	case OPT_MTU:
		if (len == 2) {
			memcpy(&half, at, 2);
			net->mtu = ntohs(half);
		}
		break;
	case OPT_DOMAIN:
		if (len < sizeof(net->domain)) {
			memcpy(net->domain, at, len);
			net->domain[len] = '\0';
		}
		break;
	case OPT_DNS:
		net->dnss = len / 4 < NET_NAMES ? (unsigned)(len / 4) : NET_NAMES;
		memcpy(net->dns, at, net->dnss * 4);
		break;
	}
}

int dhcp_take(struct dhcp *c, struct net *net, const uint8_t *data, size_t len)
{
	struct packet p;
	const uint8_t *o, *end;
	size_t ihl;
	int type = 0;

	/* what did not come is zero, and then no cookie */
	memset(&p, 0, sizeof(p));
	if (len < sizeof(p.ip))
		return 0;
	memcpy(&p.ip, data, sizeof(p.ip));
	ihl = p.ip.ihl * 4U;
	if (p.ip.protocol != IPPROTO_UDP || ihl < sizeof(p.ip) || len < ihl ||
	    (ntohs(p.ip.frag_off) & 0x3fff))
		return 0;
	len = len - ihl < sizeof(p) - sizeof(p.ip) ? len - ihl : sizeof(p) - sizeof(p.ip);
	memcpy(&p.udp, data + ihl, len);
	end = (uint8_t *)&p.udp + len;
	o = p.m.options;
	if (p.udp.dest != htons(CLIENT) || p.m.op != 2 || p.m.xid != c->xid ||
	    p.m.cookie != htonl(COOKIE) || memcmp(p.m.chaddr, c->mac, 6) != 0)
		return 0;
	net->address = p.m.yiaddr;
	while (o < end && *o != OPT_END) {
		if (*o == OPT_PAD) {
			o++;
			continue;
		}
		if (end - o < 2 || end - o - 2 < o[1])
			return 0;
		if (*o == OPT_TYPE && o[1] == 1)
			type = o[2];
		take_option(c, net, *o, o + 2, o[1]);
		o += 2 + o[1];
	}
	return type;
}

/* sends @type until there is an answer of type @want: 1 for that, 0 for none, -1 with errno */
static int ask(struct dhcp *c, uint8_t type, int want, struct net *net)
{
	struct pollfd p = { c->fd, POLLIN, 0 };
	uint64_t end, now;
	uint8_t data[1500];
	struct net got;
	ssize_t n;
	int have;

	for (int i = 0; i < TRIES; i++) {
		if (send_message(c, type, net))
			return -1;
		end = clock_ns(CLOCK_MONOTONIC) + ((uint64_t)TRY_MS << i) * 1000000;
		while ((now = clock_ns(CLOCK_MONOTONIC)) < end) {
			if (poll(&p, 1, (int)((end - now) / 1000000) + 1) <= 0)
				continue;
			n = recv(c->fd, data, sizeof(data), 0);
			got = *net;
			have = n > 0 ? dhcp_take(c, &got, data, (size_t)n) : 0;
			if (have == NAK)
				return 0;
			if (have == want) {
				*net = got;
				return 1;
			}
		}
	}
	return 0;
}

/* a card that was just switched on drops what is sent before it has noticed its cable */
static void wait_for_carrier(const char *dev)
{
	char path[64], text[8];
	struct timespec ms = { 0, 1000000 };

	snprintf(path, sizeof(path), "/sys/class/net/%s/carrier", dev);
	for (int i = 0; i < CARRIER_MS; i++) {
		if (file_read(AT_FDCWD, path, text, sizeof(text)) || text[0] == '1')
			return;
		nanosleep(&ms, NULL);
	}
}

static int open_client(struct dhcp *c, const char *dev)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP) };
	struct ifreq r;

	memset(&r, 0, sizeof(r));
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", dev);
	*c = (struct dhcp){ .index = (int)if_nametoindex(dev) };
	at.sll_ifindex = c->index;
	if (getrandom(&c->xid, sizeof(c->xid), GRND_NONBLOCK) < 0)
		c->xid = (uint32_t)clock_ns(CLOCK_MONOTONIC);
	c->fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_IP));
	if (c->fd < 0)
		return -1;
	if (ioctl(c->fd, SIOCGIFHWADDR, &r) || bind(c->fd, (struct sockaddr *)&at, sizeof(at))) {
		close(c->fd);
		return -1;
	}
	memcpy(c->mac, r.ifr_hwaddr.sa_data, sizeof(c->mac));
	return 0;
}

/* *@ret_lease in seconds */
static int borrow(struct net *net, uint32_t *ret_lease, struct why *why)
{
	struct dhcp c;
	int r;

	if (open_client(&c, net->dev))
		return refuse(why, ERROR_SYSTEM, errno, "network: DHCP on %s: %s", net->dev,
			      strerror(errno));
	r = ask(&c, DISCOVER, OFFER, net);
	if (r > 0)
		r = ask(&c, REQUEST, ACK, net);
	close(c.fd);
	if (r < 0)
		return refuse(why, ERROR_SYSTEM, errno, "network: DHCP on %s: cannot send: %s",
			      net->dev, strerror(errno));
	if (!r)
		return refuse(why, ERROR_SYSTEM, ETIMEDOUT,
			      "network: no answer to DHCP on %s: is there a server on this "
			      "network? Else give an address, as in 10.0.2.15/24::10.0.2.2",
			      net->dev);
	if (!net->mask)
		net->mask = htonl(0xffffff00);
	*ret_lease = c.lease;
	return 0;
}

static void keep(struct net *net, uint32_t lease)
{
	struct why why;

	prctl(PR_SET_NAME, "hutch-dhcp");
	/* the agent's connections end with the agent's use of them */
	syscall(SYS_close_range, 3U, ~0U, 0U);
	for (;;) {
		sleep((lease < LEASE_MIN ? LEASE_MIN : lease > LEASE_MAX ? LEASE_MAX : lease) / 2);
		if (borrow(net, &lease, &why) || net_apply(net, &why))
			log_say(LEVEL_ERROR, "%s", why.text);
	}
}

int dhcp(struct net *net, pid_t *keeper, struct why *why)
{
	uint32_t lease;
	pid_t pid;

	wait_for_carrier(net->dev);
	if (borrow(net, &lease, why) || net_apply(net, why))
		return -1;
	if (!lease || lease == UINT32_MAX)
		return 0;
	pid = fork();
	if (!pid)
		keep(net, lease);
	*keeper = pid > 0 ? pid : 0;
	return 0;
}
