/*
 * vsock_guest.h - a virtio-vsock driver, the smallest there is, and programs on the host for it
 *
 * What the driver must remember lies in struct guest, so a clone of a subject
 * goes on with it.  Receive buffer i is always descriptor i.
 */
#ifndef HUTCH_TEST_VSOCK_GUEST_H
#define HUTCH_TEST_VSOCK_GUEST_H

#include <linux/virtio_vsock.h>

#include "contract.h"
#include "vsock.h"

#define VG_CID	    7
#define VG_HEADER   ((uint32_t)sizeof(struct virtio_vsock_hdr))
#define VG_RX	    FAKE_HIGH /* 32 KiB */
#define VG_RX_BYTES 2048U
#define VG_RXS	    16U
#define VG_TX	    GUEST_HDR
#define VG_DATA	    GUEST_DATA
#define VG_DATA_MAX 0x4000U
#define VG_EVENT    GUEST_STATUS
#define VG_EVENTS   4U
#define VG_BUF	    0x40000U /* what the driver says it has room for */

enum { VG_Q_RX, VG_Q_TX, VG_Q_EVENT };

struct vg_packet {
	struct virtio_vsock_hdr h;
	uint32_t len; /* of what is in data[] */
	uint8_t data[VG_RX_BYTES];
};

/* a folder, and the path of the socket in it, for each subject */
struct vg_host {
	char folder[32], path[64];
	struct conf_vsock conf;
};

void vg_host(struct subject *x);   /* a script's host() */
void vg_unhost(struct subject *x); /* and unhost() */
struct vg_host *vg_host_of(struct subject *x);

#define VG_RINGS (GUEST_VERSION_1 | GUEST_EVENT_IDX | GUEST_INDIRECT_F)

/* a started guest with the device, over mmio (0) or pci (1); and a look inside */
#define VG_WIRES 2
extern const struct contract_case vg_wires[VG_WIRES];
struct subject *vg_new(int wire);
struct vsock *vg_vsock(struct subject *x);
struct vsock_conn *vg_conn(struct subject *x, uint32_t guest_port, uint32_t host_port);

/* the driver's start: live, with all buffers there */
void vg_start(struct guest *g, uint64_t features);
/* a number of receive buffers of @size bytes each instead of all */
void vg_start_with(struct guest *g, uint64_t features, unsigned rxs, uint32_t size);
void vg_post(struct guest *g, unsigned i, uint32_t size);
/* the next packet; its buffer is handed back, and a kick says so */
bool vg_recv(struct guest *g, struct vg_packet *ret);
/* the next one that is no CREDIT_UPDATE; it has to be @op */
void vg_expect(struct guest *g, unsigned op, struct vg_packet *ret);
/* send @h with @len bytes at VG_DATA, and wait until they are taken */
void vg_send(struct guest *g, const struct virtio_vsock_hdr *h, uint32_t len);
/* the same, not kicked */
void vg_add(struct guest *g, const struct virtio_vsock_hdr *h, uint32_t len);
struct virtio_vsock_hdr vg_header(uint32_t guest_port, uint32_t host_port, unsigned op);
/* send @op on a connection */
void vg_say(struct guest *g, uint32_t guest_port, uint32_t host_port, unsigned op, uint32_t flags,
	    uint32_t taken);
/* handle what the event queue says: how many events */
unsigned vg_events(struct guest *g);

/* nothing more is said to the guest */
bool vg_is_silent(struct subject *x);

/* --- bytes that tell where they belong --- */

void vg_fill_pattern(uint8_t *buf, uint64_t at, size_t n);
bool vg_is_pattern(const uint8_t *buf, uint64_t at, size_t n);
/* the guest sends, a program has got (checked), a program sends as far as its socket takes it */
void vg_guest_sends(struct subject *x, uint32_t gp, uint32_t hp, uint64_t at, uint32_t n);
size_t vg_host_gets(int fd, uint64_t at);
size_t vg_host_gets_some(int fd, uint64_t at, size_t most);
size_t vg_host_sends(int fd, uint64_t at, size_t n);

/* --- programs of the host; sockets do not block --- */

int vg_connect(struct subject *x, const char *hello); /* to PATH; @hello may be NULL */
int vg_listen(struct subject *x, uint32_t port, int backlog);
int vg_accept(int fd);
size_t vg_read(int fd, void *buf, size_t size); /* what is there: 0 if nothing is */
bool vg_at_end(int fd);
bool vg_says(int fd, const char *text); /* exactly this is there */

/* open a connection: the program's socket; ports as they came out */
int vg_open_from_host(struct subject *x, uint32_t guest_port, uint32_t *ret_host_port);
int vg_open_from_guest(struct subject *x, uint32_t guest_port, uint32_t host_port);

#endif
