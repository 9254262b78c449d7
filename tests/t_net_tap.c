/*
 * t_net_tap - the network card on a real tap interface, and through a passt of its own
 *
 * Each test makes a user and a network namespace for itself, so it needs no
 * rights and touches nothing of the host.  The other end of the tap is a packet
 * socket that sees only frames of our own type.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devices.h"
#include "net.h"
#include "net_peer.h"
#include "suite.h"

#define TYPE	 0x88b5 /* for local experiments */
#define TAP	 "hutch-test"
#define LARGE	 (NET_BASE | NET_F(MRG_RXBUF))
#define OFFLOADS (NET_F(CSUM) | NET_F(GUEST_CSUM) | NET_F(HOST_TSO4) | NET_F(GUEST_TSO4))
#define RXQ	 256
#define ETH	 14

static struct {
	struct fake *f;
	struct dev *dev;
	struct guest g;
	struct net *n;
	int packets; /* the other end */
} t;

/* false: this host does not let us, which is no fault */
static bool enter_namespace(void)
{
	cleanup_fd int fd = -1;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) || (fd = open("/dev/net/tun", O_RDWR)) < 0) {
		fprintf(stderr, "skip tap: no namespace, or no /dev/net/tun: %s\n",
			strerror(errno));
		return false;
	}
	close(fd);
	fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, "1", 1) != 1)
		fprintf(stderr, "IPv6 stays on\n");
	return true;
}

static struct dev *make_card(struct fake *f, int index, const struct conf_net *conf)
{
	const struct vdev_place place = { .gsi = 5 + (unsigned)index,
					  .base = GUEST_MMIO + 0x1000U * (unsigned)index,
					  .conf = conf };

	return fake_dev(f, &net_type, index, &place);
}

static void set_up(bool up)
{
	cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = { .ifr_flags = up ? IFF_UP : 0 };

	strcpy(req.ifr_name, TAP);
	ck_assert(!ioctl(fd, SIOCSIFFLAGS, &req));
}

/* @headers: with virtio headers, as the tap has them */
static int packet_socket(bool headers)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET,
				    .sll_protocol = htons(headers ? ETH_P_ALL : TYPE),
				    .sll_ifindex = (int)if_nametoindex(TAP) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

	ck_assert_int_ge(fd, 0);
	if (headers)
		ck_assert(!setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)));
	ck_assert(!setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)));
	ck_assert(!bind(fd, (struct sockaddr *)&addr, sizeof(addr)));
	return fd;
}

static void start(uint64_t features)
{
	guest_reset(&t.g);
	ck_assert(guest_negotiate(&t.g, features));
	ck_assert(guest_queue(&t.g, NET_RX, RXQ));
	ck_assert(guest_queue(&t.g, NET_TX, 16));
	guest_driver_ok(&t.g);
	ck_assert(guest_is_live(&t.g));
	fake_settle(t.f);
}

static bool new_tap(uint64_t features, bool offload, bool headers)
{
	struct conf_net conf = { .mode = NET_TAP, .tap = TAP, .link = true, .offload = offload };

	if (!enter_namespace())
		return false;
	t.f = fake_new();
	t.dev = make_card(t.f, 0, &conf);
	ck_assert_msg(t.dev != NULL, "%s", err_last());
	t.n = container_of(to_vdev(t.dev), struct net, v);
	guest_find_mmio(&t.g, t.f, GUEST_MMIO, 5);
	set_up(true);
	t.packets = packet_socket(headers);
	start(features);
	return true;
}

static void end_tap(void)
{
	close(t.packets);
	fake_free(t.f);
}

static void make_frame(uint8_t *frame, uint32_t len, unsigned seed)
{
	net_fill(frame, len, seed);
	frame[0] = 2; /* not a group's */
	frame[6] = 2;
	frame[12] = TYPE >> 8;
	frame[13] = TYPE & 0xff;
}

/* one buffer of @len at @slot, of 2 KiB each; up to 24 */
static gpa_t slot(unsigned i)
{
	return i < 8 ? GUEST_DATA + i * 2048 : FAKE_HIGH + (i - 8) * 2048;
}

static void add_buffers(unsigned n, uint32_t len)
{
	for (unsigned i = 0; i < n; i++) {
		const struct guest_buf b = { slot(i), len, true };

		guest_add(&t.g, NET_RX, &b, 1);
	}
	guest_kick(&t.g, NET_RX);
	fake_settle(t.f);
}

static uint8_t frame[NET_FRAME_MAX + NET_HDR], got[NET_FRAME_MAX + NET_HDR];

START_TEST(frames_both_ways)
{
	static const uint32_t sizes[] = { 14, 60, 1000, 1514 };

	if (!new_tap(LARGE | (_i ? GUEST_EVENT_IDX : 0), true, false))
		return;
	fake_mark(t.f);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct guest_used u;

		make_frame(frame, sizes[i], i);
		add_buffers(1, 2048);
		ck_assert_int_eq(send(t.packets, frame, sizes[i], 0), (int)sizes[i]);
		fake_settle(t.f);
		ck_assert(guest_used(&t.g, NET_RX, &u));
		ck_assert_uint_eq(u.len, NET_HDR + sizes[i]);
		fake_peek(t.f, slot(0) + NET_HDR, got, sizes[i]);
		ck_assert_mem_eq(got, frame, sizes[i]);
		fake_peek(t.f, slot(0), got, NET_HDR);
		ck_assert_uint_eq(((struct virtio_net_hdr_v1 *)(void *)got)->num_buffers, 1);
		net_guest_send(&t.g, GUEST_DATA, NULL, frame, sizes[i]);
		guest_kick(&t.g, NET_TX);
		fake_settle(t.f);
		ck_assert_int_eq(recv(t.packets, got, sizeof(got), 0), (int)sizes[i]);
		ck_assert_mem_eq(got, frame, sizes[i]);
		ck_assert_uint_eq(guest_used_idx(&t.g, NET_TX), i + 1);
	}
	fake_check_dirty(t.f);
	ck_assert_uint_eq(t.n->v.inflight, 0);
	end_tap();
}
END_TEST

/* --- large frames --- */

/* TCP over IPv4, @len bytes in all, its checksum not finished */
static void make_tcp(uint8_t *p, uint32_t len, struct virtio_net_hdr_v1 *h)
{
	uint32_t sum = 0;

	net_fill(p, len, 1);
	memset(p, 2, 12);
	p[12] = 8;
	p[13] = 0;
	memset(p + ETH, 0, 40);
	p[ETH] = 0x45;
	p[ETH + 2] = (uint8_t)((len - ETH) >> 8);
	p[ETH + 3] = (uint8_t)(len - ETH);
	p[ETH + 8] = 64;
	p[ETH + 9] = IPPROTO_TCP;
	memcpy(p + ETH + 12, "\012\0\0\1\012\0\0\2", 8);
	for (unsigned i = 0; i < 20; i += 2)
		sum += (uint32_t)p[ETH + i] << 8 | p[ETH + i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	p[ETH + 10] = (uint8_t)(~sum >> 8);
	p[ETH + 11] = (uint8_t)~sum;
	p[ETH + 20 + 12] = 5 << 4;
	p[ETH + 20 + 13] = 0x10; /* ACK */
	*h = (struct virtio_net_hdr_v1){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = ETH + 40,
		.gso_size = 1448,
		.csum_start = ETH + 20,
		.csum_offset = 16,
	};
}

/* all RAM that no ring lies in, as buffers of 1 KiB: their order is the frame's */
static gpa_t large_place[96];

static unsigned add_large(void)
{
	static const gpa_t from[] = { 0, 0x4800, FAKE_HIGH },
			   to[] = { 0x1000, 0x10000, FAKE_HIGH_END };
	unsigned n = 0;

	for (unsigned i = 0; i < 3; i++)
		for (gpa_t at = from[i]; at < to[i]; at += 1024) {
			const struct guest_buf b = { at, 1024, true };

			fake_fill(t.f, at, 0, 1024);
			large_place[n++] = at;
			guest_add(&t.g, NET_RX, &b, 1);
		}
	guest_kick(&t.g, NET_RX);
	fake_settle(t.f);
	return n;
}

static void send_large(uint32_t len)
{
	struct virtio_net_hdr_v1 h;

	make_tcp(frame + 10, len, &h);
	memcpy(frame, &h, 10); /* a packet socket's header is the short one */
	ck_assert_int_eq(send(t.packets, frame, 10 + len, 0), (int)len + 10);
	fake_settle(t.f);
}

static void check_large_in(uint32_t len)
{
	struct virtio_net_hdr_v1 h;
	struct guest_used u;
	uint32_t at = 0;

	for (unsigned i = 0; i < (len + NET_HDR + 1023) / 1024; i++) {
		ck_assert(guest_used(&t.g, NET_RX, &u));
		fake_peek(t.f, large_place[i], got + at, u.len);
		at += u.len;
	}
	ck_assert(!guest_used(&t.g, NET_RX, &u));
	ck_assert_uint_eq(at, len + NET_HDR);
	memcpy(&h, got, sizeof(h));
	ck_assert_uint_eq(h.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	ck_assert_uint_eq(h.gso_size, 1448);
	ck_assert(h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
	ck_assert_uint_eq(h.csum_start, ETH + 20);
	ck_assert_uint_eq(h.num_buffers, (len + NET_HDR + 1023) / 1024);
	ck_assert(!memcmp(got + NET_HDR, frame + 10, len));
}

/* one frame of 64 KiB, from nothing popped and again with the row as long as it has to be */
START_TEST(a_large_frame_in)
{
	const uint32_t len = 65535; /* a larger one the host cuts up */

	if (!new_tap(LARGE | OFFLOADS, true, true))
		return;
	for (unsigned round = 0; round < 3; round++) {
		guest_queue(&t.g, 0, RXQ);
		start(LARGE | OFFLOADS);
		t.n->rx.want = round == 1 ? 30000 : round == 2 ? len : 0;
		add_large();
		fake_mark(t.f);
		send_large(len);
		check_large_in(len);
		ck_assert_uint_ge(fake_check_dirty(t.f), 17);
	}
	end_tap();
}
END_TEST

/* the driver did not agree: the host cuts it up and finishes the checksums */
START_TEST(a_large_frame_cut)
{
	struct guest_used u;
	unsigned frames = 0;

	if (!new_tap(LARGE, _i, true))
		return;
	add_large();
	t.n->count.rx_packets = 0;
	send_large(5 * 1448 + ETH + 40);
	while (guest_used(&t.g, NET_RX, &u))
		frames++;
	ck_assert_uint_eq(t.n->count.rx_packets, 5);
	ck_assert_uint_eq(frames, 10); /* 1502 + 12 bytes are two buffers each */
	ck_assert_uint_eq(t.n->count.rx_bad, 0);
	/* what was queued for a driver that had agreed is not for one that has not */
	if (_i) {
		start(LARGE | OFFLOADS);
		send_large(5 * 1448 + ETH + 40);
		start(LARGE);
		add_large();
		ck_assert_uint_eq(t.n->count.rx_packets, 5);
		ck_assert_uint_eq(t.n->count.rx_bad, 1);
	}
	end_tap();
}
END_TEST

START_TEST(a_large_frame_out)
{
	const uint32_t len = 60000, first = 0x10000 - 0x4800;
	const struct guest_buf buf[] = { { 0x800, NET_HDR, false },
					 { 0x4800, first, false },
					 { FAKE_HIGH, len - first, false } };
	struct virtio_net_hdr_v1 h;

	if (!new_tap(LARGE | OFFLOADS, true, true))
		return;
	make_tcp(frame, len, &h);
	fake_poke(t.f, 0x800, &h, sizeof(h));
	fake_poke(t.f, 0x4800, frame, first);
	for (uint32_t at = first; at < len; at += 1000)
		fake_poke(t.f, FAKE_HIGH + at - first, frame + at, MIN(1000, len - at));
	guest_add(&t.g, NET_TX, buf, 3);
	guest_kick(&t.g, NET_TX);
	fake_settle(t.f);
	ck_assert_int_eq(recv(t.packets, got, sizeof(got), 0), (int)len + 10);
	ck_assert(!memcmp(got + 10, frame, len));
	ck_assert_uint_eq(((struct virtio_net_hdr *)(void *)got)->gso_size, 1448);
	/* a checksum behind the frame's end: the host refuses it, and the card goes on */
	h.csum_start = 60000;
	fake_poke(t.f, 0x800, &h, sizeof(h));
	guest_add(&t.g, NET_TX, buf, 3);
	guest_kick(&t.g, NET_TX);
	fake_settle(t.f);
	ck_assert_uint_eq(t.n->count.tx_refused, 1);
	ck_assert_uint_eq(guest_used_idx(&t.g, NET_TX), 2);
	/* not agreed upon: not even tried */
	start(LARGE);
	guest_add(&t.g, NET_TX, buf, 3);
	guest_kick(&t.g, NET_TX);
	fake_settle(t.f);
	ck_assert_uint_eq(t.n->count.tx_bad, 1);
	end_tap();
}
END_TEST

/* --- the interface goes --- */

static void delete_tap(void)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
	} msg = { .h = { .nlmsg_len = sizeof(msg),
			 .nlmsg_type = RTM_DELLINK,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		  .i = { .ifi_index = (int)if_nametoindex(TAP) } };
	cleanup_fd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	ck_assert_int_eq(send(fd, &msg, sizeof(msg), 0), sizeof(msg));
	ck_assert_int_gt(recv(fd, got, sizeof(got), 0), 0);
	ck_assert_uint_eq(if_nametoindex(TAP), 0);
}

START_TEST(interface_down_and_gone)
{
	uint64_t calls;

	if (!new_tap(LARGE, true, false))
		return;
	make_frame(frame, 100, 1);
	set_up(false);
	net_guest_send(&t.g, GUEST_DATA, NULL, frame, 100);
	guest_kick(&t.g, NET_TX);
	fake_settle(t.f);
	ck_assert_uint_eq(t.n->count.tx_refused, 1);
	ck_assert_uint_eq(guest_config(&t.g, 6, 2), VIRTIO_NET_S_LINK_UP);
	set_up(true);
	close(t.packets);
	t.packets = packet_socket(false);
	net_guest_send(&t.g, GUEST_DATA, NULL, frame, 100);
	guest_kick(&t.g, NET_TX);
	fake_settle(t.f);
	ck_assert_int_eq(recv(t.packets, got, sizeof(got), 0), 100);
	/* with buffers it is seen at once, without at the next frame to send */
	fake_log_clear();
	if (_i)
		add_buffers(2, 2048);
	delete_tap();
	fake_settle(t.f);
	net_guest_send(&t.g, GUEST_DATA, NULL, frame, 100);
	guest_kick(&t.g, NET_TX);
	fake_settle(t.f);
	ck_assert_uint_eq(guest_config(&t.g, 6, 2), 0);
	ck_assert_uint_eq(t.n->count.tx_no_link, 1);
	ck_assert_uint_eq(guest_used_idx(&t.g, NET_TX), 3);
	ck_assert_uint_eq(fake_log_lines("tap interface is gone"), 1);
	calls = t.n->count.rx_calls + t.n->count.tx_calls;
	for (unsigned i = 0; i < 20; i++)
		fake_turn(t.f);
	ck_assert_uint_eq(t.n->count.rx_calls + t.n->count.tx_calls, calls);
	end_tap();
}
END_TEST

/* more comes in than the guest takes, and than one turn may take */
START_TEST(flood)
{
	uint64_t calls;

	if (!new_tap(LARGE | GUEST_EVENT_IDX, true, false))
		return;
	make_frame(frame, 200, 1);
	for (unsigned i = 0; i < 400; i++)
		ck_assert_int_eq(send(t.packets, frame, 200, 0), 200);
	fake_settle(t.f);
	ck_assert_uint_eq(t.n->count.rx_calls, 0);
	add_buffers(20, 2048);
	ck_assert_uint_eq(t.n->count.rx_packets, 20);
	calls = t.n->count.rx_calls;
	ck_assert_uint_le(calls, 21);
	for (unsigned i = 0; i < 20; i++)
		fake_turn(t.f);
	ck_assert_uint_eq(t.n->count.rx_calls, calls);
	for (unsigned i = 0; i < 12; i++)
		add_buffers(20, 2048);
	ck_assert_uint_eq(t.n->count.rx_packets, 260);
	end_tap();
}
END_TEST

/* buffers in so many pieces that a row of them has to be moved in the middle of a turn */
START_TEST(buffers_of_many_pieces)
{
	/* a frame takes one chain and a half */
	enum { CHAINS = 12, PIECES = 100, PIECE = 8, LEN = 150 * PIECE - NET_HDR };
	const gpa_t tables = FAKE_HIGH, data = 0x4800;

	if (!new_tap(LARGE | GUEST_INDIRECT_F, true, false))
		return;
	for (unsigned i = 0; i < CHAINS; i++) {
		const gpa_t table = tables + i * PIECES * sizeof(struct vring_desc);

		make_frame(frame, LEN, i / 2);
		if (i % 2)
			ck_assert_int_eq(send(t.packets, frame, LEN, 0), LEN);
		for (unsigned k = 0; k < PIECES; k++)
			guest_desc(&t.g, table, k,
				   (struct vring_desc){ data + (i * PIECES + k) * PIECE, PIECE,
							VRING_DESC_F_WRITE | VRING_DESC_F_NEXT,
							(uint16_t)(k + 1) });
		guest_desc(&t.g, table, PIECES - 1,
			   (struct vring_desc){ data + (i * PIECES + PIECES - 1) * PIECE, PIECE,
						VRING_DESC_F_WRITE, 0 });
		guest_desc(&t.g, GUEST_DESC, i,
			   (struct vring_desc){ table, PIECES * sizeof(struct vring_desc),
						VRING_DESC_F_INDIRECT, 0 });
		guest_publish(&t.g, NET_RX, (uint16_t)i);
	}
	guest_kick(&t.g, NET_RX);
	fake_settle(t.f);
	ck_assert_uint_eq(t.n->count.rx_packets, CHAINS / 2);
	for (unsigned i = 0; i < CHAINS / 2; i++) {
		make_frame(frame, LEN, i);
		ck_assert_uint_eq(fake_peek16(t.f, data + 2 * i * PIECES * PIECE + 10), 2);
		fake_peek(t.f, data + 2 * i * PIECES * PIECE + NET_HDR, got, LEN);
		ck_assert(!memcmp(frame, got, LEN));
	}
	end_tap();
}
END_TEST

/* a full ring of large frames is more than one turn may send */
START_TEST(flood_out)
{
	const gpa_t desc = 0x4800, avail = 0x5800, used = 0x6000;
	struct guest_queue *q = &t.g.q[NET_TX];

	if (!new_tap(LARGE, true, false))
		return;
	guest_reset(&t.g);
	ck_assert(guest_negotiate(&t.g, LARGE));
	*q = (struct guest_queue){ .size = 256, .desc = desc, .avail = avail, .used = used };
	fake_fill(t.f, desc, 0, 0x2000);
	guest_write(&t.g, REG_Q_SEL, NET_TX);
	guest_write(&t.g, REG_Q_SIZE, 256);
	guest_write(&t.g, REG_DESC_LOW, (uint32_t)desc);
	guest_write(&t.g, REG_AVAIL_LOW, (uint32_t)avail);
	guest_write(&t.g, REG_USED_LOW, (uint32_t)used);
	guest_write(&t.g, REG_Q_READY, 1);
	fake_fill(t.f, FAKE_HIGH, 0, 12);
	for (unsigned i = 0; i < 256; i++) {
		const struct guest_buf b = { FAKE_HIGH, 9000, false };

		guest_add(&t.g, NET_TX, &b, 1);
	}
	guest_driver_ok(&t.g);
	fake_turn(t.f);
	ck_assert_uint_ge(t.n->count.tx_packets, 100);
	ck_assert_uint_lt(t.n->count.tx_packets, 200);
	for (unsigned i = 0; i < 3; i++)
		fake_settle(t.f);
	ck_assert_uint_eq(t.n->count.tx_packets, 256);
	ck_assert_uint_eq(guest_used_idx(&t.g, NET_TX), 256);
	end_tap();
}
END_TEST

/* --- interfaces that are not to be had --- */

static void check_refused(const char *tap, bool offload, const char *why)
{
	struct conf_net conf = { .mode = NET_TAP, .link = true, .offload = offload };
	struct fake *f = fake_new();
	unsigned fds = fake_fds();

	strcpy(conf.tap, tap);
	err_clear();
	ck_assert_ptr_null(make_card(f, 0, &conf));
	ck_assert_msg(strstr(err_last(), why), "%s", err_last());
	ck_assert_uint_eq(fake_fds(), fds);
	fake_free(f);
}

static int hold(const char *name, short flags)
{
	struct ifreq req = { .ifr_flags = flags };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	strcpy(req.ifr_name, name);
	ck_assert_int_ge(fd, 0);
	ck_assert(!ioctl(fd, TUNSETIFF, &req));
	return fd;
}

START_TEST(refused_interfaces)
{
	int fd;

	if (!enter_namespace())
		return;
	fd = hold("busy", IFF_TAP | IFF_NO_PI);
	check_refused("busy", true, "tap busy: is in use");
	close(fd);
	fd = hold("many", IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE);
	check_refused("many", true, "without multi_queue");
	close(fd);
	fd = hold("tun7", IFF_TUN | IFF_NO_PI);
	ck_assert(!ioctl(fd, TUNSETPERSIST, 1));
	close(fd);
	check_refused("tun7", true, "is a tun");
	check_refused("lo", true, "interface of another kind");
	check_refused("a/b", true, "a/b");
}
END_TEST

START_TEST(no_rights)
{
	/* a user namespace without the network that belongs to it: no rights over interfaces */
	if (unshare(CLONE_NEWUSER) || access("/dev/net/tun", R_OK | W_OK)) {
		fprintf(stderr, "skip tap: no user namespace, or no /dev/net/tun: %s\n",
			strerror(errno));
		return;
	}
	check_refused("hutch-none", true, "ip tuntap add hutch-none mode tap user USER");
}
END_TEST

/* --- passt --- */

static bool is_child_left(void)
{
	return waitpid(-1, NULL, WNOHANG | __WALL) >= 0 || errno != ECHILD;
}

static bool link_is_down(void *arg)
{
	return !((struct net *)arg)->back;
}

static bool has_passt(void)
{
	if (!system("command -v passt >/dev/null"))
		return true;
	fprintf(stderr, "skip passt: it is not installed\n");
	return false;
}

/* started and ended with the card; what it has to say is said, and it leaves nothing */
START_TEST(a_passt_of_our_own)
{
	const struct conf_net conf = { .mode = NET_USER, .link = true, .mtu = 1400 };
	unsigned fds;

	if (!has_passt())
		return;
	t.f = fake_new();
	fds = fake_fds();
	t.dev = make_card(t.f, 0, &conf);
	ck_assert_msg(t.dev != NULL, "%s", err_last());
	fake_dev_free(t.f, t.dev);
	ck_assert(!is_child_left());
	ck_assert_uint_eq(fake_fds(), fds);
	/* in a network that has no way out it gives up, and the machine goes on */
	if (!enter_namespace()) {
		fake_free(t.f);
		return;
	}
	fake_log_clear();
	fake_free(t.f);
	t.f = fake_new();
	fds = fake_fds();
	t.dev = make_card(t.f, 0, &conf);
	ck_assert_msg(t.dev != NULL, "%s", err_last());
	t.n = container_of(to_vdev(t.dev), struct net, v);
	guest_find_mmio(&t.g, t.f, GUEST_MMIO, 5);
	start(LARGE);
	ck_assert(!loop_until(t.f->m.loop, link_is_down, t.n, 10000000000ULL));
	ck_assert_uint_eq(guest_config(&t.g, 6, 2), 0);
	ck_assert_uint_eq(fake_log_lines("No external routable interface"), 1);
	fake_dev_free(t.f, t.dev);
	ck_assert(!is_child_left());
	ck_assert_uint_eq(fake_fds(), fds);
	fake_free(t.f);
}
END_TEST

static bool contains(const char *name, const char *text)
{
	char path[128], buf[4096] = "";
	cleanup_fd int fd = -1;

	snprintf(path, sizeof(path), "%s/%s", fake_folder(), name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_gt(read(fd, buf, sizeof(buf) - 1), 0);
	return strstr(buf, text);
}

/* a script in its place tells what it was given: one socket, and nothing of ours by mistake */
START_TEST(what_passt_is_given)
{
	static const char script[] = "#!/bin/sh\n"
				     "cd ${0%/*}\n"
				     "echo \"$@\" >args\n"
				     "ls -l /proc/$$/fd >fds\n"
				     "cat /proc/$$/fdinfo/3 >info\n"
				     "echo first >&2; echo second\n";
	const struct conf_net conf = {
		.mode = NET_USER, .link = true, .mtu = 1300, .forward = "8080:80+::1/443"
	};
	char path[8192];
	int leak = memfd_create("leak", 0);

	snprintf(path, sizeof(path), "%s:%s", fake_folder(), getenv("PATH"));
	setenv("PATH", path, 1);
	ck_assert(!chmod(fake_file("passt", script, strlen(script)), 0700));
	t.f = fake_new();
	fake_log_clear();
	t.dev = make_card(t.f, 0, &conf);
	ck_assert_msg(t.dev != NULL, "%s", err_last());
	t.n = container_of(to_vdev(t.dev), struct net, v);
	ck_assert(!loop_until(t.f->m.loop, link_is_down, t.n, 10000000000ULL));
	ck_assert(contains("args", "--foreground"));
	ck_assert(contains("args",
			   "--no-map-gw --udp-ports none --fd 3 --tcp-ports 127.0.0.1/8080:80 "
			   "--tcp-ports ::1/443 --mtu 1300\n"));
	ck_assert(contains("fds", " 3 -> socket:"));
	ck_assert(!contains("fds", "leak"));
	ck_assert(contains("info", "flags:\t02\n")); /* passt wants it to block */
	ck_assert_uint_eq(fake_log_lines("passt said: first;second"), 1);
	ck_assert(!is_child_left());
	fake_free(t.f);
	close(leak);
	fake_folder_remove();
}
END_TEST

START_TEST(no_passt)
{
	const struct conf_net conf = { .mode = NET_USER, .link = true };
	unsigned fds;

	t.f = fake_new();
	fds = fake_fds();
	setenv("PATH", "/nonexistent", 1);
	ck_assert_ptr_null(make_card(t.f, 0, &conf));
	ck_assert_msg(strstr(err_last(), "install the package passt"), "%s", err_last());
	ck_assert_uint_eq(fake_fds(), fds);
	ck_assert(!is_child_left());
	fake_free(t.f);
}
END_TEST

/* whoever starts a card and is killed: its passt goes too */
START_TEST(killed)
{
	const struct conf_net conf = { .mode = NET_USER, .link = true };
	pid_t child;
	int ready[2];
	char c;

	if (!has_passt())
		return;
	/* orphans come to us, so that we can tell when there are none */
	ck_assert(!prctl(PR_SET_CHILD_SUBREAPER, 1));
	ck_assert(!pipe2(ready, O_CLOEXEC));
	child = fork();
	if (!child) {
		t.f = fake_new();
		if (!make_card(t.f, 0, &conf) || write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	ck_assert_int_eq(read(ready[0], &c, 1), 1);
	kill(child, SIGKILL);
	/* the test's own time limit is the one on this */
	while (waitpid(-1, NULL, __WALL) > 0)
		;
	ck_assert_int_eq(errno, ECHILD);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("net_tap");
	TCase *c = tcase_create("net_tap");

	tcase_set_timeout(c, 30);
	tcase_add_loop_test(c, frames_both_ways, 0, 2);
	tcase_add_test(c, a_large_frame_in);
	tcase_add_loop_test(c, a_large_frame_cut, 0, 2);
	tcase_add_test(c, a_large_frame_out);
	tcase_add_loop_test(c, interface_down_and_gone, 0, 2);
	tcase_add_test(c, flood);
	tcase_add_test(c, flood_out);
	tcase_add_test(c, buffers_of_many_pieces);
	tcase_add_test(c, refused_interfaces);
	tcase_add_test(c, no_rights);
	tcase_add_test(c, a_passt_of_our_own);
	tcase_add_test(c, what_passt_is_given);
	tcase_add_test(c, no_passt);
	tcase_add_test(c, killed);
	suite_add_tcase(s, c);
	return suite_run(s);
}
