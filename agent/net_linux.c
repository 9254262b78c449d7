/*
 * net_linux.c - the network: an address, a route, name servers
 *
 * TAG_NET is what a kernel's command line has as ip=
 *
 *   off, none                nothing
 *   dhcp, on, any            address, route, MTU and name servers from whoever answers on eth0
 *   ADDRESS[/PREFIX]:SERVER:GATEWAY:MASK:HOSTNAME:DEVICE:HOW
 *                            in place; what is at the end or empty is left out, the device is then
 *                            eth0; HOW is one of the words above
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os_linux.h"

#define FIELDS 7

static struct ifreq request(const char *dev)
{
	struct ifreq r;

	memset(&r, 0, sizeof(r));
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", dev);
	return r;
}

static int call(unsigned long what, void *arg)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r, error;

	if (fd < 0)
		return -1;
	r = ioctl(fd, what, arg);
	error = errno;
	close(fd);
	errno = error;
	return r;
}

static int set_address(unsigned long what, const char *dev, uint32_t address)
{
	struct ifreq r = request(dev);
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = address };

	memcpy(&r.ifr_addr, &in, sizeof(in));
	return call(what, &r);
}

static int up(const char *dev)
{
	struct ifreq r = request(dev);

	if (call(SIOCGIFFLAGS, &r))
		return -1;
	r.ifr_flags |= IFF_UP;
	return call(SIOCSIFFLAGS, &r);
}

int net_lo(void)
{
	return up("lo") ? -errno : 0;
}

/* to @address alone, or with @router everywhere through that */
static int add_route(const char *dev, uint32_t address, uint32_t router)
{
	char name[16];
	struct rtentry r = { .rt_flags = RTF_UP, .rt_dev = name };
	struct sockaddr_in in = { .sin_family = AF_INET };

	snprintf(name, sizeof(name), "%s", dev);
	in.sin_addr.s_addr = address;
	memcpy(&r.rt_dst, &in, sizeof(in));
	in.sin_addr.s_addr = router ? 0 : INADDR_NONE;
	memcpy(&r.rt_genmask, &in, sizeof(in));
	in.sin_addr.s_addr = router;
	memcpy(&r.rt_gateway, &in, sizeof(in));
	r.rt_flags |= router ? RTF_GATEWAY : RTF_HOST;
	return call(SIOCADDRT, &r) && errno != EEXIST ? -1 : 0;
}

static const char *dotted(uint32_t address, char text[INET_ADDRSTRLEN])
{
	return inet_ntop(AF_INET, &address, text, INET_ADDRSTRLEN);
}

int net_apply(const struct net *net, struct why *why)
{
	struct ifreq mtu = request(net->dev);
	char text[INET_ADDRSTRLEN];

	mtu.ifr_mtu = (int)net->mtu;
	if (net->mtu && call(SIOCSIFMTU, &mtu))
		return refuse(why, ERROR_SYSTEM, errno, "network: %s: MTU %u: %s", net->dev,
			      net->mtu, strerror(errno));
	if (set_address(SIOCSIFADDR, net->dev, net->address) ||
	    set_address(SIOCSIFNETMASK, net->dev, net->mask))
		return refuse(why, ERROR_SYSTEM, errno, "network: %s: address %s: %s", net->dev,
			      dotted(net->address, text), strerror(errno));
	/* a router outside of the network is a neighbour all the same */
	if (net->router && add_route(net->dev, 0, net->router) &&
	    (errno != ENETUNREACH || add_route(net->dev, net->router, 0) ||
	     add_route(net->dev, 0, net->router)))
		return refuse(why, ERROR_SYSTEM, errno, "network: %s: gateway %s: %s", net->dev,
			      dotted(net->router, text), strerror(errno));
	return 0;
}

/* a root that cannot be written keeps the file it has, and a network without names is one */
static void write_names(const char *text)
{
	static const char path[] = "/etc/resolv.conf";
	int fd;

	mkdir("/etc", 0755);
	/* often a link into /run, to what a service would write that does not run here */
	unlink(path);
	/* a fifo of a root that cannot be written is not waited for */
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		log_say(LEVEL_ERROR, "%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

void net_names(const struct net *net)
{
	char text[512] = "", address[INET_ADDRSTRLEN];
	size_t len = 0;

	if (!net->dnss)
		return;
	if (net->domain[0])
		len += (size_t)snprintf(text, sizeof(text), "search %s\n", net->domain);
	for (unsigned i = 0; i < net->dnss; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "nameserver %s\n",
					dotted(net->dns[i], address));
	write_names(text);
}

/* as they were given: IPv6 too */
static int given_names(const struct setup *s, struct why *why)
{
	char text[SETUP_DNS * 64] = "";
	uint8_t address[16];
	size_t len = 0;

	for (unsigned i = 0; i < s->dnss; i++) {
		if (inet_pton(AF_INET, s->dns[i], address) != 1 &&
		    inet_pton(AF_INET6, s->dns[i], address) != 1)
			return refuse(why, ERROR_REQUEST, 0,
				      "name server '%.60s': not an address of IPv4 or IPv6",
				      s->dns[i]);
		len += (size_t)snprintf(text + len, sizeof(text) - len, "nameserver %.46s\n",
					s->dns[i]);
	}
	if (len)
		write_names(text);
	return 0;
}

static bool is_word(const char *word, const char *const *list)
{
	while (*list && strcmp(word, *list) != 0)
		list++;
	return *list != NULL;
}

static const char *const words_off[] = { "off", "none", "static", NULL };
static const char *const words_dhcp[] = { "dhcp", "on", "any", NULL };

static int parse_address(const char *what, const char *text, uint32_t *ret, struct why *why)
{
	if (!text[0] || inet_pton(AF_INET, text, ret) == 1)
		return 0;
	return refuse(why, ERROR_REQUEST, 0, "network: %s '%.40s': not an IPv4 address", what,
		      text);
}

static int parse_prefix(char *address, struct net *ret, struct why *why)
{
	char *slash = strchr(address, '/'), *end;
	unsigned long n;

	if (!slash)
		return 0;
	*slash = '\0';
	n = strtoul(slash + 1, &end, 10);
	if (end == slash + 1 || *end || n < 1 || n > 32)
		return refuse(why, ERROR_REQUEST, 0,
			      "network: prefix '/%.20s': not a number from 1 to 32", slash + 1);
	ret->mask = htonl(UINT32_MAX << (32 - n));
	return 0;
}

static int parse_fields(char *field[FIELDS], struct net *ret, struct why *why)
{
	if (parse_prefix(field[0], ret, why) ||
	    parse_address("address", field[0], &ret->address, why) ||
	    parse_address("gateway", field[2], &ret->router, why) ||
	    parse_address("mask", field[3], &ret->mask, why))
		return -1;
	if (strlen(field[4]) >= sizeof(ret->host) || strlen(field[5]) >= sizeof(ret->dev) ||
	    strchr(field[5], '/'))
		return refuse(why, ERROR_REQUEST, 0,
			      "network: host name '%.80s' or device '%.80s': too long", field[4],
			      field[5]);
	strcpy(ret->host, field[4]);
	strcpy(ret->dev, field[5][0] ? field[5] : "eth0");
	if (field[6][0] && !is_word(field[6], words_off) && !is_word(field[6], words_dhcp))
		return refuse(why, ERROR_REQUEST, 0, "network: '%.40s': it is dhcp or off",
			      field[6]);
	ret->dhcp = !ret->address && !is_word(field[6], words_off);
	if (ret->address && !ret->mask)
		return refuse(why, ERROR_REQUEST, 0,
			      "network: address %.40s: of which network? Write it as %.40s/24",
			      field[0], field[0]);
	return 0;
}

int net_parse(const char *text, struct net *ret, struct why *why)
{
	char copy[256], *field[FIELDS], *at = copy, empty[1] = "";

	*ret = (struct net){ .mask = 0 };
	if (strlen(text) >= sizeof(copy))
		return refuse(why, ERROR_REQUEST, 0, "network '%.60s...': too long", text);
	if (is_word(text, words_dhcp))
		text = "::::::dhcp";
	strcpy(copy, text);
	for (int i = 0; i < FIELDS; i++)
		field[i] = at ? strsep(&at, ":") : empty;
	return parse_fields(field, ret, why);
}

/* the name of the card with this address; the first, as what was made of it (a bridge) has it too
 */
static bool find_card(const uint8_t mac[6], struct ifreq *ret)
{
	struct if_nameindex *list = if_nameindex();
	bool found = false;

	for (struct if_nameindex *i = list; i && i->if_index && !found; i++) {
		*ret = request(i->if_name);
		found = !call(SIOCGIFHWADDR, ret) && ret->ifr_hwaddr.sa_family == ARPHRD_ETHER &&
			!memcmp(ret->ifr_hwaddr.sa_data, mac, 6);
	}
	if (list)
		if_freenameindex(list);
	return found;
}

static int write_setting(const char *family, const char *dev, const char *what, const char *value)
{
	char path[96];

	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, dev, what);
	return file_write(AT_FDCWD, path, value);
}

/*
 * A card that the guest has given an address of its own stays as it is.  Neighbours are told of the
 * new one at once (arp_notify); addresses of IPv6 are made of it, and are made anew.
 */
static int renew_mac(const struct setup_mac *mac, struct why *why)
{
	struct ifreq r;

	if (!find_card(mac->from, &r))
		return 0;
	write_setting("ipv4", r.ifr_name, "arp_notify", "1");
	memcpy(r.ifr_hwaddr.sa_data, mac->to, sizeof(mac->to));
	if (call(SIOCSIFHWADDR, &r))
		return refuse(why, ERROR_SYSTEM, errno,
			      "network: %s: it cannot have another address: %s", r.ifr_name,
			      strerror(errno));
	if (!write_setting("ipv6", r.ifr_name, "disable_ipv6", "1"))
		write_setting("ipv6", r.ifr_name, "disable_ipv6", "0");
	return 0;
}

/* what was given before does not come back */
static void end_dhcp(struct os *os)
{
	if (os->dhcp > 0)
		kill(os->dhcp, SIGKILL);
	os->dhcp = 0;
}

int net_setup(struct os *os, const struct setup *s, struct why *why)
{
	struct net net;

	for (unsigned i = 0; i < s->macs; i++)
		if (renew_mac(&s->mac[i], why))
			return -1;
	if (s->net && !is_word(s->net, words_off)) {
		if (net_parse(s->net, &net, why))
			return -1;
		module_load(os, "virtio_net");
		if (!if_nametoindex(net.dev))
			return refuse(why, ERROR_SYSTEM, ENODEV,
				      "network: the machine has no network card %s", net.dev);
		if (net.host[0] && sethostname(net.host, strlen(net.host)))
			return refuse(why, ERROR_SYSTEM, errno, "network: host name '%s': %s",
				      net.host, strerror(errno));
		if (up(net.dev))
			return refuse(why, ERROR_SYSTEM, errno, "network: %s: %s", net.dev,
				      strerror(errno));
		end_dhcp(os);
		if (net.dhcp ? dhcp(&net, &os->dhcp, why) : net.address ? net_apply(&net, why) : 0)
			return -1;
		if (!s->dnss)
			net_names(&net);
	}
	return given_names(s, why);
}
