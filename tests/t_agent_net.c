/* t_agent_net - what the agent is told of its network, and what it believes of DHCP */
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int file_read(int dir, const char *path, char *ret, size_t size)
{
	(void)dir;
	(void)path;
	(void)ret;
	(void)size;
	return -1;
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
	suite_add_tcase(s, t);
	return suite_run(s);
}
