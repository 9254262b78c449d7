/*
 * agent_host.c - a machine whose guest has hutch's agent
 *
 * The agent calls the host as soon as it can, at the socket of the vsock device
 * for its port; that first connection carries SETUP and the first command, so
 * nobody polls a guest that boots.  All later ones go the other way.
 *
 * #syscalls:caller getrandom unlink
 * #syscalls:before socket fchmod bind listen
 */
#include <linux/if_ether.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "client.h"
#include "handle.h"
#include "net.h"
#include "rootfs.h"

#define ENTROPY 64

static int add_root(struct hutch *h)
{
	struct conf *conf = &h->conf;
	struct conf_disk root;

	if (h->rooted || !conf->rootfs[0])
		return 0;
	if (!rootfs_type(conf->rootfs))
		return -EINVAL;
	if (conf->disks == CONF_DISKS)
		return err(-E2BIG,
			   "rootfs %s: there are %u disks already, and it would be one more",
			   conf->rootfs, conf->disks);
	field_defaults(field_find(conf_fields, "disk")->sub, &root, sizeof(root));
	if (str_copy(root.path, sizeof(root.path), conf->rootfs))
		return -E2BIG;
	root.ro = !conf->rootfs_rw;
	memmove(&conf->disk[1], &conf->disk[0], conf->disks * sizeof(root));
	conf->disk[0] = root;
	conf->disks++;
	h->rooted = true;
	return 0;
}

static int listen_for_agent(struct hutch *h)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int n;

	if (!h->conf.vsocks)
		return err(-EINVAL, "agent: it is reached by vsock; add --vsock path=PATH");
	n = snprintf(h->agent_path, sizeof(h->agent_path), "%s_%d", h->conf.vsock[0].path,
		     PROTO_PORT);
	if (n >= (int)sizeof(a.sun_path))
		return err(-ENAMETOOLONG, "vsock %s: the path is too long", h->conf.vsock[0].path);
	memcpy(a.sun_path, h->agent_path, (size_t)n + 1);
	h->agent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (h->agent < 0)
		return err(-errno, "socket: %s", strerror(errno));
	unlink(h->agent_path); /* of one that was killed */
	if (fchmod(h->agent, 0600) || bind(h->agent, (struct sockaddr *)&a, sizeof(a)) ||
	    listen(h->agent, 1))
		return err(-errno, "%s: %s", h->agent_path, strerror(errno));
	return 0;
}

int agent_host_open(struct hutch *h)
{
	int r;

	if (h->snap) /* it has its root, and its agent has called */
		return 0;
	r = add_root(h);
	if (!r && h->conf.agent)
		r = listen_for_agent(h);
	return r;
}

void agent_host_close(struct hutch *h)
{
	if (h->agent >= 0)
		unlink(h->agent_path);
	cleanup_close(&h->agent);
	cleanup_close(&h->called);
	h->agent = h->called = -1;
}

/* the guest's @n-th card */
static void add_card(const struct conf_net *net, unsigned n, struct proto_buf *b)
{
	const char *ip = net->ip[0] ? net->ip : net->mode == NET_USER ? "dhcp" : "";
	char text[128];

	/* as ip= has it: the device is its sixth part */
	if (!strcmp(ip, "dhcp"))
		snprintf(text, sizeof(text), ":::::eth%u:dhcp", n);
	else
		snprintf(text, sizeof(text), "%s:::eth%u:off", ip, n);
	if (*ip && strcmp(ip, "none") && strcmp(ip, "off"))
		proto_text(b, TAG_NET, text);
}

static void add_net(const struct conf *conf, struct proto_buf *b)
{
	for (unsigned i = 0, n = 0; i < conf->nets; i++)
		if (conf->net[i].mode != NET_NONE)
			add_card(&conf->net[i], n++, b);
}

static bool add_mac(const struct conf *now, const struct conf *was, unsigned i, struct proto_buf *b)
{
	char a[18], z[18];
	uint8_t mac[12];

	net_mac_of(was, i, a);
	net_mac_of(now, i, z);
	if (!strcmp(a, z) || conf_mac("mac", a, mac) || conf_mac("mac", z, mac + 6))
		return false;
	proto_bytes(b, TAG_MAC, mac, sizeof(mac));
	return true;
}

/*
 * What a restore has changed of each card.  A lease is the old address's; behind mode=user nobody
 * else can have it.
 */
static void renew_net(const struct conf *now, const struct conf *was, struct proto_buf *b)
{
	for (unsigned i = 0, n = 0; i < now->nets; i++) {
		const struct conf_net *net = &now->net[i];
		bool other;

		if (net->mode == NET_NONE)
			continue;
		other = add_mac(now, was, i, b);
		if (strcmp(net->ip, was->net[i].ip) ||
		    (other && net->mode == NET_TAP && !strcmp(net->ip, "dhcp")))
			add_card(net, n, b);
		n++;
	}
}

/* what no two guests share, or cannot know by themselves */
static void add_self(const struct conf *conf, struct proto_buf *b)
{
	uint8_t entropy[ENTROPY];

	/* the first of all, where client.c finds it and puts it right as it is sent */
	proto_number(b, TAG_TIME_NS, client_clock());
	if (getrandom(entropy, sizeof(entropy), 0) == sizeof(entropy))
		proto_bytes(b, TAG_ENTROPY, entropy, sizeof(entropy));
	if (conf->hostname[0] || conf->name[0])
		proto_text(b, TAG_HOSTNAME, conf->hostname[0] ? conf->hostname : conf->name);
	if (conf->correlation_id[0])
		proto_text(b, TAG_ID, conf->correlation_id);
}

unsigned agent_host_renew(const struct hutch *h, struct proto_buf *b)
{
	const struct conf *was = hutch_snap_was(h), *now = hutch_snap_now(h);

	proto_begin(b, PROTO_SETUP, 0);
	add_self(now, b);
	renew_net(now, was, b);
	proto_number(b, TAG_RESTORED,
		     strcmp(now->name, was->name) ? RESTORED_OTHER : RESTORED_SAME);
	proto_end(b);
	return 1;
}

unsigned agent_host_clock(struct proto_buf *b)
{
	proto_begin(b, PROTO_SETUP, 0);
	proto_number(b, TAG_TIME_NS, client_clock());
	proto_end(b);
	return 1;
}

unsigned agent_host_setup(const struct hutch *h, struct proto_buf *b)
{
	const struct conf *conf = &h->conf;

	proto_begin(b, PROTO_SETUP, 0);
	add_self(conf, b);
	if (h->stale == STALE_NEW)
		proto_number(b, TAG_RESTORED, RESTORED_BOOT);
	if (conf->rootfs[0]) {
		proto_text(b, TAG_ROOT, "vda");
		proto_text(b, TAG_ROOT_TYPE, rootfs_type(conf->rootfs));
		proto_number(b, TAG_ROOT_FLAGS, conf->rootfs_rw);
		proto_number(b, TAG_LAYER_SIZE, conf->layer);
	}
	if (conf->pids)
		proto_number(b, TAG_PIDS_MAX, conf->pids);
	add_net(conf, b);
	proto_end(b);
	return 1;
}
