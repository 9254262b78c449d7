/*
 * t_pci - configuration space, BARs, MSI-X and the window, as a guest's firmware and drivers use
 * them
 */
#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_pci.h>
#include <sys/mman.h>
#include <unistd.h>

#include "contract.h"
#include "devices.h"
#include "pci.h"
#include "state.h"
#include "suite.h"

#define SLOT	    3 /* of the device of a subject */
#define OTHER_SLOT  5
#define OTHER_BAR   0xc0800000U
#define BAR_BYTES   0x8000U
#define ENABLE	    0x80000000U
#define CFG(s, off) (GUEST_ECAM + ((uint64_t)(s) << 15) + (off))

static const struct contract_case wire = { &blk_type, WIRE_PCI };

static struct subject *new_subject(void)
{
	return subject_new(&wire);
}

static uint64_t mmio_read(struct subject *x, uint64_t addr, unsigned len)
{
	return bus_read(&x->f->bus, BUS_MMIO, addr, len);
}

static void mmio_write(struct subject *x, uint64_t addr, unsigned len, uint64_t v)
{
	bus_write(&x->f->bus, BUS_MMIO, addr, len, v);
}

static uint64_t port_read(struct subject *x, unsigned off, unsigned len)
{
	return bus_read(&x->f->bus, BUS_PORT, GUEST_CFG_PORT + off, len);
}

static void port_write(struct subject *x, unsigned off, unsigned len, uint64_t v)
{
	bus_write(&x->f->bus, BUS_PORT, GUEST_CFG_PORT + off, len, v);
}

static uint64_t cfg_by_port(struct subject *x, unsigned slot, unsigned off, unsigned len)
{
	port_write(x, 0, 4, ENABLE | slot << 11 | (off & 0xfc));
	return port_read(x, 4 + (off & 3), len);
}

/* a second device on the bus, with a disk of its own */
static struct guest add_other(struct subject *x, int *ret_disk)
{
	static struct conf_disk conf;
	const struct vdev_place place = { .pci = pci_bus(x->pci),
					  .slot = OTHER_SLOT,
					  .base = OTHER_BAR,
					  .gsi = 6,
					  .conf = &conf };
	struct guest g;

	*ret_disk = memfd_create("other", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(*ret_disk, 512), 0);
	snprintf(conf.path, sizeof(conf.path), "/proc/self/fd/%d", *ret_disk);
	ck_assert_ptr_nonnull(fake_dev(x->f, &blk_type, 1, &place));
	guest_find_pci(&g, x->f, OTHER_SLOT, 6);
	return g;
}

/* --- configuration space --- */

START_TEST(identity)
{
	struct subject *x = new_subject();

	ck_assert_uint_eq(mmio_read(x, CFG(0, 0), 4), 0x29c08086);
	ck_assert_uint_eq(mmio_read(x, CFG(31, 0), 4), 0x29188086);
	ck_assert_uint_eq(mmio_read(x, CFG(31, PCI_CLASS_REVISION), 4) >> 8, 0x060100);
	ck_assert_uint_eq(mmio_read(x, CFG(SLOT, 0), 4), 0x10421af4);
	ck_assert_uint_eq(mmio_read(x, CFG(SLOT, PCI_CLASS_REVISION), 4), 0x01000001);
	ck_assert_uint_eq(mmio_read(x, CFG(SLOT, PCI_SUBSYSTEM_VENDOR_ID), 4), 0x11001af4);
	ck_assert_uint_eq(mmio_read(x, CFG(SLOT, PCI_HEADER_TYPE), 1), 0);
	ck_assert_uint_eq(mmio_read(x, CFG(SLOT, PCI_INTERRUPT_LINE), 2), 0x100 | CONTRACT_GSI);
	ck_assert(mmio_read(x, CFG(SLOT, PCI_STATUS), 2) & PCI_STATUS_CAP_LIST);
	subject_free(x);
}
END_TEST

START_TEST(what_is_not_there_reads_as_ones)
{
	struct subject *x = new_subject();

	for (unsigned slot = 0; slot < 32; slot++) {
		bool here = slot == 0 || slot == SLOT || slot == 31;

		ck_assert((mmio_read(x, CFG(slot, 0), 4) != UINT32_MAX) == here);
		ck_assert((cfg_by_port(x, slot, 0, 4) != UINT32_MAX) == here);
		if (!here)
			mmio_write(x, CFG(slot, 0x10), 4, 0x1234);
	}
	for (unsigned fn = 1; fn < 8; fn++)
		ck_assert_uint_eq(mmio_read(x, CFG(SLOT, fn << 12), 4), UINT32_MAX);
	ck_assert_uint_eq(mmio_read(x, GUEST_ECAM + (1 << 20), 2), 0xffff); /* bus 1 */
	ck_assert_uint_eq(mmio_read(x, GUEST_ECAM + (255 << 20), 4), UINT32_MAX);
	port_write(x, 0, 4, ENABLE | 1 << 16);
	ck_assert_uint_eq(port_read(x, 4, 4), UINT32_MAX);
	port_write(x, 0, 4, SLOT << 11); /* not enabled */
	ck_assert_uint_eq(port_read(x, 4, 4), UINT32_MAX);
	ck_assert_uint_eq(mmio_read(x, GUEST_HOLE, 8), UINT64_MAX);
	/* no extended capabilities */
	ck_assert_uint_eq(mmio_read(x, CFG(SLOT, 0x100), 4), 0);
	subject_free(x);
}
END_TEST

START_TEST(ports_and_ecam_agree)
{
	static const unsigned slots[] = { 0, SLOT, 31 };
	struct subject *x = new_subject();

	for (unsigned i = 0; i < 3; i++) {
		for (unsigned off = 0; off < 256; off++) {
			for (unsigned len = 1; len <= 4 && !(off % len); len *= 2) {
				uint64_t a = cfg_by_port(x, slots[i], off, len);
				uint64_t b = mmio_read(x, CFG(slots[i], off), len);

				if (a != b)
					ck_abort_msg("slot %u, %#x: %#lx and %#lx", slots[i], off,
						     a, b);
			}
		}
	}
	port_write(x, 0, 4, ENABLE | SLOT << 11 | PCI_INTERRUPT_LINE);
	port_write(x, 4, 1, 0x99);
	ck_assert_uint_eq(mmio_read(x, CFG(SLOT, PCI_INTERRUPT_LINE), 1), 0x99);
	port_write(x, 6, 2, 0xffff); /* two bytes on, where nothing can be written */
	ck_assert_uint_eq(mmio_read(x, CFG(SLOT, PCI_INTERRUPT_LINE), 4), 0x199);
	subject_free(x);
}
END_TEST

/* 0xcf8 is written whole or not at all, and reads back; 0xcf9 is another register */
START_TEST(the_address_port)
{
	struct subject *x = new_subject();

	port_write(x, 0, 4, UINT32_MAX);
	ck_assert_uint_eq(port_read(x, 0, 4), 0x80fffffc);
	port_write(x, 0, 4, 0x80001234);
	port_write(x, 0, 1, 0xff);
	port_write(x, 0, 2, 0xffff);
	port_write(x, 2, 2, 0xffff);
	ck_assert_uint_eq(port_read(x, 0, 4), 0x80001234);
	ck_assert_uint_eq(x->f->events, 0);
	port_write(x, 1, 1, 0xfa);
	ck_assert_uint_eq(x->f->events, 0);
	port_write(x, 1, 1, 6);
	ck_assert_int_eq(x->f->event, MACHINE_REBOOT);
	ck_assert_uint_eq(port_read(x, 0, 4), 0x80001234);
	subject_free(x);
}
END_TEST

START_TEST(ecam_moves)
{
	struct subject *x = new_subject();

	mmio_write(x, CFG(0, 0x60), 4, 0xe0000001);
	ck_assert_uint_eq(mmio_read(x, GUEST_ECAM, 4), UINT32_MAX);
	ck_assert_uint_eq(mmio_read(x, 0xe0000000, 4), 0x29c08086);
	ck_assert_uint_eq(mmio_read(x, 0xe0000000 + (SLOT << 15), 4), 0x10421af4);
	mmio_write(x, 0xe0000064, 4, 1); /* above 4 GiB: out of reach */
	ck_assert_uint_eq(mmio_read(x, 0xe0000000, 4), UINT32_MAX);
	port_write(x, 0, 4, ENABLE | 0x64);
	port_write(x, 4, 4, 0);
	ck_assert_uint_eq(mmio_read(x, 0xe0000000, 4), 0x29c08086);
	mmio_write(x, 0xe0000060, 4, 0xe0000000); /* off */
	ck_assert_uint_eq(mmio_read(x, 0xe0000000, 4), UINT32_MAX);
	ck_assert_uint_eq(cfg_by_port(x, 0, 0, 4), 0x29c08086);
	subject_reset(x);
	ck_assert_uint_eq(mmio_read(x, GUEST_ECAM, 4), 0x29c08086);
	subject_free(x);
}
END_TEST

START_TEST(only_writable_bits_change)
{
	struct subject *x = new_subject();
	uint8_t before[256], after[256];

	for (unsigned i = 0; i < 256; i++)
		before[i] = (uint8_t)mmio_read(x, CFG(SLOT, i), 1);
	for (unsigned i = 0; i < 256; i++)
		if (i < x->g.window_cap || i >= x->g.window_cap + 20) /* that is the driver's */
			mmio_write(x, CFG(SLOT, i), 1, 0xff);
	for (unsigned i = 0; i < 256; i++)
		after[i] = (uint8_t)mmio_read(x, CFG(SLOT, i), 1);
	for (unsigned i = 0; i < 256; i++) {
		bool free_byte = i == PCI_CACHE_LINE_SIZE || i == PCI_LATENCY_TIMER ||
				 i == PCI_INTERRUPT_LINE || i == PCI_COMMAND ||
				 i == PCI_COMMAND + 1 || i == x->g.msix_cap + 3 ||
				 (i >= PCI_BASE_ADDRESS_0 + 1 && i < PCI_BASE_ADDRESS_1);

		if (!free_byte && before[i] != after[i])
			ck_abort_msg("byte %#x: %#x became %#x", i, before[i], after[i]);
	}
	ck_assert_uint_eq(after[PCI_COMMAND] | after[PCI_COMMAND + 1] << 8,
			  PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
				  PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE);
	subject_free(x);
}
END_TEST

/* --- BARs --- */

START_TEST(bar_sizing)
{
	static const uint32_t masks[] = {
		UINT32_MAX, 0xfffffff0, 0xfffffffe, 0x12345678, 0x7fff, 0
	};
	struct subject *x = new_subject();
	uint32_t old = guest_pci_read(&x->g, PCI_BASE_ADDRESS_0, 4);

	ck_assert_uint_eq(old, GUEST_BAR);
	for (unsigned i = 0; i < ARRAY_SIZE(masks); i++) {
		guest_pci_write(&x->g, PCI_BASE_ADDRESS_0, 4, masks[i]);
		ck_assert_uint_eq(guest_pci_read(&x->g, PCI_BASE_ADDRESS_0, 4),
				  masks[i] & ~(BAR_BYTES - 1));
	}
	/* a byte at a time, and what is not there */
	for (unsigned i = 0; i < 4; i++)
		guest_pci_write(&x->g, PCI_BASE_ADDRESS_0 + i, 1, 0xff);
	ck_assert_uint_eq(guest_pci_read(&x->g, PCI_BASE_ADDRESS_0, 4), ~(BAR_BYTES - 1));
	ck_assert_uint_eq(mmio_read(x, 0xffff8000 & ~0ULL, 4), UINT32_MAX);
	for (unsigned bar = 1; bar < 6; bar++) {
		guest_pci_write(&x->g, PCI_BASE_ADDRESS_0 + 4 * bar, 4, UINT32_MAX);
		ck_assert_uint_eq(guest_pci_read(&x->g, PCI_BASE_ADDRESS_0 + 4 * bar, 4), 0);
	}
	guest_pci_write(&x->g, PCI_ROM_ADDRESS, 4, UINT32_MAX);
	ck_assert_uint_eq(guest_pci_read(&x->g, PCI_ROM_ADDRESS, 4), 0);
	guest_pci_write(&x->g, PCI_BASE_ADDRESS_0, 4, old);
	ck_assert(guest_start(&x->g, GUEST_VERSION_1, 1, 8));
	subject_free(x);
}
END_TEST

START_TEST(bar_moves_and_kicks_follow)
{
	struct subject *x = new_subject();
	struct guest *g = &x->g;
	gpa_t old = g->base;

	x->f->catch_kicks = true;
	subject_reset(x);
	ck_assert(guest_start(g, GUEST_VERSION_1, 1, 8));
	ck_assert_uint_eq(x->f->kicks, 1);
	ck_assert_uint_eq(x->f->kick[0].addr, g->notify);
	guest_pci_write(g, PCI_BASE_ADDRESS_0, 4, 0xd0000000);
	guest_find_bar(g);
	ck_assert_uint_eq(g->base, 0xd0000000);
	ck_assert_uint_eq(x->f->kicks, 1);
	ck_assert_uint_eq(x->f->kick[0].addr, g->notify);
	ck_assert_uint_eq(mmio_read(x, old, 4), UINT32_MAX);
	ck_assert_uint_eq(guest_blk(g, VIRTIO_BLK_T_IN, 1, GUEST_DATA, 512), VIRTIO_BLK_S_OK);
	/* byte by byte: between the bytes it is somewhere else, and no kick stays there */
	for (unsigned i = 0; i < 4; i++)
		guest_pci_write(g, PCI_BASE_ADDRESS_0 + i, 1, (uint8_t)(0xc1230000 >> 8 * i));
	guest_find_bar(g);
	ck_assert_uint_eq(x->f->kicks, 1);
	ck_assert_uint_eq(x->f->kick[0].addr, g->notify);
	/* not decoded: no kick, no register */
	guest_pci_write(g, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	ck_assert_uint_eq(x->f->kicks, 0);
	ck_assert_uint_eq(mmio_read(x, g->common, 4), UINT32_MAX);
	mmio_write(x, g->common + VIRTIO_PCI_COMMON_STATUS, 1, 0);
	guest_pci_write(g, PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
	ck_assert_uint_eq(x->f->kicks, 1);
	ck_assert(guest_is_live(g));
	ck_assert_uint_eq(guest_blk(g, VIRTIO_BLK_T_IN, 1, GUEST_DATA, 512), VIRTIO_BLK_S_OK);
	/* and with the machine */
	subject_reset(x);
	ck_assert_uint_eq(x->f->kick[0].addr, old + 0x3000);
	subject_free(x);
}
END_TEST

/* two BARs in one place: the lower slot answers, and both work again when they part */
START_TEST(bars_overlap)
{
	struct subject *x = new_subject();
	int disk;
	struct guest other = add_other(x, &disk);

	x->f->catch_kicks = true;
	subject_reset(x);
	ck_assert_uint_eq(x->f->kicks, 2);
	guest_write(&other, REG_STATUS, 1);
	guest_pci_write(&other, PCI_BASE_ADDRESS_0, 4, GUEST_BAR);
	ck_assert_uint_eq(x->f->kicks, 1); /* the second one in one place is refused */
	ck_assert_uint_eq(guest_read(&x->g, REG_STATUS), 0);
	ck_assert(guest_start(&x->g, GUEST_VERSION_1, 1, 8));
	ck_assert_uint_eq(guest_blk(&x->g, VIRTIO_BLK_T_IN, 1, GUEST_DATA, 512), VIRTIO_BLK_S_OK);
	guest_pci_write(&other, PCI_BASE_ADDRESS_0, 4, OTHER_BAR);
	ck_assert_uint_eq(x->f->kicks, 2);
	ck_assert_uint_eq(guest_read(&other, REG_STATUS), 1);
	/* from the other side */
	guest_pci_write(&x->g, PCI_BASE_ADDRESS_0, 4, OTHER_BAR + 0x4000);
	ck_assert_uint_eq(guest_pci_read(&x->g, PCI_BASE_ADDRESS_0, 4), OTHER_BAR);
	ck_assert_uint_eq(guest_read(&other, REG_STATUS), GUEST_STATUS_OK); /* slot 3's */
	guest_pci_write(&x->g, PCI_BASE_ADDRESS_0, 4, GUEST_BAR);
	ck_assert_uint_eq(x->f->kicks, 2);
	ck_assert(guest_start(&other, GUEST_VERSION_1, 1, 8));
	ck_assert_uint_eq(guest_blk(&other, VIRTIO_BLK_T_IN, 0, GUEST_DATA, 512), VIRTIO_BLK_S_OK);
	subject_free(x);
	close(disk);
}
END_TEST

/* a BAR laid over ECAM does not hide it */
START_TEST(bar_over_ecam)
{
	struct subject *x = new_subject();

	guest_pci_write(&x->g, PCI_BASE_ADDRESS_0, 4, GUEST_ECAM);
	ck_assert_uint_eq(mmio_read(x, GUEST_ECAM, 4), 0x29c08086);
	guest_pci_write(&x->g, PCI_BASE_ADDRESS_0, 4, GUEST_BAR);
	ck_assert(guest_start(&x->g, GUEST_VERSION_1, 1, 8));
	subject_free(x);
}
END_TEST

/* --- interrupts --- */

static void serve_one(struct subject *x)
{
	ck_assert_uint_eq(guest_blk(&x->g, VIRTIO_BLK_T_IN, 1, GUEST_DATA, 512), VIRTIO_BLK_S_OK);
}

START_TEST(intx_level)
{
	struct subject *x = new_subject();
	struct guest *g = &x->g;
	const uint16_t on = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

	ck_assert(guest_start(g, GUEST_VERSION_1, 1, 8));
	serve_one(x);
	ck_assert(x->f->level[CONTRACT_GSI]);
	serve_one(x);
	ck_assert_uint_eq(x->f->rises[CONTRACT_GSI], 1); /* it stays up */
	guest_pci_write(g, PCI_COMMAND, 2, on | PCI_COMMAND_INTX_DISABLE);
	ck_assert(!x->f->level[CONTRACT_GSI]);
	guest_pci_write(g, PCI_COMMAND, 2, on);
	ck_assert(x->f->level[CONTRACT_GSI]);
	ck_assert_uint_eq(guest_ack(g), 1);
	ck_assert(!x->f->level[CONTRACT_GSI]);
	ck_assert_uint_eq(guest_ack(g), 0);
	serve_one(x);
	ck_assert(x->f->level[CONTRACT_GSI]);
	guest_reset(g);
	ck_assert(!x->f->level[CONTRACT_GSI]);
	subject_free(x);
}
END_TEST

static struct fake_msi last_msi(struct subject *x)
{
	ck_assert_uint_gt(x->f->msis, 0);
	return x->f->msi[(x->f->msis - 1) % FAKE_MSIS];
}

START_TEST(msix)
{
	struct subject *x = new_subject();
	struct guest *g = &x->g;

	ck_assert_uint_eq(guest_pci_read(g, g->msix_cap + PCI_MSIX_FLAGS, 2), 1); /* two vectors */
	for (unsigned i = 0; i < 2; i++)
		ck_assert_uint_eq(mmio_read(x, g->msix_table + 16 * i + 12, 4), 1);
	ck_assert(guest_start(g, GUEST_VERSION_1, 1, 8));
	guest_msix(g, 1);
	serve_one(x);
	ck_assert_uint_eq(x->f->msis, 1);
	ck_assert_uint_eq(last_msi(x).addr, GUEST_MSI);
	ck_assert_uint_eq(last_msi(x).data, GUEST_MSI_DATA);
	ck_assert(!x->f->level[CONTRACT_GSI]);
	ck_assert_uint_eq(guest_ack(g), 0);
	/* the configuration's vector is the other one */
	fake_poke16(x->f, g->q[0].avail + 2, 0x8000);
	guest_kick(g, 0);
	fake_settle(x->f);
	ck_assert(guest_is_broken(g));
	ck_assert_uint_eq(x->f->msis, 2);
	ck_assert_uint_eq(last_msi(x).data, GUEST_MSI_DATA + 1);
	subject_free(x);
}
END_TEST

static uint64_t pending(struct subject *x)
{
	return mmio_read(x, x->g.msix_pba, 8);
}

START_TEST(msix_masks)
{
	struct subject *x = new_subject();
	struct guest *g = &x->g;
	const unsigned flags = g->msix_cap + PCI_MSIX_FLAGS;

	ck_assert(guest_start(g, GUEST_VERSION_1, 1, 8));
	guest_msix(g, 1);
	guest_msix_entry(g, 0, true);
	serve_one(x);
	serve_one(x);
	ck_assert_uint_eq(x->f->msis, 0);
	ck_assert_uint_eq(pending(x), 1);
	guest_msix_entry(g, 0, false);
	ck_assert_uint_eq(x->f->msis, 1); /* one for both */
	ck_assert_uint_eq(pending(x), 0);
	/* the whole function */
	guest_pci_write(g, flags, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	serve_one(x);
	ck_assert_uint_eq(x->f->msis, 1);
	ck_assert_uint_eq(pending(x), 1);
	guest_msix_entry(g, 0, true);
	guest_pci_write(g, flags, 2, PCI_MSIX_FLAGS_ENABLE);
	ck_assert_uint_eq(x->f->msis, 1);
	guest_msix_entry(g, 0, false);
	ck_assert_uint_eq(x->f->msis, 2);
	/* what is pending cannot be written */
	mmio_write(x, g->msix_pba, 8, UINT64_MAX);
	ck_assert_uint_eq(pending(x), 0);
	/* off: the pin again */
	guest_pci_write(g, flags, 2, 0);
	serve_one(x);
	ck_assert_uint_eq(x->f->msis, 2);
	ck_assert(x->f->level[CONTRACT_GSI]);
	guest_pci_write(g, flags, 2, PCI_MSIX_FLAGS_ENABLE);
	ck_assert(!x->f->level[CONTRACT_GSI]);
	subject_free(x);
}
END_TEST

START_TEST(msix_vectors_that_are_none)
{
	static const unsigned regs[] = { VIRTIO_PCI_COMMON_MSIX, VIRTIO_PCI_COMMON_Q_MSIX };
	struct subject *x = new_subject();
	struct guest *g = &x->g;

	ck_assert(guest_start(g, GUEST_VERSION_1, 1, 8));
	guest_msix(g, 1);
	for (unsigned i = 0; i < 2; i++) {
		mmio_write(x, g->common + regs[i], 2, 1);
		ck_assert_uint_eq(mmio_read(x, g->common + regs[i], 2), 1);
		mmio_write(x, g->common + regs[i], 2, 2);
		ck_assert_uint_eq(mmio_read(x, g->common + regs[i], 2), GUEST_NO_VECTOR);
		mmio_write(x, g->common + regs[i], 2, 0x8000);
		ck_assert_uint_eq(mmio_read(x, g->common + regs[i], 2), GUEST_NO_VECTOR);
	}
	serve_one(x); /* in silence */
	ck_assert_uint_eq(x->f->msis, 0);
	ck_assert(!x->f->level[CONTRACT_GSI]);
	ck_assert_uint_eq(pending(x), 0);
	/* a queue that is not there has no vector to set */
	guest_write(g, REG_Q_SEL, 1);
	mmio_write(x, g->common + VIRTIO_PCI_COMMON_Q_MSIX, 2, 0);
	guest_write(g, REG_Q_SEL, 0);
	ck_assert_uint_eq(mmio_read(x, g->common + VIRTIO_PCI_COMMON_Q_MSIX, 2), GUEST_NO_VECTOR);
	/* a reset of the device takes the vectors, not the table */
	mmio_write(x, g->common + VIRTIO_PCI_COMMON_MSIX, 2, 1);
	guest_reset(g);
	ck_assert_uint_eq(mmio_read(x, g->common + VIRTIO_PCI_COMMON_MSIX, 2), GUEST_NO_VECTOR);
	ck_assert_uint_eq(mmio_read(x, g->msix_table + 8, 4), GUEST_MSI_DATA);
	subject_free(x);
}
END_TEST

START_TEST(msix_table_accesses)
{
	struct subject *x = new_subject();
	gpa_t table = x->g.msix_table;

	mmio_write(x, table, 8, 0x1122334455667788);
	ck_assert_uint_eq(mmio_read(x, table, 8), 0x1122334455667788);
	ck_assert_uint_eq(mmio_read(x, table + 4, 4), 0x11223344);
	mmio_write(x, table, 1, 0xff); /* neither 4 nor 8 bytes, or not aligned */
	mmio_write(x, table, 2, 0xffff);
	mmio_write(x, table + 2, 4, 0);
	mmio_write(x, table + 4, 8, 0);
	ck_assert_uint_eq(mmio_read(x, table, 8), 0x1122334455667788);
	mmio_write(x, table + 32, 8, UINT64_MAX); /* a third entry */
	ck_assert_uint_eq(mmio_read(x, table + 32, 8), 0);
	mmio_write(x, table + 28, 8, UINT64_MAX);
	ck_assert_uint_eq(mmio_read(x, table + 28, 4), 1);
	subject_free(x);
}
END_TEST

/* --- the window of VIRTIO_PCI_CAP_PCI_CFG --- */

static void aim(struct guest *g, uint8_t bar, uint32_t off, uint32_t len)
{
	guest_pci_write(g, g->window_cap + offsetof(struct virtio_pci_cap, bar), 1, bar);
	guest_pci_write(g, g->window_cap + offsetof(struct virtio_pci_cap, offset), 4, off);
	guest_pci_write(g, g->window_cap + offsetof(struct virtio_pci_cap, length), 4, len);
}

START_TEST(window)
{
	struct subject *x = new_subject();
	struct guest *g = &x->g;
	const unsigned data = g->window_cap + sizeof(struct virtio_pci_cap);
	static const struct {
		uint8_t bar;
		uint32_t off, len;
	} bad[] = {
		{ 1, VIRTIO_PCI_COMMON_STATUS, 1 },
		{ 255, VIRTIO_PCI_COMMON_STATUS, 1 },
		{ 0, VIRTIO_PCI_COMMON_STATUS, 3 },
		{ 0, VIRTIO_PCI_COMMON_STATUS, 8 },
		{ 0, VIRTIO_PCI_COMMON_STATUS, 0 },
		{ 0, VIRTIO_PCI_COMMON_STATUS - 2, 4 },
		{ 0, 0x8000, 4 },
		{ 0, 0xfffffffc, 4 },
		{ 0, 0x7ffe, 4 },
	};

	aim(g, 0, VIRTIO_PCI_COMMON_NUMQ, 2);
	ck_assert_uint_eq(guest_pci_read(g, data, 2), 1);
	aim(g, 0, VIRTIO_PCI_COMMON_STATUS, 1);
	guest_pci_write(g, data, 1, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	ck_assert_uint_eq(guest_read(g, REG_STATUS), VIRTIO_CONFIG_S_ACKNOWLEDGE);
	aim(g, 0, VIRTIO_PCI_COMMON_DFSELECT, 4);
	guest_pci_write(g, data, 4, 1);
	aim(g, 0, VIRTIO_PCI_COMMON_DF, 4);
	ck_assert_uint_eq(guest_pci_read(g, data, 4), 1);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		aim(g, bad[i].bar, bad[i].off, bad[i].len);
		guest_pci_write(g, data, 4, 0); /* reaches nothing, or the device would be reset */
		guest_pci_read(g, data, 4);
		ck_assert_uint_eq(guest_read(g, REG_STATUS), VIRTIO_CONFIG_S_ACKNOWLEDGE);
	}
	/* firmware that knows no other way starts it and kicks through the window */
	ck_assert(guest_start(g, GUEST_VERSION_1, 1, 8));
	guest_blk_add(g, 0, VIRTIO_BLK_T_IN, 1, GUEST_DATA, 512);
	aim(g, 0, (uint32_t)(g->notify - g->base), 2);
	guest_pci_write(g, data, 2, 0);
	fake_settle(x->f);
	ck_assert_uint_eq(guest_blk_status(g, 0), VIRTIO_BLK_S_OK);
	subject_free(x);
}
END_TEST

/* --- snapshots --- */

/* what no guest can have written is refused */
START_TEST(fixed_bits_in_a_snapshot)
{
	static _Alignas(8) char tree[CONTRACT_TREE];
	struct subject *x = new_subject();
	struct pci_state *cfg = NULL, good;
	int n;

	for (unsigned i = 0; i < x->dev->parts; i++)
		if (!strcmp(x->dev->part[i].name, "pci"))
			cfg = x->dev->part[i].obj;
	ck_assert_ptr_nonnull(cfg);
	good = *cfg;
	for (unsigned i = 0; i < 4; i++) {
		static const uint8_t at[] = { PCI_VENDOR_ID, PCI_CAPABILITY_LIST, 0x42, 0xfc };

		cfg->cfg[at[i]] ^= 4;
		n = fake_save(x->f, tree, sizeof(tree));
		*cfg = good;
		ck_assert_int_lt(fake_load(x->f, tree, (size_t)n), 0);
		ck_assert_ptr_nonnull(strstr(err_last(), "which no guest can write"));
	}
	*cfg = good;
	n = fake_save(x->f, tree, sizeof(tree));
	ck_assert_int_eq(fake_load(x->f, tree, (size_t)n), 0);
	subject_free(x);
}
END_TEST

/* a restored BAR has its kicks, where it is */
START_TEST(kicks_after_a_restore)
{
	static _Alignas(8) char tree[CONTRACT_TREE];
	struct subject *x = new_subject(), *y = new_subject();
	int n;

	guest_pci_write(&x->g, PCI_BASE_ADDRESS_0, 4, 0xd0000000);
	guest_find_bar(&x->g);
	n = fake_save(x->f, tree, sizeof(tree));
	y->f->catch_kicks = true;
	ck_assert_int_eq(fake_load(y->f, tree, (size_t)n), 0);
	fake_resume(y->f);
	guest_find_bar(&y->g);
	ck_assert_uint_eq(y->g.base, 0xd0000000);
	ck_assert_uint_eq(y->f->kicks, 1);
	ck_assert_uint_eq(y->f->kick[0].addr, y->g.notify);
	subject_free(x);
	subject_free(y);
}
END_TEST

START_TEST(slots_are_taken_once)
{
	struct subject *x = new_subject();
	int disk;

	add_other(x, &disk);
	x->disk_conf.ro = true;
	ck_assert_ptr_null(subject_twin(x));
	subject_free(x);
	close(disk);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pci");
	TCase *t = tcase_create("pci");

	blk_script_disk.queues = 1;
	tcase_set_timeout(t, 30);
	tcase_add_test(t, identity);
	tcase_add_test(t, what_is_not_there_reads_as_ones);
	tcase_add_test(t, ports_and_ecam_agree);
	tcase_add_test(t, the_address_port);
	tcase_add_test(t, ecam_moves);
	tcase_add_test(t, only_writable_bits_change);
	tcase_add_test(t, bar_sizing);
	tcase_add_test(t, bar_moves_and_kicks_follow);
	tcase_add_test(t, bars_overlap);
	tcase_add_test(t, bar_over_ecam);
	tcase_add_test(t, intx_level);
	tcase_add_test(t, msix);
	tcase_add_test(t, msix_masks);
	tcase_add_test(t, msix_vectors_that_are_none);
	tcase_add_test(t, msix_table_accesses);
	tcase_add_test(t, window);
	tcase_add_test(t, fixed_bits_in_a_snapshot);
	tcase_add_test(t, kicks_after_a_restore);
	tcase_add_test(t, slots_are_taken_once);
	suite_add_tcase(s, t);
	return suite_run(s);
}
