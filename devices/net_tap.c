/*
 * net_tap.c - frames through a tap interface of the host
 *
 * A tap takes and gives one frame a call, with the guest's own header in front
 * (IFF_VNET_HDR), so large and unfinished frames pass as they are.  What the
 * interface refuses is dropped, as on a wire; only an interface that is gone
 * ends the carrier.
 *
 * #syscalls readv writev ioctl:TUNSETOFFLOAD close
 * #syscalls:before openat
 */
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "log.h"
#include "net.h"

static bool is_gone(int error)
{
	return error == EBADFD || error == EBADF || error == ENODEV || error == ENXIO;
}

static int tap_send(struct net_back *b, struct net_frame *f, unsigned n)
{
	struct iovec iov[VQ_IOV_MAX + 1];

	if (!n || !f->n)
		return (int)n;
	iov[0] = (struct iovec){ &f->hdr, NET_HDR };
	memcpy(iov + 1, f->iov, f->n * sizeof(*iov));
	b->count->tx_calls++;
	if (writev(b->fd, iov, (int)f->n + 1) < 0) {
		if (errno == EAGAIN) {
			b->blocked = true;
			return 0;
		}
		if (is_gone(errno))
			return -errno;
		/* EIO: the interface is down; EINVAL: a header that makes no sense */
		f->n = 0;
		b->count->tx_refused++;
	}
	return 1;
}

static ssize_t tap_recv(struct net_back *b, struct virtio_net_hdr_v1 *hdr, struct iovec *iov,
			unsigned n)
{
	ssize_t r;

	iov[0] = (struct iovec){ hdr, NET_HDR };
	b->count->rx_calls++;
	r = readv(b->fd, iov, (int)n);
	if (r < 0)
		return errno == EAGAIN || errno == EINTR || errno == EIO ? -EAGAIN : -errno;
	return MAX(r - (ssize_t)NET_HDR, 0);
}

static unsigned offload_flags(uint64_t features)
{
	static const struct {
		unsigned feature, flag;
	} map[] = {
		{ VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4 },
		{ VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6 },
		{ VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN },
	};
	unsigned flags = TUN_F_CSUM;

	/* a large frame has an unfinished checksum, so the others mean nothing without it */
	if (!(features >> VIRTIO_NET_F_GUEST_CSUM & 1))
		return 0;
	for (unsigned i = 0; i < ARRAY_SIZE(map); i++)
		if (features >> map[i].feature & 1)
			flags |= map[i].flag;
	return flags;
}

static int tap_agree(struct net_back *b, uint64_t features)
{
	unsigned flags = b->offloads ? offload_flags(features) : 0;

	return ioctl(b->fd, TUNSETOFFLOAD, flags) ? -errno : 0;
}

static void tap_close(struct net_back *b)
{
	close(b->fd);
	free(b);
}

static const struct net_back_ops tap_ops = {
	.send = tap_send,
	.recv = tap_recv,
	.agree = tap_agree,
	.close = tap_close,
};

static int open_tun(const char *name, const char *tap)
{
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		return err(-errno,
			   "%s: tap %s: this host has no /dev/net/tun; modprobe tun, as root", name,
			   tap);
	return err(-errno, "%s: tap %s: /dev/net/tun: %s; give this user the right to open it",
		   name, tap, strerror(errno));
}

static bool attaches(int fd, const char *tap, int flags)
{
	struct ifreq req = { .ifr_flags = (short)flags };

	return !str_copy(req.ifr_name, sizeof(req.ifr_name), tap) && !ioctl(fd, TUNSETIFF, &req);
}

/* @fd is not needed any more */
static int explain(int fd, const char *name, const char *tap, int error)
{
	switch (error) {
	case EBUSY:
		return err(-error, "%s: tap %s: is in use by another machine or program", name,
			   tap);
	case EPERM:
		return err(-error,
			   "%s: tap %s: there is none that this user may use; as root: "
			   "ip tuntap add %s mode tap user USER",
			   name, tap, tap);
	case EINVAL:
		/* there is something of this name; of which kind tells what it lets us do */
		if (attaches(fd, tap, IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE))
			return err(-error,
				   "%s: tap %s: was made for several queues; make it anew without "
				   "multi_queue",
				   name, tap);
		return err(-error, "%s: tap %s: %s; as root: ip tuntap add NAME mode tap user USER",
			   name, tap,
			   attaches(fd, tap, IFF_TUN | IFF_NO_PI)
				   ? "is a tun, which carries no frames"
				   : "is an interface of another kind");
	default:
		return err(-error, "%s: tap %s: %s", name, tap, strerror(error));
	}
}

static int attach(int fd, const char *name, const struct conf_net *conf)
{
	struct ifreq req = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int size = NET_HDR;

	if (str_copy(req.ifr_name, sizeof(req.ifr_name), conf->tap))
		return err(-EINVAL, "%s: tap '%s': the name is too long", name, conf->tap);
	if (ioctl(fd, TUNSETIFF, &req))
		return explain(fd, name, conf->tap, errno);
	if (ioctl(fd, TUNSETVNETHDRSZ, &size) || ioctl(fd, TUNSETOFFLOAD, 0))
		return err(-errno, "%s: tap %s: no headers of %d bytes: %s", name, conf->tap, size,
			   strerror(errno));
	if (conf->offload &&
	    (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN) ||
	     ioctl(fd, TUNSETOFFLOAD, 0)))
		return err(-errno, "%s: tap %s: no offloads: %s; add offload=no", name, conf->tap,
			   strerror(errno));
	return 0;
}

struct net_back *net_tap_open(const char *name, const struct conf_net *conf,
			      struct net_counters *count)
{
	cleanup_fd int fd = open_tun(name, conf->tap);
	struct net_back *b;

	if (fd < 0 || attach(fd, name, conf))
		return NULL;
	b = calloc(1, sizeof(*b));
	if (!b) {
		err(-ENOMEM, "%s: out of memory", name);
		return NULL;
	}
	*b = (struct net_back){ .ops = &tap_ops,
				.name = name,
				.fd = fd,
				.batch = 1,
				.offloads = conf->offload,
				.count = count };
	fd = -1;
	return b;
}
