/* t_agent_net - what the agent is told of its network, and what it believes of DHCP */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../agent/os_linux.h"
#include "suite.h"

/* the rest of the agent, as far as these files know it */
int refuse(struct why *why, enum proto_error code, int error, const char *fmt, ...)
{
	va_list ap;

	why->code = code;
	why->error = error;
	va_start(ap, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, ap);
	va_end(ap);
	return -1;
}

void log_say(enum proto_level level, const char *fmt, ...)
{
	(void)level;
	(void)fmt;
}

void module_load(const struct os *os, const char *name)
{
	(void)os;
	(void)name;
}

uint64_t clock_ns(int clock)
{
	(void)clock;
	return 0;
}

static const char *dotted(uint32_t address)
{
	return inet_ntoa((struct in_addr){ .s_addr = address });
}

START_TEST(good_texts)
{
	static const struct {
		const char *text, *address, *mask, *router, *host, *dev;
		bool dhcp;
	} cases[] = {
		{ "dhcp", "0.0.0.0", "0.0.0.0", "0.0.0.0", "", "eth0", true },
		{ "on", "0.0.0.0", "0.0.0.0", "0.0.0.0", "", "eth0", true },
		{ ":::::eth1:dhcp", "0.0.0.0", "0.0.0.0", "0.0.0.0", "", "eth1", true },
		{ "10.0.0.2/24", "10.0.0.2", "255.255.255.0", "0.0.0.0", "", "eth0", false },
		{ "10.0.0.2/32::10.9.9.1", "10.0.0.2", "255.255.255.255", "10.9.9.1", "", "eth0",
		  false },
		{ "10.0.0.2/1", "10.0.0.2", "128.0.0.0", "0.0.0.0", "", "eth0", false },
		{ "10.0.0.2::10.0.0.1:255.255.0.0:box:eth3:off", "10.0.0.2", "255.255.0.0",
		  "10.0.0.1", "box", "eth3", false },
		{ ":::::eth0:off", "0.0.0.0", "0.0.0.0", "0.0.0.0", "", "eth0", false },
	};
	struct why why;
	struct net net;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		why.text[0] = '\0';
		ck_assert_msg(!net_parse(cases[i].text, &net, &why), "%s: %s", cases[i].text,
			      why.text);
		ck_assert_str_eq(dotted(net.address), cases[i].address);
		ck_assert_str_eq(dotted(net.mask), cases[i].mask);
		ck_assert_str_eq(dotted(net.router), cases[i].router);
		ck_assert_str_eq(net.host, cases[i].host);
		ck_assert_str_eq(net.dev, cases[i].dev);
		ck_assert_msg(net.dhcp == cases[i].dhcp, "%s: dhcp", cases[i].text);
	}
}
END_TEST

START_TEST(bad_texts)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{ "10.0.0.2", "10.0.0.2/24" },
		{ "10.0.0/24", "address '10.0.0'" },
		{ "10.0.0.2/0", "prefix '/0'" },
		{ "10.0.0.2/33", "prefix '/33'" },
		{ "10.0.0.2/x", "prefix '/x'" },
		{ "10.0.0.2/", "prefix '/'" },
		{ "10.0.0.2/24::gw", "gateway 'gw'" },
		{ "10.0.0.2:::255", "mask '255'" },
		{ ":::::a/b:dhcp", "'a/b'" },
		{ ":::::interface-of-17-x:dhcp", "interface-of-17-x" },
		{ ":::::eth0:bootp", "'bootp'" },
	};
	char text[400];
	struct why why;
	struct net net;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert_msg(net_parse(cases[i].text, &net, &why), "%s is taken", cases[i].text);
		ck_assert_int_eq(why.code, ERROR_REQUEST);
		ck_assert_msg(strstr(why.text, cases[i].says), "%s: %s", cases[i].text, why.text);
	}
	memset(text, '1', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	ck_assert(net_parse(text, &net, &why));
}
END_TEST

/* --- an answer as it comes from the wire --- */

#define BOOTP	240 /* before the options, with the cookie */
#define OPTIONS (sizeof(struct iphdr) + sizeof(struct udphdr) + BOOTP)
#define XID	0x12345678
#define ACK	5

static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 7 };

static size_t answer(uint8_t *p, const uint8_t *options, size_t len)
{
	struct iphdr ip = { .version = 4, .ihl = 5, .protocol = IPPROTO_UDP };
	struct udphdr udp = { .dest = htons(68) };
	uint32_t xid = XID, address = htonl(0x0a000005), cookie = htonl(0x63825363);
	uint8_t *m = p + sizeof(ip) + sizeof(udp);

	memset(p, 0, OPTIONS);
	memcpy(p, &ip, sizeof(ip));
	memcpy(p + sizeof(ip), &udp, sizeof(udp));
	m[0] = 2;
	memcpy(m + 4, &xid, 4);
	memcpy(m + 16, &address, 4);
	memcpy(m + 28, mac, 6);
	memcpy(m + 236, &cookie, 4);
	memcpy(p + OPTIONS, options, len);
	return OPTIONS + len;
}

/* from memory of exactly that size, so that a sanitizer sees each byte too many */
static int take(const uint8_t *data, size_t len, struct net *net, struct dhcp *c)
{
	uint8_t *copy = malloc(len ? len : 1);
	int r;

	*c = (struct dhcp){ .xid = XID };
	*net = (struct net){ .mask = 0 };
	memcpy(c->mac, mac, sizeof(mac));
	memcpy(copy, data, len);
	r = dhcp_take(c, net, copy, len);
	free(copy);
	return r;
}

static const uint8_t full[] = {
	53, 1,	ACK, 0,	 0, 1,	4, 255, 255, 255, 0,  3,   4,	10,  0,	  0,   1,
	6,  8,	8,   8,	 8, 8,	9, 9,	9,   9,	  26, 2,   5,	220, 51,  4,   0,
	0,  14, 16,  54, 4, 10, 0, 0,	1,   15,  4,  'h', 'o', 'm', 'e', 255,
};

START_TEST(an_answer)
{
	uint8_t p[1500];
	struct dhcp c;
	struct net net;

	ck_assert_int_eq(take(p, answer(p, full, sizeof(full)), &net, &c), ACK);
	ck_assert_str_eq(dotted(net.address), "10.0.0.5");
	ck_assert_str_eq(dotted(net.mask), "255.255.255.0");
	ck_assert_str_eq(dotted(net.router), "10.0.0.1");
	ck_assert_uint_eq(net.dnss, 2);
	ck_assert_str_eq(dotted(net.dns[1]), "9.9.9.9");
	ck_assert_uint_eq(net.mtu, 1500);
	ck_assert_uint_eq(c.lease, 3600);
	ck_assert_str_eq(dotted(c.server), "10.0.0.1");
	ck_assert_str_eq(net.domain, "home");
}
END_TEST

START_TEST(not_for_us)
{
	/* each place in a packet, and a value that makes it another's */
	static const struct {
		size_t at;
		uint8_t value;
	} cases[] = {
		{ 0, 0x44 },	 /* a header of 16 bytes */
		{ 6, 0x20 },	 /* a fragment */
		{ 9, 6 },	 /* TCP */
		{ 23, 67 },	 /* to a server */
		{ 28, 1 },	 /* a question */
		{ 32, 1 },	 /* to another question */
		{ 28 + 33, 8 },	 /* to another card */
		{ 28 + 236, 0 }, /* BOOTP */
	};
	uint8_t p[1500];
	struct dhcp c;
	struct net net;
	size_t len;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		len = answer(p, full, sizeof(full));
		p[cases[i].at] = cases[i].value;
		ck_assert_msg(!take(p, len, &net, &c), "byte %zu does not matter", cases[i].at);
	}
}
END_TEST

/* cut at every length, and with every byte of the options another: no byte beyond is read */
START_TEST(cut_and_changed)
{
	uint8_t p[1500];
	struct dhcp c;
	struct net net;
	size_t len = answer(p, full, sizeof(full));
	int told;

	for (size_t n = 0; n < OPTIONS; n++)
		ck_assert_msg(!take(p, n, &net, &c), "%zu bytes are enough", n);
	/* between two options it is whole, and within one it is nothing */
	for (size_t n = OPTIONS, next = OPTIONS; n < len; n++) {
		if (n > next)
			next += p[next] ? 2U + p[next + 1] : 1;
		told = n == next && n > OPTIONS ? ACK : 0;
		ck_assert_msg(take(p, n, &net, &c) == told, "%zu bytes", n);
	}
	for (size_t at = OPTIONS; at < len; at++)
		for (unsigned v = 0; v < 256; v++) {
			answer(p, full, sizeof(full));
			p[at] = (uint8_t)v;
			take(p, len, &net, &c);
			ck_assert_uint_le(net.dnss, NET_NAMES);
			ck_assert_ptr_nonnull(memchr(net.domain, 0, sizeof(net.domain)));
		}
}
END_TEST

/* as much as there can be: what is too long is left out, what goes beyond the end is refused */
START_TEST(long_options)
{
	uint8_t options[312] = { 53, 1, ACK, 15, 200 }, p[1500];
	struct dhcp c;
	struct net net;

	memset(options + 5, 'a', 200);
	ck_assert_int_eq(take(p, answer(p, options, sizeof(options)), &net, &c), ACK);
	ck_assert_str_eq(net.domain, "");
	options[310] = 15;
	options[311] = 200;
	ck_assert_int_eq(take(p, answer(p, options, sizeof(options)), &net, &c), 0);
	options[310] = 0;
	options[311] = 15;
	ck_assert_int_eq(take(p, answer(p, options, sizeof(options)), &net, &c), 0);
	options[311] = 0;
	options[5 + 200] = 6;
	options[5 + 201] = 40;
	ck_assert_int_eq(take(p, answer(p, options, sizeof(options)), &net, &c), ACK);
	ck_assert_uint_eq(net.dnss, NET_NAMES);
}
END_TEST

/* --- a restored guest's card --- */

static uint8_t *address_of(const char *dev)
{
	static struct ifreq r;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memset(&r, 0, sizeof(r));
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", dev);
	ck_assert_int_eq(ioctl(fd, SIOCGIFHWADDR, &r), 0);
	close(fd);
	return (uint8_t *)r.ifr_hwaddr.sa_data;
}

/* the next question or answer of ARP that comes out of a card: who says it, and of which address */
static bool hears_arp(int tap, const uint8_t from[6], const char *address)
{
	struct pollfd p = { tap, POLLIN, 0 };
	uint32_t ip = inet_addr(address);
	uint8_t f[2048];

	while (poll(&p, 1, 2000) == 1)
		if (read(tap, f, sizeof(f)) >= 42 && f[12] == 8 && f[13] == 6 &&
		    !memcmp(f + 28, &ip, 4))
			return !memcmp(f + 6, from, 6) && !memcmp(f + 22, from, 6);
	return false;
}

/* a card in a network of our own; -1: this machine lets us have none */
static int open_card(const char *name)
{
	struct ifreq r;
	int fd;

	memset(&r, 0, sizeof(r));
	r.ifr_flags = IFF_TAP | IFF_NO_PI;
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &r)) {
		printf("skip agent_net: a card: %s\n", strerror(errno));
		return -1;
	}
	return fd;
}

START_TEST(another_address)
{
	static char first[] = "10.0.0.7/24:::::card1:off", second[] = "10.0.0.8/24:::::card1:off";
	static const uint8_t other[6] = { 2, 1, 2, 3, 4, 5 }, third[6] = { 2, 9, 9, 9, 9, 9 };
	struct setup s = { .net = first };
	struct os os = { .dhcp = 0 };
	uint8_t was[6], bystander[6];
	struct why why = { .text = "" };
	char text[8];
	int fd[2];

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return;
	fd[0] = open_card("card0");
	fd[1] = open_card("card1");
	if (fd[1] < 0)
		return;
	memcpy(bystander, address_of("card0"), 6);
	memcpy(was, address_of("card1"), 6);
	ck_assert_msg(!net_setup(&os, &s, &why), "%s", why.text);

	s = (struct setup){ .macs = 1 };
	memcpy(s.mac[0].from, was, 6);
	memcpy(s.mac[0].to, other, 6);
	ck_assert_msg(!net_setup(&os, &s, &why), "%s", why.text);
	ck_assert_mem_eq(address_of("card1"), other, 6);
	ck_assert_mem_eq(address_of("card0"), bystander, 6);
	ck_assert(hears_arp(fd[1], other, "10.0.0.7"));
	if (!file_read(AT_FDCWD, "/proc/sys/net/ipv6/conf/card1/disable_ipv6", text, sizeof(text)))
		ck_assert_str_eq(text, "0\n");

	/* none has that any more: one that its guest has named otherwise is left alone */
	memcpy(s.mac[0].to, third, 6);
	ck_assert_int_eq(net_setup(&os, &s, &why), 0);
	ck_assert_mem_eq(address_of("card1"), other, 6);

	/* another IP address as well, and whoever kept the one from before is gone */
	memcpy(s.mac[0].from, other, 6);
	s.net = second;
	os.dhcp = fork();
	if (!os.dhcp)
		for (;;)
			pause();
	ck_assert_msg(!net_setup(&os, &s, &why), "%s", why.text);
	ck_assert_mem_eq(address_of("card1"), third, 6);
	ck_assert_int_eq(os.dhcp, 0);
	ck_assert_int_gt(wait(NULL), 0);
	ck_assert(hears_arp(fd[1], third, "10.0.0.7"));
	close(fd[0]);
	close(fd[1]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("agent_net");
	TCase *t = tcase_create("all");

	tcase_set_timeout(t, 20);
	tcase_add_test(t, good_texts);
	tcase_add_test(t, bad_texts);
	tcase_add_test(t, an_answer);
	tcase_add_test(t, not_for_us);
	tcase_add_test(t, cut_and_changed);
	tcase_add_test(t, long_options);
	tcase_add_test(t, another_address);
	suite_add_tcase(s, t);
	return suite_run(s);
}
